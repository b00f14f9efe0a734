"""Classes of numbers: k-means, and a mixture of Gaussians; the same numbers always give the same classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError

Values = NDArray[np.float64]

_MOST_STEPS = 1000


def kmeans(values: Values, classes: int) -> Values:
    """Centres of classes of numbers, ascending: each number goes to the nearest centre, each centre is their mean.

    Begun at the middles of equal shares of the sorted numbers and once more of equal parts of their range, which finds
    a class of few numbers; the end with the smaller sum of squares is taken.

    Raises
    ------
    InputError
        When there are fewer different numbers than classes.

    References
    ----------
    Lloyd, IEEE Trans Inf Theory 1982;28:129, doi:10.1109/TIT.1982.1056489.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if len(np.unique(ordered)) < classes:
        raise InputError(f"{classes} classes need as many different values in the target; found fewer")
    parts = (np.arange(classes) + 0.5) / classes
    begun = (np.quantile(ordered, parts), ordered[0] + parts * (ordered[-1] - ordered[0]))
    ends = [_settled(ordered, centres) for centres in begun]
    return min(ends, key=lambda centres: _sum_of_squares(ordered, centres))


def _settled(ordered: Values, centres: Values) -> Values:
    """Centres after they have stopped moving; one to which nothing is nearest stays where it is."""
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    for _ in range(_MOST_STEPS):
        edges = np.concatenate([[0], np.searchsorted(ordered, (centres[:-1] + centres[1:]) / 2.0), [len(ordered)]])
        count = np.diff(edges)
        means = np.where(count > 0, (sums[edges[1:]] - sums[edges[:-1]]) / np.maximum(count, 1), centres)
        if np.array_equal(means, centres):
            break
        centres = means
    return np.asarray(centres, dtype=np.float64)


def _sum_of_squares(values: Values, centres: Values) -> float:
    return float((np.abs(values[:, None] - centres[None, :]).min(axis=1) ** 2).sum())


def mixture(values: Values, centres: Values) -> tuple[Values, Values, Values]:
    """Shares, means and standard deviations of a mixture of Gaussians, begun at given centres, by their means.

    Notes
    -----
    Expectation maximisation until no mean moves by a millionth of the range. No class is narrower than a thousandth of
    it: a class of equal numbers would have an infinite likelihood.

    References
    ----------
    Dempster, Laird, Rubin, J R Stat Soc B 1977;39:1.
    """
    values = np.asarray(values, dtype=np.float64)
    span = float(np.ptp(values))
    means = np.array(centres, dtype=np.float64)
    share = np.full(len(means), 1.0 / len(means))
    spread = np.full(len(means), span / (2.0 * len(means)))
    for _ in range(_MOST_STEPS):
        weight = np.exp(_log_parts(values, share, means, spread))
        weight /= weight.sum(axis=0)
        total = np.maximum(weight.sum(axis=1), 1e-12)
        moved = weight @ values / total
        off = (weight * (values[None, :] - moved[:, None]) ** 2).sum(axis=1) / total
        spread, share = np.sqrt(np.maximum(off, (1e-3 * span) ** 2)), total / total.sum()
        change, means = float(np.abs(moved - means).max()), moved
        if change < 1e-6 * span:
            break
    order = np.argsort(means)
    return share[order], means[order], spread[order]


def _log_parts(values: Values, share: Values, means: Values, spread: Values) -> Values:
    """Logarithm of each class's part of the density, less the largest of every number."""
    parts = np.log(share / spread)[:, None] - 0.5 * ((values[None, :] - means[:, None]) / spread[:, None]) ** 2
    return np.asarray(parts - parts.max(axis=0))


def mixture_level(values: Values, centres: Values) -> float:
    """Where the two highest classes are equally likely, between their means."""
    share, means, spread = mixture(values, centres)
    between = np.linspace(means[-2], means[-1], 2001)
    parts = _log_parts(between, share[-2:], means[-2:], spread[-2:])
    higher = parts[1] >= parts[0]
    if not means[-1] > means[-2] or not higher.any():
        raise InputError(
            "the classes of the mixture of Gaussians cannot be told apart; use another method or 2 classes"
        )
    return float(between[int(np.argmax(higher))])

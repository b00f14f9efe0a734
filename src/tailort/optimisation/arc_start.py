"""First leaf tracks of an arc: neighbouring fluences merged and swept by a sliding window, to and fro."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tailort.optimisation.arc_motion import ArcField

Float = NDArray[np.float64]


def sweeps(
    field: ArcField, fluence_mu: Float, number: int, window: tuple[float, float], early: float = 0.0
) -> tuple[Float, Float, Float]:
    """Leaf tracks that sweep the field as often as asked, each sweep delivering the fluence of its sectors.

    Leaf speed is not looked at; a sweep goes the other way than the one before it, so that it begins where that ends.

    Parameters
    ----------
    field : ArcField
        Of the arc.
    fluence_mu : (beamlets,) float
        Ideal weight of each beamlet.
    number : int
        Of sweeps; at most one a sector.
    window : (float, float)
        Columns that all ends of the arc keep to; fluence beyond them is left out.
    early : float
        Share of a sweep by which all turning points come earlier, so that arcs do not repeat each other.

    Returns
    -------
    (points, pairs) left ends, (points, pairs) right ends, (intervals,) MU

    References
    ----------
    Craft et al. 2012, Med Phys 39:686, doi 10.1118/1.3675601 (merging of neighbouring fluences; recalled);
    Spirou & Chui 1994, Med Phys 21:1031, doi 10.1118/1.597345 (leaf motion for a fluence).
    """
    sectors = len(field.fields)
    turns = (np.arange(1, number + 1) - early) * sectors / number
    bounds = np.unique(np.concatenate([[0], turns.round().astype(int), [sectors]]))
    left = np.zeros((field.points, field.pairs))
    right = np.zeros_like(left)
    seen = np.zeros(field.points)
    mu = np.zeros(field.points - 1)
    first, last = int(np.floor(window[0])), int(np.ceil(window[1]))
    for n, (a, b) in enumerate(pairwise(bounds.tolist())):
        merged = _merged(field, fluence_mu, a, b, first, last)
        points = np.arange(field.intervals * a, field.intervals * b + 1)
        share = np.linspace(0.0, 1.0, len(points))
        if n % 2 == 0:
            low, high, units = _window(merged, share)
        else:
            high, low, units = _window(merged[:, ::-1], share)
            low, high = (last - first) - low, (last - first) - high
        # The control point between two sweeps belongs to both.
        left[points] += first + low
        right[points] += first + high
        seen[points] += 1
        mu[points[:-1]] = units / (len(points) - 1)
    return left / seen[:, None], right / seen[:, None], mu


def _merged(field: ArcField, fluence_mu: Float, a: int, b: int, first: int, last: int) -> Float:
    """Sum of the fluences of sectors a to b: (pairs, columns from first to last)."""
    total = np.zeros((field.pairs, last - first))
    for sector in range(a, b):
        own = slice(field.starts[sector], field.starts[sector + 1])
        pair, column = field.pair[own], field.column[own] - first
        inside = (column >= 0) & (column < last - first)
        places = (pair * (last - first) + column)[inside]
        count = np.bincount(places, minlength=total.size)
        weights = np.bincount(places, fluence_mu[field.beamlets[own]][inside], total.size)
        total += (weights / np.maximum(count, 1)).reshape(total.shape)
    return total


def _window(fluence: Float, share: Float) -> tuple[Float, Float, float]:
    """Trailing and leading end of each pair when a share of the units is delivered: (shares, pairs), and the units.

    The leading end uncovers a column, the trailing end covers it its fluence earlyr; where the fluence falls the
    leading end waits, where it rises the trailing one.
    """
    step = np.diff(np.pad(fluence, ((0, 0), (1, 1))), axis=1)
    rises, falls = np.maximum(step, 0.0), np.maximum(-step, 0.0)
    # Units at which each end passes the columns' middles; what a pair has to spare is spread over its way.
    trailing = np.cumsum(rises, axis=1)[:, :-1]
    leading = np.cumsum(falls, axis=1)[:, :-1]
    units = float(trailing[:, -1].max())
    columns = fluence.shape[1]
    spare = (units - trailing[:, -1])[:, None] * (np.arange(columns) + 0.5) / columns
    at = np.concatenate([[0.0], np.arange(columns) + 0.5, [float(columns)]])
    ends = []
    for passes in (trailing, leading):
        # A little slope makes the way unique where an end passes several columns at once.
        when = (passes + spare) + 1e-6 * units * np.arange(columns)
        # The field's sides are passed together with the middles of their columns.
        sides = [(row[0] - 1e-6 * units, row, row[-1] + 1e-6 * units) for row in when]
        rows = [np.interp(share * units, np.concatenate([[a], row, [b]]), at) for a, row, b in sides]
        ends.append(np.stack(rows, axis=1))
    low, high = ends
    return np.minimum(low, high), high, units

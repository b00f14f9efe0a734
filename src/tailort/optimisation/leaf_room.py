"""Where moving leaf ends may be, and tracks that are put back there with the speed of the leaves kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.aperture import least_opening_mm
from tailort.optimisation.arc_motion import ArcField
from tailort.physics.machine import Machine

Float = NDArray[np.float64]


def _mean_of_four(one_way: Callable[[bool, slice], tuple[Float, Float]]) -> tuple[Float, Float]:
    """Mean of tracks made with each bank first, each from the beginning and from the end.

    The set of tracks that keep to everything is convex, so that the mean of tracks in it is in it too.
    """
    turns = (slice(None), slice(None, None, -1))
    left, right = zip(*(one_way(left_first, turn) for left_first in (True, False) for turn in turns), strict=True)
    return np.mean(left, axis=0), np.mean(right, axis=0)


def _too_fast(ends: Float, travel: Float) -> tuple[float, Float]:
    """Half the sum of squares of what is beyond the largest motions, and its derivative by the ends."""
    move = np.diff(ends, axis=0)
    beyond = np.sign(move) * np.maximum(np.abs(move) - travel[:, None], 0.0)
    slope = np.zeros_like(ends)
    slope[1:] += beyond
    slope[:-1] -= beyond
    return 0.5 * float((beyond * beyond).sum()), slope


@dataclass(frozen=True, eq=False)
class ArcRoom:
    """Where the leaf ends of an arc may be, in columns.

    Parameters
    ----------
    low, high : (points, pairs) float
        Both ends of a pair lie in between.
    least, most : float, (points, pairs) float
        Smallest and largest opening; where a pair sees no beamlets it opens no more than it must.
    travel : (intervals,) float
        Largest motion of an end in each interval.
    """

    low: Float
    high: Float
    least: float
    most: Float
    travel: Float

    @classmethod
    def of(cls, field: ArcField, machine: Machine, travel_mm: float, window: tuple[float, float]) -> ArcRoom:
        """Ends stay over the beamlets of both sectors that a control point belongs to, and within the window.

        Parameters
        ----------
        field : ArcField
            Beamlets of the arc.
        machine : Machine
            Smallest gap and round leaf ends.
        travel_mm : float
            Largest motion of an end in an interval.
        window : (float, float)
            Columns that all ends of the arc keep to.
        """
        least = least_opening_mm(machine) / field.width_mm
        last = len(field.fields) - 1
        at = np.arange(field.points)
        before = np.clip((at - 1) // field.intervals, 0, last)
        after = np.clip(at // field.intervals, 0, last)
        low = np.maximum(np.maximum(field.lowest[before], field.lowest[after]), window[0])
        high = np.minimum(np.minimum(field.highest[before], field.highest[after]), window[1])
        seen = high - low >= least
        return cls(
            np.where(seen, low, window[0]),
            np.where(seen, high, window[1]),
            least,
            np.where(seen, np.inf, least),
            np.full(field.points - 1, travel_mm / field.width_mm),
        )

    def kept(self, left: Float, right: Float) -> tuple[Float, Float]:
        """Return tracks near to the given ones that keep to everything.

        Raises
        ------
        InputError
            When the beamlets move away faster than a leaf can follow.
        """

        def one_way(left_first: bool, turn: slice) -> tuple[Float, Float]:
            low, high, most, travel = self.low[turn], self.high[turn], self.most[turn], self.travel[turn]
            if left_first:
                one = _followed(left[turn], low, high - self.least, travel)
                other = _followed(right[turn], one + self.least, np.minimum(high, one + most), travel)
            else:
                other = _followed(right[turn], low + self.least, high, travel)
                one = _followed(left[turn], np.maximum(low, other - most), other - self.least, travel)
            return one[turn], other[turn]

        return _mean_of_four(one_way)

    def excess(self, left: Float, right: Float) -> tuple[float, Float, Float]:
        """Half the sum of squares of what is beyond speed and openings, with its derivative by both ends."""
        (total, by_left), (fast, by_right) = _too_fast(left, self.travel), _too_fast(right, self.travel)
        total += fast
        opening = right - left
        narrow, wide = np.maximum(self.least - opening, 0.0), np.maximum(opening - self.most, 0.0)
        total += 0.5 * float((narrow * narrow).sum() + (wide * wide).sum())
        by_left += narrow - wide
        by_right += wide - narrow
        return total, by_left, by_right


@dataclass(frozen=True, eq=False)
class SlideRoom:
    """What leaf ends of one sweep may do, in columns.

    Parameters
    ----------
    low, high : float
        All ends lie in between.
    least : float
        Smallest opening of a pair, and with `apart` of an end and the opposite end of the next pairs.
    travel : (intervals,) float
        Largest motion of an end in each interval.
    apart : bool
        Whether leaves may not pass the opposite leaves of the next pairs (no interdigitation).
    """

    low: float
    high: float
    least: float
    travel: Float
    apart: bool = False

    def kept(self, left: Float, right: Float) -> tuple[Float, Float]:
        """Return tracks near to the given ones that keep to everything; those that do are returned as they are."""

        def one_way(left_first: bool, turn: slice) -> tuple[Float, Float]:
            travel = self.travel[turn]
            if left_first:
                one = _steadily(left[turn], self.low, self.high - self.least, travel)
                other = _steadily(right[turn], self._next(one, np.maximum) + self.least, self.high, travel)
            else:
                other = _steadily(right[turn], self.low + self.least, self.high, travel)
                one = _steadily(left[turn], self.low, self._next(other, np.minimum) - self.least, travel)
            return one[turn], other[turn]

        return _mean_of_four(one_way)

    def _next(self, ends: Float, choose: np.ufunc) -> Float:
        """Each pair's end, or the end of the pairs beside it where that is the one that stands in the way."""
        if not self.apart:
            return ends
        out = ends.copy()
        out[:, 1:] = choose(out[:, 1:], ends[:, :-1])
        out[:, :-1] = choose(out[:, :-1], ends[:, 1:])
        return out

    def excess(self, left: Float, right: Float) -> tuple[float, Float, Float]:
        """Half the sum of squares of what is beyond speed and openings, with its derivative by both ends."""
        (total, by_left), (fast, by_right) = _too_fast(left, self.travel), _too_fast(right, self.travel)
        total += fast
        pairs = left.shape[1]
        for shift in (-1, 0, 1) if self.apart else (0,):
            # Pair p's left end and pair p + shift's right end.
            a, b = slice(max(0, -shift), pairs - max(0, shift)), slice(max(0, shift), pairs + min(0, shift))
            narrow = np.maximum(self.least - (right[:, b] - left[:, a]), 0.0)
            total += 0.5 * float((narrow * narrow).sum())
            by_left[:, a] += narrow
            by_right[:, b] -= narrow
        return total, by_left, by_right


def _followed(wanted: Float, low: Float, high: Float, travel: Float) -> Float:
    """Follow the wanted ends as well as the speed lets, between bounds from which the rest stays reachable."""
    low, high = low.copy(), high.copy()
    for k in range(len(low) - 2, -1, -1):
        low[k] = np.maximum(low[k], low[k + 1] - travel[k])
        high[k] = np.minimum(high[k], high[k + 1] + travel[k])
    if (low > high + 1e-9).any():
        pair = int(np.argmax((low - high).max(axis=0)))
        raise InputError(
            f"leaf pair {pair + 1} of the arc cannot follow the target from angle to angle; let the gantry turn "
            "more slowly or put the angles closer"
        )
    out = np.empty_like(wanted)
    out[0] = np.clip(wanted[0], low[0], np.maximum(low[0], high[0]))
    for k in range(1, len(out)):
        least = np.maximum(low[k], out[k - 1] - travel[k - 1])
        out[k] = np.clip(wanted[k], least, np.maximum(least, np.minimum(high[k], out[k - 1] + travel[k - 1])))
    return out


def _steadily(wanted: Float, low: Float | float, high: Float | float, travel: Float) -> Float:
    """Follow the wanted ends as well as the speed lets, between bounds that themselves move no faster."""
    bounded = np.clip(wanted, low, high)
    out = np.empty_like(bounded)
    out[0] = bounded[0]
    for k, step in enumerate(travel):
        out[k + 1] = np.clip(bounded[k + 1], out[k] - step, out[k] + step)
    return out

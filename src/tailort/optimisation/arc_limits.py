"""The time that moving takes, and leaf tracks that keep to a machine's speeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.arc_motion import ArcField
from tailort.physics.machine import Machine, Motion

Float = NDArray[np.float64]


def interval_seconds(
    step_deg: float, mu: Float, left_mm: Float, right_mm: Float, limits: Motion, machine: Machine
) -> Float:
    """Shortest time of each interval between control points, s: gantry, dose rate or the fastest leaf decides.

    Acceleration of gantry and leaves and changes of the dose rate are taken as instant.

    Parameters
    ----------
    step_deg : float
        Gantry turn of an interval.
    mu : (intervals,) float
        Of each.
    left_mm, right_mm : (intervals + 1, pairs) float
        Leaf ends at the control points, mm.
    limits, machine : Motion, Machine
        Speeds and dose rate.
    """
    travel = np.maximum(np.abs(np.diff(left_mm, axis=0)), np.abs(np.diff(right_mm, axis=0))).max(axis=1, initial=0.0)
    by_mu = mu * 60.0 / machine.max_mu_per_minute
    seconds: Float = np.maximum(
        np.maximum(abs(step_deg) / limits.gantry_deg_per_s, by_mu), travel / limits.leaf_mm_per_s
    )
    return seconds


@dataclass(frozen=True, eq=False)
class Room:
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
    def of(cls, field: ArcField, machine: Machine, travel_mm: float, window: tuple[float, float]) -> Room:
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
        least = (machine.leaf_gap_mm + machine.head.leaf_end_gap_mm) / field.width_mm
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

        The mean of four: each bank first, each from the beginning and from the end; the set is convex, so that the
        mean of tracks in it is in it too.

        Raises
        ------
        InputError
            When the beamlets move away faster than a leaf can follow.
        """
        found = [
            self._one_way(left, right, first, backwards) for first in ("left", "right") for backwards in (False, True)
        ]
        return np.mean([f[0] for f in found], axis=0), np.mean([f[1] for f in found], axis=0)

    def _one_way(self, left: Float, right: Float, first: str, backwards: bool) -> tuple[Float, Float]:
        turn = slice(None, None, -1) if backwards else slice(None)
        low, high, most, travel = self.low[turn], self.high[turn], self.most[turn], self.travel[turn]
        if first == "left":
            one = _followed(left[turn], low, high - self.least, travel)
            other = _followed(right[turn], one + self.least, np.minimum(high, one + most), travel)
            return one[turn], other[turn]
        other = _followed(right[turn], low + self.least, high, travel)
        one = _followed(left[turn], np.maximum(low, other - most), other - self.least, travel)
        return one[turn], other[turn]

    def excess(self, left: Float, right: Float) -> tuple[float, Float, Float]:
        """Half the sum of squares of what is beyond speed and openings, with its derivative by both ends."""
        total = 0.0
        slopes = []
        for ends in (left, right):
            move = np.diff(ends, axis=0)
            beyond = np.sign(move) * np.maximum(np.abs(move) - self.travel[:, None], 0.0)
            total += 0.5 * float((beyond * beyond).sum())
            slope = np.zeros_like(ends)
            slope[1:] += beyond
            slope[:-1] -= beyond
            slopes.append(slope)
        opening = right - left
        narrow, wide = np.maximum(self.least - opening, 0.0), np.maximum(opening - self.most, 0.0)
        total += 0.5 * float((narrow * narrow).sum() + (wide * wide).sum())
        slopes[0] += narrow - wide
        slopes[1] += wide - narrow
        return total, slopes[0], slopes[1]


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

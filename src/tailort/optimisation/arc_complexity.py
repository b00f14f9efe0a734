"""How complex the apertures of an arc are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def modulation_complexity(mu: Float, left_mm: Float, right_mm: Float) -> float:
    """Modulation complexity score of an arc (MCSv): 1 for one rectangle all the way, less the more leaves differ.

    At each control point the leaf sequence variability (how much neighbouring leaf ends differ, against their whole
    range) times the aperture area variability (area against that of all apertures together); the mean of both over
    an interval's ends, weighted by its MU.

    Parameters
    ----------
    mu : (intervals,) float
        Of each interval.
    left_mm, right_mm : (intervals + 1, pairs) float
        Leaf ends of the pairs between the Y jaws, any unit.

    References
    ----------
    McNiven et al. 2010, Med Phys 37:505, doi 10.1118/1.3276775; Masi et al. 2013, Med Phys 40:071718,
    doi 10.1118/1.4810969 (arcs).
    """
    variability = _sequence_variability(left_mm) * _sequence_variability(right_mm)
    together = float((right_mm.max(axis=0) - left_mm.min(axis=0)).sum())
    area = (right_mm - left_mm).sum(axis=1) / together
    ends = 0.25 * (variability[1:] + variability[:-1]) * (area[1:] + area[:-1])
    return float(mu @ ends / mu.sum())


def _sequence_variability(ends: Float) -> Float:
    """Of one bank at each control point: 1 where all its ends are level."""
    if ends.shape[1] < 2:
        return np.ones(len(ends))
    span = np.ptp(ends, axis=1)
    differ = np.abs(np.diff(ends, axis=1)).mean(axis=1)
    variability: Float = 1.0 - np.divide(differ, span, out=np.zeros_like(span), where=span > 0)
    return variability

"""The hottest part and the mean of a structure's dose, for many doses: as in its histogram, but quicker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numba
import numpy as np

from tailort.evaluation.dvh import DVH, LEVELS, Samples, Scope, extremes, gather, histogram_of, points_of
from tailort.evaluation.sampling import Cells
from tailort.patient import Dose

# Bins in which the dose is looked for above which the asked volume lies.
_BINS = 1024


def hottest_in(cells: Cells, dose: Dose, volume_cm3: float, scope: Scope = "course") -> tuple[DVH, float]:
    """Histogram of the hottest part of a structure, and its mean dose.

    Parameters
    ----------
    cells : Cells
        Of the structure, cut for the dose's grid.
    dose : Dose
        On that grid.
    volume_cm3 : float
        Down to which the histogram is whole; colder samples are left out.
    scope : {"course", "cumulative"}
        What the dose counts.

    Returns
    -------
    DVH
        As of `dvh_in` for the highest dose and for the dose to any hottest volume up to `volume_cm3`; not for others.
    float
        Mean dose, Gy; not a number where the dose is not known everywhere.

    Notes
    -----
    The samples, their levels and the curve through them are those of `dvh_in`; only levels that lie below the asked
    volume are not filled. The mean agrees with that of the histogram to the rounding of its samples.
    """
    sampled = cells.sample(replace(dose, least=None))
    lowest, highest = extremes(sampled)
    points = points_of(sampled)
    doses, spreads, parts = sampled.doses_gy, sampled.spreads_gy, sampled.parts
    total, product, lost, coldest = _looked_over(doses, spreads, parts, lowest, highest, points, _BINS)
    wanted = min(volume_cm3 / cells.volume_cm3, 1.0) * (total + lost)
    below = int(np.searchsorted(np.cumsum(coldest[::-1]), wanted))
    # A bin more, so that the last sample's middle lies beyond the volume.
    first = max(0, (LEVELS - 1) * (_BINS - below - 2) // _BINS)
    gathered = gather(doses, spreads, parts, lowest, highest, LEVELS, points, first)
    found = histogram_of(cells, dose, scope, (lowest, highest), gathered, total)
    if first > 0 and found.volumes_cm3.sum() - 0.5 * found.volumes_cm3[-1] < volume_cm3:
        gathered = gather(doses, spreads, parts, lowest, highest, LEVELS, points, 0)
        found = histogram_of(cells, dose, scope, (lowest, highest), gathered, None)
    return found, float("nan") if found.outside_cm3 or not total else product / total


@numba.njit(cache=True, nogil=True)
def _looked_over(
    doses: Samples, spreads: Samples, parts: Samples, lowest: float, highest: float, points: int, bins: int
) -> Any:  # pragma: no cover - compiled
    """Parts of cells of known dose, their product with it, parts without, and parts by the coldest dose of the cell."""
    total, product, lost = 0.0, 0.0, 0.0
    coldest = np.zeros(bins)
    per_gy = bins / (highest - lowest) if highest > lowest else 0.0
    for n in range(doses.size):
        gy, part = np.float64(doses[n]), np.float64(parts[n])
        if np.isnan(gy):
            lost += part
            continue
        spread = np.float64(spreads[n])
        total += part
        if gy - spread >= lowest and gy + spread <= highest:
            product += part * gy
        else:
            for point in range(points):
                at = gy + spread * ((2.0 * point + 1.0) / points - 1.0)
                product += part / points * min(max(at, lowest), highest)
        level = int((max(gy - spread, lowest) - lowest) * per_gy)
        coldest[min(max(level, 0), bins - 1)] += part
    return total, product, lost, coldest

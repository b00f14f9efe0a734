"""How well a dose follows a painted prescription: the quality factor and the quality-volume histogram.

References
----------
Vanderstraeten et al. 2006, PMB 51:5697, doi 10.1088/0031-9155/51/22/001.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError
from tailort.geometry import partial_volume
from tailort.patient import Dose, Painted, Structure

Float = NDArray[np.float64]
# A quality factor up to this is accepted (RB-144, recalled).
ACCEPTED = 0.05


@dataclass(frozen=True, eq=False)
class PaintingQuality:
    """Dose over prescribed dose, voxel by voxel of the dose grid.

    Parameters
    ----------
    structure : str
        In which.
    prescribed_gy, dose_gy, volume_cm3 : (n,) float
        Of each voxel that the structure has a part of: what it is to get and what it gets, Gy per course, physical, and
        how much of the structure it holds.
    """

    structure: str
    prescribed_gy: Float
    dose_gy: Float
    volume_cm3: Float

    @property
    def ratio(self) -> Float:
        """Dose over prescribed dose."""
        return self.dose_gy / self.prescribed_gy

    @property
    def quality_factor(self) -> float:
        """Mean over the volume of |D / Dprescribed - 1| (RB-144)."""
        return float(np.average(np.abs(self.ratio - 1.0), weights=self.volume_cm3))

    @property
    def mean_gy(self) -> float:
        """Mean dose, Gy."""
        return float(np.average(self.dose_gy, weights=self.volume_cm3))

    @property
    def prescribed_mean_gy(self) -> float:
        """Mean of what is prescribed, Gy."""
        return float(np.average(self.prescribed_gy, weights=self.volume_cm3))

    def share_within(self, fraction: float) -> float:
        """Share of the volume that gets what it is to get within a fraction of it."""
        return float(np.average(np.abs(self.ratio - 1.0) <= fraction, weights=self.volume_cm3))

    def ratio_of_hottest(self, share: float) -> float:
        """Dose over prescribed dose that this share of the volume has at least (Q95 is that of 0.95)."""
        order = np.argsort(-self.ratio)
        filled = np.cumsum(self.volume_cm3[order]) / self.volume_cm3.sum()
        at = min(int(np.searchsorted(filled, share)), len(order) - 1)
        return float(self.ratio[order][at])

    def histogram(self, ratios: Float) -> Float:
        """Share of the volume with at least each ratio (quality-volume histogram)."""
        shares: Float = np.array([np.average(self.ratio >= at, weights=self.volume_cm3) for at in ratios])
        return shares

    def as_dict(self) -> dict[str, Any]:
        """Return the figures ready for JSON."""
        return {
            "structure": self.structure,
            "quality_factor": round(self.quality_factor, 4),
            "accepted_up_to": ACCEPTED,
            "mean_gy": round(self.mean_gy, 3),
            "prescribed_mean_gy": round(self.prescribed_mean_gy, 3),
            "prescribed_range_gy": [round(float(f(self.prescribed_gy)), 3) for f in (np.min, np.max)],
            "share_within_5_percent": round(self.share_within(0.05), 4),
            "q95": round(self.ratio_of_hottest(0.95), 4),
            "q5": round(self.ratio_of_hottest(0.05), 4),
        }


def painting_quality(dose: Dose, painted: Painted, structure: Structure, slice_mm: float | None) -> PaintingQuality:
    """Compare a dose with a painted prescription in a structure.

    Parameters
    ----------
    dose : Dose
        Physical, total of the phase, Gy.
    painted : Painted
        What each point is to get.
    structure : Structure
        Where.
    slice_mm : float or None
        Distance of planes, for a structure in one plane only.

    Raises
    ------
    GeometryError
        When the dose grid has no voxel of the structure.
    """
    grid = dose.image.grid
    volume = partial_volume(structure.contours, grid, single_slice_thickness_mm=slice_mm)
    flat, share = volume.indices()
    if len(flat) == 0 or not share.sum() > 0:
        raise GeometryError(f"the dose grid has no voxel of '{structure.name}'")
    centres = grid.to_world(np.stack(np.unravel_index(flat, grid.shape), axis=-1))
    return PaintingQuality(
        structure.name,
        painted.at(centres),
        dose.image.values.reshape(-1)[flat].astype(np.float64),
        share.astype(np.float64) * grid.voxel_volume_cm3,
    )

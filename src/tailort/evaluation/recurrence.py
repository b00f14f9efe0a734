"""How much of a volume of today lies within what an earlier course irradiated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError
from tailort.evaluation.accumulation import EarlierCourse, accumulate
from tailort.evaluation.dvh import dvh_in
from tailort.evaluation.sampling import Cells
from tailort.geometry import Image, interpolate
from tailort.patient import Dose
from tailort.radiobiology import eqd2

Bounds = tuple[float, float]


@dataclass(frozen=True)
class PrescribedDose:
    """What a course prescribed, phase by phase.

    Parameters
    ----------
    phases : tuple of (float, int)
        Physical dose, Gy, and fractions of each phase.
    is_known : bool
        False where no prescription is known and the doses are the highest anywhere instead: a prescription is not above
        them.
    """

    phases: tuple[tuple[float, int], ...]
    is_known: bool = True

    def level_gy(self, percent: float, alpha_beta_gy: float) -> float:
        """EQD2 of so much of each phase, Gy: of one phase the isodose is that of its physical dose."""
        return sum(float(eqd2(percent / 100.0 * dose_gy, n, alpha_beta_gy)) for dose_gy, n in self.phases)


def course_eqd2(course: EarlierCourse | Sequence[Dose], alpha_beta_gy: float) -> Dose:
    """EQD2 of one course, its phases together, Gy."""
    if isinstance(course, EarlierCourse):
        return accumulate([course], (), "EQD2", alpha_beta_gy)
    return accumulate((), course, "EQD2", alpha_beta_gy)


def share_within_isodose(cells: Cells, dose: Dose, level_gy: float, *, at_most: bool = False) -> Bounds:
    """Part of a volume that has at least a dose, %: the lowest and the highest that what is known allows.

    Parameters
    ----------
    cells : Cells
        Of the volume.
    dose : Dose
        On the grid of the cells.
    level_gy : float
        Of the isodose, Gy of the dose.
    at_most : bool
        Whether the level itself is only known to be no higher.
    """
    low, high = dvh_in(cells, dose).bounds(f"V{level_gy:.9f}Gy[%]")
    return (low, 100.0) if at_most else (low, high)


def share_within_volume(cells: Cells, part: Image) -> float:
    """Part of a volume that lies within another one, %.

    Parameters
    ----------
    cells : Cells
        Of the first.
    part : Image
        Part of each voxel that lies within the second, 0 to 1; nothing of it lies beyond the image.
    """
    cells.lattice.require_same_frame(part.grid.frame_of_reference, f"the volume that '{cells.name}' may lie in")
    flat, weights = cells.inside.indices()
    index = np.stack(np.unravel_index(flat, cells.lattice.shape), axis=-1).astype(float)
    inside = interpolate(part, cells.lattice.to_world(index), outside=0.0)
    # Half of a voxel is where its edge runs: parts would count edges that both volumes share as half outside.
    return 100.0 * float(np.average(inside >= 0.5 - 1e-6, weights=weights.astype(np.float64)))


def overlap_cm3(first: Dose, first_level_gy: float, second: Dose, second_level_gy: float) -> Bounds:
    """Volume that has at least one dose of the first and another of the second, cm3: lowest and highest.

    Parameters
    ----------
    first, second : Dose
        On one grid.
    first_level_gy, second_level_gy : float
        Gy of each dose.
    """
    if not first.image.grid.same_as(second.image.grid):
        raise GeometryError("the isodoses of two courses are on different grids: map them onto one first")
    (low_a, high_a), (low_b, high_b) = _reached(first, first_level_gy), _reached(second, second_level_gy)
    cm3 = first.image.grid.voxel_volume_cm3
    return float((low_a & low_b).sum()) * cm3, float((high_a & high_b).sum()) * cm3


def _reached(dose: Dose, level_gy: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Voxels that surely, and that possibly, have at least a dose."""
    most = dose.image.values
    least = most if dose.least is None else dose.least.values
    return np.nan_to_num(least, nan=-1.0) >= level_gy, ~(most < level_gy)

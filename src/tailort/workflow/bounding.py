"""Doses of earlier courses that are known by bounds only: from a prescription, or of tissue that has moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import InputError
from tailort.geometry import Grid, Image, partial_volume
from tailort.patient import Course, Dose, StructureSet

Mask = NDArray[np.bool_]

ENGINE = "bounded by the prescription"


def bounded_doses(course: Course, structures: StructureSet, slice_mm: float, grid: Grid) -> tuple[Dose, ...]:
    """Doses of a course of which only the prescription is known: from 0 to the largest that a person says.

    Parameters
    ----------
    course : Course
        With what was prescribed, and the largest doses of organs where a chart tells them.
    structures : StructureSet
        Of today.
    slice_mm : float
        Slice distance of today's CT.
    grid : Grid
        Of today.

    Returns
    -------
    tuple of Dose
        One a phase, the most in each voxel with the least, 0, beside it.

    Raises
    ------
    InputError
        When nothing is prescribed, an organ is not drawn today, or may have more than all phases together give.

    Notes
    -----
    The largest dose of an organ holds in the voxels whose middle lies in it; for the organ itself in those next to it
    too, so that interpolation at its edge does not read beyond. Each phase may have given all of it.
    """
    if not course.prescribed:
        raise InputError(f"course '{course.label}' has neither a dose nor a prescription; give one of them")
    whole_gy = sum(phase.highest_gy for phase in course.prescribed)
    parts = {
        name: _part(structures, name, grid, slice_mm, course.label, whole_gy, highest_gy)
        for name, highest_gy in course.organ_highest_gy.items()
    }
    made = []
    for phase in course.prescribed:
        whole = np.full(grid.shape, phase.highest_gy, dtype=np.float32)
        most, most_in = whole.copy(), {}
        for name, part in parts.items():
            organ_gy = np.float32(min(course.organ_highest_gy[name], phase.highest_gy))
            most[part >= 0.5] = np.minimum(most[part >= 0.5], organ_gy)
            most_in[name.lower()] = Image(grid, np.where(_near(part > 0), organ_gy, whole), "Gy")
        least = Image(grid, np.zeros(grid.shape, dtype=np.float32), "Gy")
        image = Image(grid, most, "Gy")
        made.append(Dose(image, "physical", "course", phase.fractions, None, ENGINE, least=least, most_in=most_in))
    return tuple(made)


def _part(
    structures: StructureSet, name: str, grid: Grid, slice_mm: float, label: str, whole_gy: float, highest_gy: float
) -> NDArray[np.float32]:
    """Part of each voxel that lies in an organ."""
    found = structures.find(name)
    if found is None or found.is_empty:
        drawn = ", ".join(s.name for s in structures if not s.is_empty) or "nothing"
        raise InputError(f"organ '{name}' of course '{label}' is not drawn today; there are: {drawn}")
    if highest_gy > whole_gy:
        raise InputError(
            f"organ '{name}' of course '{label}' has up to {highest_gy:g} Gy, more than the {whole_gy:g} Gy that "
            "prescription and highest_percent allow; correct one of them"
        )
    return partial_volume(found.contours, grid, single_slice_thickness_mm=slice_mm).full()


def _near(inside: Mask) -> Mask:
    """Voxels and those next to them, which interpolation in a structure reads too."""
    return np.asarray(ndimage.binary_dilation(inside, ndimage.generate_binary_structure(3, 3)), dtype=bool)


def without_counterpart(
    doses: Sequence[Dose], course: Course, structures: StructureSet, slice_mm: float
) -> tuple[Dose, ...]:
    """Doses of which those of tissue that lay elsewhere are known by bounds only.

    Parameters
    ----------
    doses : sequence of Dose
        Of the phases of the course, on a grid of today.
    course : Course
        With its own doses and what has no counterpart; names that are not drawn today change nothing.
    structures : StructureSet
        Of today.
    slice_mm : float
        Slice distance of today's CT.

    Returns
    -------
    tuple of Dose
        In voxels that these structures touch, and next to them, from 0 to the highest of the phase, elsewhere as
        before.
    """
    names = course.registration.without
    drawn = [s for name in names if (s := structures.find(name)) is not None and not s.is_empty]
    if not drawn:
        return tuple(doses)
    grid = doses[0].image.grid
    inside = np.zeros(grid.shape, dtype=bool)
    for structure in drawn:
        inside |= partial_volume(structure.contours, grid, single_slice_thickness_mm=slice_mm).full() > 0
    near = _near(inside)
    made = []
    for dose, whole in zip(doses, course.doses, strict=True):
        values = dose.image.values
        most = np.where(near, np.nanmax(whole.per_course().image.values), values).astype(np.float32)
        least = np.where(near, np.float32(0.0), values).astype(np.float32)
        made.append(replace(dose, image=dose.image.with_values(most), least=dose.image.with_values(least)))
    return tuple(made)

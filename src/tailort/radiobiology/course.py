"""The dose of a course of several phases, each with its own fractions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tailort.errors import GeometryError, InputError
from tailort.patient import Dose
from tailort.patient.dose import Quantity
from tailort.radiobiology.linear_quadratic import bed, eqd2


def course_dose(doses: Sequence[Dose], quantity: Quantity = "physical", alpha_beta_gy: float | None = None) -> Dose:
    """Dose of all phases together, voxel by voxel, Gy per course.

    BED and EQD2 add up phase by phase, each converted with its own fractions; a sum of physical doses of several phases
    has no number of fractions and cannot be converted afterwards.

    Parameters
    ----------
    doses : sequence of Dose
        Physical, of the phases, on one grid.
    quantity : {"physical", "BED", "EQD2"}
        Of the sum.
    alpha_beta_gy : float or None
        Of BED and EQD2.

    Raises
    ------
    InputError
        When there is no dose, one is not physical, or a number of fractions is unknown and needed.
    GeometryError
        When the grids differ.

    References
    ----------
    Joiner MC, van der Kogel AJ (eds), Basic Clinical Radiobiology, 4th ed. 2009, ch. 8 (BED of a course is the sum of
    its parts'; chapter recalled).
    """
    if not doses:
        raise InputError("a course needs the dose of at least one phase")
    parts = [_in(dose.per_course(), quantity, alpha_beta_gy) for dose in doses]
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    values = first.image.values.astype(np.float32)
    for part in parts[1:]:
        if not part.image.grid.same_as(first.image.grid):
            raise GeometryError("the doses of two phases are on different grids: resample one onto the other's first")
        values = values + part.image.values
    return replace(first, image=first.image.with_values(values), fractions=None, plan_uid="")


def _in(dose: Dose, quantity: Quantity, alpha_beta_gy: float | None) -> Dose:
    if dose.quantity != "physical":
        raise InputError(f"phases are added up from their physical doses; found {dose.label}")
    if dose.least is not None:
        raise InputError("a phase of this course has one dose in each voxel; found one that is known by bounds only")
    if quantity == "physical":
        return dose
    if alpha_beta_gy is None:
        raise InputError(f"{quantity} needs an alpha/beta in Gy")
    convert = bed if quantity == "BED" else eqd2
    values = convert(dose.image.values.astype(np.float64), dose.known_fractions(), alpha_beta_gy)
    image = dose.image.with_values(values.astype(np.float32))
    return replace(dose, image=image, quantity=quantity, alpha_beta_gy=alpha_beta_gy)

"""Dose images in BED and EQD2: every voxel is converted with its own dose per fraction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.patient import Dose
from tailort.patient.dose import Per, Quantity
from tailort.radiobiology import bed, bed_from_eqd2, eqd2, eqd2_from_bed

Meaning = tuple[Quantity, float | None]


def convert(dose: Dose, quantity: Quantity, alpha_beta_gy: float | None) -> Dose:
    """Return a dose in another quantity, voxel by voxel, d_i = D_i / n with the course's own n.

    Parameters
    ----------
    dose : Dose
        Physical dose with known fractions (of the course or of one fraction), or BED or EQD2 at this alpha/beta.
    quantity : {"physical", "BED", "EQD2"}
        What the values become, Gy per course.
    alpha_beta_gy : float or None
        Of the tissue, Gy; None for physical dose.

    Raises
    ------
    InputError
        When the number of fractions is unknown, when a BED or EQD2 would change its alpha/beta, or when physical
        dose is asked of a BED or EQD2.

    Notes
    -----
    Conversion comes before every sum and every metric: the metric of a converted dose is not the converted metric
    where the metric averages.
    """
    if (quantity, alpha_beta_gy) == (dose.quantity, dose.alpha_beta_gy):
        return dose
    values = converted_values(
        dose.image.values,
        (dose.quantity, dose.alpha_beta_gy),
        (quantity, alpha_beta_gy),
        dose.per,
        dose.fractions,
    )
    image = dose.image.with_values(values.astype(np.float32))
    plain = replace(dose, least=None, most_in={})
    least = None if dose.least is None else convert(replace(plain, image=dose.least), quantity, alpha_beta_gy).image
    most_in = {
        name: convert(replace(plain, image=most), quantity, alpha_beta_gy).image for name, most in dose.most_in.items()
    }
    return Dose(image, quantity, "course", dose.fractions, alpha_beta_gy, dose.engine, dose.plan_uid, least, most_in)


def converted_values(
    dose_gy: NDArray[np.floating], given: Meaning, wanted: Meaning, per: Per, fractions: int | None
) -> NDArray[np.float64]:
    """Convert dose values of any shape, Gy, from one (quantity, alpha/beta) to another; course totals come out."""
    (given_quantity, given_ab), (quantity, ab) = given, wanted
    if quantity == "physical" or ab is None:
        raise InputError(f"a {given_quantity} dose cannot be turned into {quantity} with alpha/beta {ab}")
    if given_quantity == "physical":
        if fractions is None:
            raise InputError(
                f"the number of fractions of this dose is unknown, so it has no {quantity}; give the RTPLAN, or name "
                "it with --fractions"
            )
        course = np.asarray(dose_gy, dtype=np.float64) * (fractions if per == "fraction" else 1)
        return bed(course, fractions, ab) if quantity == "BED" else eqd2(course, fractions, ab)
    if given_ab != ab:
        raise InputError(
            f"a {given_quantity} at alpha/beta {given_ab:g} Gy cannot become one at {ab:g} Gy; convert the physical "
            "dose"
        )
    if per == "fraction":
        raise InputError(f"a {given_quantity} per fraction cannot be converted; convert the physical dose")
    if quantity == given_quantity:
        return np.asarray(dose_gy, dtype=np.float64)
    return bed_from_eqd2(dose_gy, ab) if quantity == "BED" else eqd2_from_bed(dose_gy, ab)

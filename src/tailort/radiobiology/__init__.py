"""Formulas of biological effect, each with its derivative."""

from tailort.radiobiology.course import course_dose
from tailort.radiobiology.equivalent_uniform_dose import geud, geud_gradient
from tailort.radiobiology.linear_quadratic import (
    Repopulation,
    bed,
    bed_derivative,
    bed_from_eqd2,
    bed_with_time,
    bed_with_time_derivative,
    dose_from_bed,
    dose_from_bed_derivative,
    dose_from_eqd2,
    dose_from_eqd2_derivative,
    eqd2,
    eqd2_derivative,
    eqd2_from_bed,
    fractions_from_bed,
    isoeffective_dose,
    overall_days,
)

__all__ = [
    "Repopulation",
    "bed",
    "bed_derivative",
    "bed_from_eqd2",
    "bed_with_time",
    "bed_with_time_derivative",
    "course_dose",
    "dose_from_bed",
    "dose_from_bed_derivative",
    "dose_from_eqd2",
    "dose_from_eqd2_derivative",
    "eqd2",
    "eqd2_derivative",
    "eqd2_from_bed",
    "fractions_from_bed",
    "geud",
    "geud_gradient",
    "isoeffective_dose",
    "overall_days",
]

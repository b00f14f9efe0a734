"""How much the spinal cord may get once more: the step rule by earlier BED, HyTEC's conditions, Nieder's score.

All of them count earlier doses whole: a dose with a discount for recovery is not compared with them. BED and EQD2 are
at an alpha/beta of 2 Gy, cervical and thoracic cord.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError
from tailort.radiobiology.linear_quadratic import bed

Float = NDArray[np.float64]

Steps = Literal["upper_edge", "mid_bin", "continuous"]
Prior = Literal["larger", "cord", "prescription"]

ALPHA_BETA_GY = 2.0
STEP_FRACTIONS = 2
HIGHEST_GY, LOWEST_GY = 12.2, 10.8
REVIEW_ABOVE_GY = 140.0
# What floating point adds to a sum must not push it over an edge.
_EXACT = 1e-6


def cord_limit_gy(prior_bed_gy: ArrayLike, steps: Steps = "upper_edge") -> Float:
    """Largest D0.035cc of the cord's PRV in 2 fractions by the earlier BED, physical Gy per course (KO-80 to KO-82).

    12.2 Gy up to an earlier BED of 90 Gy, 10.8 Gy above 100 Gy, and a fall of 0.14 Gy per Gy between.

    Parameters
    ----------
    prior_bed_gy : (...) float
        BED of all earlier courses, each with its own dose per fraction, alpha/beta 2 Gy, without recovery, Gy.
    steps : {"upper_edge", "mid_bin", "continuous"}
        Reading of KO-82: steps of 1 Gy, open below and closed above, each with the limit of its upper edge (the
        default of KO-81) or of its middle, rounded half up to 0.1 Gy; or the line itself.

    References
    ----------
    Koide et al. 2024, re-irradiation spine SBRT: ends and one example (95 < BED <= 96: 11.4 Gy) printed, steps derived.

    Examples
    --------
    >>> cord_limit_gy([80, 95.5, 96, 100, 120]).tolist()
    [12.2, 11.4, 11.4, 10.8, 10.8]
    """
    prior = np.asarray(prior_bed_gy, dtype=np.float64)
    if not (np.all(prior >= 0) and np.all(np.isfinite(prior))):
        raise InputError("an earlier BED of the cord is negative or not finite")
    if steps == "continuous":
        return np.asarray(np.interp(prior, [90.0, 100.0], [HIGHEST_GY, LOWEST_GY]), dtype=np.float64)
    if steps not in ("upper_edge", "mid_bin"):
        raise InputError(f"unknown reading '{steps}' of KO-82; known are upper_edge, mid_bin, continuous")
    step = np.clip(np.ceil(prior - _EXACT) - 90.0, 0.0, 11.0)
    # In hundredths of a Gy, which are exact.
    middle = 7.0 if steps == "mid_bin" else 0.0
    hundredths = 1220.0 - 14.0 * step + np.where(step > 0, middle, 0.0)
    tenths = np.floor((hundredths + 5.0) / 10.0)
    limit: Float = np.where(step > 10.0, LOWEST_GY, tenths / 10.0)
    return limit


@dataclass(frozen=True)
class CordLimit:
    """The limit of the cord's PRV for one patient, by the step rule.

    Parameters
    ----------
    limit_gy : float or None
        Of D0.035cc in 2 fractions, physical Gy per course; None while a dose that could change it is unknown.
    prior_bed_gy : float or None
        Earlier BED (alpha/beta 2 Gy) by which it is; the least that it can be where `missing` is not empty.
    together_bed_gy : float or None
        Earlier BED and that of the limit; at least so much where `missing` is not empty.
    missing : tuple of str
        Earlier doses that are unknown: "prescription", "cord".
    prior, steps : str
        Readings of KO-85 and KO-82 that were taken.
    """

    limit_gy: float | None
    prior_bed_gy: float | None
    together_bed_gy: float | None
    missing: tuple[str, ...]
    prior: Prior
    steps: Steps

    @property
    def to_be_reviewed(self) -> bool | None:
        """Whether both together exceed 140 Gy BED (KO-84); None while that is open."""
        if self.together_bed_gy is None:
            return None
        above = self.together_bed_gy > REVIEW_ABOVE_GY + _EXACT
        return above if above or not self.missing else None


def cord_limit(
    prescription_bed_gy: float | None,
    cord_bed_gy: float | None,
    prior: Prior = "larger",
    steps: Steps = "upper_edge",
) -> CordLimit:
    """Limit of the cord's PRV for one patient (KO-80 to KO-86).

    Parameters
    ----------
    prescription_bed_gy : float or None
        BED of all earlier prescriptions at the level, each with its own dose per fraction, Gy; None is unknown.
    cord_bed_gy : float or None
        BED of the cord's D0.035cc over all earlier courses, Gy; None is unknown.
    prior : {"larger", "cord", "prescription"}
        Reading of KO-85; the larger of both is its default, the stricter one.
    steps : {"upper_edge", "mid_bin", "continuous"}
        Reading of KO-82.

    Examples
    --------
    >>> found = cord_limit(120.0, 80.0)
    >>> found.limit_gy, round(found.together_bed_gy, 2), found.to_be_reviewed
    (10.8, 159.96, True)
    """
    given = {"prescription": prescription_bed_gy, "cord": cord_bed_gy}
    if prior not in ("larger", *given):
        raise InputError(f"unknown reading '{prior}' of KO-85; known are larger, cord, prescription")
    asked = given if prior == "larger" else {prior: given[prior]}
    known = [value for value in asked.values() if value is not None]
    missing = tuple(name for name, value in asked.items() if value is None)
    if not known:
        return CordLimit(None, None, None, missing, prior, steps)
    largest = max(known)
    limit = float(cord_limit_gy(largest, steps))
    # The other dose could still lower it, unless it is the lowest already.
    if missing and limit > LOWEST_GY:
        return CordLimit(None, largest, None, missing, prior, steps)
    together = largest + float(bed(limit, STEP_FRACTIONS, ALPHA_BETA_GY))
    return CordLimit(limit, largest, together, missing, prior, steps)


@dataclass(frozen=True)
class CordCondition:
    """One condition and whether a patient meets it.

    Parameters
    ----------
    text : str
        What is asked.
    value : float or None
        Of the patient; None is unknown.
    operator : {"<=", ">="}
        As printed.
    limit : float
        In the same unit.
    unit : str
        Such as "Gy EQD2(a/b=2)".
    """

    text: str
    value: float | None
    operator: Literal["<=", ">="]
    limit: float
    unit: str

    @property
    def met(self) -> bool | None:
        """Whether it is met; None while the value is unknown."""
        if self.value is None:
            return None
        over = self.value - self.limit
        return over <= _EXACT if self.operator == "<=" else over >= -_EXACT


def all_met(conditions: Sequence[CordCondition]) -> bool | None:
    """Whether all are met: no as soon as one is not, None while one is unknown and none is not met."""
    verdicts = [condition.met for condition in conditions]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def hytec_cord(
    sbrt_eqd2_gy: float | None, cumulative_eqd2_gy: float | None, interval_months: float | None
) -> tuple[CordCondition, CordCondition, CordCondition, CordCondition]:
    """Four conditions that go with a lower risk of myelopathy after SBRT re-irradiation; all of them count (RB-102).

    They are no recovery: the earlier dose is counted whole.

    Parameters
    ----------
    sbrt_eqd2_gy : float or None
        Maximum of the thecal sac in the SBRT course, EQD2 (alpha/beta 2 Gy), Gy; None is unknown.
    cumulative_eqd2_gy : float or None
        Maximum of the thecal sac over all courses, the SBRT included, EQD2 (alpha/beta 2 Gy), Gy.
    interval_months : float or None
        From the end of the earlier course to the SBRT.

    Returns
    -------
    tuple of CordCondition
        SBRT <= 25 Gy, cumulative <= 70 Gy, SBRT over cumulative <= 0.5, interval >= 5 months. `all_met` joins them.

    Raises
    ------
    InputError
        When a value is negative or not finite, or the SBRT alone exceeds the sum.

    Notes
    -----
    Marked lit-verified (abstract). Sahgal et al., Int J Radiat Oncol Biol Phys 2012;82:107-116, tell 20 to 25 Gy of the
    SBRT; HyTEC's 25 Gy is taken.

    References
    ----------
    Sahgal A et al. Spinal cord dose tolerance to stereotactic body radiation therapy (HyTEC). Int J Radiat Oncol Biol
    Phys 2021;110:124-136, doi:10.1016/j.ijrobp.2019.09.038.
    """
    for value in (sbrt_eqd2_gy, cumulative_eqd2_gy, interval_months):
        _require_amount(value)
    ratio = None
    if sbrt_eqd2_gy is not None and cumulative_eqd2_gy is not None:
        if sbrt_eqd2_gy > cumulative_eqd2_gy + _EXACT:
            raise InputError(
                f"the thecal sac has {sbrt_eqd2_gy:g} Gy EQD2 by the SBRT alone but {cumulative_eqd2_gy:g} Gy over all "
                "courses; the sum includes the SBRT"
            )
        ratio = sbrt_eqd2_gy / cumulative_eqd2_gy if cumulative_eqd2_gy > 0 else 0.0
    unit = "Gy EQD2(a/b=2)"
    return (
        CordCondition("maximum of the thecal sac in the SBRT", sbrt_eqd2_gy, "<=", 25.0, unit),
        CordCondition("maximum of the thecal sac over all courses", cumulative_eqd2_gy, "<=", 70.0, unit),
        CordCondition("the SBRT's part of it", ratio, "<=", 0.5, "1"),
        CordCondition("time between the courses", interval_months, ">=", 5.0, "months"),
    )


@dataclass(frozen=True)
class NiederScore:
    """Points and risk group of myelopathy after re-irradiation of the cord.

    Parameters
    ----------
    dose_points : int
        By the cumulative BED.
    interval_points : float or None
        4.5 for less than 6 months; None while the interval is unknown.
    course_points : float
        4.5 where a course had 102 Gy BED or more.
    cumulative_bed_gy : float
        BED of all courses (alpha/beta 2 Gy), Gy.
    conditions : tuple of CordCondition
        Of a small risk (RB-103): interval, each course, cumulative BED up to 135.5 Gy.
    none_reported : tuple of CordCondition
        The same with 120 Gy, up to which no case was reported.
    """

    dose_points: int
    interval_points: float | None
    course_points: float
    cumulative_bed_gy: float
    conditions: tuple[CordCondition, ...]
    none_reported: tuple[CordCondition, ...]

    @property
    def points(self) -> float | None:
        """All points; None while the interval is unknown."""
        return None if self.interval_points is None else self.dose_points + self.interval_points + self.course_points

    @property
    def group(self) -> Literal["low", "intermediate", "high"] | None:
        """Low up to 3, intermediate up to 6, high above; None while the interval is unknown and could change it."""
        without = self.dose_points + self.course_points
        found = {_group(without + late) for late in _possible(self.interval_points)}
        return found.pop() if len(found) == 1 else None

    @property
    def risk_percent(self) -> float | None:
        """Patients of the group with myelopathy in the collected reports, %."""
        return None if self.group is None else NIEDER_RISK_PERCENT[self.group]


NIEDER_RISK_PERCENT = {"low": 3.0, "intermediate": 25.0, "high": 90.0}
_EARLY_POINTS = 4.5


def nieder_score(
    course_beds_gy: Sequence[float], interval_months: float | None, cumulative_bed_gy: float | None = None
) -> NiederScore:
    """Nieder's score of myelopathy after re-irradiation of the cervical or thoracic cord (RB-103, RB-104).

    The score is reported and blocks nothing (RB-105). It is not for the lumbar cord, of which the authors take an
    alpha/beta of 4 Gy and print no points.

    Parameters
    ----------
    course_beds_gy : sequence of float
        BED of every course to the cord, the planned one included, alpha/beta 2 Gy, without recovery, Gy.
    interval_months : float or None
        Between the courses, the shortest of several; None is unknown.
    cumulative_bed_gy : float or None
        BED of the sum by voxel; the courses' own are added where it is not given.

    Notes
    -----
    Groups, their risks and the conditions are marked lit-verified (abstract), the points lit-recalled.

    References
    ----------
    Nieder C et al. Update of human spinal cord reirradiation tolerance based on additional data from 38 patients. Int J
    Radiat Oncol Biol Phys 2006;66:1446-1449, doi:10.1016/j.ijrobp.2006.07.1383; the score is that of 2005;61:851-855,
    doi:10.1016/j.ijrobp.2004.06.016.

    Examples
    --------
    >>> score = nieder_score([120.0, 39.96], 14.0)
    >>> score.points, score.group
    (8.5, 'high')
    """
    if not course_beds_gy:
        raise InputError("Nieder's score needs the BED of every course")
    for value in (*course_beds_gy, interval_months, cumulative_bed_gy):
        _require_amount(value)
    cumulative = sum(course_beds_gy) if cumulative_bed_gy is None else cumulative_bed_gy
    highest = max(course_beds_gy)
    if highest > cumulative + _EXACT:
        raise InputError(
            f"one course has a BED of {highest:g} Gy but all of them {cumulative:g} Gy; the sum includes each course"
        )
    early = None if interval_months is None else (_EARLY_POINTS if interval_months < 6.0 else 0.0)

    def conditions(at_most_gy: float) -> tuple[CordCondition, ...]:
        return (
            CordCondition("cumulative BED", cumulative, "<=", at_most_gy, "Gy BED(a/b=2)"),
            CordCondition("highest BED of a course", highest, "<=", 98.0, "Gy BED(a/b=2)"),
            CordCondition("time between the courses", interval_months, ">=", 6.0, "months"),
        )

    return NiederScore(
        min(max(math.ceil((cumulative - 120.0 - _EXACT) / 10.0), 0), 9),
        early,
        _EARLY_POINTS if highest >= 102.0 - _EXACT else 0.0,
        cumulative,
        conditions(135.5),
        conditions(120.0),
    )


def _possible(points: float | None) -> tuple[float, ...]:
    return (0.0, _EARLY_POINTS) if points is None else (points,)


def _group(points: float) -> Literal["low", "intermediate", "high"]:
    return "low" if points <= 3 else "intermediate" if points <= 6 else "high"


def _require_amount(value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise InputError(f"a dose or an interval of the cord is negative or not finite: {value:g}")

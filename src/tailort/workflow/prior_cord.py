"""What earlier courses gave at the cord: the two doses by which the cord's limit is read (KO-85), and all its readings.

A protocol that asks for `prior_prescription_bed_gy` or `prior_cord_bed_gy` gets them from the courses where the
clinical record does not tell them.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from tailort.errors import InputError
from tailort.evaluation import accumulate, cells_of, dvh_in
from tailort.geometry import Grid
from tailort.patient import Case, Fact, Structure
from tailort.protocols import Protocol
from tailort.protocols.known import known_facts, readings_taken
from tailort.radiobiology import bed
from tailort.radiobiology.cord import (
    ALPHA_BETA_GY,
    REVIEW_ABOVE_GY,
    STEP_FRACTIONS,
    Prior,
    Steps,
    cord_limit,
    cord_limit_gy,
)
from tailort.registration import Registration
from tailort.workflow.earlier import earlier_on
from tailort.workflow.recurrence import prescribed_of

PRESCRIPTION, CORD = "prior_prescription_bed_gy", "prior_cord_bed_gy"
# What stands for the cord, the first that is drawn: what holds the cord has at least its dose.
CORDS = ("SpinalCord", "ThecalSac", "SpinalCanal")
METRIC = "D0.035cc[Gy]"
# 0.035 cm3 are one voxel of 3 mm.
SPACING_MM = 1.5
AROUND_MM = 6.0
# A record that differs from the courses by less says the same, Gy BED.
SAME_GY = 0.5
# What floating point adds to a sum must not push it over an edge.
_EXACT = 1e-6
_READINGS: tuple[tuple[Prior, str], ...] = (
    ("larger", "the larger of prescription and cord"),
    ("prescription", "prescription"),
    ("cord", "cord"),
)
_STEPS: tuple[tuple[Steps, str, str], ...] = (
    ("upper_edge", "KO-81", "steps of 1 Gy, upper edge"),
    ("mid_bin", "KO-82", "steps of 1 Gy, middle"),
    ("continuous", "KO-82", "line without steps"),
)


@dataclass(frozen=True)
class PriorBeds:
    """Earlier BED at the cord, alpha/beta 2 Gy, without recovery, by the courses.

    Parameters
    ----------
    prescription_gy : float or None
        Of all prescriptions at the target together, each phase with its own fractions; None is unknown.
    cord_gy : (float, float) or None
        Least and most of the cord's D0.035cc over all courses; None where no cord is drawn or a dose is not known.
    structure : str
        Whose D0.035cc it is; empty where there is none.
    reasons : tuple of str
        Why something is unknown, and what was taken for granted.
    """

    prescription_gy: float | None
    cord_gy: tuple[float, float] | None
    structure: str
    reasons: tuple[str, ...] = ()


def prior_beds(case: Case, registrations: Mapping[str, Registration], today: dt.date | None) -> PriorBeds:
    """Return the BED of the earlier prescriptions and of the cord, as far as the courses tell them.

    Parameters
    ----------
    case : Case
        With its earlier courses; those that were not given at the target add to the cord but not to the prescription.
    registrations, today
        As for `earlier_on`.
    """
    reasons: list[str] = []
    cord_gy, structure = _cord_bed(case, registrations, today, reasons)
    return PriorBeds(_prescription_bed(case, reasons), cord_gy, structure, tuple(reasons))


def _prescription_bed(case: Case, reasons: list[str]) -> float | None:
    total, is_known, taken = 0.0, True, []
    for course in case.courses:
        if course.at_target is False:
            continue
        if course.at_target is None:
            taken.append(course.label)
        prescribed = prescribed_of(course)
        if not prescribed.is_known:
            reasons.append(
                f"what course '{course.label}' prescribed is not known: add its RTPLAN, or its prescription to its "
                "course.yaml"
            )
            is_known = False
            continue
        total += sum(float(bed(dose_gy, fractions, ALPHA_BETA_GY)) for dose_gy, fractions in prescribed.phases)
    if taken:
        told = ", ".join(f"'{label}'" for label in taken)
        reasons.append(f"course {told} is taken as given at the target; say at_target: false where it was not")
    return total if is_known else None


def _cord_bed(
    case: Case, registrations: Mapping[str, Registration], today: dt.date | None, reasons: list[str]
) -> tuple[tuple[float, float] | None, str]:
    drawn = (case.structures.find(name) for name in CORDS)
    cord = next((one for one in drawn if one is not None and not one.is_empty), None)
    if cord is None:
        reasons.append(f"none of {', '.join(CORDS)} is drawn, so the cord's earlier dose is not known")
        return None, ""
    slice_mm = case.ct.image.grid.spacing_mm[0]
    courses = earlier_on(case, _around(case, cord), registrations, today)
    total = accumulate(courses, (), "BED", ALPHA_BETA_GY)
    cells = cells_of(cord, total.image.grid, single_slice_thickness_mm=slice_mm)
    try:
        low, high = dvh_in(cells, total).bounds(METRIC)
    except InputError as error:
        reasons.append(f"the cord's earlier dose is not known: {error}")
        return None, cord.name
    if not math.isfinite(high):
        reasons.append(f"{METRIC} of {cord.name} is not known: an earlier dose grid does not reach all of it")
        return None, cord.name
    return (low, high), cord.name


def _around(case: Case, structure: Structure) -> Grid:
    """Fine grid around a structure."""
    ct = case.ct.image.grid
    low, high = structure.bounds_mm()
    index = ct.to_index(np.stack([low - AROUND_MM, high + AROUND_MM]))
    return ct.crop(np.floor(index.min(axis=0)), np.ceil(index.max(axis=0)) + 1).with_spacing(SPACING_MM)


def with_prior_facts(
    case: Case, protocol: Protocol | None, beds: PriorBeds
) -> tuple[Case, tuple[str, ...], tuple[str, ...]]:
    """Offer earlier BED to a protocol that asks for it and whose record does not tell it.

    Parameters
    ----------
    case : Case
        With the clinical record.
    protocol : Protocol or None
        Which may ask for `prior_prescription_bed_gy` and `prior_cord_bed_gy`.
    beds : PriorBeds
        By the courses.

    Returns
    -------
    case, notes, warnings
        The case with the facts that the record leaves open; what a reader must know; and where the record says
        something else, which stands.
    """
    asked = set() if protocol is None else {entry.name for entry in protocol.file.facts} & {PRESCRIPTION, CORD}
    if protocol is None or not asked or not case.facts or not case.courses:
        return case, (), ()
    known = known_facts(protocol.file, case.facts)
    cord = f"{METRIC} of {beds.structure} over the earlier courses"
    found = {
        PRESCRIPTION: (beds.prescription_gy, "prescriptions of the earlier courses"),
        CORD: (None if beds.cord_gy is None else beds.cord_gy[1], cord),
    }
    facts, notes, warnings = dict(case.facts), list[str](), list[str]()
    for name in (PRESCRIPTION, CORD):
        value, what = found[name]
        if name not in asked or value is None:
            continue
        if name == CORD and beds.cord_gy is not None and beds.cord_gy[0] != beds.cord_gy[1]:
            what = f"the most that {what} can be"
        told = known.get(name)
        if told is None or told.value is None:
            facts[name] = Fact(name, round(value, 6), what)
            notes.append(
                f"'{name}' is not in the clinical record; {value:.1f} Gy follows from {what} and was used [KO-85]"
            )
        elif abs(float(cast(float, told.value)) - value) > SAME_GY:
            warnings.append(
                f"the clinical record says that '{name}' is {told.value:g} Gy, {value:.1f} Gy follows from {what}; the "
                "record was used: check which is right [KO-85]"
            )
    open_ = [name for name in asked if found[name][0] is None and name not in known]
    notes += beds.reasons if open_ or notes else ()
    return case.with_facts(facts), tuple(notes), tuple(warnings)


def told_by_courses(
    case: Case, protocol: Protocol, registrations: Mapping[str, Registration], today: dt.date | None
) -> Case:
    """Return the case with the facts of `with_prior_facts` and what a reader must know of them among its notes."""
    if not case.courses:
        return case
    case, notes, warnings = with_prior_facts(case, protocol, prior_beds(case, registrations, today))
    return replace(case, notes=(*case.notes, *warnings, *notes))


@dataclass(frozen=True)
class StepReading:
    """The cord's limit by one reading of its rule.

    Parameters
    ----------
    rule, text : str
        Which reading of the steps, and what it says.
    prior : str
        Which earlier dose it takes.
    prior_bed_gy : float or None
        That dose, BED (alpha/beta 2 Gy), Gy; None is unknown.
    limit_gy : float or None
        Of D0.035cc of the cord's PRV in 2 fractions, physical Gy; None while a dose that could change it is unknown.
    together_bed_gy : float or None
        Both together.
    governs : bool
        Whether the protocol takes this reading.
    """

    rule: str
    text: str
    prior: str
    prior_bed_gy: float | None
    limit_gy: float | None
    together_bed_gy: float | None
    governs: bool

    @property
    def above_review(self) -> bool | None:
        """Whether both together exceed 140 Gy BED (KO-84); None while that is unknown."""
        return None if self.together_bed_gy is None else self.together_bed_gy > REVIEW_ABOVE_GY + _EXACT

    def as_dict(self) -> dict[str, object]:
        """Return what cumulative.json holds."""

        def told(value: float | None) -> float | None:
            return None if value is None else round(value, 3)

        return {
            "rule": self.rule,
            "text": self.text,
            "prior": self.prior,
            "prior_bed_gy": told(self.prior_bed_gy),
            "limit_gy": told(self.limit_gy),
            "together_bed_gy": told(self.together_bed_gy),
            "above_140_gy": self.above_review,
            "governs": self.governs,
        }


def step_readings(
    beds: PriorBeds, case: Case, protocol: Protocol | None, readings: Mapping[str, str]
) -> tuple[StepReading, ...]:
    """The cord's limit by every reading of KO-82 and KO-85; nothing where no earlier dose is known.

    Parameters
    ----------
    beds : PriorBeds
        By the courses; doses that the clinical record tells stand in their place.
    case : Case
        With the clinical record, as `with_prior_facts` left it.
    protocol : Protocol or None
        Whose readings govern; none governs where it has no such rule.
    readings : mapping of str
        Readings that a person chose, by rule.
    """
    prescription, cord = beds.prescription_gy, None if beds.cord_gy is None else beds.cord_gy[1]
    taken: Mapping[str, str] = {}
    if protocol is not None:
        known = known_facts(protocol.file, case.facts)
        prescription, cord = (
            float(cast(float, known[name].value)) if name in known else value
            for name, value in ((PRESCRIPTION, prescription), (CORD, cord))
        )
        if {"KO-82", "KO-85"} <= {choice.rule for choice in protocol.file.readings}:
            taken = readings_taken(protocol.file, readings)
    if prescription is None and cord is None:
        return ()
    rows = []
    for prior, which in _READINGS:
        for steps, rule, text in _STEPS:
            found = cord_limit(prescription, cord, prior, steps)
            governs = (taken.get("KO-85"), taken.get("KO-82")) == (prior, steps)
            rows.append(
                StepReading(rule, text, which, found.prior_bed_gy, found.limit_gy, found.together_bed_gy, governs)
            )
        rows.append(_lower_edge(which, cord_limit(prescription, cord, prior).prior_bed_gy))
    return tuple(rows)


def _lower_edge(which: str, prior_gy: float | None) -> StepReading:
    """The reading that does not give the printed example: each step with the limit of its lower edge."""
    text = "steps of 1 Gy, lower edge: not the printed example, never taken"
    if prior_gy is None:
        return StepReading("KO-82", text, which, None, None, None, False)
    limit = float(cord_limit_gy(max(math.ceil(prior_gy - _EXACT) - 1.0, 0.0)))
    together = prior_gy + float(bed(limit, STEP_FRACTIONS, ALPHA_BETA_GY))
    return StepReading("KO-82", text, which, prior_gy, limit, together, False)

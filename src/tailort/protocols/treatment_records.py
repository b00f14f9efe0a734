"""Records of what a protocol asks for in one patient; `treatment` makes them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from tailort.protocols.condition import Answer
from tailort.protocols.course_dates import Appointment
from tailort.protocols.drug_doses import NOT_AN_ORDER, DrugDose
from tailort.protocols.scores.body_surface import BsaAnswer


@dataclass(frozen=True)
class Part:
    """Something that the protocol asks for: what, whether it applies, and on whose rules.

    Parameters
    ----------
    name, text : str
        What it is called, and what it says.
    applies : {"yes", "unknown"}
        What does not apply is left out.
    missing : tuple of str
        Facts that are unknown and decide whether it applies.
    rules : tuple of str
        Ids of its rules.
    """

    name: str
    text: str
    applies: Answer
    missing: tuple[str, ...]
    rules: tuple[str, ...]


@dataclass(frozen=True)
class PrescribedDose:
    """Physical dose of one phase to one target, Gy, and what it is worth.

    Parameters
    ----------
    target : str
        Structure.
    phase, fractions : int
        Phase of the course and its number of fractions.
    dose_gy, dose_per_fraction_gy : float
        Physical dose of the phase and of one fraction, Gy.
    course_gy : float
        Physical dose of all phases, with that of the target it boosts, Gy.
    tied_to : str
        How the dose is tied to the plan.
    alpha_beta_gy, bed_gy, eqd2_gy : float or None
        Of the phase, Gy; None where the file has no alpha/beta.
    rules : tuple of str
        Ids of its rules.
    """

    target: str
    phase: int
    fractions: int
    dose_gy: float
    dose_per_fraction_gy: float
    course_gy: float
    tied_to: str
    alpha_beta_gy: float | None
    bed_gy: float | None
    eqd2_gy: float | None
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Limit:
    """A limit; one in percent of a prescription is told in Gy. `applies` and `missing` are as of `Part`.

    `limit` is None while a decision table leaves it open; `note` tells what it is made of, or what it may be.
    """

    structure: str
    metric: str
    operator: str
    limit: float | None
    note: str
    priority: str
    quantity: str
    alpha_beta_gy: float | None
    scope: str
    on_violation: str | None
    applies: Answer
    missing: tuple[str, ...]
    rules: tuple[str, ...]
    mark: str


@dataclass(frozen=True)
class Course:
    """One course that the protocol may ask for.

    Parameters
    ----------
    plan, title : str
        Id and title of the plan; of the protocol where it has one course for all.
    techniques, targets, supplements, positions, amendments, options, images : tuple of Part
        How it is delivered, in the order in which it is tried; target recipe; fields that fill up; how the patient
        lies and other field margins; what changes the doses after assessment; other doses to choose; new images
        during the course.
    prescriptions : tuple of PrescribedDose
        Phase by phase.
    limits : tuple of Limit
        As the file gives them.
    rules : tuple of str
        Ids of the plan's rules.
    """

    plan: str
    title: str
    techniques: tuple[Part, ...]
    targets: tuple[Part, ...]
    prescriptions: tuple[PrescribedDose, ...]
    limits: tuple[Limit, ...]
    supplements: tuple[Part, ...]
    positions: tuple[Part, ...]
    amendments: tuple[Part, ...]
    options: tuple[Part, ...]
    images: tuple[Part, ...]
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Regimen:
    """A regimen, whether it is for this patient, and its drugs' doses.

    Parameters
    ----------
    id, setting : str
        Of the protocol file.
    applies : {"yes", "no", "unknown"}
        Whether it is for this patient.
    condition : str
        What was asked; empty where it is for everybody.
    missing : tuple of str
        Facts that decide whether it applies.
    cycles : tuple of int
        Numbers of cycles that are allowed.
    cycle_days : int or None
        Days from cycle to cycle.
    within_months : float or None
        How soon it begins.
    drugs, one_of : tuple of DrugDose
        Given together, and a choice of one, in the original dose.
    next_cycle : tuple of DrugDose
        The same in the dose that toxicity leaves for the next cycle; empty where it is the original one.
    same_as, left_to : str or None
        The regimen whose drugs these are; who chooses where the text names no drug.
    rules : tuple of str
        Ids of its rules.
    """

    id: str
    setting: str
    applies: Answer
    condition: str
    missing: tuple[str, ...]
    cycles: tuple[int, ...]
    cycle_days: int | None
    within_months: float | None
    drugs: tuple[DrugDose, ...]
    one_of: tuple[DrugDose, ...]
    next_cycle: tuple[DrugDose, ...]
    same_as: str | None
    left_to: str | None
    rules: tuple[str, ...]


@dataclass(frozen=True)
class Drugs:
    """Everything that the protocol says of drugs; `statement` stands beside every dose.

    Without `body_surface` the file names no formula of it, and no dose is calculated.
    """

    body_surface: BsaAnswer | None
    by_other_formula: BsaAnswer | None
    rules: tuple[str, ...]
    regimens: tuple[Regimen, ...]
    support: tuple[Part, ...]
    statement: str = NOT_AN_ORDER


@dataclass(frozen=True)
class ToxicityLine:
    """One condition on toxicity, what it asks for, and whether it holds."""

    id: str
    condition: str
    action: str
    dose_factor: float | None
    answer: Answer
    rules: tuple[str, ...]


@dataclass(frozen=True)
class ToxicityAnswer:
    """What recorded toxicity calls for.

    Parameters
    ----------
    action : str or None
        The most severe action that is called for; None when none is, by what is known.
    dose_factor : float or None
        What remains of the original dose of the next cycle, if it is given; None when it is stopped, 1 when unchanged.
    graded : bool
        Whether the record has any grade at all.
    missing : tuple of str
        Facts that could call for a more severe action; empty when the answer stands.
    lines : tuple of ToxicityLine
        Every condition.
    """

    action: str | None
    dose_factor: float | None
    graded: bool
    missing: tuple[str, ...]
    lines: tuple[ToxicityLine, ...]


@dataclass(frozen=True)
class Calendar:
    """Dates as planned, by date; `missing` are days without which others have no date, `notes` what to know."""

    appointments: tuple[Appointment, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Treatment:
    """What a protocol asks for in one patient.

    Parameters
    ----------
    courses : tuple of Course
        One for each plan that is not ruled out; a single one where the plan is settled.
    missing : tuple of str
        Facts that decide what of the only course applies.
    statements : tuple of Part
        Definitions and flags that hold, or could.
    drugs : Drugs or None
        None where the protocol says nothing of them.
    toxicity : ToxicityAnswer or None
        None where the protocol has no dose modification.
    calendar : Calendar
        Of the only course, and of follow-up.
    follow_up, safety, endpoints, design : tuple of Part
        In words.
    rules : dict
        Text, source and mark of every rule that is named.
    """

    courses: tuple[Course, ...]
    missing: tuple[str, ...]
    statements: tuple[Part, ...]
    drugs: Drugs | None
    toxicity: ToxicityAnswer | None
    calendar: Calendar
    follow_up: tuple[Part, ...]
    safety: tuple[Part, ...]
    endpoints: tuple[Part, ...]
    design: tuple[Part, ...]
    rules: Mapping[str, Mapping[str, str]]

    def as_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        plain: dict[str, Any] = _plain(self)
        return plain


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, dt.date) else value

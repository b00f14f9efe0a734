"""Response by RECIST 1.1 at every examination of a trial's patients, and progression against what was recorded.

Baseline is the last size of each lesion before treatment. What sizes do not tell is asked of the reader's words at a
visit on the day of the examination: `new_lesion` and `non_target_progression`, yes or no. Without them a response is
unknown wherever it could still be progression.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tailort.cohort.patients import FollowedPatient, LesionSize
from tailort.errors import InputError
from tailort.patient import FactValue
from tailort.protocols.scores import MeasurableAnswer, TargetLesion, measurable, respond
from tailort.protocols.scores.recist import NonTarget, Response
from tailort.workflow.trial_facts import PROGRESSION, by_pseudonym, day_of, days_in, happened, number_of, truth_of

NEW_LESION, NON_TARGET_PROGRESSION, SLICE = "new_lesion", "non_target_progression", "ct_slice_mm"
EARLIER_RADIOTHERAPY, IN_EARLIER_FIELD = "prior_radiotherapy", "recurrence_in_earlier_field"
HOLLOW = ("oesophagus", "esophagus", "gastric tube", "anastomosis")
"""Organs whose lesions are hollow ones (NM-118)."""
READINGS = (
    "Best response is the best up to the first progression; no confirmation and no least time of stable disease is "
    "asked, as the protocol prints none.",
    "Therapy after the trial's is not in the table and does not end the judgement of response.",
    "Progression by lesions and as recorded agree only on the same day: the protocol prints no tolerance.",
)
_GONE_NODE_MM = 10
_BETTER: tuple[Response, ...] = ("CR", "PR", "SD", "PD", "NE")
Agreement = Literal["agrees", "contradicts", "unknown"]


@dataclass(frozen=True)
class Examination:
    """Response at one examination.

    Parameters
    ----------
    day : date
        Of it.
    overall : Response or None
        None is unknown; "NE" is known to be not evaluable.
    target : Response or None
        Of the target lesions alone.
    sum_mm, nadir_mm : float or None
        Sum of the target lesions, and the smallest one before.
    change_percent : float or None
        Of the sum from baseline; negative where it has shrunk.
    missing, flags : tuple of str
        What is unknown, and what a reader must see.
    """

    day: dt.date
    overall: Response | None
    target: Response | None
    sum_mm: float | None
    nadir_mm: float | None
    change_percent: float | None
    missing: tuple[str, ...]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class PatientResponse:
    """Response of one patient.

    Parameters
    ----------
    pseudonym : str
        The patient.
    baseline_day : date or None
        Last examination before treatment.
    baseline_mm : float or None
        Sum of the target lesions at baseline.
    measurable : tuple of (str, MeasurableAnswer)
        Each target lesion and whether it could be one.
    examinations : tuple of Examination
        In their order.
    best, best_target : Response or None
        Best overall response, and that of the target lesions alone; None is unknown.
    progression_day, recorded_day : date or None
        First progression by the lesions, and as the table records it.
    agreement : {"agrees", "contradicts", "unknown"}
        Of the two.
    notes : tuple of str
        Why something is unknown or contradicts.
    """

    pseudonym: str
    baseline_day: dt.date | None
    baseline_mm: float | None
    measurable: tuple[tuple[str, MeasurableAnswer], ...]
    examinations: tuple[Examination, ...]
    best: Response | None
    best_target: Response | None
    progression_day: dt.date | None
    recorded_day: dt.date | None
    agreement: Agreement
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Responses:
    """Response of a trial: patients by pseudonym, those of whom no lesion is told, and conventions taken."""

    patients: tuple[PatientResponse, ...]
    without_lesions: tuple[str, ...]
    readings: tuple[str, ...] = READINGS

    def counted(self) -> dict[str, int]:
        """Number of patients by best overall response; "unknown" where it is."""
        found = dict.fromkeys((*_BETTER, "unknown"), 0)
        for one in self.patients:
            found[one.best or "unknown"] += 1
        return found


def responses(patients: Sequence[FollowedPatient], today: dt.date, *, course: str | None = None) -> Responses:
    """Judge every examination of every patient with a table of lesions.

    Parameters
    ----------
    patients : sequence of FollowedPatient
        In any order.
    today : date
        Cut-off; later examinations are not looked at.
    course : str or None
        Name of the trial's course where patients have several.

    Raises
    ------
    InputError
        Where a lesion is told twice at one examination, or as something else than before.
    """
    ordered = by_pseudonym(patients)
    return Responses(
        tuple(_patient(one, ordered, today, course) for one in ordered if one.lesions),
        tuple(one.pseudonym for one in ordered if not one.lesions),
    )


def _patient(
    patient: FollowedPatient, patients: Sequence[FollowedPatient], today: dt.date, course: str | None
) -> PatientResponse:
    _require_consistent(patient)
    start = days_in(patients, patient, today, course).start
    recorded = day_of(patient, PROGRESSION)
    ever = happened(patient, PROGRESSION)
    if recorded is not None and recorded > today:
        recorded, ever = None, False
    seen = sorted({lesion.day for lesion in patient.lesions if lesion.day <= today})
    before = [day for day in seen if start is not None and day <= start]
    if not before:
        why = "the day on which treatment began is not told" if start is None else "no examination before treatment"
        return PatientResponse(patient.pseudonym, None, None, (), (), None, None, None, recorded, "unknown", (why,))
    asked: list[tuple[str, MeasurableAnswer]] = []
    notes: list[str] = []
    targets = _targets(patient, before[-1])
    for lesion in targets:
        answer = _measurable(patient, lesion)
        asked.append((lesion.lesion, answer))
        if answer.kind in ("non-target", "normal"):
            notes.append(f"target '{lesion.lesion}' of {lesion.size_mm:g} mm at baseline is {answer.kind}, no target")
        elif answer.kind is None:
            open_ = "; ".join((*(f"'{name}' is not told" for name in answer.missing), *answer.flags))
            notes.append(f"whether target '{lesion.lesion}' is measurable is unknown: {open_}")
        if lesion.day != before[-1]:
            notes.append(f"baseline of '{lesion.lesion}' is of {lesion.day}")
    late = sorted({one.lesion for one in patient.lesions if one.kind == "target"} - {one.lesion for one in targets})
    notes += [f"target '{name}' has no size at baseline" for name in late]
    fault = _fault(targets)
    notes += [fault] if fault else []
    examinations: list[Examination] = []
    after = [day for day in seen if day not in before]
    if not late and not fault and all(answer.kind in ("measurable", None) for _, answer in asked):
        examinations = _examinations(patient, targets, before[-1], after)
    notes += [] if after else ["no examination after treatment began"]
    baseline = sum(one.size_mm or 0.0 for one in targets) if targets and not late else None
    progression = next((one.day for one in examinations if one.overall == "PD"), None)
    best, told = _best([one.overall for one in examinations])
    best_target, _ = _best([one.target for one in examinations])
    agreement, why = _agreement(examinations, progression, recorded, ever)
    return PatientResponse(
        patient.pseudonym, before[-1], baseline, tuple(asked), tuple(examinations), best, best_target, progression,
        recorded, agreement, tuple(one for one in (*notes, told, why) if one),
    )  # fmt: skip


def _require_consistent(patient: FollowedPatient) -> None:
    kinds: dict[str, tuple[str, str, bool]] = {}
    seen: set[tuple[str, dt.date]] = set()
    for one in patient.lesions:
        where = f"patient '{patient.pseudonym}': lesion '{one.lesion}'"
        if one.size_mm is not None and not 0 <= one.size_mm < math.inf:
            raise InputError(f"{where} is {one.size_mm} mm on {one.day}; expected a finite number of 0 or more")
        if (one.lesion, one.day) in seen:
            raise InputError(f"{where} is there twice on {one.day}; tell it once")
        seen.add((one.lesion, one.day))
        told = (one.kind, one.organ, one.nodal)
        if kinds.setdefault(one.lesion, told) != told:
            raise InputError(
                f"{where} is {told} on {one.day} and {kinds[one.lesion]} on another day; correct the table"
            )


def _targets(patient: FollowedPatient, baseline: dt.date) -> list[LesionSize]:
    """Last size of each target lesion up to the baseline, by name."""
    found: dict[str, LesionSize] = {}
    for one in sorted(patient.lesions, key=lambda lesion: lesion.day):
        if one.kind == "target" and one.day <= baseline and one.size_mm is not None:
            found[one.lesion] = one
    return [found[name] for name in sorted(found)]


def _fault(targets: Sequence[LesionSize]) -> str:
    """What keeps these lesions from being the targets of one patient, such as too many of one organ."""
    if not targets:
        return ""
    try:
        sizes = [(one, one.size_mm) for one in targets]
        respond([TargetLesion(one.lesion, one.organ, one.nodal, (size, size)) for one, size in sizes], "none", False)
    except InputError as error:
        return str(error)
    return ""


def _measurable(patient: FollowedPatient, lesion: LesionSize) -> MeasurableAnswer:
    untouched = truth_of(patient, EARLIER_RADIOTHERAPY) is False or truth_of(patient, IN_EARLIER_FIELD) is False
    hollow = any(word in lesion.organ.casefold() for word in HOLLOW)
    if not lesion.size_mm:
        return MeasurableAnswer("normal", (), (), ())
    return measurable(
        lesion.size_mm, lesion.nodal, number_of(patient, SLICE), False if untouched else None, None, hollow
    )


def _examinations(
    patient: FollowedPatient, targets: Sequence[LesionSize], baseline: dt.date, days: Sequence[dt.date]
) -> list[Examination]:
    sizes = {(one.lesion, one.day): one.size_mm for one in patient.lesions}
    others = sorted({one.lesion for one in patient.lesions if one.kind == "non-target" and one.day <= baseline})
    found: list[Examination] = []
    new: bool | None = False
    before = sum(one.size_mm or 0.0 for one in targets)
    for n, day in enumerate(days):
        lesions = [
            TargetLesion(
                one.lesion, one.organ, one.nodal,
                (one.size_mm, *(sizes.get((one.lesion, seen)) for seen in days[: n + 1])),
            )
            for one in targets
        ]  # fmt: skip
        new = True if new else _new(patient, day)
        non_target = _non_target(patient, others, day)
        if not lesions and non_target == "none":
            raise InputError(f"patient '{patient.pseudonym}' has no lesion at baseline; a response needs one")
        answer = respond(lesions, non_target, new)
        change = None if answer.sum_mm is None or before == 0 else 100 * (answer.sum_mm - before) / before
        found.append(
            Examination(
                day, answer.overall, answer.target, answer.sum_mm, answer.nadir_mm, change, answer.missing,
                (*answer.flags, *(f"{one.rule}: {one.taken}" for one in answer.readings)),
            )
        )  # fmt: skip
    return found


def _new(patient: FollowedPatient, day: dt.date) -> bool | None:
    """Whether a new lesion was seen on a day, by the lesions or by the reader's words."""
    told = [one.size_mm for one in patient.lesions if one.kind == "new" and one.day == day]
    word = _word(patient, NEW_LESION, day)
    if word is True or any(size is not None and size > 0 for size in told):
        return True
    return False if word is False or (told and all(size == 0 for size in told)) else None


def _non_target(patient: FollowedPatient, names: Sequence[str], day: dt.date) -> NonTarget | None:
    """Response of the non-target lesions together; that one has progressed is a reader's word."""
    word = _word(patient, NON_TARGET_PROGRESSION, day)
    if word is True:
        return "PD"
    if not names:
        return "none"
    told = {one.lesion: one for one in patient.lesions if one.day == day and one.kind == "non-target"}
    sizes = [told[name].size_mm if name in told else None for name in names]
    if all(size is None for size in sizes):
        return "NE" if word is False else None
    gone = [
        size is not None and (size < _GONE_NODE_MM if told[name].nodal else size == 0)
        for name, size in zip(names, sizes, strict=True)
    ]
    if all(gone):
        return "CR"
    if word is None:
        return None
    present = any(size is not None and not one for size, one in zip(sizes, gone, strict=True))
    return "non-CR/non-PD" if present else "NE"


def _word(patient: FollowedPatient, name: str, day: dt.date) -> bool | None:
    told: set[FactValue] = {
        visit.facts[name].value for visit in patient.visits if visit.day == day and name in visit.facts
    } - {None}
    if len(told) > 1 or not all(isinstance(value, bool) for value in told):
        raise InputError(
            f"patient '{patient.pseudonym}': '{name}' on {day} is {', '.join(map(str, told))}; expected yes or no, once"
        )
    return bool(told.pop()) if told else None


def _best(responses: Sequence[Response | None]) -> tuple[Response | None, str]:
    """Best response up to the first progression, and why it is unknown."""
    until = list(responses).index("PD") + 1 if "PD" in responses else len(responses)
    known = [response for response in responses[:until] if response is not None]
    best = min(known, key=_BETTER.index, default=None)
    if len(known) < until and best != "CR":
        return None, "best response is unknown: that of an examination up to progression is"
    return best, ""


def _agreement(
    examinations: Sequence[Examination], progression: dt.date | None, recorded: dt.date | None, ever: bool | None
) -> tuple[Agreement, str]:
    if not examinations:
        return "unknown", ""
    if progression is not None:
        earlier = [one.day for one in examinations if one.day < progression and one.overall is None]
        if recorded == progression:
            return "agrees", ""
        if recorded is not None:
            off = (recorded - progression).days
            if recorded in earlier:
                return "unknown", f"whether the lesions had progressed by {recorded}, as recorded, is unknown"
            word = "later" if off > 0 else "earlier"
            return "contradicts", f"progression is recorded on {recorded}, {abs(off)} days {word} than by the lesions"
        if ever is False:
            return "contradicts", f"no progression is recorded, by the lesions it was on {progression}"
        return "unknown", "whether progression is recorded is not told"
    if recorded is None:
        if ever is False and all(one.overall is not None for one in examinations):
            return "agrees", ""
        return "unknown", "" if ever is None else "the response at an examination is unknown"
    since = [one for one in examinations if one.day >= recorded]
    if not since:
        return "unknown", f"no examination of lesions on or after {recorded}, when progression is recorded"
    if any(one.overall in (None, "NE") for one in since):
        return "unknown", f"the response on or after {recorded}, when progression is recorded, is unknown"
    return "contradicts", f"progression is recorded on {recorded}, the lesions show none then or later"

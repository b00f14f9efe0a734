"""What a report of a re-irradiation has to tell, item by item, and what of it is unknown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tailort.evaluation import EarlierCourse, Scorecard
from tailort.evaluation.recurrence import PrescribedDose
from tailort.patient import Case, Course, Dose, Plan
from tailort.radiobiology.recovery import months_between
from tailort.radiobiology.reirradiation_types import ReportingItem, reporting_items
from tailort.registration import Registration
from tailort.workflow.budgeting import BudgetRow
from tailort.workflow.kinds import CourseKind
from tailort.workflow.recurrence import prescribed_of
from tailort.workflow.recurrence_places import DEFAULT, RecurrencePlace

UNKNOWN, NOT_RECORDED = "unknown", "not recorded"
# Facts of clinical records that tell an item, the first that is there counting where one is enough.
_SYSTEMIC = (
    "concurrent_chemotherapy", "chemotherapy_arm", "adjuvant_therapy", "last_chemotherapy_date", "earlier_platinum",
    "therapy_after_recurrence",
)  # fmt: skip
_STATUS = ("ecog", "kps")
_SURVIVAL = ("expected_survival_months",)
_RESPONSE = ("response_to_first_course",)
_DECISION = ("multidisciplinary_decision",)


@dataclass(frozen=True)
class ReportedItem:
    """One item and what is told of it.

    Parameters
    ----------
    item : ReportingItem
        What is asked.
    lines : tuple of str
        What is told, "unknown" and "not recorded" included.
    gaps : tuple of str
        What of it is unknown, in words.
    """

    item: ReportingItem
    lines: tuple[str, ...]
    gaps: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return the entry of cumulative.json."""
        return {
            "key": self.item.key,
            "title": self.item.title,
            "told": list(self.lines),
            "unknown": list(self.gaps),
            "rules": list(self.item.rules),
            "mark": self.item.mark,
        }


@dataclass(frozen=True)
class Reporting:
    """A whole report of a re-irradiation, in items.

    Parameters
    ----------
    kinds : tuple of CourseKind
        By earlier course.
    recurrences : tuple of RecurrencePlace
        By tumour volume, course and definition.
    items : tuple of ReportedItem
        All that are asked for, in their order.
    """

    kinds: tuple[CourseKind, ...]
    recurrences: tuple[RecurrencePlace, ...]
    items: tuple[ReportedItem, ...]

    @property
    def gaps(self) -> tuple[str, ...]:
        """Everything that is unknown, in words."""
        return tuple(dict.fromkeys(gap for one in self.items for gap in one.gaps))

    def as_dict(self) -> dict[str, object]:
        """Return what cumulative.json holds of it."""
        return {
            "kinds": [kind.as_dict() for kind in self.kinds],
            "recurrences": [row.as_dict() for row in self.recurrences],
            "items": [one.as_dict() for one in self.items],
            "unknown": list(self.gaps),
        }


def reporting(
    case: Case,
    earlier: Sequence[EarlierCourse],
    own: Sequence[Dose],
    registrations: Mapping[str, Registration],
    kinds: Sequence[CourseKind],
    recurrences: Sequence[RecurrencePlace],
    budget: Sequence[BudgetRow],
    scorecard: Scorecard,
    prescribed: PrescribedDose | None,
    today: dt.date | None,
    organs: str = "each course and the sum by organ, EQD2 and BED, alpha/beta 2, 3 and 10 Gy, in the tables",
) -> Reporting:
    """Tell every item that a report of a re-irradiation has, what is unknown among them.

    Parameters
    ----------
    case : Case
        Of today, with earlier courses, plans and clinical record.
    earlier : sequence of EarlierCourse
        The courses as they lie in the patient of today.
    own : sequence of Dose
        Physical dose of each phase of today; may be empty.
    registrations : mapping of str to Registration
        By the course's label.
    kinds, recurrences, budget, scorecard
        As they were found.
    prescribed : PrescribedDose or None
        Of today; None is unknown.
    today : date or None
        From which months are counted.
    organs : str
        Where the doses of organs are told.
    """
    told: dict[str, tuple[list[str], list[str]]] = {
        "type": _types(kinds),
        "recurrence": _places(recurrences),
        "overlap": _overlaps(kinds),
        "interval": _intervals(case.courses, earlier, today),
        "earlier_courses": _earlier(case.courses),
        "new_course": _today(case, own, prescribed),
        "targets": _targets(case),
        "registration": _registrations(case.courses, registrations),
        "organs": ([organs], []),
        "recovery": _recovery(case.courses),
        "limits": _limits(scorecard, budget),
        "systemic_therapy": _facts(case, _SYSTEMIC, "systemic therapy"),
        "performance_status": _facts(case, _STATUS, "performance status"),
        "survival_estimate": _facts(case, _SURVIVAL, "expected survival"),
        "response": _facts(case, _RESPONSE, "response to the earlier courses"),
        "decision": _facts(case, _DECISION, "whether several disciplines decided"),
    }
    later: tuple[list[str], list[str]] = ([NOT_RECORDED], [])
    items = tuple(
        ReportedItem(item, tuple(lines), tuple(gaps))
        for item in reporting_items()
        for lines, gaps in (told.get(item.key, later),)
    )
    return Reporting(tuple(kinds), tuple(recurrences), items)


def _types(kinds: Sequence[CourseKind]) -> tuple[list[str], list[str]]:
    lines = []
    for kind in kinds:
        why = ""
        if kind.overlap:
            why = " (the irradiated volumes overlap)"
        elif kind.concerns:
            why = f" (dose of both: {', '.join(kind.concerns)})"
        lines.append(f"'{kind.course}': {kind.told}{why}")
    gaps = [f"type of re-irradiation with '{kind.course}'" for kind in kinds if len(kind.kinds) > 1]
    return lines, gaps


def _places(recurrences: Sequence[RecurrencePlace]) -> tuple[list[str], list[str]]:
    if not recurrences:
        return [f"{UNKNOWN}: no gross tumour volume is drawn today"], ["where the recurrence lies to earlier fields"]
    own = [row for row in recurrences if row.definition == DEFAULT]
    lines = []
    for row in own:
        others = [
            f"{other.told} by '{other.definition}'"
            for other in recurrences
            if (other.structure, other.course) == (row.structure, row.course) and other.told not in (row.told, UNKNOWN)
        ]
        also = f"; {', '.join(others)}" if others else ""
        lines.append(f"{row.structure} and '{row.course}': {row.told}{also}")
    gaps = [f"whether {row.structure} lies in the field of '{row.course}'" for row in own if row.told == UNKNOWN]
    return lines, gaps


def _overlaps(kinds: Sequence[CourseKind]) -> tuple[list[str], list[str]]:
    lines, gaps = [], []
    for kind in kinds:
        parts = []
        if kind.target_cm3 is not None:
            parts.append(f"{_between(kind.target_cm3)} of today's target within its 50 % isodose")
        if kind.isodose_cm3 is not None:
            parts.append(f"{_between(kind.isodose_cm3)} within both 50 % isodoses")
        lines.append(f"'{kind.course}': {'; '.join(parts) if parts else UNKNOWN}")
        if kind.isodose_cm3 is None or not np.isfinite(kind.isodose_cm3[1]):
            gaps.append(f"volume of the overlap with '{kind.course}'")
    return lines, gaps


def _intervals(
    courses: Sequence[Course], earlier: Sequence[EarlierCourse], today: dt.date | None
) -> tuple[list[str], list[str]]:
    lines, gaps = [], []
    until = "" if today is None else f" to {today.isoformat()}"
    for course, there in zip(courses, earlier, strict=True):
        if there.months is None or course.last_fraction is None:
            last = "last fraction unknown" if course.last_fraction is None else course.last_fraction.isoformat()
            lines.append(f"'{course.label}': {UNKNOWN} ({last})")
            gaps.append(f"interval since '{course.label}'")
        else:
            lines.append(f"'{course.label}': {there.months:.1f} months, {course.last_fraction.isoformat()}{until}")
    known = sorted((c.last_fraction, c.label) for c in courses if c.last_fraction is not None)
    for (first, one), (second, other) in pairwise(known):
        lines.append(f"'{one}' to '{other}': {months_between(first, second):.1f} months between their last fractions")
    return lines, gaps


def _earlier(courses: Sequence[Course]) -> tuple[list[str], list[str]]:
    lines, gaps = [], []
    for course in courses:
        prescribed = prescribed_of(course)
        fractions = " + ".join(str(n) for _, n in prescribed.phases)
        dose = _prescription(prescribed) if prescribed.is_known else f"prescription {UNKNOWN}, {fractions} fractions"
        technique = _techniques(course.plans)
        engines = sorted({one.engine for one in course.doses} - {""})
        engine = ", ".join(engines) if engines and engines != [UNKNOWN] else UNKNOWN
        lines.append(f"'{course.label}': {dose}; technique {technique}; dose engine {engine}")
        gaps += [
            f"{what} of '{course.label}'"
            for what, is_open in (
                ("prescription", not prescribed.is_known),
                ("technique", technique == UNKNOWN),
                ("dose engine", engine == UNKNOWN),
            )
            if is_open
        ]
    return lines, gaps


def _today(case: Case, own: Sequence[Dose], prescribed: PrescribedDose | None) -> tuple[list[str], list[str]]:
    if not own:
        dose = "" if prescribed is None else f"; the protocol asks for {_prescription(prescribed)}"
        return [f"not planned yet{dose}"], ["the dose of today's course"]
    fractions = " + ".join(str(dose.fractions) for dose in own)
    what = f"prescription {UNKNOWN}, {fractions} fractions" if prescribed is None else _prescription(prescribed)
    technique, engine = _techniques(case.plans), ", ".join(sorted({dose.engine for dose in own}))
    gaps = [
        f"{name} of today's course"
        for name, is_open in (
            ("prescription", prescribed is None),
            ("technique", technique == UNKNOWN),
            ("dose engine", engine == UNKNOWN),
        )
        if is_open
    ]
    return [f"{what}; technique {technique}; dose engine {engine}"], gaps


def _prescription(prescribed: PrescribedDose) -> str:
    return " + ".join(f"{gy:g} Gy in {n} fractions of {gy / n:.3g} Gy" for gy, n in prescribed.phases)


def _techniques(plans: Sequence[Plan]) -> str:
    """How plans were delivered, as far as their control points tell."""
    return " + ".join(_technique(plan) for plan in plans) or UNKNOWN


def _technique(plan: Plan) -> str:
    arcs = any(len({point.gantry_deg for point in beam.control_points}) > 1 for beam in plan.beams)
    segments = any(beam.dynamic or len(list(beam.segments())) > 1 for beam in plan.beams)
    how = "arcs" if arcs else "modulated fields" if segments else "static fields"
    energies = sorted({f"{beam.energy_mv:g} MV{'' if beam.flattened else ' FFF'}" for beam in plan.beams})
    return f"{len(plan.beams)} {how}, {', '.join(energies)}" if plan.beams else UNKNOWN


def _targets(case: Case) -> tuple[list[str], list[str]]:
    names = [s.name for s in case.structures if s.role in ("GTV", "CTV", "PTV") and not s.is_empty]
    return ([", ".join(names)], []) if names else ([UNKNOWN], ["targets of today"])


def _registrations(courses: Sequence[Course], registrations: Mapping[str, Registration]) -> tuple[list[str], list[str]]:
    lines, gaps = [], []
    for course in courses:
        found = registrations.get(course.label)
        if found is None:
            told = "in the frame of reference of today, not registered" if course.doses else "no dose to be mapped"
            lines.append(f"'{course.label}': {told}")
            continue
        verdict = UNKNOWN if found.quality is None else found.quality.verdict
        lines.append(f"'{course.label}': {found.method}; its own check: {verdict}")
        if found.quality is None:
            gaps.append(f"quality of the registration of '{course.label}'")
        if found.uncertainty is None:
            gaps.append(f"uncertainty of the registration of '{course.label}'")
    return lines, gaps


def _recovery(courses: Sequence[Course]) -> tuple[list[str], list[str]]:
    lines = [
        "none in the sum and in the protocol's limits; doses with a discount stand beside it, by the limits that they "
        "belong to, and are never compared with the spine study's limits"
    ]
    return lines, [f"recovery from '{course.label}'" for course in courses if course.last_fraction is None]


def _limits(scorecard: Scorecard, budget: Sequence[BudgetRow]) -> tuple[list[str], list[str]]:
    judged = [
        (f"{row.structure} {row.metric} {row.operator} {row.limit:g}", row.verdict)
        for row in scorecard.rows
        if row.limit is not None and row.verdict != "report"
    ]
    published = [
        (f"{row.structure} {row.metric} {row.limit} ({row.title})", row.verdict)
        for row in budget
        if row.verdict != "report"
    ]
    lines, gaps = [], []
    for whose, rows in (("protocol", judged), ("published, over all courses", published)):
        if not rows:
            lines.append(f"{whose}: none")
            continue
        missed = [name for name, verdict in rows if verdict == "fail"]
        unknown = [name for name, verdict in rows if verdict == "unknown"]
        met = sum(verdict == "pass" for _, verdict in rows)
        parts = [f"{met} of {len(rows)} met"]
        parts += [f"missed: {', '.join(missed)}"] if missed else []
        parts += [f"unknown: {', '.join(unknown)}"] if unknown else []
        lines.append(f"{whose}: {'; '.join(parts)}")
        gaps += [f"limit of {name}" for name in unknown]
    return lines, gaps


def _facts(case: Case, names: Sequence[str], what: str) -> tuple[list[str], list[str]]:
    known = [case.facts[name] for name in names if name in case.facts and case.facts[name].value is not None]
    if not known:
        return [UNKNOWN], [what]
    return [f"{fact.name.replace('_', ' ')}: {_value(fact.value)}" for fact in known], []


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(str(one) for one in value)
    return value.isoformat() if isinstance(value, dt.date) else str(value)


def _between(bounds: tuple[float, float]) -> str:
    low, high = bounds
    if abs(high - low) < 1e-9:
        return f"{low:.1f} cm3"
    return f"{low:.1f} to {high:.1f} cm3" if np.isfinite(high) else f"at least {low:.1f} cm3"

"""From toxicity grades to what happens to cycle 2 and to radiotherapy in the modularised salvage protocol.

| rule | what | mark |
|---|---|---|
| MS-90 | not back to baseline or grade 0 to 1: hold cycle 2 | seed |
| MS-91 | haematological grade 3: 80 % of the original dose | seed; of all drugs: ambiguous |
| MS-92 | haematological grade 4: stop chemotherapy | seed |
| MS-93 | hepatic or renal grade 2 or more: stop chemotherapy | seed; "or more" derived |
| MS-94 | other non-haematological grade 3 or more: stop chemotherapy | seed; "or more" derived |
| MS-95 | radiation pneumonitis grade 3 or 4: stop both; grade 5 is death | seed |
| MS-96 | the most severe action wins | derived |
| MS-97 | RTOG and CTCAE v4.0; a serious event is reported within 24 h | seed |
| MS-98 | stopping chemotherapy does not stop radiotherapy | derived |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from tailort.errors import InputError
from tailort.protocols.scores.basis import Cited, Mark, ReadingTaken

Action = Literal["full-dose", "reduce-dose", "hold-cycle", "stop-chemotherapy", "stop-all", "death"]

SEVERITY: tuple[Action, ...] = ("full-dose", "reduce-dose", "hold-cycle", "stop-chemotherapy", "stop-all", "death")
"""MS-96: actions, the mildest first."""

REDUCED_FACTOR = 0.8
"""MS-91: what remains of the original dose."""

REPORT_WITHIN = timedelta(hours=24)
"""MS-97: by when the ethics committee knows of a serious adverse event."""

_SOURCE = "modularised salvage chemoradiation, NCT03731442"
_MARKS: dict[str, Mark] = {
    "MS-91": "ambiguous",
    "MS-93": "derived",
    "MS-94": "derived",
    "MS-96": "derived",
    "MS-98": "derived",
}


@dataclass(frozen=True)
class Toxicity:
    """Worst grades after cycle 1, 0 to 5 (0 is none, 5 is death); None is unknown.

    Parameters
    ----------
    haematological, hepatic, renal, pneumonitis, other : int or None
        Grades by RTOG or CTCAE v4.0, the worse one where they differ; `other` is the worst of all other
        non-haematological toxicity.
    recovered : bool or None
        Whether all toxicity is back to baseline or grade 0 to 1 when cycle 2 is due.
    """

    haematological: int | None
    hepatic: int | None
    renal: int | None
    pneumonitis: int | None
    other: int | None
    recovered: bool | None

    def __post_init__(self) -> None:
        for name, grade in self.grades.items():
            if grade is not None:
                check_grade(grade, name)

    @property
    def grades(self) -> dict[str, int | None]:
        """Grades by kind."""
        return {
            "haematological": self.haematological,
            "hepatic": self.hepatic,
            "renal": self.renal,
            "pneumonitis": self.pneumonitis,
            "other": self.other,
        }


@dataclass(frozen=True)
class ActionAnswer:
    """What toxicity after cycle 1 calls for; a proposal to a clinician, never an order.

    Parameters
    ----------
    action : Action or None
        None is unknown: something that is not known could call for a more severe action.
    at_least : Action
        What is called for by what is known.
    dose_factor : float or None
        Of the original doses, if cycle 2 is given: 1.0 or 0.8; None when it is not given or not known.
    radiotherapy_goes_on : bool or None
        None is unknown.
    missing : tuple of str
        What is unknown and could change the answer.
    readings : tuple of ReadingTaken
        Ambiguous rules that took part.
    cited : tuple of Cited
        Rules that called for something.
    """

    action: Action | None
    at_least: Action
    dose_factor: float | None
    radiotherapy_goes_on: bool | None
    missing: tuple[str, ...]
    readings: tuple[ReadingTaken, ...]
    cited: tuple[Cited, ...]


def check_grade(grade: int, what: str) -> None:
    """Stop at a grade that does not exist.

    Raises
    ------
    InputError
        When it is not a whole number from 0 to 5.
    """
    if isinstance(grade, bool) or not isinstance(grade, int) or not 0 <= grade <= 5:
        raise InputError(f"the grade of {what} is {grade}; expected a whole number from 0 to 5")


def recovered(grade: int | None, baseline_grade: int | None) -> bool | None:
    """Tell whether one toxicity is back to its baseline or to grade 0 or 1 (MS-90); None is unknown.

    Raises
    ------
    InputError
        When a grade does not exist.
    """
    for value, what in ((grade, "the toxicity"), (baseline_grade, "the toxicity at baseline")):
        if value is not None:
            check_grade(value, what)
    if grade is None:
        return None
    if grade <= 1:
        return True
    return None if baseline_grade is None else grade <= baseline_grade


def action_after(toxicity: Toxicity) -> ActionAnswer:
    """Return what the worst toxicity after cycle 1 calls for.

    Examples
    --------
    >>> action_after(Toxicity(3, 0, 0, 0, 1, recovered=True)).action
    'reduce-dose'
    """
    called = list(_called(toxicity))
    none: Action = "full-dose"
    at_least = max((none, *(action for action, _ in called)), key=SEVERITY.index)
    possible = {name: _worst_of(name) for name, grade in toxicity.grades.items() if grade is None}
    if toxicity.recovered is None:
        possible["recovered"] = "hold-cycle"
    missing = tuple(name for name, worst in possible.items() if SEVERITY.index(worst) > SEVERITY.index(at_least))
    action = None if missing else at_least
    reduced = toxicity.haematological == 3
    radiotherapy: bool | None = at_least not in ("stop-all", "death")
    if radiotherapy and any(possible[name] == "stop-all" for name in missing):
        radiotherapy = None
    factor: float | None = None
    if action in ("full-dose", "reduce-dose", "hold-cycle") and toxicity.haematological is not None:
        factor = REDUCED_FACTOR if reduced else 1.0
    rules = [*(rule for _, rule in called), *(["MS-96"] if len(called) > 1 else [])]
    if at_least == "stop-chemotherapy":
        rules.append("MS-98")
    readings = (_ALL_DRUGS,) if reduced and (factor is not None or missing) else ()
    return ActionAnswer(
        action=action,
        at_least=at_least,
        dose_factor=factor,
        radiotherapy_goes_on=radiotherapy,
        missing=missing,
        readings=readings,
        cited=tuple(Cited(rule, _MARKS.get(rule, "seed"), _SOURCE) for rule in rules),
    )


def report_by(noticed: datetime) -> datetime:
    """Return by when a serious adverse event must be reported to the ethics committee (MS-97).

    Raises
    ------
    InputError
        When the time has no time zone: 24 hours across a change of the clock would be wrong.
    """
    if noticed.utcoffset() is None:
        raise InputError(f"{noticed.isoformat()} has no time zone; give one, 24 hours are counted from it")
    # Arithmetic of one zone ignores a change of its clock; through UTC it does not.
    zone = noticed.tzinfo
    return (noticed.astimezone(UTC) + REPORT_WITHIN).astimezone(zone)


_ALL_DRUGS = ReadingTaken(
    "MS-91", "80 % of the original dose of all drugs", ("80 % only of the drug that caused the toxicity",)
)


def _called(toxicity: Toxicity) -> Iterator[tuple[Action, str]]:
    if any(grade == 5 for grade in toxicity.grades.values()):
        yield "death", "MS-95"
    if toxicity.pneumonitis in (3, 4):
        yield "stop-all", "MS-95"
    if toxicity.haematological == 4:
        yield "stop-chemotherapy", "MS-92"
    if max(toxicity.hepatic or 0, toxicity.renal or 0) >= 2:
        yield "stop-chemotherapy", "MS-93"
    if (toxicity.other or 0) >= 3:
        yield "stop-chemotherapy", "MS-94"
    if toxicity.recovered is False:
        yield "hold-cycle", "MS-90"
    if toxicity.haematological == 3:
        yield "reduce-dose", "MS-91"


def _worst_of(name: str) -> Action:
    # Of a living patient: grade 5 is no open question.
    return "stop-all" if name == "pneumonitis" else "stop-chemotherapy"

"""`tailort decide`: a protocol's answer for one record or for a table. Heavy imports wait until the command runs."""

from __future__ import annotations

import csv
import datetime as dt
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailort.cli.options import ByProtocol, Json, Overwrite
from tailort.errors import InputError

if TYPE_CHECKING:
    from tailort.patient import Fact
    from tailort.protocols import Decision, Protocol
    from tailort.protocols.proposals import Proposals
    from tailort.protocols.treatment_records import Treatment
    from tailort.workflow.deciding import CohortLine

NOT_ELIGIBLE = 5
UNDECIDED = 4
PIPE_WIDTH = 120
NEARLY = 0.85
START = "radiotherapy_start_date"


def readings_of_text(texts: tuple[str, ...]) -> dict[str, str]:
    """Name of the reading to take, by rule, of "MS-07=registry".

    Raises
    ------
    InputError
        When a text has another form, or a rule is read twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        rule, equals, name = (part.strip() for part in text.partition("="))
        if not (rule and equals and name):
            raise InputError(
                f"--reading '{text}' names no reading of a rule; expected 'RULE=name', such as MS-07=default"
            )
        if rule in found:
            raise InputError(f"--reading gives '{rule}' twice; give one")
        found[rule] = name
    return found


@dataclass(frozen=True)
class Decided:
    """A protocol's answer for one patient and what it asks for.

    Parameters
    ----------
    protocol : Protocol
        As it was loaded.
    decision : Decision
        Its answer.
    treatment : Treatment or None
        What it asks for; None for a patient whom it does not admit.
    facts : dict of Fact
        The clinical record.
    today : date
        The day of the decision.
    course : Protocol or None
        The protocol with the patient's own plan; None as long as it is not settled.
    proposals : Proposals or None
        What it proposes; None where it has no modifiers and no triggers.
    """

    protocol: Protocol
    decision: Decision
    treatment: Treatment | None
    facts: Mapping[str, Fact]
    today: dt.date
    course: Protocol | None
    proposals: Proposals | None = None

    @property
    def exit_status(self) -> int:
        """Exit status: undecided also where a yes leaves open to what, or what applies; stopped without a plan."""
        if self.decision.stopped:
            return NOT_ELIGIBLE
        open_ = self.decision.answer == "unknown" or self.decision.missing_everywhere
        return UNDECIDED if open_ or (self.treatment is not None and self.treatment.missing) else 0

    def as_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        treatment = None if self.treatment is None else self.treatment.as_dict()
        told = {"exit_status": self.exit_status, **self.decision.as_dict(), "treatment": treatment}
        return told if self.proposals is None else {**told, "proposals": self.proposals.as_dict()}


def decide_record(
    record: Path,
    protocol: str,
    readings: tuple[str, ...] = (),
    today: dt.date | None = None,
    start: dt.date | None = None,
    beside: str | None = None,
) -> Decided:
    """Decide the clinical record of one patient, and find what the protocol asks for.

    Parameters
    ----------
    record : Path
        YAML file.
    protocol : str
        Id of a protocol, or the path of a protocol file.
    readings : tuple of str
        "RULE=name" each.
    today : date or None
        None is the computer's.
    start : date or None
        Day of the first fraction, where the record does not tell it.
    beside : str or None
        Protocol that prescribes: what the other one proposes is held against its limits and doses.
    """
    from tailort.protocols import load, load_record
    from tailort.protocols.known import seen
    from tailort.protocols.plans import as_recorded, with_plan
    from tailort.protocols.proposals import proposals
    from tailort.protocols.reading_effects import decide_with_effects

    loaded, day = load(protocol), today or dt.date.today()
    facts: Mapping[str, Fact] = load_record(record)
    if start is not None:
        facts = _with_start(facts, start)
    named = readings_of_text(readings)
    decision, found = decide_with_effects(loaded, facts, named, day)
    course = None
    if found is not None and len(found.courses) == 1 and decision.answer == "yes":
        course = with_plan(loaded, found.courses[0].plan) if loaded.file.plans else loaded
        course = as_recorded(course, seen(loaded.file, facts, named, day).values)
    proposed = None
    if loaded.file.modifiers or loaded.file.triggers:
        proposed = proposals(loaded, facts, named, day, load(beside) if beside else None)
    elif beside:
        raise InputError(f"--beside goes with a protocol that proposes; '{loaded.id}' has no modifiers and no triggers")
    return Decided(loaded, decision, found, facts, day, course, proposed)


def _with_start(facts: Mapping[str, Fact], start: dt.date) -> dict[str, Fact]:
    """Facts with the day of the first fraction that a person told."""
    from tailort.patient import Fact

    recorded = facts[START].value if START in facts else None
    if recorded is not None and recorded != start:
        raise InputError(
            f"radiotherapy starts on {start} by --start and on {recorded} by the record; correct one of them"
        )
    return {**facts, START: Fact(START, start, "--start")}


def decide_cohort(
    table: Path,
    protocol: str,
    readings: tuple[str, ...] = (),
    mapping: Path | None = None,
    today: dt.date | None = None,
) -> tuple[tuple[CohortLine, ...], tuple[str, ...]]:
    """Decide every row of a CSV table; returned are the lines, and the columns that were passed over.

    Parameters
    ----------
    table : Path
        CSV file, UTF-8.
    protocol, readings, today
        As of `decide_record`.
    mapping : Path or None
        Mapping file; None where columns are called as the protocol's facts.
    """
    from tailort.protocols import load
    from tailort.protocols.records import load_mapping
    from tailort.text_files import read_text
    from tailort.workflow.deciding import columns_passed_over, decide_table

    loaded = load(protocol)
    text = read_text(table, "table")
    told = load_mapping(mapping) if mapping else None
    lines = decide_table(
        loaded,
        text,
        str(table),
        today=today or dt.date.today(),
        mapping=told,
        readings=readings_of_text(readings),
    )
    return lines, columns_passed_over(loaded, text, told)


def decide(
    protocol: ByProtocol,
    record: Annotated[Path | None, typer.Argument(help="Clinical record of one patient (YAML).")] = None,
    table: Annotated[
        Path | None, typer.Option("--table", help="CSV file, one patient a row, with a column id.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option("--mapping", help="YAML file: which column of the table is which fact.")
    ] = None,
    reading: Annotated[
        list[str] | None,
        typer.Option("--reading", help="Reading of an ambiguous rule: 'MS-07=registry'; several times."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", metavar="DATE", help="Day of the first fraction: 2026-01-05.")
    ] = None,
    patient: Annotated[
        str | None, typer.Option("--patient", metavar="PSEUDONYM", help="Who it is, in visits.ics and fhir.json.")
    ] = None,
    beside: Annotated[
        str | None,
        typer.Option("--beside", metavar="PROTOCOL", help="Hold proposals against the limits and doses of this one."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also criteria that hold, readings that change nothing, endpoints.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Output folder, written whole or not at all; without it only the terminal is."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Ask a protocol whether it admits a patient, why, what is missing, and what it asks for. Never an order."""
    if (record is None) == (table is None):
        raise InputError("give either a clinical record or --table FILE.csv")
    readings = tuple(reading or ())
    if table is not None:
        if start or patient or beside:
            of_one = "--start" if start else "--patient" if patient else "--beside"
            raise InputError(f"{of_one} goes with the record of one patient, not with --table")
        _decide_cohort(table, protocol, readings, mapping, out, overwrite, as_json)
        return
    assert record is not None
    if mapping is not None:
        raise InputError("--mapping goes with --table")
    _decide_one(record, protocol, readings, start, beside, patient, everything, out, overwrite, as_json)


def _decide_one(
    record: Path, protocol: str, readings: tuple[str, ...], start: str | None, beside: str | None,
    patient: str | None, everything: bool, out: Path | None, overwrite: bool, as_json: bool,
) -> None:  # fmt: skip
    from rich.console import Console

    from tailort.cli.app import _on_stdout, _print_json
    from tailort.cli.decide_text import show
    from tailort.cli.proposals_text import show_overlays, show_proposals

    decided = decide_record(record, protocol, readings, start=_date_of_text(start), beside=beside)
    told = decided.as_dict()
    left_out: tuple[str, ...] = ()
    if out is not None:
        from tailort.cli.run_folder import whole_folder
        from tailort.cli.write_decision import write_decision

        options = {
            "protocol": protocol, "readings": list(readings), "start": start, "beside": beside,
            "today": str(decided.today),
        }  # fmt: skip
        with whole_folder(out, overwrite=overwrite, inputs=(record,)) as staging:
            left_out = write_decision(decided, told, staging, record, _pseudonym(decided.facts, patient), options)
    with _on_stdout():
        if as_json:
            _print_json(told if out is None else {"out": str(out), **told})
        else:
            # A pipe has no width of its own; a table in 80 columns would be cut to pieces.
            width = None if sys.stdout.isatty() else PIPE_WIDTH
            console = Console(width=width, markup=False, emoji=False)
            show_overlays(console, decided.decision.overlays)
            show(console, decided.decision, decided.treatment, everything)
            if decided.proposals is not None:
                show_proposals(console, decided.proposals, everything)
    for name, meant in misspelt(decided):
        print(f"note: the protocol has no fact '{name}'; is it '{meant}', which the record lacks?", file=sys.stderr)
    for text in left_out:
        print(f"note: left out of the folder: {text}", file=sys.stderr)
    if status := decided.exit_status:
        raise typer.Exit(status)


def misspelt(decided: Decided) -> list[tuple[str, str]]:
    """Facts of the record that nothing asks for, and the one that is asked for, lacks, and is written nearly so."""
    from tailort.protocols.treatment import STANDARD_FACTS

    asked = [entry.name for entry in (*decided.protocol.file.facts, *STANDARD_FACTS)]
    lacking = [name for name in asked if name not in decided.facts]
    found = []
    for name in decided.facts:
        near = get_close_matches(name, lacking, n=1, cutoff=NEARLY) if name not in asked else []
        found += [(name, meant) for meant in near]
    return found


def _decide_cohort(
    table: Path, protocol: str, readings: tuple[str, ...], mapping: Path | None, out: Path | None, overwrite: bool,
    as_json: bool,
) -> None:  # fmt: skip
    from tailort.cli.app import _on_stdout, _print_json

    lines, others = decide_cohort(table, protocol, readings, mapping)
    told = {"patients": [line.as_dict() for line in lines], "columns_passed_over": list(others)}
    rows = _rows(lines)
    if out is not None:
        from tailort.cli.run_folder import whole_folder
        from tailort.cli.write_decision import write_cohort

        inputs = (table,) if mapping is None else (table, mapping)
        options = {"protocol": protocol, "readings": list(readings), "today": str(dt.date.today())}
        with whole_folder(out, overwrite=overwrite, inputs=inputs) as staging:
            write_cohort(told, rows, staging, inputs, options)
    with _on_stdout():
        if as_json:
            _print_json(told)
        else:
            csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
    if others and not as_json:
        print(f"note: columns that are no fact of the protocol: {', '.join(others)}", file=sys.stderr)


def _date_of_text(text: str | None) -> dt.date | None:
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"--start '{text}' is no date; expected a day such as 2026-01-05") from error


def _pseudonym(facts: Mapping[str, Fact], told: str | None) -> str:
    """Pseudonym of the patient: as told, or the record's `patient_id`; empty when nobody tells it."""
    fact = facts.get("patient_id")
    recorded = "" if fact is None or fact.value is None else str(fact.value)
    if told and recorded and told != recorded:
        raise InputError(f"the patient is '{told}' by --patient and '{recorded}' by the record; correct one of them")
    return told or recorded


def _rows(lines: tuple[CohortLine, ...]) -> list[list[str]]:
    """One line a patient, after the names of the columns."""
    tables = list(dict.fromkeys(stratum.table for line in lines for stratum in line.decision.strata))
    listed = ["missing", "fewest_missing", "failed_rules"]
    if any(line.proposals is not None for line in lines):
        listed += ["modifiers", "modifiers_open", "triggers", "triggers_open"]
    rows = [["id", "answer", *(tables or ["stratum"]), *listed]]
    for line in lines:
        told = line.as_dict()
        strata = [told["strata"].get(name, "") for name in tables] or [""]
        lists = ["; ".join(told[key]) for key in listed]
        rows.append([told["id"], told["answer"], *strata, *lists])
    return rows

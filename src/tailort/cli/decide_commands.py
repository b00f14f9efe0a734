"""`tailort decide`: a protocol's answer for one record or for a table. Heavy imports wait until the command runs."""

from __future__ import annotations

import csv
import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailort.errors import InputError

if TYPE_CHECKING:
    from tailort.protocols import Decision
    from tailort.workflow.deciding import CohortLine

NOT_ELIGIBLE = 5
UNDECIDED = 4


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


def decide_record(
    record: Path, protocol: str, readings: tuple[str, ...] = (), today: dt.date | None = None
) -> Decision:
    """Decide the clinical record of one patient.

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
    """
    from tailort.protocols import decide, load, load_record

    return decide(load(protocol), load_record(record), readings_of_text(readings), today or dt.date.today())


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
    from tailort.workflow.deciding import columns_passed_over, decide_table

    loaded = load(protocol)
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text; export it as UTF-8"
        raise InputError(f"table '{table}' cannot be read: {reason}") from error
    lines = decide_table(
        loaded,
        text,
        str(table),
        today=today or dt.date.today(),
        mapping=load_mapping(mapping) if mapping else None,
        readings=readings_of_text(readings),
    )
    return lines, () if mapping else columns_passed_over(loaded, text)


def decide(
    protocol: Annotated[str, typer.Option("--protocol", help="Protocol id, or a protocol file of your own.")],
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
    as_json: Annotated[bool, typer.Option("--json", help="Machine output on stdout.")] = False,
) -> None:
    """Ask a protocol whether it admits a patient, to which stratum, why, and what is missing."""
    from tailort.cli.app import _on_stdout, _print_json

    if (record is None) == (table is None):
        raise InputError("give either a clinical record or --table FILE.csv")
    if record is not None:
        if mapping is not None:
            raise InputError("--mapping goes with --table")
        decision = decide_record(record, protocol, tuple(reading or ()))
        with _on_stdout():
            if as_json:
                _print_json({"exit_status": status_of(decision), **decision.as_dict()})
            else:
                _show(decision)
        if status := status_of(decision):
            raise typer.Exit(status)
        return
    assert table is not None
    lines, others = decide_cohort(table, protocol, tuple(reading or ()), mapping)
    with _on_stdout():
        if as_json:
            _print_json({"patients": [line.as_dict() for line in lines], "columns_passed_over": list(others)})
        else:
            _show_lines(lines)
    if others and not as_json:
        print(f"note: columns that are no fact of the protocol: {', '.join(others)}", file=sys.stderr)


def status_of(decision: Decision) -> int:
    """Exit status of a decision: undecided also where a yes leaves open to what."""
    if decision.answer == "no":
        return NOT_ELIGIBLE
    return UNDECIDED if decision.answer == "unknown" or decision.missing_everywhere else 0


def _show_lines(lines: tuple[CohortLine, ...]) -> None:
    out = csv.writer(sys.stdout, lineterminator="\n")
    tables = list(dict.fromkeys(stratum.table for line in lines for stratum in line.decision.strata))
    out.writerow(["id", "answer", *(tables or ["stratum"]), "missing", "fewest_missing", "failed_rules"])
    for line in lines:
        told = line.as_dict()
        strata = [told["strata"].get(name, "") for name in tables] or [""]
        lists = ["; ".join(told[key]) for key in ("missing", "fewest_missing", "failed_rules")]
        out.writerow([told["id"], told["answer"], *strata, *lists])


def _show(decision: Decision) -> None:
    status = f" ({decision.status})" if decision.status else ""
    print(f"{decision.protocol} {decision.version}{status}: {decision.answer}")
    for stratum in decision.strata:
        note = f" ({stratum.note})" if stratum.note else ""
        print(f"  {stratum.table}: {stratum.told}{note}")
    if decision.reasons:
        print("why")
    for reason in decision.reasons:
        _show_reason(reason, 1)
    for stratum in decision.strata:
        if stratum.reasons:
            print(f"why {stratum.table}: {stratum.told}")
        for reason in stratum.reasons:
            _show_reason(reason, 1)
    if decision.missing:
        print(f"missing: {', '.join(decision.missing)}")
    if decision.fewest is not None:
        few = decision.fewest
        for answer, names in (("yes", few.to_yes), ("no", few.to_no)):
            if names is None:
                print(f"  no permitted values of the missing facts make it {answer}")
            else:
                print(f"  could become {answer} with {len(names)}: {', '.join(names)}")
        if not few.proved:
            print("  it is not proved that no fewer facts would do")
    for stratum in decision.strata:
        if stratum.is_open:
            print(f"missing for {stratum.table}: {', '.join(stratum.missing)}")
            print(f"  could be settled with {len(stratum.fewest)}: {', '.join(stratum.fewest)}")
    if decision.defaults:
        print("ambiguous rules, as they were read")
    for default in decision.defaults:
        how = f"{default.name}, chosen" if default.chosen else default.name
        print(f"  {default.rule} ({how}): {default.taken}")
        if default.others is None:
            print(f"    other reading, told only: {default.other}")
        for other in default.others or ():
            changes = "; ".join(other.changes) or "changes nothing for this patient"
            print(f"    {default.rule}={other.name} ({other.text}): {changes}")


def _show_reason(reason: Any, depth: int) -> None:
    rule = f"{reason.rule} [{reason.mark}] " if reason.rule else ""
    print(f"{'  ' * depth}{rule}{reason.text}")
    for part in reason.parts:
        _show_reason(part, depth + 1)

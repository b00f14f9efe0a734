"""`tailort cohort`: outcomes of a table of patients by a protocol's own definitions. Heavy imports wait."""

from __future__ import annotations

import datetime as dt
import gc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from tailort.cli.options import OUT, Json, Out, Overwrite, Readings
from tailort.errors import InputError

if TYPE_CHECKING:
    from tailort.workflow.cohort_records import CohortAnalysis

MAPPING = "mapping.yaml"


def cohort(
    table: Annotated[Path, typer.Argument(help="CSV or REDCap export: one line a patient, or one a visit or event.")],
    mapping: Annotated[
        Path | None,
        typer.Option("--mapping", help="YAML file: what the columns are (default: mapping.yaml beside it)."),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="Whose endpoints are counted; and its visits and rules.")
    ] = None,
    reading: Readings = None,
    by: Annotated[str | None, typer.Option("--by", metavar="FACT", help="Compare the groups of this fact.")] = None,
    strata: Annotated[str | None, typer.Option("--strata", metavar="FACT", help="Stratify tests and models.")] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="DATE", help="Cut follow-up here, 2026-01-31.")
    ] = None,
    scorecards: Annotated[
        Path | None,
        typer.Option("--scorecards", metavar="DIR", help="Folder of run folders or scorecards, named by pseudonym."),
    ] = None,
    endpoint: Annotated[
        list[str] | None,
        typer.Option("--endpoint", metavar="NAME", help="Of the protocol (default: all); several times."),
    ] = None,
    event_for_doses: Annotated[
        str | None,
        typer.Option(
            "--event-for-doses", metavar="FACT", help="Compare doses of patients with and without this event."
        ),
    ] = None,
    subgroup: Annotated[
        list[str] | None,
        typer.Option("--subgroup", metavar="FACT", help="Does the effect of --by differ by this? several times."),
    ] = None,
    characteristic: Annotated[
        list[str] | None,
        typer.Option(
            "--characteristic", metavar="FACT", help="Facts of the first table (default: all); several times."
        ),
    ] = None,
    course: Annotated[
        str | None, typer.Option("--course", metavar="NAME", help="Course of the trial, where patients have several.")
    ] = None,
    unlisted: Annotated[
        str,
        typer.Option("--unlisted", help="A toxicity without an entry, for dose modification: 'grade 0' or 'unknown'."),
    ] = "unknown",
    out: Out = OUT,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Survival, competing risks, toxicity and doses of a cohort; tables, figures and report. For research only."""
    from tailort.cli.app import _on_stdout, _print_json
    from tailort.cli.collection import without_collection
    from tailort.cli.progress import Progress, interruptible

    with interruptible(), Progress() as progress, without_collection():
        result = cohort_of(
            table, mapping=mapping, protocol=protocol, readings=tuple(reading or ()), by=by, strata=strata,
            until=_day(until), scorecards=scorecards, endpoints=tuple(endpoint or ()), event_for_doses=event_for_doses,
            subgroups=tuple(subgroup or ()), characteristics=tuple(characteristic or ()), course=course,
            unlisted=unlisted, out=out, overwrite=overwrite, progress=progress,
        )  # fmt: skip
        # The command is about to end: its records need not be looked through for circles then either.
        gc.freeze()
    with _on_stdout():
        if as_json:
            from tailort.cli.cohort_write import results_of

            _print_json({"out": str(out), **results_of(result)})
        else:
            show(result)
            print(f"report: {out / 'report.html'}")


def cohort_of(
    table: Path,
    *,
    mapping: Path | None = None,
    protocol: str | None = None,
    readings: tuple[str, ...] = (),
    by: str | None = None,
    strata: str | None = None,
    until: dt.date | None = None,
    scorecards: Path | None = None,
    endpoints: tuple[str, ...] = (),
    event_for_doses: str | None = None,
    subgroups: tuple[str, ...] = (),
    characteristics: tuple[str, ...] = (),
    course: str | None = None,
    unlisted: str = "unknown",
    out: Path = Path("tailort-out"),
    overwrite: bool = False,
    progress: Callable[[str, float], None] = lambda stage, share: None,
    today: dt.date | None = None,
) -> CohortAnalysis:
    """Analyse a cohort; write results.json, tables, figures, report.html and run.json.

    Parameters
    ----------
    table : Path
        CSV file or REDCap export.
    mapping : Path or None
        What its columns are; None is `mapping.yaml` beside the table.
    protocol : str or None
        Id or file; it defines the endpoints and what the trial asks for.
    readings : tuple of str
        "RULE=name" of ambiguous rules.
    by, strata : str or None
        Facts that make groups and strata.
    until : date or None
        Follow-up is cut here.
    scorecards : Path or None
        Folder of scorecards, joined by pseudonym.
    endpoints : tuple of str
        Names; empty is all.
    event_for_doses : str or None
        Fact whose patients' doses are compared with those of the others.
    subgroups, characteristics : tuple of str
        Facts.
    course : str or None
        Name of the trial's course where patients have several.
    unlisted : {"grade 0", "unknown"}
        What a toxicity without an entry is, for the rules of dose modification.
    out, overwrite, progress
        As in `commands.plan`.
    today : date or None
        Day of the analysis; None is the computer's.

    Raises
    ------
    InputError
        See the exit statuses in docs/commands.md.
    """
    from tailort.cli.cohort_input import read_cohort
    from tailort.cli.cohort_write import write_cohort_analysis
    from tailort.cli.collection import without_collection
    from tailort.cli.decide_commands import readings_of_text
    from tailort.cli.run_files import hash_inputs
    from tailort.cli.run_folder import whole_folder
    from tailort.protocols import load
    from tailort.workflow.clock import StageClock
    from tailort.workflow.cohort_analysis import analyse
    from tailort.workflow.cohort_records import CohortOptions
    from tailort.workflow.trial_grades import Unlisted

    found = table.parent / MAPPING if mapping is None else mapping
    if mapping is None and not found.is_file():
        raise InputError(f"there is no '{found}' that tells what the columns of '{table}' are; name one with --mapping")
    day = today or dt.date.today()
    if until is not None and until > day:
        raise InputError(f"--until {until} is after today, {day}: nobody was followed so far; give an earlier day")
    loaded = None if protocol is None else load(protocol)
    options = CohortOptions(
        by, strata, until, endpoints, event_for_doses, subgroups, characteristics, course, cast(Unlisted, unlisted)
    )
    described = {
        "table": table.name, "mapping": found.name, "protocol": protocol, "readings": list(readings), "by": by,
        "strata": strata, "until": None if until is None else until.isoformat(),
        "scorecards": None if scorecards is None else scorecards.name, "endpoints": list(endpoints),
        "event_for_doses": event_for_doses, "subgroups": list(subgroups), "characteristics": list(characteristics),
        "course": course, "unlisted": unlisted, "seed": options.seed,
    }  # fmt: skip
    clock = StageClock(progress)
    inputs = (table, found) if scorecards is None else (table, found, scorecards)
    with without_collection(), whole_folder(out, overwrite=overwrite, inputs=inputs) as staging:
        with clock.stage("read the table"):
            named = readings_of_text(readings)
            read = read_cohort(
                table, found, protocol=loaded, readings=named, scorecards=scorecards, today=day
            )  # fmt: skip
        result = analyse(read.patients, loaded, read.endpoints, options, day, clock)
        hashes = {table.name: hash_inputs(table)[""], found.name: hash_inputs(found)[""]}
        if scorecards is not None:
            hashes |= {f"{scorecards.name}/{name}": value for name, value in hash_inputs(scorecards).items()}
        write_cohort_analysis(result, staging, described, hashes, clock)
    return result


def _day(text: str | None) -> dt.date | None:
    if text is None:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"--until '{text}' is no date; expected one such as 2026-01-31") from error


def show(result: CohortAnalysis) -> None:
    """Print each endpoint's rates, the tests, and what cannot be told."""
    from tailort.web.cohort_cells import ALL, p_told, quantile_told, rate_told

    print(f"{len(result.patients)} patient{'s' * (len(result.patients) != 1)}, to {result.today}")
    for one in result.endpoints:
        if one.overall is None:
            print(f"{one.endpoint.name}: cannot be told: {one.unknown}")
            continue
        print(f"{one.endpoint.name}, from {one.endpoint.counted_from}:")
        for outcome in (one.overall, *one.groups):
            median = "" if outcome.median is None else f", median in months {quantile_told(outcome.median)}"
            share = "event-free" if outcome.incidence is None else "cumulative incidence"
            rates = "".join(
                f", {share} at {year} year{'s' * (year > 1)} {rate_told(rate)}"
                for year, rate in zip(one.endpoint.at_years, outcome.rates, strict=True)
            )
            print(f"  {outcome.name or ALL}: n {outcome.patients}, events {outcome.events}{median}{rates}")
        for test in one.tests:
            print(f"  {test.method}: p {p_told(test.p_value)}")
    if result.doses is not None:
        for metric in result.doses.metrics:
            print(f"{metric.metric}: {metric.threshold.sentence}")
    for note in result.notes:
        print(f"note: {note}")

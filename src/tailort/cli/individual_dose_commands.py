"""`tailort individual-dose`: which dose, in how many fractions, a patient's organs allow. Heavy imports wait."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tailort.cli.options import OUT, ByProtocol, Json, Names, OtherDoses, Out, Overwrite, Readings, Record, Series
from tailort.errors import InputError

if TYPE_CHECKING:
    from tailort.patient import Constraint
    from tailort.workflow.individual_dose import IndividualDose

_RANGE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*,\s*(\d+(?:\.\d+)?)\s*(?:Gy)?\s*$")


def individual_dose(
    dicom_dir: Annotated[Path, typer.Argument(help="Folder with CT, RTSTRUCT and the RTDOSE of one plan.")],
    protocol: ByProtocol,
    range_gy: Annotated[
        str | None,
        typer.Option("--range", metavar="LOW,HIGH", help="Doses of the highest prescription to look at, Gy."),
    ] = None,
    fractions: Annotated[
        str | None, typer.Option("--fractions", metavar="N,N,...", help="To ask about (default: the plan's own).")
    ] = None,
    cap: Annotated[
        list[str] | None,
        typer.Option("--cap", help="Must hold too: 'Lungs: NTCP(lung-quantec)[%] <= 20'; several times."),
    ] = None,
    tcp: Annotated[str | None, typer.Option("--tcp", metavar="SET", help="Set by which control is told.")] = None,
    planned_gy: Annotated[
        float | None,
        typer.Option("--planned-gy", help="Prescription that the given dose was made for (default: the RTPLAN's)."),
    ] = None,
    names: Names = None,
    record: Record = None,
    reading: Readings = None,
    option: OtherDoses = None,
    series: Series = None,
    out: Out = OUT,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Raise the dose of an existing plan, for each number of fractions, until an organ's limit is reached."""
    from tailort.cli.app import LIMIT_VIOLATED, UNDECIDED, _on_stdout, _print_json, _show_notes
    from tailort.cli.progress import Progress, interruptible

    with interruptible(), Progress() as progress:
        result = individual_dose_of(
            dicom_dir, protocol, range_gy=range_gy, fractions=fractions, caps=tuple(cap or ()), tcp=tcp,
            planned_gy=planned_gy, names=names, record=record, readings=tuple(reading or ()), option=option,
            series=series, out=out, overwrite=overwrite, progress=progress,
        )  # fmt: skip
    status = LIMIT_VIOLATED if not result.found else 0 if result.is_judged else UNDECIDED
    with _on_stdout():
        if as_json:
            _print_json({"out": str(out), "exit_status": status, **result.as_dict()})
        else:
            _show(result)
            _show_notes(result.notes)
            print(f"report: {out / 'report.html'}")
    if status:
        raise typer.Exit(status)


def individual_dose_of(
    dicom_dir: Path,
    protocol: str,
    *,
    range_gy: str | None = None,
    fractions: str | None = None,
    caps: tuple[str, ...] = (),
    tcp: str | None = None,
    planned_gy: float | None = None,
    names: Path | None = None,
    record: Path | None = None,
    readings: tuple[str, ...] = (),
    option: str | None = None,
    today: dt.date | None = None,
    series: str | None = None,
    out: Path = Path("tailort-out"),
    overwrite: bool = False,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> IndividualDose:
    """Find the largest dose that organs allow; write individual-dose.json, curve.csv, report.html and run.json.

    Parameters
    ----------
    dicom_dir : Path
        Folder with CT, RTSTRUCT and one RTDOSE; RTPLAN when there is one.
    protocol : str
        Id or file: its hard limits must hold, its goals are told.
    range_gy : str or None
        "50,70": doses of the highest prescription, Gy per course; None is the range that the protocol paints.
    fractions : str or None
        "25,28,30": numbers to ask about; None is that of the plan.
    caps : tuple of str
        "Lungs: NTCP(lung-quantec)[%] <= 20" each.
    tcp : str or None
        Id of the set by which control is told.
    planned_gy : float or None
        Prescription that the given dose was made for; None is the RTPLAN's, else the protocol's.
    names, record, readings, option, today, series, out, overwrite, progress
        As in `tailort.cli.commands.evaluate`.

    Raises
    ------
    InputError, DicomError, UndecidedError
        See the exit statuses in docs/commands.md.
    """
    from tailort import dicom
    from tailort.cli.commands import asked_of_protocol, facts_of
    from tailort.cli.decide_commands import readings_of_text
    from tailort.cli.run_files import hash_inputs
    from tailort.cli.run_folder import whole_folder
    from tailort.cli.write_individual_dose import write_individual_dose
    from tailort.protocols import load
    from tailort.workflow.clock import StageClock
    from tailort.workflow.individual_dose import DoseQuestion, individual_dose
    from tailort.workflow.options import PlanningOptions

    question = DoseQuestion(
        None if range_gy is None else range_of_text(range_gy),
        () if fractions is None else fractions_of_text(fractions),
        tuple(cap_of_text(text) for text in caps),
        tcp,
        planned_gy,
    )
    loaded, named, today = load(protocol), readings_of_text(readings), today or dt.date.today()
    clock = StageClock(progress)
    described = {
        "protocol": protocol, "range": range_gy, "fractions": fractions, "caps": list(caps), "tcp": tcp,
        "planned_gy": planned_gy, "series": series, "names": names.name if names else None,
        "record": record.name if record else None, **asked_of_protocol(named, option, today),
    }  # fmt: skip
    with whole_folder(out, overwrite=overwrite, inputs=(dicom_dir,)) as staging:
        told = dicom.load_names(names) if names else None
        with clock.stage("read the case") as tell:
            case = dicom.read_case(dicom_dir, series_uid=series, names=told, progress=lambda _, share: tell(share))
            case = case.with_facts(facts_of(dicom_dir, record))
        with clock.stage("raise the dose"):
            options = PlanningOptions(readings=named, option=option, today=today)
            result = individual_dose(case, loaded, question, options)
        with clock.stage("write and report"):
            write_individual_dose(result, staging, described, hash_inputs(dicom_dir), clock)
    return result


def range_of_text(text: str) -> tuple[float, float]:
    """Lowest and highest dose, Gy, of "50,70".

    Raises
    ------
    InputError
        When the text has another form.
    """
    form = _RANGE.match(text)
    if form is None:
        raise InputError(f"--range '{text}' is no range; expected the lowest and the highest dose in Gy, such as 50,70")
    return float(form[1]), float(form[2])


def fractions_of_text(text: str) -> tuple[int, ...]:
    """Numbers of fractions of "25,28,30".

    Raises
    ------
    InputError
        When the text has another form.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and part.isascii() for part in parts):
        raise InputError(f"--fractions '{text}' are no numbers of fractions; expected whole numbers, such as 25,28,30")
    return tuple(int(part) for part in parts)


def cap_of_text(text: str) -> Constraint:
    """Limit of "Lungs: NTCP(lung-quantec)[%] <= 20".

    Raises
    ------
    InputError
        When the text has another form or no limit.
    """
    from tailort.cli.texts import constraint_of_text

    found = constraint_of_text(text)
    if found.priority == "report":
        raise InputError(f"--cap '{text}' has no limit; expected such as 'Lungs: NTCP(lung-quantec)[%] <= 20'")
    return found


def _show(result: IndividualDose) -> None:
    """Print the largest dose of each number of fractions, what holds it, and what follows of it."""
    from rich.table import Table

    from tailort.cli.app import _show_table
    from tailort.web.individual_dose_figures import held_by, limit_told
    from tailort.web.individual_dose_report import number

    levels = [one.level for one in result.proposals]
    table = Table("fractions", *(str(one.fractions) for one in result.proposals), box=None)
    table.add_row(
        f"{result.given.lead.target}, Gy", *("none" if one is None else f"{one.dose_gy:.2f}" for one in levels)
    )
    table.add_row("per fraction, Gy", *("" if one is None else f"{one.dose_per_fraction_gy:.3f}" for one in levels))
    table.add_row("BED, Gy", *("" if one is None else number(one.bed_gy) for one in levels))
    table.add_row("EQD2, Gy", *("" if one is None else number(one.eqd2_gy) for one in levels))
    for n, row in enumerate(result.proposals[0].curve[0].outcomes):
        values = ("" if one is None else number(one.outcomes[n].value) for one in levels)
        table.add_row(f"{row.structure} {row.metric} ({row.mark})", *values)
    _show_table(table)
    for one in result.proposals:
        print(f"{one.fractions} fractions, held by: {held_by(one, result.range_gy)}")
        if one.level is None:
            print(f"  does not hold at {result.range_gy[0]:g} Gy already: no dose is proposed")
            continue
        for row in one.level.broken_goals:
            print(f"  breaks the goal {limit_told(row)}")
        for row in one.level.limits:
            if row.extrapolated.startswith("yes"):
                print(f"  extrapolated: {limit_told(row)}: {row.extrapolated.removeprefix('yes: ')}")
        for text in one.level.signature:
            print(f"  needs signature: {text}")
    for row in {limit_told(row): row for one in result.proposals for row in one.unjudged}.values():
        print(f"hard limit not judged: {limit_told(row)}: {row.reason}")

"""`tailort reirradiate`: what earlier courses gave, and what a new one adds. Heavy imports wait for the command."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tailort.cli.options import (
    OUT,
    InsistOnDoses,
    Json,
    LimitsOf,
    Names,
    Out,
    Overwrite,
    Readings,
    Record,
    SamePatient,
    Series,
)

if TYPE_CHECKING:
    from tailort.workflow.reirradiating import Reirradiation

Prior = Annotated[
    list[Path],
    typer.Option(
        "--prior",
        metavar="DIR",
        help="Earlier course: folder with CT, RTDOSE, RTPLAN, course.yaml, or the latter alone.",
    ),
]


def reirradiate(
    dicom_dir: Annotated[Path, typer.Argument(help="Folder of today: CT, RTSTRUCT and, once planned, RTPLAN, RTDOSE.")],
    prior: Prior,
    protocol: LimitsOf = None,
    record: Record = None,
    reading: Readings = None,
    names: Names = None,
    same_patient: SamePatient = False,
    insist: InsistOnDoses = False,
    fractions: Annotated[
        int | None,
        typer.Option("--fractions", metavar="N", help="What could still be given in N fractions, by published limits."),
    ] = None,
    out: Out = OUT,
    series: Series = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Sum earlier courses with today's in BED and EQD2, organ by organ, and judge the limits on the sum."""
    from tailort.cli.app import (
        UNDECIDED,
        _judgement,
        _on_stdout,
        _print_json,
        _show_hard_limits,
        _show_notes,
        _show_scorecard,
    )
    from tailort.cli.progress import Progress, interruptible

    with interruptible(), Progress() as progress:
        result = sum_courses(
            dicom_dir, tuple(prior), protocol=protocol, record=record, readings=tuple(reading or ()), names=names,
            same_patient=same_patient, insist=insist, fractions=fractions, out=out, series=series, overwrite=overwrite,
            progress=progress,
        )  # fmt: skip
    with _on_stdout():
        if as_json:
            _print_json(
                {"out": str(out), "notes": list(result.notes), **result.as_dict(), **result.scorecard.as_dict()}
            )
        else:
            for warning in result.warnings:
                print(f"! {warning}")
            _show_organs(result)
            _show_scorecard(result.scorecard.as_dict()["metrics"])
            _show_hard_limits(result.scorecard)
            _show_notes(result.notes)
            print(f"report: {out / 'report.html'}")
    if status := _judgement(result.scorecard) or (UNDECIDED if result.unjudged else 0):
        raise typer.Exit(status)


def sum_courses(
    dicom_dir: Path,
    priors: tuple[Path, ...],
    *,
    protocol: str | None = None,
    record: Path | None = None,
    readings: tuple[str, ...] = (),
    names: Path | None = None,
    same_patient: bool = False,
    insist: bool = False,
    fractions: int | None = None,
    today: dt.date | None = None,
    out: Path = Path("tailort-out"),
    series: str | None = None,
    overwrite: bool = False,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> Reirradiation:
    """Sum earlier courses with today's and write cumulative.json, scorecard, DVH and report.

    Parameters
    ----------
    dicom_dir : Path
        Folder with CT and RTSTRUCT; RTPLAN and RTDOSE once something is planned.
    priors : tuple of Path
        One folder a course; see `with_courses`.
    protocol, record, readings, names, today, out, series, overwrite, progress
        As in `commands.plan`.
    same_patient : bool
        Whether different identifiers are one patient.
    fractions : int or None
        Of a new course: what could still be given in so many.
    insist : bool
        Whether registrations that fail their own check are used.

    Raises
    ------
    InputError, DicomError, UndecidedError
        See the exit statuses in docs/commands.md.
    """
    from tailort.cli import commands
    from tailort.cli.decide_commands import readings_of_text
    from tailort.cli.earlier_courses import with_courses
    from tailort.cli.registrations import given_registrations, write_registrations
    from tailort.cli.run_files import hashes_of
    from tailort.cli.run_folder import whole_folder
    from tailort.cli.write import write_reirradiation
    from tailort.protocols import load
    from tailort.workflow import registering, reirradiating
    from tailort.workflow.clock import StageClock
    from tailort.workflow.options import PlanningOptions

    loaded = load(protocol) if protocol else None
    options = PlanningOptions(readings=readings_of_text(readings), today=today or dt.date.today())
    clock = StageClock(progress)
    described = {
        "protocol": protocol, "priors": [prior.name for prior in priors], "series": series,
        "names": names.name if names else None, "record": record.name if record else None,
        "same_patient": same_patient, "insist": insist, "fractions": fractions,
        **commands.asked_of_protocol(options.readings, None, options.today),
    }  # fmt: skip
    with whole_folder(out, overwrite=overwrite, inputs=(dicom_dir, *priors)) as staging:
        case = commands.read_patient(dicom_dir, clock, series, names, record)
        with clock.stage("read earlier courses"):
            case = with_courses(case, dicom_dir, priors, same_patient=same_patient)
            given = given_registrations(case, (dicom_dir, *priors), same_patient=same_patient)
        registrations = registering.register_courses(case, clock, given=given, insist=insist)
        result = reirradiating.reirradiate(case, loaded, options, registrations, clock, fractions)
        with clock.stage("write and report"):
            write_registrations(case, registrations, staging)
            write_reirradiation(result, staging, described, hashes_of(dicom_dir, priors), clock)
    return result


def _show_organs(result: Reirradiation) -> None:
    """Print the highest dose of each organ, all courses, by alpha/beta."""
    by_organ: dict[str, list[str]] = {}
    for row in result.rows:
        if row.metric == "D0.035cc[Gy]":
            low, high = row.cumulative_gy
            top = f"{low:.1f} to {high:.1f}" if math.isfinite(high) else f"at least {low:.1f}"
            told = f"{low:.1f}" if low == high else top
            by_organ.setdefault(row.structure, []).append(f"{told} (a/b {row.alpha_beta_gy:g})")
    for name, texts in by_organ.items():
        print(f"{name}: D0.035cc of all courses, BED: {', '.join(texts)} Gy")
    if result.left is not None:
        for each in result.left.governing:
            told = "unknown" if each.least_gy is None else f"{each.least_gy:.1f} Gy"
            print(
                f"{each.structure}: left in {result.left.fractions} fractions by {each.limits}, {each.metric}: {told}"
            )
        for text in result.left.left_out:
            print(f"left out: {text}")

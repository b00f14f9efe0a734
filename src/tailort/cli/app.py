"""The commands, their options and exit statuses. Heavy imports wait until a command runs."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tailort.cli import (
    adapt_commands,
    cohort_commands,
    decide_commands,
    design_commands,
    individual_dose_commands,
    machine_commands,
    motion_commands,
    protocol_commands,
    register_commands,
    reirradiate_commands,
    response_commands,
    score_commands,
    subvolume_commands,
)
from tailort.cli.options import (
    ENGINE,
    OUT,
    TABLE,
    ByProtocol,
    Densities,
    DensityTable,
    DicomDir,
    DoseGrid,
    Engine,
    InsistOnDoses,
    Json,
    LimitsOf,
    Names,
    OtherDoses,
    Out,
    Overwrite,
    PlanMachine,
    Readings,
    Record,
    SamePatient,
    Seed,
    Series,
)
from tailort.errors import OutputError, TailortError, UndecidedError

INTERRUPTED = 130
LIMIT_VIOLATED = 3
UNDECIDED = 4
# Usage errors have no public name of their own in typer; a bad parameter is one of them.
_UsageError: Any = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="tailort",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Plan, judge and follow radiotherapy for oesophageal cancer. For research only; not a medical device.",
)
app.add_typer(machine_commands.app, name="machine")
app.add_typer(design_commands.app, name="design")
app.command()(decide_commands.decide)
app.command()(score_commands.score)
app.command()(reirradiate_commands.reirradiate)
app.command()(adapt_commands.adapt)
app.command()(register_commands.register)
app.command()(subvolume_commands.subvolume)
app.command()(response_commands.response)
app.command()(motion_commands.motion)
app.command("individual-dose")(individual_dose_commands.individual_dose)
app.command()(cohort_commands.cohort)
app.command()(protocol_commands.protocols)


class Size(StrEnum):
    """How fine a virtual patient is."""

    full = "full"
    coarse = "coarse"


def _size(size: Size) -> Literal["full", "coarse"]:
    return "full" if size is Size.full else "coarse"


class Technique(StrEnum):
    """How a plan is delivered."""

    imrt = "imrt"
    vmat = "vmat"
    conformal = "3dcrt"


PatientSize = Annotated[Size, typer.Option("--size", help="full: 512 x 512 CT; coarse: quick, for trying out.")]
PlanTechnique = Annotated[Technique | None, typer.Option("--technique", help="Default: the protocol's.")]
Priors = Annotated[
    list[Path] | None,
    typer.Option(
        "--prior", metavar="DIR", help="Earlier course, folder or course.yaml: limits hold on the sum; several times."
    ),
]
FULL = Size.full


@app.callback(invoke_without_command=True)
def _about(
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        from tailort import __version__

        print(f"tailort {__version__}")
        raise typer.Exit


@app.command()
def demo(
    name: Annotated[
        str,
        typer.Argument(
            help="Virtual patient: oesophagus, spine and salvage (treated twice), painting (dose painted by a PET), "
            "adaptive (planned anew after three weeks); or cohort (two tables of patients and their outcomes). "
            "A full-size plan takes minutes to an hour, a coarse one a few minutes."
        ),
    ] = "oesophagus",
    out: Out = OUT,
    seed: Seed = 0,
    size: PatientSize = FULL,
    dose_grid: DoseGrid = None,
    engine: Engine = ENGINE,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a virtual patient as DICOM and plan it: the main job from end to end."""
    from tailort.cli import cohort_demo, demos
    from tailort.cli.progress import Progress, interruptible
    from tailort.workflow.records import PlanningRun

    with interruptible() as interrupt, Progress() as progress:
        run = demos.demo(
            name, out=out, seed=seed, size=_size(size), dose_grid_mm=dose_grid, engine=engine, overwrite=overwrite,
            progress=progress, interrupt=interrupt,
        )  # fmt: skip
    if isinstance(run, PlanningRun):
        _tell_plan(run, out, as_json)
    elif isinstance(run, cohort_demo.CohortDemo):
        with _on_stdout():
            if as_json:
                _print_json({"out": str(out), **run.as_dict()})
            else:
                cohort_demo.show_demo(run, out)
    else:
        adapt_commands.tell_adaptation(run, out, as_json)


@app.command()
def phantom(
    name: Annotated[
        str,
        typer.Argument(
            help="oesophagus, salvage, spine, painting, adaptive, tg119-c-shape, tg119-multi-target, tg119-prostate, "
            "tg119-head-and-neck."
        ),
    ],
    out: Out = OUT,
    seed: Seed = 0,
    size: PatientSize = FULL,
    asked: Annotated[
        list[str] | None,
        typer.Option("--with", help="NAME=value in place of what the seed draws, such as region=III; several times."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a virtual patient as DICOM, with record.yaml (its clinical record) and truth.json."""
    from tailort.cli import commands
    from tailort.cli.progress import Progress, interruptible

    with interruptible(), Progress() as progress:
        patient = commands.phantom(
            name, out=out, seed=seed, size=_size(size), asked=tuple(asked or ()), overwrite=overwrite, progress=progress
        )
    told = {"out": str(out), "patient": patient.person.patient_id, "structures": list(patient.structures.names)}
    with _on_stdout():
        if as_json:
            _print_json(told)
        else:
            print(f"{patient.person.patient_id}: {len(patient.structures)} structures in {out}")


@app.command()
def plan(
    dicom_dir: DicomDir,
    protocol: ByProtocol,
    record: Record = None,
    names: Names = None,
    technique: PlanTechnique = None,
    out: Out = OUT,
    series: Series = None,
    dose_grid: DoseGrid = None,
    density_table: DensityTable = TABLE,
    density: Densities = None,
    machine: PlanMachine = None,
    engine: Engine = ENGINE,
    setup_errors: Annotated[
        str | None,
        typer.Option(
            "--setup-errors",
            metavar="LR,AP,CC",
            help="Judge the final plan also with the patient shifted by so many mm each way: '5,5,5'; or by standard "
            "deviations, systematic/random, with expected values: '3,3,3/2,2,2'.",
        ),
    ] = None,
    robust: Annotated[
        bool,
        typer.Option("--robust", help="Make the plan for the --setup-errors, in place of the targets' margins."),
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="DIR", help="Go on from the folder that an interrupted run left."),
    ] = None,
    reading: Readings = None,
    option: OtherDoses = None,
    prior: Priors = None,
    compare_without_prior: Annotated[
        bool,
        typer.Option(
            "--compare-without-prior",
            help="Plan once more as if there were no earlier course, and show what planning on the sum costs.",
        ),
    ] = False,
    registration_scenarios: Annotated[
        int,
        typer.Option(
            "--registration-scenarios",
            metavar="N",
            min=0,
            max=100,
            help="Hold hard limits over all courses also in N draws of the registrations within their uncertainty.",
        ),
    ] = 0,
    image: Annotated[
        list[str] | None,
        typer.Option(
            "--image", metavar="QUANTITY=DIR", help="Image of function by which the protocol paints; several times."
        ),
    ] = None,
    same_patient: SamePatient = False,
    insist: InsistOnDoses = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Plan a case by a protocol: decision, targets, deliverable plan, dose, scorecard, DICOM RT and report."""
    from tailort.cli import commands
    from tailort.cli.progress import Progress, interruptible

    with interruptible() as interrupt, Progress() as progress:
        run = commands.plan(
            dicom_dir, protocol, record=record, names=names, technique=technique.value if technique else None, out=out,
            series=series, dose_grid_mm=dose_grid, density_table=density_table, densities=tuple(density or ()),
            machine=machine, engine=engine, setup_errors=setup_errors, robust=robust, resume=resume,
            readings=tuple(reading or ()), option=option, priors=tuple(prior or ()),
            compare_without_prior=compare_without_prior, registration_scenarios=registration_scenarios,
            images=tuple(image or ()), same_patient=same_patient, insist=insist, overwrite=overwrite, progress=progress,
            interrupt=interrupt,
        )  # fmt: skip
    _tell_plan(run, out, as_json)


@app.command()
def evaluate(
    dicom_dir: DicomDir,
    protocol: LimitsOf = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", help="'Heart: V40Gy[%]' or 'SpinalCord: Max[Gy] EQD2(a/b=2) < 45'; several times."),
    ] = None,
    names: Names = None,
    fractions: Annotated[
        int | None, typer.Option("--fractions", min=1, help="Of the dose, where no RTPLAN tells.")
    ] = None,
    record: Record = None,
    reading: Readings = None,
    option: OtherDoses = None,
    out: Out = OUT,
    series: Series = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Score an existing plan of any planning system: DVH, metrics and limits."""
    from tailort.cli import commands
    from tailort.cli.progress import Progress, interruptible

    with interruptible(), Progress() as progress:
        result = commands.evaluate(
            dicom_dir, protocol=protocol, metrics=tuple(metric or ()), names=names, fractions=fractions, record=record,
            readings=tuple(reading or ()), option=option, out=out, series=series, overwrite=overwrite,
            progress=progress,
        )  # fmt: skip
    with _on_stdout():
        if as_json:
            amendments = [found.as_dict() for found in result.amendments]
            notes = list(result.notes)
            _print_json({"out": str(out), "notes": notes, "amendments": amendments, **result.scorecard.as_dict()})
        else:
            _show_amendments(result.amendments)
            _show_scorecard(result.scorecard.as_dict()["metrics"])
            _show_hard_limits(result.scorecard)
            _show_notes(result.notes)
            print(f"report: {out / 'report.html'}")
    if status := _judgement(result.scorecard, result.amendments):
        raise typer.Exit(status)


@app.command()
def recalculate(
    dicom_dir: DicomDir,
    machine: Annotated[
        str | None, typer.Option("--machine", help="Machine id or file (default: the plan's, when it is known).")
    ] = None,
    names: Names = None,
    out: Out = OUT,
    series: Series = None,
    density_table: DensityTable = TABLE,
    density: Densities = None,
    engine: Engine = ENGINE,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Compute the dose of an existing plan independently; gamma and DVH against its RTDOSE when there is one."""
    from tailort.cli import commands
    from tailort.cli.progress import Progress, interruptible

    with interruptible(), Progress() as progress:
        result = commands.recalculate(
            dicom_dir, machine=machine, names=names, out=out, series=series, density_table=density_table,
            densities=tuple(density or ()), engine=engine, overwrite=overwrite, progress=progress,
        )  # fmt: skip
    with _on_stdout():
        if as_json:
            _print_json({"out": str(out), "notes": list(result.case.notes), **result.as_dict()})
        else:
            for beam in result.beams:
                print(f"beam {beam.name}: {beam.mu:.1f} MU, {beam.isocentre_gy:.3f} Gy a fraction at the isocentre")
            for found in result.gammas:
                print(f"gamma {found.criterion.label}: {found.pass_percent:.2f} % of {found.points} voxels agree")
            if result.given is None:
                print("no RTDOSE in the folder: nothing to compare with")
            _show_notes(result.case.notes)
            print(f"report: {out / 'report.html'}")


@app.command()
def tradeoffs(
    dicom_dir: DicomDir,
    protocol: ByProtocol,
    goal: Annotated[list[str], typer.Option("--goal", help="'Heart: Mean[Gy]' or 'PTV_6600: D95%[Gy]'; two or three.")],
    worst: Annotated[
        list[str] | None, typer.Option("--worst", help="'PTV_6600: 62.7': no worse than this, Gy; several times.")
    ] = None,
    at: Annotated[
        list[str] | None, typer.Option("--at", help="'Heart: 10': what the mixture is to keep, Gy; several times.")
    ] = None,
    plans: Annotated[int, typer.Option("--plans", min=3, max=100, help="Most plans along the front.")] = 12,
    gap: Annotated[
        float, typer.Option("--gap", min=0.1, max=99.0, help="Ends when no plan can be better by so many % of ranges.")
    ] = 5.0,
    record: Record = None,
    names: Names = None,
    technique: PlanTechnique = None,
    out: Out = OUT,
    series: Series = None,
    dose_grid: DoseGrid = None,
    density_table: DensityTable = TABLE,
    density: Densities = None,
    machine: PlanMachine = None,
    engine: Engine = ENGINE,
    reading: Readings = None,
    option: OtherDoses = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find what a plan can trade for what: fluences between the best of each goal, and the mixture asked for."""
    from tailort.cli import commands
    from tailort.cli.progress import Progress, interruptible

    with interruptible() as interrupt, Progress() as progress:
        result = commands.tradeoffs(
            dicom_dir, protocol, tuple(goal), worst=tuple(worst or ()), at=tuple(at or ()), plans=plans,
            gap_percent=gap, record=record, names=names, technique=technique.value if technique else None, out=out,
            series=series, dose_grid_mm=dose_grid, density_table=density_table, densities=tuple(density or ()),
            machine=machine, engine=engine, readings=tuple(reading or ()), option=option, overwrite=overwrite,
            progress=progress, interrupt=interrupt,
        )  # fmt: skip
    _tell_trading(result, out, as_json)


@app.command()
def validate(
    quick: Annotated[bool, typer.Option("--quick", help="Only the quick rows.")] = False,
    as_json: Json = False,
) -> None:
    """Run the physics validation table: the dose engine against measurements, Monte Carlo and laws."""
    from tailort.cli import commands
    from tailort.cli.progress import Progress, interruptible

    with interruptible(), Progress() as progress:
        rows = commands.validate(quick, progress)
    with _on_stdout():
        if as_json:
            _print_json({"rows": [row.as_dict() for row in rows]})
        else:
            _show_validation(rows)
    if any(row.verdict == "fail" for row in rows):
        raise typer.Exit(LIMIT_VIOLATED)


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status; what a person did wrong ends in one sentence on stderr."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        answer: Any = app(given or ["--help"], standalone_mode=False)
    except _UsageError as error:
        text = error.format_message().replace("Value error, ", "").replace("Input should be", "expected").rstrip(".")
        _say(f"{text}; see tailort --help")
        return 2
    except UndecidedError as error:
        _say(str(error))
        for name in error.missing:
            print(f"  missing: {name}", file=sys.stderr)
        return error.exit_status
    except TailortError as error:
        _say(str(error))
        return error.exit_status
    except MemoryError:
        _say("there is not enough memory for this; take a coarser --dose-grid, or a computer with more memory")
        return 2
    except SystemExit:
        # How typer ends when nobody reads its help any more.
        return 0
    return answer if isinstance(answer, int) else 0


def _say(text: str) -> None:
    print(f"tailort: {text}", file=sys.stderr)


@contextmanager
def _on_stdout() -> Iterator[None]:
    """Print a result; a reader that has gone away changes nothing in the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # What is still in the buffer goes nowhere, at the end of the program too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise OutputError(f"the result cannot be printed: {error.strerror or error}") from error


def _print_json(value: object) -> None:
    # ASCII, so that it is valid JSON on every terminal and in every pipe.
    print(json.dumps(value, indent=2, allow_nan=False))


def _tell(result: Any, out: Path, as_json: bool, show: Callable[[Any], None]) -> None:
    """Print a result that has notes and a report; `show` says what stands on a terminal above them."""
    with _on_stdout():
        if as_json:
            _print_json({"out": str(out), "notes": list(result.notes), **result.as_dict()})
        else:
            show(result)
            _show_notes(result.notes)
            print(f"report: {out / 'report.html'}")


def _tell_plan(result: Any, out: Path, as_json: bool) -> None:
    from tailort.cli.write import was_interrupted

    card = result.main.scorecard
    interrupted = was_interrupted(result)
    status = INTERRUPTED if interrupted else _judgement(card, result.amendments)
    told = {
        "out": str(out),
        "exit_status": status,
        "decision": result.decision.as_dict(),
        "plan": result.plan or None,
        "imaging": [row.as_dict() for row in result.imaging],
        "amendments": [found.as_dict() for found in result.amendments],
        "converged": result.main.converged,
        "notes": list(result.case.notes),
        **card.as_dict(),
    }
    if result.robustness is not None:
        told["robustness"] = result.robustness.as_dict()
    if result.drawn_sums is not None:
        told["registration_scenarios"] = result.drawn_sums.as_dict()
    with _on_stdout():
        if as_json:
            _print_json(told)
        else:
            for overlay in result.decision.overlays:
                for text in overlay.warnings:
                    print(f"! {text}")
            if result.plan:
                print(f"plan {result.plan}")
            _show_amendments(result.amendments)
            _show_scorecard(told["metrics"])
            if result.comparison is not None:
                worse = ", ".join(result.comparison.worse_by_organ) or "no organ"
                print(f"worse than with '{result.comparator.title}': {worse} (see comparison.json)")
            _show_hard_limits(card)
            _show_robustness(result.robustness)
            for row in result.imaging:
                if row.verdict in ("fail", "unknown"):
                    print(f"imaging {row.verdict}: {row.requirement} ({', '.join(row.rules)}): {row.found}")
            for flag in result.flags:
                print(f"flag {flag.id} ({', '.join(flag.rules)}): {flag.text}")
            _show_notes(result.case.notes)
            for text in result.unfinished:
                print(f"interrupted: {text}")
            plans = (
                ("plan", result.main),
                ("plan it is compared with", result.comparator),
                ("plan without the earlier courses", result.without_prior),
            )
            stopped = [what for what, plan in plans if plan is not None and plan.interrupted]
            if stopped:
                print(f"interrupted: the {stopped[0]} is marked not converged")
            print(f"report: {out / 'report.html'}")
    if status:
        raise typer.Exit(status)


def _tell_trading(result: Any, out: Path, as_json: bool) -> None:
    if result.interrupted:
        status = INTERRUPTED
    elif result.front is None or result.violated:
        status = LIMIT_VIOLATED
    else:
        status = UNDECIDED if result.unjudged else 0
    told = result.as_dict()
    with _on_stdout():
        if as_json:
            _print_json({"out": str(out), "exit_status": status, "notes": list(result.case.notes), **told})
        else:
            if result.front is not None:
                _show_trading(told)
            for sentence in result.obstacles:
                print(f"no trade-offs: {sentence}")
            for one in result.violated:
                print(f"hard limit violated: {one.structure} {one.label}, by {one.excess_gy:.2f} Gy")
            for text in result.unjudged:
                print(f"hard limit not judged: {text}")
            _show_notes(result.case.notes)
            if result.interrupted:
                print("interrupted: there are fewer plans than were asked for")
            print(f"report: {out / 'report.html'}")
    if status:
        raise typer.Exit(status)


def _judgement(card: Any, amendments: Iterable[Any] = ()) -> int:
    """Exit status by the hard limits: violated, could not be judged, or hold; and by whether other doses are known."""
    unknown = bool(card.hard_unknowns) or any(found.due == "unknown" for found in amendments)
    return LIMIT_VIOLATED if card.hard_failures else UNDECIDED if unknown else 0


def _show_amendments(amendments: Iterable[Any]) -> None:
    for found in amendments:
        print(f"amendment {found.entry.id}: {found.text}")


def _show_hard_limits(card: Any) -> None:
    for row in card.hard_failures:
        value = row.reason if row.value is None else f"{row.value:.2f}"
        print(f"hard limit violated: {row.structure} {row.metric} {value}, limit {row.operator} {row.limit:g}")
    for row in card.hard_unknowns:
        print(f"hard limit not judged: {row.structure} {row.metric}: {row.reason}")


def _show_robustness(robustness: Any) -> None:
    """Print how many limits hold in all positions, and the hard ones that do not."""
    if robustness is None:
        return
    judged = [row for row in robustness.rows if row.verdict in ("pass", "fail", "unknown")]
    held = sum(row.verdict == "pass" for row in judged)
    print(f"set-up errors: {held} of {len(judged)} limits hold in all {len(robustness.scenarios)} positions")
    for row in robustness.hard_failures:
        value = row.reason if row.worst is None else f"{row.worst:.2f} ({row.worst_scenario})"
        print(
            f"hard limit violated with set-up errors: {row.structure} {row.metric} {value}, limit {row.operator} "
            f"{row.limit:g}, holds in {row.held} of {row.scenarios} positions"
        )


def _show_notes(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"note: {note}")


def _show_table(table: Any) -> None:
    """Print a table; brackets and colons in names are names, no style."""
    from rich.console import Console

    Console(markup=False, emoji=False).print(table)


def _show_trading(told: dict[str, Any]) -> None:
    from rich.table import Table

    front, mixture = told["front"], told["mixture"]
    labels = [f"{goal['structure']}: {goal['metric']}" for goal in front["goals"]]
    table = Table("plan", *labels, "in the mixture", box=None)
    for plan, share in zip(front["plans"], mixture["shares"], strict=True):
        table.add_row(plan["origin"], *(f"{v:.2f}" for v in plan["metrics_gy"]), f"{100 * share:.0f} %" * (share > 0))
    table.add_row("mixture", *(f"{v:.2f}" for v in mixture["metrics_gy"]), told["answer"])
    _show_table(table)
    for goal, label, prices in zip(front["goals"], labels, mixture["trades"], strict=True):
        costs = [f"{price:.2f} Gy of {other}" for price, other in zip(prices, labels, strict=True) if price is not None]
        better = "more" if goal["better"] == "more" else "less"
        print(f"1 Gy {better} of {label} costs " + (" or ".join(costs) or "more than one of the others alone can pay"))


def _show_validation(rows: Iterable[Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("what", "value", "tolerance", "unit", "verdict", "against", box=None)
    colour = {"pass": "green", "fail": "red", "report": "dim"}
    for row in rows:
        verdict = Text(row.verdict, style=colour[row.verdict])
        table.add_row(row.name, f"{row.value:.3g}", row.tolerance, row.unit, verdict, row.reference)
    _show_table(table)


def _show_scorecard(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("structure", "metric", "quantity", "value", "limit", "priority", "verdict", box=None)
    colour = {"pass": "green", "fail": "red", "unknown": "yellow", "report": "dim"}
    for row in rows:
        value = "" if row["value"] is None else f"{row['value']:.2f}"
        limit = "" if row["limit"] is None else f"{row['operator']} {row['limit']:g}"
        verdict = Text(row["verdict"], style=colour[row["verdict"]])
        table.add_row(row["structure"], row["metric"], row["quantity"], value, limit, row["priority"], verdict)
    _show_table(table)
    for row in rows:
        if row["extrapolated"]:
            told = f"extrapolated: {row['extrapolated']}"
            print(f"{row['structure']} {row['metric']} [{row['mark']}]: {row['source']}; {told}")

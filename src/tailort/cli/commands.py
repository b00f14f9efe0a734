"""Each command as a Python function: read, work, write a whole folder, return the records."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tailort import dicom, workflow
from tailort.cli.machine_commands import load_machine
from tailort.cli.progress import Interrupt
from tailort.cli.run_folder import whole_folder
from tailort.cli.write import (
    hash_inputs,
    read_fluences,
    write_evaluation,
    write_patient,
    write_recalculation,
    write_run,
    write_trading,
)
from tailort.errors import InputError
from tailort.patient import Case, Constraint, Fact
from tailort.phantom import SolidPhantom, VirtualPatient, make, tg119
from tailort.physics import DensityTable, density_table_of_csv, density_tables
from tailort.protocols import Protocol, available, describe, load, load_record
from tailort.workflow import Asked, Evaluation, PlanningOptions, PlanningRun, Recalculation, StageClock, Trading

if TYPE_CHECKING:
    from tailort.workflow.validating import ValidationRow

Size = Literal["full", "coarse"]
Tell = Callable[[str, float], None]
DEMO_PROTOCOLS = {"oesophagus": "smart-imrt"}
RECORD = "record.yaml"
DEFAULT_ENGINE = PlanningOptions().engine

_METRIC = re.compile(
    r"^(?P<structure>[^:]+):\s*(?P<metric>[^\s]+\])"
    r"(?:\s+(?P<quantity>BED|EQD2)\(a/b=(?P<ab>\d+(?:\.\d+)?)\))?"
    r"(?:\s*(?P<operator><=|>=|<|>)\s*(?P<limit>\d+(?:\.\d+)?))?$"
)
_GOAL = re.compile(r"^(?P<structure>[^:]+?)\s*:\s*(?P<metric>\S+\])$")
_NUMBER = re.compile(r"^(?P<goal>.+?)\s*:\s*(?P<gy>\d+(?:\.\d+)?)\s*(?:Gy)?$")


def _silent(stage: str, share: float) -> None:
    """Tell nobody."""


def phantom(
    name: str,
    *,
    out: Path,
    seed: int = 0,
    size: Size = "full",
    overwrite: bool = False,
    progress: Tell = _silent,
) -> VirtualPatient | SolidPhantom:
    """Write a virtual patient, or a test phantom, as DICOM, with record.yaml and truth.json, and return it.

    Parameters
    ----------
    name : str
        Which kind of patient: "oesophagus"; or a geometry of AAPM TG-119, such as "tg119-c-shape".
    out : Path
        Folder to make.
    seed : int
        Which patient of that kind.
    size : {"full", "coarse"}
        512 x 512 CT, or a small one.
    overwrite : bool
        Whether an earlier result may be replaced.
    progress : callable
        Called with a stage and the share done.
    """
    with whole_folder(out, overwrite=overwrite) as staging:
        progress("virtual patient", 0.0)
        patient = tg119.make(name, seed, size) if name in tg119.NAMES else make(name, seed, size)
        progress("virtual patient", 1.0)
        write_patient(patient, staging, progress)
    return patient


def demo(
    name: str = "oesophagus",
    *,
    out: Path = Path("tailort-out"),
    seed: int = 0,
    size: Size = "full",
    dose_grid_mm: float = 3.0,
    overwrite: bool = False,
    progress: Tell = _silent,
    interrupt: Interrupt | None = None,
) -> PlanningRun:
    """Make a virtual patient as DICOM, read it back and plan it; the DICOM input stays in `out`/case.

    Parameters are those of `phantom` and `plan`.
    """
    if name not in DEMO_PROTOCOLS:
        raise InputError(f"there is no demo '{name}'; known are {', '.join(DEMO_PROTOCOLS)}")
    clock = StageClock(progress)
    with whole_folder(out, overwrite=overwrite) as staging:
        with clock.stage("virtual patient"):
            patient = make(name, seed, size)
        with clock.stage("write the case"):
            write_patient(patient, staging / "case", _silent)
        options = PlanningOptions(dose_grid_mm=dose_grid_mm)
        described = {"demo": name, "seed": seed, "size": size, "dose_grid_mm": dose_grid_mm}
        return _plan_into(
            staging,
            staging / "case",
            load(DEMO_PROTOCOLS[name]),
            None,
            None,
            None,
            options,
            described,
            clock,
            interrupt,
        )


def plan(
    dicom_dir: Path,
    protocol: str,
    *,
    record: Path | None = None,
    names: Path | None = None,
    technique: str | None = None,
    out: Path = Path("tailort-out"),
    series: str | None = None,
    dose_grid_mm: float = 3.0,
    density_table: str = "schneider2000",
    densities: tuple[str, ...] = (),
    machine: str | None = None,
    engine: str = DEFAULT_ENGINE,
    setup_errors: str | None = None,
    resume: Path | None = None,
    overwrite: bool = False,
    progress: Tell = _silent,
    interrupt: Interrupt | None = None,
) -> PlanningRun:
    """Plan a DICOM case by a protocol and write the run folder.

    Parameters
    ----------
    dicom_dir : Path
        Folder with CT and RTSTRUCT.
    protocol : str
        Id of a protocol, or the path of a protocol file.
    record : Path or None
        Clinical record; None reads record.yaml in the folder when it is there.
    names : Path or None
        YAML file that maps the case's structure names to TG-263 ones.
    technique : str or None
        None is the protocol's.
    out : Path
        Run folder.
    series : str or None
        CT series UID where there are several.
    dose_grid_mm : float
        Spacing of the dose grid.
    density_table : str
        From CT numbers to density: name of a packaged table, or path of a CSV file.
    densities : tuple of str
        "CouchInterior=0.08": structures whose density is given, g/cm3.
    machine : str or None
        Id of a machine or a machine file; None is the protocol's, or the generic 6 MV linac.
    engine : str
        Dose engine, by which influence and dose are computed.
    setup_errors : str or None
        "5,5,5": judge the final plan also with the patient shifted by so many mm each way left-right,
        anterior-posterior and cranio-caudal.
    resume : Path or None
        Run folder that an interrupted run of the same case, protocol and technique left: the search goes on from it.
    overwrite : bool
        Whether an earlier result may be replaced.
    progress, interrupt : callable, Interrupt
        Of the caller.

    Raises
    ------
    UndecidedError, NotEligibleError, InputError
        See the exit statuses in docs/commands.md.
    """
    loaded = load(protocol)
    clock = StageClock(progress)
    options = PlanningOptions(
        dose_grid_mm=dose_grid_mm,
        technique=technique,
        density_table=read_density_table(density_table),
        densities=tuple(density_of_text(text) for text in densities),
        machine=None if machine is None else load_machine(machine),
        engine=engine,
        setup_errors_mm=None if setup_errors is None else setup_errors_of_text(setup_errors),
        starts={} if resume is None else read_fluences(resume),
    )
    described = {
        "protocol": protocol, "technique": technique, "series": series, "dose_grid_mm": dose_grid_mm,
        "record": record.name if record else None, "names": names.name if names else None,
        "density_table": Path(density_table).name, "density": list(densities),
        "machine": None if machine is None else Path(machine).name, "engine": engine,
        "setup_errors_mm": None if options.setup_errors_mm is None else list(options.setup_errors_mm),
        "resumed": resume is not None,
    }  # fmt: skip
    with whole_folder(out, overwrite=overwrite, inputs=(dicom_dir,)) as staging:
        return _plan_into(staging, dicom_dir, loaded, record, names, series, options, described, clock, interrupt)


def _plan_into(
    staging: Path,
    dicom_dir: Path,
    protocol: Protocol,
    record: Path | None,
    names: Path | None,
    series: str | None,
    options: PlanningOptions,
    described: Mapping[str, Any],
    clock: StageClock,
    interrupt: Interrupt | None,
) -> PlanningRun:
    interrupt = interrupt or Interrupt()
    with clock.stage("read the case"):
        case = _read(dicom_dir, series, names)
        case = case.with_facts(_facts(dicom_dir, record))
    run = workflow.plan(case, protocol, options, clock, stop=interrupt.asked, keep=interrupt.keep)
    with clock.stage("write and report"):
        write_run(run, staging, described, hash_inputs(dicom_dir), clock)
    return replace(run, stages=clock.stages)


def evaluate(
    dicom_dir: Path,
    *,
    protocol: str | None = None,
    metrics: tuple[str, ...] = (),
    names: Path | None = None,
    fractions: int | None = None,
    out: Path = Path("tailort-out"),
    series: str | None = None,
    overwrite: bool = False,
    progress: Tell = _silent,
) -> Evaluation:
    """Score the dose of an existing plan and write scorecard, DVH and report.

    Parameters
    ----------
    dicom_dir : Path
        Folder with CT, RTSTRUCT and RTDOSE; RTPLAN when there is one.
    protocol : str or None
        Id or file: judge by its limits.
    metrics : tuple of str
        "Heart: V40Gy[%]", optionally with "EQD2(a/b=3)" and a limit "< 30".
    names, series, out, overwrite, progress
        As in `plan`.
    fractions : int or None
        Of the dose, where no plan tells.
    """
    asked = tuple(_constraint(text) for text in metrics)
    loaded = load(protocol) if protocol else None
    clock = StageClock(progress)
    described = {
        "protocol": protocol, "metrics": list(metrics), "fractions": fractions, "series": series,
        "names": names.name if names else None,
    }  # fmt: skip
    with whole_folder(out, overwrite=overwrite, inputs=(dicom_dir,)) as staging:
        with clock.stage("read the case"):
            case = _read(dicom_dir, series, names)
        with clock.stage("evaluate"):
            result = workflow.evaluate(case, loaded, asked, fractions)
        with clock.stage("write and report"):
            write_evaluation(result, staging, described, hash_inputs(dicom_dir), clock)
    return result


def recalculate(
    dicom_dir: Path,
    *,
    machine: str | None = None,
    names: Path | None = None,
    out: Path = Path("tailort-out"),
    series: str | None = None,
    density_table: str = "schneider2000",
    densities: tuple[str, ...] = (),
    engine: str = DEFAULT_ENGINE,
    overwrite: bool = False,
    progress: Tell = _silent,
) -> Recalculation:
    """Compute the dose of an existing plan independently, and compare it with the dose of the folder.

    Parameters
    ----------
    dicom_dir : Path
        Folder with CT, RTSTRUCT and RTPLAN; RTDOSE when there is one.
    machine : str or None
        Id of a machine or a machine file; None is the machine that the plan names, when TailoRT carries it.
    names, series, density_table, densities, engine, out, overwrite, progress
        As in `plan`.
    """
    from tailort.physics import machines

    clock = StageClock(progress)
    chosen = None if machine is None else load_machine(machine)
    table, overrides = read_density_table(density_table), tuple(density_of_text(text) for text in densities)
    described = {
        "machine": machine, "series": series, "names": names.name if names else None,
        "density_table": Path(density_table).name, "density": list(densities), "engine": engine,
    }  # fmt: skip
    with whole_folder(out, overwrite=overwrite, inputs=(dicom_dir,)) as staging:
        with clock.stage("read the case"):
            case = _read(dicom_dir, series, names)
        if chosen is None:
            named = sorted({beam.machine for plan in case.plans for beam in plan.beams})
            if len(named) == 1 and named[0] in machines():
                chosen = load_machine(named[0])
            elif named:
                raise InputError(
                    f"the plan is of machine {', '.join(repr(n) for n in named)}, which TailoRT does not carry; name "
                    f"one with --machine: {', '.join(sorted(machines()))}, or a machine file"
                )
        with clock.stage("recalculate") as tell:
            result = workflow.recalculate(case, chosen, engine=engine, table=table, overrides=overrides, progress=tell)
        with clock.stage("write and report"):
            write_recalculation(result, staging, described, hash_inputs(dicom_dir), clock)
    return result


def tradeoffs(
    dicom_dir: Path,
    protocol: str,
    goals: tuple[str, ...],
    *,
    worst: tuple[str, ...] = (),
    at: tuple[str, ...] = (),
    plans: int = 12,
    gap_percent: float = 5.0,
    record: Path | None = None,
    names: Path | None = None,
    technique: str | None = None,
    out: Path = Path("tailort-out"),
    series: str | None = None,
    dose_grid_mm: float = 3.0,
    density_table: str = "schneider2000",
    densities: tuple[str, ...] = (),
    machine: str | None = None,
    engine: str = DEFAULT_ENGINE,
    overwrite: bool = False,
    progress: Tell = _silent,
    interrupt: Interrupt | None = None,
) -> Trading:
    """Find out what the fluence of a protocol's first phase can trade for what, and mix the plan that is asked for.

    Parameters
    ----------
    goals : tuple of str
        Two or three of "Heart: Mean[Gy]".
    worst : tuple of str
        "PTV_6600: 62.7": how bad a goal may become, Gy.
    at : tuple of str
        "Heart: 10": what is asked of the mixture, Gy.
    plans : int
        Most plans along the front.
    gap_percent : float
        Ends when no plan can be better than the mixtures by more than this share of every goal's range.
    dicom_dir, protocol, record, names, technique, series, dose_grid_mm, density_table, densities, machine, engine
        As in `plan`.
    out, overwrite, progress, interrupt
        As in `plan`.
    """
    asked = goals_of_text(goals, worst, at)
    loaded = load(protocol)
    clock = StageClock(progress)
    interrupt = interrupt or Interrupt()
    options = PlanningOptions(
        dose_grid_mm=dose_grid_mm,
        technique=technique,
        density_table=read_density_table(density_table),
        densities=tuple(density_of_text(text) for text in densities),
        machine=None if machine is None else load_machine(machine),
        engine=engine,
    )
    described = {
        "protocol": protocol, "goals": list(goals), "worst": list(worst), "at": list(at), "plans": plans,
        "gap_percent": gap_percent, "technique": technique, "series": series, "dose_grid_mm": dose_grid_mm,
        "record": record.name if record else None, "names": names.name if names else None,
        "density_table": Path(density_table).name, "density": list(densities),
        "machine": None if machine is None else Path(machine).name, "engine": engine,
    }  # fmt: skip
    with whole_folder(out, overwrite=overwrite, inputs=(dicom_dir,)) as staging:
        with clock.stage("read the case"):
            case = _read(dicom_dir, series, names)
            case = case.with_facts(_facts(dicom_dir, record))
        result = workflow.trade(
            case, loaded, options, asked, clock, most_plans=plans, gap=gap_percent / 100.0, stop=interrupt.asked,
            keep=interrupt.keep,
        )  # fmt: skip
        with clock.stage("write and report"):
            write_trading(result, staging, described, hash_inputs(dicom_dir), clock)
    return replace(result, stages=clock.stages)


def protocols(protocol: str | None = None) -> dict[str, Any]:
    """List the protocols, or every rule of one: what `tailort protocols --json` prints."""
    if protocol is not None:
        return describe(load(protocol))
    listed = [load(name) for name in available()]
    return {"protocols": [{"id": p.id, "version": p.version, "title": p.title, "status": p.status} for p in listed]}


def _read(folder: Path, series: str | None, names: Path | None) -> Case:
    return dicom.read_case(folder, series_uid=series, names=dicom.load_names(names) if names else None)


def _facts(folder: Path, record: Path | None) -> dict[str, Fact]:
    if record is None:
        record = folder / RECORD
        if not record.is_file():
            return {}
    elif not record.is_file():
        raise InputError(f"the clinical record '{record}' does not exist; give another file with --record")
    return load_record(record)


def read_density_table(name_or_file: str) -> DensityTable:
    """Packaged table of this name, else the one in a CSV file.

    Raises
    ------
    InputError
        When there is neither; the known names are listed.
    """
    known = density_tables()
    if name_or_file in known:
        return known[name_or_file]
    path = Path(name_or_file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "there is no such file" if missing else "that file cannot be read as text"
        raise InputError(
            f"density table '{name_or_file}' is none of {', '.join(sorted(known))}, and {reason}; give a name or a CSV "
            "file with the columns hu,density_g_cm3"
        ) from error
    return density_table_of_csv(text, path.name)


def density_of_text(text: str) -> tuple[str, float]:
    """Structure and its density, g/cm3, of "Structure=1.00".

    Raises
    ------
    InputError
        When the text has another form.
    """
    name, _, number = text.rpartition("=")
    try:
        g_cm3 = float(number)
    except ValueError:
        g_cm3 = math.nan
    if not name.strip() or not math.isfinite(g_cm3):
        raise InputError(f"'{text}' gives no structure a density; expected 'CouchInterior=0.08', in g/cm3")
    return name.strip(), g_cm3


def goals_of_text(goals: tuple[str, ...], worst: tuple[str, ...] = (), at: tuple[str, ...] = ()) -> tuple[Asked, ...]:
    """Goals to trade, of "Heart: Mean[Gy]", with the numbers of "Heart: 20" or "Heart: Mean[Gy]: 20".

    Raises
    ------
    InputError
        When a text has another form, two goals are the same, or a number belongs to no goal or to several.
    """
    found: list[Asked] = []
    for text in goals:
        form = _GOAL.match(text.strip())
        if form is None:
            raise InputError(f"'{text}' is not a goal to trade; expected 'Heart: Mean[Gy]' or 'PTV_6600: D95%[Gy]'")
        found.append(Asked(form["structure"].strip(), form["metric"]))
    labels = [_label(one) for one in found]
    twice = next((text for text, label in zip(goals, labels, strict=True) if labels.count(label) > 1), None)
    if twice is not None:
        raise InputError(f"the goal '{twice}' is given twice")
    worst_gy, at_gy = _numbers(found, worst, "--worst"), _numbers(found, at, "--at")
    return tuple(replace(one, worst_gy=worst_gy.get(n), at_gy=at_gy.get(n)) for n, one in enumerate(found))


def _label(one: Asked) -> str:
    return f"{one.structure}:{one.metric}".lower()


def _numbers(goals: list[Asked], texts: tuple[str, ...], option: str) -> dict[int, float]:
    """Gy by the number of the goal."""
    told: dict[int, float] = {}
    for text in texts:
        form = _NUMBER.match(text.strip())
        if form is None:
            raise InputError(f"{option} '{text}' gives no goal a dose; expected 'Heart: 20', in Gy")
        name = re.sub(r"\s*:\s*", ":", form["goal"].strip()).lower()
        own = [n for n, one in enumerate(goals) if name in (one.structure.lower(), _label(one))]
        listed = ", ".join(f"'{one.structure}: {one.metric}'" for one in goals)
        if len(own) != 1:
            which = "no goal" if not own else "several goals"
            raise InputError(f"{option} '{text}' is on {which} of {listed}; name one: 'Heart: Mean[Gy]: 20'")
        if own[0] in told:
            raise InputError(f"{option} gives '{form['goal'].strip()}' two doses; give one")
        told[own[0]] = float(form["gy"])
    return told


def setup_errors_of_text(text: str) -> tuple[float, float, float]:
    """Set-up errors, mm, of "5,5,5": left-right, anterior-posterior, cranio-caudal.

    Raises
    ------
    InputError
        When the text has another form, or no patient lies off like that.
    """
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"'{text}' are no set-up errors; expected three lengths in mm, left-right, anterior-posterior and "
            "cranio-caudal, such as '5,5,5'"
        ) from error
    return workflow.setup_errors(values)


def _constraint(text: str) -> Constraint:
    form = _METRIC.match(text.strip())
    if form is None:
        raise InputError(
            f"'{text}' is not a metric of a structure; expected 'Heart: V40Gy[%]', and if wanted EQD2(a/b=3) and "
            "a limit: 'Heart: Mean[Gy] EQD2(a/b=3) < 26'"
        )
    judged = form["limit"] is not None
    operator: Any = form["operator"] or "<="
    quantity: Any = form["quantity"] or "physical"
    return Constraint(
        structure=form["structure"].strip(),
        metric=form["metric"],
        operator=operator,
        limit=float(form["limit"]) if judged else 0.0,
        priority="goal" if judged else "report",
        source="--metric",
        quantity=quantity,
        alpha_beta_gy=float(form["ab"]) if form["ab"] else None,
    )


def validate(quick: bool = False, progress: Tell = _silent) -> tuple[ValidationRow, ...]:
    """Run the physics validation table.

    Parameters
    ----------
    quick : bool
        Only the rows that every CI run does.
    progress : callable
        Called with a stage and the share done.
    """
    from tailort.workflow.validating import validate as run_table

    rows = run_table(quick, lambda share, name: progress("validation", share))
    progress("validation", 1.0)
    return rows

"""Each command as a Python function: read, work, write a whole folder, return the records."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tailort import dicom
from tailort.cli.decide_commands import readings_of_text
from tailort.cli.earlier_courses import with_courses
from tailort.cli.functional_images import folders_of_text, read_images
from tailort.cli.machine_commands import load_machine
from tailort.cli.progress import Interrupt
from tailort.cli.registrations import given_registrations, write_registrations
from tailort.cli.run_files import hash_inputs, hashes_of
from tailort.cli.run_folder import whole_folder
from tailort.cli.texts import (
    constraint_of_text,
    density_of_text,
    goals_of_text,
    read_density_table,
    setup_of_text,
)
from tailort.cli.write import (
    read_fluences,
    write_evaluation,
    write_patient,
    write_recalculation,
    write_run,
    write_trading,
)
from tailort.cli.write_phantom import EARLIER, MR, write_adaptive, write_painting, write_scans
from tailort.errors import InputError
from tailort.patient import Case, Fact, Plan
from tailort.phantom import (
    AdaptivePatient,
    PaintingPatient,
    SolidPhantom,
    VirtualPatient,
    adaptive,
    earlier_scan,
    further_scans,
    make,
    painting,
    salvage,
    spine,
    tg119,
)
from tailort.phantom.weekly_map import WEEKS as SCANNED_WEEKS
from tailort.physics import Machine
from tailort.protocols import Protocol, available, describe, load, load_record
from tailort.registration import Registration
from tailort.workflow import evaluating, planning, recalculating, registering, trading
from tailort.workflow.clock import StageClock
from tailort.workflow.options import PlanningOptions
from tailort.workflow.recalculating import Recalculation
from tailort.workflow.records import Evaluation, PlanningRun
from tailort.workflow.trading import Trading

if TYPE_CHECKING:
    from tailort.workflow.validating import ValidationRow

Size = Literal["full", "coarse"]
Tell = Callable[[str, float], None]
PHANTOMS: dict[str, Callable[..., VirtualPatient | SolidPhantom | AdaptivePatient | PaintingPatient]] = {
    "oesophagus": partial(make, "oesophagus"),
    "salvage": salvage.make,
    "spine": spine.make,
    adaptive.NAME: adaptive.make,
    painting.NAME: painting.make,
    **{name: partial(tg119.make, name) for name in tg119.NAMES},
}
WEEKS, MODALITY = "weeks", "modality"
ASKED = {
    "oesophagus": ("level", "tumour_length_mm", "wall_thickness_mm"),
    "salvage": ("anastomosis", "kind", "region", "diameter_mm", "from_anastomosis_mm", EARLIER),
    "spine": ("vertebra", "bilsky", EARLIER, MR),
    adaptive.NAME: ("change", WEEKS, MODALITY),
    painting.NAME: ("session", "level", "tumour_length_mm", "wall_thickness_mm"),
}
"""What can be asked of a virtual patient, by the argument of its `make`."""
RECORD = "record.yaml"
DEFAULT_ENGINE = PlanningOptions().engine


def silent(stage: str, share: float) -> None:
    """Tell nobody."""


def phantom(
    name: str,
    *,
    out: Path,
    seed: int = 0,
    size: Size = "full",
    asked: tuple[str, ...] = (),
    overwrite: bool = False,
    progress: Tell = silent,
) -> VirtualPatient | SolidPhantom:
    """Write a virtual patient, or a test phantom, as DICOM, with record.yaml and truth.json, and return it.

    Parameters
    ----------
    name : str
        Which kind of patient: "oesophagus", "salvage" (recurrence after oesophagectomy), "spine" (epidural
        metastasis), "painting" (PETs of a tumour of known radiosensitivity) or "adaptive" (who changes during
        treatment); or a geometry of AAPM TG-119, such as "tg119-c-shape".
    out : Path
        Folder to make.
    seed : int
        Which patient of that kind.
    size : {"full", "coarse"}
        512 x 512 CT, or a small one.
    asked : tuple of str
        "NAME=value" each: what the patient is to have in place of what its seed draws, such as "region=III".
        "earlier=yes", or the seed of a deformation, makes folders today and earlier: a planning CT from before the
        first course; "mr=yes" MR and a CT myelogram beside today. Of "adaptive" the folder planning and one of each
        of "weeks=1,3,5", by CT or "modality=cbct".
    overwrite : bool
        Whether an earlier result may be replaced.
    progress : callable
        Called with a stage and the share done.
    """
    if name not in PHANTOMS:
        raise InputError(f"there is no virtual patient '{name}'; known are {', '.join(PHANTOMS)}")
    with whole_folder(out, overwrite=overwrite) as staging:
        progress("virtual patient", 0.0)
        wanted = _asked_of_patient(name, asked)
        deformation, mr = _deformation(wanted.pop(EARLIER, None), seed), _yes(MR, wanted.pop(MR, None))
        weeks, modality = _weeks(wanted.pop(WEEKS, None)), wanted.pop(MODALITY, "ct")
        patient = PHANTOMS[name](seed, size, **wanted)
        progress("virtual patient", 1.0)
        if isinstance(patient, AdaptivePatient):
            write_adaptive(patient, adaptive.weeks_of(patient, weeks, modality), staging, progress)
            return patient.planning
        if isinstance(patient, PaintingPatient):
            write_painting(patient, staging, progress)
            return patient.patient
        if not isinstance(patient, VirtualPatient) or (deformation is None and not mr):
            write_patient(patient, staging, progress)
        else:
            progress("further scans", 0.0)
            earlier = None if deformation is None else earlier_scan(patient, deformation)
            further = further_scans(patient) if mr else ()
            progress("further scans", 1.0)
            write_scans(patient, staging, progress, earlier=earlier, further=further)
    return patient


def _deformation(asked: str | None, seed: int) -> int | None:
    """Seed of the deformation of an earlier scan; None where none is wanted."""
    if asked is None:
        return None
    if asked == "yes" or asked.isdecimal():
        return seed if asked == "yes" else int(asked)
    raise InputError(f"--with '{EARLIER}={asked}' is not understood: say yes, or the seed of the deformation")


def _weeks(asked: str | None) -> tuple[int, ...]:
    """Weeks of which scans are wanted; all where none is named."""
    if asked is None:
        return SCANNED_WEEKS
    known = {str(week): week for week in SCANNED_WEEKS}
    found = [text.strip() for text in asked.split(",")]
    if not set(found) <= set(known):
        raise InputError(f"--with '{WEEKS}={asked}' is not understood: name weeks out of {', '.join(known)}")
    return tuple(known[text] for text in found)


def _yes(what: str, asked: str | None) -> bool:
    """Whether something is wanted."""
    if asked not in (None, "yes", "no"):
        raise InputError(f"--with '{what}={asked}' is not understood: say yes or no")
    return asked == "yes"


def _asked_of_patient(name: str, texts: tuple[str, ...]) -> dict[str, Any]:
    """What a virtual patient is to have, lengths in mm."""
    known = ASKED.get(name, ())
    found: dict[str, Any] = {}
    for text in texts:
        what, equals, value = (part.strip() for part in text.partition("="))
        if what not in known or not equals or not value or what in found:
            told = ", ".join(f"{one}=..." for one in known) or "nothing"
            raise InputError(
                f"--with '{text}' is not understood: of the patient '{name}' one can ask {told}, each once"
            )
        try:
            found[what] = float(value) if what.endswith("_mm") else value
        except ValueError as error:
            raise InputError(f"--with '{text}': expected a length in mm") from error
    return found


def plan(
    dicom_dir: Path,
    protocol: str,
    *,
    record: Path | None = None,
    names: Path | None = None,
    technique: str | None = None,
    out: Path = Path("tailort-out"),
    series: str | None = None,
    dose_grid_mm: float | None = None,
    density_table: str = "schneider2000",
    densities: tuple[str, ...] = (),
    machine: str | None = None,
    engine: str = DEFAULT_ENGINE,
    setup_errors: str | None = None,
    robust: bool = False,
    resume: Path | None = None,
    readings: tuple[str, ...] = (),
    option: str | None = None,
    priors: tuple[Path, ...] = (),
    compare_without_prior: bool = False,
    registration_scenarios: int = 0,
    images: tuple[str, ...] = (),
    same_patient: bool = False,
    insist: bool = False,
    today: dt.date | None = None,
    overwrite: bool = False,
    progress: Tell = silent,
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
    dose_grid_mm : float or None
        Spacing of the dose grid; None is the protocol's or, when it names none, 3 mm.
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
        anterior-posterior and cranio-caudal. "3,3,3/2,2,2": standard deviations of systematic and of random errors,
        which give expected values too.
    robust : bool
        Make the plan for these set-up errors too, in place of the targets' margins.
    resume : Path or None
        Run folder that an interrupted run of the same case, protocol and technique left: the search goes on from it.
    readings : tuple of str
        "MS-07=registry" each: readings of ambiguous rules to take in place of the protocol's defaults.
    option : str or None
        Other doses that the protocol offers for the patient's plan, by the id of the option.
    priors : tuple of Path
        Folders of earlier courses (`with_courses`): limits on all courses hold on the sum.
    images : tuple of str
        "fdg-suv=PET" each: images of function by which the protocol paints, and their folders.
    compare_without_prior : bool
        Plan once more as if there were no earlier course, and judge that plan on the sum too.
    registration_scenarios : int
        Draws of the registrations in which hard limits on all courses hold too.
    same_patient : bool
        Whether different identifiers are one patient.
    insist : bool
        Whether registrations that fail their own check are used.
    today : date or None
        The day that the protocol sees; None is the computer's.
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
    folders = folders_of_text(images)
    clock = StageClock(progress)
    chosen = _Chosen(
        technique, series, dose_grid_mm, record, names, density_table, densities, machine, engine,
        readings_of_text(readings), option, today or dt.date.today(),
    )  # fmt: skip
    options = replace(
        chosen.options(),
        **setup_of_text(setup_errors),
        robust=robust,
        compare_without_prior=compare_without_prior,
        registration_scenarios=registration_scenarios,
        starts={} if resume is None else read_fluences(resume),
    )
    described = {
        "protocol": protocol,
        **chosen.described(),
        "setup_errors_mm": None if options.setup_errors_mm is None else list(options.setup_errors_mm),
        "setup_spread_mm": None if options.setup_spread_mm is None else [list(sd) for sd in options.setup_spread_mm],
        "robust": robust,
        "resumed": resume is not None,
        "priors": [prior.name for prior in priors],
        "compare_without_prior": compare_without_prior,
        "registration_scenarios": registration_scenarios,
        "images": list(folders),
        "same_patient": same_patient,
        "insist": insist,
    }
    with whole_folder(out, overwrite=overwrite, inputs=(dicom_dir, *priors, *folders.values())) as staging:
        case = read_patient(dicom_dir, clock, series, names, record)
        found = read_images(case, folders, clock, interrupt, insist=insist, same_patient=same_patient)
        options = replace(options, images=found)
        registrations: dict[str, Registration] = {}
        if priors:
            with clock.stage("read earlier courses"):
                case = with_courses(case, dicom_dir, priors, same_patient=same_patient)
                given = given_registrations(case, (dicom_dir, *priors), same_patient=same_patient)
            registrations = registering.register_courses(
                case, clock, given=given, insist=insist, stop=interrupt.asked if interrupt else lambda: False
            )
        return plan_into(staging, dicom_dir, case, loaded, options, described, clock, interrupt, priors, registrations)


def asked_of_protocol(readings: Mapping[str, str], option: str | None, today: dt.date | None) -> dict[str, Any]:
    """What a person chose where the protocol leaves a choice, and the day, as plain values for run.json."""
    told = [f"{rule}={name}" for rule, name in readings.items()]
    return {"readings": told, "option": option, "today": today.isoformat() if today else None}


@dataclass(frozen=True)
class _Chosen:
    """What a person tells `plan` and `tradeoffs` alike; the fields are parameters of `plan`, readings by rule."""

    technique: str | None
    series: str | None
    dose_grid_mm: float | None
    record: Path | None
    names: Path | None
    density_table: str
    densities: tuple[str, ...]
    machine: str | None
    engine: str
    readings: Mapping[str, str]
    option: str | None
    today: dt.date

    def options(self) -> PlanningOptions:
        """Read what is named."""
        return PlanningOptions(
            dose_grid_mm=self.dose_grid_mm,
            technique=self.technique,
            density_table=read_density_table(self.density_table),
            densities=tuple(density_of_text(text) for text in self.densities),
            machine=None if self.machine is None else load_machine(self.machine),
            engine=self.engine,
            readings=self.readings,
            option=self.option,
            today=self.today,
        )

    def described(self) -> dict[str, Any]:
        """As plain values for run.json, without the folders of one computer."""
        return {
            "technique": self.technique,
            "series": self.series,
            "dose_grid_mm": self.dose_grid_mm,
            "record": self.record.name if self.record else None,
            "names": self.names.name if self.names else None,
            "density_table": Path(self.density_table).name,
            "density": list(self.densities),
            "machine": None if self.machine is None else Path(self.machine).name,
            "engine": self.engine,
            **asked_of_protocol(self.readings, self.option, self.today),
        }


def plan_into(
    staging: Path,
    dicom_dir: Path,
    case: Case,
    protocol: Protocol,
    options: PlanningOptions,
    described: Mapping[str, Any],
    clock: StageClock,
    interrupt: Interrupt | None,
    priors: tuple[Path, ...] = (),
    registrations: Mapping[str, Registration] | None = None,
) -> PlanningRun:
    """Plan a case that was read, and write the run folder; see `plan`."""
    interrupt = interrupt or Interrupt()
    run = planning.plan(
        case, protocol, options, clock, stop=interrupt.asked, keep=interrupt.keep, registrations=registrations
    )
    with clock.stage("write and report"):
        write_registrations(case, registrations or {}, staging)
        write_run(run, staging, described, hashes_of(dicom_dir, priors), clock)
    return replace(run, stages=clock.stages)


def evaluate(
    dicom_dir: Path,
    *,
    protocol: str | None = None,
    metrics: tuple[str, ...] = (),
    names: Path | None = None,
    fractions: int | None = None,
    record: Path | None = None,
    readings: tuple[str, ...] = (),
    option: str | None = None,
    today: dt.date | None = None,
    out: Path = Path("tailort-out"),
    series: str | None = None,
    overwrite: bool = False,
    progress: Tell = silent,
) -> Evaluation:
    """Score the dose of an existing plan and write scorecard, DVH and report.

    Parameters
    ----------
    dicom_dir : Path
        Folder with CT, RTSTRUCT and RTDOSE; RTPLAN when there is one.
    protocol : str or None
        Id or file: judge by its limits; those of the patient's own plan, where there is a clinical record.
    metrics : tuple of str
        "Heart: V40Gy[%]", optionally with "EQD2(a/b=3)" and a limit "< 30".
    names, record, readings, option, today, series, out, overwrite, progress
        As in `plan`.
    fractions : int or None
        Of the dose, where no plan tells.
    """
    asked = tuple(constraint_of_text(text) for text in metrics)
    loaded = load(protocol) if protocol else None
    if loaded is None and (readings or option or record):
        raise InputError("--record, --reading and --option tell what a protocol does not say: give --protocol too")
    named, today = readings_of_text(readings), today or dt.date.today()
    clock = StageClock(progress)
    described = {
        "protocol": protocol, "metrics": list(metrics), "fractions": fractions, "series": series,
        "names": names.name if names else None, "record": record.name if record else None,
        **asked_of_protocol(named, option, today),
    }  # fmt: skip
    with whole_folder(out, overwrite=overwrite, inputs=(dicom_dir,)) as staging:
        case = _read(dicom_dir, clock, series, names)
        if loaded is not None:
            case = case.with_facts(facts_of(dicom_dir, record))
        with clock.stage("evaluate"):
            result = evaluating.evaluate(
                case, loaded, asked, fractions, PlanningOptions(readings=named, option=option, today=today)
            )
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
    progress: Tell = silent,
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
    clock = StageClock(progress)
    chosen = None if machine is None else load_machine(machine)
    table, overrides = read_density_table(density_table), tuple(density_of_text(text) for text in densities)
    described = {
        "machine": machine, "series": series, "names": names.name if names else None,
        "density_table": Path(density_table).name, "density": list(densities), "engine": engine,
    }  # fmt: skip
    with whole_folder(out, overwrite=overwrite, inputs=(dicom_dir,)) as staging:
        case = _read(dicom_dir, clock, series, names)
        if chosen is None and case.plans:
            chosen = machine_of_plans(case.plans)
        with clock.stage("recalculate") as tell:
            result = recalculating.recalculate(
                case, chosen, engine=engine, table=table, overrides=overrides, progress=tell
            )
        with clock.stage("write and report"):
            write_recalculation(result, staging, described, hash_inputs(dicom_dir), clock)
    return result


def machine_of_plans(plans: Sequence[Plan]) -> Machine:
    """The machine that plans name.

    Raises
    ------
    InputError
        When there is no plan, they name several, or one that TailoRT does not carry.
    """
    from tailort.physics import machines

    named = sorted({beam.machine for plan in plans for beam in plan.beams})
    if len(named) == 1 and named[0] in machines():
        return load_machine(named[0])
    raise InputError(
        f"the plan is of machine {', '.join(repr(n) for n in named) or '(none)'}, which TailoRT does not carry; name "
        f"one with --machine: {', '.join(sorted(machines()))}, or a machine file"
    )


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
    dose_grid_mm: float | None = None,
    density_table: str = "schneider2000",
    densities: tuple[str, ...] = (),
    machine: str | None = None,
    engine: str = DEFAULT_ENGINE,
    readings: tuple[str, ...] = (),
    option: str | None = None,
    today: dt.date | None = None,
    overwrite: bool = False,
    progress: Tell = silent,
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
    readings, option, today
        As in `plan`.
    out, overwrite, progress, interrupt
        As in `plan`.
    """
    asked = goals_of_text(goals, worst, at)
    loaded = load(protocol)
    clock = StageClock(progress)
    interrupt = interrupt or Interrupt()
    chosen = _Chosen(
        technique, series, dose_grid_mm, record, names, density_table, densities, machine, engine,
        readings_of_text(readings), option, today or dt.date.today(),
    )  # fmt: skip
    options = chosen.options()
    described = {
        "protocol": protocol, "goals": list(goals), "worst": list(worst), "at": list(at), "plans": plans,
        "gap_percent": gap_percent, **chosen.described(),
    }  # fmt: skip
    with whole_folder(out, overwrite=overwrite, inputs=(dicom_dir,)) as staging:
        case = read_patient(dicom_dir, clock, series, names, record)
        result = trading.trade(
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


def _read(folder: Path, clock: StageClock, series: str | None, names: Path | None) -> Case:
    with clock.stage("read the case"):
        return dicom.read_case(folder, series_uid=series, names=dicom.load_names(names) if names else None)


def read_patient(
    folder: Path, clock: StageClock, series: str | None = None, names: Path | None = None, record: Path | None = None
) -> Case:
    """Case with the clinical record."""
    return _read(folder, clock, series, names).with_facts(facts_of(folder, record))


def facts_of(folder: Path, record: Path | None) -> dict[str, Fact]:
    """Clinical record of a folder, or another one that a person names; empty where there is none."""
    if record is None:
        record = folder / RECORD
        if not record.is_file():
            return {}
    elif not record.is_file():
        raise InputError(f"the clinical record '{record}' does not exist; give another file with --record")
    return load_record(record)


def validate(quick: bool = False, progress: Tell = silent) -> tuple[ValidationRow, ...]:
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

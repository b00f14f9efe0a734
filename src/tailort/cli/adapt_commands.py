"""`tailort adapt`: a course looked at again on the anatomy of today. Heavy imports wait for the command."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailort.cli.options import OUT, InsistOnDoses, Json, Names, OtherDoses, Out, Overwrite, Readings, SamePatient
from tailort.errors import InputError

if TYPE_CHECKING:
    from tailort.cli.progress import Interrupt
    from tailort.patient import Case, Plan
    from tailort.registration import Registration
    from tailort.workflow.adaptation_asked import NewScan
    from tailort.workflow.adapted_records import Adaptation

# Whose triggers are asked where nobody names others.
TRIGGERS = "individualised"
REPLANS = ("yes", "no", "if-triggered")
_FROM_RUN = ("technique", "option", "dose_grid_mm", "engine", "machine", "density_table", "density")


def adapt(
    plan_dir: Annotated[Path, typer.Argument(help="Planned case: CT, RTSTRUCT, RTPLAN, RTDOSE, or a run folder.")],
    new: Annotated[
        list[Path], typer.Option("--new", metavar="DIR", help="CT or CBCT of a day of the course; several times.")
    ],
    delivered: Annotated[
        list[int] | None,
        typer.Option("--delivered", metavar="N", help="Fractions given before each new CT (else treatment records)."),
    ] = None,
    case: Annotated[Path | None, typer.Option("--case", help="Folder of the planning CT of a run folder.")] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="By which the course was planned (default: that of the run).")
    ] = None,
    triggers: Annotated[str, typer.Option("--triggers", help="Protocol whose triggers are asked.")] = TRIGGERS,
    replan: Annotated[
        str, typer.Option("--replan", help="Plan what is left anew: yes, no or if-triggered.")
    ] = "if-triggered",
    weight_kg: Annotated[
        float | None, typer.Option("--weight-kg", help="Today's weight (default: record.yaml of the last new folder).")
    ] = None,
    hu_correction: Annotated[
        str | None, typer.Option("--hu-correction", help="Of a cone-beam CT: table, histogram or none.")
    ] = None,
    new_density_table: Annotated[
        str | None, typer.Option("--new-density-table", help="Of the new CTs: name, or CSV file hu,density_g_cm3.")
    ] = None,
    prior: Annotated[
        list[Path] | None, typer.Option("--prior", metavar="DIR", help="Earlier course; several times.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", help="Clinical record (default: record.yaml beside the planning CT).")
    ] = None,
    reading: Readings = None,
    option: OtherDoses = None,
    technique: Annotated[str | None, typer.Option("--technique", help="imrt, vmat or 3dcrt.")] = None,
    machine: Annotated[str | None, typer.Option("--machine", help="Id or file (default: the plan's).")] = None,
    engine: Annotated[str | None, typer.Option("--engine", help="Dose engine (default: that of the run).")] = None,
    dose_grid: Annotated[
        float | None, typer.Option("--dose-grid", min=1.0, max=10.0, help="mm (default: that of the planned dose).")
    ] = None,
    plan: Annotated[
        list[str] | None,
        typer.Option(
            "--plan", metavar="LABEL", help="Plans of a course of several phases, in their order (default: as told)."
        ),
    ] = None,
    names: Names = None,
    same_patient: SamePatient = False,
    insist: InsistOnDoses = False,
    out: Out = OUT,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Look at a course again on today's CT: dose so far, what follows, triggers, and a plan for what is left."""
    from tailort.cli.progress import Progress, interruptible

    with interruptible() as interrupt, Progress() as progress:
        result = adapt_course(
            plan_dir, tuple(new), delivered=tuple(delivered or ()), case_dir=case, protocol=protocol,
            triggers=triggers, replan=replan, weight_kg=weight_kg, hu_correction=hu_correction,
            new_density_table=new_density_table, priors=tuple(prior or ()), record=record,
            readings=tuple(reading or ()), option=option, technique=technique, machine=machine, engine=engine,
            dose_grid_mm=dose_grid, plans=tuple(plan or ()), names=names, same_patient=same_patient, insist=insist,
            out=out, overwrite=overwrite, progress=progress, interrupt=interrupt,
        )  # fmt: skip
    tell_adaptation(result, out, as_json)


def tell_adaptation(result: Adaptation, out: Path, as_json: bool) -> None:
    """Print what an adaptation found, and end with its exit status."""
    from tailort.cli.app import UNDECIDED, _judgement, _on_stdout, _print_json, _show_hard_limits, _show_notes

    card = result.final_card
    with _on_stdout():
        if as_json:
            scores = {} if card is None else card.as_dict()
            _print_json({"out": str(out), "notes": list(result.notes), **result.as_dict(), **scores})
        else:
            for warning in result.warnings:
                print(f"! {warning}")
            _show(result)
            if card is not None:
                _show_hard_limits(card)
            _show_notes(result.notes)
            print(f"report: {out / 'report.html'}")
    if status := (0 if card is None else _judgement(card)) or (UNDECIDED if result.unjudged else 0):
        raise typer.Exit(status)


def adapt_course(
    plan_dir: Path,
    new: tuple[Path, ...],
    *,
    delivered: tuple[int, ...] = (),
    case_dir: Path | None = None,
    protocol: str | None = None,
    triggers: str = TRIGGERS,
    replan: str = "if-triggered",
    weight_kg: float | None = None,
    hu_correction: str | None = None,
    new_density_table: str | None = None,
    priors: tuple[Path, ...] = (),
    record: Path | None = None,
    readings: tuple[str, ...] = (),
    option: str | None = None,
    technique: str | None = None,
    machine: str | None = None,
    engine: str | None = None,
    dose_grid_mm: float | None = None,
    plans: tuple[str, ...] = (),
    names: Path | None = None,
    same_patient: bool = False,
    insist: bool = False,
    out: Path = Path("tailort-out"),
    overwrite: bool = False,
    progress: Callable[[str, float], None] = lambda stage, share: None,
    interrupt: Interrupt | None = None,
) -> Adaptation:
    """Adapt a course and write the run folder.

    Parameters
    ----------
    plan_dir : Path
        Planned case as DICOM, or a run folder of `tailort plan`, whose protocol, engine, technique and dose grid are
        then the defaults.
    new : tuple of Path
        Folders of the CTs of the course, in any order.
    delivered : tuple of int
        Fractions that were given before each of them; empty counts RT Beams Treatment Records in all folders.
    case_dir : Path or None
        Folder of the planning CT of a run folder; None takes its `case`.
    protocol, triggers : str or None, str
        By which the course was planned, and whose triggers are asked.
    replan : {"yes", "no", "if-triggered"}
        Whether what is left is planned anew.
    weight_kg : float or None
        Of today; None takes the record of the last new folder.
    hu_correction : {"table", "histogram", "none"} or None
        How CT numbers of cone-beam CTs are read.
    new_density_table : str or None
        Of the new CTs; needed for "table".
    plans : tuple of str
        Labels of the plans of a course of several phases in their order; empty goes by the phases that they tell.
    priors, record, readings, option, technique, machine, engine, dose_grid_mm, names, same_patient, insist, out
        As in `commands.plan`.
    overwrite, progress, interrupt
        As in `commands.plan`.

    Raises
    ------
    InputError, DicomError, UndecidedError, NotEligibleError
        See the exit statuses in docs/commands.md.
    """
    from tailort.cli import commands
    from tailort.cli.decide_commands import readings_of_text
    from tailort.cli.machine_commands import load_machine
    from tailort.cli.planned_case import described_run, folder_of_ct, read_planned
    from tailort.cli.progress import Interrupt
    from tailort.cli.run_files import hashes_of
    from tailort.cli.run_folder import whole_folder
    from tailort.cli.texts import density_of_text, read_density_table
    from tailort.cli.write_adaptation import write_adaptation
    from tailort.protocols import load
    from tailort.workflow.adaptation_asked import Asked
    from tailort.workflow.adapting import adapt as work
    from tailort.workflow.clock import StageClock
    from tailort.workflow.cone_beam import correction_of
    from tailort.workflow.options import PlanningOptions

    how = correction_of(hu_correction)
    if replan not in REPLANS:
        raise InputError(f"--replan '{replan}' is not understood; say {', '.join(REPLANS)}")
    if (how == "table") != (new_density_table is not None) and how is not None:
        raise InputError("--hu-correction table and --new-density-table go together: name the table, or another way")
    run = described_run(plan_dir)
    told = {key: value for key, value in dict(run.get("options", {})).items() if key in _FROM_RUN}
    named = protocol or run.get("options", {}).get("protocol") or run.get("protocol", {}).get("id")
    chosen: dict[str, Any] = {
        "technique": technique or told.get("technique"),
        "option": option or told.get("option"),
        "dose_grid_mm": dose_grid_mm or told.get("dose_grid_mm"),
        "engine": engine or told.get("engine") or commands.DEFAULT_ENGINE,
        "density_table": told.get("density_table") or "schneider2000",
        "density": told.get("density") or [],
    }
    texts = (*run.get("options", {}).get("readings", ()), *readings)
    described = {
        "protocol": named, "triggers": triggers, "replan": replan, "delivered": list(delivered),
        "weight_kg": weight_kg, "hu_correction": how,
        "new_density_table": Path(new_density_table).name if new_density_table else None,
        "new": [folder.name for folder in new], "priors": [prior.name for prior in priors], **chosen,
        "plans": list(plans), "readings": list(texts), "same_patient": same_patient, "insist": insist,
    }  # fmt: skip
    clock = StageClock(progress)
    interrupt = interrupt or Interrupt()
    with whole_folder(out, overwrite=overwrite, inputs=(plan_dir, *new, *priors)) as staging:
        with clock.stage("read the planned case"):
            case = read_planned(plan_dir, case_dir, None, names)
            case = case.with_facts(commands.facts_of(folder_of_ct(plan_dir, case_dir), record))
        with clock.stage("read the new CTs"):
            scans = _new_scans(case, new, delivered, names, same_patient)
            known = {plan.sop_instance_uid: plan for plan in case.plans}
            days = {} if delivered else _fraction_days((plan_dir, *new), known, case.pseudonym, same_patient)
        last = max(scans, key=lambda scan: scan.date or dt.date.min)
        options = PlanningOptions(
            dose_grid_mm=chosen["dose_grid_mm"], technique=chosen["technique"], engine=chosen["engine"],
            density_table=read_density_table(chosen["density_table"]),
            densities=tuple(density_of_text(text) for text in chosen["density"]),
            machine=load_machine(machine) if machine else None,
            readings=readings_of_text(texts), option=chosen["option"], today=last.date or dt.date.today(),
        )  # fmt: skip
        with_prior, given = _earlier(case, last, plan_dir, new, priors, same_patient)
        asked = Asked(
            case, scans, days, load(triggers), load(named) if named else None,
            options.machine or commands.machine_of_plans(case.plans), options,
            next(name for name in ("yes", "no", "if-triggered") if name == replan),
            how, read_density_table(new_density_table) if new_density_table else None, weight_kg, insist, given,
            with_prior.courses, plans,
        )  # fmt: skip
        result = work(asked, clock, stop=interrupt.asked, keep=interrupt.keep)
        if run.get("options", {}).get("priors") and not priors:
            result = replace(
                result,
                warnings=(
                    *result.warnings, "the plan was made with earlier courses, which are not counted here: name them "
                    "with --prior",
                ),
            )  # fmt: skip
        with clock.stage("write and report"):
            write_adaptation(result, staging, described, hashes_of(plan_dir, (*new, *priors)), clock)
    return replace(result, stages=clock.stages)


def _new_scans(
    planned: Case, folders: Sequence[Path], delivered: Sequence[int], names: Path | None, same_patient: bool
) -> tuple[NewScan, ...]:
    """Read the CTs of the course."""
    from tailort import dicom
    from tailort.cli import commands
    from tailort.workflow.adaptation_asked import NewScan, date_of

    if delivered and len(delivered) != len(folders):
        raise InputError(
            f"--delivered is said {len(delivered)} time(s) for {len(folders)} new CT(s); say it once for each, in the "
            "same order"
        )
    found: list[NewScan] = []
    for n, folder in enumerate(folders):
        case = dicom.read_case(folder, names=dicom.load_names(names) if names else None)
        if not same_patient and case.pseudonym and planned.pseudonym and case.pseudonym != planned.pseudonym:
            raise InputError(
                f"the CT in '{folder}' is of patient '{case.pseudonym}', the plan of '{planned.pseudonym}'; if they "
                "are the same person say so with --same-patient"
            )
        case = case.with_facts(commands.facts_of(folder, None))
        label = folder.resolve().name
        if label in {scan.label for scan in found}:
            label = f"{label} {n + 1}"
        found.append(NewScan(label, case, date_of(case), delivered[n] if delivered else None))
    return tuple(found)


def _fraction_days(
    folders: Sequence[Path], plans: dict[str, Plan], patient: str, same_patient: bool
) -> dict[str, tuple[dt.date | None, ...]]:
    """The days of the fractions that treatment records tell of, by the UID of the plan."""
    from tailort import dicom

    records = dicom.read_treatment_records(list(dict.fromkeys(folder.resolve() for folder in folders)))
    for one in records:
        if not same_patient and one.patient_id and patient and one.patient_id != patient:
            raise InputError(
                f"a treatment record is of patient '{one.patient_id}', the plan of '{patient}'; take it out of the "
                "folder, or say --same-patient if they are the same person"
            )
    own = [one for one in records if not one.plan_uid or one.plan_uid in plans]
    if records and not own:
        raise InputError(
            f"the {len(records)} treatment record(s) are of another plan than that of the folder; give the plan that "
            "was treated by, or say --delivered N"
        )
    for one in own:
        plan = plans.get(one.plan_uid)
        missing = [] if plan is None else [beam.name for beam in plan.beams if beam.number not in one.beams]
        if missing:
            raise InputError(
                f"of fraction {one.number} no record tells that beam {', '.join(missing)} was given; add its record, "
                "or count by hand and say --delivered N"
            )
    uids = dict.fromkeys(one.plan_uid for one in own)
    return {uid: tuple(one.date for one in own if one.plan_uid == uid) for uid in uids}


def _earlier(
    planned: Case, last: NewScan, plan_dir: Path, new: Sequence[Path], priors: tuple[Path, ...], same_patient: bool
) -> tuple[Case, dict[str, Registration]]:
    """Today's case with earlier courses, and registrations that came with any of the folders."""
    from tailort.cli.earlier_courses import with_courses
    from tailort.cli.registrations import given_registrations
    from tailort.patient import Course
    from tailort.workflow.daily_doses import PLANNED

    today = with_courses(last.case, new[-1], priors, same_patient=same_patient) if priors else last.case
    scans = replace(today, courses=(*today.courses, Course(PLANNED, planned.ct, planned.structures, ())))
    return today, given_registrations(scans, (plan_dir, *new, *priors), same_patient=same_patient)


def _show(result: Adaptation) -> None:
    """Print fractions, facts, triggers and targets."""
    print(f"{result.delivered} of {result.fractions} fractions given, {result.fractions - result.delivered} left")
    for n, plan in enumerate(result.plans if len(result.plans) > 1 else ()):
        print(f"{plan.label}: {sum(day.by_plan[n] for day in result.days)} of {plan.fractions} fractions given")
    for fact in result.facts:
        value = "unknown" if fact.value is None else fact.value
        print(f"{fact.name}: {value} ({fact.source})")
    for one in result.triggers.triggers:
        if one.answer == "yes":
            print(f"trigger {one.entry.id}: {one.entry.text}: {'; '.join(act.text for act in one.proposed)}")
    open_ = [one.entry.id for one in result.triggers.triggers if one.answer == "unknown"]
    if open_:
        print(f"triggers that are not known: {', '.join(open_)}")
    for image in result.images:
        if image.due:
            print(f"{image.strength}: {image.image}, {image.target} has got {image.at_gy:g} Gy; {image.then}")
    for row in result.rows:
        if row.metric == "D95%[Gy]" and row.quantity == "physical":
            told = [
                "unknown" if value is None else f"{value:.2f}" for value in (row.planned, row.projected, row.replanned)
            ]
            again = f", planned anew {told[2]}" if result.replanned else ""
            print(f"{row.structure} D95%: planned {told[0]} Gy, if nothing changes {told[1]} Gy{again}")
    if result.why_not:
        print(f"no new plan: {result.why_not}")

"""`tailort demo`: a virtual patient as DICOM, and the main job on it from end to end."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tailort.cli.adapt_commands import adapt_course
from tailort.cli.cohort_demo import COHORT, CohortDemo, demo_cohort
from tailort.cli.commands import DEFAULT_ENGINE, Tell, plan_into, read_patient, silent
from tailort.cli.earlier_courses import with_courses
from tailort.cli.functional_images import read_images
from tailort.cli.progress import Interrupt
from tailort.cli.run_files import hashes_of
from tailort.cli.run_folder import whole_folder
from tailort.cli.write import write_patient, write_reirradiation, write_run
from tailort.cli.write_phantom import EARLIER, PLANNING, TODAY, write_adaptive, write_drawn, write_painting, write_scans
from tailort.errors import InputError
from tailort.phantom import adaptive, earlier_scan, make, painting, salvage, spine
from tailort.phantom.pet import FDG
from tailort.phantom.tumour_biology import ALPHA_BETA_GY
from tailort.phantom.virtual_patient import Size, VirtualPatient
from tailort.protocols import load
from tailort.workflow import planning, registering, reirradiating
from tailort.workflow.adaptation_truth import against_truth, true_scans
from tailort.workflow.adapted_records import Adaptation
from tailort.workflow.clock import StageClock
from tailort.workflow.options import PlanningOptions
from tailort.workflow.painting import true_control
from tailort.workflow.records import PlanningRun

# What each virtual patient is planned by, and what gave him the dose that he had before.
PROTOCOLS = {
    "oesophagus": "smart-imrt",
    "spine": "reirradiation-spine",
    "salvage": "salvage-crt",
    "painting": "painting-demo",
    "adaptive": "smart-imrt",
}
EARLIER_PROTOCOL = "smart-imrt"
TREATED_TWICE: dict[str, Callable[[int, Size], VirtualPatient]] = {"spine": spine.make, "salvage": salvage.make}
# Folders of a demo beside the plan: the DICOM input, the run that made the earlier course, and the sum of both.
CASE, EARLIER_RUN, SUM, PLAN = "case", "earlier-course", "sum", "plan"
ADAPTED_WEEK = 3


@dataclass(frozen=True)
class _Job:
    """One demo: where it writes, which patient, how it is planned, and who watches."""

    staging: Path
    folder: Path
    seed: int
    size: Size
    options: PlanningOptions
    described: Mapping[str, Any]
    clock: StageClock
    interrupt: Interrupt | None


def demo(
    name: str = "oesophagus",
    *,
    out: Path = Path("tailort-out"),
    seed: int = 0,
    size: Size = "full",
    dose_grid_mm: float | None = None,
    engine: str = DEFAULT_ENGINE,
    overwrite: bool = False,
    progress: Tell = silent,
    interrupt: Interrupt | None = None,
) -> PlanningRun | Adaptation | CohortDemo:
    """Make a virtual patient as DICOM, read it back and plan it; the DICOM input stays in `out`/case.

    `spine` gets an earlier scan under a known deformation, a course planned on it by `smart-imrt` (its run folder is
    `out`/earlier-course), and then the plan of today on the sum of both, once with and once without the earlier dose;
    `out`/sum has the report of both courses together. `painting` has a PET, by which the dose is painted, beside a plan
    of the same mean dose everywhere; what both do to the tumour is told by its true biology, which no plan has seen.
    `adaptive` is planned (`out`/plan), scanned again in the third week and adapted; truth-comparison.json holds what is
    told against what is true. `salvage` was irradiated before the oesophagus was removed, on an earlier scan as that of
    `spine`. `cohort` is two tables of patients, each analysed by its protocol (`out`/spine, `out`/salvage).

    Parameters
    ----------
    name : str
        "oesophagus", "spine", "salvage", "painting", "adaptive" or "cohort".
    out, seed, size, dose_grid_mm, engine, overwrite, progress, interrupt
        As of `phantom` and `plan`.
    """
    if name not in (*PROTOCOLS, COHORT):
        raise InputError(f"there is no demo '{name}'; known are {', '.join((*PROTOCOLS, COHORT))}")
    clock = StageClock(progress)
    if name == COHORT:
        return demo_cohort(out, seed, overwrite, clock)
    described = {"demo": name, "seed": seed, "size": size, "dose_grid_mm": dose_grid_mm, "engine": engine}
    options = PlanningOptions(dose_grid_mm=dose_grid_mm, engine=engine)
    with whole_folder(out, overwrite=overwrite) as staging:
        case = staging / CASE
        job = _Job(staging, case, seed, size, options, described, clock, interrupt)
        if name in TREATED_TWICE:
            return _second_course(job, name)
        if name == "adaptive":
            return _adapted(job)
        if name == "painting":
            return _painted(job)
        with clock.stage("virtual patient"):
            patient = make(name, seed, size)
        with clock.stage("write the case"):
            write_patient(patient, case, silent)
        read = read_patient(case, clock)
        return plan_into(staging, case, read, load(PROTOCOLS[name]), options, described, clock, interrupt)


def _painted(job: _Job) -> PlanningRun:
    """Paint the dose by a noisy PET, and judge it by the tumour's true biology."""
    with job.clock.stage("virtual patient"):
        patient = painting.make(job.seed, job.size)
    with job.clock.stage("write the case"):
        write_painting(patient, job.folder, silent)
    images = {"fdg-suv": job.folder / FDG}
    case = read_patient(job.folder / PLANNING, job.clock)
    found = read_images(case, images, job.clock, job.interrupt, insist=False, same_patient=False)
    asked = replace(job.options, images=found)
    interrupt = job.interrupt or Interrupt()
    run = planning.plan(case, load(PROTOCOLS["painting"]), asked, job.clock, stop=interrupt.asked, keep=interrupt.keep)
    with job.clock.stage("true tumour control"):
        plans = [plan for plan in (run.main, run.comparator) if plan is not None]
        truth = (patient.alpha_per_gy, patient.clonogens_per_cm3, ALPHA_BETA_GY)
        control = tuple((plan.label, true_control(plan.dose, *truth)) for plan in plans)
        run = replace(run, painted=tuple(replace(one, true_control=control) for one in run.painted))
    with job.clock.stage("write and report"):
        write_run(run, job.staging, job.described, hashes_of(job.folder / PLANNING, tuple(images.values())), job.clock)
    return replace(run, stages=job.clock.stages)


def _adapted(job: _Job) -> Adaptation:
    """Plan a patient, scan him again in the third week, and adapt; his true anatomy tells how well the sum is known."""
    with job.clock.stage("virtual patient"):
        patient = adaptive.make(job.seed, job.size)
        scanned = patient.week(ADAPTED_WEEK)
    with job.clock.stage("write the case"):
        write_adaptive(patient, (scanned,), job.folder, silent)
        # All but the shrunken tumour is carried.
        write_drawn(scanned, job.folder)
    file = load(PROTOCOLS["adaptive"])
    alone = replace(file, file=file.file.model_copy(update={"comparator": None}))
    run, planning = job.staging / PLAN, job.folder / PLANNING
    run.mkdir()
    plan_into(
        run, planning, read_patient(planning, job.clock), alone, job.options, job.described, job.clock, job.interrupt
    )
    made = job.staging / "adapted"
    result = adapt_course(
        run, (job.folder / scanned.name,), delivered=(scanned.fractions_before,), case_dir=planning,
        protocol=PROTOCOLS["adaptive"], engine=job.options.engine, dose_grid_mm=job.options.dose_grid_mm, out=made,
        progress=job.clock.progress, interrupt=job.interrupt,
    )  # fmt: skip
    for path in list(made.iterdir()):
        shutil.move(path, job.staging / path.name)
    made.rmdir()
    slice_mm = scanned.scan.image.grid.spacing_mm[0]
    truth = true_scans(result, {scanned.name: scanned}, scanned.name)
    held = against_truth(result, truth, scanned.structures, slice_mm)
    with (job.staging / "truth-comparison.json").open("w", encoding="utf-8") as stream:
        json.dump({"metrics": [one.as_dict() for one in held]}, stream, indent=1)
    return replace(result, stages=(*job.clock.stages, *result.stages))


def _second_course(job: _Job, name: str) -> PlanningRun:
    """Treat a patient twice: the dose of the first course is planned on its own CT and counts in the second."""
    with job.clock.stage("virtual patient"):
        patient = TREATED_TWICE[name](job.seed, job.size)
        before = earlier_scan(patient, job.seed)
    with job.clock.stage("write the case"):
        write_scans(patient, job.folder, silent, earlier=before)
    then, today = job.folder / EARLIER, job.folder / TODAY
    file = load(EARLIER_PROTOCOL)
    first = replace(file, file=file.file.model_copy(update={"comparator": None}))
    run = job.staging / EARLIER_RUN
    run.mkdir()
    coarse = replace(
        job.options, dose_grid_mm=None if job.options.dose_grid_mm is None else max(3.0, job.options.dose_grid_mm)
    )
    plan_into(run, then, read_patient(then, job.clock), first, coarse, job.described, job.clock, job.interrupt)
    # With the targets that the course was planned for, not as they came.
    for written in ("rtstruct.dcm", "rtplan.dcm", "rtdose.dcm"):
        shutil.copyfile(run / written, then / written)
    case = read_patient(today, job.clock)
    with job.clock.stage("read earlier courses"):
        case = with_courses(case, today, (then,))
    interrupt = job.interrupt or Interrupt()
    found = registering.register_courses(case, job.clock, stop=interrupt.asked)
    day = dt.datetime.strptime(case.person.study_date, "%Y%m%d").date()
    loaded = load(PROTOCOLS[name])
    # Only limits on the sum make a plan another one than without the earlier dose.
    limited = any(limit.scope == "cumulative" for limit in loaded.file.limits)
    asked = replace(job.options, compare_without_prior=limited, today=day)
    done = plan_into(job.staging, today, case, loaded, asked, job.described, job.clock, job.interrupt, (then,), found)
    treated = replace(
        case, structures=done.structures, doses=tuple(phase.dose for phase in done.main.phases),
        plans=tuple(phase.plan for phase in done.main.phases),
    )  # fmt: skip
    result = reirradiating.reirradiate(treated, loaded, asked, found, job.clock)
    (job.staging / SUM).mkdir()
    with job.clock.stage("write and report"):
        write_reirradiation(result, job.staging / SUM, job.described, hashes_of(today, (then,)), job.clock)
    return replace(done, stages=job.clock.stages)

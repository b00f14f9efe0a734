"""`tailort demo`: a virtual patient as DICOM, and the main job on it from end to end."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tailort import workflow
from tailort.cli.commands import Tell, plan_into, read_patient, silent
from tailort.cli.earlier_courses import with_courses
from tailort.cli.functional_images import read_images
from tailort.cli.progress import Interrupt
from tailort.cli.run_folder import whole_folder
from tailort.cli.write import hashes_of, write_patient, write_reirradiation, write_run
from tailort.cli.write_phantom import EARLIER, PLANNING, TODAY, write_painting, write_scans
from tailort.errors import InputError
from tailort.phantom import earlier_scan, make, painting, spine
from tailort.phantom.pet import FDG
from tailort.phantom.tumour_biology import ALPHA_BETA_GY
from tailort.phantom.virtual_patient import Size
from tailort.protocols import load
from tailort.workflow import PlanningOptions, PlanningRun, StageClock
from tailort.workflow.painting import true_control

# What each virtual patient is planned by, and what gave him the dose that he had before.
PROTOCOLS = {"oesophagus": "smart-imrt", "spine": "reirradiation-spine", "painting": "painting-demo"}
EARLIER_PROTOCOL = "smart-imrt"
# Folders of a demo beside the plan: the DICOM input, the run that made the earlier course, and the sum of both.
CASE, EARLIER_RUN, SUM = "case", "earlier-course", "sum"


def demo(
    name: str = "oesophagus",
    *,
    out: Path = Path("tailort-out"),
    seed: int = 0,
    size: Size = "full",
    dose_grid_mm: float | None = None,
    overwrite: bool = False,
    progress: Tell = silent,
    interrupt: Interrupt | None = None,
) -> PlanningRun:
    """Make a virtual patient as DICOM, read it back and plan it; the DICOM input stays in `out`/case.

    `spine` gets an earlier scan under a known deformation, a course planned on it by `smart-imrt` (its run folder is
    `out`/earlier-course), and then the plan of today on the sum of both, once with and once without the earlier dose;
    `out`/sum has the report of both courses together. `painting` has a PET, by which the dose is painted, beside a plan
    of the same mean dose everywhere; what both do to the tumour is told by its true biology, which no plan has seen.

    Parameters
    ----------
    name : str
        "oesophagus", "spine" or "painting".
    out, seed, size, dose_grid_mm, overwrite, progress, interrupt
        As of `phantom` and `plan`.
    """
    if name not in PROTOCOLS:
        raise InputError(f"there is no demo '{name}'; known are {', '.join(PROTOCOLS)}")
    clock = StageClock(progress)
    described = {"demo": name, "seed": seed, "size": size, "dose_grid_mm": dose_grid_mm}
    options = PlanningOptions(dose_grid_mm=dose_grid_mm)
    with whole_folder(out, overwrite=overwrite) as staging:
        case = staging / CASE
        if name == "spine":
            return _second_course(staging, case, seed, size, options, described, clock, interrupt)
        if name == "painting":
            return _painted(staging, case, seed, size, options, described, clock, interrupt)
        with clock.stage("virtual patient"):
            patient = make(name, seed, size)
        with clock.stage("write the case"):
            write_patient(patient, case, silent)
        read = read_patient(case, clock)
        return plan_into(staging, case, read, load(PROTOCOLS[name]), options, described, clock, interrupt)


def _painted(
    staging: Path,
    folder: Path,
    seed: int,
    size: Size,
    options: PlanningOptions,
    described: Mapping[str, Any],
    clock: StageClock,
    interrupt: Interrupt | None,
) -> PlanningRun:
    """Paint the dose by a noisy PET, and judge it by the tumour's true biology."""
    with clock.stage("virtual patient"):
        patient = painting.make(seed, size)
    with clock.stage("write the case"):
        write_painting(patient, folder, silent)
    images = {"fdg-suv": folder / FDG}
    case = read_patient(folder / PLANNING, clock)
    found = read_images(case, images, clock, interrupt, insist=False, same_patient=False)
    asked = replace(options, images=found)
    interrupt = interrupt or Interrupt()
    run = workflow.plan(case, load(PROTOCOLS["painting"]), asked, clock, stop=interrupt.asked, keep=interrupt.keep)
    with clock.stage("true tumour control"):
        plans = [plan for plan in (run.main, run.comparator) if plan is not None]
        truth = (patient.alpha_per_gy, patient.clonogens_per_cm3, ALPHA_BETA_GY)
        control = tuple((plan.label, true_control(plan.dose, *truth)) for plan in plans)
        run = replace(run, painted=tuple(replace(one, true_control=control) for one in run.painted))
    with clock.stage("write and report"):
        write_run(run, staging, described, hashes_of(folder / PLANNING, tuple(images.values())), clock)
    return replace(run, stages=clock.stages)


def _second_course(
    staging: Path,
    folder: Path,
    seed: int,
    size: Size,
    options: PlanningOptions,
    described: Mapping[str, Any],
    clock: StageClock,
    interrupt: Interrupt | None,
) -> PlanningRun:
    """Treat a patient twice: the dose of the first course is planned on its own CT and counts in the second."""
    with clock.stage("virtual patient"):
        patient = spine.make(seed, size)
        before = earlier_scan(patient, seed)
    with clock.stage("write the case"):
        write_scans(patient, folder, silent, earlier=before)
    then, today = folder / EARLIER, folder / TODAY
    file = load(EARLIER_PROTOCOL)
    first = replace(file, file=file.file.model_copy(update={"comparator": None}))
    run = staging / EARLIER_RUN
    run.mkdir()
    coarse = replace(options, dose_grid_mm=None if options.dose_grid_mm is None else max(3.0, options.dose_grid_mm))
    plan_into(run, then, read_patient(then, clock), first, coarse, described, clock, interrupt)
    # With the targets that the course was planned for, not as they came.
    for name in ("rtstruct.dcm", "rtplan.dcm", "rtdose.dcm"):
        shutil.copyfile(run / name, then / name)
    case = read_patient(today, clock)
    with clock.stage("read earlier courses"):
        case = with_courses(case, today, (then,))
    stop = interrupt.asked if interrupt else lambda: False
    found = workflow.register_courses(case, clock, stop=stop)
    day = dt.datetime.strptime(case.person.study_date, "%Y%m%d").date()
    asked = replace(options, compare_without_prior=True, today=day)
    loaded = load(PROTOCOLS["spine"])
    done = plan_into(staging, today, case, loaded, asked, described, clock, interrupt, (then,), found)
    treated = replace(
        case, structures=done.structures, doses=tuple(phase.dose for phase in done.main.phases),
        plans=tuple(phase.plan for phase in done.main.phases),
    )  # fmt: skip
    with clock.stage("sum the courses") as tell:
        result = workflow.reirradiate(treated, loaded, asked, found, tell)
    (staging / SUM).mkdir()
    with clock.stage("write and report"):
        write_reirradiation(result, staging / SUM, described, hashes_of(today, (then,)), clock)
    return replace(done, stages=clock.stages)

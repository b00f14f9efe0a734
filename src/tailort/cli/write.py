"""The files of a run folder."""

from __future__ import annotations

import csv
import math
import zipfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML

from tailort import dicom
from tailort.cli.run_files import protocol_told, write_json, write_report
from tailort.errors import InputError
from tailort.evaluation import DVH, Robustness
from tailort.geometry import Image
from tailort.patient import StructureSet
from tailort.phantom import SolidPhantom, VirtualPatient
from tailort.web.evaluation_report import evaluation_report
from tailort.web.planning_report import planning_report
from tailort.web.recalculation_report import recalculation_report
from tailort.web.registration_report import registration_report
from tailort.web.reirradiation_report import reirradiation_report
from tailort.web.trading_report import trading_report
from tailort.workflow.aligning import Alignment
from tailort.workflow.clock import StageClock
from tailort.workflow.recalculating import Recalculation
from tailort.workflow.records import Evaluation, PhasePlan, PlanningRun, PlanResult
from tailort.workflow.reirradiating import Reirradiation
from tailort.workflow.tracing import targets_and_rules
from tailort.workflow.trading import Trading
from tailort.workflow.without_prior import prices

DVH_STEP_GY = 0.05
FLUENCES = "fluences.npz"


def write_patient(patient: VirtualPatient | SolidPhantom, folder: Path, progress: Callable[[str, float], None]) -> None:
    """Write a virtual patient: CT, RTSTRUCT, record.yaml and truth.json."""
    (folder / "CT").mkdir(parents=True)
    progress("write CT", 0.0)
    dicom.write_ct(
        patient.scan, patient.person, folder / "CT", body_part="CHEST" if isinstance(patient, VirtualPatient) else ""
    )
    dicom.write_structures(patient.structures, patient.scan, patient.person, folder / "rtstruct.dcm")
    progress("write CT", 1.0)
    with (folder / "record.yaml").open("w", encoding="utf-8") as stream:
        YAML().dump(patient.record, stream)
    write_json(folder / "truth.json", patient.truth)


def write_run(
    run: PlanningRun, folder: Path, options: Mapping[str, Any], inputs: Mapping[str, str], clock: StageClock
) -> None:
    """Write everything that a planning run made."""
    write_json(folder / "decision.json", run.decision.as_dict())
    _write_plan(run, run.main, folder)
    if run.comparator is not None:
        (folder / "comparator").mkdir()
        _write_plan(run, run.comparator, folder / "comparator")
    if run.painted:
        write_json(folder / "painting.json", {"targets": [one.as_dict() for one in run.painted]})
        for one in run.painted:
            _write_image(folder / f"prescription_{one.target}.npz", one.painted.image)
    if run.reporting is not None:
        write_json(folder / "reirradiation.json", run.reporting.as_dict())
    if run.without_prior is not None:
        (folder / "without-prior").mkdir()
        _write_plan(run, run.without_prior, folder / "without-prior")
        compared = [price.as_dict() for price in prices(run.main, run.without_prior)]
        write_json(folder / "without-prior.json", {"metrics": compared})
    for n, plan in enumerate(run.superseded, 1):
        folder_of_it = folder / ("superseded" if n == 1 else f"superseded-{n}")
        folder_of_it.mkdir()
        _write_plan(run, plan, folder_of_it)
    if was_interrupted(run):
        write_fluences(run, folder / FLUENCES)
    if run.comparison is not None:
        write_json(folder / "comparison.json", run.comparison.as_dict())
    if run.drawn_sums is not None:
        write_json(folder / "registration-scenarios.json", run.drawn_sums.as_dict())
    if run.robustness is not None:
        write_json(folder / "robustness.json", run.robustness.as_dict())
        _write_bands(folder / "dvh_bands.csv", run.robustness)
    described = {
        "protocol": protocol_told(run.protocol),
        "plan": run.plan or None,
        "options": dict(options),
        "density_table": run.density_table,
        "engine": run.main.dose.engine,
        "engine_note": run.engine_note,
        "inputs_sha256": dict(inputs),
        "notes": list(run.case.notes),
        "imaging": [row.as_dict() for row in run.imaging],
        "amendments": [found.as_dict() for found in run.amendments],
        "flags": [{"id": flag.id, "text": flag.text, "rules": list(flag.rules)} for flag in run.flags],
        "targets": targets_and_rules(run),
        "plans": {plan.title: _describe_plan(plan) for plan in _plans(run)},
        "converged": all(plan.converged for plan in _plans(run)),
        "interrupted": was_interrupted(run),
    }
    write_report(partial(planning_report, run), described, folder, clock)


def _write_image(path: Path, image: Image) -> None:
    """Values (k, j, i), the affine from index to LPS mm, unit and frame of reference."""
    grid = image.grid
    np.savez_compressed(
        path, values=image.values, affine=grid.affine, unit=image.unit, frame_of_reference=grid.frame_of_reference
    )


def write_fluences(run: PlanningRun, path: Path) -> None:
    """Write the ideal fluence of every plan, for `read_fluences`."""
    made = {phase.plan.label: phase.fluence_mu for plan in _plans(run) for phase in plan.phases}
    kept: dict[str, Any] = {label: mu for label, mu in made.items() if mu is not None}
    np.savez(path, **kept)


def read_fluences(folder: Path) -> dict[str, NDArray[np.float64]]:
    """Fluences of an interrupted run, MU per fraction, by the label of the plan.

    Raises
    ------
    InputError
        When the folder holds none.
    """
    path = folder / FLUENCES
    if not path.is_file():
        raise InputError(f"'{folder}' is not an interrupted run: it has no {FLUENCES}; give the folder that it left")
    try:
        with np.load(path, allow_pickle=False) as kept:
            return {label: kept[label].astype(np.float64) for label in kept.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"'{path}' cannot be read as the fluences of an interrupted run ({error})") from error


def write_evaluation(
    result: Evaluation, folder: Path, options: Mapping[str, Any], inputs: Mapping[str, str], clock: StageClock
) -> None:
    """Write scorecard, DVH and report of an existing dose, and decision.json where a protocol was asked."""
    if result.decision is not None:
        write_json(folder / "decision.json", result.decision.as_dict())
    write_json(folder / "scorecard.json", result.scorecard.as_dict())
    write_dvh(folder / "dvh.csv", result.dvhs)
    described = {
        "protocol": None if result.protocol is None else protocol_told(result.protocol),
        "options": dict(options),
        "engine": result.dose.engine,
        "inputs_sha256": dict(inputs),
        "notes": list(result.notes),
        "amendments": [found.as_dict() for found in result.amendments],
    }
    write_report(partial(evaluation_report, result), described, folder, clock)


def write_recalculation(
    result: Recalculation, folder: Path, options: Mapping[str, Any], inputs: Mapping[str, str], clock: StageClock
) -> None:
    """Write recalculation.json, the dose as RTDOSE, DVH and report of a recalculated plan."""
    write_json(folder / "recalculation.json", result.as_dict())
    write_dvh(folder / "dvh.csv", result.dvhs)
    dicom.write_dose(
        result.dose,
        result.case.person,
        result.case.ct,
        folder / "rtdose.dcm",
        plan_uids=(result.plan.sop_instance_uid,) if result.plan.sop_instance_uid else (),
        label=result.plan.label,
    )
    described = {
        "machine": result.machine.id,
        "options": dict(options),
        "engine": result.dose.engine,
        "engine_note": result.engine_note,
        "density_table": result.density_table,
        "inputs_sha256": dict(inputs),
        "notes": list(result.case.notes),
    }
    write_report(partial(recalculation_report, result), described, folder, clock)


def write_trading(
    result: Trading, folder: Path, options: Mapping[str, Any], inputs: Mapping[str, str], clock: StageClock
) -> None:
    """Write decision.json, tradeoffs.json and report of what can be traded."""
    write_json(folder / "decision.json", result.decision.as_dict())
    write_json(folder / "tradeoffs.json", result.as_dict())
    described = {
        "protocol": protocol_told(result.protocol),
        "machine": result.machine.id,
        "options": dict(options),
        "engine": options["engine"],
        "engine_note": result.engine_note,
        "density_table": result.density_table,
        "inputs_sha256": dict(inputs),
        "notes": list(result.case.notes),
        "converged": result.converged,
        "interrupted": result.interrupted,
    }
    write_report(partial(trading_report, result), described, folder, clock)


def write_reirradiation(
    result: Reirradiation, folder: Path, options: Mapping[str, Any], inputs: Mapping[str, str], clock: StageClock
) -> None:
    """Write cumulative.json, scorecard, DVH of all courses and report."""
    if result.decision is not None:
        write_json(folder / "decision.json", result.decision.as_dict())
    write_json(folder / "cumulative.json", result.as_dict())
    write_json(folder / "scorecard.json", result.scorecard.as_dict())
    write_dvh(folder / "dvh.csv", result.dvhs)
    described = {
        "protocol": None if result.protocol is None else protocol_told(result.protocol),
        "options": dict(options),
        "engine": result.totals[0].engine,
        "inputs_sha256": dict(inputs),
        "notes": list(result.notes),
    }
    write_report(partial(reirradiation_report, result), described, folder, clock)


def write_registration_run(
    result: Alignment, folder: Path, options: Mapping[str, Any], inputs: Mapping[str, str], clock: StageClock
) -> None:
    """Write reg.dcm, registration.json, mapped doses as RTDOSE, DVH and report of a registration."""
    case = result.case
    dicom.write_registration(result.registration, case.ct, result.scan, case.person, folder / "reg.dcm")
    write_json(folder / "registration.json", result.as_dict())
    for n, mapped in enumerate(result.doses, 1):
        number = "" if len(result.doses) == 1 else f"_{n}"
        if mapped.whole is not None and mapped.whole.plan_uid:
            dicom.write_dose(
                mapped.whole, case.person, case.ct, folder / f"rtdose_mapped{number}.dcm", label=f"mapped{number}"
            )
        if mapped.dvhs:
            write_dvh(folder / f"dvh{number}.csv", mapped.dvhs)
    described = {
        "options": dict(options),
        "engine": " + ".join(sorted({mapped.dose.engine for mapped in result.doses})) or "none",
        "inputs_sha256": dict(inputs),
        "notes": list(result.notes),
    }
    write_report(partial(registration_report, result), described, folder, clock)


def was_interrupted(run: PlanningRun) -> bool:
    """Whether a person stopped the plan, the one that it is compared with, or what is asked of it then."""
    return any(plan.interrupted for plan in _plans(run)) or bool(run.unfinished)


def _plans(run: PlanningRun) -> tuple[PlanResult, ...]:
    others = (plan for plan in (run.comparator, run.without_prior) if plan is not None)
    return (run.main, *others, *run.superseded)


def _write_plan(run: PlanningRun, result: PlanResult, folder: Path) -> None:
    """Write RTSTRUCT, RTPLAN, RTDOSE, scorecard and DVH of one plan; each refers to the one before.

    Several phases have a plan and a dose each, and `rtdose.dcm` is their sum.
    """
    case, scan = run.case, run.ct
    planned = [*result.prescriptions, *(p for phase in result.phases for p in phase.plan.prescriptions)]
    wanted = {p.target.lower() for p in planned}
    structures = StructureSet(
        tuple(s for s in run.structures if s.role != "PTV" or not s.made_by or s.name.lower() in wanted),
        run.structures.frame_of_reference,
        label=result.label,
        series_uid=scan.series_uid,
        points=run.structures.points,
    )
    written = dicom.write_structures(structures, scan, case.person, folder / "rtstruct.dcm")
    uids = []
    for phase in result.phases:
        name = "" if len(result.phases) == 1 else f"_phase{phase.number}"
        plan = dicom.write_plan(
            phase.plan, written, case.person, scan, folder / f"rtplan{name}.dcm", machine=run.machine
        )
        uids.append(plan.sop_instance_uid)
        if name:
            dicom.write_dose(
                phase.dose, case.person, scan, folder / f"rtdose{name}.dcm", plan_uids=(uids[-1],),
                label=phase.plan.label,
            )  # fmt: skip
    dicom.write_dose(result.dose, case.person, scan, folder / "rtdose.dcm", plan_uids=tuple(uids), label=result.label)
    write_json(folder / "scorecard.json", result.scorecard.as_dict())
    write_dvh(folder / "dvh.csv", result.dvhs)


def write_dvh(path: Path, dvhs: Iterable[DVH]) -> None:
    """Write the curves of histograms as CSV, one row a dose."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(("structure", "quantity", "scope", "dose_gy", "volume_cm3"))
        for dvh in dvhs:
            for dose_gy, volume_cm3 in zip(*dvh.curve(DVH_STEP_GY), strict=True):
                table.writerow((dvh.structure, dvh.label, dvh.scope, f"{dose_gy:.2f}", f"{volume_cm3:.5g}"))


def _write_bands(path: Path, robustness: Robustness) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(
            ("structure", "quantity", "scope", "dose_gy", "nominal_cm3", "lowest_cm3", "highest_cm3", "expected_cm3")
        )
        for band in robustness.bands.values():
            expected = band.expected_cm3
            known = np.full(len(band.dose_gy), np.nan) if expected is None else expected
            curves = (band.dose_gy, band.nominal_cm3, band.lowest_cm3, band.highest_cm3, known)
            for dose_gy, *volumes_cm3 in zip(*curves, strict=True):
                told = ("" if np.isnan(volume) else f"{volume:.5g}" for volume in volumes_cm3)
                table.writerow((band.structure, "physical", "course", f"{dose_gy:.2f}", *told))


def _describe_plan(result: PlanResult) -> dict[str, Any]:
    return {
        "label": result.label,
        "fractions": result.fractions,
        "converged": result.converged,
        "interrupted": result.interrupted,
        "phases": [_describe_phase(phase) for phase in result.phases],
    }


def _describe_phase(phase: PhasePlan) -> dict[str, Any]:
    end = phase.convergence
    return {
        "label": phase.plan.label,
        "technique": phase.technique,
        "fractions": phase.plan.fractions,
        "prescriptions": [{"target": p.target, "dose_gy": p.dose_gy} for p in phase.plan.prescriptions],
        "beams": len(phase.plan.beams),
        "gantry_deg": [beam.setup.gantry_deg for beam in phase.plan.beams],
        "segments": sum(len(list(beam.segments())) for beam in phase.plan.beams),
        "mu_per_fraction": round(phase.plan.mu, 1),
        "seconds_per_fraction": round(phase.delivery.seconds, 1),
        "complexity": {beam.name: beam.complexity for beam in phase.delivery.beams},
        "optimiser_from_engine_percent": None if phase.disagreement is None else round(100 * phase.disagreement, 2),
        "goals_in_order": [vars(goal) for goal in phase.order],
        "converged": end.converged and not end.interrupted,
        "interrupted": end.interrupted,
        "reason": end.reason,
        "iterations": end.iterations,
        "optimality": end.optimality,
        "kkt_residual": end.kkt_residual if math.isfinite(end.kkt_residual) else None,
    }

"""The run folder of an adaptation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tailort import dicom
from tailort.cli.registrations import write_registrations
from tailort.cli.run_files import protocol_told, write_json, write_report
from tailort.cli.write import write_dvh
from tailort.radiobiology import course_dose
from tailort.web.adaptation_report import adaptation_report
from tailort.workflow.adapted_records import Adaptation
from tailort.workflow.clock import StageClock
from tailort.workflow.records import PhasePlan
from tailort.workflow.replanning import Replanned


def write_adaptation(
    result: Adaptation, folder: Path, options: Mapping[str, Any], inputs: Mapping[str, str], clock: StageClock
) -> None:
    """Write adaptation.json, structures, the new plan, doses, registrations, scorecard, histograms and report.

    Parameters
    ----------
    result : Adaptation
        What was found and planned.
    folder : Path
        The run folder.
    options : mapping
        Of the run, for run.json.
    inputs : mapping of str to str
        SHA-256 of the files that were read.
    clock : StageClock
        Whose stages are told.
    """
    write_json(folder / "adaptation.json", result.as_dict())
    case, scan, made = result.case, result.case.ct, result.replanned
    drawn = replace(
        case.structures, label="adapted" if made else "today", series_uid=scan.series_uid, sop_instance_uid=""
    )
    written = dicom.write_structures(drawn, scan, case.person, folder / "rtstruct.dcm")
    by = tuple(plan.sop_instance_uid for plan in result.plans if plan.sop_instance_uid)
    if made is not None:
        write_json(folder / "decision.json", made.asked.decision.as_dict())
        uids = tuple(
            dicom.write_plan(
                phase.plan, written, case.person, scan, folder / f"rtplan{_of_phase(made, phase)}.dcm",
                machine=made.asked.machine,
            ).sop_instance_uid
            for phase in made.result.phases
        )  # fmt: skip
        for uid, phase in zip(uids, made.result.phases, strict=True):
            dicom.write_dose(
                phase.dose, case.person, scan, folder / f"rtdose_remaining{_of_phase(made, phase)}.dcm",
                plan_uids=(uid,), label="remaining",
            )  # fmt: skip
        dicom.write_dose(
            made.result.dose, case.person, scan, folder / "rtdose.dcm", plan_uids=(*by, *uids), label="adapted course",
        )  # fmt: skip
    if by:
        for name, doses in (("given", result.given), ("projected", result.projected)):
            if doses:
                dose = course_dose(doses)
                dicom.write_dose(dose, case.person, scan, folder / f"rtdose_{name}.dcm", plan_uids=by, label=name)
    own = {label: found for label, found in result.registrations.items() if found.from_frame != found.to_frame}
    write_registrations(result.scans, own, folder)
    write_registrations(case, own, folder)
    if result.final_card is not None:
        write_json(folder / "scorecard.json", result.final_card.as_dict())
    for name, curves in result.dvhs.items():
        write_dvh(folder / f"dvh_{name}.csv", curves)
    described = {
        "protocol": None if result.protocol is None else protocol_told(result.protocol),
        "options": dict(options),
        "engine": result.planned_dose.engine,
        "inputs_sha256": dict(inputs),
        "notes": list(result.notes),
        "interrupted": made is not None and made.result.interrupted,
    }
    write_report(partial(adaptation_report, result), described, folder, clock)


def _of_phase(made: Replanned, phase: PhasePlan) -> str:
    """What files of one of several phases are called by."""
    return "" if len(made.result.phases) == 1 else f"_phase{phase.number}"

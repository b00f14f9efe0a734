"""The run folder of a biological sub-volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tailort import dicom
from tailort.cli.run_files import write_json, write_report
from tailort.web.subvolume_report import subvolume_report
from tailort.workflow.clock import StageClock
from tailort.workflow.subdividing import Subdivision


def write_subvolume(
    result: Subdivision, folder: Path, options: Mapping[str, Any], inputs: Mapping[str, str], clock: StageClock
) -> None:
    """Write rtstruct.dcm with all structures, subvolume.json, report.html and run.json."""
    case = result.case
    drawn = replace(result.structures, label="subvolume", series_uid=case.ct.series_uid, sop_instance_uid="")
    dicom.write_structures(drawn, case.ct, case.person, folder / "rtstruct.dcm")
    write_json(folder / "subvolume.json", result.as_dict())
    described = {
        "options": dict(options), "engine": "none", "inputs_sha256": dict(inputs), "notes": list(result.notes),
    }  # fmt: skip
    write_report(partial(subvolume_report, result), described, folder, clock)

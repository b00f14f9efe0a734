"""The folders of a virtual patient that has more than one scan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tailort import dicom
from tailort.cli.write import write_patient
from tailort.patient import Person
from tailort.phantom import EarlierAnatomy, FurtherScan, VirtualPatient
from tailort.phantom.earlier import LABEL, with_course_told
from tailort.phantom.modalities import T2

TODAY, EARLIER, MR, TRUTH = "today", "earlier", "mr", "truth.json"


# Echo and repetition time, ms: spin echo as it is usual for T2, and for T1.
_TIMES_MS = {True: (100.0, 4000.0), False: (12.0, 600.0)}


def write_scans(
    patient: VirtualPatient,
    folder: Path,
    progress: Callable[[str, float], None],
    *,
    earlier: EarlierAnatomy | None = None,
    further: tuple[FurtherScan, ...] = (),
) -> None:
    """Write a patient of several scans: today, earlier, one folder a further scan, and truth.json with the true maps.

    Each is a folder by itself: DICOM is looked for in folders of folders, so none lies in the other.
    """
    truth: dict[str, Any] = {}
    write_patient(patient if earlier is None else with_course_told(patient), folder / TODAY, progress)
    if earlier is not None:
        write_earlier(earlier, folder / EARLIER)
        truth["earlier"] = earlier.truth
    for found in further:
        _write_further(found, patient.person, folder / found.name)
    if further:
        truth["scans"] = {found.name: found.truth for found in further}
    _write_json(folder / TRUTH, truth)


def _write_further(found: FurtherScan, person: Person, folder: Path) -> None:
    folder.mkdir(parents=True)
    if found.scan.modality == "MR":
        echo, repetition = _TIMES_MS[found.name == T2]
        dicom.write_mr(found.scan, person, folder, echo_ms=echo, repetition_ms=repetition, body_part="SPINE")
    else:
        dicom.write_ct(found.scan, person, folder, body_part="SPINE")


def write_earlier(earlier: EarlierAnatomy, folder: Path) -> None:
    """Write an earlier scan as a case that can be planned: CT, RTSTRUCT, record.yaml, and course.yaml for later."""
    (folder / "CT").mkdir(parents=True)
    case = earlier.case
    dicom.write_ct(case.ct, case.person, folder / "CT", body_part="CHEST")
    dicom.write_structures(case.structures, case.ct, case.person, folder / "rtstruct.dcm")
    _write_yaml(folder / "record.yaml", earlier.record)
    _write_yaml(folder / "course.yaml", {"label": LABEL, "last_fraction": earlier.last_fraction})


def _write_yaml(path: Path, value: object) -> None:
    with path.open("w", encoding="utf-8") as stream:
        YAML().dump(value, stream)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")

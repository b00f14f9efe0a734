"""The folders of a virtual patient that has more than one scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from tailort import dicom
from tailort.cli.run_files import write_json
from tailort.cli.write import write_patient
from tailort.patient import Person
from tailort.phantom import EarlierAnatomy, FurtherScan, VirtualPatient
from tailort.phantom.adaptive import AdaptivePatient, WeeklyScan
from tailort.phantom.earlier import LABEL, with_course_told
from tailort.phantom.modalities import T2
from tailort.phantom.painting import PaintingPatient
from tailort.phantom.pet import HALF_LIFE_S, TRACERS

TODAY, EARLIER, MR, TRUTH = "today", "earlier", "mr", "truth.json"
PLANNING, TRUE_STRUCTURES = "planning", "true-structures"


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
    write_json(folder / TRUTH, truth)


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
    course: dict[str, Any] = {"label": LABEL, "last_fraction": earlier.last_fraction}
    if earlier.without:
        course["registration"] = {"without": list(earlier.without)}
    _write_yaml(folder / "course.yaml", course)


def write_adaptive(
    patient: AdaptivePatient, weeks: Sequence[WeeklyScan], folder: Path, progress: Callable[[str, float], None]
) -> None:
    """Write the planning case and every week's scan in a folder by itself, and truth.json with what is known of all.

    A week's folder has no contours, as on the day of the scan; the true ones lie in `true-structures`, by week.
    """
    write_patient(patient.planning, folder / PLANNING, progress)
    (folder / TRUE_STRUCTURES).mkdir()
    for n, found in enumerate(weeks):
        progress("weekly scans", n / len(weeks))
        place = folder / found.name
        (place / "CT").mkdir(parents=True)
        dicom.write_ct(found.scan, found.person, place / "CT", body_part="CHEST")
        _write_yaml(place / "record.yaml", found.record)
        write_json(place / TRUTH, found.truth)
        path = folder / TRUE_STRUCTURES / f"{found.name}.dcm"
        dicom.write_structures(found.structures, found.scan, found.person, path)
    progress("weekly scans", 1.0)
    write_json(folder / TRUTH, patient.told(weeks))


def write_drawn(found: WeeklyScan, folder: Path) -> None:
    """Write the GTVs of a week into its folder, as a person draws what no registration sees."""
    drawn = [replace(s, made_by=()) for s in found.structures if s.name.startswith("GTV")]
    seen = replace(found.structures, structures=tuple(drawn))
    dicom.write_structures(seen, found.scan, found.person, folder / found.name / "rtstruct.dcm")


def write_painting(patient: PaintingPatient, folder: Path, progress: Callable[[str, float], None]) -> None:
    """Write the planning case, a folder each PET, and the tumour's truth: truth.json and truth_maps.npz."""
    write_patient(patient.patient, folder / PLANNING, progress)
    for name, found in patient.pets.items():
        (folder / name).mkdir()
        dicom.write_pet(
            found.scan, patient.person, folder / name, tracer=TRACERS[name], injected_bq=found.injected_bq,
            administered=found.administered, started=found.started, weight_kg=found.weight_kg,
            half_life_s=HALF_LIFE_S, body_part="CHEST",
        )  # fmt: skip
    maps: dict[str, Any] = patient.maps
    np.savez_compressed(folder / "truth_maps.npz", **maps)
    write_json(folder / TRUTH, patient.truth)


def _write_yaml(path: Path, value: object) -> None:
    with path.open("w", encoding="utf-8") as stream:
        YAML().dump(value, stream)

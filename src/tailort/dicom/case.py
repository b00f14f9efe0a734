"""A folder of DICOM files as one case."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydicom.uid import UID

from tailort.dicom.files import DicomFile, Progress, read_folder
from tailort.dicom.reading_doses import read_doses
from tailort.dicom.reading_images import IMAGE_CLASSES, Series, image_series, is_localiser, read_scan
from tailort.dicom.reading_plans import ReadPlan, read_plan
from tailort.dicom.reading_registrations import REGISTRATIONS
from tailort.dicom.reading_structures import ReadStructures, frames_of_reference, read_structures, referenced_series
from tailort.errors import DicomError
from tailort.patient import Case, Person, Scan, StructureSet

RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
RT_PLAN = "1.2.840.10008.5.1.4.1.1.481.5"
RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
RT_ION_PLAN = "1.2.840.10008.5.1.4.1.1.481.8"
_USED = {RT_STRUCTURE_SET, RT_PLAN, RT_DOSE, *IMAGE_CLASSES}


def read_case(
    folder: Path,
    *,
    series_uid: str | None = None,
    names: Mapping[str, str] | None = None,
    absolute: bool = False,
    fractions: int | None = None,
    on: Scan | None = None,
    modality: str | None = "CT",
    progress: Progress | None = None,
) -> Case:
    """Read a patient's CT with further images, structures, plans and doses.

    Parameters
    ----------
    folder : Path
        Files in any order and nesting; what is not DICOM is skipped and counted.
    series_uid : str or None
        Series Instance UID of the planning CT, needed when there are several.
    names : mapping or None
        Structure name in the file -> name to use; wins over the packaged table of TG-263 names.
    absolute : bool
        Whether doses in percent of a prescription are refused.
    fractions : int or None
        Of doses of which no plan tells.
    on : Scan or None
        CT of another folder that doses are read on where this one has no CT, such as today's. Where they lie in
        another frame of reference the case's CT is that scan as if it lay there: it shows where nothing is.
    modality : {"CT", "MR", "PT"} or None
        Of the series that structures and doses are read on, which becomes the first scan; None takes a CT, or else
        the one kind of images that there is.
    progress : callable or None
        Called with what is being done and the share that is done, 0 to 1.

    Raises
    ------
    DicomError
        One sentence: no folder, no CT, several CTs, missing, doubled or tilted slices, a truncated file, objects of
        two patients, contours, plan or dose in another frame of reference, unusable contours.
    """
    with warnings.catch_warnings():
        # What pydicom finds unusual and does not matter is not for the person at the console.
        warnings.filterwarnings("ignore", module="pydicom")
        return _read_case(Path(folder), series_uid, names, absolute, fractions, on, modality, progress)


def _read_case(
    folder: Path,
    series_uid: str | None,
    names: Mapping[str, str] | None,
    absolute: bool,
    fractions: int | None,
    on: Scan | None,
    modality: str | None,
    progress: Progress | None,
) -> Case:
    files, notes = read_folder(folder, progress)
    by_kind, copies = _rt_objects(files)
    series = image_series(files)
    found: list[str] = [*notes, *copies, *_unused(files)]
    planning: Series | None = None
    if on is not None and RT_DOSE in by_kind and not any(s.modality == "CT" for s in series):
        first, ct = by_kind[RT_DOSE][0], _in_frame_of(by_kind[RT_DOSE], on, folder)
    else:
        planning = _planning_series(series, series_uid, files, folder, modality)
        first = planning.files[0]
        ct, ct_notes = read_scan(planning, progress)
        found.extend(ct_notes)
    if ct.modality != "CT":
        by_kind = _of_frame(by_kind, ct, found)
    used = [
        file
        for file in files
        if file.sop_class_uid in _USED
        and not (planning is not None and file in planning.files)
        and not is_localiser(file)
    ]
    _require_one_patient(first, used)
    scans = [ct]
    for other in series:
        if planning is None or other.uid != planning.uid:
            scans.extend(_further_scan(other, found, progress))

    drawn = _structures(by_kind.get(RT_STRUCTURE_SET, []), ct, {s.uid for s in series}, names, found)
    plans: dict[str, ReadPlan] = {}
    for file in by_kind.get(RT_PLAN, []):
        plan = read_plan(file, ct, drawn.structures, drawn.name_of_roi)
        plans[plan.uid] = plan
        found.extend(plan.notes)
    doses, dose_notes = read_doses(
        by_kind.get(RT_DOSE, []), ct.image.grid.frame_of_reference, plans, absolute=absolute, fractions=fractions
    )
    return Case(
        person=_person(first),
        scans=tuple(scans),
        structures=drawn.structures,
        plans=tuple(plan.plan for plan in plans.values() if plan.plan is not None),
        doses=doses,
        notes=(*found, *dose_notes),
    )


def _of_frame(by_kind: Mapping[str, Sequence[DicomFile]], scan: Scan, notes: list[str]) -> dict[str, list[DicomFile]]:
    """Objects in the frame of reference of a scan that is no planning CT; others are of another scan and noted."""
    frame = scan.image.grid.frame_of_reference
    kept: dict[str, list[DicomFile]] = {}
    for kind, files in by_kind.items():
        for file in files:
            frames = frames_of_reference(file) if kind == RT_STRUCTURE_SET else (file.frame_of_reference,)
            if frame in frames:
                kept.setdefault(kind, []).append(file)
            else:
                notes.append(f"'{file.path.name}' was left out: it is not in the {scan.modality}'s frame of reference")
    return kept


def _in_frame_of(doses: Sequence[DicomFile], ct: Scan, folder: Path) -> Scan:
    """Return the CT of another folder, in the frame of reference of doses that have none of their own."""
    frame = doses[0].frame_of_reference
    for file in doses:
        if not frame or file.frame_of_reference != frame:
            raise DicomError(
                f"folder '{folder}' has no CT, and its dose '{file.path.name}' is in frame of reference "
                f"{file.frame_of_reference or '(none)'}, {doses[0].path.name} in {frame or '(none)'}: add the CT on "
                "which it was planned"
            )
    image = ct.image
    if frame == image.grid.frame_of_reference:
        return ct
    return replace(ct, image=replace(image, grid=replace(image.grid, frame_of_reference=frame)))


def _rt_objects(files: Sequence[DicomFile]) -> tuple[dict[str, list[DicomFile]], list[str]]:
    """Structure sets, plans and doses by kind, each object once, and notes on copies."""
    by_kind: dict[str, list[DicomFile]] = {}
    first: dict[str, DicomFile] = {}
    notes: list[str] = []
    for file in files:
        if file.sop_class_uid not in (RT_STRUCTURE_SET, RT_PLAN, RT_DOSE):
            continue
        known = first.setdefault(file.sop_instance_uid, file)
        if known is not file:
            notes.append(f"'{file.path.name}' is a copy of '{known.path.name}' and was skipped")
            continue
        by_kind.setdefault(file.sop_class_uid, []).append(file)
    return by_kind, notes


def _listed(series: Sequence[Series]) -> str:
    return "; ".join(f"{s.uid} '{s.description}' with {s.slices} slice(s)" for s in series)


def _planning_series(
    series: Sequence[Series], series_uid: str | None, files: Sequence[DicomFile], folder: Path, modality: str | None
) -> Series:
    kind = modality or _only_kind(series, folder)
    own = [s for s in series if s.modality == kind]
    if not own:
        kinds = Counter(_kind(file) for file in files)
        there = ", ".join(f"{count} x {name}" for name, count in kinds.most_common()) or "no DICOM file"
        what = "add the planning CT" if kind == "CT" else "add it, or name another kind of images"
        raise DicomError(f"folder '{folder}' has no {kind} series; it has: {there}; {what}")
    if series_uid is not None:
        for candidate in own:
            if candidate.uid == series_uid:
                return candidate
        raise DicomError(f"folder '{folder}' has no {kind} series {series_uid}; it has: {_listed(own)}")
    if len(own) > 1:
        which = "the planning CT with --series UID" if modality == "CT" else "one by its series UID"
        raise DicomError(f"folder '{folder}' has {len(own)} {kind} series: {_listed(own)}; choose {which}")
    return own[0]


def _only_kind(series: Sequence[Series], folder: Path) -> str:
    """CT where there is one, else the one kind of images that there is."""
    kinds = sorted({s.modality for s in series})
    if "CT" in kinds or not kinds:
        return "CT"
    if len(kinds) > 1:
        raise DicomError(f"folder '{folder}' has images of several kinds, {' and '.join(kinds)}: say which is meant")
    return kinds[0]


def _kind(file: DicomFile) -> str:
    if is_localiser(file):
        return "scout image"
    return UID(file.sop_class_uid).name if file.sop_class_uid else "object of unknown kind"


def _unused(files: Sequence[DicomFile]) -> list[str]:
    ions = [file for file in files if file.sop_class_uid == RT_ION_PLAN]
    notes = [
        f"plan '{file.text('RTPlanLabel') or file.path.name}' was left out: it is an RT Ion Plan (protons or ions), "
        "which is unsupported; only photon beams are computed and read"
        for file in ions
    ]
    maps = sum(file.sop_class_uid in REGISTRATIONS for file in files)
    if maps:
        notes.append(
            f"{maps} registration(s) in the folder: used where they lead from today's frame of reference to that of an "
            "earlier course, else passed over"
        )
    known = (*_USED, *REGISTRATIONS)
    kinds = Counter(
        _kind(file) for file in files if file not in ions and (file.sop_class_uid not in known or is_localiser(file))
    )
    return notes + [
        f"{count} DICOM file(s) of a kind that is not used were skipped: {kind}" for kind, count in kinds.items()
    ]


def _require_one_patient(ct: DicomFile, others: Sequence[DicomFile]) -> None:
    mine = ct.text("PatientID")
    for file in others:
        theirs = file.text("PatientID")
        if mine and theirs and mine != theirs:
            raise DicomError(
                f"the folder holds two patients: '{mine}' ('{ct.path.name}') and '{theirs}' ('{file.path.name}'); "
                "keep one patient per folder"
            )


def _further_scan(series: Series, notes: list[str], progress: Progress | None) -> list[Scan]:
    """A scan that planning does not stand on: left out with the reason when it is no regular stack."""
    try:
        scan, scan_notes = read_scan(series, progress)
    except DicomError as reason:
        if "truncated" in str(reason):
            raise
        notes.append(f"an image series was left out: {reason}")
        return []
    notes.extend(scan_notes)
    return [scan]


def _structures(
    files: Sequence[DicomFile],
    ct: Scan,
    series_there: set[str],
    names: Mapping[str, str] | None,
    notes: list[str],
) -> ReadStructures:
    """The structure set drawn on the planning CT; empty when there is none."""
    frame = ct.image.grid.frame_of_reference
    candidates: list[DicomFile] = []
    for file in files:
        on = set(referenced_series(file))
        if ct.series_uid not in on and on & series_there:
            notes.append(f"structure set '{file.path.name}' was left out: it was drawn on another series ({min(on)})")
            continue
        frames = frames_of_reference(file)
        if frames and frame not in frames:
            raise DicomError(
                f"structure set '{file.path.name}' is in frame of reference {', '.join(frames)}, the CT in {frame}: "
                "give the structure set that was drawn on this CT"
            )
        if on and ct.series_uid not in on:
            notes.append(
                f"structure set '{file.path.name}' names an image series that is not in the folder ({min(on)}); it is "
                "in the CT's frame of reference and was read on this CT"
            )
        candidates.append(file)
    if not candidates:
        return ReadStructures(StructureSet((), frame, series_uid=ct.series_uid), {}, ())
    if len(candidates) > 1:
        listed = "; ".join(
            f"'{file.path.name}' ({file.text('StructureSetLabel') or 'no label'}, "
            f"{file.text('StructureSetDate') or 'no date'})"
            for file in candidates
        )
        raise DicomError(f"{len(candidates)} structure sets were drawn on the CT: {listed}; keep one in the folder")
    read = read_structures(candidates[0], ct, names)
    notes.extend(read.notes)
    return read


def _person(file: DicomFile) -> Person:
    return Person(
        patient_id=file.text("PatientID"),
        name=file.text("PatientName"),
        birth_date=file.text("PatientBirthDate"),
        sex=file.text("PatientSex"),
        study_id=file.text("StudyID"),
        study_date=file.text("StudyDate"),
        study_time=file.text("StudyTime"),
        accession_number=file.text("AccessionNumber"),
        referring_physician=file.text("ReferringPhysicianName"),
    )

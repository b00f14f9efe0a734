"""The phases of a 4D-CT, each with what was drawn on it."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tailort.dicom.case import RT_STRUCTURE_SET, _person, _require_one_patient
from tailort.dicom.files import DAMAGED, DicomFile, Progress, read_folder
from tailort.dicom.reading_images import Series, image_series, read_scan
from tailort.dicom.reading_structures import read_structures, referenced_series
from tailort.errors import DicomError
from tailort.geometry.phases import require_one_grid
from tailort.patient import Person, Scan, StructureSet

_PERCENT = re.compile(r"(?<!\d)(\d{1,3})(?:\.0+)?\s*%")
# What scanners write for results that were made of the phases.
_DERIVED = re.compile(r"\b(mip|minip|mean|average|ave|avg)\b", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Phase:
    """One phase of breathing.

    Parameters
    ----------
    name : str
        Such as "50%", or its place in time.
    scan : Scan
        The CT.
    structures : StructureSet
        Drawn on it; empty when nothing is.
    """

    name: str
    scan: Scan
    structures: StructureSet


@dataclass(frozen=True, eq=False)
class Phases:
    """A 4D-CT.

    Parameters
    ----------
    person : Person
        The patient.
    phases : tuple of Phase
        In their order; all on one grid.
    notes : tuple of str
        What was noticed.
    """

    person: Person
    phases: tuple[Phase, ...]
    notes: tuple[str, ...]


def read_phases(folder: Path, *, names: Mapping[str, str] | None = None, progress: Progress | None = None) -> Phases:
    """Read the phases of a 4D-CT from one folder.

    Parameters
    ----------
    folder : Path
        A CT series for each phase, told apart by a percentage in the series' descriptions, or one series whose images
        tell their Temporal Position Identifier; and structure sets, each drawn on one phase. Series that were made of
        the phases (average, MIP by their description or Image Type) are left out and noted.
    names : mapping or None
        Structure name in the file -> name to use.
    progress : callable or None
        As in `read_case`.

    Raises
    ------
    DicomError
        When fewer than two phases are found, two have one name, or a structure set cannot be told to be of one phase.
    GeometryError
        When phases do not share voxels and frame of reference.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pydicom")
        files, notes = read_folder(Path(folder), progress)
        found = list(notes)
        series = _of_phases([one for one in image_series(files) if one.modality == "CT"], found)
        if len(series) < 2:
            raise DicomError(
                f"folder '{folder}' has {len(series)} phase(s) of a 4D-CT; expected at least 2 CT series with a "
                "percentage in their descriptions, or one with Temporal Position Identifiers"
            )
        _require_one_patient(series[0][1].files[0], [file for _, one in series for file in one.files])
        scans: list[tuple[str, Scan]] = []
        for name, one in series:
            scan, more = read_scan(one, progress)
            scans.append((name, scan))
            found.extend(more)
        require_one_grid([scan.image.grid for _, scan in scans], [name for name, _ in scans])
        drawn = _drawn([file for file in files if file.sop_class_uid == RT_STRUCTURE_SET], scans, names, found)
        empty = StructureSet((), scans[0][1].image.grid.frame_of_reference)
        phases = tuple(Phase(name, scan, drawn.get(name, empty)) for name, scan in scans)
    return Phases(_person(series[0][1].files[0]), phases, tuple(found))


def _of_phases(series: Sequence[Series], notes: list[str]) -> list[tuple[str, Series]]:
    """Series of single phases by name, in order."""
    kept = []
    for one in series:
        kind = one.files[0].optional("ImageType") or ()
        words = f"{one.description} {' '.join(kind if not isinstance(kind, str) else [kind])}"
        if _DERIVED.search(words.replace("_", " ")):
            notes.append(f"{one.label} was left out: it was made of the phases")
        else:
            kept.append(one)
    if len(kept) == 1:
        return _by_position(kept[0])
    named = []
    for one in kept:
        percent = _PERCENT.search(one.description)
        if percent is None:
            notes.append(f"{one.label} was left out: its description has no percentage of the breathing cycle")
        else:
            named.append((int(percent[1]), one))
    doubled = [percent for percent, count in Counter(percent for percent, _ in named).items() if count > 1]
    if doubled:
        raise DicomError(f"{doubled[0]}% of the breathing cycle is told of several CT series; keep one in the folder")
    return [(f"{percent}%", one) for percent, one in sorted(named, key=lambda pair: pair[0])]


def _by_position(series: Series) -> list[tuple[str, Series]]:
    """One series apart by the Temporal Position Identifier of its images."""
    by_place: dict[int, list[DicomFile]] = {}
    for file in series.files:
        told = file.optional("TemporalPositionIdentifier")
        if told is None:
            return []
        by_place.setdefault(int(told), []).append(file)
    return [(f"position {n}", replace(series, files=tuple(by_place[n]))) for n in sorted(by_place)]


def _drawn(
    files: Sequence[DicomFile], scans: Sequence[tuple[str, Scan]], names: Mapping[str, str] | None, notes: list[str]
) -> dict[str, StructureSet]:
    """Structures of each phase by its name."""
    found: dict[str, StructureSet] = {}
    for file in files:
        on = [(name, scan) for name, scan in scans if _is_on(file, scan, scans)]
        if len(on) != 1:
            notes.append(f"structure set '{file.path.name}' was left out: it is of {len(on)} of the phases, not of one")
            continue
        name, scan = on[0]
        if name in found:
            raise DicomError(f"several structure sets are drawn on phase {name}; keep one in the folder")
        read = read_structures(file, scan, names)
        notes.extend(read.notes)
        found[name] = read.structures
    return found


def _is_on(file: DicomFile, scan: Scan, scans: Sequence[tuple[str, Scan]]) -> bool:
    """Whether a structure set was drawn on a phase: by its series, or by the images where they share one."""
    if len({other.series_uid for _, other in scans}) > 1:
        return scan.series_uid in referenced_series(file)
    return bool(_images_of(file) & set(scan.instance_uids))


def _images_of(file: DicomFile) -> set[str]:
    """UIDs of the images that contours name."""
    try:
        return {
            str(image.ReferencedSOPInstanceUID)
            for roi in file.header.get("ROIContourSequence") or []
            for contour in roi.get("ContourSequence") or []
            for image in contour.get("ContourImageSequence") or []
        }
    except DAMAGED as error:
        raise DicomError(f"file '{file.path}' is not a readable RT Structure Set ({error})") from error

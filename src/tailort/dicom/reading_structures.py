"""RT Structure Sets as structures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from tailort.dicom.files import DAMAGED, DicomFile
from tailort.dicom.names import map_names
from tailort.errors import DicomError, GeometryError
from tailort.geometry.contours import check_contours
from tailort.patient import ROLES, Point, Scan, Structure, StructureSet

# What is not anatomy may reach beyond the CT, may be a wire or a point, and is then left as it is.
FREE_ROLES = frozenset(
    {"SUPPORT", "FIXATION", "MARKER", "REGISTRATION", "ISOCENTER", "CONTRAST_AGENT", "BRACHY_CHANNEL",
     "BRACHY_ACCESSORY", "BRACHY_SRC_APP", "BRACHY_CHNL_SHLD"}
)  # fmt: skip
_NO_LANDMARKS = FREE_ROLES - {"MARKER"}
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
_CONTOUR_DATA = Tag("ContourData")
_SIDES = (("right", "left"), ("front", "back"), ("feet", "head"))


@dataclass(frozen=True, eq=False)
class ReadStructures:
    """A structure set, the name behind each ROI number, and notes."""

    structures: StructureSet
    name_of_roi: Mapping[int, str]
    notes: tuple[str, ...]


def referenced_series(file: DicomFile) -> tuple[str, ...]:
    """UIDs of the image series that a structure set says it was drawn on."""
    found: list[str] = []
    try:
        for frame in file.header.get("ReferencedFrameOfReferenceSequence") or []:
            for study in frame.get("RTReferencedStudySequence") or []:
                for series in study.get("RTReferencedSeriesSequence") or []:
                    found.append(str(series.get("SeriesInstanceUID", "")))
    except DAMAGED as error:
        raise DicomError(f"file '{file.path}' is not a readable RT Structure Set ({error})") from error
    return tuple(uid for uid in dict.fromkeys(found) if uid)


def frames_of_reference(file: DicomFile) -> tuple[str, ...]:
    """Frames of reference that a structure set uses."""
    try:
        found = [
            str(roi.get("ReferencedFrameOfReferenceUID", ""))
            for roi in file.header.get("StructureSetROISequence") or []
        ]
        if not any(found):
            found = [
                str(item.get("FrameOfReferenceUID", ""))
                for item in file.header.get("ReferencedFrameOfReferenceSequence") or []
            ]
    except DAMAGED as error:
        raise DicomError(f"file '{file.path}' is not a readable RT Structure Set ({error})") from error
    return tuple(uid for uid in dict.fromkeys(found) if uid)


def read_structures(file: DicomFile, ct: Scan, names: Mapping[str, str] | None = None) -> ReadStructures:
    """Closed transverse contours of an RT Structure Set drawn on `ct`.

    Parameters
    ----------
    file : DicomFile
        RT Structure Set.
    ct : Scan
        The CT it was drawn on.
    names : mapping or None
        Name in the file -> name to use; wins over the packaged table of TG-263 names.

    Raises
    ------
    DicomError
        A contour in another frame of reference than the CT, open, self-crossing, not transverse, or outside the CT.

    Notes
    -----
    A contour lies outside when it reaches more than half a voxel beyond the outer face of the CT's outermost voxels.
    That holds for anatomy, targets, outline and bolus, whose density would be unknown there; couch, mask, markers and
    the like are kept and noted.

    References
    ----------
    DICOM PS3.3 C.8.8.5 (structure set), C.8.8.6 (ROI contour), C.8.8.8 (RT ROI observations).
    """
    try:
        return _read(file, ct, names)
    except DAMAGED as error:
        raise DicomError(f"file '{file.path}' is not a readable RT Structure Set ({error})") from error


def _read(file: DicomFile, ct: Scan, names: Mapping[str, str] | None) -> ReadStructures:
    header = file.header
    for needed in ("StructureSetROISequence", "ROIContourSequence"):
        if needed not in header:
            raise DicomError(f"file '{file.path}' has no {needed}: it is truncated, or not an RT Structure Set")
    notes: list[str] = []
    contour_items = {int(item.ReferencedROINumber): item for item in header.ROIContourSequence}
    roles = {
        int(item.ReferencedROINumber): str(item.get("RTROIInterpretedType", "") or "").upper()
        for item in header.get("RTROIObservationsSequence") or []
    }
    kept: list[tuple[int, str, str, tuple[NDArray[np.float64], ...], tuple[int, int, int] | None]] = []
    marked: list[tuple[str, tuple[float, float, float]]] = []
    for roi in header.StructureSetROISequence:
        number = int(roi.ROINumber)
        name = str(roi.get("ROIName", "") or "").strip() or f"ROI {number}"
        role = {"OAR": "ORGAN", "": "OTHER"}.get(roles.get(number, ""), roles.get(number, ""))
        if role not in ROLES:
            notes.append(f"structure '{name}' has the unknown type '{role}', read as OTHER")
            role = "OTHER"
        item = contour_items.get(number)
        point = _point(item) if role not in _NO_LANDMARKS else None
        contours = _contours(item, name, role, notes) if item is not None and point is None else ()
        if not contours and point is None:
            notes.append(f"structure '{name}' has no contours and was left out")
            continue
        frame = str(roi.get("ReferencedFrameOfReferenceUID", "") or "")
        expected = ct.image.grid.frame_of_reference
        if frame and frame != expected:
            raise DicomError(
                f"structure '{name}' ('{file.path.name}') is in frame of reference {frame}, the CT in {expected}: give "
                "the structure set that was drawn on this CT"
            )
        if point is not None:
            marked.append((name, point))
            continue
        _require_sound(contours, name, role, ct, notes)
        kept.append((number, name, role, contours, _colour(item)))

    chosen_names, name_notes = map_names([name for _, name, *_ in kept] + [name for name, _ in marked], names)
    mapped = chosen_names[: len(kept)]
    marked = [(chosen, at) for chosen, (_, at) in zip(chosen_names[len(kept) :], marked, strict=True)]
    structures = tuple(
        Structure(
            name=chosen,
            role=role,
            contours=contours,
            frame_of_reference=ct.image.grid.frame_of_reference,
            original_name=name,
            colour=colour,
        )
        for chosen, (_, name, role, contours, colour) in zip(mapped, kept, strict=True)
    )
    series = referenced_series(file)
    return ReadStructures(
        StructureSet(
            structures,
            ct.image.grid.frame_of_reference,
            label=str(header.get("StructureSetLabel", "") or ""),
            sop_instance_uid=file.sop_instance_uid,
            series_uid=series[0] if series else "",
            points=_points(marked, ct.image.grid.frame_of_reference, notes),
        ),
        {number: chosen for chosen, (number, *_) in zip(mapped, kept, strict=True)},
        (*notes, *name_notes),
    )


def _point(item: Dataset | None) -> tuple[float, float, float] | None:
    """Position of a ROI that is one point and nothing else, LPS mm."""
    sequence = list(item.get("ContourSequence") or []) if item is not None else []
    if len(sequence) != 1 or str(sequence[0].get("ContourGeometricType", "") or "") != "POINT":
        return None
    data = _numbers(sequence[0], _CONTOUR_DATA)
    if len(data) != 3 or not np.isfinite(data).all():
        return None
    x, y, z = data.tolist()
    return x, y, z


def _points(marked: list[tuple[str, tuple[float, float, float]]], frame: str, notes: list[str]) -> tuple[Point, ...]:
    """Points, those of one name told apart from the others by being left out."""
    names = [name.lower() for name, _ in marked]
    for name in dict.fromkeys(name for name, _ in marked if names.count(name.lower()) > 1):
        notes.append(f"several points are named '{name}', so none of them is used: give each a name of its own")
    return tuple(Point(name, at, frame) for name, at in marked if names.count(name.lower()) == 1)


def _contours(item: Dataset, name: str, role: str, notes: list[str]) -> tuple[NDArray[np.float64], ...]:
    found: list[NDArray[np.float64]] = []
    skipped: dict[str, int] = {}
    for contour in item.get("ContourSequence") or []:
        kind = str(contour.get("ContourGeometricType", "") or "")
        data = _numbers(contour, _CONTOUR_DATA)
        if len(data) == 0:
            continue
        if len(data) % 3:
            raise DicomError(f"structure '{name}' has a contour of {len(data)} numbers, which is not x, y, z of points")
        points = data.reshape(-1, 3).copy()
        if kind == "POINT" or (kind not in _CLOSED and role in FREE_ROLES):
            skipped[kind] = skipped.get(kind, 0) + 1
            continue
        where = f"z = {points[0, 2]:.2f} mm"
        if kind not in _CLOSED:
            raise DicomError(
                f"structure '{name}' has an open contour at {where} (geometric type {kind or 'not given'}); expected "
                "CLOSED_PLANAR: close it in the contouring program, or give it the type MARKER"
            )
        points = _without_repeats(points)
        if len(points) < 3:
            raise DicomError(
                f"structure '{name}' has an open contour at {where}: {len(points)} distinct point(s) enclose no area; "
                "delete it in the contouring program"
            )
        if np.ptp(points[:, 2]) > 0.01:
            raise DicomError(
                f"structure '{name}' has a contour that runs from z = {points[:, 2].min():.2f} to "
                f"{points[:, 2].max():.2f} mm; expected contours in transverse planes"
            )
        points[:, 2] = points[0, 2]
        found.append(points)
    for kind, count in skipped.items():
        notes.append(f"structure '{name}': {count} {kind} item(s) without area were skipped")
    return tuple(found)


def _numbers(item: Dataset, tag: BaseTag) -> NDArray[np.float64]:
    """Decimal strings of one element as numbers, straight from the bytes of the file."""
    element: Any = item.get_item(tag) if tag in item else None
    if isinstance(element, RawDataElement):
        text = (element.value or b"").strip(b" \0")
        return np.array(text.split(b"\\"), dtype=np.float64) if text else np.zeros(0)
    value = None if element is None else element.value
    return np.zeros(0) if value is None else np.array(value, dtype=np.float64).reshape(-1)


def _without_repeats(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points that differ from the one before; the first one counts as following the last."""
    fresh = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1) > 1e-6
    kept: NDArray[np.float64] = points[fresh]
    return kept


def _require_sound(contours: tuple[NDArray[np.float64], ...], name: str, role: str, ct: Scan, notes: list[str]) -> None:
    """Refuse contours that cross, or that leave the CT."""
    if role not in FREE_ROLES:
        try:
            check_contours(contours, f"structure '{name}'")
        except GeometryError as error:
            raise DicomError(str(error)) from error
    grid = ct.image.grid
    low, high = grid.faces_mm()
    half = np.array(grid.spacing_mm[::-1]) / 2
    points = np.concatenate(contours)
    beyond = np.stack([low - points.min(axis=0), points.max(axis=0) - high])
    if not (beyond > half).any():
        return
    end, axis = np.unravel_index(int(np.argmax(beyond - half)), beyond.shape)
    text = (
        f"structure '{name}' reaches {beyond[end, axis]:.1f} mm outside the CT on the {_SIDES[axis][end]} side "
        f"(the CT spans {'xyz'[axis]} = {low[axis]:.1f} to {high[axis]:.1f} mm)"
    )
    if role in FREE_ROLES:
        notes.append(f"{text}; it is kept, as {role} is not anatomy")
        return
    raise DicomError(f"{text}: give the CT it was drawn on, or trim it to the CT")


def _colour(item: Dataset | None) -> tuple[int, int, int] | None:
    colour = item.get("ROIDisplayColor") if item is not None else None
    if not colour or len(colour) != 3:
        return None
    red, green, blue = (int(c) for c in colour)
    return red, green, blue

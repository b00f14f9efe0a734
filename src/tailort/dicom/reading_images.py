"""CT, MR and PET series as scans."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tailort.dicom.files import DAMAGED, DicomFile, Progress, stored_values
from tailort.dicom.stack import Stack, stack_planes
from tailort.errors import DicomError
from tailort.geometry import Image, PatientPosition
from tailort.patient import Scan

IMAGE_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",
    "1.2.840.10008.5.1.4.1.1.4.4": "MR",
    "1.2.840.10008.5.1.4.1.1.128": "PT",
    "1.2.840.10008.5.1.4.1.1.128.1": "PT",
    "1.2.840.10008.5.1.4.1.1.130": "PT",
}
_READERS = 4
AIR_HU = -1000


@dataclass(frozen=True, eq=False)
class _Frame:
    """One image plane: where it lies and how its stored values become numbers with a unit."""

    file: DicomFile
    number: int
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing: tuple[float, ...]
    slope: float
    intercept: float


@dataclass(frozen=True, eq=False)
class Series:
    """The files of one image series."""

    uid: str
    modality: str
    files: tuple[DicomFile, ...]

    @property
    def description(self) -> str:
        """Series description."""
        return self.files[0].text("SeriesDescription")

    @property
    def slices(self) -> int:
        """Number of image planes."""
        return sum(file.frames for file in self.files)

    @property
    def label(self) -> str:
        """How messages call it."""
        quoted = f" '{self.description}'" if self.description else ""
        return f"{self.modality} series {self.uid}{quoted}"


def is_localiser(file: DicomFile) -> bool:
    """Whether an image is a scout view."""
    kind = file.optional("ImageType") or ()
    return any(str(part).upper() in ("LOCALIZER", "SCOUT") for part in ([kind] if isinstance(kind, str) else kind))


def image_series(files: Sequence[DicomFile]) -> tuple[Series, ...]:
    """CT, MR and PET images by series, in the order of their UIDs; scout views are not among them."""
    by_uid: dict[str, list[DicomFile]] = {}
    for file in files:
        if file.sop_class_uid in IMAGE_CLASSES and not is_localiser(file):
            by_uid.setdefault(file.series_uid, []).append(file)
    return tuple(
        Series(uid, IMAGE_CLASSES[members[0].sop_class_uid], tuple(members)) for uid, members in sorted(by_uid.items())
    )


def read_scan(series: Series, progress: Progress | None = None) -> tuple[Scan, tuple[str, ...]]:
    """One series as a scan, and notes on it.

    CT values are HU (int16 where the rescale gives whole numbers), PET keeps the unit of the file, MR has none.
    Transverse planes are turned so that i runs to the left, j to the back, k to the head.

    Raises
    ------
    DicomError
        When the planes are no regular stack, differ in size or spacing, or a value that is needed is missing.

    References
    ----------
    DICOM PS3.3 C.7.6.2 (image plane), C.11.1 (rescale), C.7.6.16 (multi-frame functional groups).
    """
    try:
        return _read(series, progress)
    except DAMAGED as error:
        raise DicomError(f"{series.label} cannot be read ({error})") from error


def _read(series: Series, progress: Progress | None) -> tuple[Scan, tuple[str, ...]]:
    what = series.label
    frames = tuple(frame for file in series.files for frame in _frames(file, series.modality))
    first = series.files[0]
    _require_alike(series, frames)
    frame_of_reference = str(first.value("FrameOfReferenceUID"))
    position = _orientation_codes(first) or str(first.value("PatientPosition"))
    if position not in get_args(PatientPosition):
        raise DicomError(f"{what}: patient position {position}; expected one of {', '.join(get_args(PatientPosition))}")
    stack = stack_planes(
        [frame.position for frame in frames],
        frames[0].orientation,
        frames[0].pixel_spacing,
        (int(first.value("Rows")), int(first.value("Columns"))),
        frame_of_reference,
        what,
        [frame.file.path.name for frame in frames],
    )
    notes: list[str] = []
    if series.modality == "CT":
        _require_upright_ct(series, stack)
    unit = _unit(series, notes)
    values, padded = _values(frames, stack, series.modality == "CT", what, progress)
    if padded:
        notes.append(f"{what}: {padded} padding voxels outside the field of view were read as air, {AIR_HU} HU")
    thickness = first.header.get("SliceThickness")
    ordered = [frames[n].file.sop_instance_uid for n in stack.order]
    scan = Scan(
        image=Image(stack.grid, values, unit),
        modality=series.modality,
        series_uid=series.uid,
        study_uid=str(first.header.get("StudyInstanceUID", "")),
        instance_uids=tuple(ordered if len(series.files) > 1 else ordered[:1]),
        patient_position=cast(PatientPosition, position),
        description=series.description,
        slice_thickness_mm=float(thickness) if thickness else None,
        sop_class_uid=first.sop_class_uid,
    )
    return scan, tuple(notes)


def _frames(file: DicomFile, modality: str) -> list[_Frame]:
    header = file.header
    if "SharedFunctionalGroupsSequence" in header or "PerFrameFunctionalGroupsSequence" in header:
        return _enhanced_frames(file)
    if file.frames != 1:
        raise DicomError(f"file '{file.path}' has several frames without their positions, so it is not a {modality}")
    slope, intercept = 1.0, 0.0
    if modality != "MR" or "RescaleSlope" in header:
        (slope,) = file.numbers("RescaleSlope", 1)
        (intercept,) = file.numbers("RescaleIntercept", 1)
    return [
        _Frame(
            file,
            0,
            file.numbers("ImagePositionPatient", 3),
            file.numbers("ImageOrientationPatient", 6),
            file.numbers("PixelSpacing", 2),
            slope,
            intercept,
        )
    ]


def _enhanced_frames(file: DicomFile) -> list[_Frame]:
    count = file.frames
    try:
        shared = (file.header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        per_frame = file.header.get("PerFrameFunctionalGroupsSequence") or []
        if len(per_frame) != count:
            raise DicomError(f"file '{file.path}' has {count} frames and describes {len(per_frame)} of them")

        def group(own: Dataset, keyword: str) -> Dataset:
            sequence = own.get(keyword) or shared.get(keyword)
            if not sequence:
                raise DicomError(f"file '{file.path}' has no {keyword}, which reading its frames needs")
            return cast(Dataset, sequence[0])

        frames = []
        for number, own in enumerate(per_frame):
            has_rescale = "PixelValueTransformationSequence" in own or "PixelValueTransformationSequence" in shared
            rescale = group(own, "PixelValueTransformationSequence") if has_rescale else None
            if rescale is None and IMAGE_CLASSES[file.sop_class_uid] != "MR":
                raise DicomError(f"file '{file.path}' does not tell how its stored values are rescaled")
            frames.append(
                _Frame(
                    file,
                    number,
                    tuple(float(v) for v in group(own, "PlanePositionSequence").ImagePositionPatient),
                    tuple(float(v) for v in group(own, "PlaneOrientationSequence").ImageOrientationPatient),
                    tuple(float(v) for v in group(own, "PixelMeasuresSequence").PixelSpacing),
                    1.0 if rescale is None else float(rescale.RescaleSlope),
                    0.0 if rescale is None else float(rescale.RescaleIntercept),
                )
            )
    except DAMAGED as error:
        raise DicomError(f"file '{file.path}': the description of its frames cannot be read ({error})") from error
    return frames


# How a patient lies and enters, by SNOMED codes of both generations (PS3.16, CID 19 to 21).
_LIES = {"F-10340": "S", "40199007": "S", "F-10310": "P", "1240000": "P"}
_ENTERS = {"F-10470": "HF", "102540001": "HF", "F-10480": "FF", "102541002": "FF"}


def _orientation_codes(file: DicomFile) -> str:
    """Patient position of a PET that tells it by codes alone; empty where it has PatientPosition, or none of both."""
    if file.text("PatientPosition"):
        return ""
    lying = [code for item in file.optional("PatientOrientationCodeSequence") or [] for code in
             item.get("PatientOrientationModifierCodeSequence") or []]  # fmt: skip
    lies = {_LIES.get(str(code.get("CodeValue", "")), "") for code in lying}
    entering = file.optional("PatientGantryRelationshipCodeSequence") or []
    enters = {_ENTERS.get(str(code.get("CodeValue", "")), "") for code in entering}
    if len(lies) == len(enters) == 1 and "" not in lies | enters:
        return enters.pop() + lies.pop()
    return ""


def _require_alike(series: Series, frames: Sequence[_Frame]) -> None:
    """Refuse a series whose planes differ in what has to be the same for all."""
    first = frames[0]
    for keyword in ("Rows", "Columns", "FrameOfReferenceUID", "PatientPosition"):
        for file in series.files:
            if file.header.get(keyword) != first.file.header.get(keyword):
                raise DicomError(
                    f"{series.label}: {keyword} is {first.file.header.get(keyword)} in '{first.file.path.name}' and "
                    f"{file.header.get(keyword)} in '{file.path.name}'; expected one value for the whole series"
                )
    for frame in frames:
        for keyword, mine, theirs, tolerance in (
            ("Pixel Spacing", first.pixel_spacing, frame.pixel_spacing, 1e-4),
            ("Image Orientation", first.orientation, frame.orientation, 1e-3),
        ):
            if not np.allclose(mine, theirs, rtol=0, atol=tolerance):
                raise DicomError(
                    f"{series.label}: {keyword} is {mine} in '{first.file.path.name}' and {theirs} in "
                    f"'{frame.file.path.name}'; expected one value for the whole series"
                )


def _require_upright_ct(series: Series, stack: Stack) -> None:
    what = series.label
    for file in series.files:
        tilt = file.header.get("GantryDetectorTilt")
        if tilt and abs(float(tilt)) > 0.01:
            raise DicomError(
                f"{what} was scanned with the gantry tilted by {float(tilt):g} degrees; expected upright transverse "
                "slices: scan without tilt, or resample it and remove the tilt from the header"
            )
    if not stack.grid.is_axial:
        normal = stack.grid.affine[:3, 0] / np.linalg.norm(stack.grid.affine[:3, 0])
        tilt_deg = float(np.degrees(np.arccos(min(1.0, abs(normal[2])))))
        raise DicomError(
            f"{what} is not in transverse slices along the patient's axes (its normal is {tilt_deg:.2f} degrees off, "
            "as with a tilted gantry); resample it first"
        )


def _unit(series: Series, notes: list[str]) -> str:
    header = series.files[0].header
    if series.modality == "CT":
        kind = str(header.get("RescaleType", "HU") or "HU")
        if kind not in ("HU", "HU_MOD"):
            raise DicomError(f"{series.label}: the file says that its values are '{kind}' (Rescale Type); expected HU")
        return "HU"
    if series.modality == "PT":
        unit = str(series.files[0].value("Units"))
        if unit == "BQML":
            notes.append(f"{series.label} is in Bq/ml; it is not converted to SUV")
            return "Bq/ml"
        if unit == "GML":
            notes.append(f"{series.label} is in g/ml, read as the SUV by body weight that the file holds")
            return "SUV"
        raise DicomError(f"{series.label}: PET values in {unit}; expected BQML or GML")
    return "1"


def _values(
    frames: Sequence[_Frame], stack: Stack, as_hu: bool, what: str, progress: Progress | None
) -> tuple[NDArray[Any], int]:
    """Voxels (k, j, i) in the series' unit, and how many were padding."""
    slice_of = {n: k for k, n in enumerate(stack.order)}
    by_file: dict[int, list[int]] = {}
    for n, frame in enumerate(frames):
        by_file.setdefault(id(frame.file), []).append(n)
    whole = as_hu and all(f.slope == round(f.slope) and f.intercept == round(f.intercept) for f in frames)

    def fill(out: NDArray[Any], members: Sequence[int]) -> tuple[bool, int]:
        file = frames[members[0]].file
        stored = stored_values(file)
        fits, padded = True, 0
        for n in members:
            frame = frames[n]
            plane = stored[frame.number]
            if whole and out.dtype == np.int16:
                values: NDArray[Any] = plane.astype(np.int32) * int(frame.slope) + int(frame.intercept)
                if as_hu:
                    padded += _pad(values, plane, file)
                fits = fits and bool(values.min() >= -32768 and values.max() <= 32767)
            else:
                values = plane.astype(np.float64) * frame.slope + frame.intercept
                if as_hu:
                    padded += _pad(values, plane, file)
            out[slice_of[n]] = stack.turn(values)
        return fits, padded

    def fill_all(dtype: type) -> tuple[NDArray[Any], bool, int]:
        out: NDArray[Any] = np.empty(stack.grid.shape, dtype=dtype)
        total = 0
        fits = True
        with ThreadPoolExecutor(_READERS) as pool:
            jobs = list(by_file.values())
            for done, (good, padded) in enumerate(pool.map(lambda members: fill(out, members), jobs)):
                fits = fits and good
                total += padded
                if progress is not None:
                    progress(f"reading {what}", (done + 1) / len(jobs))
        return out, fits, total

    hu, fits, padded = fill_all(np.int16 if whole else np.float32)
    if not fits:
        hu, _, padded = fill_all(np.float32)
    return hu, padded


def _pad(values: NDArray[Any], stored: NDArray[Any], file: DicomFile) -> int:
    """Set voxels that the file declares as padding, and that lie below any tissue, to air; return how many."""
    padding = file.header.get("PixelPaddingValue")
    if padding is None:
        return 0
    bits = int(file.header.get("BitsAllocated", 16))
    same = (stored.astype(np.int64) - int(padding)) % (1 << bits) == 0
    outside = same & (values < AIR_HU - 24)
    values[outside] = AIR_HU
    return int(outside.sum())

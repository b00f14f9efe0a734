"""Structures as an RT Structure Set."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian, RTStructureSetStorage

from tailort.dicom.writing import clipped, new_object, new_uid, paragraph, reference, rt_series, save
from tailort.errors import GeometryError
from tailort.patient import Person, Scan, StructureSet

_STUDY_COMPONENT = "1.2.840.10008.3.1.2.3.1"
_COLOURS = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48), (145, 30, 180), (70, 240, 240),
    (240, 50, 230), (210, 245, 60), (250, 190, 190), (0, 128, 128), (170, 110, 40), (128, 128, 0), (128, 128, 128),
)  # fmt: skip
# A ten-thousandth of a millimetre keeps contours exact for any purpose and the file small.
_PLACES = 4
_FARTHEST_MM = 1e9
_TRAILING_ZEROS = re.compile(r"\.?0*(?=\\|$)")
_CONTOUR_DATA = Tag("ContourData")


def write_structures(
    structures: StructureSet,
    scan: Scan,
    person: Person,
    path: Path,
    *,
    label: str = "",
    seed: str | None = None,
    when: dt.datetime | None = None,
) -> StructureSet:
    """Write an RT Structure Set and return the structures with its UID.

    Parameters
    ----------
    structures : StructureSet
        In the frame of reference of `scan`.
    scan : Scan
        The images the contours refer to.
    person : Person
        The patient.
    path : Path
        File to write.
    label : str
        Structure set label, at most 16 characters; empty takes that of the structures.
    seed : str or None
        Same seed, label and study, same UIDs; None makes fresh ones.
    when : datetime or None
        Time of creation; None is now.

    Raises
    ------
    GeometryError
        When structures and scan are in different frames of reference.
    OutputError
        When the file cannot be written.

    References
    ----------
    DICOM PS3.3 A.19 (RT structure set), C.8.8.5, C.8.8.6, C.8.8.8.
    """
    grid = scan.image.grid
    grid.require_same_frame(structures.frame_of_reference, "the structure set to write")
    for named in (*structures, *structures.points):
        if len(named.name) > 64:
            raise GeometryError(f"structure '{named.name}' has a name of more than 64 characters")
    when = when or dt.datetime.now()
    label = clipped(label or structures.label or "TailoRT", 16)
    uid = new_uid(seed, "RTSTRUCT", scan.study_uid, label)
    # Implicit VR has no 64 kB limit on the points of one contour.
    ds = new_object(
        RTStructureSetStorage,
        uid,
        "RTSTRUCT",
        new_uid(seed, "RTSTRUCT series", scan.study_uid, label),
        2,
        f"Structures {label}",
        person,
        scan,
        when,
        ImplicitVRLittleEndian,
    )
    rt_series(ds)
    ds.StructureSetLabel = label
    ds.StructureSetDate, ds.StructureSetTime = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
    ds.ReferencedFrameOfReferenceSequence = [_referenced_images(scan)]
    ds.StructureSetROISequence = []
    ds.ROIContourSequence = []
    ds.RTROIObservationsSequence = []
    image_class = scan.sop_class_uid or CTImageStorage
    for number, structure in enumerate(structures, 1):
        roi = Dataset()
        roi.ROINumber = number
        roi.ReferencedFrameOfReferenceUID = structures.frame_of_reference
        roi.ROIName = structure.name
        roi.ROIGenerationAlgorithm = "AUTOMATIC" if structure.made_by else ""
        if structure.made_by:
            made_by = "; ".join(structure.made_by)
            roi.ROIDescription = paragraph(made_by, 1024)
            roi.ROIGenerationDescription = clipped(made_by, 64)
        ds.StructureSetROISequence.append(roi)

        drawn = Dataset()
        drawn.ReferencedROINumber = number
        drawn.ROIDisplayColor = list(structure.colour or _COLOURS[(number - 1) % len(_COLOURS)])
        if not structure.is_empty:
            drawn.ContourSequence = []
        for contour in structure.contours:
            item = Dataset()
            k = float(grid.to_index(contour[0])[0])
            if abs(k - round(k)) < 0.5 and 0 <= round(k) < grid.shape[0]:
                nearest = round(k) if len(scan.instance_uids) == grid.shape[0] else 0
                item.ContourImageSequence = [reference(image_class, scan.instance_uids[nearest])]
            item.ContourGeometricType = "CLOSED_PLANAR"
            item.NumberOfContourPoints = len(contour)
            item[_CONTOUR_DATA] = _contour_data(contour)
            drawn.ContourSequence.append(item)
        ds.ROIContourSequence.append(drawn)

        observed = Dataset()
        observed.ObservationNumber = number
        observed.ReferencedROINumber = number
        observed.ROIObservationLabel = clipped(structure.name, 16)
        observed.RTROIInterpretedType = "" if structure.role == "OTHER" else structure.role
        observed.ROIInterpreter = ""
        ds.RTROIObservationsSequence.append(observed)
    for number, point in enumerate(structures.points, len(structures) + 1):
        roi, drawn, observed = Dataset(), Dataset(), Dataset()
        roi.ROINumber = drawn.ReferencedROINumber = number
        roi.ReferencedFrameOfReferenceUID = structures.frame_of_reference
        roi.ROIName = point.name
        roi.ROIGenerationAlgorithm = ""
        ds.StructureSetROISequence.append(roi)
        item = Dataset()
        item.ContourGeometricType = "POINT"
        item.NumberOfContourPoints = 1
        item[_CONTOUR_DATA] = _contour_data(np.array(point.position_mm))
        drawn.ContourSequence = [item]
        ds.ROIContourSequence.append(drawn)
        observed.ObservationNumber = observed.ReferencedROINumber = number
        observed.ROIObservationLabel = clipped(point.name, 16)
        observed.RTROIInterpretedType = "MARKER"
        observed.ROIInterpreter = ""
        ds.RTROIObservationsSequence.append(observed)
    ds.ApprovalStatus = "UNAPPROVED"
    save(ds, path)
    return replace(structures, label=label, sop_instance_uid=uid, series_uid=scan.series_uid)


def _contour_data(contour: NDArray[np.float64]) -> DataElement:
    """Contour Data as it goes into the file: hundreds of thousands of decimal strings take no detour."""
    rounded = np.round(np.ravel(contour), _PLACES) + 0.0
    if not np.abs(rounded).max() < _FARTHEST_MM:
        raise GeometryError(f"a contour reaches {np.abs(rounded).max():g} mm from the origin and cannot be written")
    text = _TRAILING_ZEROS.sub("", "\\".join([f"{v:.{_PLACES}f}" for v in rounded.tolist()]))
    data = (text + " " * (len(text) % 2)).encode("ascii")
    # Implicit VR files do not hold the representation, so the bytes may pass as they are.
    return DataElement(_CONTOUR_DATA, "OB", data)


def _referenced_images(scan: Scan) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = scan.series_uid
    series.ContourImageSequence = [reference(scan.sop_class_uid or CTImageStorage, uid) for uid in scan.instance_uids]
    study = reference(_STUDY_COMPONENT, scan.study_uid)
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = scan.image.grid.frame_of_reference
    frame.RTReferencedStudySequence = [study]
    return frame

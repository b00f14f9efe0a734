"""Tiny DICOM cases, built attribute by attribute and independently of the writers under test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

FRAME = "1.2.3.4"
OTHER_FRAME = "1.2.3.5"
CT_SERIES = "1.2.3.10"
STUDY = "1.2.3.1"
STRUCTURES_UID = "1.2.3.20"
PLAN_UID = "1.2.3.30"
CT, MR, PT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128"
RTSTRUCT, RTPLAN, RTDOSE = (f"1.2.840.10008.5.1.4.1.1.481.{n}" for n in (3, 5, 2))

SHAPE = (8, 16, 12)  # k, j, i
SPACING = (3.0, 2.0, 2.5)  # z, y, x
ORIGIN = (-13.75, -15.0, -10.5)  # x, y, z

# Image Orientation (Patient) that scanners write for each patient position.
ORIENTATION = {
    "HFS": (1, 0, 0, 0, 1, 0),
    "HFP": (-1, 0, 0, 0, -1, 0),
    "FFS": (-1, 0, 0, 0, 1, 0),
    "FFP": (1, 0, 0, 0, -1, 0),
}


def hu_at(x, y, z):
    """A value that differs in every voxel and along every axis."""
    return np.round(20 * x + 3 * y + 7 * z).astype(int)


def axes():
    """x, y, z of the voxel centres."""
    return tuple(o + s * np.arange(n) for o, s, n in zip(ORIGIN, SPACING[::-1], SHAPE[::-1], strict=True))


def expected_hu():
    """The CT as (k, j, i) on the axial grid."""
    x, y, z = axes()
    return hu_at(x[None, None, :], y[None, :, None], z[:, None, None])


def base(sop_class, uid, modality, series, frame=FRAME, patient="P1"):
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.file_meta.MediaStorageSOPInstanceUID = uid
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid
    ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = patient, "Test^Case", "19500101", "M"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = STUDY, series, modality
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20260101", "120000", "1", ""
    ds.SeriesDescription = f"{modality} test"
    ds.FrameOfReferenceUID = frame
    return ds


def plane_geometry(orientation):
    """Corner of the first stored pixel (x, y), and x, y of all stored pixels (rows, columns)."""
    x, y, _ = axes()
    xs = x if orientation[0] > 0 else x[::-1]
    ys = y if orientation[4] > 0 else y[::-1]
    return (
        (xs[0], ys[0]),
        np.broadcast_to(xs[None, :], (len(ys), len(xs))),
        np.broadcast_to(ys[:, None], (len(ys), len(xs))),
    )


def image_slices(
    position="HFS", *, sop_class=CT, modality="CT", series=CT_SERIES, frame=FRAME, intercept=-1024, signed=False,
    orientation=None, uid_root="1.2.3.100",
):  # fmt: skip
    """Single-frame images from the head down, as datasets."""
    orientation = orientation or ORIENTATION[position]
    (x0, y0), xs, ys = plane_geometry(orientation)
    slices = []
    for n, z in enumerate(axes()[2][::-1]):
        ds = base(sop_class, f"{uid_root}.{n + 1}", modality, series, frame)
        ds.PatientPosition = position
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.SliceThickness = "5"
        ds.ImagePositionPatient = [f"{x0:g}", f"{y0:g}", f"{z:g}"]
        ds.ImageOrientationPatient = [str(v) for v in orientation]
        ds.PixelSpacing = [f"{SPACING[1]:g}", f"{SPACING[2]:g}"]
        ds.Rows, ds.Columns = xs.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated = 16
        ds.BitsStored, ds.HighBit = (16, 15) if signed else (12, 11)
        ds.PixelRepresentation = int(signed)
        ds.RescaleSlope, ds.RescaleIntercept = "1", str(intercept)
        stored = hu_at(xs, ys, z) - intercept
        ds.PixelData = stored.astype("<i2" if signed else "<u2").tobytes()
        ds["PixelData"].VR = "OW"
        slices.append(ds)
    return slices


def square(z, half=6.0, centre=(0.0, 0.0)):
    """Closed square contour, numbers x, y, z, ..."""
    cx, cy = centre
    corners = ((-half, -half), (half, -half), (half, half), (-half, half))
    return [v for a, b in corners for v in (cx + a, cy + b, z)]


def structure_set(rois, *, frame=FRAME, series=CT_SERIES, uid=STRUCTURES_UID):
    """RTSTRUCT of rois: (name, type, [(geometric type, data), ...])."""
    ds = base(RTSTRUCT, uid, "RTSTRUCT", "1.2.3.21", frame)
    ds.StructureSetLabel, ds.StructureSetDate, ds.StructureSetTime = "TEST", "", ""
    item = Dataset()
    item.SeriesInstanceUID = series
    study = Dataset()
    study.RTReferencedSeriesSequence = [item]
    reference = Dataset()
    reference.FrameOfReferenceUID = frame
    reference.RTReferencedStudySequence = [study]
    ds.ReferencedFrameOfReferenceSequence = [reference]
    ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence = [], [], []
    for number, (name, kind, contours) in enumerate(rois, 3):
        roi = Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID, roi.ROIGenerationAlgorithm = (
            number,
            name,
            frame,
            "",
        )
        ds.StructureSetROISequence.append(roi)
        drawn = Dataset()
        drawn.ReferencedROINumber, drawn.ROIDisplayColor = number, [1, 2, 3]
        drawn.ContourSequence = []
        for geometric, data in contours:
            contour = Dataset()
            contour.ContourGeometricType = geometric
            contour.NumberOfContourPoints = len(data) // 3
            contour.ContourData = [f"{v:g}" for v in data]
            drawn.ContourSequence.append(contour)
        ds.ROIContourSequence.append(drawn)
        observed = Dataset()
        observed.ObservationNumber, observed.ReferencedROINumber = number, number
        observed.RTROIInterpretedType, observed.ROIInterpreter = kind, ""
        ds.RTROIObservationsSequence.append(observed)
    return ds


def closed(*zs, **kwargs):
    """Square contours in planes z."""
    return [("CLOSED_PLANAR", square(z, **kwargs)) for z in zs]


def plan(*, frame=FRAME, fractions=25, dose_gy=50.0, radiation="PHOTON", uid=PLAN_UID):
    """RTPLAN with two beams; the second control point leaves out what does not change."""
    ds = base(RTPLAN, uid, "RTPLAN", "1.2.3.31", frame)
    ds.RTPlanLabel, ds.RTPlanDate, ds.RTPlanTime, ds.RTPlanGeometry = "P50", "", "", "PATIENT"
    target = Dataset()
    target.DoseReferenceNumber, target.DoseReferenceStructureType, target.ReferencedROINumber = 1, "VOLUME", 3
    target.DoseReferenceType, target.TargetPrescriptionDose = "TARGET", str(dose_gy)
    target.TargetUnderdoseVolumeFraction = "5"
    ds.DoseReferenceSequence = [target]
    setup = Dataset()
    setup.PatientSetupNumber, setup.PatientPosition = 1, "HFS"
    ds.PatientSetupSequence = [setup]
    group = Dataset()
    group.FractionGroupNumber, group.NumberOfFractionsPlanned = 1, fractions
    group.NumberOfBeams, group.NumberOfBrachyApplicationSetups = 2, 0
    group.ReferencedBeamSequence = []
    ds.FractionGroupSequence, ds.BeamSequence = [group], []
    for number, (gantry, mu) in enumerate(((0, 120), (90, 80)), 1):
        referenced = Dataset()
        referenced.ReferencedBeamNumber, referenced.BeamMeterset = number, str(mu)
        group.ReferencedBeamSequence.append(referenced)
        beam = Dataset()
        beam.BeamNumber, beam.BeamName, beam.BeamType, beam.RadiationType = number, f"B{number}", "STATIC", radiation
        beam.TreatmentMachineName, beam.PrimaryDosimeterUnit, beam.SourceAxisDistance = "LINAC", "MU", "1000"
        beam.TreatmentDeliveryType = "TREATMENT"
        beam.NumberOfWedges = beam.NumberOfCompensators = beam.NumberOfBoli = beam.NumberOfBlocks = 0
        x, y, mlc = Dataset(), Dataset(), Dataset()
        x.RTBeamLimitingDeviceType, x.NumberOfLeafJawPairs = "ASYMX", 1
        y.RTBeamLimitingDeviceType, y.NumberOfLeafJawPairs = "Y", 1
        mlc.RTBeamLimitingDeviceType, mlc.NumberOfLeafJawPairs = "MLCX", 3
        mlc.LeafPositionBoundaries = ["-15", "-5", "5", "15"]
        beam.BeamLimitingDeviceSequence = [x, y, mlc]
        beam.FinalCumulativeMetersetWeight, beam.NumberOfControlPoints = "2", 4
        points = []
        for index, weight in enumerate((0, 0.5, 0.5, 2)):
            point = Dataset()
            point.ControlPointIndex, point.CumulativeMetersetWeight = index, str(weight)
            if index == 0:
                point.NominalBeamEnergy, point.GantryAngle, point.GantryRotationDirection = "6", str(gantry), "NONE"
                point.BeamLimitingDeviceAngle, point.PatientSupportAngle = "10", "350"
                point.IsocenterPosition = ["1", "2", "3"]
                point.BeamLimitingDevicePositionSequence = [
                    _moved("ASYMX", [-20, 20]), _moved("Y", [-15, 15]), _moved("MLCX", [-5, -6, -7, 5, 6, 7]),
                ]  # fmt: skip
            if index == 2:
                point.BeamLimitingDevicePositionSequence = [_moved("MLCX", [-1, -2, -3, 1, 2, 3])]
            points.append(point)
        beam.ControlPointSequence = points
        ds.BeamSequence.append(beam)
    return ds


def _moved(kind, positions):
    item = Dataset()
    item.RTBeamLimitingDeviceType, item.LeafJawPositions = kind, [str(p) for p in positions]
    return item


def dose_gy_at(x, y, z):
    """A dose that differs in every voxel."""
    return 40 + 0.3 * x + 0.2 * y + 0.5 * z


def expected_dose():
    x, y, z = axes()
    return dose_gy_at(x[None, None, :], y[None, :, None], z[:, None, None])


def dose(
    *, position="HFS", offsets="relative", bits=32, units="GY", kind="PHYSICAL", summation="PLAN", frame=FRAME,
    scale=1.0, plan_uid=PLAN_UID, beams=(), uid="1.2.3.40", feet_first=False,
):  # fmt: skip
    """Multi-frame RTDOSE; `feet_first` stores the planes from the head down."""
    orientation = ORIENTATION[position]
    (x0, y0), xs, ys = plane_geometry(orientation)
    z = axes()[2]
    z = z[::-1] if feet_first else z
    normal = np.cross(orientation[:3], orientation[3:])[2]
    ds = base(RTDOSE, uid, "RTDOSE", "1.2.3.41", frame)
    ds.DoseUnits, ds.DoseType, ds.DoseSummationType = units, kind, summation
    ds.ImagePositionPatient = [f"{x0:g}", f"{y0:g}", f"{z[0]:g}"]
    ds.ImageOrientationPatient = [str(v) for v in orientation]
    ds.PixelSpacing = [f"{SPACING[1]:g}", f"{SPACING[2]:g}"]
    ds.NumberOfFrames, ds.Rows, ds.Columns = len(z), *xs.shape
    ds.FrameIncrementPointer = 0x3004000C
    ds.GridFrameOffsetVector = [f"{v:g}" for v in (z if offsets == "absolute" else (z - z[0]) * normal)]
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit = bits - 1
    values = np.stack([dose_gy_at(xs, ys, plane) for plane in z]) * scale
    ds.DoseGridScaling = f"{values.max() * (1 + 1e-7) / (2**bits - 2):.8e}"
    ds.PixelData = np.round(values / float(ds.DoseGridScaling)).astype(f"<u{bits // 8}").tobytes()
    ds["PixelData"].VR = "OW"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = RTPLAN, plan_uid
    if beams:
        group = Dataset()
        group.ReferencedFractionGroupNumber = 1
        group.ReferencedBeamSequence = []
        for number in beams:
            item = Dataset()
            item.ReferencedBeamNumber = number
            group.ReferencedBeamSequence.append(item)
        reference.ReferencedFractionGroupSequence = [group]
    ds.ReferencedRTPlanSequence = [reference]
    return ds


def write(folder: Path, *datasets: Dataset, start: int = 0) -> Path:
    """Save under names that tell nothing, some of them in a subfolder."""
    for n, ds in enumerate(datasets, start):
        place = folder / "deep" / "er" if n % 3 == 1 else folder
        place.mkdir(parents=True, exist_ok=True)
        ds.save_as(place / f"{ds.Modality}{n * 7919 % 101:03d}.dcm", enforce_file_format=True)
    return folder

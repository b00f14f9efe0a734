"""A plan as an RT Plan."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import RTPlanStorage, RTStructureSetStorage

from tailort.dicom.reading_plans import PHASE_WORDS, same_machine_state
from tailort.dicom.writing import (
    RESEARCH_USE,
    clipped,
    decimal,
    decimals,
    new_object,
    new_uid,
    paragraph,
    reference,
    rt_series,
    save,
)
from tailort.errors import DicomError
from tailort.patient import Beam, ControlPoint, Normalisation, Person, Plan, Prescription, Scan, StructureSet
from tailort.physics.machine import Machine


def write_plan(
    plan: Plan,
    structures: StructureSet,
    person: Person,
    scan: Scan,
    path: Path,
    *,
    machine: Machine | None = None,
    seed: str | None = None,
    when: dt.datetime | None = None,
) -> Plan:
    """Write an RT Plan and return the plan with its UID.

    Parameters
    ----------
    plan : Plan
        Photon beams in the frame of reference of `scan`.
    structures : StructureSet
        As `write_structures` returned it: the plan refers to that RT Structure Set, prescriptions to its ROIs.
    person, scan : Person, Scan
        The patient and the planning CT.
    path : Path
        File to write.
    machine : Machine or None
        When given, its dose rate is written.
    seed : str or None
        Same seed, label and study, same UIDs; None makes fresh ones.
    when : datetime or None
        Time of creation; None is now.

    Notes
    -----
    A step-and-shoot beam has two control points a segment with one aperture (Beam Type STATIC). A prescription to
    D95%[Gy] is written as Target Prescription Dose with a Target Underdose Volume Fraction of 5; one to a point with
    the point's coordinates; others in words only.

    Raises
    ------
    DicomError
        When the structure set has no UID, or a prescription's target is not in it.
    OutputError
        When the file cannot be written.

    References
    ----------
    DICOM PS3.3 A.20 (RT plan), C.8.8.9 to C.8.8.14.
    """
    scan.image.grid.require_same_frame(plan.frame_of_reference, f"plan '{plan.label}'")
    if not structures.sop_instance_uid:
        raise DicomError(f"plan '{plan.label}' needs the UID of its structure set: write the structure set first")
    when = when or dt.datetime.now()
    date, time = when.strftime("%Y%m%d"), when.strftime("%H%M%S")
    label = clipped(plan.label, 16)
    uid = new_uid(seed, "RTPLAN", scan.study_uid, plan.label)
    ds = new_object(
        RTPlanStorage,
        uid,
        "RTPLAN",
        new_uid(seed, "RTPLAN series", scan.study_uid, plan.label),
        3,
        f"Plan {plan.label}",
        person,
        scan,
        when,
    )
    rt_series(ds)
    ds.RTPlanLabel = label
    ds.RTPlanName = clipped(plan.label, 64)
    ds.RTPlanDescription = RESEARCH_USE
    ds.RTPlanDate, ds.RTPlanTime = date, time
    ds.RTPlanGeometry = "PATIENT"
    if plan.intent:
        ds.PlanIntent = plan.intent
    ds.ReferencedStructureSetSequence = [reference(RTStructureSetStorage, structures.sop_instance_uid)]

    if plan.prescriptions:
        ds.PrescriptionDescription = paragraph("; ".join(_in_words(p) for p in plan.prescriptions), 1024)
        ds.DoseReferenceSequence = [
            _dose_reference(p, n, structures, new_uid(seed, "dose reference", scan.study_uid, plan.label, str(n)))
            for n, p in enumerate(plan.prescriptions, 1)
        ]
    setup = Dataset()
    setup.PatientSetupNumber = 1
    setup.PatientPosition = plan.patient_position
    setup.SetupTechnique = "ISOCENTRIC"
    ds.PatientSetupSequence = [setup]

    group = Dataset()
    group.FractionGroupNumber = 1
    group.NumberOfFractionsPlanned = plan.fractions
    group.NumberOfBeams = len(plan.beams)
    group.NumberOfBrachyApplicationSetups = 0
    group.ReferencedBeamSequence = []
    for beam in plan.beams:
        item = Dataset()
        item.ReferencedBeamNumber = beam.number
        item.BeamMeterset = decimal(beam.mu)
        group.ReferencedBeamSequence.append(item)
    ds.FractionGroupSequence = [group]
    ds.BeamSequence = [_beam(beam, machine) for beam in plan.beams]
    ds.ApprovalStatus = "UNAPPROVED"
    save(ds, path)
    return replace(plan, sop_instance_uid=uid)


def _in_words(prescription: Prescription) -> str:
    rule: Normalisation = prescription.normalisation
    how = {
        "coverage": f"{rule.metric} of {rule.structure or 'the target'}",
        "point": f"at the point {rule.point_mm} mm",
        "isodose": f"on the {rule.percent} % isodose",
        "depth": f"at {rule.depth_mm} mm depth",
    }[rule.kind]
    return (
        f"{prescription.target}: {prescription.dose_gy:g} Gy in {prescription.fractions} fractions, {how}"
        f"{PHASE_WORDS}{prescription.phase}"
    )


def _dose_reference(prescription: Prescription, number: int, structures: StructureSet, uid: str) -> Dataset:
    names = [name.lower() for name in structures.names]
    if prescription.target.lower() not in names:
        raise DicomError(
            f"the target '{prescription.target}' of the prescription is not in the structure set, which has: "
            f"{', '.join(structures.names)}"
        )
    rule = prescription.normalisation
    item = Dataset()
    item.DoseReferenceNumber = number
    item.DoseReferenceUID = uid
    if rule.kind == "point" and rule.point_mm is not None:
        item.DoseReferenceStructureType = "COORDINATES"
        item.DoseReferencePointCoordinates = decimals(rule.point_mm)
    else:
        item.DoseReferenceStructureType = "VOLUME"
        item.ReferencedROINumber = names.index(prescription.target.lower()) + 1
    item.DoseReferenceDescription = clipped(prescription.target, 64)
    item.DoseReferenceType = "TARGET"
    item.TargetPrescriptionDose = decimal(prescription.dose_gy)
    covered = _covered_percent(rule)
    if covered is not None:
        item.TargetUnderdoseVolumeFraction = decimal(100 - covered)
    return item


def _covered_percent(rule: Normalisation) -> float | None:
    """The 95 of D95%[Gy]; None for other rules."""
    if rule.kind != "coverage" or not rule.metric or not (rule.metric[0] == "D" and rule.metric.endswith("%[Gy]")):
        return None
    return float(rule.metric[1:].removesuffix("%[Gy]"))


def _beam(beam: Beam, machine: Machine | None) -> Dataset:
    points = beam.control_points if beam.dynamic else _stepped(beam.control_points)
    item = Dataset()
    item.BeamNumber = beam.number
    item.BeamName = clipped(beam.name, 64)
    item.BeamType = "DYNAMIC" if beam.dynamic else "STATIC"
    item.RadiationType = "PHOTON"
    fluence = Dataset()
    fluence.FluenceMode = "STANDARD" if beam.flattened else "NON_STANDARD"
    if not beam.flattened:
        fluence.FluenceModeID = "FFF"
    item.PrimaryFluenceModeSequence = [fluence]
    item.TreatmentMachineName = clipped(beam.machine, 16)
    item.PrimaryDosimeterUnit = "MU"
    item.SourceAxisDistance = decimal(beam.source_axis_distance_mm)
    devices = [_device("ASYMX", 1), _device("ASYMY", 1)]
    if len(beam.leaf_boundaries_mm) > 1:
        leaves = _device("MLCX", len(beam.leaf_boundaries_mm) - 1)
        leaves.LeafPositionBoundaries = decimals(beam.leaf_boundaries_mm)
        devices.append(leaves)
    item.BeamLimitingDeviceSequence = devices
    item.ReferencedPatientSetupNumber = 1
    item.TreatmentDeliveryType = "TREATMENT"
    item.NumberOfWedges = item.NumberOfCompensators = item.NumberOfBoli = item.NumberOfBlocks = 0
    item.FinalCumulativeMetersetWeight = "1"
    item.NumberOfControlPoints = len(points)
    item.ControlPointSequence = []
    total = points[-1].mu
    for n, point in enumerate(points):
        before = points[n - 1] if n else None
        after = points[n + 1] if n + 1 < len(points) else None
        entry = Dataset()
        entry.ControlPointIndex = n
        share = point.mu / total if total > 0 else n / (len(points) - 1)
        entry.CumulativeMetersetWeight = decimal(share) if after is not None else "1"
        if before is None:
            entry.NominalBeamEnergy = decimal(beam.energy_mv)
            if machine is not None:
                entry.DoseRateSet = decimal(machine.max_mu_per_minute)
        if before is None or not same_machine_state(before, point):
            entry.BeamLimitingDevicePositionSequence = _positions(point)
        _angles(entry, before, point, after)
        if before is None:
            entry.IsocenterPosition = decimals(beam.isocentre_mm)
        item.ControlPointSequence.append(entry)
    return item


def _device(kind: str, pairs: int) -> Dataset:
    device = Dataset()
    device.RTBeamLimitingDeviceType = kind
    device.NumberOfLeafJawPairs = pairs
    return device


def _positions(point: ControlPoint) -> list[Dataset]:
    found = []
    leaves = None if point.leaves_mm is None else point.leaves_mm.ravel().tolist()
    for kind, values in (("ASYMX", point.jaws_x_mm), ("ASYMY", point.jaws_y_mm), ("MLCX", leaves)):
        if values is not None:
            device = Dataset()
            device.RTBeamLimitingDeviceType = kind
            device.LeafJawPositions = decimals(values)
            found.append(device)
    return found


def _angles(entry: Dataset, before: ControlPoint | None, point: ControlPoint, after: ControlPoint | None) -> None:
    """Angles, and which way they turn to the next control point; the first control point has them all."""
    for keyword, turns, angle in (
        ("GantryAngle", "GantryRotationDirection", "gantry_deg"),
        ("BeamLimitingDeviceAngle", "BeamLimitingDeviceRotationDirection", "collimator_deg"),
        ("PatientSupportAngle", "PatientSupportRotationDirection", "couch_deg"),
    ):
        here = float(getattr(point, angle))
        turn = _direction(here, float(getattr(after, angle)) if after is not None else here)
        came = _direction(float(getattr(before, angle)), here) if before is not None else ""
        if before is None or came != "NONE" or turn != came:
            setattr(entry, keyword, decimal(here % 360, 4))
            setattr(entry, turns, turn)
    if before is None:
        entry.TableTopEccentricAngle, entry.TableTopEccentricRotationDirection = "0", "NONE"
        entry.TableTopPitchAngle, entry.TableTopPitchRotationDirection = 0.0, "NONE"
        entry.TableTopRollAngle, entry.TableTopRollRotationDirection = 0.0, "NONE"
        entry.TableTopVerticalPosition = entry.TableTopLongitudinalPosition = entry.TableTopLateralPosition = None


def _direction(start_deg: float, end_deg: float) -> str:
    turn = (end_deg - start_deg + 180) % 360 - 180
    if abs(turn) < 1e-6:
        return "NONE"
    return "CW" if turn > 0 else "CC"


def _stepped(points: Sequence[ControlPoint]) -> tuple[ControlPoint, ...]:
    """Control points of step and shoot in which nothing moves while MU are delivered.

    A segment that runs from `before` to `after` has the aperture of `before`.
    """
    found = [points[0]]
    for before, after in pairwise(points):
        if after.mu - before.mu > 1e-9 and not same_machine_state(before, after):
            found.append(replace(before, mu=after.mu))
        found.append(after)
    # An aperture that gets no MU at the end would only move leaves after the beam.
    while len(found) > 2 and found[-1].mu - found[-2].mu <= 1e-9:
        found.pop()
    return tuple(found)

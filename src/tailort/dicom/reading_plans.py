"""RT Plans as plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tailort.dicom.files import DAMAGED, DicomFile
from tailort.errors import DicomError, InputError
from tailort.geometry import PatientPosition
from tailort.patient import Beam, ControlPoint, Normalisation, Plan, Prescription, Scan, StructureSet
from tailort.patient.plan import Pair

# Wider than any photon field: stands for jaws that the machine does not have.
NO_JAW_MM = 200.0
_MODIFIERS = {
    "NumberOfWedges": "a wedge",
    "NumberOfBlocks": "a block",
    "NumberOfCompensators": "a compensator",
    "NumberOfBoli": "a bolus",
}
_LEVEL_ANGLES = ("TableTopEccentricAngle", "TableTopPitchAngle", "TableTopRollAngle", "GantryPitchAngle")


class _NotCoveredError(Exception):
    """What the record of a plan cannot hold; the text completes 'plan ... was left out: '."""


@dataclass(frozen=True, eq=False)
class ReadPlan:
    """What could be read of an RT Plan.

    Parameters
    ----------
    uid, label : str
        SOP Instance UID and plan label.
    plan : Plan or None
        None when it cannot be held in the record (another radiation, a wedge); `notes` say why.
    fractions : int or None
        Planned fractions; None when the file does not tell.
    target_doses_gy : tuple of float
        Distinct target prescription doses, Gy per course, descending.
    beam_numbers : tuple of int
        Beams with a meterset.
    notes : tuple of str
        What was noticed.
    """

    uid: str
    label: str
    plan: Plan | None
    fractions: int | None
    target_doses_gy: tuple[float, ...]
    beam_numbers: tuple[int, ...]
    notes: tuple[str, ...]


def read_plan(file: DicomFile, ct: Scan, structures: StructureSet, name_of_roi: Mapping[int, str]) -> ReadPlan:
    """Read an RT Plan with photon beams; others are noted.

    Values that a control point leaves out are those of the one before; MU are Beam Meterset times cumulative weight
    over the final one. A beam is dynamic when jaws, leaves, gantry, collimator or couch move while MU are delivered.

    Raises
    ------
    DicomError
        When the plan is in another frame of reference than the CT, or the file cannot be read.

    References
    ----------
    DICOM PS3.3 C.8.8.9 to C.8.8.14 (RT plan, prescription, setup, fraction scheme, beams), C.8.8.14.1 (meterset).
    """
    header = file.header
    label = file.text("RTPlanLabel") or file.path.name
    frame = file.frame_of_reference
    if frame and frame != ct.image.grid.frame_of_reference:
        raise DicomError(
            f"plan '{label}' ('{file.path.name}') is in frame of reference {frame}, the CT in "
            f"{ct.image.grid.frame_of_reference}: give the plan that was made on this CT"
        )
    notes: list[str] = []
    try:
        groups = list(header.get("FractionGroupSequence") or [])
        fractions = _fractions(groups)
        prescribed = _prescribed(header)
        beam_numbers = tuple(number for number, _ in _metersets(groups))
        plan: Plan | None = None
        try:
            plan = _plan(file, ct, structures, name_of_roi, label, groups, fractions, notes)
        except (_NotCoveredError, InputError) as reason:
            notes.append(f"plan '{label}' was left out: {reason}")
    except DAMAGED as error:
        raise DicomError(f"file '{file.path}' is not a readable RT Plan ({error})") from error
    return ReadPlan(file.sop_instance_uid, label, plan, fractions, prescribed, beam_numbers, tuple(notes))


def _fractions(groups: list[Dataset]) -> int | None:
    if len(groups) != 1 or not groups[0].get("NumberOfFractionsPlanned"):
        return None
    return int(groups[0].NumberOfFractionsPlanned)


def _metersets(groups: list[Dataset]) -> list[tuple[int, float]]:
    return [
        (int(item.ReferencedBeamNumber), float(item.BeamMeterset))
        for group in groups
        for item in group.get("ReferencedBeamSequence") or []
        if item.get("BeamMeterset") is not None
    ]


def _prescribed(header: Dataset) -> tuple[float, ...]:
    doses = {
        float(item.TargetPrescriptionDose)
        for item in header.get("DoseReferenceSequence") or []
        if item.get("DoseReferenceType") == "TARGET" and item.get("TargetPrescriptionDose")
    }
    return tuple(sorted(doses, reverse=True))


def _plan(
    file: DicomFile,
    ct: Scan,
    structures: StructureSet,
    name_of_roi: Mapping[int, str],
    label: str,
    groups: list[Dataset],
    fractions: int | None,
    notes: list[str],
) -> Plan:
    header = file.header
    if any(group.get("NumberOfBrachyApplicationSetups") for group in groups):
        raise _NotCoveredError("it is brachytherapy, and only photon beams are read")
    if len(groups) != 1:
        raise _NotCoveredError(f"it has {len(groups)} fraction groups, and only plans with one are read")
    if fractions is None:
        raise _NotCoveredError("it does not tell its number of fractions")
    metersets = dict(_metersets(groups))
    beams: list[Beam] = []
    for item in header.get("BeamSequence") or []:
        kind = str(item.get("TreatmentDeliveryType", "TREATMENT") or "TREATMENT")
        if kind not in ("TREATMENT", "CONTINUATION"):
            notes.append(f"plan '{label}': {kind} beam '{_name(item)}' was skipped")
            continue
        if int(item.BeamNumber) not in metersets:
            raise _NotCoveredError(f"beam '{_name(item)}' has no Beam Meterset")
        beams.append(_beam(item, metersets[int(item.BeamNumber)], notes, label))
    if not beams:
        raise _NotCoveredError("it has no treatment beams")
    intent = str(header.get("PlanIntent", "") or "")
    return Plan(
        label=label,
        beams=tuple(beams),
        prescriptions=_prescriptions(header, fractions, structures, name_of_roi, label, notes),
        fractions=fractions,
        patient_position=_position(header, ct, label, notes),
        frame_of_reference=ct.image.grid.frame_of_reference,
        sop_instance_uid=file.sop_instance_uid,
        intent=cast(Literal["CURATIVE", "PALLIATIVE", "RESEARCH", ""], intent if intent in _INTENTS else ""),
    )


_INTENTS = ("CURATIVE", "PALLIATIVE", "RESEARCH")


def _name(item: Dataset) -> str:
    return str(item.get("BeamName", "") or f"beam {item.get('BeamNumber', '?')}")


def _position(header: Dataset, ct: Scan, label: str, notes: list[str]) -> PatientPosition:
    told = {str(setup.get("PatientPosition", "") or "") for setup in header.get("PatientSetupSequence") or []} - {""}
    if not told:
        notes.append(f"plan '{label}' does not tell the patient's position; {ct.patient_position} of the CT holds")
        return ct.patient_position
    if len(told) > 1 or not told <= set(get_args(PatientPosition)):
        raise _NotCoveredError(f"its patient positions are {', '.join(sorted(told))}")
    position = told.pop()
    if position != ct.patient_position:
        notes.append(f"plan '{label}' is for a patient lying {position}, the CT was taken {ct.patient_position}")
    return cast(PatientPosition, position)


def _beam(item: Dataset, meterset: float, notes: list[str], label: str) -> Beam:
    name = _name(item)
    radiation = str(item.get("RadiationType", "") or "")
    if radiation != "PHOTON":
        raise _NotCoveredError(f"beam '{name}' is {radiation or 'of an unknown radiation'}, and only photons are read")
    unit = str(item.get("PrimaryDosimeterUnit", "MU") or "MU")
    if unit != "MU":
        raise _NotCoveredError(f"beam '{name}' counts in {unit}, not in MU")
    for keyword, what in _MODIFIERS.items():
        if int(item.get(keyword, 0) or 0):
            raise _NotCoveredError(f"beam '{name}' has {what}")
    devices = {str(device.RTBeamLimitingDeviceType): device for device in item.get("BeamLimitingDeviceSequence") or []}
    unknown = set(devices) - {"X", "Y", "ASYMX", "ASYMY", "MLCX"}
    if unknown:
        raise _NotCoveredError(f"beam '{name}' has the beam limiting device {', '.join(sorted(unknown))}")
    for axis in "XY":
        if axis not in devices and f"ASYM{axis}" not in devices:
            notes.append(f"plan '{label}', beam '{name}' has no {axis} jaws, read as open to {NO_JAW_MM:g} mm")
    boundaries: NDArray[np.float64] = np.zeros(0)
    upside_down = False
    if "MLCX" in devices:
        boundaries = np.array(devices["MLCX"].LeafPositionBoundaries, dtype=float)
        upside_down = bool(boundaries[0] > boundaries[-1])
        boundaries = boundaries[::-1] if upside_down else boundaries
    points = list(item.ControlPointSequence)
    final = float(item.get("FinalCumulativeMetersetWeight") or points[-1].CumulativeMetersetWeight)
    if final <= 0:
        raise _NotCoveredError(f"beam '{name}' has the final cumulative meterset weight {final:g}")

    state: dict[str, Any] = {}
    isocentres: list[tuple[float, ...]] = []
    control_points: list[ControlPoint] = []
    for point in points:
        _carry_forward(state, point, name)
        isocentre = state.get("IsocenterPosition")
        if isocentre is None:
            raise _NotCoveredError(f"beam '{name}' has no isocentre")
        isocentres.append(tuple(float(v) for v in isocentre))
        for keyword in ("GantryAngle", "BeamLimitingDeviceAngle", "PatientSupportAngle"):
            if keyword not in state:
                raise _NotCoveredError(f"beam '{name}' has no {keyword}")
        leaves = state.get("MLCX")
        if leaves is not None:
            leaves = np.array(leaves, dtype=float).reshape(2, -1)
            leaves = leaves[:, ::-1] if upside_down else leaves
        control_points.append(
            ControlPoint(
                mu=meterset * float(point.CumulativeMetersetWeight) / final,
                gantry_deg=float(state["GantryAngle"]),
                collimator_deg=float(state["BeamLimitingDeviceAngle"]),
                couch_deg=float(state["PatientSupportAngle"]),
                jaws_x_mm=_jaws(state, "X"),
                jaws_y_mm=_jaws(state, "Y"),
                leaves_mm=leaves,
            )
        )
    if not np.allclose(isocentres, isocentres[0], atol=0.01):
        raise _NotCoveredError(f"the isocentre of beam '{name}' moves during the beam")
    if state.get("NominalBeamEnergy") is None:
        raise _NotCoveredError(f"beam '{name}' has no nominal energy")
    if item.get("SourceAxisDistance") is None:
        raise _NotCoveredError(f"beam '{name}' has no SourceAxisDistance")
    x, y, z = isocentres[0]
    return Beam(
        name=name,
        number=int(item.BeamNumber),
        machine=str(item.get("TreatmentMachineName", "") or ""),
        energy_mv=float(state["NominalBeamEnergy"]),
        flattened=_flattened(item, name),
        isocentre_mm=(x, y, z),
        leaf_boundaries_mm=tuple(float(b) for b in boundaries),
        control_points=tuple(control_points),
        dynamic=any(b.mu - a.mu > 1e-9 and not same_machine_state(a, b) for a, b in pairwise(control_points)),
        source_axis_distance_mm=float(item.SourceAxisDistance),
    )


def _carry_forward(state: dict[str, Any], point: Dataset, name: str) -> None:
    for keyword in (
        "GantryAngle", "BeamLimitingDeviceAngle", "PatientSupportAngle", "IsocenterPosition", "NominalBeamEnergy",
    ):  # fmt: skip
        value = point.get(keyword)
        if value is not None:
            if keyword == "NominalBeamEnergy" and state.get(keyword, float(value)) != float(value):
                raise _NotCoveredError(f"the energy of beam '{name}' changes during the beam")
            state[keyword] = value
    for keyword in _LEVEL_ANGLES:
        if abs(float(point.get(keyword) or 0.0)) > 0.01:
            raise _NotCoveredError(f"beam '{name}' has {keyword} {float(point.get(keyword)):g} degrees")
    for device in point.get("BeamLimitingDevicePositionSequence") or []:
        kind = str(device.RTBeamLimitingDeviceType)
        state[kind.removeprefix("ASYM")] = device.LeafJawPositions


def _jaws(state: dict[str, Any], axis: str) -> Pair:
    low, high = state.get(axis, (-NO_JAW_MM, NO_JAW_MM))
    return float(low), float(high)


def same_machine_state(a: ControlPoint, b: ControlPoint) -> bool:
    """Whether two control points differ in MU only."""
    angles = ((a.gantry_deg, b.gantry_deg), (a.collimator_deg, b.collimator_deg), (a.couch_deg, b.couch_deg))
    leaves = (a.leaves_mm is None and b.leaves_mm is None) or (
        a.leaves_mm is not None and b.leaves_mm is not None and np.allclose(a.leaves_mm, b.leaves_mm, rtol=0, atol=1e-3)
    )
    return (
        leaves
        and all(abs((p - q + 180) % 360 - 180) < 1e-3 for p, q in angles)
        and np.allclose([a.jaws_x_mm, a.jaws_y_mm], [b.jaws_x_mm, b.jaws_y_mm], rtol=0, atol=1e-3)
    )


def _flattened(item: Dataset, name: str) -> bool:
    fluence = item.get("PrimaryFluenceModeSequence")
    if not fluence or str(fluence[0].get("FluenceMode", "STANDARD")) == "STANDARD":
        return True
    mode = str(fluence[0].get("FluenceModeID", "") or "")
    if mode.upper() != "FFF":
        raise _NotCoveredError(f"beam '{name}' has the non-standard fluence mode '{mode}'")
    return False


def _prescriptions(
    header: Dataset,
    fractions: int,
    structures: StructureSet,
    name_of_roi: Mapping[int, str],
    label: str,
    notes: list[str],
) -> tuple[Prescription, ...]:
    found: list[Prescription] = []
    drawn = [str(item.ReferencedSOPInstanceUID) for item in header.get("ReferencedStructureSetSequence") or []]
    if drawn and structures.sop_instance_uid not in drawn:
        notes.append(f"plan '{label}' was made with a structure set that is not in the folder ({drawn[0]})")
        name_of_roi = {}
    for item in header.get("DoseReferenceSequence") or []:
        if item.get("DoseReferenceType") != "TARGET" or not item.get("TargetPrescriptionDose"):
            continue
        dose_gy = float(item.TargetPrescriptionDose)
        number = item.get("ReferencedROINumber")
        told = str(item.get("DoseReferenceDescription", "") or "").strip()
        target = name_of_roi.get(int(number), "") if number is not None else (told if told in structures else "")
        if not target:
            notes.append(
                f"plan '{label}': {dose_gy:g} Gy are prescribed to '{told}', which is no structure of the case"
            )
            continue
        point = item.get("DoseReferencePointCoordinates")
        under = item.get("TargetUnderdoseVolumeFraction")
        if point is not None and len(point) == 3:
            x, y, z = (float(v) for v in point)
            normalisation = Normalisation("point", point_mm=(x, y, z))
        elif under is not None:
            normalisation = Normalisation("coverage", metric=f"D{100 - float(under):g}%[Gy]")
        else:
            notes.append(
                f"plan '{label}' does not tell how {dose_gy:g} Gy to '{target}' are normalised; read as its median dose"
            )
            normalisation = Normalisation("coverage", metric="D50%[Gy]")
        found.append(Prescription(target, dose_gy, fractions, normalisation))
    return tuple(found)

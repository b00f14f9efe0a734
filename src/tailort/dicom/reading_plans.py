"""RT Plans as plans."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from tailort.dicom.files import DAMAGED, DicomFile
from tailort.dicom.writing import MANUFACTURER
from tailort.errors import DicomError, InputError
from tailort.geometry import PatientPosition
from tailort.patient import Beam, ControlPoint, Normalisation, Plan, Prescription, Scan, StructureSet
from tailort.patient.plan import Pair

# How our own files tell the phase of a prescription.
PHASE_WORDS = ", phase "
# Wider than any photon field: stands for jaws that the machine does not have.
NO_JAW_MM = 200.0
# How many there are, the sequence that describes them, what names one of them, and what it is.
_MODIFIERS = (
    ("NumberOfWedges", "WedgeSequence", "WedgeID", "a wedge"),
    ("NumberOfBlocks", "BlockSequence", "BlockName", "a block"),
    ("NumberOfCompensators", "CompensatorSequence", "CompensatorID", "a compensator"),
    ("", "ApplicatorSequence", "ApplicatorID", "an applicator"),
)
_JAWS = ("X", "Y", "ASYMX", "ASYMY")
# Jaws that touch may be told a little across each other, mm.
_TOUCHING_MM = 0.01
# An arc between two control points is divided into steps no longer than this, degrees.
_ARC_STEP_DEG = 10.0
_TABLE_POSITIONS = ("TableTopVerticalPosition", "TableTopLongitudinalPosition", "TableTopLateralPosition")
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
    An arc between two control points far apart goes the way that Gantry Rotation Direction says, with control points
    added on it. A plan with a wedge, block, compensator or applicator, with another radiation, or whose control points
    do not add up, is left out whole, with the reason: a part of a plan is no plan.

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
        if file.text("ApprovalStatus") == "REJECTED":
            notes.append(f"plan '{label}' is marked as rejected")
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
    if str(header.get("RTPlanGeometry", "") or "") == "TREATMENT_DEVICE":
        raise _NotCoveredError(
            "its geometry is that of the treatment device, without a patient; give a plan made on the CT"
        )
    metersets = dict(_metersets(groups))
    items = list(header.get("BeamSequence") or [])
    numbers = [int(item.BeamNumber) for item in items]
    if len(set(numbers)) < len(numbers):
        raise _NotCoveredError(f"several of its beams have one number: {', '.join(map(str, sorted(numbers)))}")
    absent = sorted(set(metersets) - set(numbers))
    if absent:
        raise _NotCoveredError(f"it has MU for beam number {', '.join(map(str, absent))}, which is not in the file")
    beams: list[Beam] = []
    boli: dict[str, set[str]] = {}
    for item in items:
        kind = str(item.get("TreatmentDeliveryType", "TREATMENT") or "TREATMENT")
        if kind not in ("TREATMENT", "CONTINUATION"):
            notes.append(f"plan '{label}': {kind} beam '{_name(item)}' was skipped")
            continue
        if int(item.BeamNumber) not in metersets:
            raise _NotCoveredError(f"beam '{_name(item)}' has no Beam Meterset, so its MU are unknown")
        beams.append(_beam(item, metersets[int(item.BeamNumber)], notes, label))
        boli[beams[-1].name] = _boli(item, structures, name_of_roi)
        _require_within(beams[-1], ct)
    if not beams:
        raise _NotCoveredError("it has no treatment beams")
    _require_same_boli(boli)
    unused = {s.name for s in structures if s.role == "BOLUS" and not s.is_empty} - set().union(*boli.values())
    if unused:
        notes.append(
            f"plan '{label}': no beam names bolus '{min(unused)}', which is drawn; a dose computed here includes it"
        )
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


def _boli(item: Dataset, structures: StructureSet, name_of_roi: Mapping[int, str]) -> set[str]:
    """Names of the boli that a beam passes."""
    named: set[str] = set()
    for bolus in item.get("ReferencedBolusSequence") or []:
        number = bolus.get("ReferencedROINumber")
        found = structures.find(name_of_roi.get(int(number), "")) if number is not None else None
        if found is None or found.role != "BOLUS":
            what = "no structure" if found is None else f"'{found.name}', a structure of type {found.role}"
            raise _NotCoveredError(f"beam '{_name(item)}' has a bolus that is {what} of the case; expected type BOLUS")
        named.add(found.name)
    if int(item.get("NumberOfBoli", 0) or 0) > len(named):
        raise _NotCoveredError(f"beam '{_name(item)}' has a bolus that names no structure")
    return named


def _require_same_boli(boli: Mapping[str, set[str]]) -> None:
    """Refuse a bolus that only some beams pass: the patient's density is one for all."""
    everything = set().union(*boli.values())
    for beam, named in boli.items():
        if named != everything:
            raise _NotCoveredError(
                f"beam '{beam}' does not pass bolus '{min(everything - named)}' as other beams do; plans whose beams "
                "differ in bolus are not supported"
            )


def _require_within(beam: Beam, ct: Scan) -> None:
    """Refuse an isocentre outside the CT."""
    low, high = ct.image.grid.faces_mm()
    beyond = float(np.maximum(low - beam.isocentre_mm, np.asarray(beam.isocentre_mm) - high).max())
    if beyond > 0:
        at = ", ".join(f"{v:g}" for v in beam.isocentre_mm)
        raise _NotCoveredError(
            f"the isocentre of beam '{beam.name}' ({at} mm) lies {beyond:.0f} mm outside the CT; give the CT on which "
            "the plan was made"
        )


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
        what = f"of radiation {radiation}, which is unsupported" if radiation else "of an unknown radiation"
        raise _NotCoveredError(f"beam '{name}' is {what}; only photon beams are computed and read")
    unit = str(item.get("PrimaryDosimeterUnit", "MU") or "MU")
    if unit != "MU":
        raise _NotCoveredError(f"beam '{name}' counts in {unit}, not in MU")
    _require_bare(item, name)
    if not meterset > 0:
        raise _NotCoveredError(f"beam '{name}' has {meterset:g} MU; expected more than 0")
    devices = _devices(item, name)
    for axis in "XY":
        if axis not in devices and f"ASYM{axis}" not in devices:
            notes.append(f"plan '{label}', beam '{name}' has no {axis} jaws, read as open to {NO_JAW_MM:g} mm")
    boundaries, upside_down = _leaf_boundaries(devices.get("MLCX"), name)
    points = list(item.get("ControlPointSequence") or [])
    weights = _weights(item, points, name)

    state: dict[str, Any] = {}
    isocentres: list[tuple[float, ...]] = []
    control_points: list[ControlPoint] = []
    turning: list[str] = []
    for index, point in enumerate(points):
        _carry_forward(state, point, name, devices)
        if index == 0:
            unset = sorted(kind for kind in devices if kind.removeprefix("ASYM") not in state)
            if unset:
                raise _NotCoveredError(
                    f"beam '{name}' has {', '.join(unset)} without positions in its first control point"
                )
        isocentre = state.get("IsocenterPosition")
        if isocentre is None:
            raise _NotCoveredError(f"beam '{name}' has no isocentre")
        isocentres.append(tuple(float(v) for v in isocentre))
        for keyword in ("GantryAngle", "BeamLimitingDeviceAngle", "PatientSupportAngle"):
            if keyword not in state:
                raise _NotCoveredError(f"beam '{name}' has no {keyword}")
        leaves = state.get("MLCX")
        if leaves is not None:
            leaves = _leaves(leaves, len(boundaries) - 1, upside_down, f"beam '{name}', control point {index}")
        turning.append(str(state.get("GantryRotationDirection", "") or ""))
        control_points.append(
            ControlPoint(
                mu=meterset * weights[index] / weights[-1],
                gantry_deg=float(state["GantryAngle"]),
                collimator_deg=float(state["BeamLimitingDeviceAngle"]),
                couch_deg=float(state["PatientSupportAngle"]),
                jaws_x_mm=_jaws(state, "X", name, index),
                jaws_y_mm=_jaws(state, "Y", name, index),
                leaves_mm=leaves,
            )
        )
    control_points = _on_the_way(control_points, turning, name)
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


def _require_bare(item: Dataset, name: str) -> None:
    """Refuse what stands in the beam and has no model."""
    for count, sequence, identity, what in _MODIFIERS:
        listed = item.get(sequence) or []
        if not listed and not int(item.get(count, 0) or 0):
            continue
        told = ", ".join(f"'{part.get(identity)}'" for part in listed if part.get(identity))
        kinds = {str(part.get("WedgeType", "") or "") for part in listed} - {""}
        kind = f" ({', '.join(sorted(kinds))})" if kinds else ""
        raise _NotCoveredError(f"beam '{name}' has {what}{' ' + told if told else ''}{kind}, which is unsupported")


def _devices(item: Dataset, name: str) -> dict[str, Dataset]:
    """Jaws and leaves by type; what has no model is refused."""
    devices: dict[str, Dataset] = {}
    for device in item.get("BeamLimitingDeviceSequence") or []:
        kind = str(device.RTBeamLimitingDeviceType)
        if kind not in (*_JAWS, "MLCX"):
            why = " (leaves that move along y)" if kind == "MLCY" else ""
            raise _NotCoveredError(f"beam '{name}' has the beam limiting device {kind}{why}, which is unsupported")
        if kind.removeprefix("ASYM") in {known.removeprefix("ASYM") for known in devices}:
            raise _NotCoveredError(
                f"beam '{name}' has two beam limiting devices {kind.removeprefix('ASYM')}; only one is supported"
            )
        devices[kind] = device
    return devices


def _leaf_boundaries(device: Dataset | None, name: str) -> tuple[NDArray[np.float64], bool]:
    """Edges of the leaves, ascending, and whether the file has them descending; empty without leaves."""
    if device is None:
        return np.zeros(0), False
    boundaries = np.array(device.get("LeafPositionBoundaries") or [], dtype=float)
    pairs = int(device.get("NumberOfLeafJawPairs", 0) or 0)
    if len(boundaries) < 2 or (pairs and len(boundaries) != pairs + 1):
        raise _NotCoveredError(
            f"beam '{name}' has {len(boundaries)} leaf boundaries for {pairs} leaf pairs; expected {pairs + 1}"
        )
    upside_down = bool(boundaries[0] > boundaries[-1])
    ascending = boundaries[::-1] if upside_down else boundaries
    if (np.diff(ascending) <= 0).any():
        raise _NotCoveredError(f"the leaf boundaries of beam '{name}' do not ascend")
    return ascending, upside_down


def _weights(item: Dataset, points: Sequence[Dataset], name: str) -> list[float]:
    """Cumulative meterset weights of a beam that starts at 0, never falls and ends where it says."""
    said = int(item.get("NumberOfControlPoints", 0) or 0)
    if len(points) < 2 or (said and said != len(points)):
        raise _NotCoveredError(f"beam '{name}' has {len(points)} control points; expected {max(said, 2)}")
    weights: list[float] = []
    for index, point in enumerate(points):
        weight = point.get("CumulativeMetersetWeight")
        if weight is None:
            raise _NotCoveredError(f"control point {index} of beam '{name}' has no Cumulative Meterset Weight")
        weights.append(float(weight))
    if abs(weights[0]) > 1e-9 or any(b < a - 1e-9 for a, b in pairwise(weights)):
        raise _NotCoveredError(f"the cumulative meterset weights of beam '{name}' do not rise from 0")
    last = item.get("FinalCumulativeMetersetWeight")
    final = weights[-1] if last is None else float(last)
    if final <= 0 or abs(weights[-1] - final) > 1e-4 * final:
        raise _NotCoveredError(
            f"the control points of beam '{name}' end at a cumulative meterset weight of {weights[-1]:g}, the beam at "
            f"{final:g}: a part of its MU is not described"
        )
    return weights


def _leaves(positions: Any, pairs: int, upside_down: bool, where: str) -> NDArray[np.float64]:
    """Leaf ends, bank X1 and bank X2, from the lowest leaf to the highest, mm."""
    flat = np.array(positions, dtype=float).reshape(-1)
    if len(flat) != 2 * pairs:
        raise _NotCoveredError(f"{where} has {len(flat)} leaf positions for {pairs} leaf pairs; expected {2 * pairs}")
    leaves = flat.reshape(2, -1)
    leaves = leaves[:, ::-1] if upside_down else leaves
    across = leaves[0] - leaves[1]
    if (across > 1e-6).any():
        pair = int(np.argmax(across))
        raise _NotCoveredError(
            f"{where}: leaf pair {pair + 1} overlaps its partner by {across[pair]:g} mm "
            f"({leaves[0, pair]:g} and {leaves[1, pair]:g} mm)"
        )
    return leaves


def _on_the_way(points: list[ControlPoint], turning: Sequence[str], name: str) -> list[ControlPoint]:
    """Control points with further ones on arcs that are told by their ends and their direction."""
    kept = [points[0]]
    for before, after, direction in zip(points, points[1:], turning, strict=False):
        turn = _turn_deg(before.gantry_deg, after.gantry_deg, direction)
        if abs(turn) > 180.0 and len(points) > 2:
            raise _NotCoveredError(
                f"beam '{name}' turns from gantry {before.gantry_deg:g} to {after.gantry_deg:g} degrees, and its "
                f"direction {direction} is the long way of {abs(turn):g} degrees: angles and direction contradict"
            )
        pieces = int(np.ceil(abs(turn) / _ARC_STEP_DEG)) if after.mu - before.mu > 1e-9 else 1
        kept += [_between(before, after, turn, n / pieces) for n in range(1, pieces)]
        kept.append(after)
    return kept


def _turn_deg(before_deg: float, after_deg: float, direction: str) -> float:
    """Angle by which the gantry turns, clockwise positive; the shorter way where no direction is told."""
    shorter = (after_deg - before_deg + 180.0) % 360.0 - 180.0
    if abs(shorter) < 0.5:
        return shorter
    if direction == "CW":
        return (after_deg - before_deg) % 360.0
    if direction == "CC":
        return -((before_deg - after_deg) % 360.0)
    return shorter


def _between(before: ControlPoint, after: ControlPoint, turn_deg: float, part: float) -> ControlPoint:
    """The machine on its way between two control points, everything moving evenly."""

    def of(a: float, b: float) -> float:
        return a + part * (b - a)

    def angle(a: float, b: float) -> float:
        return (a + part * ((b - a + 180.0) % 360.0 - 180.0)) % 360.0

    leaves = None
    if before.leaves_mm is not None and after.leaves_mm is not None:
        leaves = before.leaves_mm + part * (after.leaves_mm - before.leaves_mm)
    return ControlPoint(
        of(before.mu, after.mu),
        (before.gantry_deg + part * turn_deg) % 360.0,
        angle(before.collimator_deg, after.collimator_deg),
        angle(before.couch_deg, after.couch_deg),
        (of(before.jaws_x_mm[0], after.jaws_x_mm[0]), of(before.jaws_x_mm[1], after.jaws_x_mm[1])),
        (of(before.jaws_y_mm[0], after.jaws_y_mm[0]), of(before.jaws_y_mm[1], after.jaws_y_mm[1])),
        leaves,
    )


def _carry_forward(state: dict[str, Any], point: Dataset, name: str, devices: Mapping[str, Dataset]) -> None:
    for keyword in (
        "GantryAngle", "GantryRotationDirection", "BeamLimitingDeviceAngle", "PatientSupportAngle", "IsocenterPosition",
        "NominalBeamEnergy",
    ):  # fmt: skip
        value = point.get(keyword)
        if value is not None:
            if keyword == "NominalBeamEnergy" and state.get(keyword, float(value)) != float(value):
                raise _NotCoveredError(f"the energy of beam '{name}' changes during the beam")
            state[keyword] = value
    for keyword in _LEVEL_ANGLES:
        if abs(float(point.get(keyword) or 0.0)) > 0.01:
            raise _NotCoveredError(f"beam '{name}' has {keyword} {float(point.get(keyword)):g} degrees")
    for keyword in _TABLE_POSITIONS:
        if point.get(keyword) is None:
            continue
        place = float(point.get(keyword))
        if abs(state.setdefault(keyword, place) - place) > 0.1:
            raise _NotCoveredError(f"the couch moves during beam '{name}' ({keyword}), which is unsupported")
    for device in point.get("BeamLimitingDevicePositionSequence") or []:
        kind = str(device.RTBeamLimitingDeviceType)
        if kind not in devices:
            raise _NotCoveredError(
                f"beam '{name}' has positions of {kind}, which is none of its beam limiting devices "
                f"({', '.join(devices) or 'it has none'})"
            )
        state[kind.removeprefix("ASYM")] = device.LeafJawPositions


def _jaws(state: dict[str, Any], axis: str, name: str, index: int) -> Pair:
    positions = [float(v) for v in state.get(axis, (-NO_JAW_MM, NO_JAW_MM))]
    if len(positions) != 2 or positions[0] > positions[1] + _TOUCHING_MM:
        told = " and ".join(f"{v:g}" for v in positions)
        raise _NotCoveredError(
            f"beam '{name}', control point {index}: {axis} jaws at {told} mm overlap; expected {axis}1 below {axis}2"
        )
    return positions[0], max(positions)


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
    phase = _phase(header)
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
        found.append(Prescription(target, dose_gy, fractions, normalisation, phase))
    return tuple(found)


def _phase(header: Dataset) -> int:
    """Phase of the course that a plan is for: DICOM has no field for it, and only our own files tell it in words."""
    if header.get("Manufacturer") != MANUFACTURER:
        return 1
    told = re.search(PHASE_WORDS + r"(\d+)(;|$)", str(header.get("PrescriptionDescription", "") or ""))
    return int(told[1]) if told else 1

"""RT Doses as doses that say what their gray means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort.dicom.files import DAMAGED, DicomFile, stored_values
from tailort.dicom.reading_plans import ReadPlan
from tailort.dicom.stack import Stack, stack_planes
from tailort.errors import DicomError
from tailort.geometry import Image
from tailort.patient import Dose
from tailort.patient.dose import Per

# What each Dose Summation Type adds up: all fractions, or one.
_PER: dict[str, Per] = {
    "PLAN": "course",
    "MULTI_PLAN": "course",
    "FRACTION": "course",
    "BEAM": "course",
    "FRACTION_SESSION": "fraction",
    "BEAM_SESSION": "fraction",
}
_OF_BEAMS = ("BEAM", "BEAM_SESSION")
ENGINE_COMMENT = "engine: "


class _LeftOutError(Exception):
    """Why a dose cannot be used; the text completes 'dose ... was left out: '."""


@dataclass(frozen=True, eq=False)
class _Grouped:
    """One dose grid: a multi-frame file, or the single-frame files of a series that stack up."""

    files: tuple[DicomFile, ...]

    @property
    def label(self) -> str:
        names = f"'{self.files[0].path.name}'"
        return f"dose {names}" if len(self.files) == 1 else f"dose series {names} to '{self.files[-1].path.name}'"

    @property
    def summation(self) -> str:
        return self.files[0].text("DoseSummationType")

    @property
    def plan_uids(self) -> tuple[str, ...]:
        return _plan_uids(self.files[0])

    @property
    def beams(self) -> frozenset[int]:
        return _beams(self.files[0])


def read_doses(
    files: Sequence[DicomFile],
    frame_of_reference: str,
    plans: Mapping[str, ReadPlan],
    *,
    absolute: bool = False,
    fractions: int | None = None,
) -> tuple[tuple[Dose, ...], tuple[str, ...]]:
    """Physical doses of RT Dose files, and notes on those that were left out.

    Parameters
    ----------
    files : sequence of DicomFile
        RT Dose objects: multi-frame, or single-frame files of one series.
    frame_of_reference : str
        Of the planning CT.
    plans : mapping
        SOP Instance UID -> plan, for fractions, beams and, with doses in percent, the prescription.
    absolute : bool
        Whether doses in percent are refused.
    fractions : int or None
        Of doses of which no plan tells; not of a sum of several plans, whose voxels have fractions of their own.

    Raises
    ------
    DicomError
        A dose in another frame of reference; percent without an unambiguous prescription; planes that are no grid.

    Notes
    -----
    Dose Summation Type FRACTION is by the standard the sum over a whole fraction group; one fraction is
    FRACTION_SESSION. Doses of single beams are added when together they are all beams of their plan, and
    left out when the plan's own dose is there. EFFECTIVE dose is not physical and is left out.

    References
    ----------
    DICOM PS3.3 C.8.8.3 (RT dose), C.8.8.3.2 (grid frame offset vector).
    """
    doses: list[Dose] = []
    notes: list[str] = []
    of_beams: dict[tuple[str, ...], list[tuple[_Grouped, Dose]]] = {}
    whole_plans: set[tuple[str, ...]] = set()
    for grouped in _group(files):
        first = grouped.files[0]
        for file in grouped.files:
            frame = file.frame_of_reference
            if frame != frame_of_reference:
                raise DicomError(
                    f"dose '{file.path.name}' is in frame of reference {frame or '(none)'}, the CT in "
                    f"{frame_of_reference}: give the dose that was computed on this CT"
                )
        try:
            dose = _dose(grouped, plans, notes, absolute, fractions)
        except _LeftOutError as reason:
            notes.append(f"{grouped.label} was left out: {reason}")
            continue
        except DAMAGED as error:
            raise DicomError(f"file '{first.path}' is not a readable RT Dose ({error})") from error
        if grouped.summation in _OF_BEAMS:
            of_beams.setdefault(grouped.plan_uids, []).append((grouped, dose))
        else:
            whole_plans.add(grouped.plan_uids)
            doses.append(dose)
    for uids, members in of_beams.items():
        if uids in whole_plans:
            notes.append(f"{len(members)} dose(s) of single beams were left out: the dose of their plan is there")
            continue
        doses.extend(_sum_of_beams(uids, members, plans, notes))
    return tuple(doses), tuple(notes)


def _plan_uids(file: DicomFile) -> tuple[str, ...]:
    return tuple(str(item.ReferencedSOPInstanceUID) for item in file.header.get("ReferencedRTPlanSequence") or [])


def _beams(file: DicomFile) -> frozenset[int]:
    return frozenset(
        int(beam.ReferencedBeamNumber)
        for plan in file.header.get("ReferencedRTPlanSequence") or []
        for group in plan.get("ReferencedFractionGroupSequence") or []
        for beam in group.get("ReferencedBeamSequence") or []
    )


def _group(files: Sequence[DicomFile]) -> list[_Grouped]:
    grouped: list[_Grouped] = []
    single: dict[tuple[object, ...], list[DicomFile]] = {}
    for file in files:
        try:
            if file.frames > 1 or not file.has_pixels:
                grouped.append(_Grouped((file,)))
            else:
                key = (file.series_uid, file.header.get("DoseSummationType"), _plan_uids(file), _beams(file))
                single.setdefault(key, []).append(file)
        except DAMAGED as error:
            raise DicomError(f"file '{file.path}' is not a readable RT Dose ({error})") from error
    grouped.extend(_Grouped(tuple(members)) for members in single.values())
    return grouped


def _dose(grouped: _Grouped, plans: Mapping[str, ReadPlan], notes: list[str], absolute: bool, told: int | None) -> Dose:
    first = grouped.files[0]
    kind = str(first.header.get("DoseType", "") or "")
    if kind != "PHYSICAL":
        raise _LeftOutError(f"it is of type {kind or '(not given)'}, and only PHYSICAL dose is read as Gy")
    if not first.has_pixels:
        raise _LeftOutError("it has no dose grid (only DVHs or points)")
    summation = grouped.summation
    if summation not in _PER:
        raise _LeftOutError(f"its Dose Summation Type is {summation or '(not given)'}; expected {', '.join(_PER)}")
    uids = grouped.plan_uids
    missing = [uid for uid in uids if uid not in plans]
    if missing:
        notes.append(f"{grouped.label} names a plan that is not in the folder ({', '.join(missing)})")
    elif not uids:
        notes.append(f"{grouped.label} names no plan")
    plan = plans[uids[0]] if len(uids) == 1 and not missing else None
    fractions = plan.fractions if plan is not None else told if len(uids) <= 1 else None
    if fractions is None:
        why = "it is the sum of several plans" if len(uids) > 1 else "no plan tells it"
        notes.append(f"the number of fractions of {grouped.label} is unknown: {why}")

    stack, values = _gray_values(grouped)
    units = str(first.header.get("DoseUnits", "") or "")
    if units == "RELATIVE" and absolute:
        raise DicomError(
            f"{grouped.label} is relative to a prescription; a dose that is added to others must be in Gy: export it so"
        )
    if units == "RELATIVE":
        values = values * _percent_to_gy(grouped, plan, float(values.max()), notes)
    elif units != "GY":
        raise DicomError(f"{grouped.label}: dose units '{units}'; expected GY or RELATIVE")
    dose = Dose(
        image=Image(stack.grid, values.astype(np.float32), "Gy"),
        quantity="physical",
        per=_PER[summation],
        fractions=fractions,
        alpha_beta_gy=None,
        engine=_engine(first),
        plan_uid=uids[0] if len(uids) == 1 else "",
    )
    _note_implausible(dose, plan, grouped.label, notes)
    return dose


def _engine(file: DicomFile) -> str:
    """What computed the dose: only our own files tell it."""
    if file.header.get("Manufacturer") == "TailoRT":
        for line in str(file.header.get("ImageComments", "") or "").splitlines():
            if line.startswith(ENGINE_COMMENT):
                return line.removeprefix(ENGINE_COMMENT)
    return "unknown"


def _gray_values(grouped: _Grouped) -> tuple[Stack, NDArray[np.float64]]:
    """Dose values (k, j, i) in the unit of the file, and their lattice."""
    first = grouped.files[0]
    orientation = first.numbers("ImageOrientationPatient", 6)
    spacing = first.numbers("PixelSpacing", 2)
    plane = (int(first.value("Rows")), int(first.value("Columns")))
    if len(grouped.files) == 1:
        positions = _plane_positions(first, orientation)
    else:
        positions = np.array([file.numbers("ImagePositionPatient", 3) for file in grouped.files])
    for file in grouped.files:
        same = (
            np.allclose(file.numbers("ImageOrientationPatient", 6), orientation, rtol=0, atol=1e-3)
            and np.allclose(file.numbers("PixelSpacing", 2), spacing, rtol=0, atol=1e-4)
            and (int(file.value("Rows")), int(file.value("Columns"))) == plane
        )
        if not same:
            raise DicomError(f"{grouped.label}: '{file.path.name}' has another plane geometry than '{first.path.name}'")
    labels = [first.path.name] * len(positions) if len(grouped.files) == 1 else [f.path.name for f in grouped.files]
    stack = stack_planes(positions, orientation, spacing, plane, first.frame_of_reference, grouped.label, labels)
    planes: list[NDArray[np.float64]] = []
    for file in grouped.files:
        (scaling,) = file.numbers("DoseGridScaling", 1)
        planes.extend(stored_values(file).astype(np.float64) * scaling)
    if len(planes) != len(positions):
        raise DicomError(f"{grouped.label} has {len(planes)} planes and {len(positions)} positions")
    values = np.stack([stack.turn(planes[n]) for n in stack.order])
    return stack, values


def _plane_positions(file: DicomFile, orientation: tuple[float, ...]) -> NDArray[np.float64]:
    """Position of each frame's first voxel, LPS mm, (frames, 3)."""
    origin = np.array(file.numbers("ImagePositionPatient", 3))
    offsets = np.array(file.numbers("GridFrameOffsetVector", file.frames))
    normal = np.cross(orientation[:3], orientation[3:])
    if abs(offsets[0]) < 1e-6:
        return origin + np.outer(offsets, normal)
    transverse = abs(abs(normal[2]) - 1) < 1e-6
    if transverse and abs(offsets[0] - origin[2]) < 1e-3:
        # The older convention: z of each plane.
        return np.column_stack([np.tile(origin[:2], (len(offsets), 1)), offsets])
    raise DicomError(
        f"file '{file.path}': Grid Frame Offset Vector starts with {offsets[0]:g}; expected 0 (relative) or the z of "
        f"Image Position, {origin[2]:g} mm (absolute)"
    )


def _percent_to_gy(grouped: _Grouped, plan: ReadPlan | None, highest: float, notes: list[str]) -> float:
    """Gy per unit of a dose given relative to the prescription."""
    if plan is None or len(plan.target_doses_gy) != 1:
        found = "no plan" if plan is None else f"{len(plan.target_doses_gy)} prescription doses in its plan"
        raise DicomError(
            f"{grouped.label} is in percent, and {found} tells what 100 % is; expected one prescription: export the "
            "dose in Gy"
        )
    if 20 < highest < 400:
        hundred = 100.0
    elif 0.2 < highest < 4:
        hundred = 1.0
    else:
        raise DicomError(
            f"{grouped.label} is relative and its highest value is {highest:g}; expected about 100 (percent) or about "
            "1: export the dose in Gy"
        )
    (prescribed_gy,) = plan.target_doses_gy
    notes.append(f"{grouped.label} is relative; {hundred:g} was taken as the prescribed {prescribed_gy:g} Gy")
    return prescribed_gy / hundred


def _note_implausible(dose: Dose, plan: ReadPlan | None, label: str, notes: list[str]) -> None:
    """Say when a course's dose looks like that of one fraction."""
    if plan is None or plan.fractions is None or not plan.target_doses_gy or dose.per != "course":
        return
    highest, prescribed_gy = float(dose.image.values.max()), plan.target_doses_gy[0]
    if plan.fractions > 1 and highest < 0.5 * prescribed_gy:
        notes.append(
            f"{label} is labelled as the whole course and its highest value is {highest:.2f} Gy, with "
            f"{prescribed_gy:g} Gy in {plan.fractions} fractions prescribed: it may be the dose of one fraction"
        )


def _sum_of_beams(
    uids: tuple[str, ...], members: Sequence[tuple[_Grouped, Dose]], plans: Mapping[str, ReadPlan], notes: list[str]
) -> list[Dose]:
    plan = plans.get(uids[0]) if len(uids) == 1 else None
    have = [number for grouped, _ in members for number in sorted(grouped.beams)]
    if plan is None or sorted(have) != sorted(plan.beam_numbers):
        of = "a plan that is not in the folder" if plan is None else f"the {len(plan.beam_numbers)} beams of its plan"
        notes.append(f"{len(members)} dose(s) of single beams were left out: they are not exactly {of}")
        return []
    doses = [dose for _, dose in members]
    if any(d.per != doses[0].per or not d.image.grid.same_as(doses[0].image.grid) for d in doses):
        notes.append(f"{len(members)} dose(s) of single beams were left out: they lie on different grids")
        return []
    total: NDArray[np.float64] = np.sum([d.image.values for d in doses], axis=0, dtype=np.float64)
    summed = replace(doses[0], image=doses[0].image.with_values(total.astype(np.float32)))
    notes.append(f"the doses of {len(members)} beams were added to the dose of plan '{plan.label}'")
    return [summed]

"""A recipe for target volumes: which structures make a target, by which margins, on whose rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import GeometryError, InputError, MissingStructureError, UndecidedError
from tailort.geometry import EndCap, Margin, contract, expand, intersect, subtract, unite
from tailort.geometry.contours import by_plane, in_plane, nesting_depth
from tailort.patient import ROLES, Structure, StructureSet
from tailort.targets.borders import CutAt, between, borders_of, landmarks_missing
from tailort.targets.landmarks import what_to_draw
from tailort.targets.parts import connected_parts
from tailort.targets.sectors import SpreadToSectors, spread_to_sectors
from tailort.targets.station_rules import stations_named
from tailort.targets.stations import TO_REVIEW, StationAtlas
from tailort.targets.tumour_length import length_along_mm

Float = NDArray[np.float64]
Contours = tuple[Float, ...]
TARGET_ROLES = ("GTV", "CTV", "ITV", "PTV")
_ON_PLANE_MM = 0.01


@dataclass(frozen=True)
class Expand:
    """Add a margin. A target that would leave the CT is an error; any other structure ends with the CT."""

    margin: Margin
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contract:
    """Take a margin off."""

    margin: Margin
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Unite:
    """Add structures; those of `if_drawn` only when they are there."""

    of: tuple[str, ...]
    if_drawn: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Intersect:
    """Keep what lies in every one of the structures."""

    of: tuple[str, ...]
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subtract:
    """Take structures off; those of `if_drawn` only when they are there."""

    of: tuple[str, ...]
    if_drawn: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Crop:
    """Keep `by_mm` from the outer surface of `inside`.

    The first and last CT plane cut the body, they are not its skin; nor are holes in it.
    """

    by_mm: float
    inside: str = "External"
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ring:
    """Replace the volume by the shell from `from_mm` to `to_mm` outside it; it ends with the CT."""

    from_mm: float
    to_mm: float
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lengthen:
    """Grow a tumour's volume to the length that the examinations tell, along its own middle line.

    Parameters
    ----------
    to_mm : float or None
        The length; None as long as no record tells it.
    told : str
        Who tells it.
    at_each_end : {"whole", "half", "nothing"}
        How much of what is lacking is added at each end: all of it, as nobody knows at which end it lies, half, or
        nothing, which is told.
    along : str
        Organ whose contours are what is added, where it is drawn; elsewhere, and where it is empty, the outermost
        contours go on straight.
    """

    to_mm: float | None
    told: str
    at_each_end: Literal["whole", "half", "nothing"]
    along: str = ""
    rules: tuple[str, ...] = ()


@dataclass(frozen=True)
class DropParts:
    """Remove separate parts of less than `below_cm3`."""

    below_cm3: float
    rules: tuple[str, ...] = ()


Operation = (
    Expand | Contract | Unite | Intersect | Subtract | Crop | Ring | DropParts | Lengthen | SpreadToSectors | CutAt
)


@dataclass(frozen=True)
class TakeStations:
    """Nodal stations: as drawn, else constructed.

    Parameters
    ----------
    of : tuple of str
        Stations of AJCC, 8th edition, see `tailort.targets.stations`.
    reach_mm : float
        How far a constructed station reaches from the wall of what it follows, mm.
    subcarinal_mm : float or None
        Depth of a constructed station 7 below the carina, mm; None is to the end of the main bronchi.
    """

    of: tuple[str, ...]
    reach_mm: float
    subcarinal_mm: float | None = None

    def __post_init__(self) -> None:
        for name in self.of:
            stations_named(name)
        if not self.of or not self.reach_mm > 0:
            raise InputError("stations need at least one name, and a reach above 0 mm")
        if self.subcarinal_mm is not None and not self.subcarinal_mm > 0:
            raise InputError(f"the depth of station 7 must be above 0 mm; found {self.subcarinal_mm:g} mm")


@dataclass(frozen=True)
class Step:
    """How one structure is made: the union of its inputs, then operations in order.

    Parameters
    ----------
    name : str
        Of the structure that is made.
    role : str
        DICOM RT ROI Interpreted Type.
    of : tuple of str
        Structures that must be there, drawn or made by an earlier step.
    if_drawn : tuple of str
        Structures that join when they are there. A step none of whose inputs is there makes nothing.
    stations : TakeStations or None
        Nodal stations that belong to it too.
    then : tuple of Operation
        In order.
    existing : {"keep", "replace"}
        What happens to a structure of this name that is already drawn: kept as drawn, or made anew.
    rules : tuple of str
        Ids of the rules that ask for it; an operation may name its own.
    """

    name: str
    role: str
    of: tuple[str, ...] = ()
    if_drawn: tuple[str, ...] = ()
    then: tuple[Operation, ...] = ()
    existing: Literal["keep", "replace"] = "keep"
    rules: tuple[str, ...] = ()
    stations: TakeStations | None = None

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise InputError(f"step '{self.name}': unknown role '{self.role}'; known are {', '.join(ROLES)}")
        if not self.of and not self.if_drawn and self.stations is None:
            raise InputError(f"step '{self.name}' names no structure that it is made of")

    def inputs(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the structures it needs, and of those it takes when they are drawn."""
        needed, optional = list(self.of), list(self.if_drawn)
        for operation in self.then:
            match operation:
                case Unite() | Subtract():
                    needed += operation.of
                    optional += operation.if_drawn
                case Intersect():
                    needed += operation.of
                case Crop():
                    needed.append(operation.inside)
                case Lengthen() if operation.along:
                    optional.append(operation.along)
                case CutAt():
                    for border in (*operation.superior, *operation.inferior):
                        # An edge that counts only where another volume was made is asked for only there.
                        (optional if border.if_made else needed).extend([border.structure] if border.structure else [])
                        optional += [border.if_made] if border.if_made else []
                case SpreadToSectors():
                    optional += [operation.canal, operation.cord]
        return tuple(dict.fromkeys(needed)), tuple(dict.fromkeys(optional))


def require_inputs(
    steps: Iterable[Step],
    structures: StructureSet,
    further: Iterable[str] = (),
    planes_mm: ArrayLike | None = None,
) -> None:
    """Refuse a structure set that lacks something the recipe, or the work after it, needs.

    Parameters
    ----------
    steps : iterable of Step
        In order.
    structures : StructureSet
        What is drawn.
    further : iterable of str
        Structures that must be there in the end, drawn or made.
    planes_mm : (k,) float or None
        z of the CT planes, ascending; None takes those on which something is drawn.

    Raises
    ------
    MissingStructureError
        Listing everything that is missing, what for, and what is there.
    UndecidedError
        When only landmarks or nodal stations are missing, with what to draw.
    """
    planes = _drawn_planes(structures) if planes_mm is None else np.asarray(planes_mm, dtype=np.float64)
    waiting: dict[str, tuple[str, ...]] = {}
    there = {s.name.lower() for s in structures if not s.is_empty}
    missing: dict[str, str] = {}
    for step in steps:
        if _is_kept(step, structures):
            continue
        needed, _ = step.inputs()
        starts = [name for name in (*step.of, *step.if_drawn) if name.lower() in there]
        if not step.of and not starts and step.stations is None:
            continue
        waiting |= _waiting(step, structures, planes, there)
        for name in needed:
            if name.lower() not in there:
                missing.setdefault(name, f"for {step.name}{_cite(step.rules)}")
        there.add(step.name.lower())
    for name in further:
        if name.lower() not in there:
            missing.setdefault(name, "for the plan")
    also = "; ".join(waiting)
    if waiting and not missing:
        raise UndecidedError(
            f"what the recipe needs is not in the case: {also}",
            tuple(dict.fromkeys(name for names in waiting.values() for name in names)),
        )
    if missing:
        lacking = ", ".join(f"'{name}' ({why})" for name, why in missing.items())
        drawn = ", ".join(s.name for s in structures if not s.is_empty) or "none"
        raise MissingStructureError(
            f"structures that are needed and not in the case: {lacking}; the case has: {drawn}; draw what is missing, "
            f"or map its name with --names FILE{f'; moreover {also}' if also else ''}"
        )


def _waiting(step: Step, structures: StructureSet, planes: Float, there: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What a step needs of stations and landmarks that is not there, in words, each with names of what to draw."""
    found: dict[str, tuple[str, ...]] = {}
    cuts = [operation for operation in step.then if isinstance(operation, CutAt)]
    if (step.stations is None and not cuts) or len(planes) < 2:
        return found
    if step.stations is not None:
        atlas = StationAtlas(structures, planes, step.stations.reach_mm)
        for name in step.stations.of:
            found |= {entry.text: entry.draw for entry in atlas.lacking(name)}
    for cut in cuts:
        for name in landmarks_missing(cut, there, structures, planes):
            found[f"the landmark {name} is not known ('{step.name}'{_cite(cut.rules)}): {what_to_draw(name)}"] = (name,)
    return found


def _drawn_planes(structures: StructureSet) -> Float:
    drawn = [s.slice_positions_mm for s in structures if not s.is_empty]
    return np.unique(np.concatenate(drawn)) if drawn else np.zeros(0)


def derive(
    steps: Sequence[Step], structures: StructureSet, planes_mm: ArrayLike, *, end_cap: EndCap = "half_slice"
) -> StructureSet:
    """Make the structures of a recipe; every one remembers how it was made.

    Parameters
    ----------
    steps : sequence of Step
        In order; a step may use what an earlier one made.
    structures : StructureSet
        What is drawn, LPS mm.
    planes_mm : (k,) float
        z of the CT planes, ascending, LPS mm: made structures have their contours there.
    end_cap : EndCap
        How the solid of a structure ends beyond its outermost contours, see `tailort.geometry.solid`.

    Returns
    -------
    StructureSet
        The given structures, then the made ones. One that was drawn already and kept says so in its `made_by`.

    Raises
    ------
    MissingStructureError
        When a structure that a step needs is not there.
    UndecidedError
        When a landmark or a nodal station is not drawn and cannot be constructed, with what to draw.
    GeometryError
        When a target would leave the CT (how much CT is missing is told) or a structure comes out empty.
    """
    planes = np.asarray(planes_mm, dtype=np.float64)
    if planes.ndim != 1 or len(planes) < 2 or (np.diff(planes) <= 0).any():
        raise GeometryError("a recipe needs at least two CT planes, their z ascending in mm")
    require_inputs(steps, structures, planes_mm=planes)
    made = structures
    for step in steps:
        drawn = structures.find(step.name)
        if drawn is not None and _is_kept(step, structures):
            note = f"drawn in the case and kept as it is: the recipe{_cite(step.rules)} was not applied"
            made = made.with_structures(replace(drawn, made_by=(*drawn.made_by, note)))
            continue
        maker = _Maker(step, made, planes, end_cap)
        structure = maker.make()
        if structure is not None:
            made = made.with_structures(*maker.beside, structure)
    return made


class _Maker:
    """Carries one step out and writes down what it does."""

    def __init__(self, step: Step, structures: StructureSet, planes: Float, end_cap: EndCap) -> None:
        self.step = step
        self.structures = structures
        self.planes = planes
        self.end_cap: EndCap = end_cap
        self.spacing_mm = float(np.median(np.diff(planes)))
        self.log: list[str] = []
        self.beside: list[Structure] = []

    def make(self) -> Structure | None:
        step = self.step
        left_out: list[str] = []
        start = self._gather(step.of, step.if_drawn, left_out) | self._stations()
        if not start:
            return None
        self._note(("union of " if len(start) > 1 else "from ") + ", ".join(start), step.rules, left_out)
        contours = self._united(list(start.values()))
        for operation in step.then:
            contours = self._apply(operation, contours, operation.rules or step.rules)
            if not contours:
                raise GeometryError(
                    f"'{step.name}' comes out empty ({'; '.join(self.log)}): check the structures that it is made of"
                )
        contours = self._on_planes(contours)
        self.log.append(f"contours on the CT planes, end cap {self.end_cap}")
        return Structure(step.name, step.role, contours, self.structures.frame_of_reference, made_by=tuple(self.log))

    def _apply(self, operation: Operation, contours: Contours, rules: tuple[str, ...]) -> Contours:
        left_out: list[str] = []
        match operation:
            case Expand():
                self._note(f"expanded by {margin_in_words(operation.margin)}", rules)
                return self._expanded(contours, operation.margin)
            case Contract():
                self._note(f"contracted by {margin_in_words(operation.margin)}", rules)
                return contract(contours, operation.margin, self.planes, self.end_cap, self.spacing_mm)
            case Unite():
                others = self._gather(operation.of, operation.if_drawn, left_out)
                self._note(f"united with {_listed(others)}", rules, left_out)
                return self._united([contours, *others.values()])
            case Intersect():
                others = self._gather(operation.of, (), left_out)
                self._note(f"intersected with {_listed(others)}", rules)
                for other in others.values():
                    contours = intersect(contours, other, self.planes, self.end_cap, self.spacing_mm)
                return contours
            case Subtract():
                others = self._gather(operation.of, operation.if_drawn, left_out)
                self._note(f"less {_listed(others)}", rules, left_out)
                for other in others.values():
                    contours = subtract(contours, other, self.planes, self.end_cap, self.spacing_mm)
                return contours
            case Crop():
                self._note(f"cropped to {operation.by_mm:g} mm inside {operation.inside}", rules)
                return self._cropped(contours, operation)
            case Ring():
                self._note(f"ring from {operation.from_mm:g} to {operation.to_mm:g} mm, ending with the CT", rules)
                inner = contours
                if operation.from_mm > 0:
                    inner = self._grown(contours, Margin.uniform(operation.from_mm))
                outer = self._grown(contours, Margin.uniform(operation.to_mm))
                return subtract(outer, inner, self.planes, self.end_cap, self.spacing_mm)
            case CutAt():
                return self._cut(contours, operation, rules)
            case Lengthen():
                return self._lengthened(contours, operation, rules)
            case SpreadToSectors():
                return self._spread(contours, operation)
            case DropParts():
                parts = connected_parts(contours, self.end_cap, self.spacing_mm)
                large = [part for part in parts if part.volume_cm3 >= operation.below_cm3]
                dropped = f"{len(parts) - len(large)} of {len(parts)}"
                self._note(f"{dropped} separate parts of less than {operation.below_cm3:g} cm3 removed", rules)
                return tuple(contour for part in large for contour in part.contours)

    def _gather(self, of: Sequence[str], if_drawn: Sequence[str], left_out: list[str]) -> dict[str, Contours]:
        found: dict[str, Contours] = {}
        for name in of:
            structure = self.structures[name]
            found[structure.name] = structure.contours
        for name in if_drawn:
            optional = self.structures.find(name)
            if optional is None or optional.is_empty:
                left_out.append(name)
            else:
                found[optional.name] = optional.contours
        return found

    def _united(self, several: Sequence[Contours]) -> Contours:
        whole = several[0]
        for other in several[1:]:
            whole = unite(whole, other, self.planes, self.end_cap, self.spacing_mm)
        return whole

    def _expanded(self, contours: Contours, margin: Margin) -> Contours:
        z = np.array([contour[0, 2] for contour in contours])
        below = self.planes[0] - (z.min() - margin.inferior_mm)
        above = (z.max() + margin.superior_mm) - self.planes[-1]
        if max(below, above) > _ON_PLANE_MM:
            if self.step.role in TARGET_ROLES:
                lacking = " and ".join(
                    f"{mm:.1f} mm at the {end} end"
                    for mm, end in ((below, "lower"), (above, "upper"))
                    if mm > _ON_PLANE_MM
                )
                raise GeometryError(
                    f"'{self.step.name}' expanded by {margin_in_words(margin)} leaves the CT, which ends at "
                    f"z = {self.planes[0]:g} and {self.planes[-1]:g} mm: {lacking} of CT are missing; scan further, or "
                    "give another margin"
                )
            self.log[-1] += ", ending with the CT"
        return self._grown(contours, margin)

    def _stations(self) -> dict[str, Contours]:
        """Stations of the step, by structure; those that are constructed become structures of their own."""
        found: dict[str, Contours] = {}
        if self.step.stations is None:
            return found
        wanted = self.step.stations
        atlas = StationAtlas(self.structures, self.planes, wanted.reach_mm, self.end_cap, wanted.subcarinal_mm)
        told = []
        for name in wanted.of:
            taken = atlas.take(name)
            made = [s for s in taken if s.made_by and s.made_by[0].startswith(TO_REVIEW)]
            self.beside += [s for s in made if self.structures.find(s.name) is None]
            found |= {s.name: s.contours for s in taken}
            told.append(f"{name} {TO_REVIEW}" if made else f"{name} as drawn")
        self._note(f"nodal stations {', '.join(told)}", self.step.rules)
        return found

    def _cut(self, contours: Contours, cut: CutAt, rules: tuple[str, ...]) -> Contours:
        upper, lower = borders_of(cut, self.structures, self.planes)
        for side, border in (("above", upper), ("below", lower)):
            if border is not None:
                self._note(f"cut {side} {border}", () if border.border.rules else rules)
        if upper is None and lower is None:
            self._note("not cut: no border counts here", rules)
        on_planes = self._on_planes(contours)
        return between(on_planes, None if lower is None else lower.z_mm, None if upper is None else upper.z_mm)

    def _spread(self, contours: Contours, operation: SpreadToSectors) -> Contours:
        name = " with ".join((*self.step.of, *self.step.if_drawn))
        tumour = Structure(name, "GTV", contours, self.structures.frame_of_reference)
        made = spread_to_sectors(operation, tumour, self.structures, self.planes, end_cap=self.end_cap)
        self.beside += made.sectors
        self.log += made.notes
        return made.contours

    def _lengthened(self, contours: Contours, operation: Lengthen, rules: tuple[str, ...]) -> Contours:
        if operation.to_mm is None:
            raise InputError(
                f"'{self.step.name}' is lengthened to a length of the clinical record, which is not told: decide the "
                "protocol for the patient first"
            )
        drawn_mm = length_along_mm(contours, self.spacing_mm)
        lacking_mm = operation.to_mm - drawn_mm
        length = f"the contours are {drawn_mm:.0f} mm long, the tumour is {operation.to_mm:g} mm by {operation.told}"
        # Contours on slices cannot show less.
        if lacking_mm <= self.spacing_mm:
            less = ", less than one slice more" if lacking_mm > 0 else ""
            self._note(f"not lengthened: {length}{less}", rules)
            return contours
        if operation.at_each_end == "nothing":
            self._note(f"left as drawn by choice: {length}", rules)
            return contours
        at_end = lacking_mm if operation.at_each_end == "whole" else lacking_mm / 2
        organ = self.structures.find(operation.along) if operation.along else None
        by = f" along {organ.name}" if organ is not None and not organ.is_empty else ""
        self._note(f"lengthened by {at_end:.1f} mm at each end{by}: {length}", rules)
        longer = self._expanded(contours, Margin(0.0, 0.0, 0.0, 0.0, at_end, at_end))
        return _continued(contours, longer, organ.contours) if organ is not None else longer

    def _grown(self, contours: Contours, margin: Margin) -> Contours:
        return expand(contours, margin, self.planes, self.end_cap, self.spacing_mm)

    def _cropped(self, contours: Contours, crop: Crop) -> Contours:
        """Intersect with the contracted body; where the scan cuts the body off it goes on, the cut is no skin."""
        z = np.array([contour[0, 2] for contour in contours])
        room = crop.by_mm + 3 * self.spacing_mm
        body = _outlines(
            contour
            for contour in self.structures[crop.inside].contours
            if z.min() - room <= contour[0, 2] <= z.max() + room
        )
        for end, step in ((self.planes[0], -self.spacing_mm), (self.planes[-1], self.spacing_mm)):
            cut = [contour for contour in body if abs(contour[0, 2] - end) < _ON_PLANE_MM]
            for n in range(1, int(np.ceil(crop.by_mm / self.spacing_mm)) + 2):
                body += [contour + np.array([0.0, 0.0, n * step]) for contour in cut]
        used = self.planes[(self.planes >= z.min() - _ON_PLANE_MM) & (self.planes <= z.max() + _ON_PLANE_MM)]
        inner = contract(body, Margin.uniform(crop.by_mm), used, self.end_cap, self.spacing_mm)
        return intersect(contours, inner, used, self.end_cap, self.spacing_mm)

    def _on_planes(self, contours: Contours) -> Contours:
        """Return the contours as they are when they lie on the CT planes without a gap, else cut anew there."""
        z = np.unique(np.round([contour[0, 2] for contour in contours], 4))
        within = self.planes[(self.planes > z[0] - _ON_PLANE_MM) & (self.planes < z[-1] + _ON_PLANE_MM)]
        if len(within) == len(z) and np.abs(within - z).max() < _ON_PLANE_MM:
            return contours
        return self._grown(contours, Margin.uniform(0.0))

    def _note(self, text: str, rules: tuple[str, ...], left_out: Sequence[str] = ()) -> None:
        absent = f" ({', '.join(left_out)} not drawn)" if left_out else ""
        self.log.append(f"{text}{absent}{_cite(rules)}")


def _continued(drawn: Contours, longer: Contours, organ: Contours) -> Contours:
    """What is drawn, and beyond it the organ; the straight continuation where the organ has no contour."""
    z = np.array([contour[0, 2] for contour in drawn])
    ends = z.min() - _ON_PLANE_MM, z.max() + _ON_PLANE_MM
    beyond = [contour for contour in longer if not ends[0] <= contour[0, 2] <= ends[1]]
    planes = np.unique([contour[0, 2] for contour in beyond])
    within = [contour for contour in organ if np.abs(planes - contour[0, 2]).min(initial=np.inf) < _ON_PLANE_MM]
    there = np.array([contour[0, 2] for contour in within])
    straight = [contour for contour in beyond if np.abs(there - contour[0, 2]).min(initial=np.inf) >= _ON_PLANE_MM]
    return (*drawn, *within, *straight)


def _outlines(contours: Iterable[Float]) -> list[Float]:
    """Outer contours only: air within the body that was left out of its outline has no skin."""
    out: list[Float] = []
    for z, polygons in zip(*by_plane(tuple(contours)), strict=True):
        depth = nesting_depth(polygons)
        out.extend(in_plane([ring for ring, d in zip(polygons, depth, strict=True) if d == 0], float(z)))
    return out


def margin_in_words(margin: Margin) -> str:
    """Return a margin as reports print it."""
    across = set(margin.in_plane_mm)
    along = {margin.superior_mm, margin.inferior_mm}
    if len(across | along) == 1:
        return f"{margin.left_mm:g} mm in all directions"
    if len(across) == len(along) == 1:
        return f"{margin.left_mm:g} mm radially and {margin.superior_mm:g} mm craniocaudally"
    return (
        f"{margin.left_mm:g} mm left, {margin.right_mm:g} mm right, {margin.anterior_mm:g} mm anterior, "
        f"{margin.posterior_mm:g} mm posterior, {margin.superior_mm:g} mm superior, {margin.inferior_mm:g} mm inferior"
    )


def _is_kept(step: Step, structures: StructureSet) -> bool:
    drawn = structures.find(step.name)
    return step.existing == "keep" and drawn is not None and not drawn.is_empty


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"


def _cite(rules: Sequence[str]) -> str:
    return f" [{', '.join(rules)}]" if rules else ""

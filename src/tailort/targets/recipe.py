"""A recipe for target volumes: which structures make a target, by which margins, on whose rule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import GeometryError, InputError, MissingStructureError
from tailort.geometry import EndCap, Margin, contract, expand, intersect, subtract, unite
from tailort.patient import ROLES, Structure, StructureSet
from tailort.targets.parts import parts_of

Contours = tuple[NDArray[np.float64], ...]
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
    """Keep `by_mm` from the surface of `inside`. The first and last CT plane cut the body, they are not its skin."""

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
class DropParts:
    """Remove separate parts of less than `below_cm3`."""

    below_cm3: float
    rules: tuple[str, ...] = ()


Operation = Expand | Contract | Unite | Intersect | Subtract | Crop | Ring | DropParts


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

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise InputError(f"step '{self.name}': unknown role '{self.role}'; known are {', '.join(ROLES)}")
        if not self.of and not self.if_drawn:
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
        return tuple(dict.fromkeys(needed)), tuple(dict.fromkeys(optional))


def require_inputs(steps: Iterable[Step], structures: StructureSet, further: Iterable[str] = ()) -> None:
    """Refuse a structure set that lacks something the recipe, or the work after it, needs.

    Parameters
    ----------
    steps : iterable of Step
        In order.
    structures : StructureSet
        What is drawn.
    further : iterable of str
        Structures that must be there in the end, drawn or made.

    Raises
    ------
    MissingStructureError
        Listing everything that is missing, what for, and what is there.
    """
    there = {s.name.lower() for s in structures if not s.is_empty}
    missing: dict[str, str] = {}
    for step in steps:
        if _is_kept(step, structures):
            continue
        needed, optional = step.inputs()
        starts = [name for name in (*step.of, *step.if_drawn) if name.lower() in there]
        if not step.of and not starts:
            continue
        for name in needed:
            if name.lower() not in there:
                missing.setdefault(name, f"for {step.name}{_cite(step.rules)}")
        there.add(step.name.lower())
    for name in further:
        if name.lower() not in there:
            missing.setdefault(name, "for the plan")
    if missing:
        lacking = ", ".join(f"'{name}' ({why})" for name, why in missing.items())
        drawn = ", ".join(s.name for s in structures if not s.is_empty) or "none"
        raise MissingStructureError(
            f"structures that are needed and not in the case: {lacking}; the case has: {drawn}; draw what is missing, "
            "or map its name with --names FILE"
        )


def derive(
    steps: Sequence[Step], structures: StructureSet, planes_mm: ArrayLike, *, end_cap: EndCap = "half"
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
    end_cap : str
        How the solid of a structure ends beyond its outermost contours, see `tailort.geometry.expand`.

    Returns
    -------
    StructureSet
        The given structures, then the made ones. One that was drawn already and kept says so in its `made_by`.

    Raises
    ------
    MissingStructureError
        When a structure that a step needs is not there.
    GeometryError
        When a target would leave the CT (how much CT is missing is told) or comes out empty.
    """
    planes = np.asarray(planes_mm, dtype=np.float64)
    if planes.ndim != 1 or len(planes) < 2 or (np.diff(planes) <= 0).any():
        raise GeometryError("the CT planes of a recipe must be at least two ascending z positions in mm")
    require_inputs(steps, structures)
    made = structures
    for step in steps:
        kept = structures.find(step.name)
        if kept is not None and _is_kept(step, structures):
            note = f"drawn in the case and kept as it is: the recipe{_cite(step.rules)} was not applied"
            made = made.with_structures(replace(kept, made_by=(*kept.made_by, note)))
            continue
        structure = _Maker(step, made, planes, end_cap).make()
        if structure is not None:
            made = made.with_structures(structure)
    return made


class _Maker:
    """Carries one step out, writing down what it does."""

    def __init__(self, step: Step, structures: StructureSet, planes: NDArray[np.float64], end_cap: EndCap) -> None:
        self.step = step
        self.structures = structures
        self.planes = planes
        self.end_cap: EndCap = end_cap
        self.log: list[str] = []

    def make(self) -> Structure | None:
        step = self.step
        start = self._gather(step.of, step.if_drawn, step.rules)
        if not start:
            return None
        contours = self._united([(), *start.values()])
        self.log.insert(0, ("union of " if len(start) > 1 else "from ") + ", ".join(start) + _cite(step.rules))
        for operation in step.then:
            contours = self._apply(operation, contours, operation.rules or step.rules)
            if not contours:
                raise GeometryError(
                    f"'{step.name}' came out empty; how it was made: {'; '.join(self.log)}: check the structures it is made of"
                )
        self.log.append(f"contours on the CT planes, end cap {self.end_cap}")
        return Structure(step.name, step.role, contours, self.structures.frame_of_reference, made_by=tuple(self.log))

    def _apply(self, operation: Operation, contours: Contours, rules: tuple[str, ...]) -> Contours:
        match operation:
            case Expand(margin):
                self._note(f"expanded by {margin}", rules)
                return self._expanded(contours, margin)
            case Contract(margin):
                self._note(f"contracted by {margin}", rules)
                return tuple(contract(contours, margin, self.planes, self.end_cap))
            case Unite(of, if_drawn):
                others = self._gather(of, if_drawn, rules)
                if others:
                    self._note(f"united with {', '.join(others)}", rules)
                return self._united([contours, *others.values()])
            case Intersect(of):
                others = self._gather(of, (), rules)
                self._note(f"intersected with {', '.join(others)}", rules)
                for other in others.values():
                    contours = tuple(intersect(contours, other))
                return contours
            case Subtract(of, if_drawn):
                others = self._gather(of, if_drawn, rules)
                if others:
                    self._note(f"less {', '.join(others)}", rules)
                for other in others.values():
                    contours = tuple(subtract(contours, other))
                return contours
            case Crop(by_mm, inside):
                self._note(f"cropped to {by_mm:g} mm inside {inside}", rules)
                return tuple(intersect(contours, self._inner(inside, by_mm, contours)))
            case Ring(from_mm, to_mm):
                self._note(f"ring from {from_mm:g} to {to_mm:g} mm", rules)
                hole = self._expanded(contours, Margin.uniform(from_mm), ends_with_ct=True) if from_mm else contours
                return tuple(subtract(self._expanded(contours, Margin.uniform(to_mm), ends_with_ct=True), hole))
            case DropParts(below_cm3):
                parts = parts_of(contours, self.planes)
                large = [part for part in parts if part.volume_cm3 >= below_cm3]
                self._note(f"{len(parts) - len(large)} of {len(parts)} parts below {below_cm3:g} cm3 removed", rules)
                return tuple(c for part in large for c in part.contours)

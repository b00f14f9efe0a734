"""Cut a volume at named heights: landmarks, or edges of other structures, each with an offset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError, InputError, MissingStructureError
from tailort.patient import StructureSet
from tailort.targets.landmarks import LANDMARKS, find, locate

Float = NDArray[np.float64]
Contours = tuple[Float, ...]
Side = Literal["superior", "inferior"]


@dataclass(frozen=True)
class Border:
    """One height at which a volume may end.

    Parameters
    ----------
    landmark : str
        A name of `LANDMARKS`; empty where the border is the edge of a structure.
    top_of, bottom_of : str
        A structure whose upper or lower edge it is.
    above_mm : float
        Offset towards the head, mm; negative is towards the feet.
    if_made : str
        The border counts only where this structure is there; empty is always.
    rules : tuple of str
        Ids of the rules that print it.
    """

    landmark: str = ""
    top_of: str = ""
    bottom_of: str = ""
    above_mm: float = 0.0
    if_made: str = ""
    rules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if sum(map(bool, (self.landmark, self.top_of, self.bottom_of))) != 1:
            raise InputError("a border is one of: a landmark, the top of a structure, the bottom of a structure")
        if self.landmark and self.landmark not in LANDMARKS:
            raise InputError(f"there is no landmark '{self.landmark}'; known are: {', '.join(LANDMARKS)}")
        if not np.isfinite(self.above_mm):
            raise InputError(f"the offset of a border must be finite; found {self.above_mm} mm")

    @property
    def structure(self) -> str:
        """Structure whose edge it is; empty for a landmark."""
        return self.top_of or self.bottom_of


@dataclass(frozen=True)
class CutAt:
    """Take off what lies above the highest of the upper borders, and below the lowest of the lower ones.

    Where none of the borders of a side counts for the patient, nothing is cut there.
    """

    superior: tuple[Border, ...] = ()
    inferior: tuple[Border, ...] = ()
    rules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.superior and not self.inferior:
            raise InputError("a cut names no border: give 'superior' or 'inferior'")


@dataclass(frozen=True)
class PlacedBorder:
    """A border of one patient.

    Parameters
    ----------
    border : Border
        What it is.
    at_mm : float
        z of the landmark or edge, LPS mm, before the offset.
    found : str
        What was found there, in words.
    """

    border: Border
    at_mm: float
    found: str

    @property
    def z_mm(self) -> float:
        """Height of the border, LPS mm."""
        return self.at_mm + self.border.above_mm

    def __str__(self) -> str:
        offset = self.border.above_mm
        side = f"{abs(offset):g} mm {'above' if offset > 0 else 'below'} " if offset else ""
        cited = f" [{', '.join(self.border.rules)}]" if self.border.rules else ""
        return f"z = {self.z_mm:.1f} mm, {side}{self.found}{cited}"


def counting(borders: Iterable[Border], there: Iterable[str]) -> tuple[Border, ...]:
    """Return the borders that count where the named structures are there."""
    names = {name.lower() for name in there}
    return tuple(border for border in borders if not border.if_made or border.if_made.lower() in names)


def landmarks_missing(cut: CutAt, there: Iterable[str], structures: StructureSet, planes_mm: Float) -> tuple[str, ...]:
    """Return the landmarks of the borders that count and that nothing that was drawn shows."""
    borders = counting((*cut.superior, *cut.inferior), tuple(there))
    names = dict.fromkeys(border.landmark for border in borders if border.landmark)
    return tuple(name for name in names if find(name, structures, planes_mm) is None)


def place(borders: Sequence[Border], side: Side, structures: StructureSet, planes_mm: Float) -> PlacedBorder | None:
    """Return the outermost of the borders that count, or None when none does.

    Parameters
    ----------
    borders : sequence of Border
        Of one side.
    side : {"superior", "inferior"}
        The highest border counts above, the lowest below.
    structures : StructureSet
        What is drawn and made so far, LPS mm.
    planes_mm : (k,) float
        z of the CT planes, ascending.

    Raises
    ------
    UndecidedError
        When a landmark is missing: which border is the outermost one is not known then.
    MissingStructureError
        When a structure is missing whose edge is a border.
    """
    half = 0.5 * float(np.median(np.diff(planes_mm)))
    placed = []
    for border in counting(borders, (s.name for s in structures if not s.is_empty)):
        if border.landmark:
            mark = locate(border.landmark, structures, planes_mm)
            placed.append(PlacedBorder(border, mark.z_mm, f"{mark.name} ({mark.found})"))
        else:
            edge = structures[border.structure]
            if edge.is_empty:
                raise MissingStructureError(
                    f"the {'top' if border.top_of else 'bottom'} of '{edge.name}' is a border, and it has no contours; "
                    "draw it"
                )
            levels = edge.slice_positions_mm
            z = float(levels[-1]) + half if border.top_of else float(levels[0]) - half
            placed.append(PlacedBorder(border, z, f"{'top' if border.top_of else 'bottom'} of {border.structure}"))
    if not placed:
        return None
    return max(placed, key=lambda one: one.z_mm if side == "superior" else -one.z_mm)


def borders_of(
    cut: CutAt, structures: StructureSet, planes_mm: Float
) -> tuple[PlacedBorder | None, PlacedBorder | None]:
    """Return the upper and the lower border of one patient, as `place`.

    Raises
    ------
    GeometryError
        When the lower border is not below the upper one.
    """
    upper = place(cut.superior, "superior", structures, planes_mm)
    lower = place(cut.inferior, "inferior", structures, planes_mm)
    if upper is not None and lower is not None and lower.z_mm >= upper.z_mm:
        raise GeometryError(
            f"the lower border ({lower}) does not lie below the upper one ({upper}): check what was drawn"
        )
    return upper, lower


def between(contours: Contours, lower_mm: float | None, upper_mm: float | None) -> Contours:
    """Return the contours in planes from `lower_mm` to `upper_mm`, both included; None cuts nothing."""
    low = -np.inf if lower_mm is None else lower_mm
    high = np.inf if upper_mm is None else upper_mm
    return tuple(contour for contour in contours if low <= contour[0, 2] <= high)

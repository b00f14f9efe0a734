"""The choices for a registration: read from a table, and as masks on both scans."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import InputError
from tailort.geometry import Grid, partial_volume
from tailort.patient import Case, Course, RegistrationOptions, StructureSet
from tailort.patient.registration_options import RegistrationMethod
from tailort.registration import Guide

Mask = NDArray[np.bool_]

KEYS = tuple(field.name for field in fields(RegistrationOptions))
# A structure without texture is brought together by its edge, mm.
RIM_MM = 10.0
# Words of a record that tell of an operation after which tissue lies where other tissue was.
_OPERATED = ("done", "R0", "R1", "R2")


def registration_options(told: object, where: str) -> RegistrationOptions:
    """Read the choices from a table as YAML gives it.

    Parameters
    ----------
    told : object
        Such as {"method": "rigid", "region": "SpinalCanal"}; None chooses nothing.
    where : str
        File and key, for messages.

    Raises
    ------
    InputError
        When it is no table, a key is unknown, or a value is not a name or a list of names.
    """
    if told is None:
        return RegistrationOptions()
    if not isinstance(told, dict):
        raise InputError(f"{where} is {told!r}; expected a table with {', '.join(KEYS)}")
    if unknown := [str(key) for key in told if key not in KEYS]:
        raise InputError(f"{where} holds {', '.join(unknown)}; known are {', '.join(KEYS)}")
    method, region = told.get("method", "deformable"), told.get("region")
    for key, value in (("method", method), ("region", region)):
        if value is not None and not isinstance(value, str):
            raise InputError(f"{where}: {key} is {value!r}; expected one name")
    lists = {key: _names(told.get(key), f"{where}: {key}") for key in ("guides", "without", "sliding")}
    try:
        return RegistrationOptions(cast(RegistrationMethod, method), region, **lists)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _names(told: object, where: str) -> tuple[str, ...]:
    if told is None:
        return ()
    if not isinstance(told, list) or not all(isinstance(name, str) for name in told):
        raise InputError(f"{where} is {told!r}; expected a list of structure names, such as [Heart, Liver]")
    return tuple(told)


@dataclass(frozen=True, eq=False)
class RegistrationMasks:
    """The chosen structures on both scans; None where nothing was chosen or drawn.

    Parameters
    ----------
    region : (k, j, i) bool or None
        What a turn and shift must bring together, on today's grid: the structure and what is around it, so that its
        edge is seen.
    guides : dict of Guide
        By name.
    without, without_before : (k, j, i) bool or None
        Tissue of today that the earlier scan lacks, on today's grid; and the other way round.
    sliding : Guide or None
        The room that slides along its wall.
    """

    region: Mask | None
    guides: dict[str, Guide]
    without: Mask | None
    without_before: Mask | None
    sliding: Guide | None

    @property
    def guides_back(self) -> dict[str, Guide]:
        """The guides of the registration the other way round."""
        return {name: _turned(guide) for name, guide in self.guides.items()}

    @property
    def sliding_back(self) -> Guide | None:
        """What slides, for the registration the other way round."""
        return None if self.sliding is None else _turned(self.sliding)


def masks_of(
    options: RegistrationOptions,
    today: StructureSet,
    earlier: StructureSet | None,
    grid: Grid,
    earlier_grid: Grid,
    label: str,
) -> RegistrationMasks:
    """Return the chosen structures as masks: voxels of which at least half lies inside.

    Parameters
    ----------
    options : RegistrationOptions
        What a person chose.
    today, earlier : StructureSet
        Drawn on both scans; None where nothing is drawn on the earlier one.
    grid, earlier_grid : Grid
        Of both CTs.
    label : str
        Of the earlier course, for messages.

    Raises
    ------
    InputError
        When a structure is not drawn where it must be, or is too small to hold a voxel.
    """
    here, there = _Drawn(today, grid, "today"), _Drawn(earlier, earlier_grid, f"course '{label}'")
    nothing = [name for name in options.without if not (here.has(name) or there.has(name))]
    if nothing:
        raise InputError(
            f"structure '{nothing[0]}' without a counterpart is drawn neither today ({here.names}) nor for "
            f"course '{label}' ({there.names}); draw it on one of the scans, or leave it out of 'registration'"
        )
    return RegistrationMasks(
        None if options.region is None else _with_rim(here.mask((options.region,)), grid),
        {name: Guide(here.mask((name,)), there.mask((name,))) for name in options.guides},
        here.mask_of_drawn(options.without),
        there.mask_of_drawn(options.without),
        Guide(here.mask(options.sliding), there.mask(options.sliding)) if options.sliding else None,
    )


@dataclass(frozen=True, eq=False)
class _Drawn:
    """Structures of one scan, and whose they are."""

    structures: StructureSet | None
    grid: Grid
    whose: str

    @property
    def names(self) -> str:
        drawn = [] if self.structures is None else [s.name for s in self.structures if not s.is_empty]
        return ", ".join(drawn) or "nothing"

    def has(self, name: str) -> bool:
        found = None if self.structures is None else self.structures.find(name)
        return found is not None and not found.is_empty

    def mask(self, names: Sequence[str]) -> Mask:
        """Voxels of all of these structures together."""
        made = np.zeros(self.grid.shape, dtype=bool)
        for name in names:
            found = None if self.structures is None else self.structures.find(name)
            if found is None or found.is_empty:
                raise InputError(
                    f"structure '{name}' that the registration is to look at is not drawn on the scan of {self.whose}; "
                    f"drawn there: {self.names}"
                )
            thick = self.grid.spacing_mm[0]
            inside = partial_volume(found.contours, self.grid, single_slice_thickness_mm=thick).full() >= 0.5
            if not inside.any():
                raise InputError(
                    f"structure '{name}' that the registration is to look at holds no voxel of the scan of "
                    f"{self.whose}; choose a larger one, or check its contours"
                )
            made |= inside
        return made

    def mask_of_drawn(self, names: Sequence[str]) -> Mask | None:
        """Voxels of those that are drawn on this scan; None where none is."""
        drawn = [name for name in names if self.has(name)]
        return self.mask(drawn) if drawn else None


def _with_rim(mask: Mask, grid: Grid) -> Mask:
    away_mm = ndimage.distance_transform_edt(~mask, sampling=grid.spacing_mm)
    return np.asarray(away_mm <= RIM_MM, dtype=bool)


def _turned(guide: Guide) -> Guide:
    return Guide(guide.earlier, guide.today)


def operated_since(case: Case, course: Course) -> dt.date | bool:
    """Whether the record tells of a resection after a course: its day where it is told, else True.

    False where the record tells of none, or of one before the course ended.
    """
    surgery, day = case.facts.get("surgery"), case.facts.get("surgery_date")
    if surgery is None or surgery.value not in _OPERATED:
        return False
    if day is None or not isinstance(day.value, dt.date):
        return True
    if course.last_fraction is not None and day.value <= course.last_fraction:
        return False
    return day.value


def registration_notes(case: Case, course: Course) -> tuple[str, ...]:
    """What a reader must know of tissue without counterpart: what was named, and what nobody named.

    Parameters
    ----------
    case : Case
        Of today, with its clinical record.
    course : Course
        In another frame of reference.
    """
    chosen = course.registration
    if chosen.without:
        return (
            f"course '{course.label}': {', '.join(chosen.without)} has no counterpart on the other scan, as a person "
            "says; what it got in that course is not known from where it lies today, and counts as anything up to the "
            "highest dose of that course",
        )
    since = operated_since(case, course)
    if not since or chosen.method == "rigid":
        return ()
    when = "" if since is True else f" on {since}"
    return (
        f"the record tells of a resection{when} that was not yet done on the CT of course '{course.label}': tissue "
        "such as a gastric tube has no counterpart there; name what is drawn of it as 'without' in the 'registration' "
        "of its course.yaml",
    )

"""From a case and an image of function to a biological sub-volume on the planning CT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailort.errors import InputError
from tailort.geometry import Grid
from tailort.patient import Case, FunctionalImage, FunctionalScan, Structure, StructureSet
from tailort.targets.delineation import Shaping
from tailort.targets.subvolumes import AROUND_MM, SubVolume, subvolume
from tailort.targets.uptake_methods import Chosen
from tailort.workflow.clock import StageClock
from tailort.workflow.functional import Reading, functional_image, notes_of

# Contours are drawn on pixels no coarser than this, mm.
FINEST_MM = 1.5
_RISK_VOLUME = "_prv"


@dataclass(frozen=True, eq=False)
class Subdivision:
    """A sub-volume with what it was made of.

    Parameters
    ----------
    case : Case
        With the planning CT.
    image : FunctionalImage
        Around the target, on slices of the planning CT.
    found : SubVolume
        The sub-volume.
    structures : StructureSet
        Of the case, with the sub-volume.
    spared : tuple of str
        Structures that nothing is painted in.
    """

    case: Case
    image: FunctionalImage
    found: SubVolume
    structures: StructureSet
    spared: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What belongs on the first page of a report."""
        told = [note for note in self.image.notes if "insisted" in note]
        if self.found.mark == "ambiguous":
            told.append(f"the method {self.found.chosen} has no source of its own: {self.found.source}")
        return tuple(told)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed, and how the image came about."""
        return (*self.case.notes, *notes_of(self.image))

    def as_dict(self) -> dict[str, Any]:
        """As subvolume.json."""
        image, quantity = self.image, self.image.quantity
        return {
            **self.found.as_dict(),
            "spared": list(self.spared),
            "image": {
                "quantity": quantity.id, "text": quantity.text, "unit": quantity.unit, "shows": quantity.shows,
                "sought": quantity.sought, "source": quantity.source, "mark": quantity.mark, "series": image.source,
                "date": image.date.isoformat(), "days_before_ct": image.days_before_ct, "facts": dict(image.facts),
                "own_spacing_mm": list(image.own_spacing_mm), "registered": image.registered,
                "uncertainty_mm": image.uncertainty_mm, "notes": list(image.notes),
            },
        }  # fmt: skip


def subdivide(
    case: Case,
    scan: FunctionalScan,
    target_name: str,
    chosen: Chosen,
    clock: StageClock,
    reading: Reading | None = None,
    *,
    spare: Sequence[str] = (),
    background: float | None = None,
    shaping: Shaping | None = None,
    name: str | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Subdivision:
    """Delineate a biological sub-volume of a drawn target on the planning CT.

    Parameters
    ----------
    case : Case
        With the planning CT and the target.
    scan : FunctionalScan
        The image of function.
    target_name : str
        Structure of which a part is wanted.
    chosen : Chosen
        Method and number.
    clock : StageClock
        Times the stages.
    reading : Reading or None
        How the image is brought onto the planning CT.
    spare : sequence of str
        Structures that nothing is painted in, beside all planning risk volumes (named `_PRV`) of the case.
    background, shaping, name
        As in `targets.subvolume`.
    stop : callable
        Whether a person wants to stop.

    Raises
    ------
    InputError, GeometryError, MissingStructureError
        See `functional_image` and `targets.subvolume`; and where the name is taken.
    """
    target = case.structures[target_name]
    if target.is_empty:
        raise InputError(f"structure '{target.name}' has no contours, so it has no sub-volume")
    spared = _spared(case, target, spare)
    image = functional_image(case, scan, clock, reading, grid=grid_around(case, target), target=target, stop=stop)
    with clock.stage("delineate"):
        found = subvolume(
            image, target, chosen, spared=spared, background=background, shaping=shaping, name=name
        )  # fmt: skip
    if found.structure.name in case.structures:
        raise InputError(f"the case has a structure '{found.structure.name}' already; name the sub-volume with --name")
    made = case.structures.with_structures(found.structure)
    return Subdivision(case, image, found, made, tuple(one.name for one in spared))


def grid_around(case: Case, target: Structure) -> Grid:
    """Slices of the planning CT around a target, with pixels of its size or 1.5 mm where these are smaller."""
    whole = case.ct.image.grid
    low, high = target.bounds_mm()
    index = whole.to_index(np.stack([low - AROUND_MM, high + AROUND_MM]))
    part = whole.crop(np.floor(index.min(axis=0)), np.ceil(index.max(axis=0)) + 1)
    dz, dy, dx = part.spacing_mm
    return part.with_spacing((dz, min(dy, FINEST_MM), min(dx, FINEST_MM)))


def _spared(case: Case, target: Structure, named: Sequence[str]) -> tuple[Structure, ...]:
    wanted = {case.structures[name].name.lower() for name in named}
    if target.name.lower() in wanted:
        raise InputError(f"structure '{target.name}' is the target, so it cannot be spared; leave it out of --spare")
    return tuple(one for one in case.structures if one.name.lower() in wanted or _RISK_VOLUME in one.name.lower())

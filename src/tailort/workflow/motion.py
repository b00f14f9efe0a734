"""A 4D-CT as one patient to plan on: highest, mean and lowest CT, and the union of the tumour over the phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailort.errors import InputError, MissingStructureError
from tailort.geometry import Image, volume_cm3
from tailort.geometry.phases import over_phases, union_over_phases
from tailort.patient import Scan, Structure, StructureSet

HIGHEST, MEAN, LOWEST = "mip", "average", "minimum"
_WAYS = ("left-right", "front-back", "head-feet")


@dataclass(frozen=True)
class PhaseVolume:
    """A structure in one phase: how large, and where its middle lies."""

    phase: str
    volume_cm3: float
    centre_mm: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class Motion:
    """What a 4D-CT tells of motion.

    Parameters
    ----------
    images : dict of Image
        "mip", "average" and "minimum", HU, whole numbers.
    internal : tuple of Structure
        Union over the phases of each structure that was asked for.
    volumes : dict of tuple of PhaseVolume
        By the name of the structure: what it is in each phase.
    phases : tuple of str
        All of them.
    notes : tuple of str
        Phases on which a structure is not drawn.
    """

    images: dict[str, Image]
    internal: tuple[Structure, ...]
    volumes: dict[str, tuple[PhaseVolume, ...]]
    phases: tuple[str, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As motion.json."""
        thickness = self.images[MEAN].grid.spacing_mm[0]
        return {
            "phases": list(self.phases),
            "internal": [
                {
                    "name": made.name, "of": name,
                    "volume_cm3": volume_cm3(made.contours, single_slice_thickness_mm=thickness),
                    "excursion_mm": dict(zip(_WAYS, _reach(self.volumes[name]), strict=True)),
                    "phases": [vars(one) for one in self.volumes[name]],
                }
                for name, made in zip(self.volumes, self.internal, strict=True)
            ],
            "notes": list(self.notes),
        }  # fmt: skip


def motion_of(
    phases: Sequence[tuple[str, Scan, StructureSet]], wanted: Sequence[str], name: str | None = None
) -> Motion:
    """Put the phases of a 4D-CT together.

    Parameters
    ----------
    phases : sequence of (str, Scan, StructureSet)
        Name, CT and structures of each, on one grid.
    wanted : sequence of str
        Structures whose union over the phases is made.
    name : str or None
        Of the union where one structure is asked for; None makes a TG-263 name: IGTVp of GTVp, ITV of CTV.

    Raises
    ------
    MissingStructureError
        When a structure is drawn on no phase.
    InputError
        When it is drawn on one only, which shows no motion.

    Notes
    -----
    The mean is what doses are computed on. The highest values show where the tumour ever is in lung, and are no density
    of anything.
    """
    if name is not None and len(wanted) != 1:
        raise InputError(f"one name was given for {len(wanted)} volumes; ask for one structure, or leave --name out")
    highest, mean, lowest = over_phases(scan.image for _, scan, _ in phases)
    images = {
        kind: image.with_values(np.round(image.values).astype(np.int16))
        for kind, image in ((HIGHEST, highest), (MEAN, mean), (LOWEST, lowest))
    }
    planes, frame = mean.grid.axes_mm()[0], mean.grid.frame_of_reference
    internal, volumes, notes = [], {}, []
    for structure in wanted:
        drawn = [
            (phase, found) for phase, _, there in phases if (found := there.find(structure)) and not found.is_empty
        ]
        if not drawn:
            have = ", ".join(dict.fromkeys(n for _, _, there in phases for n in there.names)) or "nothing"
            raise MissingStructureError(f"structure '{structure}' is drawn on no phase; drawn are: {have}")
        if len(drawn) < 2:
            raise InputError(f"structure '{structure}' is drawn on phase {drawn[0][0]} only; draw it on two or more")
        without = [phase for phase, _, _ in phases if phase not in {there for there, _ in drawn}]
        if without:
            notes.append(f"'{structure}' is not drawn on phase {', '.join(without)}, where it may reach further")
        contours = union_over_phases([found.contours for _, found in drawn], planes)
        how = f"union of {structure} over phases {', '.join(phase for phase, _ in drawn)}"
        called = name or internal_name(drawn[0][1].name)
        internal.append(Structure(called, "ITV", contours, frame, made_by=(how,)))
        thickness = mean.grid.spacing_mm[0]
        volumes[drawn[0][1].name] = tuple(_volume(phase, found, thickness) for phase, found in drawn)
    return Motion(images, tuple(internal), volumes, tuple(phase for phase, _, _ in phases), tuple(notes))


def internal_name(name: str) -> str:
    """TG-263 name of the union over phases: I before GTV, ITV in place of CTV (NM-05)."""
    if name.upper().startswith("GTV"):
        return f"I{name}"
    return f"ITV{name[3:]}" if name.upper().startswith("CTV") else f"ITV^{name}"


def _volume(phase: str, structure: Structure, thickness_mm: float) -> PhaseVolume:
    low, high = structure.bounds_mm()
    x, y, z = ((low + high) / 2.0).tolist()
    return PhaseVolume(phase, volume_cm3(structure.contours, single_slice_thickness_mm=thickness_mm), (x, y, z))


def _reach(volumes: Sequence[PhaseVolume]) -> tuple[float, float, float]:
    """By how far the middle of a structure moves along x, y and z, mm."""
    x, y, z = np.ptp([one.centre_mm for one in volumes], axis=0).tolist()
    return x, y, z

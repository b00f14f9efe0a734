"""Beam arrangements of 3-D conformal plans as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ruamel.yaml import YAML

from tailort.errors import InputError
from tailort.geometry import PatientPosition
from tailort.patient.plan import BeamSetup

_NAMES = ("AP", "LAO", "L LAT", "LPO", "PA", "RPO", "R LAT", "RAO")


@dataclass(frozen=True)
class Arrangement:
    """A class of beam directions.

    Parameters
    ----------
    id, label : str
        Name by which protocols call it, and what it is.
    choices_deg : tuple of tuple of float
        Sets of directions, the preferred one first; from which side a beam enters the patient: 0 anterior, 90 left,
        180 posterior, 270 right.
    source, mark : str
        Where the angles are from.
    """

    id: str
    label: str
    choices_deg: tuple[tuple[float, ...], ...]
    source: str
    mark: str

    def __post_init__(self) -> None:
        for choice in self.choices_deg:
            if not choice or len({angle % 360.0 for angle in choice}) != len(choice):
                raise InputError(f"arrangement '{self.id}' needs directions, each once; found {list(choice)}")
        if not self.choices_deg:
            raise InputError(f"arrangement '{self.id}' has no directions")


@cache
def arrangements() -> dict[str, Arrangement]:
    """Arrangements that TailoRT carries, by name."""
    text = resources.files("tailort.patient").joinpath("arrangements.yaml").read_text(encoding="utf-8")
    entries = YAML(typ="safe", pure=True).load(text)
    return {
        name: Arrangement(
            name,
            entry["label"],
            tuple(tuple(float(angle) for angle in choice) for choice in entry["choices"]),
            entry["source"],
            entry["mark"],
        )
        for name, entry in entries.items()
    }


def arrangement(name: str) -> Arrangement:
    """Return an arrangement by its name."""
    known = arrangements()
    if name not in known:
        raise InputError(f"there is no beam arrangement '{name}'; known are {', '.join(known)}")
    return known[name]


def gantry_deg(direction_deg: float, position: PatientPosition) -> float:
    """Gantry angle, IEC 61217, of a beam that enters the patient from a direction (0 anterior, 90 the patient's left).

    Couch angle 0.
    """
    return {
        "HFS": direction_deg,
        "HFP": direction_deg + 180.0,
        "FFS": -direction_deg,
        "FFP": 180.0 - direction_deg,
    }[position] % 360.0


def direction_name(direction_deg: float) -> str:
    """Clinical name of a direction: AP, LAO, L LAT, LPO, PA, RPO, R LAT or RAO."""
    quarter, rest = divmod(direction_deg % 360.0, 90.0)
    return _NAMES[2 * int(quarter) + int(rest > 0)]


def setups_of(
    directions_deg: Sequence[float],
    isocentre_mm: Sequence[float],
    position: PatientPosition,
    collimator_deg: float = 0.0,
    first_number: int = 1,
) -> tuple[BeamSetup, ...]:
    """Beams from the given sides of the patient to one isocentre (LPS mm), numbered from `first_number`."""
    x, y, z = (float(c) for c in isocentre_mm)
    return tuple(
        BeamSetup(f"{n} {direction_name(d)}", n, (x, y, z), gantry_deg(d, position), collimator_deg)
        for n, d in enumerate(directions_deg, start=first_number)
    )

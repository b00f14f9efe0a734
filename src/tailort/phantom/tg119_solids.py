"""The solids of the TG-119 test geometries: their bodies, targets and organs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from tailort.phantom.shapes import Array, Column, Cut, Ellipsoid, Lattice, Minus, Shape, Window, constant

PACKAGED = "data/tg119.yaml"
MARKS = ("recalled", "measured", "chosen")

Numbers = Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Box:
    """A rectangular block round the origin; `half` is half of its width, depth and length, mm."""

    half: tuple[float, float, float]

    @property
    def z_range(self) -> tuple[float, float]:
        """See `Shape.z_range`."""
        return -self.half[2], self.half[2]

    def window(self, z: float) -> Window | None:
        """See `Shape.window`."""
        a, b, _ = self.half
        return (-a, a, -b, b) if abs(z) <= self.half[2] else None

    def field(self, at: Lattice) -> Array:
        """See `Shape.field`: distance to the nearest side; beyond a corner, to the farther one of its two sides."""
        field: Array = np.maximum(np.abs(at.x) - self.half[0], np.abs(at.y) - self.half[1])
        return field


@dataclass(frozen=True, eq=False)
class Part:
    """One structure of a geometry: TG-263 name, DICOM role and solid."""

    name: str
    role: str
    solid: Shape


@cache
def facts() -> dict[str, dict[str, Any]]:
    """Return what the packaged file says of each geometry: every length (mm) with its mark and note."""
    text = resources.files("tailort.phantom").joinpath(PACKAGED).read_text(encoding="utf-8")
    told: dict[str, dict[str, Any]] = YAML(typ="safe").load(text)
    return told


def numbers(name: str) -> dict[str, float]:
    """Return the lengths of a geometry, mm."""
    return {key: float(fact["value"]) for key, fact in facts()[name].items() if key != "title"}


def parts(name: str) -> tuple[Part, ...]:
    """Return the structures of a geometry, the body first; its own coordinates are the world's (LPS mm)."""
    return _BUILDERS[name](numbers(name))


def _cylinder(x: float, y: float, radius: float, z_range: tuple[float, float]) -> Column:
    return _elliptic(x, y, radius, radius, z_range)


def _elliptic(x: float, y: float, half_width: float, half_depth: float, z_range: tuple[float, float]) -> Column:
    depth = constant(half_depth)
    return Column(z_range, constant(x), constant(y), constant(half_width), depth, depth)


def _about_middle(length: float) -> tuple[float, float]:
    return -0.5 * length, 0.5 * length


def _slab(n: Numbers) -> Part:
    half = (0.5 * n["body_width"], 0.5 * n["body_depth"], 0.5 * n["body_length"])
    return Part("External", "EXTERNAL", Box(half))


def _c_shape(n: Numbers) -> tuple[Part, ...]:
    span = _about_middle(n["target_length"])
    ring = Minus(_cylinder(0, 0, n["outer_radius"], span), (_cylinder(0, 0, n["inner_radius"], span),))
    return (
        _slab(n),
        Part("PTV_5000", "PTV", Cut(ring, lambda at: at.y - n["opening"] + 0 * at.x)),
        Part("Core", "AVOIDANCE", _cylinder(0, 0, n["core_radius"], _about_middle(n["core_length"]))),
    )


def _multi_target(n: Numbers) -> tuple[Part, ...]:
    low, high = _about_middle(n["target_length"])
    step = high - low
    return (
        _slab(n),
        Part("PTV_5000", "PTV", _cylinder(0, 0, n["target_radius"], (low, high))),
        Part("PTV_2500", "PTV", _cylinder(0, 0, n["target_radius"], (low + step, high + step))),
        Part("PTV_1250", "PTV", _cylinder(0, 0, n["target_radius"], (low - step, high - step))),
    )


def _prostate(n: Numbers) -> tuple[Part, ...]:
    """The PTV is the ellipsoid with longer axes: within 0.4 mm of the CTV's margin on all sides."""
    half = (0.5 * n["prostate_width"], 0.5 * n["prostate_depth"], 0.5 * n["prostate_length"])
    wide, deep, long = (axis + n["margin"] for axis in half)
    behind = half[1] - n["indentation"] + n["rectum_radius"]
    rectum = _cylinder(0, behind, n["rectum_radius"], _about_middle(n["rectum_length"]))
    bladder = (0.5 * n["bladder_width"], 0.5 * n["bladder_depth"], 0.5 * n["bladder_length"])
    above = half[2] - n["bladder_overlap"] + bladder[2]
    prostate = Ellipsoid((0, 0, 0), half)
    return (
        _slab(n),
        Part("CTV_7560", "CTV", Minus(prostate, (rectum,))),
        Part("PTV_7560", "PTV", Ellipsoid((0, 0, 0), (wide, deep, long))),
        Part("Rectum", "ORGAN", rectum),
        Part("Bladder", "ORGAN", Minus(Ellipsoid((0, 0, above), bladder), (prostate, rectum))),
    )


def _head_and_neck(n: Numbers) -> tuple[Part, ...]:
    half_width, half_depth = 0.5 * n["body_width"], 0.5 * n["body_depth"]
    body = _elliptic(0, 0, half_width, half_depth, _about_middle(n["body_length"]))
    cord = _cylinder(0, n["cord_back"], n["cord_radius"], _about_middle(n["body_length"]))
    room = n["cord_radius"] + n["cord_gap"]
    radii = (0.5 * n["parotid_width"], 0.5 * n["parotid_depth"], 0.5 * n["parotid_length"])
    left, right = (Ellipsoid((side * n["parotid_side"], n["parotid_back"], n["parotid_up"]), radii) for side in (1, -1))
    span = _about_middle(n["target_length"])
    within = _elliptic(0, 0, half_width - n["skin_gap"], half_depth - n["skin_gap"], span)
    apart = Minus(within, (left, right), n["parotid_gap"])

    def in_front(at: Lattice) -> Array:
        # The notch for the cord is open to the back, so that the posterior nodes lie on both sides of it.
        round_cord = room - np.hypot(at.x, at.y - n["cord_back"])
        behind_cord = np.minimum(room - np.abs(at.x), at.y - n["cord_back"])
        field: Array = np.maximum(np.maximum(round_cord, behind_cord), at.y - n["target_back"])
        return field

    return (
        Part("External", "EXTERNAL", body),
        Part("PTV_5000", "PTV", Cut(apart, in_front)),
        Part("SpinalCord", "ORGAN", cord),
        Part("Parotid_L", "ORGAN", left),
        Part("Parotid_R", "ORGAN", right),
    )


_BUILDERS: dict[str, Callable[[Numbers], tuple[Part, ...]]] = {
    "tg119-c-shape": _c_shape,
    "tg119-multi-target": _multi_target,
    "tg119-prostate": _prostate,
    "tg119-head-and-neck": _head_and_neck,
}

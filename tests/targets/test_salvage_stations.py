"""Landmarks, borders and constructed stations against the truth of virtual patients after oesophagectomy.

The truth is drawn by `tailort.phantom` from analytic solids of the body, the construction by `tailort.targets` from the
contours of the case. They share no code, only the printed borders of AJCC-8 and what is printed nowhere and therefore
the protocol gives: how far a station reaches in a plane (8 mm, SC-09), that 7 ends with the main bronchi (SC-13), and
where 15 and 16 end (SC-14).
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Polygon

import tailort.targets
from tailort.patient import StructureSet
from tailort.phantom import salvage
from tailort.protocols import load
from tailort.targets import CutAt, stations_named
from tailort.targets.borders import place
from tailort.targets.landmarks import find
from tailort.targets.stations import StationAtlas

SEEDS = [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))]
REACH_MM = 8.0
SALVAGE = load("salvage-crt")

AT_BORDERS = {
    "cricoid-lower-edge": "cricoid_lower_edge", "lung-apex-left": "lung_apex_left",
    "lung-apex-right": "lung_apex_right", "brachiocephalic-lower-margin": "brachiocephalic_artery_lower_margin",
    "azygos-upper-border": "azygos_arch_top", "aortic-arch-top": "aortic_arch_top", "carina": "carina",
    "inferior-pulmonary-vein": "inferior_pulmonary_vein_lower_margin",
}  # fmt: skip
AT_POINTS = {
    "t1-upper-margin": "upper_margin_t1", "clavicular-head": "clavicular_head", "sternal-notch": "sternal_notch",
    "diaphragm-dome": "diaphragm_dome_right", "hiatus": "diaphragm_hiatus", "coeliac-axis": "coeliac_axis",
}  # fmt: skip

LEAST_DICE = {
    **{(name,): 0.8 for name in ("1", "2", "4", "7", "8U", "18", "19", "20")},
    # One plane of 4 mm on the other side of a border; the median is 0.84 and 0.88.
    ("8M",): 0.79, ("8Lo",): 0.77,
    ("1", "2", "4", "7", "8U"): 0.8, ("2", "4", "7", "8U", "8M"): 0.8, ("15", "16", "17", "18", "19", "20"): 0.8,
    # Of 15 one plane of 4 mm more or less is a sixth: where 16 begins hangs on where a resected junction was, 20 mm
    # below the hiatus here, 20 mm of a nominal adult in the truth.
    ("15",): 0.75, ("16",): 0.8, ("17",): 0.8,
    # A recurrence in the ligament has pushed the lung away, on whose surface its base was.
    ("9",): 0.7,
}  # fmt: skip
"""By the stations that are taken together: each alone, and as the regions I or II, III and IV unite them."""


@dataclass(frozen=True)
class Patient:
    """A case, what is true of it, and what was constructed from it."""

    structures: StructureSet
    planes_mm: np.ndarray
    spacing_mm: float
    heights_mm: dict[str, float]
    dice: dict[tuple[str, ...], float]


@cache
def patient(seed: int) -> Patient:
    virtual = salvage.make(seed, "coarse")
    truth, planes = virtual.truth, virtual.scan.image.grid.axes_mm()[0]
    heights = {name: truth["station_borders_mm"][key] for name, key in AT_BORDERS.items()}
    heights |= {name: truth["landmarks_mm"][key][2] for name, key in AT_POINTS.items()}
    atlas = StationAtlas(virtual.structures, planes, REACH_MM)
    centre = truth["landmarks_mm"]["carina"][:2]
    parts = {part for names in LEAST_DICE for name in names for part in stations_named(name)}
    made = {part: filled(atlas.construct(part).contours, planes, centre) for part in parts}
    true = {
        part: filled([np.array(c) for c in truth["stations"][part]["contours_mm"]], planes, centre) for part in parts
    }
    dice = {}
    for names in LEAST_DICE:
        told = [part for name in names for part in stations_named(name)]
        a, b = (np.any([stations[part] for part in told], axis=0) for stations in (made, true))
        dice[names] = float(2 * (a & b).sum() / (a.sum() + b.sum()))
    return Patient(virtual.structures, planes, atlas.spacing_mm, heights, dice)


def filled(contours: Iterable[np.ndarray], planes: np.ndarray, centre: Sequence[float]) -> np.ndarray:
    """Points of a lattice of 1 mm in each plane that lie within the contours; inner ones are holes."""
    x, y = (middle + np.arange(-75.0, 75.0) + 0.01 for middle in centre)
    inside = np.zeros((len(planes), len(y), len(x)), dtype=bool)
    for contour in contours:
        k = int(np.argmin(np.abs(planes - contour[0, 2])))
        low, high = contour[:, :2].min(axis=0), contour[:, :2].max(axis=0)
        (i, m), (j, n) = (np.searchsorted(axis, (low[d], high[d])) for d, axis in enumerate((x, y)))
        at = np.stack(np.meshgrid(x[i:m], y[j:n]), axis=-1).reshape(-1, 2)
        inside[k, j:n, i:m] ^= Polygon(contour[:, :2]).contains_points(at).reshape(n - j, m - i)
    return inside


def test_construction_and_truth_share_no_code() -> None:
    for path in Path(tailort.targets.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not [name for name in names if "phantom" in name], path.name


@pytest.mark.parametrize("seed", SEEDS)
def test_every_landmark_lies_within_one_slice_of_the_true_one(seed: int) -> None:
    of = patient(seed)
    off = {}
    for name, true in of.heights_mm.items():
        found = find(name, of.structures, of.planes_mm)
        assert found is not None, name
        off[name] = found.z_mm - true
    assert {name: mm for name, mm in off.items() if abs(mm) > of.spacing_mm} == {}


@pytest.mark.parametrize("seed", SEEDS)
def test_every_printed_border_lies_within_one_slice_of_its_landmark(seed: int) -> None:
    of = patient(seed)
    (cut,) = (
        operation for step in SALVAGE.file.plans[0].targets if step.name == "CTVn" for operation in step.record().then
    )
    assert isinstance(cut, CutAt)
    marks = [border for border in (*cut.superior, *cut.inferior) if border.landmark]
    assert {border.landmark for border in marks} == {"t1-upper-margin", "clavicular-head", "carina", "coeliac-axis"}
    for border in marks:
        placed = place((replace(border, if_made=""),), "superior", of.structures, of.planes_mm)
        assert placed is not None
        assert abs(placed.z_mm - (of.heights_mm[border.landmark] + border.above_mm)) <= of.spacing_mm


@pytest.mark.parametrize("seed", SEEDS)
def test_constructed_stations_overlap_with_the_true_ones(seed: int) -> None:
    dice = patient(seed).dice
    assert {names: round(dice[names], 3) for names, least in LEAST_DICE.items() if dice[names] < least} == {}

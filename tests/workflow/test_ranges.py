"""Ranges of cumulative doses: what draws of whole images say, made of the voxels that count."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tailort.evaluation import accumulate, cells_of, dvh_in
from tailort.geometry import Grid, Image, Transform
from tailort.patient import Case, Course, Dose, Person, Scan, Structure, StructureSet
from tailort.registration import Registration
from tailort.workflow.earlier import drawn_on, earlier_on
from tailort.workflow.ranges import drawn_in, ranges, voxels_of

TODAY, EARLIER, OTHER = "1.1", "2.2", "3.3"
DAY = dt.date(2026, 11, 1)
GRID = Grid.axial((14, 24, 26), (3.0, 3.0, 3.0), (-37.0, -34.0, -19.0), TODAY)
ANGLES = np.linspace(0.0, 2.0 * np.pi, 30, endpoint=False)
KEYS = [
    (organ, metric, ab)
    for organ in ("rod", "ball")
    for metric in ("Max[Gy]", "D0.035cc[Gy]", "D1cc[Gy]", "Mean[Gy]")
    for ab in (2.0, 3.0, 10.0)
]


def organ(name: str, centre: tuple[float, float], radius_mm: float) -> Structure:
    ring = np.array(centre) + radius_mm * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
    planes = np.arange(-9.0, 9.1, 3.0)
    return Structure(name, "ORGAN", tuple(np.column_stack([ring, np.full(30, z)]) for z in planes), TODAY)


ORGANS = StructureSet((organ("rod", (-12.0, 0.0), 6.0), organ("ball", (12.0, 4.0), 11.0)), TODAY)


def physical(frame: str, seed: int, fractions: int) -> Dose:
    """A smooth dose on a grid of its own that reaches beyond today's."""
    grid = Grid.axial((30, 40, 42), (3.0, 3.0, 3.0), (-61.0, -58.0, -43.0), frame)
    k, j, i = np.indices(grid.shape)
    a, b = np.random.default_rng(seed).uniform(0.1, 0.3, 2)
    values = 40.0 + 15.0 * np.sin(a * i + seed) * np.cos(b * j) + 4.0 * np.sin(0.3 * k)
    return Dose(Image(grid, values.astype(np.float32), "Gy"), "physical", "course", fractions, None, "test", str(seed))


def registration(frame: str, uncertainty_mm: float | None) -> Registration:
    unsure = None
    if uncertainty_mm is not None:
        unsure = Image(GRID, np.full(GRID.shape, uncertainty_mm, dtype=np.float32), "mm")
    affine = np.eye(4)
    affine[:3, 3] = (2.0, -1.5, 0.7)
    return Registration(Transform(TODAY, frame, affine, None, "test"), None, "test", None, unsure)


def case(*courses: Course) -> Case:
    scan = Scan(Image(GRID, np.zeros(GRID.shape, dtype=np.int16), "HU"), "CT", "1", "2", ("3",) * GRID.shape[0], "HFS")
    return Case(Person("P"), (scan,), ORGANS, courses=courses)


FIRST = Course("2019", None, None, (physical(EARLIER, 1, 25), physical(EARLIER, 2, 5)))
SECOND = Course("2023", None, None, (physical(OTHER, 3, 30),))
MAPS = {"2019": registration(EARLIER, 3.0), "2023": registration(OTHER, None)}
OWN = (replace(physical(TODAY, 4, 2), image=Image(GRID, np.full(GRID.shape, 9.0, dtype=np.float32), "Gy")),)


def by_voxels(made: Case, count: int) -> dict[Any, tuple[float, float]]:
    cells = [cells_of(s, GRID) for s in ORGANS]
    voxels = voxels_of(cells, GRID)
    earlier = earlier_on(made, GRID, MAPS, DAY)
    draws = drawn_in(made, GRID, voxels, MAPS, count, 5)
    return ranges(KEYS, cells, voxels, earlier, OWN, draws, lambda n: None)


def test_ranges_of_the_voxels_that_count_are_those_of_whole_images_to_rounding() -> None:
    """Two phases that are drawn, a course that stays, and today's, at three alpha/beta."""
    made = case(FIRST, SECOND)
    found = by_voxels(made, 4)
    cells = {s.name: cells_of(s, GRID) for s in ORGANS}
    values: dict[Any, list[float]] = {key: [] for key in KEYS}
    for courses in drawn_on(made, GRID, MAPS, DAY, 4, 5):
        for alpha_beta_gy in (2.0, 3.0, 10.0):
            total = accumulate(courses, OWN, "BED", alpha_beta_gy)
            for name, inside in cells.items():
                curve = dvh_in(inside, total)
                for key in KEYS:
                    if (key[0], key[2]) == (name, alpha_beta_gy):
                        values[key].append(curve.value(key[1]))
    assert set(found) == set(KEYS)
    for key in KEYS:
        expected = np.quantile(values[key], [0.025, 0.975])
        np.testing.assert_allclose(found[key], expected, rtol=2e-5)
        assert expected[1] > expected[0]


def test_the_order_of_the_courses_changes_no_range() -> None:
    both = dict(MAPS) | {"2023": registration(OTHER, 2.0)}
    found = []
    for made in (case(FIRST, SECOND), case(SECOND, FIRST)):
        cells = [cells_of(s, GRID) for s in ORGANS]
        voxels = voxels_of(cells, GRID)
        draws = drawn_in(made, GRID, voxels, both, 3, 0)
        found.append(ranges(KEYS, cells, voxels, earlier_on(made, GRID, both, DAY), (), draws, lambda n: None))
    for key in KEYS:
        assert found[0][key] == pytest.approx(found[1][key], rel=1e-6)


def test_a_metric_that_is_not_known_in_every_draw_has_no_range() -> None:
    """One organ lies where an earlier dose grid does not reach in one of the draws."""
    cells = [cells_of(s, GRID) for s in ORGANS]
    voxels = voxels_of(cells, GRID)
    made = case(FIRST)

    def draws() -> Any:
        for n, drawn in enumerate(drawn_in(made, GRID, voxels, MAPS, 3, 0)):
            if n == 1:
                x = GRID.to_world(np.stack(np.unravel_index(voxels, GRID.shape), axis=-1))[:, 0]
                drawn = tuple(tuple(np.where(x > 4.0, np.nan, gy) for gy in phases or ()) for phases in drawn)
            yield drawn

    found = ranges(KEYS, cells, voxels, earlier_on(made, GRID, MAPS, DAY), (), draws(), lambda n: None)
    assert {key[0] for key in found} == {"rod"}
    assert len(found) == 12


def test_a_dose_that_is_known_by_bounds_only_leaves_no_range() -> None:
    cells = [cells_of(s, GRID) for s in ORGANS]
    voxels = voxels_of(cells, GRID)
    made = case(FIRST)
    (known,) = earlier_on(made, GRID, MAPS, DAY)
    x = GRID.to_world(np.moveaxis(np.indices(GRID.shape), 0, -1).astype(float))[..., 0]
    image = known.doses[0].image
    least = image.with_values(np.where(x < -4.0, np.float32(0.0), image.values))
    bounded = replace(known, doses=(replace(known.doses[0], least=least), known.doses[1]))
    draws = drawn_in(made, GRID, voxels, MAPS, 2, 0)
    found = ranges(KEYS, cells, voxels, (bounded,), (), draws, lambda n: None)
    assert {key[0] for key in found} == {"ball"}

"""What a person chooses for a registration: read, checked against what is drawn, and done."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from tailort.errors import InputError
from tailort.geometry import Grid, Image, resample
from tailort.patient import (
    Case,
    Course,
    Dose,
    Fact,
    Person,
    RegistrationOptions,
    Scan,
    Structure,
    StructureSet,
)
from tailort.phantom import VirtualPatient, make
from tailort.workflow.clock import StageClock
from tailort.workflow.registering import register_courses, registration_of
from tailort.workflow.registration_options import masks_of, registration_notes, registration_options

FRAME, BEFORE = "1.2.3", "1.2.9"
GRID = Grid.axial((9, 15, 29), (3.0, 3.0, 3.0), (-42.0, -21.0, -12.0), FRAME)
OLD_GRID = Grid.axial((9, 15, 29), (3.0, 3.0, 3.0), (58.0, 79.0, 88.0), BEFORE)
CLOCK = StageClock(lambda stage, share: None)


def box(name: str, low_mm: float, high_mm: float, by_mm: float = 0.0, frame: str = FRAME) -> Structure:
    corners = np.array([[low_mm, -9.0], [high_mm, -9.0], [high_mm, 9.0], [low_mm, 9.0]]) + by_mm
    contours = tuple(np.column_stack([corners, np.full(4, z + by_mm)]) for z in (-6.0, -3.0, 0.0, 3.0, 6.0))
    return Structure(name, "ORGAN", contours, frame)


TODAY = StructureSet((box("Lung_L", 6.0, 30.0), box("Lung_R", -30.0, -6.0), box("Tube", -3.0, 3.0)), FRAME)
OLD = StructureSet(
    tuple(box(name, a, b, 100.0, BEFORE) for name, a, b in (("Lung_L", 6.0, 30.0), ("Lung_R", -30.0, -6.0))), BEFORE
)


def test_a_table_is_read_as_it_is_written() -> None:
    told = {"method": "deformable", "region": "Spine", "guides": ["Heart"], "without": ["Tube"], "sliding": ["L", "R"]}
    found = registration_options(told, "'course.yaml': registration")
    assert found == RegistrationOptions("deformable", "Spine", ("Heart",), ("Tube",), ("L", "R"))
    assert registration_options(None, "x") == registration_options({}, "x") == RegistrationOptions()
    assert registration_options({"method": "rigid", "region": "Spine"}, "x").method == "rigid"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("rigid", "expected a table with method, region"),
        ({"guide": ["Heart"]}, "holds guide; known are method, region, guides"),
        ({"guides": "Heart"}, "guides is 'Heart'; expected a list"),
        ({"region": ["Spine"]}, "expected one name"),
        ({"method": "affine"}, "unknown method 'affine'"),
        ({"method": "rigid", "guides": ["Heart"]}, "takes no Heart"),
        ({"guides": ["Heart"], "without": ["heart"]}, "named twice"),
        ({"without": [""]}, "empty"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_with_its_place(told: Any, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        registration_options(told, "'course.yaml': registration")
    assert str(error.value).startswith("'course.yaml': registration")


def test_masks_are_made_on_both_scans_and_turn_round() -> None:
    chosen = RegistrationOptions(region="lung_l", guides=("Lung_L",), without=("Tube",), sliding=("Lung_R",))
    made = masks_of(chosen, TODAY, OLD, GRID, OLD_GRID, "2019")
    assert made.region is not None
    assert made.without is not None
    assert made.without_before is None
    # The region holds its structure and 10 mm around it.
    grown = np.argwhere(made.region)[:, 2]
    drawn = np.argwhere(made.guides["Lung_L"].today)[:, 2]
    assert (drawn.min() - grown.min()) == 3
    # Sides run through voxels' middles, so that these are half inside and count; the four edges are a quarter inside.
    assert made.guides["Lung_L"].today.sum() == 9 * 7 * 5 - 4 * 5
    assert made.without.sum() == 3 * 7 * 5 - 4 * 5
    np.testing.assert_array_equal(made.guides["Lung_L"].today, made.guides["Lung_L"].earlier)
    assert made.guides_back["Lung_L"].today is made.guides["Lung_L"].earlier
    assert made.sliding is not None
    assert made.sliding_back is not None
    assert made.sliding_back.earlier is made.sliding.today


def test_what_slides_is_all_of_its_structures_together() -> None:
    both = masks_of(RegistrationOptions(sliding=("Lung_L", "Lung_R")), TODAY, OLD, GRID, OLD_GRID, "2019").sliding
    ones = [
        masks_of(RegistrationOptions(guides=(name,)), TODAY, OLD, GRID, OLD_GRID, "2019").guides[name]
        for name in ("Lung_L", "Lung_R")
    ]
    assert both is not None
    np.testing.assert_array_equal(both.today, ones[0].today | ones[1].today)


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (
            RegistrationOptions(guides=("Tube",)),
            "'Tube' .* not drawn on the scan of course '2019'; drawn there: Lung_L",
        ),
        (RegistrationOptions(guides=("Heart",)), "'Heart' .* not drawn on the scan of today"),
        (RegistrationOptions(region="Spine"), "'Spine' .* today"),
        (RegistrationOptions(without=("Stomach",)), "'Stomach' without a counterpart is drawn neither"),
        (RegistrationOptions(sliding=("Lung_L", "Tube")), "'Tube'"),
        (RegistrationOptions(guides=("Empty",)), "'Empty' .* not drawn on the scan of today"),
        (RegistrationOptions(guides=("Dot",)), "'Dot' .* holds no voxel"),
    ],
)
def test_structures_that_are_not_there_are_named(chosen: RegistrationOptions, words: str) -> None:
    dot = box("Dot", 0.2, 0.9)
    dot = replace(dot, contours=(dot.contours[2] * [1, 0.02, 1],))
    today = TODAY.with_structures(Structure("Empty", "ORGAN", (), FRAME), dot)
    with pytest.raises(InputError, match=words):
        masks_of(chosen, today, OLD, GRID, OLD_GRID, "2019")


def test_a_course_without_drawings_has_nothing_that_could_guide() -> None:
    with pytest.raises(InputError, match="course '2019'; drawn there: nothing"):
        masks_of(RegistrationOptions(guides=("Lung_L",)), TODAY, None, GRID, OLD_GRID, "2019")


def case(**facts: Any) -> Case:
    ct = Image(GRID, np.zeros(GRID.shape, dtype=np.int16), "HU")
    scan = Scan(ct, "CT", "1", "2", ("3",) * GRID.shape[0], "HFS")
    return Case(Person("P1"), (scan,), TODAY, facts={name: Fact(name, value) for name, value in facts.items()})


def dose(grid: Grid) -> Dose:
    return Dose(Image(grid, np.zeros(grid.shape, dtype=np.float32), "Gy"), "physical", "course", 30, None, "test")


def old(**choices: Any) -> Course:
    return Course(
        "2019", None, OLD, (dose(OLD_GRID),), last_fraction=dt.date(2024, 5, 1),
        registration=RegistrationOptions(**choices),
    )  # fmt: skip


def test_a_resection_after_the_course_is_hinted_at_until_somebody_names_the_tissue() -> None:
    (hint,) = registration_notes(case(surgery="R0", surgery_date=dt.date(2024, 7, 1)), old())
    assert "resection on 2024-07-01" in hint
    assert "'without'" in hint
    assert registration_notes(case(surgery="done"), old()) != ()
    assert registration_notes(case(surgery="R0", surgery_date=dt.date(2024, 4, 1)), old()) == ()
    assert registration_notes(case(surgery="none"), old()) == registration_notes(case(), old()) == ()
    assert registration_notes(case(surgery="planned"), old()) == ()
    (told,) = registration_notes(case(surgery="R0"), old(without=("Tube",)))
    assert "Tube has no counterpart" in told
    assert "anything up to the highest dose" in told


def test_choices_for_a_course_that_is_not_registered_are_refused() -> None:
    here = replace(old(region="Lung_L"), doses=(dose(GRID),))
    with pytest.raises(InputError, match="leave 'registration' out"):
        register_courses(replace(case(), courses=(here,)), CLOCK)


SHIFT_MM = np.array([17.0, -9.0, 22.0])
BEND_MM = 12.0


def bent(patient: VirtualPatient, bend_mm: float) -> tuple[Course, Any]:
    """The patient's scan shifted into another frame and bent, and where each point of it lies today."""
    scan = patient.scan.image
    low, high = patient.structures["Heart"].bounds_mm()
    middle = 0.5 * (low + high)

    def home(points: np.ndarray) -> np.ndarray:
        x = points - SHIFT_MM
        near = np.exp(-0.5 * (((x - middle) / 45.0) ** 2).sum(axis=-1, keepdims=True))
        return x + bend_mm * near * np.array([0.0, -0.5, 1.0])

    affine = np.array(scan.grid.affine)
    affine[:3, 3] += SHIFT_MM
    grid = Grid(scan.grid.shape, affine, BEFORE)
    points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))
    index = np.moveaxis(scan.grid.to_index(home(points)), -1, 0)
    noise = 8.0 * np.random.default_rng(3).standard_normal(grid.shape)
    values = ndimage.map_coordinates(scan.values.astype(np.float32), index, order=1, mode="nearest") + noise
    made = replace(patient.scan, image=Image(grid, values.astype(np.float32), "HU"))
    return Course("earlier", made, None, (dose(grid),), registration=RegistrationOptions("rigid")), home


@pytest.mark.slow
def test_a_rigid_registration_knows_how_far_it_is_off_where_tissue_has_bent() -> None:
    patient = make("oesophagus", 1, "coarse")
    course, home = bent(patient, BEND_MM)
    today = Case(Person("P"), (patient.scan,), patient.structures, courses=(course,))
    found = registration_of(today, course, CLOCK, lambda: False)
    assert found.is_rigid
    assert found.quality is not None
    names = [measure.name for measure in found.quality.measures]
    assert any("inverse consistency" in name for name in names)
    assert not any("Jacobian" in name for name in names)
    assert found.uncertainty is not None
    # At points of the bent region the rigid map misses by up to 13 mm; the estimate covers nearly all of them.
    low, high = patient.structures["Heart"].bounds_mm()
    rng = np.random.default_rng(0)
    true = rng.uniform(low, high, (400, 3))
    there = _inverse(home, true)
    off = np.linalg.norm(found.map_points(true) - there, axis=-1)
    assert np.percentile(off, 90) > 6.0
    known = resample(found.uncertainty, patient.scan.image.grid.with_spacing(4.0), 0.0)
    index = np.round(known.grid.to_index(true)).astype(int)
    said = known.values[tuple(index.T)]
    assert np.mean(off < 2.0 * said) > 0.9
    # Far from the bend it is known better.
    cord = np.concatenate(patient.structures["SpinalCord"].contours)
    beside = known.values[tuple(np.round(known.grid.to_index(cord)).astype(int).T)]
    assert np.median(beside) < 0.5 * np.median(said)


def _inverse(home: Any, today_mm: np.ndarray) -> np.ndarray:
    points = today_mm + SHIFT_MM
    for _ in range(60):
        points = points + (today_mm - home(points))
    return points


@pytest.mark.slow
def test_a_region_brings_its_own_tissue_together() -> None:
    patient = make("oesophagus", 1, "coarse")
    course, home = bent(patient, BEND_MM)
    today = Case(Person("P"), (patient.scan,), patient.structures, courses=(course,))
    cord = patient.structures["SpinalCord"]
    points = np.concatenate(cord.contours)[::7]
    course = replace(course, registration=RegistrationOptions("rigid", region="SpinalCord"))
    found = registration_of(today, course, CLOCK, lambda: False)
    off = np.linalg.norm(found.map_points(points) - _inverse(home, points), axis=-1)
    assert np.median(off) < 2.0
    assert "by SpinalCord" in found.method


@pytest.mark.slow
def test_a_structure_that_guides_is_brought_together() -> None:
    patient = make("oesophagus", 1, "coarse")
    course, home = bent(patient, BEND_MM)
    heart = patient.structures["Heart"]
    moved = tuple(_flat(_inverse(home, contour)) for contour in heart.contours)
    drawn = StructureSet((replace(heart, contours=moved, frame_of_reference=BEFORE),), BEFORE)
    asked = replace(course, structures=drawn, registration=RegistrationOptions(guides=("Heart",)))
    found = registration_of(Case(Person("P"), (patient.scan,), patient.structures), asked, CLOCK, lambda: False)
    assert found.quality is not None
    assert next(m.value for m in found.quality.measures if m.name == "Heart: Dice") > 0.9
    assert "guided by Heart" in found.method


def _flat(points: np.ndarray) -> np.ndarray:
    """Moved contours in planes again, at the mean height."""
    return np.column_stack([points[:, :2], np.full(len(points), np.round(points[:, 2].mean(), 1))])

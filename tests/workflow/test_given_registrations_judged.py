"""A registration that came with the scans is measured like our own, with a way back that is found here."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tailort.errors import InputError
from tailort.geometry import Grid, Image, Transform
from tailort.patient import Case, Course, Dose, Person, RegistrationOptions, Scan, Structure, StructureSet
from tailort.registration import Field, Registration
from tailort.workflow.clock import StageClock
from tailort.workflow.registering import failures, judged_given, register_courses, warnings_of

sys.path.append(str(Path(__file__).parents[1] / "registration"))
import thorax_formula as t

TURN = Rotation.from_euler("xyz", (2.0, -3.0, 4.0), degrees=True).as_matrix()
SHIFT_MM = np.array([480.0, -310.0, 790.0])
CLOCK = StageClock(lambda stage, share: None)
AFFINE = np.eye(4)
AFFINE[:3, :3], AFFINE[:3, 3] = TURN, SHIFT_MM
TRUE = Registration(Transform(t.TODAY, t.EARLIER, AFFINE), method="given as DICOM")


def scanned(image: Image, name: str) -> Scan:
    return Scan(image, "CT", name, f"{name}.1", tuple(f"{name}.{k}" for k in range(image.grid.shape[0])), "HFS")


def box(name: str, centre_mm: np.ndarray, frame: str, half_mm: float = 20.0) -> Structure:
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half_mm + centre_mm[:2]
    zs = np.arange(centre_mm[2] - half_mm, centre_mm[2] + half_mm + 0.1, 5.0)
    return Structure(name, "ORGAN", tuple(np.column_stack([corners, np.full(4, z)]) for z in zs), frame)


@pytest.fixture(scope="module")
def case() -> Case:
    """Today's thorax, and the same one in another frame, turned by a few degrees, with a structure drawn on both."""
    today = scanned(t.scan(t.TODAYS_GRID, lambda p: p, 1), "1.5")
    earlier = scanned(t.scan(t.EARLIER_GRID, lambda p: (p - SHIFT_MM) @ TURN, 2), "1.6")
    centre = np.array([10.0, -20.0, -30.0])
    drawn = StructureSet((box("Heart", centre, t.TODAY),), t.TODAY)
    before = StructureSet((box("Heart", TURN @ centre + SHIFT_MM, t.EARLIER),), t.EARLIER)
    grid = t.EARLIER_GRID.with_spacing(20.0)
    dose = Dose(Image(grid, np.full(grid.shape, 30.0, np.float32), "Gy"), "physical", "course", 30, None, "test")
    course = Course("2019", earlier, before, (dose,))
    return Case(Person("P"), (today,), drawn, courses=(course,))


def off_by(mm: tuple[float, float, float], *, bends: bool) -> Registration:
    """The true map after a shift, as a displacement or as a part of the matrix."""
    if not bends:
        moved = np.eye(4)
        moved[:3, 3] = mm
        return replace(TRUE, rigid=Transform(t.TODAY, t.EARLIER, AFFINE @ moved))
    grid = t.TODAYS_GRID.with_spacing(15.0)
    return replace(TRUE, displacement=Field(grid, np.broadcast_to(np.float32(mm), (*grid.shape, 3)).copy()))


def within_mm(found: Registration) -> float:
    """Median uncertainty in the middle of the body."""
    assert found.uncertainty is not None
    grid = found.uncertainty.grid
    points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    middle = (np.abs(points) < (60.0, 60.0, 60.0)).all(axis=-1)
    return float(np.median(found.uncertainty.values[middle]))


def judged(case: Case, given: Registration) -> Registration:
    return judged_given(case, case.courses[0], given, CLOCK, lambda: False)


@pytest.mark.slow
def test_a_true_displacement_passes_with_an_uncertainty_and_a_wrong_one_fails_on_the_way_back(case: Case) -> None:
    right = judged(case, off_by((0.0, 0.0, 0.0), bends=True))
    assert right.quality is not None
    assert right.quality.verdict == "pass"
    names = [m.name for m in right.quality.measures]
    assert {"Jacobian determinant, least", "inverse consistency, mean [mm]", "Heart: Dice"} <= set(names)
    assert within_mm(right) < 6.0
    wrong = judged(case, off_by((0.0, 0.0, 15.0), bends=True))
    told = failures(wrong)
    assert any("inverse consistency" in text for text in told)
    assert any("Heart" in text for text in told)
    # Whoever uses it must know less of it.
    assert within_mm(wrong) > within_mm(right) + 5.0


@pytest.mark.slow
def test_a_rigid_one_is_judged_by_structures_and_its_round_trip_is_only_reported(case: Case) -> None:
    wrong = judged(case, off_by((0.0, 0.0, 15.0), bends=False))
    assert [text.split(":")[0] for text in failures(wrong)] == ["Heart", "Heart"]
    assert wrong.quality is not None
    trips = [m for m in wrong.quality.measures if "consistency" in m.name]
    assert [m.verdict for m in trips] == ["report", "report"]
    assert trips[0].value > 10.0
    # What a person chose to match may be right where nothing is drawn: the uncertainty tells what it cannot know.
    assert within_mm(wrong) > 10.0


def test_courses_use_what_is_given_and_refuse_a_second_opinion(case: Case) -> None:
    bare = replace(case.courses[0], scan=None, structures=None)
    told = register_courses(replace(case, courses=(bare,)), CLOCK, given={"2019": TRUE})["2019"]
    assert told.quality is None
    assert "could not be checked" in told.method
    assert "'2019' was taken as it came" in warnings_of({"2019": told})[0]
    asked = replace(case.courses[0], registration=RegistrationOptions("rigid"))
    with pytest.raises(InputError, match="asks for another one"):
        judged(replace(case, courses=(asked,)), TRUE)


def test_a_displacement_that_does_not_reach_the_body_is_refused(case: Case) -> None:
    far = Grid.axial((4, 4, 4), (10.0, 10.0, 10.0), (4000.0, 0.0, 0.0), t.TODAY)
    given = replace(TRUE, displacement=Field(far, np.zeros((4, 4, 4, 3), dtype=np.float32)))
    with pytest.raises(InputError, match="does not reach today's body"):
        judged(case, given)

"""Earlier courses on CTs of their own: registered, judged, and refused where the registration fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tailort.errors import InputError, TailortError
from tailort.geometry import Grid, Image, Transform
from tailort.patient import Case, Course, Dose, Person, StructureSet
from tailort.phantom import VirtualPatient, make
from tailort.registration import Registration
from tailort.registration.records import Measure, Quality
from tailort.workflow.clock import StageClock
from tailort.workflow.earlier import earlier_on
from tailort.workflow.registering import failures, register_courses, warnings_of

SHIFT_MM = np.array([17.0, -9.0, 22.0])
ELSEWHERE = "1.2.826.0.1.77"
CLOCK = StageClock(lambda stage, share: None)


def moved(patient: VirtualPatient) -> Course:
    """The patient's scan and drawings as an earlier course in a frame of reference of its own, with a dose of slope."""
    image = patient.scan.image
    affine = np.array(image.grid.affine)
    affine[:3, 3] += SHIFT_MM
    grid = Grid(image.grid.shape, affine, ELSEWHERE)
    scan = replace(patient.scan, image=Image(grid, image.values, "HU"))
    drawn = tuple(
        replace(s, contours=tuple(c + SHIFT_MM for c in s.contours), frame_of_reference=ELSEWHERE)
        for s in patient.structures
    )
    x = grid.to_world(np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1).astype(float))
    gy = np.maximum(30.0 + 0.1 * (x - SHIFT_MM).sum(axis=-1), 0.0).astype(np.float32)
    dose = Dose(Image(grid, gy, "Gy"), "physical", "course", 30, None, "test")
    return Course("earlier", scan, StructureSet(drawn, ELSEWHERE), (dose,))


def today(patient: VirtualPatient, course: Course) -> Case:
    return Case(Person("P"), (patient.scan,), patient.structures, courses=(course,))


def with_a_flat_structure(patient: VirtualPatient) -> VirtualPatient:
    """One more organ, drawn in a single plane."""
    heart = patient.structures["Heart"]
    flat = replace(heart, name="Flat", contours=heart.contours[len(heart.contours) // 2 :][:1])
    return replace(patient, structures=patient.structures.with_structures(flat))


@pytest.mark.slow
def test_a_course_in_another_frame_is_registered_and_its_dose_lies_where_it_was() -> None:
    patient = with_a_flat_structure(make("oesophagus", 1, "coarse"))
    case = today(patient, moved(patient))
    found = register_courses(case, CLOCK)
    assert failures(found["earlier"]) == []
    grid = patient.scan.image.grid.with_spacing(6.0)
    (mapped,) = earlier_on(case, grid, found, None)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1).astype(float)
    true = np.maximum(30.0 + 0.1 * grid.to_world(index).sum(axis=-1), 0.0)
    near = np.linalg.norm(grid.to_world(index) - np.mean(patient.structures["Esophagus"].bounds_mm(), axis=0), axis=-1)
    off = np.abs(mapped.doses[0].image.values - true)[near < 80.0]
    # 0.1 Gy for each millimetre that a point lies off.
    assert np.nanmedian(off) < 0.1
    assert found["earlier"].uncertainty is not None
    assert "deform" in mapped.mapped.lower() or "demons" in mapped.mapped.lower()


@pytest.mark.slow
def test_the_scan_of_another_patient_is_refused() -> None:
    with pytest.raises(TailortError):
        register_courses(today(make("oesophagus", 1, "coarse"), moved(make("oesophagus", 6, "coarse"))), CLOCK)


def test_a_course_without_a_scan_cannot_be_registered_and_one_in_the_same_frame_need_not() -> None:
    patient = make("oesophagus", 1, "coarse")
    course = moved(patient)
    with pytest.raises(InputError, match="add the CT on which it was planned"):
        register_courses(today(patient, replace(course, scan=None)), CLOCK)
    here = patient.scan.image.grid
    dose = replace(course.doses[0], image=Image(here, course.doses[0].image.values, "Gy"))
    assert register_courses(today(patient, replace(course, doses=(dose,))), CLOCK) == {}


def test_a_registration_that_fails_and_is_insisted_on_is_told_first() -> None:
    good = Registration(
        Transform("1", "2", np.eye(4), None, "test"), None, "test", Quality((Measure("a [mm]", 1.0, "<=", 2.0),))
    )
    bad = replace(good, quality=Quality((Measure("Heart: Dice", 0.61, ">=", 0.8), Measure("told", 3.0))))
    assert failures(good) == failures(replace(good, quality=None)) == []
    assert failures(bad) == ["Heart: Dice 0.61, limit >= 0.8"]
    (told,) = warnings_of({"2019": good, "2024": bad})
    assert "'2024' fails its own check (Heart: Dice 0.61, limit >= 0.8)" in told
    assert "insisted" in told

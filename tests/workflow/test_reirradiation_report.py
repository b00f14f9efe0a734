"""Kinds of re-irradiation by construction, and a report that tells every item, what is unknown included."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.evaluation import EarlierCourse, Row, Scorecard
from tailort.evaluation.recurrence import PrescribedDose
from tailort.geometry import Grid, Image
from tailort.patient import Case, Course, Dose, Fact, Person, Scan, Structure, StructureSet
from tailort.patient.case import PrescribedPhase
from tailort.radiobiology.reirradiation_types import concern_from_gy, kind_texts, kinds_of, reporting_items
from tailort.registration import Measure, Quality, Registration
from tailort.workflow.kinds import OrganDose, course_kinds
from tailort.workflow.recurrence import recurrences_of
from tailort.workflow.reporting import NOT_RECORDED, UNKNOWN, reporting

FRAME = "1.2.3"
GRID = Grid.axial((11, 21, 101), (3.0, 2.0, 2.0), (-100.0, -20.0, -15.0), FRAME)
X = GRID.axes_mm()[2]
PLANES = (-6.0, -3.0, 0.0, 3.0, 6.0)
SIXTY = PrescribedDose(((60.0, 30),))
TODAY = dt.date(2026, 11, 1)


def box(name: str, role: Any, low_mm: float, high_mm: float) -> Structure:
    corners = np.array([[low_mm, -8.0], [high_mm, -8.0], [high_mm, 8.0], [low_mm, 8.0]])
    return Structure(name, role, tuple(np.column_stack([corners, np.full(4, z)]) for z in PLANES), FRAME)


def slab(low_mm: float, high_mm: float, gy: float = 60.0, around_gy: float = 2.0) -> Dose:
    line = np.where((low_mm <= X) & (high_mm >= X), gy, around_gy)
    values = np.broadcast_to(line, GRID.shape).astype(np.float32)
    return Dose(Image(GRID, values, "Gy"), "physical", "course", 30, None, "test")


def case(*structures: Structure, known: bool = True) -> Case:
    scan = Scan(Image(GRID, np.zeros(GRID.shape, dtype=np.float32), "HU"), "CT", "1", "2", (), "HFS")
    told = (PrescribedPhase(60.0, 30),) if known else ()
    course = Course("2024", scan, None, (slab(-80.0, -40.0),), prescribed=told, last_fraction=dt.date(2025, 5, 1))
    return Case(Person("P"), (scan,), StructureSet(structures, FRAME), courses=(course,))


EARLIER = (EarlierCourse("2024", (slab(-80.0, -40.0),), 18.0, "same frame of reference"),)
LUNG = box("Lung_L", "ORGAN", -90.0, 90.0)
PTV = box("PTV", "PTV", 10.0, 40.0)


def organ(name: str, before: float, today: float, total: float, alpha_beta_gy: float = 3.0) -> OrganDose:
    return OrganDose(name, alpha_beta_gy, ((before, before), (today, today)), (total, total))


def kind(*structures: Structure, own: tuple[Dose, ...], organs: tuple[OrganDose, ...] = (), known: bool = True) -> Any:
    (found,) = course_kinds(case(*structures, known=known), EARLIER, own, SIXTY, organs, ())
    return found


def test_courses_whose_halves_of_dose_meet_are_type_one() -> None:
    found = kind(PTV, LUNG, own=(slab(-44.0, 40.0),))
    # Voxels of 2 mm from x -44 to -40, 21 rows, 11 planes.
    assert found.isodose_cm3 == pytest.approx((3 * 21 * 11 * 12e-3,) * 2)
    assert (found.kinds, found.overlap) == (("type I",), True)


def test_courses_that_stay_apart_are_what_their_organs_say() -> None:
    apart = (slab(10.0, 40.0),)
    mild = (organ("SpinalCord", 20.0, 20.0, 40.0, 2.0), organ("Lung_L", 40.0, 40.0, 42.0))
    assert kind(PTV, LUNG, own=apart, organs=mild).kinds == ("repeat organ irradiation",)
    other = (box("Heart", "ORGAN", 5.0, 60.0), box("Liver", "ORGAN", -90.0, -50.0))
    assert kind(PTV, *other, own=apart, organs=mild).kinds == ("repeat irradiation",)
    # 50 Gy EQD2 of the cord (alpha/beta 2) is what KO-92 looks at; below 1 Gy a course does not count.
    much, alone = organ("SpinalCord", 30.0, 25.0, 50.0, 2.0), organ("SpinalCord", 0.5, 60.0, 60.5, 2.0)
    found = kind(PTV, LUNG, own=apart, organs=(much,))
    assert (found.kinds, found.concerns) == (("type II",), ("SpinalCord",))
    assert kind(PTV, LUNG, own=apart, organs=(alone,)).kinds == ("repeat organ irradiation",)


def test_what_is_not_known_leaves_every_kind_that_it_could_be() -> None:
    # Without a dose of today only the target can show an overlap.
    assert kind(PTV, own=()).told == UNKNOWN
    assert kind(box("PTV", "PTV", -50.0, 10.0), own=()).kinds == ("type I",)
    assert kind(box("GTVp", "GTV", -50.0, 10.0), own=()).kinds == ("type I",)
    # Without a prescription the earlier isodose may reach further.
    found = kind(PTV, LUNG, own=(slab(10.0, 40.0),), known=False)
    assert "type I" in found.kinds
    assert len(found.kinds) > 1
    # An earlier dose that is not known where today's is.
    hidden = EARLIER[0].doses[0].image.values.copy()
    hidden[..., X > 0] = np.nan
    there = replace(EARLIER[0], doses=(replace(EARLIER[0].doses[0], image=Image(GRID, hidden, "Gy")),))
    (open_,) = course_kinds(case(PTV, LUNG), (there,), (slab(10.0, 40.0),), SIXTY, (), ())
    assert open_.overlap is None


def test_a_person_who_says_that_a_course_was_at_the_target_tells_an_overlap_that_no_dose_shows() -> None:
    told = case(PTV)
    for at_target, kinds in ((True, ("type I",)), (False, tuple(kind_texts())), (None, tuple(kind_texts()))):
        whole = replace(told, courses=(replace(told.courses[0], at_target=at_target),))
        (found,) = course_kinds(whole, EARLIER, (), SIXTY, (), ())
        assert found.kinds == kinds


def test_the_order_of_courses_changes_no_kind() -> None:
    whole = case(PTV, LUNG)
    other = replace(whole.courses[0], label="2020", doses=(slab(20.0, 60.0),))
    there = EarlierCourse("2020", (slab(20.0, 60.0),), 60.0, "same frame of reference")
    own = (slab(10.0, 40.0),)
    forth = course_kinds(replace(whole, courses=(whole.courses[0], other)), (*EARLIER, there), own, SIXTY, (), ())
    back = course_kinds(replace(whole, courses=(other, whole.courses[0])), (there, *EARLIER), own, SIXTY, (), ())
    assert forth == back[::-1]
    assert [found.overlap for found in forth] == [False, True]


@given(*(st.sampled_from([True, False, None]) for _ in range(3)))
def test_more_knowledge_never_adds_a_kind(overlap: bool | None, concern: bool | None, same: bool | None) -> None:
    found = set(kinds_of(overlap, concern, same))
    assert found
    for more in (
        [(o, concern, same) for o in (True, False) if overlap is None]
        + [(overlap, c, same) for c in (True, False) if concern is None]
        + [(overlap, concern, s) for s in (True, False) if same is None]
    ):
        assert set(kinds_of(*more)) <= found
    if None not in (overlap, concern, same):
        assert len(found) == 1


def test_doses_of_concern_are_those_of_the_spine_study() -> None:
    assert concern_from_gy("SpinalCord") == (50.0, 2.0)
    assert [concern_from_gy(name) for name in ("Esophagus", "Trachea", "A_Aorta")] == [(60.0, 2.0)] * 3
    assert concern_from_gy("A_Carotid_L") == (66.0, 2.0)
    assert concern_from_gy("Heart") is None
    assert set(kind_texts()) == {"type I", "type II", "repeat organ irradiation", "repeat irradiation"}


def made(whole: Case, own: tuple[Dose, ...] = (), **changes: Any) -> Any:
    told: dict[str, Any] = {
        "registrations": {}, "kinds": (), "recurrences": (), "budget": (), "scorecard": Scorecard((), {}),
        "prescribed": None, "today": TODAY, **changes,
    }  # fmt: skip
    return reporting(whole, EARLIER, own, **told)


def test_every_item_is_told_and_what_is_unknown_is_called_so() -> None:
    bare = replace(case(), courses=(replace(case().courses[0], prescribed=(), last_fraction=None),))
    found = reporting(bare, (replace(EARLIER[0], months=None),), (), {}, (), (), (), Scorecard((), {}), None, TODAY)
    assert [one.item.key for one in found.items] == [item.key for item in reporting_items()]
    told = {one.item.key: " ".join(one.lines) for one in found.items}
    for key in ("recurrence", "interval", "systemic_therapy", "performance_status", "survival_estimate", "targets"):
        assert UNKNOWN in told[key], key
    for key in ("follow_up", "toxicity", "quality_of_life"):
        assert told[key] == NOT_RECORDED
    assert {"prescription of '2024'", "technique of '2024'", "interval since '2024'", "recovery from '2024'"} <= set(
        found.gaps
    )
    entries = found.as_dict()["items"]
    assert isinstance(entries, list)
    assert all(entry["rules"] and entry["mark"] for entry in entries)


def test_what_the_record_and_the_courses_tell_is_told() -> None:
    facts = {
        name: Fact(name, value, "record")
        for name, value in {"ecog": 1, "concurrent_chemotherapy": True, "expected_survival_months": 18}.items()
    }
    whole = case(box("GTVp", "GTV", -70.0, -50.0), PTV).with_facts(facts)
    found = made(whole, (slab(10.0, 40.0),), recurrences=recurrences_of(whole, {}), prescribed=SIXTY)
    told = {one.item.key: " ".join(one.lines) for one in found.items}
    assert told["performance_status"] == "ecog: 1"
    assert told["systemic_therapy"] == "concurrent chemotherapy: yes"
    assert "18.0 months, 2025-05-01 to 2026-11-01" in told["interval"]
    assert "60 Gy in 30 fractions of 2 Gy" in told["earlier_courses"]
    assert "60 Gy in 30 fractions of 2 Gy" in told["new_course"]
    assert "GTVp and '2024': in field" in told["recurrence"]


def test_limits_and_failing_registrations_are_told_by_name() -> None:
    rows = tuple(
        Row(name, "Max[Gy]", "BED(a/b=3)", "cumulative", 1.0, "<", 203.0, "hard", verdict, "KO-90")
        for name, verdict in (("Esophagus", "fail"), ("Heart", "pass"), ("Trachea", "unknown"))
    )
    failing = Registration.identity(FRAME).judged(Quality((Measure("folds", -1.0, ">", 0.0),)))
    found = made(case(), scorecard=Scorecard(rows, {}), registrations={"2024": failing})
    told = {one.item.key: " ".join(one.lines) for one in found.items}
    assert "1 of 3 met; missed: Esophagus Max[Gy] < 203; unknown: Trachea Max[Gy] < 203" in told["limits"]
    assert "its own check: fail" in told["registration"]
    assert "uncertainty of the registration of '2024'" in found.gaps
    # RB-109: what is discounted is shown beside, never compared with the limits that were found without.
    assert "never compared with the spine study's limits" in told["recovery"]

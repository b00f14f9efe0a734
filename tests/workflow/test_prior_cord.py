"""KO-80 to KO-86 with earlier courses that are known: the cord's limit comes from what they gave."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.geometry import Grid, Image
from tailort.patient import Case, Constraint, Course, Dose, Person, PrescribedPhase, Scan, Structure, StructureSet
from tailort.protocols import load, read_record
from tailort.protocols.known import seen
from tailort.workflow.budgeting import governed
from tailort.workflow.clock import StageClock
from tailort.workflow.options import PlanningOptions
from tailort.workflow.prior_cord import (
    CORD,
    PRESCRIPTION,
    PriorBeds,
    prior_beds,
    step_readings,
    told_by_courses,
    with_prior_facts,
)
from tailort.workflow.reirradiating import reirradiate

SILENT = StageClock(lambda stage, share: None)
FRAME = "1.2.3"
GRID = Grid.axial((9, 15, 29), (3.0, 3.0, 3.0), (-42.0, -21.0, -12.0), FRAME)
TODAY = dt.date(2026, 11, 1)
SPINE = load("reirradiation-spine")


def box(name: str, low_mm: float, high_mm: float) -> Structure:
    corners = np.array([[low_mm, -9.0], [high_mm, -9.0], [high_mm, 9.0], [low_mm, 9.0]])
    contours = tuple(np.column_stack([corners, np.full(4, z)]) for z in (-6.0, -3.0, 0.0, 3.0, 6.0))
    return Structure(name, "ORGAN", contours, FRAME)


def dose(gy: Any, fractions: int) -> Dose:
    image = Image(GRID, np.broadcast_to(gy, GRID.shape).astype(np.float32), "Gy")
    return Dose(image, "physical", "course", fractions, None, "test")


def course(label: str, gy: Any, fractions: int, prescribed_gy: float | None = None, **more: Any) -> Course:
    prescribed = () if prescribed_gy is None else (PrescribedPhase(prescribed_gy, fractions),)
    return Course(label, None, None, (dose(gy, fractions),), prescribed=prescribed, **more)


def case(*courses: Course, structure: str = "SpinalCord", own: tuple[Dose, ...] = (), **facts: Any) -> Case:
    ct = Image(GRID, np.zeros(GRID.shape, dtype=np.int16), "HU")
    scan = Scan(ct, "CT", "1", "2", ("3",) * GRID.shape[0], "HFS")
    drawn = StructureSet((box(structure, -18.0, 18.0),), FRAME)
    record = {"age_years": 61, **facts}
    return Case(Person("P1"), (scan,), drawn, courses=courses, doses=own, facts=read_record(record))


def limit(patient: Case, **readings: str) -> tuple[str, ...]:
    """Limits of the cord's PRV that are possible for a patient."""
    named = {rule.replace("_", "-"): name for rule, name in readings.items()}
    tables = seen(SPINE.file, patient.facts, named, TODAY).tables
    return next(found.possible for found in tables if found.table.name == "cord_prv_limit_gy")


def offered(patient: Case) -> Case:
    return told_by_courses(patient, SPINE, {}, TODAY)


def test_ko_86_each_course_counts_with_its_own_dose_per_fraction() -> None:
    found = prior_beds(case(course("a", 40.0, 20, 50.0), course("b", 6.0, 2, 8.0)), {}, TODAY)
    # 50/20 and 8/2 at alpha/beta 2 Gy: 50 (1 + 1.25) + 8 (1 + 2); 40/20 and 6/2: 80 + 6 (1 + 1.5).
    assert found.prescription_gy == pytest.approx(50 * 2.25 + 8 * 3)
    assert found.cord_gy == pytest.approx((80 + 15, 80 + 15), rel=1e-5)
    assert found.structure == "SpinalCord"


def test_ko_85_the_limit_comes_from_the_courses_where_the_record_tells_nothing() -> None:
    # 48 Gy in 24 to the cord are 96 Gy BED, 40 in 20 prescribed 80 Gy; the larger is the default.
    patient = offered(case(course("a", 48.0, 24, 48.0)))
    assert limit(patient) == ("11.4",)
    hotter = offered(case(course("a", 48.0, 24, 40.0)))
    assert limit(hotter) == ("11.4",)
    assert limit(hotter, KO_85="prescription") == ("12.2",)
    assert limit(offered(case(course("a", 40.0, 24, 48.0)))) == ("11.4",)
    assert limit(offered(case(course("a", 40.0, 24, 48.0))), KO_85="cord") == ("12.2",)
    # Without courses the table cannot know.
    assert len(limit(case())) > 1
    notes = " ".join(hotter.notes)
    assert f"'{CORD}' is not in the clinical record; 96.0 Gy follows from D0.035cc[Gy] of SpinalCord" in notes
    assert f"'{PRESCRIPTION}' is not in the clinical record" in notes
    assert "course 'a' is taken as given at the target" in notes


@given(st.integers(30, 60), st.integers(15, 30), st.integers(30, 60))
@settings(max_examples=15, deadline=None)
def test_the_limit_by_the_courses_is_that_of_a_record_that_tells_the_same(cord: int, n: int, prescribed: int) -> None:
    by_courses = offered(case(course("a", float(cord), n, float(prescribed))))
    told = {CORD: cord * (1 + cord / n / 2), PRESCRIPTION: prescribed * (1 + prescribed / n / 2)}
    # Doses are kept in float32; a BED that lies on an edge of the rule within that is nobody's to decide here.
    if all(abs(value - round(value)) > 1e-3 for value in told.values()):
        assert limit(by_courses) == limit(case(**told))


def test_what_the_record_tells_stands_and_a_contradiction_is_told() -> None:
    patient = case(course("a", 48.0, 24, 48.0), **{CORD: 80.0, PRESCRIPTION: 96.0})
    beds = prior_beds(patient, {}, TODAY)
    kept, notes, warnings = with_prior_facts(patient, SPINE, beds)
    assert (kept.facts[CORD].value, kept.facts[PRESCRIPTION].value) == (80.0, 96.0)
    assert notes == ()
    (warning,) = warnings
    assert f"'{CORD}' is 80 Gy, 96.0 Gy follows from" in warning
    agreeing = case(course("a", 48.0, 24, 48.0), **{CORD: 96.2, PRESCRIPTION: 96.0})
    assert with_prior_facts(agreeing, SPINE, beds)[2] == ()


def test_a_prescription_that_the_record_tells_as_dose_and_fractions_is_compared_too() -> None:
    facts = {"prior_radiotherapy_dose_gy": 60, "prior_radiotherapy_fractions": 30, "prior_radiotherapy_courses": 1}
    patient = case(course("a", 48.0, 24, 48.0), **facts)
    kept, notes, warnings = with_prior_facts(patient, SPINE, prior_beds(patient, {}, TODAY))
    assert PRESCRIPTION not in kept.facts
    assert any("'prior_prescription_bed_gy' is 120 Gy, 96.0 Gy follows" in warning for warning in warnings)
    assert any(CORD in note for note in notes)


def test_unknown_doses_stay_unknown_with_the_reason() -> None:
    nothing = prior_beds(case(course("a", 48.0, 24), structure="Heart"), {}, TODAY)
    assert (nothing.prescription_gy, nothing.cord_gy) == (None, None)
    assert any("what course 'a' prescribed is not known" in reason for reason in nothing.reasons)
    assert any("is drawn, so the cord's earlier dose is not known" in reason for reason in nothing.reasons)
    half = np.where(np.arange(29) < 14, 48.0, np.nan)
    beyond = prior_beds(case(course("a", half, 24, 48.0)), {}, TODAY)
    assert beyond.cord_gy is None
    assert any("does not reach all of it" in reason for reason in beyond.reasons)
    patient = offered(case(course("a", half, 24, 48.0)))
    # 96 Gy prescribed say at most 11.4 Gy; the cord could still lower it.
    assert set(limit(patient)) > {"11.4", "10.8"}


def test_a_course_elsewhere_counts_at_the_cord_only() -> None:
    here, away = course("a", 40.0, 20, 40.0), course("b", 10.0, 5, 40.0, at_target=False)
    found = prior_beds(case(here, away), {}, TODAY)
    assert found.prescription_gy == pytest.approx(80.0)
    assert found.cord_gy == pytest.approx((100.0, 100.0), rel=1e-5)
    assert not any("'b'" in reason for reason in found.reasons)


def test_what_stands_for_the_cord_is_named() -> None:
    assert prior_beds(case(course("a", 48.0, 24), structure="SpinalCanal"), {}, TODAY).structure == "SpinalCanal"


def test_of_a_course_on_paper_the_most_that_the_cord_can_have_had_counts() -> None:
    phases = (PrescribedPhase(40.0, 20, 120.0),)
    paper = Course("paper", None, None, (), prescribed=phases, organ_highest_gy={"SpinalCord": 44.0})
    found = prior_beds(case(paper), {}, TODAY)
    assert found.prescription_gy == pytest.approx(80.0)
    assert found.cord_gy == (0.0, pytest.approx(44.0 * 2.1, rel=1e-5))
    patient = offered(case(paper))
    # 92.4 Gy lie in the step up to 93 Gy, which has 11.8 Gy.
    assert limit(patient) == ("11.8",)
    assert any("the most that D0.035cc[Gy] of SpinalCord over the earlier courses can be" in n for n in patient.notes)


def test_other_protocols_and_cases_without_a_record_are_left_alone() -> None:
    patient = case(course("a", 48.0, 24, 48.0))
    beds = prior_beds(patient, {}, TODAY)
    assert with_prior_facts(patient, load("rtog-9405"), beds) == (patient, (), ())
    bare = Case(patient.person, patient.scans, patient.structures, courses=patient.courses)
    assert with_prior_facts(bare, SPINE, beds) == (bare, (), ())
    assert told_by_courses(case(), SPINE, {}, TODAY).notes == ()


def rows(prescription_gy: float | None, cord_gy: float | None, **readings: str) -> dict[tuple[str, str], Any]:
    beds = PriorBeds(prescription_gy, None if cord_gy is None else (cord_gy, cord_gy), "SpinalCord")
    named = {rule.replace("_", "-"): name for rule, name in readings.items()}
    found = step_readings(beds, case(), SPINE, named)
    return {(row.prior.split()[-1] if "larger" not in row.prior else "larger", row.text): row for row in found}


UPPER, MIDDLE, LINE = "steps of 1 Gy, upper edge", "steps of 1 Gy, middle", "line without steps"
LOWER = "steps of 1 Gy, lower edge: not the printed example, never taken"


def test_ko_81_and_ko_82_all_readings_stand_beside_each_other() -> None:
    found = rows(95.5, 92.0)
    # KO-82 prints these: 11.4 by upper edge and middle, 11.43 by the line, 11.5 by the lower edge.
    larger = {text: found["larger", text].limit_gy for text in (UPPER, MIDDLE, LINE, LOWER)}
    assert larger == {UPPER: 11.4, MIDDLE: 11.4, LINE: pytest.approx(11.43), LOWER: 11.5}
    assert found["cord", UPPER].limit_gy == 11.9
    assert found["cord", MIDDLE].limit_gy == 12.0
    assert found["prescription", UPPER].limit_gy == 11.4
    assert [key for key, row in found.items() if row.governs] == [("larger", UPPER)]
    other = rows(95.5, 92.0, KO_85="cord", KO_82="mid_bin")
    assert [key for key, row in other.items() if row.governs] == [("cord", MIDDLE)]


@pytest.mark.parametrize(
    ("bed_gy", "limit_gy"), [(80, 12.2), (90.5, 12.2), (96, 11.5), (100, 10.9), (100.5, 10.8), (120, 10.8)]
)
def test_the_lower_edge_has_the_limit_of_the_step_below(bed_gy: float, limit_gy: float) -> None:
    assert rows(bed_gy, bed_gy)["larger", LOWER].limit_gy == limit_gy


def test_ko_84_prior_dose_and_limit_together_above_140_gy_are_flagged() -> None:
    flagged = rows(120.0, 110.0)["larger", UPPER]
    assert flagged.together_bed_gy == pytest.approx(120 + 39.96)
    assert flagged.above_review is True
    assert rows(95.0, 92.0)["larger", UPPER].above_review is False


def test_a_reading_whose_dose_is_unknown_has_no_limit() -> None:
    found = rows(95.0, None)
    assert found["larger", UPPER].limit_gy is None
    assert found["cord", UPPER].limit_gy is None
    assert found["prescription", UPPER].limit_gy == 11.5
    assert rows(None, None) == {}


def test_the_record_governs_the_readings_as_it_does_the_limit() -> None:
    patient = case(**{CORD: 80.0, PRESCRIPTION: 93.0})
    found = step_readings(PriorBeds(96.0, (96.0, 96.0), "SpinalCord"), patient, SPINE, {})
    (governing,) = [row for row in found if row.governs]
    assert (governing.limit_gy, governing.prior_bed_gy) == (11.8, 93.0)
    assert limit(patient) == ("11.8",)


def test_the_sum_of_all_courses_at_the_cord_is_flagged_above_140_gy() -> None:
    made = reirradiate(
        case(course("a", 50.0, 25, 50.0), own=(dose(11.5, 2),)), None, PlanningOptions(today=TODAY), {}, SILENT
    )
    # 100 Gy and 11.5 (1 + 11.5 / 4) = 44.6 Gy.
    assert any("D0.035cc[Gy] of SpinalCord over all courses is 144.6 Gy BED" in text for text in made.warnings)
    below = reirradiate(
        case(course("a", 50.0, 25, 50.0), own=(dose(10.8, 2),)), None, PlanningOptions(today=TODAY), {}, SILENT
    )
    assert not any("KO-84" in text for text in below.warnings)
    assert made.as_dict()["cord_step_rule"]


def test_a_reading_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="KO-85"):
        step_readings(PriorBeds(96.0, None, ""), case(), SPINE, {"KO-85": "mean"})


OESOPHAGUS_LIMIT = Constraint(
    "Esophagus", "Max[Gy]", "<", 203.0, "hard", "KO-90", quantity="BED", alpha_beta_gy=3.0, scope="cumulative"
)


def test_rb_135_the_protocol_s_own_limit_governs_and_the_others_are_shown_beside_it() -> None:
    patient = case(course("a", 50.0, 25, 50.0), structure="Esophagus")
    made = reirradiate(patient, None, PlanningOptions(today=TODAY), {}, SILENT)
    assert made.budget
    assert not any(row.governs for row in made.budget)
    rows = governed(made.budget, [OESOPHAGUS_LIMIT])
    (governing,) = [row for row in rows if row.governs]
    assert (governing.limits, governing.metric, governing.limit) == ("koide", "Max[Gy]", "< 203")
    assert {row.limits for row in rows if not row.governs} >= {"koide", "michigan"}
    assert governing.as_dict()["governs"] is True
    reported = replace(OESOPHAGUS_LIMIT, priority="report")
    assert not any(row.governs for row in governed(made.budget, [reported, replace(OESOPHAGUS_LIMIT, limit=204.0)]))


def test_an_organ_without_alpha_beta_is_said_to_have_none_and_nothing_is_guessed() -> None:
    patient = case(course("a", 50.0, 25, 50.0), structure="OpticNrv_L")
    made = reirradiate(patient, None, PlanningOptions(today=TODAY), {}, SILENT)
    (row,) = [row for row in made.budget if row.limits == "michigan"]
    assert (row.prior_gy, row.total_gy, row.left_gy, row.verdict) == (None, None, None, "unknown")
    assert "no alpha/beta of this organ is known, so its courses cannot be added" in row.reason
    # What was given stands at 2, 3 and 10 Gy side by side all the same.
    assert [r.alpha_beta_gy for r in made.rows if r.metric == "Max[Gy]"] == [2.0, 3.0, 10.0]

"""The page of a re-irradiation: failing registrations first, every item told, the recurrence by every definition."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tailort.dose import ENGINES, REPORTING_ENGINES
from tailort.evaluation import cells_of
from tailort.geometry import Grid, Image, Transform
from tailort.patient import Case, Course, Dose, Fact, Person, Scan, Structure, StructureSet
from tailort.patient.case import PrescribedPhase
from tailort.protocols import load
from tailort.radiobiology.recurrence_fields import field_definitions
from tailort.radiobiology.reirradiation_types import reporting_items
from tailort.registration import Measure, Quality, Registration
from tailort.web.page import engine_told
from tailort.web.reirradiation_report import reirradiation_report
from tailort.workflow.budget_map import budget_map
from tailort.workflow.clock import StageClock
from tailort.workflow.options import PlanningOptions
from tailort.workflow.reirradiating import Reirradiation, reirradiate

FRAME, OTHER = "1.2.3", "1.2.4"
SILENT = StageClock(lambda stage, share: None)
SHAPE = (12, 24, 30)
OUTLINE = (-42.0, 42.0)


def grid(frame: str) -> Grid:
    return Grid.axial(SHAPE, (4.0, 4.0, 4.0), (-58.0, -46.0, -22.0), frame)


def box(name: str, role: Any, low_mm: float, high_mm: float) -> Structure:
    corners = np.array([[low_mm, -12.0], [high_mm, -12.0], [high_mm, 12.0], [low_mm, 12.0]])
    planes = (-10.0, -6.0, -2.0, 2.0, 6.0, 10.0)
    return Structure(name, role, tuple(np.column_stack([corners, np.full(4, z)]) for z in planes), FRAME)


def scan(frame: str) -> Scan:
    _, y, x = np.meshgrid(*grid(frame).axes_mm(), indexing="ij")
    values = np.where(np.hypot(x, y) < 42.0, 0.0, -1000.0).astype(np.float32)
    return Scan(Image(grid(frame), values, "HU"), "CT", "1", "2", (), "HFS")


def summed(
    verdict_value: float, protocol: str | None = None, prescription_only: bool = False, **facts: Any
) -> Reirradiation:
    """60 Gy in 30 fractions everywhere, on a scan whose registration has this determinant."""
    dose = Dose(Image(grid(OTHER), np.full(SHAPE, 60.0, np.float32), "Gy"), "physical", "course", 30, None, "test")
    course = Course(
        "2024", scan(OTHER), None, (dose,), last_fraction=dt.date(2025, 5, 1), prescribed=(PrescribedPhase(60.0, 30),)
    )
    if prescription_only:
        course = replace(course, scan=None, doses=(), prescribed=(PrescribedPhase(60.0, 30, 107.0),))
    drawn = (
        box("External", "EXTERNAL", *OUTLINE), box("GTVp", "GTV", -20.0, 4.0), box("Esophagus", "ORGAN", -8.0, 8.0)
    )  # fmt: skip
    case = Case(Person("P"), (scan(FRAME),), StructureSet(drawn, FRAME), courses=(course,)).with_facts(
        {name: Fact(name, value, "record") for name, value in facts.items()}
    )
    measured = Quality((Measure("Jacobian determinant, least", verdict_value, ">", 0.5, "test"),))
    found = Registration(Transform(FRAME, OTHER, np.eye(4)), method="made for this test").judged(measured)
    options = PlanningOptions(today=dt.date(2026, 11, 1))
    asked = None if protocol is None else load(protocol)
    return reirradiate(case, asked, options, {} if prescription_only else {"2024": found}, SILENT)


def page(result: Reirradiation) -> str:
    described = {"tailort": "0", "python": "3", "libraries": {}, "options": {}, "inputs_sha256": {}, "engine": "test"}
    return reirradiation_report(result, described, ())


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_a_failing_registration_that_a_person_insisted_on_stands_before_everything_else() -> None:
    failing, passing = words(page(summed(0.2))), words(page(summed(0.9)))
    told = "fails its own check (Jacobian determinant, least 0.2, limit &gt; 0.5); doses were added because a person"
    assert failing.index(told) < failing.index("In short")
    assert "Its own check FAILS" in failing
    assert "fails its own check" not in passing
    assert "Its own check passes" in passing


def test_the_page_tells_every_item_and_its_source_near_the_top() -> None:
    html = page(summed(0.9))
    assert html.index("<h2>Re-irradiation</h2>") < html.index("<h2>CT, contours and dose</h2>")
    text = words(html)
    for item in reporting_items():
        assert item.title in text
        assert ", ".join(item.rules) in text
    for definition in field_definitions().values():
        assert definition.title in text
    assert "GTVp and '2024': in field".replace("'", "&#39;") in text
    assert "What is unknown" in text
    # RB-109: the spine study's limits were found without recovery.
    assert "never compared with the spine study&#39;s limits" in text


def test_the_dose_that_is_left_is_drawn_and_told_where_fractions_are_known() -> None:
    result = summed(0.9)
    assert result.left is None
    assert "What every voxel may still get" not in words(page(result))
    cells = [cells_of(result.case.structures["Esophagus"], result.earlier[0].grid)]
    left = budget_map(cells, result.earlier, 2)
    assert left is not None
    text = words(page(replace(result, left=left)))
    assert "What every voxel may still get in 2 fractions" in text
    assert "Physical dose that may still be given in 2 fractions" in text


def test_the_same_stands_in_what_machines_read() -> None:
    told = summed(0.9).as_dict()["reporting"]
    assert isinstance(told, dict)
    assert [item["key"] for item in told["items"]] == [item.key for item in reporting_items()]
    (default,) = [row for row in told["recurrences"] if row["default"]]
    assert (default["structure"], default["course"], default["place"]) == ("GTVp", "2024", "in field")
    assert default["share_percent"] == pytest.approx([100.0, 100.0])
    assert told["kinds"][0]["kind"] == "type I"
    assert "the dose of today's course" in told["unknown"]


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_only_an_engine_that_plans_are_not_judged_by_is_a_warning(name: str) -> None:
    warnings, summary = engine_told(name, ENGINES[name].label)
    assert bool(warnings) is (name == "pencil-nyholm")
    assert bool(summary) is (name in REPORTING_ENGINES)
    assert ENGINES[name].label in (*warnings, *summary)[0]


def test_a_trial_that_asks_whether_the_recurrence_is_in_field_hears_it_from_the_doses() -> None:
    open_, denied = summed(0.9, "salvage-crt", surgery="R0"), summed(
        0.9, "salvage-crt", surgery="R0", recurrence_in_earlier_field=False
    )  # fmt: skip
    assert open_.case.facts["recurrence_in_earlier_field"].value is True
    assert any("is not in the clinical record; true follows" in note for note in open_.notes)
    assert denied.case.facts["recurrence_in_earlier_field"].value is False
    told = [warning for warning in denied.warnings if "the record was used" in warning]
    assert len(told) == 1
    assert words(page(denied)).index("the record was used") < words(page(denied)).index("In short")


def test_of_a_course_that_is_only_prescribed_the_report_calls_unknown_what_follows_from_its_dose() -> None:
    result = summed(0.9, prescription_only=True)
    assert result.reporting is not None
    told = {one.item.key: " ".join(one.lines) for one in result.reporting.items}
    assert told["type"] == "'2024': unknown"
    assert "GTVp and '2024': unknown" in told["recurrence"]
    assert "60 Gy in 30 fractions of 2 Gy; technique unknown" in told["earlier_courses"]
    assert "no dose to be mapped" in told["registration"]
    assert "What is unknown" in words(page(result))

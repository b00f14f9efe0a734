"""Where a recurrence lies to earlier courses: in field, marginal, out of field, or unknown."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.evaluation import cells_of
from tailort.evaluation.recurrence import course_eqd2, overlap_cm3, share_within_isodose
from tailort.geometry import Grid, Image, Transform
from tailort.patient import (
    Beam,
    Case,
    ControlPoint,
    Course,
    Dose,
    Fact,
    Normalisation,
    Person,
    Plan,
    Prescription,
    Scan,
    Structure,
    StructureSet,
)
from tailort.protocols import load
from tailort.radiobiology.recurrence_fields import PLACES, field_definitions
from tailort.registration import Registration
from tailort.workflow.recurrence import FACT, RECURS, in_earlier_field, prescribed_of, recurrences_of, with_field_fact
from tailort.workflow.recurrence_places import DEFAULT, RecurrencePlace

FRAME, OTHER = "1.2.3", "1.2.4"
# x from -80 to 80 mm.
GRID = Grid.axial((11, 21, 81), (3.0, 2.0, 2.0), (-80.0, -20.0, -15.0), FRAME)
PLANES = (-6.0, -3.0, 0.0, 3.0, 6.0)


def box(name: str, role: Any, low_mm: float, high_mm: float, frame: str = FRAME, by_mm: float = 0.0) -> Structure:
    corners = np.array([[low_mm, -8.0], [high_mm, -8.0], [high_mm, 8.0], [low_mm, 8.0]]) + np.array([by_mm, 0.0])
    return Structure(name, role, tuple(np.column_stack([corners, np.full(4, z)]) for z in PLANES), frame)


def falling(fractions: int = 30, highest_gy: float = 60.0, grid: Grid = GRID, uid: str = "1.9") -> Dose:
    """60 Gy up to x 0, then 1 Gy less each mm down to 0 at x 60."""
    x = grid.axes_mm()[2] - (0.0 if grid is GRID else SHIFT)
    line = np.clip(highest_gy - np.maximum(x, 0.0), 0.0, None)
    values = np.broadcast_to(line, grid.shape).astype(np.float32)
    return Dose(Image(grid, values, "Gy"), "physical", "course", fractions, None, "test", uid)


def plan(dose_gy: float = 60.0, fractions: int = 30, uid: str = "1.9") -> Plan:
    points = tuple(ControlPoint(mu, 0.0, 0.0, 0.0, (-50.0, 50.0), (-50.0, 50.0), None) for mu in (0.0, 100.0))
    beam = Beam("AP", 1, "test", 6.0, True, (0.0, 0.0, 0.0), (), points)
    asked = (Prescription("PTV", dose_gy, fractions, Normalisation("coverage", metric="D95%[Gy]")),)
    return Plan("test", (beam,), asked, fractions, "HFS", FRAME, uid)


def scan(grid: Grid) -> Scan:
    return Scan(Image(grid, np.zeros(grid.shape, dtype=np.float32), "HU"), "CT", "1", "2", (), "HFS")


def course(label: str = "2024", **changes: Any) -> Course:
    drawn = StructureSet((box("PTV", "PTV", -60.0, 2.0),), FRAME)
    return replace(Course(label, scan(GRID), drawn, (falling(),), (plan(),)), **changes)


def case(low_mm: float, high_mm: float, *courses: Course) -> Case:
    gtv = StructureSet((box("GTVp", "GTV", low_mm, high_mm), box("Heart", "ORGAN", -20.0, 20.0)), FRAME)
    return Case(Person("P"), (scan(GRID),), gtv, courses=courses or (course(),))


def by_definition(found: tuple[RecurrencePlace, ...]) -> dict[str, RecurrencePlace]:
    return {row.definition: row for row in found}


@pytest.mark.parametrize(
    ("low_mm", "high_mm", "default", "central", "edge", "target"),
    [
        # The 95 % isodose, 57 Gy, lies at x 3, the 50 % isodose at x 30, the edge of the target at x 2.
        (-40.0, -20.0, "in field", "in field", "in field", "in field"),
        (-15.0, 5.0, "in field", "marginal", "in field", "in field"),
        (-7.0, 13.0, "marginal", "marginal", "in field", "marginal"),
        (0.0, 20.0, "out of field", "out of field", "in field", "out of field"),
        (20.0, 40.0, "out of field", "out of field", "marginal", "out of field"),
        (50.0, 70.0, "out of field", "out of field", "out of field", "out of field"),
    ],
)
def test_the_place_follows_from_the_part_of_the_volume_within_isodose_and_target(
    low_mm: float, high_mm: float, default: str, central: str, edge: str, target: str
) -> None:
    found = by_definition(recurrences_of(case(low_mm, high_mm), {}))
    told = [found[name].told for name in ("shares-80-20", "central-95", "field-edge-50", "target-80")]
    assert told == [default, central, edge, target]
    within = float(np.clip((3.0 - low_mm) / 20.0, 0.0, 1.0))
    assert found[DEFAULT].share_percent == pytest.approx((100 * within,) * 2, abs=1.5)


def test_the_isodose_of_one_phase_is_that_of_its_physical_dose_whatever_its_fractions() -> None:
    few = course(doses=(falling(5),), plans=(plan(60.0, 5),))
    many = course(doses=(falling(30),))
    here, there = (by_definition(recurrences_of(case(-7.0, 13.0, one), {})) for one in (few, many))
    assert here[DEFAULT].share_percent == pytest.approx(there[DEFAULT].share_percent, abs=0.5)


def test_the_order_of_courses_changes_no_place() -> None:
    courses = [
        course("a"),
        course("b", doses=(falling(20, 50.0),), plans=(plan(50.0, 20),)),
        course("c", doses=(falling(20, 20.0),), plans=(plan(40.0, 20),)),
    ]
    told = [
        {(row.course, row.definition): row for row in recurrences_of(case(-7.0, 13.0, *order), {})}
        for order in permutations(courses)
    ]
    assert all(one == told[0] for one in told)
    assert len(told[0]) == 3 * len(field_definitions())


@settings(max_examples=25, deadline=None)
@given(st.floats(-60.0, 40.0), st.floats(8.0, 30.0), st.lists(st.floats(1.0, 59.0), min_size=2, max_size=2))
def test_more_of_a_recurrence_lies_within_a_lower_isodose(low_mm: float, wide_mm: float, levels: list[float]) -> None:
    cells = cells_of(box("GTVp", "GTV", low_mm, low_mm + wide_mm), GRID)
    higher, lower = (share_within_isodose(cells, falling(), level)[0] for level in sorted(levels, reverse=True))
    assert 0.0 <= higher <= lower + 1e-4 <= 100.0 + 1e-2


@given(st.floats(0.0, 100.0), st.floats(0.0, 100.0), st.sampled_from(list(field_definitions())))
def test_a_wider_range_of_shares_never_loses_a_place(one: float, other: float, name: str) -> None:
    definition = field_definitions()[name]
    low, high = sorted((one, other))
    possible = definition.places(low, high)
    assert set(definition.places(low, low)) <= set(possible) >= set(definition.places(high, high))
    assert possible == PLACES[PLACES.index(possible[0]) :][: len(possible)]


def test_shares_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="from 0 to 100"):
        field_definitions()[DEFAULT].places(60.0, 40.0)


def test_without_a_prescription_only_what_holds_below_the_highest_dose_is_said() -> None:
    unknown = course(plans=(), structures=None)
    assert not prescribed_of(unknown).is_known
    inside, outside = (by_definition(recurrences_of(case(at, at + 20.0, unknown), {})) for at in (-40.0, 50.0))
    # Within 95 % of the highest dose it is within 95 % of any prescription; beyond it anything is possible.
    assert inside[DEFAULT].told == "in field"
    assert (outside[DEFAULT].told, outside[DEFAULT].places) == ("unknown", PLACES)
    assert "no prescription" in outside[DEFAULT].reason
    assert inside["target-80"].share_percent is None
    assert inside["target-80"].told == "unknown"


def test_an_earlier_dose_that_does_not_reach_the_recurrence_is_unknown_and_not_outside() -> None:
    short = Grid.axial((11, 21, 41), (3.0, 2.0, 2.0), (-80.0, -20.0, -15.0), FRAME)
    gone = by_definition(recurrences_of(case(-10.0, 20.0, course(doses=(replace(falling(), image=Image(
        short, falling().image.values[..., :41], "Gy")),))), {}))  # fmt: skip
    # A third of it, up to x 0, is known to lie within; the rest is unknown.
    assert gone[DEFAULT].share_percent == pytest.approx((35.0, 100.0), abs=4.0)
    assert gone[DEFAULT].places == ("in field", "marginal")
    assert "not known everywhere" in gone[DEFAULT].reason


SHIFT = 100.0


def test_a_course_in_another_frame_of_reference_is_brought_here_first() -> None:
    grid = Grid.axial(GRID.shape, (3.0, 2.0, 2.0), (-80.0 + SHIFT, -20.0, -15.0), OTHER)
    moved = np.eye(4)
    moved[0, 3] = SHIFT
    there = course(
        scan=scan(grid),
        structures=StructureSet((box("PTV", "PTV", -60.0, 2.0, OTHER, SHIFT),), OTHER),
        doses=(falling(grid=grid),),
    )
    registered = {"2024": Registration(Transform(FRAME, OTHER, moved), method="test")}
    found, own = (recurrences_of(case(-7.0, 13.0, one), known) for one, known in ((there, registered), (course(), {})))
    assert [row.told for row in found] == [row.told for row in own]
    for one, other in zip(found, own, strict=True):
        assert one.share_percent == pytest.approx(other.share_percent, abs=1.0)


def test_two_phases_are_put_together_before_they_are_asked() -> None:
    half = replace(falling(15), image=falling().image.with_values(falling().image.values / 2), plan_uid="1.8")
    phases = course(doses=(half, replace(half, plan_uid="1.9")), plans=(plan(30.0, 15, "1.8"), plan(30.0, 15, "1.9")))
    found, whole = (by_definition(recurrences_of(case(-7.0, 13.0, one), {})) for one in (phases, course()))
    assert found[DEFAULT].share_percent == pytest.approx(whole[DEFAULT].share_percent, abs=0.5)


def test_the_volume_that_two_isodoses_share_is_bounded_by_what_is_known() -> None:
    mine, its = course_eqd2([falling()], 3.0), course_eqd2([falling(20, 40.0)], 3.0)
    # EQD2 of 50 Gy in 25 is 50 Gy: of the first up to x 10 or so; of the second 30 Gy in 20 is 27 Gy: up to x 10.
    low, high = overlap_cm3(mine, 45.0, its, 27.0)
    x = GRID.axes_mm()[2]
    dose = np.clip(60.0 - np.maximum(x, 0.0), 0.0, None)
    first, second = dose * (3 + dose / 30) / 5 >= 45.0, np.clip(40 - np.maximum(x, 0), 0, None) >= 30.0
    assert low == high == pytest.approx((first & second).sum() * 11 * 21 * 12e-3)
    hidden = mine.image.values.copy()
    hidden[..., :20] = np.nan
    bounds = overlap_cm3(replace(mine, image=mine.image.with_values(hidden)), 45.0, its, 27.0)
    assert bounds == pytest.approx((low - 20 * 11 * 21 * 12e-3, low))


RECORD = {"surgery": Fact("surgery", "R0", "record")}


@pytest.mark.parametrize(("low_mm", "answer"), [(-40.0, True), (50.0, False), (-7.0, None), (0.0, None)])
def test_the_fact_is_offered_only_where_every_definition_agrees_on_outside(low_mm: float, answer: bool | None) -> None:
    found = recurrences_of(case(low_mm, low_mm + 20.0), {})
    assert in_earlier_field(found) is answer
    offered, notes, warnings = with_field_fact(
        case(low_mm, low_mm + 20.0).with_facts(RECORD), load("salvage-crt"), found
    )
    assert (offered.facts[FACT].value if FACT in offered.facts else None) is answer
    assert len(notes) == 1
    assert not warnings


def test_a_record_that_says_otherwise_stands_and_is_told_first() -> None:
    told = {**RECORD, FACT: Fact(FACT, False, "record")}
    inside = case(-40.0, -20.0).with_facts(told)
    kept, notes, warnings = with_field_fact(inside, load("salvage-crt"), recurrences_of(inside, {}))
    assert kept.facts[FACT].value is False
    assert not notes
    assert "true follows from the earlier doses" in warnings[0]


def test_residual_tumour_in_an_earlier_field_is_no_recurrence_in_it() -> None:
    inside = case(-40.0, -20.0).with_facts({**RECORD, RECURS: Fact(RECURS, False, "record")})
    assert with_field_fact(inside, load("salvage-crt"), recurrences_of(inside, {})) == (inside, (), ())


def test_a_protocol_that_does_not_ask_is_offered_nothing() -> None:
    inside = case(-40.0, -20.0).with_facts(RECORD)
    for protocol in (None, load("reirradiation-spine")):
        assert with_field_fact(inside, protocol, recurrences_of(inside, {})) == (inside, (), ())

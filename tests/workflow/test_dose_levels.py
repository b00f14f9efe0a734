"""The largest dose that every limit allows: laws, and the closed form of a limit that is linear in the dose."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.evaluation import DVH
from tailort.geometry import Grid, Image
from tailort.patient import Constraint, Dose, Normalisation, Prescription, Structure, StructureSet
from tailort.radiobiology import eqd2, in_its_quantity
from tailort.workflow.dose_levels import STEP_GY, GivenCourse, Proposal, propose

FRAME = "1.2.3"
PLANNED_GY, FRACTIONS = 60.0, 30
LEAD = Prescription("PTV", PLANNED_GY, FRACTIONS, Normalisation("coverage", metric="D95%[Gy]"))
GRID = Grid.axial((2, 2, 2), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), FRAME)
DOSE = Dose(Image(GRID, np.ones(GRID.shape, np.float32), "Gy"), "physical", "course", FRACTIONS, None, "formula")
RANGE = (40.0, 80.0)
SAMPLES = st.lists(st.floats(0.5, 55.0), min_size=2, max_size=12)


def histogram(name: str, doses: list[float], outside_cm3: float = 0.0) -> DVH:
    hot = np.sort(np.array(doses, dtype=np.float32))[::-1]
    return DVH(
        name, len(doses) + outside_cm3, hot, np.ones(len(doses)), float(hot[0]), float(hot[-1]), outside_cm3,
        "physical", "course", FRACTIONS, None,
    )  # fmt: skip


def limit(structure: str, metric: str, value: float, priority: Any = "hard", **more: Any) -> Constraint:
    return in_its_quantity(Constraint(structure, metric, "<=", value, priority, "RULE", **more))


def course(*limits: Constraint, outside_cm3: float = 0.0, **organs: list[float]) -> GivenCourse:
    found = {name: histogram(name, doses, outside_cm3) for name, doses in organs.items()}
    found["PTV"] = histogram("PTV", [61.0, 60.5, 60.0])
    structures = tuple(Structure(name, "PTV" if name == "PTV" else "ORGAN", (), FRAME) for name in found)
    return GivenCourse(
        structures=StructureSet(structures, FRAME),
        dose=DOSE,
        histograms=found,
        prescriptions=(LEAD,),
        lead=LEAD,
        planned_gy=PLANNED_GY,
        limits=limits,
        outcomes={},
        printed_gy=PLANNED_GY,
        printed_fraction_gy=2.0,
        alpha_beta_gy=10.0,
    )


def only(given_course: GivenCourse, fractions: int = FRACTIONS, range_gy: tuple[float, float] = RANGE) -> Proposal:
    (found,) = propose(given_course, (fractions,), range_gy, levels=2)
    return found


@settings(max_examples=40)
@given(SAMPLES, SAMPLES, st.floats(20.0, 70.0), st.floats(1.0, 40.0), st.integers(10, 40))
def test_the_largest_dose_holds_every_limit_and_a_little_more_breaks_the_one_that_binds(
    cord: list[float], lungs: list[float], most_gy: float, most_percent: float, fractions: int
) -> None:
    asked = course(
        limit("SpinalCord", "Max[Gy]", most_gy, quantity="EQD2", alpha_beta_gy=2.0),
        limit("Lungs", "Mean[Gy]", 17.0),
        limit("Lungs", "NTCP(lung-quantec)[%]", most_percent),
        SpinalCord=cord,
        Lungs=lungs,
    )
    found = only(asked, fractions)
    if found.level is None:
        lowest = asked.at(RANGE[0], fractions)
        assert {row.verdict for row in found.binding} == {"fail"}
        assert set(found.binding) <= set(lowest.limits)
        return
    assert {row.verdict for row in found.level.limits} == {"pass"}
    assert RANGE[0] <= found.level.dose_gy <= RANGE[1]
    if not found.binding:
        assert found.level.dose_gy == RANGE[1]
        return
    beyond = {(r.structure, r.metric): r.verdict for r in asked.at(found.level.dose_gy + 0.02, fractions).limits}
    assert all(beyond[row.structure, row.metric] == "fail" for row in found.binding)


@settings(max_examples=30)
@given(SAMPLES, st.floats(1.0, 60.0), st.floats(0.2, 1.0), st.integers(10, 40))
def test_a_stricter_cap_never_raises_the_dose(lungs: list[float], percent: float, share: float, fractions: int) -> None:
    loose, strict = (
        only(course(limit("Lungs", "NTCP(lung-quantec)[%]", most), Lungs=lungs), fractions).level
        for most in (percent, share * percent)
    )
    assert (0.0 if strict is None else strict.dose_gy) <= (0.0 if loose is None else loose.dose_gy)


@settings(max_examples=30)
@given(st.lists(st.floats(8.0, 28.0), min_size=2, max_size=12), st.floats(0.08, 0.6))
def test_a_cap_on_pneumonitis_is_the_mean_lung_dose_of_its_logistic(lungs: list[float], chance: float) -> None:
    # RB-51 on the physical mean dose: the largest is (3.87 + logit p) / 0.126.
    found = only(course(limit("Lungs", "NTCP(lung-quantec-physical)[%]", 100.0 * chance), Lungs=lungs))
    mean_gy = (3.87 + math.log(chance / (1.0 - chance))) / 0.126
    expected = PLANNED_GY * mean_gy / float(np.mean(np.array(lungs, dtype=np.float32)))
    if expected < RANGE[0]:
        assert found.level is None
    else:
        assert found.level is not None
        assert found.level.dose_gy == pytest.approx(min(expected, RANGE[1]), abs=1.5 * STEP_GY)


def test_a_limit_in_eqd2_allows_less_in_fewer_fractions_and_a_physical_one_the_same() -> None:
    eqd2_limit = limit("SpinalCord", "Max[Gy]", 45.0, quantity="EQD2", alpha_beta_gy=2.0)
    physical = limit("SpinalCord", "Max[Gy]", 45.0)
    for asked, same in ((eqd2_limit, False), (physical, True)):
        few, many = (only(course(asked, SpinalCord=[50.0, 20.0]), n).level for n in (25, 35))
        assert few is not None
        assert many is not None
        assert (few.dose_gy == many.dose_gy) == same
        assert few.dose_gy <= many.dose_gy
    # 54 Gy to the target are 45 Gy to the cord.
    assert few.dose_gy == 54.0
    # In 25 fractions the cord's dose with 45 Gy EQD2 solves D (D/25 + 2) / 4 = 45.
    small = only(course(eqd2_limit, SpinalCord=[50.0, 20.0]), 25).level
    assert small is not None
    cord_gy = (-2.0 + math.sqrt(4.0 + 4.0 * 180.0 / 25)) * 25 / 2
    assert float(eqd2(cord_gy, 25, 2.0)) == pytest.approx(45.0)
    assert small.dose_gy == pytest.approx(PLANNED_GY * cord_gy / 50.0, abs=1.5 * STEP_GY)


def test_a_limit_that_fails_at_the_lowest_dose_leaves_no_dose_and_is_named() -> None:
    found = only(course(limit("SpinalCord", "Max[Gy]", 45.0), limit("Heart", "Mean[Gy]", 99.0),
                        SpinalCord=[70.0, 1.0], Heart=[20.0, 1.0]))  # fmt: skip
    assert found.level is None
    assert [(row.structure, row.value) for row in found.binding] == [("SpinalCord", pytest.approx(70.0 * 40 / 60))]


def test_where_all_limits_hold_the_range_ends_the_dose() -> None:
    found = only(course(limit("SpinalCord", "Max[Gy]", 90.0), SpinalCord=[30.0, 1.0]))
    assert found.level is not None
    assert (found.level.dose_gy, found.binding) == (RANGE[1], ())


def test_goals_do_not_hold_the_dose_back_and_are_told() -> None:
    asked = course(limit("Heart", "Mean[Gy]", 26.0, "goal"), Heart=[40.0, 20.0])
    found = only(asked)
    assert found.level is not None
    assert found.level.dose_gy == RANGE[1]
    assert [(row.structure, row.value) for row in found.level.broken_goals] == [("Heart", 40.0)]
    assert not asked.at(50.0, FRACTIONS).broken_goals


def test_a_limit_on_all_courses_is_told_as_not_judged_and_not_taken_as_held() -> None:
    cumulative = limit("SpinalCord", "Max[Gy]", 60.0, quantity="EQD2", alpha_beta_gy=2.0, scope="cumulative")
    found = only(course(cumulative, limit("Lungs", "Mean[Gy]", 16.0), SpinalCord=[30.0, 1.0], Lungs=[20.0, 10.0]))
    assert [(row.structure, row.scope, row.verdict) for row in found.unjudged] == [
        ("SpinalCord", "cumulative", "unknown")
    ]
    assert "earlier courses" in found.unjudged[0].reason
    assert found.level is not None
    assert found.level.dose_gy == 64.0
    assert [row.structure for row in found.level.unknown] == ["SpinalCord"]


def test_an_organ_partly_outside_the_dose_grid_holds_the_dose_where_its_limit_may_break() -> None:
    # 0.5 of the 4.5 cm3 have no known dose: half of the volume may have 20 Gy before it certainly has.
    asked = course(limit("Lungs", "V20Gy[%]", 50.0), Lungs=[28.6, 28.5, 10.0, 9.0], outside_cm3=0.5)
    found = only(asked)
    assert found.level is not None
    assert not found.unjudged
    assert {row.verdict for row in found.level.limits} == {"pass"}
    assert {row.verdict for row in found.binding} == {"unknown"}
    assert "outside the dose grid" in found.binding[0].reason


def test_a_maximum_outside_the_dose_grid_is_not_judged_and_holds_the_dose_where_it_certainly_fails() -> None:
    found = only(course(limit("SpinalCord", "Max[Gy]", 45.0), SpinalCord=[45.0, 1.0], outside_cm3=1.0))
    assert [row.verdict for row in found.unjudged] == ["unknown"]
    assert found.level is not None
    assert found.level.dose_gy == 60.0
    assert {row.verdict for row in found.binding} == {"fail"}


def test_the_prescription_has_its_bed_and_eqd2_or_they_are_unknown() -> None:
    known = course().at(60.0, 30)
    assert (known.bed_gy, known.eqd2_gy) == (pytest.approx(72.0), pytest.approx(60.0))
    unknown = GivenCourse(**{**vars(course()), "alpha_beta_gy": None}).at(60.0, 30)
    assert (unknown.bed_gy, unknown.eqd2_gy) == (None, None)


def test_only_what_the_protocol_does_not_prescribe_needs_a_signature() -> None:
    asked = course()
    assert asked.at(60.0, 30).signature == ()
    assert asked.at(55.0, 30).signature == ()
    (above,) = asked.at(60.01, 30).signature
    assert "above the 60 Gy" in above
    (other,) = asked.at(55.0, 28).signature
    assert "28 fractions are not the 30" in other


def test_a_painted_dose_needs_a_signature_where_its_near_maximum_leaves_the_range() -> None:
    painted = GivenCourse(**{**vars(course()), "painted": True, "printed_gy": 62.0})
    assert painted.at(60.0, 30).signature == ()
    (near,) = painted.at(61.5, 30).signature
    assert "D2% of PTV" in near


def test_larger_fractions_than_a_limit_was_made_for_are_marked_and_smaller_ones_are_not() -> None:
    asked = course(
        limit("Heart", "Mean[Gy]", 90.0),
        limit("SpinalCord", "Max[Gy]", 400.0, quantity="BED", alpha_beta_gy=2.0),
        Heart=[10.0, 9.0],
        SpinalCord=[10.0, 9.0],
    )
    told = {n: [row.extrapolated for row in asked.at(60.0, n).limits] for n in (35, 30, 25, 7)}
    assert told[35] == told[30] == ["", ""]
    assert told[25][0].startswith("yes: 2.4 Gy per fraction is above the 2 Gy that the protocol prescribes")
    assert told[25][1] == ""
    assert told[7][1].startswith("yes: 8.57 Gy per fraction is above the 8 Gy")


@pytest.mark.parametrize("range_gy", [(60.0, 50.0), (50.0, 50.0), (0.0, 50.0), (50.0, 250.0), (float("nan"), 60.0)])
def test_a_range_that_does_not_ascend_within_what_is_given_to_people_is_refused(range_gy: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="a range of doses ascends"):
        propose(course(), (30,), range_gy)


@pytest.mark.parametrize("fractions", [(), (0,), (30, 30), (101,)])
def test_numbers_of_fractions_that_are_none_are_refused(fractions: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="numbers of fractions are whole"):
        propose(course(), fractions, RANGE)


def test_a_dose_that_was_made_for_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="made for 0 Gy"):
        GivenCourse(**{**vars(course()), "planned_gy": 0.0})


def test_the_curve_covers_the_range_for_every_number_of_fractions() -> None:
    found = propose(course(limit("Heart", "Mean[Gy]", 90.0), Heart=[30.0, 1.0]), (25, 30), RANGE, levels=5)
    assert [one.fractions for one in found] == [25, 30]
    for one in found:
        assert [level.dose_gy for level in one.curve] == [40.0, 50.0, 60.0, 70.0, 80.0]
        means = [level.limits[0].value for level in one.curve]
        assert means == [pytest.approx(15.5 * gy / 60.0, abs=1e-3) for gy in (40, 50, 60, 70, 80)]

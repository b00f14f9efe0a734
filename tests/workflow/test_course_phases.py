"""What is asked of one phase of a course, and the dose of all."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import GeometryError, InputError
from tailort.geometry import Grid, Image
from tailort.patient import Constraint, Dose, Normalisation, Plan, Prescription, Structure, StructureSet
from tailort.protocols import Technique
from tailort.protocols.schema import HandOver
from tailort.radiobiology import course_dose, eqd2
from tailort.workflow import courses
from tailort.workflow.clock import StageClock
from tailort.workflow.phases import Phase, in_gray, is_ceiling, phase_label
from tailort.workflow.records import Convergence, PhasePlan

GRID = Grid.axial((2, 2, 2), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0), "1.2.3")
NOTHING: Any = SimpleNamespace(seconds=0.0, beams=())


def dose(values_gy: float | list[float], fractions: int) -> Dose:
    values = np.broadcast_to(np.asarray(values_gy, dtype=np.float32), 8).reshape(2, 2, 2)
    return Dose(Image(GRID, values, "Gy"), "physical", "course", fractions, None, "test")


def phase(share: float, constraints: tuple[Constraint, ...], earlier: tuple[Dose, ...] = ()) -> Phase:
    prescription = Prescription("PTV", 50.4, 28, Normalisation("coverage", metric="D95%[Gy]"))
    return Phase(1, "x", Technique(kind="imrt", beams=5), (prescription,), constraints, earlier, share, ("PTV",))


CORD = Constraint("SpinalCord", "Max[Gy]", "<", 45.0, "hard", "test")
LUNGS = Constraint("Lungs", "V20Gy[%]", "<=", 28.0, "goal", "test")
TARGET = Constraint("PTV", "D95%[Gy]", ">=", 64.8, "goal", "test")


def test_the_last_phase_is_asked_for_everything() -> None:
    asked = (CORD, LUNGS, TARGET)
    assert phase(1.0, asked).limits_so_far() == asked


@given(st.floats(0.05, 0.95))
def test_an_earlier_phase_may_use_its_part_of_each_limit(share: float) -> None:
    cord, lungs = phase(share, (CORD, LUNGS, TARGET)).limits_so_far()
    assert cord.limit == pytest.approx(45.0 * share)
    assert lungs.limit == 28.0
    assert lungs.metric == f"V{round(20 * share, 4):g}Gy[%]"


def test_what_a_target_must_reach_is_not_asked_before_the_last_phase() -> None:
    assert phase(0.5, (TARGET,)).limits_so_far() == ()


def test_the_course_is_the_sum_of_its_phases_and_has_no_single_number_of_fractions() -> None:
    both = course_dose([dose(50.4, 28), dose(14.4, 8)])
    np.testing.assert_allclose(both.image.values, 64.8, rtol=1e-6)
    assert both.fractions is None
    with pytest.raises(InputError, match="fractions"):
        both.known_fractions()


def test_a_course_of_one_phase_is_that_phase() -> None:
    only = dose(60.0, 30)
    assert course_dose([only]) is only


def test_phases_add_up_in_eqd2_and_bed_each_with_its_own_fractions() -> None:
    # 30 Gy in 10 at alpha/beta 2 Gy is 37.5 Gy EQD2 and 75 Gy BED, 18 Gy in 10 is 17.1 Gy and 34.2 Gy.
    phases = [dose(30.0, 10), dose(18.0, 10)]
    for quantity, expected in (("EQD2", 37.5 + 17.1), ("BED", 75.0 + 34.2)):
        both = course_dose(phases, quantity, 2.0)
        assert (both.quantity, both.alpha_beta_gy, both.fractions) == (quantity, 2.0, None)
        np.testing.assert_allclose(both.image.values, expected, rtol=1e-6)
    with pytest.raises(InputError, match="physical"):
        course_dose([course_dose(phases, "EQD2", 2.0)], "EQD2", 2.0)


@given(st.floats(0.0, 80.0), st.integers(1, 40), st.integers(1, 40), st.floats(0.5, 20.0))
def test_a_course_cut_in_two_is_worth_the_same(gy: float, first: int, second: int, alpha_beta_gy: float) -> None:
    """Two phases of equal doses per fraction are one course of all their fractions."""
    whole = first + second
    parts = [dose(gy * n / whole, n) for n in (first, second)]
    cut, uncut = (course_dose(doses, "EQD2", alpha_beta_gy) for doses in (parts, [dose(gy, whole)]))
    np.testing.assert_allclose(cut.image.values, uncut.image.values, rtol=1e-5, atol=1e-5)


def test_doses_on_two_grids_do_not_add_up() -> None:
    other = Grid.axial((2, 2, 2), (3.0, 3.0, 3.0), (1.0, 0.0, 0.0), "1.2.3")
    moved = replace(dose(10.0, 5), image=Image(other, np.ones((2, 2, 2), np.float32), "Gy"))
    with pytest.raises(GeometryError, match="different grids"):
        course_dose([dose(10.0, 5), moved])


def test_percent_of_a_prescription_are_gray_of_the_whole_course() -> None:
    course = [
        Prescription(name, gy, 30, Normalisation("coverage", metric="D95%[Gy]"))
        for name, gy in (("A", 60.0), ("B", 50.0))
    ]
    limits = [
        Constraint(name, metric, "<=", 5.0, "hard", "test") for name in ("A", "B", "Cord") for metric in ("V110%[%]",)
    ]
    assert [in_gray(c, course).metric for c in limits] == ["V66Gy[%]", "V55Gy[%]", "V66Gy[%]"]
    percent = in_gray(Constraint("B", "D2%[%]", "<=", 107.0, "hard", "test"), course)
    assert (percent.metric, percent.limit) == ("D2%[Gy]", pytest.approx(53.5))
    assert in_gray(LUNGS, course) is LUNGS


def test_what_more_dose_breaks_is_a_ceiling() -> None:
    spared = Constraint("Lungs", "CV5Gy[cc]", ">=", 1000.0, "hard", "test")
    cold = Constraint("PTV", "CV50Gy[cc]", "<=", 1.0, "hard", "test")
    assert [is_ceiling(c) for c in (CORD, LUNGS, TARGET, spared, cold)] == [True, True, False, True, False]


def test_earlier_phases_count_in_eqd2_with_their_own_fractions() -> None:
    limit = replace(CORD, quantity="EQD2", alpha_beta_gy=2.0)
    earlier = (dose(30.0, 10), dose(18.0, 10))
    (spent,) = phase(1.0, (limit,), earlier).spent(limit, GRID)
    found = spent.values.ravel()
    # 30 Gy in 10 at alpha/beta 2 Gy is 37.5 Gy EQD2, 18 Gy in 10 is 17.1 Gy: (3 + 2)/4 and (1.8 + 2)/4 of the dose.
    np.testing.assert_allclose(found, 37.5 + 17.1, rtol=1e-6)
    # Not the same as all of it in twenty fractions.
    assert abs(float(eqd2(np.array([48.0]), 20, 2.0)[0]) - found[0]) > 1.0


def test_the_next_technique_is_taken_where_the_preferred_one_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(bench: Any, request: Any, technique: Technique, *_: Any) -> Any:
        if technique.kind == "3dcrt":
            raise GeometryError("the leaves do not reach")
        return (technique.kind,), ()

    monkeypatch.setattr(courses, "_planned", planned)
    monkeypatch.setattr(
        courses,
        "judge",
        lambda bench, request, phases, notes: SimpleNamespace(
            phases=phases, notes=notes, scorecard=SimpleNamespace(hard_failures=())
        ),
    )
    wanted = Technique(kind="3dcrt", arrangement="ap-pa", aperture_margin_mm=7), Technique(kind="imrt", beams=5)
    prescription = Prescription("PTV", 50.4, 28, Normalisation("coverage", metric="D95%[Gy]"))
    request = courses.Request("Test", "test", (prescription,), (prescription,), (), (), wanted)
    bench: Any = SimpleNamespace(require_deliverable=lambda technique: None)
    clock = StageClock(lambda stage, share: None)
    found = courses.plan_course(bench, request, [request], clock, lambda: False, lambda: None)
    assert found.phases == ("imrt",)
    (note,) = found.notes
    assert "3dcrt, which the protocol prefers, cannot be had: the leaves do not reach" in note
    only = replace(request, techniques=wanted[:1])
    with pytest.raises(GeometryError, match="reach"):
        courses.plan_course(bench, only, [only], clock, lambda: False, lambda: None)


def test_plans_of_phases_are_named_and_fit_into_dicom() -> None:
    assert phase_label("smart-imrt", 1, 1) == "smart-imrt"
    assert phase_label("a-long-protocol-name", 12, 13).endswith("ph 12")
    assert len(phase_label("a-long-protocol-name", 3, 3)) <= 16


class Cord:
    """Plans of three phases by what each gives the cord a fraction, Gy; the third gives what it may where told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, third_gy: float) -> None:
        self.asked: list[Phase] = []
        self.per_fraction_gy = {1: 1.9, 2: 0.5, 3: third_gy}
        monkeypatch.setitem(courses.MAKERS, "3dcrt", self.make)
        corners = [(-1.0, -1.0), (4.0, -1.0), (4.0, 4.0), (-1.0, 4.0)]
        cord = Structure(
            "SpinalCord", "ORGAN", tuple(np.array([(*c, z) for c in corners]) for z in (0.0, 3.0)), "1.2.3"
        )
        self.bench: Any = SimpleNamespace(
            structures=StructureSet((cord,), "1.2.3"), slice_mm=3.0, earlier=(), drawn=(), delivered=()
        )
        hand_over = HandOver(from_phase=1, to_phase=2, structure="SpinalCord", metric="Max[Gy]", below_gy=45.0)
        self.technique = Technique(kind="3dcrt", arrangement="ap-pa", aperture_margin_mm=7, hand_over=hand_over)
        asked = tuple(
            Prescription(name, gy, n, Normalisation("isodose", percent=93.0), phase)
            for name, gy, n, phase in (("A", 39.6, 22, 1), ("A", 10.8, 6, 2), ("B", 14.4, 8, 3))
        )
        self.request = courses.Request("Test", "test", asked, asked, (CORD,), (), (self.technique,))

    def make(self, bench: Any, phase: Phase, *_: Any) -> PhasePlan:
        self.asked.append(phase)
        given_gy = self.per_fraction_gy[phase.number] * phase.lead.fractions
        if phase.constraints:
            so_far_gy = sum(float(one.image.values.max()) for one in phase.earlier)
            given_gy = min(given_gy, 0.999 * CORD.limit - so_far_gy)
        n = phase.lead.fractions
        plan = Plan(phase.label, (), phase.prescriptions, n, "HFS", "1.2.3")
        return PhasePlan(phase.number, "3dcrt", plan, dose(given_gy, n), Convergence(True, "", 0, 0.0, 0.0), NOTHING)

    def planned(self) -> tuple[tuple[PhasePlan, ...], int]:
        clock = StageClock(lambda stage, share: None)
        return courses._phases(
            self.bench, self.request, self.technique, [self.request], clock, lambda: False, lambda: None
        )


def test_a_phase_that_handing_over_cannot_make_room_for_gets_all_the_room_that_it_can_make(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cord = Cord(monkeypatch, third_gy=4.0)
    phases, moved = cord.planned()
    # Alone 22 x 1.9 + 6 x 0.5 Gy are 44.8 Gy, so none had to move; handed over, 28 x 0.5 Gy leave 31 Gy.
    assert [bool(phase.constraints) for phase in cord.asked] == [False, False, False, True]
    assert float(phases[2].dose.image.values.max()) == pytest.approx(0.999 * 45.0 - 14.0, abs=0.01)
    assert moved == 22
    left = courses._after(cord.request, cord.technique.hand_over, phases, moved)
    assert [(phase.number, phase.plan.fractions) for phase in left] == [(2, 28), (3, 8)]
    assert float(course_dose([phase.dose for phase in left]).image.values.max()) < 45.0


def test_a_phase_for_which_fractions_can_make_room_is_planned_without_the_cord(monkeypatch: pytest.MonkeyPatch) -> None:
    cord = Cord(monkeypatch, third_gy=2.0)
    phases, moved = cord.planned()
    assert len(cord.asked) == 3
    # 16 Gy leave 29 Gy: 1.4 Gy less for each fraction that moves, from 44.8 Gy.
    assert moved == 12
    left = courses._after(cord.request, cord.technique.hand_over, phases, moved)
    assert sum(phase.plan.fractions for phase in left) == 36
    assert sum(p.dose_gy for phase in left for p in phase.plan.prescriptions) == pytest.approx(64.8)

"""An existing plan's dose raised to the limits of the patient's organs: what is asked, of what, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tailort.errors import InputError
from tailort.geometry import Grid, Image
from tailort.patient import Case, Constraint, Dose, Person, Scan, Structure, StructureSet
from tailort.protocols import Protocol, load, parse, read_record
from tailort.radiobiology import in_its_quantity
from tailort.workflow.evaluating import evaluate
from tailort.workflow.individual_dose import DoseQuestion, IndividualDose, individual_dose

FRAME = "1.2.3"
GRID = Grid.axial((30, 24, 24), (5.0, 5.0, 5.0), (-57.5, -57.5, 0.0), FRAME)
OWN = """
id: own
version: "1"
title: A protocol of one's own
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV, dose_gy: 60, fractions: 30}
  - {target: PTV_Low, dose_gy: 54, fractions: 30}
technique: {kind: imrt, beams: 5}
limits:
  - {structure: PTV, metric: "D95%[Gy]", operator: ">=", limit: 60, priority: goal}
  - {structure: PTV, metric: "Max[Gy]", operator: "<=", limit: 107, percent_of: PTV, priority: hard}
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 46, priority: hard}
  - {structure: SpinalCord, metric: "D0.1cc[Gy]", operator: "<", limit: 50, priority: hard, quantity: EQD2, alpha_beta_gy: 2}
  - {structure: Lungs, metric: "V20Gy[%]", operator: "<=", limit: 35, priority: goal}
  - {structure: Lungs, metric: "CV5Gy[cc]", operator: ">=", limit: 10, priority: goal}
  - {structure: Lungs, metric: "Mean[Gy]", operator: "<=", limit: 20, priority: report}
  - {structure: Heart, metric: "D2%[Gy]", operator: "<=", limit: 70, percent_of: PTV, priority: goal}
  - {structure: Stomach, metric: "Mean[Gy]", operator: "<", limit: 30, priority: goal}
biology: {targets: {alpha_beta_gy: 10}}
"""  # noqa: E501
CAP = in_its_quantity(Constraint("Lungs", "NTCP(lung-quantec)[%]", "<=", 20.0, "goal", "--metric"))
ASKED = DoseQuestion((50.0, 66.0), (25, 30), (CAP,), "oesophagus-demonstration")


def box(name: str, role: str, low_mm: tuple[float, float], high_mm: tuple[float, float]) -> Structure:
    (x0, y0), (x1, y1) = low_mm, high_mm
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    planes = np.arange(40.0, 96.0, 5.0)
    return Structure(name, role, tuple(np.array([(x, y, z) for x, y in corners]) for z in planes), FRAME)


PARTS = (
    box("External", "EXTERNAL", (-55, -55), (55, 55)),
    box("GTVp", "GTV", (-8, -8), (8, 8)),
    box("PTV", "PTV", (-12, -12), (12, 12)),
    box("PTV_Low", "PTV", (-12, 13), (12, 20)),
    box("SpinalCord", "ORGAN", (-4, 24), (4, 32)),
    box("Lungs", "ORGAN", (-50, -50), (-20, 30)),
    box("Heart", "ORGAN", (20, -50), (45, 0)),
)


def case(fractions: int | None = 30, doses: int = 1) -> Case:
    """61 Gy within 20 mm of the middle, falling off by 3 Gy a mm beyond."""
    _, ys, xs = np.meshgrid(*GRID.axes_mm(), indexing="ij")
    values = np.clip(61.0 - 3.0 * (np.hypot(xs, ys) - 20.0), 4.0, 61.0)
    scan = Scan(Image(GRID, np.zeros(GRID.shape), "HU"), "CT", "9.1", "9", ("9.1.1",), "HFS", slice_thickness_mm=5.0)
    dose = Dose(Image(GRID, values.astype(np.float32), "Gy"), "physical", "course", fractions, None, "formula")
    return Case(Person("P"), (scan,), StructureSet(PARTS, FRAME), doses=(dose,) * doses).with_facts(read_record({}))


def own(text: str = OWN) -> Protocol:
    return parse(text, "own.yaml")


def found(question: DoseQuestion = ASKED, protocol: str = OWN, **given: Any) -> IndividualDose:
    return individual_dose(case(**given), own(protocol), question)


@pytest.fixture(scope="module")
def result() -> IndividualDose:
    return found()


def test_the_given_dose_has_exactly_the_values_of_its_scorecard(result: IndividualDose) -> None:
    hard = replace(CAP, priority="hard", source="--cap")
    card = {(r.structure, r.metric, r.quantity): r for r in evaluate(case(), own(), (hard,)).scorecard.rows}
    rows = result.given.at(60.0, 30).limits
    assert len(rows) == 7
    for row in rows:
        assert row == card[row.structure, row.metric, row.quantity]


def test_outcomes_of_the_given_dose_are_those_of_an_evaluation_without_a_protocol(result: IndividualDose) -> None:
    card = {(r.structure, r.metric): r.value for r in evaluate(case(), None, ()).scorecard.rows}
    rows = result.given.at(60.0, 30).outcomes
    assert {row.structure for row in rows} == {"GTVp", "SpinalCord", "Lungs", "Heart"}
    assert [row.value for row in rows] == [card[row.structure, row.metric] for row in rows]


def test_limits_that_dose_can_break_are_asked_of_organs_hard_ones_and_caps_first(result: IndividualDose) -> None:
    asked = [(c.structure, c.metric, c.priority) for c in result.given.limits]
    assert asked == [
        ("SpinalCord", "Max[Gy]", "hard"),
        ("SpinalCord", "D0.1cc[Gy]", "hard"),
        ("Lungs", "NTCP(lung-quantec)[%]", "hard"),
        ("Lungs", "V20Gy[%]", "goal"),
        ("Lungs", "CV5Gy[cc]", "goal"),
        ("Heart", "D2%[Gy]", "goal"),
        ("Stomach", "Mean[Gy]", "goal"),
    ]
    assert any("limits on targets" in note and "PTV Max[Gy] <= 64.2" in note for note in result.notes)


def test_limits_in_percent_of_a_prescription_stay_at_the_dose_of_the_protocol(result: IndividualDose) -> None:
    (heart,) = [c for c in result.given.limits if c.structure == "Heart"]
    assert heart.limit == 42.0
    one = OWN.replace("  - {target: PTV_Low, dose_gy: 54, fractions: 30}\n", "")
    cap = Constraint("Heart", "V50%[%]", "<=", 90.0, "goal", "--metric")
    (fixed,) = [c for c in found(replace(ASKED, caps=(cap,)), one).given.limits if c.source == "--cap"]
    assert fixed.metric == "V30Gy[%]"


def test_a_structure_that_is_not_there_leaves_its_goal_unknown(result: IndividualDose) -> None:
    for one in result.proposals:
        assert one.level is not None
        assert [row.structure for row in one.level.unknown] == ["Stomach"]
    assert result.is_judged


def test_what_the_dose_was_made_for_is_told_by_a_person_or_by_the_protocol(result: IndividualDose) -> None:
    assert (result.given.planned_gy, result.planned_by) == (60.0, "the protocol, as no RTPLAN tells")
    other = found(replace(ASKED, planned_gy=50.0))
    assert other.given.planned_gy == 50.0
    # The same dose made for less is more at every level.
    assert other.given.at(50.0, 30).limits[0].value == result.given.at(60.0, 30).limits[0].value
    assert any("made for 50 Gy" in note for note in other.notes)


def test_coverage_that_is_not_as_prescribed_is_told(result: IndividualDose) -> None:
    assert any("D95%[Gy] of PTV is 61.00 in the given dose, 60 as prescribed" in note for note in result.notes)


def test_the_plans_own_fractions_are_asked_about_where_none_are_named() -> None:
    assert [one.fractions for one in found(DoseQuestion((55.0, 60.0))).proposals] == [30]
    with pytest.raises(InputError, match="--fractions"):
        found(DoseQuestion((55.0, 60.0)), fractions=None)
    assert [one.fractions for one in found(DoseQuestion((55.0, 60.0), (28,)), fractions=None).proposals] == [28]


def test_alpha_beta_that_the_protocol_does_not_tell_stays_unknown() -> None:
    silent = found(DoseQuestion((55.0, 60.0)), OWN.replace("biology: {targets: {alpha_beta_gy: 10}}", ""))
    (one,) = silent.proposals
    assert one.level is not None
    assert (one.level.bed_gy, one.level.eqd2_gy) == (None, None)
    assert any("BED and EQD2 of the prescription are unknown" in note for note in silent.notes)


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (DoseQuestion(), "prints no range"),
        (replace(ASKED, tcp="lung-quantec"), "sets of TCP are oesophagus-demonstration"),
        (replace(ASKED, tcp="nonsense"), "no set of outcome parameters 'nonsense'"),
        (replace(ASKED, caps=(replace(CAP, structure="Lungs-GTV"),)), "not in the case: Lungs-GTV"),
        (replace(ASKED, planned_gy=-1.0), "made for -1 Gy"),
        (replace(ASKED, range_gy=(70.0, 60.0)), "ascends"),
    ],
)
def test_a_question_that_cannot_be_answered_is_bad_input(question: DoseQuestion, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        found(question)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("cap", [replace(CAP, priority="report"), replace(CAP, operator=">=")])
def test_a_cap_that_more_dose_cannot_break_is_refused(cap: Constraint) -> None:
    with pytest.raises(InputError, match="is no cap"):
        DoseQuestion((50.0, 60.0), caps=(cap,))


def test_a_course_of_several_phases_is_refused() -> None:
    phases = OWN.replace(
        "  - {target: PTV_Low, dose_gy: 54, fractions: 30}\n",
        "  - {target: PTV, dose_gy: 10, fractions: 5, phase: 2}\n",
    ).replace('limit: 60, priority: goal', 'limit: 70, priority: goal')  # fmt: skip
    with pytest.raises(InputError, match="2 phases"):
        found(protocol=phases)
    with pytest.raises(InputError, match="2 doses"):
        found(doses=2)
    with pytest.raises(InputError, match="0 doses"):
        found(doses=0)


def test_a_painted_protocol_gives_its_range_and_does_not_guess_the_mean_that_was_painted() -> None:
    painted = load("painting-demo")
    with pytest.raises(InputError, match="--planned-gy"):
        individual_dose(case(), painted, DoseQuestion())
    answer = individual_dose(case(), painted, DoseQuestion(planned_gy=60.0))
    assert (answer.range_gy, answer.range_by) == ((54.0, 72.0), "painted range of painting-demo")
    assert (answer.given.lead.target, answer.given.lead.dose_gy, answer.given.printed_gy) == ("PTV_Paint", 60.0, 72.0)
    # 61 Gy made for a mean of 60 leave the painted range near a mean of 70.8.
    assert answer.given.at(70.7, 30).signature == ()
    (near,) = answer.given.at(71.0, 30).signature
    assert "D2% of PTV_Paint" in near

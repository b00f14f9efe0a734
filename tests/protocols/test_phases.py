"""Courses of several phases: what adds up, what may move, and what a file may not say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError, ProtocolError, UndecidedError
from tailort.patient import Normalisation, Prescription
from tailort.protocols import (
    HandOver,
    PhaseTechnique,
    Protocol,
    Supplement,
    Technique,
    after_hand_over,
    for_patient,
    fractions_to_move,
    joined,
    parse,
    read_record,
)

COURSE = """\
id: own
version: "1"
title: Three phases
facts:
  - {name: level, type: choice, choices: [upper, lower]}
  - {name: kps, type: integer, range: [0, 100]}
targets:
  - {name: PTVn, role: PTV, of: [Nodes], when: {fact: level, operator: "==", value: upper}}
  - {name: PTV, role: PTV, of: [GTV], if_drawn: [PTVn]}
  - {name: zRing, role: CONTROL, of: [PTV], then: [{ring: {from_mm: 5, to_mm: 25}}]}
  - {name: Boost, role: PTV, of: [GTV], then: [{expand: {mm: 5}}]}
normalisation: {isodose_percent: 93}
prescriptions:
  - {target: PTV, dose_gy: 39.6, fractions: 22, phase: 1}
  - {target: PTV, dose_gy: 10.8, fractions: 6, phase: 2}
  - {target: Boost, dose_gy: 14.4, fractions: 8, phase: 3, boosts: PTV}
technique:
  kind: 3dcrt
  arrangement: ap-pa
  aperture_margin_mm: 7
  phases:
    - {phase: 2, arrangement: opposed-obliques, avoid: Cord, avoid_margin_mm: 5}
  hand_over: {from_phase: 1, to_phase: 2, structure: Cord, metric: "Max[Gy]", below_gy: 45}
preferred:
  when: {fact: level, operator: "==", value: upper}
  technique: {kind: 3dcrt, arrangement: three-field-cervical, aperture_margin_mm: 7, aperture_target: Wide}
supplements:
  - {target: PTVn, up_to_gy: 50.4, depth_mm: 30, fraction_gy_at_most: 1.8, least_gy: 0.9, aperture_margin_mm: 7,
     modality: photons, when: {fact: level, operator: "==", value: upper}}
positions:
  - {patient: prone, when: {fact: level, operator: "==", value: lower}}
limits:
  - {structure: Boost, metric: "D95%[Gy]", operator: ">=", limit: 100, percent_of: Boost, priority: goal}
  - {structure: Heart, metric: "Max[Gy]", operator: "<=", limit: 110, percent_of: PTV, priority: goal}
comparator:
  title: Other
  prescriptions:
    - {target: PTV2, dose_gy: 20, fractions: 10, phase: 1}
  limits:
    - {structure: Heart, metric: "Max[Gy]", operator: "<=", limit: 110, percent_of: PTV2, priority: goal}
  technique: {kind: 3dcrt, arrangement: four-field, aperture_margin_mm: 7, aperture_target: PTV2}
"""

HAND_OVER = HandOver(from_phase=1, to_phase=2, structure="Cord", metric="Max[Gy]", below_gy=45.0)
TO_POINT = Normalisation("isodose", percent=93.0)


def _of(level: str) -> Protocol:
    return for_patient(parse(COURSE, "own.yaml"), read_record({"level": level}))


def test_phases_are_sorted_and_each_has_its_prescriptions() -> None:
    protocol = parse(COURSE, "own.yaml")
    assert protocol.phases == (1, 2, 3)
    assert [p for n in protocol.phases for p in protocol.prescriptions() if p.phase == n] == [*protocol.prescriptions()]
    assert [p.dose_gy for p in protocol.prescriptions() if p.phase == 3] == [14.4]


def test_a_limit_in_percent_is_of_the_whole_course_and_of_what_is_boosted() -> None:
    limits = {c.structure: c.limit for c in parse(COURSE, "own.yaml").constraints()}
    assert limits == {"Boost": pytest.approx(64.8), "Heart": pytest.approx(1.1 * 50.4)}


def test_a_comparator_may_have_a_technique_of_its_own() -> None:
    other = parse(COURSE, "own.yaml").comparator
    with pytest.raises(ProtocolError, match="depend on the patient"):
        other()
    made = _of("lower").comparator()
    assert made.technique.arrangement == "four-field"
    own = "  technique: {kind: 3dcrt, arrangement: four-field, aperture_margin_mm: 7, aperture_target: PTV2}\n"
    assert own in COURSE
    with pytest.raises(ProtocolError, match=r"comparator: it shares the protocol's technique, but phase 2 is not"):
        parse(COURSE.replace(own, ""), "own.yaml")


FAULTS = [
    (
        "fractions: 8, phase: 3", "fractions: 8, phase: 4",
        "line 13, prescriptions: phases are counted 1, 2, 3; found 1, 2, 4",
    ),
    (
        "fractions: 6, phase: 2}",
        "fractions: 6, phase: 2}\n  - {target: X, dose_gy: 9, fractions: 5, phase: 2}",
        "line 16, prescriptions[2].fractions: 'X' has 5 fractions and 'PTV' 6 in the same phase 2",
    ),
    (
        "boosts: PTV}", "boosts: PTW}",
        "line 16, prescriptions[2].boosts: 'PTW' is not prescribed; prescribed are: PTV, Boost",
    ),
    ("boosts: PTV}", "boosts: Boost}", "prescriptions[2].boosts: 'Boost' cannot boost itself"),
    ("phase: 2}\n", "phase: 2, boosts: Boost}\n", "a boost comes after what it boosts"),
    ("- {phase: 2, arr", "- {phase: 4, arr", "line 22, technique.phases[0].phase: phase 4 is not prescribed"),
    ("to_phase: 2", "to_phase: 4", "line 23, technique.hand_over.to_phase: phase 4 is not prescribed"),
    ("to_phase: 2", "to_phase: 1", "line 23, technique.hand_over: fractions move to a later phase"),
    (
        "to_phase: 2", "to_phase: 3",
        "line 23, technique.hand_over: fractions can move only between phases with the same",
    ),
    ("dose_gy: 10.8", "dose_gy: 12", "found in phase 1 'PTV' 1.8 Gy and in phase 2 'PTV' 2 Gy"),
    ('"Max[Gy]", below', '"V20Gy[%]", below', "line 23, technique.hand_over.metric: a hand-over looks at a dose"),
    ("below_gy: 45", "below_gy: 0", "line 23, technique.hand_over.below_gy"),
    (
        "arrangement: ap-pa", "arrangement: ap",
        "line 19, technique.arrangement: there is no beam arrangement 'ap'; known are ap-pa",
    ),
    (
        "modality: photons", "modality: electrons",
        "supplements[0].modality: electrons are not planned by this version",
    ),
    ("modality: photons", "modality: protons", "supplements[0].modality: expected 'photons'"),
    ("{target: PTVn, up", "{target: PTV, up", "line 28, supplements[0].target: 'PTV' has a prescription of its own"),
    ("patient: prone", "patient: left", "line 31, positions[0].patient"),
    ("value: lower}}", "value: low}}", "line 31, positions[0].when.value"),
    (
        "of: [Nodes], when: {fact: level", "of: [Nodes], when: {fact: site",
        "line 8, targets[0].when.fact: fact 'site' is not",
    ),
    ("{name: Boost, role", "{name: PTV, role", "line 11, targets[3].name: 'PTV' is made twice"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "says"), FAULTS)
def test_a_faulty_course_is_refused_in_one_sentence(old: str, new: str, says: str) -> None:
    assert old in COURSE
    with pytest.raises(ProtocolError) as caught:
        parse(COURSE.replace(old, new, 1), "own.yaml")
    told = str(caught.value)
    assert told.startswith("own.yaml, line")
    assert says in told
    assert "\n" not in told


def test_what_holds_for_some_is_kept_for_them_and_left_out_for_others() -> None:
    upper, lower = _of("upper"), _of("lower")
    assert [s.name for s in upper.target_steps()] == ["PTVn", "PTV", "zRing", "Boost"]
    assert [s.name for s in lower.target_steps()] == ["PTV", "zRing", "Boost"]
    assert [t.arrangement for t in upper.techniques()] == ["three-field-cervical", "ap-pa"]
    assert [t.arrangement for t in lower.techniques()] == ["ap-pa"]
    assert [s.target for s in upper.supplements()] == ["PTVn"]
    assert lower.supplements() == ()
    assert "recommends prone" in lower.position_note("HFS")
    assert lower.position_note("FFP") == upper.position_note("HFS") == ""


def test_what_a_patient_needs_is_what_the_plans_of_this_patient_need() -> None:
    upper, lower = _of("upper").structures_needed(), _of("lower").structures_needed()
    assert set(upper) == {"PTV", "Boost", "PTV2", "Cord", "PTVn", "Wide"}
    assert set(lower) == {"PTV", "Boost", "PTV2", "Cord"}


def test_deciding_twice_is_deciding_once() -> None:
    facts = read_record({"level": "upper"})
    once = for_patient(parse(COURSE, "own.yaml"), facts)
    assert for_patient(once, {}) is once


def test_an_unknown_fact_stops_planning_and_is_named() -> None:
    with pytest.raises(UndecidedError, match=r"without: level; add") as caught:
        for_patient(parse(COURSE, "own.yaml"), read_record({"kps": 80}))
    assert caught.value.missing == ("level",)


@pytest.mark.parametrize("ask", ["target_steps", "techniques", "supplements"])
def test_an_undecided_protocol_does_not_answer_for_everybody(ask: str) -> None:
    with pytest.raises(ProtocolError, match="depend on the patient"):
        getattr(parse(COURSE, "own.yaml"), ask)()


def test_steps_for_all_are_those_that_no_decision_changes() -> None:
    protocol = parse(COURSE, "own.yaml")
    assert [s.name for s in protocol.steps_for_all()] == ["Boost"]
    common = protocol.steps_for_all()
    for level in ("upper", "lower"):
        assert [s for s in _of(level).target_steps() if s.name == "Boost"] == list(common)


def test_a_structure_may_be_made_in_two_ways_for_two_kinds_of_patients() -> None:
    second = '  - {name: PTVn, role: PTV, of: [Other], when: {fact: level, operator: "==", value: lower}}\n'
    text = COURSE.replace("  - {name: PTV, role", second + "  - {name: PTV, role", 1)
    protocol = parse(text, "own.yaml")
    for level, source in (("upper", "Nodes"), ("lower", "Other")):
        made = for_patient(protocol, read_record({"level": level}))
        assert made.target_steps()[0].of == (source,)
    both = text.replace("value: lower}}\n  - {name: PTV, role", "value: upper}}\n  - {name: PTV, role", 1)
    with pytest.raises(ProtocolError, match="'PTVn' is made twice"):
        for_patient(parse(both, "own.yaml"), read_record({"level": "upper"}))


def _course(first: int, second: int) -> tuple[Prescription, ...]:
    return (
        Prescription("PTV", 1.8 * first, first, TO_POINT, 1),
        Prescription("PTV", 1.8 * second, second, TO_POINT, 2),
        Prescription("Boost", 14.4, 8, TO_POINT, 3),
    )


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_handing_over_keeps_fractions_and_doses(first: int, second: int, data: st.DataObject) -> None:
    moved = data.draw(st.integers(0, first))
    course = _course(first, second)
    made = after_hand_over(course, HAND_OVER, moved)
    assert sum(p.fractions for p in made) == sum(p.fractions for p in course)
    assert sum(p.dose_gy for p in made) == pytest.approx(sum(p.dose_gy for p in course))
    assert {p.phase: p.fractions for p in made}.get(1, 0) == first - moved
    for p in made:
        assert p.dose_per_fraction_gy == pytest.approx(1.8)


@pytest.mark.parametrize("moved", [-1, 23])
def test_no_more_fractions_move_than_there_are(moved: int) -> None:
    with pytest.raises(InputError, match="it has 22"):
        after_hand_over(_course(22, 6), HAND_OVER, moved)


@given(st.floats(0.5, 2.5), st.floats(0.0, 2.5), st.floats(0.0, 10.0))
def test_as_few_fractions_move_as_keep_the_cord_below(ahead: float, aside: float, rest: float) -> None:
    def cord_gy(moved: int) -> float:
        return (22 - moved) * ahead + (6 + moved) * aside + rest

    moved = fractions_to_move(HAND_OVER, 22, cord_gy)
    if cord_gy(moved) < 45:
        assert all(cord_gy(n) >= 45 for n in range(moved))
    else:
        assert all(cord_gy(n) >= cord_gy(moved) for n in range(23))


def test_the_cord_at_the_icru_dose_keeps_all_22_fractions_and_wins_where_obliques_add_to_it() -> None:
    """1.94 Gy a fraction (printed) makes 42.68 Gy in 22: room for 2.3 Gy from the rest of the course."""
    assert fractions_to_move(HAND_OVER, 22, lambda n: (22 - n) * 1.94 + (6 + n) * 0.3) == 0
    assert fractions_to_move(HAND_OVER, 22, lambda n: (22 - n) * 1.94 + (6 + n) * 0.5) == 1


def test_phases_that_are_planned_alike_become_one() -> None:
    one = Technique(kind="3dcrt", arrangement="three-field-cervical", aperture_margin_mm=7.0)
    course = _course(22, 6)
    made = joined(course, one)
    assert [(p.target, p.fractions, p.phase) for p in made] == [("PTV", 28, 1), ("Boost", 8, 3)]
    assert made[0].dose_gy == pytest.approx(50.4)
    two = one.model_copy(update={"phases": (PhaseTechnique(phase=2, arrangement="ap-pa"),)})
    assert joined(course, two) == course
    hotter = (course[0], Prescription("PTV", 12.0, 6, TO_POINT, 2), course[2])
    assert joined(hotter, one) == hotter


SUPPLEMENT = Supplement(
    target="PTVn",
    up_to_gy=50.4,
    depth_mm=30.0,
    fraction_gy_at_most=1.8,
    least_gy=0.9,
    aperture_margin_mm=7.0,
    modality="photons",
)


@given(st.floats(0, 80))
def test_a_supplement_gives_what_is_missing_in_as_few_fractions_as_will_do(delivered_gy: float) -> None:
    made = SUPPLEMENT.prescription(delivered_gy, 3)
    if made is None:
        assert delivered_gy > 50.4 - 0.9 - 1e-6
        return
    assert delivered_gy + made.dose_gy == pytest.approx(50.4, abs=1e-5)
    assert made.dose_per_fraction_gy <= 1.8 + 1e-6
    assert made.fractions == 1 or made.dose_gy / (made.fractions - 1) > 1.8
    assert made.normalisation == Normalisation("depth", depth_mm=30.0)
    assert (made.target, made.phase) == ("PTVn", 3)


def test_after_39_6_gy_the_supplement_is_six_fractions_of_1_8_gy() -> None:
    made = SUPPLEMENT.prescription(39.6, 3)
    assert made is not None
    assert (made.fractions, made.dose_gy) == (6, pytest.approx(10.8))


@pytest.mark.parametrize("delivered_gy", [-1.0, float("nan"), float("inf")])
def test_a_dose_that_cannot_be_has_no_supplement(delivered_gy: float) -> None:
    with pytest.raises(InputError, match="cannot be"):
        SUPPLEMENT.prescription(delivered_gy, 3)

"""Limits of the protocol reirradiation-spine (KO-58, KO-80 to KO-94), as the file decides them for a patient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from spine_patient import PATIENT, SPINE, decided, flags, missing_for, own, told, without

from tailort.errors import InputError, UndecidedError
from tailort.patient import Constraint, Structure, StructureSet
from tailort.radiobiology import bed

OTHER_ORGANS = {
    "Pharynx", "Larynx", "Esophagus", "Trachea", "Bronchus_Main", "Stomach", "Lungs", "A_Carotid_L", "A_Carotid_R",
    "A_Aorta",
}  # fmt: skip
STEPS = ("upper_edge", "mid_bin")
# Prior BED, Gy, alpha/beta 2 Gy, to 0.001 Gy.
beds = st.integers(60_000, 140_000).map(lambda n: n / 1000)

# The cord


def by_the_rule(bed_gy: float, reading: str) -> float:
    """KO-80 to KO-82 written once more: 12.2 Gy, from 90 Gy on 0.14 Gy less with each Gy, at the edge or the middle."""
    exact = Fraction(str(bed_gy))
    if exact > 100:
        return 10.8
    steps = max(math.ceil(exact) - 90, 0)
    middle = Fraction(1, 2) if reading == "mid_bin" and steps else 0
    tenths = 10 * (Fraction("12.2") - Fraction("0.14") * (steps - middle))
    return math.floor(tenths + Fraction(1, 2)) / 10  # halves go up


def limit(facts: Mapping[str, Any], **readings: str) -> float | None:
    found = told(facts, "cord_prv_limit_gy", **readings)
    return None if found is None else float(found)


def prior(bed_gy: float) -> dict[str, Any]:
    course = ("prior_radiotherapy_dose_gy", "prior_radiotherapy_fractions")
    return without(*course) | {"prior_prescription_bed_gy": bed_gy, "prior_cord_bed_gy": bed_gy}


@pytest.mark.parametrize(("bed_gy", "limit_gy"), [(80, 12.2), (90, 12.2)])
def test_we_20_up_to_90_gy_the_cord_may_have_12_2_gy(bed_gy: float, limit_gy: float) -> None:
    assert limit(prior(bed_gy)) == limit_gy


@pytest.mark.parametrize("bed_gy", [95.5, 96])
def test_we_21_the_printed_example_is_11_4_gy(bed_gy: float) -> None:
    assert limit(prior(bed_gy)) == limit(prior(bed_gy), KO_82="mid_bin") == 11.4


def test_we_22_and_we_23_the_upper_edge_belongs_to_its_step() -> None:
    assert (limit(prior(95.0)), limit(prior(100))) == (11.5, 10.8)


@pytest.mark.parametrize("bed_gy", [100.01, 120])
def test_we_24_above_100_gy_the_limit_stays(bed_gy: float) -> None:
    assert limit(prior(bed_gy)) == 10.8


def test_we_25_every_step_has_its_limit_in_both_readings() -> None:
    beds = (90.01, 91.5, 92, 93, 94, 97, 98, 99)
    assert [limit(prior(bed)) for bed in beds] == [12.1, 11.9, 11.9, 11.8, 11.6, 11.2, 11.1, 10.9]
    middle = [limit(prior(bed), KO_82="mid_bin") for bed in beds]
    assert middle == [12.1, 12.0, 12.0, 11.9, 11.7, 11.3, 11.2, 11.0]


@pytest.mark.parametrize(("dose_gy", "fractions"), [(48, 24), (50.4, 28)])
def test_we_26_the_limit_follows_from_dose_and_fractions(dose_gy: float, fractions: int) -> None:
    facts = PATIENT | {"prior_radiotherapy_dose_gy": dose_gy, "prior_radiotherapy_fractions": fractions}
    assert limit(facts | {"prior_cord_bed_gy": 80}) == 11.4


@pytest.mark.parametrize(
    ("dose_gy", "fractions", "bed_gy"),
    [(60, 30, 120), (70, 35, 140), (30, 10, 75), (40, 20, 80), (45, 25, 85.5), (20, 5, 60), (8, 1, 40), (46, 23, 92),
     (48, 24, 96), (50, 25, 100)],
)  # fmt: skip
def test_we_05_we_06_and_we_18_bed_of_the_earlier_course_is_computed(
    dose_gy: float, fractions: int, bed_gy: float
) -> None:
    facts = PATIENT | {"prior_radiotherapy_dose_gy": dose_gy, "prior_radiotherapy_fractions": fractions}
    assert decided(facts | {"prior_prescription_bed_gy": bed_gy}).answer == "yes"
    with pytest.raises(InputError, match=f"but {bed_gy:g} follows"):
        decided(facts | {"prior_prescription_bed_gy": bed_gy + 0.01})


@given(beds, beds, st.sampled_from(STEPS))
@settings(max_examples=60, deadline=None)
@example(100.0, 60.0, "mid_bin")
@example(90.0, 90.0, "upper_edge")
def test_the_table_gives_what_the_rule_gives(prescribed: float, cord: float, reading: str) -> None:
    facts = prior(prescribed) | {"prior_cord_bed_gy": cord}
    for which, bed_gy in (("larger", max(prescribed, cord)), ("cord", cord), ("prescription", prescribed)):
        assert limit(facts, KO_82=reading, KO_85=which) == by_the_rule(bed_gy, reading)


def test_ko_81_and_ko_82_each_step_has_its_limit_and_the_middle_is_never_below_the_edge() -> None:
    edges = [limit(prior(bed_gy)) for bed_gy in range(91, 101)]
    assert edges == [12.1, 11.9, 11.8, 11.6, 11.5, 11.4, 11.2, 11.1, 10.9, 10.8]
    middles = [limit(prior(bed_gy), KO_82="mid_bin") for bed_gy in range(92, 101)]
    assert middles == [12.0, 11.9, 11.7, 11.6, 11.4, 11.3, 11.2, 11.0, 10.9]


@given(beds, beds, st.sampled_from(STEPS))
@settings(max_examples=30, deadline=None)
def test_the_limit_never_rises_with_the_prior_bed(a: float, b: float, reading: str) -> None:
    low, high = (limit(prior(bed_gy), KO_82=reading) for bed_gy in sorted((a, b)))
    assert low is not None
    assert high is not None
    assert 10.8 <= high <= low <= 12.2


@given(st.integers(1, 40), st.integers(10, 50))
@settings(max_examples=40, deadline=None)
@example(24, 20)
@example(25, 20)
def test_floating_point_does_not_push_a_course_into_the_next_step(fractions: int, tenths: int) -> None:
    dose = Fraction(tenths, 10)
    course = {"prior_radiotherapy_dose_gy": float(fractions * dose), "prior_radiotherapy_fractions": fractions}
    bed_gy = float(fractions * dose * (1 + dose / 2))
    assert limit(PATIENT | course, KO_85="prescription") == by_the_rule(bed_gy, "upper_edge")


def test_we_07_eqd2_of_50_to_105_gy_takes_the_lowest_limit() -> None:
    # BED is twice the EQD2 at alpha/beta 2 Gy.
    assert {limit(prior(2 * eqd2_gy)) for eqd2_gy in (50, 60, 70, 105)} == {10.8}


@given(beds, beds)
@settings(max_examples=30, deadline=None)
def test_the_default_is_the_strictest_choice_of_prior_dose(prescription: float, cord: float) -> None:
    facts = prior(prescription) | {"prior_cord_bed_gy": cord}
    by_one = [limit(facts, KO_85=reading) for reading in ("cord", "prescription")]
    assert limit(facts) == min(value for value in by_one if value is not None)


@pytest.mark.parametrize(
    ("known", "reading", "missing"),
    [
        ((None, None), "larger", {"prior_cord_bed_gy", "prior_prescription_bed_gy"}),
        ((95, None), "larger", {"prior_cord_bed_gy"}), ((None, 95), "larger", {"prior_prescription_bed_gy"}),
        ((120, None), "cord", {"prior_cord_bed_gy"}), ((None, 120), "prescription", {"prior_prescription_bed_gy"}),
    ],
)  # fmt: skip
def test_an_unknown_prior_dose_is_asked_for_by_name(
    known: tuple[float | None, float | None], reading: str, missing: set[str]
) -> None:
    facts = prior(95) | dict(zip(("prior_prescription_bed_gy", "prior_cord_bed_gy"), known, strict=True))
    assert missing_for(facts, "cord_prv_limit_gy", KO_85=reading) == missing


@given(beds.map(lambda bed_gy: bed_gy + 40.001), beds, st.sampled_from(STEPS))
@settings(max_examples=30, deadline=None)
def test_above_100_gy_the_other_dose_could_not_change_the_limit(known: float, other: float, reading: str) -> None:
    alone = prior(known) | {"prior_cord_bed_gy": None}
    assert limit(alone, KO_82=reading) == limit(alone | {"prior_cord_bed_gy": other}, KO_82=reading) == 10.8


def test_ko_85_the_larger_dose_is_asked_for_unless_one_alone_settles_it() -> None:
    assert limit(without("prior_cord_bed_gy")) == 10.8
    lower = prior(95.5) | {"prior_cord_bed_gy": None}
    assert limit(lower) is None
    assert missing_for(lower, "cord_prv_limit_gy") == {"prior_cord_bed_gy"}
    assert limit(lower, KO_85="prescription") == 11.4
    assert limit(prior(120) | {"prior_cord_bed_gy": 85}, KO_85="cord") == 12.2
    with pytest.raises(UndecidedError, match="prior_cord_bed_gy"):
        own(lower)


def test_ko_86_of_several_courses_their_sum_is_asked_for() -> None:
    facts = PATIENT | {"prior_radiotherapy_courses": 2, "prior_cord_bed_gy": 80}
    assert "prior_prescription_bed_gy" in missing_for(facts, "cord_prv_limit_gy")
    assert limit(facts | {"prior_prescription_bed_gy": 195.5}) == 10.8


def test_the_record_tells_the_other_readings_and_the_defaults() -> None:
    facts = prior(93) | {"prior_cord_bed_gy": 80}
    read = {one.rule: one for one in decided(facts).defaults}
    assert (read["KO-82"].name, read["KO-85"].name) == ("upper_edge", "larger")
    changes = [change for one in read["KO-82"].others or () for change in one.changes]
    assert any("11.8" in change and "11.9" in change for change in changes)
    named = {one.rule: one for one in decided(facts, KO_82="mid_bin").defaults}["KO-82"]
    assert (named.name, named.chosen) == ("mid_bin", True)


def cord_limit(facts: Mapping[str, Any], **readings: str) -> Constraint:
    (found,) = [
        c for c in own(facts, **readings).constraints() if c.structure == "SpinalCord_PRV" and c.operator == "<="
    ]
    return found


def with_earlier_gy(constraint: Constraint) -> float:
    return float(constraint.source.split("together ")[1].removeprefix("at least ").split(" Gy BED")[0])


def test_the_cord_limit_is_a_hard_limit_of_the_patient_and_tells_the_sum() -> None:
    found = cord_limit(PATIENT)
    assert (found.metric, found.limit, found.priority, found.quantity) == ("D0.035cc[Gy]", 10.8, "hard", "physical")
    assert found.holds(10.8)
    assert not found.holds(10.81)
    # 120 + 39.96 Gy, as WE-27 has it.
    assert "together 160.0 Gy BED (a/b=2), above 140 Gy: to be reviewed [KO-83, KO-84]" in found.source
    assert "together 129.4 Gy BED (a/b=2) [KO-83, KO-84]" in cord_limit(prior(80)).source
    assert "together at least 160.0 Gy BED" in cord_limit(PATIENT | {"prior_cord_bed_gy": None}).source


def test_we_27_the_sum_with_the_earlier_dose_takes_the_bed_of_the_limit_in_2_fractions() -> None:
    assert with_earlier_gy(cord_limit(prior(90))) == round(90 + 49.41, 1)
    assert with_earlier_gy(cord_limit(prior(100))) == round(100 + 39.96, 1)


@pytest.mark.parametrize("bed_gy", [80, *range(90, 101)])
def test_ko_83_up_to_100_gy_prior_dose_and_limit_together_stay_below_140_gy(bed_gy: float) -> None:
    assert with_earlier_gy(cord_limit(prior(bed_gy))) <= 140
    assert "to be reviewed" not in cord_limit(prior(bed_gy)).source
    assert "cord-above-140" not in flags(prior(bed_gy))


def test_the_mid_bin_reading_exceeds_140_gy_at_93_gy() -> None:
    found = cord_limit(prior(93), KO_82="mid_bin")
    assert with_earlier_gy(found) == 140.3
    assert "to be reviewed" in found.source


@pytest.mark.parametrize("bed_gy", [90, *range(91, 101)])
def test_ko_83_the_steps_lie_within_a_step_of_140_gy_together(bed_gy: float) -> None:
    found = limit(prior(bed_gy))
    assert found is not None
    # What is left of 140 Gy in 2 fractions, alpha/beta 2 Gy; a step is 0.14 Gy and is rounded to 0.1 Gy.
    assert abs(found - 2 * (math.sqrt(141 - bed_gy) - 1)) < 0.14 + 0.05


def test_ko_84_above_100_gy_the_sum_is_flagged() -> None:
    assert with_earlier_gy(cord_limit(prior(120))) == 160.0
    assert "cord-above-140" in flags(prior(120))
    assert "cord-above-140" not in flags(prior(120) | {"prior_cord_bed_gy": 80}, KO_85="cord")


# Other limits


def test_ko_87_other_organs_are_hard_limits_where_they_are_drawn() -> None:
    own_file = own(PATIENT)
    hard = {c.structure for c in own_file.constraints() if c.priority == "hard" and c.limit == 20}
    assert hard == OTHER_ORGANS
    assert not hard & set(own_file.structures_needed())
    drawn = StructureSet(
        (Structure("Esophagus", "ORGAN", (), "1.2"), Structure("Lungs", "ORGAN", _square(), "1.2")), "1.2"
    )
    left = own_file.where_drawn(drawn)
    assert {c.structure for c in left.constraints() if c.priority == "hard" and c.limit == 20} == {"Lungs"}
    assert any(c.structure == "PTV_Eval" for c in left.constraints())


@pytest.mark.parametrize(("sides", "organ"), [("Lung", "Lungs"), ("Bronchus_Main", "Bronchus_Main")])
def test_ko_87_an_organ_of_which_the_sides_are_drawn_is_judged(sides: str, organ: str) -> None:
    drawn = StructureSet((Structure(f"{sides}_L", "ORGAN", _square(), "1.2"),), "1.2")
    left = own(PATIENT).where_drawn(drawn)
    assert [c.structure for c in left.constraints() if c.priority == "hard" and c.limit == 20] == [organ]


@pytest.mark.parametrize(("bed_gy", "told"), [(90, True), (91, False), (110, False)])
def test_ko_58_the_cord_is_not_asked_to_get_more_than_its_limit(bed_gy: float, told: bool) -> None:
    course = dict.fromkeys(("prior_radiotherapy_dose_gy", "prior_radiotherapy_fractions", "prior_radiotherapy_courses"))
    facts = PATIENT | course | {"prior_prescription_bed_gy": bed_gy, "prior_cord_bed_gy": 80}
    low = [c for c in own(facts).constraints() if c.structure == "SpinalCord_PRV" and c.operator == ">="]
    assert [c.limit for c in low] == ([11.6] if told else [])


def _square() -> tuple[Any, ...]:
    return tuple(np.array([(0.0, 0, z), (9, 0, z), (9, 9, z), (0, 9, z)]) for z in (0.0, 1.0))


def test_ko_88_the_oesophagus_may_be_reported_only() -> None:
    def priority(**readings: str) -> set[str]:
        return {
            c.priority for c in own(PATIENT, **readings).constraints() if c.structure == "Esophagus" and c.limit == 20
        }

    assert (priority(), priority(KO_88="reported")) == ({"hard"}, {"report"})


def test_ko_89_unspecified_tissue_is_a_goal_beyond_10_mm_or_everywhere() -> None:
    def goals(**readings: str) -> dict[str, str]:
        return {c.structure: c.priority for c in own(PATIENT, **readings).constraints() if "External" in c.structure}

    assert goals() == {"External-PTV^1cm": "goal", "External-PTV": "report"}
    assert goals(KO_89="all_tissue") == {"External-PTV": "goal"}


# Highest cumulative values without and lowest with severe toxicity of the paper's table (WE-30), BED, alpha/beta 3 Gy.
@pytest.mark.parametrize(
    ("metric", "limit_gy", "severe_gy"), [("Max[Gy]", 203, 227), ("D0.035cc[Gy]", 187, 209), ("D1cc[Gy]", 167, 175)]
)
def test_ko_90_and_we_36_the_oesophagus_has_strict_limits_over_all_courses(
    metric: str, limit_gy: float, severe_gy: float
) -> None:
    (found,) = [c for c in own(PATIENT).constraints() if c.scope == "cumulative" and c.metric == metric]
    assert (found.structure, found.quantity, found.alpha_beta_gy) == ("Esophagus", "BED", 3)
    assert (found.limit, found.operator, found.label) == (limit_gy, "<", "BED(a/b=3)")
    assert not found.holds(limit_gy)
    assert found.holds(limit_gy - 0.1)
    assert not found.holds(severe_gy)


def test_we_35_the_oesophagus_limits_as_eqd2() -> None:
    limits = [c.limit for c in own(PATIENT).constraints() if c.scope == "cumulative"]
    assert [round(value * 0.6, 1) for value in limits] == [121.8, 112.2, 100.2]


def test_we_28_and_we_33_the_20_gy_limit_and_doses_of_the_paper_above_it() -> None:
    hard = [c for c in own(PATIENT).constraints() if c.structure in OTHER_ORGANS and c.priority == "hard"]
    organs = [c for c in hard if c.scope == "course"]
    assert {c.structure for c in organs} == OTHER_ORGANS
    for c in organs:
        assert (c.metric, c.operator, c.limit, c.scope) == ("D0.035cc[Gy]", "<=", 20, "course")
        assert c.holds(20.0)
        assert not c.holds(22.40)
        assert not c.holds(23.32)
    assert float(bed(20, 2, 3)) == pytest.approx(86.67, abs=0.005)


def test_ko_90_and_ko_94_the_oesophagus_over_all_courses_comes_before_coverage() -> None:
    summed = [c for c in own(PATIENT).constraints() if c.scope == "cumulative"]
    told = {(c.structure, c.metric, c.operator, c.limit, c.quantity, c.alpha_beta_gy, c.priority) for c in summed}
    asked = (("Max[Gy]", 203), ("D0.035cc[Gy]", 187), ("D1cc[Gy]", 167))
    assert told == {("Esophagus", metric, "<", limit, "BED", 3, "hard") for metric, limit in asked}


def test_ko_94_the_cord_and_other_organs_come_before_coverage() -> None:
    priority = {(c.structure, c.operator): c.priority for c in own(PATIENT).constraints() if c.scope == "course"}
    assert priority["SpinalCord_PRV", "<="] == priority["Trachea", "<="] == "hard"
    assert priority["PTV_Eval", ">="] == "goal"


@pytest.mark.parametrize(("value", "says"), [(-1, "FACT"), (math.nan, "nan is not a"), (math.inf, "inf is not a")])
@pytest.mark.parametrize("fact", ["prior_prescription_bed_gy", "prior_cord_bed_gy"])
def test_a_prior_bed_that_is_no_dose_is_refused(fact: str, value: float, says: str) -> None:
    with pytest.raises(InputError, match=says.replace("FACT", fact)):
        decided(prior(80) | {fact: value})


@pytest.mark.parametrize(
    ("dose_gy", "fractions", "fact"),
    [(0, 10, "dose_gy"), (201, 30, "dose_gy"), (50, 0, "fractions")],
)
def test_a_course_that_is_none_is_refused(dose_gy: float, fractions: int, fact: str) -> None:
    with pytest.raises(InputError, match=f"prior_radiotherapy_{fact}"):
        decided(PATIENT | {"prior_radiotherapy_dose_gy": dose_gy, "prior_radiotherapy_fractions": fractions})


def test_an_unknown_reading_of_the_cord_rule_is_refused() -> None:
    for rule, name in (("KO_82", "lower_edge"), ("KO_85", "mean")):
        with pytest.raises(InputError, match=rule.replace("_", "-")):
            decided(PATIENT, **{rule: name})
    assert {name for choice in SPINE.file.readings if choice.rule == "KO-82" for name in choice.names} == set(STEPS)


def test_sp_08_the_target_may_have_140_percent_of_its_dose_or_as_much_as_other_limits_allow() -> None:
    """A convention: the study prints no ceiling; 140 % of 24 Gy are 33.6 Gy."""

    def most(**readings: str) -> tuple[str, float, str]:
        (found,) = [
            c
            for c in own(PATIENT, **readings).constraints()
            if c.structure == "PTV_Eval" and c.metric == "D0.035cc[Gy]" and c.operator == "<="
        ]
        return found.priority, round(found.limit, 6), found.source[:5]

    assert most() == ("hard", 33.6, "SP-08")
    assert most(SP_08="reported")[:2] == ("report", 33.6)

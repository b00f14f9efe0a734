"""What papers print of a cohort: characteristics, adverse events by grade, doses of events and others, subgroups."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.cohort.adverse_events import grade_table, grade_tables
from tailort.cohort.dose_comparison import compare_doses, metric_name, threshold
from tailort.cohort.patients import AdverseEvent, FollowedPatient
from tailort.cohort.subgroups import bonferroni, holm, subgroup_effects
from tailort.cohort.summaries import (
    CategorySummary,
    NumberSummary,
    characteristics,
    groups_of,
    summarise_categories,
    summarise_numbers,
)
from tailort.errors import InputError
from tailort.patient import Fact

MAX = "Esophagus Max[Gy] BED(a/b=3) cumulative"
finite = st.floats(-1e6, 1e6)


def patient(name: str, facts: dict | None = None, events: tuple = (), dose: float | None = None) -> FollowedPatient:
    told = {key: Fact(key, value) for key, value in (facts or {}).items()}
    return FollowedPatient(name, told, tuple(AdverseEvent(*event) for event in events),
                           metrics={} if dose is None else {MAX: dose})  # fmt: skip


def cohort(facts: list[dict]) -> list[FollowedPatient]:
    return [patient(f"P{n}", own) for n, own in enumerate(facts)]


def drawn() -> np.random.Generator:
    return np.random.default_rng(1)


@given(st.lists(st.one_of(st.none(), finite), min_size=1, max_size=40))
def test_quartiles_lie_between_the_extremes_and_nobody_is_lost(values: list[float | None]) -> None:
    found = summarise_numbers(values)
    assert found.known + found.missing == len(values)
    if found.known:
        told = [found.smallest, found.lower_quartile, found.median, found.upper_quartile, found.largest]
        assert told == sorted(told)
        known = [value for value in values if value is not None]
        assert (found.smallest, found.largest) == (min(known), max(known))


@given(st.lists(finite, min_size=1, max_size=30), st.randoms())
def test_the_order_of_patients_changes_no_summary(values: list[float], random) -> None:
    mixed = random.sample(values, len(values))
    assert summarise_numbers(mixed) == summarise_numbers(values)


def test_quartiles_are_those_of_r_type_7() -> None:
    # R: quantile(c(1, 2, 4, 7, 11, 16)) is 1.00 2.50 5.50 10.00 16.00.
    assert summarise_numbers([16, 1, 2, 11, 4, 7]) == NumberSummary(6, 0, 5.5, 2.5, 10.0, 1.0, 16.0)


def test_a_number_known_of_nobody_is_unknown_and_not_zero() -> None:
    assert summarise_numbers([None, None]) == NumberSummary(0, 2, None, None, None, None, None)


@given(st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "c"])), max_size=30))
def test_categories_of_one_each_add_up_to_those_who_are_known(values: list[str | None]) -> None:
    found = summarise_categories([None if value is None else (value,) for value in values])
    assert sum(found.counts.values()) == found.known
    assert found.known + found.missing == len(values)


def test_several_categories_of_one_patient_count_him_in_each_and_once() -> None:
    found = summarise_categories([("lung", "liver", "lung"), ("lung",), None])
    assert found == CategorySummary(2, 1, {"lung": 2, "liver": 1})


def test_facts_are_summarised_by_what_they_are() -> None:
    rows, left_out = characteristics(
        cohort([
            {"age": 61, "ecog": 0, "male": True, "seen": dt.date(2020, 1, 2), "note": 4.5},
            {"age": 75, "ecog": 2, "male": False, "seen": dt.date(2020, 1, 3), "note": "later"},
            {"age": None, "ecog": 1, "male": True},
        ])
    )  # fmt: skip
    told = {row.fact: row for row in rows}
    assert told["age"].overall == NumberSummary(2, 1, 68.0, 64.5, 71.5, 61.0, 75.0)
    assert told["ecog"].overall == CategorySummary(3, 0, {"0": 1, "1": 1, "2": 1})
    assert told["male"].overall == CategorySummary(3, 0, {"yes": 2, "no": 1})
    assert left_out == {"seen": "dates are not summarised", "note": "some patients have numbers, others words"}


def test_yes_and_the_number_1_are_not_the_same_fact() -> None:
    rows, left_out = characteristics(cohort([{"x": True}, {"x": 1}]))
    assert rows == ()
    assert left_out == {"x": "some patients have numbers, others words"}


def test_groups_and_patients_of_no_known_group_make_up_the_cohort() -> None:
    patients = cohort([{"arm": "a", "age": 60}, {"arm": "b", "age": 70}, {"arm": None, "age": 80}])
    (row,), _ = characteristics(patients, ["age"], groups_of(patients, "arm"))
    assert row.overall.known == 3
    assert {name: of.known for name, of in row.groups.items()} == {"a": 1, "b": 1}


def test_a_fact_that_nobody_tells_is_refused_with_those_that_are_told() -> None:
    with pytest.raises(InputError, match=r"'arms' is told of no patient; told are age, arm"):
        groups_of(cohort([{"arm": "a", "age": 60}]), "arms")


def test_the_worst_grade_of_each_patient_and_term_counts_once() -> None:
    found = grade_table([
        patient("1", events=(("Pneumonitis", 1), ("pneumonitis", 3), ("Nausea", 2))),
        patient("2", events=(("Pneumonitis", 2), ("Pneumonitis", 2))),
        patient("3"),
    ])  # fmt: skip
    lung = next(line for line in found.terms if line.term == "Pneumonitis")
    assert lung.by_grade == (0, 0, 1, 1, 0, 0)
    assert (lung.at_least(1), lung.at_least(2), lung.at_least(3), lung.patients) == (2, 2, 1, 3)
    assert found.any_term.by_grade == (0, 0, 1, 1, 0, 0)
    assert found.without_entry == 1


def test_grades_of_two_scales_are_not_put_together() -> None:
    events = (AdverseEvent("Mucositis", 3, scale="RTOG"), AdverseEvent("Mucositis", 1, scale="CTCAE 4.0"))
    found = grade_table([FollowedPatient("1", {}, events)])
    assert {line.scale: line.at_least(3) for line in found.terms} == {"RTOG": 1, "CTCAE 4.0": 0}
    assert found.any_term.at_least(3) == 1


def test_an_entry_of_grade_0_is_an_entry_and_no_event() -> None:
    found = grade_table([patient("1", events=(("Nausea", 0),)), patient("2")])
    assert found.without_entry == 1
    assert found.terms[0].at_least(1) == 0


@given(st.lists(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 5)), max_size=5), min_size=1))
def test_groups_of_adverse_events_add_up_to_the_whole(events: list[list[tuple[str, int]]]) -> None:
    patients = [patient(f"P{n}", events=tuple(own)) for n, own in enumerate(events)]
    groups = {one.pseudonym: "x" if n % 2 else "y" for n, one in enumerate(patients)}
    whole, parts = grade_table(patients), grade_tables(patients, groups)
    assert sum(table.patients for table in parts.values()) == whole.patients
    for grade in (1, 2, 3):
        assert sum(table.any_term.at_least(grade) for table in parts.values()) == whole.any_term.at_least(grade)


def test_we_30_one_event_supports_a_bound_alone_and_the_maximum_of_the_others_is_told() -> None:
    """The spine study's Table 3: cumulative maximum 227 Gy BED of the one event, at most 203 of the others."""
    others = [160.0, 171.0, 188.0, 196.0, 203.0]
    patients = [patient("ill", dose=227.0), *(patient(f"P{n}", dose=dose) for n, dose in enumerate(others))]
    had = {one.pseudonym: one.pseudonym == "ill" for one in patients}
    (found,) = compare_doses(patients, had, drawn())
    assert found.event_values == (227.0,)
    assert (found.others.largest, found.others.lower_quartile, found.others.upper_quartile) == (203.0, 171.0, 196.0)
    assert (found.threshold.support, found.threshold.above, found.threshold.up_to) == ("bound", 203.0, 227.0)
    assert found.threshold.lower is None
    assert "support only a bound" in found.threshold.sentence


def test_one_event_below_the_highest_of_the_others_supports_no_threshold() -> None:
    found = threshold(np.array([180.0]), np.array([150.0, 190.0, 200.0]), None, drawn())
    assert found.support == "none"
    assert "2 of 3 patients without it had as much or more" in found.sentence


@pytest.mark.parametrize(("events", "others"), [([], [1.0, 2.0]), ([1.0, 2.0], [])])
def test_without_a_dose_on_one_side_nothing_is_said(events: list[float], others: list[float]) -> None:
    found = threshold(np.array(events), np.array(others), None, drawn())
    assert (found.support, found.above) == ("none", None)


def test_events_that_lie_among_the_others_support_no_threshold() -> None:
    patients = [patient(f"P{n}", dose=float(n)) for n in range(20)]
    had = {one.pseudonym: n in (3, 10, 16) for n, one in enumerate(patients)}
    (found,) = compare_doses(patients, had, drawn())
    assert found.threshold.support == "none"
    assert "not told apart" in found.threshold.sentence


@given(
    st.lists(st.integers(0, 40), min_size=2, max_size=12), st.lists(st.integers(0, 40), min_size=2, max_size=12),
)  # fmt: skip
def test_a_cut_has_the_largest_youden_index_of_all(events: list[int], others: list[int]) -> None:
    ill, well = np.array(events, dtype=float), np.array(others, dtype=float)
    found = threshold(ill, well, 0.001, drawn(), draws=50)
    if found.support != "cut":
        return
    youden = {cut: (ill >= cut).mean() - (well >= cut).mean() for cut in {*events, *others}}
    assert found.youden == pytest.approx(max(youden.values()))
    assert found.youden == pytest.approx(youden[found.up_to])
    assert not ((ill > found.above) & (ill < found.up_to)).any()
    assert not ((well > found.above) & (well < found.up_to)).any()
    assert found.lower <= found.upper


def test_the_interval_of_a_cut_covers_the_dose_at_which_events_begin() -> None:
    generator = np.random.default_rng(3)
    doses = generator.uniform(0, 100, 200)
    ill = generator.random(200) < np.where(doses >= 60.0, 0.6, 0.05)
    found = threshold(doses[ill], doses[~ill], 0.001, generator)
    assert found.support == "cut"
    assert found.lower <= 60.0 <= found.upper
    assert found.upper - found.lower < 40.0


def test_resampling_is_repeatable_by_its_generator() -> None:
    events, others = np.array([5.0, 7.0, 3.0]), np.array([1.0, 2.0, 4.0, 3.0, 2.0])
    assert threshold(events, others, 0.01, drawn()) == threshold(events, others, 0.01, drawn())


def test_the_name_of_a_metric_is_taken_apart() -> None:
    name = metric_name("Bronchus Main Max[Gy] BED(a/b=3) cumulative")
    assert (name.structure, name.metric, name.quantity, name.scope) == (
        "Bronchus Main", "Max[Gy]", "BED(a/b=3)", "cumulative",
    )  # fmt: skip
    assert metric_name("oesophagus").structure == "oesophagus"


def test_a_metric_that_nobody_has_is_refused() -> None:
    with pytest.raises(InputError, match="give the scorecards"):
        compare_doses([patient("1")], {"1": True}, drawn())
    with pytest.raises(InputError, match="'Heart' is known of no patient"):
        compare_doses([patient("1", dose=1.0)], {"1": True}, drawn(), ["Heart"])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_corrects_no_more_than_bonferroni_and_never_lowers(p_values: list[float]) -> None:
    for p, by_steps, by_number in zip(p_values, holm(p_values), bonferroni(p_values), strict=True):
        assert p <= by_steps + 1e-12
        assert by_steps <= by_number + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(holm(p_values))[order]) >= 0)


def test_holm_is_as_r_prints_it() -> None:
    # R: p.adjust(c(0.01, 0.02, 0.03, 0.04), "holm") is 0.04 0.06 0.06 0.06.
    assert holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])


def trial(seed: int, benefit_in_women: float) -> tuple:
    """400 patients; the arm halves no hazard in men and multiplies it in women."""
    generator = np.random.default_rng(seed)
    arm, woman = generator.random(400) < 0.5, generator.random(400) < 0.5
    hazard = 0.05 * np.where(arm & woman, benefit_in_women, 1.0)
    months = generator.exponential(1.0 / hazard)
    events = months < 60.0
    told = ["new" if one else "control" for one in arm], {"sex": ["female" if one else "male" for one in woman]}
    return np.minimum(months, 60.0), events, *told


def test_an_interaction_that_is_there_is_found_and_warned_of() -> None:
    found = subgroup_effects("overall survival", *trial(1, 0.25))
    (test,) = found.tests
    assert (found.reference, found.compared) == ("control", "new")
    assert test.p_value < 0.001
    assert test.bonferroni == test.holm == test.p_value
    women, men = test.levels
    assert women.term.hazard_ratio < 0.5 < men.term.hazard_ratio
    assert "do not show who benefits" in found.warning


def test_an_interaction_that_is_not_there_is_found_as_often_as_chance_has_it() -> None:
    p_values = [subgroup_effects("os", *trial(seed, 1.0)).tests[0].p_value for seed in range(60)]
    # 60 trials at 0.05: more than 8 have a chance of 0.4 %.
    assert sum(p < 0.05 for p in p_values) <= 8


def test_corrections_count_the_factors() -> None:
    months, events, arm, factors = trial(2, 1.0)
    more = {**factors, "half": ["first" if n % 2 else "second" for n in range(400)]}
    found = subgroup_effects("os", months, events, arm, more)
    assert [test.bonferroni for test in found.tests] == pytest.approx([min(1, 2 * t.p_value) for t in found.tests])
    assert "Factors tested: 2, with 4 subgroups" in found.warning


def test_a_subgroup_without_an_event_is_told_in_words() -> None:
    months = np.arange(1.0, 13.0)
    events = np.array([True] * 6 + [False] * 6)
    arm = ["a", "b"] * 6
    sex = ["male"] * 6 + ["female"] * 5 + [None]
    found = subgroup_effects("os", months, events, arm, {"sex": sex})
    (test,) = found.tests
    assert test.p_value is None
    assert test.missing == 1
    assert "no event in one arm" in test.note


def test_a_fact_without_any_value_is_not_listed_among_those_that_are_told() -> None:
    with pytest.raises(InputError, match=r"'arm' is told of no patient; told are sex$"):
        groups_of([patient("1", {"arm": None, "sex": "male"})], "arm")


def test_three_arms_or_a_factor_of_one_level_are_refused() -> None:
    months, events = np.arange(1.0, 4.0), np.array([True, False, True])
    with pytest.raises(InputError, match="compare two arms; there are 3"):
        subgroup_effects("os", months, events, ["a", "b", "c"], {})
    with pytest.raises(InputError, match="'sex' has 1 level in"):
        subgroup_effects("os", months, events, ["a", "b", "a"], {"sex": ["m", "m", None]})

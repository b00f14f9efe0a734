"""Completion, recurrence outside the field, measures over time, gaps, centres, and a whole trial at one day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trial_patients import END, START, event, facts, patient, seen, two_cycles

from tailort.cohort.patients import CourseGiven, FollowedPatient
from tailort.errors import InputError
from tailort.protocols import load
from tailort.protocols.condition import months_later
from tailort.protocols.records.table import AbsentFact
from tailort.workflow.recurrence_places import DEFAULT, RecurrencePlace
from tailort.workflow.trial_completeness import centres, completeness
from tailort.workflow.trial_completion import ALL_PATIENTS, Completed, completion
from tailort.workflow.trial_measures import measure_over_time, numeric_measures, nutrition
from tailort.workflow.trial_recurrence import out_of_field
from tailort.workflow.trial_running import trial_running
from tailort.workflow.trial_serious import serious_events
from tailort.workflow.trial_visits import visit_calendar

SALVAGE = load("salvage-crt")
TODAY = dt.date(2021, 1, 1)
DAY = dt.timedelta(days=1)
NO_EVENT = AbsentFact("progression_date", None)


def completed(one: FollowedPatient, today: dt.date = TODAY) -> Completed:
    return completion(SALVAGE, [one], today).rows[0]


def given_fractions(count: int | None, last: dt.date | None = END, planned: int | None = 30) -> tuple[CourseGiven]:
    return (CourseGiven("salvage", START, last, 60.0, None, planned, count),)


# completion


@pytest.mark.parametrize(("fractions", "answer"), [(30, "yes"), (29, "no"), (31, "no"), (0, "no"), (None, "unknown")])
def test_radiotherapy_is_completed_with_exactly_the_prescribed_fractions(fractions: int | None, answer: str) -> None:
    assert completed(patient(courses=given_fractions(fractions))).answers["radiotherapy"] == answer


def test_a_course_that_may_go_on_is_unknown_and_one_cut_short_by_death_is_not_completed() -> None:
    assert completed(patient(courses=given_fractions(12, None))).answers["radiotherapy"] == "unknown"
    dead = patient(courses=given_fractions(12, None), death_date=END)
    assert completed(dead).answers["radiotherapy"] == "no"


@pytest.mark.parametrize(
    ("percent", "any_dose", "full"),
    [(100, "yes", "yes"), (80, "yes", "no"), (0, "no", "no"), (None, "unknown", "unknown")],
)
def test_chemotherapy_is_completed_with_both_cycles(percent: float | None, any_dose: str, full: str) -> None:
    found = completed(patient(cycles=two_cycles(percent)))
    assert (found.answers["chemotherapy"], found.answers["chemotherapy at full dose"]) == (any_dose, full)
    assert found.answers["both"] == any_dose


def test_rates_are_exact_and_of_those_who_are_known_by_arm() -> None:
    people = [
        patient(f"P-{n:02}", courses=given_fractions(30 if n < 5 else 29), irradiation="ENI" if n % 2 else "IFI")
        for n in range(21)
    ]
    people.append(patient("P-99", courses=given_fractions(None), irradiation="ENI"))
    found = {(rate.what, rate.group): rate for rate in completion(SALVAGE, people, TODAY).rates}
    rate = found["radiotherapy", ALL_PATIENTS]
    assert rate.unknown == 1
    assert rate.found is not None
    assert (rate.found.successes, rate.found.number) == (5, 21)
    # WE-98.
    assert (100 * rate.found.lower, 100 * rate.found.upper) == pytest.approx((8.22, 47.17), abs=0.005)
    arms = [found["radiotherapy", arm].found for arm in ("ENI", "IFI")]
    assert [(arm.successes, arm.number) for arm in arms if arm] == [(2, 10), (3, 11)]
    assert found["chemotherapy", ALL_PATIENTS].found is None


def test_a_word_of_the_table_that_the_fractions_contradict_is_told() -> None:
    found = completed(patient(courses=given_fractions(29), cycles=two_cycles(100), salvage_completed=True))
    assert "the table says completed, which its fractions and cycles contradict" in found.reasons


# recurrence outside the field


def place(where: Sequence[str], definition: str = DEFAULT) -> RecurrencePlace:
    return RecurrencePlace("GTV", "salvage", definition, None, tuple(where))  # type: ignore[arg-type]


def test_ms_103_recurrence_outside_the_field_is_counted_among_patients_and_among_recurrences() -> None:
    recurred = {"progression_date": TODAY - DAY}
    people = [patient(f"A-{n}", recurrence_outside_field=n < 2, irradiation="IFI", **recurred) for n in range(5)]
    people += [
        replace(patient(f"B-{n}"), facts={**facts(irradiation="IFI"), "progression_date": NO_EVENT}) for n in range(3)
    ]
    people.append(patient("C-0", irradiation="IFI", **recurred))
    found = out_of_field(people, TODAY)
    rates = [group[0].found for group in (found.among_patients, found.among_recurrences)]
    assert [(rate.successes, rate.number) for rate in rates if rate] == [(2, 8), (2, 5)]
    assert [group[0].unknown for group in (found.among_patients, found.among_recurrences)] == [1, 1]


def test_places_of_recurrences_tell_it_where_the_table_does_not() -> None:
    one = patient(progression_date=TODAY - DAY)

    def outside(*rows: RecurrencePlace) -> tuple[str, str]:
        found = out_of_field([one], TODAY, places={"P-01": rows}).rows[0]
        return found.outside, found.source

    assert outside(place(["out of field"])) == ("yes", "places")
    assert outside(place(["in field"]), place(["out of field"])) == ("yes", "places")
    assert outside(place(["in field"]), place(["marginal"])) == ("no", "places")
    assert outside(place(["marginal", "out of field"])) == ("unknown", "places")
    assert outside(place(["out of field"], "target-80")) == ("unknown", "")
    told = out_of_field(
        [patient(recurrence_outside_field=False, progression_date=TODAY - DAY)],
        TODAY,
        places={"P-01": [place(["out of field"])]},
    ).rows[0]
    assert (told.outside, told.source) == ("no", "table")
    assert "the table was taken" in told.reason


def test_a_recurrence_after_the_day_is_none_yet() -> None:
    found = out_of_field([patient(progression_date=TODAY + DAY, recurrence_outside_field=True)], TODAY).rows[0]
    assert (found.recurred, found.outside) == ("no", "no")


# measures over time


def test_weights_are_summarised_by_planned_visit_with_those_who_are_missing() -> None:
    weights = [60.0, 62.0, 70.0, None]
    at_3, at_6 = months_later(END, 3), months_later(END, 6)
    people = []
    for n, weight in enumerate(weights):
        visits = [seen(START - DAY, None, weight_kg=64.0)]
        visits += [] if weight is None else [seen(at_3 + n * DAY, None, weight_kg=weight)]
        people.append(patient(f"P-{n}", visits=visits, height_cm=160.0))
    people.append(patient("P-9", death_date=at_3 - DAY, visits=[seen(START, None, weight_kg=50.0)]))
    today = at_6 - DAY
    calendar = visit_calendar(SALVAGE, people, today)
    weight, index, loss = nutrition(calendar, people)
    months = {one.month: one for one in weight.months}
    assert set(months) == {0, 3}
    assert (months[0].expected, months[0].complete_percent) == (5, 100)
    assert (months[3].expected, months[3].numbers.known, months[3].numbers.missing) == (4, 3, 1)
    assert months[3].complete_percent == 75
    assert (months[3].numbers.median, months[3].numbers.lower_quartile) == (62, 61)
    assert weight.patients[0].change == {3: -4}
    assert loss.patients[0].by_month == {3: pytest.approx(6.25)}
    assert loss.patients[2].by_month[3] < 0
    assert index.patients[0].by_month == {3: pytest.approx(60 / 1.6**2)}
    assert index.patients[4].baseline is None


def test_the_value_nearest_to_the_planned_day_counts_and_without_baseline_there_is_no_change() -> None:
    at_3 = months_later(END, 3)
    one = patient(
        visits=[seen(at_3, None, score=5), seen(at_3 - 9 * DAY, None, score=9), seen(at_3 + DAY, None, other=1)]
    )
    found = measure_over_time(visit_calendar(SALVAGE, [one], at_3 + 9 * DAY), [one], "score")
    assert found.patients[0].by_month == {3: 5}
    assert found.patients[0].change == {}
    assert (found.changes[0].expected, found.changes[0].numbers.missing) == (1, 1)
    assert numeric_measures([one]) == ("other", "score")


def test_values_that_cannot_be_followed_are_refused() -> None:
    calendar = visit_calendar(SALVAGE, [patient()], TODAY)
    with pytest.raises(InputError, match="expected a number"):
        measure_over_time(calendar, [patient(visits=[seen(END, None, score="good")])], "score")
    with pytest.raises(InputError, match="is 1 and 2"):
        measure_over_time(calendar, [patient(visits=[seen(END, None, score=1), seen(END, None, score=2)])], "score")
    with pytest.raises(InputError, match="of other patients"):
        measure_over_time(calendar, [patient("P-02")], "score")
    with pytest.raises(InputError, match="weighs 0 kg"):
        nutrition(calendar, [patient(visits=[seen(END, None, weight_kg=0)])])


# gaps and centres


def test_completeness_counts_what_is_told_and_names_who_is_missing() -> None:
    absent = AbsentFact("stage", None, absence="not applicable", code="-7")
    people = [
        patient("A", stage="II", age=60),
        patient("B", stage=None, age=61),
        replace(patient("C"), facts={**facts(age=62), "stage": absent}),
        patient("D"),
    ]
    found = completeness(people, ["stage", "age"])
    stage, age = found.facts
    assert (stage.told, stage.expected, stage.missing) == (1, 3, ("B", "D"))
    assert age.percent == 75
    assert found.by_patient == {"A": (), "B": ("stage",), "C": (), "D": ("stage", "age")}
    assert found.percent == pytest.approx(100 * 4 / 7)


def test_an_empty_day_of_an_event_is_no_gap_and_an_unknown_day_is_one() -> None:
    unknown = AbsentFact("progression_date", None, code="UNK")
    people = [
        replace(patient(name), facts={"progression_date": fact}) for name, fact in (("A", NO_EVENT), ("B", unknown))
    ]
    assert completeness(people, ["progression_date"], event_dates=["progression_date"]).facts[0].missing == ("B",)
    assert completeness(people, ["progression_date"]).facts[0].missing == ("A", "B")


def test_where_a_recurrence_lies_is_asked_only_of_those_who_have_one() -> None:
    without = replace(patient("A"), facts={"progression_date": NO_EVENT})
    found = completeness([without, patient("B", progression_date=TODAY)], ["recurrence_outside_field"])
    assert (found.facts[0].expected, found.facts[0].missing) == (1, ("B",))


def test_centres_add_up_to_the_trial() -> None:
    noticed = dt.datetime(2020, 3, 13, 8)
    late = event("Fistula", 4, serious=True, noticed=noticed, reported=noticed + dt.timedelta(hours=30))
    people = [
        patient("A", centre="North", adverse_events=[late]),
        patient("B", centre="North", visits=[seen(months_later(END, 3))]),
        patient("C", adverse_events=[event("Nausea", 1), event("Fatigue", 0)]),
    ]
    calendar = visit_calendar(SALVAGE, people, TODAY)
    serious = serious_events(SALVAGE, people, dt.datetime.combine(TODAY, dt.time()))
    complete = completeness(people, ["centre"])
    north, untold = centres(people, complete, calendar=calendar, serious=serious)
    assert (north.name, north.patients, north.serious, north.late_reports) == ("North", 2, 1, 1)
    assert (untold.name, untold.patients, untold.adverse_events) == ("not told", 1, 1)
    assert (
        north.overdue_visits + north.missed_visits + untold.overdue_visits + untold.missed_visits
        == calendar.outstanding
    )
    assert north.incomplete_visits == 1
    assert (north.percent, untold.percent) == (100, 0)
    with pytest.raises(InputError, match="of other patients"):
        centres(people[:2], complete)


@settings(max_examples=8)
@given(st.permutations(range(6)))
def test_a_whole_trial_does_not_depend_on_the_order_of_patients(order: Sequence[int]) -> None:
    people = [
        patient(
            f"P-{n}", cycles=two_cycles(80 if n % 2 else 100),
            visits=[seen(months_later(END, 3), None, weight_kg=50.0 + n)],
            adverse_events=[event("Neutrophil count decreased", n % 5)], centre="AB"[n % 2],
        )
        for n in range(6)
    ]  # fmt: skip
    now = dt.datetime.combine(TODAY, dt.time(12))
    straight = trial_running(SALVAGE, people, now, unlisted="grade 0")
    assert trial_running(SALVAGE, [people[n] for n in order], now, unlisted="grade 0") == straight
    assert len(straight.completion.rows) == 6
    assert straight.modifications is not None
    assert straight.group_rule.startswith("The protocol prints no rule")


def test_a_table_without_any_visit_is_no_table_of_missed_visits() -> None:
    people = [patient("A", centre="North"), patient("B", centre="South")]
    now = dt.datetime.combine(TODAY, dt.time())
    found = trial_running(SALVAGE, people, now, unlisted="unknown")
    assert (found.calendar, found.measures) == (None, ())
    assert all(one.missed_visits == one.overdue_visits == 0 for one in found.centres)
    with_one = [*people, patient("C", visits=[seen(months_later(END, 3))])]
    assert trial_running(SALVAGE, with_one, now, unlisted="unknown").calendar is not None


def test_groups_by_a_yes_or_no_are_named_with_their_fact() -> None:
    people = [patient("A", oligo_recurrence=True), patient("B", oligo_recurrence=False), patient("C")]
    now = dt.datetime.combine(TODAY, dt.time())
    found = trial_running(SALVAGE, people, now, unlisted="unknown", arm="oligo_recurrence")
    assert [row.arm for row in found.completion.rows] == ["oligo recurrence: yes", "oligo recurrence: no", "not told"]


def test_a_protocol_without_follow_up_or_dose_modification_leaves_these_parts_out() -> None:
    found = trial_running(load("rtog-0436"), [patient()], dt.datetime.combine(TODAY, dt.time()), unlisted="unknown")
    assert (found.calendar, found.modifications, found.measures, found.stopping) == (None, None, (), ())

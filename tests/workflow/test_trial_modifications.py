"""Dose modification against the rules MS-90 to MS-98."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trial_patients import END, SECOND_CYCLE, START, event, patient, two_cycles

from tailort.cohort.patients import AdverseEvent, CourseGiven, CycleGiven, FollowedPatient
from tailort.cohort.toxicity_groups import GROUPS, group_of
from tailort.errors import InputError
from tailort.protocols import load
from tailort.protocols.modifications import SEVERITY
from tailort.workflow.trial_grades import Unlisted
from tailort.workflow.trial_modifications import FULL_DOSE, RADIOTHERAPY, Judged, dose_modifications

SALVAGE = load("salvage-crt")
TODAY = dt.date(2021, 1, 1)
NEUTROPHILS, PNEUMONITIS, ALT, NAUSEA = "Neutrophil count decreased", "Pneumonitis", "ALT increased", "Nausea"
CREATININE = "Creatinine increased"


def rows(one: FollowedPatient, unlisted: Unlisted = "grade 0", **told: dict[str, str]) -> tuple[Judged, ...]:
    return dose_modifications(SALVAGE, [one], TODAY, unlisted=unlisted, **told).rows


def second(
    events: Sequence[AdverseEvent], percent: float | None, *, recovered: bool | None = True, **told: dict[str, str]
) -> Judged:
    values = {} if recovered is None else {"toxicity_recovered": recovered}
    return rows(patient(adverse_events=events, cycles=two_cycles(percent), **values), **told)[0]


RULES = [
    ([], FULL_DOSE, 100),
    ([event(NEUTROPHILS, 2)], FULL_DOSE, 100),
    ([event(NEUTROPHILS, 3)], "reduce-dose", 80),
    ([event(NEUTROPHILS, 4)], "stop-chemotherapy", 0),
    ([event(ALT, 1)], FULL_DOSE, 100),
    ([event(ALT, 2)], "stop-chemotherapy", 0),
    ([event(CREATININE, 3)], "stop-chemotherapy", 0),
    ([event(NAUSEA, 2)], FULL_DOSE, 100),
    ([event(NAUSEA, 3)], "stop-chemotherapy", 0),
    ([event(PNEUMONITIS, 2)], FULL_DOSE, 100),
    ([event(PNEUMONITIS, 3)], "stop-all", 0),
    ([event(NEUTROPHILS, 5)], "stop-all", 0),
]


@pytest.mark.parametrize(("events", "asked", "percent"), RULES)
def test_ms_91_to_ms_95_ask_for_what_they_print(events: list[AdverseEvent], asked: str, percent: float) -> None:
    found = second(events, percent)
    assert (found.asked, found.asked_percent, found.verdict) == (asked, percent, "agrees")
    for other in {0, 80, 100} - {percent}:
        wrong = second(events, other)
        assert wrong.verdict == "deviates"
        assert wrong.reasons[0] == f"{percent} % asked, {other} % given"


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from([NEUTROPHILS, ALT, CREATININE, PNEUMONITIS, NAUSEA]), st.integers(0, 5)), max_size=4
    )
)
def test_ms_96_the_most_severe_action_wins_and_the_order_of_events_does_not_matter(told: list[tuple[str, int]]) -> None:
    events = [event(term, grade) for term, grade in told]
    together = second(events, 0)
    rank = {name: n for n, name in enumerate((*SEVERITY, FULL_DOSE))}
    alone = [second([one], 0).asked for one in events]
    assert rank[str(together.asked)] == min((rank[str(one)] for one in alone), default=rank[FULL_DOSE])
    assert second(events[::-1], 0) == together


def test_ms_90_toxicity_that_has_not_recovered_holds_cycle_2() -> None:
    events = [event(NAUSEA, 2)]
    assert second(events, 0, recovered=False).verdict == "agrees"
    on_time = second(events, 100, recovered=False)
    assert (on_time.asked, on_time.verdict) == ("hold-cycle", "deviates")
    later = patient(
        adverse_events=events, toxicity_recovered=False, cycles=two_cycles(100, SECOND_CYCLE + dt.timedelta(days=7))
    )
    assert rows(later)[0].verdict == "unknown"
    assert "whether it had by the day" in rows(later)[0].reasons[0]


def test_ms_90_grades_that_never_exceeded_1_have_recovered_and_others_leave_it_open() -> None:
    assert second([event(NAUSEA, 1)], 100, recovered=None).verdict == "agrees"
    open_ = second([event(NAUSEA, 2)], 100, recovered=None)
    assert (open_.verdict, open_.asked) == ("unknown", None)
    assert open_.reasons == ("'toxicity_recovered' is not known",)
    # Held or not, 80 % is asked of nobody with these grades.
    assert second([event(NAUSEA, 2)], 80, recovered=None).verdict == "deviates"


def test_ms_91_a_cycle_that_is_held_is_still_reduced_when_it_is_given() -> None:
    wrong = second([event(NEUTROPHILS, 3)], 100, recovered=None)
    assert (wrong.verdict, wrong.reasons[0]) == ("deviates", "0 % or 80 % asked, 100 % given")


def test_only_toxicity_after_cycle_1_and_before_cycle_2_counts() -> None:
    assert second([event(NEUTROPHILS, 4, -1)], 100).verdict == "agrees"
    assert second([event(NEUTROPHILS, 4, 0)], 0).verdict == "agrees"
    assert second([event(NEUTROPHILS, 4, 22)], 100).verdict == "agrees"
    for day in (21, None):
        same_day = second([event(NEUTROPHILS, 4, day)], 100)
        assert (same_day.verdict, same_day.asked) == ("unknown", None)
        assert "grade 4" in same_day.reasons[-1]


def test_a_term_of_no_known_group_leaves_the_answer_open_and_is_told() -> None:
    found = second([event("Strange feeling", 3)], 100)
    assert found.verdict == "unknown"
    assert "'Strange feeling' grade 3 belongs to no known group" in found.reasons
    assert found.grades["other"] == (0, 3)
    assert second([event("Strange feeling", 3)], 0, groups={"strange  Feeling": "other"}).verdict == "agrees"
    one = patient(adverse_events=[event("Strange feeling", 3)], cycles=two_cycles(100))
    assert dose_modifications(SALVAGE, [one], TODAY, unlisted="grade 0").ungrouped == ("Strange feeling",)


def test_a_term_of_no_known_group_does_not_undo_what_is_certain() -> None:
    assert second([event("Strange feeling", 3), event(NEUTROPHILS, 4)], 0).verdict == "agrees"
    assert second([event("Strange feeling", 3), event(NEUTROPHILS, 4)], 100).verdict == "deviates"


def test_groups_without_an_entry_are_unknown_unless_a_person_says_they_are_grade_0() -> None:
    one = patient(adverse_events=[event(NEUTROPHILS, 2)], cycles=two_cycles(100), toxicity_recovered=True)
    assert rows(one)[0].verdict == "agrees"
    open_ = rows(one, "unknown")[0]
    assert open_.verdict == "unknown"
    assert "'hepatic_grade' is not known" in open_.reasons
    stopped = patient(adverse_events=[event(NEUTROPHILS, 4)], cycles=two_cycles(0))
    assert rows(stopped, "unknown")[0].verdict == "agrees"


def test_nm_141_of_two_scales_the_worse_grade_counts_and_the_reading_is_told() -> None:
    events = [event("Lung", 3, scale="RTOG"), event(PNEUMONITIS, 2)]
    one = patient(adverse_events=events, cycles=two_cycles(0), toxicity_recovered=True)
    found = dose_modifications(SALVAGE, [one], TODAY, unlisted="grade 0")
    assert found.rows[0].asked == "stop-all"
    assert any(reading.startswith("NM-141") for reading in found.readings)
    same = patient(adverse_events=[events[1]], cycles=two_cycles(100), toxicity_recovered=True)
    told = dose_modifications(SALVAGE, [same], TODAY, unlisted="grade 0").readings
    assert not any(reading.startswith("NM-141") for reading in told)


def test_ms_91_tells_its_reading_where_it_took_part() -> None:
    one = patient(adverse_events=[event(NEUTROPHILS, 3)], cycles=two_cycles(80), toxicity_recovered=True)
    found = dose_modifications(SALVAGE, [one], TODAY, unlisted="grade 0")
    assert "MS-91" in found.rows[0].rules
    assert any(reading.startswith("MS-91, ambiguous: 80 % of all drugs") for reading in found.readings)


def test_grades_that_are_told_once_a_patient_count_and_the_worse_wins() -> None:
    one = patient(haematological_grade=4, adverse_events=[event(NEUTROPHILS, 2)], cycles=two_cycles(100))
    assert rows(one)[0].verdict == "deviates"
    assert rows(one)[0].grades["haematological"] == (4, 4)


def test_what_was_given_and_is_not_told_stays_unknown() -> None:
    assert second([], None).reasons == ("what was given is not told",)
    only_first = patient(cycles=[CycleGiven(1, START, 100.0)])
    assert (rows(only_first)[0].part, rows(only_first)[0].verdict) == ("cycle 2", "unknown")
    early = dose_modifications(SALVAGE, [only_first], START, unlisted="grade 0").rows[0]
    assert early.reasons[0] == f"the cycle is planned for {SECOND_CYCLE}"
    died = START + dt.timedelta(days=9)
    dead = rows(patient(cycles=[CycleGiven(1, START, 100.0)], courses=[], death_date=died))[0]
    assert dead.reasons == ("died on 2020-03-11, before the cycle",)
    assert dose_modifications(SALVAGE, [patient()], TODAY, unlisted="grade 0").without_cycles == ("P-01",)


def test_later_cycles_are_only_asked_whether_chemotherapy_had_to_stop() -> None:
    third = CycleGiven(3, SECOND_CYCLE + dt.timedelta(days=21), 100.0)
    told = {"cycles": (*two_cycles(100), third), "toxicity_recovered": True}
    quiet = rows(patient(**told))
    assert [row.verdict for row in quiet] == ["agrees", "unknown"]
    after_second = rows(patient(adverse_events=[event(NEUTROPHILS, 4, 40)], **told))
    assert [row.verdict for row in after_second] == ["agrees", "deviates"]


def test_ms_95_radiotherapy_stops_with_pneumonitis_and_ms_98_with_nothing_else() -> None:
    def radiotherapy(events: list[AdverseEvent], last: dt.date | None) -> list[str]:
        course = CourseGiven("salvage", START, last, 60.0, 40.0, 30, 20)
        found = rows(patient(adverse_events=events, courses=[course], cycles=two_cycles(0)))
        return [row.verdict for row in found if row.part == RADIOTHERAPY]

    day = START + dt.timedelta(days=10)
    assert radiotherapy([event(PNEUMONITIS, 3)], day) == ["agrees"]
    assert radiotherapy([event(PNEUMONITIS, 3)], END) == ["deviates"]
    assert radiotherapy([event(PNEUMONITIS, 3)], None) == ["unknown"]
    # Pneumonitis after the last fraction stops nothing that still went on.
    assert radiotherapy([event(PNEUMONITIS, 4, 90)], END) == ["agrees"]
    assert radiotherapy([event(NEUTROPHILS, 4), event(NAUSEA, 3)], END) == []


def test_pneumonitis_that_is_only_told_once_a_patient_leaves_open_when_radiotherapy_had_to_stop() -> None:
    found = rows(patient(radiation_pneumonitis_grade=3, cycles=two_cycles(0)))
    assert [(row.part, row.verdict) for row in found] == [("cycle 2", "agrees"), (RADIOTHERAPY, "unknown")]


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="cycle 2 twice"):
        rows(patient(cycles=[*two_cycles(100), CycleGiven(2)]))
    with pytest.raises(InputError, match="'strange' is 'blood'; expected one of"):
        rows(patient(adverse_events=[event("x", 1)], cycles=two_cycles(100)), groups={"strange": "blood"})
    with pytest.raises(InputError, match="has no rules of dose modification"):
        dose_modifications(load("rtog-0436"), [patient()], TODAY, unlisted="grade 0")


@pytest.mark.parametrize(
    ("rule", "term", "group"),
    [
        ("NM-130", "Platelet count decreased", "haematological"), ("NM-130", "febrile NEUTROPENIA", "haematological"),
        ("NM-131", "Blood bilirubin increased", "hepatic"), ("NM-132", "Acute kidney injury", "renal"),
        ("NM-133", "Pneumonitis", "pneumonitis"), ("NM-134", "Esophagitis", "other"), ("NM-136", "Myelitis", "other"),
    ],
)  # fmt: skip
def test_nm_130_to_nm_136_group_terms_and_are_recalled(rule: str, term: str, group: str) -> None:
    found = group_of(term)
    assert found is not None
    assert (found.rule, found.group, found.mark) == (rule, group, "lit-recalled")


def test_words_of_the_rtog_scale_mean_something_in_it_only() -> None:
    assert group_of("Lung") is None
    assert group_of("Lung", "CTCAE 4.0") is None
    found = group_of("lung", "RTOG/EORTC")
    assert found is not None
    assert found.group == "pneumonitis"
    assert set(GROUPS) >= {"haematological", "other"}

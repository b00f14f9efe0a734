"""RECIST 1.1 at every examination of a trial, and progression against what was recorded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_patients import START, facts, patient, seen

from tailort.cohort.patients import LesionSize
from tailort.errors import InputError
from tailort.protocols.records.table import AbsentFact
from tailort.workflow.trial_response import PatientResponse, responses

BASELINE = START - dt.timedelta(days=7)
TODAY = dt.date(2022, 1, 1)
NO_EVENT = AbsentFact("progression_date", None)


def day(n: int) -> dt.date:
    """The n-th examination after treatment began; 0 is the baseline."""
    return BASELINE if n == 0 else START + dt.timedelta(days=60 * n)


def sizes(
    *told: float | None, name: str = "a", kind: str = "target", nodal: bool = False, **rest: Any
) -> list[LesionSize]:
    organ = rest.get("organ", "lung")
    return [LesionSize(name, organ, nodal, kind, day(n), size) for n, size in enumerate(told)]  # type: ignore[arg-type]


def judged(lesions: Sequence[LesionSize], *, told: bool = True, **values: Any) -> PatientResponse:
    """A patient whose reader saw no new lesion and no progression of non-target ones, where `told`."""
    visits = [seen(day(n), None, new_lesion=False, non_target_progression=False) for n in range(1, 9)] if told else []
    visits += values.pop("visits", [])
    no_event = "progression_date" not in values
    one = patient(lesions=lesions, visits=visits, ct_slice_mm=3.0, prior_radiotherapy=False, **values)
    if no_event:
        one = replace(one, facts={**one.facts, "progression_date": NO_EVENT})
    return responses([one], TODAY).patients[0]


def test_we_95_from_80_over_50_to_56_mm_is_partial_response_and_60_mm_is_progression() -> None:
    found = judged(sizes(80, 50, 56, 60))
    assert [one.overall for one in found.examinations] == ["PR", "PR", "PD"]
    assert [one.nadir_mm for one in found.examinations] == [80, 50, 50]
    assert found.examinations[1].change_percent == pytest.approx(-30.0)
    assert (found.baseline_mm, found.best, found.progression_day) == (80, "PR", day(3))


def test_we_96_from_20_to_24_mm_is_no_progression() -> None:
    found = judged(sizes(40, 20, 24, 25))
    assert [one.overall for one in found.examinations] == ["PR", "PR", "PD"]


def test_the_baseline_is_the_last_size_before_treatment() -> None:
    early = LesionSize("a", "lung", False, "target", BASELINE - dt.timedelta(days=30), 40.0)
    found = judged([early, *sizes(80, 56)])
    assert (found.baseline_day, found.baseline_mm) == (BASELINE, 80)
    other = LesionSize("b", "liver", False, "target", BASELINE - dt.timedelta(days=30), 20.0)
    both = judged([other, *sizes(80, 56), *sizes(20, name="b", organ="liver")[1:]])
    assert both.baseline_mm == 100
    assert f"baseline of 'b' is of {other.day}" in both.notes


@given(st.permutations(range(8)))
def test_the_order_of_rows_does_not_matter(order: Sequence[int]) -> None:
    rows = [*sizes(80, 50, 56, 60), *sizes(20, 10, 10, 10, name="n", nodal=True, organ="nodes")]
    assert judged([rows[n] for n in order]) == judged(rows)


@given(st.lists(st.floats(0, 200), min_size=1, max_size=4), st.integers(1, 4))
def test_later_examinations_change_no_earlier_response(later: list[float], count: int) -> None:
    whole = judged(sizes(80, *later))
    part = judged(sizes(80, *later[:count]))
    assert whole.examinations[: len(part.examinations)] == part.examinations


def test_without_the_readers_words_a_response_is_unknown_unless_it_is_progression() -> None:
    found = judged(sizes(80, 50, 100), told=False)
    assert [one.overall for one in found.examinations] == [None, "PD"]
    assert found.examinations[0].target == "PR"
    assert "new_lesion" in found.examinations[0].missing
    assert (found.best, found.best_target, found.progression_day) == (None, "PR", day(2))


def test_a_new_lesion_is_progression_from_then_on() -> None:
    new = LesionSize("x", "liver", False, "new", day(2), 12.0)
    found = judged([*sizes(80, 50, 50, 50), new])
    assert [one.overall for one in found.examinations] == ["PR", "PD", "PD"]
    word = judged(sizes(80, 50), told=False, visits=[seen(day(1), None, new_lesion=True)])
    assert word.examinations[0].overall == "PD"


def test_non_target_lesions_are_gone_present_or_progressing_by_the_readers_word() -> None:
    gone = judged([*sizes(80, 0), *sizes(12, 9, name="n", kind="non-target", nodal=True, organ="nodes")])
    assert gone.examinations[0].overall == "CR"
    present = judged([*sizes(80, 0), *sizes(12, 11, name="n", kind="non-target", nodal=True, organ="nodes")])
    assert present.examinations[0].overall == "PR"
    worse = [seen(day(1), None, new_lesion=False, non_target_progression=True)]
    word = judged([*sizes(80, 0), *sizes(12, 11, name="n", kind="non-target")], told=False, visits=worse)
    assert word.examinations[0].overall == "PD"


def test_a_lesion_that_was_not_measured_is_not_evaluable() -> None:
    found = judged([*sizes(50, None), *sizes(30, 30, name="b")])
    assert found.examinations[0].overall == "NE"
    assert found.examinations[0].missing == ("size of a",)
    assert found.best == "NE"


def test_best_response_is_that_up_to_progression() -> None:
    assert judged(sizes(80, 80, 100, 10)).best == "SD"
    assert judged(sizes(80, 100, 10)).best == "PD"
    assert judged(sizes(80, 80, 0)).best == "CR"


def test_nm_110_a_target_that_is_not_measurable_at_baseline_gives_no_response() -> None:
    found = judged(sizes(12, 6, nodal=True))
    assert (found.examinations, found.best) == ((), None)
    assert found.measurable[0][1].kind == "non-target"
    assert "is non-target, no target" in found.notes[0]


def test_nm_112_whether_an_irradiated_lesion_is_measurable_is_unknown_and_told() -> None:
    one = patient(lesions=sizes(80, 50), visits=[seen(day(1), None, new_lesion=False)])
    found = responses([one], TODAY).patients[0]
    assert found.measurable[0][1].kind is None
    assert "'slice_mm' is not told; 'irradiated' is not told" in found.notes[0]
    assert found.examinations[0].overall == "PR"


def test_nm_118_a_hollow_organ_is_flagged() -> None:
    found = judged(sizes(80, 50, organ="Gastric tube"))
    assert any("NM-118" in flag for flag in found.measurable[0][1].flags)


@pytest.mark.parametrize(
    ("recorded", "agreement", "word"),
    [
        (day(2), "agrees", ""), (day(3), "contradicts", "60 days later"), (day(1), "contradicts", "60 days earlier"),
        (None, "contradicts", "no progression is recorded"),
    ],
)  # fmt: skip
def test_progression_by_lesions_is_held_against_the_recorded_day(
    recorded: dt.date | None, agreement: str, word: str
) -> None:
    values = {} if recorded is None else {"progression_date": recorded}
    found = judged(sizes(50, 50, 70, 90), **values)
    assert (found.progression_day, found.agreement) == (day(2), agreement)
    assert word in " ".join(found.notes)


def test_a_recorded_progression_that_the_lesions_do_not_show_contradicts_or_is_unknown() -> None:
    assert judged(sizes(50, 50, 50), progression_date=day(2)).agreement == "contradicts"
    assert judged(sizes(50, 50), progression_date=day(2)).agreement == "unknown"
    assert judged(sizes(50, 50)).agreement == "agrees"
    assert judged(sizes(50, 50), told=False).agreement == "unknown"


def test_without_an_examination_before_treatment_there_is_no_response() -> None:
    found = judged(sizes(80, 50)[1:])
    assert (found.baseline_day, found.examinations) == (None, ())
    assert found.notes == ("no examination before treatment",)
    assert responses([patient()], TODAY).without_lesions == ("P-01",)


def test_more_targets_than_recist_takes_are_told() -> None:
    found = judged([one for n in range(3) for one in sizes(80, 50, name=f"l{n}")])
    assert found.examinations == ()
    assert "3 target lesions of 'lung'; at most 2 an organ" in found.notes[0]


def test_lesions_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(InputError, match="is there twice"):
        judged([*sizes(80, 50), *sizes(80)])
    with pytest.raises(InputError, match="on another day"):
        judged([*sizes(80), LesionSize("a", "lung", True, "target", day(1), 20.0)])
    both = [seen(day(1), None, new_lesion=True)]
    with pytest.raises(InputError, match="expected yes or no, once"):
        judged(sizes(80, 50), visits=both)
    with pytest.raises(InputError, match="died on"):
        responses([replace(patient(lesions=sizes(80, 50)), facts=facts(death_date=START))], TODAY)

"""Body surface, doses and what toxicity does to them (G-05, MS-80 to MS-98)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.protocols.scores import (
    Toxicity,
    action_after,
    body_surface,
    consolidation,
    drug_dose,
    recovered,
    report_by,
    salvage_cycle,
    second_line,
    weight_loss_percent,
)
from tailort.protocols.scores.toxicity import SEVERITY

BSA = st.floats(0.5, 3.0)
GRADES = st.one_of(st.none(), st.integers(0, 4))
TOXICITIES = st.builds(Toxicity, GRADES, GRADES, GRADES, GRADES, GRADES, st.one_of(st.none(), st.booleans()))
NAMES = ("haematological", "hepatic", "renal", "pneumonitis", "other")


def per_cycle(drug: str, bsa_m2: float, factor: float = 1.0) -> list[float | None]:
    return [dose.mg_per_cycle for dose in drug_dose(drug, bsa_m2, factor).doses]  # type: ignore[arg-type]


def test_we_51_body_surface_of_170_cm_and_65_kg() -> None:
    mosteller, dubois = body_surface(170, 65, "mosteller"), body_surface(170, 65, "dubois")
    assert mosteller.bsa_m2 == pytest.approx(1.752, abs=5e-4)
    assert dubois.bsa_m2 == pytest.approx(1.754, abs=5e-4)
    assert (mosteller.formula, dubois.formula) == ("mosteller", "dubois")


@pytest.mark.parametrize("formula", ["mosteller", "dubois"])
@given(height=st.floats(130, 200), weight=st.floats(35, 120), more=st.floats(1, 20))
def test_body_surface_grows_with_height_and_weight(formula: str, height: float, weight: float, more: float) -> None:
    def area(height_cm: float, weight_kg: float) -> float:
        bsa_m2 = body_surface(height_cm, weight_kg, formula).bsa_m2  # type: ignore[arg-type]
        assert bsa_m2 is not None
        assert 0.5 <= bsa_m2 <= 3.0
        return bsa_m2

    assert area(height, weight) < area(height + more, weight)
    assert area(height, weight) < area(height, weight + more)


def test_body_surface_is_unknown_without_height_or_weight_and_invalid_out_of_range() -> None:
    assert body_surface(None, None, "dubois").missing == ("height_cm", "weight_kg")
    assert body_surface(170, None, "dubois").bsa_m2 is None
    with pytest.raises(InputError, match="check the units"):
        body_surface(1.70, 65, "mosteller")
    with pytest.raises(InputError, match="check the units"):
        body_surface(200, 300, "mosteller")
    with pytest.raises(InputError, match="one of"):
        body_surface(170, 65, "haycock")  # type: ignore[arg-type]
    for bad in (0, -1, float("nan")):
        with pytest.raises(InputError, match="weight"):
            body_surface(None, bad, "dubois")


@pytest.mark.parametrize(("bsa", "low", "high"), [(1.5, 202.5, 225), (1.6, 216, 240), (1.8, 243, 270)])
def test_we_48_paclitaxel(bsa: float, low: float, high: float) -> None:
    assert per_cycle("paclitaxel", bsa) == [low, high]
    assert drug_dose("paclitaxel", bsa, 1.0).taken == "low-end"


@pytest.mark.parametrize(("bsa", "cycle", "day"), [(1.5, 45, 22.5), (1.6, 48, 24), (1.8, 50, 25)])
def test_we_49_lobaplatin_reading_a(bsa: float, cycle: float, day: float) -> None:
    answer = drug_dose("lobaplatin", bsa, 1.0)
    assert answer.taken == answer.doses[0].name == "a"
    assert answer.doses[0].mg_per_cycle == cycle
    assert answer.doses[0].mg_by_day == ((1, day), (2, day))
    assert answer.doses[0].capped == (bsa == 1.8)


@pytest.mark.parametrize(("bsa", "b", "c"), [(1.5, 90, 50), (1.6, 96, 50), (1.8, 100, 50)])
def test_we_50_lobaplatin_readings_b_and_c(bsa: float, b: float, c: float) -> None:
    assert per_cycle("lobaplatin", bsa)[1:] == [b, c]
    assert drug_dose("lobaplatin", bsa, 1.0).doses[2].mg_by_day == ((1, 25.0), (2, 25.0))


def test_we_52_80_percent_of_216_mg_paclitaxel() -> None:
    assert per_cycle("paclitaxel", 1.6, 0.8)[0] == pytest.approx(172.8, abs=1e-12)
    assert "MS-91" in {reading.rule for reading in drug_dose("paclitaxel", 1.6, 0.8).readings}


def test_ms_82_nedaplatin_shows_both_readings_and_takes_none() -> None:
    answer = drug_dose("nedaplatin", 1.6, 1.0)
    assert answer.taken is None
    assert [dose.mg_per_cycle for dose in answer.doses] == [160, 80]
    assert answer.readings[0].taken is None
    assert len(answer.readings[0].others) == 2


@given(BSA, st.sampled_from([1.0, 0.8]))
def test_every_answer_is_no_order_and_says_so(bsa: float, factor: float) -> None:
    for answer in salvage_cycle(bsa, None, factor):
        assert answer.order == "never"
        assert "not an order" in answer.statement
        assert "ambiguous" in {cited.mark for cited in answer.cited}


@given(BSA)
def test_reading_a_of_lobaplatin_is_the_lowest_and_no_cap_is_exceeded(bsa: float) -> None:
    a, b, c = drug_dose("lobaplatin", bsa, 1.0).doses
    assert a.mg_per_cycle is not None
    assert b.mg_per_cycle is not None
    assert c.mg_per_cycle is not None
    assert a.mg_per_cycle <= c.mg_per_cycle <= min(b.mg_per_cycle, 50.0)
    assert all(mg <= 50.0 for _, mg in b.mg_by_day)
    for dose in (a, b, c):
        assert sum(mg for _, mg in dose.mg_by_day) == pytest.approx(dose.mg_per_cycle, rel=1e-12)


@given(BSA, BSA, st.sampled_from(["paclitaxel", "lobaplatin", "nedaplatin"]))
def test_a_larger_patient_never_gets_less(first: float, second: float, drug: str) -> None:
    for less, more in zip(per_cycle(drug, min(first, second)), per_cycle(drug, max(first, second)), strict=True):
        assert less is not None
        assert more is not None
        assert less <= more


def test_the_reduced_dose_is_80_percent_of_the_capped_one() -> None:
    assert per_cycle("lobaplatin", 1.8, 0.8) == [40, 80, 40]


def test_without_body_surface_all_readings_are_shown_without_a_number() -> None:
    answers = salvage_cycle(None, None, 1.0)
    assert [answer.drug for answer in answers] == ["paclitaxel", "lobaplatin", "nedaplatin"]
    for answer in answers:
        assert answer.missing == ("bsa_m2",)
        assert {dose.mg_per_cycle for dose in answer.doses} == {None}
    assert [answer.drug for answer in salvage_cycle(1.6, "nedaplatin", 1.0)] == ["paclitaxel", "nedaplatin"]


@pytest.mark.parametrize("bsa", [0.49, 3.01, 0, -1, float("nan"), float("inf")])
def test_doses_refuse_a_body_surface_out_of_range(bsa: float) -> None:
    with pytest.raises(InputError, match="body surface area"):
        drug_dose("paclitaxel", bsa, 1.0)


def test_doses_refuse_other_drugs_and_factors() -> None:
    with pytest.raises(InputError, match="one of"):
        drug_dose("cisplatin", 1.6, 1.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="original"):
        drug_dose("paclitaxel", 1.6, 0.75)
    with pytest.raises(InputError, match="platinum"):
        salvage_cycle(1.6, "paclitaxel", 1.0)  # type: ignore[arg-type]


def test_we_53_weight_loss_of_5_percent_passes_and_a_little_more_fails() -> None:
    assert weight_loss_percent(60.0, 57.0) == 5.0
    assert weight_loss_percent(60.0, 56.9) == pytest.approx(5.17, abs=5e-3)
    assert consolidation(70, True, False, 60.0, 57.0).answer == "yes"
    assert consolidation(70, True, False, 60.0, 56.9).answer == "no"


def test_ms_85_every_condition_is_needed_and_one_failure_decides() -> None:
    assert consolidation(60, None, None, None, None).answer == "no"
    assert consolidation(70, False, True, 60, 60).answer == "yes"
    assert consolidation(70, False, False, None, 60).answer == "no"
    unknown = consolidation(None, False, None, 60, None)
    assert (unknown.answer, unknown.missing) == ("unknown", ("kps", "nasal_feeding", "after_kg"))
    with pytest.raises(InputError, match="KPS is 75"):
        consolidation(75, True, True, 60, 60)
    with pytest.raises(InputError, match="weight"):
        consolidation(70, True, True, 0, None)


def test_ms_86_second_line_within_6_calendar_months_of_the_last_dose() -> None:
    last = date(2025, 8, 31)
    assert second_line(True, True, last, date(2026, 2, 28)).answer == "yes"
    assert second_line(True, True, last, date(2026, 3, 1)).answer == "no"
    assert second_line(True, False, None, None).answer == "no"
    assert second_line(True, None, last, None).missing == ("prior_platinum", "recurrence")
    assert second_line(True, True, last, date(2025, 8, 1)).answer == "unknown"
    assert [reading.rule for reading in second_line(True, True, None, None).readings] == ["MS-87"]


TABLE = [
    ({}, "full-dose", 1.0, True),
    ({"haematological": 2}, "full-dose", 1.0, True),
    ({"recovered": False}, "hold-cycle", 1.0, True),
    ({"haematological": 3}, "reduce-dose", 0.8, True),
    ({"haematological": 3, "recovered": False}, "hold-cycle", 0.8, True),
    ({"haematological": 4}, "stop-chemotherapy", None, True),
    ({"hepatic": 1}, "full-dose", 1.0, True),
    ({"hepatic": 2}, "stop-chemotherapy", None, True),
    ({"renal": 4}, "stop-chemotherapy", None, True),
    ({"other": 2}, "full-dose", 1.0, True),
    ({"other": 3}, "stop-chemotherapy", None, True),
    ({"pneumonitis": 2}, "full-dose", 1.0, True),
    ({"pneumonitis": 3}, "stop-all", None, False),
    ({"pneumonitis": 4, "haematological": 4}, "stop-all", None, False),
    ({"pneumonitis": 5}, "death", None, False),
    ({"haematological": 5, "pneumonitis": 3}, "death", None, False),
]


@pytest.mark.parametrize(("found", "action", "factor", "radiotherapy"), TABLE)
def test_ms_90_to_98_grade_to_action(
    found: dict[str, int], action: str, factor: float | None, radiotherapy: bool
) -> None:
    answer = action_after(Toxicity(**{**dict.fromkeys(NAMES, 0), "recovered": True, **found}))
    assert (answer.action, answer.dose_factor, answer.radiotherapy_goes_on) == (action, factor, radiotherapy)
    assert answer.missing == ()


def test_ms_91_of_all_drugs_is_a_reading() -> None:
    answer = action_after(Toxicity(3, 0, 0, 0, 0, True))
    assert [reading.rule for reading in answer.readings] == ["MS-91"]
    assert [(cited.rule, cited.mark) for cited in answer.cited] == [("MS-91", "ambiguous")]


@given(TOXICITIES, st.sampled_from(NAMES))
def test_ms_96_a_worse_grade_never_gives_a_milder_action(toxicity: Toxicity, name: str) -> None:
    grade = toxicity.grades[name]
    if grade is None or grade == 4:
        return
    worse = Toxicity(**{**toxicity.grades, name: grade + 1}, recovered=toxicity.recovered)
    before, after = action_after(toxicity), action_after(worse)
    assert SEVERITY.index(before.at_least) <= SEVERITY.index(after.at_least)


@pytest.mark.parametrize("known", [3, 0])
def test_an_answer_with_unknown_grades_is_the_answer_of_every_completion(known: int) -> None:
    for values in product((None, 0, 2, 3, 4), repeat=2):
        partly = Toxicity(values[0], 0, known, values[1], 0, True)
        answer = action_after(partly)
        completions = {
            action_after(Toxicity(blood, 0, known, lung, 0, True)).action
            for blood in ([values[0]] if values[0] is not None else range(5))
            for lung in ([values[1]] if values[1] is not None else range(5))
        }
        assert answer.action == (completions.pop() if len(completions) == 1 else None)
        assert (answer.action is None) == bool(answer.missing)


def test_unknown_toxicity_gives_unknown_and_names_it() -> None:
    answer = action_after(Toxicity(None, None, None, None, None, None))
    assert (answer.action, answer.dose_factor, answer.radiotherapy_goes_on) == (None, None, None)
    assert answer.missing == (*NAMES, "recovered")
    stopped = action_after(Toxicity(4, None, None, 0, None, None))
    assert (stopped.action, stopped.radiotherapy_goes_on, stopped.missing) == ("stop-chemotherapy", True, ())


def test_ms_90_recovered_is_grade_0_to_1_or_baseline() -> None:
    assert recovered(1, None) is True
    assert recovered(2, 2) is True
    assert recovered(3, 2) is False
    assert recovered(2, None) is None
    assert recovered(None, 0) is None
    for grade in (-1, 6, 2.5, True):
        with pytest.raises(InputError, match="0 to 5"):
            recovered(grade, None)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="0 to 5"):
            Toxicity(0, 0, 0, 0, grade, True)  # type: ignore[arg-type]


def test_ms_97_a_serious_event_is_reported_within_24_hours_by_any_clock() -> None:
    assert report_by(datetime(2026, 1, 1, 8, tzinfo=UTC)) == datetime(2026, 1, 2, 8, tzinfo=UTC)
    berlin = ZoneInfo("Europe/Berlin")
    noticed = datetime(2026, 3, 28, 12, tzinfo=berlin)
    assert report_by(noticed).astimezone(UTC) - noticed.astimezone(UTC) == timedelta(hours=24)
    assert report_by(noticed).hour == 13
    with pytest.raises(InputError, match="time zone"):
        report_by(datetime(2026, 1, 1, 8))

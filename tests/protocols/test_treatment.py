"""What a protocol asks for in one patient: nothing is guessed, and everything names its rules."""

from __future__ import annotations

import datetime as dt
import json
import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_salvage import PATIENT

from tailort.errors import InputError, ProtocolError
from tailort.protocols import available, load, parse, read_record
from tailort.protocols.condition import Answer
from tailort.protocols.decision import Deciding
from tailort.protocols.known import seen
from tailort.protocols.reading_effects import decide_with_effects
from tailort.protocols.treatment import STANDARD_FACTS, treatment
from tailort.protocols.treatment_drugs import drugs_of
from tailort.protocols.treatment_records import Regimen, Treatment

MONDAY, TODAY = dt.date(2026, 1, 5), dt.date(2025, 12, 29)
SIZE = {"height_cm": 170, "weight_kg": 65}
NO_EARLIER = {"earlier_taxane": False}


@cache
def deciding(protocol: str) -> Deciding:
    return Deciding.of(load(protocol), today=TODAY)


def treated(protocol: str, start: dt.date | None, facts: dict[str, Any]) -> Treatment | None:
    asked = deciding(protocol)
    record = read_record(facts | ({"radiotherapy_start_date": start} if start else {}))
    return treatment(asked.protocol, record, asked.decide(record, "answers"), today=TODAY)


def of(protocol: str, start: dt.date | None = None, **facts: Any) -> Treatment:
    made = treated(protocol, start, facts)
    assert made is not None
    return made


def salvage(start: dt.date | None = None, **facts: Any) -> Treatment:
    return of("salvage-crt", start, **(PATIENT | NO_EARLIER | facts))


def regimen(made: Treatment, name: str) -> Regimen:
    assert made.drugs is not None
    return next(one for one in made.drugs.regimens if one.id == name)


def test_the_course_is_that_of_the_patients_plan() -> None:
    (course,) = salvage().courses
    assert course.plan == "A"
    assert [(p.target, p.dose_gy, p.fractions) for p in course.prescriptions] == [
        ("PTV_5992", 59.92, 28), ("PTV_5040", 50.4, 28),
    ]  # fmt: skip
    assert course.prescriptions[0].eqd2_gy == pytest.approx(60.62, abs=5e-3)
    assert [(part.name, part.text[:16]) for part in course.images] == [("chest CT", "offered, with fr")]
    assert [part.name for part in course.options] == ["6216"]
    assert [part.name for part in course.amendments] == ["45-in-25"]


def test_plans_with_the_same_doses_are_told_apart() -> None:
    made = treated("reirradiation-spine", None, {})
    assert made is not None
    assert [course.plan for course in made.courses] == [plan.id for plan in load("reirradiation-spine").file.plans]
    doses = [tuple((p.dose_gy, p.fractions) for p in course.prescriptions) for course in made.courses]
    assert len(set(doses)) < len(doses)


def test_a_limit_that_a_table_gives_is_open_until_it_does() -> None:
    def cord(**facts: Any) -> Any:
        made = treated("reirradiation-spine", None, facts)
        assert made is not None
        return next(one for one in made.courses[0].limits if one.rules == ("KO-80",))

    unknown, known = cord(), cord(prior_prescription_bed_gy=96.0, prior_cord_bed_gy=90.0)
    assert unknown.limit is None
    assert {"prior_prescription_bed_gy", "prior_cord_bed_gy"} & set(unknown.missing)
    assert "10.8" in unknown.note
    assert (known.limit, known.missing) == (11.4, ())


def test_recipes_are_told_in_words_and_only_the_volumes_of_this_patient() -> None:
    (course,) = salvage().courses
    told = {part.name: part.text for part in course.targets}
    assert told["PTV_5040"] == "CTV_5040, plus 5 mm, kept 3 mm inside External"
    assert "plus 6 mm horizontally and 30 mm craniocaudally" in told["CTV_5040"]
    assert "CTVn_I-II" in told
    assert "CTVn_IV" not in told


def test_a_limit_in_percent_is_told_in_gy_with_what_it_is_of() -> None:
    (course,) = salvage().courses
    (tube,) = [one for one in course.limits if one.metric == "D0.03cc[Gy]"]
    assert (tube.limit, tube.note, tube.rules, tube.mark) == (52.92, "105 % of PTV_5040", ("MS-75",), "ambiguous")
    (cord,) = [one for one in course.limits if one.structure == "SpinalCord"]
    assert (cord.operator, cord.limit, cord.priority, cord.on_violation) == ("<", 45, "hard", "reject")


def test_an_unknown_distance_shows_both_plans_and_never_takes_far() -> None:
    made = salvage(gtv_to_stomach_cm=None)
    assert [course.plan for course in made.courses] == ["A", "B"]
    assert made.calendar.notes[0] == "without one settled course there are no dates of fractions"


def test_who_is_not_admitted_gets_nothing() -> None:
    assert treated("salvage-crt", MONDAY, PATIENT | {"consent": False}) is None


def test_doses_come_from_height_and_weight_by_the_formula_that_the_protocol_names() -> None:
    made = salvage(**SIZE)
    assert made.drugs is not None
    assert made.drugs.body_surface is not None
    assert made.drugs.body_surface.bsa_m2 == pytest.approx(1.752, abs=5e-4)
    assert made.drugs.by_other_formula is not None
    assert made.drugs.by_other_formula.bsa_m2 == pytest.approx(1.754, abs=5e-4)
    assert "SC-08" in made.rules
    (paclitaxel,) = regimen(made, "concurrent").drugs
    assert paclitaxel.doses[0].mg_per_cycle == pytest.approx(135 * 1.7521, abs=0.05)
    assert [drug.drug for drug in regimen(made, "concurrent").one_of] == ["lobaplatin", "nedaplatin"]
    assert "not an order" in made.drugs.statement


def test_without_height_or_weight_there_is_no_dose() -> None:
    made = salvage(height_cm=170)
    assert made.drugs is not None
    assert made.drugs.body_surface is not None
    assert made.drugs.body_surface.missing == ("weight_kg",)
    assert {dose.mg_per_cycle for drug in regimen(made, "concurrent").drugs for dose in drug.doses} == {None}


@pytest.mark.parametrize(("facts", "answers"), [
    (NO_EARLIER, ("yes", "no")),
    ({"earlier_taxane": True, "earlier_platinum": True, "last_chemotherapy_date": dt.date(2025, 6, 1)}, ("no", "yes")),
    ({"earlier_taxane": None}, ("unknown", "unknown")),
])  # fmt: skip
def test_which_regimen_is_for_whom(facts: dict[str, Any], answers: tuple[Answer, Answer]) -> None:
    made = salvage(**facts)
    assert (regimen(made, "concurrent").applies, regimen(made, "second-line").applies) == answers
    assert regimen(made, "second-line").left_to == "clinician"
    consolidation, other = regimen(made, "consolidation"), regimen(made, "consolidation-second-line")
    # The same regimen again: drugs of the trial never follow a second-line regimen.
    assert consolidation.applies == ("no" if answers[1] == "yes" else "unknown")
    assert other.applies == ("no" if answers[1] == "no" else "unknown")
    assert (consolidation.cycles, consolidation.same_as, other.left_to) == ((2, 4), "concurrent", "clinician")
    for one in (consolidation, other):
        assert ("kps_after_radiotherapy" in one.missing) == (one.applies == "unknown")


WELL = {
    "haematological_grade": 0, "hepatic_grade": 0, "renal_grade": 0, "other_non_haematological_grade": 0,
    "radiation_pneumonitis_grade": 0, "toxicity_recovered": True,
}  # fmt: skip


def test_grade_3_haematological_toxicity_makes_the_next_cycle_80_percent() -> None:
    made = salvage(**SIZE, **(WELL | {"haematological_grade": 3}))
    assert made.toxicity is not None
    assert (made.toxicity.action, made.toxicity.dose_factor, made.toxicity.missing) == ("reduce-dose", 0.8, ())
    concurrent = regimen(made, "concurrent")
    original = {dose.drug: dose.doses[0].mg_per_cycle for dose in (*concurrent.drugs, *concurrent.one_of)}
    for dose in concurrent.next_cycle:
        assert dose.doses[0].mg_per_cycle == pytest.approx(0.8 * (original[dose.drug] or 0))
    assert len(concurrent.next_cycle) == 3


@pytest.mark.parametrize(("grades", "action", "factor"), [
    ({}, None, 1.0),
    ({"haematological_grade": 4}, "stop-chemotherapy", None),
    ({"hepatic_grade": 2}, "stop-chemotherapy", None),
    ({"other_non_haematological_grade": 3}, "stop-chemotherapy", None),
    ({"radiation_pneumonitis_grade": 3}, "stop-all", None),
    ({"toxicity_recovered": False}, "hold-cycle", 1.0),
    ({"toxicity_recovered": False, "haematological_grade": 3}, "hold-cycle", 0.8),
    *(({name: 5}, "stop-all", None) for name in WELL if name != "toxicity_recovered"),
])  # fmt: skip
def test_grades_call_for_the_most_severe_action(
    grades: dict[str, Any], action: str | None, factor: float | None
) -> None:
    made = salvage(**SIZE, **(WELL | grades)).toxicity
    assert made is not None
    assert (made.action, made.dose_factor, made.graded, made.missing) == (action, factor, True, ())


def test_without_a_grade_nothing_is_called_for_and_every_condition_is_told() -> None:
    made = salvage().toxicity
    assert made is not None
    assert (made.action, made.graded) == (None, False)
    assert {line.action for line in made.lines} == {"stop-all", "stop-chemotherapy", "hold-cycle", "reduce-dose"}


def test_dates_need_a_start_and_name_what_is_missing() -> None:
    made = salvage()
    assert made.calendar.appointments == ()
    assert set(made.calendar.missing) == {"start of radiotherapy", "start of chemotherapy", "end of radiotherapy"}


def test_dates_follow_from_the_start_of_radiotherapy() -> None:
    made = salvage(MONDAY, chemotherapy_start_date=MONDAY).calendar
    days = {one.key: one for one in made.appointments}
    assert days["radiotherapy/1"].last_day == dt.date(2026, 2, 11)
    assert days["image/1"].first_day == dt.date(2026, 2, 5)
    assert days["follow-up/3"].first_day == dt.date(2026, 5, 11)
    assert days["concurrent/2/paclitaxel/1"].first_day == dt.date(2026, 1, 26)
    assert [one.first_day for one in made.appointments] == sorted(one.first_day for one in made.appointments)
    assert made.missing == ()
    assert "the last fraction as planned" in made.notes[0]


def test_ms_97_a_serious_event_is_reported_by_the_next_day() -> None:
    days = {one.key: one for one in salvage(serious_event_date=MONDAY).calendar.appointments}
    told = days["serious-event"]
    assert (told.first_day, told.last_day) == (MONDAY, dt.date(2026, 1, 6))
    assert (told.what, told.rules) == ("report the serious adverse event to the ethics committee", ("MS-97",))


def test_follow_up_is_counted_from_the_last_fraction_that_was_given() -> None:
    facts = {"radiotherapy_start_date": MONDAY, "radiotherapy_end_date": dt.date(2026, 2, 20)}
    days = {one.key: one.first_day for one in salvage(**facts).calendar.appointments}
    assert days["follow-up/3"] == dt.date(2026, 5, 20)


@pytest.mark.parametrize(("start", "facts", "says"), [
    (MONDAY, {"radiotherapy_end_date": dt.date(2026, 1, 2)}, "before it starts"),
    (dt.date(2026, 1, 4), {}, "a Sunday"),
    (None, {"height_cm": 1.7}, "50 to 250"),
    (None, {"weight_kg": "heavy"}, "a number"),
    (None, {"radiotherapy_start_date": "soon"}, "a date such as"),
])  # fmt: skip
def test_dates_and_sizes_that_cannot_be_are_refused(start: dt.date | None, facts: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        salvage(start, **facts)


@pytest.mark.parametrize(("grade", "left"), [(3, set()), (2, {"radiotherapy/1"})])
def test_toxicity_that_stops_radiotherapy_leaves_its_dates_out(grade: int, left: set[str]) -> None:
    made = salvage(MONDAY, chemotherapy_start_date=MONDAY, **(WELL | {"radiation_pneumonitis_grade": grade})).calendar
    assert {one.key for one in made.appointments} & {"radiotherapy/1"} == left
    assert any("stopping radiotherapy" in note for note in made.notes) == (grade == 3)


def test_every_rule_that_is_named_is_told_with_text_source_and_mark() -> None:
    made = salvage(MONDAY, **SIZE)
    named = {rule for course in made.courses for limit in course.limits for rule in limit.rules}
    assert {"MS-70", "MS-75"} <= named <= set(made.rules)
    assert made.rules["MS-70"]["mark"] == "seed"
    assert all(told["text"] and told["source"] for told in made.rules.values())


def test_endpoints_and_design_are_those_of_the_file() -> None:
    made = salvage()
    assert [part.name for part in made.endpoints][:2] == ["overall survival", "progression-free survival"]
    assert [part.text[:12] for part in made.design][:2] == ["83 patients:", "199 patients"]
    assert made.design[2].text == "282 to 300 with losses"


def test_rt_60_the_days_of_arm_1_end_where_radiotherapy_begins() -> None:
    made = of(
        "rtog-e0113", dt.date(2026, 3, 2), tumour_level="middle", surgery="none", concurrent_chemotherapy=True,
        chemotherapy_arm="arm 1", induction_cycles=2,
    )  # fmt: skip
    days = {one.what: (one.first_day, one.last_day) for one in made.calendar.appointments}
    assert days["induction, days 6-15: G-CSF"] == (dt.date(2026, 1, 10), dt.date(2026, 1, 19))
    assert days["induction, days 34-42: G-CSF"] == (dt.date(2026, 2, 7), dt.date(2026, 2, 15))
    # Day 29 of the second cycle; 96 hours are four days.
    assert days["concurrent cycle 1, days 57-60: 5-fluorouracil over 96 hours"] == (
        dt.date(2026, 3, 2), dt.date(2026, 3, 5),
    )  # fmt: skip
    assert made.drugs is not None
    assert made.drugs.body_surface is None
    assert {dose.mg_per_cycle for one in made.drugs.regimens for drug in one.drugs for dose in drug.doses} == {None}


@settings(max_examples=8, deadline=None)
@given(st.sets(st.sampled_from(sorted(PATIENT))), st.sets(st.sampled_from(sorted(PATIENT))))
def test_more_facts_never_bring_a_plan_back(first: set[str], more: set[str]) -> None:
    def plans(names: set[str]) -> set[str]:
        made = treated("salvage-crt", None, {name: PATIENT[name] for name in names})
        assert made is not None  # this patient is admitted, whatever is known
        return {course.plan for course in made.courses}

    assert plans(first | more) <= plans(first)
    assert "A" in plans(first)


@pytest.mark.parametrize("name", available())
def test_an_empty_record_is_told_what_is_open_and_is_plain_json(name: str) -> None:
    made = treated(name, MONDAY, {})
    if made is not None:
        assert json.loads(json.dumps(made.as_dict(), allow_nan=False))["calendar"] is not None
        assert all(part.missing for course in made.courses for part in course.targets if part.applies == "unknown")


def test_the_facts_of_every_protocol_are_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
    assert all(f"`{entry.name}`" in page for entry in STANDARD_FACTS)


@pytest.mark.parametrize(("protocol", "rule"), [("salvage-crt", "SC-08"), ("rtog-9405", "TR-26")])
def test_we_51_the_body_surface_goes_by_the_formula_that_a_person_names(protocol: str, rule: str) -> None:
    file = load(protocol).file
    for readings, formula, other, area in (
        ({}, "mosteller", "dubois", 1.752), ({rule: "dubois"}, "dubois", "mosteller", 1.754),
    ):  # fmt: skip
        values = seen(file, {}, readings).values | {"height_cm": 170.0, "weight_kg": 65.0}
        made = drugs_of(file, values, None)
        assert made is not None
        assert made.body_surface is not None
        assert made.by_other_formula is not None
        assert (made.body_surface.formula, made.by_other_formula.formula) == (formula, other)
        assert made.body_surface.bsa_m2 == pytest.approx(area, abs=5e-4)
        doses = [dose for one in made.regimens for drug in (*one.drugs, *one.one_of) for dose in drug.doses]
        per_day = [(dose.text, dose.mg_by_day[0][1]) for dose in doses if not dose.capped and "135 mg/m2" in dose.text]
        assert per_day or protocol != "salvage-crt"
        assert all(mg == pytest.approx(135 * made.body_surface.bsa_m2) for _, mg in per_day)
    with pytest.raises(InputError, match=f"no reading 'haycock' of '{rule}'"):
        seen(file, {}, {rule: "haycock"})


def test_what_the_other_formula_changes_is_told_of_the_patient() -> None:
    facts = read_record(PATIENT | {"height_cm": 170, "weight_kg": 65})
    decision, _ = decide_with_effects(load("salvage-crt"), facts)
    (default,) = [one for one in decision.defaults if one.rule == "SC-08"]
    assert [other.effects for other in default.others or ()] == [
        ("body surface area, and doses per m2: 1.754 m2 by dubois instead of 1.752 m2 by mosteller",)
    ]


def test_a_formula_is_told_or_left_to_a_reading_with_the_names_of_formulas() -> None:
    text = (resources.files("tailort.protocols") / "library" / "rtog-9405.yaml").read_text(encoding="utf-8")
    place = "body_surface: {reading: TR-26,"
    for wrong, says in (
        ("body_surface: {reading: RT-18,", "drugs.body_surface.reading: the readings of 'RT-18' must have names of"),
        ("body_surface: {reading: TR-26, formula: dubois,", "give the 'formula', or the 'reading'"),
        ("body_surface: {", "give the 'formula', or the 'reading'"),
    ):
        with pytest.raises(ProtocolError, match=re.escape(says)):
            parse(text.replace(place, wrong), "own.yaml")
    parsed = parse(text.replace(place, "body_surface: {formula: dubois,"), "own.yaml")
    assert parsed.file.drugs is not None
    assert parsed.file.drugs.body_surface is not None
    assert parsed.file.drugs.body_surface.taken({}) == "dubois"

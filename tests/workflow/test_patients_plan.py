"""The clinical record leads to the patient's own plan, in planning and in evaluation, and every rule of it is told."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest

from tailort.errors import InputError, NotEligibleError, UndecidedError
from tailort.geometry import Grid, Image
from tailort.patient import Case, Dose, Person, Scan, Structure, StructureSet
from tailort.protocols import Protocol, decide, for_patient, load, parse, read_record
from tailort.workflow.evaluating import evaluate
from tailort.workflow.options import PlanningOptions
from tailort.workflow.planning import Decided, decided
from tailort.workflow.tracing import defaults_used, numbers_traced, rules_used, structures_traced

FRAME = "1.2.3"
GRID = Grid.axial((40, 30, 30), (5.0, 10.0, 10.0), (-145.0, -145.0, 0.0), FRAME)
SALVAGE = load("salvage-crt")
# R0, one node in region II, 10 months: elective; the distance chooses the plan.
RECORD = {
    "tumour_site": "thoracic oesophagus", "histology": "squamous cell carcinoma", "salvage_surgery_possible": False,
    "surgery": "R0", "locoregional_recurrence": True, "adjuvant_therapy": "none", "prior_radiotherapy": False,
    "therapy_after_recurrence": False,
    "age_years": 61, "kps": 70, "white_cells_10e9_per_l": 6.1, "neutrophils_10e9_per_l": 3.0,
    "platelets_10e9_per_l": 210, "haemoglobin_g_per_l": 128, "bilirubin_times_uln": 0.6, "ast_times_uln": 0.8,
    "alt_times_uln": 0.7, "creatinine_clearance_ml_per_min": 85, "other_malignancy_within_5_years": False,
    "pregnant_or_breastfeeding": False, "drug_allergy": "none", "consent": True, "non_regional_nodes": False,
    "distant_metastasis": False, "severe_cardiovascular_disease": False, "infection": False,
    "active_ulceration": False, "diabetes_with_unstable_glucose": False, "mental_disorder": False,
    "surgery_date": dt.date(2025, 1, 15), "recurrence_date": dt.date(2025, 11, 20), "largest_lesion_cm": 5.0,
    "region_i_involved": False, "region_ii_involved": True, "region_iii_involved": False, "region_iv_involved": False,
    "station_8lo_involved": False, "station_9_involved": False, "gtv_to_stomach_cm": 0.4,
    "intolerant_of_simultaneous_boost": False,
}  # fmt: skip
INVOLVED = {"largest_lesion_cm": 6.0}
REDUCED = "45 Gy in 25 fractions to PTV_4500"
ORGANS = ("External", "SpinalCord", "Lung_L", "Lung_R", "Heart", "Stomach")


def box(name: str, role: str, half_mm: float, low_mm: float, high_mm: float) -> Structure:
    corners = [(-half_mm, -half_mm), (half_mm, -half_mm), (half_mm, half_mm), (-half_mm, half_mm)]
    planes = np.arange(low_mm, high_mm + 1, 5.0)
    return Structure(name, role, tuple(np.array([(x, y, z) for x, y in corners]) for z in planes), FRAME)


def case(facts: dict[str, Any], *without: str, **dose: Any) -> Case:
    parts = [box(name, "EXTERNAL" if name == "External" else "ORGAN", 120.0, 0, 195) for name in ORGANS]
    parts.append(box("GTVn", "GTV", 10.0, 90, 105))
    scan = Scan(Image(GRID, np.zeros(GRID.shape), "HU"), "CT", "9.1", "9", ("9.1.1",), "HFS", slice_thickness_mm=5.0)
    structures = StructureSet(tuple(s for s in parts if s.name not in without), FRAME)
    return Case(Person("P"), (scan,), structures, **dose).with_facts(read_record(facts))


def asked(facts: dict[str, Any], protocol: Protocol = SALVAGE, **options: Any) -> Decided:
    return decided(case(facts), protocol, PlanningOptions(**options))


def doses(found: Decided) -> list[tuple[str, float, int]]:
    return [(p.target, p.dose_gy, p.fractions) for p in found.protocol.prescriptions()]


# --- planning


def test_the_record_chooses_the_plan_and_a_reading_another_one() -> None:
    close = asked(RECORD | INVOLVED)
    assert (close.plan[:2], doses(close)) == ("D:", [("PTV_5940", 59.4, 33)])
    far = asked(RECORD | INVOLVED, readings={"MS-35": "overlap"} | {})
    assert far.plan[:2] == "D:"  # 0.4 cm is an overlap of PGTV too
    apart = RECORD | INVOLVED | {"gtv_to_stomach_cm": 0.9}
    assert [asked(apart, readings=r).plan[0] for r in ({}, {"MS-35": "overlap"})] == ["D", "C"]


def test_a_reading_decides_whether_the_patient_is_admitted() -> None:
    assert asked(RECORD | INVOLVED).decision.answer == "yes"
    with pytest.raises(NotEligibleError, match="kps > 70"):
        asked(RECORD | INVOLVED, readings={"MS-07": "registry"})


def test_an_option_of_the_plan_has_its_doses_and_its_name() -> None:
    found = asked(RECORD | INVOLVED, option="6120")
    assert doses(found) == [("PTV_6120", 61.2, 34)]
    assert found.title.startswith("Plan D, option 6120: 61.2 Gy in 34")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"option": "6216"}, "no option of plan 'D' '6216'; known are: 6120"),
        ({"readings": {"MS-35": "near"}}, "no reading 'near' of 'MS-35'"),
        ({"readings": {"MS-70": "other"}}, "'MS-70' is not ambiguous"),
        ({"readings": {"XX-1": "other"}}, "'XX-1' is not one of its rules"),
        ({"readings": {"MS-66": "other"}}, "only 'MS-66=default'"),
    ],
)
def test_an_unknown_option_or_reading_is_bad_input(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        asked(RECORD | INVOLVED, **options)
    assert caught.value.exit_status == 2


def test_an_option_without_plans_is_bad_input() -> None:
    with pytest.raises(InputError, match="no plans with options"):
        asked(
            {"tumour_level": "middle", "surgery": "none", "concurrent_chemotherapy": True},
            load("smart-imrt"),
            option="x",
        )


@pytest.mark.parametrize(
    ("unknown", "names", "missing"),
    [
        (("consent",), "without: consent; add", ("consent",)),
        (("gtv_to_stomach_cm",), "between plan A and B without: gtv_to_stomach_cm; add", ("gtv_to_stomach_cm",)),
    ],
)
def test_what_is_missing_stops_the_plan_and_is_named(
    unknown: tuple[str, ...], names: str, missing: tuple[str, ...]
) -> None:
    with pytest.raises(UndecidedError, match=names) as caught:
        asked(RECORD | dict.fromkeys(unknown))
    assert (caught.value.exit_status, caught.value.missing) == (4, missing)


def test_the_fewest_of_many_missing_facts_are_named() -> None:
    unknown = dict.fromkeys(("largest_lesion_cm", "surgery", "recurrence_date", "gtv_to_stomach_cm"))
    record = RECORD | unknown | {"adjuvant_therapy": "chemotherapy"}
    with pytest.raises(UndecidedError, match=r"without: surgery, gtv_to_stomach_cm \(the fewest") as caught:
        asked(record)
    assert len(caught.value.missing) == 4


def test_images_and_flags_are_told_with_the_plan() -> None:
    found = asked(RECORD | INVOLVED | {"motion_assessed": True})
    told = {row.requirement: row.verdict for row in found.imaging}
    assert told["CT slices at most 3 mm"] == "note"  # 5 mm, and nothing of G-07 fails a plan
    assert told["4D-CT or another assessment of motion"] == "pass"
    assert [flag.id for flag in found.flags] == ["kps-70"]


def test_a_requirement_of_the_images_that_is_not_kept_fails_and_does_not_stop_the_plan() -> None:
    text = """
id: own
version: "1"
title: Slices
prescriptions: [{target: PTV, dose_gy: 50, fractions: 25}]
normalisation: {coverage: "D95%[Gy]"}
targets: [{name: PTV, role: PTV, of: [GTVn]}]
technique: {kind: imrt, beams: 5}
rules: [{id: R-1, text: Thin slices., source: own, mark: seed}]
facts: [{name: mask, type: boolean}]
imaging:
  slices: [{at_most_mm: 3, rules: [R-1]}]
  facts: [{text: a mask, holds: {fact: mask, operator: "==", value: true}, rules: [R-1]}]
"""
    found = asked({}, parse(text, "own.yaml"))
    assert [(row.verdict, row.rules) for row in found.imaging] == [("fail", ("R-1",)), ("unknown", ("R-1",))]


def test_a_wrong_condition_of_a_requirement_is_told_with_its_line() -> None:
    text = (
        "id: own\nversion: '1'\ntitle: t\nprescriptions: [{target: PTV, dose_gy: 50, fractions: 25}]\n"
        "normalisation: {coverage: 'D95%[Gy]'}\ntechnique: {kind: imrt, beams: 5}\nimaging:\n  facts:\n"
        "    - {text: a mask, holds: {fact: mask, operator: '==', value: true}}\n"
    )
    with pytest.raises(InputError, match=r"own.yaml, line 9, imaging.facts\[0\].holds.fact: fact 'mask' is not among"):
        parse(text, "own.yaml")


def test_what_cannot_be_told_of_a_patient_is_not_taken_for_no() -> None:
    # In involved-field irradiation no volume needs the third region, so the plan is made without it.
    known = RECORD | INVOLVED | {"region_i_involved": True}
    three = "Lesions in regions I, II and III"
    (note,) = [note for note in asked(known | {"region_iii_involved": None}).notes if three in note]
    assert note.endswith("is not known without: region_iii_involved")
    assert not any(three in note for note in asked(known).notes)
    assert not any(flag.text.startswith(three) for flag in asked(known).flags)
    found = asked(known | {"region_iii_involved": True})
    assert any(flag.text.startswith(three) for flag in found.flags)


@pytest.mark.parametrize(("v50_percent", "amended"), [(None, False), (50.0, False), (61.0, True)])
def test_a_plan_made_already_that_gave_the_stomach_too_much_is_planned_with_45_gy_in_25_fractions(
    v50_percent: float | None, amended: bool
) -> None:
    found = asked(RECORD | INVOLVED | {"stomach_v50gy_percent": v50_percent})
    told = [finding.text for finding in found.amendments]
    if not amended:
        assert doses(found) == [("PTV_5940", 59.4, 33)]
        assert told == []
        return
    assert doses(found) == [("PTV_4500", 45.0, 25)]
    assert found.title.startswith("Plan D: ")
    assert found.title.endswith(", amended by 45-in-25")
    assert told == [
        f"The plan that was made already, by the record: Stomach V50Gy[%] is 61.00, > 50: {REDUCED} in place of "
        "59.4 Gy in 33 fractions to PTV_5940 (MS-76, MS-77, MS-78)"
    ]
    assert told[0] in found.notes
    assert found.protocol.file.amendments == ()  # it comes once


def test_other_readings_are_told_in_the_words_of_the_patients_own_plan() -> None:
    (default,) = [one for one in asked(RECORD | INVOLVED).decision.defaults if one.rule == "MS-79"]
    (other,) = default.others or ()
    assert "Lungs V20Gy at most 28 % is a goal instead of only reported" in other.told
    assert not any("limits." in told for told in other.told)


# --- evaluation


def dosed(facts: dict[str, Any], *without: str) -> Case:
    dose = Dose(Image(GRID, np.full(GRID.shape, 60.0, dtype=np.float32), "Gy"), "physical", "course", 33, None, "test")
    return case(facts, *without, doses=(dose,))


def test_a_dose_is_judged_by_the_limits_of_the_patients_own_plan() -> None:
    result = evaluate(dosed(RECORD | INVOLVED), SALVAGE, ())
    rows = {(row.structure, row.metric): row for row in result.scorecard.rows}
    assert rows["PTV_5940", "D95%[Gy]"].limit == 59.4
    assert rows["Stomach", "D0.03cc[Gy]"].limit == pytest.approx(62.37)
    assert not any(row.structure in ("PTV_6000", "PTV_5040") for row in result.scorecard.rows)
    assert result.decision is not None
    assert result.decision.answer == "yes"
    lungs = evaluate(dosed(RECORD | INVOLVED), SALVAGE, (), options=PlanningOptions(readings={"MS-79": "whole"}))
    told = {row.structure for row in lungs.scorecard.rows if row.source.startswith("MS-71")}
    assert told == {"Lungs"}


@pytest.mark.parametrize(
    ("facts", "usual"),
    [
        ({}, "50.4 Gy in 28 fractions to PTV_5040, 60.4 Gy in 33 fractions to PTV_6040"),
        (INVOLVED, "59.4 Gy in 33 fractions to PTV_5940"),
    ],
)
def test_a_dose_that_gives_the_stomach_too_much_asks_for_45_gy_in_25_fractions(
    facts: dict[str, Any], usual: str
) -> None:
    """MS-76: the whole stomach gets 60 Gy."""
    result = evaluate(dosed(RECORD | facts), SALVAGE, ())
    (found,) = result.amendments
    assert (found.due, found.measured, found.is_made) == ("yes", pytest.approx(100.0), False)
    told = f"The plan that is evaluated: Stomach V50Gy[%] is 100.00, > 50: other doses are due: {REDUCED} in place of "
    assert found.text == f"{told}{usual} (MS-76, MS-77, MS-78)"
    assert found.text in result.notes
    (row,) = [row for row in result.scorecard.rows if row.metric == "V50Gy[%]"]
    assert row.value == pytest.approx(100.0)


def test_a_dose_is_judged_by_45_gy_in_25_fractions_where_the_first_plan_asked_for_them() -> None:
    result = evaluate(dosed(RECORD | {"stomach_v50gy_percent": 61.0}), SALVAGE, ())
    (found,) = result.amendments
    assert (found.due, found.by_record, found.is_made) == ("yes", True, True)
    assert f"Stomach V50Gy[%] is 61.00, > 50: {REDUCED} in place of 50.4 Gy in 28" in found.text
    rows = {(row.structure, row.metric): row for row in result.scorecard.rows}
    assert rows["PTV_4500", "D95%[Gy]"].limit == 45.0
    assert not any(row.structure in ("PTV_5040", "PTV_6040") for row in result.scorecard.rows)


def test_a_case_without_the_stomach_cannot_tell_whether_other_doses_are_due() -> None:
    (found,) = evaluate(dosed(RECORD | INVOLVED, "Stomach"), SALVAGE, ()).amendments
    assert found.due == "unknown"
    assert "whether Stomach V50Gy[%] > 50 asks for other doses" in found.text


def test_a_patient_who_is_not_admitted_is_evaluated_and_told() -> None:
    result = evaluate(dosed(RECORD | INVOLVED | {"consent": False}), SALVAGE, ())
    assert "answers no" in " ".join(result.notes)
    assert any(row.structure == "PTV_5940" for row in result.scorecard.rows)


def test_without_a_record_it_is_not_known_by_which_plan_to_judge() -> None:
    with pytest.raises(UndecidedError, match="give the clinical record"):
        evaluate(dosed({}), SALVAGE, ())
    with pytest.raises(UndecidedError, match="gtv_to_stomach_cm"):
        evaluate(dosed(RECORD | {"gtv_to_stomach_cm": None}), SALVAGE, ())


def test_a_protocol_of_one_course_needs_no_record() -> None:
    result = evaluate(dosed({}), load("smart-imrt"), ())
    assert result.decision is None
    assert any(row.structure == "SpinalCord" for row in result.scorecard.rows)


def with_a_table() -> Protocol:
    return parse(
        """
id: own
version: "1"
title: t
facts: [{name: earlier_gy, type: number, unit: Gy}]
tables:
  - name: cord_gy
    text: what the cord may have
    rows: [{when: {fact: earlier_gy, operator: ">", value: 50}, outcome: "10"}]
    otherwise: "20"
prescriptions: [{target: GTVn, dose_gy: 24, fractions: 2}]
normalisation: {coverage: "D95%[Gy]"}
technique: {kind: imrt, beams: 5}
table_limits: [{structure: SpinalCord, metric: "Max[Gy]", operator: "<=", table: cord_gy, priority: hard}]
limits: [{structure: Larynx, metric: "Max[Gy]", operator: "<=", limit: 20, priority: hard, if_drawn: true}]
""",
        "own.yaml",
    )


def test_a_limit_of_the_record_is_judged_or_asked_for_and_never_left_out() -> None:
    (row,) = [r for r in evaluate(dosed({"earlier_gy": 60.0}), with_a_table(), ()).scorecard.rows if r.limit == 10.0]
    assert (row.structure, row.verdict) == ("SpinalCord", "fail")
    with pytest.raises(UndecidedError, match=r"Max\[Gy\] of SpinalCord is one of 10, 20 .* earlier_gy"):
        evaluate(dosed({}), with_a_table(), ())


def test_a_limit_for_where_an_organ_is_drawn_does_not_judge_a_case_without_it() -> None:
    result = evaluate(dosed({"earlier_gy": 60.0}), with_a_table(), ())
    assert [row.structure for row in result.scorecard.rows if row.priority == "hard"] == ["SpinalCord"]


@pytest.mark.parametrize(
    ("reading", "hard"), [({}, {"D100%[Gy]", "V40Gy[%]"}), ({"RT-18": "mean"}, {"Mean[Gy]", "V40Gy[%]"})]
)
def test_a_reading_that_a_person_chose_counts_without_a_record_too(reading: dict[str, str], hard: set[str]) -> None:
    result = evaluate(dosed({}), load("rtog-9405"), (), options=PlanningOptions(readings=reading))
    rows = [row for row in result.scorecard.rows if row.structure == "Heart"]
    assert {row.metric for row in rows if row.priority == "hard"} == hard
    assert any("tumour_level" in note for note in result.notes)


# --- which rule led to what


def of_patient(**facts: Any) -> Protocol:
    return for_patient(SALVAGE, read_record(RECORD | facts))


def test_every_volume_and_every_dose_of_every_plan_names_a_rule() -> None:
    for facts in ({}, {"gtv_to_stomach_cm": 2.0}, INVOLVED, INVOLVED | {"gtv_to_stomach_cm": 2.0}):
        own = of_patient(**facts)
        traces = [*structures_traced(own), *numbers_traced(own)]
        assert [trace.of for trace in traces if not trace.rules] == []
        for trace in traces:
            assert all(own.rule(rule).text for rule in trace.rules)


def test_numbers_of_plan_c_come_from_their_printed_rules() -> None:
    own = of_patient(**INVOLVED, gtv_to_stomach_cm=2.0)
    told = {(trace.of, trace.told): trace.rules for trace in numbers_traced(own)}
    assert told["dose of PTV_6000", "60 Gy in 30 fractions of 2 Gy, phase 1, D95%[Gy]"] == ("MS-61", "MS-64")
    assert told["CTV_6000", "plus 6 mm horizontally and 15 mm craniocaudally"] == ("MS-51", "MS-52")
    assert told["SpinalCord", "Max[Gy] < 45 (hard, otherwise reject)"] == ("MS-70",)
    assert told["Stomach", "45 Gy in 25 fractions to PTV_4500 where V50Gy[%] > 50"] == ("MS-76", "MS-77", "MS-78")


def test_a_boost_is_told_with_what_it_comes_on_top_of() -> None:
    (told,) = [trace.told for trace in numbers_traced(of_patient()) if trace.of == "dose of PTV_6040"]
    assert told == "10 Gy in 5 fractions of 2 Gy, phase 2, 60.4 Gy with that of PTV_5040, D95%[Gy]"


def test_ambiguous_rules_are_told_where_the_plan_rests_on_them() -> None:
    record = read_record(RECORD | INVOLVED | {"gtv_to_stomach_cm": 2.0})
    decision = decide(SALVAGE, record)
    used = {default.rule: names for default, names in defaults_used(decision, for_patient(SALVAGE, record))}
    assert "CTV_6000" in used["MS-52"]
    assert "irradiation" in used["MS-31"]
    assert "eligibility" in used["MS-07"]
    assert not {"MS-60", "MS-63", "MS-65", "MS-81"} & set(used)  # other plans' doses, and drugs
    assert rules_used(decision, for_patient(SALVAGE, record))["MS-64"] == ("dose of PTV_6000",)


@pytest.mark.parametrize(
    ("facts", "option", "by_ptv", "by_highest"),
    [
        ({}, None, 52.92, 63.42),
        ({}, "6x2.0", 52.92, 65.52),
        ({"gtv_to_stomach_cm": 2.0}, None, 52.92, 62.916),
        ({"gtv_to_stomach_cm": 2.0}, "6216", 52.92, 65.268),
        (INVOLVED, "6120", 64.26, 64.26),
    ],
)
def test_the_hot_spot_is_105_percent_of_the_ptv_or_by_the_other_reading_of_the_highest_dose(
    facts: dict[str, Any], option: str | None, by_ptv: float, by_highest: float
) -> None:
    for readings, limit in (({}, by_ptv), ({"MS-75": "highest"}, by_highest)):
        own = for_patient(SALVAGE, read_record(RECORD | facts), readings, None, option)
        (found,) = [c for c in own.constraints() if (c.structure, c.metric) == ("Stomach", "D0.03cc[Gy]")]
        assert found.limit == pytest.approx(limit)


def test_the_technique_that_is_tried_first_the_phases_and_what_moves_between_them_are_told() -> None:
    upper = read_record({"tumour_level": "upper", "tumour_length_cm": 5.0})
    high = load("rtog-9405")
    told = {trace.of: (trace.told, trace.rules) for trace in numbers_traced(for_patient(high, upper))}
    assert "three-field-cervical" in told["technique that is tried first"][0]
    assert "ap-pa" in told["technique"][0]
    assert "opposed-obliques" in told["technique of phase 3"][0]
    assert told["hand-over"] == (
        "fractions move from phase 1 to phase 2 until SpinalCord Max[Gy] is below 45 Gy", ("TR-10", "RT-16")
    )  # fmt: skip
    supplement = told["PTVn_Sclav_L"]
    assert supplement[0].startswith("up to 50.4 Gy at 30 mm below the anterior skin, at most 1.8 Gy a fraction")
    lower = numbers_traced(for_patient(high, read_record({"tumour_level": "middle", "tumour_length_cm": 5.0})))
    assert not any(trace.of == "technique that is tried first" for trace in lower)


def test_a_limit_on_all_courses_together_is_not_told_as_one_of_this_course() -> None:
    cumulative = parse(
        """
id: own
version: "1"
title: t
prescriptions: [{target: GTVn, dose_gy: 24, fractions: 2}]
normalisation: {coverage: "D95%[Gy]"}
technique: {kind: imrt, beams: 5}
limits:
  - {structure: Esophagus, metric: "Max[Gy]", operator: "<", limit: 203, priority: goal, quantity: BED,
     alpha_beta_gy: 3, scope: cumulative}
""",
        "own.yaml",
    )
    (told,) = [trace.told for trace in numbers_traced(cumulative) if trace.of == "Esophagus"]
    assert told == "Max[Gy] BED(a/b=3) of all courses together < 203 (goal)"

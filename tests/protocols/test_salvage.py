"""The library file salvage-crt says what the trial's text says: whom it admits, which plan, which doses, what else."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.errors import InputError, NotEligibleError, ProtocolError, UndecidedError
from tailort.protocols import Protocol, decide, for_patient, load, read_record
from tailort.protocols.course_dates import fraction_of_course, serious_event
from tailort.protocols.drugs import DrugEntry
from tailort.protocols.known import require_consistent, seen
from tailort.protocols.modifications import modification
from tailort.protocols.plans import PlanChoice, amended, choose_plan, statements, with_plan
from tailort.protocols.schedule import visit_months
from tailort.protocols.treatment import prescribed_doses, treatment
from tailort.protocols.trial_words import design_in_words
from tailort.targets import CutAt
from tailort.targets.borders import counting

SALVAGE = load("salvage-crt")

# Rules of section 3 of the reference to the five source protocols. A mark of several parts is the least certain one.
SEED, DERIVED, AMBIGUOUS, VERIFIED = "seed", "derived", "ambiguous", "lit-verified"
MARKS = {
    1: SEED, 2: SEED, 3: DERIVED, 4: SEED, 5: SEED, 6: VERIFIED, 7: AMBIGUOUS, 8: AMBIGUOUS, 9: AMBIGUOUS,
    10: DERIVED, 11: SEED, 12: AMBIGUOUS, 13: SEED, 14: SEED, 15: SEED, 16: SEED,
    20: SEED, 21: SEED, 22: SEED, 23: SEED, 24: SEED, 25: AMBIGUOUS, 26: SEED, 27: AMBIGUOUS, 28: AMBIGUOUS,
    30: AMBIGUOUS, 31: AMBIGUOUS, 32: AMBIGUOUS, 33: DERIVED, 34: AMBIGUOUS, 35: AMBIGUOUS, 36: SEED, 37: SEED,
    40: SEED, 41: SEED, 42: SEED, 43: SEED, 44: SEED, 45: SEED, 46: SEED, 47: AMBIGUOUS, 48: AMBIGUOUS, 49: AMBIGUOUS,
    50: AMBIGUOUS, 51: SEED, 52: AMBIGUOUS, 53: SEED,
    60: AMBIGUOUS, 61: SEED, 62: SEED, 63: AMBIGUOUS, 64: SEED, 65: AMBIGUOUS, 66: AMBIGUOUS, 67: SEED, 68: AMBIGUOUS,
    69: DERIVED,
    70: SEED, 71: SEED, 72: SEED, 73: SEED, 74: SEED, 75: AMBIGUOUS, 76: SEED, 77: DERIVED, 78: AMBIGUOUS,
    79: AMBIGUOUS,
    80: SEED, 81: AMBIGUOUS, 82: AMBIGUOUS, 83: AMBIGUOUS, 84: SEED, 85: SEED, 86: SEED, 87: AMBIGUOUS,
    90: SEED, 91: AMBIGUOUS, 92: SEED, 93: DERIVED, 94: DERIVED, 95: SEED, 96: DERIVED, 97: SEED, 98: DERIVED,
    100: SEED, 101: SEED, 102: SEED, 103: SEED, 104: SEED, 105: SEED, 106: AMBIGUOUS, 107: VERIFIED, 108: SEED,
    109: DERIVED, 110: VERIFIED, 111: DERIVED,
}  # fmt: skip
NOT_EXECUTED_AT_ALL = {"MS-23", "MS-107", "MS-110"}

ELIGIBLE = {
    "tumour_site": "thoracic oesophagus", "histology": "squamous cell carcinoma", "salvage_surgery_possible": False,
    "surgery": "R0", "locoregional_recurrence": True, "adjuvant_therapy": "none", "therapy_after_recurrence": False,
    "prior_radiotherapy": False,
    "age_years": 61, "kps": 80, "white_cells_10e9_per_l": 6.1, "neutrophils_10e9_per_l": 3.0,
    "platelets_10e9_per_l": 210, "haemoglobin_g_per_l": 128, "bilirubin_times_uln": 0.6, "ast_times_uln": 0.8,
    "alt_times_uln": 0.7, "creatinine_clearance_ml_per_min": 85, "other_malignancy_within_5_years": False,
    "pregnant_or_breastfeeding": False, "drug_allergy": "none", "consent": True, "non_regional_nodes": False,
    "distant_metastasis": False, "severe_cardiovascular_disease": False, "infection": False,
    "active_ulceration": False, "diabetes_with_unstable_glucose": False, "mental_disorder": False,
}  # fmt: skip
LESION = {
    "surgery_date": dt.date(2025, 1, 15), "recurrence_date": dt.date(2025, 11, 20), "largest_lesion_cm": 3.0,
    "region_i_involved": False, "region_ii_involved": True, "region_iii_involved": False, "region_iv_involved": False,
    "station_8lo_involved": False, "station_9_involved": False, "gtv_to_stomach_cm": 4.0,
    "intolerant_of_simultaneous_boost": False,
}  # fmt: skip
PATIENT = ELIGIBLE | LESION
REGIONS = ("i", "ii", "iii", "iv")


def _in(*regions: str) -> dict[str, object]:
    return {f"region_{name}_involved": name in regions for name in REGIONS}


def _choice(**facts: object) -> PlanChoice:
    return choose_plan(SALVAGE, seen(SALVAGE.file, read_record(PATIENT | facts)))


def _of(**facts: object) -> Protocol:
    return for_patient(SALVAGE, read_record(PATIENT | facts))


def _reason(rule: str, **facts: object) -> str:
    decision = decide(SALVAGE, read_record(PATIENT | facts))
    return next(reason.answer for reason in decision.reasons if reason.rule == rule)


# --- the file


@pytest.mark.parametrize(("number", "mark"), MARKS.items())
def test_every_rule_of_the_source_is_there_with_its_mark(number: int, mark: str) -> None:
    assert SALVAGE.rule(f"MS-{number:02d}").mark == mark


def test_no_rule_of_the_trial_is_invented() -> None:
    told = {rule.id for rule in SALVAGE.rules if rule.id.startswith("MS-")}
    assert told == {f"MS-{number:02d}" for number in MARKS}


def test_what_is_not_executed_at_all_is_listed_with_its_reason() -> None:
    listed = SALVAGE.file.not_executed or ()
    assert {entry.rule for entry in listed if not entry.part} == NOT_EXECUTED_AT_ALL
    assert all(entry.reason.endswith(".") for entry in listed)


def test_volumes_are_executed_whole() -> None:
    listed = {entry.rule for entry in SALVAGE.file.not_executed or ()}
    assert not listed & {f"MS-{number}" for number in range(41, 53)}


def test_every_rule_names_a_source() -> None:
    assert [rule.id for rule in SALVAGE.rules if not (rule.text and rule.source)] == []


def test_comparisons_of_two_facts_fit_together() -> None:
    require_consistent(SALVAGE.file)


def test_it_waits_for_a_clinician() -> None:
    assert SALVAGE.status == "needs-clinician-confirmation"


def test_no_fact_is_asked_without_a_rule() -> None:
    assert [fact.name for fact in SALVAGE.file.facts if not fact.rules] == []


# --- whom it admits


def test_a_patient_who_meets_everything_is_admitted() -> None:
    decision = decide(SALVAGE, read_record(PATIENT))
    assert decision.answer == "yes"
    assert decision.missing == ()


@pytest.mark.parametrize(
    ("facts", "rule", "answer"),
    [
        ({"age_years": 16}, "MS-06", "yes"), ({"age_years": 70}, "MS-06", "yes"), ({"age_years": 71}, "MS-06", "no"),
        ({"age_years": 15}, "MS-06", "no"), ({"kps": 70}, "MS-07", "yes"), ({"kps": 60}, "MS-07", "no"),
        ({"white_cells_10e9_per_l": 4.0}, "MS-08", "no"), ({"white_cells_10e9_per_l": 4.1}, "MS-08", "yes"),
        ({"neutrophils_10e9_per_l": 1.4}, "MS-08", "no"), ({"platelets_10e9_per_l": 99}, "MS-08", "no"),
        ({"haemoglobin_g_per_l": 89}, "MS-08", "no"), ({"bilirubin_times_uln": 1.6}, "MS-09", "no"),
        ({"ast_times_uln": 2.6}, "MS-09", "no"), ({"alt_times_uln": 2.6}, "MS-09", "no"),
        ({"creatinine_clearance_ml_per_min": 59}, "MS-09", "no"),
        ({"other_malignancy_within_5_years": True}, "MS-10", "no"),
        ({"pregnant_or_breastfeeding": True}, "MS-11", "no"),
        ({"drug_allergy": "taxane or platinum"}, "MS-12", "no"), ({"consent": False}, "MS-13", "no"),
        ({"non_regional_nodes": True}, "MS-14", "no"), ({"distant_metastasis": True}, "MS-14", "no"),
        ({"infection": True}, "MS-15", "no"), ({"mental_disorder": True}, "MS-15", "no"),
        ({"histology": "adenocarcinoma"}, "MS-16", "no"), ({"tumour_site": "cervical oesophagus"}, "MS-16", "no"),
        ({"salvage_surgery_possible": True}, "MS-16", "no"), ({"therapy_after_recurrence": True}, "MS-05", "no"),
    ],
)  # fmt: skip
def test_each_criterion_has_its_printed_operator(facts: dict[str, object], rule: str, answer: str) -> None:
    decision = decide(SALVAGE, read_record(PATIENT | facts))
    assert decision.answer == answer
    failed = {reason.rule for reason in decision.reasons if reason.answer == "no"}
    assert failed == (set() if answer == "yes" else {rule})


@pytest.mark.parametrize(
    ("facts", "answer"),
    [
        ({"surgery": "R1", "locoregional_recurrence": False, "therapy_after_recurrence": None}, "yes"),
        ({"surgery": "R2", "locoregional_recurrence": True, "therapy_after_recurrence": None}, "unknown"),
        ({"surgery": "R0", "locoregional_recurrence": False, "largest_lesion_cm": None}, "no"),
        ({"surgery": "none", "locoregional_recurrence": True}, "no"),
        ({"adjuvant_therapy": "chemotherapy"}, "yes"),
        ({"adjuvant_therapy": "radiotherapy", "prior_radiotherapy": True}, "unknown"),
        ({"adjuvant_therapy": "radiotherapy", "prior_radiotherapy": None, "recurrence_in_earlier_field": False}, "yes"),
        ({"adjuvant_therapy": "chemoradiation", "prior_radiotherapy": None, "recurrence_in_earlier_field": True}, "no"),
        ({"adjuvant_therapy": None}, "unknown"),
    ],
)  # fmt: skip
def test_there_are_four_ways_into_the_trial(facts: dict[str, object], answer: str) -> None:
    assert decide(SALVAGE, read_record(PATIENT | facts)).answer == answer


@pytest.mark.parametrize(
    ("facts", "answer"),
    [
        ({"prior_radiotherapy": True}, "unknown"),
        ({"prior_radiotherapy": None}, "unknown"),
        ({"prior_radiotherapy": True, "recurrence_in_earlier_field": True}, "no"),
        ({"prior_radiotherapy": True, "recurrence_in_earlier_field": False}, "yes"),
    ],
)
def test_a_recurrence_in_the_field_of_radiotherapy_before_surgery_is_not_included(
    facts: dict[str, object], answer: str
) -> None:
    assert decide(SALVAGE, read_record(PATIENT | facts)).answer == answer


def test_earlier_radiotherapy_is_told_also_of_a_residual_tumour() -> None:
    residual = {"surgery": "R1", "locoregional_recurrence": False, "recurrence_date": None, "prior_radiotherapy": True}
    for facts, answer in ((PATIENT | residual, "yes"), (PATIENT, "no")):
        told = {entry.id: found.answer for entry, found in statements(SALVAGE.file.flags, SALVAGE, read_record(facts))}
        assert told["earlier-radiotherapy"] == answer


@pytest.mark.parametrize(
    ("plan", "option", "fraction", "strength"),
    [
        ("A", None, 24, "offered"), ("A", "6216", 23, "offered"), ("B", "6x1.8", 28, "offered"),
        ("C", None, 25, "required"), ("D", None, 28, "required"), ("D", "6120", 28, "required"),
    ],
)  # fmt: skip
def test_ms_67_the_ct_at_50_gy_stays_with_every_option(
    plan: str, option: str | None, fraction: int, strength: str
) -> None:
    own_file = with_plan(SALVAGE, plan, option).file
    (image,) = own_file.adaptations
    assert image.strength == strength
    assert fraction_of_course(own_file.prescriptions, image.target, image.at_gy) == fraction


def test_another_drug_allergy_waits_for_a_clinician() -> None:
    decision = decide(SALVAGE, read_record(PATIENT | {"drug_allergy": "another drug"}))
    assert decision.answer == "unknown"
    assert decision.missing == ("drug_allergy_accepted_by_clinician",)
    accepted = PATIENT | {"drug_allergy": "another drug", "drug_allergy_accepted_by_clinician": True}
    assert decide(SALVAGE, read_record(accepted)).answer == "yes"


def test_a_missing_white_cell_count_is_the_only_thing_asked_for() -> None:
    decision = decide(SALVAGE, read_record(PATIENT | {"white_cells_10e9_per_l": None}))
    assert (decision.answer, decision.missing) == ("unknown", ("white_cells_10e9_per_l",))
    assert _reason("MS-08", white_cells_10e9_per_l=None) == "unknown"


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"recurrence_date": dt.date(2025, 1, 14)}, "before surgery"),
        ({"second_recurrence_date": dt.date(2025, 11, 19)}, "before the first"),
        ({"last_chemotherapy_date": dt.date(2025, 11, 21)}, "ended after it"),
        ({"locoregional_recurrence": False, "recurrence_in_earlier_field": True}, "without a locoregional"),
        ({"recurrence_in_earlier_field": True}, "was not given"),
        ({"station_9_involved": True}, "region III"),
        ({"region_ii_involved": False}, "no region"),
        ({"locoregional_recurrence": False}, "left after an R0 resection"),
        ({"largest_lesion_cm": 0.0}, "no size"),
        (
            {"locoregional_recurrence": False, "largest_lesion_cm": None, "therapy_after_recurrence": True},
            "was treated",
        ),
        ({"surgery": "none", "adjuvant_therapy": "chemotherapy"}, "not done"),
        ({"adjuvant_therapy_end": dt.date(2025, 4, 1)}, "was not given"),
        ({"adjuvant_therapy": "chemotherapy", "adjuvant_therapy_end": dt.date(2025, 1, 1)}, "ended before surgery"),
        ({"adjuvant_therapy": "chemotherapy", "adjuvant_therapy_end": dt.date(2025, 12, 1)}, "ended after the rec"),
        ({"recurrence_proof_date": dt.date(2025, 1, 1)}, "proved before surgery"),
        (
            {"earlier_taxane": False, "earlier_platinum": False, "last_chemotherapy_date": dt.date(2025, 4, 1)},
            "neither taxane nor platinum",
        ),
        ({"stomach_v50gy_percent": 41.0, "stomach_v40gy_percent": 40.0}, "50 Gy than 40 Gy"),
    ],
)
def test_what_cannot_be_true_is_bad_input(facts: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        decide(SALVAGE, read_record(PATIENT | facts))


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_more_facts_never_change_a_plan_that_is_known(data: st.DataObject) -> None:
    values: dict[str, list[object]] = {
        "surgery": ["R0", "R1", "R2", "none"], "recurrence_date": [dt.date(2025, 11, 20), dt.date(2027, 1, 1)],
        "surgery_date": [dt.date(2025, 1, 15)], "largest_lesion_cm": [3.0, 5.0, 6.0], "gtv_to_stomach_cm": [0.0, 4.0],
        "region_i_involved": [True, False], "region_ii_involved": [True, False], "region_iii_involved": [True],
        "region_iv_involved": [True, False], "intolerant_of_simultaneous_boost": [True, False],
    }  # fmt: skip
    whole = {name: data.draw(st.sampled_from(told)) for name, told in values.items()}
    some = {name: value for name, value in whole.items() if data.draw(st.booleans())}
    less, more = (choose_plan(SALVAGE, seen(SALVAGE.file, read_record(facts))) for facts in (some, whole))
    assert more.missing == ()
    assert set(more.possible) <= set(less.possible)
    if less.plan is not None:
        assert more.plan == less.plan
    if whole["surgery"] != "none":
        assert more.plan is not None


# --- which plan

FAR, CLOSE = {"gtv_to_stomach_cm": 1.1}, {"gtv_to_stomach_cm": 1.0}


@pytest.mark.parametrize(
    ("facts", "plan", "because"),
    [
        ({}, "A", {"MS-33", "MS-34"}),
        (CLOSE, "B", {"MS-33", "MS-34", "MS-35"}),
        ({"intolerant_of_simultaneous_boost": True}, "B", {"MS-34", "MS-36"}),
        ({"largest_lesion_cm": 5.0}, "A", {"MS-34"}),
        ({"largest_lesion_cm": 5.1}, "C", {"MS-31", "MS-37"}),
        ({"largest_lesion_cm": 5.1} | CLOSE, "D", {"MS-31", "MS-35"}),
        (_in("i", "iv"), "C", {"MS-26", "MS-32"}),
        (_in("ii", "iv") | CLOSE, "D", {"MS-26", "MS-35"}),
        (_in("iii", "iv"), "A", {"MS-34"}),
        (_in("i", "ii", "iii"), "A", {"MS-34"}),
        (_in("i", "iii", "iv"), "C", {"MS-26"}),
        (_in("iv"), "A", {"MS-34"}),
        ({"recurrence_date": dt.date(2026, 5, 15)}, "A", {"MS-34"}),  # 16 calendar months to the day
        ({"recurrence_date": dt.date(2026, 5, 16)}, "C", {"MS-33", "G-06"}),
        ({"surgery": "R1", "largest_lesion_cm": 8.0} | _in("i", "iv"), "A", {"MS-30"}),
        ({"surgery": "R1", "recurrence_date": None}, "A", {"MS-30"}),
        ({"surgery": "R2", "largest_lesion_cm": 8.0} | CLOSE, "B", {"MS-30", "MS-35"}),
    ],
)  # fmt: skip
def test_each_branch_of_the_tree_leads_to_its_plan(facts: dict[str, object], plan: str, because: set[str]) -> None:
    choice = _choice(**facts)
    assert choice.plan == plan
    assert choice.missing == ()
    tables = seen(SALVAGE.file, read_record(PATIENT | facts)).tables
    assert [found.table.name for found in tables] == ["regional", "irradiation", "distance", "plan"]
    held = {rule for found in tables if found.taken is not None for rule in found.table.rows[found.taken].rules}
    assert because <= held


# What each reading changes: (readings, facts, plan or answer by the default, by the reading).
@pytest.mark.parametrize(
    ("reading", "facts", "was", "becomes"),
    [
        ({"MS-07": "registry"}, {"kps": 70}, "yes", "no"),
        ({"MS-07": "registry"}, {"kps": 80}, "yes", "yes"),
        ({"MS-08": "white-cells"}, {"platelets_10e9_per_l": 60}, "no", "yes"),
        ({"MS-08": "white-cells"}, {"white_cells_10e9_per_l": 4.0}, "no", "no"),
        ({"MS-12": "any-drug"}, {"drug_allergy": "another drug"}, "unknown", "no"),
    ],
)
def test_readings_of_who_is_admitted(reading: dict[str, str], facts: dict[str, object], was: str, becomes: str) -> None:
    record = read_record(PATIENT | facts)
    assert [decide(SALVAGE, record, taken).answer for taken in (None, reading)] == [was, becomes]


@pytest.mark.parametrize(
    ("reading", "facts", "was", "becomes"),
    [
        ({"MS-30": "as-r0"}, {"surgery": "R1", "largest_lesion_cm": 8.0}, "A", "C"),
        ({"MS-30": "as-r0"}, {"surgery": "R2"} | _in("i", "iv"), "A", "C"),
        ({"MS-30": "as-r0"}, {"surgery": "R1", "recurrence_date": dt.date(2027, 1, 1)}, "A", "A"),
        ({"MS-31": "from-5-cm"}, {"largest_lesion_cm": 5.0}, "A", "C"),
        ({"MS-31": "from-5-cm"}, {"largest_lesion_cm": 4.9}, "A", "A"),
        ({"MS-28": "widespread"}, _in("i", "ii", "iii"), "A", "C"),
        ({"MS-32": "skip"}, {"primary_level": "upper"} | _in("iv"), "A", "C"),
        ({"MS-32": "skip"}, {"primary_level": "middle"} | _in("iv"), "A", "A"),
        ({"MS-34": "proof"}, {"recurrence_proof_date": dt.date(2026, 5, 16)}, "A", "C"),
        (
            {"MS-34": "adjuvant"},
            {
                "adjuvant_therapy": "chemotherapy", "adjuvant_therapy_end": dt.date(2025, 5, 1),
                "recurrence_date": dt.date(2026, 8, 1),
            },
            "C", "A",
        ),
        ({"MS-34": "adjuvant"}, {"recurrence_date": dt.date(2026, 8, 1)}, "C", "C"),
        ({"MS-35": "overlap"}, {"gtv_to_stomach_cm": 0.6}, "B", "A"),
        ({"MS-35": "overlap"}, {"gtv_to_stomach_cm": 0.5}, "B", "B"),
    ],
)  # fmt: skip
def test_readings_of_the_tree(reading: dict[str, str], facts: dict[str, object], was: str, becomes: str) -> None:
    record = read_record(PATIENT | facts)
    assert [choose_plan(SALVAGE, seen(SALVAGE.file, record, taken)).plan for taken in (None, reading)] == [was, becomes]


def test_every_reading_of_a_rule_is_told_in_its_words() -> None:
    for choice in SALVAGE.file.readings:
        assert SALVAGE.rule(choice.rule).mark == "ambiguous"
    told = {default.rule: default for default in decide(SALVAGE, read_record(PATIENT | {"kps": 70})).defaults}
    (other,) = told["MS-07"].others or ()
    assert other.changes == ("answer: yes becomes no",)


@pytest.mark.parametrize(
    ("facts", "possible", "missing"),
    [
        ({"gtv_to_stomach_cm": None}, ("A", "B"), {"gtv_to_stomach_cm"}),
        ({"gtv_to_stomach_cm": None, "largest_lesion_cm": 6.0}, ("C", "D"), {"gtv_to_stomach_cm"}),
        ({"largest_lesion_cm": None}, ("A", "C"), {"largest_lesion_cm"}),
        ({"recurrence_date": None}, ("A", "C"), {"recurrence_date"}),
        ({"surgery": None, "largest_lesion_cm": 6.0}, ("A", "C"), {"surgery"}),
        ({"surgery": None}, ("A",), {"surgery"}),
        ({"intolerant_of_simultaneous_boost": None}, ("A", "B"), {"intolerant_of_simultaneous_boost"}),
        ({"region_iv_involved": None}, ("A", "C"), {"region_iv_involved"}),
    ],
)
def test_a_missing_fact_leaves_both_plans_open(
    facts: dict[str, object], possible: tuple[str, ...], missing: set[str]
) -> None:
    choice = _choice(**facts)
    assert choice.plan is None
    assert choice.possible == possible
    assert missing <= set(choice.missing)
    with pytest.raises(UndecidedError, match=" and ".join(possible)) as caught:
        _of(**facts)
    assert missing <= set(caught.value.missing)


def test_a_fact_that_cannot_matter_is_not_asked() -> None:
    assert _choice(largest_lesion_cm=6.0, recurrence_date=None, region_iv_involved=None).plan == "C"


def test_without_surgery_there_is_no_plan() -> None:
    assert _choice(surgery="none").possible == ()
    with pytest.raises(NotEligibleError, match="none of A, B, C, D"):
        _of(surgery="none")


@pytest.mark.parametrize("name", ["A", "B", "C", "D"])
def test_before_a_plan_is_chosen_nothing_is_prescribed(name: str) -> None:
    with pytest.raises(ProtocolError, match="A, B, C, D"):
        SALVAGE.prescriptions()
    assert with_plan(SALVAGE, name).prescriptions()


def _flags(**facts: object) -> set[str]:
    told = statements(SALVAGE.file.flags, SALVAGE, read_record(PATIENT | facts))
    return {entry.id for entry, finding in told if finding.answer == "yes"}


@pytest.mark.parametrize(
    ("facts", "flags"),
    [
        ({}, set()),
        ({"kps": 70}, {"kps-70"}),
        (_in("i", "ii", "iii"), {"multi-region"}),
        ({"surgery": "R1", "largest_lesion_cm": 5.1}, {"residual-bulk"}),
        ({"surgery": "R1"} | _in("ii", "iv"), {"residual-bulk"}),
        ({"primary_level": "upper"} | _in("iv"), {"skip-metastasis"}),
    ],
)
def test_what_a_clinician_must_know_is_told(facts: dict[str, object], flags: set[str]) -> None:
    assert _flags(**facts) == flags


# The pairs of the worked example, one region alone, and more than two.
@pytest.mark.parametrize(
    ("stations", "regions", "pair"),
    [
        (["1R", "4L"], ("I", "II"), "close"), (["2R", "17"], ("II", "IV"), "distant"),
        (["7", "20"], ("III", "IV"), "close"), (["8U", "8M"], ("II", "III"), "close"),
        (["1L", "7"], ("I", "III"), "close"), (["16"], ("IV",), "close"),
        (["supraclavicular", "8Lo", "16"], ("I", "III", "IV"), "distant"),
        (["VI", "2L", "9R"], ("I", "II", "III"), "close"),
    ],
)  # fmt: skip
def test_we_94_regions_follow_from_stations(stations: list[str], regions: tuple[str, ...], pair: str) -> None:
    section = SALVAGE.file.regions
    assert section is not None
    # Without the side, which is no part of a station's region.
    bare = {name if name == "supraclavicular" else name.rstrip("RL") for name in stations}
    assert {region.name for region in section.regions if bare & {*region.stations}} == {*regions}
    assert any({*two} <= {*regions} for two in section.distant) == (pair == "distant")
    involved = {f"region_{name.lower()}_involved": name in regions for name in ("I", "II", "III", "IV")}
    told = statements(SALVAGE.file.definitions, SALVAGE, read_record(PATIENT | involved))
    answers = {entry.id: finding.answer for entry, finding in told}
    assert answers["distant-regional-recurrence"] == ("yes" if pair == "distant" else "no")


@pytest.mark.parametrize(("day", "answer"), [(18, "yes"), (19, "no")])
def test_a_second_recurrence_after_28_days_is_synchronous_and_after_29_is_not(day: int, answer: str) -> None:
    facts = PATIENT | {"second_recurrence_date": dt.date(2025, 12, day)}
    told = {
        entry.id: found.answer for entry, found in statements(SALVAGE.file.definitions, SALVAGE, read_record(facts))
    }
    assert told["synchronous-recurrence"] == answer


# --- volumes, doses and limits


@pytest.mark.parametrize(
    ("regions", "stations"),
    [
        (("i",), {"CTVn_I-II"}), (("ii",), {"CTVn_I-II"}), (("iii",), {"CTVn_III"}), (("iv",), {"CTVn_IV"}),
        (("iii", "iv"), {"CTVn_III", "CTVn_IV"}),
    ],
)  # fmt: skip
def test_elective_stations_follow_the_regions(regions: tuple[str, ...], stations: set[str]) -> None:
    names = {step.name for step in _of(**_in(*regions)).target_steps()}
    assert {name for name in names if name.startswith("CTVn_")} == stations


def test_the_stations_are_those_printed() -> None:
    plan = SALVAGE.file.plans[0]
    assert {step.name: step.stations.of for step in plan.targets if step.stations is not None} == {
        "CTVn_I-II": ("supraclavicular", "1", "2", "4", "7", "8U"),
        "CTVn_III": ("2", "4", "7", "8U", "8M"),
        "CTVn_8M": ("8M",), "CTVn_8Lo": ("8Lo",), "CTVn_9": ("9",),
        "CTVn_IV": ("15", "16", "17", "18", "19", "20"),
    }  # fmt: skip


@pytest.mark.parametrize(("taken", "made"), [("text", False), ("figures", True)])
def test_8m_in_regions_i_and_ii_is_the_other_reading(taken: str, made: bool) -> None:
    protocol = for_patient(SALVAGE, read_record(PATIENT), {"MS-49": taken})
    assert ("CTVn_8M" in {step.name for step in protocol.target_steps()}) is made


def _borders(*regions: str) -> tuple[set[tuple[str, float]], set[tuple[str, float]]]:
    """Upper and lower borders that count in these regions, with their offset towards the head, mm."""
    steps = {step.name: step for step in _of(**_in(*regions)).target_steps()}
    cut = steps["CTVn"].then[0]
    assert isinstance(cut, CutAt)
    told = (
        {(b.landmark or b.structure, b.above_mm) for b in counting(side, steps)}
        for side in (cut.superior, cut.inferior)
    )
    upper, lower = told
    return upper, lower


@pytest.mark.parametrize(
    ("regions", "upper", "lower"),
    [
        (("i",), {("t1-upper-margin", 0.0), ("GTV", 15.0)}, {("carina", -30.0)}),
        (("ii",), {("t1-upper-margin", 0.0), ("GTV", 15.0)}, {("carina", -30.0)}),
        (("iii",), {("clavicular-head", 0.0)}, {("carina", -20.0), ("GTV", -15.0)}),
        (("iv",), {("GTV", 15.0)}, {("coeliac-axis", 0.0), ("GTV", -15.0)}),
        (
            ("i", "iii"), {("t1-upper-margin", 0.0), ("GTV", 15.0), ("clavicular-head", 0.0)},
            {("carina", -30.0), ("carina", -20.0), ("GTV", -15.0)},
        ),
    ],
)  # fmt: skip
def test_the_borders_are_those_printed_for_the_regions(
    regions: tuple[str, ...], upper: set[tuple[str, float]], lower: set[tuple[str, float]]
) -> None:
    assert _borders(*regions) == (upper, lower)


def test_an_involved_station_below_those_listed_is_added() -> None:
    names = {step.name for step in _of(station_8lo_involved=True, **_in("iii")).target_steps()}
    assert "CTVn_8Lo" in names
    assert "CTVn_9" not in names


def test_involved_fields_have_no_elective_station() -> None:
    names = {step.name for step in _of(largest_lesion_cm=6.0, **_in("i", "ii", "iii", "iv")).target_steps()}
    assert not {name for name in names if name.startswith("CTVn")}


MARGINS = {
    "A": {"CTV_5040": (6, 30), "PTV_5040": (5, 5), "PTV_5992": (5, 5)},
    "B": {"CTV_5040": (6, 30), "PTV_5040": (5, 5), "PTV_6040": (5, 5)},
    "C": {"CTV_6000": (6, 15), "PTV_6000": (5, 5)},
    "D": {"CTV_5940": (6, 15), "PTV_5940": (5, 5)},
}


@pytest.mark.parametrize("name", MARGINS)
def test_margins_are_those_printed(name: str) -> None:
    (plan,) = [plan for plan in SALVAGE.file.plans if plan.id == name]
    made = {
        step.name: (operation.margin.left_mm, operation.margin.superior_mm)
        for step in (entry.record() for entry in plan.targets)
        for operation in step.then
        if hasattr(operation, "margin")
    }
    assert made == MARGINS[name]


DOSES = {
    ("A", None): [("PTV_5992", 59.92, 28, 1), ("PTV_5040", 50.4, 28, 1)],
    ("A", "6216"): [("PTV_6216", 62.16, 28, 1), ("PTV_5040", 50.4, 28, 1)],
    ("B", None): [("PTV_5040", 50.4, 28, 1), ("PTV_6040", 10.0, 5, 2)],
    ("B", "6x1.8"): [("PTV_5040", 50.4, 28, 1), ("PTV_6120", 10.8, 6, 2)],
    ("B", "6x2.0"): [("PTV_5040", 50.4, 28, 1), ("PTV_6240", 12.0, 6, 2)],
    ("C", None): [("PTV_6000", 60.0, 30, 1)],
    ("D", None): [("PTV_5940", 59.4, 33, 1)],
    ("D", "6120"): [("PTV_6120", 61.2, 34, 1)],
}
COURSES = pytest.mark.parametrize(("plan", "option"), DOSES)


@COURSES
def test_doses_are_those_printed(plan: str, option: str | None) -> None:
    made = with_plan(SALVAGE, plan, option).prescriptions()
    assert [(p.target, p.dose_gy, p.fractions, p.phase) for p in made] == DOSES[plan, option]


def test_no_option_is_hidden() -> None:
    told = {(plan.id, option) for plan in SALVAGE.file.plans for option in (None, *(o.id for o in plan.options))}
    assert told == set(DOSES)


@COURSES
def test_the_name_of_a_target_is_its_course_dose(plan: str, option: str | None) -> None:
    made = with_plan(SALVAGE, plan, option)
    for prescription in made.prescriptions():
        assert made.course_gy(prescription.target) == pytest.approx(int(prescription.target[-4:]) / 100)


@COURSES
def test_every_course_has_its_coverage_and_its_organ_limits(plan: str, option: str | None) -> None:
    made = with_plan(SALVAGE, plan, option)
    told = {
        (c.structure, c.metric, c.operator, round(c.limit, 4), c.priority)
        for c in made.constraints()
        if c.priority != "report"
    }
    elective = next(value for target, value, _, phase in reversed(DOSES[plan, option]) if phase == 1)
    assert told == {
        ("SpinalCord", "Max[Gy]", "<", 45.0, "hard"),
        ("Lungs-GTV", "V20Gy[%]", "<=", 28.0, "goal"),
        ("Lungs-GTV", "Mean[Gy]", "<=", 17.0, "goal"),
        ("Heart", "V40Gy[%]", "<", 30.0, "goal"),
        ("Stomach", "V40Gy[%]", "<=", 40.0, "goal"),
        ("Stomach", "D0.03cc[Gy]", "<=", round(1.05 * elective, 4), "goal"),
        *((t, "D95%[Gy]", ">=", made.course_gy(t), "goal") for t, *_ in DOSES[plan, option]),
    }


@COURSES
def test_eqd2_of_the_dose_levels_is_that_of_the_worked_examples(plan: str, option: str | None) -> None:
    sums = {"PTV": 0.0, "PGTV": 0.0}
    for dose in prescribed_doses(with_plan(SALVAGE, plan, option).file):
        assert dose.eqd2_gy is not None
        sums["PTV" if dose.target == "PTV_5040" else "PGTV"] += dose.eqd2_gy
    boosted = sums["PGTV"] + (sums["PTV"] if plan == "B" else 0.0)
    expected = {
        ("A", None): 60.62,
        ("A", "6216"): 63.30,
        ("B", None): 59.56,
        ("B", "6x1.8"): 60.18,
        ("B", "6x2.0"): 61.56,
        ("C", None): 60.0,
        ("D", None): 58.41,
        ("D", "6120"): 60.18,
    }  # fmt: skip  (WE-01, WE-02, WE-10, WE-11, WE-04)
    assert boosted == pytest.approx(expected[plan, option], abs=0.005)


def test_violating_the_cord_rejects_and_the_other_organs_ask_for_a_new_plan() -> None:
    told = {(limit.structure, limit.metric): limit.on_violation for limit in _of().file.limits}
    assert told["SpinalCord", "Max[Gy]"] == "reject"
    assert {key[0] for key, action in told.items() if action == "re-plan"} == {"Lungs-GTV", "Heart", "Stomach"}


@pytest.mark.parametrize(("volume", "due"), [(50.0, ()), (50.1, ("45-in-25",))])
def test_only_above_half_of_the_stomach_the_dose_is_reduced(volume: float, due: tuple[str, ...]) -> None:
    amendments = _of().file.amendments
    assert [(entry.structure, entry.metric) for entry in amendments] == [("Stomach", "V50Gy[%]")]
    assert tuple(entry.id for entry in amendments if entry.due(volume) == "yes") == due


@pytest.mark.parametrize(
    ("facts", "plan"),
    [({}, "A"), ({"gtv_to_stomach_cm": 0.5}, "B"), ({"largest_lesion_cm": 6.0}, "C"),
     ({"largest_lesion_cm": 6.0, "gtv_to_stomach_cm": 0.5}, "D")],
)  # fmt: skip
def test_a_plan_made_already_with_v50_above_50_percent_asks_for_45_gy_in_25_in_every_plan(
    facts: dict[str, object], plan: str
) -> None:
    """MS-76 by the record; of MS-77, V50 of exactly 50 % changes no dose."""
    for v50_percent, doses in ((50.0, None), (50.1, [("PTV_4500", 45.0, 25)])):
        record = read_record(PATIENT | facts | {"stomach_v50gy_percent": v50_percent, "stomach_v40gy_percent": 60.0})
        usual = [(p.target, p.dose_gy, p.fractions) for p in with_plan(SALVAGE, plan).prescriptions()]
        own = for_patient(SALVAGE, record)
        assert [(p.target, p.dose_gy, p.fractions) for p in own.prescriptions()] == (doses or usual)
        made = treatment(SALVAGE, record, decide(SALVAGE, record))
        assert made is not None
        (course,) = made.courses
        assert [(p.target, p.dose_gy, p.fractions) for p in course.prescriptions] == (doses or usual)
        (amendment,) = course.amendments
        if doses is None:
            assert amendment.text.startswith("if Stomach V50Gy[%] > 50 in the assessed plan: ")
            assert course.options or plan == "C"
        else:
            told = (
                "Stomach V50Gy[%] is 50.1 in the plan that was made already, > 50: PTV_4500 45 Gy in 25, in place of "
            )
            assert amendment.text.startswith(told + usual[0][0])
            assert course.title.endswith(", amended by 45-in-25")
            assert course.options == ()
        assert amendment.rules == ("MS-76", "MS-77", "MS-78")


def test_without_the_stomach_it_is_not_known_whether_the_dose_is_reduced() -> None:
    assert [entry.due(None) for entry in _of().file.amendments] == ["unknown"]


@COURSES
def test_the_reduced_course_is_45_gy_in_25_fractions_without_boost_and_comes_once(
    plan: str, option: str | None
) -> None:
    made = amended(with_plan(SALVAGE, plan, option), "45-in-25")
    assert [(p.target, p.dose_gy, p.fractions, p.phase) for p in made.prescriptions()] == [("PTV_4500", 45.0, 25, 1)]
    limits = {(c.structure, c.metric): c.limit for c in made.constraints() if c.priority != "report"}
    assert limits == {
        ("PTV_4500", "D95%[Gy]"): 45.0, ("Stomach", "D0.03cc[Gy]"): 47.25, ("SpinalCord", "Max[Gy]"): 45.0,
        ("Lungs-GTV", "V20Gy[%]"): 28.0, ("Lungs-GTV", "Mean[Gy]"): 17.0, ("Heart", "V40Gy[%]"): 30.0,
        ("Stomach", "V40Gy[%]"): 40.0,
    }  # fmt: skip
    assert made.file.amendments == ()
    with pytest.raises(ProtocolError, match="no amendment"):
        amended(made, "45-in-25")


def test_contours_that_the_trial_asks_for_are_needed_in_every_plan() -> None:
    for plan in ("A", "B", "C", "D"):
        needed = set(with_plan(SALVAGE, plan).structures_needed())
        assert {"External", "SpinalCord", "Lung_L", "Lung_R", "Heart", "Stomach"} <= needed


# --- drugs, toxicity, schedule, endpoints


def _drugs() -> dict[str, DrugEntry]:
    assert SALVAGE.file.drugs is not None
    return {drug.name: drug for regimen in SALVAGE.file.drugs.regimens for drug in (*regimen.drugs, *regimen.one_of)}


def test_both_readings_of_the_platinum_doses_are_there_and_nothing_is_ordered() -> None:
    drugs = _drugs()
    assert {name: drug.default for name, drug in drugs.items()} == {
        "paclitaxel": "lowest", "lobaplatin": "per-cycle", "nedaplatin": None,
    }  # fmt: skip
    told = {
        (name, dose.id): (dose.mg_m2, dose.per, dose.cap_mg, dose.cap_per)
        for name, drug in drugs.items()
        for dose in drug.doses
    }
    assert told == {
        ("paclitaxel", "lowest"): (135.0, "day", None, None), ("paclitaxel", "highest"): (150.0, "day", None, None),
        ("lobaplatin", "per-cycle"): (30.0, "cycle", 50.0, "cycle"),
        ("lobaplatin", "each-day-capped-each-day"): (30.0, "day", 50.0, "day"),
        ("lobaplatin", "each-day-capped-per-cycle"): (30.0, "day", 50.0, "cycle"),
        ("nedaplatin", "each-day"): (50.0, "day", None, None), ("nedaplatin", "per-cycle"): (50.0, "cycle", None, None),
    }  # fmt: skip
    assert {drug.order for drug in drugs.values()} == {"after-confirmation", "never"}


def _regimen(**facts: object) -> dict[str, str]:
    assert SALVAGE.file.drugs is not None
    values = seen(SALVAGE.file, read_record(PATIENT | facts)).values
    return {r.id: r.when.evaluate(values).answer for r in SALVAGE.file.drugs.regimens if r.when is not None}


EARLIER = {"earlier_taxane": True, "earlier_platinum": True}
AFTER = {"kps_after_radiotherapy": 70, "swallowing_after_radiotherapy": "semisolid food", "nasal_feeding": True}


@pytest.mark.parametrize(
    ("facts", "second_line"),
    [
        (EARLIER | {"last_chemotherapy_date": dt.date(2025, 5, 20)}, "yes"),
        (EARLIER | {"last_chemotherapy_date": dt.date(2025, 5, 19)}, "no"),
        ({"earlier_taxane": True, "earlier_platinum": False}, "no"),
        (EARLIER, "unknown"),
    ],
)
def test_an_early_recurrence_after_taxane_and_platinum_leaves_the_drugs_to_a_clinician(
    facts: dict[str, object], second_line: str
) -> None:
    told = _regimen(**facts)
    assert told["second-line"] == second_line
    assert told["concurrent"] == {"yes": "no", "no": "yes", "unknown": "unknown"}[second_line]


@pytest.mark.parametrize(
    ("facts", "answer"),
    [
        ({"weight_loss_after_radiotherapy_percent": 5.0}, "yes"),
        ({"weight_at_end_of_radiotherapy_kg": 60.0, "weight_after_radiotherapy_kg": 57.0}, "yes"),
        ({"weight_at_end_of_radiotherapy_kg": 60.0, "weight_after_radiotherapy_kg": 56.9}, "no"),
        ({"weight_at_end_of_radiotherapy_kg": 60.0}, "unknown"),
        ({"weight_loss_after_radiotherapy_percent": 2.0, "nasal_feeding": False}, "no"),
        ({"weight_loss_after_radiotherapy_percent": 2.0, "kps_after_radiotherapy": 60}, "no"),
        ({}, "unknown"),
    ],
)
def test_we_53_and_ms_85_consolidation_asks_for_condition_food_and_weight(
    facts: dict[str, object], answer: str
) -> None:
    assert _regimen(**(AFTER | {"earlier_taxane": False} | facts))["consolidation"] == answer


def test_we_53_a_loss_is_that_of_two_weights_and_one_that_differs_from_it_is_refused() -> None:
    weights = {"weight_at_end_of_radiotherapy_kg": 60.0, "weight_after_radiotherapy_kg": 56.9}
    values = seen(SALVAGE.file, read_record(weights)).values
    assert values["weight_loss_after_radiotherapy_percent"] == pytest.approx(5.17, abs=5e-3)
    seen(SALVAGE.file, read_record(weights | {"weight_loss_after_radiotherapy_percent": 5.2}))
    with pytest.raises(InputError, match="facts contradict each other"):
        seen(SALVAGE.file, read_record(weights | {"weight_loss_after_radiotherapy_percent": 5.0}))


WELL = {
    "haematological_grade": 0, "hepatic_grade": 0, "renal_grade": 0, "other_non_haematological_grade": 0,
    "radiation_pneumonitis_grade": 0, "toxicity_recovered": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "action"),
    [
        ({}, None), ({"haematological_grade": 2}, None), ({"toxicity_recovered": False}, "hold-cycle"),
        ({"haematological_grade": 3}, "reduce-dose"), ({"haematological_grade": 4}, "stop-chemotherapy"),
        ({"hepatic_grade": 1}, None), ({"hepatic_grade": 2}, "stop-chemotherapy"),
        ({"renal_grade": 3}, "stop-chemotherapy"), ({"other_non_haematological_grade": 2}, None),
        ({"other_non_haematological_grade": 3}, "stop-chemotherapy"),
        ({"radiation_pneumonitis_grade": 2}, None), ({"radiation_pneumonitis_grade": 3}, "stop-all"),
        ({"haematological_grade": 3, "toxicity_recovered": False}, "hold-cycle"),
        ({"haematological_grade": 4, "radiation_pneumonitis_grade": 4}, "stop-all"),
    ],
)  # fmt: skip
def test_the_most_severe_action_wins(facts: dict[str, object], action: str | None) -> None:
    found = modification(SALVAGE.file.modifications, WELL | facts)
    assert found.missing == ()
    assert (found.entry.action if found.entry else None) == action


def test_grade_3_haematological_leaves_80_percent_of_every_drug() -> None:
    (entry,) = [entry for entry in SALVAGE.file.modifications if entry.action == "reduce-dose"]
    assert entry.dose_factor is not None
    assert 216 * entry.dose_factor == pytest.approx(172.8)  # WE-52


def test_an_unknown_grade_that_could_be_worse_is_asked() -> None:
    found = modification(SALVAGE.file.modifications, WELL | {"haematological_grade": 3, "hepatic_grade": None})
    assert found.entry is not None
    assert (found.entry.action, found.missing) == ("reduce-dose", ("hepatic_grade",))
    settled = {"radiation_pneumonitis_grade": 3, "hepatic_grade": None}
    assert modification(SALVAGE.file.modifications, WELL | settled).missing == ()


# WE-46; plan B counts what the boost's volume gets in the first phase.
@pytest.mark.parametrize(
    ("plan", "fraction", "strength"),
    [("A", 24, "offered"), ("B", 28, "offered"), ("C", 25, "required"), ("D", 28, "required")],
)
def test_we_46_the_new_ct_is_due_at_the_fraction_that_reaches_50_gy(plan: str, fraction: int, strength: str) -> None:
    made = with_plan(SALVAGE, plan)
    (entry,) = made.file.adaptations
    assert (fraction_of_course(made.file.prescriptions, entry.target, entry.at_gy), entry.strength) == (
        fraction, strength,
    )  # fmt: skip


def test_follow_up_is_eight_visits_in_two_years_six_in_three_and_one_a_year_after() -> None:
    follow_up = SALVAGE.file.follow_up
    assert follow_up is not None
    # WE-47, and two years more
    assert visit_months(follow_up, 84) == (3, 6, 9, 12, 15, 18, 21, 24, 30, 36, 42, 48, 54, 60, 72, 84)
    assert {"quality of life", "nutrition"} <= {entry.what for entry in follow_up.at_each_visit}
    assert follow_up.response is not None
    assert (follow_up.response.criteria, follow_up.response.to_month) == ("RECIST 1.1", 2.0)


def test_a_serious_event_is_reported_within_a_day() -> None:
    safety = SALVAGE.file.safety
    assert safety is not None
    assert (safety.report_to, safety.within_hours) == ("ethics committee", 24.0)
    told = serious_event(safety, dt.date(2026, 1, 1))
    assert (told.first_day, told.last_day) == (dt.date(2026, 1, 1), dt.date(2026, 1, 2))
    assert "Within 24 hours" in told.text


def test_the_design_has_the_printed_numbers() -> None:
    design = SALVAGE.file.design
    assert design is not None
    assert [(arm.patients, arm.null_proportion, arm.assumed_proportion) for arm in design.arms] == [
        (83, 0.55, 0.70), (199, 0.50, 0.60),
    ]  # fmt: skip
    assert sum(arm.patients for arm in design.arms) == 282  # WE-45
    assert (design.enrolled, design.alpha, design.power, design.two_sided) == ((282, 300), 0.05, 0.80, True)


def _smallest(null: float, assumed: float, alpha: float, power: float) -> int:
    from scipy.stats import binom

    for n in range(2, 400):
        at_most, at_least = binom.ppf(alpha / 2, n, null), binom.isf(alpha / 2, n, null)
        low = at_most if binom.cdf(at_most, n, null) <= alpha / 2 else at_most - 1
        high = at_least + 1 if binom.sf(at_least, n, null) <= alpha / 2 else at_least + 2
        if binom.cdf(low, n, assumed) + binom.sf(high - 1, n, assumed) >= power:
            return n
    raise AssertionError("no number of patients is enough")


def test_the_design_is_that_of_an_exact_binomial_test() -> None:
    design = SALVAGE.file.design
    assert design is not None
    for arm in design.arms:  # WE-38, WE-39
        found = _smallest(arm.null_proportion, arm.assumed_proportion, design.alpha, design.power)
        assert found == arm.patients


def test_the_design_is_told_with_what_its_own_test_asks_for_and_what_approximations_would() -> None:
    assert SALVAGE.file.design is not None
    told = {part.name: part for part in design_in_words(SALVAGE.file.design)}
    for arm, says in (
        ("elective nodal irradiation", "83, power 0.8069, true alpha 0.0465"),  # WE-38
        ("involved-field irradiation", "199, power 0.8037, true alpha 0.0469"),  # WE-39
    ):
        assert says in told[arm].text
        assert "NOT the number" not in told[arm].text
    assert "enough from 210" in told["involved-field irradiation"].text
    assert told["normal approximation"].text == "83 and 194 patients: not the numbers of the protocol"  # WE-40
    assert told["arcsine"].text.startswith("81 and 194 patients")  # WE-41
    assert told["enrolled"].text == "282 to 300 with losses"  # WE-45
    assert "MS-111" in told["arcsine"].rules
    wrong = SALVAGE.file.design.model_copy(
        update={"arms": tuple(arm.model_copy(update={"patients": 84}) for arm in SALVAGE.file.design.arms)}
    )
    assert next(iter(design_in_words(wrong))).text.endswith("NOT the number of the protocol")


def test_survival_is_counted_from_the_start_of_salvage_chemoradiation() -> None:
    times = [entry for entry in SALVAGE.file.endpoints if entry.at_years]
    assert [(entry.name, entry.kind, entry.at_years) for entry in times] == [
        ("overall survival", "primary", (1, 2, 3)), ("progression-free survival", "secondary", (1, 2, 3)),
    ]  # fmt: skip
    assert {entry.counted_from for entry in times} == {"start of salvage chemoradiation"}

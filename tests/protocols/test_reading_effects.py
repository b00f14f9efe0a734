"""What another reading would change is told in words, of this patient's course alone."""

from __future__ import annotations

import datetime as dt
import io

import pytest
from rich.console import Console

from tailort.cli.decide_text import show
from tailort.patient import Fact
from tailort.protocols import Decision, decide, load, read_record
from tailort.protocols.reading_effects import with_effects
from tailort.protocols.treatment import treatment

TODAY = dt.date(2026, 1, 20)
SALVAGE = {
    "tumour_site": "thoracic oesophagus", "histology": "squamous cell carcinoma", "salvage_surgery_possible": False,
    "surgery": "R0", "locoregional_recurrence": True, "adjuvant_therapy": "none", "therapy_after_recurrence": False,
    "prior_radiotherapy": False, "age_years": 61, "kps": 80, "white_cells_10e9_per_l": 6.1,
    "neutrophils_10e9_per_l": 3.0, "platelets_10e9_per_l": 210, "haemoglobin_g_per_l": 128, "bilirubin_times_uln": 0.6,
    "ast_times_uln": 0.8, "alt_times_uln": 0.7, "creatinine_clearance_ml_per_min": 85,
    "other_malignancy_within_5_years": False, "pregnant_or_breastfeeding": False, "drug_allergy": "none",
    "consent": True, "non_regional_nodes": False, "distant_metastasis": False, "severe_cardiovascular_disease": False,
    "infection": False, "active_ulceration": False, "diabetes_with_unstable_glucose": False, "mental_disorder": False,
    "surgery_date": dt.date(2025, 1, 15), "recurrence_date": dt.date(2025, 11, 20), "largest_lesion_cm": 3.0,
    "region_i_involved": False, "region_ii_involved": True, "region_iii_involved": False, "region_iv_involved": False,
    "station_8lo_involved": False, "station_9_involved": False, "gtv_to_stomach_cm": 4.0,
    "intolerant_of_simultaneous_boost": False,
}  # fmt: skip


def _facts(**facts: object) -> dict[str, Fact]:
    return read_record(SALVAGE | facts)


def _told(facts: dict[str, Fact], protocol: str = "salvage-crt") -> Decision:
    loaded = load(protocol)
    decision = decide(loaded, facts, {}, TODAY)
    made = treatment(loaded, facts, decision, readings={}, today=TODAY)
    return with_effects(loaded, facts, decision, made, {}, TODAY)


def _effects(decision: Decision, rule: str, name: str) -> tuple[str, ...]:
    default = next(one for one in decision.defaults if one.rule == rule)
    other = next(one for one in default.others or () if one.name == name)
    assert other.effects is not None
    return other.effects


@pytest.mark.parametrize(
    ("facts", "was", "now"),
    [
        ({}, "52.92 Gy (105 % of PTV_5040)", "62.916 Gy (105 % of PTV_5992)"),
        ({"gtv_to_stomach_cm": 0.5}, "52.92 Gy (105 % of PTV_5040)", "63.42 Gy (105 % of PTV_6040)"),
    ],
)
def test_another_number_of_a_limit_is_told_beside_the_one_that_holds(
    facts: dict[str, object], was: str, now: str
) -> None:
    told = _effects(_told(_facts(**facts)), "MS-75", "highest")
    assert told == (f"Stomach D0.03cc at most {now} instead of at most {was}",)


def test_what_changes_in_other_plans_only_changes_nothing_here_and_stays_in_the_machine_output() -> None:
    decision = _told(_facts(largest_lesion_cm=6.0))
    assert _effects(decision, "MS-75", "highest") == ()
    entry = next(one for one in decision.as_dict()["ambiguous_defaults"] if one["rule"] == "MS-75")
    (other,) = entry["other_readings"]
    assert other["for_this_patient"] == []
    assert any("plans.0" in change for change in other["changes"])


def test_a_structure_that_would_be_made_as_well_is_told() -> None:
    assert _effects(_told(_facts()), "MS-49", "figures") == (
        "CTVn_8M as well: station 8M as drawn, else constructed with 8 mm",
    )


def test_a_limit_that_moves_from_one_structure_to_another_is_told_of_both() -> None:
    told = _effects(_told(_facts()), "MS-79", "whole")
    assert "Lungs-GTV V20Gy at most 28 % is only reported instead of a goal" in told
    assert "Lungs V20Gy at most 28 % is a goal instead of only reported" in told


def test_another_plan_and_what_leaves_it_open_are_told_and_no_limits_of_it() -> None:
    told = _effects(_told(_facts(largest_lesion_cm=5.0)), "MS-31", "from-5-cm")
    assert told == ("irradiation: IFI instead of ENI", "plan: C instead of A")
    assert any("recurrence_proof_date" in text for text in _effects(_told(_facts()), "MS-34", "proof"))


def test_a_patient_whom_another_reading_refuses_is_told_by_which_rule() -> None:
    assert _effects(_told(_facts(kps=70)), "MS-07", "registry") == ("admitted: no instead of yes, by MS-07",)


def test_of_a_file_that_proposes_modifiers_are_told() -> None:
    decision = _told(read_record({"fmiso_tumour_to_blood": 1.3}), "individualised")
    assert _effects(decision, "ID-01", "1.2") == (
        "modifier hypoxic-subvolume: for this patient instead of not for this patient",
    )


def test_the_page_tells_no_place_in_the_file_and_no_reading_without_effect() -> None:
    facts = _facts(largest_lesion_cm=6.0)
    page = Console(file=io.StringIO(), width=400, markup=False)
    show(page, _told(facts), None, everything=False)
    assert isinstance(page.file, io.StringIO)
    text = page.file.getvalue()
    assert not [word for word in ("plans.", "limits.", "becomes", "MS-75=highest") if word in text]
    assert "MS-79=whole" in text

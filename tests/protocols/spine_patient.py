"""A patient of the protocol reirradiation-spine, and what the protocol says of her."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import cache
from typing import Any

from tailort.protocols import Decision, Protocol, decide, for_patient, load, read_record
from tailort.protocols.decision import Deciding, Stratum
from tailort.protocols.plans import statements

SPINE = load("reirradiation-spine")
PATIENT: dict[str, Any] = {
    "age_years": 61, "kps": 80, "ecog": 1, "frankel_grade": "E", "mescc": True, "mescc_date": dt.date(2026, 1, 5),
    "target_vertebrae": ["VB_T05"], "target_region": "thoracic", "expected_survival_months": 6,
    "multidisciplinary_decision": True, "prior_radiotherapy": True, "prior_radiotherapy_at_target": True,
    "prior_radiotherapy_technique": "conventional external beam", "prior_radiotherapy_courses": 1,
    "prior_radiotherapy_dose_gy": 60, "prior_radiotherapy_fractions": 30,
    "prior_radiotherapy_last_date": dt.date(2025, 5, 5), "prior_cord_bed_gy": 110, "prior_sbrt_at_target": False,
    "prior_surgery_at_target": False, "radiotherapy_start_date": dt.date(2026, 1, 19), "bilsky_grade": "1b",
    "sins_location": "semirigid", "sins_pain": "occasional", "sins_bone_lesion": "mixed", "sins_alignment": "normal",
    "sins_collapse": "none-body-above-half", "sins_posterolateral": "unilateral", "surgery_possible": True,
    "surgery_done": "none", "metal_at_target": False, "circumferential_epidural": False,
}  # fmt: skip
SINS_PARTS = tuple(name for name in PATIENT if name.startswith("sins_"))
SBRT, DECOMPRESS, STABILISE = "sbrt-alone", "decompression-then-sbrt", "stabilisation-then-sbrt"
BOTH = "decompression-and-stabilisation-then-sbrt"


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in PATIENT.items() if name not in names}


def scored(score: int | None, **facts: Any) -> dict[str, Any]:
    return without(*SINS_PARTS) | ({} if score is None else {"sins_score": score}) | facts


def decided(facts: Mapping[str, Any], **readings: str) -> Decision:
    return decide(SPINE, read_record(dict(facts)), {rule.replace("_", "-"): name for rule, name in readings.items()})


@cache
def _deciding(readings: tuple[tuple[str, str], ...]) -> Deciding:
    return Deciding.of(SPINE, dict(readings))


def stratum(facts: Mapping[str, Any], table: str, **readings: str) -> Stratum:
    named = tuple((rule.replace("_", "-"), name) for rule, name in readings.items())
    decision = _deciding(named).decide(read_record(dict(facts)), "answers")
    return next(one for one in decision.strata if one.table == table)


def told(facts: Mapping[str, Any], table: str, **readings: str) -> str | None:
    found = stratum(facts, table, **readings)
    return None if found.is_open else found.outcome


def missing_for(facts: Mapping[str, Any], table: str, **readings: str) -> set[str]:
    return set(stratum(facts, table, **readings).missing)


def flags(facts: Mapping[str, Any], **readings: str) -> set[str]:
    named = {rule.replace("_", "-"): name for rule, name in readings.items()}
    found = statements(SPINE.file.flags, SPINE, read_record(dict(facts)), named)
    return {entry.id for entry, finding in found if finding.answer == "yes"}


def own(facts: Mapping[str, Any], **readings: str) -> Protocol:
    named = {rule.replace("_", "-"): name for rule, name in readings.items()}
    return for_patient(SPINE, read_record(dict(facts)), named)

"""The protocol reirradiation-spine: whom it admits, which path it chooses, its dose and its recipe by the record."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from spine_patient import (
    BOTH,
    DECOMPRESS,
    PATIENT,
    SBRT,
    SPINE,
    STABILISE,
    decided,
    flags,
    missing_for,
    own,
    scored,
    stratum,
    told,
    without,
)

from tailort.cli.decide_commands import decide_record
from tailort.errors import InputError, NotEligibleError, ProtocolError, UndecidedError
from tailort.geometry import Margin
from tailort.protocols import for_patient, parse, read_record
from tailort.protocols.known import known_facts
from tailort.targets import Expand, Subtract
from tailort.targets.sectors import SpreadToSectors

# The rules


@pytest.mark.parametrize(
    ("numbers", "mark"),
    [
        ([1, 2, 3, 4, 5, 7, 8, 10, 11, 12, 14, 15, 30, 40, 41, 42, 43, 50, 51, 53, 54, 55, 57, 80, 87, 90, 91, 100,
          101, 102, 106, 107, 108], "seed"),
        ([6, 13, 27, 56, 64, 68, 82, 85, 88, 89, 92, 94, 104, 105], "ambiguous"),
        ([16, 28, 52, 81, 83, 84, 86, 93, 95], "derived"),
        ([20, 21, 22, 23, 24, 25, 26, 58, 63, 65, 66, 67, 69], "lit-verified"),
        ([60, 61, 62, 70, 71, 103], "lit-recalled"),
    ],
)  # fmt: skip
def test_every_rule_of_the_study_is_there_with_its_mark(numbers: list[int], mark: str) -> None:
    marks = {rule.id: rule.mark for rule in SPINE.rules}
    assert {marks[f"KO-{n:02d}"] for n in numbers} == {mark}


def test_inconsistencies_of_the_study_are_told_and_not_executed() -> None:
    told_only = {entry.rule for entry in SPINE.file.not_executed or () if not entry.part}
    assert {f"KO-{n}" for n in range(110, 116)} <= told_only
    assert SPINE.status == "needs-clinician-confirmation"


def test_no_fact_is_asked_without_a_rule() -> None:
    assert [fact.name for fact in SPINE.file.facts if not fact.rules] == []


# Eligibility


def test_a_patient_who_meets_everything_is_admitted() -> None:
    found = decided(PATIENT)
    assert (found.answer, found.missing, found.missing_everywhere) == ("yes", (), ())


@pytest.mark.parametrize(
    ("facts", "rule", "answer"),
    [
        ({"prior_radiotherapy_technique": "SBRT"}, "KO-01", "no"),
        ({"prior_radiotherapy_at_target": False}, "KO-01", "no"),
        # Six calendar months to the day are not more than six months.
        ({"radiotherapy_start_date": dt.date(2025, 11, 5), "mescc_date": dt.date(2025, 11, 1)}, "KO-01", "no"),
        ({"radiotherapy_start_date": dt.date(2025, 11, 6), "mescc_date": dt.date(2025, 11, 1)}, "KO-01", "yes"),
        ({"mescc": False}, "KO-02", "no"),
        ({"expected_survival_months": 2.9}, "KO-03", "no"), ({"expected_survival_months": 3}, "KO-03", "yes"),
        ({"prior_sbrt_at_target": True}, "KO-05", "no"), ({"prior_surgery_at_target": True}, "KO-05", "no"),
        ({"multidisciplinary_decision": False}, "KO-08", "no"),
    ],
)  # fmt: skip
def test_each_criterion_has_its_printed_operator(facts: dict[str, Any], rule: str, answer: str) -> None:
    found = decided(PATIENT | facts)
    assert found.answer == answer
    assert found.failed_rules == (() if answer == "yes" else (rule,))


def test_ko_06_the_interval_may_end_with_the_diagnosis() -> None:
    early = PATIENT | {"mescc_date": dt.date(2025, 10, 1)}
    assert decided(early).answer == "yes"
    assert decided(early, KO_06="to_diagnosis").answer == "no"
    assert decided(without("radiotherapy_start_date")).missing == ("radiotherapy_start_date",)
    assert decided(without("radiotherapy_start_date"), KO_06="to_diagnosis").answer == "yes"


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"radiotherapy_start_date": dt.date(2025, 5, 5)}, "does not begin before the earlier course has ended"),
        ({"radiotherapy_start_date": dt.date(2026, 1, 4)}, "does not begin before its diagnosis"),
        ({"prior_radiotherapy": False}, "without earlier radiotherapy"),
        ({"surgery_possible": False, "surgery_done": "decompression"}, "surgery that was done was possible"),
        ({"target_region": "cervical"}, "a cervical level is junctional or mobile"),
        ({"sins_location": "mobile"}, "a thoracic level is junctional or semirigid"),
        ({"sins_score": 7}, "'sins_score' is 7, but 5 follows from sins_location"),
        ({"prior_prescription_bed_gy": 100}, "is 100, but 120 follows from prior_radiotherapy_dose_gy"),
        ({"bilsky_grade": "1"}, "expected one of 0, 1a, 1b, 1c, 2, 3"),
        ({"sins_score": 19}, "0 to 18"), ({"kps": 75}, "a multiple of 10"), ({"age_years": 130}, "0 to 120"),
        ({"prior_radiotherapy_dose_gy": 201}, "0 to 200"), ({"target_vertebrae": 5}, "a list of texts"),
    ],
)  # fmt: skip
def test_what_cannot_be_true_is_bad_input(facts: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        decided(PATIENT | facts)


# The path


@pytest.mark.parametrize(
    ("bilsky", "sins", "possible", "path"),
    [
        ("0", 8, True, SBRT), ("1a", 0, False, SBRT), ("1b", 8, None, SBRT),
        ("1c", 8, True, DECOMPRESS), ("2", 0, True, DECOMPRESS), ("3", 8, True, DECOMPRESS),
        ("0", 9, True, STABILISE), ("1b", 18, True, STABILISE),
        ("1c", 9, True, BOTH), ("3", 15, True, BOTH),
        ("1c", 8, False, SBRT), ("1a", 9, False, SBRT), ("3", 18, False, SBRT),
        (None, 8, True, None), ("1a", None, True, None), ("1c", None, None, None), ("2", 4, None, None),
        (None, 5, False, None),
    ],
)  # fmt: skip
def test_each_branch_of_the_algorithm_leads_to_its_path(
    bilsky: str | None, sins: int | None, possible: bool | None, path: str | None
) -> None:
    facts = scored(sins, bilsky_grade=bilsky, surgery_possible=possible)
    assert told(facts, "path") == path


def test_ko_13_both_criteria_may_be_read_as_one_of_them() -> None:
    facts = scored(12, bilsky_grade="2")
    assert told(facts, "path", KO_13="decompression") == DECOMPRESS
    assert told(facts, "path", KO_13="stabilisation") == STABILISE
    changed = next(one for one in decided(facts).defaults if one.rule == "KO-13").others
    assert changed is not None
    assert any(f"path: {BOTH} becomes {DECOMPRESS}" in change for other in changed for change in other.changes)


def test_ko_14_surgery_that_is_not_possible_is_flagged() -> None:
    facts = scored(9, surgery_possible=False)
    assert {"surgery-not-possible", "surgical-consultation"} <= flags(facts)
    assert not flags(PATIENT) & {"surgery-not-possible", "surgical-consultation"}


def test_ko_16_performance_and_frankel_grade_choose_nothing() -> None:
    for facts in ({"ecog": 4, "frankel_grade": "A", "kps": 40}, dict.fromkeys(("ecog", "frankel_grade", "kps"))):
        assert told(PATIENT | facts, "path") == SBRT
        assert decided(PATIENT | facts).answer == "yes"


def sins_of(**parts: str) -> object:
    return known_facts(SPINE.file, read_record(PATIENT | parts))["sins_score"].value


def test_we_90_sins_of_a_stable_thoracic_vertebra_follows_from_its_parts() -> None:
    assert sins_of() == 5
    assert told(PATIENT, "sins_class") == "stable"


def test_we_91_sins_of_an_unstable_junction_follows_from_its_parts() -> None:
    parts = {
        "sins_location": "junctional", "sins_pain": "mechanical", "sins_bone_lesion": "lytic",
        "sins_alignment": "deformity", "sins_collapse": "below-half", "sins_posterolateral": "bilateral",
    }  # fmt: skip
    assert sins_of(**parts) == 15
    junction = PATIENT | parts | {"target_region": "cervicothoracic"}
    assert told(junction, "sins_class") == "unstable"
    assert told(junction, "path") == STABILISE


@pytest.mark.parametrize(
    ("score", "published"),
    [(6, "stable"), (7, "potentially-unstable"), (12, "potentially-unstable"), (13, "unstable")],
)
def test_ko_26_published_classes_change_at_7_and_13(score: int, published: str) -> None:
    assert told(scored(score), "sins_class") == published


def test_ko_27_a_collapse_of_exactly_half_may_have_two_points() -> None:
    # 1 + 3 + 2 + 0 + 3 + 0 is 9 points.
    half = {
        "sins_pain": "mechanical",
        "sins_bone_lesion": "lytic",
        "sins_collapse": "half",
        "sins_posterolateral": "none",
    }
    assert told(PATIENT | half, "path") == STABILISE
    assert told(PATIENT | half, "path", KO_27="two_points") == SBRT
    above = PATIENT | half | {"sins_collapse": "above-half"}
    assert told(above, "path", KO_27="two_points") == STABILISE
    assert told(scored(7, sins_collapse="half"), "sins_class", KO_27="two_points") == "stable"


def test_a_missing_part_of_the_score_leaves_the_path_open() -> None:
    facts = without("sins_pain")
    assert told(facts, "path") is None
    assert missing_for(facts, "path") == {"sins_score"}


# The cohort and the plan


@pytest.mark.parametrize(
    ("facts", "cohort"),
    [
        ({}, "inside"),
        # EQD2 of exactly 50 Gy, alpha/beta 2 Gy, and a little less.
        ({"prior_radiotherapy_dose_gy": 50, "prior_radiotherapy_fractions": 25}, "inside"),
        ({"prior_radiotherapy_dose_gy": 50.4, "prior_radiotherapy_fractions": 28}, "outside"),
        ({"target_region": "lumbar"}, "outside"), ({"target_region": "cervicothoracic"}, "inside"),
    ],
)  # fmt: skip
def test_ko_04_the_cohort_is_told_and_does_not_exclude(facts: dict[str, Any], cohort: str) -> None:
    assert told(PATIENT | facts, "cohort") == cohort
    assert decided(PATIENT | facts).answer == "yes"


@pytest.mark.parametrize(
    ("facts", "plan"),
    [
        (PATIENT, "intact"),
        (scored(3, bilsky_grade="1c", surgery_possible=False), "intact"),
        (scored(3, bilsky_grade="2"), None),
        (scored(3, bilsky_grade="2", surgery_done="decompression"), "after-surgery"),
        (scored(3, bilsky_grade="2", surgery_done="stabilisation"), None),
        (scored(9, surgery_done="stabilisation"), "after-surgery"),
        (scored(9, surgery_done="decompression and stabilisation"), "after-surgery"),
        (scored(9, bilsky_grade="3", surgery_done="decompression"), None),
        (scored(9, bilsky_grade="3", surgery_done="decompression and stabilisation"), "after-surgery"),
        (PATIENT | {"surgery_done": "stabilisation"}, "after-surgery"),
    ],
)
def test_sbrt_is_planned_once_the_surgery_of_the_path_was_done(facts: dict[str, Any], plan: str | None) -> None:
    found = stratum(facts, "plan")
    assert (found.is_open, found.outcome) == (False, plan)
    if plan is None:
        with pytest.raises(NotEligibleError):
            own(facts)


def test_without_word_of_surgery_nothing_is_planned() -> None:
    with pytest.raises(UndecidedError) as found:
        own(without("surgery_done"))
    assert found.value.missing == ("surgery_done",)


def test_who_has_no_plan_is_told_the_path() -> None:
    decision = decided(scored(3, bilsky_grade="2"))
    assert (decision.answer, decision.stopped) == ("yes", True)
    with pytest.raises(NotEligibleError, match=r"no plan for this patient.*path is decompression-then-sbrt"):
        decision.require_outcome("plan")


@pytest.mark.parametrize(("grade", "status"), [("1a", 0), ("2", 5), (None, 4)])
def test_who_is_admitted_and_has_no_plan_is_stopped_as_planning_would_be(
    tmp_path: Path, grade: str | None, status: int
) -> None:
    with (tmp_path / "record.yaml").open("w", encoding="utf-8") as stream:
        YAML().dump(scored(3, bilsky_grade=grade), stream)
    told = decide_record(tmp_path / "record.yaml", "reirradiation-spine", today=dt.date(2026, 1, 19))
    assert (told.decision.answer, told.exit_status) == ("yes", status)


def test_the_protocol_does_not_stop_while_facts_could_still_give_a_plan() -> None:
    assert not decided(PATIENT).stopped
    assert not decided(without("surgery_done")).stopped
    assert not decided(scored(3, bilsky_grade=None)).stopped
    assert decided(PATIENT | {"mescc": False}).stopped


# The dose and the recipe


def test_ko_55_to_57_24_gy_in_2_fractions_to_ptv_eval_by_arcs_of_10_mv_fff() -> None:
    protocol = own(PATIENT)
    (prescribed,) = protocol.prescriptions()
    assert (prescribed.target, prescribed.dose_gy, prescribed.fractions) == ("PTV_Eval", 24, 2)
    assert (protocol.technique.kind, protocol.technique.machine) == ("vmat", "generic-10MV-FFF")
    coverage = [c for c in protocol.constraints() if c.structure == "PTV_Eval" and c.operator == ">="]
    assert [(c.metric, c.limit, c.priority) for c in coverage] == [("D95%[Gy]", 24, "goal")]


def operation(facts: Mapping[str, Any], **readings: str) -> SpreadToSectors:
    (step,) = [step for step in own(facts, **readings).target_steps() if step.name == "CTV_2400"]
    (found,) = step.then
    assert isinstance(found, SpreadToSectors)
    return found


def test_ko_54_margins_are_those_printed() -> None:
    steps = {step.name: step for step in own(PATIENT).target_steps()}
    assert steps["PTV_2400"].then == (Expand(Margin.uniform(2.0)),)
    assert steps["SpinalCord_PRV"].then == (Expand(Margin.uniform(1.5)),)
    assert (steps["PTV_Eval"].of, steps["PTV_Eval"].then) == (("PTV_2400",), (Subtract(("SpinalCord_PRV",)),))


def test_targets_and_margins_of_the_protocol_replace_what_is_drawn_under_their_names() -> None:
    # Organs that are made of their sides are taken as drawn where they are.
    of_sides = {"Lungs", "Bronchus_Main"}
    assert {step.existing for step in own(PATIENT).target_steps() if step.name not in of_sides} == {"replace"}


def test_ko_68_the_ring_is_the_default_and_the_table_a_reading() -> None:
    assert operation(PATIENT).rule == "ring"
    extent = PATIENT | {"body_extent": "diffuse"}
    table = operation(extent, KO_68="isrc_2012")
    assert (table.rule, table.body_extent, table.spinous_with_both_pedicles) == ("isrc_2012", "diffuse", False)
    assert operation(extent, KO_68="isrc_2012", KO_64="with_spinous").spinous_with_both_pedicles


def test_the_recipe_knows_the_levels_and_the_sectors_of_the_record() -> None:
    found = operation(PATIENT | {"target_vertebrae": ["VB_T05", "VB_T06"], "involved_sectors": ["VB_T06^SP"]})
    assert (found.levels, found.involved) == (("VB_T05", "VB_T06"), ("VB_T06^SP",))
    assert operation(without("target_vertebrae")).levels is None


def test_ko_69_epidural_disease_all_round_the_cord_takes_every_sector_and_is_asked_for() -> None:
    assert operation(PATIENT | {"circumferential_epidural": True}).rule == "all"
    with pytest.raises(UndecidedError, match="circumferential_epidural"):
        own(without("circumferential_epidural"))


def test_ko_70_after_surgery_the_extent_before_it_is_the_start() -> None:
    facts = PATIENT | {"surgery_done": "decompression"}
    (step,) = [step for step in own(facts).target_steps() if step.name == "CTV_2400"]
    assert (step.of, step.if_drawn) == (("GTV_Preop",), ("GTV",))
    assert operation(facts).after_surgery
    assert operation(facts, KO_68="isrc_2012").rule == "ring"


# The images


def imaging(facts: Mapping[str, Any]) -> dict[str, str]:
    assert SPINE.file.imaging is not None
    values = {name: fact.value for name, fact in read_record(dict(facts)).items()}
    out: dict[str, str] = {}
    for entry in SPINE.file.imaging.facts:
        if entry.when is None or entry.when.evaluate(values).answer == "yes":
            out[entry.text] = entry.holds.evaluate(values).answer
    return out


def test_ko_42_the_cord_comes_from_t2_mr_or_with_metal_from_a_myelogram() -> None:
    mr = imaging(PATIENT | {"cord_contoured_on": "T2 MR"})
    assert mr["Cord contoured on T2 MR"] == "yes"
    metal = PATIENT | {"metal_at_target": True, "cord_contoured_on": "T2 MR"}
    myelogram = "Cord contoured on a CT myelogram, iohexol 240 given 2 h before the CT"
    assert imaging(metal)[myelogram] == "no"
    given = {"cord_contoured_on": "CT myelogram", "myelogram_contrast_medium": "iohexol 240"}
    assert imaging(metal | given)[myelogram] == "unknown"
    assert imaging(metal | given | {"myelogram_hours_before_ct": 2})[myelogram] == "yes"


@pytest.mark.parametrize(
    ("region", "held", "answer"),
    [("cervical", "vacuum bag", "no"), ("cervical", "thermoplastic mask", "yes"), ("thoracic", "vacuum bag", "yes"),
     ("thoracic", "none", "no")],
)  # fmt: skip
def test_ko_40_the_patient_is_held_by_level(region: str, held: str, answer: str) -> None:
    facts = {"target_region": region, "immobilisation": held}
    text = "Thermoplastic mask at cervical and cervicothoracic, vacuum bag or mask at thoracic level"
    assert imaging(facts)[text] == answer


# Files


BROKEN = """
id: broken
version: "1"
title: Broken
rules: [{id: A, text: a, source: s, mark: seed}]
facts:
  - {name: dose, type: number, unit: Gy}
  - {name: n, type: integer}
  - {name: grade, type: choice, choices: [a, b]}
  - {name: made, type: number, COMPUTED}
tables:
  - {name: t, rows: [{when: {fact: dose, operator: ">", value: 1}, outcome: "OUTCOME"}], otherwise: "2.5"}
targets:
  - {name: CTV, role: CTV, of: [GTV], then: [{sectors: {by: ring, levels_from: LEVELS}}]}
normalisation: {coverage: "D95%[Gy]"}
prescriptions: [{target: CTV, dose_gy: 24, fractions: 2}]
technique: {kind: vmat, arcs: 2}
table_limits:
  - {structure: Cord, metric: "Max[Gy]", operator: "<=", table: TABLE, priority: hard}
"""
WHOLE = {"COMPUTED": "computed: {bed: {dose_gy: dose, fractions: n, alpha_beta_gy: 2}}", "OUTCOME": "1.5",
         "LEVELS": "grade", "TABLE": "t"}  # fmt: skip


def file_with(**changed: str) -> str:
    text = BROKEN
    for key, value in (WHOLE | changed).items():
        text = text.replace(key, value)
    return text


def test_a_file_with_computed_facts_and_limits_of_tables_is_read() -> None:
    protocol = parse(file_with(), "whole.yaml")
    limits = for_patient(protocol, read_record({"dose": 2, "grade": "a"})).constraints()
    assert [(c.structure, c.limit) for c in limits] == [("Cord", 1.5)]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"COMPUTED": "computed: {bed: {dose_gy: absent, fractions: n, alpha_beta_gy: 2}}"}, "computed from 'absent'"),
        ({"COMPUTED": "computed: {bed: {dose_gy: grade, fractions: n, alpha_beta_gy: 2}}"}, "computed from numbers"),
        ({"COMPUTED": "computed: {points: [{fact: grade, points: {a: 1}}]}"}, "points for each of its choices: a, b"),
        ({"COMPUTED": "computed: {}"}, "a computed fact has one of"),
        ({"OUTCOME": "much"}, "'much', which the table 't' can give, is no number"),
        ({"TABLE": "other"}, "no decision table 'other'"),
        ({"LEVELS": "absent"}, "fact 'absent' is not among"),
    ],
)  # fmt: skip
def test_a_faulty_file_is_refused_with_its_place(changed: dict[str, str], says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        parse(file_with(**changed), "faulty.yaml")

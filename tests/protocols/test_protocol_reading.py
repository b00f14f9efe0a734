"""A protocol file is either right as a whole, or refused with its file, line and place."""

from __future__ import annotations

from pathlib import Path

import pytest
from protocol_faults import told_of

from tailort.errors import InputError, ProtocolError
from tailort.protocols import available, describe, load, load_record, parse, read_record

SMALL = """\
id: own
version: "1"
title: Own protocol
rules:
  - {id: R1, text: Something., source: A paper, mark: seed}
facts:
  - {name: age, type: number, range: [0, 120]}
  - {name: surgery, type: choice, choices: [none, R0]}
eligibility:
  all:
    - {fact: age, operator: ">=", value: 18}
    - {fact: surgery, operator: "==", value: none}
targets:
  - {name: PTV1, role: PTV, of: [GTV], then: [{expand: {mm: 5}}]}
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV1, dose_gy: 66, fractions: 30}
technique: {kind: imrt, beams: 9}
limits:
  - {structure: Cord, metric: "Max[Gy]", operator: "<", limit: 45, priority: hard, rule: R1}
checks:
  - {check: dose-per-fraction, target: PTV1, operator: ">", gy: 2.0}
"""


def test_the_file_that_the_faults_below_are_put_into_is_right() -> None:
    protocol = parse(SMALL, "own.yaml")
    (limit,) = protocol.constraints()
    assert (limit.structure, limit.metric, limit.operator, limit.limit, limit.priority) == (
        "Cord", "Max[Gy]", "<", 45.0, "hard",
    )  # fmt: skip
    assert limit.source == "R1: A paper"


FAULTS = [
    # what is changed, into what, the line and place told, and what else the sentence says
    ('version: "1"', "version: 1", "line 2, version", "text (in quotation marks"),
    ("title: Own protocol", "titel: Own protocol", "line 3, titel", "'titel' is not known"),
    ("id: own\n", "", "own.yaml:", "'id' is missing"),
    ("mark: seed", "mark: sead", "line 5, rules[0].mark", "'seed'"),
    ("mark: seed", "mark: ambiguous", "line 5, rules[0]", "'reading'"),
    ("range: [0, 120]", "range: [120, 0]", "line 7, facts[0]", "empty"),
    ("choices: [none, R0]", "choices: []", "line 8, facts[1]", "choices"),
    ("name: surgery", "name: age", "line 8, facts[1].name", "twice"),
    ("fact: age, operator", "fact: years, operator", "line 11, eligibility.all[0].fact", "age, surgery"),
    ('operator: ">=", value: 18', 'operator: "=>", value: 18', "line 11, eligibility.all[0].operator", "'>='"),
    ("value: 18", "value: old", "line 11, eligibility.all[0].value", "expected a number"),
    ("value: 18", "value: 180", "line 11, eligibility.all[0].value", "expected 0 to 120"),
    ("value: none", "value: R7", "line 12, eligibility.all[1].value", "one of none, R0"),
    ('operator: "==", value: none', 'operator: "<", value: none', "line 12, eligibility.all[1].fact", "no order"),
    ('{fact: surgery, operator: "==", value: none}', "{fact: surgery}", "line 12, eligibility.all[1]", "all, any, not"),
    ("role: PTV", "role: TARGET", "line 14, targets[0].role", "known are"),
    ("{expand: {mm: 5}}", "{expand: {mm: -5}}", "line 14, targets[0].then[0].expand.mm", "greater than or equal to 0"),
    ("{expand: {mm: 5}}", "{expand: {radial_mm: 5}}", "line 14, targets[0].then[0].expand", "craniocaudal_mm"),
    ("{expand: {mm: 5}}", "{grow: {mm: 5}}", "line 14, targets[0].then[0]", "expand"),
    ("of: [GTV]", "of: [PTV1]", "line 14, targets[0]", "made of itself"),
    ("of: [GTV]", "if_drawn: []", "line 14, targets[0]", "or stations"),
    ("of: [GTV]", "stations: {of: [8L], reach_mm: 8}", "line 14, targets[0].stations.of", "not clear: expected 8U"),
    ("of: [GTV]", 'stations: {of: ["5"], reach_mm: 8}', "line 14, targets[0].stations.of", "Japanese"),
    ("of: [GTV]", 'stations: {of: ["4", 4R], reach_mm: 8}', "line 14, targets[0].stations.of", "4R is named twice"),
    ("of: [GTV]", 'stations: {of: ["7"]}', "line 14, targets[0].stations", "reach_mm"),
    ("of: [GTV]", 'stations: {of: ["7"], reach_mm: 0}', "line 14, targets[0].stations.reach_mm", "greater than 0"),
    ("{expand: {mm: 5}}", "{borders: {}}", "line 14, targets[0].then[0].borders", "'superior' or 'inferior'"),
    ("{expand: {mm: 5}}", "{borders: {superior: [{landmark: navel}]}}", "borders.superior[0]", "no landmark 'navel'"),
    ("{expand: {mm: 5}}", "{borders: {superior: [{above_mm: 5}]}}", "borders.superior[0]", "one of 'landmark'"),
    (
        "{expand: {mm: 5}}", "{borders: {inferior: [{landmark: carina, above_mm: 5, below_mm: 5}]}}",
        "borders.inferior[0]", "not both",
    ),
    (
        "{expand: {mm: 5}}", "{borders: {inferior: [{top_of: PTV1}]}}", "line 14, targets[0]", "made of itself",
    ),
    ('normalisation: {coverage: "D95%[Gy]"}\n', "", "line 16, prescriptions[0]", "normalisation"),
    ("D95%[Gy]", "D95[Gy]", "line 15, normalisation.coverage", "not a metric"),
    ("dose_gy: 66", "dose_gy: 660", "line 17, prescriptions[0].dose_gy", "200"),
    ("dose_gy: 66", 'dose_gy: "66"', "line 17, prescriptions[0].dose_gy", "found '66'"),
    ("dose_gy: 66", "dose_gy: .nan", "line 17, prescriptions[0].dose_gy", "finite"),
    ("fractions: 30", "fractions: 30.5", "line 17, prescriptions[0].fractions", "integer"),
    ("fractions: 30", "fractions: 0", "line 17, prescriptions[0].fractions", "1"),
    ("dose_gy: 66", "dose_gy: 60", "line 22, checks[0]", "2 Gy"),
    ("beams: 9", "beams: 0", "line 18, technique.beams", "1"),
    ("beams: 9", "beams: 9, gantry_deg: [0, 90]", "line 18, technique", "either"),
    ("kind: imrt", "kind: proton", "line 18, technique.kind", "'imrt'"),
    ("Max[Gy]", "V20[%]", "line 20, limits[0].metric", "not a metric"),
    ("limit: 45", "limit: -1", "line 20, limits[0]", "never be compared"),
    ("priority: hard", "priority: must", "line 20, limits[0].priority", "'hard'"),
    ("priority: hard", "priority: hard, percent_of: PTV2", "line 20, limits[0].percent_of", "prescribed are: PTV1"),
    ("priority: hard", "priority: hard, quantity: EQD2", "line 20, limits[0]", "alpha_beta_gy"),
    ("rule: R1", "rule: R2", "line 20, limits[0].rule", "which are: R1"),
    ("target: PTV1, operator", "target: PTV2, operator", "line 22, checks[0].target", "not prescribed"),
    ("checks:", "checks", "line 2", "not valid YAML"),
    ("id: own\n", "id: own\nid: mine\n", "line 2", "duplicate key"),
    ('metric: "Max[Gy]"', "metric: Max[Gy]", "line 20", "quotation marks"),
    ("range: [0, 120]", "range: [0]", "line 7, facts[0].range", "an entry is missing"),
    ("of: [GTV]", "of: GTV", "line 14, targets[0].of", "a list"),
    ("id: own\n", "id: my own\n", "line 1, id", "letters"),
    ("of: [GTV]", "of: &a [*a]", "line 14, targets[0].of[0]", "expected text"),
    ('operator: ">", gy: 2.0}', 'operator: "', "own.yaml", "not valid YAML"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "place", "says"), FAULTS)
def test_a_fault_is_told_with_its_line_and_place(old: str, new: str, place: str, says: str) -> None:
    told = told_of(SMALL, old, new)
    assert place in told
    assert says in told


def test_limits_that_repeat_each_other_are_refused() -> None:
    line = '  - {structure: Cord, metric: "Max[Gy]", operator: "<", limit: 45, priority: hard, rule: R1}\n'
    with pytest.raises(ProtocolError, match=r"line 21, limits\[1\].*twice"):
        parse(SMALL.replace(line, line + line.replace("45", "50")), "own.yaml")


def test_one_phase_has_one_number_of_fractions() -> None:
    line = "  - {target: PTV1, dose_gy: 66, fractions: 30}\n"
    more = line + "  - {target: PTV2, dose_gy: 50, fractions: 25}\n"
    with pytest.raises(ProtocolError, match=r"line 18, prescriptions\[1\]\.fractions: 'PTV2' has 25 fractions"):
        parse(SMALL.replace(line, more), "own.yaml")


def test_an_unknown_id_lists_the_known_ones() -> None:
    with pytest.raises(ProtocolError, match=r"no protocol 'smart'; known are .*smart-imrt"):
        load("smart")


def test_a_file_of_ones_own_is_loaded_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(SMALL, encoding="utf-8")
    assert load(path).id == load(str(path)).id == "own"


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="cannot be read: No such file"):
        load(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just text\n"])
def test_a_file_that_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match=r"own\.yaml"):
        parse(text, "own.yaml")


@pytest.mark.parametrize("name", available())
def test_every_protocol_of_the_library_loads_under_its_own_id(name: str) -> None:
    protocol = load(name)
    assert protocol.id == name
    assert all(check.holds for check in protocol.checks())


@pytest.mark.parametrize("name", available())
def test_a_described_protocol_has_exactly_the_keys_that_the_command_prints(name: str) -> None:
    told = describe(load(name))
    assert set(told) == {"id", "version", "rules"}
    assert told["rules"]
    for rule in told["rules"]:
        assert set(rule) == {"id", "text", "source", "mark"}
        assert all(isinstance(value, str) and value for value in rule.values())


def test_a_record_gives_values_with_source_and_date() -> None:
    facts = read_record("age: 61\nkps:\nsurgery: {value: none, source: letter, date: 2026-01-02}\nweight_kg: 60.5\n")
    assert facts["age"].value == 61
    assert facts["kps"].value is None
    assert (facts["surgery"].value, facts["surgery"].source, str(facts["surgery"].date)) == (
        "none", "letter", "2026-01-02",
    )  # fmt: skip
    assert facts["weight_kg"].value == 60.5


def test_a_record_from_a_mapping_is_the_same_as_from_text() -> None:
    text = read_record("age: 61\nsurgery: {value: none, source: letter}\n")
    assert text == read_record({"age": 61, "surgery": {"value": "none", "source": "letter"}})


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("age: 61\nage: 62\n", "line 2", "duplicate key"),
        ("age: 61\nkps: {amount: 80}\n", "line 2, kps", "value, source and date"),
        ("age: {value: 61, date: soon}\n", "line 1, age", "2026-01-31"),
        ("kps: 80\nage: .nan\n", "line 2, age", "leave the value empty"),
        ("age: [1, 2]\n", "line 1, age", "expected a number"),
        ("- age\n", "record.yaml", "name: value"),
        ("age: [61\n", "record.yaml", "not valid YAML"),
    ],
)
def test_a_faulty_record_is_told_with_its_line(text: str, place: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        read_record(text)
    assert place in str(caught.value)
    assert says in str(caught.value)


def test_a_date_may_stand_in_quotation_marks() -> None:
    plain, quoted = (read_record(f"age: {{value: 61, date: {date}}}") for date in ("2026-01-02", "'2026-01-02'"))
    assert plain == quoted


def test_an_empty_record_has_no_facts() -> None:
    assert read_record("") == {}


def test_a_record_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_record(tmp_path / "record.yaml")

"""Tables become clinical records: nothing is guessed, and every mistake is told with its row and column."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.patient import Normalisation, Prescription
from tailort.protocols import decide, parse
from tailort.protocols.records import (
    FHIR_NAMES,
    AbsentFact,
    TableError,
    TableMapping,
    course_bundle,
    load_mapping,
    parse_mapping,
    parse_table,
)
from tailort.protocols.records.fhir import Stage
from tailort.protocols.records.units import conversion_factor, unit_name
from tailort.text_files import read_text

TODAY = dt.date(2026, 2, 1)

MAPPING = """\
source: REDCap export
id_column: record_id
missing: [-9, UNK]
not_done: [-8]
not_applicable: [-7]
date_format: "%Y-%m-%d"
only_rows: {redcap_event_name: [baseline_arm_1]}
other_columns: ignore
columns:
  age: {fact: age_years, type: integer, unit: years, range: [0, 120]}
  hb: {fact: haemoglobin_g_per_l, type: number, unit: g/dL, to: g/L, range: [30, 250], date_column: lab_date}
  crea: {fact: creatinine_umol_per_l, type: number, unit: mg/dL, to: umol/L, factor: 88.42}
  plt: {fact: platelets_10e9_per_l, type: number, unit_column: plt_unit, to: 10^9/L}
  sex: {fact: sex, type: choice, codes: {1: M, 2: F}}
  fistula: {fact: fistula, type: boolean, codes: {1: yes, 0: no}}
  surgery_date: {fact: surgery_date, type: date, format: "%d/%m/%Y"}
  start_date: {fact: planned_start, type: date, future: true}
  nodes___1: {fact: recurrence_stations, type: member, member: "4R", codes: {1: yes, 0: no}}
  nodes___2: {fact: recurrence_stations, type: member, member: "7", codes: {1: yes, 0: no}}
"""
# As a longitudinal project with a check box and a text with a comma is exported.
EXPORT = """\
record_id,redcap_event_name,age,hb,lab_date,crea,plt,plt_unit,sex,fistula,surgery_date,start_date,nodes___1,nodes___2,note
S-01,baseline_arm_1,61,13.5,2026-01-05,1.0,245,10^9/L,1,0,15/03/2024,2026-03-02,1,0,"well, eats"
S-01,visit_1_arm_1,61,,,,,,,,,,0,0,
S-02,baseline_arm_1,-9,-8,,UNK,180000,/uL,2,,-7,,1,1,
"""


def mapping(text: str = MAPPING) -> TableMapping:
    return parse_mapping(text)


def small(columns: str, extra: str = "") -> TableMapping:
    return parse_mapping(f'source: Test\nid_column: id\ndate_format: "%Y-%m-%d"\n{extra}\ncolumns:\n{columns}')


def faults(text: str, table: TableMapping) -> list[tuple[int, str, str]]:
    with pytest.raises(TableError) as caught:
        parse_table(text, table, today=TODAY)
    return [(fault.row, fault.column, fault.text) for fault in caught.value.faults]


def test_a_redcap_export_becomes_facts_with_their_units_dates_and_source() -> None:
    (patient, facts), _ = parse_table(EXPORT, mapping(), today=TODAY)
    assert patient == "S-01"
    assert {name: fact.value for name, fact in facts.items()} == {
        "age_years": 61,
        "haemoglobin_g_per_l": 135.0,
        "creatinine_umol_per_l": 88.42,
        "platelets_10e9_per_l": 245.0,
        "sex": "M",
        "fistula": False,
        "surgery_date": dt.date(2024, 3, 15),
        "planned_start": dt.date(2026, 3, 2),
        "recurrence_stations": ("4R",),
    }
    assert facts["haemoglobin_g_per_l"].date == dt.date(2026, 1, 5)
    assert facts["haemoglobin_g_per_l"].source == "REDCap export, column hb"


def test_unknown_not_done_and_not_applicable_are_three_things_and_none_is_a_value() -> None:
    _, (patient, facts) = parse_table(EXPORT, mapping(), today=TODAY)
    assert patient == "S-02"
    absent = {name: fact.absence for name, fact in facts.items() if isinstance(fact, AbsentFact)}
    assert absent == {
        "age_years": "unknown",
        "haemoglobin_g_per_l": "not done",
        "creatinine_umol_per_l": "unknown",
        "fistula": "unknown",
        "surgery_date": "not applicable",
        "planned_start": "unknown",
    }
    assert all(facts[name].value is None for name in absent)
    assert facts["platelets_10e9_per_l"].value == 180.0


def test_a_table_of_which_no_row_is_asked_for_is_refused() -> None:
    table = small("  a: {fact: f, type: text}", "only_rows: {event: [first]}")
    with pytest.raises(InputError, match="no row has 'event' first; correct 'only_rows'"):
        parse_table("id,event,a\n1,second,x\n", table, today=TODAY)


def test_rows_of_other_events_are_passed_over() -> None:
    assert [record.patient_id for record in parse_table(EXPORT, mapping(), today=TODAY)] == ["S-01", "S-02"]


def test_an_examination_that_was_not_done_leaves_the_protocol_undecided() -> None:
    protocol = parse(
        'id: hb\nversion: "1"\ntitle: Haemoglobin\n'
        "facts: [{name: haemoglobin_g_per_l, type: number, unit: g/L, range: [0, 300]}]\n"
        'eligibility: {fact: haemoglobin_g_per_l, operator: ">=", value: 100}\n'
        'normalisation: {coverage: "D95%[Gy]"}\nprescriptions: [{target: PTV, dose_gy: 50, fractions: 25}]\n'
        "technique: {kind: imrt, beams: 7}\n",
        "hb.yaml",
    )
    records = parse_table(EXPORT, mapping(), today=TODAY, entries=protocol.file.facts)
    assert [decide(protocol, record.facts).answer for record in records] == ["yes", "unknown"]


def test_one_unknown_box_leaves_the_whole_list_unknown() -> None:
    boxes = small("  a: {fact: f, type: member, member: x}\n  b: {fact: f, type: member, member: y}")
    none, some, unknown = (r.facts["f"] for r in parse_table("id,a,b\n1,no,no\n2,no,yes\n3,yes,\n", boxes, today=TODAY))
    assert (none.value, some.value, unknown.value) == ((), ("y",), None)
    assert isinstance(unknown, AbsentFact)


def test_a_list_is_not_applicable_only_where_all_its_boxes_are() -> None:
    boxes = small(
        "  a: {fact: f, type: member, member: x}\n  b: {fact: f, type: member, member: y}",
        "not_applicable: [-7]\nnot_done: [-8]",
    )
    records = parse_table("id,a,b\n1,-7,-7\n2,-7,yes\n3,-7,-8\n", boxes, today=TODAY)
    absences = [r.facts["f"].absence for r in records if isinstance(r.facts["f"], AbsentFact)]
    assert absences == ["not applicable", "unknown", "unknown"]


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        ("1,sixty,1,2026-01-01", "age", "'sixty', expected a number"),
        ("1,60.5,1,2026-01-01", "age", "a whole number"),
        ("1,<18,1,2026-01-01", "age", "a number"),
        ("1,nan,1,2026-01-01", "age", "a number"),
        (f"1,{'9' * 5000},1,2026-01-01", "age", "a number"),
        ("1,\u0661,1,2026-01-01", "age", "a number"),
        ("1,160,1,2026-01-01", "age", "0 to 120 years"),
        ("1,-1,1,2026-01-01", "age", "0 to 120 years"),
        ("1,61 years,1,2026-01-01", "age", "without the unit"),
        ("1,61,3,2026-01-01", "sex", "one of the codes 1 (M), 2 (F)"),
        ("1,61,male,2026-01-01", "sex", "one of the codes"),
        ("1,61,1,2026-02-02", "seen", "a date up to today, 2026-02-01"),
        ("1,61,1,01/02/2026", "seen", "a date such as 2026-01-31"),
        ("1,61,1,2026-02-30", "seen", "a date such as"),
        (",61,1,2026-01-01", "id", "the id of a patient"),
        ("1,61,1", "sex", "4 as in the header"),
        ("1,61,1,2026-01-01,x", "seen", "4 as in the header"),
    ],
)
def test_a_wrong_cell_is_refused_with_row_column_and_what_was_expected(row: str, column: str, expected: str) -> None:
    table = small(
        "  age: {fact: age, type: integer, unit: years, range: [0, 120]}\n"
        "  sex: {fact: sex, type: choice, codes: {1: M, 2: F}}\n"
        "  seen: {fact: seen, type: date}"
    )
    found = faults(f"id,age,sex,seen\n0,50,2,2026-01-01\n{row}\n", table)
    assert [(fault[0], fault[1]) for fault in found] == [(3, column)]
    assert expected in found[0][2]


def test_all_faults_are_kept_and_the_first_is_told() -> None:
    table = small("  age: {fact: age, type: integer}")
    with pytest.raises(TableError, match=r"^x.csv, row 2, column 'age': found 'a', .* \(and 1 more\)$") as caught:
        parse_table("id,age\n1,a\n2,b\n", table, today=TODAY, origin="x.csv")
    assert [fault.found for fault in caught.value.faults] == ["'a'", "'b'"]


def test_a_wrong_date_of_many_facts_is_one_mistake_in_its_own_column() -> None:
    table = small(
        "  hb: {fact: hb, type: number, date_column: day}\n  plt: {fact: plt, type: number, date_column: day}"
    )
    assert [found[:2] for found in faults("id,hb,plt,day\n1,13,200,2026-03-01\n", table)] == [(2, "day")]


def test_a_code_may_be_any_text() -> None:
    table = small("  age: {fact: age, type: integer, range: [0, 120]}", 'missing: [N/A, "?", -9]')
    for cell in ("n/a", "?", "-9", ""):
        ((_, facts),) = parse_table(f"id,age\n1,{cell}\n", table, today=TODAY)
        assert isinstance(facts["age"], AbsentFact)
        assert (facts["age"].absence, facts["age"].code) == ("unknown", cell)


def test_a_code_with_two_meanings_is_refused() -> None:
    with pytest.raises(InputError, match="not done in one column and unknown in the whole file"):
        small("  age: {fact: age, type: integer, not_done: [-9]}", "missing: [-9]")


def test_a_code_of_one_column_may_be_a_value_of_another() -> None:
    table = small("  age: {fact: age, type: integer, range: [0, 120], missing: [99]}\n  n: {fact: n, type: integer}")
    ((_, facts),) = parse_table("id,age,n\n1,99,99\n", table, today=TODAY)
    assert (facts["age"].value, facts["n"].value) == (None, 99)


def test_two_rows_of_one_patient_are_refused() -> None:
    found = faults("id,age\n1,50\n2,51\n1,52\n", small("  age: {fact: age, type: integer}"))
    assert found[0][:2] == (4, "id")
    assert "row 2 has too" in found[0][2]


def test_a_number_is_recognised_as_a_code_however_it_is_written() -> None:
    table = small("  hb: {fact: hb, type: number}\n  sex: {fact: sex, type: choice, codes: {1: M}}", "missing: [-9]")
    ((_, facts),) = parse_table("id,hb,sex\n1,-9.0,1.0\n", table, today=TODAY)
    assert isinstance(facts["hb"], AbsentFact)
    assert facts["sex"].value == "M"


def test_a_decimal_comma_is_read_only_where_the_mapping_tells_it() -> None:
    german = small("  hb: {fact: hb, type: number}", 'decimal: ","\ndelimiter: ";"')
    ((_, facts),) = parse_table("id;hb\n1;13,5\n", german, today=TODAY)
    assert facts["hb"].value == 13.5
    assert "a number" in faults("id;hb\n1;1.350\n", german)[0][2]
    assert "a number" in faults('id,hb\n1,"1,350"\n', small("  hb: {fact: hb, type: number}"))[0][2]


def test_a_unit_of_another_kind_in_a_row_is_refused() -> None:
    table = small("  hb: {fact: hb, type: number, unit_column: u, to: g/L}")
    found = faults("id,hb,u\n1,13.5,g/dL\n2,8.4,mmol/L\n3,8.4,\n", table)
    assert [(row, column) for row, column, _ in found] == [(3, "u"), (4, "u")]


def test_the_unit_of_the_protocol_and_of_the_mapping_must_be_the_same() -> None:
    protocol = parse(
        'id: x\nversion: "1"\ntitle: X\nfacts: [{name: hb, type: number, unit: g/L, range: [0, 300]}]\n'
        'normalisation: {coverage: "D95%[Gy]"}\nprescriptions: [{target: PTV, dose_gy: 50, fractions: 25}]\n'
        "technique: {kind: imrt, beams: 7}\n",
        "x.yaml",
    ).file.facts
    for unit in ("", ", unit: g/dL"):
        with pytest.raises(InputError, match=r"column 'hb': .* the protocol takes it in g/L"):
            parse_table(
                "id,hb\n1,13\n", small(f"  hb: {{fact: hb, type: number{unit}}}"), today=TODAY, entries=protocol
            )
    with pytest.raises(TableError, match=r"row 2, column 'hb': found '900', expected .*0 to 300"):
        parse_table("id,hb\n1,900\n", small("  hb: {fact: hb, type: number, unit: g/L}"), today=TODAY, entries=protocol)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "row 1: expected the names of the columns"),
        ("id,age\n", "a header and no patient"),
        ("id,age,age\n1,2,3\n", "'age' is there twice"),
        ("id;age\n1;2\n", "needs the columns 'id', 'age'.*'delimiter' in the mapping tells"),
        ("id,age,weight\n1,2,3\n", "does not tell the column 'weight'"),
        ('id,age\n1,"2\n', "not a table"),
    ],
)
def test_a_table_that_does_not_fit_the_mapping_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_table(text, small("  age: {fact: age, type: integer}"), today=TODAY)


@pytest.mark.parametrize(
    ("columns", "extra", "message"),
    [
        (
            "  a: {fact: f, type: number, unit: g/dL, to: umol/L}",
            "",
            r"line 6, columns\.a: .*cannot be turned.*'factor'",
        ),
        ("  a: {fact: f, type: number, unit: g/dL, to: g/L, factor: 100}", "", "1 g/dL is 10 g/L"),
        ("  a: {fact: f, type: number, unit: parsec, to: mm}", "", "'parsec' is not known"),
        ("  a: {fact: f, type: text, unit: mm}", "", "only a number"),
        ("  a: {fact: f, type: choice}", "", "has 'codes'"),
        ("  a: {fact: f, type: choice, codes: {1: x, '1.0': y}}", "", "are the same"),
        ("  a: {fact: f, type: boolean, codes: {1: maybe}}", "", "no value of type boolean"),
        ("  a: {fact: f, type: text}\n  b: {fact: f, type: text}", "", "both the fact 'f'"),
        ('  a: {fact: f, type: date, format: "%d.%m.%y"}', "", "four digits"),
        ('  a: {fact: f, type: date, format: "%Y-%m-%d %Y"}', "", "each once"),
        ('  a: {fact: f, type: date, format: "%Y-%m-%d %"}', "", "may have %H"),
        ("  id: {fact: f, type: text}", "", "cannot be a fact as well"),
        ("  a: {fact: f, type: text}", "missing: [-9.5]", r"line 4, missing\[0\]: expected text"),
        ("  a: {fact: f, type: text}", 'missing: ["-9"]\nnot_done: ["-9.0"]', "means both"),
        ("  a: {fact: f, type: text}", 'missing: [""]', "always unknown"),
        ("  a: {fact: f, type: choice, codes: {9: x}, missing: [9]}", "", "both a value and unknown"),
        ("  a: {fact: f, type: integer, range: [0, 120]}", "missing: [99]", "within the range of column 'a'"),
        ("  a: {fact: f, type: number, unit: g/dL, to: g/L, range: [80, 200]}", "missing: [9]", "within the range"),
        ("  a: {fact: f, type: text, colour: red}", "", "'colour' is not known here"),
        ("  a: {fact: f, type: text}\n  a: {fact: g, type: text}", "", "line 7.*duplicate key"),
    ],
)
def test_a_mapping_that_contradicts_itself_is_refused_with_its_place(columns: str, extra: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(columns, extra)


@given(st.integers(0, 10**6), st.sampled_from([("g/dL", "g/L"), ("cm", "mm"), ("/uL", "10^9/L"), ("Gy", "cGy")]))
def test_there_and_back_between_units_changes_nothing(value: int, units: tuple[str, str]) -> None:
    there = Fraction(value) * conversion_factor(*units)
    assert there * conversion_factor(units[1], units[0]) == value


def test_published_conversions_between_units() -> None:
    # Definitions: 1 g/dL = 10 g/L, 1/uL = 10^6/L, 1 Gy = 100 cGy.
    assert conversion_factor("g/dL", "g/L") == 10
    assert conversion_factor("/uL", "10^9/L") == Fraction(1, 1000)
    assert conversion_factor("cGy", "Gy") == Fraction(1, 100)
    assert [unit_name(text) for text in ("K/uL", "x10*9/L", "\u00b5mol/l")] == ["10^3/uL", "10^9/L", "umol/L"]


@given(st.text(max_size=30))
def test_any_text_in_a_cell_is_a_fact_or_a_told_fault(cell: str) -> None:
    quoted = '"' + cell.replace('"', '""') + '"'
    table = small("  n: {fact: n, type: number, range: [0, 10]}", "not_done: [ND]")
    try:
        records = parse_table(f"id,n\n1,{quoted}\n", table, today=TODAY)
        told = []
    except TableError as error:
        records, told = [], [(fault.row, fault.column) for fault in error.faults]
    assert told in ([], [(2, "n")])
    for _, facts in records:
        value = facts["n"].value
        assert value is None if isinstance(facts["n"], AbsentFact) else isinstance(value, float) and 0 <= value <= 10


def test_a_date_needs_its_format() -> None:
    for column in ("  a: {fact: f, type: date}", "  a: {fact: f, type: number, date_column: b}"):
        with pytest.raises(InputError, match="give 'date_format'"):
            parse_mapping(f"source: Test\nid_column: id\ncolumns:\n{column}\n")


def test_files_are_read_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    table, columns = tmp_path / "export.csv", tmp_path / "mapping.yaml"
    found = []
    for encoding in ("utf-8", "utf-8-sig"):
        columns.write_text(MAPPING, encoding=encoding)
        table.write_text(EXPORT, encoding=encoding)
        found.append(parse_table(read_text(table, "table"), load_mapping(columns), today=TODAY))
    assert found[0] == found[1]
    table.write_bytes(b"id\n\x00")
    with pytest.raises(InputError, match="zero bytes"):
        read_text(table, "table")
    table.write_bytes("id\n\xe4".encode("latin-1"))
    with pytest.raises(InputError, match="UTF-8"):
        read_text(table, "table")
    with pytest.raises(InputError, match="cannot be read"):
        load_mapping(tmp_path / "none.yaml")


COURSE = (
    Prescription("PTV_5992", 59.92, 28, Normalisation("coverage", metric="D95%[Gy]")),
    Prescription("CTV_5040", 50.4, 28, Normalisation("coverage", metric="D95%[Gy]")),
)


def test_a_planned_course_is_exported_with_doses_in_cgy_and_the_names_of_the_guide() -> None:
    bundle = course_bundle("S-01", COURSE, "planned", volume_uids={"PTV_5992": "1.2.3"}, reirradiation=True)
    assert json.loads(json.dumps(bundle)) == bundle
    by_kind = {entry["resource"]["resourceType"]: entry["resource"] for entry in bundle["entry"]}
    course = by_kind["ServiceRequest"]
    assert course["meta"]["profile"] == [
        "http://hl7.org/fhir/us/codex-radiation-therapy/StructureDefinition/codexrt-radiotherapy-planned-course"
    ]
    doses = [
        {part["url"]: part for part in extension["extension"]}
        for extension in course["extension"]
        if extension["url"].endswith("codexrt-radiotherapy-dose-planned-to-volume")
    ]
    assert [dose["totalDose"]["valueQuantity"]["value"] for dose in doses] == [5992, 5040]
    assert {dose["totalDose"]["valueQuantity"]["unit"] for dose in doses} == {"cGy"}
    assert [dose["fractions"]["valuePositiveInt"] for dose in doses] == [28, 28]
    urls = {entry["fullUrl"] for entry in bundle["entry"]}
    assert {dose["volume"]["valueReference"]["reference"] for dose in doses} < urls
    assert course["subject"]["reference"] in urls


def test_a_resource_names_a_profile_only_where_it_has_what_the_profile_asks_for() -> None:
    bundle = course_bundle("S-01", COURSE, "delivered", volume_uids={"PTV_5992": "1.2.3"}, status="completed")
    volumes = {
        entry["resource"]["description"]: entry["resource"]
        for entry in bundle["entry"]
        if entry["resource"]["resourceType"] == "BodyStructure"
    }
    assert "profile" in volumes["PTV_5992"]["meta"]
    assert "profile" not in volumes["CTV_5040"].get("meta", {})

    def profiles(uniform: dict[str, bool]) -> list[str]:
        made = course_bundle("S-01", COURSE, "delivered", status="completed", uniform=uniform)
        (summary,) = (e["resource"] for e in made["entry"] if e["resource"]["resourceType"] == "Procedure")
        return [url.rsplit("/", 1)[1] for url in summary["meta"]["profile"]]

    assert profiles({}) == ["mcode-radiotherapy-course-summary"]
    assert "codexrt-radiotherapy-course-summary" in profiles({"PTV_5992": True, "CTV_5040": True})


@pytest.mark.parametrize("stage", ["prescribed", "planned", "delivered"])
def test_nothing_empty_is_written(stage: Stage) -> None:
    """FHIR R4 allows no empty objects, lists or texts."""

    def parts(node: object) -> Iterator[object]:
        yield node
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        for part in inner:
            yield from parts(part)

    bundle = course_bundle("S-01", COURSE, stage, status="completed" if stage == "delivered" else None)
    assert all(part not in ({}, [], "", None) for part in parts(bundle))


def test_every_name_that_is_written_tells_whether_it_was_verified() -> None:
    bundle = course_bundle("S-01", COURSE, "prescribed")
    (course,) = (e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "ServiceRequest")
    assert {tag["code"] for tag in course["meta"]["tag"]} == {"lit-verified", "lit-recalled"}
    known = {name.url for name in FHIR_NAMES.values()}
    assert {extension["url"] for extension in course["extension"]} | set(course["meta"]["profile"]) <= known


def test_an_undecided_protocol_is_exported_as_absent_and_never_as_no() -> None:
    protocol = parse(
        'id: x\nversion: "1"\ntitle: X\nfacts: [{name: age, type: number}]\n'
        'eligibility: {fact: age, operator: ">=", value: 18}\nnormalisation: {coverage: "D95%[Gy]"}\n'
        "prescriptions: [{target: PTV, dose_gy: 50, fractions: 25}]\ntechnique: {kind: imrt, beams: 7}\n",
        "x.yaml",
    )
    bundle = course_bundle("S-01", (), "prescribed", decision=decide(protocol, {}))
    observation = bundle["entry"][-1]["resource"]
    assert observation["status"] == "preliminary"
    assert observation["dataAbsentReason"]["coding"][0]["code"] == "unknown"
    assert not any(key.startswith("value") for key in observation)
    assert observation["note"] == [{"text": "Missing: age"}]


def test_a_course_that_cannot_be_exported_is_refused() -> None:
    with pytest.raises(InputError, match="found neither"):
        course_bundle("S-01", (), "planned")
    with pytest.raises(InputError, match="twice"):
        course_bundle("S-01", (*COURSE, COURSE[0]), "planned")
    wrong: list[tuple[Stage, str | None]] = [("delivered", None), ("planned", "completed"), ("delivered", "draft")]
    for stage, status in wrong:
        with pytest.raises(InputError, match="status"):
            course_bundle("S-01", COURSE, stage, status=status)


def test_the_example_of_the_documents_is_read() -> None:
    page = (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
    # Tables of lesions and of vertebrae stand on the page too.
    (columns,) = re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL)
    (table,) = re.findall(r"```csv\n(record_id,.*?)```", page, flags=re.DOTALL)
    records = parse_table(table, parse_mapping(columns), today=TODAY)
    assert [(record.patient_id, record.facts["sex"].value) for record in records] == [("S-01", "M"), ("S-02", "F")]
    assert records[0].facts["haemoglobin_g_per_l"].value == 135.0

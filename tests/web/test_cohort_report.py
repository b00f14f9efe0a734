"""The report of a cohort says what is counted, draws what was estimated, and says in words what it cannot say."""

from __future__ import annotations

import base64
import csv
import io
import re
import xml.etree.ElementTree as ET
import zipfile
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from cohort_cases import EDGES, MAX, analysed, followed, study
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import image as pictures

from tailort.cli.cohort_input import read_cohort
from tailort.cli.versions import run_versions
from tailort.cli.write_cohort import write_virtual_cohort
from tailort.cohort.patients import FollowedPatient
from tailort.cohort.survival import kaplan_meier
from tailort.patient import Fact
from tailort.phantom.virtual_cohort import salvage_cohort
from tailort.protocols import load
from tailort.protocols.records.table import AbsentFact
from tailort.web.cohort_cells import p_told, share
from tailort.web.cohort_figures import survival_drawing
from tailort.web.cohort_report import cohort_drawings, cohort_report
from tailort.web.cohort_tables import rates, result_tables
from tailort.web.cohort_trial_tables import trial_tables
from tailort.web.plain_tables import PlainTable, html_tables, word_tables
from tailort.workflow.cohort_analysis import analyse
from tailort.workflow.cohort_records import CohortAnalysis, CohortOptions

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
DESCRIBED = {**run_versions(), "options": {"by": "group"}, "engine": "none", "inputs_sha256": {"cohort.csv": "0"}}
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20)


@pytest.fixture(scope="module")
def result() -> CohortAnalysis:
    return analysed(study(), by="group", event_for_doses="treatment_related_death")


@pytest.fixture(scope="module")
def page(result: CohortAnalysis) -> str:
    return cohort_report(result, DESCRIBED, result.stages)


def words_of(docx: bytes) -> list[list[list[str]]]:
    """Rows of cells of every table of a Word file."""
    with zipfile.ZipFile(io.BytesIO(docx)) as archive:
        assert archive.testzip() is None
        body = ET.fromstring(archive.read("word/document.xml"))
        for name in archive.namelist():
            ET.fromstring(archive.read(name))
    return [
        [[_text(cell) for cell in row.iter(f"{W}tc")] for row in table.iter(f"{W}tr")] for table in body.iter(f"{W}tbl")
    ]


def _text(cell: ET.Element) -> str:
    return "".join(part.text or "" for part in cell.iter(f"{W}t"))


def test_the_first_page_says_what_is_counted(page: str) -> None:
    first = page[: page.index("What is counted")]
    assert "For research only" in first
    assert "from first day of SBRT to unequivocal gross increase" in first
    assert "death without local recurrence competes. Rules KO-100, KO-101" in first
    assert "Overall survival: from diagnosis of MESCC to death. Rules KO-102." in first
    assert "median follow-up, months" in first


def test_ambiguous_rules_are_told_with_their_other_reading(page: str) -> None:
    assert "KO-104" in page
    assert "the diagnosis of MESCC" in page
    assert "Gray&#39;s test; log-rank told beside it" in page


def test_methods_and_variances_are_named(page: str) -> None:
    for words in ("Kaplan-Meier", "Aalen-Johansen (Aalen&#39;s variance", "Greenwood", "reverse Kaplan-Meier", "Efron",
                  "Gray&#39;s test", "log-rank test", "Clopper and Pearson", "R type 7"):  # fmt: skip
        assert words in page, words


def test_the_page_needs_no_network(page: str) -> None:
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)


def test_rates_in_the_table_are_those_of_the_curves(result: CohortAnalysis) -> None:
    survival = result.endpoints[1]
    cells = {row[1]: row[-1] for row in rates([survival]).rows}
    for outcome in (survival.overall, *survival.groups):
        rate = outcome.survival.at([12.0])[0]
        told = [float(number) for number in re.findall(r"[\d.]+", cells[outcome.name or "all patients"])]
        assert told == pytest.approx([100 * rate.estimate, 100 * rate.lower, 100 * rate.upper, rate.at_risk], abs=0.05)


def test_events_and_censored_patients_make_up_everybody(result: CohortAnalysis) -> None:
    for one in result.endpoints:
        whole = one.overall
        assert whole.events + sum(whole.competing) + whole.censored == whole.patients == 21
        assert sum(group.patients for group in one.groups) == 21
        assert sum(group.events for group in one.groups) == whole.events


def test_one_event_is_printed_beside_the_maximum_and_quartiles_of_the_others(result: CohortAnalysis, page: str) -> None:
    (row,) = result.doses.metrics
    assert row.metric == MAX
    assert row.event_values == (210.0,)
    assert f"{row.others.largest:.1f} [{row.others.lower_quartile:.1f} to" in page
    assert "support only a bound" in page


@cache
def edge(name: str) -> tuple[CohortAnalysis, str]:
    found = analysed(EDGES[name], by="group")
    return found, cohort_report(found, DESCRIBED, found.stages)


@pytest.mark.parametrize("name", EDGES)
def test_no_cohort_at_the_edge_breaks_the_report(name: str) -> None:
    found, text = edge(name)
    assert " nan" not in text
    assert "None" not in re.sub(r"data:[^\"]*", "", text)
    for table in (*result_tables(found), *trial_tables(found)):
        assert table.rows


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("all censored", "no event among 8 patients"),
        ("all censored", "no event in any group: there is no hazard ratio"),
        ("a group with no event", "cannot be told"),
        ("one patient", "one patient: the curve is that patient&#39;s own course"),
        ("one patient", "one group alone (&#39;a&#39;): nothing to compare"),
        ("no known group but one", "4 patients of no known group or stratum count in the whole cohort alone"),
        ("death on the first day", "at time 0"),
        ("one event at which one group alone is left", "no hazard ratio: &#39;b&#39; cannot be estimated"),
        ("one dies first and another group alone is left", "beside the infinite one no event tells anything of it"),
    ],
)
def test_what_cannot_be_said_is_said_in_words(name: str, words: str) -> None:
    assert words in edge(name)[1]


def test_every_figure_is_in_the_page_and_has_two_files(result: CohortAnalysis, page: str) -> None:
    drawings = cohort_drawings(result)
    assert [one.name for one in drawings] == ["1_local_failure", "1_local_failure_stacked", "2_overall_survival"]
    for one in drawings:
        files = one.files()
        assert set(files) == {f"{one.name}.svg", f"{one.name}.png"}
        ET.fromstring(files[f"{one.name}.svg"])
        assert pictures.imread(io.BytesIO(files[f"{one.name}.png"])).shape[1] > 1000
        assert base64.b64encode(files[f"{one.name}.svg"]).decode("ascii") in page


def test_the_numbers_below_a_curve_are_patients_whose_time_has_not_come() -> None:
    months = np.array([1.0, 4.0, 6.0, 6.0, 11.0])
    drawing = survival_drawing("os", [("", kaplan_meier(months, np.array([1, 0, 1, 0, 1])))], "overall survival")
    curves, below = drawing.figure.axes
    told = {text.get_position()[0]: int(text.get_text()) for text in below.texts}
    assert set(told) == set(curves.get_xticks())
    assert told == {at: int((months >= at).sum()) for at in told}


def test_a_curve_falls_and_starts_at_all_patients() -> None:
    months = np.array([1.0, 4.0, 6.0, 6.0, 11.0])
    drawing = survival_drawing("os", [("", kaplan_meier(months, np.array([1, 0, 1, 0, 1])))], "overall survival")
    (step, ticks) = drawing.figure.axes[0].get_lines()
    assert step.get_ydata()[0] == 1.0
    assert np.all(np.diff(step.get_ydata()) <= 0)
    assert ticks.get_xdata().tolist() == [4.0, 6.0]


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=4))
def test_word_and_csv_hold_what_the_table_holds(rows: list[tuple[str, str]]) -> None:
    table = PlainTable("t", "title <&>", "note", ("one", "two & three"), tuple(rows))
    ((*words,),) = words_of(word_tables("All", [table]))
    assert [tuple(row) for row in words] == [table.header, *rows]
    assert [tuple(row) for row in csv.reader(io.StringIO(table.csv_text(), newline=""))] == [table.header, *rows]


def test_the_same_tables_make_the_same_word_file() -> None:
    table = PlainTable("t", "title", "", ("a",), (("b",),))
    assert word_tables("All", [table]) == word_tables("All", [table])


def test_the_word_file_has_every_table_of_the_report(result: CohortAnalysis) -> None:
    tables = [*result_tables(result), *trial_tables(result)]
    assert len(words_of(word_tables("All", tables))) == len(tables)
    assert html_tables("All", tables).count("<table>") == len(tables)


def test_html_keeps_the_indent_of_categories_and_escapes_what_a_table_tells() -> None:
    told = html_tables("All", [PlainTable("t", "title", "", ("a",), (("    <b>yes</b>",),))])
    assert "<td>\N{NO-BREAK SPACE}\N{NO-BREAK SPACE}" in told
    assert "<b>" not in told


def test_a_row_of_another_length_than_its_header_is_no_table() -> None:
    with pytest.raises(ValueError, match="has 2 cells; expected 1"):
        PlainTable("t", "title", "", ("a",), (("b", "c"),))


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> CohortAnalysis:
    """24 patients of the synthetic salvage trial, compared by arm within strata."""
    cohort = salvage_cohort(5, 24)
    table = write_virtual_cohort(cohort, tmp_path_factory.mktemp("salvage"))
    protocol = load(cohort.protocol)
    read = read_cohort(table, table.parent / "mapping.yaml", protocol=protocol, today=cohort.last_day)
    options = CohortOptions(by="irradiation", strata="sex", subgroups=("centre",), endpoints=("overall survival",))
    return analyse(read.patients, protocol, read.endpoints, options, cohort.last_day)


def test_strata_are_named_wherever_they_count(trial: CohortAnalysis) -> None:
    (survival,) = trial.endpoints
    assert [test.method for test in survival.tests] == ["log-rank test, stratified by sex"]
    tables = {table.name: table for table in result_tables(trial)}
    assert tables["hazard_ratios"].rows[0][1].endswith("against elective nodal irradiation, stratified by sex")


def test_visits_are_drawn_as_the_calendar_has_them(trial: CohortAnalysis) -> None:
    drawing = next(one for one in cohort_drawings(trial) if one.name == "visits")
    planned = sum(len(patient.planned) for patient in trial.trial.calendar.patients)
    assert len(drawing.figure.axes[0].patches) == planned
    table = next(table for table in trial_tables(trial) if table.name == "visits")
    assert sum(int(row[1]) for row in table.rows) == planned
    assert all(int(row[1]) == sum(map(int, row[2:])) for row in table.rows)


def test_a_forest_has_a_line_for_every_subgroup_whose_effect_is_known(trial: CohortAnalysis) -> None:
    drawing = next(one for one in cohort_drawings(trial) if one.name == "forest_1")
    (found,) = trial.subgroups
    effects = [found.overall, *(effect for test in found.tests for effect in test.levels)]
    middle = drawing.figure.axes[1]
    low, high = middle.get_xlim()
    drawn = [
        line.get_xdata()[0] for line in middle.get_lines() if line.get_marker() in "Ds" and len(line.get_xdata()) == 1
    ]
    assert drawn == [effect.term.hazard_ratio for effect in effects if effect.term is not None]
    assert all(low <= ratio <= high for ratio in drawn)


def test_the_trial_is_told_with_what_is_not_known_of_it(trial: CohortAnalysis) -> None:
    page = cohort_report(trial, DESCRIBED, trial.stages)
    assert "The protocol prints no window of visits" in page
    assert "The protocol prints no rule that stops the whole trial." in page
    assert "To be reported within 24 hours" in page
    assert "A group of toxicity without any entry in the table is unknown." in page


def test_we_97_proportions_are_printed_with_one_decimal() -> None:
    assert [share(n, 21) for n in (1, 5, 10, 11)] == ["1 (4.8 %)", "5 (23.8 %)", "10 (47.6 %)", "11 (52.4 %)"]


def test_a_small_p_is_never_printed_as_zero() -> None:
    assert (p_told(0.00004), p_told(0.04951), p_told(None)) == ("< 0.001", "0.050", "cannot be told")


def unknown(patient: FollowedPatient, day: str) -> FollowedPatient:
    return replace(patient, facts={**patient.facts, day: AbsentFact(day, None, "table", None, "unknown", "not known")})


def of_both_sexes() -> list[FollowedPatient]:
    patients = [followed(f"P{n:02d}", died=60 * n + 30, group="ab"[n % 2]) for n in range(12)]
    return [
        replace(one, facts={**one.facts, "sex": Fact("sex", ("female", "male")[n // 2 % 2])})
        for n, one in enumerate(patients)
    ]


def test_an_endpoint_with_one_group_left_is_told_and_the_others_are_compared_in_subgroups() -> None:
    patients = [unknown(p, "local_failure_date") if p.facts["group"].value == "b" else p for p in of_both_sexes()]
    result = analysed(patients, by="group", subgroups=("sex",))
    assert [one.endpoint for one in result.subgroups] == ["overall survival"]
    assert "local failure: 'a' alone is left, so no subgroups are compared" in result.notes


def test_a_factor_with_one_level_left_is_told_and_not_compared() -> None:
    patients = [unknown(p, "death_date") if p.facts["sex"].value == "male" else p for p in of_both_sexes()]
    result = analysed(patients, by="group", subgroups=("sex",), endpoints=("overall survival",))
    assert result.subgroups == ()
    assert "overall survival: one level of 'sex' alone is left, so it is not compared" in result.notes

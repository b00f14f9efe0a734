"""The page of a protocol says everything that its file says, and the pages in docs/ are those of today's files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tailort.protocols import Protocol, available, load, parse
from tailort.protocols.elsewhere import of_no_file
from tailort.protocols.pages import TITLES, index_page, page
from tailort.protocols.schema import ProtocolFile

DOCS = Path(__file__).parents[2] / "docs" / "protocols"
LIBRARY = {name: load(name) for name in available()}
REMAKE = "made anew by: tailort protocols --pages docs/protocols"


@pytest.mark.parametrize("name", available())
def test_the_page_in_the_documents_is_that_of_the_file(name: str) -> None:
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == page(LIBRARY[name]), REMAKE


def test_the_list_in_the_documents_is_that_of_the_library() -> None:
    made = index_page(tuple(LIBRARY.values()), of_no_file())
    assert (DOCS / "README.md").read_text(encoding="utf-8") == made, REMAKE


def test_there_is_no_page_of_a_protocol_that_is_gone() -> None:
    assert {path.stem for path in DOCS.glob("*.md")} == {*available(), "README"}


def test_every_section_of_a_file_has_a_title() -> None:
    assert set(TITLES) | {"id", "version", "title", "status", "aliases"} >= set(ProtocolFile.model_fields)


def section(text: str, title: str) -> str:
    found = re.search(rf"\n## {re.escape(title)}\n(.*?)(?=\n## |\Z)", text, flags=re.DOTALL)
    return found[1] if found else ""


@pytest.mark.parametrize("protocol", LIBRARY.values(), ids=lambda p: p.id)
def test_every_section_that_the_file_has_is_on_the_page(protocol: Protocol) -> None:
    text = page(protocol)
    for name, title in TITLES.items():
        has = name in protocol.file.model_fields_set and getattr(protocol.file, name) not in (None, ())
        assert bool(section(text, title).strip()) == has, title


@pytest.mark.parametrize("protocol", LIBRARY.values(), ids=lambda p: p.id)
def test_rules_facts_limits_and_doses_are_on_the_page_with_their_numbers(protocol: Protocol) -> None:
    file, text = protocol.file, page(protocol)
    for rule in file.rules:
        row = f"| {rule.id} | {' '.join(rule.text.replace('|', chr(92) + '|').split())}"
        assert row in section(text, "Rules")
        if rule.reading is not None:
            assert f"Other reading: {' '.join(rule.reading.other.split())}" in section(text, "Rules").replace(
                "\\|", "|"
            )
    for fact in file.facts:
        assert f"\n| {fact.name} | {fact.type} |" in section(text, "Facts that are asked")
    lines = section(text, "Limits").splitlines()
    for limit in file.limits:
        row = f"| {limit.structure} | {limit.metric} | {limit.operator} | {limit.limit:g} | {limit.priority}"
        assert any(line.startswith(row) and limit.rule in line for line in lines)
    for courses in (file.prescriptions, *(plan.prescriptions for plan in file.plans)):
        for entry in courses:
            assert re.search(rf"\| {re.escape(entry.target)} \| {entry.dose_gy:g} \| {entry.fractions} \|", text)


@pytest.mark.parametrize("protocol", LIBRARY.values(), ids=lambda p: p.id)
def test_every_row_of_a_table_has_as_many_cells_as_its_head(protocol: Protocol) -> None:
    cells = 0
    for line in page(protocol).splitlines():
        if not line.startswith("|"):
            cells = 0
            continue
        count = len(re.findall(r"(?<!\\)\|", line))
        assert cells in (0, count), line
        cells = count


def test_an_upright_bar_in_a_text_does_not_break_its_row() -> None:
    protocol = parse(
        'id: own\nversion: "1"\ntitle: T\nrules: [{id: R, text: a | b, source: S, mark: seed}]\n'
        'prescriptions: [{target: P, dose_gy: 50, fractions: 25, normalisation: {coverage: "D95%[Gy]"}}]\n'
        "technique: {kind: imrt, beams: 7}\n",
        "own.yaml",
    )
    assert "| R | a \\| b | S | seed |" in page(protocol)
    assert "| P | 50 | 25 | 2 |" in page(protocol)

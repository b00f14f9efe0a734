"""Every rule of the source protocols is carried out, by a file or the program, or told as not carried out, and why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tailort.protocols import available, load
from tailort.protocols.elsewhere import of_files, of_no_file

HERE = Path(__file__).parent
PAGES = Path(__file__).parents[2] / "docs" / "protocols"
LIBRARY = {name: load(name) for name in available()}
ROW = re.compile(r"^\| (\S+) \|", flags=re.MULTILINE)


def numbered() -> list[str]:
    """Ids of rule_ids.txt, ranges with both ends."""
    ids = []
    for line in (HERE / "rule_ids.txt").read_text(encoding="utf-8").splitlines():
        for word in line.split() if not line.startswith("#") else ():
            prefix, numbers = word.split("-", 1)
            first, _, last = numbers.partition("..")
            ids += [f"{prefix}-{n:0{len(first)}}" for n in range(int(first), int(last or first) + 1)]
    return ids


IDS = numbered()
CARRIED = {rule.id for protocol in LIBRARY.values() for rule in protocol.rules}
ELSEWHERE = {rule.rule for rule in of_no_file()}


def test_the_list_of_ids_has_every_number_of_the_reference_once() -> None:
    counts = {prefix: sum(i.startswith(f"{prefix}-") for i in IDS) for prefix in ("G", "SM", "RT", "MS", "KO", "IR")}
    assert counts == {"G": 7, "SM": 13, "RT": 40, "MS": 96, "KO": 81, "IR": 10}
    assert len(set(IDS)) == len(IDS) == 247


@pytest.mark.parametrize("rule", IDS)
def test_a_rule_is_in_a_file_or_in_the_list_of_those_that_are_not(rule: str) -> None:
    assert (rule in CARRIED) != (rule in ELSEWHERE)


def test_no_file_invents_a_number_of_the_source_protocols() -> None:
    known = {prefix: [i for i in IDS if i.startswith(prefix)] for prefix in ("G-", "SM-", "RT-", "MS-", "KO-", "IR-")}
    for rule in CARRIED | ELSEWHERE:
        for prefix, ids in known.items():
            assert not rule.startswith(prefix) or rule in ids


def test_every_rule_elsewhere_tells_how_or_why_not() -> None:
    assert all(len(rule.reason.split()) > 3 and rule.text for rule in of_no_file())


@pytest.mark.parametrize("name", available())
def test_in_every_file_each_rule_is_used_or_listed_with_its_reason(name: str) -> None:
    # Reading the file has checked that nothing is left over: only the section itself could be missing.
    assert LIBRARY[name].file.not_executed is not None
    assert all(rule.reason and rule.text for rule in of_files((LIBRARY[name],)))


def test_one_id_is_one_rule_in_every_file() -> None:
    marks: dict[str, set[str]] = {}
    for protocol in LIBRARY.values():
        for rule in protocol.rules:
            marks.setdefault(rule.id, set()).add(rule.mark)
    # Another trial's rule is borrowed; any other difference is a second rule under the same id.
    assert {rule: found for rule, found in marks.items() if len(found - {"borrowed"}) > 1} == {}


@pytest.mark.parametrize("name", available())
def test_the_page_of_a_protocol_has_its_rules_and_no_others(name: str) -> None:
    text = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    rules = text.split("\n## Rules\n")[1]
    assert set(ROW.findall(rules)) - {"rule"} == {rule.id for rule in LIBRARY[name].rules}
    told = re.search(r"\n## Told but not carried out\n(.*?)(?=\n## |\Z)", text, flags=re.DOTALL)
    listed = set(ROW.findall(told[1])) - {"rule"} if told else set()
    assert listed == {rule.rule for rule in of_files((LIBRARY[name],))}


def test_the_list_of_pages_has_the_rules_that_stand_in_no_file() -> None:
    text = (PAGES / "README.md").read_text(encoding="utf-8")
    assert set(ROW.findall(text.split("\n## Rules that stand in no file\n")[1])) - {"rule"} == ELSEWHERE
    assert set(re.findall(r"\]\((\S+)\.md\)", text)) == set(available())

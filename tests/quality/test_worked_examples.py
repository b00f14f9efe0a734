"""Every worked example of the reference is a test by its id, or waits for a reason that is told."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
ID = re.compile(r"we[-_](\d\d)", re.IGNORECASE)
RANGE = re.compile(r"we[-_](\d\d)_to_(?:we_)?(\d\d)", re.IGNORECASE)


def listed() -> dict[str, str]:
    """Reason why no test names it, by id; empty for those that a test must name."""
    lines = (TESTS / "quality" / "worked_examples.txt").read_text(encoding="utf-8").splitlines()
    told = [line.partition(":") for line in lines if line and not line.startswith("#")]
    return {name: reason.strip() for name, _, reason in told}


def ids_in(text: str) -> set[str]:
    found = {f"WE-{number}" for number in ID.findall(text)}
    for first, last in RANGE.findall(text):
        found |= {f"WE-{number:02d}" for number in range(int(first), int(last) + 1)}
    return found


def named() -> set[str]:
    """Ids in the names of test functions and in the texts of the test files: docstrings, ids of parameters."""
    found: set[str] = set()
    for path in TESTS.rglob("test_*.py"):
        if path == Path(__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found |= ids_in(node.name)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= ids_in(node.value)
    return found


def test_every_worked_example_is_a_test() -> None:
    missing = {name for name, reason in listed().items() if not reason} - named()
    assert not missing


def test_none_that_waits_is_a_test_already() -> None:
    waiting = {name for name, reason in listed().items() if reason}
    assert not waiting & named()


def test_no_test_names_an_example_that_is_not_listed() -> None:
    assert named() <= set(listed())

"""The validation table runs, and its rows can fail."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tailort.cli.app import run
from tailort.dose import collapsed_cone
from tailort.physics import machine
from tailort.workflow import validating
from tailort.workflow.validating import CHECKS, validate


def test_every_check_of_the_table_exists_and_is_used() -> None:
    used = {entry["check"] for entry in validating._entries()}
    assert used == set(CHECKS)


@pytest.mark.slow
def test_the_whole_table_passes_or_says_what_does_not() -> None:
    rows = validate()
    failed = [row.name for row in rows if row.verdict == "fail"]
    # Fields of 2 and 3 cm of 10 MV FFF in and behind lung: docs/dose.md tells by how much.
    assert all("point-10MV-FFF" in name for name in failed)


def test_the_quick_rows_pass_and_are_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", "--quick", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert len(rows) > 20
    for row in rows:
        assert {"name", "value", "reference", "tolerance", "verdict"} <= set(row)
        assert row["verdict"] in ("pass", "report"), row


def test_a_machine_that_is_wrong_fails_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The FFF beam under the name of the flattened one: depth dose and output factors fail."""
    wrong = replace(machine("generic-10MV-FFF"), id="generic-6MV")
    monkeypatch.setattr(validating, "machine", lambda name: wrong)
    entries = [e for e in validating._entries() if e["check"] in ("depth_dose", "tpr20_10")]
    monkeypatch.setattr(validating, "_entries", lambda: entries)
    assert {row.verdict for row in validate()} == {"fail"}
    collapsed_cone.scale_gy_per_mu.cache_clear()

"""The validation table runs, and its rows can fail."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest

from tailort.cli.app import run
from tailort.dose import collapsed_cone
from tailort.dose.fluence import exposures, fluence
from tailort.errors import InputError
from tailort.physics import machine
from tailort.workflow import validating
from tailort.workflow.validating import CHECKS, arc_plan, read_arc_doses, validate


def test_every_check_of_the_table_exists_and_is_used() -> None:
    used = {entry["check"] for entry in validating._entries()}
    assert used == set(CHECKS)


@pytest.mark.slow
def test_the_whole_table_passes() -> None:
    assert [row.name for row in validate() if row.verdict == "fail"] == []


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


def _arc_file() -> str:
    return resources.files("tailort.workflow").joinpath("data/montecarlo_arc.csv").read_text(encoding="utf-8")


def _changed(line: int, old: str, new: str) -> str:
    """The packaged arc with one thing changed in a line: 0 is the title of the first table, -1 the last point."""
    lines = _arc_file().splitlines()
    tables = [n for n, text in enumerate(lines) if not text.startswith("#")]
    assert old in lines[tables[line]]
    lines[tables[line]] = lines[tables[line]].replace(old, new)
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("line", "old", "new", "message"),
    [
        (0, "gantry_deg", "gantry_rad", "expected a table with the columns mu,gantry_deg"),
        (1, "0,183,", "0,", "expected 5 finite cells"),
        (1, "183", "west", "no number"),
        (1, "-27.5", "-22.5", "every leaf pair once"),
        (1, "183", "184", "every leaf pair once"),
        (-1, "lung,", "liver,", "unknown phantom 'liver'"),
        (-1, "coronal", "oblique", "plane 'oblique'"),
        (-1, ",0.", ",-0.", "must be above 0"),
        (-1, ",0,", ",nan,", "expected 7 finite cells"),
    ],
)
def test_a_file_of_arc_doses_that_cannot_be_is_refused_by_its_line(line: int, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_arc_doses(_changed(line, old, new), "arc.csv")
    assert "arc.csv" in str(caught.value)


def test_a_file_of_arc_doses_without_its_arc_is_refused() -> None:
    text = _arc_file()
    with pytest.raises(InputError, match="1 tables; expected one of leaves and one of points"):
        read_arc_doses(text[text.index("\n\n") :], "arc.csv")


def test_the_plan_of_the_arc_opens_what_its_file_says() -> None:
    """Area of the openings, weighted by MU, of the file's leaf ends and of the plan's fluence."""
    arc = read_arc_doses(_arc_file(), "arc.csv")
    beam = machine("point-10MV-FFF")
    plan = arc_plan(arc, beam)
    width = arc.leaves_mm[:, 1] - arc.leaves_mm[:, 0]
    between = 0.5 * (width[1:] + width[:-1]).sum(axis=1) * 5.0
    edges = np.arange(-60.0, 61.0, 1.0)
    opened = sum(fluence(part, plan.beams[0], beam, edges, edges).sum() for part in exposures(plan.beams[0]))
    assert opened == pytest.approx(float(between @ np.diff(arc.mu)), rel=1e-9)
    assert plan.mu == arc.mu[-1]


def test_the_arc_covers_every_side_and_its_doses_are_known_well() -> None:
    arc = read_arc_doses(_arc_file(), "arc.csv")
    assert len(arc.mu) == 60
    assert np.ptp(np.unwrap(arc.gantry_deg, period=360)) == 354
    # An opening is concave where a row is narrower than those on both its sides.
    assert ((arc.leaves_mm[:, 1, 5] < arc.leaves_mm[:, 1, 0]) | (arc.leaves_mm[:, 0, 5] > arc.leaves_mm[:, 0, 0])).all()
    for phantom in validating.BOXES:
        own = arc.phantom == phantom
        assert own.sum() > 1000
        # Errors are estimated from 20 batches, so a few are estimated too large.
        error = arc.error[own] / arc.dose[own].max()
        assert np.median(error) <= 0.004
        assert np.quantile(error, 0.98) <= 0.007


@pytest.mark.slow
def test_an_arc_whose_gantry_is_4_degrees_off_fails_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    arc = read_arc_doses(_arc_file(), "arc.csv")
    turned = replace(arc, gantry_deg=arc.gantry_deg + 4.0)
    monkeypatch.setattr(validating, "_arc_doses", lambda: turned)
    validating._arc_differences.cache_clear()
    entry = next(e for e in validating._entries() if e["check"] == "arc") | {"phantoms": ["water"]}
    monkeypatch.setattr(validating, "_entries", lambda: [entry])
    try:
        assert [row.verdict for row in validate()] == ["fail"]
    finally:
        validating._arc_differences.cache_clear()

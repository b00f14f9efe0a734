"""`tailort phantom --with earlier=yes --with mr=yes` writes each scan as a case by itself, and the true maps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tailort import dicom
from tailort.cli import commands
from tailort.cli.course_facts import FACTS, read_facts
from tailort.errors import InputError


@pytest.mark.parametrize(
    ("name", "asked"),
    [("spine", "earlier=maybe"), ("spine", "mr=2"), ("salvage", "mr=yes"), ("oesophagus", "earlier=yes")],
)
def test_scans_that_are_not_made_are_refused_and_nothing_is_left(name: str, asked: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not understood"):
        commands.phantom(name, out=tmp_path / "out", size="coarse", asked=(asked,))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_each_scan_is_a_case_by_itself_and_truth_tells_how_they_lie(tmp_path: Path) -> None:
    out = tmp_path / "out"
    commands.phantom("spine", out=out, size="coarse", seed=3, asked=("earlier=5", "mr=yes"))
    folders = {path.name for path in out.iterdir()}
    assert folders == {"today", "earlier", "mr_t1", "mr_t2", "mr_t1_contrast", "ct_myelogram", "truth.json"}
    today, earlier = dicom.read_case(out / "today"), dicom.read_case(out / "earlier")
    assert len(today.scans) == len(earlier.scans) == 1
    frames = [case.ct.image.grid.frame_of_reference for case in (today, earlier)]
    truth = json.loads((out / "truth.json").read_text())
    bending = truth["earlier"]["bending"]
    assert [bending["from_frame_of_reference"], bending["to_frame_of_reference"]] == frames
    assert bending["seed"] == 5
    pairs = truth["earlier"]["pairs_mm"]
    assert sum(len(pair["today"]) for pair in pairs.values()) >= 60
    # The table's position is most of the way; the bend is the rest.
    table = np.array(bending["table"])
    for pair in pairs.values():
        left = np.array(pair["earlier"]) - np.array(pair["today"]) @ table[:3, :3].T - table[:3, 3]
        assert np.linalg.norm(left, axis=1).max() < 20.0
    assert set(truth["scans"]) == folders - {"today", "earlier", "truth.json"}
    facts = read_facts(out / "earlier" / FACTS)
    assert facts.label == "first course"
    assert facts.last_fraction is not None
    assert facts.last_fraction.isoformat() == truth["earlier"]["last_fraction"]

"""`tailort phantom` writes each scan of a patient as a case by itself, and the truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tailort import dicom
from tailort.cli import commands
from tailort.cli.course_facts import FACTS, read_facts
from tailort.errors import InputError
from tailort.geometry import Grid
from tailort.patient import quantity_named
from tailort.phantom import adaptive


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("spine", "earlier=maybe"),
        ("spine", "mr=2"),
        ("salvage", "mr=yes"),
        ("oesophagus", "earlier=yes"),
        ("adaptive", "weeks=0"),
        ("adaptive", "weeks=3,x"),
        ("painting", "weeks=3"),
    ],
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


@pytest.mark.slow
def test_the_weeks_of_a_changing_patient_are_cases_without_contours_and_truth_lies_beside(tmp_path: Path) -> None:
    out = tmp_path / "out"
    commands.phantom("adaptive", out=out, size="coarse", seed=2, asked=("weeks=5", "modality=cbct", "change=small"))
    assert {path.name for path in out.iterdir()} == {"planning", "week5", "true-structures", "truth.json"}
    planned, week = dicom.read_case(out / "planning"), dicom.read_case(out / "week5")
    assert planned.person.patient_id == week.person.patient_id
    assert planned.ct.image.grid.frame_of_reference != week.ct.image.grid.frame_of_reference
    assert "GTVp" in planned.structures.names
    assert not week.structures.names
    truth = json.loads((out / "week5" / "truth.json").read_text())
    bending = truth["map"]["bending"]
    assert bending["from_frame_of_reference"] == planned.ct.image.grid.frame_of_reference
    assert bending["to_frame_of_reference"] == week.ct.image.grid.frame_of_reference
    assert not any(truth["triggers"].values())
    assert (truth["modality"], truth["fractions_before"]) == ("cbct", 25)
    rebuilt = adaptive.make(truth["seed"], "coarse", change=truth["change"]).map_of(truth["week"])
    for pair in truth["pairs_mm"].values():
        assert np.allclose(rebuilt.to_week(pair["planning"]), pair["week"], atol=0.01)


@pytest.mark.slow
def test_a_patient_for_painting_has_two_pets_that_become_suv_and_true_maps_on_a_known_grid(tmp_path: Path) -> None:
    out = tmp_path / "out"
    patient = commands.phantom("painting", out=out, size="coarse", seed=2)
    assert {path.name for path in out.iterdir()} == {"planning", "pet_fdg", "pet_fmiso", "truth.json", "truth_maps.npz"}
    planned = dicom.read_case(out / "planning")
    fdg = dicom.read_functional(out / "pet_fdg", quantity_named("fdg-suv"))
    dicom.read_functional(out / "pet_fmiso", quantity_named("fmiso-tumour-to-blood"))
    assert fdg.scan.image.grid.frame_of_reference == planned.ct.image.grid.frame_of_reference
    assert fdg.scan.image.values.max() >= patient.record["fdg_suv_max"]["value"] - 0.1
    truth = json.loads((out / "truth.json").read_text())["maps"]
    with np.load(out / truth["file"]) as maps:
        assert set(maps.files) == {"affine", *truth["arrays"]}
        assert np.allclose(maps["affine"], truth["affine"])
        grid = Grid(tuple(truth["shape_kji"]), maps["affine"], truth["frame_of_reference"])
        share = maps["tumour_share"]
    assert share.shape == grid.shape
    grid.require_same_frame(planned.ct.image.grid.frame_of_reference, "the planning CT")
    points = grid.to_world(np.argwhere(share > 0.99))
    drawn = np.concatenate(planned.structures["GTVp"].contours)
    assert (points.min(axis=0) > drawn.min(axis=0) - 3).all()
    assert (points.max(axis=0) < drawn.max(axis=0) + 3).all()

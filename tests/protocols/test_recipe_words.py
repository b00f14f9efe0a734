"""Recipes in words: every operation of a recipe has some, and they say the numbers."""

from __future__ import annotations

import pytest

from tailort.protocols import available, load
from tailort.protocols.consistency import walk
from tailort.protocols.recipe import MarginEntry, OperationSection, StepEntry
from tailort.protocols.recipe_words import in_words, margin_in_words, operation_in_words, technique_in_words
from tailort.protocols.schema import Technique


def step(*then: dict[str, object], **more: object) -> str:
    return in_words(StepEntry.model_validate({"name": "PTV", "role": "PTV", "of": ("CTV",), "then": then} | more))


@pytest.mark.parametrize(("operation", "words"), [
    ({"expand": {"mm": 5.0}}, "plus 5 mm"),
    ({"expand": {"radial_mm": 6.0, "craniocaudal_mm": 30.0}}, "plus 6 mm horizontally and 30 mm craniocaudally"),
    ({"contract": {"mm": 2.0}}, "less 2 mm"),
    ({"unite": {"of": ("A",), "if_drawn": ("B", "C")}}, "with A and B and C where drawn"),
    ({"subtract": {"of": ("A", "B")}}, "without A and B"),
    ({"intersect": ("A", "B")}, "what lies in A and B too"),
    ({"crop": {"by_mm": 3.0}}, "kept 3 mm inside External"),
    ({"ring": {"from_mm": 2.0, "to_mm": 20.0}}, "the shell from 2 to 20 mm around it"),
    ({"drop_parts": {"below_cm3": 0.5}}, "without parts below 0.5 cm3"),
])  # fmt: skip
def test_an_operation_is_told_with_its_numbers(operation: dict[str, object], words: str) -> None:
    assert step(operation) == f"CTV, {words}"


def test_borders_and_stations_are_told() -> None:
    borders = {
        "superior": ({"landmark": "carina", "above_mm": 10.0},),
        "inferior": ({"bottom_of": "GTV", "below_mm": 15.0}, {"landmark": "carina", "below_mm": 20.0}),
    }
    assert step({"borders": borders}) == (
        "CTV, cut above 10 mm above carina and below the outermost of 15 mm below the bottom of GTV or 20 mm below "
        "carina"
    )
    told = step(stations={"of": ("7", "8M"), "reach_mm": 8.0}, of=())
    assert told == "stations 7 and 8M as drawn, else constructed with 8 mm"


def test_margins_of_six_sides_are_told_side_by_side() -> None:
    sides = {f"{side}_mm": float(n) for n, side in enumerate(
        ("left", "right", "anterior", "posterior", "superior", "inferior")
    )}  # fmt: skip
    assert margin_in_words(MarginEntry.model_validate(sides)) == (
        "left 0 right 1 anterior 2 posterior 3 superior 4 inferior 5 mm"
    )


@pytest.mark.parametrize(("technique", "words"), [
    ({"kind": "imrt", "beams": 9}, "IMRT, 9 beams evenly spaced"),
    ({"kind": "imrt", "gantry_deg": (0.0, 90.0), "energy_mv": 6.0}, "IMRT, beams at 0, 90 degrees, 6 MV"),
    ({"kind": "vmat", "arcs": 2}, "VMAT, 2 arcs"),
    ({"kind": "3dcrt", "arrangement": "ap-pa", "aperture_margin_mm": 7.0}, "3-D conformal, ap-pa arrangement"),
])  # fmt: skip
def test_a_technique_is_told(technique: dict[str, object], words: str) -> None:
    assert technique_in_words(Technique.model_validate(technique)) == words


@pytest.mark.parametrize("name", available())
def test_every_operation_of_the_library_has_words(name: str) -> None:
    for _, section in walk(load(name).file):
        if isinstance(section, OperationSection):
            told = operation_in_words(section)
            assert told
            assert "_mm" not in told
            assert "None" not in told

"""A contoured tumour has a length along the organ, and contours that are too short are made longer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.errors import GeometryError, InputError
from tailort.geometry import volume_cm3
from tailort.patient import Structure, StructureSet
from tailort.targets import Lengthen, Step, derive
from tailort.targets.tumour_length import length_along_mm

PLANES = np.arange(-150.0, 150.5, 3.0)


def _disc(z: float, x: float = 0.0, y: float = 0.0, radius: float = 12.0) -> np.ndarray:
    angles = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    return np.column_stack([x + radius * np.cos(angles), y + radius * np.sin(angles), np.full(60, z)])


def _tumour(low: float, high: float, tilt: float = 0.0) -> StructureSet:
    inside = PLANES[(low - 1e-6 <= PLANES) & (high + 1e-6 >= PLANES)]
    contours = tuple(_disc(z, x=tilt * z) for z in inside)
    return StructureSet((Structure("GTVp", "GTV", contours, "1.2.3"),), "1.2.3")


def _made(structures: StructureSet, to_mm: float | None, at_each_end: str = "whole", along: str = "") -> Structure:
    how = Lengthen(to_mm, "endoscopy", at_each_end, along)  # type: ignore[arg-type]
    return derive([Step("GTVp^Length", "GTV", of=("GTVp",), then=(how,), rules=("RT-46",))], structures, PLANES)[
        "GTVp^Length"
    ]


def _ends(structure: Structure) -> tuple[float, float]:
    return float(structure.slice_positions_mm.min()), float(structure.slice_positions_mm.max())


@given(st.integers(1, 40), st.floats(0.5, 5.0))
def test_a_straight_volume_is_as_long_as_its_slices_are_thick_together(count: int, apart: float) -> None:
    stack = [_disc(n * apart) for n in range(count)]
    assert length_along_mm(stack, apart) == pytest.approx(count * apart)


@pytest.mark.parametrize("tilt", [0.25, 0.75])
def test_a_tilted_volume_is_longer_by_its_slope(tilt: float) -> None:
    stack = [_disc(z, x=tilt * z) for z in np.arange(0.0, 60.0, 3.0)]
    assert length_along_mm(stack, 3.0) == pytest.approx(60.0 * math.hypot(1.0, tilt))


def test_an_arc_is_measured_along_the_arc() -> None:
    """Quarter of a circle of 100 mm radius up to 60 degrees from the upright: 104.7 mm long, chords a little less."""
    z = np.arange(0.0, 100.0 * math.sin(math.pi / 3), 3.0)
    stack = [_disc(height, x=100.0 - math.sqrt(100.0**2 - height**2)) for height in z]
    whole = 100.0 * math.asin((z[-1] + 1.5) / 100.0)
    assert length_along_mm(stack, 3.0) == pytest.approx(whole, rel=0.03)
    assert length_along_mm(stack, 3.0) > z[-1] + 10.0


def test_sections_that_change_their_shape_do_not_lengthen_a_volume() -> None:
    rng = np.random.default_rng(3)
    stack = [
        _disc(z, x=float(rng.uniform(-0.7, 0.7)), radius=float(rng.uniform(10, 16))) for z in np.arange(0, 60, 3.0)
    ]
    assert length_along_mm(stack, 3.0) == pytest.approx(60.0, rel=0.01)


def test_contours_that_are_long_enough_stay_as_they_are() -> None:
    structures = _tumour(-30.0, 30.0)  # 63 mm with the halves of the outermost slices
    for told in (40.0, 63.0, 66.0):  # up to a slice more
        made = _made(structures, told)
        assert _ends(made) == (-30.0, 30.0)
        assert "not lengthened" in " ".join(made.made_by)
    assert "less than one slice more" in " ".join(_made(structures, 66.0).made_by)


@pytest.mark.parametrize(("at_each_end", "added"), [("whole", 12.0), ("half", 6.0)])
def test_what_is_lacking_is_added_at_both_ends_and_told(at_each_end: str, added: float) -> None:
    made = _made(_tumour(-30.0, 30.0), 75.0, at_each_end)
    assert _ends(made) == (-30.0 - added, 30.0 + added)
    assert f"lengthened by {added:.1f} mm at each end" in " ".join(made.made_by)
    assert "75 mm by endoscopy [RT-46]" in " ".join(made.made_by)


@settings(deadline=None, max_examples=15)
@given(st.integers(3, 12), st.floats(1.0, 60.0), st.sampled_from(["whole", "half"]))
def test_a_lengthened_tumour_holds_the_drawn_one_and_reaches_the_told_length(
    half: int, more: float, at_each_end: str
) -> None:
    structures = _tumour(-3.0 * half, 3.0 * half)
    told = 6.0 * half + 3.0 + more
    made = _made(structures, told, at_each_end)
    assert volume_cm3(made.contours) >= volume_cm3(structures["GTVp"].contours) - 1e-9
    # To within the slice that contours cannot show.
    assert length_along_mm(made.contours, 3.0) >= told - 3.0 - 1e-6


def test_a_length_that_nobody_told_is_refused() -> None:
    with pytest.raises(InputError, match="'GTVp\\^Length' is lengthened to a length of the clinical record"):
        _made(_tumour(-30.0, 30.0), None)


def test_a_tumour_that_would_leave_the_ct_is_refused() -> None:
    with pytest.raises(GeometryError, match="of CT are missing"):
        _made(_tumour(90.0, 140.0), 120.0)


def test_contours_that_stay_shorter_by_choice_are_told() -> None:
    made = _made(_tumour(-30.0, 30.0), 75.0, "nothing")
    assert _ends(made) == (-30.0, 30.0)
    assert "left as drawn by choice: the contours are 63 mm long, the tumour is 75 mm" in " ".join(made.made_by)


def test_what_is_added_follows_the_organ_where_it_is_drawn_and_goes_on_straight_where_not() -> None:
    drawn = _tumour(-30.0, 30.0)
    organ = tuple(_disc(float(z), x=20.0, radius=6.0) for z in PLANES if -36.1 < z < 60.0)
    structures = drawn.with_structures(Structure("Esophagus", "ORGAN", organ, "1.2.3"))
    made = _made(structures, 75.0, along="Esophagus")
    middle = {float(c[0, 2]): round(float(c[:, 0].min() + c[:, 0].max()) / 2, 1) for c in made.contours}
    assert _ends(made) == (-42.0, 42.0)
    assert {z: x for z, x in middle.items() if z > 30.0} == dict.fromkeys((33.0, 36.0, 39.0, 42.0), 20.0)
    assert {z: x for z, x in middle.items() if z < -30.0} == {-33.0: 20.0, -36.0: 20.0, -39.0: 0.0, -42.0: 0.0}
    assert {x for z, x in middle.items() if abs(z) <= 30.0} == {0.0}
    assert "along Esophagus" in " ".join(made.made_by)
    assert _ends(_made(drawn, 75.0, along="Esophagus")) == (-42.0, 42.0)

"""A beam that comes through an end or a side of the CT at which the body goes on is found, with the millimetres."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dose_phantoms import FRAME, GENERIC, field, plan
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.dose.cut_off import cut_offs
from tailort.errors import GeometryError
from tailort.geometry import Grid, beam_axes
from tailort.patient.plan import Beam, ControlPoint

# Half axes of an elliptic patient that goes on to both ends, x and y, mm.
HALF_MM = (180.0, 120.0)


def trunk(
    top_mm: float = 300.0, left_mm: float = 250.0, spacing_mm: float = 4.0, bottom_mm: float = -300.0
) -> tuple[np.ndarray, Grid]:
    """Return an elliptic trunk along z, scanned from -250 mm to `left_mm` along x and from bottom to top."""
    count = [
        round((high - low) / spacing_mm) for low, high in ((bottom_mm, top_mm), (-250.0, 250.0), (-250.0, left_mm))
    ]
    low = np.array([-250.0, -250.0, bottom_mm])
    grid = Grid.axial(count, (spacing_mm,) * 3, low + spacing_mm / 2, FRAME)
    _, y, x = grid.axes_mm()
    section = (x[None, :] / HALF_MM[0]) ** 2 + (y[:, None] / HALF_MM[1]) ** 2 <= 1.0
    return np.broadcast_to(section, grid.shape).copy(), grid


def test_a_ct_that_is_long_and_wide_enough_cuts_nothing_off() -> None:
    beams = [field(gantry_deg=g, couch_deg=c) for g in (0.0, 50.0, 180.0, 270.0) for c in (0.0, 20.0)]
    assert cut_offs(plan(*beams), *trunk()) == ()


@settings(max_examples=20, deadline=None)
@given(st.floats(10.0, 120.0), st.sampled_from([0.0, 40.0, 90.0, 200.0]))
def test_a_field_beyond_the_last_slice_is_told_by_how_much(above_mm: float, gantry: float) -> None:
    # The field ends `above_mm` above the isocentre, the CT 40 mm above it; the field narrows towards the source.
    found = cut_offs(plan(field(y_mm=(-50.0, above_mm), gantry_deg=gantry)), *trunk(top_mm=40.0))
    beyond = above_mm - 40.0
    if beyond < 0.5:
        assert found == ()
    elif beyond > 1.5:
        (cut,) = found
        assert (cut.beam, cut.face) == ("field", "upper end")
        assert cut.missing_mm == pytest.approx(beyond, abs=0.5)
        assert f"{cut.missing_mm:.0f} mm of its field lie beyond the last slice" in cut.warning
        assert "'field'" in cut.warning


def test_the_lower_end_is_told_from_the_upper() -> None:
    (cut,) = cut_offs(plan(field(y_mm=(-90.0, 50.0))), *trunk(bottom_mm=-60.0))
    assert cut.face == "lower end"
    assert cut.missing_mm == pytest.approx(30.0, abs=0.5)


def test_a_turned_couch_enters_through_the_end() -> None:
    # With the couch at 90 and the gantry at 40 the beam comes slantwise from one end. Where the steepest ray of the
    # field, atan(20/1000) off the axis, passes the body's front at y = -120 mm, the CT must still be there.
    beam = field((-20.0, 20.0), (-20.0, 20.0), gantry_deg=40.0, couch_deg=90.0)
    tilt = np.deg2rad(40.0)
    along, above = 1000.0 * np.sin(tilt), 1000.0 * np.cos(tilt)
    at_front = along - (above - HALF_MM[1]) * np.tan(tilt - np.arctan(0.02))
    from_head = beam_axes(40.0, 0.0, 90.0, "HFS")[2, 2] > 0
    assert cut_offs(plan(beam), *trunk(top_mm=200.0, bottom_mm=-200.0)) == ()
    (cut,) = cut_offs(plan(beam), *trunk(top_mm=60.0, bottom_mm=-60.0))
    assert cut.face == ("upper end" if from_head else "lower end")
    assert cut.missing_mm == pytest.approx(at_front - 60.0, abs=3.0)


@settings(max_examples=15, deadline=None)
@given(st.floats(10.0, 60.0), st.floats(-40.0, 40.0))
def test_a_side_that_cuts_the_body_off_lacks_what_the_ellipse_lacks(lacking_mm: float, height_mm: float) -> None:
    # Closed form: the ellipse ends at 180 mm, the CT that much before; its faces are at multiples of the voxel.
    left = 2.0 * round((HALF_MM[0] - lacking_mm) / 2.0)
    beam = field((-20.0, 20.0), (-20.0, 20.0), gantry_deg=90.0, isocentre_mm=(0.0, height_mm, 0.0))
    (cut,) = cut_offs(plan(beam), *trunk(40.0, left, 2.0, -40.0))
    assert cut.face == "left side"
    assert cut.missing_mm == pytest.approx(HALF_MM[0] - left, abs=4.0)
    assert "which cuts off the body" in cut.warning


def test_a_beam_from_elsewhere_does_not_mind_a_side_that_is_cut_off() -> None:
    body, grid = trunk(left_mm=150.0)
    for gantry in (0.0, 180.0, 270.0):
        assert cut_offs(plan(field(gantry_deg=gantry)), body, grid) == ()


def test_an_arc_is_looked_at_from_all_its_directions() -> None:
    angles = np.linspace(180.0, 40.0, 29)
    points = tuple(
        ControlPoint(float(n), float(a), 0.0, 0.0, (-30.0, 30.0), (-30.0, 30.0), None) for n, a in enumerate(angles)
    )
    arc = Beam("arc", 1, GENERIC.id, 6.0, True, (0.0, 0.0, 0.0), (), points, dynamic=True)
    (cut,) = cut_offs(plan(arc), *trunk(40.0, 150.0, 2.0, -40.0))
    assert (cut.beam, cut.face) == ("arc", "left side")
    assert cut.missing_mm == pytest.approx(30.0, abs=2.0)


def test_closed_leaves_reach_nowhere() -> None:
    leaves = np.zeros((2, GENERIC.leaf_pairs))
    boundaries = np.array(GENERIC.leaf_boundaries_mm)
    open_rows = (boundaries[:-1] >= -50.0) & (boundaries[1:] <= 20.0)
    leaves[0, open_rows], leaves[1, open_rows] = -30.0, 30.0
    shaped = replace(
        field(y_mm=(-200.0, 200.0)),
        leaf_boundaries_mm=GENERIC.leaf_boundaries_mm,
        control_points=tuple(
            ControlPoint(mu, 0.0, 0.0, 0.0, (-50.0, 50.0), (-200.0, 200.0), leaves) for mu in (0.0, 1.0)
        ),
    )
    assert cut_offs(plan(shaped), *trunk(top_mm=40.0)) == ()
    (cut,) = cut_offs(plan(shaped), *trunk(top_mm=8.0))
    assert cut.missing_mm == pytest.approx(12.0, abs=0.5)


def test_partial_volumes_count_from_a_half_and_shapes_must_fit() -> None:
    body, grid = trunk(top_mm=40.0)
    treatment = plan(field(y_mm=(-50.0, 80.0)))
    assert cut_offs(treatment, 0.4 * body, grid) == ()
    assert len(cut_offs(treatment, 0.6 * body, grid)) == 1
    with pytest.raises(GeometryError, match="outline of shape"):
        cut_offs(treatment, body[1:], grid)

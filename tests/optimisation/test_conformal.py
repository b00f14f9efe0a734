"""Conformal apertures, arrangements and beam's-eye views: laws of projection, margins, blocks and positions."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.errors import GeometryError, InputError
from tailort.geometry import beam_axes
from tailort.geometry.contours import area_mm2
from tailort.geometry.solid import surface_points
from tailort.optimisation.arrangements import arranged
from tailort.optimisation.conformal import (
    ApertureMargin,
    Block,
    Prisms,
    beams_of,
    conform,
    extents,
    overlap_mm2,
    seen,
)
from tailort.optimisation.conformal_view import beams_eye_views, shadow
from tailort.patient import BeamSetup
from tailort.patient.arrangements import arrangement, arrangements, direction_name, gantry_deg, setups_of
from tailort.physics.machines import machine

GENERIC = machine("generic-6MV")
EDGES = np.asarray(GENERIC.leaf_boundaries_mm)
NO_MLC = replace(GENERIC, leaf_boundaries_mm=())
SAD = 1000.0
ISO = (4.0, -11.0, 203.0)


def bent(step_mm: float = 3.0, mirror: float = 1.0) -> tuple[np.ndarray, ...]:
    """A target that runs sideways and forwards as it goes up, with a dent on one side."""
    contours = []
    for z in np.arange(160.0, 250.0, step_mm):
        t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        r = 18.0 + 5.0 * np.cos(2 * t) - 9.0 * np.exp(-(((t - 2.0) / 0.5) ** 2))
        x = r * np.cos(t) + 0.3 * (z - 200.0) + 6.0
        y = r * np.sin(t) - 0.2 * (z - 200.0) - 14.0
        contours.append(np.stack([mirror * x, y, np.full(len(t), z)], axis=1))
    return tuple(contours)


def cord(x_mm: float = 2.0, y_mm: float = 35.0, radius_mm: float = 5.0) -> tuple[np.ndarray, ...]:
    t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([x_mm + radius_mm * np.cos(t), y_mm + radius_mm * np.sin(t)], axis=1)
    return tuple(np.column_stack([circle, np.full(len(t), z)]) for z in np.arange(100.0, 310.0, 3.0))


def box(x: float, y: float, z: float, centre=(0.0, 0.0, 0.0), step_mm: float = 2.0) -> tuple[np.ndarray, ...]:
    """A block of these half sides; its planes lie so that the half slices end at +-z."""
    corners = np.array([(-x, -y), (x, -y), (x, y), (-x, y)]) + np.asarray(centre[:2])
    planes = np.arange(-z + step_mm / 2, z, step_mm) + centre[2]
    return tuple(np.column_stack([corners, np.full(4, p)]) for p in planes)


@cache
def target() -> Prisms:
    return Prisms.of("PTV", bent())


@cache
def mirrored_target() -> Prisms:
    return Prisms.of("PTV", bent(mirror=-1.0))


@cache
def spinal_cord() -> Prisms:
    return Prisms.of("SpinalCord", cord())


@cache
def surface() -> np.ndarray:
    return surface_points(bent(), spacing_mm=3.0)


def setup(gantry: float, collimator: float = 0.0, couch: float = 0.0) -> BeamSetup:
    return BeamSetup("1 beam", 1, ISO, gantry, collimator, couch)


def rim(margin: ApertureMargin, beam: BeamSetup, position: str) -> np.ndarray:
    """Points within 99.8 % of the margin of every surface point."""
    axes = beam_axes(beam.gantry_deg, beam.collimator_deg, beam.couch_deg, position)
    root = np.linalg.cholesky(margin.ellipse(axes))
    t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    at = seen(surface(), beam, position, SAD)
    return (at[:, None, :] + 0.998 * (root @ np.stack([np.cos(t), np.sin(t)])).T).reshape(-1, 2)


@given(
    gantry=st.floats(0, 359.9),
    collimator=st.sampled_from([0.0, 12.0, 45.0, 90.0, 307.0]),
    couch=st.sampled_from([0.0, 20.0, 90.0]),
    across=st.floats(0.1, 12.0),
    along=st.floats(0.1, 20.0),
    position=st.sampled_from(["HFS", "HFP", "FFS", "FFP"]),
)
@settings(max_examples=30, deadline=None)
def test_every_point_of_the_target_is_in_the_field_by_the_margin(
    gantry, collimator, couch, across, along, position
) -> None:
    margin, beam = ApertureMargin(across, along), setup(gantry, collimator, couch)
    points = rim(margin, beam, position)
    opened = conform(beam, [target()], GENERIC, position, margin)
    assert opened.contains(points, GENERIC).all()
    jaws = conform(beam, [target()], NO_MLC, position, margin)
    assert jaws.open_mm is None
    assert jaws.contains(points, NO_MLC).all()
    # Sections are drawn out by 1 mm to either side, here at a slope of up to 0.4 mm a mm, and sampled every 3 mm.
    (x1, x2), (y1, y2) = jaws.jaws_x_mm, jaws.jaws_y_mm
    np.testing.assert_allclose([x1, y1, x2, y2], [*points.min(axis=0), *points.max(axis=0)], atol=1.5)


@pytest.mark.parametrize("collimator", [0.0, 90.0])
def test_a_box_gives_the_rectangle_of_its_nearest_face(collimator) -> None:
    block = Prisms.of("PTV", box(20.0, 30.0, 42.0))
    beam = BeamSetup("1 AP", 1, (0.0, 0.0, 0.0), 0.0, collimator)
    opened = conform(beam, [block], GENERIC, "HFS", ApertureMargin(7.0, 11.0))
    larger = 1000.0 / (1000.0 - 30.0)
    lateral, long = 20.0 * larger + 7.0, 42.0 * larger + 11.0
    x, y = (lateral, long) if collimator == 0.0 else (long, lateral)
    np.testing.assert_allclose(opened.jaws_x_mm, (-x, x), atol=1e-6)
    np.testing.assert_allclose(opened.jaws_y_mm, (-y, y), atol=1e-6)
    boxes = opened.boxes(GENERIC)
    # Leaves beyond the straight part follow the ellipse at the corner: at its middle leaves they stand at the edge.
    middle = np.abs(boxes[:, 2:]).max(axis=1) < (42.0 if collimator == 0.0 else 20.0) * larger
    np.testing.assert_allclose(boxes[middle, 0], -x, atol=1e-6)
    np.testing.assert_allclose(boxes[middle, 1], x, atol=1e-6)


def test_leaves_stand_at_the_outermost_point_within_their_width() -> None:
    # A wedge seen as a triangle, no margin: each leaf's outermost point is where the edge leaves its strip.
    edges = np.array([[0.0, 0.0, 40.0, 20.0], [40.0, 20.0, 0.0, 20.0], [0.0, 20.0, 0.0, 0.0]])
    low, high = extents(edges, np.arange(0.0, 26.0, 5.0), np.zeros((2, 2)))
    np.testing.assert_allclose(high[:4], [10.0, 20.0, 30.0, 40.0], atol=1e-6)
    np.testing.assert_allclose(low[:4], 0.0, atol=1e-6)
    assert high[4] == -np.inf


@given(
    points=st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=2, max_size=2),
    axes_mm=st.tuples(st.floats(0.5, 20), st.floats(0.5, 20)),
    turn=st.floats(0, np.pi),
)
@settings(max_examples=60, deadline=None)
def test_the_closed_form_of_the_outermost_point_agrees_with_points_along_edge_and_ellipse(
    points, axes_mm, turn
) -> None:
    c, s = np.cos(turn), np.sin(turn)
    root = np.array([[c, -s], [s, c]]) * axes_mm
    t = np.linspace(0, 2 * np.pi, 721)
    rim = (root @ np.stack([np.cos(t), np.sin(t)])).T
    (x0, y0), (x1, y1) = points
    along = np.linspace(0, 1, 401)[:, None] * (np.array([x1 - x0, y1 - y0])) + (x0, y0)
    cloud = (along[:, None] + rim).reshape(-1, 2)
    strips = np.arange(-75.0, 76.0, 7.5)
    low, high = extents(np.array([[x0, y0, x1, y1]]), strips, root @ root.T)
    for n, (a, b) in enumerate(pairwise(strips)):
        own = cloud[(cloud[:, 1] > a + 1e-5) & (cloud[:, 1] < b - 1e-5), 0]
        if len(own):
            assert low[n] - 1e-6 <= own.min()
            assert own.max() <= high[n] + 1e-6
            clear = (cloud[:, 1].min() <= a) & (cloud[:, 1].max() >= b)
            if clear:
                # The cloud's points lie up to half a degree of the ellipse from its strip's edge.
                assert own.max() > high[n] - 1.5
                assert own.min() < low[n] + 1.5


@given(gantry=st.floats(0, 359.0), collimator=st.sampled_from([0.0, 30.0]), more=st.floats(0.1, 8.0))
@settings(max_examples=15, deadline=None)
def test_the_opening_grows_with_the_margin(gantry, collimator, more) -> None:
    beam = setup(gantry, collimator)
    small = conform(beam, [target()], GENERIC, "HFS", ApertureMargin(5.0, 8.0))
    wide = conform(beam, [target()], GENERIC, "HFS", ApertureMargin(5.0 + more, 8.0 + more))
    assert small.open_mm is not None
    assert wide.open_mm is not None
    opened = small.open_mm[1] > small.open_mm[0]
    assert (wide.open_mm[0, opened] < small.open_mm[0, opened]).all()
    assert (wide.open_mm[1, opened] > small.open_mm[1, opened]).all()
    assert wide.jaws_y_mm[0] < small.jaws_y_mm[0] < small.jaws_y_mm[1] < wide.jaws_y_mm[1]


@given(gantry=st.floats(0, 359.0))
@settings(max_examples=10, deadline=None)
def test_the_mirrored_patient_has_the_mirrored_opening(gantry) -> None:
    margin = ApertureMargin(6.0, 9.0)
    here = conform(setup(gantry), [target()], GENERIC, "HFS", margin)
    there_setup = BeamSetup("1 beam", 1, (-ISO[0], *ISO[1:]), (-gantry) % 360.0)
    there = conform(there_setup, [mirrored_target()], GENERIC, "HFS", margin)
    boxes, mirrored_boxes = here.boxes(GENERIC), there.boxes(GENERIC)
    # Sections between the planes are simplified by up to 0.005 mm, from another starting point.
    np.testing.assert_allclose(mirrored_boxes[:, :2], -boxes[:, 1::-1], atol=0.05)
    np.testing.assert_allclose(mirrored_boxes[:, 2:], boxes[:, 2:], atol=0.05)


@given(gantry=st.floats(0, 359.0), collimator=st.sampled_from([0.0, 33.0]))
@settings(max_examples=10, deadline=None)
def test_a_prone_patient_has_the_same_opening_from_the_other_side_of_the_gantry(gantry, collimator) -> None:
    margin = ApertureMargin(6.0, 9.0)
    supine = conform(setup(gantry, collimator), [target()], GENERIC, "HFS", margin)
    prone = conform(setup((gantry + 180.0) % 360.0, collimator), [target()], GENERIC, "HFP", margin)
    np.testing.assert_allclose(prone.boxes(GENERIC), supine.boxes(GENERIC), atol=1e-6)


def test_moving_patient_and_isocentre_together_moves_no_leaf() -> None:
    shift = np.array([13.0, -7.0, 40.0])
    moved = Prisms.of("PTV", tuple(contour + shift for contour in bent()))
    x, y, z = (float(c) for c in np.array(ISO) + shift)
    margin = ApertureMargin.uniform(7.0)
    here = conform(setup(65.0), [target()], GENERIC, "HFS", margin)
    there = conform(BeamSetup("1 beam", 1, (x, y, z), 65.0), [moved], GENERIC, "HFS", margin)
    np.testing.assert_allclose(there.boxes(GENERIC), here.boxes(GENERIC), atol=1e-3)


def test_a_target_narrower_than_the_leaves_can_open_is_still_in_the_field() -> None:
    needle = Prisms.of("PTV", box(0.1, 0.1, 20.0, (7.0, 0.0, 0.0)))
    opened = conform(BeamSetup("1 AP", 1, (0.0, 0.0, 0.0), 0.0), [needle], GENERIC, "HFS", ApertureMargin.uniform(0.0))
    assert opened.contains(np.array([[7.0, -19.9], [7.0, 0.0], [7.0, 19.9]]), GENERIC).all()
    leaves = opened.control_point(0.0, GENERIC).leaves_mm
    assert leaves is not None
    at_needle = (EDGES[:-1] > -21.0) & (EDGES[1:] < 21.0)
    np.testing.assert_allclose((leaves[1] - leaves[0])[at_needle], GENERIC.leaf_gap_mm, atol=1e-9)


def test_two_targets_are_seen_like_one_with_the_parts_of_both() -> None:
    a, b = box(10.0, 10.0, 12.0, (-30.0, 0.0, -30.0)), box(10.0, 10.0, 12.0, (30.0, 0.0, 30.0))
    beam = BeamSetup("1 AP", 1, (0.0, 0.0, 0.0), 0.0)
    opened = conform(beam, [Prisms.of("PTV1", a), Prisms.of("PTV2", b)], GENERIC, "HFS", ApertureMargin.uniform(5.0))
    one = conform(beam, [Prisms.of("PTV", (*a, *b))], GENERIC, "HFS", ApertureMargin.uniform(5.0))
    np.testing.assert_allclose(opened.boxes(GENERIC), one.boxes(GENERIC), atol=1e-6)
    # Between them the leaves are closed, and parked behind a jaw.
    assert len(opened.outline(GENERIC)) == 2
    assert opened.open_mm is not None
    closed = opened.open_mm[0] == opened.open_mm[1]
    between = closed & (EDGES[:-1] > -15.0) & (EDGES[1:] < 15.0)
    assert between.any()
    bottom, top = opened.jaws_y_mm
    parked = opened.open_mm[0, closed & (EDGES[1:] > bottom + 1e-6) & (EDGES[:-1] < top - 1e-6)]
    assert len(parked)
    assert ((parked < opened.jaws_x_mm[0]) | (parked > opened.jaws_x_mm[1])).all()


def test_a_field_wider_than_a_bank_spans_needs_no_leaf_beyond_its_edge() -> None:
    wide = Prisms.of("PTV", box(85.0, 10.0, 20.0))
    opened = conform(BeamSetup("1 AP", 1, (0.0, 0.0, 0.0), 0.0), [wide], GENERIC, "HFS", ApertureMargin.uniform(5.0))
    x1, x2 = opened.jaws_x_mm
    assert x2 - x1 > GENERIC.leaf_span_mm
    assert opened.open_mm is not None
    assert np.ptp(opened.open_mm, axis=1).max() <= GENERIC.leaf_span_mm
    # Two such targets beside each other in z leave pairs between them that have to close behind a jaw along x.
    apart = [Prisms.of(f"PTV{n}", box(85.0, 10.0, 10.0, (0.0, 0.0, 70.0 * n))) for n in (0, 1)]
    with pytest.raises(GeometryError, match="mm apart"):
        conform(BeamSetup("1 AP", 1, (0.0, 0.0, 0.0), 0.0), apart, GENERIC, "HFS", ApertureMargin.uniform(5.0))


@given(gantry=st.floats(0, 359.0), margin=st.floats(0.0, 8.0), side=st.sampled_from(["x1", "x2", None]))
@settings(max_examples=30, deadline=None)
def test_leaves_close_over_a_blocked_organ(gantry, margin, side) -> None:
    beam, keep = setup(gantry), ApertureMargin.uniform(margin)
    open_field = conform(beam, [target()], GENERIC, "HFS", ApertureMargin.uniform(8.0))
    try:
        opened = conform(
            beam, [target()], GENERIC, "HFS", ApertureMargin.uniform(8.0), [Block(spinal_cord(), keep)], side
        )
    except GeometryError:
        # Nothing on that side: then the shade reaches to its edge of the field.
        assert side is not None
        return
    shade = seen(surface_points(cord(), spacing_mm=2.0), beam, "HFS", SAD)
    t = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    shade = (shade[:, None] + 0.99 * margin * np.stack([np.cos(t), np.sin(t)], axis=1)).reshape(-1, 2)
    inner = opened.boxes(GENERIC)
    for x1, x2, y1, y2 in inner:
        within = (shade[:, 0] > x1 + 1e-6) & (shade[:, 0] < x2 - 1e-6) & (shade[:, 1] > y1) & (shade[:, 1] < y2)
        assert not within.any()
    assert opened.area_mm2(GENERIC) <= open_field.area_mm2(GENERIC) + 1e-6
    overlap = overlap_mm2(beam, [target()], spinal_cord(), "HFS", SAD, ApertureMargin.uniform(8.0), keep)
    if overlap == 0.0:
        np.testing.assert_allclose(inner, open_field.boxes(GENERIC))


def test_the_larger_side_of_a_block_stays_open() -> None:
    beam = BeamSetup("1 AP", 1, (0.0, 0.0, 0.0), 0.0)
    wide = Prisms.of("PTV", box(30.0, 10.0, 20.0, (8.0, 0.0, 0.0)))
    organ = Block(Prisms.of("SpinalCord", box(4.0, 4.0, 60.0, (0.0, 40.0, 0.0))), ApertureMargin.uniform(2.0))
    ways = {
        side: conform(beam, [wide], GENERIC, "HFS", ApertureMargin.uniform(5.0), [organ], side)
        for side in ("x1", "x2", None)
    }
    assert ways["x1"].jaws_x_mm[1] < 0 < ways["x2"].jaws_x_mm[0]
    assert ways[None].jaws_x_mm == ways["x2"].jaws_x_mm
    seen_edge = 4.0 * 1000.0 / (1000.0 + 36.0) + 2.0
    assert ways["x2"].jaws_x_mm[0] == pytest.approx(seen_edge, abs=1e-6)


def test_fields_that_cannot_be_are_refused() -> None:
    margin = ApertureMargin.uniform(5.0)
    with pytest.raises(GeometryError, match="leaves"):
        conform(BeamSetup("1", 1, (4.0, -11.0, 500.0), 0.0), [target()], GENERIC, "HFS", margin)
    with pytest.raises(GeometryError, match="isocentre"):
        conform(BeamSetup("1", 1, (300.0, -11.0, 203.0), 0.0), [target()], GENERIC, "HFS", margin)
    with pytest.raises(GeometryError, match="jaws"):
        conform(BeamSetup("1", 1, (300.0, -11.0, 203.0), 0.0), [target()], NO_MLC, "HFS", margin)
    with pytest.raises(GeometryError, match="behind its source"):
        conform(BeamSetup("1", 1, (4.0, 1100.0, 203.0), 0.0), [target()], GENERIC, "HFS", margin)
    with pytest.raises(GeometryError, match="bank"):
        conform(
            BeamSetup("1", 1, (0.0, 0.0, 0.0), 0.0),
            [
                Prisms.of("left", box(10.0, 10.0, 12.0, (-110.0, 0.0, -30.0))),
                Prisms.of("right", box(10.0, 10.0, 12.0, (110.0, 0.0, 30.0))),
            ],
            GENERIC,
            "HFS",
            margin,
        )
    with pytest.raises(InputError, match="MLC"):
        conform(setup(0.0), [target()], NO_MLC, "HFS", margin, [Block(spinal_cord(), margin)])
    with pytest.raises(InputError, match="no target"):
        conform(setup(0.0), [], GENERIC, "HFS", margin)
    with pytest.raises(GeometryError, match="contours"):
        Prisms.of("PTV", ())
    with pytest.raises(InputError, match="margin"):
        ApertureMargin(-1.0, 3.0)
    everything = Prisms.of("Heart", box(150.0, 150.0, 150.0, ISO))
    with pytest.raises(GeometryError, match="Heart"):
        conform(setup(0.0), [target()], GENERIC, "HFS", margin, [Block(everything, margin)])


def test_segments_of_one_beam_become_one_beam_whose_field_is_as_wide_as_the_aperture() -> None:
    large = conform(setup(0.0), [target()], GENERIC, "HFS", ApertureMargin.uniform(8.0))
    small = conform(setup(0.0), [target()], GENERIC, "HFS", ApertureMargin.uniform(2.0))
    other = conform(replace(setup(180.0), number=2), [target()], GENERIC, "HFS", ApertureMargin.uniform(8.0))
    beams = beams_of([small, other, large], np.array([10.0, 0.0, 60.0]), GENERIC)
    assert [beam.mu for beam in beams] == [70.0]
    steps = list(beams[0].segments())
    assert [mu for mu, _ in steps] == [60.0, 10.0]
    leaves = steps[0][1].leaves_mm
    assert leaves is not None
    assert large.open_mm is not None
    opened = large.open_mm[1] > large.open_mm[0]
    gap = GENERIC.head.leaf_end_gap_mm
    np.testing.assert_allclose((leaves[1] - leaves[0])[opened] + gap, (large.open_mm[1] - large.open_mm[0])[opened])
    assert (leaves[0] == leaves[1])[~opened].all()


@pytest.mark.parametrize("position", ["HFS", "HFP", "FFS", "FFP"])
@pytest.mark.parametrize("direction", [0.0, 90.0, 130.0, 180.0, 270.0, 315.0])
def test_a_direction_enters_the_patient_from_the_same_side_in_every_position(position, direction) -> None:
    source = beam_axes(gantry_deg(direction, position), 0.0, 0.0, position)[2]
    t = np.deg2rad(direction)
    # LPS: anterior is -y, left is +x.
    np.testing.assert_allclose(source, [np.sin(t), -np.cos(t), 0.0], atol=1e-12)


def test_directions_have_their_clinical_names() -> None:
    names = [direction_name(d) for d in (0, 45, 90, 120, 180, 240, 270, 315)]
    assert names == ["AP", "LAO", "L LAT", "LPO", "PA", "RPO", "R LAT", "RAO"]


def test_arrangements_are_what_they_are_called() -> None:
    named = {name: [direction_name(d) for d in a.choices_deg[0]] for name, a in arrangements().items()}
    assert named["ap-pa"] == ["AP", "PA"]
    assert named["three-field"] == ["AP", "LPO", "RPO"]
    assert named["three-field-cervical"] == ["LAO", "RAO", "PA"]
    assert set(named["four-field"]) == {"AP", "PA", "L LAT", "R LAT"}
    for a, b in arrangement("opposed-obliques").choices_deg:
        assert (a - b) % 360.0 == 180.0
        assert "O" in direction_name(a)
    with pytest.raises(InputError, match="opposed-obliques"):
        arrangement("five-field")


@pytest.mark.parametrize("position", ["HFS", "HFP"])
def test_obliques_are_turned_off_the_cord(position) -> None:
    # The target lies to the patient's left of the cord: obliques that pass between them go from right anterior.
    ptv = Prisms.of("PTV", box(15.0, 15.0, 40.0, (12.0, -20.0, 0.0)))
    organ = Prisms.of("SpinalCord", box(5.0, 5.0, 90.0, (0.0, 35.0, 0.0)))
    margin, keep = ApertureMargin.uniform(7.0), ApertureMargin.uniform(5.0)
    obliques = arrangement("opposed-obliques")
    found = arranged(
        obliques, (12.0, -20.0, 0.0), position, targets=[ptv], avoid=organ, margin=margin, avoid_margin=keep
    )
    assert found.overlap_mm2 == 0.0
    for setup_ in found.setups:
        assert overlap_mm2(setup_, [ptv], organ, position, SAD, margin, keep) == 0.0
    through = setups_of((0.0, 180.0), (12.0, -20.0, 0.0), position)
    assert overlap_mm2(through[0], [ptv], organ, position, SAD, margin, keep) > 100.0
    assert arranged(obliques, (0.0, 0.0, 0.0), position).overlap_mm2 is None
    with pytest.raises(InputError, match="SpinalCord"):
        arranged(obliques, (0.0, 0.0, 0.0), position, avoid=organ)


def test_the_overlap_is_the_area_that_the_organ_covers() -> None:
    ptv = Prisms.of("PTV", box(30.0, 0.5, 40.0))
    organ = Prisms.of("SpinalCord", box(5.0, 0.5, 90.0))
    beam = BeamSetup("1 AP", 1, (0.0, 0.0, 0.0), 0.0)
    area = overlap_mm2(beam, [ptv], organ, "HFS", SAD, ApertureMargin.uniform(0.0), ApertureMargin(2.0, 0.0))
    assert area == pytest.approx(14.0 * 80.0, rel=0.03)


def test_shadows_for_figures_are_true() -> None:
    block = Prisms.of("PTV", box(20.0, 30.0, 42.0))
    (outline,) = shadow(block, BeamSetup("1 AP", 1, (0.0, 0.0, 0.0), 0.0), "HFS", SAD)
    larger = 1000.0 / 970.0
    np.testing.assert_allclose(np.abs(outline).max(axis=0), [20.0 * larger, 42.0 * larger], atol=0.5)
    assert area_mm2(outline) == pytest.approx(4 * 20.0 * 42.0 * larger**2, rel=0.02)


def test_a_hole_that_the_beam_looks_through_is_in_the_shadow() -> None:
    outer, inner = box(30.0, 30.0, 30.0), box(12.0, 12.0, 30.0)
    tube = Prisms.of("Ring", tuple(c for pair in zip(outer, inner, strict=True) for c in pair))
    along = BeamSetup("1", 1, (0.0, 0.0, 0.0), 90.0, 0.0, 90.0)
    across = BeamSetup("2", 2, (0.0, 0.0, 0.0), 0.0)
    assert sorted(np.sign([area_mm2(p) for p in shadow(tube, along, "HFS", SAD)])) == [-1.0, 1.0]
    assert len(shadow(tube, across, "HFS", SAD)) == 1


def test_the_shadow_for_figures_lies_in_the_opening() -> None:
    margin = ApertureMargin.uniform(6.0)
    apertures = [conform(setup(g), [target()], GENERIC, "HFS", margin) for g in (20.0, 110.0)]
    apertures[1] = replace(apertures[1], setup=replace(apertures[1].setup, number=2))
    views = beams_eye_views([*apertures, apertures[0]], [target(), spinal_cord()], GENERIC, "HFS")
    assert [len(view.openings) for view in views] == [2, 1]
    for view, aperture in zip(views, apertures, strict=True):
        assert set(view.shadows) == {"PTV", "SpinalCord"}
        for polygon in view.shadows["PTV"]:
            assert aperture.contains(polygon, GENERIC).all()
        area = sum(area_mm2(polygon) for polygon in view.openings[0])
        assert area == pytest.approx(aperture.area_mm2(GENERIC))

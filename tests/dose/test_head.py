"""The fluence is what a point of the isocentre plane sees of the sources, past jaws and leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.dose.fluence import Exposure, exposures, fluence
from tailort.dose.head import head_fluence
from tailort.patient.plan import Beam, ControlPoint
from tailort.physics import Machine, machine

FITTED = machine("generic-6MV")
GENERIC = replace(FITTED, head=replace(FITTED.head, jaw_offset_mm=0.0))
POINT = machine("point-6MV")
EDGES = np.arange(-210.0, 210.1, 1.0)
PAIRS = GENERIC.leaf_pairs
WIDE = (-200.0, 200.0)


def headed(of: Machine = GENERIC, **changes: float) -> Machine:
    return replace(of, head=replace(of.head, **changes))


def beam_of(*points: ControlPoint, boundaries: tuple[float, ...] = GENERIC.leaf_boundaries_mm) -> Beam:
    return Beam("B", 1, GENERIC.id, 6.0, True, (0.0, 0.0, 0.0), boundaries, points)


def still(leaves: np.ndarray | None, jaws_x=WIDE, jaws_y=WIDE, mu: float = 1.0) -> Beam:
    return beam_of(*(ControlPoint(at, 0.0, 0.0, 0.0, jaws_x, jaws_y, leaves) for at in (0.0, mu)))


def leaves_of(rng: np.random.Generator) -> np.ndarray:
    left = rng.uniform(-80, 40, PAIRS)
    return np.stack([left, left + rng.uniform(0.5, 60, PAIRS)])


def energy(beam: Beam, of: Machine, x=EDGES, y=EDGES) -> np.ndarray:
    return sum(head_fluence(part, beam, of, x, y)[0] for part in exposures(beam))


def on_axis(beam: Beam, of: Machine) -> float:
    pixel = np.array([-0.5, 0.5])
    return float(energy(beam, of, pixel, pixel)[0, 0])


def jaws(side: float) -> Beam:
    return still(None, (-side / 2, side / 2), (-side / 2, side / 2))


@given(st.integers(0, 10_000), st.floats(-100, 0), st.floats(5, 100), st.floats(-100, 0), st.floats(5, 100))
@settings(max_examples=20, deadline=None)
def test_a_point_source_behind_plain_collimators_gives_the_exact_area_of_the_opening(
    seed: int, x1: float, dx: float, y1: float, dy: float
) -> None:
    beam = still(leaves_of(np.random.default_rng(seed)), (x1, x1 + dx), (y1, y1 + dy), mu=3.0)
    leaky = replace(POINT, leaf_transmission=0.015, jaw_transmission=0.005)
    part = exposures(beam)[0]
    np.testing.assert_allclose(
        head_fluence(part, beam, leaky, EDGES, EDGES)[0], fluence(part, beam, leaky, EDGES, EDGES), atol=1e-9
    )


def seen_by_rays(of: Machine, beam: Beam, u: float, v: float, plane: float, sigma: float) -> float:
    """Share of a Gaussian source that (u, v) sees: 400 x 400 rays, each stopped by what it meets."""
    z = (np.arange(400) + 0.5) / 400
    from scipy.special import ndtri

    at = sigma * ndtri(z)
    sad = of.source_axis_distance_mm
    point = beam.control_points[0]

    def crossing(isocentre: float, c: float) -> np.ndarray:
        """Where rays pass the collimator, scaled to the isocentre plane from the middle of the true source."""
        return (at + (isocentre - at) * (c - plane) / (sad - plane)) * sad / c

    head = of.head
    x_jaw, y_jaw = crossing(u, head.jaw_x_distance_mm), crossing(v, head.jaw_y_distance_mm)
    x_leaf, y_leaf = crossing(u, head.leaf_distance_mm), crossing(v, head.leaf_distance_mm)
    jaw = ((x_jaw > point.jaws_x_mm[0]) & (x_jaw < point.jaws_x_mm[1]))[None, :] & (
        (y_jaw > point.jaws_y_mm[0]) & (y_jaw < point.jaws_y_mm[1])
    )[:, None]
    pair = np.clip(np.searchsorted(beam.leaf_boundaries_mm, y_leaf) - 1, 0, PAIRS - 1)
    left, right = point.leaves_mm
    leaf = (x_leaf[None, :] > left[pair][:, None]) & (x_leaf[None, :] < right[pair][:, None])
    through = np.where(jaw, 1.0, of.jaw_transmission) * np.where(leaf, 1.0, of.leaf_transmission)
    return float(through.mean())


def test_the_primary_source_is_seen_as_ray_by_ray() -> None:
    wide = headed(source_sigma_mm=3.0, extrafocal_share=0.0, leaf_end_gap_mm=0.0, tongue_mm=0.0)
    wide = headed(wide, profile=((0.0, 1.0),))
    beam = still(leaves_of(np.random.default_rng(1)), (-45.0, 38.0), (-31.0, 52.0))
    for u, v in [(0.0, 0.0), (-44.0, 3.0), (37.0, -30.0), (10.0, 50.0), (-20.0, 21.0)]:
        x, y = (np.array([p - 0.05, p + 0.05]) for p in (u, v))
        found = float(energy(beam, wide, x, y)[0, 0])
        assert found == pytest.approx(seen_by_rays(wide, beam, u, v, 0.0, 3.0), abs=0.006)


def test_the_extra_focal_source_is_seen_as_ray_by_ray() -> None:
    beam = still(leaves_of(np.random.default_rng(2)), (-45.0, 38.0), (-31.0, 52.0))
    open_field = still(np.tile([[-200.0], [200.0]], PAIRS))
    with_it = headed(extrafocal_share=0.1, leaf_end_gap_mm=0.0, profile=((0.0, 1.0),))
    without = headed(with_it, extrafocal_share=0.0)
    head = with_it.head
    edges = np.arange(-100.0, 100.1, 1.0)
    extra = energy(beam, with_it, edges, edges) - 0.9 * energy(beam, without, edges, edges)
    source = (head.extrafocal_distance_mm, head.extrafocal_sigma_mm)
    largest = seen_by_rays(with_it, open_field, 0.0, 0.0, *source)
    for u, v in [(0.0, 0.0), (-44.5, 3.0), (37.0, -30.0), (10.0, 60.0), (-80.0, 21.0)]:
        found = float(extra[int(v + 100), int(u + 100)])
        rays = seen_by_rays(with_it, beam, u + 0.5, v + 0.5, *source) / largest
        # Photons of this source that pass jaws are left out: at most half a per cent of it.
        assert found == pytest.approx(0.1 * rays, abs=0.0008)


def test_output_in_air_grows_with_the_field_by_what_the_jaws_open_of_the_extra_focal_source() -> None:
    sides = [30.0, 40.0, 60.0, 100.0, 200.0, 300.0, 400.0]
    found = np.array([on_axis(jaws(side), GENERIC) for side in sides])
    assert (np.diff(found) > 0).all()
    # Head scatter of flattened 6 MV beams between 4 x 4 and 40 x 40 cm: several per cent.
    assert 1.03 < found[-1] / found[1] < 1.10
    assert found[-1] == pytest.approx(1.0, abs=1e-3)


def test_the_upper_jaws_change_the_output_more_than_the_lower_ones() -> None:
    along_x = on_axis(still(None, (-150.0, 150.0), (-20.0, 20.0)), GENERIC)
    along_y = on_axis(still(None, (-20.0, 20.0), (-150.0, 150.0)), GENERIC)
    assert GENERIC.head.jaw_y_distance_mm < GENERIC.head.jaw_x_distance_mm
    assert along_y > along_x


def test_edges_are_blurred_by_the_source_as_each_collimator_projects_it() -> None:
    fine = np.arange(-60.0, 60.01, 0.1)
    pixel = np.array([-0.5, 0.5])
    plain = headed(source_sigma_mm=1.2, extrafocal_share=0.0, profile=((0.0, 1.0),))
    plain = replace(plain, jaw_transmission=0.0)
    beam = still(None, (-40.0, 40.0), (-40.0, 40.0))
    middles = 0.5 * (fine[1:] + fine[:-1])
    for found, c in (
        (energy(beam, plain, fine, pixel)[0], plain.head.jaw_x_distance_mm),
        (energy(beam, plain, pixel, fine)[:, 0], plain.head.jaw_y_distance_mm),
    ):
        rising = slice(0, len(found) // 2)
        width = np.interp(0.841345, found[rising], middles[rising]) - np.interp(
            0.158655, found[rising], middles[rising]
        )
        assert width == pytest.approx(2 * 1.2 * (1000 - c) / c, rel=0.01)
        assert np.interp(0.5, found[rising], middles[rising]) == pytest.approx(-40.0, abs=0.01)


def test_jaws_stand_inside_their_set_position_by_their_offset() -> None:
    plain = headed(source_sigma_mm=0.0, extrafocal_share=0.0, profile=((0.0, 1.0),))
    beam = still(None, (-40.0, 30.0), (-20.0, 10.0))
    moved = headed(plain, jaw_offset_mm=0.4)
    tight = replace(moved, jaw_transmission=0.0)
    assert energy(beam, tight).sum() == pytest.approx((70.0 - 0.8) * (30.0 - 0.8), rel=1e-9)


def test_round_leaf_ends_widen_an_opening_by_their_gap_and_touching_leaves_stay_closed() -> None:
    leaves = np.tile([[-20.0], [20.0]], PAIRS)
    plain = headed(source_sigma_mm=0.0, extrafocal_share=0.0, tongue_mm=0.0, profile=((0.0, 1.0),))
    plain = replace(plain, leaf_transmission=0.0)
    gapped = headed(plain, leaf_end_gap_mm=1.8)
    without = headed(plain, leaf_end_gap_mm=0.0)
    wider = energy(still(leaves), gapped).sum(axis=1) - energy(still(leaves), without).sum(axis=1)
    np.testing.assert_allclose(wider[50:-50], 1.8, atol=1e-9)
    closed = np.zeros((2, PAIRS))
    assert energy(still(closed), gapped).max() == pytest.approx(0.0, abs=1e-12)


def test_tongue_and_groove_darken_a_strip_only_where_one_of_two_neighbours_is_open() -> None:
    leaves = np.zeros((2, PAIRS))
    middle = PAIRS // 2
    leaves[:, middle - 4 : middle] = [[-20.0], [20.0]]
    head = GENERIC.head
    plain = headed(source_sigma_mm=0.0, extrafocal_share=0.0, leaf_end_gap_mm=0.0, profile=((0.0, 1.0),))
    without = headed(plain, tongue_mm=0.0)
    fine = np.arange(-30.0, 10.01, 0.1)
    pixel = np.array([-0.5, 0.5])
    change = energy(still(leaves), plain, pixel, fine)[:, 0] - energy(still(leaves), without, pixel, fine)[:, 0]
    leaf = GENERIC.leaf_transmission
    lost = change.sum() * 0.1
    # On each side half a strip is darker than open and half a strip lighter than closed.
    half = 0.5 * head.tongue_mm
    each = half * (head.tongue_transmission - 1.0) + half * (head.tongue_transmission - leaf)
    assert lost == pytest.approx(2 * each, abs=1e-9)
    middles = fine[:-1] + 0.05
    inside = (middles > -19.0) & (middles < -1.0)
    np.testing.assert_allclose(change[inside], 0.0, atol=1e-12)


def test_segments_add_up_and_mu_scale() -> None:
    rng = np.random.default_rng(3)
    shapes = [leaves_of(rng) for _ in range(3)]
    marks = [(0.0, 0), (2.0, 0), (2.0, 1), (5.0, 1), (5.0, 2), (9.0, 2)]
    points = [ControlPoint(mu, 0.0, 0.0, 0.0, (-60.0, 60.0), (-70.0, 70.0), shapes[n]) for mu, n in marks]
    together = head_fluence(exposures(beam_of(*points))[0], beam_of(*points), GENERIC, EDGES, EDGES)
    alone = [
        head_fluence(part, beam, GENERIC, EDGES, EDGES)
        for beam in (still(s, (-60.0, 60.0), (-70.0, 70.0), mu) for s, mu in zip(shapes, (2.0, 3.0, 4.0), strict=True))
        for part in exposures(beam)
    ]
    for n in range(2):
        np.testing.assert_allclose(together[n], sum(part[n] for part in alone), atol=1e-9)


def test_an_opening_turned_round_gives_the_fluence_turned_round() -> None:
    rng = np.random.default_rng(4)
    leaves = leaves_of(rng)
    beam = still(leaves, (-45.0, 38.0), (-31.0, 52.0))
    turned = still(-leaves[::-1, ::-1], (-38.0, 45.0), (-52.0, 31.0))
    one = head_fluence(exposures(beam)[0], beam, GENERIC, EDGES, EDGES)
    other = head_fluence(exposures(turned)[0], turned, GENERIC, EDGES, EDGES)
    for n in range(2):
        np.testing.assert_allclose(other[n][::-1, ::-1], one[n], atol=1e-9)


def test_contaminating_electrons_follow_the_open_area() -> None:
    sigma = GENERIC.head.contamination_sigma_mm
    sides = np.array([10.0, 50.0, 100.0, 200.0])
    found = []
    for side in sides:
        beam = jaws(side)
        stray = head_fluence(exposures(beam)[0], beam, GENERIC, EDGES, EDGES)[1]
        found.append(stray[210, 210])
    from scipy.special import erf

    np.testing.assert_allclose(found, erf(sides / 2 / (np.sqrt(2) * sigma)) ** 2, rtol=0.01, atol=1e-4)


def test_what_an_exposure_of_no_mu_gives_is_nothing() -> None:
    beam = jaws(100.0)
    nothing = Exposure(beam.setup, ())
    assert not any(part.any() for part in head_fluence(nothing, beam, GENERIC, EDGES, EDGES))

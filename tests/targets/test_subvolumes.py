"""Sub-volumes of a spot whose shape is a formula, and of phantoms of a few levels."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailort.errors import GeometryError, InputError
from tailort.geometry import Grid, Image, partial_volume
from tailort.patient import FunctionalImage, Structure, quantity_named
from tailort.targets import METHODS, Shaping, chosen_method, subvolume
from tailort.targets.delineation import delineate, shape, surface_distance_mm
from tailort.targets.subvolumes import subvolume_name
from tailort.targets.uptake_classes import kmeans, mixture
from tailort.targets.uptake_methods import evidence

FRAME = "1.2.3"
SIGMA_MM, TOP, FLOOR = 9.0, 10.0, 1.0
GRID = Grid.axial((44, 60, 60), (2.5, 1.5, 1.5), (-44.25, -44.25, -53.75), FRAME)
AT = GRID.to_world(np.moveaxis(np.indices(GRID.shape), 0, -1))
RADIUS = np.linalg.norm(AT, axis=-1)
SPOT = FLOOR + (TOP - FLOOR) * np.exp(-0.5 * (RADIUS / SIGMA_MM) ** 2)
FDG, ADC, MISO = (quantity_named(name) for name in ("fdg-suv", "adc", "fmiso-tumour-to-blood"))


def ball(radius_mm: float, name: str = "GTVp", centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Structure:
    angles = np.linspace(0.0, 2 * np.pi, 97)[:-1]
    contours = []
    for z in GRID.axes_mm()[0]:
        square = radius_mm**2 - (z - centre[2]) ** 2
        if square > 0.5:
            ring = np.sqrt(square) * np.column_stack([np.cos(angles), np.sin(angles)])
            contours.append(np.column_stack([ring + centre[:2], np.full(len(ring), z)]))
    return Structure(name, "GTV", tuple(contours), FRAME)


GTV = ball(24.0)


def image(values: np.ndarray, quantity=FDG, noise: float | None = None, **more) -> FunctionalImage:
    made = Image(GRID, values.astype(np.float32), quantity.unit)
    spread = None if noise is None else made.with_values(np.full(GRID.shape, noise, dtype=np.float32))
    own = more.pop("own_spacing_mm", (2.5, 1.5, 1.5))
    return FunctionalImage(quantity, made, dt.date(2026, 1, 2), "test", spread, own, **more)


def radius_of(volume_cm3: float) -> float:
    return float((3000.0 * volume_cm3 / (4.0 * np.pi)) ** (1.0 / 3.0))


def spot_radius(level: float) -> float:
    """Radius at which the spot has that value."""
    return float(SIGMA_MM * np.sqrt(2.0 * np.log((TOP - FLOOR) / (level - FLOOR))))


@pytest.mark.parametrize("percent", [40, 50, 60, 70])
def test_a_share_of_the_highest_value_gives_the_sphere_of_that_value(percent: int) -> None:
    found = subvolume(image(SPOT), GTV, chosen_method(f"relative={percent}"))
    highest = float(SPOT[RADIUS < 24.0].max())
    assert radius_of(found.volume_cm3) == pytest.approx(spot_radius(percent / 100.0 * highest), abs=0.25)
    assert found.level == pytest.approx(percent / 100.0 * highest, rel=1e-6)
    assert found.mark == "lit-recalled"
    assert "RB-140" in found.source


def test_an_absolute_value_gives_the_sphere_of_that_value() -> None:
    found = subvolume(image(SPOT), GTV, chosen_method("absolute=2.5"))
    assert radius_of(found.volume_cm3) == pytest.approx(spot_radius(2.5), abs=0.25)
    assert found.mark == "lit-verified"


def test_half_of_the_contrast_is_half_way_between_background_and_highest() -> None:
    found = subvolume(image(SPOT), GTV, chosen_method("contrast"), background=FLOOR)
    assert radius_of(found.volume_cm3) == pytest.approx(SIGMA_MM * np.sqrt(2.0 * np.log(2.0)), abs=0.25)


def test_half_of_the_contrast_finds_the_wall_of_a_blurred_plateau() -> None:
    from scipy.ndimage import gaussian_filter

    plateau = np.where(RADIUS <= 16.0, TOP, FLOOR).astype(float)
    blurred = gaussian_filter(plateau, [3.0 / s for s in GRID.spacing_mm])
    found = subvolume(image(blurred), GTV, chosen_method("contrast"), background=FLOOR)
    # A curved wall appears a little inside of where it is: about the variance of the blur over the radius.
    assert radius_of(found.volume_cm3) == pytest.approx(16.0, abs=0.8)


def test_the_formula_with_the_mean_of_the_brightest_is_computed_as_it_is_written() -> None:
    found = subvolume(image(SPOT), GTV, chosen_method("nestle"), background=FLOOR)
    inside = SPOT[partial_volume(GTV.contours, GRID).full() >= 0.5].astype(np.float32)
    expected = 0.15 * inside[inside >= 0.7 * inside.max()].mean() + FLOOR
    assert found.level == pytest.approx(expected, rel=1e-5)


def test_the_steepest_edge_of_a_gaussian_spot_is_one_standard_deviation_away() -> None:
    found = subvolume(image(SPOT), GTV, chosen_method("gradient"), background=FLOOR)
    # The slope is taken after a blur of half a voxel of the scan: 1.25 mm.
    assert radius_of(found.volume_cm3) == pytest.approx(np.hypot(SIGMA_MM, 1.25), abs=0.8)


@pytest.mark.parametrize("method", ["kmeans=2", "gmm=2"])
def test_two_levels_are_told_apart(method: str) -> None:
    rng = np.random.default_rng(3)
    inner = np.linalg.norm(AT - (4.0, -3.0, 5.0), axis=-1) <= 10.0
    values = np.where(inner, 8.0, 3.0) + rng.normal(0.0, 0.4, GRID.shape)
    found = subvolume(image(values), GTV, chosen_method(method))
    assert radius_of(found.volume_cm3) == pytest.approx(10.0, abs=0.25)
    assert 4.5 < found.level < 6.5


@pytest.mark.parametrize("method", ["kmeans=3", "gmm=3"])
def test_the_highest_of_three_levels_is_taken(method: str) -> None:
    rng = np.random.default_rng(4)
    values = np.select([RADIUS <= 8.0, RADIUS <= 16.0], [12.0, 6.0], 2.0) + rng.normal(0.0, 0.5, GRID.shape)
    found = subvolume(image(values), GTV, chosen_method(method))
    assert radius_of(found.volume_cm3) == pytest.approx(8.0, abs=0.25)


def test_a_mixture_finds_the_means_and_widths_that_made_it() -> None:
    rng = np.random.default_rng(5)
    values = np.concatenate([rng.normal(2.0, 0.5, 6000), rng.normal(6.0, 1.0, 2000)])
    share, means, spread = mixture(values, kmeans(values, 2))
    assert means == pytest.approx([2.0, 6.0], abs=0.06)
    assert spread == pytest.approx([0.5, 1.0], abs=0.06)
    assert share == pytest.approx([0.75, 0.25], abs=0.02)


@given(st.lists(st.floats(0.0, 100.0), min_size=8, max_size=60, unique=True), st.sampled_from([2, 3]))
def test_every_centre_of_k_means_is_the_mean_of_what_is_nearest_to_it(numbers: list[float], classes: int) -> None:
    values = np.array(numbers)
    centres = kmeans(values, classes)
    edges = (centres[:-1] + centres[1:]) / 2.0
    own = np.searchsorted(edges, values, side="right")
    for n, centre in enumerate(centres):
        if (own == n).any() and not np.isclose(edges[:, None], values[None, :]).any():
            assert values[own == n].mean() == pytest.approx(centre, rel=1e-9, abs=1e-9)


def test_low_diffusion_is_sought_below_the_level() -> None:
    values = 2.2e-3 - 1.4e-3 * np.exp(-0.5 * (RADIUS / SIGMA_MM) ** 2)
    found = subvolume(image(values, ADC), GTV, chosen_method("absolute=0.0015"))
    assert radius_of(found.volume_cm3) == pytest.approx(SIGMA_MM * np.sqrt(2 * np.log(2.0)), abs=0.25)
    assert found.structure.name == "GTVp_MR^ADC1500"
    assert found.mean < found.level == pytest.approx(1.5e-3)


def test_a_share_of_the_highest_is_refused_where_low_values_are_sought() -> None:
    with pytest.raises(InputError, match="low values are sought"):
        subvolume(image(np.full(GRID.shape, 1e-3), ADC), GTV, chosen_method("relative=50"))


@settings(max_examples=6)
@given(st.floats(20.0, 85.0), st.floats(1.0, 10.0), st.integers(0, 100))
def test_a_higher_threshold_gives_a_part_of_the_lower_ones_volume(percent: float, more: float, seed: int) -> None:
    values = SPOT + np.random.default_rng(seed).normal(0.0, 0.5, GRID.shape)
    within = RADIUS <= 20.0
    low, high = (
        delineate(values, within, GRID.spacing_mm, chosen_method(f"relative={p}")).mask
        for p in (percent, percent + more)
    )
    assert not (high & ~low).any()
    assert low.sum() >= high.sum() > 0


@settings(max_examples=6)
@given(
    st.sampled_from(["relative=50", "kmeans=2", "gmm=2", "contrast=40", "nestle", "gradient"]), st.floats(0.01, 500.0)
)
def test_an_image_on_another_scale_has_the_same_subvolume(method: str, factor: float) -> None:
    within = RADIUS <= 20.0
    here = delineate(SPOT, within, GRID.spacing_mm, chosen_method(method), FLOOR, blur_mm=2.0).mask
    there = delineate(factor * SPOT, within, GRID.spacing_mm, chosen_method(method), factor * FLOOR, blur_mm=2.0).mask
    # A voxel on the very edge may fall to either side by rounding.
    assert (here ^ there).sum() <= 0.002 * here.sum()


@pytest.mark.parametrize("method", ["relative=20", "kmeans=2", "contrast=10", "gradient"])
def test_the_subvolume_stays_inside_the_target_and_outside_what_is_spared(method: str) -> None:
    target, spared = ball(11.0), ball(8.0, "SpinalCord_PRV05", (9.0, 0.0, 0.0))
    found = subvolume(image(SPOT), target, chosen_method(method), spared=[spared], background=FLOOR)
    for contour in found.structure.contours:
        assert (np.linalg.norm(contour, axis=-1) <= 11.0 + 0.05).all()
        assert (np.linalg.norm(contour - (9.0, 0.0, 0.0), axis=-1) >= 8.0 - 0.1).all()
    assert found.spared_cm3["SpinalCord_PRV05"] > 0.3
    assert found.volume_cm3 < found.target_cm3


def two_spots() -> np.ndarray:
    large = np.linalg.norm(AT - (-8.0, 0.0, 0.0), axis=-1) <= 8.0
    small = np.linalg.norm(AT - (14.0, 0.0, 0.0), axis=-1) <= 4.0
    return np.where(large | small, 8.0, 2.0)


def test_parts_that_are_too_small_are_dropped_and_told() -> None:
    whole = subvolume(image(two_spots()), GTV, chosen_method("relative=50"))
    large = subvolume(image(two_spots()), GTV, chosen_method("relative=50"), shaping=Shaping(least_cm3=0.5))
    (dropped,) = large.dropped_cm3
    assert dropped == pytest.approx(4.0 / 3.0 * np.pi * 0.4**3, rel=0.15)
    assert whole.dropped_cm3 == ()
    assert whole.volume_cm3 - large.volume_cm3 == pytest.approx(dropped, rel=0.3)
    assert max(contour[:, 0].max() for contour in large.structure.contours) < 2.0


def test_smoothing_takes_specks_away_and_leaves_flat_walls() -> None:
    slab = np.abs(AT[..., 0]) <= 9.75
    rough = slab ^ (np.random.default_rng(1).random(GRID.shape) < 0.03)
    free = np.ones(GRID.shape, dtype=bool)
    kept, _, _ = shape(np.where(rough, 0.5, -0.5), free, GRID.spacing_mm, Shaping(smoothing_mm=3.0))
    middle = (slice(8, -8), slice(8, -8), slice(None))
    assert (kept[middle] ^ slab[middle]).mean() < 0.01 < (rough[middle] ^ slab[middle]).mean()


def test_the_noise_moves_the_edge_by_noise_over_slope() -> None:
    noise, method = 0.3, chosen_method("absolute=5.5")
    found = subvolume(image(SPOT, noise=noise), GTV, method)
    by_noise, by_place = found.spreads
    near, far = spot_radius(5.5 + noise), spot_radius(5.5 - noise)
    assert radius_of(by_noise.least_cm3) == pytest.approx(near, abs=0.25)
    assert radius_of(by_noise.most_cm3) == pytest.approx(far, abs=0.25)
    assert by_place.least_cm3 == pytest.approx(by_place.most_cm3, rel=0.03)  # a shift inside the target keeps volume
    assert by_place.least_cm3 <= found.volume_cm3 * 1.02


def test_a_larger_error_of_the_registration_moves_the_surface_further() -> None:
    small = subvolume(image(SPOT, uncertainty_mm=2.0), GTV, chosen_method("relative=50")).spreads[-1]
    large = subvolume(image(SPOT, uncertainty_mm=6.0), GTV, chosen_method("relative=50")).spreads[-1]
    assert small.surface_mm == pytest.approx(2.0, abs=1.3)
    assert large.surface_mm == pytest.approx(6.0, abs=1.3)
    assert "2.0 mm" in small.moved


def test_without_a_known_registration_half_a_voxel_is_the_least() -> None:
    (spread,) = subvolume(image(SPOT, own_spacing_mm=(5.0, 4.0, 4.0)), GTV, chosen_method("relative=50")).spreads
    assert "2.5 mm" in spread.moved
    assert "not known" in spread.moved


def test_the_noise_of_a_steepest_edge_is_told_in_mm() -> None:
    found = subvolume(image(SPOT, noise=0.5), GTV, chosen_method("gradient"), background=FLOOR)
    slope = (TOP - FLOOR) / SIGMA_MM * np.exp(-0.5)
    by_noise = found.spreads[0]
    width = radius_of(by_noise.most_cm3) - radius_of(by_noise.least_cm3)
    assert width == pytest.approx(2 * 0.5 / slope, abs=1.6)  # no finer than the voxels of 1.5 mm
    assert width > 0.5


def test_surfaces_of_two_balls_are_as_far_apart_as_their_radii() -> None:
    found = surface_distance_mm(RADIUS <= 10.0, RADIUS <= 16.0, GRID.spacing_mm)
    assert found == pytest.approx(6.0, abs=1.3)
    assert surface_distance_mm(RADIUS <= 10.0, RADIUS < 0, GRID.spacing_mm) is None


def test_the_uptake_around_is_read_in_a_shell() -> None:
    values = np.where(RADIUS <= 20.0, 8.0, np.where(RADIUS <= 30.0, 4.0, 1.0))
    found = subvolume(image(values), ball(20.0), chosen_method("contrast"))
    assert found.background == pytest.approx(1.0)


def test_a_target_that_the_image_does_not_show_whole_is_refused() -> None:
    cut = np.where(AT[..., 2] > 15.0, np.nan, SPOT)
    with pytest.raises(GeometryError, match=r"does not reach .* % of 'GTVp'"):
        subvolume(image(cut), GTV, chosen_method("relative=50"))


def test_a_level_that_nothing_reaches_is_told_with_what_there_is() -> None:
    with pytest.raises(InputError, match=r"edge lies at 50 SUV, the target's extreme is 9\.\d+"):
        subvolume(image(SPOT), GTV, chosen_method("absolute=50"))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("otsu", "known are relative, absolute"),
        ("relative=fifty", "no number"),
        ("relative=0", "0 to 100"),
        ("absolute", "needs its number"),
        ("gradient=3", "takes no number"),
        ("kmeans=4", "2 or 3"),
    ],
)
def test_a_method_that_cannot_be_is_refused(text: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        chosen_method(text)


def test_half_of_the_highest_is_the_default_of_the_reference() -> None:
    assert str(chosen_method("relative")) == "relative=50"
    assert str(chosen_method("gradient")) == "gradient"


@pytest.mark.parametrize(
    ("text", "quantity", "mark"),
    [
        ("relative=50", FDG, "lit-recalled"),
        ("relative=45", FDG, "ambiguous"),
        ("relative=50", MISO, "ambiguous"),
        ("absolute=1.4", MISO, "lit-recalled"),
        ("absolute=2.5", FDG, "lit-verified"),
        ("contrast=50", FDG, "derived"),
        ("contrast=30", FDG, "ambiguous"),
        ("gradient", ADC, "lit-recalled"),
    ],
)
def test_a_number_without_a_source_is_marked(text: str, quantity, mark: str) -> None:
    assert evidence(chosen_method(text), quantity.id)[1] == mark


@pytest.mark.parametrize(
    ("text", "quantity", "name"),
    [
        ("relative=50", FDG, "GTVp_PT^FDG50"),
        ("absolute=2.5", FDG, "GTVp_PT^SUV2p5"),
        ("absolute=1.4", MISO, "GTVp_PT^MISO1p4"),
        ("gradient", FDG, "GTVp_PT^FDGedge"),
        ("kmeans=2", ADC, "GTVp_MR^ADCk2"),
    ],
)
def test_names_keep_to_tg_263(text: str, quantity, name: str) -> None:
    assert subvolume_name("GTVp", quantity, chosen_method(text)) == name
    assert len(name) <= 16


def test_a_name_that_is_too_long_is_asked_for() -> None:
    with pytest.raises(InputError, match="--name"):
        subvolume_name("GTVp_very_long", FDG, chosen_method("relative=50"))


def test_a_functional_image_in_another_unit_is_refused() -> None:
    with pytest.raises(InputError, match="Bq/ml"):
        replace(image(SPOT), image=Image(GRID, SPOT, "Bq/ml"))


def test_every_method_is_tested_here() -> None:
    assert set(METHODS) == {"relative", "absolute", "contrast", "nestle", "gradient", "kmeans", "gmm"}

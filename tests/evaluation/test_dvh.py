"""Histograms: laws, metrics, what lies outside the dose grid, large structures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tailort.errors import GeometryError, InputError
from tailort.evaluation import DVH, dvh, histograms
from tailort.evaluation.sampling import PRISMS_ABOVE_CM3, cut
from tailort.geometry import Grid, Image, interpolate
from tailort.patient import Dose, Structure
from tailort.radiobiology import eqd2, geud

FRAME = "1.2.3"


def box(low, high, spacing=2.0, name="Box") -> Structure:
    """Box from low to high (x, y, z): contours in the middle of its slices."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    planes = np.arange(z0 + spacing / 2, z1, spacing)
    ring = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=float)
    contours = tuple(np.column_stack([ring, np.full(4, z)]) for z in planes)
    return Structure(name, "ORGAN", contours, FRAME)


def field(function, low=(-40, -40, -40), shape=(41, 41, 41), spacing=2.0, fractions=30) -> Dose:
    grid = Grid.axial(shape, (spacing,) * 3, low, FRAME)
    z, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    values = np.broadcast_to(function(x, y, z), grid.shape).astype(np.float32)
    return Dose(Image(grid, values, "Gy"), "physical", "course", fractions, None, "formula")


def of_samples(doses, volumes) -> DVH:
    order = np.argsort(-doses)
    single = doses[order].astype(np.float32)
    return DVH(
        structure="S",
        volume_cm3=float(volumes.sum()),
        doses_gy=single,
        volumes_cm3=volumes[order],
        highest_gy=float(single[0]),
        lowest_gy=float(single[-1]),
        outside_cm3=0.0,
        quantity="physical",
        per="course",
        fractions=30,
        alpha_beta_gy=None,
    )


samples = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        arrays(np.float64, n, elements=st.floats(0.0, 80.0)), arrays(np.float64, n, elements=st.floats(0.01, 5.0))
    )
)


@given(samples, st.floats(0.05, 5.0))
def test_a_histogram_falls_from_the_whole_volume_to_nothing(pair, bin_gy):
    found = of_samples(*pair)
    dose_gy, volume = found.curve(bin_gy)
    assert dose_gy[0] == 0.0
    assert volume[0] == pytest.approx(found.volume_cm3)
    assert volume[-1] == 0.0
    assert (np.diff(volume) <= 1e-9).all()


@given(samples, st.floats(0.0, 100.0), st.floats(0.0, 100.0))
def test_less_volume_never_gets_less_dose(pair, p, q):
    found = of_samples(*pair)
    p, q = sorted((round(p, 3), round(q, 3)))
    assert found.value(f"D{p:.3f}%[Gy]") >= found.value(f"D{q:.3f}%[Gy]")
    assert found.value("Min[Gy]") <= found.value("Median[Gy]") <= found.value("Max[Gy]")


@given(samples, st.floats(1.0, 99.0))
def test_volume_at_a_dose_is_the_inverse_of_dose_at_a_volume(pair, p):
    found = of_samples(*pair)
    p = round(p, 3)
    level = found.value(f"D{p:.3f}%[Gy]")
    below, above = np.nextafter(np.float32(level), np.float32(0)), np.nextafter(np.float32(level), np.float32(999))
    assert found._volume_of(float(above)) - 1e-6 <= p / 100 * found.volume_cm3 <= found._volume_of(float(below)) + 1e-6


@given(samples, st.floats(0.01, 90.0))
def test_volume_above_and_volume_below_are_the_whole(pair, level):
    found = of_samples(*pair)
    at = f"{level:.4f}Gy"
    assert found.value(f"V{at}[cc]") + found.value(f"CV{at}[cc]") == pytest.approx(found.volume_cm3)
    assert found.value(f"V{at}[%]") + found.value(f"CV{at}[%]") == pytest.approx(100.0)


@given(samples, st.floats(1.0, 20.0), st.floats(1.0, 99.0))
@settings(max_examples=50)
def test_metrics_that_pick_a_sample_commute_with_conversion(pair, ab, p):
    found = of_samples(*pair)
    converted = found.converted("EQD2", ab)
    for metric in ("Max[Gy]", "Min[Gy]"):
        assert converted.value(metric) == pytest.approx(float(eqd2(found.value(metric), 30, ab)), rel=1e-5)
    assert converted.volume_cm3 == found.volume_cm3


def test_a_uniform_dose_is_every_metric_of_dose():
    found = dvh(box((-10, -10, -10), (10, 10, 10)), field(lambda x, y, z: 20.3 + 0 * x))
    for metric in ("Max[Gy]", "Mean[Gy]", "Min[Gy]", "Median[Gy]", "D95%[Gy]", "D0.03cc[Gy]", "D100%[Gy]", "D0%[Gy]"):
        assert found.value(metric) == pytest.approx(20.3, rel=1e-6)
    assert found.value("V20.3Gy[%]") == 100.0
    assert found.value("V20.31Gy[%]") == 0.0
    assert found.gEUD(-10) == pytest.approx(20.3, rel=1e-6)


def test_volume_of_a_box_is_that_of_the_box():
    found = dvh(box((-10, -7, -6), (10, 7, 6)), field(lambda x, y, z: x))
    assert found.value("Volume[cc]") == pytest.approx(20 * 14 * 12 / 1000, rel=1e-4)


def test_a_box_in_a_gradient_along_x_has_the_metrics_of_its_formula():
    # Dose 30 + x Gy, x uniform on -10..10: D(v) = 40 - 20 v.
    found = dvh(box((-10, -7, -6), (10, 7, 6)), field(lambda x, y, z: 30 + x))
    for p in (0, 2, 5, 50, 95, 98, 100):
        assert found.value(f"D{p}%[Gy]") == pytest.approx(40 - 0.2 * p, abs=0.05)
    assert found.value("V35Gy[%]") == pytest.approx(25.0, abs=0.3)
    assert found.value("CV35Gy[%]") == pytest.approx(75.0, abs=0.3)
    assert found.value("D1cc[Gy]") == pytest.approx(40 - 20 / 3.36, abs=0.05)
    assert found.value("Mean[Gy]") == pytest.approx(30.0, abs=0.01)
    assert found.value("V95%[%]", prescription_gy=30) == pytest.approx(57.5, abs=0.3)
    assert found.value("D50%[%]", prescription_gy=60) == pytest.approx(50.0, abs=0.1)
    a = -10.0
    exact = ((40 ** (a + 1) - 20 ** (a + 1)) / ((a + 1) * 20)) ** (1 / a)
    assert found.gEUD(a) == pytest.approx(exact, rel=2e-3)


def test_a_step_between_two_doses_gives_two_volumes():
    found = dvh(box((-10, -7, -6), (10, 7, 6)), field(lambda x, y, z: np.where(x > 0.5, 60.0, 20.0)))
    assert found.value("V60Gy[%]") == pytest.approx(40.0, abs=1.0)
    assert found.value("V20Gy[%]") == 100.0


def test_what_gets_exactly_no_dose_stays_at_0():
    found = dvh(box((-10, -7, -6), (10, 7, 6)), field(lambda x, y, z: np.maximum(0.0, x)))
    assert found.value("Min[Gy]") == 0.0
    assert found.value("D95%[Gy]") == 0.0
    assert found.gEUD(-10) == 0.0


def test_eqd2_of_a_box_averages_after_conversion():
    found = dvh(box((-10, -7, -6), (10, 7, 6)), field(lambda x, y, z: 30 + x)).converted("EQD2", 3.0)
    doses = 20 + 20 * (np.arange(100_000) + 0.5) / 100_000
    assert found.label == "EQD2(a/b=3)"
    assert found.value("Mean[Gy]") == pytest.approx(float(eqd2(doses, 30, 3.0).mean()), rel=1e-3)
    assert found.gEUD(1.0) == pytest.approx(geud(eqd2(doses, 30, 3.0), np.ones_like(doses), 1.0), rel=1e-3)


def test_a_histogram_per_fraction_is_the_course_divided():
    found = dvh(box((-10, -7, -6), (10, 7, 6)), field(lambda x, y, z: 30 + x))
    assert found.per_fraction().value("Mean[Gy]") == pytest.approx(found.value("Mean[Gy]") / 30, rel=1e-5)
    with pytest.raises(InputError, match="belongs to a course"):
        found.converted("BED", 10.0).per_fraction()


def test_moving_patient_and_dose_together_changes_nothing():
    first = dvh(box((-10, -7, -6), (10, 7, 6)), field(lambda x, y, z: 30 + x + 0.5 * z))
    moved = field(lambda x, y, z: 30 + (x - 8) + 0.5 * (z - 4), low=(-32, -36, -36))
    second = dvh(box((-2, -3, -2), (18, 11, 10)), moved)
    for metric in ("Mean[Gy]", "D95%[Gy]", "D2%[Gy]", "V30Gy[%]", "Volume[cc]"):
        assert second.value(metric) == pytest.approx(first.value(metric), rel=1e-4)


def test_a_turned_dose_grid_gives_the_same_histogram():
    straight = field(lambda x, y, z: 30 + x + 0.5 * y)
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[0, 0, 2.0], [0, 2.0, 0], [2.0, 0, 0]])
    affine[:3, 3] = turn @ np.array([-40.0, -40.0, -40.0])
    grid = Grid((41, 41, 41), affine, FRAME)
    points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    values = (30 + points[..., 0] + 0.5 * points[..., 1]).astype(np.float32)
    turned = Dose(Image(grid, values, "Gy"), "physical", "course", 30, None, "formula")
    one, other = (dvh(box((-10, -7, -6), (10, 7, 6)), d) for d in (straight, turned))
    for metric in ("Mean[Gy]", "D95%[Gy]", "D5%[Gy]", "Volume[cc]"):
        assert other.value(metric) == pytest.approx(one.value(metric), rel=0.01)


def test_cells_read_the_dose_that_interpolation_reads():
    rng = np.random.default_rng(5)
    dose = field(lambda x, y, z: 0 * x)
    dose = Dose(dose.image.with_values(rng.random(dose.image.grid.shape).astype(np.float32)), "physical", "course", 30,
                None, "noise")  # fmt: skip
    points = rng.uniform(-41.0, 41.0, (500, 3))
    from tailort.evaluation.sampling import _dose_at

    np.testing.assert_allclose(_dose_at(dose, points), interpolate(dose.image, points, np.nan), rtol=1e-6)


@pytest.mark.parametrize("half_axis", [22.0, 30.0])
def test_a_large_structure_cut_into_prisms_agrees_with_the_interpolated_solid(half_axis):
    planes = np.arange(-np.floor(2 * half_axis / 3) * 3, 2 * half_axis, 3.0)
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    contours = []
    for z in planes:
        r = half_axis * np.sqrt(max(0.0, 1 - (z / (2 * half_axis)) ** 2))
        if r > 1:
            contours.append(np.stack([r * np.cos(angle), r * np.sin(angle), np.full(120, z)], -1))
    egg = Structure("Egg", "ORGAN", tuple(contours), FRAME)
    dose = field(lambda x, y, z: 40 + 0.5 * x + 0.3 * z, low=(-60, -60, -90), shape=(61, 41, 41), spacing=3.0)
    prisms = dvh(egg, dose)
    # With the rule "none" the ends differ, so the solid is interpolated; these metrics hardly see the ends.
    solid = dvh(egg, dose, end_cap="none")
    assert prisms.volume_cm3 > PRISMS_ABOVE_CM3
    exact = 4 / 3 * np.pi * half_axis**2 * 2 * half_axis / 1000
    assert prisms.volume_cm3 == pytest.approx(exact, rel=0.005)
    for metric in ("Mean[Gy]", "D95%[Gy]", "D50%[Gy]", "D5%[Gy]"):
        assert prisms.value(metric) == pytest.approx(solid.value(metric), rel=0.005)


def test_a_hole_is_taken_off_a_large_structure():
    outer = box((-30, -30, -30), (30, 30, 30), name="Tube")
    inner = box((-20, -20, -30), (20, 20, 30))
    tube = Structure("Tube", "ORGAN", outer.contours + inner.contours, FRAME)
    found = dvh(tube, field(lambda x, y, z: np.where(np.maximum(abs(x), abs(y)) < 18, 70.0, 10.0)))
    assert found.volume_cm3 == pytest.approx(60 * (60**2 - 40**2) / 1000, rel=1e-4)
    assert found.value("Max[Gy]") == pytest.approx(10.0)


def test_the_sampled_parts_fill_the_volume():
    small = box((-10, -7, -6), (10, 7, 6))
    dose = field(lambda x, y, z: x + 30)
    got = cut(small, dose.image.grid, "half_slice", None).sample(dose)
    assert got.volume_cm3 == pytest.approx(3.36, rel=1e-4)
    assert len(got.doses_gy) > 10_000


# Outside the dose grid the dose is unknown.


def test_a_structure_half_outside_the_dose_grid_has_bounds_and_no_value():
    # The grid ends at x = 41; the box goes from 21 to 61: half of it is outside.
    found = dvh(box((21, -7, -6), (61, 7, 6)), field(lambda x, y, z: 30 + 0 * x))
    assert found.outside_cm3 == pytest.approx(found.volume_cm3 / 2, rel=0.03)
    assert found.value("Volume[cc]") == pytest.approx(40 * 14 * 12 / 1000, rel=1e-4)
    for metric in ("Mean[Gy]", "Max[Gy]", "D2%[Gy]", "D95%[Gy]", "V20Gy[%]"):
        with pytest.raises(GeometryError, match="outside the dose grid"):
            found.value(metric)
    assert found.bounds("V20Gy[%]") == (pytest.approx(50, abs=1.5), pytest.approx(100))
    assert found.bounds("V40Gy[%]") == (0.0, pytest.approx(50, abs=1.5))
    assert found.bounds("Max[Gy]") == (pytest.approx(30), np.inf)
    assert found.bounds("Min[Gy]") == (0.0, pytest.approx(30))
    assert found.bounds("D20%[Gy]") == (pytest.approx(30), np.inf)
    assert found.bounds("D80%[Gy]") == (0.0, pytest.approx(30))
    with pytest.raises(GeometryError, match="outside the dose grid"):
        found.gEUD(2.0)


@pytest.mark.parametrize(
    "metric", ["Mean[Gy]", "Max[Gy]", "Min[Gy]", "D20%[Gy]", "D80%[Gy]", "V20Gy[cc]", "CV20Gy[cc]"]
)
def test_bounds_hold_whatever_the_dose_outside(metric):
    target = box((21, -7, -6), (61, 7, 6))
    low, high = dvh(target, field(lambda x, y, z: 30 + 0.1 * x)).bounds(metric)
    for beyond in (0.0, 25.0, 500.0):
        whole = field(lambda x, y, z, b=beyond: np.where(x > 41, b, 30 + 0.1 * x), shape=(41, 41, 81))
        slack = 0.05 * (high - low) if np.isfinite(high) else 0.5
        assert low - slack <= dvh(target, whole).value(metric) <= high + slack


def test_a_structure_that_ends_on_the_face_of_the_dose_grid_is_inside():
    found = dvh(box((-41, -41, -41), (41, 41, 41)), field(lambda x, y, z: 30 + 0 * x))
    assert found.outside_cm3 == 0.0
    assert found.value("Mean[Gy]") == pytest.approx(30.0)


# What is refused.


def test_more_volume_than_there_is_is_refused():
    found = dvh(box((-2, -2, -2), (2, 2, 2)), field(lambda x, y, z: 30 + x))
    with pytest.raises(InputError, match="more than its volume"):
        found.value("D1cc[Gy]")


def test_percent_of_a_prescription_needs_a_prescription():
    found = dvh(box((-10, -7, -6), (10, 7, 6)), field(lambda x, y, z: 30 + x))
    with pytest.raises(InputError, match="percent of a prescription"):
        found.value("V95%[%]")


def test_another_frame_of_reference_is_refused():
    other = Structure("Box", "ORGAN", box((-2, -2, -2), (2, 2, 2)).contours, "9.9")
    with pytest.raises(GeometryError, match="frame of reference"):
        dvh(other, field(lambda x, y, z: x))


def test_a_structure_without_contours_is_refused_and_left_out_of_many():
    empty = Structure("Nothing", "ORGAN", (), FRAME)
    with pytest.raises(GeometryError, match="no contours"):
        dvh(empty, field(lambda x, y, z: x))
    assert set(histograms([empty, box((-2, -2, -2), (2, 2, 2))], field(lambda x, y, z: x))) == {"Box"}


def test_a_single_slice_needs_its_thickness():
    flat = Structure("Flat", "ORGAN", box((-10, -10, -1), (10, 10, 1)).contours, FRAME)
    with pytest.raises(GeometryError, match="'Flat'"):
        dvh(flat, field(lambda x, y, z: x))
    found = dvh(flat, field(lambda x, y, z: 30 + x), single_slice_thickness_mm=3.0)
    assert found.volume_cm3 == pytest.approx(20 * 20 * 3 / 1000, rel=1e-4)


def test_eqd2_without_fractions_is_refused():
    found = dvh(box((-10, -7, -6), (10, 7, 6)), field(lambda x, y, z: 30 + x, fractions=None))
    with pytest.raises(InputError, match="fractions"):
        found.converted("EQD2", 3.0)

"""Tails, homogeneity, fall-off and kept goals: derivatives, convexity, published identities."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linprog

from tailort.errors import InputError
from tailort.optimisation.objectives import (
    AtMost,
    FallOff,
    LinearQuadratic,
    MaxDoseVolume,
    MeanDose,
    MinDoseVolume,
    Physical,
    SquaredEUDOverdose,
    SquaredEUDUnderdose,
    SquaredMeanOverdose,
    SquaredOverdose,
    SquaredSpread,
    SquaredTailOverdose,
    SquaredTailUnderdose,
    SquaredUnderdose,
    TailMean,
    UniformDose,
    convex_form,
    ring_rows,
)
from tailort.optimisation.objectives.dose_volume import dose_at
from tailort.optimisation.objectives.tail import lower_tail, upper_tail

N = 12
DISTANCE = np.linspace(0.0, 60.0, N)
EXAMPLES = {
    "tail-mean": TailMean(0.3),
    "squared-tail-overdose": SquaredTailOverdose(40.0, 0.3),
    "squared-tail-overdose, small": SquaredTailOverdose(50.0, 0.02),
    "squared-tail-overdose, sharp": SquaredTailOverdose(40.0, 0.3, 0.0),
    "squared-tail-underdose": SquaredTailUnderdose(45.0, 0.2),
    "squared-spread": SquaredSpread(20.0, 0.1),
    "fall-off": FallOff(60.0, DISTANCE, 12.0, 0.25),
    "at-most, mean": AtMost(MeanDose(), 20.0),
    "at-most, overdose": AtMost(SquaredOverdose(20.0), 6.0),
    "at-most, underdose": AtMost(SquaredUnderdose(60.0), 6.0),
    "at-most, uniform": AtMost(UniformDose(40.0), 6.0),
    "at-most, gEUD": AtMost(SquaredEUDOverdose(20.0, 8.0), 6.0),
    "at-most, tail": AtMost(TailMean(0.3), 30.0),
}
QUANTITIES = {"physical": Physical(), "EQD2": LinearQuadratic("EQD2", 3.0, 30)}
RISES = [name for name in EXAMPLES if not any(word in name for word in ("underdose", "spread", "uniform"))]

doses = arrays(np.float64, N, elements=st.floats(1.0, 70.0))
volumes = arrays(np.float64, N, elements=st.floats(0.01, 1.0)).map(lambda v: v / v.sum())
shares = st.floats(0.01, 1.0)
widths = st.sampled_from([0.0, 0.1, 2.0])


@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=QUANTITIES.keys())
@pytest.mark.parametrize("objective", EXAMPLES.values(), ids=EXAMPLES.keys())
@given(dose=doses, volume=volumes)
@settings(max_examples=20, deadline=None)
def test_derivatives_are_those_of_the_values(objective, quantity, dose, volume) -> None:
    # Only a sharp tail has corners, where two voxels change places.
    assume(getattr(objective, "width_gy", 1.0) > 0 or np.diff(np.sort(quantity.of(dose))).min() > 1e-3)
    step = 1e-5

    def value(d):
        return objective.value(quantity.of(d), volume)

    found = objective.derivative(quantity.of(dose), volume) * quantity.derivative(dose)
    differences = np.array([(value(dose + step * e) - value(dose - step * e)) / (2 * step) for e in np.eye(N)])
    np.testing.assert_allclose(found, differences, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("objective", EXAMPLES.values(), ids=EXAMPLES.keys())
@given(a=doses, b=doses, volume=volumes, t=st.floats(0.0, 1.0))
@settings(max_examples=40, deadline=None)
def test_each_is_convex(objective, a, b, volume, t) -> None:
    chord = t * objective.value(a, volume) + (1 - t) * objective.value(b, volume)
    assert objective.value(t * a + (1 - t) * b, volume) <= chord + 1e-9 * (1 + abs(chord))


@pytest.mark.parametrize("name", RISES)
@given(a=doses, b=doses, volume=volumes, t=st.floats(0.0, 1.0))
@settings(max_examples=30, deadline=None)
def test_those_that_rise_do_so_and_stay_convex_on_eqd2(name, a, b, volume, t) -> None:
    f, q = EXAMPLES[name], QUANTITIES["EQD2"]
    chord = t * f.value(q.of(a), volume) + (1 - t) * f.value(q.of(b), volume)
    assert f.value(q.of(t * a + (1 - t) * b), volume) <= chord + 1e-9 * (1 + abs(chord))
    assert f.value(np.maximum(a, b), volume) >= f.value(a, volume) - 1e-9


LEVELLED = [name for name in EXAMPLES if name != "tail-mean"]


@pytest.mark.parametrize("name", LEVELLED)
@given(dose=doses, volume=volumes)
@settings(max_examples=40, deadline=None)
def test_an_objective_is_zero_exactly_where_nothing_is_beyond_it(name, dose, volume) -> None:
    f = EXAMPLES[name]
    assert (f.value(dose, volume) > 1e-12) == (float(np.max(f.excess_gy(dose, volume))) > 1e-6)


@pytest.mark.parametrize("name", LEVELLED)
@given(dose=doses, volume=volumes, by=st.floats(0.0, 10.0))
@settings(max_examples=30, deadline=None)
def test_a_level_made_stricter_by_a_gray_is_a_gray_farther_beyond(name, dose, volume, by) -> None:
    f = EXAMPLES[name]
    stricter = f.tightened(by)
    np.testing.assert_allclose(stricter.excess_gy(dose, volume), f.excess_gy(dose, volume) + by, atol=1e-9)
    assert stricter.value(dose, volume) >= f.value(dose, volume)
    assert f.tightened(by).tightened(-by).value(dose, volume) == pytest.approx(f.value(dose, volume), abs=1e-6)


@pytest.mark.parametrize("name", [n for n in EXAMPLES if n != "fall-off"])
@given(dose=doses, volume=volumes, part=st.floats(0.1, 0.9))
@settings(max_examples=30, deadline=None)
def test_a_voxel_may_be_cut_in_two(name, dose, volume, part) -> None:
    f = EXAMPLES[name]
    cut, cut_volume = np.concatenate([dose, dose]), np.concatenate([part * volume, (1 - part) * volume])
    assert f.value(cut, cut_volume) == pytest.approx(f.value(dose, volume), rel=1e-9, abs=1e-9)
    slope = f.derivative(cut, cut_volume)
    if "sharp" not in name:
        np.testing.assert_allclose(slope[:N] + slope[N:], f.derivative(dose, volume), atol=1e-6)


@pytest.mark.parametrize("name", [n for n in EXAMPLES if n != "fall-off"])
@given(dose=doses, volume=volumes, seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_voxels_does_not_matter(name, dose, volume, seed) -> None:
    order = np.random.default_rng(seed).permutation(N)
    f = EXAMPLES[name]
    assert f.value(dose[order], volume[order]) == pytest.approx(f.value(dose, volume), rel=1e-9, abs=1e-9)


@given(dose=doses, volume=volumes, share=st.floats(0.05, 0.95))
@settings(max_examples=25, deadline=None)
def test_the_mean_of_a_tail_is_rockafellars_linear_programme(dose, volume, share) -> None:
    cost = np.concatenate([[1.0], volume / share])
    rows = np.hstack([-np.ones((N, 1)), -np.eye(N)])
    exact = linprog(cost, rows, -dose, bounds=[(None, None)] + [(0, None)] * N, method="highs")
    assert upper_tail(dose, volume, share)[0] == pytest.approx(exact.fun, rel=1e-7)


@given(dose=doses, volume=volumes, share=shares, width=widths)
@settings(max_examples=80, deadline=None)
def test_a_tail_is_never_weaker_than_the_dose_at_its_volume(dose, volume, share, width) -> None:
    tail, part = upper_tail(dose, volume, share, width)
    assert tail >= dose_at(dose, volume, share) - 1e-9
    assert tail >= volume @ dose - 1e-9
    assert part.sum() == pytest.approx(share, abs=1e-9)
    assert (part >= 0).all()
    assert (part <= volume + 1e-12).all()
    cold = lower_tail(dose, volume, share, width)[0]
    assert cold <= dose_at(dose, volume, 1 - share) + 1e-9
    assert cold <= volume @ dose + 1e-9


@given(dose=doses, volume=volumes, share=shares, width=st.floats(0.001, 5.0))
@settings(max_examples=80, deadline=None)
def test_a_soft_border_is_stricter_by_less_than_half_its_width(dose, volume, share, width) -> None:
    sharp, soft = upper_tail(dose, volume, share)[0], upper_tail(dose, volume, share, width)[0]
    assert sharp - 1e-9 <= soft <= sharp + 0.5 * width * (1 - share) + 1e-9


@given(dose=doses, volume=volumes, width=widths)
@settings(max_examples=30, deadline=None)
def test_the_tail_of_the_whole_is_the_mean_and_of_a_drop_the_maximum(dose, volume, width) -> None:
    assert upper_tail(dose, volume, 1.0, width)[0] == pytest.approx(volume @ dose)
    drop = 0.5 * volume.min()
    assert upper_tail(dose, volume, drop)[0] == pytest.approx(dose.max())
    assert lower_tail(dose, volume, drop)[0] == pytest.approx(dose.min())


@given(dose=doses, volume=volumes, width=widths)
@settings(max_examples=30, deadline=None)
def test_a_bigger_tail_is_never_hotter(dose, volume, width) -> None:
    tails = [upper_tail(dose, volume, share, width)[0] for share in (0.02, 0.1, 0.3, 0.7, 1.0)]
    assert all(b <= a + 1e-9 for a, b in pairwise(tails))


@given(dose=doses, volume=volumes, by=st.floats(-20.0, 20.0), factor=st.floats(0.1, 3.0), share=shares)
@settings(max_examples=40, deadline=None)
def test_tails_move_and_grow_with_the_dose(dose, volume, by, factor, share) -> None:
    tail = upper_tail(dose, volume, share)[0]
    assert upper_tail(dose + by, volume, share)[0] == pytest.approx(tail + by, abs=1e-9)
    assert upper_tail(factor * dose, volume, share)[0] == pytest.approx(factor * tail, abs=1e-9)
    soft = upper_tail(dose, volume, share, 1.0)[0]
    assert upper_tail(dose + by, volume, share, 1.0)[0] == pytest.approx(soft + by, abs=1e-8)


def test_the_tail_of_a_normal_distribution_is_that_of_the_textbook() -> None:
    # CVaR of the standard normal at 95 %: density of the quantile 1.6449 over 0.05 = 2.0627.
    z = np.sort(np.random.default_rng(0).standard_normal(200_000))
    volume = np.full(len(z), 1 / len(z))
    assert upper_tail(z, volume, 0.05)[0] == pytest.approx(2.0627, abs=0.02)


@pytest.mark.parametrize("objective", [MaxDoseVolume(30.0, 0.3), MinDoseVolume(45.0, 0.8)], ids=["at most", "at least"])
@given(dose=doses, volume=volumes)
@settings(max_examples=60, deadline=None)
def test_the_convex_form_of_a_dose_volume_limit_is_safe(objective, dose, volume) -> None:
    form = convex_form(objective)
    if float(form.excess_gy(dose, volume)[0]) <= 0:
        assert float(objective.excess_gy(dose, volume)[0]) <= 1e-9
        assert objective.value(dose, volume) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("objective", [MaxDoseVolume(30.0, 0.3), MinDoseVolume(45.0, 0.8)], ids=["at most", "at least"])
@given(dose=doses, volume=volumes)
@settings(max_examples=40, deadline=None)
def test_at_a_known_dose_the_convex_form_lacks_as_much_as_the_limit(objective, dose, volume) -> None:
    form = convex_form(objective, dose, volume)
    np.testing.assert_allclose(form.excess_gy(dose, volume), objective.excess_gy(dose, volume), atol=1e-9)


def test_volume_at_dose_and_dose_at_volume_have_one_convex_form() -> None:
    # V20Gy <= 30 % and D30% <= 20 Gy are the same limit: level 20 Gy, share 0.3.
    dose, volume = np.array([5.0, 10.0, 19.0, 25.0, 15.0]), np.full(5, 0.2)
    form = convex_form(MaxDoseVolume(20.0, 0.3), width_gy=0.0)
    # Hottest 30 %: the whole of 25 Gy and half of 19 Gy, (0.2 * 25 + 0.1 * 19) / 0.3 = 23.
    assert form.excess_gy(dose, volume)[0] == pytest.approx(3.0)
    assert form.value(dose, volume) == pytest.approx(9.0)


@given(dose=doses, volume=volumes)
@settings(max_examples=30, deadline=None)
def test_geud_is_the_mean_at_one_and_goes_to_the_extremes(dose, volume) -> None:
    mean = float(volume @ dose)
    assert float(SquaredEUDOverdose(0.0, 1.0).excess_gy(dose, volume)[0]) == pytest.approx(mean)
    assert SquaredEUDOverdose(10.0, 1.0).value(dose, volume) == pytest.approx(
        SquaredMeanOverdose(10.0).value(dose, volume), rel=1e-9, abs=1e-9
    )
    assert float(SquaredEUDOverdose(0.0, 2000.0).excess_gy(dose, volume)[0]) == pytest.approx(dose.max(), rel=5e-3)
    assert -float(SquaredEUDUnderdose(0.0, -2000.0).excess_gy(dose, volume)[0]) == pytest.approx(dose.min(), rel=5e-3)
    geuds = [float(SquaredEUDOverdose(0.0, a).excess_gy(dose, volume)[0]) for a in (1.0, 2.0, 8.0, 40.0)]
    assert all(b >= a - 1e-9 for a, b in pairwise(geuds))


@given(volume=volumes, level=st.floats(1.0, 70.0))
@settings(max_examples=20, deadline=None)
def test_a_uniform_dose_is_its_own_tail_mean_and_geud(volume, level) -> None:
    dose = np.full(N, level)
    assert upper_tail(dose, volume, 0.1)[0] == pytest.approx(level)
    assert float(SquaredEUDOverdose(0.0, 8.0).excess_gy(dose, volume)[0]) == pytest.approx(level)
    assert SquaredSpread(1.0, 0.1, 0.0).excess_gy(dose, volume)[0] == pytest.approx(-1.0)


@given(dose=doses, volume=volumes, by=st.floats(-0.5, 20.0))
@settings(max_examples=30, deadline=None)
def test_a_spread_is_never_below_that_of_the_doses_at_the_volumes_and_not_moved_by_the_dose(dose, volume, by) -> None:
    spread = float(SquaredSpread(0.0, 0.1).excess_gy(dose, volume)[0])
    assert spread >= dose_at(dose, volume, 0.1) - dose_at(dose, volume, 0.9) - 1e-9
    assert float(SquaredSpread(0.0, 0.1).excess_gy(dose + by, volume)[0]) == pytest.approx(spread, abs=1e-8)


def test_the_allowed_dose_falls_by_half_towards_its_floor() -> None:
    level = FallOff(60.0, np.array([0.0, 12.0, 24.0, 1000.0]), 12.0, 0.2).level_gy
    np.testing.assert_allclose(level, [60.0, 60 * (0.2 + 0.4), 60 * (0.2 + 0.2), 12.0])
    # With the whole dose as the floor it is the ring's maximum.
    dose, volume = np.linspace(5.0, 65.0, N), np.full(N, 1 / N)
    ring = FallOff(57.0, DISTANCE, 12.0, 1.0)
    assert ring.value(dose, volume) == pytest.approx(SquaredOverdose(57.0).value(dose, volume))


def test_a_ring_lies_outside_the_target() -> None:
    distance = np.array([0.0, 0.0, 2.0, 5.0, 10.0, 20.0])
    np.testing.assert_array_equal(ring_rows(distance, 0.0, 10.0), [2, 3, 4])
    np.testing.assert_array_equal(ring_rows(distance, 5.0, 20.0), [4, 5])


@given(dose=doses, volume=volumes)
@settings(max_examples=30, deadline=None)
def test_what_is_kept_is_measured_in_gray(dose, volume) -> None:
    for f in (SquaredMeanOverdose(10.0), SquaredTailOverdose(10.0, 0.3)):
        held = AtMost(f, 3.0)
        beyond = max(float(f.excess_gy(dose, volume)[0]), 0.0)
        assert held.measure_gy(dose, volume) == pytest.approx(beyond, abs=1e-6)
        assert held.value(dose, volume) == pytest.approx(max(beyond - 3.0, 0.0) ** 2, abs=1e-6)
    assert AtMost(MeanDose(), 0.0).measure_gy(dose, volume) == pytest.approx(volume @ dose)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TailMean(0.0),
        lambda: SquaredTailOverdose(20.0, 1.5),
        lambda: SquaredTailUnderdose(20.0, 0.1, -1.0),
        lambda: SquaredSpread(5.0, 0.6),
        lambda: FallOff(60.0, DISTANCE, 0.0, 0.2),
        lambda: FallOff(60.0, DISTANCE, 12.0, 1.2),
        lambda: ring_rows(DISTANCE, 10.0, 5.0),
        lambda: convex_form(MaxDoseVolume(20.0, 0.0)),
        lambda: convex_form(MinDoseVolume(20.0, 1.0), np.ones(3), np.full(3, 1 / 3)),
    ],
)
def test_parameters_without_meaning_are_refused(make) -> None:
    with pytest.raises(InputError):
        make()

"""TCP: closed forms, products over voxels, regrowth, oxygen, patients who differ, derivatives; the window."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats

from tailort.errors import InputError
from tailort.radiobiology import (
    Exposed,
    PoissonControl,
    Repopulation,
    Tumour,
    bed,
    clonogens_of,
    logistic_control,
    oer,
    outcome_set,
    overall_days,
    oxygen_sets,
    probit_control,
    relative_effect,
    tcp_poisson,
    tcp_poisson_gradient,
    therapeutic_window,
)

N = 6
REGROWTH = Repopulation("squamous", math.log(2) / (0.3 * 3.0), 21.0, "RB-12", "lit-recalled")
OXYGEN = oxygen_sets()["alper-howard-flanders"]
TUMOURS = {
    "plain": Tumour(1e6, 0.3, 10.0),
    "by voxel": Tumour(np.logspace(4, 7, N), np.linspace(0.2, 0.4, N), 10.0),
    "oxygen": Tumour(1e6, 0.35, 10.0, oxygen=np.linspace(0.4, 1.0, N)),
    "regrowth": Tumour(1e6, 0.35, 10.0, overall_days=40.0, repopulation=REGROWTH),
    "patients": Tumour(1e6, 0.3, 10.0, alpha_spread=0.2),
    "all": Tumour(np.logspace(4, 6, N), np.linspace(0.3, 0.4, N), 8.0, np.linspace(0.6, 1.0, N), 40.0, REGROWTH, 0.15),
}
tumours = pytest.mark.parametrize("tumour", TUMOURS.values(), ids=TUMOURS.keys())
doses = arrays(np.float64, N, elements=st.floats(40.0, 90.0))


@given(d=st.floats(0.5, 4.0), n=st.integers(1, 40), cells=st.floats(1.0, 1e9), alpha=st.floats(0.05, 0.6))
def test_a_uniform_dose_has_the_closed_form(d: float, n: int, cells: float, alpha: float) -> None:
    exact = math.exp(-cells * math.exp(-alpha * n * d * (1 + d / 10.0)))
    assert tcp_poisson([n * d], n, Tumour(cells, alpha, 10.0)) == pytest.approx(exact, rel=1e-9, abs=1e-300)


@given(dose=doses)
@settings(max_examples=40)
def test_control_is_the_product_of_the_voxels(dose) -> None:
    cells, alpha = TUMOURS["by voxel"].clonogens, TUMOURS["by voxel"].alpha_per_gy
    each = [tcp_poisson([d], 30, Tumour(c, a, 10.0)) for d, c, a in zip(dose, cells, alpha, strict=True)]
    assert tcp_poisson(dose, 30, TUMOURS["by voxel"]) == pytest.approx(math.prod(each), rel=1e-9, abs=1e-300)


@tumours
@given(dose=doses, more=arrays(np.float64, N, elements=st.floats(0.0, 15.0)))
@settings(max_examples=30)
def test_control_never_falls_with_dose(tumour, dose, more) -> None:
    assert tcp_poisson(dose + more, 30, tumour) >= tcp_poisson(dose, 30, tumour) - 1e-12


@tumours
@given(dose=doses)
@settings(max_examples=20)
def test_gradients_are_those_of_the_values(tumour, dose) -> None:
    h = 1e-4
    difference = [
        (tcp_poisson(dose + h * e, 30, tumour) - tcp_poisson(dose - h * e, 30, tumour)) / (2 * h) for e in np.eye(N)
    ]
    np.testing.assert_allclose(tcp_poisson_gradient(dose, 30, tumour), difference, rtol=1e-4, atol=1e-9)


@given(spread=st.floats(0.02, 0.6), dose=st.floats(40.0, 80.0))
@settings(max_examples=30)
def test_the_average_over_patients_is_the_integral(spread: float, dose: float) -> None:
    bed_gy = float(bed(dose, 30, 10.0))

    def integrand(x: float) -> float:
        return math.exp(-1e6 * math.exp(-0.3 * x * bed_gy) - 0.5 * ((x - 1) / spread) ** 2)

    # About where the curve is steep the integral is cut.
    steep = math.log(1e6) / (0.3 * bed_gy)
    whole = integrate.quad(integrand, 0.0, 1 + 9 * spread, limit=400, points=[steep, 1.0])[0]
    share = whole / (spread * math.sqrt(2 * math.pi) * stats.norm.sf(0.0, 1.0, spread))
    assert tcp_poisson([dose], 30, Tumour(1e6, 0.3, 10.0, alpha_spread=spread)) == pytest.approx(share, abs=2e-6)


@given(dose=doses)
@settings(max_examples=20)
def test_patients_who_hardly_differ_are_one_patient(dose) -> None:
    plain = tcp_poisson(dose, 30, TUMOURS["plain"])
    assert tcp_poisson(dose, 30, replace(TUMOURS["plain"], alpha_spread=1e-6)) == pytest.approx(plain, abs=1e-6)


def test_patients_who_differ_have_a_flatter_curve() -> None:
    one, many = TUMOURS["plain"], replace(TUMOURS["plain"], alpha_spread=0.25)
    low, high = [np.full(N, gy) for gy in (40.0, 70.0)]
    assert tcp_poisson(low, 30, many) > tcp_poisson(low, 30, one)
    assert tcp_poisson(high, 30, many) < tcp_poisson(high, 30, one)


def test_regrowth_costs_control_by_what_it_takes_from_the_bed() -> None:
    # WE-61: 30 x 2 Gy in 40 days leave 57.37 Gy of the 72 Gy BED.
    tumour = Tumour(1e6, 0.3, 10.0, overall_days=overall_days(30), repopulation=REGROWTH)
    assert tcp_poisson([60.0], 30, tumour) == pytest.approx(math.exp(-1e6 * math.exp(-0.3 * 57.37)), rel=2e-3)
    assert tcp_poisson([60.0], 30, replace(tumour, overall_days=60.0)) < tcp_poisson([60.0], 30, tumour)


def test_a_tumour_without_dose_is_controlled_only_without_cells() -> None:
    assert tcp_poisson([0.0], 30, Tumour(5.0, 0.3, 10.0)) == pytest.approx(math.exp(-5.0))
    assert tcp_poisson([0.0, 70.0], 30, Tumour([0.0, 0.0], 0.3, 10.0)) == 1.0


@given(dose=st.floats(30.0, 90.0), p=st.floats(0.0, 60.0))
def test_a_dose_over_h_makes_up_for_the_lack_of_oxygen(dose: float, p: float) -> None:
    h = float(relative_effect(p, OXYGEN))
    lacking = tcp_poisson([dose / h], 30, Tumour(1e6, 0.3, 10.0, oxygen=h))
    assert lacking == pytest.approx(tcp_poisson([dose], 30, Tumour(1e6, 0.3, 10.0)), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(("po2", "ratio"), [(0, 1.0), (1, 1.5), (3, 2.0), (10, 2.538), (40, 2.860)])
def test_we_69_oxygen_enhancement(po2: float, ratio: float) -> None:
    assert float(oer(po2, OXYGEN)) == pytest.approx(ratio, abs=5e-4)


@given(st.floats(0.0, 100.0), st.floats(0.0, 100.0))
def test_oxygen_enhancement_rises_from_1_towards_the_maximum(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert 1.0 <= float(oer(low, OXYGEN)) <= float(oer(high, OXYGEN)) < OXYGEN.maximum
    assert float(oer(0.0, OXYGEN)) == 1.0
    assert float(relative_effect(low, OXYGEN)) == pytest.approx(float(oer(low, OXYGEN)) / 3)


def test_oxygen_is_not_told_for_12_gy_in_one_fraction() -> None:
    assert "RB-72" in OXYGEN.extrapolated(12.0)
    assert OXYGEN.extrapolated(2.0) == ""


@pytest.mark.parametrize(
    "model",
    [logistic_control(50.0, 1.2, -10.0), probit_control(50.0, 0.3325, -10.0), PoissonControl(50.0, 1.2)],
    ids=["logistic", "probit", "Poisson"],
)
@given(
    dose=arrays(np.float64, N, elements=st.floats(20.0, 80.0)),
    volume=arrays(np.float64, N, elements=st.floats(0.1, 1.0)),
)
@settings(max_examples=30)
def test_curves_of_an_equivalent_dose_have_one_d50_and_slope_and_feel_a_cold_spot(model, dose, volume) -> None:
    curve = model.uniform
    assert curve.at(50.0) == pytest.approx(0.5)
    assert 50.0 * curve.derivative(50.0) == pytest.approx(1.2, rel=1e-3)
    # Never better than a uniform dose of the same mean.
    assert model.effect(dose, volume) <= curve.at(float(volume @ dose / volume.sum())) + 1e-9
    h = 1e-4
    difference = [
        (model.effect(dose + h * e, volume) - model.effect(dose - h * e, volume)) / (2 * h) for e in np.eye(N)
    ]
    np.testing.assert_allclose(model.gradient(dose, volume), difference, rtol=1e-4, atol=1e-9)


def test_an_evenly_spread_poisson_model_is_the_voxel_wise_one() -> None:
    model, dose = PoissonControl(50.0, 1.2), np.array([45.0, 50.0, 60.0])
    share = np.array([0.2, 0.5, 0.3])
    alpha = model.uniform.alpha_per_gy / 1.2
    voxels = Tumour(share * model.uniform.clonogens, alpha, 10.0)
    eqd2_gy = bed(dose, 30, 10.0) / 1.2
    assert model.effect(eqd2_gy, share) == pytest.approx(tcp_poisson(dose, 30, voxels), rel=1e-12)


def test_a_voxel_without_dose_leaves_no_control_by_an_equivalent_dose() -> None:
    assert logistic_control(50.0, 1.2, -10.0).effect([0.0, 80.0], [0.01, 0.99]) == 0.0


def test_cells_are_density_times_volume() -> None:
    np.testing.assert_allclose(clonogens_of([1e7, 1e6], [0.5, 2.0]), [5e6, 2e6])


def test_the_window_shows_cure_and_complications_rise_and_cure_without_them_fall_again() -> None:
    dose = np.array([60.0, 62.0])
    tumour = Exposed(outcome_set("oesophagus-demonstration"), dose, [1.0, 1.0], 30)
    lung = Exposed(outcome_set("lung-quantec"), 0.4 * dose, [1.0, 1.0], 30)
    cord = Exposed(outcome_set("myelopathy-schultheiss-2008"), 0.7 * dose, [1.0, 1.0], 30)
    factors = np.linspace(0.0, 2.5, 26)
    found = therapeutic_window(factors, tumour, {"lung": lung, "cord": cord})
    assert (np.diff(found.control) >= 0).all()
    for risk in found.complications.values():
        assert (np.diff(risk) >= 0).all()
    expected = found.control * (1 - found.complications["lung"]) * (1 - found.complications["cord"])
    np.testing.assert_allclose(found.uncomplicated, expected)
    assert 0.5 < found.best_factor < 2.0
    assert found.control[10] == pytest.approx(tumour.by.effect(dose, 30, [1.0, 1.0]))
    with pytest.raises(InputError, match="needs a set that gives TCP"):
        therapeutic_window([1.0], lung, {})
    with pytest.raises(InputError, match="not below 0"):
        therapeutic_window([-1.0], tumour, {})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Tumour(-1.0, 0.3, 10.0),
        lambda: Tumour(1e6, 0.0, 10.0),
        lambda: Tumour(1e6, 0.3, 10.0, oxygen=0.0),
        lambda: Tumour(1e6, 0.3, 10.0, oxygen=1.2),
        lambda: Tumour(1e6, 0.3, 10.0, alpha_spread=-0.1),
        lambda: Tumour(1e6, 0.3, 10.0, overall_days=40.0),
        lambda: tcp_poisson([60.0, 60.0], 30, Tumour([1e6] * 3, 0.3, 10.0)),
        lambda: tcp_poisson([], 30, TUMOURS["plain"]),
        lambda: tcp_poisson([-1.0], 30, TUMOURS["plain"]),
        lambda: tcp_poisson([60.0], 0, TUMOURS["plain"]),
        lambda: logistic_control(50.0, 1.2, 1.0),
        lambda: PoissonControl(0.0, 1.2),
        lambda: oer(-1.0, OXYGEN),
        lambda: replace(OXYGEN, maximum=0.9),
        lambda: replace(OXYGEN, source=""),
    ],
)
def test_what_has_no_meaning_is_refused(make) -> None:
    with pytest.raises(InputError):
        make()

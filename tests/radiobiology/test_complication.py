"""NTCP: worked examples, laws of dose and volume, derivatives, cure without complication."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tailort.errors import InputError
from tailort.radiobiology import RelativeSeriality, lkb, logistic_on_mean, outcome_set, uncomplicated_control
from tailort.radiobiology.complication import SerialPoisson
from tailort.radiobiology.dose_response import ClonogenPoisson, ExcessRelativeRisk, Logistic, LogisticLine, Probit
from tailort.radiobiology.volume_response import OnEquivalentDose, OnMaximum

N = 8
CURVES = {
    "logistic line": LogisticLine(3.87, 0.126),
    "logistic": Logistic(69.4, 4.7375),
    "probit": Probit(51.0, 0.32),
    "serial Poisson": SerialPoisson(52.3, 1.28),
    "clonogens": ClonogenPoisson(20.0, 0.07),
    "relative risk": ExcessRelativeRisk(0.074),
}
MODELS = {
    "LKB, parallel": lkb(31.4, 0.45, 1.0),
    "LKB, between": lkb(51.0, 0.32, 0.44),
    "LKB, serial": lkb(68.0, 0.11, 0.06),
    "logistic on the mean": logistic_on_mean(3.87, 0.126),
    "seriality 1": RelativeSeriality(52.3, 1.28, 1.0),
    "seriality 0.2": RelativeSeriality(40.0, 2.0, 0.2),
}
doses = arrays(np.float64, N, elements=st.floats(1.0, 70.0))
volumes = arrays(np.float64, N, elements=st.floats(0.01, 1.0))
models = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


@pytest.mark.parametrize(("mean_gy", "ntcp"), [(13, 0.0969), (17, 0.1508), (20, 0.2059)])
def test_we_70_pneumonitis_by_the_mean_lung_dose(mean_gy: float, ntcp: float) -> None:
    assert outcome_set("lung-quantec").response.effect([mean_gy], [1.0]) == pytest.approx(ntcp, abs=5e-5)


@pytest.mark.parametrize(("name", "ntcp"), [("lung-seppenwoolde-2003", 0.1130), ("lung-quantec-probit", 0.1541)])
def test_we_71_pneumonitis_by_lkb_at_an_eud_of_17_gy(name: str, ntcp: float) -> None:
    assert outcome_set(name).response.effect([17.0], [1.0]) == pytest.approx(ntcp, abs=5e-5)


@pytest.mark.parametrize(
    ("eqd2_gy", "ntcp", "off"), [(45, 27e-5, 1e-5), (50, 0.002, 1e-4), (60, 0.0596, 1e-4), (69.4, 0.5, 1e-12)]
)
def test_we_72_myelopathy_by_the_highest_eqd2(eqd2_gy: float, ntcp: float, off: float) -> None:
    response = outcome_set("myelopathy-schultheiss-2008").response
    assert response.effect([10.0, eqd2_gy], [0.9, 0.1]) == pytest.approx(ntcp, abs=off)


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES.keys())
@given(dose=st.floats(0.5, 120.0))
def test_curves_rise_with_their_derivative(curve, dose: float) -> None:
    h = 1e-4
    difference = (curve.at(dose + h) - curve.at(dose - h)) / (2 * h)
    assert curve.derivative(dose) == pytest.approx(difference, rel=1e-5, abs=1e-10)
    assert curve.derivative(dose) >= 0


@pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES.keys())
@given(dose=st.floats(20.0, 80.0))
def test_the_dose_of_an_effect_is_the_inverse(curve, dose: float) -> None:
    assert curve.dose_at(curve.at(dose)) == pytest.approx(dose, rel=1e-5)


@pytest.mark.parametrize("curve", [CURVES[name] for name in ("logistic", "probit", "serial Poisson")])
def test_half_have_the_effect_at_d50(curve) -> None:
    assert curve.at(curve.d50_gy) == pytest.approx(0.5)


def test_the_slope_of_a_logistic_curve_is_gamma50() -> None:
    curve = Logistic(50.0, 1.2)
    assert 50.0 * curve.derivative(50.0) == pytest.approx(1.2)


@models
@given(dose=doses, volume=volumes)
@settings(max_examples=40)
def test_gradients_are_those_of_the_values(model, dose, volume) -> None:
    h = 1e-4
    for value, gradient in ((model.effect, model.gradient), (model.equivalent_gy, model.equivalent_gradient)):
        difference = [(value(dose + h * e, volume) - value(dose - h * e, volume)) / (2 * h) for e in np.eye(N)]
        np.testing.assert_allclose(gradient(dose, volume), difference, rtol=1e-4, atol=1e-7)


@models
@given(dose=doses, volume=volumes, more=arrays(np.float64, N, elements=st.floats(0.0, 20.0)))
@settings(max_examples=40)
def test_a_complication_is_never_rarer_with_more_dose(model, dose, volume, more) -> None:
    assert model.effect(dose + more, volume) >= model.effect(dose, volume) - 1e-12


@models
@given(low=st.floats(0.0, 40.0), high=st.floats(0.0, 30.0), first=st.floats(0.0, 1.0), second=st.floats(0.0, 1.0))
@settings(max_examples=40)
def test_a_complication_is_never_rarer_with_more_volume_at_the_higher_dose(model, low, high, first, second) -> None:
    small, large = sorted((first, second))
    dose = [low, low + high]
    assert model.effect(dose, [1 - large, large]) >= model.effect(dose, [1 - small, small]) - 1e-12


@models
@given(dose=st.floats(0.0, 75.0), volume=volumes)
@settings(max_examples=30)
def test_a_uniform_dose_is_its_own_equivalent(model, dose, volume) -> None:
    assert model.equivalent_gy(np.full(N, dose), volume) == pytest.approx(dose, rel=1e-4, abs=1e-4)
    assert model.effect(np.full(N, dose), volume) == pytest.approx(model.uniform.at(dose), rel=1e-9)


@models
@given(dose=doses, volume=volumes)
@settings(max_examples=30)
def test_a_voxel_may_be_cut_in_two(model, dose, volume) -> None:
    assert model.effect(np.repeat(dose, 2), np.repeat(volume, 2)) == pytest.approx(model.effect(dose, volume), rel=1e-9)


@given(dose=doses, volume=volumes)
@settings(max_examples=30)
def test_a_serial_organ_escapes_where_each_part_does(dose, volume) -> None:
    # s = 1: the chance to escape is the product of the parts' chances, each to the power of its share.
    curve, share = SerialPoisson(52.3, 1.28), volume / volume.sum()
    escape = math.prod((1 - curve.at(d)) ** v for d, v in zip(dose, share, strict=True))
    assert 1 - MODELS["seriality 1"].effect(dose, volume) == pytest.approx(escape, rel=1e-9)


def test_lkb_with_n_of_1_looks_at_the_mean_and_near_0_at_the_maximum() -> None:
    dose, volume = [10.0, 50.0], [0.5, 0.5]
    assert lkb(31.4, 0.45, 1.0).equivalent_gy(dose, volume) == pytest.approx(30.0)
    assert lkb(31.4, 0.45, 1e-4).equivalent_gy(dose, volume) == pytest.approx(50.0, rel=1e-3)


def test_the_hottest_voxel_alone_moves_a_model_of_the_maximum() -> None:
    model = OnMaximum(Logistic(69.4, 4.7375))
    np.testing.assert_array_equal(model.equivalent_gradient([10.0, 60.0, 70.0], [1.0, 1.0, 0.0]), [0.0, 1.0, 0.0])


def test_no_dose_hardly_harms() -> None:
    # Printed logistic and probit curves do not pass through 0: 2.0 % and 1.3 % without any dose.
    assert MODELS["logistic on the mean"].effect([0.0], [1.0]) == pytest.approx(1 / (1 + math.exp(3.87)))
    assert MODELS["seriality 1"].effect([0.0], [1.0]) < 1e-9
    assert MODELS["seriality 1"].equivalent_gy([0.0, 0.0], [1.0, 2.0]) == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(InputError, match=r"gives 2\.04 % without any dose, so no dose has 1 %"):
        CURVES["logistic line"].dose_at(0.01)


@given(st.floats(0.0, 1.0), st.lists(st.floats(0.0, 1.0), max_size=4))
def test_cure_without_complication_is_the_product_and_never_more_than_cure(control, complications) -> None:
    found = uncomplicated_control(control, complications)
    assert found <= control
    assert found == pytest.approx(control * math.prod(1 - each for each in complications))


@pytest.mark.parametrize(
    "make",
    [
        lambda: lkb(30.0, 0.3, 0.0),
        lambda: lkb(-30.0, 0.3, 1.0),
        lambda: lkb(30.0, 0.0, 1.0),
        lambda: RelativeSeriality(50.0, 1.0, 0.0),
        lambda: RelativeSeriality(50.0, math.nan, 1.0),
        lambda: Probit(50.0, 0.3).dose_at(1.0),
        lambda: ExcessRelativeRisk(0.1).dose_at(-1.0),
        lambda: MODELS["seriality 1"].effect([1.0, 2.0], [1.0]),
        lambda: MODELS["seriality 1"].effect([-1.0], [1.0]),
        lambda: OnMaximum(Logistic(50.0, 1.0)).effect([1.0], [0.0]),
        lambda: OnEquivalentDose(Logistic(50.0, 1.0), 0.0).effect([1.0], [1.0]),
        lambda: uncomplicated_control(1.2, []),
        lambda: uncomplicated_control(0.5, [-0.1]),
    ],
)
def test_what_has_no_meaning_is_refused(make) -> None:
    with pytest.raises(InputError):
        make()

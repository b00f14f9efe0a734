"""Objectives: derivatives against differences, convexity, and what each one means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_objectives_more import EXAMPLES as MORE
from test_outcome_objectives import EXAMPLES as OUTCOMES

from tailort.errors import InputError
from tailort.optimisation.objectives import (
    OBJECTIVES,
    LinearQuadratic,
    MaxDoseVolume,
    MeanDose,
    MinDoseVolume,
    Physical,
    SquaredEUDOverdose,
    SquaredEUDUnderdose,
    SquaredMeanOverdose,
    SquaredOverdose,
    SquaredUnderdose,
    UniformDose,
)
from tailort.optimisation.objectives.dose_volume import dose_at, hottest_share

N = 12
EXAMPLES = {
    "squared-overdose": SquaredOverdose(30.0),
    "squared-overdose, by voxel": SquaredOverdose(np.linspace(10.0, 50.0, N)),
    "squared-underdose": SquaredUnderdose(30.0),
    "uniform-dose": UniformDose(30.0),
    "uniform-dose, painted": UniformDose(np.linspace(10.0, 50.0, N)),
    "max-dose-volume": MaxDoseVolume(25.0, 0.3),
    "min-dose-volume": MinDoseVolume(40.0, 0.7),
    "mean-dose": MeanDose(),
    "squared-mean-overdose": SquaredMeanOverdose(20.0),
    "squared-eud-overdose": SquaredEUDOverdose(20.0, 8.0),
    "squared-eud-underdose": SquaredEUDUnderdose(60.0, -10.0),
}
QUANTITIES = {
    "physical": Physical(),
    "EQD2": LinearQuadratic("EQD2", 3.0, 30),
    "BED": LinearQuadratic("BED", 10.0, 25),
}
RISES = ["squared-overdose", "squared-overdose, by voxel", "max-dose-volume", "mean-dose", "squared-mean-overdose",
         "squared-eud-overdose"]  # fmt: skip
CONVEX = [name for name in EXAMPLES if "dose-volume" not in name]

doses = arrays(np.float64, N, elements=st.floats(1.0, 70.0))
volumes = arrays(np.float64, N, elements=st.floats(0.01, 1.0)).map(lambda v: v / v.sum())


def test_every_objective_of_the_table_is_tried_here() -> None:
    tried = {type(objective) for objective in [*EXAMPLES.values(), *MORE.values(), *OUTCOMES.values()]}
    assert set(OBJECTIVES.values()) <= tried


@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=QUANTITIES.keys())
@pytest.mark.parametrize("objective", EXAMPLES.values(), ids=EXAMPLES.keys())
@given(dose=arrays(np.float64, N, elements=st.floats(1.0, 70.0), unique=True), volume=volumes)
@settings(max_examples=20, deadline=None)
def test_derivatives_are_those_of_the_values(objective, quantity, dose, volume) -> None:
    # Two voxels of the same dose may change their order in a dose-volume objective: no derivative there.
    assume(np.diff(np.sort(quantity.of(dose))).min() > 1e-3)
    step = 1e-5

    def value(d):
        return objective.value(quantity.of(d), volume)

    found = objective.derivative(quantity.of(dose), volume) * quantity.derivative(dose)
    differences = np.array([(value(dose + step * e) - value(dose - step * e)) / (2 * step) for e in np.eye(N)])
    # Squares have a kink in the derivative only, so central differences are right to the step's size.
    np.testing.assert_allclose(found, differences, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", CONVEX)
@given(a=doses, b=doses, volume=volumes, t=st.floats(0.0, 1.0))
@settings(max_examples=40, deadline=None)
def test_objectives_said_to_be_convex_are_convex(name, a, b, volume, t) -> None:
    f = EXAMPLES[name]
    chord = t * f.value(a, volume) + (1 - t) * f.value(b, volume)
    assert f.value(t * a + (1 - t) * b, volume) <= chord + 1e-9 * (1 + abs(chord))


@pytest.mark.parametrize("name", [n for n in RISES if n in CONVEX])
@given(a=doses, b=doses, volume=volumes, t=st.floats(0.0, 1.0))
@settings(max_examples=30, deadline=None)
def test_convex_objectives_that_rise_stay_convex_on_eqd2(name, a, b, volume, t) -> None:
    f, q = EXAMPLES[name], QUANTITIES["EQD2"]
    chord = t * f.value(q.of(a), volume) + (1 - t) * f.value(q.of(b), volume)
    assert f.value(q.of(t * a + (1 - t) * b), volume) <= chord + 1e-9 * (1 + abs(chord))


@pytest.mark.parametrize("name", RISES)
@given(dose=doses, more=arrays(np.float64, N, elements=st.floats(0.0, 20.0)), volume=volumes)
@settings(max_examples=30, deadline=None)
def test_objectives_of_organs_never_fall_with_dose(name, dose, more, volume) -> None:
    f = EXAMPLES[name]
    assert f.value(dose + more, volume) >= f.value(dose, volume) - 1e-9


@pytest.mark.parametrize("name", [n for n in EXAMPLES if n != "mean-dose"])
@given(dose=doses, volume=volumes)
@settings(max_examples=40, deadline=None)
def test_an_objective_is_zero_exactly_where_nothing_is_beyond_it(name, dose, volume) -> None:
    f = EXAMPLES[name]
    assert (f.value(dose, volume) > 1e-12) == (float(np.max(f.excess_gy(dose, volume))) > 1e-6)


@given(dose=doses, volume=volumes, share=st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_the_hottest_share_has_its_volume_and_is_the_hottest(dose, volume, share) -> None:
    part = hottest_share(dose, volume, share)
    assert part.sum() == pytest.approx(share, abs=1e-9)
    assert (part >= 0).all()
    assert (part <= volume + 1e-12).all()
    untouched, touched = part < volume - 1e-12, part > 1e-12
    if untouched.any() and touched.any():
        assert dose[touched].min() >= dose[untouched].max() - 1e-12


@given(dose=doses, volume=volumes)
@settings(max_examples=30, deadline=None)
def test_a_dose_volume_objective_does_not_depend_on_how_a_voxel_is_cut(dose, volume) -> None:
    halves, half_volumes = np.repeat(dose, 2), np.repeat(volume / 2, 2)
    for f in (EXAMPLES["max-dose-volume"], EXAMPLES["min-dose-volume"]):
        assert f.value(halves, half_volumes) == pytest.approx(f.value(dose, volume), rel=1e-9, abs=1e-9)


def test_a_dose_volume_objective_reads_as_in_the_clinic() -> None:
    dose, volume = np.array([10.0, 20.0, 30.0, 40.0]), np.full(4, 0.25)
    assert MaxDoseVolume(25.0, 0.5).value(dose, volume) == 0.0
    # One quarter too much above 25 Gy: the colder of the two voxels above it, 30 Gy, has to come down.
    assert MaxDoseVolume(25.0, 0.25).value(dose, volume) == pytest.approx(0.25 * 25.0)
    assert MinDoseVolume(35.0, 0.5).value(dose, volume) == pytest.approx(0.25 * 25.0)
    assert dose_at(dose, volume, 0.5) == 30.0


def test_a_gray_per_voxel_has_its_own_eqd2() -> None:
    # 60 Gy in 30 fractions is 60 Gy EQD2; 45 Gy in 30 fractions at alpha/beta 3 is 45 (1.5 + 3) / 5.
    quantity = LinearQuadratic("EQD2", 3.0, 30)
    np.testing.assert_allclose(quantity.of(np.array([60.0, 45.0])), [60.0, 40.5])


def test_a_stricter_level_is_never_cheaper() -> None:
    dose, volume = np.linspace(5.0, 65.0, N), np.full(N, 1 / N)
    for name, f in EXAMPLES.items():
        assert f.tightened(2.0).value(dose, volume) >= f.value(dose, volume), name


def test_a_target_without_dose_is_shown_the_way_out() -> None:
    f = SquaredEUDUnderdose(60.0, -10.0)
    dose, volume = np.zeros(N), np.full(N, 1 / N)
    assert f.value(dose, volume) == pytest.approx(3600.0)
    assert (f.derivative(dose, volume) < 0).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: SquaredEUDOverdose(20.0, 0.5),
        lambda: SquaredEUDUnderdose(20.0, 2.0),
        lambda: MaxDoseVolume(20.0, 30.0),
        lambda: LinearQuadratic("EQD2", 0.0, 30),
        lambda: LinearQuadratic("BED", 3.0, 0),
    ],
)
def test_parameters_without_meaning_are_refused(make) -> None:
    with pytest.raises(InputError):
        make()

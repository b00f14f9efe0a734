"""A machine is found again from its own data, and the packaged ones keep what was published."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from tailort.errors import InputError
from tailort.physics import machine
from tailort.physics.machines import machine_facts, machine_of_facts
from tailort.workflow.fitting import (
    COLUMNS,
    PACKAGED,
    PARAMETERS,
    Residual,
    Target,
    fit,
    free_numbers,
    from_start,
    packaged_targets,
    read_targets,
    residuals,
)

HEADER = ",".join(COLUMNS)
GENERIC = machine_facts()["generic-6MV"]


def output(side: float, value: float = 1.0, ssd: float = 950.0, depth: float = 50.0) -> Target:
    return Target("output", (side, side), ssd, depth, 0.0, value, 1.0, "test")


def measured(facts: dict, targets: list[Target]) -> list[Target]:
    """The targets with the values that this machine has."""
    return [replace(r.target, value=r.found) for r in residuals(machine_of_facts("truth", facts, "test"), targets)]


def changed(facts: dict, **values: float) -> dict:
    out = copy.deepcopy(facts)
    for name, value in values.items():
        place = out
        for key in PARAMETERS[name].place[:-1]:
            place = place[key]
        place[PARAMETERS[name].place[-1]] = value
    return out


@pytest.mark.slow
def test_an_extra_focal_share_is_found_again_from_its_output_factors() -> None:
    truth = changed(GENERIC, extrafocal_share=0.13)
    data = measured(truth, [output(30.0), output(200.0)])
    told: list[int] = []
    found = fit(GENERIC, data, ["extrafocal_share"], "a test", tell=told.append)
    assert found.converged
    assert found.fitted["extrafocal_share"] == pytest.approx(0.13, abs=0.002)
    assert found.start["extrafocal_share"] == GENERIC["extrafocal_share"]["value"]
    assert max(abs(r.difference) for r in found.residuals) < 0.1
    assert told == list(range(1, found.evaluations + 1))
    fact = found.facts["extrafocal_share"]
    assert (fact["mark"], fact["source"], fact["start"]) == ("F", "a test", GENERIC["extrafocal_share"]["value"])
    assert from_start(found.facts)["extrafocal_share"]["value"] == GENERIC["extrafocal_share"]["value"]
    # Everything else is untouched.
    for name, other in GENERIC.items():
        assert name == "extrafocal_share" or found.facts[name] == other


@pytest.mark.slow
def test_spectrum_and_contamination_are_found_again_from_depth_doses() -> None:
    truth = changed(GENERIC, aluminium_g_cm2=30.0, contamination_cm2_g=0.006)
    wanted = [
        Target("pdd", (side, side), 1000.0, depth, 0.0, 1.0, 1.0, "test")
        for side in (50.0, 100.0)
        for depth in (0.0, 10.0, 50.0, 100.0, 200.0)
    ]
    found = fit(GENERIC, measured(truth, wanted), ["aluminium_g_cm2", "contamination_cm2_g"], "a test")
    assert found.fitted["aluminium_g_cm2"] == pytest.approx(30.0, abs=1.0)
    assert found.fitted["contamination_cm2_g"] == pytest.approx(0.006, abs=0.0003)


@pytest.mark.slow
def test_horns_are_found_again_from_a_profile() -> None:
    truth = copy.deepcopy(GENERIC)
    truth["profile"]["value"] = [[0, 1], [50, 1.10], [300, 1.10]]
    wanted = [
        Target("profile", (120.0, 120.0), 950.0, 50.0, float(x), 100.0, 1.0, "test") for x in np.arange(10, 60, 10)
    ]
    found = fit(GENERIC, measured(truth, wanted), ["profile"], "a test")
    radii, values = np.array(found.facts["profile"]["value"]).T
    np.testing.assert_allclose(np.interp([10.0, 30.0, 50.0], radii, values), [1.02, 1.06, 1.10], atol=0.005)
    assert max(abs(r.difference) for r in found.residuals) < 0.4


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PACKAGED))
def test_every_fitted_number_of_the_packaged_machines_is_reproduced(name: str) -> None:
    facts = machine_facts()[name]
    targets, free = packaged_targets(name)
    found = fit(from_start(facts), targets, free, "the packaged targets")
    assert found.converged
    marked = {number for number, fact in facts.items() if isinstance(fact, dict) and fact["mark"] == "F"}
    assert marked == {PARAMETERS[number].place[0] for number in free}
    for number in free:
        value = facts
        for key in PARAMETERS[number].place:
            value = value[key]
        assert found.fitted[number] == pytest.approx(value, abs=0.1 * PARAMETERS[number].step), number


@pytest.fixture(scope="module")
def generic_residuals() -> list[Residual]:
    targets, _ = packaged_targets("generic-6MV")
    wanted = [t for t in targets if t.kind in ("pdd", "output", "tpr") and t.depth_mm > 15.0]
    return list(residuals(machine("generic-6MV"), wanted))


def test_depth_doses_of_generic_6mv_agree_with_the_mean_of_two_linacs_within_one_per_cent(
    generic_residuals: list[Residual],
) -> None:
    by_place: dict[tuple[float, float], list[Residual]] = {}
    for one in generic_residuals:
        if one.target.kind == "pdd":
            by_place.setdefault((one.target.field_mm[0], one.target.depth_mm), []).append(one)
    assert len(by_place) == 4 * 9
    for place, pair in by_place.items():
        assert len(pair) == 2
        assert abs(pair[0].found - np.mean([one.target.value for one in pair])) < 1.0, place


def test_output_factors_of_generic_6mv_agree_with_each_linac_within_one_and_a_half_per_cent(
    generic_residuals: list[Residual],
) -> None:
    outputs = [one for one in generic_residuals if one.target.kind == "output"]
    assert len(outputs) == 15
    for one in outputs:
        assert abs(one.difference) < 1.5, one


def test_the_beam_quality_of_generic_6mv_is_that_of_6_mv(generic_residuals: list[Residual]) -> None:
    (found, *_) = [one.found for one in generic_residuals if one.target.kind == "tpr"]
    assert 0.670 < found < 0.685


@pytest.mark.slow
def test_fields_of_generic_6mv_are_as_wide_as_they_are_set_within_one_millimetre() -> None:
    targets = [t for t in packaged_targets("generic-6MV")[0] if t.kind in ("width", "penumbra")]
    found = {(r.target.kind, r.target.field_mm[0]): r.found for r in residuals(machine("generic-6MV"), targets)}
    for side in (50.0, 100.0, 200.0):
        assert found["width", side] == pytest.approx(side, abs=1.0)
    assert 5.5 < found["penumbra", 100.0] < 7.0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("# only words", "is empty"),
        ("kind,value\npdd,1", "lacks the column"),
        (f"{HEADER}\npdd,100,100,1000,100,0,67,1,a\nfoo,1,1,1,1,1,1,1,a", r"line 3: unknown kind 'foo'"),
        (f"{HEADER}\npdd,100,100,1000,deep,0,67,1,a", "line 2: a cell is not a number"),
        (f"{HEADER}\npdd,100,100,1000", "line 2: a cell is not a number"),
        (f"{HEADER}\npdd,100,100,100,100,0,67,1,a", "ssd_mm of 500 to 2000"),
        (f"{HEADER}\npdd,100,100,1000,100,0,nan,1,a", "value above 0"),
        (f"{HEADER}\npdd,100,100,1000,100,0,67,-1,a", "weight of at least 0"),
    ],
)
def test_beam_data_that_cannot_be_read_say_where(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_targets(text, "mine.csv")


def test_weight_and_set_may_be_left_out() -> None:
    (one,) = read_targets("kind,field_x_mm,field_y_mm,ssd_mm,depth_mm,off_axis_mm,value\npdd,40,50,1000,100,0,62", "x")
    assert one == Target("pdd", (40.0, 50.0), 1000.0, 100.0, 0.0, 62.0, 1.0, "")


def test_what_cannot_be_fitted_is_refused() -> None:
    data = [output(40.0)]
    with pytest.raises(InputError, match="cannot fit colour; free may be end_mev"):
        fit(GENERIC, data, ["colour"], "a test")
    with pytest.raises(InputError, match="output say nothing of source_sigma_mm"):
        fit(GENERIC, data, ["source_sigma_mm"], "a test")
    with pytest.raises(InputError, match="weight above 0"):
        fit(GENERIC, [replace(data[0], weight=0.0)], ["extrafocal_share"], "a test")
    with pytest.raises(InputError, match="not a form with filters"):
        fit(machine_facts()["point-6MV"], data, ["end_mev"], "a test")
    assert "end_mev" not in free_numbers(machine_facts()["point-6MV"])
    with pytest.raises(InputError, match="no packaged targets"):
        packaged_targets("point-6MV")

"""A plan's MU: up to its prescriptions, no farther than its hard limits, and never for a target that no beam sees."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tailort.errors import InputError
from tailort.evaluation import histograms
from tailort.geometry import Grid, Image
from tailort.patient import (
    Beam,
    Constraint,
    ControlPoint,
    Dose,
    Normalisation,
    Plan,
    Prescription,
    Structure,
    StructureSet,
)
from tailort.protocols import Technique
from tailort.workflow.normalising import Scaled, scaled_to_prescription
from tailort.workflow.phases import Phase

FRAME = "1.2.3"
GRID = Grid.axial((9, 21, 41), (3.0, 3.0, 3.0), (-60.0, -30.0, -12.0), FRAME)
X = np.broadcast_to(-60.0 + 3.0 * np.arange(41), GRID.shape)


def box(name: str, low_mm: float, high_mm: float) -> Structure:
    corners = np.array([[low_mm, -12.0], [high_mm, -12.0], [high_mm, 12.0], [low_mm, 12.0]])
    contours = tuple(np.column_stack([corners, np.full(4, z)]) for z in (-6.0, -3.0, 0.0, 3.0, 6.0))
    return Structure(name, "PTV", contours, FRAME)


BENCH: Any = SimpleNamespace(
    structures=StructureSet((box("PTV", -45.0, -21.0), box("Node", 30.0, 45.0), box("Lungs", -18.0, 22.0)), FRAME),
    slice_mm=3.0,
)


def scaled(
    values_gy: Any,
    *constraints: Constraint,
    targets: tuple[str, ...] = ("PTV",),
    earlier_gy: Any = None,
    share: float = 1.0,
    reached: float = 1.0,
) -> Scaled:
    """Scale a dose of 20 fractions to 50 Gy in D95% of each target."""
    asked = tuple(Prescription(name, 50.0, 20, Normalisation("coverage", metric="D95%[Gy]")) for name in targets)
    points = tuple(ControlPoint(mu, 0.0, 0.0, 0.0, (-50.0, 50.0), (-50.0, 50.0), None) for mu in (0.0, 100.0))
    beam = Beam("AP", 1, "test", 6.0, True, (0.0, 0.0, 0.0), (), points)

    def dose(values: Any) -> Dose:
        image = Image(GRID, np.broadcast_to(values, GRID.shape).astype(np.float32), "Gy")
        return Dose(image, "physical", "course", 20, None, "test")

    phase = Phase(
        1, "test", Technique(kind="imrt", beams=5), asked, constraints,
        () if earlier_gy is None else (dose(earlier_gy),), share, targets,
    )  # fmt: skip
    made = Plan("test", (beam,), asked, 20, "HFS", FRAME)
    return scaled_to_prescription(BENCH, phase, made, dose(values_gy), reached)


def hard(metric: str, limit: float) -> Constraint:
    return Constraint("Lungs", metric, "<=", limit, "hard", "test")


def test_mu_and_dose_are_scaled_to_the_prescription() -> None:
    found = scaled(np.full(GRID.shape, 40.0))
    assert found.plan.mu == pytest.approx(125.0)
    np.testing.assert_allclose(found.dose.image.values, 50.0, rtol=1e-5)
    assert found.lack_gy == {}


def test_a_hard_limit_on_a_dose_keeps_the_mu_down() -> None:
    found = scaled(np.full(GRID.shape, 40.0), hard("Max[Gy]", 45.0))
    np.testing.assert_allclose(found.dose.image.values, 45.0, rtol=2e-3)
    assert (found.dose.image.values <= 45.0).all()
    assert found.lack_gy["Lungs"] == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize(("metric", "limit"), [("Max[Gy]", 30.0), ("V30Gy[%]", 0.0)])
@pytest.mark.parametrize("earlier_gy", [None, 0.0])
def test_what_a_limit_lacks_is_told_at_the_dose_that_can_be_had(
    metric: str, limit: float, earlier_gy: float | None
) -> None:
    """Of 50 Gy 40 can be had: a limit of 30 lacks 10 Gy, not 20, and of 28 it lacks nothing; the MU are the same."""
    whole, most, least = (
        scaled(np.full(GRID.shape, 40.0), hard(metric, limit), earlier_gy=earlier_gy, reached=reached)
        for reached in (1.0, 0.8, 0.56)
    )
    assert whole.plan.mu == most.plan.mu == least.plan.mu
    np.testing.assert_allclose(least.dose.image.values, 30.0, rtol=2e-3)
    assert whole.lack_gy["Lungs"] > most.lack_gy["Lungs"] > 0.0
    assert least.most_lack_gy == 0.0
    if metric == "Max[Gy]":
        assert (whole.lack_gy["Lungs"], most.lack_gy["Lungs"]) == pytest.approx((20.0, 10.0), abs=0.1)


def test_an_earlier_phase_may_use_what_the_whole_course_may() -> None:
    # 50 of 100 Gy: by its share the limit would be 40 Gy, but later phases may give the lungs nothing.
    found = scaled(np.full(GRID.shape, 40.0), hard("Max[Gy]", 80.0), share=0.5)
    assert found.plan.mu == pytest.approx(125.0)
    assert found.notes == ()


def test_a_plan_that_a_limit_keeps_below_its_prescription_says_so() -> None:
    (note,) = scaled(np.full(GRID.shape, 40.0), hard("Max[Gy]", 45.0)).notes
    assert "Lungs Max[Gy] <= 45" in note
    assert "keeps D95%[Gy] of PTV at 89.9 % of the 50 Gy" in note


def test_of_several_targets_the_one_that_lacks_most_is_told_with_what_it_gets() -> None:
    values = np.where(X < 0, 40.0, 30.0)
    found = scaled(values, hard("Max[Gy]", 45.0), targets=("PTV", "Node"))
    (note,) = found.notes
    percent = float(note.partition(" at ")[2].partition(" %")[0])
    assert "keeps D95%[Gy] of Node at" in note
    got = histograms([BENCH.structures["Node"]], found.dose)["Node"].value("D95%[Gy]")
    assert percent == pytest.approx(100.0 * got / 50.0, abs=0.1)


@pytest.mark.parametrize("quantity", ["EQD2", "BED"])
def test_a_hard_limit_in_eqd2_or_bed_keeps_the_mu_down(quantity: str) -> None:
    # D (d + 3) / 5 = 46 Gy EQD2 and D (1 + d / 3) = 76.667 Gy BED are both D = 43.2 Gy in 20 fractions.
    limit = {"EQD2": 46.0, "BED": 46.0 * 5.0 / 3.0}[quantity]
    c = Constraint("Lungs", "Max[Gy]", "<=", limit, "hard", "test", quantity=quantity, alpha_beta_gy=3.0)
    gy = -30.0 + np.sqrt(900.0 + 100.0 * 46.0)
    found = scaled(np.full(GRID.shape, 40.0), c)
    np.testing.assert_allclose(found.dose.image.values, gy, rtol=2e-3)
    # Beside an earlier phase of 20 Gy in 20 fractions, 16 Gy EQD2, 30 Gy EQD2 are left.
    found = scaled(np.full(GRID.shape, 40.0), c, earlier_gy=20.0)
    left = -30.0 + np.sqrt(900.0 + 100.0 * 30.0)
    np.testing.assert_allclose(found.dose.image.values, left, rtol=4e-3)


def test_a_volume_that_must_be_spared_keeps_the_mu_down() -> None:
    # At least 70 % of the lungs below 30 Gy is at most 30 % above.
    spared = Constraint("Lungs", "CV30Gy[%]", ">=", 70.0, "hard", "test")
    assert scaled(FALLING, spared).plan.mu == pytest.approx(scaled(FALLING, hard("V30Gy[%]", 30.0)).plan.mu, rel=0.01)


# Over the lungs, from x = -18 to 22, the dose falls from 38 to 18 Gy: with the prescription's 1.25 times as much
# 95 % are above 20 Gy for certain; a fraction f of the MU puts 20 Gy where the dose is 20 / f.
FALLING = np.clip(29.0 - 0.5 * X, 1.0, 40.0)


@pytest.mark.parametrize(("metric", "share"), [("V30Gy[%]", 0.3), ("V30Gy[cc]", 0.3)])
def test_a_hard_limit_on_a_volume_keeps_the_mu_down_too(metric: str, share: float) -> None:
    # 40 mm x 24 mm x 15 mm are 14.4 cm3.
    limit = 100.0 * share if metric.endswith("[%]") else share * 14.4
    free = scaled(FALLING)
    found = scaled(FALLING, hard(metric, limit))
    factor = found.plan.mu / 100.0
    # Just the hottest 30 %, the 12 mm next to the target, lie above 30 Gy.
    assert factor * (29.0 - 0.5 * (-18.0 + 12.0)) == pytest.approx(30.0, rel=0.01)
    assert factor < free.plan.mu / 100.0
    # What would have had to be 30 Gy at the whole prescription lies this much higher.
    assert found.lack_gy["Lungs"] == pytest.approx(30.0 * (1.0 - found.plan.mu / free.plan.mu), abs=0.02)


def test_no_volume_at_all_above_a_dose_is_a_limit_too() -> None:
    found = scaled(FALLING, hard("V30Gy[cc]", 0.0))
    assert found.plan.mu / 100.0 * 38.0 == pytest.approx(30.0, rel=0.02)


def test_a_volume_that_earlier_phases_have_used_up_is_left_to_the_scorecard() -> None:
    found = scaled(np.full(GRID.shape, 40.0), hard("V30Gy[%]", 30.0), earlier_gy=35.0)
    assert found.plan.mu == pytest.approx(125.0)


def test_a_dose_that_earlier_phases_have_used_up_is_told_and_lacks_all_that_is_beyond() -> None:
    found = scaled(np.full(GRID.shape, 40.0), hard("Max[Gy]", 45.0), earlier_gy=46.0)
    assert found.plan.mu == pytest.approx(125.0)
    assert found.notes == (
        "the phases before this one leave nothing of the hard limit Lungs Max[Gy] <= 45, which is not kept",
    )
    # Corrections of the plan see what they can make less.
    assert found.lack_gy["Lungs"] == pytest.approx(46.0 + 50.0 - 45.0, abs=0.1)


def test_the_volume_that_earlier_phases_have_left_is_kept() -> None:
    # 10 Gy were there: 20 Gy more make 30.
    found = scaled(FALLING, hard("V30Gy[%]", 30.0), earlier_gy=10.0)
    assert found.plan.mu / 100.0 * (29.0 - 0.5 * (-18.0 + 12.0)) == pytest.approx(20.0, rel=0.01)


@pytest.mark.parametrize(
    ("beyond_gy", "constraints"),
    [(0.0, ()), (2.0, ()), (0.0, (hard("Max[Gy]", 45.0),))],
    ids=["nothing", "scatter", "nothing, and a limit that keeps the MU down"],
)
def test_a_target_that_no_beam_sees_is_named(beyond_gy: float, constraints: tuple[Constraint, ...]) -> None:
    values = np.where(X < 25.0, 50.0, beyond_gy)
    with pytest.raises(InputError, match=r"'Node' .* seen by no beam") as told:
        scaled(values, *constraints, targets=("PTV", "Node"))
    assert "\n" not in str(told.value)

"""Phases planned together: one problem on the sum, and each phase's own part of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from tailort.cli import commands
from tailort.errors import InputError
from tailort.evaluation import dvh
from tailort.optimisation import Problem, VoxelSet, objectives_from, solve
from tailort.optimisation.objectives import LinearQuadratic, SquaredOverdose
from tailort.optimisation.problem import Smoothness
from tailort.optimisation.solve import Effort
from tailort.patient import Constraint, Normalisation, Prescription
from tailort.protocols import Technique
from tailort.workflow.joint import Joint, JointDose, OverPhases, PhasePart, joint_problem
from tailort.workflow.phases import Phase

Float = NDArray[np.float64]
COVERAGE = Normalisation("coverage", metric="D95%[Gy]")


@dataclass(frozen=True)
class Dense:
    """A dose map as a matrix."""

    matrix: Float

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape[0], self.matrix.shape[1]

    def dose(self, weights_mu: Float) -> Float:
        return self.matrix @ weights_mu

    def gradient(self, by_dose: Float) -> Float:
        return self.matrix.T @ by_dose


# Eight voxels of a target, the last four the boost, two of an organ beside its first voxel, four of tissue.
TARGET, BOOST, ORGAN, TISSUE = np.arange(8), np.arange(4, 8), np.array([8, 9]), np.arange(10, 14)
SETS = {
    "PTV": VoxelSet("PTV", TARGET, np.ones(8)),
    "Boost": VoxelSet("Boost", BOOST, np.ones(4)),
    "Organ": VoxelSet("Organ", ORGAN, np.ones(2)),
}
VOLUMES = {"PTV": 8.0, "Boost": 4.0, "Organ": 2.0}
PLACE_MM = np.concatenate([6.0 * TARGET, [-6.0, -12.0], [54.0, 60.0, 100.0, 110.0]])
DISTANCE_MM = {
    name: np.maximum(np.abs(PLACE_MM[:, None] - PLACE_MM[SETS[name].rows]).min(axis=1) - 3.0, 0.0)
    for name in ("PTV", "Boost")
}
FIRST = Prescription("PTV", 40.0, 20, COVERAGE)
SECOND = Prescription("Boost", 10.0, 5, COVERAGE, phase=2)
COURSE = (FIRST, Prescription("Boost", 50.0, 5, COVERAGE, phase=2))
CORD = Constraint("Organ", "Max[Gy]", "<", 22.0, "hard", "test")
IN_EQD2 = replace(CORD, metric="Mean[Gy]", limit=20.0, quantity="EQD2", alpha_beta_gy=2.0)
GOAL = Constraint("Organ", "Mean[Gy]", "<", 15.0, "goal", "test")
ON_ALL = replace(CORD, limit=70.0, quantity="BED", alpha_beta_gy=3.0, scope="cumulative")
GIVEN_GY = np.linspace(40.0, 53.0, 14)
THOROUGH = Effort(iterations=600, rounds=30, value_tolerance=1e-10, complementarity=1e-4)


def beams(seed: int, covered: NDArray[np.int64], near_organ: float) -> Dense:
    """Beamlets through one voxel each, with a little beside it; the first voxel's also goes through the organ."""
    generator = np.random.default_rng(seed)
    matrix = 1e-4 * generator.random((14, len(covered)))
    matrix[covered, np.arange(len(covered))] = 0.02
    matrix[ORGAN, 0] = 0.02 * near_organ
    return Dense(matrix)


def part(number: int, prescription: Prescription, dose_map: Dense) -> PhasePart:
    count = dose_map.shape[1]
    smooth = Smoothness(np.arange(count - 1), np.arange(1, count), 100.0, 1.0)
    return PhasePart(number, (prescription,), dose_map, smooth)


PARTS = (part(1, FIRST, beams(1, TARGET, 0.5)), part(2, SECOND, beams(2, BOOST, 0.02)))
SIZES = [one.dose_map.shape[1] for one in PARTS]


def joint(*constraints: Constraint, parts: tuple[PhasePart, ...] = PARTS, course=COURSE) -> Joint:
    return joint_problem(parts, constraints, course, SETS, VOLUMES, DISTANCE_MM)


def weights(seed: int, size: int = sum(SIZES)) -> Float:
    return np.random.default_rng(seed).uniform(20.0, 180.0, size)


# ---- the map and the problem


@given(st.integers(0, 10_000))
def test_the_transpose_is_the_maps_own(seed: int) -> None:
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 6, generator.integers(1, 4))
    rows = int(generator.integers(1, 8))
    stacked = JointDose(
        tuple(Dense(generator.random((rows, size))) for size in sizes),
        tuple(int(n) for n in generator.integers(1, 40, len(sizes))),
    )
    x, y = generator.random(stacked.shape[1]), generator.normal(size=stacked.shape[0])
    assert stacked.shape == (rows * (1 + len(sizes)), sizes.sum())
    assert stacked.dose(x) @ y == pytest.approx(x @ stacked.gradient(y), rel=1e-12, abs=1e-10)


def test_rows_are_the_sum_of_all_fractions_and_then_each_phase() -> None:
    stacked = JointDose((Dense(np.array([[1.0], [0.0]])), Dense(np.array([[0.5, 0.0], [0.0, 2.0]]))), (20, 5))
    np.testing.assert_allclose(stacked.dose(np.array([2.0, 1.0, 3.0])), [42.5, 30.0, 40.0, 0.0, 2.5, 30.0])


def test_matrices_of_different_voxels_are_refused() -> None:
    with pytest.raises(InputError, match="same voxels"):
        JointDose((Dense(np.ones((3, 1))), Dense(np.ones((4, 1)))), (1, 1))


@given(st.integers(0, 10_000))
def test_one_phase_is_the_ordinary_problem(seed: int) -> None:
    only = PARTS[0]
    asked = objectives_from([FIRST], (CORD, GOAL, IN_EQD2), SETS, VOLUMES, DISTANCE_MM)
    ordinary = Problem(only.dose_map, 20, asked.sets, asked.wishes, asked.limits, only.smoothness).with_penalties()
    together = joint(CORD, GOAL, IN_EQD2, parts=(only,), course=(FIRST,))
    stacked = together.problem.with_penalties()
    x = weights(seed, SIZES[0])
    assert stacked.value(x) == pytest.approx(ordinary.value(x), rel=1e-12)
    slope = ordinary.derivative(x)
    np.testing.assert_allclose(stacked.derivative(x), slope, rtol=0, atol=1e-12 * np.abs(slope).max())
    assert [rank.label.replace(" | all phases", "") for rank in together.goals.ranks] == [r.label for r in asked.ranks]
    assert [rank.aspiration_gy for rank in together.goals.ranks] == [rank.aspiration_gy for rank in asked.ranks]


@given(st.integers(0, 10_000))
def test_the_gradient_is_that_of_the_value(seed: int) -> None:
    stacked = joint(CORD, GOAL, replace(IN_EQD2, limit=8.0)).problem.with_penalties()
    generator = np.random.default_rng(seed)
    x, way = weights(seed), generator.normal(size=sum(SIZES))
    # Dose-volume terms have steps where voxels change their order: Richardson's differences over small steps.
    step = 1e-5

    def slope(h: float) -> float:
        return (stacked.value(x + h * way) - stacked.value(x - h * way)) / (2 * h)

    assert (4 * slope(step) - slope(2 * step)) / 3 == pytest.approx(stacked.derivative(x) @ way, rel=1e-5)


def test_what_a_target_is_to_get_is_asked_of_its_phase_and_limits_of_the_sum() -> None:
    problem = joint(CORD, GOAL).problem
    blocks = {wish.structure: set(problem.sets[wish.structure].rows // 14) for wish in problem.wishes}
    assert blocks["PTV | phase 1"] == {1}
    assert blocks["Boost | phase 2"] == {2}
    assert blocks["Organ"] == blocks["near the targets"] == {0}
    assert set(problem.sets[problem.limits[0].structure].rows) == set(ORGAN)


def test_dose_falls_off_around_each_phase_from_what_all_of_them_allow() -> None:
    problem = joint().problem
    (near,) = (w for w in problem.wishes if w.structure == "near the targets")
    allowed = dict(zip(problem.sets["near the targets"].rows.tolist(), near.objective.level_gy, strict=True))
    # Voxels of the boost are targets of both phases; voxel 3 lies 3 mm from it, half a voxel from its edge.
    assert set(allowed) == set(range(14)) - set(BOOST) - {12, 13}
    assert allowed[3] == pytest.approx(1.06 * 40.0 + 10.0 * (0.25 + 0.75 * 0.5 ** (3.0 / 12.0)))


# ---- BED and EQD2


def test_eqd2_is_summed_with_the_fractions_of_each_phase() -> None:
    # 30 Gy in 10 at alpha/beta 2 Gy is 37.5 Gy EQD2, 18 Gy in 10 is 17.1 Gy: (3 + 2)/4 and (1.8 + 2)/4 of the dose.
    quantities = (LinearQuadratic("EQD2", 2.0, 10), LinearQuadratic("EQD2", 2.0, 10))
    over = OverPhases(SquaredOverdose(50.0), quantities)
    excess = over.excess_gy(np.array([30.0, 0.0, 18.0, 0.0]), np.full(4, 0.25))
    np.testing.assert_allclose(excess, [4.6, -50.0])
    # One of two voxels.
    assert over.value(np.array([30.0, 0.0, 18.0, 0.0]), np.full(4, 0.25)) == pytest.approx(0.5 * 4.6**2)


def test_a_limit_in_eqd2_knows_how_many_fractions_each_phase_has() -> None:
    limit = joint(IN_EQD2).problem.limits[0]
    assert isinstance(limit.objective, OverPhases)
    assert [one.fractions for one in limit.objective.quantities] == [20, 5]


# ---- one phase beside the others


THREE = (*PARTS, part(3, replace(SECOND, dose_gy=6.0, fractions=3, phase=3), beams(3, BOOST, 0.1)))


@given(st.integers(0, 10_000), st.integers(0, 2))
def test_a_phase_alone_sees_what_changes_in_the_whole(seed: int, n: int) -> None:
    whole = joint(CORD, GOAL, IN_EQD2, parts=THREE)
    sizes = [one.dose_map.shape[1] for one in THREE]
    before = weights(seed, sum(sizes))
    after = before.copy()
    own = slice(sum(sizes[:n]), sum(sizes[: n + 1]))
    after[own] = weights(seed + 1, sizes[n])
    alone = whole.alone(n, whole.dose_map.of_phases(before))
    change = whole.problem.value(after) - whole.problem.value(before)
    size = max(whole.problem.value(after), whole.problem.value(before))
    assert alone.value(after[own]) - alone.value(before[own]) == pytest.approx(change, abs=1e-10 * size)
    np.testing.assert_allclose(
        alone.derivative(after[own]), whole.problem.derivative(after)[own], rtol=1e-9, atol=1e-9 * size
    )
    for of_whole, limit in zip(whole.problem.limits, alone.limits, strict=True):
        np.testing.assert_allclose(
            alone.excess_gy(alone.dose_gy(after[own]), limit),
            whole.problem.excess_gy(whole.problem.dose_gy(after), of_whole),
            rtol=1e-10,
        )
        assert limit.structure == "Organ"


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("seed", [1, 2])
def test_one_phase_beside_the_others_counts_earlier_courses_as_the_whole_does(n: int, seed: int) -> None:
    whole = joint_problem(PARTS, (ON_ALL,), COURSE, SETS, VOLUMES, DISTANCE_MM, lambda c: [GIVEN_GY])
    mu = weights(seed)
    alone = whole.alone(n, whole.dose_map.of_phases(mu))
    own = np.split(mu, [SIZES[0]])[n]
    first, second = whole.dose_map.of_phases(mu)
    # Each phase with its own fractions, beside what was before; the limit is met where that is 70 Gy.
    bed_gy = first * (1 + first / 20 / 3) + second * (1 + second / 5 / 3) + GIVEN_GY
    for problem, x in ((whole.problem, mu), (alone, own)):
        (limit,) = problem.limits
        found = problem.excess_gy(problem.dose_gy(x), limit)
        np.testing.assert_allclose(found, bed_gy[ORGAN] - 70.0, rtol=1e-9)


def test_phases_together_hold_a_limit_on_all_courses_and_without_earlier_ones_nothing_is_asked_of_it() -> None:
    start = np.full(sum(SIZES), 100.0)
    asked = joint_problem(PARTS, (ON_ALL,), COURSE, SETS, VOLUMES, DISTANCE_MM, lambda c: [GIVEN_GY])
    held, free = solve(asked.problem, start, THOROUGH), solve(joint(ON_ALL).problem, start, THOROUGH)
    assert held.feasible

    def bed_gy(weights_mu: Float) -> Float:
        first, second = (dose[ORGAN] for dose in asked.dose_map.of_phases(weights_mu))
        return first * (1 + first / 20 / 3) + second * (1 + second / 5 / 3) + GIVEN_GY[ORGAN]

    assert bed_gy(held.weights_mu).max() < 70.0
    assert bed_gy(free.weights_mu).max() > 70.0
    assert joint(ON_ALL).problem.limits == ()


# ---- against one phase after the other


def one_after_the_other(*constraints: Constraint) -> Float:
    """Weights of both phases, each limit in proportion to what is prescribed until then."""
    found: list[Float] = []
    given_gy = np.zeros(14)
    for n, (own, share) in enumerate(zip(PARTS, (0.8, 1.0), strict=True)):
        technique = Technique(kind="imrt", beams=5)
        phase = Phase(n + 1, "x", technique, own.prescriptions, constraints, (), share, ("PTV",))
        asked = objectives_from(
            own.prescriptions, phase.limits_so_far(), SETS, VOLUMES, DISTANCE_MM,
            earlier=(lambda _, gy=given_gy: [gy]) if n else None,
        )  # fmt: skip
        fractions = own.prescriptions[0].fractions
        problem = Problem(own.dose_map, fractions, asked.sets, asked.wishes, asked.limits, own.smoothness)
        solution = solve(problem, np.full(problem.size, 100.0), THOROUGH)
        assert solution.feasible
        found.append(solution.weights_mu)
        given_gy = fractions * own.dose_map.dose(solution.weights_mu)
    return np.concatenate(found)


def test_together_is_better_where_the_boost_does_not_need_its_part_of_a_hard_limit() -> None:
    """A Gy to the first voxel is half a Gy to the organ, so 40 Gy need 20 of 22; in proportion 17.6 are there."""
    whole = joint(CORD)
    apart = one_after_the_other(CORD)
    found = solve(whole.problem, np.full(whole.problem.size, 100.0), THOROUGH)
    for mu in (apart, found.weights_mu):
        assert (whole.dose_map.dose(mu)[ORGAN] <= 22.0).all()
    lowest_apart, lowest = (whole.dose_map.of_phases(mu)[0][TARGET].min() for mu in (apart, found.weights_mu))
    assert lowest_apart < 36.0
    assert lowest > 40.0
    assert found.value < 0.9 * whole.problem.value(apart)


@pytest.mark.parametrize("limit_gy", [17.0, 21.0, 28.0, 60.0])
def test_together_is_not_worse_by_its_own_objective(limit_gy: float) -> None:
    limit = replace(CORD, limit=limit_gy)
    whole = joint(limit, GOAL)
    apart = one_after_the_other(limit, GOAL)
    found = solve(whole.problem, np.full(whole.problem.size, 100.0), THOROUGH)
    assert found.feasible
    assert found.value <= whole.problem.value(apart) * (1.0 + 1e-3)


# ---- what a protocol may say


@pytest.mark.parametrize(
    ("more", "because"),
    [
        ({"kind": "3dcrt", "gantry_deg": (0, 180), "aperture_margin_mm": 7}, "3dcrt"),
        (
            {
                "kind": "imrt",
                "beams": 5,
                "phases": ({"phase": 2, "kind": "3dcrt", "gantry_deg": (0, 180), "aperture_margin_mm": 7},),
            },
            "phase 2: .*3dcrt",
        ),
        (
            {
                "kind": "imrt",
                "beams": 5,
                "hand_over": {
                    "from_phase": 1, "to_phase": 2, "structure": "Cord", "metric": "Max[Gy]", "below_gy": 45
                },
            },
            "hand-over",
        ),
    ],
    ids=["conformal", "conformal phase", "hand-over"],
)  # fmt: skip
def test_what_cannot_be_planned_together_is_refused_by_name(more: dict[str, object], because: str) -> None:
    with pytest.raises(ValidationError, match=because) as refused:
        Technique(phases_planned="together", **more)
    assert len(refused.value.errors()) == 1


# ---- from the case to DICOM

WATER = """
id: water
version: "1"
title: Two phases around an organ
sources: [{id: T, text: test}]
targets:
  - {name: Near, role: CONTROL, of: [Core], then: [{expand: {mm: 17}}]}
  - {name: PTV_A, role: PTV, of: [PTV_5000], then: [{subtract: {of: [Near]}}]}
organs: [External]
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV_5000, dose_gy: 40, fractions: 20, phase: 1}
  - {target: PTV_A, dose_gy: 10, fractions: 5, phase: 2, boosts: PTV_5000}
limits:
  - {structure: Core, metric: "D5%[Gy]", operator: "<", limit: 20, priority: hard}
technique: {kind: imrt, beams: 5, phases_planned: together}
"""


@pytest.mark.slow
@pytest.mark.parametrize("delivery", ["step-and-shoot", "sliding-window"])
def test_two_phases_hold_the_limit_in_the_sum_and_meet_each_prescription(delivery: str, tmp_path: Path) -> None:
    case, protocol, out = tmp_path / "case", tmp_path / "protocol.yaml", tmp_path / "out"
    commands.phantom("tg119-c-shape", out=case, size="coarse")
    protocol.write_text(WATER.replace("beams: 5", f"beams: 5, delivery: {delivery}"), encoding="utf-8")
    found = commands.plan(case, str(protocol), out=out, dose_grid_mm=6.0, engine="pencil-nyholm")
    first, second = found.main.phases
    core = dvh(found.structures["Core"], found.main.dose)
    assert core.value("D5%[Gy]") < 20.0
    # In proportion the first phase would have to stay below 16 Gy.
    assert dvh(found.structures["Core"], first.dose).value("D5%[Gy]") > 16.0
    for phase, target, dose_gy in ((first, "PTV_5000", 40.0), (second, "PTV_A", 10.0)):
        assert dvh(found.structures[target], phase.dose).value("D95%[Gy]") == pytest.approx(dose_gy, rel=1e-3)
    total = first.dose.image.values + second.dose.image.values
    np.testing.assert_allclose(found.main.dose.image.values, total, rtol=1e-6)
    assert not found.main.scorecard.hard_failures
    assert found.main.converged
    (note,) = (note for note in found.case.notes if "planned together" in note)
    assert "phases 1 and 2" in note
    written = [pydicom.dcmread(out / f"rtplan_phase{n}.dcm") for n in (1, 2)]
    assert [int(plan.FractionGroupSequence[0].NumberOfFractionsPlanned) for plan in written] == [20, 5]

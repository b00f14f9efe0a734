"""Of all corrections of a deliverable plan the one is kept that loses least: hard limits first, then goals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tailort.optimisation import Limit, VoxelSet
from tailort.optimisation.objectives import Physical, SquaredMeanOverdose, SquaredOverdose
from tailort.patient import Normalisation, Prescription
from tailort.workflow import fluence_plans
from tailort.workflow.clock import StageClock
from tailort.workflow.fluence_plans import ASKED_OVER, MOST_INSIDE

GOAL = Limit("Lungs", SquaredMeanOverdose(20.0), 0.0, Physical(), "Mean[Gy] <= 20")
HARD = Limit("SpinalCord", SquaredOverdose(45.0), 0.1, Physical(), "Max[Gy] < 45")
# What a plan lacks of hard limits, how far the optimiser's dose is from the engine's, and what it loses of the goal.
Found = tuple[float, float, float]


@dataclass(frozen=True)
class Asked:
    """What corrections look at of a problem."""

    limits: tuple[Limit, ...]


def corrected(
    monkeypatch: pytest.MonkeyPatch,
    *found: Found,
    share: float = 1.0,
    stopped: bool = False,
    seen_gy: Sequence[float] = (),
) -> tuple[int, list[Any], list[Any], list[float]]:
    """Which of the plans is taken (0 is the first one), what was asked of goals and of limits on the way, and gaps.

    `seen_gy` is what the histogram of a limit's structure says beyond its voxels before each correction.
    """
    goals: list[Any] = []
    limits: list[Any] = []
    gaps_gy: list[float] = []
    made, seen = iter(range(len(found))), iter([*seen_gy, *(0.0 for _ in found)])
    monkeypatch.setattr(fluence_plans, "SEGMENT_CORRECTIONS", (20,) * (len(found) - 1))

    def tightened(problem: Any, farther: dict[str, float], *, after_courses: bool) -> Any:
        limits.append(dict(farther))
        gaps_gy.append(problem.limits[0].gap_gy)
        return problem

    def calibrated(bench: Any, problem: Any, dose: Any) -> Any:
        more = next(seen)
        return Asked(tuple(replace(limit, gap_gy=max(limit.gap_gy, more)) for limit in problem.limits))

    monkeypatch.setattr(fluence_plans, "calibrated", calibrated)
    monkeypatch.setattr(fluence_plans, "tightened", tightened)
    monkeypatch.setattr(fluence_plans, "asked_inside", lambda aim, served, lost: goals.append(lost) or aim)

    def scaled(work: Any, delivery: int, share: float) -> Any:
        lack_gy = found[delivery][0]
        lacking = {"SpinalCord": lack_gy} if lack_gy else {}
        return SimpleNamespace(
            lack_gy=lacking, most_lack_gy=lack_gy, dose=delivery, made=SimpleNamespace(image=None)
        ), found[delivery][1]

    own = fluence_plans._Work
    monkeypatch.setattr(own, "_first", lambda *_: next(made))
    monkeypatch.setattr(own, "_again", lambda *_: next(made))
    monkeypatch.setattr(own, "_scaled", scaled)
    monkeypatch.setattr(fluence_plans, "beyond_gy", lambda bench, problem, kept, dose: [found[dose][2]] * len(kept))
    bench: Any = SimpleNamespace(in_rows=lambda image: np.zeros(1))
    phase: Any = SimpleNamespace(
        label="x", share=share, technique=SimpleNamespace(delivery="step-and-shoot"), weighs_goals=False, before=()
    )
    monkeypatch.setattr(own, "_share_reached", lambda *_: 1.0)
    served: Any = SimpleNamespace(problem=Asked((HARD,)), solution=SimpleNamespace(weights_mu=None), kept=(GOAL,))
    beams: Any = SimpleNamespace(arcs=())
    clock = StageClock(lambda stage, share: None)
    work = own(bench, phase, beams, clock, lambda: stopped)
    taken: Any = work.delivered(served)[0]
    return taken, goals, limits, gaps_gy


@pytest.mark.parametrize(("weighs", "expected"), [(True, 0.6), (False, 1.0)])
def test_what_the_fluence_does_not_reach_is_not_asked_of_its_plan(weighs: bool, expected: float) -> None:
    """Of 20 voxels the coldest but one has 30 of 50 Gy, of the other target all of them more than is asked."""
    cold = VoxelSet("PTV", np.arange(20), np.full(20, 0.05))
    warm = VoxelSet("Node", np.arange(20, 40), np.full(20, 0.05))
    fluence: Any = SimpleNamespace(
        dose_gy=np.concatenate([[10.0, 30.0], np.linspace(31.0, 60.0, 18), np.full(20, 60.0)])
    )
    asked = [Prescription(name, 50.0, 20, Normalisation("coverage", metric="D95%[Gy]")) for name in ("PTV", "Node")]
    bench: Any = SimpleNamespace(rows=SimpleNamespace(sets={"PTV": cold, "Node": warm}))
    phase: Any = SimpleNamespace(prescriptions=asked, weighs_goals=weighs)
    beams: Any = SimpleNamespace()
    work = fluence_plans._Work(bench, phase, beams, StageClock(lambda stage, share: None), bool)
    assert work._share_reached(fluence) == pytest.approx(expected)
    # What the optimiser sees no voxels of takes nothing away.
    phase.prescriptions = [replace(asked[0], normalisation=replace(asked[0].normalisation, structure="PTV_Eval"))]
    assert work._share_reached(fluence) == 1.0


def test_a_plan_that_regains_a_goal_at_the_cost_of_a_hard_limit_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    first = (0.0, 0.0, 0.0)
    assert corrected(monkeypatch, first, (0.0, 0.005, 0.5), (0.3, 0.005, 0.0), (0.1, 0.005, 0.0))[0] == 1


def test_of_plans_that_keep_the_hard_limits_the_one_that_loses_least_of_the_goals_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = (0.0, 0.0, 0.0)
    assert corrected(monkeypatch, first, (0.0, 0.002, 0.5), (0.3, 0.005, 0.0), (0.0, 0.008, 0.2))[0] == 3
    # Beyond a percent the doses do not agree, and then the goal is not what decides.
    assert corrected(monkeypatch, first, (0.0, 0.002, 0.5), (0.3, 0.005, 0.0), (0.0, 0.05, 0.2))[0] == 1


def test_what_is_lost_is_asked_for_from_the_second_correction_and_no_farther_inside_than_its_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, goals, limits, _ = corrected(monkeypatch, (0.2, 0.0, 0.7), (0.1, 0.0, 0.5), (0.4, 0.0, 5.0), (0.0, 0.0, 0.0))
    assert goals == [[], [(GOAL, ASKED_OVER * 0.5)], [(GOAL, MOST_INSIDE * 20.0)]]
    assert limits == [{}, {"SpinalCord": ASKED_OVER * 0.1}, {"SpinalCord": pytest.approx(ASKED_OVER * 0.5)}]


def test_what_still_lacks_is_not_asked_for_less_because_one_histogram_was_nearer_its_voxels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 1 Gy of the plan before any correction counts once; 0.8 Gy of one that still lacks stays.
    lacking, held = [(0.2, 0.0, 0.0)] * 4, [(0.0, 0.05, 0.0)] * 4
    seen_gy = (1.0, 0.8, 0.3)
    assert corrected(monkeypatch, *lacking, seen_gy=seen_gy)[3] == [1.0, 0.8, 0.8]
    # Of a limit that holds the last plan tells.
    assert corrected(monkeypatch, *held, seen_gy=seen_gy)[3] == [1.0, 0.8, 0.3]


def test_a_plan_that_keeps_all_is_not_corrected_again(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, goals, _, _ = corrected(monkeypatch, (0.0, 0.0, 0.0), (0.0, 0.009, 0.0))
    assert (taken, len(goals)) == (1, 1)


def test_an_earlier_phase_is_not_held_to_the_goals_of_the_course(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, goals, _, _ = corrected(monkeypatch, (0.0, 0.0, 3.0), (0.0, 0.009, 3.0), share=0.7)
    assert (taken, goals) == (1, [[]])


def test_who_stops_gets_the_plan_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert corrected(monkeypatch, (0.5, 0.05, 3.0), stopped=True)[0] == 0

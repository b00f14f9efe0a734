"""CPU-seconds of trade-offs: plans, gap, and whether searches fifty times as strict find plans below the planes.

    python benchmarks/pareto.py [--plans 10]

Runs on the toy patient of the tests: coverage of the target, mean dose of the core and of the body.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "optimisation"))

from toy_patient import toy

from tailort.optimisation import Effort, Limit, Problem, Smoothness, Wish, reference_weight, solve
from tailort.optimisation.objectives import MeanDose, SquaredOverdose, SquaredUnderdose
from tailort.optimisation.pareto import Times, trade_offs
from tailort.optimisation.pareto_goals import trade_goal
from tailort.optimisation.pareto_kept import kept_beside
from tailort.optimisation.pareto_navigation import navigate
from tailort.patient import Prescription
from tailort.patient.prescription import Normalisation

EVENNESS = 0.01


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=10)
    given = parser.parse_args()
    numba.set_num_threads(1)
    influence, sets = toy(n_beams=9, spacing_mm=4.0, slices=12)
    wishes = (
        Wish("PTV", SquaredUnderdose(60.0), 100.0, label="reach"),
        Wish("PTV", SquaredOverdose(63.0), 50.0, label="no more"),
        Wish("Body", SquaredOverdose(40.0), 20.0, label="fall off"),
        Wish("Body", MeanDose(), 0.1, label="as low as reasonable"),
    )
    problem = Problem(influence, 30, sets, wishes, (Limit("Core", SquaredOverdose(45.0), 0.9, label="Max"),))
    reference = reference_weight(problem, 60.0, "PTV")
    problem = replace(problem, smoothness=Smoothness.of(influence.beamlets, reference, 1.0))
    plan = solve(problem, np.full(problem.size, reference))
    prescribed = (Prescription("PTV", 60.0, 30, Normalisation("coverage", metric="D95%[Gy]")),)
    goals = [
        trade_goal(name, metric, prescribed, sets, {}, worst)
        for name, metric, worst in (("PTV", "D95%[Gy]", 57.0), ("Core", "Mean[Gy]", None), ("Body", "Mean[Gy]", None))
    ]
    kept = kept_beside(problem, plan, goals)
    print(
        f"{influence.shape[0]} voxels, {influence.shape[1]} beamlets, {len(influence.values) / 1e6:.1f} million entries"
    )
    print("plans    CPU s    gap, % of the ranges")
    start = time.process_time()
    front = trade_offs(
        kept,
        goals,
        plan.weights_mu,
        gap=0.01,
        evenness=EVENNESS,
        most_plans=given.plans,
        progress=lambda p: print(
            f"{p.plans:5d} {time.process_time() - start:8.1f} {'' if p.gap is None else f'{100 * p.gap:8.1f}'}"
        ),
    )
    start = time.process_time()
    navigate(front, (58.0, None, None))
    print(f"a mixture: {time.process_time() - start:.3f} CPU s")
    assert kept.smoothness is not None
    even = Times(kept.smoothness, EVENNESS / kept.value(plan.weights_mu))
    ranges = np.subtract(front.nadir_gy, front.ideal_gy) / front.unit_gy
    strict = Effort(iterations=1500, rounds=10, value_tolerance=1e-5, penalty=0.03, complementarity=1e-3)
    print("strict search from each anchor: below the plane, % of the ranges (negative: above it)")
    for plane, anchor in zip(front.planes, front.anchors, strict=False):
        wished = tuple(
            Wish(g.structure, g.objective, float(w / unit), g.quantity)
            for g, w, unit in zip(goals, plane.normal, front.unit_gy, strict=True)
        )
        found = solve(replace(kept, wishes=wished, smoothness=even), anchor.weights_mu, strict)
        print(f"{anchor.origin:<32}{100 * (plane.offset - found.value) / float(plane.normal @ ranges):8.2f}")


if __name__ == "__main__":
    main()

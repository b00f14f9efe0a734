"""CPU-seconds of the optimiser: our solver against scipy's, and the ways from fluence to segments.

    python benchmarks/optimisation.py [--threads 1]

Runs on the toy patient of the tests. Values are those of the wishes (smaller is better), beside the time.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
from scipy.optimize import Bounds, minimize

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "optimisation"))

from toy_patient import toy

from tailort.optimisation import Effort, Limit, Problem, Smoothness, Wish, reference_weight, sequence, solve
from tailort.optimisation.objectives import MeanDose, SquaredOverdose, SquaredUnderdose
from tailort.physics.machines import machine


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    result = work()
    return result, time.process_time() - start


def accelerated_projected_gradient(problem: Problem, unit: float, iterations: int) -> float:
    """Nesterov's method with restart and a step found by backtracking; the best value met."""
    x = np.ones(problem.size)
    y, t, step, best = x, 1.0, 1e-6, np.inf
    for _ in range(iterations):
        value, gradient = problem.value(y * unit), unit * problem.derivative(y * unit)
        step *= 1.5
        while True:
            new = np.maximum(y - step * gradient, 0.0)
            move = new - y
            reached = problem.value(new * unit)
            if reached <= value + gradient @ move + move @ move / (2 * step) + 1e-9:
                break
            step *= 0.5
        if reached > best:
            y, t = x, 1.0
            best = np.inf
            continue
        best = reached
        t_new = 0.5 * (1 + np.sqrt(1 + 4 * t * t))
        y = np.maximum(new + (t - 1) / t_new * (new - x), 0.0)
        x, t = new, t_new
    return problem.value(x * unit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    numba.set_num_threads(parser.parse_args().threads)
    influence, sets = toy(n_beams=9, spacing_mm=4.0, slices=12)
    wishes = (
        Wish("PTV", SquaredUnderdose(60.0), 100.0),
        Wish("PTV", SquaredOverdose(63.0), 50.0),
        Wish("Core", SquaredOverdose(20.0), 5.0),
        Wish("Body", SquaredOverdose(30.0), 20.0),
        Wish("Body", MeanDose(), 0.1),
    )
    problem = Problem(influence, 30, sets, wishes)
    unit = reference_weight(problem, 60.0, "PTV")
    start = np.full(problem.size, unit)
    problem = replace(problem, smoothness=Smoothness.of(influence.beamlets, unit, 1.0))
    solve(problem, start, Effort(iterations=2, rounds=1))
    entries = len(influence.values) / 1e6
    print(f"{influence.shape[0]} voxels, {influence.shape[1]} beamlets, {entries:.1f} million entries")

    print("\nfluence                                 iterations   CPU s      value")
    for iterations in (30, 100, 300):
        exact = Effort(iterations=iterations, rounds=1, value_tolerance=0.0)
        found, seconds = timed(lambda effort=exact: solve(problem, start, effort))
        print(f"projected L-BFGS (tailort)             {found.iterations:10d} {seconds:8.2f} {found.value:10.2f}")
        scipys, scipy_seconds = timed(
            lambda n=iterations: minimize(
                lambda x: (problem.value(x * unit), unit * problem.derivative(x * unit)),
                np.ones(problem.size),
                jac=True,
                method="L-BFGS-B",
                bounds=Bounds(0.0, np.inf),
                options={"maxiter": n, "maxfun": 10 * n, "maxcor": 12, "ftol": 0.0},
            )
        )
        ratio = scipy_seconds / seconds
        print(
            f"L-BFGS-B (scipy), {ratio:4.1f} x the time       {scipys.nit:10d} {scipy_seconds:8.2f} {scipys.fun:10.2f}"
        )
        value, other = timed(lambda n=iterations: accelerated_projected_gradient(problem, unit, n))
        print(f"accelerated gradient, {other / seconds:4.1f} x the time   {iterations:10d} {other:8.2f} {value:10.2f}")

    limited = replace(problem, limits=(Limit("Core", SquaredOverdose(22.0), 0.4),))
    fluence, seconds = timed(lambda: solve(limited, start))
    print(f"\nwith a hard limit                       {fluence.iterations:9d} {seconds:8.2f} {fluence.value:10.2f}")
    linac = machine("generic-6MV")
    print("\nsegments a beam, leaf steps          segments    MU    CPU s      value   (ideal fluence, split)")
    for per_beam in (5, 8, 12):
        for steps in (0, 15, 30):
            made, seconds = timed(
                lambda n=per_beam, k=steps: sequence(limited, influence, fluence.weights_mu, linac, n, k)
            )
            print(
                f"{per_beam:8d} {steps:10d} {made.segments:20d} {made.mu:8.0f} {seconds:7.2f} "
                f"{made.solution.value:10.2f}   ({made.fluence_value:.2f}, {made.split_value:.2f})"
            )


if __name__ == "__main__":
    main()

"""Fluence optimisation of pyRadPlan's TG-119 phantom by its own solvers, measured; run in its own environment.

Run: python pyradplan_optimise.py OUT.npz [scipy ipopt]

Writes its influence matrix, its objectives with their voxels, and of each solver the value and CPU-seconds after every
evaluation. The matrix is made before and not counted.
"""

import logging
import resource
import sys
import time
import warnings
from importlib.metadata import version

import numpy as np
from pyRadPlan import PhotonPlan, calc_dose_influence, fluence_optimization, generate_stf, load_tg119
from pyRadPlan.optimization.problems import NonLinearFluencePlanningProblem

GANTRY_DEG = tuple(range(0, 360, 40))


def cpu_seconds() -> float:
    """User and system seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    out, solvers = sys.argv[1], sys.argv[2:] or ["scipy"]
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    ct, structures = load_tg119()
    plan = PhotonPlan(machine="Generic")
    plan.prop_stf = {"gantry_angles": list(GANTRY_DEG), "couch_angles": [0.0] * len(GANTRY_DEG), "bixel_width": 5.0}
    plan.prop_dose_calc = {"dose_grid": {"resolution": dict.fromkeys("xyz", 5.0)}}
    steering = generate_stf(ct, structures, plan)
    result = calc_dose_influence(ct, structures, steering, plan)
    seen = {}
    evaluate = NonLinearFluencePlanningProblem._objective_function
    clock: list[tuple[float, float]] = []

    def counted(self, x):
        value = evaluate(self, x)
        clock.append((cpu_seconds(), float(value)))
        seen["problem"] = self
        return value

    NonLinearFluencePlanningProblem._objective_function = counted
    saved = {}
    for name in solvers:
        plan.prop_opt = {"problem": "nonlin_fluence", "solver": name}
        clock.clear()
        started, wall = cpu_seconds(), time.perf_counter()
        fluence = fluence_optimization(ct, structures, steering, result, plan)
        saved[f"{name}_history"] = np.array([(cpu - started, value) for cpu, value in clock])
        saved[f"{name}_cpu"], saved[f"{name}_wall"] = cpu_seconds() - started, time.perf_counter() - wall
        saved[f"{name}_weights"] = np.asarray(fluence)
    matrix = result.physical_dose.flat[0].tocsr()
    kinds, numbers, voxels, starts = [], [], [], [0]
    for index, objectives in ((entry[0], entry[1]) for entry in seen["problem"]._objective_list):
        for objective in objectives:
            kinds.append(type(objective).__name__)
            numbers.append((objective.priority, objective.parameters[0]))
            voxels.append(np.asarray(index))
            starts.append(starts[-1] + len(voxels[-1]))
    np.savez(
        out, version=version("pyRadPlan"), solvers=solvers, data=matrix.data, indices=matrix.indices,
        indptr=matrix.indptr, shape=matrix.shape, kinds=kinds, numbers=numbers, voxels=np.concatenate(voxels),
        starts=starts, **saved,
    )  # fmt: skip


main()

"""CPU-seconds to a value of pyRadPlan's own problem: its solvers against ours, same matrix, same objective.

Run: python benchmarks/optimisation_peer.py PEER.npz [--threads 2]
     (VENV/bin/python benchmarks/peers/pyradplan_optimise.py PEER.npz scipy ipopt makes it, on the same machine)

TG-119, 2851 beamlets, 5 mm: squared deviation from 50 Gy in the target, overdose above 25 Gy in the core and above
30 Gy in the body. Ours starts, as it does in plans, from an even fluence; theirs from none. Below: bytes a second of
the products with the matrix, beside those of a plain copy in the same run.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np

from tailort.optimisation import Effort, Problem, VoxelSet, Wish, reference_weight, solve
from tailort.optimisation.objectives import SquaredOverdose, SquaredUnderdose
from tailort.optimisation.screening import CompactMap
from tailort.patient.influence import _multiply_transposed, column_type, multiply

KINDS = {"SquaredOverdosing": (SquaredOverdose,), "SquaredDeviation": (SquaredOverdose, SquaredUnderdose)}


@dataclass(frozen=True, eq=False)
class Matrix:
    """Rows with entries of the peer's matrix, as `Influence` keeps them."""

    values: np.ndarray
    columns: np.ndarray
    starts: np.ndarray
    shape: tuple[int, int]

    def dose(self, weights_mu: np.ndarray) -> np.ndarray:
        return multiply(self.values, self.columns, self.starts, np.ascontiguousarray(weights_mu, dtype=np.float64))

    def gradient(self, by_dose: np.ndarray) -> np.ndarray:
        return _multiply_transposed(
            self.values, self.columns, self.starts, by_dose, self.shape[1], numba.get_num_threads()
        )


def used_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def problem_of(peer: np.lib.npyio.NpzFile) -> Problem:
    rows, columns = (int(n) for n in peer["shape"])
    counts = np.diff(peer["indptr"])
    kept = counts > 0
    row = np.full(rows, -1)
    row[kept] = np.arange(kept.sum())
    starts = np.concatenate([[0], np.cumsum(counts[kept])])
    matrix = Matrix(
        peer["data"].astype(np.float32),
        peer["indices"].astype(column_type(columns)),
        starts,
        (int(kept.sum()), columns),
    )
    sets, wishes = {}, []
    for n, (kind, (priority, level)) in enumerate(zip(peer["kinds"], peer["numbers"], strict=True)):
        own = np.flatnonzero(peer["voxels"][peer["starts"][n] : peer["starts"][n + 1]])
        inside = row[own][row[own] >= 0]
        # Voxels without an entry have no dose: they dilute the mean of what is above a level.
        share = len(inside) / len(own)
        if share < 1 and "Over" not in str(kind):
            raise SystemExit("voxels of a target without dose: not a problem for this comparison")
        sets[str(n)] = VoxelSet(str(n), inside, np.ones(len(inside)))
        wishes += [Wish(str(n), make(float(level)), float(priority) * share) for make in KINDS[str(kind)]]
    return Problem(matrix, 1, sets, tuple(wishes))


def bandwidth(problem: Problem) -> None:
    matrix, source = problem.dose_map, np.ones(40_000_000)
    target = np.empty_like(source)

    @numba.njit(parallel=True)
    def copy(a: np.ndarray, b: np.ndarray) -> None:
        for n in numba.prange(a.size):
            b[n] = a[n]

    weights, by_dose = np.ones(matrix.shape[1]), np.ones(matrix.shape[0])
    size = matrix.values.nbytes + matrix.columns.nbytes + matrix.starts.nbytes
    # What a search repeats: rows that matter, here all of them, kept by rows and by columns.
    compact = CompactMap.of(matrix, np.arange(matrix.shape[0]))
    by_column = sum(part.nbytes for part in compact.by_column)
    rows = {
        "copy": (lambda: copy(source, target), 2 * source.nbytes),
        "matrix times weights": (lambda: matrix.dose(weights), size),
        "transpose times rows": (lambda: matrix.gradient(by_dose), size),
        "search: times weights": (lambda: compact.dose(weights), sum(part.nbytes for part in compact.by_row)),
        "search: transpose": (lambda: compact.gradient(by_dose), by_column),
    }
    for name, (run, moved) in rows.items():
        run()
        best = np.inf
        for _ in range(5):
            start = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - start)
        print(f"{name:24}{1e3 * best:8.1f} ms  {moved / best / 1e9:6.1f} GB/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", type=Path)
    parser.add_argument("--threads", type=int, default=numba.get_num_threads())
    options = parser.parse_args()
    numba.set_num_threads(options.threads)
    peer = np.load(options.peer)
    problem = problem_of(peer)
    for name in peer["solvers"]:
        weights = np.asarray(peer[f"{name}_weights"], dtype=np.float64)
        print(f"{name}: last value {peer[f'{name}_history'][-1][1]:.4f}, by ours {problem.value(weights):.4f}")
    start = np.full(problem.size, reference_weight(problem, 50.0, str(list(peer["kinds"]).index("SquaredDeviation"))))
    solve(problem, start, Effort(iterations=2, rounds=1))
    clock: list[tuple[float, float]] = []
    begun, wall = used_cpu(), time.perf_counter()
    found = solve(
        problem, start, Effort(iterations=600, rounds=1, value_tolerance=1e-5),
        progress=lambda p: clock.append((used_cpu() - begun, p.value)),
    )  # fmt: skip
    print(
        f"ours: {found.value:.4f} after {found.iterations} iterations, {used_cpu() - begun:.1f} CPU-s, "
        f"{time.perf_counter() - wall:.1f} s wall"
    )
    ours = np.array(clock)
    for name in peer["solvers"]:
        history = peer[f"{name}_history"]
        lowest = np.minimum.accumulate(history[:, 1])
        print(f"{name}: {len(history)} evaluations, {peer[f'{name}_cpu']:.1f} CPU-s; after, value, CPU-s: theirs, ours")
        for n in (len(history) // 4, len(history) // 2, len(history) - 1):
            reached = np.flatnonzero(ours[:, 1] <= lowest[n])
            own = ours[reached[0], 0] if len(reached) else np.nan
            print(f"{n:6d} {lowest[n]:12.4f} {history[n, 0]:8.1f} {own:8.2f}   ratio {own / history[n, 0]:.3f}")
    bandwidth(problem)


main()

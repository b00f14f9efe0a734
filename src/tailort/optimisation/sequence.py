"""From an ideal fluence to the beams of a step-and-shoot plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from tailort.errors import InputError
from tailort.optimisation.aperture import Aperture, ApertureDose, LeafField, fluence_of, leaf_fields
from tailort.optimisation.leaf_sequence import decompose
from tailort.optimisation.problem import Problem, Wish
from tailort.optimisation.solve import Effort, Progress, Solution, never, solve
from tailort.patient import Beam, Beamlets, ControlPoint, Influence
from tailort.physics.machine import Machine

Float = NDArray[np.float64]
_PARK_MM = 5.0


def quantised(
    fields: tuple[LeafField, ...], fluence_mu: Float, machine: Machine, segments_per_beam: int
) -> tuple[list[Aperture], Float]:
    total = segments_per_beam * len(fields)
    highest = max(float(field.gather(fluence_mu).max()) for field in fields)
    best = None
    low, high = 1.0, 30.0
    for _ in range(8):
        levels = 0.5 * (low + high)
        found = _quantised(fields, fluence_mu, max(highest / levels, machine.min_segment_mu), machine)
        if len(found[0]) <= total:
            low, best = levels, found
        else:
            high = levels
    if best is None:
        raise InputError("cannot")
    return best


def _quantised(
    fields: tuple[LeafField, ...], fluence_mu: Float, step_mu: float, machine: Machine
) -> tuple[list[Aperture], Float]:
    apertures, mu = [], []
    for field in fields:
        depth = np.maximum(field.gather(np.ones(len(fluence_mu))), 1.0)
        levels = np.where(field.usable, np.round(field.gather(fluence_mu) / depth / step_mu), 0).astype(np.int64)
        for units, left, right in decompose(levels):
            apertures.append(Aperture(field, left.astype(np.float64), right.astype(np.float64)))
            mu.append(units * step_mu)
    return apertures, np.array(mu)


def reweighted(problem: Problem, apertures, mu, machine, effort, lower=0.0, stop=never, progress=None):
    influence = problem.dose_map
    sub = replace(problem, dose_map=ApertureDose.of(influence, apertures, machine), smoothness=None, lower_mu=lower)
    return solve(sub, np.maximum(mu, 1e-3), effort, stop, progress)


def priced(fields, price, machine):
    """Aperture of each field with the steepest descent."""
    found = []
    for field in fields:
        p = field.gather(price)
        p = np.where(field.usable, p, np.inf)
        left = np.zeros(field.pairs)
        right = np.zeros(field.pairs)
        total = 0.0
        for row in range(field.pairs):
            best, a = 0.0, 0
            run = 0.0
            for c in range(field.columns):
                v = p[row, c]
                if run + v >= v:
                    run, a = v, c
                else:
                    run += v
                if run < best:
                    best, left[row], right[row] = run, a, c + 1
            total += best
        if total < 0:
            found.append((total, Aperture(field, left, right)))
    return found


def generated(problem, fields, machine, segments_per_beam, per_round, effort):
    influence = problem.dose_map
    rows, n = influence.shape
    budget = segments_per_beam * len(fields)
    apertures, mu = [], np.zeros(0)
    dose = np.zeros(rows)
    per_mu = np.zeros((0, rows))
    count = {f.beam: 0 for f in fields}
    wishes = problem.wishes + tuple(
        Wish(l.structure, l.objective.tightened(l.gap_gy), 1000.0, l.quantity) for l in problem.limits
    )
    free = replace(problem, wishes=wishes, limits=(), smoothness=None)
    while len(apertures) < budget:
        price = problem.fractions * influence.gradient(free.derivative_of_dose(dose))
        new = sorted(priced([f for f in fields if count[f.beam] < segments_per_beam], price, machine), key=lambda t: t[0])
        new = new[: min(per_round, budget - len(apertures))]
        if not new:
            break
        for _, a in new:
            apertures.append(a)
            count[a.field.beam] += 1
        per_mu = np.vstack([per_mu, ApertureDose.of(influence, [a for _, a in new], machine).per_mu])
        start = np.concatenate([mu, np.full(len(new), mu.mean() if len(mu) else 10.0)])
        s = solve(replace(free, dose_map=ApertureDose(per_mu)), np.maximum(start, 1e-3), effort)
        mu, dose = s.weights_mu, s.dose_gy
    return apertures, mu


def refined(problem, apertures, mu, machine, iterations=40):
    influence = problem.dose_map
    rows, n = influence.shape
    wishes = problem.wishes + tuple(
        Wish(l.structure, l.objective.tightened(l.gap_gy), 1000.0, l.quantity) for l in problem.limits
    )
    free = replace(problem, wishes=wishes, limits=(), smoothness=None)
    unit = mu.mean()
    sizes = [a.field.pairs for a in apertures]
    ends = np.concatenate([[0], np.cumsum(sizes)])
    S, P = len(apertures), ends[-1]
    lo, hi = np.zeros(P), np.zeros(P)
    for a, s, e in zip(apertures, ends[:-1], ends[1:]):
        us = a.field.usable
        lo[s:e] = np.argmax(us, axis=1)
        hi[s:e] = np.where(us.any(axis=1), us.shape[1] - np.argmax(us[:, ::-1], axis=1), lo[s:e])

    def unpack(z):
        w = z[:S] * unit
        left, right = z[S : S + P], z[S + P :]
        mid = 0.5 * (left + right)
        left, right = np.where(left > right, mid, left), np.where(left > right, mid, right)
        return w, [Aperture(a.field, left[s:e], right[s:e]) for a, s, e in zip(apertures, ends[:-1], ends[1:])]

    T = machine.leaf_transmission

    def fun(z):
        w, aps = unpack(z)
        if not all(a.open_pairs.any() for a in aps):
            pass
        fl = np.zeros(n)
        ex = []
        for a, m in zip(aps, w):
            e = a.exposure(machine.leaf_transmission, machine.jaw_transmission) if a.open_pairs.any() else np.zeros(len(a.field.beamlets))
            ex.append(e)
            fl[a.field.beamlets] += m * e
        dose = problem.fractions * influence.dose(fl)
        v = free.value_of_dose(dose)
        price = problem.fractions * influence.gradient(free.derivative_of_dose(dose))
        g = np.zeros_like(z)
        for k, (a, m, e) in enumerate(zip(aps, w, ex)):
            s, t = ends[k], ends[k + 1]
            g[k] = unit * float(price[a.field.beamlets] @ e)
            p = a.field.gather(price)
            r = np.arange(a.field.pairs)
            cr = np.minimum(np.floor(a.right).astype(int), a.field.columns - 1)
            cl = np.minimum(np.floor(a.left).astype(int), a.field.columns - 1)
            g[S + P + s : S + P + t] = m * (1 - T) * p[r, cr]
            g[S + s : S + t] = -m * (1 - T) * p[r, cl]
        return v, g

    z0 = np.concatenate([mu / unit, np.concatenate([a.left for a in apertures]), np.concatenate([a.right for a in apertures])])
    closed = z0[S : S + P] == z0[S + P :]
    bounds = [(0, None)] * S + list(zip(lo, hi)) * 2
    r = optimize.minimize(fun, z0, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": iterations})
    w, aps = unpack(r.x)
    return aps, w, r

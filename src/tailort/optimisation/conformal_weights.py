"""Monitor units of a few open fields or segments: the wishes served best, limits kept, the prescription met exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.objectives import (
    MaxDoseVolume,
    MinDoseVolume,
    Objective,
    SquaredOverdose,
    SquaredUnderdose,
)
from tailort.optimisation.objectives.dose_volume import dose_at
from tailort.optimisation.problem import Limit, Problem, VoxelSet, Wish
from tailort.optimisation.solve import Effort, Progress, Solution, never, solve
from tailort.patient import Metric, Prescription
from tailort.physics.machine import Machine

Float = NDArray[np.float64]

FEW_WEIGHTS = Effort(iterations=300, rounds=7, value_tolerance=1e-5)
# The solver brings the prescribed dose within this share; the rest is scaled.
NEAR_SHARE = 0.002
# Weight of the prescription, in units of the largest wish, where limits do not let it be met. A larger one gains no
# more than a hundredth of dose, and loses the target's coverage to the one field that gives the organ least.
ANCHOR_WEIGHT = 1.0
# Halvings in the search for the largest scale that the limits allow.
HALVINGS = 60
_ANCHOR = "what the dose is prescribed to"


@dataclass(frozen=True, eq=False)
class Segments:
    """Doses of a few fields or segments: a `DoseMap` by the MU of each.

    Parameters
    ----------
    per_mu : (rows, n) float
        Gy per fraction per MU.

    Notes
    -----
    The matrix is tall and narrow: sums column by column take less time than a threaded matrix product.
    """

    per_mu: Float

    def __post_init__(self) -> None:
        per_mu = np.array(self.per_mu, dtype=np.float64, order="F")
        if per_mu.ndim != 2 or not per_mu.size or not np.isfinite(per_mu).all():
            raise InputError(f"doses of fields are a finite matrix (voxels, fields); found shape {per_mu.shape}")
        per_mu.setflags(write=False)
        object.__setattr__(self, "per_mu", per_mu)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of voxels and of fields."""
        rows, fields = self.per_mu.shape
        return rows, fields

    def dose(self, weights_mu: Float) -> Float:
        """Dose of the rows, Gy per fraction."""
        dose: Float = np.einsum("rn,n->r", self.per_mu, weights_mu)
        return dose

    def gradient(self, by_dose: Float) -> Float:
        """Transpose of the map times a vector of the rows."""
        gradient: Float = np.einsum("rn,r->n", self.per_mu, by_dose)
        return gradient

    def with_column(self, per_mu: Float) -> Segments:
        """Return the map with one more field, whose dose is (rows,)."""
        return Segments(np.column_stack([self.per_mu, per_mu]))

    def only(self, fields: NDArray[np.bool_]) -> Segments:
        """Return the map of some of the fields."""
        return Segments(self.per_mu[:, fields])


@dataclass(frozen=True, eq=False)
class Anchor:
    """What a prescribed dose is tied to among the rows of a dose map.

    Parameters
    ----------
    rows : (n,) int
        Rows of the structure, or the one row of the point.
    volume : (n,) float
        Share of the structure in each, sum 1.
    share : float or None
        The dose counts that the hottest `share` gets at least (0.95 for D95%); None is the mean, or a point's dose.
    dose_gy : float
        That dose of the phase, physical, Gy.
    """

    rows: NDArray[np.int64]
    volume: Float
    share: float | None
    dose_gy: float

    def reached_gy(self, dose_gy: Float) -> float:
        """Dose that counts, from the phase's dose in all rows of the map, Gy."""
        own = dose_gy[self.rows]
        return float(self.volume @ own) if self.share is None else dose_at(own, self.volume, self.share)


def anchor_of(
    prescription: Prescription,
    target: VoxelSet,
    point_row: int | None = None,
    volume_cm3: float | None = None,
) -> Anchor:
    """What a prescription is tied to.

    Parameters
    ----------
    prescription : Prescription
        Of one phase. By "isodose", the prescribed dose is `percent` of the point's dose, so the point gets more.
    target : VoxelSet
        Rows of the target, for coverage.
    point_row : int or None
        Row of the point (by "point", "isodose" and "depth"): of the interpolated dose there.
    volume_cm3 : float or None
        Of the target, for coverage of a volume in cc.
    """
    how = prescription.normalisation
    if how.kind == "coverage":
        metric = Metric.parse(how.metric or "")
        shares = {"Mean": None, "Median": 0.5, "Min": 1.0, "Max": 0.0}
        if metric.kind in shares:
            share = shares[metric.kind]
        elif metric.kind == "D" and metric.at is not None:
            if metric.at_unit == "cc" and volume_cm3 is None:
                raise InputError(f"the prescription by {metric} of '{prescription.target}' needs its volume in cm3")
            share = min(metric.at / (volume_cm3 or 0.0) if metric.at_unit == "cc" else metric.at / 100.0, 1.0)
        else:
            raise InputError(
                f"a dose cannot be prescribed by {metric} of '{prescription.target}'; expected a dose such as D95%[Gy]"
            )
        return Anchor(target.rows, target.volume, share, prescription.dose_gy)
    if point_row is None:
        raise InputError(
            f"the prescription of '{prescription.target}' by {how.kind} needs the dose of its point in the dose map"
        )
    at = 1.0 if how.percent is None else how.percent / 100.0
    if not 0 < at <= 1:
        raise InputError(f"a prescription to the {100 * at:g} % isodose cannot be; expected above 0 and up to 100 %")
    return Anchor(np.array([point_row]), np.ones(1), None, prescription.dose_gy / at)


@dataclass(frozen=True, eq=False)
class Weights:
    """MU of fields or segments, and whether they give what is prescribed.

    Parameters
    ----------
    mu : (n,) float
        MU per fraction; 0 for those left out, else at least the machine's fewest.
    dose_gy : (rows,) float
        Physical dose of the rows, offset included, Gy.
    reached_gy, wanted_gy : float
        Dose of the anchor, and the one prescribed; less where a hard limit forbids more.
    feasible : bool
        Whether every limit of the problem holds.
    solution : Solution
        What the solver said before the last scaling; the prescription is among its limits where these let it be.
    """

    mu: Float
    dose_gy: Float
    reached_gy: float
    wanted_gy: float
    feasible: bool
    solution: Solution

    @property
    def prescribed(self) -> bool:
        """Whether the anchor has its dose (within a part in ten thousand)."""
        return self.reached_gy >= (1.0 - 1e-4) * self.wanted_gy


def weigh(
    problem: Problem,
    anchor: Anchor,
    machine: Machine,
    effort: Effort | None = None,
    stop: Callable[[], bool] = never,
    progress: Callable[[Progress], None] | None = None,
    start_mu: Float | None = None,
) -> Weights:
    """Choose MU that serve the wishes best while limits hold and the anchor gets its dose.

    The prescribed dose is a limit on both sides for the solver, then the MU are scaled to it exactly. Where hard
    limits and prescription contradict each other, the prescription becomes a wish like the others': the limits hold and
    the dose lacks.

    Parameters
    ----------
    problem : Problem
        Its dose map is a `Segments` with a column for each field or segment; an offset counts for wishes and
        limits, not for the anchor.
    anchor : Anchor
        What the dose is prescribed to.
    machine : Machine
        Fields of fewer than its fewest MU are left out or get these.
    effort, stop, progress
        As for `solve`.
    start_mu : (n,) float or None
        MU to start from; None is the same for all fields.

    Raises
    ------
    InputError
        When the fields give the anchor no dose, or no field reaches the machine's fewest MU.
    """
    dose_map = problem.dose_map
    if not isinstance(dose_map, Segments):
        raise InputError("the weights of fields need their doses as one matrix, a column a field")
    count = dose_map.shape[1]
    alone_gy = problem.fractions * dose_map.dose(np.ones(count))
    if not anchor.reached_gy(alone_gy) > 0:
        raise InputError("the fields give no dose to what the dose is prescribed to; check isocentre and angles")
    mu = np.full(count, anchor.dose_gy / anchor.reached_gy(alone_gy))
    if start_mu is not None:
        mu = start_mu
    elif problem.wishes:
        # The prescription as a limit on both sides is not convex: from even weights it may end with a single field.
        mu = solve(replace(problem, smoothness=None), mu, effort or FEW_WEIGHTS, stop, progress).weights_mu
    kept, met = np.ones(len(mu), dtype=bool), True
    # First without a lower bound, so that fields that serve nothing fall out; then, where some are left weak, with it.
    for lower_mu in (0.0, *[1.05 * machine.min_segment_mu] * (len(mu) + 1)):
        fields = dose_map.only(kept)
        solution = _solved(problem, fields, anchor, mu[kept], lower_mu, met, effort, stop, progress)
        if met and not solution.feasible and problem.limits and not stop():
            met = False
            solution = _solved(problem, fields, anchor, mu[kept], lower_mu, met, effort, stop, progress)
        own, dose, feasible = _scaled(problem, fields, anchor, solution.weights_mu)
        mu = np.zeros(len(mu))
        mu[kept] = own
        if (mu[kept] >= machine.min_segment_mu).all():
            break
        kept &= mu >= (0.5 if lower_mu == 0 else 1.0) * machine.min_segment_mu
        if not kept.any():
            raise InputError(
                f"no field of the plan reaches {machine.min_segment_mu:g} MU a fraction: the prescribed dose, or what "
                "a hard limit leaves of it, is too low to deliver"
            )
    phase = problem.fractions * dose_map.dose(mu)
    return Weights(mu, dose, anchor.reached_gy(phase), anchor.dose_gy, feasible, solution)


def _solved(
    problem: Problem,
    fields: Segments,
    anchor: Anchor,
    start_mu: Float,
    lower_mu: float,
    met: bool,
    effort: Effort | None,
    stop: Callable[[], bool],
    progress: Callable[[Progress], None] | None,
) -> Solution:
    """Weights where the anchor's dose is two more limits (`met`) or wishes, on rows that see this phase only."""
    own = fields.per_mu[anchor.rows]
    volume = anchor.volume
    if anchor.share is None:
        own, volume = np.einsum("r,rn->n", volume / volume.sum(), own)[None, :], np.ones(1)
    rows = fields.shape[0]
    voxels = VoxelSet(_ANCHOR, rows + np.arange(len(own)), volume)
    low, high = (1.0 - NEAR_SHARE) * anchor.dose_gy, (1.0 + NEAR_SHARE) * anchor.dose_gy
    gap = NEAR_SHARE * anchor.dose_gy
    bounds: tuple[Objective, Objective] = (SquaredUnderdose(low), SquaredOverdose(high))
    if anchor.share is not None:
        bounds = (MinDoseVolume(low, anchor.share), MaxDoseVolume(high, anchor.share))
    label = f"{anchor.dose_gy:g} Gy"
    limits = tuple(Limit(_ANCHOR, bound, gap, label=label) for bound in bounds) if met else ()
    weight = ANCHOR_WEIGHT * max((wish.weight for wish in problem.wishes), default=1.0)
    wishes = () if met else tuple(Wish(_ANCHOR, bound, weight, label=label) for bound in bounds)
    offset = None if problem.offset_gy is None else np.concatenate([problem.offset_gy, np.zeros(len(own))])
    anchored = replace(
        problem,
        dose_map=Segments(np.concatenate([fields.per_mu, own])),
        sets={**problem.sets, _ANCHOR: voxels},
        wishes=(*problem.wishes, *wishes),
        limits=(*problem.limits, *limits),
        smoothness=None,
        lower_mu=lower_mu,
        offset_gy=offset,
    )
    return solve(anchored, start_mu, effort or FEW_WEIGHTS, stop, progress)


def _scaled(problem: Problem, fields: Segments, anchor: Anchor, mu: Float) -> tuple[Float, Float, bool]:
    """MU times the factor that gives the anchor its dose, or the largest smaller one that the limits allow."""
    phase = problem.fractions * fields.dose(mu)
    offset = np.zeros(len(phase)) if problem.offset_gy is None else problem.offset_gy

    def holds(factor: float) -> bool:
        return problem.violation_gy(factor * phase + offset) <= 0

    if not anchor.reached_gy(phase) > 0:
        return mu, phase + offset, holds(1.0)
    wanted = anchor.dose_gy / anchor.reached_gy(phase)
    factor, feasible = wanted, holds(wanted)
    if not feasible and holds(0.0):
        low, high = 0.0, wanted
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if holds(middle) else (low, middle)
        factor, feasible = low, True
    return factor * mu, factor * phase + offset, feasible

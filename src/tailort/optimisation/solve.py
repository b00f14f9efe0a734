"""The plan that serves the wishes best while the limits hold: outer loop of shifted penalties, inner minimiser."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.minimise import Minimum, minimise, optimality_of
from tailort.optimisation.problem import Problem, Wish
from tailort.optimisation.screening import Screened, screened

Float = NDArray[np.float64]

# The search runs on the rows that come within this share of a level, when they are at most this share of all rows, in
# stages of which the first has so many iterations and each next one twice as many.
REACH, WORTH_IT, FIRST_STAGE = 0.1, 0.7, 20


@dataclass(frozen=True)
class Progress:
    """What a caller is told after each iteration: how far the solver is."""

    iteration: int
    value: float
    violation_gy: float


@dataclass(frozen=True)
class Excess:
    """How far the result is beyond one limit, and what the limit costs.

    Parameters
    ----------
    structure, label : str
        Of the limit.
    excess_gy : float
        Gy of its quantity; not above 0 when the limit holds.
    price : float
        How much lower the value would be for each Gy that the limit were weaker, Gy2 per Gy (its multiplier, summed
        over the voxels); 0 where the limit costs nothing.
    """

    structure: str
    label: str
    excess_gy: float
    price: float = 0.0


@dataclass(frozen=True, eq=False)
class Solution:
    """What the solver found, and how sure it is.

    Parameters
    ----------
    weights_mu : (n,) float
        MU per fraction.
    dose_gy : (rows,) float
        Physical dose of the rows, Gy per course.
    value : float
        Value of the problem (wishes and smoothness, without the limits' penalties), Gy2.
    converged : bool
        Whether the inner search ended at an optimum and every limit holds.
    feasible : bool
        Whether every limit holds.
    reason : str
        Why it stopped.
    iterations : int
        Over all rounds.
    optimality : float
        Largest component of the gradient, with the limits' multipliers, that is not held by a bound, Gy2 per mean
        first weight; 0 at an optimum.
    history : tuple of float
        Value with penalties after each iteration.
    excess : tuple of Excess
        Of each limit.
    complementarity : float
        Sum over all limits and voxels of the multiplier times the distance from the limit, Gy2; 0 at an optimum. In a
        convex problem with optimality 0 the value cannot be lower than this below the one found.
    """

    weights_mu: Float
    dose_gy: Float
    value: float
    converged: bool
    feasible: bool
    reason: str
    iterations: int
    optimality: float
    history: tuple[float, ...]
    excess: tuple[Excess, ...]
    complementarity: float = 0.0

    @property
    def violation_gy(self) -> float:
        """Largest excess over a limit, Gy; 0 when all hold."""
        return max((excess.excess_gy for excess in self.excess), default=0.0) if not self.feasible else 0.0

    @property
    def kkt_residual(self) -> float:
        """Larger of optimality and complementarity as a share of the value; 0 at an optimum, infinite if infeasible.

        With the limits kept these are the conditions of Karush, Kuhn and Tucker (Nocedal & Wright 2006, Numerical
        Optimization, section 12.3), which in a convex problem only the optimum fulfils.
        """
        if not self.feasible:
            return float(np.inf)
        return max(self.optimality, self.complementarity) / max(self.value, 1e-12)


@dataclass(frozen=True)
class Effort:
    """How long the solver may try.

    Parameters
    ----------
    iterations : int
        Most iterations of a round.
    rounds : int
        Most rounds; each one shifts the levels of limits that do not hold yet.
    value_tolerance : float
        A round ends when ten iterations lower the value by less than this share.
    gradient_tolerance : float
        A round ends when the optimality is below this share of the value.
    penalty : float
        First weight of a limit's penalty, in units of the largest weight of a wish.
    complementarity : float
        Rounds end when every limit holds and the complementarity (see `Solution`), counted from where the solver
        aims, is at most this share of the value; infinite: as soon as every limit holds.
    """

    iterations: int = 150
    rounds: int = 8
    value_tolerance: float = 1e-2
    gradient_tolerance: float = 1e-6
    penalty: float = 10.0
    complementarity: float = np.inf


def reference_weight(problem: Problem, dose_gy: float, structure: str) -> float:
    """Weight, MU per fraction, that gives a structure a mean dose (Gy per course) when all weights are the same."""
    voxels = problem.sets[structure]
    dose = problem.fractions * problem.dose_map.dose(np.ones(problem.size))
    mean = float(voxels.volume @ dose[voxels.rows])
    if not mean > 0:
        raise InputError(f"the beamlets give no dose to '{structure}': check the isocentre and the beam angles")
    return dose_gy / mean


def never() -> bool:
    """Do not stop."""
    return False


def solve(
    problem: Problem,
    start_mu: Float,
    effort: Effort | None = None,
    stop: Callable[[], bool] = never,
    progress: Callable[[Progress], None] | None = None,
) -> Solution:
    """Find weights that serve the wishes best while every limit holds.

    The limits enter as squared penalties whose levels are shifted, voxel by voxel, by what is still beyond them
    after each round (the method of multipliers in Powell's form), so that they hold at a finite penalty.

    Parameters
    ----------
    problem : Problem
        What is asked.
    start_mu : (n,) float
        First weights, MU per fraction; their mean is the unit in which the solver counts.
    effort : Effort or None
        How long it may try; None is the usual effort.
    stop : callable
        Asked before each iteration; when it says True the best weights so far are returned, not converged. The
        best are those with the lowest value among those for which the limits hold, else those nearest to holding.
    progress : callable or None
        Told after each iteration.

    References
    ----------
    Powell 1969, in Optimization (ed. Fletcher), 283; Bertsekas 1982, Constrained Optimization and Lagrange
    Multiplier Methods, chapter 2; in planning: Zarepisheh et al. 2019, Med Phys 46:2944, doi 10.1002/mp.13572.
    """
    effort = effort or Effort()
    start = np.clip(np.asarray(start_mu, dtype=np.float64), problem.lower_mu, problem.upper_mu)
    if start.shape != (problem.size,) or not start.max() > 0:
        raise InputError(f"the solver needs {problem.size} first weights, some above 0 MU")
    unit = float(start[start > 0].mean())
    lower = np.full(problem.size, problem.lower_mu / unit)
    upper = np.full(problem.size, problem.upper_mu / unit)
    largest = max((wish.weight for wish in problem.wishes), default=1.0)
    # The limits as the solver aims at them, a gap inside.
    aimed = replace(
        problem,
        limits=tuple(replace(one, objective=one.objective.tightened(one.gap_gy)) for one in problem.limits),
    )
    penalty = [effort.penalty * largest] * len(problem.limits)
    shift: list[Float] = [np.zeros(1)] * len(problem.limits)
    worst_before = [np.inf] * len(problem.limits)
    best = _Best()
    history: list[float] = []
    done = 0
    x = start / unit
    kept: list[Screened] = []
    violation = -np.inf
    if problem.limits:
        first_dose = problem.dose_gy(start)
        violation = problem.violation_gy(first_dose)
        best.offer(problem, start, first_dose, violation)
    for round_number in range(max(1, effort.rounds)):
        function = _Scaled(problem.with_penalties(penalty, shift), unit)

        def tell(iteration: int, value: float, done: int = done) -> None:
            if progress is not None:
                progress(Progress(done + iteration, value, violation))

        def offer(point: Float, image: Float, function: _Scaled = function) -> None:
            nonlocal violation
            dose = function.dose_gy(image)
            violation = problem.violation_gy(dose)
            best.offer(problem, point * unit, dose, violation)

        found = _search(function, x, lower, upper, effort, stop, tell, offer, kept)
        x = found.x
        done += found.iterations
        history += found.history if round_number == 0 else found.history[1:]
        dose = function.dose_gy(found.image)
        best.offer(problem, x * unit, dose, problem.violation_gy(dose))
        if found.reason == "stopped":
            break
        beyond = [aimed.excess_gy(dose, limit) for limit in aimed.limits]
        if problem.violation_gy(dose) <= 0 and (
            np.isinf(effort.complementarity)
            or sum(_prices(aimed, function.problem, dose)[1]) <= effort.complementarity * problem.value_of_dose(dose)
        ):
            break
        for n, excess in enumerate(beyond):
            worst = float(np.max(excess))
            if worst > max(0.5 * worst_before[n], problem.limits[n].gap_gy):
                # The shift is a multiplier over the penalty: the multiplier stays, the penalty grows. A limit that
                # holds, if not by its whole gap, needs no heavier penalty.
                penalty[n] *= 4.0
                shift[n] = shift[n] / 4.0
            shift[n] = np.maximum(shift[n] + excess, 0.0)
            worst_before[n] = worst
    if found.reason == "stopped":
        weights, dose = best.weights_mu, best.dose_gy
    else:
        weights, dose = x * unit, problem.dose_gy(x * unit)
        if problem.violation_gy(dose) > 0 and best.violation_gy <= 0:
            weights, dose = best.weights_mu, best.dose_gy
    prices, products = _prices(problem, function.problem, dose)
    excesses = tuple(
        Excess(limit.structure, limit.label, float(np.max(problem.excess_gy(dose, limit))), float(price))
        for limit, price in zip(problem.limits, prices, strict=True)
    )
    gradient = unit * function.problem.derivative(weights)
    feasible = all(excess.excess_gy <= 0 for excess in excesses)
    smooth = 0.0 if problem.smoothness is None else problem.smoothness.value(weights)
    return Solution(
        weights_mu=weights,
        dose_gy=dose,
        value=problem.value_of_dose(dose) + smooth,
        converged=feasible and found.reason in ("optimal", "no further progress"),
        feasible=feasible,
        reason=found.reason if feasible or found.reason == "stopped" else f"{found.reason}; a limit does not hold",
        iterations=done,
        optimality=optimality_of(weights / unit, gradient, lower, upper),
        history=tuple(history),
        excess=excesses,
        complementarity=float(sum(products)),
    )


def _search(
    function: _Scaled,
    start: Float,
    lower: Float,
    upper: Float,
    effort: Effort,
    stop: Callable[[], bool],
    tell: Callable[[int, float], None],
    offer: Callable[[Float, Float], None],
    kept: list[Screened],
) -> Minimum:
    """Minimise on the rows that matter, chosen anew in stages that grow; the result is that of all rows.

    `kept` holds the rows of the search before, whose map may serve again, and then those of this one.

    `tell` gets the number and the value of each iteration, `offer` points with the image of all rows.
    """
    x, image = start, function.image(start)
    value = function.value(image, x)
    history, length, done, few = [value], FIRST_STAGE, 0, True
    while True:
        inner, part = function, None
        if few:
            # Handed over, not shared: a map that does not serve again makes room for the next one.
            part = screened(function.problem, function.dose_gy(image), REACH, kept.pop() if kept else None)
        if part is not None:
            kept.append(part)
        few = part is not None and len(part.rows) < WORTH_IT * len(image)
        if part is not None and few:
            inner = _Scaled(part.problem, function.unit)

        def visit(iteration: int, now: float, point: Float, own: Float, done: int = done, few: bool = few) -> None:
            if not few:
                offer(point, own)
            tell(done + iteration, now)

        most = effort.iterations - done
        found = minimise(
            inner, x, lower, upper, min(length, most) if few else most, effort.value_tolerance,
            effort.gradient_tolerance, stop, visit,
        )  # fmt: skip
        done += found.iterations
        ended = found.reason == "stopped" or done >= effort.iterations
        new, new_value, holds = found.image, found.value, True
        if part is not None and few:
            new = function.image(found.x)
            new_value, holds = function.value(new, found.x), part.holds(function.dose_gy(new))
        if new_value <= value:
            history += found.history[1:] if holds else [new_value]
            x, image, value = found.x, new, new_value
            offer(x, image)
        else:
            # Rows that were left out have risen above their levels: on with all rows.
            few, holds = False, False
        if ended or (holds and found.reason != "iteration limit"):
            return replace(found, x=x, image=image, value=value, iterations=done, history=tuple(history))
        length *= 2


def _prices(problem: Problem, penalised: Problem, dose_gy: Float) -> tuple[list[float], list[float]]:
    """Sum of each limit's multipliers, and of their products with the distance from the limit.

    A penalty's derivative by the level of a limit is its multiplier, whatever the form of the objective. Penalties are
    squares, so central differences have no error but rounding.
    """
    prices, products = [], []
    for limit, penalty in zip(problem.limits, penalised.wishes[len(problem.wishes) :], strict=True):
        voxels = problem.sets[limit.structure]
        seen = limit.quantity.of(dose_gy[voxels.rows])

        def cost(by_gy: Float, penalty: Wish = penalty, seen: Float = seen, volume: Float = voxels.volume) -> float:
            return penalty.weight * penalty.objective.tightened(by_gy).value(seen, volume)

        away = np.abs(limit.objective.excess_gy(seen, voxels.volume))
        farthest = max(float(away.max()), 1e-9)
        step = 1e-4
        prices.append((cost(np.full(away.shape, step)) - cost(np.full(away.shape, -step))) / (2 * step))
        scaled = away * (step / farthest)
        products.append((cost(scaled) - cost(-scaled)) / (2 * step) * farthest)
    return prices, products


class _Best:
    """The best weights met so far: limits first, then value."""

    def __init__(self) -> None:
        self.weights_mu: Float = np.zeros(0)
        self.dose_gy: Float = np.zeros(0)
        self.violation_gy = np.inf
        self.value = np.inf

    def offer(self, problem: Problem, weights_mu: Float, dose_gy: Float, violation_gy: float) -> None:
        if violation_gy > 0 and violation_gy >= self.violation_gy:
            return
        smooth = 0.0 if problem.smoothness is None else problem.smoothness.value(weights_mu)
        value = problem.value_of_dose(dose_gy) + smooth
        if violation_gy <= 0 and self.violation_gy <= 0 and value >= self.value:
            return
        self.weights_mu, self.dose_gy = weights_mu, dose_gy
        self.violation_gy, self.value = violation_gy, value


class _Scaled:
    """A problem in multiples of a reference weight, as the minimiser wants it."""

    def __init__(self, problem: Problem, unit: float) -> None:
        self.problem, self.unit = problem, unit
        self._factor = problem.fractions * unit

    def image(self, x: Float) -> Float:
        return self.problem.dose_map.dose(x)

    def dose_gy(self, image: Float) -> Float:
        # The sum of a dose and a step of it can be below zero by rounding.
        dose = np.maximum(self._factor * image, 0.0)
        return dose if self.problem.offset_gy is None else dose + self.problem.offset_gy

    def value(self, image: Float, x: Float) -> float:
        smooth = self.problem.smoothness
        return self.problem.value_of_dose(self.dose_gy(image)) + (smooth.value(x * self.unit) if smooth else 0.0)

    def slope(self, image: Float, x: Float, by_image: Float, by_x: Float) -> tuple[float, float]:
        dose = self.dose_gy(image)
        value, by_dose = self.problem.value_of_dose(dose), self.problem.derivative_of_dose(dose)
        slope = self._factor * float(by_dose @ by_image)
        smooth = self.problem.smoothness
        if smooth is None:
            return value, slope
        return (
            value + smooth.value(x * self.unit),
            slope + self.unit * float(smooth.derivative(x * self.unit) @ by_x),
        )

    def gradient(self, image: Float, x: Float) -> Float:
        by_dose = self.problem.derivative_of_dose(self.dose_gy(image))
        gradient = self._factor * self.problem.dose_map.gradient(by_dose)
        smooth = self.problem.smoothness
        return gradient if smooth is None else gradient + self.unit * smooth.derivative(x * self.unit)

"""Leaf ends and monitor units that go down a gradient together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from tailort.optimisation.solve import Effort, never

Float = NDArray[np.float64]

# For the MU alone: before the leaves move, and after a person has stopped the search.
FIRST_WEIGHTS = Effort(iterations=40, rounds=1, value_tolerance=5e-3)
AFTER_STOP = Effort(iterations=20, rounds=6)


@dataclass(frozen=True, eq=False)
class Descent:
    """Where a descent ended.

    Parameters
    ----------
    z : (n,) float
        The point.
    iterations, evaluations : int
        Steps taken, and how often the function was evaluated.
    """

    z: Float
    iterations: int
    evaluations: int


def descended(
    value_and_gradient: Callable[[Float], tuple[float, Float]],
    start: Float,
    lower: Float,
    upper: Float,
    evaluations: int,
    stop: Callable[[], bool] = never,
    told: Callable[[], None] | None = None,
    memory: int = 10,
) -> Descent:
    """Go down the gradient of a function between bounds, with the L-BFGS-B method.

    Parameters
    ----------
    value_and_gradient : callable
        Of a point (n,).
    start, lower, upper : (n,) float
        First point, put between the bounds, and these.
    evaluations : int
        Most evaluations; the last step may take some more.
    stop : callable
        Asked after each step; when it says True that step is the last.
    told : callable or None
        Called after each step.
    memory : int
        Steps of which the curvature is remembered.

    References
    ----------
    Byrd et al. 1995, SIAM J Sci Comput 16:1190, doi 10.1137/0916069.
    """

    def stepped(xk: Float) -> None:
        if told is not None:
            told()
        if stop():
            raise StopIteration

    found = optimize.minimize(
        value_and_gradient,
        np.clip(start, lower, upper),
        jac=True,
        method="L-BFGS-B",
        bounds=optimize.Bounds(lower, upper),
        callback=stepped,
        options={"maxfun": evaluations, "maxiter": evaluations, "maxcor": memory},
    )
    return Descent(np.asarray(found.x), int(found.nit), int(found.nfev))

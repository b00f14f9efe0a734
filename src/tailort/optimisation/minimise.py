"""The smallest value of a function of a linear map between bounds: projected limited-memory BFGS."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Reason = Literal["optimal", "no further progress", "iteration limit", "stopped"]


class Composite(Protocol):
    """A smooth function f(x) = h(A x, x) whose costly parts are the products with A and its transpose."""

    def image(self, x: Float) -> Float:
        """Return A x (without any constant part)."""
        ...

    def value(self, image: Float, x: Float) -> float:
        """Return f from A x and x."""
        ...

    def slope(self, image: Float, x: Float, by_image: Float, by_x: Float) -> tuple[float, float]:
        """Return f and its derivative along the direction `by_x` with the image `by_image`."""
        ...

    def gradient(self, image: Float, x: Float) -> Float:
        """Return the gradient by x."""
        ...


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the search for a minimum ended.

    Parameters
    ----------
    x, image : (n,), (m,) float
        The best point and its image A x.
    value : float
        f there.
    reason : str
        Why the search stopped; only "optimal" and "no further progress" mean converged.
    iterations : int
        Number of iterations.
    optimality : float
        Largest component of the gradient among the variables that can still follow it; 0 at an optimum.
    history : tuple of float
        Value after each iteration.
    """

    x: Float
    image: Float
    value: float
    reason: Reason
    iterations: int
    optimality: float
    history: tuple[float, ...]


def minimise(
    function: Composite,
    start: Float,
    lower: Float,
    upper: Float,
    max_iterations: int,
    value_tolerance: float,
    gradient_tolerance: float,
    stop: Callable[[], bool],
    visit: Callable[[int, float, Float, Float], None],
    memory: int = 12,
) -> Minimum:
    """Minimise a function between bounds.

    Each iteration goes along the limited-memory BFGS direction of the free variables, cut off at the bounds
    (two-metric projection). Because the whole segment stays between the bounds and its image is linear, the line
    search needs no product with A: an iteration costs one product with A and one with its transpose.

    Parameters
    ----------
    function : Composite
        What to minimise.
    start, lower, upper : (n,) float
        First point and bounds.
    max_iterations : int
        Most iterations.
    value_tolerance : float
        Stops when ten iterations lower the value by less than this share of it.
    gradient_tolerance : float
        Stops when the optimality (see `Minimum`) is below this share of the value.
    stop : callable
        Asked before each iteration whether to end here.
    visit : callable
        Called after each iteration with its number, the value, the point and its image.
    memory : int
        Number of past steps that shape the direction.

    References
    ----------
    Bertsekas 1982, SIAM J Control Optim 20:221, doi 10.1137/0320018 (two-metric projection);
    Nocedal 1980, Math Comp 35:773, doi 10.1090/S0025-5718-1980-0572855-7 (limited memory);
    Schmidt, Kim & Sra 2011, in Optimization for Machine Learning, chapter 11 (their union).
    """
    x = np.clip(start, lower, upper)
    image = function.image(x)
    value = function.value(image, x)
    gradient = function.gradient(image, x)
    steps: deque[tuple[Float, Float, float]] = deque(maxlen=memory)
    history = [value]
    reason: Reason = "iteration limit"
    iteration = 0
    for iteration in range(max_iterations + 1):
        if optimality_of(x, gradient, lower, upper) <= gradient_tolerance * max(abs(value), 1e-12):
            reason = "optimal"
            break
        if len(history) > 10 and history[-11] - value <= value_tolerance * abs(value):
            reason = "no further progress"
            break
        if iteration == max_iterations:
            break
        if stop():
            reason = "stopped"
            break
        moved = _step(function, x, image, value, gradient, lower, upper, steps)
        if moved is None and steps:
            steps.clear()
            moved = _step(function, x, image, value, gradient, lower, upper, steps)
        if moved is None:
            reason = "no further progress"
            break
        new_x, image, value = moved
        new_gradient = function.gradient(image, new_x)
        s, y = new_x - x, new_gradient - gradient
        curvature = float(s @ y)
        if curvature > 1e-10 * float(y @ y):
            steps.append((s, y, curvature))
        elif float(y @ y) <= 1e-20 * float(new_gradient @ new_gradient):
            # No curvature at all along this step: the steps of a curved region would be far too short from here.
            steps.clear()
        x, gradient = new_x, new_gradient
        history.append(value)
        visit(iteration + 1, value, x, image)
    return Minimum(
        x, image, value, reason, iteration, optimality_of(x, gradient, lower, upper), tuple(float(v) for v in history)
    )


def _held(x: Float, gradient: Float, lower: Float, upper: Float) -> NDArray[np.bool_]:
    """Which variables are at a bound that the gradient presses them against."""
    return ((x <= lower) & (gradient > 0)) | ((x >= upper) & (gradient < 0))


def optimality_of(x: Float, gradient: Float, lower: Float, upper: Float) -> float:
    """Return the largest component of the gradient that no bound holds; 0 at an optimum."""
    return float(np.abs(gradient[~_held(x, gradient, lower, upper)]).max(initial=0.0))


def _direction(gradient: Float, free: NDArray[np.bool_], steps: deque[tuple[Float, Float, float]]) -> Float:
    """Two-loop recursion on the free variables."""
    q = np.where(free, gradient, 0.0)
    pairs = []
    for s, y, _ in reversed(steps):
        s_free, y_free = s * free, y * free
        curvature = float(s_free @ y_free)
        if curvature <= 1e-12 * float(y_free @ y_free):
            continue
        alpha = float(s_free @ q) / curvature
        q -= alpha * y_free
        pairs.append((s_free, y_free, curvature, alpha))
    if pairs:
        _, y_last, curvature, _ = pairs[0]
        q *= curvature / float(y_last @ y_last)
    for s_free, y_free, curvature, alpha in reversed(pairs):
        q += (alpha - float(y_free @ q) / curvature) * s_free
    return -np.where(free, q, 0.0)


def _step(
    function: Composite,
    x: Float,
    image: Float,
    value: float,
    gradient: Float,
    lower: Float,
    upper: Float,
    steps: deque[tuple[Float, Float, float]],
) -> tuple[Float, Float, float] | None:
    """One step that lowers the value, as new point, image and value; None when there is none."""
    direction = _direction(gradient, ~_held(x, gradient, lower, upper), steps)
    if not steps:
        # Without any memory of the curvature: a step of the size of the point itself.
        direction *= max(float(np.abs(x).max()), 1.0) / max(float(np.abs(direction).max()), 1e-300)
    move = np.clip(x + direction, lower, upper) - x
    slope = float(gradient @ move)
    if not slope < 0:
        return None
    by_image = function.image(move)
    low, value_low, slope_low, high, slope_high = 0.0, value, slope, np.inf, 0.0
    t = 1.0
    for trial in range(30):
        new, along = function.slope(image + t * by_image, x + t * move, by_image, move)
        low_enough = new <= value + 1e-4 * t * slope
        if low_enough and along <= -0.5 * slope and (along >= 0.9 * slope or t == 1.0):
            return np.clip(x + t * move, lower, upper), image + t * by_image, new
        if low_enough and along < 0:
            low, value_low, slope_low = t, new, along
        else:
            high, slope_high = t, along
        # Where the slope changes sign, by the secant; inside the bracket, away from its ends.
        share = slope_low / (slope_low - slope_high) if slope_high > 0 else 0.5
        if low == 0.0 and trial > 8:
            # A corner close by, or a scale that is far off: shrink by tens.
            share = 0.1
        t = low + min(max(share, 0.1), 0.9) * (min(high, 1.0) - low)
    return (np.clip(x + low * move, lower, upper), image + low * by_image, value_low) if low > 0 else None

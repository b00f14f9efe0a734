"""Set-up errors: how far the patient may lie from the planned position, as scenarios.

A shift is how far the patient, with all that is in it, lies from where the plan has it, x, y, z in LPS mm: +x to the
patient's left, +y to the back, +z to the head. In the patient that is the same as beams moved by the negative of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tailort.errors import InputError

Vector = tuple[float, float, float]

# Words for the two senses of x, y and z.
_SENSES = (("left", "right"), ("posterior", "anterior"), ("superior", "inferior"))
NOMINAL = "nominal"
# Weights that are this far from the sum 1 are not weights.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Scenario:
    """One position of the patient during the whole course.

    Parameters
    ----------
    name : str
        Such as "nominal", "5 mm left".
    shift_mm : (3,) float
        Of the patient from the planned position, LPS mm.
    weight : float or None
        Its part in expected values; None where no probabilities are given.
    """

    name: str
    shift_mm: Vector
    weight: float | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError("a scenario needs a name")
        object.__setattr__(self, "shift_mm", _vector(self.shift_mm, f"the shift of scenario '{self.name}'"))
        if self.weight is not None and not 0.0 <= self.weight <= 1.0:
            raise InputError(f"scenario '{self.name}' has the weight {self.weight:g}; expected 0 to 1")

    @property
    def is_nominal(self) -> bool:
        """Whether the patient lies as planned."""
        return not any(self.shift_mm)


@dataclass(frozen=True)
class ScenarioSet:
    """The positions of the patient in which a plan is judged or made.

    Parameters
    ----------
    scenarios : tuple of Scenario
        One of them, and only one, without a shift; all with weights that have the sum 1, or all without.
    blur_mm : (3,) float
        Standard deviation of the day-to-day errors about each of these positions, x, y, z, mm; it blurs the dose of a
        course (`tailort.evaluation.robustness_doses.blurred`). 0 where they are not looked at.
    """

    scenarios: tuple[Scenario, ...]
    blur_mm: Vector

    def __post_init__(self) -> None:
        object.__setattr__(self, "scenarios", tuple(self.scenarios))
        object.__setattr__(self, "blur_mm", _spread(self.blur_mm, "the blur"))
        names = [one.name for one in self.scenarios]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"two scenarios are named '{twice[0]}': name each shift once")
        if sum(one.is_nominal for one in self.scenarios) != 1:
            raise InputError(
                f"a set of scenarios needs the nominal position, (0, 0, 0) mm, once; found "
                f"{sum(one.is_nominal for one in self.scenarios)} among {len(names)} scenarios"
            )
        weights = [one.weight for one in self.scenarios if one.weight is not None]
        if weights and len(weights) != len(self.scenarios):
            raise InputError(
                f"{len(weights)} of {len(self.scenarios)} scenarios have a weight; give all of them or none"
            )
        if weights and abs(sum(weights) - 1.0) > _ROUNDING:
            raise InputError(f"the weights of the scenarios must have the sum 1; found {sum(weights):g}")

    def __len__(self) -> int:
        return len(self.scenarios)

    @property
    def nominal(self) -> int:
        """Place of the nominal scenario."""
        return next(n for n, one in enumerate(self.scenarios) if one.is_nominal)

    @property
    def weights(self) -> tuple[float, ...] | None:
        """Of the scenarios, with the sum 1; None where no probabilities are given."""
        found = tuple(one.weight for one in self.scenarios if one.weight is not None)
        return found or None

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "scenarios": [
                {"name": one.name, "shift_mm": list(one.shift_mm), "weight": one.weight} for one in self.scenarios
            ],
            "blur_mm": list(self.blur_mm),
        }


def explicit(shifts_mm: Sequence[Sequence[float]], weights: Sequence[float] | None = None) -> ScenarioSet:
    """Scenarios with shifts, and weights, that a person gives.

    Parameters
    ----------
    shifts_mm : sequence of (3,) float
        LPS mm; the nominal position is put first when it is not among them, with the weight that the others leave.
    weights : sequence of float or None
        One for each shift; None gives worst cases only, no expected values.

    Raises
    ------
    InputError
        For shifts that are not finite or occur twice, and for weights that are no probabilities.
    """
    shifts = [_vector(shift, "a shift") for shift in shifts_mm]
    chances: list[float | None] = [None] * len(shifts) if weights is None else list(weights)
    if len(chances) != len(shifts):
        raise InputError(f"{len(shifts)} shifts need as many weights; found {len(chances)}")
    if (0.0, 0.0, 0.0) not in shifts:
        left = None if weights is None else 1.0 - float(sum(weights))
        # Weights such as six times 1/6 leave nothing but rounding.
        chances.insert(0, left if left is None or abs(left) > _ROUNDING else 0.0)
        shifts.insert(0, (0.0, 0.0, 0.0))
    found = tuple(Scenario(shift_name(shift), shift, weight) for shift, weight in zip(shifts, chances, strict=True))
    return ScenarioSet(found, (0.0, 0.0, 0.0))


def within(reach_mm: Sequence[float], directions: Literal[6, 14, 26]) -> ScenarioSet:
    """Return the nominal position and shifts on the ellipsoid of a reach, for worst cases; they have no probabilities.

    Parameters
    ----------
    reach_mm : (3,) float
        Longest shift along x, y and z, mm; axes with 0 are left out.
    directions : {6, 14, 26}
        Both senses of the axes; the space diagonals too; the diagonals of the planes too.
    """
    reach = np.array(_spread(reach_mm, "the reach"))
    if not reach.any():
        raise InputError("a reach of 0 mm along all axes leaves only the nominal position; give a reach above 0 mm")
    wanted = {6: (1,), 14: (1, 3), 26: (1, 2, 3)}
    if directions not in wanted:
        raise InputError(f"shifts in {directions} directions are unknown; known are 6, 14 and 26")
    steps = [step for step in itertools.product((0, 1, -1), repeat=3) if np.count_nonzero(step) in wanted[directions]]
    steps.sort(key=lambda step: (np.count_nonzero(step), [-abs(part) for part in step]))
    # Without an axis the space diagonals are those of the plane that is left.
    used = np.array(steps)[(np.array(steps) * reach).any(axis=1)] * (reach > 0)
    shifts = reach * used / np.linalg.norm(used, axis=1, keepdims=True)
    return explicit(list(dict.fromkeys(_vector(shift, "a shift") for shift in shifts)))


@dataclass(frozen=True)
class SetupErrors:
    """Set-up errors of a population of patients, as standard deviations; there are no usual values.

    Parameters
    ----------
    systematic_mm : (3,) float
        Of the patients' mean positions along x, y, z, mm.
    random_mm : (3,) float
        Of one patient's positions from fraction to fraction, mm.
    fractions : int
        Of the course.

    Notes
    -----
    The mean position of a course of N fractions differs from the planned one by the systematic error and by the mean of
    N random ones; about that mean the positions of its fractions spread by the rest:
    S^2 = systematic^2 + random^2 / N (the scenarios), s^2 = random^2 (N - 1) / N (the blur).

    References
    ----------
    van Herk et al. 2000, IJROBP 47:1121, doi 10.1016/S0360-3016(00)00518-6 (systematic and random errors).
    """

    systematic_mm: Vector
    random_mm: Vector
    fractions: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "systematic_mm", _spread(self.systematic_mm, "the systematic set-up error"))
        object.__setattr__(self, "random_mm", _spread(self.random_mm, "the random set-up error"))
        if self.fractions < 1:
            raise InputError(f"a course has at least one fraction; found {self.fractions}")

    @property
    def of_course_mm(self) -> Vector:
        """Standard deviation of the mean position of a course, mm."""
        x, y, z = np.sqrt(np.square(self.systematic_mm) + np.square(self.random_mm) / self.fractions)
        return float(x), float(y), float(z)

    @property
    def blur_mm(self) -> Vector:
        """Standard deviation of the fractions about the mean position of their course, mm."""
        x, y, z = np.array(self.random_mm) * np.sqrt((self.fractions - 1) / self.fractions)
        return float(x), float(y), float(z)

    def along_axes(self, deviations: float) -> ScenarioSet:
        """Return the nominal position and one shift each way along every axis (seven scenarios).

        Parameters
        ----------
        deviations : float
            Length of the shifts, standard deviations of the course's mean position; at least the root of the number of
            axes that have an error, so that no weight is below 0.

        Notes
        -----
        The weights, 1 / (2 d^2) of each shift and the rest for the nominal position, give the scenarios the mean and
        the covariance of the normal distribution, so that expected values are right to the third order of the shift.

        References
        ----------
        Julier & Uhlmann 2004, Proc IEEE 92:401, doi 10.1109/JPROC.2003.823141 (sigma points).
        """
        spread = self._some_spread()
        axes = [axis for axis in range(3) if spread[axis] > 0]
        if not deviations**2 >= len(axes) - 1e-9:
            raise InputError(
                f"shifts of {deviations:g} standard deviations along {len(axes)} axes would leave the nominal position "
                f"a weight below 0; take at least {np.sqrt(len(axes)):.3f}, or give shifts without weights"
            )
        shifts: list[list[float]] = []
        weights: list[float] = []
        for axis, sense in itertools.product(axes, (1.0, -1.0)):
            shift = np.zeros(3)
            shift[axis] = sense * deviations * spread[axis]
            shifts.append(shift.tolist())
            weights.append(0.5 / deviations**2)
        return self._blurred(explicit(shifts, weights))

    def product(self) -> ScenarioSet:
        """Every combination of 0 and +-sqrt(3) standard deviations along the axes (27 scenarios), weighted.

        Notes
        -----
        The Gauss-Hermite rule of three points along each axis: weights 2/3 and 1/6. Expected values are right to the
        fifth order of the shift along each axis.

        References
        ----------
        Abramowitz & Stegun 1964, Handbook of Mathematical Functions, 25.4.46.
        """
        spread = self._some_spread()
        along = [((0.0, 2 / 3), (np.sqrt(3.0) * sd, 1 / 6), (-np.sqrt(3.0) * sd, 1 / 6)) if sd else ((0.0, 1.0),)
                 for sd in spread]  # fmt: skip
        points = list(itertools.product(*along))
        shifts = [[place for place, _ in point] for point in points]
        weights = [float(np.prod([weight for _, weight in point])) for point in points]
        return self._blurred(explicit(shifts, weights))

    def drawn(self, count: int, seed: int) -> ScenarioSet:
        """Positions drawn at random, equally likely, beside the nominal one (without weight).

        Parameters
        ----------
        count : int
            Number of draws; shares of them estimate probabilities with a standard error of at most 0.5 / sqrt(count).
        seed : int
            Of the random numbers: the same seed, the same scenarios.
        """
        spread = self._some_spread()
        if count < 1:
            raise InputError(f"at least one position must be drawn; found {count}")
        shifts = np.random.default_rng(seed).normal(size=(count, 3)) * spread
        found = [Scenario(NOMINAL, (0.0, 0.0, 0.0), 0.0)]
        found += [Scenario(f"draw {n + 1}", _vector(s, "a shift"), 1.0 / count) for n, s in enumerate(shifts)]
        return ScenarioSet(tuple(found), self.blur_mm)

    def _some_spread(self) -> Vector:
        spread = self.of_course_mm
        if not any(spread):
            raise InputError("set-up errors of 0 mm along all axes leave only the nominal position; give their size")
        return spread

    def _blurred(self, scenarios: ScenarioSet) -> ScenarioSet:
        return ScenarioSet(scenarios.scenarios, self.blur_mm)


def shift_name(shift_mm: Sequence[float]) -> str:
    """Return a shift in the words of the clinic, such as "5 mm left, 3 mm superior"."""
    parts = [
        f"{abs(length):.4g} mm {senses[0] if length > 0 else senses[1]}"
        for length, senses in zip(shift_mm, _SENSES, strict=True)
        if length
    ]
    return ", ".join(parts) or NOMINAL


def _vector(values: Sequence[float] | Any, what: str) -> Vector:
    found = np.asarray(values, dtype=np.float64)
    if found.shape != (3,) or not np.isfinite(found).all():
        raise InputError(f"{what} must be three finite numbers, x, y, z in mm; found {values}")
    # Adding 0 makes -0 a 0.
    x, y, z = (float(v) + 0.0 for v in found)
    return x, y, z


def _spread(values: Sequence[float] | Any, what: str) -> Vector:
    found = _vector(values, what)
    if min(found) < 0:
        raise InputError(f"{what} must not be below 0 mm; found {found}")
    return found

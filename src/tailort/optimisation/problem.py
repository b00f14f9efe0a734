"""What is asked of a plan: wishes and limits on structures, as a function of beamlet or segment weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError, MissingStructureError
from tailort.optimisation.objectives import Objective, Physical, Quantity
from tailort.patient import Beamlets

Float = NDArray[np.float64]


class DoseMap(Protocol):
    """A linear map from weights (MU per fraction) to the doses of some voxels, such as `Influence`."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of voxels and of weights."""
        ...

    def dose(self, weights_mu: Float) -> Float:
        """Dose of the voxels, Gy per fraction."""
        ...

    def gradient(self, by_dose: Float) -> Float:
        """Transpose of the map times a vector of the voxels."""
        ...


@dataclass(frozen=True, eq=False)
class VoxelSet:
    """The voxels of one structure among the rows of a dose map.

    Parameters
    ----------
    name : str
        Structure.
    rows : (n,) int
        Row of each voxel, every row at most once.
    volume : (n,) float
        Volume of the structure in each voxel, any unit (partial volumes); kept as shares with the sum 1.
    """

    name: str
    rows: NDArray[np.int64]
    volume: Float

    def __post_init__(self) -> None:
        rows = np.array(self.rows, dtype=np.int64)
        volume = np.array(self.volume, dtype=np.float64)
        if rows.ndim != 1 or rows.shape != volume.shape or len(rows) == 0:
            raise InputError(f"structure '{self.name}' needs at least one voxel of the dose grid, each with a volume")
        if len(np.unique(rows)) != len(rows):
            raise InputError(f"structure '{self.name}' names the same voxel twice")
        if not np.isfinite(volume).all() or volume.min() < 0 or not volume.sum() > 0:
            raise InputError(f"structure '{self.name}' has voxels of negative or no volume")
        volume /= volume.sum()
        for array in (rows, volume):
            array.setflags(write=False)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "volume", volume)


@dataclass(frozen=True)
class Wish:
    """A weighted objective on one structure.

    Parameters
    ----------
    structure : str
        Name of its voxel set.
    objective : Objective
        What is wanted.
    weight : float
        Not below 0.
    quantity : Quantity
        Of the dose that the objective sees.
    label : str
        What it stands for, for reports.
    """

    structure: str
    objective: Objective
    weight: float
    quantity: Quantity = field(default_factory=Physical)
    label: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.weight < np.inf:
            raise InputError(
                f"a wish on '{self.structure}' has the weight {self.weight}; it must be a number not below 0"
            )


@dataclass(frozen=True)
class Limit:
    """An objective that must hold, whatever the wishes.

    Parameters
    ----------
    structure : str
        Name of its voxel set.
    objective : Objective
        Holds where none of its `excess_gy` is above 0.
    gap_gy : float
        The solver aims this much inside the limit, Gy of the quantity.
    quantity : Quantity
        Of the dose that the objective sees.
    label : str
        What it stands for, for reports.
    """

    structure: str
    objective: Objective
    gap_gy: float
    quantity: Quantity = field(default_factory=Physical)
    label: str = ""

    def __post_init__(self) -> None:
        if not np.isfinite(self.gap_gy):
            raise InputError(f"the limit on '{self.structure}' is to be kept {self.gap_gy} Gy inside; give a number")


class WeightTerm(Protocol):
    """A part of a problem's value that depends on the weights alone."""

    def value(self, weights_mu: Float) -> float:
        """Value of the term."""
        ...

    def derivative(self, weights_mu: Float) -> Float:
        """Derivative by the weights, per MU."""
        ...


@dataclass(frozen=True, eq=False)
class Smoothness:
    """Mean square of the difference of neighbouring beamlets, relative to a reference weight.

    A smooth fluence needs fewer monitor units and loses less when it becomes segments (Spirou et al. 2001,
    Med Phys 28:2105, doi 10.1118/1.1406517).

    Parameters
    ----------
    first, second : (pairs,) int
        Neighbours of the same beam.
    reference_mu : float
        Weight by which differences are measured, MU.
    weight : float
        Of the term; the same unit as the weighted objectives.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    reference_mu: float
    weight: float

    @classmethod
    def of(cls, beamlets: Beamlets, reference_mu: float, weight: float) -> Smoothness:
        """Smoothness along and across the leaves."""
        column = np.round(beamlets.x_mm / beamlets.width_x_mm - 0.5).astype(np.int64)
        row = np.round(beamlets.y_mm / beamlets.width_y_mm - 0.5).astype(np.int64)
        at = {key: n for n, key in enumerate(zip(beamlets.beam.tolist(), row.tolist(), column.tolist(), strict=True))}
        pairs = [
            (n, at[neighbour])
            for (beam, r, c), n in at.items()
            for neighbour in ((beam, r, c + 1), (beam, r + 1, c))
            if neighbour in at
        ]
        first, second = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        return cls(first, second, reference_mu, weight)

    @property
    def _scale(self) -> float:
        return self.weight / (max(len(self.first), 1) * self.reference_mu**2)

    def value(self, weights_mu: Float) -> float:
        """Value of the term."""
        step = weights_mu[self.first] - weights_mu[self.second]
        return self._scale * float(step @ step)

    def derivative(self, weights_mu: Float) -> Float:
        """Derivative by the weights, per MU."""
        step = 2.0 * self._scale * (weights_mu[self.first] - weights_mu[self.second])
        size = len(weights_mu)
        return (np.bincount(self.first, step, size) - np.bincount(self.second, step, size)).astype(np.float64)


@dataclass(frozen=True, eq=False)
class Problem:
    """Find weights between bounds that make the sum of the wishes smallest while every limit holds.

    The value of a vector of weights is sum(wish) + smoothness, in Gy2 of the course's doses.

    Parameters
    ----------
    dose_map : DoseMap
        Gy per fraction of each row per MU of each weight.
    fractions : int
        Number of fractions of the course.
    sets : mapping of str to VoxelSet
        The structures' voxels by name.
    wishes : tuple of Wish
        Weighted objectives.
    limits : tuple of Limit
        What must hold.
    smoothness : WeightTerm or None
        Of the fluence.
    lower_mu, upper_mu : float
        Bounds of each weight, MU per fraction.
    offset_gy : (rows,) float or None
        Physical dose of the course that is there whatever the weights, Gy: for instance what a more exact dose
        calculation found beyond `dose_map`.
    """

    dose_map: DoseMap
    fractions: int
    sets: Mapping[str, VoxelSet]
    wishes: tuple[Wish, ...]
    limits: tuple[Limit, ...] = ()
    smoothness: WeightTerm | None = None
    lower_mu: float = 0.0
    upper_mu: float = np.inf
    offset_gy: Float | None = None

    def __post_init__(self) -> None:
        if self.fractions < 1:
            raise InputError(f"a course has at least one fraction; found {self.fractions}")
        if not 0 <= self.lower_mu <= self.upper_mu:
            raise InputError(f"weights cannot lie between {self.lower_mu:g} and {self.upper_mu:g} MU")
        rows = self.dose_map.shape[0]
        for name in [wish.structure for wish in self.wishes] + [limit.structure for limit in self.limits]:
            if name not in self.sets:
                have = ", ".join(self.sets) or "none"
                raise MissingStructureError(
                    f"the plan is to be judged on '{name}', which has no voxels in the dose matrix; "
                    f"there are voxels of: {have}"
                )
        for name, voxels in self.sets.items():
            if voxels.rows.min() < 0 or voxels.rows.max() >= rows:
                raise InputError(f"structure '{name}' names a row outside the {rows} rows of the dose matrix")

    def with_penalties(
        self, weights: Sequence[float] | None = None, shifts_gy: Sequence[float | Float] | None = None
    ) -> Problem:
        """Return the problem with each limit as a further wish, a gap inside the limit.

        Parameters
        ----------
        weights : sequence of float or None
            Of each limit; None is ten times the largest weight of a wish.
        shifts_gy : sequence or None
            How much stricter each limit is taken, in the shape of its `excess_gy`; None is not at all.
        """
        if weights is None:
            weights = [10.0 * max((wish.weight for wish in self.wishes), default=1.0)] * len(self.limits)
        if shifts_gy is None:
            shifts_gy = [0.0] * len(self.limits)
        penalties = tuple(
            Wish(
                limit.structure,
                limit.objective.tightened(limit.gap_gy).tightened(shift),
                weight,
                limit.quantity,
                limit.label,
            )
            for limit, weight, shift in zip(self.limits, weights, shifts_gy, strict=True)
        )
        return replace(self, wishes=self.wishes + penalties, limits=())

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.dose_map.shape[1]

    def dose_gy(self, weights_mu: Float) -> Float:
        """Physical dose of the rows, Gy per course."""
        dose = self.fractions * self.dose_map.dose(weights_mu)
        return dose if self.offset_gy is None else dose + self.offset_gy

    def value_of_dose(self, dose_gy: Float) -> float:
        """Sum of the weighted objectives for a physical dose of the rows, Gy per course."""
        total = 0.0
        for wish in self.wishes:
            voxels = self.sets[wish.structure]
            seen = wish.quantity.of(dose_gy[voxels.rows])
            total += wish.weight * wish.objective.value(seen, voxels.volume)
        return total

    def derivative_of_dose(self, dose_gy: Float) -> Float:
        """Derivative of `value_of_dose` by each row's physical dose."""
        by_dose = np.zeros(len(dose_gy))
        for wish in self.wishes:
            voxels = self.sets[wish.structure]
            physical = dose_gy[voxels.rows]
            slope = wish.objective.derivative(wish.quantity.of(physical), voxels.volume)
            by_dose[voxels.rows] += wish.weight * slope * wish.quantity.derivative(physical)
        return by_dose

    def value(self, weights_mu: Float) -> float:
        """Value of the wishes and the smoothness."""
        smooth = 0.0 if self.smoothness is None else self.smoothness.value(weights_mu)
        return self.value_of_dose(self.dose_gy(weights_mu)) + smooth

    def derivative(self, weights_mu: Float) -> Float:
        """Derivative of `value` by the weights, per MU."""
        by_dose = self.derivative_of_dose(self.dose_gy(weights_mu))
        gradient = self.fractions * self.dose_map.gradient(by_dose)
        return gradient if self.smoothness is None else gradient + self.smoothness.derivative(weights_mu)

    def excess_gy(self, dose_gy: Float, limit: Limit | Wish) -> Float:
        """How far the dose of the rows is beyond a limit or wish, Gy of its quantity (see `Objective.excess_gy`)."""
        voxels = self.sets[limit.structure]
        return limit.objective.excess_gy(limit.quantity.of(dose_gy[voxels.rows]), voxels.volume)

    def violation_gy(self, dose_gy: Float) -> float:
        """Return the largest excess over all limits, Gy of each limit's quantity; not above 0 when they hold."""
        return max((float(np.max(self.excess_gy(dose_gy, limit))) for limit in self.limits), default=-np.inf)

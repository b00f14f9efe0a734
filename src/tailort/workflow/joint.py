"""Several phases as one problem: what their sum has to keep, and what each of them has to give by itself.

The rows of the problem are those of the sum, then those of each phase. A target's coverage and evenness are asked of
the phase in which it is prescribed; limits, goals, the fall-off around targets and low means of organs of the sum. So a
phase may take more of a limit than its part of the prescribed dose wherever another one can do with less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation import Goals, Limit, Problem, Recipe, VoxelSet, Wish, objectives_from
from tailort.optimisation.goals import FAR, NEAR, NEAR_MM, allowed_dose_gy
from tailort.optimisation.objectives import (
    Added,
    LinearQuadratic,
    MeanDose,
    Objective,
    Physical,
    Quantity,
    SquaredOverdose,
)
from tailort.optimisation.priorities import Goal
from tailort.optimisation.problem import DoseMap, WeightTerm
from tailort.patient import Constraint, Prescription

Float = NDArray[np.float64]
Term = TypeVar("Term", Wish, Limit)

_BETWEEN = " | "


@dataclass(frozen=True, eq=False)
class JointDose:
    """Dose of several phases: the rows of their sum, then the rows of each phase, Gy per course.

    Weights are those of the phases one after the other, MU per fraction of their own phase.

    Parameters
    ----------
    parts : tuple of DoseMap
        Of each phase, Gy per fraction; all with the same rows.
    fractions : tuple of int
        Of each phase.
    """

    parts: tuple[DoseMap, ...]
    fractions: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.parts or len(self.parts) != len(self.fractions) or min(self.fractions) < 1:
            raise InputError("phases that are planned together need a dose matrix and at least one fraction each")
        if len({part.shape[0] for part in self.parts}) != 1:
            raise InputError("phases that are planned together need dose matrices with the same voxels")

    @property
    def rows(self) -> int:
        """Number of voxels."""
        return self.parts[0].shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, of sum and phases, and of weights."""
        return self.rows * (1 + len(self.parts)), sum(part.shape[1] for part in self.parts)

    def split(self, weights_mu: Float) -> list[Float]:
        """Weights of each phase."""
        return np.split(weights_mu, np.cumsum([part.shape[1] for part in self.parts])[:-1])

    def of_phases(self, weights_mu: Float) -> list[Float]:
        """Dose of each phase in the voxels, Gy per course."""
        return [
            count * part.dose(np.ascontiguousarray(own))
            for part, count, own in zip(self.parts, self.fractions, self.split(weights_mu), strict=True)
        ]

    def dose(self, weights_mu: Float) -> Float:
        """Dose of the rows, Gy per course."""
        doses = self.of_phases(weights_mu)
        return np.concatenate([np.sum(doses, axis=0), *doses])

    def gradient(self, by_dose: Float) -> Float:
        """Transpose of the map times a vector of the rows."""
        of_sum, *of_phases = by_dose.reshape(1 + len(self.parts), self.rows)
        return np.concatenate(
            [
                count * part.gradient(of_sum + own)
                for part, count, own in zip(self.parts, self.fractions, of_phases, strict=True)
            ]
        )


@dataclass(frozen=True, eq=False)
class OverPhases:
    """An objective on the sum of the phases' BED or EQD2, each converted with its own number of fractions.

    The doses that it sees are those of the voxels in each phase, one phase after the other.

    Parameters
    ----------
    objective : Objective
        On the sum; its value in Gy2.
    quantities : tuple of Quantity
        Of each phase.
    before_gy : (voxels,) float or None
        What earlier courses have given, Gy of the same quantity, where the objective is on all courses.
    """

    objective: Objective
    quantities: tuple[Quantity, ...]
    before_gy: Float | None = None
    power: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.objective.power != 2:
            raise InputError("an objective over phases needs a value in Gy2")

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy2."""
        return self.objective.value(self._sum_gy(dose_gy), self._volume(volume))

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the physical dose of each voxel in each phase."""
        slope = self.objective.derivative(self._sum_gy(dose_gy), self._volume(volume))
        return np.concatenate(
            [slope * one.derivative(own) for one, own in zip(self.quantities, self._blocks(dose_gy), strict=True)]
        )

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """How far the sum is beyond the objective, Gy of the quantity."""
        return self.objective.excess_gy(self._sum_gy(dose_gy), self._volume(volume))

    def tightened(self, by_gy: float | Float) -> OverPhases:
        """Return the same with the level of the sum made stricter."""
        return replace(self, objective=self.objective.tightened(by_gy))

    def _blocks(self, values: Float) -> Float:
        return values.reshape(len(self.quantities), -1)

    def _sum_gy(self, dose_gy: Float) -> Float:
        converted = [one.of(own) for one, own in zip(self.quantities, self._blocks(dose_gy), strict=True)]
        total: Float = np.sum(converted, axis=0)
        return total if self.before_gy is None else total + self.before_gy

    def _volume(self, volume: Float) -> Float:
        # Shares of all voxels in all phases, which are the same in each.
        own: Float = len(self.quantities) * self._blocks(volume)[0]
        return own


@dataclass(frozen=True, eq=False)
class EachPhase:
    """Terms of the weights of each phase, added.

    Parameters
    ----------
    terms : tuple of WeightTerm
        Of each phase.
    sizes : tuple of int
        Number of weights of each.
    """

    terms: tuple[WeightTerm, ...]
    sizes: tuple[int, ...]

    def value(self, weights_mu: Float) -> float:
        """Value of the sum."""
        return sum(term.value(own) for term, own in zip(self.terms, self._split(weights_mu), strict=True))

    def derivative(self, weights_mu: Float) -> Float:
        """Derivative by the weights, per MU."""
        return np.concatenate(
            [term.derivative(own) for term, own in zip(self.terms, self._split(weights_mu), strict=True)]
        )

    def _split(self, weights_mu: Float) -> list[Float]:
        return np.split(weights_mu, np.cumsum(self.sizes)[:-1])


@dataclass(frozen=True, eq=False)
class PhasePart:
    """One of the phases that are planned together.

    Parameters
    ----------
    number : int
        Of the phase.
    prescriptions : tuple of Prescription
        Of the phase, all with the same number of fractions.
    dose_map : DoseMap
        Of its beams, Gy per fraction.
    smoothness : WeightTerm
        Of its fluence.
    """

    number: int
    prescriptions: tuple[Prescription, ...]
    dose_map: DoseMap
    smoothness: WeightTerm


@dataclass(frozen=True, eq=False)
class Joint:
    """Phases as one problem.

    Parameters
    ----------
    dose_map : JointDose
        Of the problem.
    problem : Problem
        On the rows of sum and phases; its fractions are 1, as the map gives the dose of the course.
    goals : Goals
        What it is made of.
    smoothness : tuple of WeightTerm
        Of each phase.
    drawn : mapping of str to str
        Structure that each set of the problem stands for.
    """

    dose_map: JointDose
    problem: Problem
    goals: Goals
    smoothness: tuple[WeightTerm, ...]
    drawn: Mapping[str, str]

    def alone(self, n: int, doses_gy: Sequence[Float]) -> Problem:
        """One phase's part of the problem while the others stay as they are.

        Parameters
        ----------
        n : int
            Which phase, the first is 0.
        doses_gy : sequence of (voxels,) float
            Physical dose of every phase in the voxels, Gy per course; that of phase `n` does not matter.

        Returns
        -------
        Problem
            On the voxels and weights of the phase. For the doses that the weights of the others give, its value is that
            of the whole problem but for a constant, and each limit holds where it holds in the whole problem.
        """
        sets: dict[str, VoxelSet] = {}

        def own(term: Wish | Limit) -> tuple[str, Objective, Quantity] | None:
            voxels = self.problem.sets[term.structure]
            block, rows = np.divmod(voxels.rows, self.dose_map.rows)
            objective, quantity = term.objective, term.quantity
            if isinstance(objective, OverPhases):
                count = len(rows) // len(self.dose_map.parts)
                rows = rows[:count]
                others_gy = _sum_of_others(
                    [q.of(dose[rows]) for q, dose in zip(objective.quantities, doses_gy, strict=True)], n
                )
                if objective.before_gy is not None:
                    others_gy = others_gy + objective.before_gy
                quantity, objective = Added(objective.quantities[n], others_gy), objective.objective
            elif block[0] == 0:
                # A constant changes nothing in a mean that is to be low.
                if not (isinstance(objective, MeanDose) and isinstance(quantity, Physical)):
                    quantity = Added(quantity, _sum_of_others([dose[rows] for dose in doses_gy], n))
            elif block[0] != 1 + n:
                return None
            name = self.drawn[term.structure]
            sets[name] = VoxelSet(name, rows, voxels.volume[: len(rows)])
            return name, objective, quantity

        wishes = [
            replace(wish, structure=made[0], objective=made[1], quantity=made[2])
            for wish in self.problem.wishes
            if (made := own(wish)) is not None
        ]
        limits = [
            replace(limit, structure=made[0], objective=made[1], quantity=made[2])
            for limit in self.problem.limits
            if (made := own(limit)) is not None
        ]
        return Problem(
            self.dose_map.parts[n],
            self.dose_map.fractions[n],
            sets,
            tuple(wishes),
            tuple(limits),
            self.smoothness[n],
        )


def _sum_of_others(values: Sequence[Float], n: int) -> Float:
    total: Float = np.sum([value for m, value in enumerate(values) if m != n] or [np.zeros_like(values[n])], axis=0)
    return total


def joint_problem(
    parts: Sequence[PhasePart],
    constraints: Sequence[Constraint],
    course: Sequence[Prescription],
    sets: Mapping[str, VoxelSet],
    volumes_cm3: Mapping[str, float],
    distance_mm: Mapping[str, Float],
    earlier: Callable[[Constraint], Sequence[Float]] | None = None,
) -> Joint:
    """Ask for all phases of a course at once.

    Parameters
    ----------
    parts : sequence of PhasePart
        In order.
    constraints : sequence of Constraint
        Of the course. In BED and EQD2 they are on the sum over phases, each with its own number of fractions.
    course : sequence of Prescription
        What each target gets in all phases: what a dose in percent is of.
    sets, volumes_cm3 : mapping
        Voxels of every target and structure with a constraint, and their volumes, cm3.
    distance_mm : mapping of str to (voxels,) float
        Of every voxel from each target.
    earlier : callable or None
        What earlier courses have given each voxel of a constraint's quantity, as for `objectives_from`; None where none
        are known.
    """
    recipe = Recipe()
    dose_map = JointDose(
        tuple(part.dose_map for part in parts), tuple(part.prescriptions[0].fractions for part in parts)
    )
    stacked, drawn = dict(sets), {name: name for name in sets}
    cover: list[Goal] = []
    even: list[Goal] = []
    for n, part in enumerate(parts):
        of_phase = objectives_from(
            part.prescriptions, (), sets, volumes_cm3, distance_mm, replace(recipe, fall_off=0.0)
        )
        for p in part.prescriptions:
            name = f"{p.target}{_BETWEEN}phase {part.number}"
            stacked[name] = VoxelSet(name, sets[p.target].rows + (1 + n) * dose_map.rows, sets[p.target].volume)
            drawn[name] = p.target
        for rank, ranks in zip(of_phase.ranks, (cover, even), strict=True):
            own = [replace(w, structure=f"{w.structure}{_BETWEEN}phase {part.number}") for w in rank.wishes]
            ranks.append(replace(rank, wishes=tuple(own)))

    def summed(term: Term) -> Term:
        own, before_gy = term.quantity, None
        if isinstance(term.quantity, Added):
            own, before_gy = term.quantity.own, term.quantity.earlier_gy
        if not isinstance(own, LinearQuadratic):
            return term
        name, voxels = f"{term.structure}{_BETWEEN}all phases", sets[term.structure]
        every = np.concatenate([voxels.rows + (1 + n) * dose_map.rows for n in range(len(parts))])
        stacked[name] = VoxelSet(name, every, np.tile(voxels.volume, len(parts)))
        drawn[name] = term.structure
        each = tuple(replace(own, fractions=count) for count in dose_map.fractions)
        objective = OverPhases(term.objective, each, before_gy)
        return replace(term, structure=name, objective=objective, quantity=Physical())

    # On the sum there is one number of fractions as good as another: where it counts, each phase has its own.
    of_sum = objectives_from(
        [replace(p, fractions=1) for p in course], constraints, sets, volumes_cm3, distance_mm,
        replace(recipe, coverage=0.0, underdose=0.0, overdose=0.0, fall_off=0.0),
        earlier=earlier, courses_known=earlier is not None,
    )  # fmt: skip
    asked = tuple(summed(limit) for limit in of_sum.asked)
    ranks_of_sum = [[summed(wish) for wish in rank.wishes] for rank in of_sum.ranks]
    goals = [Goal(f"{wish.structure} {wish.label}", (wish,)) for (wish,) in ranks_of_sum[: len(asked)]]
    low = [replace(rank, wishes=tuple(rank.wishes)) for rank in of_sum.ranks[len(asked) :]]
    outside = _outside(parts, sets, distance_mm, recipe)
    for name, (voxels, _) in outside.items():
        stacked[name], drawn[name] = voxels, name
    fall_off = tuple(
        Wish(name, SquaredOverdose(level_gy), recipe.fall_off, label="fall off with the distance")
        for name, (_, level_gy) in outside.items()
    )
    ranks = [_as_one(cover), *goals, _as_one(even)]
    ranks += [Goal("dose falls off", fall_off)] if fall_off else []
    ranks += low
    wishes = tuple(wish for rank in ranks for wish in rank.wishes)
    limits = tuple(summed(limit) for limit in of_sum.limits)
    smoothness = tuple(part.smoothness for part in parts)
    smooth = EachPhase(smoothness, tuple(part.dose_map.shape[1] for part in parts))
    problem = Problem(dose_map, 1, stacked, wishes, limits, smooth)
    return Joint(dose_map, problem, Goals(wishes, limits, stacked, asked, tuple(ranks)), smoothness, drawn)


def _as_one(ranks: Sequence[Goal]) -> Goal:
    """The same goal of several phases."""
    return replace(
        ranks[0],
        wishes=tuple(wish for rank in ranks for wish in rank.wishes),
        aspiration_gy=min(rank.aspiration_gy for rank in ranks),
    )


def _outside(
    parts: Sequence[PhasePart], sets: Mapping[str, VoxelSet], distance_mm: Mapping[str, Float], recipe: Recipe
) -> dict[str, tuple[VoxelSet, Float]]:
    """Voxels that are not in a target of every phase, near all targets and far from them, and their allowed dose."""
    targets = list(dict.fromkeys(p.target for part in parts for p in part.prescriptions))
    allowed = np.sum([allowed_dose_gy(part.prescriptions, distance_mm, recipe) for part in parts], axis=0)
    outside = np.zeros(len(allowed), dtype=bool)
    for part in parts:
        own = np.ones(len(allowed), dtype=bool)
        for p in part.prescriptions:
            own[sets[p.target].rows] = False
        outside |= own
    nearest = np.min([distance_mm[name] for name in targets], axis=0)
    found = {NEAR: np.flatnonzero(outside & (nearest <= NEAR_MM)), FAR: np.flatnonzero(outside & (nearest > NEAR_MM))}
    return {
        name: (VoxelSet(name, rows, np.ones(len(rows))), allowed[rows]) for name, rows in found.items() if len(rows)
    }

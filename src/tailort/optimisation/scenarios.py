"""Plans that hold when the patient lies elsewhere: limits in every scenario, targets in the worst one or on average.

In the static dose cloud a patient who lies off by a shift has, in the patient's point x, the planned dose at x + shift.
So a scenario of a structure is the structure itself moved by the shift: other rows of the same influence matrix, with
partial volumes of their own, and nothing is interpolated or computed twice. What is needed are rows for the voxels of
the moved structures (`moved_volumes`), about those of a margin. In water the cloud is nearly as good as an influence of
the shifted patient; beside lung it misses hot spots (figures: `tailort.evaluation.robustness_doses`). In voxels of
4 mm, by shifts of 5 mm of a virtual oesophageal patient, it is off by up to 1.3 Gy in D95% of a target and 1.6 Gy in
the maximum of the spinal cord for a robust plan, 1.9 and 3.3 Gy for one that is not. So what must hold has to be judged
by the engine, and limits are aimed at with such a gap.

Wishes on targets become one wish over all scenarios, a power mean of the scenarios' values. It is convex where the wish
is, smooth, needs no scale in Gy, and goes from the expected value (exponent 1) to the worst case (infinity), between
which target coverage under error grows and the nominal plan gives way (Fredriksson 2012). A worst case does not know
probabilities: there all scenarios count the same. Limits are constraints in each scenario, not a matter of weights.

References
----------
Fredriksson, Forsgren & Hardemark 2011, Med Phys 38:1672, doi 10.1118/1.3556559 (worst case over scenarios);
Fredriksson 2012, Med Phys 39:5169, doi 10.1118/1.4737113 (from expected value to worst case);
Unkelbach et al. 2018, PMB 63:22TR02, doi 10.1088/1361-6560/aae659 (review).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError, MissingStructureError
from tailort.geometry import EndCap, Grid, PartialVolume, partial_volume
from tailort.optimisation.objectives import Objective, SquaredOverdose, SquaredUnderdose, UniformDose
from tailort.optimisation.problem import Limit, Problem, VoxelSet, Wish

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Aim = Literal["worst", "average"]

# Exponent of the power mean that stands for the worst case; what it makes of a plan is measured in
# `tests/optimisation/test_scenarios.py`.
WORST = 8.0
EVERY = "every scenario"
_BETWEEN = " | "


@dataclass(frozen=True, eq=False)
class ScenarioSets:
    """Voxels of structures in one scenario.

    Parameters
    ----------
    name : str
        Such as "nominal", "5 mm left".
    sets : mapping of str to VoxelSet
        By structure; rows of the problem's dose map where the structure's dose in this scenario is.
    weight : float or None
        Probability; only averages need it.
    """

    name: str
    sets: Mapping[str, VoxelSet]
    weight: float | None = None


@dataclass(frozen=True, eq=False)
class Part:
    """An objective in one scenario.

    Parameters
    ----------
    objective : Objective
        What is wanted.
    places : (n,) int
        Its voxels among those of the set of all scenarios.
    volume : (n,) float
        Shares of the structure's volume, with the sum 1.
    weight : float
        In the mean.
    """

    objective: Objective
    places: Int
    volume: Float
    weight: float


@dataclass(frozen=True, eq=False)
class OverScenarios:
    """Power mean of an objective over scenarios: (sum w f^p)^(1/p), f the value in a scenario, Gy2.

    Convex where the objective's value in Gy2 is. p = 1 is the expected value, and with p it grows towards the largest
    value, of which it is never less than the share (least weight)^(1/p).

    Parameters
    ----------
    parts : tuple of Part
        One for each scenario; weights with the sum 1.
    exponent : float
        p, at least 1.
    """

    parts: tuple[Part, ...]
    exponent: float
    power: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not 1.0 <= self.exponent < np.inf:
            raise InputError(f"a mean over scenarios needs an exponent of 1 or more, finite; found {self.exponent:g}")
        weights = [part.weight for part in self.parts]
        if not weights or min(weights) < 0 or abs(sum(weights) - 1.0) > 1e-6:
            raise InputError(f"the weights of scenarios must not be below 0 and have the sum 1; found {weights}")

    def by_scenario(self, dose_gy: Float) -> Float:
        """Value in each scenario, Gy2: the square of values that are in Gy."""
        values = [one.objective.value(dose_gy[one.places], one.volume) for one in self.parts]
        roots = [2.0 / one.objective.power for one in self.parts]
        return np.array([value**root for value, root in zip(values, roots, strict=True)])

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy2, for doses of the voxels of all scenarios; `volume` is not used, each scenario has its own."""
        return self._mean(self.by_scenario(dose_gy))

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        by_dose = np.zeros_like(dose_gy)
        found = self.by_scenario(dose_gy)
        mean = self._mean(found)
        if mean <= 0.0:
            return by_dose
        # At most 1 / weight, so that no power of it overflows.
        slopes = self._weights * (found / mean) ** (self.exponent - 1.0)
        for one, slope, squared in zip(self.parts, slopes, found, strict=True):
            # A value of 0 is the least there is, so it has no slope.
            if slope > 0.0 and squared > 0.0:
                power = one.objective.power
                chain = 2.0 / power * float(squared) ** (1.0 - 0.5 * power)
                by_dose[one.places] += slope * chain * one.objective.derivative(dose_gy[one.places], one.volume)
        return by_dose

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """How far the dose is beyond the wish, Gy, scenario after scenario."""
        return np.concatenate(
            [np.atleast_1d(one.objective.excess_gy(dose_gy[one.places], one.volume)) for one in self.parts]
        )

    def tightened(self, by_gy: float | Float) -> OverScenarios:
        """Return the same wish with its level made stricter in every scenario."""
        if np.ndim(by_gy) == 0:
            shifts: list[Any] = [by_gy] * len(self.parts)
        else:
            sizes = [np.size(one.objective.excess_gy(np.zeros(len(one.places)), one.volume)) for one in self.parts]
            shifts = np.split(np.asarray(by_gy, dtype=np.float64), np.cumsum(sizes)[:-1])
        parts = [
            replace(one, objective=one.objective.tightened(shift))
            for one, shift in zip(self.parts, shifts, strict=True)
        ]
        return replace(self, parts=tuple(parts))

    def _mean(self, found: Float) -> float:
        most = float(found.max())
        if most <= 0.0:
            return 0.0
        return most * float((self._weights @ (found / most) ** self.exponent) ** (1.0 / self.exponent))

    @property
    def _weights(self) -> Float:
        return np.array([part.weight for part in self.parts])


def moved_volumes(
    contours: Sequence[Float],
    grid: Grid,
    shifts_mm: Mapping[str, Sequence[float]],
    *,
    end_cap: EndCap = "half_slice",
    single_slice_thickness_mm: float | None = None,
) -> dict[str, PartialVolume]:
    """Part of every voxel that a structure fills, for each shift of the patient in the static dose cloud.

    Parameters
    ----------
    contours : sequence of (n, 3) float
        As planned, LPS mm.
    grid : Grid
        Dose grid, axial.
    shifts_mm : mapping of str to (3,) float
        Of the patient, LPS mm, by scenario.
    end_cap, single_slice_thickness_mm
        As for `tailort.geometry.partial_volume`.

    Returns
    -------
    dict of PartialVolume
        By scenario. What a shift moves out of the dose grid is left off.
    """
    return {
        name: partial_volume(
            [contour + np.asarray(shift, dtype=np.float64) for contour in contours],
            grid,
            end_cap,
            single_slice_thickness_mm,
        )
        for name, shift in shifts_mm.items()
    }


def united(name: str, sets: Sequence[VoxelSet]) -> VoxelSet:
    """Voxels that a structure has in any scenario, each with the largest volume that it has there in one.

    For a target this is the set to give to `objectives_from` and `distances_mm`, so that the dose may be high wherever
    the target may be.
    """
    if not sets:
        raise InputError(f"structure '{name}' has no scenario")
    rows = np.unique(np.concatenate([one.rows for one in sets]))
    volume = np.zeros(len(rows))
    for one in sets:
        at = np.searchsorted(rows, one.rows)
        volume[at] = np.maximum(volume[at], one.volume)
    return VoxelSet(name, rows, volume)


def robust(
    problem: Problem,
    scenarios: Sequence[ScenarioSets],
    *,
    targets: Collection[str],
    limited: Collection[str],
    aim: Aim,
    exponent: float = WORST,
    painted_gy: Mapping[str, Mapping[str, Float]] | None = None,
) -> Problem:
    """Ask for a plan that serves its targets, and keeps its limits, in every scenario.

    Parameters
    ----------
    problem : Problem
        The wishes and limits of the nominal plan. The set of each of the targets must be `united`, so that levels given
        voxel by voxel are known in every scenario.
    scenarios : sequence of ScenarioSets
        The nominal one among them. Each with all of `targets` and `limited`.
    targets : collection of str
        Structures (CTV or GTV, not a PTV, which is a margin already) whose wishes are made robust. Other wishes stay
        those of the nominal position.
    limited : collection of str
        Structures whose limits must hold in every scenario. A limit on each voxel is one limit on all voxels where the
        structure may be; others are one limit for each scenario, named by `named`.
    aim : {"worst", "average"}
        The worst case over the scenarios, as far as `exponent` goes, or the expected value by their weights.
    exponent : float
        Of the power mean that stands for the worst case.
    painted_gy : mapping of str to mapping of str to (rows,) float or None
        Of each target whose dose is painted, by scenario, what every row of the dose map is to get: the painting moves
        with the patient.

    Raises
    ------
    MissingStructureError
        When a scenario lacks one of the structures.
    InputError
        When nothing is to be robust, weights are missing for an average, a set is not `united`, or a limit or quantity
        is given voxel by voxel, which cannot be moved.
    """
    if not targets and not limited:
        raise InputError("name at least one target or limited structure that has to be robust")
    if not scenarios:
        raise InputError("a robust plan needs at least one scenario")
    for one in scenarios:
        for name in [*targets, *limited]:
            if name not in one.sets:
                have = ", ".join(one.sets) or "none"
                raise MissingStructureError(
                    f"scenario '{one.name}' has no voxels of '{name}'; it has those of: {have}. Does the shift move it "
                    "out of the dose grid?"
                )
    weights = _weights(scenarios, aim)
    power = 1.0 if aim == "average" else exponent
    sets = dict(problem.sets)
    wishes = tuple(
        replace(wish, objective=_over(wish, problem.sets[wish.structure], scenarios, weights, power, painted_gy or {}))
        if wish.structure in targets
        else wish
        for wish in problem.wishes
    )
    limits: list[Limit] = []
    for limit in problem.limits:
        if limit.structure in limited:
            limits += _limits(limit, scenarios, sets)
        else:
            limits.append(limit)
    return replace(problem, sets=sets, wishes=wishes, limits=tuple(limits))


def named(structure: str, scenario: str = EVERY) -> str:
    """Name of a structure's voxels in a scenario, in the sets and limits of a robust problem."""
    return f"{structure}{_BETWEEN}{scenario}"


def structure_of(name: str) -> str:
    """Structure that a name made by `named` belongs to; other names stay as they are."""
    return name.rpartition(_BETWEEN)[0] or name


def _weights(scenarios: Sequence[ScenarioSets], aim: Aim) -> Float:
    if aim == "worst":
        return np.full(len(scenarios), 1.0 / len(scenarios))
    if aim != "average":
        raise InputError(f"unknown aim '{aim}'; a robust plan aims at the worst case or the average: worst, average")
    weights = [one.weight for one in scenarios if one.weight is not None]
    if len(weights) != len(scenarios):
        raise InputError("an average over scenarios needs a weight for each of them; give set-up errors, or aim: worst")
    return np.array(weights)


def _over(
    wish: Wish, whole: VoxelSet, scenarios: Sequence[ScenarioSets], weights: Float, exponent: float,
    painted_gy: Mapping[str, Mapping[str, Float]],
) -> OverScenarios:  # fmt: skip
    """The wish's objective over the scenarios, on the voxels of all of them."""
    painted = painted_gy.get(wish.structure, {}) if isinstance(wish.objective, UniformDose) else {}
    _refuse_arrays(wish)
    order = np.argsort(whole.rows)
    parts = []
    for one, weight in zip(scenarios, weights, strict=True):
        own = one.sets[wish.structure]
        at = np.searchsorted(whole.rows, own.rows, sorter=order)
        places = order[np.minimum(at, len(order) - 1)]
        if not np.array_equal(whole.rows[places], own.rows):
            raise InputError(
                f"the voxels of '{wish.structure}' in scenario '{one.name}' are not all among those it has in the "
                "problem; give the problem the united voxels of all scenarios"
            )
        if one.name in painted:
            objective: Objective = UniformDose(painted[one.name][own.rows])
        else:
            objective = _at(wish.objective, places, len(whole.rows))
        parts.append(Part(objective, places, own.volume, float(weight)))
    return OverScenarios(tuple(parts), exponent)


def _limits(limit: Limit, scenarios: Sequence[ScenarioSets], sets: dict[str, VoxelSet]) -> list[Limit]:
    """The limit in every scenario; adds the sets that it needs."""
    _refuse_arrays(limit)
    if _array_fields(limit.objective):
        raise InputError(
            f"the limit {limit.label or 'without a label'} on '{limit.structure}' is given voxel by voxel, so it "
            "cannot be moved with the patient; give it one level"
        )
    if isinstance(limit.objective, SquaredOverdose | SquaredUnderdose):
        name = named(limit.structure)
        sets[name] = united(name, [one.sets[limit.structure] for one in scenarios])
        return [replace(limit, structure=name, label=f"{limit.label} in {EVERY}".strip())]
    found = []
    for one in scenarios:
        name = named(limit.structure, one.name)
        own = one.sets[limit.structure]
        sets[name] = VoxelSet(name, own.rows, own.volume)
        found.append(replace(limit, structure=name, label=f"{limit.label}, {one.name}"))
    return found


def _array_fields(record: object) -> list[str]:
    """Names of the fields that hold a number for each voxel."""
    if not is_dataclass(record):
        return []
    return [f.name for f in fields(record) if np.size(getattr(record, f.name)) > 1]


def _refuse_arrays(asked: Wish | Limit) -> None:
    if _array_fields(asked.quantity):
        raise InputError(
            f"the dose of '{asked.structure}' counts with one that is known voxel by voxel, which cannot be moved with "
            "the patient"
        )


def _at(objective: Objective, places: Int, count: int) -> Objective:
    """Return the objective with what it knows voxel by voxel taken at places."""
    taken: dict[str, Float] = {}
    for name in _array_fields(objective):
        known = np.asarray(getattr(objective, name))
        if known.shape != (count,):
            raise InputError(
                f"a wish has {name} of shape {known.shape} for {count} voxels; expected one for each voxel"
            )
        taken[name] = known[places]
    changed: Any = objective
    return replace(changed, **taken) if taken else objective

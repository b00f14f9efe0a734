"""From a protocol's prescriptions and limits to the wishes and limits of an optimisation, with no weights to tune.

The wishes on targets, organs and the tissue between them are all mean squares of Gy over a structure, so that their
weights compare; the numbers in `Recipe` were found on virtual patients and hold for one and for several dose levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import InputError, MissingStructureError
from tailort.geometry import Grid
from tailort.optimisation.objectives import (
    Added,
    ComplicationAbove,
    LinearQuadratic,
    MaxDoseVolume,
    MeanDose,
    MinDoseVolume,
    Objective,
    Physical,
    Quantity,
    SquaredMeanOverdose,
    SquaredOverdose,
    SquaredUnderdose,
    UniformDose,
    outcome_objective,
)
from tailort.optimisation.priorities import Goal
from tailort.optimisation.problem import Limit, VoxelSet, Wish
from tailort.patient import Constraint, Metric, Prescription
from tailort.radiobiology import in_its_quantity, set_of

Float = NDArray[np.float64]
NEAR_MAXIMUM_SHARE = 0.002
NEAR, FAR = "near the targets", "far from the targets"
NEAR_MM = 40.0
EVERY_DRAW = "every draw of the registration"
# Kinds of objectives that `objectives_from` makes of limits which more dose breaks.
CEILINGS = (ComplicationAbove, MaxDoseVolume, SquaredMeanOverdose, SquaredOverdose)


@dataclass(frozen=True)
class Recipe:
    """How strongly each kind of wish pulls, and how far inside the protocol it aims.

    Parameters
    ----------
    coverage, coverage_share : float
        Weight of the wish that `coverage_share` of each target gets the prescription times 1 + `surplus`.
    surplus : float
        Share of the prescription.
    underdose, overdose : float
        Weights of the mean squares below and above a target's levels.
    painted : float
        Weight of the mean square of what each point of a painted target gets more or less than it is to get.
    hottest : float
        Allowed dose inside a target as a multiple of its prescription.
    organ : float
        Weight of each limit of priority "goal".
    organ_margin : float
        How far inside its limit a goal aims, as a share of the limit.
    mean : float
        Weight of the mean dose of every organ that has a limit, Gy2 per Gy: as low as reasonably achievable.
    fall_off : float
        Weight of the mean square above the dose that is allowed at a distance from the targets.
    fall_off_half_mm, fall_off_floor : float
        That dose falls from the prescription towards `fall_off_floor` of it, by half in each `fall_off_half_mm`.
    gap : float
        How far inside a hard limit the solver aims, as a share of the limit.
    cover_slack, painted_slack, even_slack : float
        Root mean squares that are good enough where goals are served in order, as shares of the lowest prescription. A
        painting that must be met closer than its image is known costs organs dose, and the plan many MU.
    drop_cm3 : float
        A goal for the hottest drop of a structure counts as if the structure were no larger than this: the mean square
        of a large one hides the drop. 0 takes every structure whole.
    """

    coverage: float = 400.0
    coverage_share: float = 0.975
    surplus: float = 0.01
    underdose: float = 100.0
    overdose: float = 50.0
    painted: float = 400.0
    hottest: float = 1.06
    organ: float = 30.0
    organ_margin: float = 0.03
    mean: float = 0.5
    fall_off: float = 20.0
    fall_off_half_mm: float = 12.0
    fall_off_floor: float = 0.25
    gap: float = 0.02
    cover_slack: float = 0.005
    painted_slack: float = 0.015
    even_slack: float = 0.02
    drop_cm3: float = 0.0

    def __post_init__(self) -> None:
        wrong = [f"{name} {value:g}" for name, value in vars(self).items() if not 0.0 <= value < np.inf]
        if wrong:
            raise InputError(f"a recipe has numbers not below 0, and finite ones; found {', '.join(wrong)}")


@dataclass(frozen=True)
class Goals:
    """What a protocol asks, for a `Problem`.

    Parameters
    ----------
    wishes, limits, sets
        As of the problem.
    asked : tuple of Limit
        Every limit of priority "goal" as it is printed: the wishes aim inside them.
    ranks : tuple of Goal
        The wishes in the order in which they count: the targets' coverage, each limit of priority "goal" as the
        protocol lists them, an even dose in the targets, its fall-off, and as little as reasonable for organs.
    """

    wishes: tuple[Wish, ...]
    limits: tuple[Limit, ...]
    sets: Mapping[str, VoxelSet]
    asked: tuple[Limit, ...] = ()
    ranks: tuple[Goal, ...] = ()

    @property
    def ceilings(self) -> tuple[Limit, ...]:
        """Those of `asked` that more dose breaks; the others are what targets must reach."""
        return tuple(limit for limit in self.asked if isinstance(limit.objective, CEILINGS))


def distances_mm(grid: Grid, rows: NDArray[np.uint32], voxels: VoxelSet) -> Float:
    """Distance of every row's voxel from a structure, mm; 0 inside (at least half of the voxel).

    Parameters
    ----------
    grid : Grid
        Of the dose.
    rows : (rows,) uint32
        Flat index of each row's voxel in the grid.
    voxels : VoxelSet
        The structure.

    Returns
    -------
    (rows,) float
        Between voxel centres, less half a voxel.
    """
    inside = np.zeros(grid.size, dtype=bool)
    half = 0.5 * float(voxels.volume.max())
    inside[rows[voxels.rows[voxels.volume >= half]]] = True
    # Only the box of the rows matters.
    index = np.stack(np.unravel_index(rows, grid.shape), axis=-1)
    low, high = index.min(axis=0), index.max(axis=0) + 1
    box = inside.reshape(grid.shape)[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    away = ndimage.distance_transform_edt(~box, sampling=grid.spacing_mm)
    distance: Float = np.maximum(away[tuple((index - low).T)] - 0.5 * min(grid.spacing_mm), 0.0)
    return distance


def allowed_dose_gy(
    prescriptions: Sequence[Prescription],
    distance_mm: Mapping[str, Float],
    recipe: Recipe | None = None,
    painted_gy: Mapping[str, Float] | None = None,
) -> Float:
    """Dose that each row may have for the sake of the targets, Gy per course.

    Inside a target a little more than its prescription; outside, falling with the distance. Where several targets
    are near, the highest counts: a boost inside a lower level is followed by its own fall-off. A painted target has the
    dose of each row, or of the nearest point of it, for its prescription.
    """
    recipe, painted = recipe or Recipe(), painted_gy or {}
    allowed = None
    for prescription in prescriptions:
        distance = distance_mm[prescription.target]
        fall = recipe.fall_off_floor + (1 - recipe.fall_off_floor) * 0.5 ** (distance / recipe.fall_off_half_mm)
        prescribed = painted.get(prescription.target, prescription.dose_gy)
        level = np.asarray(prescribed * np.where(distance > 0, fall, recipe.hottest), dtype=np.float64)
        allowed = level if allowed is None else np.maximum(allowed, level)
    if allowed is None:
        raise InputError("a plan needs at least one prescription")
    return allowed


def objectives_from(
    prescriptions: Sequence[Prescription],
    constraints: Sequence[Constraint],
    sets: Mapping[str, VoxelSet],
    volumes_cm3: Mapping[str, float],
    distance_mm: Mapping[str, Float],
    recipe: Recipe | None = None,
    earlier: Callable[[Constraint], Sequence[Float]] | None = None,
    courses_known: bool = False,
    painted_gy: Mapping[str, Float] | None = None,
) -> Goals:
    """Wishes and limits that a protocol's prescriptions and constraints stand for.

    Parameters
    ----------
    prescriptions : sequence of Prescription
        Of one phase, all with the same number of fractions; one, or several levels in the same fractions.
    constraints : sequence of Constraint
        Of this course. Priority "hard" becomes a limit, "goal" a wish, "report" nothing.
    sets : mapping of str to VoxelSet
        Voxels of every target and of every structure with a constraint.
    volumes_cm3 : mapping of str to float
        Volume of each structure, for limits in cc.
    distance_mm : mapping of str to (rows,) float
        Distance of every row from each target, 0 inside (`distances_mm`).
    recipe : Recipe or None
        Strengths; None is the usual recipe.
    earlier : callable or None
        What every row has had already of the quantity of a constraint, Gy (rows,), nothing where none has had any:
        constraints are on the sum. Where it may have been in several ways, the first is the likeliest: limits hold in
        all of them (on each voxel by the most that it can have had), wishes look at the first.
    courses_known : bool
        Whether `earlier` knows the doses of earlier courses. Otherwise nothing is asked for a constraint on all
        courses together: who judges the plan finds that it is unknown.
    painted_gy : mapping of str to (rows,) float or None
        Of each target whose dose is painted, what every row is to get, Gy per course (`Painted.at`).

    Raises
    ------
    MissingStructureError
        When a target or an organ with a constraint has no voxels.
    InputError
        For unequal fractions, and limits that are not finite.
    """
    recipe = recipe or Recipe()
    counts = sorted({prescription.fractions for prescription in prescriptions})
    if len(counts) != 1:
        raise InputError(
            f"one optimisation needs prescriptions of one and the same number of fractions; found {counts}"
        )
    for name in [p.target for p in prescriptions] + [c.structure for c in constraints if c.priority != "report"]:
        if name not in sets:
            raise MissingStructureError(
                f"'{name}' is prescribed a dose or a limit and has no voxels in the dose matrix, which has: "
                f"{', '.join(sets)}"
            )
    painted = painted_gy or {}
    allowed = allowed_dose_gy(prescriptions, distance_mm, recipe, painted)
    targets = {p.target for p in prescriptions}
    least_gy = min(p.dose_gy for p in prescriptions)
    plain = [p for p in prescriptions if p.target not in painted]
    cover = [wish for p in plain for wish in _cover(p, recipe)]
    cover += [_paint(p.target, painted[p.target][sets[p.target].rows], recipe) for p in prescriptions if p not in plain]
    even = [wish for p in plain for wish in _even(p, sets[p.target], allowed, recipe)]
    outside = _outside(prescriptions, sets, allowed, distance_mm)
    fall_off = [
        Wish(name, SquaredOverdose(allowed[voxels.rows]), recipe.fall_off, label="fall off with the distance")
        for name, voxels in outside.items()
    ]
    limits, asked, goals = [], [], []
    for constraint in map(in_its_quantity, constraints):
        if constraint.priority == "report" or (constraint.scope == "cumulative" and not courses_known):
            continue
        objective = _objective(constraint, prescriptions, volumes_cm3)
        if objective is None:
            continue
        quantity = _quantity(constraint, counts[0])
        before = tuple(earlier(constraint)) if earlier is not None else ()
        label = f"{constraint.metric} {constraint.operator} {constraint.limit:g}"
        if constraint.priority == "hard":
            limits += _limits(constraint, objective, recipe.gap, quantity, before, sets, label)
        else:
            if before:
                quantity = Added(quantity, before[0][sets[constraint.structure].rows])
            aim = _stricter(objective, recipe.organ_margin)
            asked.append(Limit(constraint.structure, objective, 0.0, quantity, label))
            weight = recipe.organ * _dilution(aim, volumes_cm3.get(constraint.structure), recipe)
            goals.append(Wish(constraint.structure, aim, weight, quantity, label))
    organs = {c.structure: None for c in constraints if c.structure in sets and c.structure not in targets}
    low = [Wish(name, MeanDose(), recipe.mean, label="as low as reasonable") for name in organs]
    ranked: list[tuple[str, Sequence[Wish], float]] = [
        ("targets covered", cover, (recipe.painted_slack if painted else recipe.cover_slack) * least_gy),
        *((f"{wish.structure} {wish.label}", (wish,), 0.0) for wish in goals),
        ("even dose in targets", even, recipe.even_slack * least_gy),
        ("dose falls off", fall_off, 0.0),
        ("organs as low as reasonable", low, 0.0),
    ]
    # A recipe may leave a kind of wish out, and a dose matrix of the targets alone has nothing for dose to fall off in.
    ranks = [Goal(name, tuple(own), enough) for name, own, enough in ranked if any(wish.weight > 0 for wish in own)]
    return Goals(
        (*cover, *even, *fall_off, *goals, *low), tuple(limits), {**sets, **outside}, tuple(asked), tuple(ranks)
    )


def _limits(
    constraint: Constraint, objective: Objective, gap: float, own: Quantity, before: tuple[Float, ...],
    sets: Mapping[str, VoxelSet], label: str,
) -> list[Limit]:  # fmt: skip
    """A limit beside what was before, in every way in which that may have been."""
    name = constraint.structure
    gap_gy = gap * _level_gy(objective)
    if not before:
        return [Limit(name, objective, gap_gy, own, label)]
    rows = sets[name].rows
    if len(before) > 1 and isinstance(objective, SquaredOverdose):
        most_gy = np.max([gy[rows] for gy in before], axis=0)
        return [Limit(name, objective, gap_gy, Added(own, most_gy), f"{label} in {EVERY_DRAW}")]
    return [
        Limit(name, objective, gap_gy, Added(own, gy[rows]), label if n == 0 else f"{label} in draw {n}")
        for n, gy in enumerate(before)
    ]


def _dilution(objective: Objective, volume_cm3: float | None, recipe: Recipe) -> float:
    """How much a mean square over a whole structure hides of its hottest drop."""
    if recipe.drop_cm3 == 0.0 or volume_cm3 is None or not isinstance(objective, SquaredOverdose):
        return 1.0
    return max(1.0, volume_cm3 / recipe.drop_cm3)


def _cover(prescription: Prescription, recipe: Recipe) -> list[Wish]:
    name, dose = prescription.target, prescription.dose_gy
    enough = dose * (1.0 + recipe.surplus)
    return [Wish(name, MinDoseVolume(enough, recipe.coverage_share), recipe.coverage, label=f"cover {dose:g} Gy")]


def _paint(target: str, level_gy: Float, recipe: Recipe) -> Wish:
    told = f"paint {level_gy.min():.4g} to {level_gy.max():.4g} Gy"
    return Wish(target, UniformDose(level_gy), recipe.painted, label=told)


def _even(prescription: Prescription, voxels: VoxelSet, allowed: Float, recipe: Recipe) -> list[Wish]:
    name, dose = prescription.target, prescription.dose_gy
    level = np.maximum(allowed[voxels.rows], recipe.hottest * dose)
    enough = dose * (1.0 + recipe.surplus)
    return [
        Wish(name, SquaredUnderdose(enough), recipe.underdose, label=f"reach {dose:g} Gy"),
        Wish(name, SquaredOverdose(level), recipe.overdose, label=f"no more than {dose:g} Gy"),
    ]


def _outside(
    prescriptions: Sequence[Prescription],
    sets: Mapping[str, VoxelSet],
    allowed: Float,
    distance_mm: Mapping[str, Float],
) -> dict[str, VoxelSet]:
    """Rows of no target, near the targets and far from them: each is one set, so that far tissue does not dilute."""
    outside = np.ones(len(allowed), dtype=bool)
    nearest = np.full(len(allowed), np.inf)
    for prescription in prescriptions:
        outside[sets[prescription.target].rows] = False
        nearest = np.minimum(nearest, distance_mm[prescription.target])
    found = {NEAR: outside & (nearest <= NEAR_MM), FAR: outside & (nearest > NEAR_MM)}
    return {
        name: VoxelSet(name, np.flatnonzero(rows), np.ones(int(rows.sum())))
        for name, rows in found.items()
        if rows.any()
    }


def _quantity(constraint: Constraint, fractions: int) -> Quantity:
    if constraint.quantity == "physical" or constraint.alpha_beta_gy is None:
        return Physical()
    return LinearQuadratic(constraint.quantity, constraint.alpha_beta_gy, fractions)


def _objective(
    constraint: Constraint, prescriptions: Sequence[Prescription], volumes_cm3: Mapping[str, float]
) -> Objective | None:
    """Objective that holds where the constraint holds; None for a volume, which no dose can change."""
    metric = Metric.parse(constraint.metric)
    own = [p.dose_gy for p in prescriptions if p.target == constraint.structure]
    # A dose in percent is of the structure's own prescription; of an organ, of the highest one.
    percent_gy = (own or [max(p.dose_gy for p in prescriptions)])[0] / 100.0
    at_most = constraint.operator in ("<", "<=")
    limit_gy = constraint.limit * (percent_gy if metric.unit == "%" else 1.0)
    if metric.kind == "Volume":
        return None
    if metric.is_outcome:
        return outcome_objective(set_of(metric, constraint.structure), at_most, constraint.limit)
    if metric.kind == "Mean":
        if not at_most:
            raise InputError(f"a lowest mean dose ('{constraint.structure}') cannot be planned for; prescribe a dose")
        return SquaredMeanOverdose(limit_gy)
    if metric.kind in ("Max", "Min"):
        return SquaredOverdose(limit_gy) if at_most else SquaredUnderdose(limit_gy)
    if metric.kind == "Median":
        return MaxDoseVolume(limit_gy, 0.5) if at_most else MinDoseVolume(limit_gy, 0.5)
    at = metric.at or 0.0
    if metric.kind == "D":
        share = _share(at, metric.at_unit == "cc", constraint, volumes_cm3)
        if at_most:
            # A limit on the hottest drop is kept in every voxel, which is safer than counting drops.
            return SquaredOverdose(limit_gy) if share <= NEAR_MAXIMUM_SHARE else MaxDoseVolume(limit_gy, share)
        return SquaredUnderdose(limit_gy) if share >= 1 - NEAR_MAXIMUM_SHARE else MinDoseVolume(limit_gy, share)
    level = at * (percent_gy if metric.at_unit == "%" else 1.0)
    share = _share(constraint.limit, metric.unit == "cc", constraint, volumes_cm3)
    if metric.kind == "CV":
        # At least this volume below the dose is at most the rest above it.
        return MinDoseVolume(level, 1.0 - share) if at_most else MaxDoseVolume(level, 1.0 - share)
    return MaxDoseVolume(level, share) if at_most else MinDoseVolume(level, share)


def _share(number: float, in_cc: bool, constraint: Constraint, volumes_cm3: Mapping[str, float]) -> float:
    """Share of the structure's volume of a number in cc or percent."""
    if not in_cc:
        return min(number / 100.0, 1.0)
    if constraint.structure not in volumes_cm3:
        raise InputError(f"the limit {constraint.metric} on '{constraint.structure}' needs its volume in cm3")
    return min(number / volumes_cm3[constraint.structure], 1.0)


def _stricter(objective: Objective, margin: float) -> Objective:
    """The objective with its level, and the volume it allows, inside the limit by a share of each."""
    if isinstance(objective, MaxDoseVolume):
        return MaxDoseVolume(objective.level_gy * (1.0 - 0.5 * margin), objective.share * (1.0 - margin))
    return objective.tightened(margin * _level_gy(objective))


def _level_gy(objective: Objective) -> float:
    return float(np.min(getattr(objective, "level_gy", 0.0)))

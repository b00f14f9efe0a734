"""Goals that can be traded: a dose metric of a structure as a convex measure in Gy, of which less is better.

Trade-offs can be bounded, and plans mixed, only where the measures are convex in the dose. A mean dose and a gEUD are.
A dose at a volume is not; the mean dose of the hottest, or of the coldest, share of the structure stands in for it, on
the safe side: what it keeps, the dose at the volume keeps. For Max and Min it is the mean of the last 0.2 %, from which
a single voxel may differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError, MissingStructureError
from tailort.optimisation.goals import NEAR_MAXIMUM_SHARE
from tailort.optimisation.objectives import (
    Added,
    MeanDose,
    Objective,
    Physical,
    Quantity,
    SquaredEUDOverdose,
    SquaredEUDUnderdose,
    SquaredTailUnderdose,
    TailMean,
)
from tailort.optimisation.objectives.dose_volume import dose_at
from tailort.optimisation.problem import VoxelSet
from tailort.patient import Metric, Prescription
from tailort.radiobiology.equivalent_uniform_dose import geud

Float = NDArray[np.float64]

SOFT_GY = 0.05
_GEUD = re.compile(r"^gEUD\(a=(?P<a>-?\d+(?:\.\d+)?)\)\[Gy\]$")


@dataclass(frozen=True, eq=False)
class Root:
    """Another objective in Gy: the root of its value in Gy2, sqrt(v + s^2) - s. Convex where the root of v is.

    Parameters
    ----------
    objective : Objective
        The square of a convex measure.
    soft_gy : float
        s: over which the corner at 0 is rounded, Gy; the measure is too small by at most this.
    """

    objective: Objective
    soft_gy: float = 0.0
    power: ClassVar[int] = 1

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy, for doses and shares of the volume (sum 1), both (voxels,)."""
        return float(np.sqrt(self.objective.value(dose_gy, volume) + self.soft_gy**2) - self.soft_gy)

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel."""
        root = self.value(dose_gy, volume) + self.soft_gy
        if root == 0.0:
            return np.zeros_like(dose_gy)
        return self.objective.derivative(dose_gy, volume) / (2.0 * root)

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """Return the value, Gy, as one number."""
        return np.array([self.value(dose_gy, volume)])

    def tightened(self, by_gy: float | Float) -> Root:
        """Return itself: there is no level to make stricter."""
        return self


@dataclass(frozen=True, eq=False)
class TradeGoal:
    """One of the goals that are traded against each other.

    Parameters
    ----------
    structure : str
        Name of its voxel set.
    metric : str
        What a person asked for: "Mean[Gy]", "D95%[Gy]", "gEUD(a=8)[Gy]".
    objective : Objective
        The convex measure, of power 1: Gy, not below 0, less is better.
    level_gy : float or None
        Where more is better: the dose that is enough; the measure is what lacks to it.
    share : float or None
        Of the volume, that the metric is the dose at; None of a mean and a gEUD.
    a : float or None
        Of a gEUD.
    worst_gy : float or None
        How bad the metric may become for the sake of the others, Gy; None is as bad as they want.
    quantity : Quantity
        Of the dose that the measure sees.
    """

    structure: str
    metric: str
    objective: Objective
    level_gy: float | None = None
    share: float | None = None
    a: float | None = None
    worst_gy: float | None = None
    quantity: Quantity = field(default_factory=Physical)

    def __post_init__(self) -> None:
        if self.objective.power != 1:
            raise InputError(f"a goal that is traded is measured in Gy; that of '{self.label}' is in Gy2")
        if self.rising and not is_affine(self.quantity):
            raise InputError(
                f"'{self.label}' asks for a high dose in EQD2 or BED, which is not convex in the beamlets' weights; "
                "trade it in physical dose"
            )

    @property
    def label(self) -> str:
        """Structure and metric, as a person writes them."""
        return f"{self.structure}: {self.metric}"

    @property
    def rising(self) -> bool:
        """Whether more is better."""
        return self.level_gy is not None

    @property
    def stand_in(self) -> str:
        """What stands for the metric, in words; the metric itself where it is convex."""
        if self.share is None:
            return self.metric
        if self.rising:
            return f"mean of the coldest {100 * (1.0 - self.share):.3g} %"
        return f"mean of the hottest {100 * self.share:.3g} %"

    @property
    def measure(self) -> str:
        """What is made small, in words."""
        return self.stand_in if self.level_gy is None else f"{self.level_gy:g} Gy less the {self.stand_in}"

    def stand_in_gy(self, measure_gy: float) -> float:
        """Return the dose that stands for the metric, Gy, of a measure; of a rising goal at most `level_gy`."""
        if self.level_gy is None:
            return measure_gy
        return self.level_gy - float(np.sqrt((measure_gy + SOFT_GY) ** 2 - SOFT_GY**2))

    def measure_gy(self, sets: Mapping[str, VoxelSet], dose_gy: Float) -> float:
        """Measure of a physical dose of the rows, Gy."""
        voxels = sets[self.structure]
        return self.objective.value(self.quantity.of(dose_gy[voxels.rows]), voxels.volume)

    def metric_gy(self, sets: Mapping[str, VoxelSet], dose_gy: Float) -> float:
        """Return the metric itself of a physical dose of the rows (whole voxels), Gy."""
        voxels = sets[self.structure]
        seen = self.quantity.of(dose_gy[voxels.rows])
        if self.a is not None:
            return geud(seen, voxels.volume, self.a)
        if self.share is None:
            return float(voxels.volume @ seen)
        kind = Metric.parse(self.metric).kind
        if kind in ("Max", "Min"):
            some = seen[voxels.volume > 0]
            return float(some.max() if kind == "Max" else some.min())
        return dose_at(seen, voxels.volume, self.share)

    def bound_gy(self, asked_gy: float) -> float:
        """Bound of the measure with which the metric is at most (where more is better: at least) what is asked."""
        if not 0.0 <= asked_gy < np.inf:
            raise InputError(f"'{self.label}' cannot be asked to be {asked_gy:g} Gy")
        if self.level_gy is None:
            return asked_gy
        if asked_gy > self.level_gy:
            raise InputError(
                f"'{self.label}' is asked to be at least {asked_gy:g} Gy; more than {self.level_gy:g} Gy was not sought"
            )
        return float(np.hypot(self.level_gy - asked_gy, SOFT_GY) - SOFT_GY)

    def as_dict(self) -> dict[str, Any]:
        """Goal as plain values."""
        return {
            "structure": self.structure,
            "metric": self.metric,
            "better": "more" if self.rising else "less",
            "measure": self.measure,
            "worst_gy": self.worst_gy,
        }


def is_affine(quantity: Quantity) -> bool:
    """Whether a quantity is the physical dose but for a constant."""
    return isinstance(quantity, Physical) or (isinstance(quantity, Added) and is_affine(quantity.own))


def trade_goal(
    structure: str,
    metric: str,
    prescriptions: Sequence[Prescription],
    sets: Mapping[str, VoxelSet],
    volumes_cm3: Mapping[str, float],
    worst_gy: float | None = None,
    quantity: Quantity | None = None,
) -> TradeGoal:
    """Goal of a metric's printed form.

    Of a structure with a prescription, Min, D of at least half of the volume, and gEUD with a below 0 are to rise, up
    to the prescription; all others are to fall.

    Parameters
    ----------
    structure, metric : str
        "Heart", "Mean[Gy]"; also "gEUD(a=8)[Gy]".
    prescriptions : sequence of Prescription
        Of the plan.
    sets : mapping of str to VoxelSet
        Structures that have voxels.
    volumes_cm3 : mapping of str to float
        Volume of each structure, for metrics in cc.
    worst_gy : float or None
        How bad it may become, Gy: at most this, at least this where it is to rise.
    quantity : Quantity or None
        None is the physical dose.

    Raises
    ------
    MissingStructureError
        When the structure has no voxels.
    InputError
        For metrics that cannot be traded: volumes (V, CV, Volume), Median, doses in percent, the mean of a target and
        the minimum of an organ.
    """
    if structure not in sets:
        raise MissingStructureError(
            f"'{structure}' has no voxels in the dose matrix, so that it cannot be traded; there are: {', '.join(sets)}"
        )
    goal = _goal(structure, metric, prescriptions, volumes_cm3, quantity or Physical())
    if worst_gy is not None:
        goal.bound_gy(worst_gy)
    return replace(goal, worst_gy=worst_gy)


def _goal(
    structure: str,
    metric: str,
    prescriptions: Sequence[Prescription],
    volumes_cm3: Mapping[str, float],
    quantity: Quantity,
) -> TradeGoal:
    doses = [p.dose_gy for p in prescriptions if p.target == structure]
    level = max(doses) if doses else None
    text = metric.replace(" ", "")
    equivalent = _GEUD.match(text)
    if equivalent:
        return _geud_goal(structure, text, float(equivalent["a"]), level, quantity)
    asked = Metric.parse(text)
    text = str(asked)
    if not asked.is_dose or asked.kind == "Median":
        instead = "D50%[Gy]" if asked.kind == "Median" else "Mean[Gy] or, for the dose of the volume's border, D20%[Gy]"
        raise InputError(
            f"'{structure}: {text}' cannot be traded: it is not convex in the dose, so that nothing can be said about "
            f"the plans between; ask for {instead}"
        )
    if asked.unit == "%":
        raise InputError(f"'{structure}: {text}' is in percent of a prescription; ask for it in Gy")
    if asked.kind == "Mean":
        if level is not None:
            raise InputError(
                f"'{structure}: {text}' is the mean of a target, which is neither to rise nor to fall; ask for "
                "D95%[Gy] or D2%[Gy]"
            )
        return TradeGoal(structure, text, MeanDose(), quantity=quantity)
    share = {"Max": 0.0, "Min": 1.0}.get(asked.kind)
    if share is None:
        share = _share(structure, text, asked, volumes_cm3)
    if asked.kind == "Min" and level is None:
        raise InputError(
            f"'{structure}: {text}' is the lowest dose of a structure without a prescription; ask for Max[Gy]"
        )
    # A single voxel is not a share of the volume: the hottest drop of it stands in.
    if level is not None and share >= 0.5:
        cold = max(1.0 - share, NEAR_MAXIMUM_SHARE)
        return TradeGoal(
            structure, text, Root(SquaredTailUnderdose(level, cold), SOFT_GY), level, 1.0 - cold, quantity=quantity
        )
    hot = max(share, NEAR_MAXIMUM_SHARE)
    return TradeGoal(structure, text, TailMean(hot), share=hot, quantity=quantity)


def _share(structure: str, text: str, asked: Metric, volumes_cm3: Mapping[str, float]) -> float:
    at = asked.at or 0.0
    if asked.at_unit == "%":
        return at / 100.0
    if structure not in volumes_cm3:
        raise InputError(f"'{structure}: {text}' needs the structure's volume in cm3")
    if at > volumes_cm3[structure]:
        raise InputError(f"'{structure}: {text}' asks for more than the {volumes_cm3[structure]:.1f} cc that there are")
    return at / volumes_cm3[structure]


def _geud_goal(structure: str, text: str, a: float, level: float | None, quantity: Quantity) -> TradeGoal:
    if a >= 1.0:
        return TradeGoal(structure, text, Root(SquaredEUDOverdose(0.0, a)), a=a, quantity=quantity)
    if a < 0.0 and level is not None:
        return TradeGoal(structure, text, Root(SquaredEUDUnderdose(level, a), SOFT_GY), level, a=a, quantity=quantity)
    raise InputError(
        f"'{structure}: {text}' cannot be traded: gEUD is convex for a of 1 and more, and for a below 0 of a target"
    )

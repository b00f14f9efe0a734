"""Named sets of parameters for TCP and NTCP, and where each holds.

A set without a name does not exist here, and one that is not known is refused: a probability without its model, its
parameters and their source says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError
from tailort.patient import Constraint, Metric
from tailort.radiobiology.complication import RelativeSeriality, lkb, logistic_on_mean
from tailort.radiobiology.dose_response import ExcessRelativeRisk, Logistic
from tailort.radiobiology.linear_quadratic import eqd2, eqd2_derivative
from tailort.radiobiology.organ_names import same_name
from tailort.radiobiology.packaged import packaged
from tailort.radiobiology.tumour_control import PoissonControl, logistic_control, probit_control
from tailort.radiobiology.volume_response import OnEquivalentDose, OnMaximum, VolumeResponse

Float = NDArray[np.float64]
Outcome = Literal["NTCP", "TCP", "ERR"]
Range = tuple[float, float]

MODELS: Mapping[str, Callable[..., VolumeResponse]] = {
    "lkb": lkb,
    "logistic-on-mean": logistic_on_mean,
    "logistic-on-maximum": lambda d50_gy, gamma50: OnMaximum(Logistic(d50_gy, gamma50)),
    "relative-seriality": RelativeSeriality,
    "relative-risk-on-mean": lambda per_gy: OnEquivalentDose(ExcessRelativeRisk(per_gy), 1.0),
    "logistic": logistic_control,
    "probit": lambda d50_gy, gamma50, a: probit_control(d50_gy, 1.0 / (gamma50 * math.sqrt(2.0 * math.pi)), a),
    "poisson": PoissonControl,
}
_TARGETS = ("gtv", "ctv", "itv", "ptv")


@dataclass(frozen=True)
class Exposure:
    """What is known of a dose beside its voxels, to tell whether a set holds for it.

    Parameters
    ----------
    prescribed_fraction_gy : tuple of float
        Prescribed physical dose per fraction of each target and phase, Gy; empty is unknown.
    highest_fraction_gy : float
        Highest physical dose of one fraction in the structure, Gy.
    equivalent_gy : float
        What the model makes of the structure's dose (`VolumeResponse.equivalent_gy`), Gy of the set's quantity.
    several_courses : bool
        Whether the dose is that of several courses together.
    after_oesophagectomy : bool or None
        Whether the oesophagus was removed; None is unknown.
    """

    prescribed_fraction_gy: tuple[float, ...]
    highest_fraction_gy: float
    equivalent_gy: float
    several_courses: bool = False
    after_oesophagectomy: bool | None = None


@dataclass(frozen=True)
class OutcomeSet:
    """One named set of parameters.

    Parameters
    ----------
    id, version, title, endpoint : str
        What it is.
    outcome : {"NTCP", "TCP", "ERR"}
        Chance of a complication, of control, or excess relative risk.
    organs : tuple of str
        TG-263 names of the structures it is for; empty means targets.
    model : str
        One of `MODELS`.
    parameters : mapping of str to float
        Of the model.
    quantity : {"EQD2", "physical"}
        What the doses are that the model sees.
    alpha_beta_gy : float or None
        Of EQD2, Gy.
    alpha_beta_mark, mark : str
        How sure alpha/beta and the other parameters are.
    dose_mark : str
        How sure it is that the doses are of this quantity; empty where the source settles it.
    source, doi : str
        Where they are from.
    rules : tuple of str
        Rule ids.
    fraction_gy, equivalent_gy : (float, float) or None
        Prescribed doses per fraction, and doses as the model sees them, that it was fitted to, Gy; None is unknown.
    not_after_oesophagectomy : bool
        Whether patients without their oesophagus are outside.
    note : str
        What else there is to know.
    """

    id: str
    version: str
    title: str
    endpoint: str
    outcome: Outcome
    organs: tuple[str, ...]
    model: str
    parameters: Mapping[str, float]
    quantity: Literal["EQD2", "physical"]
    source: str
    mark: str
    rules: tuple[str, ...]
    alpha_beta_gy: float | None = None
    alpha_beta_mark: str = ""
    dose_mark: str = ""
    doi: str = ""
    fraction_gy: Range | None = None
    equivalent_gy: Range | None = None
    not_after_oesophagectomy: bool = False
    note: str = ""
    response: VolumeResponse = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        told = (self.id, self.version, self.endpoint, self.source, self.mark)
        if not all(told) or (self.alpha_beta_gy is not None and not self.alpha_beta_mark):
            raise InputError("a set of parameters for an outcome needs id, version, endpoint, source and marks")
        if self.model not in MODELS:
            raise InputError(f"outcome set '{self.id}': no model '{self.model}'; known are {', '.join(MODELS)}")
        if (self.quantity == "EQD2") != (self.alpha_beta_gy is not None):
            raise InputError(f"outcome set '{self.id}': EQD2 needs an alpha/beta, physical dose has none")
        for low, high in filter(None, (self.fraction_gy, self.equivalent_gy)):
            if not 0 <= low < high:
                raise InputError(f"outcome set '{self.id}': a range ascends; found {low:g} to {high:g} Gy")
        object.__setattr__(self, "response", MODELS[self.model](**self.parameters))

    @property
    def metric(self) -> str:
        """The set as a metric of a scorecard, such as NTCP(lung-quantec)[%]."""
        return f"{self.outcome}({self.id})[%]"

    @property
    def label(self) -> str:
        """The quantity as scorecards print it: physical, EQD2(a/b=3)."""
        return self.quantity if self.alpha_beta_gy is None else f"{self.quantity}(a/b={self.alpha_beta_gy:g})"

    @property
    def cited(self) -> str:
        """Set, version, source and rules, as a scorecard tells them."""
        return f"{self.id} version {self.version}: {self.endpoint}; {self.source} ({', '.join(self.rules)})"

    @property
    def every_mark(self) -> str:
        """Marks of the parameters and, where they are others, of alpha/beta and of the quantity of the doses."""
        more = (("a/b", self.alpha_beta_mark), ("dose", self.dose_mark))
        return "; ".join((self.mark, *(f"{what} {mark}" for what, mark in more if mark not in ("", self.mark))))

    def applies_to(self, structure: str) -> bool:
        """Whether the set is for a structure of this TG-263 name: not for a part, a margin or one side of it."""
        name = same_name(structure)
        if not self.organs:
            return name.startswith(_TARGETS)
        return name in {same_name(organ) for organ in self.organs}

    def of_course(self, dose_gy: ArrayLike, fractions: int) -> Float:
        """Physical course doses, Gy, in the quantity of the set, each converted with its own dose per fraction."""
        if self.alpha_beta_gy is None:
            return np.asarray(dose_gy, dtype=np.float64)
        return eqd2(dose_gy, fractions, self.alpha_beta_gy)

    def effect(self, dose_gy: ArrayLike, fractions: int, volumes: ArrayLike) -> float:
        """Effect of a course, 0 to 1 (an excess relative risk may exceed 1).

        Parameters
        ----------
        dose_gy : (voxels,) float
            Physical dose of each voxel, Gy per course.
        fractions : int
            Of the course.
        volumes : (voxels,) float
            Volume of each, any unit.

        Examples
        --------
        >>> round(outcome_set("lung-quantec").effect([20.0], 10, [1.0]), 4)
        0.2059
        """
        return self.response.effect(self.of_course(dose_gy, fractions), volumes)

    def gradient(self, dose_gy: ArrayLike, fractions: int, volumes: ArrayLike) -> Float:
        """Derivative of `effect` by the physical course dose of each voxel, 1/Gy."""
        slope = self.response.gradient(self.of_course(dose_gy, fractions), volumes)
        if self.alpha_beta_gy is None:
            return slope
        return slope * eqd2_derivative(dose_gy, fractions, self.alpha_beta_gy)

    def level_gy(self, percent: float) -> float:
        """Equivalent dose that has an effect of so many per cent, Gy of the set's quantity."""
        try:
            return self.response.uniform.dose_at(percent / 100.0)
        except InputError as error:
            raise InputError(f"{self.metric}: {error}") from error

    def extrapolated(self, exposure: Exposure) -> str:
        """Whether a dose lies outside what the set was fitted to: "no", or "yes" or "unknown" with the reasons."""
        outside, unknown = [], []
        if self.not_after_oesophagectomy:
            if exposure.after_oesophagectomy:
                outside.append("patients after oesophagectomy are outside (RB-65)")
            elif exposure.after_oesophagectomy is None:
                unknown.append("whether the oesophagus was removed is not known, and such patients are outside (RB-65)")
        if exposure.several_courses:
            outside.append("the dose is that of several courses, the model is of one")
        most_gy = packaged("outcome_models.yaml")["lq_most_fraction_gy"]["value"]
        if self.alpha_beta_gy is not None and exposure.highest_fraction_gy > most_gy:
            outside.append(
                f"{exposure.highest_fraction_gy:.3g} Gy in one fraction is above the {most_gy:g} Gy up to which EQD2 "
                "is used with care (RB-20)"
            )
        if self.equivalent_gy is None:
            unknown.append("the doses that it was fitted to are not recorded")
        elif not self.equivalent_gy[0] <= exposure.equivalent_gy <= self.equivalent_gy[1]:
            outside.append(f"{exposure.equivalent_gy:.3g} Gy {_outside(self.equivalent_gy)}")
        if self.fraction_gy is None:
            unknown.append("the doses per fraction that it was fitted to are not recorded")
        elif not exposure.prescribed_fraction_gy:
            unknown.append("the prescribed dose per fraction is not known")
        else:
            low, high = self.fraction_gy
            wrong = [gy for gy in exposure.prescribed_fraction_gy if not low <= gy <= high]
            outside += [f"{gy:.3g} Gy per fraction {_outside(self.fraction_gy)}" for gy in wrong]
        if outside:
            return f"yes: {'; '.join(outside)}"
        return f"unknown: {'; '.join(unknown)}" if unknown else "no"


@cache
def outcome_sets() -> dict[str, OutcomeSet]:
    """Return the packaged sets, by id."""
    return {id: _set(id, entry) for id, entry in packaged("outcome_models.yaml")["sets"].items()}


def outcome_set(id: str) -> OutcomeSet:
    """Return the packaged set of this id; one that is not known is refused with the list of those that are."""
    known = outcome_sets()
    if id not in known:
        raise InputError(f"there is no set of outcome parameters '{id}'; known are {', '.join(known)}")
    return known[id]


def sets_for(structure: str) -> tuple[OutcomeSet, ...]:
    """Return the sets for a structure of this TG-263 name."""
    return tuple(each for each in outcome_sets().values() if each.applies_to(structure))


def set_of(metric: Metric, structure: str) -> OutcomeSet:
    """Return the set that a metric of an outcome asks for.

    Raises
    ------
    InputError
        When it is not known, is of another kind of outcome, or is not for the structure.
    """
    found = outcome_set(metric.model)
    if found.outcome != metric.kind:
        raise InputError(f"'{metric}': this set gives {found.outcome}, not {metric.kind}; ask for {found.metric}")
    if not found.applies_to(structure):
        whom = ", ".join(found.organs) if found.organs else "targets (GTV, CTV, ITV, PTV)"
        others = ", ".join(each.metric for each in sets_for(structure)) or "none"
        raise InputError(
            f"'{structure}: {metric}': the set '{found.id}' is for {whom}; for '{structure}' there are: {others}"
        )
    return found


def in_its_quantity(c: Constraint) -> Constraint:
    """A constraint on an outcome, in the quantity that its set sees; any other constraint as it is.

    Raises
    ------
    InputError
        As `set_of`, and when the constraint names another quantity than its set.
    """
    metric = Metric.parse(c.metric)
    if not metric.is_outcome:
        return c
    found = set_of(metric, c.structure)
    own = (found.quantity, found.alpha_beta_gy)
    if c.quantity != "physical" and (c.quantity, c.alpha_beta_gy) != own:
        raise InputError(
            f"'{c.structure}: {c.metric}' is asked of {c.label}, and its set has its own dose, {found.label}; "
            "leave the quantity out"
        )
    return replace(c, quantity=found.quantity, alpha_beta_gy=found.alpha_beta_gy)


def _outside(fitted: Range) -> str:
    return f"is outside the {fitted[0]:g} to {fitted[1]:g} Gy it was fitted to"


def _set(id: str, entry: dict[str, Any]) -> OutcomeSet:
    ranges = {name: None if entry[name] == "unknown" else entry[name] for name in ("fraction_gy", "equivalent_gy")}
    organs = () if entry["organs"] == "targets" else entry["organs"]
    return OutcomeSet(id=id, **{**entry, **ranges, "organs": organs})

"""What a protocol file may say: one pydantic model a section.

A model checks its own section; what only shows when sections are compared is in `consistency`.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from tailort.errors import InputError
from tailort.geometry.gantry_angles import candidates_deg, nearest_free
from tailort.patient import FactValue, Metric, Normalisation, Prescription
from tailort.patient.arrangements import arrangements
from tailort.patient.prescription import Operator, Priority
from tailort.protocols.computed import Computed
from tailort.protocols.condition import COMPARE, Answer, Condition
from tailort.protocols.drugs import DrugsSection
from tailort.protocols.endpoints import DesignSection, EndpointEntry
from tailort.protocols.imaging import ImagingSection
from tailort.protocols.individualising import ModifierEntry, TriggerEntry
from tailort.protocols.modifications import ModificationEntry
from tailort.protocols.painting import PaintedEntry
from tailort.protocols.recipe import StepEntry
from tailort.protocols.regions import RegionsSection
from tailort.protocols.schedule import AdaptationEntry, FollowUpSection, SafetySection
from tailort.protocols.section import Count, Distance, Name, Number, Positive, Section
from tailort.protocols.table_limits import TableLimit
from tailort.protocols.tables import Contradiction, DecisionTable, ReadingChoice
from tailort.radiobiology import set_of

Mark = Literal["seed", "lit-verified", "lit-recalled", "ambiguous", "derived", "borrowed", "convention", "site"]


def _metric(text: str) -> str:
    try:
        return str(Metric.parse(text))
    except InputError as error:
        raise ValueError(str(error)) from error


def _outcome_for(text: str, structure: str) -> Metric:
    """Metric of a structure; of an outcome its set of parameters must be known, and for that structure."""
    metric = Metric.parse(text)
    if metric.is_outcome:
        try:
            set_of(metric, structure)
        except InputError as error:
            raise ValueError(str(error)) from error
    return metric


class Source(Section):
    """A document that rules are taken from."""

    id: Name
    text: Name
    doi: str = ""


class Reading(Section):
    """How an ambiguous rule is taken, and what else it could mean."""

    default: Name
    other: Name


class Rule(Section):
    """One sentence of the protocol with where it is from and how sure it is."""

    id: Name
    text: Name
    source: Name
    mark: Mark
    reading: Reading | None = None

    @model_validator(mode="after")
    def _ambiguity_is_told(self) -> Self:
        if (self.mark == "ambiguous") != (self.reading is not None):
            raise ValueError("an ambiguous rule, and no other, has a 'reading' with 'default' and 'other'")
        return self


class FactEntry(Section):
    """One clinical fact the protocol may ask for: its type, unit and what it can be.

    A date lies in the past, or is today, unless it is one that may be `planned`.
    """

    name: Name
    type: Literal["text", "choice", "number", "integer", "boolean", "date", "list"]
    text: str = ""
    unit: str = ""
    range: tuple[Number, Number] | None = None
    step: Positive | None = None
    choices: tuple[Name, ...] = ()
    planned: bool = False
    computed: Computed | None = None
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits_its_type(self) -> Self:
        if self.computed is not None and self.type not in ("number", "integer"):
            raise ValueError("only a number or an integer is computed from others")
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("a fact of type choice, and no other, has 'choices'")
        if self.type not in ("number", "integer") and (self.range or self.step or self.unit):
            raise ValueError("only a number or an integer has 'range', 'step' or 'unit'")
        if self.planned and self.type != "date":
            raise ValueError("only a date is 'planned'")
        if self.range and self.range[0] >= self.range[1]:
            raise ValueError(f"the range {self.range[0]:g} to {self.range[1]:g} is empty")
        return self

    def read(self, value: object) -> FactValue:
        """Return the value in the fact's type; None stays unknown.

        Raises
        ------
        InputError
            When the value is of another type, out of range or no choice.
        """
        if value is None:
            return None
        read = self._typed(value)
        if isinstance(read, int | float) and not isinstance(read, bool):
            if self.range and not self.range[0] <= read <= self.range[1]:
                raise self._refuse(value, f"{self.range[0]:g} to {self.range[1]:g}")
            if self.step and Fraction(str(read)) % Fraction(str(self.step)) != 0:
                raise self._refuse(value, f"a multiple of {self.step:g}")
        return read

    def _typed(self, value: object) -> bool | int | float | str | dt.date | tuple[str, ...]:
        words = {"yes": True, "no": False, "true": True, "false": False}
        match self.type, value:
            case "boolean", bool():
                return value
            case "boolean", str() if value.strip().lower() in words:
                return words[value.strip().lower()]
            case (("integer" | "number"), bool()):
                pass
            case "integer", int():
                return value
            case "number", int() | float() if math.isfinite(value):
                return value
            case "text", str():
                return value
            case "choice", str():
                known = {choice.casefold(): choice for choice in self.choices}
                if value.strip().casefold() in known:
                    return known[value.strip().casefold()]
            case "date", dt.datetime():
                pass
            case "date", dt.date():
                return value
            case "list", tuple() if all(isinstance(part, str) for part in value):
                return value
            case "list", str():
                return tuple(part.strip() for part in value.split(";") if part.strip())
        expected = {
            "boolean": "yes or no",
            "integer": "a whole number",
            "number": "a number",
            "date": "a date such as 2026-01-31",
            "choice": f"one of {', '.join(self.choices)}"
            + (", in quotation marks" if not isinstance(value, str) and str(value) in self.choices else ""),
            "text": "text",
            "list": "a list of texts",
        }[self.type]
        raise self._refuse(value, expected)

    def _refuse(self, value: object, expected: str) -> InputError:
        unit = f" ({self.unit})" if self.unit else ""
        told = f"'{value}'" if isinstance(value, str | dt.date) else str(value)
        return InputError(f"fact '{self.name}' cannot be {told}: expected {expected}{unit}")


class NormalisationEntry(Section):
    """How prescribed doses are tied to the plan: exactly one of the four."""

    coverage: str | None = None
    point_mm: tuple[Number, Number, Number] | None = None
    isodose_percent: Positive | None = None
    depth_mm: Positive | None = None

    @field_validator("coverage")
    @classmethod
    def _is_metric(cls, text: str | None) -> str | None:
        return None if text is None else _metric(text)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for value in (self.coverage, self.point_mm, self.isodose_percent, self.depth_mm)) != 1:
            raise ValueError("give exactly one of coverage, point_mm, isodose_percent, depth_mm")
        return self

    def record(self) -> Normalisation:
        """Return the normalisation as plans carry it."""
        if self.coverage is not None:
            return Normalisation("coverage", metric=self.coverage)
        if self.point_mm is not None:
            return Normalisation("point", point_mm=self.point_mm)
        if self.isodose_percent is not None:
            return Normalisation("isodose", percent=self.isodose_percent)
        return Normalisation("depth", depth_mm=self.depth_mm)


class PrescriptionEntry(Section):
    """Physical dose of one phase to one target.

    `boosts` names the target of other phases in which this one lies: what is prescribed there comes on top. With
    `painted` the dose is not the same in the whole target: `dose_gy` is the least.
    """

    target: Name
    dose_gy: Annotated[float, Field(gt=0, le=200, allow_inf_nan=False)]
    fractions: Count
    phase: Count = 1
    boosts: Name | None = None
    normalisation: NormalisationEntry | None = None
    painted: PaintedEntry | None = None
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_painted_in_a_range(self) -> Self:
        if self.painted is None:
            return self
        if self.normalisation is not None:
            raise ValueError("a painted dose is tied to the plan by its mean: leave 'normalisation' out")
        if self.boosts is not None:
            raise ValueError("a painted dose is that of its whole phase: leave 'boosts' out")
        low, high, mean = self.dose_gy, self.painted.most_gy, self.painted.mean_gy
        if not low < high:
            raise ValueError(f"a dose is painted from 'dose_gy' to a higher 'most_gy'; found {low:g} and {high:g} Gy")
        if mean is not None and not low <= mean <= high:
            raise ValueError(f"'mean_gy' must lie from {low:g} to {high:g} Gy; found {mean:g}")
        return self

    @property
    def dose_per_fraction_gy(self) -> Fraction:
        """Physical dose of one fraction, Gy, exact: 54 Gy in 30 fractions is 9/5 Gy."""
        return Fraction(str(self.dose_gy)) / self.fractions


Kind = Literal["imrt", "vmat", "3dcrt"]
GoalsServed = Literal["in-order", "weighed"]
# Of plans whose protocol says nothing about them.
BEAMLET_MM, HOTTEST_PERCENT = 5.0, 106.0
Delivery = Literal["step-and-shoot", "sliding-window"]
PhasesPlanned = Literal["one-after-the-other", "together"]
Beams = Annotated[int, Field(ge=1, le=72)]
Angles = Literal["equally-spaced", "optimised"]
# Nearer ones are the same beam, and there would be too many.
EveryDeg = Annotated[float, Field(ge=2, le=90, allow_inf_nan=False)]
CANDIDATES_EVERY_DEG = 10.0
Arcs = Annotated[int, Field(ge=1, le=2)]
Subfields = Annotated[int, Field(ge=0)]
GantryAngles = tuple[Annotated[float, Field(ge=0, lt=360)], ...]
GantryRanges = tuple[tuple[Annotated[float, Field(ge=0, lt=360)], Annotated[float, Field(ge=0, lt=360)]], ...]
# What tells the directions of the beams: one of them in a phase.
_DIRECTIONS = ("arcs", "beams", "gantry_deg", "arrangement")
# How angles are chosen for 'beams'.
_CHOICE = ("angles", "candidates_every_deg", "gantry_excluded_deg")
# What only some kinds of technique have.
_OF_KIND: dict[str, tuple[Kind, ...]] = {
    "arcs": ("vmat",),
    "beams": ("imrt", "3dcrt"),
    "gantry_deg": ("imrt", "3dcrt"),
    "angles": ("imrt",),
    "candidates_every_deg": ("imrt",),
    "gantry_excluded_deg": ("imrt",),
    "delivery": ("imrt",),
    "beamlet_mm": ("imrt", "vmat"),
    "goals": ("imrt", "vmat"),
    "hottest_percent": ("imrt", "vmat"),
    "arrangement": ("3dcrt",),
    "aperture_margin_mm": ("3dcrt",),
    "aperture_target": ("3dcrt",),
    "avoid": ("3dcrt",),
    "avoid_margin_mm": ("3dcrt",),
    "block_avoided": ("3dcrt",),
    "subfields": ("3dcrt",),
}


def _arrangement(name: str | None) -> str | None:
    if name is not None and name not in arrangements():
        raise ValueError(f"there is no beam arrangement '{name}'; known are {', '.join(arrangements())}")
    return name


class PhaseTechnique(Section):
    """What is different in one phase of a course; whatever is not given is as in the technique of the course.

    Beams told here replace those of the course, however these are told; another `kind` drops what only the course's
    kind has.
    """

    phase: Count
    kind: Kind | None = None
    delivery: Delivery | None = None
    arcs: Arcs | None = None
    beams: Beams | None = None
    gantry_deg: GantryAngles | None = None
    angles: Angles | None = None
    candidates_every_deg: EveryDeg | None = None
    gantry_excluded_deg: GantryRanges | None = None
    collimator_deg: Annotated[float, Field(ge=0, lt=360)] | None = None
    arrangement: Name | None = None
    aperture_margin_mm: Distance | None = None
    aperture_target: Name | None = None
    avoid: Name | None = None
    avoid_margin_mm: Distance | None = None
    block_avoided: bool | None = None
    subfields: Subfields | None = None
    energy_mv: Positive | None = None
    rules: tuple[str, ...] = ()

    _arrangement_is_known = field_validator("arrangement")(_arrangement)


class HandOver(Section):
    """Fractions that move from one phase to another so that an organ stays below a dose.

    As many fractions move as are needed for `metric` of `structure`, physical dose of the whole course, to stay below
    `below_gy` (Gy); what the prescriptions say is the most that `from_phase` may have.
    """

    from_phase: Count
    to_phase: Count
    structure: Name
    metric: str
    below_gy: Positive
    rules: tuple[str, ...] = ()

    @field_validator("metric")
    @classmethod
    def _is_a_dose(cls, text: str) -> str:
        metric = Metric.parse(_metric(text))
        if not metric.is_dose or metric.unit != "Gy":
            raise ValueError(f"a hand-over looks at a dose in [Gy], such as Max[Gy]; {metric} is none")
        return str(metric)

    @model_validator(mode="after")
    def _goes_forward(self) -> Self:
        if self.from_phase >= self.to_phase:
            raise ValueError(
                f"fractions move to a later phase; found from phase {self.from_phase} to phase {self.to_phase}"
            )
        return self


class Technique(Section):
    """How the dose is delivered.

    `imrt`: `beams` are spread evenly over the full turn from gantry 0; `gantry_deg` names them (IEC 61217).
    With `angles: optimised` the `beams` are exchanged one at a time for candidates `candidates_every_deg` apart, none
    in the ranges of `gantry_excluded_deg`, which go clockwise from the first to the second angle.
    `vmat`: `arcs` full turns.
    `beamlet_mm`: edge of a beamlet of these two at the isocentre; divides every leaf width. `hottest_percent`: up to so
    much of its prescription a target may have before more of it is wished away. `goals: weighed`: where goals cannot
    all be had they are weighed against each other, coverage most, in place of one after the other. `dose_grid_mm`:
    spacing of the dose grid where a person names none.
    `phases_planned: together`: phases of these two share the limits of the course as the optimiser finds best.
    `3dcrt`: fields conformal to `aperture_target` (when not given, to the targets of the phase) with a margin, from
    the directions of an `arrangement`, or from `beams` or `gantry_deg`. Its angles are those that overlap the organ of
    `avoid` least; with `block_avoided` the leaves close over what still overlaps, whatever of the target is behind it.
    """

    kind: Kind
    delivery: Delivery = "step-and-shoot"
    arcs: Arcs | None = None
    beams: Beams | None = None
    gantry_deg: GantryAngles = ()
    angles: Angles = "equally-spaced"
    candidates_every_deg: EveryDeg = CANDIDATES_EVERY_DEG
    gantry_excluded_deg: GantryRanges = ()
    collimator_deg: Annotated[float, Field(ge=0, lt=360)] = 0.0
    arrangement: Name | None = None
    aperture_margin_mm: Distance | None = None
    aperture_target: Name | None = None
    avoid: Name | None = None
    avoid_margin_mm: Distance | None = None
    block_avoided: bool = False
    subfields: Subfields = 0
    beamlet_mm: Positive = BEAMLET_MM
    hottest_percent: Annotated[float, Field(gt=100, le=300)] = HOTTEST_PERCENT
    goals: GoalsServed = "in-order"
    dose_grid_mm: Positive | None = None
    machine: str | None = None
    energy_mv: Positive | None = None
    phases: tuple[PhaseTechnique, ...] = ()
    phases_planned: PhasesPlanned = "one-after-the-other"
    hand_over: HandOver | None = None
    rules: tuple[str, ...] = ()

    _arrangement_is_known = field_validator("arrangement")(_arrangement)

    @model_validator(mode="after")
    def _beams_are_told_once(self) -> Self:
        if (self.kind == "vmat") != (self.arcs is not None):
            raise ValueError("'arcs' (their number) goes with kind vmat, and with no other")
        if self.kind == "vmat" and (self.beams is not None or self.gantry_deg):
            raise ValueError("arcs have no 'beams' and no 'gantry_deg'")
        for name, kinds in _OF_KIND.items():
            if self.kind not in kinds and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"'{name}' goes with kind {' or '.join(kinds)}, not with {self.kind}")
        if self.kind == "imrt" and (self.beams is None) == (not self.gantry_deg):
            raise ValueError("give either 'beams' (a number of evenly spaced beams) or 'gantry_deg' (their angles)")
        if len(set(self.gantry_deg)) != len(self.gantry_deg):
            raise ValueError("a gantry angle is given twice")
        return self

    @model_validator(mode="after")
    def _angles_can_be_chosen(self) -> Self:
        if self.angles != "optimised":
            for name in ("candidates_every_deg", "gantry_excluded_deg"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"'{name}' goes with 'angles: optimised'")
            return self
        if self.beams is None:
            raise ValueError(
                "'angles: optimised' chooses the angles of so many 'beams'; 'gantry_deg' names them already"
            )
        if self.phases_planned == "together":
            raise ValueError(
                "beam angles are chosen for one phase after the other: give 'angles: optimised' or 'phases_planned: "
                "together'"
            )
        count = len(self._lattice_deg())
        if count < self.beams:
            without = " outside 'gantry_excluded_deg'" if self.gantry_excluded_deg else ""
            raise ValueError(
                f"{self.beams} beams cannot be chosen from {count} angles {self.candidates_every_deg:g} degrees "
                f"apart{without}; give fewer beams, nearer candidates or smaller ranges"
            )
        return self

    @model_validator(mode="after")
    def _fields_are_whole(self) -> Self:
        if self.kind == "3dcrt":
            if sum((self.arrangement is not None, self.beams is not None, bool(self.gantry_deg))) != 1:
                raise ValueError(
                    f"3dcrt needs one of 'arrangement' ({', '.join(arrangements())}), 'beams' and 'gantry_deg'"
                )
            if self.aperture_margin_mm is None:
                raise ValueError("3dcrt needs 'aperture_margin_mm', from the target to the field's edge")
        if self.avoid is not None and self.arrangement is None:
            raise ValueError("'avoid' chooses among the angles of an 'arrangement', and none is given")
        if (self.avoid is None) != (self.avoid_margin_mm is None):
            raise ValueError("'avoid' (an organ) and 'avoid_margin_mm' (the distance from it) go together")
        if self.block_avoided and self.avoid is None:
            raise ValueError("'block_avoided' closes the leaves over the organ of 'avoid', and none is given")
        return self

    @model_validator(mode="after")
    def _together_is_by_fluence(self) -> Self:
        if self.phases_planned == "together":
            if self.kind == "3dcrt":
                raise ValueError(
                    "phases are planned together by their fluences (imrt, vmat), which 3dcrt has none of; leave "
                    "'phases_planned' out"
                )
            if self.hand_over is not None:
                raise ValueError(
                    "a hand-over changes fractions of a plan that is done, which phases planned together do not allow: "
                    "give 'hand_over' or 'phases_planned: together'"
                )
        return self

    @model_validator(mode="after")
    def _phases_are_techniques(self) -> Self:
        numbers = [own.phase for own in self.phases]
        if len(set(numbers)) != len(numbers):
            raise ValueError("a phase has its technique told twice")
        for number in numbers:
            try:
                self.of_phase(number)
            except ValidationError as error:
                told = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
                raise ValueError(f"phase {number}: {told}") from error
        return self

    def gantry_angles_deg(self) -> tuple[float, ...]:
        """Gantry angle of each beam, IEC 61217 degrees; none for arcs and for an arrangement."""
        if self.beams is None:
            return self.gantry_deg
        even = tuple(360.0 * n / self.beams for n in range(self.beams))
        return nearest_free(even, self.candidate_angles_deg()) if self.angles == "optimised" else even

    def candidate_angles_deg(self) -> tuple[float, ...]:
        """Gantry angles to choose from, ascending: the lattice and the evenly spaced ones, outside what is excluded."""
        even = [360.0 * n / self.beams for n in range(self.beams or 0)] if self.beams else []
        return candidates_deg(self.candidates_every_deg, even, self.gantry_excluded_deg)

    def _lattice_deg(self) -> tuple[float, ...]:
        return candidates_deg(self.candidates_every_deg, (), self.gantry_excluded_deg)

    def of_phase(self, phase: int) -> Technique:
        """Return the technique of one phase, itself without phases; a phase that is not told is as the course."""
        given = {name: getattr(self, name) for name in self.model_fields_set} | {"phases": (), "hand_over": None}
        for own in self.phases:
            if own.phase != phase:
                continue
            new = {name: getattr(own, name) for name in own.model_fields_set if name != "phase"}
            new = {name: value for name, value in new.items() if value is not None}
            kind = new.get("kind", self.kind)
            replaced = set(_DIRECTIONS) if set(_DIRECTIONS) & new.keys() else set()
            if replaced and "arrangement" not in new:
                replaced |= {"avoid", "avoid_margin_mm", "block_avoided"}
            if replaced:
                replaced |= set(_CHOICE)
            replaced |= {name for name, kinds in _OF_KIND.items() if kind not in kinds}
            given = {name: value for name, value in given.items() if name not in replaced} | new
        return Technique(**given)


class PreferredTechnique(Section):
    """A technique that is tried first, for patients of whom `when` holds.

    It is kept where its plan keeps every hard limit; otherwise the technique of the file follows.
    """

    when: Condition | None = None
    technique: Technique
    rules: tuple[str, ...] = ()


class FieldMarginEntry(Section):
    """Another distance from the target to the edges of 3-D conformal fields, where `when` holds: all phases alike.

    Phases with a distance of their own keep it.
    """

    when: Condition
    aperture_margin_mm: Distance
    rules: tuple[str, ...] = ()


class Supplement(Section):
    """One direct anterior photon field that brings a region up to a dose which the phases leave it short of.

    The dose is that of a point `depth_mm` below the anterior skin, in front of the middle of `target`: `up_to_gy` (Gy,
    physical, of the whole course) less what the phases give there, in as few equal fractions of at most
    `fraction_gy_at_most` as will do. A shortfall below `least_gy` is left as it is.
    """

    target: Name
    up_to_gy: Positive
    depth_mm: Positive
    fraction_gy_at_most: Positive
    least_gy: Positive
    aperture_margin_mm: Distance
    modality: Literal["photons", "electrons"]
    when: Condition | None = None
    rules: tuple[str, ...] = ()

    @field_validator("modality")
    @classmethod
    def _is_planned(cls, modality: str) -> str:
        if modality == "electrons":
            raise ValueError("electrons are not planned by this version: no electron beam is modelled; give photons")
        return modality

    def prescription(self, delivered_gy: float, phase: int) -> Prescription | None:
        """Return what is still to be given as a phase of its own; None when less than `least_gy` is missing.

        Parameters
        ----------
        delivered_gy : float
            Physical dose of all phases together at the point, Gy.
        phase : int
            Number of the new phase.
        """
        if not math.isfinite(delivered_gy) or delivered_gy < 0:
            raise InputError(f"the dose at the point of '{self.target}' cannot be {delivered_gy:g} Gy")
        missing = round(self.up_to_gy - delivered_gy, 6)
        if missing < self.least_gy:
            return None
        fractions = math.ceil(missing / self.fraction_gy_at_most - 1e-9)
        return Prescription(self.target, missing, fractions, Normalisation("depth", depth_mm=self.depth_mm), phase)


class PositionEntry(Section):
    """How the patient lies, for patients of whom `when` holds; a recommendation."""

    patient: Literal["supine", "prone"]
    when: Condition | None = None
    rules: tuple[str, ...] = ()


class LimitFields(Section):
    """What a limit on one metric of one structure says, in the metric's unit.

    With `percent_of` (a prescribed target) the limit is in percent of that target's prescribed dose. `on_violation`
    is what the protocol's text asks for where it is not met. With `when` it holds for some patients, or under some
    readings, only; with `if_drawn` only where the structure is drawn.
    """

    structure: Name
    metric: str
    operator: Operator
    limit: Number
    priority: Priority
    percent_of: str | None = None
    quantity: Literal["physical", "BED", "EQD2"] = "physical"
    alpha_beta_gy: Positive | None = None
    scope: Literal["course", "cumulative"] = "course"
    on_violation: Literal["reject", "re-plan"] | None = None
    when: Condition | None = None
    if_drawn: bool = False

    @field_validator("metric")
    @classmethod
    def _is_metric(cls, text: str) -> str:
        return _metric(text)

    @model_validator(mode="after")
    def _units_fit(self) -> Self:
        metric = _outcome_for(self.metric, self.structure)
        if metric.is_outcome and self.quantity != "physical":
            raise ValueError(f"{metric} has the dose and alpha/beta of its set: leave 'quantity' out")
        if (self.quantity == "physical") != (self.alpha_beta_gy is None):
            raise ValueError("BED and EQD2 need 'alpha_beta_gy', physical dose has none")
        if self.limit < 0:
            raise ValueError(f"a limit of {self.limit:g} can never be compared: doses and volumes are not negative")
        if metric.unit == "%" and not metric.is_dose and metric.kind != "ERR" and self.limit > 100:
            raise ValueError(f"{self.metric} cannot exceed 100 %, so a limit of {self.limit:g} % says nothing")
        if self.percent_of is not None and (metric.unit != "Gy" or self.quantity != "physical"):
            raise ValueError("'percent_of' goes with a metric of the physical dose in [Gy], such as D0.03cc[Gy]")
        if self.percent_of is None and metric.is_dose and metric.unit == "%":
            raise ValueError(f"{self.metric} does not say of which prescription: give it in [Gy] with 'percent_of'")
        return self


class LimitEntry(LimitFields):
    """A limit of a file; `note` is told with the source."""

    note: str = ""
    rule: str = ""
    mark: Mark | None = None


class ReportEntry(Section):
    """A metric that is reported without a limit."""

    structure: Name
    metric: str
    rule: str = ""

    @field_validator("metric")
    @classmethod
    def _is_metric(cls, text: str) -> str:
        return _metric(text)

    @model_validator(mode="after")
    def _is_for_the_structure(self) -> Self:
        _outcome_for(self.metric, self.structure)
        return self


class SameFractions(Section):
    """Check: all prescriptions of a phase have the same number of fractions."""

    check: Literal["same-fractions"]
    rule: str = ""


class DosePerFraction(Section):
    """Check: the physical dose per fraction of a target, Gy."""

    check: Literal["dose-per-fraction"]
    target: Name
    operator: Operator
    gy: Positive
    rule: str = ""


class Biology(Section):
    """Parameters of BED, EQD2 and gEUD in reports.

    `alpha_beta_gy` in Gy; `geud_a` is the exponent (negative for targets, 1 is the mean).
    """

    structure: Name
    alpha_beta_gy: Positive
    geud_a: Number | None = None
    rules: tuple[str, ...] = ()

    @field_validator("geud_a")
    @classmethod
    def _not_zero(cls, a: float | None) -> float | None:
        if a == 0:
            raise ValueError("gEUD is not defined for a = 0")
        return a


class TargetBiology(Section):
    """Parameters of BED, EQD2 and gEUD of every target."""

    alpha_beta_gy: Positive
    geud_a: Annotated[float, Field(lt=0, allow_inf_nan=False)] | None = None
    rules: tuple[str, ...] = ()


class BiologySection(Section):
    """Radiobiological parameters of targets and organs."""

    targets: TargetBiology | None = None
    organs: tuple[Biology, ...] = ()


class ComparatorEntry(Section):
    """The plan that this protocol's plan is compared with: same patient and limits, other prescriptions.

    Its `limits` replace those of the protocol on the same structure and metric; the rest is shared, and so is the
    technique unless it has one of its own.
    """

    title: Name
    technique: Technique | None = None
    targets: tuple[StepEntry, ...] = ()
    prescriptions: tuple[PrescriptionEntry, ...] = Field(min_length=1)
    limits: tuple[LimitEntry, ...] = ()
    report: tuple[ReportEntry, ...] = ()
    rules: tuple[str, ...] = ()


class CourseEntry(Section):
    """A course that is prescribed in some cases: what it adds to the file, and the doses it has instead of others.

    Its `targets` come after those of the file; its `limits` replace those on the same structure and metric.
    """

    targets: tuple[StepEntry, ...] = ()
    prescriptions: tuple[PrescriptionEntry, ...] = Field(min_length=1)
    limits: tuple[LimitEntry, ...] = ()
    report: tuple[ReportEntry, ...] = ()
    rules: tuple[str, ...] = ()


class OptionEntry(CourseEntry):
    """Other doses that a plan may have, where a person chooses them."""

    id: Name
    title: Name


class PlanEntry(CourseEntry):
    """The course for patients of whom `when` holds; of all plans of a file it holds for one at the most."""

    id: Name
    title: Name
    when: Condition
    options: tuple[OptionEntry, ...] = ()


class AmendmentEntry(CourseEntry):
    """Other doses for a patient whose plan turned out so: planned once more, and both plans are kept.

    `fact` tells the metric of a plan that was made already: with it the record alone asks for the doses.
    """

    id: Name
    structure: Name
    metric: str
    operator: Operator
    value: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    times: Literal[1]
    fact: Name | None = None

    @field_validator("metric")
    @classmethod
    def _is_metric(cls, text: str) -> str:
        return _metric(text)

    @property
    def asked(self) -> str:
        """What a plan is measured for, in words."""
        return f"{self.structure} {self.metric} {self.operator} {self.value:g}"

    def due(self, measured: float | None) -> Answer:
        """Whether an assessed plan calls for it: its metric, in the metric's unit; None is not known."""
        if measured is None:
            return "unknown"
        return "yes" if COMPARE[self.operator](measured, self.value) else "no"


class StatementEntry(Section):
    """Something that is told of patients of whom `when` holds; it decides on nothing."""

    id: Name
    text: Name
    when: Condition
    rules: tuple[str, ...] = ()


class NotExecutedEntry(Section):
    """A rule that this file tells but does not carry out: as a whole, or the named part of it."""

    rule: Name
    part: str = ""
    reason: Name


class ProtocolFile(Section):
    """A whole protocol file."""

    id: Name
    aliases: tuple[Name, ...] = ()
    version: Name
    title: Name
    status: str = ""
    sources: tuple[Source, ...] = ()
    rules: tuple[Rule, ...] = ()
    facts: tuple[FactEntry, ...] = ()
    readings: tuple[ReadingChoice, ...] = ()
    tables: tuple[DecisionTable, ...] = ()
    contradictions: tuple[Contradiction, ...] = ()
    eligibility: Condition | None = None
    targets: tuple[StepEntry, ...] = ()
    normalisation: NormalisationEntry | None = None
    prescriptions: tuple[PrescriptionEntry, ...] = ()
    plans: tuple[PlanEntry, ...] = ()
    plans_read: Literal["exclusive", "in-order"] = "exclusive"
    technique: Technique | None = None
    preferred: PreferredTechnique | None = None
    field_margins: tuple[FieldMarginEntry, ...] = ()
    supplements: tuple[Supplement, ...] = ()
    positions: tuple[PositionEntry, ...] = ()
    imaging: ImagingSection | None = None
    organs: tuple[Name, ...] = ()
    limits: tuple[LimitEntry, ...] = ()
    table_limits: tuple[TableLimit, ...] = ()
    report: tuple[ReportEntry, ...] = ()
    checks: tuple[Annotated[SameFractions | DosePerFraction, Field(discriminator="check")], ...] = ()
    biology: BiologySection = BiologySection()
    comparator: ComparatorEntry | None = None
    definitions: tuple[StatementEntry, ...] = ()
    flags: tuple[StatementEntry, ...] = ()
    regions: RegionsSection | None = None
    amendments: tuple[AmendmentEntry, ...] = ()
    drugs: DrugsSection | None = None
    modifications: tuple[ModificationEntry, ...] = ()
    adaptations: tuple[AdaptationEntry, ...] = ()
    modifiers: tuple[ModifierEntry, ...] = ()
    triggers: tuple[TriggerEntry, ...] = ()
    follow_up: FollowUpSection | None = None
    safety: SafetySection | None = None
    endpoints: tuple[EndpointEntry, ...] = ()
    design: DesignSection | None = None
    not_executed: tuple[NotExecutedEntry, ...] | None = None

    @model_validator(mode="after")
    def _doses_are_told_once(self) -> Self:
        if self.only_proposes:
            if self.technique is not None:
                raise ValueError("'technique' goes with 'prescriptions' or 'plans', and there are none")
            return self
        if not self.prescriptions and not self.plans:
            raise ValueError("the key 'prescriptions' is missing, or 'plans' for a protocol of several courses")
        if self.technique is None:
            raise ValueError("the key 'technique' is missing")
        if self.plans and (self.prescriptions or self.comparator is not None):
            raise ValueError(
                "'plans' have prescriptions of their own: 'prescriptions' and 'comparator' go without them"
            )
        return self

    @property
    def only_proposes(self) -> bool:
        """Whether the file has modifiers or triggers and prescribes nothing itself."""
        return bool(self.modifiers or self.triggers) and not self.prescriptions and not self.plans

    @field_validator("id")
    @classmethod
    def _is_one_word(cls, text: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
            raise ValueError(f"an id has only letters, digits, '.', '_' and '-'; found '{text}'")
        return text

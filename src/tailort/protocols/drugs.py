"""Drugs of a protocol file: regimens, what each drug's printed dose can mean, and support. Never an order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from tailort.protocols.condition import Condition, of_reading
from tailort.protocols.section import Count, Name, Positive, Section

Per = Literal["day", "cycle"]
BsaFormula = Literal["mosteller", "dubois"]
FORMULAS: tuple[BsaFormula, ...] = get_args(BsaFormula)


class DoseReading(Section):
    """One way to read a printed dose: `mg_m2` on each of the drug's days, or per cycle, split evenly over its days.

    `cap_mg` is the most that may be given, each day or in a cycle (`cap_per`).
    """

    id: Name
    mg_m2: Positive
    per: Per
    cap_mg: Positive | None = None
    cap_per: Per | None = None

    @model_validator(mode="after")
    def _cap_is_whole(self) -> Self:
        if (self.cap_mg is None) != (self.cap_per is None):
            raise ValueError("'cap_mg' and 'cap_per' (day or cycle) go together")
        if self.per == "cycle" and self.cap_per == "day":
            raise ValueError("a dose per cycle is capped per cycle")
        return self


class DrugEntry(Section):
    """One drug: the days of a cycle on which it is given, and the readings of its dose.

    `default` is the reading that is calculated; null shows all of them and takes none. `infusion_hours` is how long
    one infusion runs, over days in a row.
    """

    name: Name
    days: tuple[Count, ...] = Field(min_length=1)
    infusion_hours: Positive | None = None
    doses: tuple[DoseReading, ...] = Field(min_length=1)
    default: Name | None
    order: Literal["never", "after-confirmation"]
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _default_is_a_reading(self) -> Self:
        ids = [dose.id for dose in self.doses]
        if len(set(ids)) != len(ids):
            raise ValueError(f"a reading of the dose of {self.name} is given twice")
        if self.default is not None and self.default not in ids:
            raise ValueError(f"'{self.default}' is no reading of the dose of {self.name}; given are: {', '.join(ids)}")
        if list(self.days) != sorted(set(self.days)):
            raise ValueError(f"the days of {self.name} must ascend, none twice")
        if self.infusion_hours is not None and self.infusion_hours > 24 * len(self.days):
            raise ValueError(f"{self.infusion_hours:g} hours of {self.name} do not fit into {len(self.days)} days")
        return self


class AfterEntry(Section):
    """A regimen that begins on a day of the last cycle of another one, day 1 being the first of that cycle."""

    regimen: Name
    day: Count


class RegimenEntry(Section):
    """Drugs given together, for patients of whom `when` holds.

    All of `drugs` and one of `one_of`; or the drugs of another regimen (`same_as`); or none, where the text names none
    and the choice is `left_to` somebody. `cycles` are the numbers of cycles that are allowed. `after` tells when it
    begins, and radiotherapy with it where the setting is concurrent.
    """

    id: Name
    setting: Literal["induction", "concurrent", "consolidation", "second-line"]
    when: Condition | None = None
    cycles: tuple[Count, ...] = ()
    cycle_days: Count | None = None
    within_months: Positive | None = None
    after: AfterEntry | None = None
    drugs: tuple[DrugEntry, ...] = ()
    one_of: tuple[DrugEntry, ...] = ()
    same_as: Name | None = None
    left_to: Name | None = None
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _drugs_are_told_once(self) -> Self:
        if sum((bool(self.drugs or self.one_of), self.same_as is not None, self.left_to is not None)) != 1:
            raise ValueError("a regimen has its drugs ('drugs', 'one_of'), or 'same_as', or 'left_to'")
        if len(self.one_of) == 1:
            raise ValueError("'one_of' is a choice between two drugs or more; a single one belongs into 'drugs'")
        if (self.left_to is None) != bool(self.cycles):
            raise ValueError("give the allowed numbers of 'cycles', except where the regimen is left to somebody")
        if bool(self.drugs or self.one_of) != (self.cycle_days is not None):
            raise ValueError("'cycle_days' goes with 'drugs' and 'one_of', and with nothing else")
        for drug in (*self.drugs, *self.one_of):
            if self.cycle_days is not None and drug.days[-1] > self.cycle_days:
                raise ValueError(f"{drug.name} on day {drug.days[-1]} is after the cycle of {self.cycle_days} days")
        return self


class BodySurfaceEntry(Section):
    """By which formula the body surface area is calculated that doses per m2 are multiplied with.

    Either the file says so, or `reading` is an ambiguous rule whose readings have the names of the formulas.
    """

    formula: BsaFormula | None = None
    reading: Name | None = None
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.formula is None) == (self.reading is None):
            raise ValueError("give the 'formula', or the 'reading' of the rule that leaves it open")
        return self

    def taken(self, values: Mapping[str, Any]) -> BsaFormula:
        """Return the formula for the readings that were taken, which are among the values."""
        if self.reading is None:
            assert self.formula is not None  # the one that is told
            return self.formula
        formula: BsaFormula = values[of_reading(self.reading)]
        return formula


class SupportEntry(Section):
    """A supporting drug, so many hours after chemotherapy."""

    name: Name
    hours_after_chemotherapy: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    strength: Literal["recommended", "required"]
    rules: tuple[str, ...] = ()


class WindowEntry(Section):
    """A supporting drug from one day to another, both included, counted from the first day of a regimen."""

    name: Name
    regimen: Name
    days: tuple[tuple[Count, Count], ...] = Field(min_length=1)
    strength: Literal["recommended", "required"]
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _days_follow_each_other(self) -> Self:
        every = [day for window in self.days for day in window]
        if every != sorted(every):
            raise ValueError(f"the days of {self.name} must ascend, each window from its first to its last day")
        return self


class DrugsSection(Section):
    """Everything that a protocol says of drugs; without `body_surface` no dose is calculated."""

    body_surface: BodySurfaceEntry | None = None
    regimens: tuple[RegimenEntry, ...] = Field(min_length=1)
    support: tuple[SupportEntry, ...] = ()
    windows: tuple[WindowEntry, ...] = ()

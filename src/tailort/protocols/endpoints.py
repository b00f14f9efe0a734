"""What a trial measures and the numbers it was designed with."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tailort.protocols.section import Count, Name, Section

Chance = Annotated[float, Field(gt=0, lt=1)]


class EndpointEntry(Section):
    """One endpoint: for times, from which day (`counted_from`) to which events; the rest are counted as they are."""

    name: Name
    kind: Literal["primary", "secondary"]
    at_years: tuple[Count, ...] = ()
    counted_from: Name | None = None
    events: tuple[Name, ...] = ()
    censored_at: Name | None = None
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _a_time_is_whole(self) -> Self:
        told = (self.counted_from is not None, bool(self.events), self.censored_at is not None)
        if any(told) and not all(told):
            raise ValueError("a time to an event has 'counted_from', 'events' and 'censored_at'")
        if self.at_years and not any(told):
            raise ValueError("'at_years' goes with a time to an event")
        return self


class ArmEntry(Section):
    """Patients of one arm, and the proportions under the null hypothesis and as assumed."""

    name: Name
    patients: Count
    null_proportion: Chance
    assumed_proportion: Chance
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.null_proportion == self.assumed_proportion:
            raise ValueError(
                "'null_proportion' and 'assumed_proportion' are equal: no number of patients tells them apart"
            )
        return self


class DesignSection(Section):
    """Size of a trial: each arm's patients by `test`, and how many are enrolled, losses included."""

    test: Literal["exact-binomial"]
    two_sided: bool
    alpha: Chance
    power: Chance
    arms: tuple[ArmEntry, ...] = Field(min_length=1)
    enrolled: tuple[Count, Count]
    analysis: tuple[Name, ...] = ()
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _enough_are_enrolled(self) -> Self:
        needed = sum(arm.patients for arm in self.arms)
        low, high = self.enrolled
        if not needed <= low <= high:
            raise ValueError(f"{low} to {high} are enrolled, but the arms need {needed}")
        return self

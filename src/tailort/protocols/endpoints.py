"""What a trial measures and the numbers it was designed with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tailort.protocols.condition import ReadingIs
from tailort.protocols.section import Count, Name, Section

Chance = Annotated[float, Field(gt=0, lt=1)]
GroupTest = Literal["gray", "log-rank"]


class OriginEntry(Section):
    """Day from which a time is counted: a fact, and what it is in words where `counted_from` is not it."""

    fact: Name
    text: Name | None = None
    when: ReadingIs | None = None

    @property
    def told(self) -> str:
        """The fact, and when it is taken, in words."""
        return self.fact + (f" when {self.when.text}, else" if self.when is not None else "")


class CompetingEntry(Section):
    """An event after which the endpoint can no longer happen, and the fact that is its day."""

    event: Name
    fact: Name

    @property
    def told(self) -> str:
        """The fact, and what it is the day of."""
        return f"{self.fact} ({self.event})"


class DatesEntry(Section):
    """Facts, all of them dates, from which a time to an event is computed.

    Of `origin` the first whose `when` holds is taken; of `events` the earliest counts. Without any of them the patient
    is censored on the day of `last_follow_up`.
    """

    origin: tuple[OriginEntry, ...] = Field(min_length=1)
    events: tuple[Name, ...] = Field(min_length=1)
    competing: tuple[CompetingEntry, ...] = ()
    last_follow_up: Name

    @model_validator(mode="after")
    def _one_origin_is_left(self) -> Self:
        if self.origin[-1].when is not None or any(entry.when is None for entry in self.origin[:-1]):
            raise ValueError("of several in 'origin' the last, and no other, goes without 'when'")
        if len(set(self.facts)) != len(self.facts):
            raise ValueError("no fact can be two of origin, event, competing event and last follow-up")
        names = [entry.event for entry in self.competing]
        if len(set(names)) != len(names):
            raise ValueError("two competing events have the same name")
        return self

    @property
    def told(self) -> str:
        """From which fact to which, in words."""
        competing = f"; competing {', '.join(entry.told for entry in self.competing)}" if self.competing else ""
        return (
            f"from {' '.join(entry.told for entry in self.origin)} to {' or '.join(self.events)}{competing}; censored "
            f"at {self.last_follow_up}"
        )

    @property
    def facts(self) -> tuple[str, ...]:
        """Every fact that is named."""
        return (
            *(entry.fact for entry in self.origin), *self.events, *(entry.fact for entry in self.competing),
            self.last_follow_up,
        )  # fmt: skip


class ComparedEntry(Section):
    """Tests by which groups are compared, the one that counts first."""

    tests: tuple[GroupTest, ...] = Field(min_length=1)
    when: ReadingIs | None = None

    @property
    def told(self) -> str:
        """The tests, and when they are taken, in words."""
        return ", ".join(self.tests) + (f" when {self.when.text}, else" if self.when is not None else "")


class EndpointEntry(Section):
    """One endpoint: for times, from which day (`counted_from`) to which events; the rest are counted as they are.

    `dates` names the facts from which a time is computed; `interval` is how the confidence interval of its curve is
    made. With `when` it is an endpoint under one reading only.
    """

    name: Name
    kind: Literal["primary", "secondary"]
    at_years: tuple[Count, ...] = ()
    counted_from: Name | None = None
    events: tuple[Name, ...] = ()
    censored_at: Name | None = None
    dates: DatesEntry | None = None
    compared_by: tuple[ComparedEntry, ...] = ()
    interval: Literal["log-log"] | None = None
    when: ReadingIs | None = None
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _a_time_is_whole(self) -> Self:
        told = (self.counted_from is not None, bool(self.events), self.censored_at is not None)
        if any(told) and not all(told):
            raise ValueError("a time to an event has 'counted_from', 'events' and 'censored_at'")
        if not any(told) and (self.at_years or self.dates or self.compared_by or self.interval):
            raise ValueError("'at_years', 'dates', 'compared_by' and 'interval' go with a time to an event")
        if self.compared_by and (
            self.compared_by[-1].when is not None or any(entry.when is None for entry in self.compared_by[:-1])
        ):
            raise ValueError("of several in 'compared_by' the last, and no other, goes without 'when'")
        return self


def endpoint_mistakes(
    entries: Sequence[EndpointEntry], kinds: Mapping[str, str]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Find endpoints that name a fact which is not there, or is no date.

    Parameters
    ----------
    entries : sequence of EndpointEntry
        Endpoints of a file.
    kinds : mapping of str to str
        Type of each fact of the file.

    Yields
    ------
    tuple
        The place in the file and what is wrong there.
    """
    for n, entry in enumerate(entries):
        for name in entry.dates.facts if entry.dates is not None else ():
            if name not in kinds:
                yield ("endpoints", n, "dates"), f"fact '{name}' is not among the file's facts"
            elif kinds[name] != "date":
                yield ("endpoints", n, "dates"), f"fact '{name}' is of type {kinds[name]}, and a time needs a date"


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

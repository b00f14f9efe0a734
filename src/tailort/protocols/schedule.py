"""What happens when: adaptation during the course, follow-up visits, and how soon a serious event is reported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field, model_validator

from tailort.protocols.section import Count, Name, Positive, Section


class AdaptationEntry(Section):
    """A new image when `target` has got `at_gy` (Gy, physical, of the course), and what follows from it."""

    plan: Name | None = None
    target: Name
    at_gy: Positive
    image: Name
    strength: Literal["required", "offered"]
    then: Name
    rules: tuple[str, ...] = ()


class VisitsEntry(Section):
    """Visits every so many months, from one month to another; without `to_month` for as long as the patient lives."""

    every_months: Count
    from_month: Count
    to_month: Count | None
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _ends_with_a_visit(self) -> Self:
        if self.to_month is not None:
            if self.to_month < self.from_month:
                raise ValueError(f"visits from month {self.from_month} to month {self.to_month} are none")
            if (self.to_month - self.from_month) % self.every_months:
                raise ValueError(
                    f"visits every {self.every_months} months from month {self.from_month} do not meet month "
                    f"{self.to_month}"
                )
        return self


class AtVisitEntry(Section):
    """What is done at a visit."""

    what: Name
    strength: Literal["always", "if-needed"]
    rules: tuple[str, ...] = ()


class ResponseEntry(Section):
    """When the response is judged, in months after treatment, and by which criteria."""

    criteria: Name
    from_month: Positive
    to_month: Positive
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_length(self) -> Self:
        if self.from_month >= self.to_month:
            raise ValueError(f"from month {self.from_month:g} to month {self.to_month:g} is no time")
        return self


class FollowUpSection(Section):
    """Visits after treatment; months are calendar months from the day of `counted_from`."""

    counted_from: Name
    visits: tuple[VisitsEntry, ...] = Field(min_length=1)
    at_each_visit: tuple[AtVisitEntry, ...] = ()
    response: ResponseEntry | None = None
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _visits_follow_each_other(self) -> Self:
        for earlier, later in zip(self.visits, self.visits[1:], strict=False):
            if earlier.to_month is None or earlier.to_month >= later.from_month:
                raise ValueError(f"visits from month {later.from_month} begin before those told above have ended")
        return self


class SafetySection(Section):
    """By what toxicity is graded, and to whom and how soon a serious adverse event is reported."""

    grading: tuple[Name, ...] = Field(min_length=1)
    report_to: Name
    within_hours: Positive
    rules: tuple[str, ...] = ()


def visit_months(follow_up: FollowUpSection, until_month: int) -> tuple[int, ...]:
    """Months of all visits up to one month, ascending.

    Examples
    --------
    >>> yearly = VisitsEntry(every_months=12, from_month=12, to_month=None)
    >>> visit_months(FollowUpSection(counted_from="end of radiotherapy", visits=(yearly,)), 40)
    (12, 24, 36)
    """
    return tuple(_months(follow_up, until_month))


def _months(follow_up: FollowUpSection, until_month: int) -> Iterator[int]:
    for visits in follow_up.visits:
        last = until_month if visits.to_month is None else min(visits.to_month, until_month)
        yield from range(visits.from_month, last + 1, visits.every_months)

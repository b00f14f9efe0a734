"""What a site's overlay may say: which protocol it extends, who changed what from what to what, and why."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from tailort.errors import InputError
from tailort.patient import Metric
from tailort.patient.prescription import Operator, Priority
from tailort.protocols.painting import PaintedEntry
from tailort.protocols.recipe import MarginEntry
from tailort.protocols.schema import LimitEntry, LimitFields, Rule
from tailort.protocols.section import Count, Name, Number, Positive, Section


class ChangeEntry(Section):
    """One change. `why` is its own reason; a hard limit gets looser, or is no longer hard, only with the last key."""

    why: str = ""
    loosens_hard_limit: Literal[True] | None = None


class ReadingChange(ChangeEntry):
    """Another reading of an ambiguous rule as the default."""

    rule: Name
    was: Name
    default: Name


class LimitChange(ChangeEntry):
    """Another number or priority of a limit that the protocol has.

    `was` is the number that stood there; `operator`, `percent_of`, `scope` and `priority_was` tell apart limits that
    share structure, metric and number.
    """

    structure: Name
    metric: str
    operator: Operator | None = None
    percent_of: Name | None = None
    scope: Literal["course", "cumulative"] | None = None
    priority_was: Priority | None = None
    was: Number
    limit: Number | None = None
    priority: Priority | None = None

    @field_validator("metric")
    @classmethod
    def _is_metric(cls, text: str) -> str:
        try:
            return str(Metric.parse(text))
        except InputError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self.limit is None and self.priority is None:
            raise ValueError("give the new 'limit', the new 'priority', or both")
        return self

    def means(self, limit: LimitEntry) -> bool:
        """Whether this is the limit that is changed."""
        return (
            limit.structure.lower() == self.structure.lower()
            and limit.metric == self.metric
            and self.operator in (None, limit.operator)
            and (self.percent_of is None or self.percent_of.lower() == (limit.percent_of or "").lower())
            and self.scope in (None, limit.scope)
            and self.priority_was in (None, limit.priority)
        )


class NewLimit(ChangeEntry, LimitFields):
    """A limit that the protocol does not have, as a rule of the site: its `id`, what it says, and where it is from.

    With `plan` it holds in that plan only.
    """

    id: Name
    text: Name
    source: Name
    plan: Name | None = None


class TriggerChange(ChangeEntry):
    """Another threshold of a trigger: the number with which it compares `fact`, by <, <=, > or >=."""

    trigger: Name
    fact: Name
    was: Number
    value: Number


class MarginChange(ChangeEntry):
    """Another margin of a structure that the recipe makes by `expand`."""

    target: Name
    was: MarginEntry
    expand: MarginEntry


class PaintingChange(ChangeEntry):
    """A dose that is painted between two levels, in place of the one that a target gets everywhere.

    Only with a signature: no protocol here prints a range (IR-10). The target is `renamed`, its dose in the name would
    be wrong; a plan of the same mean dose everywhere takes the place of the protocol's comparator.
    """

    target: Name
    was: Positive
    renamed: Name
    dose_gy: Positive
    painted: PaintedEntry
    signed_by: Name
    new_rules: tuple[Rule, ...] = ()


class OptionChange(ChangeEntry):
    """Other doses that the protocol offers for one of its plans, as those that are taken unless a person says so."""

    plan: Name
    option: Name


class DrugChange(ChangeEntry):
    """Another reading of a drug's dose as the one that is calculated; null takes none."""

    regimen: Name
    drug: Name
    was: Name | None
    default: Name | None


class TechniqueChange(ChangeEntry):
    """Another habit of delivery; what is treated, and to which dose, is not among them."""

    machine: Name | None = None
    energy_mv: Positive | None = None
    beams: Count | None = None
    arcs: Count | None = None
    collimator_deg: Number | None = None
    delivery: Literal["step-and-shoot", "sliding-window"] | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not self.given():
            raise ValueError("give at least one of machine, energy_mv, beams, arcs, collimator_deg, delivery")
        return self

    def given(self) -> dict[str, Any]:
        """What is changed, by key of the protocol's `technique`."""
        names = [name for name in type(self).model_fields if name not in ChangeEntry.model_fields]
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class SliceChange(ChangeEntry):
    """Another tolerance of the CT's slices, mm, through the structures of `of`, or `elsewhere`; neither is anywhere."""

    of: tuple[Name, ...] = ()
    elsewhere: bool = False
    was: Positive
    at_most_mm: Positive


SECTIONS = ("readings", "limits", "new_limits", "triggers", "margins", "paintings", "options", "drugs", "slices")
"""Sections of an overlay that hold changes, in the order in which they are made; `technique` comes last."""


class OverlayFile(Section):
    """A whole overlay: which protocol it changes, who says so and why, and the changes."""

    id: Name
    version: Name
    title: str = ""
    extends: Name
    extends_version: Name
    changed_by: Name
    date: dt.date | None = None
    why: Name
    readings: tuple[ReadingChange, ...] = ()
    limits: tuple[LimitChange, ...] = ()
    new_limits: tuple[NewLimit, ...] = ()
    triggers: tuple[TriggerChange, ...] = ()
    margins: tuple[MarginChange, ...] = ()
    paintings: tuple[PaintingChange, ...] = ()
    options: tuple[OptionChange, ...] = ()
    drugs: tuple[DrugChange, ...] = ()
    technique: TechniqueChange | None = None
    slices: tuple[SliceChange, ...] = ()

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if not any((*(getattr(self, name) for name in SECTIONS), self.technique)):
            raise ValueError(f"an overlay changes something: {', '.join(SECTIONS)} or technique")
        return self

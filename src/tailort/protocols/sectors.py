"""Vertebral sectors in a target recipe: the rule of the protocol, and what the clinical record tells of a patient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import model_validator

from tailort.protocols.section import Name, Section
from tailort.targets import Operation
from tailort.targets.sectors import SpreadToSectors
from tailort.targets.spreading import BodyExtent


class SectorsEntry(Section):
    """How a tumour is spread to vertebral sectors.

    `by` is the ring, the table of Cox et al. (`isrc_2012`) or `all` six sectors. Sectors lie around the `canal` or,
    where it is not drawn, the `cord`. The keys that end in `_from` name facts: the vertebrae that are the target,
    sectors that a person names beside those that the tumour touches, and, for the table, where in the body it lies.
    """

    by: Literal["ring", "isrc_2012", "all"]
    canal: Name = "SpinalCanal"
    cord: Name = "SpinalCord"
    after_surgery: bool = False
    spinous_with_both_pedicles: bool = False
    levels_from: Name | None = None
    involved_from: Name | None = None
    body_extent_from: Name | None = None
    levels: tuple[Name, ...] | None = None
    involved: tuple[Name, ...] = ()
    body_extent: BodyExtent | None = None

    @model_validator(mode="after")
    def _fits_the_rule(self) -> Self:
        if self.by != "isrc_2012" and (self.spinous_with_both_pedicles or self.body_extent_from):
            raise ValueError("'spinous_with_both_pedicles' and 'body_extent_from' go with 'by: isrc_2012'")
        if self.by == "isrc_2012" and self.after_surgery:
            raise ValueError("the table isrc_2012 is for an intact spine, not for 'after_surgery'")
        return self

    @property
    def asks(self) -> tuple[str, ...]:
        """Facts that it takes from the record."""
        return tuple(n for n in (self.levels_from, self.involved_from, self.body_extent_from) if n is not None)

    def decided(self, values: Mapping[str, Any]) -> SectorsEntry:
        """Return it with what the record tells in place of the facts' names; what is not recorded stays unknown."""
        told: dict[str, Any] = dict.fromkeys(("levels_from", "involved_from", "body_extent_from"))
        for key, fact in (("levels", self.levels_from), ("involved", self.involved_from)):
            if fact is not None and values.get(fact):
                told[key] = values[fact]
        if self.body_extent_from is not None:
            told["body_extent"] = values.get(self.body_extent_from)
        return self.model_copy(update=told)

    def record(self, rules: tuple[str, ...]) -> Operation:
        """Return the operation as `targets` does it."""
        return SpreadToSectors(
            rule=self.by,
            canal=self.canal,
            cord=self.cord,
            after_surgery=self.after_surgery,
            levels=self.levels,
            involved=self.involved,
            body_extent=self.body_extent,
            spinous_with_both_pedicles=self.spinous_with_both_pedicles,
            rules=rules,
        )

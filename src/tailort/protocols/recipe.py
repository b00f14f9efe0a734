"""The target recipe of a protocol file: each structure from its inputs, by operations in the order given."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from tailort.geometry import Margin
from tailort.patient import ROLES
from tailort.protocols.condition import Condition
from tailort.protocols.section import Distance, Name, Positive, Section
from tailort.targets import (
    Contract,
    Crop,
    DropParts,
    Expand,
    Intersect,
    Operation,
    Ring,
    Step,
    Subtract,
    Unite,
)


class MarginEntry(Section):
    """A distance in mm: the same everywhere (`mm`), radial and craniocaudal, or one for each of the six sides."""

    mm: Distance | None = None
    radial_mm: Distance | None = None
    craniocaudal_mm: Distance | None = None
    left_mm: Distance | None = None
    right_mm: Distance | None = None
    anterior_mm: Distance | None = None
    posterior_mm: Distance | None = None
    superior_mm: Distance | None = None
    inferior_mm: Distance | None = None

    @model_validator(mode="after")
    def _one_way_and_whole(self) -> Self:
        given = {name for name in type(self).model_fields if getattr(self, name) is not None}
        if given not in _MARGIN_FORMS:
            raise ValueError(
                "a margin is 'mm' alone, 'radial_mm' with 'craniocaudal_mm', or all of left_mm, right_mm, anterior_mm, "
                "posterior_mm, superior_mm, inferior_mm"
            )
        return self

    def record(self) -> Margin:
        """Return the margin for all six sides."""
        if self.mm is not None:
            return Margin.uniform(self.mm)
        if self.radial_mm is not None and self.craniocaudal_mm is not None:
            return Margin.radial(self.radial_mm, self.craniocaudal_mm)
        return Margin(**self.model_dump(include=_SIDES))


_SIDES = {"left_mm", "right_mm", "anterior_mm", "posterior_mm", "superior_mm", "inferior_mm"}
_MARGIN_FORMS = ({"mm"}, {"radial_mm", "craniocaudal_mm"}, _SIDES)


class NamesEntry(Section):
    """Structures: `of` must be there, `if_drawn` are left out when they are not."""

    of: tuple[Name, ...] = ()
    if_drawn: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.of and not self.if_drawn:
            raise ValueError("name at least one structure in 'of' or 'if_drawn'")
        return self


class CropEntry(Section):
    """Distance to keep from the skin (the surface of `inside`), mm."""

    by_mm: Distance
    inside: Name = "External"


class RingEntry(Section):
    """Shell between two distances from the volume, mm."""

    from_mm: Distance
    to_mm: Positive

    @model_validator(mode="after")
    def _has_width(self) -> Self:
        if self.from_mm >= self.to_mm:
            raise ValueError(f"a ring from {self.from_mm:g} to {self.to_mm:g} mm is empty")
        return self


class DropEntry(Section):
    """Smallest part that is kept, cm3."""

    below_cm3: Positive


class OperationSection(Section):
    """One operation; without `rules` of its own it stands on those of its step."""

    rules: tuple[str, ...] = ()


class ExpandStep(OperationSection):
    """Add a margin."""

    expand: MarginEntry

    def record(self) -> Operation:
        """Return the operation as `targets` does it."""
        return Expand(self.expand.record(), self.rules)


class ContractStep(OperationSection):
    """Take a margin off."""

    contract: MarginEntry

    def record(self) -> Operation:
        """Return the operation as `targets` does it."""
        return Contract(self.contract.record(), self.rules)


class UniteStep(OperationSection):
    """Add structures."""

    unite: NamesEntry

    def record(self) -> Operation:
        """Return the operation as `targets` does it."""
        return Unite(self.unite.of, self.unite.if_drawn, self.rules)


class IntersectStep(OperationSection):
    """Keep what lies in all of the named structures."""

    intersect: tuple[Name, ...] = Field(min_length=1)

    def record(self) -> Operation:
        """Return the operation as `targets` does it."""
        return Intersect(self.intersect, self.rules)


class SubtractStep(OperationSection):
    """Take structures off."""

    subtract: NamesEntry

    def record(self) -> Operation:
        """Return the operation as `targets` does it."""
        return Subtract(self.subtract.of, self.subtract.if_drawn, self.rules)


class CropStep(OperationSection):
    """Keep a distance from the skin."""

    crop: CropEntry

    def record(self) -> Operation:
        """Return the operation as `targets` does it."""
        return Crop(self.crop.by_mm, self.crop.inside, self.rules)


class RingStep(OperationSection):
    """Replace the volume by a shell around it."""

    ring: RingEntry

    def record(self) -> Operation:
        """Return the operation as `targets` does it."""
        return Ring(self.ring.from_mm, self.ring.to_mm, self.rules)


class DropStep(OperationSection):
    """Remove separate small parts."""

    drop_parts: DropEntry

    def record(self) -> Operation:
        """Return the operation as `targets` does it."""
        return DropParts(self.drop_parts.below_cm3, self.rules)


_OPERATIONS = {
    "expand": ExpandStep, "contract": ContractStep, "unite": UniteStep, "intersect": IntersectStep,
    "subtract": SubtractStep, "crop": CropStep, "ring": RingStep, "drop_parts": DropStep,
}  # fmt: skip


def _operation(entry: Any) -> str | None:
    for key, model in _OPERATIONS.items():
        if (isinstance(entry, dict) and key in entry) or isinstance(entry, model):
            return f"#{key}"
    return None


OperationEntry = Annotated[
    Annotated[ExpandStep, Tag("#expand")]
    | Annotated[ContractStep, Tag("#contract")]
    | Annotated[UniteStep, Tag("#unite")]
    | Annotated[IntersectStep, Tag("#intersect")]
    | Annotated[SubtractStep, Tag("#subtract")]
    | Annotated[CropStep, Tag("#crop")]
    | Annotated[RingStep, Tag("#ring")]
    | Annotated[DropStep, Tag("#drop_parts")],
    Discriminator(
        _operation,
        custom_error_type="operation",
        custom_error_message=f"an operation is one of {', '.join(_OPERATIONS)}",
    ),
]


class StepEntry(NamesEntry):
    """One structure of the target recipe: the union of its inputs, then operations in the order given.

    With `when` it is made only for patients of whom the condition holds.
    """

    name: Name
    role: str
    when: Condition | None = None
    then: tuple[OperationEntry, ...] = ()
    existing: Literal["keep", "replace"] = "keep"
    rules: tuple[str, ...] = ()

    @field_validator("role")
    @classmethod
    def _is_role(cls, role: str) -> str:
        if role not in ROLES:
            raise ValueError(f"unknown role '{role}'; known are {', '.join(ROLES)}")
        return role

    def record(self) -> Step:
        """Return the step as `targets` does it."""
        return Step(
            name=self.name,
            role=self.role,
            of=self.of,
            if_drawn=self.if_drawn,
            then=tuple(operation.record() for operation in self.then),
            existing=self.existing,
            rules=self.rules,
        )

"""The target recipe of a protocol file: each structure from its inputs, by operations in the order given."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from tailort.errors import InputError
from tailort.geometry import Margin
from tailort.patient import ROLES
from tailort.protocols.condition import Condition
from tailort.protocols.section import Distance, Name, Positive, Section
from tailort.protocols.sectors import SectorsEntry
from tailort.targets import (
    LANDMARKS,
    Border,
    Contract,
    Crop,
    CutAt,
    DropParts,
    Expand,
    Intersect,
    Lengthen,
    Operation,
    Ring,
    Step,
    Subtract,
    TakeStations,
    Unite,
    stations_named,
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


class LengthenEntry(Section):
    """Length to which a tumour's volume is grown where its contours are shorter, along its own middle line.

    `to_largest_of` are facts, lengths in cm, of which those that are recorded count; or `to_mm`, with who tells it.
    `at_each_end` is how much of what is lacking is added at each end; `along` is the organ whose contours are what is
    added, where it is drawn.
    """

    to_largest_of: tuple[Name, ...] = ()
    to_mm: Positive | None = None
    told: str = ""
    at_each_end: Literal["whole", "half", "nothing"]
    along: str = ""

    @model_validator(mode="after")
    def _is_told_once(self) -> Self:
        if bool(self.to_largest_of) == (self.to_mm is not None):
            raise ValueError("a length is 'to_largest_of' facts, or 'to_mm'")
        return self


class BorderEntry(Section):
    """One height at which a volume may end: a landmark, or the edge of a structure, and an offset.

    With `if_made` it counts only where that structure is there.
    """

    landmark: Name | None = None
    top_of: Name | None = None
    bottom_of: Name | None = None
    above_mm: Distance = 0.0
    below_mm: Distance = 0.0
    if_made: Name | None = None
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_one_height(self) -> Self:
        if sum(part is not None for part in (self.landmark, self.top_of, self.bottom_of)) != 1:
            raise ValueError("a border is one of 'landmark', 'top_of' and 'bottom_of'")
        if self.landmark is not None and self.landmark not in LANDMARKS:
            raise ValueError(f"there is no landmark '{self.landmark}'; known are {', '.join(LANDMARKS)}")
        if self.above_mm and self.below_mm:
            raise ValueError("a border is 'above_mm' or 'below_mm', not both")
        return self

    def record(self) -> Border:
        """Return the border as `targets` places it."""
        return Border(
            landmark=self.landmark or "",
            top_of=self.top_of or "",
            bottom_of=self.bottom_of or "",
            above_mm=self.above_mm - self.below_mm,
            if_made=self.if_made or "",
            rules=self.rules,
        )


class BordersEntry(Section):
    """Upper and lower borders; of several the outermost one counts."""

    superior: tuple[BorderEntry, ...] = ()
    inferior: tuple[BorderEntry, ...] = ()

    @model_validator(mode="after")
    def _has_a_border(self) -> Self:
        if not self.superior and not self.inferior:
            raise ValueError("give a border in 'superior' or 'inferior'")
        return self


class StationsEntry(Section):
    """Nodal stations of AJCC, 8th edition: as drawn, else constructed with `reach_mm` from what they follow.

    A constructed station 7 goes down to the end of the main bronchi, or `subcarinal_mm` below the carina.
    """

    of: tuple[Name, ...] = Field(min_length=1)
    reach_mm: Positive
    subcarinal_mm: Positive | None = None

    @field_validator("of")
    @classmethod
    def _are_stations(cls, of: tuple[str, ...]) -> tuple[str, ...]:
        told = [part for name in of for part in _parts_of(name)]
        for part in told:
            if told.count(part) > 1:
                raise ValueError(f"station {part} is named twice")
        return of

    def record(self) -> TakeStations:
        """Return the stations as `targets` takes them."""
        return TakeStations(self.of, self.reach_mm, self.subcarinal_mm)


def _parts_of(station: str) -> tuple[str, ...]:
    try:
        return stations_named(station)
    except InputError as error:
        raise ValueError(str(error)) from error


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


class BordersStep(OperationSection):
    """Cut at borders."""

    borders: BordersEntry

    def record(self) -> Operation:
        """Return the operation as `targets` does it."""
        superior, inferior = self.borders.superior, self.borders.inferior
        return CutAt(tuple(b.record() for b in superior), tuple(b.record() for b in inferior), self.rules)


class SectorsStep(OperationSection):
    """Replace a tumour by the vertebral sectors that it touches and those beside them."""

    sectors: SectorsEntry

    def record(self) -> Operation:
        """Return the operation as `targets` does it; what the record tells is known once the protocol is decided."""
        return self.sectors.record(self.rules)


class LengthenStep(OperationSection):
    """Grow a tumour's volume to a recorded length."""

    lengthen: LengthenEntry

    def record(self) -> Operation:
        """Return the operation as `targets` does it; its length is known once the protocol is decided."""
        how = self.lengthen
        return Lengthen(how.to_mm, how.told or "the protocol", how.at_each_end, how.along, self.rules)


_OPERATIONS = {
    "expand": ExpandStep, "contract": ContractStep, "unite": UniteStep, "intersect": IntersectStep,
    "subtract": SubtractStep, "crop": CropStep, "ring": RingStep, "drop_parts": DropStep,
    "lengthen": LengthenStep, "sectors": SectorsStep, "borders": BordersStep,
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
    | Annotated[DropStep, Tag("#drop_parts")]
    | Annotated[LengthenStep, Tag("#lengthen")]
    | Annotated[SectorsStep, Tag("#sectors")]
    | Annotated[BordersStep, Tag("#borders")],
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
    stations: StationsEntry | None = None
    then: tuple[OperationEntry, ...] = ()
    existing: Literal["keep", "replace"] = "keep"
    rules: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.of and not self.if_drawn and self.stations is None:
            raise ValueError("name at least one structure in 'of' or 'if_drawn', or stations")
        return self

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
            stations=self.stations.record() if self.stations else None,
        )

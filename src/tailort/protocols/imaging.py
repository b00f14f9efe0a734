"""What a protocol asks of the images: a section of a protocol file."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tailort.protocols.condition import Condition
from tailort.protocols.section import Count, Name, Positive, Section

Otherwise = Literal["fail", "note"]
Edge = Literal["superior", "inferior"]
Modality = Literal["CT", "MR", "PT"]


class _Entry(Section):
    when: Condition | None = None
    rules: tuple[str, ...] = ()


class _Requirement(_Entry):
    """`otherwise` says what it means when a requirement is not met: the protocol is violated, or a reader is told."""

    otherwise: Otherwise = "fail"


class SliceEntry(_Requirement):
    """Thickness and distance of the slices of the planning CT, mm.

    `of` names structures, all of them; `if_drawn` others that count where they are there. With `elsewhere` the entry
    holds for the rest of the CT, outside those structures; with neither for the whole CT. Both the distance of the
    slice positions and the Slice Thickness that the file tells are at most `at_most_mm`; a distance below
    `note_below_mm` is allowed and told. `contiguous`: no slice is thinner than their distance.
    """

    of: tuple[Name, ...] = ()
    if_drawn: tuple[Name, ...] = ()
    elsewhere: bool = False
    at_most_mm: Positive
    note_below_mm: Positive | None = None
    contiguous: bool = False

    @model_validator(mode="after")
    def _region_is_told(self) -> Self:
        if (self.elsewhere or self.if_drawn) and not self.of:
            raise ValueError("'elsewhere' and 'if_drawn' go with 'of', the structures that make the region")
        if self.note_below_mm is not None and self.note_below_mm > self.at_most_mm:
            raise ValueError(f"no slice is both below {self.note_below_mm:g} mm and at most {self.at_most_mm:g} mm")
        return self


class Border(Section):
    """Where the scan must reach to: an edge of a drawn structure, or a landmark that is told as a point.

    Where both are named, the point wins: it also tells an edge that lies outside the scan.
    """

    structure: Name | None = None
    edge: Edge | None = None
    landmark: Name | None = None

    @model_validator(mode="after")
    def _is_told(self) -> Self:
        if (self.structure is None) != (self.edge is None):
            raise ValueError("'structure' and 'edge' (superior or inferior) go together")
        if self.structure is None and self.landmark is None:
            raise ValueError("give 'structure' with 'edge', or 'landmark'")
        return self

    @property
    def text(self) -> str:
        """The border in words."""
        drawn = f"the {self.edge} edge of {self.structure}" if self.structure else ""
        return drawn or f"{self.landmark}"


class ExtentEntry(_Requirement):
    """What the planning CT must hold, from its upper to its lower end."""

    top: Border = Field(alias="from")
    bottom: Border = Field(alias="to")


class PatientPositionEntry(_Requirement):
    """How the patient lies on the planning CT, where `when` holds."""

    patient: Literal["supine", "prone"]


class ContourEntry(_Requirement):
    """An organ that must be drawn: one of the ways of `one_of` suffices, each a list of structures."""

    organ: Name
    one_of: tuple[Annotated[tuple[Name, ...], Field(min_length=1)], ...] = Field(min_length=1)


class SeriesEntry(_Requirement):
    """Further image series in the case: how many of a kind, slices at most so far apart and thick, where they lie."""

    modality: Modality
    at_least: Count = 1
    at_most_mm: Positive | None = None
    transverse: bool = False
    same_frame: bool = False
    same_position: bool = False


class FactRequirement(_Requirement):
    """What no image tells, such as immobilisation, contrast medium and dates: a condition on facts of the record."""

    text: Name
    holds: Condition


class MotionEntry(_Entry):
    """Whether motion was assessed: recorded and recommended. There is no way to make a plan fail for it."""

    text: Name
    holds: Condition


class ViewsEntry(_Requirement):
    """What the report must draw; no question to the images, so the caller tells whether it does."""

    text: Name


class ImagingSection(Section):
    """All that a protocol asks of the images, and of their pictures in the report."""

    slices: tuple[SliceEntry, ...] = ()
    extent: tuple[ExtentEntry, ...] = ()
    positions: tuple[PatientPositionEntry, ...] = ()
    contours: tuple[ContourEntry, ...] = ()
    series: tuple[SeriesEntry, ...] = ()
    facts: tuple[FactRequirement, ...] = ()
    motion: tuple[MotionEntry, ...] = ()
    views: tuple[ViewsEntry, ...] = ()

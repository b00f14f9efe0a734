"""Whether a recurrence lies in the field of an earlier course, at its margin or outside, by the part within it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from tailort.errors import InputError
from tailort.radiobiology.packaged import packaged

Place = Literal["in field", "marginal", "out of field"]
PLACES: tuple[Place, ...] = ("in field", "marginal", "out of field")


@dataclass(frozen=True)
class FieldDefinition:
    """One meaning of the three words, with its source.

    Parameters
    ----------
    id, title, text : str
        Name, and what it says.
    of : {"isodose", "target"}
        What the recurrence's volume is held against.
    isodose_percent : float
        Of the prescribed dose of the earlier course; 0 for a target.
    in_field_from_percent, out_of_field_below_percent : float
        Part of the recurrence's volume: in field from the first on, out of field below the second.
    source, doi, mark : str
        Where it comes from, and how sure it is.
    rules : tuple of str
        Rules that leave it open.
    """

    id: str
    title: str
    text: str
    of: Literal["isodose", "target"]
    isodose_percent: float
    in_field_from_percent: float
    out_of_field_below_percent: float
    source: str
    doi: str
    mark: str
    rules: tuple[str, ...]

    def places(self, low_percent: float, high_percent: float) -> tuple[Place, ...]:
        """Every place that a recurrence can have of which between so much and so much lies within.

        Parameters
        ----------
        low_percent, high_percent : float
            Part of its volume, 0 to 100; the same where it is known.

        Raises
        ------
        InputError
            When these are no parts of a volume.

        Examples
        --------
        >>> field_definitions()["shares-80-20"].places(55.0, 55.0)
        ('marginal',)
        >>> field_definitions()["shares-80-20"].places(70.0, 100.0)
        ('in field', 'marginal')
        """
        # Volumes are sums of voxels: the whole may come out as a bit more than 100 %.
        if not -1e-6 <= low_percent <= high_percent <= 100.0 + 1e-3:
            raise InputError(f"the part of a recurrence lies from 0 to 100 %; found {low_percent} to {high_percent} %")
        first, last = PLACES.index(self._place(high_percent)), PLACES.index(self._place(low_percent))
        return PLACES[first : last + 1]

    def _place(self, percent: float) -> Place:
        if percent >= self.in_field_from_percent:
            return "in field"
        return "out of field" if percent < self.out_of_field_below_percent else "marginal"


@cache
def field_definitions() -> dict[str, FieldDefinition]:
    """Return the definitions by their id, the default first."""
    return {
        name: FieldDefinition(
            name, told["title"], " ".join(told["text"].split()), told["of"], float(told["isodose_percent"]),
            float(told["in_field_from_percent"]), float(told["out_of_field_below_percent"]), told["source"],
            told["doi"], told["mark"], tuple(told["rules"]),
        )
        for name, told in packaged("recurrence_fields.yaml").items()
    }  # fmt: skip

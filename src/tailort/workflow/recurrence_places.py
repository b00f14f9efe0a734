"""Where a recurrence lies to an earlier course, by each definition."""

from __future__ import annotations

from dataclasses import dataclass

from tailort.radiobiology.recurrence_fields import Place, field_definitions

DEFAULT = next(iter(field_definitions()))


@dataclass(frozen=True)
class RecurrencePlace:
    """One recurrence and one earlier course by one definition.

    Parameters
    ----------
    structure, course, definition : str
        Which; the definition by its id.
    share_percent : (float, float) or None
        Part of the recurrence's volume within the isodose or target, lowest and highest; None where there is nothing to
        hold it against.
    places : tuple of str
        Every place that is possible; one where it is known.
    reason : str
        Why it is not known better.
    """

    structure: str
    course: str
    definition: str
    share_percent: tuple[float, float] | None
    places: tuple[Place, ...]
    reason: str = ""

    @property
    def told(self) -> str:
        """The place, or "unknown"."""
        return self.places[0] if len(self.places) == 1 else "unknown"

    def as_dict(self) -> dict[str, object]:
        """Return a row of cumulative.json."""
        found = field_definitions()[self.definition]
        return {
            "structure": self.structure,
            "course": self.course,
            "definition": self.definition,
            "default": self.definition == DEFAULT,
            "place": self.told,
            "possible": list(self.places),
            "share_percent": None if self.share_percent is None else [round(part, 2) for part in self.share_percent],
            "source": found.source,
            "doi": found.doi,
            "mark": found.mark,
            "rules": list(found.rules),
            "reason": self.reason,
        }

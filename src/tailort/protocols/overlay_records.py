"""What a site made of a protocol: every default that it changed or added, from what to what, by whom and why."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from tailort.protocols.schema import LimitEntry

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Change:
    """One default that a site changed.

    Parameters
    ----------
    what : str
        Which.
    was, now : str
        Before and after.
    why : str
        The site's reason.
    loosens : {"", "requirement", "goal", "hard limit"}
        Whether the protocol asks for less than before, and of what.
    limits : tuple of LimitEntry
        The limits as changed; none for other changes.
    rules : tuple of str
        Rules on which what is changed rests; none where the change is another reading of a rule.
    reading : str
        That rule.
    added : bool
        Whether the limits are new: the protocol has none in their place.
    """

    what: str
    was: str
    now: str
    why: str = ""
    loosens: Literal["", "requirement", "goal", "hard limit"] = ""
    limits: tuple[LimitEntry, ...] = ()
    rules: tuple[str, ...] = ()
    reading: str = ""
    added: bool = False

    def made(self, limit: LimitEntry) -> bool:
        """Whether a limit, decided for a patient or not, is one that this change made."""
        always = {"when": None}
        return limit.model_copy(update=always) in [one.model_copy(update=always) for one in self.limits]

    def noted(self, site: str) -> str:
        """Say beside a changed limit what stood there."""
        return f"added by {site}" if self.added else f"{self.was} as changed by {site}"

    @property
    def told(self) -> str:
        """The change in one line."""
        looser = f" ({self.loosens} loosened)" if self.loosens else ""
        return f"{self.what}: {self.was} becomes {self.now}{looser}"

    def as_dict(self) -> dict[str, Any]:
        """Return the change ready for JSON."""
        return {"what": self.what, "was": self.was, "now": self.now, "why": self.why, "loosens": self.loosens or None}


@dataclass(frozen=True)
class Overlay:
    """What a site made of a protocol.

    Parameters
    ----------
    id, version : str
        Of the overlay.
    extends, extends_version : str
        Which protocol it changed.
    changed_by, why : str
        Who says so, and the reason.
    date : date or None
        When, where it is told.
    origin : str
        The file.
    changes : tuple of Change
        In the order of the file.
    options : tuple of (plan, option)
        Doses that are taken for a plan unless a person names others.
    """

    id: str
    version: str
    extends: str
    extends_version: str
    changed_by: str
    why: str
    date: dt.date | None
    origin: str
    changes: tuple[Change, ...]
    options: tuple[tuple[str, str], ...] = ()

    @property
    def loosened(self) -> tuple[Change, ...]:
        """Changes that loosen a hard limit."""
        return tuple(change for change in self.changes if change.loosens == "hard limit")

    @property
    def rules(self) -> frozenset[str]:
        """Rules that are not carried out as the protocol's text or default says."""
        return frozenset(rule for change in self.changes for rule in (*change.rules, change.reading) if rule)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each hard limit that is looser than the protocol's."""
        return tuple(
            f"A HARD LIMIT of protocol '{self.extends}' IS LOOSENED by overlay '{self.id}' ({self.changed_by}): "
            f"{change.what} {change.was} becomes {change.now}, because: {change.why}"
            for change in self.loosened
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the overlay ready for JSON."""
        return {
            "id": self.id,
            "version": self.version,
            "extends": self.extends,
            "extends_version": self.extends_version,
            "changed_by": self.changed_by,
            "why": self.why,
            "date": self.date.isoformat() if self.date else None,
            "file": PurePath(self.origin).name,
            "changes": [change.as_dict() for change in self.changes],
        }


class OverlayError(Exception):
    """A change that cannot be made; `place` is that of the change in the overlay."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(text)
        self.place = place

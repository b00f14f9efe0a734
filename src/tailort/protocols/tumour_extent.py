"""How long a tumour is where examinations differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tailort.errors import UndecidedError


@dataclass(frozen=True)
class TumourLength:
    """The largest of several recorded lengths.

    Parameters
    ----------
    longest_cm : float
        Along the oesophagus.
    by : str
        Fact that tells it.
    told_cm : dict of float
        Every length that is recorded, by fact.
    not_told : tuple of str
        Facts that are not recorded: one of them could be larger.
    """

    longest_cm: float
    by: str
    told_cm: Mapping[str, float]
    not_told: tuple[str, ...]

    @property
    def text(self) -> str:
        """Who tells it, what the others say, and who is not asked."""
        others = [f"{name} {cm:g} cm" for name, cm in self.told_cm.items() if name != self.by]
        absent = [f"{name} not recorded" for name in self.not_told]
        return f"{self.by} ({'; '.join([*others, *absent])})" if others or absent else self.by


def largest_length(lengths_cm: Mapping[str, float | None]) -> TumourLength:
    """Return the largest of the lengths that examinations tell, such as endoscopic ultrasound, oesophagram and CT.

    Parameters
    ----------
    lengths_cm : dict of float or None
        Lengths along the oesophagus by the fact that tells them; None is not recorded.

    Raises
    ------
    UndecidedError
        When none is recorded.

    Examples
    --------
    >>> largest_length({"CT": 5.0, "endoscopy": 6.5, "oesophagram": None}).text
    'endoscopy (CT 5 cm; oesophagram not recorded)'
    """
    told = {name: float(cm) for name, cm in lengths_cm.items() if cm is not None}
    absent = tuple(name for name, cm in lengths_cm.items() if cm is None)
    if not told:
        raise UndecidedError(
            f"how long the tumour is, is not recorded: give at least one of {', '.join(absent)}", absent
        )
    by = max(told, key=lambda name: told[name])
    return TumourLength(told[by], by, told, absent)

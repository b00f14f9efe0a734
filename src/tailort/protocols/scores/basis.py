"""What every answer of this package rests on: rules with source and mark, readings, numbers in their range."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tailort.errors import InputError
from tailort.protocols.schema import Mark


@dataclass(frozen=True)
class Cited:
    """A rule that took part in an answer.

    Parameters
    ----------
    rule : str
        Its id, such as "KO-20".
    mark : Mark
        How sure it is; the weakest one where a rule has several parts.
    source : str
        The document, or what the rule follows from.
    """

    rule: str
    mark: Mark
    source: str


@dataclass(frozen=True)
class ReadingTaken:
    """An ambiguous rule that took part, how it was read, and how else it can be read.

    Parameters
    ----------
    rule : str
        Its id.
    taken : str or None
        The reading that the answer rests on; None where all are shown and none is taken.
    others : tuple of str
        The other readings, with their result where it differs.
    """

    rule: str
    taken: str | None
    others: tuple[str, ...]


def positive(value: float, what: str) -> float:
    """Return a number that must be finite and above zero.

    Raises
    ------
    InputError
        When it is not.
    """
    if isinstance(value, bool) or not math.isfinite(value) or value <= 0:
        raise InputError(f"{what} is {value}; expected a finite number above 0")
    return value


def within(value: float, low: float, high: float, what: str) -> float:
    """Return a number that must be finite and from `low` to `high`, both included.

    Raises
    ------
    InputError
        When it is not.
    """
    if isinstance(value, bool) or not math.isfinite(value) or not low <= value <= high:
        raise InputError(f"{what} is {value}; expected a number from {low:g} to {high:g}")
    return value


def one_of(value: str, known: tuple[str, ...], what: str) -> None:
    """Stop at a word that is none of the known ones.

    Raises
    ------
    InputError
        When `value` is not in `known`.
    """
    if value not in known:
        raise InputError(f"{what} is '{value}'; expected one of: {', '.join(known)}")

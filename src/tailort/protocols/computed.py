"""Facts that others tell by arithmetic: a score by its points, a BED by dose and fractions, a length by two ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Self

from pydantic import Field, model_validator

from tailort.errors import InputError
from tailort.protocols.section import Name, Number, Positive, Section
from tailort.radiobiology import bed

# Told to this many decimals, so that 24 x 2 Gy are 96 Gy and not a bit more.
DECIMALS = 6
# People round lengths and losses to one decimal.
ROUNDED = 0.05 + 1e-9


class PointsEntry(Section):
    """Points of each finding that a fact, a choice, can be."""

    fact: Name
    points: dict[Name, int] = Field(min_length=1)


class BedEntry(Section):
    """BED of one course, Gy, from facts: its physical dose in Gy and its fractions.

    Where `courses` names a fact, the number of courses, only a single one is computed: of several each has its own
    dose per fraction.
    """

    dose_gy: Name
    fractions: Name
    alpha_beta_gy: Positive
    courses: Name | None = None


class LossEntry(Section):
    """What is lost from one fact to another, such as of two weights, % of the first; a gain is negative."""

    before: Name
    after: Name


class Computed(Section):
    """How a fact follows from others: the sum of `points`, a `bed`, a `loss_percent`, a `difference` or a `middle`.

    `difference` is the first of two facts of its unit less the second, and what comes out below `at_least` becomes
    that; `middle` lies half way between two.
    """

    points: tuple[PointsEntry, ...] = ()
    bed: BedEntry | None = None
    loss_percent: LossEntry | None = None
    difference: tuple[Name, Name] | None = None
    middle: tuple[Name, Name] | None = None
    at_least: Number | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        ways = (self.bed, self.loss_percent, self.difference, self.middle)
        if sum((bool(self.points), *(way is not None for way in ways))) != 1:
            raise ValueError("a computed fact has one of 'points', 'bed', 'loss_percent', 'difference' and 'middle'")
        if self.at_least is not None and self.difference is None:
            raise ValueError("'at_least' goes with 'difference'")
        return self

    @property
    def pair(self) -> tuple[str, str] | None:
        """The two facts, in the unit of this one, of a difference or a middle."""
        return self.difference or self.middle

    @property
    def of(self) -> tuple[str, ...]:
        """Facts that it follows from."""
        if self.loss_percent is not None:
            return self.loss_percent.before, self.loss_percent.after
        if self.pair is not None:
            return self.pair
        if self.bed is None:
            return tuple(entry.fact for entry in self.points)
        return tuple(name for name in (self.bed.dose_gy, self.bed.fractions, self.bed.courses) if name is not None)

    def value(self, known: Mapping[str, Any]) -> float | None:
        """Return the fact for known values; None while one that it needs is not known, and for several courses.

        Examples
        --------
        >>> Computed(bed=BedEntry(dose_gy="dose", fractions="n", alpha_beta_gy=2)).value({"dose": 48.0, "n": 24})
        96.0
        """
        if any(known.get(name) is None for name in self.of):
            return None
        if self.loss_percent is not None:
            # Exact: from 60.0 to 57.0 kg are 5 %, not a bit more.
            before, after = (Fraction(str(known[name])) for name in self.of)
            return float(100 * (before - after) / before) if before > 0 else None
        if self.pair is not None:
            first, second = (float(known[name]) for name in self.pair)
            made = first - second if self.difference is not None else (first + second) / 2
            return round(made if self.at_least is None else max(made, self.at_least), DECIMALS)
        if self.bed is None:
            return sum(entry.points[known[entry.fact]] for entry in self.points)
        if self.bed.courses is not None and known[self.bed.courses] != 1:
            return None
        dose_gy, fractions = known[self.bed.dose_gy], known[self.bed.fractions]
        return round(float(bed(dose_gy, fractions, self.bed.alpha_beta_gy)), DECIMALS)

    def require_agreement(self, name: str, told: float, made: float) -> None:
        """Refuse a recorded fact that differs from what follows from the others.

        Raises
        ------
        InputError
            Naming all of them.
        """
        is_measured = self.loss_percent is not None or self.pair is not None
        if abs(told - made) > (ROUNDED if is_measured else 10.0**-DECIMALS):
            raise InputError(
                f"facts contradict each other: '{name}' is {told:g}, but {made:g} follows from {', '.join(self.of)}; "
                "correct the clinical record, or leave one of them out"
            )

    def mistakes(self, name: str, kinds: Mapping[str, str], choices: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
        """Find what does not fit the facts of the file.

        Parameters
        ----------
        name : str
            Of the fact that is computed.
        kinds : dict of str
            Type of every fact of the file.
        choices : dict of tuple of str
            Of the facts that are choices.
        """
        for other in self.of:
            if other not in kinds or other == name:
                yield f"'{name}' cannot be computed from '{other}': expected another fact of the file"
        for entry in self.points:
            if set(entry.points) != set(choices.get(entry.fact, ())):
                yield f"'{entry.fact}' needs points for each of its choices: {', '.join(choices.get(entry.fact, ()))}"
        if not self.points and any(kinds.get(other) not in ("number", "integer", None) for other in self.of):
            yield f"it is computed from numbers; found {', '.join(f'{n} ({kinds.get(n)})' for n in self.of)}"

"""One dose distribution at other doses and in other numbers of fractions: which limits hold, what follows, how far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from tailort.errors import InputError
from tailort.evaluation import DVH, Row, assess
from tailort.patient import Constraint, Dose, Prescription, StructureSet
from tailort.patient.prescription import MAX_PHYSICAL_COURSE_GY
from tailort.radiobiology import bed, eqd2
from tailort.radiobiology.packaged import packaged

# A dose is proposed to this much, Gy per course.
STEP_GY = 0.01
LEVELS = 25
# Longer courses are a slip of the pen.
MOST_FRACTIONS = 100


@dataclass(frozen=True)
class DoseLevel:
    """The course at one dose of its lead prescription and in one number of fractions.

    Parameters
    ----------
    dose_gy : float
        Of the lead prescription, physical, Gy per course.
    fractions : int
        Equal ones.
    limits : tuple of Row
        Every limit that more dose can break; hard ones and caps have the priority "hard".
    outcomes : tuple of Row
        TCP, NTCP and excess relative risks, %.
    bed_gy, eqd2_gy : float or None
        Of the lead prescription with the protocol's alpha/beta of targets, Gy per course; None is unknown.
    signature : tuple of str
        In what it departs from what the protocol prescribes: not without a signature (IR-10).
    """

    dose_gy: float
    fractions: int
    limits: tuple[Row, ...]
    outcomes: tuple[Row, ...]
    bed_gy: float | None
    eqd2_gy: float | None
    signature: tuple[str, ...]

    @property
    def dose_per_fraction_gy(self) -> float:
        """Physical dose of one fraction of the lead prescription, Gy."""
        return self.dose_gy / self.fractions

    @property
    def broken_goals(self) -> tuple[Row, ...]:
        """Goals that do not hold at this dose."""
        return tuple(row for row in self.limits if row.priority == "goal" and row.verdict == "fail")

    @property
    def unknown(self) -> tuple[Row, ...]:
        """Limits that cannot be judged at this dose, hard ones first."""
        found = [row for row in self.limits if row.verdict == "unknown"]
        return tuple(sorted(found, key=lambda row: row.priority != "hard"))

    def as_dict(self) -> dict[str, Any]:
        """Return the level ready for JSON."""
        return {
            "dose_gy": self.dose_gy,
            "fractions": self.fractions,
            "dose_per_fraction_gy": self.dose_per_fraction_gy,
            "bed_gy": self.bed_gy,
            "eqd2_gy": self.eqd2_gy,
            "needs_signature": list(self.signature),
            "limits": [row.as_dict() for row in self.limits],
            "outcomes": [row.as_dict() for row in self.outcomes],
        }


@dataclass(frozen=True)
class Proposal:
    """The largest dose that every hard limit and cap allows in one number of fractions, and the way there.

    Parameters
    ----------
    fractions : int
        Equal ones.
    level : DoseLevel or None
        At that dose; None where a limit does not hold at the lowest dose of the range already.
    binding : tuple of Row
        Limits that do not hold at 0.01 Gy more, as they are there, or at the lowest dose where there is no level; empty
        where the range ends it.
    unjudged : tuple of Row
        Hard limits that cannot be judged at the lowest dose: they hold the dose back only where they certainly fail.
    curve : tuple of DoseLevel
        Over the whole range, doses ascending.
    """

    fractions: int
    level: DoseLevel | None
    binding: tuple[Row, ...]
    unjudged: tuple[Row, ...]
    curve: tuple[DoseLevel, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the proposal ready for JSON; the curve is a table of its own."""
        return {
            "fractions": self.fractions,
            "dose_gy": None if self.level is None else self.level.dose_gy,
            "held_by": [row.as_dict() for row in self.binding],
            "goals_broken": [] if self.level is None else [row.as_dict() for row in self.level.broken_goals],
            "hard_limits_not_judged": [row.as_dict() for row in self.unjudged],
            "at": None if self.level is None else self.level.as_dict(),
        }


@dataclass(frozen=True, eq=False)
class GivenCourse:
    """A dose that can be scaled, and what is asked of it.

    Scaling keeps the shape of the dose: nothing is planned again, and the tissue lies where it lay.

    Parameters
    ----------
    structures : StructureSet
        In the frame of reference of the dose.
    dose : Dose
        Physical, of the course, all fractions equal.
    histograms : dict of DVH
        Of `dose`, by the structures' own names.
    prescriptions : tuple of Prescription
        Of the course, one phase; they scale with the dose.
    lead : Prescription
        Of these the one whose dose is asked for.
    planned_gy : float
        Dose of the lead prescription that `dose` was made for, Gy per course.
    limits : tuple of Constraint
        That more dose can break; those in percent of a prescription stay at the dose that the protocol prescribes.
    outcomes : dict of tuple of str
        Metrics that are told, by structure.
    printed_gy : float
        Largest dose that the protocol prescribes to the target of the lead, Gy per course.
    printed_fraction_gy : float
        Highest dose per fraction that the protocol prescribes, Gy: up to this its physical limits are made for.
    alpha_beta_gy : float or None
        Of the targets; None is unknown.
    painted : bool
        Whether the dose of the target is not to be the same everywhere: then its near-maximum D2% must not exceed
        `printed_gy` either.
    after_oesophagectomy : bool or None
        Whether the oesophagus was removed; None is unknown.
    """

    structures: StructureSet
    dose: Dose
    histograms: Mapping[str, DVH]
    prescriptions: tuple[Prescription, ...]
    lead: Prescription
    planned_gy: float
    limits: tuple[Constraint, ...]
    outcomes: Mapping[str, tuple[str, ...]]
    printed_gy: float
    printed_fraction_gy: float
    alpha_beta_gy: float | None = None
    painted: bool = False
    after_oesophagectomy: bool | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.planned_gy <= MAX_PHYSICAL_COURSE_GY:
            raise InputError(f"the dose was made for {self.planned_gy:g} Gy; expected a dose above 0 and up to 200 Gy")

    @cached_property
    def _hard(self) -> tuple[Constraint, ...]:
        return tuple(c for c in self.limits if c.priority == "hard")

    def histogram(self, structure: str) -> DVH | None:
        """Return the histogram of the given dose in a structure; None where it is not there."""
        return next((found for name, found in self.histograms.items() if name.lower() == structure.lower()), None)

    def at(self, dose_gy: float, fractions: int) -> DoseLevel:
        """The course at a dose of the lead prescription, Gy, in a number of fractions."""
        rows = self._rows(dose_gy, fractions, self.limits, self.outcomes)
        parts = len(self.limits)
        known = self.alpha_beta_gy
        return DoseLevel(
            dose_gy,
            fractions,
            rows[:parts],
            rows[parts:],
            None if known is None else float(bed(dose_gy, fractions, known)),
            None if known is None else float(eqd2(dose_gy, fractions, known)),
            self._departures(dose_gy, fractions),
        )

    def largest(self, fractions: int, range_gy: tuple[float, float]) -> tuple[float | None, tuple[Row, ...]]:
        """Largest dose within a range, to 0.01 Gy, at which no hard limit fails or is newly unknown; what holds it.

        Every limit is monotone in the dose, so that halving finds it.

        Returns
        -------
        dose_gy : float or None
            Of the lead prescription; None where there is none in the range.
        binding : tuple of Row
            As in `Proposal`.
        """
        low, high = range_gy
        free = {_key(row) for row in self.unjudged(fractions, range_gy)}

        def broken(dose_gy: float) -> tuple[Row, ...]:
            rows = self._rows(dose_gy, fractions, self._hard, {})
            return tuple(
                row for row in rows if row.verdict == "fail" or (row.verdict == "unknown" and _key(row) not in free)
            )

        if not broken(high):
            return high, ()
        if at_lowest := broken(low):
            return None, at_lowest
        # In steps above the lowest dose: at `held` they hold, at `lost` they do not.
        held, lost = 0, int(np.ceil((high - low) / STEP_GY - 1e-9))
        while lost - held > 1:
            middle = (held + lost) // 2
            held, lost = (held, middle) if broken(_step(low, middle)) else (middle, lost)
        return _step(low, held), broken(min(_step(low, lost), high))

    def unjudged(self, fractions: int, range_gy: tuple[float, float]) -> tuple[Row, ...]:
        """Hard limits that cannot be judged at the lowest dose of the range."""
        rows = self._rows(range_gy[0], fractions, self._hard, {})
        return tuple(row for row in rows if row.verdict == "unknown")

    def _rows(
        self, dose_gy: float, fractions: int, limits: Sequence[Constraint], outcomes: Mapping[str, tuple[str, ...]]
    ) -> tuple[Row, ...]:
        """Limits, then outcomes, as the scorecard of the scaled dose has them."""
        factor, share = dose_gy / self.planned_gy, dose_gy / self.lead.dose_gy
        image = self.dose.image
        scaled = replace(self.dose, image=image.with_values((factor * image.values).astype(np.float32)))
        card = assess(
            self.structures,
            replace(scaled, fractions=fractions),
            limits,
            [replace(p, dose_gy=share * p.dose_gy, fractions=fractions) for p in self.prescriptions],
            metrics=outcomes,
            after_oesophagectomy=self.after_oesophagectomy,
            known={name: found.scaled(factor, fractions) for name, found in self.histograms.items()},
        )
        # Coverage of the prescriptions comes first.
        asked = len(limits) + sum(len(metrics) for metrics in outcomes.values())
        return tuple(self._marked(row, dose_gy / fractions) for row in card.rows[len(card.rows) - asked :])

    def _marked(self, row: Row, fraction_gy: float) -> Row:
        """A limit, marked where fractions are larger than it was made for; outcomes tell it themselves.

        Smaller fractions spare tissue, so a limit in physical dose holds for them all the more.
        """
        if row.extrapolated or row.operator is None:
            return row
        if row.quantity == "physical":
            most_gy, told = self.printed_fraction_gy, "that the protocol prescribes; the limit is taken as printed"
        else:
            most_gy = packaged("outcome_models.yaml")["lq_most_fraction_gy"]["value"]
            told = "up to which BED and EQD2 are used with care (RB-20)"
        if fraction_gy <= most_gy + 1e-9:
            return row
        return replace(row, extrapolated=f"yes: {fraction_gy:.3g} Gy per fraction is above the {most_gy:g} Gy {told}")

    def _departures(self, dose_gy: float, fractions: int) -> tuple[str, ...]:
        told = []
        target, own = self.lead.target, self.lead.fractions
        if dose_gy > self.printed_gy + 1e-9:
            told.append(f"{dose_gy:g} Gy to {target} are above the {self.printed_gy:g} Gy that the protocol prescribes")
        elif self.painted and (found := self.histogram(target)) is not None:
            near = found.scaled(dose_gy / self.planned_gy, fractions).bounds("D2%[Gy]")[1]
            if near > self.printed_gy:
                told.append(f"D2% of {target} is {near:.1f} Gy, above the {self.printed_gy:g} Gy of the painted range")
        if fractions != own:
            told.append(f"{fractions} fractions are not the {own} that the protocol prescribes")
        return tuple(told)


def propose(
    given: GivenCourse, fractions: Sequence[int], range_gy: tuple[float, float], levels: int = LEVELS
) -> tuple[Proposal, ...]:
    """Largest dose that holds every hard limit, and the curve over the range, for each number of fractions.

    The dose is raised until an organ's limit is reached, not to one number for all patients.

    Parameters
    ----------
    given : GivenCourse
        The dose and what is asked of it.
    fractions : sequence of int
        Numbers of fractions, each asked on its own.
    range_gy : (float, float)
        Lowest and highest dose of the lead prescription, Gy per course.
    levels : int
        Doses of each curve.

    Raises
    ------
    InputError
        For a range or fractions that are none.

    References
    ----------
    van Baardwijk A et al. Individualized radical radiotherapy of non-small-cell lung cancer based on normal tissue dose
    constraints: a feasibility study. Int J Radiat Oncol Biol Phys 2008;71:1394-1401, doi:10.1016/j.ijrobp.2007.11.070;
    results in J Clin Oncol 2010;28:1380-1386, doi:10.1200/JCO.2009.24.7221 (volumes and DOIs recalled).
    """
    low, high = range_gy
    if not 0.0 < low < high <= MAX_PHYSICAL_COURSE_GY:
        raise InputError(f"a range of doses ascends from above 0 to at most 200 Gy; found {low:g} to {high:g} Gy")
    wrong = [n for n in fractions if not 1 <= n <= MOST_FRACTIONS]
    if not fractions or wrong or len(set(fractions)) < len(fractions):
        told = ", ".join(str(n) for n in fractions) or "none"
        raise InputError(f"numbers of fractions are whole, 1 to {MOST_FRACTIONS}, each once; found {told}")
    doses = [round(float(gy), 4) for gy in np.linspace(low, high, levels)]
    made = []
    for n in fractions:
        dose_gy, binding = given.largest(n, range_gy)
        made.append(
            Proposal(
                n,
                None if dose_gy is None else given.at(dose_gy, n),
                binding,
                given.unjudged(n, range_gy),
                tuple(given.at(gy, n) for gy in doses),
            )
        )
    return tuple(made)


def _step(low_gy: float, steps: int) -> float:
    return round(low_gy + steps * STEP_GY, 6)


def _key(row: Row) -> tuple[Any, ...]:
    return row.structure.lower(), row.metric, row.quantity, row.scope, row.operator, row.limit

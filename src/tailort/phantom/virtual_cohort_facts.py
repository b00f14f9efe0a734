"""What a virtual table tells beside outcomes: laboratory checks, weights, words of readers, facts before treatment.

Drawn from a stream of its own, so that a seed's outcomes do not depend on it. As in life some of it is not told.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

DAYS_A_MONTH = 30.4375
SOURCE = "synthetic"
Row = dict[str, str]
TOLD = 0.95
"""Chance that a fact is in the table."""
CHECKED = 0.92
"""Chance that what was looked for before the second cycle and not found is entered as grade 0."""
LABORATORY = {"Alanine aminotransferase increased": 0.12, "Creatinine increased": 0.06}
"""Chance of grade 1 before the second cycle; no patient has more."""
EXAMINED_MONTHS = (3, 6, 12, 24)
NEW_LESION_AT_PROGRESSION = 0.4
RECOVERED_FROM = 2
"""Below this grade there is nothing to recover from."""


def of_facts(seed: int) -> np.random.Generator:
    """The stream of these facts."""
    return np.random.default_rng([seed, 1])


def before_treatment(draw: np.random.Generator) -> dict[str, str]:
    """Slice thickness of the CT, and earlier radiotherapy: in 12 % of patients, a quarter of them in its field."""
    thickness, earlier, inside = int(draw.choice([3, 5], p=[0.4, 0.6])), draw.random() < 0.12, draw.random() < 0.25
    told, asked = draw.random() < TOLD, draw.random() < TOLD
    return {
        "slice": str(thickness) if told else "",
        "earlier": flag(earlier) if asked else "",
        "in_field": flag(earlier and inside) if asked else "",
    }


def last_fraction(draw: np.random.Generator) -> int | None:
    """Days from the first to the last of 3 to 5 fractions every other day; None is not told."""
    days = 2 * (int(draw.integers(3, 6)) - 1)
    return days if draw.random() < TOLD else None


def weight_before(draw: np.random.Generator, weight_kg: float) -> str:
    """Weight before treatment."""
    weight = weight_kg + float(draw.normal(0, 0.5))
    return f"{weight:.1f}" if draw.random() < TOLD else ""


def checked_before_cycle(
    draw: np.random.Generator, found: Mapping[str, int], terms: Mapping[str, object]
) -> dict[str, int]:
    """Grades of a check before the second cycle, of what has no entry by then; empty where nothing was entered.

    Parameters
    ----------
    draw : Generator
        Of these facts.
    found : mapping of str to int
        Grades of the events by then.
    terms : mapping of str
        Terms that are looked for, beside the laboratory's.
    """
    laboratory = {term: int(draw.random() < chance) for term, chance in LABORATORY.items()}
    if draw.random() >= CHECKED:
        return {}
    return {**{term: 0 for term in terms if term not in found}, **laboratory}


def recovered(draw: np.random.Generator, found: Mapping[str, int]) -> str:
    """Whether toxicity had recovered by the second cycle, as in 97 % of those who had any."""
    yes, told = draw.random() < 0.97, draw.random() < TOLD
    return flag(yes or max(found.values(), default=0) < RECOVERED_FROM) if told else ""


def reader_words(draw: np.random.Generator, progression: bool) -> dict[str, str]:
    """What a reader says of an examination: a new lesion, non-target lesions that have progressed."""
    new, told = progression and draw.random() < NEW_LESION_AT_PROGRESSION, draw.random() < TOLD
    return {"new_lesion": flag(new), "non_target_progression": "0"} if told else {}


def days_to_event(draw: np.random.Generator, per_month: float) -> int:
    """Whole days to an event of constant hazard, at least one."""
    return max(1, int(draw.exponential(1 / per_month) * DAYS_A_MONTH))


def flag(value: object) -> str:
    """A yes or no as the table has it."""
    return "1" if value else "0"

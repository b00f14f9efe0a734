"""What a drug's printed dose is for one patient, by every reading of the text. Never an order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from tailort.errors import InputError
from tailort.protocols.drugs import DoseReading, DrugEntry
from tailort.protocols.scores.body_surface import check_bsa

NOT_AN_ORDER = "calculated for review by a clinician; not an order"


@dataclass(frozen=True)
class ReadDose:
    """A drug's dose in one cycle by one reading of the text.

    Parameters
    ----------
    reading : str
        Its name.
    text : str
        What it says.
    mg_by_day : tuple of (int, float)
        Day of the cycle, from 1, and mg on it, not rounded; empty when the body surface area is unknown.
    mg_per_cycle : float or None
        Their sum.
    capped : bool or None
        Whether the printed cap was reached; None when unknown. Without a printed cap it is never.
    """

    reading: str
    text: str
    mg_by_day: tuple[tuple[int, float], ...]
    mg_per_cycle: float | None
    capped: bool | None


@dataclass(frozen=True)
class DrugDose:
    """One drug of a regimen and its dose by all readings.

    Parameters
    ----------
    drug : str
        Its name.
    days : tuple of int
        Days of the cycle on which it is given.
    taken : str or None
        Name of the reading that is the protocol's default; None where none may be taken.
    doses : tuple of ReadDose
        All readings, in the order of the protocol file.
    dose_factor : float
        What part of the original, capped dose they are.
    order : {"never", "after-confirmation"}
        What the protocol file says of ordering; either way these numbers are none.
    statement : str
        The same in words, to be shown beside every dose.
    missing : tuple of str
        What is unknown.
    rules : tuple of str
        Ids of the rules it rests on.
    """

    drug: str
    days: tuple[int, ...]
    taken: str | None
    doses: tuple[ReadDose, ...]
    dose_factor: float
    order: Literal["never", "after-confirmation"]
    statement: str
    missing: tuple[str, ...]
    rules: tuple[str, ...]


def drug_dose(drug: DrugEntry, bsa_m2: float | None, dose_factor: float = 1.0) -> DrugDose:
    """Dose of one drug in one cycle by all readings of its printed dose.

    Parameters
    ----------
    drug : DrugEntry
        Of a protocol file.
    bsa_m2 : float or None
        Body surface area, m2; None is unknown.
    dose_factor : float
        Part of the original dose, above 0 and at most 1; it multiplies the capped dose, which is what was given.

    Raises
    ------
    InputError
        When the body surface area is outside 0.5 to 3.0 m2, or the factor outside 0 to 1.

    Examples
    --------
    >>> reading = DoseReading(id="per-cycle", mg_m2=30, per="cycle", cap_mg=50, cap_per="cycle")
    >>> drug = DrugEntry(name="lobaplatin", days=(1, 2), doses=(reading,), default="per-cycle", order="never")
    >>> drug_dose(drug, 1.8).doses[0].mg_by_day
    ((1, 25.0), (2, 25.0))
    """
    if bsa_m2 is not None:
        check_bsa(bsa_m2)
    if not (math.isfinite(dose_factor) and 0 < dose_factor <= 1):
        raise InputError(f"{drug.name}: the dose factor is {dose_factor}; expected above 0 and at most 1")
    return DrugDose(
        drug=drug.name if drug.infusion_hours is None else f"{drug.name} over {drug.infusion_hours:g} hours",
        days=drug.days,
        taken=drug.default,
        doses=tuple(_read(dose, drug.days, bsa_m2, dose_factor) for dose in drug.doses),
        dose_factor=dose_factor,
        order=drug.order,
        statement=NOT_AN_ORDER,
        missing=("body surface area",) if bsa_m2 is None and drug.doses else (),
        rules=drug.rules,
    )


def dose_in_words(dose: DoseReading, days: tuple[int, ...]) -> str:
    """Say what one reading of a printed dose is.

    Examples
    --------
    >>> dose_in_words(DoseReading(id="a", mg_m2=30, per="cycle", cap_mg=50, cap_per="cycle"), (1, 2))
    '30 mg/m2 a cycle, split evenly over days 1 and 2, at most 50 mg a cycle'
    """
    on = f"day{'s' * (len(days) > 1)} {', '.join(str(day) for day in days[:-1])}{' and ' * (len(days) > 1)}{days[-1]}"
    if dose.per == "cycle":
        split = f"split evenly over {on}" if len(days) > 1 else f"on {on}"
        text = f"{dose.mg_m2:g} mg/m2 a cycle, {split}"
    else:
        text = f"{dose.mg_m2:g} mg/m2 on {'each of ' * (len(days) > 1)}{on}"
    return text if dose.cap_mg is None else f"{text}, at most {dose.cap_mg:g} mg a {dose.cap_per}"


def _read(dose: DoseReading, days: tuple[int, ...], bsa_m2: float | None, dose_factor: float) -> ReadDose:
    text = dose_in_words(dose, days)
    if bsa_m2 is None:
        return ReadDose(dose.id, text, (), None, None if dose.cap_mg is not None else False)
    # Exact, so that 1.60 m2 and 135 mg/m2 are 216 mg.
    daily = Fraction(str(dose.mg_m2)) * Fraction(str(float(bsa_m2)))
    if dose.per == "cycle":
        daily /= len(days)
    capped = False
    if dose.cap_mg is not None:
        cap = Fraction(str(dose.cap_mg)) / (len(days) if dose.cap_per == "cycle" else 1)
        capped = daily >= cap
        daily = min(daily, cap)
    given = daily * Fraction(str(dose_factor))
    return ReadDose(dose.id, text, tuple((day, float(given)) for day in days), float(given * len(days)), capped)

"""Doses of the modularised salvage protocol as its text can be read. Never an order.

| rule | what | mark |
|---|---|---|
| MS-80 | paclitaxel 135-150 mg/m2 day 1 with lobaplatin or nedaplatin days 1-2, every 3 weeks | seed |
| MS-81 | lobaplatin, three readings | ambiguous; default the lowest |
| MS-82 | nedaplatin, two readings | ambiguous; none is taken |
| MS-83 | paclitaxel in its range | ambiguous; default the low end |
| MS-85 | consolidation | seed |
| MS-86 | second line after taxane and platinum | seed |
| MS-87 | 6 months from what | ambiguous; default the last dose |
| MS-91 | 80 % of the original dose | seed; of all drugs: ambiguous |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Literal, get_args

from tailort.errors import InputError
from tailort.protocols.scores.basis import Cited, Mark, ReadingTaken, one_of, positive
from tailort.protocols.scores.body_surface import check_bsa
from tailort.protocols.scores.months import within_months

Drug = Literal["paclitaxel", "lobaplatin", "nedaplatin"]
Platinum = Literal["lobaplatin", "nedaplatin"]

NOT_AN_ORDER = "calculated for review by a clinician; not an order"

DOSE_FACTORS = (1.0, 0.8)
"""MS-91: the original dose, and what remains of it after haematological toxicity of grade 3."""

_SOURCE = "modularised salvage chemoradiation, NCT03731442"
_LOWEST_KPS = 70
_MOST_LOSS_PERCENT = 5
_SOON_MONTHS = 6


@dataclass(frozen=True)
class DoseReading:
    """A drug's dose in one cycle by one reading of the text.

    Parameters
    ----------
    name : str
        The reading.
    text : str
        What it says.
    mg_by_day : tuple of (int, float)
        Day of the cycle, from 1, and mg on it, not rounded; empty when the body surface area is unknown.
    mg_per_cycle : float or None
        Their sum.
    capped : bool or None
        Whether the printed cap was reached; None when unknown. Without a printed cap it is never.
    """

    name: str
    text: str
    mg_by_day: tuple[tuple[int, float], ...]
    mg_per_cycle: float | None
    capped: bool | None


@dataclass(frozen=True)
class DrugAnswer:
    """All readings of one drug's dose.

    Parameters
    ----------
    drug : Drug
        Which one.
    taken : str or None
        Name of the reading that is the protocol's default; None where none may be taken.
    doses : tuple of DoseReading
        All readings, a default first.
    dose_factor : float
        What part of the original, capped dose they are.
    order : {"never"}
        No answer of this package is an order.
    statement : str
        The same in words, to be shown beside every dose.
    missing : tuple of str
        What is unknown.
    readings : tuple of ReadingTaken
        Ambiguous rules that took part.
    cited : tuple of Cited
        Rules that took part.
    """

    drug: Drug
    taken: str | None
    doses: tuple[DoseReading, ...]
    dose_factor: float
    order: Literal["never"]
    statement: str
    missing: tuple[str, ...]
    readings: tuple[ReadingTaken, ...]
    cited: tuple[Cited, ...]


@dataclass(frozen=True)
class YesNoUnknown:
    """An answer that may be unknown.

    Parameters
    ----------
    answer : {"yes", "no", "unknown"}
        The answer.
    reasons : tuple of str
        Conditions that decided it.
    missing : tuple of str
        What is unknown and could still decide it.
    readings : tuple of ReadingTaken
        Ambiguous rules that took part.
    cited : tuple of Cited
        Rules that took part.
    """

    answer: Literal["yes", "no", "unknown"]
    reasons: tuple[str, ...]
    missing: tuple[str, ...]
    readings: tuple[ReadingTaken, ...]
    cited: tuple[Cited, ...]


@dataclass(frozen=True)
class _Printed:
    name: str
    text: str
    mg_m2_by_day: tuple[tuple[int, float], ...]
    cap_mg: float | None = None
    cap_per: Literal["day", "cycle"] = "cycle"


_PRINTED: dict[Drug, tuple[_Printed, ...]] = {
    "paclitaxel": (
        _Printed("low-end", "135 mg/m2 on day 1", ((1, 135.0),)),
        _Printed("high-end", "150 mg/m2 on day 1", ((1, 150.0),)),
    ),
    "lobaplatin": (
        _Printed(
            "a", "30 mg/m2 a cycle, at most 50 mg a cycle, half on each of days 1-2", ((1, 15.0), (2, 15.0)), 50.0
        ),
        _Printed("b", "30 mg/m2 on each of days 1-2, at most 50 mg each day", ((1, 30.0), (2, 30.0)), 50.0, "day"),
        _Printed("c", "30 mg/m2 on each of days 1-2, at most 50 mg a cycle", ((1, 30.0), (2, 30.0)), 50.0),
    ),
    "nedaplatin": (
        _Printed("a", "50 mg/m2 on each of days 1-2, no cap printed", ((1, 50.0), (2, 50.0))),
        _Printed("b", "50 mg/m2 a cycle, half on each of days 1-2, no cap printed", ((1, 25.0), (2, 25.0))),
    ),
}
_DEFAULTS: dict[Drug, str | None] = {"paclitaxel": "low-end", "lobaplatin": "a", "nedaplatin": None}
_AMBIGUOUS: dict[Drug, str] = {"paclitaxel": "MS-83", "lobaplatin": "MS-81", "nedaplatin": "MS-82"}


def drug_dose(drug: Drug, bsa_m2: float | None, dose_factor: float) -> DrugAnswer:
    """Dose of one drug in one cycle by all readings; None is unknown.

    Parameters
    ----------
    drug : {"paclitaxel", "lobaplatin", "nedaplatin"}
        Which one.
    bsa_m2 : float or None
        Body surface area, m2.
    dose_factor : {1.0, 0.8}
        Part of the original dose; it multiplies the capped dose, which is what was given before.

    Raises
    ------
    InputError
        When the drug is not of this protocol, the body surface area is outside 0.5 to 3.0 m2, or the factor is another.

    Examples
    --------
    >>> [dose.mg_per_cycle for dose in drug_dose("lobaplatin", 1.8, 1.0).doses]
    [50.0, 100.0, 50.0]
    """
    one_of(drug, get_args(Drug), "the drug")
    if bsa_m2 is not None:
        check_bsa(bsa_m2)
    if dose_factor not in DOSE_FACTORS:
        raise InputError(f"the dose factor is {dose_factor}; the protocol has 1.0 (original) and 0.8 (MS-91)")
    doses = tuple(_dose(printed, bsa_m2, dose_factor) for printed in _PRINTED[drug])
    taken = _DEFAULTS[drug]
    reading = ReadingTaken(
        _AMBIGUOUS[drug],
        next((_told(dose) for dose in doses if dose.name == taken), None),
        tuple(_told(dose) for dose in doses if dose.name != taken),
    )
    reduced = dose_factor != 1.0
    marks: list[tuple[str, Mark]] = [("MS-80", "seed"), (_AMBIGUOUS[drug], "ambiguous")]
    readings = [reading]
    if reduced:
        marks.append(("MS-91", "ambiguous"))
        readings.append(
            ReadingTaken(
                "MS-91",
                "80 % of the dose that was given, its cap included, of all drugs",
                ("80 % of the dose per m2, then the cap", "80 % only of the drug that caused the toxicity"),
            )
        )
    return DrugAnswer(
        drug=drug,
        taken=taken,
        doses=doses,
        dose_factor=dose_factor,
        order="never",
        statement=NOT_AN_ORDER,
        missing=("bsa_m2",) if bsa_m2 is None else (),
        readings=tuple(readings),
        cited=tuple(Cited(rule, mark, _SOURCE) for rule, mark in marks),
    )


def salvage_cycle(bsa_m2: float | None, platinum: Platinum | None, dose_factor: float) -> tuple[DrugAnswer, ...]:
    """Doses of one cycle: paclitaxel and the platinum; both platinums as long as the choice is unknown.

    Parameters
    ----------
    bsa_m2 : float or None
        Body surface area, m2.
    platinum : {"lobaplatin", "nedaplatin"} or None
        The text leaves the choice open (MS-80).
    dose_factor : {1.0, 0.8}
        Part of the original dose.

    Raises
    ------
    InputError
        As `drug_dose`.
    """
    if platinum is not None:
        one_of(platinum, get_args(Platinum), "the platinum")
    drugs: Sequence[Drug] = get_args(Platinum) if platinum is None else (platinum,)
    return tuple(drug_dose(drug, bsa_m2, dose_factor) for drug in ("paclitaxel", *drugs))


def weight_loss_percent(before_kg: float, after_kg: float) -> float:
    """Loss of body weight, % of the weight before; a gain is negative.

    Raises
    ------
    InputError
        When a weight is not above zero.

    Examples
    --------
    >>> weight_loss_percent(60.0, 57.0)
    5.0
    """
    return float(_loss(before_kg, after_kg))


def consolidation(
    kps: int | None,
    swallows_more_than_semisolid: bool | None,
    nasal_feeding: bool | None,
    before_kg: float | None,
    after_kg: float | None,
) -> YesNoUnknown:
    """Whether consolidation is given, all conditions of MS-85 met; None is unknown.

    Parameters
    ----------
    kps : int or None
        Karnofsky performance status.
    swallows_more_than_semisolid, nasal_feeding : bool or None
        One of them is enough.
    before_kg, after_kg : float or None
        Weights at the end of radiotherapy and 1 to 2 months later, kg.

    Raises
    ------
    InputError
        When the performance status is not a multiple of 10 from 0 to 100, or a weight is not above zero.
    """
    if kps is not None and (isinstance(kps, bool) or kps not in range(0, 101, 10)):
        raise InputError(f"KPS is {kps}; expected a multiple of 10 from 0 to 100")
    fed = _either(swallows_more_than_semisolid, nasal_feeding)
    for value, what in ((before_kg, "the weight before in kg"), (after_kg, "the weight after in kg")):
        if value is not None:
            positive(value, what)
    kept = None if before_kg is None or after_kg is None else _loss(before_kg, after_kg) <= _MOST_LOSS_PERCENT
    conditions: tuple[tuple[str, bool | None, tuple[str, ...]], ...] = (
        ("KPS at least 70", None if kps is None else kps >= _LOWEST_KPS, ("kps",)),
        (
            "swallows more than semisolid food or has nasal feeding",
            fed,
            tuple(
                name
                for name, value in (
                    ("swallows_more_than_semisolid", swallows_more_than_semisolid),
                    ("nasal_feeding", nasal_feeding),
                )
                if value is None
            ),
        ),
        (
            "weight loss at most 5 %",
            kept,
            tuple(name for name, value in (("before_kg", before_kg), ("after_kg", after_kg)) if value is None),
        ),
    )
    return _all(conditions, (), (Cited("MS-85", "seed", _SOURCE),))


def second_line(
    prior_taxane: bool | None, prior_platinum: bool | None, last_dose: date | None, recurrence: date | None
) -> YesNoUnknown:
    """Whether a second-line regimen, which a clinician names, replaces the printed one (MS-86); None is unknown.

    Parameters
    ----------
    prior_taxane, prior_platinum : bool or None
        Drugs of the earlier chemotherapy.
    last_dose, recurrence : date or None
        Last dose of that chemotherapy, and the locoregional recurrence.
    """
    soon: bool | None = None
    during = last_dose is not None and recurrence is not None and recurrence < last_dose
    missing = tuple(name for name, value in (("last_dose", last_dose), ("recurrence", recurrence)) if value is None)
    if during:
        missing = ("clinician: the recurrence is before the last dose",)
    elif last_dose is not None and recurrence is not None:
        soon = within_months(last_dose, recurrence, _SOON_MONTHS)
    conditions = (
        ("prior taxane", prior_taxane, ("prior_taxane",)),
        ("prior platinum", prior_platinum, ("prior_platinum",)),
        ("recurrence within 6 calendar months of the last dose", soon, missing),
    )
    reading = ReadingTaken(
        "MS-87", "6 months from the last dose of that chemotherapy", ("from another day, which the text does not name",)
    )
    cited = (Cited("MS-86", "seed", _SOURCE), Cited("MS-87", "ambiguous", _SOURCE))
    return _all(conditions, (reading,), cited)


def _dose(printed: _Printed, bsa_m2: float | None, dose_factor: float) -> DoseReading:
    if bsa_m2 is None:
        return DoseReading(printed.name, printed.text, (), None, None if printed.cap_mg is not None else False)
    # Exact, so that 1.60 m2 and 135 mg/m2 are 216 mg.
    bsa, cap = Fraction(str(float(bsa_m2))), Fraction(printed.cap_mg or 0)
    days = [(day, Fraction(mg_m2) * bsa) for day, mg_m2 in printed.mg_m2_by_day]
    capped = False
    if printed.cap_mg is not None and printed.cap_per == "day":
        capped = any(mg >= cap for _, mg in days)
        days = [(day, min(mg, cap)) for day, mg in days]
    elif printed.cap_mg is not None:
        total = sum(mg for _, mg in days)
        capped = total >= cap
        if capped:
            days = [(day, mg * cap / total) for day, mg in days]
    factor = Fraction(str(dose_factor))
    given = tuple((day, float(mg * factor)) for day, mg in days)
    return DoseReading(printed.name, printed.text, given, float(sum(mg for _, mg in days) * factor), capped)


def _told(dose: DoseReading) -> str:
    if dose.mg_per_cycle is None:
        return f"{dose.name}: {dose.text}"
    return f"{dose.name}: {dose.text}: {dose.mg_per_cycle:g} mg a cycle"


def _loss(before_kg: float, after_kg: float) -> Fraction:
    positive(before_kg, "the weight before in kg")
    positive(after_kg, "the weight after in kg")
    before, after = Fraction(str(float(before_kg))), Fraction(str(float(after_kg)))
    return 100 * (before - after) / before


def _either(first: bool | None, second: bool | None) -> bool | None:
    if first or second:
        return True
    return None if first is None or second is None else False


def _all(
    conditions: Sequence[tuple[str, bool | None, tuple[str, ...]]],
    readings: tuple[ReadingTaken, ...],
    cited: tuple[Cited, ...],
) -> YesNoUnknown:
    """Strong Kleene: one condition that fails decides, whatever is unknown."""
    failed = tuple(text for text, met, _ in conditions if met is False)
    if failed:
        return YesNoUnknown("no", tuple(f"not met: {text}" for text in failed), (), readings, cited)
    missing = tuple(name for _, met, names in conditions if met is None for name in names)
    if missing:
        return YesNoUnknown("unknown", (), missing, readings, cited)
    return YesNoUnknown("yes", tuple(text for text, _, _ in conditions), (), readings, cited)

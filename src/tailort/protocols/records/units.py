"""Units of facts, and exact conversion between units of the same kind."""

from __future__ import annotations

from fractions import Fraction

from tailort.errors import InputError

# Kind and size of a unit: definitions only. Amounts of substance (mmol/L) are no masses: that takes a molar mass.
_UNITS: dict[str, tuple[str, Fraction]] = {
    "mm": ("length", Fraction(1)),
    "cm": ("length", Fraction(10)),
    "m": ("length", Fraction(1000)),
    "mg": ("mass", Fraction(1)),
    "g": ("mass", Fraction(1000)),
    "kg": ("mass", Fraction(10**6)),
    "min": ("time", Fraction(1)),
    "h": ("time", Fraction(60)),
    "days": ("time", Fraction(1440)),
    "weeks": ("time", Fraction(7 * 1440)),
    "mL": ("volume", Fraction(1)),
    "cm3": ("volume", Fraction(1)),
    "L": ("volume", Fraction(1000)),
    "mg/L": ("mass concentration", Fraction(1)),
    "mg/dL": ("mass concentration", Fraction(10)),
    "g/L": ("mass concentration", Fraction(1000)),
    "g/dL": ("mass concentration", Fraction(10**4)),
    "umol/L": ("amount concentration", Fraction(1)),
    "mmol/L": ("amount concentration", Fraction(1000)),
    "/uL": ("cell count", Fraction(1)),
    "10^3/uL": ("cell count", Fraction(1000)),
    "10^9/L": ("cell count", Fraction(1000)),
    "mL/min": ("flow", Fraction(1)),
    "mL/s": ("flow", Fraction(60)),
    "U/L": ("enzyme activity", Fraction(1)),
    "ukat/L": ("enzyme activity", Fraction(60)),
    "cGy": ("absorbed dose", Fraction(1)),
    "Gy": ("absorbed dose", Fraction(100)),
    "%": ("share", Fraction(1)),
    "1": ("share", Fraction(100)),
}
_SPELLINGS = {
    "g/l": "g/L",
    "g/dl": "g/dL",
    "mg/dl": "mg/dL",
    "mg/l": "mg/L",
    "umol/l": "umol/L",
    "mmol/l": "mmol/L",
    "ml": "mL",
    "cc": "cm3",
    "l": "L",
    "ml/min": "mL/min",
    "ml/s": "mL/s",
    "u/l": "U/L",
    "iu/l": "U/L",
    "ukat/l": "ukat/L",
    "10e9/l": "10^9/L",
    "10*9/l": "10^9/L",
    "10^9/l": "10^9/L",
    "10*3/ul": "10^3/uL",
    "10^3/ul": "10^3/uL",
    "k/ul": "10^3/uL",
    "/ul": "/uL",
    "cells/ul": "/uL",
}


def unit_name(text: str) -> str:
    """Return a unit in the spelling used here; one that is not known stays as it is, without outer spaces.

    Examples
    --------
    >>> unit_name("x10*9/l")
    '10^9/L'
    """
    bare = text.strip().replace("\N{MICRO SIGN}", "u").replace("\N{GREEK SMALL LETTER MU}", "u")
    bare = bare.removeprefix("x").removeprefix("\N{MULTIPLICATION SIGN}").replace(" ", "") if "10" in bare else bare
    return bare if bare in _UNITS else _SPELLINGS.get(bare.lower(), bare)


def conversion_factor(unit: str, to: str) -> Fraction:
    """Number by which a value in one unit is multiplied to have it in another, exact.

    Raises
    ------
    InputError
        When the units are not known to be of the same kind.

    Examples
    --------
    >>> conversion_factor("g/dL", "g/L")
    Fraction(10, 1)
    """
    own, wanted = unit_name(unit), unit_name(to)
    if own == wanted:
        return Fraction(1)
    for name in (own, wanted):
        if name not in _UNITS:
            raise InputError(f"the unit '{name}' is not known, so '{own}' cannot be turned into '{wanted}'")
    (kind, size), (other_kind, other_size) = _UNITS[own], _UNITS[wanted]
    if kind != other_kind:
        raise InputError(f"'{own}' ({kind}) cannot be turned into '{wanted}' ({other_kind})")
    return size / other_size

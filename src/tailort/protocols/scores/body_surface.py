"""Body surface area by a named formula.

| rule | what | mark |
|---|---|---|
| G-05 | 0.5 to 3.0 m2, anything else is invalid | derived |

The formulas are recalled from the literature; no seed names one, so the caller does.

References
----------
Mosteller RD, N Engl J Med 1987;317:1098. DOI 10.1056/NEJM198710223171717
DuBois D, DuBois EF, Arch Intern Med 1916;17:863. DOI 10.1001/archinte.1916.00080130010002
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from tailort.errors import InputError
from tailort.protocols.scores.basis import Cited, one_of, positive, within

BsaFormula = Literal["mosteller", "dubois"]

LOWEST_BSA_M2 = 0.5
HIGHEST_BSA_M2 = 3.0

_FORMULAS: dict[str, tuple[str, str]] = {
    "mosteller": ("sqrt(height_cm x weight_kg / 3600)", "Mosteller 1987"),
    "dubois": ("0.007184 x height_cm^0.725 x weight_kg^0.425", "DuBois and DuBois 1916"),
}


@dataclass(frozen=True)
class BsaAnswer:
    """Body surface area.

    Parameters
    ----------
    bsa_m2 : float or None
        m2, not rounded; None when height or weight is unknown.
    formula : BsaFormula
        Its name.
    text : str
        The formula itself.
    missing : tuple of str
        What is unknown.
    cited : tuple of Cited
        Rules that took part.
    """

    bsa_m2: float | None
    formula: BsaFormula
    text: str
    missing: tuple[str, ...]
    cited: tuple[Cited, ...]


def check_bsa(bsa_m2: float) -> None:
    """Stop at a body surface area outside 0.5 to 3.0 m2 (G-05).

    Raises
    ------
    InputError
        When it is outside.
    """
    within(bsa_m2, LOWEST_BSA_M2, HIGHEST_BSA_M2, "the body surface area in m2")


def body_surface(height_cm: float | None, weight_kg: float | None, formula: BsaFormula) -> BsaAnswer:
    """Body surface area from height and weight; None is unknown.

    Parameters
    ----------
    height_cm, weight_kg : float or None
        Body height in cm, weight in kg.
    formula : {"mosteller", "dubois"}
        There is no default: no seed names a formula.

    Raises
    ------
    InputError
        When a number is not above zero, the formula is unknown, or the result is outside 0.5 to 3.0 m2.

    Examples
    --------
    >>> round(body_surface(170, 65, "mosteller").bsa_m2, 3)
    1.752
    """
    one_of(formula, get_args(BsaFormula), "the formula of the body surface area")
    text, source = _FORMULAS[formula]
    for value, what in ((height_cm, "the height in cm"), (weight_kg, "the weight in kg")):
        if value is not None:
            positive(value, what)
    missing = tuple(name for name, value in (("height_cm", height_cm), ("weight_kg", weight_kg)) if value is None)
    cited = (Cited("G-05", "derived", "protocols, general rules"), Cited(f"bsa-{formula}", "lit-recalled", source))
    if height_cm is None or weight_kg is None:
        return BsaAnswer(None, formula, text, missing, cited)
    if formula == "mosteller":
        bsa_m2 = math.sqrt(height_cm * weight_kg / 3600)
    else:
        bsa_m2 = 0.007184 * height_cm**0.725 * weight_kg**0.425
    if not LOWEST_BSA_M2 <= bsa_m2 <= HIGHEST_BSA_M2:
        raise InputError(
            f"height {height_cm:g} cm and weight {weight_kg:g} kg give {bsa_m2:.2f} m2; expected "
            f"{LOWEST_BSA_M2:g} to {HIGHEST_BSA_M2:g} m2: check the units"
        )
    return BsaAnswer(bsa_m2, formula, text, (), cited)

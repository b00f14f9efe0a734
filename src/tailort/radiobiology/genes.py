"""Radiosensitivity from the expression of ten genes: RSI, the genomic adjusted radiation dose, and the dose for it.

A proposal for research, never an order: no GARD to aim at is recorded for oesophageal cancer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby

from tailort.errors import InputError
from tailort.radiobiology.packaged import packaged


@dataclass(frozen=True)
class Rsi:
    """Radiosensitivity index of one sample: predicted surviving fraction at 2 Gy; higher is more resistant.

    Parameters
    ----------
    value : float
        By ranks; where genes have the same expression by their mean rank.
    ranks : tuple of (str, float)
        Each gene with its rank in the sample, 1 the lowest expression and 10 the highest.
    reading : str
        Which gene has the eighth coefficient (RB-76).
    lowest, highest : float
        By every order of genes with the same expression; both are the value where there are none.
    """

    value: float
    ranks: tuple[tuple[str, float], ...]
    reading: str
    lowest: float
    highest: float

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader must know of the value."""
        told = []
        if self.lowest != self.highest:
            told.append(
                "genes have the same expression, so their mean rank was taken; by their order RSI lies between "
                f"{self.lowest:.4f} and {self.highest:.4f}"
            )
        if self.value <= 0:
            told.append("RSI is not above 0, so it is no surviving fraction: no alpha and no GARD (RB-77)")
        elif self.value >= 1:
            told.append("RSI is not below 1, so it is no surviving fraction (RB-77)")
        return tuple(told)


@dataclass(frozen=True)
class Gard:
    """Genomic adjusted radiation dose of a schedule.

    Parameters
    ----------
    rsi : float
        Above 0.
    alpha_per_gy : float
        alpha_g, that of this tumour, 1/Gy.
    fraction_gy : float
        d, physical dose of one fraction, Gy.
    fractions : int or None
        n; None where only a dose for a target was asked.
    """

    rsi: float
    alpha_per_gy: float
    fraction_gy: float
    fractions: int | None

    @property
    def per_gy(self) -> float:
        """alpha_g + beta d, 1/Gy: GARD of each Gy at this dose per fraction."""
        return self.alpha_per_gy + _beta() * self.fraction_gy

    @property
    def value(self) -> float | None:
        """GARD = n d (alpha_g + beta d), without a unit; None without a number of fractions."""
        return None if self.fractions is None else self.fractions * self.fraction_gy * self.per_gy

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader must know of the value."""
        told = []
        if self.alpha_per_gy < 0:
            told.append(
                f"alpha_g is negative, as for every RSI above {math.exp(-4.0 * _beta()):.4f}: the model does not hold "
                "(RB-77)"
            )
        if self.per_gy <= 0:
            told.append("no dose has an effect by this model at this dose per fraction, so there is no dose for a GARD")
        return tuple(told)

    def dose_gy(self, target_gard: float) -> float | None:
        """RxRSI, physical dose that has a GARD at this dose per fraction, Gy; None where no dose has."""
        if not 0 < target_gard < math.inf:
            raise InputError(f"a GARD to aim at is above 0 and finite; found {target_gard:g}")
        return None if self.per_gy <= 0 else target_gard / self.per_gy


@cache
def coefficients(reading: str | None = None) -> dict[str, float]:
    """Coefficient of each of the ten genes, by symbol, in the order of the formula (RB-75).

    Parameters
    ----------
    reading : {"PAK2", "CDK1"} or None
        Which gene has the eighth; None is the default, PAK2.
    """
    eighth = packaged("genes.yaml")["rsi"]["eighth"]
    taken = reading or eighth["default"]
    if taken not in eighth["readings"]:
        known = ", ".join(eighth["readings"])
        raise InputError(f"rule {eighth['rule']} has no reading '{reading}'; known are {known}")
    genes = packaged("genes.yaml")["rsi"]["genes"]
    return {taken if g["symbol"] == eighth["default"] else g["symbol"]: g["coefficient"] for g in genes}


@cache
def symbols() -> dict[str, str]:
    """Symbol of each gene that is known here, by each of its names in small letters."""
    rsi = packaged("genes.yaml")["rsi"]
    named = {name.casefold(): g["symbol"] for g in rsi["genes"] for name in (g["symbol"], *g["other_names"])}
    return named | {name.casefold(): name for name in rsi["eighth"]["readings"]}


def rsi(expression: Mapping[str, float], reading: str | None = None) -> Rsi:
    """Radiosensitivity index of a sample.

    Parameters
    ----------
    expression : mapping of str to float
        Expression of each gene by symbol or another known name, all in one unit; other genes are passed over.
    reading : {"PAK2", "CDK1"} or None
        Which gene has the eighth coefficient (RB-76); None is the default, PAK2.

    Raises
    ------
    InputError
        When a gene is missing or there twice, or an expression is not finite.

    References
    ----------
    Eschrich SA et al. A gene expression model of intrinsic tumor radiosensitivity: prediction of response and prognosis
    after chemoradiation. Int J Radiat Oncol Biol Phys 2009;75:489-496, doi:10.1016/j.ijrobp.2009.06.014.
    """
    wanted = coefficients(reading)
    found: dict[str, float] = {}
    for name, value in expression.items():
        symbol = symbols().get(name.casefold())
        if symbol is None or symbol not in wanted:
            continue
        if symbol in found:
            raise InputError(f"the gene {symbol} is there twice (as '{name}' too); leave one expression of it")
        if not math.isfinite(value):
            raise InputError(f"the expression of {symbol} must be a finite number; found {value:g}")
        found[symbol] = float(value)
    missing = [symbol for symbol in wanted if symbol not in found]
    if missing:
        hint = _hint(missing, expression)
        raise InputError(f"RSI needs the expression of ten genes; missing: {', '.join(missing)}{hint}")
    ranks, lowest, highest = _ranked(found, wanted)
    return Rsi(
        value=sum(wanted[symbol] * ranks[symbol] for symbol in wanted),
        ranks=tuple((symbol, ranks[symbol]) for symbol in wanted),
        reading=reading or packaged("genes.yaml")["rsi"]["eighth"]["default"],
        lowest=lowest,
        highest=highest,
    )


def gard(rsi_value: float, fraction_gy: float, fractions: int | None = None) -> Gard:
    """Genomic adjusted radiation dose, n d (alpha_g + beta d) with alpha_g = -ln(RSI)/2 - 2 beta.

    Parameters
    ----------
    rsi_value : float
        RSI, above 0.
    fraction_gy : float
        d, Gy.
    fractions : int or None
        n; None where only the dose for a target is wanted.

    Raises
    ------
    InputError
        When RSI is not above 0, or dose or fractions are none.

    References
    ----------
    Scott JG et al. A genome-based model for adjusting radiotherapy dose (GARD): a retrospective, cohort-based study.
    Lancet Oncol 2017;18:202-211, doi:10.1016/S1470-2045(16)30648-9.

    Examples
    --------
    >>> round(gard(0.40, 2.0, 30).value, 2)
    27.49
    """
    if not 0 < rsi_value < math.inf:
        raise InputError(f"RSI must be above 0 to have a logarithm; found {rsi_value:g}")
    if not 0 < fraction_gy < math.inf or (fractions is not None and fractions < 1):
        raise InputError(
            f"a schedule has a dose per fraction above 0 Gy and at least one fraction; found {fraction_gy:g} Gy and "
            f"{fractions}"
        )
    given_gy = packaged("genes.yaml")["gard"]["rsi_dose_gy"]
    return Gard(rsi_value, -math.log(rsi_value) / given_gy - _beta() * given_gy, fraction_gy, fractions)


def _beta() -> float:
    return float(packaged("genes.yaml")["gard"]["beta_per_gy2"])


def _hint(missing: list[str], expression: Mapping[str, float]) -> str:
    """What to do where only the gene of the other reading is there."""
    eighth = packaged("genes.yaml")["rsi"]["eighth"]
    here = {symbols().get(name.casefold()) for name in expression}
    others = [name for name in eighth["readings"] if name in here]
    if set(missing) <= set(eighth["readings"]) and others:
        return f"; {others[0]} is there, which is the other reading of {eighth['rule']}: take it by name"
    return ""


def _ranked(found: Mapping[str, float], weights: Mapping[str, float]) -> tuple[dict[str, float], float, float]:
    """Mean ranks, 1 the lowest expression, and the lowest and highest weighted sum by the order of equal ones."""
    ranks: dict[str, float] = {}
    lowest = highest = 0.0
    first = 1
    for _, equal in groupby(sorted(found, key=found.__getitem__), key=found.__getitem__):
        names = list(equal)
        tied = sorted(weights[symbol] for symbol in names)
        places = range(first, first + len(names))
        ranks |= dict.fromkeys(names, sum(places) / len(names))
        highest += sum(w * place for w, place in zip(tied, places, strict=True))
        lowest += sum(w * place for w, place in zip(reversed(tied), places, strict=True))
        first += len(names)
    return ranks, lowest, highest

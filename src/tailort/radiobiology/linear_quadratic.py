"""Linear-quadratic doses: what fractionated doses are worth to a tissue, and the way back.

Every function takes course totals. Each value has its derivative by the dose beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError

Float = NDArray[np.float64]


def bed(dose_gy: ArrayLike, fractions: ArrayLike, alpha_beta_gy: ArrayLike) -> Float:
    """Biologically effective dose of a course of equal fractions, BED = D (1 + d / (alpha/beta)).

    Parameters
    ----------
    dose_gy : (...) float
        Physical dose D of the course, Gy.
    fractions : (...) int
        Number of fractions n; d = D / n.
    alpha_beta_gy : (...) float
        alpha/beta of the tissue, Gy.

    Returns
    -------
    (...) float
        BED of the course, Gy.

    Raises
    ------
    InputError
        When a dose is negative or not finite, fractions are below 1, or alpha/beta is not above 0.

    References
    ----------
    Fowler JF. The linear-quadratic formula and progress in fractionated radiotherapy. Br J Radiol 1989;62:679-694,
    doi:10.1259/0007-1285-62-740-679.

    Examples
    --------
    >>> float(bed(60.0, 30, 2.0))
    120.0
    """
    dose, n, ab = _checked(dose_gy, fractions, alpha_beta_gy)
    return dose * (1.0 + dose / (n * ab))


def bed_derivative(dose_gy: ArrayLike, fractions: ArrayLike, alpha_beta_gy: ArrayLike) -> Float:
    """Derivative of `bed` by the physical dose, 1 + 2 d / (alpha/beta)."""
    dose, n, ab = _checked(dose_gy, fractions, alpha_beta_gy)
    return 1.0 + 2.0 * dose / (n * ab)


def eqd2(dose_gy: ArrayLike, fractions: ArrayLike, alpha_beta_gy: ArrayLike) -> Float:
    """Equieffective dose in 2 Gy fractions, EQD2 = D (d + alpha/beta) / (2 + alpha/beta).

    Parameters
    ----------
    dose_gy : (...) float
        Physical dose D of the course, Gy.
    fractions : (...) int
        Number of fractions n; d = D / n.
    alpha_beta_gy : (...) float
        alpha/beta of the tissue, Gy.

    Returns
    -------
    (...) float
        EQD2 of the course, Gy.

    References
    ----------
    Bentzen SM et al. Bioeffect modeling and equieffective dose concepts in radiation oncology. Radiother Oncol
    2012;105:266-268, doi:10.1016/j.radonc.2012.10.006.

    Examples
    --------
    >>> round(float(eqd2(28 * 2.14, 28, 10.0)), 4)
    60.6191
    """
    dose, n, ab = _checked(dose_gy, fractions, alpha_beta_gy)
    return dose * (dose / n + ab) / (2.0 + ab)


def eqd2_derivative(dose_gy: ArrayLike, fractions: ArrayLike, alpha_beta_gy: ArrayLike) -> Float:
    """Derivative of `eqd2` by the physical dose, (2 d + alpha/beta) / (2 + alpha/beta)."""
    dose, n, ab = _checked(dose_gy, fractions, alpha_beta_gy)
    return (2.0 * dose / n + ab) / (2.0 + ab)


def eqd2_from_bed(bed_gy: ArrayLike, alpha_beta_gy: ArrayLike) -> Float:
    """EQD2 of a BED at the same alpha/beta, BED / (1 + 2 / (alpha/beta))."""
    value, _, ab = _checked(bed_gy, 1, alpha_beta_gy)
    return value / (1.0 + 2.0 / ab)


def bed_from_eqd2(eqd2_gy: ArrayLike, alpha_beta_gy: ArrayLike) -> Float:
    """BED of an EQD2 at the same alpha/beta, EQD2 (1 + 2 / (alpha/beta))."""
    value, _, ab = _checked(eqd2_gy, 1, alpha_beta_gy)
    return value * (1.0 + 2.0 / ab)


def dose_from_bed(bed_gy: ArrayLike, fractions: ArrayLike, alpha_beta_gy: ArrayLike) -> Float:
    """Physical dose of a course of n equal fractions that has this BED.

    D = n (alpha/beta) / 2 (sqrt(1 + 4 BED / (n alpha/beta)) - 1), written without the difference of near numbers.

    Parameters
    ----------
    bed_gy : (...) float
        BED of the course, Gy.
    fractions : (...) int
        Number of fractions n.
    alpha_beta_gy : (...) float
        alpha/beta of the tissue, Gy.

    Returns
    -------
    (...) float
        Physical dose of the course, Gy.

    Examples
    --------
    >>> round(float(dose_from_bed(127.0, 2, 3.0)), 2)
    24.77
    """
    value, n, ab = _checked(bed_gy, fractions, alpha_beta_gy)
    return 2.0 * value / (1.0 + np.sqrt(1.0 + 4.0 * value / (n * ab)))


def dose_from_bed_derivative(bed_gy: ArrayLike, fractions: ArrayLike, alpha_beta_gy: ArrayLike) -> Float:
    """Derivative of `dose_from_bed` by the BED, 1 / sqrt(1 + 4 BED / (n alpha/beta))."""
    value, n, ab = _checked(bed_gy, fractions, alpha_beta_gy)
    return 1.0 / np.sqrt(1.0 + 4.0 * value / (n * ab))


def dose_from_eqd2(eqd2_gy: ArrayLike, fractions: ArrayLike, alpha_beta_gy: ArrayLike) -> Float:
    """Physical dose of a course of n equal fractions that has this EQD2, Gy."""
    return dose_from_bed(bed_from_eqd2(eqd2_gy, alpha_beta_gy), fractions, alpha_beta_gy)


def dose_from_eqd2_derivative(eqd2_gy: ArrayLike, fractions: ArrayLike, alpha_beta_gy: ArrayLike) -> Float:
    """Derivative of `dose_from_eqd2` by the EQD2."""
    _, _, ab = _checked(eqd2_gy, fractions, alpha_beta_gy)
    return dose_from_bed_derivative(bed_from_eqd2(eqd2_gy, ab), fractions, ab) * (1.0 + 2.0 / ab)


def fractions_from_bed(bed_gy: ArrayLike, dose_per_fraction_gy: ArrayLike, alpha_beta_gy: ArrayLike) -> Float:
    """Number of fractions of d Gy that has this BED, n = BED / (d (1 + d / (alpha/beta))); rarely a whole number."""
    value, _, ab = _checked(bed_gy, 1, alpha_beta_gy)
    d = np.asarray(dose_per_fraction_gy, dtype=np.float64)
    if not np.all(d > 0):
        raise InputError(f"a dose per fraction must be above 0 Gy; found {d.min():g} Gy")
    return value / (d * (1.0 + d / ab))


def isoeffective_dose(
    dose_gy: ArrayLike, from_fraction_gy: ArrayLike, to_fraction_gy: ArrayLike, alpha_beta_gy: ArrayLike
) -> Float:
    """Dose in fractions of d2 with the effect of D1 in fractions of d1, D2 = D1 (alpha/beta + d1) / (alpha/beta + d2).

    Parameters
    ----------
    dose_gy : (...) float
        Physical dose D1 of the course, Gy.
    from_fraction_gy, to_fraction_gy : (...) float
        Doses per fraction d1 and d2, Gy.
    alpha_beta_gy : (...) float
        alpha/beta of the tissue, Gy.

    References
    ----------
    Withers HR, Thames HD, Peters LJ. A new isoeffect curve for change in dose per fraction. Radiother Oncol
    1983;1:187-191, doi:10.1016/S0167-8140(83)80021-8.
    """
    dose, _, ab = _checked(dose_gy, 1, alpha_beta_gy)
    d1, d2 = np.asarray(from_fraction_gy, dtype=np.float64), np.asarray(to_fraction_gy, dtype=np.float64)
    if not (np.all(d1 > 0) and np.all(d2 > 0)):
        raise InputError("doses per fraction must be above 0 Gy")
    return dose * (ab + d1) / (ab + d2)


@dataclass(frozen=True)
class Repopulation:
    """Loss of effect by tumour cells that regrow during treatment: one named set of parameters.

    Parameters
    ----------
    name : str
        What the set is called; a set without a name is refused.
    loss_gy_per_day : float
        K, BED lost per day after the kick-off, Gy per day; ln 2 / (alpha Tp).
    kick_off_days : float
        Tk, day from which cells regrow.
    source : str
        Where the numbers are from.
    mark : str
        How sure they are ("lit-recalled" ...).
    """

    name: str
    loss_gy_per_day: float
    kick_off_days: float
    source: str
    mark: str

    def __post_init__(self) -> None:
        if not self.name or not self.source:
            raise InputError("a set of repopulation parameters needs a name and a source")
        if self.loss_gy_per_day < 0 or self.kick_off_days < 0:
            raise InputError(f"repopulation set '{self.name}': loss and kick-off time cannot be negative")


def bed_with_time(
    dose_gy: ArrayLike, fractions: ArrayLike, alpha_beta_gy: ArrayLike, overall_days: ArrayLike, by: Repopulation
) -> Float:
    """BED less what repopulation takes, BED - K max(0, T - Tk), never below 0. Not for late-reacting tissue.

    Parameters
    ----------
    dose_gy, fractions, alpha_beta_gy
        As in `bed`.
    overall_days : (...) float
        T, calendar days from the first to the last fraction, both counted.
    by : Repopulation
        K and Tk, with their source.

    References
    ----------
    Fowler 1989, as in `bed`.
    """
    lost = by.loss_gy_per_day * np.maximum(0.0, np.asarray(overall_days, dtype=np.float64) - by.kick_off_days)
    left: Float = np.maximum(0.0, bed(dose_gy, fractions, alpha_beta_gy) - lost)
    return left


def bed_with_time_derivative(
    dose_gy: ArrayLike, fractions: ArrayLike, alpha_beta_gy: ArrayLike, overall_days: ArrayLike, by: Repopulation
) -> Float:
    """Derivative of `bed_with_time` by the physical dose; 0 where nothing is left."""
    left = bed_with_time(dose_gy, fractions, alpha_beta_gy, overall_days, by)
    slope: Float = np.where(left > 0, bed_derivative(dose_gy, fractions, alpha_beta_gy), 0.0)
    return slope


def overall_days(fractions: int) -> int:
    """Calendar days from first to last fraction, both counted: Monday start, five a week, no gaps."""
    if fractions < 1:
        raise InputError(f"a course has at least one fraction; found {fractions}")
    weeks, rest = divmod(fractions - 1, 5)
    return 7 * weeks + rest + 1


def _checked(dose_gy: ArrayLike, fractions: ArrayLike, alpha_beta_gy: ArrayLike) -> tuple[Float, Float, Float]:
    dose = np.asarray(dose_gy, dtype=np.float64)
    n = np.asarray(fractions, dtype=np.float64)
    ab = np.asarray(alpha_beta_gy, dtype=np.float64)
    if not (dose.size == 0 or (dose.min() >= 0 and np.isfinite(dose.max()))):
        raise InputError("a dose is negative or not finite, so it has no BED or EQD2")
    if not np.all(n >= 1):
        raise InputError(f"a course has at least one fraction; found {n.min():g}")
    if not (np.all(ab > 0) and np.all(np.isfinite(ab))):
        raise InputError("alpha/beta must be above 0 Gy and finite")
    return dose, n, ab

"""BED at high doses per fraction, where LQ may bend too much: LQ-L and the universal survival curve.

Plain LQ is the primary value everywhere; these two show how far it depends on the model. A limit that was published in
LQ, such as those of the re-irradiation study, is never compared with a dose of this module (RB-20, RB-24).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError
from tailort.radiobiology.linear_quadratic import bed, bed_derivative
from tailort.radiobiology.packaged import packaged

Float = NDArray[np.float64]

# Published parameters have two or three digits.
_CONSISTENT = 0.01


@dataclass(frozen=True)
class LinearQuadraticLinear:
    """Where LQ goes over into a straight line: one named set of parameters.

    Parameters
    ----------
    name, version : str
        What the set is called; a set without a name is refused.
    source, mark : str
        Where the numbers are from, and how sure they are.
    threshold_gy : float or None
        dT, dose per fraction from which the line goes on, Gy.
    threshold_in_alpha_beta : float or None
        Instead, dT over the alpha/beta of the tissue.
    slope : float or None
        G = gamma/alpha, BED per Gy on the line; None is the tangent of LQ at dT, 1 + 2 dT / (alpha/beta).
    doi : str
        Of the source.
    rules : tuple of str
        Rule ids.
    """

    name: str
    version: str
    source: str
    mark: str
    threshold_gy: float | None = None
    threshold_in_alpha_beta: float | None = None
    slope: float | None = None
    doi: str = ""
    rules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_named(self.name, self.version, self.source, self.mark)
        given = [value for value in (self.threshold_gy, self.threshold_in_alpha_beta) if value is not None]
        if len(given) != 1 or not given[0] > 0:
            raise InputError(f"LQ-L set '{self.name}' needs one threshold above 0, in Gy or in alpha/beta")
        if self.slope is not None and not self.slope > 0:
            raise InputError(f"LQ-L set '{self.name}': the slope of its line must be above 0; found {self.slope:g}")

    def threshold(self, alpha_beta_gy: ArrayLike) -> Float:
        """Return dT of tissues of this alpha/beta, Gy per fraction."""
        ab = np.asarray(alpha_beta_gy, dtype=np.float64)
        if self.threshold_in_alpha_beta is not None:
            return self.threshold_in_alpha_beta * ab
        return np.full_like(ab, self.threshold_gy)

    def line(self, alpha_beta_gy: ArrayLike) -> Float:
        """Return G of tissues of this alpha/beta."""
        ab = np.asarray(alpha_beta_gy, dtype=np.float64)
        return 1.0 + 2.0 * self.threshold(ab) / ab if self.slope is None else np.full_like(ab, self.slope)


def bed_lql(dose_gy: ArrayLike, fractions: ArrayLike, alpha_beta_gy: ArrayLike, by: LinearQuadraticLinear) -> Float:
    """Biologically effective dose with a straight line above dT, n (dT (1 + dT/(alpha/beta)) + G (d - dT)); else LQ.

    Parameters
    ----------
    dose_gy, fractions, alpha_beta_gy
        As in `bed`.
    by : LinearQuadraticLinear
        dT and G, with their source.

    Returns
    -------
    (...) float
        BED of the course, Gy.

    References
    ----------
    Astrahan M. Some implications of linear-quadratic-linear radiation dose-response with regard to hypofractionation.
    Med Phys 2008;35:4161-4172, doi:10.1118/1.2969065.

    Examples
    --------
    >>> at_10_gy = LinearQuadraticLinear("example", "1", "RB-21", "lit-recalled", threshold_gy=10.0)
    >>> float(bed_lql(24.0, 2, 10.0, at_10_gy))
    52.0
    """
    quadratic = bed(dose_gy, fractions, alpha_beta_gy)
    n = np.asarray(fractions, dtype=np.float64)
    bend = n * by.threshold(alpha_beta_gy)
    above = np.asarray(dose_gy, dtype=np.float64) - bend
    value: Float = np.where(above > 0, bed(bend, n, alpha_beta_gy) + by.line(alpha_beta_gy) * above, quadratic)
    return value


def bed_lql_derivative(
    dose_gy: ArrayLike, fractions: ArrayLike, alpha_beta_gy: ArrayLike, by: LinearQuadraticLinear
) -> Float:
    """Derivative of `bed_lql` by the physical dose; at dT itself that from below."""
    quadratic = bed_derivative(dose_gy, fractions, alpha_beta_gy)
    bend = np.asarray(fractions, dtype=np.float64) * by.threshold(alpha_beta_gy)
    slope: Float = np.where(np.asarray(dose_gy, dtype=np.float64) > bend, by.line(alpha_beta_gy), quadratic)
    return slope


@dataclass(frozen=True)
class UniversalSurvivalCurve:
    """LQ at low and the multi-target curve's line at high dose per fraction: one named set of parameters.

    Parameters
    ----------
    name, version : str
        What the set is called; a set without a name is refused.
    source, mark : str
        Where the numbers are from, and how sure they are.
    alpha_per_gy : float
        alpha of LQ, 1/Gy.
    alpha_beta_gy : float
        alpha/beta of LQ, Gy.
    d0_gy : float
        D0, dose that leaves 1/e of the cells on the line, Gy.
    dq_gy : float
        Dq, dose at which the line meets full survival, Gy.
    doi : str
        Of the source.
    rules : tuple of str
        Rule ids.

    Raises
    ------
    InputError
        When line and LQ do not meet in one tangent: alpha D0 is not below 1, or beta differs by more than 1 % from
        (1 - alpha D0)^2 / (4 D0 Dq).
    """

    name: str
    version: str
    source: str
    mark: str
    alpha_per_gy: float
    alpha_beta_gy: float
    d0_gy: float
    dq_gy: float
    doi: str = ""
    rules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_named(self.name, self.version, self.source, self.mark)
        if not all(value > 0 for value in (self.alpha_per_gy, self.alpha_beta_gy, self.d0_gy, self.dq_gy)):
            raise InputError(f"survival curve '{self.name}': alpha, alpha/beta, D0 and Dq must be above 0")
        if not self.alpha_per_gy * self.d0_gy < 1:
            raise InputError(
                f"survival curve '{self.name}': alpha D0 is {self.alpha_per_gy * self.d0_gy:g}; the line is steeper "
                "than the start of LQ only when it is below 1"
            )
        beta = self.alpha_per_gy / self.alpha_beta_gy
        needed = (1.0 - self.alpha_per_gy * self.d0_gy) ** 2 / (4.0 * self.d0_gy * self.dq_gy)
        if abs(beta / needed - 1.0) > _CONSISTENT:
            raise InputError(
                f"survival curve '{self.name}': beta is {beta:.4g} per Gy2, but its line touches LQ only with "
                f"{needed:.4g}, (1 - alpha D0)^2 / (4 D0 Dq); correct one of alpha, alpha/beta, D0 and Dq"
            )

    @property
    def transition_gy(self) -> float:
        """DT = 2 Dq / (1 - alpha D0), dose per fraction at which the line begins, Gy."""
        return 2.0 * self.dq_gy / (1.0 - self.alpha_per_gy * self.d0_gy)


def bed_usc(dose_gy: ArrayLike, fractions: ArrayLike, by: UniversalSurvivalCurve) -> Float:
    """Biologically effective dose of the universal survival curve, (D - n Dq) / (alpha D0) from DT on; LQ below.

    Parameters
    ----------
    dose_gy, fractions
        As in `bed`; alpha/beta is that of the set.
    by : UniversalSurvivalCurve
        The parameters, with their source.

    Returns
    -------
    (...) float
        BED of the course, Gy.

    Notes
    -----
    Where rounded parameters do not meet exactly there is a step at DT, of less than 1 % for sets that are accepted.

    References
    ----------
    Park C et al. Universal survival curve and single fraction equivalent dose. Int J Radiat Oncol Biol Phys
    2008;70:847-852, doi:10.1016/j.ijrobp.2007.10.059.
    """
    quadratic = bed(dose_gy, fractions, by.alpha_beta_gy)
    dose, n = np.asarray(dose_gy, dtype=np.float64), np.asarray(fractions, dtype=np.float64)
    line = (dose - n * by.dq_gy) / (by.alpha_per_gy * by.d0_gy)
    value: Float = np.where(dose >= n * by.transition_gy, line, quadratic)
    return value


def bed_usc_derivative(dose_gy: ArrayLike, fractions: ArrayLike, by: UniversalSurvivalCurve) -> Float:
    """Derivative of `bed_usc` by the physical dose, 1 / (alpha D0) on the line."""
    quadratic = bed_derivative(dose_gy, fractions, by.alpha_beta_gy)
    dose, n = np.asarray(dose_gy, dtype=np.float64), np.asarray(fractions, dtype=np.float64)
    slope: Float = np.where(dose >= n * by.transition_gy, 1.0 / (by.alpha_per_gy * by.d0_gy), quadratic)
    return slope


@cache
def high_dose_sets() -> dict[str, LinearQuadraticLinear | UniversalSurvivalCurve]:
    """Return the packaged sets of parameters, by name."""
    kinds = {"linear-quadratic-linear": LinearQuadraticLinear, "universal-survival-curve": UniversalSurvivalCurve}
    sets = {}
    for name, entry in packaged("high_dose.yaml").items():
        fields = {key: value for key, value in entry.items() if key != "kind"}
        sets[name] = kinds[entry["kind"]](name=name, **fields)
    return sets


def _require_named(name: str, version: str, source: str, mark: str) -> None:
    if not (name and version and source and mark):
        raise InputError("a set of parameters for high doses per fraction needs a name, a version, a source and a mark")

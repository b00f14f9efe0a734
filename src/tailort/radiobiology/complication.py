"""Normal tissue complication probability: LKB, logistic and relative seriality; and cure without complication.

Doses are those of the model's quantity. Where that is EQD2 every voxel is converted with its own dose per fraction
first, and only then averaged (`tailort.radiobiology.outcome_models.OutcomeSet` does both).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError
from tailort.radiobiology.dose_response import Curve, LogisticLine, Probit, SerialPoisson
from tailort.radiobiology.volume_response import OnEquivalentDose, VolumeResponse, of_voxels

Float = NDArray[np.float64]


def lkb(td50_gy: float, m: float, n: float) -> OnEquivalentDose:
    """Lyman-Kutcher-Burman model, Phi((gEUD - TD50) / (m TD50)) with a = 1/n.

    Parameters
    ----------
    td50_gy : float
        Uniform dose of which half have the complication, Gy.
    m : float
        Spread of the tolerance over TD50.
    n : float
        Volume effect: 1 is that of the mean dose, near 0 that of the maximum.

    References
    ----------
    Kutcher GJ, Burman C. Calculation of complication probability factors for non-uniform normal tissue irradiation: the
    effective volume method. Int J Radiat Oncol Biol Phys 1989;16:1623-1630, doi:10.1016/0360-3016(89)90972-3.

    Examples
    --------
    >>> round(lkb(30.8, 0.37, 0.99).effect([17.0], [1.0]), 4)
    0.113
    """
    if not 0.0 < n < np.inf:
        raise InputError(f"an LKB model needs n above 0 and finite; found {n:g}")
    return OnEquivalentDose(Probit(td50_gy, m), 1.0 / n)


def logistic_on_mean(b0: float, b1_per_gy: float) -> OnEquivalentDose:
    """Logistic curve of the mean dose, 1 / (1 + exp(b0 - b1 mean))."""
    return OnEquivalentDose(LogisticLine(b0, b1_per_gy), 1.0)


@dataclass(frozen=True)
class RelativeSeriality(VolumeResponse):
    """Relative seriality: (1 - prod (1 - P(D_i)^s)^v_i)^(1/s), P the Poisson curve of D50 and gamma.

    Parameters
    ----------
    d50_gy : float
        Uniform dose of which half have the complication, Gy.
    gamma : float
        Largest slope of the curve times the dose.
    s : float
        1 is a serial organ, near 0 a parallel one.

    References
    ----------
    Kallman P, Agren A, Brahme A. Tumour and normal tissue responses to fractionated non-uniform dose delivery. Int J
    Radiat Biol 1992;62:249-262, doi:10.1080/09553009214552071.
    """

    d50_gy: float
    gamma: float
    s: float

    def __post_init__(self) -> None:
        SerialPoisson(self.d50_gy, self.gamma)
        if not 0.0 < self.s < np.inf:
            raise InputError(f"relative seriality needs s above 0 and finite; found {self.s:g}")

    @property
    def uniform(self) -> Curve:
        """Effect of a uniform dose."""
        return SerialPoisson(self.d50_gy, self.gamma)

    def effect(self, dose_gy: ArrayLike, volumes: ArrayLike) -> float:
        """Return the probability of the complication."""
        dose, share = of_voxels(dose_gy, volumes)
        return float((-np.expm1(share @ self._log_spared(dose))) ** (1.0 / self.s))

    def equivalent_gy(self, dose_gy: ArrayLike, volumes: ArrayLike) -> float:
        """Uniform dose with the same probability, Gy."""
        # Far above D50 the probability is 1 to the last digit: the dose of the largest number below it stands in.
        effect = min(max(self.effect(dose_gy, volumes), self.uniform.at(0.0)), 1.0 - 1e-15)
        return self.uniform.dose_at(effect)

    def equivalent_gradient(self, dose_gy: ArrayLike, volumes: ArrayLike) -> Float:
        """Derivative of `equivalent_gy` by the dose of each voxel."""
        return self.gradient(dose_gy, volumes) / self.uniform.derivative(self.equivalent_gy(dose_gy, volumes))

    def gradient(self, dose_gy: ArrayLike, volumes: ArrayLike) -> Float:
        """Derivative of the probability by the dose of each voxel, 1/Gy."""
        dose, share = of_voxels(dose_gy, volumes)
        spared = self._log_spared(dose)
        whole = share @ spared
        inner = np.e * self.gamma * (1.0 - dose / self.d50_gy)
        # d log(1 - P^s) / dD = -s P^s (log P)' / (1 - P^s), (log P)' = ln2 exp(inner) e gamma / D50.
        rise = np.log(2.0) * np.exp(inner) * np.e * self.gamma / self.d50_gy
        hit = np.exp(-self.s * np.log(2.0) * np.exp(inner))
        slope: Float = share * np.exp(whole - spared) * hit * rise * (-np.expm1(whole)) ** (1.0 / self.s - 1.0)
        return slope

    def _log_spared(self, dose: Float) -> Float:
        """Logarithm of 1 - P^s of each voxel, finite also where P is 1 to the last digit."""
        exponent = self.s * np.log(2.0) * np.exp(np.e * self.gamma * (1.0 - dose / self.d50_gy))
        # Of the two forms each keeps its digits on one side of P^s = 1/2.
        small, large = np.log(-np.expm1(-np.minimum(exponent, 1.0))), np.log1p(-np.exp(-np.maximum(exponent, 0.5)))
        spared: Float = np.where(exponent < np.log(2.0), small, large)
        return spared


def uncomplicated_control(control: float, complications: Iterable[float]) -> float:
    """Cure without complication, P+ = TCP prod (1 - NTCP_j).

    Parameters
    ----------
    control : float
        TCP, 0 to 1.
    complications : iterable of float
        NTCP of each complication, 0 to 1.

    Notes
    -----
    Takes cure and complications as independent of each other.

    References
    ----------
    Agren A, Brahme A, Turesson I. Optimization of uncomplicated control for head and neck tumors. Int J Radiat Oncol
    Biol Phys 1990;19:1077-1085, doi:10.1016/0360-3016(90)90037-K.

    Examples
    --------
    >>> round(uncomplicated_control(0.6, [0.1, 0.05]), 3)
    0.513
    """
    found = control
    for value in (control, *(told := tuple(complications))):
        if not 0.0 <= value <= 1.0:
            raise InputError(f"a probability lies between 0 and 1; found {value:g}")
    for value in told:
        found *= 1.0 - value
    return found

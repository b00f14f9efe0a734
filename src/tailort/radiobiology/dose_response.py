"""How often an effect happens after a uniform dose: the curves of TCP and NTCP, with derivative and inverse.

A dose here is one number, in the quantity that a parameter set is fitted in (mostly EQD2), Gy per course.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import special

from tailort.errors import InputError

# A dose of 0 Gy comes back as this at most.
_ROUNDING_GY = 1e-6


class Curve(Protocol):
    """Effect of a uniform dose: a probability, 0 to 1, that never falls with the dose."""

    def at(self, dose_gy: float) -> float:
        """Effect of a dose, Gy."""
        ...

    def derivative(self, dose_gy: float) -> float:
        """Derivative of `at` by the dose, 1/Gy."""
        ...

    def dose_at(self, effect: float) -> float:
        """Dose that has an effect, Gy; the inverse of `at`."""
        ...


@dataclass(frozen=True)
class LogisticLine:
    """Logistic curve on a straight line, 1 / (1 + exp(b0 - b1 D)); not 0 without dose.

    Parameters
    ----------
    b0 : float
        Minus the logarithm of the odds without dose.
    b1_per_gy : float
        Logarithm of the odds per Gy.

    Examples
    --------
    >>> round(LogisticLine(3.87, 0.126).at(20.0), 4)
    0.2059
    """

    b0: float
    b1_per_gy: float

    def __post_init__(self) -> None:
        _require_positive("a logistic line", b1_per_gy=self.b1_per_gy)

    def at(self, dose_gy: float) -> float:
        """Effect of a dose, Gy."""
        return float(special.expit(self.b1_per_gy * dose_gy - self.b0))

    def derivative(self, dose_gy: float) -> float:
        """Derivative of `at` by the dose, 1/Gy."""
        effect = self.at(dose_gy)
        return self.b1_per_gy * effect * (1.0 - effect)

    def dose_at(self, effect: float) -> float:
        """Dose that has an effect, Gy."""
        return _not_below_zero((self.b0 + float(special.logit(_share(effect)))) / self.b1_per_gy, effect, self)


@dataclass(frozen=True)
class Logistic:
    """Logistic curve on the logarithm of the dose, 1 / (1 + (D50/D)^(4 gamma50)).

    Parameters
    ----------
    d50_gy : float
        Dose of which half have the effect, Gy.
    gamma50 : float
        Slope there, times the dose: percentage points per per cent of dose.

    References
    ----------
    Niemierko A. A generalized concept of equivalent uniform dose (EUD). Med Phys 1999;26:1100.
    """

    d50_gy: float
    gamma50: float

    def __post_init__(self) -> None:
        _require_positive("a logistic curve", d50_gy=self.d50_gy, gamma50=self.gamma50)

    def at(self, dose_gy: float) -> float:
        """Effect of a dose, Gy."""
        if dose_gy <= 0.0:
            return 0.0
        return float(special.expit(4.0 * self.gamma50 * np.log(dose_gy / self.d50_gy)))

    def derivative(self, dose_gy: float) -> float:
        """Derivative of `at` by the dose, 1/Gy; without dose 0."""
        if dose_gy <= 0.0:
            return 0.0
        effect = self.at(dose_gy)
        return 4.0 * self.gamma50 * effect * (1.0 - effect) / dose_gy

    def dose_at(self, effect: float) -> float:
        """Dose that has an effect, Gy."""
        return self.d50_gy * float(np.exp(special.logit(_share(effect)) / (4.0 * self.gamma50)))


@dataclass(frozen=True)
class Probit:
    """Cumulative normal distribution, Phi((D - D50) / (m D50)); not 0 without dose.

    Parameters
    ----------
    d50_gy : float
        Dose of which half have the effect, Gy.
    m : float
        Spread of the tolerance over D50.

    References
    ----------
    Lyman JT. Complication probability as assessed from dose-volume histograms. Radiat Res Suppl 1985;8:S13-S19,
    doi:10.2307/3583506.
    """

    d50_gy: float
    m: float

    def __post_init__(self) -> None:
        _require_positive("a probit curve", d50_gy=self.d50_gy, m=self.m)

    def at(self, dose_gy: float) -> float:
        """Effect of a dose, Gy."""
        return float(special.ndtr(self._t(dose_gy)))

    def derivative(self, dose_gy: float) -> float:
        """Derivative of `at` by the dose, 1/Gy."""
        return float(np.exp(-0.5 * self._t(dose_gy) ** 2) / (np.sqrt(2.0 * np.pi) * self.m * self.d50_gy))

    def dose_at(self, effect: float) -> float:
        """Dose that has an effect, Gy."""
        return _not_below_zero(self.d50_gy * (1.0 + self.m * float(special.ndtri(_share(effect)))), effect, self)

    def _t(self, dose_gy: float) -> float:
        return (dose_gy - self.d50_gy) / (self.m * self.d50_gy)


@dataclass(frozen=True)
class SerialPoisson:
    """Poisson curve of relative seriality, 2^(-exp(e gamma (1 - D/D50))); nearly 0 without dose.

    Parameters
    ----------
    d50_gy : float
        Dose of which half have the effect, Gy.
    gamma : float
        Largest slope times the dose.

    References
    ----------
    Kallman P, Agren A, Brahme A. Tumour and normal tissue responses to fractionated non-uniform dose delivery. Int J
    Radiat Biol 1992;62:249-262, doi:10.1080/09553009214552071.
    """

    d50_gy: float
    gamma: float

    def __post_init__(self) -> None:
        _require_positive("relative seriality", d50_gy=self.d50_gy, gamma=self.gamma)

    def at(self, dose_gy: float) -> float:
        """Effect of a dose, Gy."""
        return float(np.exp(-np.log(2.0) * np.exp(self._u(dose_gy))))

    def derivative(self, dose_gy: float) -> float:
        """Derivative of `at` by the dose, 1/Gy."""
        steep = np.e * self.gamma / self.d50_gy
        return float(self.at(dose_gy) * np.log(2.0) * np.exp(self._u(dose_gy)) * steep)

    def dose_at(self, effect: float) -> float:
        """Dose that has an effect, Gy."""
        inner = np.log(-np.log2(_share(effect))) / (np.e * self.gamma)
        return _not_below_zero(self.d50_gy * (1.0 - float(inner)), effect, self)

    def _u(self, dose_gy: float) -> float:
        return np.e * self.gamma * (1.0 - dose_gy / self.d50_gy)


@dataclass(frozen=True)
class ClonogenPoisson:
    """Chance that none of N cells survives, exp(-N exp(-a D)).

    Parameters
    ----------
    clonogens : float
        N.
    alpha_per_gy : float
        a, logarithm of the cells killed per Gy of the quantity of the dose: of EQD2 it is alpha (1 + 2/(alpha/beta)).
    """

    clonogens: float
    alpha_per_gy: float

    def __post_init__(self) -> None:
        _require_positive("a Poisson curve", clonogens=self.clonogens, alpha_per_gy=self.alpha_per_gy)

    def at(self, dose_gy: float) -> float:
        """Effect of a dose, Gy."""
        return float(np.exp(-self.clonogens * np.exp(-self.alpha_per_gy * dose_gy)))

    def derivative(self, dose_gy: float) -> float:
        """Derivative of `at` by the dose, 1/Gy."""
        return float(self.at(dose_gy) * self.alpha_per_gy * self.clonogens * np.exp(-self.alpha_per_gy * dose_gy))

    def dose_at(self, effect: float) -> float:
        """Dose that has an effect, Gy."""
        left = -np.log(_share(effect)) / self.clonogens
        return _not_below_zero(-float(np.log(left)) / self.alpha_per_gy, effect, self)


@dataclass(frozen=True)
class ExcessRelativeRisk:
    """Straight line, c D: by what part of the risk without radiation the risk rises. No probability; may exceed 1.

    Parameters
    ----------
    per_gy : float
        c, 1/Gy.
    """

    per_gy: float

    def __post_init__(self) -> None:
        _require_positive("an excess relative risk", per_gy=self.per_gy)

    def at(self, dose_gy: float) -> float:
        """Effect of a dose, Gy."""
        return self.per_gy * dose_gy

    def derivative(self, dose_gy: float) -> float:
        """Derivative of `at` by the dose, 1/Gy."""
        return self.per_gy

    def dose_at(self, effect: float) -> float:
        """Dose that has an effect, Gy."""
        if not 0.0 <= effect < np.inf:
            raise InputError(f"an excess relative risk is not below 0 and finite; found {100.0 * effect:g} %")
        return effect / self.per_gy


def _share(effect: float) -> float:
    if not 0.0 < effect < 1.0:
        raise InputError(f"a probability that a dose is asked of lies between 0 and 100 %; found {100.0 * effect:g} %")
    return effect


def _not_below_zero(dose_gy: float, effect: float, curve: Curve) -> float:
    if dose_gy < -_ROUNDING_GY:
        raise InputError(
            f"this model gives {100.0 * curve.at(0.0):.3g} % without any dose, so no dose has {100.0 * effect:.3g} %"
        )
    return max(dose_gy, 0.0)


def _require_positive(what: str, **parameters: float) -> None:
    for name, value in parameters.items():
        if not 0.0 < value < np.inf:
            raise InputError(f"{what} needs '{name}' above 0 and finite; found {value:g}")

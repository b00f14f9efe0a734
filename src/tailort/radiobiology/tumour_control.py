"""Tumour control probability: Poisson-LQ voxel by voxel, with a spread of patients; curves of an equivalent dose."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from tailort.errors import InputError
from tailort.radiobiology.dose_response import ClonogenPoisson, Curve, Logistic, Probit
from tailort.radiobiology.linear_quadratic import Repopulation, bed, bed_derivative, bed_with_time
from tailort.radiobiology.linear_quadratic import bed_with_time_derivative as timed_derivative
from tailort.radiobiology.volume_response import ByEquivalent, OnEquivalentDose, of_voxels

Float = NDArray[np.float64]

# Nodes of the quadrature over patients, and how far it reaches in standard deviations.
_NODES, _REACH = 128, 6.0


@dataclass(frozen=True, eq=False)
class Tumour:
    """The cells of a tumour, voxel by voxel. A number holds for every voxel.

    Parameters
    ----------
    clonogens : (voxels,) or () float
        Clonogenic cells in each voxel at the start (`clonogens_of` makes them from a density).
    alpha_per_gy : (voxels,) or () float
        alpha of LQ, 1/Gy, above 0.
    alpha_beta_gy : (voxels,) or () float
        alpha/beta, Gy.
    oxygen : (voxels,) or () float
        h, above 0 and at most 1: what a dose is worth beside that of a fully oxic voxel
        (`tailort.radiobiology.oxygen`); alpha and beta are those of oxic cells, alpha h and beta h^2 of the voxel.
    overall_days : float or None
        T, calendar days from the first to the last fraction, both counted; with `repopulation`.
    repopulation : Repopulation or None
        What regrowth takes from the BED; None is none.
    alpha_spread : float
        Standard deviation of alpha from patient to patient as a share of alpha: alpha of all voxels together is alpha
        times a factor from a normal distribution about 1, of which only what is above 0 counts. 0 is one patient.

    Notes
    -----
    What regrowth takes is a BED (`bed_with_time`), so that cells of a larger alpha lose more of their effect by it.
    """

    clonogens: ArrayLike
    alpha_per_gy: ArrayLike
    alpha_beta_gy: ArrayLike
    oxygen: ArrayLike = 1.0
    overall_days: float | None = None
    repopulation: Repopulation | None = None
    alpha_spread: float = 0.0

    def __post_init__(self) -> None:
        cells, alpha, h = (np.asarray(v, dtype=np.float64) for v in (self.clonogens, self.alpha_per_gy, self.oxygen))
        if not (np.isfinite(cells).all() and (cells >= 0).all()):
            raise InputError("clonogenic cells of a voxel are a finite number, not below 0")
        if not (np.isfinite(alpha).all() and (alpha > 0).all()):
            raise InputError(f"alpha must be above 0 per Gy and finite; found {alpha.min():g}")
        if not ((h > 0).all() and (h <= 1).all()):
            raise InputError(f"the effect of oxygen h lies above 0 and at most at 1; found {h.min():g} to {h.max():g}")
        if not 0.0 <= self.alpha_spread < np.inf:
            raise InputError(f"a spread of alpha is not below 0 and finite; found {self.alpha_spread:g}")
        if (self.overall_days is None) != (self.repopulation is None):
            raise InputError("regrowth needs both the overall time in days and a named set of its parameters")


def clonogens_of(density_per_cm3: ArrayLike, volume_cm3: ArrayLike) -> Float:
    """Clonogenic cells of each voxel, of their density (1/cm3) and the volume of the tumour in it (cm3)."""
    cells: Float = np.asarray(density_per_cm3, dtype=np.float64) * np.asarray(volume_cm3, dtype=np.float64)
    return cells


def tcp_poisson(dose_gy: ArrayLike, fractions: int, tumour: Tumour) -> float:
    """Tumour control probability, the product of exp(-N_i SF_i) over all voxels; of many patients its average.

    Parameters
    ----------
    dose_gy : (voxels,) float
        Physical dose of each voxel, Gy per course.
    fractions : int
        Of the course.
    tumour : Tumour
        Its cells; the voxels are those of the dose.

    Returns
    -------
    float
        0 to 1.

    Notes
    -----
    SF_i = exp(-alpha_i BED_i), BED_i of the dose h_i D_i less what regrowth takes. Patients differ in alpha (RB-44);
    the average over them is a Gauss-Legendre quadrature.

    References
    ----------
    Webb S, Nahum AE. A model for calculating tumour control probability in radiotherapy including the effects of
    inhomogeneous distributions of dose and clonogenic cell density. Phys Med Biol 1993;38:653-666,
    doi:10.1088/0031-9155/38/6/001.

    Examples
    --------
    >>> round(tcp_poisson([60.0, 60.0], 30, Tumour(5e6, 0.3, 10.0)), 4)
    0.9958
    """
    effect, _ = _log_kill(dose_gy, fractions, tumour)
    cells = np.broadcast_to(np.asarray(tumour.clonogens, dtype=np.float64), effect.shape)
    return float(sum(w * np.exp(-(cells @ np.exp(-x * effect))) for x, w in zip(*_patients(tumour), strict=True)))


def tcp_poisson_gradient(dose_gy: ArrayLike, fractions: int, tumour: Tumour) -> Float:
    """Derivative of `tcp_poisson` by the physical dose of each voxel, 1/Gy."""
    effect, slope = _log_kill(dose_gy, fractions, tumour)
    cells = np.broadcast_to(np.asarray(tumour.clonogens, dtype=np.float64), effect.shape)
    gradient = np.zeros_like(effect)
    for x, w in zip(*_patients(tumour), strict=True):
        left = cells * np.exp(-x * effect)
        gradient += w * np.exp(-left.sum()) * left * x * slope
    return gradient


def _log_kill(dose_gy: ArrayLike, fractions: int, tumour: Tumour) -> tuple[Float, Float]:
    """alpha_i BED_i of each voxel, and its derivative by the dose."""
    dose = np.asarray(dose_gy, dtype=np.float64)
    if dose.ndim != 1 or len(dose) == 0:
        raise InputError(f"a tumour's doses are a list of those of its voxels; found the shape {dose.shape}")
    for name in ("clonogens", "alpha_per_gy", "alpha_beta_gy", "oxygen"):
        shape = np.shape(getattr(tumour, name))
        if shape not in ((), dose.shape):
            raise InputError(f"'{name}' of a tumour is given for {shape} voxels, the dose for {dose.shape}")
    alpha, h = np.asarray(tumour.alpha_per_gy, dtype=np.float64), np.asarray(tumour.oxygen, dtype=np.float64)
    if tumour.repopulation is None or tumour.overall_days is None:
        worth = bed(h * dose, fractions, tumour.alpha_beta_gy)
        slope = bed_derivative(h * dose, fractions, tumour.alpha_beta_gy)
    else:
        timed = (tumour.alpha_beta_gy, tumour.overall_days, tumour.repopulation)
        worth = bed_with_time(h * dose, fractions, *timed)
        slope = timed_derivative(h * dose, fractions, *timed)
    return alpha * worth, alpha * h * slope


def _patients(tumour: Tumour) -> tuple[Float, Float]:
    """Factors on alpha, and their weights with the sum 1."""
    s = tumour.alpha_spread
    if s == 0.0:
        return np.ones(1), np.ones(1)
    node, weight = _nodes()
    low, high = max(0.0, 1.0 - _REACH * s), 1.0 + _REACH * s
    factor = 0.5 * (high - low) * node + 0.5 * (high + low)
    weight = weight * np.exp(-0.5 * ((factor - 1.0) / s) ** 2)
    return factor, weight / weight.sum()


@cache
def _nodes() -> tuple[Float, Float]:
    node, weight = np.polynomial.legendre.leggauss(_NODES)
    return node, weight


def logistic_control(d50_gy: float, gamma50: float, a: float) -> OnEquivalentDose:
    """TCP by a logistic curve of the gEUD, 1 / (1 + (D50/gEUD)^(4 gamma50)).

    Parameters
    ----------
    d50_gy : float
        Uniform dose that controls half of the tumours, Gy.
    gamma50 : float
        Slope there, times the dose.
    a : float
        Exponent of the gEUD, below 0.
    """
    return OnEquivalentDose(Logistic(d50_gy, gamma50), _below_zero(a))


def probit_control(d50_gy: float, m: float, a: float) -> OnEquivalentDose:
    """TCP by a cumulative normal distribution of the gEUD, Phi((gEUD - D50) / (m D50)); arguments as for the logistic.

    A slope gamma50 is that of m = 1 / (gamma50 sqrt(2 pi)).
    """
    return OnEquivalentDose(Probit(d50_gy, m), _below_zero(a))


@dataclass(frozen=True)
class PoissonControl(ByEquivalent):
    """TCP by Poisson with the same cells everywhere, from EQD2: exp(-N sum v_i exp(-a EQD2_i)).

    Parameters
    ----------
    d50_gy : float
        Uniform EQD2 that controls half of the tumours, Gy.
    gamma50 : float
        Slope there, times the dose.

    Notes
    -----
    N = ln2 exp(a D50) and a = 2 gamma50 / (ln2 D50): numbers that give this curve, not those of cells.
    """

    d50_gy: float
    gamma50: float

    def __post_init__(self) -> None:
        Logistic(self.d50_gy, self.gamma50)

    @property
    def uniform(self) -> Curve:
        """Effect of a uniform dose."""
        return ClonogenPoisson(float(np.log(2.0) * np.exp(self._alpha * self.d50_gy)), self._alpha)

    def equivalent_gy(self, dose_gy: ArrayLike, volumes: ArrayLike) -> float:
        """Uniform EQD2 that leaves as many cells, Gy."""
        dose, share = of_voxels(dose_gy, volumes)
        return float(-special.logsumexp(-self._alpha * dose, b=share) / self._alpha)

    def equivalent_gradient(self, dose_gy: ArrayLike, volumes: ArrayLike) -> Float:
        """Derivative of `equivalent_gy` by the dose of each voxel."""
        dose, share = of_voxels(dose_gy, volumes)
        gradient: Float = share * np.exp(self._alpha * (self.equivalent_gy(dose, share) - dose))
        return gradient

    @property
    def _alpha(self) -> float:
        return 2.0 * self.gamma50 / (float(np.log(2.0)) * self.d50_gy)


def _below_zero(a: float) -> float:
    if not a < 0:
        raise InputError(f"the gEUD of a tumour needs a below 0; found {a:g}")
    return a

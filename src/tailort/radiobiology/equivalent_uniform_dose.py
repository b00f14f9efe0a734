"""Generalised equivalent uniform dose: the uniform dose that a tissue would take for this uneven one."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError

Float = NDArray[np.float64]


def geud(dose_gy: ArrayLike, volumes: ArrayLike, a: float) -> float:
    """Generalised equivalent uniform dose, (sum v_i D_i^a)^(1/a) with sum v_i = 1.

    Parameters
    ----------
    dose_gy : (n,) float
        Dose of each voxel or bin, Gy (course or fraction; physical, BED or EQD2: the answer is the same kind).
        Where fractionation matters, convert every bin to EQD2 first, then call this.
    volumes : (n,) float
        Volume of each, in any unit.
    a : float
        1 is the mean; large is near the maximum, large negative near the minimum. 0 has no meaning.

    Returns
    -------
    float
        Gy. With a < 0 and any volume at 0 Gy it is 0.

    Raises
    ------
    InputError
        When a is 0 or not finite, doses or volumes are negative or not finite, or there is no volume.

    Notes
    -----
    Doses are divided by their maximum (a > 0) or minimum (a < 0) before the power, so that no |a| overflows.

    References
    ----------
    Niemierko A. A generalized concept of equivalent uniform dose (EUD). Med Phys 1999;26:1100.

    Examples
    --------
    >>> round(geud([50.0, 60.0], [0.1, 0.9], -10), 2)
    57.54
    """
    dose, share = _checked(dose_gy, volumes, a)
    scale = float(dose.max() if a > 0 else dose.min())
    if scale == 0.0:
        return 0.0
    return float(scale * np.exp(np.log(share @ _power(dose / scale, a)) / a))


def geud_gradient(dose_gy: ArrayLike, volumes: ArrayLike, a: float) -> Float:
    """Derivative of `geud` by every dose, v_i (D_i / gEUD)^(a - 1).

    Notes
    -----
    Where gEUD is 0 it has a corner. For a < 0 the slope given there is that of all zero doses rising together, so
    that an optimiser is shown the way out; for a >= 1 and no dose at all, that of all doses rising together. With
    0 < a < 1 the slope at a zero dose is infinite; it is given as 0.
    """
    given = np.asarray(dose_gy, dtype=np.float64)
    volume = np.asarray(volumes, dtype=np.float64)
    value = geud(given, volume, a)
    share = volume / volume.sum()
    if value == 0.0:
        at_zero = given == 0.0
        bottom = float(share[at_zero].sum())
        slope: Float = np.where(at_zero, share, 0.0) * bottom ** (1.0 / a - 1.0)
        return slope
    ratio = np.divide(given, value, out=np.zeros_like(given), where=share > 0)
    gradient: Float = share * _power(ratio, a - 1.0)
    return gradient


def _power(ratio: Float, exponent: float) -> Float:
    """Power of non-negative numbers through the logarithm; 0 stays 0 unless the exponent is 0."""
    if exponent == 0.0:
        return np.ones_like(ratio)
    logarithm = np.log(ratio, out=np.full_like(ratio, -np.inf), where=ratio > 0)
    power: Float = np.exp(exponent * logarithm, out=np.zeros_like(ratio), where=ratio > 0)
    return power


def _checked(dose_gy: ArrayLike, volumes: ArrayLike, a: float) -> tuple[Float, Float]:
    dose = np.asarray(dose_gy, dtype=np.float64)
    volume = np.asarray(volumes, dtype=np.float64)
    if a == 0 or not np.isfinite(a):
        raise InputError(f"the exponent a of gEUD must be finite and not 0; found {a:g}")
    if dose.ndim != 1 or dose.shape != volume.shape:
        raise InputError(f"gEUD needs one volume for each dose; found {dose.shape} doses and {volume.shape} volumes")
    if not (np.isfinite(dose).all() and np.isfinite(volume).all() and (dose >= 0).all() and (volume >= 0).all()):
        raise InputError("gEUD needs doses and volumes that are finite and not negative")
    kept = volume > 0
    if not kept.any():
        raise InputError("gEUD of no volume does not exist")
    return dose[kept], volume[kept] / volume[kept].sum()

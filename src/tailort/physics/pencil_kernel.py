"""The pencil kernel of a flattened photon beam, known by one number: TPR20,10.

    p(r, z) / Psi = [A(z) exp(-a(z) r) + B(z) exp(-b(z) r)] / r          Gy per unit energy fluence and cm2

r is the distance from the pencil and z the depth, both in cm of water. The first term is the primary dose (reach of
some millimetres), the second the scattered one (reach of some ten centimetres).

References
----------
Nyholm et al. 2006, Radiother Oncol 78:347; corrigendum 2011, Radiother Oncol 98:286.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError

Float = NDArray[np.float64]

# The fit covers beams from cobalt to about 20 MV.
TPR_RANGE = (0.60, 0.81)
# Depth to which the fit was made, cm.
MAX_DEPTH_CM = 50.0


@dataclass(frozen=True)
class PencilKernel:
    """The 17 parameters of the kernel.

    Parameters
    ----------
    parameters : dict of str to float
        A1 to A5, B1 to B5, a1, a2, b1 to b5, lengths in cm.
    """

    parameters: dict[str, float]

    def primary(self, depth_cm: ArrayLike) -> tuple[Float, Float]:
        """Return A/a (cm2/g) and a (1/cm) of the primary term at these depths."""
        c, z = self.parameters, _within_fit(depth_cm)
        strength = c["A1"] * (1 - np.exp(c["A2"] * np.hypot(z, c["A5"]))) * np.exp(c["A3"] * z + c["A4"] * z**2)
        return strength, c["a2"] + c["a1"] * z

    def scatter(self, depth_cm: ArrayLike) -> tuple[Float, Float]:
        """Return B/b (cm2/g) and b (1/cm) of the scatter term at these depths."""
        c, z = self.parameters, _within_fit(depth_cm)
        strength = c["B1"] * (1 - np.exp(c["B2"] * np.hypot(z, c["B5"]))) * np.exp(c["B3"] * z + c["B4"] * z**2)
        slope = c["b1"] * (1 - np.exp(c["b2"] * np.hypot(z, c["b5"]))) * np.exp(c["b3"] * z + c["b4"] * z**2)
        return strength, slope

    def square_field(self, depth_cm: ArrayLike, side_cm: ArrayLike) -> Float:
        """Dose per unit fluence on the axis of a parallel square field.

        The integral over a circle of radius R is 2 pi [(A/a)(1 - exp(-a R)) + (B/b)(1 - exp(-b R))]; that over a
        square of side s is its mean over the azimuth, with R = s / (2 cos phi).
        """
        depth, side = np.broadcast_arrays(np.asarray(depth_cm, float)[..., None], np.asarray(side_cm, float)[..., None])
        nodes, weights = np.polynomial.legendre.leggauss(32)
        radius = side / (2 * np.cos((nodes + 1) * np.pi / 8))
        (big_a, a), (big_b, b) = self.primary(depth), self.scatter(depth)
        over_azimuth = big_a * (1 - np.exp(-a * radius)) + big_b * (1 - np.exp(-b * radius))
        dose: Float = 2 * np.pi * (over_azimuth @ weights) / 2
        return dose

    def tpr20_10(self) -> float:
        """TPR20,10 that this kernel gives a 10 x 10 cm field."""
        return float(self.square_field(20.0, 10.0) / self.square_field(10.0, 10.0))


@cache
def _coefficients() -> dict[str, tuple[float, ...]]:
    text = resources.files("tailort.physics").joinpath("data/nyholm2006.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {row["name"]: tuple(float(row[f"c{n}"]) for n in range(6)) for row in rows}


def published_kernel(tpr20_10: float) -> PencilKernel:
    """Return the kernel exactly as published for this beam quality."""
    return PencilKernel(
        {name: sum(c * tpr20_10**n for n, c in enumerate(row)) for name, row in _coefficients().items()}
    )


@cache
def pencil_kernel(tpr20_10: float) -> PencilKernel:
    """Return the kernel whose own TPR20,10 is `tpr20_10`.

    The published fit returns up to 0.01 less than it is given for 6 MV beams (0.661 for 0.67), so the number that is
    put in is searched until the one that comes out is the beam's.

    Raises
    ------
    InputError
        When the beam quality is outside the range of the fit, 0.60 to 0.81.
    """
    # Takes long to load.
    from scipy.optimize import brentq

    low, high = TPR_RANGE

    def excess(entered: float) -> float:
        return published_kernel(entered).tpr20_10() - tpr20_10

    if excess(low) > 0 or excess(high) < 0:
        raise InputError(f"TPR20,10 of {tpr20_10:g} is outside the pencil kernel's range, {low:g} to {high:g}")
    return published_kernel(float(brentq(excess, low, high, xtol=1e-9)))


def _within_fit(depth_cm: ArrayLike) -> Float:
    return np.clip(np.asarray(depth_cm, dtype=np.float64), 0.0, MAX_DEPTH_CM)

"""What a virtual tumour is made of, point by point: uptake of two tracers, radiosensitivity and clonogenic cells.

Uptake, radiosensitivity and density are smooth random fields. Radiosensitivity follows the true uptake only in part, so
that a PET tells something of it and not everything. Every number here is invented; none was fitted to patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

Float = NDArray[np.float64]

CORRELATION_MM = 8.0
"""Of all fields: their correlation falls to exp(-1/2) over this distance."""
ALPHA_BETA_GY = 10.0
REFERENCE_DOSE_GY, REFERENCE_FRACTIONS = 60.0, 30
CONTROL = (0.35, 0.55)
"""Range of the tumour control by the reference dose, given uniformly, from which that of a patient is drawn."""
CELLS_PER_CM3 = 1e7
HYPOXIA_WITH_METABOLISM = 0.4
"""Correlation of the two tracers."""
RESISTANCE_WITH_UPTAKE = 0.8
"""Correlation of the logarithm of alpha with the true uptakes taken together, with the sign turned."""
RESISTANCE_BY = (0.6, 0.8)
"""Weights of metabolism and hypoxia in what stands for both."""
ALPHA_SPREAD, CELLS_SPREAD, CELLS_WITH_METABOLISM = 0.15, 0.4, 0.6
"""Standard deviations of the logarithms of alpha and of the density; the latter's correlation with metabolism."""
FDG_SUV, FDG_SPREAD = (7.0, 12.0), 0.30
HYPOXIA_RATIO, HYPOXIA_SPREAD = (1.4, 1.8), 0.25
"""Range of the geometric mean in the tumour of SUV and of tumour to blood; standard deviation of their logarithms."""
_WAVES = 300


@dataclass(frozen=True, eq=False)
class Biology:
    """A tumour's biology at every point, LPS mm of the planning CT.

    Parameters
    ----------
    waves : (fields, waves, 3) float
        Wave vectors, radians per mm, of metabolism, hypoxia, resistance and density.
    phases : (fields, waves) float
        Radians.
    middle, scale : (fields,) float
        By which each field has mean 0 and standard deviation 1 in the tumour.
    fdg_suv, hypoxia_ratio : float
        Geometric means in the tumour: SUV of FDG, tumour to blood of FMISO.
    alpha_per_gy : float
        Median alpha of the tumour.
    control : float
        Tumour control by 60 Gy in 30 fractions, given uniformly, for which alpha was chosen.
    """

    waves: Float
    phases: Float
    middle: Float
    scale: Float
    fdg_suv: float
    hypoxia_ratio: float
    alpha_per_gy: float
    control: float

    def _fields(self, points_mm: ArrayLike) -> tuple[Float, Float, Float, Float]:
        """Metabolism, hypoxia, resistance and density at points (..., 3), each about 0 with deviation 1."""
        points = np.asarray(points_mm, dtype=np.float64)
        flat = points.reshape(-1, 3)
        raw = np.stack([
            np.cos(flat @ waves.T + phases).mean(axis=1) for waves, phases in zip(self.waves, self.phases, strict=True)
        ])  # fmt: skip
        own = (raw - self.middle[:, None]) / self.scale[:, None]
        metabolism, hypoxia = own[0], _mixed(HYPOXIA_WITH_METABOLISM, own[0], own[1])
        first, second = RESISTANCE_BY
        both = (first * metabolism + second * hypoxia) / np.sqrt(
            first**2 + second**2 + 2 * first * second * HYPOXIA_WITH_METABOLISM
        )
        fields = (
            metabolism, hypoxia, _mixed(RESISTANCE_WITH_UPTAKE, both, own[2]),
            _mixed(CELLS_WITH_METABOLISM, metabolism, own[3]),
        )  # fmt: skip
        a, b, c, d = (field.reshape(points.shape[:-1]) for field in fields)
        return a, b, c, d

    def fdg(self, points_mm: ArrayLike) -> Float:
        """True SUV of FDG at points (..., 3) of the tumour."""
        found: Float = self.fdg_suv * np.exp(FDG_SPREAD * self._fields(points_mm)[0])
        return found

    def hypoxia(self, points_mm: ArrayLike) -> Float:
        """True tumour to blood of FMISO at points (..., 3) of the tumour."""
        found: Float = self.hypoxia_ratio * np.exp(HYPOXIA_SPREAD * self._fields(points_mm)[1])
        return found

    def alpha(self, points_mm: ArrayLike) -> Float:
        """True alpha of LQ at points (..., 3) of the tumour, 1/Gy."""
        found: Float = self.alpha_per_gy * np.exp(-ALPHA_SPREAD * self._fields(points_mm)[2])
        return found

    def cells_per_cm3(self, points_mm: ArrayLike) -> Float:
        """True clonogenic cells in 1 cm3 of tumour at points (..., 3)."""
        found: Float = CELLS_PER_CM3 * np.exp(CELLS_SPREAD * self._fields(points_mm)[3])
        return found

    def describe(self) -> dict[str, Any]:
        """Plain values for JSON, with what is the same for all patients."""
        return {
            "marked": "invented: none of these numbers was fitted to patients",
            "median_alpha_per_gy": round(self.alpha_per_gy, 6),
            "alpha_beta_gy": ALPHA_BETA_GY,
            "alpha_log_deviation": ALPHA_SPREAD,
            "cells_per_cm3": CELLS_PER_CM3,
            "cells_log_deviation": CELLS_SPREAD,
            "fdg_suv": round(self.fdg_suv, 4),
            "hypoxia_tumour_to_blood": round(self.hypoxia_ratio, 4),
            "correlation_mm": CORRELATION_MM,
            "correlation_of_hypoxia_with_metabolism": HYPOXIA_WITH_METABOLISM,
            "correlation_of_resistance_with_uptake": RESISTANCE_WITH_UPTAKE,
            "correlation_of_cells_with_metabolism": CELLS_WITH_METABOLISM,
            "resistance_by_metabolism_and_hypoxia": list(RESISTANCE_BY),
            "control": round(self.control, 4),
            "control_by": f"{REFERENCE_DOSE_GY:g} Gy in {REFERENCE_FRACTIONS} fractions, uniform, without regrowth",
            "alpha_chosen": "so that the product of exp(-cells x exp(-alpha x BED)) over the tumour is `control`",
        }


def draw_biology(seed: int, points_mm: Float, volume_cm3: float) -> Biology:
    """Draw a tumour's biology; the same arguments give the same biology.

    Alpha is scaled so that 60 Gy in 30 fractions, given uniformly, controls the tumour with a probability drawn from
    `CONTROL`, by the Poisson model on LQ with alpha/beta of 10 Gy and without regrowth.

    Parameters
    ----------
    seed : int
        0 or above.
    points_mm : (n, 3) float
        That fill the tumour evenly, LPS mm.
    volume_cm3 : float
        Of the tumour.
    """
    rng = np.random.default_rng([seed, 67867967])
    waves = rng.normal(0.0, 1.0 / CORRELATION_MM, (4, _WAVES, 3))
    phases = rng.uniform(0.0, 2 * np.pi, (4, _WAVES))
    suv, ratio, control = (float(rng.uniform(*limits)) for limits in (FDG_SUV, HYPOXIA_RATIO, CONTROL))
    raw = np.stack([np.cos(points_mm @ w.T + p).mean(axis=1) for w, p in zip(waves, phases, strict=True)])
    unscaled = Biology(waves, phases, raw.mean(axis=1), raw.std(axis=1), suv, ratio, 1.0, control)
    cells = unscaled.cells_per_cm3(points_mm) * volume_cm3 / len(points_mm)
    bed = REFERENCE_DOSE_GY * (1.0 + REFERENCE_DOSE_GY / REFERENCE_FRACTIONS / ALPHA_BETA_GY)
    effect = unscaled.alpha(points_mm) * bed

    def left(alpha: float) -> float:
        return float(np.log((cells * np.exp(-alpha * effect)).sum()) - np.log(-np.log(control)))

    alpha = float(brentq(left, 0.01, 5.0))
    return Biology(waves, phases, unscaled.middle, unscaled.scale, suv, ratio, alpha, control)


def _mixed(share: float, first: Float, other: Float) -> Float:
    """Field that is correlated with the first one by a share, where the two are not."""
    found: Float = share * first + np.sqrt(1.0 - share**2) * other
    return found

"""Mean of the hottest or the coldest share of a structure: convex stand-ins for dose-volume limits.

The mean dose of the hottest share v (mean-tail-dose, conditional value at risk) is never below D_v, and the mean of the
coldest 1 - v is never above it, so that a level kept by the tail is kept by the dose at the volume, and by the volume
at that dose. Unlike those the tail is convex, and a small share of it stands for a maximum (minimum) with a tail.

A plain tail mean has a corner wherever two voxels change places. Here the border of the tail is soft over a width in
Gy, which makes the tail mean smooth and stricter by less than half the width.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.objectives.dose_volume import MaxDoseVolume, MinDoseVolume, dose_at, hottest_share
from tailort.optimisation.objectives.measured import SquaredMeasure

Float = NDArray[np.float64]
WIDTH_GY = 0.1


def upper_tail(dose_gy: Float, volume: Float, share: float, width_gy: float = 0.0) -> tuple[float, Float]:
    """Mean dose of the hottest share of a structure, and the part of each voxel that counts.

    Parameters
    ----------
    dose_gy, volume : (voxels,) float
        Doses and shares of the volume (sum 1).
    share : float
        Above 0, at most 1.
    width_gy : float
        Over which the border of the share is soft; 0 is a sharp border.

    Returns
    -------
    float
        min over h of h + sum v p(D - h) / share, with p(t) = t+ but for a parabola where |t| < width / 2. Between the
        mean of the hottest share and (1 - share) width / 2 above it.
    (voxels,) float
        Between 0 and `volume`, sum `share`; divided by `share` it is the derivative of the mean.

    References
    ----------
    Rockafellar & Uryasev 2000, J Risk 2:21, doi 10.21314/JOR.2000.038 (the minimum over h); Engberg et al. 2017,
    Med Phys 44:2045 (arXiv 1607.01148; in planning).
    """
    if width_gy <= 0.0:
        part = hottest_share(dose_gy, volume, share)
        return float(part @ dose_gy) / share, part
    half = 0.5 * width_gy
    # The border lies within half a width of the dose at the volume: the tail is too large below, too small above.
    middle = dose_at(dose_gy, volume, share)
    low, high = middle - half, middle + half
    border = middle
    for _ in range(80):
        counted = np.clip((dose_gy - border + half) / width_gy, 0.0, 1.0)
        over = float(volume @ counted) - share
        if abs(over) < 1e-14 or high - low < 1e-13 * max(1.0, abs(middle)):
            break
        low, high = (border, high) if over > 0 else (low, border)
        soft = float(volume[(counted > 0) & (counted < 1)].sum())
        newton = border + over * width_gy / soft if soft > 0 else low
        border = newton if low < newton < high else 0.5 * (low + high)
    above = dose_gy - border
    cost = np.where(np.abs(above) < half, (above + half) ** 2 / (2.0 * width_gy), np.maximum(above, 0.0))
    return border + float(volume @ cost) / share, volume * counted


def lower_tail(dose_gy: Float, volume: Float, share: float, width_gy: float = 0.0) -> tuple[float, Float]:
    """Mean dose of the coldest share of a structure, and the part of each voxel that counts (see `upper_tail`)."""
    mean, part = upper_tail(-dose_gy, volume, share, width_gy)
    return -mean, part


def _require_tail(share: float, width_gy: float) -> None:
    if not 0.0 < share <= 1.0:
        raise InputError(f"a mean-tail-dose needs a share of the volume above 0 and up to 1; found {share:g}")
    if not 0.0 <= width_gy < np.inf:
        raise InputError(f"the border of a tail has a width of 0 Gy or more; found {width_gy:g} Gy")


@dataclass(frozen=True)
class TailMean:
    """Mean dose of the hottest `share`. Convex; never falls with dose.

    Parameters
    ----------
    share : float
        Above 0; 1 is the mean dose, towards 0 the maximum.
    width_gy : float
        Of the soft border of the share.

    References
    ----------
    As for `upper_tail`.
    """

    share: float
    width_gy: float = WIDTH_GY
    power: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _require_tail(self.share, self.width_gy)

    def value(self, dose_gy: Float, volume: Float) -> float:
        """Value, Gy, for doses and shares of the volume (sum 1), both (voxels,)."""
        return upper_tail(dose_gy, volume, self.share, self.width_gy)[0]

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel."""
        return upper_tail(dose_gy, volume, self.share, self.width_gy)[1] / self.share

    def excess_gy(self, dose_gy: Float, volume: Float) -> Float:
        """Return the mean of the tail, Gy, as one number."""
        return np.array([self.value(dose_gy, volume)])

    def tightened(self, by_gy: float | Float) -> TailMean:
        """Return itself: there is no level to make stricter."""
        return self


@dataclass(frozen=True)
class _SquaredTail(SquaredMeasure, ABC):
    """Square of how far the mean dose of the hottest, or of the coldest, `share` is beyond a level."""

    share: float
    width_gy: float = WIDTH_GY

    def __post_init__(self) -> None:
        _require_tail(self.share, self.width_gy)

    def _tail(self, dose_gy: Float, volume: Float) -> tuple[float, Float]:
        tail = upper_tail if self.side > 0 else lower_tail
        return tail(dose_gy, volume, self.share, self.width_gy)

    def measure_gy(self, dose_gy: Float, volume: Float) -> float:
        """Return the mean dose of the tail, Gy."""
        return self._tail(dose_gy, volume)[0]

    def derivative(self, dose_gy: Float, volume: Float) -> Float:
        """Derivative by the dose of each voxel, Gy."""
        mean, part = self._tail(dose_gy, volume)
        return self._by_measure(mean) * part / self.share


@dataclass(frozen=True)
class SquaredTailOverdose(_SquaredTail):
    """Square of the mean dose of the hottest `share` above a level: (T - L)+^2. Convex; never falls with dose.

    Where it is 0, at most `share` of the volume is above L.

    Parameters
    ----------
    level_gy : float
        L, Gy per course.
    share : float
        Of the volume, the hottest; above 0.
    width_gy : float
        Of the soft border of the share.

    References
    ----------
    As for `upper_tail`.
    """


@dataclass(frozen=True)
class SquaredTailUnderdose(_SquaredTail):
    """Square of what the mean dose of the coldest `share` lacks below a level: (L - T)+^2. Convex; never rises.

    Where it is 0, at least 1 - `share` of the volume is above L.

    Parameters
    ----------
    level_gy : float
        L, Gy per course.
    share : float
        Of the volume, the coldest; above 0 (0.05 for D95%).
    width_gy : float
        Of the soft border of the share.

    References
    ----------
    As for `upper_tail`.
    """

    side: ClassVar[float] = -1.0


def convex_form(
    objective: MaxDoseVolume | MinDoseVolume,
    dose_gy: Float | None = None,
    volume: Float | None = None,
    width_gy: float = WIDTH_GY,
) -> SquaredTailOverdose | SquaredTailUnderdose:
    """Convex form of a dose at a volume or a volume at a dose (both are a level and a share).

    Parameters
    ----------
    objective : MaxDoseVolume or MinDoseVolume
        With a share above 0 and below 1.
    dose_gy, volume : (voxels,) float or None
        With a dose near the one that is looked for, the level is moved by the distance between the tail and the dose
        at the volume, so that both are kept or broken together at that dose; without, the form is safe but stricter.
    width_gy : float
        Of the soft border of the share.

    References
    ----------
    Engberg et al. 2017, Med Phys 44:2045 (arXiv 1607.01148).
    """
    form: SquaredTailOverdose | SquaredTailUnderdose
    if isinstance(objective, MaxDoseVolume):
        form = SquaredTailOverdose(objective.level_gy, objective.share, width_gy)
    else:
        form = SquaredTailUnderdose(objective.level_gy, 1.0 - objective.share, width_gy)
    if dose_gy is None or volume is None:
        return form
    apart = form.measure_gy(dose_gy, volume) - objective.measure_gy(dose_gy, volume)
    return replace(form, level_gy=form.level_gy + apart)

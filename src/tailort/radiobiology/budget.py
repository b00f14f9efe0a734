"""What an organ may still get: the limit less what earlier courses have left, and the dose that this allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError
from tailort.radiobiology.linear_quadratic import dose_from_bed, dose_from_eqd2
from tailort.radiobiology.recovery import stays

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Budget:
    """Limit, spent, recovered and left of an organ or of each of its voxels, in one quantity.

    Parameters
    ----------
    quantity : {"BED", "EQD2"}
        Of limit and earlier dose.
    alpha_beta_gy : float
        Of both, Gy.
    fractions : int
        Of the course that is planned.
    limit_gy : (...) float
        Over all courses, Gy.
    prior_gy : (...) float
        Of the earlier courses, without recovery, Gy.
    recovered_gy : (...) float
        Part of it that no longer counts, Gy.
    left_gy : (...) float
        What is left of the limit, Gy; 0 where nothing is.
    overspent_gy : (...) float
        By how much the earlier courses alone exceed the limit, Gy; 0 where they do not.
    dose_gy : (...) float
        Physical dose of the planned course that uses up what is left, Gy per course.
    """

    quantity: Literal["BED", "EQD2"]
    alpha_beta_gy: float
    fractions: int
    limit_gy: Float
    prior_gy: Float
    recovered_gy: Float
    left_gy: Float
    overspent_gy: Float
    dose_gy: Float

    @property
    def spent_gy(self) -> Float:
        """What still counts of the earlier courses, Gy."""
        return self.prior_gy - self.recovered_gy

    @property
    def dose_per_fraction_gy(self) -> Float:
        """`dose_gy` of each of the planned fractions, Gy."""
        return self.dose_gy / self.fractions


def remaining(limit_gy: ArrayLike, prior_gy: ArrayLike, discount: ArrayLike) -> Float:
    """Limit less what still counts, limit - prior x (1 - discount), Gy; negative where more was given already.

    Parameters
    ----------
    limit_gy : (...) float
        Over all courses, EQD2 or BED, Gy.
    prior_gy : (...) float
        Of the earlier courses, in the same quantity and at the same alpha/beta, Gy.
    discount : (...) float
        0 to 1, of one assumption of recovery (`Recovery.discount`). With a limit that was found without recovery, such
        as those of the set `koide`, only 0 is right.

    Raises
    ------
    InputError
        When a limit is not above 0, a dose is negative, or a discount lies outside 0 to 1.

    Examples
    --------
    >>> float(remaining(70.0, 60.0, 0.25))
    25.0
    """
    limit = np.asarray(limit_gy, dtype=np.float64)
    if not (np.all(limit > 0) and np.all(np.isfinite(limit))):
        raise InputError("a limit over all courses must be above 0 Gy and finite")
    return limit - stays(prior_gy, discount)


def budget_of(
    limit_gy: ArrayLike,
    prior_gy: ArrayLike,
    discount: ArrayLike,
    fractions: int,
    alpha_beta_gy: float,
    quantity: Literal["BED", "EQD2"],
) -> Budget:
    """What is allowed, spent, recovered and left, and the physical dose of n fractions that this leaves.

    Parameters
    ----------
    limit_gy, prior_gy, discount
        As in `remaining`; numbers of an organ, or arrays of its voxels.
    fractions : int
        Of the course that is planned.
    alpha_beta_gy : float
        Of limit and earlier dose, Gy.
    quantity : {"BED", "EQD2"}
        Of both.

    Returns
    -------
    Budget
        Arrays of the common shape.

    Notes
    -----
    The dose of a voxel is what this voxel alone may still get. The maximum of a sum is at most the sum of the maxima,
    so that a budget made of an organ's maxima is on the safe side. This is not so of D0.035cc and the like: two courses
    with hot spots in different places have a larger one together. Those are judged on the sum by voxel.

    Examples
    --------
    >>> cord = budget_of(50.0, 42.75, 0.5, 2, 2.0, "EQD2")
    >>> float(cord.left_gy), round(float(cord.dose_gy), 2)
    (28.625, 13.26)
    """
    if quantity not in ("BED", "EQD2"):
        raise InputError(f"a budget over several courses is kept in BED or EQD2; found {quantity}")
    signed = remaining(limit_gy, prior_gy, discount)
    left: Float = np.maximum(signed, 0.0)
    inverse = dose_from_bed if quantity == "BED" else dose_from_eqd2
    limit, prior, _ = np.broadcast_arrays(np.asarray(limit_gy, np.float64), np.asarray(prior_gy, np.float64), signed)
    recovered = prior - stays(prior_gy, discount)
    over: Float = np.maximum(-signed, 0.0)
    dose = inverse(left, fractions, alpha_beta_gy)
    return Budget(quantity, alpha_beta_gy, fractions, limit, prior, recovered, left, over, dose)

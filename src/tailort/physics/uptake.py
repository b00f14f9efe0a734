"""Uptake of a tracer: radioactive decay and the standardised uptake value."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError

GRAMS_PER_KILOGRAM = 1000.0


def decay_factor(elapsed_s: float, half_life_s: float) -> float:
    """Share of an activity that is left after a time: 2 to the power of -t / T.

    Parameters
    ----------
    elapsed_s : float
        Time that has passed, s; below 0 looks back.
    half_life_s : float
        Half-life, s.

    Raises
    ------
    InputError
        When the half-life is not above 0 s, or a number is not finite.
    """
    if not (math.isfinite(elapsed_s) and math.isfinite(half_life_s) and half_life_s > 0):
        raise InputError(f"a half-life is above 0 s; found {half_life_s:g} s, and {elapsed_s:g} s that have passed")
    return float(2.0 ** (-elapsed_s / half_life_s))


def average_time_s(duration_s: float, half_life_s: float) -> float:
    """Time from the start of a frame at which the activity equals its mean over the frame, s.

    Notes
    -----
    The mean of exp(-l t) over 0 to T is (1 - exp(-l T)) / (l T), so the time is ln(l T / (1 - exp(-l T))) / l; for a
    frame that is short against the half-life, half of it.
    """
    if not (duration_s > 0 and half_life_s > 0):
        raise InputError(f"a frame and a half-life are longer than 0 s; found {duration_s:g} s and {half_life_s:g} s")
    rate = math.log(2.0) / half_life_s
    return math.log(rate * duration_s / -math.expm1(-rate * duration_s)) / rate


def body_weight_suv(activity_bq_ml: ArrayLike, weight_kg: float, dose_bq: float) -> NDArray[Any]:
    """Standardised uptake value by body weight: concentration times weight over the dose at the same time.

    Parameters
    ----------
    activity_bq_ml : array
        Concentration, Bq/ml.
    weight_kg : float
        Of the patient, kg.
    dose_bq : float
        Administered activity, decayed to the time that the concentrations are corrected to, Bq.

    Returns
    -------
    array
        g/ml, of the shape of the concentration: 1 where the tracer is spread evenly in tissue of 1 g/ml.

    Raises
    ------
    InputError
        When weight or dose is not above 0.
    """
    if not (math.isfinite(weight_kg) and weight_kg > 0 and math.isfinite(dose_bq) and dose_bq > 0):
        raise InputError(f"an SUV needs a weight and a dose above 0; found {weight_kg:g} kg and {dose_bq:g} Bq")
    return np.asarray(np.asarray(activity_bq_ml) * (weight_kg * GRAMS_PER_KILOGRAM / dose_bq))

"""What does a covariate do to the hazard? Cox's proportional hazards model, and whether they are proportional."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from tailort.cohort.concordance import concordance
from tailort.cohort.observed import (
    ChiSquared,
    Float,
    Labels,
    Mask,
    checked_confidence,
    checked_labels,
    checked_status,
    checked_times,
    chosen,
    freeze,
)
from tailort.cohort.partial_likelihood import Maximum, RiskSets, maximise, risk_sets
from tailort.cohort.ranks import mean_ranks
from tailort.cohort.survival import kaplan_meier
from tailort.errors import InputError

Ties = Literal["efron", "breslow"]
Transform = Literal["km", "rank", "identity", "log"]
TIES: tuple[Ties, ...] = ("efron", "breslow")
TRANSFORMS: tuple[Transform, ...] = ("km", "rank", "identity", "log")

# Events per covariate below which coefficients are unstable; Peduzzi et al., J Clin Epidemiol 1995;48:1503.
FEW_EVENTS = 10
# Information below this share of what there was, or could be, is nothing but rounding.
LEFT = 1e-8


@dataclass(frozen=True)
class CoxTerm:
    """One covariate of a Cox model; all None when the likelihood has no maximum in it.

    Attributes
    ----------
    name : str
    coefficient, standard_error : float or None
        Logarithm of the hazard ratio per unit of the covariate.
    hazard_ratio, lower, upper : float or None
        With Wald limits.
    z, p_value : float or None
        Wald's test.
    """

    name: str
    coefficient: float | None
    standard_error: float | None
    hazard_ratio: float | None
    lower: float | None
    upper: float | None
    z: float | None
    p_value: float | None


@dataclass(frozen=True)
class CoxFit:
    """A Cox model.

    Attributes
    ----------
    terms : tuple of CoxTerm
    likelihood_ratio, score : ChiSquared
        Tests of all covariates together.
    wald : ChiSquared or None
        None when some coefficient has no finite estimate.
    log_likelihood, log_likelihood_null : float
        Log partial likelihood of the fit and without covariates.
    covariance : (p, p) float
        Of the coefficients; not a number where there is no estimate.
    concordance : float or None
        Harrell's: share of comparable pairs in which the higher hazard has the earlier event; ties count half.
    patients, event_count, iterations : int
    ties : {"efron", "breslow"}
    confidence : float
    notes : tuple of str
    """

    terms: tuple[CoxTerm, ...]
    likelihood_ratio: ChiSquared
    wald: ChiSquared | None
    score: ChiSquared
    log_likelihood: float
    log_likelihood_null: float
    covariance: Float
    concordance: float | None
    patients: int
    event_count: int
    iterations: int
    ties: Ties
    confidence: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        freeze(self.covariance)


@dataclass(frozen=True)
class ProportionalHazards:
    """Test whether hazard ratios stay the same over time.

    Attributes
    ----------
    names : tuple of str
    terms : tuple of ChiSquared
        Of each covariate alone.
    whole : ChiSquared
        Of all together.
    transform : {"km", "rank", "identity", "log"}
        Scale of time along which a change is looked for.
    """

    names: tuple[str, ...]
    terms: tuple[ChiSquared, ...]
    whole: ChiSquared
    transform: Transform


@dataclass(frozen=True)
class _Checked:
    times: Float
    events: Mask
    covariates: Float
    names: tuple[str, ...]
    strata: Labels | None


def _checked(
    times: ArrayLike, events: ArrayLike, covariates: ArrayLike, names: Sequence[str], strata: ArrayLike | None
) -> _Checked:
    checked = checked_times(times, least_rows=2)
    codes = checked_status(events, len(checked), (1,), "event")
    if not codes.any():
        raise InputError(f"found no event among {len(checked)} patients; a Cox model needs some")
    try:
        x = np.asarray(covariates, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("a covariate is not a number; give groups as columns of 0 and 1") from error
    if x.shape != (len(checked), len(names)) or not names or len(set(names)) != len(names):
        raise InputError(
            f"found {len(checked)} times, covariates of shape {x.shape} and the names {', '.join(names) or 'none'}; "
            "give one row per patient and one column per name, each name once"
        )
    if not np.all(np.isfinite(x)):
        row, column = np.argwhere(~np.isfinite(x))[0]
        raise InputError(f"row {row + 1} has no '{names[column]}'; give it or leave the row out")
    layers = None if strata is None else checked_labels(strata, len(checked), "stratum")
    return _Checked(checked, codes == 1, x, tuple(names), layers)


@dataclass(frozen=True, eq=False)
class FittedCox:
    """A fit of which `cox_of` and `proportional_hazards_of` tell.

    Attributes
    ----------
    times : (n,) float
    events : (n,) bool
    names : tuple of str
    sets : RiskSets
    found : Maximum
    ties : {"efron", "breslow"}
    """

    times: Float
    events: Mask
    names: tuple[str, ...]
    sets: RiskSets
    found: Maximum
    ties: Ties


def fit_cox(
    times: ArrayLike,
    events: ArrayLike,
    covariates: ArrayLike,
    names: Sequence[str],
    *,
    strata: ArrayLike | None = None,
    ties: Ties = "efron",
) -> FittedCox:
    """Fit Cox's model once, for all that is told of it; parameters and errors as of `cox`."""
    rule = chosen(ties, TIES, "tie rule")
    data = _checked(times, events, covariates, names, strata)
    sets = risk_sets(data.times, data.events, data.covariates, data.strata, rule == "efron")
    return FittedCox(data.times, data.events, data.names, sets, maximise(sets, data.names), rule)


def cox(
    times: ArrayLike,
    events: ArrayLike,
    covariates: ArrayLike,
    names: Sequence[str],
    *,
    strata: ArrayLike | None = None,
    ties: Ties = "efron",
    confidence: float = 0.95,
) -> CoxFit:
    """Cox's model by the partial likelihood.

    Parameters
    ----------
    times : (n,) float
    events : (n,) int or bool
        1 event, 0 censored.
    covariates : (n, p) float
        Groups as columns of 0 and 1.
    names : sequence of str
        Of the columns.
    strata : (n,) text or whole numbers, optional
        Each with its own baseline hazard.
    ties : {"efron", "breslow"}
    confidence : float

    Returns
    -------
    CoxFit
        A covariate in which the likelihood rises for ever (every event in one group, say) has no estimate: its term
        is None and a note says so; the likelihood-ratio and score tests stand.

    Raises
    ------
    InputError
        Fewer than two rows; no event; a bad time, code or covariate; covariates that are constant or given by each
        other; no convergence.

    References
    ----------
    Cox, J R Stat Soc B 1972;34:187. Efron, J Am Stat Assoc 1977;72:557, DOI 10.1080/01621459.1977.10480613 (ties).
    Breslow, Biometrics 1974;30:89, DOI 10.2307/2529620 (ties).
    """
    return cox_of(fit_cox(times, events, covariates, names, strata=strata, ties=ties), confidence)


def cox_of(fitted: FittedCox, confidence: float = 0.95) -> CoxFit:
    """What a fit tells of covariates, as `cox` does."""
    width = checked_confidence(confidence)
    names, sets, found = fitted.names, fitted.sets, fitted.found
    untold = _untold(found)
    kept = np.flatnonzero(~found.endless & ~untold)
    covariance = np.full((len(names), len(names)), np.nan)
    covariance[np.ix_(kept, kept)] = np.linalg.inv(found.at.information[np.ix_(kept, kept)])
    covariance /= np.outer(sets.units, sets.units)
    coefficients = np.where(found.endless | untold, np.nan, found.coefficients / sets.units)
    terms = tuple(
        _term(name, value, error, width)
        for name, value, error in zip(names, coefficients, np.sqrt(np.diag(covariance)), strict=True)
    )
    freedom = len(names)
    likelihood_ratio = ChiSquared(2.0 * (found.at.value - found.null.value), freedom)
    score = ChiSquared(float(found.null.score @ np.linalg.solve(found.null.information, found.null.score)), freedom)
    b = found.coefficients
    wald = None if found.endless.any() else ChiSquared(float(b @ found.at.information @ b), freedom)
    event_count = int(fitted.events.sum())
    notes = [
        f"the likelihood has no maximum in '{name}': it separates the patients with the event from the others at risk, "
        "so there is no hazard ratio; the likelihood-ratio and score tests stand"
        for name, endless in zip(names, found.endless, strict=True)
        if endless
    ]
    notes += [
        f"'{name}' has no hazard ratio: beside the infinite one no event tells anything of it"
        for name, nothing in zip(names, untold, strict=True)
        if nothing
    ]
    if event_count < FEW_EVENTS * freedom:
        notes.append(
            f"{event_count} events for {freedom} covariate(s): fewer than {FEW_EVENTS} each make coefficients unstable"
        )
    return CoxFit(
        terms,
        likelihood_ratio,
        wald,
        score,
        found.at.value,
        found.null.value,
        covariance,
        concordance(sets, sets.covariates @ b),
        len(fitted.times),
        event_count,
        found.iterations,
        fitted.ties,
        confidence,
        tuple(notes),
    )


def _untold(found: Maximum) -> Mask:
    """Coefficients of which nothing is left to tell once others have gone to infinity."""
    untold: Mask = np.zeros(len(found.endless), dtype=bool)
    kept = np.flatnonzero(~found.endless)
    if not found.endless.any() or not len(kept):
        return untold
    block = np.ix_(kept, kept)
    spread, axes = np.linalg.eigh(found.at.information[block])
    empty = spread <= LEFT * np.linalg.eigvalsh(found.null.information[block])[0]
    untold[kept] = (np.abs(axes[:, empty]) > 1e-4).any(axis=1)
    return untold


def _term(name: str, coefficient: float, error: float, width: float) -> CoxTerm:
    if not np.isfinite(coefficient):
        return CoxTerm(name, None, None, None, None, None, None, None)
    ratio, lower, upper = (float(np.exp(coefficient + side * width * error)) for side in (0.0, -1.0, 1.0))
    z = float(coefficient / error)
    return CoxTerm(name, float(coefficient), float(error), ratio, lower, upper, z, float(2.0 * ndtr(-abs(z))))


def proportional_hazards(
    times: ArrayLike,
    events: ArrayLike,
    covariates: ArrayLike,
    names: Sequence[str],
    *,
    strata: ArrayLike | None = None,
    ties: Ties = "efron",
    transform: Transform = "km",
) -> ProportionalHazards:
    """Score test for coefficients that change linearly with a transform of time.

    Parameters
    ----------
    times, events, covariates, names, strata, ties
        As of `cox`.
    transform : {"km", "rank", "identity", "log"}
        1 - Kaplan-Meier just before the time, its rank, itself, or its logarithm.

    Raises
    ------
    InputError
        As of `cox`; also a covariate without a finite estimate, fewer than two event times, or a logarithm of 0.

    References
    ----------
    Grambsch and Therneau, Biometrika 1994;81:515, DOI 10.1093/biomet/81.3.515; the exact score test of R's cox.zph.
    """
    return proportional_hazards_of(fit_cox(times, events, covariates, names, strata=strata, ties=ties), transform)


def proportional_hazards_of(fitted: FittedCox, transform: Transform = "km") -> ProportionalHazards:
    """What a fit tells of hazards over time, as `proportional_hazards` does."""
    scale = chosen(transform, TRANSFORMS, "transform")
    names, sets, found = fitted.names, fitted.sets, fitted.found
    if found.endless.any():
        endless = ", ".join(name for name, no_end in zip(names, found.endless, strict=True) if no_end)
        raise InputError(f"the likelihood has no maximum in {endless}: proportional hazards cannot be tested")
    scaled = _scaled(fitted, scale)[sets.order][sets.events]
    if np.ptp(scaled) == 0.0:
        raise InputError("all events are at one time: proportional hazards cannot be tested")
    centred = scaled - scaled.mean()
    linear, square = (sets.derivatives(found.coefficients, weight) for weight in (centred, centred**2))
    # What is left of the slope's spread once the coefficients have been estimated.
    cross = np.linalg.solve(found.at.information, linear.information)
    left = square.information - linear.information @ cross
    most = np.ptp(scaled) ** 2 * np.linalg.eigvalsh(found.at.information)[0]
    if np.linalg.eigvalsh(left)[0] <= LEFT * most:
        raise InputError("too few events have different patients at risk: proportional hazards cannot be tested")
    singles = []
    for place in range(len(names)):
        rest = square.information[place, place] - linear.information[place] @ cross[:, place]
        singles.append(ChiSquared(float(linear.score[place] ** 2 / rest), 1))
    whole = ChiSquared(float(linear.score @ np.linalg.solve(left, linear.score)), len(names))
    return ProportionalHazards(names, tuple(singles), whole, scale)


def _scaled(fitted: FittedCox, transform: Transform) -> Float:
    if transform == "rank":
        return mean_ranks(fitted.times)
    if transform == "identity":
        return fitted.times
    if transform == "log":
        if fitted.times.min() == 0.0:
            raise InputError("a time is 0 and has no logarithm; choose another transform")
        logarithm: Float = np.log(fitted.times)
        return logarithm
    curve = kaplan_meier(fitted.times, fitted.events)
    before: Float = 1.0 - np.append(1.0, curve.survival)[np.searchsorted(curve.times, fitted.times)]
    return before

"""How numbers of a cohort stand in the cells of tables; what cannot be told says so."""

from __future__ import annotations

from tailort.cohort.observed import Rate
from tailort.cohort.proportions import Proportion
from tailort.cohort.survival import Quantile
from tailort.workflow.cohort_records import GroupProportion

ALL = "all patients"
CANNOT = "cannot be told"


def p_told(p_value: float | None) -> str:
    """A p value with three decimals."""
    if p_value is None:
        return CANNOT
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def rate_told(rate: Rate | None) -> str:
    """A share with its interval and how many were at risk."""
    if rate is None:
        return ""
    if rate.estimate is None:
        return f"{CANNOT} ({rate.at_risk} at risk)"
    return f"{interval_told(rate.estimate, rate.lower, rate.upper)[:-1]}; {rate.at_risk} at risk)"


def interval_told(estimate: float | None, lower: float | None, upper: float | None) -> str:
    """A share with its interval, per cent."""
    if estimate is None:
        return CANNOT
    ends = "no interval" if lower is None or upper is None else f"{100 * lower:.1f} to {100 * upper:.1f}"
    return f"{100 * estimate:.1f} % ({ends})"


def quantile_told(found: Quantile | None) -> str:
    """A median with its interval."""
    if found is None:
        return ""
    if found.time is None:
        return "not reached" if found.lower is None else f"not reached ({found.lower:.1f} to not reached)"
    if found.lower is None and found.upper is None:
        return f"{found.time:.1f} (no interval)"
    lower = CANNOT if found.lower is None else f"{found.lower:.1f}"
    upper = "not reached" if found.upper is None else f"{found.upper:.1f}"
    return f"{found.time:.1f} ({lower} to {upper})"


def proportion_told(found: GroupProportion) -> str:
    """n/N, percent and exact limits."""
    one = found.proportion
    if one is None:
        return "known of nobody"
    return percent_told(one)


def share(count: int, of: int) -> str:
    """n (%), of how many."""
    return f"{count} ({100 * count / of:.1f} %)" if of else f"{count}"


def percent_told(one: Proportion) -> str:
    """n/N, percent and exact limits."""
    percent = f"{100 * one.estimate:.1f} % ({100 * one.lower:.1f} to {100 * one.upper:.1f})"
    return f"{one.successes}/{one.number}, {percent}"

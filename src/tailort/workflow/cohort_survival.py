"""One endpoint of a cohort: curves and rates of all and of each group, and whether the groups differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tailort.cohort.cox import CoxFit, ProportionalHazards, cox_of, fit_cox, proportional_hazards_of
from tailort.cohort.gray import gray_test
from tailort.cohort.incidence import aalen_johansen
from tailort.cohort.log_rank import log_rank
from tailort.cohort.patients import EVENT, TimesToEvent
from tailort.cohort.subgroups import Subgroups, subgroup_effects
from tailort.cohort.survival import kaplan_meier, reverse_kaplan_meier
from tailort.errors import InputError
from tailort.protocols.cohort_endpoints import Endpoint
from tailort.workflow.cohort_records import MONTHS_A_YEAR, EndpointAnalysis, GroupOutcome, GroupTest

Float = NDArray[np.float64]
Whole = NDArray[np.int64]
GRAY, LOG_RANK = "gray", "log-rank"


def analyse_endpoint(
    endpoint: Endpoint,
    times: TimesToEvent,
    groups: Mapping[str, str | None],
    strata: Mapping[str, str | None] | None = None,
    stratified_by: str = "",
) -> EndpointAnalysis:
    """Estimate one endpoint and compare groups.

    Parameters
    ----------
    endpoint : Endpoint
        As the protocol defines it.
    times : TimesToEvent
        Of the cohort.
    groups : mapping of str to (str or None)
        Group of each patient, by pseudonym; empty compares nothing.
    strata : mapping of str to (str or None) or None
        Stratum of each patient.
    stratified_by : str
        The fact of the strata, for the names of tests.
    """
    if not len(times.months):
        told = "; ".join(f"{name}: {why}" for name, why in list(times.left_out.items())[:3])
        return EndpointAnalysis(endpoint, times, f"it is known of no patient ({told})" if told else "no patients")
    overall = group_outcome("", endpoint, times.months, times.status, len(times.competing))
    found = EndpointAnalysis(endpoint, times, overall=overall, notes=tuple(times.notes))
    if not groups:
        return found
    label, known = _labels(times.pseudonyms, groups)
    stratum = None
    if strata is not None:
        stratum, in_stratum = _labels(times.pseudonyms, strata)
        known &= in_stratum
        stratum = stratum[known]
    label = label[known]
    months, status = times.months[known], times.status[known]
    names = sorted(set(label.tolist()))
    outcomes = tuple(
        group_outcome(name, endpoint, months[label == name], status[label == name], len(times.competing))
        for name in names
    )
    found = replace(found, groups=outcomes, ungrouped=int((~known).sum()))
    if len(names) < 2:
        told = f"one group alone ('{names[0]}')" if names else "no patient's group is known"
        return replace(found, notes=(*found.notes, f"{told}: nothing to compare"))
    tests = _tests(endpoint, months, status, label, stratum, len(times.competing), stratified_by)
    hazards, proportional, notes = _hazards(months, status == EVENT, label, names, stratum)
    return replace(
        found, tests=tests, hazards=hazards, reference=names[0], stratified_by=stratified_by, proportional=proportional,
        notes=(*found.notes, *notes),
    )  # fmt: skip


def _labels(pseudonyms: Sequence[str], groups: Mapping[str, str | None]) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
    """Group of each patient, and whether it is known."""
    told = list(map(groups.get, pseudonyms))
    return np.array([name or "" for name in told]), np.array([name is not None for name in told], dtype=bool)


def group_outcome(name: str, endpoint: Endpoint, months: Float, status: Whole, competing: int) -> GroupOutcome:
    """Curves, rates and follow-up of one group."""
    at = [MONTHS_A_YEAR * year for year in endpoint.at_years]
    follow_up = reverse_kaplan_meier(months, (status > 0).astype(np.int64)).median()
    counts = tuple(int((status == EVENT + 1 + n).sum()) for n in range(competing))
    events, censored = int((status == EVENT).sum()), int((status == 0).sum())
    if not competing:
        curve = kaplan_meier(months, status)
        rates = curve.at(at)
        return GroupOutcome(
            name, len(months), events, censored, counts, curve, None, curve.median(), rates, (), follow_up
        )
    causes = tuple(range(EVENT, EVENT + competing + 1))
    found = aalen_johansen(months, status, causes=causes)
    return GroupOutcome(
        name, len(months), events, censored, counts, None, found, None, found.at(EVENT, at),
        tuple(found.at(cause, at) for cause in causes[1:]), follow_up,
    )  # fmt: skip


def subgroups_of(
    times: TimesToEvent, groups: Mapping[str, str | None], factors: Mapping[str, Mapping[str, str | None]]
) -> Subgroups:
    """Test whether the effect of two groups on an endpoint differs by other facts."""
    known = [n for n, name in enumerate(times.pseudonyms) if groups.get(name) is not None]
    names = [times.pseudonyms[n] for n in known]
    return subgroup_effects(
        times.endpoint, times.months[known], times.status[known] == EVENT, [groups[name] or "" for name in names],
        {factor: [told.get(name) for name in names] for factor, told in factors.items()},
    )  # fmt: skip


def _tests(
    endpoint: Endpoint,
    months: Float,
    status: Whole,
    label: NDArray[np.str_],
    strata: NDArray[np.str_] | None,
    competing: int,
    stratified_by: str,
) -> tuple[GroupTest, ...]:
    asked = set(endpoint.tests)
    within = f", stratified by {stratified_by}" if strata is not None else ""
    tests = []
    if competing:
        causes = tuple(range(EVENT, EVENT + competing + 1))
        gray = gray_test(months, status, label, cause=EVENT, causes=causes, strata=strata)
        tests.append(
            GroupTest(
                f"Gray's test{within}", gray.statistic, gray.degrees_of_freedom, gray.p_value, GRAY in asked, gray.notes
            )
        )
    ranks = log_rank(months, (status == EVENT).astype(np.int64), label, strata=strata)
    name = "log-rank test of the cause-specific hazard, competing events censored" if competing else "log-rank test"
    tests.append(
        GroupTest(
            f"{name}{within}", ranks.statistic, ranks.degrees_of_freedom, ranks.p_value, LOG_RANK in asked, ranks.notes
        )
    )
    return tuple(tests)


def _hazards(
    months: Float,
    events: NDArray[np.bool_],
    label: NDArray[np.str_],
    names: Sequence[str],
    strata: NDArray[np.str_] | None,
) -> tuple[CoxFit | None, ProportionalHazards | None, tuple[str, ...]]:
    """Cox's model of the groups against the first; None, and why, where there is none."""
    if not events.any():
        return None, None, ("no event in any group: there is no hazard ratio",)
    columns = np.column_stack([label == name for name in names[1:]]).astype(np.float64)
    try:
        fitted = fit_cox(months, events.astype(np.int64), columns, list(names[1:]), strata=strata)
        fit = cox_of(fitted)
    except InputError as error:
        return None, None, (f"no hazard ratio: {error}",)
    if any(term.coefficient is None for term in fit.terms):
        return fit, None, ()
    try:
        held = proportional_hazards_of(fitted)
    except InputError as error:
        return fit, None, (f"proportional hazards were not tested: {error}",)
    return fit, held, ()

"""Designs whose endpoint is survival, as the commands tell them: numbers for JSON, and lines for people."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from tailort.cli.design_words import NO_SIMULATION, Rows, Simulation, Told, asked, joined, percent, sided
from tailort.cohort.designs import (
    FollowUp,
    Sides,
    Variance,
    VirtualTrial,
    freedman_events,
    hazard_of,
    log_rank_size,
    log_rank_trial,
    one_sample_log_rank_trial,
    schoenfeld_events,
    two_arms,
)
from tailort.errors import InputError


def log_rank(
    alpha: float,
    power: float,
    *,
    hazard_ratio: float | None = None,
    control: float | None = None,
    assumed: float | None = None,
    at_years: float | None = None,
    follow_up: FollowUp | None = None,
    sides: Sides = 2,
    ratio: float = 1.0,
    simulation: Simulation = NO_SIMULATION,
) -> Told:
    """Design two arms whose survival is compared by the log-rank test; patients where follow-up is told.

    Raises
    ------
    InputError
        As `schoenfeld_events`; when neither or both of hazard ratio and assumed survival are given, or what patients
        need is missing.
    """
    if (hazard_ratio is None) == (assumed is None):
        raise InputError("give either --hazard-ratio, or --assumed with --control")
    if assumed is not None:
        if control is None:
            raise InputError("--assumed needs --control, the survival of the control arm at the same time")
        hazard_ratio = hazard_of(assumed, 1.0) / hazard_of(control, 1.0)
    assert hazard_ratio is not None
    events = schoenfeld_events(hazard_ratio, alpha, power, sides=sides, ratio=ratio)
    other = freedman_events(hazard_ratio, alpha, power, sides=sides, ratio=ratio)
    told: dict[str, Any] = {
        "design": "log-rank", "method": "log-rank test, Schoenfeld's number of events",
        "variance": "of the null hypothesis: equal hazards", "sides": sides, "hazard_ratio": hazard_ratio,
        "control": control, "assumed": assumed, "at_years": at_years, "alpha": alpha, "power": power, "ratio": ratio,
        "events": math.ceil(events - 1e-9), "events_not_rounded": events, "events_by_freedman": other,
    }  # fmt: skip
    rows: Rows = [
        ("method", f"{told['method']}; {sided(sides)}"),
        ("variance", told["variance"]),
        ("asked", f"hazard ratio {hazard_ratio:.4g}, alpha {alpha:g}, power {power:g}, ratio {ratio:g}"),
        ("events", f"{events:.2f}, so {told['events']} of both arms"),
        ("(Freedman)", f"{other:.2f}, so {math.ceil(other - 1e-9)} of both arms"),
    ]
    if follow_up is None:
        if simulation.trials is not None:
            raise InputError("to simulate a log-rank test give --control, --at-years and --follow-up-years too")
        rows.append(("patients", "not told: give --control, --at-years and --follow-up-years"))
        return told, rows
    if control is None or at_years is None:
        raise InputError("patients need --control, the survival of the control arm, and --at-years, its time")
    hazard = hazard_of(control, at_years)
    arms = two_arms(events, hazard, hazard_ratio, follow_up, ratio)
    told |= {"arms": [arms.control, arms.other], "patients": arms.patients, "follow_up": dataclasses.asdict(follow_up)}
    told |= {"deaths_seen": [arms.seen_control, arms.seen_other]}
    rows += [
        ("follow-up", _followed(follow_up)),
        ("patients", f"{arms.control} and {arms.other}, {arms.patients} in all: {arms.events} deaths are expected"),
        ("deaths seen", f"of {100 * arms.seen_control:.1f} % and {100 * arms.seen_other:.1f} %, exponential survival"),
    ]
    fewer = hazard_ratio < 1

    def trial(true: float) -> VirtualTrial:
        return log_rank_trial(arms.control, arms.other, (hazard, hazard * true), follow_up, alpha, sides, fewer)

    return joined(told, rows, simulation.run(trial, hazard_ratio, 1.0))


def one_sample_log_rank(
    null: float,
    assumed: float,
    at_years: float,
    alpha: float,
    power: float,
    *,
    follow_up: FollowUp | None = None,
    variance: Variance = "null",
    sides: Sides = 2,
    simulation: Simulation = NO_SIMULATION,
) -> Told:
    """Design one arm whose survival is compared with a known one.

    Raises
    ------
    InputError
        As `log_rank_size`.
    """
    followed = follow_up or FollowUp(at_years)
    sizes = {
        spread: log_rank_size(
            null, assumed, alpha, power, variance, sides=sides, at_years=at_years, follow_up=followed, spread=spread
        )
        for spread in ("exact", "deaths")
    }
    patients = math.ceil(sizes["exact"] - 1e-9)
    of_test = {"null": "the deaths expected", "mean": "the mean of deaths expected and observed"}[variance]
    told: dict[str, Any] = {
        "design": "one-sample-log-rank", "method": "one-sample log-rank test, exponential survival",
        "variance": variance, "sides": sides, "null": null, "assumed": assumed, "at_years": at_years, "alpha": alpha,
        "power": power, "follow_up": dataclasses.asdict(followed), "patients": patients,
        "patients_not_rounded": sizes["exact"], "patients_by_deaths": sizes["deaths"],
    }  # fmt: skip
    rows: Rows = [
        ("method", f"{told['method']}; {sided(sides)}"),
        ("variance", f"in the test {of_test}; as assumed the exact one"),
        ("asked", f"{asked(null, assumed, alpha, power)}; survival at {_years(at_years)}"),
        ("follow-up", _followed(followed)),
        ("patients", f"{sizes['exact']:.2f}, so {patients}"),
        ("(variance as assumed: the deaths)", f"{sizes['deaths']:.2f}, so {math.ceil(sizes['deaths'] - 1e-9)}"),
    ]
    null_hazard = hazard_of(null, at_years)

    def trial(true: float) -> VirtualTrial:
        hazard, fewer = hazard_of(true, at_years), assumed > null
        return one_sample_log_rank_trial(patients, null_hazard, hazard, followed, alpha, variance, sides, fewer)

    return joined(told, rows, simulation.run(trial, assumed, null))


def _followed(follow_up: FollowUp) -> str:
    entry = f"entry over {_years(follow_up.accrual_years)}, then " if follow_up.accrual_years else "everybody for "
    lost = f"{percent(follow_up.lost_per_year)} lost a year" if follow_up.lost_per_year else "nobody lost"
    return f"{entry}{_years(follow_up.follow_up_years)}; {lost}"


def _years(number: float) -> str:
    return "1 year" if number == 1 else f"{number:g} years"

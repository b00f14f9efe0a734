"""Designs whose endpoint is a proportion, as the commands tell them: numbers for JSON, and lines for people."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any

from tailort.cli.design_words import (
    NO_SIMULATION,
    Rows,
    Simulation,
    Told,
    asked,
    joined,
    percent,
    sided,
    with_losses,
)
from tailort.cohort.designs import (
    Sides,
    TwoStage,
    VirtualTrial,
    approximations,
    arms_of,
    enough_from,
    enrolled,
    exact_design,
    one_proportion_trial,
    simon_designs,
    smallest_design,
    two_proportions_size,
    two_proportions_trial,
    two_stage_trial,
)
from tailort.errors import InputError


def binomial(
    null: float,
    assumed: float,
    alpha: float,
    power: float | None,
    *,
    patients: int | None = None,
    sides: Sides = 2,
    lost: float | None = None,
    simulation: Simulation = NO_SIMULATION,
) -> Told:
    """Design one arm by the exact binomial test: the fewest patients for a power, or the power of a number of them.

    Raises
    ------
    InputError
        As `smallest_design`; when neither power nor patients are given, or both.
    """
    if (power is None) == (patients is None):
        raise InputError("give either --power, to find the patients, or --patients, to find the power")
    if power is not None:
        design = smallest_design(null, assumed, alpha, power, sides)
    else:
        assert patients is not None
        design = exact_design(patients, null, assumed, alpha, sides)
    told: dict[str, Any] = {
        "design": "binomial", "method": "exact binomial test of one proportion", "variance": "exact", "sides": sides,
        "null": null, "assumed": assumed, "alpha": alpha, "power": power, "exact": dataclasses.asdict(design),
    }  # fmt: skip
    rows: Rows = [
        ("method", f"{told['method']}, no approximation; {sided(sides)}"),
        ("asked", asked(null, assumed, alpha, power)),
        ("patients", f"{design.patients}: power {design.power:.4f}, true alpha {design.alpha:.4f}"),
        ("rejects", f"with {design.rejects} of {design.patients}"),
    ]
    if power is not None:
        if design.patients > 1:
            fewer = exact_design(design.patients - 1, null, assumed, alpha, sides)
            rows.append(("one fewer", f"{fewer.patients}: power {fewer.power:.4f}"))
            told["power_of_one_fewer"] = fewer.power
        steady = enough_from(design, null, assumed, alpha, power, sides)
        told["enough_from"] = steady
        if steady > design.patients:
            rows.append(("always enough", f"from {steady}: between, the power of some numbers falls below again"))
    told |= with_losses(design.patients, lost, rows)
    if power is not None:
        others = approximations(null, assumed, alpha, power, sides)
        told["approximations"] = others
        rows += [(f"({name})", f"{size:.2f}, so {math.ceil(size)}") for name, size in others.items()]
    number, share = told.get("enrolled", design.patients), lost or 0.0

    def trial(true: float) -> VirtualTrial:
        return one_proportion_trial(number, null, assumed, true, alpha, sides, share)

    note = f"each patient lost with chance {share:g}, and the test is of who is left" if share else ""
    return joined(told, rows, simulation.run(trial, assumed, null, note=note))


def two_proportions(
    control: float,
    assumed: float,
    alpha: float,
    power: float,
    *,
    sides: Sides = 2,
    ratio: float = 1.0,
    lost: float | None = None,
    simulation: Simulation = NO_SIMULATION,
) -> Told:
    """Design two arms whose proportions are compared by the chi-square test.

    Raises
    ------
    InputError
        As `two_proportions_size`.
    """
    sizes = {
        name: two_proportions_size(control, assumed, alpha, power, name, sides=sides, ratio=ratio)
        for name in ("pooled", "unpooled", "corrected")
    }
    arms = arms_of(sizes["pooled"], ratio)
    told: dict[str, Any] = {
        "design": "two-proportions", "method": "chi-square test without continuity correction, normal approximation",
        "variance": "pooled under the null, of both proportions as assumed", "sides": sides, "control": control,
        "assumed": assumed, "alpha": alpha, "power": power, "ratio": ratio, "arms": list(arms), "patients": sum(arms),
        "control_arm_by_variance": sizes,
    }  # fmt: skip
    rows: Rows = [
        ("method", f"{told['method']}; {sided(sides)}"),
        ("variance", told["variance"]),
        ("asked", f"control {control:g}, assumed {assumed:g}, alpha {alpha:g}, power {power:g}, ratio {ratio:g}"),
        ("patients", f"{arms[0]} and {arms[1]}, {sum(arms)} in all"),
    ]
    enrolling = arms
    if lost is not None:
        enrolling = enrolled(arms[0], lost), enrolled(arms[1], lost)
        told |= {"losses": lost, "enrolled": list(enrolling)}
        rows.append(("enrolled", f"{enrolling[0]} and {enrolling[1]}, of whom {percent(lost)} are lost"))
    for name, text in (("unpooled", "unpooled variance"), ("corrected", "with continuity correction")):
        other = arms_of(sizes[name], ratio)
        rows.append((f"({text})", f"{other[0]} and {other[1]}"))
    share = lost or 0.0

    def trial(true: float) -> VirtualTrial:
        rises = assumed > control
        return two_proportions_trial(*enrolling, (control, true), rises, alpha, sides, "pooled", share)

    note = f"each patient lost with chance {share:g}, and the test is of who is left" if share else ""
    return joined(told, rows, simulation.run(trial, assumed, control, note=note))


def simon(
    null: float,
    assumed: float,
    alpha: float,
    power: float,
    *,
    most: int = 100,
    lost: float | None = None,
    simulation: Simulation = NO_SIMULATION,
) -> Told:
    """Design one arm in Simon's two stages.

    Raises
    ------
    InputError
        As `simon_designs`.
    """
    found = simon_designs(null, assumed, alpha, power, most)
    told: dict[str, Any] = {
        "design": "simon", "method": "Simon's two-stage design, exact binomial", "variance": "exact", "sides": 1,
        "null": null, "assumed": assumed, "alpha": alpha, "power": power, "searched": most,
    }  # fmt: skip
    rows: Rows = [
        ("method", f"{told['method']}, every design of up to {most} patients; {sided(1)}"),
        ("asked", asked(null, assumed, alpha, power)),
    ]
    share = lost or 0.0
    for name, design in (("optimal", found.optimal), ("minimax", found.minimax)):
        own, lines = _of_two_stages(name, design, null, assumed, lost)
        note = f"each patient lost with chance {share:g} counts as no response" if share else ""
        trial = partial(two_stage_trial, design, lost=share)
        simulated, more = simulation.run(trial, assumed, null, name=f"{name}, simulated", note=note)
        told[name] = own | simulated
        rows += lines + more
    return told, rows


def _of_two_stages(name: str, design: TwoStage, null: float, assumed: float, lost: float | None) -> Told:
    told: dict[str, Any] = dataclasses.asdict(design) | {
        "expected_patients": design.expected_patients(null), "stopped_early": design.stopped_early(null),
        "alpha": design.rejected(null), "power": design.rejected(assumed),
        "expected_patients_as_assumed": design.expected_patients(assumed),
        "stopped_early_as_assumed": design.stopped_early(assumed),
    }  # fmt: skip
    rows: Rows = [
        (
            name,
            f"{design}: {design.first_patients} patients, stop with {design.stop_at_most} or fewer responses; "
            f"{design.patients} in all, {design.fail_at_most} or fewer do not reject",
        ),
        ("", f"power {told['power']:.4f}, true alpha {told['alpha']:.4f}"),
        (
            "",
            f"under the null {told['expected_patients']:.2f} patients expected, stops early with chance "
            f"{told['stopped_early']:.4f}; as assumed {told['expected_patients_as_assumed']:.2f} and "
            f"{told['stopped_early_as_assumed']:.4f}",
        ),
    ]
    if lost is not None:
        told["enrolled"] = [enrolled(design.first_patients, lost), enrolled(design.patients, lost)]
        told |= {"losses": lost, "power_if_lost_count_as_failures": design.rejected(assumed * (1 - lost))}
        rows.append(
            (
                "",
                f"{percent(lost)} lost: enrol {told['enrolled'][0]} and {told['enrolled'][1]} in all and judge who is "
                f"left, or count the lost as no response with power {told['power_if_lost_count_as_failures']:.4f}",
            )
        )
    return told, rows

"""The design of a protocol, recomputed: each arm by its own test, and what losses its enrolment allows."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

from tailort.cli.design_words import NO_SIMULATION, Rows, Simulation, Told, percent
from tailort.cohort.designs import Sides, VirtualTrial, enrolled, one_proportion_trial, smallest_design
from tailort.errors import InputError

if TYPE_CHECKING:
    from tailort.protocols import Protocol


def protocol_design(protocol_id: str, *, lost: float | None = None, simulation: Simulation = NO_SIMULATION) -> Told:
    """Recompute the design of a protocol.

    Parameters
    ----------
    protocol_id : str
        Id or file.
    lost : float or None
        Share of the enrolled who are lost; None tells what share the protocol's own enrolment allows.
    simulation : Simulation
        Trials to simulate of each arm.

    Raises
    ------
    InputError
        When there is no such protocol, or it has no design.
    """
    from tailort.protocols import load
    from tailort.protocols.trial_words import design_in_words

    protocol = load(protocol_id)
    design = protocol.file.design
    if design is None:
        raise InputError(f"protocol '{protocol.id}' has no design: its file has no section 'design'")
    sides: Sides = 2 if design.two_sided else 1
    told: dict[str, Any] = {
        "design": "protocol", "protocol": protocol.id, "version": protocol.version, "method": design.test,
        "variance": "exact", "sides": sides, "alpha": design.alpha, "power": design.power, "arms": [],
    }  # fmt: skip
    words = {part.name: part for part in design_in_words(design)}
    rows: Rows = [("protocol", f"{protocol.id} {protocol.version}")]
    for arm in design.arms:
        found = smallest_design(arm.null_proportion, arm.assumed_proportion, design.alpha, design.power, sides)
        cited = _cited(protocol, arm.rules)
        rows += [(arm.name, words[arm.name].text), ("", f"rules {_listed(cited)}")]
        null, assumed, patients = arm.null_proportion, arm.assumed_proportion, arm.patients
        trial = partial(_trial, patients, null, assumed, design.alpha, sides)
        simulated, lines = simulation.run(trial, assumed, null, name=f"{arm.name}, simulated")
        rows += lines
        told["arms"].append(
            {
                "name": arm.name, "patients": patients, "null": null, "assumed": assumed, "rules": cited,
                "recomputed": dataclasses.asdict(found), "agrees": found.patients == patients,
            }
            | simulated
        )  # fmt: skip
    needed, (low, high) = sum(arm.patients for arm in design.arms), design.enrolled
    cited = _cited(protocol, design.rules)
    told |= {"patients": needed, "enrolled": list(design.enrolled), "rules": cited}
    told["losses_that_enrolment_allows"] = 1 - needed / high
    rows += [
        ("in all", f"{needed} patients; {low} to {high} are enrolled with losses; rules {_listed(cited)}"),
        (
            "losses",
            f"the protocol prints no share: {high} enrolled leave {needed} when {percent(1 - needed / high)} are "
            "lost [derived]",
        ),
    ]
    if lost is not None:
        told |= {"losses": lost, "enrolled_with_losses": enrolled(needed, lost)}
        rows.append(
            ("", f"with the {percent(lost)} that were asked for: {enrolled(needed, lost)} enrolled leave {needed}")
        )
    arms = {arm.name for arm in design.arms}
    rows += [(f"({name})", part.text) for name, part in words.items() if part.rules == design.rules
             and name not in arms | {"enrolled", "analysis"}]  # fmt: skip
    return told, rows


def _trial(patients: int, null: float, assumed: float, alpha: float, sides: Sides, true: float) -> VirtualTrial:
    return one_proportion_trial(patients, null, assumed, true, alpha, sides)


def _cited(protocol: Protocol, ids: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"rule": rule_id, "mark": protocol.rule(rule_id).mark} for rule_id in ids]


def _listed(cited: list[dict[str, str]]) -> str:
    return ", ".join(f"{one['rule']} [{one['mark']}]" for one in cited)

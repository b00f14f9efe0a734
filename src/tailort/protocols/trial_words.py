"""Follow-up, safety, endpoints and design of a protocol in words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

from tailort.cohort.designs import Sides, approximations, enough_from, smallest_design
from tailort.protocols.endpoints import ArmEntry, DesignSection
from tailort.protocols.schema import ProtocolFile
from tailort.protocols.treatment_records import Part


def follow_up_in_words(file: ProtocolFile) -> Iterator[Part]:
    """Visits, what is done at each, and when response is judged."""
    follow_up = file.follow_up
    if follow_up is None:
        return
    for entry in follow_up.visits:
        until = "for as long as the patient lives" if entry.to_month is None else f"to month {entry.to_month}"
        text = f"every {entry.every_months} months from month {entry.from_month} {until}"
        yield Part("visits", f"{text}, counted from {follow_up.counted_from}", "yes", (), entry.rules)
    for at in follow_up.at_each_visit:
        name = "at each visit" if at.strength == "always" else "at each visit, if needed"
        yield Part(name, at.what, "yes", (), at.rules)
    response = follow_up.response
    if response is not None:
        text = f"{response.criteria}, {response.from_month:g} to {response.to_month:g} months after treatment"
        yield Part("response", text, "yes", (), response.rules)


def safety_in_words(file: ProtocolFile) -> Iterator[Part]:
    """By what toxicity is graded, and how soon a serious event is reported."""
    if file.safety is not None:
        yield Part("grading", " and ".join(file.safety.grading), "yes", (), file.safety.rules)
        text = f"to the {file.safety.report_to} within {file.safety.within_hours:g} hours"
        yield Part("serious adverse event", text, "yes", (), file.safety.rules)


def endpoints_in_words(file: ProtocolFile) -> Iterator[Part]:
    """What the trial measures."""
    for entry in file.endpoints:
        text: str = entry.kind
        if entry.at_years:
            text += f", at {', '.join(str(year) for year in entry.at_years)} years"
        if entry.counted_from is not None:
            events = " or ".join(entry.events)
            text += f", from {entry.counted_from} to {events}, else censored at {entry.censored_at}"
        if entry.when is not None:
            text += f"; only where {entry.when.text}"
        yield Part(entry.name, text, "yes", (), entry.rules)


@cache
def design_in_words(design: DesignSection) -> tuple[Part, ...]:
    """How many patients, by which test; what the test itself asks for, and what approximations of it would."""
    return tuple(_design(design))


def _design(design: DesignSection) -> Iterator[Part]:
    sides = "two-sided" if design.two_sided else "one-sided"
    for arm in design.arms:
        text = (
            f"{arm.patients} patients: {design.test.replace('-', ' ')} test, {sides} alpha {design.alpha:g}, power "
            f"{design.power:g}, {arm.assumed_proportion:g} against {arm.null_proportion:g}; {_computed(design, arm)}"
        )
        yield Part(arm.name, text, "yes", (), arm.rules)
    yield Part("enrolled", f"{design.enrolled[0]} to {design.enrolled[1]} with losses", "yes", (), design.rules)
    if design.analysis:
        yield Part("analysis", ", ".join(design.analysis), "yes", (), design.rules)
    if design.two_sided:
        yield from _by_other_tests(design)


def _computed(design: DesignSection, arm: ArmEntry) -> str:
    """What the test asks for: the fewest patients, its true level and power, when it rejects."""
    sides: Sides = 2 if design.two_sided else 1
    asked = arm.null_proportion, arm.assumed_proportion, design.alpha, design.power
    found = smallest_design(*asked, sides)
    text = (
        f"the fewest of this test are {found.patients}, power {found.power:.4f}, true alpha {found.alpha:.4f}, "
        f"the null is rejected with {found.rejects}"
    )
    steady = enough_from(found, *asked, sides)
    if steady > found.patients:
        text += f"; with every number the power is enough from {steady}"
    return text if found.patients == arm.patients else f"{text}: NOT the number of the protocol"


def _by_other_tests(design: DesignSection) -> Iterator[Part]:
    """Numbers of all arms by each approximation, and whether they are those of the protocol."""
    told = [arm.patients for arm in design.arms]
    each = [
        approximations(arm.null_proportion, arm.assumed_proportion, design.alpha, design.power) for arm in design.arms
    ]
    for name in each[0]:
        sizes = [math.ceil(sizes[name]) for sizes in each]
        how = "the numbers of the protocol" if sizes == told else "not the numbers of the protocol"
        yield Part(name, f"{' and '.join(str(size) for size in sizes)} patients: {how}", "yes", (), design.rules)

"""What a site's overlay does to limits: another number or priority, or one limit more."""

from __future__ import annotations

from typing import Any

from tailort.protocols.loosening import bound_in_words, limit_in_words
from tailort.protocols.overlay_file import LimitChange, NewLimit
from tailort.protocols.overlay_records import Change, OverlayError, Place
from tailort.protocols.schema import (
    ComparatorEntry,
    CourseEntry,
    LimitEntry,
    LimitFields,
    PlanEntry,
    ProtocolFile,
    Rule,
)
from tailort.protocols.section import replaced, sections_in

NO_SUCH_LIMIT = "no such limit"


def changed_limit(file: ProtocolFile, change: LimitChange, place: Place) -> tuple[ProtocolFile, Change]:
    """Return a file with another number or priority of one of its limits, and what was changed."""
    every = [entry for entry in sections_in(file, LimitEntry) if change.means(entry)]
    if not every:
        near = dict.fromkeys(
            f"{entry.metric} {entry.operator} {entry.limit:g}" for entry in sections_in(file, LimitEntry)
            if entry.structure.lower() == change.structure.lower()
        )  # fmt: skip
        have = f"of {change.structure} there are: {', '.join(near)}" if near else _structures_limited(file)
        raise OverlayError(place, f"'{file.id}' has no such limit; {have}")
    values = sorted({entry.limit for entry in every})
    if change.was not in values:
        told = " or ".join(f"{value:g}" for value in values)
        raise OverlayError((*place, "was"), f"the limit is {told}, not {change.was:g}")
    meant = {entry for entry in every if entry.limit == change.was}
    distinct = {(entry.operator, entry.priority, entry.percent_of, entry.scope, entry.quantity) for entry in meant}
    if len(distinct) > 1:
        told = "; ".join(sorted(limit_in_words(entry) for entry in meant))
        raise OverlayError(
            place, f"several limits are meant: {told}; tell them apart by operator, percent_of, scope or priority_was"
        )
    update: dict[str, Any] = {"mark": "site"}
    update |= {"limit": change.limit} if change.limit is not None else {}
    update |= {"priority": change.priority} if change.priority is not None else {}
    new = {entry: entry.model_copy(update=update) for entry in meant}
    one, other = next(iter(new.items()))
    if (one.limit, one.priority) == (other.limit, other.priority):
        raise OverlayError(place, f"this changes nothing: it is {limit_in_words(one)} already")
    record = Change(
        f"{one.structure} {one.metric}", bound_in_words(one), bound_in_words(other), limits=tuple(new.values()),
        rules=tuple(entry.rule for entry in meant if entry.rule),
    )  # fmt: skip
    return replaced(file, LimitEntry, lambda entry: new.get(entry, entry)), record


def added_limit(file: ProtocolFile, new: NewLimit, place: Place, site: str) -> tuple[ProtocolFile, Change]:
    """Return a file with one limit more, which rests on a rule of the site, and what was added.

    A course that has a limit of its own on the same metric would put it in the place of the new one: there the new one
    stands beside it, except in percent of a dose that the course does not prescribe.
    """
    if new.id in {rule.id for rule in file.rules}:
        raise OverlayError((*place, "id"), f"'{file.id}' has a rule '{new.id}': a limit of a site has an id of its own")
    plans = [plan.id for plan in file.plans]
    if new.plan is not None and new.plan not in plans:
        raise OverlayError(
            (*place, "plan"), f"'{file.id}' has no plan '{new.plan}'; it has {', '.join(plans) or 'none'}"
        )
    rule = Rule(id=new.id, text=new.text, source=new.source, mark="site")
    own = {name: getattr(new, name) for name in LimitFields.model_fields if name in new.model_fields_set}
    limit = LimitEntry(**own, rule=new.id, mark="site")
    for other in sections_in(file, LimitEntry):
        if _same(other, limit) and other.priority == limit.priority and other.when == limit.when:
            raise OverlayError(
                place, f"'{file.id}' has this limit already, {limit_in_words(other)}: change it under 'limits'"
            )

    def beside(course: CourseEntry | ComparatorEntry) -> bool:
        prescribed = {entry.target.lower() for entry in course.prescriptions}
        there = limit.percent_of is None or limit.percent_of.lower() in prescribed
        return there and any(_same(other, limit) for other in course.limits)

    def with_it(course: CourseEntry) -> CourseEntry:
        update: dict[str, Any] = {}
        if beside(course) or (isinstance(course, PlanEntry) and course.id == new.plan):
            update["limits"] = (*course.limits, limit)
        if isinstance(course, PlanEntry) and new.plan in (None, course.id):
            update["options"] = tuple(with_it(option) for option in course.options)
        return course.model_copy(update=update)

    everywhere = new.plan is None
    update: dict[str, Any] = {
        "rules": (*file.rules, rule),
        "plans": tuple(with_it(plan) if new.plan in (None, plan.id) else plan for plan in file.plans),
    }
    if everywhere:
        update["limits"] = (*file.limits, limit)
        update["amendments"] = tuple(with_it(entry) for entry in file.amendments)
        if file.comparator is not None and beside(file.comparator):
            update["comparator"] = file.comparator.model_copy(update={"limits": (*file.comparator.limits, limit)})
    where = "" if everywhere else f" (plan {new.plan})"
    told = Change(
        f"{limit.structure} {limit.metric}{where}, {new.id}: {new.text}", NO_SUCH_LIMIT, bound_in_words(limit),
        limits=(limit,), added=True,
    )  # fmt: skip
    return file.model_copy(update=update), told


def _same(one: LimitFields, other: LimitFields) -> bool:
    """Whether two limits are on the same metric of the same structure, by the same operator."""
    return (one.structure.lower(), one.metric, one.operator) == (other.structure.lower(), other.metric, other.operator)


def _structures_limited(file: ProtocolFile) -> str:
    names = ", ".join(dict.fromkeys(entry.structure for entry in sections_in(file, LimitEntry))) or "none"
    return f"it limits {names}"

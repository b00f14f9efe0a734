"""What a site's overlay does to triggers: another threshold."""

from __future__ import annotations

from collections.abc import Iterator

from tailort.protocols.condition import AllOf, AnyOf, ByReading, Compare, Condition, Not
from tailort.protocols.overlay_file import TriggerChange
from tailort.protocols.overlay_records import Change, OverlayError, Place
from tailort.protocols.schema import ProtocolFile
from tailort.protocols.section import replaced


def changed_trigger(file: ProtocolFile, change: TriggerChange, place: Place, site: str) -> tuple[ProtocolFile, Change]:
    """Return a file with another threshold of one of its triggers, and what was changed."""
    triggers = {trigger.id: trigger for trigger in file.triggers}
    trigger = triggers.get(change.trigger)
    if trigger is None:
        have = ", ".join(triggers) or "none"
        raise OverlayError((*place, "trigger"), f"'{file.id}' has no trigger '{change.trigger}'; it has {have}")
    thresholds = list(_thresholds(trigger.when))
    of_fact = [(leaf, fires) for leaf, fires in thresholds if leaf.fact == change.fact]
    if not of_fact:
        have = ", ".join(dict.fromkeys(leaf.fact for leaf, _ in thresholds)) or "none"
        raise OverlayError(
            (*place, "fact"), f"trigger '{trigger.id}' has no threshold of '{change.fact}'; it has those of: {have}"
        )
    meant = [(leaf, fires) for leaf, fires in of_fact if leaf.value == change.was]
    if not meant:
        told = " or ".join(dict.fromkeys(f"{leaf.value:g}" for leaf, _ in of_fact))
        raise OverlayError((*place, "was"), f"the threshold of '{change.fact}' is {told}, not {change.was:g}")
    if change.value == change.was:
        raise OverlayError(place, f"this changes nothing: the threshold is {change.was:g} already")
    new = {leaf: leaf.model_copy(update={"value": _like(leaf.value, change.value)}) for leaf, _ in meant}
    rarer = any(_rarer(leaf, change.value > change.was) == fires for leaf, fires in meant)
    made = trigger.model_copy(
        update={
            "when": replaced(trigger.when, Compare, lambda leaf: new.get(leaf, leaf)),
            "rules": (*trigger.rules, site),
        }
    )
    one, other = next(iter(new.items()))
    told_change = Change(
        f"trigger {trigger.id}", one.text, other.text, loosens="requirement" if rarer else "",
        rules=tuple(dict.fromkeys((*trigger.rules, *(leaf.rule for leaf in new if leaf.rule)))),
    )  # fmt: skip
    triggers_now = tuple(made if entry is trigger else entry for entry in file.triggers)
    return file.model_copy(update={"triggers": triggers_now}), told_change


def _thresholds(node: Condition, fires: bool = True) -> Iterator[tuple[Compare, bool]]:
    """Comparisons with a number, each with whether it makes the condition hold when it holds itself."""
    match node:
        case AllOf() | AnyOf():
            for part in node.parts:
                yield from _thresholds(part, fires)
        case Not():
            yield from _thresholds(node.negated, not fires)
        case ByReading():
            for case in node.cases:
                yield from _thresholds(case.when, fires)
        case Compare():
            number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
            if number and node.operator not in ("==", "!="):
                yield node, fires


def _rarer(leaf: Compare, higher: bool) -> bool:
    """Whether a comparison holds more rarely with a higher threshold, or with a lower one."""
    return (leaf.operator in (">", ">=")) == higher


def _like(was: object, now: float) -> float | int:
    """The new number as the file writes the old one: whole numbers stay whole."""
    return int(now) if isinstance(was, int) and now == int(now) else now

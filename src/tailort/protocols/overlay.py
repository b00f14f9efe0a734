"""A site's overlay: a file that changes named defaults of a protocol, with who did and why. It adds limits at most.

Every change names what it replaces and the value that stood there, so that a protocol which has moved on refuses it. A
hard limit is loosened only with a key of its own, and every report shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal

from pydantic import ValidationError

from tailort.protocols.consistency import mistakes
from tailort.protocols.known import decision_mistakes
from tailort.protocols.loosening import looser_limits
from tailort.protocols.overlay_file import (
    SECTIONS,
    ChangeEntry,
    DrugChange,
    LimitChange,
    MarginChange,
    NewLimit,
    OptionChange,
    OverlayFile,
    PaintingChange,
    ReadingChange,
    SliceChange,
    TechniqueChange,
    TriggerChange,
)
from tailort.protocols.overlay_limits import added_limit, changed_limit
from tailort.protocols.overlay_paintings import painted_target
from tailort.protocols.overlay_records import Change, Overlay, OverlayError, Place
from tailort.protocols.overlay_triggers import changed_trigger
from tailort.protocols.proposals import proposal_mistakes
from tailort.protocols.recipe import ExpandStep, StepEntry
from tailort.protocols.recipe_words import margin_in_words
from tailort.protocols.schema import ProtocolFile, Rule
from tailort.protocols.section import replaced, sections_in
from tailort.protocols.tables import ReadingChoice


def laid_over(file: ProtocolFile, overlay: OverlayFile, origin: str) -> tuple[ProtocolFile, Overlay]:
    """Return a protocol file with a site's changes, and what they are.

    Parameters
    ----------
    file : ProtocolFile
        The one that is extended.
    overlay : OverlayFile
        The changes.
    origin : str
        Name of the overlay's file.

    Raises
    ------
    OverlayError
        When the protocol has another version, does not have what is named, has another value there, or is no longer
        valid with a change.
    """
    if overlay.extends_version != file.version:
        raise OverlayError(
            ("extends_version",),
            f"it was written for version {overlay.extends_version} of '{file.id}', and this is version {file.version}: "
            "read what has changed there, and write the new version here",
        )
    base = (file.id, file.version)
    # Structures whose margin is changed rest on this rule too: their history then tells the site.
    own = Rule(id=overlay.id, text=f"Defaults of a site: {overlay.why}", source=overlay.changed_by, mark="site")
    file = file.model_copy(update={"rules": (*file.rules, own)})
    made: list[Change] = []
    for place, change in _changes(overlay):
        new, told = _apply(file, change, place, overlay.id)
        try:
            new = ProtocolFile.model_validate(new.model_dump(by_alias=True, exclude_unset=True))
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise OverlayError(place, f"with this change '{base[0]}' is no longer valid: {fault}") from error
        for where, text in (*mistakes(new), *decision_mistakes(new), *proposal_mistakes(new)):
            at = ".".join(str(part) for part in where)
            raise OverlayError(place, f"with this change '{base[0]}' is no longer valid, at {at}: {text}")
        looser = _loosened(file, new, change, place)
        made.append(replace(told, why=change.why or overlay.why, loosens=looser or told.loosens))
        file = _noted(new, made[-1], overlay.id)
    title = overlay.title or f"{file.title}, as changed by {overlay.id}"
    file = file.model_copy(update={"id": overlay.id, "version": overlay.version, "title": title})
    record = Overlay(
        overlay.id, overlay.version, *base, overlay.changed_by, overlay.why, overlay.date, origin, tuple(made),
        tuple((change.plan, change.option) for change in overlay.options),
    )  # fmt: skip
    return file, record


def _noted(file: ProtocolFile, change: Change, site: str) -> ProtocolFile:
    """Say beside the readings of ambiguous rules what a change made of them: they tell what was taken."""
    note = f" (changed by {site}: {change.what}, {change.was} becomes {change.now})"

    def told(rule: Rule) -> Rule:
        if rule.id not in change.rules or rule.reading is None:
            return rule
        return rule.model_copy(
            update={"reading": rule.reading.model_copy(update={"default": rule.reading.default + note})}
        )

    def named(choice: ReadingChoice) -> ReadingChoice:
        if choice.rule not in change.rules:
            return choice
        return choice.model_copy(update={"names": {name: text + note for name, text in choice.names.items()}})

    return file.model_copy(
        update={
            "rules": tuple(told(rule) for rule in file.rules),
            "readings": tuple(named(choice) for choice in file.readings),
        }
    )


def _loosened(
    was: ProtocolFile, now: ProtocolFile, change: ChangeEntry, place: Place
) -> Literal["", "goal", "hard limit"]:
    """Whether a change makes any limit looser, whichever way it does; a hard one only with the key for it."""
    looser = looser_limits(was, now, change.rule if isinstance(change, ReadingChange) else "")
    if looser["hard"]:
        told = "; ".join(dict.fromkeys(looser["hard"]))
        if change.loosens_hard_limit is None:
            raise OverlayError(
                place,
                f"this loosens a hard limit, {told}: that needs 'loosens_hard_limit: true', and every report shows it",
            )
        if not change.why:
            raise OverlayError(place, f"this loosens a hard limit, {told}: that needs a 'why' of its own")
        return "hard limit"
    if change.loosens_hard_limit is not None:
        raise OverlayError((*place, "loosens_hard_limit"), "this loosens no hard limit: leave the key out")
    return "goal" if looser["goal"] else ""


def _changes(overlay: OverlayFile) -> Iterator[tuple[Place, ChangeEntry]]:
    for section in SECTIONS:
        for n, change in enumerate(getattr(overlay, section)):
            yield (section, n), change
    if overlay.technique is not None:
        yield ("technique",), overlay.technique


def _apply(file: ProtocolFile, change: ChangeEntry, place: Place, site: str) -> tuple[ProtocolFile, Change]:
    match change:
        case ReadingChange():
            return _reading(file, change, place)
        case LimitChange():
            return changed_limit(file, change, place)
        case NewLimit():
            return added_limit(file, change, place, site)
        case TriggerChange():
            return changed_trigger(file, change, place, site)
        case MarginChange():
            return _margin(file, change, place, site)
        case PaintingChange():
            return painted_target(file, change, place, site)
        case OptionChange():
            return _option(file, change, place)
        case DrugChange():
            return _drug(file, change, place)
        case SliceChange():
            return _slices(file, change, place)
        case TechniqueChange():
            return _technique(file, change, place)
        case _:
            raise AssertionError(change)


def _reading(file: ProtocolFile, change: ReadingChange, place: Place) -> tuple[ProtocolFile, Change]:
    choices = {choice.rule: choice for choice in file.readings}
    choice = choices.get(change.rule)
    if choice is None:
        have = ", ".join(choices) or "none"
        raise OverlayError((*place, "rule"), f"'{file.id}' names no readings of '{change.rule}'; those of: {have}")
    _require_was(place, choice.default, change.was)
    if change.default not in choice.names:
        have = ", ".join(choice.names)
        raise OverlayError(
            (*place, "default"), f"'{change.default}' is no reading of '{change.rule}'; there are {have}"
        )
    new = tuple(
        one.model_copy(update={"default": change.default}) if one.rule == change.rule else one for one in file.readings
    )
    # The sentence of the rule tells the default: it is kept true.
    rules = tuple(
        rule.model_copy(
            update={
                "reading": rule.reading.model_copy(
                    update={"default": choice.names[change.default], "other": choice.names[change.was]}
                )
            }
        )
        if rule.id == change.rule and rule.reading is not None
        else rule
        for rule in file.rules
    )
    told = Change(
        f"reading of {change.rule}", f"{change.was} ({choice.names[change.was]})",
        f"{change.default} ({choice.names[change.default]})", reading=change.rule,
    )  # fmt: skip
    return file.model_copy(update={"readings": new, "rules": rules}), told


def _margin(file: ProtocolFile, change: MarginChange, place: Place, site: str) -> tuple[ProtocolFile, Change]:
    steps = [step for step in sections_in(file, StepEntry) if step.name.lower() == change.target.lower()]
    if not steps:
        have = ", ".join(dict.fromkeys(step.name for step in sections_in(file, StepEntry))) or "none"
        raise OverlayError((*place, "target"), f"'{file.id}' makes no '{change.target}'; it makes {have}")
    expands = [op.expand for step in steps for op in step.then if isinstance(op, ExpandStep)]
    if change.was not in expands:
        told = " or ".join(dict.fromkeys(margin_in_words(margin) for margin in expands)) or "none"
        raise OverlayError((*place, "was"), f"the margin of '{change.target}' is {told}, not this")
    if change.was == change.expand:
        raise OverlayError(place, f"this changes nothing: the margin is {margin_in_words(change.was)} already")

    def widened(step: StepEntry) -> StepEntry:
        if step.name.lower() != change.target.lower():
            return step
        then = tuple(
            op.model_copy(update={"expand": change.expand, "rules": (*(op.rules or step.rules), site)})
            if isinstance(op, ExpandStep) and op.expand == change.was
            else op
            for op in step.then
        )
        return step.model_copy(update={"then": then})

    rules = [
        rule for step in steps for op in step.then if isinstance(op, ExpandStep) and op.expand == change.was
        for rule in (*op.rules, *step.rules)
    ]  # fmt: skip
    record = Change(
        f"margin of {steps[0].name}", margin_in_words(change.was), margin_in_words(change.expand), rules=tuple(rules)
    )
    return replaced(file, StepEntry, widened), record


def _option(file: ProtocolFile, change: OptionChange, place: Place) -> tuple[ProtocolFile, Change]:
    plans = {plan.id: plan for plan in file.plans}
    plan = plans.get(change.plan)
    if plan is None:
        raise OverlayError((*place, "plan"), f"'{file.id}' has no plan '{change.plan}'; it has {_listed(plans)}")
    options = {option.id: option for option in plan.options}
    option = options.get(change.option)
    if option is None:
        have = _listed(options)
        raise OverlayError((*place, "option"), f"plan '{plan.id}' has no option '{change.option}'; it has {have}")
    rules = [rule for entry in (*plan.prescriptions, *option.prescriptions) for rule in entry.rules]
    told = Change(f"doses of plan {plan.id}", plan.title, option.title, rules=tuple(dict.fromkeys(rules)))
    titled = plan.model_copy(update={"title": f"{plan.title}; here: {option.title}"})
    return file.model_copy(update={"plans": tuple(titled if one is plan else one for one in file.plans)}), told


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _drug(file: ProtocolFile, change: DrugChange, place: Place) -> tuple[ProtocolFile, Change]:
    regimens = {} if file.drugs is None else {one.id: one for one in file.drugs.regimens}
    regimen = regimens.get(change.regimen)
    if file.drugs is None or regimen is None:
        have = ", ".join(regimens) or "none"
        raise OverlayError((*place, "regimen"), f"'{file.id}' has no regimen '{change.regimen}'; it has {have}")
    drugs = {drug.name: drug for drug in (*regimen.drugs, *regimen.one_of)}
    drug = drugs.get(change.drug)
    if drug is None:
        have = ", ".join(drugs) or "none"
        raise OverlayError((*place, "drug"), f"regimen '{regimen.id}' has no drug '{change.drug}'; it has {have}")
    _require_was(place, drug.default, change.was)
    ids = [dose.id for dose in drug.doses]
    if change.default is not None and change.default not in ids:
        raise OverlayError(
            (*place, "default"),
            f"'{change.default}' is no reading of the dose of {drug.name}; there are {', '.join(ids)}",
        )
    new = {drug: drug.model_copy(update={"default": change.default})}
    own = regimen.model_copy(
        update={
            "drugs": tuple(new.get(one, one) for one in regimen.drugs),
            "one_of": tuple(new.get(one, one) for one in regimen.one_of),
        }
    )
    regimens_now = tuple(own if one.id == regimen.id else one for one in file.drugs.regimens)
    told = Change(
        f"dose of {drug.name} ({regimen.id})", drug.default or "none taken", change.default or "none taken",
        rules=drug.rules,
    )  # fmt: skip
    return file.model_copy(update={"drugs": file.drugs.model_copy(update={"regimens": regimens_now})}), told


def _technique(file: ProtocolFile, change: TechniqueChange, place: Place) -> tuple[ProtocolFile, Change]:
    given = change.given()
    if file.technique is None:
        raise OverlayError(place, f"'{file.id}' prescribes nothing and has no technique")
    was = {name: getattr(file.technique, name) for name in given}
    if was == given:
        raise OverlayError(place, "this changes nothing: the technique is so already")
    told = Change("technique", _pairs(was), _pairs(given), rules=file.technique.rules)
    return file.model_copy(update={"technique": file.technique.model_copy(update=given)}), told


def _slices(file: ProtocolFile, change: SliceChange, place: Place) -> tuple[ProtocolFile, Change]:
    imaging = file.imaging
    entries = () if imaging is None else imaging.slices
    meant = [entry for entry in entries if (set(entry.of), entry.elsewhere) == (set(change.of), change.elsewhere)]
    if imaging is None or not meant:
        have = "; ".join(f"of {', '.join(e.of) or 'the whole CT'}{', elsewhere' * e.elsewhere}" for e in entries)
        raise OverlayError(place, f"'{file.id}' asks for no such slices; it asks for those {have or 'of nothing'}")
    if all(entry.at_most_mm != change.was for entry in meant):
        raise OverlayError((*place, "was"), f"the tolerance is {meant[0].at_most_mm:g} mm, not {change.was:g} mm")
    new = tuple(
        entry.model_copy(update={"at_most_mm": change.at_most_mm})
        if entry in meant and entry.at_most_mm == change.was
        else entry
        for entry in entries
    )
    where = f"through {', '.join(change.of)}" if change.of and not change.elsewhere else ""
    where = f"outside {', '.join(change.of)}" if change.elsewhere else where or "of the whole CT"
    told = Change(
        f"slices {where}", f"at most {change.was:g} mm", f"at most {change.at_most_mm:g} mm",
        loosens="requirement" if change.at_most_mm > change.was else "",
        rules=tuple(rule for entry in meant for rule in entry.rules),
    )  # fmt: skip
    return file.model_copy(update={"imaging": imaging.model_copy(update={"slices": new})}), told


def _require_was(place: Place, found: str | None, was: str | None) -> None:
    if found != was:
        raise OverlayError((*place, "was"), f"the default is {found or 'null'}, not {was or 'null'}")


def _pairs(given: dict[str, Any]) -> str:
    return ", ".join(f"{name} {'not told' if value is None else value}" for name, value in given.items())

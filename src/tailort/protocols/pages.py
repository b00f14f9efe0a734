"""A readable page of a protocol, in Markdown: everything that its file says, and nothing else."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from tailort.protocols.condition_words import condition_in_words, criteria, is_condition
from tailort.protocols.drugs import DrugsSection
from tailort.protocols.elsewhere import ElsewhereRule
from tailort.protocols.protocol import Protocol
from tailort.protocols.recipe import MarginEntry, OperationSection, StepEntry
from tailort.protocols.recipe_words import (
    in_words,
    margin_in_words,
    normalisation_in_words,
    operation_in_words,
    technique_in_words,
)
from tailort.protocols.schema import (
    CourseEntry,
    NormalisationEntry,
    PrescriptionEntry,
    ProtocolFile,
    Rule,
    Technique,
)
from tailort.protocols.trial_words import design_in_words

TITLES = {
    "sources": "Sources",
    "eligibility": "Whom it admits",
    "contradictions": "What cannot be true of one patient",
    "definitions": "Definitions",
    "flags": "Flags",
    "regions": "Regions",
    "tables": "Decision tables",
    "plans_read": "How plans are read",
    "plans": "Plans",
    "targets": "Targets",
    "prescriptions": "Prescriptions",
    "normalisation": "Normalisation",
    "technique": "Technique",
    "preferred": "Technique that is tried first",
    "field_margins": "Field margins",
    "supplements": "Supplements",
    "positions": "Position of the patient",
    "imaging": "Images",
    "organs": "Structures that must be drawn",
    "limits": "Limits",
    "table_limits": "Limits by a table",
    "report": "Reported without a limit",
    "checks": "Checks of the prescriptions",
    "biology": "Radiobiology",
    "comparator": "Plan to compare with",
    "amendments": "Amendments",
    "drugs": "Drugs (never an order)",
    "modifications": "What toxicity changes",
    "adaptations": "New images during the course",
    "modifiers": "Modifiers that are proposed",
    "triggers": "Triggers of adaptation",
    "follow_up": "Follow-up",
    "safety": "Safety",
    "endpoints": "Endpoints",
    "design": "Design",
    "readings": "Readings that can be taken by name",
    "facts": "Facts that are asked",
    "not_executed": "Told but not carried out",
    "rules": "Rules",
}
_WORDS = {"gy": "Gy", "mv": "MV", "dvh": "DVH", "geud": "gEUD"}
_MADE = "from its file by `tailort protocols --pages`"
_HEAD = ("id", "version", "title", "status", "aliases")


def page(protocol: Protocol) -> str:
    """Return the page of a protocol, Markdown.

    Parameters
    ----------
    protocol : Protocol
        As it was read.

    Notes
    -----
    Sections stand in the order of `TITLES`; one that has no title there stands under its own key, so that nothing of
    the file is left out.
    """
    return re.sub(r"\n{3,}", "\n\n", "\n".join(_lines(protocol))).rstrip() + "\n"


def index_page(protocols: Sequence[Protocol], elsewhere: Sequence[ElsewhereRule]) -> str:
    """Return the page that lists protocols, and rules of the source protocols that none of them carries, Markdown."""
    lines = ["# Protocols that come with TailoRT", "", f"Each page is made {_MADE}; so is this one.", ""]
    rows = [(f"[`{one.id}`]({one.id}.md)", one.version, one.title, one.status) for one in protocols]
    lines += _table(("id", "version", "title", "status"), rows)
    lines += ["", "## Rules that stand in no file", ""]
    lines += _table(
        ("rule", "text", "carried out", "how, or why not"),
        [(one.rule, one.text, one.kind, one.reason) for one in elsewhere],
    )
    lines += ["", "Rules, or parts of rules, that a file tells and does not carry out stand on its page."]
    return "\n".join(lines) + "\n"


def _lines(protocol: Protocol) -> Iterator[str]:
    file = protocol.file
    yield f"# {file.title}"
    yield ""
    yield f"Protocol `{file.id}`, version {file.version}. This page is made {_MADE}."
    if file.status:
        yield f"Status: **{file.status}**."
    if file.only_proposes:
        yield "It proposes and prescribes nothing."
    if file.aliases:
        yield f"Also called {', '.join(f'`{alias}`' for alias in file.aliases)}."
    yield "Doses in Gy are physical doses of the course unless something else is said. For research only."
    for overlay in protocol.overlays:
        yield ""
        yield f"## Changed by a site: {overlay.id} {overlay.version}"
        yield ""
        yield f"`{overlay.extends}` {overlay.extends_version}, changed by {overlay.changed_by}: {overlay.why}"
        yield ""
        yield from _table(
            ("what", "was", "here", "why", "loosened"),
            [(c.what, c.was, c.now, c.why, c.loosens) for c in overlay.changes],
        )
    for name in sorted(set(ProtocolFile.model_fields) - set(_HEAD), key=_order):
        value = getattr(file, name)
        if name not in file.model_fields_set or value in (None, ()):
            continue
        yield ""
        yield f"## {TITLES.get(name, _label(name).capitalize())}"
        yield ""
        yield from _section(name, value)


def _order(name: str) -> int:
    names = list(TITLES)
    # A section without a title comes before readings, facts and rules.
    return names.index(name) * 2 if name in names else names.index("readings") * 2 - 1


def _section(name: str, value: Any) -> Iterator[str]:
    match name:
        case "eligibility":
            yield "All of these:"
            yield ""
            yield from (f"- {text}" for text in criteria(value))
        case "tables":
            for table in value:
                yield from _decision_table(table)
        case "plans":
            for plan in value:
                yield f"### Plan {plan.id}: {plan.title}"
                yield ""
                yield f"For patients of whom: {condition_in_words(plan.when)}{_cited(plan.rules)}"
                yield from _course(plan)
                for option in plan.options:
                    yield ""
                    yield f"#### Option {option.id} of plan {plan.id}: {option.title}{_cited(option.rules)}"
                    yield from _course(option)
                yield ""
        case "amendments":
            for entry in value:
                asked = f"{entry.metric} of {entry.structure} {entry.operator} {entry.value:g}"
                yield f"### {entry.id}: where {asked}, planned once more{_cited(entry.rules)}"
                if entry.fact:
                    yield ""
                    told = f"the record's `{entry.fact}`"
                    yield f"Planned so at once where {told} tells it of a plan that was made already."
                yield from _course(entry)
                yield ""
        case "drugs":
            yield from _drugs(value)
        case "rules":
            yield from _rules(value)
        case "readings":
            rows = [
                (f"`--reading {one.rule}={name}`", text, "default" if name == one.default else "")
                for one in value
                for name, text in one.names.items()
            ]
            yield from _table(("option", "reading", ""), rows)
        case "design":
            yield from _fields(value, ("arms",))
            yield ""
            rows = [(part.name, part.text, ", ".join(part.rules)) for part in design_in_words(value)]
            yield from _table(("what", "how many", "rules"), rows)
        case "technique":
            yield technique_in_words(value) + "."
            yield ""
            yield from _fields(value, ("kind",))
        case _:
            yield from _any(value)


def _drugs(drugs: DrugsSection) -> Iterator[str]:
    yield from _fields(drugs, ("regimens",))
    for regimen in drugs.regimens:
        yield ""
        yield f"### Regimen {regimen.id}{_cited(regimen.rules)}"
        yield ""
        yield from _fields(regimen, ("id", "drugs", "one_of", "rules"))
        rows = []
        for drug in (*regimen.drugs, *regimen.one_of):
            for dose in drug.doses:
                cap = f", at most {dose.cap_mg:g} mg per {dose.cap_per}" if dose.cap_mg is not None else ""
                rows.append(
                    (
                        drug.name, "one of these" if drug in regimen.one_of else "", _told(drug.days), dose.id,
                        f"{dose.mg_m2:g} mg/m2 per {dose.per}{cap}", "taken" if dose.id == drug.default else "",
                        drug.order, ", ".join(drug.rules),
                    )
                )  # fmt: skip
        if rows:
            yield ""
            yield from _table(("drug", "", "days", "reading", "dose", "", "order", "rules"), rows)


def _rules(rules: Sequence[Rule]) -> Iterator[str]:
    rows = []
    for rule in rules:
        text = rule.text
        if rule.reading is not None:
            text += f"<br>Taken: {rule.reading.default}<br>Other reading: {rule.reading.other}"
        rows.append((rule.id, text, rule.source, rule.mark))
    yield from _table(("rule", "text", "source", "mark"), rows)


def _decision_table(table: Any) -> Iterator[str]:
    yield f"### {table.name}{f': {table.text}' if table.text else ''}{_cited(table.rules)}"
    yield ""
    if table.exclusive:
        yield "One row holds at the most."
        yield ""
    rows = [(row.outcome, condition_in_words(row.when), row.note, ", ".join(row.rules)) for row in table.rows]
    if table.otherwise is not None:
        rows.append((table.otherwise, "otherwise", "", ""))
    yield from _table(("outcome", "when", "note", "rules"), rows)
    yield ""


def _course(course: CourseEntry) -> Iterator[str]:
    for name in ("prescriptions", "targets", "limits", "report"):
        if value := getattr(course, name):
            yield ""
            yield f"{TITLES[name]}:"
            yield ""
            yield from _any(value)


def _any(value: Any) -> Iterator[str]:
    """A section whose keys are told as they are."""
    if isinstance(value, tuple) and value and all(isinstance(entry, BaseModel) for entry in value):
        yield from _entries(value)
    elif isinstance(value, tuple):
        yield ", ".join(_told(entry) for entry in value)
    elif isinstance(value, BaseModel) and not _has_words(value):
        yield from _fields(value)
    else:
        yield _told(value)


def _fields(section: BaseModel, without: Sequence[str] = ()) -> Iterator[str]:
    """Keys of one section: plain values as a list, lists of entries as tables."""
    given = [(key, getattr(section, name)) for key, name in _given(section) if name not in without]
    plain = [(key, value) for key, value in given if not _is_list(value)]
    yield from (f"- {_label(key)}: {_told(value)}" for key, value in plain)
    for key, value in given:
        if _is_list(value):
            yield ""
            yield f"{_label(key).capitalize()}:"
            yield ""
            yield from _entries(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and all(isinstance(entry, BaseModel) for entry in value)


def _entries(entries: Sequence[BaseModel]) -> Iterator[str]:
    """One table row an entry; a column is any key that an entry gives."""
    steps = [entry for entry in entries if isinstance(entry, StepEntry)]
    if len(steps) == len(entries):
        rows = [
            (
                step.name, step.role, in_words(step) + (", drawn ones are replaced" * (step.existing == "replace")),
                condition_in_words(step.when) if step.when else "", ", ".join(_step_rules(step)),
            )
            for step in steps
        ]  # fmt: skip
        yield from _table(("structure", "role", "made of", "when", "rules"), rows)
        return
    keys = list(dict.fromkeys(pair for entry in entries for pair in _given(entry)))
    # Rules stand last, except where an entry is about a rule.
    first = keys[0]
    keys.sort(key=lambda pair: pair[1] in ("rule", "rules") and pair != first)
    rows_of = [
        [_told(getattr(entry, name)) if (key, name) in _given(entry) else "" for key, name in keys] for entry in entries
    ]
    labels = [_label(key) for key, _ in keys]
    if all(isinstance(entry, PrescriptionEntry) for entry in entries):
        labels.insert(3, "Gy per fraction")
        for entry, row in zip(entries, rows_of, strict=True):
            row.insert(3, f"{float(entry.dose_per_fraction_gy):.4g}" if isinstance(entry, PrescriptionEntry) else "")
    yield from _table(labels, rows_of)


def _step_rules(step: StepEntry) -> tuple[str, ...]:
    every = [*step.rules, *(rule for operation in step.then for rule in operation.rules)]
    return tuple(dict.fromkeys(every))


def _given(section: BaseModel) -> list[tuple[str, str]]:
    """Keys, with the names of their fields, that a section gives."""
    fields = type(section).model_fields
    return [
        (fields[name].alias or name, name)
        for name in fields
        if name in section.model_fields_set and getattr(section, name) not in ((), "")
    ]


def _has_words(value: Any) -> bool:
    return is_condition(value) or isinstance(value, MarginEntry | NormalisationEntry | OperationSection)


def _told(value: Any) -> str:
    """A value in one cell."""
    if is_condition(value):
        return condition_in_words(value)
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case int() | str():
            return str(value)
        case dt.date():
            return value.isoformat()
        case MarginEntry():
            return margin_in_words(value)
        case NormalisationEntry():
            return normalisation_in_words(value)
        case OperationSection():
            return operation_in_words(value)
        case StepEntry():
            return in_words(value)
        case Technique():
            return technique_in_words(value)
        case dict():
            return "; ".join(f"{key}: {_told(one)}" for key, one in value.items())
        case tuple():
            if any(isinstance(one, tuple) for one in value):
                return "; ".join(" and ".join(_told(part) for part in one) for one in value)
            lines = any(isinstance(one, BaseModel) for one in value)
            return ("<br>" if lines else ", ").join(_told(one) for one in value)
        case BaseModel():
            told = getattr(value, "told", None)
            if not isinstance(told, str):
                given = [pair for pair in _given(value) if pair[1] not in ("rule", "rules")]
                told = ", ".join(f"{_label(key)} {_told(getattr(value, name))}" for key, name in given)
            return told + _cited(getattr(value, "rules", ()))
        case _:
            raise AssertionError(value)


def _cited(rules: Sequence[str]) -> str:
    return f" [{', '.join(rules)}]" if rules else ""


def _label(key: str) -> str:
    return " ".join(_WORDS.get(word, word) for word in key.split("_"))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table without columns that are empty in every row."""
    shown = [n for n in range(len(columns)) if any(row[n] for row in rows)]
    yield "| " + " | ".join(columns[n] for n in shown) + " |"
    yield "|" + "---|" * len(shown)
    for row in rows:
        yield "| " + " | ".join(" ".join(row[n].replace("|", "\\|").split()) for n in shown) + " |"

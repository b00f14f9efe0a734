"""Drugs and toxicity of one patient: which regimens, their doses by every reading, what grades call for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tailort.protocols.condition import Answer
from tailort.protocols.drug_doses import DrugDose, drug_dose
from tailort.protocols.drugs import DrugEntry, DrugsSection
from tailort.protocols.modifications import modification
from tailort.protocols.schema import ProtocolFile
from tailort.protocols.scores.body_surface import body_surface
from tailort.protocols.treatment_records import Drugs, Part, Regimen, ToxicityAnswer, ToxicityLine

STOPS = ("stop-all", "stop-chemotherapy")


def toxicity_of(file: ProtocolFile, known: Mapping[str, Any]) -> ToxicityAnswer | None:
    """What recorded toxicity calls for; None where the protocol has no dose modification.

    Parameters
    ----------
    file : ProtocolFile
        Of the protocol.
    known : dict
        Values of facts by name, as conditions see them.
    """
    if not file.modifications:
        return None
    found = modification(file.modifications, known)
    factors = [e.dose_factor for e, one in found.findings if one.answer == "yes" and e.dose_factor is not None]
    action = found.entry.action if found.entry else None
    return ToxicityAnswer(
        action=action,
        dose_factor=None if action in STOPS else min(factors, default=1.0),
        graded=any(value is not None for _, one in found.findings for value in one.facts.values()),
        missing=found.missing,
        lines=tuple(
            ToxicityLine(e.id, one.text, e.action, e.dose_factor, one.answer, e.rules) for e, one in found.findings
        ),
    )


def drugs_of(file: ProtocolFile, known: Mapping[str, Any], toxicity: ToxicityAnswer | None) -> Drugs | None:
    """Regimens of one patient with their doses; None where the protocol says nothing of drugs.

    Parameters
    ----------
    file, known
        As of `toxicity_of`; also the standard facts `height_cm` and `weight_kg`.
    toxicity : ToxicityAnswer or None
        Whose dose factor makes the doses of the next concurrent cycle.
    """
    section = file.drugs
    if section is None:
        return None
    size, other = None, None
    if section.body_surface is not None:
        formula = section.body_surface.taken(known)
        measured = known.get("height_cm"), known.get("weight_kg")
        size = body_surface(*measured, formula)
        other = body_surface(*measured, "dubois" if formula == "mosteller" else "mosteller")
    area = size.bsa_m2 if size else None
    by_id = {entry.id: entry for entry in section.regimens}
    factor = toxicity.dose_factor if toxicity and toxicity.graded else 1.0
    made = []
    for entry in section.regimens:
        found = entry.when.evaluate(known) if entry.when else None
        source = by_id.get(entry.same_as or "", entry)
        reduced = factor if factor is not None and entry.setting == "concurrent" else 1.0
        made.append(
            Regimen(
                id=entry.id,
                setting=entry.setting,
                applies=found.answer if found else "yes",
                condition=found.text if found else "",
                missing=found.open_facts() if found else (),
                cycles=entry.cycles,
                cycle_days=source.cycle_days,
                within_months=entry.within_months,
                drugs=tuple(drug_dose(drug, area) for drug in source.drugs),
                one_of=tuple(drug_dose(drug, area) for drug in source.one_of),
                next_cycle=_reduced((*source.drugs, *source.one_of), area, reduced),
                same_as=entry.same_as,
                left_to=entry.left_to,
                rules=tuple(dict.fromkeys((*entry.rules, *(source.rules if source is not entry else ())))),
            )
        )
    support = tuple(
        Part(
            entry.name, f"{entry.strength} {entry.hours_after_chemotherapy:g} h after chemotherapy", "yes", (),
            entry.rules,
        )
        for entry in section.support
    ) + tuple(_timing(section, {entry.id: entry.applies for entry in made}))  # fmt: skip
    return Drugs(size, other, section.body_surface.rules if section.body_surface else (), tuple(made), support)


def _timing(section: DrugsSection, applies: Mapping[str, Answer]) -> Iterator[Part]:
    """When a regimen begins after another one, and supporting drugs with days of their own."""
    perhaps = {name: f"if {name} applies: " if answer == "unknown" else "" for name, answer in applies.items()}
    for entry in section.regimens:
        if entry.after is not None and applies[entry.id] != "no":
            also = ", as does radiotherapy" if entry.setting == "concurrent" else ""
            text = f"begins on day {entry.after.day} of the last cycle of {entry.after.regimen}{also}"
            yield Part(entry.id, perhaps[entry.id] + text, applies[entry.id], (), entry.rules)
    for window in section.windows:
        if applies[window.regimen] != "no":
            days = " and ".join(f"{first} to {last}" for first, last in window.days)
            text = f"{window.strength} on days {days}, counted from the first day of {window.regimen}"
            yield Part(window.name, perhaps[window.regimen] + text, applies[window.regimen], (), window.rules)


def _reduced(drugs: Sequence[DrugEntry], area: float | None, factor: float) -> tuple[DrugDose, ...]:
    return () if factor == 1.0 else tuple(drug_dose(drug, area, factor) for drug in drugs)

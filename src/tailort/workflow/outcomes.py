"""Which outcomes can be told of a case, and what its record says of the models' validity."""

from __future__ import annotations

from collections.abc import Mapping

from tailort.patient import Fact, StructureSet
from tailort.radiobiology import sets_for

# Values of the fact 'surgery' (of the primary tumour) with and without an oesophagus afterwards.
_REMOVED, _NOT_REMOVED = ("done", "r0", "r1", "r2"), ("none", "planned")


def after_oesophagectomy(facts: Mapping[str, Fact]) -> bool | None:
    """Whether the record says that the oesophagus was removed; None where it does not tell."""
    if "surgery" not in facts:
        return None
    told = str(facts["surgery"].value).casefold()
    return True if told in _REMOVED else False if told in _NOT_REMOVED else None


def outcome_metrics(structures: StructureSet) -> dict[str, tuple[str, ...]]:
    """TCP of gross tumours, NTCP and relative risks of organs, by structure: every set that is for it by its name."""
    return {
        s.name: tuple(each.metric for each in sets_for(s.name))
        for s in structures
        if not s.is_empty and (s.role == "GTV" or s.role not in ("CTV", "ITV", "PTV")) and sets_for(s.name)
    }

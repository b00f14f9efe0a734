"""The facts of a clinical record as a protocol understands them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tailort.errors import InputError
from tailort.patient import Fact
from tailort.protocols.schema import ProtocolFile


def known_facts(file: ProtocolFile, facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Facts that the protocol knows and the record supplies, in the protocol's types.

    Raises
    ------
    InputError
        When a fact is of the wrong type, out of range or no choice of the protocol.
    """
    known = {}
    for entry in file.facts:
        fact = facts.get(entry.name)
        if fact is None or fact.value is None:
            continue
        try:
            known[entry.name] = replace(fact, value=entry.read(fact.value))
        except InputError as error:
            raise InputError(f"protocol '{file.id}': {error}; correct the clinical record") from error
    return known

"""The machines that TailoRT carries."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from ruamel.yaml import YAML

from tailort.errors import InputError
from tailort.physics.machine import Machine


@cache
def machines() -> dict[str, Machine]:
    """Return the packaged machines, by id."""
    text = resources.files("tailort.physics").joinpath("data/machines.yaml").read_text(encoding="utf-8")
    return {name: _machine(name, entry) for name, entry in YAML(typ="safe", pure=True).load(text).items()}


def machine(id: str) -> Machine:
    """Return the packaged machine of this id.

    Raises
    ------
    InputError
        When there is none; the known ones are listed.
    """
    known = machines()
    if id not in known:
        raise InputError(f"unknown machine '{id}'; known are {', '.join(sorted(known))}")
    return known[id]


def _machine(name: str, entry: dict[str, Any]) -> Machine:
    fields: dict[str, Any] = {}
    sources = []
    for field, fact in entry.items():
        if field == "label":
            continue
        if field == "leaf_boundaries_mm":
            fields[field] = tuple(fact["first_mm"] + fact["width_mm"] * n * 1.0 for n in range(fact["pairs"] + 1))
        elif isinstance(fact["value"], list):
            fields[field] = tuple(float(value) for value in fact["value"])
        else:
            fields[field] = fact["value"] if isinstance(fact["value"], bool) else float(fact["value"])
        sources.append(f"{field}: {fact['source']} [{fact['mark']}]")
    return Machine(id=name, label=entry["label"], sources=tuple(sources), **fields)

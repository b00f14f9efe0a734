"""The machines that TailoRT carries, and machines of a person's own."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib import resources
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tailort.errors import InputError
from tailort.physics.machine import Head, Machine, Motion
from tailort.physics.spectrum import Spectrum, filtered_bremsstrahlung, packaged_spectrum

Facts = dict[str, Any]

MARKS = ("S", "V", "D", "R", "F")
PACKAGED = "data/machines.yaml"


@cache
def machines() -> dict[str, Machine]:
    """Return the packaged machines, by id."""
    return {name: machine_of_facts(name, entry, PACKAGED) for name, entry in machine_facts().items()}


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


def machine_facts() -> dict[str, Facts]:
    """Return what the packaged file says of each machine: every number with its source and mark."""
    text = resources.files("tailort.physics").joinpath(PACKAGED).read_text(encoding="utf-8")
    return read_facts(text, PACKAGED)


def read_facts(text: str, where: str) -> dict[str, Facts]:
    """Facts of the machines of a YAML text in the form of the packaged file, by id.

    Parameters
    ----------
    text : str
        A mapping from id to the machine's numbers, each with value, source and mark.
    where : str
        The file's name, for messages.

    Raises
    ------
    InputError
        When the text is not of that form; names the machine and the number.
    """
    try:
        entries = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise InputError(f"{where} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(entries, Mapping) or not entries:
        raise InputError(f"{where} has no machine; expected a mapping from its id to its numbers")
    facts = {str(name): entry for name, entry in entries.items()}
    for name, entry in facts.items():
        machine_of_facts(name, entry, where)
    return {name: dict(entry) for name, entry in facts.items()}


def read_machine(text: str, where: str) -> Machine:
    """The one machine of a YAML text in the form of the packaged file.

    Raises
    ------
    InputError
        When the text is not of that form or has several machines.
    """
    facts = read_facts(text, where)
    if len(facts) != 1:
        raise InputError(f"{where} has {len(facts)} machines ({', '.join(facts)}); expected a file with one")
    ((name, entry),) = facts.items()
    return machine_of_facts(name, entry, where)


def machine_text(name: str, facts: Facts) -> str:
    """YAML text of a machine in the form of the packaged file."""
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 118
    stream = io.StringIO()
    yaml.dump({name: facts}, stream)
    return stream.getvalue()


def machine_of_facts(name: str, entry: Any, where: str) -> Machine:
    """Machine of its numbers, each with value, source and mark; `where` is told in messages."""
    own, of_head, of_motion = ([f.name for f in fields(kind)] for kind in (Machine, Head, Motion))
    wanted = [f for f in own + of_head + of_motion if f not in ("id", "label", "sources", "head", "motion")]
    if not isinstance(entry, Mapping):
        raise InputError(f"machine '{name}' in {where} is not a mapping of numbers")
    missing = [f for f in wanted if f not in entry]
    unknown = [f for f in entry if f not in (*wanted, "label")]
    if missing or unknown:
        problem = f"lacks {', '.join(missing)}" if missing else f"has unknown {', '.join(map(str, unknown))}"
        raise InputError(f"machine '{name}' in {where} {problem}")
    values: dict[str, Any] = {}
    sources = []
    for field in wanted:
        fact = entry[field]
        if not isinstance(fact, Mapping) or not {"value", "source", "mark"} <= set(fact) or fact["mark"] not in MARKS:
            raise InputError(
                f"machine '{name}' in {where}: {field} needs a value, a source and a mark ({', '.join(MARKS)})"
            )
        try:
            values[field] = _value(field, fact["value"])
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(f"machine '{name}' in {where}: {field} of {fact['value']!r} cannot be read") from error
        except InputError as error:
            raise InputError(f"machine '{name}' in {where}: {error}") from error
        sources.append(f"{field}: {fact['source']} [{fact['mark']}]")
    try:
        head = Head(**{f: values.pop(f) for f in of_head})
        motion = Motion(**{f: values.pop(f) for f in of_motion})
    except InputError as error:
        raise InputError(f"machine '{name}' in {where}: {error}") from error
    return Machine(
        id=name, label=str(entry.get("label", "")), sources=tuple(sources), head=head, motion=motion, **values
    )


def _value(field: str, value: Any) -> Any:
    """Value of a number in the type of its field."""
    if field == "spectrum":
        return _spectrum(value)
    if field == "profile":
        return tuple((float(radius), float(share)) for radius, share in value)
    if field == "leaf_boundaries_mm":
        if not value:
            return ()
        edges = [-0.5 * sum(count * width for count, width in value)]
        for count, width in value:
            edges += [edges[-1] + width * (n + 1) for n in range(int(count))]
        return tuple(float(edge) for edge in edges)
    if field in YES_NO:
        if not isinstance(value, bool):
            raise ValueError(field)
        return value
    if field in PAIRS:
        low, high = (_number(v) for v in value)
        return low, high
    return _number(value)


YES_NO = ("flattened", "softens", "interdigitates")
PAIRS = ("leaf_reach_mm",)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def _spectrum(value: Mapping[str, Any]) -> Spectrum:
    if "table" in value:
        return packaged_spectrum(str(value["table"]))
    if "energies_mev" in value:
        return Spectrum(value["energies_mev"], value["number"])
    return filtered_bremsstrahlung(
        _number(value["end_mev"]), _number(value["tungsten_g_cm2"]), _number(value["aluminium_g_cm2"])
    )

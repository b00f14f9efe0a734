"""The JSON Schema for editors accepts what the program reads and refuses what it refuses, as far as a schema can."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tailort.protocols import available
from tailort.protocols.json_schema import DRAFT, json_schema

SCHEMA = json_schema()
DOCS = Path(__file__).parents[2] / "docs" / "protocols.md"
# Keywords of Draft 2020-12 that the validator below knows, or that only describe.
JUDGED = {
    "$ref", "type", "properties", "required", "additionalProperties", "items", "prefixItems", "minItems", "maxItems",
    "minLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum", "const", "anyOf", "oneOf",
    "allOf", "if", "then", "else", "minProperties", "propertyNames", "format",
}  # fmt: skip
TOLD = {"$schema", "$defs", "title", "description", "default", "discriminator", "examples"}
TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
    "number": (int, float),
}  # fmt: skip


def faults(value: Any, schema: Any, place: str = "") -> Iterator[str]:
    """What of a value a schema does not accept: the part of Draft 2020-12 that the schema uses."""
    if "$ref" in schema:
        yield from faults(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], place)
    if "if" in schema:
        branch = "else" if any(faults(value, schema["if"])) else "then"
        yield from faults(value, schema.get(branch, {}), place)
    for word, least in (("anyOf", 1), ("oneOf", 1), ("allOf", len(schema.get("allOf", ())))):
        if word in schema:
            fitting = sum(not any(faults(value, one, place)) for one in schema[word])
            if fitting < least or (word == "oneOf" and fitting != 1):
                yield f"{place}: {fitting} of {word} fit {value!r}"
    if "type" in schema:
        kind = TYPES[schema["type"]]
        if not isinstance(value, kind) or (isinstance(value, bool) and schema["type"] not in ("boolean",)):
            yield f"{place}: {value!r} is no {schema['type']}"
            return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: {value!r} is none of {schema['enum']}"
    if "const" in schema and value != schema["const"]:
        yield f"{place}: {value!r} is not {schema['const']!r}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < schema.get("minimum", -math.inf) or value > schema.get("maximum", math.inf):
            yield f"{place}: {value} is out of range"
        if value <= schema.get("exclusiveMinimum", -math.inf) or value >= schema.get("exclusiveMaximum", math.inf):
            yield f"{place}: {value} is out of range"
    if isinstance(value, str) and len(value) < schema.get("minLength", 0):
        yield f"{place}: too short"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf):
            yield f"{place}: {len(value)} items"
        first = schema.get("prefixItems", [])
        for n, entry in enumerate(value):
            yield from faults(entry, first[n] if n < len(first) else schema.get("items", {}), f"{place}[{n}]")
    if isinstance(value, dict):
        known = schema.get("properties", {})
        yield from (f"{place}: '{key}' is missing" for key in schema.get("required", ()) if key not in value)
        other = schema.get("additionalProperties", {})
        for key, entry in value.items():
            if key in known:
                yield from faults(entry, known[key], f"{place}.{key}")
            elif other is False:
                yield f"{place}: '{key}' is not known"
            else:
                yield from faults(entry, other, f"{place}.{key}")


def plain(text: str) -> Any:
    """As an editor sees it: dates are texts."""
    return json.loads(json.dumps(YAML(typ="safe").load(text), default=str))


def library(name: str) -> str:
    return (resources.files("tailort.protocols") / "library" / f"{name}.yaml").read_text(encoding="utf-8")


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema inside of a schema; names of properties are no keywords."""
    yield schema
    for word, inside in schema.items():
        if word in ("properties", "$defs"):
            below = list(inside.values())
        elif word in ("anyOf", "oneOf", "allOf", "prefixItems"):
            below = inside
        elif word in ("items", "additionalProperties", "if", "then", "else", "propertyNames"):
            below = [inside]
        else:
            below = []
        for one in below:
            if isinstance(one, dict):
                yield from nodes(one)


def test_it_is_draft_2020_12_and_every_reference_leads_somewhere() -> None:
    assert SCHEMA["$schema"] == DRAFT == "https://json-schema.org/draft/2020-12/schema"
    refs = {node["$ref"] for node in nodes(SCHEMA) if "$ref" in node}
    assert len(refs) > 50
    assert refs <= {f"#/$defs/{name}" for name in SCHEMA["$defs"]}


def test_it_has_no_keyword_that_is_not_of_the_draft_or_not_judged_here() -> None:
    assert {word for node in nodes(SCHEMA) for word in node} <= JUDGED | TOLD


def test_a_validator_of_the_draft_takes_it_where_there_is_one() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for name in available():
        jsonschema.Draft202012Validator(SCHEMA).validate(plain(library(name)))


@pytest.mark.parametrize("name", available())
def test_every_protocol_of_the_library_is_valid(name: str) -> None:
    assert list(faults(plain(library(name)), SCHEMA)) == []


def test_every_example_of_the_page_on_protocols_is_valid() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    whole = [text for text in examples if re.search(r"^id: ", text, flags=re.MULTILINE)]
    assert any("\nextends:" in text for text in whole)
    for text in whole:
        assert list(faults(plain(text), SCHEMA)) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("title:", "titel:"),
        ("mark: seed", "mark: sead"),
        ("dose_gy: 66", "dose_gy: -66"),
        ("dose_gy: 66", "dose_gy: 660"),
        ("fractions: 30", "fractions: 30.5"),
        ("kind: imrt", "kind: protons"),
        ("beams: 9", "beams: 0"),
        ('operator: "<", limit: 45', 'operator: "=<", limit: 45'),
        ("{mm: 5}", "{mm: -5}"),
        ("- known: tumour_level", "- knows: tumour_level"),
        ("check: same-fractions", "check: same-fraction"),
        ("- subtract:", "- substract:"),
    ],
)
def test_what_the_program_refuses_the_schema_refuses_too(old: str, new: str) -> None:
    text = library("smart-imrt")
    assert old in text
    assert list(faults(plain(text.replace(old, new, 1)), SCHEMA))


def test_an_overlay_is_judged_as_an_overlay() -> None:
    overlay = {
        "id": "ours", "version": "1", "extends": "smart-imrt", "extends_version": "0.2", "changed_by": "Dr A",
        "why": "our committee", "limits": [{"structure": "Heart", "metric": "V40Gy[%]", "was": 30, "limit": 25}],
    }  # fmt: skip
    assert list(faults(overlay, SCHEMA)) == []
    assert list(faults({**overlay, "prescriptions": []}, SCHEMA))
    assert list(faults({key: value for key, value in overlay.items() if key != "why"}, SCHEMA))

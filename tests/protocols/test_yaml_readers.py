"""The fast reader of YAML says what the one that knows lines says; lines are looked for when something is wrong."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from ruamel.yaml import YAML

import tailort
from tailort import text_files
from tailort.errors import InputError, ProtocolError
from tailort.protocols import available, load, parse
from tailort.text_files import located, parse_yaml, plain

PACKAGE = Path(tailort.__file__).parent
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.yaml"))
SCALARS = (
    "no", "on", "Yes", "y", "TRUE", "false", "~", "null", "", "010", "0o17", "08", "0x1F", "0b11", "1_000", "+1",
    "-0.0", "1.5", "1.", "-.5", "1e3", "1E+5", "1:30", ".nan", "-.inf", "=", "2026-01-31", "2026-1-3",
    "'a''b'", '"a\\n\\u00e9"', "a #b", "a#b", "a:b", "é", "[a, b]", "{a: 1, b: }", "[a, [b, {c: d}]]",
    ">-\n  a\n  b\n\n  c", "|\n  a\n   b\n", "&x true", "&x 1.5", "12345678901234567890",
)  # fmt: skip
RARE = (
    "a: 2026-01-31 10:00:00\n", "a: !!str 1\n", "a: &x {b: 1}\nc: {<<: *x, d: 2}\n", "%YAML 1.1\n---\na: yes\n",
    "a:\t1\n", "? a\n: b\n", "&a: 1\n", "a: 1\u2028\n", "a: 1\r\nb: 2\r\n", "[" * 6000,
)  # fmt: skip


def typed(told: object) -> object:
    """What was told with its types: True is 1 to Python."""
    if isinstance(told, dict):
        return {(type(key), key): typed(value) for key, value in told.items()}
    return [typed(one) for one in told] if isinstance(told, tuple) else (type(told), repr(told))


def with_lines(text: str) -> object:
    return plain(YAML(typ="rt").load(text))


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_the_package_reads_the_same_both_ways_and_is_read_fast(name: str) -> None:
    text = (PACKAGE / name).read_text(encoding="utf-8")
    told = typed(with_lines(text))
    with mock.patch.object(text_files, "_with_lines", side_effect=AssertionError("read with lines")):
        assert typed(parse_yaml(text, name)) == told


@pytest.mark.parametrize("scalar", SCALARS)
def test_every_kind_of_value_reads_the_same_both_ways(scalar: str) -> None:
    for text in (f"a: {scalar}\n", f"- {scalar}\n", f"{scalar}: b\n" if "\n" not in scalar else "a: b\n"):
        try:
            told = typed(with_lines(text))
        except Exception:
            with pytest.raises(InputError, match="not valid YAML"):
                parse_yaml(text, "x.yaml")
        else:
            assert typed(parse_yaml(text, "x.yaml")) == told


@pytest.mark.parametrize("text", RARE)
def test_texts_that_the_readers_could_take_differently_are_read_by_the_one_that_knows_lines(text: str) -> None:
    assert not text_files._is_ordinary(text)


def test_a_protocol_without_mistakes_is_read_without_lines() -> None:
    name = available()[0]
    text = (PACKAGE / "protocols" / "library" / f"{name}.yaml").read_text(encoding="utf-8")
    with mock.patch.object(text_files, "_with_lines", side_effect=AssertionError("read with lines")):
        assert parse(text, name).file == load(name).file


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "duplicate key"),
        ("a: 1\nb: *x\n", 2, "undefined alias"),
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "expected"),
        ("a: 1\nb: c: d\n", 2, "mapping values are not allowed"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(text: str, line: int, told: str) -> None:
    with pytest.raises(InputError, match=rf"^x\.yaml, line {line}: this is not valid YAML: .*{told}"):
        parse_yaml(text, "x.yaml")


def test_a_key_that_cannot_be_one_and_too_deep_a_list_are_told() -> None:
    for text in ("{a: 1}: b\n", "[{a: 1}]: b\n", "[" * 3000 + "]" * 3000):
        with pytest.raises(InputError, match="not valid YAML"):
            parse_yaml(text, "x.yaml")


def test_a_wrong_entry_of_a_sound_text_is_told_with_its_line() -> None:
    name = available()[0]
    text = (PACKAGE / "protocols" / "library" / f"{name}.yaml").read_text(encoding="utf-8")
    line = 1 + text.splitlines().index("sources:")
    with pytest.raises(ProtocolError, match=rf"^own\.yaml, line {line}, sorces: the key 'sorces' is not known"):
        parse(text.replace("\nsources:", "\nsorces:", 1), "own.yaml")
    assert located("a:\n  - b: 1\n", ("a", 0, "b"), "x.yaml") == "x.yaml, line 2, a[0].b"

"""Text files that people write, YAML and CSV: mistakes are told with file, line and place."""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from tailort.errors import InputError

_WORDS = {
    "Input should be": "expected",
    "a valid string": "text (in quotation marks where it looks like something else)",
    "a valid tuple": "a list",
    "a valid dictionary or instance of": "the keys of",
    "Tuple should have": "the list must have",
    "String should have": "the text must have",
    "after validation, not": "and has",
}
# All that `str.strip` takes away, but for the space and the ends of lines.
_RARE_BLANKS = (
    *"\t\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000",
    *map(chr, range(0x2000, 0x200B)),
)
# What the two readers of YAML could take differently: blanks and ends of lines of other kinds, directives, documents,
# tags, merged and written-out keys, anchors of other characters, and times of day.
_RARE_YAML = re.compile(
    r"[^\n -~\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]|^(?:%|---|\.\.\.)"
    r"|(?:^|[\s\[{,:])(?:!|\?(?!\S)|[&*][A-Za-z0-9_-]*(?![A-Za-z0-9_\-\s,\]}]|$))|<<|\d:\d\d:\d\d",
    flags=re.MULTILINE,
)
# No text is nested more deeply than it has brackets and than a line is long. The fast reader has no limit of its own.
_DEEPEST_YAML = 5000
# Longer ones are no measurements.
_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")


def read_text(path: str | Path, what: str, kind: type[InputError] = InputError) -> str:
    """Return the text of a file in UTF-8, with or without the mark that some programs put before it.

    Parameters
    ----------
    path : str or Path
        The file.
    what : str
        What it is, for the message.
    kind : type of InputError
        What is raised.

    Raises
    ------
    InputError
        Of that kind, when it cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text; save it as UTF-8"
        raise kind(f"{what} '{path}' cannot be read: {reason}") from error
    if "\0" in text:
        raise kind(f"{what} '{path}' cannot be read: it holds zero bytes, so it is no text")
    return text


def parse_csv(text: str, origin: str, delimiter: str = ",") -> list[list[str]]:
    """Return the rows of a table in CSV text, cells without the blanks around them; row 1 is the first.

    Raises
    ------
    InputError
        When it is no such table, or two columns have the same name.
    """
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError(f"{origin}: this is not a table with '{delimiter}' between cells: {error}") from error
    table = [list(map(str.strip, row)) for row in rows] if _may_have_blanks(text, delimiter) else rows
    header = table[0] if table else []
    if not any(header):
        raise InputError(f"{origin}, row 1: expected the names of the columns, found nothing")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise InputError(f"{origin}, row 1: the column '{twice[0]}' is there twice; rename or remove one")
    return table


def _may_have_blanks(text: str, delimiter: str) -> bool:
    """Whether a cell may begin or end with a blank, seen without looking at each of very many cells."""
    ends = (delimiter, "\n", "\r")
    # A cell in quotation marks may hold anything, and so may one next to a blank of another kind.
    if any(blank in text for blank in ('"', *_RARE_BLANKS)):
        return True
    return text[:1] == " " or text[-1:] == " " or any(f" {end}" in text or f"{end} " in text for end in ends)


def number(text: str) -> Fraction | None:
    """Return the number that a text is, exact; None for anything else, such as '1,234', '<5' or 'nan'."""
    return Fraction(text) if _NUMBER.fullmatch(text) else None


def parse_yaml(text: str, origin: str, kind: type[InputError] = InputError) -> Any:
    """Return what a YAML text says, in Python's own types, sequences as tuples.

    Parameters
    ----------
    text : str
        YAML.
    origin : str
        The file's name, for messages.
    kind : type of InputError
        What is raised.

    Raises
    ------
    InputError
        Of that kind, when it is not valid YAML.
    """
    if _is_ordinary(text):
        # Which line is wrong is told by the other reader, which takes several times as long.
        with suppress(YAMLError, ValueError, TypeError, RecursionError):
            return plain(YAML(typ="safe").load(text))
    try:
        return plain(_with_lines(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark is not None else ""
        reason = " ".join((error.problem or error.context or "not readable").split())
        lines = text.splitlines()
        if mark is not None and mark.line < len(lines) and re.search(r"[\w%]\[", lines[mark.line]):
            reason += '; a metric such as "D95%[Gy]" stands in quotation marks'
        raise kind(f"{origin}{line}: this is not valid YAML: {reason}") from error
    except RecursionError as error:
        raise kind(f"{origin}: this is not valid YAML: it is nested too deeply") from error
    except (YAMLError, ValueError, TypeError) as error:
        raise kind(f"{origin}: this is not valid YAML: {' '.join(str(error).split())}") from error


def _is_ordinary(text: str) -> bool:
    brackets = text.count("[") + text.count("{")
    return not _RARE_YAML.search(text) and brackets + max(map(len, text.split("\n"))) < _DEEPEST_YAML


def _with_lines(text: str) -> Any:
    """What a YAML text says in types that know where it stands."""
    return YAML(typ="rt").load(text)


def plain(node: Any) -> Any:
    """Turn types of a reader of YAML into Python's, sequences into tuples."""
    if isinstance(node, Mapping):
        return {plain(key): plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return tuple(plain(value) for value in node)
    # One with an anchor is no bool to Python, which lets nobody inherit from it.
    if isinstance(node, ScalarBoolean):
        return bool(node)
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    if isinstance(node, dt.datetime):
        return dt.datetime(node.year, node.month, node.day, node.hour, node.minute, node.second)
    return node


def located(text: str, place: Iterable[str | int], origin: str) -> str:
    """Return file, line and place of an entry of a YAML text; parts of the place that it does not have are passed over.

    The text is read once more, with its lines: ask when there is something to tell.
    """
    node, line, told = _with_lines(text), None, ""
    for part in place:
        if isinstance(node, CommentedMap) and part in node:
            if part in (node.lc.data or {}):  # not so for keys that were merged in
                line = node.lc.key(part)[0] + 1
            told += f".{part}" if told else str(part)
        elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
            line = node.lc.item(part)[0] + 1
            told += f"[{part}]"
        else:
            continue
        node = node[part]
    where = origin if line is None else f"{origin}, line {line}"
    return f"{where}, {told}" if told else where


def first_fault(error: ValidationError, text: str, origin: str) -> str:
    """Tell the first fault of a YAML text that has not the form it should have, and how many more there are."""
    # A list whose only entry is faulty is also called too short: the entry's own fault is enough.
    every = error.errors(include_url=False)
    faults = [fault for fault in every if fault["type"] != "too_short" or not fault["input"]] or every
    # A key that is not known is mostly a misspelt one: tell it before the one that is missing for it.
    first = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    if first["type"] == "extra_forbidden":
        message = f"the key '{first['loc'][-1]}' is not known here"
    elif first["type"] == "missing":
        name = first["loc"][-1]
        message = f"the key '{name}' is missing" if isinstance(name, str) else "an entry is missing"
    else:
        message = first["msg"].removeprefix("Value error, ")
        for pydantic_word, word in _WORDS.items():
            message = message.replace(pydantic_word, word)
        if first["type"] != "value_error" and not isinstance(first["input"], dict | tuple):
            message += f", found {first['input']!r}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{located(text, first['loc'], origin)}: {message}{more}"

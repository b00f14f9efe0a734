"""Protocol files and clinical records: YAML in, checked records out; mistakes are told with file, line and place."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from tailort.errors import InputError, ProtocolError
from tailort.patient import Fact, FactValue
from tailort.protocols.consistency import mistakes
from tailort.protocols.known import decision_mistakes
from tailort.protocols.overlay import laid_over
from tailort.protocols.overlay_file import OverlayFile
from tailort.protocols.overlay_records import OverlayError
from tailort.protocols.proposals import proposal_mistakes
from tailort.protocols.protocol import Protocol
from tailort.protocols.schema import ProtocolFile

_WORDS = {
    "Input should be": "expected",
    "a valid string": "text (in quotation marks where it looks like something else)",
    "a valid tuple": "a list",
    "a valid dictionary or instance of": "the keys of",
    "Tuple should have": "the list must have",
    "String should have": "the text must have",
    "after validation, not": "and has",
}

_LIBRARY = resources.files("tailort.protocols") / "library"


def available() -> tuple[str, ...]:
    """Ids of the protocols that come with TailoRT."""
    return tuple(sorted(entry.name[: -len(".yaml")] for entry in _LIBRARY.iterdir() if entry.name.endswith(".yaml")))


def aliases() -> dict[str, str]:
    """Other names of the protocols that come with TailoRT, in small letters, and their ids."""
    found = {}
    for name in available():
        text = (_LIBRARY / f"{name}.yaml").read_text(encoding="utf-8")
        # One line at the top of a file: nothing else of it need be read.
        line = re.search(r"^aliases: \[(.*)\]$", text, flags=re.MULTILINE)
        found.update({alias.strip().casefold(): name for alias in line[1].split(",")} if line else {})
    return found


def load(name: str | Path) -> Protocol:
    """Read a protocol of the library by its id, or a file of one's own by its path.

    Parameters
    ----------
    name : str or Path
        An id as `available` gives it, one of `aliases`, or the path of a YAML file (a name with a folder, or ending in
        .yaml or .yml).

    Raises
    ------
    ProtocolError
        When there is no such protocol (the known ones are listed), or the file is not valid: with file, line and place.
    """
    if isinstance(name, str) and name in available():
        return parse((_LIBRARY / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")
    path = Path(name)
    if path.suffix.lower() not in (".yaml", ".yml") and len(path.parts) == 1:
        other = aliases().get(str(name).casefold())
        if other is not None:
            return load(other)
        raise ProtocolError(
            f"there is no protocol '{name}'; known are {', '.join(available())}; a file of your own is given by its "
            "path, ending in .yaml"
        )
    return parse(_text(path), str(path), (path.resolve(),))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ProtocolError(f"protocol file '{path}' cannot be read: {reason}") from error


def parse(text: str, origin: str, files: tuple[Path, ...] = ()) -> Protocol:
    """Read a protocol, or a site's overlay of one, from YAML text.

    Parameters
    ----------
    text : str
        The file's content.
    origin : str
        The file's name, for messages.
    files : tuple of Path
        Overlays that led here and the file itself; a path in `extends` starts from the folder of the last.
    """
    tree = _yaml(text, origin, ProtocolError)
    if not isinstance(tree, CommentedMap):
        raise ProtocolError(f"{origin}: a protocol file is a list of 'key: value' lines; see docs/protocols.md")
    if "extends" in tree:
        return _overlaid(tree, origin, files)
    try:
        file = ProtocolFile.model_validate(_plain(tree))
    except ValidationError as error:
        raise ProtocolError(_first_fault(error, tree, origin)) from error
    for place, fault in (*mistakes(file), *decision_mistakes(file), *proposal_mistakes(file)):
        raise ProtocolError(f"{_where(tree, place, origin)}: {fault}")
    return Protocol(file, origin)


def _overlaid(tree: CommentedMap, origin: str, files: tuple[Path, ...]) -> Protocol:
    """Read an overlay: the protocol that it extends, with its changes."""
    try:
        overlay = OverlayFile.model_validate(_plain(tree))
    except ValidationError as error:
        raise ProtocolError(_first_fault(error, tree, origin)) from error
    base = _extended(overlay, _where(tree, ("extends",), origin), files)
    if overlay.id in (base.id, *available()):
        raise ProtocolError(
            f"{_where(tree, ('id',), origin)}: '{overlay.id}' is the id of a protocol already; an overlay has one of "
            "its own, so that nobody takes one for the other"
        )
    try:
        file, record = laid_over(base.file, overlay, origin)
    except OverlayError as fault:
        raise ProtocolError(f"{_where(tree, fault.place, origin)}: {fault}") from fault
    for place, text in (*mistakes(file), *decision_mistakes(file), *proposal_mistakes(file)):
        where = ".".join(str(part) for part in place)
        raise ProtocolError(f"{origin}: with these changes '{base.id}' is no longer valid, at {where}: {text}")
    return Protocol(file, origin, (*base.overlays, record))


def _extended(overlay: OverlayFile, where: str, files: tuple[Path, ...]) -> Protocol:
    path = Path(overlay.extends)
    if path.suffix.lower() not in (".yaml", ".yml"):
        if len(path.parts) > 1:
            raise ProtocolError(f"{where}: expected the id of a protocol or a file that ends in .yaml")
        try:
            return load(overlay.extends)
        except ProtocolError as error:
            raise ProtocolError(f"{where}: {error}") from error
    path = files[-1].parent / path if files else path
    if path.resolve() in files:
        told = " -> ".join(file.name for file in (*files, path))
        raise ProtocolError(f"{where}: the overlay extends itself: {told}")
    if not path.is_file():
        raise ProtocolError(f"{where}: there is no file '{path}'")
    return parse(_text(path), str(path), (*files, path.resolve()))


def describe(protocol: Protocol) -> dict[str, Any]:
    """Return a protocol's id, version and every rule, ready for JSON."""
    return {
        "id": protocol.id,
        "version": protocol.version,
        "rules": [
            {"id": rule.id, "text": rule.text, "source": rule.source, "mark": rule.mark} for rule in protocol.rules
        ],
    }


def read_record(record: str | Mapping[str, Any], origin: str = "record.yaml") -> dict[str, Fact]:
    """Read a clinical record: a flat list of facts.

    Parameters
    ----------
    record : str or mapping
        YAML text, or what it says. Each fact is a plain value, or `{value: ..., source: ..., date: ...}`. An empty
        value is unknown.
    origin : str
        The file's name, for messages.

    Returns
    -------
    dict of Fact
        By name. Types and ranges are checked by the protocol that asks for the fact.

    Raises
    ------
    InputError
        When it cannot be read as a flat list of facts, with file and line.
    """
    tree = _yaml(record, origin, InputError) if isinstance(record, str) else record
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise InputError(f"{origin}: a clinical record is a list of 'name: value' lines")
    facts = {}
    for name, entry in tree.items():
        where = _where(tree, (name,), origin)
        if not isinstance(name, str) or not name:
            raise InputError(f"{where}: the name of a fact must be text, found {name!r}")
        source, date = "", None
        if isinstance(entry, Mapping):
            unknown = set(entry) - {"value", "source", "date"}
            if unknown or "value" not in entry:
                raise InputError(
                    f"{where}: a fact is a plain value or has the keys value, source and date; found "
                    f"{', '.join(str(key) for key in entry) or 'nothing'}"
                )
            source, date = entry.get("source") or "", _date(entry.get("date"), where)
            if not isinstance(source, str):
                raise InputError(f"{where}: the source of a fact must be text, found {source!r}")
            entry = entry["value"]
        facts[name] = Fact(name, _fact_value(entry, where), str(source), date)
    return facts


def load_record(path: str | Path) -> dict[str, Fact]:
    """Read a clinical record from a YAML file."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"clinical record '{path}' cannot be read: {reason}") from error
    return read_record(text, str(path))


def _date(entry: object, where: str) -> dt.date | None:
    if entry is None or (isinstance(entry, dt.date) and not isinstance(entry, dt.datetime)):
        return entry
    try:
        return dt.date.fromisoformat(str(entry))
    except ValueError as error:
        raise InputError(f"{where}: the date of a fact must be a date such as 2026-01-31, found {entry}") from error


def _fact_value(entry: object, where: str) -> FactValue:
    value = _plain(entry)
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}: {value} is not a number; leave the value empty when it is unknown")
    if isinstance(value, dt.datetime):
        raise InputError(f"{where}: expected a date without time such as 2026-01-31, found {value}")
    if value is None or isinstance(value, bool | int | float | str | dt.date):
        return None if value == "" else value
    if isinstance(value, tuple) and all(isinstance(part, str) for part in value):
        return value
    raise InputError(f"{where}: expected a number, text, yes or no, a date or a list of texts")


def _yaml(text: str, origin: str, kind: type[InputError]) -> Any:
    try:
        return YAML(typ="rt").load(text)
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
    except (YAMLError, ValueError) as error:
        raise kind(f"{origin}: this is not valid YAML: {' '.join(str(error).split())}") from error


def _plain(node: Any) -> Any:
    """Turn ruamel's own types into Python's, sequences into tuples."""
    if isinstance(node, Mapping):
        return {_plain(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return tuple(_plain(value) for value in node)
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    if isinstance(node, dt.datetime):
        return dt.datetime(node.year, node.month, node.day, node.hour, node.minute, node.second)
    return node


def _first_fault(error: ValidationError, tree: CommentedMap, origin: str) -> str:
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
    return f"{_where(tree, first['loc'], origin)}: {message}{more}"


def _where(tree: Any, place: Iterable[str | int], origin: str) -> str:
    """Return file, line and place of an entry; parts of the place that the file does not have are passed over."""
    node, line, told = tree, None, ""
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
    text = origin if line is None else f"{origin}, line {line}"
    return f"{text}, {told}" if told else text

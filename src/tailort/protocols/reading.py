"""Protocol files and clinical records: YAML in, checked records out; mistakes are told with file, line and place."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

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
from tailort.text_files import first_fault, located, parse_yaml, plain, read_text

_LIBRARY = resources.files("tailort.protocols") / "library"
_OVERLAYS = resources.files("tailort.protocols") / "overlays"


def available() -> tuple[str, ...]:
    """Ids of the protocols that come with TailoRT."""
    return _named_in(_LIBRARY)


def demonstrations() -> tuple[str, ...]:
    """Ids of the overlays that come with TailoRT: examples for a site's own, marked as such."""
    return _named_in(_OVERLAYS)


def _named_in(folder: Traversable) -> tuple[str, ...]:
    return tuple(sorted(entry.name[: -len(".yaml")] for entry in folder.iterdir() if entry.name.endswith(".yaml")))


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
        An id as `available` or `demonstrations` gives it, one of `aliases`, or the path of a YAML file (a name with a
        folder, or ending in .yaml or .yml).

    Raises
    ------
    ProtocolError
        When there is no such protocol (the known ones are listed), or the file is not valid: with file, line and place.
    """
    if isinstance(name, str) and name in available():
        return _packaged(_LIBRARY.name, name)
    if isinstance(name, str) and name in demonstrations():
        return _packaged(_OVERLAYS.name, name)
    path = Path(name)
    if path.suffix.lower() not in (".yaml", ".yml") and len(path.parts) == 1:
        other = aliases().get(str(name).casefold())
        if other is not None:
            return load(other)
        raise ProtocolError(
            f"there is no protocol '{name}'; known are {', '.join((*available(), *demonstrations()))}; a file of "
            "your own is given by its path, ending in .yaml"
        )
    return parse(read_text(path, "protocol file", ProtocolError), str(path), (path.resolve(),))


@cache
def _packaged(folder: str, name: str) -> Protocol:
    """Read a protocol that comes with TailoRT; once, as nothing changes it."""
    text = (resources.files("tailort.protocols") / folder / f"{name}.yaml").read_text(encoding="utf-8")
    return parse(text, f"{name}.yaml")


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
    told = parse_yaml(text, origin, ProtocolError)
    if not isinstance(told, dict):
        raise ProtocolError(f"{origin}: a protocol file is a list of 'key: value' lines; see docs/protocols.md")
    if "extends" in told:
        return _overlaid(told, text, origin, files)
    try:
        file = ProtocolFile.model_validate(told)
    except ValidationError as error:
        raise ProtocolError(first_fault(error, text, origin)) from error
    for place, fault in (*mistakes(file), *decision_mistakes(file), *proposal_mistakes(file)):
        raise ProtocolError(f"{located(text, place, origin)}: {fault}")
    return Protocol(file, origin)


def _overlaid(told: dict[Any, Any], text: str, origin: str, files: tuple[Path, ...]) -> Protocol:
    """Read an overlay: the protocol that it extends, with its changes."""
    try:
        overlay = OverlayFile.model_validate(told)
    except ValidationError as error:
        raise ProtocolError(first_fault(error, text, origin)) from error
    base = _extended(overlay, partial(located, text, ("extends",), origin), files)
    if overlay.id in (base.id, *available()):
        raise ProtocolError(
            f"{located(text, ('id',), origin)}: '{overlay.id}' is the id of a protocol already; an overlay has one of "
            "its own, so that nobody takes one for the other"
        )
    try:
        file, record = laid_over(base.file, overlay, origin)
    except OverlayError as fault:
        raise ProtocolError(f"{located(text, fault.place, origin)}: {fault}") from fault
    return Protocol(file, origin, (*base.overlays, record))


def _extended(overlay: OverlayFile, where: Callable[[], str], files: tuple[Path, ...]) -> Protocol:
    path = Path(overlay.extends)
    if path.suffix.lower() not in (".yaml", ".yml"):
        if len(path.parts) > 1:
            raise ProtocolError(f"{where()}: expected the id of a protocol or a file that ends in .yaml")
        try:
            return load(overlay.extends)
        except ProtocolError as error:
            raise ProtocolError(f"{where()}: {error}") from error
    path = files[-1].parent / path if files else path
    if path.resolve() in files:
        told = " -> ".join(file.name for file in (*files, path))
        raise ProtocolError(f"{where()}: the overlay extends itself: {told}")
    if not path.is_file():
        raise ProtocolError(f"{where()}: there is no file '{path}'")
    return parse(read_text(path, "protocol file", ProtocolError), str(path), (*files, path.resolve()))


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
    told = parse_yaml(record, origin) if isinstance(record, str) else record
    if told is None:
        return {}
    if not isinstance(told, Mapping):
        raise InputError(f"{origin}: a clinical record is a list of 'name: value' lines")
    facts = {}
    for name, entry in told.items():
        where = partial(located, record if isinstance(record, str) else "", (name,), origin)
        if not isinstance(name, str) or not name:
            raise InputError(f"{where()}: the name of a fact must be text, found {name!r}")
        source, date = "", None
        if isinstance(entry, Mapping):
            unknown = set(entry) - {"value", "source", "date"}
            if unknown or "value" not in entry:
                raise InputError(
                    f"{where()}: a fact is a plain value or has the keys value, source and date; found "
                    f"{', '.join(str(key) for key in entry) or 'nothing'}"
                )
            source, date = entry.get("source") or "", _date(entry.get("date"), where)
            if not isinstance(source, str):
                raise InputError(f"{where()}: the source of a fact must be text, found {source!r}")
            entry = entry["value"]
        facts[name] = Fact(name, _fact_value(entry, where), str(source), date)
    return facts


def load_record(path: str | Path) -> dict[str, Fact]:
    """Read a clinical record from a YAML file."""
    return read_record(read_text(path, "clinical record"), str(path))


def _date(entry: object, where: Callable[[], str]) -> dt.date | None:
    if entry is None or (isinstance(entry, dt.date) and not isinstance(entry, dt.datetime)):
        return entry
    try:
        return dt.date.fromisoformat(str(entry))
    except ValueError as error:
        raise InputError(f"{where()}: the date of a fact must be a date such as 2026-01-31, found {entry}") from error


def _fact_value(entry: object, where: Callable[[], str]) -> FactValue:
    value = plain(entry)
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where()}: {value} is not a number; leave the value empty when it is unknown")
    if isinstance(value, dt.datetime):
        raise InputError(f"{where()}: expected a date without time such as 2026-01-31, found {value}")
    if value is None or isinstance(value, bool | int | float | str | dt.date):
        return None if value == "" else value
    if isinstance(value, tuple) and all(isinstance(part, str) for part in value):
        return value
    raise InputError(f"{where()}: expected a number, text, yes or no, a date or a list of texts")

"""From the names in a file to TG-263 names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib import resources
from pathlib import Path

from ruamel.yaml import YAML

from tailort.errors import InputError
from tailort.text_files import located, parse_yaml, read_text

_IGNORED = str.maketrans("", "", " _-.,()")


def plain(name: str) -> str:
    """Name without case, spaces and the characters _ - . , ( ).

    A leading underscore stays: such structures are not for dose evaluation (AAPM TG-263).
    """
    bare = name.strip().lower()
    return ("_" if bare.startswith("_") else "") + bare.translate(_IGNORED)


@cache
def standard_aliases() -> Mapping[str, str]:
    """The packaged table: plain alias -> TG-263 name."""
    text = resources.files("tailort.dicom").joinpath("aliases.yaml").read_text(encoding="utf-8")
    table: dict[str, str] = {}
    for standard, others in YAML(typ="safe", pure=True).load(text).items():
        for alias in (standard, *others):
            known = table.setdefault(plain(str(alias)), str(standard))
            if known != standard:
                raise InputError(f"the packaged alias table gives '{alias}' two meanings: {known} and {standard}")
    return table


def load_names(path: Path) -> dict[str, str]:
    """Read a user's own table of names.

    Parameters
    ----------
    path : Path
        YAML of two possible forms, also mixed: `name in the file: TG-263 name`, or `TG-263 name: [names in the file]`.

    Returns
    -------
    dict
        Name in the file -> TG-263 name, ready for `read_case(..., names=...)`.

    Raises
    ------
    InputError
        With file and line, when it cannot be read, is not a table of names, or gives one name two meanings.
    """
    origin = f"names file '{path}'"
    text = read_text(path, "names file")
    loaded = parse_yaml(text, origin)
    if not isinstance(loaded, Mapping):
        raise InputError(f"{origin}, line 1: expected lines 'name in the file: TG-263 name'")
    table: dict[str, str] = {}
    for key, value in loaded.items():
        where = partial(located, text, (key,), origin)
        pairs = [(key, value)] if isinstance(value, str) else [(alias, key) for alias in _aliases(value, where)]
        for alias, standard in pairs:
            if not isinstance(standard, str) or not isinstance(alias, str) or not standard.strip() or not alias.strip():
                raise InputError(
                    f"{where()}: '{alias}: {standard}' is not a pair of names; "
                    "put names that YAML reads as numbers or yes/no in quotes"
                )
            if table.setdefault(alias.strip(), standard.strip()) != standard.strip():
                raise InputError(f"{where()}: '{alias}' is mapped to both '{table[alias.strip()]}' and '{standard}'")
    return table


def _aliases(value: object, where: Callable[[], str]) -> Sequence[object]:
    if not isinstance(value, tuple):
        raise InputError(
            f"{where()}: expected a name or a list of names, found {value!r}; put names that "
            "YAML reads as numbers or yes/no in quotes"
        )
    return value


def map_names(
    originals: Sequence[str], names: Mapping[str, str] | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names to use for the names of a file, and notes.

    A user's name wins over the packaged table; a name in neither passes unchanged. Where two structures would get the
    same name from the packaged table, all of them keep their own.

    Raises
    ------
    InputError
        When the user's table sends two structures to one name, or one to a name that another structure has.
    """
    own = {alias.strip(): standard.strip() for alias, standard in (names or {}).items()}
    own_plain = {plain(alias): standard for alias, standard in own.items()}
    standard_names = standard_aliases()
    chosen: list[str] = []
    by_user: list[bool] = []
    for original in originals:
        told = own.get(original) or own_plain.get(plain(original))
        chosen.append(told or standard_names.get(plain(original), original))
        by_user.append(told is not None)
    notes: list[str] = []
    holders: dict[str, list[int]] = {}
    for n, name in enumerate(chosen):
        holders.setdefault(name.lower(), []).append(n)
    for members in holders.values():
        if len(members) < 2:
            continue
        quoted = " and ".join(f"'{originals[n]}'" for n in members)
        if any(by_user[n] for n in members):
            raise InputError(
                f"structures {quoted} would both be called '{chosen[members[0]]}': give one of them another name with "
                "--names FILE"
            )
        if len({originals[n].lower() for n in members}) == len(members):
            notes.append(f"structures {quoted} all mean '{chosen[members[0]]}', so they keep the names of the file")
            for n in members:
                chosen[n] = originals[n]
    present = set(originals) | {plain(original) for original in originals}
    unused = [alias for alias in own if alias not in present and plain(alias) not in present]
    if unused:
        notes.append(f"names that are not in the case and so mapped nothing: {', '.join(unused)}")
    return tuple(chosen), tuple(notes)

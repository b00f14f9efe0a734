"""Which group of dose modification a term of an adverse event belongs to; a term that is not known belongs to none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Literal, cast, get_args

from tailort.errors import InputError
from tailort.text_files import parse_yaml

Group = Literal["haematological", "hepatic", "renal", "pneumonitis", "other"]
GROUPS: tuple[Group, ...] = get_args(Group)
_FILE = "toxicity_groups.yaml"


@dataclass(frozen=True)
class TermGroup:
    """The group of one term.

    Parameters
    ----------
    group : Group
        "other" is known to be none of the four before it.
    rule, mark : str
        What it rests on, and how sure that is; "site" is what a person says.
    """

    group: Group
    rule: str
    mark: str


def group_of(term: str, scale: str = "", own: Mapping[str, str] | None = None) -> TermGroup | None:
    """Group of a term; None where nobody has told it.

    Parameters
    ----------
    term : str
        As the scale names it; small and capital letters are the same.
    scale : str
        By which it was graded: a few words mean something only in one of them.
    own : mapping of str to str, optional
        Groups that a person tells, by term; they go before those of the table.

    Raises
    ------
    InputError
        Where a person tells a group that is none.

    Examples
    --------
    >>> group_of("Platelet count decreased").group
    'haematological'
    >>> group_of("Lung") is None, group_of("Lung", "RTOG").group
    (True, 'pneumonitis')
    """
    for name, group in (own or {}).items():
        if group not in GROUPS:
            raise InputError(f"the group of '{name}' is '{group}'; expected one of: {', '.join(GROUPS)}")
        if _same(name) == _same(term):
            return TermGroup(group, "", "site")
    return _in_table(term, scale)


@lru_cache(maxsize=4096)
def _in_table(term: str, scale: str) -> TermGroup | None:
    for begins, found in _table().get(_same(term), ()):
        if _same(scale).startswith(begins):
            return found
    return None


def _same(text: str) -> str:
    return " ".join(text.split()).casefold()


@cache
def _table() -> dict[str, tuple[tuple[str, TermGroup], ...]]:
    """Groups by term, each with what the name of the scale must begin with."""
    text = resources.files("tailort.cohort").joinpath(f"data/{_FILE}").read_text(encoding="utf-8")
    found: dict[str, tuple[tuple[str, TermGroup], ...]] = {}
    for line in parse_yaml(text, _FILE):
        one = TermGroup(cast(Group, line["group"]), line["rule"], line["mark"])
        for term in line["terms"]:
            found[_same(term)] = (*found.get(_same(term), ()), (_same(line.get("scale", "")), one))
    return found

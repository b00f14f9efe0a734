"""Rules that are not carried out by a file of the library: by the program itself, or by nobody, and why."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

from ruamel.yaml import YAML

from tailort.protocols.protocol import Protocol
from tailort.protocols.section import Name, Section

_FILE = resources.files("tailort.protocols") / "data" / "rules-elsewhere.yaml"


class _ByTheProgram(Section):
    rule: Name
    text: Name
    how: Name


class _Not(Section):
    rule: Name
    text: Name
    reason: Name


class _File(Section):
    by_the_program: tuple[_ByTheProgram, ...]
    not_executed: tuple[_Not, ...]


@dataclass(frozen=True)
class ElsewhereRule:
    """A rule, or a part of one, that a protocol file does not carry out.

    Parameters
    ----------
    rule : str
        Its id.
    part : str
        The part that is meant; empty for the whole rule.
    text : str
        What the rule says.
    kind : {"by the program", "not executed"}
        Who carries it out.
    reason : str
        How the program does, or why nobody does.
    protocol : str
        The file that tells it; empty for rules of no file.
    """

    rule: str
    part: str
    text: str
    kind: Literal["by the program", "not executed"]
    reason: str
    protocol: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the rule ready for JSON."""
        return {
            "rule": self.rule,
            "part": self.part,
            "text": self.text,
            "kind": self.kind,
            "reason": self.reason,
            "protocol": self.protocol or None,
        }


def of_no_file() -> tuple[ElsewhereRule, ...]:
    """Rules of the source protocols that stand in no file of the library."""
    tree = YAML(typ="safe").load(_FILE.read_text(encoding="utf-8"))
    file = _File.model_validate({key: tuple(entries) for key, entries in tree.items()})
    return (
        *(ElsewhereRule(one.rule, "", one.text, "by the program", one.how) for one in file.by_the_program),
        *(ElsewhereRule(one.rule, "", one.text, "not executed", one.reason) for one in file.not_executed),
    )


def of_files(protocols: tuple[Protocol, ...]) -> tuple[ElsewhereRule, ...]:
    """Rules, or parts of them, that the files tell and do not carry out."""
    return tuple(
        ElsewhereRule(entry.rule, entry.part, protocol.rule(entry.rule).text, "not executed", entry.reason, protocol.id)
        for protocol in protocols
        for entry in protocol.file.not_executed or ()
    )

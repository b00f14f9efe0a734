"""Surgery or SBRT first for a re-irradiated spine, by the table `path` of the protocol file (KO-10 to KO-16)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from tailort.patient import Fact
from tailort.protocols.known import Seen, look, readings_of, readings_taken, seen
from tailort.protocols.protocol import Protocol
from tailort.protocols.scores.basis import Cited, ReadingTaken
from tailort.protocols.tables import TableFinding

PATH = "path"


@dataclass(frozen=True)
class PathAnswer:
    """What comes first, surgery or SBRT.

    Parameters
    ----------
    path : str or None
        None is undetermined.
    possible : tuple of str
        Paths that are possible.
    note : str
        What the file says beside the path: what may be added, what a clinician must see.
    missing : tuple of str
        Facts that are unknown and could still settle it.
    readings : tuple of ReadingTaken
        Ambiguous rules that another reading of would change the path.
    cited : tuple of Cited
        Rules of the answer.
    """

    path: str | None
    possible: tuple[str, ...]
    note: str
    missing: tuple[str, ...]
    readings: tuple[ReadingTaken, ...]
    cited: tuple[Cited, ...]


def spine_path(protocol: Protocol, facts: Mapping[str, Fact], today: dt.date | None = None) -> PathAnswer:
    """Choose the path of a record.

    Parameters
    ----------
    protocol : Protocol
        Whose table chooses.
    facts : dict of Fact
        The clinical record.
    today : date or None
        Facts may not be dated after it.

    Raises
    ------
    InputError
        When a grade or score does not exist, or facts contradict each other.
    """
    patient = seen(protocol.file, facts, today=today)
    found = _path(patient)
    row = None if found.taken is None else found.table.rows[found.taken]
    rules = (protocol.rule(rule) for rule in (found.table.rules if row is None else row.rules))
    return PathAnswer(
        path=found.possible[0] if len(found.possible) == 1 else None,
        possible=found.possible,
        note="" if row is None else row.note,
        missing=found.open_facts,
        readings=_readings(protocol, patient),
        cited=tuple(Cited(rule.id, rule.mark, rule.source) for rule in rules),
    )


def _path(patient: Seen) -> TableFinding:
    (found,) = (one for one in patient.tables if one.table.name == PATH)
    return found


def _readings(protocol: Protocol, patient: Seen) -> tuple[ReadingTaken, ...]:
    taken, here = readings_taken(protocol.file, {}), _path(patient).possible
    readings = []
    for rule, choice in readings_of(protocol.file).items():
        others = []
        for name, text in choice.names.items():
            there = _path(look(protocol.file, patient.facts, taken | {rule: name})).possible
            others += [] if there == here else [f"{text}: {' or '.join(there)}"]
        if others:
            readings.append(ReadingTaken(rule, choice.names[taken[rule]], tuple(others)))
    return tuple(readings)

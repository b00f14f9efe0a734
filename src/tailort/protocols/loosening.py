"""Does a protocol file, once changed, ask for less than before: which of its limits have become looser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from tailort.protocols.condition import ByReading, Condition, OutcomeIs, ReadingIs
from tailort.protocols.consistency import Place, walk
from tailort.protocols.known import look, readings_taken, tables_of
from tailort.protocols.schema import LimitEntry, ProtocolFile
from tailort.protocols.strictness import comparable, less_severe, loosens
from tailort.protocols.table_limits import TableLimit

Judged = Literal["hard", "goal"]


def looser_limits(was: ProtocolFile, now: ProtocolFile, reading: str = "") -> dict[Judged, tuple[str, ...]]:
    """Return the limits that a changed file holds less strictly, in words, by their priority before.

    Parameters
    ----------
    was, now : ProtocolFile
        Before and after.
    reading : str
        Rule whose default reading was changed; limits that depend on it through facts of the patient count as looser,
        because they may be.
    """
    found: dict[Judged, tuple[str, ...]] = {}
    for priority in ("hard", "goal"):
        if reading:
            told = [limit_in_words(limit) for limit in _lost(was, now, priority)]
            told += [f"{limit}, for some patients" for limit in _depending(was, reading, priority)]
        else:
            told = [limit_in_words(limit) for limit in _changed(was, now, priority)]
        found[priority] = tuple(dict.fromkeys(told))
    return found


def limit_in_words(limit: LimitEntry) -> str:
    """Say a limit in one line."""
    return f"{limit.structure} {limit.metric} {bound_in_words(limit)}"


def bound_in_words(limit: LimitEntry) -> str:
    """Say what a limit allows, and how much it weighs."""
    unit = f" % of {limit.percent_of}" if limit.percent_of else ""
    return f"{limit.operator} {limit.limit:g}{unit} ({limit.priority})"


def _changed(was: ProtocolFile, now: ProtocolFile, priority: Judged) -> Iterator[LimitEntry]:
    """Limits of a priority that are looser, or weigh less, in their own place, whether they hold by default or not."""
    after = {place: entry for place, entry in walk(now) if isinstance(entry, LimitEntry)}
    for place, limit in walk(was):
        if isinstance(limit, LimitEntry) and limit.priority == priority:
            other = after[place]
            if loosens(_in_gy(was, limit), _in_gy(now, other)) or less_severe(priority, other.priority):
                yield limit


def _in_gy(file: ProtocolFile, limit: LimitEntry) -> LimitEntry:
    """A limit in percent of a dose that a file prescribes, in Gy: a lower dose makes it another limit."""
    doses = {entry.target.lower(): entry.dose_gy for entry in file.prescriptions}
    dose_gy = doses.get((limit.percent_of or "").lower())
    return limit if dose_gy is None else limit.model_copy(update={"limit": limit.limit / 100 * dose_gy})


def _lost(was: ProtocolFile, now: ProtocolFile, priority: Judged) -> Iterator[LimitEntry]:
    """Limits of a priority for which, by the new readings, no other one stands in the same course and as strictly."""
    after = tuple(_in_force(now))
    for course, limit in _in_force(was):
        if limit.priority == priority and not any(
            where in (course, ("limits",))
            and comparable(limit, other)
            and not loosens(limit, other)
            and not less_severe(priority, other.priority)
            for where, other in after
        ):
            yield limit


def _in_force(file: ProtocolFile) -> Iterator[tuple[Place, LimitEntry]]:
    """Limits that hold by the default readings, or for some patients, each with the list that it stands in."""
    values = look(file, {}, readings_taken(file, {})).values
    for place, entry in walk(file):
        if not isinstance(entry, LimitEntry) or place[0] == "comparator":
            continue
        if entry.when is None or entry.when.evaluate(values).answer != "no":
            yield place[:-1], entry


def _depending(file: ProtocolFile, rule: str, priority: Judged) -> Iterator[str]:
    """Limits that another reading of a rule may change for some patients: which ones, only their facts tell."""
    values = look(file, {}, readings_taken(file, {})).values
    for _, entry in walk(file):
        if isinstance(entry, TableLimit):
            if entry.priority == priority and rule in _readings_of(file, entry.table):
                yield f"{entry.structure} {entry.metric} by the table {entry.table}"
        elif isinstance(entry, LimitEntry) and entry.priority == priority and entry.when is not None:
            unknown = entry.when.evaluate(values).answer == "unknown"
            if unknown and rule in _readings_in(file, entry.when):
                yield limit_in_words(entry)


def _readings_of(file: ProtocolFile, table: str) -> set[str]:
    """Rules on whose reading a decision table rests, and the tables that it looks at."""
    rows = [row for one in tables_of(file) if one.name == table for row in one.rows]
    return {rule for row in rows for rule in _readings_in(file, row.when)}


def _readings_in(file: ProtocolFile, condition: Condition) -> set[str]:
    found: set[str] = set()
    for _, node in walk(condition):
        if isinstance(node, ByReading | ReadingIs):
            found.add(node.reading)
        elif isinstance(node, OutcomeIs):
            found |= _readings_of(file, node.outcome)
    return found

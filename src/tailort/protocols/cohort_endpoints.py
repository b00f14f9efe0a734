"""Endpoints of a cohort: what each is counted from and to, and the times of its patients.

Months are days divided by 30.4375 (`DAYS_PER_MONTH`). Nothing is guessed: where a day is needed and not known, the
patient is left out and the reason is told.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tailort.cohort.patients import (
    CENSORED,
    DAYS_PER_MONTH,
    EVENT,
    DistinctFacts,
    FollowedPatient,
    TimesToEvent,
    distinct,
)
from tailort.errors import InputError
from tailort.patient import Fact
from tailort.protocols.condition import ReadingIs, of_reading
from tailort.protocols.endpoints import ComparedEntry, EndpointEntry, GroupTest, OriginEntry
from tailort.protocols.known import readings_taken
from tailort.protocols.protocol import Protocol
from tailort.protocols.records.cohort_mapping import CENSORED_WORD, EVENT_WORD, CohortMapping, MonthsGiven
from tailort.protocols.records.table import AbsentFact
from tailort.protocols.schema import ProtocolFile

DEATH = "death_date"
"""The fact that is the day of death, whatever the protocol."""
Chosen = TypeVar("Chosen", OriginEntry, ComparedEntry)


@dataclass(frozen=True)
class Endpoint:
    """A time to an event as one reading of a protocol defines it.

    Parameters
    ----------
    name : str
        "local failure".
    kind : {"primary", "secondary"}
        In the protocol.
    at_years : tuple of int
        When the protocol asks for its rate.
    counted_from : str
        In words; the fact is `origin`.
    events, competing : tuple of str
        In words.
    censored_at : str
        In words; the fact is `last_follow_up`.
    origin, last_follow_up : str or None
        Facts, both dates; None where the endpoint is told in months only.
    event_facts, competing_facts : tuple of str
        Facts, all dates; as many competing facts as competing events.
    months : MonthsGiven or None
        Facts that tell the time in months.
    tests : tuple of {"gray", "log-rank"}
        By which groups are compared, the one that counts first; empty where the protocol tells none.
    interval : str or None
        How the confidence interval of the curve is made, where that is told.
    rules : tuple of str
        Of the protocol.
    readings : tuple of str
        How its ambiguous rules are taken, in words.
    """

    name: str
    kind: Literal["primary", "secondary"]
    at_years: tuple[int, ...]
    counted_from: str
    events: tuple[str, ...]
    competing: tuple[str, ...]
    censored_at: str
    origin: str | None
    event_facts: tuple[str, ...]
    competing_facts: tuple[str, ...]
    last_follow_up: str | None
    months: MonthsGiven | None = None
    tests: tuple[GroupTest, ...] = ()
    interval: str | None = None
    rules: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()

    @property
    def dates(self) -> tuple[str, ...]:
        """Facts from which it is computed by dates; none where it is told in months only."""
        if self.origin is None or self.last_follow_up is None:
            return ()
        return (self.origin, *self.event_facts, *self.competing_facts, self.last_follow_up)


def cohort_endpoints(
    mapping: CohortMapping, protocol: Protocol | None = None, readings: Mapping[str, str] | None = None
) -> tuple[Endpoint, ...]:
    """Times to an event of a cohort: the protocol's, then those of the mapping file.

    Parameters
    ----------
    mapping : CohortMapping
        Of the table.
    protocol : Protocol or None
        None takes the endpoints of the mapping alone.
    readings : dict of str
        Readings to take in place of the protocol's defaults, by rule.

    Raises
    ------
    InputError
        When a reading is not known, an endpoint is told twice, or the mapping gives months of an endpoint that is not
        there or is counted from another day.
    """
    found = endpoints_of(protocol.file.endpoints, protocol.file, readings) if protocol is not None else ()
    if protocol is None and readings:
        raise InputError(f"'{next(iter(readings))}' is a reading of a protocol's rule, but no protocol is given")
    own = {one.name for one in found}
    for entry in mapping.endpoints:
        if entry.name in own:
            raise InputError(f"the mapping tells the endpoint '{entry.name}', which the protocol defines; remove it")
    every = {one.name: one for one in (*found, *endpoints_of(mapping.endpoints))}
    for given in mapping.times:
        if given.endpoint not in every:
            have = ", ".join(every) or "none"
            raise InputError(f"the mapping gives months of '{given.endpoint}', which is no endpoint; there are: {have}")
        every[given.endpoint] = _in_months(every[given.endpoint], given, mapping)
    return tuple(every.values())


def _in_months(one: Endpoint, given: MonthsGiven, mapping: CohortMapping) -> Endpoint:
    """Return an endpoint with the months that a mapping gives of it."""
    if given.counted_from != one.counted_from:
        raise InputError(
            f"the mapping counts the months of '{one.name}' from '{given.counted_from}', but it is counted from "
            f"'{one.counted_from}'" + (f" ({'; '.join(one.readings)})" if one.readings else "")
        )
    if one.dates and given.competing not in ((), one.competing):
        raise InputError(f"'{one.name}' tells its competing events with its dates; remove 'competing' from 'times'")
    competing = one.competing if one.dates else given.competing
    words = (CENSORED_WORD, EVENT_WORD, *competing)
    (column,) = [column for column in mapping.columns.values() if column.fact == given.status]
    for meaning in column.codes.values():
        if meaning not in words:
            raise InputError(f"the status of '{one.name}' can be {', '.join(words)}; the mapping has '{meaning}'")
    return replace(one, months=given, competing=competing)


def endpoints_of(
    entries: Sequence[EndpointEntry],
    file: ProtocolFile | None = None,
    readings: Mapping[str, str] | None = None,
) -> tuple[Endpoint, ...]:
    """Return the times to an event among endpoints, as ambiguous rules are read.

    Parameters
    ----------
    entries : sequence of EndpointEntry
        Of a protocol or a mapping file.
    file : ProtocolFile or None
        Whose rules are read; None where there are none.
    readings : dict of str
        Readings to take in place of the file's defaults, by rule.
    """
    taken = readings_taken(file, readings or {}) if file is not None else {}
    values = {of_reading(rule): name for rule, name in taken.items()}

    def holds(when: ReadingIs | None) -> bool:
        return when is None or when.evaluate(values).answer == "yes"

    def first(of: Sequence[Chosen]) -> Chosen | None:
        return next((entry for entry in of if holds(entry.when)), None)

    names = {choice.rule: choice.names for choice in file.readings} if file is not None else {}
    found = []
    for entry in entries:
        if entry.counted_from is None or entry.censored_at is None or not holds(entry.when):
            continue
        dates = entry.dates
        origin = first(dates.origin) if dates is not None else None
        tests = first(entry.compared_by)
        found.append(
            Endpoint(
                name=entry.name,
                kind=entry.kind,
                at_years=entry.at_years,
                counted_from=(origin.text if origin is not None else None) or entry.counted_from,
                events=entry.events,
                competing=tuple(one.event for one in dates.competing) if dates is not None else (),
                censored_at=entry.censored_at,
                origin=origin.fact if origin is not None else None,
                event_facts=dates.events if dates is not None else (),
                competing_facts=tuple(one.fact for one in dates.competing) if dates is not None else (),
                last_follow_up=dates.last_follow_up if dates is not None else None,
                tests=tests.tests if tests is not None else (),
                interval=entry.interval,
                rules=entry.rules,
                readings=tuple(f"{rule}: {names[rule][taken[rule]]}" for rule in entry.rules if rule in taken),
            )
        )
    return tuple(found)


def missing_facts(patients: Sequence[FollowedPatient], endpoint: Endpoint) -> tuple[str, ...]:
    """Facts that an endpoint needs and no patient has, not even as unknown: no column of the table tells them."""

    def lacking(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if all(name not in patient.facts for patient in patients))

    in_months = () if endpoint.months is None else (endpoint.months.months, endpoint.months.status)
    if in_months and not lacking(in_months):
        return ()
    return lacking(endpoint.dates or in_months or (f"dates of {endpoint.name}",))


class Outcome(NamedTuple):
    """Days or months to the end, what came then (0 censored), and on which sides of it something is worth telling."""

    months: float
    status: int
    together: bool = False
    cut: bool = False
    unseen: bool = False


def endpoint_times(
    patients: Sequence[FollowedPatient], endpoint: Endpoint, *, until: dt.date | None = None
) -> TimesToEvent:
    """Compute the times of an endpoint.

    Parameters
    ----------
    patients : sequence of FollowedPatient
        The cohort.
    endpoint : Endpoint
        As the protocol, under one reading, defines it.
    until : date or None
        Administrative cut-off: what happened later is not seen, and the patient is censored on that day.

    Returns
    -------
    TimesToEvent
        In months of 30.4375 days, in the order of the patients. An event on the day of origin has time 0. Where the
        event and a competing event have the same day, the event came first.

    Raises
    ------
    InputError
        When the table lacks a fact that the endpoint needs, or `until` is given and the times are in months alone.
    """
    lacking = missing_facts(patients, endpoint)
    if lacking:
        raise InputError(
            f"{endpoint.name} cannot be computed: the table does not tell {', '.join(lacking)}; map a column to it"
        )
    left_out, found = _outcomes(patients, endpoint, until)
    known = [one.pseudonym for one in patients if one.pseudonym not in left_out] if left_out else None
    return TimesToEvent(
        endpoint=endpoint.name,
        origin=endpoint.counted_from,
        event=" or ".join(endpoint.events),
        competing=endpoint.competing,
        pseudonyms=tuple([one.pseudonym for one in patients] if known is None else known),
        months=found.months,
        status=found.status,
        left_out=left_out,
        rules=endpoint.rules,
        readings=endpoint.readings,
        notes=tuple(_notes(endpoint, found, until)),
    )


@dataclass(frozen=True, eq=False)
class _Outcomes:
    """As `Outcome`, an array for all patients of each."""

    months: NDArray[np.float64]
    status: NDArray[np.int64]
    together: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    unseen: NDArray[np.bool_]

    def of(self, some: NDArray[np.bool_]) -> _Outcomes:
        return _Outcomes(self.months[some], self.status[some], self.together[some], self.cut[some], self.unseen[some])


def _outcomes(
    patients: Sequence[FollowedPatient], endpoint: Endpoint, until: dt.date | None
) -> tuple[dict[str, str], _Outcomes]:
    """As `outcome` of each patient, and why it is not known of some; where every day is told, of all at once."""
    if endpoint.dates and endpoint.months is None:
        plain, found = _by_plain_dates(patients, endpoint, until)
    else:
        nobody = np.zeros(len(patients), dtype=bool)
        plain = nobody
        found = _Outcomes(nobody * 0.0, nobody.astype(np.int64), nobody.copy(), nobody.copy(), nobody.copy())
    left_out, known = {}, np.ones(len(patients), dtype=bool)
    for n in np.flatnonzero(~plain).tolist():
        told = outcome(patients[n].facts, endpoint, until)
        if isinstance(told, str):
            left_out[patients[n].pseudonym] = told
            known[n] = False
            continue
        found.months[n], found.status[n] = told.months, told.status
        found.together[n], found.cut[n], found.unseen[n] = told.together, told.cut, told.unseen
    return left_out, found.of(known) if left_out else found


def _by_plain_dates(
    patients: Sequence[FollowedPatient], endpoint: Endpoint, until: dt.date | None
) -> tuple[NDArray[np.bool_], _Outcomes]:
    """What `_by_dates` finds, and of which patients it does: of those with an origin, an end and no unknown day."""
    cut_off = np.inf if until is None else float(until.toordinal())
    origin, _ = days_told(distinct(patients, endpoint.origin or ""))
    seen, _ = days_told(distinct(patients, endpoint.last_follow_up or ""))
    plain = origin <= cut_off
    event = np.full(len(patients), np.nan)
    for name in endpoint.event_facts:
        day, is_unknown = days_told(distinct(patients, name))
        event, plain = np.fmin(event, day), plain & ~is_unknown
    last, status = event.copy(), np.full(len(patients), EVENT, dtype=np.int64)
    together = np.zeros(len(patients), dtype=bool)
    for n, name in enumerate(endpoint.competing_facts, EVENT + 1):
        day, is_unknown = days_told(distinct(patients, name))
        plain &= ~is_unknown
        together |= day == event
        is_first = (day < last) | (np.isnan(last) & ~np.isnan(day))
        last[is_first], status[is_first] = day[is_first], n
    cut, nothing = last > cut_off, np.isnan(last)
    unseen = (seen < last) & ~cut
    last[nothing] = np.minimum(seen[nothing], cut_off)
    last[cut] = cut_off
    status[cut | nothing], together[cut | nothing] = CENSORED, False
    plain &= last >= origin
    return plain, _Outcomes((last - origin) / DAYS_PER_MONTH, status, together, cut, unseen)


def days_told(told: DistinctFacts) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Day of a fact of each patient, not a number without one, and whether it came on a day that nobody knows."""
    days = [
        fact.value.toordinal() if fact is not None and isinstance(fact.value, dt.date) else np.nan
        for fact in told.facts
    ]
    unknown = [fact is not None and _is_unknown(fact) for fact in told.facts]
    return np.array(days, dtype=np.float64)[told.which], np.array(unknown, dtype=bool)[told.which]


def _is_unknown(fact: Fact) -> bool:
    return isinstance(fact, AbsentFact) and bool(fact.code) and fact.absence != "not applicable"


def outcome(facts: Mapping[str, Fact], endpoint: Endpoint, until: dt.date | None = None) -> Outcome | str:
    """Time and status of one patient, by dates where they are told, else in months; or why they are not known."""
    by_dates = _by_dates(facts, endpoint, until) if endpoint.dates else f"no dates of {endpoint.name} are told"
    if not isinstance(by_dates, str) or endpoint.months is None:
        return by_dates
    in_months = by_months(facts, endpoint)
    if until is not None and not isinstance(in_months, str):
        raise InputError(
            f"{endpoint.name} is told in months, so it cannot be cut off on {until.isoformat()}; give its dates"
        )
    return in_months


def by_months(facts: Mapping[str, Fact], endpoint: Endpoint) -> Outcome | str:
    """Time and status of one patient as the table tells them in months; or why they are not known."""
    given = endpoint.months
    if given is None:
        return f"no months of {endpoint.name} are told"
    months, status = _value(facts, given.months), _value(facts, given.status)
    if not isinstance(months, int | float):
        return f"{given.months} is unknown"
    if not isinstance(status, str):
        return f"{given.status} is unknown"
    return Outcome(float(months), (CENSORED_WORD, EVENT_WORD, *endpoint.competing).index(status))


def _by_dates(facts: Mapping[str, Fact], endpoint: Endpoint, until: dt.date | None) -> Outcome | str:
    origin = _value(facts, endpoint.origin or "")
    if not isinstance(origin, dt.date):
        return f"{endpoint.origin} is unknown"
    if until is not None and origin > until:
        return f"{endpoint.origin} is after {until.isoformat()}, the day of the cut-off"
    event = _first_day(facts, endpoint.event_facts)
    if isinstance(event, str):
        return event
    last, status = event, EVENT
    together = False
    for n, name in enumerate(endpoint.competing_facts, EVENT + 1):
        day = _first_day(facts, (name,))
        if isinstance(day, str):
            # Nothing comes after death, so an unknown day of death is after what is known.
            if name == DEATH and event is not None:
                continue
            return day
        together |= day is not None and day == event
        if day is not None and (last is None or day < last):
            last, status = day, n
    cut = until is not None and last is not None and last > until
    seen = _value(facts, endpoint.last_follow_up or "")
    unseen = last is not None and isinstance(seen, dt.date) and seen < last
    if last is None or cut:
        if last is None and not isinstance(seen, dt.date):
            return f"neither an event nor {endpoint.last_follow_up} is known"
        status, together = CENSORED, False
        days = [day for day in (seen if last is None else None, until) if isinstance(day, dt.date)]
        last = min(days)
    if last < origin:
        return f"{endpoint.origin} is after the last day known"
    return Outcome((last - origin).days / DAYS_PER_MONTH, status, together, cut, unseen and not cut)


def _first_day(facts: Mapping[str, Fact], names: Sequence[str]) -> dt.date | str | None:
    """Earliest of some days; None where none of them came, a sentence where one came on an unknown day."""
    first: dt.date | None = None
    unknown = ""
    for name in names:
        fact = facts.get(name)
        if fact is None:
            continue
        if isinstance(fact.value, dt.date):
            first = fact.value if first is None or fact.value < first else first
        elif _is_unknown(fact):
            unknown = unknown if unknown and name == DEATH else name
    if unknown and not (unknown == DEATH and first is not None):
        return f"{unknown} is unknown ({_code(facts[unknown])})"
    return first


def _code(fact: Fact) -> str:
    return fact.code if isinstance(fact, AbsentFact) else ""


def _value(facts: Mapping[str, Fact], name: str) -> object:
    fact = facts.get(name)
    return None if fact is None else fact.value


def _notes(endpoint: Endpoint, found: _Outcomes, until: dt.date | None) -> Iterable[str]:
    yield f"months are days divided by {DAYS_PER_MONTH}"
    at_once = Counter(found.status[found.months == 0].tolist())
    told = {CENSORED: "censored", EVENT: "the event", **dict(enumerate(endpoint.competing, EVENT + 1))}
    for status, number in sorted(at_once.items()):
        yield f"{number} at time 0, on the day of {endpoint.counted_from}: {told[status]}"
    together = int(found.together.sum())
    if together:
        yield f"{together} with the event and {' or '.join(endpoint.competing)} on the same day: the event came first"
    unseen = int(found.unseen.sum())
    if unseen:
        yield f"{unseen} with a death after the last follow-up: counted on its day"
    if until is not None:
        cut = int(found.cut.sum())
        yield f"cut off on {until.isoformat()}: {cut} with what happened later, censored on that day"

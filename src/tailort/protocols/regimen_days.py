"""Chemotherapy that begins before radiotherapy, in days from its first one. Never an order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tailort.errors import InputError
from tailort.protocols.drugs import DrugsSection, RegimenEntry


@dataclass(frozen=True)
class DrugDays:
    """A drug from one day to another, both included; day 1 is the first day of the first regimen.

    Parameters
    ----------
    regimen : str
        Id of the regimen; of a supporting drug that of the regimen it supports.
    cycle : int or None
        From 1; None for a supporting drug.
    drug : str
        Its name.
    first_day, last_day : int
        Days of the course.
    infusion_hours : float or None
        How long one infusion runs, where the file tells it.
    rules : tuple of str
        Ids of the rules it rests on.
    """

    regimen: str
    cycle: int | None
    drug: str
    first_day: int
    last_day: int
    infusion_hours: float | None
    rules: tuple[str, ...]


@dataclass(frozen=True)
class RegimenDays:
    """Days of several regimens that follow each other.

    Parameters
    ----------
    drugs : tuple of DrugDays
        In the order of their first days.
    starts : dict of int
        First day of each regimen, by id; that of the concurrent one is the first day of radiotherapy.
    notes : tuple of str
        What a reader must know.
    """

    drugs: tuple[DrugDays, ...]
    starts: dict[str, int]
    notes: tuple[str, ...]


def regimen_days(section: DrugsSection, regimen: str, cycles_before: int) -> RegimenDays:
    """Return the days of a regimen and of the one it comes after.

    Parameters
    ----------
    section : DrugsSection
        Of a protocol file.
    regimen : str
        Id of one with `after` and drugs of its own.
    cycles_before : int
        Cycles of the regimen before it that were given, of the numbers that the file allows.

    Raises
    ------
    InputError
        When there is no such regimen, or the file does not allow that number of cycles.
    """
    known = {entry.id: entry for entry in section.regimens}
    own = known.get(regimen)
    if own is None or own.after is None or own.cycle_days is None:
        have = ", ".join(entry.id for entry in section.regimens if entry.after is not None) or "none"
        raise InputError(f"'{regimen}' is no regimen that comes after another one; those are: {have}")
    before = known[own.after.regimen]
    if cycles_before not in before.cycles or before.cycle_days is None:
        allowed = " or ".join(str(count) for count in before.cycles) or "none"
        raise InputError(f"{before.id}: {cycles_before} cycles were given; the protocol allows {allowed}")
    start = (cycles_before - 1) * before.cycle_days + own.after.day
    starts = {before.id: 1, own.id: start}
    made = [*_cycles(before, 1, cycles_before), *_cycles(own, start, min(own.cycles))]
    notes = []
    for window in section.windows:
        if window.regimen not in starts:
            continue
        for first, last in window.days:
            # A window that begins after the last cycle belongs to a cycle that is not given.
            if first > cycles_before * before.cycle_days and window.regimen == before.id:
                notes.append(
                    f"{window.name} on days {first} to {last} belongs to a further cycle of {before.id} and is left out"
                )
                continue
            shift = starts[window.regimen] - 1
            made.append(DrugDays(window.regimen, None, window.name, first + shift, last + shift, None, window.rules))
    return RegimenDays(
        tuple(sorted(made, key=lambda one: (one.first_day, one.last_day, one.drug))), starts, tuple(notes)
    )


def _cycles(regimen: RegimenEntry, start: int, count: int) -> list[DrugDays]:
    assert regimen.cycle_days is not None  # a regimen with drugs has it
    made = []
    for cycle in range(count):
        day_0 = start - 1 + cycle * regimen.cycle_days
        for drug in regimen.drugs:
            for first, last in runs_of(drug.days):
                rules = tuple(dict.fromkeys((*regimen.rules, *drug.rules)))
                made.append(
                    DrugDays(regimen.id, cycle + 1, drug.name, day_0 + first, day_0 + last, drug.infusion_hours, rules)
                )
    return made


def runs_of(days: Sequence[int]) -> list[tuple[int, int]]:
    """Return days in a row as first and last.

    Examples
    --------
    >>> runs_of((1, 2, 3, 8))
    [(1, 3), (8, 8)]
    """
    runs: list[tuple[int, int]] = []
    for day in days:
        if runs and runs[-1][1] == day - 1:
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    return runs

"""From a case and scans of several days to a monitored response, and what a protocol's triggers say of it."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tailort.errors import InputError
from tailort.geometry import Grid
from tailort.patient import Case, Fact, FunctionalScan, Structure
from tailort.protocols import Protocol
from tailort.protocols.proposals import Individual, proposals
from tailort.targets.uptake_methods import Chosen, evidence
from tailort.workflow.clock import StageClock
from tailort.workflow.functional import START, Reading, functional_image, notes_of
from tailort.workflow.response import (
    REPEATS_PERCENT,
    REPEATS_SOURCE,
    UPTAKE_APART_MIN,
    Series,
    series_of,
)
from tailort.workflow.response_facts import TWO_WEEKS, facts_of

# What is looked at beyond the structure: pictures show it, and balls of 1 cm3 find room in it.
_AROUND_MM = 20.0
# Spacing of a scan that had to be registered, mm: its own voxels do not lie along the planning CT's axes.
_FINE_MM = 1.0
NOT_SEEN = (
    "The structure is that of the planning CT on every scan: a tumour that shrinks leaves part of it, and what takes "
    "up tracer beside the tumour (inflamed mucosa, heart, stomach) is counted where it lies inside.",
    "SUV follows weight and blood sugar; an inflamed oesophagus under radiotherapy takes up FDG too, and the 35 % of "
    "RB-155 were found without radiotherapy [lit-recalled].",
    "A fall is known no better than scans repeat: one near a threshold cannot be told from one on its other side.",
)
"""What a reader must know of every response."""


@dataclass(frozen=True, eq=False)
class Response:
    """A series of uptake with what a protocol's triggers say of it; nothing of it is applied.

    Parameters
    ----------
    case : Case
        With the planning CT and the record.
    series : Series
        By date.
    facts : tuple of Fact
        Found by the series or told by the record, which goes first; a value of None is unknown.
    protocol : Protocol
        Whose triggers were asked.
    triggers : tuple of Individual
        Those that ask for one of the facts.
    differing : tuple of str
        Where record and series tell different things.
    """

    case: Case
    series: Series
    facts: tuple[Fact, ...]
    protocol: Protocol
    triggers: tuple[Individual, ...]
    differing: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What belongs on the first page of a report."""
        structure, other = self.case.structures[self.series.structure], []
        if structure.role != "GTV":
            other.append(
                f"'{structure.name}' is no GTV by its role ({structure.role}), and triggers ask about the tumour"
            )
        source, mark = evidence(self.series.threshold, self.series.quantity.id)
        if mark == "ambiguous":
            other.append(f"the threshold {self.series.threshold} has no source of its own: {source}")
        return (*self.series.warnings, *other, *self.differing)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed, and how the images came about."""
        told = [f"{scan.image.date}: {note}" for scan in self.series.scans for note in notes_of(scan.image)]
        return tuple(dict.fromkeys((*self.case.notes, *told)))

    @property
    def conventions(self) -> tuple[str, ...]:
        """What the numbers rest on, for people."""
        series = self.series
        source, mark = evidence(series.threshold, series.quantity.id)
        of = ", of each scan's own highest" if series.threshold.method.id == "relative" else ""
        (day, apart), (low, high) = TWO_WEEKS, REPEATS_PERCENT
        told = [
            f"volume and total: {series.threshold}{of} ({source}; {mark})",
            "peak: highest mean of a ball of 1 cm3 whose middle lies in the structure",
            f"scans whose uptake times differ by more than {UPTAKE_APART_MIN:g} min (EANM) [lit-recalled], or of "
            "another scanner, reconstruction or size of voxels, are shown and not compared for any trigger",
        ]
        if series.quantity.id == "fdg-suv":
            told += [
                f"the scan of 2 weeks is the one nearest to day {day} of {day - apart} to {day + apart} after the "
                "first fraction [convention of this program], and is compared with the first scan where that is of a "
                "day before treatment",
                f"changes of SUVmax from {low:g} to {high:+g} % are what repeats ({REPEATS_SOURCE}); a larger one at "
                "the latest scan counts as another metabolism [convention of this program], a smaller one tells "
                "nothing",
            ]
        return tuple(told)

    def as_dict(self) -> dict[str, Any]:
        """As response.json."""
        series, quantity = self.series, self.series.quantity
        source, mark = evidence(series.threshold, quantity.id)
        return {
            "structure": series.structure, "quantity": quantity.id, "text": quantity.text, "unit": quantity.unit,
            "radiotherapy_start_date": None if series.start is None else series.start.isoformat(),
            "threshold": {"method": str(series.threshold), "source": source, "mark": mark},
            "scans": [scan.as_dict() for scan in series.scans],
            "facts": [{"name": fact.name, "value": fact.value, "source": fact.source} for fact in self.facts],
            "protocol": {"id": self.protocol.id, "version": self.protocol.version, "status": self.protocol.status},
            "triggers": [one.as_dict() for one in self.triggers], "conventions": list(self.conventions),
            "warnings": list(self.warnings), "limits": list(NOT_SEEN),
        }  # fmt: skip


def respond(
    case: Case,
    scans: Sequence[FunctionalScan],
    structure_name: str,
    threshold: Chosen,
    protocol: Protocol,
    clock: StageClock,
    reading: Reading,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Response:
    """Follow the uptake of a drawn structure over scans of several days.

    Parameters
    ----------
    case : Case
        With the planning CT, the structure, and the record, which tells when treatment starts.
    scans : sequence of FunctionalScan
        Two or more, of one quantity, in any order.
    structure_name : str
        As drawn on the planning CT.
    threshold : Chosen
        As in `series_of`.
    protocol : Protocol
        Whose triggers are asked.
    clock : StageClock
        Times the stages.
    reading : Reading
        How the images are brought onto the planning CT; it has to allow scans of days of treatment.
    stop : callable
        Whether a person wants to stop.

    Raises
    ------
    InputError, GeometryError, MissingStructureError
        See `functional_image` and `series_of`; for a protocol without triggers; where facts contradict each other.

    Notes
    -----
    A scan in the planning CT's frame of reference is read on its own voxels. One that was registered is interpolated to
    1 mm, which can only lower its highest value.
    """
    require_triggers(protocol)
    structure = case.structures[structure_name]
    if structure.is_empty:
        raise InputError(f"structure '{structure.name}' has no contours, so it has no response")
    images = [
        functional_image(
            case, scan, clock, reading, grid=_grid(case, scan, structure), target=structure, stop=stop
        )
        for scan in scans
    ]  # fmt: skip
    at = case.facts.get(START)
    start = at.value if at is not None and isinstance(at.value, dt.date) else None
    with clock.stage("measure"):
        series = series_of(
            images, structure, threshold, start, slice_thickness_mm=case.ct.image.grid.spacing_mm[0]
        )  # fmt: skip
    facts, differing = _with_record(case, facts_of(series))
    known = {**case.facts, **{fact.name: fact for fact in facts}}
    names = {fact.name for fact in facts}
    asked = [one for one in proposals(protocol, known).triggers if names & set(one.finding.facts)]
    return Response(case, series, facts, protocol, tuple(asked), differing)


def require_triggers(protocol: Protocol) -> None:
    """Refuse a protocol that has no triggers.

    Raises
    ------
    InputError
        Naming it.
    """
    if not protocol.file.triggers:
        raise InputError(f"protocol '{protocol.id}' has no triggers; name one that has, such as individualised")


def _with_record(case: Case, found: Sequence[Fact]) -> tuple[tuple[Fact, ...], tuple[str, ...]]:
    """What a person recorded goes first, and where the series tells something else that is told."""
    facts, differing = [], []
    for fact in found:
        recorded = case.facts.get(fact.name)
        if recorded is None or recorded.value is None:
            facts.append(fact)
            continue
        facts.append(Fact(fact.name, recorded.value, "the record", recorded.date))
        if fact.value is not None and not _alike(fact.value, recorded.value):
            differing.append(
                f"{fact.name}: the record tells {told(recorded.value)}, the scans {told(fact.value)} ({fact.source}); "
                "the record's was taken"
            )
    return tuple(facts), tuple(differing)


def told(value: Any) -> str:
    """A fact's value in words."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _alike(one: Any, other: Any) -> bool:
    """Whether two values are the same, numbers to three digits."""
    numbers = [isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)]
    return math.isclose(one, other, rel_tol=5e-3) if all(numbers) else bool(one == other)


def _grid(case: Case, scan: FunctionalScan, structure: Structure) -> Grid:
    """Where a scan is measured: its own voxels around the structure, or 1 mm where it has to be registered."""
    low, high = structure.bounds_mm()
    low, high = low - _AROUND_MM, high + _AROUND_MM
    own, frame = scan.scan.image.grid, case.ct.image.grid.frame_of_reference
    if own.frame_of_reference != frame or not own.is_axial:
        shape = np.ceil((high - low)[::-1] / _FINE_MM).astype(int) + 1
        return Grid.axial(shape, (_FINE_MM,) * 3, low, frame)
    index = own.to_index(np.stack([low, high]))
    first = np.floor(index.min(axis=0))
    shape = (np.ceil(index.max(axis=0)) - first).astype(int) + 1
    return Grid.axial(shape, own.spacing_mm, own.to_world(first), frame)

"""The files of a decision: decision.json, decision.txt, and under a pseudonym visits.ics and fhir.json."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tailort.cli.decide_text import show
from tailort.cli.versions import RESEARCH, run_versions
from tailort.patient import Prescription
from tailort.protocols.course_dates import fractions_of_course
from tailort.protocols.records import course_bundle
from tailort.protocols.scores import icalendar

if TYPE_CHECKING:
    from tailort.cli.decide_commands import Decided

TEXT_WIDTH = 140


def write_decision(
    decided: Decided, told: Mapping[str, Any], folder: Path, record: Path, patient: str, options: Mapping[str, Any]
) -> tuple[str, ...]:
    """Write a decision and what the protocol asks for.

    Parameters
    ----------
    decided : Decided
        Of one patient.
    told : dict
        What --json prints.
    folder : Path
        Where to.
    record : Path
        The clinical record, for its hash.
    patient : str
        Pseudonym; empty when nobody told one.
    options : dict
        What was asked, for run.json.

    Returns
    -------
    tuple of str
        What was left out, and why.
    """
    _json(folder / "decision.json", told)
    page = Console(file=io.StringIO(), width=TEXT_WIDTH, markup=False, emoji=False)
    show(page, decided.decision, decided.treatment, everything=True)
    assert isinstance(page.file, io.StringIO)
    lines = (line.rstrip() for line in page.file.getvalue().splitlines())
    (folder / "decision.txt").write_text("\n".join([*lines, "", RESEARCH, ""]), encoding="utf-8")
    left_out = [*_calendar(decided, folder, patient), *_fhir(decided, folder, patient)]
    _run(folder, {record.name: hashlib.sha256(record.read_bytes()).hexdigest()}, options)
    return tuple(left_out)


def write_cohort(
    told: Mapping[str, Any], rows: Sequence[Sequence[str]], folder: Path, inputs: Sequence[Path],
    options: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write the decisions of a table: decisions.json, and decisions.csv with one line a patient."""
    _json(folder / "decisions.json", told)
    with (folder / "decisions.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    _run(folder, {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in inputs}, options)


def calendar_text(decided: Decided, patient: str, today: dt.date) -> str:
    """Return the dates of a treatment as iCalendar text; the same input on the same day gives the same text."""
    assert decided.treatment is not None
    events = [one.event() for one in decided.treatment.calendar.appointments]
    stamp = dt.datetime.combine(today, dt.time(), dt.UTC)
    return icalendar(events, f"{patient}/{decided.protocol.id}", stamp)


def _calendar(decided: Decided, folder: Path, patient: str) -> list[str]:
    if decided.treatment is None:
        return []
    if not decided.treatment.calendar.appointments:
        return ["visits.ics: no date is known (--start, or radiotherapy_start_date in the record)"]
    if not patient:
        return ["visits.ics: it needs the patient's pseudonym (--patient, or patient_id in the record)"]
    # Bytes, so that every line keeps its CR LF.
    (folder / "visits.ics").write_bytes(calendar_text(decided, patient, decided.today).encode("utf-8"))
    return []


def _fhir(decided: Decided, folder: Path, patient: str) -> list[str]:
    if not patient:
        return ["fhir.json: it needs the patient's pseudonym (--patient, or patient_id in the record)"]
    course: list[Prescription] = []
    if decided.course is not None:
        entries = decided.course.file.prescriptions
        # The dose is that of all phases, so the fractions must be too.
        course = [replace(p, fractions=fractions_of_course(entries, p.target)) for p in decided.course.course()]
    bundle = course_bundle(patient, course, "prescribed", decision=decided.decision)
    _json(folder / "fhir.json", bundle)
    return []


def _run(folder: Path, inputs: Mapping[str, str], options: Mapping[str, Any]) -> None:
    _json(folder / "run.json", {**run_versions(), "options": dict(options), "inputs_sha256": dict(inputs)})


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")

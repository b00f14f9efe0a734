"""Files of a cohort: a table, its mapping file, and scorecards of run folders."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailort.cli.collection import without_collection
from tailort.cohort.patients import FollowedPatient
from tailort.errors import InputError
from tailort.protocols import Protocol
from tailort.protocols.cohort_endpoints import Endpoint, cohort_endpoints
from tailort.protocols.records.cohort_mapping import CohortMapping, load_cohort_mapping
from tailort.protocols.records.cohort_scorecards import with_scorecards
from tailort.protocols.records.cohort_table import parse_cohort
from tailort.text_files import read_text

SCORECARD = "scorecard.json"


@dataclass(frozen=True)
class CohortRead:
    """A cohort as its files tell it.

    Parameters
    ----------
    patients : tuple of FollowedPatient
        By pseudonym.
    endpoints : tuple of Endpoint
        Of the protocol and of the mapping file, as ambiguous rules are read.
    mapping : CohortMapping
        What its columns are.
    """

    patients: tuple[FollowedPatient, ...]
    endpoints: tuple[Endpoint, ...]
    mapping: CohortMapping


def read_cohort(
    table: Path,
    mapping: Path,
    *,
    protocol: Protocol | None = None,
    readings: Mapping[str, str] | None = None,
    scorecards: Path | None = None,
    today: dt.date,
) -> CohortRead:
    """Read a cohort.

    Parameters
    ----------
    table : Path
        CSV.
    mapping : Path
        YAML, see docs/cohort-tables.md.
    protocol : Protocol or None
        Its facts check the table, its endpoints are the cohort's; None takes those of the mapping file.
    readings : dict of str
        Readings of the protocol's ambiguous rules.
    scorecards : Path or None
        A folder with a run folder for each pseudonym.
    today : date
        Dates after it are refused.

    Raises
    ------
    InputError
        When a file cannot be read as what it is said to be.
    """
    told = load_cohort_mapping(mapping)
    endpoints = cohort_endpoints(told, protocol, readings)
    entries = protocol.file.facts if protocol is not None else ()
    text = read_text(table, "table")
    with without_collection():
        patients = parse_cohort(text, told, today=today, entries=entries, endpoints=endpoints, origin=str(table))
    if scorecards is not None:
        patients = with_scorecards(patients, read_scorecards(scorecards))
    return CohortRead(patients, endpoints, told)


def read_scorecards(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows of the scorecards in a folder by pseudonym, the name of the run folder (or of a JSON file) that has them.

    Raises
    ------
    InputError
        When there is no such folder, no scorecard in it, or one cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"'{folder}' is no folder; expected one with a run folder for each pseudonym")
    cards: dict[str, list[dict[str, Any]]] = {}
    for entry in sorted(folder.iterdir()):
        path = entry / SCORECARD if entry.is_dir() else entry
        if path.suffix != ".json" or not path.is_file():
            continue
        name = entry.name if entry.is_dir() else entry.stem
        if name in cards:
            raise InputError(f"'{folder}' has two scorecards of '{name}', a run folder and a file; remove one")
        try:
            rows = json.loads(read_text(path, "scorecard"))["metrics"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"'{path}' is no scorecard; expected JSON with the list 'metrics'") from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise InputError(f"'{path}' is no scorecard; 'metrics' must be a list of rows")
        cards[name] = rows
    if not cards:
        raise InputError(f"'{folder}' has no scorecard; expected '{folder / 'PSEUDONYM' / SCORECARD}'")
    return cards

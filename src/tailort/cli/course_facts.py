"""What course.yaml tells of an earlier course that DICOM does not."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tailort.errors import InputError
from tailort.patient import PrescribedPhase, RegistrationOptions
from tailort.workflow.registration_options import registration_options

FACTS = "course.yaml"
KEYS = (
    "label", "patient_id", "fractions", "last_fraction", "at_target", "registration", "prescription", "organs",
)  # fmt: skip
_OF_PHASE = ("dose_gy", "fractions", "highest_percent")
_OF_ORGAN = ("max_gy",)


@dataclass(frozen=True)
class CourseFacts:
    """What a person tells of one earlier course; what is not told is None or empty.

    Parameters
    ----------
    label, patient_id : str
        For people; whose it is, where there are no images that tell.
    fractions : int or None
        Of doses of which no plan tells.
    last_fraction : date or None
        Day of the last fraction.
    at_target : bool or None
        Whether it was given at today's target.
    registration : RegistrationOptions
        How its CT is to be registered with today's.
    prescribed : tuple of PrescribedPhase
        What was prescribed.
    organ_highest_gy : dict of float
        Largest physical dose of organs, Gy of the course.
    """

    label: str = ""
    patient_id: str = ""
    fractions: int | None = None
    last_fraction: dt.date | None = None
    at_target: bool | None = None
    registration: RegistrationOptions = field(default_factory=RegistrationOptions)
    prescribed: tuple[PrescribedPhase, ...] = ()
    organ_highest_gy: dict[str, float] = field(default_factory=dict)


def read_facts(path: Path) -> CourseFacts:
    """Read course.yaml, or another file of that form.

    Raises
    ------
    InputError
        When it is no YAML table, or holds an unknown key or a value of another kind; the file is named.
    """
    try:
        told = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' cannot be read as YAML: {' '.join(str(error).split())}") from error
    table = _table({} if told is None else told, KEYS, f"'{path}'")
    label, patient = table.get("label"), table.get("patient_id")
    for key, value in (("label", label), ("patient_id", patient)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int, float))):
            raise InputError(f"'{path}': {key} is {value!r}; expected a word")
    last, at_target = table.get("last_fraction"), table.get("at_target")
    if last is not None and (not isinstance(last, dt.date) or isinstance(last, dt.datetime)):
        raise InputError(f"'{path}': last_fraction is {last!r}; expected a day such as 2025-03-14")
    if at_target is not None and not isinstance(at_target, bool):
        raise InputError(f"'{path}': at_target is {at_target!r}; expected true or false")
    fractions = table.get("fractions")
    return CourseFacts(
        "" if label is None else str(label),
        "" if patient is None else str(patient),
        None if fractions is None else _count(fractions, f"'{path}': fractions"),
        last,
        at_target,
        registration_options(table.get("registration"), f"'{path}': registration"),
        _phases(table.get("prescription"), f"'{path}': prescription"),
        _organs(table.get("organs"), f"'{path}': organs"),
    )


def _phases(told: object, where: str) -> tuple[PrescribedPhase, ...]:
    if told is None:
        return ()
    made = []
    for entry in told if isinstance(told, list) else [told]:
        table = _table(entry, _OF_PHASE, where)
        if missing := [key for key in ("dose_gy", "fractions") if table.get(key) is None]:
            raise InputError(f"{where} lacks {' and '.join(missing)}; give dose and fractions of each phase")
        percent = table.get("highest_percent")
        try:
            made.append(
                PrescribedPhase(
                    _amount(table["dose_gy"], f"{where}: dose_gy"),
                    _count(table["fractions"], f"{where}: fractions"),
                    None if percent is None else _amount(percent, f"{where}: highest_percent"),
                )
            )
        except InputError as error:
            text = str(error)
            raise InputError(text if text.startswith(where) else f"{where}: {text}") from None
    return tuple(made)


def _organs(told: object, where: str) -> dict[str, float]:
    if told is None:
        return {}
    if not isinstance(told, dict) or not all(isinstance(name, str) for name in told):
        raise InputError(f"{where} is {told!r}; expected organs by name, such as {{SpinalCord: {{max_gy: 42}}}}")
    found = {}
    for name, entry in told.items():
        table = _table(entry, _OF_ORGAN, f"{where}: {name}")
        if table.get("max_gy") is None:
            raise InputError(f"{where}: {name} lacks max_gy")
        found[name] = _amount(table["max_gy"], f"{where}: {name}: max_gy")
    return found


def _table(told: object, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    if not isinstance(told, dict):
        raise InputError(f"{where} holds no table; known are {', '.join(keys)}")
    if unknown := [str(key) for key in told if key not in keys]:
        raise InputError(f"{where} holds {', '.join(unknown)}; known are {', '.join(keys)}")
    return told


def _count(told: object, where: str) -> int:
    if isinstance(told, bool) or not isinstance(told, int) or told < 1:
        raise InputError(f"{where} is {told!r}; expected a whole number from 1 on")
    return told


def _amount(told: object, where: str) -> float:
    if isinstance(told, bool) or not isinstance(told, (int, float)) or not 0 < told < float("inf"):
        raise InputError(f"{where} is {told!r}; expected a number above 0")
    return float(told)

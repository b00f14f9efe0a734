"""The kind of a re-irradiation: overlap, concern about both doses, the same organ, or none of these."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from tailort.radiobiology.organ_names import organ_of, same_name
from tailort.radiobiology.packaged import packaged

Kind = Literal["type I", "type II", "repeat organ irradiation", "repeat irradiation"]


@dataclass(frozen=True)
class Asked:
    """How a question on two courses is answered where no source gives a number.

    Parameters
    ----------
    text, other : str
        What is asked, and what else could be meant.
    mark : str
        How sure it is.
    rules : tuple of str
        Whose it is.
    """

    text: str
    other: str
    mark: str
    rules: tuple[str, ...]


def kinds_of(overlap: bool | None, concern: bool | None, same_organ: bool | None) -> tuple[Kind, ...]:
    """Every kind that a second course can be, by what is known of it and an earlier one.

    Parameters
    ----------
    overlap : bool or None
        Whether the irradiated volumes overlap; None is unknown.
    concern : bool or None
        Whether toxicity from both doses is a concern.
    same_organ : bool or None
        Whether one organ is irradiated by both.

    References
    ----------
    Andratschke N et al. Lancet Oncol 2022;23:e469-e478, doi:10.1016/S1470-2045(22)00447-8.

    Examples
    --------
    >>> kinds_of(True, None, None)
    ('type I',)
    >>> kinds_of(False, None, True)
    ('type II', 'repeat organ irradiation')
    """
    found: list[Kind] = []
    if overlap is not False:
        found.append("type I")
    if overlap is not True:
        if concern is not False:
            found.append("type II")
        if concern is not True:
            found += ["repeat organ irradiation"] if same_organ is not False else []
            found += ["repeat irradiation"] if same_organ is not True else []
    return tuple(found)


def concern_from_gy(structure: str) -> tuple[float, float] | None:
    """EQD2 over all courses from which an organ is looked at together, Gy, and its alpha/beta; None where none is told.

    Examples
    --------
    >>> concern_from_gy("SpinalCord_PRV05")
    (50.0, 2.0)
    """
    for entry in _told()["concern"]["from_eqd2_gy"]:
        if organ_of(structure) in {same_name(name) for name in entry["organs"]}:
            return float(entry["gy"]), float(entry["alpha_beta_gy"])
    return None


@cache
def asked() -> dict[str, Asked]:
    """Return how overlap and concern are asked, by name."""
    return {
        name: Asked(" ".join(one["text"].split()), one["other"], one["mark"], tuple(one["rules"]))
        for name, one in _told().items()
        if name in ("overlap", "concern")
    }


@cache
def kind_texts() -> dict[Kind, tuple[str, str]]:
    """Return what each kind says and how sure its wording is."""
    return {name: (one["text"], one["mark"]) for name, one in _told()["kinds"].items()}


def overlap_isodose() -> tuple[float, float]:
    """Per cent of the prescribed EQD2 that counts as irradiated, and its alpha/beta, Gy."""
    told = _told()["overlap"]
    return float(told["isodose_percent"]), float(told["alpha_beta_gy"])


def least_contribution_gy() -> float:
    """EQD2 that an organ has to have from a course for the course to count for it, Gy."""
    return float(_told()["concern"]["least_gy"])


def _told() -> Any:
    return packaged("reirradiation_types.yaml")


@dataclass(frozen=True)
class ReportingItem:
    """One thing that a report of a re-irradiation tells.

    Parameters
    ----------
    key, title : str
        For machines and for people.
    rules : tuple of str
        Whose it is.
    mark : str
        How sure it is that it is asked for so.
    """

    key: str
    title: str
    rules: tuple[str, ...]
    mark: str


@cache
def reporting_items() -> tuple[ReportingItem, ...]:
    """Return what a report tells, in its order."""
    return tuple(
        ReportingItem(one["key"], one["title"], tuple(one["rules"]), one["mark"])
        for one in packaged("reporting_items.yaml")
    )

"""Limits over all courses by organ, and alpha/beta by tissue: published sets side by side, each number with its mark.

A limit belongs to one assumption of recovery. Those of the re-irradiation study (`koide`, `koide-observed`) were found
without any: a discounted dose is never compared with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from tailort.errors import InputError
from tailort.patient.metric import Metric
from tailort.radiobiology.linear_quadratic import eqd2_from_bed
from tailort.radiobiology.organ_names import organ_of, same_name
from tailort.radiobiology.packaged import packaged
from tailort.radiobiology.recovery import recovery

Effect = Literal["late", "acute", "tumour"]


@dataclass(frozen=True)
class AlphaBeta:
    """alpha/beta of a tissue.

    Parameters
    ----------
    tissue : str
        In words.
    organs : tuple of str
        TG-263 names; empty means every one.
    effect : {"late", "acute", "tumour"}
        Of which effect.
    value_gy : float
        Gy; of a range its lower end, unless the note says otherwise.
    range_gy : tuple of float
        The range that the source tells, or the value twice.
    source, mark : str
        Where it is from, and how sure it is.
    rules : tuple of str
        Rule ids.
    note : str
        What else there is to know.
    """

    tissue: str
    organs: tuple[str, ...]
    effect: Effect
    value_gy: float
    range_gy: tuple[float, float]
    source: str
    mark: str
    rules: tuple[str, ...]
    note: str = ""

    def __post_init__(self) -> None:
        low, high = self.range_gy
        if not 0 < low <= self.value_gy <= high:
            raise InputError(
                f"alpha/beta of {self.tissue}: {self.value_gy:g} Gy must be above 0 and in {self.range_gy}"
            )


@dataclass(frozen=True)
class CumulativeLimit:
    """A limit on the dose of all courses together.

    Parameters
    ----------
    organs : tuple of str
        TG-263 names; each side of a paired organ is judged by itself.
    metric : str
        In the grammar of `Metric`.
    operator : {"<", "<="}
        As printed.
    limit_gy : float
        Gy; of a range its lower end.
    upper_gy : float or None
        Upper end of a range.
    quantity : {"BED", "EQD2"}
        Of the sum.
    alpha_beta_gy : float or None
        Of it, Gy; None where the source does not tell one.
    mark : str
        How sure the number is.
    rules : tuple of str
        Rule ids.
    condition : str
        When it holds, in words; empty means always.
    note : str
        What else there is to know.
    analysed_from_gy : float or None
        Largest EQD2 of all courses, alpha/beta 2 Gy, from which the organ entered the source's analysis (KO-92).
    analysed_mark : str
        How sure that is.
    """

    organs: tuple[str, ...]
    metric: str
    operator: Literal["<", "<="]
    limit_gy: float
    upper_gy: float | None
    quantity: Literal["BED", "EQD2"]
    alpha_beta_gy: float | None
    mark: str
    rules: tuple[str, ...]
    condition: str = ""
    note: str = ""
    analysed_from_gy: float | None = None
    analysed_mark: str = ""

    def __post_init__(self) -> None:
        Metric.parse(self.metric)
        if self.operator not in ("<", "<=") or self.quantity not in ("BED", "EQD2") or not self.limit_gy > 0:
            raise InputError(f"limit of {', '.join(self.organs)} over all courses: not one on BED or EQD2 from above")
        if self.upper_gy is not None and not self.upper_gy > self.limit_gy:
            raise InputError(f"limit of {', '.join(self.organs)} over all courses: a range ascends")

    def holds(self, value_gy: float) -> bool:
        """Whether a value of the metric, in the limit's quantity and alpha/beta, meets the (lower) limit."""
        return value_gy < self.limit_gy if self.operator == "<" else value_gy <= self.limit_gy

    @property
    def eqd2_gy(self) -> float | None:
        """The limit as EQD2 at its own alpha/beta, Gy; None for a BED without one."""
        if self.quantity == "EQD2":
            return self.limit_gy
        return None if self.alpha_beta_gy is None else float(eqd2_from_bed(self.limit_gy, self.alpha_beta_gy))


@dataclass(frozen=True)
class LimitSet:
    """Limits over all courses of one source.

    Parameters
    ----------
    id, title, text : str
        What it is.
    source, doi : str
        Where it is from.
    recovery : str
        Id of the assumption of recovery that the sum is made with before it is compared.
    is_limit : bool
        False for values that were observed and are only told.
    limits : tuple of CumulativeLimit
        Of the organs that it names.
    """

    id: str
    title: str
    text: str
    source: str
    doi: str
    recovery: str
    is_limit: bool
    limits: tuple[CumulativeLimit, ...]

    def __post_init__(self) -> None:
        recovery(self.recovery)


@cache
def limit_sets() -> tuple[LimitSet, ...]:
    """Return the packaged sets of limits over all courses."""
    return tuple(_set(name, entry) for name, entry in packaged("cumulative_limits.yaml").items())


def limits_of(organ: str) -> tuple[tuple[LimitSet, CumulativeLimit], ...]:
    """Return every limit of an organ over all courses, with its set; none where no set names it.

    Parameters
    ----------
    organ : str
        TG-263 name, in any case. A limit of the organ is none of its PRV, so that a PRV has none.
    """
    return tuple(
        (each, limit)
        for each in limit_sets()
        for limit in each.limits
        if same_name(organ) in {same_name(name) for name in limit.organs}
    )


@cache
def alpha_betas() -> tuple[AlphaBeta, ...]:
    """Return the packaged alpha/beta of tissues."""
    return tuple(_alpha_beta(entry) for entry in packaged("alpha_beta.yaml"))


def alpha_beta(organ: str, effect: Effect = "late") -> AlphaBeta | None:
    """Return the alpha/beta of an organ, or None where the reference has none: it is then asked for, never assumed.

    Parameters
    ----------
    organ : str
        TG-263 name, in any case; a PRV, a part or a subtraction is taken as its organ.
    effect : {"late", "acute", "tumour"}
        Late effects are those of cumulative limits.
    """
    name = organ_of(organ)
    return next(
        (
            each
            for each in alpha_betas()
            if each.effect == effect and (not each.organs or name in {same_name(n) for n in each.organs})
        ),
        None,
    )


def _set(id: str, entry: dict[str, Any]) -> LimitSet:
    return LimitSet(
        id,
        entry["title"],
        entry["text"],
        entry["source"],
        entry["doi"],
        entry["recovery"],
        entry["is_limit"],
        tuple(CumulativeLimit(**{"upper_gy": None, "alpha_beta_gy": None} | limit) for limit in entry["limits"]),
    )


def _alpha_beta(entry: dict[str, Any]) -> AlphaBeta:
    value = entry["value_gy"]
    organs = () if entry["organs"] == "every" else entry["organs"]
    return AlphaBeta(**{"effect": "late", "range_gy": (value, value)} | entry | {"organs": organs})

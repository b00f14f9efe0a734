"""Follow-up as it was observed, checked: times, what ended each, groups; and counts at each distinct time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, ndtri

from tailort.errors import InputError

Float = NDArray[np.float64]
Whole = NDArray[np.int64]
Mask = NDArray[np.bool_]
Interval = Literal["log-log", "log", "plain"]
Code = TypeVar("Code", bound=str)

# Times closer than this share of themselves are one time: months made from days differ in the last digits.
TIE_TOLERANCE = float(np.sqrt(np.finfo(np.float64).eps))


@dataclass(frozen=True)
class Rate:
    """An estimate at one time; None where it cannot be told.

    Attributes
    ----------
    time : float
    estimate, lower, upper, standard_error : float or None
        Shares of 1; the estimate is None beyond the last patient's follow-up.
    at_risk : int
        Patients still followed at that time (their own time is at or after it).
    """

    time: float
    estimate: float | None
    lower: float | None
    upper: float | None
    standard_error: float | None
    at_risk: int


@dataclass(frozen=True)
class ChiSquared:
    """A test statistic that follows a chi-squared distribution when there is no difference."""

    statistic: float
    degrees_of_freedom: int

    @property
    def p_value(self) -> float:
        """Probability of a statistic at least as large when there is no difference."""
        return float(chdtrc(self.degrees_of_freedom, self.statistic))


@dataclass(frozen=True)
class Labels:
    """A group of each row: names in sorted order, and which of them each row has."""

    names: tuple[Any, ...]
    index: Whole

    @property
    def patients(self) -> tuple[int, ...]:
        """Rows of each group."""
        return tuple(np.bincount(self.index, minlength=len(self.names)).tolist())


@dataclass(frozen=True)
class Steps:
    """Counts at each distinct time.

    Attributes
    ----------
    times : (t,) float
        Ascending.
    at_risk : (t, g) float
        Rows of each group whose time is at or after this one.
    counts : (t, g, c) float
        Rows of each group that end here with each code: 0 censored, then the causes in their order.
    """

    times: Float
    at_risk: Float
    counts: Float


def freeze(*arrays: Float) -> None:
    """Let nobody change these arrays of a record."""
    for array in arrays:
        array.setflags(write=False)


def quotient(value: ArrayLike, by: ArrayLike) -> Float:
    """Value / by, broadcast; 0 where nothing is left to divide by."""
    above, below = np.broadcast_arrays(np.asarray(value, dtype=np.float64), np.asarray(by, dtype=np.float64))
    result: Float = np.divide(above, below, out=np.zeros(above.shape), where=below > 0)
    return result


def known(value: float) -> float | None:
    """The number, or None when it is not one."""
    return float(value) if np.isfinite(value) else None


def chosen(value: str, allowed: tuple[Code, ...], word: str) -> Code:
    """The value when it is one of those allowed."""
    for one in allowed:
        if value == one:
            return one
    raise InputError(f"{word} '{value}' is not known; give one of {', '.join(allowed)}")


def checked_confidence(confidence: float) -> float:
    """Standard normal quantile of a two-sided interval with this confidence."""
    if not 0.0 < confidence < 1.0:
        raise InputError(f"found a confidence of {confidence}; give a share between 0 and 1, such as 0.95")
    return float(-ndtri((1.0 - confidence) / 2.0))


def first_row(wrong: Mask) -> int:
    """Number of the first row that is marked, counted from 1."""
    return int(np.argmax(wrong)) + 1


def checked_times(times: ArrayLike, least_rows: int = 1) -> Float:
    """Times that are finite and not negative; those that differ by rounding only are made equal."""
    try:
        values = np.asarray(times, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("a time is not a number; give one number per row, all in one unit") from error
    if values.ndim != 1:
        raise InputError(f"found times of shape {values.shape}; give one number per row")
    if len(values) < least_rows:
        word = "no rows" if not len(values) else "one row" if len(values) == 1 else f"{len(values)} rows"
        raise InputError(f"found {word} of follow-up; at least {least_rows} needed")
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise InputError(f"row {first_row(wrong)} has no finite time; give its time or leave the row out")
    wrong = values < 0
    if wrong.any():
        row = first_row(wrong)
        raise InputError(f"row {row} has the negative time {values[row - 1]:g}; the event lies before the start")
    return _made_equal(values)


def _made_equal(values: Float) -> Float:
    unique, index = np.unique(values, return_inverse=True)
    apart = np.diff(unique, prepend=-np.inf) > TIE_TOLERANCE * unique
    equal: Float = unique[apart][np.cumsum(apart) - 1][index]
    return equal


def checked_status(status: ArrayLike, rows: int, causes: Sequence[int], of: str = "status") -> Whole:
    """Place of each row's code: 0 censored, then 1 + the place in `causes`."""
    values = np.asarray(status)
    if values.shape != (rows,):
        raise InputError(f"found {rows} times and {of} of shape {values.shape}; give one code per row")
    if values.dtype.kind not in "biuf":
        raise InputError(f"found {of} that is not a number; 0 is censored, then {', '.join(map(str, causes))}")
    codes = np.array([0, *causes])
    if len(set(codes.tolist())) != len(codes):
        raise InputError(f"found the causes {', '.join(map(str, causes))}; each once, and 0 means censored")
    matches = values[:, None] == codes
    wrong = ~matches.any(axis=1)
    if wrong.any():
        row = first_row(wrong)
        raise InputError(f"row {row} has {of} {values[row - 1]}; known are {', '.join(map(str, codes))}")
    places: Whole = np.argmax(matches, axis=1).astype(np.int64)
    return places


def checked_labels(labels: ArrayLike, rows: int, word: str, least: int = 1) -> Labels:
    """Group or stratum of each row: text or whole numbers, none missing."""
    values = np.asarray(labels)
    if values.shape != (rows,):
        raise InputError(f"found {rows} times and {word} of shape {values.shape}; give one {word} per row")
    if values.dtype.kind == "O":
        wrong = np.array([not isinstance(value, str) or not value for value in values])
    elif values.dtype.kind == "f":
        wrong = ~np.isfinite(values)
    else:
        wrong = values == "" if values.dtype.kind == "U" else np.zeros(rows, dtype=bool)
    if wrong.any():
        raise InputError(f"row {first_row(wrong)} has no {word}; give one per row, or leave the row out")
    # Sorting very many texts takes long; there are few different ones.
    told = values.tolist()
    names = sorted(set(told))
    place = {name: n for n, name in enumerate(names)}
    index = np.array(list(map(place.__getitem__, told)), dtype=np.int64)
    if len(names) < least:
        raise InputError(f"found {len(names)} {word} ('{names[0]}'); a comparison needs at least {least}")
    return Labels(tuple(names), index)


def steps(times: Float, codes: Whole, code_count: int, groups: Whole | None = None, group_count: int = 1) -> Steps:
    """Counts at each distinct time; arguments already checked."""
    distinct, index = np.unique(times, return_inverse=True)
    flat = (index if groups is None else index * group_count + groups) * code_count + codes
    size = len(distinct) * group_count * code_count
    counts = np.bincount(flat, minlength=size).reshape(len(distinct), group_count, code_count).astype(np.float64)
    at_risk = np.cumsum(counts.sum(axis=2)[::-1], axis=0)[::-1]
    return Steps(distinct, at_risk, counts)


def by_stratum(strata: Labels | None, rows: int) -> list[NDArray[np.intp]]:
    """Row numbers of each stratum; all rows when there are no strata."""
    if strata is None:
        return [np.arange(rows)]
    order = np.argsort(strata.index, kind="stable")
    return np.split(order, np.cumsum(strata.patients)[:-1])


def limits(estimate: Float, standard_error: Float, interval: Interval, z: float) -> tuple[Float, Float]:
    """Lower and upper limits of a share of 1; not a number where the transform of the estimate is not finite.

    Parameters
    ----------
    estimate, standard_error : array
        Of the share itself.
    interval : {"log-log", "log", "plain"}
        Scale on which the estimate is taken as normal.
    z : float
        Standard normal quantile.
    """
    # A limit whose power of the estimate is too large for a number is 0.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if interval == "plain":
            half = z * standard_error
            return np.maximum(estimate - half, 0.0), np.minimum(estimate + half, 1.0)
        relative = z * standard_error / estimate
        if interval == "log":
            return estimate * np.exp(-relative), np.minimum(estimate * np.exp(relative), 1.0)
        inside = np.where((estimate > 0.0) & (estimate < 1.0), estimate, np.nan)
        power = np.exp(-relative / np.log(inside))
        return inside**power, inside ** (1.0 / power)


def at_risk_at(times: Float, at_risk: Float, asked: ArrayLike) -> Whole:
    """Rows whose time is at or after each asked time."""
    place = np.searchsorted(times, checked_asked(asked), side="left")
    return np.append(at_risk, 0.0)[place].astype(np.int64)


def checked_asked(asked: ArrayLike) -> Float:
    """Times that a caller asks for: finite and not negative."""
    values = np.atleast_1d(np.asarray(asked, dtype=np.float64))
    if not np.all(np.isfinite(values)) or np.any(values < 0):
        raise InputError("a time that is asked for is negative or not a number; give times of 0 or more")
    return values


def rates_at(
    asked: ArrayLike, times: Float, columns: Sequence[Float], at_risk: Float, start: float, ended: bool
) -> tuple[Rate, ...]:
    """Steps read at asked times.

    Parameters
    ----------
    asked : (n,) float
    times : (t,) float
    columns : estimate, standard error, lower, upper
        Each (t,).
    at_risk : (t,) float
    start : float
        Estimate before the first step: 1 of survival, 0 of an incidence.
    ended : bool
        Nobody was left without an event, so the estimate is known for ever.
    """
    values = checked_asked(asked)
    # A time that a caller computes may fall short of the step by rounding.
    place = np.searchsorted(times, values * (1 + TIE_TOLERANCE), side="right") - 1
    found = []
    for time, step, count in zip(values, place, at_risk_at(times, at_risk, values), strict=True):
        if step < 0:
            found.append(Rate(float(time), start, None, None, 0.0, int(count)))
        elif time > times[-1] * (1 + TIE_TOLERANCE) and not ended:
            found.append(Rate(float(time), None, None, None, None, int(count)))
        else:
            estimate, error, lower, upper = (known(column[step]) for column in columns)
            found.append(Rate(float(time), estimate, lower, upper, error, int(count)))
    return tuple(found)

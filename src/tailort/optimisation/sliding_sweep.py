"""How the leaves sweep once over a field so that each place gets its fluence in the shortest time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError

Float = NDArray[np.float64]

# A pair with less than this share of the MU of a column at full speed is not on its way.
TINY = 1e-9
BISECTIONS = 50


@dataclass(frozen=True, eq=False)
class Sweep:
    """The way of all leaf pairs of a bank over a field, by the monitor units delivered.

    Both ends of a pair go from low to high columns and never back. At each moment one of them moves with the highest
    speed: where the fluence rises the trailing end waits, where it falls the leading one.

    Parameters
    ----------
    units : float
        MU of the whole sweep.
    trailing, leading : tuple of (2, n) float
        Of each pair: MU and place (columns, from the field's lower side) of the points between which the end moves
        evenly; before the first and after the last it stands still.
    """

    units: float
    trailing: tuple[Float, ...]
    leading: tuple[Float, ...]

    def ends(self, mu: Float) -> tuple[Float, Float]:
        """Trailing and leading ends, columns, when so many MU are delivered: twice (moments, pairs)."""
        low, high = (
            np.stack([np.interp(mu, way[0], way[1]) for way in ways], axis=1) for ways in (self.trailing, self.leading)
        )
        return low, high

    @property
    def moments(self) -> Float:
        """All MU at which an end starts or stops, with the first and the last."""
        times = np.concatenate([way[0] for way in self.trailing + self.leading] + [[0.0, self.units]])
        moments: Float = np.unique(times[(times >= 0) & (times <= self.units)])
        return moments


def needed_units(profile_mu: Float, mu_per_column: float) -> float:
    """Fewest MU in which one pair can sweep a profile: the sum of its rises, and those of the way at full speed.

    Parameters
    ----------
    profile_mu : (columns,) float
        MU wanted; 0 on both sides of it is understood.
    mu_per_column : float
        MU delivered while an end crosses a column at its highest speed.

    References
    ----------
    Spirou & Chui 1994, Med Phys 21:1031, doi 10.1118/1.597345; Stein et al. 1994, Radiother Oncol 32:163 (recalled).
    """
    wanted = np.flatnonzero(profile_mu > 0)
    if len(wanted) == 0:
        return 0.0
    own = profile_mu[wanted[0] : wanted[-1] + 1]
    return float(np.maximum(np.diff(own, prepend=0.0), 0.0).sum() + mu_per_column * len(own))


def sweep(profiles_mu: Float, mu_per_column: float, gap: float, beyond: int, together: bool = False) -> Sweep:
    """Sweep all pairs in the fewest MU.

    A pair that needs less than the others passes the wanted part of its profile in as few MU as it can and waits on
    both sides, beyond the field, where a jaw covers it; a pair that is to give nothing stays there. Pairs that go
    together begin and end with the others and are slower instead.

    Parameters
    ----------
    profiles_mu : (pairs, columns) float
        MU wanted at each place. Less than the gap lets through while it passes is not possible within a pair's way.
    mu_per_column : float
        MU delivered while an end crosses a column at its highest speed, above 0.
    gap : float
        Smallest distance of the two ends, columns.
    beyond : int
        Columns on each side of the field in which pairs wait; more than the gap.
    together : bool
        Whether all pairs go together, as where they may not pass each other.

    Raises
    ------
    InputError
        When nothing is wanted, or there is no room to wait in.

    References
    ----------
    Spirou & Chui 1994, Med Phys 21:1031, doi 10.1118/1.597345; Stein et al. 1994, Radiother Oncol 32:163 (recalled):
    which end moves at full speed.
    """
    if profiles_mu.min() < 0 or not profiles_mu.max() > 0:
        raise InputError("a sweep needs a fluence that is nowhere below 0 and somewhere above it")
    if not (mu_per_column > 0 and 0 <= gap <= beyond):
        raise InputError(
            f"a sweep with {mu_per_column:g} MU a column, a gap of {gap:g} and {beyond} columns beyond the field is "
            "not possible; expected MU above 0 and room for the gap"
        )
    if together:
        within = np.ones(profiles_mu.shape, dtype=bool)
    else:
        within = (np.cumsum(profiles_mu, axis=1) > 0) & (np.cumsum(profiles_mu[:, ::-1], axis=1)[:, ::-1] > 0)

    def passed(row: Float, inside: NDArray[np.bool_], slowness: float) -> Float:
        """What a pair gives at least that passes with a gap."""
        return np.where(inside, np.maximum(row, max(gap * slowness, TINY * mu_per_column)), 0.0)

    rows = list(zip(profiles_mu, within, strict=True))
    units = max(needed_units(passed(*row, mu_per_column), mu_per_column) for row in rows)
    trailing, leading = [], []
    for row, inside in rows:
        if not inside.any():
            trailing.append(np.array([[0.0], [-float(beyond)]]))
            leading.append(np.array([[0.0], [gap - beyond]]))
            continue
        slowness = mu_per_column
        if together:
            slow, slower = mu_per_column, units / len(row)
            for _ in range(BISECTIONS):
                slowness = 0.5 * (slow + slower)
                if needed_units(passed(row, inside, slowness), slowness) > units:
                    slower = slowness
                else:
                    slow = slowness
            slowness = slow
        low, high = _ways(passed(row, inside, slowness), slowness, gap, beyond, units)
        trailing.append(low)
        leading.append(high)
    return Sweep(units, tuple(trailing), tuple(leading))


def _ways(profile: Float, slowness: float, gap: float, beyond: int, units: float) -> tuple[Float, Float]:
    """Trailing and leading end of a pair that passes its part of the profile in the middle of the sweep."""
    wanted = np.flatnonzero(profile > 0)
    least = gap * slowness
    padded = np.maximum(np.pad(profile, beyond), least)
    step = np.diff(padded, prepend=0.0, append=0.0)
    edges = np.arange(len(step)) - float(beyond)
    on_the_way = slowness * np.arange(len(step))
    trailing, leading = (
        np.stack([np.stack([on_the_way + np.cumsum(waits) - waits, on_the_way + np.cumsum(waits)], 1).ravel(),
                  np.repeat(edges, 2)])
        for waits in (np.maximum(step, 0.0), np.maximum(-step, 0.0))
    )  # fmt: skip
    # The way begins when the leading end is a gap ahead, and ends when the trailing one is a gap behind.
    first, last = least, leading[0, -2]
    enters, is_past = leading[0, 2 * (beyond + wanted[0])], trailing[0, 2 * (beyond + wanted[-1] + 1)]
    later = 0.5 * (units - (is_past - enters)) - enters
    ways = []
    for way in (trailing, leading):
        inside = way[:, (way[0] > first) & (way[0] < last)]
        sides = np.interp([first, last], way[0], way[1])
        ways.append(
            np.stack(
                [
                    np.concatenate([[first], inside[0], [last]]) + later,
                    np.concatenate([sides[:1], inside[1], sides[1:]]),
                ]
            )
        )
    return ways[0], ways[1]

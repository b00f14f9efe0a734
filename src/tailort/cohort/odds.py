"""How likely the first count of a 2 x 2 table is when its margins are given: Fisher's test and the odds ratio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from tailort.cohort.observed import Float, Whole

# Counts whose probability differs from the observed one's by rounding only are as likely; as R's fisher.test.
_AS_LIKELY = 1e-7
# Logarithm of odds beyond which no limit is sought, and how near to a root one is found.
_MOST_LOG_ODDS, _ROOT = 700.0, 1e-13


@dataclass(frozen=True, eq=False)
class ConditionalCount:
    """The first count of a 2 x 2 table with fixed margins: Fisher's noncentral hypergeometric distribution.

    Attributes
    ----------
    seen : int
    counts : (n,) float
        All that the margins allow, ascending.
    log_ways : (n,) float
        Logarithm of their probability with equal odds.

    References
    ----------
    Fisher, J R Stat Soc 1935;98:39, DOI 10.2307/2342435.
    """

    seen: int
    counts: Float
    log_ways: Float

    @classmethod
    def of(cls, table: Whole) -> ConditionalCount:
        """Of a (2, 2) table without an empty row or column."""
        (seen, b), (c, d) = table.tolist()
        row, other, column = seen + b, c + d, seen + c
        counts = np.arange(max(0, column - other), min(row, column) + 1, dtype=np.float64)

        def ways(number: int, taken: Float) -> Float:
            chosen: Float = gammaln(number + 1.0) - gammaln(taken + 1.0) - gammaln(number - taken + 1.0)
            return chosen

        log_ways = ways(row, counts) + ways(other, column - counts)
        return cls(seen, counts, log_ways - _log_sum(log_ways))

    def p_value(self) -> float:
        """Two-sided: all counts that are no more likely than the one seen."""
        chances = np.exp(self.log_ways)
        seen = chances[self.seen - int(self.counts[0])]
        return min(1.0, float(chances[chances <= seen * (1.0 + _AS_LIKELY)].sum()))

    def likeliest_odds(self) -> float:
        """Odds ratio with which the count seen is likeliest; 0 or infinite where it is the least or the most."""
        if self.seen == self.counts[0]:
            return 0.0
        if self.seen == self.counts[-1]:
            return float("inf")
        return _odds_where(lambda log_odds: float(self._chances(log_odds) @ self.counts) - self.seen)

    def limits(self, confidence: float) -> tuple[float, float]:
        """Exact limits of the odds ratio: with each of them so extreme a count has half of what is left."""
        tail = (1.0 - confidence) / 2.0
        low, high = 0.0, float("inf")
        if self.seen > self.counts[0]:
            low = _odds_where(lambda log_odds: float(self._chances(log_odds)[self.counts >= self.seen].sum()) - tail)
        if self.seen < self.counts[-1]:
            high = _odds_where(lambda log_odds: tail - float(self._chances(log_odds)[self.counts <= self.seen].sum()))
        return low, high

    def _chances(self, log_odds: float) -> Float:
        logs = self.log_ways + log_odds * self.counts
        return np.exp(logs - _log_sum(logs))


def _log_sum(logs: Float) -> float:
    top = float(logs.max())
    return top + float(np.log(np.exp(logs - top).sum()))


def _odds_where(rises: Callable[[float], float]) -> float:
    """Odds ratio at whose logarithm a function that rises passes 0."""
    low, high = -1.0, 1.0
    while rises(low) > 0.0 and low > -_MOST_LOG_ODDS:
        low *= 2.0
    while rises(high) < 0.0 and high < _MOST_LOG_ODDS:
        high *= 2.0
    while high - low > _ROOT * max(1.0, abs(low)):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if rises(middle) < 0.0:
            low = middle
        else:
            high = middle
    return float(np.exp(0.5 * (low + high)))

"""How often does the patient with the higher hazard have the earlier event? Harrell's concordance."""

from __future__ import annotations

import numpy as np

from tailort.cohort.observed import Float, Whole
from tailort.cohort.partial_likelihood import RiskSets


def concordance(sets: RiskSets, linear: Float) -> float | None:
    """Share of comparable pairs in order; a pair with equal hazards counts half; None when no pair is comparable.

    Parameters
    ----------
    sets : RiskSets
        A pair is comparable within a stratum: one has the event, the other is followed for longer, or is censored at
        the same time. Two events at one time are not compared.
    linear : (n,) float
        Logarithm of the hazard of each sorted row.

    References
    ----------
    Harrell, Lee and Mark, Stat Med 1996;15:361.
    """
    # The sum of many products differs in the last digits for equal patients.
    ranks = np.unique(np.round(linear, 10), return_inverse=True)[1]
    number = np.arange(len(ranks))
    stratum = np.repeat(np.arange(len(sets.strata)), [part.stop - part.start for part in sets.strata])
    order = np.lexsort((number, ~sets.events, sets.times, stratum))
    ends = np.array([part.stop for part in sets.strata])[stratum[order]]
    happened = sets.events[order]
    # Rows after the last event of the same time and stratum: the censored of that time stand behind the events.
    events_there = np.bincount(sets.tie, minlength=len(sets.start))
    begin = (sets.start + events_there)[sets.tie]
    below, equal = _counts(ranks[order], begin, ends[happened], ranks[order][happened])
    pairs = float((ends[happened] - begin).sum())
    return float((below.sum() + equal.sum() / 2.0) / pairs) if pairs else None


def _counts(values: Whole, start: Whole, stop: Whole, asked: Whole) -> tuple[Whole, Whole]:
    """Values in [start, stop) below and equal to each asked one, bit by bit from the highest (a wavelet matrix)."""
    below = np.zeros(len(asked), dtype=np.int64)
    for bit in reversed(range(int(values.max()).bit_length())):
        low = (values >> bit) & 1 == 0
        zeros = np.append(0, np.cumsum(low))
        from_start, from_stop = zeros[start], zeros[stop]
        high = (asked >> bit) & 1 == 1
        below += np.where(high, from_stop - from_start, 0)
        start = np.where(high, zeros[-1] + start - from_start, from_start)
        stop = np.where(high, zeros[-1] + stop - from_stop, from_stop)
        values = np.concatenate([values[low], values[~low]])
    return below, stop - start

"""Does one group benefit more in some patients than in others? Tests of interaction, with the warning they need.

The test compares the Cox model of arm and factor with the one in which the arm's effect differs by the factor's levels,
by their likelihoods. A small p value in one subgroup and a large one in another is no such test (Altman and Bland, BMJ
2003;326:219, doi:10.1136/bmj.326.7382.219). Holm, Scand J Stat 1979;6:65 for several of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from tailort.cohort.cox import CoxTerm, cox
from tailort.errors import InputError

Float = NDArray[np.float64]


@dataclass(frozen=True)
class SubgroupEffect:
    """The arm's effect in some of the patients.

    Parameters
    ----------
    level : str
        Which patients.
    patients, events : tuple of int
        Of the arm of reference, and of the other.
    term : CoxTerm or None
        Hazard ratio of the other arm against it; None where it cannot be told.
    note : str
        Why it cannot be told.
    """

    level: str
    patients: tuple[int, int]
    events: tuple[int, int]
    term: CoxTerm | None
    note: str = ""


@dataclass(frozen=True)
class Interaction:
    """Whether the arm's effect differs by one factor.

    Parameters
    ----------
    factor : str
        The fact.
    levels : tuple of SubgroupEffect
        The effect in the patients of each level.
    statistic : float or None
        Twice the difference of the log likelihoods; None where it cannot be told.
    degrees_of_freedom : int
        Levels less one.
    p_value, bonferroni, holm : float or None
        As it is, and corrected for the number of factors that were tested.
    missing : int
        Patients of whom the factor is not known.
    note : str
        Why it cannot be told.
    """

    factor: str
    levels: tuple[SubgroupEffect, ...]
    statistic: float | None
    degrees_of_freedom: int
    p_value: float | None
    bonferroni: float | None = None
    holm: float | None = None
    missing: int = 0
    note: str = ""


@dataclass(frozen=True)
class Subgroups:
    """Effects of one arm against another over the levels of several factors.

    Parameters
    ----------
    endpoint, reference, compared : str
        What is counted, and the two arms.
    overall : SubgroupEffect
        In all patients.
    tests : tuple of Interaction
        One a factor.
    """

    endpoint: str
    reference: str
    compared: str
    overall: SubgroupEffect
    tests: tuple[Interaction, ...]

    @property
    def warning(self) -> str:
        """What has to stand beside them."""
        levels = sum(len(test.levels) for test in self.tests)
        return (
            f"Factors tested: {len(self.tests)}, with {levels} subgroups. Only the p values by Bonferroni and by Holm "
            "count for that; the first one does not. Where nothing differs, at least one of "
            f"{len(self.tests)} independent tests is below 0.05 in {100 * (1 - 0.95 ** len(self.tests)):.0f} % of "
            "trials. Groups that were not allotted by chance differ in more than their treatment. Subgroups suggest; "
            "they do not show who benefits."
        )


def subgroup_effects(
    endpoint: str,
    months: Float,
    events: NDArray[np.bool_],
    arm: Sequence[str],
    factors: Mapping[str, Sequence[str | None]],
) -> Subgroups:
    """Test whether the effect of an arm differs by the levels of factors.

    Parameters
    ----------
    endpoint : str
        Its name.
    months : (n,) float
        Time of each patient.
    events : (n,) bool
        Whether it ended with the event.
    arm : sequence of str, (n,)
        Arm of each; there must be two, and the first in the alphabet is the reference.
    factors : mapping of str to sequence of (str or None), (n,)
        Levels of each factor; None is not known.

    Raises
    ------
    InputError
        Where there are not two arms, or a factor has fewer than two levels.
    """
    names = sorted(set(arm))
    if len(names) != 2:
        raise InputError(f"subgroups compare two arms; there are {len(names)}: {', '.join(names) or 'none'}")
    other = np.array([name == names[1] for name in arm])
    tests = [_interaction(factor, months, events, other, levels) for factor, levels in factors.items()]
    return Subgroups(
        endpoint, names[0], names[1], _effect("all patients", months, events, other), tuple(_corrected(tests))
    )


def bonferroni(p_values: Sequence[float]) -> list[float]:
    """P values times their number, at most 1."""
    return [min(1.0, len(p_values) * p) for p in p_values]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the smallest times all, the next times one less, never below the one before."""
    order = np.argsort(p_values, kind="stable")
    stepped = np.array(p_values, dtype=np.float64)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return [float(p) for p in corrected]


def _corrected(tests: Sequence[Interaction]) -> list[Interaction]:
    told = [test.p_value for test in tests if test.p_value is not None]
    both = iter(zip(bonferroni(told), holm(told), strict=True)) if told else iter(())
    done = []
    for test in tests:
        if test.p_value is None:
            done.append(test)
        else:
            by_number, by_steps = next(both)
            done.append(replace(test, bonferroni=by_number, holm=by_steps))
    return done


def _effect(level: str, months: Float, events: NDArray[np.bool_], other: NDArray[np.bool_]) -> SubgroupEffect:
    patients = (int((~other).sum()), int(other.sum()))
    with_event = (int(events[~other].sum()), int(events[other].sum()))
    if min(patients) == 0:
        return SubgroupEffect(level, patients, with_event, None, "patients of one arm alone")
    if min(with_event) == 0:
        return SubgroupEffect(level, patients, with_event, None, "no event in one arm")
    term = cox(months, events, other[:, None].astype(np.float64), ["arm"]).terms[0]
    if term.hazard_ratio is None:
        return SubgroupEffect(level, patients, with_event, None, "the likelihood has no maximum")
    return SubgroupEffect(level, patients, with_event, term)


def _interaction(
    factor: str, months: Float, events: NDArray[np.bool_], other: NDArray[np.bool_], told: Sequence[str | None]
) -> Interaction:
    names = sorted({name for name in told if name is not None})
    if len(names) < 2:
        raise InputError(
            f"the factor '{factor}' has {len(names)} level{'' if len(names) == 1 else 's'} in these patients; "
            "subgroups need two or more"
        )
    known = np.array([name is not None for name in told])
    of_level = [np.array([name == level for name in told]) for level in names]
    effects = tuple(
        _effect(level, months[at], events[at], other[at]) for level, at in zip(names, of_level, strict=True)
    )
    missing = int((~known).sum())
    unclear = [effect.level for effect in effects if effect.term is None]
    if unclear:
        note = f"no test: in '{unclear[0]}', {effects[names.index(unclear[0])].note}"
        return Interaction(factor, effects, None, len(names) - 1, None, missing=missing, note=note)
    levels = np.column_stack([at[known] for at in of_level[1:]]).astype(np.float64)
    arm = other[known, None].astype(np.float64)
    main = np.hstack([arm, levels])
    whole = np.hstack([main, arm * levels])
    labels = ["arm", *names[1:], *(f"arm x {name}" for name in names[1:])]
    alone = cox(months[known], events[known], main, labels[: main.shape[1]])
    together = cox(months[known], events[known], whole, labels)
    if any(term.coefficient is None for fit in (alone, together) for term in fit.terms):
        note = "no test: the likelihood has no maximum"
        return Interaction(factor, effects, None, len(names) - 1, None, missing=missing, note=note)
    statistic = max(0.0, 2.0 * (together.log_likelihood - alone.log_likelihood))
    freedom = len(names) - 1
    return Interaction(factor, effects, statistic, freedom, float(chdtrc(freedom, statistic)), missing=missing)

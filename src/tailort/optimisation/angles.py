"""Which of many beam directions a plan shall have, by the value that the fluence can reach with them.

The search starts from given directions and exchanges one at a time. Each beam in turn is left out and the fluence of
the others found anew; the gradient of that plan's value by all the beamlets that it does not have tells which
directions would help most, as columns are priced in column generation. The most promising of them, and the neighbours
of the direction that was left out, take its place on trial, each with a fluence of its own, and the best one stays
where it is better than what was there. So a result is never worse than its start. It is a local optimum of a problem
that has many: other directions may be as good.

References
----------
Pugachev et al. 2001, IJROBP 50:551, doi 10.1016/s0360-3016(01)01502-4 (what chosen directions gain);
Breedveld et al. 2012, Med Phys 39:951, doi 10.1118/1.3676689 (one direction at a time, by the full problem's value).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.optimisation.problem import Problem, Smoothness
from tailort.optimisation.solve import Effort, Solution, never, solve
from tailort.patient import Influence

Float = NDArray[np.float64]

# Of each trial, and how often every beam is tried. A trial starts from the fluence of the beams that stay.
TRIAL, PASSES = Effort(iterations=60, rounds=6, value_tolerance=2e-3), 2
# So many directions are tried for a beam: the best priced ones, and this many neighbours to either side.
PRICED, NEIGHBOURS = 2, 1
# An exchange must lower the value by this share: less is in the solver's tolerance.
WORTH_IT = 5e-3


@dataclass(frozen=True)
class Worth:
    """How good a plan is: limits first, then the value.

    Parameters
    ----------
    violation_gy : float
        Largest excess over a limit, Gy; 0 when all hold.
    value : float
        Of the problem, Gy2.
    """

    violation_gy: float
    value: float

    def better_than(self, other: Worth, share: float = 0.0) -> bool:
        """Whether limits are kept better or, where both keep them, the value is lower, by at least a share."""
        if self.violation_gy > 0 or other.violation_gy > 0:
            return self.violation_gy < (1.0 - share) * other.violation_gy
        return self.value < (1.0 - share) * other.value


@dataclass(frozen=True, eq=False)
class ChosenBeams:
    """Directions that were chosen, and what that gained.

    Parameters
    ----------
    beams : tuple of int
        Among the setups of the influence, ascending by gantry angle.
    weights_mu : (n,) float
        Fluence of their beamlets, MU per fraction, in the order of `of_beams`.
    worth, start_worth : Worth
        Of the chosen directions and of those from which the search started.
    trials : int
        Fluences that were found.
    exchanges : tuple of (int, int)
        Each direction that went and the one that came for it, in order.
    stopped : bool
        Whether the search ended because it was told to.
    """

    beams: tuple[int, ...]
    weights_mu: Float
    worth: Worth
    start_worth: Worth
    trials: int
    exchanges: tuple[tuple[int, int], ...]
    stopped: bool


def of_beams(influence: Influence, beams: Collection[int]) -> Influence:
    """The beamlets of some beams, which keep the order that they have.

    Parameters
    ----------
    influence : Influence
        Of all beams.
    beams : collection of int
        Among its setups.
    """
    beamlets = influence.beamlets
    chosen = sorted(beams)
    taken = np.isin(beamlets.beam, chosen)
    of_column = taken[influence.columns]
    starts = np.concatenate([[0], np.cumsum(of_column)])[influence.starts].astype(np.int64)
    new = (np.cumsum(taken) - 1).astype(influence.columns.dtype)
    kept = replace(
        beamlets,
        beam=np.searchsorted(chosen, beamlets.beam[taken]).astype(np.int32),
        x_mm=beamlets.x_mm[taken],
        y_mm=beamlets.y_mm[taken],
        setups=tuple(beamlets.setups[n] for n in chosen),
    )
    return replace(
        influence,
        values=influence.values[of_column],
        columns=new[influence.columns[of_column]],
        starts=starts,
        beamlets=kept,
    )


def choose_beams(
    problem: Problem,
    start: Sequence[int],
    reference_mu: float,
    smoothness: float,
    *,
    passes: int = PASSES,
    effort: Effort = TRIAL,
    stop: Callable[[], bool] = never,
    progress: Callable[[float], None] | None = None,
) -> ChosenBeams:
    """Exchange beams one at a time for candidates with which the problem reaches a lower value.

    Parameters
    ----------
    problem : Problem
        Its dose map is an `Influence` of all candidates; without smoothness.
    start : sequence of int
        Beams to begin with, among the setups of the influence.
    reference_mu : float
        Even weight of the beams of the start, MU per fraction; differences of the fluence are measured by it.
    smoothness : float
        Weight of the smoothness of the fluence.
    passes : int
        How often every beam is tried at most; a pass without an exchange is the last.
    effort : Effort
        Of each trial.
    stop : callable
        Asked before each trial and by the solver; when it says True the best beams so far are returned.
    progress : callable or None
        Told the share done, 0 to 1.

    Raises
    ------
    InputError
        When the start names no beam, one twice, or one that is not there.
    """
    search = _Search(problem, reference_mu, smoothness, effort, stop)
    if not start or len(set(start)) != len(start) or not set(start) <= set(search.by_angle):
        raise InputError(
            f"the search for beams starts from different ones of the {len(search.by_angle)} candidates; found "
            f"{', '.join(str(beam) for beam in start) or 'none'}"
        )
    beams = tuple(sorted(start, key=search.angle_deg))
    best = search.first(beams)
    start_worth = best.worth
    exchanges: list[tuple[int, int]] = []
    for one_pass in range(passes):
        before = len(exchanges)
        # Those that are there when the pass begins, each once.
        for n, out in enumerate(beams):
            if progress is not None:
                progress((one_pass + n / len(beams)) / passes)
            if stop():
                break
            found = search.exchanged(best, out)
            if found is not None:
                (came,) = set(found.beams) - set(best.beams)
                exchanges.append((out, came))
                best = found
        beams = best.beams
        if stop() or len(exchanges) == before:
            break
    return ChosenBeams(
        best.beams, best.solution.weights_mu, best.worth, start_worth, search.trials, tuple(exchanges), stop()
    )


@dataclass(frozen=True, eq=False)
class _Trial:
    """Beams in ascending angle, their fluence, and of which of them, in the order of the setups, each beamlet is."""

    beams: tuple[int, ...]
    solution: Solution
    beam: NDArray[np.int32]

    @property
    def worth(self) -> Worth:
        return worth_of(self.solution)

    def of(self, beam: int) -> Float:
        """Fluence of one of the beams."""
        own: Float = self.solution.weights_mu[self.beam == sorted(self.beams).index(beam)]
        return own


def worth_of(solution: Solution) -> Worth:
    """How good a solution is."""
    return Worth(solution.violation_gy, solution.value)


class _Search:
    """Fluences of one choice of beams after the other."""

    def __init__(
        self, problem: Problem, reference_mu: float, smoothness: float, effort: Effort, stop: Callable[[], bool]
    ) -> None:
        if not isinstance(problem.dose_map, Influence):
            raise InputError("beams are chosen from the candidates of an influence matrix")
        self.problem, self.influence, self.reference_mu = problem, problem.dose_map, reference_mu
        self.smoothness, self.effort, self.stop = smoothness, effort, stop
        # In the order of their angles nothing depends on the order in which candidates are listed.
        self.by_angle = sorted(range(len(self.influence.beamlets.setups)), key=self.angle_deg)
        self.trials = 0
        self.seen: set[frozenset[int]] = set()

    def angle_deg(self, beam: int) -> float:
        return self.influence.beamlets.setups[beam].gantry_deg

    def first(self, beams: tuple[int, ...]) -> _Trial:
        """Beams with even weights to begin with."""
        return self._tried(beams, {})

    def exchanged(self, best: _Trial, out: int) -> _Trial | None:
        """The best trial with another beam in place of one, None where none is worth it or the search is stopped."""
        rest = tuple(beam for beam in best.beams if beam != out)
        own = {beam: best.of(beam) for beam in rest}
        candidates = [beam for beam in self.by_angle if beam not in best.beams]
        if rest:
            left = self._tried(rest, own)
            if self.stop():
                return None
            own = {beam: left.of(beam) for beam in rest}
            prices = self._prices(left.solution.dose_gy)
        else:
            prices = self._prices(np.zeros(self.influence.shape[0]))
        order = sorted(candidates, key=lambda beam: -prices[beam])[:PRICED]
        order += [beam for beam in self._neighbours(out) if beam in candidates and beam not in order]
        found: _Trial | None = None
        for beam in order:
            # What was tried before was not better than what is there, or was and gave way to something better.
            if frozenset((*rest, beam)) in self.seen:
                continue
            if self.stop():
                return None
            trial = self._tried(tuple(sorted((*rest, beam), key=self.angle_deg)), own)
            if trial.worth.better_than(found.worth if found else best.worth, 0.0 if found else WORTH_IT):
                found = trial
        return None if self.stop() else found

    def _neighbours(self, beam: int) -> list[int]:
        at, count = self.by_angle.index(beam), len(self.by_angle)
        steps = [step * way for step in range(1, NEIGHBOURS + 1) for way in (-1, 1)]
        return list(dict.fromkeys(self.by_angle[(at + step) % count] for step in steps))

    def _prices(self, dose_gy: Float) -> Float:
        """Length of the gradient's downward part of each beam's beamlets."""
        asked = self.problem.with_penalties()
        by_weight = self.influence.gradient(asked.derivative_of_dose(dose_gy))
        beam = self.influence.beamlets.beam
        length: Float = np.sqrt(np.bincount(beam, np.minimum(by_weight, 0.0) ** 2, len(self.by_angle)))
        return length

    def _tried(self, beams: tuple[int, ...], known_mu: dict[int, Float]) -> _Trial:
        """Find the fluence of beams from what is known of some of them."""
        self.trials += 1
        self.seen.add(frozenset(beams))
        influence = of_beams(self.influence, beams)
        smooth = Smoothness.of(influence.beamlets, self.reference_mu, self.smoothness) if self.smoothness else None
        problem = replace(self.problem, dose_map=influence, smoothness=smooth)
        start = np.full(problem.size, self.reference_mu)
        for n, beam in enumerate(sorted(beams)):
            # A beam that got nothing beside another is begun anew without it.
            if beam in known_mu and known_mu[beam].any():
                start[influence.beamlets.beam == n] = known_mu[beam]
        return _Trial(beams, solve(problem, start, self.effort, stop=self.stop), influence.beamlets.beam)

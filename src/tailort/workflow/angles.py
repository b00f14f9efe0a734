"""Beam angles that suit a patient, where a protocol asks for it: chosen on a sample, checked on the whole problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tailort.optimisation import Goals, Problem, Progress, Smoothness, solve
from tailort.optimisation.angles import Worth, choose_beams, worth_of
from tailort.optimisation.fewer_rows import FewerRows
from tailort.protocols.schema import Technique
from tailort.workflow.bench import Bench, Fluence
from tailort.workflow.clock import StageClock
from tailort.workflow.phases import Phase

Asking = Callable[[Bench, Phase, Fluence], tuple[Problem, Goals, float]]

# Voxels of each structure while angles are compared.
SAMPLE = 2000
# Shares of the progress: influence of the candidates and of the class solution, search; the rest is the check.
INFLUENCE_DONE, SEARCH_DONE = 0.3, 0.8


@dataclass(frozen=True, eq=False)
class Angled:
    """A phase with its angles.

    Parameters
    ----------
    phase : Phase
        Whose technique names its angles.
    notes : tuple of str
        Which they are and what that gained; empty where they were told.
    stopped : bool
        Whether the search was stopped before it ended.
    """

    phase: Phase
    notes: tuple[str, ...] = ()
    stopped: bool = False


def with_angles(bench: Bench, phase: Phase, asking: Asking, clock: StageClock, stop: Callable[[], bool]) -> Angled:
    """Choose the beam angles of a phase where its technique leaves them to the optimiser.

    The angles of the class solution, evenly spaced, are exchanged one at a time for candidates, on a sample of the
    voxels. Both choices are then optimised on all voxels, with the recipe's weights, and the better one is taken:
    limits first, then the objective.

    Parameters
    ----------
    bench : Bench
        The patient.
    phase : Phase
        What is asked. Of a robust plan the angles are compared in the planned position, and checked in all.
    asking : callable
        Tells the problem of beamlets (`fluence_problem`).
    clock : StageClock
        Of the run; one stage.
    stop : callable
        When it says True, the best angles so far are taken, unchecked.
    """
    technique = phase.technique
    if technique.angles != "optimised":
        return Angled(phase)
    candidates, start = technique.candidate_angles_deg(), technique.gantry_angles_deg()
    with clock.stage(f"angles {phase.label}") as tell:
        planned = replace(phase, positions=())
        even = _named(technique, start)
        usual = bench.fluence(even, phase.shadows, phase.positions, lambda share: tell(INFLUENCE_DONE / 2 * share))
        problem, _, reference_mu = asking(bench, planned, usual)
        smoothness = problem.smoothness.weight if isinstance(problem.smoothness, Smoothness) else 0.0
        pool = _pool(bench, planned, candidates, problem, lambda share: tell(INFLUENCE_DONE / 2 * (1.0 + share)))
        found = choose_beams(
            pool,
            [candidates.index(angle) for angle in start],
            reference_mu,
            smoothness,
            stop=stop,
            progress=lambda share: tell(INFLUENCE_DONE + (SEARCH_DONE - INFLUENCE_DONE) * share),
        )
        chosen = tuple(candidates[beam] for beam in found.beams)
        told = f"chosen from {len(candidates)} in {found.trials} trials"
        if stop():
            note = f"beam angles {_listed(chosen)}, {told}, stopped before the search was done and unchecked"
            return Angled(replace(phase, technique=_named(technique, chosen)), (note,), stopped=True)
        if chosen == start:
            note = f"beam angles {_listed(start)} as in the class solution: nothing better was found, {told}"
            return Angled(replace(phase, technique=even), (note,))
        named = _named(technique, chosen)
        before = _optimised(bench, phase, asking, usual, stop, lambda share: tell(SEARCH_DONE + 0.1 * share))
        fluence = bench.fluence(named, phase.shadows, phase.positions, lambda _: None)
        after = _optimised(bench, phase, asking, fluence, stop, lambda share: tell(SEARCH_DONE + 0.1 * (1.0 + share)))
    compared = f"{_worth(after)} against {_worth(before)} of the class solution {_listed(start)}"
    if stop():
        note = f"beam angles {_listed(chosen)}, {told}, stopped before they were checked"
        return Angled(replace(phase, technique=named), (note,), stopped=True)
    if not after.better_than(before):
        note = (
            f"beam angles {_listed(start)} of the class solution: {_listed(chosen)}, {told}, are no better ({compared})"
        )
        return Angled(replace(phase, technique=even), (note,))
    note = f"beam angles {_listed(chosen)}, {told}: objective {compared}"
    return Angled(replace(phase, technique=named), (note,))


def _pool(
    bench: Bench, phase: Phase, candidates: tuple[float, ...], problem: Problem, tell: Callable[[float], None]
) -> Problem:
    """What is asked, of the beamlets of all candidates, on a sample of the voxels."""
    asked = {wish.structure for wish in problem.wishes} | {limit.structure for limit in problem.limits}
    used = [problem.sets[name] for name in sorted(asked)]
    fewer = FewerRows.of(used, problem.wishes, problem.limits, SAMPLE, np.random.default_rng(0))
    influence = bench.influence(
        candidates,
        phase.technique.collimator_deg,
        phase.shadows,
        phase.positions,
        bench.rows.voxels[fewer.rows],
        tell,
        phase.technique.beamlet_mm,
    )
    return Problem(influence, problem.fractions, fewer.sets, fewer.wishes, fewer.limits)


def _optimised(
    bench: Bench, phase: Phase, asking: Asking, beams: Fluence, stop: Callable[[], bool], tell: Callable[[float], None]
) -> Worth:
    problem, _, reference_mu = asking(bench, phase, beams)

    def told(progress: Progress) -> None:
        tell(1.0 - float(0.5 ** (progress.iteration / 60.0)))

    return worth_of(solve(problem, np.full(problem.size, reference_mu), stop=stop, progress=told))


def _named(technique: Technique, angles_deg: tuple[float, ...]) -> Technique:
    """The technique with its angles told."""
    dropped = {"beams", "angles", "candidates_every_deg", "gantry_excluded_deg"}
    given = {name: getattr(technique, name) for name in technique.model_fields_set - dropped}
    return Technique(**given | {"gantry_deg": angles_deg})


def _listed(angles_deg: tuple[float, ...]) -> str:
    return ", ".join(f"{angle:g}" for angle in angles_deg)


def _worth(one: Worth) -> str:
    beyond = f" with a limit broken by {one.violation_gy:.2f} Gy" if one.violation_gy > 0 else ""
    return f"{one.value:.4g} Gy2{beyond}"

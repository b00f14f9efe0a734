"""Trade-offs: ideal fluences of a phase along the Pareto front of a few goals, and the mixture that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError, MissingStructureError
from tailort.optimisation.pareto import TradeOffs, TradeProgress, trade_offs
from tailort.optimisation.pareto_goals import TradeGoal, trade_goal
from tailort.optimisation.pareto_kept import kept_beside
from tailort.optimisation.pareto_navigation import Mixture, navigate
from tailort.optimisation.problem import Problem
from tailort.patient import Case, Constraint, Prescription, StructureSet
from tailort.physics import Machine
from tailort.protocols import Decision, Protocol, Technique, joined
from tailort.targets import derive
from tailort.workflow.angles import with_angles
from tailort.workflow.bench import Bench, set_up
from tailort.workflow.clock import Stage, StageClock
from tailort.workflow.courses import phase_of
from tailort.workflow.fluence_plans import fluence_problem, share_done
from tailort.workflow.options import PlanningOptions
from tailort.workflow.ordering import serve
from tailort.workflow.phases import Phase
from tailort.workflow.planning import decided
from tailort.workflow.requesting import Request

Float = NDArray[np.float64]

# Techniques whose plans begin with a fluence.
BY_FLUENCE = ("imrt", "vmat")
GOALS = (2, 3)
# A limit that is exceeded by less is kept: rounding of a mixture, Gy.
ROUNDING_GY = 1e-6


@dataclass(frozen=True)
class Asked:
    """One of the goals that a person wants to trade.

    Parameters
    ----------
    structure, metric : str
        "Heart", "Mean[Gy]".
    worst_gy : float or None
        How bad the metric may become, Gy of the phase, physical; None is as bad as the other goals want.
    at_gy : float or None
        What is asked of the mixture; None is as good as can be.
    """

    structure: str
    metric: str
    worst_gy: float | None = None
    at_gy: float | None = None

    @property
    def seen_as(self) -> Constraint:
        """A metric that is only reported, so that the optimiser sees the structure's voxels."""
        metric = "Mean[Gy]" if self.metric.replace(" ", "").startswith("gEUD") else self.metric
        return Constraint(self.structure, metric, "<=", 0.0, "report", "--goal")


@dataclass(frozen=True)
class HeldLimit:
    """A limit of the plans along the front, and how the mixture stands to it.

    Parameters
    ----------
    structure, label : str
        Which.
    hard : bool
        Of the protocol; otherwise what the protocol's plan has reached of a goal that is not traded.
    excess_gy : float
        How far the mixture (without one, the fluence that came closest) is beyond it, Gy; not above 0 where it holds.
    """

    structure: str
    label: str
    hard: bool
    excess_gy: float

    @property
    def violated(self) -> bool:
        """Whether it does not hold."""
        return self.excess_gy > ROUNDING_GY


@dataclass(frozen=True, eq=False)
class Trading:
    """What can be traded for what in a patient.

    Parameters
    ----------
    case, protocol, decision, structures, machine
        As of a planning run.
    phase : Phase
        Whose fluence it is.
    phases : int
        Number of phases of the course.
    asked : tuple of Asked
        What a person wants.
    front : TradeOffs or None
        None where no fluence was found that keeps the hard limits.
    mixture : Mixture or None
        The mixture that was asked for; where nothing was asked, the one whose worst goal is best.
    held : tuple of HeldLimit
        Hard limits, then what is kept of the protocol's goals.
    unjudged : tuple of str
        Hard limits on structures that no voxel of the dose grid belongs to.
    obstacles : tuple of str
        Sentences about hard limits that cannot hold together, or that the search did not reach.
    engine_note, density_table : str
        What was used.
    stages : tuple of Stage
        Seconds of each stage.
    """

    case: Case
    protocol: Protocol
    decision: Decision
    structures: StructureSet
    machine: Machine
    phase: Phase
    phases: int
    asked: tuple[Asked, ...]
    front: TradeOffs | None
    mixture: Mixture | None
    held: tuple[HeldLimit, ...]
    unjudged: tuple[str, ...]
    obstacles: tuple[str, ...]
    engine_note: str
    density_table: str
    stages: tuple[Stage, ...]

    @property
    def violated(self) -> tuple[HeldLimit, ...]:
        """Hard limits that do not hold."""
        return tuple(one for one in self.held if one.hard and one.violated)

    @property
    def interrupted(self) -> bool:
        """Whether a person stopped it."""
        return self.front is not None and self.front.reason == "stopped"

    @property
    def converged(self) -> bool:
        """Whether every search along the front ended at an optimum, and nobody stopped it."""
        return self.front is not None and not self.interrupted and all(plan.converged for plan in self.front.plans)

    @property
    def answer(self) -> str:
        """Whether what was asked is kept: "met", "ruled out" (`Mixture.impossible`), "not reached", "nothing asked"."""
        if self.mixture is None or all(one.at_gy is None for one in self.asked):
            return "nothing asked"
        if self.mixture.met:
            return "met"
        return "ruled out" if self.mixture.impossible else "not reached"

    def as_dict(self) -> dict[str, Any]:
        """Return what tradeoffs.json holds; doses are physical, Gy of the phase."""
        return {
            "protocol": {"id": self.protocol.id, "version": self.protocol.version},
            "phase": self.phase.number,
            "phases": self.phases,
            "technique": self.phase.technique.kind,
            "fractions": self.phase.lead.fractions,
            "prescriptions": [{"target": p.target, "dose_gy": p.dose_gy} for p in self.phase.prescriptions],
            "quantity": "physical",
            "dose_of": "ideal fluence",
            "front": None if self.front is None else self.front.as_dict(),
            "mixture": None if self.mixture is None else self.mixture.as_dict(),
            "answer": self.answer,
            "limits": [
                {
                    "structure": one.structure,
                    "limit": one.label,
                    "priority": "hard" if one.hard else "kept",
                    "excess_gy": one.excess_gy,
                    "verdict": "fail" if one.violated else "pass",
                }
                for one in self.held
            ],
            "limits_not_judged": list(self.unjudged),
            "obstacles": list(self.obstacles),
            "interrupted": self.interrupted,
        }


def trade(
    case: Case,
    protocol: Protocol,
    options: PlanningOptions,
    asked: Sequence[Asked],
    clock: StageClock,
    *,
    most_plans: int,
    gap: float,
    stop: Callable[[], bool],
    keep: Callable[[], None],
) -> Trading:
    """Find out what the first phase's fluence can trade, and mix what is asked for.

    Parameters
    ----------
    case, protocol, options, clock
        As for `plan`.
    asked : sequence of Asked
        Two or three goals.
    most_plans : int
        Most plans along the front.
    gap : float
        Ends when no plan can be better than the mixtures by more than this share of every goal's range.
    stop : callable
        Whether a person wants to stop.
    keep : callable
        Called once there is a best plan for each goal, so that a stop from then on keeps what there is.

    Raises
    ------
    UndecidedError, NotEligibleError
        When the protocol does not say yes.
    MissingStructureError, GeometryError, InputError
        When the case cannot be planned, a metric cannot be traded, or what is asked cannot be.
    StoppedError
        When a person stops before there is a best plan for each goal.

    Notes
    -----
    The front begins at the fluence that the protocol's own goals lead to. Every plan along it keeps the hard limits,
    and of the goals that are not traded what that fluence reached, but for a tenth and 0.2 Gy (`kept_beside`).
    """
    _require(asked, most_plans, gap)
    with clock.stage("decide"):
        known = decided(case, protocol, options)
        technique = _by_fluence(known.protocol, known.techniques)
    with clock.stage("targets"):
        structures = derive(known.protocol.target_steps(), case.structures, case.ct.image.grid.axes_mm()[0])
        asked = tuple(replace(one, structure=_drawn(structures, one)) for one in asked)
    request = Request(
        known.protocol.title, known.protocol.id, joined(known.protocol.prescriptions(), technique),
        known.protocol.course(), known.protocol.constraints(), (), (technique,),
    )  # fmt: skip
    with clock.stage("dose grid"):
        bench = set_up(
            replace(case, notes=(*case.notes, *known.notes)),
            structures,
            known.machine,
            options,
            request.prescriptions,
            [*request.constraints, *(one.seen_as for one in asked)],
        )
        phase = phase_of(bench, request, (request,), technique, request.phases[0], ())
        goals = _goals(bench, phase.prescriptions, asked)
    angled = with_angles(bench, phase, fluence_problem, clock, stop)
    phase = angled.phase
    with clock.stage("influence") as tell:
        beams = bench.fluence(phase.technique, phase.shadows, phase.positions, tell)
    with clock.stage("plan of the protocol") as tell:
        problem, wanted, reference_mu = fluence_problem(bench, phase, beams)
        sets = {**{one.structure: bench.rows.sets[one.structure] for one in asked}, **problem.sets}
        problem = replace(problem, sets=sets)
        served = serve(
            problem, wanted, np.full(problem.size, reference_mu), stop, lambda p: tell(share_done(p.iteration)),
            weighed=phase.weighs_goals,
        )  # fmt: skip
    front, mixture, kept, dose_gy = None, None, problem, served.solution.dose_gy
    if served.solution.feasible:
        kept = kept_beside(problem, served.solution, goals)
        with clock.stage("trade-offs") as tell:
            front = trade_offs(
                kept,
                goals,
                served.solution.weights_mu,
                gap=gap,
                most_plans=most_plans,
                stop=stop,
                progress=lambda p: _told(p, len(goals), tell, keep),
            )
        mixture = navigate(front, [one.at_gy for one in asked])
        dose_gy = mixture.dose_gy
    return Trading(
        case=replace(bench.case, notes=(*bench.case.notes, *angled.notes)),
        protocol=known.protocol,
        decision=known.decision,
        structures=structures,
        machine=bench.machine,
        phase=phase,
        phases=len(request.phases),
        asked=tuple(asked),
        front=front,
        mixture=mixture,
        held=_held(problem, kept, dose_gy),
        unjudged=tuple(
            f"{c.structure} {c.metric} {c.operator} {c.limit:g}"
            for c in request.constraints
            if c.priority == "hard" and c.structure.lower() not in {name.lower() for name in bench.rows.sets}
        ),
        obstacles=served.notes,
        engine_note=bench.engine_note,
        density_table=options.about_table,
        stages=clock.stages,
    )


def _require(asked: Sequence[Asked], most_plans: int, gap: float) -> None:
    """Refuse before any work what can be seen to be wrong."""
    if not GOALS[0] <= len(asked) <= GOALS[1]:
        raise InputError(f"trade-offs are between two or three goals; found {len(asked)}, give each with --goal")
    if not (most_plans > len(asked) and 0.0 < gap < 1.0):
        raise InputError(
            f"trade-offs need more plans than goals and a gap between 0 and 100 %; found {most_plans} plans for "
            f"{len(asked)} goals and {100 * gap:g} %"
        )


def _by_fluence(protocol: Protocol, techniques: Sequence[Technique]) -> Technique:
    """The first technique whose plans begin with a fluence."""
    found = next((technique for technique in techniques if technique.kind in BY_FLUENCE), None)
    if found is None:
        kinds = ", ".join(dict.fromkeys(technique.kind for technique in techniques))
        raise InputError(
            f"protocol '{protocol.id}' is planned as {kinds}, which has no fluence to trade; choose --technique imrt "
            "or vmat"
        )
    return found


def _drawn(structures: StructureSet, one: Asked) -> str:
    """Name of a goal's structure as it is drawn."""
    found = structures.find(one.structure)
    if found is None or found.is_empty:
        names = ", ".join(s.name for s in structures if not s.is_empty)
        raise MissingStructureError(f"the goal '{one.structure}: {one.metric}' is on no structure; there are: {names}")
    return found.name


def _goals(bench: Bench, prescriptions: Sequence[Prescription], asked: Sequence[Asked]) -> tuple[TradeGoal, ...]:
    goals = tuple(
        trade_goal(one.structure, one.metric, prescriptions, bench.rows.sets, bench.volumes_cm3, one.worst_gy)
        for one in asked
    )
    for goal, one in zip(goals, asked, strict=True):
        if one.at_gy is None:
            continue
        goal.bound_gy(one.at_gy)
        if one.worst_gy is not None and (one.at_gy < one.worst_gy if goal.rising else one.at_gy > one.worst_gy):
            raise InputError(
                f"'{goal.label}' is asked to be {one.at_gy:g} Gy and no worse than {one.worst_gy:g} Gy; ask for one"
            )
    return goals


def _told(progress: TradeProgress, goals: int, tell: Callable[[float], None], keep: Callable[[], None]) -> None:
    if progress.plans >= goals:
        keep()
    tell(progress.plans / progress.most)


def _held(problem: Problem, kept: Problem, dose_gy: Float) -> tuple[HeldLimit, ...]:
    """How a dose of the rows stands to the protocol's hard limits and to what is kept beside the trade."""
    hard = len(problem.limits)
    limits = (*problem.limits, *kept.limits[hard:])
    return tuple(
        HeldLimit(
            limit.structure,
            limit.label,
            n < hard,
            float(np.max(problem.excess_gy(dose_gy, limit))),
        )
        for n, limit in enumerate(limits)
    )

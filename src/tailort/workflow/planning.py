"""The main job: from a case and a protocol to a deliverable plan that is judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort import dose as engines
from tailort import optimisation
from tailort.dose.cut_off import cut_offs
from tailort.errors import GeometryError, InputError
from tailort.evaluation import Arm, Comparison, assess, compare, histograms
from tailort.geometry import Grid, Image, PartialVolume, partial_volume
from tailort.optimisation import Delivery, Problem, VoxelSet
from tailort.optimisation.arc import Arc, ArcDelivery, reweighed_arcs, sequence_arcs
from tailort.optimisation.arc_limits import RECALLED_LIMITS
from tailort.patient import Beam, Case, Constraint, Dose, Influence, Metric, Plan, Prescription, Structure, StructureSet
from tailort.physics import DensityTable, Machine, density_table, machine
from tailort.protocols import Protocol, decide
from tailort.protocols.protocol import ReportMetric
from tailort.protocols.schema import Technique
from tailort.targets import derive
from tailort.workflow.clock import StageClock
from tailort.workflow.densities import body_density, outline_of
from tailort.workflow.records import Convergence, PlanningRun, PlanResult
from tailort.workflow.rows import Rows, choose_rows

Float = NDArray[np.float64]

# For protocols that name none.
DEFAULT_MACHINE = "generic-6MV"
# Beyond the PTV's shadow by the width of the penumbra, mm at the isocentre.
BEAMLET_MARGIN_MM = 7.0
# Weight of the smoothness of the fluence, in the unit of the wishes.
SMOOTHNESS = 100.0
# A segment a beam for so many beamlets, between these numbers.
BEAMLETS_A_SEGMENT = 60
SEGMENTS_A_BEAM = (12, 14)
# How often the dose of the deliverable plan corrects the dose that its MU were optimised on.
CORRECTIONS = 1
# Of plans whose technique a person chose instead of the protocol's.
BEAMS, ARCS, ARC_COLLIMATOR_DEG = 9, 2, 10.0
# Arcs have beamlets every so many degrees; their leaves may take so many steps in each correction.
SECTOR_DEG = 6.0
ARC_CORRECTIONS = (40, 0)
# How close to a hard limit a plan may be scaled up.
HARD_LIMIT_SHARE = 0.999


@dataclass(frozen=True)
class PlanningOptions:
    """What a person may choose about planning beyond the protocol.

    Parameters
    ----------
    dose_grid_mm : float
        Spacing of the dose grid.
    technique : str or None
        None is the protocol's.
    density_table : DensityTable or str
        From CT numbers to mass density: the table of the scanner, or the name of a packaged one.
    densities : tuple of (str, float)
        Structures whose density is given, g/cm3; where two overlap, the later one holds.
    machine : Machine or None
        None is the protocol's or, when it names none, `generic-6MV`.
    engine : str
        Of the influence and of the reported dose.
    """

    dose_grid_mm: float = 3.0
    technique: str | None = None
    density_table: DensityTable | str = "schneider2000"
    densities: tuple[tuple[str, float], ...] = ()
    machine: Machine | None = None
    engine: str = "collapsed-cone"


@dataclass(frozen=True, eq=False)
class _Bench:
    """What both plans of a run share: the patient on the dose grid, the beams and their influence."""

    case: Case
    structures: StructureSet
    machine: Machine
    grid: Grid
    density: Image
    body: PartialVolume
    outline: NDArray[np.bool_]
    volumes_cm3: dict[str, float]
    rows: Rows
    influence: Influence
    options: PlanningOptions
    arcs: tuple[Arc, ...]

    @property
    def slice_mm(self) -> float:
        """Distance of the CT's slices: what a structure in a single plane is thick."""
        return self.case.ct.image.grid.spacing_mm[0]


@dataclass(frozen=True)
class _Request:
    """One plan that is wanted."""

    title: str
    label: str
    prescriptions: tuple[Prescription, ...]
    constraints: tuple[Constraint, ...]
    report: tuple[ReportMetric, ...]


def plan(
    case: Case,
    protocol: Protocol,
    options: PlanningOptions,
    clock: StageClock,
    *,
    stop: Callable[[], bool],
    keep: Callable[[], None],
) -> PlanningRun:
    """Plan a case by a protocol, and by its comparator, and judge both.

    Parameters
    ----------
    case : Case
        With a planning CT, structures and the facts of the clinical record.
    protocol : Protocol
        What is asked.
    options : PlanningOptions
        What a person chose.
    clock : StageClock
        Times the stages.
    stop : callable
        Whether a person wants to stop; asked while optimising.
    keep : callable
        Called once there is a feasible plan, so that a stop from then on keeps it.

    Raises
    ------
    UndecidedError, NotEligibleError
        When the protocol does not say yes.
    MissingStructureError, GeometryError, InputError
        When the case cannot be planned.
    """
    with clock.stage("decide"):
        decision = decide(protocol, case.facts)
        decision.require_yes()
        protocol.require_structures(case.structures)
        technique, asked_note = _technique(protocol, options)
        engine_note, linac = engines.engine(options.engine).label, _machine(protocol, options)
    with clock.stage("targets"):
        other = protocol.comparator()
        steps = other.target_steps if other else protocol.target_steps()
        structures = derive(steps, case.structures, case.ct.image.grid.axes_mm()[0])
    requests = [
        _Request(
            protocol.title, protocol.id, protocol.prescriptions(), protocol.constraints(),
            protocol.report_metrics(),
        )
    ]  # fmt: skip
    if other is not None:
        requests.append(_Request(other.title, "comparator", other.prescriptions, other.constraints, other.report))
    case = replace(case, notes=(*case.notes, *asked_note))
    bench = _set_up(case, structures, technique, linac, options, requests, clock)
    results: list[PlanResult] = []
    for request in requests:
        if results and stop():
            break
        results.append(_make(bench, request, clock, stop, keep))
    with clock.stage("compare"):
        comparison = _compare(protocol, structures, results)
        warnings = [cut.warning for cut in cut_offs(results[0].plan, bench.outline, case.ct.image.grid)]
    return PlanningRun(
        case=replace(bench.case, notes=(*bench.case.notes, *warnings)),
        protocol=protocol,
        decision=decision,
        structures=structures,
        main=results[0],
        comparator=results[1] if len(results) > 1 else None,
        comparison=comparison,
        machine=bench.machine,
        engine_note=engine_note,
        density_table=_about_table(options.density_table),
        stages=clock.stages,
    )


def _technique(protocol: Protocol, options: PlanningOptions) -> tuple[Technique, tuple[str, ...]]:
    """Technique of the plans, and what must be said of it."""
    phases = {p.phase for p in protocol.prescriptions()}
    if phases != {1}:
        raise InputError(f"protocol '{protocol.id}' has {len(phases)} phases; this version plans courses of one phase")
    asked = protocol.technique
    if options.technique is None or options.technique == asked.kind:
        return asked, ()
    note = f"protocol '{protocol.id}' asks for {asked.kind}; planned as {options.technique} because --technique says so"
    if options.technique == "vmat":
        own = Technique(kind="vmat", arcs=ARCS, collimator_deg=ARC_COLLIMATOR_DEG, machine=asked.machine)
    else:
        own = Technique(kind="imrt", beams=BEAMS, machine=asked.machine)
    return own, (note,)


def _machine(protocol: Protocol, options: PlanningOptions) -> Machine:
    named = protocol.technique.machine
    if options.machine is None:
        return machine(named or DEFAULT_MACHINE)
    if named is not None and named != options.machine.id:
        raise InputError(f"protocol '{protocol.id}' asks for machine {named}, --machine {options.machine.id}")
    return options.machine


def _steering(constraints: Sequence[Constraint], structures: StructureSet) -> tuple[Constraint, ...]:
    """Limits of structures that are drawn; those of the others are judged unknown."""
    drawn = {s.name.lower(): s.name for s in structures if not s.is_empty}
    return tuple(replace(c, structure=drawn[c.structure.lower()]) for c in constraints if c.structure.lower() in drawn)


def _set_up(
    case: Case,
    structures: StructureSet,
    technique: Technique,
    linac: Machine,
    options: PlanningOptions,
    requests: Sequence[_Request],
    clock: StageClock,
) -> _Bench:
    with clock.stage("dose grid and beams"):
        outline = outline_of(structures)
        grid = _dose_grid(case, outline, options.dose_grid_mm)
        slice_mm = case.ct.image.grid.spacing_mm[0]
        body = partial_volume(outline.contours, grid)
        dense = body_density(case.ct.image, structures, options.density_table, options.densities)
        mass = dense.around(grid)
        case = replace(case, notes=(*case.notes, *dense.notes))
        targets = list(dict.fromkeys(p.target for request in requests for p in request.prescriptions))
        limits = [c for request in requests for c in _steering(request.constraints, structures)]
        judged = list(dict.fromkeys([*targets, *(c.structure for c in limits)]))
        volumes = {
            name: partial_volume(structures[name].contours, grid, single_slice_thickness_mm=slice_mm) for name in judged
        }
        for name in targets:
            if not volumes[name].fractions.any():
                raise GeometryError(f"target '{name}' lies outside the body's dose grid; check its contours")
        whole = {c.structure for c in limits if _needs_every_voxel(c)}
        rows = choose_rows(grid, volumes, body, targets, whole, np.random.default_rng(0))
        isocentre = _isocentre([structures[name] for name in targets])
        arcs = _arcs(technique)
        angles = arcs[0].middles_deg if arcs else technique.gantry_angles_deg()
        setups = optimisation.arrange(angles, isocentre, technique.collimator_deg)
        contours = [contour for name in targets for contour in structures[name].contours]
        beamlets = optimisation.beamlets_covering(setups, contours, linac, case.ct.patient_position, BEAMLET_MARGIN_MM)
    with clock.stage("influence") as tell:
        influence = engines.engine(options.engine).influence(
            mass, beamlets, linac, grid, rows.voxels, position=case.ct.patient_position, progress=tell
        )
    sizes = {name: volume.volume_cm3(grid) for name, volume in volumes.items()}
    return _Bench(case, structures, linac, grid, mass, body, dense.outline, sizes, rows, influence, options, arcs)


def _arcs(technique: Technique) -> tuple[Arc, ...]:
    """Arcs to and fro over the same angles, which so share their beamlets; none for fixed beams."""
    if technique.arcs is None:
        return ()
    sectors = round(360.0 / SECTOR_DEG) - 1
    turns = [(f"{n + 1} {'CCW' if n % 2 else 'CW'}", n + 1, -1.0 if n % 2 else 1.0) for n in range(technique.arcs)]
    return tuple(
        Arc(name, number, 180.0 + way * SECTOR_DEG / 2, way * SECTOR_DEG, sectors, technique.collimator_deg)
        for name, number, way in turns
    )


def _make(
    bench: _Bench, request: _Request, clock: StageClock, stop: Callable[[], bool], keep: Callable[[], None]
) -> PlanResult:
    """Optimise, sequence, compute and judge one plan."""
    # A structure outside the body has no dose to steer.
    steering = tuple(c for c in _steering(request.constraints, bench.structures) if c.structure in bench.rows.sets)
    named = [p.target for p in request.prescriptions] + [c.structure for c in steering]
    sets = {name: bench.rows.sets[name] for name in dict.fromkeys(named)}
    with clock.stage(f"optimise {request.label}") as tell:
        problem, reference_mu = _problem(bench, request, steering, sets)
        start = np.full(problem.size, reference_mu)
        fluence = optimisation.solve(problem, start, stop=stop, progress=lambda p: tell(_share(p.iteration)))
        if fluence.feasible:
            keep()
    deliver = _deliver_arcs if bench.arcs else _deliver
    delivery, made, course, lack = deliver(bench, request, problem, fluence.weights_mu, clock, stop)
    if lack and not stop():
        # The dose between voxel centres came closer to a hard limit than the optimiser saw: once more, farther inside.
        tightened = replace(
            problem, limits=tuple(replace(t, gap_gy=t.gap_gy + lack.get(t.structure, 0.0)) for t in problem.limits)
        )
        delivery, made, course, _ = deliver(bench, request, tightened, fluence.weights_mu, clock, stop)
    with clock.stage(f"judge {request.label}"):
        report: dict[str, tuple[str, ...]] = {}
        for metric in request.report:
            report[metric.structure] = (*report.get(metric.structure, ()), metric.metric)
        card = assess(
            bench.structures,
            course,
            request.constraints,
            request.prescriptions,
            metrics=report,
            single_slice_thickness_mm=bench.slice_mm,
        )
        curves = {
            **histograms(
                [s for s in bench.structures if s.name not in card.histograms],
                course,
                single_slice_thickness_mm=bench.slice_mm,
            ),
            **card.histograms,
        }
    last, stopped = delivery.solution, stop()
    end = Convergence(
        converged=fluence.converged and last.converged and not stopped,
        reason=f"fluence: {fluence.reason}; segments: {last.reason}",
        iterations=fluence.iterations + last.iterations,
        optimality=last.optimality,
        interrupted=stopped,
    )
    dvhs = tuple(curves[s.name] for s in bench.structures if s.name in curves)
    return PlanResult(request.title, request.prescriptions, request.constraints, made, course, card, dvhs, end)


def _problem(
    bench: _Bench, request: _Request, steering: tuple[Constraint, ...], sets: dict[str, VoxelSet]
) -> tuple[Problem, float]:
    """What is asked of the beamlets' weights, and the even weight to start from, MU."""
    distance = {p.target: optimisation.distances_mm(bench.influence, sets[p.target]) for p in request.prescriptions}
    goals = optimisation.objectives_from(
        request.prescriptions, steering, sets, {name: bench.volumes_cm3[name] for name in sets}, distance
    )
    problem = Problem(bench.influence, request.prescriptions[0].fractions, goals.sets, goals.wishes, goals.limits)
    lead = max(request.prescriptions, key=lambda p: p.dose_gy)
    reference_mu = optimisation.reference_weight(problem, lead.dose_gy, lead.target)
    smooth = optimisation.Smoothness.of(bench.influence.beamlets, reference_mu, SMOOTHNESS)
    return replace(problem, smoothness=smooth), reference_mu


def _share(iteration: int) -> float:
    """Share done that a person is shown: the number of iterations is not known before."""
    return 1.0 - float(0.5 ** (iteration / 60.0))


def _deliver(
    bench: _Bench,
    request: _Request,
    problem: Problem,
    fluence_mu: Float,
    clock: StageClock,
    stop: Callable[[], bool],
) -> tuple[Delivery, Plan, Dose, dict[str, float]]:
    """Segments of a fluence, the plan scaled to its prescriptions, its dose, and how many Gy limits lack for the scale.

    The scale meets every prescription unless a hard limit stops it short; then the coverage that is left is what the
    scorecard shows.
    """
    beams, beamlets = len(bench.influence.beamlets.setups), len(bench.influence.beamlets)
    with clock.stage(f"segments {request.label}") as tell:
        delivery = optimisation.sequence(
            problem,
            bench.influence,
            fluence_mu,
            bench.machine,
            segments_per_beam=int(np.clip(round(beamlets / beams / BEAMLETS_A_SEGMENT), *SEGMENTS_A_BEAM)),
            stop=stop,
            progress=lambda p: tell(_share(p.iteration)),
        )
    for n in range(CORRECTIONS + 1):
        made, course = _dose_of(bench, request, delivery.beams, clock)
        if n == CORRECTIONS or stop():
            break
        with clock.stage(f"correct {request.label}") as tell:
            rows_gy = course.image.values.reshape(-1)[bench.influence.voxels].astype(np.float64)
            delivery = optimisation.reweighed(
                problem,
                bench.influence,
                delivery,
                bench.machine,
                rows_gy,
                stop=stop,
                progress=lambda p: tell(_share(p.iteration)),
            )
    return delivery, *_scaled_to_prescription(bench, request, made, course)


def _deliver_arcs(
    bench: _Bench,
    request: _Request,
    problem: Problem,
    fluence_mu: Float,
    clock: StageClock,
    stop: Callable[[], bool],
) -> tuple[ArcDelivery, Plan, Dose, dict[str, float]]:
    """As `_deliver`, by arcs: leaves and MU, then the MU alone, follow the dose that the engine finds."""
    with clock.stage(f"arcs {request.label}") as tell:
        delivery = sequence_arcs(
            problem, bench.influence, fluence_mu, bench.machine, bench.arcs, RECALLED_LIMITS, stop=stop,
            progress=lambda p: tell(_share(p.iteration)),
        )  # fmt: skip
    for leaf_steps in ARC_CORRECTIONS:
        made, course = _dose_of(bench, request, delivery.beams, clock)
        if stop():
            return delivery, *_scaled_to_prescription(bench, request, made, course)
        with clock.stage(f"correct {request.label}") as tell:
            rows_gy = course.image.values.reshape(-1)[bench.influence.voxels].astype(np.float64)
            delivery = reweighed_arcs(
                problem, bench.influence, delivery, bench.machine, RECALLED_LIMITS, rows_gy, leaf_steps=leaf_steps,
                stop=stop, progress=lambda p: tell(_share(p.iteration)),
            )  # fmt: skip
    made, course = _dose_of(bench, request, delivery.beams, clock)
    return delivery, *_scaled_to_prescription(bench, request, made, course)


def _dose_of(bench: _Bench, request: _Request, beams: tuple[Beam, ...], clock: StageClock) -> tuple[Plan, Dose]:
    """Plan of these beams and its dose, course total."""
    made = Plan(
        label=request.label[:16],
        beams=beams,
        prescriptions=request.prescriptions,
        fractions=request.prescriptions[0].fractions,
        patient_position=bench.case.ct.patient_position,
        frame_of_reference=bench.grid.frame_of_reference,
    )
    with clock.stage(f"dose of {request.label}") as tell:
        fraction = engines.engine(bench.options.engine).compute(
            made, bench.density, bench.machine, bench.grid, body=bench.body.full() > 0, progress=tell
        )
    return made, fraction.per_course()


def _scaled_to_prescription(
    bench: _Bench, request: _Request, made: Plan, course: Dose
) -> tuple[Plan, Dose, dict[str, float]]:
    """Plan and dose times the factor that meets every prescription or, if that is less, every hard limit."""
    needed, limits = _scales(bench, request, course)
    scale = min([needed, *(allowed for _, allowed in limits)])
    lack = {c.structure: c.limit * (needed / allowed - 1.0) for c, allowed in limits if allowed < needed}
    values = (course.image.values * np.float32(scale)).astype(np.float32)
    return _scaled(made, scale), replace(course, image=course.image.with_values(values)), lack


def _scales(bench: _Bench, request: _Request, course: Dose) -> tuple[float, list[tuple[Constraint, float]]]:
    """The factor that meets every prescription, and the largest one that each hard limit allows."""
    asked = {p.target: p.normalisation.metric for p in request.prescriptions if p.normalisation.metric}
    limited = [c for c in _steering(request.constraints, bench.structures) if _is_hard_dose(c)]
    names = dict.fromkeys([*asked, *(c.structure for c in limited)])
    found = histograms([bench.structures[name] for name in names], course, single_slice_thickness_mm=bench.slice_mm)
    needed = max(
        (p.dose_gy / found[p.target].value(asked[p.target]) for p in request.prescriptions if p.target in asked),
        default=1.0,
    )
    limits = [(c, HARD_LIMIT_SHARE * c.limit / max(found[c.structure].value(c.metric), 1e-6)) for c in limited]
    return needed, limits


def _scaled(made: Plan, factor: float) -> Plan:
    """Plan with all MU times a factor."""
    beams = tuple(
        replace(beam, control_points=tuple(replace(point, mu=point.mu * factor) for point in beam.control_points))
        for beam in made.beams
    )
    return replace(made, beams=beams)


def _is_hard_dose(c: Constraint) -> bool:
    """Whether a limit is hard and its value grows in proportion to the MU."""
    metric = Metric.parse(c.metric)
    return (
        c.priority == "hard" and c.quantity == "physical" and metric.is_dose and metric.unit == "Gy"
        and c.operator in ("<", "<=")
    )  # fmt: skip


def _needs_every_voxel(c: Constraint) -> bool:
    metric = Metric.parse(c.metric)
    return c.priority == "hard" or metric.kind == "Max" or metric.at_unit == "cc"


def _compare(protocol: Protocol, structures: StructureSet, results: Sequence[PlanResult]) -> Comparison | None:
    biology = protocol.file.biology.targets
    if len(results) < 2 or biology is None or biology.geud_a is None:
        return None
    if any(result.convergence.interrupted for result in results):
        return None
    arms = [Arm(r.plan.label, structures, r.dose, r.prescriptions, {d.structure: d for d in r.dvhs}) for r in results]
    return compare(
        arms[0],
        arms[1],
        results[0].constraints,
        tumour_alpha_beta_gy=biology.alpha_beta_gy,
        target_a=biology.geud_a,
    )


def _dose_grid(case: Case, outline: Structure, spacing_mm: float) -> Grid:
    """Grid over the part of the CT that holds the body."""
    ct = case.ct.image.grid
    low, high = outline.bounds_mm()
    first, last = ct.to_index(low), ct.to_index(high)
    inner = ct.crop(np.floor(np.minimum(first, last)), np.ceil(np.maximum(first, last)) + 1)
    return inner.with_spacing(spacing_mm)


def _isocentre(targets: Sequence[Structure]) -> tuple[float, float, float]:
    """Middle of the extent of all targets, rounded to whole millimetres, LPS mm."""
    bounds = [target.bounds_mm() for target in targets]
    low = np.min([b[0] for b in bounds], axis=0)
    high = np.max([b[1] for b in bounds], axis=0)
    x, y, z = (float(c) for c in np.round((low + high) / 2))
    return x, y, z


def _about_table(chosen: DensityTable | str) -> str:
    table = density_table(chosen) if isinstance(chosen, str) else chosen
    return f"{table.name}: {table.label}"

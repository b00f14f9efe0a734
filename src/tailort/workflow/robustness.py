"""What set-up errors do to the final plan: its dose in shifted positions, judged by the same limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tailort.errors import StoppedError
from tailort.evaluation import INDICES, Robustness, Row, Scenario, from_engine, judge_scenarios, within
from tailort.evaluation.painting import ACCEPTED, painting_quality
from tailort.evaluation.robustness_doses import blurred
from tailort.evaluation.robustness_scenarios import SetupErrors
from tailort.patient import Constraint, Dose, Metric, Plan, Prescription, StructureSet
from tailort.targets import Step, Unite
from tailort.workflow.bench import Bench
from tailort.workflow.records import PlanResult

BAND_STEP_GY = 0.1
# How a painted structure's row is called; it is no `Metric` of the dose alone.
QUALITY, QUALITY_DECIMALS = "QF", 4
# Shifts along the axes, in standard deviations of a course's mean position.
DEVIATIONS = 2.0
# Volumes that already stand for set-up errors, or only steer the optimiser: shifting them says nothing.
_NOT_JUDGED = ("PTV", "CONTROL")
# Asked of clinical targets besides the coverage: the near-minimum dose (ICRU Report 83, 2010).
_NEAR_MINIMUM = "D98%[Gy]"


def judge_setup_errors(
    bench: Bench,
    result: PlanResult,
    steps: Sequence[Step],
    errors: tuple[float, float, float] | SetupErrors,
    tell: Callable[[float], None],
    stop: Callable[[], bool],
) -> Robustness:
    """Judge a course as planned and with the patient shifted each way along each axis, all phases by the same shift.

    Parameters
    ----------
    bench : Bench
        The patient.
    result : PlanResult
        The deliverable plans.
    steps : sequence of Step
        How the targets are made; what a PTV is made of is judged in its place.
    errors : (3,) float or SetupErrors
        Length of the shifts along x, y, z of the patient, LPS mm; or their spread, which gives expected values too.
    tell : callable
        Called with the share done.
    stop : callable
        Whether a person wants to stop.

    Returns
    -------
    Robustness
        The nominal dose is the plan's own; the others are computed anew, by the same engine, with the isocentres moved
        against the patient. PTVs are not judged: they stand for these errors already.

    Raises
    ------
    StoppedError
        When a person stopped it.
    """
    known = ""
    if isinstance(errors, SetupErrors):
        scenarios = errors.along_axes(DEVIATIONS)
        known = f", each blurred by the errors from day to day; shifts of {DEVIATIONS:g} standard deviations"
    else:
        scenarios = within(errors, 6)
    body = bench.body.full()
    structures = bench.structures
    wanted = clinical_targets(result.prescriptions, steps, structures)
    targets = tuple(dict.fromkeys(one.name for one in wanted))
    if not all(inside(p.target, steps, structures) for p in result.prescriptions):
        # A PTV that was drawn by hand may stand for any of them.
        targets = tuple(dict.fromkeys([*targets, *_tumour(structures)]))
    done, doses_in_all = 0, (len(scenarios) - 1) * len(result.phases)

    def compute(plan: Plan) -> Dose:
        nonlocal done
        _, dose = bench.dose_of(
            plan.label, plan.beams, plan.prescriptions, lambda share: tell((done + share) / doses_in_all)
        )
        done += 1
        return dose

    moved = [from_engine(phase.plan, scenarios, compute, body=body) for phase in result.phases]

    def doses_of(scenario: Scenario) -> list[Dose]:
        if scenario.is_nominal:
            return [blurred(phase.dose, scenarios.blur_mm, body) for phase in result.phases]
        if stop():
            raise StoppedError("a person stopped the run before all set-up errors were judged")
        return [phase(scenario) for phase in moved]

    return judge_scenarios(
        structures,
        scenarios,
        doses_of,
        _asked(result, wanted, steps, structures),
        [one.prescription for one in wanted],
        method=f"isocentres moved against the patient, dose by {result.dose.engine}; nominal: the plan's own dose"
        + known,
        bin_gy=BAND_STEP_GY,
        metrics=_reported(result, structures, targets),
        rows_of=lambda doses: _painting_rows(bench, result, doses),
        curves_of=targets,
        single_slice_thickness_mm=bench.slice_mm,
    )


def _painting_rows(bench: Bench, result: PlanResult, doses: Sequence[Dose]) -> list[Row]:
    """The quality factor of every painted structure: the painting moves with the patient."""
    rows = []
    done = set[tuple[str, int]]()
    for phase, dose in zip(result.phases, doses, strict=True):
        for p in phase.plan.prescriptions:
            if p.painted is None or (p.tied_to, phase.number) in done:
                continue
            done.add((p.tied_to, phase.number))
            found = painting_quality(dose, p.painted, bench.structures[p.tied_to], bench.slice_mm).quality_factor
            value = round(found, QUALITY_DECIMALS)
            rows.append(
                Row(
                    p.tied_to, QUALITY, "physical", "course", value, "<=", ACCEPTED, "goal",
                    "pass" if value <= ACCEPTED else "fail", "RB-144, recalled",
                )
            )  # fmt: skip
    return rows


@dataclass(frozen=True)
class ClinicalTarget:
    """A volume without a set-up margin, and what PTVs that are grown from it are to get.

    Parameters
    ----------
    name : str
        Of the volume.
    prescription : Prescription
        In its place: the highest of one phase.
    of : str
        Target of the protocol's own prescription.
    """

    name: str
    prescription: Prescription
    of: str


def clinical_targets(
    prescriptions: Sequence[Prescription], steps: Sequence[Step], structures: StructureSet
) -> tuple[ClinicalTarget, ...]:
    """Ask of what PTVs are made of what is prescribed to them: in each phase of each of these the highest dose.

    Parameters
    ----------
    prescriptions : sequence of Prescription
        Of the course.
    steps : sequence of Step
        How the targets are made.
    structures : StructureSet
        What is drawn or made; a PTV that is drawn by hand has no known inside and is left out.
    """
    found: dict[tuple[int, str], ClinicalTarget] = {}
    for p in sorted(prescriptions, key=lambda p: (p.phase, p.dose_gy)):
        for name in inside(p.target, steps, structures):
            found[p.phase, name] = ClinicalTarget(name, replace(p, target=name), p.target)
    return tuple(found.values())


def _asked(
    result: PlanResult, targets: Sequence[ClinicalTarget], steps: Sequence[Step], structures: StructureSet
) -> list[Constraint]:
    """Coverage of PTVs, asked of what they are made of, then the limits of everything else; each once."""
    asked = list(_of_clinical_volumes(result.constraints, steps, structures))
    asked += _coverage(targets)
    asked += [c for c in result.constraints if not is_margin(c.structure, structures)]
    once: dict[tuple[str, str, str, float, str], Constraint] = {}
    for c in asked:
        once.setdefault((c.structure.lower(), c.metric, c.operator, c.limit, c.label), c)
    return list(once.values())


def without_margins(
    constraints: Sequence[Constraint], steps: Sequence[Step], structures: StructureSet
) -> tuple[Constraint, ...]:
    """Constraints with the coverage of PTVs asked of what they are made of.

    A plan that is made for set-up errors needs no margin for them. A PTV that was drawn by hand keeps what is asked.
    """
    found: list[Constraint] = []
    for c in constraints:
        of_parts = _of_clinical_volumes([c], steps, structures)
        found += of_parts or [c]
    return tuple(found)


def _of_clinical_volumes(
    constraints: Sequence[Constraint], steps: Sequence[Step], structures: StructureSet
) -> tuple[Constraint, ...]:
    return tuple(
        replace(c, structure=name, source=f"{c.source}, of {c.structure}")
        for c in constraints
        if is_margin(c.structure, structures) and is_coverage(c)
        for name in inside(c.structure, steps, structures)
    )


def is_coverage(c: Constraint) -> bool:
    """Whether a constraint asks for at least a dose in Gy."""
    metric = Metric.parse(c.metric)
    return c.operator in (">", ">=") and metric.is_dose and metric.unit == "Gy"


def _coverage(targets: Sequence[ClinicalTarget]) -> list[Constraint]:
    """What each clinical target is to get in all phases together by the prescriptions' own metrics."""
    by_metric: dict[tuple[str, str], list[ClinicalTarget]] = {}
    for one in targets:
        if one.prescription.normalisation.metric is not None:
            # A painted mean is that of all that is painted, not of each part.
            name = one.name if one.prescription.painted is None else one.prescription.tied_to
            by_metric.setdefault((name, one.prescription.normalisation.metric), []).append(one)
    asked = []
    for (name, metric), phases in by_metric.items():
        by_phase: dict[int, float] = {}
        for one in phases:
            number = one.prescription.phase
            by_phase[number] = max(one.prescription.dose_gy, by_phase.get(number, 0.0))
        dose_gy = sum(by_phase.values())
        limit = dose_gy if Metric.parse(metric).unit == "Gy" else 100.0
        source = f"prescription of {', '.join(dict.fromkeys(one.of for one in phases))}"
        asked.append(Constraint(name, metric, ">=", limit, "goal", source))
    return asked


def inside(target: str, steps: Sequence[Step], structures: StructureSet) -> tuple[str, ...]:
    """Tell the volumes without a set-up margin from which a target is grown; the target itself where it has none."""
    drawn = structures.find(target)
    if drawn is None or drawn.is_empty:
        return ()
    if drawn.role != "PTV":
        return (drawn.name,)
    made_at = [n for n, step in enumerate(steps) if step.name.lower() == target.lower()]
    if not made_at:
        return ()
    step, earlier = steps[made_at[-1]], steps[: made_at[-1]]
    parts = [*step.of, *step.if_drawn]
    for operation in step.then:
        if isinstance(operation, Unite):
            parts += [*operation.of, *operation.if_drawn]
    return tuple(dict.fromkeys(name for part in parts for name in inside(part, earlier, structures)))


def _tumour(structures: StructureSet) -> tuple[str, ...]:
    return tuple(s.name for s in structures if s.role in ("GTV", "CTV", "ITV") and not s.is_empty)


def is_margin(name: str, structures: StructureSet) -> bool:
    """Whether a structure stands for set-up errors already, or only steers the optimiser."""
    found = structures.find(name)
    return found is not None and found.role in _NOT_JUDGED


def _reported(result: PlanResult, structures: StructureSet, targets: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What the plan's scorecard only reports, and the near-minimum dose of every clinical target."""
    pairs = [
        (row.structure, row.metric)
        for row in result.scorecard.rows
        if row.limit is None and row.metric not in INDICES and not is_margin(row.structure, structures)
    ]
    pairs += [(name, str(Metric.parse(_NEAR_MINIMUM))) for name in targets]
    asked: dict[str, tuple[str, ...]] = {}
    for name, metric in dict.fromkeys(pairs):
        asked[name] = (*asked.get(name, ()), metric)
    return asked

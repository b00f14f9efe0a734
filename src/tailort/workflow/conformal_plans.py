"""3-D conformal plans: fields open round the targets, weighted, with subfields where the dose is too hot."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tailort import optimisation
from tailort.errors import GeometryError, InputError
from tailort.geometry import interpolate
from tailort.optimisation import Problem, delivery_of
from tailort.optimisation.arrangements import arranged
from tailort.optimisation.conformal import Aperture, ApertureMargin, Block, Prisms, beams_of, conform
from tailort.optimisation.conformal_subfields import field_in_field
from tailort.optimisation.conformal_weights import Segments, anchor_of
from tailort.patient import BeamSetup, Prescription
from tailort.patient.arrangements import arrangement, setups_of
from tailort.protocols.schema import Supplement, Technique
from tailort.workflow.bench import Bench
from tailort.workflow.clock import StageClock
from tailort.workflow.normalising import reached_gy, reference_point, scaled_to_prescription, times
from tailort.workflow.phases import Phase
from tailort.workflow.records import Convergence, PhasePlan
from tailort.workflow.wanted import wanted_of

Float = NDArray[np.float64]

# Highest dose that subfields aim at, as a share of the prescription (ICRU 50: 107 %).
HOTTEST = 1.07
# MU with which the dose of a single field is found.
TRIAL_MU = 100.0
# A field whose leaves close over an organ is of use while this share of it stays open.
LEAST_OPEN = 0.5


def plan_conformal(
    bench: Bench, phase: Phase, clock: StageClock, stop: Callable[[], bool], keep: Callable[[], None]
) -> PhasePlan:
    """Place, open, weigh and compute the fields of one phase.

    Every field opens round all targets of the phase; of several dose levels, each level above the lowest has fields
    of its own from the same directions. Where an organ is to be avoided, fields that it lies in have a second form
    whose leaves close over it, and the weights choose.
    """
    technique, machine, position = phase.technique, bench.machine, bench.case.ct.patient_position
    if technique.aperture_margin_mm is None:
        raise InputError(f"phase {phase.number}: 3dcrt needs an 'aperture_margin_mm'")
    with clock.stage(f"fields {phase.label}") as tell:
        if technique.aperture_target is not None:
            names = [[technique.aperture_target]]
        else:
            levels = sorted({p.dose_gy for p in phase.prescriptions})
            names = [[p.target for p in phase.prescriptions if p.dose_gy >= level] for level in levels]
        targets = [[bench.prisms(name) for name in own] for own in names]
        isocentre = bench.isocentre(names[0])
        margin = ApertureMargin.uniform(technique.aperture_margin_mm)
        setups = _setups(bench, technique, isocentre, targets[0], margin)
        apertures = [conform(setup, own, machine, position, margin) for own in targets for setup in setups]
        if technique.avoid is not None and technique.avoid_margin_mm is not None and machine.leaf_pairs:
            block = Block(bench.prisms(technique.avoid), ApertureMargin.uniform(technique.avoid_margin_mm))
            off = _off(block, apertures, targets, bench, margin)
            if technique.block_avoided:
                apertures = [own or whole for own, whole in zip(off, apertures, strict=True)]
            else:
                apertures += [own for own in off if own is not None]
        point = reference_point(bench, phase.lead, isocentre)
        voxels = bench.rows.voxels

        def dose_of(aperture: Aperture) -> Float:
            """Dose of an aperture in the rows and at the point, Gy per fraction per MU."""
            beam = beams_of([aperture], np.array([TRIAL_MU]), machine)
            _, dose = bench.dose_of(phase.label, beam, phase.prescriptions, lambda share: None)
            per_mu = dose.image.with_values(dose.image.values / np.float32(phase.lead.fractions * TRIAL_MU))
            return np.append(bench.in_rows(per_mu), interpolate(per_mu, point, 0.0))

        columns = []
        for n, aperture in enumerate(apertures):
            columns.append(dose_of(aperture))
            tell((n + 1) / len(apertures))
    with clock.stage(f"weights {phase.label}"):
        goals = wanted_of(bench, phase)
        lead = phase.lead
        problem = Problem(Segments(np.column_stack(columns)), lead.fractions, goals.sets, goals.wishes, goals.limits)
        anchor = anchor_of(lead, goals.sets[lead.target], len(voxels), bench.volumes_cm3[lead.target])
        index = np.stack(np.unravel_index(voxels, bench.grid.shape), axis=-1).astype(np.float64)
        field = field_in_field(
            problem, anchor, apertures, np.vstack([bench.grid.to_world(index), point]), dose_of, machine, position,
            lead.target, HOTTEST * lead.dose_gy, technique.subfields, max(bench.grid.spacing_mm), stop=stop,
        )  # fmt: skip
        if field.weights.feasible:
            keep()
    with clock.stage(f"dose of {phase.label}") as tell:
        beams = beams_of(field.apertures, field.weights.mu, machine)
        made, dose = bench.dose_of(phase.label, beams, phase.prescriptions, tell)
        scaled = scaled_to_prescription(bench, phase, made, dose)
    solution = field.weights.solution
    end = Convergence(
        converged=solution.converged and not stop(),
        reason=f"weights: {solution.reason}",
        iterations=solution.iterations,
        optimality=solution.optimality,
        kkt_residual=solution.kkt_residual,
        interrupted=stop(),
    )
    return PhasePlan(
        phase.number,
        technique.kind,
        scaled.plan,
        scaled.dose,
        end,
        delivery_of(scaled.plan, machine),
        notes=scaled.notes,
        held_down=scaled.held_down,
    )


def plan_supplement(
    bench: Bench, label: str, supplement: Supplement, prescription: Prescription, clock: StageClock,
    stop: Callable[[], bool],
) -> PhasePlan:  # fmt: skip
    """One direct anterior field to a region, its dose prescribed to a point below the skin."""
    machine, position = bench.machine, bench.case.ct.patient_position
    with clock.stage(f"dose of {label}") as tell:
        isocentre = bench.isocentre([supplement.target])
        (setup,) = setups_of((0.0,), isocentre, position)
        margin = ApertureMargin.uniform(supplement.aperture_margin_mm)
        aperture = conform(setup, [bench.prisms(supplement.target)], machine, position, margin)
        beams = beams_of([aperture], np.array([TRIAL_MU]), machine)
        made, dose = bench.dose_of(label, beams, (prescription,), tell)
        factor = prescription.dose_gy / reached_gy(bench, prescription, made, dose)
        plan, dose = times(made, dose, factor)
    end = Convergence(True, "one field, prescribed to a point", 0, 0.0, 0.0, stop())
    return PhasePlan(prescription.phase, "3dcrt", plan, dose, end, delivery_of(plan, machine))


def _off(
    block: Block, apertures: list[Aperture], targets: list[list[Prisms]], bench: Bench, margin: ApertureMargin
) -> list[Aperture | None]:
    """Each field with the leaves closed over an organ; None where it is not in the field, or covers too much of it."""
    machine, position = bench.machine, bench.case.ct.patient_position
    made: list[Aperture | None] = []
    directions = len(apertures) // len(targets)
    for n, whole in enumerate(apertures):
        try:
            closed = conform(whole.setup, targets[n // directions], machine, position, margin, (block,))
        except GeometryError:
            # The organ covers all of the field.
            made.append(None)
            continue
        smaller = LEAST_OPEN * whole.area_mm2(machine) < closed.area_mm2(machine) < whole.area_mm2(machine) - 1.0
        made.append(closed if smaller else None)
    return made


def _setups(
    bench: Bench,
    technique: Technique,
    isocentre_mm: tuple[float, float, float],
    targets: list[Prisms],
    margin: ApertureMargin,
) -> tuple[BeamSetup, ...]:
    """Directions of the fields: told as angles, or those of an arrangement that avoid an organ best."""
    if technique.arrangement is None:
        return optimisation.arrange(technique.gantry_angles_deg(), isocentre_mm, technique.collimator_deg)
    kept_mm = technique.avoid_margin_mm
    return arranged(
        arrangement(technique.arrangement), isocentre_mm, bench.case.ct.patient_position, technique.collimator_deg,
        targets=targets, avoid=None if technique.avoid is None else bench.prisms(technique.avoid), margin=margin,
        avoid_margin=None if kept_mm is None else ApertureMargin.uniform(kept_mm),
        source_axis_distance_mm=bench.machine.source_axis_distance_mm,
    ).setups  # fmt: skip

"""A plan's MU from its prescriptions: coverage, a point, an isodose or a depth, as far as hard limits let them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError, InputError
from tailort.evaluation import Scenario, cells_of, dvh_in, histograms
from tailort.geometry import interpolate
from tailort.patient import Constraint, Dose, Metric, Plan, Prescription
from tailort.workflow.bench import Bench
from tailort.workflow.parts import cut_dose, part_around
from tailort.workflow.phases import Phase, is_ceiling
from tailort.workflow.positions import placed, widened

# How close to a hard limit a plan may be scaled up.
HARD_LIMIT_SHARE = 0.999
# A plan that would need more than so many times its MU was optimised for its prescription in vain.
MOST_SCALED = 3.0
# A target that would need so many times its MU is seen by no beam, whatever else keeps the dose down.
NO_DOSE = 1e6
# A plan that is kept below its prescription by more than this share is told about.
TOLD = 0.001
# A point at a lower density says little of the dose of a target.
THIN_G_CM3 = 0.8
# Secant steps towards a limit on the sum of phases; volumes are bisected, with twice as many.
STEPS = 8


@dataclass(frozen=True, eq=False)
class Scaled:
    """A plan whose MU meet its prescriptions or, where that is less, its hard limits.

    Parameters
    ----------
    plan, dose : Plan, Dose
        Of the phase.
    made : Dose
        Before it was scaled.
    lack_gy : dict of str to float
        By how much limits kept the dose down: what each structure would have beyond its limit with the whole dose.
    notes : tuple of str
        What a reader must know of it.
    held_down : tuple of str
        Of these, what hard limits keep the dose down.
    """

    plan: Plan
    dose: Dose
    made: Dose
    lack_gy: dict[str, float]
    notes: tuple[str, ...] = ()
    held_down: tuple[str, ...] = ()

    @property
    def most_lack_gy(self) -> float:
        """The largest of what is lacking, Gy."""
        return max(self.lack_gy.values(), default=0.0)


def reference_point(bench: Bench, prescription: Prescription, isocentre_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Point to which a dose is prescribed, LPS mm.

    By "point" the point; by "isodose" the isocentre, unless a point is named; by "depth" the point below the anterior
    skin, in the sagittal line through the middle of the target.
    """
    how = prescription.normalisation
    if how.kind == "depth" and how.depth_mm is not None:
        x, _, z = bench.isocentre([prescription.target])
        return _below_the_skin(bench, x, z, how.depth_mm)
    return np.asarray(isocentre_mm if how.point_mm is None else how.point_mm, dtype=np.float64)


def _below_the_skin(bench: Bench, x_mm: float, z_mm: float, depth_mm: float) -> NDArray[np.float64]:
    """Point below the anterior skin; anterior is -y in LPS, however the patient lies."""
    step = 0.5
    grid = bench.case.ct.image.grid
    corners = grid.to_world(np.array([[0.0, 0.0, 0.0], np.asarray(grid.shape) - 1.0]))
    y = np.arange(corners[:, 1].min(), corners[:, 1].max(), step)
    line = np.column_stack([np.full(len(y), x_mm), y, np.full(len(y), z_mm)])
    index = np.round(grid.to_index(line)).astype(int)
    known = ((index >= 0) & (index < grid.shape)).all(axis=1)
    inside = np.zeros(len(y), dtype=bool)
    inside[known] = bench.outline[tuple(index[known].T)]
    if not inside.any():
        raise GeometryError(f"there is no skin in front of x {x_mm:g}, z {z_mm:g} mm: the line misses the body outline")
    skin = y[int(np.argmax(inside))] - 0.5 * step
    return np.array([x_mm, skin + depth_mm, z_mm])


def reached_gy(
    bench: Bench, prescription: Prescription, plan: Plan, dose: Dose, positions: Sequence[Scenario] = ()
) -> float:
    """Dose of the phase that its prescription is about, Gy: to compare with `prescription.dose_gy`.

    Of a robust plan it is the least over the patient's positions, in the dose cloud of the planned one.
    """
    how = prescription.normalisation
    if how.kind == "coverage":
        return min(values(bench, prescription.tied_to, how.metric or "", dose, positions))
    point = reference_point(bench, prescription, plan.beams[0].isocentre_mm)
    at = float(interpolate(dose.image, point, 0.0))
    if at <= 0:
        raise GeometryError(
            f"the point of the prescription of '{prescription.target}', x {point[0]:.1f}, y {point[1]:.1f}, z "
            f"{point[2]:.1f} mm, gets no dose; check the normalisation"
        )
    return at * (1.0 if how.percent is None else how.percent / 100.0)


def values(bench: Bench, name: str, metric: str, dose: Dose, positions: Sequence[Scenario]) -> list[float]:
    """A metric of a structure in each position, in the dose cloud of the planned one."""
    dose = widened(dose, positions)
    return [
        histograms([at], dose, single_slice_thickness_mm=bench.slice_mm)[at.name].value(metric)
        for at in placed(bench.structures[name], positions)
    ]


def scaled_to_prescription(bench: Bench, phase: Phase, made: Plan, dose: Dose, share: float = 1.0) -> Scaled:
    """Plan and dose times the factor that meets every prescription or, if that is less, every hard limit.

    A limit is one of the whole course: phases before the last may use what it allows, and leave the later ones the
    rest.

    Parameters
    ----------
    bench, phase
        The patient and what is asked.
    made, dose : Plan, Dose
        Of the phase.
    share : float
        Of the prescriptions, which can be had beside the limits: what limits lack is told at that dose.
    """
    factors = {
        p.target: p.dose_gy / max(reached_gy(bench, p, made, dose, phase.positions), 1e-9) for p in phase.prescriptions
    }
    # A painted target is tied by a mean, which must not be more either: other targets are judged by what they get then.
    painted = [p.target for p in phase.prescriptions if p.painted is not None]
    needed = max((factors[name] for name in painted or factors), default=1.0)
    scale, lack, keeps = needed, dict[str, float](), ""
    broken: list[tuple[str, str]] = []
    for c in phase.constraints:
        if not is_hard_dose(c) or (c.scope == "cumulative" and not phase.before):
            continue
        allowed, beyond = _allowed(bench, phase, c, dose, needed, share)
        told = f"{c.structure} {c.metric} {c.operator} {c.limit:g}"
        if beyond > 0.0:
            lack[c.structure] = max(beyond, lack.get(c.structure, 0.0))
            if allowed == needed and phase.counts_before(c):
                broken.append((told, "earlier courses leave"))
            elif allowed == needed and phase.earlier:
                broken.append((told, "the phases before this one leave"))
        if allowed < scale:
            scale, keeps = allowed, told
    if (scale > MOST_SCALED and not lack) or not needed < NO_DOSE:
        missed = max(factors, key=lambda name: factors[name])
        raise InputError(
            f"plan '{made.label}' gives target '{missed}' {100.0 / factors[missed]:.1f} % of its prescribed dose, and "
            "more MU would not mend that: a part of it is seen by no beam; check its contours, isocentre and angles"
        )
    notes = [note for p in phase.prescriptions if (note := _point_note(bench, p, made))]
    notes += [f"{before} nothing of the hard limit {told}, which is not kept" for told, before in broken]
    held_down: tuple[str, ...] = ()
    if scale < (1.0 - TOLD) * needed:
        lead = max(phase.prescriptions, key=lambda p: factors[p.target])
        percent = 100.0 * scale / needed
        held_down = (
            f"the hard limit {keeps} keeps {_in_words(lead)} at {percent:.1f} % of the {lead.dose_gy:g} Gy that this "
            "plan is to give it",
        )
    return Scaled(*times(made, dose, scale), dose, lack, (*notes, *held_down), held_down)


def _in_words(prescription: Prescription) -> str:
    """What of a target a prescription is about."""
    how = prescription.normalisation
    if how.kind == "coverage":
        return f"{how.metric} of {prescription.tied_to}"
    if how.percent is not None:
        return f"the {how.percent:g} % isodose of {prescription.target}"
    return f"the point that the dose of {prescription.target} is prescribed to"


def _point_note(bench: Bench, prescription: Prescription, plan: Plan) -> str:
    """What a reader must know of a dose that is prescribed to a point outside the target or in thin tissue."""
    if prescription.normalisation.kind not in ("point", "isodose"):
        return ""
    point = reference_point(bench, prescription, plan.beams[0].isocentre_mm)
    density = float(interpolate(bench.density, point, 0.0))
    at = np.round(bench.grid.to_index(point)).astype(int)
    voxels = bench.rows.voxels[bench.rows.sets[prescription.target].rows]
    inside = bool(np.isin(np.ravel_multi_index(tuple(at), bench.grid.shape), voxels))
    wrong = [
        told
        for told, holds in (
            (f"outside {prescription.target}", not inside),
            (f"at {density:.2f} g/cm3", density < THIN_G_CM3),
        )
        if holds
    ]
    if not wrong:
        return ""
    return (
        f"the point that the dose is prescribed to, x {point[0]:.1f}, y {point[1]:.1f}, z {point[2]:.1f} mm, lies "
        f"{' and '.join(wrong)}: what it gets says little of the target; name a point_mm in tissue"
    )


def _allowed(bench: Bench, phase: Phase, c: Constraint, dose: Dose, needed: float, share: float) -> tuple[float, float]:
    """Largest factor that a hard limit allows, at most `needed`, and the Gy that it lacks at that share of `needed`.

    Of a volume at a dose it lacks what that dose would have to fall by.
    """
    metric = Metric.parse(c.metric)
    at_most = c.operator in ("<", "<=")

    found_of = _judged(bench, phase, c, dose)

    def beyond(factor: float) -> float:
        """How far beyond the limit the worst position, or the worst draw of registrations, is, in its unit."""
        found = found_of(factor)
        return max(found) - HARD_LIMIT_SHARE * c.limit if at_most else c.limit / HARD_LIMIT_SHARE - min(found)

    whole = beyond(needed)
    if whole <= 0.0:
        return needed, 0.0
    lack = whole if share == 1.0 else max(beyond(share * needed), 0.0)
    if metric.is_dose and c.quantity == "physical" and not phase.earlier:
        return needed * (1.0 - whole / (whole + HARD_LIMIT_SHARE * c.limit)), lack
    low, high, at_low, at_high = 0.0, needed, beyond(0.0), whole
    if at_low > 0.0 or (metric.is_dose and at_low == 0.0):
        # Nothing is left for this phase: the plan cannot be made smaller than it is; the scorecard shows it.
        return needed, lack if metric.is_dose else 0.0
    for _ in range(STEPS if metric.is_dose else 2 * STEPS):
        # A dose is nearly linear in the factor, a volume may jump.
        middle = low + (high - low) * (at_low / (at_low - at_high) if metric.is_dose else 0.5)
        at = beyond(middle)
        if at <= 0.0:
            low, at_low = middle, at
        else:
            high, at_high = middle, at
        if high - low < 1e-4 * needed or -at_low < 1e-4 * c.limit:
            break
    if metric.is_dose:
        return low, lack
    return low, (metric.at or 0.0) * max(1.0 - low / (share * needed), 0.0)


def _judged(bench: Bench, phase: Phase, c: Constraint, dose: Dose) -> Callable[[float], list[float]]:
    """What a limit is about with a dose times a factor: in each position, or in each draw of the registrations.

    Where earlier courses are not known it is the least that it can be, where they are known by bounds the most.
    """
    counts_before = phase.counts_before(c)
    if phase.positions and not counts_before:
        return lambda factor: values(
            bench, c.structure, c.metric, phase.wholes(c, _times(dose, factor))[0], phase.positions
        )
    structure = bench.structures[c.structure]
    near = cut_dose(dose, part_around(dose.image.grid, [structure]))
    cells = cells_of(structure, near.image.grid, single_slice_thickness_mm=bench.slice_mm)

    def found(factor: float) -> list[float]:
        curves = [dvh_in(cells, whole) for whole in phase.wholes(c, _times(near, factor))]
        if not counts_before:
            return [curve.value(c.metric) for curve in curves]
        return [replace(curve, least=None).bounds(c.metric)[0] for curve in curves]

    return found


def _times(dose: Dose, factor: float) -> Dose:
    return replace(dose, image=dose.image.with_values(dose.image.values * np.float32(factor)))


def times(made: Plan, dose: Dose, factor: float) -> tuple[Plan, Dose]:
    """Plan and dose with all MU times a factor."""
    values = (dose.image.values * np.float32(factor)).astype(np.float32)
    beams = tuple(
        replace(beam, control_points=tuple(replace(point, mu=point.mu * factor) for point in beam.control_points))
        for beam in made.beams
    )
    return replace(made, beams=beams), replace(dose, image=dose.image.with_values(values))


def is_hard_dose(c: Constraint) -> bool:
    """Whether a limit is hard and more MU break it: a dose, the volume at a dose in Gy, or a risk."""
    metric = Metric.parse(c.metric)
    in_gy = (metric.is_dose and metric.unit == "Gy") or (metric.kind in ("V", "CV") and metric.at_unit == "Gy")
    return c.priority == "hard" and (in_gy or metric.is_outcome) and is_ceiling(c)

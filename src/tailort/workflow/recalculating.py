"""An independent dose of an existing plan, beside the dose that came with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tailort import dose as engines
from tailort.dose.collisions import collision_warnings
from tailort.dose.cut_off import cut_offs
from tailort.dose.fan import Fan
from tailort.errors import GeometryError, InputError
from tailort.evaluation import DVH, histograms
from tailort.evaluation.gamma import STANDARD, Gamma, gamma
from tailort.geometry import Image, partial_volume
from tailort.patient import Case, Dose, Plan
from tailort.physics import DensityTable, Machine, density_table
from tailort.physics.materials import relative_electron_density
from tailort.workflow.densities import body_density, outline_of

ENGINE = "collapsed-cone"
# Spacing where no dose comes with the plan, mm.
SPACING_MM = 2.5
METRICS = ("D98%[Gy]", "D95%[Gy]", "D50%[Gy]", "D2%[Gy]", "Mean[Gy]", "Max[Gy]")


@dataclass(frozen=True)
class BeamCheck:
    """One beam at the isocentre.

    Parameters
    ----------
    name : str
    mu : float
        Of one fraction.
    isocentre_gy : float
        Physical dose of one fraction there.
    depth_cm : float
        Radiological depth of the isocentre from the beam's first direction, cm of water.
    """

    name: str
    mu: float
    isocentre_gy: float
    depth_cm: float


@dataclass(frozen=True)
class Difference:
    """One metric of one structure by both doses, Gy per course, physical."""

    structure: str
    metric: str
    recalculated_gy: float
    given_gy: float

    @property
    def difference_gy(self) -> float:
        """Recalculated minus given."""
        return self.recalculated_gy - self.given_gy


@dataclass(frozen=True, eq=False)
class Recalculation:
    """A plan's dose by TailoRT, and how it compares with the dose of the folder.

    Parameters
    ----------
    case : Case
    plan : Plan
    machine : Machine
    engine_note, density_table : str
        What was used.
    dose : Dose
        Recalculated, course total.
    given : Dose or None
        The dose of the folder, course total.
    beams : tuple of BeamCheck
    gammas : tuple of Gamma
        Of the recalculated dose with the given one as reference; empty without one.
    dvhs, given_dvhs : tuple of DVH
    differences : tuple of Difference
    """

    case: Case
    plan: Plan
    machine: Machine
    engine_note: str
    density_table: str
    dose: Dose
    given: Dose | None
    beams: tuple[BeamCheck, ...]
    gammas: tuple[Gamma, ...]
    dvhs: tuple[DVH, ...]
    given_dvhs: tuple[DVH, ...]
    differences: tuple[Difference, ...]

    def as_dict(self) -> dict[str, object]:
        """Return what recalculation.json holds."""
        return {
            "machine": self.machine.id,
            "engine": self.dose.engine,
            "density_table": self.density_table,
            "fractions": self.plan.fractions,
            "beams": [
                {
                    "name": b.name, "mu": round(b.mu, 3), "isocentre_gy_per_fraction": round(b.isocentre_gy, 4),
                    "radiological_depth_cm": round(b.depth_cm, 2),
                }
                for b in self.beams
            ],
            "gamma": [
                {
                    "criterion": g.criterion.label, "pass_percent": round(g.pass_percent, 3), "mean": round(g.mean, 4),
                    "points": g.points,
                }
                for g in self.gammas
            ],
            "differences": [
                {
                    "structure": d.structure, "metric": d.metric, "recalculated": round(d.recalculated_gy, 3),
                    "given": round(d.given_gy, 3), "difference": round(d.difference_gy, 3),
                }
                for d in self.differences
            ],
        }  # fmt: skip


def recalculate(
    case: Case,
    machine: Machine | None,
    *,
    engine: str = ENGINE,
    table: DensityTable | str = "schneider2000",
    overrides: Sequence[tuple[str, float]] = (),
    spacing_mm: float = SPACING_MM,
    progress: Callable[[float], None] | None = None,
) -> Recalculation:
    """Compute the dose of a case's plan and compare it with the case's dose.

    Parameters
    ----------
    case : Case
        With one plan, a CT and the patient's outline; with its dose or without.
    machine : Machine or None
        Of the plan's beams; None only for a case without a plan, which is refused.
    engine : str
        Dose engine.
    table : DensityTable or str
        From CT number to density.
    overrides : sequence of (str, float)
        Structures and their densities, g/cm3.
    spacing_mm : float
        Of the dose grid, where no dose comes with the plan.
    progress : callable, optional
        Called with the finished share.

    Raises
    ------
    InputError
        When there is no plan or several, several doses, or the machine is of another energy.
    GeometryError
        When frames of reference differ.
    """
    plan = only_plan(case)
    if machine is None:
        raise InputError(f"plan '{plan.label}' needs a machine to be recalculated with; name one with --machine")
    given = dose_of_plan(case, plan)
    outline = outline_of(case.structures)
    ct = case.ct.image
    if plan.frame_of_reference != ct.grid.frame_of_reference:
        raise GeometryError(
            f"plan '{plan.label}' is in frame of reference {plan.frame_of_reference}, the CT in "
            f"{ct.grid.frame_of_reference}: give the CT on which the plan was made"
        )
    low, high = outline.bounds_mm()
    if given is None:
        inner = ct.grid.to_index(np.stack([low, high]))
        grid = ct.grid.crop(np.floor(inner.min(axis=0)), np.ceil(inner.max(axis=0)) + 1).with_spacing(spacing_mm)
    else:
        grid = given.image.grid
        grid.require_axial("the recalculated dose")
    dense = body_density(ct, case.structures, table, overrides)
    mass = dense.around(grid)
    body = partial_volume(outline.contours, grid).full() > 0
    compute = engines.engine(engine).compute
    total: NDArray[np.float64] = np.zeros(grid.shape)
    checks = []
    traced = relative_electron_density(mass)
    for n, beam in enumerate(plan.beams):
        own = compute(replace(plan, beams=(beam,)), mass, machine, grid, body=body)
        total += own.image.values
        fan = Fan.of(beam.setup, plan.patient_position, machine.source_axis_distance_mm)
        at = np.array([[0.0, 0.0, machine.source_axis_distance_mm]])
        depth = float(fan.radiological_depth_cm(traced, at)[0])
        checks.append(BeamCheck(beam.name, beam.mu, _at(own.image, beam.isocentre_mm), depth))
        if progress is not None:
            progress((n + 1) / (len(plan.beams) + 1))
    image = Image(grid, (total * plan.fractions).astype(np.float32), "Gy")
    dose = Dose(image, "physical", "course", plan.fractions, None, engine, plan.sop_instance_uid)
    thickness = ct.grid.spacing_mm[0]
    drawn = [s for s in case.structures if not s.is_empty]
    found = histograms(drawn, dose, single_slice_thickness_mm=thickness)
    told: dict[str, DVH] = {}
    gammas: tuple[Gamma, ...] = ()
    if given is not None:
        told = histograms(drawn, given, single_slice_thickness_mm=thickness)
        gammas = tuple(gamma(given, dose, criterion) for criterion in STANDARD)
    if progress is not None:
        progress(1.0)
    warnings = [*(cut.warning for cut in cut_offs(plan, dense.outline, ct.grid)), *collision_warnings(plan)]
    chosen = density_table(table) if isinstance(table, str) else table
    return Recalculation(
        replace(case, notes=(*case.notes, *dense.notes, *warnings)),
        plan,
        machine,
        engines.engine(engine).label,
        f"{chosen.name}: {chosen.label}",
        dose,
        given,
        tuple(checks),
        gammas,
        tuple(found.values()),
        tuple(told.values()),
        tuple(_differences(found, told)),
    )


def _differences(found: dict[str, DVH], told: dict[str, DVH]) -> list[Difference]:
    rows = []
    for name, dvh in told.items():
        for metric in METRICS:
            values = (found[name].value(metric), dvh.value(metric))
            if all(np.isfinite(values)):
                rows.append(Difference(name, metric, *values))
    return rows


def only_plan(case: Case) -> Plan:
    """The plan of a case, or a refusal where it has none or several."""
    if len(case.plans) == 1:
        return case.plans[0]
    if case.plans:
        labels = ", ".join(f"'{plan.label}'" for plan in case.plans)
        raise InputError(f"case '{case.pseudonym}' has {len(case.plans)} plans ({labels}); leave one in the folder")
    about = [note for note in case.notes if "plan" in note.lower()]
    why = f": {'; '.join(about)}" if about else "; add the RTPLAN to the folder"
    raise InputError(f"case '{case.pseudonym}' has no plan that can be recalculated{why}")


def dose_of_plan(case: Case, plan: Plan) -> Dose | None:
    """The physical dose of a case's plan, Gy per course; None where there is no dose.

    Of several plans each has the dose that names it alone: one that names none may be their sum.
    """
    own = [d for d in case.doses if d.plan_uid == plan.sop_instance_uid and plan.sop_instance_uid]
    candidates = own if own or len(case.plans) > 1 else list(case.doses)
    if len(candidates) > 1:
        raise InputError(
            f"case '{case.pseudonym}' has {len(candidates)} doses for plan '{plan.label}'; leave one in the folder"
        )
    if not candidates:
        return None
    dose = candidates[0]
    if dose.quantity != "physical":
        raise InputError(
            f"the dose of the folder is {dose.label}; a recalculated dose is physical: give the physical one"
        )
    return (dose if dose.fractions is not None else replace(dose, fractions=plan.fractions)).per_course()


def _at(image: Image, place_mm: tuple[float, float, float]) -> float:
    """Dose at a place, linear between voxels; 0 outside the grid."""
    index = image.grid.to_index(np.array(place_mm))
    last = np.array(image.grid.shape) - 1
    if (index < 0).any() or (index > last).any():
        return 0.0
    first = np.minimum(index.astype(int), np.maximum(last - 1, 0))
    part = index - first
    value = 0.0
    for corner in np.ndindex(2, 2, 2):
        share = float(np.prod(np.where(np.array(corner) == 1, part, 1.0 - part)))
        if share > 0:
            value += share * float(image.values[tuple(first + corner)])
    return value

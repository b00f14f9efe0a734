"""The patient on the dose grid: what all plans of a run share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort import dose as engines
from tailort import optimisation
from tailort.dose.space import voxels_to_one
from tailort.errors import GeometryError, InputError
from tailort.evaluation import EarlierCourse, Scenario
from tailort.geometry import Grid, Image, PartialVolume, partial_volume, volume_cm3
from tailort.optimisation.arc import Arc
from tailort.optimisation.conformal import Prisms
from tailort.optimisation.scenarios import moved_volumes, named
from tailort.patient import Beam, Case, Constraint, Dose, Influence, Metric, Plan, Prescription, Structure, StructureSet
from tailort.physics import Machine
from tailort.protocols.schema import BEAMLET_MM, Technique
from tailort.registration import Registration
from tailort.workflow.densities import body_density, outline_of
from tailort.workflow.earlier import earlier_on
from tailort.workflow.options import PlanningOptions
from tailort.workflow.positions import placed
from tailort.workflow.registration_draws import drawn_courses
from tailort.workflow.rows import Rows, choose_rows

# Beyond the PTV's shadow by the width of the penumbra, mm at the isocentre.
BEAMLET_MARGIN_MM = 7.0
# So far about the targets every engine computes on voxels as small as the dose grid's, mm.
DETAILED_MM = 20.0
# Arcs have beamlets every so many degrees.
SECTOR_DEG = 10.0
# A share of a target that is outside the body by less than this comes from voxels at its edge.
LEAST_OUTSIDE = 0.01
# A dose to so small a volume is one of single voxels, cm3.
DROP_CC = 0.1


@dataclass(frozen=True, eq=False)
class Fluence:
    """Beamlets of one choice of beams and their dose.

    Parameters
    ----------
    influence : Influence
        In the rows of the bench.
    arcs : tuple of Arc
        Whose sectors the beams are; none for fixed beams.
    """

    influence: Influence
    arcs: tuple[Arc, ...]


@dataclass(frozen=True, eq=False)
class Bench:
    """The patient on the dose grid.

    Parameters
    ----------
    case, structures : Case, StructureSet
        The patient, with the structures that the protocol derives.
    machine : Machine
        The linac.
    grid : Grid
        Of the dose.
    density : Image
        g/cm3, on a finer or wider grid.
    body : PartialVolume
        The patient's outline, on the dose grid.
    outline : bool array
        The same on the CT.
    volumes_cm3 : dict
        Of each structure that is judged.
    rows : Rows
        Voxels that the optimiser sees.
    options : PlanningOptions
        What a person chose.
    earlier : tuple of EarlierCourse
        On the dose grid.
    drawn : tuple of tuple of EarlierCourse
        The same by draws of their registrations, where a plan is to hold in them, on a part of the dose grid.
    registrations : dict of Registration
        By which they came there, by the course's label.
    delivered : tuple of Dose
        Fractions of the course that were given before what is planned here, on the dose grid, physical, in parts with
        their own numbers of fractions.
    fluences : dict
        Beamlets that exist already, by what they are for.
    """

    case: Case
    structures: StructureSet
    machine: Machine
    grid: Grid
    density: Image
    body: PartialVolume
    outline: NDArray[np.bool_]
    volumes_cm3: dict[str, float]
    rows: Rows
    options: PlanningOptions
    earlier: tuple[EarlierCourse, ...] = ()
    registrations: Mapping[str, Registration] = field(default_factory=dict)
    drawn: tuple[tuple[EarlierCourse, ...], ...] = ()
    delivered: tuple[Dose, ...] = ()
    fluences: dict[tuple[Any, ...], Influence] = field(default_factory=dict)

    @property
    def slice_mm(self) -> float:
        """Distance of the CT's slices: what a structure in a single plane is thick."""
        return self.case.ct.image.grid.spacing_mm[0]

    @property
    def engine(self) -> engines.Engine:
        """Of influence and dose."""
        return engines.engine(self.options.engine)

    @property
    def engine_note(self) -> str:
        """What must be known to judge by the engine on this dose grid."""
        label, spacing = self.engine.label, np.array(self.grid.spacing_mm)
        wide = spacing * voxels_to_one(spacing)
        if not self.engine.saves_far or np.array_equal(wide, spacing):
            return label
        far = " x ".join(f"{side:g}" for side in wide[::-1])
        return f"{label}; farther than {DETAILED_MM:g} mm from the targets it may carry energy in voxels of {far} mm"

    def dose_of(
        self,
        label: str,
        beams: tuple[Beam, ...],
        prescriptions: tuple[Prescription, ...],
        tell: Callable[[float], None],
    ) -> tuple[Plan, Dose]:
        """Plan of these beams and its dose, total of the prescriptions' fractions."""
        made = Plan(
            label=label[:16],
            beams=beams,
            prescriptions=prescriptions,
            fractions=prescriptions[0].fractions,
            patient_position=self.case.ct.patient_position,
            frame_of_reference=self.grid.frame_of_reference,
        )
        fraction = self.engine.compute(
            made, self.density, self.machine, self.grid, body=self.body.full() > 0, progress=tell,
            **self._detail([p.target for p in prescriptions]),
        )  # fmt: skip
        return made, fraction.per_course()

    def in_rows(self, image: Image) -> NDArray[np.float64]:
        """Values of an image of the dose grid in the optimiser's rows."""
        return image.values.reshape(-1)[self.rows.voxels].astype(np.float64)

    def isocentre(self, targets: Sequence[str]) -> tuple[float, float, float]:
        """Middle of the extent of all targets, rounded to whole millimetres, LPS mm."""
        x, y, z = (float(c) for c in np.round(self._box_mm(targets).mean(axis=0)))
        return x, y, z

    def _box_mm(self, targets: Sequence[str]) -> NDArray[np.float64]:
        """Corners (2, 3) of the extent of all targets, LPS."""
        low, high = zip(*(self.structures[name].bounds_mm() for name in targets), strict=True)
        return np.stack([np.min(low, axis=0), np.max(high, axis=0)])

    def _detail(self, targets: Sequence[str]) -> dict[str, Any]:
        """Where an engine that saves elsewhere must not save."""
        if not self.engine.saves_far:
            return {}
        return {"detailed_mm": self._box_mm(targets) + np.array([[-DETAILED_MM], [DETAILED_MM]])}

    def overlaps_cm3(self, one: str, other: str) -> float:
        """Volume that two targets have in common, cm3: of voxels that both share, the smaller part."""
        shared, first, second = np.intersect1d(
            self.rows.sets[one].rows, self.rows.sets[other].rows, assume_unique=True, return_indices=True
        )
        parts = [
            self.rows.sets[name].volume[at] * self.volumes_cm3[name] for name, at in ((one, first), (other, second))
        ]
        return float(np.minimum(*parts).sum()) if len(shared) else 0.0

    def require_deliverable(self, technique: Technique) -> None:
        """Refuse, before anything is computed, what a machine without leaves cannot deliver.

        Raises
        ------
        InputError
            Naming machine and technique.
        """
        if self.machine.leaf_pairs or (technique.kind == "3dcrt" and not technique.block_avoided):
            return
        what = {
            "imrt": f"imrt ({technique.delivery})",
            "3dcrt": f"3dcrt with leaves that close over {technique.avoid}",
        }.get(technique.kind, technique.kind)
        raise InputError(
            f"machine '{self.machine.id}' has no multileaf collimator, which {what} needs; choose another machine, or "
            "3dcrt with fields that jaws alone can shape"
        )

    def prisms(self, name: str) -> Prisms:
        """A structure as what throws a shadow."""
        return Prisms.of(self.structures[name].name, self.structures[name].contours, self.slice_mm)

    def fluence(
        self,
        technique: Technique,
        targets: Sequence[str],
        positions: Sequence[Scenario],
        tell: Callable[[float], None],
    ) -> Fluence:
        """Beamlets over the targets' shadows in all positions and their dose; computed once for the same of all."""
        self.require_deliverable(technique)
        arcs = _arcs(technique)
        angles = arcs[0].middles_deg if arcs else technique.gantry_angles_deg()
        key = (
            angles,
            technique.collimator_deg,
            technique.beamlet_mm,
            tuple(targets),
            tuple(one.shift_mm for one in positions),
        )
        if key not in self.fluences:
            voxels = self.rows.voxels
            influence = self.influence(
                angles, technique.collimator_deg, targets, positions, voxels, tell, technique.beamlet_mm
            )
            self.fluences[key] = influence
        return Fluence(self.fluences[key], arcs)

    def influence(
        self,
        angles_deg: Sequence[float],
        collimator_deg: float,
        targets: Sequence[str],
        positions: Sequence[Scenario],
        voxels: NDArray[np.uint32],
        tell: Callable[[float], None],
        beamlet_mm: float = BEAMLET_MM,
    ) -> Influence:
        """Dose that beamlets over the targets' shadows from some gantry angles have in voxels of the dose grid."""
        isocentre, position = self.isocentre(targets), self.case.ct.patient_position
        setups = optimisation.arrange(angles_deg, isocentre, collimator_deg)
        contours = [
            contour for name in targets for at in placed(self.structures[name], positions) for contour in at.contours
        ]
        beamlets = optimisation.beamlets_covering(
            setups, contours, self.machine, position, BEAMLET_MARGIN_MM, beamlet_mm
        )
        return self.engine.influence(
            self.density, beamlets, self.machine, self.grid, voxels, position=position, progress=tell,
            **self._detail(targets),
        )  # fmt: skip


def set_up(
    case: Case,
    structures: StructureSet,
    linac: Machine,
    options: PlanningOptions,
    prescriptions: Sequence[Prescription],
    constraints: Sequence[Constraint],
    moving: Mapping[str, Sequence[Scenario]] | None = None,
    registrations: Mapping[str, Registration] | None = None,
) -> Bench:
    """Put a patient on the dose grid.

    Parameters
    ----------
    case, structures, linac, options
        As of the bench.
    prescriptions, constraints
        Of all plans that will be made.
    moving : mapping of str to sequence of Scenario or None
        Structures whose voxels are needed in other positions too, and which; their sets are named by `named`.
    registrations : mapping of str to Registration or None
        For `earlier_on`, of the case's earlier courses.

    Raises
    ------
    GeometryError
        When a target lies outside the body, or with more of it than its coverage allows.
    """
    outline = outline_of(structures)
    grid = _dose_grid(case, outline, options.spacing_mm(()))
    body = partial_volume(outline.contours, grid)
    dense = body_density(case.ct.image, structures, options.density_table, options.densities)
    mass = dense.around(grid)
    case = replace(case, notes=(*case.notes, *dense.notes))
    targets = list(dict.fromkeys(p.target for p in prescriptions))
    limits = steering(constraints, structures)
    judged = list(dict.fromkeys([*targets, *(c.structure for c in limits)]))
    thick = case.ct.image.grid.spacing_mm[0]
    volumes = {
        name: partial_volume(structures[name].contours, grid, single_slice_thickness_mm=thick) for name in judged
    }
    outside = [
        note
        for p in prescriptions
        if (note := _outside(p, structures[p.target], volumes[p.target], body, outline.name, grid, thick))
    ]
    case = replace(case, notes=(*case.notes, *dict.fromkeys(outside)))
    whole = {c.structure for c in limits if _needs_every_voxel(c)}
    hottest = {c.structure for c in limits if c.priority != "report" and _is_near_maximum(c)} - whole
    sizes = {name: volume.volume_cm3(grid) for name, volume in volumes.items()}
    for name, positions in (moving or {}).items():
        if name not in volumes:
            continue
        shifts = {named(name, one.name): one.shift_mm for one in positions if not one.is_nominal}
        elsewhere = moved_volumes(structures[name].contours, grid, shifts, single_slice_thickness_mm=thick)
        volumes |= elsewhere
        if name in targets:
            targets += elsewhere
        else:
            (hottest if name in hottest else whole).update(elsewhere)
    rows = choose_rows(grid, volumes, body, targets, whole, hottest, np.random.default_rng(0))
    found = registrations or {}
    earlier = earlier_on(case, grid, found, options.today)
    drawn = drawn_courses(case, structures, limits, grid, found, options)
    return Bench(case, structures, linac, grid, mass, body, dense.outline, sizes, rows, options, earlier, found, drawn)


def steering(constraints: Sequence[Constraint], structures: StructureSet) -> tuple[Constraint, ...]:
    """Limits of structures that are drawn; those of the others are judged unknown."""
    drawn = {s.name.lower(): s.name for s in structures if not s.is_empty}
    return tuple(replace(c, structure=drawn[c.structure.lower()]) for c in constraints if c.structure.lower() in drawn)


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


def _outside(
    prescription: Prescription, target: Structure, volume: PartialVolume, body: PartialVolume, outline: str,
    grid: Grid, slice_mm: float,
) -> str | None:  # fmt: skip
    """What a reader must know of a target that is partly outside the outline, where there is no dose."""
    name, how = prescription.target, prescription.normalisation
    flat, fraction = volume.indices()
    within_cm3 = float(fraction[body.full().ravel()[flat] > 0].sum()) * grid.voxel_volume_cm3
    whole_cm3 = volume_cm3(target.contours, single_slice_thickness_mm=slice_mm)
    # The dose grid ends with the outline: of what lies beyond there are no voxels, and no coverage can be told.
    inside = min(1.0, within_cm3 / whole_cm3)
    told = volume.volume_cm3(grid) > (1.0 - LEAST_OUTSIDE) * whole_cm3
    if inside == 0.0:
        raise GeometryError(
            f"target '{name}' lies outside the outline '{outline}', where no beam gives dose; check its contours"
        )
    if how.metric is not None and (inside < (how.covered_share or 0.0) or not told):
        raise GeometryError(
            f"target '{name}' lies with {100.0 * (1.0 - inside):.1f} % of its volume outside the outline '{outline}', "
            f"where no beam gives dose, so its {how.metric} cannot be prescribed; crop the target or check the outline"
        )
    if inside > 1.0 - LEAST_OUTSIDE:
        return None
    return f"{100.0 * (1.0 - inside):.1f} % of target '{name}' lie outside the outline '{outline}', where no dose is"


def _needs_every_voxel(c: Constraint) -> bool:
    return not _is_near_maximum(c) and (c.priority == "hard" or Metric.parse(c.metric).at_unit == "cc")


def _is_near_maximum(c: Constraint) -> bool:
    """Whether a limit is on a single voxel, or on a drop of at most 0.1 cc."""
    metric = Metric.parse(c.metric)
    return metric.kind == "Max" or (metric.kind == "D" and metric.at_unit == "cc" and (metric.at or 0.0) <= DROP_CC)


def _dose_grid(case: Case, outline: Structure, spacing_mm: float) -> Grid:
    """Grid over the part of the CT that holds the body."""
    ct = case.ct.image.grid
    low, high = outline.bounds_mm()
    first, last = ct.to_index(low), ct.to_index(high)
    inner = ct.crop(np.floor(np.minimum(first, last)), np.ceil(np.maximum(first, last)) + 1)
    return inner.with_spacing(spacing_mm)

"""The physics validation table: what the dose engine gives beside measurements, Monte Carlo and laws."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML
from scipy import ndimage

from tailort import dose as engines
from tailort.dose.collapsed_cone import scale_gy_per_mu, water_dose
from tailort.errors import InputError
from tailort.geometry import Grid, Image, PatientPosition
from tailort.optimisation import arrange
from tailort.patient import Beamlets
from tailort.patient.plan import Beam, ControlPoint, Plan
from tailort.physics import Machine, machine
from tailort.workflow.fitting import Target, read_targets

Float = NDArray[np.float64]
Entry = dict[str, Any]
ENGINE = "collapsed-cone"

# Layers (g/cm3, mm) of the phantoms of data/montecarlo_slabs.csv.
PHANTOMS = {
    "water": ((1.0, 400.0),),
    "lung slab": ((1.0, 50.0), (0.26, 100.0), (1.0, 150.0)),
    "bone slab": ((1.0, 50.0), (1.85, 30.0), (1.0, 220.0)),
}
# Depths of the first and last bin that count, mm, and the length over which both doses are averaged.
SLAB_FROM_MM, SLAB_TO_MM, SLAB_MEAN_MM = 15.0, 280.0, 5.0
VOXEL_MM = 2.5
# Density (g/cm3) and thickness (mm) from front to back of the boxes of data/montecarlo_arc.csv, and their width.
BOXES = {"water": ((1.0, 240.0),), "lung": ((1.0, 80.0), (0.26, 80.0), (1.0, 80.0))}
BOX_MM = 240.0
# Sides of what a point of that file is the mean of: within its plane and across it, mm.
IN_PLANE_MM, ACROSS_MM = 5.0, 10.0
# Axis (x, y, z) that its planes are across.
PLANES = {"sagittal": 0, "coronal": 1, "transverse": 2}
# Sums of beamlets are not compared this near the edge of a field, mm at the isocentre.
EDGE_MM = 5.0


@dataclass(frozen=True)
class ValidationRow:
    """One line of the table.

    Parameters
    ----------
    name : str
    value : float
        What was found, in `unit`: for tolerances the largest difference that counts.
    reference : str
        What it is held against.
    tolerance : str
    unit : str
    verdict : {"pass", "fail", "report"}
    """

    name: str
    value: float
    reference: str
    tolerance: str
    unit: str
    verdict: str

    def as_dict(self) -> dict[str, Any]:
        """Return the row as JSON has it."""
        return {
            "name": self.name, "value": self.value, "reference": self.reference, "tolerance": self.tolerance,
            "unit": self.unit, "verdict": self.verdict,
        }  # fmt: skip


def validate(quick: bool = False, progress: Callable[[float, str], None] | None = None) -> tuple[ValidationRow, ...]:
    """Run the table.

    Parameters
    ----------
    quick : bool
        Only the rows that every CI run does.
    progress : callable, optional
        Called with the finished share and the name of the row that comes next.
    """
    entries = [entry for entry in _entries() if entry["quick"] or not quick]
    rows: list[ValidationRow] = []
    for n, entry in enumerate(entries):
        if progress is not None:
            progress(n / len(entries), entry["check"].replace("_", " "))
        for name, value, *own in CHECKS[entry["check"]](entry):
            rows.append(_row(entry, name, value, own[0] if own else entry.get("tolerance")))
    return tuple(rows)


def _entries() -> list[Entry]:
    text = resources.files("tailort.workflow").joinpath("data/validation.yaml").read_text(encoding="utf-8")
    entries: list[Entry] = YAML(typ="safe", pure=True).load(text)
    return entries


def _row(entry: Entry, name: str, value: float, limit: float | None) -> ValidationRow:
    value = round(float(value), 4)
    if "range" in entry:
        low, high = entry["range"]
        tolerance, verdict = f"{low:g} to {high:g}", "pass" if low <= value <= high else "fail"
    elif "tolerance" in entry and limit is not None:
        tolerance, verdict = f"{limit:g}", "pass" if abs(value) <= limit else "fail"
    else:
        tolerance, verdict = "", "report"
    return ValidationRow(f"{entry['machine']}: {name}", value, entry["reference"], tolerance, entry["unit"], verdict)


@cache
def _targets() -> tuple[Target, ...]:
    where = "data/targets/flattened_6mv.csv"
    text = resources.files("tailort.physics").joinpath(where).read_text(encoding="utf-8")
    return read_targets(text, where)


def _depth_dose(entry: Entry) -> Iterator[tuple[str, float]]:
    beam = machine(entry["machine"])
    for side in entry["fields_mm"]:
        own = [t for t in _targets() if t.kind == "pdd" and t.field_mm[0] == side and t.depth_mm > 15]
        depths = sorted({t.depth_mm for t in own})
        wanted = np.array([np.mean([t.value for t in own if t.depth_mm == depth]) for depth in depths])
        around = np.arange(8.0, 35.0, 1.25)
        dose = water_dose(beam, (side, side), 1000.0, np.array([*depths, *around]))
        found = 100 * dose[: len(depths)] / dose[len(depths) :].max()
        yield f"depth dose {side:g} x {side:g} mm", _largest(found - wanted)


def _tpr(entry: Entry) -> Iterator[tuple[str, float]]:
    beam = machine(entry["machine"])
    deep, shallow = (water_dose(beam, (100, 100), 1000.0 - depth, np.array([depth]))[0] for depth in (200.0, 100.0))
    yield "TPR20,10", deep / shallow


def _output_factors(entry: Entry) -> Iterator[tuple[str, float]]:
    beam = machine(entry["machine"])
    own = [t for t in _targets() if t.kind == "output" and t.set == entry["set"]]
    for target in own:
        depth = np.array([target.depth_mm])
        dose, standard = (
            water_dose(beam, field, target.ssd_mm, depth)[0] for field in (target.field_mm, (100.0, 100.0))
        )
        side = target.field_mm[0]
        yield f"output factor {side:g} x {side:g} mm ({entry['set']})", 100 * (dose / standard / target.value - 1.0)


def _across(beam: Machine, side: float) -> tuple[Float, Float]:
    off = np.arange(0.0, 0.5 * side + 40.0, 0.25)
    dose = water_dose(beam, (side, side), 900.0, np.array([100.0]), ("x", off), (2.0, 2.5))[0]
    return off, dose / dose[0]


def _field_edge(entry: Entry) -> Iterator[tuple[str, float]]:
    for side in entry["fields_mm"]:
        off, dose = _across(machine(entry["machine"]), side)
        yield f"half width of {side:g} x {side:g} mm", 2 * _where(off, dose, 0.5) - side


def _penumbra(entry: Entry) -> Iterator[tuple[str, float]]:
    for side in entry["fields_mm"]:
        off, dose = _across(machine(entry["machine"]), side)
        yield f"penumbra 80-20 % of {side:g} x {side:g} mm", _where(off, dose, 0.2) - _where(off, dose, 0.8)


def _where(off: Float, dose: Float, level: float) -> float:
    """Outermost place where the dose falls below a level."""
    n = int(np.flatnonzero(dose >= level)[-1])
    return float(off[n] + (dose[n] - level) / (dose[n] - dose[n + 1]) * (off[n + 1] - off[n]))


def _slab(entry: Entry) -> Iterator[tuple[str, float, float | None]]:
    for side in entry["fields_mm"]:
        for phantom in entry["phantoms"]:
            axis = _monte_carlo(entry["machine"], side, phantom)
            half = axis["half_cm"][0] * 10
            depth, found = _slab_axis(machine(entry["machine"]), side, phantom, half)
            wanted = np.interp(depth, axis["depth_cm"] * 10, axis["dose"])
            # Over so many voxels both are averaged: the Monte Carlo is noisy, and layers end on a voxel's face.
            each = round(SLAB_MEAN_MM / VOXEL_MM)
            depth, found, wanted = (
                v[: len(v) // each * each].reshape(-1, each).mean(axis=1) for v in (depth, found, wanted)
            )
            difference = _unless_near(depth, found, wanted, entry["distance_mm"])
            counts = (depth > SLAB_FROM_MM) & (depth < SLAB_TO_MM)
            name = f"axis of {side:g} mm field, {phantom}"
            slab = np.zeros(len(depth), dtype=bool)
            if phantom != "water":
                first, thick = (thickness for _, thickness in PHANTOMS[phantom][:2])
                slab = (depth > first) & (depth < first + thick)
                limits = entry.get("inside_tolerance", {}).get(phantom, {})
                limit = None if limits is None else limits.get(side, entry["tolerance"])
                yield f"{name}, inside", _largest(difference[counts & slab]), limit
            yield name, _largest(difference[counts & ~slab]), entry["tolerance"]


def _unless_near(depth: Float, found: Float, wanted: Float, distance_mm: float, highest: float | None = None) -> Float:
    """Difference in per cent of the highest wanted dose, 0 where the same dose is wanted within a distance."""
    near = np.stack([np.interp(depth + shift, depth, wanted) for shift in np.linspace(-distance_mm, distance_mm, 9)])
    agrees = (found >= near.min(axis=0)) & (found <= near.max(axis=0))
    return np.where(agrees, 0.0, 100 * (found - wanted) / (highest or wanted.max()))


def _slab_profile(entry: Entry) -> Iterator[tuple[str, float]]:
    for side in entry["fields_mm"]:
        for phantom in entry["phantoms"]:
            rows = _monte_carlo(entry["machine"], side, phantom, "profile")
            axis = _monte_carlo(entry["machine"], side, phantom)
            beam, voxels = machine(entry["machine"]), _layers(phantom, 0.7 * side + 80.0)
            dose = _point_dose(beam, side, voxels)
            middle = voxels.grid.shape[0] // 2
            for depth in entry["depths_mm"]:
                own = np.abs(rows["depth_cm"] * 10 - depth) < 0.5 * VOXEL_MM
                # Lengths across the beam are those on the surface.
                at = rows["off_axis_cm"][own] * 10 * (1.0 + depth / beam.source_axis_distance_mm)
                row = int(np.argmin(np.abs(voxels.grid.axes_mm()[1] - rows["depth_cm"][own][0] * 10)))
                found = np.interp(at, voxels.grid.axes_mm()[2], dose[middle, row])
                difference = _unless_near(at, found, rows["dose"][own], entry["distance_mm"], axis["dose"].max())
                yield f"profile of {side:g} mm field, {phantom}, {depth:g} mm deep", _largest(difference)


def _monte_carlo(name: str, side_mm: float, phantom: str, kind: str = "axis") -> dict[str, Float]:
    text = resources.files("tailort.workflow").joinpath("data/montecarlo_slabs.csv").read_text(encoding="utf-8")
    rows = [
        row
        for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
        if (row["machine"], float(row["field_cm"]) * 10, row["phantom"], row["kind"]) == (name, side_mm, phantom, kind)
    ]
    return {key: np.array([float(row[key]) for row in rows]) for key in ("depth_cm", "off_axis_cm", "half_cm", "dose")}


def _point_dose(beam: Machine, side_mm: float, density: Image) -> Float:
    """Absolute dose of an open field of a point machine, MeV/g per photon/cm2."""
    plan = _static(beam, ((-side_mm / 2, side_mm / 2),) * 2)
    # 1 MU of a point source is the energy fluence of 1 MeV/cm2; its scale to Gy is taken back.
    return _compute(plan, density, beam).astype(np.float64) / scale_gy_per_mu(beam) * beam.spectrum.mean_energy_mev


def _slab_axis(beam: Machine, side_mm: float, phantom: str, half_mm: float) -> tuple[Float, Float]:
    """Depths and absolute dose about the axis of a slab phantom, MeV/g per photon/cm2."""
    density = _layers(phantom, 0.7 * side_mm + 80.0)
    dose = _point_dose(beam, side_mm, density)
    middle, reach = density.grid.shape[0] // 2, int(half_mm / VOXEL_MM + 1e-9)
    about = slice(middle - reach, middle + reach + 1)
    mean = dose[about, :, about].mean(axis=(0, 2))
    return density.grid.axes_mm()[1], mean


def _layers(phantom: str, half_mm: float) -> Image:
    """Slabs whose surface is in the plane of the isocentre at the origin, voxels of `VOXEL_MM`."""
    n = int(np.ceil(half_mm / VOXEL_MM))
    rows = round(sum(thickness for _, thickness in PHANTOMS[phantom]) / VOXEL_MM)
    grid = Grid.axial(
        (2 * n + 1, rows, 2 * n + 1), (VOXEL_MM,) * 3, (-n * VOXEL_MM, VOXEL_MM / 2, -n * VOXEL_MM), "phantom"
    )
    depth = grid.axes_mm()[1]
    ends = np.cumsum([thickness for _, thickness in PHANTOMS[phantom]])
    layer = np.searchsorted(ends, depth)
    values = np.array([density for density, _ in PHANTOMS[phantom]])[layer]
    return Image(grid, np.broadcast_to(values[None, :, None], grid.shape).astype(np.float32), "g/cm3")


def _static(
    beam: Machine,
    jaws: tuple[tuple[float, float], tuple[float, float]],
    gantry: tuple[float, ...] = (0.0,),
    *,
    mu: float = 1.0,
    isocentre: tuple[float, float, float] = (0.0, 0.0, 0.0),
    position: PatientPosition = "HFS",
) -> Plan:
    beams = [
        Beam(
            f"{n}", n + 1, beam.id, beam.energy_mv, beam.flattened, isocentre, (),
            tuple(ControlPoint(at, angle, 0.0, 0.0, *jaws, None) for at in (0.0, mu)),
        )
        for n, angle in enumerate(gantry)
    ]  # fmt: skip
    return Plan("validation", tuple(beams), (), 1, position, "phantom")


def _compute(plan: Plan, density: Image, beam: Machine, grid: Grid | None = None) -> NDArray[np.float32]:
    on = grid or density.grid
    values: NDArray[np.float32] = (
        engines.engine(ENGINE).compute(plan, density, beam, on, body=np.ones(on.shape)).image.values
    )
    return values


@dataclass(frozen=True, eq=False)
class ArcDoses:
    """An arc and its Monte Carlo doses, as data/montecarlo_arc.csv has them.

    Parameters
    ----------
    mu, gantry_deg : (n,) float
        Of the control points.
    leaf_y_mm : (pairs,) float
        Middles of the leaf pairs that are used.
    leaves_mm : (n, 2, pairs) float
        Leaf ends.
    phantom, plane : (points,) str
    place_mm : (points, 3) float
        LPS mm about the isocentre.
    dose, error : (points,) float
        MeV/g per photon/cm2 and the standard error.
    """

    mu: Float
    gantry_deg: Float
    leaf_y_mm: Float
    leaves_mm: Float
    phantom: NDArray[np.str_]
    plane: NDArray[np.str_]
    place_mm: Float
    dose: Float
    error: Float


ARC_COLUMNS = ("mu", "gantry_deg", "leaf_y_mm", "x1_mm", "x2_mm")
POINT_COLUMNS = ("phantom", "plane", "x_mm", "y_mm", "z_mm", "dose", "se_pct")


def read_arc_doses(text: str, where: str) -> ArcDoses:
    """Read an arc and its Monte Carlo doses: comments, a table of leaves, an empty line, a table of points.

    Parameters
    ----------
    text : str
        Of the file.
    where : str
        Its name, for messages.

    Raises
    ------
    InputError
        When a table, a column or a number is missing or cannot be; names the line.
    """
    tables: list[list[tuple[int, str]]] = [[]]
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            tables.append([])
        elif not line.startswith("#"):
            tables[-1].append((number, line))
    tables = [table for table in tables if table]
    if len(tables) != 2:
        raise InputError(f"{where} has {len(tables)} tables; expected one of leaves and one of points, a line between")
    leaves = np.array([values for _, values in _cells(tables[0], ARC_COLUMNS, 0, where)])
    points = _cells(tables[1], POINT_COLUMNS, 2, where)
    rows = np.unique(leaves[:, 2])
    by_point = leaves[: len(leaves) // len(rows) * len(rows)].reshape(-1, len(rows), 5)
    same = (by_point[:, :, :2] == by_point[:, :1, :2]).all()
    if len(leaves) % len(rows) or not same or not (by_point[:, :, 2] == rows).all():
        raise InputError(f"{where}: each control point needs every leaf pair once, y ascending, at one MU and angle")
    for (number, _), ((phantom, plane), values) in zip(tables[1][1:], points, strict=True):
        if phantom not in BOXES or plane not in PLANES:
            raise InputError(f"{where}, line {number}: unknown phantom '{phantom}' or plane '{plane}'")
        if values[3] <= 0 or values[4] <= 0:
            raise InputError(f"{where}, line {number}: dose and standard error must be above 0")
    numbers = np.array([values for _, values in points])
    words = np.array([words for words, _ in points])
    return ArcDoses(
        by_point[:, 0, 0], by_point[:, 0, 1], rows, by_point[:, :, 3:].transpose(0, 2, 1), words[:, 0], words[:, 1],
        numbers[:, :3], numbers[:, 3], numbers[:, 3] * numbers[:, 4] / 100,
    )  # fmt: skip


def _cells(
    table: list[tuple[int, str]], columns: tuple[str, ...], words: int, where: str
) -> list[tuple[list[str], list[float]]]:
    """Words and numbers of each line of a table with these columns, of which the first are words."""
    (number, title), *lines = table
    if tuple(title.split(",")) != columns or not lines:
        raise InputError(f"{where}, line {number}: expected a table with the columns {','.join(columns)}")
    made = []
    for number, line in lines:
        cells = line.split(",")
        try:
            values = [float(cell) for cell in cells[words:]]
        except ValueError as error:
            raise InputError(f"{where}, line {number}: '{line}' has a cell that is no number") from error
        if len(cells) != len(columns) or not np.isfinite(values).all():
            raise InputError(f"{where}, line {number}: expected {len(columns)} finite cells, found '{line}'")
        made.append((cells[:words], values))
    return made


@cache
def _arc_doses() -> ArcDoses:
    where = "data/montecarlo_arc.csv"
    return read_arc_doses(resources.files("tailort.workflow").joinpath(where).read_text(encoding="utf-8"), where)


def arc_plan(arc: ArcDoses, beam: Machine) -> Plan:
    """The arc as a deliverable plan of a machine; pairs that the arc does not use stay closed."""
    edges = np.array(beam.leaf_boundaries_mm)
    pairs = np.searchsorted(edges, arc.leaf_y_mm) - 1
    if not np.allclose(0.5 * (edges[pairs] + edges[pairs + 1]), arc.leaf_y_mm, atol=1e-6):
        raise InputError(f"machine '{beam.id}' has no leaf pairs where the arc needs them")
    leaves = np.zeros((len(arc.mu), 2, len(edges) - 1))
    leaves[:, :, pairs] = arc.leaves_mm
    jaws_x = (float(arc.leaves_mm.min()), float(arc.leaves_mm.max()))
    jaws_y = (float(edges[pairs[0]]), float(edges[pairs[-1] + 1]))
    points = tuple(
        ControlPoint(float(mu), float(angle), 0.0, 0.0, jaws_x, jaws_y, ends)
        for mu, angle, ends in zip(arc.mu, arc.gantry_deg, leaves, strict=True)
    )
    arc_beam = Beam(
        "arc", 1, beam.id, beam.energy_mv, beam.flattened, (0.0, 0.0, 0.0), beam.leaf_boundaries_mm, points, True
    )
    return Plan("validation", (arc_beam,), (), 1, "HFS", "phantom")


def _box(phantom: str) -> Image:
    n = round(BOX_MM / VOXEL_MM)
    grid = Grid.axial((n, n, n), (VOXEL_MM,) * 3, (-(BOX_MM - VOXEL_MM) / 2,) * 3, "phantom")
    ends = np.cumsum([thickness for _, thickness in BOXES[phantom]]) - BOX_MM / 2
    layer = np.searchsorted(ends, grid.axes_mm()[1])
    values = np.array([density for density, _ in BOXES[phantom]])[layer]
    return Image(grid, np.broadcast_to(values[None, :, None], grid.shape).astype(np.float32), "g/cm3")


@cache
def _arc_differences(name: str, phantom: str, distance_mm: float) -> Float:
    """Difference in per cent of the highest wanted dose at each point, 0 where it is found within a distance."""
    beam, arc = machine(name), _arc_doses()
    plan, density = arc_plan(arc, beam), _box(phantom)
    # As for the slabs: per MeV/cm2 of an open beam over the whole arc.
    scale = beam.spectrum.mean_energy_mev / scale_gy_per_mu(beam) / plan.mu
    values = _compute(plan, density, beam) * scale
    own = arc.phantom == phantom
    wanted, difference = arc.dose[own], np.empty(own.sum())
    for plane, axis in PLANES.items():
        here = arc.plane[own] == plane
        sides = np.full(3, IN_PLANE_MM)
        sides[axis] = ACROSS_MM
        found = _about(arc.place_mm[own][here], values, density.grid, sides, distance_mm)
        agrees = (found.min(axis=0) <= wanted[here]) & (wanted[here] <= found.max(axis=0))
        difference[here] = np.where(agrees, 0.0, 100 * (found[0] - wanted[here]) / wanted.max())
    return difference


def _about(place_mm: Float, values: NDArray[np.float32], grid: Grid, sides_mm: Float, distance_mm: float) -> Float:
    """Mean over a cuboid about each point (first row), and about the points at a distance from it in 26 directions."""
    steps = [np.arange(-side / 2 + VOXEL_MM / 2, side / 2, VOXEL_MM) for side in sides_mm]
    within = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    ways = np.array([way for way in product((-1.0, 0.0, 1.0), repeat=3) if any(way)])
    shifts = np.vstack([np.zeros((1, 3)), distance_mm * ways / np.linalg.norm(ways, axis=1, keepdims=True)])
    means = []
    for shift in shifts:
        index = grid.to_index(place_mm[:, None] + within + shift)
        at = ndimage.map_coordinates(values, np.moveaxis(index, -1, 0), order=1, mode="nearest", output=np.float64)
        means.append(at.mean(axis=1))
    return np.stack(means)


def _arc(entry: Entry) -> Iterator[tuple[str, float]]:
    for phantom in entry["phantoms"]:
        yield f"arc, {phantom}", _largest(_arc_differences(entry["machine"], phantom, entry["distance_mm"]))


def _arc_points(entry: Entry) -> Iterator[tuple[str, float]]:
    for phantom in entry["phantoms"]:
        difference = _arc_differences(entry["machine"], phantom, entry["distance_mm"])
        yield f"points of the arc within, {phantom}", 100 * float((np.abs(difference) <= entry["within"]).mean())


SMALL_FIELD = ((-25.0, 25.0), (-25.0, 25.0))


def _body(spacing: float = VOXEL_MM, slices: int = 32) -> Image:
    """A cylinder of water with one lung and a tumour in it, its axis along the patient."""
    n = round(200 / spacing)
    middle = (n - 1) / 2 * spacing
    grid = Grid.axial((slices, n, n), (spacing,) * 3, (-middle, -middle, -(slices - 1) / 2 * spacing), "phantom")
    _, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij")
    density = np.where(np.hypot(x, y) < 90, 1.0, 0.0012)
    density = np.where(np.hypot(x - 35, y) < 35, 0.26, density)
    density = np.where(np.hypot(x - 20, y + 5) < 12, 1.03, density)
    return Image(grid, density.astype(np.float32), "g/cm3")


def _quarter_turn(entry: Entry) -> Iterator[tuple[str, float]]:
    beam, body = machine(entry["machine"]), _body()
    turned = body.with_values(np.ascontiguousarray(np.rot90(body.values, 1, axes=(1, 2))), "g/cm3")
    straight = _compute(_static(beam, SMALL_FIELD, (30.0,)), body, beam)
    aside = _compute(_static(beam, SMALL_FIELD, (300.0,)), turned, beam)
    yield "patient and beam turned by 90 degrees", _percent(np.rot90(straight, 1, axes=(1, 2)), aside)


def _translation(entry: Entry) -> Iterator[tuple[str, float]]:
    beam, body = machine(entry["machine"]), _body()
    shift = (31.3, -12.9, 7.7)
    affine = body.grid.affine.copy()
    affine[:3, 3] += shift
    moved = Image(Grid(body.grid.shape, affine, "phantom"), body.values, "g/cm3")
    here = _compute(_static(beam, SMALL_FIELD, (30.0,)), body, beam)
    there = _compute(_static(beam, SMALL_FIELD, (30.0,), isocentre=shift), moved, beam)
    yield "patient and isocentre shifted", _percent(here, there)


def _linearity(entry: Entry) -> Iterator[tuple[str, float]]:
    beam, body = machine(entry["machine"]), _body()
    one, many = (_compute(_static(beam, SMALL_FIELD, (30.0,), mu=mu), body, beam) for mu in (1.0, 100.0))
    yield "1 and 100 MU", _percent(100 * one, many)


def _prone(entry: Entry) -> Iterator[tuple[str, float]]:
    beam, body = machine(entry["machine"]), _body()
    supine = _compute(_static(beam, SMALL_FIELD, (30.0, 100.0)), body, beam)
    prone = _compute(_static(beam, SMALL_FIELD, (210.0, 280.0), position="HFP"), body, beam)
    yield "supine and prone", _percent(supine, prone)


def _grid(entry: Entry) -> Iterator[tuple[str, float]]:
    beam, fine, coarse = machine(entry["machine"]), _body(1.25, 64), _body(2.5, 32)
    plan = _static(beam, SMALL_FIELD, (30.0,))
    exact = _compute(plan, fine, beam)
    exact = exact.reshape(32, 2, 80, 2, 80, 2).mean(axis=(1, 3, 5))
    found = _compute(plan, fine, beam, coarse.grid)
    # Within the distance of a voxel: the range of the exact dose there, by its steepest neighbours.
    steps = [np.abs(np.gradient(exact, VOXEL_MM, axis=axis)) for axis in range(3)]
    allowed = np.max(steps, axis=0) * entry["distance_mm"]
    beyond = np.maximum(np.abs(found - exact) - allowed, 0.0)
    inside = ndimage.binary_erosion(exact > 0.1 * exact.max())
    difference = np.where(np.abs(found - exact) < 0.01 * exact.max(), np.abs(found - exact), beyond)
    yield "2.5 mm and 1.25 mm grid", 100 * float(np.quantile(difference[inside], 0.99)) / float(exact.max())


def _arc_sampling(entry: Entry) -> Iterator[tuple[str, float]]:
    beam, body = machine(entry["machine"]), _body(4.0, 20)
    doses = []
    for count in (90, 180):
        angles = (np.arange(count) + 0.5) * 360.0 / count
        doses.append(_compute(_static(beam, SMALL_FIELD, tuple(angles), mu=360.0 / count), body, beam))
    yield "arc in steps of 4 and 2 degrees", _percent(doses[1], doses[0])


def _influence(entry: Entry) -> Iterator[tuple[str, float]]:
    beam = machine(entry["machine"])
    # What jaws let through belongs to a plan, not to beamlets.
    closed = replace(beam, jaw_transmission=0.0)
    for side in entry["fields_mm"]:
        for phantom in entry["phantoms"]:
            density = _layers(phantom, 0.7 * side + 60.0)
            setups = arrange([0.0], (0.0, 0.0, 0.0), 0.0)
            middles = np.arange(-side / 2, side / 2, 5.0) + 2.5
            y, x = (a.ravel() for a in np.meshgrid(middles, middles, indexing="ij"))
            beamlets = Beamlets(np.zeros(len(x), dtype=np.int32), x, y, 5.0, 5.0, tuple(setups))
            voxels = np.arange(density.grid.size, dtype=np.uint32)[::7]
            matrix = engines.engine(ENGINE).influence(density, beamlets, beam, density.grid, voxels, position="HFS")
            found = matrix.dose(np.ones(len(x)))
            wanted = _compute(_static(beam, ((-side / 2, side / 2),) * 2), density, closed).reshape(-1)[voxels]
            place = density.grid.to_world(np.stack(np.unravel_index(voxels, density.grid.shape), axis=-1))
            # Where the ray crosses the isocentre plane, which is the surface. Jaws, that end the open field, blur its
            # edge otherwise than leaves do.
            at = np.abs(place[:, [0, 2]]) * 1000.0 / (1000.0 + place[:, [1]])
            edge = (np.abs(at - side / 2) < EDGE_MM).any(axis=1)
            counts = (place[:, 1] > SLAB_FROM_MM) & ~edge
            difference = 100 * (found - wanted) / wanted.max()
            yield f"sum of beamlets, {side:g} mm field, {phantom}", _largest(difference[counts])


def _percent(one: NDArray[Any], other: NDArray[Any]) -> float:
    return 100 * _largest((other - one).astype(np.float64)) / float(one.max())


def _largest(differences: NDArray[Any]) -> float:
    """The difference of largest size, with its sign."""
    return float(differences.reshape(-1)[np.argmax(np.abs(differences))])


# A check yields names and values, and a tolerance where a row has its own (None: reported only).
CHECKS: dict[str, Callable[[Entry], Iterator[tuple[Any, ...]]]] = {
    "depth_dose": _depth_dose,
    "tpr20_10": _tpr,
    "output_factors": _output_factors,
    "field_edge": _field_edge,
    "penumbra": _penumbra,
    "slab": _slab,
    "slab_profile": _slab_profile,
    "arc": _arc,
    "arc_points": _arc_points,
    "quarter_turn": _quarter_turn,
    "translation": _translation,
    "linearity": _linearity,
    "prone": _prone,
    "grid": _grid,
    "arc_sampling": _arc_sampling,
    "influence": _influence,
}

"""A recurrence after oesophagectomy: in a nodal station, the old bed or the gastric tube in it, at some distance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.phantom import parameters as p
from tailort.phantom.anatomy.nodal_levels import REGION_OF, NodalLevels
from tailort.phantom.anatomy.region import Point
from tailort.phantom.shapes import Array, Cut, Ellipsoid, Grown, Lattice, Minus, Shape

Kind = Literal["node", "bed", "tube"]

_STEP_MM = 3.0
_HALF_X_MM, _FRONT_MM, _BACK_MM = 72.0, -84.0, 72.0
_SKIN_MM = 8.0
_GAP_MM = 0.8
_BED_REACH_MM = 22.0
_KEPT = 0.55
_NEARLY = 0.85
_TRIED = 500


@dataclass(frozen=True, eq=False)
class Recurrence:
    """A growth dented by its neighbours; its long axis runs along the body.

    Parameters
    ----------
    kind : {"node", "bed", "tube"}
        Lymph node, bed of the resected tumour, or bed and the whole wall of the gastric tube that runs in it.
    region : str
        I to IV of NCT03731442.
    station : str
        Number of the nodal station in which its middle lies; the level of it for a bed.
    whole : Ellipsoid
        Its shape before its neighbours dent it, body coordinates.
    neighbours : tuple of Shape
        What it does not grow into.
    along : Shape or None
        Its shape where it follows the gastric tube; `whole` then tells its middle and its size.
    """

    kind: Kind
    region: str
    station: str
    whole: Ellipsoid
    neighbours: tuple[Shape, ...]
    along: Shape | None = None

    @cached_property
    def solid(self) -> Shape:
        """The growth as it is."""
        return Minus(self.along or self.whole, self.neighbours, _GAP_MM)

    @property
    def diameter_mm(self) -> float:
        """Longest diameter."""
        return 2 * max(self.whole.radii)


def place(
    levels: NodalLevels,
    anastomosis: Point,
    kind: Kind,
    region: str,
    diameter_mm: float,
    from_anastomosis_mm: float | None,
    rng: np.random.Generator,
) -> Recurrence:
    """Find room for a recurrence in a body that has none.

    Parameters
    ----------
    levels : NodalLevels
        Stations of the body.
    anastomosis : (3,) float
        Body coordinates, mm.
    kind, region : str
        What and where, see `Recurrence`.
    diameter_mm : float
        Longest diameter.
    from_anastomosis_mm : float or None
        Straight from the middle of the anastomosis to the middle of the growth; None takes any.
    rng : Generator
        Chooses among the places that are about equally good.

    Raises
    ------
    InputError
        When there is no room; tells the distances at which there is.
    """
    half = 0.5 * diameter_mm
    radii = (half * p.RECURRENCE_SLIMNESS, half * p.RECURRENCE_SLIMNESS, half)
    room = _Room(levels, region, kind, half)
    centres, stations = room.centres
    free = np.flatnonzero([room.axis_free(centre, half) for centre in centres])
    distance = np.linalg.norm(centres - np.array(anastomosis), axis=1)
    if from_anastomosis_mm is not None:
        near = np.abs(distance[free] - from_anastomosis_mm) < 0.6 * _STEP_MM
        kept = free[near]
    else:
        kept = free
    order = rng.permutation(kept)[:_TRIED]
    best: list[tuple[float, Point, str]] = []
    for n in order.tolist():
        centre = centres[n]
        if from_anastomosis_mm is not None:
            ray = centre - np.array(anastomosis)
            centre = np.array(anastomosis) + ray * (from_anastomosis_mm / np.linalg.norm(ray))
            if not room.axis_free(centre, half):
                continue
        best.append((room.kept(centre, radii), (float(centre[0]), float(centre[1]), float(centre[2])), stations[n]))
    share = max((b[0] for b in best), default=0.0)
    if share < _KEPT:
        reach = f"{distance[free].min():.0f} to {distance[free].max():.0f} mm" if len(free) else "no distance"
        asked = "anywhere" if from_anastomosis_mm is None else f"{from_anastomosis_mm:g} mm from the anastomosis"
        raise InputError(
            f"a {kind} recurrence of {diameter_mm:g} mm has no room in region {region} {asked} in this virtual "
            f"patient; a middle free of other organs is found at {reach} from the anastomosis: ask for another "
            "distance or a smaller one"
        )
    # Any station that has about as much room as the best, not always the roomiest.
    good = [b for b in best if b[0] >= max(_KEPT, _NEARLY * share)]
    chosen = str(rng.choice(sorted({b[2] for b in good})))
    _, centre, station = next(b for b in good if b[2] == chosen)
    return Recurrence(kind, region, station, Ellipsoid(centre, radii), levels.hard_obstacles)


def place_in_tube(
    levels: NodalLevels,
    anastomosis: Point,
    region: str,
    diameter_mm: float,
    from_anastomosis_mm: float | None,
    rng: np.random.Generator,
) -> Recurrence:
    """Let a recurrence take the whole cross-section of the gastric tube over its length; see `place`.

    Raises
    ------
    InputError
        When the tube is not that long in the region; tells the distances at which it is.
    """
    body, half = levels.body, 0.5 * diameter_mm
    line, tube = body.food_line, body.oesophagus.conduit
    if tube is None:
        raise InputError("a recurrence grows in the gastric tube of an operated body only")
    low, high = tube.z_range
    at = {
        name: line[(line[:, 2] >= bottom) & (line[:, 2] < top)]
        for name in ("8U", "8M", "8Lo") if REGION_OF[name] == region for bottom, top in (levels.limits(name),)
    }  # fmt: skip
    names = [name for name, points in at.items() for _ in points]
    points = np.concatenate(list(at.values()))
    free = np.flatnonzero((points[:, 2] - half > low) & (points[:, 2] + half < high))
    distance = np.linalg.norm(points - np.array(anastomosis), axis=1)
    near = [n for n in free if from_anastomosis_mm is None or abs(distance[n] - from_anastomosis_mm) < _STEP_MM]
    if not near:
        reach = f"{distance[free].min():.0f} to {distance[free].max():.0f} mm" if len(free) else "no distance"
        asked = "anywhere" if from_anastomosis_mm is None else f"{from_anastomosis_mm:g} mm from the anastomosis"
        raise InputError(
            f"a recurrence of {diameter_mm:g} mm in the gastric tube has no room in region {region} {asked} in this "
            f"virtual patient; it has at {reach}: ask for another distance or a smaller one"
        )
    far = from_anastomosis_mm
    chosen = int(rng.choice(near)) if far is None else min(map(int, near), key=lambda n: abs(distance[n] - far))
    x, y, z = (float(value) for value in points[chosen])
    around = Cut(Grown(tube, p.TUBE_GROWTH_MM), limits=(z - half, z + half))
    across = Lattice(np.arange(x - 60, x + 60, 1.0)[None, :], np.arange(y - 60, y + 60, 1.0)[:, None], z)
    radius = float(np.sqrt((across.field(around) < 0).sum() / np.pi))
    neighbours = tuple(shape for shape in levels.hard_obstacles if shape is not body.oesophagus.organ)
    return Recurrence("tube", region, names[chosen], Ellipsoid((x, y, z), (radius, radius, half)), neighbours, around)


class _Room:
    """Clearance of a region's planes from everything a growth does not enter, on a lattice."""

    def __init__(self, levels: NodalLevels, region: str, kind: Kind, half_mm: float) -> None:
        self.levels, self.region, self.kind = levels, region, kind
        body = levels.body
        self.stations = {name: solid for name, solid in levels.solids.items() if REGION_OF[name] == region}
        if region == "I":
            self.stations |= body.stations.supraclavicular
        low = min(solid.z_range[0] for solid in self.stations.values()) - half_mm - _STEP_MM
        high = max(solid.z_range[1] for solid in self.stations.values()) + half_mm + _STEP_MM
        self.x = np.arange(-_HALF_X_MM, _HALF_X_MM + 1, _STEP_MM)
        self.y = np.arange(_FRONT_MM, _BACK_MM + 1, _STEP_MM)
        self.z = np.arange(low, high + _STEP_MM, _STEP_MM)
        self.clear = np.stack([self._clearance(float(z)) for z in self.z])

    def _clearance(self, z: float) -> Array:
        body = self.levels.body
        at = Lattice(self.x[None, :], self.y[:, None], z)
        # Into the wall of the chest a growth does not reach; above the chest it stays under the skin.
        clear: Array = -at.field(body.surface.muscle_outline) - _SKIN_MM
        if z < body.surface.cavity.z_range[1]:
            np.minimum(clear, -at.field(body.surface.cavity) - 2.0, out=clear)
        for solid in self.levels.hard_obstacles:
            found = at.near(solid, 12.0)
            if found is not None:
                rows, columns, field = found
                np.minimum(clear[rows, columns], field - _GAP_MM, out=clear[rows, columns])
        return clear

    @cached_property
    def centres(self) -> tuple[NDArray[np.float64], list[str]]:
        """Points (n, 3) in the stations of the region, or in the bed at its level, and the station of each."""
        found: list[NDArray[np.float64]] = []
        names: list[str] = []
        line = self.levels.body.course.line
        for k, z in enumerate(self.z.tolist()):
            at = Lattice(self.x[None, :], self.y[:, None], z)
            bed = self._bed_station(z)
            if self.kind == "bed":
                x, y = (float(np.interp(-z, -line[:, 2], line[:, axis])) for axis in (0, 1))
                close = np.hypot(self.x[None, :] - x, self.y[:, None] - y) < _BED_REACH_MM
                inside = {bed: close} if bed else {}
            else:
                inside = {name: at.field(solid) < -1.0 for name, solid in self.stations.items() if _meets(solid, z)}
            for name, mask in inside.items():
                rows, columns = np.nonzero(mask & (self.clear[k] > 0.8))
                found.append(np.column_stack([self.x[columns], self.y[rows], np.full(len(rows), z)]))
                names += [name] * len(rows)
        return (np.concatenate(found) if found else np.zeros((0, 3))), names

    def _bed_station(self, z: float) -> str:
        """Para-oesophageal station at this height of the region; none outside of it."""
        for name in ("8U", "8M", "8Lo"):
            low, high = self.levels.limits(name)
            if REGION_OF[name] == self.region and low <= z < high:
                return name
        return ""

    def axis_free(self, centre: NDArray[np.float64], half_mm: float) -> bool:
        """Whether nothing crosses the long axis, so that the growth is one piece of its full length."""
        heights = centre[2] + np.append(np.arange(-half_mm, half_mm, _STEP_MM), half_mm)
        k = np.clip(np.rint((heights - self.z[0]) / _STEP_MM).astype(int), 0, len(self.z) - 1)
        j = int(np.clip(round((centre[1] - self.y[0]) / _STEP_MM), 0, len(self.y) - 1))
        i = int(np.clip(round((centre[0] - self.x[0]) / _STEP_MM), 0, len(self.x) - 1))
        return bool((self.clear[k, j, i] > 0.8).all())

    def kept(self, centre: NDArray[np.float64], radii: tuple[float, float, float]) -> float:
        """Share of the ellipsoid that no neighbour takes."""
        grid = [np.linspace(-r, r, 9) for r in radii]
        u, v, w = np.meshgrid(*grid, indexing="ij")
        inside = (u / radii[0]) ** 2 + (v / radii[1]) ** 2 + (w / radii[2]) ** 2 <= 1
        index = [
            np.clip(np.rint((c + offset[inside] - axis[0]) / _STEP_MM).astype(int), 0, len(axis) - 1)
            for c, offset, axis in zip(centre, (u, v, w), (self.x, self.y, self.z), strict=True)
        ]
        return float((self.clear[index[2], index[1], index[0]] > 0).mean())


def _meets(solid: Shape, z: float) -> bool:
    return solid.z_range[0] <= z <= solid.z_range[1]

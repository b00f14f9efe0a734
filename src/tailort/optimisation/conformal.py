"""Conformal apertures: leaves and jaws that open round a target's shadow with a margin, and close over organs.

The shadow is that of the solid which the contours mean (`tailort.geometry.solid`), in the plane through the isocentre
across the beam, in the axes of the beam limiting device (IEC 61217). It is bounded by straight edges, so the outermost
point within a leaf's width, margin included, has a closed form and hangs on no lattice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import GeometryError, InputError
from tailort.geometry import PatientPosition, beam_axes
from tailort.geometry.solid import build_solid, sections
from tailort.optimisation.aperture import PARK_MM, beam_of, least_opening_mm
from tailort.patient import Beam, BeamSetup, ControlPoint
from tailort.patient.plan import Pair
from tailort.physics.machine import Machine

Float = NDArray[np.float64]
Side = Literal["x1", "x2"]
# Sections between planes no further apart than this, mm.
SECTION_STEP_MM = 1.0
# A strip that sees less than this of a shadow sees nothing of it, mm.
TOUCHING_MM = 1e-6
# A section exactly at the end of a solid may be empty already.
_JUST_INSIDE_MM = 1e-3


@dataclass(frozen=True)
class ApertureMargin:
    """Distance that a field's edge keeps from a shadow, in the plane through the isocentre.

    It is the shadow of an ellipsoid whose axis is the patient's long axis, so it turns with collimator and couch.

    Parameters
    ----------
    across_mm, craniocaudal_mm : float
        Across the patient's long axis and along it, mm, not below 0.
    """

    across_mm: float
    craniocaudal_mm: float

    def __post_init__(self) -> None:
        for name in ("across_mm", "craniocaudal_mm"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"a margin of an aperture must be a number not below 0 mm; found {name} {value:g}")

    @classmethod
    def uniform(cls, margin_mm: float) -> ApertureMargin:
        """Return the same margin on all sides."""
        return cls(margin_mm, margin_mm)

    def ellipse(self, axes: Float) -> Float:
        """Matrix Q (2, 2), mm2, of the ellipse {e: e' Q^-1 e <= 1} for the rows of `beam_axes` (3, 3)."""
        long = axes[:2, 2]
        return self.across_mm**2 * np.eye(2) + (self.craniocaudal_mm**2 - self.across_mm**2) * np.outer(long, long)


@dataclass(frozen=True, eq=False)
class Prisms:
    """A structure's solid as upright prisms on its sections: what throws its shadow.

    Every section is drawn out to the next one on both sides, so nothing between two sections is left out.

    Parameters
    ----------
    name : str
        Structure.
    rings : tuple of (n, 2) float
        Polygons x, y, LPS mm; outer ones turn from +x to +y, holes the other way.
    low_mm, high_mm : (rings,) float
        Lowest and highest z of each polygon's prism, LPS mm.
    """

    name: str
    rings: tuple[Float, ...]
    low_mm: Float
    high_mm: Float

    @classmethod
    def of(cls, name: str, contours: Sequence[Float], single_slice_thickness_mm: float | None = None) -> Prisms:
        """Make the prisms of a structure's contours.

        Parameters
        ----------
        name : str
            Structure.
        contours : sequence of (n, 3) float
            Closed planar polygons, LPS mm.
        single_slice_thickness_mm : float or None
            Thickness of contours that lie in one plane only.

        Raises
        ------
        GeometryError
            When there are no contours.
        """
        if not len(contours):
            raise GeometryError(f"'{name}' has no contours, so it throws no shadow; draw it first")
        solid = build_solid(contours, single_slice_thickness_mm=single_slice_thickness_mm)
        (*_, bottom), (*_, top) = (bound.tolist() for bound in solid.bounds_mm())
        stops = np.unique(np.clip([bottom, *solid.planes_mm, top], bottom + _JUST_INSIDE_MM, top - _JUST_INSIDE_MM))
        heights = np.concatenate(
            [np.linspace(a, b, int(np.ceil((b - a) / SECTION_STEP_MM)), endpoint=False) for a, b in pairwise(stops)]
            + [stops[-1:]]
        )
        faces = np.concatenate([[bottom], heights, [top]])
        rings: list[Float] = []
        low: list[float] = []
        high: list[float] = []
        for n, polygons in enumerate(sections(solid, heights)):
            rings += polygons
            low += [float(faces[n])] * len(polygons)
            high += [float(faces[n + 2])] * len(polygons)
        return cls(name, tuple(rings), np.array(low), np.array(high))

    def faces(self, setup: BeamSetup, position: PatientPosition, source_axis_distance_mm: float) -> tuple[Float, Float]:
        """Where the corners of each polygon's lower and upper face are seen.

        Returns
        -------
        lower, upper : (points, 2) float
            Of all polygons one after the other, x and y in the isocentre plane, mm.
        """
        plane = np.concatenate(self.rings)
        count = [len(ring) for ring in self.rings]
        low, high = (np.column_stack([plane, np.repeat(z, count)]) for z in (self.low_mm, self.high_mm))
        return (
            seen(low, setup, position, source_axis_distance_mm),
            seen(high, setup, position, source_axis_distance_mm),
        )

    def edges(self, setup: BeamSetup, position: PatientPosition, source_axis_distance_mm: float) -> Float:
        """All edges of the prisms as a beam sees them: rows x0, y0, x1, y1 in the isocentre plane, mm."""
        lower, upper = self.faces(setup, position, source_axis_distance_mm)
        following = self.following()
        return np.concatenate(
            [
                np.hstack([lower, lower[following]]),
                np.hstack([upper, upper[following]]),
                np.hstack([lower, upper]),
            ]
        )

    def following(self) -> NDArray[np.int64]:
        """Index of the next corner of the same polygon, for all corners one after the other."""
        count = np.array([len(ring) for ring in self.rings])
        ends = np.cumsum(count)
        following = np.arange(1, ends[-1] + 1)
        following[ends - 1] = ends - count
        return following


def seen(points_mm: Float, setup: BeamSetup, position: PatientPosition, source_axis_distance_mm: float) -> Float:
    """Where points (n, 3), LPS mm, are seen from the source: x, y (n, 2) in the isocentre plane, mm.

    Raises
    ------
    GeometryError
        When a point is not below the source.
    """
    axes = beam_axes(setup.gantry_deg, setup.collimator_deg, setup.couch_deg, position)
    along = (points_mm - np.asarray(setup.isocentre_mm)) @ axes.T
    below = source_axis_distance_mm - along[:, 2]
    if len(below) and not below.min() > 0:
        raise GeometryError(
            f"beam '{setup.name}' would have a contour {-below.min():g} mm behind its source; check the isocentre "
            f"{setup.isocentre_mm}"
        )
    at: Float = along[:, :2] * (source_axis_distance_mm / below)[:, None]
    return at


def extents(edges: Float, strips_mm: ArrayLike, ellipse: Float) -> tuple[Float, Float]:
    """Outermost x, strip by strip, of straight edges that an ellipse is moved along.

    For a filled figure these are the outermost points of the figure with its margin, since within a strip they lie on
    an edge.

    Parameters
    ----------
    edges : (n, 4) float
        x0, y0, x1, y1, mm; a point is an edge of no length.
    strips_mm : (m + 1,) float
        Ascending y of the strips' borders, mm.
    ellipse : (2, 2) float
        Q of {e: e' Q^-1 e <= 1}, mm2.

    Returns
    -------
    low, high : (m,) float
        mm; +inf and -inf where a strip sees nothing.
    """
    strips = np.asarray(strips_mm, dtype=np.float64)
    q = (float(ellipse[0, 0]), float(ellipse[0, 1]), float(ellipse[1, 1]))
    mirrored = edges * np.array([-1.0, 1.0, -1.0, 1.0])
    high: Float = _highest(np.ascontiguousarray(edges, dtype=np.float64), strips, *q)
    low: Float = -_highest(mirrored, strips, q[0], -q[1], q[2])
    return low, high


@numba.njit(cache=True, nogil=True)
def _highest(edges: Float, strips: Float, qxx: float, qxy: float, qyy: float) -> Any:  # pragma: no cover - compiled
    m = len(strips) - 1
    out = np.full(m, -np.inf)
    # x of the ellipse's right half at the height u: b u + a sqrt(1 - (u / up)^2).
    up = max(np.sqrt(qyy), 1e-9)
    b = qxy / up**2
    a = np.sqrt(max(qxx - qxy * b, 0.0))
    # Height of the ellipse's rightmost point.
    right = qxy / np.sqrt(qxx) if qxx > 0 else 0.0
    for e in range(len(edges)):
        x0, y0, x1, y1 = edges[e, 0], edges[e, 1], edges[e, 2], edges[e, 3]
        bottom, top = min(y0, y1) - up, max(y0, y1) + up
        # The sum of edge and ellipse is convex: its rightmost height, or a stretch of heights, and downhill from there.
        if x0 > x1:
            first = last = y0 + right
        elif x1 > x0:
            first = last = y1 + right
        else:
            first, last = min(y0, y1) + right, max(y0, y1) + right
        n = max(0, np.searchsorted(strips, bottom, side="right") - 1)
        while n < m and strips[n] < top:
            low, high = max(strips[n], bottom), min(strips[n + 1], top)
            if high - low > TOUCHING_MM:
                y = min(max(min(max(low, first), last), low), high)
                out[n] = max(out[n], _rightmost(x0, y0, x1 - x0, y1 - y0, y, up, a, b))
            n += 1
    return out


@numba.njit(cache=True, nogil=True)
def _rightmost(
    x0: float, y0: float, wx: float, wy: float, y: float, up: float, a: float, b: float
) -> float:  # pragma: no cover - compiled
    """Greatest x at the height y of an edge that the ellipse is moved along."""
    if abs(wy) < 1e-12:
        u = min(max(y - y0, -up), up)
        return float(x0 + max(wx, 0.0) + b * u + a * np.sqrt(max(1.0 - (u / up) ** 2, 0.0)))
    # Where the ellipse's centre stands on the edge follows from u, the height above it; x(u) is concave.
    slope = wx / wy
    gain = (b - slope) * up
    length = np.hypot(gain, a)
    u = up * gain / length if length > 0 else 0.0
    ends = (y - y0, y - y0 - wy)
    u = min(max(u, max(min(ends[0], ends[1]), -up)), min(max(ends[0], ends[1]), up))
    return float(x0 + (y - y0 - u) * slope + b * u + a * np.sqrt(max(1.0 - (u / up) ** 2, 0.0)))


@dataclass(frozen=True, eq=False)
class Block:
    """An organ that the leaves close over.

    Parameters
    ----------
    organ : Prisms
        What is to be in the shade.
    margin : ApertureMargin
        Distance of the leaf ends from its shadow.
    """

    organ: Prisms
    margin: ApertureMargin


@dataclass(frozen=True, eq=False)
class Aperture:
    """The opening of one beam: field edges at the isocentre, IEC 61217 beam limiting device axes.

    Parameters
    ----------
    setup : BeamSetup
        The beam.
    jaws_x_mm, jaws_y_mm : (2,) float
        mm.
    open_mm : (2, n) float or None
        From and to which x each leaf pair is open, mm; equal where it is closed; None without an MLC.
    """

    setup: BeamSetup
    jaws_x_mm: Pair
    jaws_y_mm: Pair
    open_mm: Float | None

    def __post_init__(self) -> None:
        if self.open_mm is not None:
            opened = np.array(self.open_mm, dtype=np.float64)
            opened.setflags(write=False)
            object.__setattr__(self, "open_mm", opened)

    def boxes(self, machine: Machine) -> Float:
        """Return what is open, one box a leaf pair: rows x low, x high, y low, y high, mm."""
        (x1, x2), (y1, y2) = self.jaws_x_mm, self.jaws_y_mm
        if self.open_mm is None:
            return np.array([[x1, x2, y1, y2]])
        edges = np.asarray(machine.leaf_boundaries_mm)
        boxes = np.column_stack(
            [
                np.maximum(self.open_mm[0], x1),
                np.minimum(self.open_mm[1], x2),
                np.maximum(edges[:-1], y1),
                np.minimum(edges[1:], y2),
            ]
        )
        kept: Float = boxes[(boxes[:, 1] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 2])]
        return kept

    def area_mm2(self, machine: Machine) -> float:
        """Area of the opening in the isocentre plane."""
        boxes = self.boxes(machine)
        return float(((boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])).sum())

    def contains(self, xy_mm: Float, machine: Machine) -> NDArray[np.bool_]:
        """Which points (n, 2) of the isocentre plane, mm, are in the opening."""
        within: NDArray[np.bool_] = np.zeros(len(xy_mm), dtype=bool)
        for x1, x2, y1, y2 in self.boxes(machine):
            within |= (xy_mm[:, 0] >= x1) & (xy_mm[:, 0] <= x2) & (xy_mm[:, 1] >= y1) & (xy_mm[:, 1] <= y2)
        return within

    def outline(self, machine: Machine) -> tuple[Float, ...]:
        """Polygons (n, 2) round the opening, steps of the leaves included, mm; one for each piece."""
        boxes = self.boxes(machine)
        pieces: list[list[Float]] = []
        for box in boxes:
            last = pieces[-1][-1] if pieces else None
            if last is not None and abs(last[3] - box[2]) < 1e-6 and last[1] > box[0] and box[1] > last[0]:
                pieces[-1].append(box)
            else:
                pieces.append([box])
        return tuple(
            np.array(
                [(box[1], y) for box in piece for y in box[2:]]
                + [(box[0], y) for box in piece[::-1] for y in box[:1:-1]]
            )
            for piece in pieces
        )

    def control_point(self, mu: float, machine: Machine) -> ControlPoint:
        """What the machine is set to for this opening; round leaf ends are set closer than the field is wide."""
        leaves = None
        if self.open_mm is not None:
            opened = self.open_mm[1] > self.open_mm[0]
            inside = np.where(opened, 0.5 * machine.head.leaf_end_gap_mm, 0.0)
            leaves = self.open_mm + np.stack([inside, -inside])
        s = self.setup
        return ControlPoint(mu, s.gantry_deg, s.collimator_deg, s.couch_deg, self.jaws_x_mm, self.jaws_y_mm, leaves)


def conform(
    setup: BeamSetup,
    targets: Sequence[Prisms],
    machine: Machine,
    position: PatientPosition,
    margin: ApertureMargin,
    blocks: Sequence[Block] = (),
    side: Side | None = None,
) -> Aperture:
    """Open a beam round its targets' shadow.

    Parameters
    ----------
    setup : BeamSetup
        The beam.
    targets : sequence of Prisms
        What must be in the field.
    machine : Machine
        Leaves and jaws; without leaves the field is the rectangle of the jaws.
    position : str
        HFS, HFP, FFS or FFP.
    margin : ApertureMargin
        From the targets to the field's edge.
    blocks : sequence of Block
        Organs that the leaves close over, whatever of the target is behind them. A leaf pair has one opening, so a
        block leaves the targets open on one of its sides only.
    side : {"x1", "x2"} or None
        The side of the blocks that stays open; None is the one on which more stays open.

    Raises
    ------
    GeometryError
        When the field is larger than the collimators reach, or a block covers all of it.
    InputError
        When an organ is to be blocked on a machine without leaves, or there is no target.
    """
    if not targets:
        raise InputError(f"beam '{setup.name}' has no target to open for")
    axes = beam_axes(setup.gantry_deg, setup.collimator_deg, setup.couch_deg, position)
    ellipse = margin.ellipse(axes)
    distance = machine.source_axis_distance_mm
    edges = np.concatenate([target.edges(setup, position, distance) for target in targets])
    up = float(np.sqrt(ellipse[1, 1]))
    jaws_y = (float(edges[:, 1::2].min()) - up, float(edges[:, 1::2].max()) + up)
    if not machine.leaf_pairs:
        if blocks:
            raise InputError(
                f"'{blocks[0].organ.name}' cannot be blocked: machine '{machine.id}' has no leaves; choose a machine "
                "with an MLC or angles that avoid the organ"
            )
        low, high = extents(edges, jaws_y, ellipse)
        return _within_reach(Aperture(setup, (float(low[0]), float(high[0])), jaws_y, None), machine)
    strips = np.asarray(machine.leaf_boundaries_mm, dtype=np.float64)
    if jaws_y[0] < strips[0] or jaws_y[1] > strips[-1]:
        raise GeometryError(
            f"the target does not fit beam '{setup.name}': it reaches from {jaws_y[0]:.0f} to {jaws_y[1]:.0f} mm "
            f"across the leaves, which reach from {strips[0]:g} to {strips[-1]:g} mm; move the isocentre or turn the "
            "collimator"
        )
    low, high = extents(edges, strips, ellipse)
    # A tip of the shadow narrower than the leaves can open gets the narrowest opening.
    opened = high > low
    middle = np.where(opened, 0.5 * (np.where(opened, low, 0.0) + np.where(opened, high, 0.0)), 0.0)
    wide = np.where(opened, 0.5 * least_opening_mm(machine), -np.inf)
    low, high = np.minimum(low, middle - wide), np.maximum(high, middle + wide)
    for block in blocks:
        shade = extents(block.organ.edges(setup, position, distance), strips, block.margin.ellipse(axes))
        low, high = beside(low, high, *shade, np.diff(strips), side)
    return opening(setup, low, high, jaws_y, machine, blocks)


def beside(
    low: Float, high: Float, shade_low: Float, shade_high: Float, widths_mm: Float, side: Side | None
) -> tuple[Float, Float]:
    """Close openings over a shade, and over what is beyond it.

    Parameters
    ----------
    low, high : (pairs,) float
        Opening of each pair, mm; high <= low is closed.
    shade_low, shade_high : (pairs,) float
        What is to be closed; high <= low is nothing.
    widths_mm : (pairs,) float
        Of the leaves: both sides are compared by their area.
    side : {"x1", "x2"} or None
        The side that stays open; None is the larger one.
    """
    shaded = (shade_high > shade_low) & (high > low) & (shade_low < high) & (shade_high > low)
    first = np.where(shaded, np.minimum(high, shade_low), high)
    second = np.where(shaded, np.maximum(low, shade_high), low)
    if side is None:
        areas = [float((np.maximum(b - a, 0.0) * widths_mm)[shaded].sum()) for a, b in ((low, first), (second, high))]
        side = "x1" if areas[0] >= areas[1] else "x2"
    return (low, first) if side == "x1" else (second, high)


def opening(
    setup: BeamSetup, low: Float, high: Float, jaws_y: Pair, machine: Machine, blocks: Sequence[Block] = ()
) -> Aperture:
    """Return the aperture of leaf openings, with the jaws at the leaves and closed pairs behind a jaw.

    Parameters
    ----------
    setup : BeamSetup
        The beam.
    low, high : (pairs,) float
        From and to which x a pair is open, mm; closed where that is less than the narrowest opening.
    jaws_y : (2,) float
        Farthest apart that the jaws along y may be, mm.
    machine : Machine
        Leaves and jaws.
    blocks : sequence of Block
        What closed the pairs, for the error.

    Raises
    ------
    GeometryError
        When all is closed, or beyond reach.
    """
    strips = np.asarray(machine.leaf_boundaries_mm, dtype=np.float64)
    opened = high - low > least_opening_mm(machine) - 1e-9
    if not opened.any():
        names = ", ".join(block.organ.name for block in blocks) or "the block"
        raise GeometryError(
            f"{names} covers all of the target in beam '{setup.name}'; choose another angle or a smaller margin"
        )
    pairs = np.flatnonzero(opened)
    jaws_x = (float(low[opened].min()), float(high[opened].max()))
    jaws_y = (max(jaws_y[0], float(strips[pairs[0]])), min(jaws_y[1], float(strips[pairs[-1] + 1])))
    if opened.all():
        aperture = Aperture(setup, jaws_x, jaws_y, np.stack([low, high]))
        return _within_reach(aperture, machine)
    # Behind a jaw along y a pair may close anywhere; between open pairs it has to close behind one along x.
    index = np.arange(len(opened))
    between = ~opened & (index > pairs[0]) & (index < pairs[-1])
    parks = [p for p in (jaws_x[0] - PARK_MM, jaws_x[1] + PARK_MM) if _reached(p, machine)]
    if not parks:
        parks = [jaws_x[0]]
    rest = np.where(opened, np.stack([low, high]), 0.5 * (jaws_x[0] + jaws_x[1]))
    ways = [np.where(between, park, rest) for park in parks]
    best = min(ways, key=lambda ends: float(np.ptp(ends, axis=1).max()))
    return _within_reach(Aperture(setup, jaws_x, jaws_y, best), machine)


def _reached(x_mm: float, machine: Machine) -> bool:
    return machine.leaf_reach_mm[0] <= x_mm <= machine.leaf_reach_mm[1]


def _within_reach(aperture: Aperture, machine: Machine) -> Aperture:
    """The aperture, if jaws and leaves can go there."""
    name, limit = aperture.setup.name, machine.jaw_limit_mm
    (x1, x2), (y1, y2) = aperture.jaws_x_mm, aperture.jaws_y_mm
    if max(-x1, x2, -y1, y2) > limit:
        raise GeometryError(
            f"the field of beam '{name}' reaches from {x1:.0f} to {x2:.0f} mm in x and from {y1:.0f} to {y2:.0f} mm in "
            f"y, the jaws of machine '{machine.id}' from {-limit:g} to {limit:g} mm; move the isocentre"
        )
    if aperture.open_mm is None:
        return aperture
    low, high = float(aperture.open_mm.min()), float(aperture.open_mm.max())
    if not (_reached(low, machine) and _reached(high, machine)):
        raise GeometryError(
            f"the leaves of beam '{name}' would go from {low:.0f} to {high:.0f} mm, those of machine '{machine.id}' "
            f"reach from {machine.leaf_reach_mm[0]:g} to {machine.leaf_reach_mm[1]:g} mm; move the isocentre"
        )
    span = float(np.ptp(aperture.open_mm, axis=1).max())
    if span > machine.leaf_span_mm:
        raise GeometryError(
            f"the leaf ends of one bank of beam '{name}' would lie {span:.0f} mm apart, those of machine "
            f"'{machine.id}' at most {machine.leaf_span_mm:g} mm; turn the collimator or split the field"
        )
    return aperture


def overlap_mm2(
    setup: BeamSetup,
    targets: Sequence[Prisms],
    organ: Prisms,
    position: PatientPosition,
    source_axis_distance_mm: float,
    margin: ApertureMargin,
    organ_margin: ApertureMargin,
    strip_mm: float = 2.5,
) -> float:
    """Area of a conformal field, mm2 at the isocentre, that an organ with its margin covers: 0 is a beam off it."""
    axes = beam_axes(setup.gantry_deg, setup.collimator_deg, setup.couch_deg, position)
    edges = np.concatenate([target.edges(setup, position, source_axis_distance_mm) for target in targets])
    ellipse = margin.ellipse(axes)
    up = float(np.sqrt(ellipse[1, 1]))
    bottom, top = float(edges[:, 1::2].min()) - up, float(edges[:, 1::2].max()) + up
    strips = np.linspace(bottom, top, int(np.ceil((top - bottom) / strip_mm)) + 1)
    low, high = extents(edges, strips, ellipse)
    shade = extents(organ.edges(setup, position, source_axis_distance_mm), strips, organ_margin.ellipse(axes))
    covered = np.maximum(np.minimum(high, shade[1]) - np.maximum(low, shade[0]), 0.0)
    return float(covered @ np.diff(strips))


def beams_of(apertures: Sequence[Aperture], mu: Float, machine: Machine) -> tuple[Beam, ...]:
    """Static beams of apertures and their MU of one fraction; apertures of one beam become its segments, largest first.

    Parameters
    ----------
    apertures : sequence of Aperture
        Of all beams; those of 0 MU are left out.
    mu : (apertures,) float
        MU of one fraction.
    machine : Machine
        What delivers them.
    """
    by_number: dict[int, list[tuple[Aperture, float]]] = {}
    for aperture, own in zip(apertures, np.asarray(mu, dtype=np.float64).tolist(), strict=True):
        if own > 0:
            by_number.setdefault(aperture.setup.number, []).append((aperture, own))
    beams = []
    for number in sorted(by_number):
        members = sorted(by_number[number], key=lambda member: -member[0].area_mm2(machine))
        reached = np.concatenate([[0.0], np.cumsum([own for _, own in members])]).tolist()
        points = []
        for (aperture, _), (before, after) in zip(members, pairwise(reached), strict=True):
            point = aperture.control_point(before, machine)
            points += [point, replace(point, mu=after)]
        beams.append(beam_of(members[0][0].setup, machine, points))
    return tuple(beams)

"""Beams that pass tissue which the CT does not show.

A CT that ends within the body hides tissue. A beam that comes through such an end meets less than it will at
treatment, so its dose is too high, and no engine can tell. Two cases:

- **Ends** (first and last slice). The body is taken to go on as in the outermost slice. How far a beam's field reaches
  into that body, on its way from the source to the isocentre plane, is how many millimetres of CT are missing.
- **Sides** (the edge of the scanned field). The body's chord at the side gives how much of it is missing: the square of
  the width of an ellipse is a parabola in depth, so its zero, extrapolated from inside, is where the body would end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.dose.fan import Fan
from tailort.errors import GeometryError
from tailort.geometry import Grid
from tailort.patient.plan import Beam, BeamSetup, ControlPoint, Plan

Float = NDArray[np.float64]

# Distance of the rays in the isocentre plane and of the samples along them, mm.
RAY_PITCH_MM = 5.0
STEP_MM = 2.0
# Less than this is within what a slice shows anyway, mm.
LEAST_MM = 1.0
# The body's edge is extrapolated from the widths within this depth below the side of the CT, mm.
FROM_WITHIN_MM = 60.0
# Jaws and leaves wider than this are no field, mm.
WIDEST_MM = 200.0
# Names of the faces, by axis of the index (k, j, i), low and high; for grids along the patient's axes.
_FACES = (("lower end", "upper end"), ("front", "back"), ("right side", "left side"))


@dataclass(frozen=True)
class CutOff:
    """A face of the CT through which a beam comes although the body goes on there.

    Parameters
    ----------
    beam : str
        Its name.
    face : str
        "upper end", "lower end", "front", "back", "left side" or "right side" of the CT.
    missing_mm : float
        At an end: how far the field reaches beyond the CT within the body. At a side: how much of the body is missing
        there, estimated.
    """

    beam: str
    face: str
    missing_mm: float

    @property
    def warning(self) -> str:
        """One sentence for a person."""
        if self.face.endswith("end"):
            return (
                f"beam '{self.beam}' reaches beyond the {self.face} of the CT, where the body goes on: "
                f"{self.missing_mm:.0f} mm of its field lie beyond the last slice there, and the tissue in them is "
                "missing from the dose; scan farther, or choose another direction"
            )
        return (
            f"beam '{self.beam}' enters through the {self.face} of the CT, which cuts off the body: about "
            f"{self.missing_mm:.0f} mm of tissue are missing on its way, so its dose is too high; give a CT with a "
            "wider field of view, or choose another direction"
        )


def cut_offs(plan: Plan, body: NDArray[Any], grid: Grid) -> tuple[CutOff, ...]:
    """Find the beams that come through a face of the CT at which the body is cut off.

    Parameters
    ----------
    plan : Plan
        Every direction and aperture of its control points with MU is looked at.
    body : (k, j, i) array
        The patient's outline on the CT: a mask, or partial volumes, of which at least a half count.
    grid : Grid
        Voxels of the whole CT, along the patient's axes; not cut to the body or the dose grid.

    Returns
    -------
    tuple of CutOff
        At most one a beam and face, the largest one, in the order of the beams; empty when nothing is cut off.

    Raises
    ------
    GeometryError
        When the frames of reference or the shapes differ, or the grid is oblique.
    """
    grid.require_axial("looking for what the CT cuts off")
    grid.require_same_frame(plan.frame_of_reference, f"plan '{plan.label}'")
    if body.shape != grid.shape:
        raise GeometryError(f"an outline of shape {body.shape} does not fit a CT of shape {grid.shape}")
    body = body >= 0.5 if body.dtype != np.bool_ else body
    if not any(_face(body, axis, end).any() for axis in range(3) for end in (0, 1)):
        return ()
    found: list[CutOff] = []
    for beam in plan.beams:
        largest: dict[tuple[int, int], float] = {}
        for setup, points in _directions(beam).items():
            fan = Fan.of(setup, plan.patient_position, beam.source_axis_distance_mm)
            rays = _open_rays(points, beam.leaf_boundaries_mm)
            if not len(rays):
                continue
            for face, missing_mm in _along(fan, rays, body, grid).items():
                largest[face] = max(largest.get(face, 0.0), missing_mm)
        found += [
            CutOff(beam.name, _FACES[axis][end], missing_mm)
            for (axis, end), missing_mm in sorted(largest.items())
            if missing_mm >= LEAST_MM
        ]
    return tuple(found)


def _directions(beam: Beam) -> dict[BeamSetup, list[ControlPoint]]:
    """Apertures of a beam by where it stands; those without MU before and after do not count."""
    by_setup: dict[BeamSetup, list[ControlPoint]] = {}
    points = beam.control_points
    for n, point in enumerate(points):
        after = points[n + 1].mu - point.mu if n + 1 < len(points) else 0.0
        before = point.mu - points[n - 1].mu if n and beam.dynamic else 0.0
        if max(after, before) > 1e-9:
            setup = BeamSetup(
                beam.name, beam.number, beam.isocentre_mm, point.gantry_deg, point.collimator_deg, point.couch_deg
            )
            by_setup.setdefault(setup, []).append(point)
    return by_setup


def _open_rays(points: list[ControlPoint], boundaries_mm: tuple[float, ...]) -> Float:
    """Where rays through any of the apertures cross the isocentre plane, (n, 2) u, v, mm; edges are included."""
    found = [_aperture_rays(point, boundaries_mm) for point in points]
    every: Float = np.unique(np.round(np.concatenate(found), 1), axis=0)
    return every


def _aperture_rays(point: ControlPoint, boundaries_mm: tuple[float, ...]) -> Float:
    low_y, high_y = np.clip(point.jaws_y_mm, -WIDEST_MM, WIDEST_MM)
    low_x, high_x = np.clip(point.jaws_x_mm, -WIDEST_MM, WIDEST_MM)
    if point.leaves_mm is None:
        rows = [(low_y, high_y, low_x, high_x)]
    else:
        rows = [
            (max(low_y, bottom), min(high_y, top), max(low_x, left), min(high_x, right))
            for bottom, top, left, right in zip(boundaries_mm, boundaries_mm[1:], *point.leaves_mm, strict=False)
        ]
    rays = [
        np.stack(np.meshgrid(_spread(left, right), _spread(bottom, top)), axis=-1).reshape(-1, 2)
        for bottom, top, left, right in rows
        if top - bottom > 0.1 and right - left > 0.1
    ]
    every: Float = np.concatenate(rays) if rays else np.zeros((0, 2))
    return every


def _spread(low: float, high: float) -> Float:
    """Positions from low to high, both included, at most `RAY_PITCH_MM` apart."""
    return np.linspace(low, high, int(np.ceil((high - low) / RAY_PITCH_MM)) + 1)


def _along(fan: Fan, rays: Float, body: NDArray[np.bool_], grid: Grid) -> dict[tuple[int, int], float]:
    """Millimetres that are missing at each face (axis, end) on the way of rays from the source to the isocentre."""
    shape = np.array(grid.shape)
    spacing = np.array(grid.spacing_mm)
    low, high = grid.faces_mm()
    # Nothing lies nearer to the source than the sides of the CT; beyond its ends the body goes on.
    gap = np.maximum(np.maximum(low - fan.source_mm, fan.source_mm - high), 0.0)[:2]
    near = 0.9 * float(np.linalg.norm(gap))
    depths = np.arange(near, fan.source_axis_distance_mm + STEP_MM, STEP_MM)
    directions = (rays @ fan.axes[:2]) / fan.source_axis_distance_mm - fan.axes[2]
    places = grid.to_index(fan.source_mm + depths[None, :, None] * directions[:, None, :])
    nearest = np.rint(places).astype(int)
    beyond = np.stack([-0.5 - places, places - (shape - 0.5)])
    missing: dict[tuple[int, int], float] = {}

    # Ends: beside the outermost slice, where this shows the body.
    beside = (nearest[..., 1:] >= 0).all(axis=-1) & (nearest[..., 1:] < shape[1:]).all(axis=-1)
    for end in (0, 1):
        out = np.argwhere(beside & (beyond[end, ..., 0] > 0))
        if len(out):
            at = nearest[out[:, 0], out[:, 1]]
            in_body = _face(body, 0, end)[at[:, 1], at[:, 2]]
            distances = beyond[end, out[:, 0], out[:, 1], 0][in_body] * spacing[0]
            if len(distances):
                missing[0, end] = float(distances.max())

    # Sides: rays whose first voxel in the CT is body.
    inside = ((nearest >= 0) & (nearest < shape)).all(axis=-1)
    entering = inside & ~np.roll(inside, 1, axis=1)
    entering[:, 0] = False
    ray, sample = np.nonzero(entering)
    for axis in (1, 2):
        for end in (0, 1):
            through = beyond[end, ray, sample - 1, axis] > 0
            k, j, i = nearest[ray[through], sample[through]].T
            across = i if axis == 1 else j
            hit = _face(body, axis, end)[k, across]
            lengths = [_lacking_mm(_plane(body, axis, end, int(n)), spacing[axis], spacing[3 - axis])
                       for n in np.unique(k[hit])]  # fmt: skip
            if lengths:
                missing[axis, end] = max(lengths)
    return missing


def _face(body: NDArray[np.bool_], axis: int, end: int) -> NDArray[np.bool_]:
    """Body in the outermost voxels along an axis."""
    return np.asarray(np.take(body, -1 if end else 0, axis=axis), dtype=np.bool_)


def _plane(body: NDArray[np.bool_], axis: int, end: int, k: int) -> NDArray[np.bool_]:
    """Slice k with a side of the CT first: (inward, along the side)."""
    plane = np.asarray(body[k] if axis == 1 else body[k].T, dtype=np.bool_)
    return plane[::-1] if end else plane


def _lacking_mm(plane: NDArray[np.bool_], inward_mm: float, along_mm: float) -> float:
    """How far the body would go on beyond the side of the CT, mm."""
    rows = plane[: max(4, round(FROM_WITHIN_MM / inward_mm))]
    # Lungs and other holes belong to the body's width.
    spans = [np.flatnonzero(row) for row in rows]
    widths = np.array([0.0 if not len(s) else (s[-1] - s[0] + 1) * along_mm for s in spans])
    depth = (np.arange(len(rows)) + 0.5) * inward_mm
    curve = np.polyfit(depth, widths**2, 2)
    zeros = np.roots(curve)
    ends = [-float(z.real) for z in zeros if abs(z.imag) < 1e-9 and z.real < 0]
    # Where the body's sides are straight there is no end to extrapolate to: half a circle on the chord is the most.
    most = 0.5 * float(widths[0])
    return min([*ends, most])

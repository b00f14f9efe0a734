"""Contours of the planning CT carried to another scan by a registration, and the outline that this scan shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tailort.errors import InputError
from tailort.geometry import Grid, Image, partial_volume
from tailort.geometry.contours import in_plane, level_set
from tailort.patient import Point, Structure, StructureSet
from tailort.registration import Registration
from tailort.registration.scan import look_at

REVIEW = "to be reviewed by a person before it is used"
PROPAGATED = f"carried from the planning CT by the registration, {REVIEW}"
SEEN = f"outline that the CT shows, {REVIEW}"
# Lattice on which carried contours are found, at the finest, mm; around a structure, mm; where it lies is first seen
# on this grid, mm.
FINEST_MM, AROUND_MM, COARSE_MM = 1.5, 6.0, 5.0
# A carried edge may round off by this.
TOLERANCE_MM = 0.05
# The body is denser than this; noise and clothes are smaller than this.
SKIN_HU, LEAST_OUTLINE_MM2 = -400.0, 500.0
# How far the coarse body of a scan may lie off its skin, mm.
SKIN_WITHIN_MM = 4.0
# Steps of the search for a carried point, and how close it comes, mm.
STEPS, CLOSE_MM = 50, 0.01


def propagated(
    structures: Iterable[Structure], found: Registration, grid: Grid, drawn_slice_mm: float
) -> tuple[Structure, ...]:
    """Structures of an earlier scan as they lie in today's.

    Parameters
    ----------
    structures : iterable of Structure
        Drawn on the earlier scan.
    found : Registration
        From today's frame of reference to the earlier one.
    grid : Grid
        Of today's CT: contours lie in its planes.
    drawn_slice_mm : float
        Distance of the slices of the earlier scan: how thick a structure in one plane is.

    Returns
    -------
    tuple of Structure
        Each says in its `made_by` that it was carried and is to be reviewed; one that comes to lie outside of the scan
        has no contours. By the identity contours stay as they are.
    """
    return tuple(_propagated(structure, found, grid, drawn_slice_mm) for structure in structures)


def _propagated(structure: Structure, found: Registration, grid: Grid, drawn_slice_mm: float) -> Structure:
    made = replace(
        structure, frame_of_reference=found.from_frame, made_by=(*structure.made_by, PROPAGATED), contours=()
    )
    if structure.is_empty:
        return made
    if is_identity(found):
        return replace(made, contours=structure.contours)
    block = _where(structure, found, grid)
    if block is None:
        return made
    source = _around(structure, found.to_frame)
    inside = Image(
        source, partial_volume(structure.contours, source, single_slice_thickness_mm=drawn_slice_mm).full(), "1"
    )
    values = found.map_image(inside, block, 0.0).values
    z, y, x = block.axes_mm()
    contours = [
        contour
        for plane, height in zip(values, z, strict=True)
        if plane.max() > 0.5
        for contour in in_plane(level_set(plane.astype(np.float64), x, y, 0.5, TOLERANCE_MM), float(height))
    ]
    return replace(made, contours=tuple(contours))


def is_identity(found: Registration) -> bool:
    """Whether a registration changes nothing, not even the frame of reference."""
    same = found.from_frame == found.to_frame
    return same and found.is_rigid and np.array_equal(found.rigid.affine, np.eye(4))


def _around(structure: Structure, frame: str) -> Grid:
    """Fine axial grid around a structure; its planes lie on and between the drawn ones."""
    low, high = (np.asarray(end, dtype=np.float64) for end in structure.bounds_mm())
    planes = structure.slice_positions_mm
    apart = float(np.median(np.diff(planes))) if len(planes) > 1 else FINEST_MM
    step = np.array([FINEST_MM, FINEST_MM, apart / max(1, round(apart / FINEST_MM))])
    first = np.floor(AROUND_MM / step + 1)
    shape = np.ceil((high - low) / step).astype(int) + 2 * first.astype(int) + 1
    return Grid.axial(shape[::-1], step[::-1], low - first * step, frame)


def _where(structure: Structure, found: Registration, grid: Grid) -> Grid | None:
    """Part of today's planes around a carried structure, finer in the planes; None where it does not come there."""
    low, high = structure.bounds_mm()
    extent = np.asarray(high) - np.asarray(low) + 2 * AROUND_MM
    step = np.maximum(COARSE_MM, extent / 400.0)
    shape = np.ceil(extent / step).astype(int) + 1
    box = Image(
        Grid.axial(shape[::-1], step[::-1], np.asarray(low) - AROUND_MM, found.to_frame),
        np.ones(tuple(shape[::-1]), dtype=np.float32),
        "1",
    )
    coarse = grid.with_spacing(np.maximum(COARSE_MM, grid.spacing_mm))
    held = np.argwhere(found.map_image(box, coarse, 0.0).values > 0)
    if not len(held):
        return None
    corners = coarse.to_world(np.stack([held.min(axis=0) - 1.0, held.max(axis=0) + 1.0]))
    index = np.sort(grid.to_index(corners), axis=0)
    part = grid.crop(np.maximum(np.floor(index[0]), 0), np.minimum(np.ceil(index[1]) + 1, grid.shape))
    dz, dy, dx = part.spacing_mm
    return part.with_spacing((dz, min(dy, FINEST_MM), min(dx, FINEST_MM)))


def propagated_points(points: Sequence[Point], found: Registration) -> tuple[Point, ...]:
    """Points of the earlier scan as they lie today; those that the map does not come close to are left out."""
    made = []
    for point in points:
        place = back_to_today(np.asarray(point.position_mm), found)
        if place is not None:
            x, y, z = (float(c) for c in place)
            made.append(replace(point, position_mm=(x, y, z), frame_of_reference=found.from_frame))
    return tuple(made)


def back_to_today(point_mm: NDArray[np.float64], found: Registration) -> NDArray[np.float64] | None:
    """Point of today that a registration maps to a point of the earlier scan, LPS mm; None where there is none."""
    start = found.rigid.inverse().apply(point_mm)
    place = start.copy()
    for _ in range(STEPS):
        if found.displacement is None:
            return place
        moved = found.displacement.move(place)
        if np.linalg.norm(moved - start) < CLOSE_MM:
            return place
        place = place - (moved - start)
    return None


def body_in(image: Image, called: str) -> NDArray[np.bool_]:
    """Voxels of the patient that a CT shows, without the couch, (k, j, i)."""
    body = look_at(image, called).body
    reach = [0, *(max(1, round(SKIN_WITHIN_MM / mm)) for mm in image.grid.spacing_mm[1:])]
    box = np.ones([2 * n + 1 for n in reach], dtype=bool)
    seen = ndimage.binary_dilation(body, box) & (image.values > SKIN_HU)
    # What is further inside than the coarse body may be off belongs to the patient, lung and gas too.
    seen |= ndimage.binary_erosion(body, box, border_value=1)
    filled = np.stack([ndimage.binary_fill_holes(plane) for plane in seen])
    parts, count = ndimage.label(filled)
    if not count:
        raise InputError(f"{called} shows no body; give another scan")
    return np.asarray(parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])), dtype=bool)


def outline_seen(image: Image, called: str) -> Structure:
    """Outline of the patient as a CT shows it."""
    z, y, x = image.grid.axes_mm()
    contours = [
        contour
        for plane, height in zip(body_in(image, called), z, strict=True)
        if plane.any()
        for contour in in_plane(
            level_set(
                ndimage.gaussian_filter(plane.astype(np.float64), 0.7), x, y, 0.5, TOLERANCE_MM, LEAST_OUTLINE_MM2
            ),
            float(height),
        )
    ]
    return Structure("External", "EXTERNAL", tuple(contours), image.grid.frame_of_reference, made_by=(SEEN,))


def structures_of_today(
    planned: StructureSet, drawn: StructureSet, found: Registration, image: Image, recipe: Iterable[str], called: str,
    planned_slice_mm: float,
) -> StructureSet:  # fmt: skip
    """What is drawn today, and what else was drawn for the plan, carried here.

    Parameters
    ----------
    planned : StructureSet
        On the planning CT.
    drawn : StructureSet
        Today; what a person drew wins over what is carried.
    found : Registration
        From today's frame to that of the planning CT.
    image : Image
        Today's CT.
    recipe : iterable of str
        Structures that the protocol's recipe makes anew and that are not carried: planning volumes and helpers. Tumours
        and clinical target volumes are carried: what may be microscopic tumour does not shrink with what is seen.
    called : str
        Today's scan, for people.
    planned_slice_mm : float
        Distance of the slices of the planning CT.
    """
    made_anew = {name.lower() for name in recipe}
    own = {s.name.lower() for s in drawn if not s.is_empty}
    wanted = [
        s for s in planned
        if s.name.lower() not in own
        and not (s.name.lower() in made_anew and s.role not in ("GTV", "CTV", "ITV"))
    ]  # fmt: skip
    has_outline = any(s.role == "EXTERNAL" for s in drawn if not s.is_empty)
    seen_anew = not has_outline and not is_identity(found)
    if has_outline or seen_anew:
        wanted = [s for s in wanted if s.role != "EXTERNAL"]
    made = [*propagated(wanted, found, image.grid, planned_slice_mm)]
    if seen_anew:
        made.insert(0, outline_seen(image, called))
    kept = tuple(s for s in drawn if not s.is_empty)
    points = {p.name.lower() for p in drawn.points}
    return replace(
        drawn,
        structures=(*kept, *made),
        points=(*drawn.points, *(p for p in propagated_points(planned.points, found) if p.name.lower() not in points)),
    )

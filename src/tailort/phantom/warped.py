"""Image and contours of a body as it lay in another position, from its solids as they lie in its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from tailort.geometry import Grid, Image
from tailort.phantom import contours, ct, parameters
from tailort.phantom.anatomy import Body
from tailort.phantom.contours import Lines
from tailort.phantom.shapes import Array, Lattice, Shape

Float = NDArray[np.float64]
ToToday = Callable[[Float], Float]
"""From points (..., 3) of the other position to the body's own, both world LPS mm."""

_CLIPPED_MM = 6.0
"""Further from its surface a solid's field is cut off, so that it can be interpolated."""
_SELDOM = 6
_BEYOND_MM = 40.0
_HALF_FIELD_MM = 320.0


def around(body: Body, grid: Grid, to_today: ToToday, step_mm: tuple[float, float, float]) -> Grid:
    """Grid of today with all of a body that is seen on a grid of the other position.

    Parameters
    ----------
    body : Body
        The body, which goes on beyond its own ends.
    grid : Grid
        Of the other position.
    to_today : callable
        See `ToToday`.
    step_mm : (3,) float
        Spacing wanted of slices, rows and columns.
    """
    low, high = grid.faces_mm()
    corners = np.stack(np.meshgrid(*(np.linspace(a, b, 9) for a, b in zip(low, high, strict=True))), axis=-1)
    reached = to_today(corners.reshape(-1, 3))
    shift = np.array(body.build.offset_mm)
    windows = [body.surface.external.window(z) for z in np.arange(body.z_limits[0], body.z_limits[1], 10.0).tolist()]
    x0, x1, y0, y1 = np.array([w for w in windows if w is not None]).T
    inner = np.array([x0.min(), y0.min(), body.z_limits[0]]) + shift - _BEYOND_MM
    outer = np.array([x1.max(), y1.max(), body.z_limits[1]]) + shift + _BEYOND_MM
    start, stop = np.maximum(reached.min(axis=0), inner), np.minimum(reached.max(axis=0), outer)
    shape = np.ceil((stop - start)[::-1] / step_mm).astype(int) + 1
    return Grid.axial(shape, step_mm, start, "today")


def seen(image: Image, grid: Grid, to_today: ToToday, outside: float) -> Array:
    """Values (k, j, i) of an image of today at a grid of the other position, trilinear, float32.

    Beyond the image is `outside`.
    """
    values = np.full(grid.shape, outside, dtype=np.float32)
    z, y, x = grid.axes_mm()
    rows, columns = _reached(y, x, z, to_today, image.grid)
    across, down = np.meshgrid(x[columns], y[rows])
    for k, height in enumerate(z):
        points = to_today(np.stack([across, down, np.full(across.shape, height)], axis=-1))
        index = np.moveaxis(image.grid.to_index(points), -1, 0)
        values[k, rows, columns] = map_coordinates(image.values, index, order=1, cval=outside, prefilter=False)
    return values


def scanned(still: Image, grid: Grid, to_today: ToToday, rng: np.random.Generator) -> Image:
    """CT of another position: a still image of today as it is seen there, with couch and fresh noise.

    Parameters
    ----------
    still : Image
        Of `ct.tissues`, on a grid that holds all of the body that is seen.
    grid : Grid
        Of the other position.
    to_today : callable
        See `ToToday`.
    rng : Generator
        Of the noise.
    """
    values = seen(still, grid, to_today, parameters.HU["air"])
    z, y, x = grid.axes_mm()
    lowest = float(y[np.flatnonzero((values > -400).any(axis=(0, 2)))[-1]])
    slices = np.empty(grid.shape, dtype=np.int16)
    for k, plane in enumerate(values):
        ct.lay_on_couch(plane, x, y, float(z[k]), lowest)
        slices[k] = ct.noisy(plane, rng)
    return Image(grid, slices, "HU")


Block = tuple[Float, Array]
"""First voxel and field (k, j, i) of a solid around its surface."""


def draw(
    blocks: Sequence[Block | None], base: Grid, planes_mm: Float, to_today: ToToday, step_mm: float
) -> list[Lines]:
    """For each solid the closed polygons (n, 3), LPS mm of the other position, on transverse planes of that position.

    Parameters
    ----------
    blocks, base : sequence, Grid
        Solids as `sampled` on a grid of today.
    planes_mm : (n,) float
        Planes of the other position.
    to_today : callable
        See `ToToday`.
    step_mm : float
        Lattice on which lines are drawn.
    """
    axis = np.arange(-_HALF_FIELD_MM, _HALF_FIELD_MM + step_mm, step_mm)
    j_range, i_range = _reached(axis, axis, planes_mm, to_today, base)
    columns, rows = np.meshgrid(axis[i_range], axis[j_range])
    margin = _SELDOM * step_mm / min(base.spacing_mm) + 2
    drawn: list[list[Float]] = [[] for _ in blocks]
    for plane in planes_mm:
        points = to_today(np.stack([columns, rows, np.full(columns.shape, float(plane))], axis=-1))
        index = base.to_index(points)
        for n, block in enumerate(blocks):
            if block is None:
                continue
            first, field = block
            # Looked for on every sixth line first: a solid is small and the plane is large.
            seldom = index[::_SELDOM, ::_SELDOM] - first
            within: Array = (seldom >= -margin) & (seldom <= np.array(field.shape) - 1 + margin)
            near: Array = np.all(within, axis=-1)
            if not near.any():
                continue
            j, i = (_SELDOM * np.flatnonzero(near.any(axis=axis)) for axis in (1, 0))
            part = (
                slice(max(j[0] - _SELDOM, 0), j[-1] + _SELDOM + 1),
                slice(max(i[0] - _SELDOM, 0), i[-1] + _SELDOM + 1),
            )
            local = index[part] - first
            known = map_coordinates(field, np.moveaxis(local, -1, 0), order=1, cval=_CLIPPED_MM, prefilter=False)
            if known.min() > 0:
                continue
            for line in contours.closed_lines(columns[part], rows[part], known):
                drawn[n].append(np.column_stack([line, np.full(len(line), float(plane))]))
    return [tuple(rings) for rings in drawn]


def _reached(y: Float, x: Float, z: Float, to_today: ToToday, base: Grid) -> tuple[slice, slice]:
    """Rows and columns of the other position that are not all outside of a grid of today."""
    low, high = base.faces_mm()
    planes = z[np.linspace(0, len(z) - 1, 5).astype(int)]
    points = to_today(np.stack(np.meshgrid(x, y, planes), axis=-1))
    inside: Array = np.all((points >= low) & (points <= high), axis=-1)
    found = [np.flatnonzero(np.any(inside, axis=axes)) for axes in ((1, 2), (0, 2))]
    return slice(found[0][0], found[0][-1] + 1), slice(found[1][0], found[1][-1] + 1)


def sampled(shapes: Sequence[Shape], offset_mm: tuple[float, float, float], base: Grid) -> list[Block | None]:
    """Solids of body coordinates on a grid of today's world; None where the grid does not meet one."""
    z, y, x = base.axes_mm()
    dx, dy, dz = offset_mm
    columns, rows = (x - dx).astype(np.float32), (y - dy).astype(np.float32)
    heights = z - dz
    blocks = [_block(shape, heights, rows, columns) for shape in shapes]
    for k, height in enumerate(heights.tolist()):
        at = Lattice(columns[None, :], rows[:, None], height)
        for shape, block in zip(shapes, blocks, strict=True):
            if block is None:
                continue
            first, field = block
            n = k - int(first[0])
            if not 0 <= n < len(field):
                continue
            low, high = shape.z_range
            beyond = max(low - height, height - high)
            found = at.near(shape, _CLIPPED_MM + 2.0)
            if found is None:
                continue
            row, column, known = found
            j, i = int(first[1]), int(first[2])
            j0, j1 = max(row.start, j), min(row.stop, j + field.shape[1])
            i0, i1 = max(column.start, i), min(column.stop, i + field.shape[2])
            cut = np.maximum(known[j0 - row.start : j1 - row.start, i0 - column.start : i1 - column.start], beyond)
            field[n, j0 - j : j1 - j, i0 - i : i1 - i] = np.clip(cut, -_CLIPPED_MM, _CLIPPED_MM)
    return blocks


def _block(shape: Shape, heights: Float, rows: Array, columns: Array) -> Block | None:
    """Room for the field of a solid."""
    low, high = shape.z_range
    k = np.flatnonzero((heights >= low - _CLIPPED_MM) & (heights <= high + _CLIPPED_MM))
    windows = [
        w for w in (shape.window(float(np.clip(heights[n], low + 1e-6, high - 1e-6))) for n in k) if w is not None
    ]
    if not windows:
        return None
    x0, x1, y0, y1 = (of(w[n] for w in windows) for n, of in enumerate((min, max, min, max)))
    i = np.flatnonzero((columns >= x0 - _CLIPPED_MM) & (columns <= x1 + _CLIPPED_MM))
    j = np.flatnonzero((rows >= y0 - _CLIPPED_MM) & (rows <= y1 + _CLIPPED_MM))
    if not len(i) or not len(j):
        return None
    field = np.full((len(k), len(j), len(i)), _CLIPPED_MM, dtype=np.float32)
    return np.array([k[0], j[0], i[0]], dtype=np.float64), field

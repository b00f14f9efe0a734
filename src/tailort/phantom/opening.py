"""Solids without their seams."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from scipy.ndimage import distance_transform_edt, zoom

from tailort.phantom.shapes import Array, Lattice, Shape, Window

_CORE_STEP_MM = 0.5
# The core is known to half a step of its lattice.
_OPENED_SLACK_MM = 0.4


@dataclass(frozen=True, eq=False)
class Opened:
    """A shape without what is narrower in a plane than twice `radius_mm`: seams, spikes and slivers.

    References
    ----------
    Serra 1982, Image Analysis and Mathematical Morphology (opening by a disc; here the core that is deeper than the
    radius, and what lies within the radius of it).
    """

    shape: Shape
    radius_mm: float

    @property
    def z_range(self) -> tuple[float, float]:
        """See `Shape.z_range`."""
        return self.shape.z_range

    def window(self, z: float) -> Window | None:
        """See `Shape.window`."""
        return self.shape.window(z)

    def field(self, at: Lattice) -> Array:
        """See `Shape.field`: that of the shape, and above 0 in what is too narrow."""
        whole = at.field(self.shape)
        if min(at.shape) < 2:
            return whole
        step = float(at.x[0, 1] - at.x[0, 0])
        finer = max(1, int(np.ceil(step / _CORE_STEP_MM)))
        rows, columns = (np.flatnonzero((whole < 0).any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            return whole
        part = slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2)
        fine = zoom(whole[part], [((n - 1) * finer + 1) / n for n in whole[part].shape], order=1)
        # Fields of fitted organs are no exact distances; the edge runs half a step before the first point outside.
        deep = (distance_transform_edt(fine < 0) - 0.5) * step / finer > self.radius_mm
        field: Array = whole.copy()
        _keep_near(deep, finer, step / finer, self.radius_mm, field[part])
        return field


@numba.njit(cache=True)
def _keep_near(
    core: Array, finer: int, step: float, radius: float, field: Array
) -> None:  # pragma: no cover - compiled
    """Raise `field` where it is below 0 to the distance from `core`, a lattice `finer` times as fine, less `radius`."""
    reach = int(np.ceil((radius + 2 * _OPENED_SLACK_MM) / step))
    for j in range(field.shape[0]):
        for i in range(field.shape[1]):
            if field[j, i] >= 0:
                continue
            best = (radius + 2 * _OPENED_SLACK_MM) ** 2
            row, column = j * finer, i * finer
            for m in range(max(0, row - reach), min(core.shape[0], row + reach + 1)):
                for n in range(max(0, column - reach), min(core.shape[1], column + reach + 1)):
                    if core[m, n]:
                        best = min(best, ((m - row) ** 2 + (n - column) ** 2) * step * step)
            field[j, i] = max(field[j, i], np.sqrt(best) - radius - _OPENED_SLACK_MM)

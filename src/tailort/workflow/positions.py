"""Where the patient may lie, and where structures lie then in the dose cloud of the planned position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tailort.evaluation import Scenario, within
from tailort.geometry import Grid, Image
from tailort.patient import Dose, Structure
from tailort.workflow.options import PlanningOptions


def positions_of(options: PlanningOptions) -> tuple[Scenario, ...]:
    """Where the patient may lie, the planned position first; nothing where a person did not ask for a robust plan."""
    if not options.robust or options.setup_errors_mm is None:
        return ()
    return within(options.setup_errors_mm, 6).scenarios


def placed(structure: Structure, positions: Sequence[Scenario]) -> tuple[Structure, ...]:
    """A structure where it lies in the static dose cloud, position by position; as planned where there are none."""
    if not positions:
        return (structure,)
    return tuple(
        replace(structure, contours=tuple(contour + np.array(one.shift_mm) for contour in structure.contours))
        for one in positions
    )


def widened(dose: Dose, positions: Sequence[Scenario]) -> Dose:
    """A dose on a grid that reaches as far as structures move; beyond its own grid the dose of its edge holds."""
    if not positions:
        return dose
    grid = dose.image.grid
    farthest = np.max([np.abs(one.shift_mm) for one in positions], axis=0)[::-1]
    more = np.ceil(farthest / grid.spacing_mm).astype(int)
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_world(-more)
    wide = Grid(tuple(np.array(grid.shape) + 2 * more), affine, grid.frame_of_reference)
    values = np.pad(dose.image.values, [(n, n) for n in more], mode="edge")
    return replace(dose, image=Image(wide, values, dose.image.unit))

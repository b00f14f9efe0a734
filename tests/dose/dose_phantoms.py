"""Boxes of water and simple fields for the tests of the dose engines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tailort.geometry import Grid, Image, PatientPosition
from tailort.patient.influence import Beamlets
from tailort.patient.plan import Beam, BeamSetup, ControlPoint, Plan
from tailort.physics import machine

FRAME = "1.2.3"
GENERIC = machine("generic-6MV")
WIDE = (-200.0, 200.0)


def cube(
    side_mm: float = 300.0,
    spacing_mm: float = 5.0,
    centre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Image:
    """Return a cube of water that fills its grid."""
    count = round(side_mm / spacing_mm)
    origin = np.array(centre_mm) - (count - 1) / 2 * spacing_mm
    grid = Grid.axial((count,) * 3, (spacing_mm,) * 3, origin, FRAME)
    return Image(grid, np.ones(grid.shape, dtype=np.float32), "g/cm3")


def with_lung(box: Image, from_y_mm: float, to_y_mm: float, density: float, from_x_mm: float = -1e9) -> Image:
    """Return the box with a slab of another density across y, from an x on."""
    _, y, x = box.grid.axes_mm()
    inside = ((y > from_y_mm) & (y < to_y_mm))[None, :, None] & (x > from_x_mm)[None, None, :]
    return box.with_values(np.where(inside, density, box.values).astype(np.float32))


def field(
    x_mm: tuple[float, float] = (-50.0, 50.0),
    y_mm: tuple[float, float] = (-50.0, 50.0),
    *,
    isocentre_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    gantry_deg: float = 0.0,
    collimator_deg: float = 0.0,
    couch_deg: float = 0.0,
    mu: float = 100.0,
) -> Beam:
    """Return an open rectangular field made by the jaws."""
    points = tuple(ControlPoint(at, gantry_deg, collimator_deg, couch_deg, x_mm, y_mm, None) for at in (0.0, mu))
    return Beam("field", 1, GENERIC.id, 6.0, True, isocentre_mm, (), points)


def plan(*beams: Beam, position: PatientPosition = "HFS") -> Plan:
    """Return a plan of these beams for one fraction."""
    return Plan("test", beams, (), 1, position, FRAME)


def beamlet_field(columns: int, rows: int, angles_deg: tuple[float, ...]) -> Beamlets:
    """Return a rectangle of 5 mm beamlets around the isocentre (0, 0, 0) for each gantry angle."""
    x = (np.arange(columns) - (columns - 1) / 2) * 5.0
    y = (np.arange(rows) - (rows - 1) / 2) * 5.0
    of_y, of_x = (axis.ravel() for axis in np.meshgrid(y, x, indexing="ij"))
    beam = np.repeat(np.arange(len(angles_deg), dtype=np.int32), of_x.size)
    setups = tuple(BeamSetup(f"B{n}", n + 1, (0.0, 0.0, 0.0), angle) for n, angle in enumerate(angles_deg))
    count = len(angles_deg)
    return Beamlets(beam, np.tile(of_x, count), np.tile(of_y, count), 5.0, 5.0, setups)


def delivering(beamlets: Beamlets, weights_mu: NDArray[np.float64], columns: int, rows: int) -> Plan:
    """Return the step-and-shoot plan that gives each beamlet its whole number of MU, column by column."""
    first = (GENERIC.leaf_pairs - rows) // 2
    beams = []
    for n, setup in enumerate(beamlets.setups):
        wanted = weights_mu[beamlets.beam == n].reshape(rows, columns)
        points, mu = [], 0.0
        for column in range(columns):
            for level in range(1, int(wanted[:, column].max()) + 1):
                half = np.where(wanted[:, column] >= level, 2.5, 0.0)
                leaves = np.full((2, GENERIC.leaf_pairs), beamlets.x_mm[column])
                leaves[0, first : first + rows] -= half
                leaves[1, first : first + rows] += half
                for at in (mu, mu + 1.0):
                    points.append(ControlPoint(at, setup.gantry_deg, 0.0, 0.0, WIDE, WIDE, leaves))
                mu += 1.0
        beams.append(
            Beam(
                setup.name, setup.number, GENERIC.id, 6.0, True, setup.isocentre_mm, GENERIC.leaf_boundaries_mm,
                tuple(points),
            )
        )  # fmt: skip
    return plan(*beams)

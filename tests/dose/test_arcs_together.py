"""Two arcs are computed together, direction by direction."""

from __future__ import annotations

import numpy as np
from dose_phantoms import GENERIC, cube, plan

from tailort.dose.collapsed_cone import compute, sectors
from tailort.patient.plan import Beam, ControlPoint

EDGES = tuple(np.arange(-200.0, 201.0, 10.0))


def arc(number: int, start_deg: float, step_deg: float, half_mm: float) -> Beam:
    """Return an arc of 40 degrees with an opening of this half width about the axis."""
    leaves = np.array([[-half_mm] * 40, [half_mm] * 40])
    points = tuple(
        ControlPoint(10.0 * n, start_deg + n * step_deg, 10.0, 0.0, (-50.0, 50.0), (-40.0, 40.0), leaves)
        for n in range(int(40 / abs(step_deg)) + 1)
    )
    return Beam(f"arc {number}", number, GENERIC.id, 6.0, True, (0.0, 0.0, 0.0), EDGES, points, dynamic=True)


def test_arcs_to_and_fro_share_their_directions_and_their_doses_add_up() -> None:
    box = cube(120.0, 5.0)
    there, back = arc(1, 40.0, 4.0, 15.0), arc(2, 80.0, -4.0, 30.0)
    both = plan(there, back)
    assert len(sectors(both)) == len(sectors(plan(there)))
    body = np.ones(box.grid.shape)
    one, other, found = (
        compute(p, box, GENERIC, box.grid, body=body).image.values for p in (plan(there), plan(back), both)
    )
    np.testing.assert_allclose(found, one + other, atol=0.001 * found.max())
    assert min(one.max(), other.max()) > 0.3 * found.max()

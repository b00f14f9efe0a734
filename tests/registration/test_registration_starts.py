"""Where a rigid registration begins: the likeliest shifts, apart from each other."""

from __future__ import annotations

import numpy as np
import thorax_formula as t

from tailort.registration.scan import look_at, on_scale
from tailort.registration.start import APART_MM, GRID_MM, best_shifts

SHIFT_MM = np.array([480.0, -310.0, 790.0])


def test_the_true_shift_comes_first_and_the_others_lie_apart() -> None:
    scans = (
        look_at(t.scan(t.TODAYS_GRID, lambda p: p, 1), "today's scan"),
        look_at(t.scan(t.EARLIER_GRID, lambda p: p - SHIFT_MM, 2), "the other scan"),
    )
    compared = on_scale(scans[0].image), on_scale(scans[1].image)
    for edges in (False, True):
        found = best_shifts(*scans, compared, edges, 4)
        assert np.abs(found[0] - SHIFT_MM).max() <= GRID_MM
        assert np.array_equal(best_shifts(*scans, compared, edges)[0], found[0])
        assert 1 <= len(found) <= 4
        for n, one in enumerate(found):
            for other in found[:n]:
                assert np.abs(one - other).max() > APART_MM

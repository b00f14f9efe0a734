"""The map of the dose that is left shows what is spent, what is left, and nothing where no limit is."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from matplotlib import image as pictures
from numpy.typing import NDArray

from tailort.geometry import Grid, Image
from tailort.patient import Structure
from tailort.web.budget_figures import budget_picture
from tailort.web.figures import Picture

FRAME = "1.2.3"
GRID = Grid.axial((12, 20, 22), (8.0, 8.0, 8.0), (-84.0, -76.0, -44.0), FRAME)


def scan() -> Image:
    _, y, x = np.meshgrid(*GRID.axes_mm(), indexing="ij")
    return Image(GRID, np.where(np.hypot(x, y) < 70.0, 0.0, -1000.0).astype(np.float32), "HU")


def left(lower_gy: float, upper_gy: float) -> Image:
    """An organ of two halves in the middle, nothing known around it."""
    _, y, x = np.meshgrid(*GRID.axes_mm(), indexing="ij")
    values = np.where(x < 0, lower_gy, upper_gy)
    values[np.hypot(x, y) > 30.0] = np.nan
    return Image(GRID, values.astype(np.float32), "Gy")


def target() -> Structure:
    corners = np.array([[-20.0, -20.0], [20.0, -20.0], [20.0, 20.0], [-20.0, 20.0]])
    return Structure("PTV", "PTV", tuple(np.column_stack([corners, np.full(4, z)]) for z in (-8.0, 0.0, 8.0)), FRAME)


def pixels(picture: Picture) -> NDArray[np.float32]:
    png = base64.b64decode(picture.source.split(",", 1)[1])
    shown = np.asarray(pictures.imread(io.BytesIO(png)))[..., :3]
    # Without the scale at the right.
    return shown[:, : int(0.88 * shown.shape[1])]


def share(picture: Picture, what: str) -> float:
    red, green, blue = np.moveaxis(pixels(picture), -1, 0)
    crimson = (red > 0.5) & (green < 0.4) & (blue < 0.6) & (blue > 0.2)
    coloured = np.ptp(pixels(picture), axis=-1) > 0.15
    return float({"crimson": crimson, "coloured": coloured}[what].mean())


def drawn(image: Image) -> Picture:
    return budget_picture(scan(), image, 2, np.zeros(3), (target(),), "limits of a test")


@pytest.mark.parametrize("spent_gy", [0.0, -3.0])
def test_what_is_spent_is_crimson_and_said_so(spent_gy: float) -> None:
    spent, some = drawn(left(spent_gy, 20.0)), drawn(left(8.0, 20.0))
    assert share(spent, "crimson") > 0.005
    assert share(some, "crimson") == 0.0
    assert ("crimson: nothing is left" in spent.caption, "crimson" in some.caption) == (True, False)


def test_where_no_limit_is_nothing_is_coloured() -> None:
    assert share(drawn(left(np.nan, np.nan)), "coloured") == 0.0
    both, one = (share(drawn(left(lower, 20.0)), "coloured") for lower in (20.0, np.nan))
    assert 0.0 < one < 0.7 * both


def test_fractions_targets_and_whose_limits_they_are_stand_below() -> None:
    caption = drawn(left(8.0, 20.0)).caption
    assert "in 2 fractions, Gy of the new course, by limits of a test" in caption
    assert "White: PTV." in caption

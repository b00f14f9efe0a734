"""Pictures of a registration show what they say."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import image as pictures
from numpy.typing import NDArray

from tailort.geometry import Grid, Image, Transform
from tailort.patient import Course, Scan
from tailort.registration import Field, Measure, Quality, Registration
from tailort.web.figures import Picture
from tailort.web.registration_figures import registration_blocks, registration_pictures

FRAME, OTHER = "1.2.3", "1.2.4"
GRID = Grid.axial((24, 40, 44), (5.0, 4.0, 4.0), (-86.0, -78.0, -57.5), FRAME)


def phantom(frame: str = FRAME, unit: str = "HU", shift_mm: float = 0.0) -> Image:
    """A cylinder of water with a denser rod in air."""
    z, y, x = np.meshgrid(*GRID.axes_mm(), indexing="ij")
    values = np.where(np.hypot(x, y) < 70.0, 0.0, -1000.0)
    values[np.hypot(x - 20.0 - shift_mm, y) < 14.0] = 600.0
    return Image(Grid(GRID.shape, GRID.affine, frame), (values + 0.1 * z).astype(np.float32), unit)


def registered(bend_mm: float | None = None) -> Registration:
    rigid = Registration(Transform(FRAME, OTHER, np.eye(4)), method="test")
    if bend_mm is None:
        return rigid
    _, y, x = np.meshgrid(*GRID.axes_mm(), indexing="ij")
    vectors = np.zeros((*GRID.shape, 3), dtype=np.float32)
    vectors[..., 0] = bend_mm * np.exp(-(((x - 20.0) / 45.0) ** 2) - (y / 45.0) ** 2)
    return replace(rigid, displacement=Field(GRID, vectors))


def pixels(picture: Picture) -> NDArray[np.float32]:
    png = base64.b64decode(picture.source.split(",", 1)[1])
    return np.asarray(pictures.imread(io.BytesIO(png)))[..., :3]


def share_coloured(picture: Picture) -> float:
    """Part of the planes, without the scale at the right, that has a colour and is neither grey, white nor black."""
    shown = pixels(picture)
    shown = shown[:, : int(0.88 * shown.shape[1])]
    return float((np.ptp(shown, axis=-1) > 0.2).mean())


def test_what_a_registration_has_is_drawn() -> None:
    def alts(today: Image, earlier: Image, found: Registration) -> list[str]:
        return [picture.alt for picture in registration_pictures(today, earlier, found)]

    checkers, difference = "checkerboard of both scans", "difference of both scans"
    assert alts(phantom(), phantom(OTHER), registered()) == [checkers, difference]
    # MR has no CT numbers that could be subtracted.
    assert alts(phantom(), phantom(OTHER, "1"), registered()) == [checkers]
    known = registered(6.0).judged(Quality(()), Image(GRID, np.full(GRID.shape, 1.5, dtype=np.float32), "mm"))
    assert alts(phantom(), phantom(OTHER), known) == [
        checkers, difference, "deformation as bent lines", "Jacobian determinant in three planes",
        "uncertainty in three planes",
    ]  # fmt: skip


def test_the_difference_is_white_where_scans_agree_and_coloured_where_they_do_not() -> None:
    same, moved = (
        registration_pictures(phantom(), phantom(OTHER, shift_mm=by), registered(), np.zeros(3))[1]
        for by in (0.0, 12.0)
    )
    assert share_coloured(same) == 0.0
    assert share_coloured(moved) > 0.01


def test_the_deformable_row_shows_what_bending_mends() -> None:
    moved = np.array(GRID.affine)
    moved[0, 3] += 8.0
    earlier = Image(Grid(GRID.shape, moved, OTHER), phantom().values, "HU")
    shift = replace(registered(), displacement=Field(GRID, np.full((*GRID.shape, 3), (8.0, 0.0, 0.0), np.float32)))
    _, difference, *_ = registration_pictures(phantom(), earlier, shift, np.zeros(3))
    shown = pixels(difference)[:, : int(0.88 * pixels(difference).shape[1])]
    half = len(shown) // 2
    before, after = ((np.ptp(part, axis=-1) > 0.2).mean() for part in (shown[:half], shown[half:]))
    assert before > 0.01
    assert after == 0.0


@pytest.mark.parametrize(("bend_mm", "folds"), [(10.0, False), (90.0, True)])
def test_folds_are_named_and_drawn_in_a_colour_of_their_own(bend_mm: float, folds: bool) -> None:
    picture = registration_pictures(phantom(), phantom(OTHER), registered(bend_mm), np.array([20.0, 0.0, 0.0]))[3]
    assert ("magenta folds" in picture.caption) is folds
    least = float(registered(bend_mm).jacobian().values.min())
    assert (least <= 0) is folds
    assert f"Least value anywhere {least:.2f}" in picture.caption
    shown = pixels(picture)
    magenta = (shown[..., 0] > 0.6) & (shown[..., 2] > 0.6) & (shown[..., 1] < 0.4)
    assert bool(magenta.any()) is folds


def test_planes_go_through_the_point_that_is_asked_for() -> None:
    picture = registration_pictures(phantom(), phantom(OTHER), registered(), np.array([20.0, -4.0, 10.0]))[0]
    assert "Transverse z 10.0 mm, coronal y -4.0 mm, sagittal x 20.0 mm" in picture.caption


def test_a_failing_check_stands_over_the_pictures_of_its_course_only() -> None:
    failing = registered().judged(Quality((Measure("folds", -1.0, ">", 0.0),)))
    scan = Scan(phantom(OTHER), "CT", "1", "2", (), "HFS")
    courses = [Course("a", scan, None, ()), Course("b", scan, None, ()), Course("c", None, None, ())]
    blocks = registration_blocks(phantom(), courses, {"a": failing, "b": registered(), "c": registered()})
    assert [block["title"] for block in blocks] == ["a", "b"]
    assert ["FAILS" in block["note"] for block in blocks] == [True, False]
    assert "was not judged" in blocks[1]["note"]

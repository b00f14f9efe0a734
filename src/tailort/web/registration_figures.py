"""Pictures of a registration: both scans in one, what differs, where tissue goes, how it swells, how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from numpy.typing import NDArray

from tailort.geometry import Image, interpolate
from tailort.patient import Course
from tailort.registration import Registration
from tailort.registration.scan import tone
from tailort.web.figures import Picture
from tailort.web.plane_pictures import (
    PLANES,
    Cut,
    Painter,
    background,
    body_mm,
    cut_through,
    drawn_planes,
    read,
    window_of,
    within,
)

Float = NDArray[np.float64]

# Side of a square of the checkerboard, and the distance of the lines that are bent, mm.
SQUARE_MM = 30.0
LINES_MM = 15.0
# What is shown of a CT from black to white on the scale of `tone`.
_TONES = (0.0, 720.0)
# Differences beyond are shown as the end of the scale, HU.
_DIFFERENCE_HU = 300.0
# Determinants beyond are shown as the end of the scale.
_DETERMINANTS = (0.5, 2.0)
# Warm light: squares of the earlier scan are told from today's by their tint, too.
_TINT = np.array([1.0, 0.84, 0.58])
_FOLDED = "#ff00ff"
_VERDICTS = {"pass": "passes", "fail": "FAILS", "report": "has no limit that it could fail"}


@dataclass(frozen=True, eq=False)
class _View:
    """What the pictures of one registration share: planes, their bounds, the grey window of today's scan, words."""

    cuts: list[Cut]
    box: tuple[Float, Float]
    window: tuple[float, float]
    label: str
    where: str


def registration_pictures(
    today: Image,
    earlier: Image,
    registration: Registration,
    centre_mm: Float | None = None,
    *,
    label: str = "the earlier scan",
) -> tuple[Picture, ...]:
    """Draw a registration in three planes through a point.

    Parameters
    ----------
    today, earlier : Image
        The scans, each in its own frame of reference. Differences are drawn of two CTs only.
    registration : Registration
        From today's frame to the earlier one.
    centre_mm : (3,) float, optional
        Point of the planes in today's frame, LPS mm; the middle of the body unless given.
    label : str
        What the earlier scan is called.

    Returns
    -------
    tuple of Picture
        Checkerboard; difference; and, as far as the registration has them, deformation, Jacobian determinant and
        uncertainty.
    """
    low, high = body_mm(today)
    centre = (low + high) / 2.0 if centre_mm is None else np.asarray(centre_mm, dtype=np.float64)
    cuts = [cut_through(today, plane, centre) for plane in PLANES]
    where = f"Transverse z {centre[2]:.1f} mm, coronal y {centre[1]:.1f} mm, sagittal x {centre[0]:.1f} mm, LPS."
    view = _View(cuts, (low, high), window_of(today), label, where)
    pictures = [_checkerboard(view, today, earlier, registration)]
    if today.unit == earlier.unit == "HU":
        pictures.append(_difference(view, earlier, registration))
    if registration.displacement is not None:
        pictures.append(_deformation(view, registration))
        pictures.append(_determinant(view, registration))
    if registration.uncertainty is not None:
        pictures.append(_uncertainty(view, registration.uncertainty))
    return tuple(pictures)


def registration_blocks(
    today: Image, courses: Sequence[Course], registrations: Mapping[str, Registration], centre_mm: Float | None = None
) -> list[dict[str, Any]]:
    """Return a block of a report for every course that was registered.

    Parameters
    ----------
    today : Image
        Today's CT.
    courses : sequence of Course
        Of which those with a scan and a registration are drawn.
    registrations : mapping of str to Registration
        By the course's label.
    centre_mm : (3,) float, optional
        As in `registration_pictures`.
    """
    blocks = []
    for course in courses:
        found = registrations.get(course.label)
        if found is None or course.scan is None:
            continue
        verdict = "was not judged" if found.quality is None else _VERDICTS[found.quality.verdict]
        blocks.append(
            {
                "title": course.label,
                "note": f"{found.method[:1].upper()}{found.method[1:]}. Its own check {verdict}. A picture that looks "
                "right is no proof that a dose is: look where the doses are high.",
                "pictures": registration_pictures(
                    today, course.scan.image, found, centre_mm, label=f"'{course.label}'"
                ),
            }
        )
    return blocks


def _checkerboard(view: _View, today: Image, earlier: Image, registration: Registration) -> Picture:
    mine, theirs = _shades(today), _shades(earlier)

    def paint(mapped: Callable[[Float], Float]) -> Painter:
        def on(ax: Any, cut: Cut) -> None:
            here = mine(cut.today)[..., None] * np.ones(3)
            there = theirs(read(earlier, mapped(cut.points_mm)))[..., None] * _TINT
            squares = np.floor(cut.across_mm / SQUARE_MM)[None, :] + np.floor(cut.down_mm / SQUARE_MM)[:, None]
            ax.imshow(
                np.where((squares % 2 == 0)[..., None], here, there), extent=cut.extent, origin=cut.origin,
                aspect="equal", interpolation="nearest",
            )  # fmt: skip

        return on

    rows = _before_and_after(registration, paint)
    patches = [
        mpl.patches.Patch(facecolor=colour, edgecolor="#555555", label=name)
        for colour, name in (("#bbbbbb", "today"), (tuple(0.75 * _TINT), view.label))
    ]
    caption = (
        f"Checkerboard of today's scan (grey) and {view.label} (warm), squares of {SQUARE_MM / 10:g} cm. {view.where}"
    )
    return drawn_planes(rows, view.cuts, view.box, None, caption, "checkerboard of both scans", patches)


def _difference(view: _View, earlier: Image, registration: Registration) -> Picture:
    def paint(mapped: Callable[[Float], Float]) -> Painter:
        def on(ax: Any, cut: Cut) -> Any:
            return ax.imshow(
                cut.today - read(earlier, mapped(cut.points_mm)), cmap="PuOr", vmin=-_DIFFERENCE_HU,
                vmax=_DIFFERENCE_HU, extent=cut.extent, origin=cut.origin, aspect="equal", interpolation="nearest",
            )  # fmt: skip

        return on

    caption = (
        f"Today's CT numbers less those of {view.label}; white agrees, what {view.label} does not reach is black. "
        f"Differences beyond {_DIFFERENCE_HU:g} HU have the colour of the end of the scale. {view.where}"
    )
    rows = _before_and_after(registration, paint)
    return drawn_planes(
        rows, view.cuts, view.box, f"today less {view.label}, HU", caption, "difference of both scans", extend="both"
    )


def _before_and_after(
    registration: Registration, paint: Callable[[Callable[[Float], Float]], Painter]
) -> list[tuple[str, Painter]]:
    rows = [("rigid", paint(registration.rigid.apply))]
    if registration.displacement is not None:
        rows.append(("deformable", paint(registration.map_points)))
    return rows


def _deformation(view: _View, registration: Registration) -> Picture:
    displacement = registration.displacement
    assert displacement is not None
    low, high = view.box
    longest = max(float(np.percentile(_lengths(displacement.move(c.points_mm) - c.points_mm), 99.5)) for c in view.cuts)
    top = max(1.0, np.ceil(longest))

    def on(ax: Any, cut: Cut) -> Any:
        background(ax, cut, view.window)
        across, down = cut.axes
        level = np.delete(np.arange(3), [across, down])[0]
        fine = [np.arange(low[axis], high[axis] + 3.0, 3.0) for axis in (across, down)]
        coarse = [np.arange(low[axis], high[axis] + LINES_MM, LINES_MM) for axis in (across, down)]
        pieces, lengths = [], []
        for along, fixed, swap in ((fine[0], coarse[1], False), (fine[1], coarse[0], True)):
            points = np.full((len(fixed), len(along), 3), float(cut.points_mm[0, 0, level]))
            points[..., down if swap else across] = along[None, :]
            points[..., across if swap else down] = fixed[:, None]
            moved = displacement.move(points)
            far = _lengths(moved - points)
            flat = moved[..., [across, down]]
            pieces.append(np.stack([flat[:, :-1], flat[:, 1:]], axis=2).reshape(-1, 2, 2))
            lengths.append(((far[:, :-1] + far[:, 1:]) / 2).ravel())
        lines = LineCollection(
            list(np.concatenate(pieces)), cmap="viridis", norm=mpl.colors.Normalize(0.0, top), linewidths=1.3
        )
        lines.set_array(np.concatenate(lengths))
        return ax.add_collection(lines)

    caption = (
        f"Where lines of today's scan, {LINES_MM / 10:g} cm apart, lie in {view.label} once the rigid part is taken "
        f"out; colour: length of the displacement in space. {view.where}"
    )
    bar = "displacement, mm"
    return drawn_planes(
        [("deformation", on)], view.cuts, view.box, bar, caption, "deformation as bent lines", extend="max"
    )


def _determinant(view: _View, registration: Registration) -> Picture:
    determinant = registration.jacobian()
    least = float(determinant.values.min())
    folded = mpl.colormaps["RdBu"].with_extremes(bad=_FOLDED)

    def on(ax: Any, cut: Cut) -> Any:
        background(ax, cut, view.window)
        values = interpolate(determinant, cut.points_mm, outside=1.0)
        return ax.imshow(
            np.ma.masked_less_equal(values, 0.0), cmap=folded, norm=mpl.colors.LogNorm(*_DETERMINANTS), alpha=0.7,
            extent=cut.extent, origin=cut.origin, aspect="equal", interpolation="nearest",
        )  # fmt: skip

    folds = "" if least > 0 else ", magenta folds"
    caption = (
        f"Jacobian determinant: volume in {view.label} over volume today; below 1 (red) tissue has grown since, above "
        f"1 (blue) it has shrunk{folds}. Least value anywhere {least:.2f}. {view.where}"
    )
    bar = f"volume, {view.label} over today"
    return drawn_planes(
        [("Jacobian", on)], view.cuts, view.box, bar, caption, "Jacobian determinant in three planes", extend="both",
        ticks=(0.5, 0.7, 1.0, 1.4, 2.0),
    )  # fmt: skip


def _uncertainty(view: _View, uncertainty: Image) -> Picture:
    shown = [interpolate(uncertainty, cut.points_mm, outside=np.nan) for cut in view.cuts]
    inside = np.concatenate([v[within(c, view.box) & np.isfinite(v)] for v, c in zip(shown, view.cuts, strict=True)])
    top = max(1.0, float(np.ceil(np.percentile(inside, 99)))) if len(inside) else 1.0

    def on(ax: Any, cut: Cut) -> Any:
        background(ax, cut, view.window)
        values = shown[[c.plane for c in view.cuts].index(cut.plane)]
        return ax.imshow(
            np.ma.masked_invalid(values), cmap="cividis", vmin=0.0, vmax=top, alpha=0.6, extent=cut.extent,
            origin=cut.origin, aspect="equal", interpolation="nearest",
        )  # fmt: skip

    caption = (
        f"Estimated uncertainty of where a point of today lies in {view.label}, one standard deviation, mm. It is an "
        f"estimate from the images, not a measurement. {view.where}"
    )
    bar = "uncertainty, mm (1 SD)"
    return drawn_planes(
        [("uncertainty", on)], view.cuts, view.box, bar, caption, "uncertainty in three planes", extend="max"
    )


def _shades(image: Image) -> Callable[[Float], Float]:
    """From values to 0 (black) and 1 (white); of a CT as registration compares them, so that lungs are seen too."""
    low, high = _TONES if image.unit == "HU" else window_of(image)

    def shade(values: Float) -> Float:
        shown = tone(values.astype(np.float32)) if image.unit == "HU" else values
        return np.asarray(np.nan_to_num(np.clip((shown - low) / (high - low), 0.0, 1.0)), dtype=np.float64)

    return shade


def _lengths(vectors_mm: Float) -> Float:
    lengths: Float = np.linalg.norm(vectors_mm, axis=-1)
    return lengths

"""Where every point of the planning CT lies in a week of treatment: the tumour shrinks, the body lies otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import InputError
from tailort.geometry import Grid, Image, interpolate
from tailort.phantom import truth
from tailort.phantom.anatomy import Anatomy
from tailort.phantom.bending import Bending, Motions, table_position
from tailort.phantom.shrinking import Rays, Shrinking, rays_of

Float = NDArray[np.float64]
Change = Literal["large", "small", "contour"]
WEEKS = (1, 2, 3, 4, 5)

# Every number of this block is invented: none was fitted to patients.
TUMOUR_LEFT: dict[Change, tuple[float, float]] = {"large": (0.45, 0.55), "small": (0.86, 0.94), "contour": (0.86, 0.94)}
"""Share of the tumour's volume that is left in week 5."""
WEIGHT_LOST: dict[Change, tuple[float, float]] = {"large": (0.11, 0.14), "small": (0.01, 0.04), "contour": (0.05, 0.08)}
"""Share of the body's weight that is lost until week 5, evenly."""
SHRINKS_IN_WEEKS = 2.2
"""The tumour's loss slows down with this time constant."""
NODE_SHARE = 0.6
"""Share of the tumour's loss that the involved node has."""
FAT_SHARE_OF_WEIGHT = 0.6
"""Of the weight that is lost, what was fat under the skin; the rest is muscle and water and is not shown."""
MOST_FAT_LOST = 0.45
CONTOUR_FAT_MM, CONTOUR_FAT_LOST = 28.0, (0.40, 0.46)
"""Of `contour`: thickness of the fat under the skin at planning, and the share of it that is gone in front and aside in
week 5, beyond what goes with the weight; on the back, on which the patient lies, none is."""
STOMACH_MM: dict[Change, tuple[float, float]] = {"large": (6.0, 12.0), "small": (2.0, 6.0), "contour": (2.0, 6.0)}
SET_UP_MM, SET_UP_DEGREES = 5.0, (0.2, 0.8)
_FAT_G_PER_CM3 = 0.95
_TUMOUR_REACH_MM, _NODE_REACH_MM = 30.0, 12.0
_POINTS_MM = 2.0


@dataclass(frozen=True)
class Course:
    """How a patient changes, drawn from the seed.

    Parameters
    ----------
    change : {"large", "small"}
        What was asked for.
    tumour_left, weight_lost : float
        Shares in week 5: of the primary's volume that is left, of the weight that is lost.
    front_fat_lost : float
        Share of the thickness of the fat under the skin that is gone in front and aside in week 5, beyond what goes
        with the weight.
    """

    change: Change
    tumour_left: float
    weight_lost: float
    front_fat_lost: float = 0.0

    def tumour_share(self, week: int) -> float:
        """Share of the primary's volume that is left in a week."""
        return 1.0 - (1.0 - self.tumour_left) * _slowing(week)

    def weight_share(self, week: int) -> float:
        """Weight of a week over that at planning."""
        return 1.0 - self.weight_lost * week / WEEKS[-1]

    def front_fat_share(self, week: int) -> float:
        """Share of the fat in front and aside that is lost by a week beyond what goes with the weight."""
        return self.front_fat_lost * _slowing(week)


@dataclass(frozen=True, eq=False)
class WeeklyMap:
    """A map of points of the planning CT to a week's CT and back, both in world LPS mm of their own frame.

    Parameters
    ----------
    week : int
        Of treatment.
    node, tumour : Shrinking
        What shrinks first, in body coordinates.
    bending : Bending
        How the body then lies: spine, lungs, stomach, fat, shoulders, table.
    """

    week: int
    node: Shrinking
    tumour: Shrinking
    bending: Bending

    @property
    def _offset(self) -> Float:
        return np.array(self.bending.body.build.offset_mm)

    def shrunk(self, points_mm: ArrayLike) -> Float:
        """Where points (..., 3) of the planning CT would lie if nothing but the tumour had changed."""
        found: Float = self.tumour.after(self.node.after(np.asarray(points_mm, dtype=np.float64) - self._offset))
        return found + self._offset

    def bent(self, points_mm: ArrayLike) -> Float:
        """Where points (..., 3) of the planning CT lie in the week, as if on the table of planning."""
        return self.bending.bent(self.shrunk(points_mm))

    def to_week(self, points_mm: ArrayLike) -> Float:
        """Where points (..., 3) of the planning CT lie in the week's CT."""
        return self.bending.to_earlier(self.shrunk(points_mm))

    def to_planning(self, points_mm: ArrayLike) -> Float:
        """Where points (..., 3) of the week's CT lay in the planning CT."""
        points = self.bending.to_today(points_mm) - self._offset
        return self.node.before(self.tumour.before(points)) + self._offset

    def determinant(self, points_mm: ArrayLike, step_mm: float = 0.01) -> Float:
        """Volume in the week over volume at planning at points (..., 3), by central differences."""
        points = np.asarray(points_mm, dtype=np.float64)
        columns = [
            (self.to_week(points + step) - self.to_week(points - step)) / (2 * step_mm) for step in step_mm * np.eye(3)
        ]
        found: Float = np.linalg.det(np.stack(columns, axis=-1))
        return found

    def describe(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "bending": self.bending.describe(),
            "least_factor_of_tumour": round(float(self.tumour.factor.min()), 6),
            "least_factor_of_node": round(float(self.node.factor.min()), 6),
        }


def draw_course(seed: int, change: Change) -> Course:
    """Draw how much a patient changes; the same arguments give the same course."""
    if change not in TUMOUR_LEFT:
        raise InputError(f"the change of a virtual patient is '{change}'; known are {', '.join(TUMOUR_LEFT)}")
    shares = np.random.default_rng([seed, 86028121, *change.encode()]).random(3)
    between = (TUMOUR_LEFT[change], WEIGHT_LOST[change], CONTOUR_FAT_LOST)
    tumour, weight, fat = (
        float(low + share * (high - low)) for (low, high), share in zip(between, shares, strict=True)
    )
    return Course(change, tumour, weight, fat if change == "contour" else 0.0)


def rays_of_growths(body: Anatomy) -> tuple[Rays, Rays]:
    """Rays of the primary tumour and of the node; bones, aorta and airways stand firm, and each for the other."""
    firm = (
        body.spine.column, *body.spine.bones.values(), *body.chest_wall.ribs, body.arteries.aorta, body.airways.wall,
    )  # fmt: skip
    tumour = rays_of(body.oesophagus.tumour, (*firm, body.node.solid), _TUMOUR_REACH_MM)
    return tumour, rays_of(body.node.solid, (*firm, body.oesophagus.organ), _NODE_REACH_MM)


def weekly_map(
    body: Anatomy, rays: tuple[Rays, Rays], course: Course, week: int, fat_share: float, frames: tuple[str, str]
) -> WeeklyMap:
    """Draw how a body lies in a week; the same arguments give the same map.

    Parameters
    ----------
    body : Anatomy
        At planning.
    rays : (2,) Rays
        See `rays_of_growths`.
    course, week : Course, int
        How the patient changes, and how far that has gone.
    fat_share : float
        Of the thickness of the fat under the skin that is lost.
    frames : (2,) str
        Frames of reference of the planning CT and of the week's CT.
    """
    share = course.tumour_share(week)
    node = Shrinking.to_share(rays[1], 1.0 - NODE_SHARE * (1.0 - share))
    rng = np.random.default_rng([body.build.seed, week, 49979687, *course.change.encode()])
    turn = rng.normal(size=3)
    turn *= rng.uniform(*SET_UP_DEGREES) / np.linalg.norm(turn)
    way = rng.normal(size=3)
    stomach = way / np.linalg.norm(way) * rng.uniform(*STOMACH_MM[course.change])
    motions = Motions(
        spine_turn_degrees=float(rng.uniform(0.2, 0.6)),
        spine_wave_mm=float(rng.uniform(230, 290)),
        spine_phase_degrees=float(rng.uniform(0, 360)),
        twist_degrees=float(rng.uniform(-0.4, 0.4)),
        spine_shift_mm=_vector(rng.uniform(-0.5, 0.5, 3)),
        slide_mm=float(rng.uniform(-3.0, 3.0)),
        fat_share=-fat_share,
        front_fat_share=-course.front_fat_share(week),
        shoulder_left_mm=_vector(rng.uniform(-2.0, 2.0, 3)),
        shoulder_right_mm=_vector(rng.uniform(-2.0, 2.0, 3)),
        stomach_mm=_vector(stomach),
        mediastinum_mm=float(rng.uniform(0.5, 1.2)),
        mediastinum_phase_degrees=float(rng.uniform(0, 360)),
        table_turn_degrees=_vector(turn),
        table_shift_mm=_vector(rng.uniform(-SET_UP_MM, SET_UP_MM, 3)),
    )
    bending = Bending(body, body.build.seed, motions, table_position(body, motions, *frames))
    # What the bending does to the tumour's volume is taken off what it shrinks by.
    inside = truth.points_in(body.oesophagus.tumour, _POINTS_MM) + np.array(body.build.offset_mm)
    tumour = Shrinking.to_share(rays[0], min(share / float(bending.determinant(inside).mean()), 1.0))
    return WeeklyMap(week, node, tumour, bending)


def fat_lost(body: Anatomy, weight_kg: float, lost_kg: float) -> float:
    """Share of the fat under the skin that goes with a loss of weight.

    The fat at planning is the body's surface by DuBois times the patient's mean thickness of fat.
    """
    height_cm = 100.0 * body.build.stature_m
    surface_m2 = 0.007184 * float(weight_kg**0.425 * height_cm**0.725)
    fat_kg = surface_m2 * body.build.fat_mm * _FAT_G_PER_CM3
    return min(FAT_SHARE_OF_WEIGHT * lost_kg / fat_kg, MOST_FAT_LOST)


def true_accumulated_dose(given: Sequence[tuple[WeeklyMap | None, Image]], grid: Grid) -> Image:
    """Sum of the doses that the tissue of each voxel of the planning CT was given, wherever it lay.

    Parameters
    ----------
    given : sequence of (WeeklyMap or None, Image)
        The anatomy on which some fractions were given, None being that of planning, and the physical dose of all of
        these fractions together, Gy, in that anatomy's frame of reference.
    grid : Grid
        Of the planning CT's frame of reference.

    Returns
    -------
    Image
        Gy of all that was given; trilinear between voxels of the doses, and NaN where one of them was not computed.

    Raises
    ------
    InputError
        Without any dose, or with one in another unit than Gy.
    """
    if not given:
        raise InputError("the accumulated dose of no fractions is not known: give the dose of at least one anatomy")
    grid.require_axial("accumulating a true dose")
    for week, dose in given:
        if dose.unit != "Gy":
            raise InputError(f"a dose in {dose.unit} cannot be accumulated; expected Gy")
        frame = grid.frame_of_reference if week is None else week.bending.frame.to_frame
        dose.grid.require_same_frame(frame, "the anatomy on which it was given")
    # Once for all planes: `interpolate` works on these.
    doses = [(week, dose.with_values(dose.values.astype(np.float32))) for week, dose in given]
    total = np.zeros(grid.shape)
    z, y, x = grid.axes_mm()
    columns, rows = np.meshgrid(x, y)
    for k, height in enumerate(z.tolist()):
        points = np.stack([columns, rows, np.full(columns.shape, height)], axis=-1)
        for week, dose in doses:
            total[k] += interpolate(dose, points if week is None else week.to_week(points), outside=np.nan)
    return Image(grid, total, "Gy")


def _slowing(week: int) -> float:
    """Share of what has changed by week 5 that a week shows."""
    return float((1.0 - np.exp(-week / SHRINKS_IN_WEEKS)) / (1.0 - np.exp(-WEEKS[-1] / SHRINKS_IN_WEEKS)))


def _vector(values: Float) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z

"""How an earlier scan of a virtual body lies against today's: a map that is known at every point.

It is not made of smoothed displacements, as registrations are: vertebrae turn and shift as rigid bodies and only the
discs between them give way, the content of chest and abdomen slides along their walls with a jump, fat that was lost
since is there again, shoulders and stomach lie elsewhere, and the patient lies turned on another table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from tailort.errors import GeometryError
from tailort.geometry import Transform
from tailort.phantom import bending_map as m
from tailort.phantom.anatomy import Body
from tailort.phantom.shapes import Profile, Tube

Float = NDArray[np.float64]
Vector = tuple[float, float, float]

LEAST_DETERMINANT = 0.2
"""Of the map's derivative away from the walls that slide."""
ROUND_TRIP_MM = 0.05
_TABLE_MM = (-420.0, 330.0)
_ASIDE_MM = 23.5
_SPARE_MM = 0.05
_BACK_SLOPE = 0.5
# What moves as one with the vertebra above it: C1 has no disc, and behind these the processes touch.
_STIFF = ("VB_C2", "VB_T02", "VB_T03", "VB_T04", "VB_L1", "VB_L2")
# Of the column's winding, front to back over side to side: the processes all but touch.
_FLEXION = 0.45
# Share of a disc that goes with the vertebra on either side.
_RIM = 0.22
_SLIDE_ENDS = (45.0, -100.0, -130.0, -250.0)
_PUSH_ENDS = (160.0, 100.0, -150.0, -230.0)
_STOMACH = (62.0, 4.0, -164.0)
_STOMACH_REACH_MM = 54.0


@dataclass(frozen=True)
class Motions:
    """What was drawn from the seed; lengths mm, angles degrees.

    Parameters
    ----------
    spine_turn_degrees, spine_wave_mm, spine_phase_degrees : float
        Vertebrae are turned by this much, more to the side than to the front, in a direction that goes round once in
        `spine_wave_mm` of joints that bend; the phase says where it begins.
    twist_degrees : float
        Most of their turn about the body's axis.
    spine_shift_mm : (3,) float
        Mean shift of the vertebrae; each is shifted otherwise as far as its neighbours' turns ask for it.
    slide_mm : float
        Of the lungs along the chest wall at the diaphragm, positive to the head.
    fat_share : float
        Of the thickness of subcutaneous fat today that was there more than today; below 0, less.
    front_fat_share : float
        The same in front and aside only, beyond that.
    shoulder_left_mm, shoulder_right_mm, stomach_mm : (3,) float
        Shift of each.
    mediastinum_mm, mediastinum_phase_degrees : float
        Shift of the oesophagus and what is around it, in a direction that turns along the body.
    table_turn_degrees, table_shift_mm : (3,) float
        Of the whole patient, about the middle of the scan: rotation vector and shift.
    """

    spine_turn_degrees: float
    spine_wave_mm: float
    spine_phase_degrees: float
    twist_degrees: float
    spine_shift_mm: Vector
    slide_mm: float
    fat_share: float
    shoulder_left_mm: Vector
    shoulder_right_mm: Vector
    stomach_mm: Vector
    mediastinum_mm: float
    mediastinum_phase_degrees: float
    table_turn_degrees: Vector
    table_shift_mm: Vector
    front_fat_share: float = 0.0


@dataclass(frozen=True, eq=False)
class Bending:
    """A map of points of today's scan to an earlier one and back, both in world LPS mm of their own frame.

    Parameters
    ----------
    body : Body
        Today's anatomy, whose walls and vertebrae the map follows.
    seed : int
        What the motions were drawn from.
    motions : Motions
        The motions.
    frame : Transform
        From today's frame of reference to the earlier one: the other table position.
    """

    body: Body
    seed: int
    motions: Motions
    frame: Transform

    def to_earlier(self, points_mm: ArrayLike) -> Float:
        """Where points (..., 3) of today lay then."""
        return self.frame.apply(self.bent(points_mm))

    def bent(self, points_mm: ArrayLike) -> Float:
        """Where points (..., 3) of today lay then, as if the patient had lain on today's table."""
        return self._mapped(m.forward, points_mm)

    def to_today(self, points_mm: ArrayLike) -> Float:
        """Where points (..., 3) of the earlier scan lie today."""
        return self._mapped(m.backward, self.frame.inverse().apply(points_mm))

    def derivative(self, points_mm: ArrayLike, step_mm: float = 0.01) -> Float:
        """Derivative (..., 3, 3) of `to_earlier` by central differences: no sense on a wall that slides."""
        points = np.asarray(points_mm, dtype=np.float64)
        columns = [
            (self.to_earlier(points + step) - self.to_earlier(points - step)) / (2 * step_mm)
            for step in step_mm * np.eye(3)
        ]
        return np.stack(columns, axis=-1)

    def determinant(self, points_mm: ArrayLike, step_mm: float = 0.01) -> Float:
        """Volume then over volume today at points (..., 3)."""
        found: Float = np.linalg.det(self.derivative(points_mm, step_mm))
        return found

    def describe(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "seed": self.seed,
            "from_frame_of_reference": self.frame.from_frame,
            "to_frame_of_reference": self.frame.to_frame,
            "motions": _rounded(asdict(self.motions)),
            "table": [[float(v) for v in row] for row in self.frame.affine],
        }

    def _mapped(self, through: Callable[[Float, Float, Float, Float], Float], points_mm: ArrayLike) -> Float:
        points = np.asarray(points_mm, dtype=np.float64)
        shift = np.array(self.body.build.offset_mm)
        flat = np.ascontiguousarray(points.reshape(-1, 3) - shift)
        if not np.isfinite(flat).all():
            raise GeometryError("points of a virtual patient must be finite to be mapped to another scan")
        found: Float = through(flat, self._table, self._numbers, self._bones)
        there: Float = (found + shift).reshape(points.shape)
        return there

    @cached_property
    def _table(self) -> Float:
        """Everything that changes along the body only."""
        body, motions = self.body, self.motions
        surface, spine = body.surface, body.spine
        z = np.arange(_TABLE_MM[0], _TABLE_MM[1], m.STEP_MM)
        table = np.zeros((len(z), m.COLUMNS))

        def fill(column: int, of_z: Callable[[float], float]) -> None:
            table[:, column] = [of_z(float(height)) for height in z]

        cavity, muscle = surface.cavity, surface.muscle_outline
        for first, outline in ((m.CAVITY_WIDTH, cavity), (m.MUSCLE_WIDTH, muscle)):
            fill(first, outline.half_width)
            fill(first + 1, outline.y)
            fill(first + 2, outline.back)
        fill(m.FAT, surface.fat)
        fill(m.SPINE_X, spine.x)
        fill(m.SPINE_Y, spine.y)
        fill(m.FRONT_Y, lambda at: spine.front_y(at) - 0.5)
        table[:, m.BACK_Y] = self._behind(z)
        table[:, m.NEAR_WIDTH] = [0.75 * spine.half_width(float(height)) + _ASIDE_MM * spine.r for height in z]
        line = body.course.line[::-1]
        table[:, m.FOOD_X], table[:, m.FOOD_Y] = (np.interp(z, line[:, 2], line[:, axis]) for axis in (0, 1))
        table[:, m.SLIDE] = motions.slide_mm * _between(z / spine.sz, _SLIDE_ENDS)
        turned = np.radians(motions.mediastinum_phase_degrees) + 2 * np.pi * z / 420.0
        push = motions.mediastinum_mm * _between(z / spine.sz, _PUSH_ENDS)
        table[:, m.PUSH_X], table[:, m.PUSH_Y] = push * np.cos(turned), push * np.sin(turned)
        table[:, m.PUSH_Z] = 0.4 * push * np.cos(2 * turned)
        centres, turns, shifts = (values[::-1] for values in self._chain)
        for axis in range(3):
            table[:, m.TURN_X + axis] = np.interp(z, centres[:, 2], turns[:, axis])
            table[:, m.SHIFT_X + axis] = np.interp(z, centres[:, 2], shifts[:, axis])
        return table

    @cached_property
    def _chain(self) -> tuple[Float, Float, Float]:
        """Centre, rotation vector (radians) and shift (n, 3) of every vertebra, from the head down.

        Neighbours are joined in the middle of the disc between them.
        """
        spine, motions = self.body.spine, self.motions
        centres = np.array([(spine.x(v.middle), spine.y(v.middle), v.middle) for v in spine.vertebrae])
        bends = [0.0 if v.name in _STIFF else 1.0 for v in spine.vertebrae]
        down = np.concatenate(([0.0], np.cumsum(bends[1:] * -np.diff(centres[:, 2]))))
        angle = 2 * np.pi * down / motions.spine_wave_mm + np.radians(motions.spine_phase_degrees)
        size, twist = np.radians(motions.spine_turn_degrees), np.radians(motions.twist_degrees)
        turns = np.stack(
            [_FLEXION * size * np.cos(angle), size * np.sin(angle), twist * (0.75 + 0.25 * np.cos(0.5 * angle))],
            axis=-1,
        )
        shifts = np.zeros_like(centres)
        for n, (upper, lower) in enumerate(pairwise(spine.vertebrae)):
            z = 0.5 * (upper.bottom + lower.top)
            joint = np.array([spine.x(z), spine.y(z), z])
            moved = [Rotation.from_rotvec(turns[k]).apply(joint - centres[k]) + centres[k] for k in (n, n + 1)]
            shifts[n + 1] = shifts[n] + moved[0] - moved[1]
        return centres, turns, shifts - shifts.mean(axis=0) + motions.spine_shift_mm

    @cached_property
    def _bones(self) -> Float:
        """The rigid motion of every vertebra, from the head down."""
        spine = self.body.spine
        rows = np.zeros((len(spine.vertebrae), m.VERTEBRA))
        discs = [_RIM * (a.bottom - b.top) for a, b in pairwise(spine.vertebrae)]
        ends = zip(spine.vertebrae, [0.0, *discs], [*discs, 0.0], strict=True)
        for row, (vertebra, above, below), centre, turn, shift in zip(rows, ends, *self._chain, strict=True):
            row[:2] = vertebra.top + above, vertebra.bottom - below
            row[2:5], row[5:8] = centre, shift
            row[8:17] = Rotation.from_rotvec(turn).as_matrix().ravel()
            row[17:] = self._process(vertebra.name)[:4]
        return rows

    def _process(self, name: str) -> tuple[float, float, float, float, float]:
        """Upper and lower edge of a spinous process where it begins, that place, its fall by length; its hindmost y."""
        spine = self.body.spine
        process = spine.arch(spine.vertebra(name))[-1]
        assert isinstance(process, Tube)
        (_, first, height), (_, last, low) = process.points
        fall = (height - low) / (last - first)
        stretch, radius = process.stretch, float(process.radii.max())
        half = radius * float(np.hypot(1.0, stretch[2] * fall)) / stretch[2] + _SPARE_MM
        return height + half, height - half, first, fall, last + radius + _SPARE_MM

    def _behind(self, z: Float) -> Float:
        """Y behind which no spinous process reaches, without steps."""
        behind = np.full(len(z), -np.inf)
        for vertebra in self.body.spine.vertebrae:
            upper, lower, first, fall, hindmost = self._process(vertebra.name)
            away = np.maximum(np.maximum(lower - fall * (hindmost - first) - z, z - upper), 0.0)
            np.maximum(behind, hindmost - _BACK_SLOPE * away, out=behind)
        return behind

    @cached_property
    def _numbers(self) -> Float:
        motions, body = self.motions, self.body
        cavity = body.surface.cavity
        numbers = np.zeros(m.NUMBERS)
        numbers[m.Z_START] = _TABLE_MM[0]
        numbers[m.CAVITY_TOP] = cavity.z_range[1]
        numbers[m.EXPONENT] = cavity.exponent
        numbers[m.FAT_GROWS] = motions.fat_share
        numbers[m.FRONT_FAT_GROWS] = motions.front_fat_share
        numbers[m.SHOULDER_X], numbers[m.SHOULDER_REACH] = 88.0 * body.sx, 62.0 * body.sx
        numbers[m.SHOULDER_Z_LOW], numbers[m.SHOULDER_Z_HIGH] = -70.0 * body.sz, 30.0 * body.sz
        numbers[m.SHOULDER_L_X : m.SHOULDER_L_Z + 1] = motions.shoulder_left_mm
        numbers[m.SHOULDER_R_X : m.SHOULDER_R_Z + 1] = motions.shoulder_right_mm
        centre = np.array(_STOMACH) * (body.sx, body.sy, body.sz)
        numbers[m.STOMACH_X : m.STOMACH_Z + 1] = centre
        numbers[m.STOMACH_REACH] = self._room_for_stomach(centre)
        numbers[m.STOMACH_MOVES_X : m.STOMACH_MOVES_Z + 1] = motions.stomach_mm
        numbers[m.MEDIASTINUM_REACH] = 60.0 * body.r
        return numbers

    def _room_for_stomach(self, centre: Float) -> float:
        """Radius of a ball that does not touch the wall of the cavity."""
        cavity = self.body.surface.cavity
        rng = np.random.default_rng(0)
        ways = rng.normal(size=(2000, 3))
        ways /= np.linalg.norm(ways, axis=1)[:, None]
        reach = _STOMACH_REACH_MM * self.body.r
        while True:
            x, y, z = (centre + reach * ways).T
            middle, width, depth = (
                np.array([of(float(at)) for at in z]) for of in (cavity.y, cavity.half_width, cavity.back)
            )
            inside = np.abs(x / width) ** cavity.exponent + np.abs((y - middle) / depth) ** cavity.exponent < 0.96
            if inside.all():
                return float(reach)
            reach *= 0.96


def draw(body: Body, seed: int, from_frame: str, to_frame: str) -> Bending:
    """Draw how a body lay at an earlier scan; the same seed gives the same map.

    Parameters
    ----------
    body : Body
        Today's anatomy.
    seed : int
        0 or above.
    from_frame, to_frame : str
        Frames of reference of today's scan and of the earlier one.
    """
    rng = np.random.default_rng([seed, body.build.seed, 433494437])
    wave, turn = float(rng.uniform(230, 290)), float(rng.uniform(2.0, 2.8))
    sign = 1.0 if rng.random() < 0.5 else -1.0
    tilt = rng.normal(size=3)
    table_turn = tilt / np.linalg.norm(tilt) * rng.uniform(1.0, 3.0)
    motions = Motions(
        spine_turn_degrees=turn,
        spine_wave_mm=wave,
        spine_phase_degrees=float(rng.uniform(0, 360)),
        twist_degrees=float(rng.uniform(1.5, 2.5)) * (1 if rng.random() < 0.5 else -1),
        spine_shift_mm=_vector(rng.uniform(-1.0, 1.0, 3)),
        slide_mm=sign * float(rng.uniform(7, 12)),
        fat_share=float(rng.uniform(0.2, 0.5)),
        shoulder_left_mm=_vector(rng.uniform((-3, -4, -10), (6, 4, 10))),
        shoulder_right_mm=_vector(rng.uniform((-6, -4, -10), (3, 4, 10))),
        stomach_mm=_vector(_way(rng, (0.6, -0.8, -0.1)) * rng.uniform(9, 13)),
        mediastinum_mm=float(rng.uniform(2.0, 3.5)),
        mediastinum_phase_degrees=float(rng.uniform(0, 360)),
        table_turn_degrees=_vector(table_turn),
        table_shift_mm=_vector(rng.uniform((-25, -40, -400), (25, 40, 400))),
    )
    return Bending(body, seed, motions, table_position(body, motions, from_frame, to_frame))


def table_position(body: Body, motions: Motions, from_frame: str, to_frame: str) -> Transform:
    """Turn about the middle of the scan and shift of the whole patient on another table."""
    turn = Rotation.from_rotvec(motions.table_turn_degrees, degrees=True).as_matrix()
    middle = np.array([0.0, 0.0, 0.5 * sum(body.z_limits)]) + body.build.offset_mm
    affine = np.eye(4)
    affine[:3, :3] = turn
    affine[:3, 3] = middle - turn @ middle + motions.table_shift_mm
    return Transform(from_frame, to_frame, affine, 0.0, "drawn")


def _between(z: Float, ends: tuple[float, float, float, float]) -> Float:
    """0 above the first and below the last height, 1 between the middle ones, monotone in between."""
    first, second, third, last = ends
    profile = Profile([(last, 0.0), (third, 1.0), (second, 1.0), (first, 0.0)])
    return np.array([profile(float(height)) for height in z])


def _way(rng: np.random.Generator, mean: Vector) -> Float:
    way = rng.normal(size=3) * 0.3 + np.array(mean)
    found: Float = way / np.linalg.norm(way)
    return found


def _vector(values: ArrayLike) -> Vector:
    x, y, z = (float(v) for v in np.asarray(values, dtype=np.float64))
    return x, y, z


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: [round(v, 6) for v in value] if isinstance(value, tuple) else round(value, 6)
        for name, value in values.items()
    }

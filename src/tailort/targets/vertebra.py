"""Six sectors of a vertebra, and which of them a tumour touches.

Sectors (KO-51), as a ring around the spinal canal (KO-52): body, left pedicle, left transverse process and lamina,
spinous process, right transverse process and lamina, right pedicle, and the body again.

No paper prints borders between the sectors in coordinates; Cox et al. 2012 draw them on a schematic axial slice. The
borders here are **constructed, to be reviewed**. In each plane, with the centre c of the canal's section as origin:

1. The anterior direction a runs from the canal's centre to the body's, one direction for the whole vertebra, so that
   a vertebra that is turned about the patient's axis keeps its sectors. A tilted one is followed plane by plane.
2. The body lies in front of the coronal line through the canal's front edge.
3. Behind it, the sagittal line through c parts left from right, except for the spinous process: bone within
   `SPINOUS_HALF_ANGLE_DEG` of the backward direction, seen from c.
4. A pedicle is the bone beside the front `PEDICLE_SHARE` of the canal, as far lateral as the body of that plane, where
   (or at most `PEDICLE_BULGE_MM` further, as where the body has its waist), where it joins the body and reaches at
   least half way back. Reaching less far it is the body's corner; not reaching the body, or further lateral, it belongs
   to the transverse process and lamina.

The pedicles are the canal's side walls and the laminae its back wall; where on the rounded edge between them one ends
is a convention, so the share is an argument.

| rule | what | mark |
|---|---|---|
| KO-50, KO-51 | GTV; six sectors | seed |

References
----------
Cox et al., Int J Radiat Oncol Biol Phys 2012;83:e597, doi:10.1016/j.ijrobp.2012.03.009: sectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tailort.errors import GeometryError
from tailort.geometry import EndCap, intersect, subtract, volume_cm3
from tailort.geometry.contours import (
    area_mm2,
    in_plane,
    nesting_depth,
    oriented,
    rings_without_channels,
    without_repeats,
)
from tailort.geometry.solid import build_solid, sections
from tailort.patient import Structure
from tailort.targets.spreading import RING, Sector

Float = NDArray[np.float64]
Rings = list[Float]

SECTOR_SUFFIX: Mapping[Sector, str] = MappingProxyType(
    {
        "body": "Body",
        "pedicle_left": "PedL",
        "lamina_left": "LamL",
        "spinous": "SP",
        "lamina_right": "LamR",
        "pedicle_right": "PedR",
    }
)
"""What follows the vertebra in the name of a sector: VB_T05^PedL."""

PEDICLE_SHARE = 0.75
"""Share of the canal's depth, from its front, that is beside the pedicles. Constructed, to be reviewed."""

SPINOUS_HALF_ANGLE_DEG = 20.0
"""Half opening of the spinous process seen from the canal's centre. Constructed, to be reviewed."""

PEDICLE_BULGE_MM = 5.0
"""How far a pedicle may bulge beyond the body of its plane; what goes further is a process, from the body's edge on.
Constructed, to be reviewed."""

LEAST_TOUCH_CM3 = 0.01
"""Bone that a GTV must share with a sector to touch it: ten voxels of 1 mm. Constructed, to be reviewed."""

MOST_TURNED_DEG = 60.0
"""A body found further than this from the patient's front means contours that are not what they are called."""

_ON_CUT_MM = 1e-7
_ON_LINE_MM = 1e-6
_ANGLE_STEPS = 100
_UNSETTLED = 1e-3  # of a unit vector


def sector_name(level: str, sector: Sector) -> str:
    """Name of the structure of a sector.

    Examples
    --------
    >>> sector_name("VB_T05", "pedicle_left")
    'VB_T05^PedL'
    """
    return f"{level}^{SECTOR_SUFFIX[sector]}"


@dataclass(frozen=True, eq=False)
class VertebraSectors:
    """The six sectors of one vertebra.

    Parameters
    ----------
    level : str
        TG-263 name of the vertebra, such as VB_T05.
    sectors : dict of Structure
        By sector; one without bone, such as a lamina that was removed, is an empty structure.
    anterior : (2,) float
        Unit vector x, y, LPS, from the canal to the body.
    """

    level: str
    sectors: Mapping[Sector, Structure]
    anterior: Float

    @property
    def without_bone(self) -> tuple[Sector, ...]:
        """Sectors in which there is no bone."""
        return tuple(sector for sector in RING if self.sectors[sector].is_empty)


def vertebra_sectors(
    level: str,
    vertebra: Structure,
    canal: Structure,
    planes_mm: ArrayLike,
    *,
    canal_is: Literal["canal", "cord"] = "canal",
    anterior: ArrayLike | None = None,
    pedicle_share: float = PEDICLE_SHARE,
    spinous_half_angle_deg: float = SPINOUS_HALF_ANGLE_DEG,
    end_cap: EndCap = "half_slice",
) -> VertebraSectors:
    """Cut a vertebra into its six sectors. Constructed, to be reviewed: see the module's text for the borders.

    Parameters
    ----------
    level : str
        TG-263 name of the vertebra, such as VB_T05; sectors are named after it.
    vertebra : Structure
        The bone of this vertebra. Where it is drawn over the canal, the canal is taken off.
    canal : Structure
        The spinal canal, or the cord, on every plane of the vertebra.
    planes_mm : (k,) float
        z of the CT planes, ascending, LPS mm: sectors have their contours there.
    canal_is : {"canal", "cord"}
        With the cord the coronal line runs through the bone that lies next in front of it; the cord must be free of
        the vertebra's contours. A displaced cord moves the borders with it: prefer the canal.
    anterior : (2,) float, optional
        Direction x, y, LPS, from the canal to the body, where tumour makes the vertebra too uneven to find it.
    pedicle_share : float
        Share of the canal's depth, from its front, that is beside the pedicles, above 0 to 1.
    spinous_half_angle_deg : float
        Half opening of the spinous process seen from the canal's centre, above 0 and below 90 degrees.
    end_cap : EndCap
        How the ends of the structures close.

    Raises
    ------
    GeometryError
        When frames differ, the canal does not reach along the vertebra, the cord lies in bone, or no body is found in
        front of the canal.
    """
    if vertebra.frame_of_reference != canal.frame_of_reference:
        raise GeometryError(
            f"'{vertebra.name}' is in frame of reference {vertebra.frame_of_reference}, '{canal.name}' in "
            f"{canal.frame_of_reference}: give structures of one frame"
        )
    planes = np.asarray(planes_mm, dtype=np.float64)
    if planes.ndim != 1 or len(planes) < 2 or (np.diff(planes) <= 0).any():
        raise GeometryError("sectors need at least two CT planes, their z ascending in mm")
    if not 0 < pedicle_share <= 1 or not 0 < spinous_half_angle_deg < 90:
        raise GeometryError(
            f"{level}: the pedicles take a share above 0 to 1 of the canal's depth and the spinous process a half "
            f"angle above 0 and below 90 degrees; found {pedicle_share:g} and {spinous_half_angle_deg:g} degrees"
        )
    spacing = float(np.median(np.diff(planes)))
    bone, taken_off = _bone(vertebra, canal, planes, canal_is, end_cap, spacing)
    slices = _slices(level, bone, canal, planes, canal_is, end_cap, spacing)
    forward = _anterior(level, slices, anterior)
    cut: dict[Sector, list[Float]] = {sector: [] for sector in RING}
    for one in slices:
        for sector, rings in _cut(one, forward, pedicle_share, spinous_half_angle_deg).items():
            cut[sector].extend(in_plane(rings, one.z_mm))
    if not cut["body"]:
        raise GeometryError(f"{level}: no bone of '{vertebra.name}' lies in front of '{canal.name}': check both")
    made_by = (
        f"sector of '{vertebra.name}' around '{canal.name}'{taken_off} [KO-51]",
        f"anterior direction x {forward[0]:.3f}, y {forward[1]:.3f} (LPS), "
        + ("found from canal and body" if anterior is None else "given"),
        f"constructed, to be reviewed: pedicles beside the front {pedicle_share:.0%} of the canal, spinous process "
        f"within {spinous_half_angle_deg:g} degrees",
    )
    return VertebraSectors(
        level,
        MappingProxyType(
            {
                sector: Structure(
                    sector_name(level, sector), "OTHER", tuple(contours), vertebra.frame_of_reference,
                    made_by=made_by,
                )
                for sector, contours in cut.items()
            }
        ),
        forward,
    )  # fmt: skip


def shared_cm3(
    sectors: VertebraSectors, gtv: Structure, planes_mm: ArrayLike, *, end_cap: EndCap = "half_slice"
) -> dict[Sector, float]:
    """Volume that a GTV shares with each sector, cm3.

    Parameters
    ----------
    sectors : VertebraSectors
        Of one vertebra.
    gtv : Structure
        Disease on CT and MR (KO-50), in the same frame of reference.
    planes_mm : (k,) float
        z of the CT planes, ascending, LPS mm.
    end_cap : EndCap
        How the ends of the structures close.
    """
    planes = np.asarray(planes_mm, dtype=np.float64)
    spacing = float(np.median(np.diff(planes)))
    shared = dict.fromkeys(RING, 0.0)
    for sector, structure in sectors.sectors.items():
        if structure.frame_of_reference != gtv.frame_of_reference:
            raise GeometryError(
                f"'{gtv.name}' is in frame of reference {gtv.frame_of_reference}, '{structure.name}' in "
                f"{structure.frame_of_reference}: give structures of one frame"
            )
        if not structure.is_empty:
            both = intersect(structure.contours, gtv.contours, planes, end_cap, spacing)
            shared[sector] = volume_cm3(both, end_cap, spacing) if both else 0.0
    return shared


@dataclass(frozen=True, eq=False)
class _Slice:
    """One plane: bone, the canal's centre, its edge, and, for a cord, where the bone in front of it begins."""

    z_mm: float
    bone: Rings
    centre: Float
    around: Float
    is_cord: bool

    def reach_mm(self, direction: Float) -> float:
        """Distance from the centre to the canal's edge in the anterior or posterior direction.

        Of a canal to its own edge; of a cord to the bone that lies next in its width, or to its own edge without any.
        """
        reach = float(((self.around - self.centre) @ direction).max())
        if not self.is_cord:
            return reach
        across = _left_of(direction)
        half = float(np.abs((self.around - self.centre) @ across).max())
        ahead = _keep(self.bone, direction, float(self.centre @ direction) + reach)
        strip = _keep(ahead, across, float(self.centre @ across) - half)
        strip = _keep(strip, -across, -float(self.centre @ across) - half)
        return float(((np.concatenate(strip) - self.centre) @ direction).min()) if strip else reach


def _bone(
    vertebra: Structure, canal: Structure, planes: Float, canal_is: str, end_cap: EndCap, spacing: float
) -> tuple[tuple[Float, ...], str]:
    if vertebra.is_empty or canal.is_empty:
        raise GeometryError(f"sectors need contours of '{vertebra.name}' and of '{canal.name}'")
    both = intersect(vertebra.contours, canal.contours, planes, end_cap, spacing)
    overlap = volume_cm3(both, end_cap, spacing) if both else 0.0
    if canal_is == "cord" and overlap > LEAST_TOUCH_CM3:
        raise GeometryError(
            f"'{canal.name}' lies in '{vertebra.name}' with {overlap:.2f} cm3: draw the vertebra without its canal, or "
            "give the canal"
        )
    if overlap <= 0:
        return vertebra.contours, ""
    return subtract(vertebra.contours, canal.contours, planes, end_cap, spacing), f", {overlap:.2f} cm3 of it taken off"


def _slices(
    level: str, bone: tuple[Float, ...], canal: Structure, planes: Float, canal_is: str, end_cap: EndCap, spacing: float
) -> list[_Slice]:
    polygons = sections(build_solid(bone, end_cap, spacing), planes)
    holes = sections(build_solid(canal.contours, end_cap, spacing), planes)
    out: list[_Slice] = []
    lacking: list[float] = []
    for z, rings, hole in zip(planes, polygons, holes, strict=True):
        if not rings:
            continue
        if not hole:
            lacking.append(float(z))
            continue
        centre = _centre(hole)
        out.append(_Slice(float(z), rings_without_channels(rings), centre, np.concatenate(hole), canal_is == "cord"))
    if lacking:
        raise GeometryError(
            f"{level}: '{canal.name}' is not drawn from z = {lacking[0]:g} to {lacking[-1]:g} mm, where the vertebra "
            "is: draw it along the whole vertebra"
        )
    if not out:
        raise GeometryError(f"{level}: the vertebra does not meet the CT planes")
    return out


def _anterior(level: str, slices: Sequence[_Slice], given: ArrayLike | None) -> Float:
    """Direction from the canal's centre to the body's: where the body is follows from the direction, so repeat."""
    if given is not None:
        direction = np.asarray(given, dtype=np.float64)
        if direction.shape != (2,) or not np.isfinite(direction).all() or not np.hypot(*direction) > 0:
            raise GeometryError(
                f"{level}: an anterior direction is two numbers x, y (LPS), not both 0; found {given!r}"
            )
        forward: Float = direction / np.hypot(*direction)
    else:
        forward = _mean_direction((s.bone, s.centre) for s in slices)
        for _ in range(_ANGLE_STEPS):
            bodies = (
                (_keep(s.bone, forward, float(s.centre @ forward) + s.reach_mm(forward)), s.centre) for s in slices
            )
            following = _mean_direction(bodies)
            change = float(np.abs(following - forward).max())
            forward = following
            if not change >= 1e-9:
                break
        else:
            if change > _UNSETTLED:
                raise GeometryError(
                    f"{level}: the direction from the canal to the body does not settle; give it as anterior"
                )
    if not np.isfinite(forward).all() or forward @ (0.0, -1.0) < np.cos(np.radians(MOST_TURNED_DEG)):
        raise GeometryError(
            f"{level}: the body is not found within {MOST_TURNED_DEG:g} degrees of the patient's front as seen from "
            "the canal; check that vertebra and canal are what they are called"
        )
    return forward


def _mean_direction(of: Iterable[tuple[Rings, Float]]) -> Float:
    moment = np.zeros(2)
    for rings, centre in of:
        if rings:
            moment += sum(area_mm2(ring) for ring in oriented(rings)) * (_centre(rings) - centre)
    length = float(np.hypot(*moment))
    return moment / length if length > 0 else np.full(2, np.nan)


def _cut(one: _Slice, forward: Float, share: float, half_angle_deg: float) -> dict[Sector, Rings]:
    left = _left_of(forward)
    c_front, c_left = float(one.centre @ forward), float(one.centre @ left)
    front, back = c_front + one.reach_mm(forward), c_front - one.reach_mm(-forward)
    border = front - share * (front - back)
    angle = np.radians(half_angle_deg)
    out: dict[Sector, Rings] = {}
    body = _keep(one.bone, forward, front)
    behind = _keep(one.bone, -forward, -front)
    rays = {side: np.cos(angle) * side * left + np.sin(angle) * forward for side in (1.0, -1.0)}
    out["spinous"] = behind
    for ray in rays.values():
        out["spinous"] = _keep(out["spinous"], -ray, -float(one.centre @ ray))
    corners: Rings = []
    sides: tuple[tuple[float, Sector, Sector], ...] = (
        (1.0, "pedicle_left", "lamina_left"),
        (-1.0, "pedicle_right", "lamina_right"),
    )
    for side, pedicle, lamina in sides:
        outward = side * left
        half = _keep(_keep(behind, outward, side * c_left), rays[side], float(one.centre @ rays[side]))
        arch = _keep(half, -forward, -border)
        beside = _keep(half, forward, border)
        reach = max((float((ring @ outward).max()) for ring in body), default=-np.inf)
        inner, outer = _keep(beside, -outward, -reach), _keep(beside, outward, reach)
        if max((float((ring @ outward).max()) for ring in outer), default=reach) - reach <= PEDICLE_BULGE_MM:
            inner, outer = beside, []
        pieces: dict[tuple[bool, bool], Rings] = {}
        for piece in _pieces(inner):
            far = min(float((ring @ forward).min()) for ring in piece) <= 0.5 * (front + border)
            joins = _meets(piece, forward, front), far
            pieces.setdefault(joins, []).extend(piece)
        out[pedicle] = pieces.get((True, True), [])
        corners += pieces.get((True, False), [])
        out[lamina] = _joined([*arch, *outer, *pieces.get((False, True), []), *pieces.get((False, False), [])])
    out["body"] = _joined([*body, *corners])
    return out


def _left_of(forward: Float) -> Float:
    """Patient's left: superior x anterior."""
    return np.array([-forward[1], forward[0]])


def _meets(rings: Rings, normal: Float, offset: float) -> bool:
    return any(bool((np.abs(ring @ normal - offset) < _ON_LINE_MM).any()) for ring in rings)


def _pieces(rings: Rings) -> list[Rings]:
    """Polygons that hang together: each outer one with its holes."""
    depth = nesting_depth(rings) if rings else np.zeros(0, dtype=np.int64)
    pieces = [[ring] for ring, d in zip(rings, depth, strict=True) if d % 2 == 0]
    for ring, d in zip(rings, depth, strict=True):
        if d % 2:
            around = (piece for piece in pieces if nesting_depth([piece[0], ring])[1])
            min(around, key=lambda piece: abs(area_mm2(piece[0]))).append(ring)
    return pieces


def _joined(rings: Rings) -> Rings:
    return oriented(rings_without_channels(rings)) if rings else []


def _centre(rings: Rings) -> Float:
    area, moment = 0.0, np.zeros(2)
    start = rings[0][0, :2]
    for ring in oriented([np.ascontiguousarray(ring[:, :2]) for ring in rings]):
        p = ring - start
        q = np.roll(p, -1, axis=0)
        cross = p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
        area += 0.5 * float(cross.sum())
        moment += ((p + q) * cross[:, None]).sum(axis=0) / 6
    centre: Float = start + moment / area
    return centre


def _keep(rings: Rings, normal: Float, offset: float) -> Rings:
    """Part of the polygons of a plane (even-odd) in which normal . x is at least `offset`, exactly.

    Where the line enters and leaves the polygons alternates along it, so its crossings in order are joined in pairs.
    Points on the line count as beyond it, so that an edge along it, such as that of a canal, is cut there too.
    """
    kept: Rings = []
    chains: list[list[Float]] = []
    for ring in rings:
        s = ring @ normal - offset
        inside = s > _ON_CUT_MM
        if inside.all():
            kept.append(ring)
            continue
        if not inside.any():
            continue
        first = int(np.flatnonzero(inside & ~np.roll(inside, 1))[0])
        ring, s, inside = np.roll(ring, -first, axis=0), np.roll(s, -first), np.roll(inside, -first)
        chain: list[Float] = []
        for n in range(len(ring)):
            if not inside[n]:
                continue
            if not inside[n - 1]:
                chain = [_crossing(ring[n - 1], ring[n], s[n - 1], s[n])]
            chain.append(ring[n])
            after = (n + 1) % len(ring)
            if not inside[after]:
                chain.append(_crossing(ring[after], ring[n], s[after], s[n]))
                chains.append(chain)
    along = np.array([-normal[1], normal[0]])
    ends = sorted((float(chain[k] @ along), n, k) for n, chain in enumerate(chains) for k in (0, -1))
    partner = {}
    for (_, *a), (_, *b) in zip(ends[::2], ends[1::2], strict=True):
        partner[tuple(a)], partner[tuple(b)] = tuple(b), tuple(a)
    waiting = set(range(len(chains)))
    while waiting:
        start = min(waiting)
        points: list[Float] = []
        n, forwards = start, True
        while n in waiting:
            waiting.discard(n)
            points += chains[n] if forwards else chains[n][::-1]
            n, k = partner[n, -1 if forwards else 0]
            forwards = k == 0
        ring = without_repeats(np.array(points))
        if len(ring) >= 3 and abs(area_mm2(ring)) > 1e-6:
            kept.append(ring)
    return kept


def _crossing(p: Float, q: Float, s_p: float, s_q: float) -> Float:
    # From the same end whichever half is kept: both halves then share the very same point.
    if tuple(q) < tuple(p):
        p, q, s_p, s_q = q, p, s_q, s_p
    crossing: Float = p + (q - p) * min(max(s_p / (s_p - s_q), 0.0), 1.0)
    return crossing

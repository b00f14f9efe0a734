"""What straight cones miss where the density changes: electrons have turned on their way.

Along a cone energy flies straight on from where it was released, all ways scaled by the density. An electron does not:
multiple scattering turns it more and more, so where it flies its direction is farther from the photon's than its place
is, and how far it gets aside is told by the densities on the last part of its way more than by those on the first. For
layers across the beam that is exact: at a given depth each step aside is the one in water over the density at the step.
So behind a fall of the density energy spreads faster than along cones, and behind a rise more slowly. Let

    P = <1/density> over the last  SHORT x radius,   Q = <1/density> over the last  LONG x radius

be exponential means over what the ray has crossed (g/cm2), with the mean distance at which primary electrons leave
their energy in water as radius. The kernel is then wider by the factor P/Q to some power, and a kernel that is a little
wider than another is the other one with part of the energy taken from each place to places about it:

    dose += c (E dose - dose),   c = STRENGTH ln(P / Q)

E is the mean along directions across the beam, with exponential weights of length REACH x radius x sqrt(P Q). In even
density P = Q and nothing changes; even dose stays even in any densities.

`bent` does this with whole arrays, wherever they are; `bent_along_lines` with compiled loops, one row of lines after
the other, from start to end: all means in one walk, and opposite directions across the beam in one way forth and back.

The four constants hold for all beams. `tools/fit_bent_tracks.py` fits them to tracks of primary electrons in layers of
water against straight ones with the same ends in even water, in point-6MV and point-10MV-FFF behind 5 cm of water: the
shares of the energy within 1, 1.5, 2.5 and 5 cm of the ray's plane, up to 1.8 g/cm2 behind steps from water to 0.26,
0.4 and 1.85 times its density, and to water from 0.26 and 1.85. Those of straight tracks are wrong by 1.0 and 1.7 %
(rms), 0.2 and 0.3 % are left. Of steps kept out of the fit (to 0.15, from 0.4, a layer of 3 cm of 0.26) it is 2.1 and
2.9 %, and 0.4 % is left. No dose of a phantom went into it.

References
----------
Eyges 1948, Phys Rev 74:1534, doi:10.1103/PhysRev.74.1534 (spread of scattered particles in layers).
Keall and Hoban 1995, Med Phys 22:1413 (turning of primary electrons in convolution).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.dose.cones import Cones, Lines, order_from

Float = NDArray[np.float64]
Integers = NDArray[np.int64]
# An array (k, j, i) of float32, in the memory of the host or of a device.
Values = Any
# Energy that each of some cones leaves: (soft, hard or None, electron density, *cones), as
# `tailort.dose.cones.transport` without flow.
Carry = Callable[..., list[Values]]

# Lengths in radii over which 1/density is averaged; how much is spread; and how far, in radii.
SHORT, LONG = 0.129, 1.5
STRENGTH, REACH = 0.233, 1.135
# Directions across the beam; half of them are the others' opposites.
DIRECTIONS = 8
# Lines beside each other that are walked together: what is kept of them fits into a core's cache.
TOGETHER = 32
# Less dense is taken as this, relative to water: air.
LEAST_DENSITY = 1e-3
# Less than this share of the highest energy is not spread.
IN_BEAM = 1e-4
# Lines along which less than this has come know nothing of the densities upstream.
LEAST_HISTORY = 0.02
# Electrons released before this share of their equilibrium is reached do not count: air before the skin is no history.
BEFORE_SKIN = 0.05


def bent(primary: Values, electrons: Values, axis: Float, radius: float, carry: Carry) -> Values:
    """Energy left by primary electrons, corrected for their turning where the density changes.

    Parameters
    ----------
    primary : (k, j, i) float32
        Energy left per electron density along straight cones.
    electrons : (k, j, i) float32
        Electron density relative to water.
    axis : (3,) float
        Direction of the beam, LPS.
    radius : float
        Mean distance at which primary electrons leave their energy in water, g/cm2.
    carry : callable
        Carries energy along cones through these voxels.

    Returns
    -------
    (k, j, i) float32
    """
    if float(electrons.min()) == float(electrons.max()):
        return primary
    dense = np.maximum(electrons, np.float32(LEAST_DENSITY))
    share, reach = _share_and_density(dense, axis, radius, carry)
    beam = primary > np.float32(IN_BEAM * float(primary.max()))
    (about,) = carry(beam * primary, None, reach, _across(axis, 1.0 / (REACH * radius)))
    about -= primary
    about *= share
    about += primary
    # Beside the field behind a rise of the density there may be less than nothing, by 0.3 % of the highest dose.
    return np.maximum(about, np.float32(0.0))


def _share_and_density(dense: Values, axis: Float, radius: float, carry: Carry) -> tuple[Values, Values]:
    """Share of the energy to spread, c, and the density by which its reach scales, 1 / sqrt(P Q)."""
    (trust,) = carry(np.ones_like(dense), None, dense, _along(axis, 1.0 / (LONG * radius)))
    trust -= np.float32(BEFORE_SKIN)
    trust = np.maximum(trust, np.float32(0.0))
    above_short, short, above_long, long = carry(
        trust / dense, trust, dense,
        *(_along(axis, 1.0 / (length * radius), part) for length in (SHORT, LONG) for part in (0, 1)),
    )  # fmt: skip
    # Where nothing has come along the line there is nothing to tell: P = Q = 1 / density.
    far = np.minimum(short, long) < np.float32(LEAST_HISTORY)
    far |= np.minimum(above_short, above_long) < np.float32(LEAST_HISTORY)
    for mean in (above_short, above_long):
        mean[far] = 1.0
    for mean in (short, long):
        mean[far] = dense[far]
    above_short /= short
    above_long /= long
    # Of one history P / Q is no farther from 1 than this; lines that meet only air have pieces of several.
    most = np.float32(LONG / SHORT)
    share = np.float32(STRENGTH) * np.log(np.minimum(np.maximum(above_short / above_long, 1 / most), most))
    above_short *= above_long
    return share, 1.0 / np.sqrt(above_short)


def bent_along_lines(
    primary: Values, electrons: Values, axis: Float, radius: float, spacing_cm: Float, to_index: Float, anchor: Float
) -> Values:
    """Energy left by primary electrons as `bent` corrects it, in the memory of the host.

    Parameters
    ----------
    primary, electrons, axis, radius
        As those of `bent`.
    spacing_cm, to_index, anchor
        As those of `tailort.dose.cones.transport`.

    Returns
    -------
    (k, j, i) float32
    """
    if float(electrons.min()) == float(electrons.max()):
        return primary
    share, reach, about = (np.zeros(primary.size, dtype=np.float32) for _ in range(3))
    before, dense = np.ascontiguousarray(primary).ravel(), np.ascontiguousarray(electrons).ravel()
    for walk in _walks(_along(axis, 1.0), spacing_cm, to_index, anchor, primary.shape):
        rates = np.array([walk.path_cm / (length * radius) for length in (SHORT, LONG)], dtype=np.float32)
        _meet(dense, walk.shape, walk.strides, walk.rows_at, walk.columns_at, walk.upwards, rates, share, reach)
    least = np.float32(IN_BEAM * float(primary.max()))
    one_way = _across(axis, 1.0, DIRECTIONS // 2)
    for walk in _walks(one_way, spacing_cm, to_index, anchor, primary.shape):
        rate = np.float32(walk.path_cm / (REACH * radius))
        _spread(before, least, reach, walk.shape, walk.strides, walk.rows_at, walk.columns_at, rate, about)
    _mix(before, share, about)
    return about.reshape(primary.shape)


@dataclass(frozen=True, eq=False)
class _Walk:
    """Lines of one direction through all voxels.

    Parameters
    ----------
    shape, strides : (3,) int
        Of the grid along the lines' main axis and the other two: planes, rows, columns.
    rows_at, columns_at : (planes,) int
        Rows and columns by which the lines have jumped in each plane, from the anchor.
    upwards : bool
        Whether the planes are passed upwards.
    path_cm : float
        Way in a voxel.
    """

    shape: Integers
    strides: Integers
    rows_at: Integers
    columns_at: Integers
    upwards: bool
    path_cm: float


def _walks(cones: Cones, spacing_cm: Float, to_index: Float, anchor: Float, shape: tuple[int, ...]) -> Iterator[_Walk]:
    """Lines that jump as those of `tailort.dose.cones.transport`; their opposites pass the same voxels."""
    whole, strides = np.array(shape), np.array([shape[1] * shape[2], shape[2], 1])
    for axis, lines in enumerate(Lines.of(cones, spacing_cm, to_index)):
        order = list(order_from(axis))
        from_anchor = np.arange(shape[axis]) - anchor[axis]
        for sign, tilt, path_cm in zip(lines.sign, lines.tilt, lines.path_cm, strict=True):
            rows_at, columns_at = np.floor(np.outer(sign * tilt, from_anchor) + 0.5).astype(np.int64)
            yield _Walk(whole[order], strides[order], rows_at, columns_at, bool(sign > 0), float(path_cm))


@numba.njit(cache=True, parallel=True)
def _meet(
    electrons: Values,
    shape: Integers,
    strides: Integers,
    rows_at: Integers,
    columns_at: Integers,
    upwards: bool,
    rates: Values,
    share: Values,
    reach: Values,
) -> None:  # pragma: no cover - compiled
    """Add the share of the energy to spread, c, and the density by which its reach scales, 1 / sqrt(P Q)."""
    top = rows_at.max()
    for line in numba.prange(shape[1] + top - rows_at.min()):
        _meet_row(line - top, electrons, shape, strides, rows_at, columns_at, upwards, rates, share, reach)


@numba.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _meet_row(
    line: int,
    electrons: Values,
    shape: Integers,
    strides: Integers,
    rows_at: Integers,
    columns_at: Integers,
    upwards: bool,
    rates: Values,
    share: Values,
    reach: Values,
) -> None:  # pragma: no cover - compiled
    one, none, most = np.float32(1.0), np.float32(0.0), np.float32(LONG / SHORT)
    tiles = np.empty((6, shape[0], TOGETHER), dtype=np.float32)
    dense, kept_short, left_short, kept_long, left_long, ratio = tiles
    flat = tiles.reshape(6, -1)
    base, start, end = np.empty((3, shape[0]), dtype=np.int64)
    # Carried: what may be trusted, and that over the density and itself for the short and for the long mean.
    u = np.empty((5, TOGETHER), dtype=np.float32)
    for block in range(0, shape[2] + columns_at.max() - columns_at.min(), TOGETHER):
        first, last = _places(line, block, shape, strides, rows_at, columns_at, base, start, end)
        if first >= last:
            continue
        _take(electrons, base, strides[2], start, end, one, first, last, dense)
        a, b = first * TOGETHER, last * TOGETHER
        for c in range(a, b):
            flat[0, c] = max(flat[0, c], np.float32(LEAST_DENSITY))
        _relaxed(flat[0, a:b], rates[0], flat[1, a:b], flat[2, a:b])
        _relaxed(flat[0, a:b], rates[1], flat[3, a:b], flat[4, a:b])
        u[:] = 0.0
        for n in range(last - first):
            plane = first + n if upwards else last - 1 - n
            for c in range(TOGETHER):
                qs, ps = kept_short[plane, c], left_short[plane, c]
                ql, pl = kept_long[plane, c], left_long[plane, c]
                d = u[0, c] - one
                trust = max(one + pl * d - np.float32(BEFORE_SKIN), none)
                u[0, c] = one + ql * d
                thin = trust / dense[plane, c]
                d = u[1, c] - thin
                above_short = thin + ps * d
                u[1, c] = thin + qs * d
                d = u[2, c] - trust
                short = trust + ps * d
                u[2, c] = trust + qs * d
                d = u[3, c] - thin
                above_long = thin + pl * d
                u[3, c] = thin + ql * d
                d = u[4, c] - trust
                long = trust + pl * d
                u[4, c] = trust + ql * d
                # Where nothing has come along the line there is nothing to tell: P = Q = 1 / density.
                told = min(min(short, long), min(above_short, above_long)) >= np.float32(LEAST_HISTORY)
                p_over_q = above_short * long / (short * above_long)
                ratio[plane, c] = min(max(p_over_q, one / most), most) if told else one
                between = np.sqrt(short * long / (above_short * above_long))
                dense[plane, c] = between if told else dense[plane, c]
            # Lines that are not in the grid yet bring nothing.
            if end[plane] - start[plane] < TOGETHER:
                u[:, : start[plane]] = 0.0
                u[:, end[plane] :] = 0.0
        for c in range(a, b):
            flat[5, c] = none if flat[5, c] == one else np.float32(STRENGTH) * np.log(flat[5, c])
        _add(dense, base, strides[2], start, end, first, last, reach)
        _add(ratio, base, strides[2], start, end, first, last, share)


@numba.njit(cache=True, parallel=True)
def _spread(
    primary: Values,
    least: np.float32,
    reach: Values,
    shape: Integers,
    strides: Integers,
    rows_at: Integers,
    columns_at: Integers,
    rate: np.float32,
    about: Values,
) -> None:  # pragma: no cover - compiled
    """Add what a direction and its opposite bring to the mean about each place."""
    top = rows_at.max()
    for line in numba.prange(shape[1] + top - rows_at.min()):
        _spread_row(line - top, primary, least, reach, shape, strides, rows_at, columns_at, rate, about)


@numba.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _spread_row(
    line: int,
    primary: Values,
    least: np.float32,
    reach: Values,
    shape: Integers,
    strides: Integers,
    rows_at: Integers,
    columns_at: Integers,
    rate: np.float32,
    about: Values,
) -> None:  # pragma: no cover - compiled
    one, none, weight = np.float32(1.0), np.float32(0.0), np.float32(1.0 / DIRECTIONS)
    # Less is nothing: smaller numbers than these single precision handles slowly.
    faint = least * np.float32(1e-6)
    tiles = np.empty((4, shape[0], TOGETHER), dtype=np.float32)
    s, kept, left, mean = tiles
    flat = tiles.reshape(4, -1)
    base, start, end = np.empty((3, shape[0]), dtype=np.int64)
    u = np.empty(TOGETHER, dtype=np.float32)
    for block in range(0, shape[2] + columns_at.max() - columns_at.min(), TOGETHER):
        first, last = _places(line, block, shape, strides, rows_at, columns_at, base, start, end)
        if first >= last:
            continue
        _take(primary, base, strides[2], start, end, none, first, last, s)
        a, b = first * TOGETHER, last * TOGETHER
        sources = 0
        for c in range(a, b):
            in_beam = flat[0, c] > least
            flat[0, c] = flat[0, c] if in_beam else none
            sources += in_beam
        if sources == 0:
            continue
        _take(reach, base, strides[2], start, end, one, first, last, mean)
        _relaxed(flat[3, a:b], rate, flat[1, a:b], flat[2, a:b])
        u[:] = 0.0
        for plane in range(first, last):
            for c in range(TOGETHER):
                d = u[c] - s[plane, c]
                mean[plane, c] = s[plane, c] + left[plane, c] * d
                after = s[plane, c] + kept[plane, c] * d
                u[c] = after if after > faint else none
        u[:] = 0.0
        for plane in range(last - 1, first - 1, -1):
            for c in range(TOGETHER):
                d = u[c] - s[plane, c]
                mean[plane, c] = weight * (mean[plane, c] + s[plane, c] + left[plane, c] * d)
                after = s[plane, c] + kept[plane, c] * d
                u[c] = after if after > faint else none
        _add(mean, base, strides[2], start, end, first, last, about)


@numba.njit(cache=True, parallel=True)
def _mix(primary: Values, share: Values, about: Values) -> None:  # pragma: no cover - compiled
    """Spread the share: `about` holds the mean about each place before, and the energy after."""
    for n in numba.prange(primary.size):
        about[n] = max(primary[n] + share[n] * (about[n] - primary[n]), np.float32(0.0))


@numba.njit(cache=True)
def _places(
    line: int,
    block: int,
    shape: Integers,
    strides: Integers,
    rows_at: Integers,
    columns_at: Integers,
    base: Integers,
    start: Integers,
    end: Integers,
) -> tuple[int, int]:  # pragma: no cover - compiled
    """First and one past the last plane in which some of the lines beside each other are in the grid.

    In each plane those from `start` to `end` are, the first of them at `base`.
    """
    side = columns_at.max()
    first, last = shape[0], 0
    for plane in range(shape[0]):
        row = line + rows_at[plane]
        shift = block - side + columns_at[plane]
        a, b = max(0, -shift), min(TOGETHER, shape[2] - shift)
        if row >= 0 and row < shape[1] and a < b:
            first, last = min(first, plane), plane + 1
        start[plane], end[plane] = a, b
        base[plane] = plane * strides[0] + row * strides[1] + (shift + a) * strides[2]
    return first, last


@numba.njit(cache=True)
def _take(
    values: Values,
    base: Integers,
    step: int,
    start: Integers,
    end: Integers,
    outside: np.float32,
    first: int,
    last: int,
    tile: Values,
) -> None:  # pragma: no cover - compiled
    """Read what is on the lines, plane by plane, with a value for outside the grid."""
    for plane in range(first, last):
        into = tile[plane]
        a, b, at = start[plane], end[plane], base[plane]
        if b - a < TOGETHER:
            into[:] = outside
        if step == 1:
            own = values[at : at + b - a]
            for c in range(own.size):
                into[np.uint64(a + c)] = own[c]
        else:
            for c in range(a, b):
                into[c] = values[np.uint64(at)]
                at += step


@numba.njit(cache=True)
def _add(
    tile: Values, base: Integers, step: int, start: Integers, end: Integers, first: int, last: int, values: Values
) -> None:  # pragma: no cover - compiled
    """Add to what is on the lines."""
    for plane in range(first, last):
        given = tile[plane]
        a, b, at = start[plane], end[plane], base[plane]
        if step == 1:
            own = values[at : at + b - a]
            for c in range(own.size):
                own[c] += given[np.uint64(a + c)]
        else:
            for c in range(a, b):
                values[np.uint64(at)] += given[c]
                at += step


@numba.njit(cache=True, error_model="numpy", fastmath={"contract", "nsz"})
def _relaxed(dense: Values, rate: np.float32, kept: Values, left: Values) -> None:  # pragma: no cover - compiled
    """Share of a carried rate that is kept over a voxel, and its mean on the way; see `tailort.dose.cones`."""
    one, half, third, quarter = np.float32(1.0), np.float32(0.5), np.float32(1 / 3), np.float32(0.25)
    fifth, sixteenth, small = np.float32(0.2), np.float32(1 / 16), np.float32(0.03)
    for c in range(dense.size):
        x = rate * dense[c]
        y = min(x, np.float32(30.0)) * sixteenth
        p = one + y * (one + half * y * (one + third * y * (one + quarter * y * (one + fifth * y))))
        p = p * p
        p = p * p
        p = p * p
        p = p * p
        r = one / (x * p)
        kept[c] = x * r
        left[c] = (p - one) * r if x > small else one - x * half * (one - x * third)


def _along(axis: Float, slope: float, part: int = 0) -> Cones:
    """The beam's direction, for soft (part 0) or hard energy."""
    weights = np.zeros((1, 2, 1))
    weights[0, part] = 1.0
    along = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    return Cones(along[None], np.array([[slope]]), weights, np.eye(3)[:2], np.zeros((1, 2, 1)))


def _across(axis: Float, slope: float, count: int = DIRECTIONS) -> Cones:
    """First of the directions across the beam."""
    along = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    first = np.cross(along, np.eye(3)[np.argmin(np.abs(along))])
    first /= np.linalg.norm(first)
    turn = 2 * np.pi * (np.arange(count) + 0.25) / DIRECTIONS
    directions = np.outer(np.cos(turn), first) + np.outer(np.sin(turn), np.cross(along, first))
    weights = np.zeros((count, 2, 1))
    weights[:, 0] = 1.0 / DIRECTIONS
    return Cones(directions, np.full((count, 1), slope), weights, np.eye(3)[:2], np.zeros((count, 2, 1)))

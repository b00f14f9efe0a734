"""Energy fluence in the isocentre plane: two sources seen through jaws and leaves.

    fluence(u, v) = (1 - e) profile(r) P(u, v) + e E(u, v) / E(open)

P is the part of the primary source that the point (u, v) sees, E that of the extra-focal source, each a Gaussian in its
plane. A straight edge at c from the source, at x in the isocentre plane, hides of a plane at f what lies beyond

    x_f = [x c (SAD - f) / SAD - u (c - f)] / (SAD - c)

from the point u. Jaws and leaves have each their own c; what both leave open is what is seen. Leaf pairs divide the
plane into rows, so both parts are sums over rows of a product of a function of u and one of v. P is averaged over each
pixel exactly.

What is assumed: the blur is that in the isocentre plane, at all depths; extra-focal photons come from the source's
direction and pass no jaw; leaves that touch have no gap between their round ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from tailort.dose.fluence import Exposure, leaf_ends_mm
from tailort.patient.plan import Beam, Pair
from tailort.physics.machine import Machine

Float = NDArray[np.float64]

# Distance of the nodes at which the wide sources are computed, mm of the isocentre plane.
NODE_MM = 5.0
# Gaussians end at this many standard deviations.
GAUSSIAN_END = 5.0


def head_fluence(
    exposure: Exposure, beam: Beam, machine: Machine, x_edges_mm: Float, y_edges_mm: Float
) -> tuple[Float, Float]:
    """Energy fluence and what contaminates it, in MU of an open beam.

    Parameters
    ----------
    exposure : Exposure
        Apertures and MU.
    beam : Beam
        Tells the leaf boundaries.
    machine : Machine
        Tells source, collimators and largest field.
    x_edges_mm, y_edges_mm : (n + 1,) float
        Edges of pixels in the isocentre plane, IEC 61217 beam limiting device axes, mm.

    Returns
    -------
    energy, contamination : (ny, nx) float
        Energy fluence relative to the axis of the largest field, and the aperture spread as the contaminating electrons
        are; MU.

    References
    ----------
    Ahnesjo 1994, Med Phys 21:1227, doi:10.1118/1.597205 (head scatter from the visible part of the filter).
    """
    head, limit = machine.head, machine.jaw_limit_mm
    rows = _rows(beam, limit)
    wide = _wide_sources(machine)
    nodes = [_nodes(edges) for edges in (x_edges_mm, y_edges_mm)]
    # Segments with the same Y jaws differ along x only.
    groups: dict[Pair, tuple[Float, list[Float]]] = {}
    for mu, segment in exposure.segments:
        jaws_y = _jaws(segment.jaws_y_mm, machine)
        if jaws_y not in groups:
            strips = max(0, 2 * len(rows) - 3) if head.tongue_mm > 0 else len(rows) - 1
            groups[jaws_y] = (
                np.zeros((strips, len(x_edges_mm) - 1)),
                [np.zeros((len(rows) - 1, len(nodes[0]))) for _ in wide],
            )
        jaws_x = _jaws(segment.jaws_x_mm, machine)
        ends, has_leaves = _leaf_ends(segment.leaves_mm, head.leaf_end_gap_mm, len(rows) - 1, limit)
        along_x, wide_x = groups[jaws_y]
        _add_primary(
            along_x, mu, ends, has_leaves, np.array(jaws_x), limit, x_edges_mm, _sigma(machine, head.leaf_distance_mm),
            _sigma(machine, head.jaw_x_distance_mm), machine.leaf_transmission, machine.jaw_transmission,
            head.tongue_mm > 0, head.tongue_transmission,
        )  # fmt: skip
        for total, kind in zip(wide_x, wide, strict=True):
            _add_wide(
                total, mu, ends, has_leaves, np.array(jaws_x), nodes[0], kind.leaf, kind.jaw_x, kind.sigma_mm,
                machine.leaf_transmission,
            )  # fmt: skip
    shape = (len(y_edges_mm) - 1, len(x_edges_mm) - 1)
    energy, contamination = np.zeros(shape), np.zeros(shape)
    scattered = np.zeros((len(nodes[1]), len(nodes[0])))
    electrons = np.zeros_like(scattered)
    for jaws_y, (along_x, wide_x) in groups.items():
        _add_product(energy, _across(rows, jaws_y, y_edges_mm, machine), along_x)
        for total, kind in zip(wide_x, wide, strict=True):
            across = _wide_across(rows, np.array(jaws_y), nodes[1], kind.leaf, kind.jaw_y, kind.sigma_mm)
            into = electrons if kind.is_contamination else scattered
            _add_product(into, across / kind.open_share, total)
    x, y = (0.5 * (edges[1:] + edges[:-1]) for edges in (x_edges_mm, y_edges_mm))
    energy *= (1.0 - head.extrafocal_share) * machine.primary_fluence(np.hypot(x[None, :], y[:, None]))
    places = ((x - nodes[0][0]) / NODE_MM, (y - nodes[1][0]) / NODE_MM)
    if head.extrafocal_share > 0:
        _add_between(energy, scattered, *places, head.extrafocal_share)
    if head.contamination_cm2_g > 0:
        _add_between(contamination, electrons, *places, 1.0)
    return energy, contamination


@dataclass(frozen=True)
class _Wide:
    """A wide Gaussian as seen past the edges of the collimators, x_f = by_edge x + by_point u: these two for each."""

    sigma_mm: float
    leaf: Pair
    jaw_x: Pair
    jaw_y: Pair
    open_share: float
    is_contamination: bool


def _wide_sources(machine: Machine) -> list[_Wide]:
    """The extra-focal source and the contamination, where the machine has them."""
    head, sad, f = machine.head, machine.source_axis_distance_mm, machine.head.extrafocal_distance_mm
    wide = []
    if head.extrafocal_share > 0:
        leaf, jaw_x, jaw_y = (
            (c * (sad - f) / (sad * (sad - c)), -(c - f) / (sad - c))
            for c in (head.leaf_distance_mm, head.jaw_x_distance_mm, head.jaw_y_distance_mm)
        )
        reach = machine.jaw_limit_mm / (math.sqrt(2) * head.extrafocal_sigma_mm)
        open_share = math.erf(jaw_x[0] * reach) * math.erf(jaw_y[0] * reach)
        wide.append(_Wide(head.extrafocal_sigma_mm, leaf, jaw_x, jaw_y, open_share, False))
    if head.contamination_cm2_g > 0:
        there = (1.0, -1.0)
        wide.append(_Wide(head.contamination_sigma_mm, there, there, there, 1.0, True))
    return wide


def _sigma(machine: Machine, collimator_mm: float) -> float:
    """Blur of an edge at this distance from the source, mm of the isocentre plane."""
    return machine.head.source_sigma_mm * (machine.source_axis_distance_mm - collimator_mm) / collimator_mm


def _rows(beam: Beam, limit: float) -> Float:
    """Boundaries of the leaf rows within the largest field."""
    rows: Float = np.clip(np.array(beam.leaf_boundaries_mm or (-limit, limit), dtype=np.float64), -limit, limit)
    return rows


def _jaws(set_mm: Pair, machine: Machine) -> Pair:
    """Where a pair of jaws is, within the largest field."""
    limit, offset = machine.jaw_limit_mm, machine.head.jaw_offset_mm
    return max(set_mm[0] + offset, -limit), min(set_mm[1] - offset, limit)


def _leaf_ends(leaves: Float | None, gap_mm: float, pairs: int, limit: float) -> tuple[Float, bool]:
    if leaves is None:
        return np.tile([[-limit], [limit]], pairs), False
    return leaf_ends_mm(leaves, gap_mm), True


def _nodes(edges: Float) -> Float:
    count = int(np.ceil((edges[-1] - edges[0]) / NODE_MM)) + 1
    nodes: Float = edges[0] + NODE_MM * np.arange(count)
    return nodes


def _across(rows: Float, jaws_y: Pair, y_edges: Float, machine: Machine) -> Float:
    """Part of each pixel that each strip of the leaves covers, weakened by the jaws: (strips, ny).

    Strips are the leaf pairs and, between two neighbours, where tongue and groove overlap.
    """
    head = machine.head
    half = 0.5 * head.tongue_mm
    if half > 0:
        inner = np.stack([rows[1:-1] - half, rows[1:-1] + half], axis=1).ravel()
        rows = np.clip(np.concatenate([rows[:1], inner, rows[-1:]]), rows[0], rows[-1])
    by_leaf = _sigma(machine, head.leaf_distance_mm)
    by_jaw = _sigma(machine, head.jaw_y_distance_mm)
    # The bank's ends and the largest field are edges like those of the jaws.
    above = np.stack(
        [_edge(float(e), by_jaw if n in (0, len(rows) - 1) else by_leaf, y_edges) for n, e in enumerate(rows)]
    )
    low, high = (_edge(e, by_jaw, y_edges) for e in jaws_y)
    opened = np.maximum(np.minimum(above[:-1], low) - np.maximum(above[1:], high), 0.0)
    leaf_rows = np.maximum(above[:-1] - above[1:], 0.0)
    across: Float = opened + machine.jaw_transmission * (leaf_rows - opened)
    return across


def _edge(edge: float, sigma: float, edges: Float) -> Float:
    out = np.empty(len(edges) - 1)
    _fill_edge(out, edge, sigma, edges)
    return out


@numba.njit(cache=True)
def _add_product(total: Float, across: Float, along: Float) -> None:  # pragma: no cover - compiled
    """Add the sum over strips of across (strips, ny) times along (strips, nx); most of the first are 0."""
    for row in range(total.shape[0]):
        for strip in range(across.shape[0]):
            weight = across[strip, row]
            if weight != 0.0:
                for column in range(total.shape[1]):
                    total[row, column] += weight * along[strip, column]


@numba.njit(cache=True)
def _add_between(total: Float, nodes: Float, x: Float, y: Float, share: float) -> None:  # pragma: no cover - compiled
    """Add what lies linearly between nodes, at places x, y counted in nodes."""
    rows, columns = nodes.shape
    for r in range(total.shape[0]):
        j = min(max(int(y[r]), 0), rows - 2)
        g = y[r] - j
        for c in range(total.shape[1]):
            i = min(max(int(x[c]), 0), columns - 2)
            f = x[c] - i
            low = (1.0 - f) * nodes[j, i] + f * nodes[j, i + 1]
            high = (1.0 - f) * nodes[j + 1, i] + f * nodes[j + 1, i + 1]
            total[r, c] += share * ((1.0 - g) * low + g * high)


@numba.njit(cache=True)
def _ramp(t: float, sigma: float) -> float:  # pragma: no cover - compiled
    """Integral of the Gaussian step up to t."""
    if sigma <= 0.0:
        return max(t, 0.0)
    z = t / sigma
    return 0.5 * t * (1.0 + math.erf(z / math.sqrt(2.0))) + sigma * math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)


@numba.njit(cache=True)
def _fill_edge(out: Float, edge: float, sigma: float, edges: Float) -> None:  # pragma: no cover - compiled
    """Mean over each pixel of a Gaussian step from 0 to 1 at an edge."""
    reach = GAUSSIAN_END * sigma
    for n in range(out.size):
        a, b = edges[n] - edge, edges[n + 1] - edge
        if b <= -reach:
            out[n] = 0.0
        elif a >= reach:
            out[n] = 1.0
        else:
            out[n] = min(max((_ramp(b, sigma) - _ramp(a, sigma)) / (b - a), 0.0), 1.0)


@numba.njit(cache=True)
def _add_primary(
    total: Float,
    mu: float,
    ends: Float,
    has_leaves: bool,
    jaws: Float,
    limit: float,
    x_edges: Float,
    by_leaf: float,
    by_jaw: float,
    leaf_transmission: float,
    jaw_transmission: float,
    tongue: bool,
    tongue_transmission: float,
) -> None:  # pragma: no cover - compiled
    """Add what the strips of one segment let through along x: (strips, nx)."""
    pairs, size = ends.shape[1], x_edges.size - 1
    jaw = np.empty((2, size))
    leaf = np.empty((2, size))
    before = np.empty((2, size))
    whole = np.empty((2, size))
    for n in range(2):
        _fill_edge(jaw[n], jaws[n], by_jaw, x_edges)
        _fill_edge(whole[n], (2 * n - 1) * limit, by_jaw, x_edges)
    for p in range(pairs):
        leaf, before = before, leaf
        for n in range(2):
            if has_leaves:
                end = min(max(ends[n, p], -limit), limit)
                _fill_edge(leaf[n], end, by_leaf if abs(end) < limit else by_jaw, x_edges)
            else:
                leaf[n] = whole[n]
        own = 2 * p if tongue else p
        for c in range(size):
            largest = whole[0, c] - whole[1, c]
            within = max(jaw[0, c] - jaw[1, c], 0.0)
            here = max(leaf[0, c] - leaf[1, c], 0.0)
            both = max(min(leaf[0, c], jaw[0, c]) - max(leaf[1, c], jaw[1, c]), 0.0)
            opened = both + jaw_transmission * (here - both)
            weakened = within + jaw_transmission * (largest - within)
            total[own, c] += mu * (opened + leaf_transmission * (weakened - opened))
            if tongue and p > 0:
                # Open behind both leaves of the strip, and behind one of them.
                lo, hi = min(leaf[0, c], before[0, c]), max(leaf[1, c], before[1, c])
                beside = max(min(before[0, c], jaw[0, c]) - max(before[1, c], jaw[1, c]), 0.0)
                two = max(min(lo, jaw[0, c]) - max(hi, jaw[1, c]), 0.0)
                one = both + beside - 2.0 * two
                seen = two + tongue_transmission * one
                closed = within - two - one
                total[own - 1, c] += mu * (seen + leaf_transmission * (closed + jaw_transmission * (largest - within)))


@numba.njit(cache=True)
def _step(t: float, sigma: float) -> float:  # pragma: no cover - compiled
    return 0.5 * (1.0 + math.erf(t / (sigma * math.sqrt(2.0))))


@numba.njit(cache=True)
def _add_wide(
    total: Float,
    mu: float,
    ends: Float,
    has_leaves: bool,
    jaws: Float,
    nodes: Float,
    by_leaf: tuple[float, float],
    by_jaw: tuple[float, float],
    sigma: float,
    leaf_transmission: float,
) -> None:  # pragma: no cover - compiled
    """Add the part of a wide source that the nodes see along x through each leaf pair: (pairs, nodes)."""
    for c in range(nodes.size):
        u = nodes[c]
        jaw_low = _step(by_jaw[0] * jaws[0] + by_jaw[1] * u, sigma)
        jaw_high = _step(by_jaw[0] * jaws[1] + by_jaw[1] * u, sigma)
        within = max(jaw_high - jaw_low, 0.0)
        for p in range(ends.shape[1]):
            if not has_leaves:
                total[p, c] += mu * within
                continue
            low = max(_step(by_leaf[0] * ends[0, p] + by_leaf[1] * u, sigma), jaw_low)
            high = min(_step(by_leaf[0] * ends[1, p] + by_leaf[1] * u, sigma), jaw_high)
            both = max(high - low, 0.0)
            total[p, c] += mu * (both + leaf_transmission * (within - both))


@numba.njit(cache=True)
def _wide_across(
    rows: Float, jaws: Float, nodes: Float, by_leaf: tuple[float, float], by_jaw: tuple[float, float], sigma: float
) -> Any:  # pragma: no cover - compiled
    """Part of a wide source that the nodes see along y through each leaf pair: (pairs, nodes)."""
    pairs = rows.size - 1
    out = np.zeros((pairs, nodes.size))
    for c in range(nodes.size):
        v = nodes[c]
        jaw_low = _step(by_jaw[0] * jaws[0] + by_jaw[1] * v, sigma)
        jaw_high = _step(by_jaw[0] * jaws[1] + by_jaw[1] * v, sigma)
        below = jaw_low
        for p in range(pairs):
            above = jaw_high
            if p < pairs - 1:
                above = min(max(_step(by_leaf[0] * rows[p + 1] + by_leaf[1] * v, sigma), jaw_low), jaw_high)
            out[p, c] = max(above - below, 0.0)
            below = above
    return out

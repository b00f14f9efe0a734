"""Where the energy goes that photons of a beam release in water: point kernels as sums of exponentials.

A photon that interacts releases energy (TERMA). Its first electrons carry the *primary* part away, over centimetres;
scattered photons carry the *scatter* part, over tens of centimetres. Around the interaction the sphere of directions is
divided into rings of polar angle, and in each ring the energy that has been left within radius r is

    C(r) = sum_k w_k (1 - exp(-a_k r))

with slopes a_k (cm2/g) of the ring and weights w_k that follow the hardness of the beam. Kernels of all hardnesses
that a beam passes through are mixed from two, that of the open beam and that behind `HARD_DEPTH_CM` of water.

References
----------
Ahnesjo 1989, Med Phys 16:577, doi:10.1118/1.596360 (collapsed cones, kernels as exponentials).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from tailort.physics.attenuation import attenuation_cm2_g, energy_absorption_cm2_g
from tailort.physics.spectrum import Spectrum

Float = NDArray[np.float64]

# Depth of water behind which the second of the two mixed kernels is taken, cm.
HARD_DEPTH_CM = 25.0
# Range and step of the table of TERMA; negative depths are spectra softer than the open beam's, cm.
FIRST_DEPTH_CM, LAST_DEPTH_CM, DEPTH_STEP_CM = -20.0, 100.0, 0.25


@dataclass(frozen=True, eq=False)
class Ring:
    """Directions of one range of polar angle.

    Parameters
    ----------
    cosine : float
        Of the energy-weighted mean polar angle to the photon's direction.
    count : int
        Directions, evenly spaced in azimuth.
    slopes : (n,) float
        a_k, cm2/g.
    weights : (2, n) float
        w_k of the whole ring, of the open (row 0) and the hardened kernel (row 1), shares of the TERMA.
    turn : float
        Relative growth of the energy per solid angle with the polar angle, 1/rad: what a photon flying at a small angle
        to the axis gives to a direction more or less than the ring's mean.
    """

    cosine: float
    count: int
    slopes: Float
    weights: Float
    turn: float


@dataclass(frozen=True, eq=False)
class PointKernel:
    """The kernels of a beam and its TERMA in water.

    Parameters
    ----------
    primary, scatter : tuple of Ring
        Together the weights of each of the two kernels add up to 1.
    terma : (n,) float
        TERMA of unit energy fluence of the open beam, behind `depths_cm`, cm2/g.
    fluence : (n,) float
        Energy fluence there.
    hardness : (n,) float
        Share of the hardened kernel there: 0 in the open beam, 1 behind `HARD_DEPTH_CM`.
    """

    primary: tuple[Ring, ...]
    scatter: tuple[Ring, ...]
    terma: Float
    fluence: Float
    hardness: Float

    @property
    def depths_cm(self) -> Float:
        """Depths of the table, cm of water."""
        depths: Float = FIRST_DEPTH_CM + DEPTH_STEP_CM * np.arange(len(self.terma), dtype=np.float64)
        return depths

    @property
    def primary_radius(self) -> float:
        """Mean distance at which primary electrons of the open beam leave their energy in water, g/cm2."""
        energy = sum(ring.weights[0].sum() for ring in self.primary)
        return float(sum((ring.weights[0] / ring.slopes).sum() for ring in self.primary) / energy)

    def softening_shift_cm(self, attenuation_ratio: Float) -> Float:
        """Water path (cm) taken from the open beam so that its attenuation over 10 cm is this many times as large.

        Parameters
        ----------
        attenuation_ratio : (...) float
            At least 1 for softer beams.
        """
        depth, log = self.depths_cm, np.log(self.terma)
        ten = round(10 / DEPTH_STEP_CM)
        attenuation = (log[:-ten] - log[ten:]) / 10.0
        at = depth[:-ten]
        open_beam = np.interp(0.0, at, attenuation)
        shift: Float = -np.interp(-np.asarray(attenuation_ratio), -attenuation / open_beam, at)
        return shift


# Edges of the rings, degrees (whole cones of 3.75 degrees), and directions in each.
PRIMARY_RINGS = ((0.0, 7.5, 15.0, 22.5, 30.0, 41.25, 52.5, 67.5, 90.0, 120.0, 180.0), (4, 6, 8, 8, 10, 10, 8, 8, 6, 4))
SCATTER_RINGS = ((0.0, 11.25, 22.5, 33.75, 48.75, 67.5, 90.0, 120.0, 150.0, 180.0), (4, 6, 8, 8, 8, 8, 6, 4, 3))
# Exponentials of each ring.
PRIMARY_TERMS, SCATTER_TERMS = 3, 2
# The slopes of a ring are apart by at least this factor, so that their weights stay small.
LEAST_RATIO = 1.3


@cache
def point_kernel(spectrum: Spectrum) -> PointKernel:
    """Return the kernel of a beam with this spectrum.

    Parameters
    ----------
    spectrum : Spectrum
        Photon number of the open beam on its axis.
    """
    table = kernel_table()
    energies = spectrum.energies_mev
    mu = attenuation_cm2_g("water", energies)
    absorbed = energy_absorption_cm2_g("water", energies) / mu
    fluence = spectrum.number * energies / (spectrum.number @ energies)
    depths = np.arange(FIRST_DEPTH_CM, LAST_DEPTH_CM + DEPTH_STEP_CM / 2, DEPTH_STEP_CM)
    # (depth, energy)
    behind = fluence * np.exp(-np.outer(depths, mu))
    terma = behind @ mu
    primary_share = (behind * mu) @ absorbed / terma
    ends = np.interp([0.0, HARD_DEPTH_CM], depths, primary_share)
    shares = np.stack([fluence * np.exp(-mu * depth) * mu for depth in (0.0, HARD_DEPTH_CM)])
    shares /= shares.sum(axis=1, keepdims=True)
    to_table = _between(energies, table.energies_mev)
    primary = np.einsum("de,et,tcr->dcr", shares, to_table, table.primary)
    scatter = np.einsum("de,et,tcr->dcr", shares, to_table, table.total - table.primary)
    # What the table's statistics miss of the primary share, which is known better.
    primary *= (ends / primary.sum(axis=(1, 2)))[:, None, None]
    return PointKernel(
        _rings(table, primary, ends, PRIMARY_RINGS, PRIMARY_TERMS, (0.5, 20.0)),
        _rings(table, scatter, 1.0 - ends, SCATTER_RINGS, SCATTER_TERMS, (0.01, 0.5)),
        terma,
        behind.sum(axis=1),
        # A beam of one energy does not harden.
        (primary_share - ends[0]) / (ends[1] - ends[0]) if abs(ends[1] - ends[0]) > 1e-9 else np.zeros(len(depths)),
    )


@dataclass(frozen=True, eq=False)
class KernelTable:
    """Monoenergetic kernels: share of the photon's energy in cells of polar angle and radius.

    Parameters
    ----------
    energies_mev : (e,) float
    polar_deg : (c,) float
        Upper edges.
    radii_cm : (r,) float
        Outer radii in water.
    total, primary : (e, c, r) float
    """

    energies_mev: Float
    polar_deg: Float
    radii_cm: Float
    total: Float
    primary: Float


@cache
def kernel_table() -> KernelTable:
    """Return the packaged kernels, made by `tailort.physics.montecarlo`."""
    text = resources.files("tailort.physics").joinpath("data/kernels_water.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    column = {name: n for n, name in enumerate(lines[0].split(","))}
    rows = np.array([[float(cell) for cell in line.split(",")] for line in lines[1:]])
    axes = [np.unique(rows[:, column[name]]) for name in ("E_MeV", "theta_hi_deg", "r_hi_cm")]
    shape = tuple(len(axis) for axis in axes)
    return KernelTable(*axes, *(rows[:, column[name]].reshape(shape) for name in ("frac_total", "frac_primary")))


def _between(energies: Float, nodes: Float) -> Float:
    """Weights (energy, node) of linear interpolation in the logarithm of the energy."""
    place = np.interp(np.log(energies), np.log(nodes), np.arange(len(nodes)))
    low = np.minimum(place.astype(int), len(nodes) - 2)
    weights = np.zeros((len(energies), len(nodes)))
    row = np.arange(len(energies))
    weights[row, low] = 1.0 - (place - low)
    weights[row, low + 1] = place - low
    return weights


def _rings(
    table: KernelTable,
    cells: Float,
    totals: Float,
    rings: tuple[tuple[float, ...], tuple[int, ...]],
    terms: int,
    slope_range: tuple[float, float],
) -> tuple[Ring, ...]:
    """Fit the exponentials of each ring; the weights of each kernel add up to its total."""
    edges, counts = rings
    beyond = totals / cells.sum(axis=(1, 2))
    middles = table.polar_deg - np.diff(table.polar_deg, prepend=0.0) / 2
    fitted = []
    for low, high in itertools.pairwise(edges):
        inside = (middles > low) & (middles < high)
        by_cone = cells[:, inside].sum(axis=(0, 2))
        within = np.cumsum(cells[:, inside].sum(axis=1), axis=1)
        # What leaves the table's largest sphere is left farther away: a point of the curve at infinity.
        within = np.append(within, within[:, -1:] * beyond[:, None], axis=1)
        slopes, weights = _exponentials(np.append(table.radii_cm, np.inf), within, terms, slope_range)
        fitted.append((float(by_cone @ np.cos(np.deg2rad(middles[inside])) / by_cone.sum()), slopes, weights))
    scale = totals / sum(weights.sum(axis=1) for _, _, weights in fitted)
    shares = np.array([weights.mean(axis=0).sum() for _, _, weights in fitted])
    cosines = np.array([cosine for cosine, _, _ in fitted])
    turns = _turns(shares, cosines, np.array(edges))
    return tuple(
        Ring(cosine, count, slopes, weights * scale[:, None], float(turn))
        for (cosine, slopes, weights), count, turn in zip(fitted, counts, turns, strict=True)
    )


def _turns(shares: Float, cosines: Float, edges_deg: Float) -> Float:
    """Relative growth of the energy per solid angle with the polar angle at each ring, 1/rad.

    Scaled so that turning the kernel by a small angle turns the mean direction of its energy by that angle.
    """
    solid_angle = -np.diff(np.cos(np.deg2rad(edges_deg)))
    polar = np.arccos(cosines)
    growth = np.gradient(np.log(np.maximum(shares / solid_angle, 1e-12)), polar)
    sine = np.sqrt(1.0 - cosines**2)
    turned = -0.5 * float(np.sum(shares * growth * sine))
    scaled: Float = growth * (float(shares @ cosines) / turned)
    return scaled


def _exponentials(radii: Float, within: Float, terms: int, slope_range: tuple[float, float]) -> tuple[Float, Float]:
    """Slopes (terms) and weights (kernel, terms) for the cumulated energy `within` (kernel, radius).

    A weight may be negative: energy along a ring first rises or stays and then falls.
    """
    # Relative to the root: small radii count, and so does the whole.
    trust = 1.0 / np.sqrt(within.mean(axis=0) * within.mean(axis=0)[-1])

    def weights_of(slopes: Float) -> tuple[Float, Float]:
        basis = 1.0 - np.exp(-np.outer(radii, slopes))
        weights = np.linalg.lstsq(basis * trust[:, None], (within * trust).T, rcond=None)[0].T
        return weights, ((weights @ basis.T - within) * trust).ravel()

    def slopes_of(place: Float) -> Float:
        slopes: Float = np.exp(place[0]) * np.cumprod(np.append(1.0, LEAST_RATIO + np.exp(place[1:])))
        return slopes

    low, high = np.log(slope_range)
    firsts = np.linspace(low, high, 12)[:-1]
    starts = [np.array(p) for p in itertools.product(firsts, *[np.log([0.1, 0.5, 2.0, 8.0])] * (terms - 1))]

    def misses(place: Float) -> Float:
        return weights_of(slopes_of(place))[1]

    start = min(starts, key=lambda place: float(np.sum(misses(place) ** 2)))
    found = optimize.least_squares(misses, start, x_scale=0.1)
    slopes = slopes_of(found.x)
    return slopes, weights_of(slopes)[0]

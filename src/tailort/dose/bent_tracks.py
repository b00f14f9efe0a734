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

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.dose.cones import Cones

Float = NDArray[np.float64]
# An array (k, j, i) of float32, in the memory of the host or of a device.
Values = Any
# Energy that each of some cones leaves: (soft, hard or None, electron density, *cones), as
# `tailort.dose.cones.transport` without flow.
Carry = Callable[..., list[Values]]

# Lengths in radii over which 1/density is averaged; how much is spread; and how far, in radii.
SHORT, LONG = 0.129, 1.5
STRENGTH, REACH = 0.233, 1.135
# Directions across the beam.
DIRECTIONS = 8
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


def _along(axis: Float, slope: float, part: int = 0) -> Cones:
    """The beam's direction, for soft (part 0) or hard energy."""
    weights = np.zeros((1, 2, 1))
    weights[0, part] = 1.0
    along = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    return Cones(along[None], np.array([[slope]]), weights, np.eye(3)[:2], np.zeros((1, 2, 1)))


def _across(axis: Float, slope: float) -> Cones:
    """Directions across the beam."""
    along = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    first = np.cross(along, np.eye(3)[np.argmin(np.abs(along))])
    first /= np.linalg.norm(first)
    turn = 2 * np.pi * (np.arange(DIRECTIONS) + 0.25) / DIRECTIONS
    directions = np.outer(np.cos(turn), first) + np.outer(np.sin(turn), np.cross(along, first))
    weights = np.zeros((DIRECTIONS, 2, 1))
    weights[:, 0] = 1.0 / DIRECTIONS
    turns = np.zeros((DIRECTIONS, 2, 1))
    return Cones(directions, np.full((DIRECTIONS, 1), slope), weights, np.eye(3)[:2], turns)

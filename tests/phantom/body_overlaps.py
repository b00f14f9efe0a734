"""Organs of a virtual body that lie in one another."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import combinations

import numpy as np

from tailort.phantom.anatomy import Body
from tailort.phantom.shapes import Lattice

WHOLE = ("External", "Skin", "Lungs")


def overlaps(body: Body, nested: Collection[frozenset[str]]) -> Iterator[tuple[str, str, float]]:
    """Yield the pairs of organs that share more than half a millimetre of depth, and the plane where they do.

    Parameters
    ----------
    body : Body
        Whose organs; those that hold others by their nature are passed over.
    nested : collection of frozenset of str
        Pairs of which one lies in the other.
    """
    x, y = np.arange(-190, 191, 2.0)[None, :], np.arange(-140, 141, 2.0)[:, None]
    for z in np.arange(body.z_limits[0] + 1, body.z_limits[1], 11.0):
        deep: dict[str, np.ndarray] = {}
        at = Lattice(x, y, float(z))
        for name, (_, shapes) in body.organs.items():
            if name in WHOLE:
                continue
            for shape in shapes:
                found = at.near(shape, 0.0)
                if found is not None:
                    rows, columns, field = found
                    deep.setdefault(name, np.zeros((y.size, x.size), dtype=bool))[rows, columns] |= field < -0.5
        for a, b in combinations(deep, 2):
            if frozenset((a, b)) not in nested and (deep[a] & deep[b]).any():
                yield a, b, float(z)

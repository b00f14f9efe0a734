"""A metastasis of one vertebra that grows into the spinal canal, by grade of epidural compression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from tailort.phantom import parameters as p
from tailort.phantom.anatomy.region import Region
from tailort.phantom.anatomy.spine import Spine, Vertebra
from tailort.phantom.shapes import (
    EVERYWHERE,
    Array,
    Column,
    Cut,
    Ellipsoid,
    Grown,
    Lattice,
    Minus,
    Shape,
    Union,
    inside,
)

Bilsky = Literal["0", "1a", "1b", "1c", "2", "3"]
BILSKY: tuple[Bilsky, ...] = ("0", "1a", "1b", "1c", "2", "3")
"""Epidural spinal cord compression, order of rule KO-30."""
SECTORS = ("body", "PedL", "LamL", "SP", "LamR", "PedR")
"""The six sectors of a vertebra in their ring (rules KO-51, KO-52); Lam with the transverse process."""


@dataclass(frozen=True, eq=False)
class Metastasis(Region):
    """Tumour in a vertebral body and in the canal behind it, and the cord and thecal sac that it leaves.

    Parameters
    ----------
    spine : Spine
        The column.
    vertebra : str
        TG-263 name of the vertebra.
    bilsky : str
        Grade of the epidural part.
    share : float
        Of the body's width that the tumour takes, 0.5 to 0.95.
    side : int
        1 left, -1 right: where most of it lies.
    pedicle : bool
        Whether the pedicle of that side is involved.

    References
    ----------
    Bilsky, Laufer, Fourney et al. 2010, doi:10.3171/2010.3.SPINE09459: grades of epidural compression.
    """

    spine: Spine
    vertebra: str
    bilsky: Bilsky
    share: float
    side: int
    pedicle: bool

    @cached_property
    def level(self) -> Vertebra:
        """The vertebra."""
        return self.spine.vertebra(self.vertebra)

    @property
    def half_length(self) -> float:
        """Of the epidural part along the canal, mm."""
        return 0.6 * (self.level.top - self.level.bottom)

    def sectors(self, name: str) -> dict[str, Shape]:
        """The six sectors of a vertebra, which share no room and leave none of it over.

        The joint, where pedicle, lamina and transverse process meet, goes with the latter two.
        """
        vertebra, canal = self.spine.vertebra(name), self.spine.canal
        body = self.spine.body(vertebra.top, vertebra.bottom)
        right, left, spinous = (
            self.spine.arch(vertebra)[:3],
            self.spine.arch(vertebra)[3:6],
            self.spine.arch(vertebra)[6],
        )
        laminae = {"LamR": Union(right[1:]), "LamL": Union(left[1:])}
        pedicles = {"PedR": right[0], "PedL": left[0]}
        middle = self.spine.x(vertebra.middle)

        def of_side(sign: int) -> Callable[[Lattice], Array]:
            return lambda at: np.broadcast_to(sign * (middle - at.x), at.shape)

        found: dict[str, Shape] = {"body": Minus(body, (canal,))}
        for key, side in (("L", 1), ("R", -1)):
            found[f"Ped{key}"] = Minus(pedicles[f"Ped{key}"], (body, *laminae.values(), canal))
            whole = Minus(laminae[f"Lam{key}"], (body, canal))
            found[f"Lam{key}"] = Cut(whole, of_side(side))
        found["SP"] = Minus(spinous, (body, *pedicles.values(), *laminae.values(), canal))
        return {name: found[name] for name in SECTORS}

    @cached_property
    def in_bone(self) -> Shape:
        """Tumour in the vertebral body, up to its back wall, and in the pedicle."""
        level, spine = self.level, self.spine
        z, height = level.middle, level.top - level.bottom
        a, b = spine.half_width(z), spine.half_depth(z)
        reach = self.share * a
        centre = (spine.x(z) + self.side * (a - reach) * 0.55, spine.y(z) + 0.35 * b, z)
        ball = Ellipsoid(centre, (reach, 0.9 * b, 0.46 * height))
        sectors = self.sectors(self.vertebra)
        parts: list[Shape] = [Cut(ball, inside(sectors["body"]))]
        if self.pedicle:
            parts.append(sectors["PedL" if self.side > 0 else "PedR"])
        return Union(tuple(parts))

    @cached_property
    def thickness_mm(self) -> float:
        """Of the epidural part in the midline at its middle, from the canal's front."""
        z = self.level.middle
        depth, cord = self.spine.canal.front(z), self.spine.cord.front(z)
        to_cord = depth - cord
        return {
            "0": 0.0,
            "1a": 0.65 * p.SAC_MM,
            "1b": 0.5 * (p.SAC_MM + to_cord),
            "1c": to_cord,
            "2": to_cord + 1.9,
            "3": depth,
        }[self.bilsky]

    def _bulge(self, z: float, half: float) -> float:
        return float(np.sqrt(max(1.0 - ((z - self.level.middle) / half) ** 2, 0.0)))

    @cached_property
    def cord(self) -> Column:
        """The cord: as it was, or pushed back and flattened."""
        whole, canal = self.spine.cord, self.spine.canal
        flat = {"2": 0.78, "3": 0.7}.get(self.bilsky, 1.0)

        def depth(z: float) -> float:
            return whole.front(z) * (1 - (1 - flat) * self._bulge(z, self.half_length + 8))

        def middle(z: float) -> float:
            if flat == 1.0:
                return whole.y(z)
            front = canal.y(z) - canal.front(z) + self.thickness_mm * self._bulge(z, self.half_length + 8)
            pushed = front + depth(z) if self.bilsky == "2" else whole.y(z) + 0.8 * self._bulge(z, self.half_length + 8)
            return max(whole.y(z), pushed)

        return Column(whole.z_range, whole.x, middle, whole.half_width, depth, depth)

    @cached_property
    def epidural(self) -> Shape | None:
        """Tumour in the canal, clear of the cord; None for grade 0."""
        if self.bilsky == "0":
            return None
        canal, half, z0 = self.spine.canal, self.half_length, self.level.middle

        def from_the_front(at: Lattice) -> Array:
            x = at.x - self.spine.x(at.z) - 1.5 * self.side
            width = canal.half_width(at.z)
            thick = self.thickness_mm * self._bulge(at.z, half) - 1.2 * (x / width) ** 2
            field: Array = at.y - (canal.y(at.z) - canal.front(at.z) + thick)
            return field

        def all_around(at: Lattice) -> Array:
            field: Array = -at.field(canal) - 1.15 * canal.half_width(at.z) * self._bulge(at.z, half)
            return field

        keep = all_around if self.bilsky == "3" else from_the_front
        return Minus(Cut(canal, keep, (z0 - half, z0 + half)), (self.cord,))

    @cached_property
    def solid(self) -> Shape:
        """GTV: the tumour in bone and canal."""
        return self.in_bone if self.epidural is None else Union((self.in_bone, self.epidural))

    @cached_property
    def sac(self) -> Shape:
        """Thecal sac with cord and cerebrospinal fluid, dented by the tumour."""
        whole = Cut(Grown(self.spine.canal, -p.SAC_MM), limits=EVERYWHERE)
        return whole if self.epidural is None else Minus(whole, (self.epidural,))

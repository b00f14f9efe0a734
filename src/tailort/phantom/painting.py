"""A virtual patient for dose painting: planning CT, FDG PET and hypoxia PET, and the tumour's true biology.

The PETs show the true uptake blurred and noisy; radiosensitivity follows the uptake only in part, see `tumour_biology`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from tailort.errors import InputError
from tailort.geometry import Grid, Image, Transform, interpolate
from tailort.patient import Person
from tailort.phantom import pet, truth
from tailort.phantom.anatomy import Anatomy
from tailort.phantom.modalities import placed
from tailort.phantom.parameters import Level
from tailort.phantom.pet import BLOOD_SUV, FDG, FMISO, TRACERS, PetScan, centres
from tailort.phantom.scans import uid
from tailort.phantom.shapes import Lattice, Shape
from tailort.phantom.tumour_biology import Biology, draw_biology
from tailort.phantom.virtual_patient import Size, VirtualPatient, untreated

Float = NDArray[np.float64]
Session = Literal["planning", "own"]
NAME = "painting"

TRUTH_MM = 2.0
_TRUTH_MARGIN_MM = 4.0
_BLUR_MARGIN_MM = 16.0
_POINTS_MM = 1.5


@dataclass(frozen=True, eq=False)
class PaintingPatient:
    """A patient whose tumour is not the same everywhere.

    Parameters
    ----------
    planning : VirtualPatient
        Planning CT and structures; the record does not tell the PET.
    session : {"planning", "own"}
        Whether the PETs share the planning CT's frame of reference or have one of their own.
    """

    planning: VirtualPatient
    session: Session

    @property
    def body(self) -> Anatomy:
        """The anatomy."""
        return cast(Anatomy, self.planning.anatomy)

    @property
    def person(self) -> Person:
        """As in the planning CT."""
        return self.planning.person

    @cached_property
    def grid(self) -> Grid:
        """Lattice of 2 mm around the tumour, in the planning CT's frame of reference."""
        return self._around(TRUTH_MM, _TRUTH_MARGIN_MM)

    @cached_property
    def tumour_share(self) -> Image:
        """Share of each voxel of `grid` that is tumour: GTVp without the lumen."""
        return Image(self.grid, self._share(self.grid), "1")

    @cached_property
    def biology(self) -> Biology:
        """Uptake, radiosensitivity and cells at every point of the tumour."""
        points = truth.points_in(self.body.oesophagus.tumour, _POINTS_MM) + np.array(self.body.build.offset_mm)
        return draw_biology(self.planning.seed, points, len(points) * _POINTS_MM**3 / 1000.0)

    @cached_property
    def alpha_per_gy(self) -> Image:
        """True alpha of LQ on `grid`, 1/Gy; beyond the tumour it goes on and means nothing."""
        return Image(self.grid, self.biology.alpha(centres(self.grid)), "1/Gy")

    @cached_property
    def clonogens_per_cm3(self) -> Image:
        """True clonogenic cells in 1 cm3 of each voxel of `grid`; 0 beyond the tumour."""
        cells = self.biology.cells_per_cm3(centres(self.grid)) * self.tumour_share.values
        return Image(self.grid, cells, "1/cm3")

    @cached_property
    def true_uptake(self) -> dict[str, Image]:
        """True SUV of the tumour's tissue on `grid` by each tracer, without blur and noise."""
        at = centres(self.grid)
        return {name: Image(self.grid, self._uptake(name, at), "SUV") for name in TRACERS}

    @property
    def maps(self) -> dict[str, NDArray[Any]]:
        """Arrays (k, j, i) of the truth on `grid` with its affine, for `truth_maps.npz`."""
        return {
            "affine": self.grid.affine,
            "tumour_share": self.tumour_share.values.astype(np.float32),
            "alpha_per_gy": self.alpha_per_gy.values.astype(np.float32),
            "clonogens_per_cm3": self.clonogens_per_cm3.values.astype(np.float32),
            "fdg_suv": self.true_uptake[FDG].values.astype(np.float32),
            "fmiso_tumour_to_blood": (self.true_uptake[FMISO].values / BLOOD_SUV[FMISO]).astype(np.float32),
        }

    @cached_property
    def pets(self) -> Mapping[str, PetScan]:
        """The FDG PET and the hypoxia PET by name."""
        return {name: self._scanned(name) for name in TRACERS}

    @cached_property
    def patient(self) -> VirtualPatient:
        """The patient whose record tells what was measured on the PETs."""
        told = {name: self._measured(name) for name in TRACERS}
        date = self.pets[FDG].started.date().isoformat()
        facts = {
            "functional_images": "several",
            "fdg_suv_max": round(told[FDG], 1),
            "suv_quantified": True,
            "fmiso_tumour_to_blood": round(told[FMISO] / BLOOD_SUV[FMISO], 2),
        }
        more = {name: {"value": value, "source": "PET-CT", "date": date} for name, value in facts.items()}
        return replace(self.planning, record=self.planning.record | more)

    @property
    def truth(self) -> dict[str, Any]:
        """What is known of tumour and PETs, as plain values; the maps are `maps`."""
        share = self.tumour_share.values
        return {
            "name": NAME,
            "seed": self.planning.seed,
            "size": self.planning.size,
            "session": self.session,
            "biology": self.biology.describe(),
            "tumour_cm3": round(float(share.sum()) * TRUTH_MM**3 / 1000.0, 4),
            "maps": {
                "file": "truth_maps.npz",
                "frame_of_reference": self.grid.frame_of_reference,
                "shape_kji": list(self.grid.shape),
                "affine": [[float(v) for v in row] for row in self.grid.affine],
                "affine_takes": "index (k, j, i, 1) to the centre of a voxel, x, y, z, LPS mm",
                "arrays": {
                    "tumour_share": "share of the voxel that is GTVp without the lumen",
                    "alpha_per_gy": "alpha of LQ, 1/Gy",
                    "clonogens_per_cm3": "clonogenic cells in the voxel by its whole volume, 1/cm3",
                    "fdg_suv": "true SUV of the tumour's tissue",
                    "fmiso_tumour_to_blood": "true tumour to blood of FMISO",
                },
            },
            "pets": {name: pet.truth for name, pet in self.pets.items()},
        }

    def _measured(self, name: str) -> float:
        """Highest SUV of a PET in voxels that are mostly tumour."""
        suv, place = self.pets[name].suv, self.pets[name].from_planning
        share = interpolate(self.tumour_share, place.inverse().apply(centres(suv.grid)), outside=0.0)
        return float(suv.values[share > 0.5].max())

    def _uptake(self, name: str, points: Float) -> Float:
        return self.biology.fdg(points) if name == FDG else BLOOD_SUV[FMISO] * self.biology.hypoxia(points)

    def _around(self, step_mm: float, margin_mm: float) -> Grid:
        """Lattice around the tumour."""
        tumour, offset = self.body.oesophagus.tumour, np.array(self.body.build.offset_mm)
        points = truth.points_in(tumour, 4.0)
        low = np.append(points.min(axis=0)[:2] - 4.0, tumour.z_range[0]) - margin_mm + offset
        high = np.append(points.max(axis=0)[:2] + 4.0, tumour.z_range[1]) + margin_mm + offset
        shape = np.ceil((high - low)[::-1] / step_mm).astype(int) + 1
        frame = self.planning.scan.image.grid.frame_of_reference
        return Grid.axial(shape, (step_mm,) * 3, np.round(low, 1), frame)

    def _share(self, grid: Grid) -> NDArray[np.float32]:
        """Share of each voxel that is tumour and not lumen."""
        z, y, x = grid.axes_mm()
        dx, dy, dz = self.body.build.offset_mm
        step = grid.spacing_mm[0]
        found = np.zeros(grid.shape, dtype=np.float32)
        quarters = (np.arange(4) - 1.5) * step / 4
        for k, height in enumerate(z - dz):
            for part in height + quarters:
                at = Lattice((x - dx)[None, :], (y - dy)[:, None], float(part))
                tumour, lumen = (_covered(shape, at, step) for shape in
                                 (self.body.oesophagus.tumour, self.body.oesophagus.lumen))  # fmt: skip
                found[k] += 0.25 * tumour * (1.0 - lumen)
        return found

    def _scanned(self, name: str) -> PetScan:
        made_from = f"{NAME}/{self.planning.scan.series_uid}/{self.session}"
        frame = self.planning.scan.image.grid.frame_of_reference
        place = Transform.identity(frame)
        if self.session == "own":
            place = placed(self.planning, "PET", uid(made_from, "frame of reference"))
        box = self._around(TRUTH_MM, _BLUR_MARGIN_MM)
        share = self._share(box)
        uptake = np.zeros(box.shape)
        inside = share > 0
        uptake[inside] = share[inside] * self._uptake(name, centres(box)[inside])
        return pet.scan(self.planning, name, place, Image(box, uptake, "SUV"), f"{made_from}/{name}")


def make(
    seed: int = 0,
    size: Size = "full",
    *,
    session: Session = "planning",
    level: Level | None = None,
    tumour_length_mm: float | None = None,
    wall_thickness_mm: float | None = None,
) -> PaintingPatient:
    """Make a patient for dose painting; the same arguments give the same patient, voxel by voxel.

    Parameters
    ----------
    seed : int
        0 or above.
    size : {"full", "coarse"}
        Of the planning CT; the PETs have voxels of 4 mm.
    session : {"planning", "own"}
        Whether the PETs share the planning CT's frame of reference or have one of their own.
    level, tumour_length_mm, wall_thickness_mm
        As in `phantom.make`.

    Raises
    ------
    InputError
        For an unknown size, session or level, a negative seed, or a tumour outside its limits.
    """
    if session not in ("planning", "own"):
        raise InputError(f"the session of a PET is 'planning' or 'own'; '{session}' is neither")
    return PaintingPatient(untreated(NAME, "PNT", seed, size, level, tumour_length_mm, wall_thickness_mm), session)


def _covered(shape: Shape, at: Lattice, step_mm: float) -> Float:
    """Share of each cell of a plane that lies in a solid."""
    low, high = shape.z_range
    if not low < at.z < high or shape.window(at.z) is None:
        return np.zeros(at.shape)
    found: Float = np.clip(0.5 - at.field(shape) / step_mm, 0.0, 1.0)
    return found

"""What the beam meets: the patient's mass density with bolus and couch, without the air and the things around.

What lies outside the outline is air, whatever the CT shows there (the scanner's own table, clothes, noise), except
structures that are drawn because the beam passes them at treatment: bolus, couch and immobilisation. Their density is
that of the CT, or one that a person gives. The rules are explained in docs/density.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.errors import GeometryError, InputError, MissingStructureError
from tailort.geometry import Grid, Image, PartialVolume, average, partial_volume
from tailort.patient import Structure, StructureSet
from tailort.physics import AIR_G_CM3, DENSEST_G_CM3, DensityTable, density, density_table

# More of the patient than this outside the density table is refused, less is clamped and told, cm3.
MOST_OUTSIDE_TABLE_CM3 = 1.0
# A bolus or a couch of a lower mean density in the CT is not in the CT, g/cm3.
NOT_IN_CT_G_CM3 = 0.05
# What is denser is no air or lung, g/cm3.
TISSUE_G_CM3 = 0.5
# A voxel that overrides fill so far has no density of its own any more.
_WHOLE = 0.999
# Densities are averaged over voxels no wider than this, mm: interfaces stay where they are on a coarse dose grid.
WIDEST_MM = 3.2
# Couch and immobilisation by name, where the file tells no role.
_SUPPORT_NAME = re.compile(r"^(couch|fixation|immobili[sz]ation|tabletop)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class BodyDensity:
    """Mass density of the patient, and what was decided on the way.

    Parameters
    ----------
    image : Image
        On the voxels of the CT, g/cm3.
    outline : (k, j, i) bool
        Voxels of the CT of which the patient's outline holds at least a half.
    notes : tuple of str
        What a reader of the dose must know: included couch and bolus, overrides, CT numbers outside the table.
    """

    image: Image
    outline: NDArray[np.bool_]
    notes: tuple[str, ...]

    def around(self, grid: Grid) -> Image:
        """Mean density on the voxels of a dose grid, carried on as far as there is more than air.

        Couch and bolus beyond the dose grid attenuate the beam too. Voxels wider than `WIDEST_MM` are divided.

        Parameters
        ----------
        grid : Grid
            The dose grid, along the patient's axes.
        """
        dense = np.argwhere(self.image.values > 2 * AIR_G_CM3)
        if len(dense):
            corners = np.stack([dense.min(axis=0) - 0.5, dense.max(axis=0) + 0.5])
            ends = np.sort(grid.to_index(self.image.grid.to_world(corners)), axis=0)
            low = np.minimum(np.floor(ends[0] + 0.5 + 1e-6), 0).astype(int)
            high = np.maximum(np.ceil(ends[1] + 0.5 - 1e-6), grid.shape).astype(int)
            grid = _divided(grid, low, high)
        return average(self.image, grid, outside=AIR_G_CM3)


def _divided(grid: Grid, low: NDArray[np.int64], high: NDArray[np.int64]) -> Grid:
    """Voxels low <= index < high of the lattice of a grid, divided where they are wide."""
    steps = np.array(grid.spacing_mm)
    parts = np.ceil(steps / WIDEST_MM - 1e-6).astype(int)
    k, j, i = (int(n) for n in (high - low) * parts)
    affine = np.array(grid.affine)
    affine[:3, :3] /= parts
    affine[:3, 3] = grid.to_world(low - 0.5 + 0.5 / parts)
    return Grid((k, j, i), affine, grid.frame_of_reference)


def body_density(
    ct: Image,
    structures: StructureSet,
    table: DensityTable | str,
    overrides: Sequence[tuple[str, float]] = (),
) -> BodyDensity:
    """Density of all that the beam meets, on the voxels of the CT.

    Parameters
    ----------
    ct : Image
        HU, along the patient's axes.
    structures : StructureSet
        With the patient's outline; boli (role BOLUS) and couch or immobilisation (role SUPPORT or FIXATION, or named
        so) are included, everything else outside the outline is air.
    table : DensityTable or str
        The scanner's table, or the name of a packaged one.
    overrides : sequence of (str, float)
        Structure and its density, g/cm3. A voxel that a structure fills in part takes the density in part; where two
        overlap, the later one holds.

    Returns
    -------
    BodyDensity
        For `tailort.dose` engines: `.image` as it is, or `.around(grid)` averaged to the voxels of a dose grid.

    Raises
    ------
    MissingStructureError
        When there is no outline, or a structure with an override is not in the case.
    GeometryError
        When such a structure lies outside the CT, or the frames of reference differ.
    InputError
        When a density cannot be, a bolus is not in the CT and has no density, or more than `MOST_OUTSIDE_TABLE_CM3` of
        the patient have CT numbers that the table does not reach.
    """
    ct.grid.require_same_frame(structures.frame_of_reference, "the structure set")
    chosen = density_table(table) if isinstance(table, str) else table
    given = [(_to_override(structures, name, g_cm3), g_cm3) for name, g_cm3 in overrides]
    named = {structure.name for structure, _ in given}
    of_ct = density(ct, chosen).values
    notes: list[str] = []

    # Where the CT tells the density: a voxel that the outline or a bolus touches keeps all that the CT shows in it.
    told = np.zeros(ct.grid.shape, dtype=np.bool_)
    external = outline_of(structures)
    body = _volume(external, ct.grid)
    told[body.block] = body.fractions > 0
    within = body.full() >= 0.5
    notes += _about_ends(external, within, of_ct, ct.grid)
    for structure in _included(structures, named):
        volume = _volume(structure, ct.grid)
        told[volume.block] |= volume.fractions > 0
        notes += _about_included(structure, volume, of_ct)
    values: NDArray[np.float32] = np.where(told, of_ct, np.float32(AIR_G_CM3))
    for structure, g_cm3 in given:
        volume = _volume(structure, ct.grid)
        if not volume.fractions.any():
            raise GeometryError(f"structure '{structure.name}', whose density is given, lies outside the CT")
        values[volume.block] += volume.fractions * (np.float32(g_cm3) - values[volume.block])
        told[volume.block] &= volume.fractions < _WHOLE
        notes.append(
            f"density of '{structure.name}' ({volume.volume_cm3(ct.grid):.1f} cm3) set to {g_cm3:g} g/cm3, "
            "whatever the CT shows"
        )
    notes += _outside_table(ct.values[told], ct.grid, chosen)
    return BodyDensity(Image(ct.grid, values, "g/cm3"), within, tuple(notes))


def outline_of(structures: StructureSet) -> Structure:
    """Return the patient's outline.

    Raises
    ------
    MissingStructureError
        When it is not drawn.
    """
    for structure in structures:
        if structure.role == "EXTERNAL" and not structure.is_empty:
            return structure
    found = structures.find("External")
    if found is None or found.is_empty:
        raise MissingStructureError(
            f"the patient's outline 'External' is needed for the dose and not in the case, which has: "
            f"{', '.join(structures.names) or 'none'}; draw it, or map its name with --names FILE"
        )
    return found


def _to_override(structures: StructureSet, name: str, g_cm3: float) -> Structure:
    if not 0 <= g_cm3 <= DENSEST_G_CM3:
        raise InputError(
            f"a density of {g_cm3:g} g/cm3 for structure '{name}' cannot be; expected 0 to {DENSEST_G_CM3:g} g/cm3"
        )
    found = structures.find(name)
    if found is None or found.is_empty:
        raise MissingStructureError(
            f"structure '{name}', whose density is given, is not in the case, which has: "
            f"{', '.join(structures.names) or 'none'}"
        )
    return found


def _included(structures: StructureSet, overridden: set[str]) -> Iterable[Structure]:
    """Boli and supports that are drawn and whose density is to come from the CT."""
    return (
        s for s in structures if not s.is_empty and s.name not in overridden and (s.role == "BOLUS" or is_support(s))
    )


def is_support(structure: Structure) -> bool:
    """Whether a structure is couch or immobilisation."""
    return structure.role in ("SUPPORT", "FIXATION") or (
        structure.role in ("OTHER", "CONTROL", "AVOIDANCE") and _SUPPORT_NAME.match(structure.name) is not None
    )


def _volume(structure: Structure, grid: Grid) -> PartialVolume:
    return partial_volume(structure.contours, grid, single_slice_thickness_mm=grid.spacing_mm[0])


def _about_ends(
    external: Structure, within: NDArray[np.bool_], of_ct: NDArray[np.float32], grid: Grid
) -> Iterable[str]:
    """Notes on an outline that ends where the CT shows that the body goes on."""
    drawn = np.flatnonzero(within.any(axis=(1, 2)))
    if not len(drawn):
        return
    heights = grid.axes_mm()[0]
    for k, after, side in ((drawn[-1], drawn[-1] + 1, "above"), (drawn[0], drawn[0] - 1, "below")):
        if 0 <= after < len(heights) and np.mean(of_ct[after][within[k]] > TISSUE_G_CM3) > 0.5:
            yield (
                f"outline '{external.name}' ends at z = {heights[k]:.1f} mm, and the CT shows the body {side} it: what "
                "is not outlined is taken as air"
            )


def _about_included(structure: Structure, volume: PartialVolume, of_ct: NDArray[np.float32]) -> list[str]:
    """Notes on a bolus or couch of the CT's own density."""
    weight = float(volume.fractions.sum(dtype=np.float64))
    if weight == 0.0:
        return [f"'{structure.name}' lies outside the CT and is left out of the density"]
    mean = float((volume.fractions * of_ct[volume.block]).sum(dtype=np.float64)) / weight
    if mean >= NOT_IN_CT_G_CM3:
        return [f"'{structure.name}' is included with its density in the CT, {mean:.2f} g/cm3 on average"]
    if structure.role == "BOLUS":
        raise InputError(
            f"bolus '{structure.name}' is air in the CT ({mean:.3f} g/cm3 on average), so its density is unknown; give "
            f'it, for example --density "{structure.name}=1.0"'
        )
    return [
        f"'{structure.name}' is air in the CT ({mean:.3f} g/cm3 on average) and weakens no beam; where it stands at "
        f'treatment, give its density with --density "{structure.name}=..."'
    ]


def _outside_table(hu: NDArray[Any], grid: Grid, table: DensityTable) -> list[str]:
    """Notes on clamped CT numbers; refuses many of them."""
    low, high = table.range_hu
    notes = []
    for outside, side, limit, extreme in ((hu > high, "above", high, np.max), (hu < low, "below", low, np.min)):
        count = int(np.count_nonzero(outside))
        if not count:
            continue
        volume_cm3 = count * grid.voxel_volume_cm3
        is_extreme = "highest" if side == "above" else "lowest"
        found = (
            f"{count} voxels of the patient ({volume_cm3:.2f} cm3) are {side} HU {limit:g}, where density table "
            f"'{table.name}' ends; {is_extreme} HU {float(extreme(hu)):g}"
        )
        if volume_cm3 > MOST_OUTSIDE_TABLE_CM3:
            why = (
                "the CT does not tell the density of metal"
                if side == "above"
                else "no tissue is known to be so light, and the scanned field may cut off the body there"
            )
            raise InputError(
                f'{found}: {why}; outline that part and give its density with --density "NAME=g/cm3", or give a '
                "--density-table that reaches so far"
            )
        g_cm3 = table.density_g_cm3[-1 if side == "above" else 0]
        notes.append(f"{found}; they are taken as {g_cm3:g} g/cm3")
    return notes

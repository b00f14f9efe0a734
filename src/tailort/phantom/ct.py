"""The CT of a virtual body: tissues painted plane by plane with soft edges, then texture and noise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from tailort.geometry import Grid, Image
from tailort.phantom import parameters as p
from tailort.phantom.anatomy import Body
from tailort.phantom.shapes import Array, Column, Grown, Lattice, Shape, Tube, constant

_HU_LIMITS = (-1024, 3071)


def render(anatomy: Body, grid: Grid) -> Image:
    """CT of the body on an axial grid (world LPS mm), int16 HU; the same seed and grid give the same voxels."""
    rng = _rng(anatomy, grid.shape)
    values = np.empty(grid.shape, dtype=np.int16)
    for k, plane in enumerate(_painted(anatomy, grid, rng, grid.spacing_mm[2], p.HU, couch=True)):
        values[k] = noisy(plane, rng)
    return Image(grid, values, "HU")


def tissues(
    anatomy: Body,
    grid: Grid,
    texture_of: tuple[int, int, int],
    soft_mm: float,
    values: Mapping[str, float] = p.HU,
    unit: str = "HU",
) -> Image:
    """Body without couch and noise on an axial grid (world LPS mm), float32.

    Parameters
    ----------
    anatomy, grid : Body, Grid
        What is shown, and where.
    texture_of : (3,) int
        Shape of the grid on which `render` shows the same texture and gas.
    soft_mm : float
        Width of the edges of tissues.
    values : mapping
        Of each tissue of `parameters.HU`: another modality has others.
    unit : str
        Of the values.
    """
    planes = _painted(anatomy, grid, _rng(anatomy, texture_of), soft_mm, values, couch=False)
    return Image(grid, np.stack(list(planes)), unit)


def noisy(plane: Array, rng: np.random.Generator) -> NDArray[np.int16]:
    """Reconstructed slice of a plane of HU."""
    # Little scatter reaches the detectors past the body, so the air around it is quieter.
    quiet = np.where(plane < p.HU["air"] + 1, 0.5, 1.0).astype(np.float32)
    slice_hu = plane + _noise(rng, plane.shape) * quiet
    whole: NDArray[np.int16] = np.clip(np.rint(slice_hu), *_HU_LIMITS).astype(np.int16)
    return whole


def lay_on_couch(plane: Array, x: Array, y: Array, z: float, lowest_y: float) -> None:
    """Paint the couch into a plane of HU wherever there is air.

    Parameters
    ----------
    plane : (m, n) float32
        HU, changed in place.
    x, y : (n,), (m,) float
        Of its columns and rows, LPS mm.
    z : float
        Of the plane.
    lowest_y : float
        Of the patient's back.
    """
    brush = _Plane(x.astype(np.float32)[None, :], y.astype(np.float32)[:, None], z, float(x[1] - x[0]), plane)
    for shape, tissue in _couch_under(lowest_y, (z - 1.0, z + 1.0)):
        brush.paint(_Layer(shape, tissue, over=-930.0 if tissue == p.HU["couch shell"] else np.inf))


def _rng(anatomy: Body, shape: tuple[int, ...]) -> np.random.Generator:
    return np.random.default_rng([anatomy.build.seed, 104729, *shape])


def _painted(
    anatomy: Body, grid: Grid, rng: np.random.Generator, soft_mm: float, values: Mapping[str, float], *, couch: bool
) -> Iterator[Array]:
    """Planes of the body, from the lowest, without noise."""
    z, y, x = grid.axes_mm()
    dx, dy, dz = anatomy.build.offset_mm
    columns = (x - dx).astype(np.float32)[None, :]
    rows = (y - dy).astype(np.float32)[:, None]
    layers = _layers(anatomy, rng, soft_mm, values, couch)
    low, high = np.array([layer.shape.z_range for layer in layers]).T
    for height in z:
        hu = np.full((len(y), len(x)), values["air"], dtype=np.float32)
        plane = _Plane(columns, rows, float(height) - dz, soft_mm, hu)
        for n in np.flatnonzero((low <= plane.at.z) & (plane.at.z <= high)):
            plane.paint(layers[n])
        yield hu


Tissue = float | Callable[[Array, Array, float, Array], Array | float]


@dataclass(frozen=True, eq=False)
class _Layer:
    """A solid with its tissue, laid only over what has fewer HU than `over`."""

    shape: Shape
    tissue: Tissue
    over: float = np.inf


class _Plane:
    """One transverse plane under the brush."""

    def __init__(self, x: Array, y: Array, z: float, pixel_mm: float, hu: Array) -> None:
        self.at, self.pixel, self.hu = Lattice(x, y, z), pixel_mm, hu

    def paint(self, layer: _Layer) -> None:
        """Lay a tissue over what is there; a voxel that is partly covered keeps the rest of its old value."""
        shape, tissue = layer.shape, layer.tissue
        found = self.at.near(shape, self.pixel) if self.at.window(shape) is not None else None
        if found is None:
            return
        rows, columns, field = found
        share = np.clip(0.5 - field / self.pixel, 0.0, 1.0)
        if isinstance(shape, Tube):
            share *= min(1.0, 2.0 * float(shape.radii.min()) / self.pixel)
        target = self.hu[rows, columns]
        if np.isfinite(layer.over):
            share *= target < layer.over
        value = (
            tissue if isinstance(tissue, float) else tissue(self.at.x[:, columns], self.at.y[rows], self.at.z, field)
        )
        target += share * (value - target)


def _noise(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Noise of a reconstructed slice: neighbouring pixels are slightly correlated."""
    white = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 0.7, mode="wrap", truncate=3.0)
    return np.asarray(white * np.float32(p.NOISE_HU / _NOISE_KEPT), dtype=np.float32)


def _kept_by_filter(sigma: float) -> float:
    """Standard deviation that white noise of 1 keeps under a plane Gaussian filter."""
    point = np.zeros((31, 31))
    point[15, 15] = 1.0
    return float(np.sqrt((gaussian_filter(point, sigma, truncate=3.0) ** 2).sum()))


_NOISE_KEPT = _kept_by_filter(0.7)


def _bone(cortical: float, marrow: float, shell_mm: float) -> Tissue:
    def tissue(x: Array, y: Array, z: float, field: Array) -> Array:
        deep = np.clip((-field - shell_mm) / 1.2 + 0.5, 0.0, 1.0)
        hu: Array = cortical + (marrow - cortical) * deep
        return hu

    return tissue


def _layers(a: Body, rng: np.random.Generator, pixel_mm: float, hu: Mapping[str, float], couch: bool) -> list[_Layer]:
    """Every tissue in the order of painting: what comes later lies on top."""
    texture = _Texture(rng)
    stomach_level = a.sy * -14.0
    gas = [(float(rng.uniform(-260, -215)) * a.sz, float(rng.uniform(6, 16))) for _ in range(6)]

    def fat(x: Array, y: Array, z: float, field: Array) -> Array:
        return hu["fat"] + 0.25 * texture.at(x, y, z)

    def skin_and_fat(x: Array, y: Array, z: float, field: Array) -> Array:
        outer = np.clip((field + p.SKIN_DRAWN_MM) / 1.0 + 0.5, 0, 1)
        under = fat(x, y, z, field)
        return under + outer * (hu["skin"] - under)

    def muscle(x: Array, y: Array, z: float, field: Array) -> Array:
        # Thin fat planes between the layers of the chest wall and the back.
        streak = np.clip(texture.at(x, y, z) / p.LUNG_TEXTURE_HU - 1.35, 0, 1.2)
        planes: Array = hu["muscle"] + hu["streak"] * streak
        return planes

    def lung(x: Array, y: Array, z: float, field: Array) -> Array:
        density: Array = hu["lung"] + p.LUNG_GRADIENT_HU_PER_MM * y + texture.at(x, y, z)
        return density

    def lumen(x: Array, y: Array, z: float, field: Array) -> float:
        air = np.sin(z / (17.0 * a.sz) + a.build.seed) + 0.6 * np.sin(z / (7.3 * a.sz) + 2.0 * a.build.seed)
        share = float(np.clip(1.5 * air - 0.2, 0, 1))
        return hu["mucus"] + share * (hu["swallowed air"] - hu["mucus"])

    def peritoneum(x: Array, y: Array, z: float, field: Array) -> Array:
        rim = np.clip((field + 1.5) / 1.0 + 0.5, 0, 1)
        hu_here: Array = hu["mediastinal fat"] + (hu["muscle"] - hu["mediastinal fat"]) * rim
        return hu_here

    def stomach(x: Array, y: Array, z: float, field: Array) -> Array:
        content = np.where(y < stomach_level, np.float32(hu["gas"]), np.float32(hu["stomach fluid"]))
        return np.where(field > -3.5, np.float32(hu["stomach wall"]), content)

    def bowel(x: Array, y: Array, z: float, field: Array) -> Array:
        inside = texture.at(x, y, z) * 0.4 + hu["bowel"]
        gassy = min(abs(z - at) / reach for at, reach in gas)
        bubble = (field < -4.5) & (y < -52 * a.sy) if gassy < 1 else np.zeros(field.shape, dtype=bool)
        return np.where(bubble, np.float32(hu["gas"]), inside)

    def heart(x: Array, y: Array, z: float, field: Array) -> Array:
        wall: Array = hu["heart"] - 5.0 * np.clip((-field - 11.0) / 3.0, 0, 1)
        return wall

    thin = _bone(hu["cortical"], hu["marrow"], 1.3)
    rib = _bone(hu["rib cortical"], hu["rib marrow"], 1.1)
    brim = (a.z_limits[0] - 1, a.z_limits[1] + 1)

    before: list[tuple[Shape, Tissue]] = [
        *(_couch(a, brim) if couch else ()),
        (a.surface.external, skin_and_fat),
        *((g, hu["gland"]) for g in a.surface.breast_glands),
        (a.surface.muscle_outline, muscle),
        (a.neck.neck_fat, fat),
        *((f, fat) for f in a.neck.fat_pads),
        *((m, hu["muscle"]) for m in a.neck.neck_muscles),
        (a.surface.cavity, hu["mediastinal fat"]),
        (a.abdomen.room, peritoneum),
        (a.abdomen.diaphragm, hu["muscle"]),
        (a.spine.paraspinal, _around_spine(a, hu)),
        (a.lungs.both, lung),
    ]
    after: list[tuple[Shape, Tissue]] = [
        *((m, hu["muscle"]) for m in a.abdomen.crura_and_psoas),
        *((v, hu["blood"]) for v in a.veins.great_veins),
        (a.veins.cava_inferior, hu["blood"]),
        (Grown(a.heart.pericardium, -0.6), hu["soft tissue"]),
        (Grown(a.heart.pericardium, -1.6), hu["mediastinal fat"]),
        (a.heart.organ, heart),
        *((v, hu["blood"]) for v in a.arteries.pulmonary),
        (a.heart.pulmonary_veins, hu["blood"]),
        (a.arteries.aorta, hu["blood"]),
        (a.arteries.brachiocephalic, hu["blood"]),
        *((v, hu["blood"]) for v in a.arteries.carotids.values()),
        *((v, hu["blood"]) for v in a.arteries.subclavian),
        (a.veins.azygos, hu["blood"]),
        (a.arteries.celiac, hu["blood"]),
        *((t, hu["thyroid"]) for t in a.neck.thyroid),
        (a.abdomen.liver, hu["liver"]),
        (a.abdomen.gallbladder, hu["bile"]),
        (a.abdomen.spleen, hu["spleen"]),
        *((k, hu["kidney"]) for k in a.abdomen.kidneys.values()),
        *((s, hu["renal sinus"]) for s in a.abdomen.renal_sinuses),
        (a.abdomen.bowel, bowel),
        (a.abdomen.stomach, stomach),
        (a.neck.pharynx, hu["muscle"]),
        (a.neck.pharynx_air, hu["air"]),
        (a.neck.larynx, hu["soft tissue"]),
        (a.neck.laryngeal_cartilage, hu["thyroid cartilage"]),
        (a.neck.larynx_air, hu["air"]),
        (a.airways.wall, hu["airway wall"]),
        (a.oesophagus.organ, hu["oesophagus"]),
        (a.oesophagus.tumour, hu["tumour"]),
        (a.oesophagus.lumen, lumen),
        (a.airways.lumen, hu["air"] + 5.0),
        (a.node.solid, hu["node"]),
        *((c, hu["cartilage"]) for c in a.chest_wall.cartilages),
        *((r, rib) for r in a.chest_wall.ribs),
        *((s, rib) for s in a.chest_wall.scapulae),
        (a.chest_wall.sternum, _bone(hu["rib cortical"], hu["marrow"], 1.4)),
        *((c, thin) for c in a.chest_wall.clavicles.values()),
        *((d, hu["disc"]) for d in a.spine.discs),
        *((v, thin) for v in a.spine.bones.values()),
        (a.spine.canal, hu["mediastinal fat"]),
        (Grown(a.spine.canal, -2.0), hu["csf"]),
        (a.spine.cord, hu["cord"]),
        *((j, _bone(hu["jaw"], hu["marrow"], 2.0)) for j in a.neck.jaw),
        *((t, hu["tooth"]) for t in a.neck.teeth),
        *((shape, hu[tissue]) for shape, tissue in a.additions),
    ]
    visible = [vessel for vessel in a.lungs.trees if vessel.radii.max() > pixel_mm / 3]
    in_lung = [_Layer(vessel, hu["lung vessel"], over=-500.0) for vessel in visible]
    return [*(_Layer(*pair) for pair in before), *in_lung, *(_Layer(*pair) for pair in after)]


def _around_spine(a: Body, values: Mapping[str, float]) -> Tissue:
    def tissue(x: Array, y: Array, z: float, field: Array) -> Array:
        behind = np.clip((y - a.spine.front_y(z) - 3.0) / 6.0, 0, 1)
        hu: Array = values["mediastinal fat"] + (values["muscle"] - values["mediastinal fat"]) * (behind + 0 * x)
        return hu

    return tissue


def _couch(a: Body, z_range: tuple[float, float]) -> list[tuple[Shape, Tissue]]:
    """A carbon-fibre table top under the patient, outside of the body."""
    trunk = a.surface.muscle_outline
    lowest = max(trunk.y(z) + trunk.back(z) + a.surface.fat(z) for z in np.linspace(*z_range, 120))
    return _couch_under(lowest, z_range)


def _couch_under(lowest: float, z_range: tuple[float, float]) -> list[tuple[Shape, Tissue]]:
    half_width, half_depth = 235.0, 17.0
    centre = constant(lowest + 3.0 + half_depth)
    top = Column(z_range, constant(0.0), centre, constant(half_width), constant(half_depth), constant(half_depth), 8.0)
    return [(top, p.HU["couch shell"]), (Grown(top, -2.5), p.HU["couch core"])]


class _Texture:
    """A smooth random field in space, mean 0, standard deviation `LUNG_TEXTURE_HU`."""

    _STEP_MM = 2.5
    _PERIOD = 96

    def __init__(self, rng: np.random.Generator) -> None:
        block = gaussian_filter(rng.standard_normal((self._PERIOD,) * 3, dtype=np.float32), 0.8, mode="wrap")
        self._block = block * np.float32(p.LUNG_TEXTURE_HU / block.std())

    def at(self, x: Array, y: Array, z: float) -> Array:
        """Value at columns x and rows y of plane z, linear in between."""
        k = int(np.floor(z / self._STEP_MM)) % self._PERIOD
        plane = self._block[k]
        (i0, fi), (j0, fj) = self._place(x[0]), self._place(y[:, 0])
        i1, j1 = (i0 + 1) % self._PERIOD, (j0 + 1) % self._PERIOD
        along = plane[:, i0] * (1 - fi) + plane[:, i1] * fi
        value: Array = along[j0] * (1 - fj[:, None]) + along[j1] * fj[:, None]
        return value

    def _place(self, at: Array) -> tuple[NDArray[np.int64], Array]:
        index = at / np.float32(self._STEP_MM)
        whole = np.floor(index)
        return whole.astype(np.int64) % self._PERIOD, index - whole

"""PETs of a virtual patient: true uptake of every tissue, blurred by the scanner, with the noise of counting."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from tailort.geometry import Grid, Image, Transform, interpolate
from tailort.patient import Scan
from tailort.phantom import ct, parameters
from tailort.phantom.anatomy import Body
from tailort.phantom.scans import PET_IMAGE_STORAGE, scan_of
from tailort.phantom.virtual_patient import Size, VirtualPatient

Float = NDArray[np.float64]
FDG, FMISO = "pet_fdg", "pet_fmiso"
TRACERS = {FDG: "Fluorodeoxyglucose F18", FMISO: "Fluoromisonidazole F18"}

# The PETs: invented, of the size that texts on PET-CT give.
BLUR_MM = 6.0
"""Full width at half maximum of the point spread, voxels included."""
VOXEL_MM = 4.0
NOISE_SHARE, NOISE_AT_SUV, NOISE_FLOOR_SUV = 0.08, 2.0, 0.2
"""Standard deviation is this share at this SUV; its square grows with the SUV, and with the floor under it."""
BLOOD_SUV = {FDG: 1.6, FMISO: 1.2}
HALF_LIFE_S = 6586.2
INJECTED_BQ_PER_KG = {FDG: 4.0e6, FMISO: 5.0e6}
UPTAKE_MINUTES = {FDG: 60, FMISO: 180}
# The hypoxia PET is made on the day after: what is left of the first tracer would be seen.
_GIVEN_AFTER = {FDG: dt.timedelta(hours=9, minutes=12), FMISO: dt.timedelta(days=1, hours=8, minutes=12)}
NODE_SUV = {FDG: 5.0, FMISO: 1.3}
_NOISE_VOXELS = 0.6
# The body is painted in thousandths of SUV: the texture of tissue is of HU, and so becomes a few hundredths of SUV.
_THOUSANDTH = 1000.0
_BASE_MM: dict[Size, float] = {"full": 2.0, "coarse": 4.0}

# True SUV of tissues by FDG and FMISO, resting, about what texts of nuclear medicine show; none is measured.
_OTHER_SUV = (1.0, 1.1)
_SUV: dict[str, tuple[float, float]] = {
    "air": (0, 0), "gas": (0, 0), "swallowed air": (0, 0), "lung": (0.5, 0.5), "fat": (0.3, 0.3),
    "mediastinal fat": (0.6, 0.6), "renal sinus": (2.0, 2.0), "skin": (0.5, 0.6), "muscle": (0.8, 1.1),
    "streak": (-0.3, -0.4), "blood": (1.6, 1.2), "heart": (3.0, 1.2), "oesophagus": (1.8, 1.2),
    "mucus": (0.6, 0.6), "liver": (2.2, 1.8), "spleen": (1.9, 1.3), "kidney": (3.5, 2.5), "bowel": (1.6, 1.8),
    "stomach wall": (2.0, 1.4), "stomach fluid": (0.3, 0.3), "bile": (0.8, 2.5), "cord": (1.6, 1.1), "csf": (0.4, 0.4),
    "marrow": (1.4, 1.0), "rib marrow": (1.2, 0.9), "cortical": (0.7, 0.6), "rib cortical": (0.7, 0.6),
    "jaw": (0.8, 0.7), "tooth": (0, 0), "staple": (0, 0), "couch shell": (0, 0), "couch core": (0, 0),
    # Added on its own lattice.
    "tumour": (0, 0),
}  # fmt: skip
_COLUMN = {FDG: 0, FMISO: 1}


@dataclass(frozen=True, eq=False)
class PetScan:
    """A PET of a virtual patient with all that an SUV needs.

    Parameters
    ----------
    name : str
        Key of `TRACERS`.
    scan : Scan
        Bq/ml at the start of the scan.
    from_planning : Transform
        Takes points of the planning CT to the PET: rigid and exact.
    injected_bq, weight_kg : float
        Activity when the tracer was given; weight of the patient.
    administered, started : datetime
        Of the tracer, and of the scan.
    """

    name: str
    scan: Scan
    from_planning: Transform
    injected_bq: float
    weight_kg: float
    administered: dt.datetime
    started: dt.datetime

    @property
    def suv_per_bq_ml(self) -> float:
        """SUV by body weight of 1 Bq/ml."""
        return suv_per_bq_ml(self.injected_bq, self.weight_kg, self.administered, self.started)

    @property
    def suv(self) -> Image:
        """The scan in SUV by body weight."""
        values = self.scan.image.values * self.suv_per_bq_ml
        return self.scan.image.with_values(values.astype(np.float32), "SUV")

    @property
    def truth(self) -> dict[str, Any]:
        """How it was made and how it lies, as plain values."""
        table = {tissue: true_suv(self.name, tissue) for tissue in _SUV if tissue != "streak"}
        return {
            "tracer": TRACERS[self.name],
            "injected_bq": self.injected_bq,
            "administered": self.administered.isoformat(),
            "started": self.started.isoformat(),
            "weight_kg": self.weight_kg,
            "suv_per_bq_ml": self.suv_per_bq_ml,
            "blur_mm": BLUR_MM,
            "noise": f"{NOISE_SHARE:g} of SUV {NOISE_AT_SUV:g}; its square grows with SUV + {NOISE_FLOOR_SUV:g}",
            "suv_of_tissues": {**table, "tumour": "see truth_maps.npz", "node": NODE_SUV[self.name]},
            "suv_of_other_tissues": _OTHER_SUV[_COLUMN[self.name]],
            "blood_suv": BLOOD_SUV[self.name],
            "to_frame_of_reference": self.from_planning.to_frame,
            "from_planning": [[float(value) for value in row] for row in self.from_planning.affine],
        }


def scan(patient: VirtualPatient, name: str, place: Transform, tumour: Image, made_from: str) -> PetScan:
    """Scan a patient with a tracer.

    Parameters
    ----------
    patient : VirtualPatient
        At planning; the tracer's activity goes with the weight of his record.
    name : str
        Key of `TRACERS`.
    place : Transform
        From the planning CT's frame of reference to that of the PET, rigid.
    tumour : Image
        True SUV of the tumour by each voxel's whole volume, in the planning CT's frame of reference, with a margin.
    made_from : str
        Everything that the PET is made from.
    """
    true = _blurred(patient, name, place, tumour)
    rng = np.random.default_rng([patient.seed, 122949829, *name.encode()])
    white = gaussian_filter(rng.standard_normal(true.grid.shape, dtype=np.float32), _NOISE_VOXELS, mode="wrap")
    # No activity is below 0.
    suv = np.clip(true.values + noise_suv(true.values) * white / white.std(), 0.0, None)
    weight = float(patient.record["weight_kg"]["value"])
    day = dt.datetime.fromisoformat(patient.record["weight_kg"]["date"])
    administered = day + _GIVEN_AFTER[name]
    started = administered + dt.timedelta(minutes=UPTAKE_MINUTES[name])
    injected = round(INJECTED_BQ_PER_KG[name] * weight, -4)
    activity = suv / suv_per_bq_ml(injected, weight, administered, started)
    image = true.with_values(np.asarray(activity, dtype=np.float32), "Bq/ml")
    told = f"Virtual patient {patient.name}, seed {patient.seed}, {TRACERS[name]}"
    series = scan_of(image, made_from, told, "PT", PET_IMAGE_STORAGE)
    return PetScan(name, series, place, injected, weight, administered, started)


def noise_suv(suv: Float) -> Float:
    """Standard deviation of the noise of a voxel of a true SUV."""
    growing = np.sqrt((suv + NOISE_FLOOR_SUV) / (NOISE_AT_SUV + NOISE_FLOOR_SUV))
    found: Float = NOISE_SHARE * NOISE_AT_SUV * growing
    return found


def suv_per_bq_ml(injected_bq: float, weight_kg: float, administered: dt.datetime, started: dt.datetime) -> float:
    """SUV by body weight of 1 Bq/ml at the start of a scan."""
    half_lives = (started - administered).total_seconds() / HALF_LIFE_S
    return float(1000.0 * weight_kg / (injected_bq * 2.0**-half_lives))


def _blurred(patient: VirtualPatient, name: str, place: Transform, tumour: Image) -> Image:
    """True SUV seen by a scanner without noise, on the grid of the PET."""
    planned = patient.scan.image.grid
    around = _body_suv(patient.anatomy, planned, name, _BASE_MM[patient.size])
    grid = _grid(planned, place)
    at = place.inverse().apply(centres(grid))
    seen = sum(interpolate(through_scanner(image), at, outside=0.0) for image in (around, tumour))
    return Image(grid, np.asarray(seen), "SUV")


def through_scanner(image: Image) -> Image:
    """Values as the scanner blurs them."""
    sigma_mm = BLUR_MM / np.sqrt(8.0 * np.log(2.0))
    return image.with_values(gaussian_filter(image.values, [sigma_mm / step for step in image.grid.spacing_mm]))


def _body_suv(body: Body, planned: Grid, name: str, step_mm: float) -> Image:
    """True SUV of all tissue but the tumour over the extent of the planning CT."""
    low, high = planned.faces_mm()
    shape = np.floor((high - low)[::-1] / step_mm).astype(int)
    base = Grid.axial(shape, (step_mm,) * 3, low + 0.5 * step_mm, planned.frame_of_reference)
    table = {tissue: _THOUSANDTH * true_suv(name, tissue) for tissue in parameters.HU}
    still = ct.tissues(body, base, planned.shape, step_mm, table, "1")
    return Image(base, np.clip(still.values, 0.0, None) / _THOUSANDTH, "SUV")


def true_suv(name: str, tissue: str) -> float:
    """SUV by a tracer of a tissue of `parameters.HU`; 0 for the tumour, which is laid on top."""
    return NODE_SUV[name] if tissue == "node" else float(_SUV.get(tissue, _OTHER_SUV)[_COLUMN[name]])


def _grid(planned: Grid, place: Transform) -> Grid:
    """Voxels of 4 mm over the planning CT's extent."""
    low, high = planned.faces_mm()
    middle = 0.5 * (low + high)
    shape = np.floor((high - low)[::-1] / VOXEL_MM).astype(int)
    first = low + 0.5 * VOXEL_MM + np.round(place.apply(middle) - middle, 1)
    return Grid.axial(shape, (VOXEL_MM,) * 3, first, place.to_frame)


def centres(grid: Grid) -> Float:
    """Centre (k, j, i, 3) of every voxel of an axial grid, LPS mm."""
    z, y, x = grid.axes_mm()
    zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
    return np.stack([xx, yy, zz], axis=-1)

"""Further scans of a virtual patient: MR without and with contrast medium, and a CT after contrast in the thecal sac.

Tissues are those of the CT, each with the value that the modality shows of it; the patient lies a little otherwise, and
how is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from tailort.geometry import Grid, Image, Transform
from tailort.patient import Scan
from tailort.phantom import ct, parameters, warped
from tailort.phantom.scans import MR_IMAGE_STORAGE, scan_of, uid
from tailort.phantom.virtual_patient import Size, VirtualPatient

T1, T2, T1_CONTRAST, MYELOGRAM = "mr_t1", "mr_t2", "mr_t1_contrast", "ct_myelogram"
SESSIONS: dict[str, tuple[str, ...]] = {"MR": (T1, T2, T1_CONTRAST), "myelogram": (MYELOGRAM,)}
"""Scans by the session in which they are made: those of one session share a frame of reference."""
DESCRIPTIONS = {T1: "T1", T2: "T2", T1_CONTRAST: "T1 with contrast medium", MYELOGRAM: "CT myelogram"}

# Signal of tissues, fat in T1 near 800; between grey and white as texts of radiology show them, none is measured.
_SIGNALS: dict[str, tuple[float, float, float]] = {
    # tissue: T1, T2, T1 with contrast medium
    "air": (0, 0, 0), "gas": (0, 0, 0), "swallowed air": (0, 0, 0), "lung": (60, 60, 60), "lung vessel": (90, 60, 300),
    "fat": (800, 620, 800), "mediastinal fat": (780, 600, 790), "renal sinus": (700, 560, 720), "skin": (320, 200, 380),
    "muscle": (300, 130, 330), "streak": (280, 250, 270), "soft tissue": (300, 210, 340), "gland": (340, 300, 420),
    "blood": (90, 60, 620), "heart": (290, 190, 480), "airway wall": (280, 180, 340), "oesophagus": (300, 230, 380),
    "mucus": (220, 650, 230), "tumour": (230, 470, 560), "node": (270, 420, 480), "liver": (380, 140, 520),
    "spleen": (260, 330, 520), "kidney": (300, 380, 640), "stomach wall": (300, 220, 420), "bile": (180, 820, 190),
    "stomach fluid": (170, 800, 180), "bowel": (280, 380, 340), "cord": (390, 310, 400), "csf": (130, 900, 140),
    "disc": (320, 480, 330), "cortical": (40, 30, 40), "rib cortical": (40, 30, 40), "marrow": (470, 330, 500),
    "rib marrow": (460, 330, 490), "jaw": (40, 30, 40), "tooth": (10, 10, 10), "cartilage": (250, 180, 270),
    "thyroid": (350, 330, 620), "thyroid cartilage": (240, 170, 260), "staple": (0, 0, 0),
    "mixed metastasis": (200, 380, 460), "blastic metastasis": (110, 120, 200),
}  # fmt: skip
_COLUMN = {T1: 0, T2: 1, T1_CONTRAST: 2}
_CONTRAST_IN_SAC_HU = 420.0
_NOISE = 14.0
_BIAS = 0.15
_SPACING_MM: dict[Size, tuple[float, float, float]] = {"full": (3.0, 1.0, 1.0), "coarse": (3.0, 2.0, 2.0)}
_FIELD_MM = 256.0
_TURN_DEGREES, _SHIFT_MM = (0.5, 2.0), 5.0


@dataclass(frozen=True, eq=False)
class FurtherScan:
    """Another scan of a patient and how it lies.

    Parameters
    ----------
    name : str
        Key of `DESCRIPTIONS`.
    scan : Scan
        Image, with its own UIDs.
    from_today : Transform
        Takes points of today's planning CT to the scan: rigid and exact.
    """

    name: str
    scan: Scan
    from_today: Transform

    @property
    def truth(self) -> dict[str, Any]:
        """How it lies, as plain values."""
        return {
            "from_frame_of_reference": self.from_today.from_frame,
            "to_frame_of_reference": self.from_today.to_frame,
            "from_today": [[float(value) for value in row] for row in self.from_today.affine],
        }


def further_scans(patient: VirtualPatient) -> tuple[FurtherScan, ...]:
    """T1, T2 and T1 with contrast medium in one frame of reference, and a CT myelogram in another one.

    The same patient gives the same scans, voxel by voxel.

    Parameters
    ----------
    patient : VirtualPatient
        Scans reach as far along the body as his CT and 128 mm to all sides of its middle.
    """
    found = []
    for session, names in SESSIONS.items():
        made_from = f"{session}/{patient.scan.series_uid}"
        place = placed(patient, session, uid(made_from, "frame of reference"))
        for name in names:
            grid = _grid(patient, place)
            values = _myelogram(patient, grid, place) if name == MYELOGRAM else _magnetic(patient, grid, place, name)
            told = f"Virtual patient {patient.name}, seed {patient.seed}, {DESCRIPTIONS[name]}"
            kind = {} if name == MYELOGRAM else {"modality": "MR", "sop_class_uid": MR_IMAGE_STORAGE}
            found.append(FurtherScan(name, scan_of(values, f"{made_from}/{name}", told, **kind), place))
    return tuple(found)


def _rng(patient: VirtualPatient, what: str) -> np.random.Generator:
    return np.random.default_rng([patient.seed, 479001599, *what.encode()])


def placed(patient: VirtualPatient, session: str, frame: str) -> Transform:
    """Small turn about the middle of today's scan, and shift, of a session with its own frame of reference."""
    rng = _rng(patient, session)
    way = rng.normal(size=3)
    turn = Rotation.from_rotvec(way / np.linalg.norm(way) * rng.uniform(*_TURN_DEGREES), degrees=True).as_matrix()
    middle = 0.5 * np.sum(patient.scan.image.grid.faces_mm(), axis=0)
    affine = np.eye(4)
    affine[:3, :3] = turn
    affine[:3, 3] = middle - turn @ middle + rng.uniform(-_SHIFT_MM, _SHIFT_MM, 3)
    return Transform(patient.scan.image.grid.frame_of_reference, frame, affine, 0.0, "drawn")


def _grid(patient: VirtualPatient, place: Transform) -> Grid:
    dz, dy, dx = _SPACING_MM[patient.size]
    low, high = patient.scan.image.grid.faces_mm()
    body = patient.anatomy
    # The field of view is centred on the spine's neighbourhood, and a little shorter than the planning CT.
    z = 0.5 * (low[2] + high[2])
    x, y = body.build.offset_mm[0], body.build.offset_mm[1] + body.surface.cavity.y(z - body.build.offset_mm[2])
    slices, pixels = int((high[2] - low[2]) / dz) - 1, int(_FIELD_MM / dx)
    first = place.apply([x, y, z]) - 0.5 * np.array([(pixels - 1) * dx, (pixels - 1) * dy, (slices - 1) * dz])
    return Grid.axial((slices, pixels, pixels), (dz, dy, dx), np.round(first, 1), place.to_frame)


def _seen(
    patient: VirtualPatient, grid: Grid, place: Transform, values: Mapping[str, float], unit: str
) -> NDArray[np.float32]:
    back = place.inverse().apply
    dz, dy, dx = grid.spacing_mm
    base = warped.around(patient.anatomy, grid, back, (0.5 * dz, dy, dx))
    still = ct.tissues(patient.anatomy, base, patient.scan.image.grid.shape, dx, values, unit)
    return warped.seen(still, grid, back, values["air"])


def _magnetic(patient: VirtualPatient, grid: Grid, place: Transform, name: str) -> Image:
    """Signal of coils that see some places better than others, with the noise of a magnitude image."""
    table = {tissue: float(signals[_COLUMN[name]]) for tissue, signals in _SIGNALS.items()}
    signal = np.clip(_seen(patient, grid, place, table, "1"), 0.0, None)
    rng = _rng(patient, name)
    z, y, x = (axis - axis.mean() for axis in grid.axes_mm())
    wave = rng.uniform(0.6, 1.2, 3) * np.pi / _FIELD_MM
    phase = rng.uniform(0, 2 * np.pi, 3)
    bias = sum(
        np.cos(w * axis + start).reshape(shape)
        for w, axis, start, shape in zip(wave, (x, y, z), phase, ((1, 1, -1), (1, -1, 1), (-1, 1, 1)), strict=True)
    )
    real = signal * (1 + _BIAS / 3 * bias) + rng.normal(0, _NOISE, signal.shape)
    values = np.hypot(real, rng.normal(0, _NOISE, signal.shape))
    return Image(grid, np.rint(values).astype(np.int16), "1")


def _myelogram(patient: VirtualPatient, grid: Grid, place: Transform) -> Image:
    seen = _seen(patient, grid, place, {**parameters.HU, "csf": _CONTRAST_IN_SAC_HU}, "HU")
    rng = _rng(patient, MYELOGRAM)
    return Image(grid, np.stack([ct.noisy(plane, rng) for plane in seen]), "HU")

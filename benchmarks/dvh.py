"""Dose-volume histograms: TailoRT against dicompyler-core, on one analytic case and in one run.

A thorax of 512 x 512 x 120 voxels of 1 x 1 x 3 mm with 12 structures and a dose grid of 2.5 x 2.5 x 3 mm whose slices
are those of the CT. Both get everything in memory; reading and writing files is not counted. Prints wall and
CPU-seconds and peak memory, what the two say of each structure, and with --nelms how far each is from the truth on
solids in linear gradients.

dicompyler-core 0.5.6 needs pydicom below 3, TailoRT needs 3 only to read and write files. So make an environment apart:

    python3.11 -m venv bench && bench/bin/pip install -e . && bench/bin/pip install "pydicom<3" dicompyler-core
    bench/bin/python benchmarks/dvh.py
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tailort.evaluation import histograms
from tailort.geometry import Grid, Image
from tailort.patient import Dose, Structure

FRAME = "1.2.826.0.1.3680043.8.498.2"
SLICES_MM = 3.0 * np.arange(120) - 180.0


def ellipses(name: str, role: str, section: Callable[[float], tuple[float, float, float, float] | None]) -> Structure:
    """Structure of ellipses: z -> centre x, y and half axes, mm; a point every 1.5 mm, as drawn on a CT."""
    contours = []
    for z in SLICES_MM:
        found = section(z)
        if found is None:
            continue
        x, y, a, b = found
        angle = np.linspace(0, 2 * np.pi, max(24, int(2 * np.pi * max(a, b) / 1.5)), endpoint=False)
        contours.append(np.stack([x + a * np.cos(angle), y + b * np.sin(angle), np.full_like(angle, z)], axis=-1))
    return Structure(name, role, tuple(contours), FRAME)


def ellipsoid(x: float, y: float, z0: float, a: float, b: float, c: float) -> Callable[[float], Any]:
    def section(z: float) -> Any:
        s = 1 - ((z - z0) / c) ** 2
        return (x, y, a * s**0.5, b * s**0.5) if s > 0.01 else None

    return section


def tube(y: float, a: float, b: float, low: float, high: float, bend: float = 0.0, x: float = 0.0) -> Callable:
    return lambda z: (x + bend * np.sin(z / 60.0), y + bend * np.cos(z / 80.0), a, b) if low <= z <= high else None


def case() -> tuple[list[Structure], Dose]:
    structures = [
        ellipses("External", "EXTERNAL", lambda z: (0, 0, 180 + 10 * np.sin(z / 90), 115 + 5 * np.cos(z / 70))),
        ellipses("Lung_L", "ORGAN", ellipsoid(80, 0, 0, 60, 80, 130)),
        ellipses("Lung_R", "ORGAN", ellipsoid(-80, 0, 0, 62, 82, 128)),
        ellipses("Heart", "ORGAN", ellipsoid(20, -35, -60, 55, 45, 60)),
        ellipses("SpinalCord", "ORGAN", tube(65, 6, 5, -180, 180, 4)),
        ellipses("Esophagus", "ORGAN", tube(35, 9, 7, -90, 170, 5)),
        ellipses("Trachea", "ORGAN", tube(15, 9, 8, 30, 170)),
        ellipses("A_Aorta", "ORGAN", tube(45, 13, 13, -170, 80, 3, 25)),
        ellipses("Liver", "ORGAN", ellipsoid(-60, -10, -150, 90, 80, 60)),
        ellipses("GTVp", "GTV", ellipsoid(0, 35, 20, 14, 12, 35)),
        ellipses("PTV", "PTV", ellipsoid(0, 35, 20, 24, 22, 60)),
        ellipses("GTVn", "GTV", ellipsoid(-18, 22, 62, 6, 5, 8)),
    ]
    grid = Grid.axial((120, 100, 160), (3.0, 2.5, 2.5), (-198.75, -123.75, -180.0), FRAME)
    z, y, x = np.meshgrid(*grid.axes_mm(), indexing="ij", sparse=True)
    r2 = (x / 1.2) ** 2 + (y - 35) ** 2
    gy = 64 / (1 + np.exp((np.sqrt(r2 + ((z - 20) / 2.2) ** 2) - 32) / 5)) + 14 * np.exp(-r2 / 9000 - (z / 120) ** 2)
    return structures, Dose(Image(grid, gy.astype(np.float32), "Gy"), "physical", "course", 30, None, "formula")


def datasets(structures: list[Structure], dose: Dose) -> tuple[Any, Any]:
    """RTSTRUCT and 32-bit RTDOSE in memory, as dicompyler-core takes them."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    def blank(sop_class: str, modality: str) -> Any:
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.is_little_endian, data.is_implicit_VR = True, False
        data.SOPClassUID, data.SOPInstanceUID, data.Modality = sop_class, generate_uid(), modality
        return data

    rtss = blank("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT")
    rtss.StructureSetROISequence, rtss.ROIContourSequence, rtss.RTROIObservationsSequence = [], [], []
    for number, structure in enumerate(structures, 1):
        roi, drawn, observation = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, structure.name, FRAME
        drawn.ReferencedROINumber, drawn.ROIDisplayColor, drawn.ContourSequence = number, [255, 0, 0], []
        observation.ReferencedROINumber, observation.RTROIInterpretedType = number, structure.role
        for points in structure.contours:
            item = Dataset()
            item.ContourGeometricType, item.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            item.ContourData = [round(v, 4) for v in points.ravel()]
            drawn.ContourSequence.append(item)
        rtss.StructureSetROISequence.append(roi)
        rtss.ROIContourSequence.append(drawn)
        rtss.RTROIObservationsSequence.append(observation)

    grid = dose.image.grid
    rtdose = blank("1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE")
    rtdose.FrameOfReferenceUID = FRAME
    rtdose.NumberOfFrames, rtdose.Rows, rtdose.Columns = grid.shape
    dz, dy, dx = grid.spacing_mm
    rtdose.PixelSpacing = [dy, dx]
    rtdose.ImagePositionPatient = [float(v) for v in grid.origin_mm]
    rtdose.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    rtdose.GridFrameOffsetVector = [dz * k for k in range(grid.shape[0])]
    rtdose.SamplesPerPixel, rtdose.PhotometricInterpretation = 1, "MONOCHROME2"
    rtdose.BitsAllocated = rtdose.BitsStored = 32
    rtdose.HighBit, rtdose.PixelRepresentation = 31, 0
    rtdose.DoseUnits, rtdose.DoseType, rtdose.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    rtdose.DoseGridScaling = 1e-4
    rtdose.PixelData = np.rint(dose.image.values.astype(np.float64) * 1e4).astype("<u4").tobytes()
    return rtss, rtdose


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Result, wall seconds and CPU-seconds of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def speed(dvhcalc: Any) -> None:
    structures, dose = case()
    _, wall, cpu = timed(lambda: histograms(structures[-1:], dose))
    print(f"first call, with compilation or its cache: {wall:.2f} s wall")
    rounds = [timed(lambda: histograms(structures, dose)) for _ in range(3)]
    ours, wall, cpu = min(rounds, key=lambda r: r[2])
    print(f"TailoRT          {wall:8.2f} s wall {cpu:8.2f} s CPU  {peak_gb():.2f} GB peak (best of 3)")

    rtss, rtdose = datasets(structures, dose)
    theirs, their_wall, their_cpu = timed(
        lambda: [dvhcalc.get_dvh(rtss, rtdose, n) for n in range(1, len(structures) + 1)]
    )
    print(f"dicompyler-core  {their_wall:8.2f} s wall {their_cpu:8.2f} s CPU  {peak_gb():.2f} GB peak")
    print(f"times as fast    {their_wall / wall:8.1f}        {their_cpu / cpu:8.1f}")
    print(f"\n{'':12}{'volume cm3':>22}{'mean Gy':>18}{'D95% Gy':>18}{'max Gy':>18}   (TailoRT, dicompyler-core)")
    for structure, other in zip(structures, theirs, strict=True):
        own = ours[structure.name]
        pairs = [
            (own.volume_cm3, other.volume),
            (own.value("Mean[Gy]"), other.mean),
            (own.value("D95%[Gy]"), other.D95.value),
            (own.value("Max[Gy]"), other.max),
        ]
        print(f"{structure.name:12}" + "  ".join(f"{a:10.2f}{b:10.2f}" for a, b in pairs))


def nelms(dvhcalc: Any) -> None:
    """Rows (a solid, a direction, a contour and a dose spacing) with any metric off by more than 3 %."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "evaluation"))
    import nelms_solids as solids

    names = (
        "Volume[cc]",
        "Mean[Gy]",
        "Min[Gy]",
        "Max[Gy]",
        "D99%[Gy]",
        "D95%[Gy]",
        "D5%[Gy]",
        "D1%[Gy]",
        "D0.03cc[Gy]",
    )
    missed = {"TailoRT": 0, "dicompyler-core": 0}
    worst = dict.fromkeys(missed, 0.0)
    rows = 0
    for solid in solids.SOLIDS.values():
        for along in "zy":
            for spacing in (1.0, 2.0, 3.0):
                truth = solids.Truth(solid, along, spacing)
                structure, dose = solids.structure(solid, spacing), solids.dose(along, spacing)
                own = histograms([structure], dose)[structure.name]
                other = dvhcalc.get_dvh(*datasets([structure], dose), 1)
                peer = {
                    "Volume[cc]": other.volume, "Mean[Gy]": other.mean, "Min[Gy]": other.min, "Max[Gy]": other.max,
                    "D99%[Gy]": other.D99.value, "D95%[Gy]": other.D95.value, "D5%[Gy]": other.D5.value,
                    "D1%[Gy]": other.D1.value, "D0.03cc[Gy]": other.statistic("D0.03cc").value,
                }  # fmt: skip
                rows += 1
                for label, value in (("TailoRT", own.value), ("dicompyler-core", peer.__getitem__)):
                    off = max(abs(value(m) / truth.value(m) - 1) for m in names)
                    missed[label] += off > 0.03
                    worst[label] = max(worst[label], off)
    for label, count in missed.items():
        print(f"{label:16} {count} of {rows} rows off by more than 3 %; the worst by {100 * worst[label]:.1f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description="DVH: TailoRT against dicompyler-core")
    parser.add_argument("--nelms", action="store_true", help="also judge both on solids in linear gradients")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    try:
        from dicompylercore import dvhcalc
    except ImportError as error:
        raise SystemExit(
            f'dicompyler-core cannot be used here ({error}): pip install "pydicom<3" dicompyler-core in an environment '
            "of its own, as the head of this file says"
        ) from error
    speed(dvhcalc)
    if options.nelms:
        nelms(dvhcalc)


if __name__ == "__main__":
    main()

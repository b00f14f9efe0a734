"""Make the Monte Carlo doses that engines are held against: python tools/make_slab_doses.py [--millions N] FILE.csv."""

import argparse
from importlib import resources
from pathlib import Path

import numpy as np

from tailort.physics.montecarlo.slabs import slab_dose
from tailort.physics.spectrum import Spectrum

PHANTOMS = {
    "water": (("water", 1.0, 40.0),),
    "lung slab": (("water", 1.0, 5.0), ("lung", 0.26, 10.0), ("water", 1.0, 15.0)),
    "bone slab": (("water", 1.0, 5.0), ("bone", 1.85, 3.0), ("water", 1.0, 22.0)),
}
# Machine, column of spectra.csv, field (cm), phantom, share of the histories.
RUNS = (
    ("point-6MV", "g6", 10.0, "water", 1.0),
    ("point-6MV", "g6", 10.0, "lung slab", 1.0),
    ("point-6MV", "g6", 5.0, "water", 0.6),
    ("point-6MV", "g6", 5.0, "lung slab", 0.6),
    ("point-10MV-FFF", "fff10", 2.0, "water", 1.0),
    ("point-10MV-FFF", "fff10", 2.0, "lung slab", 1.0),
    ("point-10MV-FFF", "fff10", 3.0, "water", 1.0),
    ("point-10MV-FFF", "fff10", 3.0, "lung slab", 1.0),
    ("point-6MV", "g6", 10.0, "bone slab", 1.0),
    ("point-6MV", "g6", 5.0, "bone slab", 0.6),
)
# The axis is a square about it, narrow against the field (cm); profiles are a strip of this half width.
AXIS_HALF_CM = {10.0: 1.5, 5.0: 0.75, 3.0: 0.375, 2.0: 0.25}
DEPTHS_CM = (2.0, 4.0, 7.0, 10.0, 13.0, 17.0, 20.0)


def spectrum(column: str) -> Spectrum:
    """Return a column of the packaged spectra."""
    text = resources.files("tailort.physics").joinpath("data/spectra.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    names = lines[0].split(",")
    rows = np.array([[float(cell) for cell in line.split(",")] for line in lines[1:]])
    return Spectrum(rows[:, :2].mean(axis=1), rows[:, names.index(column)])


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--millions", type=float, default=50.0, help="of photons for a field of 10 x 10 cm")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--machine", choices=sorted({run[0] for run in RUNS}), help="only this one")
    options = parser.parse_args()
    lines = [
        "# Doses of layered phantoms by tailort.physics.montecarlo:",
        f"# python tools/make_slab_doses.py --millions {options.millions:g} --seed {options.seed}"
        + (f" --machine {options.machine}" if options.machine else ""),
        "# Point source 100 cm above the surface, square field with sharp edges on the surface (which is the isocentre",
        "# plane), photon number even over it; layers without lateral end, lung ICRU 44 of 0.26 g/cm3, cortical bone",
        "# ICRU 44 of 1.85 g/cm3. Dose to the medium in MeV/g per photon/cm2 in the isocentre plane, with its error.",
        "# axis: mean over a square of the half side given in off_axis_cm, and over 0.25 cm of depth; profile: mean",
        "# over 0.125 cm across, 1 cm of depth and that half side along the other axis.",
        "machine,field_cm,phantom,kind,depth_cm,off_axis_cm,dose,se_pct",
    ]
    for machine, column, field, phantom, share in RUNS:
        if options.machine not in (None, machine):
            continue
        count = int(options.millions * 1e6 * share)
        result = slab_dose(spectrum(column), field, PHANTOMS[phantom], count, options.seed)
        depth = 0.5 * (result.depth_cm[1:] + result.depth_cm[:-1])
        half = AXIS_HALF_CM[field]
        start = f"{machine},{field:g},{phantom}"
        for d, (dose, error) in zip(depth, zip(*result.axis(half), strict=True), strict=True):
            lines.append(f"{start},axis,{d:.4f},{half:g},{dose:.6g},{100 * error / dose:.3f}")
        across = 0.5 * (result.off_axis_cm[1:] + result.off_axis_cm[:-1])
        inside = result.off_axis_cm[1:] <= half + 1e-9
        for at in DEPTHS_CM:
            layer = np.abs(depth - at) < 0.5
            batches = result.dose[:, layer][:, :, :, inside].mean(axis=(1, 3))
            mean, error = batches.mean(axis=0), batches.std(axis=0, ddof=1) / np.sqrt(len(batches))
            for x, dose, spread in zip(across, mean, error, strict=True):
                if dose > 0 and x < field:
                    lines.append(f"{start},profile,{at:g},{x:.4f},{dose:.6g},{100 * spread / dose:.3f}")
        options.file.write_text("\n".join(lines) + "\n", encoding="utf-8")


main()

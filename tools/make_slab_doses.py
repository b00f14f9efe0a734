"""Make the Monte Carlo doses that engines are held against: python tools/make_slab_doses.py [--millions N] FILE.csv."""

import argparse
from importlib import resources
from pathlib import Path

import numpy as np

from tailort.physics.montecarlo.slabs import pencil_dose
from tailort.physics.spectrum import Spectrum

PHANTOMS = {
    "water": (("water", 1.0, 40.0),),
    "lung slab": (("water", 1.0, 5.0), ("lung", 0.26, 10.0), ("water", 1.0, 15.0)),
    "bone slab": (("water", 1.0, 5.0), ("bone", 1.85, 3.0), ("water", 1.0, 22.0)),
}
# Machine, column of spectra.csv, phantom and the sides of the fields, cm.
RUNS = (
    ("point-6MV", "g6", "water", (5.0, 10.0)),
    ("point-6MV", "g6", "lung slab", (5.0, 10.0)),
    ("point-6MV", "g6", "bone slab", (5.0, 10.0)),
    ("point-10MV-FFF", "fff10", "water", (2.0, 3.0)),
    ("point-10MV-FFF", "fff10", "lung slab", (2.0, 3.0)),
)
# Half the side of the square about a point, and the distance of points across the field, on the surface, cm.
HALF_CM = 0.125
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
    parser.add_argument("--millions", type=float, default=12.0, help="of photons for each phantom")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    lines = [
        "# Doses of layered phantoms by tailort.physics.montecarlo:",
        f"# python tools/make_slab_doses.py --millions {options.millions:g} --seed {options.seed}",
        "# Point source 100 cm above the surface, square field with sharp edges on the surface (which is the isocentre",
        "# plane), photon number even over it; layers without lateral end, lung ICRU 44 of 0.26 g/cm3, cortical bone",
        "# ICRU 44 of 1.85 g/cm3. Dose to the medium in MeV/g per photon/cm2 in the isocentre plane, with its error,",
        "# mean over 0.25 cm of depth and a square of the half side half_cm about a point off the axis. Lengths across",
        "# the beam are those on the surface, projected from the source. Made of what one ray leaves (pencil_dose).",
        "machine,field_cm,phantom,kind,depth_cm,off_axis_cm,half_cm,dose,se_pct",
    ]
    for machine, column, phantom, fields in RUNS:
        ray = pencil_dose(spectrum(column), PHANTOMS[phantom], int(options.millions * 1e6), options.seed)
        depth = 0.5 * (ray.depth_cm[1:] + ray.depth_cm[:-1])
        for side in fields:
            start = f"{machine},{side:g},{phantom}"
            for d, dose, error in zip(depth, *ray.field(side, HALF_CM), strict=True):
                lines.append(f"{start},axis,{d:.4f},0,{HALF_CM:g},{dose:.6g},{100 * error / dose:.3f}")
            for x in np.arange(0.0, 0.8 * side, 2 * HALF_CM):
                dose, error = ray.field(side, HALF_CM, float(x))
                for at in DEPTHS_CM:
                    n = int(np.argmin(np.abs(depth - at - 1e-6)))
                    told = f"{dose[n]:.6g},{100 * error[n] / dose[n]:.3f}"
                    lines.append(f"{start},profile,{depth[n]:.4f},{x:g},{HALF_CM:g},{told}")
        options.file.write_text("\n".join(lines) + "\n", encoding="utf-8")


main()

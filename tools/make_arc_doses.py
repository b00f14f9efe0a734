"""Make the Monte Carlo doses of an arc that engines are held against: python tools/make_arc_doses.py FILE.csv."""

import argparse
from pathlib import Path

import numpy as np

from tailort.physics.montecarlo.boxes import Arc, BoxDose, box_dose
from tailort.physics.spectrum import packaged_spectrum

SPECTRUM = "fff10"
WIDTH_CM = 24.0
PHANTOMS = {
    "water": (("water", 1.0, 24.0),),
    "lung": (("water", 1.0, 8.0), ("lung", 0.26, 8.0), ("water", 1.0, 8.0)),
}
# Planes: what they cross (column of the point), where (mm).
PLANES = {"transverse": ("head", (-20.0, 0.0, 20.0)), "sagittal": ("left", (0.0,)), "coronal": ("back", (0.0,))}
# Points with less of the highest dose are left out.
LOWEST = 0.2


def arc() -> Arc:
    """Sixty control points from 183 to 177 degrees: 12 pairs of leaves about a waist that wanders and breathes."""
    n = np.arange(60)
    gantry = 183.0 + 6.0 * n
    y = np.arange(-27.5, 30.0, 5.0)
    turn = np.deg2rad(gantry)[:, None]
    middle = 8.0 * np.sin(turn) + 4.0 * np.cos(2.0 * turn + y / 10.0)
    half = 20.0 + 4.0 * np.sin(3.0 * turn + y / 15.0)
    # The waist is on one side, which changes halfway.
    waist = 0.45 + 0.55 * (y / 27.5) ** 2
    one = np.where(np.cos(turn) > 0, 1.0, waist)
    other = np.where(np.cos(turn) > 0, waist, 1.0)
    leaves = np.round(np.stack([middle - half * one, middle + half * other], axis=1), 1)
    mu = np.round(np.cumsum(np.concatenate([[0.0], 5.0 + 2.0 * np.sin(0.4 * n[1:])])), 2)
    return Arc(mu, gantry, leaves / 10, np.arange(-30.0, 31.0, 5.0) / 10)


def points(dose: BoxDose) -> list[str]:
    """Rows of the points of the planes: doses are means over 10 mm across the plane."""
    names = ("back", "left", "head")
    middles = [5.0 * (faces[1:] + faces[:-1]) for faces in (dose.back_cm, dose.left_cm, dose.head_cm)]
    made = []
    for plane, (across, places) in PLANES.items():
        axis = names.index(across)
        for place in places:
            own = np.abs(middles[axis] - place) < 5.0
            batches = np.compress(own, dose.dose, axis=axis + 1).mean(axis=axis + 1)
            mean, error = batches.mean(axis=0), batches.std(axis=0, ddof=1) / np.sqrt(len(batches))
            at = [middles[n] if n != axis else np.array([place]) for n in range(3)]
            back, left, head = (a.ravel() for a in np.meshgrid(*at, indexing="ij"))
            made.append((plane, left, back, head, mean.ravel(), error.ravel()))
    highest = max(mean.max() for *_, mean, _ in made)
    return [
        f"{plane},{x:g},{y:g},{z:g},{value:.5g},{100 * spread / value:.2f}"
        for plane, *columns in made
        for x, y, z, value, spread in zip(*columns, strict=True)
        if value >= LOWEST * highest
    ]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--millions", type=float, default=160.0, help="of photons in the rectangle about all openings")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    given = arc()
    x1, x2, y1, y2 = (10 * bound for bound in given.bounds_cm)
    lines = [
        "# Doses of an arc in a box by tailort.physics.montecarlo:",
        f"# python tools/make_arc_doses.py --millions {options.millions:g} --seed {options.seed}",
        f"# Point source of spectrum {SPECTRUM} 1000 mm from the isocentre, which is the middle of a box of 240 mm in",
        "# vacuum: water; or 80 mm of water, 80 mm of lung (ICRU 44, 0.26 g/cm3), 80 mm of water from front to back.",
        "# Photon number even over the isocentre plane within sharp openings and as the MU; gantry (IEC 61217) and",
        "# leaf ends (first table, beam limiting device, pairs of 5 mm) move evenly between control points. Photons",
        f"# are drawn in x {x1:g} to {x2:g}, y {y1:g} to {y2:g} mm, those that leaves stop included.",
        "# Second table: dose to the medium in MeV/g per photon/cm2 in the isocentre plane of an open beam over the",
        "# whole arc, with its standard error; LPS mm of a head-first supine patient about the isocentre; means over",
        f"# 5 x 5 mm in the plane and 10 mm across it, from {100 * LOWEST:g} % of the highest on.",
        "mu,gantry_deg,leaf_y_mm,x1_mm,x2_mm",
    ]
    rows = 5.0 * (given.boundaries_cm[1:] + given.boundaries_cm[:-1])
    for mu, gantry, ends in zip(given.mu, given.gantry_deg, given.leaves_cm, strict=True):
        lines += [
            f"{mu:g},{gantry % 360:g},{y:g},{10 * a:.1f},{10 * b:.1f}" for y, a, b in zip(rows, *ends, strict=True)
        ]
    lines += ["", "phantom,plane,x_mm,y_mm,z_mm,dose,se_pct"]
    for name, layers in PHANTOMS.items():
        found = box_dose(
            packaged_spectrum(SPECTRUM), given, layers, WIDTH_CM, round(options.millions * 1e6), options.seed
        )
        lines += [f"{name},{row}" for row in points(found)]
    options.file.write_text("\n".join(lines) + "\n", encoding="utf-8")


main()

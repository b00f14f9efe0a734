"""Target registration error on virtual patients whose earlier scan lies under a known deformation.

    python benchmarks/registration_truth.py [--name spine] [--seeds 0-19] [--size coarse]

Today's CT is registered with the earlier planning CT as `tailort reirradiate` does it: rigid, then deformable. Median
and 95th percentile, mm, of the distance between mapped and true places of landmarks, per organ and seed.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from tailort.phantom import earlier_scan, salvage, spine
from tailort.registration import deformable, rigid

MAKERS = {"spine": spine.make, "salvage": salvage.make}
ASKED_MM = 2.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--name", choices=MAKERS, default="spine")
    options.add_argument("--seeds", default="0-19", help="first-last")
    options.add_argument("--size", choices=("coarse", "full"), default="coarse")
    asked = options.parse_args()
    first, last = (int(n) for n in asked.seeds.split("-"))
    medians: dict[str, list[float]] = {}
    print("median / 95th percentile of the error in mm: rigid -> deformable")
    for seed in range(first, last + 1):
        patient = MAKERS[asked.name](seed, asked.size)
        earlier = earlier_scan(patient, seed)
        today, then = patient.scan.image, earlier.case.ct.image
        begun = time.process_time()
        start = rigid(today, then, metric="correlation")
        bent = deformable(today, then, start)
        seconds = time.process_time() - begun
        told = []
        for organ, (here, there) in earlier.pairs.items():
            off = [np.linalg.norm(found.map_points(here) - there, axis=1) for found in (start, bent)]
            words = [f"{np.median(e):.2f} / {np.quantile(e, 0.95):.2f}" for e in off]
            told.append(f"{organ} ({len(here)}) {words[0]} -> {words[1]}")
            medians.setdefault(organ, []).append(float(np.median(off[1])))
        print(f"seed {seed} ({seconds:.0f} CPU-s): " + "; ".join(told), flush=True)
    for organ, found in medians.items():
        within = sum(value < ASKED_MM for value in found)
        print(
            f"{organ}: medians {min(found):.2f} to {max(found):.2f}, half of them below {np.median(found):.2f} mm; "
            f"{within} of {len(found)} below {ASKED_MM:g} mm"
        )


if __name__ == "__main__":
    main()

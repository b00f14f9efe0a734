"""Make the packaged kernels: python tools/make_kernels.py [--histories N] [--seed N] FILE.csv."""

import argparse
from pathlib import Path

import numpy as np

from tailort.physics.montecarlo.kernels import CONES, RADII_CM, monoenergetic_kernel

ENERGIES_MEV = (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 5.5, 8.0, 10.0)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--histories", type=int, default=2_000_000, help="of each energy")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sums, rows = [], []
    polar = np.linspace(0.0, 180.0, CONES + 1)[1:]
    for energy in ENERGIES_MEV:
        total, primary, error, beyond = monoenergetic_kernel(energy, options.histories, options.seed)
        sums.append(f"# {energy:g} MeV: total {total.sum():.5f}, primary {primary.sum():.5f}, beyond {beyond:.5f}")
        for cone in range(CONES):
            for shell, radius in enumerate(RADII_CM):
                value = total[cone, shell]
                relative = 100 * error[cone, shell] / value if value > 0 else 0.0
                rows.append(
                    f"{energy:g},{polar[cone]:g},{radius:g},{value:.4e},{relative:.1f},{primary[cone, shell]:.4e}"
                )
    head = [
        "# Energy-deposition kernels of photons in water (1 g/cm3), by tailort.physics.montecarlo:",
        f"# python tools/make_kernels.py --histories {options.histories} --seed {options.seed}",
        "# The photon flies along z and interacts at the origin. Cell: cone of 3.75 degrees below theta_hi, shell",
        "# below r_hi; shares of the photon's energy, with the standard error of the total in per cent. Primary:",
        "# charged particles of the first interaction. Sums of each energy, and what leaves the sphere of 60 cm:",
        *sums,
        "E_MeV,theta_hi_deg,r_hi_cm,frac_total,frac_total_se_pct,frac_primary",
    ]
    options.file.write_text("\n".join([*head, *rows]) + "\n", encoding="utf-8")


main()

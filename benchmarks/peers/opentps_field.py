"""One open field by the collapsed cone that OpenTPS carries, measured; run in OpenTPS's own environment.

Run: python opentps_field.py FIELD.npz OUT.npz

FIELD.npz has `density` (k, j, i) in g/cm3, `origin_mm` (x, y, z of the first voxel's centre), `spacing_mm`, one number,
`isocentre_mm`, `sides_mm` of the field and `sad_mm`; the beam comes from gantry 0. The engine is a program of its own
(opentps_core, photons/CCC_DoseEngine): what is measured is the program alone, without OpenTPS's way of writing its
input and reading its output. Its run bit is not set in the wheel, so a copy of it is run.
"""

import importlib.util
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np


def photons() -> Path:
    found = importlib.util.find_spec("opentps.core")
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"{sys.executable} has no opentps-core")
    return Path(next(iter(found.submodule_search_locations))) / "processing" / "doseCalculation" / "photons"


def write_inputs(folder: Path, case: np.lib.npyio.NpzFile) -> list[Path]:
    """Write what the program reads: cm; its x, y, z are j, i, k of the grid, x fastest."""
    density = case["density"]
    nz, ny, nx = density.shape
    step = float(case["spacing_mm"]) / 10
    x, y, z = (case["origin_mm"] - case["isocentre_mm"]) / 10
    density.transpose(0, 2, 1).astype(np.float32).tofile(folder / "density.bin")
    header = folder / "grid.txt"
    header.write_text(
        f"Xcount Ycount Zcount\n{ny} {nx} {nz}\nXstart Ystart Zstart\n{y} {x} {z}\ndx dy dz\n{step} {step} {step}\n"
    )
    geometry = folder / "geometry.txt"
    geometry.write_text(f"geometry_header\n{header}\ngeometry_density\n{folder / 'density.bin'}\n")
    tables = photons() / "Kernels_differentFluence"
    kernels = folder / "kernels.txt"
    kernels.write_text(
        "".join(
            f"{'' if table.suffix == '.txt' else 'kernel_'}{table.stem}\n{table}\n"
            for table in sorted(tables.iterdir())
        )
    )
    sad, (wide, high) = float(case["sad_mm"]) / 10, case["sides_mm"] / 10
    beam = folder / "beam.txt"
    beam.write_text(
        f"beamnum:\n1\n \nnum\n0\nSAD xp yp del_xp del_yp\n{sad} 0.0 0.0 {wide} {high}\ny_vec\n{-sad} 0.0 0.0\n"
        "ip\n0.0 1.0 0.0\njp\n0.0 0.0 1.0\nkp\n1.0 0.0 0.0\n\n \n"
    )
    return [kernels, geometry, beam]


def read_dose(path: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Return the dose (k, j, i): one beamlet's voxels and values."""
    words = np.fromfile(path, dtype=np.int32)
    count = int(words[5])
    dose = np.zeros((shape[0], shape[2], shape[1]), dtype=np.float32)
    dose.reshape(-1)[words[6 : 6 + count]] = words[6 + count : 6 + 2 * count].view(np.float32)
    return dose.transpose(0, 2, 1)


def main() -> None:
    case = np.load(sys.argv[1])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        program = folder / "engine"
        shutil.copy(photons() / "CCC_DoseEngine" / "CCC_DoseEngine", program)
        program.chmod(0o755)
        inputs = write_inputs(folder, case)
        wall = time.perf_counter()
        # The program's exit status is 1 when all is well.
        subprocess.run([program, *inputs, folder / "dose.bin"], check=False, stdout=subprocess.DEVNULL)
        wall = time.perf_counter() - wall
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        dose = read_dose(folder / "dose.bin", case["density"].shape)
    np.savez(
        sys.argv[2],
        version=version("opentps-core"),
        cpu=used.ru_utime + used.ru_stime,
        wall=wall,
        peak_mb=used.ru_maxrss / 1024,
        dose=dose,
    )


if __name__ == "__main__":
    main()

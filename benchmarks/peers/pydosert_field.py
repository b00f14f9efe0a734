"""One open field by PyDoseRT's pencil beam, measured; run in PyDoseRT's own environment, on the CPU.

Run: python pydosert_field.py FIELD.npz OUT.npz

FIELD.npz as for opentps_field.py. Two times are measured: the first dose, for which the engine makes its geometry, and
a second one of the same beam.
"""

import resource
import sys
import time
import warnings
from importlib.metadata import version

import numpy as np
import torch
from pydosert.data import Beam, MachineConfig
from pydosert.engine.dose_engine import DoseEngine

# Side of the kernel in voxels; its cost by FFT hardly depends on it.
KERNEL = 101


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    warnings.simplefilter("ignore")
    # A second thread saves no wall time here and doubles the CPU seconds.
    torch.set_num_threads(1)
    case = np.load(sys.argv[1])
    density = torch.from_numpy(case["density"])
    spacing = float(case["spacing_mm"])
    middle = (case["isocentre_mm"] - case["origin_mm"]) + spacing / 2
    machine = MachineConfig(preset="varian_10MV")
    pairs = machine.number_of_leaf_pairs
    wide, high = (float(side) for side in case["sides_mm"])
    beam = Beam(
        gantry_angle=0.0,
        collimator_angle=0.0,
        mu=torch.tensor(100.0),
        leaf_positions=torch.tensor([[-wide / 2, wide / 2]] * pairs),
        jaw_positions=torch.tensor([-high / 2, high / 2]),
        iso_center=tuple(float(x) for x in middle),
    )
    measured = []
    engine = None
    with torch.no_grad():
        for _ in range(2):
            cpu, wall = cpu_seconds(), time.perf_counter()
            if engine is None:
                engine = DoseEngine(
                    machine, KERNEL, (spacing,) * 3, tuple(density.shape), beam_template=beam, device="cpu",
                    conv_backend="fft",
                )  # fmt: skip
            dose = engine.compute_dose(beam, density)
            measured.append((cpu_seconds() - cpu, time.perf_counter() - wall))
    np.savez(
        sys.argv[2],
        version=version("pydosert"),
        cpu=measured[0][0],
        wall=measured[0][1],
        cpu_again=measured[1][0],
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        dose=dose[0].numpy(),
    )


if __name__ == "__main__":
    main()

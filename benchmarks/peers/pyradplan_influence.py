"""Influence of nine photon beams on pyRadPlan's TG-119 phantom, measured; run in pyRadPlan's own environment.

Run: python pyradplan_influence.py SPACING_MM OUT.npz

Writes what was measured and all that another engine needs to compute the same: the electron density that was traced,
the dose grid, its voxels with a dose, the beams and their beamlets. Only `calc_dose_influence` is timed.
"""

import logging
import resource
import sys
import time
import warnings
from importlib.metadata import version

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its own documents call it so
from pyRadPlan import PhotonPlan, calc_dose_influence, generate_stf, load_tg119
from pyRadPlan.ct import default_hlut

GANTRY_DEG = tuple(range(0, 360, 40))
BEAMLET_MM = 5.0


def cpu_seconds() -> np.ndarray:
    """User and system seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return np.array([used.ru_utime, used.ru_stime])


def main() -> None:
    spacing, out = float(sys.argv[1]), sys.argv[2]
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    ct, structures = load_tg119()
    plan = PhotonPlan(machine="Generic")
    plan.prop_stf = {
        "gantry_angles": list(GANTRY_DEG),
        "couch_angles": [0.0] * len(GANTRY_DEG),
        "bixel_width": BEAMLET_MM,
    }
    plan.prop_dose_calc = {"dose_grid": {"resolution": dict.fromkeys("xyz", spacing)}}
    steering = generate_stf(ct, structures, plan)

    cpu, wall = cpu_seconds(), time.perf_counter()
    result = calc_dose_influence(ct, structures, steering, plan)
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall

    matrix = result.physical_dose.flat[0]
    patient = np.unique(np.concatenate([voi.indices_numpy for voi in structures.vois]))
    grid = result.dose_grid
    reference = sitk.Image([int(n) for n in grid.dimensions], sitk.sitkUInt8)
    reference.SetOrigin([float(x) for x in grid.origin])
    reference.SetSpacing([float(grid.resolution[axis]) for axis in "xyz"])

    def on_dose_grid(chosen: np.ndarray) -> np.ndarray:
        """Voxels of the dose grid whose nearest voxel of the CT is chosen, as the engine takes them."""
        mask = np.zeros(ct.cube_hu.GetSize()[::-1], dtype=np.uint8)
        mask.reshape(-1)[chosen] = 1
        image = sitk.GetImageFromArray(mask)
        image.CopyInformation(ct.cube_hu)
        resampled = sitk.Resample(image, reference, sitk.Transform(), sitk.sitkNearestNeighbor)
        return sitk.GetArrayFromImage(resampled).reshape(-1) > 0

    voxels = np.flatnonzero(on_dose_grid(patient))
    outside = np.ones(np.prod(ct.cube_hu.GetSize()), dtype=bool)
    outside[patient] = False
    electron_density = sitk.GetArrayFromImage(ct.compute_wet(default_hlut())).astype(np.float32)
    electron_density.reshape(-1)[outside] = 0.0
    rays = [(n, ray.ray_pos_bev) for n, beam in enumerate(steering.beams) for ray in beam.rays]
    np.savez(
        out,
        version=version("pyRadPlan"),
        cpu=cpu.sum(),
        system=cpu[1],
        wall=wall,
        entries=matrix.nnz,
        bytes=matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        electron_density=electron_density,
        ct_spacing_mm=ct.cube_hu.GetSpacing()[::-1],
        ct_origin_mm=ct.cube_hu.GetOrigin(),
        grid_shape=[int(n) for n in grid.dimensions[::-1]],
        grid_spacing_mm=[float(grid.resolution[axis]) for axis in "zyx"],
        grid_origin_mm=[float(x) for x in grid.origin],
        voxels=voxels,
        organ_names=[voi.name for voi in structures.vois],
        organs=np.array([on_dose_grid(voi.indices_numpy)[voxels] for voi in structures.vois]),
        gantry_deg=[beam.gantry_angle for beam in steering.beams],
        isocentre_mm=[beam.iso_center for beam in steering.beams],
        beam=[n for n, _ in rays],
        x_mm=[position[0] for _, position in rays],
        y_mm=[position[2] for _, position in rays],
        beamlet_mm=BEAMLET_MM,
        open_dose=np.asarray(matrix.sum(axis=1)).reshape(-1)[voxels],
        entries_of_voxel=np.bincount(matrix.indices, minlength=matrix.shape[0])[voxels],
    )


if __name__ == "__main__":
    main()

"""What the PET's blur does to a painted prescription, by the true biology of virtual patients; nothing is planned.

    python benchmarks/painting_prescription.py [--seeds 0-19] [--blur 0,6]

The painted dose of `painting-demo` as it is prescribed by the noisy PET, not taking the blur over the surface back (0)
or taking it back as if it were so many mm wide (the PET's is 6), shifted to one mean: that of the painted structures
without the correction, which the even dose has too, and that of the tumour alone, so that no dose is taken from the
node.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tailort.geometry import Image, resample
from tailort.patient import FunctionalImage, Normalisation, Prescription, StructureSet, quantity_named
from tailort.phantom import PaintingPatient, painting
from tailort.phantom.pet import FDG
from tailort.phantom.tumour_biology import ALPHA_BETA_GY
from tailort.protocols import Protocol, load
from tailort.radiobiology.tumour_control import Tumour, tcp_poisson
from tailort.targets import derive
from tailort.workflow.painting import UNION, painted_request, painting_steps
from tailort.workflow.requesting import Request

Float = NDArray[np.float64]
FRACTIONS = 30


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", default="0-19", help="first-last")
    options.add_argument("--blur", default="0,6", help="mm, the first as it is compared")
    asked = options.parse_args()
    first, last = (int(n) for n in asked.seeds.split("-"))
    blurs = [float(n) for n in asked.blur.split(",")]
    found = np.array([one(painting.make(seed, "coarse"), blurs) for seed in range(first, last + 1)])
    for n, blur in enumerate(blurs):
        for which, rise in (("painted structures", found[:, n, 0]), ("tumour", found[:, n, 1])):
            print(
                f"blur {blur:g} mm, one mean of the {which}: rise of the control in points mean {rise.mean():.1f}, "
                f"median {np.median(rise):.1f}, {rise.min():.1f} to {rise.max():.1f}; falls in {(rise < 0).sum()} of "
                f"{len(rise)}"
            )


def one(patient: PaintingPatient, blurs: list[float]) -> list[tuple[float, float]]:
    """Rise of the true control by painting with each blur, percentage points, at the one mean and at the other."""
    grid, cells = patient.clonogens_per_cm3.grid, patient.clonogens_per_cm3.values.reshape(-1).astype(float)
    held = cells > 0
    share = patient.tumour_share.values.reshape(-1)[held]
    alpha = patient.alpha_per_gy.values.reshape(-1)[held].astype(float)
    tumour = Tumour(cells[held] * grid.voxel_volume_cm3, alpha, ALPHA_BETA_GY)

    def control(gy: Float) -> float:
        return 100.0 * tcp_poisson(gy, FRACTIONS, tumour)

    def even(gy: float) -> float:
        return control(np.full(len(alpha), gy))

    painted = []
    for blur in blurs:
        mean_gy, image = prescribed(patient, blur)
        painted.append((mean_gy, resample(image, grid, np.nan).values.reshape(-1)[held].astype(float)))
    mean_gy, gy = painted[0]
    own_gy = float(np.average(gy, weights=share))
    rises = [
        (
            control(gy + mean_gy - own) - even(mean_gy),
            control(gy + own_gy - float(np.average(gy, weights=share))) - even(own_gy),
        )
        for own, gy in painted
    ]
    told = "; ".join(
        f"blur {blur:g} mm: mean {own:.2f} Gy, {a:+.1f} and {b:+.1f} points"
        for blur, (own, _), (a, b) in zip(blurs, painted, rises, strict=True)
    )
    print(f"seed {patient.planning.seed}: even {mean_gy:.2f} Gy {even(mean_gy):.1f} %; {told}", flush=True)
    return rises


def prescribed(patient: PaintingPatient, blur_mm: float) -> tuple[float, Image]:
    """Mean of the painted structures, Gy, and the painted dose."""
    file = told(load("painting-demo"), blur_mm)
    (entry,) = file.painted()
    slice_mm = patient.planning.scan.image.grid.spacing_mm[0]
    planes = patient.planning.scan.image.grid.axes_mm()[0]
    structures = with_target(patient.planning.structures, file, planes)
    pet = patient.pets[FDG]
    on_ct = resample(pet.suv, patient.planning.scan.image.grid, np.nan)
    image = FunctionalImage(quantity_named("fdg-suv"), on_ct, pet.started.date(), "virtual PET")
    target = Prescription(entry.target, entry.dose_gy, FRACTIONS, Normalisation("coverage", metric="D95%[Gy]"))
    asked = Request("", file.id, (target,), (target,), (), (), ())
    found, _ = painted_request(asked, file, structures, {"fdg-suv": image}, slice_mm)
    (own,) = found.prescriptions
    assert own.painted is not None
    return own.dose_gy, own.painted.image


def told(file: Protocol, blur_mm: float) -> Protocol:
    """The protocol with another blur of its image."""
    entries = [
        entry if entry.painted is None
        else entry.model_copy(update={"painted": entry.painted.model_copy(update={"point_spread_mm": blur_mm})})
        for entry in file.file.prescriptions
    ]  # fmt: skip
    return replace(file, file=file.file.model_copy(update={"prescriptions": tuple(entries)}))


def with_target(structures: StructureSet, file: Protocol, planes_mm: Float) -> StructureSet:
    """With what is painted, and a target that is no larger."""
    made = derive(painting_steps(file, structures), structures, planes_mm)
    (entry,) = file.painted()
    tied = made.find(UNION) or made["GTVp"]
    return made.with_structures(replace(tied, name=entry.target, role="PTV"))


if __name__ == "__main__":
    main()

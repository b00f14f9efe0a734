"""A patient for dose painting: PETs show what was put in, and the tumour's truth is known and hidden in part."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from tailort import dicom
from tailort.dicom import write_pet
from tailort.errors import DicomError, InputError
from tailort.geometry import Grid, Image, Transform, interpolate
from tailort.patient import Person, quantity_named
from tailort.phantom import PaintingPatient, painting, parameters, pet, truth
from tailort.phantom.anatomy import Anatomy
from tailort.phantom.pet import FDG, FMISO, centres, noise_suv
from tailort.phantom.shapes import Array, Grown, Shape
from tailort.phantom.tumour_biology import CONTROL, RESISTANCE_WITH_UPTAKE, Biology, draw_biology
from tailort.radiobiology.tumour_control import Tumour, tcp_poisson

Float = NDArray[np.float64]
FRAME = "1.2.840.99.1"
PERSON = Person("X", "A^B", "19500101", "M", "1", "20260112", "083000")


@cache
def biology(seed: int) -> tuple[Biology, Float, float]:
    points = truth.points_in(Anatomy(parameters.draw(seed, None, None, None)).oesophagus.tumour, 2.0)
    volume = len(points) * 2.0**3 / 1000.0
    return draw_biology(seed, points, volume), points, volume


@cache
def patient() -> PaintingPatient:
    return painting.make(1, "coarse")


@pytest.mark.parametrize("seed", range(6))
def test_alpha_is_positive_and_60_gy_in_30_control_the_tumour_in_0_3_to_0_6(seed: int) -> None:
    found, points, volume = biology(seed)
    alpha, cells = found.alpha(points), found.cells_per_cm3(points) * volume / len(points)
    assert alpha.min() > 0
    control = tcp_poisson(np.full(len(points), 60.0), 30, Tumour(cells, alpha, 10.0))
    assert CONTROL[0] - 1e-6 <= control <= CONTROL[1] + 1e-6
    assert 0.3 <= control <= 0.6
    assert control == pytest.approx(found.control, abs=1e-6)


def test_the_true_uptake_tells_of_radiosensitivity_and_does_not_tell_all() -> None:
    told = []
    for seed in range(6):
        found, points, _ = biology(seed)
        both = 0.6 * np.log(found.fdg(points)) / 0.30 + 0.8 * np.log(found.hypoxia(points)) / 0.25
        told.append(float(np.corrcoef(both, np.log(found.alpha(points)))[0, 1]))
    # Small tumours hold few independent places, so that the correlation of one is not that of all.
    assert np.mean(told) == pytest.approx(-RESISTANCE_WITH_UPTAKE, abs=0.12)
    assert all(-0.97 < one < -0.3 for one in told)


def test_uptake_and_alpha_have_the_stated_spread_and_are_smooth() -> None:
    found, points, _ = biology(2)
    assert np.log(found.fdg(points)).std() == pytest.approx(0.30, abs=1e-6)
    near = found.fdg(points + np.array([0.5, 0.0, 0.0]))
    assert np.abs(np.log(near / found.fdg(points))).max() < 0.15
    assert found.hypoxia(points).min() > 0


@pytest.mark.slow
def test_the_suv_of_uniform_tissue_is_what_was_put_in() -> None:
    body, shift = patient().body, np.array(patient().body.build.offset_mm)
    solids = {"liver": body.abdomen.liver, "blood": body.arteries.aorta, "lung": body.lungs.sides[0]}
    for name in (FDG, FMISO):
        suv = patient().pets[name].suv
        for tissue, solid in solids.items():
            # Away from the edges, which the scanner blurs.
            deep = truth.points_in(Grown(solid, -8.0), 4.0)
            seen = interpolate(suv, deep + shift, outside=np.nan)
            assert np.nanmean(seen) == pytest.approx(pet.true_suv(name, tissue), rel=0.06, abs=0.03), (name, tissue)


@pytest.mark.slow
def test_noise_is_as_stated_and_grows_with_the_uptake() -> None:
    suv = patient().pets[FDG].suv
    body, shift = patient().body, np.array(patient().body.build.offset_mm)
    spread = suv.values[deep_in(body.abdomen.liver, suv, shift)].std()
    assert spread == pytest.approx(float(noise_suv(np.array(2.2))), rel=0.12)
    assert noise_suv(np.array(8.0)) > noise_suv(np.array(2.0)) > noise_suv(np.array(0.5)) > 0


def deep_in(solid: Shape, suv: Image, shift: Float) -> Array:
    """Voxels that lie deep in a solid."""
    points = truth.points_in(solid, 2.0) + shift
    index = np.rint(suv.grid.to_index(points)).astype(int)
    full = np.zeros(suv.grid.shape)
    np.add.at(full, tuple(index.T), 1.0 / 8.0)
    return gaussian_filter(full, 2.0) > 0.97


def test_the_point_spread_is_6_mm_wide() -> None:
    image = Image(Grid.axial((21, 21, 21), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), FRAME), np.zeros((21, 21, 21)), "SUV")
    values = image.values.copy()
    middle = tuple(n // 2 for n in values.shape)
    values[middle] = 1.0
    seen = pet.through_scanner(image.with_values(values)).values
    line = seen[:, middle[1], middle[2]] / seen.max()
    z = (np.arange(len(line)) - middle[0]) * 2.0
    assert np.interp(3.0, z, line) == pytest.approx(0.5, abs=0.03)


@pytest.mark.slow
def test_the_pet_shows_the_true_uptake_blurred() -> None:
    found = patient()
    inside = found.tumour_share.values > 0.99
    seen = interpolate(found.pets[FDG].suv, centres(found.grid)[inside], outside=np.nan)
    true = found.true_uptake[FDG].values[inside]
    assert 0.5 < np.corrcoef(seen, true)[0, 1] < 0.97
    assert seen.mean() < true.mean()


@pytest.mark.slow
def test_truth_maps_hold_the_tumours_cells_and_the_record_tells_the_pet() -> None:
    found = patient()
    maps = found.maps
    share = maps["tumour_share"]
    volume = found.planning.truth["volumes_cm3"]["GTVp"]
    assert share.sum() * 0.008 == pytest.approx(volume, rel=0.06)
    inside = share > 0
    assert (maps["alpha_per_gy"][inside] > 0).all()
    assert (maps["clonogens_per_cm3"][~inside] == 0).all()
    cells = maps["clonogens_per_cm3"][inside] * 0.008
    control = tcp_poisson(np.full(inside.sum(), 60.0), 30, Tumour(cells, maps["alpha_per_gy"][inside], 10.0))
    assert 0.3 <= control <= 0.6
    assert found.alpha_per_gy.unit == "1/Gy"
    assert found.clonogens_per_cm3.unit == "1/cm3"
    told = found.patient.record
    assert told["functional_images"]["value"] == "several"
    assert told["fdg_suv_max"]["value"] > 5
    assert told["fmiso_tumour_to_blood"]["value"] > 1


@pytest.mark.slow
def test_a_session_of_its_own_lies_otherwise_and_shows_the_same_tumour() -> None:
    own = PaintingPatient(patient().planning, "own")
    same, other = patient().pets[FDG], own.pets[FDG]
    frame = other.scan.image.grid.frame_of_reference
    assert frame != same.scan.image.grid.frame_of_reference
    assert other.from_planning.to_frame == frame
    assert not np.allclose(other.from_planning.affine, np.eye(4))
    points = centres(patient().grid)[patient().tumour_share.values > 0.99]
    seen = interpolate(same.suv, points, outside=np.nan)
    there = interpolate(other.suv, other.from_planning.apply(points), outside=np.nan)
    assert np.corrcoef(seen, there)[0, 1] > 0.9
    with pytest.raises(InputError, match="'planning' or 'own'"):
        painting.make(1, "coarse", session="none")  # type: ignore[arg-type]


def small_pet() -> pet.PetScan:
    """Few slices of a PET of one patient."""
    values = np.random.default_rng(0).uniform(0.0, 30_000.0, (4, 20, 22)).astype(np.float32)
    values[1] = 0.0
    small = Grid.axial((4, 20, 22), (4.0, 4.0, 4.0), (-40.0, -40.0, 0.0), FRAME)
    administered = dt.datetime(2026, 1, 12, 9, 0)
    started = administered + dt.timedelta(minutes=60)
    scan = pet.scan_of(Image(small, values, "Bq/ml"), "small", "small", "PT", pet.PET_IMAGE_STORAGE)
    return pet.PetScan(FDG, scan, Transform.identity(FRAME), 3e8, 70.0, administered, started)


def write(found: pet.PetScan, folder: Path, **changed: object) -> tuple[Path, ...]:
    told: dict[str, object] = {
        "tracer": pet.TRACERS[found.name], "injected_bq": found.injected_bq, "administered": found.administered,
        "started": found.started, "weight_kg": found.weight_kg, "half_life_s": pet.HALF_LIFE_S, **changed,
    }  # fmt: skip
    return write_pet(found.scan, PERSON, folder, **told)  # type: ignore[arg-type]


def test_a_written_pet_is_read_back_as_the_suv_that_was_meant(tmp_path: Path) -> None:
    found = small_pet()
    files = write(found, tmp_path)
    read = dicom.read_functional(tmp_path, quantity_named("fdg-suv"))
    assert np.allclose(read.scan.image.values, found.suv.values, rtol=1e-3, atol=found.suv.values.max() / 30_000)
    assert np.allclose(read.scan.image.grid.affine, found.scan.image.grid.affine)
    assert read.date == found.started.date()
    assert read.scan.patient_position == "HFS"
    if shutil.which("dciodvfy"):
        for file in files[:2]:
            told = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False)
            assert [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")] == []


def test_what_is_no_pet_or_cannot_be_is_not_written(tmp_path: Path) -> None:
    found = small_pet()
    with pytest.raises(DicomError, match="CT scan in Bq/ml cannot be written as PET"):
        write(replace(found, scan=replace(found.scan, modality="CT")), tmp_path)
    image = found.scan.image
    with pytest.raises(InputError, match="from 0 Bq/ml on"):
        write(replace(found, scan=replace(found.scan, image=image.with_values(image.values - 1.0))), tmp_path)
    with pytest.raises(InputError, match="above 0"):
        write(found, tmp_path, weight_kg=0.0)
    with pytest.raises(InputError, match="cannot start at"):
        write(found, tmp_path, started=found.administered - dt.timedelta(minutes=1))
    assert not list(tmp_path.iterdir())

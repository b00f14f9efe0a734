"""The earlier scan shows the same tissue at the true place, and what was there then: a tumour that is gone today."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from tailort.errors import InputError
from tailort.geometry import Image, check_contours, volume_cm3
from tailort.phantom import EarlierAnatomy, VirtualPatient, earlier_scan, make, parameters, salvage, spine, warped
from tailort.phantom.shapes import Array, Lattice, Shape, field_at

pytestmark = pytest.mark.slow
SEED = 3


@cache
def today(seed: int = SEED) -> VirtualPatient:
    return spine.make(seed, "coarse")


@cache
def then(seed: int = SEED) -> EarlierAnatomy:
    return earlier_scan(today(seed), seed)


def at(image: Image, points: NDArray[np.float64]) -> Array:
    index = np.moveaxis(image.grid.to_index(points), -1, 0)
    return np.asarray(map_coordinates(image.values.astype(float), index, order=1, mode="nearest"))


def inside(shape: Shape, step: float) -> NDArray[np.float64]:
    found = []
    low, high = shape.z_range
    for z in np.arange(low + step / 2, high, step).tolist():
        window = shape.window(z)
        if window is not None:
            x, y = np.arange(window[0], window[1], step), np.arange(window[2], window[3], step)
            rows, columns = np.nonzero(shape.field(Lattice(x[None, :], y[:, None], z)) < 0)
            found.append(np.column_stack([x[columns], y[rows], np.full(len(rows), z)]))
    return np.concatenate(found)


def test_the_earlier_scan_is_a_whole_case_of_the_same_person_in_its_own_frame() -> None:
    old, new = then().case, today()
    assert old.person.patient_id == new.person.patient_id
    assert old.person.birth_date == new.person.birth_date
    assert old.person.study_date < new.person.study_date
    for mine, other in (
        (old.ct.series_uid, new.scan.series_uid),
        (old.ct.study_uid, new.scan.study_uid),
        (old.ct.image.grid.frame_of_reference, new.scan.image.grid.frame_of_reference),
    ):
        assert mine != other
    assert not set(old.ct.instance_uids) & set(new.scan.instance_uids)
    assert {s.frame_of_reference for s in old.structures} == {old.ct.image.grid.frame_of_reference}
    assert {"Lungs", "Heart", "SpinalCord", "Esophagus", "Stomach", "VB_C2", "VB_L1", "External"} <= set(
        old.structures.names
    )
    for structure in old.structures:
        check_contours(structure.contours, structure.name)


def test_the_tumour_was_in_the_oesophagus_at_the_level_of_todays_metastasis() -> None:
    old, new = then(), today()
    assert "GTVp" not in new.structures.names
    assert "GTV" not in old.case.structures.names
    gtv = np.concatenate(old.case.structures["GTVp"].contours)
    back = old.bending.to_today(gtv)
    body = new.anatomy
    assert isinstance(body, spine.MetastaticBody)
    level = body.metastasis.level.middle + body.build.offset_mm[2]
    assert abs(back[:, 2].mean() - level) < 5.0
    assert 35.0 < np.ptp(back[:, 2]) < 55.0


def test_ct_numbers_of_both_scans_agree_best_at_the_true_place() -> None:
    new, old = today().scan.image, then().case.ct.image
    low, high = new.grid.faces_mm()
    rng = np.random.default_rng(0)
    points = rng.uniform(low + 5, high - 5, (60_000, 3))
    here = at(new, points)
    seen = (here > -300) & (here < 800)
    points, here = points[seen], here[seen]
    true = then().bending.to_earlier(points)

    def apart(shift: tuple[float, float, float]) -> float:
        return float(np.median(np.abs(at(old, true + shift) - here)))

    best = apart((0, 0, 0))
    # Noise of both scans alone makes half of the differences smaller than this; edges are seen on unlike voxels.
    noise = 0.6745 * np.sqrt(2.0) * parameters.NOISE_HU
    assert best < 2.0 * noise
    for step in ((3, 0, 0), (-3, 0, 0), (0, 3, 0), (0, -3, 0), (0, 0, 4), (0, 0, -4)):
        assert apart(step) > best


def test_structures_of_then_are_todays_solids_seen_through_the_map() -> None:
    old = then()
    for name in ("Heart", "Liver", "SpinalCord", "GTVp", "VB_T06", "Lung_L"):
        (solid,) = old.body.organs[name][1]
        points = np.concatenate(old.case.structures[name].contours)
        rng = np.random.default_rng(1)
        some = points[rng.choice(len(points), min(300, len(points)), replace=False)]
        back = old.bending.to_today(some) - np.array(old.body.build.offset_mm)
        off = np.abs([field_at(solid, point) for point in back])
        assert np.median(off) < 0.25, name
        assert np.quantile(off, 0.9) < 1.0, name


@pytest.mark.parametrize("name", ["Heart", "Lung_R", "Liver", "GTVp"])
def test_volumes_change_by_the_jacobian(name: str) -> None:
    old = then()
    (solid,) = old.body.organs[name][1]
    step = 1.5 if name == "GTVp" else 4.0
    points = inside(solid, step) + np.array(old.body.build.offset_mm)
    stretched = np.clip(old.bending.determinant(points, 0.01), 0.0, 3.0).sum() * step**3 / 1000.0
    drawn = volume_cm3(old.case.structures[name].contours)
    assert drawn == pytest.approx(stretched, rel=0.04)


def test_true_pairs_lie_in_todays_scan_and_are_many() -> None:
    old, new = then(), today().scan.image.grid
    low, high = new.faces_mm()
    assert sum(len(here) for here, _ in old.pairs.values()) >= 60
    assert {"Esophagus", "SpinalCord", "Vertebrae"} <= set(old.pairs)
    for here, there in old.pairs.values():
        assert ((here[:, 2] >= low[2]) & (here[:, 2] <= high[2])).all()
        assert np.allclose(old.bending.to_earlier(here), there)


def test_pairs_of_the_oesophagus_lie_in_both_scans_in_the_oesophagus() -> None:
    old = then()
    for points, structures in zip(old.pairs["Esophagus"], (today().structures, old.case.structures), strict=True):
        drawn = np.concatenate(structures["Esophagus"].contours)
        for point in points[2:-2]:
            near = drawn[np.abs(drawn[:, 2] - point[2]) < 3.0]
            assert (near[:, :2].min(axis=0) < point[:2]).all()
            assert (point[:2] < near[:, :2].max(axis=0)).all()


def test_the_same_seeds_give_the_same_scan_and_another_deformation_another_one() -> None:
    again = earlier_scan(today(), SEED)
    assert np.array_equal(again.case.ct.image.values, then().case.ct.image.values)
    assert again.truth == then().truth
    assert again.case.ct.series_uid == then().case.ct.series_uid


def test_before_surgery_the_salvage_patient_had_his_oesophagus_with_a_tumour() -> None:
    patient = salvage.make(1, "coarse")
    old = earlier_scan(patient, 4)
    assert old.case.structures["GTVp"].contours
    assert "Esophagus" not in old.pairs
    assert old.last_fraction < patient.record["surgery_date"]["value"]
    # Today a tube lies where the stomach was drawn from; then it lay under the diaphragm.
    assert (
        np.concatenate(old.case.structures["Stomach"].contours)[:, 2].max()
        < np.concatenate(old.case.structures["Trachea"].contours)[:, 2].min()
    )


def test_a_solid_that_does_not_move_is_drawn_as_it_is() -> None:
    body = today().anatomy
    grid = today().scan.image.grid
    planes, _, _ = grid.axes_mm()
    solid = body.spine.bones["VB_T09"]
    base = warped.around(body, grid, lambda points: points, (1.0, 1.0, 1.0))
    blocks = warped.sampled([solid], body.build.offset_mm, base)
    (lines,) = warped.draw(blocks, base, planes[::4], lambda points: points, 1.0)
    points = np.concatenate(lines) - np.array(body.build.offset_mm)
    off = np.abs([field_at(solid, point) for point in points[::7]])
    assert np.median(off) < 0.05
    assert np.quantile(off, 0.95) < 0.5


def test_patients_without_an_earlier_course_and_bad_seeds_are_refused() -> None:
    with pytest.raises(InputError, match="'oesophagus' has no earlier course"):
        earlier_scan(make("oesophagus", 0, "coarse"))
    with pytest.raises(InputError, match="seed of an earlier scan is -1"):
        earlier_scan(today(), -1)

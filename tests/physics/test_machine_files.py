"""Machine files: what is read is what was written, and what is wrong is named."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from tailort.errors import InputError
from tailort.physics import machine, machines
from tailort.physics.machines import machine_facts, machine_of_facts, machine_text, read_machine


@pytest.mark.parametrize("name", sorted(machines()))
def test_a_written_machine_is_read_back_number_by_number(name: str) -> None:
    found = read_machine(machine_text("mine", machine_facts()[name]), "mine.yaml")
    packaged = machine(name)
    assert found.id == "mine"
    assert found.sources == packaged.sources
    assert found.leaf_boundaries_mm == packaged.leaf_boundaries_mm
    assert found.head.profile == packaged.head.profile
    np.testing.assert_array_equal(found.spectrum.number, packaged.spectrum.number)
    assert found.head.extrafocal_share == packaged.head.extrafocal_share


@pytest.mark.parametrize("name", ["generic-6MV", "generic-10MV-FFF"])
def test_generic_machines_have_60_pairs_of_leaves_and_every_part_of_a_head(name: str) -> None:
    found = machine(name)
    assert list(np.diff(found.leaf_boundaries_mm)) == [10.0] * 10 + [5.0] * 40 + [10.0] * 10
    head = found.head
    assert min(head.source_sigma_mm, head.extrafocal_share, head.contamination_cm2_g, head.leaf_end_gap_mm) > 0
    assert "not a clinical beam" in found.label
    assert (found.reference_ssd_mm, found.reference_depth_mm, found.reference_dose_gy_per_mu) == (900.0, 100.0, 0.01)


@pytest.mark.parametrize("name", ["point-6MV", "point-10MV-FFF"])
def test_point_machines_have_a_bare_flat_beam(name: str) -> None:
    found = machine(name)
    head = found.head
    assert head.source_sigma_mm == head.extrafocal_share == head.contamination_cm2_g == head.leaf_end_gap_mm == 0
    assert head.tongue_mm == head.jaw_offset_mm == found.leaf_transmission == found.jaw_transmission == 0
    radii = np.array([0.0, 50.0, 150.0, 280.0])
    np.testing.assert_array_equal(found.primary_fluence(radii), 1.0)
    np.testing.assert_array_equal(found.hardness(radii), 1.0)


def test_flattened_beams_soften_off_the_axis_and_others_do_not() -> None:
    flattened, free = (
        machine(name).hardness([0.0, 50.0, 100.0, 150.0]) for name in ("generic-6MV", "generic-10MV-FFF")
    )
    assert flattened[0] == 1
    assert (np.diff(flattened) > 0).all()
    # Tailor et al. 1998 as recalled: about 6 % at 10 cm.
    assert flattened[2] == pytest.approx(1.06, abs=0.005)
    np.testing.assert_array_equal(free, 1.0)


def test_an_fff_beam_falls_off_the_axis_as_recalled() -> None:
    found = machine("generic-10MV-FFF").primary_fluence([50.0, 100.0, 150.0, 200.0])
    np.testing.assert_allclose(found, [0.91, 0.75, 0.61, 0.50], atol=0.03)


@pytest.mark.parametrize(
    ("number", "fact", "told"),
    [
        ("energy_mv", {"value": "six", "source": "x", "mark": "D"}, "energy_mv of 'six'"),
        ("flattened", {"value": 1, "source": "x", "mark": "D"}, "flattened of 1"),
        ("jaw_limit_mm", {"value": True, "source": "x", "mark": "D"}, "jaw_limit_mm of True"),
        ("leaf_reach_mm", {"value": [1, 2, 3], "source": "x", "mark": "D"}, "leaf_reach_mm of"),
        ("leaf_gap_mm", {"value": 0.5, "source": "x"}, "leaf_gap_mm needs a value, a source and a mark"),
        ("leaf_gap_mm", {"value": 0.5, "source": "x", "mark": "Z"}, "leaf_gap_mm needs"),
        ("spectrum", {"value": {"table": "g7"}, "source": "x", "mark": "D"}, "g6, fff10"),
        ("spectrum", {"value": {"end_mev": 6}, "source": "x", "mark": "D"}, "spectrum of"),
        ("extrafocal_share", {"value": 0.7, "source": "x", "mark": "D"}, "extrafocal_share of 0.7"),
        ("extrafocal_distance_mm", {"value": 600, "source": "x", "mark": "D"}, "nearer to the source"),
        ("extrafocal_sigma_mm", {"value": 1, "source": "x", "mark": "D"}, "too narrow"),
        ("leaf_distance_mm", {"value": 1200, "source": "x", "mark": "D"}, "above the isocentre"),
        ("profile", {"value": [[0, 1], [0, 1]], "source": "x", "mark": "D"}, "ascend"),
        ("profile", {"value": [[0, 1], [50, -1]], "source": "x", "mark": "D"}, "above 0"),
        ("reference_dose_gy_per_mu", {"value": 0, "source": "x", "mark": "D"}, "reference_dose_gy_per_mu"),
        ("tongue_transmission", {"value": 2, "source": "x", "mark": "D"}, "tongue_transmission"),
        ("source_sigma_mm", {"value": -1, "source": "x", "mark": "D"}, "source_sigma_mm"),
        ("jaw_offset_mm", {"value": 50, "source": "x", "mark": "D"}, "jaw_offset_mm"),
    ],
)
def test_a_machine_file_with_an_ill_number_says_which(number: str, fact: dict[str, object], told: str) -> None:
    facts = copy.deepcopy(machine_facts()["generic-6MV"])
    facts[number] = fact
    with pytest.raises(InputError) as caught:
        machine_of_facts("mine", facts, "mine.yaml")
    assert told in str(caught.value)
    assert "mine" in str(caught.value)


def test_a_machine_file_says_which_numbers_it_lacks_and_which_are_unknown() -> None:
    facts = copy.deepcopy(machine_facts()["generic-6MV"])
    del facts["tongue_mm"]
    with pytest.raises(InputError, match=r"mine.yaml lacks tongue_mm"):
        machine_of_facts("mine", facts, "mine.yaml")
    facts = {**machine_facts()["generic-6MV"], "colour": {"value": 1, "source": "x", "mark": "D"}}
    with pytest.raises(InputError, match="unknown colour"):
        machine_of_facts("mine", facts, "mine.yaml")


@pytest.mark.parametrize(
    ("text", "told"),
    [("a: [1", "is not YAML"), ("", "has no machine"), ("- 1", "has no machine"), ("a: 1", "is not a mapping")],
)
def test_a_text_that_is_no_machine_file_is_refused(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_machine(text, "mine.yaml")


def test_a_file_with_two_machines_is_refused() -> None:
    facts = machine_facts()["point-6MV"]
    with pytest.raises(InputError, match="2 machines"):
        read_machine(machine_text("one", facts) + machine_text("two", facts), "both.yaml")

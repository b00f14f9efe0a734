"""The machines that the package carries say what they are."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from tailort.errors import InputError
from tailort.physics import Machine, machine, machines
from tailort.physics.machine import Head, Motion


def test_an_unknown_machine_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="generic-6MV"):
        machine("truebeam")


@pytest.mark.parametrize("name", sorted(machines()))
def test_every_number_of_a_machine_names_its_source_and_mark(name: str) -> None:
    found = machine(name)
    for field in (*fields(Machine), *fields(Head), *fields(Motion)):
        if field.name not in ("id", "label", "sources", "head", "motion"):
            lines = [line for line in found.sources if line.startswith(f"{field.name}: ")]
            assert len(lines) == 1, field.name
            assert lines[0].endswith(("[S]", "[V]", "[D]", "[R]", "[F]"))


def test_the_generic_machine_is_no_clinical_beam_and_has_a_60_leaf_pairs() -> None:
    found = machine("generic-6MV")
    assert "not a clinical beam" in found.label
    assert found.leaf_pairs == 60
    np.testing.assert_allclose(np.diff(found.leaf_boundaries_mm), [10.0] * 10 + [5.0] * 40 + [10.0] * 10)
    assert (found.leaf_boundaries_mm[0], found.leaf_boundaries_mm[-1]) == (-200.0, 200.0)
    assert found.reference_ssd_mm == 900.0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"leaf_boundaries_mm": (0.0, 5.0, 5.0)}, "ascend"),
        ({"tpr20_10": 68.0}, "TPR20,10"),
        ({"penumbra_sigma_mm": 0.0}, "sharp"),
        ({"leaf_transmission": 1.5}, "share"),
    ],
)
def test_a_machine_that_cannot_be_is_refused(change: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        replace(machine("generic-6MV"), **change)  # type: ignore[arg-type]

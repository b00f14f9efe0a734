"""Chemotherapy before radiotherapy: days from the first one, by the arms of E-0113."""

from __future__ import annotations

import pytest

from tailort.errors import InputError
from tailort.protocols import load
from tailort.protocols.drugs import DrugsSection
from tailort.protocols.regimen_days import regimen_days

SECTION = load("rtog-e0113").file.drugs
assert SECTION is not None
DRUGS: DrugsSection = SECTION


@pytest.mark.parametrize("arm", ["arm-1", "arm-2"])
@pytest.mark.parametrize(("cycles", "start"), [(1, 29), (2, 57)])
def test_radiotherapy_begins_on_day_29_of_the_last_cycle(arm: str, cycles: int, start: int) -> None:
    made = regimen_days(DRUGS, f"{arm}-concurrent", cycles)
    assert made.starts == {f"{arm}-induction": 1, f"{arm}-concurrent": start}
    weekly = [one for one in made.drugs if one.regimen == f"{arm}-concurrent" and one.infusion_hours is None]
    assert [one.first_day for one in weekly] == [start + 7 * week for week in range(6)]


@pytest.mark.parametrize(("arm", "drug"), [("arm-1", "5-fluorouracil"), ("arm-2", "paclitaxel")])
def test_the_infusion_of_96_hours_runs_over_4_days_in_a_row(arm: str, drug: str) -> None:
    made = regimen_days(DRUGS, f"{arm}-concurrent", 1)
    infusions = [one for one in made.drugs if one.infusion_hours is not None]
    assert {(one.drug, one.infusion_hours) for one in infusions} == {(drug, 96.0)}
    assert {24 * (one.last_day - one.first_day + 1) for one in infusions} == {96}


def test_g_csf_is_given_in_arm_1_on_its_printed_days_and_in_arm_2_not_at_all() -> None:
    made = regimen_days(DRUGS, "arm-1-concurrent", 2)
    assert [(one.first_day, one.last_day) for one in made.drugs if one.drug == "G-CSF"] == [(6, 15), (34, 42)]
    assert made.notes == ()
    assert not [one for one in regimen_days(DRUGS, "arm-2-concurrent", 2).drugs if one.drug == "G-CSF"]


def test_a_window_of_a_cycle_that_is_not_given_is_left_out_and_told() -> None:
    made = regimen_days(DRUGS, "arm-1-concurrent", 1)
    assert [(one.first_day, one.last_day) for one in made.drugs if one.drug == "G-CSF"] == [(6, 15)]
    assert "days 34 to 42" in made.notes[0]


def test_every_drug_names_its_rules_and_none_may_be_ordered() -> None:
    assert all(one.rules for one in regimen_days(DRUGS, "arm-1-concurrent", 2).drugs)
    every = [drug for regimen in DRUGS.regimens for drug in regimen.drugs]
    assert {(drug.order, drug.default) for drug in every} == {("never", None)}


@pytest.mark.parametrize(
    ("regimen", "cycles", "says"),
    [("arm-3", 1, "no regimen that comes after"), ("arm-1-induction", 1, "those are: arm-1-concurrent"),
     ("arm-1-concurrent", 3, "the protocol allows 1 or 2")],
)  # fmt: skip
def test_what_the_protocol_does_not_allow_is_refused(regimen: str, cycles: int, says: str) -> None:
    with pytest.raises(InputError, match=says):
        regimen_days(DRUGS, regimen, cycles)

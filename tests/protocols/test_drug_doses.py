"""Doses of drugs by every reading of their text (MS-80 to MS-83, MS-91): calculated from the protocol's file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.protocols import load
from tailort.protocols.drug_doses import DrugDose, drug_dose
from tailort.protocols.drugs import DoseReading, DrugEntry

SALVAGE = load("salvage-crt").file
assert SALVAGE.drugs is not None
CONCURRENT = next(entry for entry in SALVAGE.drugs.regimens if entry.id == "concurrent")
DRUGS = {drug.name: drug for drug in (*CONCURRENT.drugs, *CONCURRENT.one_of)}
BSA = st.floats(0.5, 3.0)


def per_cycle(drug: str, bsa_m2: float, factor: float = 1.0) -> dict[str, float | None]:
    return {dose.reading: dose.mg_per_cycle for dose in drug_dose(DRUGS[drug], bsa_m2, factor).doses}


@pytest.mark.parametrize(("bsa", "low", "high"), [(1.5, 202.5, 225), (1.6, 216, 240), (1.8, 243, 270)])
def test_we_48_paclitaxel(bsa: float, low: float, high: float) -> None:
    assert per_cycle("paclitaxel", bsa) == {"lowest": low, "highest": high}
    assert drug_dose(DRUGS["paclitaxel"], bsa).taken == "lowest"


@pytest.mark.parametrize(("bsa", "cycle", "day"), [(1.5, 45, 22.5), (1.6, 48, 24), (1.8, 50, 25)])
def test_we_49_lobaplatin_per_cycle(bsa: float, cycle: float, day: float) -> None:
    answer = drug_dose(DRUGS["lobaplatin"], bsa)
    assert answer.taken == "per-cycle"
    (dose,) = [dose for dose in answer.doses if dose.reading == answer.taken]
    assert dose.mg_per_cycle == cycle
    assert dose.mg_by_day == ((1, day), (2, day))
    assert dose.capped == (bsa == 1.8)


@pytest.mark.parametrize(("bsa", "each_day", "capped"), [(1.5, 90, 50), (1.6, 96, 50), (1.8, 100, 50)])
def test_we_50_lobaplatin_each_day(bsa: float, each_day: float, capped: float) -> None:
    found = per_cycle("lobaplatin", bsa)
    assert found["each-day-capped-each-day"] == each_day
    assert found["each-day-capped-per-cycle"] == capped


def test_we_52_80_percent_of_216_mg_paclitaxel() -> None:
    assert per_cycle("paclitaxel", 1.6, 0.8)["lowest"] == 172.8


def test_ms_82_nedaplatin_shows_both_readings_and_takes_none() -> None:
    answer = drug_dose(DRUGS["nedaplatin"], 1.6)
    assert (answer.taken, answer.order) == (None, "never")
    assert per_cycle("nedaplatin", 1.6) == {"each-day": 160, "per-cycle": 80}


@given(BSA, st.sampled_from([1.0, 0.8]), st.sampled_from(sorted(DRUGS)))
def test_every_dose_says_that_it_is_no_order(bsa: float, factor: float, drug: str) -> None:
    assert "not an order" in drug_dose(DRUGS[drug], bsa, factor).statement
    assert "not an order" in drug_dose(DRUGS[drug], None).statement


def caps(drug: DrugEntry) -> dict[str, DoseReading]:
    return {dose.id: dose for dose in drug.doses}


@given(BSA, st.sampled_from(sorted(DRUGS)))
def test_no_cap_is_exceeded_and_days_add_up(bsa: float, drug: str) -> None:
    for dose in drug_dose(DRUGS[drug], bsa).doses:
        assert dose.mg_per_cycle is not None
        printed = caps(DRUGS[drug])[dose.reading]
        assert sum(mg for _, mg in dose.mg_by_day) == pytest.approx(dose.mg_per_cycle, rel=1e-12)
        if printed.cap_mg is not None:
            most = dose.mg_per_cycle if printed.cap_per == "cycle" else max(mg for _, mg in dose.mg_by_day)
            assert most <= printed.cap_mg
            assert dose.capped == (most == printed.cap_mg)


@given(BSA)
def test_the_default_of_lobaplatin_is_the_lowest_reading(bsa: float) -> None:
    found = per_cycle("lobaplatin", bsa)
    assert found["per-cycle"] == min(value for value in found.values() if value is not None)


@given(BSA, BSA, st.sampled_from(sorted(DRUGS)))
def test_a_larger_patient_never_gets_less(first: float, second: float, drug: str) -> None:
    less, more = per_cycle(drug, min(first, second)), per_cycle(drug, max(first, second))
    assert all((less[name] or 0) <= (more[name] or 0) for name in less)


def test_the_reduced_dose_is_80_percent_of_the_capped_one() -> None:
    assert list(per_cycle("lobaplatin", 1.8, 0.8).values()) == [40, 80, 40]


def test_without_body_surface_every_reading_is_told_without_a_number() -> None:
    answer: DrugDose = drug_dose(DRUGS["lobaplatin"], None)
    assert answer.missing == ("body surface area",)
    assert {(dose.mg_per_cycle, dose.mg_by_day, dose.capped) for dose in answer.doses} == {(None, (), None)}
    assert "at most 50 mg a cycle" in answer.doses[0].text


@pytest.mark.parametrize("bsa", [0.49, 3.01, 0, -1, float("nan"), float("inf")])
def test_a_body_surface_out_of_range_is_refused(bsa: float) -> None:
    with pytest.raises(InputError, match="body surface area"):
        drug_dose(DRUGS["paclitaxel"], bsa)


@pytest.mark.parametrize("factor", [0, -0.8, 1.2, float("nan")])
def test_a_factor_that_is_no_part_of_the_dose_is_refused(factor: float) -> None:
    with pytest.raises(InputError, match="dose factor"):
        drug_dose(DRUGS["paclitaxel"], 1.6, factor)

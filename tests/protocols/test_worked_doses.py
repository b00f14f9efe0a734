"""Worked examples of prescriptions that come with the protocols' files."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest

from tailort.protocols import load
from tailort.protocols.plans import with_plan
from tailort.radiobiology import bed, dose_from_bed

SALVAGE, E0113 = load("salvage-crt"), load("rtog-e0113")


def test_we_09_the_boosts_of_plan_b_are_all_that_fit_the_printed_ranges() -> None:
    fitting = {(n, d) for n, d in product((5, 6, 7), (Fraction("1.8"), Fraction(2))) if 10 <= n * d <= 12}
    plan = next(plan for plan in SALVAGE.file.plans if plan.id == "B")
    courses = [plan.prescriptions, *(option.prescriptions for option in plan.options)]
    offered = [next(p for p in course if p.phase == 2) for course in courses]
    assert {(p.fractions, p.dose_per_fraction_gy) for p in offered} == fitting
    assert [p.dose_gy for p in offered] == [10.0, 10.8, 12.0]


def test_we_13_and_we_14_the_icru_point_of_the_93_percent_isodose() -> None:
    share = {p.normalisation.percent for p in E0113.prescriptions()}
    assert share == {93.0}
    a_fraction = {p.dose_per_fraction_gy / 0.93 for p in E0113.prescriptions()}
    assert {round(gy, 4) for gy in a_fraction} == {1.9355}
    assert {round(gy, 2) for gy in a_fraction} == {1.94}
    fractions = sum(p.fractions for p in E0113.prescriptions())
    assert round(1.94 * 0.93, 4) == 1.8042
    assert (round(fractions * 1.94, 2), round(fractions * 1.94 * 0.93, 2)) == (54.32, 50.52)
    assert round(E0113.course_gy("PTV_5040") / 0.93, 2) == 54.19


def test_we_15_22_fractions_of_ap_pa_leave_6_of_10_8_gy() -> None:
    assert [(p.dose_gy, p.fractions, p.dose_per_fraction_gy) for p in E0113.prescriptions()] == [
        (39.6, 22, pytest.approx(1.8)),
        (10.8, 6, pytest.approx(1.8)),
    ]


def test_we_12_the_cone_down_makes_64_8_gy_in_36_fractions() -> None:
    rtog = load("rtog-9405")
    assert rtog.course_gy("PTV_6480") == 64.8
    phases = {p.phase: p.fractions for p in rtog.prescriptions()}
    assert sum(phases.values()) == 36


@pytest.mark.parametrize(("metric", "sbrt", "cumulative", "prior"), [
    ("Max", 127, 227, 100), ("D0.035cc", 114, 209, 95), ("D1cc", 83, 175, 92),
])  # fmt: skip
def test_we_34_what_the_perforated_oesophagus_had_before(metric: str, sbrt: int, cumulative: int, prior: int) -> None:
    """60 Gy in 30 fractions are the whole prior BED of the maximum, and no more than it anywhere else."""
    assert cumulative - sbrt == prior
    whole = float(bed(60, 30, 3))
    if metric == "Max":
        assert prior == pytest.approx(whole)
    else:
        assert prior < whole
    assert float(bed(dose_from_bed(prior, 30, 3), 30, 3)) + sbrt == pytest.approx(cumulative)


@pytest.mark.parametrize(("plan", "gy", "fractions"), [("A", 59.92, 28), ("C", 60.0, 30), ("D", 59.4, 33)])
def test_we_01_we_04_and_we_05_totals_of_the_plans(plan: str, gy: float, fractions: int) -> None:
    highest = max(with_plan(SALVAGE, plan).course(), key=lambda p: p.dose_gy)
    assert (highest.dose_gy, highest.fractions) == (gy, fractions)

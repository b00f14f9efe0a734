"""RSI and GARD: worked examples, ranks, equal expression, readings, validity."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailort.errors import InputError
from tailort.radiobiology import gard, rsi
from tailort.radiobiology.genes import coefficients

# The order of the formula.
GENES = ("AR", "cJun", "STAT1", "PKC", "RelA", "cABL", "SUMO1", "PAK2", "HDAC1", "IRF1")
EXAMPLE = (1, 6, 9, 2, 5, 4, 10, 3, 8, 7)
expressions = st.lists(st.integers(-50, 50), min_size=10, max_size=10, unique=True)


def sample(values) -> dict[str, float]:
    return dict(zip(GENES, map(float, values), strict=True))


def test_we_66_the_weighted_sum_of_ranks() -> None:
    assert rsi(sample(EXAMPLE)).value == pytest.approx(0.198756, abs=5e-7)


def test_we_67_the_weighted_sum_of_descending_ranks() -> None:
    assert rsi(sample(range(10, 0, -1))).value == pytest.approx(0.607184, abs=5e-7)


@pytest.mark.parametrize(("fractions", "fraction_gy", "value"), [(30, 2.0, 27.49), (28, 1.8, 22.59), (28, 2.14, 27.87)])
def test_we_64_gard_of_an_rsi_of_0_40(fractions: int, fraction_gy: float, value: float) -> None:
    found = gard(0.40, fraction_gy, fractions)
    assert found.alpha_per_gy == pytest.approx(0.35815, abs=5e-6)
    assert found.value == pytest.approx(value, abs=0.005)
    assert found.flags == ()


@pytest.mark.parametrize(
    ("index", "value", "negative"), [(0.30, 36.12, False), (0.60, 15.32, False), (0.90, 3.16, True)]
)
def test_we_65_gard_of_30_fractions_of_2_gy(index: float, value: float, negative: bool) -> None:
    found = gard(index, 2.0, 30)
    assert found.value == pytest.approx(value, abs=0.005)
    assert any("alpha_g is negative" in flag for flag in found.flags) == negative


def test_we_68_the_dose_for_a_gard_of_33() -> None:
    assert gard(0.40, 2.0).dose_gy(33.0) == pytest.approx(72.03, abs=0.005)
    assert gard(0.40, 2.0).value is None


@given(expressions, st.floats(0.1, 10.0), st.floats(-100.0, 100.0))
def test_only_the_order_of_the_genes_counts(values, factor: float, shift: float) -> None:
    plain, moved = rsi(sample(values)), rsi(sample([factor * v + shift for v in values]))
    assert moved.value == pytest.approx(plain.value)
    assert sorted(rank for _, rank in plain.ranks) == list(range(1, 11))


@given(expressions)
def test_the_index_lies_in_its_algebraic_range(values) -> None:
    # RB-77: -0.605 to 1.219 on ranks.
    assert -0.6055 <= rsi(sample(values)).value <= 1.2195


@given(expressions, st.lists(st.sampled_from(range(10)), min_size=2, max_size=3, unique=True))
def test_equal_expressions_get_their_mean_rank_and_the_range_of_every_order(values, tied) -> None:
    level = values[tied[0]]
    equal = [level if n in tied else v for n, v in enumerate(values)]
    orders = []
    for order in itertools.permutations(range(len(tied))):
        apart = [float(v) for v in equal]
        for n, place in zip(tied, order, strict=True):
            apart[n] = level + 0.1 * place
        orders.append(rsi(sample(apart)).value)
    found = rsi(sample(equal))
    assert (found.lowest, found.highest) == pytest.approx((min(orders), max(orders)))
    assert found.value == pytest.approx(sum(orders) / len(orders))
    assert any("same expression" in flag for flag in found.flags)


@given(st.floats(0.01, 0.81), st.floats(0.5, 4.0), st.integers(1, 40))
def test_at_2_gy_gard_is_minus_n_ln_rsi_and_the_dose_for_it_is_the_dose(index: float, d: float, n: int) -> None:
    assert gard(index, 2.0, n).value == pytest.approx(-n * math.log(index))
    found = gard(index, d, n)
    assert found.value is not None
    assert found.dose_gy(found.value) == pytest.approx(n * d)


@given(st.floats(0.01, 0.8), st.floats(0.01, 0.8))
def test_a_higher_index_is_more_resistant(first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert gard(low, 2.0, 30).value >= gard(high, 2.0, 30).value
    assert gard(low, 2.0).dose_gy(30.0) <= gard(high, 2.0).dose_gy(30.0)


def test_the_other_reading_puts_cdk1_in_the_eighth_place() -> None:
    both = sample(EXAMPLE) | {"CDK1": 100.0}
    assert rsi(both).value == rsi(sample(EXAMPLE)).value
    other = rsi(both, "CDK1")
    # CDK1 has rank 10 instead of PAK2's 3; those above PAK2 fall by one.
    ranks = dict(other.ranks)
    assert (ranks["CDK1"], ranks["SUMO1"], ranks["JUN"]) == (10, 9, 5)
    assert other.value == pytest.approx(sum(w * ranks[g] for g, w in coefficients("CDK1").items()))
    with pytest.raises(InputError, match="no reading 'TP53'; known are PAK2, CDK1"):
        rsi(both, "TP53")


def test_a_missing_gene_is_refused_by_name() -> None:
    lacking = sample(EXAMPLE)
    del lacking["SUMO1"]
    with pytest.raises(InputError, match=r"missing: SUMO1$"):
        rsi(lacking)
    swapped = sample(EXAMPLE) | {"CDK1": 3.0}
    del swapped["PAK2"]
    with pytest.raises(InputError, match="missing: PAK2; CDK1 is there, which is the other reading of RB-76"):
        rsi(swapped)


def test_a_gene_under_two_names_is_refused() -> None:
    with pytest.raises(InputError, match="JUN is there twice"):
        rsi(sample(EXAMPLE) | {"JUN": 3.0})


def test_an_index_that_is_no_surviving_fraction_is_flagged_and_has_no_gard() -> None:
    weights = list(coefficients().values())
    descending = sorted(range(10), key=lambda n: weights[n], reverse=True)
    lowest = rsi(sample([descending.index(n) for n in range(10)]))
    assert lowest.value == pytest.approx(min(-0.6, lowest.value))
    assert "not above 0" in lowest.flags[0]
    highest = rsi(sample([-descending.index(n) for n in range(10)]))
    assert "not below 1" in highest.flags[0]
    assert gard(highest.value, 2.0).dose_gy(30.0) is None
    assert any("no dose has an effect" in flag for flag in gard(highest.value, 2.0).flags)


@pytest.mark.parametrize(
    "make",
    [
        lambda: gard(0.0, 2.0, 30),
        lambda: gard(0.4, 0.0, 30),
        lambda: gard(0.4, 2.0, 0),
        lambda: gard(0.4, 2.0, 30).dose_gy(0.0),
        lambda: rsi(sample(EXAMPLE) | {"AR": math.nan}),
    ],
)
def test_what_has_no_meaning_is_refused(make) -> None:
    with pytest.raises(InputError):
        make()

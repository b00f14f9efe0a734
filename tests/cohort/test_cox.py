"""Cox's model: its laws, likelihoods without a maximum, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tailort.cohort.cox import TIES, cox, cox_of, fit_cox, proportional_hazards, proportional_hazards_of
from tailort.cohort.log_rank import log_rank
from tailort.errors import InputError


def cohort(seed: int, patients: int = 60, tied: bool = True) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    x = np.c_[rng.normal(60, 10, patients), rng.integers(0, 2, patients)]
    event = rng.exponential(12 * np.exp(-0.03 * (x[:, 0] - 60) - 0.5 * x[:, 1]))
    end = rng.uniform(2, 30, patients)
    times = np.minimum(event, end)
    return np.ceil(times) if tied else times, event <= end, x, rng.integers(0, 3, patients)


def log_likelihood(times, events, linear, efron: bool) -> float:
    """By hand, event time by event time."""
    total = 0.0
    for time in np.unique(times[events]):
        at_risk, gone = np.exp(linear[times >= time]).sum(), np.exp(linear[(times == time) & events])
        total += np.log(gone).sum()
        total -= sum(np.log(at_risk - (k / len(gone) if efron else 0.0) * gone.sum()) for k in range(len(gone)))
    return total


SEEDS = st.integers(0, 10_000)


@given(SEEDS, st.sampled_from(TIES))
@settings(max_examples=25)
def test_the_fit_is_the_maximum_of_the_partial_likelihood(seed, ties) -> None:
    times, events, x, _ = cohort(seed)
    fit = cox(times, events, x, ["age", "arm"], ties=ties)
    best = np.array([term.coefficient for term in fit.terms])
    top = log_likelihood(times, events, x @ best, ties == "efron")
    assert fit.log_likelihood == pytest.approx(top, abs=1e-9)
    assert fit.log_likelihood_null == pytest.approx(log_likelihood(times, events, 0 * times, ties == "efron"))
    for direction in np.eye(2):
        for side in (-1e-4, 1e-4):
            assert log_likelihood(times, events, x @ (best + side * direction), ties == "efron") < top


@given(SEEDS, st.sampled_from(TIES))
@settings(max_examples=25)
def test_the_covariance_is_the_inverse_of_the_curvature(seed, ties) -> None:
    times, events, x, _ = cohort(seed)
    fit = cox(times, events, x, ["age", "arm"], ties=ties)
    best = np.array([term.coefficient for term in fit.terms])
    step = np.array([1e-4, 1e-3])
    at = np.array(
        [
            [log_likelihood(times, events, x @ (best + step * [i, j]), ties == "efron") for j in (-1, 0, 1)]
            for i in (-1, 0, 1)
        ]
    )
    cross = (at[2, 2] - at[2, 0] - at[0, 2] + at[0, 0]) / 4
    curvature = np.array([[at[2, 1] - 2 * at[1, 1] + at[0, 1], cross], [cross, at[1, 2] - 2 * at[1, 1] + at[1, 0]]])
    np.testing.assert_allclose(fit.covariance, np.linalg.inv(-curvature / np.outer(step, step)), rtol=1e-3)


@given(SEEDS, st.booleans())
@settings(max_examples=25)
def test_of_two_groups_the_score_test_is_the_log_rank_test_when_nothing_is_tied(seed, layered) -> None:
    times, events, x, strata = cohort(seed, tied=False)
    assume(0 < x[:, 1].sum() < len(x))
    more = {"strata": strata} if layered else {}
    fit = cox(times, events, x[:, 1:], ["arm"], **more)
    assert fit.score.statistic == pytest.approx(log_rank(times, events, x[:, 1], **more).statistic)


@given(SEEDS)
@settings(max_examples=25)
def test_with_breslows_ties_the_score_test_is_the_binomial_log_rank_test(seed) -> None:
    times, events, x, strata = cohort(seed)
    fit = cox(times, events, x[:, 1:], ["arm"], ties="breslow", strata=strata)
    test = log_rank(times, events, x[:, 1], ties="binomial", strata=strata)
    assert fit.score.statistic == pytest.approx(test.statistic)


@given(SEEDS)
@settings(max_examples=25)
def test_tie_rules_agree_where_nothing_is_tied(seed) -> None:
    times, events, x, _ = cohort(seed, tied=False)
    one, two = (cox(times, events, x, ["age", "arm"], ties=rule) for rule in TIES)
    for first, second in zip(one.terms, two.terms, strict=True):
        assert first.coefficient == pytest.approx(second.coefficient, rel=1e-9)


@given(SEEDS, st.sampled_from(TIES))
@settings(max_examples=25)
def test_units_of_time_and_of_covariates_do_not_matter(seed, ties) -> None:
    times, events, x, strata = cohort(seed)
    one = cox(times, events, x, ["age", "arm"], strata=strata, ties=ties)
    two = cox(times / 30.4375, events, x * [0.01, 5.0] + [1e3, -7.0], ["age", "arm"], strata=strata, ties=ties)
    assert two.likelihood_ratio.statistic == pytest.approx(one.likelihood_ratio.statistic, abs=1e-9)
    assert two.terms[0].coefficient == pytest.approx(one.terms[0].coefficient / 0.01, rel=1e-7)
    assert two.terms[1].z == pytest.approx(one.terms[1].z, rel=1e-7)
    assert two.concordance == one.concordance


@given(SEEDS, st.sampled_from(TIES))
@settings(max_examples=25)
def test_the_order_of_rows_and_the_names_of_strata_do_not_matter(seed, ties) -> None:
    times, events, x, strata = cohort(seed)
    order = np.random.default_rng(seed).permutation(len(times))
    one = cox(times, events, x, ["age", "arm"], strata=strata, ties=ties)
    names = np.array(["z", "m", "a"])[strata]
    two = cox(times[order], events[order], x[order], ["age", "arm"], strata=names[order], ties=ties)
    np.testing.assert_allclose(one.covariance, two.covariance, rtol=1e-8)
    assert one.terms[0].coefficient == pytest.approx(two.terms[0].coefficient, rel=1e-8)
    assert one.concordance == two.concordance


@given(SEEDS)
@settings(max_examples=25)
def test_turning_the_arms_round_turns_the_hazard_ratio_round(seed) -> None:
    times, events, x, _ = cohort(seed)
    one = cox(times, events, x[:, 1:], ["arm"]).terms[0]
    two = cox(times, events, 1 - x[:, 1:], ["arm"]).terms[0]
    assert one.hazard_ratio is not None
    assert one.hazard_ratio == pytest.approx(1 / two.hazard_ratio)
    assert one.lower == pytest.approx(1 / two.upper)
    assert one.lower < one.hazard_ratio < one.upper


@given(SEEDS)
@settings(max_examples=25)
def test_concordance_counts_the_pairs(seed) -> None:
    times, events, x, strata = cohort(seed, patients=25)
    fit = cox(times, events, x[:, 1:], ["arm"], strata=strata)
    assume(fit.terms[0].coefficient)
    hazard = fit.terms[0].coefficient * x[:, 1]
    right = pairs = 0.0
    for i in np.flatnonzero(events):
        for j in range(len(times)):
            longer = times[j] > times[i] or (times[j] == times[i] and not events[j])
            if longer and strata[i] == strata[j]:
                pairs += 1
                right += 1.0 if hazard[i] > hazard[j] else 0.5 if hazard[i] == hazard[j] else 0.0
    assert fit.concordance == pytest.approx(right / pairs)


def test_all_events_in_one_arm_have_no_hazard_ratio_but_tests() -> None:
    rng = np.random.default_rng(2)
    times, arm, age = rng.exponential(10, 60), np.repeat([0, 1], 30), rng.normal(60, 10, 60)
    events = np.where(arm == 1, rng.integers(0, 2, 60), 0)
    fit = cox(times, events, np.c_[arm, age], ["arm", "age"])
    term, other = fit.terms
    assert (term.coefficient, term.hazard_ratio, term.upper, term.p_value) == (None, None, None, None)
    assert "no maximum in 'arm'" in fit.notes[0]
    assert fit.wald is None
    assert fit.score.p_value < 0.01
    # What is left is the model of age among those in whom events happen.
    only = cox(times[arm == 1], events[arm == 1], age[arm == 1, None], ["age"])
    assert other.coefficient == pytest.approx(only.terms[0].coefficient, rel=1e-6)
    assert other.standard_error == pytest.approx(only.terms[0].standard_error, rel=1e-6)
    assert fit.log_likelihood == pytest.approx(only.log_likelihood, abs=1e-6)


def test_a_covariate_that_orders_the_events_has_no_hazard_ratio() -> None:
    fit = cox([1, 2, 3, 4, 5, 6], [1, 1, 1, 1, 1, 1], [[6], [5], [4], [3], [2], [1]], ["marker"])
    assert fit.terms[0].hazard_ratio is None
    assert fit.log_likelihood == pytest.approx(0.0, abs=1e-8)
    assert fit.concordance == 1.0


def test_a_covariate_that_orders_the_events_as_a_sum_with_another_has_no_hazard_ratio() -> None:
    x = np.random.default_rng(1).normal(size=(20, 2))
    fit = cox(np.exp(-x.sum(axis=1)), np.ones(20), x, ["one", "other"])
    assert [term.coefficient for term in fit.terms] == [None, None]


def test_what_nothing_tells_beside_a_separation_has_no_hazard_ratio() -> None:
    # The only one of group b dies first; from then on events happen where c alone is at risk.
    b, c = [0, 1, 0, 0, 0], [0, 0, 1, 1, 1]
    fit = cox([0, 0, 10, 20, 30], [0, 1, 1, 1, 0], np.c_[b, c], ["b", "c"])
    assert [term.hazard_ratio for term in fit.terms] == [None, None]
    assert np.isnan(fit.covariance).all()
    assert any("'c' has no hazard ratio: beside the infinite one" in note for note in fit.notes)


def test_one_fit_tells_of_hazard_ratios_and_of_proportional_hazards_what_each_tells_alone() -> None:
    times, events, x, strata = cohort(4)
    rows = (times, events, x, ["age", "arm"])
    fitted = fit_cox(*rows, strata=strata, ties="breslow")
    alone = cox(*rows, strata=strata, ties="breslow", confidence=0.9)
    together = cox_of(fitted, 0.9)
    assert together.terms == alone.terms
    assert together.covariance.tolist() == alone.covariance.tolist()
    assert (together.ties, together.confidence) == ("breslow", 0.9)
    held = proportional_hazards(*rows, strata=strata, ties="breslow", transform="rank")
    assert proportional_hazards_of(fitted, "rank") == held


def test_one_time_at_which_groups_are_at_risk_together_tests_no_proportional_hazards() -> None:
    # After time 2 group 1 alone is left.
    times, events, group = [2, 2, 2, 3, 4], [1, 0, 1, 1, 1], np.array([[0.0], [0.0], [1.0], [1.0], [1.0]])
    assert cox(times, events, group, ["group"]).terms[0].hazard_ratio is not None
    with pytest.raises(InputError, match="too few events have different patients at risk"):
        proportional_hazards(times, events, group, ["group"])


def test_a_strong_effect_is_not_taken_for_a_separation() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=500)
    fit = cox(rng.exponential(size=500) * np.exp(-6 * x), np.ones(500), x[:, None], ["marker"])
    assert fit.terms[0].coefficient == pytest.approx(6.0, abs=4 * fit.terms[0].standard_error)


def test_few_events_are_told() -> None:
    times, events, x, _ = cohort(0, patients=12)
    assert "fewer than 10 each" in cox(times, events, x, ["age", "arm"]).notes[-1]


@pytest.mark.parametrize("transform", ["km", "rank", "identity", "log"])
def test_hazards_that_cross_are_found_and_proportional_ones_are_not(transform) -> None:
    rng = np.random.default_rng(9)
    arm = np.repeat([0, 1], 300)
    crossing = np.where(arm == 1, rng.weibull(3.0, 600), rng.weibull(0.7, 600)) * 10
    level = rng.exponential(np.where(arm == 1, 5, 10))
    found = [
        proportional_hazards(times, np.ones(600), arm[:, None], ["arm"], transform=transform).whole.p_value
        for times in (crossing, level)
    ]
    assert found[0] < 1e-6
    assert found[1] > 0.01


def test_one_covariate_has_the_same_test_alone_and_as_a_whole() -> None:
    times, events, x, _ = cohort(3)
    found = proportional_hazards(times, events, x[:, 1:], ["arm"])
    assert found.terms[0].statistic == pytest.approx(found.whole.statistic)


BAD = [
    ({"times": [1.0], "events": [1], "x": [[1.0]]}, "found one row"),
    ({"events": [0, 0, 0, 0]}, "no event among 4 patients"),
    ({"x": [[1.0], [np.nan], [0.0], [1.0]]}, "row 2 has no 'arm'"),
    ({"x": [["a"], ["b"], ["a"], ["b"]]}, "not a number"),
    ({"x": [1.0, 0.0, 1.0, 0.0]}, "one row per patient and one column per name"),
    ({"x": np.ones((4, 1))}, "'arm' cannot be estimated"),
    ({"x": [[0.0], [1.0], [2.0], [2.0]], "events": [0, 0, 0, 1]}, "'arm' cannot be estimated"),
    ({"x": [[0, 0], [1, 2], [0, 0], [1, 2]], "names": ["arm", "twice"]}, "'arm' and 'twice' cannot be estimated"),
    ({"names": ["arm", "arm"], "x": np.eye(4)[:, :2]}, "each name once"),
    ({"times": [1, 2, -3, 4]}, "row 3 has the negative time"),
    ({"events": [1, 0, 2, 1]}, "row 3 has event 2"),
    ({"ties": "exact"}, "tie rule 'exact' is not known; give one of efron, breslow"),
]


@pytest.mark.parametrize(("bad", "text"), BAD)
def test_bad_rows_are_refused_in_one_sentence(bad, text) -> None:
    rows = {"times": [1.0, 2.0, 3.0, 4.0], "events": [1, 0, 1, 1], "x": [[0.0], [1.0], [0.0], [1.0]], "names": ["arm"]}
    rows |= bad
    with pytest.raises(InputError, match=text):
        cox(rows.pop("times"), rows.pop("events"), rows.pop("x"), rows.pop("names"), **rows)


def test_proportional_hazards_of_a_separation_or_of_time_0_on_a_log_scale_are_refused() -> None:
    with pytest.raises(InputError, match="no maximum in arm"):
        proportional_hazards([1, 2, 3, 4], [1, 1, 0, 0], [[1], [1], [0], [0]], ["arm"])
    with pytest.raises(InputError, match="a time is 0"):
        proportional_hazards([0, 2, 3, 4], [1, 1, 1, 1], [[1], [0], [1], [0]], ["arm"], transform="log")
    with pytest.raises(InputError, match="all events are at one time"):
        proportional_hazards([2, 2, 3, 4], [1, 1, 0, 0], [[1], [0], [1], [0]], ["arm"])

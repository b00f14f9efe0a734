"""Our numbers are those of R's survival and cmprsk, to 8 digits.

`r_reference/` holds the tables (drawn by make_data.py), the R script that made the numbers (compute.R), and its numbers
with the versions of R and its packages. Set TAILORT_RSCRIPT to the path of Rscript to let R find them again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailort.cohort.cox import cox, proportional_hazards
from tailort.cohort.gray import gray_test
from tailort.cohort.incidence import aalen_johansen
from tailort.cohort.log_rank import log_rank
from tailort.cohort.proportions import binomial_test, chi_square, fisher, proportion
from tailort.cohort.ranks import kruskal_wallis, mann_whitney
from tailort.cohort.survival import INTERVALS, SurvivalCurve, kaplan_meier, reverse_kaplan_meier

FOLDER = Path(__file__).parent / "r_reference"
STORED = json.loads((FOLDER / "numbers.json").read_text(encoding="utf-8"))
NAMES = sorted(STORED["tables"])
RSCRIPT = os.environ.get("TAILORT_RSCRIPT")


def table(name: str) -> dict[str, np.ndarray]:
    read = np.genfromtxt(FOLDER / "data" / f"{name}.csv", delimiter=",", names=True)
    return {column: read[column] for column in read.dtype.names}


def of_r(name: str) -> dict[str, Any]:
    return STORED["tables"][name]


def numbers(found: Any) -> np.ndarray:
    """As an array; None, which is null in R's numbers, as not a number."""
    return np.array(found, dtype=float)


def equal(found: Any, expected: Any, digits: int = 8) -> None:
    np.testing.assert_allclose(numbers(found), numbers(expected), rtol=0.5 * 10.0**-digits, atol=1e-13)


def same_curve(curve: SurvivalCurve, expected: dict[str, Any], asked: list[float]) -> None:
    equal(curve.at_risk_at(asked), expected["n_risk"])
    step = np.searchsorted(curve.times, np.array(asked) * (1 + 1e-12), side="right") - 1
    inside = step >= 0
    for word in ("survival", "standard_error"):
        start = 1.0 if word == "survival" else 0.0
        equal(np.where(inside, getattr(curve, word)[step], start), expected[word])
    # Before the first time R repeats the value of the start; no interval is told here.
    for word in ("lower", "upper"):
        equal(getattr(curve, word)[step[inside]], numbers(expected[word])[inside])
    for place, fraction in enumerate((0.25, 0.5, 0.75)):
        found = curve.quantile(fraction)
        equal(
            [found.time, found.lower, found.upper],
            [expected[word][place] for word in ("quantile", "quantile_lower", "quantile_upper")],
        )


@pytest.mark.parametrize("name", NAMES)
def test_kaplan_meier_with_each_interval_is_that_of_survfit(name: str) -> None:
    data, r = table(name), of_r(name)
    for kind in INTERVALS:
        same_curve(kaplan_meier(data["time"], data["status"] > 0, interval=kind), r["km"][kind], r["asked"])


@pytest.mark.parametrize("name", NAMES)
def test_kaplan_meier_of_each_group_and_follow_up_are_those_of_survfit(name: str) -> None:
    data, r = table(name), of_r(name)
    for label, expected in r["by_group"].items():
        part = data["group"] == int(label)
        asked = np.array(r["asked"])
        same_curve(kaplan_meier(data["time"][part], data["status"][part] > 0), expected, asked.tolist())
    same_curve(reverse_kaplan_meier(data["time"], data["status"] > 0), r["follow_up"], r["asked"])


@pytest.mark.parametrize("name", NAMES)
def test_cumulative_incidence_is_that_of_cuminc_and_of_survfit(name: str) -> None:
    data, r = table(name), of_r(name)
    expected, asked = r["incidence"], np.array(r["asked"])
    causes = [int(cause) for cause in expected["causes"]]
    aalen = aalen_johansen(data["time"], data["status"].astype(int), causes=causes)
    delta = aalen_johansen(data["time"], data["status"].astype(int), causes=causes, variance="delta")
    step = np.searchsorted(aalen.times, asked * (1 + 1e-12), side="right") - 1
    assert step.min() >= 0
    equal(aalen.incidence[step], expected["estimate"])
    equal(aalen.incidence[step], expected["cuminc"])
    equal(aalen.standard_error[step] ** 2, expected["aalen_variance"])
    equal(delta.standard_error[step], expected["delta_error"])
    equal(delta.lower[step], expected["delta_lower"])
    equal(delta.upper[step], expected["delta_upper"])


@pytest.mark.parametrize("name", NAMES)
def test_grays_test_is_that_of_cuminc(name: str) -> None:
    data, r = table(name), of_r(name)
    causes = [int(cause) for cause in r["incidence"]["causes"]]
    status, group = data["status"].astype(int), data["group"].astype(int)
    for case, more in {"plain": {}, "stratified": {"strata": data["stratum"]}, "rho": {"rho": 1.0}}.items():
        for cause, expected in zip(causes, r["gray"][case], strict=True):
            found = gray_test(data["time"], status, group, cause=cause, causes=causes, **more)
            equal([found.statistic, found.p_value, found.degrees_of_freedom], expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_log_rank_test_is_that_of_survdiff(name: str) -> None:
    data, r = table(name), of_r(name)
    events, group = data["status"] > 0, data["group"].astype(int)
    for case, more in {"plain": {}, "stratified": {"strata": data["stratum"]}, "rho": {"rho": 1.0}}.items():
        expected = r["log_rank"][case]
        found = log_rank(data["time"], events, group, **more)
        for word in ("observed", "expected", "covariance"):
            equal(getattr(found, word), expected[word])
        equal([found.statistic], expected["statistic"])
        equal([found.p_value], expected["p_value"])
    found = log_rank(data["time"], events, group, ties="binomial")
    equal([found.statistic], r["log_rank_binomial"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["efron", "breslow", "efron_strata", "breslow_strata"])
def test_coxs_model_is_that_of_coxph(name: str, case: str) -> None:
    data, expected = table(name), of_r(name)["cox"][case]
    strata = data["stratum"] if case.endswith("strata") else None
    given = (data["time"], data["status"] > 0, np.c_[data["age"], data["marker"]], ["age", "marker"])
    ties = "efron" if case.startswith("efron") else "breslow"
    fit = cox(*given, strata=strata, ties=ties)
    equal([term.coefficient for term in fit.terms], expected["coefficient"])
    equal([term.standard_error for term in fit.terms], expected["standard_error"])
    equal(fit.covariance, expected["covariance"])
    equal([fit.log_likelihood, fit.log_likelihood_null], expected["log_likelihood"])
    assert fit.wald is not None
    equal([fit.score.statistic], expected["score"])
    equal([fit.wald.statistic], expected["wald"])
    equal([fit.concordance], expected["concordance"])
    for transform in ("km", "rank", "identity"):
        found = proportional_hazards(*given, strata=strata, ties=ties, transform=transform)
        equal([one.statistic for one in (*found.terms, found.whole)], expected[f"zph_{transform}"])


@pytest.mark.parametrize("name", NAMES)
def test_tests_of_counts_and_of_ranks_are_those_of_r(name: str) -> None:
    data, expected = table(name), of_r(name)["tables"]
    happened, first = data["status"] > 0, data["status"] == 1
    counts = [[np.sum(~happened[data["group"] == g]), np.sum(happened[data["group"] == g])] for g in range(3)]
    counts = [row for row in counts if sum(row)]
    small = [[np.sum(~first[data["marker"] == m]), np.sum(first[data["marker"] == m])] for m in range(2)]
    total, patients = int(first.sum()), len(first)
    assert chi_square(small, continuity=False).p_value == pytest.approx(expected["chi_square_2"][0], rel=1e-8)
    assert chi_square(small, continuity=True).p_value == pytest.approx(expected["chi_square_2_continuity"][0], rel=1e-8)
    if len(counts) > 2:
        assert chi_square(counts, continuity=False).p_value == pytest.approx(expected["chi_square"][0], rel=1e-8)
    assert fisher(counts).p_value == pytest.approx(expected["fisher"][0], rel=1e-8)
    assert fisher(small).p_value == pytest.approx(expected["fisher_2"][0], rel=1e-8)
    share = proportion(total, patients)
    equal([binomial_test(total, patients, 0.3), share.lower, share.upper], expected["binomial"])
    equal([binomial_test(total, patients, 0.3, alternative="less")], expected["binomial_less"])

    ranks = of_r(name)["ranks"]
    found = mann_whitney(data["age"][data["marker"] == 0], data["age"][data["marker"] == 1])
    equal([found.statistic, found.p_value], ranks["mann_whitney"])
    several = kruskal_wallis([data["age"][data["group"] == g] for g in np.unique(data["group"])])
    equal([several.statistic, several.p_value], ranks["kruskal"])


def test_the_tables_are_those_that_the_script_draws(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(FOLDER / "make_data.py"), str(tmp_path)], check=True)
    stored = {path.name: path.read_text(encoding="utf-8") for path in (FOLDER / "data").iterdir()}
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == stored


@pytest.mark.skipif(not RSCRIPT, reason="R is asked only when TAILORT_RSCRIPT names Rscript (Debian: r-cran-cmprsk)")
def test_r_itself_finds_the_stored_numbers_again(tmp_path: Path) -> None:
    result = tmp_path / "numbers.json"
    subprocess.run([str(RSCRIPT), str(FOLDER / "compute.R"), str(FOLDER / "data"), str(result)], check=True)
    again = json.loads(result.read_text(encoding="utf-8"))["tables"]
    for name in NAMES:
        told, stored = list(leaves(again[name])), list(leaves(of_r(name)))
        assert [place for place, _ in told] == [place for place, _ in stored]
        equal([value for _, value in told], [value for _, value in stored], digits=10)


def leaves(tree: Any, place: str = "") -> Any:
    if isinstance(tree, dict | list):
        for key, part in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(part, f"{place}/{key}")
    else:
        yield place, tree

"""`tailort design`: published designs by command, and one sentence where the question cannot be answered."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tailort.cli.app import run

ERRORS = ("--alpha", "0.05", "--power", "0.80")
ELECTIVE = ("binomial", "--null", "0.55", "--assumed", "0.70")


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert run(["design", *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    # Every design says by which method, on how many sides, with which variance.
    assert {"method", "sides", "variance"} <= set(found)
    return found


def text(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(["design", *arguments]) == 0
    return capsys.readouterr().out


def test_we_38_the_exact_binomial_test_is_designed(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, *ELECTIVE, *ERRORS)
    exact = found["exact"]
    assert isinstance(exact, dict)
    assert (exact["patients"], exact["reject_at_most"], exact["reject_at_least"]) == (83, 36, 55)
    assert "enrolled" not in found
    lines = text(capsys, *ELECTIVE, *ERRORS, "--losses", "6%")
    assert "two-sided, alpha/2 in each tail" in lines
    assert "89, of whom 6 % are lost" in lines
    assert "(normal approximation)                   82.30, so 83" in lines


def test_the_power_of_a_number_of_patients(capsys: pytest.CaptureFixture[str]) -> None:
    assert "82: power 0.7602" in text(capsys, *ELECTIVE, "--alpha", "0.05", "--patients", "82")


def test_simons_published_design(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("simon", "--null", "0.10", "--assumed", "0.30", *ERRORS)
    lines = text(capsys, *asked)
    assert "1/10, 5/29" in lines
    assert "1/15, 5/25" in lines
    assert "one-sided" in lines
    found = told(capsys, *asked, "--losses", "0.1", "--simulate", "2000", "--seed", "4")
    optimal = found["optimal"]
    assert isinstance(optimal, dict)
    assert optimal["enrolled"] == [12, 33]
    simulated = optimal["simulated"]
    assert abs(simulated["power"] - optimal["power_if_lost_count_as_failures"]) < 4 * simulated["power_standard_error"]


def test_schoenfelds_events_and_the_patients_in_whom_they_are_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "log-rank", "--hazard-ratio", "2", *ERRORS)["events"] == 66
    survival = ("log-rank", "--control", "0.41", "--assumed", "0.53", "--at-years", "2", *ERRORS)
    assert "patients" not in told(capsys, *survival)
    followed = (*survival, "--accrual-years", "3", "--follow-up-years", "2")
    kept, lost = told(capsys, *followed), told(capsys, *followed, "--lost-per-year", "10%")
    assert kept["events"] == lost["events"]
    assert int(str(kept["patients"])) < int(str(lost["patients"]))
    lines = text(capsys, *followed, "--lost-per-year", "10%", "--simulate", "200")
    assert "entry over 3 years, then 2 years; 10 % lost a year" in lines
    assert "200 trials of" in lines


def test_we_44_the_one_sample_log_rank_test_is_designed(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("one-sample-log-rank", "--null", "0.55", "--assumed", "0.70", "--at-years", "1", *ERRORS)
    assert "83.25, so 84" in text(capsys, *asked)
    assert "70.47, so 71" in text(capsys, *asked, "--variance", "mean")


def test_two_proportions_with_losses(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("two-proportions", "--control", "0.50", "--assumed", "0.75", "--alpha", "0.05", "--power", "0.90")
    found = told(capsys, *asked, "--losses", "10%", "--simulate", "500")
    assert (found["arms"], found["enrolled"]) == ([77, 77], [86, 86])


def test_we_45_the_protocols_own_design_is_recomputed_with_its_marks(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "protocol", "salvage-crt", "--losses", "6%")
    arms = found["arms"]
    assert isinstance(arms, list)
    assert [(arm["patients"], arm["recomputed"]["patients"], arm["agrees"]) for arm in arms] == [
        (83, 83, True),
        (199, 199, True),
    ]
    assert {"rule": "MS-109", "mark": "derived"} in arms[0]["rules"]
    assert (found["patients"], found["enrolled"], found["enrolled_with_losses"]) == (282, [282, 300], 300)
    assert "300 enrolled leave 282 when 6 % are lost [derived]" in text(capsys, "protocol", "salvage-crt")


def test_the_same_seed_simulates_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    asked = (*ELECTIVE, *ERRORS, "--simulate", "500", "--seed")
    assert text(capsys, *asked, "1") == text(capsys, *asked, "1")
    assert text(capsys, *asked, "1") != text(capsys, *asked, "2")


def test_the_page_on_designs_shows_what_the_commands_print(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "designs.md").read_text(encoding="utf-8")
    shown = re.findall(r"```sh\ntailort design (.+?)\n```\n\n```text\n(.+?)```", page, flags=re.DOTALL)
    assert len(shown) == 5
    for command, output in shown:
        # What was simulated would take seconds; the lines before it need no trials.
        asked = re.sub(r"--simulate.*", "", command).split()
        printed = [line.rstrip() for line in text(capsys, *asked).splitlines()]
        assert printed == [line for line in output.splitlines() if not line.startswith("simulated")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*ELECTIVE, "--alpha", "1.5", "--power", "0.8"), "the alpha is 1.5; expected a number between 0 and 1"),
        ((*ELECTIVE, "--alpha", "nan", "--power", "0.8"), "the alpha is nan"),
        ((*ELECTIVE, "--alpha", "0.05", "--power", "1"), "the power is 1"),
        ((*ELECTIVE, "--alpha", "0.05", "--power", "0.04"), "not above alpha"),
        ((*ELECTIVE, "--alpha", "0.05"), "either --power"),
        ((*ELECTIVE, *ERRORS, "--patients", "10"), "either --power"),
        ((*ELECTIVE, "--alpha", "0.05", "--patients", "10000000000"), "expected 1 to 100000"),
        ((*ELECTIVE, *ERRORS, "--sides", "3"), "--sides 3"),
        ((*ELECTIVE, *ERRORS, "--losses", "100%"), "--losses '100%'"),
        ((*ELECTIVE, *ERRORS, "--losses", "six"), "--losses 'six'"),
        ((*ELECTIVE, *ERRORS, "--seed", "1"), "--simulate N too"),
        ((*ELECTIVE, *ERRORS, "--simulate", "0"), "0 simulated trials"),
        (("binomial", "--null", "0.5", "--assumed", "0.5", *ERRORS), "tells them apart"),
        (("binomial", "--null", "0.5", "--assumed", "0.501", *ERRORS), "5000 patients are too few"),
        (("simon", "--null", "0.5", "--assumed", "0.51", *ERRORS), "no two-stage design of up to 100 patients"),
        (("simon", "--null", "0.3", "--assumed", "0.1", *ERRORS), "below the null"),
        (("log-rank", "--hazard-ratio", "1", *ERRORS), "hazard ratio is 1:"),
        (("log-rank", *ERRORS), "either --hazard-ratio"),
        (("log-rank", "--assumed", "0.5", *ERRORS), "--assumed needs --control"),
        (("log-rank", "--control", "0.5", "--assumed", "1.2", *ERRORS), "survival is 1.2"),
        (("log-rank", "--hazard-ratio", "2", *ERRORS, "--accrual-years", "2"), "need --follow-up-years"),
        (("log-rank", "--hazard-ratio", "2", *ERRORS, "--follow-up-years", "2"), "patients need --control"),
        (("log-rank", "--hazard-ratio", "2", *ERRORS, "--simulate", "10"), "to simulate a log-rank test"),
        (
            ("one-sample-log-rank", "--null", "0.5", "--assumed", "0.6", "--at-years", "0", *ERRORS),
            "both 0 years",
        ),
        (
            ("one-sample-log-rank", "--null", "0.5", "--assumed", "0.6", "--at-years", "1", *ERRORS, "--variance", "x"),
            "no variance 'x'",
        ),
        (("protocol", "rtog-0436"), "has no design"),
        (("protocol", "nobody"), "nobody"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence_and_exit_status_2(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["design", *arguments]) == 2
    caught = capsys.readouterr()
    assert said in caught.err
    assert caught.err.count("\n") == 1
    assert caught.out == ""

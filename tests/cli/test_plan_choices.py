"""The record, readings and options choose the plan at the command line; what is missing or unknown is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dicom_cases as d
import pytest

from tailort.cli import commands
from tailort.cli.app import run
from tailort.errors import InputError
from tailort.patient import Case
from tailort.protocols import Protocol
from tailort.workflow.options import PlanningOptions
from tailort.workflow.planning import decided

PROTOCOL = """
id: own
version: "1"
title: Two plans by distance
rules:
  - {id: R-1, text: Consent., source: own, mark: seed}
  - {id: R-2, text: Far., source: own, mark: ambiguous, reading: {default: above 1 cm, other: above 2 cm}}
facts:
  - {name: consent, type: boolean}
  - {name: size_cm, type: number, unit: cm, range: [0, 30]}
  - {name: distance_cm, type: number, unit: cm, range: [0, 50]}
readings:
  - {rule: R-2, default: one, names: {one: above 1 cm, two: above 2 cm}}
tables:
  - name: where
    rows:
      - outcome: far
        when:
          rule: R-2
          reading: R-2
          cases:
            - {taken: one, when: {fact: distance_cm, operator: ">", value: 1}}
            - {taken: two, when: {fact: distance_cm, operator: ">", value: 2}}
    otherwise: near
eligibility: {fact: consent, operator: "==", value: true, rule: R-1}
normalisation: {coverage: "D95%[Gy]"}
technique: {kind: imrt, beams: 5}
plans:
  - id: FAR
    title: 50 Gy
    when: {outcome: where, in: [far]}
    prescriptions: [{target: GTVp, dose_gy: 50, fractions: 25}]
    options:
      - {id: high, title: 54 Gy, prescriptions: [{target: GTVp, dose_gy: 54, fractions: 27}]}
  - id: NEAR
    title: 45 Gy
    when: {outcome: where, in: [near]}
    prescriptions: [{target: GTVp, dose_gy: 45, fractions: 25}]
limits:
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 1000, priority: hard}
"""
EXTERNAL = ("External", "EXTERNAL", d.closed(-7.5, -4.5, -1.5, 1.5, 4.5, half=11.0))
TUMOUR = ("GTVp", "GTV", d.closed(-1.5, 1.5, half=3.0))
CORD = ("SpinalCord", "ORGAN", d.closed(-4.5, -1.5, 1.5, half=2.0))


@pytest.fixture
def protocol(tmp_path: Path) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(PROTOCOL)
    return str(path)


@pytest.fixture
def case(tmp_path: Path) -> Path:
    datasets = [*d.image_slices(), d.structure_set([EXTERNAL, TUMOUR, CORD]), d.plan(), d.dose()]
    return d.write(tmp_path / "case", *datasets)


def record(case: Path, text: str) -> None:
    (case / "record.yaml").write_text(text)


def refused(arguments: list[str], capfd: pytest.CaptureFixture[str], tmp_path: Path) -> tuple[int, str]:
    out = tmp_path / "some" / "out"
    status = run([*arguments, "--out", str(out)])
    assert not out.parent.exists()
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    return status, printed.err


FAR = "consent: yes\ndistance_cm: 1.5\n"


GOALS = ("--goal", "SpinalCord: Mean[Gy]", "--goal", "External: Mean[Gy]")


@pytest.mark.parametrize("command", [("plan",), ("evaluate",), ("tradeoffs", *GOALS)])
@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--option", "higher"], "no option of plan 'FAR' 'higher'; known are: high"),
        (["--reading", "R-2=three"], "no reading 'three' of 'R-2'; give one of R-2=one (above 1 cm); R-2=two"),
        (["--reading", "R-1=two"], "'R-1' is not ambiguous"),
        (["--reading", "R-2"], "expected 'RULE=name'"),
        (["--reading", "R-2=one", "--reading", "R-2=two"], "gives 'R-2' twice"),
        (["--record", "nowhere.yaml"], "does not exist"),
    ],
)
def test_an_unknown_choice_is_refused(
    command: tuple[str, ...],
    more: list[str],
    says: str,
    case: Path,
    protocol: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    record(case, FAR)
    status, told = refused([*command, str(case), "--protocol", protocol, *more], capfd, tmp_path)
    assert status == 2
    assert says in told


@pytest.mark.parametrize(
    ("choice", "dose_gy"),
    [((), 50), (("--reading", "R-2=two"), 45), (("--option", "high"), 54)],
)
def test_trade_offs_are_those_of_the_plan_that_reading_and_option_lead_to(
    choice: tuple[str, ...],
    dose_gy: float,
    case: Path,
    protocol: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def stop(case: Case, protocol: Protocol, options: PlanningOptions, *rest: Any, **more: Any) -> None:
        (prescription,) = decided(case, protocol, options).protocol.prescriptions()
        raise InputError(f"prescribed {prescription.dose_gy:g} Gy")

    record(case, FAR)
    monkeypatch.setattr(commands.trading, "trade", stop)
    arguments = ["tradeoffs", str(case), "--protocol", protocol, *GOALS, *choice]
    assert f"prescribed {dose_gy} Gy" in refused(arguments, capfd, tmp_path)[1]


@pytest.mark.parametrize(
    ("text", "status", "says"),
    [
        ("size_cm: 3\n", 4, "cannot decide without: consent;"),
        ("consent: yes\n", 4, "cannot choose between plan FAR and NEAR without: distance_cm;"),
        ("consent: no\ndistance_cm: 1.5\n", 5, "consent is yes (R-1), but consent is no"),
        ("consent: maybe\n", 2, "fact 'consent' cannot be 'maybe'"),
    ],
)
def test_facts_that_are_missing_stop_the_plan(
    text: str,
    status: int,
    says: str,
    case: Path,
    protocol: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    record(case, text)
    ended, told = refused(["plan", str(case), "--protocol", protocol], capfd, tmp_path)
    assert (ended, says in told) == (status, True)


def test_choices_without_a_protocol_are_refused(case: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status, told = refused(["evaluate", str(case), "--reading", "R-2=two"], capfd, tmp_path)
    assert status == 2
    assert "give --protocol too" in told


@pytest.mark.parametrize(
    ("text", "more", "limit"),
    [
        (FAR, [], 50.0),
        (FAR, ["--reading", "R-2=two"], 45.0),
        (FAR, ["--option", "high"], 54.0),
        ("consent: yes\ndistance_cm: 0.5\n", [], 45.0),
    ],
)
def test_a_dose_is_judged_by_the_plan_that_the_record_chooses(
    text: str,
    more: list[str],
    limit: float,
    case: Path,
    protocol: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    record(case, text)
    out = tmp_path / "out"
    assert run(["evaluate", str(case), "--protocol", protocol, *more, "--json", "--out", str(out)]) == 0
    rows = json.loads(capfd.readouterr().out)["metrics"]
    assert [row["limit"] for row in rows if (row["structure"], row["metric"]) == ("GTVp", "D95%[Gy]")] == [limit]
    kept = json.loads((out / "run.json").read_text())["options"]
    assert kept["readings"] == (more[1:] if more[:1] == ["--reading"] else [])
    decision = json.loads((out / "decision.json").read_text())
    assert (decision["answer"], decision["protocol"]) == ("yes", "own")
    assert "above 2 cm" in (out / "report.html").read_text()

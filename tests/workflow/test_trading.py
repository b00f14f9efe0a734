"""Trade-offs end to end, on a coarse virtual patient with the fast engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tailort.cli import commands
from tailort.cli.app import run
from tailort.cli.progress import Interrupt
from tailort.cli.texts import goals_of_text
from tailort.errors import InputError
from tailort.optimisation import Effort, Wish, solve
from tailort.optimisation.objectives import MeanDose
from tailort.optimisation.pareto import Times
from tailort.optimisation.pareto_navigation import navigate
from tailort.workflow.trading import Asked, HeldLimit, Trading

HEAD = """
id: trading
version: "1"
title: Test of trade-offs
sources: [{id: T, text: test}]
targets:
  - name: PTV
    role: PTV
    of: [GTVp]
    then: [{expand: {mm: 8}}, {crop: {by_mm: 3}}]
organs: [External, SpinalCord]
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV, dose_gy: 50, fractions: 25}
"""
CORD = '  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 40, priority: hard}\n'
IMRT = HEAD + "technique: {kind: imrt, beams: 5}\nlimits:\n" + CORD
CONFORMAL = HEAD + "technique: {kind: 3dcrt, arrangement: ap-pa, aperture_margin_mm: 7}\nlimits:\n" + CORD
# No voxel of the target can have both.
IMPOSSIBLE = IMRT + (
    '  - {structure: PTV, metric: "Max[Gy]", operator: "<", limit: 40, priority: hard}\n'
    '  - {structure: PTV, metric: "Min[Gy]", operator: ">=", limit: 45, priority: hard}\n'
)
HEART, LUNG = "Heart: Mean[Gy]", "Lung_L: Mean[Gy]"


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patient") / "case"
    commands.phantom("oesophagus", out=folder, seed=4, size="coarse")
    return folder


def traded(patient: Path, folder: Path, text: str, goals: tuple[str, ...], **more: Any) -> Trading:
    protocol = folder / "protocol.yaml"
    protocol.write_text(text, encoding="utf-8")
    return commands.tradeoffs(
        patient, str(protocol), goals, dose_grid_mm=8.0, engine="pencil-nyholm", out=folder / "out", **more
    )


@pytest.fixture(scope="module")
def result(patient: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trading, Path]:
    """Two organs that the protocol does not judge."""
    folder = tmp_path_factory.mktemp("traded")
    return traded(patient, folder, IMRT, (HEART, LUNG), at=("heart: 1.6",), plans=5), folder / "out"


def test_the_ends_of_the_front_are_the_best_of_each_goal(result: tuple[Trading, Path]) -> None:
    front = result[0].front
    assert front is not None
    ranges = np.subtract(front.nadir_gy, front.ideal_gy)
    assert ranges.min() > 0.3
    for n, anchor in enumerate(front.anchors):
        assert all(anchor.measures_gy[n] <= plan.measures_gy[n] + 0.01 * ranges[n] for plan in front.plans)
        # Another search for this goal alone, longer and from elsewhere, finds little better with the same evenness.
        unit, smooth = front.unit_gy[n], front.problem.smoothness
        assert smooth is not None
        share = (anchor.costs[n] - anchor.measures_gy[n] / unit) / smooth.value(anchor.weights_mu)
        wish = Wish(front.goals[n].structure, MeanDose(), 1.0 / unit)
        alone = replace(front.problem, wishes=(wish,), smoothness=Times(smooth, share))
        found = solve(alone, front.anchors[1 - n].weights_mu, Effort(iterations=500, rounds=15, value_tolerance=1e-5))
        assert found.feasible
        assert unit * (anchor.costs[n] - found.value) <= 0.05 * ranges[n]


def test_no_plan_of_the_front_and_no_mixture_exceeds_a_hard_limit(result: tuple[Trading, Path]) -> None:
    trading = result[0]
    front, mixture = trading.front, trading.mixture
    assert front is not None
    assert mixture is not None
    cord = front.problem.sets["SpinalCord"].rows
    mixed = front.problem.dose_gy(mixture.weights_mu)
    for dose_gy in (*(plan.dose_gy for plan in front.plans), mixed):
        assert dose_gy[cord].max() < 40.0
    np.testing.assert_allclose(mixture.dose_gy, mixed, atol=1e-3)
    (hard,) = [limit for limit in trading.held if limit.hard]
    assert (hard.structure, hard.violated) == ("SpinalCord", False)
    assert hard.excess_gy == pytest.approx(mixed[cord].max() - 40.0, abs=1e-3)


def test_the_target_keeps_what_the_protocols_own_fluence_gave_it(result: tuple[Trading, Path]) -> None:
    front = result[0].front
    assert front is not None
    assert front.start is not None
    target = front.problem.sets["PTV"]

    def lacking(dose_gy: Any) -> float:
        return float(np.sqrt(target.volume @ np.maximum(50.0 - dose_gy[target.rows], 0.0) ** 2))

    for plan in front.plans:
        assert lacking(plan.dose_gy) <= 1.1 * lacking(front.start.dose_gy) + 0.5


def test_a_request_between_the_ends_is_met_and_one_beyond_is_ruled_out(result: tuple[Trading, Path]) -> None:
    trading = result[0]
    front = trading.front
    assert front is not None
    asked = 0.5 * (front.ideal_gy[0] + front.nadir_gy[0])
    for heart_gy, answer in ((asked, "met"), (0.5 * front.ideal_gy[0], "ruled out")):
        mixture = navigate(front, (heart_gy, None))
        assert mixture.met == (answer == "met")
        goals = (Asked("Heart", "Mean[Gy]", at_gy=heart_gy), Asked("Lung_L", "Mean[Gy]"))
        assert replace(trading, asked=goals, mixture=mixture).answer == answer
        assert (mixture.metrics_gy[0] <= heart_gy + 1e-3) == (answer == "met")


def test_less_of_one_organ_costs_the_other_between_the_ends(result: tuple[Trading, Path]) -> None:
    front = result[0].front
    assert front is not None
    asked = 0.5 * (front.ideal_gy[0] + front.nadir_gy[0])
    mixture = navigate(front, (asked, None))
    # A gray less for the heart, had by asking for it.
    step = 0.05 * (front.nadir_gy[0] - front.ideal_gy[0])
    further = navigate(front, (asked - step, None))
    paid = (further.promised_gy[1] - mixture.promised_gy[1]) / (mixture.promised_gy[0] - further.promised_gy[0])
    assert mixture.trades[0, 1] == pytest.approx(paid, rel=0.02)
    assert paid > 0


def test_the_run_folder_tells_what_the_front_holds(result: tuple[Trading, Path]) -> None:
    trading, out = result
    assert trading.front is not None
    told = json.loads((out / "tradeoffs.json").read_text())
    assert {"report.html", "run.json", "decision.json"} <= {path.name for path in out.iterdir()}
    assert [(goal["structure"], goal["metric"]) for goal in told["front"]["goals"]] == [
        ("Heart", "Mean[Gy]"),
        ("Lung_L", "Mean[Gy]"),
    ]
    assert np.allclose(told["front"]["payoff_gy"], [plan.measures_gy for plan in trading.front.anchors])
    assert sum(told["mixture"]["shares"]) == pytest.approx(1.0)
    assert told["mixture"]["asked_gy"] == [1.6, None]
    assert told["answer"] == "met"
    assert told["mixture"]["metrics_gy"][0] <= 1.6 + 1e-3
    page = (out / "report.html").read_text()
    for text in ("What a gray costs there", "Heart: Mean[Gy]", "data:image/svg+xml", "SpinalCord Max[Gy] &lt; 40"):
        assert text in page


def hard(excess_gy: float) -> tuple[HeldLimit, ...]:
    return (HeldLimit("SpinalCord", "Max[Gy] < 40", True, excess_gy),)


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({}, 0, "mixture"),
        ({"held": hard(0.7)}, 3, "hard limit violated: SpinalCord Max[Gy] < 40, by 0.70 Gy"),
        ({"front": None, "mixture": None, "obstacles": ("A and B",)}, 3, "no trade-offs: A and B"),
        ({"unjudged": ("Liver Mean[Gy] < 30",)}, 4, "not judged: Liver Mean[Gy] < 30"),
        ({"held": hard(0.7), "reason": "stopped"}, 130, "interrupted"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_the_exit_status_tells_how_it_ended(
    result: tuple[Trading, Path],
    change: dict[str, Any],
    status: int,
    said: str,
    as_json: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trading = result[0]
    assert trading.front is not None
    if "reason" in change:
        change = {**change, "front": replace(trading.front, reason=change["reason"])}
    own = replace(trading, **{key: value for key, value in change.items() if key != "reason"})
    monkeypatch.setattr(commands, "tradeoffs", lambda *args, **more: own)
    given = ["tradeoffs", "x", "--protocol", "y", "--goal", HEART, "--goal", LUNG, *(["--json"] * as_json)]
    assert run(given) == status
    shown = capsys.readouterr().out
    if as_json:
        assert json.loads(shown)["exit_status"] == status
    else:
        assert said in shown


@pytest.mark.slow
def test_a_stop_after_the_best_of_each_goal_keeps_them_and_says_so(patient: Path, tmp_path: Path) -> None:
    interrupt = Interrupt()
    pressed: list[float] = []

    def press(stage: str, share: float) -> None:
        if stage == "trade-offs" and share >= 2 / 9 and not pressed:
            pressed.append(share)
            interrupt.handle(2, None)

    stopped = traded(patient, tmp_path, IMRT, (HEART, LUNG), plans=9, progress=press, interrupt=interrupt)
    assert pressed
    assert stopped.interrupted
    assert stopped.front is not None
    assert len(stopped.front.anchors) == 2
    told = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (told["interrupted"], told["converged"]) == (True, False)


def test_hard_limits_that_contradict_each_other_end_with_their_names(
    patient: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "protocol.yaml").write_text(IMPOSSIBLE, encoding="utf-8")
    given = [
        "tradeoffs", str(patient), "--protocol", str(tmp_path / "protocol.yaml"), "--goal", HEART, "--goal", LUNG,
        "--dose-grid", "8", "--engine", "pencil-nyholm", "--out", str(tmp_path / "out"), "--json",
    ]  # fmt: skip
    assert run(given) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["front"] is None
    assert any("Max[Gy] < 40" in text and "Min[Gy] >= 45" in text for text in told["obstacles"])
    assert any(limit["verdict"] == "fail" for limit in told["limits"])
    assert "no fluence was found" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("goals", "worst", "at", "said"),
    [
        (("Heart Mean[Gy]", LUNG), (), (), "not a goal to trade"),
        ((HEART, LUNG, "heart:Mean[Gy]"), (), (), "given twice"),
        ((HEART, LUNG), ("Heart",), (), "gives no goal a dose"),
        ((HEART, LUNG), ("Liver: 20",), (), "on no goal of"),
        ((HEART, "Heart: Max[Gy]"), (), ("Heart: 20",), "several goals"),
        ((HEART, LUNG), (), ("Heart: 20", "Heart: Mean[Gy]: 10"), "two doses"),
    ],
)
def test_goals_and_numbers_of_another_form_are_refused(
    goals: tuple[str, ...], worst: tuple[str, ...], at: tuple[str, ...], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        goals_of_text(goals, worst, at)


def test_numbers_find_their_goal_by_structure_or_in_full() -> None:
    first, second = goals_of_text((HEART, "Heart: D2%[Gy]"), ("Heart: Mean[Gy]: 20",), ("heart : D2%[Gy] : 31.5 Gy",))
    assert (first.worst_gy, first.at_gy, second.worst_gy, second.at_gy) == (20.0, None, None, 31.5)


@pytest.mark.parametrize(
    ("text", "goals", "more", "said"),
    [
        (IMRT, (HEART,), {}, "two or three goals; found 1"),
        (IMRT, (HEART, LUNG), {"plans": 2}, "more plans than goals"),
        (IMRT, (HEART, "Tail: Mean[Gy]"), {}, "'Tail: Mean.Gy.' is on no structure"),
        (IMRT, (HEART, "Lung_L: V20Gy[%]"), {}, "'Lung_L: V20Gy.%.' cannot be traded"),
        (IMRT, (HEART, "PTV: D95%[Gy]"), {"at": ("PTV: 55",)}, "not sought"),
        (IMRT, (HEART, LUNG), {"worst": ("Heart: 10",), "at": ("Heart: 12",)}, "no worse than 10 Gy"),
        (CONFORMAL, (HEART, LUNG), {}, "no fluence to trade"),
    ],
)
def test_what_cannot_be_traded_leaves_nothing_behind(
    patient: Path, tmp_path: Path, text: str, goals: tuple[str, ...], more: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        traded(patient, tmp_path, text, goals, **more)
    assert [path.name for path in tmp_path.iterdir()] == ["protocol.yaml"]

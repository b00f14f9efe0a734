"""Set-up errors of a planned course: what is judged, in which positions, and what is told of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tailort.cli import commands
from tailort.cli.app import _tell_plan, run
from tailort.cli.progress import Interrupt
from tailort.cli.texts import setup_of_text
from tailort.errors import InputError
from tailort.evaluation import dvh, from_cloud, within
from tailort.patient import Constraint, Normalisation, Prescription, Structure, StructureSet
from tailort.targets import Step, Unite
from tailort.workflow.options import PlanningOptions
from tailort.workflow.records import PlanningRun
from tailort.workflow.robustness import clinical_targets, without_margins

# Two phases in a water phantom: the core as tumour, in a PTV about it; another organ is what is beside it.
WATER = """
id: water
version: "1"
title: Two phases in water
sources: [{id: T, text: test}]
targets:
  - name: PTV_A
    role: PTV
    of: [Core]
    then: [{expand: {mm: 10}}]
  - name: PTV_B
    role: PTV
    of: [PTV_A]
    then: [{expand: {mm: 5}}]
  - name: Beside
    role: ORGAN
    of: [PTV_5000]
    then: [{subtract: {of: [PTV_B]}}]
organs: [External]
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV_B, dose_gy: 40, fractions: 20, phase: 1}
  - {target: PTV_A, dose_gy: 10, fractions: 5, phase: 2, boosts: PTV_B}
limits:
  - {structure: PTV_A, metric: "D95%[Gy]", operator: ">=", limit: 49, priority: goal}
  - {structure: Beside, metric: "Mean[Gy]", operator: "<", limit: 47, priority: hard}
report:
  - {structure: Beside, metric: "Max[Gy]"}
technique: {kind: 3dcrt, gantry_deg: [90, 270], aperture_margin_mm: 7}
"""
REACH_MM = (0.0, 5.0, 4.0)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom") / "case"
    commands.phantom("tg119-c-shape", out=folder, size="coarse")
    (folder.parent / "protocol.yaml").write_text(WATER, encoding="utf-8")
    return folder


def planned(phantom: Path, out: Path, setup_errors: str | None, **more) -> PlanningRun:
    asked = {"dose_grid_mm": 6.0, "engine": "pencil-nyholm", "setup_errors": setup_errors} | more
    return commands.plan(phantom, str(phantom.parent / "protocol.yaml"), out=out, **asked)


@pytest.fixture(scope="module")
def shifted(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[PlanningRun, Path]:
    out = tmp_path_factory.mktemp("shifted") / "out"
    return planned(phantom, out, "0, 5, 4"), out


# ---- what is asked for


@pytest.mark.parametrize(
    "text", ["5,5", "5,5,5,5", "5,5,-1", "0,0,0", "nan,5,5", "5,inf,5", "a,b,c", "", "5 5 5", "5,5,500"]
)
def test_what_are_no_set_up_errors_is_refused_in_one_sentence(
    text: str, phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    status = run(["plan", str(phantom), "--protocol", "smart-imrt", "--out", str(out), f"--setup-errors={text}"])
    told = capsys.readouterr().err
    assert status == 2
    assert "set-up errors" in told
    assert len(told.strip().splitlines()) == 1
    assert not out.exists()


def test_options_refuse_a_zero_shift_in_python_too() -> None:
    with pytest.raises(InputError, match="0 mm along all axes"):
        PlanningOptions(setup_errors_mm=(0.0, 0.0, 0.0))


# ---- whose coverage is asked


def box(name: str, role: str) -> Structure:
    ring = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])
    return Structure(name, role, tuple(np.column_stack([ring, np.full(4, z)]) for z in (0.0, 3.0)), "1.2.3")


def test_a_ptv_is_traced_back_to_what_has_no_margin_and_phases_keep_their_highest_dose() -> None:
    names = [("GTVp", "GTV"), ("GTVn", "GTV"), ("CTV", "CTV"), ("High", "PTV"), ("Low", "PTV"), ("Hand", "PTV")]
    structures = StructureSet(tuple(box(*pair) for pair in names), "1.2.3")
    steps = (
        Step("CTV", "CTV", of=("GTVp",)),
        Step("High", "PTV", of=("GTVp",), if_drawn=("GTVn", "GTVx")),
        Step("Low", "PTV", of=("CTV",), then=(Unite(("High",)),)),
    )
    by_coverage = Normalisation("coverage", metric="D95%[Gy]")
    prescriptions = [
        Prescription("High", 60.0, 30, by_coverage),
        Prescription("Low", 50.0, 30, by_coverage),
        Prescription("Hand", 45.0, 30, by_coverage),
        Prescription("Low", 9.0, 5, by_coverage, phase=2),
    ]
    found = clinical_targets(prescriptions, steps, structures)
    assert {(one.prescription.phase, one.name): (one.prescription.dose_gy, one.of) for one in found} == {
        (1, "GTVp"): (60.0, "High"),
        (1, "GTVn"): (60.0, "High"),
        (1, "CTV"): (50.0, "Low"),
        (2, "GTVp"): (9.0, "Low"),
        (2, "GTVn"): (9.0, "Low"),
        (2, "CTV"): (9.0, "Low"),
    }


def test_coverage_that_is_asked_of_a_margin_is_asked_of_what_it_is_made_of_and_its_hot_spots_stay_its_own() -> None:
    names = [("GTVp", "GTV"), ("GTVn", "GTV"), ("High", "PTV"), ("Hand", "PTV"), ("Heart", "ORGAN")]
    structures = StructureSet(tuple(box(*pair) for pair in names), "1.2.3")
    steps = (Step("High", "PTV", of=("GTVp", "GTVn")),)
    asked = (
        Constraint("High", "D95%[Gy]", ">=", 60.0, "goal", "A"),
        Constraint("High", "D2%[Gy]", "<=", 66.0, "goal", "A"),
        Constraint("Hand", "D95%[Gy]", ">=", 50.0, "goal", "A"),
        Constraint("Heart", "Mean[Gy]", "<", 26.0, "goal", "A"),
    )
    found = [(c.structure, c.metric, c.limit) for c in without_margins(asked, steps, structures)]
    assert found == [
        ("GTVp", "D95%[Gy]", 60.0), ("GTVn", "D95%[Gy]", 60.0), ("High", "D2%[Gy]", 66.0), ("Hand", "D95%[Gy]", 50.0),
        ("Heart", "Mean[Gy]", 26.0),
    ]  # fmt: skip


def test_coverage_of_the_course_is_asked_of_the_tumour_and_nothing_of_a_ptv(
    shifted: tuple[PlanningRun, Path],
) -> None:
    rows = shifted[0].robustness.rows
    assert {row.structure for row in rows} == {"Core", "Beside"}
    asked = [row for row in rows if row.structure == "Core" and row.limit is not None]
    assert [(row.metric, row.operator, row.limit, row.source.rpartition(" of ")[2]) for row in asked] == [
        ("D95%[Gy]", ">=", 49.0, "PTV_A"),
        ("D95%[Gy]", ">=", 50.0, "PTV_B, PTV_A"),
    ]


# ---- in which positions


def test_the_patient_lies_as_planned_and_off_each_way_along_the_axes_that_have_an_error(
    shifted: tuple[PlanningRun, Path],
) -> None:
    found = [one.shift_mm for one in shifted[0].robustness.scenarios.scenarios]
    assert found[0] == (0.0, 0.0, 0.0)
    assert sorted(found[1:]) == [(0.0, -5.0, 0.0), (0.0, 0.0, -4.0), (0.0, 0.0, 4.0), (0.0, 5.0, 0.0)]


def test_as_planned_the_values_are_those_of_the_scorecard(shifted: tuple[PlanningRun, Path]) -> None:
    run_ = shifted[0]
    card = {(row.structure, row.metric): row.value for row in run_.main.scorecard.rows}
    both = [row for row in run_.robustness.rows if (row.structure, row.metric) in card]
    assert {(row.structure, row.metric) for row in both} == {("Beside", "Mean[Gy]"), ("Beside", "Max[Gy]")}
    for row in both:
        assert row.nominal == card[row.structure, row.metric]


def test_bands_hold_the_histogram_as_planned_and_are_wide_beside_the_target(
    shifted: tuple[PlanningRun, Path],
) -> None:
    for band in shifted[0].robustness.bands.values():
        assert (band.lowest_cm3 <= band.nominal_cm3).all()
        assert (band.nominal_cm3 <= band.highest_cm3).all()
    beside = shifted[0].robustness.bands["Beside"]
    assert (beside.highest_cm3 - beside.lowest_cm3).max() > 0.05 * beside.volume_cm3


def test_in_water_moved_isocentres_agree_with_a_dose_that_stays_in_the_room(
    shifted: tuple[PlanningRun, Path],
) -> None:
    # Shifts across opposed lateral beams in a slab change no depth, so that the dose stays where it is in the room. On
    # voxels of 6 mm dose and histograms err at steep edges: 0.1 Gy, 0.2 % of the prescribed dose.
    run_ = shifted[0]
    scenarios = within(REACH_MM, 6)
    cloud = from_cloud(run_.main.dose, scenarios)
    assert [one.name for one in scenarios.scenarios] == [one.name for one in run_.robustness.scenarios.scenarios]
    beside_gy = {}
    for n, scenario in enumerate(scenarios.scenarios):
        own = {(row.structure, row.metric): row.value for row in run_.robustness.cards[n].rows}
        core, beside = (dvh(run_.structures[name], cloud(scenario)) for name in ("Core", "Beside"))
        assert own["Core", "D98%[Gy]"] == pytest.approx(core.value("D98%[Gy]"), abs=0.1), scenario.name
        assert own["Beside", "Mean[Gy]"] == pytest.approx(beside.value("Mean[Gy]"), abs=0.1), scenario.name
        beside_gy[scenario.name] = own["Beside", "Mean[Gy]"]
    # Most of the C lies anterior of the beams: it is brought into them as the patient lies further back.
    assert beside_gy["5 mm posterior"] > beside_gy["nominal"] + 1.5
    assert beside_gy["5 mm anterior"] < beside_gy["nominal"] - 1.5


# ---- what is told


@pytest.mark.slow
def test_spreads_of_set_up_errors_give_expected_bands_between_the_lowest_and_the_highest(
    phantom: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_ = planned(phantom, out, "0,3,2/0,2,2")
    told = json.loads((out / "robustness.json").read_text())
    weights = [one["weight"] for one in told["scenarios"]]
    # Two standard deviations along two axes: an eighth each way, the rest as planned.
    assert weights == pytest.approx([0.5, 0.125, 0.125, 0.125, 0.125])
    longest = max(abs(x) for one in told["scenarios"] for x in one["shift_mm"])
    assert longest == pytest.approx(2 * (3**2 + 2**2 / run_.main.fractions) ** 0.5)
    with (out / "dvh_bands.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            lowest, expected, highest = (float(row[f"{name}_cm3"]) for name in ("lowest", "expected", "highest"))
            assert lowest - 1e-3 <= expected <= highest + 1e-3
    for row in told["metrics"]:
        assert row["lowest"] - 1e-3 <= row["expected"] <= row["highest"] + 1e-3
    assert "Expected" in (out / "report.html").read_text()


@pytest.mark.parametrize("text", ["3,3,3/2,2", "0,0,0/2,2,2", "3,3,3/", "/2,2,2", "3,3,3/2,2,2/1,1,1"])
def test_what_are_no_spreads_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="set-up errors"):
        setup_of_text(text)


def test_spreads_are_systematic_before_random() -> None:
    assert setup_of_text("3,4,5/0,0,0") == {"setup_spread_mm": ((3.0, 4.0, 5.0), (0.0, 0.0, 0.0))}
    assert setup_of_text("5,5,5") == {"setup_errors_mm": (5.0, 5.0, 5.0)}
    assert setup_of_text(None) == {}


def test_files_say_what_was_judged_and_are_only_there_when_asked_for(
    shifted: tuple[PlanningRun, Path], phantom: Path, tmp_path: Path
) -> None:
    run_, out = shifted
    told = json.loads((out / "robustness.json").read_text())
    assert told == json.loads(json.dumps(run_.robustness.as_dict()))
    assert len(told["scenarios"]) == 5
    assert json.loads((out / "run.json").read_text())["options"]["setup_errors_mm"] == [0.0, 5.0, 4.0]
    with (out / "dvh_bands.csv").open(newline="") as stream:
        bands = list(csv.DictReader(stream))
    with (out / "dvh.csv").open(newline="") as stream:
        planned_cm3 = {(r["structure"], float(r["dose_gy"])): float(r["volume_cm3"]) for r in csv.DictReader(stream)}
    assert {row["structure"] for row in bands} == {"Core", "Beside"}
    for row in bands:
        nominal, key = float(row["nominal_cm3"]), (row["structure"], float(row["dose_gy"]))
        assert float(row["lowest_cm3"]) <= nominal <= float(row["highest_cm3"])
        # Where it is longer than the plan's own curve nothing is left of that.
        assert nominal == pytest.approx(planned_cm3.get(key, 0.0), rel=1e-3, abs=1e-3)
    assert "<h2>Set-up errors</h2>" in (out / "report.html").read_text()

    plain = planned(phantom, tmp_path / "plain", None)
    assert plain.robustness is None
    assert not {"robustness.json", "dvh_bands.csv"} & {path.name for path in (tmp_path / "plain").iterdir()}
    assert "<h2>Set-up errors</h2>" not in (tmp_path / "plain" / "report.html").read_text()


def test_a_hard_limit_that_fails_in_a_shifted_position_is_named_and_changes_no_exit_status(
    shifted: tuple[PlanningRun, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run_, out = shifted
    assert not run_.main.scorecard.hard_failures
    (row,) = run_.robustness.hard_failures
    assert row.worst > 47.0 > row.nominal
    # Another status than 0 would be raised.
    _tell_plan(run_, out, as_json=False)
    told = f"Beside Mean[Gy] {row.worst:.2f} (5 mm posterior), limit < 47, holds in 4 of 5 positions"
    assert f"hard limit violated with set-up errors: {told}" in capsys.readouterr().out
    shown = f"Beside Mean[Gy] is {row.worst:.2f} (5 mm posterior), limit"
    assert f"hard limit violated with set-up errors: {shown}" in (out / "report.html").read_text()


def test_a_person_who_stops_it_keeps_the_plan(phantom: Path, tmp_path: Path) -> None:
    class Asked(Interrupt):
        now = False

        def asked(self) -> bool:
            return self.now

    interrupt = Asked()

    def progress(stage: str, share: float) -> None:
        interrupt.now |= stage == "set-up errors" and share > 0.3

    out = tmp_path / "out"
    stopped = planned(phantom, out, "0,5,4", progress=progress, interrupt=interrupt)
    assert stopped.robustness is None
    assert stopped.main.converged
    assert len(stopped.unfinished) == 1
    assert json.loads((out / "run.json").read_text())["interrupted"]
    assert "Interrupted: a person stopped the run" in (out / "report.html").read_text()
    assert not (out / "robustness.json").exists()

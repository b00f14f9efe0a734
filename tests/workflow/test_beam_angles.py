"""Beam angles that a protocol leaves to the optimiser, from the file to the plan, in a block of water."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dicom_cases as d
import numba
import numpy as np
import pytest
import water_cases as w
from pydantic import ValidationError

from tailort import dicom
from tailort.cli.app import run
from tailort.geometry.gantry_angles import is_excluded
from tailort.optimisation import solve
from tailort.optimisation.angles import worth_of
from tailort.patient import Case
from tailort.protocols import PhaseTechnique, Technique, load
from tailort.workflow.angles import Angled, with_angles
from tailort.workflow.bench import Bench, set_up
from tailort.workflow.clock import StageClock
from tailort.workflow.courses import Request, phase_of
from tailort.workflow.fluence_plans import fluence_problem
from tailort.workflow.options import PlanningOptions
from tailort.workflow.phases import Phase
from tailort.workflow.planning import plan
from tailort.workflow.records import PlanningRun

PROTOCOL = """
id: own
version: "1"
title: A protocol of one's own
normalisation: {coverage: "D95%[Gy]"}
prescriptions:
  - {target: PTV, dose_gy: 50, fractions: 25}
technique: {kind: imrt, TECHNIQUE}
limits:
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 30, priority: hard}
"""
CHOSEN = "beams: 3, angles: optimised, candidates_every_deg: 45"
ROIS = (
    ("External", "EXTERNAL", d.closed(*w.PLANES, half=11.0)),
    # Where the first beam of the class solution comes in.
    ("SpinalCord", "ORGAN", d.closed(*w.PLANES[1:-1], half=2.0, centre=(0.0, -8.0))),
    ("PTV", "PTV", d.closed(-4.5, -1.5, 1.5, half=4.0)),
)


def written(folder: Path) -> Path:
    return w.case(folder / "case", ROIS)


@cache
def case() -> Case:
    with TemporaryDirectory() as folder:
        return dicom.read_case(written(Path(folder)))


def protocol(technique: str) -> Any:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "own.yaml"
        file.write_text(PROTOCOL.replace("TECHNIQUE", technique), encoding="utf-8")
        return load(str(file))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """The block of water is too small for more to pay."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


OPTIONS = PlanningOptions(dose_grid_mm=3.0, engine="pencil-nyholm")


def planned(technique: str, stop: Any = lambda: False) -> PlanningRun:
    clock = StageClock(lambda stage, share: None)
    return plan(case(), protocol(technique), OPTIONS, clock, stop=stop, keep=lambda: None)


@cache
def run_chosen() -> PlanningRun:
    return planned(CHOSEN)


def bench_of(technique: str) -> tuple[Bench, Phase]:
    asked = protocol(technique)
    request = Request("own", "own", asked.prescriptions(), asked.course(), asked.constraints(), (), asked.techniques())
    linac = OPTIONS.machine_of(asked)
    bench = set_up(case(), case().structures, linac, OPTIONS, request.prescriptions, request.constraints)
    return bench, phase_of(bench, request, (request,), request.techniques[0], 1, ())


def angled(technique: str, stop: Any = lambda: False) -> Angled:
    bench, phase = bench_of(technique)
    return with_angles(bench, phase, fluence_problem, StageClock(lambda stage, share: None), stop)


def angles_of(run: PlanningRun) -> tuple[float, ...]:
    return tuple(beam.setup.gantry_deg for beam in run.main.plan.beams)


def test_told_angles_are_left_alone() -> None:
    bench, phase = bench_of("gantry_deg: [10, 130]")
    found = with_angles(bench, phase, fluence_problem, StageClock(lambda stage, share: None), lambda: False)
    assert found.phase is phase
    assert found.notes == ()
    assert not bench.fluences


def test_the_chosen_angles_are_better_by_the_objective_of_the_plan() -> None:
    bench, phase = bench_of(CHOSEN)
    found = with_angles(bench, phase, fluence_problem, StageClock(lambda stage, share: None), lambda: False)
    start, chosen = phase.technique.gantry_angles_deg(), found.phase.technique.gantry_angles_deg()
    assert start == (0.0, 120.0, 240.0)
    assert len(chosen) == 3
    # The organ with the limit lies in the way of gantry 0.
    assert 0.0 not in chosen
    worths = []
    for technique in (phase.technique, found.phase.technique):
        beams = bench.fluence(technique, phase.shadows, phase.positions, lambda share: None)
        problem, _, reference_mu = fluence_problem(bench, replace(phase, technique=technique), beams)
        worths.append(worth_of(solve(problem, np.full(problem.size, reference_mu))))
    assert worths[1].better_than(worths[0])
    assert f"{worths[0].value:.4g} Gy2" in found.notes[0]
    assert f"{worths[1].value:.4g} Gy2" in found.notes[0]


def test_the_plan_is_that_of_a_protocol_that_names_these_angles() -> None:
    found = run_chosen()
    angles = angles_of(found)
    named = planned(f"gantry_deg: [{', '.join(f'{angle:g}' for angle in angles)}]")
    assert angles_of(named) == angles
    assert np.array_equal(named.main.dose.image.values, found.main.dose.image.values)
    assert named.main.plan.mu == found.main.plan.mu


def test_plan_and_run_tell_which_angles_were_chosen_and_what_that_gained() -> None:
    found = run_chosen()
    (note,) = [note for note in found.case.notes if "beam angles" in note]
    assert note.startswith("own: beam angles " + ", ".join(f"{angle:g}" for angle in angles_of(found)))
    assert "of the class solution 0, 120, 240" in note
    assert [stage.name for stage in found.stages].index("angles own") < [s.name for s in found.stages].index(
        "influence own"
    )


def test_the_folder_of_a_run_names_the_angles(tmp_path: Path) -> None:
    file, out = tmp_path / "own.yaml", tmp_path / "out"
    file.write_text(PROTOCOL.replace("TECHNIQUE", CHOSEN), encoding="utf-8")
    asked = ["plan", str(written(tmp_path)), "--protocol", str(file), "--out", str(out)]
    assert run([*asked, "--dose-grid", "3", "--engine", "pencil-nyholm"]) == 0
    told = json.loads((out / "run.json").read_text(encoding="utf-8"))
    (phase,) = told["plans"]["A protocol of one's own"]["phases"]
    assert phase["gantry_deg"] == list(angles_of(run_chosen()))
    assert any("beam angles" in note for note in told["notes"])


def test_the_same_question_has_the_same_answer() -> None:
    assert angled(CHOSEN).phase.technique.gantry_deg == angles_of(run_chosen())


def test_no_beam_comes_from_an_excluded_range() -> None:
    excluded = ((300.0, 60.0), (150.0, 180.0))
    found = angled(CHOSEN + ", gantry_excluded_deg: [[300, 60], [150, 180]]").phase.technique
    assert len(found.gantry_deg) == 3
    assert not any(is_excluded(angle, excluded) for angle in found.gantry_deg)


def test_a_search_that_is_stopped_leaves_the_best_so_far() -> None:
    found = angled(CHOSEN, stop=lambda: True)
    assert found.stopped
    assert found.phase.technique.gantry_deg == (0.0, 120.0, 240.0)
    assert "stopped before" in found.notes[0]
    # Its fluence is of angles that a whole search would not choose: no run goes on from it.
    stopped = planned(CHOSEN, stop=lambda: True)
    assert stopped.main.interrupted
    assert stopped.main.phases[0].fluence_mu is None


@pytest.mark.parametrize(
    ("technique", "words"),
    [
        ("beams: 9, angles: optimised, candidates_every_deg: 60", "9 beams cannot be chosen from 6 angles 60 degrees"),
        (
            "beams: 5, angles: optimised, candidates_every_deg: 30, gantry_excluded_deg: [[10, 240]]",
            "5 beams cannot be chosen from 4 angles 30 degrees apart outside 'gantry_excluded_deg'",
        ),
        ("gantry_deg: [0, 90], angles: optimised", "'gantry_deg' names them already"),
        ("beams: 5, candidates_every_deg: 20", "'candidates_every_deg' goes with 'angles: optimised'"),
        ("beams: 5, gantry_excluded_deg: [[0, 20]]", "'gantry_excluded_deg' goes with 'angles: optimised'"),
        ("beams: 5, angles: optimised, phases_planned: together", "one phase after the other"),
        ("beams: 5, angles: best", "angles"),
        ("beams: 5, angles: optimised, gantry_excluded_deg: [[0, 400]]", "gantry_excluded_deg"),
    ],
)
def test_what_cannot_be_chosen_is_one_sentence(
    technique: str, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "own.yaml", tmp_path / "out"
    file.write_text(PROTOCOL.replace("TECHNIQUE", technique), encoding="utf-8")
    assert run(["plan", str(written(tmp_path)), "--protocol", str(file), "--out", str(out)]) == 2
    told = capfd.readouterr().err
    assert words in told
    assert told.startswith("tailort: ")
    assert told.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    "kind", [{"kind": "vmat", "arcs": 1}, {"kind": "3dcrt", "beams": 3, "aperture_margin_mm": 7.0}]
)
def test_only_beams_of_imrt_are_chosen(kind: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="'angles' goes with kind imrt"):
        Technique(**kind, angles="optimised")


def test_a_phase_with_beams_of_its_own_leaves_the_choice_of_the_course() -> None:
    course = {"kind": "imrt", "beams": 5, "angles": "optimised", "candidates_every_deg": 20.0}
    phases = (
        PhaseTechnique(phase=2, gantry_deg=(0.0, 180.0)),
        PhaseTechnique(phase=3, beams=3),
        PhaseTechnique(phase=4, kind="vmat", arcs=1),
        PhaseTechnique(phase=5, collimator_deg=10.0),
    )
    technique = Technique(**course, phases=phases)
    assert technique.of_phase(1) == Technique(**course)
    assert technique.of_phase(2) == Technique(kind="imrt", gantry_deg=(0.0, 180.0))
    assert technique.of_phase(3) == Technique(kind="imrt", beams=3)
    assert technique.of_phase(4) == Technique(kind="vmat", arcs=1)
    assert technique.of_phase(5) == Technique(**course, collimator_deg=10.0)

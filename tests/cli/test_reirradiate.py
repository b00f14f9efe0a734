"""`tailort reirradiate` and `plan --prior` from DICOM folders: sums, refusals, and plans that leave room."""

from __future__ import annotations

import json
from pathlib import Path

import dicom_cases as d
import pytest
import water_cases as w

from tailort.cli.app import run

PROTOCOL = w.protocol("""
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 60, priority: hard}
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 140, priority: hard, quantity: BED,
     alpha_beta_gy: 2, scope: cumulative}
""")


def water(folder: Path, *objects: object) -> Path:
    return w.case(folder, [w.EXTERNAL, w.TUMOUR, w.CORD, w.OESOPHAGUS_IN_TUMOUR], *objects)


@pytest.fixture
def today(tmp_path: Path) -> Path:
    return water(tmp_path / "today")


@pytest.fixture
def prior(tmp_path: Path) -> Path:
    return water(tmp_path / "prior", d.plan(), d.dose())


def test_the_sum_of_two_equal_courses_is_twice_one(
    today: Path, prior: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (prior / "course.yaml").write_text("label: first\nlast_fraction: 2025-03-14\n")
    again = water(tmp_path / "again", d.plan(uid="1.2.3.32"), d.dose(plan_uid="1.2.3.32", uid="1.2.3.42"))
    out = tmp_path / "out"
    status = run(["reirradiate", str(today), "--prior", str(prior), "--prior", str(again), "--out", str(out), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert status == 0
    assert json.loads((out / "cumulative.json").read_text())["organs"] == told["organs"]
    assert (out / "report.html").read_text().count("all, BED") == 3
    assert [c["label"] for c in told["courses"]] == ["first", "again"]
    assert told["courses"][1]["months"] is None
    for row in told["organs"]:
        first, second = (one["bed_gy"] for one in row["courses"])
        assert first == second
        assert row["cumulative"]["bed_gy"] == pytest.approx(2 * first, abs=2e-3)
        assert row["cumulative"]["eqd2_gy"] * (1 + 2 / row["alpha_beta_gy"]) == pytest.approx(2 * first, abs=0.01)
    # The dose rises evenly: in the middle of the oesophagus, at z = -1.5 mm, it is 39.25 Gy in 25 fractions.
    (mean,) = [
        r for r in told["organs"] if (r["structure"], r["metric"], r["alpha_beta_gy"]) == ("Esophagus", "Mean[Gy]", 3.0)
    ]
    assert mean["courses"][0]["bed_gy"] == pytest.approx(39.25 * (1 + 39.25 / 75), abs=0.05)


def test_a_plan_leaves_room_for_what_was_given_before_and_says_what_that_cost(
    today: Path, prior: Path, tmp_path: Path
) -> None:
    protocol = tmp_path / "own.yaml"
    protocol.write_text(PROTOCOL)

    def planned(out: Path, *options: str) -> tuple[int, dict[tuple[str, str, str], dict[str, object]]]:
        status = run(["plan", str(today), "--protocol", str(protocol), "--dose-grid", "3", "--out", str(out), *options])
        rows = json.loads((out / "scorecard.json").read_text())["metrics"]
        return status, {(row["structure"], row["metric"], row["scope"]): row for row in rows}

    alone_status, alone = planned(tmp_path / "alone")
    status, summed = planned(tmp_path / "summed", "--prior", str(prior))
    cord, total = ("SpinalCord", "Max[Gy]", "course"), ("SpinalCord", "Max[Gy]", "cumulative")
    covered = ("PTV_5000", "D95%[Gy]", "course")
    # Alone every limit of this course holds, and that on all courses is unknown.
    assert (alone_status, alone[cord]["verdict"], alone[total]["verdict"]) == (4, "pass", "unknown")
    # The earlier 38 to 43 Gy in 25 fractions and that plan would break it.
    before = 41.5 * (1 + 41.5 / 50)
    own = float(str(alone[cord]["value"]))
    assert before + own * (1 + own / 50) > 140
    assert (status, summed[total]["verdict"]) == (0, "pass")
    assert float(str(summed[cord]["value"])) < own - 3
    assert float(str(summed[covered]["value"])) < float(str(alone[covered]["value"]))
    notes = " ".join(json.loads((tmp_path / "summed" / "run.json").read_text())["notes"])
    assert "planned on the sum with earlier course 'prior'" in notes
    # The report of a plan on the sum tells what one of a re-irradiation has to; an ordinary one has no such part.
    told = json.loads((tmp_path / "summed" / "reirradiation.json").read_text())
    assert told["kinds"][0]["kind"] == "type I"
    assert {row["structure"] for row in told["recurrences"]} == {"GTVp"}
    pages = [(tmp_path / out / "report.html").read_text() for out in ("alone", "summed")]
    assert [page.count("<h2>Re-irradiation</h2>") for page in pages] == [0, 1]
    assert not (tmp_path / "alone" / "reirradiation.json").exists()
    alone_notes = " ".join(json.loads((tmp_path / "alone" / "run.json").read_text())["notes"])
    assert "limits over all courses (SpinalCord) were not planned on" in alone_notes


def test_a_sum_can_be_judged_by_a_protocol(today: Path, prior: Path, tmp_path: Path) -> None:
    protocol = tmp_path / "own.yaml"
    protocol.write_text(PROTOCOL.replace("limit: 140", "limit: 60"))
    out = tmp_path / "out"
    assert run(["reirradiate", str(today), "--prior", str(prior), "--protocol", str(protocol), "--out", str(out)]) == 3
    (row,) = json.loads((out / "scorecard.json").read_text())["metrics"]
    # At the corner of the cord, x 6.5, y 6.5, z 1.5 and half a slice, it had 40 + 1.95 + 1.3 + 1.5 Gy.
    assert row["value"] == pytest.approx(44.75 * (1 + 44.75 / 50), abs=0.05)
    assert (row["scope"], row["verdict"]) == ("cumulative", "fail")


def test_fractions_that_course_yaml_tells_are_not_called_unknown(
    today: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prior = water(tmp_path / "prior", d.dose(plan_uid="9.9"))
    (prior / "course.yaml").write_text("fractions: 25\n")
    assert run(["reirradiate", str(today), "--prior", str(prior), "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["courses"][0]["fractions"] == [25]
    assert not any("number of fractions" in note for note in told["notes"])


COURSES = {
    "no dose": ([], "", ("has no RTDOSE", "prior")),
    "no fractions": ([d.dose(plan_uid="9.9")], "", ("no number of fractions", "course.yaml")),
    "fractions that contradict the plan": (
        [d.plan(), d.dose()], "fractions: 30\n", ("has 25 fractions", "course.yaml says 30"),
    ),
    "doses that cannot be told apart": (
        [d.plan(), d.dose(), d.dose(uid="1.2.3.41")], "", ("2 doses that cannot be told apart",),
    ),
    "an unknown key": ([d.plan(), d.dose()], "fraction: 30\n", ("course.yaml", "fraction;", "last_fraction")),
    "fractions that are no number": ([d.plan(), d.dose()], "fractions: many\n", ("'many'", "whole number")),
    "a day that is none": ([d.plan(), d.dose()], "last_fraction: spring 2025\n", ("'spring 2025'", "2025-03-14")),
    "a day after today": ([d.plan(), d.dose()], "last_fraction: 2999-01-01\n", ("after today", "last_fraction")),
    "no YAML": ([d.plan(), d.dose()], "label: [\n", ("course.yaml", "cannot be read as YAML")),
    "relative units": ([d.plan(), d.dose(units="RELATIVE")], "", ("relative to a prescription", "export it so")),
}  # fmt: skip


@pytest.mark.parametrize("name", COURSES)
def test_an_earlier_course_that_cannot_be_counted_is_refused(
    name: str, today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    objects, facts, words = COURSES[name]
    prior = water(tmp_path / "prior", *objects)
    if facts:
        (prior / "course.yaml").write_text(facts)
    out = tmp_path / "out"
    assert run(["reirradiate", str(today), "--prior", str(prior), "--out", str(out)]) == 2
    printed = capfd.readouterr()
    assert printed.err.startswith("tailort: ")
    assert printed.err.count("\n") == 1
    assert all(word in printed.err for word in words), printed.err
    assert not out.exists()


def test_another_patient_is_refused_unless_a_person_says_who_it_is(
    today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    objects = [*d.image_slices(), d.structure_set([w.EXTERNAL]), d.plan(), d.dose()]
    for ds in objects:
        ds.PatientID = "P2"
    prior = d.write(tmp_path / "prior", *objects)
    out = tmp_path / "out"
    assert run(["reirradiate", str(today), "--prior", str(prior), "--out", str(out)]) == 2
    assert "'P2'" in capfd.readouterr().err
    assert run(["reirradiate", str(today), "--prior", str(prior), "--same-patient", "--out", str(out)]) == 0

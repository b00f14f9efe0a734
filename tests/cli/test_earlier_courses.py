"""Earlier courses at the command line: what is refused, in one sentence, and what is known by bounds only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import dicom_cases as d
import numpy as np
import pytest
import water_cases as w

from tailort.cli.app import run
from tailort.geometry import Transform
from tailort.registration import Measure, Quality, Registration
from tailort.workflow import registering

DRAWN = (w.EXTERNAL, w.TUMOUR, w.CORD, w.OESOPHAGUS)
PROTOCOL = w.protocol("""
  - {structure: SpinalCord, metric: "Max[Gy]", operator: "<", limit: 140, priority: hard, quantity: BED,
     alpha_beta_gy: 2, scope: cumulative}
""")
PAPER = "label: paper\npatient_id: P1\nprescription: {dose_gy: 60, fractions: 30, highest_percent: 107}\n"


def water(folder: Path, *objects: object) -> Path:
    return w.case(folder, DRAWN, *objects)


@pytest.fixture
def today(tmp_path: Path) -> Path:
    return water(tmp_path / "today")


def refused(today: Path, priors: list[Path], out: Path, capfd: pytest.CaptureFixture[str], *options: str) -> str:
    named = [word for prior in priors for word in ("--prior", str(prior))]
    assert run(["reirradiate", str(today), *named, "--out", str(out), *options]) == 2
    printed = capfd.readouterr()
    assert printed.err.startswith("tailort: ")
    assert printed.err.count("\n") == 1, printed.err
    assert not out.exists()
    return printed.err


def summed(
    today: Path, priors: list[Path], out: Path, capfd: pytest.CaptureFixture[str], status: int = 0, *options: str
) -> dict:
    named = [word for prior in priors for word in ("--prior", str(prior))]
    assert run(["reirradiate", str(today), *named, "--out", str(out), "--json", *options]) == status
    return json.loads(capfd.readouterr().out)


# What cannot be counted: name, objects beside CT and RTSTRUCT, course.yaml, words of the sentence.
KINDS = {
    "of unlike plans": (
        [d.dose(summation="MULTI_PLAN", plan_uid="9.9")], "", ("no number of fractions",),
    ),
    "of brachytherapy": ([d.dose(summation="BRACHY")], "", ("no RTDOSE that can be counted", "BRACHY")),
    "of control points": ([d.dose(summation="CONTROL_POINT")], "", ("no RTDOSE", "CONTROL_POINT")),
    "of some beams": ([d.plan(), d.dose(summation="BEAM", beams=(1,))], "", ("no RTDOSE", "not exactly the 2 beams")),
    "of a recorded treatment": ([d.plan(), d.dose(summation="RECORD")], "", ("no RTDOSE", "RECORD")),
    "that is effective": ([d.plan(), d.dose(kind="EFFECTIVE")], "", ("no RTDOSE", "EFFECTIVE")),
    "in relative units": ([d.plan(), d.dose(units="RELATIVE")], "", ("relative to a prescription", "export it so")),
    "in another frame than its CT": ([d.plan(), d.dose(frame=d.OTHER_FRAME)], "", (d.OTHER_FRAME, "on this CT")),
}  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
def test_a_dose_that_is_not_that_of_the_course_is_refused(
    name: str, today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    objects, facts, words = KINDS[name]
    prior = water(tmp_path / "prior", *objects)
    if facts:
        (prior / "course.yaml").write_text(facts)
    told = refused(today, [prior], tmp_path / "out", capfd)
    assert all(word in told for word in words), told


@pytest.mark.parametrize(
    ("summation", "beams"), [("PLAN", [()]), ("FRACTION", [()]), ("MULTI_PLAN", [()]), ("BEAM", [(1,), (2,)])]
)
def test_doses_of_the_whole_course_count(
    summation: str, beams: list[tuple[int, ...]], today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    doses = [
        d.dose(summation=summation, beams=some, uid=f"1.2.3.4{n}", scale=1 / len(beams)) for n, some in enumerate(beams)
    ]
    told = summed(today, [water(tmp_path / "prior", d.plan(), *doses)], tmp_path / "out", capfd)
    (row,) = [
        r for r in told["organs"] if (r["structure"], r["metric"], r["alpha_beta_gy"]) == ("GTVp", "Mean[Gy]", 3.0)
    ]
    # The dose in the middle of the tumour, x 0, y 0, z -1.5, is 39.25 Gy in 25 fractions.
    assert row["cumulative"]["bed_gy"] == pytest.approx(39.25 * (1 + 39.25 / 75), abs=0.1)


def test_one_fraction_s_dose_is_taken_times_the_fractions(
    today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    prior = water(tmp_path / "prior", d.plan(), d.dose(summation="FRACTION_SESSION", scale=1 / 25))
    told = summed(today, [prior], tmp_path / "out", capfd)
    (row,) = [
        r for r in told["organs"] if (r["structure"], r["metric"], r["alpha_beta_gy"]) == ("GTVp", "Mean[Gy]", 3.0)
    ]
    assert row["cumulative"]["bed_gy"] == pytest.approx(39.25 * (1 + 39.25 / 75), abs=0.1)


def test_fractions_cannot_be_told_of_a_sum_of_several_plans(
    today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    both = d.dose(summation="MULTI_PLAN")
    other = d.dose(plan_uid="9.9").ReferencedRTPlanSequence
    both.ReferencedRTPlanSequence = [*both.ReferencedRTPlanSequence, *other]
    prior = water(tmp_path / "prior", both)
    (prior / "course.yaml").write_text("fractions: 30\n")
    told = refused(today, [prior], tmp_path / "out", capfd)
    assert "sum of several plans" in told
    assert "export the dose of each plan" in told


# Places: what is written as the earlier course, and words of the sentence.
def test_a_dose_without_ct_counts_in_today_s_frame_and_says_so(
    today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    prior = d.write(tmp_path / "prior", d.dose(plan_uid="9.9"))
    (prior / "course.yaml").write_text("fractions: 25\nlast_fraction: 2025-03-14\n")
    with_ct = water(tmp_path / "with-ct", d.plan(uid="9.8"), d.dose(plan_uid="9.8"))
    told = summed(today, [prior], tmp_path / "out", capfd)
    same = summed(today, [with_ct], tmp_path / "same", capfd)
    assert [row["cumulative"] for row in told["organs"]] == [row["cumulative"] for row in same["organs"]]
    assert any(
        "it has no CT of its own; its dose lies in the frame of reference of today's CT" in n for n in told["notes"]
    )


def test_a_dose_without_ct_in_another_frame_is_refused(
    today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    prior = d.write(tmp_path / "prior", d.plan(frame=d.OTHER_FRAME), d.dose(frame=d.OTHER_FRAME))
    told = refused(today, [prior], tmp_path / "out", capfd)
    assert all(word in told for word in ("has no CT", d.OTHER_FRAME, d.FRAME, "add the CT on which it was planned"))


def test_doses_without_ct_in_two_frames_are_refused(
    today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    doses = [d.dose(plan_uid="9.9", uid="1.2.3.41"), d.dose(plan_uid="9.8", uid="1.2.3.42", frame=d.OTHER_FRAME)]
    told = refused(today, [d.write(tmp_path / "prior", *doses)], tmp_path / "out", capfd)
    assert all(word in told for word in ("has no CT", d.OTHER_FRAME, d.FRAME, "add the CT on which it was planned"))


def test_a_folder_without_dose_ct_or_facts_is_refused(
    today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    told = refused(today, [tmp_path / "empty"], tmp_path / "out", capfd)
    assert "no RTDOSE" in told
    assert "prescription in course.yaml" in told
    missing = refused(today, [tmp_path / "nowhere"], tmp_path / "out", capfd)
    assert "does not exist" in missing
    only_ct = refused(today, [water(tmp_path / "ct")], tmp_path / "out", capfd)
    assert "no RTDOSE that can be counted" in only_ct
    alien = d.write(tmp_path / "alien", d.plan())
    assert "has no CT" in refused(today, [alien], tmp_path / "out", capfd)


def test_scans_that_show_nothing_in_common_are_refused(
    today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    elsewhere = [*w.slices(frame=d.OTHER_FRAME), d.structure_set(list(DRAWN), frame=d.OTHER_FRAME)]
    prior = d.write(tmp_path / "prior", *elsewhere, d.plan(frame=d.OTHER_FRAME), d.dose(frame=d.OTHER_FRAME))
    told = refused(today, [prior], tmp_path / "out", capfd)
    # A scan of 24 mm in length shows too little to be registered.
    assert "60 mm" in told or "overlap" in told


def test_a_course_counts_once(today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    prior = water(tmp_path / "prior", d.plan(), d.dose())
    out = tmp_path / "out"
    assert "named twice" in refused(today, [prior, tmp_path / "today" / ".." / "prior"], out, capfd)
    copied = Path(shutil.copytree(prior, tmp_path / "copied"))
    assert "dose of one plan" in refused(today, [prior, copied], out, capfd)
    assert "is the folder of today" in refused(prior, [prior], out, capfd)
    again = water(tmp_path / "planned", d.plan(), d.dose())
    assert "course 'of today' hold the dose of one plan" in refused(again, [prior], out, capfd)


def test_two_courses_of_one_name_are_refused(today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = water(tmp_path / "a" / "prior", d.plan(), d.dose())
    second = water(tmp_path / "b" / "prior", d.plan(uid="9.9"), d.dose(plan_uid="9.9"))
    assert "two earlier courses are called 'prior'" in refused(today, [first, second], tmp_path / "out", capfd)


def test_a_course_in_today_s_frame_is_not_registered(
    today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    prior = water(tmp_path / "prior", d.plan(), d.dose())
    (prior / "course.yaml").write_text("registration: {method: rigid}\n")
    assert "leave 'registration' out" in refused(today, [prior], tmp_path / "out", capfd)


FILES = {
    "an unknown key": ("fraction: 30\n", ("fraction;", "last_fraction")),
    "no YAML": ("label: [\n", ("cannot be read as YAML",)),
    "a list": ("- label\n", ("holds no table",)),
    "a word for fractions": (PAPER.replace("30", "many"), ("'many'", "whole number")),
    "no fraction at all": (PAPER.replace("30", "0"), ("fractions is 0",)),
    "no largest dose": (PAPER.replace(", highest_percent: 107", ""), ("say highest_percent",)),
    "a largest dose below the prescription": (PAPER.replace("107", "95"), ("95 %", "100 to 300 %")),
    "a dose that is none": (PAPER.replace("dose_gy: 60", "dose_gy: -60"), ("dose_gy", "above 0")),
    "no dose": (PAPER.replace("dose_gy: 60, ", ""), ("lacks dose_gy",)),
    "a key of a phase": (PAPER.replace("highest_percent", "max_percent"), ("max_percent", "highest_percent")),
    "no prescription": ("label: paper\n", ("tell its prescription",)),
    "fractions twice": (PAPER + "fractions: 30\n", ("fractions stand in the prescription",)),
    "an organ without a number": (PAPER + "organs: {SpinalCord: 42}\n", ("SpinalCord", "no table", "max_gy")),
    "an organ that is not drawn": (PAPER + "organs: {Heart: {max_gy: 4}}\n", ("'Heart'", "not drawn today")),
    "an organ with more than there was": (PAPER + "organs: {SpinalCord: {max_gy: 80}}\n", ("more than the 64.2 Gy",)),
    "another patient": (PAPER.replace("P1", "P2"), ("'P2'", "--same-patient")),
    "a day that is none": (PAPER + "last_fraction: spring\n", ("'spring'", "2025-03-14")),
    "a day after today": (PAPER + "last_fraction: 2999-01-01\n", ("after today",)),
    "a target that is a word": (PAPER + "at_target: maybe\n", ("at_target is 'maybe'", "true or false")),
    "a registration": (PAPER + "registration: {method: rigid}\n", ("leave 'registration' out",)),
    "a registration that is none": (PAPER + "registration: {by: hand}\n", ("registration holds by", "guides")),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_tells_no_course_is_refused(
    name: str, today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text, words = FILES[name]
    path = tmp_path / "paper.yaml"
    path.write_text(text)
    told = refused(today, [path], tmp_path / "out", capfd)
    assert all(word in told for word in words), told


@pytest.mark.parametrize("as_file", [True, False])
def test_a_prescription_alone_is_bounded_and_said_so_first(
    as_file: bool, today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "paper"
    folder.mkdir()
    (folder / "course.yaml").write_text(PAPER.removeprefix("label: paper\n") + "organs: {SpinalCord: {max_gy: 42}}\n")
    (folder / ".index").write_text("left by a file manager")
    path = folder / "course.yaml" if as_file else folder
    told = summed(today, [path], tmp_path / "out", capfd)
    assert told["warnings"][0].startswith("the dose of course 'paper' is not known, only its prescription")
    found = {
        r["structure"]: r["cumulative"]
        for r in told["organs"]
        if (r["metric"], r["alpha_beta_gy"]) == ("D0.035cc[Gy]", 2.0)
    }
    assert found["SpinalCord"]["bed_gy"] is None
    assert (found["SpinalCord"]["bed_low_gy"], found["SpinalCord"]["bed_high_gy"]) == (0.0, 71.4)
    assert found["Esophagus"]["bed_high_gy"] == pytest.approx(64.2 * (1 + 64.2 / 60), abs=1e-3)
    assert "only its prescription" in (tmp_path / "out" / "report.html").read_text()


def test_a_limit_on_the_sum_with_a_bounded_course_fails_only_where_both_ends_do(
    today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paper, protocol = tmp_path / "paper.yaml", tmp_path / "own.yaml"
    paper.write_text(PAPER)
    given = water(tmp_path / "given", d.plan(), d.dose())

    def verdict(limit_gy: float, status: int) -> str:
        protocol.write_text(PROTOCOL.replace("limit: 140", f"limit: {limit_gy}"))
        out = tmp_path / f"out{limit_gy:g}"
        summed(today, [given, paper], out, capfd, status, "--protocol", str(protocol))
        (row,) = json.loads((out / "scorecard.json").read_text())["metrics"]
        assert row["value"] is None
        return str(row["verdict"])

    # In the cord the given course has up to 84.8 Gy BED, the one on paper up to 132.9 Gy.
    assert (verdict(230, 0), verdict(140, 4), verdict(60, 3)) == ("pass", "unknown", "fail")


def test_a_plan_on_the_sum_counts_the_most_that_a_bounded_course_can_have_given(
    today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paper, protocol, out = tmp_path / "paper.yaml", tmp_path / "own.yaml", tmp_path / "out"
    paper.write_text(PAPER + "organs: {SpinalCord: {max_gy: 42}}\n")
    protocol.write_text(PROTOCOL)
    asked = ["plan", str(today), "--protocol", str(protocol), "--prior", str(paper), "--dose-grid", "3"]
    assert run([*asked, "--out", str(out)]) == 0, capfd.readouterr().err
    rows = {(r["structure"], r["scope"]): r for r in json.loads((out / "scorecard.json").read_text())["metrics"]}
    row = rows["SpinalCord", "cumulative"]
    assert (row["verdict"], row["value"]) == ("pass", None)
    # 42 Gy in 30 fractions are 71.4 Gy BED: 140 Gy leave 68.6 Gy, and the plan uses them.
    assert "and 13" in row["reason"]
    notes = " ".join(json.loads((out / "run.json").read_text())["notes"])
    assert "as the most that it can be" in notes


def test_what_course_yaml_prescribes_must_be_what_was_given(
    today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    prior = water(tmp_path / "prior", d.plan(), d.dose())
    (prior / "course.yaml").write_text("prescription: {dose_gy: 60, fractions: 30}\n")
    assert "have 25 fractions, the prescription in its course.yaml 30" in refused(
        today, [prior], tmp_path / "out", capfd
    )
    (prior / "course.yaml").write_text("prescription: {dose_gy: 60, fractions: 25}\n")
    assert "prescribe 50 Gy, its course.yaml says 60 Gy" in refused(today, [prior], tmp_path / "out", capfd)
    (prior / "course.yaml").write_text("organs: {SpinalCord: {max_gy: 42}}\n")
    assert "leave 'organs' out" in refused(today, [prior], tmp_path / "out", capfd)


def test_months_and_recovery_are_unknown_without_the_last_day(
    today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = summed(today, [water(tmp_path / "prior", d.plan(), d.dose())], tmp_path / "out", capfd)
    assert told["courses"][0]["months"] is None
    assert any("nothing can be said of recovery" in note for note in told["notes"])
    michigan = [row for row in told["limits"] if row["recovery"] == "michigan"]
    assert michigan
    assert {row["counted_gy"] for row in michigan} == {None}
    assert all("unknown without the time between" in row["reason"] for row in michigan)


def elsewhere(folder: Path) -> Path:
    """An earlier course on a CT of its own frame of reference."""
    frame = d.OTHER_FRAME
    drawn = d.structure_set(list(DRAWN), frame=frame)
    return d.write(folder, *w.slices(frame=frame), drawn, d.plan(frame=frame), d.dose(frame=frame))


def test_a_registration_that_fails_its_check_is_refused_unless_a_person_insists_and_then_told_first(
    today: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = Registration(
        Transform(d.FRAME, d.OTHER_FRAME, np.eye(4), None, "test"),
        None,
        "test",
        Quality((Measure("Heart: Dice", 0.61, ">=", 0.8),)),
    )
    monkeypatch.setattr(registering, "registration_of", lambda *asked: failing)
    prior = elsewhere(tmp_path / "prior")
    told = refused(today, [prior], tmp_path / "out", capfd)
    assert "the registration of course 'prior' with today's CT fails its own check (Heart: Dice 0.61" in told
    assert "--insist" in told
    found = summed(today, [prior], tmp_path / "out", capfd, 0, "--insist")
    assert "fails its own check (Heart: Dice 0.61, limit >= 0.8)" in found["warnings"][0]
    assert "insisted" in found["warnings"][0]
    text = (tmp_path / "out" / "report.html").read_text()
    assert text.index("fails its own check") < text.index("Published limits over all courses")


def test_an_organ_without_alpha_beta_is_told_and_not_guessed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    nerve = ("OpticNrv_L", "ORGAN", w.OESOPHAGUS[2])
    today = w.case(tmp_path / "today", [w.EXTERNAL, nerve])
    told = summed(today, [water(tmp_path / "prior", d.plan(), d.dose())], tmp_path / "out", capfd)
    (row,) = [row for row in told["limits"] if row["structure"] == "OpticNrv_L"]
    assert (row["prior_gy"], row["left_gy"], row["verdict"]) == (None, None, "unknown")
    assert "no alpha/beta of this organ is known" in row["reason"]
    assert {r["alpha_beta_gy"] for r in told["organs"] if r["structure"] == "OpticNrv_L"} == {2.0, 3.0, 10.0}

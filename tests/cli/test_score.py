"""`tailort score`: what a table or record says, or one sentence on what is wrong with it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tailort.cli.app import run

LESIONS = (
    "lesion,organ,kind,2025-01-05,2025-04-02,2025-07-01\n4R,lymph nodes,target node,30,20,{node}\n"
    "bed,oesophagus,target,50,30,{bed}\npleura,pleura,non-target,present,present,{pleura}\nnew,-,new,,no,{new}\n"
)
LEVELS = "vertebra,pain,bone_lesion,alignment,posterolateral,collapse_percent,involved_percent\n"


def score(name: str, text: str, folder: Path, *more: str, suffix: str = "csv") -> int:
    path = folder / f"in.{suffix}"
    path.write_text(text)
    return run(["score", name, str(path), *more])


def lesions(node: str = "22", bed: str = "38", pleura: str = "present", new: str = "no") -> str:
    return LESIONS.format(node=node, bed=bed, pleura=pleura, new=new)


@pytest.mark.parametrize(
    ("text", "status", "overall"),
    [
        (lesions(), 0, "PD"),  # 60 mm from the smallest sum, 50: +20 % and 10 mm
        (lesions(node="22", bed="34"), 0, "PR"),  # 56 mm of 80 at the baseline
        (lesions(node="9", bed="0", pleura="absent"), 0, "CR"),
        (lesions(node="9", bed="0"), 0, "PR"),
        (lesions(node="20", bed="30", pleura="progression"), 0, "PD"),
        (lesions(node="20", bed="30", new="yes"), 0, "PD"),
        (lesions(node="20", bed="30", new=""), 4, None),
        (lesions(node="20", bed="30", pleura=""), 4, None),
        (lesions(node="", bed="30"), 0, "NE"),
    ],
)
def test_recist_from_a_table_of_lesions(
    text: str, status: int, overall: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score("recist", text, tmp_path, "--json") == status
    told = json.loads(capsys.readouterr().out)
    assert told["exit_status"] == status
    assert [one["date"] for one in told["responses"]] == ["2025-04-02", "2025-07-01"]
    assert (told["responses"][0]["overall"], told["responses"][1]["overall"]) == ("PR", overall)


def test_a_new_lesion_stays_progression_and_a_table_without_that_row_stays_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once = lesions(node="20", bed="30").replace("new,-,new,,no,no", "new,-,new,,yes,no")
    assert score("recist", once, tmp_path) == 0
    assert "2025-07-01  PD" in capsys.readouterr().out
    silent = "".join(line for line in lesions(node="20", bed="30").splitlines(True) if not line.startswith("new"))
    assert score("recist", silent, tmp_path) == 4
    assert "missing     new_lesion" in capsys.readouterr().out


def test_we_91_sins_of_several_vertebrae_is_that_of_the_worst(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = LEVELS + "T4,occasional,mixed,normal,unilateral,0,60\nC7,mechanical,lytic,deformity,bilateral,30,\n"
    assert score("sins", text, tmp_path, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["score"], told["klass"], told["worst_level"]) == (15, "unstable", "C7")
    assert told["scores"] == [["T4", 5], ["C7", 15]]


def test_sins_and_path_of_a_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = (
        "target_vertebrae: [T4]\nsins_pain: occasional\nsins_bone_lesion: mixed\nsins_alignment: normal\n"
        "sins_collapse: none-body-above-half\nsins_posterolateral: unilateral\n"
        'bilsky_grade: "2"\nsurgery_possible: yes\n'
    )
    assert score("sins", record, tmp_path, suffix="yaml") == 0
    assert "SINS                   5 (stable)" in capsys.readouterr().out
    assert score("spine-path", record, tmp_path, suffix="yaml") == 0
    assert "decompression-then-sbrt" in capsys.readouterr().out
    assert score("spine-path", record.replace("surgery_possible: yes\n", ""), tmp_path, suffix="yaml") == 4
    assert "surgery_possible" in capsys.readouterr().out


def test_we_51_body_surface_by_both_formulas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score("bsa", "height_cm: 170\nweight_kg: 65\n", tmp_path, suffix="yaml") == 0
    told = capsys.readouterr().out
    assert "mosteller  1.752 m2" in told
    assert "dubois     1.754 m2" in told
    assert score("bsa", "height_cm: 170\n", tmp_path, suffix="yaml") == 4
    assert "weight_kg" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("ecog", "", "known are recist, sins, spine-path, bsa"),
        ("recist", "lesion,kind\n", "expected the columns lesion, organ, kind"),
        ("recist", lesions(node="8.4 mm"), "row 2, column '2025-07-01': found '8.4 mm'"),
        ("recist", lesions(pleura="gone"), "row 4, column '2025-07-01': found 'gone', expected one of present"),
        ("recist", lesions(new="maybe"), "row 5, column '2025-07-01'"),
        ("recist", lesions(node="-3"), "expected a size in mm"),
        ("recist", lesions(node="2_2"), "expected a size in mm"),
        ("recist", lesions(node="1e30"), "expected a size in mm, without the unit, 0 to 1000"),
        ("recist", lesions(node="9" * 5000), f"found '{'9' * 40}...', expected a size"),
        ("recist", "a" * 200_000 + lesions(), "this is not a table with ',' between cells"),
        ("recist", lesions() + '"open', "this is not a table with ',' between cells"),
        (
            "recist",
            lesions().replace(",", ";"),
            "expected the columns lesion, organ, kind first, with ',' between cells",
        ),
        ("recist", lesions().replace("bed,oeso", ",oeso"), "in.csv, row 3, column 'lesion': found '', expected text"),
        ("recist", lesions().replace("bed", "4R"), "in.csv: target lesion '4R' is there 2 times"),
        ("recist", lesions().replace("new,-,new,,", "new,-,new,yes,"), "row 5: no lesion is new at the baseline"),
        ("recist", lesions().replace("target node,30", "target node,12"), "row 2: target lesion '4R' is 12 mm"),
        ("recist", lesions().replace("2025-07-01", "2999-07-01"), "after today"),
        ("recist", lesions().replace("2025-07-01", "2024-07-01"), "the baseline first"),
        ("recist", lesions().replace("2025-07-01", "visit 2"), "is no examination"),
        ("recist", lesions().replace("non-target,present,", "non-target,absent,"), "present at the baseline"),
        ("recist", lesions() + "x,y\n", "row 6: expected 6 cells"),
        ("sins", LEVELS + "T13,,,,,,\n", "there is no vertebra 'T13'"),
        ("sins", LEVELS + "T\u0664,,,,,,\n", "there is no vertebra 'T\u0664'"),
        ("sins", LEVELS + "T4,severe,,,,,\n", "row 2, column 'pain'"),
        ("sins", LEVELS + "T4,,,,,,\nTh4,,,,,,\n", "row 3: the vertebra 'Th4' is there twice"),
        ("sins", LEVELS + "T4,,,,,130,\n", "a percentage from 0 to 100"),
        ("sins", LEVELS, "at least one row"),
        ("sins", LEVELS.replace("collapse_percent,", "") + "T4,,,,,60\n", "expected 'collapse', or"),
    ],
)
def test_a_wrong_table_is_one_sentence_with_row_and_column(
    name: str, text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score(name, text, tmp_path) == 2
    told = capsys.readouterr()
    assert says in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bilsky_grade: 1\n", "cannot be 1: expected one of 0, 1a"),
        ("bilsky_grade: 2\n", "cannot be 2: expected one of 0, 1a, 1b, 1c, 2, 3, in quotation marks"),
        ('bilsky_grade: "1"\nsins_score: 5\n', "cannot be '1': expected one of 0, 1a"),
        ('bilsky_grade: "2"\nsins_score: 19\n', "0 to 18"),
        ("target_vertebrae: [T4, T5]\n", "one vertebra in 'target_vertebrae', found T4, T5"),
        ("target_vertebrae: [T13]\n", "there is no vertebra 'T13'"),
        ("target_vertebrae: [T4]\nsins_location: mobile\n", "'sins_location' is mobile, but T4 is semirigid"),
        ("target_vertebrae: [T4]\nsins_pain: severe\n", "expected one of mechanical, occasional, none"),
    ],
)
def test_a_wrong_record_is_one_sentence(
    text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert score("spine-path", text, tmp_path, suffix="yaml") == 2
    assert says in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "recist", "nowhere.csv"]) == 2
    assert "nowhere.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "column", "says"), [("recist", "lesion", "2025-07-01  PD"), ("sins", "vertebra", "15")]
)
def test_the_tables_of_the_documents_are_read(
    name: str, column: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
    (table,) = re.findall(rf"```csv\n({column},.*?)```", text, flags=re.DOTALL)
    assert score(name, table, tmp_path) == 0
    assert says in capsys.readouterr().out

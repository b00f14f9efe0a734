"""An output folder is written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tailort.cli.run_folder import whole_folder
from tailort.errors import OutputError, StoppedError


def left_behind(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_finished_block_makes_the_folder(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out", overwrite=False) as staging:
        (staging / "run.json").write_text("{}")
        assert not (tmp_path / "out").exists()
    assert left_behind(tmp_path) == ["out"]
    assert (tmp_path / "out" / "run.json").read_text() == "{}"


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_folder(tmp_path / "out", overwrite=False) as staging:
            (staging / "half").write_text("half")
            raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        fail()
    assert left_behind(tmp_path) == []


def test_an_error_keeps_the_earlier_result(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text("old")
    with pytest.raises(ValueError, match="bad"), whole_folder(tmp_path / "out", overwrite=True):
        raise ValueError("bad")
    assert (tmp_path / "out" / "run.json").read_text() == "old"
    assert left_behind(tmp_path) == ["out"]


def test_ctrl_c_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match="interrupted") as told, whole_folder(tmp_path / "out", overwrite=False):
        raise KeyboardInterrupt
    assert told.value.exit_status == 130
    assert left_behind(tmp_path) == []


def test_a_filled_folder_is_refused_without_overwrite(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text("old")
    with pytest.raises(OutputError, match="--overwrite"), whole_folder(tmp_path / "out", overwrite=False):
        pass


def test_overwrite_replaces_an_earlier_result_whole(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text("old")
    (tmp_path / "out" / "stale").write_text("old")
    with whole_folder(tmp_path / "out", overwrite=True) as staging:
        (staging / "run.json").write_text("new")
    assert left_behind(tmp_path / "out") == ["run.json"]
    assert (tmp_path / "out" / "run.json").read_text() == "new"
    assert left_behind(tmp_path) == ["out"]


def test_overwrite_never_takes_a_folder_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(OutputError, match="no earlier result"), whole_folder(tmp_path, overwrite=True):
        pass
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_the_input_is_never_the_output(tmp_path: Path) -> None:
    case = tmp_path / "case"
    case.mkdir()
    (case / "run.json").write_text("{}")
    for out in (case, tmp_path):
        with pytest.raises(OutputError, match="holds the input"), whole_folder(out, overwrite=True, inputs=(case,)):
            pass


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is full"), whole_folder(tmp_path / "out", overwrite=False):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert left_behind(tmp_path) == []


def test_a_really_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is full"), whole_folder(tmp_path / "out", overwrite=False):
        Path("/dev/full").write_text("x")
    assert left_behind(tmp_path) == []


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("file")
    with pytest.raises(OutputError, match="not a folder"), whole_folder(tmp_path / "out", overwrite=True):
        pass


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="cannot write"), whole_folder(tmp_path / "file" / "out", overwrite=False):
        pass

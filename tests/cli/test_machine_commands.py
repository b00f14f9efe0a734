"""`tailort machine`: list, show, fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tailort.cli.machine_commands import app, facts_of, fit_machine, load_machine
from tailort.errors import InputError, OutputError
from tailort.physics import machines
from tailort.physics.machines import machine_facts, machine_text

DATA = """# output factors of one beam
kind,field_x_mm,field_y_mm,ssd_mm,depth_mm,off_axis_mm,value
output,40,40,950,50,0,0.90
output,150,150,950,50,0,1.05
"""


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return done.exit_code, done.stdout


def test_list_names_every_packaged_machine() -> None:
    status, text = run("list", "--json")
    assert status == 0
    assert [row["id"] for row in json.loads(text)["machines"]] == list(machines())
    status, text = run("list")
    assert status == 0
    assert all(name in text for name in machines())


def test_show_tells_each_number_with_value_source_and_mark() -> None:
    _, text = run("show", "generic-6MV", "--json")
    told = json.loads(text)
    assert told["id"] == "generic-6MV"
    assert told["extrafocal_share"] == machine_facts()["generic-6MV"]["extrafocal_share"]
    _, text = run("show", "generic-6MV")
    assert "extrafocal_share" in text


def test_fit_writes_a_machine_that_plans_can_name_and_reports_what_changed(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "outputs.csv").write_text(DATA, encoding="utf-8")
    out = tmp_path / "mine.yaml"
    status, text = run("fit", "--data", str(folder), "--free", "extrafocal_share", "--out", str(out), "--json")
    assert status == 0
    told = json.loads(text)
    assert told["id"] == "mine"
    (number,) = told["numbers"]
    start = machine_facts()["generic-6MV"]["extrafocal_share"]["value"]
    assert (number["name"], number["start"]) == ("extrafocal_share", start)
    assert [row["measured"] for row in told["residuals"]] == [0.90, 1.05]
    assert all(row["set"] == "outputs" for row in told["residuals"])
    assert told["summary"][0]["points"] == 2
    found = load_machine(str(out))
    assert found.id == "mine"
    assert found.head.extrafocal_share == number["fitted"]
    assert "data" in found.label
    with pytest.raises(OutputError, match="--overwrite"):
        fit_machine("generic-6MV", data=folder, out=out)


def test_a_machine_is_found_by_id_or_by_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(machine_text("mine", machine_facts()["point-6MV"]), encoding="utf-8")
    assert load_machine("point-6MV") is machines()["point-6MV"]
    assert load_machine(str(file)).id == "mine"
    assert facts_of(str(file))[0] == "mine"


def test_what_is_no_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="known are generic"):
        load_machine("truebeam")
    with pytest.raises(InputError, match="cannot be read"):
        load_machine(str(tmp_path / "none.yaml"))
    with pytest.raises(InputError, match=r"no \.csv file"):
        fit_machine("generic-6MV", data=tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        fit_machine("generic-6MV", data=tmp_path / "none.csv")
    with pytest.raises(InputError, match="no packaged targets"):
        fit_machine("point-6MV")

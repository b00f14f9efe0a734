"""The page on protocols tells the truth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from tailort.patient.arrangements import arrangements
from tailort.protocols import (
    available,
    condition,
    drugs,
    endpoints,
    for_patient,
    individualising,
    modifications,
    overlay_file,
    parse,
    read_record,
    recipe,
    regions,
    schedule,
    schema,
    section,
)
from tailort.targets import LANDMARKS, STATIONS, TakeStations

PAGE = (Path(__file__).parents[2] / "docs" / "protocols.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_small_example_is_a_protocol() -> None:
    protocol = parse(EXAMPLES[0], "example.yaml")
    assert [(p.target, p.dose_gy, p.fractions) for p in protocol.prescriptions()] == [
        ("PTV70", 70.0, 35),
        ("PTV63", 63.0, 35),
        ("PTV56", 56.0, 35),
    ]
    assert protocol.structures_needed() == ("PTV70", "PTV63", "PTV56", "SpinalCord")


def test_the_large_example_is_a_protocol() -> None:
    protocol = parse(EXAMPLES[1], "example.yaml")
    assert len(protocol.target_steps()) == 5
    assert all(check.holds for check in protocol.checks())


def test_the_example_of_several_phases_is_a_protocol() -> None:
    protocol = parse(EXAMPLES[2], "example.yaml")
    assert protocol.phases == (1, 2, 3)
    boost = protocol.constraints()[-1]
    assert (boost.structure, boost.limit) == ("PTV_Boost", 64.8)


def test_the_example_of_several_plans_is_a_protocol() -> None:
    (text,) = (example for example in EXAMPLES if "\nplans:" in example)
    protocol = parse(text, "example.yaml")
    close = for_patient(protocol, read_record("gtv_to_stomach_cm: 1.0"))
    assert [(p.target, p.dose_gy) for p in close.prescriptions()] == [("PTV_5040", 50.4)]


def test_the_example_of_borders_and_stations_is_a_protocol() -> None:
    (text,) = (example for example in EXAMPLES if "borders:" in example)
    step = parse(text, "example.yaml").target_steps()[0]
    assert step.stations == TakeStations(("4", "7", "8M"), 8.0)
    assert [border.above_mm for border in step.then[0].inferior] == [-20.0, -15.0]


def test_every_landmark_with_its_point_and_every_constructed_station_is_on_the_page() -> None:
    for name, rule in LANDMARKS.items():
        assert f"`{name}`" in PAGE, name
        assert f"`{rule.point}`" in PAGE, rule.point
    assert not [name for name, rule in STATIONS.items() if rule.constructed and name not in PAGE]


def test_the_example_of_modifiers_and_triggers_is_a_protocol_that_only_proposes() -> None:
    (text,) = (example for example in EXAMPLES if "\nmodifiers:" in example)
    assert parse(text, "example.yaml").file.only_proposes


def test_the_example_of_an_overlay_is_one_and_tells_the_hard_limit_that_it_loosens() -> None:
    (text,) = (example for example in EXAMPLES if "\nextends:" in example)
    (overlay,) = parse(text, "example.yaml").overlays
    assert [change.loosens for change in overlay.changes] == ["goal", "", "hard limit", "", "", "", ""]
    (added,) = [change.what for change in overlay.changes if change.added]
    assert added == "Liver Mean[Gy], OUR-1: Mean dose to the liver"
    assert len(overlay.warnings) == 1


def test_every_arrangement_is_on_the_page() -> None:
    assert not [name for name in arrangements() if f"`{name}`" not in PAGE]


def test_the_record_of_the_page_is_a_record() -> None:
    facts = read_record(EXAMPLES[3])
    assert facts["kps"].value is None
    assert facts["pregnant"].source == "history"


def test_editors_can_be_given_a_json_schema() -> None:
    told = schema.ProtocolFile.model_json_schema()
    assert set(told["required"]) == {"id", "version", "title"}


def _sections() -> list[type[BaseModel]]:
    return [
        model
        for module in (
            schema,
            recipe,
            condition,
            drugs,
            endpoints,
            modifications,
            regions,
            schedule,
            individualising,
            overlay_file,
        )
        for model in vars(module).values()
        if isinstance(model, type) and issubclass(model, section.Section) and model.__module__ == module.__name__
    ]


def test_every_key_of_the_schema_is_on_the_page() -> None:
    keys = {field.alias or name for model in _sections() for name, field in model.model_fields.items()}
    assert len(keys) > 60
    missing = sorted(key for key in keys if not re.search(rf"\b{key}\b", PAGE))
    assert not missing


@pytest.mark.parametrize("mark", get_args(schema.Mark))
def test_every_mark_is_explained(mark: str) -> None:
    assert re.search(rf"^\| `{mark}` \|", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize("name", available())
def test_every_protocol_of_the_library_is_on_the_page(name: str) -> None:
    assert re.search(rf"^\| `{name}` \|", PAGE, flags=re.MULTILINE)

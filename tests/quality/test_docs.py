"""The documents name everything that can be chosen, and the README's commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tailort.cli.app import app
from tailort.dose import ENGINES
from tailort.optimisation import OBJECTIVES
from tailort.patient import QUANTITIES
from tailort.physics import density_tables, machines
from tailort.protocols import available
from tailort.targets import METHODS

ROOT = Path(__file__).parents[2]
DOCS = "\n".join(
    path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
)


@pytest.mark.parametrize(
    "name", [*ENGINES, *OBJECTIVES, *machines(), *density_tables(), *available(), *QUANTITIES, *METHODS]
)
def test_every_choice_is_documented(name: str) -> None:
    assert f"`{name}`" in DOCS


def test_every_command_is_documented() -> None:
    for command in app.registered_commands:
        assert command.callback is not None
        assert f"tailort {command.name or command.callback.__name__}" in DOCS


def test_no_document_names_a_command_that_is_not_there() -> None:
    names = {command.callback.__name__ for command in app.registered_commands if command.callback}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?:^|/bin/)tailort (\w+)", readme, flags=re.MULTILINE)) <= names


def test_links_between_documents_lead_somewhere() -> None:
    for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            assert target.startswith("http") or (path.parent / target).exists(), f"{path.name}: {target}"

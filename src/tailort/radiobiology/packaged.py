"""The packaged tables of this folder."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

from tailort.text_files import parse_yaml


@cache
def packaged(file: str) -> Any:
    """Return what a packaged YAML file says."""
    text = resources.files("tailort.radiobiology").joinpath(f"data/{file}").read_text(encoding="utf-8")
    return parse_yaml(text, file)

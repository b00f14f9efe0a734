"""The run folder of a monitored response."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tailort.cli.write import _write_json, _write_report
from tailort.web.response_report import response_report
from tailort.workflow import StageClock
from tailort.workflow.responding import Response


def write_response(
    result: Response, folder: Path, options: Mapping[str, Any], inputs: Mapping[str, str], clock: StageClock
) -> None:
    """Write response.json, report.html and run.json."""
    _write_json(folder / "response.json", result.as_dict())
    described = {
        "options": dict(options), "engine": "none", "inputs_sha256": dict(inputs), "notes": list(result.notes),
    }  # fmt: skip
    _write_report(partial(response_report, result), described, folder, clock)

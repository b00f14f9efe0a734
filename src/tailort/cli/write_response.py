"""The run folder of a monitored response."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tailort.cli.run_files import write_json, write_report
from tailort.web.response_report import response_report
from tailort.workflow.clock import StageClock
from tailort.workflow.responding import Response


def write_response(
    result: Response, folder: Path, options: Mapping[str, Any], inputs: Mapping[str, str], clock: StageClock
) -> None:
    """Write response.json, report.html and run.json."""
    write_json(folder / "response.json", result.as_dict())
    described = {
        "options": dict(options), "engine": "none", "inputs_sha256": dict(inputs), "notes": list(result.notes),
    }  # fmt: skip
    write_report(partial(response_report, result), described, folder, clock)

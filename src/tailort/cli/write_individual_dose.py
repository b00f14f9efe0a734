"""The run folder of an individual dose."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tailort.cli.run_files import protocol_told, write_json, write_report
from tailort.web.individual_dose_report import individual_dose_report
from tailort.workflow.clock import StageClock
from tailort.workflow.individual_dose import IndividualDose

COLUMNS = (
    "fractions", "dose_gy", "dose_per_fraction_gy", "bed_gy", "eqd2_gy", "needs_signature", "structure", "metric",
    "quantity", "scope", "value", "operator", "limit", "priority", "verdict", "extrapolated",
)  # fmt: skip


def write_individual_dose(
    result: IndividualDose, folder: Path, options: Mapping[str, Any], inputs: Mapping[str, str], clock: StageClock
) -> None:
    """Write individual-dose.json, curve.csv, report.html and run.json, and decision.json where there is a record."""
    if result.decision is not None:
        write_json(folder / "decision.json", result.decision.as_dict())
    write_json(folder / "individual-dose.json", result.as_dict())
    _write_curve(folder / "curve.csv", result)
    described = {
        "protocol": protocol_told(result.protocol), "options": dict(options), "engine": result.given.dose.engine,
        "inputs_sha256": dict(inputs), "notes": list(result.notes),
    }  # fmt: skip
    write_report(partial(individual_dose_report, result), described, folder, clock)


def _write_curve(path: Path, result: IndividualDose) -> None:
    """One line for each limit and outcome at each dose of each number of fractions."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(COLUMNS)
        for one in result.proposals:
            for level in one.curve:
                at = (
                    level.fractions, f"{level.dose_gy:g}", f"{level.dose_per_fraction_gy:.4f}", _told(level.bed_gy),
                    _told(level.eqd2_gy), "; ".join(level.signature),
                )  # fmt: skip
                for row in (*level.limits, *level.outcomes):
                    table.writerow(
                        (
                            *at, row.structure, row.metric, row.quantity, row.scope, _told(row.value),
                            row.operator or "", "" if row.limit is None else f"{row.limit:g}", row.priority,
                            row.verdict, row.extrapolated,
                        )
                    )  # fmt: skip


def _told(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"

"""Files of a virtual cohort: the table, what its columns are, its truth."""

from __future__ import annotations

import csv
from pathlib import Path

from tailort.cli.run_files import write_json
from tailort.phantom.virtual_cohort import VirtualCohort

TABLE, MAPPING, TRUTH = "cohort.csv", "mapping.yaml", "truth.json"


def write_virtual_cohort(cohort: VirtualCohort, folder: Path) -> Path:
    """Write cohort.csv, mapping.yaml, truth.json and README.md; return the table."""
    table = folder / TABLE
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, cohort.columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(cohort.rows)
    (folder / MAPPING).write_text(cohort.mapping, encoding="utf-8")
    write_json(folder / TRUTH, cohort.truth)
    (folder / "README.md").write_text(
        f"# Synthetic cohort '{cohort.name}'\n\n"
        "Every row is synthetic: drawn by a computer from the hazards in truth.json, no row is a person's. Follow-up "
        f"ends on {cohort.last_day.isoformat()}.\n\n"
        f"    tailort cohort {TABLE} --protocol {cohort.protocol} --until {cohort.last_day.isoformat()}\n",
        encoding="utf-8",
    )
    return table

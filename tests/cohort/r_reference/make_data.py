"""Cohorts that nobody lived: the tables of `data/`, drawn with fixed seeds.

Run: python tests/cohort/r_reference/make_data.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "data"
COLUMNS = "time,status,group,stratum,age,marker"
DAYS_PER_MONTH = 30.4375


def drawn(seed: int, patients: int, groups: int, strata: int, causes: int = 2, follow_up: float = 36.0) -> dict:
    """Exponential times in months; a higher group, an older patient and a marker come to their event earlier."""
    rng = np.random.default_rng(seed)
    group, stratum = rng.integers(0, groups, patients), rng.integers(0, strata, patients)
    age, marker = np.round(rng.normal(64, 9, patients), 1), rng.integers(0, 2, patients)
    hazard = 0.03 * np.exp(0.35 * group + 0.2 * stratum + 0.02 * (age - 64) + 0.3 * marker)
    event = rng.exponential(1.0 / hazard)
    censored = rng.uniform(0.2 * follow_up, 1.5 * follow_up, patients)
    cause = 1 + rng.choice(causes, patients, p=np.arange(causes, 0, -1) / np.arange(1, causes + 1).sum())
    status = np.where(event <= censored, cause, 0)
    time = np.minimum(event, censored)
    return {"time": time, "status": status, "group": group, "stratum": stratum, "age": age, "marker": marker}


def ended(table: dict, status: int) -> dict:
    """The same with the longest follow-up ending so."""
    table["status"][np.argmax(table["time"])] = status
    return table


def whole_months(table: dict) -> dict:
    return table | {"time": np.ceil(table["time"])}


def no_competing(table: dict) -> dict:
    """In group 0 nobody has another event than cause 1."""
    out = (table["group"] == 0) & (table["status"] == 2)
    return table | {"status": np.where(out, 0, table["status"])}


def one_after_the_other(table: dict) -> dict:
    """All of group 0 have ended before anyone of group 1 does."""
    early = np.minimum(table["time"] / 10, 3.9)
    return table | {"time": np.where(table["group"] == 0, np.round(early, 1), 4 + np.round(table["time"], 1))}


def tables() -> dict[str, dict]:
    days = drawn(8, 120, 2, 2)
    return {
        "spine-21": ended(drawn(1, 21, 2, 2), 0),
        "months-60": ended(whole_months(drawn(2, 60, 3, 2)), 1),
        "continuous-150": ended(drawn(3, 150, 3, 3), 2),
        "no-competing-80": no_competing(whole_months(drawn(4, 80, 2, 2))),
        "strata-200": ended(whole_months(drawn(5, 200, 2, 5)), 0),
        "heavy-ties-500": whole_months(drawn(6, 500, 3, 4, causes=3, follow_up=18.0)),
        "disjoint-40": ended(one_after_the_other(drawn(7, 40, 3, 1)), 1),
        "days-120": days | {"time": np.ceil(days["time"] * DAYS_PER_MONTH) / DAYS_PER_MONTH},
    }


def main(folder: Path) -> None:
    for name, table in tables().items():
        rows = zip(*(table[column] for column in COLUMNS.split(",")), strict=True)
        lines = [",".join(repr(float(x)) if isinstance(x, np.floating) else str(x) for x in row) for row in rows]
        (folder / f"{name}.csv").write_text("\n".join([COLUMNS, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)

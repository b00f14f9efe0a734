"""What every run folder has: JSON, the report with run.json, and what was read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tailort.cli.versions import run_versions
from tailort.protocols import Protocol
from tailort.workflow.clock import Stage, StageClock


def write_report(
    page: Callable[[Mapping[str, Any], Sequence[Stage]], str], described: Mapping[str, Any], folder: Path,
    clock: StageClock,
) -> None:  # fmt: skip
    """Write report.html, and run.json: what was made, of what, by which versions and in what time."""
    whole = {**run_versions(), **described}
    (folder / "report.html").write_text(page(whole, clock.stages), encoding="utf-8")
    stages = [{"name": s.name, "wall_s": round(s.wall_s, 3), "cpu_s": round(s.cpu_s, 3)} for s in clock.stages]
    write_json(folder / "run.json", {**whole, "stages": stages})


def write_json(path: Path, value: object) -> None:
    """Write JSON, indented; a number that is none is refused."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def hashes_of(folder: Path, priors: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of every file of a case and, below their folder's name, of its earlier courses."""
    hashes = hash_inputs(folder)
    for prior in priors:
        hashes |= {f"{prior.name}/{name}".rstrip("/"): value for name, value in hash_inputs(prior).items()}
    return hashes


def hash_inputs(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its relative path; of a file its own."""
    if folder.is_file():
        return {"": hashlib.sha256(folder.read_bytes()).hexdigest()}
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            # The name of a file may hold bytes that are no text.
            name = str(path.relative_to(folder)).encode("utf-8", "backslashreplace").decode("utf-8")
            hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashes


def protocol_told(protocol: Protocol) -> dict[str, Any]:
    """By which protocol something was made, for run.json."""
    return {
        "id": protocol.id,
        "version": protocol.version,
        "status": protocol.status,
        "overlays": [overlay.as_dict() for overlay in protocol.overlays],
    }

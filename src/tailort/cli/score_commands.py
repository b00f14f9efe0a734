"""`tailort score`: RECIST, SINS, the spine's path, body surface area, RSI. Heavy imports wait for the command."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tailort.cli.options import Json
from tailort.errors import InputError

if TYPE_CHECKING:
    from tailort.cli.rsi_score import GeneOptions
    from tailort.patient import Fact
    from tailort.protocols.scores import PathAnswer, ResponseAnswer, SinsAnswer

UNDECIDED = 4
# The protocol that scores a spine and chooses its path.
SPINE = "reirradiation-spine"
RSI = "rsi"
Rows = list[tuple[str, str]]


def score(
    name: Annotated[str, typer.Argument(help="recist, sins, spine-path, bsa or rsi.")],
    file: Annotated[
        Path,
        typer.Argument(help="recist: lesions (CSV); sins: vertebrae (CSV) or a record; rsi: genes; else a record."),
    ],
    dose_gy: Annotated[float | None, typer.Option("--dose-gy", help="rsi: physical dose of the course, Gy.")] = None,
    fractions: Annotated[int | None, typer.Option("--fractions", help="rsi: fractions of the course.")] = None,
    target_gard: Annotated[float | None, typer.Option("--target-gard", help="rsi: a GARD to aim at.")] = None,
    reading: Annotated[list[str] | None, typer.Option("--reading", help="rsi: RB-76=PAK2 or RB-76=CDK1.")] = None,
    as_json: Json = False,
) -> None:
    """Score one patient: response (RECIST), instability (SINS) and path of a spine, body surface, radiosensitivity."""
    from tailort.cli.app import _on_stdout, _print_json
    from tailort.cli.decide_commands import readings_of_text
    from tailort.cli.rsi_score import GeneOptions

    genes = GeneOptions(dose_gy, fractions, target_gard, readings_of_text(tuple(reading or ())))
    told, rows, missing = score_file(name, file, genes=genes)
    with _on_stdout():
        if as_json:
            _print_json({"score": name, "exit_status": UNDECIDED * bool(missing), **told})
        else:
            width = max(len(what) for what, _ in rows)
            for what, text in rows:
                print(f"{what:<{width}}  {text}")
    if missing:
        raise typer.Exit(UNDECIDED)


def score_file(
    name: str, file: Path, today: dt.date | None = None, genes: GeneOptions | None = None
) -> tuple[dict[str, Any], Rows, tuple[str, ...]]:
    """Score what a file tells.

    Parameters
    ----------
    name : {"recist", "sins", "spine-path", "bsa", "rsi"}
        Which score.
    file : Path
        Table of lesions, vertebrae or genes, or a clinical record.
    today : date or None
        None is the computer's.
    genes : GeneOptions or None
        What is asked of a table of genes; the other scores take none of it.

    Returns
    -------
    dict, list of (str, str), tuple of str
        Ready for JSON; lines for people; what is missing for an answer.

    Raises
    ------
    InputError
        When there is no such score, or the file cannot be read.
    """
    if name == RSI:
        from tailort.cli.rsi_score import GeneOptions, score_rsi

        return score_rsi(file, genes or GeneOptions())
    if name not in SCORES:
        raise InputError(f"there is no score '{name}'; known are {', '.join((*SCORES, RSI))}")
    if genes is not None and genes.given:
        raise InputError(f"--dose-gy, --fractions, --target-gard and --reading are for the score {RSI}, not for {name}")
    return SCORES[name](file, today or dt.date.today())


def _recist(file: Path, today: dt.date) -> tuple[dict[str, Any], Rows, tuple[str, ...]]:
    from tailort.protocols.scores import parse_lesions
    from tailort.text_files import read_text

    table = parse_lesions(read_text(file, "table"), str(file), today)
    rows: Rows = [("baseline", table.days[0].isoformat())]
    told = []
    missing: tuple[str, ...] = ()
    try:
        responses = table.responses()
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    for day, found in responses:
        told.append({"date": day.isoformat(), **_plain(found)})
        sizes = (
            f"; sum {'not known' if found.sum_mm is None else f'{found.sum_mm:g} mm'}, baseline "
            f"{found.baseline_mm:g} mm, smallest before {found.nadir_mm:g} mm"
            if found.baseline_mm is not None and found.nadir_mm is not None
            else ""
        )
        parts = f"target {found.target or 'none'}, non-target {found.non_target or 'unknown'}"
        rows.append((day.isoformat(), f"{found.overall or 'unknown'} ({parts}{sizes})"))
        rows += _remarks(found)
        missing = found.missing if found.overall is None else ()
    return {"baseline": table.days[0].isoformat(), "responses": told}, rows, missing


def _sins(file: Path, today: dt.date) -> tuple[dict[str, Any], Rows, tuple[str, ...]]:
    from tailort.protocols import load
    from tailort.protocols.scores import level_of_record, parse_levels, sins
    from tailort.text_files import read_text

    protocol = load(SPINE)
    if file.suffix.lower() == ".csv":
        levels = parse_levels(protocol, read_text(file, "table"), str(file))
    else:
        levels = (level_of_record(protocol, _record(file)),)
    found = sins(protocol, levels)
    score = str(found.score) if found.score is not None else f"{found.lowest} to {found.highest}"
    rows: Rows = [("SINS", f"{score} ({found.klass or 'class unknown'})")]
    if len(levels) > 1:
        rows += [(name, "unknown" if points is None else str(points)) for name, points in found.scores]
        rows.append(("worst level", found.worst_level or "unknown"))
    asked = {True: "yes", False: "no", None: "unknown"}[found.surgical_consultation]
    rows += [("surgical consultation", asked), *_remarks(found)]
    return _plain(found), rows, found.missing if found.klass is None else ()


def _spine_path(file: Path, today: dt.date) -> tuple[dict[str, Any], Rows, tuple[str, ...]]:
    from tailort.protocols import load
    from tailort.protocols.scores import located, spine_path

    protocol, facts = load(SPINE), _record(file)
    if "sins_score" not in facts and "target_vertebrae" in facts:
        facts = located(protocol, facts)
    found = spine_path(protocol, facts, today)
    rows: Rows = [("path", found.path or f"undetermined: {' or '.join(found.possible)}")]
    rows += [("note", found.note)] if found.note else []
    return _plain(found), [*rows, *_remarks(found)], found.missing


def _bsa(file: Path, today: dt.date) -> tuple[dict[str, Any], Rows, tuple[str, ...]]:
    from tailort.protocols.scores import body_surface

    facts = _record(file)
    measured = _value(facts, "height_cm", "number"), _value(facts, "weight_kg", "number")
    made = [body_surface(*measured, "mosteller"), body_surface(*measured, "dubois")]
    rows: Rows = [
        (one.formula, "unknown" if one.bsa_m2 is None else f"{one.bsa_m2:.3f} m2 ({one.text})") for one in made
    ]
    missing = made[0].missing
    rows += [("missing", ", ".join(missing))] if missing else []
    return {"formulas": [_plain(one) for one in made], "missing": list(missing)}, rows, missing


Scored = Callable[[Path, dt.date], tuple[dict[str, Any], Rows, tuple[str, ...]]]
SCORES: Mapping[str, Scored] = {"recist": _recist, "sins": _sins, "spine-path": _spine_path, "bsa": _bsa}


def _value(facts: Mapping[str, Fact], name: str, kind: Literal["text", "number", "integer", "boolean"]) -> Any:
    from tailort.protocols.schema import FactEntry

    return FactEntry(name=name, type=kind).read(facts[name].value) if name in facts else None


def _remarks(found: SinsAnswer | ResponseAnswer | PathAnswer) -> Rows:
    rows = [("missing", ", ".join(found.missing))] if found.missing else []
    for reading in found.readings:
        rows.append((f"read, {reading.rule}", f"{reading.taken}; otherwise {' or '.join(reading.others)}"))
    return [*rows, ("rules", ", ".join(f"{one.rule} [{one.mark}]" for one in found.cited))]


def _plain(found: Any) -> dict[str, Any]:
    return dataclasses.asdict(found)


def _record(file: Path) -> dict[str, Fact]:
    from tailort.protocols import load_record

    return load_record(file)

"""`tailort score rsi`: radiosensitivity of an expression table, and what a schedule or a target makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tailort.errors import InputError
from tailort.radiobiology import Gard, Rsi, gard, rsi
from tailort.radiobiology.genes import symbols
from tailort.radiobiology.packaged import packaged
from tailort.text_files import number, parse_csv, read_text

PROPOSES = "a proposal for research, never an order"
NO_TARGET = "no GARD to aim at is recorded for oesophageal cancer; one for another disease does not carry over (RB-79)"
RULE = "RB-76"
_COLUMNS = ("gene", "expression")
Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class GeneOptions:
    """What a person asks beside the table.

    Parameters
    ----------
    dose_gy : float or None
        Physical dose of the course, Gy.
    fractions : int or None
        Of the course.
    target_gard : float or None
        GARD to aim at.
    readings : mapping of str to str
        Reading by rule; RB-76 only.
    """

    dose_gy: float | None = None
    fractions: int | None = None
    target_gard: float | None = None
    readings: Mapping[str, str] | None = None

    @property
    def given(self) -> bool:
        """Whether anything is asked."""
        return any(value not in (None, {}) for value in vars(self).values())


def score_rsi(file: Path, options: GeneOptions) -> tuple[dict[str, Any], Rows, tuple[str, ...]]:
    """Score an expression table; returns as `tailort.cli.score_commands.score_file`.

    Raises
    ------
    InputError
        When the table or a cell is not as it should be, a gene is missing or there twice, or the options do not go
        together.
    """
    if (options.dose_gy is None) != (options.fractions is None):
        raise InputError("a schedule has a dose and a number of fractions: give both --dose-gy and --fractions")
    if options.fractions is not None and options.fractions < 1:
        raise InputError(f"a course has at least one fraction; --fractions says {options.fractions}")
    if options.target_gard is not None and options.dose_gy is None:
        raise InputError("the dose for a GARD depends on the dose per fraction: give --dose-gy and --fractions too")
    unknown = sorted(set(options.readings or {}) - {RULE})
    if unknown:
        raise InputError(f"rule '{unknown[0]}' has no reading here; only {RULE} has, PAK2 or CDK1")
    reading = (options.readings or {}).get(RULE)
    table = parse_expression(read_text(file, "table"), str(file))
    try:
        found = rsi(table, reading)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    told, rows = _index(found, table)
    flags = [*found.flags]
    if options.dose_gy is not None and options.fractions is not None:
        made = None
        if found.value > 0:
            made = gard(found.value, options.dose_gy / options.fractions, options.fractions)
            flags += made.flags
        more, lines = _dose(made, options, options.dose_gy, options.fractions)
        told |= more
        rows += lines
    flags += [NO_TARGET] if options.target_gard is not None else []
    rows += [("flag", text) for text in flags]
    data = packaged("genes.yaml")
    rows += [(f"source, {part.upper()}", f"{data[part]['source']} [{data[part]['mark']}]") for part in ("rsi", "gard")]
    rows.append(("note", PROPOSES))
    sources = {part: {key: data[part][key] for key in ("version", "source", "doi", "mark")} for part in ("rsi", "gard")}
    return {**told, "flags": flags, "sources": sources, "note": PROPOSES}, rows, ()


def parse_expression(text: str, origin: str) -> dict[str, float]:
    """Expression by gene, of a table with the columns gene and expression; genes that RSI does not need are left out.

    Raises
    ------
    InputError
        With row and column.
    """
    table = parse_csv(text, origin)
    header = [name.casefold() for name in table[0]]
    if any(name not in header for name in _COLUMNS):
        raise InputError(f"{origin}, row 1: expected the columns {', '.join(_COLUMNS)}; found {', '.join(table[0])}")
    at_gene, at_value = (header.index(name) for name in _COLUMNS)
    found: dict[str, float] = {}
    rows: dict[str, int] = {}
    for n, cells in enumerate(table[1:], start=2):
        if not any(cells):
            continue
        if len(cells) != len(header):
            raise InputError(f"{origin}, row {n}: expected {len(header)} cells, found {len(cells)}")
        name, cell = cells[at_gene], cells[at_value]
        symbol = symbols().get(name.casefold())
        if symbol is None:
            continue
        if symbol in rows:
            raise InputError(f"{origin}, row {n}: the gene {symbol} is there already in row {rows[symbol]}; leave one")
        value = number(cell)
        if value is None:
            shown = cell if len(cell) <= 40 else f"{cell[:40]}..."
            raise InputError(f"{origin}, row {n}, column 'expression': found '{shown}', expected a number")
        rows[symbol], found[symbol] = n, float(value)
    return found


def _index(found: Rsi, table: Mapping[str, float]) -> tuple[dict[str, Any], Rows]:
    data = packaged("genes.yaml")["rsi"]
    other = next(name for name in data["eighth"]["readings"] if name != found.reading)
    beside = rsi(table, other).value if other in table else None
    ranks = ", ".join(f"{symbol} {rank:g}" for symbol, rank in found.ranks)
    rows = [
        ("RSI", f"{found.value:.4f} (predicted surviving fraction at 2 Gy; higher is more resistant)"),
        ("ranks", f"{ranks} (10 the highest expression [{data['rank_mark']}])"),
        (f"read, {RULE}", f"{found.reading}; otherwise {other}" + ("" if beside is None else f", RSI {beside:.4f}")),
    ]
    told = {
        "rsi": found.value,
        "rsi_range": [found.lowest, found.highest],
        "ranks": dict(found.ranks),
        "reading": {"rule": RULE, "taken": found.reading, "other": other, "rsi_by_other": beside},
    }
    return told, rows


def _dose(made: Gard | None, options: GeneOptions, dose_gy: float, fractions: int) -> tuple[dict[str, Any], Rows]:
    schedule = f"{dose_gy:g} Gy in {fractions} fractions"
    if made is None or made.value is None:
        told: dict[str, Any] = {"alpha_per_gy": None, "gard": None}
        return told | ({} if options.target_gard is None else {"rxrsi_gy": None}), [("GARD", f"none, {schedule}")]
    rows = [("alpha_g", f"{made.alpha_per_gy:.4f} per Gy"), ("GARD", f"{made.value:.2f}, {schedule}")]
    told = {"alpha_per_gy": made.alpha_per_gy, "gard": made.value, "fraction_gy": made.fraction_gy}
    if options.target_gard is not None:
        needed = made.dose_gy(options.target_gard)
        told |= {"target_gard": options.target_gard, "rxrsi_gy": needed}
        text = "none" if needed is None else f"{needed:.2f} Gy in fractions of {made.fraction_gy:.3g} Gy"
        rows.append(("RxRSI", f"{text}, for a GARD of {options.target_gard:g}"))
    return told, rows

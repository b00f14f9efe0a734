"""`tailort machine`: list, show and fit linear accelerators. Heavy imports wait until a command runs."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailort.cli.options import Json
from tailort.errors import InputError, OutputError

if TYPE_CHECKING:
    from tailort.physics import Machine
    from tailort.workflow.fitting import MachineFit, Target

app = typer.Typer(help="Linear accelerators: list, show, and fit one to beam data.", no_args_is_help=True)
# Usual number of evaluations of a fit, for its progress.
USUAL_EVALUATIONS = 24


def load_machine(name: str) -> Machine:
    """Machine by the id of a packaged one, or by the path of a machine file (.yaml).

    Raises
    ------
    InputError
        When there is none, or the file is not a machine's.
    """
    from tailort.physics.machines import machine, machines, read_machine
    from tailort.text_files import read_text

    if name in machines() or not _is_path(name):
        return machine(name)
    return read_machine(read_text(name, "machine file"), name)


def facts_of(name: str) -> tuple[str, dict[str, Any]]:
    """Id and facts (each number with source and mark) of a machine, as `load_machine` finds it."""
    from tailort.physics.machines import machine, machine_facts, read_facts, read_machine
    from tailort.text_files import read_text

    packaged = machine_facts()
    if name in packaged or not _is_path(name):
        return machine(name).id, packaged[name]
    text = read_text(name, "machine file")
    found = read_machine(text, name)
    return found.id, read_facts(text, name)[found.id]


def fit_machine(
    start: str,
    *,
    data: Path | None = None,
    free: tuple[str, ...] = (),
    name: str | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    progress: Any = None,
) -> tuple[str, MachineFit]:
    """Fit a machine to beam data and write its file.

    Parameters
    ----------
    start : str
        Machine to start from: an id or a machine file.
    data : Path or None
        CSV file, or a folder of them; None takes the packaged targets of the machine, and its numbers as they were
        before their own fit.
    free : tuple of str
        Numbers to fit; empty is all on which the data act.
    name : str or None
        Id of the new machine; None is the name of the file `out`, or that of the start.
    out : Path or None
        YAML file to write.
    overwrite : bool
        Whether `out` may be there already.
    progress : callable or None
        Called with a stage and the share done.

    Raises
    ------
    InputError
        When the data cannot be read, or do not fit the machine.
    OutputError
        When the file cannot be written.
    """
    from tailort.workflow import fitting

    if out is not None and out.exists() and not overwrite:
        raise OutputError(f"'{out}' exists already; give --overwrite to replace it, or another --out")
    own, facts = facts_of(start)
    if data is None:
        targets, usual = fitting.packaged_targets(own)
        source = f"fitted by tailort machine fit to data/targets/{fitting.PACKAGED[own][0]}"
        facts = fitting.from_start(facts)
    else:
        targets, usual = _targets(data), fitting.free_numbers(facts)
        source = f"fitted by tailort machine fit to {data.name}, from {own}"
    new = name or (out.stem if out is not None else own)
    if data is not None:
        facts = {**facts, "label": f"{new}: fitted to {data.name} from {own}; check before any use"}
        measured = [one.value for one in targets if one.kind == "tpr" and one.weight > 0]
        if measured:
            quality = {
                "value": round(sum(measured) / len(measured), 4),
                "source": f"measured, {data.name}",
                "mark": "S",
            }
            facts["tpr20_10"] = quality

    def tell(evaluations: int) -> None:
        if progress is not None:
            progress(f"fit {new}", min(evaluations / USUAL_EVALUATIONS, 0.99))

    found = fitting.fit(facts, targets, free or usual, source, tell=tell)
    if out is not None:
        _write(out, new, found.facts)
    return new, found


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name or Path(name).is_file()


def _targets(data: Path) -> tuple[Target, ...]:
    from tailort.text_files import read_text
    from tailort.workflow.fitting import read_targets, target_sets

    files = sorted(data.glob("*.csv")) if data.is_dir() else [data]
    if not files:
        raise InputError(f"folder '{data}' has no .csv file with beam data")
    read = ((read_targets(read_text(file, "table"), str(file)), file.stem) for file in files)
    return tuple(one for targets, name in read for one in target_sets(targets, name))


def _write(out: Path, name: str, facts: dict[str, Any]) -> None:
    from tailort.physics.machines import machine_text

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging = out.with_name(f".{out.name}.part")
        staging.write_text(machine_text(name, facts), encoding="utf-8")
        staging.replace(out)
    except OSError as error:
        raise OutputError(f"'{out}' cannot be written: {error.strerror or error}") from error


@app.command("list")
def list_machines(as_json: Json = False) -> None:
    """List the packaged machines."""
    from rich.table import Table

    from tailort.cli.app import _on_stdout, _print_json, _show_table
    from tailort.physics.machines import machines

    told = [
        {"id": one.id, "energy_mv": one.energy_mv, "flattened": one.flattened, "label": one.label}
        for one in machines().values()
    ]
    with _on_stdout():
        if as_json:
            _print_json({"machines": told})
        else:
            table = Table("id", "beam", "what it is", box=None)
            for one in machines().values():
                table.add_row(one.id, f"{one.energy_mv:g} MV{'' if one.flattened else ' FFF'}", one.label)
            _show_table(table)


@app.command()
def show(
    machine: Annotated[str, typer.Argument(help="Id, or a machine file (.yaml).")],
    as_json: Json = False,
) -> None:
    """Show every number of a machine with its source and mark."""
    from rich.table import Table

    from tailort.cli.app import _on_stdout, _print_json, _show_table

    name, facts = facts_of(machine)
    with _on_stdout():
        if as_json:
            _print_json({"id": name, **facts})
        else:
            table = Table("number", "value", "mark", "source", title=f"{name}: {facts.get('label', '')}", box=None)
            for number, fact in facts.items():
                if number != "label":
                    table.add_row(number, _short(fact["value"]), fact["mark"], fact["source"])
            _show_table(table)


@app.command()
def fit(
    start: Annotated[str, typer.Option("--from", help="Machine to start from: id or file.")] = "generic-6MV",
    data: Annotated[
        Path | None, typer.Option("--data", help="CSV file of beam data or a folder of them; default: its own targets.")
    ] = None,
    free: Annotated[
        list[str] | None, typer.Option("--free", help="Number to fit; several times. Default: all the data tell of.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Id of the machine; default: name of the file.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Machine file (.yaml) to write.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
    as_json: Json = False,
) -> None:
    """Fit a machine to measured or published beam data; without --data, reproduce the fit of a packaged one."""
    from tailort.cli.app import _on_stdout, _print_json
    from tailort.cli.progress import Progress, interruptible

    with interruptible(), Progress() as progress:
        new, found = fit_machine(
            start, data=data, free=tuple(free or ()), name=name, out=out, overwrite=overwrite, progress=progress
        )
    told = report(new, found)
    with _on_stdout():
        if as_json:
            _print_json({"out": None if out is None else str(out), **told})
        else:
            _show_fit(told)
            if out is not None:
                print(f"machine file: {out}")


def report(name: str, found: MachineFit) -> dict[str, Any]:
    """What a fit says of itself: every number before and after, every residual, and their sizes by kind and set."""
    from tailort.workflow.fitting import KINDS

    groups: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for one in found.residuals:
        groups[one.target.kind, one.target.set].append(one)
    summary = []
    for (kind, whose), members in groups.items():
        differences = [one.difference for one in members]
        worst = max(members, key=lambda one: abs(one.difference))
        summary.append(
            {
                "kind": kind,
                "set": whose,
                "unit": KINDS[kind].unit,
                "points": len(members),
                "mean": sum(differences) / len(differences),
                "root_mean_square": (sum(d * d for d in differences) / len(differences)) ** 0.5,
                "largest": worst.difference,
                "largest_at": {"field_mm": list(worst.target.field_mm), "depth_mm": worst.target.depth_mm},
            }
        )
    return {
        "id": name,
        "converged": found.converged,
        "evaluations": found.evaluations,
        "numbers": [{"name": key, "start": found.start[key], "fitted": found.fitted[key]} for key in found.fitted],
        "summary": summary,
        "residuals": [
            {
                "kind": one.target.kind,
                "field_mm": list(one.target.field_mm),
                "ssd_mm": one.target.ssd_mm,
                "depth_mm": one.target.depth_mm,
                "off_axis_mm": one.target.off_axis_mm,
                "set": one.target.set,
                "weight": one.target.weight,
                "measured": one.target.value,
                "found": one.found,
                "difference": one.difference,
                "unit": KINDS[one.target.kind].unit,
            }
            for one in found.residuals
        ],
    }


def _show_fit(told: dict[str, Any]) -> None:
    from rich.table import Table

    from tailort.cli.app import _show_table

    table = Table("number", "start", "fitted", title=told["id"], box=None)
    for row in told["numbers"]:
        table.add_row(row["name"], _short(row["start"]), _short(row["fitted"]))
    _show_table(table)
    table = Table("data", "set", "points", "mean", "RMS", "largest", "at", "unit", box=None)
    for row in told["summary"]:
        at = f"{row['largest_at']['field_mm'][0]:g} x {row['largest_at']['field_mm'][1]:g} mm, "
        at += f"{row['largest_at']['depth_mm']:g} mm deep"
        table.add_row(
            row["kind"], row["set"], str(row["points"]), f"{row['mean']:+.2f}", f"{row['root_mean_square']:.2f}",
            f"{row['largest']:+.2f}", at, row["unit"],
        )  # fmt: skip
    _show_table(table)
    if not told["converged"]:
        print("note: the fit did not settle; start from its file again, or fit fewer numbers")


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(one)}" for key, one in value.items())
    if isinstance(value, list):
        if len(value) > 4:
            return f"{_short(value[:2])} ... {_short(value[-1])}"
        return ", ".join(f"({_short(one)})" if isinstance(one, list) else _short(one) for one in value)
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)

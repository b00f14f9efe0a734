"""`tailort protocols`: what there is, every rule of one, its page, the schema for editors. Heavy imports wait."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tailort.cli.options import Json
from tailort.errors import InputError, OutputError

if TYPE_CHECKING:
    from tailort.protocols import Protocol
    from tailort.protocols.elsewhere import ElsewhereRule

INDEX = "README.md"
# What says that a page was made here, and so may be replaced.
MADE = "by `tailort protocols --pages`"


def protocols(
    protocol: Annotated[str | None, typer.Argument(help="Protocol id or file.")] = None,
    page: Annotated[bool, typer.Option("--page", help="All that its file says as a readable page, Markdown.")] = False,
    pages: Annotated[
        Path | None, typer.Option("--pages", metavar="DIR", help="Write the page of every protocol, or of one, to DIR.")
    ] = None,
    not_executed: Annotated[
        bool, typer.Option("--not-executed", help="Rules that no file carries out, and by whom or why not.")
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="JSON Schema of protocol files and overlays, for editors.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the protocols; with an ID, every rule with its source and mark."""
    from tailort.cli.app import _on_stdout, _print_json
    from tailort.cli.proposals_text import show_overlays

    chosen = [name for name, given in _choices(page, pages, not_executed, schema) if given]
    if len(chosen) > 1:
        raise InputError(f"{chosen[0]} and {chosen[1]} do not go together; give one of them")
    if schema:
        if protocol is not None:
            raise InputError("--schema is that of every protocol file: leave the protocol out")
        from tailort.protocols.json_schema import json_schema

        with _on_stdout():
            _print_json(json_schema())
        return
    if page and (protocol is None or as_json):
        raise InputError("--page is Markdown of one protocol: give its id or file" + " and no --json" * as_json)
    from tailort.cli import commands
    from tailort.protocols import available, load

    loaded = tuple(load(name) for name in ([protocol] if protocol is not None else available()))
    if pages is not None:
        written = write_pages(loaded, pages, index=protocol is None)
        with _on_stdout():
            if as_json:
                _print_json({"written": [str(path) for path in written]})
            else:
                print("\n".join(str(path) for path in written))
        return
    with _on_stdout():
        if page:
            from tailort.protocols.pages import page as page_of

            print(page_of(loaded[0]), end="")
        elif not_executed:
            rules = rules_elsewhere(loaded, everything=protocol is None)
            if as_json:
                _print_json({"rules": [rule.as_dict() for rule in rules]})
            else:
                _show_elsewhere(rules)
        elif as_json:
            told = commands.protocols(protocol)
            if protocol is not None and loaded[0].overlays:
                told["overlays"] = [overlay.as_dict() for overlay in loaded[0].overlays]
            _print_json(told)
        else:
            if protocol is not None and loaded[0].overlays:
                from rich.console import Console

                show_overlays(Console(markup=False, emoji=False), loaded[0].overlays)
            _show(commands.protocols(protocol))


def _choices(page: bool, pages: Path | None, not_executed: bool, schema: bool) -> list[tuple[str, bool]]:
    return [
        ("--page", page), ("--pages", pages is not None), ("--not-executed", not_executed), ("--schema", schema),
    ]  # fmt: skip


def rules_elsewhere(loaded: Sequence[Protocol], everything: bool) -> tuple[ElsewhereRule, ...]:
    """Rules that the files do not carry out, and with `everything` those that stand in no file."""
    from tailort.protocols.elsewhere import of_files, of_no_file

    return (*(of_no_file() if everything else ()), *of_files(tuple(loaded)))


def write_pages(loaded: Sequence[Protocol], folder: Path, *, index: bool) -> tuple[Path, ...]:
    """Write the page of each protocol to a folder, and a page that lists them.

    Raises
    ------
    OutputError
        When the folder cannot be written, or holds another file of that name.
    """
    from tailort.protocols.elsewhere import of_no_file
    from tailort.protocols.pages import index_page, page

    texts = {f"{protocol.id}.md": page(protocol) for protocol in loaded}
    if index:
        texts[INDEX] = index_page(tuple(loaded), of_no_file())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in texts:
            if (folder / name).exists() and MADE not in (folder / name).read_text(encoding="utf-8", errors="replace"):
                raise OutputError(f"'{folder / name}' is not a page of a protocol; move it, or choose another folder")
        for name, text in texts.items():
            staged = folder / f".{name}.partial"
            staged.write_text(text, encoding="utf-8")
            os.replace(staged, folder / name)
    except OSError as error:
        raise OutputError(f"cannot write pages to '{folder}': {error.strerror or error}") from error
    return tuple(folder / name for name in texts)


def _show(told: dict[str, Any]) -> None:
    from rich.table import Table

    from tailort.cli.app import _show_table

    if "rules" in told:
        table = Table("rule", "text", "source", "mark", title=f"{told['id']} {told['version']}")
        for rule in told["rules"]:
            table.add_row(rule["id"], rule["text"], rule["source"], rule["mark"])
    else:
        table = Table("id", "version", "title", "status", box=None)
        for entry in told["protocols"]:
            table.add_row(entry["id"], entry["version"], entry["title"], entry["status"])
    _show_table(table)


def _show_elsewhere(rules: Sequence[ElsewhereRule]) -> None:
    from rich.table import Table

    from tailort.cli.app import _show_table

    table = Table("rule", "what", "carried out", "how, or why not", "file")
    for rule in rules:
        table.add_row(rule.rule, rule.part or rule.text, rule.kind, rule.reason, rule.protocol)
    _show_table(table)

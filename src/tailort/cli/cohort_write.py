"""The run folder of an analysed cohort: numbers, tables in four forms, figures and the report."""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import io
import json
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from json.encoder import encode_basestring as _text
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tailort.cli.run_files import write_report
from tailort.cohort.incidence import CumulativeIncidence
from tailort.cohort.survival import SurvivalCurve
from tailort.web.cohort_figures import Drawing
from tailort.web.cohort_report import cohort_drawings, cohort_report
from tailort.web.cohort_tables import result_tables, to_read
from tailort.web.cohort_trial_tables import trial_tables
from tailort.web.plain_tables import html_tables, word_tables
from tailort.workflow.clock import StageClock
from tailort.workflow.cohort_records import CohortAnalysis, EndpointAnalysis, GroupOutcome

# Of a curve the steps stand in curves.csv, of a cohort the patients in times.csv.
_IN_TABLES = ("times", "survival", "incidence")
# Lists and mappings of results.json with more entries are not indented any further: so many stand on a line.
_MOST_INDENTED, _A_LINE = 1000, 100


def write_cohort_analysis(
    result: CohortAnalysis,
    folder: Path,
    options: Mapping[str, Any],
    inputs: Mapping[str, str],
    clock: StageClock,
    before: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write results.json, curves.csv, times.csv, tables (CSV, HTML, Word), figures, report.html and run.json."""
    with (folder / "results.json").open("w", encoding="utf-8") as stream:
        stream.writelines(_json_lines(_told(result), ""))
        stream.write("\n")
    _write_curves(folder / "curves.csv", result)
    _write_times(folder / "times.csv", result)
    with clock.stage("tables"):
        tables = [*result_tables(result), *trial_tables(result)]
        (folder / "tables").mkdir()
        for table in tables:
            (folder / "tables" / f"{table.name}.csv").write_text(table.csv_text(), encoding="utf-8", newline="")
        title = "Tables" if result.protocol is None else f"Tables: {result.protocol.title}"
        short = [to_read(table) for table in tables]
        (folder / "tables.html").write_text(html_tables(title, short), encoding="utf-8")
        (folder / "tables.docx").write_bytes(word_tables(title, short))
    with clock.stage("figures"):
        drawings = cohort_drawings(result)
        _write_figures(folder / "figures", drawings)
    protocol = result.protocol
    described = {
        "protocol": None if protocol is None else {"id": protocol.id, "version": protocol.version},
        "options": dict(options), "engine": "none", "inputs_sha256": dict(inputs), "notes": list(result.notes),
    }  # fmt: skip
    page: Callable[..., str] = partial(cohort_report, result, drawings=drawings, before=before)
    write_report(page, described, folder, clock)


def results_of(result: CohortAnalysis) -> dict[str, Any]:
    """Every number of an analysis in full precision, ready for JSON."""
    plain: dict[str, Any] = as_plain(_told(result))
    return plain


def _told(result: CohortAnalysis) -> dict[str, Any]:
    """What of an analysis stands in results.json, as records."""
    protocol = result.protocol
    return {
        "protocol": None if protocol is None else {"id": protocol.id, "version": protocol.version},
        "today": result.today,
        "options": result.options,
        "patients": len(result.patients),
        "groups": _sizes(result.groups.values()),
        "characteristics": result.characteristics,
        "not_summarised": result.not_summarised,
        "endpoints": [_endpoint(one) for one in result.endpoints],
        "subgroups": [{**_fields(one), "warning": one.warning} for one in result.subgroups],
        "adverse_events": result.adverse_events,
        "doses": result.doses,
        "trial": result.trial,
        "notes": result.notes,
    }


def as_plain(value: Any) -> Any:
    """A record as JSON takes it: dates as text, what is no number as null."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, np.ndarray):
        return as_plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): as_plain(one) for key, one in value.items()}
    if dataclasses.is_dataclass(value):
        return {name: as_plain(one) for name, one in _fields(value).items()}
    return [as_plain(one) for one in value]


def _fields(record: Any) -> dict[str, Any]:
    # `dataclasses.fields` makes a tuple anew for each of very many records.
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def _json_lines(value: Any, indent: str) -> Iterator[str]:
    """JSON, indented; of what has very many entries a hundred stand on a line, as a computer alone reads them."""
    if dataclasses.is_dataclass(value):
        value = _fields(value)
    elif not isinstance(value, Mapping | list | tuple):
        value = as_plain(value)
    if not isinstance(value, Mapping | list | tuple):
        yield json.dumps(value, ensure_ascii=False, allow_nan=False)
        return
    keys = [f"{_text(str(key))}: " for key in value] if isinstance(value, Mapping) else [""] * len(value)
    entries = list(value.values()) if isinstance(value, Mapping) else value
    opened, closed = "{}" if isinstance(value, Mapping) else "[]"
    yield opened
    between = inner = f"\n{indent}  "
    if len(entries) > _MOST_INDENTED:
        lines = list(map(operator.add, keys, _words(entries)))
        for first in range(0, len(lines), _A_LINE):
            yield between + ", ".join(lines[first : first + _A_LINE])
            between = f",{inner}"
    else:
        for key, entry in zip(keys, entries, strict=True):
            yield between + key
            yield from _json_lines(entry, f"{indent}  ")
            between = f",{inner}"
    yield (f"\n{indent}" if entries else "") + closed


def _words(values: Sequence[Any]) -> list[str]:
    """JSON of each value on one line: what several share is written once, and values of a kind all together."""
    keys = list(map(id, values))
    different = dict(zip(keys, values, strict=True))
    kinds = set(map(type, different.values()))
    if len(different) == len(values) and len(kinds) == 1:
        return list(_words_of(kinds.pop(), values))
    words: dict[int, str] = {}
    for kind in kinds:
        some = {key: value for key, value in different.items() if type(value) is kind} if kinds - {kind} else different
        words.update(zip(some, _words_of(kind, list(some.values())), strict=True))
    return list(map(words.__getitem__, keys))


def _words_of(kind: type, values: Sequence[Any]) -> Iterable[str]:
    """As `_words`, of different values of one type."""
    if kind is str:
        return map(_text, values)
    if dataclasses.is_dataclass(kind):
        names = list(kind.__dataclass_fields__)
        columns = [_words(list(map(operator.attrgetter(name), values))) for name in names]
        form = ", ".join(f"{_text(name)}: %s" for name in names)
        return map(f"{{{form}}}".__mod__, zip(*columns, strict=True))
    if issubclass(kind, Mapping):
        told = iter(_words([one for value in values for one in value.values()]))
        return ["{" + ", ".join([f"{_text(str(key))}: {next(told)}" for key in value]) + "}" for value in values]
    if issubclass(kind, list | tuple):
        told = iter(_words(list(chain.from_iterable(values))))
        return ["[" + ", ".join(islice(told, len(value))) + "]" for value in values]
    if kind is int:
        return map(repr, values)
    if kind is float:
        return [repr(value) if math.isfinite(value) else "null" for value in values]
    if kind is dt.date:
        return [f'"{value.isoformat()}"' for value in values]
    return [json.dumps(as_plain(value), ensure_ascii=False, allow_nan=False) for value in values]


def _endpoint(one: EndpointAnalysis) -> dict[str, Any]:
    told = {name: value for name, value in _fields(one).items() if name not in _IN_TABLES}
    told["left_out"] = {} if one.times is None else one.times.left_out
    told["overall"] = None if one.overall is None else _outcome(one.overall)
    told["groups"] = [_outcome(outcome) for outcome in one.groups]
    if one.proportional is not None:
        told["proportional"] = one.proportional
    return told


def _outcome(outcome: GroupOutcome) -> dict[str, Any]:
    told = {name: value for name, value in _fields(outcome).items() if name not in _IN_TABLES}
    curve = outcome.survival or outcome.incidence
    assert curve is not None
    told |= {"confidence": curve.confidence, "interval": "log-log", "curve_notes": curve.notes}
    told["estimator"] = "Kaplan-Meier" if outcome.incidence is None else "Aalen-Johansen"
    told["variance"] = "greenwood" if outcome.incidence is None else outcome.incidence.variance
    return told


def _sizes(names: Iterable[str | None]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name in names:
        label = "not known" if name is None else name
        sizes[label] = sizes.get(label, 0) + 1
    return sizes


def _write_curves(path: Path, result: CohortAnalysis) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(
            ("endpoint", "group", "of", "months", "at_risk", "events", "censored", "estimate", "standard_error",
             "lower", "upper")
        )  # fmt: skip
        for one in result.endpoints:
            for outcome in () if one.overall is None else (one.overall, *one.groups):
                for of, columns in _steps(one, outcome):
                    number = len(columns[0])
                    named = [[name] * number for name in (one.endpoint.name, outcome.name, of)]
                    stream.write(csv_lines([*named, *map(_numbers, columns)]))


def _steps(one: EndpointAnalysis, outcome: GroupOutcome) -> list[tuple[str, list[Any]]]:
    curve: SurvivalCurve | CumulativeIncidence | None = outcome.survival
    if isinstance(curve, SurvivalCurve):
        columns = [curve.times, curve.at_risk, curve.events, curve.censored, curve.survival, curve.standard_error,
                   curve.lower, curve.upper]  # fmt: skip
        return [("event-free share", [column.tolist() for column in columns])]
    found = outcome.incidence
    assert found is not None
    steps = []
    for n, of in enumerate((one.endpoint.name, *one.endpoint.competing)):
        columns = [found.times, found.at_risk, found.events[:, n], found.censored, found.incidence[:, n],
                   found.standard_error[:, n], found.lower[:, n], found.upper[:, n]]  # fmt: skip
        steps.append((f"incidence of {of}", [column.tolist() for column in columns]))
    return steps


def _numbers(values: Iterable[float]) -> list[str]:
    """All digits; empty where one is not known, which is not equal to itself."""
    return [repr(value) if value == value else "" for value in values]


def _write_times(path: Path, result: CohortAnalysis) -> None:
    """Each patient's time and status: 0 censored, 1 the event, 2 and more competing events."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(("endpoint", "patient", "group", "months", "status"))
        for one in result.endpoints:
            if one.times is None:
                continue
            groups = [result.groups.get(name) or "" for name in one.times.pseudonyms]
            months, status = _all_digits(one.times.months), map(str, one.times.status.tolist())
            stream.write(csv_lines([[one.endpoint.name] * len(groups), one.times.pseudonyms, groups, months, status]))


def _all_digits(values: NDArray[np.float64]) -> list[str]:
    """As `repr` of each: days make few different times of very many patients."""
    different, which = np.unique(values.view(np.int64), return_inverse=True)
    words = list(map(repr, different.view(np.float64).tolist()))
    return list(map(words.__getitem__, which.tolist()))


def csv_lines(columns: Sequence[Iterable[str]]) -> str:
    """Rows of a table of texts, as `csv.writer` writes them; at once where no cell stands in quotation marks."""
    rows = list(zip(*columns, strict=True))
    text = "\r\n".join(map(",".join, rows))
    cells = len(columns) * len(rows)
    lines = 1 + max(text.count("\r"), text.count("\n"))
    if len(columns) > 1 and '"' not in text and text.count(",") + len(rows) == cells and lines == len(rows):
        return f"{text}\r\n"
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows(rows)
    return stream.getvalue()


def _write_figures(folder: Path, drawings: Sequence[Drawing]) -> None:
    if not drawings:
        return
    folder.mkdir()
    for drawing in drawings:
        for name, content in drawing.files().items():
            (folder / name).write_bytes(content)

"""Tables as a paper prints them: for the page, as CSV, as plain HTML that pastes into a text, and as a Word file.

A Word file is a zip archive of XML (ECMA-376); what is written here is the least that a reader needs.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

_NAMESPACE = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_CONTENT_TYPES = (
    _DECLARATION + '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Override PartName="/word/document.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/>'
    '<Override PartName="/word/styles.xml" '
    'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.styles+xml"/></Types>'
)
_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
_RELATIONS = (
    _DECLARATION + '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Type="{}" Target="{}"/></Relationships>'
)
# 1st of January 1980, the first day that a zip archive knows: the same tables make the same file.
_DAY = (1980, 1, 1, 0, 0, 0)
_KEPT_SPACE = "\N{NO-BREAK SPACE}"
_HTML_STYLE = (
    "body{font:11pt/1.4 'Times New Roman',serif;color:#000;max-width:60em;margin:2em auto}"
    "table{border-collapse:collapse;margin:.4em 0}th,td{padding:.15em .8em .15em 0;text-align:left;vertical-align:top}"
    "thead th{border-top:1.5pt solid #000;border-bottom:.75pt solid #000}tbody tr:last-child td{border-bottom:1.5pt "
    "solid #000}h2{font-size:12pt;margin:2em 0 .3em}p{font-size:9pt;margin:.2em 0}"
)


@dataclass(frozen=True)
class PlainTable:
    """One table, ready to show.

    Parameters
    ----------
    name : str
        Of its file, without an ending.
    title, note : str
        Above it, and below it.
    header : tuple of str
        One a column.
    rows : tuple of tuple of str
        Cells.
    """

    name: str
    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.header)]
        if wrong:
            raise ValueError(f"a row of '{self.name}' has {len(wrong[0])} cells; expected {len(self.header)}")

    def for_page(self) -> dict[str, Any]:
        """As the page's template takes tables."""
        return {
            "title": self.title,
            "note": self.note,
            "header": self.header,
            "rows": [tuple(map(_for_browser, row)) for row in self.rows],
        }

    def csv_text(self) -> str:
        """Header and rows, quoted where needed."""
        stream = io.StringIO(newline="")
        csv.writer(stream).writerows((self.header, *self.rows))
        return stream.getvalue()


def html_tables(title: str, tables: Sequence[PlainTable]) -> str:
    """Return a page of tables and nothing else, whose tables keep their form when they are pasted."""
    parts = [
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_HTML_STYLE}</style></head><body>\n<h1>{escape(title)}</h1>"
    ]
    for table in tables:
        head = "".join(f"<th>{escape(cell)}</th>" for cell in table.header)
        rows = "\n".join(
            "<tr>" + "".join(f"<td>{escape(_for_browser(cell))}</td>" for cell in row) + "</tr>" for row in table.rows
        )
        note = f"<p>{escape(table.note)}</p>" if table.note else ""
        parts.append(
            f"<h2>{escape(table.title)}</h2>\n<table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table>"
            f"\n{note}"
        )
    return "\n".join([*parts, "</body></html>\n"])


def word_tables(title: str, tables: Sequence[PlainTable]) -> bytes:
    """Return a Word file (.docx) of tables, each with its title above and its note below."""
    body = [_paragraph(title, "Title")]
    for table in tables:
        body += [_paragraph(table.title, "Heading2"), _word_table(table), _paragraph(table.note, "Note")]
    page = (
        '<w:sectPr><w:pgSz w:w="16838" w:h="11906" w:orient="landscape"/>'
        '<w:pgMar w:top="1134" w:right="1134" w:bottom="1134" w:left="1134" w:header="0" w:footer="0" w:gutter="0"/>'
        "</w:sectPr>"
    )
    document = f"{_DECLARATION}<w:document {_NAMESPACE}><w:body>{''.join(body)}{page}</w:body></w:document>"
    parts = {
        "[Content_Types].xml": _CONTENT_TYPES,
        "_rels/.rels": _RELATIONS.format(f"{_RELATION}officeDocument", "word/document.xml"),
        "word/_rels/document.xml.rels": _RELATIONS.format(f"{_RELATION}styles", "styles.xml"),
        "word/document.xml": document,
        "word/styles.xml": _styles(),
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(zipfile.ZipInfo(name, _DAY), text.encode("utf-8"), zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def _for_browser(text: str) -> str:
    """Text whose first spaces are kept, and whose numbers stay with what belongs to them."""
    bare = text.lstrip(" ")
    return _KEPT_SPACE * (len(text) - len(bare)) + bare.replace(" %", f"{_KEPT_SPACE}%").replace(
        "; r ", f"; r{_KEPT_SPACE}"
    )


def _styles() -> str:
    sizes = (("Normal", 20, False), ("Title", 32, True), ("Heading2", 24, True), ("Note", 16, False))
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="{name}"{" w:default=" + chr(34) + "1" + chr(34) if n == 0 else ""}>'
        f'<w:name w:val="{name}"/><w:pPr><w:keepNext w:val="{"1" if bold else "0"}"/>'
        f'<w:spacing w:before="{240 if bold else 0}" w:after="60"/></w:pPr>'
        f'<w:rPr>{"<w:b/>" if bold else ""}<w:sz w:val="{size}"/></w:rPr></w:style>'
        for n, (name, size, bold) in enumerate(sizes)
    )
    return f"{_DECLARATION}<w:styles {_NAMESPACE}>{styles}</w:styles>"


def _paragraph(text: str, style: str = "Normal") -> str:
    run = f'<w:r><w:t xml:space="preserve">{_clean(text)}</w:t></w:r>' if text else ""
    return f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr>{run}</w:p>'


def _word_table(table: PlainTable) -> str:
    """Lines above and below the header and at the end, as journals print."""
    line = '<w:{} w:val="single" w:sz="{}" w:space="0" w:color="000000"/>'
    grid = f'<w:gridCol w:w="{14570 // len(table.header)}"/>' * len(table.header)
    head = "".join(_cell(cell, bold=True) for cell in table.header)
    rows = "".join(f"<w:tr>{''.join(_cell(cell) for cell in row)}</w:tr>" for row in table.rows)
    return (
        f'<w:tbl><w:tblPr><w:tblW w:w="5000" w:type="pct"/><w:tblBorders>{line.format("top", 12)}'
        f"{line.format('bottom', 12)}</w:tblBorders></w:tblPr><w:tblGrid>{grid}</w:tblGrid>"
        f"<w:tr><w:trPr><w:tblHeader/></w:trPr>{head}</w:tr>{rows}</w:tbl>"
    )


def _cell(text: str, bold: bool = False) -> str:
    border = '<w:tcBorders><w:bottom w:val="single" w:sz="6" w:space="0" w:color="000000"/></w:tcBorders>'
    weight = "<w:rPr><w:b/></w:rPr>" if bold else ""
    run = f'<w:r>{weight}<w:t xml:space="preserve">{_clean(text)}</w:t></w:r>' if text else ""
    return f"<w:tc><w:tcPr>{border if bold else ''}</w:tcPr><w:p>{run}</w:p></w:tc>"


def _clean(text: str) -> str:
    """Text that XML may hold: control characters have no place there."""
    return escape("".join(c for c in text if c in "\t\n" or c >= " "))

"""XLSX: each sheet a heading, each row one line under the names of its header row, values as last
computed."""

from __future__ import annotations

import datetime as dt
import io
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any

import openpyxl
from lxml import etree

from ingest.parse.canonical import Builder
from ingest.parse.ooxml import Package
from ingest.parse.tables import write_sheet
from kernel.errors import ParseFailure
from kernel.records import ParsedDocument

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    etree.LxmlError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
_MAX_ROWS = 1_048_576  # Excel's own; openpyxl gives every row up to whatever number the file claims


def parse(data: bytes, name: str) -> ParsedDocument:  # noqa: ARG001 - the plan every format follows
    """The document in `data`. Raises ParseFailure for a damaged, encrypted or hostile file."""
    package = Package(data)
    title = package.title()
    package.root(package.main())
    builder = Builder()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openpyxl warns of every extension that it does not know
            _write(builder, data)
    except _DAMAGE as error:
        raise ParseFailure("is damaged: it cannot be read as an Excel workbook") from error
    return builder.finish(MEDIA_TYPE, title)


def _write(builder: Builder, data: bytes) -> None:
    workbook = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
    try:
        for sheet in workbook.worksheets:
            sheet.reset_dimensions()  # the stated ones may be a lie
            if builder.position:
                builder.add("\n")
            builder.heading(builder.add(sheet.title), 1, sheet.title)
            builder.add("\n\n")
            write_sheet(builder, _rows(sheet))
    finally:
        workbook.close()


def _rows(sheet: Any) -> Iterator[list[str]]:
    for row in islice(sheet.iter_rows(), _MAX_ROWS):
        yield [_word(cell.value, cell) for cell in row]


def _word(value: Any, cell: Any) -> str:
    """A value as a reader of the sheet would write it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float | int):
        if "%" in str(cell.number_format):
            return f"{value * 100:.15g}%"
        return f"{value:.15g}" if isinstance(value, float) else str(value)
    if isinstance(value, dt.datetime):
        return value.date().isoformat() if value.time() == dt.time() else value.isoformat(" ", "seconds")
    return str(value)

"""CSV and TSV: each row one line under the names of the header row, each cell a fact about the row's first
cell."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator

from ingest.parse.canonical import Builder
from ingest.parse.decode import decode_raw
from ingest.parse.tables import write_sheet
from kernel.errors import ParseFailure
from kernel.records import ParsedDocument

MEDIA_TYPE = "text/csv"
_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50
_FIELD_CHARS = 1_000_000


def parse(data: bytes, name: str) -> ParsedDocument:
    """The document in `data`. Raises ParseFailure if it is not text or a field never ends."""
    text = decode_raw(data)
    delimiter = "\t" if name.lower().endswith((".tsv", ".tab")) else sniff(text)
    builder = Builder()
    write_sheet(builder, _rows(text, delimiter))
    return builder.finish(MEDIA_TYPE)


def sniff(text: str) -> str:
    """The delimiter that cuts the most of the first lines into the same number of fields."""
    lines = [line for line in text[:200_000].splitlines()[:_SAMPLE_LINES] if line.strip()]
    best = (0, 0, ",")
    for delimiter in _DELIMITERS:
        counts = Counter(count for line in lines if (count := _outside_quotes(line).count(delimiter)))
        if counts:
            fields, agreeing = min(counts.items(), key=lambda item: (-item[1], -item[0]))
            if (agreeing, fields) > best[:2]:
                best = (agreeing, fields, delimiter)
    return best[2]


def _outside_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


def _rows(text: str, delimiter: str) -> Iterator[list[str]]:
    before = csv.field_size_limit(_FIELD_CHARS)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    except csv.Error as error:
        raise ParseFailure(
            f"is damaged: a field is longer than {_FIELD_CHARS:,} characters (an open quote?)"
        ) from error
    finally:
        csv.field_size_limit(before)

"""Parsing: bytes of a file to documents of canonical text, with the structure found in it.

The same bytes give the same documents in any process. Parse untrusted files through `ingest.sandbox`: these
functions bound what they can, but a library in the same process may hang, crash or eat the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from ingest.parse import (
    csv_table,
    docx,
    eml,
    html_page,
    json_tree,
    jsonl,
    markdown,
    package_metadata,
    pdf,
    pptx,
    rst,
    text,
    xlsx,
)
from ingest.parse.canonical import require_text
from kernel.errors import ParseFailure
from kernel.records import FailedDocument, ParsedDocument

__all__ = ["SUPPORTED", "media_type", "parse"]


@dataclass(frozen=True, slots=True)
class _Format:
    """A format: its media type and what reads it."""

    media_type: str
    read: Callable[[bytes, str], ParsedDocument]


_MARKDOWN = _Format(markdown.MEDIA_TYPE, markdown.parse)
_TEXT = _Format(text.MEDIA_TYPE, text.parse)
_HTML = _Format(html_page.MEDIA_TYPE, html_page.parse)
_CSV = _Format(csv_table.MEDIA_TYPE, csv_table.parse)
_XLSX = _Format(xlsx.MEDIA_TYPE, xlsx.parse)
_PDF = _Format(pdf.MEDIA_TYPE, pdf.parse)
_METADATA = _Format(package_metadata.MEDIA_TYPE, package_metadata.parse)
_LINES = frozenset({".jsonl", ".ndjson"})
_BY_SUFFIX = {
    ".md": _MARKDOWN,
    ".markdown": _MARKDOWN,
    ".txt": _TEXT,
    ".text": _TEXT,
    ".log": _TEXT,
    ".rst": _Format(rst.MEDIA_TYPE, rst.parse),
    ".html": _HTML,
    ".htm": _HTML,
    ".xhtml": _HTML,
    ".pdf": _PDF,
    ".docx": _Format(docx.MEDIA_TYPE, docx.parse),
    ".pptx": _Format(pptx.MEDIA_TYPE, pptx.parse),
    ".xlsx": _XLSX,
    ".xlsm": _XLSX,
    ".csv": _CSV,
    ".tsv": _CSV,
    ".json": _Format(json_tree.MEDIA_TYPE, json_tree.parse),
    ".eml": _Format(eml.MEDIA_TYPE, eml.parse),
}
_CONVERT = {
    **dict.fromkeys((".doc", ".odt", ".rtf", ".docm", ".dotx", ".pages"), ".docx"),
    **dict.fromkeys((".xls", ".ods", ".xlsb", ".numbers"), ".xlsx"),
    **dict.fromkeys((".ppt", ".odp", ".pps", ".ppsx", ".pptm", ".key"), ".pptx"),
    **dict.fromkeys((".epub", ".mht", ".mhtml", ".chm"), ".html"),
    ".msg": ".eml",
}

SUPPORTED: frozenset[str] = frozenset(_BY_SUFFIX) | _LINES
"""The suffixes, in lower case, that `parse` reads; files named METADATA or PKG-INFO and text without suffix
come besides."""


def media_type(name: str, data: bytes) -> str:
    """The media type of a file by its name and, where it has no suffix, its first bytes."""
    if _suffix(name) in _LINES:
        return jsonl.MEDIA_TYPE
    found = _format(name, data)
    return found.media_type if found is not None else "application/octet-stream"


def parse(data: bytes, name: str) -> Iterator[ParsedDocument | FailedDocument]:
    """The documents in a file: one for each record of JSON lines, exactly one for any other. What cannot
    become text comes as a FailedDocument whose reason reads on from the file's name ("is encrypted: …").
    Never raises ParseFailure.
    """
    try:
        if _suffix(name) in _LINES:
            yield from jsonl.parse(data, name)
        else:
            yield _parse_one(data, name)
    except ParseFailure as failure:
        yield FailedDocument(str(failure), media_type(name, data))
    except RecursionError:
        yield FailedDocument("is nested too deeply to be read", media_type(name, data))


def _parse_one(data: bytes, name: str) -> ParsedDocument:
    found = _format(name, data)
    if found is None:
        suffix = _suffix(name)
        advice = f"save it as {_CONVERT[suffix]}" if suffix in _CONVERT else "convert it to a supported one"
        raise ParseFailure(f"has a type that is not supported ({suffix}): {advice}")
    if not data:
        raise ParseFailure("is empty")
    return require_text(found.read(data, name))


def _format(name: str, data: bytes) -> _Format | None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.name in package_metadata.NAMES:
        return _METADATA
    if suffix := _suffix(name):
        return _BY_SUFFIX.get(suffix)
    head = data[:1024].lstrip().lower()
    if head.startswith(b"%pdf-"):
        return _PDF
    return _HTML if head.startswith((b"<!doctype html", b"<html")) else _TEXT


def _suffix(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).suffix.lower()

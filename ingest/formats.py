"""Which files can be parsed, by their names: kept apart from the parsers, so that a server need not load those."""

from __future__ import annotations

SUFFIXES = frozenset(
    [
        ".md",
        ".markdown",
        ".txt",
        ".text",
        ".log",
        ".rst",
        ".html",
        ".htm",
        ".xhtml",
        ".pdf",
        ".docx",
        ".pptx",
        ".xlsx",
        ".xlsm",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".ndjson",
        ".eml",
    ]
)
NAMES = frozenset({"METADATA", "PKG-INFO"})
RECORDS = frozenset({".jsonl", ".ndjson"})
"""Formats of which one file holds many documents, one a line."""

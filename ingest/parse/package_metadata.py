"""Python core metadata (files named METADATA or PKG-INFO): the headers that people ask about, then the
description.

Format: https://packaging.python.org/en/latest/specifications/core-metadata/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ingest.parse import markdown, rst
from ingest.parse.canonical import Builder, canonical, one_line
from ingest.parse.decode import decode
from kernel.errors import ParseFailure
from kernel.records import ParsedDocument

MEDIA_TYPE = "text/x-python-metadata"
NAMES = frozenset({"METADATA", "PKG-INFO"})
_SHOWN = frozenset(
    (
        "name",
        "version",
        "summary",
        "license",
        "license-expression",
        "classifier",
        "author",
        "author-email",
        "requires-python",
        "requires-dist",
        "home-page",
        "project-url",
        "keywords",
    )
)
_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,60}):[ \t]{0,20}(.*)")
_REQUIREMENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,199})")
_EXTRA = re.compile(r"\bextra\s{0,9}(?:==|!=|in\b)")
_CONTINUATION = re.compile(r"^(?: {7}\||\t| {1,8})", re.M)
_LICENCE_WORDS = re.compile(r"licen[cs]e|\bMIT\b|\bBSD\b|Apache|GPL|Mozilla|Unlicense", re.I)
_NAMING_LINES = 5


@dataclass(frozen=True, slots=True)
class _Field:
    """A header: its name in lower case, its value, and its lines as they stand in the file."""

    name: str
    value: str
    source: str


def parse(data: bytes, name: str) -> ParsedDocument:  # noqa: ARG001 - the plan every format follows
    """The document in `data`. Raises ParseFailure if it is not text or names no package."""
    fields, body = _read(canonical(decode(data)))
    values = {field.name: field.value for field in reversed(fields)}
    package = one_line(values.get("name", ""))
    if not package:
        raise ParseFailure("is damaged: its metadata has no Name field")
    builder = Builder()
    for field in fields:
        _write(builder, package, field)
    body = body or _CONTINUATION.sub("", values.get("description", "")).strip("\n")
    if body.strip():
        builder.add("\n")
        _describe(builder, body, values.get("description-content-type", "text/x-rst"))
    return builder.finish(MEDIA_TYPE, package)


def _read(text: str) -> tuple[list[_Field], str]:
    head, _, body = text.lstrip("\n").partition("\n\n")
    fields: list[list[str]] = []
    for line in head.split("\n"):
        if line[:1] in {" ", "\t"} and fields:
            fields[-1].append(line)
        elif _HEADER.fullmatch(line):
            fields.append([line])
    return [_field(lines) for lines in fields], body.strip("\n")


def _field(lines: list[str]) -> _Field:
    found = _HEADER.fullmatch(lines[0])
    name, first = (found[1], found[2]) if found else ("", "")
    return _Field(name.lower(), "\n".join([first, *lines[1:]]), "\n".join(lines))


def _write(builder: Builder, package: str, field: _Field) -> None:
    if field.name not in _SHOWN or (field.name == "classifier" and not field.value.startswith("License ::")):
        return
    source, licence = field.source, field.value
    if field.name == "license":
        source, licence = _licence_name(field)
    start = builder.add(source)
    end = builder.position
    builder.add("\n")
    for predicate, value in _facts(field, licence):
        builder.fact(package, predicate, value, start, end)


def _licence_name(field: _Field) -> tuple[str, str]:
    """The lines of a License field up to the one that names the licence, and that name: some hold the full
    text."""
    lines = field.source.split("\n")
    values = [one_line(x) for x in field.value.split("\n")]
    named = next((i for i, x in enumerate(values[:_NAMING_LINES]) if _LICENCE_WORDS.search(x)), None)
    if named is None:
        named = next((i for i, x in enumerate(values) if x), 0)
    return "\n".join(lines[: named + 1]), values[named]


def _facts(field: _Field, licence: str) -> Iterator[tuple[str, str]]:
    if field.name in {"version", "summary"}:
        yield field.name, field.value
    elif field.name in {"license", "license-expression"}:
        yield "has licence", licence
    elif field.name == "classifier":
        yield "has licence", field.value.rpartition("::")[2]
    elif field.name == "requires-dist" and (found := _REQUIREMENT.match(field.value)):
        optional = _EXTRA.search(field.value.partition(";")[2])
        yield "optionally requires" if optional else "requires", found[0]


def _describe(builder: Builder, body: str, content_type: str) -> None:
    start = builder.add(body + "\n")
    if "markdown" in content_type:
        markdown.scan(builder, body, base=start)
    elif "plain" not in content_type:
        rst.scan(builder, body, start)

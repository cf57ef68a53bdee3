"""Markdown: the canonical text is the source itself, so that a citation quotes the file's own words.

Blocks come from markdown-it-py (CommonMark plus pipe tables), front matter from PyYAML's composer, which
builds no objects and so cannot be tricked into any.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from pathlib import PurePath
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ingest.parse.canonical import Builder, canonical, one_line
from ingest.parse.decode import decode
from ingest.parse.inline import LinkScanner
from kernel.errors import ParseFailure
from kernel.records import Heading, ParsedDocument

MEDIA_TYPE = "text/markdown"
_MARKDOWN = MarkdownIt("commonmark").enable("table").disable("inline")  # blocks only; `plain` runs the inlines
_FRONT_MATTER_CHARS = 65_536
_HEADING_CHARS = 1_000
_GROUPS = re.compile(r"^\W*groups\W*:", re.IGNORECASE | re.MULTILINE)
_PLAIN = {"text", "text_special", "code_inline"}


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """YAML front matter: scalar keys with the span of their line, lists of scalars, where the body begins, and all keys
    whatever their value is."""

    scalars: tuple[tuple[str, str, int, int], ...]
    lists: tuple[tuple[str, tuple[str, ...]], ...]
    end: int
    keys: tuple[str, ...] = ()

    def value(self, key: str) -> str | None:
        return next((value for name, value, _, _ in self.scalars if name == key), None)


def parse(data: bytes, name: str) -> ParsedDocument:
    """The document in `data`. Raises ParseFailure if it is not text."""
    text = canonical(decode(data))
    builder = Builder()
    builder.add(text)
    front = front_matter(text)
    headings = scan(builder, text, front.end)
    title = front.value("title") or next((x.title for x in headings if x.level == 1), None)
    title = title or (headings[0].title if headings else None)
    for key, value, start, end in front.scalars:
        builder.metadata[key] = value
        if key != "title":
            builder.fact(title or PurePath(name).stem, key, value, start, end)
    builder.metadata.update((key, list(values)) for key, values in front.lists)
    return _with_groups(builder.finish(MEDIA_TYPE, title), front)


def _with_groups(document: ParsedDocument, front: FrontMatter) -> ParsedDocument:
    """The document with the groups that its front matter names.

    Raises ParseFailure where who may see it cannot be told: a misspelt list must not make a document public.
    """
    named = [key for key in front.keys if key.casefold() == "groups"]
    if not named:
        return document
    groups = next((values for key, values in front.lists if key == "groups"), ())
    groups = groups or tuple(part.strip() for part in (front.value("groups") or "").split(",") if part.strip())
    if named != ["groups"] or not groups:
        raise ParseFailure("has front matter that does not say which groups may see it: write groups: [name, …]")
    return replace(document, groups=groups)


def front_matter(text: str) -> FrontMatter:
    """The front matter at the top of canonical `text`; an empty one where there is none or it is not a
    mapping."""
    none = FrontMatter((), (), 0)
    if not text.startswith("---\n"):
        return none
    close = min(
        (at for mark in ("\n---\n", "\n...\n") if (at := f"{text[:_FRONT_MATTER_CHARS]}\n".find(mark, 3)) >= 0),
        default=-1,
    )
    if close < 0:
        _refuse_groups(text[:_FRONT_MATTER_CHARS].partition("\n\n")[0])
        return none
    try:
        node = yaml.compose(text[4 : close + 1], Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, ValueError):
        _refuse_groups(text[4 : close + 1])
        return none
    end = min(close + 5, len(text))
    return _read_mapping(node, text, end) if isinstance(node, yaml.MappingNode) else FrontMatter((), (), end)


def _refuse_groups(broken: str) -> None:
    """Raise ParseFailure where front matter that cannot be read seems to say who may see the document."""
    if _GROUPS.search(broken):
        raise ParseFailure("has front matter that names groups but is not valid YAML: mend it")


def _read_mapping(node: yaml.MappingNode, text: str, end: int) -> FrontMatter:
    starts = line_starts(text[:end])
    scalars: list[tuple[str, str, int, int]] = []
    lists: list[tuple[str, tuple[str, ...]]] = []
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        name = one_line(key.value, 100)
        if isinstance(value, yaml.ScalarNode) and (words := one_line(value.value, 2000)):
            first, last = starts[key.start_mark.line + 1], 4 + _end_of(value, text)
            scalars.append((name, words, first, max(first + 1, min(last, end))))
        elif isinstance(value, yaml.SequenceNode):
            items = (one_line(x.value) for x in value.value if isinstance(x, yaml.ScalarNode))
            lists.append((name, tuple(x for x in items if x)))
    keys = tuple(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
    return FrontMatter(tuple(scalars), tuple(lists), end, keys)


def _end_of(node: yaml.ScalarNode, text: str) -> int:
    """Where a scalar ends, counted after the opening `---` line; block scalars run into the next line."""
    end: int = node.end_mark.index
    return end - (len(text[4 : 4 + end]) - len(text[4 : 4 + end].rstrip()))


def line_starts(text: str) -> list[int]:
    """The offset of every line, and last the length of the text plus one."""
    return list(accumulate((len(line) + 1 for line in text.split("\n")), initial=0))


def scan(builder: Builder, text: str, begin: int = 0, base: int = 0) -> list[Heading]:
    """Note the headings, links and table facts of canonical Markdown `text` from `begin` on (a line's start)
    in `builder`, shifted by `base`; return the headings, unshifted."""
    skipped = text.count("\n", 0, begin)
    environment: dict[str, Any] = {}
    tokens = _MARKDOWN.parse("\n" * skipped + text[begin:], environment)
    starts = line_starts(text)
    headings = list(_headings(tokens, text, starts))
    for heading in headings:
        builder.heading(base + heading.start, heading.level, heading.title)
    scanner = LinkScanner(text, environment.get("references", {}))
    for first, last in _inline_lines(tokens):
        for link in scanner.links(starts[first], min(starts[last], len(text))):
            builder.link(base + link.start, base + link.end, link.target)
    _table_facts(builder, tokens, starts, base)
    return headings


def _headings(tokens: list[Token], text: str, starts: list[int]) -> Iterator[Heading]:
    for token, inner in pairwise(tokens):
        if token.type != "heading_open" or token.map is None:
            continue
        title = plain(inner.content)
        if not title:
            continue
        first, last = starts[token.map[0]], min(starts[token.map[1]], len(text))
        at = text.find(inner.content.split("\n", 1)[0], first, last)
        if at < 0:
            line = text[first:last]
            at = first + len(line) - len(line.lstrip())
        yield Heading(at, int(token.tag[1:]), title)


def plain(content: str) -> str:
    """Inline Markdown without its markup, on one line."""
    tokens: list[Token] = []
    _MARKDOWN.inline.parse(content[:_HEADING_CHARS], _MARKDOWN, {}, tokens)
    return one_line("".join(_words(tokens)))


def _words(tokens: list[Token]) -> Iterator[str]:
    for token in tokens:
        if token.children:
            yield from _words(token.children)
        elif token.type in _PLAIN:
            yield token.content
        elif token.type in {"softbreak", "hardbreak"}:
            yield " "


def _inline_lines(tokens: list[Token]) -> Iterator[tuple[int, int]]:
    """The line ranges that hold inline text, each once."""
    seen = -1
    for token in tokens:
        if token.type == "tr_open" or (token.type == "inline" and token.level >= 0):
            span = token.map
            if span and span[0] > seen:
                seen = span[1] - 1
                yield span[0], span[1]


def _table_facts(builder: Builder, tokens: list[Token], starts: list[int], base: int) -> None:
    header: list[str] = []
    cells: list[str] = []
    span: list[int] = [0, 0]
    for token, inner in pairwise(tokens):
        if token.type == "table_open":
            header = []
        elif token.type == "tr_open":
            cells, span = [], token.map or [0, 0]
        elif token.type in {"th_open", "td_open"}:
            cells.append(plain(inner.content) if inner.type == "inline" else "")
        elif token.type == "tr_close" and not header:
            header = cells
        elif token.type == "tr_close":
            start, end = base + starts[span[0]], base + starts[span[1]] - 1
            for name, cell in zip(header[1:], cells[1:], strict=False):
                builder.fact(cells[0], name, cell, start, end)

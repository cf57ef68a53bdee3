"""Properties of all parsers: canonical text, true offsets, the same result every time."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest.parse import parse
from ingest.parse.canonical import Builder, canonical
from kernel.records import FailedDocument, ParsedDocument

QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Letters that compose across seams: combining marks, Hangul jamo, Indic vowel signs.
SEAMS = "\u0301\u0323\u0338\u1100\u1161\u11a8\u0dd9\u0dcf\u0dca\u09c7\u09be"
CHARACTERS = st.one_of(
    st.sampled_from(list("abcE<>&|`*_[]()#-=: \n\t\r\"'{}\\/" + SEAMS)),
    st.sampled_from(["\x00", "\ufeff", "\u2028", "\x85", "\x0c", "\ud800", "\U0001f600", "é", "Å"]),
    st.characters(),
)
TEXT = st.text(CHARACTERS, max_size=60)
WORD = st.text(st.sampled_from(list("abcxyzé" + SEAMS)), min_size=1, max_size=8)


def as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def clean(text: str) -> bool:
    return not [c for c in text if (ord(c) < 32 and c not in "\t\n") or 0xD800 <= ord(c) < 0xE000 or c == "\ufeff"]


def one(data: bytes, name: str) -> ParsedDocument | FailedDocument:
    (document,) = parse(data, name)
    return document


def check(document: ParsedDocument | FailedDocument) -> None:
    """What holds of every document."""
    if isinstance(document, FailedDocument):
        assert document.reason
        return
    text = document.text
    assert unicodedata.is_normalized("NFC", text)
    assert clean(text)
    assert canonical(text) == text
    for span in (*document.links, *document.facts):
        assert 0 <= span.start < span.end <= len(text)
    for heading in document.headings:
        assert 0 <= heading.start < len(text)
        assert heading.title == canonical(heading.title)
        assert "\n" not in heading.title
    assert list(document.pages) == sorted(document.pages)
    for fact in document.facts:
        assert max(len(fact.subject), len(fact.predicate), len(fact.object)) <= 200


@QUICK
@given(TEXT)
@example("a\ud800\r\x00\x0b\ufeff")
def test_canonical_is_stable(text: str) -> None:
    once = canonical(text)
    assert canonical(once) == once
    assert unicodedata.normalize("NFC", once) == once
    assert clean(once)


@QUICK
@given(st.lists(st.text(st.sampled_from(list("ab \n" + SEAMS)), max_size=4), max_size=12))
def test_no_seam_shifts_an_offset(pieces: list[str]) -> None:
    builder = Builder()
    spans = []
    for number, piece in enumerate(pieces):
        start = builder.add(piece)
        if builder.position > start:
            builder.heading(start, 1, f"h{number}")
            builder.fact("s", "p", f"f{number}", start, builder.position)
            spans.append((number, start, builder.position))
    document = builder.finish("text/plain")
    raw = "".join(pieces)
    assert document.text == canonical(raw)
    facts = {fact.object: fact for fact in document.facts}
    headings = {heading.title: heading for heading in document.headings}
    for number, start, end in spans:
        fact, heading = facts[f"f{number}"], headings[f"h{number}"]
        assert heading.start == fact.start
        # The text falls apart at the span's ends, where raw text does so too, and the span holds all of its piece.
        before, inside, after = (
            document.text[: fact.start],
            document.text[fact.start : fact.end],
            document.text[fact.end :],
        )
        assert decomposed(raw).startswith(decomposed(before))
        assert decomposed(raw).endswith(decomposed(after))
        assert len(decomposed(before)) <= len(decomposed(raw[:start]))
        assert len(decomposed(after)) <= len(decomposed(raw[end:]))
        if canonical(raw[:start]) + canonical(raw[start:end]) + canonical(raw[end:]) == document.text:
            assert canonical(raw[start:end]) in inside
            slack = len(decomposed(inside)) - len(decomposed(raw[start:end]))
            assert slack == 0 or any(unicodedata.category(c)[0] in "ML" and c in SEAMS for c in decomposed(inside))


@QUICK
@given(TEXT, st.sampled_from(["md", "html", "csv", "json", "jsonl", "rst", "txt", "eml", "tsv"]))
def test_any_text_in_any_format(text: str, suffix: str) -> None:
    data = as_bytes(text)
    first = list(parse(data, f"f.{suffix}"))
    assert first == list(parse(data, f"f.{suffix}"))
    for document in first:
        check(document)


@QUICK
@given(
    st.binary(max_size=200),
    st.sampled_from(["md", "html", "csv", "json", "pdf", "docx", "xlsx", "pptx", "eml"]),
)
def test_any_bytes_in_any_format(data: bytes, suffix: str) -> None:
    for document in parse(data, f"f.{suffix}"):
        check(document)


@QUICK
@given(st.lists(st.tuples(WORD, WORD), min_size=1, max_size=5))
def test_markdown_headings_and_links_point_at_their_words(pairs: list[tuple[str, str]]) -> None:
    source = "\n\n".join(
        f"## {title}\n\nsee [{word}](https://example.org/{i}) now" for i, (title, word) in enumerate(pairs)
    )
    document = one(as_bytes(source), "a.md")
    check(document)
    assert isinstance(document, ParsedDocument)
    assert document.text == canonical(source)
    assert [x.title for x in document.headings] == [canonical(title) for title, _ in pairs]
    for heading in document.headings:
        assert document.text[heading.start :].startswith(heading.title)
    assert [document.text[x.start : x.end] for x in document.links] == [canonical(word) for _, word in pairs]


@QUICK
@given(st.lists(st.tuples(WORD, WORD), min_size=1, max_size=5))
def test_html_headings_and_links_point_at_their_words(pairs: list[tuple[str, str]]) -> None:
    body = "".join(f"<h2>{title}</h2><p>see <a href='/{i}'>x{word}</a>, now" for i, (title, word) in enumerate(pairs))
    document = one(as_bytes(body), "a.html")
    check(document)
    assert isinstance(document, ParsedDocument)
    assert len(document.headings) == len(pairs)
    for heading in document.headings:
        assert document.text[heading.start :].startswith(heading.title)
    assert [document.text[x.start : x.end] for x in document.links] == [canonical("x" + word) for _, word in pairs]


@QUICK
@given(st.lists(st.lists(WORD, min_size=3, max_size=3), min_size=1, max_size=5))
def test_csv_facts_lie_in_their_rows(rows: list[list[str]]) -> None:
    source = "name,size,colour\n" + "\n".join(",".join(row) for row in rows)
    document = one(as_bytes(source), "a.csv")
    check(document)
    assert isinstance(document, ParsedDocument)
    assert len(document.facts) == 2 * len(rows)
    for fact in document.facts:
        line = document.text[fact.start : fact.end]
        assert "\n" not in line
        assert line.startswith(f"name: {fact.subject} | ")
        assert f"{fact.predicate}: {fact.object}" in line


@QUICK
@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.one_of(TEXT, st.integers(), st.booleans(), st.none()),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
            max_leaves=8,
        ),
    )
)
def test_any_json_value(value: object) -> None:
    data = json.dumps(value).encode()
    document = one(data, "a.json")
    check(document)
    assert document == one(data, "a.json")


@QUICK
@given(st.lists(st.tuples(st.text(st.sampled_from(list("abc")), min_size=1, max_size=3), TEXT), max_size=6))
def test_every_record_of_json_lines_is_accounted_for(records: list[tuple[str, str]]) -> None:
    data = "\n".join(json.dumps({"id": key, "text": text, "metadata": {"k": text}}) for key, text in records).encode()
    documents = list(parse(data, "a.jsonl"))
    for document in documents:
        check(document)
    if records:
        assert [x.external_id for x in documents] == [key for key, _ in records]
        parsed = [x for x in documents if isinstance(x, ParsedDocument)]
        assert len({x.external_id for x in parsed}) == len(parsed)
        texts = {canonical(text) for _, text in records}
        assert all(x.text in texts and x.metadata["k"] == x.text for x in parsed)


_DIGEST = """
import hashlib, sys
from ingest.parse import parse
samples = [
  (b"---\\ntitle: T\\ngroups: [b, a]\\nz: 1\\n---\\n# H\\n\\n[a](b) `c`\\n\\n|a|b|\\n|-|-|\\n|1|2|\\n", "a.md"),
  (b"<title>t</title><meta name=b content=c><meta name=a content=d><p>x", "a.html"),
  (b"<table><tr><th>a<th>b<tr><td>1<td>2</table>", "b.html"),
  ("caf\\u00e9 na\\u00efve \\u0434\\u0430 ".encode("cp1251", "ignore") * 20, "a.txt"), (b"a;b\\n1;2\\n", "a.csv"),
  (b'{"b": [{"x": 1, "y": 2}, {"y": 3, "z": 4}], "a": true}', "a.json"),
  (b"Name: p\\nVersion: 1\\nLicense: MIT\\nRequires-Dist: q; extra == 'x'\\n\\n# R\\n", "METADATA")]
print(hashlib.sha256(repr([list(parse(d, n)) for d, n in samples]).encode()).hexdigest())
"""


@pytest.mark.parametrize("seed", ["1", "77"])
def test_no_process_parses_differently(seed: str) -> None:
    command = [sys.executable, "-c", _DIGEST]
    results = [
        subprocess.run(
            command,
            env={"PYTHONHASHSEED": x, "PYTHONPATH": ":".join(sys.path), "TZ": zone},
            capture_output=True,
            check=True,
        )
        for x, zone in ((seed, "UTC"), ("0", "Asia/Tokyo"))
    ]
    assert results[0].stdout == results[1].stdout
    assert len(results[0].stdout.strip()) == 64

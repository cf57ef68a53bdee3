"""Formats whose source is text: what is found in them, and where."""

from __future__ import annotations

import json

import pytest

from ingest.parse import SUPPORTED, media_type, parse
from kernel.records import Fact, FailedDocument, ParsedDocument


def document(source: str | bytes, name: str) -> ParsedDocument:
    (found,) = parse(source.encode() if isinstance(source, str) else source, name)
    assert isinstance(found, ParsedDocument), found
    return found


def reason(source: str | bytes, name: str) -> str:
    (found,) = parse(source.encode() if isinstance(source, str) else source, name)
    assert isinstance(found, FailedDocument), found
    return found.reason


def links(found: ParsedDocument) -> list[tuple[str, str]]:
    return [(found.text[link.start : link.end], link.target) for link in found.links]


def facts(found: ParsedDocument) -> list[tuple[str, str, str, str]]:
    return [(x.subject, x.predicate, x.object, found.text[x.start : x.end]) for x in found.facts]


def headings(found: ParsedDocument) -> list[tuple[int, str, str]]:
    return [(x.level, x.title, found.text[x.start :].split("\n")[0]) for x in found.headings]


# --- Which format ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.MD", b"", "text/markdown"),
        ("dir.md/b.txt", b"", "text/plain"),
        ("x/METADATA", b"", "text/x-python-metadata"),
        ("PKG-INFO", b"", "text/x-python-metadata"),
        ("a.ndjson", b"", "application/x-ndjson"),
        ("README", b"words", "text/plain"),
        ("download", b"%PDF-1.4", "application/pdf"),
        ("page", b"<!DOCTYPE html><p>x", "text/html"),
        ("a.doc", b"", "application/octet-stream"),
    ],
)
def test_media_types(name: str, data: bytes, expected: str) -> None:
    assert media_type(name, data) == expected


def test_supported_are_lower_case_suffixes() -> None:
    assert {
        ".md",
        ".txt",
        ".rst",
        ".html",
        ".pdf",
        ".docx",
        ".pptx",
        ".xlsx",
        ".csv",
        ".json",
        ".eml",
        ".jsonl",
    } <= SUPPORTED
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in SUPPORTED)


def test_reasons_tell_an_admin_what_to_do() -> None:
    assert reason(b"\xd0\xcf", "a.doc") == "has a type that is not supported (.doc): save it as .docx"
    assert reason(b"", "a.md") == "is empty"
    assert reason(b" \n\t\n", "a.md") == "holds no text"
    assert reason(b"<html><script>x</script>", "a.html") == "holds no text"
    assert reason(bytes(range(256)) * 9, "a.csv").startswith("is not text")


# --- Encodings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_encodings(encoding: str) -> None:
    text = "Größe und Maß: schöne Grüße über Öfen, für Bäcker — très naïve façade\n"
    assert document(text.encode(encoding), "a.txt").text == text


def test_a_lone_accent_is_western() -> None:
    assert document(b"caf\xe9", "a.txt").text == "café"


def test_cyrillic_is_detected() -> None:
    text = "Настоящая политика описывает порядок хранения персональных данных сотрудников. " * 5
    assert document(text.encode("cp1251"), "a.txt").text == text


def test_line_ends_and_controls() -> None:
    assert document(b"a\r\nb\rc\x0cd\x00e\x07\tf\xef\xbb\xbf", "a.txt").text == "a\nb\nc\nde\tf"


def test_a_page_names_its_encoding() -> None:
    source = '<meta charset="shift_jis"><title>表</title><p>日本語の文章'.encode("shift_jis")
    found = document(source, "a.html")
    assert (found.title, found.text) == ("表", "日本語の文章")
    assert document('<meta charset="koi8-r"><p>привет'.encode("koi8-r"), "a.html").text == "привет"


# --- Markdown -------------------------------------------------------------------------------------------------------


def test_markdown_is_its_own_source() -> None:
    source = "# A *b* `c` [d](e) \\# &amp;\n\ntext\n\nSetext\ntwo lines\n===\n\n> ## Quoted\n\n```\n# code\n```\n"
    found = document(source, "a.md")
    assert found.text == source
    assert headings(found) == [
        (1, "A b c d # &", "A *b* `c` [d](e) \\# &amp;"),
        (1, "Setext two lines", "Setext"),
        (2, "Quoted", "Quoted"),
    ]
    assert found.title == "A b c d # &"


def test_front_matter() -> None:
    source = (
        "---\ntitle: The 'Plan'\nowner: Ann\ndate: 2024-05-01\ngroups:\n  - hr\n  - it\nnested: {a: 1}\n---\n# Other\n"
    )
    found = document(source, "plan.md")
    assert found.text == source
    assert found.title == "The 'Plan'"
    assert found.groups == ("hr", "it")
    assert facts(found) == [
        ("The 'Plan'", "owner", "Ann", "owner: Ann"),
        ("The 'Plan'", "date", "2024-05-01", "date: 2024-05-01"),
    ]
    assert [x.title for x in found.headings] == ["Other"]


@pytest.mark.parametrize(
    "front", ["---\n- list\n---\n", "---\n: : bad [\n---\n", "---\na: !!python/object:os.x {}\n---\n"]
)
def test_odd_front_matter_is_no_obstacle(front: str) -> None:
    found = document(front + "# Head\n", "a.md")
    assert found.title == "Head"
    assert not found.facts or found.facts[0].predicate == "a"


def test_title_falls_back_to_the_first_heading() -> None:
    assert document("## Two\n\n### Three\n", "a.md").title == "Two"
    assert document("## Two\n\n# One\n", "a.md").title == "One"
    assert document("text\n", "a.md").title is None


def test_markdown_links() -> None:
    source = (
        "[in *line*](http://a 'title') ![image](no.png) [![badge](x.svg)](http://b) [ref][R] [R] <http://auto> "
        "`[code](no)` \\[esc](no) http://bare.org/x. [nested [b](http://in)](no) [p](a(b)c) [q](<a b>)\n\n"
        "[r]: http://ref\n\n```\n[fence](no)\n```\n\n| [t](http://t) | b |\n|---|---|\n| [u](http://u) | d |\n"
    )
    assert links(document(source, "a.md")) == [
        ("in *line*", "http://a"),
        ("![badge](x.svg)", "http://b"),
        ("ref", "http://ref"),
        ("R", "http://ref"),
        ("http://auto", "http://auto"),
        ("http://bare.org/x", "http://bare.org/x"),
        ("b", "http://in"),
        ("p", "a(b)c"),
        ("q", "a b"),
        ("t", "http://t"),
        ("u", "http://u"),
    ]


def test_markdown_tables_state_facts() -> None:
    found = document("| Name | Size |\n|---|---|\n| **A** | 1 \\| 2 |\n| B | |\n", "a.md")
    assert facts(found) == [("A", "Size", "1 | 2", "| **A** | 1 \\| 2 |")]


# --- reStructuredText -----------------------------------------------------------------------------------------------


def test_rst() -> None:
    source = (
        "=====\nGuide\n=====\n\nIntro to ``x``.\n\nFirst *part*\n------------\n\n"
        "`site <http://s>`_ and docs_ and `the docs`_\n\n"
        "Sub\n~~~\n\n-----\n\nSecond\n------\n\n.. include:: /etc/passwd\n.. _docs: http://d\n.. _the docs: http://t\n\n"
        "a | b\n  --------\n"
    )
    found = document(source, "a.rst")
    assert found.text == source
    assert found.title == "Guide"
    assert headings(found) == [
        (1, "Guide", "Guide"),
        (2, "First part", "First *part*"),
        (3, "Sub", "Sub"),
        (2, "Second", "Second"),
    ]
    assert sorted(links(found)) == [("docs", "http://d"), ("site", "http://s"), ("the docs", "http://t")]


# --- HTML -----------------------------------------------------------------------------------------------------------


def test_html_shows_what_a_reader_sees() -> None:
    source = """<html><head><title>Page &amp; title</title><meta name="author" content="Ann"><style>p{}</style></head>
    <body><nav>menu</nav><h1>Main <b>head</b></h1><p>One
      two <a href="/x">li<i>nk</i></a>.</p><script>no()</script><div hidden>no</div><p style="display: none">no</p>
    <template>no</template><ul><li>a<ul><li>b</ul><li>c</ul><ol><li>d<li>e</ol><pre>  x
    y</pre>last<br>line<!-- no --></body></html>"""
    found = document(source, "a.html")
    expected = "Main head\n\nOne two link.\n\n- a\n  - b\n- c\n\n1. d\n2. e\n\n  x\n    y\n\nlast\nline"
    assert found.text == expected
    assert found.title == "Page & title"
    assert found.metadata["author"] == "Ann"
    assert headings(found) == [(1, "Main head", "Main head")]
    assert links(found) == [("link", "/x")]


def test_html_tables() -> None:
    source = """<p>before<table><caption>Cap</caption><tr><th>Name<th colspan=2>Size<tr><td rowspan=2>A
      <td>1<td><a href=l>2</a><tr><td>3<td>4</table><p>after<table><tr><td>x<td>y</table>"""
    found = document(source, "a.html")
    assert found.text == (
        "before\n\nCap\n\nName: A | Size: 1 | Size: 2\nName: A | Size: 3 | Size: 4\n\nafter\n\nx | y\n"
    )
    assert links(found) == [("2", "l")]
    assert ("A", "Size", "4", "Name: A | Size: 3 | Size: 4") in facts(found)


def test_a_layout_table_is_no_table() -> None:
    found = document(
        "<table><tr><td><h1>Head</h1><p>text<td><table><tr><th>a<th>b<tr><td>1<td>2</table></table>", "a.html"
    )
    assert found.text == "Head\n\ntext\n\na: 1 | b: 2\n"
    assert headings(found) == [(1, "Head", "Head")]


def test_html_title_falls_back_to_the_first_heading() -> None:
    assert document("<h2>Two</h2>x", "a.html").title == "Two"


# --- CSV, JSON ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_delimiters(delimiter: str) -> None:
    rows = [["city", "people"], ["Köln, am Rhein; x|y", "1.000"], ["Bonn", ""]]
    source = "\r\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    found = document(source, "a.csv")
    assert found.text == "city: Köln, am Rhein; x|y | people: 1.000\ncity: Bonn\n"
    assert [(x.subject, x.predicate, x.object) for x in found.facts] == [("Köln, am Rhein; x|y", "people", "1.000")]


def test_csv_oddities() -> None:
    assert document("only\n1\n2\n", "a.csv").text == "only: 1\nonly: 2\n"
    assert document("\n\na,b\n1,2,3\n4\n", "a.csv").text == "a: 1 | b: 2 | 3\na: 4\n"
    assert document("Report of May,\na,b\n1,2\n", "a.csv").text == "Report of May\na: 1 | b: 2\n"
    assert document('a,b\n"x\ny",2\n', "a.csv").text == "a: x y | b: 2\n"
    assert document("a,b\n", "a.csv").text == "a | b\n"
    assert document("a\tb,c\n1\t2\n", "a.tsv").text == "a: 1 | b,c: 2\n"


def test_a_huge_table_is_capped_and_says_so() -> None:
    found = document("a,b\n" + "1,2\n" * 200_001, "a.csv")
    assert found.metadata == {"rows_capped_at": 200_000, "facts_capped_at": 20_000}
    assert found.text.count("\n") == 200_000


def test_json() -> None:
    rows = '[{"k": "x", "v": 1}, {"k": "y"}]'
    source = f'{{"title": "T", "a": {{"b": [1, 2.50, true, null]}}, "rows": {rows}, "deep": [{{"a": [1]}}]}}'
    found = document(source, "a.json")
    assert found.text == "title: T\na.b: 1\na.b: 2.50\na.b: true\nrows:\nk: x | v: 1\nk: y\ndeep.1.a: 1\n"
    assert found.title == "T"
    assert facts(found) == [("x", "v", "1", "k: x | v: 1")]


def test_json_faults_name_their_place() -> None:
    assert reason('{"a": 1,\n "b" 2}', "a.json") == "is not valid JSON: expecting ':' delimiter at line 2 column 6"
    assert "nested" in reason("[" * 100_000, "a.json")
    assert "nested" in reason("[" * 200 + "]" * 200, "a.json")
    assert document("[" + "9" * 5_000 + "]", "a.json").text == "9" * 5_000 + "\n"


# --- JSON lines -----------------------------------------------------------------------------------------------------


def test_json_lines() -> None:
    records = [
        {
            "id": "a",
            "text": "# not a heading",
            "title": "T",
            "url": "http://u",
            "metadata": {"k": 1},
            "groups": ["g"],
            "other": 1,
        },
        {"id": "b", "text": "two\u2028lines\r\nhere"},
    ]
    lines = [
        json.dumps(records[0]),
        "",
        "{broken",
        json.dumps(records[1], ensure_ascii=False),
        '{"id": "c"}',
        '{"id": "a", "text": "again"}',
        '{"id": 5, "text": "x"}',
        '["list"]',
        '{"id": "d", "text": "x", "metadata": {"n": NaN}}',
        '{"id": "e", "text": "x", "groups": "g"}',
    ]
    found = list(parse("\n".join(lines).encode(), "a.jsonl"))
    first, second = found[0], found[2]
    assert isinstance(first, ParsedDocument)
    assert (first.text, first.title, first.uri, first.external_id) == ("# not a heading", "T", "http://u", "a")
    assert (first.metadata, first.groups, first.headings) == ({"k": 1}, ("g",), ())
    assert isinstance(second, ParsedDocument)
    assert (second.text, second.groups, second.metadata) == ("two\nlines\nhere", None, {})
    failed = [(x.external_id, x.reason) for x in found if isinstance(x, FailedDocument)]
    assert failed == [
        ("line-3", "line 3: is not valid JSON: expecting property name enclosed in double quotes at column 2"),
        ("c", "line 5: 'text' must be a string that is not empty"),
        ("a", "line 6: the id 'a' is used by an earlier line"),
        ("line-7", "line 7: 'id' must be a string that is not empty"),
        ("line-8", "line 8: is not a JSON object"),
        ("line-9", "line 9: is not usable JSON: nested too deeply, or a number out of range"),
        ("e", "line 10: 'groups' must be a list of strings"),
    ]


def test_json_lines_without_records() -> None:
    assert reason("\n \n", "a.jsonl") == "holds no record"


# --- E-mail ---------------------------------------------------------------------------------------------------------


def test_mail_with_a_plain_body_and_an_attachment() -> None:
    source = (
        "From: =?utf-8?q?J=C3=BCrgen?= <j@x.org>\nTo: a@x.org,\n b@x.org\nDate: Mon, 6 May 2024 10:00:00 +0200\n"
        "Subject: The\n plan\nX-Other: no\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=B\n\n--B\n"
        "Content-Type: multipart/alternative; boundary=C\n\n--C\nContent-Type: text/plain; charset=iso-8859-1\n"
        "Content-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe\n--C\nContent-Type: text/html\n\n<p>no\n--C--\n--B\n"
        'Content-Type: application/pdf; name=a.pdf\nContent-Disposition: attachment; filename="a b.pdf"\n\nx\n--B--\n'
    )
    found = document(source, "a.eml")
    assert found.text == (
        "From: Jürgen <j@x.org>\nTo: a@x.org, b@x.org\nDate: Mon, 6 May 2024 10:00:00 +0200\nSubject: The plan\n"
        "\nGrüße\n\nAttachment: a b.pdf\n"
    )
    assert found.title == "The plan"
    assert [x.predicate for x in found.facts] == ["from", "to", "date", "subject"]
    assert ("The plan", "from", "Jürgen <j@x.org>", "From: Jürgen <j@x.org>") in facts(found)
    assert found.metadata == {"attachments": ["a b.pdf"]}


def test_mail_with_only_a_page() -> None:
    source = "Subject: S\nContent-Type: text/html; charset=utf-8\n\n<h1>Head</h1><p>see <a href=http://x>here</a>"
    found = document(source, "a.eml")
    assert found.text == "Subject: S\n\nHead\n\nsee here\n"
    assert headings(found) == [(1, "Head", "Head")]
    assert links(found) == [("here", "http://x")]


def test_what_is_no_mail() -> None:
    assert reason("just words\n\nand more", "a.eml") == "is damaged: it has none of the headers of an e-mail"
    nested = "".join(f"Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n" for i in range(2_000))
    assert "nested" in reason("Subject: x\n" + nested, "a.eml")


# --- Python package metadata ----------------------------------------------------------------------------------------

PACKAGE = """Metadata-Version: 2.4
Name: Demo.Pkg
Version: 1.2.3
Summary: Does things
Author: Ann
License: Copyright (c) 2020 Ann
        MIT License
        Permission is hereby granted, free of charge
Classifier: Programming Language :: Python
Classifier: License :: OSI Approved :: MIT License
Requires-Python: >=3.9
Requires-Dist: requests[socks]>=2; python_version >= "3.9"
Requires-Dist: rich; extra == "cli"
Provides-Extra: cli
Description-Content-Type: text/markdown

# Demo

See [docs](http://docs).
"""


def test_package_metadata() -> None:
    found = document(PACKAGE, "demo.dist-info/METADATA")
    assert found.title == "Demo.Pkg"
    assert found.text == (
        "Name: Demo.Pkg\nVersion: 1.2.3\nSummary: Does things\nAuthor: Ann\n"
        "License: Copyright (c) 2020 Ann\n        MIT License\n"
        "Classifier: License :: OSI Approved :: MIT License\nRequires-Python: >=3.9\n"
        'Requires-Dist: requests[socks]>=2; python_version >= "3.9"\nRequires-Dist: rich; extra == "cli"\n'
        "\n# Demo\n\nSee [docs](http://docs).\n"
    )
    stated = [(x.predicate, x.object) for x in found.facts]
    assert stated == [
        ("version", "1.2.3"),
        ("summary", "Does things"),
        ("has licence", "MIT License"),
        ("has licence", "MIT License"),
        ("requires", "requests"),
        ("optionally requires", "rich"),
    ]
    assert all(fact.subject == "Demo.Pkg" and fact.object in found.text[fact.start : fact.end] for fact in found.facts)
    assert headings(found) == [(1, "Demo", "Demo")]
    assert links(found) == [("docs", "http://docs")]


def test_package_metadata_with_an_rst_description_in_a_header() -> None:
    found = document("Name: p\nVersion: 1\nDescription: Head\n        ====\n        \n        text\n", "PKG-INFO")
    assert found.text.startswith("Name: p\nVersion: 1\n\nHead\n====\n")
    assert headings(found) == [(1, "Head", "Head")]


def test_package_metadata_keeps_facts_short() -> None:
    found = document("Name: p\nSummary: " + "long " * 100 + "\nLicense-Expression: MIT\n", "METADATA")
    assert found.facts == (Fact("p", "has licence", "MIT", found.text.index("License-"), len(found.text) - 1),)
    assert reason("Version: 1\n", "METADATA") == "is damaged: its metadata has no Name field"


@pytest.mark.parametrize(
    "front",
    ["groups: [hr", "Groups: [hr]", "groups: {hr: yes}", "groups: []", "groups:", "title: x\ngroups: [a\nother: b"],
)
def test_front_matter_that_does_not_say_who_may_see_a_document_fails_it(front: str) -> None:
    (failed,) = parse(f"---\n{front}\n---\n\n# Salaries\n".encode(), "salaries.md")
    assert isinstance(failed, FailedDocument)
    assert "groups" in failed.reason


def test_groups_in_one_line_are_several_groups() -> None:
    (document,) = parse(b"---\ngroups: hr, finance\n---\n\n# Salaries\n", "salaries.md")
    assert isinstance(document, ParsedDocument)
    assert document.groups == ("hr", "finance")

"""Formats made by office programs: real files, made here by the usual libraries, and hostile ones."""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from ingest.parse import parse
from kernel.records import FailedDocument, ParsedDocument

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "parser_cases"
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="the development data (shared/data) is not beside the repository"
)


def document(data: bytes, name: str) -> ParsedDocument:
    (found,) = parse(data, name)
    assert isinstance(found, ParsedDocument), found
    return found


def reason(data: bytes, name: str) -> str:
    (found,) = parse(data, name)
    assert isinstance(found, FailedDocument), found
    return found.reason


def saved(file: object) -> bytes:
    stream = io.BytesIO()
    file.save(stream)  # type: ignore[attr-defined]
    return stream.getvalue()


def headings(found: ParsedDocument) -> list[tuple[int, str]]:
    for heading in found.headings:
        assert found.text[heading.start :].split("\n")[0].split() == heading.title.split()
    return [(x.level, x.title) for x in found.headings]


def repacked(data: bytes, changes: dict[str, bytes | None]) -> bytes:
    """The archive with some members replaced (None: removed)."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if (content := changes.get(name, old.read(name))) is not None:
                new.writestr(name, content)
    return stream.getvalue()


# --- DOCX -----------------------------------------------------------------------------------------------------------


def letter() -> bytes:
    file = docx.Document()
    file.core_properties.title = "The letter"
    file.sections[0].header.paragraphs[0].text = "page header"
    file.add_heading("Report", 0)
    file.add_heading("Part one", 1)
    paragraph = file.add_paragraph("See ")
    link = OxmlElement("w:hyperlink")
    link.set(
        qn("r:id"), file.part.relate_to("http://x", docx.opc.constants.RELATIONSHIP_TYPE.HYPERLINK, is_external=True)
    )
    run = OxmlElement("w:r")
    text = OxmlElement("w:t")
    text.text = "the site"
    run.append(text)
    link.append(run)
    paragraph._p.append(link)
    paragraph.add_run(" now.")
    file.add_paragraph("first", style="List Bullet")
    file.add_paragraph("second", style="List Bullet")
    table = file.add_table(rows=3, cols=2)
    for row, values in zip(table.rows, [("Name", "Size"), ("A", "1"), ("B", "")], strict=True):
        for cell, value in zip(row.cells, values, strict=True):
            cell.text = value
    file.add_heading("Part two", 2)
    for word in ("one", "two"):
        file.add_paragraph(word, style="List Number")
    return saved(file)


def test_docx() -> None:
    found = document(letter(), "a.docx")
    assert found.text == (
        "Report\n\nPart one\n\nSee the site now.\n\n- first\n- second\n\nName: A | Size: 1\nName: B\n\n"
        "Part two\n\n1. one\n2. two\n"
    )
    assert found.title == "The letter"
    assert headings(found) == [(1, "Report"), (1, "Part one"), (2, "Part two")]
    assert [(found.text[x.start : x.end], x.target) for x in found.links] == [("the site", "http://x")]
    assert [(x.subject, x.predicate, x.object) for x in found.facts] == [("A", "Size", "1")]


@needs_data
def test_docx_headings_carry_their_numbers() -> None:
    found = document((DATA / "docling/docx/sources/unit_test_headers_numbered.docx").read_bytes(), "a.docx")
    assert headings(found)[1:5] == [
        (1, "1. Section 1"),
        (2, "1.1. Section 1.1"),
        (2, "1.2. Section 1.2"),
        (3, "1.2.1. Section 1.2.3"),
    ]


@needs_data
def test_both_kinds_of_ooxml_read_alike() -> None:
    strict, transitional = (
        document((DATA / f"docling/docx/sources/{kind}.docx").read_bytes(), "a.docx")
        for kind in ("Strict", "Transitional")
    )
    assert strict.text == transitional.text
    assert strict.headings == transitional.headings


# --- PPTX -----------------------------------------------------------------------------------------------------------


def talk() -> bytes:
    file = pptx.Presentation()
    for title in ("Goals", "Numbers"):
        slide = file.slides.add_slide(file.slide_layouts[5])
        slide.shapes.title.text = title
    box = file.slides[0].shapes.add_textbox(0, 0, Inches(2), Inches(1)).text_frame
    box.text = "See "
    run = box.paragraphs[0].add_run()
    run.text, run.hyperlink.address = "here", "http://x"
    file.slides[0].notes_slide.notes_text_frame.text = "Speak slowly"
    table = file.slides[1].shapes.add_table(2, 2, 0, 0, Inches(4), Inches(1)).table
    for place, value in (((0, 0), "Year"), ((0, 1), "Sales"), ((1, 0), "2020"), ((1, 1), "7")):
        table.cell(*place).text = value
    data = CategoryChartData()
    data.categories = ["Q1", "Q2"]
    data.add_series("Profit", (1, 2))
    file.slides[1].shapes.add_chart(XL_CHART_TYPE.PIE, 0, 0, Inches(2), Inches(2), data)
    return saved(file)


def test_pptx() -> None:
    found = document(talk(), "a.pptx")
    assert found.text.startswith("Goals\n\nSee here\n\nNotes: Speak slowly\n\nNumbers\n\nYear: 2020 | Sales: 7\n")
    assert "Q1 | Profit: 1" in found.text
    assert [found.text[start:].split("\n")[0] for start in found.pages] == ["Goals", "Numbers"]
    assert headings(found) == [(1, "Goals"), (1, "Numbers")]
    assert [(found.text[x.start : x.end], x.target) for x in found.links] == [("here", "http://x")]
    assert ("2020", "Sales", "7") in [(x.subject, x.predicate, x.object) for x in found.facts]


# --- XLSX -----------------------------------------------------------------------------------------------------------


MAY = dt.datetime(2024, 5, 1)  # noqa: DTZ001 - Excel knows no time zones


def ledger() -> openpyxl.Workbook:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Sales"
    for row in [["Report of May"], [], ["City", "Share", "When", "Ok"], ["Bonn", 0.25, MAY, True]]:
        sheet.append(row)
    sheet["B4"].number_format = "0%"
    book.create_sheet("Empty")
    book.create_sheet("More").append([0.1 + 0.2, "x"])
    return book


def test_xlsx() -> None:
    found = document(saved(ledger()), "a.xlsx")
    assert found.text == (
        "Sales\n\nReport of May\nCity: Bonn | Share: 25% | When: 2024-05-01 | Ok: TRUE\n\nEmpty\n\n\nMore\n\n0.3 | x\n"
    )
    assert headings(found) == [(1, "Sales"), (1, "Empty"), (1, "More")]
    assert [(x.subject, x.predicate, x.object) for x in found.facts] == [
        ("Bonn", "Share", "25%"),
        ("Bonn", "When", "2024-05-01"),
        ("Bonn", "Ok", "TRUE"),
    ]
    assert {found.text[x.start : x.end] for x in found.facts} == {
        "City: Bonn | Share: 25% | When: 2024-05-01 | Ok: TRUE"
    }


def test_xlsx_that_claims_rows_without_end() -> None:
    data = saved(ledger())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sheet = archive.read("xl/worksheets/sheet3.xml")
    changed = re.sub(rb'<row r="1"', b'<row r="99999999999"', sheet)
    assert changed != sheet
    found = document(repacked(data, {"xl/worksheets/sheet3.xml": changed}), "a.xlsx")
    assert "Sales" in found.text


# --- PDF ------------------------------------------------------------------------------------------------------------


def pdf(pages: list[str], title: str = "", outline: bool = False) -> bytes:
    """A PDF of pages whose lines are `size y text`."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    last = 4 + 2 * len(pages)
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R {f'/Outlines {last + 1} 0 R' if outline else ''} >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    resources = "/Resources << /Font << /F1 3 0 R >> >>"
    for number, page in enumerate(pages):
        content = "".join(
            f"BT /F1 {size} Tf 72 {y} Td ({text}) Tj ET\n"
            for size, y, text in (line.split(" ", 2) for line in page.split("\n") if line)
        )
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R {resources} >>",
            f"<< /Length {len(content)} >>\nstream\n{content}endstream",
        ]
    objects.append(f"<< /Title ({title}) >>")
    objects += [
        f"<< /Type /Outlines /First {last + 2} 0 R /Last {last + 3} 0 R /Count 2 >>",
        f"<< /Title (Second part) /Parent {last + 1} 0 R /Next {last + 3} 0 R /Dest [6 0 R /Fit] >>",
        f"<< /Title (Not there) /Parent {last + 1} 0 R /Dest [6 0 R /Fit] >>",
    ]
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{content}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    tail = f"trailer << /Size {len(objects) + 1} /Root 1 0 R /Info {last} 0 R >>\nstartxref\n{len(body)}\n%%EOF"
    return body + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}".encode() + tail.encode()


FIRST = """
10 760 Small print
20 720 The large title
10 690 A paragraph goes
10 678 on here with under-
10 666 standing, informa-
10 654 tion and a risk-
10 642 based plan.
10 608 Understanding is to stand under a standing rule.
10 596 A risk is based on it.
10 584 end
"""
PAGES = [FIRST, "10 760 Second part\n10 748 more words"]


def test_pdf() -> None:
    found = document(pdf(PAGES, outline=True), "a.pdf")
    assert found.text == (
        "Small print\n\nThe large title\n\nA paragraph goes\n"
        "on here with understanding, information and a risk-based plan.\n\n"
        "Understanding is to stand under a standing rule.\nA risk is based on it.\nend\n\nSecond part\nmore words"
    )
    assert found.title == "The large title"
    assert [found.text[start:][:11] for start in found.pages] == ["Small print", "Second part"]
    assert headings(found) == [(1, "Second part")]


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Annual report", "Annual report"),
        ("Microsoft Word - draft.doc", "The large title"),
        ("final_v2.pdf", "The large title"),
        ("untitled", "The large title"),
        ("bod-18-02", "The large title"),
    ],
)
def test_pdf_titles(title: str, expected: str) -> None:
    assert document(pdf(PAGES, title), "a.pdf").title == expected


def test_pdf_without_text() -> None:
    assert reason(pdf(["", ""]), "a.pdf") == "is a scan without a text layer: run OCR on it first"
    assert document(pdf([*PAGES, ""]), "a.pdf").metadata == {"pages_without_text": [3]}


@needs_data
def test_pdf_with_a_password() -> None:
    data = (DATA / "docling/pdf_password/sources/2206.01062_pg3.pdf").read_bytes()
    assert reason(data, "a.pdf") == "is encrypted: save it without a password"


# --- Damage and malice ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx"])
def test_damaged_archives(name: str) -> None:
    whole = {"a.docx": letter, "a.pptx": talk, "a.xlsx": lambda: saved(ledger())}[name]()
    assert reason(whole[: len(whole) // 2], name) == "is damaged: not a ZIP archive"
    assert reason(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 100, name).startswith("is encrypted or in an old binary format")
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    assert reason(empty.getvalue(), name) == "is damaged: a ZIP archive without an Office document in it"
    for part in zipfile.ZipFile(io.BytesIO(whole)).namelist():
        if part.endswith((".xml", ".rels")):
            for change in (None, b"<broken", b"<x/>"):
                for found in parse(repacked(whole, {part: change}), name):
                    assert isinstance(found, ParsedDocument) or found.reason.startswith(("is damaged", "holds no text"))


def bombs() -> Iterator[tuple[str, bytes]]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b" " * (64 << 20))
    yield "a member unpacks to 200 times its size", stream.getvalue()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(20_001):
            archive.writestr(str(number), b"")
    yield "more than 20,000 members", stream.getvalue()
    # A header may state any size: that alone is refused, before anything is unpacked.
    data = bytearray(letter())
    for place in [found.start() for found in re.finditer(b"PK\x01\x02", data)]:
        data[place + 20 : place + 28] = (300 << 20).to_bytes(4, "little") * 2
    yield "unpacks to more than 1024 MB", bytes(data)


def test_zip_bombs_are_refused() -> None:
    for words, data in bombs():
        for name in ("a.docx", "a.pptx", "a.xlsx"):
            found = reason(data, name)
            assert found.startswith("is refused as a ZIP bomb")
            assert words in found


ENTITIES = {
    "file": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>',
    "laughs": '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;"><!ENTITY e "&b;&b;&b;">]>',
}


@pytest.mark.parametrize("kind", ENTITIES)
def test_entities_are_refused(kind: str) -> None:
    for data, name, part in ((letter(), "a.docx", "word/document.xml"), (saved(ledger()), "a.xlsx", "xl/workbook.xml")):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            content = archive.read(part)
        head, _, body = content.partition(b"?>") if content.startswith(b"<?xml") else (b"", b"", content)
        evil = head + (b"?>" if head else b"") + ENTITIES[kind].encode() + body.replace(b"Report", b"&e;")
        assert "declares a document type" in reason(repacked(data, {part: evil}), name)


def test_entities_in_a_sheet_are_not_read() -> None:
    data = saved(ledger())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {
            name: archive.read(name) for name in archive.namelist() if name.startswith("xl/") and name.endswith(".xml")
        }
    for part, content in parts.items():
        start = content.index(b"<", content.startswith(b"<?xml") and content.index(b"?>"))
        evil = content[:start] + ENTITIES["file"].encode() + content[start:].replace(b"Bonn", b"&e;")
        (found,) = parse(repacked(data, {part: evil}), "a.xlsx")
        secret = Path("/etc/hostname").read_text().strip() if Path("/etc/hostname").exists() else ""
        assert isinstance(found, FailedDocument) or not secret or secret not in found.text


def test_deep_xml_is_damage() -> None:
    with zipfile.ZipFile(io.BytesIO(letter())) as archive:
        root = archive.read("word/document.xml")
    start = root.index(b"<w:body>") + len(b"<w:body>")
    deep = root[:start] + b"<w:sdt>" * 100_000
    assert "not well-formed XML" in reason(repacked(letter(), {"word/document.xml": deep}), "a.docx")


# --- Beside another parser ------------------------------------------------------------------------------------------

# What we leave out on purpose: comments, formulas as LaTeX, drawings of charts in Word, text of images.
LEFT_OUT = re.compile(r"comments|equation|omml|drawingml|example_01|image")


def words(text: str) -> set[str]:
    plain = re.sub(r"<!--.*?-->|\]\([^)]*\)", " ", text)
    return set(re.findall(r"\w+", re.sub(r"\\(.)", r"\1", plain).lower()))


@needs_data
@pytest.mark.parametrize("kind", ["docx", "html", "pptx", "xlsx", "csv"])
def test_the_words_docling_finds_are_found(kind: str) -> None:
    compared = 0
    for expected in sorted((DATA / "docling_expected_md" / kind / "groundtruth").glob("*.md")):
        source = DATA / "docling" / kind / "sources" / expected.stem
        if LEFT_OUT.search(expected.name) or not source.exists():
            continue
        wanted = words(expected.read_text())
        found = document(source.read_bytes(), source.name)
        missing = wanted - words(found.text)
        assert len(missing) <= 0.15 * len(wanted), (source.name, missing)
        compared += 1
    assert compared >= 5

"""DOCX: paragraphs, headings, lists and tables in document order; headers, footers, comments and deletions
left out."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from ingest.parse.canonical import Builder
from ingest.parse.docx_numbering import Numbering, value
from ingest.parse.docx_styles import Styles
from ingest.parse.ooxml import Package, Relation, child, children, get, local
from ingest.parse.tables import Cell, CellText, names_columns, write_table
from kernel.errors import ParseFailure
from kernel.records import ParsedDocument

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_BREAKS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_UNSEEN = frozenset({"instrText", "delText", "delInstrText", "pPr", "rPr", "tblPr", "tcPr", "footnotePr", "Fallback"})
_MAX_NESTING = 100  # more than the XML parser lets through


def parse(data: bytes, name: str) -> ParsedDocument:  # noqa: ARG001 - the plan every format follows
    """The document in `data`. Raises ParseFailure for a damaged, encrypted or hostile file."""
    package = Package(data)
    main = package.main()
    body = child(package.root(main), "body")
    if body is None:
        raise ParseFailure("is damaged: it is not a Word document")
    builder = Builder()
    relations = package.relations(main)
    styles = Styles(_part(package, relations, "styles"))
    writer = _Writer(builder, relations, styles, Numbering(_part(package, relations, "numbering")))
    writer.blocks(body, 0)
    writer.relations = {}
    for kind in ("footnotes", "endnotes"):
        notes = _part(package, relations, kind)
        for note in notes if notes is not None else ():
            writer.blocks(note, 0)
    return builder.finish(MEDIA_TYPE, package.title() or writer.title)


def _part(package: Package, relations: dict[str, Relation], kind: str) -> etree._Element | None:
    """The root of the part that the document is related to in that way, if there is one."""
    return next((package.find(x.target) for x in relations.values() if x.kind == kind and not x.external), None)


class _Writer:
    """Writes blocks to a builder."""

    def __init__(self, builder: Builder, relations: dict[str, Relation], styles: Styles, numbering: Numbering) -> None:
        self.title: str | None = None
        self.relations = relations
        self._builder = builder
        self._styles = styles
        self._numbering = numbering
        self._in_list = False

    def blocks(self, parent: etree._Element, depth: int) -> None:
        """Write the paragraphs and tables of `parent`."""
        for element in children(parent):
            if local(element) == "p":
                self._paragraph(element, depth)
            elif local(element) == "tbl" and depth < _MAX_NESTING:
                self._table(element, depth)

    def _paragraph(self, paragraph: etree._Element, depth: int) -> None:
        runs = CellText(keep_lines=True)
        boxes = self._runs(paragraph, runs)
        cell = runs.cell()
        if cell.text:
            self._write(child(paragraph, "pPr"), cell)
        for box in boxes if depth < _MAX_NESTING else ():
            self.blocks(box, depth + 1)

    def _write(self, properties: etree._Element | None, cell: Cell) -> None:
        level, item = self._styles.level(properties), self._styles.list_of(properties)
        label = self._numbering.label(*item) if item is not None else "-"
        listed = item is not None and not level
        if self._in_list and not listed:
            self._builder.add("\n")
        self._in_list = listed
        if listed and item is not None:
            self._builder.add("  " * item[1])
        start = self._builder.add(f"{label} " if listed or label != "-" else "")
        at = self._builder.add(cell.text)
        for link_start, link_end, target in cell.links:
            self._builder.link(at + link_start, at + link_end, target)
        if level:
            self._builder.heading(start, level, cell.text if label == "-" else f"{label} {cell.text}")
            self.title = self.title or cell.text
        self._builder.add("\n" if listed else "\n\n")

    def _runs(self, parent: etree._Element, into: CellText) -> list[etree._Element]:
        """Write the text of the runs in `parent`; return the text boxes anchored there, which follow it."""
        boxes: list[etree._Element] = []
        for element in children(parent):
            name = local(element)
            if name == "t":
                into.add(element.text or "")
            elif name in _BREAKS:
                into.add(_BREAKS[name])
            elif name == "txbxContent":
                boxes.append(element)
            elif name == "hyperlink":
                start = into.position
                boxes += self._runs(element, into)
                relation = self.relations.get(get(element, "id") or "")
                if relation is not None and relation.external:
                    into.link(start, into.position, relation.target)
            elif name not in _UNSEEN:
                boxes += self._runs(element, into)
        return boxes

    def _table(self, table: etree._Element, depth: int) -> None:
        rows = [list(_cells(row)) for row in children(table) if local(row) == "tr"]
        if all(len(row) < 2 for row in rows):  # a frame around text, not rows of data
            for row in rows:
                for cell, _, _ in row:
                    self.blocks(cell, depth + 1)
            return
        if self._in_list:
            self._builder.add("\n")
        self._in_list = False
        above: dict[int, str] = {}
        read = [row for row in (self._row(row, above) for row in rows) if any(cell.text for cell in row)]
        write_table(self._builder, read, 1 if read and names_columns(read[0]) else 0)
        self._builder.add("\n")

    def _row(self, row: list[tuple[etree._Element, int, bool]], above: dict[int, str]) -> list[Cell]:
        cells = []
        for element, column, continued in row:
            cell = Cell(above.get(column, ""), column) if continued else self._cell(element, column)
            above[column] = cell.text if len(cell.text) <= 200 else ""
            cells.append(cell)
        return cells

    def _cell(self, element: etree._Element, column: int) -> Cell:
        text = CellText(column)
        self._gather(element, text)
        return text.cell()

    def _gather(self, parent: etree._Element, text: CellText) -> None:
        """Write all paragraphs in `parent`, nested tables and text boxes included, as one line."""
        for element in children(parent):
            if local(element) == "p":
                text.add(" ")
                for box in self._runs(element, text):
                    self._gather(box, text)
            elif local(element) in {"tbl", "tr", "tc"}:
                self._gather(element, text)


def _cells(row: etree._Element) -> Iterator[tuple[etree._Element, int, bool]]:
    """The cells of a row: element, column, and whether it goes on from the row above."""
    column = 0
    for element in children(row):
        if local(element) != "tc":
            continue
        properties = child(element, "tcPr")
        merge = child(properties, "vMerge")
        yield element, column, merge is not None and get(merge, "val") != "restart"
        span = value(child(properties, "gridSpan")) or "1"
        column += min(int(span), 100) if span.isdecimal() else 1

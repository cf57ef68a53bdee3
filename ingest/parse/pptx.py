"""PPTX: each slide a page, its title a heading, then its shapes in order, its tables and charts, and its
notes."""

from __future__ import annotations

from lxml import etree

from ingest.parse.canonical import Builder
from ingest.parse.ooxml import Package, Relation, child, children, get, local
from ingest.parse.tables import Cell, CellText, names_columns, write_table
from kernel.errors import ParseFailure
from kernel.records import ParsedDocument

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
_TITLES = frozenset({"title", "ctrTitle"})
_FURNITURE = frozenset({"sldNum", "dt", "ftr", "hdr"})
_MAX_POINTS = 10_000


def parse(data: bytes, name: str) -> ParsedDocument:  # noqa: ARG001 - the plan every format follows
    """The document in `data`. Raises ParseFailure for a damaged, encrypted or hostile file."""
    package = Package(data)
    main = package.main()
    slides = child(package.root(main), "sldIdLst")
    relations = package.relations(main)
    builder = Builder()
    title = package.title()
    for entry in slides if slides is not None else ():
        relation = relations.get(_relation_id(entry))
        if relation is None:
            raise ParseFailure("is damaged: a slide is missing")
        writer = _SlideWriter(builder, package, relation.target)
        writer.write()
        title = title or writer.title
    return builder.finish(MEDIA_TYPE, title)


def _relation_id(entry: etree._Element) -> str:
    """The `r:id`, which stands beside a plain `id`."""
    return next((str(value) for key, value in entry.attrib.items() if str(key).endswith("}id")), "")


class _SlideWriter:
    """Writes one slide to a builder."""

    def __init__(self, builder: Builder, package: Package, part: str) -> None:
        self.title: str | None = None
        self._builder = builder
        self._package = package
        self._part = part
        self._relations = package.relations(part)

    def write(self) -> None:
        """Write the slide and its notes."""
        self._builder.page()
        tree = child(self._package.root(self._part), "cSld", "spTree")
        if tree is not None:
            self._shapes(tree)
        for relation in self._relations.values():
            if relation.kind == "notesSlide":
                self._notes(relation)

    def _notes(self, relation: Relation) -> None:
        tree = child(self._package.find(relation.target), "cSld", "spTree")
        for shape in children(tree) if tree is not None else ():
            body = child(shape, "txBody")
            if _placeholder(shape) == "body" and body is not None and (cells := self._paragraphs(body)):
                self._builder.add("Notes: ")
                self._lines(cells)

    def _shapes(self, parent: etree._Element) -> None:
        for shape in children(parent):
            name, body = local(shape), child(shape, "txBody")
            if name == "grpSp":
                self._shapes(shape)
            elif body is not None and _placeholder(shape) not in _FURNITURE:
                self._text(body, _placeholder(shape) in _TITLES)
            elif name == "graphicFrame":
                self._graphic(child(shape, "graphic", "graphicData"))

    def _text(self, body: etree._Element, is_title: bool) -> None:
        cells = self._paragraphs(body)
        start = self._builder.position
        self._lines(cells)
        if is_title and cells and self.title is None:
            self.title = " ".join(cell.text for cell in cells)
            self._builder.heading(start, 1, self.title)

    def _lines(self, cells: list[Cell]) -> None:
        for cell in cells:
            start = self._builder.add(cell.text)
            for link_start, link_end, target in cell.links:
                self._builder.link(start + link_start, start + link_end, target)
            self._builder.add("\n")
        if cells:
            self._builder.add("\n")

    def _paragraphs(self, body: etree._Element) -> list[Cell]:
        read = (self._paragraph(element, CellText(keep_lines=True)) for element in body if local(element) == "p")
        return [cell for cell in read if cell.text]

    def _paragraph(self, paragraph: etree._Element, into: CellText) -> Cell:
        self._runs(paragraph, into)
        return into.cell()

    def _runs(self, parent: etree._Element, into: CellText) -> None:
        for run in children(parent):
            start = into.position
            if local(run) == "t":
                into.add(run.text or "")
            elif local(run) == "br":
                into.add("\n")
            elif local(run) not in {"rPr", "pPr", "endParaRPr"}:
                self._runs(run, into)
            click = child(run, "rPr", "hlinkClick")
            relation = self._relations.get(_relation_id(click)) if click is not None else None
            if relation is not None and relation.external:
                into.link(start, into.position, relation.target)

    def _graphic(self, data: etree._Element | None) -> None:
        for element in children(data) if data is not None else ():
            if local(element) == "tbl":
                self._table(element)
            elif local(element) == "chart":
                relation = self._relations.get(_relation_id(element))
                if relation is not None and (root := self._package.find(relation.target)) is not None:
                    self._rows(_chart_rows(root), header=True)
            elif local(element) == "relIds":
                self._diagram(element)

    def _diagram(self, element: etree._Element) -> None:
        """The texts of a SmartArt drawing, from its data part."""
        relation = self._relations.get(get(element, "dm") or "")
        root = self._package.find(relation.target) if relation is not None else None
        for body in root.iter("{*}t") if root is not None else ():
            self._lines(self._paragraphs(body))

    def _table(self, table: etree._Element) -> None:
        rows = []
        for row in table:
            if local(row) == "tr":
                cells = (x for x in row if local(x) == "tc")
                rows.append([self._cell(cell, column) for column, cell in enumerate(cells)])
        first = get(properties, "firstRow") if (properties := child(table, "tblPr")) is not None else None
        self._rows(rows, first in {"1", "true"} or bool(rows and names_columns(rows[0])))

    def _cell(self, cell: etree._Element, column: int) -> Cell:
        text = CellText(column)
        body = child(cell, "txBody")
        for paragraph in body if body is not None else ():
            text.add(" ")
            self._runs(paragraph, text)
        return text.cell()

    def _rows(self, rows: list[list[Cell]], header: bool) -> None:
        rows = [row for row in rows if any(cell.text for cell in row)]
        write_table(self._builder, rows, int(header))
        if rows:
            self._builder.add("\n")


def _placeholder(shape: etree._Element) -> str | None:
    """The type of the placeholder that a shape fills; None if it fills none."""
    for name in ("nvSpPr", "nvPicPr", "nvGraphicFramePr"):
        if (place := child(shape, name, "nvPr", "ph")) is not None:
            return get(place, "type") or "body"
    return None


def _chart_rows(root: etree._Element) -> list[list[Cell]]:
    """A chart's cached data: a header of series names, then one row for each category."""
    series = list(root.iter("{*}ser"))
    titles = [Cell(" ".join(x.text or "" for x in root.iter("{*}t")).strip(), 0)] if series else []
    columns = [_points(child(one, "val")) or _points(child(one, "yVal")) for one in series]
    names = [next(iter(_points(child(one, "tx")).values()), f"Series {i}") for i, one in enumerate(series, 1)]
    labels = _points(child(series[0], "cat")) or _points(child(series[0], "xVal")) if series else {}
    rows = [[Cell(title.text, 0) for title in titles] + [Cell(name, i) for i, name in enumerate(names, 1)]]
    for index in sorted({index for column in columns for index in column} | labels.keys())[:_MAX_POINTS]:
        values = (Cell(column.get(index, ""), i) for i, column in enumerate(columns, 1))
        rows.append([Cell(labels.get(index, ""), 0), *values])
    return rows if series else []


def _points(parent: etree._Element | None) -> dict[int, str]:
    """The cached points below an element of a chart, by index."""
    found: dict[int, str] = {}
    for point in parent.iter("{*}pt") if parent is not None else ():
        index, value = get(point, "idx") or "", child(point, "v")
        if index.isdecimal() and len(index) < 9 and value is not None and value.text:
            found[int(index)] = value.text
    return found

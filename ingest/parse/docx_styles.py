"""What the styles of a Word document say of a paragraph: its heading level, its list."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from ingest.parse.docx_numbering import value
from ingest.parse.ooxml import child, get, local

_LONGEST_CHAIN = 20


class Styles:
    """The paragraph styles. `root` is the styles part, if there is one; `properties` are a paragraph's
    `pPr`."""

    def __init__(self, root: etree._Element | None) -> None:
        elements = root if root is not None else ()
        self._styles = {get(x, "styleId") or "": x for x in elements if local(x) == "style"}

    def level(self, properties: etree._Element | None) -> int:
        """The heading level of a paragraph, 1 the outermost; 0 if it is none. A document's title is of level
        1."""
        if (level := _outline(properties)) is not None:
            return level
        for style in self._chain(properties):
            name = (value(child(style, "name")) or "").lower()
            if name == "title":
                return 1
            if name.startswith("heading ") and name[8:].isdecimal():
                return min(int(name[8:]), 9)
            if (level := _outline(child(style, "pPr"))) is not None:
                return level
        return 0

    def list_of(self, properties: etree._Element | None) -> tuple[str, int] | None:
        """The list and the level in it of a paragraph; None if it is no item of one."""
        for source in (properties, *(child(style, "pPr") for style in self._chain(properties))):
            numbering = child(source, "numPr")
            if numbering is not None:
                number, level = value(child(numbering, "numId")), value(child(numbering, "ilvl")) or "0"
                listed = number not in {"0", None}
                return (number or "", int(level) if level in "012345678" else 0) if listed else None
        return None

    def _chain(self, properties: etree._Element | None) -> Iterator[etree._Element]:
        """A paragraph's style and those it is based on."""
        name = value(child(properties, "pStyle"))
        for _ in range(_LONGEST_CHAIN):
            style = self._styles.get(name or "")
            if style is None:
                return
            yield style
            name = value(child(style, "basedOn"))


def _outline(properties: etree._Element | None) -> int | None:
    level = value(child(properties, "outlineLvl")) or ""
    if not level.isdecimal():
        return None
    return int(level) + 1 if level in "012345678" else 0

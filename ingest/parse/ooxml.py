"""The package behind DOCX, PPTX and XLSX (ECMA-376): a ZIP of XML parts, checked before anything is unpacked.

Elements are matched by local name, so the Transitional and the Strict namespaces read alike.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from kernel.errors import ParseFailure

MAX_MEMBERS = 20_000
MAX_TOTAL = 1 << 30
MAX_PART = 128 << 20
MAX_RATIO = 200
_RATIO_FROM = 8 << 20  # small parts may repeat themselves as they like
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    OSError,
    ValueError,
    KeyError,
    RuntimeError,
)


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation of a part to another part, or to an address outside when `external`."""

    kind: str
    target: str
    external: bool


class Package:
    """The parts of an Office file. Every method raises ParseFailure when the file is damaged or a bomb."""

    def __init__(self, data: bytes) -> None:
        self._zip = open_zip(data)
        self._names = frozenset(self._zip.namelist())

    def root(self, part: str) -> etree._Element:
        """The root element of an XML part; entities are never expanded."""
        if part not in self._names:
            raise ParseFailure(f"is damaged: its part {part} is missing")
        if self._zip.getinfo(part).file_size > MAX_PART:
            raise ParseFailure(f"is too large: its part {part} unpacks to more than {MAX_PART >> 20} MB")
        try:
            content = self._zip.read(part)
        except _DAMAGE as error:
            raise ParseFailure(f"is damaged: its part {part} cannot be unpacked") from error
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)
        try:
            root = etree.fromstring(content, parser)
        except (etree.XMLSyntaxError, ValueError) as error:
            raise ParseFailure(f"is damaged: its part {part} is not well-formed XML") from error
        if root.getroottree().docinfo.internalDTD is not None:
            raise ParseFailure(f"is refused: its part {part} declares a document type, which Office files never do")
        return root

    def find(self, part: str) -> etree._Element | None:
        """The root element of a part that need not exist."""
        return self.root(part) if part in self._names else None

    def relations(self, part: str) -> dict[str, Relation]:
        """The relations of a part by id, targets resolved to part names; empty when it has none."""
        folder, name = posixpath.split(part)
        root = self.find(posixpath.join(folder, "_rels", f"{name}.rels"))
        found: dict[str, Relation] = {}
        for element in root if root is not None else ():
            target, external = element.get("Target", ""), element.get("TargetMode") == "External"
            if not external:
                target = posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/")
            kind = element.get("Type", "").rpartition("/")[2]
            found[element.get("Id", "")] = Relation(kind, target, external)
        return found

    def main(self) -> str:
        """The name of the main part."""
        for relation in self.relations("").values():
            if relation.kind == "officeDocument":
                return relation.target
        raise ParseFailure("is damaged: a ZIP archive without an Office document in it")

    def title(self) -> str | None:
        """The title among the core properties."""
        for relation in self.relations("").values():
            if relation.kind == "core-properties" and (root := self.find(relation.target)) is not None:
                return next((x.text for x in root if local(x) == "title" and x.text), None)
        return None


def open_zip(data: bytes) -> zipfile.ZipFile:
    """The archive in `data`. Raises ParseFailure if it is none, is encrypted, or would unpack to a bomb."""
    if not data:
        raise ParseFailure("is empty")
    if data.startswith(_OLE):
        raise ParseFailure("is encrypted or in an old binary format: save it in the current format without a password")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = archive.infolist()
    except _DAMAGE as error:
        raise ParseFailure("is damaged: not a ZIP archive") from error
    if len(members) > MAX_MEMBERS:
        raise ParseFailure(f"is refused as a ZIP bomb: it has more than {MAX_MEMBERS:,} members")
    if sum(member.file_size for member in members) > MAX_TOTAL:
        raise ParseFailure(f"is refused as a ZIP bomb: it unpacks to more than {MAX_TOTAL >> 20} MB")
    for member in members:
        if member.flag_bits & 1:
            raise ParseFailure("is encrypted: save it without a password")
        if member.file_size > max(_RATIO_FROM, MAX_RATIO * member.compress_size):
            raise ParseFailure(f"is refused as a ZIP bomb: a member unpacks to {MAX_RATIO} times its size or more")
    return archive


def local(element: etree._Element) -> str:
    """The element's name without its namespace; empty for comments, entities and processing instructions."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def get(element: etree._Element, name: str) -> str | None:
    """The attribute of that local name, in whatever namespace."""
    for key, value in element.attrib.items():
        if str(key).rpartition("}")[2] == name:
            return str(value)
    return None


def child(element: etree._Element | None, *path: str) -> etree._Element | None:
    """The first descendant along a path of local names."""
    for name in path:
        if element is None:
            return None
        element = next((x for x in element if local(x) == name), None)
    return element


def children(element: etree._Element) -> Iterator[etree._Element]:
    """The children that count: wrappers opened, deletions left out, one choice of each alternative taken."""
    for inner in element:
        name = local(inner)
        if name in {"del", "moveFrom", "sdtPr", "sdtEndPr", ""}:
            continue
        if name in {"sdt", "sdtContent", "customXml", "ins", "moveTo", "smartTag"}:
            yield from children(inner)
        elif name == "AlternateContent":
            choice = child(inner, "Choice")
            choice = choice if choice is not None and _has_text(choice) else child(inner, "Fallback")
            if choice is not None:
                yield from children(choice)
        else:
            yield inner


def _has_text(element: etree._Element) -> bool:
    return any(local(x) == "t" and x.text for x in element.iter())

"""Naming a document on the command line: by its id, or by what a person knows of it."""

from __future__ import annotations

from kernel.errors import InvalidInput, NotFound
from kernel.records import LOCAL_OWNER, DocumentInfo
from kernel.storage.catalog import Catalog

PREFIX = "doc_"
MOST_LISTED = 5


def document_named(catalog: Catalog, name: str, snapshot: int) -> DocumentInfo:
    """The document with this id, path, own id or title in a snapshot.

    Raises NotFound where there is none, and InvalidInput that lists them where there are several.
    """
    if name.startswith(PREFIX):
        return catalog.document(name, snapshot, LOCAL_OWNER)
    found = catalog.named(name, snapshot, LOCAL_OWNER, MOST_LISTED + 1)
    if not found:
        raise NotFound(f"no document has the path, id or title {name!r}; see: vouch documents list")
    if len(found) > 1:
        listed = ", ".join(f"{one.id} ({one.path} of {one.source})" for one in found[:MOST_LISTED])
        more = ", …" if len(found) > MOST_LISTED else ""
        raise InvalidInput(f"{name!r} names several documents; give the id of one: {listed}{more}")
    return found[0]

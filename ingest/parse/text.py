"""Plain text: as it is, without a title or any structure."""

from __future__ import annotations

from ingest.parse.canonical import Builder
from ingest.parse.decode import decode
from kernel.records import ParsedDocument

MEDIA_TYPE = "text/plain"


def parse(data: bytes, name: str) -> ParsedDocument:  # noqa: ARG001 - the plan every format follows
    """The document in `data`. Raises ParseFailure if it is not text."""
    builder = Builder()
    builder.add(decode(data))
    return builder.finish(MEDIA_TYPE)

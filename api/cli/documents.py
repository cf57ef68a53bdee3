"""`vouch documents`: what is known, in which state, and its text."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from api.cli.call import Call, command, group, page_of
from api.cli.options import AsOf, Cursor, Limit
from api.cli.output import show_fields
from api.views import document_json
from kernel.records import LOCAL_OWNER

commands = group("Documents, their state and their text.")

DocumentId = Annotated[str, typer.Argument(metavar="ID", help="Id of the document, doc_….")]


class Status(StrEnum):
    """Whether a document became text."""

    OK = "ok"
    FAILED = "failed"


@command(commands, "list")
def list_documents(
    call: Call,
    source: Annotated[str | None, typer.Option(help="Only those of this source.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only those that became text, or that failed.")] = None,
    as_of: AsOf = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> None:
    """List documents with their state."""
    found = call.workspace.catalog.documents(
        call.snapshot(as_of),
        LOCAL_OWNER,
        limit=limit + 1,
        after=cursor or "",
        status=status.value if status else None,
        source_name=source,
    )
    items, rest = page_of([document_json(document) for document in found], limit, "id")
    call.show_list(items, rest, ("id", "status", "title", "path", "revision", "chunks", "reason"))


@command(commands, "show")
def show(call: Call, document_id: DocumentId, as_of: AsOf = None) -> None:
    """Show one document."""
    found = document_json(call.workspace.catalog.document(document_id, call.snapshot(as_of), LOCAL_OWNER))
    call.show(found, lambda out: show_fields(out, found))


@command(commands, "text")
def text(
    call: Call,
    document_id: DocumentId,
    revision: Annotated[
        int | None, typer.Option(min=1, help="Revision, as a citation names it; default: the live one.")
    ] = None,
) -> None:
    """Write the canonical text of a document, which the offsets of citations count."""
    catalog = call.workspace.catalog
    number = revision or catalog.document(document_id, call.snapshot(None), LOCAL_OWNER).revision
    found = catalog.text(document_id, number)
    if call.flags.json:
        call.show({"id": document_id, "revision": number, "text": found}, lambda _: None)
    else:
        sys.stdout.write(found if found.endswith("\n") else f"{found}\n")

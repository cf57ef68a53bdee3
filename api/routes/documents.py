"""Documents: listing, reading, uploading, removing uploaded ones."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Query, UploadFile
from starlette.responses import JSONResponse

from api.auth import Call, Caller, CarryOut, GuardedRoute, guarded
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.routes.sources import all_sources, upload_folder
from api.schemas import Document, DocumentText, Job, Page
from api.services import LARGEST_NUMBER
from api.uploads import DEFAULT_SOURCE, Upload, as_uploads
from api.views import document_json, job_json
from kernel.errors import Conflict, NotFound
from kernel.ids import sha256
from kernel.records import DocumentInfo, JobInfo, Role

router = APIRouter(prefix="/v1/documents", tags=["documents"], route_class=GuardedRoute)

AsOfQuery = Annotated[
    str | None, Query(max_length=64, description="A snapshot's number or an ISO 8601 moment. Default: the live one.")
]


@router.get("", response_model=Page[Document], **guarded(Role.APP, "list_documents", "List documents", 404))
def list_documents(
    call: Caller,
    limit: Limit = 50,
    cursor: Cursor = None,
    source: Annotated[str | None, Query(max_length=4096, description="Only documents of this source.")] = None,
    status: Annotated[
        Literal["ok", "failed"] | None, Query(description="Only documents that became text, or not.")
    ] = None,
    as_of: AsOfQuery = None,
) -> JSONResponse:
    """Documents that the key may see, by id. All pages of a walk show the snapshot that its first page showed.

    Documents that failed have no text that says who may see them: they are shown only to keys that see everything.
    """
    snapshot, after = decode_cursor(
        "documents", cursor, call.services.state(call.services.snapshot(as_of)).snapshot, ""
    )
    found = call.services.workspace.catalog.documents(
        snapshot,
        call.principal,
        limit=limit + 1,
        after=after,
        status=status,
        source_name=source,
    )
    items = [document_json(document) for document in found]
    return JSONResponse(page(items, limit, lambda last: encode_cursor("documents", snapshot, last["id"])))


@router.post(
    "",
    response_model=Job,
    **guarded(Role.ADMIN, "upload_documents", "Upload documents", 409, 413, status=202),
)
def upload_documents(
    files: Annotated[list[UploadFile], File(description="One or more files; one of the same name is replaced.")],
    call: Caller,
    once: CarryOut,
    source: Annotated[str, Query(description="The uploaded source that they belong to.")] = DEFAULT_SOURCE,
) -> JSONResponse:
    """Keeps the files on the server's disk and accepts the job of indexing them."""
    uploads = as_uploads([(file.filename, file.file) for file in files])
    same = {"files": [[upload.name, upload.sha256] for upload in uploads]}
    return once(same, lambda: job_json(_keep(source, uploads, call)), 202)


@router.get(
    "/{document_id}", response_model=Document, **guarded(Role.APP, "get_document", "Read about a document", 404)
)
def get_document(document_id: str, call: Caller, as_of: AsOfQuery = None) -> JSONResponse:
    """A document at the revision that the snapshot sees."""
    return JSONResponse(document_json(_visible(document_id, call, as_of)))


@router.get(
    "/{document_id}/text", response_model=DocumentText, **guarded(Role.APP, "get_document_text", "Read a document", 404)
)
def get_document_text(
    document_id: str,
    call: Caller,
    revision: Annotated[
        int | None,
        Query(ge=1, le=LARGEST_NUMBER, description="A revision that was published. Default: the one that is visible."),
    ] = None,
    as_of: AsOfQuery = None,
) -> JSONResponse:
    """The canonical text of a revision: the text that the offsets of citations count in."""
    document = _visible(document_id, call, as_of)
    number = document.revision if revision is None else revision
    if number != document.revision and not _was_published(document_id, number, call):
        raise NotFound(f"no revision {number} of document {document_id}")
    text = call.services.workspace.catalog.text(document_id, number)
    shown: dict[str, Any] = {"document_id": document_id, "revision": number, "text": text, "text_sha256": sha256(text)}
    return JSONResponse(shown)


@router.delete(
    "/{document_id}",
    response_model=Job,
    **guarded(Role.ADMIN, "delete_document", "Remove an uploaded document", 404, 409, status=202),
)
def delete_document(document_id: str, call: Caller, once: CarryOut) -> JSONResponse:
    """Removes an uploaded file and accepts the job of withdrawing its document.

    Past answers keep their record of it.
    """
    return once({}, lambda: job_json(_remove(document_id, call)), 202)


def _visible(document_id: str, call: Call, as_of: str | None) -> DocumentInfo:
    snapshot = call.services.state(call.services.snapshot(as_of)).snapshot
    return call.services.workspace.catalog.document(document_id, snapshot, call.principal)


def _was_published(document_id: str, number: int, call: Call) -> bool:
    """Whether some snapshot shows this revision; what was staged and never published is nobody's to read."""
    workspace = call.services.workspace
    for snapshot in workspace.snapshots.items():
        try:
            seen = workspace.catalog.document(document_id, snapshot.number, call.principal)
        except NotFound:
            continue
        if seen.revision == number:
            return True
    return False


def _keep(source: str, uploads: list[Upload], call: Call) -> JobInfo:
    folder = upload_folder(call).of(source)
    known = next((one for one in all_sources(call) if one.name == source), None)
    if known and not upload_folder(call).holds(source, known.location):
        raise Conflict(f"the source {source} holds the files of {known.location}; choose another name")
    upload_folder(call).keep(source, uploads)
    call.services.workspace.catalog.source_id(source, str(folder))
    return call.services.runner.ingest(source, [str(folder)])


def _remove(document_id: str, call: Call) -> JobInfo:
    document = _visible(document_id, call, None)
    source = next(one for one in all_sources(call) if one.name == document.source)
    if not upload_folder(call).holds(source.name, source.location):
        raise Conflict(f"the document belongs to {source.location}; remove it there, then sync the source")
    folder = upload_folder(call).remove(source.name, document.path)
    return call.services.runner.ingest(source.name, [str(folder)])

"""The signed record: heads, proofs, entries, and the report over it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, PlainTextResponse

from api.auth import Caller, GuardedRoute, guarded
from api.paging import Cursor, Limit, decode_cursor, encode_cursor, page
from api.schemas import AnswerProof, AuditReport, Consistency, LedgerEntry, LedgerKey, Page
from api.views import leaf_json
from kernel.records import Role
from pipeline.oversight.pack import scope_of

router = APIRouter(prefix="/v1", tags=["ledger"], route_class=GuardedRoute)

Name = Annotated[str | None, Query(max_length=64)]
Moment = Annotated[str | None, Query(max_length=64, description="ISO 8601 time; UTC where it names no zone.")]
_NOTE: dict[str, Any] = guarded(Role.APP, "get_checkpoint", "Read a signed head of the ledger", 404)
_NOTE["responses"] |= {
    200: {"description": "A C2SP checkpoint", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get("/ledger/checkpoint", response_class=PlainTextResponse, **_NOTE)
def get_checkpoint(
    call: Caller,
    size: Annotated[int | None, Query(ge=1, lt=2**62, description="Entries of an earlier tree. Default: all.")] = None,
) -> PlainTextResponse:
    """The newest signed head, or that of an earlier size: whose tree, how many entries, the root over them."""
    ledger = call.services.workspace.ledger
    return PlainTextResponse(ledger.checkpoint(size), headers={"Cache-Control": "no-store"})


@router.get("/ledger/key", response_model=LedgerKey, **guarded(Role.APP, "get_ledger_key", "Read the public key"))
def get_key(call: Caller) -> JSONResponse:
    """The public key that heads are signed with. Take it once, by a way that you trust, and keep it."""
    key = call.services.workspace.ledger.key
    return JSONResponse({"key": str(key), "name": key.name})


@router.get(
    "/ledger/consistency",
    response_model=Consistency,
    **guarded(Role.APP, "get_consistency", "Prove that the ledger only grew"),
)
def get_consistency(
    call: Caller,
    older: Annotated[int, Query(alias="from", ge=0, lt=2**62, description="Entries of the earlier tree.")],
    newer: Annotated[int | None, Query(alias="to", ge=0, lt=2**62, description="Of the later. Default: all.")] = None,
) -> JSONResponse:
    """The hashes which show that the later tree begins with the earlier one."""
    ledger = call.services.workspace.ledger
    later = ledger.size() if newer is None else newer
    steps = [step.hex() for step in ledger.consistency(older, later)]
    return JSONResponse({"from": older, "to": later, "consistency": steps})


@router.get(
    "/ledger/entries",
    response_model=Page[LedgerEntry],
    **guarded(Role.REVIEWER, "list_ledger_entries", "List entries of the ledger"),
)
def list_entries(
    call: Caller, limit: Limit = 50, cursor: Cursor = None, kind: Name = None, subject: Name = None
) -> JSONResponse:
    """Entries, oldest first, without their payloads; `kind` and `subject` narrow it."""
    (start,) = decode_cursor("entries", cursor, 0)
    found = call.services.workspace.ledger.leaves(start, limit + 1, kind, subject)
    items = [leaf_json(leaf) for leaf in found]
    return JSONResponse(page(items, limit, lambda last: encode_cursor("entries", last["number"] + 1)))


@router.get(
    "/answers/{answer_id}/proof",
    response_model=AnswerProof,
    **guarded(Role.APP, "get_answer_proof", "Prove that an answer is in the ledger", 404),
)
def get_answer_proof(answer_id: str, call: Caller) -> JSONResponse:
    """The answer's entry, the hashes that lead from it to a signed head, and the record that it commits to."""
    return JSONResponse(call.services.workspace.prover.proof(answer_id, call.principal))


@router.get(
    "/audit/report",
    response_model=AuditReport,
    **guarded(Role.REVIEWER, "get_audit_report", "Report on the record", 404),
)
def get_report(call: Caller, since: Moment = None, until: Moment = None, source: Name = None) -> JSONResponse:
    """Completeness, adherence to policy, reviews, holds and erasures, of a period or a source, and time to audit."""
    scope = scope_of(since, until, source)
    reporter = call.services.workspace.reporter
    return JSONResponse(reporter.report(scope.since, scope.until, scope.source, timed=True))

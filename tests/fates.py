"""What became of a document for a question, for tests that look at that."""

from __future__ import annotations

import json
from typing import Any

from api.assembly import Workspace
from api.schemas import WhyNot
from api.views import why_not_json
from kernel.records import LOCAL_OWNER, DocumentInfo, Principal
from pipeline.answering import DocumentFate
from retrieval.ranker import shipped_ranker
from retrieval.reasons import reasons_of
from retrieval.search import Searcher

QUESTION = "Who leads the office that approves parental leave?"
UNKNOWN = "doc_unknown"


def narrow(made: Workspace, each: int) -> Searcher:
    """A searcher whose signals find only so few passages each."""
    return Searcher(made.library, made.corpus, made.embedder, shipped_ranker(), each)


def fate(
    made: Workspace, one: DocumentInfo, each: int, top_k: int, question: str = QUESTION, who: Principal = LOCAL_OWNER
) -> dict[str, Any]:
    """What became of a document, as JSON that fits its schema."""
    found = narrow(made, each).why_not(question, made.snapshots.live(), who, top_k, one.id)
    notices = found.passage.notices if found.passage else ()
    shown = why_not_json(DocumentFate(one, found, reasons_of(found.why, notices, one.reason)))
    WhyNot.model_validate(json.loads(json.dumps(shown)), strict=True)
    return shown

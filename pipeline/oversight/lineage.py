"""The lineage of an answer, from the sources through documents, chunks, entities, prompt and model to its text."""

from __future__ import annotations

from typing import Any

from graph.provenance import serialise, to_dot
from kernel.errors import InvalidInput
from kernel.records import Principal
from kernel.storage.answers import Answers
from kernel.storage.corpus import Corpus
from pipeline.oversight.release import Releases

FORMS = ("json", "turtle", "jsonld", "dot")


class LineageReader:
    """Reads lineage from the record of an answer and the rows that it names."""

    def __init__(self, answers: Answers, corpus: Corpus, releases: Releases) -> None:
        self._answers = answers
        self._releases = releases
        self._corpus = corpus

    def lineage(self, answer_id: str, principal: Principal) -> dict[str, Any]:
        """The whole chain as JSON values. Raises NotFound where `principal` may not read the answer."""
        record = self._releases.record(answer_id, principal)
        body, run = record.body, record.run
        ids = [item["chunk_id"] for item in run["context"]]
        chain = self._answers.chain(ids)
        names = self._corpus.names_in([chain[chunk_id]["row"] for chunk_id in ids])
        quotes: dict[str, list[dict[str, Any]]] = {}
        for citation in body["citations"]:
            kept = ("id", "start", "end", "quote", "quote_sha256", "page")
            quotes.setdefault(citation["chunk_id"], []).append({name: citation[name] for name in kept})
        return {
            "answer": {name: body[name] for name in ("id", "question", "status", "answer", "created_at")}
            | {"leaf_sha256": record.leaf_sha256, "index": body["ledger"]["index"]},
            "principal": run["principal"],
            "snapshot": body["retrieval"]["snapshot"],
            "prompt": body["prompt"],
            "model": body["model"],
            "method": run["method"],
            "sentences": body["sentences"],
            "facts": run["facts"],
            "context": [
                self._item(item, chain[item["chunk_id"]], quotes.get(item["chunk_id"], []), names)
                for item in run["context"]
            ],
        }

    def text(self, answer_id: str, principal: Principal, form: str) -> str:
        """The lineage as `turtle`, `jsonld` (both PROV-O) or `dot`. Raises InvalidInput for another form."""
        lineage = self.lineage(answer_id, principal)
        if form == "dot":
            return to_dot(lineage)
        if form not in ("turtle", "jsonld"):
            raise InvalidInput(f"no lineage format {form!r}; there are {', '.join(FORMS)}")
        return serialise(lineage, "json-ld" if form == "jsonld" else form)

    @staticmethod
    def _item(
        item: dict[str, Any], row: Any, quotes: list[dict[str, Any]], names: dict[int, list[str]]
    ) -> dict[str, Any]:
        return {
            "source": row["source"],
            "location": row["location"],
            "document_id": row["document"],
            "external_id": row["external_id"],
            "revision": row["number"],
            "title": row["title"],
            "uri": row["uri"],
            "content_sha256": row["content_sha256"],
            "text_sha256": row["text_sha256"],
            "created_at": row["created_at"],
            "chunk_id": item["chunk_id"],
            "start": item["start"],
            "end": item["end"],
            "score": item["score"],
            "path": item["path"],
            "entities": names.get(row["row"], []),
            "cited": bool(quotes),
            "quotes": quotes,
        }

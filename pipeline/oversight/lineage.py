"""The lineage of an answer, from the sources through documents, chunks, entities, prompt and model to its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graph.provenance import serialise, to_dot
from kernel.errors import InvalidInput
from kernel.records import Principal
from kernel.storage.answers import AnswerRecord, Answers
from kernel.storage.corpus import Corpus
from kernel.storage.feedback import Feedback
from kernel.storage.lineage_queries import LineageQueries
from pipeline.oversight.release import Releases

FORMS = ("json", "turtle", "jsonld", "dot")
Json = dict[str, Any]


class LineageReader:
    """Reads lineage from the record of an answer and the rows that it names."""

    def __init__(
        self, answers: Answers, corpus: Corpus, queries: LineageQueries, releases: Releases, feedback: Feedback
    ) -> None:
        self._answers = answers
        self._releases = releases
        self._corpus = corpus
        self._queries = queries
        self._feedback = feedback

    def lineage(self, answer_id: str, principal: Principal) -> Json:
        """The whole chain as JSON values. Raises NotFound where `principal` may not read the answer.

        Of what was erased, answer or passages, it holds what is left: hashes, numbers and times that name nobody.
        """
        record = self._releases.record(answer_id, principal)
        body = record.body
        return {
            "answer": {name: body[name] for name in ("id", "question", "status", "answer", "created_at")}
            | {"leaf_sha256": record.leaf_sha256, "index": body["ledger"]["index"]},
            "principal": record.run.get("principal", {"id": record.principal, "role": "", "groups": []}),
            "snapshot": body["retrieval"]["snapshot"],
            "prompt": self._prompt(record),
            "policy": body.get("policy"),
            "model": body["model"],
            "method": record.run.get("method", {}),
            "sentences": body["sentences"],
            "facts": record.run.get("facts", []),
            "context": self._context(record),
            "reask_of": record.run.get("reask_of"),
            "reviews": [] if not principal.role.oversees else self._queries.reviews_of(record.number),
            "feedback": [] if not principal.role.oversees else self._said_of(record.number),
            "erased": record.erased,
        }

    def text(self, answer_id: str, principal: Principal, form: str) -> str:
        """The lineage as `turtle`, `jsonld` (both PROV-O) or `dot`. Raises InvalidInput for another form."""
        return self.texts([answer_id], principal, form)

    def texts(self, answer_ids: Sequence[str], principal: Principal, form: str) -> str:
        """The lineage of several answers as one graph, in `turtle` or `jsonld`; of one also as `dot`."""
        if form not in FORMS[1:] or (form == "dot" and len(answer_ids) != 1):
            raise InvalidInput(f"no lineage format {form!r}; there are {', '.join(FORMS)}")
        lineages = [self.lineage(answer_id, principal) for answer_id in answer_ids]
        return to_dot(lineages[0]) if form == "dot" else serialise(lineages, "json-ld" if form == "jsonld" else form)

    def _said_of(self, number: int) -> list[Json]:
        """The last word of each person on an answer: the score and its entry, without what they wrote."""
        return [
            {"score": one.score, "by": one.actor, "index": one.leaf, "created_at": one.created_at}
            for one in self._feedback.of([number]).get(number, ())
        ]

    def _prompt(self, record: AnswerRecord) -> Json:
        prompt = dict(record.body["prompt"])
        if record.erased:
            name, _, version = self._queries.facts(record.number).prompt.rpartition("@")
            prompt |= {"name": name, "version": int(version or 0)}
        return prompt

    def _context(self, record: AnswerRecord) -> list[Json]:
        rows = self._queries.context_of(record.number)
        names = self._corpus.names_in([row["row"] for row in rows if row["row"] is not None])
        quotes: dict[str, list[Json]] = {}
        for citation in record.body["citations"]:
            kept = ("id", "start", "end", "quote", "quote_sha256", "page")
            quotes.setdefault(citation["chunk_id"], []).append({name: citation[name] for name in kept})
        said = record.run.get("context") or [_left_of(row) for row in rows]
        return [
            _item(item, row, quotes.get(item["chunk_id"], []), names.get(row["row"], []), erased=record.erased)
            for item, row in zip(said, rows, strict=False)
        ]


def _left_of(row: Mapping[str, Any]) -> Json:
    """A passage of an answer whose record was erased."""
    return {"chunk_id": row["chunk_id"], "start": row["start"], "end": row["end"], "score": None, "path": []}


def _item(
    item: Mapping[str, Any], row: Mapping[str, Any], quotes: Sequence[Json], names: Sequence[str], *, erased: bool
) -> Json:
    """A passage of the context; where the answer was erased, only its row tells whether it was cited."""
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
        "entities": list(names),
        "cited": bool(row["cited"]) if erased else bool(quotes),
        "quotes": list(quotes),
        "erased": row["row"] is None,
    }

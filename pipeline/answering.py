"""A question's journey: guard -> retrieve -> render prompt -> generate -> ground -> decide -> record.

Plain code and one transaction: nobody sees an answer before its record is durable.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from kernel.errors import GenerationFailed, InvalidInput
from kernel.ids import random_id, sha256
from kernel.ports import GenerationRequest, Generator
from kernel.records import (
    AnswerSentence,
    AnswerStatus,
    Decomposed,
    DocumentInfo,
    Evidence,
    Generation,
    Grounded,
    LiveState,
    Message,
    Passage,
    PromptVersion,
    Question,
    Reranked,
)
from kernel.storage.answers import Answers
from kernel.storage.snapshots import Snapshots
from pipeline.grounding import Checks, ground
from pipeline.prompts.templates import find_prompt, render
from retrieval.context import assemble
from retrieval.reasons import reasons_of
from retrieval.search import Found, Searcher, WhyNotFound


@dataclass(frozen=True, slots=True)
class AnsweringSettings:
    """What every answer is made with; recorded with each."""

    top_k: int
    context_tokens: int
    max_question_chars: int


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Passages found for a question, the snapshot that they are from, and how long each stage took."""

    passages: tuple[Passage, ...]
    snapshot: int
    candidates: int
    entities: tuple[str, ...]
    timings_ms: Mapping[str, float]
    reranker: Reranked | None = None
    decomposer: Decomposed | None = None


@dataclass(frozen=True, slots=True)
class DocumentFate:
    """What became of a document when a question was searched for, with the reasons in sentences."""

    document: DocumentInfo
    found: WhyNotFound
    reasons: tuple[str, ...]


class Answering:
    """Answers questions and records each answer before it is returned."""

    def __init__(
        self,
        snapshots: Snapshots,
        searcher: Searcher,
        generator: Generator,
        answers: Answers,
        settings: AnsweringSettings,
        checks: Checks | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._searcher = searcher
        self._generator = generator
        self._answers = answers
        self._settings = settings
        self._checks = checks or Checks()

    def retrieve(self, question: Question, *, explain: bool = False) -> Retrieved:
        """The passages alone, without an answer. Raises InvalidInput, or NotFound for an unknown snapshot."""
        begin = time.perf_counter()
        self._guard(question)
        state = self._state(question)
        top_k = question.top_k or self._settings.top_k
        found = self._searcher.search(question.text, state, question.principal, top_k, explain=explain)
        timings = found.timings_ms | {"total": _since(begin)}
        return Retrieved(
            found.passages,
            state.snapshot,
            len(found.candidates),
            found.entities,
            timings,
            found.reranker,
            found.decomposer,
        )

    def why_not(self, question: Question, document: DocumentInfo) -> DocumentFate:
        """Why a document comes as far as it does when `retrieve` is asked the same. The caller has checked that the
        question's principal may see the document in the question's snapshot. Raises as `retrieve` does.
        """
        self._guard(question)
        top_k = question.top_k or self._settings.top_k
        found = self._searcher.why_not(question.text, self._state(question), question.principal, top_k, document.id)
        notices = found.passage.notices if found.passage else ()
        return DocumentFate(document, found, reasons_of(found.why, notices, document.reason))

    def ask(self, question: Question) -> dict[str, Any]:
        """The answer, as JSON values, recorded. Raises InvalidInput or NotFound; a model's failure is an answer too,
        with status `failed` and its reason, so that it leaves a record.
        """
        begin = time.perf_counter()
        self._guard(question)
        prompt = find_prompt(question.prompt)
        state = self._state(question)
        top_k = question.top_k or self._settings.top_k
        found = self._searcher.search(question.text, state, question.principal, top_k)
        evidence = assemble(found, state.snapshot, self._settings.context_tokens)
        retrieved = time.perf_counter()
        messages = render(prompt, question.text, evidence)
        generation, grounded = self._generate(question, messages, evidence)
        generated = time.perf_counter()
        grounded = grounded or ground(generation, evidence, self._checks)
        timings = {
            "retrieve": round((retrieved - begin) * 1000, 3),
            "generate": round((generated - retrieved) * 1000, 3),
            "ground": _since(generated),
        }
        timings |= {stage: found.timings_ms[stage] for stage in ("decompose", "rerank") if stage in found.timings_ms}
        body = self._body(question, state, prompt, evidence, generation, grounded, timings)
        body["retrieval"] |= helpers_json(found)
        run = self._run(question, evidence, found, messages, generation)
        return self._record(body, run, question, prompt, evidence, begin)

    def _guard(self, question: Question) -> None:
        text = question.text.strip()
        if not text:
            raise InvalidInput("the question is empty")
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise InvalidInput("the question holds characters that are not text")
        if len(text) > self._settings.max_question_chars:
            raise InvalidInput(f"the question is longer than {self._settings.max_question_chars} characters")
        if question.top_k is not None and not 1 <= question.top_k <= 100:
            raise InvalidInput("top_k must be between 1 and 100")

    def _state(self, question: Question) -> LiveState:
        state = self._snapshots.live()
        if question.as_of is None:
            return state
        named = self._snapshots.resolve(str(question.as_of))
        return replace(state, snapshot=named, last_chunk=self._snapshots.last_chunk(named))

    def _generate(
        self, question: Question, messages: tuple[Message, ...], evidence: Evidence
    ) -> tuple[Generation, Grounded | None]:
        ids = tuple(passage.chunk_id for passage in evidence.passages)
        if not ids:
            reason = "There is no document that you may see in this snapshot."
            return Generation("", reason), None
        try:
            return self._generator.generate(GenerationRequest(question.text, messages, evidence, ids)), None
        except GenerationFailed as error:
            return Generation("", str(error)), Grounded(AnswerStatus.FAILED, str(error), "", 0.0)

    def _body(
        self,
        question: Question,
        state: LiveState,
        prompt: PromptVersion,
        evidence: Evidence,
        generation: Generation,
        grounded: Grounded,
        timings: Mapping[str, float],
    ) -> dict[str, Any]:
        """The answer as its caller sees it, but for what recording adds."""
        usage = {
            "prompt_tokens": generation.prompt_tokens,
            "completion_tokens": generation.completion_tokens,
            "cost": generation.cost,
        }
        return {
            "id": random_id("ans"),
            "status": grounded.status.value,
            "reason": grounded.reason,
            "question": question.text,
            "answer": grounded.answer,
            "confidence": grounded.confidence,
            "sentences": [sentence_json(sentence) for sentence in grounded.sentences],
            "citations": [citation_json(citation) for citation in grounded.citations],
            "conflicts": [asdict(conflict) for conflict in grounded.conflicts],
            "notices": [asdict(notice) for notice in grounded.notices],
            "retrieval": {
                "snapshot": state.snapshot,
                "as_of": question.as_of,
                "candidates": len(evidence.candidates),
                "used": len(evidence.passages),
            },
            "prompt": {"name": prompt.name, "version": prompt.version, "sha256": prompt.sha256, "label": prompt.label},
            "model": asdict(self._generator.info),
            "usage": usage,
            "timings_ms": dict(timings),
            "created_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        }

    def _run(
        self,
        question: Question,
        evidence: Evidence,
        found: Found,
        messages: tuple[Message, ...],
        generation: Generation,
    ) -> dict[str, Any]:
        """What the answer stood on: enough to rebuild it, and to show whether it can be."""
        principal = question.principal
        groups = None if principal.groups is None else sorted(principal.groups)
        return {
            "principal": {"id": principal.id, "role": principal.role.value, "groups": groups},
            "settings": asdict(self._settings) | {"top_k": question.top_k or self._settings.top_k},
            "method": self._searcher.method,
            "checks": self._checks.method,
            **({"reranker": asdict(found.reranker)} if found.reranker else {}),
            **({"decomposer": asdict(found.decomposer)} if found.decomposer else {}),
            "entities": list(found.entities),
            "candidates": [list(pair) for pair in evidence.candidates],
            "context": [
                {
                    "chunk_id": passage.chunk_id,
                    "document_id": passage.document_id,
                    "revision": passage.revision,
                    "start": passage.start,
                    "end": passage.end,
                    "score": passage.score,
                    "text_sha256": sha256(passage.text),
                    "path": [step_json(step) for step in passage.path],
                }
                for passage in evidence.passages
            ],
            "facts": [asdict(fact) for fact in evidence.facts],
            "messages": [asdict(message) for message in messages],
            "reply": generation.text,
        }

    def _record(
        self,
        body: dict[str, Any],
        run: dict[str, Any],
        question: Question,
        prompt: PromptVersion,
        evidence: Evidence,
        begin: float,
    ) -> dict[str, Any]:
        cited = {citation["chunk_id"] for citation in body["citations"]}
        recording = time.perf_counter()
        index, leaf = self._answers.record(
            body,
            run,
            principal=question.principal,
            prompt=prompt,
            evidence=[(passage.chunk_id, passage.chunk_id in cited) for passage in evidence.passages],
        )
        timings = body["timings_ms"] | {"record": _since(recording), "total": _since(begin)}
        return body | {"timings_ms": timings, "ledger": {"index": index, "leaf_sha256": leaf}}


def helpers_json(found: Found | Retrieved) -> dict[str, Any]:
    """What the optional steps of a search did, of those that are on: a record holds more of it (`run`)."""
    shown: dict[str, Any] = {}
    if found.reranker:
        shown["reranker"] = {"model": found.reranker.model, "state": found.reranker.state}
    if found.decomposer:
        one = found.decomposer
        shown["decomposer"] = {"model": one.model, "state": one.state, "parts": list(one.parts)}
    return shown


def sentence_json(sentence: AnswerSentence) -> dict[str, Any]:
    """A sentence as JSON: its support names a judge only where one was asked."""
    support = {name: value for name, value in asdict(sentence.support).items() if value is not None}
    return asdict(sentence) | {"support": support}


def citation_json(citation: Any) -> dict[str, Any]:
    """A citation as JSON: steps of its path carry only what they have."""
    return asdict(citation) | {"path": [step_json(step) for step in citation.path]}


def step_json(step: Any) -> dict[str, Any]:
    """A step of a path: an entity, or a relation with its chunk."""
    return {name: value for name, value in asdict(step).items() if value is not None}


def _since(moment: float) -> float:
    return round((time.perf_counter() - moment) * 1000, 3)

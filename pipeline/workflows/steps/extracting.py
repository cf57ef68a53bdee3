"""`extract`: typed fields of one document or text, each from a sentence of it, cited; what is not there is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from kernel.errors import InvalidInput, NotFound
from kernel.ports import GenerationRequest
from kernel.records import DocumentInfo, Question
from kernel.storage.catalog import Catalog
from kernel.storage.snapshots import Snapshots
from pipeline.answering import Answering, citation_json, sentence_json
from pipeline.extractive import ExtractiveGenerator
from pipeline.grounding import Checks, ground
from pipeline.oversight.release import Releases
from pipeline.prompts.cases import PinnedPassage
from pipeline.prompts.library import DEFAULT, PromptLibrary
from pipeline.prompts.pinned import PinnedEvidence
from pipeline.workflows.spec import Id, Stakes, Step, Strict, Words
from pipeline.workflows.steps.asking import (
    COUNT,
    MAYBE,
    NUMBER,
    TEXT,
    Text,
    TopK,
    refuse_ungrounded,
    released,
    used_for,
)
from pipeline.workflows.steps.base import Call, Done, Plain, StepFailed, Waits
from pipeline.workflows.steps.pinned import Snapshot, as_of, chosen, same_model, state_at, whole
from pipeline.workflows.values import ValueType, value_in

SUPPORTED = "supported"
_SORTS: Mapping[str, Mapping[str, Any]] = {
    "text": {"type": "string"},
    "number": {"type": "number"},
    "date": {"type": "string"},
    "boolean": {"type": "boolean"},
    "duration": whole({"value": {"type": "number"}, "unit": TEXT, "days": {"type": "number"}}),
    "money": whole({"amount": {"type": "number"}, "currency": TEXT}),
}


class FieldWanted(Strict):
    """A field: the question whose answer it is, of what type its value is, and how sure the answer must be."""

    question: Text
    type: ValueType = "text"
    required: bool = False
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.0


class ExtractWith(Strict):
    """Fields, and the one document (its id, own id, path or title) or text that they are taken from."""

    fields: Annotated[dict[Id, FieldWanted], Field(min_length=1, max_length=40)]
    document: Words | None = None
    text: Annotated[str, Field(min_length=1, max_length=200_000)] | None = None
    title: Words | None = None
    prompt: Annotated[str, Field(max_length=100)] | None = None
    top_k: TopK | None = None
    snapshot: Snapshot = "pinned"
    stakes: Stakes | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.document is None) == (self.text is None):
            raise ValueError("fields are taken from a `document` or from a `text`: give one of them")
        return self


@dataclass(frozen=True, slots=True)
class ExtractParts:
    """What fields are taken with. `evidence` makes passages of a text that is in no source."""

    answering: Callable[[], Answering]
    releases: Releases
    catalog: Catalog
    snapshots: Snapshots
    library: PromptLibrary
    evidence: Callable[[], PinnedEvidence]
    checks: Callable[[], Checks]


class Extract(Plain):
    """`extract`: each field of a document is an answer that is recorded, from that document alone. A required field
    that is not found fails the step. Fields of a text are found the same way, without a record, by sentences alone.
    """

    name: ClassVar[str] = "extract"
    With: ClassVar[type[Strict]] = ExtractWith

    def __init__(self, parts: ExtractParts) -> None:
        self._parts = parts

    def prompts(self, step: Step) -> Sequence[str]:
        """The prompt that it names, or the one that questions get."""
        return (str(step.with_.get("prompt") or DEFAULT),)

    def output(self, step: Step) -> Mapping[str, Any]:
        """Each field with its value, the sentence that gives it, and the id of its answer; and what is missing."""
        refuse_ungrounded(self._parts.library, step)
        fields = step.with_.get("fields")
        known = fields if isinstance(fields, Mapping) else {}
        shown = {name: _schema(one) for name, one in known.items() if isinstance(one, Mapping)}
        about = {"type": ["object", "null"], "properties": {"id": TEXT, "title": TEXT, "revision": COUNT}}
        more = {"missing": {"type": "array", "items": TEXT}, "document": about}
        return whole({"fields": whole(shown) if shown else {"type": "object"}} | more)

    def run(self, given: ExtractWith, call: Call) -> Done:
        """Raises StepFailed for a document that is not there, and where a required field is not found."""
        document = self._document(given, call) if given.document is not None else None
        answers = []
        fields: dict[str, Any] = {}
        for name, wanted in given.fields.items():
            answer = self._asked(given, wanted, name, document, call) if document else self._read(given, wanted)
            answers += [answer] if document else []
            fields[name] = _field(wanted, answer, document)
        missing = [name for name, one in fields.items() if not one["found"]]
        about = {"id": document.id, "title": document.title, "revision": document.revision} if document else None
        output = {"fields": fields, "missing": missing, "document": about}
        lacking = [name for name in missing if given.fields[name].required]
        if lacking:
            raise StepFailed(f"not found: {', '.join(lacking)}", slug="missing", output=output)
        return Done(output, used_for(*answers))

    def _document(self, given: ExtractWith, call: Call) -> DocumentInfo:
        state, name = state_at(self._parts.snapshots, call, given.snapshot), str(given.document)
        if name.startswith("doc_"):
            return self._parts.catalog.document(name, state.snapshot, call.principal)
        found = self._parts.catalog.named(name, state.snapshot, call.principal, 2)
        if not found:
            raise NotFound(f"no document {name}")
        if len(found) > 1:
            raise InvalidInput(f"more than one document is called {name}: name it by its id")
        return found[0]

    def _asked(
        self, given: ExtractWith, wanted: FieldWanted, name: str, document: DocumentInfo, call: Call
    ) -> Mapping[str, Any]:
        answering = self._parts.answering()
        same_model(call, answering.model)
        question = Question(
            wanted.question,
            call.principal,
            given.top_k,
            as_of(call, given.snapshot),
            given.prompt,
            stakes=given.stakes or call.stakes,
            chosen=chosen(call, given.prompt),
            within=frozenset([document.id]),
            key=f"{call.key}:{name}",
        )
        made = released(self._parts.releases.made(answering.ask(question), call.principal))
        if isinstance(made, Waits):
            raise StepFailed(f"the policy holds the answer to {name} back for a person: ask it in a step of its own")
        answer: Mapping[str, Any] = made.output
        return answer

    def _read(self, given: ExtractWith, wanted: FieldWanted) -> Mapping[str, Any]:
        """The sentences of a text that answer, as an answer would have them."""
        pinned = PinnedPassage(title=given.title or "", text=str(given.text))
        evidence = self._parts.evidence().of_passages(wanted.question, [pinned])
        ids = tuple(one.chunk_id for one in evidence.passages)
        generation = ExtractiveGenerator().generate(GenerationRequest(wanted.question, (), evidence, ids))
        checks = replace(self._parts.checks(), judge=None)
        grounded = ground(generation, evidence, checks, wanted.question)
        sentences = [sentence_json(one) for one in grounded.sentences]
        citations = [citation_json(one) | {"document_id": None, "chunk_id": None} for one in grounded.citations]
        return {"id": None, "sentences": sentences, "citations": citations, "confidence": grounded.confidence}


def _field(wanted: FieldWanted, answer: Mapping[str, Any], document: DocumentInfo | None) -> dict[str, Any]:
    """What an answer gives to a field, if it is sure enough: only from sentences that their quotes support, and only
    from quotes of the document.
    """
    good = {name for one in answer["sentences"] if one["support"]["label"] == SUPPORTED for name in one["citations"]}
    of = document.id if document else None
    citations = [one for one in answer["citations"] if one["id"] in good and one["document_id"] == of]
    sure = answer["confidence"] >= wanted.confidence
    found = value_in([one["quote"] for one in citations], wanted.type, wanted.question) if sure else None
    shown = {
        "value": None,
        "found": False,
        "confidence": answer["confidence"],
        "citation": None,
        "answer": answer["id"],
    }
    if found is None:
        return shown
    names = ("document_id", "chunk_id", "title", "quote", "start", "end", "page")
    return shown | {"value": found[0], "found": True, "citation": {name: citations[found[1]][name] for name in names}}


def _schema(wanted: Mapping[str, Any]) -> dict[str, Any]:
    sort = dict(_SORTS.get(wanted.get("type", "text"), {}))
    value = sort if wanted.get("required") else {"anyOf": [sort, {"type": "null"}]}
    cited = {"document_id": MAYBE, "chunk_id": MAYBE, "title": TEXT, "quote": TEXT, "start": COUNT, "end": COUNT}
    citation = {"anyOf": [whole(cited), {"type": "null"}]}
    return whole(
        {"value": value, "found": {"type": "boolean"}, "confidence": NUMBER, "citation": citation, "answer": MAYBE}
    )

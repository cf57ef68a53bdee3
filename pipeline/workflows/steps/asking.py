"""Steps that read documents for a question: `retrieve` gives passages, `ask` a grounded and recorded answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from kernel.errors import InvalidInput
from kernel.records import AnswerStatus, Passage, Question
from pipeline.answering import Answering
from pipeline.oversight.release import Releases
from pipeline.prompts.anatomy import read_prompt
from pipeline.prompts.library import DEFAULT, PromptLibrary
from pipeline.workflows.spec import Stakes, Step, Strict
from pipeline.workflows.steps.base import Call, Done, Plain, StepFailed, Used, Waits
from pipeline.workflows.steps.pinned import Snapshot, as_of, chosen, same_model, whole

LOOK_AGAIN = timedelta(minutes=5)
"""An answer that waits for its reviewer is looked at again so often."""
TopK = Annotated[int, Field(ge=1, le=100)]
Text = Annotated[str, Field(min_length=1, max_length=20_000)]
TEXT: Mapping[str, Any] = {"type": "string"}
MAYBE: Mapping[str, Any] = {"type": ["string", "null"]}
NUMBER: Mapping[str, Any] = {"type": "number"}
COUNT: Mapping[str, Any] = {"type": "integer"}
CITATION = whole(
    {"id": TEXT, "document_id": TEXT, "external_id": MAYBE, "revision": COUNT, "title": TEXT, "uri": TEXT}
    | {"page": {"type": ["integer", "null"]}, "chunk_id": TEXT, "start": COUNT, "end": COUNT, "quote": TEXT}
    | {"quote_sha256": TEXT}
)
SENTENCE = whole(
    {"start": COUNT, "end": COUNT, "text": TEXT, "citations": {"type": "array", "items": TEXT}}
    | {"support": whole({"label": {"enum": ["supported", "contradicted", "not_found"]}, "score": NUMBER})}
)
ANSWER = whole(
    {
        "id": TEXT,
        "status": {"enum": [one.value for one in AnswerStatus]},
        "reason": MAYBE,
        "question": TEXT,
        "answer": TEXT,
        "confidence": NUMBER,
        "sentences": {"type": "array", "items": SENTENCE},
        "citations": {"type": "array", "items": CITATION},
        "conflicts": {"type": "array"},
        "notices": {"type": "array"},
        "retrieval": {"type": "object"},
        "policy": {"type": "object"},
        "prompt": {"type": "object"},
        "model": {"type": "object"},
        "usage": {"type": "object"},
        "created_at": TEXT,
    }
)


class RetrieveWith(Strict):
    """What to look for."""

    question: Text
    top_k: TopK | None = None
    snapshot: Snapshot = "pinned"


class Retrieve(Plain):
    """`retrieve`: passages for a question, best first, that the run's principal may see."""

    name: ClassVar[str] = "retrieve"
    With: ClassVar[type[Strict]] = RetrieveWith

    def __init__(self, answering: Callable[[], Answering]) -> None:
        self._answering = answering

    def output(self, _step: Step) -> Mapping[str, Any]:
        """The passages, and the snapshot that they are from."""
        result = {"chunk_id": TEXT, "document_id": TEXT, "external_id": MAYBE, "title": TEXT, "text": TEXT}
        result |= {"start": COUNT, "end": COUNT, "page": {"type": ["integer", "null"]}, "score": NUMBER}
        return whole({"results": {"type": "array", "items": whole(result)}, "snapshot": COUNT})

    def run(self, given: RetrieveWith, call: Call) -> Done:
        """Raises InvalidInput for a question that cannot be asked."""
        question = Question(given.question, call.principal, given.top_k, as_of(call, given.snapshot))
        found = self._answering().retrieve(question)
        return Done({"results": [result(one) for one in found.passages], "snapshot": found.snapshot})


class AskWith(Strict):
    """A question, and how it is answered. `inputs` are those that the prompt declares."""

    question: Text
    prompt: Annotated[str, Field(max_length=100)] | None = None
    top_k: TopK | None = None
    inputs: dict[str, Any] = Field(default_factory=dict)
    snapshot: Snapshot = "pinned"
    stakes: Stakes | None = None


class Ask(Plain):
    """`ask`: a grounded answer, recorded as every answer is. An abstention is an answer: checks judge it. One that a
    policy holds back for a reviewer is waited for.
    """

    name: ClassVar[str] = "ask"
    With: ClassVar[type[Strict]] = AskWith

    def __init__(self, answering: Callable[[], Answering], releases: Releases, library: PromptLibrary) -> None:
        self._answering = answering
        self._releases = releases
        self._library = library

    def prompts(self, step: Step) -> Sequence[str]:
        """The prompt that it names, or the one that questions get."""
        return (str(step.with_.get("prompt") or DEFAULT),)

    def output(self, step: Step) -> Mapping[str, Any]:
        """The whole answer. Raises NotFound for a prompt that is not there, InvalidInput for one that is for no
        questions.
        """
        refuse_ungrounded(self._library, step)
        return ANSWER

    def run(self, given: AskWith, call: Call) -> Done | Waits:
        """Raises StepFailed, which may pass, where the model failed."""
        answering = self._answering()
        same_model(call, answering.model)
        question = Question(
            given.question,
            call.principal,
            given.top_k,
            as_of(call, given.snapshot),
            given.prompt,
            stakes=given.stakes or call.stakes,
            inputs=given.inputs,
            chosen=chosen(call, given.prompt),
            key=call.key,
        )
        return released(self._releases.made(answering.ask(question), call.principal))

    def resume(self, _given: AskWith, call: Call, waited: Waits) -> Done | Waits:
        """The answer as its reviewer released it; none where it was rejected, which is an abstention."""
        return released(dict(self._releases.record(waited.ref, call.principal).body))


def refuse_ungrounded(library: PromptLibrary, step: Step) -> None:
    """Raises NotFound where the prompt that a step names is not there, InvalidInput where it is for no questions."""
    named = step.with_.get("prompt")
    if isinstance(named, str) and not read_prompt(library.find(named).template).grounded:
        raise InvalidInput(f"prompt {named} answers from its inputs alone: use a step of kind prompt")


def released(answer: Mapping[str, Any]) -> Done | Waits:
    """What an answer is to the step that asked for it. Raises StepFailed where its model failed."""
    used = used_for(answer)
    if answer["status"] == AnswerStatus.PENDING_REVIEW.value:
        until = datetime.now(UTC) + LOOK_AGAIN
        return Waits("person", answer["id"], until.isoformat(timespec="microseconds"), used)
    if answer["status"] == AnswerStatus.FAILED.value:
        raise StepFailed(str(answer["reason"]), slug="generation-failed", retryable=True, output={"id": answer["id"]})
    return Done(dict(answer), used)


def used_for(*answers: Mapping[str, Any]) -> Used:
    """What answers took."""
    usage = [one.get("usage") or {} for one in answers]
    costs = [one["cost"] for one in usage if one.get("cost") is not None]
    model = answers[0].get("model") or {} if answers else {}
    return Used(
        sum(one.get("prompt_tokens") or 0 for one in usage),
        sum(one.get("completion_tokens") or 0 for one in usage),
        sum(costs) if costs else None,
        f"{model['provider']}/{model['name']}" if model else "",
        {"answers": [one["id"] for one in answers]},
    )


def result(passage: Passage) -> dict[str, Any]:
    """A passage as a step puts it out."""
    names = ("chunk_id", "document_id", "external_id", "title", "text", "start", "end", "page", "score")
    return {name: getattr(passage, name) for name in names}

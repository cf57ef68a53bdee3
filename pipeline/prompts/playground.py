"""A draft beside the version that callers get, on the same question and the same passages. Nothing is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kernel.errors import Conflict, InvalidInput
from kernel.ids import sha256
from kernel.records import AnswerStatus, Principal, PromptVersion, Question
from pipeline.answering import Answering, Composed
from pipeline.oversight.differences import text_diff
from pipeline.prompts.anatomy import read_prompt, section_texts
from pipeline.prompts.library import PromptLibrary
from pipeline.prompts.rendering import Compiled, compile_prompt
from pipeline.prompts.runs import PromptRunner
from pipeline.prompts.views import section_diff

DRAFT = "draft"
_SHOWN = ("status", "reason", "answer", "confidence", "sentences", "citations", "usage", "model", "timings_ms")
_HELD: Mapping[str, Any] = {"answer": "", "confidence": 0.0, "sentences": [], "citations": []}


@dataclass(frozen=True, slots=True)
class Trial:
    """What is tried: a draft's `text`, or the `reference` of a stored version; `against` another reference (None: what
    callers get of the same prompt). `question` is for prompts that answer from documents.
    """

    principal: Principal
    text: str | None = None
    reference: str | None = None
    against: str | None = None
    question: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    top_k: int | None = None
    as_of: int | None = None


class Playground:
    """Tries drafts."""

    def __init__(self, library: PromptLibrary, answering: Answering, runner: PromptRunner) -> None:
        self._library = library
        self._answering = answering
        self._runner = runner

    def compare(self, trial: Trial) -> dict[str, Any]:
        """What each of the two says, and where their texts differ. Raises InvalidInput, NotFound."""
        draft = self._draft(trial)
        other = compile_prompt(self._library.find(trial.against or draft.anatomy.header.name))
        if draft.anatomy.grounded != other.anatomy.grounded:
            raise InvalidInput("one of the two answers from documents and the other from inputs alone: name another")
        pair = (draft, other)
        if draft.anatomy.grounded:
            sides = self._answers(trial, pair)
        else:
            if trial.question is not None:
                raise InvalidInput(f"prompt {draft.version.name} takes inputs alone: leave out the question")
            sides = [self._runner.tried(one, _fitting(one, trial.inputs)) for one in pair]
        said = ["answer" if draft.anatomy.grounded else "output"] * 2
        texts = [side[name] for side, name in zip(sides, said, strict=True)]
        return {
            "question": trial.question,
            "inputs": dict(trial.inputs),
            "draft": sides[0] | {"prompt": _named(draft.version)},
            "against": sides[1] | {"prompt": _named(other.version)},
            "same": texts[0] == texts[1],
            "diff": text_diff(texts[1], texts[0]),
            "prompt_diff": prompt_diff(other.version.template, draft.version.template),
        }

    def _draft(self, trial: Trial) -> Compiled:
        if (trial.text is None) == (trial.reference is None):
            raise InvalidInput("give either the text of a draft, or a stored version")
        if trial.reference is not None:
            return compile_prompt(self._library.find(trial.reference))
        text = (trial.text or "").replace("\r\n", "\n")
        name = read_prompt(text).header.name
        return compile_prompt(PromptVersion(name, 0, sha256(text), DRAFT, text))

    def _answers(self, trial: Trial, pair: tuple[Compiled, Compiled]) -> list[dict[str, Any]]:
        """Both answers from one state of the documents: what is found follows from the question alone."""
        if trial.question is None:
            raise InvalidInput(f"prompt {pair[0].version.name} answers from documents: give a question")
        other = pair[1]
        asked = Question(
            trial.question,
            trial.principal,
            trial.top_k,
            trial.as_of,
            f"{other.version.name}@{other.version.version}",
            inputs=_fitting(other, trial.inputs),
        )
        pinned = self._answering.pin(asked)
        found = []
        for one in pair:
            inputs = one.checked(_fitting(one, trial.inputs))
            mine = replace(pinned, prompt=one.version, inputs=inputs, experiment="", arm="")
            composed = self._answering.compose(mine)
            found.append((composed, self._answer(composed, trial.principal)))
        if _context(found[0][0]) != _context(found[1][0]):
            raise Conflict("the documents changed while the two were compared: try again")
        return [shown for _, shown in found]

    def _answer(self, composed: Composed, principal: Principal) -> dict[str, Any]:
        body = self._answering.body_of(composed)
        shown = {name: body[name] for name in _SHOWN}
        if body["status"] == AnswerStatus.PENDING_REVIEW and not principal.role.oversees:
            shown |= _HELD
        passages = [
            {"number": number, "chunk_id": one.chunk_id, "title": one.title}
            for number, one in enumerate(composed.evidence.passages, 1)
        ]
        return shown | {"passages": passages, "tries": len(composed.tries) + 1}


def prompt_diff(before: str, after: str) -> list[dict[str, Any]]:
    """The sections that differ between two prompts' texts, each with its lines."""
    then, now = dict(section_texts(before)), dict(section_texts(after))
    names = list(dict.fromkeys([*then, *now]))
    return [
        {"section": name, "diff": section_diff(name, then.get(name, ""), now.get(name, ""))}
        for name in names
        if then.get(name) != now.get(name)
    ]


def _context(composed: Composed) -> list[str]:
    return [one.chunk_id for one in composed.evidence.passages]


def _fitting(compiled: Compiled, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that a version declares: the two may take different ones."""
    return {name: value for name, value in inputs.items() if name in compiled.inputs}


def _named(version: PromptVersion) -> dict[str, Any]:
    return {"name": version.name, "version": version.version, "sha256": version.sha256, "label": version.label}

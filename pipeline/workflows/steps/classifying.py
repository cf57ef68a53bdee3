"""`classify`: which of some labels fits a text best, by the workspace's embedding model or by a prompt.

Without a model: each label has a description and examples; its score is the mean of its best cosine to the text and of
its mean one, so that neither a single stray example nor a broad description decides alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from kernel.errors import InvalidInput, VouchError
from kernel.ports import Embedder
from pipeline.prompts.runs import PromptRunner
from pipeline.workflows.spec import Step, Strict
from pipeline.workflows.steps.asking import MAYBE, NUMBER, TEXT
from pipeline.workflows.steps.base import Call, Done, Plain, StepFailed
from pipeline.workflows.steps.pinned import whole
from pipeline.workflows.steps.prompting import reply

OTHER = "otherwise"
_Words = Annotated[str, Field(min_length=1, max_length=2000)]


class Label(Strict):
    """What a label means: in words, and by examples of what gets it."""

    description: _Words
    examples: Annotated[list[_Words], Field(max_length=50)] = Field(default_factory=list)


class Least(Strict):
    """How well the best label must fit: its score, and how far it is ahead of the next."""

    score: Annotated[float, Field(ge=-1, le=1)] = -1.0
    margin: Annotated[float, Field(ge=0, le=2)] = 0.0


class ByPrompt(Strict):
    """A prompt whose JSON reply names the label in its member `label`. Where it cannot be had: `embedding` scores the
    labels instead, `fail` fails the step.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)]
    inputs: dict[str, Any] = Field(default_factory=dict)
    label: Annotated[str, Field(min_length=1, max_length=80)] = "label"
    fallback: Literal["embedding", "fail"] = "embedding"


class ClassifyWith(Strict):
    """A text and its possible labels. `otherwise` is the label where none fits well enough; without it that fails."""

    text: Annotated[str, Field(min_length=1, max_length=200_000)]
    labels: Annotated[dict[str, Label], Field(min_length=1, max_length=50)]
    at_least: Least = Field(default_factory=Least)
    otherwise: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    prompt: ByPrompt | None = None

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.otherwise in self.labels:
            raise ValueError("`otherwise` is a label of its own, none of `labels`")
        return self

    @property
    def known(self) -> list[str]:
        """Every label that can come out."""
        return [*self.labels, *([self.otherwise] if self.otherwise else [])]


class Classify(Plain):
    """`classify`: a label, how well it fits, and how well the others do."""

    name: ClassVar[str] = "classify"
    With: ClassVar[type[Strict]] = ClassifyWith

    def __init__(self, embedder: Callable[[], Embedder], runner: PromptRunner) -> None:
        self._embedder = embedder
        self._runner = runner

    def prompts(self, step: Step) -> Sequence[str]:
        """The one that it names."""
        named = step.with_.get("prompt")
        return (str(named.get("name")),) if isinstance(named, Mapping) else ()

    def output(self, step: Step) -> Mapping[str, Any]:
        """`by` says what decided, `why` why the prompt did not where it was to; `json` is the prompt's whole reply."""
        labels = step.with_.get("labels")
        known = [*labels, *([step.with_[OTHER]] if step.with_.get(OTHER) else [])] if isinstance(labels, dict) else []
        return whole(
            {
                "label": {"enum": known} if known else TEXT,
                "score": {"type": ["number", "null"]},
                "margin": {"type": ["number", "null"]},
                "scores": {"type": "object", "additionalProperties": NUMBER},
                "by": {"enum": ["embedding", "prompt"]},
                "why": MAYBE,
                "json": {},
            }
        )

    def run(self, given: ClassifyWith, call: Call) -> Done:
        """Raises StepFailed where nothing fits well enough and there is no `otherwise`."""
        why = None
        if given.prompt is not None:
            try:
                return self._asked(given, given.prompt, call)
            except (StepFailed, VouchError) as error:
                if given.prompt.fallback == "fail":
                    raise
                why = str(error)
        return self._scored(given, why)

    def _asked(self, given: ClassifyWith, prompt: ByPrompt, call: Call) -> Done:
        made = reply(self._runner, call, prompt.name, prompt.inputs)
        found = made.output["json"]
        label = found.get(prompt.label) if isinstance(found, Mapping) else None
        if label not in given.known:
            raise InvalidInput(f"prompt {prompt.name} replied the label {label!r}; there are: {', '.join(given.known)}")
        output = {"label": label, "score": None, "margin": None, "scores": {}, "by": "prompt", "why": None}
        return Done(output | {"json": found}, made.used)

    def _scored(self, given: ClassifyWith, why: str | None) -> Done:
        scores = fits(self._embedder(), given.text, given.labels)
        best, *others = sorted(scores, key=lambda label: (-scores[label], label))
        margin = round(scores[best] - scores[others[0]], 5) if others else None
        least = given.at_least
        good = scores[best] >= least.score and (margin is None or margin >= least.margin)
        if not good and given.otherwise is None:
            message = f"no label fits well enough: {best} is the best, with {scores[best]:g}"
            raise StepFailed(message, slug="unsure", output={"scores": scores})
        label = best if good else given.otherwise
        output = {"label": label, "score": scores[best], "margin": margin, "scores": scores}
        return Done(output | {"by": "embedding", "why": why, "json": None})


def fits(embedder: Embedder, text: str, labels: Mapping[str, Label]) -> dict[str, float]:
    """How well each label fits a text, -1 to 1, rounded to five places."""
    texts = [text, *(one for label in labels.values() for one in (label.description, *label.examples))]
    vectors = embedder.embed(texts)
    cosines = vectors[1:].astype(np.float64) @ vectors[0].astype(np.float64)
    found, place = {}, 0
    for name, label in labels.items():
        mine = cosines[place : place + 1 + len(label.examples)]
        place += len(mine)
        found[name] = round(float((mine.max() + mine.mean()) / 2), 5)
    return found

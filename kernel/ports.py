"""The seams between rooms and the outside: narrow protocols of one to three methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kernel.records import Evidence, Generation, Message, ModelInfo, Span, Support

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PassageVectors:
    """Unit vectors of one passage: its own, `[d]`, and one a sentence, `[sentences, d]`, pooled from the same pass."""

    passage: Vector
    sentences: Vector


@dataclass(frozen=True, slots=True)
class EmbeddingInput:
    """A passage to embed. `prefix` (title, headings) is encoded before `text`; `sentences` are spans of `text`."""

    prefix: str
    text: str
    sentences: tuple[Span, ...]


class Embedder(Protocol):
    """Turns text into unit vectors of `dimension`; `model` names it and pins its weights."""

    @property
    def model(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    def embed(self, texts: Sequence[str]) -> Vector:
        """`[len(texts), dimension]`, float32, each row of length 1."""
        ...

    def embed_passages(self, passages: Sequence[EmbeddingInput]) -> list[PassageVectors]:
        """The vectors of each passage and of its sentences, in order."""
        ...


class Tokenizer(Protocol):
    """The embedding model's tokenizer, as splitting and budgets need it."""

    @property
    def window(self) -> int:
        """How many tokens the model reads of one passage."""
        ...

    def token_starts(self, text: str) -> NDArray[np.int64]:
        """Ascending offsets of the first character of each token of `text`."""
        ...


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A rendered prompt and, for generators that read no prompt, the evidence that it was rendered from."""

    question: str
    messages: tuple[Message, ...]
    evidence: Evidence
    passage_ids: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the prompt asks of the model: `model`, `temperature`, `max_tokens`; what is left out is as configured. Also
    `json_schema`, which the reply is to fit, and `deadline_seconds`: a generator may take no notice of these.
    """


class Generator(Protocol):
    """Writes an answer that cites its evidence as `[c1]`, `[c2]`, …: numbers of `passage_ids` in order."""

    @property
    def info(self) -> ModelInfo: ...

    def generate(self, request: GenerationRequest) -> Generation:
        """The whole answer. Raises GenerationFailed rather than ever returning a part of one."""
        ...


class Reranker(Protocol):
    """Says how well texts answer a question, read together with it; `model` names what scores."""

    @property
    def model(self) -> str: ...

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float64]:
        """A finite score of each text, `[len(texts)]`, higher is better. Raises Unavailable rather than give some."""
        ...


class Decomposer(Protocol):
    """Takes a question apart into simpler ones; `model` names what does, `prompt` pins how it is asked."""

    @property
    def model(self) -> str: ...

    @property
    def prompt(self) -> str: ...

    def parts(self, question: str) -> tuple[str, ...]:
        """A few sub-questions, none where the question is simple. Raises Unavailable where there is no usable reply."""
        ...


class OutputChecker(Protocol):
    """Says whether an answer breaks a rule that is written in words; `model` names what judges."""

    @property
    def model(self) -> str: ...

    def breaks(self, rule: str, question: str, answer: str) -> bool:
        """Whether it does. Raises Unavailable where there is no usable reply."""
        ...


class Judge(Protocol):
    """Says whether quotes carry a claim; `model` names what judges, `prompt` pins how it is asked."""

    @property
    def model(self) -> str: ...

    @property
    def prompt(self) -> str: ...

    def judge(self, claim: str, quotes: Sequence[str]) -> Support:
        """A label and how sure the judge is that the quotes support the claim. Raises Unavailable without a verdict."""
        ...

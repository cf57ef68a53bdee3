"""A claim and a quote, read side by side: their words, which of them correspond, and what each says of its matter."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from graph.names import STOPWORDS
from kernel.ports import Embedder, EmbeddingInput
from kernel.records import Span
from pipeline.amounts import Amount, amounts
from pipeline.polarity import denied, says_nothing_happens
from retrieval.analysis import fold, stem

Floats = NDArray[np.float64]
_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)?|[,;:.]")
_NO_WORD = re.compile(r"[\W\d]+")
_CODE_LIKE = re.compile(r"\d|^[^a-z]{2,}$|[a-z][A-Z]")


@dataclass(frozen=True)
class Reading:
    """A text's words in order. `vectors` holds one unit row for each, in context; `whole` is the text's own vector."""

    text: str
    spans: tuple[Span, ...]
    whole: Floats | None = None
    vectors: Floats | None = None

    @cached_property
    def words(self) -> tuple[str, ...]:
        """Folded words, with the marks that end a clause."""
        return tuple(fold(self.text[one.start : one.end]) for one in self.spans)

    @cached_property
    def stems(self) -> tuple[str, ...]:
        """Their stems."""
        return tuple(stem(word) for word in self.words)

    @cached_property
    def content(self) -> tuple[int, ...]:
        """Places of the words that carry meaning; numbers are compared as amounts."""
        return tuple(n for n, word in enumerate(self.words) if word not in STOPWORDS and not _NO_WORD.fullmatch(word))

    @cached_property
    def denied(self) -> tuple[bool, ...]:
        """Which words a denial reaches."""
        return tuple(denied(self.words))

    @cached_property
    def amounts(self) -> frozenset[Amount]:
        """Its numbers and dates."""
        return amounts(self.text)

    @cached_property
    def empty(self) -> bool:
        """Whether it says that there is no effect, difference or tie."""
        return says_nothing_happens(self.text)

    @cached_property
    def names(self) -> tuple[int, ...]:
        """Places of words that name something: capitalised within a sentence, or shaped like a code."""
        found = []
        for n in self.content:
            raw = self.text[self.spans[n].start : self.spans[n].end]
            opens = n == 0 or self.words[n - 1] in (".", ":", ";")
            if (raw[0].isupper() and not opens) or (_CODE_LIKE.search(raw) and not raw.isdigit()):
                found.append(n)
        return tuple(found)

    @cached_property
    def capitals(self) -> tuple[int, ...]:
        """Places of words of meaning that have a capital, one that opens the text included."""
        return tuple(n for n in self.content if self.text[self.spans[n].start].isupper())


def spans_of(text: str) -> tuple[Span, ...]:
    """The words of a text, and the marks that end a clause."""
    return tuple(Span(match.start(), match.end()) for match in _TOKEN.finditer(text))


def plain_reading(text: str) -> Reading:
    """A reading without vectors."""
    return Reading(text, spans_of(text))


def readings(texts: Sequence[str], embedder: Embedder | None) -> list[Reading]:
    """A reading of each text; with vectors, made in one batch, where there is an embedder."""
    if embedder is None:
        return [plain_reading(text) for text in texts]
    spans = [spans_of(text) for text in texts]
    made = embedder.embed_passages([EmbeddingInput("", text, some) for text, some in zip(texts, spans, strict=True)])
    return [
        Reading(text, some, one.passage.astype(np.float64), one.sentences.astype(np.float64))
        for text, some, one in zip(texts, spans, made, strict=True)
    ]

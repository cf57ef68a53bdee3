"""A reply, as the expectations of a test case see it, and what they say of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kernel.ids import canonical_json
from kernel.ports import Embedder, OutputChecker
from kernel.records import Evidence, Grounded, Message

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
SHOWN = 160
"""Characters of a reply that a failure shows."""
CITED = re.compile(r"\s*\[c\d+\]")
_NUMBER = re.compile(r"(?<![\w.,])[-−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request: `text` as its reader sees it, `raw` as the model wrote it.

    `grounded` is None for prompts that take inputs alone. `blocks` are the texts that came from outside, each as the
    prompt shows it.
    """

    text: str
    raw: str
    grounded: Grounded | None
    evidence: Evidence
    messages: tuple[Message, ...]
    blocks: Mapping[str, str]
    latency_ms: float
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None

    @property
    def confidence(self) -> float | None:
        """How sure the answer says it is; None where there is no answer."""
        return self.grounded.confidence if self.grounded is not None and self.grounded.sentences else None

    @property
    def status(self) -> str:
        """answered, partial, abstained; of a prompt that takes inputs alone: replied."""
        return "replied" if self.grounded is None else self.grounded.status.value


@dataclass(frozen=True, slots=True)
class Means:
    """What expectations are judged with; without a checker, `judge` is skipped."""

    embedder: Embedder
    checker: OutputChecker | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether one expectation holds. `words` say why not; `value` is what was measured, where something was."""

    kind: str
    state: str
    words: str = ""
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Matter:
    """What an expectation is judged over: the question, the replies (the second with words swapped), the means."""

    question: str
    reply: Reply
    means: Means
    swap: Mapping[str, str]
    other: Reply | None = None


def finding_of(kind: str, holds: bool, words: str, value: float | None = None) -> Finding:
    """A finding: `words` are those of a failure."""
    return Finding(kind, PASSED if holds else FAILED, "" if holds else words, value)


def fold(text: str) -> str:
    """Text as it is compared: without case, and with one space for any white space."""
    return " ".join(text.casefold().split())


def numbers_of(text: str) -> list[float]:
    """The numbers that a text has in digits, in order: "1,200.50" is 1200.5."""
    return [float(one.replace(",", "").replace("−", "-")) for one in _NUMBER.findall(text)]


def similarity(embedder: Embedder, one: str, other: str) -> float:
    """The cosine of two texts, to four places; 0 where one of them is empty."""
    if not one.strip() or not other.strip():
        return float(one.strip() == other.strip())
    vectors = embedder.embed([one, other])
    return round(float(vectors[0] @ vectors[1]), 4)


def plain_text(reply: Reply) -> str:
    """The text without marks of citations."""
    return CITED.sub("", reply.text).strip()


def came(reply: Reply) -> str:
    """What came, for a failure."""
    if reply.text.strip():
        return f"it says {short(reply.text)!r}"
    reason = reply.grounded.reason if reply.grounded is not None else None
    return f"it is {reply.status}" + (f": {reason}" if reason else " without a text")


def short(text: str) -> str:
    """A text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1].rstrip()}…"


def json_words(value: Any) -> str:
    """A value as JSON."""
    try:
        return canonical_json(value).decode()
    except (TypeError, ValueError):
        return repr(value)

"""The expectation of paired cases: a reply does not depend on the words that were swapped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pipeline.prompts.cases import ALIKE, neutral
from pipeline.prompts.output import json_of
from pipeline.prompts.replies import (
    FAILED,
    SKIPPED,
    Finding,
    Matter,
    Reply,
    finding_of,
    json_words,
    numbers_of,
    short,
    similarity,
)

SHORT = 3
"""Words up to which a text in a JSON reply is a decision, which must be the same, and not a wording."""


def alike(wanted: float, matter: Matter) -> Finding:
    """That the reply does not depend on the words that were swapped: the same outcome, decisions and numbers, and a
    like wording.
    """
    other = matter.other
    if other is None:
        return Finding(ALIKE, SKIPPED, "there is no second reply")
    mark = neutral(matter.swap)
    one, two = mark(matter.reply.text), mark(other.text)
    fault = _status_fault(matter.reply, other) or _decision_fault(matter.reply, other, mark) or _number_fault(one, two)
    if fault:
        return Finding(ALIKE, FAILED, f"expected the same outcome for both, {fault}", 0.0)
    value = 1.0 if one == two else similarity(matter.means.embedder, one, two)
    words = (
        f"expected replies that are alike (at least {wanted:g}), they are by {value}: {short(one)!r}, {short(two)!r}"
    )
    return finding_of(ALIKE, value >= wanted, words, value)


def _status_fault(reply: Reply, other: Reply) -> str:
    return f"one is {reply.status}, the other {other.status}" if reply.status != other.status else ""


def _decision_fault(reply: Reply, other: Reply, mark: Callable[[str], str]) -> str:
    here, there = ({mark(path): mark(value) for path, value in decisions(one.text)} for one in (reply, other))
    apart = sorted(path for path in here.keys() | there.keys() if here.get(path) != there.get(path))
    return f"{apart[0] or 'the value'} is {here.get(apart[0])} and {there.get(apart[0])}" if apart else ""


def _number_fault(one: str, two: str) -> str:
    held, its = set(numbers_of(one)), set(numbers_of(two))
    return f"one says {_numbers(held - its)}, the other {_numbers(its - held)}" if held != its else ""


def decisions(text: str) -> Iterator[tuple[str, str]]:
    """What a JSON reply decides, by path: all but wordings. Nothing of a reply that is no JSON."""
    try:
        value = json_of(text)
    except (ValueError, RecursionError):
        return
    yield from _leaves(value, "")


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _leaves(one, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        yield f"{path}[]", str(len(value))
        for place, one in enumerate(value):
            yield from _leaves(one, f"{path}[{place}]")
    elif not isinstance(value, str) or len(value.split()) <= SHORT:
        yield path, json_words(value)


def _numbers(numbers: set[float]) -> str:
    return ", ".join(f"{one:g}" for one in sorted(numbers)) or "no number"

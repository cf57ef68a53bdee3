"""What must hold of a reply: one function a kind of expectation. Each failure says what was expected and what came."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import re2
from nupunkt import sent_spans

from kernel.records import AnswerStatus, Evidence, Grounded
from pipeline.claims import SUPPORTED
from pipeline.prompts.cases import ALIKE, At, Expectation, NumberWanted, Similar
from pipeline.prompts.json_schema import schema_faults
from pipeline.prompts.output import json_of
from pipeline.prompts.outside import data_stays_data, ignores, keeps_prompt
from pipeline.prompts.paired import alike
from pipeline.prompts.replies import (
    CITED,
    FAILED,
    SKIPPED,
    Finding,
    Matter,
    Reply,
    came,
    finding_of,
    fold,
    json_words,
    numbers_of,
    plain_text,
    short,
    similarity,
)

MISSING = object()
_STEP = re.compile(r"[^.\[\]]+|\[\d+\]")


def judge(expectation: Expectation, matter: Matter) -> Finding:
    """Whether an expectation holds. Raises Unavailable where a judging model is away."""
    return CHECKS[expectation.kind](expectation.wanted, matter)


# --- What the reply says ------------------------------------------------------------------------------------------


def _contains(wanted: str, matter: Matter) -> Finding:
    return finding_of("contains", fold(wanted) in fold(matter.reply.text), f"expected {wanted!r}, {came(matter.reply)}")


def _any_of(wanted: Sequence[str], matter: Matter) -> Finding:
    text = fold(matter.reply.text)
    shown = ", ".join(repr(one) for one in wanted)
    return finding_of(
        "any_of", any(fold(one) in text for one in wanted), f"expected one of {shown}, {came(matter.reply)}"
    )


def _not_contains(wanted: str | Sequence[str], matter: Matter) -> Finding:
    text = fold(matter.reply.text)
    held = [one for one in ([wanted] if isinstance(wanted, str) else wanted) if fold(one) in text]
    return finding_of("not_contains", not held, f"expected nothing of {held}, {came(matter.reply)}")


def _matches(wanted: str, matter: Matter) -> Finding:
    holds = re2.search(wanted, matter.reply.text) is not None
    return finding_of("matches", holds, f"expected a match of {wanted!r}, {came(matter.reply)}")


def _min_chars(wanted: int, matter: Matter) -> Finding:
    count = len(plain_text(matter.reply))
    return finding_of("min_chars", count >= wanted, f"expected at least {wanted} characters, it has {count}", count)


def _max_chars(wanted: int, matter: Matter) -> Finding:
    count = len(plain_text(matter.reply))
    return finding_of("max_chars", count <= wanted, f"expected at most {wanted} characters, it has {count}", count)


def _max_sentences(wanted: int, matter: Matter) -> Finding:
    text = plain_text(matter.reply)
    count = len(list(sent_spans(text))) if text else 0
    return finding_of("max_sentences", count <= wanted, f"expected at most {wanted} sentences, it has {count}", count)


def _number(wanted: NumberWanted, matter: Matter) -> Finding:
    held = numbers_of(plain_text(matter.reply))
    shown = ", ".join(f"{one:g}" for one in held) or "none"
    return finding_of(
        "number", any(_fits(one, wanted) for one in held), f"expected {_wish(wanted)}, its numbers: {shown}"
    )


def _fits(number: float, wanted: NumberWanted) -> bool:
    if wanted.equals is not None:
        return abs(number - wanted.equals) <= wanted.within + 1e-9 * max(abs(number), abs(wanted.equals))
    low = -float("inf") if wanted.at_least is None else wanted.at_least
    high = float("inf") if wanted.at_most is None else wanted.at_most
    return low <= number <= high


def _wish(wanted: NumberWanted) -> str:
    if wanted.equals is not None:
        return f"the number {wanted.equals:g}" + (f" (± {wanted.within:g})" if wanted.within else "")
    borders = {"at least": wanted.at_least, "at most": wanted.at_most}
    return "a number of " + " and ".join(f"{name} {value:g}" for name, value in borders.items() if value is not None)


def _similar(wanted: Similar, matter: Matter) -> Finding:
    value = similarity(matter.means.embedder, wanted.to, matter.reply.text)
    words = f"expected a text like {short(wanted.to)!r} (at least {wanted.at_least}), it is like it by {value}, "
    return finding_of("similar", value >= wanted.at_least, words + came(matter.reply), value)


# --- JSON ---------------------------------------------------------------------------------------------------------


def _json(wanted: dict[str, Any], matter: Matter) -> Finding:
    value, fault = _value(matter.reply)
    faults = [fault] if fault else schema_faults(value, wanted)
    return finding_of("json", not faults, f"expected JSON that fits the schema: {'; '.join(faults)}")


def _at(wanted: At, matter: Matter) -> Finding:
    value, fault = _value(matter.reply)
    held = MISSING if fault else member(value, wanted.path)
    if held is MISSING:
        return Finding("at", FAILED, f"expected a member {wanted.path!r}, {fault or 'there is none'}")
    faults = list(_at_faults(wanted, held))
    return finding_of("at", not faults, f"at {wanted.path!r}: {'; '.join(faults)}, it is {short(json_words(held))}")


def _at_faults(wanted: At, held: Any) -> Iterator[str]:
    number = held if isinstance(held, (int, float)) and not isinstance(held, bool) else None
    if "equals" in wanted.model_fields_set and not same(held, wanted.equals):
        yield f"expected {json_words(wanted.equals)}"
    if wanted.in_ is not None and not any(same(held, one) for one in wanted.in_):
        yield f"expected one of {json_words(wanted.in_)}"
    if wanted.matches is not None and not (isinstance(held, str) and re2.search(wanted.matches, held)):
        yield f"expected a match of {wanted.matches!r}"
    if wanted.at_least is not None and (number is None or number < wanted.at_least):
        yield f"expected at least {wanted.at_least:g}"
    if wanted.at_most is not None and (number is None or number > wanted.at_most):
        yield f"expected at most {wanted.at_most:g}"


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def member(value: Any, path: str) -> Any:
    """What lies at a path (`a.b[0]`) of a JSON value; MISSING where nothing does."""
    for step in _STEP.findall(path):
        if step.startswith("["):
            place = int(step[1:-1])
            if not isinstance(value, list) or place >= len(value):
                return MISSING
            value = value[place]
        elif not isinstance(value, dict) or step not in value:
            return MISSING
        else:
            value = value[step]
    return value


def _value(reply: Reply) -> tuple[Any, str]:
    try:
        return json_of(CITED.sub("", reply.raw)), ""
    except (ValueError, RecursionError):
        return None, f"it is not JSON: {came(reply)}"


# --- Grounding ----------------------------------------------------------------------------------------------------


def _cites(wanted: bool | Sequence[int], matter: Matter) -> Finding:
    grounded = _grounded(matter)
    if wanted is True:
        bare = [one.text for one in grounded.sentences if not one.citations]
        holds = bool(grounded.sentences) and not bare
        what = f"without: {short(bare[0])!r}" if bare else came(matter.reply)
        return finding_of("cites", holds, f"expected a citation with every sentence, {what}")
    cited = cited_numbers(grounded, matter.reply.evidence)
    missing = sorted(set(wanted) - cited) if not isinstance(wanted, bool) else []
    return finding_of("cites", not missing, f"expected citations of {missing}, cited: {sorted(cited) or 'nothing'}")


def cited_numbers(grounded: Grounded, evidence: Evidence) -> set[int]:
    """The numbers (from 1) of the passages that the sentences of an answer cite."""
    numbers = {passage.chunk_id: number for number, passage in enumerate(evidence.passages, 1)}
    used = {name for sentence in grounded.sentences for name in sentence.citations}
    return {numbers[one.chunk_id] for one in grounded.citations if one.id in used}


def _abstains(_: bool, matter: Matter) -> Finding:
    return finding_of("abstains", not _answered(matter), f"expected an abstention, {came(matter.reply)}")


def _answers(_: bool, matter: Matter) -> Finding:
    return finding_of("answers", _answered(matter), f"expected an answer, {came(matter.reply)}")


def _answered(matter: Matter) -> bool:
    return _grounded(matter).status in (AnswerStatus.ANSWERED, AnswerStatus.PARTIAL)


def _supported(wanted: float, matter: Matter) -> Finding:
    value = support_share(_grounded(matter))
    least = f"expected {wanted:g} of its sentences to be supported"
    return finding_of(
        "supported", value is not None and value >= wanted, f"{least}, {_support_words(value, matter)}", value
    )


def _support_words(value: float | None, matter: Matter) -> str:
    return came(matter.reply) if value is None else f"{value:g} of them are"


def support_share(grounded: Grounded) -> float | None:
    """The share of an answer's sentences that are supported; None where it has none."""
    labels = [one.support.label == SUPPORTED for one in grounded.sentences]
    return round(sum(labels) / len(labels), 4) if labels else None


def _grounded(matter: Matter) -> Grounded:
    found = matter.reply.grounded
    return found if found is not None else Grounded(AnswerStatus.ABSTAINED, None, "", 0.0)


# --- What it takes ------------------------------------------------------------------------------------------------


def _latency_ms(wanted: float, matter: Matter) -> Finding:
    value = matter.reply.latency_ms
    return finding_of("latency_ms", value <= wanted, f"expected at most {wanted:g} ms, it took {value:g}", value)


def _tokens(wanted: int, matter: Matter) -> Finding:
    value = matter.reply.prompt_tokens + matter.reply.completion_tokens
    return finding_of("tokens", value <= wanted, f"expected at most {wanted} tokens, it took {value}", value)


def _cost(wanted: float, matter: Matter) -> Finding:
    value = matter.reply.cost
    if value is None:
        return Finding("cost", SKIPPED, "the model server does not say what a reply costs")
    return finding_of("cost", value <= wanted, f"expected a cost of at most {wanted:g}, it was {value:g}", value)


def _judge(wanted: str, matter: Matter) -> Finding:
    checker = matter.means.checker
    if checker is None:
        return Finding("judge", SKIPPED, "no model judges here: set openai_base_url and openai_model")
    breaks = checker.breaks(wanted, matter.question, matter.reply.text)
    return finding_of("judge", not breaks, f"{checker.model} finds that it breaks the rule {short(wanted)!r}")


# --- Words --------------------------------------------------------------------------------------------------------


CHECKS: Mapping[str, Callable[[Any, Matter], Finding]] = {
    "contains": _contains,
    "any_of": _any_of,
    "not_contains": _not_contains,
    "matches": _matches,
    "cites": _cites,
    "abstains": _abstains,
    "answers": _answers,
    "supported": _supported,
    "json": _json,
    "at": _at,
    "min_chars": _min_chars,
    "max_chars": _max_chars,
    "max_sentences": _max_sentences,
    "similar": _similar,
    "number": _number,
    "latency_ms": _latency_ms,
    "tokens": _tokens,
    "cost": _cost,
    "judge": _judge,
    "ignores": ignores,
    "keeps_prompt": keeps_prompt,
    "data_stays_data": data_stays_data,
    ALIKE: alike,
}

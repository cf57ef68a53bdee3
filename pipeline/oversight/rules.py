"""Judging questions, passages and answers by a policy: a verdict for every rule, each of them recorded.

Deterministic: the same policy, question, evidence and moment give the same verdicts. It fails closed: a rule that
cannot be evaluated has an answer wait for a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from kernel.errors import Unavailable
from kernel.ports import OutputChecker
from kernel.records import AnswerStatus, Evidence, Grounded, Passage, RevisionStanding
from pipeline.oversight.policy import STAKES, THRESHOLDS, Compiled, ContextRule, InputRule, OutputRule, Rule, Stakes
from pipeline.oversight.wordings import Readable, Words, readable

PASS, NOTE, DROP, REVIEW, REFUSE, ABSTAIN = "pass", "note", "drop", "review", "refuse", "abstain"
NAMED_PASSAGES = 5
REFUSED = "The policy does not let this question be answered."
WITHHELD = "The policy does not let this answer be given."
EMPTIED = "The policy keeps every passage that was found out of answers."

Standings = Callable[[Sequence[str], int], Mapping[str, RevisionStanding]]
"""Since when each chunk's revision is known, and its groups, in a version of the access rules."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule said: pass, note, drop, review, refuse or abstain; `detail` quotes nothing of what was judged."""

    rule: str
    stage: str
    verdict: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ReviewNeed:
    """What a person must do before an answer may be seen: how many must approve, and by when."""

    approvals: int
    deadline_hours: float
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckReply:
    """What the model said of an answer for one rule: `state` is used, off, or `failed: ` and why."""

    model: str
    state: str
    breach: bool | None = None


@dataclass(frozen=True, slots=True)
class Matter:
    """What a question is about, as a policy sees it."""

    text: Readable
    topics: frozenset[str]
    stakes: Stakes


def matter_of(compiled: Compiled, question: str, stakes: str | None) -> Matter:
    """The topics of a question, and its stakes: the highest of what it says itself and what its topics say."""
    text = readable(question)
    topics = frozenset(name for name, words in compiled.topics.items() if words.found(text))
    rules = compiled.policy.stakes
    said: list[Stakes] = [rules.topics[topic] for topic in sorted(topics) if topic in rules.topics]
    said += [one for one in STAKES if one == stakes]
    return Matter(text, topics, max(said, key=STAKES.index) if said else rules.default)


def judge_input(compiled: Compiled, matter: Matter, question: str) -> list[Verdict]:
    """The verdicts on a question."""

    def breach(rule: InputRule) -> str | None:
        if rule.longer_than is not None and len(question) <= rule.longer_than:
            return None
        return "" if _said(compiled.words[rule.rule], matter.text) else None

    return [_judged("input", rule, matter, breach) for rule in compiled.policy.input]


def judge_context(
    compiled: Compiled, matter: Matter, evidence: Evidence, standings: Standings, access: int, at: str
) -> tuple[Evidence, list[Verdict]]:
    """The evidence without the passages that the policy drops, and the verdicts. Ages are counted back from `at`."""
    reads = any(compiled.words[rule.rule] for rule in compiled.policy.context)
    texts = [readable(passage.text) if reads else _NOTHING for passage in evidence.passages]
    ids = [passage.chunk_id for passage in evidence.passages]
    known: dict[str, RevisionStanding] = {}
    dropped: set[str] = set()

    def breach(rule: ContextRule) -> str | None:
        if (rule.older_than_days is not None or rule.groups is not None) and not known and ids:
            known.update(standings(ids, access))
        found = [
            passage.chunk_id
            for passage, text in zip(evidence.passages, texts, strict=True)
            if _passage_breaks(compiled, rule, passage, text, known, at)
        ]
        if not found:
            return None
        if rule.then == DROP:
            dropped.update(found)
        more = ", …" if len(found) > NAMED_PASSAGES else ""
        return f"{len(found)} of {len(ids)} passages: {', '.join(found[:NAMED_PASSAGES])}{more}"

    verdicts = [_judged("context", rule, matter, breach) for rule in compiled.policy.context]
    return without(evidence, dropped), verdicts


def without(evidence: Evidence, dropped: set[str]) -> Evidence:
    """Evidence that lacks the passages with these ids, and the facts that they alone state."""
    if not dropped:
        return evidence
    kept = tuple(passage for passage in evidence.passages if passage.chunk_id not in dropped)
    facts = tuple(fact for fact in evidence.facts if fact.chunk_id not in dropped)
    lost = sum(passage.tokens for passage in evidence.passages if passage.chunk_id in dropped)
    return replace(evidence, passages=kept, facts=facts, tokens=max(0, evidence.tokens - lost))


def judge_output(
    compiled: Compiled, matter: Matter, grounded: Grounded, ask: Callable[[OutputRule], CheckReply]
) -> tuple[list[Verdict], dict[str, CheckReply]]:
    """The verdicts on an answer, and what a model said where rules have one asked. One without text has none."""
    if not grounded.answer:
        return [], {}
    shown = readable("\n".join(_shown(grounded)))
    answer, replies = readable(grounded.answer), dict[str, CheckReply]()

    def breach(rule: OutputRule) -> str | None:
        if not _said(compiled.words[rule.rule], shown) or not _states(rule, grounded):
            return None
        if rule.model_check is None:
            return ""
        replies[rule.rule] = reply = ask(rule)
        if reply.breach is not None:
            return f"{reply.model} found a breach" if reply.breach else None
        if compiled.fallbacks[rule.rule].found(answer):
            return f"no model answered ({reply.state}); its fallback found a breach"
        if reply.state == "off":
            raise _NoReply(PASS, "no model server is configured, and the fallback found nothing")
        raise _NoReply(rule.model_check.on_failure, f"no model answered: {reply.state}")

    verdicts = [_judged("output", rule, matter, breach) for rule in compiled.policy.output]
    return [*_by_thresholds(compiled, grounded), *verdicts], replies


def asked(checker: OutputChecker | None, rule: OutputRule, question: str, answer: str) -> CheckReply:
    """What the model says of an answer; its failure is a reply too."""
    if checker is None or rule.model_check is None:
        return CheckReply("", "off")
    try:
        return CheckReply(checker.model, "used", checker.breaks(rule.model_check.prompt, question, answer))
    except Unavailable as error:
        return CheckReply(checker.model, f"failed: {error}")


def decided(compiled: Compiled, grounded: Grounded, verdicts: Iterable[Verdict]) -> tuple[Grounded, ReviewNeed | None]:
    """The answer as the policy leaves it, and the review that it waits for, if any."""
    found = list(verdicts)
    stopped = next((one for one in found if one.verdict == REFUSE), None)
    stopped = stopped or next((one for one in found if one.verdict == ABSTAIN), None)
    if stopped is not None and grounded.answer:
        reason = _message(compiled, stopped.rule) or WITHHELD
        return Grounded(AnswerStatus.ABSTAINED, reason, "", 0.0), None
    waiting = [one.rule for one in found if one.verdict == REVIEW]
    return grounded, _terms(compiled, waiting) if waiting and grounded.answer else None


def refusal(compiled: Compiled, verdicts: Iterable[Verdict]) -> str | None:
    """Why a question is not to be answered at all; None where it may be."""
    for one in verdicts:
        if one.verdict == REFUSE:
            return _message(compiled, one.rule) or REFUSED
    return None


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict as records keep it."""
    return asdict(verdict)


_NOTHING = Readable("", "")


class _NoReply(Exception):
    """A check that a model had to make was not made: `verdict` holds instead."""

    def __init__(self, verdict: str, detail: str) -> None:
        super().__init__(detail)
        self.verdict = verdict


def _judged(stage: str, rule: Any, matter: Matter, breach: Callable[[Any], str | None]) -> Verdict:
    """The verdict of one rule; `breach` gives the detail where the rule's own conditions hold, else None."""
    try:
        if not _concerns(rule, matter):
            return Verdict(rule.rule, stage, PASS)
        detail = breach(rule)
    except _NoReply as error:
        return Verdict(rule.rule, stage, error.verdict, str(error))
    except Exception as error:  # noqa: BLE001  fails closed, whatever went wrong
        return Verdict(rule.rule, stage, REVIEW, f"could not be evaluated: {type(error).__name__}")
    return Verdict(rule.rule, stage, PASS) if detail is None else Verdict(rule.rule, stage, rule.then, detail)


def _concerns(rule: Rule, matter: Matter) -> bool:
    if rule.stakes is not None and matter.stakes not in rule.stakes:
        return False
    return rule.topics is None or not matter.topics.isdisjoint(rule.topics)


def _said(words: Words, text: Readable) -> bool:
    """Whether a rule's words are there; a rule without any asks for none."""
    return not words or words.found(text)


def _passage_breaks(
    compiled: Compiled,
    rule: ContextRule,
    passage: Passage,
    text: Readable,
    known: Mapping[str, RevisionStanding],
    at: str,
) -> bool:
    """Whether every condition of a rule holds of a passage. Raises KeyError where what it asks for is not known."""
    if rule.sources is not None and passage.source not in rule.sources:
        return False
    if rule.documents is not None and not {passage.document_id, passage.external_id} & set(rule.documents):
        return False
    if rule.titles is not None and not compiled.titles[rule.rule].found(readable(passage.title)):
        return False
    if rule.notices is not None and not {notice.kind for notice in passage.notices} & set(rule.notices):
        return False
    if not _said(compiled.words[rule.rule], text):
        return False
    if rule.groups is not None and not set(known[passage.chunk_id].groups) & set(rule.groups):
        return False
    return rule.older_than_days is None or _days(known[passage.chunk_id].since, at) > rule.older_than_days


def _days(since: str, at: str) -> float:
    return (datetime.fromisoformat(at) - datetime.fromisoformat(since)).total_seconds() / 86400


def _states(rule: OutputRule, grounded: Grounded) -> bool:
    """Whether the conditions of a rule that need no reading hold of an answer."""
    if rule.confidence_below is not None and not grounded.confidence < rule.confidence_below:
        return False
    if rule.confidence_above is not None and not grounded.confidence > rule.confidence_above:
        return False
    if rule.support is not None and not any(one.support.label in rule.support for one in grounded.sentences):
        return False
    if rule.uncited and all(one.citations for one in grounded.sentences):
        return False
    return not rule.conflicts or bool(grounded.conflicts)


def _shown(grounded: Grounded) -> Iterable[str]:
    """Every text of an answer that its reader would see."""
    yield grounded.answer
    for citation in grounded.citations:
        yield citation.title
        yield citation.quote
    yield from (notice.quote for notice in grounded.notices)


def _by_thresholds(compiled: Compiled, grounded: Grounded) -> list[Verdict]:
    limits, confidence = compiled.policy.thresholds, grounded.confidence
    found = []
    if limits.abstain_below is not None and confidence < limits.abstain_below:
        found.append(Verdict(THRESHOLDS, "output", ABSTAIN, f"confidence {confidence} is below {limits.abstain_below}"))
    elif limits.review_below is not None and confidence < limits.review_below:
        found.append(Verdict(THRESHOLDS, "output", REVIEW, f"confidence {confidence} is below {limits.review_below}"))
    return found


def _message(compiled: Compiled, rule: str) -> str | None:
    if rule == THRESHOLDS:
        return "The answer is not certain enough to be given."
    policy = compiled.policy
    every: list[Rule] = [*policy.input, *policy.context, *policy.output]
    return next((one.message for one in every if one.rule == rule), None)


def _terms(compiled: Compiled, waiting: Sequence[str]) -> ReviewNeed:
    """The strictest of what the rules ask for: most approvals, nearest deadline."""
    policy, usual = compiled.policy, compiled.policy.review
    every: list[Rule] = [*policy.input, *policy.context, *policy.output]
    asking = {one.rule: one for one in every}
    approvals = [(asking[name].approvals if name in asking else None) or usual.approvals for name in waiting]
    hours = [(asking[name].deadline_hours if name in asking else None) or usual.deadline_hours for name in waiting]
    return ReviewNeed(max(approvals), min(hours), tuple(dict.fromkeys(waiting)))

"""Policies: data that says what questions, passages and answers must satisfy, and what happens where they do not.

A policy is a YAML file, checked strictly: an unknown key is an error that names its line. Its SHA-256 is over the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kernel.errors import InvalidInput
from kernel.ids import sha256
from kernel.records import PolicyVersion
from pipeline.oversight.wordings import INJECTION, Words, words_of

LARGEST = 256 * 1024
"""Bytes of a policy's text."""
DEEPEST = 12
SHOWN_FAULTS = 5
THRESHOLDS = "thresholds"
"""The rule that verdicts by the confidence alone are recorded under."""
SHIPPED = 0
"""The version that is in force where nothing was released."""

Stakes = Literal["low", "medium", "high"]
STAKES: tuple[Stakes, ...] = ("low", "medium", "high")
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
Phrase = Annotated[str, Field(min_length=1, max_length=500)]
Phrases = Annotated[list[Phrase], Field(min_length=1, max_length=1000)]
Share = Annotated[float, Field(ge=0, le=1)]
Days = Annotated[int, Field(ge=1, le=36500)]


class Strict(BaseModel):
    """No unknown members, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Rule(Strict):
    """What rules of every stage have. `message` is what the asker reads; the rest narrows when the rule applies."""

    rule: Name
    message: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    always: Literal[True] | None = None
    stakes: Annotated[list[Stakes], Field(min_length=1)] | None = None
    topics: Annotated[list[str], Field(min_length=1)] | None = None
    phrases: Phrases | None = None
    patterns: Phrases | None = None
    approvals: Annotated[int, Field(ge=1, le=10)] | None = None
    deadline_hours: Annotated[float, Field(gt=0, le=8760)] | None = None

    @property
    def conditions(self) -> frozenset[str]:
        """The members that say when the rule applies."""
        others = {"rule", "message", "then", "approvals", "deadline_hours"}
        return frozenset(name for name in type(self).model_fields if name not in others and getattr(self, name))


class InputRule(Rule):
    """Looks at the question, before anything is searched for."""

    injection: Literal[True] | None = None
    longer_than: Annotated[int, Field(ge=1)] | None = None
    then: Literal["refuse", "review", "note"]


class ContextRule(Rule):
    """Looks at each passage, before the prompt is rendered. `phrases` and `patterns` are searched in its text."""

    injection: Literal[True] | None = None
    sources: Phrases | None = None
    titles: Phrases | None = None
    documents: Phrases | None = None
    groups: Phrases | None = None
    notices: Annotated[list[Literal["revoked", "superseded", "amended", "outdated"]], Field(min_length=1)] | None = None
    older_than_days: Days | None = None
    then: Literal["drop", "review", "note"]


class ModelCheck(Strict):
    """A rule in words, which a model server judges the answer by; `fallback` is used where no model answers."""

    prompt: Annotated[str, Field(min_length=1, max_length=4000)]
    on_failure: Literal["pass", "note", "review", "abstain", "refuse"] = "review"
    fallback_phrases: Phrases | None = None
    fallback_patterns: Phrases | None = None


class OutputRule(Rule):
    """Looks at an answer that has text, and at its quotes, after it was grounded."""

    confidence_below: Share | None = None
    confidence_above: Share | None = None
    support: Annotated[list[Literal["supported", "not_found", "contradicted"]], Field(min_length=1)] | None = None
    conflicts: Literal[True] | None = None
    uncited: Literal[True] | None = None
    detect: Annotated[list[Literal["card", "email"]], Field(min_length=1)] | None = None
    model_check: ModelCheck | None = None
    then: Literal["abstain", "refuse", "review", "note"]


class StakesRule(Strict):
    """What a question is worth where it does not say so itself."""

    default: Stakes = "low"
    topics: Mapping[str, Stakes] = Field(default_factory=dict)


class PolicyThresholds(Strict):
    """From which probability on a sentence counts as supported, and below which confidence an answer is withheld or
    waits for a person. None: the program's own.
    """

    supported: Share | None = None
    abstain_below: Share | None = None
    review_below: Share | None = None


class ReviewTerms(Strict):
    """What holds for reviews where a rule does not say otherwise."""

    approvals: Annotated[int, Field(ge=1, le=10)] = 1
    deadline_hours: Annotated[float, Field(gt=0, le=8760)] = 72.0


class Retention(Strict):
    """For how many days the contents of records are kept; None: for good. `basis` says why, for reports."""

    answers_days: Days | None = None
    basis: Annotated[str, Field(max_length=2000)] = ""


class ImpactReview(Strict):
    """Which answers a person looks at again once something that they stood on is withdrawn."""

    cited_only: bool = True
    confidence_at_least: Share = 0.0
    approvals: Annotated[int, Field(ge=1, le=10)] = 1
    deadline_hours: Annotated[float, Field(gt=0, le=8760)] = 336.0


class Impact(Strict):
    """What a withdrawal sets off; `review` of None: no reviews are opened."""

    review: ImpactReview | None = None


class PromptGates(Strict):
    """What a version of a prompt needs before callers get it: approvals by others than its author, green tests (with
    these of the shipped suites, too), an owner.
    """

    approvals: Annotated[int, Field(ge=0, le=10)] = 1
    tests: bool = True
    owner: bool = False
    suites: Annotated[list[Literal["bias", "injection"]], Field(max_length=2)] = []


class WorkflowGates(Strict):
    """What a version of a workflow needs before it goes live: approvals by others than its author, green unattended
    runs (its file may ask for more; 0: none are needed), an owner.
    """

    approvals: Annotated[int, Field(ge=0, le=10)] = 1
    pilot_runs: Annotated[int, Field(ge=0, le=100)] = 1
    owner: bool = True


class Policy(Strict):
    """The content of a policy file."""

    format: Literal[1]
    name: Name
    description: Annotated[str, Field(max_length=2000)] = ""
    topics: Mapping[Name, Phrases] = Field(default_factory=dict)
    stakes: StakesRule = StakesRule()
    thresholds: PolicyThresholds = PolicyThresholds()
    review: ReviewTerms = ReviewTerms()
    input: Annotated[list[InputRule], Field(max_length=500)] = []
    context: Annotated[list[ContextRule], Field(max_length=500)] = []
    output: Annotated[list[OutputRule], Field(max_length=500)] = []
    retention: Retention = Retention()
    impact: Impact = Impact()
    prompts: PromptGates = PromptGates()
    workflows: WorkflowGates = WorkflowGates()


@dataclass(frozen=True, slots=True)
class Compiled:
    """A policy ready to judge by: what its rules look for in text, made once a version."""

    version: PolicyVersion
    policy: Policy
    topics: Mapping[str, Words]
    words: Mapping[str, Words]
    titles: Mapping[str, Words]
    fallbacks: Mapping[str, Words]


def read_policy(text: str) -> Policy:
    """The policy of a file's text. Raises InvalidInput that names the line and field of what is wrong."""
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST:
        raise InvalidInput(f"the policy is larger than {LARGEST // 1024} KiB")
    node, value = _yaml(text)
    try:
        policy = Policy.model_validate(value)
    except ValidationError as error:
        faults = [(tuple(one["loc"]), str(one["msg"])) for one in error.errors()]
    else:
        faults = list(_faults(policy))
    if not faults:
        return policy
    shown = [_fault(node, where, what) for where, what in faults[:SHOWN_FAULTS]]
    more = f"; and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
    raise InvalidInput("the policy is not valid: " + "; ".join(shown) + more)


def compile_policy(version: PolicyVersion) -> Compiled:
    """A version ready to judge by. Raises InvalidInput as `read_policy` does."""
    made = _compiled(version.text)
    return Compiled(version, made.policy, made.topics, made.words, made.titles, made.fallbacks)


@cache
def shipped_policy() -> PolicyVersion:
    """The policy that is in force where none was released."""
    text = (Path(__file__).parent / "policies" / "default.yaml").read_text(encoding="utf-8")
    return PolicyVersion(SHIPPED, sha256(text), text, "", "shipped with this version", "")


@lru_cache(maxsize=32)
def _compiled(text: str) -> Compiled:
    policy = read_policy(text)
    rules: list[Rule] = [*policy.input, *policy.context, *policy.output]
    words = {one.rule: _words(one) for one in rules}
    checks = {one.rule: one.model_check for one in policy.output if one.model_check is not None}
    return Compiled(
        PolicyVersion(SHIPPED, sha256(text), text, "", "", ""),
        policy,
        {name: words_of(phrases) for name, phrases in policy.topics.items()},
        words,
        {one.rule: words_of(one.titles or ()) for one in policy.context},
        {name: words_of(one.fallback_phrases or (), one.fallback_patterns or ()) for name, one in checks.items()},
    )


def _words(rule: Rule) -> Words:
    patterns = [*(rule.patterns or ()), *(INJECTION if getattr(rule, "injection", None) else ())]
    return words_of(rule.phrases or (), patterns, getattr(rule, "detect", None) or ())


def _faults(policy: Policy) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What a schema cannot say: names that must be there, or must not be twice, and patterns that must compile."""
    known: set[str] = set()
    for topic in policy.stakes.topics:
        if topic not in policy.topics:
            yield ("stakes", "topics", topic), f"there is no topic {topic!r}"
    stages: dict[str, list[Any]] = {"input": policy.input, "context": policy.context, "output": policy.output}
    for stage, rules in stages.items():
        for place, one in enumerate(rules):
            where: tuple[str | int, ...] = (stage, place)
            if one.rule in known:
                yield (*where, "rule"), f"there are two rules {one.rule!r}"
            known.add(one.rule)
            if one.rule == THRESHOLDS:
                yield (*where, "rule"), f"the name {THRESHOLDS!r} is that of the verdicts by the confidence"
            yield from (
                ((*where, "topics"), f"there is no topic {t!r}") for t in one.topics or () if t not in policy.topics
            )
            yield from (((*where, *rest), what) for rest, what in _rule_faults(one))
    low, high = policy.thresholds.abstain_below, policy.thresholds.review_below
    if low is not None and high is not None and low > high:
        yield ("thresholds", "review_below"), "lies below abstain_below: no answer would ever reach a person"


def _rule_faults(rule: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if not rule.conditions:
        yield ("rule",), f"rule {rule.rule!r} has no condition; `always: true` makes it apply to all"
    if "always" in rule.conditions and len(rule.conditions) > 1:
        yield ("always",), "a rule that always applies can have no other condition"
    failing = getattr(rule, "model_check", None)
    reviews = rule.then == "review" or (failing is not None and failing.on_failure == "review")
    for name in ("approvals", "deadline_hours"):
        if getattr(rule, name) is not None and not reviews:
            yield (name,), "is for rules with `then: review`"
    lists: dict[tuple[str, ...], Any] = {("patterns",): rule.patterns or ()}
    if failing is not None:
        lists["model_check", "fallback_patterns"] = failing.fallback_patterns or ()
    for where, patterns in lists.items():
        for place, pattern in enumerate(patterns):
            try:
                words_of((), (pattern,))
            except InvalidInput as error:
                yield (*where, place), str(error)


def _yaml(text: str) -> tuple[yaml.Node, Any]:
    """The tree and the value of a YAML text without anchors, tags, repeated keys or deep nesting."""
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            named = isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None)
            if named or depth > DEEPEST or isinstance(getattr(event, "tag", None), str):
                what = "is nested too deeply" if depth > DEEPEST else "uses an anchor or tag, which policies may not"
                line = event.start_mark.line + 1 if event.start_mark is not None else 1
                raise InvalidInput(f"line {line} of the policy {what}")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise InvalidInput(f"the policy is not YAML: {where}{getattr(error, 'problem', None) or error}") from error
    if not isinstance(node, yaml.MappingNode):
        raise InvalidInput("the policy is not a mapping of sections; `format: 1` begins one")
    _refuse_repeats(node)
    return node, value


def _refuse_repeats(node: yaml.Node) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise InvalidInput(f"line {key.start_mark.line + 1} of the policy repeats the key {key.value!r}")
            seen.add(key.value)
            _refuse_repeats(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeats(value)


def _fault(node: yaml.Node, where: tuple[str | int, ...], what: str) -> str:
    name = ".".join(str(part) for part in where)
    return f"line {_line(node, where)}{f', {name}' if name else ''}: {what}"


def _line(node: yaml.Node, where: tuple[str | int, ...]) -> int:
    """The line of a field, or of the deepest part of its path that the file has."""
    line = node.start_mark.line
    for part in where:
        found: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == part:
                    line, found = key.start_mark.line, value
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = node.value[part]
            line = found.start_mark.line
        if found is None:
            break
        node = found
    return int(line) + 1

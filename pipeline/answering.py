"""A question's journey: guard -> retrieve -> render prompt -> generate -> ground -> decide -> record, under a policy.

Plain code and one transaction: nobody sees an answer before its record is durable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any, TypeVar

from kernel.errors import GenerationFailed, InvalidInput, NotFound
from kernel.ids import once_id, random_id, sha256
from kernel.ports import GenerationRequest, Generator, OutputChecker
from kernel.records import (
    AnswerSentence,
    AnswerStatus,
    Decomposed,
    DocumentInfo,
    Evidence,
    Generation,
    Grounded,
    LiveState,
    Message,
    Passage,
    PromptVersion,
    Question,
    Reranked,
    RevisionStanding,
)
from kernel.storage.answers import Answers, OvertakenError
from kernel.storage.reviews import POLICY, Reviews
from kernel.storage.snapshots import Snapshots
from pipeline.grounding import Checks, ground
from pipeline.judged import RecordingJudge, Said
from pipeline.oversight.policy import STAKES, Compiled, OutputRule, compile_policy, shipped_policy
from pipeline.oversight.policy_book import PolicyBook
from pipeline.oversight.release import WAITS
from pipeline.oversight.rules import (
    EMPTIED,
    PASS,
    CheckReply,
    Matter,
    ReviewNeed,
    Verdict,
    asked,
    decided,
    judge_context,
    judge_input,
    judge_output,
    matter_of,
    refusal,
    verdict_json,
)
from pipeline.prompts.library import Asker, Chosen, PromptLibrary, shipped_prompt
from pipeline.prompts.output import Try, generate_checked
from pipeline.prompts.rendering import compile_prompt, inputs_text, render
from retrieval.context import assemble
from retrieval.reasons import reasons_of
from retrieval.search import Found, Searcher, WhyNotFound

T = TypeVar("T")
OWN_WORDS = "extractive"
"""The provider of answers that take no model."""
OVERTAKEN_TRIES = 8
"""So many withdrawals and erasures may overtake a question before it gives up."""


@dataclass(frozen=True, slots=True)
class AnsweringSettings:
    """What every answer is made with; recorded with each."""

    top_k: int
    context_tokens: int
    max_question_chars: int
    candidates: int
    search: str


@dataclass(frozen=True, slots=True)
class Oversight:
    """What answers are judged by: the policies, where reviews are opened, and what judges rules in words, if any.

    `watch` is told of the experiment that a recorded answer was made in. It never raises.
    """

    book: PolicyBook
    reviews: Reviews
    checker: OutputChecker | None = None
    prompts: PromptLibrary | None = None
    watch: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class Pinned:
    """Everything that an answer follows from: nothing else is looked up while it is made.

    `at` is the moment of asking, which a policy counts ages back from. `replies` are those of the model that checked
    the answer before; None: it is asked. `experiment` and `arm` are what chose the prompt, or empty. `inputs` are those
    that the prompt declares, defaults filled in.
    """

    question: Question
    state: LiveState
    prompt: PromptVersion
    settings: AnsweringSettings
    policy: Compiled
    at: str
    replies: Mapping[str, CheckReply] | None = None
    experiment: str = ""
    arm: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def judged_text(self) -> str:
        """What a policy's rules for questions read: the question, and what its caller put in besides."""
        return "\n".join([self.question.text, *([inputs_text(self.inputs)] if self.inputs else [])])


@dataclass(frozen=True, slots=True)
class Composed:
    """An answer that nobody has seen yet, and what it was made from; `found` is None where a policy refused the
    question. `grounded` is the answer as the policy leaves it, `review` what must happen before it is released.
    """

    pinned: Pinned
    found: Found | None
    evidence: Evidence
    messages: tuple[Message, ...]
    generation: Generation
    grounded: Grounded
    timings_ms: Mapping[str, float]
    matter: Matter
    verdicts: tuple[Verdict, ...] = ()
    replies: Mapping[str, CheckReply] = field(default_factory=dict)
    review: ReviewNeed | None = None
    judged: tuple[Said, ...] = ()
    tries: tuple[Try, ...] = ()


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Passages found for a question, the snapshot that they are from, and how long each stage took."""

    passages: tuple[Passage, ...]
    snapshot: int
    candidates: int
    entities: tuple[str, ...]
    timings_ms: Mapping[str, float]
    reranker: Reranked | None = None
    decomposer: Decomposed | None = None


@dataclass(frozen=True, slots=True)
class DocumentFate:
    """What became of a document when a question was searched for, with the reasons in sentences."""

    document: DocumentInfo
    found: WhyNotFound
    reasons: tuple[str, ...]


class Answering:
    """Answers questions and records each answer before it is returned."""

    def __init__(
        self,
        snapshots: Snapshots,
        searcher: Searcher,
        generator: Generator,
        answers: Answers,
        settings: AnsweringSettings,
        oversight: Oversight | None = None,
        checks: Checks | None = None,
    ) -> None:
        self._oversight = oversight
        self._snapshots = snapshots
        self._searcher = searcher
        self._generator = generator
        self._answers = answers
        self._settings = settings
        self._checks = checks or Checks()

    @property
    def model(self) -> str:
        """What writes answers, as `provider/name`."""
        return f"{self._generator.info.provider}/{self._generator.info.name}"

    def retrieve(self, question: Question, *, explain: bool = False) -> Retrieved:
        """The passages alone, without an answer. Raises InvalidInput, or NotFound for an unknown snapshot."""
        begin = time.perf_counter()
        self._guard(question)
        top_k = question.top_k or self._settings.top_k

        def search() -> tuple[LiveState, Found]:
            state, who = self._state(question), question.principal
            return state, self._searcher.search(
                question.text, state, who, top_k, explain=explain, within=question.within
            )

        state, found = self._steadily(search)
        timings = found.timings_ms | {"total": _since(begin)}
        return Retrieved(
            found.passages,
            state.snapshot,
            len(found.candidates),
            found.entities,
            timings,
            found.reranker,
            found.decomposer,
        )

    def context(self, question: Question) -> Evidence:
        """The passages that an answer to `question` would be made from now, as its policy leaves them; nothing is
        recorded. Raises as `retrieve` does.
        """
        self._guard(question)
        top_k = question.top_k or self._settings.top_k
        policy = self._oversight.book.in_force() if self._oversight else compile_policy(shipped_policy())
        matter = matter_of(policy, question.text, question.stakes)

        def assembled() -> Evidence:
            state, at = self._state(question), datetime.now(UTC).isoformat(timespec="microseconds")
            found = self._searcher.search(question.text, state, question.principal, top_k, within=question.within)
            whole = assemble(found, state.snapshot, self._settings.context_tokens)
            return judge_context(policy, matter, whole, self._standings, state.access_version, at)[0]

        return self._steadily(assembled)

    def why_not(self, question: Question, document: DocumentInfo) -> DocumentFate:
        """Why a document comes as far as it does when `retrieve` is asked the same. The caller has checked that the
        question's principal may see the document in the question's snapshot. Raises as `retrieve` does.
        """
        self._guard(question)
        top_k = question.top_k or self._settings.top_k
        found = self._searcher.why_not(question.text, self._state(question), question.principal, top_k, document.id)
        notices = found.passage.notices if found.passage else ()
        return DocumentFate(document, found, reasons_of(found.why, notices, document.reason))

    def ask(self, question: Question, reask_of: str | None = None) -> dict[str, Any]:
        """The answer, as JSON values, recorded. Raises InvalidInput or NotFound; a model's failure is an answer too,
        with status `failed` and its reason, so that it leaves a record. `reask_of` is the id of an answer that this
        one is to take the place of.

        Where a document is withdrawn while an answer stands on it, that answer is given up and the question asked anew.
        """
        begin = time.perf_counter()
        answer_id, known = self._under_key(question) if question.key else ("", None)
        if known is not None:
            return known
        answer = self._steadily(lambda: self._record(self.compose(self.pin(question)), begin, reask_of, answer_id))
        experiment = answer["prompt"].get("experiment")
        if experiment and self._oversight and self._oversight.watch:
            self._oversight.watch(experiment)
        return answer

    def _under_key(self, question: Question) -> tuple[str, dict[str, Any] | None]:
        """The id that the answer to a question with a key gets, and the answer itself where the same was asked with
        that key before. One that failed, or that was asked something else, is not taken again.
        """
        for place in count():
            answer_id = once_id("ans", question.key, str(place))
            try:
                found = self._answers.get(answer_id, question.principal)
            except NotFound:
                return answer_id, None
            same = not found.erased and _asks(found.body) == (question.text, question.as_of)
            if same and found.body["status"] != AnswerStatus.FAILED.value:
                return answer_id, dict(found.body) | {
                    "ledger": {"index": found.number, "leaf_sha256": found.leaf_sha256}
                }
        raise AssertionError

    def _steadily(self, act: Callable[[], T]) -> T:
        """The result of `act`, made anew where documents were taken away meanwhile: nobody sees what is gone."""
        for _ in range(OVERTAKEN_TRIES):
            version = self._snapshots.live().access_version
            try:
                return act()
            except OvertakenError:
                continue
            except (KeyError, IndexError):
                if self._snapshots.live().access_version == version:
                    raise
        return act()

    def pin(self, question: Question) -> Pinned:
        """What an answer to `question` follows from now. Raises InvalidInput or NotFound."""
        self._guard(question)
        settings = replace(self._settings, top_k=question.top_k or self._settings.top_k)
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        policy, chosen = self._in_force(question)
        inputs = chosen.compiled.checked(question.inputs)
        state = self._state(question)
        return Pinned(
            question, state, chosen.version, settings, policy, at, None, chosen.experiment, chosen.arm, inputs
        )

    def _in_force(self, question: Question) -> tuple[Compiled, Chosen]:
        """The policy and the prompt that this question gets, both of one moment: a release moves them together."""
        if self._oversight is None:
            return compile_policy(shipped_policy()), self._chosen(question)
        if question.chosen is not None and question.chosen.policy:
            return self._oversight.book.by_sha256(question.chosen.policy), self._chosen(question)
        policy = self._oversight.book.in_force()
        for _ in range(OVERTAKEN_TRIES):
            chosen, again = self._chosen(question), self._oversight.book.in_force()
            if again.version.sha256 == policy.version.sha256:
                break
            policy = again
        return policy, chosen

    def _chosen(self, question: Question) -> Chosen:
        """The version of the prompt that this question gets. Raises NotFound, or InvalidInput for one that answers
        from no documents.
        """
        library = self._oversight.prompts if self._oversight else None
        if library is None:
            return Chosen(compile_prompt(shipped_prompt()))
        asker = Asker(question.principal, question.session, self.model, question.stakes, question.chosen)
        chosen = library.choose(question.prompt, asker)
        if not chosen.compiled.anatomy.grounded:
            name = chosen.version.name
            raise InvalidInput(f"prompt {name} answers from its inputs alone: run it with `vouch prompts run {name}`")
        return chosen

    def compose(self, pinned: Pinned) -> Composed:
        """The answer that follows from what is pinned. Writes nothing; the same again gives the same again."""
        begin = time.perf_counter()
        question, settings, policy = pinned.question, pinned.settings, pinned.policy
        matter = matter_of(policy, pinned.judged_text, question.stakes)
        before = judge_input(policy, matter, pinned.judged_text)
        refused = refusal(policy, before)
        if refused is not None:
            return _refused(pinned, matter, before, refused, begin)
        found = self._searcher.search(
            question.text, pinned.state, question.principal, settings.top_k, within=question.within
        )
        whole = assemble(found, pinned.state.snapshot, settings.context_tokens)
        access = pinned.state.access_version
        evidence, within = judge_context(policy, matter, whole, self._standings, access, pinned.at)
        retrieved = time.perf_counter()
        messages = render(compile_prompt(pinned.prompt), question.text, evidence, pinned.inputs)
        emptied = bool(whole.passages) and not evidence.passages
        generation, failed, tries = self._generate(pinned, messages, evidence, emptied)
        generated = time.perf_counter()
        checks = self._checks_under(policy)
        judge = RecordingJudge(checks.judge) if checks.judge is not None else None
        grounded = failed or ground(generation, evidence, replace(checks, judge=judge), question.text)
        after, replies = judge_output(policy, matter, grounded, lambda rule: self._check(pinned, rule, grounded))
        verdicts = (*before, *within, *after)
        grounded, review = decided(policy, grounded, verdicts)
        timings = {
            "retrieve": round((retrieved - begin) * 1000, 3),
            "generate": round((generated - retrieved) * 1000, 3),
            "ground": _since(generated),
        }
        timings |= {stage: found.timings_ms[stage] for stage in ("decompose", "rerank") if stage in found.timings_ms}
        return Composed(
            pinned,
            found,
            evidence,
            messages,
            generation,
            grounded,
            timings,
            matter,
            verdicts,
            replies,
            review,
            tuple(judge.said) if judge else (),
            tries,
        )

    def _checks_under(self, policy: Compiled) -> Checks:
        """What sentences are checked with, from the probability on that the policy asks for."""
        wanted = policy.policy.thresholds.supported
        return self._checks if wanted is None else replace(self._checks, supported=wanted)

    def _standings(self, chunk_ids: Sequence[str], access: int) -> Mapping[str, RevisionStanding]:
        return self._oversight.book.stored.standings(chunk_ids, access) if self._oversight else {}

    def _check(self, pinned: Pinned, rule: OutputRule, grounded: Grounded) -> CheckReply:
        """What a model says of the answer, or said when it was recorded."""
        if pinned.replies is not None:
            return pinned.replies[rule.rule]
        checker = self._oversight.checker if self._oversight else None
        return asked(checker, rule, pinned.question.text, grounded.answer)

    def _guard(self, question: Question) -> None:
        text = question.text.strip()
        if not text:
            raise InvalidInput("the question is empty")
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise InvalidInput("the question holds characters that are not text")
        if len(text) > self._settings.max_question_chars:
            raise InvalidInput(f"the question is longer than {self._settings.max_question_chars} characters")
        if question.top_k is not None and not 1 <= question.top_k <= 100:
            raise InvalidInput("top_k must be between 1 and 100")
        if question.stakes is not None and question.stakes not in STAKES:
            raise InvalidInput(f"stakes must be one of {', '.join(STAKES)}")

    def _state(self, question: Question) -> LiveState:
        state = self._snapshots.live()
        if question.as_of is None:
            return state
        named = self._snapshots.resolve(str(question.as_of))
        return replace(state, snapshot=named, last_chunk=self._snapshots.last_chunk(named))

    def _generate(
        self, pinned: Pinned, messages: tuple[Message, ...], evidence: Evidence, emptied: bool
    ) -> tuple[Generation, Grounded | None, tuple[Try, ...]]:
        ids = tuple(passage.chunk_id for passage in evidence.passages)
        if not ids:
            reason = EMPTIED if emptied else "There is no document that you may see in this snapshot."
            return Generation("", reason), None, ()
        header = compile_prompt(pinned.prompt).anatomy.header
        request = GenerationRequest(pinned.question.text, messages, evidence, ids, header.model.options)
        try:
            if self._generator.info.provider == OWN_WORDS:
                return self._generator.generate(request), None, ()
            generation, tries = generate_checked(self._generator, request, header.output)
            return generation, None, tries
        except GenerationFailed as error:
            return Generation("", str(error)), Grounded(AnswerStatus.FAILED, str(error), "", 0.0), ()

    def body_of(self, composed: Composed) -> dict[str, Any]:
        """The answer as its caller sees it, but for what recording adds."""
        pinned, grounded, generation = composed.pinned, composed.grounded, composed.generation
        prompt = pinned.prompt
        usage = {
            "prompt_tokens": generation.prompt_tokens,
            "completion_tokens": generation.completion_tokens,
            "cost": generation.cost,
        }
        return {
            "id": random_id("ans"),
            "status": AnswerStatus.PENDING_REVIEW.value if composed.review else grounded.status.value,
            "reason": WAITS if composed.review else grounded.reason,
            "question": pinned.question.text,
            "answer": grounded.answer,
            "confidence": grounded.confidence,
            "sentences": [sentence_json(sentence) for sentence in grounded.sentences],
            "citations": [citation_json(citation) for citation in grounded.citations],
            "conflicts": [asdict(conflict) for conflict in grounded.conflicts],
            "notices": [asdict(notice) for notice in grounded.notices],
            "retrieval": {
                "snapshot": pinned.state.snapshot,
                "as_of": pinned.question.as_of,
                "candidates": len(composed.evidence.candidates),
                "used": len(composed.evidence.passages),
                **(helpers_json(composed.found) if composed.found else {}),
            },
            "policy": policy_json(composed),
            "prompt": {
                "name": prompt.name,
                "version": prompt.version,
                "sha256": prompt.sha256,
                "label": prompt.label,
                **({"experiment": pinned.experiment, "arm": pinned.arm} if pinned.experiment else {}),
            },
            "model": asdict(generation.model or self._generator.info),
            "usage": usage,
            "timings_ms": dict(composed.timings_ms),
            "created_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        }

    def run_of(self, composed: Composed) -> dict[str, Any]:
        """What the answer stood on: enough to rebuild it, and to show whether it can be."""
        pinned, found, evidence = composed.pinned, composed.found, composed.evidence
        principal = pinned.question.principal
        groups = None if principal.groups is None else sorted(principal.groups)
        return {
            "principal": {"id": principal.id, "role": principal.role.value, "groups": groups},
            "access_version": pinned.state.access_version,
            "settings": asdict(pinned.settings),
            "method": self._searcher.method,
            "checks": self._checks_under(pinned.policy).method,
            **({"judged": list(composed.judged)} if composed.judged else {}),
            "asked_at": pinned.at,
            "stakes": pinned.question.stakes,
            **({"session": pinned.question.session} if pinned.question.session else {}),
            **({"inputs": dict(pinned.inputs)} if pinned.inputs else {}),
            **({"within": sorted(pinned.question.within)} if pinned.question.within is not None else {}),
            "matter": {"topics": sorted(composed.matter.topics), "stakes": composed.matter.stakes},
            "verdicts": [verdict_json(verdict) for verdict in composed.verdicts],
            "policy_checks": {rule: asdict(reply) for rule, reply in composed.replies.items()},
            **({"reranker": asdict(found.reranker)} if found and found.reranker else {}),
            **({"decomposer": asdict(found.decomposer)} if found and found.decomposer else {}),
            "entities": list(found.entities) if found else [],
            "candidates": [list(pair) for pair in evidence.candidates],
            "context": [_context_json(passage) for passage in evidence.passages],
            "facts": [asdict(fact) for fact in evidence.facts],
            "messages": [asdict(message) for message in composed.messages],
            "reply": composed.generation.text,
            **({"reply_reason": composed.generation.reason} if composed.generation.reason else {}),
            **({"tries": [asdict(one) for one in composed.tries]} if composed.tries else {}),
        }

    def _record(
        self, composed: Composed, begin: float, reask_of: str | None = None, answer_id: str = ""
    ) -> dict[str, Any]:
        body, run = self.body_of(composed), self.run_of(composed)
        body |= {"id": answer_id} if answer_id else {}
        run |= {"reask_of": reask_of} if reask_of else {}
        cited = {citation["chunk_id"] for citation in body["citations"]}
        recording = time.perf_counter()
        index, leaf = self._answers.record(
            body,
            run,
            principal=composed.pinned.question.principal,
            prompt=composed.pinned.prompt,
            evidence=[(passage.chunk_id, passage.chunk_id in cited) for passage in composed.evidence.passages],
            policy=composed.pinned.policy.version,
            then=self._opening(composed, body["created_at"]),
        )
        timings = body["timings_ms"] | {"record": _since(recording), "total": _since(begin)}
        return body | {"timings_ms": timings, "ledger": {"index": index, "leaf_sha256": leaf}}

    def _opening(self, composed: Composed, at: str) -> Callable[[Any, int], None] | None:
        """What opens the review that an answer waits for, in the transaction that records it."""
        need, oversight = composed.review, self._oversight
        if need is None or oversight is None:
            return None

        def open_review(connection: Any, number: int) -> None:
            oversight.reviews.open(
                connection,
                [number],
                POLICY,
                approvals=need.approvals,
                deadline_hours=need.deadline_hours,
                rules=need.rules,
                at=at,
            )

        return open_review


def _asks(body: Mapping[str, Any]) -> tuple[str, int | None]:
    """What an answer was asked, and of which snapshot."""
    return body["question"], body["retrieval"]["as_of"]


def policy_json(composed: Composed) -> dict[str, Any]:
    """The policy that an answer was judged by, and what it said. `held` is what a review would release."""
    version, grounded = composed.pinned.policy.version, composed.grounded
    held = {"held": {"status": grounded.status.value, "reason": grounded.reason}} if composed.review else {}
    return {
        "version": max(version.number, 0),
        "sha256": version.sha256,
        "verdicts": [verdict_json(verdict) for verdict in composed.verdicts if verdict.verdict != PASS],
        **held,
    }


def _refused(pinned: Pinned, matter: Matter, verdicts: Sequence[Verdict], reason: str, begin: float) -> Composed:
    """The answer to a question that a policy does not let be answered: nothing was searched for, no model asked."""
    evidence = Evidence(pinned.state.snapshot, ())
    grounded = Grounded(AnswerStatus.ABSTAINED, reason, "", 0.0)
    timings = {"retrieve": _since(begin), "generate": 0.0, "ground": 0.0}
    return Composed(pinned, None, evidence, (), Generation("", reason), grounded, timings, matter, tuple(verdicts))


def _context_json(passage: Passage) -> dict[str, Any]:
    return {
        "chunk_id": passage.chunk_id,
        "document_id": passage.document_id,
        "revision": passage.revision,
        "start": passage.start,
        "end": passage.end,
        "score": passage.score,
        "text_sha256": sha256(passage.text),
        "path": [step_json(step) for step in passage.path],
    }


def helpers_json(found: Found | Retrieved) -> dict[str, Any]:
    """What the optional steps of a search did, of those that are on: a record holds more of it (`run`)."""
    shown: dict[str, Any] = {}
    if found.reranker:
        shown["reranker"] = {"model": found.reranker.model, "state": found.reranker.state}
    if found.decomposer:
        one = found.decomposer
        shown["decomposer"] = {"model": one.model, "state": one.state, "parts": list(one.parts)}
    return shown


def sentence_json(sentence: AnswerSentence) -> dict[str, Any]:
    """A sentence as JSON: its support names a judge only where one was asked."""
    support = {name: value for name, value in asdict(sentence.support).items() if value is not None}
    return asdict(sentence) | {"support": support}


def citation_json(citation: Any) -> dict[str, Any]:
    """A citation as JSON: steps of its path carry only what they have."""
    return asdict(citation) | {"path": [step_json(step) for step in citation.path]}


def step_json(step: Any) -> dict[str, Any]:
    """A step of a path: an entity, or a relation with its chunk."""
    return {name: value for name, value in asdict(step).items() if value is not None}


def _since(moment: float) -> float:
    return round((time.perf_counter() - moment) * 1000, 3)

"""Making a past answer again from what its record pins, and comparing every stage with the record byte for byte.

Documents, access rules, prompt and settings come from the store by what the record names; of what a model or another
helper said, the record holds the words themselves. Nothing is recorded here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import Any

from kernel.errors import Conflict, GenerationFailed, VouchError
from kernel.ids import sha256
from kernel.ports import GenerationRequest, Generator
from kernel.records import (
    Decomposed,
    Generation,
    LiveState,
    ModelInfo,
    Passage,
    Principal,
    PromptVersion,
    Question,
    Reranked,
    Role,
)
from kernel.storage.answers import AnswerRecord, Answers
from kernel.storage.pins import Pins
from kernel.storage.snapshots import Snapshots
from pipeline.answering import OWN_WORDS, Answering, AnsweringSettings, Composed, Oversight, Pinned
from pipeline.grounding import Checks
from pipeline.judged import RecordedJudge
from pipeline.oversight.differences import first_difference, text_diff
from pipeline.oversight.release import Releases
from pipeline.prompts.rendering import compile_prompt
from retrieval.cells import CELLS_FROM
from retrieval.helpers import FAILED, Helpers
from retrieval.search import Searcher

VOLATILE = ("id", "timings_ms", "created_at", "ledger")
"""Members of an answer that belong to the event and not to what was answered."""
CHECKS = ("checks", "judged")
"""Members of a run that say how its sentences were checked."""
Json = dict[str, Any]
MakeSearcher = Callable[[int, str, Helpers], Searcher]
"""A searcher that takes so many candidates of each signal, searches vectors `auto` or `exact`, and asks these."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """An answer made again, beside its record; `body` and `run` are JSON values of the same shape as the record's."""

    record: AnswerRecord
    composed: Composed
    body: Json
    run: Json


@dataclass(frozen=True, slots=True)
class _Named:
    """Stands where a model was: it has its name, and is never asked."""

    model: str
    prompt: str = ""

    def score(self, question: str, texts: Sequence[str]) -> Any:
        raise NotImplementedError

    def parts(self, question: str) -> tuple[str, ...]:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class RecordedHelpers(Helpers):
    """Says what the optional steps of a search said when it was recorded."""

    reranked: Reranked | None = None
    decomposed: Decomposed | None = None
    recorded: tuple[tuple[str, Any], ...] = ()

    @property
    def method(self) -> dict[str, object]:
        """What the record says of them."""
        return dict(self.recorded)

    def decompose(self, question: str) -> Decomposed | None:
        """The parts in the record."""
        del question
        return self.decomposed

    def rerank(self, question: str, passages: Sequence[Passage]) -> Reranked | None:
        """The scores in the record, if they are of these passages."""
        del question
        if self.reranked is None or not self.reranked.scores:
            return self.reranked
        if [passage.chunk_id for passage in passages] != [chunk_id for chunk_id, _ in self.reranked.scores]:
            return Reranked(self.reranked.model, f"{FAILED}the scores in the record are of other passages")
        return self.reranked


class RecordedGenerator:
    """Replies what the record says that the model replied."""

    def __init__(self, record: AnswerRecord) -> None:
        self._record = record

    @property
    def info(self) -> ModelInfo:
        """The model of the record."""
        return ModelInfo(**self._record.body["model"])

    def generate(self, request: GenerationRequest) -> Generation:
        """The reply in the record. Raises GenerationFailed where the record is of a failure."""
        del request
        body, run = self._record.body, self._record.run
        if body["status"] == "failed":
            raise GenerationFailed(str(body["reason"]))
        return Generation(run["reply"], run.get("reply_reason"), **body["usage"])


class Replayer:
    """Replays answers. `own_words` is the generator that needs no model; `fresh` gives the one that is configured."""

    def __init__(
        self,
        answers: Answers,
        snapshots: Snapshots,
        pins: Pins,
        searcher: MakeSearcher,
        own_words: Generator,
        fresh: Callable[[], Generator],
        settings: AnsweringSettings,
        oversight: Oversight,
        releases: Releases,
        checks: Checks,
    ) -> None:
        self._answers = answers
        self._snapshots = snapshots
        self._pins = pins
        self._make_searcher = searcher
        self._plain = lru_cache(maxsize=4)(lambda each, search: searcher(each, search, Helpers()))
        self._own_words = own_words
        self._fresh = fresh
        self._settings = settings
        self._oversight = oversight
        self._releases = releases
        self._checks = checks

    def replay(self, answer_id: str, principal: Principal, *, ask_again: bool = True) -> Json:
        """The report: of each stage whether it came out as recorded, and where not, how.

        With `ask_again`, a model that is configured is asked the same once more, beside: for those who oversee, since
        no policy judged its words. Raises NotFound where `principal` may not read the answer, and Conflict where its
        record was erased.
        """
        made = self.rebuild(self.record(answer_id, principal))
        stages = [_stage(*stage) for stage in _stages(made)]
        identical = all(stage["identical"] for stage in stages)
        body, run = made.record.body, made.record.run
        return {
            "id": answer_id,
            "identical": identical,
            "stages": stages,
            "reasons": [] if identical else self._reasons(made),
            "pinned": {
                "snapshot": body["retrieval"]["snapshot"],
                "access_version": run["access_version"],
                "principal": run["principal"],
                "settings": run["settings"],
                "method": run["method"],
                "prompt": body["prompt"],
                "policy": body.get("policy"),
                "model": body["model"],
            },
            "fresh": self._asked_again(made) if ask_again and principal.role.oversees else None,
        }

    def record(self, answer_id: str, principal: Principal) -> AnswerRecord:
        """The record of an answer that can be made again. Raises NotFound, or Conflict where that cannot be."""
        record = self._answers.get(answer_id, principal)
        if record.erased:
            raise Conflict(f"{answer_id} cannot be replayed: what was asked and answered was erased")
        if not self._releases.open_to(record, principal):
            raise Conflict(f"{answer_id} was not released as it was made: reviewers may replay it")
        if "access_version" not in record.run:
            raise Conflict(f"{answer_id} cannot be replayed: it was recorded before records pinned the access rules")
        return record

    def rebuild(self, record: AnswerRecord) -> Rebuilt:
        """The answer made again from what its record pins."""
        run = record.run
        settings = settings_of(run, self._settings)
        helpers = _recorded_helpers(run)
        each = run["method"].get("each", settings.candidates)
        search = run["method"].get("search", settings.search)
        searcher = self._make_searcher(each, search, helpers) if helpers.recorded else self._plain(each, search)
        own = record.body["model"]["provider"] == OWN_WORDS
        generator = self._own_words if own else RecordedGenerator(record)
        checks = replace(self._checks, judge=_recorded_judge(run))
        answering = Answering(self._snapshots, searcher, generator, self._answers, settings, self._oversight, checks)
        composed = answering.compose(self.pinned(record, settings))
        body, run = as_json(answering.body_of(composed)), as_json(answering.run_of(composed))
        return Rebuilt(record, composed, body, run)

    def pinned(self, record: AnswerRecord, settings: AnsweringSettings) -> Pinned:
        """What the answer followed from."""
        policy = self._oversight.book.pinned(record.body, record.run)
        return Pinned(
            question_of(record),
            self.state(record),
            self.prompt(record),
            settings,
            policy.policy,
            policy.at,
            policy.replies,
            record.body["prompt"].get("experiment", ""),
            record.body["prompt"].get("arm", ""),
            record.run.get("inputs", {}),
        )

    def prompt(self, record: AnswerRecord) -> PromptVersion:
        """The template that the answer was made with, from the store: never the one that this program brings."""
        prompt = record.body["prompt"]
        return self._pins.prompt(prompt["sha256"], prompt["label"])

    def state(self, record: AnswerRecord) -> LiveState:
        """The snapshot, and the version of the access rules, that the answer was made under."""
        snapshot = record.body["retrieval"]["snapshot"]
        return LiveState(snapshot, self._snapshots.last_chunk(snapshot), record.run["access_version"])

    def _reasons(self, made: Rebuilt) -> list[str]:
        """What could have made the difference, in words."""
        found = changed_members("the ranking method", made.record.run["method"], made.run["method"])
        found += changed_members("the model", made.record.body["model"], made.body["model"])
        found += changed_members("the check of sentences", made.record.run.get("checks", {}), made.run["checks"])
        snapshot = made.record.body["retrieval"]["snapshot"]
        erased = self._pins.erased_in(snapshot)
        if erased:
            found.append(f"{erased} revisions that snapshot {snapshot} showed were erased since")
        if made.record.run["method"].get("search") == "auto" and _many(made):
            found.append(
                f"more than {CELLS_FROM:,} passages were visible, so that vectors are searched approximately: "
                "an index that was built anew may find others (setting search = exact)"
            )
        return found or ["the store, or the program, is not what it was: see `vouch verify`"]

    def _asked_again(self, made: Rebuilt) -> Json | None:
        """What the configured model replies to the same prompt now; None where the answer took no model, or none is."""
        body = made.record.body
        if body["model"]["provider"] == OWN_WORDS or not made.composed.evidence.passages:
            return None
        try:
            generator = self._fresh()
            info = asdict(generator.info)
        except VouchError as error:
            return {"model": None, "reply": None, "error": str(error), "same": False, "diff": []}
        if info["provider"] == OWN_WORDS:
            return None
        shown: Json = {"model": info, "reply": None, "error": None, "same": False, "diff": []}
        ids = tuple(passage.chunk_id for passage in made.composed.evidence.passages)
        options = compile_prompt(made.composed.pinned.prompt).anatomy.header.model.options
        request = GenerationRequest(body["question"], made.composed.messages, made.composed.evidence, ids, options)
        try:
            reply = generator.generate(request).text
        except VouchError as error:
            return shown | {"error": str(error)}
        recorded = made.record.run["reply"]
        return shown | {"reply": reply, "same": reply == recorded, "diff": text_diff(recorded, reply)}


def _many(made: Rebuilt) -> bool:
    """Whether so many passages were visible that vectors are searched approximately."""
    return made.composed.found is not None and made.composed.found.view.count > CELLS_FROM


def as_json(value: Json) -> Json:
    """The value as it comes back from the store: tuples are lists."""
    found: Json = json.loads(json.dumps(value))
    return found


def question_of(record: AnswerRecord) -> Question:
    """The question of a record, asked by the principal who asked it."""
    asker, body = record.run["principal"], record.body
    groups = None if asker["groups"] is None else frozenset(asker["groups"])
    return Question(
        body["question"],
        Principal(asker["id"], Role(asker["role"]), groups),
        top_k=record.run["settings"]["top_k"],
        as_of=body["retrieval"]["as_of"],
        prompt=body["prompt"]["name"],
        stakes=record.run.get("stakes"),
        inputs=record.run.get("inputs", {}),
        within=frozenset(record.run["within"]) if "within" in record.run else None,
    )


def settings_of(run: Mapping[str, Any], today: AnsweringSettings) -> AnsweringSettings:
    """The settings in a record; one that is newer than the record is as it is today."""
    known = {field.name for field in fields(AnsweringSettings)}
    return AnsweringSettings(**asdict(today) | {k: v for k, v in run["settings"].items() if k in known})


def changed_members(of: str, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Which members of a thing are others than they were, in words."""
    names = sorted(name for name in {*recorded, *now} if recorded.get(name) != now.get(name))
    return [f"{of} is another: {name} was {_brief(recorded.get(name))}, is {_brief(now.get(name))}" for name in names]


def _brief(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _recorded_helpers(run: Mapping[str, Any]) -> RecordedHelpers:
    method = {name: run["method"][name] for name in ("reranker", "decomposer") if name in run["method"]}
    reranked = decomposed = None
    if "reranker" in run:
        said = run["reranker"]
        reranked = Reranked(said["model"], said["state"], tuple((one, score) for one, score in said["scores"]))
    if "decomposer" in run:
        said = run["decomposer"]
        decomposed = Decomposed(said["model"], said["prompt"], said["state"], tuple(said["parts"]))
    return RecordedHelpers(
        _Named(method["reranker"]["model"]) if "reranker" in method else None,
        method["reranker"]["passages"] if "reranker" in method else 0,
        None,
        reranked,
        decomposed,
        tuple(method.items()),
    )


def _recorded_judge(run: Mapping[str, Any]) -> RecordedJudge | None:
    judge = run.get("checks", {}).get("judge")
    return RecordedJudge(judge["model"], judge["prompt"], run.get("judged", ())) if judge else None


def _stages(made: Rebuilt) -> list[tuple[str, Any, Any]]:
    """The stages of an answer, each as the record has it and as it came out."""
    then, now = made.record.run, made.run
    body = {name: value for name, value in made.record.body.items() if name not in VOLATILE}
    again = {name: value for name, value in made.body.items() if name not in VOLATILE}
    stages = [
        (name, then.get(name), now.get(name)) for name in ("method", "entities", "candidates", "context", "facts")
    ]
    stages.append(("messages", then["messages"], now["messages"]))
    if "verdicts" in then:
        one, other = ({name: run.get(name) for name in ("matter", "verdicts", "policy_checks")} for run in (then, now))
        stages.append(("verdicts", one, other))
    stages.append(("checks", [then.get(name) for name in CHECKS], [now.get(name) for name in CHECKS]))
    return [*stages, ("reply", then["reply"], now["reply"]), ("answer", body, again)]


def _stage(name: str, recorded: Any, now: Any) -> Json:
    """How a stage came out; the hashes are over the same canonical JSON that records are stored as."""
    one, other = (
        json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for value in (recorded, now)
    )
    return {
        "stage": name,
        "identical": one == other,
        "sha256": sha256(one),
        "replayed_sha256": sha256(other),
        "difference": None if one == other else first_difference(name, recorded, now),
    }

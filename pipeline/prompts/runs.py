"""Using a prompt that answers from its inputs alone: choose -> check inputs -> judge -> render -> generate -> record.

Nobody sees a reply before its record is durable. The policy in force judges the inputs and the reply; where it asks for
a person's review, the reply is withheld, since a run cannot wait for one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from kernel.errors import GenerationFailed, InvalidInput, NoModel, NotFound
from kernel.ids import once_id, random_id
from kernel.ports import GenerationRequest, Generator, OutputChecker
from kernel.records import (
    AnswerStatus,
    Choice,
    Evidence,
    Generation,
    Grounded,
    Message,
    ModelInfo,
    Principal,
    PromptVersion,
)
from kernel.storage.prompt_runs import PromptRun, PromptRuns
from pipeline.oversight.policy import STAKES, THRESHOLDS, Compiled
from pipeline.oversight.policy_book import PolicyBook
from pipeline.oversight.rules import (
    PASS,
    REVIEW,
    Matter,
    Verdict,
    asked,
    decided,
    judge_input,
    judge_output,
    matter_of,
    refusal,
    verdict_json,
)
from pipeline.prompts.library import Asker, Chosen, PromptLibrary
from pipeline.prompts.output import generate_checked, json_of
from pipeline.prompts.rendering import Compiled as CompiledPrompt
from pipeline.prompts.rendering import inputs_text, render

NOTHING = Generation("")
DONE, FAILED, REFUSED, WITHHELD = "done", "failed", "refused", "withheld"
OWN_WORDS = "extractive"
NEEDS_REVIEW = "The policy asks for a person's approval of this, and a run of a prompt cannot wait for one."


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What is to be run, for whom. `prompt` is a name, or `name@label`, or `name@number`.

    Steps of workflows also give what was chosen at their run's start, and a key: run with it a second time, the reply
    is the one that was recorded the first time.
    """

    prompt: str
    inputs: Mapping[str, Any]
    principal: Principal
    session: str | None = None
    stakes: str | None = None
    chosen: Choice | None = None
    key: str = ""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What came of a run before it is recorded."""

    status: str
    reason: str | None
    messages: tuple[Message, ...] = ()
    generation: Generation = NOTHING
    replies: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    checks: Mapping[str, Any] | None = None
    model: ModelInfo | None = None
    milliseconds: float = 0.0

    @property
    def output(self) -> str:
        """The text that the caller gets; none but of a run that is done."""
        return self.generation.text if self.status == DONE else ""


class _Heard:
    """A generator that keeps what was replied, the tries that were not good enough too."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self.replies: list[str] = []

    @property
    def info(self) -> ModelInfo:
        return self._generator.info

    def generate(self, request: GenerationRequest) -> Generation:
        made = self._generator.generate(request)
        self.replies.append(made.text)
        return made


class PromptRunner:
    """Runs prompts of the library and records each run. `generator` gives the model that is configured; `watch` is told
    of the experiment that a recorded run was made in, and never raises.
    """

    def __init__(
        self,
        library: PromptLibrary,
        generator: Callable[[], Generator],
        book: PolicyBook,
        runs: PromptRuns,
        checker: OutputChecker | None = None,
        watch: Callable[[str], None] | None = None,
    ) -> None:
        self._watch = watch
        self._library = library
        self._generator = generator
        self._book = book
        self._runs = runs
        self._checker = checker

    @property
    def stored(self) -> PromptRuns:
        """Past runs."""
        return self._runs

    @property
    def model(self) -> str:
        """The model that is configured, as `provider/name`."""
        info = self._generator().info
        return f"{info.provider}/{info.name}"

    def run(self, request: RunRequest) -> dict[str, Any]:
        """The reply, as JSON values, recorded. A model's failure is a run too, of status `failed` with its reason.

        Raises NotFound, Forbidden for a draft, InvalidInput for inputs that do not fit and for a prompt that answers
        from documents, and NoModel where none is configured.
        """
        begin = time.perf_counter()
        if request.stakes is not None and request.stakes not in STAKES:
            raise InvalidInput(f"stakes must be one of {', '.join(STAKES)}")
        generator = self._generator()
        model = f"{generator.info.provider}/{generator.info.name}"
        asker = Asker(request.principal, request.session, model, request.stakes, request.chosen)
        chosen = self._library.choose(request.prompt, asker)
        refuse_grounded(chosen.compiled)
        inputs = chosen.compiled.checked(request.inputs)
        refuse_own_words(generator, chosen.version)
        run_id, known = self._under_key(request, inputs) if request.key else ("", None)
        if known is not None:
            return known
        policy = self._policy(request)
        matter = matter_of(policy, inputs_text(inputs), request.stakes)
        spoken = self._spoken(chosen.compiled, inputs, generator, policy, matter)
        body = self._body(chosen, spoken, generator.info) | {"timings_ms": {"generate": spoken.milliseconds}}
        body |= {"id": run_id} if run_id else {}
        run = self._run(request, inputs, policy, matter, spoken)
        index, leaf = self._runs.record(
            body, run, principal=request.principal, prompt=chosen.version, policy=policy.version
        )
        if chosen.experiment and self._watch:
            self._watch(chosen.experiment)
        total = round((time.perf_counter() - begin) * 1000, 3)
        timings = body["timings_ms"] | {"total": total}
        return body | {"timings_ms": timings, "ledger": {"index": index, "leaf_sha256": leaf}}

    def _policy(self, request: RunRequest) -> Compiled:
        chosen = request.chosen
        return self._book.by_sha256(chosen.policy) if chosen is not None and chosen.policy else self._book.in_force()

    def _under_key(self, request: RunRequest, inputs: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
        """The id that a run with a key gets, and the run itself where the same was run with that key before."""
        for place in count():
            run_id = once_id("run", request.key, str(place))
            try:
                found = self._runs.get(run_id, request.principal)
            except NotFound:
                return run_id, None
            if not found.erased and found.body["status"] != FAILED and found.run["inputs"] == dict(inputs):
                ledger = {"index": found.number, "leaf_sha256": found.leaf_sha256}
                return run_id, dict(found.body) | {"ledger": ledger}
        raise AssertionError

    def tried(self, compiled: CompiledPrompt, given: Mapping[str, Any], stakes: str | None = None) -> dict[str, Any]:
        """What a version replies to inputs, judged as a run is, and not recorded. Raises as `run` does."""
        generator = self._generator()
        refuse_grounded(compiled)
        inputs = compiled.checked(given)
        refuse_own_words(generator, compiled.version)
        policy = self._book.in_force()
        matter = matter_of(policy, inputs_text(inputs), stakes)
        spoken = self._spoken(compiled, inputs, generator, policy, matter)
        body = self._body(Chosen(compiled), spoken, generator.info)
        return body | {"id": None, "timings_ms": {"generate": spoken.milliseconds}}

    def _spoken(
        self,
        compiled: CompiledPrompt,
        inputs: Mapping[str, Any],
        generator: Generator,
        policy: Compiled,
        matter: Matter,
    ) -> Spoken:
        before = tuple(judge_input(policy, matter, inputs_text(inputs)))
        refused = refusal(policy, before)
        if refused is None and any(one.verdict == REVIEW for one in before):
            refused = NEEDS_REVIEW
        if refused is not None:
            return Spoken(REFUSED, refused, verdicts=before)
        messages = render(compiled, "", Evidence(0, ()), inputs)
        header = compiled.anatomy.header
        request = GenerationRequest(inputs_text(inputs), messages, Evidence(0, ()), (), header.model.options)
        heard = _Heard(generator)
        begin = time.perf_counter()
        try:
            generation, _ = generate_checked(heard, request, header.output)
        except GenerationFailed as error:
            replies = tuple(heard.replies)
            return Spoken(FAILED, str(error), messages, NOTHING, replies, before, milliseconds=_since(begin))
        replies, spent = tuple(heard.replies), _since(begin)
        spoken = Spoken(DONE, None, messages, generation, replies, before, {}, generation.model, spent)
        if not generation.text.strip():
            reason = generation.reason or "The model gave an empty reply."
            return replace(spoken, status=FAILED, reason=reason)
        return self._judged(spoken, policy, matter)

    def _judged(self, spoken: Spoken, policy: Compiled, matter: Matter) -> Spoken:
        """A reply as the policy leaves it. A run has no confidence, so thresholds of confidence do not judge it."""
        reply = Grounded(AnswerStatus.ANSWERED, None, spoken.generation.text, 1.0)
        found, replies = judge_output(
            policy, matter, reply, lambda rule: asked(self._checker, rule, matter.text.plain, reply.answer)
        )
        verdicts = [one for one in found if one.rule != THRESHOLDS]
        after, review = decided(policy, reply, verdicts)
        spoken = replace(
            spoken,
            verdicts=(*spoken.verdicts, *verdicts),
            checks={rule: asdict(one) for rule, one in replies.items()},
        )
        if review is not None:
            return replace(spoken, status=WITHHELD, reason=NEEDS_REVIEW)
        return spoken if after.answer else replace(spoken, status=WITHHELD, reason=str(after.reason))

    @staticmethod
    def _body(chosen: Chosen, spoken: Spoken, info: ModelInfo) -> dict[str, Any]:
        version, generation = chosen.version, spoken.generation
        experiment = {"experiment": chosen.experiment, "arm": chosen.arm} if chosen.experiment else {}
        schema = chosen.compiled.anatomy.header.output.json_schema
        return {
            "id": random_id("run"),
            "status": spoken.status,
            "reason": spoken.reason,
            "output": spoken.output,
            "json": json_of(spoken.output) if spoken.output and schema is not None else None,
            "tries": len(spoken.replies),
            "prompt": {
                "name": version.name,
                "version": version.version,
                "sha256": version.sha256,
                "label": version.label,
                **experiment,
            },
            "policy": [verdict_json(one) for one in spoken.verdicts if one.verdict != PASS],
            "model": asdict(spoken.model or info),
            "usage": {
                "prompt_tokens": generation.prompt_tokens,
                "completion_tokens": generation.completion_tokens,
                "cost": generation.cost,
            },
            "created_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        }

    @staticmethod
    def _run(
        request: RunRequest, inputs: Mapping[str, Any], policy: Compiled, matter: Matter, spoken: Spoken
    ) -> dict[str, Any]:
        return {
            "principal": {"id": request.principal.id, "role": request.principal.role.value},
            "session": request.session,
            "inputs": dict(inputs),
            "stakes": request.stakes,
            "matter": {"topics": sorted(matter.topics), "stakes": matter.stakes},
            "policy": policy.version.sha256,
            "verdicts": [verdict_json(one) for one in spoken.verdicts],
            "policy_checks": dict(spoken.checks or {}),
            "messages": [asdict(message) for message in spoken.messages],
            "replies": list(spoken.replies),
        }


def run_shown(run: PromptRun, principal: Principal) -> dict[str, Any]:
    """A stored run as `principal`, who may read it, sees it: what was put in, and to reviewers all that it stood on.

    A reply that the policy withheld is seen by reviewers alone.
    """
    shown = dict(run.body) | {"principal": run.principal}
    if run.erased:
        return shown
    if principal.role.oversees:
        return shown | {"inputs": run.run["inputs"], "run": dict(run.run)}
    return shown | {"inputs": run.run["inputs"]}


def refuse_grounded(compiled: CompiledPrompt) -> None:
    """Raises InvalidInput for a prompt that answers from documents."""
    if compiled.anatomy.grounded:
        name = compiled.version.name
        raise InvalidInput(f"prompt {name} answers from documents: ask with `vouch ask --prompt {name} QUESTION`")


def refuse_own_words(generator: Generator, version: PromptVersion) -> None:
    """Raises NoModel where no model is configured that could follow a prompt."""
    if generator.info.provider == OWN_WORDS:
        raise NoModel(
            f"prompt {version.name} needs a model: set generator = openai, openai_base_url and openai_model "
            "(any OpenAI-compatible server; the reference of settings says how)"
        )


def given_inputs(pairs: Sequence[str], declared: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs from `name=value` as people write them. A value is text where the input's schema takes text, else JSON.

    Raises InvalidInput for a pair that is none, a name that comes twice, and a value that is not JSON.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name:
            raise InvalidInput(f"{pair!r} is not NAME=VALUE")
        if name in found:
            raise InvalidInput(f"the input {name!r} is given twice")
        found[name] = _value(name, value, declared.get(name))
    return found


def _value(name: str, value: str, variable: Any) -> Any:
    schema = getattr(variable, "schema_", {})
    kinds = schema.get("type", "string" if not {"enum", "const"} & set(schema) else None)
    choices = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else [])]
    if kinds == "string" or (isinstance(kinds, list) and "string" in kinds) or value in choices:
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        if kinds is None:
            return value
        raise InvalidInput(f"the input {name!r} must be written as JSON of type {kinds}: {error}") from error


def _since(moment: float) -> float:
    return round((time.perf_counter() - moment) * 1000, 3)

"""Running the cases of a prompt's version: over a matrix of models, beside the version in production.

Nothing is answered and nothing recorded but that the tests were run, and what came of them, as a row of the journal.
Policies do not take part: what is tested is the prompt, without the rules that would drop a passage or hold an answer.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from kernel.errors import InvalidInput, NotFound, Unavailable, UnusableReply
from kernel.ids import canonical_json, sha256
from kernel.ports import GenerationRequest, Generator, OutputChecker
from kernel.records import Evidence, Generation, Principal, PromptVersion
from pipeline.grounding import Checks, ground
from pipeline.prompts.assertions import judge
from pipeline.prompts.cases import Case, read_cases, swapped
from pipeline.prompts.gates import OWN_WORDS, Gates, model_of
from pipeline.prompts.library import PromptLibrary, split_reference
from pipeline.prompts.output import Try, generate_checked
from pipeline.prompts.pinned import PinnedEvidence
from pipeline.prompts.rendering import Compiled, compile_prompt, data_blocks, render
from pipeline.prompts.replies import FAILED, PASSED, SKIPPED, Finding, Matter, Means, Reply
from pipeline.prompts.results import CaseResult, ModelRun, Report, metrics_of
from pipeline.prompts.state import PRODUCTION
from pipeline.prompts.suites import suite_cases

NO_BASELINE = "none"
NEEDS_MODEL = "it needs a model, which writes from the inputs alone: --model NAME, or generator = openai"
NO_PASSAGES = "There is no document that you may see in this snapshot."
KEPT_REPLY = 500
"""Characters of a failed reply that the record of a run keeps."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What to run. `models` are `extractive` or names on the configured server (the configured one may be called
    `openai/NAME`, as runs show it); none: the configured generator.

    `baseline` is a reference, a label or a number; None: production; `none`: no comparison. `cases` narrows the run by
    name, and then it is not recorded, since it is not whole. `until` is a moment of the monotonic clock.
    """

    models: tuple[str, ...] = ()
    baseline: str | None = None
    cases: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    record: bool = True
    most: int | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What cases are run with. `generator` gives the one of a name, None the configured one."""

    generator: Callable[[str | None], AbstractContextManager[Generator]]
    evidence: PinnedEvidence
    checks: Checks
    checker: Callable[[], OutputChecker | None]
    gates: Callable[[], Gates]


@dataclass(slots=True)
class _Run:
    """One run: what was made once is kept, since versions and models share it."""

    asked: Asked
    means: Means
    evidence: dict[tuple[str, str], Evidence] = field(default_factory=dict)


class PromptTester:
    """Runs cases. Safe between threads."""

    def __init__(self, library: PromptLibrary, parts: Parts) -> None:
        self._library = library
        self._parts = parts

    def run(self, reference: str, actor: Principal, asked: Asked | None = None) -> Report:
        """Run the cases of `NAME[@LABEL|@VERSION]`, of the newest version for a name alone; record the outcome for each
        model.

        Raises NotFound, InvalidInput for a prompt without cases, Unavailable where the model server is away (then
        nothing is recorded).
        """
        asked = asked or Asked()
        version = self._version(reference)
        compiled = compile_prompt(version)
        suites = tuple(dict.fromkeys((*asked.suites, *self._parts.gates().suites)))
        cases = self._cases(compiled, suites, asked)
        baseline = self._baseline(version, asked.baseline)
        models = tuple(dict.fromkeys(self._named(one) for one in asked.models)) or (None,)
        weight = sum(1 + bool(one.swap) for one in cases) * len(models) * (2 if baseline else 1)
        if asked.most is not None and weight > asked.most:
            raise InvalidInput(
                f"that is {weight} replies, more than {asked.most} a request: name fewer models or cases, or run "
                "`vouch prompts test` on the server's machine"
            )
        run = _Run(asked, Means(self._parts.evidence.encoder, self._parts.checker()))
        runs = [self._with_model(run, model, compiled, baseline, cases) for model in models]
        whole = asked.record and not asked.cases
        digest = sha256(canonical_json([[one.suite, dict(one.raw)] for one in cases]))
        report = Report(version, baseline.version if baseline else None, suites, digest, tuple(runs))
        return self._recorded(report, actor) if whole else report

    def _named(self, model: str) -> str:
        """A model's name alone. The configured one may be called as runs show it, `provider/name`, too."""
        with self._parts.generator(None) as configured:
            info = configured.info
        if model != f"{info.provider}/{info.name}":
            return model
        return OWN_WORDS if info.provider == OWN_WORDS else info.name

    def _version(self, reference: str) -> PromptVersion:
        name, label = split_reference(reference)
        return self._library.find(reference) if label else self._library.versions(name)[0]

    def _cases(self, compiled: Compiled, suites: Sequence[str], asked: Asked) -> tuple[Case, ...]:
        own = read_cases(compiled)
        cases = (*own, *suite_cases(suites, compiled, own))
        if not cases:
            name = compiled.version.name
            raise InvalidInput(f"prompt {name} has no test cases: add a section `# tests`, or name a suite")
        unknown = [name for name in asked.cases if all(one.name != name for one in cases)]
        if unknown:
            known = ", ".join(repr(one.name) for one in cases)
            raise NotFound(f"prompt {compiled.version.name} has no case {unknown[0]!r}; it has: {known}")
        return tuple(one for one in cases if not asked.cases or one.name in asked.cases)

    def _baseline(self, version: PromptVersion, wanted: str | None) -> Compiled | None:
        """The version to compare with; None where it is the same one, or there is none."""
        if wanted == NO_BASELINE:
            return None
        if wanted is None:
            number = self._library.labels(version.name).get(PRODUCTION)
            wanted = None if number is None else f"{version.name}@{number}"
        if wanted is None:
            return None
        known = "@" in wanted or wanted in self._library.names()
        found = self._library.find(wanted if known else f"{version.name}@{wanted}")
        return None if found.sha256 == version.sha256 else compile_prompt(found)

    def _with_model(
        self, run: _Run, model: str | None, compiled: Compiled, baseline: Compiled | None, cases: Sequence[Case]
    ) -> ModelRun:
        with self._parts.generator(model) as generator:
            name = model_of(compiled.anatomy.header, generator.info, model)
            results = [self._case(run, case, compiled, generator, model) for case in cases]
            before = [self._case(run, case, baseline, generator, model) for case in cases] if baseline else []
        figures = metrics_of(before) if before else None
        return ModelRun(name, tuple(results), tuple(before), metrics_of(results), figures)

    def _case(self, run: _Run, case: Case, compiled: Compiled, generator: Generator, model: str | None) -> CaseResult:
        if run.asked.until is not None and time.monotonic() > run.asked.until:
            raise Unavailable(
                "the tests took too long for one request, and nothing was recorded: name fewer cases or models, or run "
                "`vouch prompts test` on the server's machine"
            )
        why = self._skip(case, compiled, generator, model)
        if why:
            return CaseResult(case.name, case.suite, SKIPPED, why)
        try:
            reply = self._reply(run, case, compiled, generator, model)
            other = None
            if case.swap:
                other = self._reply(run, swapped(case, case.swap), compiled, generator, model)
        except (UnusableReply, InvalidInput, NotFound) as error:
            return CaseResult(case.name, case.suite, FAILED, str(error), searched=case.searches)
        matter = Matter(_asked_words(case), reply, run.means, case.swap, other)
        findings = tuple(judge(one, matter) for one in case.expect)
        return CaseResult(
            case.name,
            case.suite,
            _state(findings),
            _reason(findings),
            findings,
            tuple(one for one in (reply, other) if one is not None),
            searched=case.searches,
        )

    @staticmethod
    def _skip(case: Case, compiled: Compiled, generator: Generator, model: str | None) -> str:
        """Why a case is not run; empty where it is."""
        if case.skip:
            return case.skip
        if not compiled.anatomy.grounded and generator.info.provider == OWN_WORDS:
            return NEEDS_MODEL
        name = model_of(compiled.anatomy.header, generator.info, model)
        if not any(fnmatch.fnmatchcase(name, one) for one in case.models):
            return f"it is for other models: {', '.join(case.models)}"
        if compiled.anatomy.grounded != bool(case.question):
            return "this version asks in another way"
        return ""

    def _reply(self, run: _Run, case: Case, compiled: Compiled, generator: Generator, model: str | None) -> Reply:
        grounded = compiled.anatomy.grounded
        evidence = self._evidence(run, case) if grounded else Evidence(0, ())
        messages = render(compiled, case.question, evidence, case.inputs)
        ids = tuple(one.chunk_id for one in evidence.passages)
        options = {**compiled.anatomy.header.model.options, **({"model": model} if model else {})}
        request = GenerationRequest(case.question, messages, evidence, ids, options)
        begin = time.perf_counter()
        generation, _ = self._generated(generator, request, compiled)
        latency = round((time.perf_counter() - begin) * 1000, 3)
        answer = ground(generation, evidence, self._parts.checks, case.question) if grounded else None
        return Reply(
            answer.answer if answer is not None else generation.text,
            generation.text,
            answer,
            evidence,
            messages,
            data_blocks(compiled, evidence, case.inputs),
            latency,
            generation.prompt_tokens,
            generation.completion_tokens,
            generation.cost,
        )

    @staticmethod
    def _generated(
        generator: Generator, request: GenerationRequest, compiled: Compiled
    ) -> tuple[Generation, tuple[Try, ...]]:
        """As answers are made: nothing is asked without passages, and own words keep to no format."""
        if compiled.anatomy.grounded and not request.passage_ids:
            return Generation("", NO_PASSAGES), ()
        if generator.info.provider == OWN_WORDS:
            return generator.generate(request), ()
        return generate_checked(generator, request, compiled.anatomy.header.output)

    def _evidence(self, run: _Run, case: Case) -> Evidence:
        pinned = [case.snapshot, *([one.title, one.text] for one in case.context or ())]
        key = (case.question, sha256(canonical_json(pinned)))
        if key not in run.evidence:
            run.evidence[key] = self._parts.evidence.of(case)
        return run.evidence[key]

    def _recorded(self, report: Report, actor: Principal) -> Report:
        """The report with the entry of each model's run. One in which nothing was executed says nothing."""
        version, made = report.version, []
        for one in report.runs:
            entry = None
            if one.executed:
                entry = self._library.tested(version.name, version.version, actor, _data(report, one), _words(one))
            made.append(one.recorded(entry))
        return report.with_runs(made)


def _asked_words(case: Case) -> str:
    """What was asked, for a judge."""
    if case.question:
        return case.question
    return "\n".join(f"{name}: {value}" for name, value in case.inputs.items())


def _state(findings: Sequence[Finding]) -> str:
    states = {one.state for one in findings}
    return FAILED if FAILED in states else PASSED if PASSED in states else SKIPPED


def _reason(findings: Sequence[Finding]) -> str:
    wrong = [one for one in findings if one.state == FAILED] or [one for one in findings if one.state == SKIPPED]
    return "; ".join(f"{one.kind}: {one.words}" for one in wrong)


def _data(report: Report, run: ModelRun) -> dict[str, Any]:
    """What the entry of a run says openly: counts and hashes, no words of anybody."""
    return {
        "model": run.model,
        "passed": run.passed,
        "cases": len(run.results),
        "failed": run.count(FAILED),
        "skipped": run.count(SKIPPED),
        "regressions": len(run.regressions),
        "suite": report.suite_sha256,
        "suites": list(report.suites),
        "baseline": report.baseline.version if report.baseline else 0,
    }


def _words(run: ModelRun) -> Mapping[str, Any]:
    """What it says to those who may read it. Where documents were searched no text is kept: it is theirs."""
    cases = []
    for one in run.results:
        kinds = [{"kind": finding.kind, "state": finding.state} for finding in one.findings]
        shown = {"case": one.case, "suite": one.suite, "state": one.state, "expect": kinds}
        if not one.searched:
            shown["reason"] = one.reason
            if one.state == FAILED and one.replies:
                shown["reply"] = one.replies[0].text[:KEPT_REPLY]
        cases.append(shown)
    return {"results": cases, "regressions": list(run.regressions), "metrics": dict(run.metrics)}

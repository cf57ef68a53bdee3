"""What came of a run of cases: results, regressions, and figures per version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, median
from typing import Any

from kernel.records import PromptVersion
from pipeline.prompts.assertions import support_share
from pipeline.prompts.replies import FAILED, PASSED, SKIPPED, Finding, Reply

FIGURES = ("pass_rate", "support", "confidence", "similarity", "latency_ms", "tokens", "cost")
"""What is measured of a version: shares and means over the cases that were run; latency is a median."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What came of one case: passed, failed or skipped, and why; `suite` is empty for the prompt's own cases.

    `searched`: its replies hold words of the workspace's documents.
    """

    case: str
    suite: str
    state: str
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    replies: tuple[Reply, ...] = ()
    searched: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the others."""
        return self.suite, self.case


@dataclass(frozen=True, slots=True)
class ModelRun:
    """The cases of one version with one model, and those of the baseline; `entry` is where the ledger has it."""

    model: str
    results: tuple[CaseResult, ...]
    before: tuple[CaseResult, ...]
    metrics: Mapping[str, float | None]
    metrics_before: Mapping[str, float | None] | None = None
    entry: int | None = None

    @property
    def regressed(self) -> tuple[CaseResult, ...]:
        """The cases that passed with the baseline, and fail now."""
        once = {one.key for one in self.before if one.state == PASSED}
        return tuple(one for one in self.results if one.state == FAILED and one.key in once)

    @property
    def regressions(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(one.case for one in self.regressed)

    @property
    def executed(self) -> int:
        """How many cases were run."""
        return self.count(PASSED) + self.count(FAILED)

    @property
    def passed(self) -> bool:
        """Whether cases were run, some of the prompt's own among them where it has some, and none failed."""
        own = [one.state for one in self.results if not one.suite]
        return self.executed > 0 and not self.count(FAILED) and (not own or PASSED in own)

    def count(self, state: str) -> int:
        """How many cases ended so."""
        return sum(one.state == state for one in self.results)

    def recorded(self, entry: int | None) -> ModelRun:
        """The same, with its entry."""
        return replace(self, entry=entry)

    @property
    def delta(self) -> dict[str, float | None]:
        """Each figure less that of the baseline; None where one of them is missing."""
        before = self.metrics_before or {}
        return {name: _less(self.metrics.get(name), before.get(name)) for name in FIGURES}


@dataclass(frozen=True, slots=True)
class Report:
    """A run of a version's cases with each model; `suite_sha256` is over the cases, those of suites included."""

    version: PromptVersion
    baseline: PromptVersion | None
    suites: tuple[str, ...]
    suite_sha256: str
    runs: tuple[ModelRun, ...]

    @property
    def passed(self) -> bool:
        """Whether it passed with every model."""
        return all(one.passed for one in self.runs)

    @property
    def executed(self) -> int:
        """How many cases were run, with all models."""
        return sum(one.executed for one in self.runs)

    @property
    def failed(self) -> int:
        """How many of them failed."""
        return sum(one.count(FAILED) for one in self.runs)

    def with_runs(self, runs: Sequence[ModelRun]) -> Report:
        """The same, with these runs."""
        return replace(self, runs=tuple(runs))


def metrics_of(results: Sequence[CaseResult]) -> dict[str, float | None]:
    """The figures of a version; None where no case says anything of one."""
    run = [one for one in results if one.state != SKIPPED]
    replies = [reply for one in run for reply in one.replies]
    answers = [reply.grounded for reply in replies if reply.grounded is not None and reply.grounded.sentences]
    similar = [one.value for result in run for one in result.findings if one.kind == "similar"]
    sure = [reply.confidence for reply in replies if reply.confidence is not None]
    costs = [reply.cost for reply in replies if reply.cost is not None]
    found = {
        "pass_rate": _mean([float(one.state == PASSED) for one in run]),
        "support": _mean([support_share(answer) or 0.0 for answer in answers]),
        "confidence": _mean(sure),
        "similarity": _mean([value for value in similar if value is not None]),
        "latency_ms": median(reply.latency_ms for reply in replies) if replies else None,
        "tokens": _mean([float(reply.prompt_tokens + reply.completion_tokens) for reply in replies]),
        "cost": _mean(costs),
    }
    return {name: None if value is None else round(value, 6) for name, value in found.items()}


def report_json(report: Report) -> dict[str, Any]:
    """A report as JSON values."""
    version = report.version
    return {
        "name": version.name,
        "version": version.version,
        "sha256": version.sha256,
        "passed": report.passed,
        "baseline": {"name": report.baseline.name, "version": report.baseline.version} if report.baseline else None,
        "suites": list(report.suites),
        "suite_sha256": report.suite_sha256,
        "models": [_run_json(one) for one in report.runs],
    }


def _run_json(run: ModelRun) -> dict[str, Any]:
    before = {one.key: one.state for one in run.before}
    return {
        "model": run.model,
        "passed": run.passed,
        "cases": len(run.results),
        "failed": run.count(FAILED),
        "skipped": run.count(SKIPPED),
        "regressions": list(run.regressions),
        "entry": run.entry,
        "results": [_case_json(one, before.get(one.key), one in run.regressed) for one in run.results],
        "metrics": dict(run.metrics),
        "baseline_metrics": None if run.metrics_before is None else dict(run.metrics_before),
        "delta": run.delta if run.metrics_before is not None else None,
    }


def _case_json(one: CaseResult, before: str | None, regression: bool) -> dict[str, Any]:
    return {
        "case": one.case,
        "suite": one.suite or None,
        "state": one.state,
        "reason": one.reason or None,
        "baseline": before,
        "regression": regression,
        "expect": [asdict(finding) for finding in one.findings],
        "replies": [
            {
                "status": reply.status,
                "text": reply.text,
                "passages": [passage.chunk_id for passage in reply.evidence.passages],
                "confidence": reply.confidence,
                "latency_ms": reply.latency_ms,
                "prompt_tokens": reply.prompt_tokens,
                "completion_tokens": reply.completion_tokens,
                "cost": reply.cost,
            }
            for reply in one.replies
        ],
    }


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _less(now: float | None, before: float | None) -> float | None:
    return None if now is None or before is None else round(now - before, 6)

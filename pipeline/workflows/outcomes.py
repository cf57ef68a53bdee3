"""What the journal gets of a try: pure functions from what came of it to rows. Facts name nobody; words may go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from kernel.ids import canonical_json, sha256
from kernel.storage.runs import NewEvent
from pipeline.workflows.calling import Came, Failure
from pipeline.workflows.checks import Finding
from pipeline.workflows.spec import GoTo, Retry, Step
from pipeline.workflows.steps.base import Done, Used, Waits

LONGEST_REASON = 2000


@dataclass(frozen=True, slots=True)
class Try:
    """Which try at which step, or at which item of its loop."""

    step: Step
    place: int | None
    number: int

    def event(self, kind: str, data: Mapping[str, Any], words: Mapping[str, Any] | None = None) -> NewEvent:
        """A row of the journal about it."""
        return NewEvent(kind, self.step.id, self.place, self.number, data, words or {})

    @property
    def on_failure(self) -> str | GoTo:
        """What the run does where it failed for good."""
        skips = self.place is not None and self.step.each is not None and self.step.each.on_failure == "skip"
        return "continue" if skips else self.step.on_failure


def done(this: Try, came: Came, outcome: Done, findings: list[Finding], more: Mapping[str, Any]) -> NewEvent:
    """The end of a step that was done."""
    data = {**facts(came, outcome.used), **outcome.facts, **checked(findings), **more}
    data["output_sha256"] = sha256(canonical_json(outcome.output))
    if this.step.kind == "branch" and isinstance(outcome.output, Mapping) and outcome.output.get("to"):
        data["to"] = outcome.output["to"]
    return this.event("done", data, {"output": outcome.output, "with": came.given})


def waits(this: Try, came: Came, outcome: Waits) -> NewEvent:
    """A step that waits."""
    data = {"for": outcome.for_, "ref": outcome.ref, "until": outcome.until, **facts(came, outcome.used)}
    return this.event("waits", data, {"with": came.given})


def failed(this: Try, came: Came, failure: Failure) -> list[NewEvent]:
    """A try that failed: to be done again, or for good, and what that leads to. Not for steps that ask a person."""
    data = failure_facts(came, failure)
    words = failure_words(came, failure)
    if failure.retryable and this.number < this.step.retry.attempts:
        again = after(max(failure.after, wait_of(this.step.retry, this.number)))
        return [this.event("failed", data | {"again_at": again}, words)]
    kept = this.on_failure
    if isinstance(kept, GoTo):
        return [this.event("failed", data | {"to": kept.go_to}, words)]
    stop = [this.event("stopped", {"slug": failure.slug})] if kept == "stop" else []
    return [this.event("failed", data, words), *stop]


def unchecked(this: Try, came: Came, outcome: Done, findings: list[Finding]) -> list[NewEvent]:
    """A step whose output a check does not let pass: the run stops, or goes elsewhere."""
    bad = findings[-1]
    data = unchecked_facts(came, outcome, findings)
    words = unchecked_words(came, outcome, bad)
    if isinstance(bad.check.otherwise, GoTo):
        return [this.event("failed", data | {"to": bad.check.otherwise.go_to}, words)]
    return [this.event("failed", data, words), this.event("stopped", {"slug": "check"})]


def decided(this: Try, waited: Mapping[str, Any], decision: Mapping[str, Any]) -> list[NewEvent]:
    """What a person made of a check that did not hold, or of a failure: on with the output, on without, or stop."""
    approved = decision.get("decision") == "approved"
    words = {"output": waited.get("output"), "with": waited.get("with"), "decision": dict(decision)}
    data = {"decided": decision.get("decision"), "refs": {"tasks": [waited["ref"]]}}
    data |= {"checks": waited["checks"]} if "checks" in waited else {}
    if approved and waited["about"] == "check":
        return [this.event("done", data, words)]
    data |= {"slug": waited.get("slug", "failed"), "retryable": False}
    words |= {"error": waited.get("error", "")}
    stop = [] if approved else [this.event("stopped", {"slug": "rejected"})]
    return [this.event("failed", data, words), *stop]


def failure_facts(came: Came, failure: Failure) -> dict[str, Any]:
    """What is said openly of a failure."""
    return facts(came, Used()) | {"slug": failure.slug, "retryable": failure.retryable}


def failure_words(came: Came, failure: Failure) -> dict[str, Any]:
    """What is said of a failure in the erasable part."""
    return {"error": failure.message[:LONGEST_REASON], "output": failure.output, "with": came.given}


def unchecked_facts(came: Came, outcome: Done, findings: list[Finding]) -> dict[str, Any]:
    """What is said openly of an output that a check does not let pass."""
    return facts(came, outcome.used) | checked(findings) | {"slug": "check", "retryable": False}


def unchecked_words(came: Came, outcome: Done, bad: Finding) -> dict[str, Any]:
    """What is said of it in the erasable part."""
    message = f"check {bad.check.name!r}: {bad.why}"[:LONGEST_REASON]
    return {"error": message, "output": outcome.output, "with": came.given}


def checked(findings: list[Finding]) -> dict[str, Any]:
    """The verdicts of checks."""
    return {"checks": [one.facts() for one in findings]} if findings else {}


def facts(came: Came, used: Used) -> dict[str, Any]:
    """How long a try took, what it used, and what it made."""
    shown = {name: value for name, value in asdict(used).items() if value}
    refs = {name: list(ids) for name, ids in shown.pop("refs", {}).items()}
    return {"ms": came.milliseconds} | ({"used": shown} if shown else {}) | ({"refs": refs} if refs else {})


def wait_of(retry: Retry, tries: int) -> float:
    """Seconds to wait after so many tries."""
    return min(retry.wait * retry.factor ** (tries - 1), retry.most)


def after(seconds: float) -> str:
    """The moment so many seconds from now."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="microseconds")


def seconds_until(moment: str) -> float:
    """Seconds until a moment; 0 where it is past."""
    return max(0.0, (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds())

"""What every kind of step is: it reads its `with`, does one thing, and returns an output or what it waits for.

A kind never writes to the run's journal: the interpreter does, in one transaction a step. What a kind does on the
outside carries the call's `key`, so that doing it twice is doing it once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

from kernel.records import Principal
from pipeline.workflows.spec import Step, Strict

Json = dict[str, Any]
ANYTHING: Mapping[str, Any] = {}
"""The schema of an output of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Pins:
    """What a run was started with, and goes on with: hashes and numbers of everything that it may depend on.

    `prompts` is `reference -> [version, hash]` for every reference of the spec, `workflows` the same for sub-workflows.
    """

    spec: str
    policy: str
    snapshot: int
    access_version: int
    model: str
    prompts: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    workflows: Mapping[str, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One try at a step (or at one item of its loop). `key` is the same for every try at it.

    `visible` is all that its templates saw. `preview` gives, for an output that this step might have, the filled-in
    `with` of the steps that its own `with` names under `effects`: what exactly would happen. `notes` are what earlier
    tries and turns noted (agents keep their decisions there), `note` adds one, durably, before it returns; it raises
    where the run was taken over or cancelled. `left` gives the seconds that are left of the step's timeout.
    """

    run_id: str
    workflow: str
    mode: str
    principal: Principal
    pins: Pins
    step: Step
    item: int | None
    attempt: int
    key: str
    stakes: str
    visible: Mapping[str, Any]
    preview: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    notes: Sequence[Mapping[str, Any]]
    note: Callable[[str, Mapping[str, Any]], None]
    left: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Used:
    """What a call used, for the costs of runs. `refs` are ids of what it made: `answers`, `prompt_runs`, `tasks`, …"""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    model: str = ""
    refs: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """A step's output, JSON values, and what it used. `facts` name nobody and go into the journal openly."""

    output: Any
    used: Used = field(default_factory=Used)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waits:
    """Nothing can be done before somebody else has: a `person` decides or answers, a `run` ends, a `moment` comes.

    `ref` names what is waited for (a review, a run). `until` (ISO 8601, UTC) is when to look again at the latest.
    """

    for_: Literal["person", "run", "moment"]
    ref: str
    until: str | None = None
    used: Used = field(default_factory=Used)


class StepFailed(Exception):
    """A step's own failure. `retryable`: trying again may help, though not before `after` seconds; `slug` names the
    sort; `output` is shown of it.
    """

    def __init__(
        self, message: str, *, slug: str = "failed", retryable: bool = False, output: Any = None, after: float = 0.0
    ) -> None:
        super().__init__(message)
        self.slug = slug
        self.retryable = retryable
        self.output = output
        self.after = after


class Kind(Protocol):
    """A kind of step. `effect`: what its `with` makes it do is felt outside of this workspace."""

    name: ClassVar[str]
    With: ClassVar[type[Strict]]

    def effect(self, given: Mapping[str, Any]) -> bool:
        """Whether a step with such a raw `with` (templates not yet filled in) sends, publishes or changes anything."""
        ...

    def output(self, step: Step) -> Mapping[str, Any]:
        """The JSON Schema of what a step of this kind puts out, as far as the spec tells."""
        ...

    def prompts(self, step: Step) -> Sequence[str]:
        """References of the prompts that a step uses: they are pinned when the run starts."""
        ...

    def workflows(self, step: Step) -> Sequence[str]:
        """References of the workflows that a step starts, pinned likewise."""
        ...

    def run(self, given: Any, call: Call) -> Done | Waits:
        """Do it. `given` is a `With`. Raises StepFailed, or any VouchError (which says whether trying again helps)."""
        ...

    def resume(self, given: Any, call: Call, waited: Waits) -> Done | Waits:
        """Look again at what was waited for; kinds that never wait need not have more than the default."""
        ...


class Plain:
    """What most kinds share: no effect, any output, nothing to wait for."""

    def effect(self, _given: Mapping[str, Any]) -> bool:
        """It changes nothing outside."""
        return False

    def output(self, _step: Step) -> Mapping[str, Any]:
        """Nothing is known of the output."""
        return ANYTHING

    def prompts(self, step: Step) -> Sequence[str]:
        """The prompt that its `with` names."""
        named = step.with_.get("prompt")
        return (named,) if isinstance(named, str) else ()

    def workflows(self, _step: Step) -> Sequence[str]:
        """It starts none."""
        return ()

    def resume(self, _given: Any, call: Call, _waited: Waits) -> Done | Waits:
        """It never waits."""
        raise StepFailed(f"a step of kind {call.step.kind} has nothing to wait for", slug="engine")

"""One try at a step: fill in its `with`, make sure that it may act, do it within its time, say what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from pydantic import ValidationError

from kernel.errors import InvalidInput, VouchError
from kernel.ids import canonical_json
from kernel.storage.runs import Superseded
from kernel.storage.task_journal import effect_sha256
from pipeline.prompts.anatomy import faults_text
from pipeline.workflows.breakers import NotNow
from pipeline.workflows.spec import Step, Workflow
from pipeline.workflows.steps.base import Call, Done, Kind, StepFailed, Waits

T = TypeVar("T")
REVIEW = "review"


@dataclass(frozen=True, slots=True)
class Failure:
    """A try that failed: `slug` names the sort, `message` says it to people; `after` seconds another may help."""

    slug: str
    message: str
    retryable: bool = False
    output: Any = None
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a try, how long it took, and the `with` that it was done with."""

    outcome: Done | Waits | Failure
    milliseconds: float
    given: Any = None


def attempt(
    hand: Hand,
    kind: Kind,
    given: Callable[[], Mapping[str, Any]],
    call: Call,
    waited: Waits | None = None,
    approved: Callable[[Mapping[str, Any]], None] | None = None,
) -> Came:
    """Do a step once, or look again at what it waited for. Never raises but Superseded: what fails is a Failure."""
    begin = time.perf_counter()
    filled: Mapping[str, Any] | None = None
    try:
        filled = given()
        if approved is not None:
            approved(filled)
        args = read_with(kind, filled)
        act = (lambda: kind.run(args, call)) if waited is None else (lambda: kind.resume(args, call, waited))
        outcome: Done | Waits | Failure = _storable(hand.do(call.step.timeout, act))
    except Superseded:
        raise
    except StepFailed as error:
        shown = error.output if is_storable(error.output) else None
        outcome = Failure(error.slug, _plain(error), error.retryable, shown, error.after)
    except NotNow as error:
        outcome = Failure(error.slug, _plain(error), retryable=True, after=error.after)
    except VouchError as error:
        outcome = Failure(error.slug, _plain(error), error.retryable)
    except Exception as error:  # noqa: BLE001 - the edge of a worker: a fault of a kind must not wedge the run
        outcome = Failure("internal", f"{type(error).__name__}: {_plain(error)}")
    return Came(outcome, round((time.perf_counter() - begin) * 1000, 3), filled)


def is_storable(value: Any) -> bool:
    """Whether a value is JSON that can be stored: no NaN, no half of a character, not nested without end."""
    try:
        canonical_json([value])
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _storable(outcome: Done | Waits) -> Done | Waits | Failure:
    """What cannot be stored would be met again with every turn: it fails the step instead."""
    if isinstance(outcome, Done) and not is_storable(outcome.output):
        return Failure("output", "what it put out is no JSON that can be stored")
    return outcome


def _plain(error: Exception) -> str:
    return str(error).encode(errors="replace").decode()


def read_with(kind: Kind, filled: Mapping[str, Any]) -> Any:
    """A filled-in `with` as its kind reads it. Raises InvalidInput that names what is wrong."""
    try:
        return kind.With.model_validate(filled)
    except ValidationError as error:
        raise InvalidInput(f"with: {faults_text(error)}") from error


class Hand:
    """Does one thing at a time in a thread of its own, so that what takes too long can be left alone. The thread is
    kept for the next thing; one that was left alone gets a successor, and ends with what it does.
    """

    def __init__(self) -> None:
        self._asked: SimpleQueue[Callable[[], None] | None] | None = None

    def do(self, seconds: float, act: Callable[[], T]) -> T:
        """The result of `act`, or what it raises. Raises StepFailed where it takes longer: what it still comes to is
        dropped.
        """
        results: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

        def done() -> None:
            try:
                results.put((act(), None))
            except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread
                results.put((None, error))

        asked = self._asked = self._asked or _thread()
        asked.put(done)
        try:
            result, error = results.get(timeout=seconds)
        except Empty:
            self.rest()
            raise StepFailed(f"it took longer than {seconds:g} s", slug="timeout", retryable=True) from None
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def rest(self) -> None:
        """Let the thread end."""
        if self._asked is not None:
            self._asked.put(None)
            self._asked = None


def _thread() -> SimpleQueue[Callable[[], None] | None]:
    asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def work() -> None:
        while (act := asked.get()) is not None:
            act()

    Thread(target=work, daemon=True, name="vouch-step").start()
    return asked


def approval_of(
    spec: Workflow, step: Step, stakes: str, output_of: Callable[[str], Any]
) -> Callable[[Mapping[str, Any]], None] | None:
    """What makes sure that an effect is exactly the one that a person approved. None where no review names the step
    and the stakes are low: the workflow's, or those of the run that started it where they are greater.
    """
    reviews = [one.id for one in spec.order if one.kind == REVIEW and step.id in one.with_.get("effects", ())]
    if not reviews and stakes == "low":
        return None

    def approved(filled: Mapping[str, Any]) -> None:
        if step.each is not None:
            raise StepFailed("it would act once an item of a loop, and an approval is of one act", slug="not-approved")
        digest = effect_sha256(filled)
        for name in reviews:
            said = output_of(name)
            if isinstance(said, Mapping) and said.get("effects", {}).get(step.id) == digest:
                return
        if not reviews:
            raise StepFailed(
                f"it acts on the outside, the stakes are {stakes}, and no review names it under `effects`",
                slug="not-approved",
            )
        raise StepFailed(f"what it would do is not what was approved in {', '.join(reviews)}", slug="not-approved")

    return approved


def timed(call: Call, seconds: float) -> Call:
    """The same call with its clock started."""
    end = time.monotonic() + seconds
    return replace(call, left=lambda: max(0.0, end - time.monotonic()))

"""Checks between steps: rules over what a step put out, judged before anything else may use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from kernel.errors import InvalidInput, Unavailable
from kernel.ports import OutputChecker
from kernel.storage.runs import Run, Runs
from pipeline.prompts.json_schema import schema_faults
from pipeline.workflows.expressions import evaluate
from pipeline.workflows.spec import Check, Evidence, Former, Range

SUPPORTED = "supported"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check came to. `value` is the number that was judged, kept so that later runs can be compared with it."""

    check: Check
    holds: bool
    why: str = ""
    value: float | None = None

    def facts(self) -> dict[str, Any]:
        """What the journal says openly."""
        shown: dict[str, Any] = {"name": self.check.name, "holds": self.holds}
        return shown | ({"value": self.value} if self.value is not None else {})


@dataclass(frozen=True, slots=True)
class Judging:
    """What checks are judged with: what the step saw and put out, and what former runs had under a check's name."""

    visible: Mapping[str, Any]
    output: Any
    former: Callable[[str, int], Sequence[float]]
    checker: OutputChecker | None = None

    @property
    def seen(self) -> Mapping[str, Any]:
        """What expressions of checks see."""
        return {**self.visible, "output": self.output}


def judged(checks: Sequence[Check], judging: Judging) -> list[Finding]:
    """The findings in order, up to and including the first that does not hold."""
    found = []
    for check in checks:
        found.append(_judge(check, judging))
        if not found[-1].holds:
            break
    return found


def judge_all(checks: Sequence[Check], judging: Judging) -> list[Finding]:
    """The findings of every check, in order."""
    return [_judge(check, judging) for check in checks]


def _judge(check: Check, judging: Judging) -> Finding:
    try:
        if check.that is not None:
            holds = evaluate(check.that, judging.seen) is True
            return Finding(check, holds, "" if holds else f"{check.that} does not hold")
        if check.schema_ is not None:
            faults = schema_faults(judging.output, check.schema_)
            return Finding(check, not faults, "; ".join(faults))
        if check.evidence is not None:
            return _evidence(check, check.evidence, judging.output)
        if check.range is not None:
            return _range(check, check.range, judging)
        if check.former is not None:
            return _former(check, check.former, judging)
        return _asked(check, judging)
    except InvalidInput as error:
        return Finding(check, False, f"it cannot be judged: {error}")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError):
        return Finding(check, False, "it cannot be judged: the output has not the form that it looks at")


def _evidence(check: Check, wanted: Evidence, output: Any) -> Finding:
    """An answer, or a list of them: each must stand on what it cites."""
    for answer in output if isinstance(output, list) else [output]:
        if not isinstance(answer, Mapping) or "sentences" not in answer:
            return Finding(check, False, "the output is no answer with citations")
        sentences, citations = answer["sentences"], answer.get("citations", ())
        good = sum(1 for one in sentences if one["support"]["label"] == SUPPORTED)
        share = good / len(sentences) if sentences else 0.0
        if share < wanted.supported:
            return Finding(check, False, f"{good} of {len(sentences)} sentences are supported by what they cite", share)
        if len(citations) < wanted.citations:
            return Finding(check, False, f"{len(citations)} citations, at least {wanted.citations} are needed")
        if answer.get("confidence", 0.0) < wanted.confidence:
            return Finding(check, False, f"confidence {answer.get('confidence')} is below {wanted.confidence}")
    return Finding(check, True)


def _range(check: Check, wanted: Range, judging: Judging) -> Finding:
    value = _number(evaluate(wanted.value, judging.seen), wanted.value)
    low = wanted.at_least is not None and value < wanted.at_least
    high = wanted.at_most is not None and value > wanted.at_most
    why = f"{wanted.value} is {value:g}, it must be {_borders(wanted)}" if low or high else ""
    return Finding(check, not why, why, value)


def _former(check: Check, wanted: Former, judging: Judging) -> Finding:
    """Where there are no former runs yet there is nothing to compare with: it holds, and says so."""
    value = _number(evaluate(wanted.value, judging.seen), wanted.value)
    known = judging.former(check.name, wanted.runs)
    if not known:
        return Finding(check, True, "no former run to compare with", value)
    mean = fmean(known)
    change = (value - mean) / abs(mean) if mean else 0.0
    fell = wanted.drop is not None and change < -wanted.drop
    rose = wanted.rise is not None and change > wanted.rise
    why = f"{value:g} is {change:+.1%} beside {mean:g}, the mean of the last {len(known)} runs" if fell or rose else ""
    return Finding(check, not why, why, value)


def _asked(check: Check, judging: Judging) -> Finding:
    """A rule in words needs a model to judge it; without one it does not hold, since nobody looked."""
    if judging.checker is None:
        return Finding(check, False, "no model is configured that could judge a rule in words (openai_base_url)")
    try:
        broken = judging.checker.breaks(str(check.judge), "", str(judging.output))
    except Unavailable as error:
        return Finding(check, False, f"it could not be judged: {error}")
    return Finding(check, not broken, f"it breaks the rule: {check.judge}" if broken else "")


def _number(value: Any, expression: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidInput(f"{expression} is no number")
    return float(value)


def _borders(wanted: Range) -> str:
    low = f"at least {wanted.at_least:g}" if wanted.at_least is not None else ""
    high = f"at most {wanted.at_most:g}" if wanted.at_most is not None else ""
    return " and ".join(one for one in (low, high) if one)


def former_values(runs: Runs, run: Run, step: str, check: str, wanted: int) -> list[float]:
    """What a check of a step judged in the last runs of the workflow that ended well before this one began."""
    found = []
    for one in runs.ended(run.workflow, run.number, wanted):
        rows = (event for event in runs.events(one.id, words=False) if event.kind == "done" and event.step == step)
        values = [item["value"] for row in rows for item in row.data.get("checks", ()) if item["name"] == check]
        found += [float(value) for value in values[-1:] if value is not None]
    return found

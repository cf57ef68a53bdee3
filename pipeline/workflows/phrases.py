"""A workflow in words: what starts it, waits, tries and fails, as its sheet and its diagrams say it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from kernel.errors import InvalidInput
from pipeline.workflows.expression_paths import Path, words
from pipeline.workflows.expressions import names_in, names_of
from pipeline.workflows.spec import Check, Evidence, GoTo, Retry, Step, Trigger, Workflow, targets

_UNSHOWN = re.compile(
    "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff\\ufffe\\uffff]"
)
_UNITS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))


class Code(str):
    """A part of a phrase that is quoted as code."""

    __slots__ = ()


class Said(str):
    """A part of a phrase that people wrote; any other part is ours."""

    __slots__ = ()


Phrase = tuple[str, ...]
"""Parts of a sentence, to be put together as the page that shows it needs."""


def one_line(text: str) -> str:
    """A text on one line, without characters that cannot be shown or that turn the direction of others."""
    return " ".join(_UNSHOWN.sub("\ufffd", text).split())


def duration(seconds: float) -> str:
    """A duration in the largest unit that it is a whole number of: `2 days`, `90 minutes`, `0.5 seconds`."""
    fits = ((size, unit) for size, unit in _UNITS if seconds >= size and seconds % size == 0)
    size, unit = next(fits, (1.0, "second"))
    count = seconds / size
    return f"{count:g} {unit}{'' if count == 1 else 's'}"


def trigger(given: Trigger) -> Phrase:
    """What a trigger waits for."""
    if given.cron is not None:
        what: Phrase = ("by the timetable ", Code(given.cron), " (", Said(given.timezone), ")")
    elif given.event is not None:
        what = ("at the event ", Code(given.event))
    elif given.documents is not None:
        quiet = duration(given.documents.debounce)
        source = Code(given.documents.source)
        what = ("at new or changed documents of ", source, f", once nothing has changed for {quiet}")
    else:
        what = ("after a run of the workflow ", Code(given.after or ""))
    return what if given.when is None else (*what, ", when ", Code(given.when))


def retry(given: Retry) -> str:
    """How often a step is tried where its failure may pass."""
    if given.attempts == 1:
        return "tried once"
    times = f"tried up to {given.attempts} times, first again after {duration(given.wait)}"
    return times if given.factor == 1 else f"{times}, then after {given.factor:g} times as long each"


def check(given: Check) -> Phrase:
    """What a check asks for."""
    if given.that is not None:
        return (Code(given.that),)
    if given.evidence is not None:
        return (_evidence(given.evidence),)
    if given.range is not None:
        borders = (("at least", given.range.at_least), ("at most", given.range.at_most))
        return (
            Code(given.range.value),
            " ",
            " and ".join(f"{word} {one:g}" for word, one in borders if one is not None),
        )
    if given.former is not None:
        moves = (("drop", given.former.drop), ("rise", given.former.rise))
        most = " or ".join(f"{word} by more than {one:.0%}" for word, one in moves if one is not None) or "be compared"
        return (Code(given.former.value), f" may not {most}, beside the mean of the last {given.former.runs} runs")
    return ("judged by a model: ", Said(given.judge)) if given.judge is not None else ("fits its JSON Schema",)


def _evidence(given: Evidence) -> str:
    sure = f", confidence at least {given.confidence:g}" if given.confidence else ""
    cited = f"at least {given.citations} citation{'' if given.citations == 1 else 's'}"
    return f"{given.supported:.0%} of its sentences supported, {cited}{sure}"


def otherwise(given: str | GoTo) -> Phrase:
    """What happens where something fails or does not hold."""
    if isinstance(given, GoTo):
        return ("it goes on with ", Code(given.go_to))
    return ({"stop": "the run stops", "continue": "the run goes on", "review": "a person decides"}[given],)


def sees(step: Step) -> list[str]:
    """What a step reads, as paths: of the input, the run, and steps that it needs. Empty: nothing."""
    found: set[Path] = set()
    for reads in _reads(step):
        found |= reads
    own = {"output", step.each.as_ if step.each is not None else "output"}
    kept = {path for path in found if path[0] not in own}
    longer = {path[:end] for path in kept for end in range(1, len(path))}
    return [words(path) for path in sorted(kept - longer)]


def _reads(step: Step) -> Iterator[frozenset[Path]]:
    expressions = [step.when, step.each.in_ if step.each is not None else None, *routes(step)]
    expressions += [one.that for one in step.checks]
    expressions += [one.value for check in step.checks for one in (check.range, check.former) if one is not None]
    for one in expressions:
        if one is not None:
            yield _quietly(one)
    try:
        yield names_in(step.with_)
        yield names_in(step.undo.with_ if step.undo is not None else {})
    except InvalidInput:
        return


def _quietly(expression: str) -> frozenset[Path]:
    try:
        return names_of(expression)
    except InvalidInput:
        return frozenset()


def routes(step: Step) -> list[str]:
    """The conditions of a branch."""
    given = step.with_.get("routes") if step.kind == "branch" else None
    found = [one.get("when") for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []
    return [one for one in found if isinstance(one, str)]


def effects(workflow: Workflow) -> dict[str, list[str]]:
    """The steps that act on the outside as far as a file tells: those that reviews allow, each with its reviews, and
    those that can be taken back.
    """
    found: dict[str, list[str]] = {step.id: [] for step in workflow.steps if step.undo is not None}
    for step in workflow.steps:
        named = step.with_.get("effects") if step.kind == "review" else None
        for one in named if isinstance(named, list) else ():
            if one in workflow.by_id:
                found.setdefault(one, []).append(step.id)
    return {step.id: found[step.id] for step in workflow.steps if step.id in found}


def leads_to(step: Step) -> list[str]:
    """The steps that a step may lead to besides those that need it."""
    return list(dict.fromkeys(targets(step)))

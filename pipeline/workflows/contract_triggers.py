"""Whether what starts a workflow can: timetables, and inputs that fit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from zoneinfo import available_timezones

from croniter import croniter
from croniter.croniter import CroniterError

from pipeline.workflows.contract_reads import Scope, expression_faults, template_faults
from pipeline.workflows.contract_values import value_faults
from pipeline.workflows.lines import Place
from pipeline.workflows.schema_paths import UNKNOWN, types_of
from pipeline.workflows.spec import Trigger, Workflow

_BY_CHANCE = re.compile(r"(?:^|[\s,])[RrHh](?:$|[\s,(/])")
_SOME_DAY = datetime(2026, 1, 1)  # noqa: DTZ001 - a timetable is tried out in no zone


def trigger_faults(workflow: Workflow) -> Iterator[tuple[Place, str]]:
    """What is wrong with the triggers of a workflow."""
    for number, trigger in enumerate(workflow.triggers):
        for place, what in _faults(workflow, trigger):
            yield ("triggers", number, *place), what


def input_faults(workflow: Workflow) -> Iterator[tuple[Place, str]]:
    """What is wrong with a workflow's inputs, and with the example of them."""
    types = types_of(workflow.inputs)
    if types is not None and "object" not in types:
        yield ("inputs",), "a run's input is an object: `type: object`, with `properties`"
    if workflow.example is not None:
        for place, what in value_faults(workflow.example, workflow.inputs):
            yield ("example", *place), what


def _faults(workflow: Workflow, trigger: Trigger) -> Iterator[tuple[Place, str]]:
    if trigger.cron is not None:
        if (what := cron_fault(trigger.cron)) is not None:
            yield ("cron",), what
        if trigger.timezone not in _zones():
            yield ("timezone",), f"there is no time zone {trigger.timezone!r}; Europe/Berlin is one"
    if trigger.after == workflow.name:
        yield ("after",), "a workflow that starts after itself never ends"
    root = "run" if trigger.after is not None else "event"
    scope = Scope({root: UNKNOWN}, frozenset(), {}, "a trigger")
    if trigger.when is not None:
        yield from expression_faults(trigger.when, scope, ("when",))
    if trigger.input is not None:
        yield from template_faults(trigger.input, scope, ("input",))
    if trigger.input is not None or trigger.event is None:
        for place, what in value_faults(trigger.input or {}, workflow.inputs):
            yield ("input", *place), f"as a run's input, {what}"


def cron_fault(cron: str) -> str | None:
    """What is wrong with a timetable: five fields, or six with seconds first. None: nothing."""
    said = f"{cron!r} is not a timetable: minute hour day month weekday, `0 8 * * mon`"
    if _BY_CHANCE.search(cron) or not croniter.is_valid(cron, second_at_beginning=True):
        return said
    try:
        croniter(cron, _SOME_DAY, second_at_beginning=True).get_next()
    except (CroniterError, ValueError):
        return f"{cron!r} never comes"
    return None


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())

"""`vouch prompts test`: running the cases of prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api.cli.actors import KeyOption, actor_of
from api.cli.call import Call, command
from api.cli.output import console, counted, number, safe, table
from api.cli.prompts.group import commands
from api.cli.text_files import write_text
from api.views import Json
from kernel.errors import InvalidInput
from kernel.records import Principal, Role
from pipeline.prompts.cases import read_cases
from pipeline.prompts.junit import junit_xml
from pipeline.prompts.rendering import compile_prompt
from pipeline.prompts.results import FIGURES, ModelRun, Report, report_json
from pipeline.prompts.testing import Asked

DIGITS = {"latency_ms": 1, "tokens": 0, "cost": 5}
"""After the point, of a figure that is no share (those have three)."""
Tested = Annotated[
    str | None, typer.Argument(metavar="[NAME[@LABEL|@VERSION]]", help="A prompt; by name alone its newest version.")
]


@command(commands, "test")
def run_tests(
    call: Call,
    reference: Tested = None,
    every: Annotated[bool, typer.Option("--all", help="Test every prompt that has cases.")] = False,
    model: Annotated[
        list[str] | None, typer.Option(help="`extractive` or a name on the model server; may be repeated.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="REF", help="Compare with this version, or `none`. Default: production.")
    ] = None,
    case: Annotated[list[str] | None, typer.Option(help="Only this case, unrecorded; may be repeated.")] = None,
    suite: Annotated[list[str] | None, typer.Option(help="Also the suite `bias` or `injection`.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML, too; - prints it.")] = None,
    unrecorded: Annotated[bool, typer.Option("--no-record", help="Keep the outcome out of the ledger.")] = False,
    key: KeyOption = None,
) -> None:
    """Run the cases of a prompt, beside the version in production.

    Exit 1 where a case failed, or none was run.
    """
    if every == (reference is not None):
        raise InvalidInput("name one prompt, or say --all")
    if every and case:
        raise InvalidInput("--case goes with one prompt")
    actor = actor_of(call, key, Role.EDITOR)
    asked = Asked(tuple(model or ()), baseline, tuple(case or ()), tuple(suite or ()), not unrecorded)
    running = _all(call, actor, asked) if reference is None else iter([_one(call, reference, actor, asked)])
    shown = str(junit) != "-"
    reports = list(running) if call.flags.json or not shown else _each_shown(console(), running)
    if junit is not None:
        write_text(junit, junit_xml(reports))
    if shown:
        document = _all_json(reports) if every else report_json(reports[0])
        call.show(document, lambda out: _show_count(out, reports) if every else None)
    if not _green(reports, every):
        raise typer.Exit(1)


def _one(call: Call, reference: str, actor: Principal, asked: Asked) -> Report:
    return call.with_model.prompt_tester.run(reference, actor, asked)


def _all(call: Call, actor: Principal, asked: Asked) -> Iterator[Report]:
    """A report of each prompt that has cases, or that a suite gives some."""
    for one in call.with_model.prompts.newest():
        if asked.suites or read_cases(compile_prompt(one)):
            yield _one(call, f"{one.name}@{one.version}", actor, asked)


def _green(reports: list[Report], every: bool) -> bool:
    """Of all prompts none may fail, and something must have been run; one prompt must have passed."""
    if every:
        return not any(one.failed for one in reports) and any(one.executed for one in reports)
    return all(one.passed for one in reports)


def _all_json(reports: list[Report]) -> Json:
    return {"passed": _green(reports, True), "items": [report_json(one) for one in reports]}


def _show(out: Console, report: Report) -> None:
    for run in report.runs:
        beside = f", beside version {report.baseline.version}" if report.baseline else ""
        out.print(safe(f"{report.version.name}@{report.version.version} with {run.model}{beside}"), style="bold")
        before = {one.key: one.state for one in run.before}
        head = ("case", "result", *(["before"] if report.baseline else []), "why")
        rows = []
        for one in run.results:
            state = "regression" if one in run.regressed else one.state
            name = f"{one.suite}: {one.case}" if one.suite else one.case
            rows.append((name, state, *([before.get(one.key, "-")] if report.baseline else []), one.reason))
        out.print(table(head, rows))
        if run.executed:
            out.print(table(*_figures(run)))
        out.print(safe(_verdict(run)), style="green" if run.passed else "red")


def _figures(run: ModelRun) -> tuple[list[str], list[list[object]]]:
    """The figures of the version, and of the one before it with the difference."""
    shown = [name for name in FIGURES if run.metrics.get(name) is not None]

    def row(begin: str, values: Mapping[str, float | None], *, sign: bool = False) -> list[object]:
        return [begin, *(number(values[name], DIGITS.get(name, 3), sign=sign) for name in shown)]

    rows = [row("" if run.metrics_before is None else "now", run.metrics)]
    if run.metrics_before is not None:
        rows += [row("before", run.metrics_before), row("change", run.delta, sign=True)]
    return ["", *(name.replace("_", " ") for name in shown)], rows


def _verdict(run: ModelRun) -> str:
    said = [counted(run.executed, "case"), f"{run.count('failed')} failed", f"{run.count('skipped')} skipped"]
    said += [counted(len(run.regressions), "regression")] if run.regressions else []
    entry = f"; entry {run.entry} of the ledger" if run.entry is not None else ""
    otherwise = "failed" if run.count("failed") else "not passed, as none of its own cases was run"
    word = "passed" if run.passed else otherwise
    return f"{word}: {', '.join(said)}{entry}"


def _each_shown(out: Console, reports: Iterable[Report]) -> list[Report]:
    """All of them, each shown when it is there: a model may need minutes for a prompt."""
    made = []
    for one in reports:
        _show(out, one)
        out.file.flush()
        made.append(one)
    return made


def _show_count(out: Console, reports: list[Report]) -> None:
    ran = sum(one.executed > 0 for one in reports)
    failed = sum(one.failed > 0 for one in reports)
    out.print(f"{counted(len(reports), 'prompt')}, {ran} run, {failed} failed")

"""`vouch workflows run`: start a run, and follow it to its end or to the person that it waits for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from api.cli.actors import KeyOption, actor_of
from api.cli.call import Call, command
from api.cli.flows import flows_of
from api.cli.following import follow, working
from api.cli.output import counted, table
from api.cli.run_text import show_run
from api.cli.text_files import read_text
from kernel.errors import InvalidInput
from kernel.storage.runs import DONE, WAITING
from pipeline.prompts.library import split_reference
from pipeline.workflows.examples import SOURCE, example_documents
from pipeline.workflows.library import spec_of
from pipeline.workflows.run_views import run_json
from pipeline.workflows.starting import Wanted

Reference = Annotated[
    str, typer.Argument(metavar="NAME[@LABEL|@VERSION]", help="A workflow: what is live, its pilot, or one by number.")
]


def add_run(commands: typer.Typer) -> None:
    """Add the commands to a group."""
    command(commands, "run")(run)
    command(commands, "estimate")(estimate)


def run(
    call: Call,
    reference: Reference,
    input_file: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="The input as a JSON object; - reads standard input.")
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Its own example: input and documents that come with it.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Only queue the run, for a worker (vouch serve or vouch worker).")
    ] = False,
    once: Annotated[
        str | None, typer.Option(metavar="KEY", help="Start one run a key, however often this is called with it.")
    ] = None,
    priority: Annotated[int | None, typer.Option(min=1, max=9, help="1 goes first, 9 last.")] = None,
    key: KeyOption = None,
) -> None:
    """Run a workflow, and follow it until it ends or waits for a person.

    Exits 0 where the run is done or waits, 1 where it failed. Its documents' example is read into the source
    example-NAME.
    """
    flows, actor = flows_of(call), actor_of(call, key)
    given = _given(call, reference, input_file, example)
    made = flows.desk.start(Wanted(reference, given, actor, dedup=once and f"{actor.id}\0{once}", priority=priority))
    if detach:
        call.show(run_json(made), lambda out: out.print(f"{made.id} is {made.status}; see: vouch runs show {made.id}"))
        return
    call.note(f"{made.id}: {made.workflow}@{made.version}")
    with working(call):
        ended = follow(call, made)
    found = flows.reader.whole(ended.id, actor)
    call.show(found, lambda out: show_run(out, found))
    if ended.status not in (DONE, WAITING):
        raise typer.Exit(1)


def estimate(
    call: Call,
    reference: Reference,
    input_file: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="The input as a JSON object; - reads standard input.")
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Its own example as the input.")] = False,
    key: KeyOption = None,
) -> None:
    """Estimate what a run will take.

    By former runs or, where there are none, by the size of its prompts.
    """
    flows, actor = flows_of(call), actor_of(call, key)
    spec = spec_of(flows.library.find(reference))
    given = dict(spec.example or {}) if example else _given(call, reference, input_file, example)
    found = flows.costing.before(reference, given, actor)
    call.show(found, lambda out: _show_estimate(out, found))


def _show_estimate(out: Console, found: dict[str, Any]) -> None:
    columns = ("calls", "prompt_tokens", "completion_tokens", "seconds", "cost")
    rows = [[one["step"], one["basis"], *(_span(one[name]) for name in columns)] for one in found["steps"]]
    rows.append(["all", "", *(_span(found["total"][name]) for name in columns)])
    out.print(table(["step", "by", *(name.replace("_", " ") for name in columns)], rows))
    if found["unpriced"]:
        out.print(f"no price is set (workflow_prices) for: {', '.join(found['unpriced'])}")


def _span(span: dict[str, float] | None) -> str:
    """`likely, at most`."""
    return "?" if span is None else f"{span['likely']:g} to {span['most']:g}"


def _given(call: Call, reference: str, input_file: Path | None, example: bool) -> dict[str, Any]:
    """The run's input. Raises InvalidInput for one that is no JSON object, or where the workflow has no example."""
    if example and input_file is not None:
        raise InvalidInput("either --example or --input")
    if example:
        return _example(call, reference)
    if input_file is None:
        return {}
    text = sys.stdin.read() if str(input_file) == "-" else read_text(input_file)
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{input_file} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"{input_file} must hold a JSON object: the workflow's inputs by name")
    return found


def _example(call: Call, reference: str) -> dict[str, Any]:
    """The example of a workflow, whose documents are read first."""
    spec = spec_of(flows_of(call).library.find(reference))
    if spec.example is None:
        raise InvalidInput(f"workflow {spec.name} has no example: give its input with --input FILE")
    name, _ = split_reference(reference)
    folder = example_documents(name)
    if folder is not None:
        source = SOURCE.format(name)
        with call.workspace.parser_pool() as parser:
            (report,) = call.workspace.indexer.ingest(parser, [folder], source)
        read = report.added + report.changed
        if read:
            call.note(f"read {counted(read, 'example document')} into the source {source}")
    return dict(spec.example)

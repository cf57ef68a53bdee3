"""`vouch runs`: what workflows did, step by step, and steering it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from api.cli.actors import KeyOption, actor_of
from api.cli.call import Call, command, group, number_cursor
from api.cli.flows import flows_of
from api.cli.following import follow, working
from api.cli.options import Cursor, Limit
from api.cli.output import safe, table, write_json
from api.cli.run_text import event_line, show_run
from api.views import Json
from kernel.storage.runs import DONE, WAITING, Run
from pipeline.workflows.run_views import compared, event_json, run_json

commands = group("Runs of workflows: every step with its input, output and checks.")

RunId = Annotated[str, typer.Argument(metavar="ID", help="Id of the run, wfr_….")]
Detach = Annotated[bool, typer.Option("--detach", help="Leave the work to a worker (vouch serve or vouch worker).")]


class Status(StrEnum):
    """How a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@command(commands, "list")
def list_runs(
    call: Call,
    workflow: Annotated[str | None, typer.Option(help="Runs of this workflow.")] = None,
    status: Annotated[list[Status] | None, typer.Option(help="Runs that stand so; repeatable.")] = None,
    text: Annotated[str, typer.Option(help="Runs whose input holds this text.")] = "",
    limit: Limit = 50,
    cursor: Cursor = None,
    key: KeyOption = None,
) -> None:
    """List runs, newest first."""
    actor = actor_of(call, key)
    found = call.workspace.runs.items(
        limit=limit + 1,
        before=number_cursor(cursor),
        workflow=workflow,
        status=[one.value for one in status or ()],
        principal=None if actor.role.oversees else actor.id,
        text=text,
    )
    rest = str(found[limit - 1].number) if len(found) > limit else None
    columns = ("id", "workflow", "version", "status", "mode", "trigger", "created_at", "finished_at")
    call.show_list([run_json(run) for run in found[:limit]], rest, columns)


@command(commands, "show")
def show(call: Call, run_id: RunId, key: KeyOption = None) -> None:
    """Show a run: every step, what it came to, and what it waits for."""
    found = flows_of(call).reader.whole(run_id, actor_of(call, key))
    call.show(found, lambda out: show_run(out, found))


@command(commands, "events")
def events(call: Call, run_id: RunId, key: KeyOption = None) -> None:
    """Print the journal of a run. With --json one row a line."""
    run = flows_of(call).desk.get(run_id, actor_of(call, key))
    for event in call.workspace.runs.events(run.id):
        if call.flags.json:
            write_json(event_json(event), line=True)
        else:
            typer.echo(safe(f"{event.created_at[:19]}Z  {event.leaf:>6}  {event_line(event_json(event))}"))


@command(commands, "chain")
def chain(call: Call, run_id: RunId, key: KeyOption = None) -> None:
    """Open the whole chain behind a run: spec, prompts, answers, documents, people, other runs."""
    found = flows_of(call).reader.chain(run_id, actor_of(call, key))
    call.show(found, lambda out: _show_chain(out, found))


@command(commands, "compare")
def compare(
    call: Call,
    run_id: RunId,
    other: Annotated[str | None, typer.Argument(metavar="[OTHER]", help="Default: the one before.")] = None,
    key: KeyOption = None,
) -> None:
    """Show what differs between two runs: input, pins, and each step's output."""
    actor, reader = actor_of(call, key), flows_of(call).reader
    one = reader.whole(run_id, actor)
    former = reader.whole(other or flows_of(call).desk.former(run_id, actor).id, actor)
    found = compared(one, former)
    call.show(found, lambda out: _show_comparison(out, found))


@command(commands, "cost")
def cost(call: Call, run_id: RunId, key: KeyOption = None) -> None:
    """Show what a run took, beside what would have been estimated for it."""
    flows = flows_of(call)
    found = flows.costing.after(flows.desk.get(run_id, actor_of(call, key)))
    names = ("step", "what", "actual", "likely", "most")
    rows = [
        [one["step"] or "the run", one["what"], *(_amount(one[name]) for name in names[2:])]
        for one in (*found["total"], *found["steps"])
    ]
    call.show(found, lambda out: out.print(table(names, rows)))


@command(commands, "cancel")
def cancel(
    call: Call,
    run_id: RunId,
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "",
    detach: Detach = False,
    key: KeyOption = None,
) -> None:
    """Cancel a run: nothing more is begun, and what was done is taken back where the workflow says how."""
    _steered(call, flows_of(call).desk.cancel(run_id, actor_of(call, key), reason), detach)


@command(commands, "resume")
def resume(call: Call, run_id: RunId, detach: Detach = False, key: KeyOption = None) -> None:
    """Go on with a run that failed or was cancelled: what was done is kept, what failed is done again."""
    _steered(call, flows_of(call).desk.resume(run_id, actor_of(call, key)), detach)


@command(commands, "fork")
def fork(
    call: Call,
    run_id: RunId,
    step: Annotated[str, typer.Argument(metavar="STEP", help="The step to go on from.")],
    detach: Detach = False,
    key: KeyOption = None,
) -> None:
    """Start a new run that goes on from a step of a finished one; what does not follow from the step is kept."""
    _steered(call, flows_of(call).desk.fork(run_id, step, actor_of(call, key)), detach)


@command(commands, "watch")
def watch(call: Call, run_id: RunId, key: KeyOption = None) -> None:
    """Follow a run until it ends or waits for somebody, and work on it meanwhile. With --json one row of its journal a
    line.
    """
    run = flows_of(call).desk.get(run_id, actor_of(call, key))
    tell = (lambda event: write_json(event, line=True)) if call.flags.json else None
    with working(call):
        ended = follow(call, run, tell)
    if not call.flags.json:
        call.note(f"{ended.id} is {ended.status}")


def finish(call: Call, run: Run) -> None:
    """Print a run that was followed; exits 1 where it did not end well."""
    found = flows_of(call).reader.whole(run.id, flows_of(call).local)
    call.show(found, lambda out: show_run(out, found))
    if run.status not in (DONE, WAITING):
        raise typer.Exit(1)


def _steered(call: Call, run: Run, detach: bool) -> None:
    if detach:
        call.show(run_json(run), lambda out: out.print(f"{run.id} is {run.status}"))
        return
    with working(call):
        ended = follow(call, run)
    found = flows_of(call).reader.whole(ended.id, flows_of(call).local)
    call.show(found, lambda out: show_run(out, found))


def _show_comparison(out: Console, found: Json) -> None:
    for name in ("input", "pins", "output"):
        for member, pair in found[name].items():
            out.print(safe(f"{name}.{member}: {pair[1]} -> {pair[0]}"), soft_wrap=True)
    for step in found["steps"]:
        now, then = step["status"]
        told = "same output" if step["same_output"] and now == then else "differs"
        out.print(safe(f"{step['id']}: {told} ({then} -> {now})" if now != then else f"{step['id']}: {told}"))


def _amount(value: float | None) -> int | float | None:
    """A count as a count, and no more of seconds and costs than people read."""
    return value if value is None else int(value) if value == int(value) else round(value, 4)


def _show_chain(out: Console, found: Json, indent: str = "") -> None:
    out.print(
        safe(f"{indent}{found['run']['id']}  {found['spec']['workflow']}@{found['spec']['version']}"), style="bold"
    )
    for name in ("model", "snapshot", "policy"):
        out.print(safe(f"{indent}  {name}: {found['pins'][name]}"), soft_wrap=True)
    for name, (number, _) in (found["pins"]["prompts"] or {}).items():
        out.print(safe(f"{indent}  prompt: {name}, version {number}"), soft_wrap=True)
    for sort, things in found["made"].items():
        for thing in things:
            told = thing.get("question") or thing.get("status") or thing.get("state") or ""
            out.print(safe(f"{indent}  {sort}: {thing['id']}  {told}".rstrip()), soft_wrap=True)
            for document in thing.get("documents", ()):
                out.print(safe(f"{indent}    {document['document_id']}  {document['title']}"), soft_wrap=True)
    for child in found["runs"]:
        _show_chain(out, child, f"{indent}  ")

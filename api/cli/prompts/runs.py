"""Running prompts that answer from their inputs alone, and past runs."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from api.cli.actors import KeyOption, actor_of
from api.cli.call import Call, command, number_cursor, page_of
from api.cli.inputs import InputOption, InputsOption, inputs_of
from api.cli.options import Cursor, Limit, StakesOption
from api.cli.output import safe
from api.cli.prompts.group import Reference, commands
from api.views import Json
from pipeline.prompts.runs import DONE, FAILED, RunRequest, run_shown

MODEL_AWAY = 3


@command(commands, "run")
def run(
    call: Call,
    reference: Reference,
    given: InputOption = None,
    inputs: InputsOption = None,
    session: Annotated[str | None, typer.Option(help="A name that ties runs together.")] = None,
    stakes: StakesOption = None,
    key: KeyOption = None,
) -> None:
    """Run a prompt that takes inputs alone, with a model server.

    The run is recorded.

    A prompt that answers from documents is asked with: vouch ask --prompt NAME QUESTION.
    """
    workspace = call.workspace
    values = inputs_of(workspace, reference, given, inputs)
    request = RunRequest(reference, values, actor_of(call, key), session, stakes and stakes.value)
    body = workspace.prompt_runner.run(request)
    call.show(body, lambda out: _show(out, body))
    if body["status"] == FAILED:
        raise typer.Exit(MODEL_AWAY)
    if body["status"] != DONE:
        raise typer.Exit(1)


@command(commands, "runs")
def runs(call: Call, limit: Limit = 50, cursor: Cursor = None, key: KeyOption = None) -> None:
    """List past runs, newest first."""
    actor, before = actor_of(call, key), number_cursor(cursor)
    found = call.workspace.prompt_runner.stored.items(actor, limit=limit + 1, before=before)
    items, rest = page_of([run_shown(one, actor) | {"number": one.number} for one in found], limit, "number")
    shown = [
        {**one, "prompt": f"{one['prompt']['name']}@{one['prompt']['version']}", "model": one["model"]["name"]}
        for one in items
    ]
    call.show_list(
        items if call.flags.json else shown, rest, ("id", "status", "prompt", "model", "principal", "created_at")
    )


@command(commands, "run-show")
def run_show(
    call: Call, run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="A run.")], key: KeyOption = None
) -> None:
    """Show a past run: what was put in, and what came out."""
    actor = actor_of(call, key)
    body = run_shown(call.workspace.prompt_runner.stored.get(run_id, actor), actor)
    call.show(body, lambda out: _show(out, body))


def _show(out: Console, body: Json) -> None:
    for name, value in body.get("inputs", {}).items():
        out.print(safe(f"{name}: {value}"), style="dim", soft_wrap=True)
    if body["output"]:
        out.print(safe(body["output"]), soft_wrap=True)
    else:
        out.print(safe(f"{body['status']}: {body['reason']}"), style="yellow", soft_wrap=True)
    prompt, model = body["prompt"], body["model"]
    out.print(
        safe(f"{body['id']}  {prompt['name']}@{prompt['version']}  {model['provider']}/{model['name']}"),
        style="dim",
        soft_wrap=True,
    )

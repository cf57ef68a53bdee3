"""`vouch workflows event`: telling of events by hand, and the secrets that their senders sign with."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from api.cli.actors import KeyOption, actor_of
from api.cli.call import Call, command, group
from api.cli.flows import flows_of as flows_with_model
from api.cli.inputs import read_inputs
from api.cli.output import safe
from api.cli.workflows.group import Reason, commands, flows_of
from kernel.errors import InvalidInput
from kernel.records import Role
from pipeline.workflows.triggers import EVENT_NAME, event_key

events = group("Events that start workflows, and the secrets of who sends them.")
commands.add_typer(events, name="event")

Event = Annotated[str, typer.Argument(metavar="EVENT", help="Name of the event, such as ticket.new.")]


@command(events, "list")
def list_secrets(call: Call) -> None:
    """List the secrets of events, without what they are."""
    items = [asdict(one) for one in flows_of(call).secrets.items()]
    call.show_list(items, None, ("name", "number", "state", "created_at"))


@command(events, "send")
def send(
    call: Call,
    name: Event,
    body: Annotated[Path | None, typer.Option(help="A YAML or JSON file of its members; - is standard input.")] = None,
    dedup: Annotated[str | None, typer.Option(help="What comes again under this starts nothing new.")] = None,
    key: KeyOption = None,
) -> None:
    """Tell of an event.

    It starts every live workflow that waits for it and whose condition holds. The same `id` of the body, or --dedup,
    starts nothing twice.
    """
    actor_of(call, key, Role.EDITOR)
    given = read_inputs(body) if body is not None else {}
    came = flows_with_model(call).triggers.event(name, given, event_key(given, dedup))
    runs = [{"id": run.id, "workflow": run.workflow} for run in came.runs]
    refused = [{"workflow": workflow, "reason": reason} for workflow, reason in came.refused.items()]

    def words(out: Console) -> None:
        for one in runs:
            out.print(Text(safe(f"{one['workflow']}: {one['id']}")), soft_wrap=True)
        for one in refused:
            out.print(Text(safe(f"{one['workflow']}: {one['reason']}"), style="red"), soft_wrap=True)
        if not runs:
            out.print("nothing was started")

    call.show({"event": name, "runs": runs, "refused": refused}, words)


@command(events, "secret")
def secret(call: Call, name: Event, reason: Reason = "", key: KeyOption = None) -> None:
    """Make a new secret for senders of an event; it is shown once.

    The one before it holds for another day, so that senders can change over.
    """
    if not EVENT_NAME.fullmatch(name):
        raise InvalidInput("the name of an event is up to 80 small letters, digits, dots, dashes and underscores")
    made, told = flows_of(call).secrets.make(name, actor_of(call, key, Role.ADMIN).id, reason)
    call.show(asdict(made) | {"secret": told}, lambda out: out.print(told, soft_wrap=True))


@command(events, "end")
def end(call: Call, name: Event, key: KeyOption = None) -> None:
    """End the secret of an event: from now on only keys send it."""
    ended = flows_of(call).secrets.end(name, actor_of(call, key, Role.ADMIN).id)
    call.show(asdict(ended), lambda out: out.print(safe(f"no signature of {name} holds any more")))

"""`vouch releases`: sets of prompts, workflows, policy and model that go live together, and are taken back together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from api.cli.actors import KeyOption, actor_of
from api.cli.call import Call, command, group, number_cursor, page_of
from api.cli.inputs import read_inputs
from api.cli.options import Cursor, Limit
from api.cli.output import safe
from api.views import Json, moved_json, release_json
from kernel.errors import InvalidInput

commands = group("Sets of prompts, workflows and policy that go live together, and back.")

Number = Annotated[int, typer.Argument(metavar="N", help="Number of a release.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept with the move.")]


@command(commands, "list")
def list_releases(call: Call, limit: Limit = 50, cursor: Cursor = None) -> None:
    """List releases, newest first."""
    desk = call.workspace.release_desk
    current, before = desk.in_force(), number_cursor(cursor)
    found = [release_json(one, current) for one in desk.items() if before is None or one.number < before]
    items, rest = page_of(found, limit, "number")
    call.show_list(items, rest, ("number", "in_force", "author", "message", "created_at"))


@command(commands, "show")
def show(call: Call, number: Number) -> None:
    """Show what a release holds, and what it still lacks before it can go live."""
    desk = call.workspace.release_desk
    body = release_json(desk.get(number), desk.in_force()) | {"missing": desk.missing(number)}

    def words(out: Console) -> None:
        state = "in force" if body["in_force"] else "ready" if not body["missing"] else "not ready"
        out.print(safe(f"release {number}, {state}: {body['message']}"), soft_wrap=True)
        for name, version in body["manifest"]["prompts"].items():
            out.print(safe(f"  prompt {name}@{version}"), soft_wrap=True)
        for name, version in body["manifest"]["workflows"].items():
            out.print(safe(f"  workflow {name}@{version}"), soft_wrap=True)
        for part in ("policy", "model"):
            if body["manifest"][part] is not None:
                out.print(safe(f"  {part} {_part(body['manifest'][part])}"), soft_wrap=True)
        for one in body["missing"]:
            out.print(safe(f"  lacks: {one}"), style="yellow", soft_wrap=True)

    call.show(body, words)


@command(commands, "diff")
def diff(
    call: Call,
    number: Number,
    since: Annotated[
        int | None, typer.Option("--from", metavar="N", help="Compare with this release; default: what is in force.")
    ] = None,
) -> None:
    """Show what a release changes."""
    body = call.workspace.release_desk.differences(number, since)

    def words(out: Console) -> None:
        lines = [f"prompt {name}: {_pair(pair)}" for name, pair in body["prompts"].items()]
        lines += [f"workflow {name}: {_pair(pair)}" for name, pair in body["workflows"].items()]
        lines += [f"{part}: {_pair(body[part])}" for part in ("policy", "model") if body[part] is not None]
        for line in lines or ["nothing changes"]:
            out.print(safe(line), soft_wrap=True)

    call.show(body, words)


@command(commands, "add")
def add(
    call: Call,
    message: Annotated[str, typer.Option("--message", "-m", help="What the release is for.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="YAML or JSON of `prompts`, `workflows`, `policy`, `model`.")
    ] = None,
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", metavar="NAME@VERSION", help="A version, by number or label.")
    ] = None,
    workflow: Annotated[
        list[str] | None, typer.Option("--workflow", metavar="NAME@VERSION", help="A version, by number or label.")
    ] = None,
    policy: Annotated[int | None, typer.Option(metavar="N", help="A version of the policy.")] = None,
    model: Annotated[str | None, typer.Option(metavar="PROVIDER/NAME", help="The model that it is meant for.")] = None,
    key: KeyOption = None,
) -> None:
    """Store a set. It goes live when another person activates it."""
    manifest: dict[str, Any] = read_inputs(file) if file is not None else {}
    manifest = {**manifest, "prompts": {**manifest.get("prompts", {}), **_prompts(call, prompt or ())}}
    if workflow:
        found = [call.workspace.workflows.find(one) for one in workflow]
        manifest["workflows"] = {**manifest.get("workflows", {}), **{one.name: one.version for one in found}}
    if policy is not None:
        manifest["policy"] = policy
    if model is not None:
        provider, slash, name = model.partition("/")
        if not slash:
            raise InvalidInput("--model is PROVIDER/NAME, such as openai/gpt-4o")
        manifest["model"] = {"provider": provider, "name": name}
    desk = call.workspace.release_desk
    made = desk.add(manifest, actor_of(call, key), message)
    words = f"stored as release {made.number}; another person puts it in force: vouch releases activate {made.number}"
    call.show(release_json(made, desk.in_force()), lambda out: out.print(words, soft_wrap=True))


@command(commands, "activate")
def activate(call: Call, number: Number, reason: ReasonOption = "", key: KeyOption = None) -> None:
    """Put a release in force, whole, from the next question on."""
    _tell(call, moved_json(call.workspace.release_desk.activate(number, actor_of(call, key), reason)))


@command(commands, "rollback")
def rollback(call: Call, reason: ReasonOption = "", key: KeyOption = None) -> None:
    """Put back what was in force before the release that is in force."""
    _tell(call, moved_json(call.workspace.release_desk.rollback(actor_of(call, key), reason)))


@command(commands, "moves")
def moves(call: Call) -> None:
    """List every move to a release and back, oldest first."""
    items = [asdict(one) | {"before": dict(one.before)} for one in call.workspace.release_desk.moves()]
    call.show_list(items, None, ("leaf", "release", "created_at"))


def _prompts(call: Call, references: Sequence[str]) -> dict[str, int]:
    found = [call.workspace.prompts.find(one) for one in references]
    return {one.name: one.version for one in found}


def _tell(call: Call, body: Json) -> None:
    def words(out: Console) -> None:
        number = body["release"]
        out.print(f"release {number} is in force" if number else "no release is in force any more", soft_wrap=True)
        for name, (before, after) in body["changed"].items():
            out.print(safe(f"  prompt {name}: {before or 'none'} -> {after or 'none'}"), soft_wrap=True)
        for name, (before, after) in body["workflows"].items():
            out.print(safe(f"  workflow {name}: {before or 'none'} -> {after or 'none'}"), soft_wrap=True)
        for one in body["left"]:
            out.print(safe(f"  {one}"), style="yellow", soft_wrap=True)

    call.show(body, words)


def _part(value: Any) -> str:
    return f"{value['provider']}/{value['name']}" if isinstance(value, dict) else str(value)


def _pair(pair: Sequence[Any]) -> str:
    return " -> ".join("none" if one is None else _part(one) for one in pair)

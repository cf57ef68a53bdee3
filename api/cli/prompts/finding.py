"""Finding prompts: search, favourites, usage, and what depends on one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console

from api.cli.actors import KeyOption, actor_of
from api.cli.call import Call, command
from api.cli.output import safe
from api.cli.prompts.group import commands

Name = Annotated[str, typer.Argument(metavar="NAME", help="A prompt.")]


@command(commands, "search")
def search(
    call: Call,
    query: Annotated[list[str], typer.Argument(metavar="WORDS...", help="What to look for.")],
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many to show.")] = 20,
    key: KeyOption = None,
) -> None:
    """Find prompts by words and by meaning, best first."""
    actor = actor_of(call, key)
    marked = set(call.workspace.prompt_uses.favourites(actor))
    hits = call.with_model.prompt_finder.search(" ".join(query), actor, limit)
    items = [asdict(one) | {"tags": list(one.tags), "favourite": one.name in marked} for one in hits]
    call.show_list(items, None, ("name", "version", "state", "kind", "favourite", "description"))


@command(commands, "favourite")
def favourite(
    call: Call,
    name: Name,
    off: Annotated[bool, typer.Option("--off", help="Take the mark off.")] = False,
    key: KeyOption = None,
) -> None:
    """Mark a prompt as one of your favourites."""
    marked = call.workspace.prompt_uses.mark(name, actor_of(call, key), on=not off)
    call.show({"favourites": marked}, lambda out: out.print(safe(", ".join(marked) or "no favourites")))


@command(commands, "favourites")
def favourites(call: Call, key: KeyOption = None) -> None:
    """List your favourites."""
    marked = call.workspace.prompt_uses.favourites(actor_of(call, key))
    call.show_list([{"name": one} for one in marked], None, ("name",))


@command(commands, "usage")
def usage(call: Call, name: Name, key: KeyOption = None) -> None:
    """Count answers and runs of each version of a prompt, by user."""
    body = call.workspace.prompt_uses.usage(name, actor_of(call, key))

    def words(out: Console) -> None:
        out.print(safe(f"{name}: answers {body['answers']}, runs {body['runs']}"), soft_wrap=True)
        for one in body["versions"]:
            out.print(f"  version {one['version']}: answers {one['answers']}, runs {one['runs']}", soft_wrap=True)
            if one["quality"]:
                out.print(f"    {_quality_text(one['quality'])}", soft_wrap=True)
            for user in one["users"]:
                who = user["principal"] or "(erased)"
                told = f"    {who}: answers {user['answers']}, runs {user['runs']}, last {user['last']}"
                out.print(safe(told), soft_wrap=True)

    call.show(body, words)


@command(commands, "used-by")
def used_by(call: Call, name: Name) -> None:
    """List what depends on a prompt.

    Rules, experiments and releases that hold a version of it, and workflows whose steps name it.
    """
    from api.flows import Flows  # the other commands need not load it

    found = call.workspace.prompt_uses.used_by(name, actor_of(call, None), (Flows(call.workspace).dependents,))
    call.show_list([asdict(one) for one in found], None, ("kind", "name", "version", "detail"))


def _quality_text(quality: Mapping[str, Any]) -> str:
    """How well a version did, in a line."""
    parts = [f"{status.replace('_', ' ')} {count}" for status, count in sorted(quality["statuses"].items())]
    if quality["confidence"] is not None:
        parts.append(f"mean confidence {quality['confidence']:.2f}")
    if quality["feedback"] is not None:
        parts.append(f"feedback {quality['feedback']:.2f} of {quality['opinions']}")
    return ", ".join(parts)

"""A version's way to be live: pilot, review by another person, release, and back; and triggers that rest."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from api.cli.actors import KeyOption, actor_of
from api.cli.call import Call, command
from api.cli.output import safe
from api.cli.workflows.group import Comment, Name, Reason, Reference, commands, flows_of, version_of, whole_or_version
from api.flows import Flows
from kernel.errors import InvalidInput
from kernel.records import Role


@command(commands, "pilot")
def pilot(
    call: Call,
    reference: Reference,
    comment: Comment = "",
    off: Annotated[bool, typer.Option("--off", help="Nobody runs the pilot any more.")] = False,
    key: KeyOption = None,
) -> None:
    """Let the owner and reviewers run a version.

    Of a name alone it is the newest version.
    """
    flows, actor = flows_of(call), actor_of(call, key, Role.REVIEWER)
    version = version_of(flows, reference)
    if off:
        flows.library.end_pilot(version.name, actor, comment)
    else:
        flows.library.pilot(version.name, version.version, actor, comment)
    _tell(call, flows, version.name, version.version)


@command(commands, "submit")
def submit(call: Call, reference: Reference, comment: Comment = "", key: KeyOption = None) -> None:
    """Ask for the review of a version (of a name alone: the newest)."""
    flows, actor = flows_of(call), actor_of(call, key, Role.EDITOR)
    version = version_of(flows, reference)
    flows.library.submit(version.name, version.version, actor, comment)
    _tell(call, flows, version.name, version.version)


@command(commands, "approve")
def approve(call: Call, reference: Reference, comment: Comment = "", key: KeyOption = None) -> None:
    """Approve a version in review. Who wrote or submitted it cannot: use --key of another person."""
    flows, actor = flows_of(call), actor_of(call, key, Role.REVIEWER)
    version = version_of(flows, reference)
    flows.library.approve(version.name, version.version, actor, comment)
    _tell(call, flows, version.name, version.version)


@command(commands, "reject")
def reject(
    call: Call,
    reference: Reference,
    reason: Annotated[str, typer.Option(help="Why; its author is told.")],
    key: KeyOption = None,
) -> None:
    """Send a version in review back to its author."""
    flows, actor = flows_of(call), actor_of(call, key, Role.REVIEWER)
    version = version_of(flows, reference)
    flows.library.reject(version.name, version.version, actor, reason)
    _tell(call, flows, version.name, version.version)


@command(commands, "comment")
def comment(
    call: Call,
    reference: Reference,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The comment.")],
    key: KeyOption = None,
) -> None:
    """Comment on a version, or on a workflow as a whole.

    Its name alone is the whole workflow. `vouch workflows history` shows comments.
    """
    flows, actor = flows_of(call), actor_of(call, key, Role.EDITOR, Role.REVIEWER)
    name, number = whole_or_version(flows, reference)
    flows.library.comment(name, number, actor, text)
    shown = {"name": name, "version": number or None, "comment": text}
    call.show(shown, lambda out: out.print(f"noted on {name}{f'@{number}' if number else ''}"))


@command(commands, "live")
def live(
    call: Call,
    reference: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="A version.")],
    comment: Comment = "",
    key: KeyOption = None,
) -> None:
    """Put a version live, from the next run and trigger on. It must have passed every gate."""
    flows, actor = flows_of(call), actor_of(call, key, Role.ADMIN)
    name, number = whole_or_version(flows, reference)
    if not number:
        raise InvalidInput(f"say which version: {name}@NUMBER")
    flows.library.release(name, number, actor, comment)
    _tell(call, flows, name, number)


@command(commands, "rollback")
def rollback(call: Call, name: Name, reason: Reason = "", key: KeyOption = None) -> None:
    """Put the version before live again, at once.

    Runs under way go on with the version that they began with.
    """
    flows = flows_of(call)
    version = flows.library.rollback(name, actor_of(call, key, Role.ADMIN), reason)
    _tell(call, flows, name, version.version)


@command(commands, "retire")
def retire(
    call: Call,
    reference: Reference,
    reason: Reason = "",
    undo: Annotated[bool, typer.Option("--undo", help="Bring it back.")] = False,
    key: KeyOption = None,
) -> None:
    """Take a version out of use, or by name the whole workflow."""
    flows, actor = flows_of(call), actor_of(call, key, Role.ADMIN)
    name, number = whole_or_version(flows, reference)
    flows.library.retire(name, number, actor, reason, undo=undo)
    what = f"{name}@{number}" if number else name
    _tell_whole(call, flows, name, f"{what} is {'in use again' if undo else 'retired'}")


@command(commands, "pause")
def pause(call: Call, name: Name, reason: Reason = "", key: KeyOption = None) -> None:
    """Let the triggers of a workflow rest: only people start it.

    What documents change meanwhile starts it once it is resumed; clocks, events and other runs are left out.
    """
    flows = flows_of(call)
    flows.library.pause(name, actor_of(call, key, Role.ADMIN), reason)
    _tell_whole(call, flows, name, f"the triggers of {name} rest")


@command(commands, "resume")
def resume(call: Call, name: Name, reason: Reason = "", key: KeyOption = None) -> None:
    """Let the triggers of a workflow work again."""
    flows = flows_of(call)
    flows.library.pause(name, actor_of(call, key, Role.ADMIN), reason, resume=True)
    _tell_whole(call, flows, name, f"the triggers of {name} work again")


def _tell(call: Call, flows: Flows, name: str, number: int) -> None:
    found = flows.library_desk.version_item(name, number)

    def words(out: Console) -> None:
        out.print(safe(f"{name}@{number} is {found['state'].replace('_', ' ')}"))
        for clause in found["standing"]["missing"]:
            out.print(Text(safe(f"to go live: {clause}"), style="yellow"), soft_wrap=True)

    call.show(found, words)


def _tell_whole(call: Call, flows: Flows, name: str, words: str) -> None:
    call.show(flows.library_desk.item(name), lambda out: out.print(safe(words), soft_wrap=True))

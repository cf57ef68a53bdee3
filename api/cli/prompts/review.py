"""A version's way to callers: review by another person, labels, rules, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from api.cli.actors import KeyOption, actor_of
from api.cli.call import Call, command, group
from api.cli.output import safe
from api.cli.prompts.group import Name, Reference, commands, version_of, whole_or_version
from api.cli.text_files import read_text
from kernel.errors import InvalidInput
from kernel.records import PromptVersion, Role
from pipeline.prompts.anatomy import load_yaml
from pipeline.prompts.state import LIVE, PRODUCTION

Comment = Annotated[str, typer.Option(help="What you have to say of it.")]
Reason = Annotated[str, typer.Option(help="Why.")]
Label = Annotated[str, typer.Argument(metavar="LABEL", help="A label, such as production or staging.")]
STATES = {"draft": "a draft", "in_review": "in review", "approved": "approved", "live": "live", "retired": "retired"}
"""States of a version, as a sentence ends."""
rules = group("Which label of a prompt callers get who name none.")
commands.add_typer(rules, name="rules")


@command(commands, "submit")
def submit(call: Call, reference: Reference, comment: Comment = "", key: KeyOption = None) -> None:
    """Ask for the review of a version (of a name alone: the newest)."""
    actor, version = actor_of(call, key, Role.EDITOR), version_of(call, reference)
    call.workspace.prompts.submit(version.name, version.version, actor, comment)
    _tell(call, version)


@command(commands, "approve")
def approve(call: Call, reference: Reference, comment: Comment = "", key: KeyOption = None) -> None:
    """Approve a version in review. Who wrote or submitted it cannot: use --key of another person."""
    actor, version = actor_of(call, key, Role.REVIEWER), version_of(call, reference)
    call.workspace.prompts.approve(version.name, version.version, actor, comment)
    _tell(call, version)


@command(commands, "reject")
def reject(
    call: Call,
    reference: Reference,
    reason: Annotated[str, typer.Option(help="Why; its author is told.")],
    key: KeyOption = None,
) -> None:
    """Send a version in review back to its author.

    It takes its approvals, and no label: what callers get stays.
    """
    actor, version = actor_of(call, key, Role.REVIEWER), version_of(call, reference)
    call.workspace.prompts.reject(version.name, version.version, actor, reason)
    _tell(call, version)


@command(commands, "comment")
def comment(
    call: Call,
    reference: Reference,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The comment.")],
    key: KeyOption = None,
) -> None:
    """Comment on a version, or on a prompt as a whole.

    Its name alone is the whole prompt. `vouch prompts history` shows comments.
    """
    actor = actor_of(call, key, Role.EDITOR, Role.REVIEWER)
    name, number = whole_or_version(call, reference)
    call.workspace.prompts.comment(name, number, actor, text)
    shown = {"name": name, "version": number or None, "comment": text}
    call.show(shown, lambda out: out.print(f"noted on {name}{f'@{number}' if number else ''}"))


@command(commands, "label")
def label(
    call: Call,
    reference: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="A version.")],
    label: Label,
    comment: Comment = "",
    key: KeyOption = None,
) -> None:
    """Put a label on a version, from the next question on. `production` takes only versions that passed the gates."""
    actor, (name, number) = actor_of(call, key, Role.ADMIN), whole_or_version(call, reference)
    if not number:
        raise InvalidInput(f"say which version: {name}@NUMBER")
    call.workspace.prompts.label(name, number, label, actor, comment)
    _tell_labels(call, name, f"{label} is on {name}@{number}")


@command(commands, "unlabel")
def unlabel(call: Call, name: Name, label: Label, key: KeyOption = None) -> None:
    """Take a label off."""
    call.workspace.prompts.unlabel(name, label, actor_of(call, key, Role.ADMIN))
    _tell_labels(call, name, f"{label} is on no version of {name}")


@command(commands, "rollback")
def rollback(
    call: Call,
    name: Name,
    label: Annotated[str, typer.Option(help="The label to move back.")] = PRODUCTION,
    reason: Reason = "",
    key: KeyOption = None,
) -> None:
    """Put a label back on the version before, at once."""
    library = call.workspace.prompts
    library.rollback(name, actor_of(call, key, Role.ADMIN), label, reason)
    _tell_labels(call, name, f"{label} is on {name}@{library.labels(name)[label]} again")


@command(commands, "retire")
def retire(
    call: Call,
    reference: Reference,
    reason: Reason = "",
    undo: Annotated[bool, typer.Option("--undo", help="Bring it back.")] = False,
    key: KeyOption = None,
) -> None:
    """Take a version out of use, or by name the whole prompt."""
    actor, (name, number) = actor_of(call, key, Role.ADMIN), whole_or_version(call, reference)
    call.workspace.prompts.retire(name, number, actor, reason, undo=undo)
    what = f"{name}@{number}" if number else name
    _tell_labels(call, name, f"{what} is {'in use again' if undo else 'retired'}")


@command(rules, "show")
def show_rules(call: Call, name: Name) -> None:
    """Show the rules of a prompt.

    The first that applies to a caller says which label they get.
    """
    found = call.workspace.prompt_desk.rules(name)
    _tell_rules(call, name, found)


@command(rules, "set")
def set_rules(
    call: Call,
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A YAML or JSON list of rules; - is standard input.")],
    key: KeyOption = None,
) -> None:
    """Declare the rules of a prompt, in place of those it has.

    An empty list takes them off.
    """
    actor = actor_of(call, key, Role.ADMIN)
    wanted = load_yaml(read_text(file), str(file), 0)
    if not isinstance(wanted, list) or not all(isinstance(one, dict) for one in wanted):
        raise InvalidInput(f"{file} must hold a list of rules: - {{when: {{models: [NAME]}}, label: LABEL}}")
    call.workspace.prompts.set_rules(name, wanted, actor)
    _tell_rules(call, name, call.workspace.prompt_desk.rules(name))


def _tell_rules(call: Call, name: str, found: list[dict[str, Any]]) -> None:
    def words(out: Console) -> None:
        for rule in found:
            when = "; ".join(f"{what}: {', '.join(values)}" for what, values in rule["when"].items())
            out.print(Text(safe(f"{when} -> {rule['label']}")), soft_wrap=True)
        out.print(f"{'everybody else' if found else 'everybody'} -> {PRODUCTION}")

    call.show({"name": name, "rules": found}, words)


def _tell(call: Call, version: PromptVersion) -> None:
    found = call.workspace.prompt_desk.version_item(version.name, version.version)

    def words(out: Console) -> None:
        out.print(safe(f"{version.name}@{version.version} is {STATES[found['state']]}"))
        if found["state"] == LIVE:  # approval was asked for when the label moved, and is not afterwards
            out.print(f"callers get it until its label moves: vouch prompts rollback {version.name}", style="yellow")
            return
        for clause in found["standing"]["missing"]:
            out.print(Text(safe(f"to be released: {clause}"), style="yellow"), soft_wrap=True)

    call.show(found, words)


def _tell_labels(call: Call, name: str, words: str) -> None:
    found = call.workspace.prompt_desk.show(name)
    shown = {member: found[member] for member in ("name", "version", "state", "states", "labels")}
    call.show(shown, lambda out: out.print(safe(words), soft_wrap=True))

"""`vouch retention`: how long answers are kept, and letting them expire."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from api.cli.call import Call, command, group
from api.cli.output import show_fields
from api.views import erasure_json, retention_json
from kernel.records import LOCAL_OWNER
from kernel.storage.retention import RetentionRules

commands = group("How long answers are kept.")

Days = Annotated[
    int | None, typer.Option(min=1, help="Days that answers are kept; default: what the workspace's rules say.")
]


@command(commands, "show")
def show(call: Call, days: Days = None) -> None:
    """Show the rules, what is kept, and what would expire now."""
    rules = _rules(call, days)
    shown = retention_json(rules, call.workspace.retention)
    call.show(shown, lambda out: show_fields(out, shown | {"held": len(shown["held"])}))


@command(commands, "apply")
def apply(
    call: Call,
    days: Days = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what would expire.")] = False,
) -> None:
    """Let answers expire that are older than the rules allow and that no hold covers.

    Question, answer, quotes and prompt are deleted for good; that there was an answer stays provable.
    """
    rules = _rules(call, days)
    workspace = call.workspace
    before = retention_json(rules, workspace.retention)
    made = None if dry_run else workspace.retention.expire(rules, LOCAL_OWNER.id)
    if made is not None:
        workspace.eraser.resume()
        made = workspace.erasures.get(made.id)

    def words(out: Console) -> None:
        count = len(before["held"])
        verb = "would expire" if dry_run else "expired"
        out.print(f"{before['due']} answers {verb}; {count} are kept by a hold")
        if made is not None:
            out.print(f"certificate: vouch erasures show {made.id}")

    call.show(before | {"applied": made and erasure_json(made)}, words)


def _rules(call: Call, days: int | None) -> RetentionRules:
    return call.workspace.retention_rules if days is None else RetentionRules(answers_days=days)

"""The program `vouch`: names its commands, and loads the module of one when it is called.

So `vouch --help` answers at once, and a command waits only for what it needs itself.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from api.cli.flags import remember

ABOUT = "Answers from your own documents that can be vouched for: cited to the character, recorded, checkable."


@dataclass(frozen=True, slots=True)
class Entry:
    """A command, or a group of commands, and the module of this package that has it as (one of) its `commands`."""

    module: str
    about: str
    is_group: bool = False


SECTIONS = {
    "Begin": {
        "demo": Entry("demo", "Index real documentation found here, answer questions, verify."),
        "ingest": Entry("ingest", "Read files, folders or .jsonl records, and publish what changed."),
        "ask": Entry("ask", "Answer a question, with citations, and record the answer."),
        "retrieve": Entry("ask", "Find passages, without an answer."),
    },
    "Past answers": {
        "answers": Entry("answers", "Past answers.", True),
        "lineage": Entry("lineage", "Write what an answer stood on, back to the sources."),
        "replay": Entry("replay", "Make a past answer again from what its record pins, and compare."),
        "impact": Entry("impact", "What depends on a document, entity or prompt; withdraw it."),
        "query": Entry("query", "Fixed questions about answers, people, documents and prompts.", True),
    },
    "Proof": {
        "verify": Entry("checks", "Check the store, its indexes and the record of every answer."),
        "ledger": Entry("ledger", "The signed record of everything that must be provable.", True),
        "audit": Entry("audit", "Reports and packs for somebody who was not there.", True),
    },
    "Policy and review": {
        "policies": Entry("policies", "Versions of the policy that answers are judged by.", True),
        "reviews": Entry("reviews", "Answers and steps of runs that wait for a person, and deciding on them.", True),
    },
    "Prompts": {
        "prompts": Entry("prompts", "Prompts: versions, labels, tests, releases, experiments.", True),
        "releases": Entry("releases", "Sets of prompts, workflows and policy that go live together.", True),
    },
    "Workflows": {
        "workflows": Entry("workflows", "Workflows: steps that run by themselves; versions, pilots, triggers.", True),
        "runs": Entry("runs", "Runs of workflows: every step with its input, output and checks.", True),
        "worker": Entry("worker", "Work on runs of workflows, beside or without a server."),
    },
    "Erasing and keeping": {
        "erase": Entry("erase", "Erase documents, a person's data or answers, for good.", True),
        "erasures": Entry("erasures", "Past erasures and their certificates.", True),
        "holds": Entry("holds", "Legal holds: what may be neither erased nor expired.", True),
        "retention": Entry("retention", "How long answers are kept, and letting them expire.", True),
        "backup": Entry("backups", "Write an encrypted backup, also while the server runs."),
        "restore": Entry("backups", "Restore a backup into an empty workspace."),
    },
    "Documents": {
        "sources": Entry("sources", "Where documents come from.", True),
        "documents": Entry("documents", "Documents, their state and their text.", True),
        "snapshots": Entry("snapshots", "Published states of the documents, and going back to one.", True),
        "entities": Entry("entities", "What the documents name, and how it is tied together.", True),
    },
    "The server and this installation": {
        "serve": Entry("serve", "Serve the HTTP API."),
        "keys": Entry("keys", "API keys of the server.", True),
        "jobs": Entry("jobs", "Long work that the server accepted.", True),
        "reindex": Entry("ingest", "Build the index anew from the store."),
        "doctor": Entry("checks", "Examine this installation."),
        "config": Entry("config", "Settings: every one, its value, and where that came from.", True),
    },
}
COMMANDS = {name: entry for entries in SECTIONS.values() for name, entry in entries.items()}


class Commands(TyperGroup):
    """The commands of the program, by name; their modules are loaded as they are needed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, in the order in which a newcomer needs them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        loaded = get_group(importlib.import_module(f"api.cli.{entry.module}").commands)
        return loaded if entry.is_group else loaded.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands by section, in one column, without loading them."""
        del ctx
        width = max(map(len, COMMANDS))
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), entry.about) for name, entry in entries.items()])


app = typer.Typer(
    name="vouch",
    cls=Commands,
    help=ABOUT,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.callback()(remember)


def main() -> None:
    """Entry point of the program."""
    app()

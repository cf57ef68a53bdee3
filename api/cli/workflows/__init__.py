"""`vouch workflows`: the library of workflows, from a draft to what runs by itself, and back."""

from api.cli.workflow_run import add_run
from api.cli.workflows import events, files, library, life
from api.cli.workflows.group import commands

__all__ = ["ORDER", "commands", "events", "files", "library", "life"]

ORDER = (
    *("list", "show", "run", "estimate", "new", "check", "save", "sheet", "diagram", "diff"),
    *("pilot", "submit", "approve", "reject", "comment", "live", "rollback", "retire"),
    *("triggers", "pause", "resume", "versions", "history", "overdue", "promote", "export", "import"),
)
"""The commands as `--help` lists them: the way of a change first; the group `event` comes last."""

add_run(commands)
commands.registered_commands.sort(key=lambda one: ORDER.index(one.name or "") if one.name in ORDER else len(ORDER))

"""`vouch prompts`: the library of prompts, from a draft to what callers get, and back."""

from api.cli.prompts import drafts, experiments, files, finding, library, review, runs, testing
from api.cli.prompts.group import commands

__all__ = ["ORDER", "commands", "drafts", "experiments", "files", "finding", "library", "review", "runs", "testing"]

ORDER = (
    *("list", "show", "new", "check", "save", "diff", "render", "test"),
    *("submit", "approve", "reject", "comment", "label", "unlabel", "rollback", "retire"),
    *("versions", "history", "run", "runs", "run-show", "try", "improve", "promote"),
    *("search", "favourite", "favourites", "usage", "used-by", "overdue", "export", "import"),
)
"""The commands as `--help` lists them: the way of a change first; the groups `rules` and `experiment` come last."""

commands.registered_commands.sort(key=lambda one: ORDER.index(one.name or ""))

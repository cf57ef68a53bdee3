"""The options that every command takes, before its name or after it. Light: `vouch --help` loads nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, to stdout.")]
HomeFlag = Annotated[
    Path | None, typer.Option(help="Folder of everything stored (default: $VOUCH_HOME, else ./.vouch).")
]
WorkspaceFlag = Annotated[str | None, typer.Option(help="Name of the workspace.")]


@dataclass(frozen=True, slots=True)
class Flags:
    """The options that every command takes, before its name or after it."""

    json: bool = False
    home: Path | None = None
    workspace: str | None = None

    def over(self, outer: Flags | None) -> Flags:
        """These flags, and where one is not given, that of `outer`."""
        outer = outer or Flags()
        return Flags(self.json or outer.json, self.home or outer.home, self.workspace or outer.workspace)


def remember(
    ctx: typer.Context, json: JsonFlag = False, home: HomeFlag = None, workspace: WorkspaceFlag = None
) -> None:
    """Keep flags that were given before the command's name."""
    ctx.obj = Flags(json, home, workspace).over(ctx.obj)

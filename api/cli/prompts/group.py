"""The group that the modules of this package add their commands to."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.call import Call, group
from kernel.records import LOCAL_OWNER, Principal

commands = group("Prompts: versions, labels, tests, releases, experiments.")

Reference = Annotated[str, typer.Argument(metavar="NAME[@LABEL|@VERSION]", help="A prompt, or one version of it.")]
KeyOption = Annotated[
    str | None, typer.Option("--key", metavar="SECRET", help="Key of who acts; - reads it from standard input.")
]


def actor_of(call: Call, key: str | None) -> Principal:
    """Who acts: the owner of the key, or the local owner. Raises Unauthenticated."""
    return LOCAL_OWNER if key is None else call.workspace.keys.authenticate(key)

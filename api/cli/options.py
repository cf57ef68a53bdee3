"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Stakes(StrEnum):
    """How much hangs on a question."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many to list.")]
Cursor = Annotated[str | None, typer.Option(help="Go on after a page: its `next_cursor`.")]
AsOf = Annotated[
    str | None, typer.Option(metavar="SNAPSHOT", help="A snapshot's number, or the one live at an ISO 8601 time.")
]
TopK = Annotated[int | None, typer.Option(min=1, max=100, help="How many passages to find.")]
StakesOption = Annotated[Stakes | None, typer.Option(help="How much hangs on it; a policy may hold it for more.")]

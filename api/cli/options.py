"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many to list.")]
Cursor = Annotated[str | None, typer.Option(help="Go on after a page: its `next_cursor`.")]
AsOf = Annotated[
    str | None, typer.Option(metavar="SNAPSHOT", help="A snapshot's number, or the one live at an ISO 8601 time.")
]
TopK = Annotated[int | None, typer.Option(min=1, max=100, help="How many passages to find.")]

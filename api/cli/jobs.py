"""`vouch jobs`: long work that the server accepted, and how far it is."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.call import Call, command, group, page_of
from api.cli.options import Cursor, Limit
from api.cli.output import show_fields
from api.views import job_json

commands = group("Long work that the server accepted.")


@command(commands, "list")
def list_jobs(call: Call, limit: Limit = 50, cursor: Cursor = None) -> None:
    """List jobs, newest first."""
    found = call.workspace.jobs.items(limit=limit + 1, before=cursor)
    items, rest = page_of([job_json(job) for job in found], limit, "id")
    call.show_list(items, rest, ("id", "kind", "state", "created_at", "error"))


@command(commands, "show")
def show(call: Call, job_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the job, job_….")]) -> None:
    """Show one job."""
    found = job_json(call.workspace.jobs.get(job_id))
    call.show(found, lambda out: show_fields(out, found))

"""`vouch worker`: a process that does nothing but work on runs."""

from __future__ import annotations

import signal
import threading
from typing import Annotated

import typer

from api.cli.call import Call, command
from api.cli.flows import flows_of
from api.workflow_worker import WorkflowWorker

commands = typer.Typer(rich_markup_mode=None)


@command(commands)
def worker(
    call: Call,
    threads: Annotated[
        int | None, typer.Option(min=1, max=256, help="Turns of runs at once (default: the setting workflow_threads).")
    ] = None,
) -> None:
    """Work on runs of workflows until it is told to end (Ctrl-C or SIGTERM); steps under way are finished first.

    Several workers, on one machine or (with PostgreSQL) on many, share the runs of a workspace. `vouch serve` is a
    worker too, unless the setting workflow_threads is 0.
    """
    settings = call.settings()
    call.open(settings)
    stopping = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stopping.set())
    made = WorkflowWorker(flows_of(call), threads or max(1, settings.workflow_threads))
    made.start()
    call.note(f"working on runs of {settings.workspace_folder} (Ctrl-C ends)")
    stopping.wait()
    made.stop()

"""Showing how far long work is: a bar on a terminal, a line every few seconds elsewhere; always on standard error."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from api.cli.output import console, safe, shortened
from pipeline.indexing import Progress as Report

EVERY_SECONDS = 5.0
NAME_LENGTH = 48


@contextmanager
def watch(unit: str = "files") -> Iterator[Report]:
    """A progress callback `(what, done, total)` that shows itself until the block ends."""
    out = console(error=True)
    if not out.is_terminal:
        yield _Lines(out, unit)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(24), MofNCompleteColumn(), TextColumn(unit))
    rate = TextColumn("{task.fields[rate]}", markup=False)
    with Progress(*columns, rate, TimeElapsedColumn(), console=out, transient=True) as bar:
        yield _Bar(bar)


class _Lines:
    """Says where things stand when some seconds have gone by since it last did."""

    def __init__(self, out: Console, unit: str) -> None:
        self._out = out
        self._unit = unit
        self._said = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        if time.monotonic() - self._said >= EVERY_SECONDS:
            self._said = time.monotonic()
            self._out.print(safe(f"{done} of {total} {self._unit}: {what}"), soft_wrap=True)


class _Bar:
    """Moves a bar. A new total, or a step back, is the next source."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, rate="")
        self._begin = time.monotonic()
        self._done = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        if done < self._done:
            self._begin = time.monotonic()
        self._done = done
        rate = f"{done / max(time.monotonic() - self._begin, 1e-3):.0f}/s" if done else ""
        name = safe(shortened(what, NAME_LENGTH))
        self._bar.update(self._task, description=name, completed=done, total=max(total, 1), rate=rate)

"""`vouch ingest` and `vouch reindex`: bringing the store and its index in line with the sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api.cli.call import Call, command
from api.cli.output import counted, safe, table
from api.cli.progress import watch
from api.views import Json, report_json
from kernel.records import IngestReport, SourceInfo

commands = typer.Typer(rich_markup_mode=None)

SHOWN_FAILURES = 20
_COUNTS = ("source", "added", "changed", "unchanged", "removed", "failed")


@command(commands)
def ingest(
    call: Call,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files, folders, .jsonl records.")],
    source: Annotated[str | None, typer.Option(help="Name of one source that all paths make up.")] = None,
) -> None:
    """Read files, folders or .jsonl records, and publish what changed.

    Each PATH is a source of its own unless --source names one. What is gone from a source is withdrawn from answers.
    """
    workspace = call.with_model
    with workspace.parser_pool() as pool, watch() as progress:
        reports = workspace.indexer.ingest(pool, paths, source, progress)
    call.show(reports_json(reports), lambda out: show_reports(out, reports))


@command(commands)
def reindex(
    call: Call,
    full: Annotated[bool, typer.Option(help="First read every source again from where it lies.")] = False,
) -> None:
    """Build the index anew from the store, which alone is the truth.

    With --full, every source is first read again from its place; what is unchanged is not processed twice.
    """
    workspace = call.with_model
    reports, missing = _read_again(call) if full else ([], [])
    with watch("passages") as progress:
        total = workspace.corpus.chunks()
        index = workspace.library.rebuild(lambda done: progress("indexing", done, total))
    document = reports_json(reports) | {"chunks": len(index), "missing": missing}

    def words(out: Console) -> None:
        if reports:
            show_reports(out, reports)
        out.print(f"index built anew: {len(index)} passages")

    call.show(document, words)
    for one in missing:
        call.note(f"source {one['source']} was left as it is: {one['reason']}")
    if missing:
        raise typer.Exit(1)


def reports_json(reports: Sequence[IngestReport]) -> Json:
    """What an ingest did: one report a source, and the snapshot that is live now."""
    return {
        "sources": [report_json(report) for report in reports],
        "snapshot": next((report.snapshot for report in reversed(reports)), None),
    }


def show_reports(out: Console, reports: Sequence[IngestReport]) -> None:
    """What an ingest did, in words: counts a source, then what failed and why."""
    rows = [
        [*(getattr(report, name) for name in _COUNTS), report.snapshot, f"{report.seconds:.1f}"] for report in reports
    ]
    out.print(table([*_COUNTS, "snapshot", "seconds"], rows))
    failures = [failure for report in reports for failure in report.failures]
    if not failures:
        return
    unread = counted(len(failures), "document")
    out.print(f"{unread} could not be read; that is recorded, and all others can be asked about:")
    for path, reason in failures[:SHOWN_FAILURES]:
        out.print(safe(f"  {path}: {reason}"), soft_wrap=True)
    if len(failures) > SHOWN_FAILURES:
        out.print(f"  … and {len(failures) - SHOWN_FAILURES} more: vouch documents list --status failed")


def _read_again(call: Call) -> tuple[list[IngestReport], list[Json]]:
    workspace = call.workspace
    reports: list[IngestReport] = []
    missing: list[Json] = []
    for source in workspace.catalog.sources(workspace.snapshots.live().snapshot):
        paths = places_of(source)
        gone = [str(path) for path in paths if not path.exists()]
        if gone or not paths:
            reason = f"{gone[0]} is not there any more" if gone else "it has no place of its own to read from"
            missing.append({"source": source.name, "reason": reason})
            continue
        with workspace.parser_pool() as pool, watch() as progress:
            reports += workspace.indexer.ingest(pool, paths, source.name, progress)
    return reports, missing


def places_of(source: SourceInfo) -> list[Path]:
    """The paths that a source was read from. A path that holds ", " itself is told from a list by being there."""
    if not source.location or Path(source.location).exists():
        return [Path(source.location)] if source.location else []
    return [Path(piece) for piece in source.location.split(", ")]

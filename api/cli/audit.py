"""`vouch audit`: reports and packs for somebody who was not there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api.cli.call import Call, command, group
from api.cli.output import safe, show_fields
from api.cli.text_files import write_text
from pipeline.oversight.pack import scope_of
from pipeline.oversight.report import report_lines

commands = group("Reports and packs for somebody who was not there.")

Since = Annotated[str | None, typer.Option(metavar="TIME", help="ISO 8601 time of the first answer.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="ISO 8601 time before which answers were given.")]
OfSource = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only answers that read this source.")]


@command(commands, "report")
def report(call: Call, since: Since = None, until: Until = None, source: OfSource = None) -> None:
    """Count what is recorded: completeness, adherence to policy, reviews, holds, erasures, time to audit."""
    scope = scope_of(since, until, source)
    found = call.workspace.reporter.report(scope.since, scope.until, scope.source, timed=True)

    def words(out: Console) -> None:
        for title, rows in report_lines(found):
            out.print(title, style="bold")
            show_fields(out, dict(rows))

    call.show(found, words)


@command(commands, "pack")
def pack(
    call: Call,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Zip to write.")],
    since: Since = None,
    until: Until = None,
    source: OfSource = None,
) -> None:
    """Write an audit pack: answers, lineage, entries, proofs, prompts, policies, reviews, report; checkable offline."""
    made = call.workspace.packer.write(path, scope_of(since, until, source))
    shown = {"file": str(path), "answers": len(made["answers"]), "files": len(made["files"]), "ledger": made["ledger"]}
    words = (
        f"wrote {path}: {len(made['answers'])} answers, {len(made['files'])} files, {made['ledger']['size']} entries"
    )
    call.show(shown, lambda out: out.print(safe(words), soft_wrap=True))


@command(commands, "openlineage")
def openlineage(
    call: Call,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; - prints.")],
    since: Since = None,
    until: Until = None,
    source: OfSource = None,
) -> None:
    """Write ingests and answers as OpenLineage run events, one JSON object a line."""
    scope = scope_of(since, until, source)
    lines = list(call.workspace.openlineage.lines(scope.since, scope.until, scope.source))
    write_text(path, "".join(lines))
    if str(path) != "-":
        call.show({"events": len(lines)}, lambda out: out.print(safe(f"wrote {len(lines)} events to {path}")))

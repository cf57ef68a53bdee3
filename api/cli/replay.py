"""`vouch replay`: a past answer made again, and compared with its record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from api.cli.answers import AnswerId
from api.cli.call import Call, command
from api.cli.output import safe
from api.views import Json
from kernel.records import LOCAL_OWNER

commands = typer.Typer(rich_markup_mode=None)


@command(commands)
def replay(
    call: Call,
    answer_id: AnswerId,
    current: Annotated[
        bool, typer.Option("--current", help="Answer with today's documents, prompt and model; name what changed.")
    ] = False,
) -> None:
    """Make a past answer again from what its record pins; exit 1 unless every stage is the same byte for byte.

    Nothing is recorded. A model that is configured is asked the same once more, and its reply shown beside.
    """
    workspace = call.with_model
    if current:
        compared = workspace.today.compare(answer_id, LOCAL_OWNER)
        call.show(compared, lambda out: _show_today(out, compared))
        return
    report = workspace.replayer.replay(answer_id, LOCAL_OWNER)
    call.show(report, lambda out: _show_replay(out, report))
    if not report["identical"]:
        raise typer.Exit(1)


def _show_replay(out: Console, report: Json) -> None:
    for stage in report["stages"]:
        how = "identical" if stage["identical"] else f"differs: {stage['difference']}"
        style = "green" if stage["identical"] else "red"
        out.print(Text.assemble(f"{stage['stage']:<12}", (safe(how), style)), soft_wrap=True)
    pinned = report["pinned"]
    out.print()
    out.print(
        f"Snapshot {pinned['snapshot']}, access rules {pinned['access_version']}, "
        f"prompt {pinned['prompt']['name']} version {pinned['prompt']['version']}, "
        f"model {pinned['model']['provider']} {pinned['model']['name']}",
        soft_wrap=True,
    )
    for reason in report["reasons"]:
        out.print(Text(safe(f"Reason: {reason}"), style="yellow"), soft_wrap=True)
    _show_fresh(out, report["fresh"])
    out.print("identical" if report["identical"] else "not identical", style="bold")


def _show_fresh(out: Console, fresh: Json | None) -> None:
    if fresh is None:
        return
    if fresh["error"] is not None:
        out.print(Text(safe(f"The model could not be asked again: {fresh['error']}"), style="yellow"), soft_wrap=True)
        return
    same = "the same" if fresh["same"] else "another reply"
    out.print(safe(f"Asked again, {fresh['model']['name']} gives {same}."), soft_wrap=True)
    _show_diff(out, fresh["diff"])


def _show_today(out: Console, compared: Json) -> None:
    current = compared["current"]
    out.print(Text(safe(current["answer"] or str(current["reason"]))))
    out.print()
    out.print("The answer is the same today." if compared["same"] else "The answer is another today.", style="bold")
    _show_diff(out, compared["diff"])
    if not compared["changes"]:
        out.print("Nothing changed that it stands on.")
    for change in compared["changes"]:
        cited = " (it was cited)" if change.get("cited") else ""
        out.print(safe(f"{change['kind']}: {change['words']}{cited}"), soft_wrap=True)
        for section, lines in (change.get("sections") or {}).items():
            out.print(safe(f"  # {section}"))
            _show_diff(out, lines)


def _show_diff(out: Console, lines: Sequence[str]) -> None:
    styles = {"-": "red", "+": "green"}
    for line in lines:
        out.print(Text(f"  {safe(line)}", style=styles.get(line[:1], "dim")), soft_wrap=True)

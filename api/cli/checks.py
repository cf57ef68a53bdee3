"""`vouch verify` and `vouch doctor`: whether what is stored holds, and whether this machine is fit to serve it."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.text import Text

from api.cli.call import Call, command
from api.cli.output import safe
from api.doctor import Finding, examine
from api.views import fault_json

commands = typer.Typer(rich_markup_mode=None)

SHOWN_FAULTS = 20
_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@command(commands)
def verify(call: Call) -> None:
    """Check the store, its indexes and the record of every answer; exit 1 where anything is wrong.

    It reads everything and changes nothing.
    """
    verifier = call.with_model.verifier
    call.note("checking database, texts and passages, indexes, answers")
    faults = list(verifier.faults())

    def words(out: Console) -> None:
        for fault in faults[:SHOWN_FAULTS]:
            out.print(safe(f"{fault.where}: {fault.what}"), style="red", soft_wrap=True)
        if len(faults) > SHOWN_FAULTS:
            out.print(f"… and {len(faults) - SHOWN_FAULTS} more faults")
        out.print("record verified" if not faults else f"{len(faults)} faults", style="green" if not faults else "red")

    call.show({"ok": not faults, "faults": [fault_json(fault) for fault in faults]}, words)
    if faults:
        raise typer.Exit(1)


@command(commands)
def doctor(call: Call) -> None:
    """Examine this installation: versions, model, database, disk, home; exit 1 where something must be put right."""
    findings = examine(call.settings(), call.open)
    ok = all(finding.state != "fail" for finding in findings)

    def words(out: Console) -> None:
        for finding in findings:
            _show(out, finding)

    document = {"ok": ok, "items": [finding.json() for finding in findings]}
    call.show(document, words)
    if not ok:
        raise typer.Exit(1)


def _show(out: Console, finding: Finding) -> None:
    out.print(
        Text.assemble((f"{finding.state:<5}", _STYLES[finding.state]), safe(f"{finding.what}: {finding.found}")),
        soft_wrap=True,
    )
    if finding.advice:
        out.print(safe(f"     {finding.advice}"), soft_wrap=True)

"""`vouch verify` and `vouch doctor`: whether what is stored holds, and whether this machine is fit to serve it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from api.cli.call import Call, command
from api.cli.output import safe
from api.cli.text_files import read_text
from api.doctor import Finding, examine
from api.views import fault_json
from kernel.errors import InvalidInput
from kernel.notes import Verifier as Key
from kernel.records import Fault
from kernel.storage.ledger import Ledger
from pipeline.oversight.bundles import read_key
from pipeline.oversight.offline import check_bundle
from pipeline.oversight.pack import check_pack, is_pack
from pipeline.oversight.verify import read_witnesses

commands = typer.Typer(rich_markup_mode=None)

SHOWN_FAULTS = 20
_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@command(commands)
def verify(
    call: Call,
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Check a bundle or audit pack instead, offline; needs --ledger-key."),
    ] = None,
    ledger_key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The ledger's public key, or a file that holds it.")
    ] = None,
    checkpoints: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Signed heads that were kept elsewhere: check against them too.")
    ] = None,
) -> None:
    """Check the store, its indexes and the record of everything; exit 1 where anything is wrong.

    It reads everything and changes nothing. With --bundle it needs no workspace, only the file and the public key.
    """
    if bundle is not None:
        _verify_bundle(call, bundle, ledger_key)
        return
    witnesses = read_witnesses(read_text(checkpoints)) if checkpoints else ()
    verifier = call.with_model.verifier
    call.note("checking ledger, database, texts and passages, indexes, answers")
    faults = list(verifier.faults(witnesses))
    if ledger_key is not None:
        faults = [*_other_key(call.workspace.ledger, read_key(ledger_key)), *faults]

    def words(out: Console) -> None:
        for fault in faults[:SHOWN_FAULTS]:
            out.print(safe(f"{fault.where}: {fault.what}"), style="red", soft_wrap=True)
        if len(faults) > SHOWN_FAULTS:
            out.print(f"… and {len(faults) - SHOWN_FAULTS} more faults")
        out.print("record verified" if not faults else f"{len(faults)} faults", style="green" if not faults else "red")

    call.show({"ok": not faults, "faults": [fault_json(fault) for fault in faults]}, words)
    if faults:
        raise typer.Exit(1)


def _other_key(ledger: Ledger, given: Key) -> list[Fault]:
    if ledger.key == given:
        return []
    return [Fault("the key file", f"is {ledger.key}, not the key that was given: the ledger was signed anew")]


def _verify_bundle(call: Call, path: Path, ledger_key: str | None) -> None:
    if ledger_key is None:
        raise InvalidInput("--bundle needs --ledger-key: the public key, or a file that holds it (`vouch ledger key`)")
    key = read_key(ledger_key)
    outcome = check_pack(path, key) if is_pack(path) else check_bundle(read_text(path), key)

    def words(out: Console) -> None:
        for sentence in outcome.proven:
            out.print(safe(f"proven  {sentence}"), style="green", soft_wrap=True)
        for sentence in outcome.stated:
            out.print(safe(f"stated  {sentence}"), soft_wrap=True)
        if outcome.fault:
            out.print(safe(f"wrong   {outcome.fault.where}: {outcome.fault.what}"), style="red", soft_wrap=True)
        out.print("verified" if outcome.ok else "not verified", style="green" if outcome.ok else "red")

    fault = fault_json(outcome.fault) if outcome.fault else None
    call.show({"ok": outcome.ok, "proven": outcome.proven, "stated": outcome.stated, "fault": fault}, words)
    if not outcome.ok:
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

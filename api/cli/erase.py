"""`vouch erase`: erasing documents, a person's data or answers, for good; and looking for what to erase."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from api.cli.call import Call, command, edge
from api.cli.flags import Flags, HomeFlag, JsonFlag, WorkspaceFlag, remember
from api.cli.output import safe, show_fields, table
from api.views import erasure_json, occurrence_json
from kernel.errors import InvalidInput
from kernel.records import LOCAL_OWNER
from kernel.storage.erasure import ErasureInfo, ErasureRequest
from pipeline.oversight.erasure import confirmed

commands = typer.Typer(help="Erase documents, a person's data or answers, for good.", rich_markup_mode=None)

Documents = Annotated[list[str] | None, typer.Option("--document", metavar="ID", help="A document; may be repeated.")]
People = Annotated[
    list[str] | None, typer.Option("--principal", metavar="KEY_ID", help="A person, by the id of their key.")
]
Given = Annotated[list[str] | None, typer.Option("--answer", metavar="ID", help="An answer.")]


@commands.callback(invoke_without_command=True)
def erase(
    ctx: typer.Context,
    document: Documents = None,
    principal: People = None,
    answer: Given = None,
    reason: Annotated[str, typer.Option(help="Why; recorded. Do not name the person here.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it: it cannot be undone.")] = False,
    allow_again: Annotated[
        bool, typer.Option("--allow-again", help="Let documents that were erased be ingested again.")
    ] = False,
    json: JsonFlag = False,
    home: HomeFlag = None,
    workspace: WorkspaceFlag = None,
) -> None:
    """Erase documents, what a person asked, or answers: texts, vectors, records, uploads, index, backups' keys.

    Every proof of the ledger stays valid. Ends with a certificate. `vouch erase find TEXT` says where a text occurs.
    """
    remember(ctx, json, home, workspace)
    if ctx.invoked_subcommand is not None:
        return
    flags: Flags = ctx.obj
    request = ErasureRequest(tuple(document or ()), tuple(principal or ()), tuple(answer or ()))
    with edge(flags) as call:
        if allow_again:
            _allow_again(call, request, reason)
        elif dry_run:
            reach = call.workspace.eraser.preview(request)
            call.show(reach, lambda out: show_fields(out, reach | {"backups": len(reach["backups"])}))
        else:
            _erase(call, request, reason, yes=yes)


@command(commands, "find")
def find(call: Call, text: Annotated[str, typer.Argument(metavar="TEXT", help="What to look for.")]) -> None:
    """Say where a text occurs: documents, earlier revisions, answers, prompts, reviews, keys, jobs."""
    items = [occurrence_json(one) for one in call.workspace.occurrences.find(text)]

    def words(out: Console) -> None:
        if not items:
            out.print("it occurs nowhere in the store")
            return
        columns = ("kind", "id", "part", "count", "erase")
        out.print(table(columns, [[item[name] for name in columns] for item in items]))
        out.print("`erase` names the option of vouch erase that takes it out")

    call.show({"items": items}, words)


def _erase(call: Call, request: ErasureRequest, reason: str, *, yes: bool) -> None:
    if not (request.documents or request.principals or request.answers):
        raise InvalidInput("name what to erase: --document, --principal or --answer; or look for it: vouch erase find")
    confirmed(request, yes=yes)
    workspace = call.with_model
    call.note("erasing; the index and the database's files are written anew, which can take a while")
    show_erasure(call, workspace.eraser.erase(request, reason, LOCAL_OWNER.id))


def _allow_again(call: Call, request: ErasureRequest, reason: str) -> None:
    if not request.documents or request.principals or request.answers:
        raise InvalidInput("--allow-again is for documents: name them with --document")
    names = call.workspace.erasures.allow_again(request.documents, reason, LOCAL_OWNER.id)
    call.show({"documents": names}, lambda out: out.print(f"the next ingest of their sources reads {len(names)} again"))


def show_erasure(call: Call, made: ErasureInfo) -> None:
    """Print an erasure: its certificate under --json, its figures in words."""
    shown = erasure_json(made)

    def words(out: Console) -> None:
        certificate = shown["certificate"]
        out.print(f"{made.id}: {shown['state']}, entry {made.leaf} of the ledger, {made.created_at}")
        for title in ("counts", "removed"):
            if certificate.get(title):
                out.print(f"{title}:")
                show_fields(out, certificate[title])
        if made.done:
            proof = certificate["ledger"]
            good = proof["verified"] and proof["consistent"]
            out.print(f"ledger: {'every proof still holds' if good else 'does NOT verify; see vouch verify'}")
            for line in certificate["out_of_reach"]:
                out.print(safe(f"out of reach: {line}"), soft_wrap=True)
        else:
            out.print("not finished: vouch erasures resume")

    call.show(shown, words)

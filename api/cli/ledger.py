"""`vouch ledger`: entries of the signed record, and proofs of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api.cli.call import Call, command, group, number_cursor, page_of
from api.cli.options import Cursor, Limit
from api.cli.output import safe, show_fields
from api.cli.text_files import write_text
from api.views import Json, leaf_json
from kernel.errors import NotFound
from kernel.records import LOCAL_OWNER
from pipeline.oversight.bundles import export_head, write_bundle

commands = group("The signed record of everything that must be provable.")

PAYLOAD_SHOWN = 1_500
"""Characters of a payload that a terminal is shown."""
Number = Annotated[int, typer.Argument(min=0, metavar="N", help="Number of the entry.")]


@command(commands, "head")
def head(call: Call) -> None:
    """Print the newest signed head (a C2SP checkpoint): whose tree, how many entries, the root over them."""
    ledger = call.workspace.ledger
    note = ledger.checkpoint()
    found = ledger.key.open(note)
    shown = {"origin": found.origin, "size": found.size, "root": found.root.hex(), "checkpoint": note}
    call.show(shown, lambda out: out.print(note, end="", soft_wrap=True))


@command(commands, "key")
def key(call: Call) -> None:
    """Print the public key that heads are signed with. Hand it to whoever is to check proofs."""
    shown = str(call.workspace.ledger.key)
    call.show({"key": shown}, lambda out: out.print(shown, soft_wrap=True))


@command(commands, "entries")
def entries(
    call: Call,
    kind: Annotated[str | None, typer.Option(help="Only entries of this kind, such as answer.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only entries about this, such as an answer's id.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> None:
    """List entries, oldest first."""
    after = number_cursor(cursor)
    known = call.workspace.ledger.kinds()
    if kind is not None and kind not in known:
        raise NotFound(f"the ledger has no entry of kind {kind}; it has: {', '.join(known) or 'none at all'}")
    found = call.workspace.ledger.leaves(0 if after is None else after + 1, limit + 1, kind, subject)
    items, rest = page_of([leaf_json(leaf) for leaf in found], limit, "number")
    call.show_list(items, rest, ("number", "created_at", "kind", "subject"))


@command(commands, "show")
def show(call: Call, number: Number) -> None:
    """Show an entry: its facts, its hash, and the payload that it commits to where that was not erased."""
    ledger = call.workspace.ledger
    stored = ledger.payload(number)
    shown = leaf_json(ledger.leaf(number)) | {"salt": stored and stored[0].hex(), "payload": stored and stored[1]}
    payload = stored[1] if stored else ""
    rest = f"… ({len(payload):,} characters in all: --json shows them)" if len(payload) > PAYLOAD_SHOWN else ""
    brief = shown | ({"payload": payload[:PAYLOAD_SHOWN] + rest} if rest else {})
    call.show(shown, lambda out: show_fields(out, brief))


@command(commands, "proof")
def proof(
    call: Call,
    number: Number,
    size: Annotated[
        int | None, typer.Option(min=1, help="Prove it in the tree of that many entries (default: the newest).")
    ] = None,
) -> None:
    """Prove that an entry is in the tree: the hashes that lead from it to the root."""
    ledger = call.workspace.ledger
    wanted = ledger.size() if size is None else size
    steps = [step.hex() for step in ledger.inclusion(number, wanted)]
    shown: Json = {"index": number, "size": wanted, "leaf_sha256": ledger.leaf(number).sha256}
    shown |= {"inclusion": steps, "checkpoint": ledger.checkpoint(wanted)}
    call.show(shown, lambda out: _lines(out, f"entry {number} in the tree of {wanted}", steps))


@command(commands, "consistency")
def consistency(
    call: Call,
    old: Annotated[int, typer.Argument(min=0, metavar="OLD", help="Size of the earlier tree.")],
    new: Annotated[
        int | None, typer.Argument(min=0, metavar="[NEW]", help="Size of the later one (default: the newest).")
    ] = None,
) -> None:
    """Prove that the tree of OLD entries is the beginning of a later one."""
    ledger = call.workspace.ledger
    later = ledger.size() if new is None else new
    steps = [step.hex() for step in ledger.consistency(old, later)]
    shown = {"from": old, "to": later, "consistency": steps}
    call.show(shown, lambda out: _lines(out, f"from {old} to {later} entries", steps))


@command(commands, "export")
def export(
    call: Call,
    path: Annotated[Path, typer.Argument(metavar="PATH", help="File to append to, best on another machine; - prints.")],
) -> None:
    """Append the newest signed head to a file outside, after checking that the ledger grew out of what it holds.

    Exits 1, and writes nothing, where the ledger was rewritten or cut short since.
    """
    ledger = call.workspace.ledger
    if str(path) == "-":
        write_text(path, ledger.checkpoint())
        return
    found, fresh = export_head(ledger, path)
    words = f"head over {found.size} entries {'written to' if fresh else 'is already in'} {path}"
    call.show({"size": found.size, "root": found.root.hex(), "written": fresh}, lambda out: out.print(safe(words)))


@command(commands, "bundle")
def bundle(
    call: Call,
    answer_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the answer, ans_….")],
    path: Annotated[Path, typer.Argument(metavar="FILE", help="File to write; - prints.")],
) -> None:
    """Write all that is needed to check one answer offline: record, proof, signed head, prompt, policy, quotes."""
    made = call.workspace.prover.bundle(answer_id, LOCAL_OWNER)
    write_text(path, write_bundle(made))
    if str(path) != "-":
        shown = {"answer_id": answer_id, "index": made["index"], "size": made["size"], "key": made["key"]}
        call.show(
            shown, lambda out: out.print(safe(f"wrote {path}; check it: vouch verify --bundle {path} --ledger-key KEY"))
        )


def _lines(out: Console, title: str, steps: list[str]) -> None:
    out.print(f"{title}: {len(steps)} hashes")
    for step in steps:
        out.print(step, soft_wrap=True)

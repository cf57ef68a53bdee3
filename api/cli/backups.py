"""`vouch backup` and `vouch restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from api.cli.call import Call, command
from api.cli.output import safe
from api.views import backup_json
from kernel.errors import NotFound
from kernel.records import LOCAL_OWNER
from pipeline.oversight.backup import Target
from pipeline.oversight.backup import restore as restore_backup

commands = typer.Typer(rich_markup_mode=None)


@command(commands)
def backup(
    call: Call,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.")],
    with_key: Annotated[bool, typer.Option(help="Put the key that signs the ledger into it, too.")] = False,
) -> None:
    """Write an encrypted backup of everything but the index and the settings; a server may go on meanwhile.

    Keep its key, which is printed as a path, apart from it. An erasure destroys the keys of earlier backups.
    """
    made = call.workspace.backups.make(file.expanduser().absolute(), LOCAL_OWNER.id, with_key=with_key)

    def words(out: Console) -> None:
        out.print(safe(f"{made.path}: {made.size} entries of the ledger, SHA-256 {made.sha256}"), soft_wrap=True)
        out.print(safe(f"its key: {made.key_file}"), soft_wrap=True)

    call.show(backup_json(made), words)


@command(commands)
def restore(
    call: Call,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    backup_key: Annotated[Path | None, typer.Option(help="The file with its key.")] = None,
    ledger_key: Annotated[
        Path | None, typer.Option(help="The key that signs the ledger, where the backup does not hold it.")
    ] = None,
) -> None:
    """Restore a backup into an empty workspace (name a new --home). All of it is verified before it takes effect."""
    settings = call.settings()
    path = file.expanduser().absolute()
    if not path.is_file():
        raise NotFound(f"{file} is not there")
    url = settings.database_url
    target = Target(
        settings.workspace_folder,
        settings.workspace,
        url.get_secret_value() if url else None,
        settings.ledger_key_file,
    )
    call.note("reading and verifying the backup")
    made = restore_backup(path, target, LOCAL_OWNER.id, backup_key, ledger_key)

    def words(out: Console) -> None:
        out.print(safe(f"{made.size} entries of the ledger restored to {target.folder}"), soft_wrap=True)
        if made.lost:
            out.print(f"the checkpoint beside the key was signed over {made.lost} entries more: they are lost")
        out.print("the index is built at the first question, or by: vouch reindex")

    call.show(backup_json(made), words)

"""Backups: everything of a workspace but its index, encrypted under a key of its own; and restoring one.

An erasure destroys the keys of all backups that began before it, so that no backup brings back what was erased.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel.errors import Conflict, IntegrityFailure, InvalidInput, NotFound
from kernel.ids import random_id
from kernel.notes import Checkpoint, parse_checkpoint
from kernel.records import Fault
from kernel.storage.database import END_OF_NOTE, Database
from kernel.storage.dump import drop_schema, is_empty, load_rows, rename_schema, rows_of_workspace, schema_version
from kernel.storage.ledger import Ledger, append
from kernel.storage.rows import dumps, now
from pipeline.oversight.backup_keys import BackupKeys, read_key
from pipeline.oversight.sealed_file import read_header, read_lines, write_sealed
from pipeline.oversight.verify import Verifier
from retrieval.shelf import Shelf

MADE, RESTORED = "backup.made", "backup.restored"
PIECE = 1 << 20
SHOWN_FAULTS = 3


@dataclass(frozen=True, slots=True)
class BackupInfo:
    """A backup that was made or read: `size` is how many entries the ledger had."""

    id: str
    path: Path
    key_file: Path
    sha256: str
    size: int
    entry: int
    lost: int = 0


class Backups:
    """Makes backups of a workspace while it serves."""

    def __init__(self, database: Database, ledger: Ledger, keys: BackupKeys, folder: Path) -> None:
        self._database = database
        self._ledger = ledger
        self._keys = keys
        self._folder = folder

    def make(self, path: Path, by: str, *, with_key: bool = False) -> BackupInfo:
        """Write a backup to a new file. With `with_key`, the key that signs the ledger is in it.

        Raises Conflict where the file is there already, or an erasure came in between.
        """
        if path.exists():
            raise Conflict(f"{path} is there already; a backup never takes the place of another file")
        size = self._ledger.size()
        made = self._keys.make(random_id("bkp"), size)
        header = {
            "id": made.id,
            "created_at": now(),
            "schema": schema_version(self._database),
            "ledger_size": size,
            "with_key": with_key,
        }
        draft = path.with_name(f".{path.name}.part")
        try:
            with draft.open("xb") as file:
                digest = write_sealed(file, made.key, header, self._lines(with_key=with_key))
            entry = self._note(made.id, path, by, {"sha256": digest, "ledger_size": size, "with_key": with_key})
            draft.rename(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            self._keys.forget(made.id)
            raise
        return BackupInfo(made.id, path, self._keys.path(made.id), digest, size, entry)

    def _note(self, backup_id: str, path: Path, by: str, facts: dict[str, Any]) -> int:
        """The ledger's entry; not for a backup whose key an erasure destroyed while it was written."""
        with self._database.write() as connection:
            if not self._keys.path(backup_id).exists():
                raise Conflict("something was erased while the backup was written; make it again")
            payload = dumps({"file": path.name, "by": by})
            return append(self._database, connection, MADE, backup_id, facts, payload).number

    def _lines(self, *, with_key: bool) -> Iterator[str]:
        yield from rows_of_workspace(self._database)
        if with_key:
            yield dumps({"file": "ledger.key", "text": self._database.signer.path.read_text()})
        root = self._folder / "uploads"
        for path in sorted(root.glob("*/*")) if root.is_dir() else ():
            if not path.is_file() or path.name.startswith("."):
                continue
            yield dumps({"upload": path.relative_to(root).as_posix()})
            with path.open("rb") as file:
                while piece := file.read(PIECE):
                    yield dumps({"piece": base64.b64encode(piece).decode()})


@dataclass(frozen=True, slots=True)
class Target:
    """Where a backup is restored to: the folder of a workspace, its database, and where the ledger's key will lie."""

    folder: Path
    workspace: str
    database_url: str | None
    key_file: Path
    recipe: str = ""


def restore(
    path: Path, target: Target, by: str, key_file: Path | None = None, signing: Path | None = None
) -> BackupInfo:
    """Restore a backup into an empty workspace. It takes effect only once everything in it was verified.

    Raises Conflict where the workspace is not empty, IntegrityFailure where the backup is not whole, NotFound and
    InvalidInput where a key is missing: that of the backup, or that which signs the ledger.
    """
    _refuse_used(target)
    with path.open("rb") as file:
        header, bound = read_header(file)
        key = read_key(key_file) if key_file else BackupKeys(path.parent / "backup-keys").read(str(header["id"]))
        if key.id != header["id"]:
            raise InvalidInput(f"the key is that of {key.id}, but the backup is {header['id']}")
        staging = target.folder.with_name(f".restoring-{target.workspace}")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True, mode=0o700)
        try:
            lines = read_lines(file, key.key, bound)
            size, key_text = _stage(staging, target, header, lines, signing)
            return _adopt(staging, target, header, (path, key_file or Path()), (size, by, key_text))
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _refuse_used(target: Target) -> None:
    if target.folder.exists() and any(target.folder.iterdir()):
        raise Conflict(f"{target.folder} is not empty; restore into another --home or --workspace")
    if target.database_url:
        database = Database(target.database_url, target.key_file, target.workspace)
        try:
            if not is_empty(database):
                raise Conflict(f"the database has a workspace {target.workspace}; restore into another --workspace")
        finally:
            database.close()


def _stage(
    staging: Path, target: Target, header: dict[str, Any], lines: Iterator[str], signing: Path | None
) -> tuple[int, str]:
    """Load and verify everything in a place of its own; the size of the ledger, and the key that signs it."""
    database = _staging_database(staging, target)
    try:
        if not database.is_sqlite:
            drop_schema(database)
        database.migrate()
        _check_schema(schema_version(database), str(header["schema"]))
        load_rows(database, lines)
        text = _unpack(staging, lines) or _signing_key(target, signing)
        _check_signing_key(target, text)
        (staging / "ledger.key").touch(mode=0o600)
        (staging / "ledger.key").write_text(text)
        ledger = Ledger(database)
        if ledger.size():
            database.keep_head(ledger.checkpoint())
        _refuse_faults(list(Verifier(database, ledger, Shelf(staging / "index", "", 1)).faults()))
        return ledger.size(), text
    except BaseException:
        if not database.is_sqlite:
            with suppress(Exception):
                drop_schema(database)
        raise
    finally:
        database.close()


def _refuse_faults(faults: list[Fault]) -> None:
    if faults:
        told = "; ".join(f"{fault.where}: {fault.what}" for fault in faults[:SHOWN_FAULTS])
        raise IntegrityFailure(f"the backup does not verify, and was not restored ({len(faults)} faults): {told}")


def _check_schema(mine: str, its: str) -> None:
    if mine != its:
        raise InvalidInput(
            f"the backup is of schema {its}, this program's is {mine}: restore it with the version of then"
        )


def _check_signing_key(target: Target, text: str) -> None:
    if target.key_file.is_file() and target.key_file.read_text().strip() != text.strip():
        raise Conflict(f"{target.key_file} holds another key than the one that signs the ledger of the backup")


def _staging_database(staging: Path, target: Target) -> Database:
    url = target.database_url or f"sqlite:///{staging / 'vouch.db'}"
    return Database(
        url, staging / "ledger.key", f"restoring_{target.workspace}" if target.database_url else "restoring"
    )


def _unpack(staging: Path, lines: Iterator[str]) -> str | None:
    """Write uploaded files; the text of the ledger's key, if the backup holds it."""
    text, open_file = None, None
    root = staging / "uploads"
    for line in lines:
        value = json.loads(line)
        if "file" in value:
            text = value["text"]
        elif "upload" in value:
            open_file = root / value["upload"]
            if open_file.resolve().parent.parent != root.resolve():
                raise IntegrityFailure("the backup names an uploaded file outside its folder")
            open_file.parent.mkdir(parents=True, exist_ok=True)
            open_file.write_bytes(b"")
        elif open_file is not None:
            with open_file.open("ab") as file:
                file.write(base64.b64decode(value["piece"]))
    return text


def _signing_key(target: Target, signing: Path | None) -> str:
    for path in (signing, target.key_file):
        if path is not None and path.is_file():
            return path.read_text()
    raise NotFound(
        "the backup holds no signing key (it was made without --with-key): give the ledger's own with --ledger-key"
    )


def _adopt(
    staging: Path, target: Target, header: dict[str, Any], paths: tuple[Path, Path], rest: tuple[int, str, str]
) -> BackupInfo:
    """Put what was verified in its place, at once, and note it in the ledger."""
    size, by, key_text = rest
    known = _known_head(target)
    if target.database_url:
        moved = Database(target.database_url, staging / "ledger.key", f"restoring_{target.workspace}")
        rename_schema(moved, f"vouch_{target.workspace}")
        moved.close()
    if target.folder.exists():
        target.folder.rmdir()
    staging.rename(target.folder)
    if target.key_file.parent != target.folder:
        for name in ("ledger.key", "ledger.checkpoint"):
            (target.folder / name).unlink(missing_ok=True)
    if not target.key_file.exists():
        target.key_file.parent.mkdir(parents=True, exist_ok=True)
        target.key_file.touch(mode=0o600)
        target.key_file.write_text(key_text)
    url = target.database_url or f"sqlite:///{target.folder / 'vouch.db'}"
    database = Database(url, target.key_file, target.workspace)
    lost = max(0, known.size - size) if known else 0
    try:
        with database.write() as connection:
            facts = {"ledger_size": size, "known_size": known.size if known else None}
            entry = append(database, connection, RESTORED, str(header["id"]), facts, dumps({"by": by})).number
    finally:
        database.close()
    return BackupInfo(str(header["id"]), paths[0], paths[1], "", size, entry, lost)


def _known_head(target: Target) -> Checkpoint | None:
    """The newest checkpoint that lies beside the key, where that is kept apart: it may be newer than the backup."""
    path = target.key_file.with_name("ledger.checkpoint")
    try:
        return parse_checkpoint(path.read_text().split(END_OF_NOTE)[-2].partition("\n\n")[0] + "\n")
    except (OSError, IndexError, IntegrityFailure):
        return None

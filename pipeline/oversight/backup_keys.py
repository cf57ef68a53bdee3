"""The keys of backups: whoever destroys one makes its backup unreadable, wherever copies of it lie."""

from __future__ import annotations

import base64
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel.errors import InvalidInput, NotFound
from kernel.storage.rows import now

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class BackupKey:
    """A key, the id of its backup, and how many entries the ledger had when the backup began."""

    id: str
    key: bytes
    ledger_size: int


class BackupKeys:
    """The keys of a workspace's backups, a file each that only its owner may read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, backup_id: str, ledger_size: int) -> BackupKey:
        """A fresh key, on the disk before this returns."""
        made = BackupKey(backup_id, secrets.token_bytes(KEY_BYTES), ledger_size)
        values = {
            "id": backup_id,
            "key": base64.b64encode(made.key).decode(),
            "ledger_size": ledger_size,
            "created_at": now(),
        }
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(self.path(backup_id), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(json.dumps(values) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return made

    def path(self, backup_id: str) -> Path:
        """Where the key of a backup lies."""
        return self._folder / f"{backup_id}.key"

    def read(self, backup_id: str) -> BackupKey:
        """The key of a backup. Raises NotFound where there is none, and says so where an erasure destroyed it."""
        if (self._folder / f"{backup_id}.destroyed").exists():
            told = json.loads((self._folder / f"{backup_id}.destroyed").read_text())
            raise NotFound(f"the key of {backup_id} was destroyed by the erasure {told['by']}: it cannot be read again")
        if not self.path(backup_id).is_file():
            raise NotFound(f"the key of {backup_id} is not here; give the file that `vouch backup` named: --backup-key")
        return read_key(self.path(backup_id))

    def items(self) -> list[str]:
        """Ids of the backups whose keys are here."""
        return sorted(path.stem for path in self._folder.glob("*.key"))

    def forget(self, backup_id: str) -> None:
        """Remove the key of a backup that was not finished."""
        _shred(self.path(backup_id))

    def destroy(self, ledger_size: int, by: str) -> list[str]:
        """Destroy the keys of all backups that began before the ledger had grown past `ledger_size` entries.

        The ids of those that the erasure `by` destroyed, now or in a run of it that was interrupted.
        """
        for backup_id in self.items():
            try:
                old = read_key(self.path(backup_id)).ledger_size <= ledger_size
            except InvalidInput:
                old = True
            if old:
                note = self._folder / f"{backup_id}.destroyed"
                note.write_text(json.dumps({"id": backup_id, "by": by, "at": now()}) + "\n")
                _shred(self.path(backup_id))
        told = (json.loads(path.read_text()) for path in sorted(self._folder.glob("*.destroyed")))
        return [note["id"] for note in told if note["by"] == by]


def read_key(path: Path) -> BackupKey:
    """The key in a file. Raises InvalidInput where the file holds none."""
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        key = BackupKey(str(values["id"]), base64.b64decode(values["key"]), int(values["ledger_size"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path} holds no key of a backup") from error
    if len(key.key) != KEY_BYTES:
        raise InvalidInput(f"{path} holds no key of a backup")
    return key


def _shred(path: Path) -> None:
    """Write over a small file, then remove it."""
    try:
        with path.open("r+b") as file:
            file.write(secrets.token_bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return
    path.unlink(missing_ok=True)

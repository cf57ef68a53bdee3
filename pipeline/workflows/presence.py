"""How a worker shows that its process lives, to those on the same machine: by a lock that the system lets go of.

A worker holds a lock on a file of its own in the workspace's folder. The system lets go of it when the process ends,
however it ends, so whoever can take the lock of another knows at once that it is dead, and a server that was killed and
started again goes on without waiting. Its id begins with that of the folder; for workers with another folder (another
machine) only silence tells.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from secrets import token_hex

PLACE = "place"


class Presence:
    """This process among the workers of a workspace; `id` is never used twice."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._place = _place(folder)
        self.id = f"{self._place}-{token_hex(8)}"
        draft = folder / f".{self.id}"
        self._file = draft.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        draft.rename(self._path(self.id))

    def ended(self, workers: Iterable[str]) -> set[str]:
        """Those of these workers of this folder whose process is no more."""
        return {one for one in workers if one != self.id and one.startswith(f"{self._place}-") and self._free(one)}

    def neighbours(self) -> set[str]:
        """The workers of this folder that have left a file, the dead among them."""
        return {path.stem for path in self._folder.glob("*.lock")} - {self.id}

    def bury(self, workers: Iterable[str]) -> None:
        """Remove the files of workers that ended and whose turns were handed over."""
        for one in workers:
            self._path(one).unlink(missing_ok=True)

    def close(self) -> None:
        """This worker is no more."""
        self._path(self.id).unlink(missing_ok=True)
        self._file.close()

    def _path(self, worker: str) -> Path:
        return self._folder / f"{worker}.lock"

    def _free(self, worker: str) -> bool:
        """Whether nobody holds the lock; a file that is gone was removed by its owner, or once its owner was dead."""
        try:
            with self._path(worker).open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return True
        except BlockingIOError:
            return False
        return True


def _place(folder: Path) -> str:
    """What names the folder: made by the first worker in it, complete before it can be read."""
    path, draft = folder / PLACE, folder / f".{PLACE}-{os.getpid()}-{token_hex(4)}"
    if not path.exists():
        draft.write_text(token_hex(8), encoding="ascii")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="ascii")

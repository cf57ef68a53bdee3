"""While the server runs, the newest signed head of the ledger goes to a file that is kept elsewhere, once a minute."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from kernel.errors import NotFound, VouchError
from kernel.storage.ledger import Ledger
from pipeline.oversight.bundles import export_head

SECONDS = 60.0
_log = logging.getLogger("uvicorn.error")


class HeadKeeper:
    """A thread that exports heads; none where no file is set. What goes wrong is logged, and tried again."""

    def __init__(self, path: Path | None, ledger: Callable[[], Ledger], seconds: float = SECONDS) -> None:
        self._path = path
        self._ledger = ledger
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to export."""
        if self._path is not None:
            self._ended.clear()
            self._thread = threading.Thread(target=self._run, name="heads", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Export once more, and end."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while True:
            self._export()
            if self._ended.wait(self._seconds):
                self._export()
                return

    def _export(self) -> None:
        assert self._path is not None  # noqa: S101  (there is no thread without it)
        try:
            export_head(self._ledger(), self._path)
        except NotFound:
            pass  # nothing was recorded yet
        except VouchError as error:
            _log.error("checkpoint_file: %s", error)

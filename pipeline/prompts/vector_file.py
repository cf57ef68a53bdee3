"""Vectors of texts, kept in a file so that each is made once: by the hash of the text, so none is ever of another.

The file is derived and may be deleted: what is missing, of another model or damaged is made anew.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kernel.ids import sha256
from kernel.ports import Embedder, Vector

BATCH = 32


class VectorFile:
    """Vectors by text. Safe between threads and processes: the file is replaced whole."""

    def __init__(self, path: Path, embedder: Callable[[], Embedder]) -> None:
        self._path = path
        self._embedder = embedder
        self._lock = threading.Lock()
        self._known: dict[str, NDArray[np.float32]] | None = None

    def vector(self, text: str) -> NDArray[np.float32]:
        """The unit vector of one text, `[dimension]`; not kept."""
        found: NDArray[np.float32] = self._embedder().embed([text])[0]
        return found

    def vectors(self, texts: Mapping[str, str]) -> dict[str, NDArray[np.float32]]:
        """The unit vector of each text, by the key that it was given under."""
        digests = {key: sha256(text) for key, text in texts.items()}
        with self._lock:
            known = self._read() if self._known is None else self._known
            new = sorted({digests[key]: text for key, text in texts.items() if digests[key] not in known}.items())
            for start in range(0, len(new), BATCH):
                some = new[start : start + BATCH]
                made = self._embedder().embed([text for _, text in some])
                known |= {digest: vector for (digest, _), vector in zip(some, made, strict=True)}
            self._known = known
            if new:
                self._write(known)
        return {key: known[digest] for key, digest in digests.items()}

    def keep_only(self, texts: Collection[str]) -> None:
        """Forget the vectors of all other texts."""
        with self._lock:
            wanted = {sha256(text) for text in texts}
            known = self._read() if self._known is None else self._known
            self._known = {digest: vector for digest, vector in known.items() if digest in wanted}
            if len(self._known) != len(known):
                self._write(self._known)

    def _read(self) -> dict[str, NDArray[np.float32]]:
        """What the file holds, if it is whole and of this model."""
        try:
            head, _, data = self._path.read_bytes().partition(b"\n")
            said = json.loads(head)
            if said["model"] != self._embedder().model or said["sha256"] != sha256(data):
                return {}
            rows: Vector = np.frombuffer(data, "<f4").reshape(len(said["texts"]), -1).astype(np.float32)
            return dict(zip(said["texts"], rows, strict=True))
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _write(self, known: Mapping[str, NDArray[np.float32]]) -> None:
        digests = sorted(known)
        data = np.stack([known[digest] for digest in digests]).astype("<f4").tobytes() if digests else b""
        head = json.dumps({"model": self._embedder().model, "sha256": sha256(data), "texts": digests})
        draft = self._path.with_name(f"{self._path.name}.{secrets.token_hex(4)}.part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(head.encode() + b"\n" + data)
            draft.replace(self._path)
        except OSError:  # a folder that cannot be written costs time, and nothing else
            draft.unlink(missing_ok=True)

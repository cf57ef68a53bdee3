"""Where built indexes lie: folders of `.npy` files under a manifest of SHA-256 sums, memory-mapped where read.

A folder is written whole under another name and then renamed, so a reader finds all of an index or none. Whatever is
missing, damaged or of another format is built anew from the store: nothing here is the only copy of anything.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np

from kernel.ids import file_sha256
from kernel.records import Fault
from retrieval.index import Index

VERSION = 2
FORMAT = f"{VERSION}:{','.join(field.name for field in fields(Index))}"
"""What an index on the shelf must say of itself to be opened; raise VERSION when the same arrays mean something new."""
KEPT = 2


class Shelf:
    """The index folders of one workspace. `recipe` names what the indexed chunks were made with."""

    def __init__(self, folder: Path, recipe: str) -> None:
        self._folder = folder
        self._recipe = recipe

    def put(self, index: Index) -> None:
        """Keep an index, and of the older ones the newest few."""
        target = self._path(index.last_chunk)
        if target.exists():
            return
        staging = target.with_name(f"{target.name}.{os.getpid()}.tmp")
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        sums = {}
        for name, array in index.arrays().items():
            np.save(staging / f"{name}.npy", array, allow_pickle=False)
            sums[name] = file_sha256(staging / f"{name}.npy")
        manifest = {"format": FORMAT, "recipe": self._recipe, "chunks": len(index), "sha256": sums}
        (staging / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))
        try:
            staging.rename(target)
        except OSError:
            shutil.rmtree(staging, ignore_errors=True)
        self._clear()

    def newest(self, *, at_most: int | None = None) -> Index | None:
        """The index that reaches furthest (but not past row id `at_most`) and is whole, or None."""
        for path in reversed(self._paths()):
            if at_most is None or int(path.name) <= at_most:
                index = self._open(path)
                if index is not None:
                    return index
        return None

    def faults(self) -> list[Fault]:
        """Every index file that does not match its manifest."""
        return [fault for path in self._paths() for fault in _check(path)]

    def drop(self) -> None:
        """Remove every index; the next reader builds one from the store."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self, path: Path) -> Index | None:
        if _check(path):
            return None
        manifest = json.loads((path / "manifest.json").read_text())
        if manifest.get("format") != FORMAT or manifest.get("recipe") != self._recipe:
            return None
        arrays = {name: np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in manifest["sha256"]}
        return Index(**arrays)

    def _path(self, last_chunk: int) -> Path:
        return self._folder / f"{last_chunk:012d}"

    def _paths(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("[0-9]*") if path.name.isdecimal())

    def _clear(self) -> None:
        for path in self._paths()[:-KEPT]:
            shutil.rmtree(path, ignore_errors=True)
        for path in self._folder.glob("*.tmp"):
            if not Path(f"/proc/{path.name.split('.')[1]}").exists():
                shutil.rmtree(path, ignore_errors=True)


def _check(path: Path) -> list[Fault]:
    try:
        sums = json.loads((path / "manifest.json").read_text())["sha256"]
        wrong = [name for name, expected in sorted(sums.items()) if file_sha256(path / f"{name}.npy") != expected]
    except (OSError, ValueError, KeyError) as error:
        return [Fault(f"index {path.name}", f"is not whole: {error}")]
    return [Fault(f"index {path.name}", f"{name}.npy does not match its SHA-256") for name in wrong]

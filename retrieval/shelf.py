"""Where the index of a workspace lies: files that only grow, under a manifest of SHA-256 sums, mapped where read.

A column is one raw file; growing writes its new rows at the end, so it costs what is added, and whoever has the file
mapped is not disturbed. A run is a folder of `.npy` files, written once. `manifest.json`, replaced whole, says how far
the columns count and which runs there are; what lies beyond it was never part of the index. Every process maps the
same files, so several servers share one copy in memory.

Whatever is missing, damaged or of another format is built anew from the store: nothing here is the only copy of
anything. One process writes at a time, held off by a lock that ends with the process.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from kernel.ids import file_sha256
from kernel.records import Fault
from retrieval.cells import CELLS_FROM, Cells
from retrieval.index import Addition, Columns, Index, Run, empty_index, no_rows, settled
from retrieval.lists import Array, Lists

VERSION = 3
FORMAT = f"{VERSION}:{','.join(field.name for field in (*fields(Columns), *fields(Run)))}"
"""What an index on the shelf must say of itself to be opened; raise VERSION when the same arrays mean something new."""
CURRENT = "current"
CELLS = "cells.faiss"
_PIECE = 1 << 22

Manifest = dict[str, Any]


class Shelf:
    """The index of one workspace on disk. `recipe` names what the indexed chunks were made with."""

    def __init__(self, folder: Path, recipe: str, dimension: int) -> None:
        self._folder = folder
        self._recipe = recipe
        self._dimension = dimension
        self._verified: set[tuple[str, str]] = set()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the one process that writes here."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def open(self, known: Index | None = None) -> Index | None:
        """The index, if it is whole and of this program's own kind; `known` itself where nothing has changed since."""
        for _ in range(8):
            volume = self._current()
            manifest = _manifest(volume) if volume else None
            if volume is None or manifest is None or not self._ours(manifest):
                return None
            if known is not None and _same(known, volume, manifest):
                return known
            try:
                return None if self._check(volume, manifest) else self._mapped(volume, manifest)
            except FileNotFoundError:
                if _manifest(volume) == manifest:
                    return None
        return None

    def replaced(self, index: Index) -> bool:
        """Whether another index, built anew, has taken the place of this one: it may hold what was erased since."""
        volume = self._current()
        return volume is not None and volume.name != index.lineage

    def begin(self) -> Index:
        """An empty index in files of its own. It takes the place of the present one when it is adopted."""
        volume = self._folder / uuid.uuid4().hex
        volume.mkdir(parents=True)
        (volume / "columns").mkdir()
        (volume / "runs").mkdir()
        for name, column in no_rows(self._dimension).arrays().items():
            (volume / "columns" / name).write_bytes(np.ascontiguousarray(column).tobytes())
        _write(volume / "manifest.json", self._described([]))
        return empty_index(self._dimension, volume.name)

    def adopt(self, index: Index) -> None:
        """Make this the index that processes open, and remove all others. Needs the lock."""
        _write(self._folder / CURRENT, index.lineage)
        for path in self._folder.iterdir():
            if path.is_dir() and path.name != index.lineage:
                shutil.rmtree(path, ignore_errors=True)

    def append(self, index: Index, addition: Addition) -> Index:
        """`index`, opened from here, with an addition. Needs the lock. Readers of `index` go on undisturbed."""
        volume = self._folder / index.lineage
        columns = {}
        for name, column in index.arrays().items():
            rows = np.ascontiguousarray(addition.rows[name].astype(column.dtype, copy=False))
            _append(volume / "columns" / name, column.nbytes, rows)
            columns[name] = _map(volume / "columns" / name, column.dtype, (len(column) + len(rows), *column.shape[1:]))
        runs = settled((*index.runs, addition.run), columns["key"])
        return self._put(volume, Index(**columns, runs=runs, lineage=index.lineage), index)

    def finish(self, index: Index) -> Index:
        """`index` with cells for its large runs, once no more is to be added at once. Needs the lock."""
        runs = tuple(_with_cells(index, run) for run in index.runs)
        if all(run is before for run, before in zip(runs, index.runs, strict=True)):
            return index
        volume = self._folder / index.lineage
        return self._put(volume, replace(index, runs=runs), index)

    def faults(self) -> list[Fault]:
        """Every part of the index that does not match its manifest."""
        volume = self._current()
        if volume is None:
            return []
        manifest = _manifest(volume)
        if manifest is None:
            return [Fault(f"index {volume.name}", "is not whole: its manifest cannot be read")]
        self._verified.clear()
        try:
            wrong = self._check(volume, manifest)
        except OSError as error:
            return [Fault(f"index {volume.name}", f"is not whole: {error}")]
        return [Fault(f"index {volume.name}", f"{part} does not match its SHA-256") for part in wrong]

    def drop(self) -> None:
        """Remove the index; the next reader builds one from the store."""
        with self.lock():
            for path in self._folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
            (self._folder / CURRENT).unlink(missing_ok=True)

    def _current(self) -> Path | None:
        try:
            return self._folder / (self._folder / CURRENT).read_text()
        except OSError:
            return None

    def _ours(self, manifest: Manifest) -> bool:
        return (manifest["format"], manifest["recipe"]) == (FORMAT, self._recipe)

    def _put(self, volume: Path, index: Index, before: Index) -> Index:
        known = {id(run) for run in before.runs}
        old = {tuple(entry["rows"]["key"]): entry for entry in (_manifest(volume) or {"runs": []})["runs"]}
        entries, runs = [], []
        for run in index.runs:
            if id(run) in known:
                entries.append(old[run.low, run.high])
                runs.append(run)
                continue
            entry = _write_run(volume, run) | _column_entry(volume, run, index, before, list(old.values()))
            entries.append(entry)
            runs.append(_read_run(volume, entry))
            self._verified.add((volume.name, entry["name"]))
        _write(volume / "manifest.json", self._described(entries))
        kept = {entry["name"] for entry in entries}
        for path in (volume / "runs").iterdir():
            if path.name not in kept:
                shutil.rmtree(path, ignore_errors=True)
        return replace(index, runs=tuple(runs))

    def _described(self, entries: list[dict[str, Any]]) -> str:
        manifest = {"format": FORMAT, "recipe": self._recipe, "runs": entries}
        return json.dumps(manifest, indent=1, sort_keys=True)

    def _check(self, volume: Path, manifest: Manifest) -> list[str]:
        """The parts that are not as the manifest says. What this process has once found whole is not read again."""
        wrong = []
        for entry in manifest["runs"]:
            if (volume.name, entry["name"]) in self._verified:
                continue
            faults = [f"{name} of {entry['name']}" for name in _wrong_files(volume, entry)]
            faults += [f"column {name}" for name in _wrong_columns(volume, entry, self._dimension)]
            if not faults:
                self._verified.add((volume.name, entry["name"]))
            wrong += faults
        return wrong

    def _mapped(self, volume: Path, manifest: Manifest) -> Index:
        columns = {}
        for name, column in no_rows(self._dimension).arrays().items():
            rows = manifest["runs"][-1]["rows"][name][1] if manifest["runs"] else len(column)
            columns[name] = _map(volume / "columns" / name, column.dtype, (rows, *column.shape[1:]))
        runs = tuple(_read_run(volume, entry) for entry in manifest["runs"])
        return Index(**columns, runs=runs, lineage=volume.name)


def _with_cells(index: Index, run: Run) -> Run:
    if run.cells is not None or run.high - run.low < CELLS_FROM:
        return run
    return replace(run, cells=Cells.of(index.vectors[run.low : run.high]))


def _same(known: Index, volume: Path, manifest: Manifest) -> bool:
    ranges = [(run.low, run.high, run.cells is not None) for run in known.runs]
    stored = [(*entry["rows"]["key"], CELLS in entry["files"]) for entry in manifest["runs"]]
    return known.lineage == volume.name and ranges == stored


def _manifest(volume: Path) -> Manifest | None:
    try:
        manifest = json.loads((volume / "manifest.json").read_text())
        return manifest if {"format", "recipe", "runs"} <= manifest.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _write(path: Path, text: str) -> None:
    staging = path.with_name(f"{path.name}.tmp")
    staging.write_text(text)
    staging.rename(path)


def _append(path: Path, begin: int, rows: Array) -> None:
    """Write rows from byte `begin` on; what lies there was written by a process that did not come to an end."""
    with path.open("r+b") as file:
        file.truncate(begin)
        file.seek(begin)
        file.write(rows.tobytes())


def _map(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array:
    if 0 in shape:
        return np.zeros(shape, dtype)
    mapped: Array = np.memmap(path, dtype=dtype, mode="r", shape=shape)
    return mapped.view(np.ndarray)


def _write_run(volume: Path, run: Run) -> dict[str, Any]:
    name = f"{run.low:010d}-{run.high:010d}" + ("-cells" if run.cells else "")
    folder, staging = volume / "runs" / name, volume / "runs" / f"{name}.tmp"
    for path in (folder, staging):
        shutil.rmtree(path, ignore_errors=True)
    staging.mkdir()
    for part, lists in run.lists().items():
        for place, array in enumerate((lists.keys, lists.ptr, *lists.values)):
            np.save(staging / f"{part}.{place}.npy", array, allow_pickle=False)
    if run.cells is not None:
        run.cells.write(staging / CELLS)
    files = {path.name: file_sha256(path) for path in sorted(staging.iterdir())}
    staging.rename(folder)
    return {"name": name, "files": files}


def _read_run(volume: Path, entry: Mapping[str, Any]) -> Run:
    folder = volume / "runs" / entry["name"]
    lists = {}
    for name in (field.name for field in fields(Run) if field.type == "Lists"):
        places = sum(file.startswith(f"{name}.") for file in entry["files"])
        arrays = [np.load(folder / f"{name}.{place}.npy", mmap_mode="r", allow_pickle=False) for place in range(places)]
        keys, ptr, *values = (array.view(np.ndarray) for array in arrays)
        lists[name] = Lists(keys, ptr, tuple(values))
    cells = Cells.read(folder / CELLS) if CELLS in entry["files"] else None
    low, high = entry["rows"]["key"]
    return Run(low, high, **lists, cells=cells)


def _column_entry(volume: Path, run: Run, index: Index, before: Index, old: Sequence[Mapping[str, Any]]) -> Manifest:
    """The rows that each column has of a run's chunks, and their sums. A new run ends where the columns end."""
    same = [entry for entry in old if entry["rows"]["key"][0] == run.low]
    if same and same[0]["rows"]["key"][1] == run.high:
        return {"rows": same[0]["rows"], "sums": same[0]["sums"]}
    rows = {}
    for name, column in index.arrays().items():
        begin = same[0]["rows"][name][0] if same else len(before.arrays()[name]) if run.low else 0
        rows[name] = [begin, len(column)]
    width = {name: _row_bytes(column) for name, column in index.arrays().items()}
    sums = {name: _sum(volume / "columns" / name, width[name], *span) for name, span in rows.items()}
    return {"rows": rows, "sums": sums}


def _row_bytes(column: Array) -> int:
    return int(column.dtype.itemsize * np.prod(column.shape[1:], dtype=np.int64))


def _sum(path: Path, width: int, begin: int, end: int) -> str:
    """The SHA-256 of some rows of a column's file."""
    digest, left = hashlib.sha256(), width * (end - begin)
    with path.open("rb") as file:
        file.seek(width * begin)
        while left > 0:
            piece = file.read(min(left, _PIECE))
            if not piece:
                break
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()


def _wrong_files(volume: Path, entry: Mapping[str, Any]) -> list[str]:
    folder = volume / "runs" / entry["name"]
    return [name for name, expected in sorted(entry["files"].items()) if file_sha256(folder / name) != expected]


def _wrong_columns(volume: Path, entry: Mapping[str, Any], dimension: int) -> list[str]:
    columns = no_rows(dimension).arrays()
    return [
        name
        for name, span in sorted(entry["rows"].items())
        if _sum(volume / "columns" / name, _row_bytes(columns[name]), *span) != entry["sums"][name]
    ]

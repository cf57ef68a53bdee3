"""Workspaces for benchmarks: one a corpus, kept between runs, so that only what changed is ingested again."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from api.assembly import Workspace
from bench.data import DOCUMENTS, write_corpus
from kernel.records import IngestReport
from kernel.settings import Settings

HOME = Path(".vouch/bench")


def open_set(name: str) -> tuple[Workspace, IngestReport]:
    """The workspace of a benchmark set, brought up to date, and what that took."""
    workspace = Workspace(Settings.load(home=HOME, workspace=f"bench_{name.replace('2wiki', 'twowiki')}"))
    path = DOCUMENTS if name == "documents" else write_corpus(name, HOME / "corpora" / f"{name}.jsonl")
    return workspace, _ingest(workspace, path, name)


def open_corpus(name: str, path: Path) -> Workspace:
    """The workspace `bench_<name>` of a folder or file, brought up to date."""
    workspace = Workspace(Settings.load(home=HOME, workspace=f"bench_{name}"))
    _ingest(workspace, path, name)
    return workspace


def _ingest(workspace: Workspace, path: Path, name: str) -> IngestReport:
    last = [0.0]

    def progress(what: str, done: int, total: int) -> None:
        if time.monotonic() - last[0] > 20:
            last[0] = time.monotonic()
            print(f"  {name}: {done}/{total} {what}", file=sys.stderr)

    with workspace.parser_pool() as pool:
        return workspace.indexer.ingest(pool, [path], name=name, progress=progress)[0]

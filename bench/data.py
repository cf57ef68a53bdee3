"""The development data that lies beside the checkout, read for benchmarks. It is never part of the project."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1].parent / "shared" / "data"
SETS = {
    "2wiki": "multihop/2wiki",
    "hotpotqa": "multihop/hotpotqa",
    "musique": "multihop/musique",
    "scifact": "scifact",
}
DOCUMENTS = ROOT / "documents"


@dataclass(frozen=True, slots=True)
class Item:
    """A benchmark question and the ids of the passages that answer it."""

    id: str
    question: str
    supporting: frozenset[str]


def available(name: str) -> bool:
    """Whether a set lies beside this checkout."""
    return (ROOT / SETS[name] / "questions.jsonl").is_file()


def write_corpus(name: str, target: Path) -> Path:
    """The corpus as `.jsonl` records, shuffled: the order of benchmark files gives answers away."""
    with gzip.open(ROOT / SETS[name] / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [line.strip() for line in file if line.strip()]
    random.Random(20261120).shuffle(lines)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


def questions(name: str) -> list[Item]:
    """The questions of a set, in file order."""
    rows = jsonl(ROOT / SETS[name] / "questions.jsonl")
    return [Item(row["id"], row["question"], frozenset(row["supporting_ids"])) for row in rows]


def jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file, one a line."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)

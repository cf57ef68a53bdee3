"""`python -m bench.untitled`: what the graph adds where documents have no titles, and where text has no capitals.

Multi-hop sets with titles removed, and also all in lower case; the handbook's questions over an untitled, lower-cased
copy of the documents' Markdown; questions over the untitled tables, mails and notes among parser test files. Each is
searched by every signal alone, by reciprocal rank fusion of words and vectors (Cormack et al., 2009), by the whole
second stage without the graph, and by the whole system. Copies are written to the benchmark home, never to the project.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from api.assembly import Workspace
from bench.data import DOCUMENTS, ROOT, SETS, available, jsonl, questions
from bench.homes import HOME, open_corpus
from kernel.records import LOCAL_OWNER
from retrieval.candidates import find_candidates, search_words
from retrieval.dense import DenseIndex
from retrieval.question import Asked
from retrieval.ranker import shipped_ranker
from retrieval.view import View

CASES = ROOT / "parser_cases"
SIGNALS = ("dense", "lexical", "fused, no graph", "second stage, no graph", "whole")
CASE_SUFFIXES = frozenset([".csv", ".tsv", ".eml", ".xlsx", ".txt", ".vtt", ".md", ".html", ".json"])
CASE_QUESTIONS = (
    ("which company does sheryl baxter work for", "Rasmussen Group"),
    ("what is the website of the customer in djibouti", "www.hobbs.com"),
    ("who wrote the hound of the baskerviles", "Arthur Conan Doyle"),
    ("which publisher brought out stephen hawkings book", "Bantam Books"),
    ("who got the simple email from alice example", "Subject: Simple Email"),
    ("what file hangs on alice example's email with attachment", "Attachment: test.txt"),
    ("how many freshwater ducks were seen in 2021", "Freshwater Ducks: 150"),
    ("at which hotel did roger bingham meet neil degrasse tyson", "Lucern Hotel"),
    ("what did esme say before mary said no way", "blue apple tree"),
    ("earth fault current of the e123 high voltage switchboard", "135 kA"),
    ("what did speaker b want to create", "create items"),
    ("what did the waiter offer the diners", "steaming bowl"),
)
"""Questions over the untitled files, as people type them, and words of the row, line or mail that answers each."""
_FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_MARKS = re.compile(r"^#{1,6} +|[*`]", re.MULTILINE)
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Asking:
    """A question and what a found passage must be: the id of a record, or a document whose text holds a quote."""

    question: str
    wanted: tuple[frozenset[str], ...]


# --- Corpora ------------------------------------------------------------------------------------------------------


def write_records(name: str, target: Path, change: Callable[[str], str]) -> Path:
    """A multi-hop corpus as records of id and text alone, shuffled, each text changed."""
    with gzip.open(ROOT / SETS[name] / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    random.Random(20261120).shuffle(rows)
    target.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"id": row["id"], "text": change(row["text"])}) for row in rows if row["text"].strip()]
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


def write_notes(folder: Path) -> Path:
    """The documents' Markdown as lower-case notes: no front matter, no heading marks, no telling file names."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(_markdown()):
        source = (DOCUMENTS / path).read_text(encoding="utf-8", errors="replace")
        text = _MARKS.sub("", _FRONT.sub("", source)).lower()
        (folder / f"note_{number:04d}.txt").write_text(text, encoding="utf-8")
    return folder


def _markdown() -> list[str]:
    return sorted(str(path.relative_to(DOCUMENTS)) for path in DOCUMENTS.rglob("*.md"))


def write_cases(folder: Path) -> Path:
    """The parser test files of text formats under names that say nothing; transcripts (.vtt) as plain text."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(sorted(path for path in CASES.rglob("*") if path.suffix.lower() in CASE_SUFFIXES)):
        suffix = path.suffix.lower().replace(".vtt", ".txt")
        shutil.copyfile(path, folder / f"file_{number:04d}{suffix}")
    return folder


# --- Searching ----------------------------------------------------------------------------------------------------


def rankings(workspace: Workspace, view: View, dense: DenseIndex, question: str) -> dict[str, Places]:
    """The ten best passages by each of SIGNALS."""
    vector = workspace.embedder.embed([question])[0]
    bare = without_graph(view)
    return {
        **_plain(view, dense, question, vector),
        "second stage, no graph": _whole(workspace, bare, dense, question, vector),
        "whole": _whole(workspace, view, dense, question, vector),
    }


def without_graph(view: View) -> View:
    """The same passages in a graph of no links: no walk, no bridges, no names in any feature."""
    links = view.links
    closed = replace(
        links,
        passage_open=np.zeros_like(links.passage_open),
        entity_open=np.zeros_like(links.entity_open),
        degree=np.zeros_like(links.degree),
    )
    return replace(view, links=closed, notable={})


def _plain(view: View, dense: DenseIndex, question: str, vector: NDArray[np.float32]) -> dict[str, Places]:
    near, _ = dense.search(view, vector, 100)
    wording = search_words(without_graph(view), question, 100)
    score: dict[int, float] = {}
    for ranked in (near.tolist(), wording.worded.tolist()):
        for rank, place in enumerate(ranked):
            score[place] = score.get(place, 0.0) + 1 / (60 + rank)
    fused = sorted(score, key=lambda place: (-score[place], int(view.index.key[place])))
    return {"dense": near[:10], "lexical": wording.worded[:10], "fused, no graph": np.array(fused[:10], np.int64)}


def _whole(workspace: Workspace, view: View, dense: DenseIndex, question: str, vector: NDArray[np.float32]) -> Places:
    wording = search_words(view, question, workspace.settings.candidates)
    asked = Asked(question, vector, wording.entities)
    candidates = find_candidates(view, dense, asked, wording, workspace.settings.candidates)
    return shipped_ranker().rank(view, asked, candidates).places[:10]


# --- Measuring ----------------------------------------------------------------------------------------------------


def recalls(workspace: Workspace, asked: Sequence[Asking], names: dict[int, str], k: int = 5) -> dict[str, float]:
    """Mean recall among the best `k` passages by each of SIGNALS; `names` says what a chunk row is found as."""
    view, dense = workspace.library.view(workspace.snapshots.live(), LOCAL_OWNER)
    found: dict[str, list[float]] = {signal: [] for signal in SIGNALS}
    for one in asked:
        for signal, places in rankings(workspace, view, dense, one.question).items():
            held = {names[int(view.index.chunk_id[place])] for place in places[:k]}
            found[signal].append(sum(bool(some & held) for some in one.wanted) / len(one.wanted))
    return {signal: round(float(np.mean(values)), 4) for signal, values in found.items()}


def multihop(name: str) -> dict[str, dict[str, float]]:
    """Recall@5 on one multi-hop set without titles; without capitals too; and with the questions' capitals gone."""
    asked = [Asking(one.question, tuple(frozenset([i]) for i in one.supporting)) for one in questions(name)]
    small = [replace(one, question=one.question.lower()) for one in asked]
    table = {}
    for kind, change in (("untitled", str), ("lower", str.lower)):
        path = write_records(name, HOME / "corpora" / f"{name}_{kind}.jsonl", change)
        with open_corpus(f"{name.replace('2wiki', 'twowiki')}_{kind}", path) as workspace:
            names = _ids(workspace)
            rows = [("questions as asked", asked), ("questions in lower case", small)]
            table |= {f"{name}, {kind}, {how}": recalls(workspace, some, names) for how, some in rows}
    return table


def notes() -> dict[str, dict[str, float]]:
    """Recall@5 of the gold quotes of `documents/questions.jsonl` in untitled, lower-case notes."""
    folder = write_notes(HOME / "corpora" / "notes")
    with open_corpus("notes", folder) as workspace:
        paths = {path: f"note_{number:04d}.txt" for number, path in enumerate(_markdown())}
        asked = []
        for row in jsonl(DOCUMENTS / "questions.jsonl"):
            wanted = [_holding(workspace, one["quote"], paths.get(one["path"])) for one in row.get("supporting") or ()]
            if any(wanted):
                asked.append(Asking(row["question"], tuple(one for one in wanted if one)))
        small = [replace(one, question=one.question.lower()) for one in asked]
        names = _chunks(workspace)
        print(f"notes: {len(asked)} questions", file=sys.stderr)
        return {
            "handbook notes, questions as asked": recalls(workspace, asked, names),
            "handbook notes, questions in lower case": recalls(workspace, small, names),
        }


def cases() -> dict[str, dict[str, float]]:
    """Recall@1 and @5 of facts in untitled tables, mails, transcripts and notes among parser test files."""
    with open_corpus("cases", write_cases(HOME / "corpora" / "cases")) as workspace:
        asked = [Asking(question, (_holding(workspace, quote, None),)) for question, quote in CASE_QUESTIONS]
        asked = [one for one in asked if one.wanted[0]]
        names = _chunks(workspace)
        return {
            f"parser cases, {len(asked)} questions, recall@{k}": recalls(workspace, asked, names, k) for k in (1, 5)
        }


def _holding(workspace: Workspace, quote: str, path: str | None) -> frozenset[str]:
    """The chunks, of the document at `path` or of any, in whose documents' text the words of `quote` overlap them."""
    wanted = re.compile(r"\W+".join(map(re.escape, re.findall(r"\w+", quote.lower()))))
    found: set[str] = set()
    for document in workspace.catalog.documents(workspace.snapshots.live().snapshot, LOCAL_OWNER, limit=100_000):
        if document.status != "ok" or (path or document.path) != document.path:
            continue
        match = wanted.search(workspace.catalog.text(document.id, document.revision).lower())
        if match:
            found.add(f"{document.id} {match.start()} {match.end()}")
    return frozenset(
        name
        for name, (held, start, end) in _spans(workspace).items()
        for one in found
        if held == one.split()[0] and start < int(one.split()[2]) and int(one.split()[1]) < end
    )


def _spans(workspace: Workspace) -> dict[str, tuple[str, int, int]]:
    view, _ = workspace.library.view(workspace.snapshots.live(), LOCAL_OWNER)
    passages = workspace.corpus.passages(view.index.chunk_id[view.mask].tolist())
    return {one.chunk_id: (one.document_id, one.start, one.end) for one, _ in passages.values()}


def _chunks(workspace: Workspace) -> dict[int, str]:
    view, _ = workspace.library.view(workspace.snapshots.live(), LOCAL_OWNER)
    return {row: view.index.chunk_name(place) for place, row in enumerate(view.index.chunk_id.tolist())}


def _ids(workspace: Workspace) -> dict[int, str]:
    state = workspace.snapshots.live()
    view, _ = workspace.library.view(state, LOCAL_OWNER)
    ids = workspace.catalog.external_ids(state.snapshot)
    rows = zip(view.index.chunk_id.tolist(), view.index.document_id.tolist(), strict=True)
    return {chunk: ids.get(document, "") for chunk, document in rows}


def main(wanted: Sequence[str]) -> int:
    """Print a table of the named parts, all by default."""
    parts = {name: (lambda name=name: multihop(name)) for name in ("2wiki", "musique") if available(name)}
    parts |= {"notes": notes, "cases": cases}
    for part in wanted or parts:
        for row, values in parts[part]().items():
            print(f"{row:45s}", "  ".join(f"{signal} {value:.4f}" for signal, value in values.items()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

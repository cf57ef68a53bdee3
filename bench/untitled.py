"""`python -m bench.untitled`: what the graph adds where documents have no titles, and where text has no capitals.

Multi-hop sets with titles removed, and also all in lower case; the same as long lower-case notes of several passages
each; the handbook's questions over an untitled, lower-cased copy of the documents' Markdown; questions over untitled
tables, mails and notes among parser test files. Each is searched by every signal alone, by reciprocal rank fusion of
words and vectors (Cormack et al., 2009), by the whole second stage without the graph, and by the whole system. Copies
are written to the benchmark home, never to the project.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from api.assembly import Workspace
from bench.ablations import Bench, without_graph
from bench.data import DOCUMENTS, ROOT, SETS, available, jsonl, questions
from bench.homes import HOME, open_corpus, open_set
from bench.long_notes import passages_in, write_long_notes
from bench.page import RESULTS, write
from kernel.records import LOCAL_OWNER
from retrieval.ranker import shipped_ranker

CASES = ROOT / "parser_cases"
WAYS = {
    "dense": "dense alone",
    "lexical": "lexical alone",
    "fused": "both off: dense and lexical fused by reciprocal rank",
    "second stage, no graph": "graph off",
    "everything": "everything",
}
"""Column of the table, and the way to rank that it shows (see `bench/ablations.py`)."""
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


# --- Measuring ----------------------------------------------------------------------------------------------------


def recalls(
    workspace: Workspace, asked: Sequence[Asking], names: Mapping[int, frozenset[str]], k: int = 5
) -> dict[str, float]:
    """Mean recall among the best `k` passages by each of WAYS; `names` says what a chunk row is found as."""
    view, dense = workspace.library.view(workspace.snapshots.live(), LOCAL_OWNER)
    bench = Bench(view, without_graph(view), dense, shipped_ranker(), workspace.settings.candidates)
    found: dict[str, list[float]] = {column: [] for column in WAYS}
    for one in asked:
        orders = bench.orders(one.question, workspace.embedder.embed([one.question])[0])
        for column, way in WAYS.items():
            held = frozenset[str]().union(*(names[int(view.index.chunk_id[place])] for place in orders[way][:k]))
            found[column].append(sum(bool(some & held) for some in one.wanted) / len(one.wanted))
    return {column: round(float(np.mean(values)), 4) for column, values in found.items()}


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


def long(name: str) -> dict[str, dict[str, float]]:
    """Recall@5 on one multi-hop set as long lower-case notes, where chunks and not documents are to be found."""
    asked = [
        Asking(one.question.lower(), tuple(frozenset([i]) for i in sorted(one.supporting))) for one in questions(name)
    ]
    with open_set(name)[0] as workspace:
        path = write_long_notes(name, workspace, HOME / "corpora" / f"{name}_notes.jsonl")
    with open_corpus(f"{name.replace('2wiki', 'twowiki')}_notes", path) as workspace:
        names = passages_in(name, workspace)
        rows = (("all", asked), ("held-out half", asked[1::2]))
        return {f"{name}, long notes, {which}": recalls(workspace, some, names) for which, some in rows}


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


def _chunks(workspace: Workspace) -> dict[int, frozenset[str]]:
    view, _ = workspace.library.view(workspace.snapshots.live(), LOCAL_OWNER)
    return {row: frozenset([view.index.chunk_name(place)]) for place, row in enumerate(view.index.chunk_id.tolist())}


def _ids(workspace: Workspace) -> dict[int, frozenset[str]]:
    state = workspace.snapshots.live()
    view, _ = workspace.library.view(state, LOCAL_OWNER)
    ids = workspace.catalog.external_ids(state.snapshot)
    rows = zip(view.index.chunk_id.tolist(), view.index.document_id.tolist(), strict=True)
    return {chunk: frozenset([ids.get(document, "")]) for chunk, document in rows}


def parts() -> dict[str, Callable[[], dict[str, dict[str, float]]]]:
    """What can be measured with the data that lies beside the checkout, by name."""
    found: dict[str, Callable[[], dict[str, dict[str, float]]]] = {}
    found |= {name: partial(multihop, name) for name in ("2wiki", "musique") if available(name)}
    found |= {f"{name}-long": partial(long, name) for name in ("2wiki", "musique") if available(name)}
    return found | ({"notes": notes} if DOCUMENTS.is_dir() else {}) | ({"cases": cases} if CASES.is_dir() else {})


def main(wanted: Sequence[str]) -> int:
    """Measure the named parts, all by default; keep their rows beside other results, and print them."""
    strange = [name for name in wanted if name not in parts()]
    if strange:
        print(f"no part {strange[0]!r}; there are {', '.join(parts())}", file=sys.stderr)
        return 2
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for part in wanted or parts():
        rows = parts()[part]()
        results["untitled"] = results.get("untitled", {}) | rows
        RESULTS.write_text(json.dumps(results, indent=1))
        for row, values in rows.items():
            print(f"{row:45s}", "  ".join(f"{column} {value:.4f}" for column, value in values.items()), flush=True)
    write(results)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

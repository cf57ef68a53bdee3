"""Plain single-fact questions, made from the passages of a corpus: whole sentences, a title with words, stray words.

A question is made of one sentence of a passage, so the passage is what it asks for. Half of the passages, by their key,
are for training; `python -m bench.plain` asks questions of the other half, and shows the whole system beside each
signal alone: fusing signals must not do worse than the best of them where one would be enough.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from api.assembly import Workspace
from bench.data import SETS, available
from bench.homes import open_set
from kernel.records import LOCAL_OWNER, Passage
from retrieval.candidates import find_candidates, search_words
from retrieval.features import FIRST
from retrieval.question import Asked
from retrieval.ranker import shipped_ranker
from retrieval.view import View

KINDS = ("sentence", "title and words", "words", "words with slips")
SIGNALS = ("dense", "lexical")
LEAST_WORDS = 8
LEAST_KEPT = 5
SLIP_FROM = 5
"""Letters of the shortest word that a slip of the pen is put into."""
SLIPS = 2
PASSAGES = 200


@dataclass(frozen=True, slots=True)
class Plain:
    """A question of one of KINDS, the rows of the document and the chunk that it was made from, and its sentence."""

    kind: str
    text: str
    document: int
    chunk: int
    sentence: str


def plain_questions(
    workspace: Workspace, view: View, half: int, passages: int, kinds: int = 1, skip: int = 0
) -> Iterator[Plain]:
    """Questions from `passages` passages whose key is even (`half` 0) or odd (1), `kinds` of the KINDS from each.

    Which passages, sentences and words follows from the keys alone; the first `skip` passages are left out.
    """
    key = view.index.key
    mine = np.flatnonzero(view.mask & ((key & np.uint64(1)) == half))
    chosen = mine[np.argsort(key[mine], kind="stable")][skip : skip + passages]
    found = workspace.corpus.passages(view.index.chunk_id[chosen].tolist())
    for number, place in enumerate(chosen.tolist()):
        passage, _ = found[int(view.index.chunk_id[place])]
        source = random.Random(int(key[place]))
        sentence = _sentence(passage, source)
        for kind in [KINDS[(number + step) % len(KINDS)] for step in range(kinds)]:
            if sentence:
                text = _said(kind, passage.title, sentence, source)
                rows = int(view.index.document_id[place]), int(view.index.chunk_id[place])
                yield Plain(kind, text, *rows, " ".join(sentence))


def _sentence(passage: Passage, source: random.Random) -> list[str]:
    sentences = [one.split() for one in re.split(r"(?<=[.!?])\s+", passage.text)]
    long = [one for one in sentences if len(one) >= LEAST_WORDS]
    return source.choice(long) if long else []


def _said(kind: str, title: str, sentence: Sequence[str], source: random.Random) -> str:
    if kind == "sentence":
        return " ".join(sentence)
    kept = sorted(source.sample(range(len(sentence)), max(LEAST_KEPT, len(sentence) // 3)))
    words = [sentence[place] for place in kept]
    if kind == "title and words":
        return " ".join([title, *words])
    if kind == "words with slips":
        long = [place for place, word in enumerate(words) if len(word) >= SLIP_FROM]
        for place in source.sample(long, min(SLIPS, len(long) // 2)):
            words[place] = _slipped(words[place], source)
    return " ".join(words)


def _slipped(word: str, source: random.Random) -> str:
    """The word with two neighbouring letters exchanged, or one left out."""
    at = source.randrange(1, len(word) - 1)
    return word[:at] + source.choice([word[at + 1] + word[at], ""]) + word[at + 2 :]


def run(workspace: Workspace, half: int = 1) -> dict[str, dict[str, tuple[float, float]]]:
    """Of each kind of question the share whose document is first, and among the first five, by each way to rank."""
    view, dense = workspace.library.view(workspace.snapshots.live(), LOCAL_OWNER)
    ranker, each = shipped_ranker(), workspace.settings.candidates
    hits: dict[str, dict[str, list[tuple[bool, bool]]]] = {}
    for one in plain_questions(workspace, view, half, PASSAGES, len(KINDS)):
        wording = search_words(view, one.text, each)
        asked = Asked(one.text, workspace.embedder.embed([one.text])[0], wording.entities)
        ranking = ranker.rank(view, asked, find_candidates(view, dense, asked, wording, each))
        orders = {"everything": ranking.places[:5]}
        for signal in SIGNALS:
            score = np.round(ranking.features[:, FIRST.index(signal)], 9)
            orders[f"{signal} alone"] = ranking.places[np.lexsort((view.index.key[ranking.places], -score))][:5]
        for way, places in orders.items():
            found = view.index.document_id[places].tolist()
            hits.setdefault(one.kind, {}).setdefault(way, []).append((one.document in found[:1], one.document in found))
    return {kind: {way: _means(rows) for way, rows in ways.items()} for kind, ways in hits.items()}


def _means(rows: Sequence[tuple[bool, bool]]) -> tuple[float, float]:
    first, five = np.mean(np.array(rows), axis=0).round(4).tolist()
    return first, five


def main(wanted: Sequence[str]) -> None:
    """Print the shares for the named sets, by default all."""
    for name in wanted or [name for name in SETS if available(name)]:
        with open_set(name)[0] as workspace:
            for kind, ways in run(workspace).items():
                print(f"{name}, {kind}:", "  ".join(f"{way} @1 {a:.3f} @5 {b:.3f}" for way, (a, b) in ways.items()))


if __name__ == "__main__":
    main(sys.argv[1:])

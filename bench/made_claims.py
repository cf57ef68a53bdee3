"""Labelled claims for training and measuring: those of SciFact, and claims made from plain sentences.

SciFact (Wadden et al., 2020). A claim with evidence gives one item for each of its evidence sets: the claim beside
those sentences, supported or contradicted. A claim without gives one for each abstract that it cites: the claim beside
the abstract's sentence most like it, not found. Every claim gives one more that is not found: beside the most alike
sentence of an abstract that it does not cite (which one follows from the claim's id). The claim's place in the file,
even or odd, is its half, so all items of a claim are in one half.

Made claims: a sentence of a Wikipedia passage or of a document, shortened (supported), or with a number changed, one
word turned to its opposite, a denial put in or taken out, two names exchanged (contradicted), a name of another text
put in, or beside another sentence (not found). A passage's half follows from its id.
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np

from bench.data import DOCUMENTS, ROOT, jsonl
from bench.turns import denied, renamed, renumbered, shortened, swapped, turned
from kernel.ids import sha256
from kernel.ports import Embedder
from pipeline.claims import LABELS
from pipeline.wording import clean, is_prose

SUPPORTED, CONTRADICTED, NOT_FOUND = range(3)
GIVEN = {"SUPPORT": SUPPORTED, "CONTRADICT": CONTRADICTED}
PLAIN_SETS = ("2wiki", "hotpotqa", "musique")
PER_SET = 80
"""Passages or documents of each set that claims are made from, in each half."""
_END = re.compile(r"(?<=[.?!])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])")
_SHORT_FORM = re.compile(r"\b(?:e\.g|i\.e|vs|cf|Fig|Dr|et al|St|approx|No|spp?|[A-Z])\.$")


@dataclass(frozen=True, slots=True)
class Item:
    """A claim beside a quote of a document called `title`; `label` is a place in LABELS, `group` is never split."""

    group: str
    half: int
    claim: str
    title: str
    quote: str
    label: int
    kind: str

    @property
    def name(self) -> str:
        """The label's name."""
        return LABELS[self.label]


def sentences_of(abstract: str) -> list[str]:
    """The sentences that SciFact's numbers count; of the splitters tried, the one whose gold sentences fit best."""
    found, last = [], 0
    for match in _END.finditer(abstract):
        if not _SHORT_FORM.search(abstract[last : match.start()]):
            found.append(abstract[last : match.end()].strip())
            last = match.end()
    return [one for one in (*found, abstract[last:].strip()) if one]


def scifact(embedder: Embedder) -> list[Item]:
    """All items of SciFact, in the order of the file."""
    abstracts = _abstracts()
    ids = sorted(abstracts)
    found: list[Item] = []
    for number, row in enumerate(jsonl(ROOT / "scifact" / "claims.jsonl")):
        make = partial(Item, f"scifact {row['id']}", number % 2, row["claim"])
        for evidence in row["evidence"]:
            title, sentences = abstracts[evidence["doc_id"]]
            quote = " ".join(sentences[n] for n in evidence["sentences"] if n < len(sentences))
            found += [make(title, quote, GIVEN[evidence["label"]], "gold")] if quote else []
        cited = [] if row["evidence"] else [one for one in row["cited_doc_ids"] if one in abstracts]
        first = int(sha256(row["id"])[:12], 16) % len(ids)
        far = next(one for one in ids[first:] + ids if one not in row["cited_doc_ids"] and abstracts[one][1])
        for kind, document in (*(("cited", one) for one in cited), ("far", far)):
            title, sentences = abstracts[document]
            found.append(make(title, _most_alike(row["claim"], sentences, embedder), NOT_FOUND, kind))
    return found


def _abstracts() -> dict[str, tuple[str, list[str]]]:
    with gzip.open(ROOT / "scifact" / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    return {row["id"]: (row["title"], sentences_of(row["text"])) for row in rows}


def _most_alike(claim: str, sentences: Sequence[str], embedder: Embedder) -> str:
    vectors = embedder.embed([claim, *sentences])
    return sentences[int(np.argmax(np.round(vectors[1:] @ vectors[0], 4)))]


def turned_claims(items: Sequence[Item]) -> list[Item]:
    """Claims with evidence, each with one word turned to its opposite: what supported it now contradicts it."""
    found: list[Item] = []
    for item in items:
        if item.kind == "gold":
            other = CONTRADICTED if item.label == SUPPORTED else SUPPORTED
            found += [replace(item, claim=text, label=other, kind="turned") for text in turned(item.claim)[:2]]
    return found


# --- Claims made from plain sentences -------------------------------------------------------------------------------


def made() -> list[Item]:
    """Claims made from sentences of passages and documents, of both halves."""
    return [item for name in (*PLAIN_SETS, "documents") for half in (0, 1) for item in _made_of(name, half)]


def _made_of(name: str, half: int) -> Iterator[Item]:
    texts = [one for one in _texts(name) if int(sha256(one[0])[:8], 16) % 2 == half]
    texts.sort(key=lambda one: sha256(one[0]))
    texts = texts[: PER_SET + 1]
    for (key, title, sentences), (_, _, others) in pairwise(texts):
        source = random.Random(sha256(key))
        chosen = source.randrange(len(sentences))
        quote = sentences[chosen]
        make = partial(Item, f"{name} {key}", half)
        yield from _carried(make, title, quote, source)
        yield from _turned_away(make, title, quote, others, source)
        beside = [one for one in sentences if one != quote]
        if beside:
            yield make(source.choice(beside), title, quote, NOT_FOUND, "beside")
        yield make(source.choice(others), title, quote, NOT_FOUND, "elsewhere")


def _carried(make: partial[Item], title: str, quote: str, source: random.Random) -> Iterator[Item]:
    short = shortened(quote, source)
    if short != quote:
        yield make(short, title, quote, SUPPORTED, "shortened")
    words = short.split()
    if len(words) > 9 and not turned(short):
        yield make(" ".join(words[: len(words) * 3 // 4]).rstrip(",;:"), title, quote, SUPPORTED, "opening")


def _turned_away(
    make: partial[Item], title: str, quote: str, others: Sequence[str], source: random.Random
) -> Iterator[Item]:
    short = shortened(quote, source)
    made: list[tuple[str | None, int, str]] = [
        (renumbered(short, source), CONTRADICTED, "number"),
        (next(iter(turned(short)), None), CONTRADICTED, "opposite"),
        (next(iter(denied(short)), None), CONTRADICTED, "denial"),
        (swapped(short), CONTRADICTED, "swapped"),
        (renamed(short, source.choice(others), source), NOT_FOUND, "renamed"),
    ]
    for text, label, kind in made:
        if text is not None and text != quote:
            yield make(text, title, quote, label, kind)


def _texts(name: str) -> Iterator[tuple[str, str, list[str]]]:
    """Key, title and sentences of each text that has some."""
    if name == "documents":
        rows = [(path.relative_to(DOCUMENTS).as_posix(), path) for path in sorted(DOCUMENTS.rglob("*.md"))]
        found = ((key, path.stem.replace("-", " "), path.read_text("utf-8", "replace")) for key, path in rows)
    else:
        with gzip.open(ROOT / "multihop" / name / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file if line.strip()]
        found = ((row["id"], row["title"], row["text"]) for row in rows)
    for key, title, text in found:
        lines = [clean(line) for line in text.split("\n")]
        sentences = [one for line in lines for one in sentences_of(line) if is_prose(one) and 7 < len(one.split()) < 45]
        if sentences:
            yield key, title, sentences

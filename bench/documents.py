"""How well questions about real documents are answered: evidence, containment, and knowing when to abstain."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from api.assembly import Workspace
from bench.data import DOCUMENTS, jsonl
from kernel.records import LOCAL_OWNER, DocumentInfo, Passage, Question


@dataclass(frozen=True, slots=True)
class Gold:
    """Where a gold quote stands: a document and a range of its canonical text."""

    document_id: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one question."""

    row: dict[str, Any]
    answer: dict[str, Any]
    golds: tuple[Gold, ...]
    hit5: bool
    hit10: bool
    all10: float
    cited: bool
    contained: bool

    @property
    def abstained(self) -> bool:
        """Whether no answer was given."""
        return bool(self.answer["status"] == "abstained")


def run(workspace: Workspace) -> list[Outcome]:
    """Ask every question of `documents/questions.jsonl`."""
    documents = _documents(workspace)
    return [_ask(workspace, row, documents) for row in jsonl(DOCUMENTS / "questions.jsonl")]


def table(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The figures: shares of the answerable questions, and precision and recall of abstaining."""
    answerable = [one for one in outcomes if one.row["expected"] != "abstain"]
    unanswerable = [one for one in outcomes if one.row["expected"] == "abstain"]
    abstained = [one for one in outcomes if one.abstained]
    right = sum(one.abstained for one in unanswerable)
    located = [one for one in answerable if one.golds]
    return {
        "questions": len(outcomes),
        "evidence hit@5": _mean([one.hit5 for one in located]),
        "evidence hit@10": _mean([one.hit10 for one in located]),
        "share of quotes in the top 10": _mean([one.all10 for one in located]),
        "cited span overlaps a quote": _mean([one.cited for one in located]),
        "answer containment": _mean([one.contained for one in answerable]),
        "abstention precision": right / max(len(abstained), 1),
        "abstention recall": right / max(len(unanswerable), 1),
    }


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / max(len(values), 1), 4)


def _ask(workspace: Workspace, row: dict[str, Any], documents: Sequence[DocumentInfo]) -> Outcome:
    golds = [gold for support in row.get("supporting") or () for gold in _locate(workspace, support, documents)]
    passages = workspace.answering.retrieve(Question(row["question"], top_k=10)).passages
    answer = workspace.answering.ask(Question(row["question"]))
    cited = [(c["document_id"], c["start"], c["end"]) for c in answer["citations"]]
    text = answer["answer"].casefold()
    facts = row.get("key_facts") or []
    return Outcome(
        row,
        answer,
        tuple(golds),
        hit5=_hit(passages[:5], golds),
        hit10=_hit(passages, golds),
        all10=_mean([_hit(passages, [gold]) for gold in golds]),
        cited=any(_overlap(place, gold) for place in cited for gold in golds) or _same_words(answer, row),
        contained=bool(text) and all(any(fact.casefold() in text for fact in group) for group in facts),
    )


def _same_words(answer: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether a citation quotes the gold words from another copy of the document (a PDF or DOCX of the same page)."""
    quotes = [re.sub(r"\W+", " ", citation["quote"]).casefold() for citation in answer["citations"]]
    golds = [re.sub(r"\W+", " ", support["quote"]).casefold() for support in row.get("supporting") or ()]
    return any(len(quote) > 20 and (quote in gold or gold in quote) for quote in quotes for gold in golds)


def _hit(passages: Sequence[Passage], golds: Sequence[Gold]) -> bool:
    return any(_overlap((p.document_id, p.start, p.end), gold) for p in passages for gold in golds)


def _overlap(place: tuple[str, int, int], gold: Gold) -> bool:
    return place[0] == gold.document_id and place[1] < gold.end and gold.start < place[2]


def _documents(workspace: Workspace) -> list[DocumentInfo]:
    live = workspace.snapshots.live().snapshot
    return workspace.catalog.documents(live, LOCAL_OWNER, limit=100_000)


def _locate(workspace: Workspace, support: dict[str, Any], documents: Sequence[DocumentInfo]) -> list[Gold]:
    """The quote in the canonical text, white space aside; none where the text does not hold it (OCR, layout)."""
    document = next((one for one in documents if one.path == support["path"]), None)
    if document is None or document.status != "ok":
        return []
    text = workspace.catalog.text(document.id, document.revision)
    words = unicodedata.normalize("NFC", support["quote"]).split()
    found = re.search(r"\s*".join(re.escape(word) for word in words), text)
    return [Gold(document.id, found.start(), found.end())] if found else []

"""Questions of which it can be told whether an answer is right, of the kinds that an organisation's people ask.

- `facts`: one fact, asked for in people's own words (single steps of MuSiQue), or as a question made of a triple
  (2WikiMultihopQA). Right where the answer, or a quote that it cites, holds the gold answer as whole words.
- `plain`: made from one sentence of a passage (`bench/plain.py`), or that sentence with a name, number or date taken
  out and asked for. Right where a cited quote holds the sentence.
- `documents`: the questions about real documents. Right where the text holds a hit of every group of key facts, wrong
  where the documents do not say.
- `claims`: SciFact's claims. Right where a gold abstract is cited.
- `multi-hop`: the multi-hop sets, questions answered by yes or no left out. Right as `facts`.
- `elsewhere`: facts, claims and questions about documents, asked of a corpus that is about other things. Any answer is
  wrong.
- `near misses`: plain questions whose rarest word was exchanged for another question's, so that they ask for something
  of which the sentence does not speak. Any answer is wrong.
- `taken away`: facts, plain questions and claims asked while the documents that answer are held back, so that what
  remains is only near. Judged as their own kind: another document may say the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from api.assembly import Workspace
from bench.data import DOCUMENTS, ROOT, SETS, available, jsonl
from bench.plain import Plain, plain_questions
from bench.train_ranker import PLAIN as TRAINED_ON
from graph.mentions import find_mentions
from kernel.records import Grounded, MentionKind
from pipeline.wording import clean, is_prose
from retrieval.analysis import content_terms, fold
from retrieval.lexical import Lexical
from retrieval.view import View

KINDS = ("facts", "plain", "documents", "claims", "multi-hop", "elsewhere", "near misses", "taken away")
UNTOLD = ("elsewhere", "near misses", "taken away")
"""The kinds of questions to which the documents say nothing, or little."""
FAMILIES = {"documents": "government", "2wiki": "wiki", "hotpotqa": "wiki", "musique": "wiki", "scifact": "science"}
"""The sets, and what their corpora are about."""
PLAIN = 200
"""Passages of each half of a corpus that plain questions are made from."""
TRIPLES = 200
ELSEWHERE = 120
"""Questions of each half that a corpus is asked though they are about something else."""
NEAR = 60
AWAY = 120
HELD = 0.85
"""Share of a sentence's terms from which a quote holds it."""
_WORDS = re.compile(r"\w+")
_PUT = {
    "date of birth": "When was {} born?",
    "date of death": "When did {} die?",
    "place of birth": "Where was {} born?",
    "place of death": "Where did {} die?",
    "place of burial": "Where was {} buried?",
    "publication date": "When did {} come out?",
    "director": "Who directed {}?",
    "performer": "Who performed {}?",
    "composer": "Who wrote the music of {}?",
    "educated at": "Where did {} study?",
    "award received": "Which award did {} receive?",
    "father": "Who was the father of {}?",
    "mother": "Who was the mother of {}?",
    "spouse": "Who was {} married to?",
}
"""How people ask for a relation of a thing."""
_ASKING = {
    MentionKind.NAME: "Who or what",
    MentionKind.CODE: "Which",
    MentionKind.DATE: "When",
    MentionKind.AMOUNT: "How much",
}

Judge = Callable[[Grounded], bool]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to the corpus `set`: its kind, its half, what is right, and the documents (external ids, or rows)
    that are held back while it is asked.
    """

    kind: str
    set: str
    half: int
    text: str
    right: Judge
    without: frozenset[str | int] = frozenset()


def lying() -> list[str]:
    """The sets that lie beside the checkout."""
    return [name for name in FAMILIES if (DOCUMENTS.is_dir() if name == "documents" else available(name))]


def asked_of(name: str, workspace: Workspace, view: View) -> list[Asked]:
    """All questions for a corpus."""
    own = [*_told(name), *_plain(name, workspace, view, TRAINED_ON)]
    return [*(one for one, _ in own), *_elsewhere(name), *_near_misses(own, view), *_taken_away(own)]


def made_of(name: str, workspace: Workspace, view: View, skip: int) -> list[Asked]:
    """Plain questions and near misses, made from passages alone; the first `skip` of half 0 are left out."""
    own = _plain(name, workspace, view, skip)
    return [*(one for one, _ in own), *_near_misses(own, view)]


def _told(name: str) -> list[tuple[Asked, frozenset[str | int]]]:
    """Questions that the files of a set ask, each with the documents that answer."""
    if name == "documents":
        rows = enumerate(jsonl(DOCUMENTS / "questions.jsonl"))
        return [(Asked(name, name, number % 2, row["question"], _key_facts(row)), frozenset()) for number, row in rows]
    found: list[tuple[Asked, frozenset[str | int]]] = []
    triples = 0
    for number, row in enumerate(jsonl(ROOT / SETS[name] / "questions.jsonl")):
        gold: frozenset[str | int] = frozenset(row["supporting_ids"])
        if name == "scifact":
            found.append((Asked("claims", name, number % 2, row["question"], _cites(gold)), gold))
        elif not {fold(one) for one in row["answers"]} & {"yes", "no"}:
            found.append((Asked("multi-hop", name, number % 2, row["question"], _holds(row["answers"])), frozenset()))
        for text, answer, documents in _facts(row):
            triples += 1
            if name == "musique" or triples <= 2 * TRIPLES:
                found.append((Asked("facts", name, number % 2, text, _holds([answer])), documents))
    return list({one.text: (one, gold) for one, gold in found}.values())


def _facts(row: Mapping[str, Any]) -> Iterator[tuple[str, str, frozenset[str | int]]]:
    """The single facts that a multi-hop question stands on, as questions, with the answer and where it is known."""
    for subject, relation, thing in row.get("evidence_triples") or ():
        if relation in _PUT:
            yield _PUT[relation].format(subject), thing, frozenset()
    steps = row.get("decomposition") or []
    for step in steps:
        if ">>" not in step["question"]:
            put = re.sub(r"#(\d)", lambda match: steps[int(match.group(1)) - 1]["answer"], step["question"])
            yield put, step["answer"], frozenset([step["supporting_id"]])


def _plain(name: str, workspace: Workspace, view: View, skip: int) -> list[tuple[Asked, frozenset[str | int]]]:
    """Plain questions of prose; every other one asks for what was taken out. `skip` leaves out those of half 0 that
    the ranker learned from.
    """
    found = []
    for half in (0, 1):
        for number, one in enumerate(plain_questions(workspace, view, half, PLAIN, skip=0 if half else skip)):
            text = clean((_asking(one) if number % 2 else None) or one.text)
            if is_prose(clean(one.sentence)):
                found.append((Asked("plain", name, half, text, _says(one)), frozenset([one.document])))
    return found


def _asking(one: Plain) -> str | None:
    """The sentence with one thing taken out and asked for; None where it holds nothing of the kind."""
    mentions = [mention for mention in find_mentions(one.sentence) if mention.kind in _ASKING and mention.start > 0]
    if not mentions:
        return None
    chosen = mentions[one.chunk % len(mentions)]
    rest = one.sentence[: chosen.start] + one.sentence[chosen.end :]
    words = rest.split()
    kept = [word for place, word in enumerate(words) if (place + one.chunk) % 4]
    return f"{_ASKING[chosen.kind]} {' '.join(kept).rstrip(' .!?')}?"


def _elsewhere(name: str) -> list[Asked]:
    """Questions of sets that are about something else, as many of each."""
    others = [one for one in lying() if FAMILIES[one] != FAMILIES[name]]
    found = []
    for half in (0, 1):
        for other in others:
            mine = [one for one, _ in _told(other) if one.half == half and one.kind != "multi-hop"] or [
                one for one, _ in _told(other) if one.half == half
            ]
            step = max(len(mine) * len(others) // ELSEWHERE, 1)
            found += [Asked("elsewhere", name, half, one.text, _never) for one in mine[::step]]
    return found


def _near_misses(own: list[tuple[Asked, frozenset[str | int]]], view: View) -> Iterator[Asked]:
    for half in (0, 1):
        mine = [one for one, _ in own if one.kind == "plain" and one.half == half]
        words = [_rarest(one.text, view) for one in mine]
        for number, one in enumerate(mine[: NEAR + 1]):
            word, other = words[number], words[number - 1]
            if number and word and other and not re.search(rf"\b{other}\b", one.text):
                text = re.sub(rf"\b{word}\b", other, one.text)
                yield replace(one, kind="near misses", text=text, right=_never)


def _rarest(text: str, view: View) -> str | None:
    """The word of a question, names left out, that the fewest passages hold."""
    words = [word for word in re.findall(r"\b[a-z]{4,}\b", text) if content_terms(word)]
    rarity = Lexical(view, " ".join(words)).rarity
    return max(words, key=lambda word: (rarity.get(content_terms(word)[0], 0.0), word), default=None)


def _taken_away(own: list[tuple[Asked, frozenset[str | int]]]) -> Iterator[Asked]:
    for half in (0, 1):
        mine = [(one, gold) for one, gold in own if gold and one.half == half]
        for one, gold in mine[:: -(-len(mine) // AWAY) or 1]:
            yield replace(one, kind="taken away", without=gold)


# --- What is right --------------------------------------------------------------------------------------------------


def _never(grounded: Grounded) -> bool:
    del grounded
    return False


def _key_facts(row: Mapping[str, Any]) -> Judge:
    groups = row.get("key_facts") or []

    def right(grounded: Grounded) -> bool:
        text = grounded.answer.casefold()
        return row["expected"] != "abstain" and all(any(fact.casefold() in text for fact in one) for one in groups)

    return right


def _holds(answers: list[str]) -> Judge:
    """Whether the text or a quote holds an answer as whole words; of a date its words in any order."""

    def right(grounded: Grounded) -> bool:
        shown = [grounded.answer, *(citation.quote for citation in grounded.citations)]
        return any(_held(answer, text) for answer in answers for text in shown)

    return right


def _held(answer: str, text: str) -> bool:
    wanted, words = _WORDS.findall(fold(answer)), _WORDS.findall(fold(text))
    if any(word.isdigit() for word in wanted) and set(wanted) <= set(words):
        return True
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(words)} "


def _cites(gold: frozenset[str | int]) -> Judge:
    return lambda grounded: any(citation.external_id in gold for citation in grounded.citations)


def _says(one: Plain) -> Judge:
    """Whether a cited quote holds the sentence that a question was made from."""
    wanted = set(content_terms(clean(one.sentence)))

    def right(grounded: Grounded) -> bool:
        shown = [set(content_terms(clean(citation.quote))) for citation in grounded.citations]
        return any(len(wanted & quote) >= HELD * max(len(wanted), 1) for quote in shown)

    return right

"""The generator that needs no model: it picks the sentences that answer, orders them, cites each, or abstains.

Deterministic: a function of the question and its evidence alone. A question whose grammar asks for something of a
thing that a clause describes ("which licence has the library that X uses") is answered in two steps: the sentence that
names the thing, then what is asked for, from passages about that thing alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from graph.mentions import find_mentions
from graph.names import STOPWORDS, base_name, name_key
from kernel.ports import GenerationRequest
from kernel.records import Evidence, Generation, MentionKind, ModelInfo, Passage
from pipeline.wording import clean, expected_kind, is_field, is_item, is_prose
from retrieval.analysis import content_terms, terms
from retrieval.context import not_in_force
from retrieval.decompose import target_of

NAME = "sentence-selection-1"
MOST_SENTENCES = 3
MOST_ITEMS = 10
PASSAGES = 8
NOTHING = "No passage that you may see bears on the question."
PART = "Only a part of the question is answered: no passage was found that says the rest."
NEAR = "No passage that you may see answers the question; the nearest ones speak of other things."


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each sign counts that a sentence answers, and how sure the best must be for an answer at all."""

    similarity: float = 1.0
    coverage: float = 0.9
    title_coverage: float = 0.35
    kind: float = 0.25
    rank: float = 0.15
    not_in_force: float = 0.3
    further: float = 0.7
    gain: float = 0.12
    enough: float = 0.8
    least_similarity: float = 0.42
    least_coverage: float = 0.25


@dataclass(frozen=True, slots=True)
class Choice:
    """A sentence that may answer. `covers` are the question's terms that it, its title or its headings hold."""

    passage: int
    sentence: int
    text: str
    score: float
    covers: frozenset[str]


class ExtractiveGenerator:
    """Answers in sentences of the documents themselves."""

    def __init__(self, weights: Weights | None = None) -> None:
        self._weights = weights or Weights()

    @property
    def info(self) -> ModelInfo:
        """The name of the method, and its weights as parameters."""
        return ModelInfo("extractive", NAME, asdict(self._weights))

    def generate(self, request: GenerationRequest) -> Generation:
        """A few sentences, each followed by the number of its passage; or an abstention with its reason."""
        evidence, weights = request.evidence, self._weights
        unknown = unknown_names(request.question, evidence)
        if unknown:
            return Generation("", f"No passage found for this question mentions {unknown[0]}.")
        rarity = question_rarity(request.question, evidence)
        choices = rank_sentences(request.question, evidence, rarity, weights)
        if not choices:
            return Generation("", NOTHING)
        if self._doubtful(request, choices, rarity):
            return Generation("", NEAR)
        steps = two_steps(request.question, evidence, weights)
        picked = steps or self._pick(choices, rarity, names_in(request.question))
        left = not steps and _leaves_open(request.question, picked)
        return Generation(
            "\n".join(line for choice in picked for line in _lines(choice, evidence)), PART if left else None
        )

    def _doubtful(self, request: GenerationRequest, choices: Sequence[Choice], rarity: Mapping[str, float]) -> bool:
        """Whether even the best sentences are too far from the question, or hold nothing of the kind it asks for."""
        weights = self._weights
        wanted = expected_kind(request.question)
        good = [choice for choice in choices if choice.score >= weights.further * choices[0].score]
        nearest = max((one.score for passage in request.evidence.passages for one in passage.sentences), default=0.0)
        if nearest < weights.least_similarity or (wanted and not any(wanted.search(choice.text) for choice in good)):
            return True
        covered = frozenset().union(*(choice.covers for choice in choices[:MOST_SENTENCES]))
        held = sum(rarity[term] for term in covered) / max(sum(rarity.values()), 1e-9)
        return choices[0].score < weights.enough or held < weights.least_coverage

    def _pick(self, choices: Sequence[Choice], rarity: Mapping[str, float], names: frozenset[str]) -> list[Choice]:
        """The best sentence, then those nearly as good that cover terms still missing and speak of the same `names`."""
        picked = [choices[0]]
        named = choices[0].covers & names
        for choice in choices[1:]:
            if len(picked) == MOST_SENTENCES:
                break
            covered = frozenset().union(*(one.covers for one in picked))
            gain = sum(rarity[term] for term in choice.covers - covered) / max(sum(rarity.values()), 1e-9)
            good = choice.score >= self._weights.further * choices[0].score and gain >= self._weights.gain
            good = good and named <= choice.covers
            if good and not _repeats(choice, picked):
                picked.append(choice)
        return sorted(picked, key=lambda choice: (choice.passage, choice.sentence))


def unknown_names(question: str, evidence: Evidence) -> list[str]:
    """Codes and names that the question uses and no passage holds: nothing can be said about them."""
    found = []
    for mention in find_mentions(question):
        surface = question[mention.start : mention.end]
        named = mention.kind == MentionKind.CODE or (mention.kind == MentionKind.NAME and mention.start > 0)
        if named and not _held(surface, evidence.passages):
            found.append(surface)
    return found


def _held(surface: str, passages: Sequence[Passage]) -> bool:
    """Whether a passage holds a name: word for word, or all its words in some form."""
    wholes = [_whole(passage) for passage in passages]
    if any(surface in whole for whole in wholes):
        return True
    wanted = set(terms(surface))
    return any(wanted <= set(terms(whole)) for whole in wholes)


def names_in(question: str) -> frozenset[str]:
    """The terms of the names and codes that a question uses."""
    kinds = (MentionKind.NAME, MentionKind.CODE)
    named = [mention for mention in find_mentions(question) if mention.kind in kinds and mention.start > 0]
    return frozenset(term for mention in named for term in content_terms(question[mention.start : mention.end]))


def question_rarity(question: str, evidence: Evidence) -> dict[str, float]:
    """The question's content terms with their rarity; terms that no visible document holds weigh most."""
    most = max(evidence.rarity.values(), default=1.0)
    return {term: evidence.rarity.get(term, most) for term in dict.fromkeys(content_terms(question))}


def rank_sentences(
    question: str, evidence: Evidence, rarity: Mapping[str, float], weights: Weights, only: Sequence[int] | None = None
) -> list[Choice]:
    """Sentences of the best passages (or of `only` some), most promising first; ties by their place in the context."""
    wanted = expected_kind(question)
    total = max(sum(rarity.values()), 1e-9)
    found: list[Choice] = []
    for number, passage in enumerate(evidence.passages[:PASSAGES]):
        if only is not None and number not in only:
            continue
        above = set(terms(" ".join((passage.title, *passage.heading)))) & rarity.keys()
        for place, sentence in enumerate(passage.sentences):
            text = clean(passage.text[sentence.start : sentence.end])
            if not is_prose(text):
                continue
            own = set(terms(text)) & rarity.keys()
            score = (
                weights.similarity * sentence.score
                + weights.coverage * sum(rarity[term] for term in own) / total
                + weights.title_coverage * sum(rarity[term] for term in above - own) / total
                + weights.kind * (wanted is not None and bool(wanted.search(text)))
                + weights.rank / (1 + number)
                - weights.not_in_force * not_in_force(passage)
            )
            found.append(Choice(number, place, text, round(score, 6), frozenset(own | above)))
    return sorted(found, key=lambda choice: (-choice.score, choice.passage, choice.sentence))


def two_steps(question: str, evidence: Evidence, weights: Weights) -> list[Choice]:
    """The sentence that names the thing which the question's clause describes, and the best one about what is asked.

    The last word before the clause is the thing itself ("the library that"), so what is asked for is the words before.
    Empty where the question has no such clause, or the context no passage about a thing so named.
    """
    target = target_of(question)
    if target == question:
        return []
    clause = question_rarity(question[len(target) :], evidence)
    asked = dict(list(question_rarity(target, evidence).items())[:-1]) or question_rarity(target, evidence)
    naming = rank_sentences(question[len(target) :], evidence, clause, weights)
    most = max((len(one.covers) for one in naming), default=0)
    for bridge in [one for one in naming if len(one.covers) == most][:2]:
        about = [
            number
            for number, passage in enumerate(evidence.passages[:PASSAGES])
            if passage.document_id != evidence.passages[bridge.passage].document_id and _names(bridge.text, passage)
        ]
        told = [
            choice
            for words in (asked, question_rarity(target, evidence))
            for choice in rank_sentences(target, evidence, words, weights, about)
            if choice.covers & words.keys()
        ]
        if told and len(bridge.covers) * 2 >= len(clause):
            return [bridge, next((choice for choice in told if _is_field_of(choice.text, asked)), told[0])]
    return []


def _is_field_of(text: str, asked: Mapping[str, float]) -> bool:
    """Whether a line is a field of just what is asked for: "License-Expression: MIT" of a licence."""
    return is_field(text) and bool(set(terms(text.partition(":")[0])) & asked.keys())


def _leaves_open(question: str, picked: Sequence[Choice]) -> bool:
    """Whether the sentences hold nothing of what is asked for of the thing that the question's clause describes."""
    target = target_of(question)
    asked = set(content_terms(target)[:-1]) if target != question else set()
    return bool(asked) and not any(choice.covers & asked for choice in picked)


def _names(text: str, passage: Passage) -> bool:
    """Whether a sentence names what a passage's document is about."""
    key = f" {name_key(text)} "
    titles = [name_key(name) for name in (passage.title, base_name(passage.title)) if name]
    return any(f" {title} " in key for title in titles if title)


def _lines(choice: Choice, evidence: Evidence) -> list[str]:
    """The sentence with its citation; one that opens a list, or is one of several like fields, with what follows."""
    passage = evidence.passages[choice.passage]
    marks = f"[c{choice.passage + 1}]"
    texts = [choice.text, *(_items(choice, passage) if choice.text.endswith(":") else _like_fields(choice, passage))]
    if len(texts) == 1 and is_field(choice.text) and passage.title not in choice.text:
        return [f"{passage.title} — {_ended(choice.text)} {marks}"]
    if is_field(choice.text):
        texts[0] = f"{passage.title} — {texts[0]}"
    return [f"{_ended(text) if place == len(texts) - 1 else _listed(text)} {marks}" for place, text in enumerate(texts)]


def _items(choice: Choice, passage: Passage) -> list[str]:
    found = []
    for sentence in passage.sentences[choice.sentence + 1 :][:MOST_ITEMS]:
        raw = passage.text[sentence.start : sentence.end]
        if not is_item(raw):
            break
        found.append(clean(raw))
    return [text for text in found if text]


def _like_fields(choice: Choice, passage: Passage) -> list[str]:
    """Fields of the same name right after this one: "Requires-Dist: a", "Requires-Dist: b"."""
    found = []
    name = choice.text.split(":")[0] if is_field(choice.text) else None
    for sentence in passage.sentences[choice.sentence + 1 :][:MOST_ITEMS] if name else ():
        text = clean(passage.text[sentence.start : sentence.end])
        if text.split(":")[0] != name:
            break
        found.append(text)
    return found


def _listed(text: str) -> str:
    return text if text[-1] in ".!?:;," else f"{text};"


def _ended(text: str) -> str:
    return text if text[-1] in ".!?" else f"{text.rstrip(':;,')}."


def _whole(passage: Passage) -> str:
    return f"{passage.title} {' '.join(passage.heading)} {passage.text}"


def _repeats(choice: Choice, picked: Sequence[Choice]) -> bool:
    mine = set(terms(choice.text)) - STOPWORDS
    return any(len(mine & set(terms(one.text))) >= 0.8 * max(len(mine), 1) for one in picked)

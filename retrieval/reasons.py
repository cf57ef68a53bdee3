"""What became of a document, in plain sentences; and what each feature of a passage means, in a few words."""

from __future__ import annotations

from collections.abc import Sequence

from kernel.records import Notice
from retrieval.standing import NOT_IN_FORCE
from retrieval.why_not import Behind, Judged, SignalPlace, Verdict, WhyNot

MOST_NAMED = 4
"""Words or names that one sentence lists."""
MEANINGS = {
    "dense": "closeness in meaning",
    "dense_rank": "place by meaning",
    "dense_gap": "distance to the passage closest in meaning",
    "lexical": "weight of the question's words in it (BM25)",
    "lexical_rank": "place by words",
    "lexical_share": "weight of the words, of all that could be had",
    "coverage": "share of the question's words that it holds",
    "coverage_rank": "place by the words that it holds",
    "coverage_gap": "distance to the passage that holds most words",
    "whole_coverage": "share of all the question's words, also those that no passage holds",
    "target": "share of the words that say what is asked for",
    "walk": "nearness in the graph of names",
    "walk_rank": "place by nearness in the graph",
    "named_walk": "nearness to what the question names",
    "named_walk_rank": "place by nearness to what the question names",
    "meant_walk": "nearness to passages of like meaning",
    "meant_walk_rank": "place by nearness to passages of like meaning",
    "sentence": "closeness in meaning of its best sentence",
    "sentence_rank": "place by its best sentence",
    "sentence_gap": "distance to the best sentence of any passage",
    "two_sentences": "closeness in meaning of its two best sentences",
    "titled": "the question names its title",
    "titled_x_sentence": "the question names its title, and a sentence is close",
    "title_asked": "share of its title that the question holds",
    "asks_title": "share of the question that its title holds",
    "entity_share": "share of the question's names that it holds",
    "bigrams": "share of the question's word pairs that it holds",
    "length": "its length",
    "beside_dense": "closeness in meaning of the passage before or after it",
    "beside_lexical": "weight of the words in the passage before or after it",
    "named_by_anchor": "a leading passage names its title",
    "names_anchor": "it names the title of a leading passage",
    "unasked_title": "a leading passage names its title and the question does not",
    "shared_rarity": "rare names that it shares with a leading passage",
    "shared_asked": "names of the question that it shares with a leading passage",
    "rarest_shared": "rarest name that it shares with a leading passage",
    "alike": "likeness to a leading passage",
    "hop": "closeness to the question and a leading passage together",
    "hop_sentence": "closeness of its best sentence to the question and a leading passage together",
    "hop_gap": "distance to the best that follows from the same leading passage",
    "nearby": "words of the question that a leading passage says beside its title",
    "nearby_gap": "distance to the title that a leading passage says most of the question beside",
    "title_said": "words of its title that a leading passage holds",
    "away_sentence": "closeness to what a leading passage leaves open",
    "sentence_alike": "likeness of its best sentence to a leading passage",
    "adds_coverage": "words of the question that it adds to a leading passage",
    "joint_coverage": "words of the question that it and a leading passage hold together",
    "same_document": "a leading passage is of the same document",
    "same_title": "a leading passage has the same title",
}
"""The features of the ranker by name. A leading passage is one of the few that the first network likes best."""
_SIGNALS = {
    "dense": "by meaning",
    "lexical": "by words",
    "named_walk": "by the names in the question",
    "meant_walk": "by names shared with passages of like meaning",
}


def meaning_of(feature: str) -> str:
    """What a feature says, in a few words."""
    return MEANINGS.get(feature, feature.replace("_", " "))


def reasons_of(why: WhyNot, notices: Sequence[Notice] = (), failure: str | None = None) -> tuple[str, ...]:
    """Why the document came as far as it did, the main thing first. `failure` is why it has no text, if it failed."""
    if why.best is None:
        return (f"The document could not be read: {failure}" if failure else "The document has no text to find.",)
    best = why.best
    sentences = [_place(why, best), *_would(best)]
    if why.verdict is not Verdict.SHOWN:
        sentences += [*_lacks(best), *_falls_behind(best.behind)]
    return (*sentences, *_standing(notices))


def _place(why: WhyNot, best: Judged) -> str:
    if why.verdict is Verdict.SHOWN:
        return f"It is shown: its best passage is result {why.rank} of {why.shown}{_found_by(best)}."
    if why.verdict is Verdict.NO_CANDIDATE:
        ranks = [f"{ordinal(one.rank)} {_said(one)}" for one in best.signals if one.rank is not None]
        where = f": its best one is {_listed(ranks)}" if ranks else ""
        return f"No signal had one of its passages among its best {why.each}{where}."
    whose = "Its best passage" if best.found else "Of its passages that were found, the best one"
    shown = "1 is shown" if why.shown == 1 else f"{why.shown} are shown"
    return f"{whose} ranks {ordinal(why.rank or 0)} of {why.candidates} candidates; {shown}."


def _found_by(best: Judged) -> str:
    ranks = [f"{ordinal(one.rank)} {_said(one)}" for one in best.signals if one.taken and one.rank is not None]
    return f"; of all passages it is {_listed(ranks)}" if ranks else "; another passage led to it"


def _would(best: Judged) -> list[str]:
    if best.found:
        return []
    return [f"Had its best passage been a candidate, it would rank {ordinal(best.would_rank)}."]


def _lacks(best: Judged) -> list[str]:
    words = [word.word for word in best.lacked[:MOST_NAMED]]
    if words:
        what = "the word" if len(best.lacked) == 1 else "the words"
        return [f"It lacks {what} {_quoted(words, len(best.lacked) - len(words))} of the question."]
    names = best.entities_lacked[:MOST_NAMED]
    more = len(best.entities_lacked) - len(names)
    return [f"It does not name {_quoted(names, more)}, which the question does."] if names else []


def _falls_behind(behind: Behind | None) -> list[str]:
    if behind is None or not behind.features:
        return []
    worst = [f"{meaning_of(one.name)} ({one.value:.3g} against {one.other:.3g})" for one in behind.features[:2]]
    return [f"What costs it most beside result {behind.rank}: {'; '.join(worst)}."]


def _standing(notices: Sequence[Notice]) -> list[str]:
    for notice in notices:
        if notice.kind in NOT_IN_FORCE:
            by = f" by {notice.by}" if notice.by else ""
            return [f"The document is {notice.kind}{by}: answers take it only after those in force."]
    return []


def _said(signal: SignalPlace) -> str:
    return _SIGNALS.get(signal.name, f"by {signal.name}")


def _quoted(words: Sequence[str], more: int) -> str:
    return _listed([*(f"“{word}”" for word in words), *([f"{more} more"] if more else [])])


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, …"""
    tail = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{tail}"

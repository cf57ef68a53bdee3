"""Finding prompts: by their words (BM25F over name, tags, description and sections) and by meaning, fused by rank.

Sources: Robertson and Zaragoza 2009 (BM25F), Cormack, Clarke and Buettcher 2009 (reciprocal rank fusion). What is kept
between searches is of texts by their hash: a version never changes, so nothing that is kept can be stale.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from kernel.errors import InvalidInput
from kernel.records import Principal, Role
from kernel.storage.versioned import RETIRED
from pipeline.prompts.anatomy import ASK, SECTIONS, section_texts
from pipeline.prompts.library import PromptLibrary
from pipeline.prompts.state import LIVE, LibraryState
from pipeline.prompts.vector_file import VectorFile
from retrieval.analysis import content_terms, terms, words

K1, B = 1.2, 0.75
RANKS = 60
LEAST_COSINE = 0.15
"""A prompt that shares no word with the query is shown from this similarity on."""
LONGEST_QUERY = 400
EMBEDDED = 600
"""Characters of a prompt that its vector is of."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WEIGHTS = {"name": 4.0, "tags": 3.0, "description": 2.0, "kind": 1.5, "sections": 1.0}


def _header(text: str) -> dict[str, Any]:
    """Front matter that was checked when it was saved, read by the safe loader in C where there is one."""
    loader = _LOADER(text)
    try:
        found: dict[str, Any] = loader.get_single_data()
        return found
    finally:
        loader.dispose()


@dataclass(frozen=True)
class _Entry:
    """A version as it is searched; `public` without its sections, as applications see prompts."""

    name: str
    kind: str
    description: str
    tags: tuple[str, ...]
    folder: str
    sections: Mapping[str, str]

    @classmethod
    def of(cls, text: str) -> _Entry:
        """The parts of a text that was checked when it was saved: read anew here it would cost a search its time."""
        sections = dict(section_texts(text))
        header = _header(sections.pop("front matter"))
        return cls(
            str(header["name"]),
            str(header.get("kind", "task")),
            str(header.get("description") or ""),
            tuple(map(str, header.get("tags") or ())),
            str(header.get("folder") or ""),
            sections,
        )

    @cached_property
    def shown(self) -> str:
        """What is embedded of it for everybody."""
        parts = [self.name.replace("-", " "), self.description, " ".join(self.tags), self.folder]
        return ". ".join(part for part in parts if part)

    @cached_property
    def whole(self) -> str:
        """What is embedded of it for those who read prompts."""
        told = [self.sections.get(name, "") for name in ("role", *ASK, "output format")]
        return "\n".join([self.shown, *told])[:EMBEDDED]

    @cached_property
    def public_terms(self) -> Mapping[str, float]:
        """Weighted counts of the terms of name, tags, description and kind."""
        fields = {
            "name": self.name.replace("-", " "),
            "tags": " ".join(self.tags).replace("-", " "),
            "description": self.description,
            "kind": f"{self.kind} {self.folder}".replace("/", " ").replace("-", " "),
        }
        return _weighted(fields)

    @cached_property
    def terms(self) -> Mapping[str, float]:
        """The same with those of the sections."""
        sections = "\n".join(self.sections.get(name, "") for name in (*SECTIONS, *ASK))
        found = Counter(self.public_terms)
        found.update(_weighted({"sections": sections}))
        return found

    @cached_property
    def length(self) -> float:
        """How long it is, in weighted terms."""
        return sum(self.terms.values())

    @cached_property
    def public_length(self) -> float:
        """How long that is which everybody sees."""
        return sum(self.public_terms.values())


@dataclass(frozen=True, slots=True)
class Hit:
    """A prompt that was found: `version` is the newest, for applications the live one. `score` orders, no more."""

    name: str
    version: int
    state: str
    kind: str
    description: str
    tags: tuple[str, ...]
    folder: str
    score: float


class PromptFinder:
    """Searches the library. `vectors` keeps what was embedded. Safe between threads."""

    def __init__(self, library: PromptLibrary, vectors: VectorFile) -> None:
        self._library = library
        self._vectors = vectors
        self._entries: dict[str, _Entry] = {}

    def search(self, query: str, principal: Principal, limit: int = 20) -> list[Hit]:
        """The prompts that bear on a query, best first. Applications find what is live, by what they may see of it.

        Raises InvalidInput for a query without words.
        """
        asked = list(dict.fromkeys(content_terms(query) or terms(query)))
        if not asked or len(query) > LONGEST_QUERY:
            raise InvalidInput(f"a search is of words, at most {LONGEST_QUERY} characters of them")
        public = principal.role == Role.APP
        seen = self._visible(public)
        entries = self._read(seen)
        begun = words(query)[-1]
        worded = _by_words(entries, asked, begun, public)
        meant = self._by_meaning(entries, query, public)
        scores = dict.fromkeys((*worded, *meant), 0.0)
        for ranked in (worded, meant):
            for rank, name in enumerate(ranked):
                scores[name] += 1 / (RANKS + rank)
        places = {name: place for place, name in enumerate(worded)}
        best = sorted(scores, key=lambda name: (-round(scores[name], 12), places.get(name, len(scores)), name))[:limit]
        state = self._library.state()
        return [self._hit(entries[name], seen[name], scores[name], state) for name in best]

    def _visible(self, public: bool) -> dict[str, tuple[int, str]]:
        """Number and hash of the version of each prompt that is searched."""
        state = self._library.state()
        found = {}
        for name, versions in self._library.heads().items():
            known = state.of(name)
            number = self._library.pointed(name, known) if public else max(versions)
            if number in versions and not (public and known.retired):
                found[name] = (number, versions[number])
        return found

    def _read(self, seen: Mapping[str, tuple[int, str]]) -> dict[str, _Entry]:
        known = self._entries
        missing = {digest for _, digest in seen.values()} - known.keys()
        if missing:
            texts = self._library.texts(missing)
            known = known | {digest: _Entry.of(text) for digest, text in texts.items()}
            self._entries = known
        return {name: known[digest] for name, (_, digest) in seen.items() if digest in known}

    def _by_meaning(self, entries: Mapping[str, _Entry], query: str, public: bool) -> list[str]:
        """The prompts that are near in meaning, nearest first."""
        texts = {name: one.shown if public else one.whole for name, one in entries.items()}
        vectors = self._vectors.vectors(texts)
        if not vectors:
            return []
        names = sorted(vectors)
        matrix: NDArray[np.float32] = np.stack([vectors[name] for name in names])
        near = np.round((matrix @ self._vectors.vector(query)).astype(np.float64), 6)
        order = sorted(range(len(names)), key=lambda place: (-near[place], names[place]))
        return [names[place] for place in order if near[place] >= LEAST_COSINE]

    def _hit(self, entry: _Entry, seen: tuple[int, str], score: float, now: LibraryState) -> Hit:
        known = now.of(entry.name)
        live = self._library.pointed(entry.name, known) == seen[0]
        state = known.state_of(seen[0])
        return Hit(
            entry.name,
            seen[0],
            LIVE if live and state != RETIRED else state,
            entry.kind,
            entry.description,
            entry.tags,
            entry.folder,
            round(score, 6),
        )


def _weighted(fields: Mapping[str, str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for field, text in fields.items():
        for term in terms(text):
            found[term] += _WEIGHTS[field]  # type: ignore[assignment]
    return found


def _by_words(entries: Mapping[str, _Entry], asked: Sequence[str], begun: str, public: bool) -> list[str]:
    """The prompts that hold a term of the query, best first; the last word also as the beginning of one."""
    tables = {name: one.public_terms if public else one.terms for name, one in entries.items()}
    lengths = {name: one.public_length if public else one.length for name, one in entries.items()}
    usual = sum(lengths.values()) / len(lengths) if lengths else 1.0
    scores: dict[str, float] = {}
    for term, share in [*((term, 1.0) for term in asked), *_begun(tables, asked, begun)]:
        holding = [name for name, table in tables.items() if term in table]
        rarity = math.log(1 + (len(tables) - len(holding) + 0.5) / (len(holding) + 0.5))
        for name in holding:
            count = tables[name][term]
            worth = count * (K1 + 1) / (count + K1 * (1 - B + B * lengths[name] / usual))
            scores[name] = scores.get(name, 0.0) + share * rarity * worth
    return sorted(scores, key=lambda name: (-round(scores[name], 9), name))


def _begun(tables: Mapping[str, Mapping[str, float]], asked: Collection[str], begun: str) -> list[tuple[str, float]]:
    """Terms that begin as the last word does, which may still be being written; each counts half."""
    if len(begun) < 3:
        return []
    found = {term for table in tables.values() for term in table if term.startswith(begun) and term not in asked}
    return [(term, 0.5) for term in sorted(found)]

"""From text to index terms: words folded and stemmed, codes and numbers also kept whole."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import lru_cache

import Stemmer

from graph.names import STOPWORDS

_WORDS = re.compile(r"\w+(?:[-./]\w*\d\w*)*")
_PARTS = re.compile(r"[^\W_]+")
_MARKUP = re.compile(r"\]\([^)\s]*\)|</?[A-Za-z!][^<>]{0,300}>|https?://\S+")
_stemmer = Stemmer.Stemmer("english", 0)


def fold(text: str) -> str:
    """Case-folded text without accents, of the words that searching compares."""
    text = text.casefold()
    if text.isascii():
        return text
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


_SPELLINGS = re.compile(
    r"(?<=\w{3})(?:(is)(?=(?:e|es|ed|ing|ation|ations|er|ers)$)|(ys)(?=(?:e|es|ed|ing)$)|(our)(?=s?$)|(ence)(?=s?$)|(tre)(?=s?$))"
)
_AMERICAN = {"is": "iz", "ys": "yz", "our": "or", "ence": "ense", "tre": "ter"}


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """The stem of a folded word. British spellings are made American first, in documents and questions alike."""
    return str(_stemmer.stemWord(_SPELLINGS.sub(lambda m: _AMERICAN[m.group()], word)))


def terms(text: str) -> list[str]:
    """The index terms of `text`, in order, repeats kept: stems of words; "22-01" gives 22, 01 and 22-01."""
    found: list[str] = []
    for word in _WORDS.findall(fold(text)):
        if word.isalpha():
            found.append(word)
            continue
        pieces = _PARTS.findall(word)
        found += pieces
        if len(pieces) > 1:
            found.append(word)
    return [stem(word) for word in found]


def words(text: str) -> list[str]:
    """The folded words of `text`, in order, unstemmed: codes and hyphenated words in their parts."""
    return _PARTS.findall(fold(text))


def content_terms(text: str) -> list[str]:
    """The index terms of `text` without the words that carry no meaning of their own."""
    kept = [word for word in words(text) if word not in STOPWORDS]
    return [stem(word) for word in kept]


def plain(text: str) -> str:
    """`text` without link targets and tags, as a reader would see it; for embedding and scoring, not for quoting."""
    return _MARKUP.sub(" ", text) if ("](" in text or "<" in text or "://" in text) else text


@lru_cache(maxsize=200_000)
def term_hash(term: str) -> int:
    """64 bits that stand for a term or a name in an index, the same in every process."""
    return int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), "little")

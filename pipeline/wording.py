"""Small questions about wording that generating and grounding both ask."""

from __future__ import annotations

import re

from retrieval.analysis import plain

_MARKS = re.compile(
    r"^\s*(?:#{1,6}\s+|>\s?|[-*+•]\s+|\d{1,3}[.)]\s+|\|\s*)+|[*`]{1,3}|(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w)|\{:?[^{}\n]{0,80}\}|\[\^?\d+\]"
)
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*(?:\s\"[^\"]*\")?\)|!?\[([^\[\]]*)\]\[[^\[\]]*\]")
_SPACE = re.compile(r"\s+")
_FIELD = re.compile(r"^[A-Z][\w /-]{0,40}: \S")
_LETTERS = re.compile(r"[^\W\d_]{2,}")


def clean(text: str) -> str:
    """A sentence as a reader sees it: no markup, no link targets, one space between words."""
    text = _LINK.sub(lambda match: match.group(1) or match.group(2) or "", text)
    text = _MARKS.sub("", plain(text))
    return _SPACE.sub(" ", text.replace("|", " | ")).strip(" |")


def is_field(text: str) -> bool:
    """Whether a line is "Name: value", which says little without what it is a field of."""
    return bool(_FIELD.match(text))


def is_prose(text: str) -> bool:
    """Whether a piece of text can be an answer: it has words, and is not a bare heading or a link."""
    return len(_LETTERS.findall(text)) >= 2 and (len(text) >= 12 or is_field(text))

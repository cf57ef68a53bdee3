"""Taking a question apart by its grammar: what is asked for, and the clause that says of what.

"Which licence has the library that FastAPI uses?" asks for a licence; the clause after "that" only says of which
library. A question without such a clause asks for what all its words say.
"""

from __future__ import annotations

import re

_CLAUSE = re.compile(r"\b(?:that|which|who|whom|whose|where)\b", re.IGNORECASE)
_LEAST_WORDS = 3


def target_of(question: str) -> str:
    """The part of a question before its relative clause; the whole question where there is none."""
    for match in _CLAUSE.finditer(question):
        before = question[: match.start()]
        if len(before.split()) >= _LEAST_WORDS and not before.rstrip().endswith((",", ";", ":", ".", "?", "and", "or")):
            return before
    return question

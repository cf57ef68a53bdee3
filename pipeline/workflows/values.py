"""Values in sentences: the number, date, duration, amount of money or yes/no that a sentence gives to a question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from pipeline.amounts import Placed, amounts_at
from pipeline.wording import clean
from retrieval.analysis import content_terms

ValueType = Literal["text", "number", "date", "duration", "money", "boolean"]
_CURRENCIES = {"$": "USD", "€": "EUR", "£": "GBP"}
_CODE_BEFORE = re.compile(r"\b(USD|EUR|GBP|CHF|JPY|CAD|AUD|SEK|NOK|DKK)\s*$")
_WORD = re.compile(r"\w+")
_DENIED = re.compile(r"\b(?:not|no|never|none|nor|neither|cannot|without|excluded?|prohibited)\b|n't\b", re.IGNORECASE)
_MINUTES = ((1440.0, "days"), (60.0, "hours"), (1.0, "minutes"))
DAYS_A_MONTH = 365.2425 / 12


def value_in(sentences: Sequence[str], sort: ValueType, question: str) -> tuple[Any, int] | None:
    """The value that sentences give to a question, and the place of the one that does; None where none does.

    Of several, the one in the sentence that shares most words with the question, then the one nearest to those words.
    A duration is `{"value", "unit", "days"}`, money `{"amount", "currency"}`, a date ISO 8601 as far as it is given.
    """
    wanted = set(content_terms(question))
    found: list[tuple[float, int, int, int, Any]] = []
    for place, sentence in enumerate(sentences):
        shared = len(wanted & set(content_terms(sentence)))
        near = [match.span() for match in _WORD.finditer(sentence) if wanted & set(content_terms(match[0]))]
        for start, value in _values(sentence, sort):
            distance = min((max(start - end, begin - start) for begin, end in near), default=len(sentence))
            found.append((-shared, distance, place, start, value))
    if not found:
        return None
    best = min(found, key=lambda one: one[:4])
    return best[4], best[2]


def _values(sentence: str, sort: ValueType) -> list[tuple[int, Any]]:
    if sort == "text":
        return [(0, clean(sentence))]
    if sort == "boolean":
        return [(0, _DENIED.search(sentence) is None)]
    read = {"number": _number, "date": _date, "duration": _duration, "money": _money}[sort]
    made = ((one.start, read(one, sentence)) for one in amounts_at(sentence))
    return [(start, value) for start, value in made if value is not None]


def _number(one: Placed, _sentence: str) -> float | int | None:
    if one.amount.unit == "date":
        return None
    value = float(one.amount.value)
    return int(value) if value.is_integer() else value


def _date(one: Placed, _sentence: str) -> str | None:
    return one.amount.value if one.amount.unit == "date" and one.amount.value[0].isdigit() else None


def _duration(one: Placed, _sentence: str) -> dict[str, Any] | None:
    if one.amount.unit == "month":
        months = float(one.amount.value)
        return {"value": _whole(months), "unit": "months", "days": round(months * DAYS_A_MONTH, 1)}
    if one.amount.unit != "minute":
        return None
    minutes = float(one.amount.value)
    size, unit = next((pair for pair in _MINUTES if minutes % pair[0] == 0), _MINUTES[-1])
    return {"value": _whole(minutes / size), "unit": unit, "days": round(minutes / 1440, 4)}


def _money(one: Placed, sentence: str) -> dict[str, Any] | None:
    named = _CODE_BEFORE.search(sentence[: one.start + 1])
    currency = _CURRENCIES.get(one.amount.unit) or (named[1] if named and not one.amount.unit else None)
    return None if currency is None else {"amount": _whole(float(one.amount.value)), "currency": currency}


def _whole(value: float) -> float | int:
    return int(value) if value.is_integer() else value

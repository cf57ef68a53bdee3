"""Other ways to write a name, tried where a question's own way is no known name: found by asking, never by a scan.

Plurals, British and American spelling, number words and roman numerals, codes joined or split anew, and one slip of the
keyboard. Each variant costs one look into the index, whatever the size of the corpus; the single edits are those of
Damerau (1964), without a change of the first letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from string import ascii_lowercase

_CARDINALS = "one two three four five six seven eight nine ten eleven twelve"
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
CARDINALS, ORDINALS = _CARDINALS.split(), _ORDINALS.split()
_ROMAN = {"ii": 2, "iii": 3, "iv": 4, "vi": 6, "vii": 7, "viii": 8, "ix": 9, "xi": 11, "xii": 12}
_ENDINGS = (
    ("isation", "ization"),
    ("ising", "izing"),
    ("ised", "ized"),
    ("ise", "ize"),
    ("yse", "yze"),
    ("ours", "ors"),
    ("our", "or"),
    ("tres", "ters"),
    ("tre", "ter"),
    ("ences", "enses"),
    ("ence", "ense"),
    ("ogue", "og"),
    ("amme", "am"),
)
_CODE = re.compile(r"([a-z]{1,8}) ?(\d[\da-z]*(?: \d[\da-z]*)*)")
SHORTEST = 8
"""Letters of a name from which on one wrong letter is forgiven: shorter names have too many neighbours."""


def variants(tokens: Sequence[str]) -> list[str]:
    """Other keys that the words `tokens` (folded) may stand for; not the key of the words as they are."""
    found: dict[str, None] = {}
    for place, word in enumerate(tokens):
        for form in _forms(word, last=place == len(tokens) - 1):
            found[" ".join((*tokens[:place], form, *tokens[place + 1 :]))] = None
    found[" ".join(next(_spellings(word), word) if len(word) > 3 else word for word in tokens)] = None
    key = " ".join(tokens)
    for code in _codes(key):
        found[code] = None
    found.pop(key, None)
    return list(found)


@lru_cache(maxsize=8192)
def _forms(word: str, *, last: bool) -> tuple[str, ...]:
    """Other forms of one word; a plural or singular only of a name's last word."""
    found = [*_numerals(word)]
    if word.isalpha() and len(word) > 3:
        found += [*_spellings(word), *(_numbers(word) if last else ())]
    return tuple(dict.fromkeys(found))


def _numerals(word: str) -> Iterator[str]:
    if word in CARDINALS:
        yield str(CARDINALS.index(word) + 1)
    elif word in ORDINALS:
        yield _ordinal(ORDINALS.index(word) + 1)
    elif word in _ROMAN:
        yield str(_ROMAN[word])
    elif word.isdigit() and 0 < int(word[:3]) <= len(CARDINALS) and str(int(word)) == word:
        yield CARDINALS[int(word) - 1]
        yield from (roman for roman, number in _ROMAN.items() if number == int(word))
    else:
        yield from (name for number, name in enumerate(ORDINALS, 1) if word == _ordinal(number))


def _ordinal(number: int) -> str:
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number, 'th') }"


def _spellings(word: str) -> Iterator[str]:
    for british, american in _ENDINGS:
        for old, new in ((british, american), (american, british)):
            if word.endswith(old) and len(word) > len(old) + 1:
                yield word.removesuffix(old) + new


def _numbers(word: str) -> Iterator[str]:
    if word.endswith("ies"):
        yield word.removesuffix("ies") + "y"
    elif word.endswith("es"):
        yield from (word[:-2], word[:-1])
    elif word.endswith("s") and not word.endswith("ss"):
        yield word[:-1]
    elif word.endswith("y") and word[-2] not in "aeiou":
        yield word[:-1] + "ies"
    else:
        yield word + ("es" if word.endswith(("s", "x", "ch", "sh")) else "s")


def _codes(key: str) -> Iterator[str]:
    """ "bod2201" is also "bod 2201" and "bod 22 01", and the other way round."""
    found = _CODE.fullmatch(key)
    if not found:
        return
    letters, parts = found.group(1), found.group(2)
    digits = parts.replace(" ", "")
    yield from (f"{letters} {parts}", f"{letters}{parts}", f"{letters} {digits}", f"{letters}{digits}")
    if len(digits) <= 10:
        yield from (f"{letters} {digits[:cut]} {digits[cut:]}" for cut in range(1, len(digits)))


def slips(key: str) -> list[str]:
    """Keys one slip away from `key` (a letter left out, added, changed, or two swapped), none where it is short."""
    if sum(map(str.isalpha, key)) < SHORTEST:
        return []
    cuts = [(key[:place], key[place:]) for place in range(1, len(key) + 1)]
    found = {front + back[1:] for front, back in cuts if back}
    found |= {front + back[1] + back[0] + back[2:] for front, back in cuts if len(back) > 1}
    found |= {front + letter + back for front, back in cuts for letter in f"{ascii_lowercase} "}
    found |= {front + letter + back[1:] for front, back in cuts if back for letter in f"{ascii_lowercase} "}
    return sorted(found - {key})

"""What a passage is about where no title says it: the subject of its opening words, or its subject field.

Rules over the opening alone, so that a passage is about the same things whatever else is stored: "Subject: X",
"X (born …) was a …", "X or Y is the …", "X, also known as Y, …" and, in text with capitals, a name that opens the
passage. A passage that opens otherwise ("However, it …") does not say what it is about.
"""

from __future__ import annotations

import re

from graph.names import STOPWORDS, name_key

OPENING = 400
"""Characters of a passage that are looked at."""
MAX_WORDS = 8
_EDGES = "\"'“”‘’`*_,. "
_FIELD = re.compile(r"^[ \t]*(?:subject|title|topic|re)[ \t]*:[ \t]*(\S[^\n]{0,120})$", re.IGNORECASE | re.MULTILINE)
_VERB = (
    r"(?:(?P<states>(?:is|was|are|were)\s+(?:an?|the|one)\b|(?:can|could|may|might)\s+(?:also\s+)?refer\b)"
    r"|(?:is|was|are|were|refers|means|denotes|took\s+place)\b)"
)
_BRACKET = r"\([^()\n]{0,200}(?:\([^()\n]{0,80}\)[^()\n]{0,80}){0,2}\)"
_DEFINED = re.compile(
    rf"(?P<name>[^()\n;|]{{2,90}}?)\s*(?P<more>(?:,?\s*{_BRACKET}){{0,3}})"
    rf"(?P<tail>,[^.;!?\n]{{1,120}}?,?\s+)?\s*(?<![\w-]){_VERB}",
    re.IGNORECASE,
)
_OTHER = re.compile(
    r"\b(?:(?:known|called|written|abbreviated|stylised|stylized|styled|titled|credited)\s+(?:[a-z]+ly\s+)?as"
    r"|known\s+by\s+(?:his|her|their)\s+(?:[a-z]+\s+)?name)\s+([^,;.()\n]{2,60}?)(?=\s+until\b|\s+or\b|[,;.()\n])",
    re.IGNORECASE,
)
_OR = re.compile(r"\s+or\s+|,?\s+(?:(?:also|better|best)\s+known\s+as|a\.?k\.?a\.?)\s+", re.IGNORECASE)
_LIFE = re.compile(r"\b(?:born|died|c\.|circa)\b|\b\d{3,4}\b", re.IGNORECASE)
_DATES = re.compile(r"\([^()]*\b\d{3,4}\b")
_QUALIFIED = re.compile(r"\s*[,:](?=\s)")
_WORD = re.compile(r"[^\W_][\w'’.-]*")
_NICKNAME = re.compile(r"\s*[\"“]\s*([^\"“”]{2,20}?)\s*[\"”]\s*")
_HYPHEN = re.compile(r"(?<=\w)- (?=\w)")
_ALONE = re.compile(r"(?:\A|(?<=\n\n))[ \t]*([^\W_][^\n|:]{1,78})(?=\n[ \t]*\n)")
_LINE = re.compile(
    r"\s*(?P<when>\[[^\]\n]{4,30}\]\s*|\d{1,2}:\d{2}(?::\d{2})?(?:\s?[ap]m)?\s+)?"
    r"(?:<(?:v\s+)?(?P<who>[\w][\w .'’-]{0,38})>:?|(?P<plain>[^\W\d_][\w.'’-]*(?: [\w.'’-]+){0,3}):(?=\s))"
)
_RANK_WORDS = """
jr sr sir dame lord lady dr prof professor prince princess king queen count countess duke duchess baron general major
admiral captain colonel lieutenant sergeant reverend rev saint
"""
_RANKS = frozenset(_RANK_WORDS.split())
_SMALL_WORDS = "of the and de la le von van der di da del in for a an"
_INSIDE = frozenset(_SMALL_WORDS.split())
_LINKING_WORDS = "on to at by with from into upon over under through without against or as not no so too than until"
_LINKING = frozenset(_LINKING_WORDS.split())
_OPENERS = """
it he she they we you i this that these those there here what which who when where while how why his her its their our
my your in on at as by for from with after before during since until although if because however according most many
some several all both each one around about under over born directed based built founded established located released
written produced
"""
_NEVER_FIRST = frozenset(_OPENERS.split())


def subjects_of(text: str) -> list[str]:
    """Names of what `text` is about, the first as it is given there; none where its opening does not say."""
    opening = _HYPHEN.sub("-", text[:OPENING].lstrip())
    field = _FIELD.search(opening)
    if field:
        return [field.group(1).strip(_EDGES)]
    found = _DEFINED.match(opening)
    if not found:
        return []
    cased, states = text != text.lower(), found.group("states") or ""
    sure = 0 if not states and not found.group("more") else 2 if states.lower().endswith("refer") else 1
    names: list[str] = []
    parts = _OR.split(found.group("name"))
    for part in parts:
        name = _QUALIFIED.split(part.strip(_EDGES))[0]
        if not _may_be_name(name, cased, sure):
            break
        names.append(name)
        if name != part and _may_be_name(part, cased, sure):
            names.append(part.strip(_EDGES))
        if _LIFE.search(found.group("more")) or _DATES.search(found.group("tail") or ""):
            names += _short_forms(name)
    if len(parts) > 1 and len(names) > 1 and " " not in names[0] and " " in names[1]:  # "John or Jack Henry"
        names.pop(0)
    if names:
        names += [other.group(1).strip(_EDGES) for other in _OTHER.finditer(found.group())]
    return list(dict.fromkeys(one for one in names if name_key(one)))


def headings_in(text: str) -> list[str]:
    """Short lines that stand alone, as plain text writes its headings; bullets, fields and sentences are none."""
    lines = [found.group(1).strip() for found in _ALONE.finditer(text)]
    return [line for line in lines if line.count(" ") < MAX_WORDS and line[-1].isalnum()]


def speakers_in(text: str) -> list[str]:
    """Who speaks in a chat or transcript: the names before a colon, where lines give a time or names come again."""
    lines = [found for found in map(_LINE.match, text.splitlines()) if found]
    names = [found.group("who") or found.group("plain") for found in lines]
    timed = [name for name, found in zip(names, lines, strict=True) if found.group("when") or found.group("who")]
    chat = len(names) > 2 and len(set(names)) < len(names)
    return [name for name in dict.fromkeys(names if chat else timed) if name.lower() not in STOPWORDS]


def _may_be_name(name: str, cased: bool, sure: int) -> bool:
    """Whether the words before a verb can name a thing: few, no pronoun, capitalised where the text has capitals.

    `sure` says how much the verb speaks for it: 0 is any verb of being, 1 "is a" and the like, 2 "may refer to".
    """
    words = _WORD.findall(name)
    article = bool(words) and words[0].lower() in ("the", "a", "an")
    words = words[1:] if article else words
    if not words or len(words) > MAX_WORDS or all(word.lower() in STOPWORDS for word in words):
        return False
    if len(words) == 1 and not sure:
        return False
    small = [word for word in words if word.lower() in STOPWORDS and word.lower() not in _INSIDE]
    if cased:
        named = [word for word in words[1:] if word[0].isupper() and word.lower() not in STOPWORDS]
        opens = words[0].lower() not in STOPWORDS | _NEVER_FIRST or len(named) > 1
        return (
            (words[0][0].isupper() or words[0][0].isdigit())
            and opens
            and all(word[0].isupper() or (word in _LINKING and sure) for word in small)
        )
    if (words[0].lower() in _NEVER_FIRST and sure < 2) or (article and len(words) == 1):
        return False
    return sure > 0 or not small


def _short_forms(name: str) -> list[str]:
    """Other ways to write a person's name: without ranks, honours and middle names, by a nickname, with initials.

    `Sir Edward Davis "Ed" Wood KBE` is also Edward Davis Wood, Edward Wood, Davis Wood, Edward D. Wood, E. D. Wood,
    Ed Wood and Sir Edward Wood.
    """
    nickname = _NICKNAME.search(name)
    whole = _WORD.findall(_NICKNAME.sub(" ", name))
    while len(whole) > 2 and whole[-1].isupper() and whole[-1].isalpha():  # honours
        whole.pop()
    words = [word for word in whole if name_key(word) not in _RANKS]
    if len(words) < 2 or any(word.lower() in _INSIDE for word in words):
        return [" ".join(words)] if len(words) > 2 else []
    given, last = words[:-1], words[-1]
    letters = [word[0] for word in given]
    forms = [words, [given[0], last], [*whole[: whole.index(given[0])], given[0], last], [*letters, last]]
    if len(given) > 1:
        forms += [[given[1], last], [given[0], *letters[1:], last]]
    if nickname:
        forms.append([nickname.group(1), last])
    return [" ".join(form) for form in forms]

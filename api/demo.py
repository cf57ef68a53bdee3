"""The demo: questions about the packages that this program is installed with, whose documentation lies beside it.

The documents are their core metadata: headers, then README. Every answer can be checked in the files that it cites.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, metadata
from pathlib import Path
from typing import Any

SOURCE = "installed-packages"
OWN = "vouch-rag"
DEPTH = 2
LARGEST = 32_000
"""Bytes of a metadata file."""
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_OPTIONAL = re.compile(r"\bextra\s*(?:==|in\b)")


@dataclass(frozen=True, slots=True)
class DemoQuestion:
    """A question, and what its answer must hold, by what the packages themselves state.

    `cites` are the packages that must be cited, `fact` is the header (of the last of them) whose value must be said.
    With neither, the documents do not say, and the only right answer is to abstain.
    """

    text: str
    about: str
    cites: tuple[str, ...] = ()
    fact: str = ""

    def shortcoming(self, body: Mapping[str, Any]) -> str | None:
        """What is wrong with an answer's JSON body, in words; None where it is as it must be."""
        if not self.cites:
            return None if body["status"] == "abstained" else "it was answered although no document says"
        if body["status"] != "answered":
            return f"it was not answered in full: {body['reason']}"
        cited = {_normal(str(citation["title"])) for citation in body["citations"]}
        missing = [name for name in self.cites if name not in cited]
        if missing:
            return f"nothing of {missing[0]} is cited"
        value = self.expected()
        if _letters(value) not in _letters(body["answer"]):
            return f"it does not say {value!r}, as {self.cites[-1]} does"
        return None

    def expected(self) -> str:
        """The value that the answer must say, read from the installed package, not from our store."""
        header, _, name = self.fact.partition(" ")
        values: list[str] = metadata(self.cites[-1]).get_all(header) or []
        return next((value.partition(";")[0].strip() for value in values if value.startswith(name)), "nothing")

    def check(self) -> str:
        """A command that shows the fact as it stands in the package."""
        return f"grep -i '^{self.fact.partition(' ')[0]}' {_files(distribution(self.cites[-1]))[0]}"


QUESTIONS = (
    DemoQuestion(
        "Which Python version does FastAPI require?", "one fact of one document", ("fastapi",), "Requires-Python"
    ),
    DemoQuestion(
        "Which licence has the library that FastAPI uses for the web parts?",
        "two documents: one names the library, the other has its licence",
        ("fastapi", "starlette"),
        "License-Expression",
    ),
    DemoQuestion(
        "Which version of Starlette does FastAPI require?",
        "what one package needs of another",
        ("fastapi",),
        "Requires-Dist starlette",
    ),
    DemoQuestion(
        "How many days of parental leave does the employee handbook allow?",
        "no document says: the right answer is none",
    ),
)


def documents() -> list[Path]:
    """The metadata files of the packages that this program needs and that these need, by name of package.

    Those longer than LARGEST are left out: they are change logs for the most part, and the demo is to be short.
    """
    needed = sorted(_needed())
    paths = [path for package in needed for path in _files(distribution(package))]
    return [path for path in paths if path.stat().st_size <= LARGEST]


def _needed() -> set[str]:
    """The normalised names of the installed packages within DEPTH steps of this one, without extras."""
    found: set[str] = set()
    newest = {OWN}
    for _ in range(DEPTH):
        newest = {name for package in newest for name in _required(package) if _installed(name)} - found
        found |= newest
    return found


def _required(package: str) -> Iterator[str]:
    for requirement in distribution(package).requires or ():
        name = _REQUIREMENT.match(requirement)
        if name and not _OPTIONAL.search(requirement.partition(";")[2]):
            yield _normal(name[1])


def _installed(package: str) -> bool:
    try:
        return bool(list(_files(distribution(package))))
    except PackageNotFoundError:
        return False


def _files(package: Distribution) -> list[Path]:
    """The METADATA file of a package, where it lies."""
    listed = [file for file in package.files or () if file.name == "METADATA" and len(file.parts) == 2]
    return [path for path in (Path(str(package.locate_file(file))) for file in listed) if path.is_file()]


def _normal(name: str) -> str:
    """A package's name in its normal form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "", text.lower())

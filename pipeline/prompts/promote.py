"""From a question that was asked once to a draft of a prompt: the question becomes its first test case.

The draft is the prompt that answered, under a new name, with a case that pins what the answer stood on: the passages
themselves, and what the answer said of them, where everybody may see them all now; else the snapshot that they are from
and no word of theirs, since a prompt is read by more people than its documents are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graph.mentions import find_mentions
from kernel.errors import Conflict, InvalidInput
from kernel.records import AnswerStatus, Passage, Principal, PromptVersion
from pipeline.oversight.replay import Replayer
from pipeline.prompts.anatomy import TESTS
from pipeline.prompts.files import cases_text, file_text, parts_of
from pipeline.prompts.library import PromptLibrary

MOST_FACTS = 5
SHORTEST_FACT = 2
TAG = "promoted"
_NUMBER = re.compile(r"\d[\d.,:/-]*\d|\d")

OpenToAll = Callable[[Sequence[str]], bool]
"""Whether everybody may see all of these passages (by id) now."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """A draft that was saved, and what its case pins: `passages` or `snapshot`."""

    version: PromptVersion
    text: str
    pinned: str


class Promoter:
    """Makes drafts of answers."""

    def __init__(self, library: PromptLibrary, replayer: Replayer, open_to_all: OpenToAll) -> None:
        self._library = library
        self._replayer = replayer
        self._open_to_all = open_to_all

    def promote(self, answer_id: str, name: str, principal: Principal, message: str = "") -> Promoted:
        """Save a draft as the first version of a new prompt. Raises NotFound for an answer that `principal` may not
        read, Conflict where it cannot be made again or the prompt exists already, InvalidInput.
        """
        record = self._replayer.record(answer_id, principal)
        made = self._replayer.rebuild(record)
        body, run = record.body, record.run
        if body["status"] not in (AnswerStatus.ANSWERED, AnswerStatus.PARTIAL, AnswerStatus.ABSTAINED):
            raise InvalidInput(f"{answer_id} is {body['status']}: only an answer or an abstention can become a test")
        passages = made.composed.evidence.passages
        if [one["chunk_id"] for one in run["context"]] != [one.chunk_id for one in passages]:
            raise Conflict(f"{answer_id} does not come out as it was recorded (vouch replay {answer_id} says why)")
        public = self._open_to_all([one.chunk_id for one in passages])
        case = _case(body, run, passages if public else None)
        remarks = (f"From the answer {answer_id}.", *(_origin(one) for one in passages if public))
        text = _draft(made.composed.pinned.prompt.template, name, body, case, remarks)
        said = message or f"From the answer {answer_id}"
        version = self._library.save(text, principal.id, said, 0)
        return Promoted(version, text, "passages" if public else "snapshot")


def key_facts(answer: str, question: str) -> list[str]:
    """The numbers and names that an answer says and its question does not, in their order, at most a few."""
    plain = re.sub(r"\s*\[c\d+\]", "", answer)
    places = [(match.start(), match.group().strip(".,:/-")) for match in _NUMBER.finditer(plain)]
    places += [(one.start, plain[one.start : one.end]) for one in find_mentions(plain)]
    known, found = question.casefold(), list[str]()
    for _, fact in sorted(places):
        fresh = fact.casefold() not in known and not any(fact in one for one in found)
        if fresh and (len(fact) >= SHORTEST_FACT or fact.isdigit()):
            found.append(fact)
    return found[:MOST_FACTS]


def _case(body: Mapping[str, Any], run: Mapping[str, Any], passages: Sequence[Passage] | None) -> dict[str, Any]:
    case: dict[str, Any] = {"name": "as first asked", "question": body["question"]}
    if run.get("inputs"):
        case["inputs"] = dict(run["inputs"])
    if passages is None:
        case["snapshot"] = body["retrieval"]["snapshot"]
    else:
        case["context"] = [{"title": one.title, "text": one.text} for one in passages]
    if body["status"] == AnswerStatus.ABSTAINED:
        return case | {"expect": [{"abstains": True}]}
    facts = key_facts(body["answer"], body["question"]) if passages is not None else []
    return case | {"expect": [{"answers": True}, {"cites": True}, *({"contains": one} for one in facts)]}


def _draft(base: str, name: str, body: Mapping[str, Any], case: dict[str, Any], remarks: tuple[str, ...]) -> str:
    header, sections = parts_of(base)
    kept = {key: value for key, value in header.items() if key not in ("name", "version", "owner", "review_by")}
    about = " ".join(body["question"].split())
    tags = list(dict.fromkeys([*kept.pop("tags", []), TAG]))
    kept.pop("description", None)
    front = {"name": name, "description": f"From the question: {about}"[:500], "tags": tags, **kept}
    return file_text(front, {**sections, TESTS: cases_text([case], remarks)})


def _origin(passage: Passage) -> str:
    return f"The text of {passage.document_id}, revision {passage.revision}, is copied here ({passage.chunk_id})."

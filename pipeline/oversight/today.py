"""A past question as it would be answered today, and what changed since: documents, prompt, model, ranking, policy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kernel.errors import NotFound
from kernel.records import AnswerStatus, Principal, PromptVersion, Question, Role
from kernel.storage.answers import AnswerRecord
from kernel.storage.pins import DocumentState, Pins
from pipeline.answering import Answering, Composed, Pinned
from pipeline.oversight.differences import text_diff
from pipeline.oversight.replay import VOLATILE, Json, Replayer, as_json, changed_members, question_of
from pipeline.prompts.anatomy import section_texts

DRAFT = ("sentences", "citations", "conflicts", "notices")
MOST_SHOWN = 3
"""Passages of one document that are spoken of by themselves."""


class Today:
    """Answers past questions anew, without recording anything, and says why the answer is another."""

    def __init__(self, replayer: Replayer, pins: Pins, answering: Answering) -> None:
        self._replayer = replayer
        self._pins = pins
        self._answering = answering

    def compare(self, answer_id: str, principal: Principal) -> Json:
        """The recorded answer, the one of today for the same principal, and every change that could explain the other.

        Raises as `Replayer.replay` does, and InvalidInput where today's settings do not take the question.
        """
        record = self._replayer.record(answer_id, principal)
        composed, notes = self._answer(question_of(record), record)
        body, run = as_json(self._answering.body_of(composed)), as_json(self._answering.run_of(composed))
        if not principal.role.oversees and body["status"] == AnswerStatus.PENDING_REVIEW:  # nobody has released it
            body |= {"answer": "", "confidence": 0.0} | {name: [] for name in DRAFT}
        if "policy" in body:
            body["policy"] = {name: value for name, value in body["policy"].items() if name != "held"}
        shown = {name: value for name, value in body.items() if name not in VOLATILE}
        before = {name: record.body[name] for name in shown if name in record.body}
        return {
            "id": answer_id,
            "same": (shown["status"], shown["answer"]) == (before["status"], before["answer"]),
            "recorded": before,
            "current": shown,
            "changes": [
                *notes,
                *self._document_changes(record, composed),
                *_prompt_changes(
                    self._replayer.pinned(record, composed.pinned.settings).prompt,
                    composed.pinned.prompt,
                    shown=principal.role != Role.APP,
                ),
                *_kind("model", changed_members("the model", record.body["model"], body["model"])),
                *_kind("ranking", changed_members("the ranking method", record.run["method"], run["method"])),
                *_kind("settings", changed_members("the settings", record.run["settings"], run["settings"])),
                *_policy_changes(record.body, body),
            ],
            "diff": text_diff(before["answer"], shown["answer"]),
        }

    def _answer(self, question: Question, record: AnswerRecord) -> tuple[Composed, list[Json]]:
        notes: list[Json] = []
        today = replace(question, as_of=None)
        if question.as_of is not None:
            notes.append(_change("snapshot", f"it was asked as of snapshot {question.as_of}; this is the live one"))
        name, label = record.body["prompt"]["name"], record.body["prompt"]["label"]
        try:
            pinned: Pinned = self._answering.pin(replace(today, prompt=f"{name}@{label}" if label else name))
        except NotFound as error:
            notes.append(_change("prompt", f"{error}; the default prompt was taken instead"))
            pinned = self._answering.pin(replace(today, prompt=None, inputs={}))
        return self._answering.compose(pinned), notes

    def _document_changes(self, record: AnswerRecord, composed: Composed) -> list[Json]:
        """What became of the passages that the answer stood on, and where the new ones came from."""
        asker = composed.pinned.question.principal
        before: Sequence[Mapping[str, Any]] = record.run["context"]
        after = composed.evidence.passages
        cited = {citation["document_id"] for citation in record.body["citations"]}
        names = [item["document_id"] for item in before]
        now = self._pins.documents(names, composed.pinned.state, asker)
        titles = self._pins.titles({(item["document_id"], item["revision"]) for item in before})
        held = {passage.chunk_id for passage in after}
        ranks = {chunk_id: rank for rank, (chunk_id, _) in enumerate(composed.evidence.candidates, 1)}
        lost: dict[str, list[Mapping[str, Any]]] = {}
        for item in before:
            if item["chunk_id"] not in held:
                lost.setdefault(item["document_id"], []).append(item)
        found = [
            change | {"cited": document_id in cited}
            for document_id, items in lost.items()
            for change in _lost((document_id, titles.get(document_id, document_id)), items, now.get(document_id), ranks)
        ]
        known = {item["chunk_id"] for item in before}
        new = [passage for passage in after if passage.chunk_id not in known]
        then = self._pins.documents([one.document_id for one in new], self._replayer.state(record), asker)
        old_ranks = {chunk_id: rank for rank, (chunk_id, _) in enumerate(record.run["candidates"], 1)}
        for passage in new:
            state = then.get(passage.document_id)
            change = _gained(
                passage.document_id, passage.title, state, passage.revision, old_ranks.get(passage.chunk_id)
            )
            if change["change"] != "revised" or passage.document_id not in lost:
                found.append(change)
        return list({json.dumps(one, sort_keys=True): one for one in found}.values())


def _lost(
    document: tuple[str, str], items: Sequence[Mapping[str, Any]], state: DocumentState | None, ranks: Mapping[str, int]
) -> list[Json]:
    """Why passages of a document (its id, and its title as it was read) are not in the context any more."""
    document_id, title = document
    about = {"document_id": document_id, "title": title}
    if state is None or state.state != "visible":
        words = {
            "withdrawn": f"“{title}” was withdrawn",
            "hidden": f"“{title}” is in groups that the asker is not in",
        }
        what = state.state if state else "gone"
        said = words.get(what, f"“{title}” is not among the documents any more")
        return [_change("document", said, change=what, **about)]
    was = items[0]["revision"]
    if state.revision != was:
        said = f"“{title}” was changed: revision {was} was read, {state.revision} is live"
        return [_change("document", said, change="revised", **about)]
    places = [ranks.get(item["chunk_id"]) for item in items]
    shown = [f"rank {place}" if place else "no candidate" for place in places[:MOST_SHOWN]]
    said = f"{len(items)} of the passages of “{title}” are outranked now: {', '.join(shown)}"
    return [_change("document", said, change="outranked", **about)]


def _gained(document_id: str, title: str, then: DocumentState | None, revision: int, rank: int | None) -> Json:
    """Where a passage of today's context was when the answer was made."""
    about = {"document_id": document_id, "title": title, "cited": False}
    if then is None or then.state != "visible":
        words = {"withdrawn": "was withdrawn then", "hidden": "was in groups that the asker was not in"}
        said = f"“{title}” is read now: it {words.get(then.state if then else '', 'was not among the documents then')}"
        return _change("document", said, change="added", **about)
    if then.revision != revision:
        return _change("document", f"revision {revision} of “{title}” is read now", change="revised", **about)
    place = f"it ranked {rank} then" if rank else "it was no candidate then"
    return _change("document", f"“{title}” is read now: {place}", change="risen", **about)


def _prompt_changes(then: PromptVersion, now: PromptVersion, *, shown: bool) -> list[Json]:
    """Which sections of the prompt are others; with their lines for those who may read prompts (`shown`)."""
    if then.sha256 == now.sha256:
        return []
    old, new = dict(section_texts(then.template)), dict(section_texts(now.template))
    diffs = {name: text_diff(old.get(name, ""), new.get(name, "")) for name in {**old, **new}}
    sections = {name: lines for name, lines in diffs.items() if lines}
    said = f"the prompt {then.name} version {then.version} became {now.name} version {now.version}"
    where = f"; other sections: {', '.join(sections)}" if sections else "; its sections are the same"
    return [_change("prompt", said + where, sections=sections if shown else {name: [] for name in sections})]


def _policy_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Json]:
    then, now = (body.get("policy") or {} for body in (before, after))
    if then.get("sha256") == now.get("sha256"):
        return []
    return [
        _change("policy", f"the policy version {then.get('version', '-')} became version {now.get('version', '-')}")
    ]


def _kind(kind: str, said: Sequence[str]) -> list[Json]:
    return [_change(kind, words) for words in said]


def _change(kind: str, words: str, **more: Any) -> Json:
    return {"kind": kind, "words": words, **more}

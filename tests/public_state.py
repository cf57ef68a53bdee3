"""Everything that a workspace shows, by public ids alone: equal for equal documents, however they came about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
from fast_parts import FastWorkspace

from kernel.records import LOCAL_OWNER, Passage, Principal, Role

PRINCIPALS = (LOCAL_OWNER, Principal("key_none", Role.APP), Principal("key_a", Role.APP, frozenset({"a"})))


def documents(made: FastWorkspace) -> list[dict[str, Any]]:
    """Visible documents with their text; without what tells their history."""
    live = made.snapshots.live().snapshot
    found = []
    for item in made.catalog.documents(live, LOCAL_OWNER, limit=1000):
        fields = asdict(item) | {"text": made.catalog.text(item.id, item.revision)}
        found.append({key: value for key, value in fields.items() if key not in ("revision", "created_at")})
    return found


def chunks(made: FastWorkspace) -> list[tuple[object, ...]]:
    """Visible chunks with their mentions and relations, by public id."""
    live = made.snapshots.live().snapshot
    seen = set(made.snapshots.visible_revisions(live, LOCAL_OWNER))
    rows = [row for row in made.corpus.index_rows(0) if row.revision_id in seen]
    passages = made.corpus.passages([row.chunk_id for row in rows])
    mentions, relations = made.corpus.mentions(0), made.corpus.relations(0)
    names = made.corpus.entity_names(sorted({m[1] for m in mentions} | {i for r in relations for i in (r[1], r[3])}))
    found = []
    for row in rows:
        passage, sentences = passages[row.chunk_id]
        named = sorted((names[entity], title) for chunk, entity, title in mentions if chunk == row.chunk_id)
        stated = sorted((names[r[1]], r[2], names[r[3]], r[4], r[5]) for r in relations if r[0] == row.chunk_id)
        place = (passage.chunk_id, passage.document_id, passage.start, passage.end, passage.page, passage.heading)
        found.append((*place, row.text, sentences, tuple(named), tuple(stated), row.vector.tobytes()))
    return sorted(found, key=str)


def results(made: FastWorkspace, questions: Sequence[str]) -> list[list[dict[str, Any]]]:
    """What each principal is shown for each question, best first."""
    state = made.snapshots.live()
    return [
        [shown(passage) for passage in made.searcher.search(question, state, principal, 10).passages]
        for question in questions
        for principal in PRINCIPALS
    ]


def shown(passage: Passage) -> dict[str, Any]:
    """A passage without the number of its revision, as JSON values."""
    fields = asdict(passage)
    del fields["revision"]
    found: dict[str, Any] = json.loads(json.dumps(fields))
    return found


def check_same_results(mine: list[list[dict[str, Any]]], theirs: list[list[dict[str, Any]]]) -> None:
    """The same passages in the same order, alike in all they show; scores to 5e-6 (order of sums)."""
    for one, other in zip(mine, theirs, strict=True):
        assert [passage["chunk_id"] for passage in one] == [passage["chunk_id"] for passage in other]
        scores = [[passage["score"] for passage in found] for found in (one, other)]
        assert scores[0] == pytest.approx(scores[1], abs=5e-6)
        unscored = [[{**passage, "score": None} for passage in found] for found in (one, other)]
        assert unscored[0] == unscored[1]

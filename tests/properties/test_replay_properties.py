"""Whatever happens after an answer, it is made again byte for byte: later documents, rules and withdrawals change
nothing about the past."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from fast_parts import scratch
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from test_visibility_properties import DOCUMENTS, PRINCIPALS, QUESTIONS, Store, library, publish, regroup, rollback

from kernel.errors import Conflict
from kernel.records import LOCAL_OWNER, Question
from kernel.storage.access import Withdrawals
from kernel.storage.schema import document

withdraw = st.tuples(st.sampled_from(["withdraw", "restore"]), st.integers(0, DOCUMENTS - 1), st.none())
ask = st.tuples(st.just("ask"), st.sampled_from(QUESTIONS), st.tuples(st.sampled_from(PRINCIPALS), st.booleans()))
reindex = st.tuples(st.just("reindex"), st.none(), st.none())
histories = st.lists(
    st.one_of(publish, publish, rollback, regroup, withdraw, ask, ask, reindex), min_size=4, max_size=14
)


def do(store: Store, what: str, one: Any, two: Any) -> None:
    made = store.made
    newest = max((info.number for info in made.snapshots.items()), default=0)
    if what == "publish":
        made.snapshots.publish("step", {store.rows[r] for r in one}, {store.rows[r] for r in two - one})
    elif what == "rollback":
        made.snapshots.rollback(one % (newest + 1))
    elif what == "groups":
        made.catalog.set_groups({store.documents[one]: two})
    elif what == "reindex":
        made.library.rebuild()
    elif what == "ask":
        who, past = two
        made.answering.ask(Question(one, who, as_of=newest // 2 if past else None))
    else:
        withdrawals = Withdrawals(made.database)
        act = withdrawals.withdraw if what == "withdraw" else withdrawals.restore
        names = {row.public_id for row in documents(store) if row.row == store.documents[one]}
        with suppress(Conflict):  # it is so already
            act(names, {"reason": "a step"})


def documents(store: Store) -> list[Any]:
    with store.made.database.read() as connection:
        return list(connection.execute(select(document.c.public_id, document.c.id.label("row"))))


@pytest.mark.slow
@given(library, histories)
def test_any_history_leaves_replays_identical(texts: list[list[str]], history: list[tuple[str, Any, Any]]) -> None:
    with scratch() as root:
        store = Store(root, texts)
        with store.made:
            store.made.snapshots.publish("first", {store.rows[(d, 0)] for d in range(DOCUMENTS)}, set())
            store.made.answering.ask(Question(QUESTIONS[0], PRINCIPALS[1]))
            for what, one, two in history:
                do(store, what, one, two)
            for _, record in store.made.answers.items(LOCAL_OWNER, limit=100):
                report = store.made.replayer.replay(record.id, LOCAL_OWNER)
                wrong = [stage for stage in report["stages"] if not stage["identical"]]
                assert wrong == []
            assert list(store.made.verifier.faults()) == []

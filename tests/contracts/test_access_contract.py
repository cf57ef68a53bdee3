"""Access rules by version: what a record pins can be asked again, and a new question sees only what holds now."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_samples import RECIPE, revision

from kernel.errors import Conflict, NotFound
from kernel.ids import derived_id
from kernel.records import LOCAL_OWNER, Principal, Role
from kernel.storage.access import Withdrawals
from kernel.storage.catalog import Catalog
from kernel.storage.database import Database
from kernel.storage.ledger import Ledger
from kernel.storage.ledger_checks import store_faults
from kernel.storage.snapshots import Snapshots

NOBODY = Principal("key_nobody", Role.APP)
STAFF = Principal("key_staff", Role.APP, frozenset({"staff"}))
DOC = derived_id("doc", "handbook", "a")


@pytest.fixture
def stored(catalog: Catalog, snapshots: Snapshots) -> list[int]:
    """Two revisions of documents `a` and `b`, published."""
    births = catalog.stage(catalog.source_id("handbook", "/"), RECIPE, [revision("a"), revision("b")])
    snapshots.publish("first", births, [])
    return births


def test_a_withdrawn_document_is_gone_from_every_snapshot_until_it_is_restored(
    database: Database, catalog: Catalog, snapshots: Snapshots, ledger: Ledger, stored: list[int]
) -> None:
    withdrawals = Withdrawals(database)
    leaf, names = withdrawals.withdraw([DOC], {"reason": "wrong"})
    assert names == [DOC]
    assert (ledger.leaf(leaf).kind, ledger.leaf(leaf).subject) == ("document.withdrawn", DOC)
    for principal in (LOCAL_OWNER, STAFF):
        assert snapshots.visible_revisions(1, principal) == stored[1:]
    assert [item.path for item in catalog.documents(1, LOCAL_OWNER, limit=9)] == ["b"]
    with pytest.raises(NotFound):
        catalog.document(DOC, 1, LOCAL_OWNER)
    assert [(item.id, item.path, item.leaf) for item in withdrawals.items()] == [(DOC, "a", leaf)]
    assert snapshots.visible_revisions(1, LOCAL_OWNER, 0) == stored, "a record of before sees what it saw"
    with pytest.raises(Conflict, match="withdrawn already"):
        withdrawals.withdraw([DOC], {})
    withdrawals.restore([DOC], {})
    assert (snapshots.visible_revisions(1, LOCAL_OWNER), withdrawals.items()) == (stored, [])
    assert list(store_faults(database, ledger)) == []


def test_what_cannot_be_withdrawn_or_restored_is_refused_whole(database: Database, stored: list[int]) -> None:
    withdrawals = Withdrawals(database)
    with pytest.raises(NotFound, match="no document doc_none"):
        withdrawals.withdraw([DOC, "doc_none"], {})
    with pytest.raises(Conflict, match="not withdrawn"):
        withdrawals.restore([DOC], {})
    assert (len(stored), withdrawals.items()) == (2, [])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12, deadline=None)
@given(
    changes=st.lists(
        st.one_of(
            st.tuples(st.just("groups"), st.sampled_from("ab"), st.sampled_from([None, ("staff",), ("board",)])),
            st.tuples(st.just("withdraw"), st.sampled_from("ab"), st.none()),
            st.tuples(st.just("restore"), st.sampled_from("ab"), st.none()),
        ),
        max_size=8,
    )
)
def test_every_version_can_be_asked_again(
    database: Database,
    catalog: Catalog,
    snapshots: Snapshots,
    ledger: Ledger,
    stored: list[int],
    changes: list[tuple[str, str, object]],
) -> None:
    """One history: each case goes on where the last one ended."""
    rows = catalog.document_rows(catalog.source_id("handbook", "/"), ["a", "b"])
    number = snapshots.live().snapshot
    seen: dict[int, list[list[int]]] = {}
    for kind, path, groups in changes:
        try:
            if kind == "groups":
                catalog.set_groups({rows[path]: groups})  # type: ignore[dict-item]
            else:
                getattr(Withdrawals(database), kind)([derived_id("doc", "handbook", path)], {})
        except Conflict:
            pass
        version = snapshots.live().access_version
        seen[version] = [snapshots.visible_revisions(number, who) for who in (LOCAL_OWNER, STAFF, NOBODY)]
    for version, views in seen.items():
        assert [snapshots.visible_revisions(number, who, version) for who in (LOCAL_OWNER, STAFF, NOBODY)] == views
    assert list(store_faults(database, ledger)) == []
    assert len(stored) == 2

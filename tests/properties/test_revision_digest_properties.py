"""The digest that ingest makes of what it stores is the one that verification reads back."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from fast_parts import FastWorkspace, fast_workspace, scratch, stored_revision
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from kernel.storage.rows import revision_digests
from kernel.storage.schema import revision

WORDS = st.sampled_from(
    ("Alpha Team", "Ünal", "is part of", "Lisbon", "CVE-2024-1234", "1998", "the", "2 May 2020", ".")
)


@pytest.fixture(scope="module")
def made() -> Iterator[FastWorkspace]:
    with scratch() as folder, fast_workspace(folder / "home") as workspace:
        yield workspace


@given(
    st.lists(st.lists(WORDS, max_size=80).map(" ".join), min_size=1, max_size=3),
    st.sampled_from((None, (), ("staff",), ("zeta", "Äther", "alpha", "alpha"))),
)
def test_both_digests_agree(made: FastWorkspace, texts: list[str], groups: tuple[str, ...] | None) -> None:
    name = secrets.token_hex(6)
    source = made.catalog.source_id(name, "/")
    stored = [stored_revision(f"{n}.md", text, f"Title {n}") for n, text in enumerate(texts)]
    for one in stored:
        object.__setattr__(one, "groups", groups)
    made.catalog.stage(source, "rcp", stored)
    ids = made.catalog.stage(source, "rcp2", stored)
    with made.database.read() as connection:
        kept = dict(connection.execute(select(revision.c.id, revision.c.sha256).where(revision.c.id.in_(ids))).all())
        assert revision_digests(connection, ids) == kept
    assert all(len(digest) == 64 for digest in kept.values())

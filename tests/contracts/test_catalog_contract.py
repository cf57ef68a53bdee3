"""What the catalog promises of sources, documents and revisions, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from stored_samples import RECIPE, failed, revision

from kernel.errors import NotFound
from kernel.ids import derived_id, sha256
from kernel.records import LOCAL_OWNER, Principal, Role
from kernel.storage.catalog import Catalog
from kernel.storage.corpus import Corpus
from kernel.storage.database import Database
from kernel.storage.schema import document
from kernel.storage.snapshots import Snapshots

NOBODY = Principal("key_nobody", Role.APP)


def member(*groups: str) -> Principal:
    return Principal("key_member", Role.APP, frozenset(groups))


def visible(catalog: Catalog, snapshot: int, principal: Principal = LOCAL_OWNER) -> list[str]:
    return sorted(item.path for item in catalog.documents(snapshot, principal, limit=100))


def test_a_source_is_made_once_and_keeps_its_latest_location(catalog: Catalog) -> None:
    first = catalog.source_id("handbook", "/old")
    other = catalog.source_id("another", "/other")
    assert catalog.source_id("handbook", "/new") == first != other
    assert [(item.name, item.location, item.documents) for item in catalog.sources(0)] == [
        ("another", "/other", 0),
        ("handbook", "/new", 0),
    ]


def test_nothing_staged_is_visible_until_it_is_published(catalog: Catalog, snapshots: Snapshots) -> None:
    source = catalog.source_id("handbook", "/")
    births = catalog.stage(source, RECIPE, [revision("a"), failed("b")])
    assert (catalog.documents(0, LOCAL_OWNER, limit=10), catalog.states(source, 0)) == ([], {})
    number = snapshots.publish("first", births, [])
    assert visible(catalog, number) == ["a", "b"]
    assert [item.documents for item in catalog.sources(number)] == [2]
    assert catalog.documents(number, LOCAL_OWNER, limit=10, status="failed")[0].reason == "is empty"


def test_a_document_shows_the_revision_that_its_snapshot_sees(catalog: Catalog, snapshots: Snapshots) -> None:
    source = catalog.source_id("handbook", "/")
    old = catalog.stage(source, RECIPE, [revision("a", "Old text.")])
    first = snapshots.publish("first", old, [])
    new = catalog.stage(source, RECIPE, [revision("a", "New text, longer.")])
    second = snapshots.publish("second", new, old)
    public_id = derived_id("doc", "handbook", "a")
    before, after = (catalog.document(public_id, number, LOCAL_OWNER) for number in (first, second))
    assert (before.revision, before.length, before.content_sha256) == (1, 9, sha256("Old text."))
    assert (after.revision, after.length, after.chunks, after.title) == (2, 17, 1, "Title of a")
    assert [catalog.text(public_id, number) for number in (1, 2)] == ["Old text.", "New text, longer."]
    with pytest.raises(NotFound):
        catalog.text(public_id, 3)
    with pytest.raises(NotFound):
        catalog.document(public_id, 0, LOCAL_OWNER)


def test_states_are_those_of_one_source_in_one_snapshot(catalog: Catalog, snapshots: Snapshots) -> None:
    one, other = catalog.source_id("one", "/"), catalog.source_id("other", "/")
    births = catalog.stage(one, RECIPE, [revision("a")])
    catalog.stage(other, RECIPE, [revision("b")])
    number = snapshots.publish("first", births, [])
    rows = catalog.document_rows(one, ["a", "none"])
    catalog.set_groups({rows["a"]: ("staff", "board")})
    state = catalog.states(one, number)["a"]
    assert (state.revision_id, state.document_id, state.recipe) == (births[0], rows["a"], RECIPE)
    assert (state.content_sha256, state.groups) == (revision("a").content_sha256, ("board", "staff"))
    assert (list(rows), catalog.states(other, number)) == (["a"], {})


def test_content_that_was_stored_before_is_found_again(catalog: Catalog) -> None:
    source = catalog.source_id("handbook", "/")
    made = revision("a")
    (stored,) = catalog.stage(source, RECIPE, [made])
    found = catalog.staged(source, "a", made.content_sha256, RECIPE)
    assert found is not None
    assert (found.revision_id, found.reason) == (stored, None)
    assert catalog.staged(source, "a", made.content_sha256, "rcp_other") is None
    assert catalog.staged(source, "b", made.content_sha256, RECIPE) is None
    (broken,) = catalog.stage(source, RECIPE, [failed("b")])
    again = catalog.staged(source, "b", failed("b").content_sha256, RECIPE)
    assert again is not None
    assert (again.revision_id, again.reason) == (broken, "is empty")


def test_the_same_content_is_stored_once_and_a_refused_step_leaves_nothing(
    catalog: Catalog, corpus: Corpus, database: Database
) -> None:
    source = catalog.source_id("handbook", "/")
    catalog.stage(source, RECIPE, [revision("a", "Alpha speaks.")])
    with pytest.raises(IntegrityError):
        catalog.stage(source, RECIPE, [revision("b", "Nobody yet."), revision("a", "Alpha speaks.")])
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(document)).scalar_one() == 1
    catalog.stage(source, RECIPE, [revision("c", "Other names."), revision("d", "Nobody yet.")])
    names = corpus.entity_names([entity for _, entity, _ in corpus.mentions(0)])
    first_words = {row.chunk_id: row.text.split()[0].casefold() for row in corpus.index_rows(0)}
    named = {chunk: names[entity] for chunk, entity, title in corpus.mentions(0) if not title}
    assert named == first_words, "a name learnt in a step that was undone must not be taken for a stored one"


def test_groups_decide_who_sees_a_document(catalog: Catalog, snapshots: Snapshots) -> None:
    source = catalog.source_id("handbook", "/")
    births = catalog.stage(source, RECIPE, [revision(path) for path in ("open", "staff", "both")])
    number = snapshots.publish("first", births, [])
    rows = catalog.document_rows(source, ["staff", "both"])
    catalog.set_groups({rows["staff"]: ("staff",), rows["both"]: ("staff", "board", "board")})
    assert visible(catalog, number) == ["both", "open", "staff"]
    assert visible(catalog, number, NOBODY) == ["open"]
    assert visible(catalog, number, member("staff")) == ["both", "open", "staff"]
    assert visible(catalog, number, member("board", "else")) == ["both", "open"]
    with pytest.raises(NotFound):
        catalog.document(derived_id("doc", "handbook", "staff"), number, NOBODY)
    catalog.set_groups({rows["staff"]: None, rows["both"]: ("board",)})
    assert visible(catalog, number, NOBODY) == ["open", "staff"]
    assert visible(catalog, number, member("staff")) == ["open", "staff"]


def test_groups_belong_to_a_revision_unless_set_for_the_document(catalog: Catalog, snapshots: Snapshots) -> None:
    source = catalog.source_id("handbook", "/")
    secret = catalog.stage(source, RECIPE, [revision("a", "Secret.", groups=("staff",))])
    first = snapshots.publish("secret", secret, [])
    cleared = catalog.stage(source, RECIPE, [revision("a", "Cleared.")])
    second = snapshots.publish("cleared", cleared, secret)
    assert (visible(catalog, first, NOBODY), visible(catalog, second, NOBODY)) == ([], ["a"])
    assert visible(catalog, first, member("staff")) == ["a"]
    catalog.set_revision_groups({cleared[0]: ("board",)})
    assert (visible(catalog, second, member("staff")), visible(catalog, second, member("board"))) == ([], ["a"])
    catalog.set_groups({catalog.document_rows(source, ["a"])["a"]: ()})
    assert (visible(catalog, first, NOBODY), visible(catalog, second, NOBODY)) == (["a"], ["a"])


def test_what_failed_is_shown_to_those_who_see_everything(catalog: Catalog, snapshots: Snapshots) -> None:
    births = catalog.stage(catalog.source_id("handbook", "/"), RECIPE, [revision("a"), failed("secret.pdf")])
    number = snapshots.publish("first", births, [])
    assert visible(catalog, number) == ["a", "secret.pdf"]
    assert visible(catalog, number, member("staff")) == ["a"]
    assert snapshots.visible_revisions(number, NOBODY) == births[:1]


def test_a_change_of_groups_is_noticed_by_whoever_caches(catalog: Catalog, snapshots: Snapshots) -> None:
    source = catalog.source_id("handbook", "/")
    catalog.stage(source, RECIPE, [revision("a")])
    rows = catalog.document_rows(source, ["a"])
    before = snapshots.live().access_version
    catalog.set_groups({rows["a"]: ("staff",)})
    changed = snapshots.live().access_version
    assert changed > before
    for same in ({}, {rows["a"]: ("staff", "staff")}):
        catalog.set_groups(same)
        assert snapshots.live().access_version == changed


def test_listings_page_through_every_document_once(catalog: Catalog, snapshots: Snapshots) -> None:
    source = catalog.source_id("handbook", "/")
    births = catalog.stage(source, RECIPE, [revision(f"file {n}") for n in range(7)])
    number = snapshots.publish("first", births, [])
    seen: list[str] = []
    while page := catalog.documents(number, LOCAL_OWNER, limit=3, after=seen[-1] if seen else ""):
        seen += [item.id for item in page]
    assert seen == sorted(seen)
    assert len(set(seen)) == 7


def test_many_documents_and_names_fit_into_statements(catalog: Catalog, snapshots: Snapshots) -> None:
    source = catalog.source_id("handbook", "/")
    births = catalog.stage(source, RECIPE, [revision(f"{n}", f"Word{n} is here.") for n in range(600)])
    number = snapshots.publish("first", births, [])
    rows = catalog.document_rows(source, [str(n) for n in range(600)])
    catalog.set_groups(dict.fromkeys(rows.values(), ("staff",)))
    assert len(catalog.documents(number, member("staff"), limit=2000)) == 600
    assert snapshots.visible_revisions(number, NOBODY) == []
    assert snapshots.publish("second", [], births) == number + 1
    assert snapshots.visible_revisions(number + 1, LOCAL_OWNER) == []


@pytest.mark.parametrize("text", ["", "é\u0301 \U0001f600 \u2028 'quote' \"double\" \\ %s :name"])
def test_text_comes_back_as_it_was(catalog: Catalog, text: str) -> None:
    source = catalog.source_id(f"source {text}", "/")
    catalog.stage(source, RECIPE, [revision(f"path {text}", text)])
    assert catalog.text(derived_id("doc", f"source {text}", f"path {text}"), 1) == text


def test_long_names_are_kept_whole(catalog: Catalog, snapshots: Snapshots) -> None:
    name, path, group = "s" * 1500, "p" * 1500, "g" * 400
    source = catalog.source_id(name, "/")
    births = catalog.stage(source, RECIPE, [replace(revision(path), media_type="application/x-" + "m" * 300)])
    catalog.set_groups({catalog.document_rows(source, [path])[path]: (group,)})
    number = snapshots.publish("first", births, [])
    assert visible(catalog, number, member(group)) == [path]
    assert catalog.sources(number)[0].name == name


def test_a_setting_that_was_never_set_is_none(catalog: Catalog) -> None:
    assert catalog.setting("nothing") is None

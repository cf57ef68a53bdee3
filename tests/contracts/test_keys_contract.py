"""What API keys and remembered requests promise, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from kernel.errors import Conflict, NotFound, Unauthenticated
from kernel.records import Principal, Role
from kernel.storage.database import Database
from kernel.storage.keys import Keys, Requests
from kernel.storage.schema import api_key


def test_a_secret_names_its_principal(keys: Keys) -> None:
    made, secret = keys.create(Role.APP, ["staff", "board", "staff"], "bot")
    assert keys.authenticate(secret) == Principal(made.id, Role.APP, frozenset({"board", "staff"}))
    assert (made.name, made.groups, made.revoked_at) == ("bot", ("board", "staff"), None)
    everything, other = keys.create(Role.ADMIN, None)
    assert keys.authenticate(other) == Principal(everything.id, Role.ADMIN, None)
    none, third = keys.create(Role.REVIEWER)
    assert keys.authenticate(third) == Principal(none.id, Role.REVIEWER, frozenset())
    assert [item.id for item in keys.items()] == [made.id, everything.id, none.id]


def test_a_secret_is_not_stored(keys: Keys, database: Database) -> None:
    _, secret = keys.create(Role.APP)
    with database.read() as connection:
        (row,) = connection.execute(select(api_key)).all()
    assert not any(secret in str(value) for value in row)


@pytest.mark.parametrize("secret", ["", "vouch_unknown", "' OR 1=1 --"])
def test_an_unknown_secret_is_refused(keys: Keys, secret: str) -> None:
    keys.create(Role.APP)
    with pytest.raises(Unauthenticated):
        keys.authenticate(secret)


def test_an_expired_key_is_refused_and_counts_for_nothing(keys: Keys) -> None:
    moment = datetime.now(UTC)
    _, gone = keys.create(Role.APP, expires_at=moment - timedelta(seconds=1))
    with pytest.raises(Unauthenticated):
        keys.authenticate(gone)
    assert not keys.any()
    later, good = keys.create(Role.APP, expires_at=moment + timedelta(hours=1))
    assert keys.authenticate(good).id == later.id
    assert later.expires_at == moment + timedelta(hours=1)
    assert keys.any()


def test_a_revoked_key_ends_at_once_and_stays_listed(keys: Keys) -> None:
    made, secret = keys.create(Role.APP)
    assert keys.any()
    first = keys.revoke(made.id).revoked_at
    assert first is not None
    with pytest.raises(Unauthenticated):
        keys.authenticate(secret)
    assert keys.revoke(made.id).revoked_at == first
    assert not keys.any()
    assert [item.revoked_at for item in keys.items()] == [first]
    with pytest.raises(NotFound, match="key_none"):
        keys.revoke("key_none")


def test_a_request_is_answered_once(requests: Requests) -> None:
    assert requests.seen("key_a", "k", "sha") is None
    requests.keep("key_a", "k", "sha", 201, {"id": "x", "text": "é"})
    requests.keep("key_a", "k", "sha", 500, {"late": True})
    assert requests.seen("key_a", "k", "sha") == (201, {"id": "x", "text": "é"})
    assert requests.seen("key_b", "k", "sha") is None
    with pytest.raises(Conflict, match="different request"):
        requests.seen("key_a", "k", "other")

"""Tokens and sessions in the store: which are valid, how many there are, and when they are deleted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from actionwatch.base.access import AccessRole, AccessToken, digest_of, new_secret
from actionwatch.service import prune
from actionwatch.settings import Retention
from actionwatch.store import sessions, tokens
from actionwatch.store.database import Database
from actionwatch.store.tables import SESSION
from tests.builders import NOON

HOUR = timedelta(hours=1)
SAM = AccessToken("id-1", "sam", AccessRole.OPERATOR, NOON, "admin", NOON + HOUR)


def test_a_token_is_found_by_its_secret_while_it_is_valid(database: Database) -> None:
    """A token is what was stored, by its digest alone, until it expires or is revoked."""
    secret = new_secret()
    with database.write() as connection:
        tokens.insert(connection, SAM, digest_of(secret))
        assert tokens.read_valid(connection, digest_of(secret), NOON) == SAM
        assert tokens.read_valid(connection, digest_of(secret), NOON + HOUR) is None
        assert tokens.read_valid(connection, digest_of(new_secret()), NOON) is None
        assert tokens.read_valid(connection, secret, NOON) is None
        assert tokens.revoke(connection, ["id-1"], "kim", NOON) == 1
        assert tokens.revoke(connection, ["id-1"], "eve", NOON) == 0
        assert tokens.read_valid(connection, digest_of(secret), NOON) is None
        (found,) = tokens.read_all(connection)
    assert (found.revoked_at, found.revoked_by, found.status(NOON)) == (NOON, "kim", "revoked")


def test_tokens_are_found_by_name_or_id(database: Database) -> None:
    """A name means all tokens of a person; else a prefix of an id is enough, and two show that it is not unique."""
    with database.write() as connection:
        for number, name in enumerate(("sam", "sam", "kim", "id-1")):
            token = AccessToken(f"id-{number}", name, AccessRole.READER, NOON, "admin")
            tokens.insert(connection, token, f"digest {number}")
        assert [each.id for each in tokens.find(connection, "sam")] == ["id-0", "id-1"]
        assert [each.id for each in tokens.find(connection, "id-2")] == ["id-2"]
        assert [each.id for each in tokens.find(connection, "id-1")] == ["id-3"], "a name counts before an id"
        assert len(tokens.find(connection, "id-")) == 2
        assert tokens.find(connection, "x") == []
        assert (tokens.has_name(connection, "SAM"), tokens.has_name(connection, "sa")) == (True, False)


@pytest.mark.parametrize("token", [None, SAM])
def test_a_session_lasts_as_long_as_its_token(database: Database, token: AccessToken | None) -> None:
    """A session is found until it ends; one of a token, no longer than this is valid."""
    with database.write() as connection:
        tokens.insert(connection, SAM, "digest")
        sessions.insert(connection, "cookie", token.id if token else None, NOON + 2 * HOUR)
        found = sessions.read(connection, "cookie", NOON)
        assert found is not None
        assert found.token == token
        assert (sessions.read(connection, "cookie", NOON + HOUR) is None) is (token is not None)
        assert sessions.read(connection, "cookie", NOON + 2 * HOUR) is None
        assert sessions.read(connection, "other", NOON) is None
        sessions.delete(connection, "cookie")
        assert sessions.read(connection, "cookie", NOON) is None


def test_a_session_of_a_token_that_is_gone_is_none(database: Database) -> None:
    """A session whose token the store no longer has does not become one of the shared token."""
    with database.write() as connection:
        sessions.insert(connection, "cookie", "id-1", NOON + HOUR)
        assert sessions.read(connection, "cookie", NOON) is None


def test_one_token_has_not_endless_sessions(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session that ends first makes room, and those of other tokens stay."""
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)
    with database.write() as connection:
        sessions.insert(connection, "of nobody", None, NOON + HOUR)
        for number in range(5):
            sessions.insert(connection, f"cookie {number}", "id-1", NOON + HOUR * (number + 1))
        left = connection.execute(select(SESSION.c.digest).order_by(SESSION.c.digest)).scalars().all()
    assert left == ["cookie 2", "cookie 3", "cookie 4", "of nobody"]


def test_what_ended_is_deleted(database: Database) -> None:
    """A session is deleted when it has ended, a token when its end is older than the records."""
    kept = Retention(records=timedelta(days=30))
    with database.write() as connection:
        tokens.insert(connection, SAM, "digest")
        tokens.insert(connection, AccessToken("id-2", "kim", AccessRole.READER, NOON, "admin"), "digest 2")
        sessions.insert(connection, "short", None, NOON + HOUR)
        sessions.insert(connection, "long", None, NOON + timedelta(days=90))
    for days, names, count in ((1, ["kim", "sam"], 1), (31, ["kim"], 1)):
        prune.run_once(database, kept, NOON + timedelta(days=days))
        with database.read() as connection:
            assert [each.name for each in tokens.read_all(connection)] == names
            assert connection.execute(select(func.count()).select_from(SESSION)).scalar() == count

"""`tokens`: a secret is printed once, the list shows who has access, and revoking ends it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from actionwatch.base.access import digest_of
from actionwatch.base.clock import utc_now
from actionwatch.store import tokens
from tests.integration.cli.conftest import Desk, new_desk, store_under_test


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, store_kind: str) -> Iterator[Desk]:
    """A desk whose store exists. Each test revokes what it creates."""
    with store_under_test(store_kind, "started") as store, new_desk(tmp_path_factory.mktemp("a"), store) as desk:
        assert desk.write(labels="{customer: acme, tier: gold}").call("run", "--once").status == 0
        yield desk


def test_a_token_is_created_listed_and_revoked(started: Desk) -> None:
    """The secret is the only line of the output, and is in no list; who revokes is kept."""
    made = started.call("tokens", "create", "sam", "--role", "operator", "--expires", "90d", "--author", "admin")
    assert (made.status, made.out.count("\n")) == (0, 1)
    secret = made.out.strip()
    assert secret.startswith("actionwatch_")
    assert "not shown again" in made.err
    with contextlib.closing(started.open_store()) as database, database.read() as connection:
        found = tokens.read_valid(connection, digest_of(secret), utc_now())
        assert found is not None
    listed = started.call("tokens", "list", "-o", "json")
    (token,) = listed.json
    assert secret not in listed.out
    assert {name: token[name] for name in ("id", "name", "role", "status", "created_by", "last_used_at")} == {
        "id": found.id,
        "name": "sam",
        "role": "operator",
        "status": "valid",
        "created_by": "admin",
        "last_used_at": None,
    }
    assert started.call("tokens", "revoke", found.id[:8], "--author", "kim").out == "1 token revoked\n"
    assert started.call("tokens", "list").err == "no valid tokens: --all includes revoked and expired ones\n"
    (token,) = started.call("tokens", "list", "--all", "-o", "jsonl").jsonl
    assert (token["status"], token["revoked_by"]) == ("revoked", "kim")
    assert started.call("tokens", "revoke", found.id).out == "0 tokens revoked\n"


def test_a_name_revokes_all_tokens_of_a_person(started: Desk) -> None:
    """A person may have several tokens; `create` says so, and the name revokes all of them."""
    first = started.call("tokens", "create", "kim", "-o", "json").json
    assert (first["role"], first["expires_at"]) == ("reader", None)
    second = started.call("tokens", "create", "kim")
    assert "kim has 1 other valid token" in second.err
    assert started.call("tokens", "revoke", "kim", "-o", "json").json == {"revoked": 2}


@pytest.mark.parametrize(
    ("arguments", "status", "what"),
    [
        (("create", ""), 2, "NAME is 1 to 100 printable characters"),
        (("create", " sam"), 2, "NAME is 1 to 100 printable characters"),
        (("create", "sa\nm"), 2, "NAME is 1 to 100 printable characters"),
        (("create", "x" * 101), 2, "NAME is 1 to 100 printable characters"),
        (("create", "Actionwatch"), 2, "Actionwatch is the name of the service: give each person a token with another"),
        (("create", "sam", "--expires", "2020-01-01T00:00:00Z"), 2, "give --expires a later time"),
        (("create", "sam", "--expires", "soon"), 2, "is not a time"),
        (("create", "sam", "--role", "admin"), 2, "reader"),
        (("revoke", ""), 1, "no token has the id or name : see"),
        (("revoke", "nobody"), 1, "no token has the id or name nobody: see 'actionwatch tokens list'"),
    ],
)
def test_mistakes_are_named(started: Desk, arguments: tuple[str, ...], status: int, what: str) -> None:
    """A wrong value creates nothing."""
    called = started.call("tokens", *arguments)
    assert (called.status, what in called.err) == (status, True), called.err
    assert started.call("tokens", "list", "-o", "json").json == []

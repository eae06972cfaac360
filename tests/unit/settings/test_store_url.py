"""The URL of a store in PostgreSQL: the password reaches no server that has not proved who it is."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from actionwatch.settings.keys import Store
from tests.cases import in_one_test

VARIABLES = ("PGHOST", "PGHOSTADDR", "PGSSLMODE", "PGSERVICE")
HERE = (
    "u@localhost/d", "u@127.0.0.1/d", "u@127.9.9.9:5432/d", "u@[::1]:5432/d", "u@/d", "/d", "u@/d?host=/run/postgresql",
    "u@%2Frun%2Fpostgresql/d", "u@/d?host=/run/a:5432,/run/b", "u@/d?host=localhost:1&host=127.0.0.1:2", "u@/d?hostaddr=::1",
    "u@localhost/d?sslmode=disable", "u@/d?host=@abstract",
)  # fmt: skip
ELSEWHERE = (
    "u@db/d", "u@10.0.0.5/d", "u@0.0.0.0/d", "u@db:5432/d", "u@/d?host=db", "u@localhost/d?host=db", "u@/d?host=/run,db",
    "u@localhost,db/d", "u@/d?host=localhost&host=db", "u@localhost/d?hostaddr=10.0.0.5", "u@/d?service=main",
    "u@db/d?sslmode=require", "u@db/d?sslmode=", "u@db/d?sslmode=verify-full&sslmode=disable", "u@db/d?sslrootcert=system",
    "u@localhost.example.com/d", "u@/d?host=db%3A5432",
)  # fmt: skip


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run without variables of libpq."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def is_accepted(place: str, *, insecure: bool = False) -> bool:
    """Return whether a URL is accepted. A refusal does not contain it."""
    try:
        Store(insecure=insecure, url=f"postgresql+psycopg://{place}")
    except ValidationError as exc:
        return "store.insecure: true" not in str(exc)
    return True


@in_one_test("place", HERE)
def test_this_machine_needs_no_tls(place: str) -> None:
    """A URL that names only this machine is accepted."""
    assert is_accepted(place)


@in_one_test("place", ELSEWHERE)
def test_another_host_must_prove_itself(place: str) -> None:
    """A URL that may lead to another host is accepted with TLS that verifies it, or if the configuration insists."""
    assert not is_accepted(place)
    assert is_accepted(place, insecure=True)
    if "sslmode" not in place:
        for mode in ("verify-full", "verify-ca"):
            assert is_accepted(f"{place}{'&' if '?' in place else '?'}sslmode={mode}")


@pytest.mark.parametrize(
    ("place", "variables", "accepted"),
    [
        ("u@/d", {"PGHOST": "db"}, False),
        ("u@/d", {"PGHOST": "/run,db"}, False),
        ("u@/d", {"PGHOST": "/run"}, True),
        ("u@localhost/d", {"PGHOST": "db"}, True),  # the URL counts
        ("u@localhost/d", {"PGHOSTADDR": "10.0.0.5"}, False),
        ("u@localhost/d?hostaddr=127.0.0.1", {"PGHOSTADDR": "10.0.0.5"}, True),
        ("u@localhost/d", {"PGSERVICE": "main"}, False),
        ("u@db/d", {"PGSSLMODE": "verify-full"}, True),
        ("u@db/d", {"PGSSLMODE": "require"}, False),
        ("u@db/d?sslmode=prefer", {"PGSSLMODE": "verify-full"}, False),
        ("u@db/d", {"PGSSLMODE": "verify-full", "PGSERVICE": "main"}, False),
        ("u@db/d?sslmode=verify-full", {"PGSSLMODE": "disable", "PGSERVICE": "main"}, True),
    ],
)
def test_environment_counts_as_for_libpq(
    monkeypatch: pytest.MonkeyPatch, place: str, variables: dict[str, str], accepted: bool
) -> None:
    """What a URL leaves out counts as libpq takes it from the environment."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_accepted(place) is accepted

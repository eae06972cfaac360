"""The service through a real pgbouncer in transaction mode: each transaction may have another session of the server."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import debian, http_client, postgresql
from tests.end_to_end import kit
from tests.integration.notifiers.http_end import HttpEnd
from tests.waiting import wait_until

SESSIONS = 4  # fewer than the connections of one service, so that its transactions share them


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of an empty database, through the pooler."""
    with (
        postgresql.other_database("pooled"),
        debian.pooler(postgresql.socket_folder(), SESSIONS) as place,
    ):
        yield f"postgresql+psycopg://postgres@/pooled?{place}"


def session_count() -> int:
    """Return how many sessions of the server use the database."""
    with psycopg.connect(postgresql.server_uri()) as connection:
        found = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = 'pooled'").fetchone()
    assert found is not None
    return int(found[0])


def test_service_works_through_a_pooler(
    tmp_path: Path, url: str, up: kit.Upstream, webhook: HttpEnd, soar: kit.Soar
) -> None:
    """Two replicas share the roles, alert, and take over from each other; commands of people act."""
    with contextlib.ExitStack() as stack:
        replicas = {}
        for name in ("first", "second"):
            replicas[name] = stack.enter_context(kit.Post(tmp_path / name, up, url).write(webhook).service())
            replicas[name].wait_until_up()
        replicas["second"].wait_for("role_taken")
        up.delete_cluster("eve@example.com")
        (message,) = soar.wait_for(user="eve@example.com")
        elsewhere = kit.Post(tmp_path / "elsewhere", up, url).write(webhook).folder
        acted = kit.called("alerts", "ack", message.data["id"], folder=elsewhere)
        assert acted.returncode == 0, acted.stderr
        shown = kit.called("alerts", "list", "--status", "acked", "-o", "json", folder=elsewhere)
        assert [alert["status"] for alert in json.loads(shown.stdout)] == ["acked"], shown.stderr

        replicas["first"].end()
        web = replicas["second"].wait_until_up()
        wait_until(lambda: http_client.get(f"{web}/readyz").status_code == 200, "the other replica to be ready")
        up.delete_cluster("bob@example.com")
        soar.wait_for(user="bob@example.com")
        assert len(soar.find(user="eve@example.com", type="alert.opened")) == 1
        assert session_count() <= SESSIONS
        replicas["second"].end()
        for replica in replicas.values():
            assert len(replica.events("record_hints_off")) == 1
            assert not replica.events("thread_died")
            assert not replica.events("step_failed")


def test_lease_is_kept_through_a_pooler(tmp_path: Path, url: str, up: kit.Upstream, webhook: HttpEnd) -> None:
    """Renewals reach the server through any session: the lease lasts longer than one span in the same term."""
    direct = postgresql.url_of("pooled").replace("+psycopg", "")

    def lease() -> tuple[int, float]:
        with psycopg.connect(direct) as connection:
            row = connection.execute(
                "SELECT term, extract(epoch FROM until) FROM role JOIN replica ON owner = id"
            ).fetchone()
        assert row is not None
        return row[0], float(row[1])

    with kit.Post(tmp_path / "only", up, url).write(webhook).service() as service:
        service.wait_until_up()
        term, until = lease()
        wait_until(lambda: lease()[1] > until + 8, "renewals for longer than one span")
        assert lease()[0] == term
        service.end()

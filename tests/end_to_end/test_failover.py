"""Replicas on a PostgreSQL whose primary dies: its synchronous standby takes over, and nothing is lost."""

from __future__ import annotations

import contextlib
from pathlib import Path

from tests import failover
from tests.end_to_end import kit
from tests.end_to_end.test_replicas import Replicas, assert_nothing_lost_or_doubled
from tests.integration.notifiers.http_end import HttpEnd


def test_standby_is_promoted(tmp_path: Path, up: kit.Upstream, webhook: HttpEnd, soar: kit.Soar) -> None:
    """Replicas go on with the promoted server; what happened before, during and after the failover is stored and sent."""
    with failover.pair() as servers, contextlib.ExitStack() as stack:
        replicas = Replicas(tmp_path, up, webhook, servers.url, stack)
        pair = replicas.start("one"), replicas.start("two")
        for replica in pair:
            replica.wait_until_up()
        users = [f"user{number}@example.com" for number in range(9)]
        up.delete_cluster(*users[:3])
        for user in users[:3]:
            soar.wait_for(user=user)
        replicas.wait_until_sent()
        up.delete_cluster(*users[3:6])
        servers.fail_over()
        up.delete_cluster(*users[6:])
        for user in users[3:]:
            soar.wait_for(user=user)
        replicas.wait_until_sent()
        assert_nothing_lost_or_doubled(replicas, up, soar, users)
        for replica in pair:
            replica.end()
            assert not replica.events("thread_died")

"""A power cut loses nothing that a person did: the database waits for the disk before it reports such a commit as done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, event

from actionwatch.store.database import Database
from tests.integration.cli.conftest import Desk as Commands
from tests.integration.cli.conftest import desk as commands
from tests.integration.delivery.kit import Desk
from tests.statements import is_reader

__all__ = ["commands"]

NORMAL, FULL = False, True
HOW = {"sqlite": "PRAGMA synchronous", "postgresql": "SHOW synchronous_commit"}
DURABLE = {2, "on"}  # https://sqlite.org/pragma.html#pragma_synchronous: FULL


@contextlib.contextmanager
def commits() -> Iterator[list[bool]]:
    """Collect whether each commit of a writer waits for the disk."""
    found: list[bool] = []

    def note(connection: Connection) -> None:
        if not is_reader(connection):
            found.append(connection.exec_driver_sql(HOW[connection.dialect.name]).scalar() in DURABLE)

    event.listen(Engine, "commit", note)
    try:
        yield found
    finally:
        event.remove(Engine, "commit", note)


@pytest.mark.parametrize("action", ["ack", "silence", "resolve"])
def test_button_survives_a_power_cut(database: Database, action: str) -> None:
    """The press of a button survives; what the pipeline repeats does not wait for the disk."""
    desk = Desk(database)
    with commits() as found:
        alert_id = desk.match_records()
    assert set(found) == {NORMAL}
    with commits() as found:
        assert desk.operator.act(action, alert_id, "sam").is_new
    assert found == [FULL]


def test_commands_survive_a_power_cut(commands: Commands) -> None:
    """Acknowledgements, silences and retries by commands survive."""
    commands.act("DELETE_CLUSTER", 5)
    assert commands.call("run", "--once").status == 0
    (alert,) = commands.call("alerts", "list", "-o", "json").json
    add = ("silences", "add", 'rule="cluster_deleted"', "--for", "1h", "--comment", "planned", "--author", "sam")
    with commits() as found:
        assert commands.call("alerts", "ack", alert["id"]).status == 0
        assert commands.call(*add).status == 0
    assert found.count(FULL) == 2
    (silence,) = commands.call("silences", "list", "-o", "json").json
    commands.change("UPDATE delivery SET status = 'dead'")
    with commits() as found:
        assert commands.call("silences", "expire", silence["id"]).status == 0
        assert commands.call("deliveries", "retry", "--dead").status == 0
    assert found.count(FULL) == 2

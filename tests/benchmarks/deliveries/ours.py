"""actionwatch as a contestant: its store, its outbox and its webhook, with alerts that are opened like by matching."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from sqlalchemy import Connection, Pool, event

from actionwatch.alerts.ledger import open_alert
from actionwatch.base.model import Alert, Level, Match, Record, RuleName
from actionwatch.service import app, configuration
from actionwatch.store import alerts, delivery_transitions, outbox, records

AT_ONCE = 16
FIRST_PACED = 10**6
FIRST_OF_HISTORY = 10**7


class Ours:
    """The contestant."""

    def __init__(self, url: str, folder: Path, *, synchronous: str) -> None:
        (folder / "rules").mkdir()
        config = folder / "actionwatch.yaml"
        config.write_text(
            f"sources: [{{name: b, organisation_id: o, username: u, api_key: kkkk, base_url: 'http://127.0.0.1:1'}}]\n"
            f"receivers: [{{name: hook, webhook: {{url: '{url}'}}, concurrency: {AT_ONCE}}}]\nlog: {{level: error}}\n"
        )
        # At every use of a connection, because the store sets its own value when it opens one.
        event.listen(Pool, "checkout", lambda line, *_: line.execute(f"PRAGMA synchronous={synchronous}").close())
        self._app = app.App(configuration.read_settings(config))
        app.set_up_logs(self._app.settings)
        self._worker = self._app.delivery_worker()
        self._thread = threading.Thread(target=self._worker.run)

    def fill_history(self, count: int) -> None:
        """Open so many alerts whose messages the receiver has."""
        for start in range(0, count, 1000):
            numbers = range(FIRST_OF_HISTORY + start, FIRST_OF_HISTORY + min(start + 1000, count))
            self._open(numbers)
            now = datetime.now(UTC)
            with self._app.database.write() as connection:
                due = outbox.read_due(connection, "hook", now, 1000)
                sent = {each.delivery.id: None for each in due}
                delivery_transitions.sent(connection, "hook", None, sent, now)

    def fill(self, count: int) -> None:
        """Open so many alerts."""
        for start in range(0, count, 1000):
            self._open(range(start, min(start + 1000, count)))

    def start(self) -> None:
        """Start to deliver."""
        self._thread.start()

    def add(self, number: int) -> str:
        """Open one more alert."""
        name = self._open(range(FIRST_PACED + number, FIRST_PACED + number + 1))
        self._worker.wake()
        return name

    def stop(self) -> None:
        """Stop."""
        self._worker.stop()
        self._thread.join()
        self._app.close()

    def _open(self, numbers: range) -> str:
        """Open an alert for each number, like matching. Return the delivery of the first one."""
        now = datetime.now(UTC)
        batch = [_record(number, now) for number in numbers]
        with self._app.database.write() as connection:
            records.insert_new(connection, batch)
            stored = [_stored(record, connection) for record in batch]
            opened: list[tuple[Alert, Record | None]] = [(open_alert(_match(record), now), record) for record in stored]
            alerts.insert_new(connection, [(alert, alert.id) for alert, _ in opened])
            alerts.join(connection, [(alert.id, record.id, record.occurred_at) for alert, record in opened if record])
            self._app.addressing.open(connection, [[pair] for pair in opened], now)
            return outbox.read_of_alert(connection, opened[0][0].id)[0].id


def _stored(record: Record, connection: Connection) -> Record:
    """Return the record with its local id."""
    found = records.read_by_key(connection, record.key)
    assert found is not None
    return msgspec.structs.replace(record, id=found.id)


def _record(number: int, now: datetime) -> Record:
    return Record(
        key=f"{number:016x}-{'0' * 20}",
        source="b",
        occurred_at=now,
        seen_at=now,
        action_kind="DELETE_CLUSTER",
        user_name="eve",
        raw=json.dumps({"action": "DELETE_CLUSTER", "userName": "eve", "n": number}),
    )


def _match(record: Record) -> Match:
    return Match(RuleName("r", "cluster_deleted", "Cluster deleted"), record, Level.CRITICAL, "eve deleted it", "body")

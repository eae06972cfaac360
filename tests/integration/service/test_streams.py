"""People see a stream that lags, retention keeps what it has not sent, and it is forgotten with its configuration."""

from __future__ import annotations

from datetime import timedelta

from actionwatch.service import prune
from actionwatch.service.prune import Lookback
from actionwatch.service.streams import StreamWatch, build_plan, forget_removed
from actionwatch.settings import Retention
from actionwatch.settings import Stream as StreamSettings
from actionwatch.store import records, self_alerts, streams
from actionwatch.store.streams import Health, KeptMessage, Position
from actionwatch.streams import positions
from actionwatch.text.options import Options
from tests.builders import NOON, make_record
from tests.integration.kit import KindRule, Post

HOUR = timedelta(hours=1)


def stream(**keys: object) -> StreamSettings:
    """Return a stream of the configuration."""
    return StreamSettings.model_validate({"name": "lake", "type": "redis", "options": Options(), **keys})


def begun(post: Post, *configured: StreamSettings) -> StreamWatch:
    """Begin streams, and return their watch."""
    with post.database.write() as connection:
        for each in configured:
            positions.begin(connection, build_plan(each), post.clock())
    return StreamWatch(configured, post.database, post.troubles, post.clock)


def change(post: Post, health: Health) -> None:
    """Set the health of the stream."""
    with post.database.write() as connection:
        streams.write_health(connection, "lake", health)


def troubles(post: Post) -> list[str]:
    """Return what the open self-alerts of streams say."""
    with post.database.read() as connection:
        return [each.what for each in self_alerts.read_all(connection) if each.trouble == "stream_lagging"]


def test_stream_that_lags_is_reported_until_it_has_caught_up(post: Post) -> None:
    """A record that waits longer than `max_lag` opens a self-alert with the error; it resolves when the record is sent."""
    watch = begun(post, stream(start="beginning"))
    post.store(make_record(1))
    post.clock.advance(minutes=9)
    watch.run_once()
    assert troubles(post) == []
    change(post, Health(failing_since=NOON, last_error="cannot connect"))
    post.clock.advance(minutes=1)
    watch.run_once()
    assert troubles(post) == ["its oldest message has been waiting for 10m, because cannot connect"]
    with post.database.write() as connection:
        streams.write_position(connection, "lake", "record", Position(1))
    watch.run_once()
    assert troubles(post) == []


def test_refused_messages_are_reported_until_a_person_decides(post: Post) -> None:
    """A message that the destination refused is visible until it is sent again or dropped."""
    watch = begun(post, stream())
    kept = KeptMessage(
        message_id="m", kind="record", row_id=1, at=NOON, partition_key="", content_type="", body=b"", refused_at=NOON
    )
    with post.database.write() as connection:
        streams.keep(connection, "lake", [kept])
    watch.run_once()
    assert troubles(post) == ["its destination refused 1 message; see 'actionwatch streams refused'"]
    with post.database.write() as connection:
        streams.drop_refused(connection, "lake")
    watch.run_once()
    assert troubles(post) == []


def test_removed_stream_is_forgotten_with_its_self_alert(post: Post) -> None:
    """The rows of a stream that is no longer configured are deleted, and its self-alert resolves."""
    watch = begun(post, stream(start="beginning"))
    post.store(make_record(1))
    post.clock.advance(hours=1)
    watch.run_once()
    assert len(troubles(post)) == 1
    forget_removed(post.database, [])
    StreamWatch([], post.database, post.troubles, post.clock).run_once()
    assert troubles(post) == []
    with post.database.read() as connection:
        assert streams.read_all(connection) == {}


def test_retention_keeps_what_a_stream_has_not_sent(post: Post) -> None:
    """A record is deleted after every stream of the configuration has sent it, however old it is."""
    begun(post, stream(start="beginning"), stream(name="other", what="alerts"))
    post.store(make_record(1), make_record(2))
    post.matcher(KindRule(kind="NONE")).run_once()
    post.clock.advance(days=20)
    retention = Retention(records=timedelta(days=10))
    assert prune.run_once(post.database, retention, post.clock(), Lookback(streams=("lake", "other")))["records"] == 0
    with post.database.write() as connection:
        streams.write_position(connection, "lake", "record", Position(1))
    assert prune.run_once(post.database, retention, post.clock(), Lookback(streams=("lake", "other")))["records"] == 1
    assert prune.run_once(post.database, retention, post.clock(), Lookback())["records"] == 1
    with post.database.read() as connection:
        assert records.newest_id(connection) == 0

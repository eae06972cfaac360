"""The check of the disk opens and resolves a self-alert."""

from __future__ import annotations

from pathlib import Path

from actionwatch.service.disk import check_disk
from actionwatch.store import alerts, self_alerts
from tests.integration.kit import Post


def test_nearly_full_disk_opens_a_self_alert(post: Post, tmp_path: Path) -> None:
    """A nearly full disk opens an alert, which resolves when there is room again."""
    store = tmp_path / "store.db"
    check_disk(store, post.troubles, low_bytes=0)
    assert _open(post) == []
    check_disk(store, post.troubles, low_bytes=2**62, low_share=1.0)
    assert _open(post) == [("store_nearly_full", "store.db")]
    check_disk(store, post.troubles, low_bytes=0)
    assert _open(post) == []


def test_disk_alert_of_a_renamed_store_resolves(post: Post, tmp_path: Path) -> None:
    """The alert of a full disk resolves, with the reason, if the store has another name now."""
    check_disk(tmp_path / "old.db", post.troubles, low_bytes=2**62, low_share=1.0)
    check_disk(tmp_path / "new.db", post.troubles, low_bytes=2**62, low_share=1.0)
    assert _open(post) == [("store_nearly_full", "new.db")]
    with post.database.read() as connection:
        bodies = [alert.body for alert in alerts.read_newest(connection, 2)]
    assert any(body.endswith("Resolved: the store is new.db now") for body in bodies)


def _open(post: Post) -> list[tuple[str, str]]:
    with post.database.read() as connection:
        return [(each.trouble, each.subject) for each in self_alerts.read_all(connection)]

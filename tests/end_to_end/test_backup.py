"""`store backup` and `store restore` beside a running service, and what the service does with a restored store."""

from __future__ import annotations

from tests.end_to_end import kit
from tests.integration.notifiers.http_end import HttpEnd
from tests.waiting import wait_until


def test_a_backup_brings_back_everything(post: kit.Post, webhook: HttpEnd, soar: kit.Soar) -> None:
    """A restored service reads what happened since the backup again, and sends its alerts again with the same ids."""
    post.write(webhook)
    with post.service() as service:
        service.wait_until_up()
        post.upstream.delete_cluster("before@example.com")
        soar.wait_for(user="before@example.com")
        wait_until(lambda: post.states() == [("sent", 1)], "the record of the first message", post.states)
        saved = kit.called("store", "backup", "saved.db", folder=post.folder)
        assert (saved.returncode, saved.stderr) == (0, "")
        assert saved.stdout == f"saved.db: {(post.folder / 'saved.db').stat().st_size:,} bytes\n"
        again = kit.called("store", "backup", "saved.db", folder=post.folder)
        assert again.returncode == 1
        assert "saved.db exists, and nothing is overwritten" in again.stderr
        refused = kit.called("store", "restore", "saved.db", "--replace", folder=post.folder)
        assert refused.returncode == 1
        assert "another actionwatch runs on" in refused.stderr
        post.upstream.delete_cluster("after@example.com")
        soar.wait_for(user="after@example.com")
        wait_until(lambda: post.states() == [("sent", 2)], "the record of the second message", post.states)
        service.end()
    refused = kit.called("store", "restore", "saved.db", folder=post.folder)
    assert refused.returncode == 1
    assert "add --replace, which keeps it under another name" in refused.stderr
    assert post.states() == [("sent", 2)]
    restored = kit.called("store", "restore", "saved.db", "--replace", folder=post.folder)
    assert (restored.returncode, restored.stderr) == (0, "")
    (kept,) = post.folder.glob("actionwatch.db.replaced-*Z")
    assert restored.stdout.endswith(f"restored from saved.db; the store that was there is now {kept}\n")
    assert post.states() == [("sent", 1)]
    with post.service() as service:
        service.wait_until_up()
        wait_until(lambda: post.states() == [("sent", 2)], "the second message again", post.states)
        service.end()
    assert len(soar.find(user="before@example.com", type="alert.opened")) == 1
    sent = soar.find(user="after@example.com", type="alert.opened")
    assert len(sent) == 2
    assert sent[0].id == sent[1].id

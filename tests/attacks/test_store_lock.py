"""Other users of the machine, and the lock file of the store."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from actionwatch.base.errors import StoreError
from tests.builders import open_database


@pytest.mark.parametrize("left_by", [None, 0o644, 0o666])
def test_nobody_else_can_hold_the_lock(tmp_path: Path, left_by: int | None) -> None:
    """Who can open the lock file can hold the lock, and keep the service from starting. An older version left it readable."""
    database = open_database(tmp_path)
    lock = tmp_path / "store.db.lock"
    before = os.umask(0)
    try:
        if left_by is not None:
            lock.touch()
            lock.chmod(left_by)
        with database.joined():
            assert stat.S_IMODE(lock.stat().st_mode) == 0o600
            assert database.is_owned()
    finally:
        os.umask(before)
        database.close()


def test_link_in_place_of_the_lock_destroys_no_file(tmp_path: Path) -> None:
    """A link that somebody planted in place of the lock is refused with its name, and its target stays as it is."""
    database = open_database(tmp_path)
    target = tmp_path / "precious"
    target.write_text("content")
    target.chmod(0o644)
    (tmp_path / "store.db.lock").symlink_to(target)
    with pytest.raises(StoreError, match=r"store\.db\.lock: .*link"), database.joined():
        pass
    assert target.read_text() == "content"
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    database.close()

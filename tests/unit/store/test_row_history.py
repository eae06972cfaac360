"""Whoever changes a row that changes appends its version: no other statement writes these tables."""

from __future__ import annotations

import re
from pathlib import Path

import actionwatch.store
from actionwatch.store.sealed_tables import SEALED, VERSIONED

_NAMES = "|".join(name.upper() for name in {**SEALED, **VERSIONED})
_DIRECT = re.compile(rf"connection\.execute\(\s*({_NAMES})\.(update|delete)\(\).*")
WITHOUT_VERSION = {
    "DELIVERY.update().where(*its).values(**_UNLEASED))",
    "DELIVERY.update().where(*behind, *is_early).values(due_at=due_at))",
    "DELIVERY.update().where(is_of_storm).values(due_at=_moved(DELIVERY.c.due_at, step)))",
    "DELIVERY.update().where(IS_PENDING).values(started_at=started_at))",
    "TOKEN.update().where(TOKEN.c.id == token_id).values(last_used_at=now))",
    "RECORD.update().where(RECORD.c.id == row.id).values(vanished_at=at))",
    "RECORD.update().where(*is_it).values(vanished_at=None))",
}
"""Statements that change only columns which no seal attests."""


def test_no_statement_changes_a_sealed_row_without_its_history() -> None:
    """In the store, an UPDATE or a DELETE of a sealed table goes through `row_history` or `seals`."""
    found = set()
    for path in Path(actionwatch.store.__file__).parent.glob("*.py"):
        found |= {each[0].partition("execute(")[2] for each in _DIRECT.finditer(path.read_text())}
    assert found == WITHOUT_VERSION

"""The alerts of the shipped rules over 200,000 records are those of the golden file."""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path
from typing import Any

from tests.golden.kit import FOLDER, is_rewriting
from tests.golden.log import write_log
from tests.integration.cli.conftest import call

GOLDEN = FOLDER / "backtest.jsonl.xz"
RULES = FOLDER.parents[1] / "rules"


def test_the_shipped_rules_open_the_same_alerts(tmp_path: Path) -> None:
    """Each alert has the same id, rule, level, group, number of records, times and lateness."""
    log = tmp_path / "log.jsonl"
    write_log(log)
    called = call("rules", "backtest", str(RULES), "--records", str(log), "-o", "jsonl")
    assert called.status == 0, called.err
    lines = [hashlib.sha256(log.read_bytes()).hexdigest(), *map(_line, called.jsonl)]
    if is_rewriting():
        GOLDEN.write_bytes(lzma.compress("".join(f"{each}\n" for each in lines).encode(), preset=9))
    golden = lzma.decompress(GOLDEN.read_bytes()).decode().splitlines()
    assert lines[0] == golden[0], "the log itself changed, not what the rules make of it"
    gone, new = sorted(set(golden) - set(lines)), sorted(set(lines) - set(golden))
    assert (gone, new) == ([], []), f"{len(gone)} alerts are gone, {len(new)} are new: {gone[:3]} {new[:3]}"
    assert lines == golden, "the same alerts come in another order"


def _line(alert: dict[str, Any]) -> str:
    fields = [alert[name] for name in ("level", "group", "count", "first_at", "last_at", "late", "id")]
    return json.dumps([alert["rule"]["name"], *fields])

"""Seeded attacks of every kind break no promise, and none costs much. `--soak N` runs N of each."""

from __future__ import annotations

import json
import sys

import pytest

from tests.children import run_child
from tests.supply_chain.locks import ROOT
from tests.waiting import LIMIT

MEMORY_BYTES = 200 * 1024**2  # by which the process grows; large cases have some MB
# For each kind, how many attacks take a second or two, and outcomes that must be among theirs.
KINDS = {
    "rule_files": (12, {"loaded", "refused"}),
    "slack": (12, {"obeyed", "refused"}),
    "smtp": (12, {"sent", "TransientDeliveryError", "PermanentDeliveryError"}),
    "upstream": (4, {"read", "BadResponse"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_attacks_break_no_promise(kind: str, soak: int, first_seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    """No attack raises an unexpected error, hangs, fills the memory or keeps the next honest input from its effect."""
    default, expected = KINDS[kind]
    count = soak or default
    command = [sys.executable, "-m", "tests.attacks.soak", kind, str(first_seed), str(count)]
    ended = run_child(command, cwd=ROOT, limit=LIMIT + 30 * soak)
    assert ended.returncode == 0, f"replay the last seed with --soak 1 --soak-from SEED:\n{ended.stderr[-3000:]}"
    found = json.loads(ended.stdout.splitlines()[-1])
    with capsys.disabled():
        seconds, seed = found["cpu"]
        print(f"\n{kind}: {count} attacks; the worst took {seconds:.2f} s of CPU (seed {seed}), "
              f"memory grew by {found['memory_bytes'] / 1024**2:.0f} MiB; {found['outcomes']}")  # fmt: skip
    assert found["memory_bytes"] < MEMORY_BYTES
    outcomes = {word for words in found["outcomes"] for word in words.split(", ")}
    if count >= default:  # one attack shows nothing about the variety
        assert outcomes >= expected

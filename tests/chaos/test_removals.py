"""Whatever is removed or renamed, no row of the store stays unfinished."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from actionwatch.base.delivery import DeliveryState
from actionwatch.base.model import Status
from actionwatch.store.tables import METADATA
from tests.chaos.removals import FarEnds, Removal, Tally
from tests.integration.notifiers.http_end import HttpEnd
from tests.integration.notifiers.smtp_end import SmtpEnd
from tests.upstreams import serving

SEEDS = (3, 6, 7, 8, 9)  # together their stores have rows in every state; about 40 s of CPU


@pytest.fixture
def ends() -> Iterator[FarEnds]:
    """Serve two upstreams, a webhook and a mailbox."""
    with ExitStack() as stack:
        served = [stack.enter_context(serving()) for _ in range(2)]
        made = FarEnds([switch for switch, _ in served], [url for _, url in served])
        hook = stack.enter_context(HttpEnd(made.reply))
        mail = stack.enter_context(SmtpEnd())
        made.hook_url, made.smtp_port = hook.url, mail.port
        yield made


def test_removals_leave_no_row_unfinished(
    tmp_path: Path, ends: FarEnds, soak: int, first_seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """No row stays in a state without an owner, every dead letter is counted, and no self-alert outlives its subject."""
    tally, wrong = Tally(), list[str]()
    for seed in range(first_seed, first_seed + max(soak // 40, 1)) if soak else SEEDS:
        folder = tmp_path / str(seed)
        folder.mkdir()
        wrong += Removal(seed, folder, ends, tally).play()
    with capsys.disabled():
        print(f"\nchaos: {tally.line()}")
    assert not wrong, "replay one with --soak 1 --soak-from SEED:\n" + "\n".join(wrong[:40])
    if not soak:  # otherwise the result would say nothing about rows in that state
        states = [f"{state.status} awaiting" if state.awaits_summary else state.status for state in DeliveryState]
        assert {*METADATA.tables, *states, *Status} <= tally.states
        assert {"suppressed by silence", "suppressed by mute", "leased", "escalation", "paused"} <= tally.states
        assert {"absent open", "actionwatch_self open", "leased by a receiver that stays"} <= tally.states

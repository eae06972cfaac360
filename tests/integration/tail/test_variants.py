"""Every variant and fault of the upstream: what its polls prove, how, with how many requests, and what they report.

Nothing is lost or stored twice under any of them. Faults of responses and of the transport are played over real HTTP; the
others change only the JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from typing import NamedTuple

import pytest

from actionwatch.base.model import RecordFilter
from actionwatch.emulator.log import Action
from actionwatch.instaclustr.kinds import UNNAMED_KIND
from actionwatch.store import marks, receipts, record_search
from actionwatch.store.database import Database
from actionwatch.tail.source import SourceTail
from actionwatch.tail.state import PollReport
from tests.emulated import OF_RESPONSES, every_variant
from tests.upstreams import SOURCE, DirectClient, Switch, World, client_of, open_troubles, self_watch, tail_of
from tests.waiting import PATIENT

MADE_UP = (UNNAMED_KIND, "\ufffd")  # by faults that add their own object to the records
ENDLESS = ("hang", "slow")
TIMEOUT = timedelta(seconds=0.3)  # for responses that do not end
KINDS = ("BACKUP", "CREATE_CLUSTER", "INVITE_USER", "DELETE_CLUSTER", "ADD_NODE")

Seen = Counter[tuple[str, str | datetime]]


class Expected(NamedTuple):
    """What three polls of a few pages leave: the methods in receipts, self-alerts, and at most so many requests."""

    methods: set[str]
    troubles: list[str]
    requests: int


COUNTS, TOTALS, WALKS, PARTITION = "counts", "totals", "two walks", "two walks, partition"
AS_USUAL = Expected({COUNTS}, [], 40)
WITHOUT_TOTALS = Expected({WALKS, PARTITION}, [], 53)
WITHOUT_KINDS = Expected({COUNTS, TOTALS}, [], 30)
UNREADABLE = Expected(set(), ["upstream_unreachable"], 22)
REFUSED = Expected(set(), ["key_refused"], 0)
OTHERWISE: dict[str, Expected] = {
    "vanish": Expected({COUNTS}, ["window_shrunk"], 4),
    "times_ignored:both": Expected({COUNTS}, ["filter_ignored"], 192),
    "times_ignored:start": Expected({COUNTS}, ["filter_ignored"], 60),
    "times_ignored:end": Expected({COUNTS}, ["filter_ignored"], 152),
    "filter_ignored:all total:absent counts:absent": Expected({WALKS}, ["filter_ignored"], 57),
    "index_ignored": UNREADABLE,
    "index_of_pages": Expected({COUNTS, WALKS}, [], 76),
    "appear": Expected(set(), ["proof_lagging"], 513),
    "odd_record": UNREADABLE,
    "total:zero": WITHOUT_TOTALS,
    "total:more": Expected(set(), ["proof_lagging"], 216),
    "total:fewer": WITHOUT_TOTALS,
    "total:page": WITHOUT_TOTALS,
    "total:absent counts:absent": WITHOUT_TOTALS,
    "counts:null": Expected({TOTALS}, [], 30),
    "counts:absent": Expected({TOTALS}, [], 30),
    "counts:empty": WITHOUT_KINDS,
    "counts:page": WITHOUT_KINDS,
    "counts:more": WITHOUT_KINDS,
    "counts:fewer": WITHOUT_KINDS,
    "resources:null": Expected(set(), ["proof_lagging"], 10),
    "resources:absent": Expected(set(), ["proof_lagging"], 10),
    "envelope:records": WITHOUT_TOTALS,
    "envelope:empty_list": WITHOUT_TOTALS,
    "envelope:several": Expected({TOTALS, WALKS}, [], 122),
    "unauthorised": REFUSED,
    "forbidden": REFUSED,
}
"""What is not `AS_USUAL`: by fault, with or without its variant. `OF_RESPONSES` are `UNREADABLE` unless they are named here."""
READABLE = ("clock", "no_date", "gzip:sound")
TOGETHER = ["total:absent counts:absent", "filter_ignored:all total:absent counts:absent"]
"""Faults that make the counts unusable only together."""


def expected_of(variant: str) -> Expected:
    """Return what the polls must leave."""
    fault = variant.partition(":")[0]
    is_unreadable = fault in OF_RESPONSES and not variant.startswith(READABLE)
    return OTHERWISE.get(variant) or OTHERWISE.get(fault) or (UNREADABLE if is_unreadable else AS_USUAL)


def arrive(world: World, count: int, spread: int) -> None:
    """Log some actions of the last seconds, every seventh of them several times."""
    organisation = world.organisation
    account = organisation.inventory.accounts[0]
    cluster = organisation.inventory.clusters[0]
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        times = 1 + number % 7 % 3 if number % 7 == 4 else 1
        where = {} if kind == "INVITE_USER" else {"account": account, "cluster": cluster}
        world.log(kind, ago=spread - number * spread // count, times=times, **where)


def poll(world: World, tail: SourceTail, visible: Seen, *, by_time: bool) -> PollReport:
    """Poll once. If the window is proved, the store must contain what was visible before the poll."""
    visible |= count_actions(world.organisation.visible(world.clock()), by_time=by_time)
    report = tail.run_once()
    assert report.error or report.unproved or report.proved_count, "the poll neither proved nor reported anything"
    return report


def count_actions(actions: list[Action], *, by_time: bool) -> Seen:
    return Counter((action.kind, action.at if by_time else action.description) for action in actions)


def kept(database: Database, *, by_time: bool) -> Seen:
    with database.read() as connection:
        found = list(record_search.stream(connection, RecordFilter()))
    return Counter(
        (record.action_kind, record.occurred_at if by_time else record.description or "")
        for record in found
        if record.action_kind not in MADE_UP
    )


@pytest.mark.parametrize("variant", [*every_variant(), *TOGETHER])
def test_variant_loses_and_doubles_nothing(
    variant: str, world: World, database: Database, served: tuple[Switch, str]
) -> None:
    """Under this variant no record is lost or stored twice, and the receipts and self-alerts are those of the table."""
    switch, url = served
    switch.app = world.app
    account = world.organisation.inventory.add_account("payments")
    world.organisation.inventory.add_cluster("payments-prod", account=account)
    by_time = variant.startswith("description_name")
    is_over_http = variant.partition(":")[0] in OF_RESPONSES
    visible: Seen = Counter()

    @contextmanager
    def tailing(timeout: timedelta) -> Iterator[SourceTail]:
        direct = DirectClient(world.emulator, world.clock)
        with client_of(url, world.organisation.id, world.clock, timeout) if is_over_http else direct as client:
            watch = self_watch(database, client, world.clock, "BETWEEN")
            yield tail_of(database, client, world.clock, watch, start=timedelta(hours=1))

    with tailing(TIMEOUT if variant in ENDLESS else PATIENT) as tail:
        if variant == "vanish":
            arrive(world, 10, 600)
            poll(world, tail, visible, by_time=by_time)
        world.faults.set(*variant.split())
        arrive(world, 20, 600)
        reports = []
        for _ in range(2):
            reports.append(poll(world, tail, visible, by_time=by_time))
            world.clock.advance(seconds=30)
            arrive(world, 5, 25)
        world.clock.advance(seconds=30)
        reports.append(poll(world, tail, visible, by_time=by_time))
        with database.read() as connection:
            methods = {receipt.method for receipt in receipts.stream(connection, SOURCE)}
        expected = expected_of(variant)
        assert (methods, open_troubles(database)) == (expected.methods, expected.troubles)
        assert sum(report.request_count for report in reports) <= expected.requests
        if reports[-1].error or reports[-1].unproved:
            world.faults.clear()
            world.clock.advance(seconds=30)
            with tailing(PATIENT) if variant in ENDLESS else nullcontext(tail) as tail:
                reports.append(poll(world, tail, visible, by_time=by_time))
            assert not reports[-1].error
            assert not reports[-1].unproved
            assert not set(expected.troubles) & set(open_troubles(database))
        held = kept(database, by_time=by_time)
        truth = count_actions(world.organisation.truth(), by_time=by_time)
        assert visible - held == Counter(), "lost"
        assert held - truth == Counter(), "doubled"
        with database.read() as connection:
            found = marks.read(connection, SOURCE)
        assert found is not None
        assert found.proved_through <= world.clock() or variant.startswith("clock")

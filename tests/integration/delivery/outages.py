"""One hour of trouble at the real far end of a receiver, in virtual time, with a new process for each record.

Only the clock of the pipeline is virtual. The sockets, their timeouts and the delays of the far end are real. The table in
docs/receivers.md is the output of `python -m tests.integration.delivery.outages`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import structlog

import actionwatch
from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.delivery import Delivery, DeliveryStatus
from actionwatch.delivery.attempt import Channel
from actionwatch.delivery.worker import DeliveryWorker
from actionwatch.notifiers import email, slack, webhook
from actionwatch.notifiers.base import Notifier
from actionwatch.render.renderer import Renderer
from actionwatch.store.database import Database
from tests.builders import open_database, url_of
from tests.integration.delivery.kit import Desk, is_self_alert
from tests.integration.kit import Sender
from tests.integration.notifiers.http_end import HttpEnd, Reply, Request
from tests.integration.notifiers.smtp_end import Inbox, SmtpEnd, part, read_mail
from tests.waiting import LIMIT, wait_until

TIMEOUT = "0.06s"  # of the receiver in trouble, if its far end must take longer
PATIENT = f"{LIMIT:g}s"  # if nothing may time out
BEYOND = 10.0  # seconds: so much longer than TIMEOUT that the timeout comes first even on a busy machine
MUCH_BEYOND = 60.0
WITHIN = 0.02
FOR_EVER = float("inf")  # longer than any test
USERS = ("abe", "bob", "dan", "eve")
KINDS = ("webhook", "slack", "email")
RENDERER = Renderer([Path(actionwatch.__file__).parents[1] / "templates"])


@dataclass(frozen=True)
class Trouble:
    """What a far end does with message number n: accept it or not, then respond after a delay, or fail."""

    name: str
    title: str
    is_taken: Callable[[int], bool] = lambda number: True
    seconds: float = 0.0
    """How long it waits before it responds."""
    fault: str | None = None
    """How it fails if it does not accept the message: see `http_end`."""
    timeout: str = PATIENT
    is_killed: bool = False
    """Whether each process is killed while it sends messages."""


TROUBLES: dict[str, Trouble] = {
    trouble.name: trouble
    for trouble in (
        Trouble("down", "down (503)", lambda number: False, fault="503"),
        Trouble(
            "resetting",
            "resetting, every third time after it accepted the message",
            lambda n: n % 3 == 0,
            fault="reset",
        ),
        Trouble("busy", "busy (429, for an hour)", lambda number: False, fault="429"),
        Trouble("half", "half-accepting (503 every other time)", lambda number: number % 2 == 0, fault="503"),
        Trouble("within", "slow, within the timeout", seconds=WITHIN),
        Trouble("after", "slow, responds just after the timeout", seconds=BEYOND, timeout=TIMEOUT),
        Trouble("minute", "slow, responds after a minute", seconds=MUCH_BEYOND, timeout=TIMEOUT),
        Trouble("hanging", "hanging", lambda number: False, seconds=FOR_EVER, timeout=TIMEOUT),
        Trouble(
            "killed",
            "hanging, and actionwatch is killed each minute",
            lambda n: False,
            seconds=FOR_EVER,
            is_killed=True,
        ),
    )
}


@dataclass(frozen=True)
class Taken:
    """A message as the far end accepted it: its id and its text."""

    id: str
    text: str


@dataclass
class FarEnd:
    """Decides what a server of any protocol does, and keeps what it accepted. Its threads can share it."""

    trouble: Trouble
    clock: Callable[[], datetime]
    over_at: datetime
    taken: list[Taken] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)
    _number: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_over(self) -> bool:
        """Whether the hour of trouble is over."""
        return self.clock() >= self.over_at

    def meet(self, message: Taken) -> tuple[float, str | None]:
        """Accept a message, or not. Return the seconds before the response, and the fault, if any."""
        with self._lock:
            if self.is_over:
                self.taken.append(message)
                return 0.0, None
            self._number += 1
            is_taken = self.trouble.is_taken(self._number)
            if is_taken:
                self.taken.append(message)
            is_cut_off = is_taken and self.trouble.fault == "reset"  # accepted, but the sender never learns it
            return self.trouble.seconds, None if is_taken and not is_cut_off else self.trouble.fault

    def wait(self, seconds: float) -> None:
        """Wait, at most until the receiver closes."""
        if seconds:
            self.closed.wait(min(seconds, 60.0))


def reply_to(
    far: FarEnd, read: Callable[[Request], Taken], answer: Callable[[Request], Reply]
) -> Callable[[Request], Reply]:
    """Turn the decision of a far end into the decision of an HTTP server."""

    def reply(request: Request) -> Reply:
        seconds, fault = far.meet(read(request))
        far.wait(seconds)
        if seconds == FOR_EVER:
            return Reply(fault="reset")
        match fault:
            case "429":
                return Reply(429, headers={"retry-after": "3600"})
            case "503":
                return Reply(503)
            case "reset":
                return Reply(fault="reset")
        return answer(request)

    return reply


def _of_webhook(request: Request) -> Taken:
    return Taken(request.headers["webhook-id"], request.body.decode())


def _of_slack(request: Request) -> Taken:

    place = "thread" if "thread_ts" in request.json else ""
    return Taken(request.json["metadata"]["event_payload"]["id"] + place, json.dumps(request.json.get("attachments")))


def _slack_ok(request: Request) -> Reply:
    ts = request.json.get("ts") or "1700000000.000100"
    return Reply(200, json.dumps({"ok": True, "channel": "C0123456789", "ts": ts}).encode())


class _TroubledInbox(Inbox):
    """A mailbox whose far end decides, after the content has arrived: a server that crashes then behaves the same way."""

    def __init__(self, far: FarEnd) -> None:
        super().__init__()
        self._far = far

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        mail = read_mail(envelope.original_content or b"")

        text = f"{mail['Message-ID']} {mail['Subject']} {part(mail, 'plain')}"
        seconds, fault = self._far.meet(Taken(str(mail["X-Actionwatch-Message"]), text))
        waited = 0.0
        while waited < seconds and not self._far.closed.is_set():
            await asyncio.sleep(0.02)
            waited += 0.02
        return "451 not now" if fault or seconds == FOR_EVER else "250 taken"


@dataclass
class Maker:
    """Makes the notifier of each process, and at the end closes those that killed processes left open."""

    module: Any
    given: dict[str, Any]
    far: FarEnd
    made: list[Notifier] = field(default_factory=list)

    def __call__(self) -> Notifier:
        """Make one. The short timeout applies only during the trouble, because a busy machine may exceed it."""
        timeout = PATIENT if self.far.is_over else self.far.trouble.timeout
        options = self.module.Options.model_validate({**self.given, "timeout": timeout}, context={"folder": Path()})
        self.made.append(self.module.build(options, receiver="main"))
        return self.made[-1]


@contextmanager
def open_receiver(kind: str, far: FarEnd) -> Iterator[Maker]:
    """Serve a far end, and return what makes its notifiers."""
    with _serve(kind, far) as (module, given):
        maker = Maker(module, given, far)
        yield maker
        far.closed.set()
    for notifier in maker.made:
        notifier.close()


@contextmanager
def _serve(kind: str, far: FarEnd) -> Iterator[tuple[Any, dict[str, Any]]]:
    if kind == "email":
        with SmtpEnd(inbox=_TroubledInbox(far)) as mail:
            address = {"host": "127.0.0.1", "port": mail.port, "tls": "none"}
            yield email, {**address, "from": "aw@example.com", "to": ["soc@example.com"]}
        return
    read, answer = (_of_webhook, lambda _: Reply(204)) if kind == "webhook" else (_of_slack, _slack_ok)
    with HttpEnd(reply_to(far, read, answer)) as server:
        if kind == "webhook":
            yield webhook, {"url": f"{server.url}/hook"}
        else:
            yield slack, {"token": "xoxb-0000-secret", "channel": "C0123456789", "base_url": f"{server.url}/api/"}


@dataclass
class Hour(Desk):
    """A pipeline with one receiver in trouble, one that is healthy, and one that can be the fallback of the first."""

    make: Callable[[], Notifier] = field(default=lambda: Sender())
    templates: tuple[str, ...] = ()

    def worker(self, **changes: Any) -> DeliveryWorker:
        """Make the delivery step of a process that has just started."""
        notifiers: dict[str, Notifier] = {"main": self.make(), **self.senders}
        channels = [
            Channel(
                name,
                notifier,
                self.templates if name == "main" else (),
                policy=self.policies.get(name, ReceiverPolicy()),
            )
            for name, notifier in notifiers.items()
        ]
        given = {"jitter": lambda: self.jitter, **changes}
        return DeliveryWorker(self.database, channels, RENDERER, self.troubles, self.clock, **given)

    def die(self) -> None:
        """Deliver until only hanging messages are left, then stop without recording their outcome."""
        with contextlib.closing(Database(url_of(self.database))) as database:  # each process has its own
            worker = replace(self, database=database).worker(stop_seconds=0.0)
            worker.recover()

            def are_others_sent() -> bool:
                worker.run_once(0.02)
                return not self._is_any_other_pending()

            wait_until(are_others_sent, "the messages for the other receivers are sent")
            worker.finish()

    def _is_any_other_pending(self) -> bool:
        rows = self.all_rows()
        return any(
            row.status is DeliveryStatus.PENDING and row.receiver != "main" and row.due_at <= self.clock()
            for row in rows
        )


@dataclass(frozen=True)
class Result:
    """What happened to the messages for one receiver."""

    trouble: Trouble
    kind: str
    is_backed: bool
    messages: int
    lost: int
    reordered: int
    repeated: int
    """How often the far end received a message again that it had accepted, under the same id."""
    altered: int
    """How many of these had another text, or an id that belongs to no message."""
    delayed: int
    """How many messages to the other receiver were not sent by the process that ran when they became due."""
    stood_in: int
    """How many alerts the fallback was notified of."""
    longest_wait: timedelta
    """The longest time until an alert reached the receiver or its fallback."""
    is_counted: bool
    """Whether the last message of each alert counts all of its records."""


def run(trouble: Trouble, kind: str, database: Database, *, is_backed: bool, minutes: int = 1) -> Result:
    """Simulate the hour, with a record every so many `minutes`, and what follows on an empty store. Close it."""
    try:
        with ExitStack() as stack:
            hour = Hour(database, senders={"other": Sender()})
            far = FarEnd(trouble, hour.clock, hour.clock() + timedelta(hours=1))
            hour.make = maker = stack.enter_context(open_receiver(kind, far))
            hour.templates = maker.module.TRAITS.templates
            hour.route = Route(("main", "other"))
            hour.policies["main"] = ReceiverPolicy(
                is_updated_last=kind == "email", fallback="mail" if is_backed else None
            )
            if is_backed:
                hour.senders["mail"] = Sender()
            count = 60 // minutes
            delayed = _live(hour, count, trouble.is_killed)
            return _sum_up(hour, far, kind, count, delayed, is_backed=is_backed)
    finally:
        database.close()


def _live(hour: Hour, count: int, is_killed: bool) -> int:
    """Store that many records within an hour, each delivered by a new process; then deliver the rest.

    Returns the number of delayed messages.
    """
    delayed = 0
    for number in range(count):
        hour.match_records(user_name=USERS[number % len(USERS)])
        hour.clock.advance(minutes=60 / count)
        hour.die() if is_killed else hour.deliver()
        delayed += sum(row.receiver == "other" and row.status is not DeliveryStatus.SENT for row in _due(hour))
    for _ in range(40):
        hour.later(minutes=12)
        if not any(row.status is DeliveryStatus.PENDING for row in hour.all_rows()):
            break
    return delayed


def _due(hour: Hour) -> list[Delivery]:
    return [row for row in hour.all_rows() if row.due_at <= hour.clock()]


def _sum_up(hour: Hour, far: FarEnd, kind: str, count: int, delayed: int, *, is_backed: bool) -> Result:
    rows = [row for row in hour.all_rows() if row.receiver == "main"]
    taken = [message for message in far.taken if not message.id.endswith("thread")]
    ids = [message.id for message in taken]
    texts: dict[str, set[str]] = {}
    for message in far.taken:
        texts.setdefault(message.id, set()).add(message.text)
    stood_in = hour.senders["mail"].sent if is_backed else []
    return Result(
        trouble=far.trouble,
        kind=kind,
        is_backed=is_backed,
        messages=len(rows),
        lost=sum(row.status is not DeliveryStatus.SENT or row.id not in ids for row in rows),
        reordered=_reordered(rows, list(dict.fromkeys(ids))),
        repeated=len(ids) - len(set(ids)),
        altered=sum(len(found) > 1 for found in texts.values()) + len(set(ids) - {row.id for row in rows}),
        delayed=delayed,
        stood_in=len({message.data["id"] for message in stood_in if not is_self_alert(message)}),
        longest_wait=_longest_wait(hour),
        is_counted=_is_counted(hour, rows, count),
    )


def _reordered(rows: Sequence[Delivery], order: Sequence[str]) -> int:
    """Count the messages that were accepted before an earlier message of their alert."""
    place = {delivery_id: number for number, delivery_id in enumerate(order)}
    alerts: dict[str, list[Delivery]] = {}
    for row in sorted(rows, key=lambda row: row.ordinal):
        alerts.setdefault(row.alert_id, []).append(row)
    pairs = [pair for its in alerts.values() for pair in pairwise(its) if pair[0].id in place and pair[1].id in place]
    return sum(place[earlier.id] > place[later.id] for earlier, later in pairs)


def _longest_wait(hour: Hour) -> timedelta:
    """Return the longest time until the first message of an alert was accepted, by the receiver or its fallback."""
    sent_at: dict[str, list[datetime]] = {}
    for row in hour.all_rows():
        if row.receiver in ("main", "mail") and row.sent_at is not None:
            sent_at.setdefault(row.alert_id, []).append(row.sent_at)
    return max(min(sent_at[name]) - alert.opened_at for name, alert in hour.alerts().items())


def _is_counted(hour: Hour, rows: Sequence[Delivery], count: int) -> bool:
    newest = {row.alert_id: row for row in sorted(rows, key=lambda row: row.ordinal)}
    alerts = hour.alerts()
    counts = {name: json.loads(newest[name].body or "{}")["data"]["count"] for name in alerts}
    return counts == {name: alert.count for name, alert in alerts.items()} and sum(counts.values()) == count


def table(results: Sequence[Result]) -> str:
    """Return the results as the table of the documentation: one row per kind of trouble, all receivers combined."""
    lines = [
        "| for an hour it is | messages | lost | reordered | repeated | others delayed | known to nobody for at most |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for trouble in TROUBLES.values():
        its = [result for result in results if result.trouble == trouble]
        counts = (
            sum(result.messages for result in its),
            sum(result.lost for result in its),
            sum(result.reordered + result.altered for result in its),
            sum(result.repeated for result in its),
            sum(result.delayed for result in its),
        )
        alone, backed = (
            _minutes(result.longest_wait for result in its if result.is_backed is is_backed)
            for is_backed in (False, True)
        )
        lines.append(f"| {trouble.title} | {' | '.join(map(str, counts))} | {alone} min, {backed} with a fallback |")
    return "\n".join(lines)


def _minutes(waits: Iterable[timedelta]) -> int:
    return max(waits, default=timedelta(0)) // timedelta(minutes=1)


def main() -> None:
    """Run every row, and print the table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    results: list[Result] = []
    for trouble in TROUBLES.values():
        for is_backed in (False, True):
            for kind in KINDS:
                with tempfile.TemporaryDirectory() as folder:
                    results.append(run(trouble, kind, open_database(Path(folder)), is_backed=is_backed))
                    print(results[-1], file=sys.stderr)
    print(table(results))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()

"""What asks the live ends before anything runs: `probe` asks an upstream, `check --live` every upstream and every receiver."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from actionwatch.base import clock
from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import DeliveryError, SourceError
from actionwatch.instaclustr.client import Client, RetryOptions
from actionwatch.instaclustr.probe import probing
from actionwatch.instaclustr.probe.client import ProbeClient
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.wire import Page
from actionwatch.notifiers.base import notifier_module
from actionwatch.service import configuration, upstream
from actionwatch.settings import Receiver, Settings, Source
from actionwatch.tail.health import MAX_SKEW

ONCE = RetryOptions(attempts=1)  # the probe counts every request, and waits by itself
SOME = RetryOptions(attempts=2, at_most=timedelta(seconds=15))
AT_ONCE = 8  # ends asked at the same time


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one live check showed; `remedy` says what to do where it failed."""

    subject: str
    is_fine: bool
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        """Render as faults are: `subject: what: remedy`."""
        return f"{self.subject}: {self.what}" + (f": {self.remedy}" if self.remedy else "")

    def document(self) -> dict[str, Any]:
        """Give it as JSON."""
        kind = "live" if self.is_fine else "live fault"
        return {"kind": kind, "subject": self.subject, "what": self.what, "remedy": self.remedy}


def probe(settings: Settings, source: Source) -> probing.ProbeReport:
    """Find out the shape of a source's upstream.

    Raises: SourceError, where its first question is refused.
    """
    connection = upstream.connection_to(source)
    with Client(connection, source=source.name, field_aliases=source.field_aliases, retry=ONCE) as client:
        return probing.probe(
            ProbeClient(client, clock.utc_now), source.field_aliases, configuration.known_kinds(settings)
        )


def check(settings: Settings) -> list[Outcome]:
    """Ask every source and every receiver; no alert is sent anywhere."""
    questions: list[Callable[[], Iterable[Outcome]]] = [
        *(partial(_source, source) for source in settings.sources),
        *(partial(_receiver, receiver) for receiver in settings.receivers),
    ]
    room = threading.Semaphore(AT_ONCE)
    answers = [_ask(question, room) for question in questions]
    return [outcome for answer in answers for outcome in answer.result()]


def _ask(question: Callable[[], Iterable[Outcome]], room: threading.Semaphore) -> Future[list[Outcome]]:
    """Ask in a thread that ends with the process: whoever interrupts waits for no end that hangs."""
    answer: Future[list[Outcome]] = Future()

    def work() -> None:
        with room:
            try:
                answer.set_result(list(question()))
            except BaseException as exc:
                answer.set_exception(exc)

    threading.Thread(target=work, name="live", daemon=True).start()
    return answer


def _source(source: Source) -> Iterator[Outcome]:
    """Try the key, compare the clocks, list the accounts."""
    name = f"source {source.name}"
    with Client(upstream.connection_to(source), source=source.name, retry=SOME) as client:
        try:
            page = client.counts(Query())
        except SourceError as exc:
            yield Outcome(f"{name}: key", False, exc.what, exc.remedy)
            return
        yield Outcome(f"{name}: key", True, f"it reads the log of organisation {_organisation(page, source)}")
        yield _clock(f"{name}: clock", page)
        try:
            count = len(client.linked_accounts())
        except SourceError as exc:
            yield Outcome(f"{name}: linked accounts", False, exc.what, exc.remedy)
            return
        yield Outcome(f"{name}: linked accounts", True, f"{count} of them")


def _organisation(page: Page, source: Source) -> str:
    told = next((record.organisation.name for record in page.records if record.organisation.name), None)
    return f"{told} ({source.organisation_id})" if told else source.organisation_id


def _clock(subject: str, page: Page) -> Outcome:
    if page.server_date is None:
        return Outcome(subject, True, "the upstream does not tell its time: ours has to be right")
    skew = page.server_date + timedelta(milliseconds=500) - clock.utc_now()
    side = "ahead of" if skew > timedelta(0) else "behind"
    seconds = timedelta(seconds=round(abs(skew).total_seconds()))
    what = f"the upstream's is {spell_duration(seconds)} {side} ours" if seconds else "the upstream's agrees with ours"
    if abs(skew) > MAX_SKEW:
        return Outcome(subject, False, what, "set this machine's clock (NTP), or ask the vendor")
    return Outcome(subject, True, what)


def _receiver(receiver: Receiver) -> Iterator[Outcome]:
    """Try a receiver as far as its protocol lets us without sending."""
    subject = f"receiver {receiver.name}"
    verify: Callable[[Any], None] | None = getattr(notifier_module(receiver.type), "verify", None)
    if verify is None:
        sending = f"'actionwatch receivers test {receiver.name}' sends"
        yield Outcome(subject, True, f"nothing to try without sending: {sending}")
        return
    try:
        verify(receiver.options)
    except DeliveryError as exc:
        remedy = f"mend it, then 'actionwatch receivers test {receiver.name}' sends a marked alert"
        yield Outcome(subject, False, str(exc), remedy)
        return
    yield Outcome(subject, True, "it can be reached")

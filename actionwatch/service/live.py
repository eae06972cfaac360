"""Query live upstreams and receivers without a running service: for `probe` and `check --live`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from actionwatch.base import clock
from actionwatch.base.durations import spell_seconds
from actionwatch.base.errors import DeliveryError, SourceError
from actionwatch.instaclustr.client import Client, RetryOptions
from actionwatch.instaclustr.probe import probing
from actionwatch.instaclustr.probe.client import ProbeClient
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.upstream import Upstream
from actionwatch.instaclustr.wire import Page
from actionwatch.notifiers.base import Reachable, notifier_module
from actionwatch.service import configuration, upstream
from actionwatch.service.machine import Machine
from actionwatch.service.signing_in import relying_party
from actionwatch.settings import Receiver, Settings, Source, Stream
from actionwatch.streams.driver import build_driver
from actionwatch.tail.cursor import IGNORED_SKEW, REPORTED_SKEW

_PROBE_RETRY = RetryOptions(attempts=1)  # the probe counts its requests and waits by itself
_OF_SOURCE = "source "
_CHECK_RETRY = RetryOptions(attempts=2, at_most=timedelta(seconds=15))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one live check, with a remedy if it failed."""

    subject: str
    is_ok: bool
    what: str
    remedy: str = ""

    @property
    def is_of_source(self) -> bool:
        """Whether it is about a source."""
        return self.subject.startswith(_OF_SOURCE)

    def __str__(self) -> str:
        """Format it like a fault: `subject: what: remedy`."""
        return f"{self.subject}: {self.what}" + (f": {self.remedy}" if self.remedy else "")

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        kind = "live" if self.is_ok else "live fault"
        return {"kind": kind, "subject": self.subject, "what": self.what, "remedy": self.remedy}


def probe(settings: Settings, source: Source) -> probing.ProbeReport:
    """Determine the shape of a source's upstream.

    Raises: SourceError, if the first request is refused.
    """
    connection = upstream.connection_to(source)
    with Client(connection, source=source.name, field_aliases=source.field_aliases, retry=_PROBE_RETRY) as client:
        return probing.probe(ProbeClient(client), configuration.known_kinds(settings))


def check_live(settings: Settings, on_progress: Callable[[int, int], object] = lambda *_: None) -> list[Outcome]:
    """Check every source, every receiver and every stream. Sends nothing. At most `upstream.threads` checks run at once.

    The sources at one origin share its connections and its limit of requests, as in the service.
    `on_progress` gets the number of finished checks and of all checks.
    """
    upstreams = upstream.Upstreams(Machine(), lambda: settings.upstream.rate_per_second)
    checks: list[Callable[[], Iterable[Outcome]]] = [
        *(partial(_source, source, upstreams.of(source)) for source in settings.sources),
        *(partial(_receiver, receiver) for receiver in settings.receivers),
        *(partial(_stream, stream) for stream in settings.streams),
        partial(_sign_in, settings),
    ]
    results: list[Future[list[Outcome]]] = [Future() for _ in checks]
    waiting = iter(list(zip(checks, results, strict=True)))  # the iterator of a list gives each item to one thread
    for _ in range(min(settings.upstream.threads, len(checks))):
        # In daemon threads, so that an interrupt does not wait for a check that hangs.
        threading.Thread(target=_work, args=(waiting,), name="live", daemon=True).start()
    for count, _ in enumerate(as_completed(results), 1):
        on_progress(count, len(results))
    upstreams.close()
    return [outcome for result in results for outcome in result.result()]


def _work(waiting: Iterator[tuple[Callable[[], Iterable[Outcome]], Future[list[Outcome]]]]) -> None:
    for check, result in waiting:
        try:
            result.set_result(list(check()))
        except BaseException as exc:
            result.set_exception(exc)


def _source(source: Source, shared: Upstream) -> Iterator[Outcome]:
    """Check the key, compare the clocks, and list the accounts."""
    name = f"{_OF_SOURCE}{source.name}"
    connection = upstream.connection_to(source)
    with Client(connection, source=source.name, retry=_CHECK_RETRY, upstream=shared) as client:
        try:
            page = client.counts(Query())
        except SourceError as exc:
            yield Outcome(f"{name}: key", False, exc.what, exc.remedy)
            return
        yield Outcome(f"{name}: key", True, f"reads the log of organisation {_organisation(page, source)}")
        yield _clock(f"{name}: clock", page)
        try:
            count = len(client.linked_accounts())
        except SourceError as exc:
            yield Outcome(f"{name}: linked accounts", False, exc.what, exc.remedy)
            return
        yield Outcome(f"{name}: linked accounts", True, f"{count} found")


def _organisation(page: Page, source: Source) -> str:
    name = next((record.organisation.name for record in page.records if record.organisation.name), None)
    return f"{name} ({source.organisation_id})" if name else source.organisation_id


def _clock(subject: str, page: Page) -> Outcome:
    if page.server_date is None:
        return Outcome(subject, True, "the upstream does not return its time, so this machine's clock must be right")
    skew = page.server_date + timedelta(milliseconds=500) - clock.utc_now()
    side = "ahead of" if skew > timedelta(0) else "behind"
    what = (
        "the upstream's clock agrees with ours"
        if abs(skew) <= IGNORED_SKEW
        else f"the upstream's clock is {spell_seconds(abs(skew).total_seconds())} {side} ours"
    )
    if abs(skew) > REPORTED_SKEW:
        return Outcome(subject, False, what, "set this machine's clock (NTP), or ask the vendor")
    return Outcome(subject, True, what)


def _receiver(receiver: Receiver) -> Iterator[Outcome]:
    """Check a receiver as far as its protocol allows without sending a message."""
    subject = f"receiver {receiver.name}"
    notifier = notifier_module(receiver.type).build(receiver.options, receiver=receiver.name)
    if not isinstance(notifier, Reachable):
        sending = f"'actionwatch receivers test {receiver.name}' sends one"
        yield Outcome(subject, True, f"cannot be checked without sending a message: {sending}")
        return
    try:
        with contextlib.closing(notifier):
            notifier.reach()
    except DeliveryError as exc:
        remedy = f"fix it; then 'actionwatch receivers test {receiver.name}' sends a marked alert"
        yield Outcome(subject, False, str(exc), remedy)
        return
    yield Outcome(subject, True, "can be reached")


def _stream(stream: Stream) -> Iterator[Outcome]:
    """Connect to the destination of a stream, as far as its protocol allows without sending a message."""
    subject = f"stream {stream.name}"
    try:
        with contextlib.closing(build_driver(stream)) as driver:
            driver.open()
    except DeliveryError as exc:
        remedy = "fix it; then 'actionwatch check --live' tries it again"
        yield Outcome(subject, False, str(exc), remedy)
        return
    yield Outcome(subject, True, "can be reached")


def _sign_in(settings: Settings) -> Iterator[Outcome]:
    """Read what the OpenID Connect provider says about itself."""
    openid = relying_party(settings.web, clock.utc_now)
    if openid is None:
        return
    from actionwatch.web.proxy import Refused

    try:
        openid.authorization_url(openid.new_secret())
    except Refused as exc:
        yield Outcome("web.openid", False, str(exc), "check web.openid.issuer")
        return
    yield Outcome("web.openid", True, f"{openid.provider_name} can sign people in")

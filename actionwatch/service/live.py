"""Check live upstreams, receivers and streams without a running service: `check --live`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from datetime import timedelta
from functools import partial

from actionwatch.base.errors import DeliveryError
from actionwatch.instaclustr.client import Client, RetryOptions
from actionwatch.instaclustr.upstream import Upstream
from actionwatch.notifiers.base import Reachable, notifier_module
from actionwatch.service import configuration, upstream
from actionwatch.service.live_source import Outcome, check_source
from actionwatch.service.machine import Machine
from actionwatch.settings import Receiver, Settings, Source, Stream
from actionwatch.streams.driver import build_driver

_RETRY = RetryOptions(attempts=2, at_most=timedelta(seconds=15))


def check_live(settings: Settings, on_progress: Callable[[int, int], object] = lambda *_: None) -> list[Outcome]:
    """Check every source, every receiver and every stream. Sends nothing. At most `upstream.threads` checks run at once.

    The sources at one origin share its connections and its limit of requests, as in the service.
    `on_progress` gets the number of finished checks and of all checks.
    """
    upstreams = upstream.Upstreams(Machine(), lambda: settings.upstream.rate_per_second)
    known_kinds = configuration.known_kinds(settings)
    unseen = {source.base_url for source in settings.sources}
    checks: list[Callable[[], Iterable[Outcome]]] = [
        *(partial(_source, source, upstreams.of(source), known_kinds, unseen) for source in settings.sources),
        *(partial(_receiver, receiver) for receiver in settings.receivers),
        *(partial(_stream, stream) for stream in settings.streams),
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


def _source(source: Source, shared: Upstream, known_kinds: Sequence[str], unseen: set[str]) -> Iterator[Outcome]:
    connection = upstream.connection_to(source)
    with Client(
        connection, source=source.name, field_aliases=source.field_aliases, retry=_RETRY, upstream=shared
    ) as client:
        yield from check_source(client, source.organisation_id, known_kinds, unseen)


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

"""Apprise: a hundred further services, by their Apprise URLs; an optional extra, `actionwatch[apprise]`.

https://github.com/caronc/apprise. Only its services are used: retrying, ordering and giving up stay with the outbox, redirects
are not followed, nothing is written to disk. Each service has its own proxies and markup, so its text is made inert first.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, SecretStr, model_validator

from actionwatch.base.errors import PermanentDeliveryError, TransientDeliveryError
from actionwatch.base.model import Message, Receipt
from actionwatch.notifiers.base import DEFAULT_TIMEOUT, RESPONSE_CHARS, TRANSIENT_STATUSES, Redactor, Rendered
from actionwatch.text import options as words

TEMPLATES: tuple[str, ...] = ("apprise.subject", "apprise.txt")
DEFAULT_RATE_PER_SECOND: float | None = None
IS_UPDATED_LAST = False
IS_READ_BY_PEOPLE = True

MAX_URLS = 20
MISSING = "needs the extra: pip install 'actionwatch[apprise]'"

_STATUS = re.compile(r"error=([1-5]\d\d)\b", re.ASCII)  # how the services' warnings end
_ENTRY_CHARS = 300

# At DEBUG, Apprise and what it sends by write whole addresses, which hold tokens.
for _name in ("apprise", "urllib3", "requests"):
    logging.getLogger(_name).setLevel(logging.WARNING)
logging.getLogger("apprise").propagate = False  # its warnings come back with each result; logging is the caller's


class Options(words.Options):
    """The keys of an `apprise:` receiver. Every URL counts as a secret."""

    url: words.Secret | None = None
    url_file: words.SecretFile | None = None
    urls: Annotated[list[words.Secret], Field(min_length=1, max_length=MAX_URLS)] | None = None
    timeout: words.PositiveDuration = DEFAULT_TIMEOUT

    @model_validator(mode="after")
    def _check(self) -> Options:
        words.require_one(self, "url", "url_file", "urls")
        for number, url in enumerate(self.targets, 1):
            if _plugin(url, self.timeout) is None:
                which = f"URL {number}" if self.urls else "the URL"
                raise ValueError(f"{which} is none that Apprise knows: compare it with the service's page in its wiki")
        return self

    @property
    def targets(self) -> tuple[str, ...]:
        """The URLs, wherever they stood."""
        given: Iterable[SecretStr | None] = self.urls if self.urls is not None else (self.url, self.url_file)
        return tuple(secret.get_secret_value() for secret in given if secret is not None)


def build(options: Options, *, receiver: str) -> AppriseNotifier:
    """Make the notifier of one receiver. Opens no connection."""
    return AppriseNotifier(options, receiver=receiver)


def preview(options: Options, message: Message, rendered: Rendered, *, receiver: str) -> dict[str, str]:  # noqa: ARG001
    """Return title and text, as a service gets them."""
    title, body = _texts(message, rendered)
    return {"apprise.txt": f"{title}\n\n{body}"}


@dataclass(frozen=True, slots=True)
class _Failure:
    what: str
    status: int | None

    @property
    def is_permanent(self) -> bool:
        """Whether the service said that it will not take this; without a status nobody knows, so it is tried again."""
        return self.status is not None and self.status < 500 and self.status not in TRANSIENT_STATUSES


class AppriseNotifier:
    """Sends messages to one or several services. Several stand and fall together: give each a receiver to have them apart."""

    def __init__(self, options: Options, *, receiver: str) -> None:
        self.receiver = receiver
        self._services = [_service(url, options.timeout) for url in options.targets]
        self._redact = Redactor(*options.targets, *(part for url in options.targets for part in _parts(url)))

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:  # noqa: ARG002
        """Send the message once to each service.

        Returns: a receipt, whose `note` names what refused; it is not repeated to those that took it.
        Raises: TransientDeliveryError, PermanentDeliveryError, when none took it.
        """
        title, body = _texts(message, rendered)
        failures = [failure for service in self._services if (failure := self._notify(service, title, body, message))]
        if len(failures) < len(self._services):
            return Receipt(note="; ".join(failure.what for failure in failures)[:RESPONSE_CHARS] or None)
        response = "; ".join(failure.what for failure in failures)[:RESPONSE_CHARS]
        if all(failure.is_permanent for failure in failures):
            raise PermanentDeliveryError("the service refused the message", response=response)
        raise TransientDeliveryError("the service did not take the message", response=response)

    def close(self) -> None:
        """Nothing is open between two messages."""

    def _notify(self, service: Any, title: str, body: str, message: Message) -> _Failure | None:
        result = service.notify(body=body, title=title, notify_type=_kind(message), body_format="text")
        if result:
            return None
        entries = [entry.message for outcome in result.results for entry in outcome.logs()]
        said = self._redact("; ".join(str(entry)[:_ENTRY_CHARS] for entry in entries)) or "it did not say why"
        statuses = [int(found[1]) for entry in entries if (found := _STATUS.search(str(entry)))]
        return _Failure(f"{service[0].service_name}: {said}", statuses[-1] if statuses else None)


def _service(url: str, timeout: timedelta) -> Any:
    import apprise

    service = apprise.Apprise()
    service.add(_plugin(url, timeout))
    return service


def _plugin(url: str, timeout: timedelta) -> Any:
    """Make the service of a URL; None where there is none.

    Raises: ValueError, where Apprise is not installed.
    """
    try:
        import apprise
    except ImportError as exc:
        raise ValueError(MISSING) from exc
    # Without its own time limit, Apprise sends in our thread: what it stops waiting for would go on behind our back.
    asset = apprise.AppriseAsset(
        app_id="actionwatch", app_desc="actionwatch", storage_mode="memory", async_mode=False, service_timeout=0
    )
    with warnings.catch_warnings():  # the first URL loads every service, and some import what Python will drop
        warnings.simplefilter("ignore", DeprecationWarning)
        plugin = apprise.Apprise.instantiate(url, asset=asset)
    if plugin is None:
        return None
    plugin.retry = 0  # also where the URL asks for more: the outbox retries, and knows when to stop
    plugin.redirects = False
    plugin.socket_connect_timeout = plugin.socket_read_timeout = timeout.total_seconds()
    return plugin


def _texts(message: Message, rendered: Rendered) -> tuple[str, str]:
    title = rendered.texts.get("apprise.subject") or f"[{message.level or 'alert'}] {message.type}"
    return title, rendered.texts.get("apprise.txt", "").strip() or title


def _kind(message: Message) -> str:
    """Choose Apprise's colour."""
    if message.type == "alert.resolved":
        return "success"
    return {"critical": "failure", "high": "failure", "medium": "warning"}.get(message.level, "info")


def _parts(url: str) -> list[str]:
    """Return the parts of a URL that may be tokens, for redaction."""
    return [part for part in re.split(r"[/?&=#;:@,]", url.partition("://")[2]) if len(part) >= 8]

"""Apprise: a hundred more services by their Apprise URLs. Requires the extra `apprise`.

https://github.com/caronc/apprise. Apprise only sends: the outbox retries, orders and gives up. Apprise follows no redirect,
writes nothing to disk, and uses neither proxies nor credentials of the environment. Services have different markup, so texts
are defused first.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, SecretStr, model_validator

from actionwatch.base.errors import PermanentDeliveryError, TransientDeliveryError
from actionwatch.base.model import Message, Receipt, Rendered
from actionwatch.notifiers.base import DEFAULT_TIMEOUT, RESPONSE_CHARS, TRANSIENT_STATUSES, Notifier, Redactor, Traits
from actionwatch.text import options as words

TRAITS = Traits(templates=("apprise.subject", "apprise.txt"), is_read_by_people=True)

MAX_URLS = 20
_MISSING = "needs the package apprise: install the project's requirements/apprise.txt"

_STATUS = re.compile(r"error=([1-5]\d\d)\b", re.ASCII)  # the end of the warnings of the services
_ENTRY_CHARS = 300

# At DEBUG, Apprise and its HTTP client log whole URLs, which contain tokens.
for _name in ("apprise", "urllib3", "requests"):
    logging.getLogger(_name).setLevel(logging.WARNING)
logging.getLogger("apprise").propagate = False  # each result contains its warnings, and the caller logs them


class Options(words.Options):
    """The keys of an `apprise:` receiver. Every URL counts as a secret."""

    url: words.Secret | None = None
    """The URL of a service, as Apprise writes it. It is a secret. One of `url`, `url_file` and `urls` is required."""
    url_file: words.SecretFile | None = None
    urls: Annotated[list[words.Secret], Field(min_length=1, max_length=MAX_URLS)] | None = None
    """A list of URLs, instead of one."""
    timeout: words.PositiveDuration = DEFAULT_TIMEOUT
    """For each service."""

    @model_validator(mode="after")
    def _check(self) -> Options:
        words.require_one(self, "url", "url_file", "urls")
        for number, url in enumerate(self.targets, 1):
            if _plugin(url, self.timeout) is None:
                which = f"URL {number}" if self.urls else "the URL"
                raise ValueError(
                    f"Apprise does not know {which}: compare it with the page of the service in the Apprise wiki"
                )
        return self

    @property
    def targets(self) -> tuple[str, ...]:
        """The URLs, from whichever key."""
        given: Iterable[SecretStr | None] = self.urls if self.urls is not None else (self.url, self.url_file)
        return tuple(secret.get_secret_value() for secret in given if secret is not None)


def build(options: Options, *, receiver: str) -> AppriseNotifier:  # noqa: ARG001
    return AppriseNotifier(options)


def preview(options: Options, message: Message, rendered: Rendered, *, receiver: str) -> dict[str, str]:  # noqa: ARG001
    """Return title and text as a service receives them."""
    title, body = _texts(message, rendered)
    return {"apprise.txt": f"{title}\n\n{body}"}


class AppriseNotifier(Notifier):
    """Sends messages to one or several services. They share one delivery: configure separate receivers for separate retries."""

    def __init__(self, options: Options) -> None:
        self._services = [_service(url, options.timeout) for url in options.targets]
        self._redact = Redactor(*options.targets, *(part for url in options.targets for part in _parts(url)))

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:  # noqa: ARG002
        """Send the message once to each service. If at least one accepts it, a note names those that refused."""
        _leave_environment()
        title, body = _texts(message, rendered)
        failures = [failure for service in self._services if (failure := self._notify(service, title, body, message))]
        response = "; ".join(what for what, _ in failures)[:RESPONSE_CHARS]
        if len(failures) < len(self._services):
            return Receipt(note=response or None)
        if all(is_permanent for _, is_permanent in failures):
            raise PermanentDeliveryError("the service refused the message", response=response)
        raise TransientDeliveryError("the service did not accept the message", response=response)

    def _notify(self, service: Any, title: str, body: str, message: Message) -> tuple[str, bool] | None:
        """Return what failed, and whether a retry is pointless; without a status it may help."""
        result = service.notify(body=body, title=title, notify_type=_kind(message), body_format="text")
        if result:
            return None
        entries = [entry.message for outcome in result.results for entry in outcome.logs()]
        reasons = "; ".join(self._redact.excerpt(str(entry), _ENTRY_CHARS) for entry in entries) or "no reason given"
        statuses = [int(found[1]) for entry in entries if (found := _STATUS.search(str(entry)))]
        is_permanent = bool(statuses) and statuses[-1] < 500 and statuses[-1] not in TRANSIENT_STATUSES
        return f"{service[0].service_name}: {reasons}", is_permanent


def _leave_environment() -> None:
    """Remove the proxies from the environment of this process, and have no `.netrc` read.

    Apprise sends with the functions of `requests`, which use both, and has no option against it. Nothing else in actionwatch
    uses them.
    """
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        os.environ.pop(name, None)
    os.environ["NETRC"] = os.devnull


def _service(url: str, timeout: timedelta) -> Any:
    import apprise

    service = apprise.Apprise()
    service.add(_plugin(url, timeout))
    return service


def _plugin(url: str, timeout: timedelta) -> Any:
    """Build the service of a URL; None if Apprise does not know it.

    Raises: ValueError, if Apprise is not installed.
    """
    try:
        import apprise
    except ImportError as exc:
        raise ValueError(_MISSING) from exc
    # With its own time limit, Apprise would send in another thread and leave it running after the limit.
    asset = apprise.AppriseAsset(
        app_id="actionwatch", app_desc="actionwatch", storage_mode="memory", async_mode=False, service_timeout=0
    )
    with warnings.catch_warnings():  # the first URL loads all services, and some import deprecated modules
        warnings.simplefilter("ignore", DeprecationWarning)
        plugin = apprise.Apprise.instantiate(url, asset=asset)
    if plugin is None:
        return None
    plugin.retry = 0  # even if the URL asks for retries: the outbox retries
    plugin.redirects = False
    plugin.socket_connect_timeout = plugin.socket_read_timeout = timeout.total_seconds()
    return plugin


def _texts(message: Message, rendered: Rendered) -> tuple[str, str]:
    title = rendered.texts.get("apprise.subject") or f"[{message.level or 'alert'}] {message.type}"
    return title, rendered.texts.get("apprise.txt", "").strip() or title


def _kind(message: Message) -> str:
    """Map the level to a type of Apprise."""
    if message.type == "alert.resolved":
        return "success"
    return {"critical": "failure", "high": "failure", "medium": "warning"}.get(message.level, "info")


def _parts(url: str) -> list[str]:
    """Return the parts of a URL that may be secret."""
    return [part for part in re.split(r"[/?&=#;:@,]", url.partition("://")[2]) if len(part) >= 8]

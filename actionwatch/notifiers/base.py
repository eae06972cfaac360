"""The interface of a notifier: a module `notifiers/<type>.py` with `TRAITS`, `Options`, `build` and `preview`.

A notifier sends one message once. It returns, or raises a transient or a permanent `DeliveryError`. The outbox retries, orders
and gives up. Several threads call a notifier at the same time.

What a type may provide besides, each with a protocol here: `Reachable`, `WithDigest`, `WithTemplates`, `WithListener`.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

from pydantic import AfterValidator, SecretStr, ValidationInfo

from actionwatch.base.clock import utc_now
from actionwatch.base.errors import PermanentDeliveryError, TransientDeliveryError, TransportError
from actionwatch.base.model import Decision, Message, Receipt, Rendered
from actionwatch.net.http_response import HttpResponse, retry_after
from actionwatch.net.tls import ClientCertificate
from actionwatch.text.crontab import Crontab, parse_crontab
from actionwatch.text.escaping import visible
from actionwatch.text.options import CaFile, Options, PositiveDuration, Proxy, check_url
from actionwatch.text.redaction import Redaction, in_proxy, in_url
from actionwatch.text.timeintervals import parse_location

if TYPE_CHECKING:
    from actionwatch.net.http import HttpClient

RESPONSE_CHARS = 500  # the contract: a refusal is kept with the first 500 characters of the response
TRANSIENT_STATUSES = frozenset({408, 425, 429})  # and every 5xx, as the contract says
DEFAULT_TIMEOUT = timedelta(seconds=10)  # of HTTP receivers
_MAX_RESPONSE_BYTES = 8 * 1024 * 1024  # sixteen of these must fit into memory

_REMEDIES = {
    401: "check the credentials of the receiver",
    403: "check the credentials of the receiver and their permissions",
    404: "check the URL of the receiver",
    410: "this address no longer exists: remove the receiver or correct its URL",
    413: "the receiver does not accept a message of this size",
}


class Notifier(Protocol):
    """The code behind a receiver."""

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:
        """Send once. `reference` is the one that the last message of the same alert returned; None if there is none.

        Raises: TransientDeliveryError, PermanentDeliveryError, and nothing else.
        """
        ...

    def close(self) -> None:
        """Close connections, if any outlive a message. Called once, after the last `send`."""
        return


@runtime_checkable
class Reachable(Protocol):
    """A notifier that can test its receiver without sending a message."""

    def reach(self) -> None:
        """Do what `send` does before it sends, and raise what `send` would raise. `check --live` calls it."""
        ...


@dataclass(frozen=True, slots=True)
class Traits:
    """The properties of all receivers of a type."""

    templates: tuple[str, ...] = ()
    """Names of the templates to fill in for each message. Use `templates_of`: they may depend on the options."""
    rate_per_second: float | None = None
    """How many messages a second the service accepts; None if it has no limit."""
    is_updated_last: bool = False
    """Whether updates of an alert wait until nothing more can join it, so that only the last is sent."""
    is_read_by_people: bool = False
    """Whether a flood of messages harms: storm control is on by default for these receivers. Automation wants every message."""


class NotifierModule(Protocol):
    """The interface of a module `notifiers/<type>.py`."""

    TRAITS: Traits
    Options: type[Options]

    def build(self, options: Any, *, receiver: str) -> Notifier:
        """Build the notifier of one receiver from its validated options. Opens no connection."""
        ...

    def preview(self, options: Any, message: Message, rendered: Rendered, *, receiver: str) -> dict[str, str]:
        """Return what `send` would send, without secrets, as files to look at: name -> text."""
        ...


@runtime_checkable
class WithTemplates(Protocol):
    """A module whose templates depend on the options of the receiver; else `Traits.templates` names them."""

    def templates(self, options: Any) -> tuple[str, ...]:
        """Name the templates to fill in for each message."""
        ...


OnAction = Callable[[str, str, str], Decision]
"""Called in the listener's thread for each pressed button: action (`ack`, `silence` or `resolve`), alert id, user.

It may raise an ActionwatchError, whose text is shown to the user."""

ReferenceOf = Callable[[str], str | None]
"""Returns this receiver's reference of its message about an alert, None if it posted none."""


class Listener(Protocol):
    """Waits for actions of people in the messages of one receiver, in its own threads."""

    def start(self) -> None:
        """Connect in the background."""
        ...

    def check(self) -> object:
        """Raise if the listener is not connected; the text says why."""
        ...

    def close(self) -> None:
        """Disconnect. Called once, after `start`."""
        ...


@runtime_checkable
class WithListener(Protocol):
    """A module whose messages have buttons."""

    def listener(
        self,
        options: Any,
        on_action: OnAction,
        reference_of: ReferenceOf,
        *,
        receiver: str,
    ) -> Listener | None:
        """Build the listener of one receiver; None if its options give it no buttons."""
        ...


def notifier_types() -> tuple[str, ...]:
    """List the types: the modules of this package, except this one and the private ones."""
    package = importlib.import_module("actionwatch.notifiers")
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name for name in names if name != "base" and not name.startswith("_")))


def notifier_module(name: str) -> NotifierModule:
    """Import the module of a type that `notifier_types` lists."""
    module: Any = importlib.import_module(f"actionwatch.notifiers.{name}")
    return module  # type: ignore[no-any-return]


def templates_of(name: str, options: Options) -> tuple[str, ...]:
    """Name the templates that a receiver of this type with these options fills."""
    module = notifier_module(name)
    return module.templates(options) if isinstance(module, WithTemplates) else module.TRAITS.templates


class HttpOptions(Options):
    """The keys that all HTTP receivers have in common."""

    timeout: PositiveDuration = DEFAULT_TIMEOUT
    """For a whole request, from connecting to the last byte."""
    ca_file: CaFile | None = None
    """A PEM file with certificates to trust instead of the system's."""
    proxy: Proxy | None = None
    """`http://host:port`, with `user:password@` if required. Proxies from the environment (`HTTPS_PROXY`) are not
    used.
    """

    def http_client(self, identity: ClientCertificate | None = None) -> HttpClient:
        """Build the client that these keys describe. Opens no connection."""
        # Here, because commands that only read the configuration need no httpx.
        from actionwatch.net.http import HttpClient

        return HttpClient(
            timeout=self.timeout,
            headers={"accept-encoding": "identity"},  # responses of receivers are small
            ca_file=self.ca_file,
            identity=identity,
            proxy=self.proxy.get_secret_value() if self.proxy else None,
            max_body_bytes=_MAX_RESPONSE_BYTES,
            is_body_optional=True,
        )


BaseUrl = Annotated[str, AfterValidator(lambda url: check_url(url).rstrip("/"))]
"""Where the API of a service begins, without a slash at the end."""


def _location(name: str) -> str:
    parse_location(name)
    return name


def _at(text: str, info: ValidationInfo) -> str:
    location = info.data.get("location")
    if location is not None:
        parse_crontab(text, parse_location(location))
    return text


class DigestOptions(Options):
    """The times of one message for everything: a crontab line, in local time."""

    location: Annotated[str, AfterValidator(_location)] = "UTC"
    """An IANA time zone: `Australia/Sydney`."""
    at: Annotated[str, AfterValidator(_at)]
    """A crontab line: minute, hour, day of the month, month, weekday."""

    @property
    def crontab(self) -> Crontab:
        """The schedule."""
        return parse_crontab(self.at, parse_location(self.location))


@runtime_checkable
class WithDigest(Protocol):
    """Options of a type whose receivers can get one message on a schedule instead of one for each event."""

    digest: DigestOptions | None


class Redactor:
    """Makes excerpts of what receivers answer: some echo the request."""

    def __init__(self, *secrets: str | None, url: str | None = None, proxy: SecretStr | None = None) -> None:
        """Take secrets, a URL whose path and query count as secret, and the proxy on the way."""
        known = [secret for secret in secrets if secret] + (in_url(url) if url else [])
        self._redact = Redaction(known, logins=in_proxy(proxy.get_secret_value() if proxy else None))

    def excerpt(self, text: str, limit: int = RESPONSE_CHARS) -> str:
        """Return the beginning of the text without secrets, at most `limit` characters, with control characters as escapes."""
        return visible(self._redact.excerpt(text, limit))[:limit]


class AddressNotifier:
    """Base class of what posts to one URL. A failed exchange is a transient error, and its text holds no secret."""

    def __init__(self, url: str, http: HttpClient, redact: Redactor, *, unreachable: str = "") -> None:
        """`unreachable` is a prefix of the text of a failed exchange."""
        self._url = url
        self._http = http
        self._redact = redact
        self._unreachable = unreachable

    def reach(self) -> None:
        """Connect as `send` would."""
        with self._translated():
            self._http.reach(self._url)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def post(self, headers: Mapping[str, str], content: bytes, path: str = "") -> HttpResponse:
        """Post once, to a path below the URL, and return the response, whatever its status.

        Raises: TransientDeliveryError.
        """
        with self._translated():
            return self._http.request("POST", self._url + path, headers=headers, content=content)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TransportError as exc:
            raise TransientDeliveryError(f"{self._unreachable}{self._redact.excerpt(str(exc))}") from exc


def check_response(response: HttpResponse, redact: Redactor) -> None:
    """Return if an HTTP receiver accepted the message; else raise, by the table of statuses in the contract.

    Raises: TransientDeliveryError (408, 425, 429, 5xx) with the Retry-After of the response; PermanentDeliveryError (all other
    statuses; the text for a redirect names its target).
    """
    status = response.status
    if 200 <= status < 300:
        return
    text = redact.excerpt(response.text)
    if status in TRANSIENT_STATUSES or status >= 500:
        wait = retry_after(response.headers, utc_now()) or timedelta(0)
        raise TransientDeliveryError(f"the receiver answered {status}", response=text, retry_after=wait)
    if 300 <= status < 400:
        target = redact.excerpt(response.headers.get("location", "an unnamed address"))
        raise PermanentDeliveryError(
            f"the receiver redirects ({status}) to {target}, and actionwatch does not follow: configure the final URL"
        )
    remedy = _REMEDIES.get(status)
    raise PermanentDeliveryError(f"the receiver answered {status}" + (f" ({remedy})" if remedy else ""), response=text)

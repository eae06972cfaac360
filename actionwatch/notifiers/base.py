"""What every notifier is: a module `notifiers/<type>.py` with `Options`, `build` and the templates it fills.

A notifier sends one message once. It returns, or raises a transient or a permanent `DeliveryError`; retrying, ordering and
giving up belong to the outbox. It is called from several threads at once.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Protocol
from urllib.parse import urlsplit

from pydantic import AfterValidator, ValidationInfo

from actionwatch.base.clock import utc_now
from actionwatch.base.errors import PermanentDeliveryError, TransientDeliveryError, TransportError
from actionwatch.base.model import Message, Receipt
from actionwatch.base.model import Rendered as Rendered
from actionwatch.net.http_response import HttpResponse, retry_after
from actionwatch.net.tls import ClientCertificate
from actionwatch.text.crontab import Crontab, parse_crontab
from actionwatch.text.escaping import visible
from actionwatch.text.options import CaFile, Options, PositiveDuration, Proxy
from actionwatch.text.timeintervals import parse_location

if TYPE_CHECKING:
    from actionwatch.net.http import HttpClient

RESPONSE_CHARS = 500  # the contract: a refusal is kept with the answer's first 500 characters
TRANSIENT_STATUSES = frozenset({408, 425, 429})  # with every 5xx; the contract's table
DEFAULT_TIMEOUT = timedelta(seconds=10)  # of receivers that speak HTTP
MAX_RESPONSE_BYTES = 8 * 1024 * 1024  # sixteen of these must fit into memory
MIN_SECRET_CHARS = 8  # shorter parts of a secret URL are words such as `hooks` or `v1`

REMEDIES = {
    401: "check the receiver's credentials",
    403: "check the receiver's credentials and permissions",
    404: "check the receiver's address",
    410: "the receiver is gone: remove it, or give it its new address",
    413: "the receiver takes no message of this size",
}


class Notifier(Protocol):
    """The code behind a receiver."""

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:
        """Send once. `reference` is what an earlier message of the same alert brought back here, None at first.

        Raises: TransientDeliveryError, PermanentDeliveryError; nothing else.
        """
        ...

    def close(self) -> None:
        """Close what is open. Called once, after the last `send`."""
        ...


class NotifierModule(Protocol):
    """What a module `notifiers/<type>.py` offers."""

    TEMPLATES: tuple[str, ...]
    """Names of the templates to fill for each message, such as `("email.html", "email.txt", "email.subject")`.

    Where they depend on the options, the module has a function `templates(options)` too: ask `templates_of`.
    """
    DEFAULT_RATE_PER_SECOND: float | None
    """How many messages a second the service takes; None where it sets no limit."""
    IS_UPDATED_LAST: bool
    """Whether updates of an alert wait until nothing more can join it, so that only the last is sent."""
    IS_READ_BY_PEOPLE: bool
    """Whether a flood of messages harms: storm control is on by default for these receivers. Automation wants every message."""
    Options: type[Options]

    def build(self, options: Any, *, receiver: str) -> Notifier:
        """Make the notifier of one receiver from its validated options. Opens no connection.

        Where the protocol lets one try without sending, the module has a function `verify(options)` too, which raises what
        `send` would: `check --live` calls it.
        """
        ...

    def preview(self, options: Any, message: Message, rendered: Rendered, *, receiver: str) -> dict[str, str]:
        """Return what `send` would send as files to look at, name -> text, without secrets and without sending."""
        ...


def notifier_types() -> tuple[str, ...]:
    """List the known types: the file names of this folder, but this one and those that begin with an underscore."""
    package = importlib.import_module("actionwatch.notifiers")
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name for name in names if name != "base" and not name.startswith("_")))


def notifier_module(name: str) -> NotifierModule:
    """Import the module of a type that `notifier_types` lists."""
    module: Any = importlib.import_module(f"actionwatch.notifiers.{name}")
    return module  # type: ignore[no-any-return]


def templates_of(name: str, options: Options) -> tuple[str, ...]:
    """Name the templates that a receiver of this type with these options fills."""
    module: Any = notifier_module(name)
    names: tuple[str, ...] = module.templates(options) if hasattr(module, "templates") else module.TEMPLATES
    return names


class HttpOptions(Options):
    """The keys that every receiver has which speaks HTTP."""

    timeout: PositiveDuration = DEFAULT_TIMEOUT
    ca_file: CaFile | None = None
    proxy: Proxy | None = None

    def http_client(self, identity: ClientCertificate | None = None) -> HttpClient:
        """Make the client that these keys describe. Opens no connection."""
        from actionwatch.net.http import (
            HttpClient,  # here, because commands that only read the configuration need no httpx
        )

        return HttpClient(
            timeout=self.timeout,
            headers={"accept-encoding": "identity"},  # a receiver answers with a line or a page
            ca_file=self.ca_file,
            identity=identity,
            proxy=self.proxy.get_secret_value() if self.proxy else None,
            max_body_bytes=MAX_RESPONSE_BYTES,
        )


def _location(name: str) -> str:
    parse_location(name)
    return name


def _at(text: str, info: ValidationInfo) -> str:
    location = info.data.get("location")
    if location is not None:
        parse_crontab(text, parse_location(location))
    return text


class DigestOptions(Options):
    """Everything in one message at these times: a crontab line on the wall clock of a place."""

    location: Annotated[str, AfterValidator(_location)] = "UTC"
    at: Annotated[str, AfterValidator(_at)]

    @property
    def crontab(self) -> Crontab:
        """When it is due."""
        return parse_crontab(self.at, parse_location(self.location))


class Redactor:
    """Takes known secrets out of texts that a receiver answered with: some echo what they were sent."""

    def __init__(self, *secrets: str | None, url: str | None = None) -> None:
        """Know whole secrets, and a URL whose path and query are one."""
        known = [secret for secret in secrets if secret]
        if url:
            parts = urlsplit(url)
            tail = url.split(parts.netloc, 1)[-1]
            known += [part for part in (tail, *re.split(r"[/?&=#;]", tail)) if len(part) >= MIN_SECRET_CHARS]
        # The longest first, so that no part of a secret is left beside a redacted other part.
        self._pattern = re.compile("|".join(map(re.escape, sorted(known, key=len, reverse=True)))) if known else None

    def __call__(self, text: str) -> str:
        """Return the text without secrets, and with nothing in it that acts unseen."""
        return visible(self._pattern.sub("[secret]", text) if self._pattern else text)


class AddressNotifier:
    """The base of notifiers that post to one address: what breaks on the way there passes, and is told without secrets."""

    def __init__(self, url: str, http: HttpClient, redact: Redactor, *, unreachable: str = "") -> None:
        """`unreachable` is said before what broke."""
        self._url = url
        self._http = http
        self._redact = redact
        self._unreachable = unreachable

    def reach(self) -> None:
        """Connect as `send` would.

        Raises: TransientDeliveryError.
        """
        with self._translated():
            self._http.reach(self._url)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def post(self, headers: Mapping[str, str], content: bytes) -> HttpResponse:
        """Exchange one POST for one answer, whatever it says.

        Raises: TransientDeliveryError.
        """
        with self._translated():
            return self._http.post(self._url, headers=headers, content=content)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TransportError as exc:
            raise TransientDeliveryError(f"{self._unreachable}{self._redact(str(exc))}") from exc


def check_response(response: HttpResponse, redact: Redactor, now: datetime | None = None) -> None:
    """Return if an HTTP receiver took the message: the contract's table of statuses, for every notifier that speaks HTTP.

    Raises: TransientDeliveryError (408, 425, 429, 5xx) with the answer's Retry-After; PermanentDeliveryError (the rest;
    a redirect shows its target, which is not followed).
    """
    status = response.status
    if 200 <= status < 300:
        return
    text = redact(response.excerpt(RESPONSE_CHARS))[:RESPONSE_CHARS]
    if status in TRANSIENT_STATUSES or status >= 500:
        wait = retry_after(response.headers, now or utc_now()) or timedelta(0)
        raise TransientDeliveryError(f"the receiver answered {status}", response=text, retry_after=wait)
    if 300 <= status < 400:
        target = redact(response.headers.get("location", "an address it does not name"))[:RESPONSE_CHARS]
        raise PermanentDeliveryError(
            f"the receiver redirects ({status}) to {target}, which is not followed: give the receiver its final address"
        )
    remedy = REMEDIES.get(status)
    raise PermanentDeliveryError(f"the receiver answered {status}" + (f" ({remedy})" if remedy else ""), response=text)

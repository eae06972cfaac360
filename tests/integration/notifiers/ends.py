"""The far ends of the contract suite: for each notifier a real receiver, and how it succeeds, fails and is inspected."""

from __future__ import annotations

import functools
import io
import json
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Protocol

from actionwatch.base.model import Message, Receipt
from actionwatch.notifiers import apprise, console, email, pagerduty, slack, webhook
from actionwatch.notifiers.base import Notifier, templates_of
from actionwatch.render.renderer import Renderer
from tests.integration.notifiers.http_end import HttpEnd, Reply, Request, dead_port
from tests.integration.notifiers.smtp_end import PASSWORD, RawEnd, SmtpEnd, hang, part, reset, say
from tests.waiting import LIMIT, PATIENT

TEMPLATES = Path(__file__).parents[3] / "templates"
TOKEN = "xoxb-1234567890-s3cret-token"
SECRET_PATH = "T0S3CRETPATH"
KEY = "whsec_c2VjcmV0LXNpZ25pbmcta2V5LW9mLTMyLWJ5dGVz"
HEADER = "Bearer s3cret-header"

ROUTING_KEY = "R0UT1NGK3Y0123456789ABCDEFGHIJKL"

RENDERER = Renderer([Path(__file__).parent / "templates", TEMPLATES])
Fault = Callable[[], None]
_ANY_WEBHOOK = webhook.Options.model_validate({"url": "https://x.example"})


def deliver(
    notifier: Notifier, type_name: str, message: Message, reference: str | None = None, made_of: Any = None
) -> Receipt:
    """Render and send, like the outbox. `made_of` are the options of the receiver, if its templates depend on them."""
    names = templates_of(type_name, made_of or _ANY_WEBHOOK)
    rendered, failures = RENDERER.render(names, message)
    assert failures == []
    return notifier.send(message, rendered, reference)


class End(Protocol):
    """A notifier with its far end."""

    type_name: str
    notifier: Notifier
    options: Any
    secrets: tuple[str, ...]
    transient: dict[str, Fault]
    permanent: dict[str, Fault]

    def hang(self) -> None:
        """Make the far end send no response."""

    def heal(self) -> None:
        """Make the far end accept messages again."""

    def ids(self) -> list[str]:
        """The ids of the accepted messages, in order."""

    def shown(self) -> str:
        """Everything that a person would see of the last message."""

    def assert_harmless(self) -> None:
        """Fail if anything in the last message would have an effect."""


class HttpNotifierEnd:
    """The far end of a notifier that sends over HTTP."""

    server: HttpEnd
    notifier: Notifier

    def start(self, notifier: Notifier) -> None:
        self.notifier = notifier
        self.transient = http_transient(self.server)
        self.permanent = http_permanent(self.server)

    def hang(self) -> None:
        self.server.queue.append(Reply(fault="hang"))

    def heal(self) -> None:
        self.server.queue.clear()


@dataclass
class WebhookEnd(HttpNotifierEnd):
    """The receiver of a webhook."""

    server: HttpEnd
    options: webhook.Options
    type_name: str = "webhook"
    secrets: tuple[str, ...] = (KEY, KEY.removeprefix("whsec_"), SECRET_PATH, "s3cret-header")
    notifier: Notifier = field(init=False)

    def __post_init__(self) -> None:
        self.start(webhook.build(self.options, receiver="soar"))

    def ids(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self.server.requests]

    def shown(self) -> str:
        return str(self.server.requests[-1].json)

    def assert_harmless(self) -> None:
        request = self.server.requests[-1]
        assert set(request.json) == {"type", "timestamp", "data"}
        assert not [name for name in request.headers if name.startswith("bcc")]


@dataclass
class PagerDutyEnd(HttpNotifierEnd):
    """PagerDuty's Events API."""

    server: HttpEnd
    options: pagerduty.Options
    type_name: str = "pagerduty"
    secrets: tuple[str, ...] = (ROUTING_KEY,)
    notifier: Notifier = field(init=False)

    def __post_init__(self) -> None:
        self.start(pagerduty.build(self.options, receiver="on-call"))

    def ids(self) -> list[str]:
        return [request.headers["idempotency-key"] for request in self.server.requests]

    def shown(self) -> str:
        return str(self.server.requests[-1].json)

    def assert_harmless(self) -> None:
        request = self.server.requests[-1]
        assert len(request.body) < 512 * 1024
        payload = request.json["payload"]
        assert len(payload["summary"]) <= 1_024
        assert len(payload["summary"].splitlines()) == 1
        assert request.json.get("event_action") in (None, "trigger", "acknowledge", "resolve")


@dataclass
class AppriseEnd(HttpNotifierEnd):
    """One of the services of Apprise: a server that accepts JSON."""

    server: HttpEnd
    options: apprise.Options
    type_name: str = "apprise"
    secrets: tuple[str, ...] = (SECRET_PATH,)
    notifier: Notifier = field(init=False)

    def __post_init__(self) -> None:
        self.start(apprise.build(self.options, receiver="anything-else"))

    def ids(self) -> list[str]:
        return [request.json["title"] for request in self.server.requests]

    def shown(self) -> str:
        sent = self.server.requests[-1].json
        return f"{sent['title']}\n{sent['message']}"

    def assert_harmless(self) -> None:
        shown = self.shown()
        assert not re.search(r"[<>]|://|www\.|\]\(|(?<![\w.+-])@\w", shown)
        assert not re.search(r"[\x00-\x09\x0b-\x1f\u202a-\u202e\u2066-\u2069]", shown)
        assert len(shown) < 4_000


@dataclass
class SlackEnd(HttpNotifierEnd):
    """Slack with a bot token or with an incoming webhook."""

    server: HttpEnd
    options: slack.Options
    is_incoming: bool
    type_name: str = "slack"
    secrets: tuple[str, ...] = (TOKEN, SECRET_PATH)
    notifier: Notifier = field(init=False)

    def __post_init__(self) -> None:
        self.start(slack.build(self.options, receiver="security-slack"))
        if not self.is_incoming:
            for error in ("ratelimited", "internal_error", "service_unavailable", "fatal_error"):
                self.transient[error] = slack_response(self.server, error)
            for error in ("invalid_auth", "channel_not_found", "not_in_channel", "is_archived", "msg_too_long"):
                self.permanent[error] = slack_response(self.server, error)

    def ids(self) -> list[str]:
        return [request.json["metadata"]["event_payload"]["id"] for request in self.server.requests]

    def shown(self) -> str:
        return "\n".join(text["text"] for text in slack_texts(self.server.requests[-1].json))

    def assert_harmless(self) -> None:
        payload = self.server.requests[-1].json
        assert payload["unfurl_links"] is False
        assert payload["unfurl_media"] is False
        assert payload["link_names"] is False
        for text in slack_texts(payload):
            assert text["type"] != "mrkdwn" or text["verbatim"] is True
            markup = re.findall(r"<[^>]*>?", text["text"])
            assert all(re.fullmatch(r"<!date\^\d+\^[^<>|^]*\|[^<>]*>", found) for found in markup), markup
            assert not re.search(r"[\x00-\x09\x0b-\x1f\u202a-\u202e\u2066-\u2069]", text["text"])


@dataclass
class EmailEnd:
    """A mail server and its inbox."""

    server: SmtpEnd
    options: email.Options
    stack: ExitStack
    type_name: str = "email"
    secrets: tuple[str, ...] = (PASSWORD,)
    notifier: Notifier = field(init=False)

    def __post_init__(self) -> None:
        self.healthy: Notifier = email.build(self.options, receiver="soc-mail")
        self.notifier = self.healthy
        inbox = self.server.inbox

        def refuse(name: str, value: Any) -> Fault:
            return lambda: setattr(inbox, name, value)

        self.transient: dict[str, Fault] = {
            "greylisted": refuse("rcpt", {"*": "451 try later"}),
            "mailbox busy": refuse("rcpt", {"*": "450 busy"}),
            "sender deferred": refuse("mail_from", "452 too busy"),
            "data deferred": refuse("data", "451 local error"),
            "shutting down": self._raw(say(b"421 going down")),
            "connection refused": lambda: self._move(self.stack.enter_context(dead_port())),
            "reset": self._raw(reset),
            "nonsense": self._raw(say(b"\xff\xfenot smtp")),
        }
        self.permanent: dict[str, Fault] = {
            "no such mailbox": refuse("rcpt", {"*": "550 no such mailbox"}),
            "sender refused": refuse("mail_from", "553 not you"),
            "content refused": refuse("data", "554 spam"),
        }
        if (
            self.options.tls == "starttls"
        ):  # with implicit TLS, a server that sends this in clear speaks another protocol
            self.permanent["no service"] = self._raw(say(b"554 no smtp here"))

    def _move(self, port: int) -> None:
        self.notifier = email.build(self.options.model_copy(update={"port": port}), receiver="soc-mail")

    def _raw(self, treat: Any) -> Fault:
        return lambda: self._move(self.stack.enter_context(RawEnd(treat)).port)

    def hang(self) -> None:
        self._raw(hang)()

    def heal(self) -> None:
        self.server.inbox.rcpt, self.server.inbox.mail_from, self.server.inbox.data = {}, None, None
        self.notifier = self.healthy

    def ids(self) -> list[str]:
        return [str(mail["Message-ID"]) for mail in self.server.mails]

    def shown(self) -> str:
        mail = self.server.mails[-1]
        return "\n".join((str(mail["Subject"]), part(mail, "plain"), part(mail, "html")))

    def assert_harmless(self) -> None:
        raw = self.server.inbox.mails[-1][1]
        assert max(len(line) for line in raw.split(b"\r\n")) <= 998
        mail = self.server.mails[-1]
        assert not mail.defects
        assert set(mail.keys()) <= MAIL_HEADERS
        assert len(mail.keys()) == len(set(mail.keys()))
        assert len(str(mail["Subject"]).splitlines()) == 1
        assert_inert_html(part(mail, "html"))


@dataclass
class ConsoleEnd:
    """A terminal, as far as a stream can be one."""

    stack: ExitStack
    type_name: str = "console"
    secrets: tuple[str, ...] = ()
    notifier: Notifier = field(init=False)

    def __post_init__(self) -> None:
        self.stream = io.StringIO()
        self.options = console.Options()
        self.heal()

        def break_with(error: OSError) -> Fault:
            def fault() -> None:
                self.notifier = console.ConsoleNotifier(_Broken(error))

            return fault

        def close() -> None:
            stream = io.StringIO()
            stream.close()
            self.notifier = console.ConsoleNotifier(stream)

        self.transient: dict[str, Fault] = {"disk full": break_with(OSError(28, "No space left on device"))}
        self.permanent: dict[str, Fault] = {
            "closed": close,
            "broken pipe": break_with(BrokenPipeError(32, "Broken pipe")),
        }

    def hang(self) -> None:
        raise NotImplementedError("a stream has no timeout")

    def heal(self) -> None:
        self.notifier = console.build(self.options, receiver="screen", stream=self.stream)

    def ids(self) -> list[str]:
        return re.findall(r"^▌  [A-Z]+ ", self.stream.getvalue(), re.MULTILINE)

    def shown(self) -> str:
        return self.stream.getvalue()

    def assert_harmless(self) -> None:
        assert not re.search(
            r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", self.stream.getvalue()
        )


MAIL_HEADERS = {
    "From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted", "X-Actionwatch-Message",
    "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "X-Peer", "X-MailFrom", "X-RcptTo",
}  # fmt: skip


class _Broken(io.StringIO):
    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:
        raise self._error


def http_transient(server: HttpEnd) -> dict[str, Fault]:
    """The temporary errors of the contract's table."""
    replies = {str(status): Reply(status, b"busy") for status in (408, 425, 429, 500, 502, 503, 504)}
    replies |= {fault: Reply(fault=fault) for fault in ("reset", "close")}
    return {name: functools.partial(server.queue.append, reply) for name, reply in replies.items()}


def http_permanent(server: HttpEnd) -> dict[str, Fault]:
    """The permanent errors of the contract's table."""
    elsewhere = {"location": f"{server.url}/elsewhere"}
    replies = {str(status): Reply(status, b"moved", elsewhere) for status in (301, 302, 303, 307, 308)}
    replies |= {"304": Reply(304)} | {
        str(status): Reply(status, b"no") for status in (400, 401, 403, 404, 405, 410, 413, 422)
    }
    return {name: functools.partial(server.queue.append, reply) for name, reply in replies.items()}


def slack_response(server: HttpEnd, error: str) -> Fault:
    """Respond like Slack's Web API: with 200, and an error in the body."""
    return lambda: server.queue.append(slack_error(error))


def slack_error(error: str, **more: Any) -> Reply:
    """Make an error as Slack writes it."""
    return Reply(200, json.dumps({"ok": False, "error": error, **more}).encode(), {"content-type": "application/json"})


def slack_reply(request: Request) -> Reply:
    """Respond like Slack to a valid request, and check that it is valid."""
    if request.path.startswith("/services/"):
        return Reply(200, b"ok")
    if request.headers.get("authorization") != f"Bearer {TOKEN}":
        return slack_error("invalid_auth")
    count = request.json.get("ts") or "1700000000.000100"
    body = f'{{"ok": true, "channel": "C0123456789", "ts": "{count}"}}'
    return Reply(200, body.encode(), {"content-type": "application/json; charset=utf-8"})


def slack_texts(payload: Any) -> Iterator[dict[str, Any]]:
    """Return every text object of a message, including the text of the notification."""
    if isinstance(payload, dict):
        if isinstance(payload.get("text"), str):
            yield {"verbatim": None, "type": "notification", **payload}
        for value in payload.values():
            yield from slack_texts(value)
    elif isinstance(payload, list):
        for value in payload:
            yield from slack_texts(value)


def assert_inert_html(html: str) -> None:
    """Fail if the HTML of a mail contains an element or an attribute that the template does not."""
    seen = _Elements()
    seen.feed(html)
    assert seen.tags <= {
        "html", "head", "meta", "title", "style", "body", "table", "tr", "td", "th", "p", "span", "h1", "h2", "ol", "li",
        "strong", "br", "code",
    }, seen.tags  # fmt: skip
    assert not {name for name in seen.attributes if name.startswith("on") or name in ("href", "src", "srcset")}


class _Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


ENDS = (
    "webhook", "webhook over tls", "slack", "slack incoming webhook", "pagerduty", "apprise", "email starttls",
    "email implicit", "console",
)  # fmt: skip


@contextmanager
def open_end(name: str, server_context: ssl.SSLContext, ca_file: Path, timeout: timedelta = PATIENT) -> Iterator[End]:
    """Start a far end and build its notifier. Close both at the end."""
    with ExitStack() as stack:
        end = _open(name, server_context, ca_file, stack, f"{timeout.total_seconds():g}s")
        yield end
        end.heal()
        end.notifier.close()


def _open(name: str, server_context: ssl.SSLContext, ca_file: Path, stack: ExitStack, timeout: str) -> End:
    if name.startswith("webhook"):
        is_tls = name.endswith("tls")
        server = stack.enter_context(HttpEnd(lambda _: Reply(204), server_context if is_tls else None))
        given = {"url": f"{server.url}/{SECRET_PATH}", "signing_key": KEY, "headers": {"authorization": HEADER}}
        given["timeout"] = timeout
        return WebhookEnd(server, options(webhook.Options, **given, ca_file=ca_file if is_tls else None))
    if name.startswith("slack"):
        server = stack.enter_context(HttpEnd(slack_reply))
        if name == "slack":
            given = {"token": TOKEN, "channel": "C0123456789", "base_url": f"{server.url}/api/"}
        else:
            given = {"webhook_url": f"{server.url}/services/T0/B0/{SECRET_PATH}"}
        return SlackEnd(server, options(slack.Options, **given, timeout=timeout), is_incoming="webhook_url" in given)
    if name == "pagerduty":
        server = stack.enter_context(HttpEnd(lambda _: Reply(202, b'{"status": "success"}')))
        given = {"routing_key": ROUTING_KEY, "base_url": server.url}
        return PagerDutyEnd(server, options(pagerduty.Options, **given, timeout=timeout))
    if name == "apprise":
        server = stack.enter_context(HttpEnd(lambda _: Reply(200)))
        # `retry` and `redirect` are for Apprise, and must both be overridden.
        url = f"{server.url}/{SECRET_PATH}?retry=2&wait=0.1&redirect=yes".replace("http", "json", 1)
        return AppriseEnd(server, options(apprise.Options, url=url, timeout=timeout))
    if name.startswith("email"):
        is_implicit = name.endswith("implicit")
        # aiosmtpd offers no AUTH on implicit TLS.
        login = {"username": None, "password": None, "tls": "implicit"} if is_implicit else {}
        mail = stack.enter_context(SmtpEnd(server_context, is_implicit=is_implicit, is_auth_required=not is_implicit))
        return EmailEnd(mail, email_options(mail.port, ca_file, **login, timeout=timeout), stack)
    return ConsoleEnd(stack)


def options(kind: Any, **given: Any) -> Any:
    """Validate options like the loader of the configuration."""
    return kind.model_validate({"timeout": f"{LIMIT:g}s", **given}, context={"folder": Path()})


def email_options(port: int, ca_file: Path | None, **given: Any) -> email.Options:
    """Options for a mail server of these tests."""
    made: email.Options = options(
        email.Options,
        **{
            "host": "127.0.0.1",
            "port": port,
            "username": "actionwatch",
            "password": PASSWORD,
            "ca_file": ca_file,
            "from": "Alerts <actionwatch@example.com>",
            "to": ["soc@example.com"],
            **given,
        },
    )
    return made

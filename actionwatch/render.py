"""Fill templates in: one message becomes the texts that its receiver's channel takes, and always becomes something.

The operator's folder overrides the shipped templates name by name. What a template prints is escaped for its channel, which
the end of its name tells. A template that fails gives way to the shipped one of that name, and that to a plain text which
cannot fail; each failure is returned, for people to see. Variables and filters: docs/templates.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape as escape_html
from pathlib import Path
from types import TracebackType
from typing import Any

from jinja2 import FileSystemLoader, TemplateNotFound, TemplateSyntaxError, Undefined
from markupsafe import Markup

from actionwatch.documents import alert_document, instant
from actionwatch.errors import Fault, TemplateError
from actionwatch.model import Alert, Entity, Level, Message, Record, Rendered, RuleName, Status
from actionwatch.options import spell_duration
from actionwatch.sandbox import SandboxedEnvironment, fill, sandbox
from actionwatch.text import one_line, shorten, visible

SUFFIX = ".j2"
CHANNELS = ("slack.json", "json", "html", "subject", "txt")  # by the end of a template's name; the first that fits
PLAIN_LIMIT_CHARS = 2_000

LEVEL_COLOURS = {
    "critical": "#d32f2f",
    "high": "#f4511e",
    "medium": "#f9a825",
    "low": "#1e88e5",
    "informational": "#757575",
}
LEVEL_SIGNS = {"critical": "🔴", "high": "🟠", "medium": "🟡", "low": "🔵", "informational": "⚪"}
RESOLVED_COLOUR = "#2e7d32"
_SURROGATE = re.compile("[\ud800-\udfff]")
_LIST_MARK = re.compile(r"\s*(?:\d{1,3}[.)]|[-*•])\s+")


class JsonText(str):
    """A text that is JSON already: printed as it is in a `.json` template."""

    __slots__ = ()


class SlackMarkup(str):
    """A text in Slack's own markup, such as a date: escaped for JSON, not for Slack."""

    __slots__ = ()


class Renderer:
    """Fills templates from folders, the first that has a name winning. Safe to share between threads.

    A changed file is read anew at its next use.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        """Read from these folders: the operator's first, the shipped one last. A folder need not exist."""
        self._folders = tuple(folders)
        self._environments = {
            (folder, channel): _environment(self._folders[rank:], channel)
            for rank, folder in enumerate(self._folders)
            for channel in CHANNELS
        }

    def render(self, names: tuple[str, ...], message: Message) -> tuple[Rendered, list[str]]:
        """Fill the templates of these names (`email.html`) with a message.

        Returns: a text for every name, and what went wrong on the way, one line each; empty when nothing did.
        """
        if not names:
            return Rendered(), []
        values = variables(message)
        texts: dict[str, str] = {}
        failures: list[str] = []
        for name in names:
            texts[name], faults = self._text(name, message, values)
            failures += [str(fault) for fault in faults]
        return Rendered(texts), failures

    def check(self) -> list[Fault]:
        """Parse every template of every folder and fill it with sample messages; gives all faults, located."""
        faults: list[Fault] = []
        for folder in self._folders:
            for path in sorted(folder.glob(f"**/*{SUFFIX}")):
                name = path.relative_to(folder).as_posix().removesuffix(SUFFIX)
                faults += self._check(folder, name, path)
        return list(dict.fromkeys(faults))

    def _text(self, name: str, message: Message, values: Mapping[str, Any]) -> tuple[str, list[Fault]]:
        faults: list[Fault] = []
        for folder in self._folders:
            if (folder / f"{name}{SUFFIX}").is_file():
                try:
                    return self._fill(folder, name, values), faults
                except TemplateError as exc:
                    faults += exc.faults
        if not faults:
            faults.append(Fault(f"{name}{SUFFIX}", 0, 0, "there is no such template", "a plain text was sent"))
        return plain(name, message), faults

    def _fill(self, folder: Path, name: str, values: Mapping[str, Any]) -> str:
        """Fill one folder's template.

        Raises: TemplateError, located.
        """
        path = folder / f"{name}{SUFFIX}"
        channel = _channel(name)
        if channel is None:
            what = f"no channel ends in this name; one of {', '.join(CHANNELS)} must follow"
            raise TemplateError(Fault(str(path), 0, 0, what))
        try:
            template = self._environments[folder, channel].get_template(f"{name}{SUFFIX}")
            text = fill(template, values)
        except TemplateSyntaxError as exc:
            raise TemplateError(
                Fault(exc.filename or str(path), exc.lineno, 1, exc.message or "broken template")
            ) from exc
        except TemplateNotFound as exc:
            raise TemplateError(Fault(str(path), 0, 0, f"the template {exc.name} is not there")) from exc
        except (OSError, UnicodeDecodeError, RecursionError) as exc:
            raise TemplateError(Fault(str(path), 0, 0, f"cannot be read: {exc}")) from exc
        except TemplateError as exc:
            raise _located(exc, path) from exc.__cause__
        return _finish(text, channel, path)

    def _check(self, folder: Path, name: str, path: Path) -> Iterator[Fault]:
        if path.name.startswith("_"):  # a part that others include: filled where it is included
            return
        for message in _samples():
            try:
                self._fill(folder, name, variables(message))
            except TemplateError as exc:
                yield from exc.faults
                return


def variables(message: Message) -> dict[str, Any]:
    """Name what a template may use. `records` has the newest first, unlike the message's own."""
    data = message.data
    return {
        "type": message.type,
        "event": message.type.rpartition(".")[2],
        "timestamp": message.timestamp,
        "alert": data,
        "data": data,
        "fields": [{"name": name, "value": value} for name, value in message.fields],
        "records": list(reversed(data.get("records") or [])),
        "message_id": message.id,
    }


def plain(name: str, message: Message) -> str:
    """Say the most needful without any template, in the form that `name` asks for."""
    channel = _channel(name)
    head = one_line(f"[{message.data.get('level', 'alert')}] {message.data.get('title') or message.type}")
    if channel == "json":
        document = {"type": message.type, "timestamp": instant(message.timestamp), "data": message.data}
        return _dump(document)
    if channel == "slack.json":
        return _dump({"text": _mrkdwn(shorten(head, PLAIN_LIMIT_CHARS))})
    if channel == "subject":
        return shorten(head, 250)
    shown = {
        label: message.data.get(label) for label in ("body", "first_at", "last_at", "count", "source", "runbook", "id")
    }
    lines = [f"{label}: {shorten(visible(str(value)), PLAIN_LIMIT_CHARS)}" for label, value in shown.items() if value]
    text = "\n".join([head, "", *lines]) + "\n"
    return f"<pre style='white-space:pre-wrap'>{escape_html(text)}</pre>" if channel == "html" else text


@dataclass(frozen=True, slots=True)
class _Channel:
    """How a channel escapes: `print_value` sees every value that a template prints."""

    print_value: Callable[[Any], Any]
    is_html: bool = False


def _environment(folders: Sequence[Path], channel: str) -> SandboxedEnvironment:
    kind = _CHANNELS[channel]
    environment = sandbox(loader=FileSystemLoader(folders), autoescape=kind.is_html, finalize=kind.print_value)
    environment.filters.update(_FILTERS)
    if not kind.is_html:
        environment.filters["tojson"] = lambda value: JsonText(_dump(value))
    return environment


def _channel(name: str) -> str | None:
    for channel in CHANNELS:
        if name == channel or name.endswith(f".{channel}"):
            return channel
    return None


def _print_text(value: Any) -> Any:
    return value if isinstance(value, Undefined) else visible(_shown(value))


def _print_line(value: Any) -> Any:
    return value if isinstance(value, Undefined) else one_line(_shown(value))


def _print_html(value: Any) -> Any:
    return value if isinstance(value, Undefined | Markup) else visible(_shown(value))


def _print_json(value: Any) -> Any:
    """Print a text as the inside of a JSON string, anything else as JSON itself."""
    if isinstance(value, Undefined | JsonText):
        return value
    return _dump(value)[1:-1] if isinstance(value, str) else _dump(value)


def _print_slack(value: Any) -> Any:
    """Print a text as the inside of a JSON string that Slack shows literally: no mention, no link."""
    if isinstance(value, SlackMarkup):
        return _dump(str(value))[1:-1]
    if isinstance(value, Undefined | JsonText):
        return value
    return _dump(_mrkdwn(visible(value)))[1:-1] if isinstance(value, str) else _dump(value)


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


def _mrkdwn(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _dump(value: Any) -> str:
    """Write JSON; a lone surrogate, which UTF-8 cannot hold and receivers choke on, becomes U+FFFD."""
    return _SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False, default=str))


def _finish(text: str, channel: str, path: Path) -> str:
    """Insist on JSON where JSON is due, and on one line for a subject."""
    if channel == "subject":
        return " ".join(text.split())
    if channel in ("json", "slack.json"):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as exc:
            line = getattr(exc, "lineno", 0)
            what = f"the filled-in template is not JSON: {exc}; a text goes between quotes, a value of its own through tojson"
            raise TemplateError(
                Fault(str(path), 0, 0, f"{what} (line {line} of the result)" if line else what)
            ) from exc
        if channel == "slack.json" and not isinstance(value, dict):
            raise TemplateError(Fault(str(path), 0, 0, "the filled-in template must be one JSON object"))
    return text


def _located(error: TemplateError, path: Path) -> TemplateError:
    """Add the line: jinja2 rewrites tracebacks so that frames of a template carry its file and line."""
    place = _last_frame(error.__cause__.__traceback__ if error.__cause__ else None)
    file, line = place or (str(path), 0)
    return TemplateError(*(Fault(file, line, 1 if line else 0, fault.what, fault.remedy) for fault in error.faults))


def _last_frame(trace: TracebackType | None) -> tuple[str, int] | None:
    place = None
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.endswith(SUFFIX):
            place = (name, trace.tb_lineno)
        trace = trace.tb_next
    return place


def _moment(value: Any) -> datetime:
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return at.astimezone(UTC)


def _utc(value: Any) -> str:
    return f"{_moment(value):%Y-%m-%d %H:%M:%S} UTC"


def _date(value: Any, form: str = "%Y-%m-%d") -> str:
    return _moment(value).strftime(form)


def _slack_date(value: Any, form: str = "{date_short_pretty} {time_secs}") -> SlackMarkup:
    """Give a time that Slack shows in each reader's own zone, with UTC for clients that cannot."""
    at = _moment(value)
    safe_form = re.sub(r"[<>|^]", "", form)
    return SlackMarkup(f"<!date^{int(at.timestamp())}^{safe_form}|{_utc(at)}>")


def _duration(value: Any) -> str:
    return spell_duration(value if isinstance(value, timedelta) else timedelta(seconds=float(value)))


def _steps(text: Any) -> list[str]:
    """Split a runbook into its steps: its lines, without their own numbers and bullets."""
    lines = (_LIST_MARK.sub("", line, count=1).strip() for line in str(text or "").splitlines())
    return [line for line in lines if line]


def _colour(alert: Mapping[str, Any]) -> str:
    if alert.get("status") == "resolved":
        return RESOLVED_COLOUR
    return LEVEL_COLOURS.get(str(alert.get("level")), LEVEL_COLOURS["informational"])


def _sign(alert: Mapping[str, Any]) -> str:
    return "✅" if alert.get("status") == "resolved" else LEVEL_SIGNS.get(str(alert.get("level")), "⚪")


def _entity(value: Any) -> str:
    """Name an account or a cluster for people: its name, else its id, else nothing."""
    return str(value.get("name") or value.get("id") or "") if isinstance(value, Mapping) else ""


_FILTERS: dict[str, Callable[..., Any]] = {
    "shorten": lambda text, limit: shorten(_shown(text), limit),
    "line": lambda text: one_line(_shown(text)),
    "utc": _utc,
    "date": _date,
    "slack_date": _slack_date,
    "duration": _duration,
    "steps": _steps,
    "colour": _colour,
    "sign": _sign,
    "entity": _entity,
}
_CHANNELS = {
    "html": _Channel(_print_html, is_html=True),
    "txt": _Channel(_print_text),
    "subject": _Channel(_print_line),
    "json": _Channel(_print_json),
    "slack.json": _Channel(_print_slack),
}


def _samples() -> Iterator[Message]:
    """Make messages that between them fill in, and leave out, everything that an alert may have."""
    at = datetime(2026, 11, 25, 9, 0, 43, 770_000, tzinfo=UTC)
    rule = RuleName("0001", "cluster_deleted", "Cluster deleted", ("attack.impact",))
    records = [
        Record(
            key=f"sample-{number}",
            source="acme",
            occurred_at=at - timedelta(minutes=number),
            seen_at=at,
            action_kind="DELETE_CLUSTER",
            raw='{"action": "DELETE_CLUSTER"}',
            user_name="eve@example.com",
            description="Deleted the cluster payments-prod",
            account=Entity("a-1", "payments"),
            cluster=Entity("c-1", "payments-prod"),
            operation="DELETE",
            scope="account",
        )
        for number in reversed(range(50))
    ]
    full = Alert(
        id="alert-1",
        rule=rule,
        level=Level.CRITICAL,
        title="Cluster payments-prod deleted by eve@example.com",
        body="eve@example.com deleted the cluster payments-prod.",
        source="acme",
        first_at=at - timedelta(minutes=59),
        last_at=at,
        opened_at=at,
        runbook="1. Ask eve whether this was planned.\n2. Restore from the newest backup.",
        labels={"team": "payments"},
        group={"userName": "eve@example.com"},
        count=60,
        late_by=timedelta(hours=2),
    )
    bare = Alert(
        id="alert-2",
        rule=RuleName("0002", "bare", "Bare"),
        level=Level.LOW,
        title="Bare",
        body="",
        source="acme",
        first_at=at,
        last_at=at,
        opened_at=at,
        status=Status.RESOLVED,
        resolved_by="sam",
    )
    nameless = Record(key="sample", source="acme", occurred_at=at, seen_at=at, action_kind="LOGIN", raw="{}")
    document = alert_document(full, records)
    yield Message(
        "message-1", "alert.opened", at, document, (("User", "eve@example.com"), ("Cluster", "payments-prod"))
    )
    yield Message("message-2", "alert.updated", at, {**document, "status": "acked", "acked_by": "sam"})
    yield Message("message-3", "alert.resolved", at, alert_document(bare, [nameless]))
    yield Message("message-4", "receiver.test", at, alert_document(full, []))

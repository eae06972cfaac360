"""Render templates: convert a message into the texts that its receiver sends. Rendering always produces a text.

A template in the operator's folder overrides the shipped one of the same name. Printed values are escaped for the channel,
which the end of the template's name determines. If a template fails, the shipped template of that name is used, and then a
plain text that cannot fail. All failures are returned. Variables and filters: docs/receivers.md.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from functools import partial
from html import escape as escape_html
from pathlib import Path
from typing import Any

from jinja2 import TemplateNotFound, TemplateSyntaxError

from actionwatch.base.errors import ConfigError, Fault, TemplateError
from actionwatch.base.model import MESSAGE_TYPES, Event, Message, Rendered
from actionwatch.render.channels import CHANNELS, channel_of, dump, environment, inert
from actionwatch.render.filters import Link, unless_in
from actionwatch.render.samples import sample_messages
from actionwatch.render.template_folders import SUFFIX, TemplateFolders, files_of
from actionwatch.text.escaping import one_line, shorten, visible, without_slack_markup
from actionwatch.text.payloads import instant, shown_labels
from actionwatch.text.sandbox import SandboxedEnvironment, fill

_SUMMARY = MESSAGE_TYPES[Event.SUMMARY]
_MAX_TEXT_CHARS = 2_000  # of the plain text
_MAX_BODY_CHARS = 4_000  # that the shipped templates show
_SHOWN_ELSEWHERE = ("timestamp", "actionKind")  # than in the fields
_MAX_ALERTS = 50  # in the plain text
_SUMMARY_PREFIX = "summary."  # for a summary, `summary.email.html.j2` replaces `email.html.j2`


class Renderer:
    """Fills in templates from folders; the first folder that has a name wins. Safe to share between threads.

    A changed file is read again at its next use. After `use`, the given texts replace the operator's folder.
    """

    def __init__(self, folders: Sequence[Path], zone: tzinfo = UTC) -> None:
        """Use these folders: the operator's first, the shipped one last. A folder need not exist. Readers live in `zone`."""
        self._folders = TemplateFolders(folders)
        self._zone = zone
        self.version = 0
        """Changes with each call of `use`."""
        self._environments: dict[tuple[Path, str], SandboxedEnvironment] = {}
        """Made at their first use, because most receivers need one or two of them."""

    def use(self, texts: Mapping[str, str]) -> None:
        """Use these texts, by file name, instead of the files of the first folder."""
        self._folders.texts = dict(texts)
        self.version += 1

    def render(self, names: tuple[str, ...], message: Message) -> tuple[Rendered, list[Fault]]:
        """Fill in the templates with these names (`email.html`).

        Returns: a text for every name, and the failures.
        """
        if not names:
            return Rendered(), []
        values = variables(message)
        texts: dict[str, str] = {}
        failures: list[Fault] = []
        for name in names:
            texts[name], faults = self._text(self._chosen(name, message), message, values)
            failures += faults
        return Rendered(texts), failures

    def check(self) -> list[Fault]:
        """Fill in all templates with sample messages and return all errors with their locations."""
        return self._check((folder, path) for folder in self._folders.paths for path in files_of(folder))

    def check_texts(self, texts: Mapping[str, str]) -> list[Fault]:
        """Check texts that are meant for `use`, by file name."""
        folder, other = self._folders.paths[0], Renderer(self._folders.paths, self._zone)
        other.use(texts)
        return other._check((folder, folder / name) for name in sorted(texts))

    def missing(self, names: Sequence[str]) -> list[str]:
        """Return the names that no folder has."""
        return [name for name in names if not self._folders.has(name)]

    def _chosen(self, name: str, message: Message) -> str:
        """Return the name of the template for this message: a summary may have its own."""
        own = f"{_SUMMARY_PREFIX}{name}"
        return own if message.type == _SUMMARY and self._folders.has(own) else name

    def _text(self, name: str, message: Message, values: Mapping[str, Any]) -> tuple[str, list[Fault]]:
        faults: list[Fault] = []
        for folder in self._folders.paths:
            if self._folders.is_in(folder, f"{name}{SUFFIX}"):
                try:
                    return self._fill(folder, name, values), faults
                except TemplateError as exc:
                    faults += exc.faults
        if not faults:
            faults.append(Fault(f"{name}{SUFFIX}", 0, 0, "this template does not exist", "a plain text was sent"))
        return plain(name, message), faults

    def _fill(self, folder: Path, name: str, values: Mapping[str, Any]) -> str:
        """Fill in the template of one folder.

        Raises: TemplateError, with the location.
        """
        path = folder / f"{name}{SUFFIX}"
        channel = channel_of(name)
        if channel is None:
            what = f"the name of a template must end with one of {', '.join(CHANNELS)}"
            raise TemplateError(Fault(str(path), 0, 0, what))
        try:
            template = self._environment(folder, channel).get_template(f"{name}{SUFFIX}")
            text = fill(template, values)
        except TemplateSyntaxError as exc:
            raise TemplateError(
                Fault(exc.filename or str(path), exc.lineno, 1, exc.message or "invalid template")
            ) from exc
        except TemplateNotFound as exc:
            raise TemplateError(Fault(str(path), 0, 0, f"the template {exc.name} does not exist")) from exc
        except RecursionError as exc:
            raise TemplateError(Fault(str(path), 0, 0, f"cannot be read: {exc}")) from exc
        except TemplateError as exc:
            raise _located(exc, path) from exc.__cause__
        except ConfigError as exc:  # of `find`, with the file that cannot be read
            raise TemplateError(*exc.faults) from exc
        return _finish(text, channel, path)

    def _environment(self, folder: Path, channel: str) -> SandboxedEnvironment:
        """Return the environment of a channel for the templates of a folder. Two threads may make it twice: each one works."""
        if (folder, channel) not in self._environments:
            find = partial(self._folders.find, folder)
            self._environments[folder, channel] = environment(channel, find, self._zone)
        return self._environments[folder, channel]

    def _check(self, templates: Iterable[tuple[Path, Path]]) -> list[Fault]:
        """Check templates, each given as the folder and the path of its file. Omit those that other templates include."""
        own = ((folder, path) for folder, path in templates if not path.name.startswith("_"))
        return list(dict.fromkeys(fault for folder, path in own for fault in self._faults(folder, path)))

    def _faults(self, folder: Path, path: Path) -> Iterator[Fault]:
        name = path.relative_to(folder).as_posix().removesuffix(SUFFIX)
        for message in sample_messages():
            if not self._is_for(name, message):
                continue
            try:
                self._fill(folder, name, variables(message))
            except TemplateError as exc:
                yield from (_about(fault, message, name) for fault in exc.faults)
                return

    def _is_for(self, name: str, message: Message) -> bool:
        if name.startswith(_SUMMARY_PREFIX):
            return message.type == _SUMMARY
        return self._chosen(name, message) == name


def _about(fault: Fault, message: Message, name: str) -> Fault:
    if message.type != _SUMMARY or name.startswith(_SUMMARY_PREFIX):
        return fault
    remedy = f"handle the type '{_SUMMARY}', or add {_SUMMARY_PREFIX}{name}{SUFFIX}"
    return replace(fault, what=f"{fault.what} (in a message of type {_SUMMARY})", remedy=fault.remedy or remedy)


def variables(message: Message) -> dict[str, Any]:
    """Return the variables of a template. `records` is newest first, unlike in the message."""
    data = _Document(message.data)
    if "alerts" in data:
        data["alerts"] = [_Document(alert) for alert in data["alerts"]]
    return {
        "type": message.type,
        "event": message.type.rpartition(".")[2],
        "timestamp": instant(message.timestamp),
        "alert": data,
        "data": data,
        "fields": [{"name": name, "value": value} for name, value in message.fields],
        "shown": [{"name": name, "value": value} for name, value in _shown_fields(message)],
        "records": list(reversed(data.get("records") or [])),
        "message_id": message.id,
        "headline": message.headline,
        "causes": message.causes,
        "level": message.level,
    }


class _Document(dict[str, Any]):
    """An alert or a summary. Its `url` is None where there is no link, because an unknown name is an error in a template."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        super().__init__(document)
        if "url" in self:
            self["url"] = Link(self["url"])

    def __missing__(self, name: str) -> None:
        if name != "url":
            raise KeyError(name)


def _shown_fields(message: Message) -> Iterator[tuple[str, str]]:
    """Leave out the fields that a message shows elsewhere: the time, the kind, and a description that the body contains.

    The labels of the rule and of the source follow.
    """
    body = str(message.data.get("body") or "")[:_MAX_BODY_CHARS]
    for name, value in message.fields:
        is_repeated = name == "description" and not unless_in(value, body)
        if name not in _SHOWN_ELSEWHERE and not is_repeated:
            yield name, value
    yield from shown_labels(message.data).items()


def plain(name: str, message: Message) -> str:
    """Describe the message without a template, as is sent if all templates fail, in the format of the channel of `name`."""
    channel = channel_of(name)
    head = one_line(f"[{message.level or 'alert'}] {message.headline}")
    if channel == "json":
        document = {"type": message.type, "timestamp": instant(message.timestamp), "data": message.data}
        return dump(document)
    if channel == "slack.json":
        return dump({"text": without_slack_markup(shorten(head, _MAX_TEXT_CHARS))})
    if channel == "subject":
        return shorten(head, 250)
    if channel == "apprise.subject":
        return inert(shorten(head, 250))
    text = "\n".join([head, "", *_lines(message)]) + "\n"
    if channel == "apprise.txt":
        return inert(text)
    return f"<pre style='white-space:pre-wrap'>{escape_html(text)}</pre>" if channel == "html" else text


def _lines(message: Message) -> Iterator[str]:
    for label in ("body", "first_at", "last_at", "count", "source", "runbook", "id"):
        if value := message.data.get(label):
            yield f"{label}: {shorten(visible(str(value)), _MAX_TEXT_CHARS)}"
    if url := message.data.get("url"):
        yield f"console: {url}"
    for cause in message.causes:
        yield one_line(shorten(cause, 300))
    for alert in message.data.get("alerts", ())[:_MAX_ALERTS]:
        yield one_line(shorten(f"[{alert.get('level')}] {alert.get('title')} ({alert.get('id')})", 300))
    if omitted := message.data.get("omitted"):
        yield f"and {omitted} more"


def _finish(text: str, channel: str, path: Path) -> str:
    """Check that JSON templates produce JSON, and join the lines of a subject."""
    if channel.endswith("subject"):
        return " ".join(text.split())
    if channel in ("json", "slack.json"):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as exc:
            line = getattr(exc, "lineno", 0)
            what = f"the result is not JSON: {exc}; write texts between quotes, and other values with tojson"
            raise TemplateError(
                Fault(str(path), 0, 0, f"{what} (line {line} of the result)" if line else what)
            ) from exc
        if channel == "slack.json" and not isinstance(value, dict):
            raise TemplateError(Fault(str(path), 0, 0, "the result must be one JSON object"))
    return text


def _located(error: TemplateError, path: Path) -> TemplateError:
    """Add the location from the traceback, in which jinja2 names the file and line of the template."""
    file, line = str(path), 0
    for frame, number in traceback.walk_tb(error.__cause__.__traceback__ if error.__cause__ else None):
        if frame.f_code.co_filename.endswith(SUFFIX):
            file, line = frame.f_code.co_filename, number
    return TemplateError(*(Fault(file, line, 1 if line else 0, fault.what, fault.remedy) for fault in error.faults))

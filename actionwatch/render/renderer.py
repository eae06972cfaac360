"""The renderer: looks templates up, fills them in, and finds something to say when they fail."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from jinja2 import TemplateNotFound, TemplateSyntaxError

from actionwatch.errors import Fault, TemplateError
from actionwatch.model import MESSAGE_TYPES, Event, Message, Rendered
from actionwatch.render.channels import CHANNELS, channel_of, environment
from actionwatch.render.plain import plain
from actionwatch.render.samples import sample_messages
from actionwatch.sandbox import fill

SUFFIX = ".j2"
SUMMARY = MESSAGE_TYPES[Event.SUMMARY]
SUMMARY_PREFIX = (
    "summary."  # `summary.email.html.j2` is used for summaries in place of `email.html.j2`, where it is there
)


class Renderer:
    """Fills templates from folders, the first that has a name winning. Safe to share between threads.

    A changed file is read anew at its next use.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        """Read from these folders: the operator's first, the shipped one last. A folder need not exist."""
        self._folders = tuple(folders)
        self._environments = {
            (folder, channel): environment(self._folders[rank:], channel)
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
            texts[name], faults = self._text(self._chosen(name, message), message, values)
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

    def missing(self, names: Sequence[str]) -> list[Fault]:
        """Name the templates of these that no folder has."""
        folder = self._folders[0] if self._folders else Path()
        remedy = "write it, or correct the name in the receiver"
        return [
            Fault(str(folder / f"{name}{SUFFIX}"), 0, 0, "there is no such template", remedy)
            for name in names
            if not self._has(name)
        ]

    def _has(self, name: str) -> bool:
        return any((folder / f"{name}{SUFFIX}").is_file() for folder in self._folders)

    def _chosen(self, name: str, message: Message) -> str:
        """Give the template that serves this message under this name."""
        own = f"{SUMMARY_PREFIX}{name}"
        return own if message.type == SUMMARY and self._has(own) else name

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
        channel = channel_of(name)
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
        for message in sample_messages():
            if not self._is_for(name, message):
                continue
            try:
                self._fill(folder, name, variables(message))
            except TemplateError as exc:
                yield from (_about(fault, message, name) for fault in exc.faults)
                return

    def _is_for(self, name: str, message: Message) -> bool:
        if name.startswith(SUMMARY_PREFIX):
            return message.type == SUMMARY
        return self._chosen(name, message) == name


def _about(fault: Fault, message: Message, name: str) -> Fault:
    if message.type != SUMMARY or name.startswith(SUMMARY_PREFIX):
        return fault
    remedy = f"test for type '{SUMMARY}', or add {SUMMARY_PREFIX}{name}{SUFFIX}"
    return replace(fault, what=f"{fault.what} (in a message of type {SUMMARY})", remedy=fault.remedy or remedy)


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
        "headline": message.headline,
        "level": message.level,
    }


def _finish(text: str, channel: str, path: Path) -> str:
    """Insist on JSON where JSON is due, and on one line for a subject."""
    if channel.endswith("subject"):
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

"""Read reviewed silences: every `*.yml` and `*.yaml` of a folder, each with one silence or a list.

A broken silence is a fault with its location, and does not affect the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from actionwatch.base.errors import ConfigError, Fault
from actionwatch.settings.faults import Reader
from actionwatch.settings.validators import EARLIEST, LATEST, MatcherText, Word
from actionwatch.text.options import Options
from actionwatch.text.yaml_document import Document, Place, read_file

_SUFFIXES = (".yml", ".yaml")


def _instant(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        at = datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None or not EARLIEST < at.replace(tzinfo=UTC) < LATEST:
        raise ValueError("not a time with its zone: write 2026-11-25T09:00:00Z")
    return at.astimezone(UTC)


def _after_start(ends_at: datetime, info: ValidationInfo) -> datetime:
    starts_at = info.data.get("starts_at")
    if starts_at is not None and ends_at <= starts_at:
        raise ValueError("must be after starts_at: correct one of the two")
    return ends_at


_Instant = Annotated[datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})]


def _comment(text: str) -> str:
    if not text.strip():
        raise ValueError("must state the reason")
    return text.strip()


class SilenceOptions(Options):
    """One silence: its matchers, author, comment and time."""

    matchers: Annotated[tuple[MatcherText, ...], Field(min_length=1)]
    author: Word
    comment: Annotated[str, AfterValidator(_comment)]
    starts_at: _Instant | None = None
    ends_at: Annotated[_Instant, AfterValidator(_after_start)]


def read_silences(
    folder: Path, check_matchers: Callable[[Sequence[str]], None], check_matcher: Callable[[str], object]
) -> tuple[Mapping[str, Sequence[SilenceOptions]], list[Fault]]:
    """Read a folder of silences. Return them by file, and every fault. The folder is optional.

    `check_matchers` raises ValueError for matchers that together silence everything.
    """
    found: dict[str, Sequence[SilenceOptions]] = {}
    faults: list[Fault] = []
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        if path.suffix not in _SUFFIXES:
            continue
        try:
            documents = read_file(path)
        except ConfigError as exc:
            faults += exc.faults
            continue
        read = [_read(document, check_matchers, check_matcher) for document in documents]
        wrong = [fault for _, some in read for fault in some]
        faults += wrong
        if not wrong:
            found[str(path)] = [silence for some, _ in read for silence in some]
    return found, faults


def _read(
    document: Document, check_matchers: Callable[[Sequence[str]], None], check_matcher: Callable[[str], object]
) -> tuple[list[SilenceOptions], list[Fault]]:
    listed: list[tuple[Place, Any]] = [((), document.value)]
    if isinstance(document.value, list):
        listed = [((index,), item) for index, item in enumerate(document.value)]
    silences: list[SilenceOptions] = []
    faults: list[Fault] = []
    for place, item in listed:
        silence, wrong = Reader(document, {"check_matcher": check_matcher}).read(SilenceOptions, item, place)
        faults += wrong
        if silence is not None:
            try:
                check_matchers(silence.matchers)
                silences.append(silence)
            except ValueError as exc:
                what, _, remedy = str(exc).partition(": ")
                faults.append(document.fault((*place, "matchers"), f"matchers: {what}", remedy))
    return silences, faults

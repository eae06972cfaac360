"""Records from files: JSON lines in the format of the upstream (objects or whole pages) or of `records export`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from actionwatch.base.clock import utc_now
from actionwatch.base.errors import BadResponse, ConfigError, Fault
from actionwatch.base.model import Entity, Record
from actionwatch.instaclustr.records import RecordReader
from actionwatch.instaclustr.wire import parse_page

if TYPE_CHECKING:
    from actionwatch.settings import Settings

BATCH = 1000  # lines decoded at once
FILE_SOURCE = "file"


def reader_for(settings: Settings | None) -> RecordReader:
    """Return the reader of a file. It uses the aliases of the source if exactly one is configured."""
    if settings is not None and len(settings.sources) == 1:
        source = settings.sources[0]
        return RecordReader(source.name, organisation_id=source.organisation_id, aliases=source.field_aliases)
    return RecordReader(FILE_SOURCE, organisation_id="")


def read_objects(values: Sequence[Any], reader: RecordReader | None = None) -> list[Record]:
    """Read decoded objects in the format of the upstream or of `records export`.

    Raises: ValueError, if one is not a record.
    """
    return [_record(value, reader or reader_for(None)) for value in values]


def read_jsonl(path: Path, reader: RecordReader, on_read: Callable[[int], None] = lambda _: None) -> Iterator[Record]:
    """Read a file in its order, without distinguishing equal records. `on_read` gets the size of each batch in bytes.

    Raises: ConfigError, with the line that is not a record.
    """
    number = 0
    try:
        with path.open("rb") as file:
            while lines := list(islice(file, BATCH)):
                yield from _read_lines(lines, reader, str(path), number)
                number += len(lines)
                on_read(sum(map(len, lines)))
    except OSError as exc:
        raise ConfigError(Fault(str(path), 0, 0, f"cannot read the file: {exc.strerror}")) from exc


def _read_lines(lines: Sequence[bytes], reader: RecordReader, file: str, before: int) -> list[Record]:
    """Read a batch at once if it is in the format of the upstream, otherwise line by line."""
    texts = [line.strip() for line in lines]
    kept = [text for text in texts if text]
    if not any(text.startswith(b"[") or b'"raw"' in text for text in kept):
        try:
            page = parse_page(b"[" + b",".join(kept) + b"]", reader, utc_now())
            return [_seen_at_once(record) for record in page.records]
        except (BadResponse, ValueError):
            pass  # read line by line to find the broken one
    found: list[Record] = []
    for number, text in enumerate(texts, before + 1):
        if not text:
            continue
        try:
            value = json.loads(text)
            if isinstance(value, dict) and not _is_envelope(value):
                found.append(_record(value, reader))
            elif isinstance(value, dict | list):
                page = parse_page(text, reader, utc_now())
                found += [_seen_at_once(record) for record in page.records]
            else:
                raise ValueError("a record is a JSON object")
        except (BadResponse, ValueError, RecursionError) as exc:
            what = f"not a record: {exc}" if not isinstance(exc, RecursionError) else "not a record: nested too deeply"
            raise ConfigError(Fault(file, number, 1, what[:300], "write one JSON object per line")) from exc
    return found


def _is_envelope(value: dict[str, Any]) -> bool:
    return any(key.lower() == "resources" for key in value)


def _record(value: Any, reader: RecordReader) -> Record:
    """Read one decoded object. An exported document adds the source, the account names and the key to the raw object."""
    if not isinstance(value, dict):
        raise ValueError("a record is a JSON object")
    is_ours = isinstance(value.get("raw"), dict) and isinstance(value.get("key"), str) and "actionKind" in value
    fields = value["raw"] if is_ours else value
    (record,) = reader.read_all([fields], [json.dumps(fields, ensure_ascii=False)], utc_now())
    return _seen_at_once(_with_exported_fields(record, value) if is_ours else record)


def _with_exported_fields(record: Record, value: dict[str, Any]) -> Record:
    def entity(name: str, otherwise: Entity) -> Entity:
        found = value.get(name)
        return Entity(found.get("id"), found.get("name")) if isinstance(found, dict) else otherwise

    try:
        at = datetime.fromisoformat(str(value.get("timestamp")))
    except ValueError:
        at = record.occurred_at
    return msgspec.structs.replace(
        record,
        key=value["key"],
        source=str(value.get("source") or record.source),
        occurred_at=at if at.tzinfo else at.replace(tzinfo=UTC),
        action_kind=str(value["actionKind"]),
        user_name=value.get("userName"),
        description=value.get("description"),
        account=entity("account", record.account),
        cluster=entity("cluster", record.cluster),
        scope=value.get("scope"),
        operation=value.get("crudOperation"),
    )


def _seen_at_once(record: Record) -> Record:
    """Treat no record of a file as late."""
    return msgspec.structs.replace(record, seen_at=record.occurred_at)

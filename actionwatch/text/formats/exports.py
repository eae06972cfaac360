"""Records as a file: the formats of `records export`, and of the export of the console."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from actionwatch.base.model import Record
from actionwatch.text.escaping import visible
from actionwatch.text.formats.cloudevents import cloudevents_event
from actionwatch.text.formats.ocsf import ocsf_event
from actionwatch.text.payloads import instant, record_document

CSV_COLUMNS: Mapping[str, Callable[[Record], str | None]] = {
    "key": attrgetter("key"),
    "timestamp": lambda record: instant(record.occurred_at),
    "actionKind": attrgetter("action_kind"),
    "userName": attrgetter("user_name"),
    "description": attrgetter("description"),
    "account.id": attrgetter("account.id"),
    "account.name": attrgetter("account.name"),
    "cluster.id": attrgetter("cluster.id"),
    "cluster.name": attrgetter("cluster.name"),
    "scope": attrgetter("scope"),
    "crudOperation": attrgetter("operation"),
    "source": attrgetter("source"),
}
_LINES = "application/x-ndjson"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFormat:
    """A format: its name for people, its media type and suffix, and the texts that make the file.

    The file is `begin`, then each `item`, with `separator` between two of them, then `end`.
    """

    name: str
    media_type: str
    suffix: str
    item: Callable[[Record], str]
    begin: str = ""
    separator: str = ""
    end: str = ""

    def write(self, found: Iterable[Record], *, is_first: bool) -> str:
        """Return the part of the file for some records; `is_first`: no record is before them."""
        text = self.separator.join(map(self.item, found))
        return f"{self.begin}{text}" if is_first else f"{self.separator}{text}" if text else ""


def _json(record: Record) -> str:
    return f"\n{_dump(record_document(record))}"


def _line(event: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Callable[[Record], str]:
    return lambda record: f"{_dump(event(record_document(record)))}\n"


def _dump(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=True, default=instant)


def _csv(cells: Iterable[str | None]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()


def _safe(cell: str | None) -> str | None:
    """Escape control and bidirectional characters, which JSON escapes anyway and a terminal would follow.

    Also prevent a spreadsheet from running audit text as a formula (OWASP, "CSV injection").
    """
    shown = visible(cell) if cell else cell
    return f"'{shown}" if shown and shown[0] in "=+-@\t\n" else shown


FORMATS: Mapping[str, ExportFormat] = {
    "jsonl": ExportFormat(name="JSON lines", media_type=_LINES, suffix="jsonl", item=_line(lambda event: event)),
    "json": ExportFormat(
        name="JSON", media_type="application/json", suffix="json", item=_json, begin="[", separator=",", end="\n]\n"
    ),
    "csv": ExportFormat(
        name="CSV",
        media_type="text/csv; charset=utf-8; header=present",
        suffix="csv",
        item=lambda record: _csv(_safe(read(record)) for read in CSV_COLUMNS.values()),
        begin=_csv(CSV_COLUMNS),
    ),
    "cloudevents": ExportFormat(
        name="CloudEvents", media_type=_LINES, suffix="cloudevents.jsonl", item=_line(cloudevents_event)
    ),
    "ocsf": ExportFormat(name="OCSF", media_type=_LINES, suffix="ocsf.jsonl", item=_line(ocsf_event)),
}

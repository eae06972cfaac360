"""The way of a record: from the upstream through three steps and two tables to a person."""

from __future__ import annotations

from collections.abc import Iterator

from actionwatch.base.durations import spell_duration
from actionwatch.settings.keys import Source
from tests.pictures.svg import arrow, document, line, rect, text

WIDTH, HEIGHT = 1080, 262
TOP, TALL = 64, 112
DESCRIPTION = (
    "The Instaclustr API is read by the step tail, which stores records with receipts that prove them. The step matching reads "
    "the records and the rules, and stores alerts and deliveries. The step delivery renders each delivery with a template and "
    "sends it to Slack, email, webhooks or PagerDuty. A failed delivery is retried, or becomes a dead letter."
)


def draw() -> str:
    """Return the picture."""
    return document("How one record becomes a message", DESCRIPTION, WIDTH, HEIGHT, _parts())


def _parts() -> Iterator[str]:
    fields = Source.model_fields
    interval = spell_duration(fields["poll_interval"].default)
    sweeps = " ".join(spell_duration(reach) for reach in fields["sweeps"].default)
    steps = (
        (156, "1  tail", [f"polls every {interval}", "counts, reads, compares", f"sweeps {sweeps}"]),
        (466, "2  matching", ["rules, correlations", "groups, routes, silences", "one transaction"]),
        (776, "3  delivery", ["claims, renders, sends", "retries with backoff", "no transaction open"]),
    )
    yield from _end(16, "Instaclustr", ["user actions", "of one", "organisation"])
    for x, name, lines in steps:
        yield from _step(x, name, lines)
    yield from _end(976, "people", ["Slack, email,", "webhooks,", "PagerDuty"], width=88)
    yield from _table(360, ["records", "receipts"])
    yield from _table(670, ["alerts", "deliveries"])
    for start, end in ((110, 154), (336, 359), (442, 464), (646, 669), (752, 774), (956, 974)):
        yield arrow(start, end, TOP + TALL / 2)
    for x, source in ((556, "rules/*.yml"), (866, "templates/*.j2")):
        yield text(x, 36, source, "blue", anchor="middle", size=13)
        yield line(x, 42, x, TOP, "blue", dashes="4 3")
    yield from _promises()


def _step(x: float, name: str, lines: list[str]) -> Iterator[str]:
    yield rect(x, TOP, 180, TALL, "panel", radius=8, line="blue")
    yield text(x + 12, TOP + 26, name, size=15, weight=600)
    for number, content in enumerate(lines):
        yield text(x + 12, TOP + 52 + 20 * number, content, "quiet", size=12)


def _table(x: float, names: list[str]) -> Iterator[str]:
    yield rect(x, TOP + 24, 82, 64, "panel", radius=20, line="edge")
    for number, name in enumerate(names):
        yield text(x + 41, TOP + 52 + 18 * number, name, anchor="middle", size=12)


def _end(x: float, name: str, lines: list[str], width: float = 94) -> Iterator[str]:
    yield rect(x, TOP, width, TALL, "ground", radius=8, line="edge")
    yield text(x + width / 2, TOP + 30, name, anchor="middle", size=14, weight=600)
    for number, content in enumerate(lines):
        yield text(x + width / 2, TOP + 54 + 18 * number, content, "quiet", anchor="middle", size=12)


def _promises() -> Iterator[str]:
    notes = (
        (156, "proved, or reported as not proved"),
        (466, "output and progress commit together"),
        (776, "sent, pending, or a dead letter"),
    )
    for x, note in notes:
        yield text(x, TOP + TALL + 26, note, "green", size=12)
    yield text(
        16,
        HEIGHT - 22,
        "Each step can be killed at any instruction: nothing is lost, and a message that is sent again keeps its id.",
        "quiet",
        size=12.5,
    )

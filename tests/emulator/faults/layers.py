"""The layers that only faults of tests change: the query, each record, and the envelope."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from actionwatch.emulator.faults.kinds import Layer, OnRequest, on_shape
from actionwatch.emulator.log import LogPage, LogQuery
from actionwatch.emulator.wire import Json


def on_query(change: Callable[[LogQuery, Any], LogQuery]) -> OnRequest:
    """Change the query; `change` also receives the argument of the fault."""
    return OnRequest(
        lambda stages, play: replace(stages, parse=lambda parameters: change(stages.parse(parameters), play.arg)),
        Layer.QUERY,
    )


def on_row(change: Callable[[Json, int, Any], Json]) -> OnRequest:
    """Change each record of a page; `change` also receives its arrival number and the argument of the fault."""

    def change_all(envelope: Json, page: LogPage, arg: object) -> Json:
        records = envelope.get("resources")
        if not isinstance(records, list):
            return envelope
        return {**envelope, "resources": [change(*entry, arg) for entry in zip(records, page.rows, strict=True)]}

    return on_envelope(change_all, Layer.RECORD)


def on_record(change: Callable[[Json, Any], Json]) -> OnRequest:
    """Change each record of a page."""
    return on_row(lambda record, _, arg: change(record, arg))


def on_envelope(change: Callable[[Json, LogPage, Any], Json], layer: Layer = Layer.ENVELOPE) -> OnRequest:
    """Change the envelope of a page."""
    return on_shape(lambda envelope, page, arg: [change(envelope, page, arg)], layer)

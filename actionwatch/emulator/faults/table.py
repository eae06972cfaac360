"""The faults that people try, one line each: what it changes, its argument, and what it does."""

from typing import Final

from actionwatch.emulator.durations import Duration
from actionwatch.emulator.faults import entries, responses, transport
from actionwatch.emulator.faults.kinds import (
    FaultKind,
    Layer,
    OnArrival,
    OnEntries,
    instead,
    on_select,
    on_shape,
    on_the_way,
)

# ruff: noqa: E501  # a fault is a line, so that the list reads as one
# fmt: off
FAULTS: Final[dict[str, FaultKind]] = {
    "late": FaultKind(OnArrival(entries.delay), "new records become visible this long after their time", entries.Late),
    "vanish": FaultKind(OnEntries(entries.vanishing), "all or some entries disappear permanently, at an age or at once", entries.Vanish),
    "order": FaultKind(on_select(entries.order), "the order: `shuffled` is stable, `reshuffled` and `ties` (equal times) change with each request", entries.ORDERS),
    "total": FaultKind(on_shape(lambda envelope, page, form: [entries.total(envelope, page, form)], Layer.ENVELOPE), "`totalResults` is wrong, of another type, or missing", (*entries.TOTALS, entries.ABSENT)),
    "rate_limited": FaultKind(instead(responses.rate_limited), "429", responses.Limited),
    "error": FaultKind(instead(lambda _, play: responses.failure(play.arg.status, play.arg.body, retry_after=play.arg.retry_after)), "a status from 400 to 599, with different bodies", responses.ErrorResponse),
    "unauthorised": FaultKind(instead(lambda *_: responses.unauthorised()), "401 with an empty body"),
    "clock": FaultKind(on_the_way(transport.dated, Layer.HEADERS), "the offset of `Date` (`-90s`: behind)", Duration),
    "slow": FaultKind(on_the_way(transport.dripping, Layer.TIMING), "the body is sent slowly", transport.Drip),
    "hang": FaultKind(on_the_way(transport.hanging, Layer.TIMING, is_answered=transport.is_answered), "the response stops for some time, or permanently", transport.Hang),
}
# fmt: on
"""Other programs may add faults before they start a server."""

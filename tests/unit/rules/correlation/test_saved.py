"""What is saved of the state of correlations: whose records may be gone, and what is no saved state."""

from __future__ import annotations

import gzip
import secrets
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from actionwatch.rules.correlations.folds.hit_list import HitList
from actionwatch.rules.correlations.folds.saved import DoesNotFit, HitReader, HitWriter, SavedFold, SavedHits
from actionwatch.rules.correlations.live import saved
from actionwatch.rules.correlations.live.context import StreamBounds
from actionwatch.rules.correlations.live.correlator import Correlator
from msgspec import structs

from actionwatch import __version__
from actionwatch.base.model import Hit, RecordRef
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from tests.unit.rules.correlation.kit import START, at, hit, record_at
from tests.unit.rules.correlation.live import ALL, in_event_order

EMPTY = SavedHits(b"", (), {})
STATE = saved.SavedState(None, [])


def encoded(state: saved.SavedState) -> bytes:
    """Return a state as bytes."""
    return b"".join(saved.encode(state))


def stored(number: int) -> Hit:
    """Make a hit of a stored record."""
    key = f"k{number}"
    return Hit(at(number), 0, key, (RecordRef(key, number, at(number), is_backlog=False),))


def reader(writer: HitWriter) -> HitReader:
    """Read what was written."""
    return HitReader(writer.hits, writer.records)


FIRST, SECOND = stored(1), stored(2)
FOUND = FoundAlert(
    "k",
    at(1),
    at(2),
    at(9),
    HitList([FIRST, SECOND]),
    resolved_by=FIRST,
    last_seen=FIRST.records[0],
    firing=FIRST,
    id="a",
)


def test_a_found_alert_is_saved_with_its_records() -> None:
    """Everything of a found alert is loaded as it was, and each hit is saved once."""
    writer = HitWriter()
    alert = writer.alert(FOUND)
    assert (len(writer.hits), len(writer.records)) == (2, 2)
    assert reader(writer).alert(alert) == FOUND


def test_hits_of_one_record_share_what_is_saved_of_it() -> None:
    """A record is saved once, and only a hit at another time or with another key, as one of an alert, has its own."""
    (record,) = FIRST.records
    hits = [FIRST, structs.replace(FIRST, step=1, value=("x",)), structs.replace(FIRST, at=at(3), key="alert")]
    inner = Hit(at(4), 0, "none", ())
    writer = HitWriter()
    numbers = [writer.number(each) for each in (*hits, inner, SECOND)]
    assert [each.id for each in writer.records] == [record.id, 2]
    assert [each.own for each in writer.hits] == [None, None, (at(3), "alert"), (at(4), "none"), None]
    assert [reader(writer).hit(number) for number in numbers] == [*hits, inner, SECOND]


def test_a_record_that_is_not_stored_cannot_be_saved() -> None:
    """A record without an id could not be found again."""
    with pytest.raises(ValueError, match="without an id"):
        HitWriter().number(hit(1))


def compressed(*parts: bytes) -> bytes:
    """Return the parts of a state as they are saved."""
    return gzip.compress(b"".join(len(part).to_bytes(4, "little") + part for part in parts))


HEAD = msgspec.msgpack.encode([__version__, None])
RULE = msgspec.msgpack.encode([["id", "version", -1, None, timedelta(), None, False, [], []], None, None, []])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no state",
        encoded(STATE)[:-3],
        gzip.compress(b""),
        gzip.compress(HEAD[:3]),
        gzip.compress(b"\xff\0\0\0" + HEAD),
        compressed(msgspec.msgpack.encode([__version__, "x"])),
        compressed(b"\xc1"),
        compressed(HEAD, msgspec.msgpack.encode([["id", "version", -1, None, None, None, False, [], []]])),
    ],
    ids=["empty", "other", "cut", "nothing", "length cut", "part cut", "other type", "no msgpack", "rule"],
)
def test_what_is_no_state_does_not_fit(body: bytes) -> None:
    """Bytes that are no saved state are refused with a reason, whatever is wrong with them."""
    with pytest.raises(DoesNotFit, match="it cannot be read"):
        saved.decode(body)


def test_what_is_no_group_does_not_fit() -> None:
    """Groups are decoded when they are read."""
    (rule,) = saved.decode(compressed(HEAD, RULE, HEAD, b"")).rules
    with pytest.raises(DoesNotFit, match="it cannot be read"):
        list(rule.groups)


def test_a_state_of_another_version_does_not_fit() -> None:
    """Another version may mean something else by the same state."""
    with pytest.raises(DoesNotFit, match=r"actionwatch 0\.0\.1"):
        saved.decode(encoded(replace(STATE, made_by="0.0.1")))


def test_a_state_that_is_too_large_is_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A state is limited before it is compressed, when it is written and when it is read."""
    body = encoded(STATE)
    monkeypatch.setattr(saved, "MAX_STATE_BYTES", 5)
    with pytest.raises(ValueError, match="at most so many are saved"):
        encoded(STATE)
    with pytest.raises(DoesNotFit, match="too large"):
        saved.decode(body)


def test_a_state_is_saved_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """No piece is much larger than the limit, and no group is made before those ahead of it are written."""
    monkeypatch.setattr(saved, "PIECE_BYTES", 20_000)
    made: list[int] = []
    (rule,) = saved.decode(compressed(HEAD, RULE, b"")).rules

    def groups() -> Iterator[saved.SavedGroup]:
        for number in range(200):
            made.append(number)
            yield saved.SavedGroup((secrets.token_hex(1000),), None, None, SavedFold([]), EMPTY, [], {}, None, [], [])

    pieces = saved.encode(replace(STATE, rules=[replace(rule, groups=groups())]))
    first = next(pieces)
    assert 20_000 <= len(first) < 60_000
    assert len(made) < 60
    rest = list(pieces)
    assert all(len(piece) < 60_000 for piece in rest)
    (again,) = saved.decode(first + b"".join(rest)).rules
    assert len(list(again.groups)) == 200


def test_a_state_refers_to_few_records() -> None:
    """The state of the rules refers to the records that matter, by id, and is far smaller than they are."""
    correlator = Correlator(ALL, StreamBounds(begin=lambda _: START), keep=at(5) - at(0))
    records = [structs.replace(record_at(number), id=number + 1, raw="x" * 1000) for number in range(600)]
    for place in range(0, len(records), 50):
        correlator.take(sorted(records[place : place + 50], key=in_event_order))
        correlator.changes(records[place].occurred_at)
    body = encoded(correlator.save())
    assert len(body) < 100 * len(records)
    groups = [group for rule in saved.decode(body).rules for group in rule.groups]
    ids = {
        record.id
        for group in groups
        for hit in HitReader(group.numbered, group.records).hit_list(group.hits)
        for record in hit.records
    }
    assert max(ids) == 600
    assert ids <= {record.id for record in records}

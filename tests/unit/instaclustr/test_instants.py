"""Times in every format."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from actionwatch.base.clock import EPOCH, to_micros
from actionwatch.instaclustr.instants import parse_instant, usual_instants
from tests.cases import in_one_test

AT = datetime(2023, 11, 5, 13, 15, 30, tzinfo=UTC)
PART = AT + timedelta(microseconds=123456)


@in_one_test(
    ("value", "at"),
    [
        (1699190130, AT),
        ("1699190130", AT),
        (1699190130.5, AT + timedelta(milliseconds=500)),
        ("1699190130.123456789", PART),
        (1699190130000, AT),
        ("1699190130123", AT + timedelta(milliseconds=123)),
        (1699190130123.456, PART),
        (1699190130123456, PART),
        (1699190130123456789, PART),
        ("1699190130123456789", PART),
        ("2023-11-05T13:15:30Z", AT),
        ("2023-11-05T23:15:30+10:00", AT),
        ("2023-11-05T23:15:30+1000", AT),
        ("2023-11-05T13:15:30+0000", AT),
        ("2023-11-05T13:15:30", AT),
        ("2023-11-05 13:15:30", AT),
        ("2023-11-05t13:15:30z", AT),
        (" 2023-11-05T13:15:30Z ", AT),
        ("2023-11-05T13:15:30.1Z", AT + timedelta(milliseconds=100)),
        ("2023-11-05T13:15:30.123456789Z", PART),
        ("2023-11-05T13:15:30.123456+00:00", PART),
        ("2023-11-05T13:15Z", AT.replace(second=0)),
        ("20231105T131530Z", AT),
        ("2023-11-05T13:15:30Z[UTC]", AT),
    ],
)
def test_every_format_is_parsed(value: object, at: datetime) -> None:
    """Each text is parsed as the same time, in UTC."""
    read = parse_instant(value)
    assert read == at
    assert read is not None
    assert read.tzinfo is UTC


@in_one_test(
    "value",
    [
        None, True, False, "", " ", "yesterday", "2023-11-05", "13:15:30", 0, -1, 5, "0", "169919013", "16991901300", 10**30,
        -(10**40), float("inf"), float("nan"), 1e300, "٣٣٣٣٣٣٣٣٣٣", "2023-13-05T13:15:30Z", "2023-11-05T25:00:00Z",
        "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00", "1969-12-31T23:59:59Z",
        [], {}, "²" * 10,
    ],
)  # fmt: skip
def test_other_values_are_no_time(value: object) -> None:
    """Other values are no time, and nothing raises."""
    assert parse_instant(value) is None


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2286, 12, 31)), st.integers(-14 * 60, 14 * 60))
def test_iso_time_is_parsed_exactly(naive: datetime, minutes: int) -> None:
    """In any zone, an ISO time loses no microsecond."""
    at = naive.replace(tzinfo=UTC)
    spelt = (naive + timedelta(minutes=minutes)).isoformat() if naive.year > 1970 else None
    if spelt:
        sign, size = ("-" if minutes < 0 else "+"), abs(minutes)
        assert parse_instant(f"{spelt}{sign}{size // 60:02}:{size % 60:02}") == at
    assert parse_instant(at.isoformat()) == at
    assert EPOCH + timedelta(microseconds=to_micros(at)) == at


@given(st.datetimes(min_value=datetime(2001, 9, 10), max_value=datetime(2262, 1, 1)))
def test_number_is_parsed_exactly(naive: datetime) -> None:
    """A number in any unit is parsed to its last digit."""
    at = naive.replace(tzinfo=UTC)
    count = to_micros(at)
    assert parse_instant(count) == at
    assert parse_instant(str(count * 1000 + 999)) == at
    assert parse_instant(count // 1000) == at.replace(microsecond=at.microsecond // 1000 * 1000)
    assert parse_instant(count // 10**6) == at.replace(microsecond=0)


@given(st.text() | st.integers() | st.floats() | st.booleans())
def test_nothing_raises(value: object) -> None:
    """Any JSON scalar is a time or none."""
    at = parse_instant(value)
    assert at is None or at.tzinfo is UTC


@given(
    st.lists(
        st.datetimes(min_value=datetime(1960, 1, 1), max_value=datetime(2262, 1, 1)).map(
            lambda at: f"{at.isoformat()}Z"
        )
        | st.sampled_from(
            ["2023-W44-7T13:15Z", "20231105T131530Z", "Z", "2023-11-05T23:15:30+10:00", 1699190130, None, ["Z"]]
        ),
        min_size=1,
        max_size=4,
    )
)
def test_batch_gives_the_same_times(values: list[object]) -> None:
    """Times in the usual form are parsed together as one by one; if one has another form, the result is None."""
    found = usual_instants(values)
    assert found is None or found == [parse_instant(value) for value in values]


def test_expected_format_is_the_fast_one() -> None:
    """The format that the upstream is expected to use is the fast one."""
    assert usual_instants(["2023-11-05T13:15:30Z", "2023-11-05T13:15:30.123456Z"]) == [AT, PART]

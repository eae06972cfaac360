"""The state of a source in one word, and the survey of many."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from actionwatch.alerts.self_alerts import TROUBLES
from actionwatch.queries.source_health import MANY, MEANINGS, SourceFacts, SourceHealth, judge, survey
from actionwatch.store.polls import FAILED_POLLS, MISSED_POLLS
from tests.cases import in_one_test

INTERVAL = timedelta(seconds=10)
LONG = INTERVAL * MISSED_POLLS
TICK = timedelta(microseconds=1)


def facts(**given: Any) -> SourceFacts:
    """Return the facts of a source that was polled just now, except what is given."""
    return SourceFacts(**{"since_poll": timedelta(0), "interval": INTERVAL, **given})


@in_one_test(
    "given, expected",
    [
        ({}, "current"),
        ({"troubles": ["key_refused"]}, "refused"),
        ({"troubles": ["accounts_refused"]}, "refused"),
        ({"troubles": ["clock_skew", "unknown_kind"]}, "current"),
        ({"since_poll": None}, "silent"),
        ({"since_poll": LONG}, "current"),
        ({"since_poll": LONG + TICK}, "silent"),
        ({"since_poll": LONG + TICK, "interval": None}, "current"),
        ({"since_poll": LONG + INTERVAL, "failures": 1, "backoff": INTERVAL}, "paused"),
        ({"since_poll": LONG + INTERVAL + TICK, "failures": 1, "backoff": INTERVAL}, "silent"),
        ({"failures": FAILED_POLLS}, "silent"),
        ({"failures": FAILED_POLLS - 1}, "paused"),
        ({"troubles": ["upstream_unreachable"]}, "silent"),
        ({"troubles": ["mark_ahead"]}, "silent"),
        ({"troubles": ["service_stopped"]}, "silent"),
        ({"troubles": ["poll_overdue"]}, "silent"),
        ({"troubles": ["proof_lagging"]}, "unproved"),
        ({"troubles": ["window_unproved"]}, "unproved"),
        ({"troubles": ["window_shrunk"]}, "unproved"),
        ({"is_catching_up": True}, "behind"),
        ({"unread": LONG}, "current"),
        ({"unread": LONG + TICK}, "behind"),
        # The worst one counts.
        ({"troubles": ["proof_lagging", "key_refused"], "failures": FAILED_POLLS}, "refused"),
        ({"troubles": ["proof_lagging"], "failures": FAILED_POLLS}, "silent"),
        ({"troubles": ["proof_lagging"], "failures": 1}, "unproved"),
        ({"is_catching_up": True, "failures": 1}, "paused"),
    ],
)
def test_the_state_follows_from_the_facts(given: dict[str, Any], expected: str) -> None:
    """Each fact implies a state, and of several the worst one is shown."""
    assert judge(facts(**given)).value == expected


def test_no_blind_spot_of_a_source_looks_current() -> None:
    """While a self-alert says that records of a source may not be seen, or are not proved, the source needs attention."""
    blind = [name for name, trouble in TROUBLES.items() if trouble.is_blind_spot and trouble.ends_with == "source"]
    assert blind
    assert [name for name in blind if not judge(facts(troubles=[name])).needs_attention] == []


def test_each_state_has_a_place_and_a_meaning() -> None:
    """Only the last state in the order needs no attention, and people can read what each one means."""
    assert [each.severity for each in SourceHealth] == list(range(len(SourceHealth)))
    assert [each for each in SourceHealth if not each.needs_attention] == [SourceHealth.CURRENT]
    assert MEANINGS.keys() == set(SourceHealth)


def test_exceptions_are_listed_worst_first() -> None:
    """The survey counts every source, and names those that are not current: the worst first, then by name."""
    healths = {
        "d": SourceHealth.BEHIND,
        "b": SourceHealth.CURRENT,
        "c": SourceHealth.REFUSED,
        "a": SourceHealth.REFUSED,
        "e": SourceHealth.SILENT,
    }
    found = survey(healths)
    assert list(found.exceptions) == ["a", "c", "e", "d"]
    assert {each.value: count for each, count in found.totals.items() if count} == {
        "refused": 2,
        "silent": 1,
        "behind": 1,
        "current": 1,
    }
    assert str(found) == "5 sources: 2 refused, 1 silent, 1 behind, 1 current"
    assert str(survey({"a": SourceHealth.CURRENT})) == "1 source: 1 current"
    assert str(survey({})) == "0 sources"


@in_one_test("count, is_large", [(0, False), (MANY, False), (MANY + 1, True)])
def test_only_many_sources_are_shown_in_total(count: int, *, is_large: bool) -> None:
    """Up to twenty sources are all shown; of more, at most twenty exceptions."""
    found = survey({f"s{number:04}": SourceHealth.SILENT for number in range(count)})
    assert (found.is_large, found.count) == (is_large, count)
    assert list(found.first) == list(found.exceptions)[:MANY]

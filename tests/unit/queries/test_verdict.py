"""The two sentences of the overview."""

from __future__ import annotations

from typing import Any

from actionwatch.base.model import Level
from actionwatch.queries.verdict import Failing, Sight, Verdict, assess
from tests.builders import NOON


def assessed(**given: Any) -> Verdict:
    """Assess a service with one source that has no problem, except what is given."""
    values = {
        "sources": ["acme"],
        "unready": [],
        "troubles": [],
        "failing": [],
        "open_counts": {},
        "dead_count": 0,
    }
    return assess(**{**values, **given})


def test_good_news() -> None:
    """If nothing is wrong, both sentences say so."""
    assert assessed() == Verdict(
        sight=Sight.EVERYTHING,
        seeing="actionwatch sees everything: the source is read and proved.",
        is_quiet=True,
        needs="Nothing needs a person.",
    )
    assert assessed(sources=["a", "b"]).seeing == "actionwatch sees everything: all 2 sources are read and proved."


def test_blindness_is_named() -> None:
    """A reason of /readyz and a self-alert about reading or proof make the first sentence bad; other self-alerts do not."""
    found = assessed(unready=["source acme: 3 polls failed in a row; see the log"])
    assert (found.is_seeing, found.seeing) == (
        False,
        "actionwatch does not see everything: source acme: 3 polls failed in a row; see the log",
    )
    lagging = assessed(troubles=[("proof_lagging", "acme: 3h behind"), ("window_unproved", "acme: counts differ")])
    assert lagging.seeing == "actionwatch does not see everything: acme: 3h behind (1 more below or in /readyz)"
    assert assessed(troubles=[("rule_broken", "x.yml: broken")]).sight is Sight.EVERYTHING


def test_failing_polls_limit_what_is_seen_at_once() -> None:
    """One failed poll is enough: everything is seen up to a time. A source that was never read is not seen."""
    once = assessed(failing=[Failing("acme", 1, "503", NOON)])
    assert (once.sight, once.is_seeing, once.seeing) == (
        Sight.LIMITED,
        True,
        "actionwatch sees everything, but acme only up to 2026-11-25 12:00:00 UTC: the last poll failed: 503",
    )
    both = assessed(failing=[Failing("acme", 2, "503", NOON), Failing("emca", 1, "refused", NOON)])
    assert both.seeing.endswith("the last 2 polls failed: 503 (1 more below or in /readyz)")
    never = assessed(failing=[Failing("acme", 1, "503", None)])
    assert (never.sight, never.seeing) == (
        Sight.BLIND,
        "actionwatch does not see everything: acme was not read yet: the last poll failed: 503",
    )


def test_a_critical_self_alert_is_named_above_all() -> None:
    """What is critical is never below a green line: records that disappeared upstream are named in it."""
    found = assessed(troubles=[("window_shrunk", "acme: 3 records are gone")])
    assert (found.sight, found.seeing) == (Sight.LIMITED, "actionwatch sees everything, but acme: 3 records are gone")


def test_what_needs_a_person_is_counted() -> None:
    """Open alerts are counted by level, the highest first; a capped count has a plus; dead letters wait for a decision."""
    found = assessed(open_counts={Level.LOW: 1000, Level.CRITICAL: 2}, dead_count=1)
    assert not found.is_quiet
    assert found.needs == "1,002 open alerts need a person: 2 critical, 1,000 low; 1 dead letter waits for a decision."
    assert assessed(open_counts={Level.HIGH: 1}).needs == "1 open alert needs a person: 1 high."

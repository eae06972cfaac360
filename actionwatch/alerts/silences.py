"""Silences: matchers with an author, a reason and an end. They suppress alerts for a limited time. Pure.

Source: Alertmanager's `silence/silence.go`: all matchers must match, and at least one must not match an empty label.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from actionwatch.alerts.routes import group_labels
from actionwatch.base.ids import stable_id
from actionwatch.base.model import Alert, Record, Silence
from actionwatch.text.matchers import Labels, Matcher, parse_matcher

MAX_MATCHERS = 50  # of a silence that a form or a program makes: people write a handful
MAX_MATCHER_CHARS = 1000
EVER = datetime(1900, 1, 1, tzinfo=UTC)  # the start of a silence whose file names none, until it is first read


def check_matchers(texts: Sequence[str]) -> None:
    """Check that matchers are valid and do not silence everything.

    Raises: ValueError with `what: remedy`.

    """
    matchers = [parse_matcher(text) for text in texts]
    if not matchers:
        raise ValueError('a silence needs a matcher: for example rule="cluster_deleted"')
    if all(matcher.is_met({}) for matcher in matchers):
        raise ValueError('this would silence every alert: name one, for example rule="cluster_deleted"')


def make_silence(
    matchers: Sequence[str],
    author: str,
    comment: str,
    starts_at: datetime,
    ends_at: datetime,
    *,
    made_at: datetime,
    file: str | None = None,
) -> Silence:
    """Make a silence. Equal silences that are made at the same time are one.

    Raises: ValueError with `what: remedy`.

    """
    check_matchers(matchers)
    if not comment.strip():
        raise ValueError("a silence needs a reason: write it into the comment, with a person to ask")
    if not author.strip():
        raise ValueError("a silence needs an author: name the person responsible")
    if ends_at <= starts_at:
        raise ValueError("a silence must end after it starts: correct its end")
    made = made_at.isoformat()
    silence_id = stable_id("silence", *matchers, author, comment, starts_at.isoformat(), ends_at.isoformat(), made)
    return Silence(silence_id, tuple(matchers), author.strip(), comment.strip(), starts_at, ends_at, file)


def silence_for(labels: Labels, silences: Iterable[Silence], now: datetime) -> Silence | None:
    """Return the active silence that matches these labels; of several, the one that ends last."""
    silencing = [each for each in silences if each.status(now) == "active" and is_matched(each.matchers, labels)]
    return max(silencing, key=lambda silence: (silence.ends_at, silence.id), default=None)


def is_matched(matchers: Iterable[str], labels: Labels) -> bool:
    """Return whether labels match all matchers, which are texts."""
    return all(_matcher(text).is_met(labels) for text in matchers)


def matchers_of(alert: Alert, newest: Record | None) -> tuple[str, ...]:
    """Return the matchers that silence an alert and later ones of its rule and group.

    Without `group_by`, the user is the group; for a self-alert, the trouble and the subject. An absent value is matched as
    absent, so that a silence of an alert without a user does not match alerts with one.
    """
    labels: dict[str, tuple[str, ...]] = {"rule": (alert.rule.name,)}
    if "trouble" in alert.labels:
        labels |= {"trouble": (alert.labels["trouble"],), "source": (alert.source,)}
    elif alert.group is not None:
        labels |= group_labels(alert)
    elif newest is not None:
        labels["userName"] = (newest.user_name or "",)
    return tuple(str(Matcher(label, "=", value)) for label, values in labels.items() for value in values or ("",))


@functools.lru_cache(maxsize=4096)
def _matcher(text: str) -> Matcher:
    return parse_matcher(text)

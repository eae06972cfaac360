"""The interface of self-alerts for the tail, delivery and the service: report a problem, settle it, and their kinds.

`matching/self_alerts.py` provides it. The steps do not import each other, so they receive it as this protocol.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from actionwatch.base.model import Level

_ID_CHARS = 6
_PLACED = re.compile(rf" on replica \S+ \(([0-9a-f]{{{_ID_CHARS}}})\)$")


@dataclass(frozen=True, slots=True)
class Trouble:
    """A kind of trouble. `{}` in the title is its subject: a source, a receiver or a file.

    With `ends_with`, it is over when the source or receiver that is its subject is no longer configured. Every other trouble
    lasts until whoever reports it settles it: `dead_letters`, until a person has decided about each dead letter.
    While one that `is_blind_spot` lasts, records may not be seen, or are not proved.
    """

    level: Level
    title: str
    ends_with: Literal["source", "receiver"] | None = None
    is_blind_spot: bool = False


TROUBLES: Mapping[str, Trouble] = {
    "key_refused": Trouble(Level.CRITICAL, "Blind: the upstream denies access to {}", "source", is_blind_spot=True),
    "upstream_unreachable": Trouble(
        Level.HIGH, "Blind: the upstream of {} cannot be reached", "source", is_blind_spot=True
    ),
    "origin_unreachable": Trouble(Level.CRITICAL, "Blind: no source at {} can be read", is_blind_spot=True),
    "polls_late": Trouble(Level.MEDIUM, "Polls of {} begin late"),
    "accounts_refused": Trouble(
        Level.HIGH, "Blind: the upstream does not list the linked accounts of {}", "source", is_blind_spot=True
    ),
    "proof_lagging": Trouble(Level.HIGH, "Not proved: {} lags behind", "source", is_blind_spot=True),
    "window_unproved": Trouble(Level.HIGH, "Not proved: older records of {}", "source", is_blind_spot=True),
    "dead_letters": Trouble(Level.HIGH, "Alerts did not reach {}"),
    "receiver_failing": Trouble(Level.MEDIUM, "Receiver {} keeps failing", "receiver"),
    "rule_broken": Trouble(Level.HIGH, "Not loaded because it is broken: {}"),
    "rule_failing": Trouble(Level.HIGH, "The rule {} fails on records"),
    "template_failing": Trouble(Level.MEDIUM, "Messages are sent without the template {}"),
    "config_differs": Trouble(Level.MEDIUM, "Not in use: the newest {}"),
    "unknown_kind": Trouble(Level.MEDIUM, "Records of {} have unknown kinds", "source"),
    "unknown_field": Trouble(Level.LOW, "The fields of records of {} changed", "source"),
    "records_cut": Trouble(Level.MEDIUM, "Records of {} are too large", "source"),
    "filter_ignored": Trouble(Level.LOW, "The upstream of {} ignores filters", "source"),
    "clock_skew": Trouble(Level.MEDIUM, "The clocks of {} and of this machine differ", "source"),
    "mark_ahead": Trouble(
        Level.HIGH, "Blind: the stored progress of {} is in the future", "source", is_blind_spot=True
    ),
    "clock_stepped": Trouble(Level.MEDIUM, "The clock of {} was set"),
    "window_shrunk": Trouble(Level.CRITICAL, "Records of {} have disappeared upstream", "source"),
    "step_failing": Trouble(Level.HIGH, "The step {} of the service does not work"),
    "stream_lagging": Trouble(Level.HIGH, "The stream {} lags behind"),
    "replicas_differ": Trouble(Level.MEDIUM, "Replicas do not agree on {}"),
    "store_nearly_full": Trouble(Level.HIGH, "The disk of the store {} is nearly full"),
}

BLIND_SPOTS = frozenset(name for name, trouble in TROUBLES.items() if trouble.is_blind_spot)
OF_SOURCES = frozenset(name for name, trouble in TROUBLES.items() if trouble.ends_with == "source")


class SelfAlerts(Protocol):
    """Opens and resolves the alerts about actionwatch itself. Safe to share between threads."""

    def report(self, trouble: str, subject: str, what: str, remedy: str) -> None:
        """Report a problem. Only the first report of a continuing problem opens an alert."""
        ...

    def update(self, trouble: str, subject: str, what: str) -> None:
        """Change what an open alert says, and notify its receivers. Does nothing if it says that, or if there is none."""
        ...

    def settle_trouble(self, trouble: str, subject: str, why: str = "") -> None:
        """Report that a problem ended, and `why` if that is not obvious. Does nothing if there is none."""
        ...

    def settle_all(self, ended: Collection[tuple[str, str]]) -> None:
        """Report that several problems ended, each a trouble and its subject, where they are open."""
        ...

    def settle_others(self, trouble: str, subjects: set[str], why: Callable[[str], str] = ...) -> None:
        """Settle a problem for every subject except these; `why` returns the reason for a subject."""
        ...


def placed(subject: str, host: str, replica: str) -> str:
    """Return the subject of a problem that one of several replicas has, where another one may have it too."""
    return f"{subject} on replica {host} ({replica[:_ID_CHARS]})"


def is_placed(subject: str, replicas: Collection[str] | None = None) -> bool:
    """Return whether a subject names a replica; with `replicas`, whether it names one of these."""
    found = _PLACED.search(subject)
    return found is not None and (replicas is None or found[1] in {each[:_ID_CHARS] for each in replicas})


class OwnAlerts:
    """The self-alerts of one replica, which names itself in each subject."""

    def __init__(self, self_alerts: SelfAlerts, host: str, replica: str) -> None:
        self._self_alerts = self_alerts
        self._host = host
        self._replica = replica
        self._reported: set[tuple[str, str]] = set()  # nothing else is open: the id of a replica is new at each start

    def report(self, trouble: str, subject: str, what: str, remedy: str) -> None:
        """Report a problem of this replica."""
        self._self_alerts.report(trouble, self._placed(subject), what, remedy)
        self._reported.add((trouble, subject))

    def update(self, trouble: str, subject: str, what: str) -> None:
        """Change what an open alert says."""
        self._self_alerts.update(trouble, self._placed(subject), what)

    def settle_trouble(self, trouble: str, subject: str, why: str = "") -> None:
        """Report that a problem of this replica ended."""
        self._self_alerts.settle_trouble(trouble, self._placed(subject), why)
        self._reported.discard((trouble, subject))

    def settle_all(self, ended: Collection[tuple[str, str]]) -> None:
        """Report that several problems of this replica ended."""
        for trouble, subject in self._reported.intersection(ended):
            self.settle_trouble(trouble, subject)

    def settle_others(self, trouble: str, subjects: set[str], why: Callable[[str], str] = lambda _: "") -> None:
        """Settle a problem of this replica for every subject except these; the leader settles what others leave."""
        for each, subject in sorted(self._reported):
            if each == trouble and subject not in subjects:
                self.settle_trouble(trouble, subject, why(subject))

    def _placed(self, subject: str) -> str:
        return placed(subject, self._host, self._replica)

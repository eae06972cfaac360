"""The commented examples of rules that `rules new` copies, and how a copy gets its own name and values.

Each example is a file of `_examples` that loads and passes its tests. A new one is a file and a line of `EXAMPLES`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from actionwatch.text.timeintervals import TimeInterval

_FOLDER = Path(__file__).parent.parent.parent / "_examples"
_NAME, _TITLE = "my_rule", "My rule"  # what each example is called
_OTHER_KINDS = ("LIST_KAFKA_ACLS", "DESCRIBE_KAFKA_TOPIC")  # the first one is "something else" in the tests
USUAL_INTERVAL = "business-hours"
_WHEN = f"outside: [{USUAL_INTERVAL}]"
_ALERTING_HOUR, _QUIET_HOUR = "2026-03-07T23:00:00Z", "2026-03-09T12:00:00Z"  # of the tests of that interval
_MAX_HOURS = 366 * 24


@dataclass(frozen=True, slots=True)
class Example:
    """An example. `values` are the texts that an option (`kind`, `user`, `cluster`, `during`) replaces."""

    name: str
    detects: str
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """Its YAML."""
        return (_FOLDER / f"{self.name}.yml").read_text(encoding="utf-8")


EXAMPLES = (
    Example("plain", "each record of a kind", {"kind": "DELETE_CLUSTER"}),
    Example(
        "exclusions",
        "each record of a kind, except by a user or on a cluster",
        {"kind": "DELETE_CLUSTER", "user": "svc-terraform", "cluster": "scratch"},
    ),
    Example(
        "off-hours",
        "each record of a kind outside a time interval, or during one",
        {"kind": "ACCOUNT_GENERATE_API_KEY", "during": _WHEN},
    ),
    Example(
        "burst",
        "many records of a kind within a time, except by a user",
        {"kind": "CHANGE_CLUSTER_FIREWALL_RULES", "user": "svc-terraform"},
    ),
    Example("distinct", "one user and many different clusters within a time", {"kind": "DELETE_CLUSTER"}),
    Example("sequence", "one kind, then another one, by the same user", {"kind": "ACCOUNT_GENERATE_API_KEY"}),
    Example("not-followed", "one kind that another one does not follow in time", {"kind": "DELETE_BACKUP_SCHEDULE"}),
    Example("absence", "no record of a kind about a cluster", {"kind": "BACKUP", "cluster": "orders-prod"}),
    Example("first-seen", "the first record of a kind by a user", {"kind": "ACCOUNT_GENERATE_API_KEY"}),
    Example("spike", "far more records of a kind than usual", {"kind": "DELETE_KAFKA_TOPIC"}),
    Example("list", "each record of a kind about a cluster of a list", {"kind": "DELETE_CLUSTER"}),
    Example("chain", "a burst, then another kind: a rule about rules", {"kind": "CHANGE_CLUSTER_FIREWALL_RULES"}),
)
BY_NAME = {each.name: each for each in EXAMPLES}


def copy(example: Example, name: str, values: Mapping[str, str], interval: TimeInterval | None) -> str:
    """Return the text of an example under its new name, with the values of the options, and with ids.

    `interval` is the one that the rule names. The tests get hours of it, and hours outside it.
    """
    title = name.replace("_", " ").replace("-", " ")
    texts = {_NAME: name, _TITLE: _plain(title[:1].upper() + title[1:])}
    for option, value in values.items():
        texts[example.values[option]] = f"during: [{_plain(value)}]" if option == "during" else _plain(value)
    if values.get("kind") == _OTHER_KINDS[0]:
        texts[_OTHER_KINDS[0]] = _OTHER_KINDS[1]
    if "during" in example.values and interval is not None:
        is_during = "during" in values
        texts[_ALERTING_HOUR] = _hour(interval, is_in=is_during)
        texts[_QUIET_HOUR] = _hour(interval, is_in=not is_during)
    words = "|".join(map(re.escape, texts))
    text = re.sub(rf"(?<![\w-])({words})(?![a-zA-Z0-9-])", lambda found: texts[found[1]], example.text)
    return re.sub(r"(?m)^name: .*", lambda found: f"{found[0]}\nid: {uuid.uuid4()}", text)


def _plain(value: str) -> str:
    """Return a text as YAML, for a place between braces or brackets."""
    import yaml

    text: str = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=10_000)
    return text.removeprefix("[").removesuffix("]\n")


def _hour(interval: TimeInterval, *, is_in: bool) -> str:
    """Return the first hour in an interval, or outside it. Raises: ValueError, if there is none in a year."""
    first = datetime.fromisoformat(_ALERTING_HOUR).astimezone(UTC)
    for at in (first + timedelta(hours=number) for number in range(_MAX_HOURS)):
        if interval.holds(at) is is_in:
            return f"{at:%Y-%m-%dT%H:%M:%SZ}"
    raise ValueError(f"the time interval '{interval.name}' {'never begins' if is_in else 'never ends'}")

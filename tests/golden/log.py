"""A log of 200,000 records from a seed: programs that read, people who change things, and scenes that rules look for.

It depends on nothing but the documented kinds of actions, so that its records stay the same while the product and its emulator
change. Nobody claims that real logs look like it: its only purpose is to bring as many rules as possible to a decision.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from actionwatch.instaclustr.kinds import KINDS

COUNT = 200_000
_START = datetime(2026, 1, 5, tzinfo=UTC)
_SPAN = timedelta(days=120)
_QUIET = (timedelta(days=70), timedelta(days=78))  # nobody acts, so that rules about silence decide
_READS = ("DESCRIBE_KAFKA_TOPIC", "DISPLAY_KAFKA_TOPIC_CONFIG", "LIST_KAFKA_ACLS", "LIST_BUNDLE_USERS", "BACKUP")
_ALL = sorted(KINDS)
_PEOPLE = [f"person-{number}@acme.example" for number in range(40)]
_PROGRAMS = [f"svc-{number}" for number in range(8)]
_VENDOR = ["kiran", "support-2"]
_ACCOUNTS = [(f"a-{number}", f"account {number}") for number in range(12)]
_CLUSTERS = [(f"c-{number}", f"cluster-{number}", _ACCOUNTS[number % 12]) for number in range(36)]
_TEXTS = (
    "",
    "Changed by a pipeline",
    "Added 0.0.0.0/0 to the firewall",
    "Added ::/0",
    "Invited someone@gmail.com",
    "Disabled single sign-on",
    "Granted ADMIN to {user}",
    "Role of {user} set to ACCOUNT_OWNER",
)
_PAIRS = (
    ("ADMIN_SET_ACCESS_LEVEL", "RESTORE"),
    ("DELETE_BACKUP_SCHEDULE", "DELETE_CLUSTER"),
    ("ACCOUNT_GENERATE_API_KEY", "DELETE_CLUSTER"),
    ("ACCOUNT_MODIFY_LINK", "DELETE_CLUSTER"),
    ("REACTIVATE_SERVICE_USER", "ACCOUNT_GENERATE_API_KEY"),
    ("CHANGE_CLUSTER_FIREWALL_RULES", "CREATE_BUNDLE_USER"),
    ("RESTORE", "CHANGE_CLUSTER_FIREWALL_RULES"),
    ("CREATE_CLUSTER", "LIST_KAFKA_ACLS"),
)


def write_log(path: Path) -> None:
    """Write the log as JSON lines in the format of the upstream, oldest first."""
    chance = random.Random(20260105)
    found = sorted(_actions(chance), key=lambda each: (each[0], each[1], each[2], each[3]))[:COUNT]
    with path.open("w") as out:
        for at, kind, user, text, place in found:
            out.write(json.dumps(_record(at, kind, user, text, place), separators=(",", ":")) + "\n")


_Action = tuple[datetime, str, str, str, int]  # the last one is the number of a cluster


def _actions(chance: random.Random) -> Iterator[_Action]:
    """Yield more than enough of them, in no order, without those of the quiet time."""
    quiet = [_START + each for each in _QUIET]
    for number in range(COUNT * 11 // 10):
        at = _START + _SPAN * number / COUNT
        if quiet[0] <= at < quiet[1]:
            continue
        if number % 40:
            yield at, chance.choice(_READS), chance.choice(_PROGRAMS), "", chance.randrange(36)
        elif number % 200:
            yield at, chance.choice(_READS), chance.choice(_PEOPLE), "", chance.randrange(36)
        else:
            yield from _scene(chance, at)


def _scene(chance: random.Random, at: datetime) -> Iterator[_Action]:
    """Yield what one user does within an hour: one action, the same many times, or one and then another."""
    user = chance.choice([*_PEOPLE[:12], *_PROGRAMS[:2], *_VENDOR, f"new-{chance.randrange(400)}@acme.example"])
    where = chance.randrange(36)
    text = chance.choice(_TEXTS).format(user=chance.choice([user, _PEOPLE[0]]))
    step = timedelta(seconds=chance.randrange(5, 90))
    match chance.randrange(4):
        case 0:
            yield at, chance.choice(_ALL), user, text, where
        case 1:
            kind, count = chance.choice(_ALL), chance.choice((5, 10, 25))
            for number in range(count):
                yield at + step * number, kind, user, text, where
        case 2:
            kind, count = chance.choice(_ALL), chance.choice((5, 12))
            for number in range(count):
                yield at + step * number, kind, user, text, (where + number) % 36
        case _:
            first, second = chance.choice(_PAIRS)
            yield at, first, user, "", where
            yield at + step * 10, second, user, text, where


def _record(at: datetime, kind: str, user: str, text: str, place: int) -> dict[str, Any]:
    cluster, name, (account, account_name) = _CLUSTERS[place]
    return {
        "action": kind,
        "timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "userName": user,
        "description": text or f"{kind} by {user}",
        "accountId": account,
        "accountName": account_name,
        "clusterId": cluster,
        "clusterName": name,
        "crudOperation": KINDS[kind].operation,
    }

"""What a synthetic log consists of: the worst case for stateful rules, or what is usual in a large organisation."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import cycle
from typing import Literal

from msgspec import structs

from actionwatch.emulator.log import Action, EntityRef
from actionwatch.emulator.scenario import build_simulation
from actionwatch.emulator.state import Organisation
from tests.emulated import quiet_month

Mix = Literal["worst", "usual"]
TEAMS = 100
_MONTH = timedelta(days=30)
_ROUTINE = ("DESCRIBE_KAFKA_TOPIC", "DISPLAY_KAFKA_TOPIC_CONFIG", "LIST_KAFKA_ACLS", "LIST_BUNDLE_USERS", "BACKUP")


def actions_of(mix: Mix, organisation: Organisation, count: int, start: datetime, end: datetime) -> Sequence[Action]:
    """Return so many actions in a time, oldest first.

    "worst": all kinds are alike, so that each record is in 3 to 14 rules, and alerts open all the time.

    "usual" is an assumption, because no log of a large organisation is public. 100 teams of 24 people and service users do what
    the emulator takes for a quiet month without incidents, each at the rate of that month: one record in 3 seconds. All others
    are of one program for each team, which reads and backs up one cluster. Its kinds have the shares that they have in the
    month: 81 in 100 are reads. At 500 records a second, 1 record in 1,600 is of people.
    """
    if mix == "worst":
        organisation.extend_synthetic(count, start, end)
        return sorted(organisation.truth(), key=lambda action: action.at)
    month = build_simulation(quiet_month(), lambda: end).organisation.truth()
    routine = [action for action in month if action.kind in _ROUTINE]
    people_count = min(round(TEAMS * len(month) * ((end - start) / _MONTH)), count)
    chance = random.Random(1)
    return [
        _of_team(
            chance.choice(month) if (place + 1) * people_count // count > place * people_count // count else program,
            chance.randrange(TEAMS),
            start + (end - start) * place / count,
        )
        for place, program in zip(range(count), cycle(_as_programs(routine)), strict=False)
    ]


def _as_programs(routine: Sequence[Action]) -> list[Action]:
    account, cluster = routine[0].account, routine[0].cluster
    return [structs.replace(each, user_name="svc-inventory", account=account, cluster=cluster) for each in routine]


def _of_team(action: Action, team: int, at: datetime) -> Action:
    """Return the action at another time, as the people of a team do it on their clusters."""
    user, _, domain = action.user_name.partition("@")
    name = f"{user}-{team}@{domain}" if domain else f"{user}-{team}"
    account, cluster = (_entity_of_team(each, team) for each in (action.account, action.cluster))
    return structs.replace(action, at=at, user_name=name, account=account, cluster=cluster)


def _entity_of_team(entity: EntityRef | None, team: int) -> EntityRef | None:
    return None if entity is None else EntityRef(f"{team:04x}{entity.id[4:]}", f"{entity.name}-{team}")

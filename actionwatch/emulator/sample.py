"""Create a sample organisation with accounts, clusters and people. The same seed produces the same ids."""

import random
from datetime import datetime
from typing import Final, Literal
from zoneinfo import ZoneInfo

from actionwatch.emulator.state import Clock, Organisation, Person, system_clock

Office = Literal["Australia/Sydney", "Europe/Berlin", "America/New_York"]
SYDNEY: Final[Office] = "Australia/Sydney"
# Together they cover the day: at any time, one office works and another sleeps.
_OFFICES: Final[tuple[Office, ...]] = (SYDNEY, "Europe/Berlin", "America/New_York")
_KOLKATA = "Asia/Kolkata"  # the vendor's support
_NOON_HOUR = 13  # the middle of a working day

PLATFORM, DBA, DEVELOPER, SECURITY, BILLING, SUPPORT = "platform", "dba", "developer", "security", "billing", "support"
CI_RUNNER, CI_REAPER, BACKUP_SCHEDULER = "svc-ci-runner", "svc-ci-reaper", "svc-backup-scheduler"
PROD, STAGING, CI = "prod", "staging", "ci"

_DOMAIN = "acme.example"
_SUPPORT_DOMAIN = "support.instaclustr.example"
_FIRST_NAMES: Final = (
    *("alice", "bruno", "chandra", "dmitri", "eve", "farah", "gustav", "hana", "ingrid"),
    *("jamal", "keiko", "liam", "mei", "noah", "olga", "pedro", "quinn", "rosa"),
    *("sven", "tara", "umar", "vera", "wanda", "xavier", "yara", "zoe"),
)
_SUPPORT_NAMES: Final = ("kiran", "priya", "arjun", "divya", "rohan", "sunita", "vikram", "anjali", "nikhil", "leela")
_STAFF: Final = ((PLATFORM, 4), (DBA, 3), (DEVELOPER, 9))  # spread over the offices; all others work in the head office
_ACCOUNTS: Final = ("payments", "storefront", "analytics", "logistics", "identity", "sandbox")
_PRODUCTS: Final = {
    "KAFKA": "kafka",
    "CASSANDRA": "cassandra",
    "POSTGRESQL": "postgres",
    "OPENSEARCH": "opensearch",
    "REDIS": "redis",
}
SANDBOX: Final = "sandbox"


def create_organisation(seed: int, *, head_office: Office = SYDNEY, clock: Clock = system_clock) -> Organisation:
    """Create an organisation with an empty log: 5 or 6 accounts, at least 10 clusters, about 25 people and services."""
    chance = random.Random(f"cast {seed}")
    organisation = Organisation(name="Acme", clock=clock, seed=seed, time_zone=head_office)
    organisation.people = _people(chance, head_office)
    owned = [name for name in _ACCOUNTS if name != SANDBOX]
    for name in [*sorted(chance.sample(owned, chance.choice((4, 5))), key=owned.index), SANDBOX]:
        account = organisation.inventory.add_account(
            name, support_contacts=f"ops@{_DOMAIN}", is_pci_compliant=name == "payments"
        )
        if name == SANDBOX:
            organisation.inventory.add_cluster("sandbox-kafka", account=account, product="KAFKA", stage=STAGING)
            continue
        products = ["KAFKA", *chance.sample([product for product in _PRODUCTS if product != "KAFKA"], 1)]
        for product in products:
            organisation.inventory.add_cluster(
                f"{name}-prod-{_PRODUCTS[product]}", account=account, product=product, stage=PROD
            )
        staged = chance.choice(products)
        organisation.inventory.add_cluster(
            f"{name}-staging-{_PRODUCTS[staged]}", account=account, product=staged, stage=STAGING
        )
    return organisation


def off_hours_zone(now: datetime) -> Office:
    """Return the office whose local time is closest to midnight, which with three offices is always outside 7:00 to 19:00."""

    def distance_from_noon(zone: Office) -> float:
        local = now.astimezone(ZoneInfo(zone))
        ahead = (local.hour + local.minute / 60 - _NOON_HOUR) % 24
        return min(ahead, 24 - ahead)

    return max(_OFFICES, key=distance_from_noon)


def newcomer(chance: random.Random, known: list[Person]) -> Person:
    """Return a new member of the vendor's support staff."""
    taken = {person.user_name for person in known}
    while True:
        name = f"{chance.choice(_SUPPORT_NAMES)}.{chance.choice('abcdefghijklmnopqrstuvwxyz')}@{_SUPPORT_DOMAIN}"
        if name not in taken:
            return Person(name, SUPPORT, _KOLKATA)


def _people(chance: random.Random, head_office: Office) -> list[Person]:
    names = iter(chance.sample(_FIRST_NAMES, len(_FIRST_NAMES)))
    people = [
        Person(f"{next(names)}@{_DOMAIN}", role, _OFFICES[number % len(_OFFICES)])
        for role, size in _STAFF
        for number in range(size)
    ]
    people += [Person(f"{next(names)}@{_DOMAIN}", role, head_office) for role in (SECURITY, SECURITY, BILLING)]
    people += [Person(f"{name}@{_SUPPORT_DOMAIN}", SUPPORT, _KOLKATA) for name in chance.sample(_SUPPORT_NAMES, 2)]
    return people + [Person(name, name, "UTC") for name in (CI_RUNNER, CI_REAPER, BACKUP_SCHEDULER)]

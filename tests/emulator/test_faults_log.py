"""Faults of the log: late, inserted, duplicated and vanished records, and the truth about them."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from actionwatch.emulator.log import LogFilter, LogQuery
from tests import http_client
from tests.emulator.conftest import NOON, World
from tests.emulator.test_user_actions import NOON_MS

MINUTE = timedelta(minutes=1)


def test_twins_are_real(world: World) -> None:
    """Each record that is logged while the fault is active exists several times, identical, also in the truth."""
    world.log("RESTORE")
    world.faults.set("twins:3")
    world.log("BACKUP")
    world.faults.clear()
    world.log("RESTORE")
    assert world.kinds() == ["RESTORE", "BACKUP", "BACKUP", "BACKUP", "RESTORE"]
    assert len(world.organisation.truth()) == 5


def test_coarse_times_make_equal_times(world: World) -> None:
    """Times are rounded down when they are logged, also in the truth."""
    world.faults.set("coarse_time:1m")
    for minutes in (1.1, 1.2, 1.9):
        world.log("BACKUP", minutes)
    assert {action.at for action in world.organisation.truth()} == {NOON + MINUTE}


def test_late_record_is_shown_after_its_delay(world: World) -> None:
    """The truth has it at once, the API only after the delay; ending the fault does not shorten it."""
    world.log("RESTORE")
    world.faults.set("late:10s")
    world.log("BACKUP")
    world.faults.clear()
    assert world.kinds() == ["RESTORE"]
    assert world.request()["totalResults"] == 1
    assert world.request()["actionCounts"] == {"RESTORE": 1}
    assert len(world.organisation.truth()) == 2
    world.clock.now += timedelta(seconds=9.999)
    assert world.kinds() == ["RESTORE"]
    world.clock.now += timedelta(seconds=0.001)
    assert world.kinds() == ["BACKUP", "RESTORE"]


def test_late_records_appear_out_of_order(world: World) -> None:
    """With two durations, each record has its own random delay, and the same seed repeats the delays."""
    orders = []
    for start in (0, 100):
        world.faults.set("late:1s,60s,seed=4")
        world.clock.now = NOON + start * MINUTE
        for second in range(10):
            world.log("BACKUP", start + second / 60, description=str(second))
        seen: list[str] = []
        for _ in range(75):
            world.clock.now += timedelta(seconds=1)
            page = world.organisation.page(LogQuery(LogFilter(), NOON_MS + start * 60_000, 2**62, 0, 10))
            seen += [action.description for action in page.actions if action.description not in seen]
        orders.append(seen)
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == [str(second) for second in range(10)]
    assert orders[0] != sorted(orders[0])


def test_limits_count_records(world: World) -> None:
    """`every` and `times` of a fault of the log count records, not requests."""
    world.faults.set("twins:2,every=2,times=2")
    for number in range(8):
        world.log("BACKUP", description=str(number))
        world.request()
    described = [action.description for action in world.organisation.truth()]
    assert described == ["0", "1", "1", "2", "3", "3", "4", "5", "6", "7"]


def test_entries_disappear_at_an_age(world: World) -> None:
    """Retention: a record disappears for good when it reaches an age, and the truth keeps it with that time."""
    world.log("BACKUP", 0)
    world.log("RESTORE", 5)
    world.faults.set("vanish:10m")
    assert world.kinds() == ["RESTORE", "BACKUP"]
    world.clock.now += 12 * MINUTE
    assert world.kinds() == ["RESTORE"]
    assert world.request()["totalResults"] == 1
    world.faults.clear()
    assert world.kinds() == ["RESTORE"]
    world.clock.now += 60 * MINUTE
    first, second = world.organisation.truth()
    assert (first.gone_at, second.gone_at) == (NOON + 10 * MINUTE, None)


def test_entries_disappear_by_their_fields(world: World) -> None:
    """Each field restricts which records disappear; `times` limits their number."""
    for minute in range(3):
        world.log("BACKUP", minute, user_name="eve")
    world.log("BACKUP", 3, account=world.account, cluster=world.cluster, description="nightly")
    world.faults.set("vanish:kind=BACKUP,user=eve,times=2")
    world.clock.now += MINUTE
    assert len(world.kinds()) == 2
    for field in (f"account={world.account.name}", f"cluster={world.cluster.id}", "keyword=NIGHT"):
        world.faults.set(f"vanish:{field},kind=RESTORE")
        assert len(world.kinds()) == 2
    world.faults.set(f"vanish:account={world.account.name},cluster={world.cluster.id},keyword=NIGHT")
    assert len(world.kinds()) == 1
    gone = [action.gone_at for action in world.organisation.truth()]
    assert gone == [NOON, NOON, None, NOON + MINUTE]


def test_entries_disappear_for_a_time(world: World) -> None:
    """After `for`, no more records disappear; those that reached the age before have disappeared at that time."""
    world.log("BACKUP", 0)
    world.log("RESTORE", 8)
    world.faults.set("vanish:10m,for=15m")
    world.clock.now += 60 * MINUTE
    assert world.kinds() == ["RESTORE"]
    assert [action.gone_at for action in world.organisation.truth()] == [NOON + 10 * MINUTE, None]


def test_visible_at_any_time(world: World) -> None:
    """The records visible at an earlier time account for arrivals, delays and disappearances."""
    world.log("BACKUP", 0, description="old")
    world.faults.set("late:3m,times=1", "vanish:10m,kind=BACKUP")
    world.log("RESTORE", 1, description="late")
    world.clock.now += 2 * MINUTE
    world.log("RESTORE", 2, description="new")
    world.clock.now += 60 * MINUTE

    def seen(minutes: float, start: float = 0, end: float = 60) -> list[str]:
        found = world.organisation.visible(NOON + minutes * MINUTE, NOON + start * MINUTE, NOON + end * MINUTE)
        return [action.description for action in found]

    assert [seen(minutes) for minutes in (-1, 0, 2, 4, 9.99, 10)] == [
        [],
        ["old"],
        ["old", "new"],
        ["old", "late", "new"],
        ["old", "late", "new"],
        ["late", "new"],
    ]
    assert (seen(5, 1, 2), seen(5, 1.5, 2), seen(5, 0, 0.5)) == (["late", "new"], ["new"], ["old"])


def test_another_process_can_read_the_truth(world: World) -> None:
    """The control API marks records that disappeared, and returns those visible at a time."""
    world.log("BACKUP", 0)
    world.log("RESTORE", 0)
    world.faults.set("vanish:10m,kind=BACKUP")
    world.clock.now += 20 * MINUTE
    truth = _lines(world, "/truth")
    assert [(one["action"], one.get("goneAt")) for one in truth] == [
        ("BACKUP", "2026-11-25T12:10:00.000Z"),
        ("RESTORE", None),
    ]
    assert [one["action"] for one in _lines(world, "/visible")] == ["RESTORE"]
    at = "/visible?at=2026-11-25T12:05:00Z"
    assert [one["action"] for one in _lines(world, f"{at}&start={NOON_MS}")] == ["BACKUP", "RESTORE"]
    assert _lines(world, f"{at}&end=2026-11-25T11:00:00Z") == []
    assert http_client.get(f"{world.url}/_emulator/visible?at=noon").status_code == 400


# Records that appear between two pages


@pytest.mark.parametrize(
    ("fault", "pages"),
    [
        ("appear", [[5, 4], [4, 3], [2, 1], [0], []]),
        ("appear:1,before", [[5, 4], [4, 3], [2, 1], [0], []]),
        ("appear:1,after", [[5, 4], ["new", 3], [2, 1], [0], []]),
        ("appear:2,before,2", [[5, 4], [3, 2], [3, 2], [1, 0], []]),
        ("appear:1,inside", [[5, 4], [3, "new"], [2, 1], [0], []]),
        ("appear:1,now", [[5, 4], [3, 2], [1, 0], []]),
    ],
)
def test_records_appear_between_two_pages(world: World, fault: str, pages: list[list[object]]) -> None:
    """A record before the offset repeats one at the page edge, one after it is returned, one outside the window is not."""
    for minute in range(6):
        world.log("RESTORE", minute, description=str(minute))
    world.clock.now += 60 * MINUTE
    world.faults.set(f"{fault}{',' if ':' in fault else ':'}times=1")
    assert _walk(world) == [[str(one) for one in page] for page in pages]
    made = 2 if fault.endswith(",2") else 1
    assert len(world.organisation.truth()) == 6 + made
    again = [one for page in _walk(world) for one in page]
    assert again.count("new") == (0 if fault.endswith("now") else made)


def test_records_appear_in_ascending_order_too(world: World) -> None:
    """Before the offset means before it in the active order."""
    for minute in range(1, 5):
        world.log("RESTORE", minute, description=str(minute))
    world.faults.set("order:ascending", "appear:1,before,times=1")
    assert _walk(world) == [["1", "2"], ["2", "3"], ["4"], []]
    world.faults.set("order:ascending", "appear:1,after,times=1")
    assert _walk(world) == [["new", "1"], ["new", "2"], ["3", "4"], []]


def test_records_appear_on_each_walk_that_limits_allow(world: World) -> None:
    """`every` counts walks that reach the page; a walk begins at offset 0."""
    for minute in range(4):
        world.log("RESTORE", minute, description=str(minute))
    world.faults.set("appear:2,before,every=2,times=2")
    lengths = []
    for _ in range(6):
        _walk(world)
        lengths.append(len(world.organisation))
    assert lengths == [4, 5, 5, 6, 6, 6]


def _walk(world: World) -> list[list[str]]:
    pages: list[list[str]] = []
    while not pages or pages[-1]:
        at = sum(map(len, pages))
        query = f"startTime={NOON_MS}&endTime={NOON_MS + 300_000}&pageSize=2&recordIndex={at}"
        resources: Any = world.request(query)["resources"]
        pages.append([record["description"].replace("Appeared between two pages", "new") for record in resources])
    return pages


def _lines(world: World, path: str) -> list[dict[str, Any]]:
    answer = http_client.get(f"{world.url}/_emulator{path}")
    assert answer.status_code == 200, answer.text
    return [httpx.Response(200, text=line).json() for line in answer.text.splitlines()]

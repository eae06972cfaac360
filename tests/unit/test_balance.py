"""tests/balance.py: every test runs, and the long ones begin."""

from __future__ import annotations

from tests.balance import long_first
from tests.cases import in_one_test


@in_one_test("worker_count", [1, 2, 3, 4, 7])
@in_one_test(("count", "long_count"), [(0, 0), (5, 0), (23, 1), (100, 9), (101, 10), (400, 40)])
def test_each_worker_begins_with_its_share(worker_count: int, count: int, long_count: int) -> None:
    """Each part begins with its share of the long tests, no test is lost or doubled, and the others keep their order."""
    tests = [f"test {number:03}" for number in range(count)]
    long = set(tests[count // 3 : count // 3 + long_count])
    found = long_first(tests, worker_count, long.__contains__)
    assert sorted(found) == tests
    assert [test for test in found if test not in long] == [test for test in tests if test not in long]
    rest = found
    for number in range(worker_count):
        size = len(rest) // (worker_count - number)  # as xdist does
        part, rest = rest[:size], rest[size:]
        share = [test in long for test in part]
        assert share == sorted(share, reverse=True)
        assert long_count // worker_count <= sum(share) <= long_count // worker_count + 1

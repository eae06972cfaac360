"""The log's columns compared with a simple reading of the parameters, and with many actions."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from actionwatch.emulator.log import Action, ActionLog, Arrival, EntityRef, LogFilter, LogQuery, from_ms
from actionwatch.emulator.state import Organisation
from tests.examples import examples

ACCOUNTS = (None, EntityRef("a1", "one"), EntityRef("a2", "two"))
CLUSTERS = (None, EntityRef("c1", "red"), EntityRef("c2", "blue"))
MANY = 200_000

actions = st.builds(
    Action,
    st.sampled_from(["BACKUP", "LINK_ACCOUNT", "DELETE_CLUSTER", "LOGIN"]),
    st.integers(0, 20).map(from_ms),
    st.sampled_from(["alice", "eve"]),
    st.sampled_from(["", "Nightly", "opened 0.0.0.0/0"]),
    st.sampled_from(ACCOUNTS),
    st.sampled_from(CLUSTERS),
)
filters = st.builds(
    LogFilter,
    kinds=st.none() | st.frozensets(st.sampled_from(["BACKUP", "DELETE_CLUSTER"]), min_size=1),
    account=st.sampled_from([None, "a1", "two", "three"]),
    cluster_id=st.sampled_from([None, "c1", "c3"]),
    user_name=st.sampled_from([None, "eve"]),
    keyword=st.sampled_from([None, "night", "0/0"]),
    organisation_only=st.booleans(),
    account_only=st.booleans(),
)


@examples(100)
@given(
    st.lists(actions, max_size=30),
    st.lists(
        st.tuples(filters | st.just(LogFilter()), st.integers(-1, 21), st.integers(-1, 21)), min_size=1, max_size=6
    ),
    st.integers(0, 12),
    st.integers(1, 12),
)
def test_columns_give_the_same_as_a_simple_walk(
    logged: list[Action], asked: list[tuple[LogFilter, int, int]], offset: int, limit: int
) -> None:
    """For any log and any query, order, page, total and counts are those of a simple walk."""
    log, seen = ActionLog(), list[Action]()
    for step, (wanted, start, end) in enumerate(asked):
        for action in logged[step * 6 : step * 6 + 6]:
            log.append(Arrival(action), now=0)
            seen.append(action)
        found = log.page(LogQuery(wanted, start, end, offset, limit), now=0)
        in_order = sorted((a for a in seen if from_ms(start) <= a.at <= from_ms(end)), key=lambda a: a.at)
        expected = [action for action in reversed(in_order) if _is_wanted(action, wanted)]
        assert [_plain(action) for action in found.actions] == [_plain(a) for a in expected[offset : offset + limit]]
        assert found.total == len(expected)
        assert found.counts == dict(Counter(action.kind for action in expected))


def test_many_actions_are_returned_completely() -> None:
    """Of many actions none is missing from counts, windows or pages, at either end and in the middle."""
    organisation = Organisation()
    start = datetime(2026, 1, 1, tzinfo=UTC)
    organisation.extend_synthetic(MANY, start, start + timedelta(milliseconds=MANY))
    organisation.append("LOGIN", at=start + timedelta(milliseconds=MANY // 2))
    first = int(start.timestamp() * 1000)
    whole = organisation.page(LogQuery(LogFilter(), first, first + MANY, 0, 1))
    assert (whole.total, sum((whole.counts or {}).values())) == (MANY + 1, MANY + 1)
    middle = organisation.page(LogQuery(LogFilter(), first + MANY // 2 - 1, first + MANY // 2, 0, 10))
    assert (middle.total, middle.actions[0].kind) == (3, "LOGIN")
    last = organisation.page(LogQuery(LogFilter(), first, first + MANY, MANY - 4, 1000, with_counts=False))
    assert [action.at for action in last.actions] == [start + timedelta(milliseconds=n) for n in (4, 3, 2, 1, 0)]
    backups = organisation.page(LogQuery(LogFilter(kinds=frozenset(["BACKUP"])), first, first + MANY, 0, 1000))
    assert whole.counts is not None
    assert backups.total == whole.counts["BACKUP"] > 1000
    assert backups.counts == {"BACKUP": backups.total}


def test_synthetic_actions_join_those_before_and_after() -> None:
    """Synthetic actions are in order of time with the actions before and after them."""
    organisation = Organisation()
    start = datetime(2026, 1, 1, tzinfo=UTC)
    organisation.append("LOGIN", at=start + timedelta(seconds=5))
    organisation.extend_synthetic(10, start, start + timedelta(seconds=10))
    organisation.append("LOGIN", at=start)
    actions = organisation.page(LogQuery(LogFilter(), 0, 2**62, 0, 100)).actions
    assert len(actions) == len(organisation) == 12
    assert [action.at for action in actions] == sorted((action.at for action in actions), reverse=True)
    assert [number for number, action in enumerate(actions) if action.kind == "LOGIN"] == [5, 10]


def _is_wanted(action: Action, wanted: LogFilter) -> bool:
    is_organisation = action.kind == "LINK_ACCOUNT"
    return (
        (wanted.kinds is None or action.kind in wanted.kinds)
        and (
            wanted.account is None
            or (action.account is not None and wanted.account in (action.account.id, action.account.name))
        )
        and (wanted.cluster_id is None or (action.cluster is not None and action.cluster.id == wanted.cluster_id))
        and wanted.user_name in (None, action.user_name)
        and (wanted.keyword is None or wanted.keyword in action.description.lower())
        and not (wanted.organisation_only and not is_organisation)
        and not (wanted.account_only and is_organisation)
    )


def _plain(action: Action) -> tuple[object, ...]:
    return action.kind, action.at, action.user_name, action.description, action.account, action.cluster

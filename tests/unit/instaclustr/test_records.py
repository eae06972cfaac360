"""Objects become records: every alias, every format of a value."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.base.model import NOTHING, Entity, Record
from actionwatch.instaclustr.aliases import ALIASES, FIELDS
from actionwatch.instaclustr.records import RecordReader
from tests.builders import reader_knowing
from tests.cases import in_one_test

SEEN = datetime(2026, 1, 1, tzinfo=UTC)
AT = datetime(2023, 11, 5, 13, 15, 30, tzinfo=UTC)
UUID = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"


def read(fields: dict[str, Any], reader: RecordReader | None = None) -> Record:
    """Read twice with one reader: the caches of the second time must return the same."""
    reader = reader or reader_knowing({"acc-1": "Payments"})
    first, second = reader.read_all([fields, dict(fields)], [json.dumps(fields)] * 2, SEEN)
    assert first == second
    return first


def test_usual_record_is_read_completely() -> None:
    """Every field has its place in the model, and the object is kept unchanged."""
    fields = {
        "id": "r-1", "action": "DELETE_CLUSTER", "domainType": "ACCOUNT", "timestamp": "2023-11-05T13:15:30Z",
        "userName": "eve", "description": "gone", "accountId": "acc-1", "accountName": "Payments",
        "clusterId": "c-1", "clusterName": "ledger",
        "organisationId": "o-1", "organisationName": "Acme", "crudOperation": "ACCOUNT_LEVEL_USER_ACTIONS_DELETE",
    }  # fmt: skip
    record = read(fields)
    assert record == Record(
        key=record.key,
        source="acme",
        occurred_at=AT,
        seen_at=SEEN,
        action_kind="DELETE_CLUSTER",
        raw=json.dumps(fields),
        domain_type="ACCOUNT",
        user_name="eve",
        description="gone",
        account=Entity("acc-1", "Payments"),
        cluster=Entity("c-1", "ledger"),
        organisation=Entity("o-1", "Acme"),
        operation="DELETE",
        scope="account",
        severity="critical",
        upstream_id="r-1",
    )


def test_any_object_is_a_record() -> None:
    """Nothing is required: an empty object is a record without a readable time and with an unnamed kind."""
    record = read({})
    assert (record.action_kind, record.severity, record.occurred_at) == ("UNKNOWN", "medium", SEEN)
    assert not record.is_time_readable
    assert (record.user_name, record.account, record.operation, record.scope) == (None, NOTHING, None, None)


@in_one_test(
    ("field", "attribute", "value", "expected"),
    [
        ("kind", "action_kind", "CREATE_CLUSTER", "CREATE_CLUSTER"),
        ("domain_type", "domain_type", "CLUSTER", "CLUSTER"),
        ("time", "occurred_at", "2023-11-05T13:15:30Z", AT),
        ("user", "user_name", "eve", "eve"),
        ("description", "description", "gone", "gone"),
        ("account_id", "account", "a", Entity("a")),
        ("account_name", "account", "a", Entity(None, "a")),
        ("account", "account", "a", Entity(None, "a")),
        ("account", "account", UUID, Entity(UUID)),
        ("account", "account", {"id": 5, "name": "a"}, Entity("5", "a")),
        ("account", "account", "acc-1", Entity("acc-1", "Payments")),
        ("cluster_id", "cluster", "c", Entity("c")),
        ("cluster_name", "cluster", "c", Entity(None, "c")),
        ("cluster", "cluster", {"ID": "c", "NAME": "n"}, Entity("c", "n")),
        ("cluster", "cluster", UUID, Entity(UUID)),
        ("organisation_id", "organisation", "o", Entity("o")),
        ("organisation_name", "organisation", "o", Entity(None, "o")),
        ("operation", "operation", "update", "UPDATE"),
        ("upstream_id", "upstream_id", 17, "17"),
    ],
)
def test_every_alias_is_found(field: str, attribute: str, value: Any, expected: Any) -> None:
    """Every documented name is found, in any case."""
    for alias in ALIASES[field]:
        for name in (alias, alias.upper(), alias.lower()):
            assert getattr(read({name: value}), attribute) == expected, name


def test_configured_aliases_come_first() -> None:
    """Configured names are tried before the built-in ones, and cannot name an unknown field."""
    reader = RecordReader("acme", organisation_id="org", aliases={"user": ["principalName"], "scope": ["reach"]})
    record = read({"userName": "built-in", "PRINCIPALNAME": "configured", "reach": "Organisation"}, reader)
    assert (record.user_name, record.scope) == ("configured", "organisation")
    assert reader.unmapped_fields == frozenset()
    with pytest.raises(ValueError, match="unknown field 'colour'"):
        RecordReader("acme", organisation_id="org", aliases={"colour": ["x"]})
    assert {"kind", "domain_type", "time", "user", "description", "account", "cluster", "organisation", "operation", "scope",
            "upstream_id"} <= set(FIELDS)  # fmt: skip


def test_first_alias_with_a_value_applies() -> None:
    """A null, a blank or an unreadable time under one alias does not hide the value of the next."""
    record = read(
        {
            "userName": None,
            "user": " ",
            "email": "e@x",
            "timestamp": "soon",
            "created": 1699190130,
            "action": "",
            "type": "X",
        }
    )
    assert (record.user_name, record.occurred_at, record.action_kind) == ("e@x", AT, "X")
    assert read({"userName": ""}).user_name == ""


@in_one_test(
    ("user", "name"),
    [
        ({"name": "eve", "email": "e@x"}, "eve"),
        ({"Username": "eve"}, "eve"),
        ({"email": "e@x"}, "e@x"),
        ({"role": "x"}, None),
        (7, "7"),
        (["a"], '["a"]'),
    ],
)
def test_a_user_may_be_an_object(user: Any, name: str | None) -> None:
    """A user in the form of an object is its name, user name or e-mail address."""
    assert read({"user": user}).user_name == name


@in_one_test(
    ("fields", "operation", "scope", "severity"),
    [
        ({"action": "Create cluster"}, "CREATE", "account", "medium"),
        ({"action": "LINK_ACCOUNT"}, "CREATE", "organisation", "high"),
        ({"action": "LINK_ACCOUNT", "crud": "ORG_LEVEL_USER_ACTIONS_UPDATE"}, "UPDATE", "organisation", "high"),
        ({"action": "LINK_ACCOUNT", "domainType": "ACCOUNT"}, "CREATE", "account", "high"),
        ({"action": "CREATE_CLUSTER", "domainType": "ORGANIZATION"}, "CREATE", "organisation", "medium"),
        ({"action": "CREATE_CLUSTER", "level": "org"}, "CREATE", "organisation", "medium"),
        ({"action": "LOGIN", "crud": "ACCOUNT_LEVEL_USER_ACTIONS_READ"}, "READ", "account", "medium"),
        ({"action": "LOGIN", "crud": "delete"}, "DELETE", None, "medium"),
        ({"action": "LOGIN", "crud": "perhaps"}, None, None, "medium"),
        ({"action": {"name": "Delete cluster"}}, "DELETE", "account", "critical"),
    ],
)
def test_values_of_the_record_take_precedence_over_the_catalogue(
    fields: dict[str, Any], operation: str | None, scope: str | None, severity: str
) -> None:
    """Operation and scope come from the record, otherwise from the catalogue; an unknown kind has medium severity."""
    record = read(fields)
    assert (record.operation, record.scope, record.severity) == (operation, scope, severity)


@pytest.mark.parametrize(
    ("domain_type", "account", "cluster"),
    [
        ("ACCOUNT", Entity("d", "n"), NOTHING),
        ("Cluster", NOTHING, Entity("d", "n")),
        ("ORGANISATION", NOTHING, NOTHING),
    ],
)
def test_domain_depends_on_its_type(domain_type: str, account: Entity, cluster: Entity) -> None:
    """`domainId` and `domainName` name an account or a cluster, depending on the domain type."""
    record = read({"domainType": domain_type, "domainId": "d", "domainName": "n"})
    assert (record.account, record.cluster) == (account, cluster)


def test_known_accounts_distinguish_ids_from_names() -> None:
    """A string is an id if a linked account has that id; ids get the known name."""
    reader = RecordReader("acme", organisation_id="org")
    assert read({"account": "acc-9"}, reader).account == Entity(None, "acc-9")
    reader.know_accounts({"acc-9": "Nine"})
    assert read({"account": "acc-9"}, reader).account == Entity("acc-9", "Nine")
    assert read({"accountId": "acc-9"}, reader).account == Entity("acc-9", "Nine")
    for name in ("account", "cluster", "organisation"):
        both = {name: "id-7", f"{name}Name": "Payments"}
        assert getattr(read(both, reader), name) == Entity("id-7", "Payments")
        assert getattr(read({**both, name: "Payments"}, reader), name) == Entity(None, "Payments")
        assert getattr(read({**both, f"{name}Id": "id-8"}, reader), name) == Entity("id-8", "Payments")
    assert read({"accountId": "acc-9", "accountName": "Then"}, reader).account == Entity("acc-9", "Then")


def test_unmapped_fields_are_reported() -> None:
    """Fields without an alias are reported, so that users can map them."""
    reader = RecordReader("acme", organisation_id="org")
    read({"action": "X", "ipAddress": "10.0.0.1"}, reader)
    assert reader.unmapped_fields == {"ipAddress"}


def test_numbers_and_booleans_are_distinct() -> None:
    """1, 1.0 and true are one cache key, but three texts."""
    reader = RecordReader("acme", organisation_id="org")
    assert [read({"action": value}, reader).action_kind for value in (1, True, 1.0)] == ["1", "TRUE", "1.0"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(sorted({alias for aliases in ALIASES.values() for alias in aliases})) | st.text(max_size=5)


@given(st.lists(st.dictionaries(names, json_values, max_size=8), max_size=5))
def test_nothing_makes_the_reader_fail(objects: list[dict[str, Any]]) -> None:
    """Every object results in one record, alone and among others, with any values."""
    reader = reader_knowing({"a": "b"})
    records = reader.read_all(objects, ["{}"] * len(objects), SEEN)
    alone = [reader_knowing({"a": "b"}).read_all([fields], ["{}"], SEEN)[0] for fields in objects]
    assert records == alone


TIMES = (
    "2023-11-05T13:15:30Z", "2023-11-05T13:15:30.123456789Z", "20231105T131530Z", "2023-W44-7T13:15:30Z", "2023-11-05Z",
    "2023-11-05t13:15:30z", "2023-11-05T13:15:30+10:00", "2023-11-05T13:15:30+00:00", "1969-12-31T23:59:59Z", "1699190130",
    1699190130, 1699190130000.5, "Z", "", "soon Z", None, True,
)  # fmt: skip
usual = st.fixed_dictionaries(
    {
        "action": st.sampled_from(["DELETE_CLUSTER", "Create topic", "X"]),
        "timestamp": st.just(TIMES[0]) | st.sampled_from(TIMES),
        "userName": st.sampled_from(["eve", "", "null"]),
        "description": st.sampled_from(["gone", "", " "]),
    },
    optional={
        "id": st.sampled_from(["r-1", "r-2", ""]),
        "domainType": st.sampled_from(["ACCOUNT", "CLUSTER", "ORGANISATION"]),
        "domainId": st.sampled_from(["d", None]),
        "accountId": st.sampled_from(["a", None]),
        "accountName": st.sampled_from(["Acme", None]),
        "clusterId": st.just("c"),
        "cluster": st.sampled_from(["c", {"id": "c", "name": "prod"}]),
        "added": json_values,
    },
)
one_odd = st.builds(
    lambda fields, key, value: {**fields, key: value},
    usual,
    st.sampled_from(["action", "timestamp", "userName", "description", "id", "accountId"]),
    json_values,
)


@given(st.lists(usual | one_odd, max_size=8), st.booleans())
def test_columns_and_single_objects_give_the_same_records(objects: list[dict[str, Any]], is_settled: bool) -> None:
    """Reading usual values column by column returns the same records as reading one object after the other."""
    reader = reader_knowing({"a": "b"})
    if is_settled:
        reader.settle_identity(["known"])
    present = [{key: value for key, value in fields.items() if value is not None} for fields in objects]
    single = [reader._read_one(reader.plan(tuple(fields)), fields, "{}", SEEN) for fields in present]
    assert reader.read_all(objects, ["{}"] * len(objects), SEEN) == single
    assert reader.read_all(objects, ["{}"] * len(objects), SEEN) == single  # again, from the cache

"""The emulator simulates every variant of the upstream; the probe determines each unknown and shows no value."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from actionwatch.instaclustr.probe.findings import ProofImpact
from actionwatch.instaclustr.probe.probing import ProbeReport
from tests.integration.probe.kit import SECRETS, World, found, printed, serve_world

FINE, COSTS, PREVENTS = ProofImpact.FINE, ProofImpact.COSTS, ProofImpact.PREVENTS


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Serve one organisation to all tests; each sets its faults."""
    with serve_world() as served:
        yield served


def assert_shows_no_value(report: ProbeReport, world: World) -> None:
    """A report contains no value of a record, of an account or of the key."""
    text = printed(report)
    ids = [account.id for account in world.organisation.inventory.accounts] + [
        one.id for one in world.organisation.inventory.clusters
    ]
    shown = [secret for secret in (*SECRETS, *ids, world.organisation.id) if secret in text]
    assert not shown


def test_documented_upstream_is_recognised(world: World) -> None:
    """For the documented upstream, all but three unknowns are determined, within the promised number of requests."""
    report = world.probe()
    assert_shows_no_value(report, world)
    assert [finding.subject for finding in report.findings if not finding.is_settled] == ["pageSize", "lateness"]
    assert not report.is_proof_prevented
    assert found(report, "proof").weight is FINE
    assert "one request per poll" in found(report, "proof").says
    assert report.request_count <= 45
    assert {field.name: field.ours for field in report.fields}["userName"] == "user"
    assert report.configuration == {"extra_kinds": ["USER_LOGIN"]}


PARTITION = "organisationLogsOnly, accountLogsOnly"
Expected = dict[str, tuple[str, ProofImpact]]

VARIANTS: list[tuple[str, Expected]] = [
    # The envelope
    ("envelope:bare counts:kind_total", {"envelope": ("an object", FINE), "counts form": ("a list of objects under actionCounts", FINE)}),
    ("envelope:records", {"envelope": ("no envelope", COSTS), "proof": ("two walks of each window", COSTS)}),
    ("envelope:several", {"totals": ("given as a number", FINE)}),
    ("resources:Resources envelope:empty_list", {"envelope": ("besides Resources", FINE), "empty answer": ("an empty list", FINE)}),
    ("resources:null_when_empty", {"empty answer": ("resources are null", FINE)}),
    ("resources:absent_when_empty", {"empty answer": ("resources are absent", FINE)}),
    ("odd_record:text", {"envelope": ("not a page of user actions", PREVENTS)}),
    ("wrong_answer:html", {"envelope": ("markup", PREVENTS)}),
    # Totals and counts
    ("total:string counts_name:tally", {"totals": ("given as text, cover the window", FINE), "counts form": ("under tally", FINE)}),
    ("total:absent counts:absent", {"totals": ("missing", COSTS), "counts": ("missing", COSTS), "proof": ("two walks", COSTS)}),
    ("total:absent", {"proof": ("one request", FINE), "counts": ("they cover the window", FINE)}),
    ("total:page", {"totals": ("count the page", COSTS), "proof": ("two walks", COSTS)}),
    ("total:zero", {"totals": ("lower than the number", COSTS)}),
    ("total:more", {"totals": ("higher than the number", PREVENTS)}),
    ("total:fewer", {"totals": ("lower than the number", COSTS), "proof": ("two walks", COSTS)}),
    ("counts:absent", {"counts": ("missing", COSTS), "proof": ("one request", FINE)}),
    ("counts:page", {"counts": ("count the page", COSTS)}),
    ("counts:more", {"counts": ("do not match the kinds", COSTS)}),
    # Order and paging
    ("order:descending", {"order": ("descending by time", FINE)}),
    ("order:ascending counts_always", {"order": ("ascending by time", FINE), "counts form": ("present even if declined", FINE)}),
    ("order:shuffled", {"order": ("not by time, stable", FINE)}),
    ("order:reshuffled", {"order": ("changes between requests", COSTS)}),
    ("order:ties", {"order": ("records with the same time change places", COSTS)}),
    ("page_clamped:40", {"pageSize": ("at most 40 records", COSTS), "totals": ("equal the number of records", FINE)}),
    ("page_size_ignored", {"pageSize": ("ignored: a page of 1 had 10", COSTS)}),
    ("index_ignored", {"recordIndex": ("ignored", PREVENTS), "empty answer": ("ignored", PREVENTS)}),
    ("index_of_pages", {"recordIndex": ("counts pages and not records", PREVENTS)}),
    # Bounds
    ("bounds:inclusive", {"startTime": ("inclusive, to the millisecond", FINE), "endTime": ("inclusive, to the millisecond", FINE)}),
    ("bounds:exclusive_start", {"startTime": ("exclusive, to the millisecond", FINE), "endTime": ("inclusive", FINE)}),
    ("bounds:exclusive_end", {"startTime": ("inclusive", FINE), "endTime": ("exclusive, to the millisecond", FINE)}),
    ("bounds_truncated:1s", {"startTime": ("rounded down, to whole seconds", FINE), "endTime": ("rounded down, to whole seconds", FINE)}),
    ("bounds_truncated:1m", {"startTime": ("rounded down, to whole minutes", COSTS), "endTime": ("rounded down, to whole minutes", COSTS)}),
    ("times_ignored:start", {"startTime": ("ignored", COSTS)}),
    ("times_ignored:both", {"startTime": ("ignored", COSTS), "endTime": ("ignored", COSTS)}),
    # Filters
    ("filter_ignored:actionKinds filter_ignored:userName filter_ignored:clusterId",
     {"actionKinds": ("ignored", COSTS), "userName": ("ignored", COSTS), "clusterId": ("ignored", COSTS)}),
    ("filter_ignored:account filter_ignored:descriptionKeyword filter_ignored:organisationLogsOnly filter_ignored:crudOperations",
     {"account by id": ("ignored", COSTS), "account by name": ("ignored", COSTS), "descriptionKeyword": ("ignored", COSTS),
      PARTITION: ("is ignored", COSTS), "crudOperations": ("ignored", COSTS)}),
    ("filter_ignored:all", {PARTITION: ("both ignored", COSTS)}),
    ("names_rewritten", {"account by name": ("returns no record", COSTS), "account by id": ("applied", FINE)}),
    # Records
    ("id:actionId time_form:s user_name:absent account:object", {
        "upstream id": ("unique", FINE), "time": ("a number of seconds", FINE), "fields": ("no field for user", FINE), "account": ("with id and name", FINE)}),
    ("id_repeated:3 time_form:ns_text action_label:words cluster:string_name", {
        "upstream id": ("not unique", FINE), "time": ("digits in a text of nanoseconds", FINE), "kind form": ("labels", FINE), "cluster": ("with the name only", FINE)}),
    ("time_form:iso_basic_sydney operation_name:crud unknown_field:correlationData", {
        "time": ("an offset without a colon", FINE), "operation": ("present after a prefix: CREATE, READ, DELETE", FINE), "unmapped fields": ("correlationData", FINE)}),
    ("time_form:iso_no_zone domain_name:absent", {"time": ("without a zone", FINE), "startTime": ("inclusive", FINE), "domain type": ("missing", FINE)}),
    ("time_form:iso_1", {"endTime": ("to 100 ms, the resolution of times in records", FINE)}),
    ("time_form:unreadable", {"time": ("none is readable", PREVENTS)}),
    ("time_name:absent", {"fields": ("no field for time", PREVENTS)}),
    # Behaviour
    ("clock:-150s", {"clock": ("behind the local clock", FINE)}),
    ("no_date", {"clock": ("no Date", COSTS)}),
    ("rate_limited:every=9", {"rate limit": ("without Retry-After", COSTS)}),
    ("rate_limited:1s,every=9", {"rate limit": ("with Retry-After", COSTS)}),
    ("error:503,every=7", {"proof": ("one request per poll", FINE)}),
]  # fmt: skip
# ruff: noqa: E501 - a variant is a line, so that the table reads as one


@pytest.mark.parametrize(("faults", "expected"), VARIANTS, ids=[faults for faults, _ in VARIANTS])
def test_variant_is_recognised(world: World, faults: str, expected: Expected) -> None:
    """Each variant has its finding and its effect on the proof, and no value is shown."""
    report = world.probe(*faults.split())
    for subject, (says, weight) in expected.items():
        finding = found(report, subject)
        assert says in finding.says
        assert finding.weight is weight
    assert report.is_proof_prevented == any(one.weight is PREVENTS for one in report.findings)
    assert_shows_no_value(report, world)


def test_record_in_the_last_second_of_a_minute() -> None:
    """The next whole second after such a record is a whole minute, so it cannot show which of the two a bound is rounded to."""
    with serve_world(130, second=59) as world:
        report = world.probe("bounds_truncated:1m")
    assert [found(report, name).weight for name in ("startTime", "endTime")] == [COSTS, COSTS]
    with serve_world(1, second=59) as world:
        report = world.probe("bounds_truncated:1m")
    assert [found(report, name).is_settled for name in ("startTime", "endTime")] == [False, False]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_records_leave_unknowns(count: int) -> None:
    """With too few records, the probe reports what it could not determine."""
    with serve_world(count) as world:
        report = world.probe()
    assert not found(report, "order").is_settled or count > 3
    assert not found(report, "pageSize").is_settled
    assert found(report, "totals").is_settled == (count > 1)
    assert not report.is_proof_prevented

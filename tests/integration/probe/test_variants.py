"""The emulator plays every variant of the upstream; the probe settles each unknown, and shows no value while doing so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from actionwatch.instaclustr.probe.findings import ProofImpact
from actionwatch.instaclustr.probe.probing import ProbeReport
from tests.integration.probe.kit import SECRETS, World, a_world, found, printed

FINE, COSTS, PREVENTS = ProofImpact.FINE, ProofImpact.COSTS, ProofImpact.PREVENTS


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Serve one organisation to all tests: each sets its own faults."""
    with a_world() as served:
        yield served


def assert_keeps_quiet(report: ProbeReport, world: World) -> None:
    """Nothing that a record, an account or the key holds is in a report."""
    text = printed(report)
    ids = [account.id for account in world.organisation.accounts] + [one.id for one in world.organisation.clusters]
    shown = [secret for secret in (*SECRETS, *ids, world.organisation.id) if secret in text]
    assert not shown


def test_documented_upstream(world: World) -> None:
    """As documented, everything but three things is settled, within the promised number of requests."""
    report = world.probe()
    assert_keeps_quiet(report, world)
    assert [finding.subject for finding in report.findings if not finding.is_settled] == ["pageSize", "lateness"]
    assert not report.is_proof_prevented
    assert found(report, "proof").weight is FINE
    assert "one request a poll" in found(report, "proof").says
    assert report.request_count <= 45
    assert {field.name: field.ours for field in report.fields}["userName"] == "user"
    assert report.configuration == {"extra_kinds": ["USER_LOGIN"]}


PARTITION = "organisationLogsOnly, accountLogsOnly"
Expected = dict[str, tuple[str, ProofImpact]]

VARIANTS: list[tuple[str, Expected]] = [
    # The envelope
    ("envelope:bare counts:kind_total", {"envelope": ("a bare object", FINE), "counts form": ("a list of objects under actionCounts", FINE)}),
    ("envelope:records", {"envelope": ("no envelope", COSTS), "proof": ("walking each window twice", COSTS)}),
    ("envelope:several", {"totals": ("told as a number", FINE)}),
    ("resources:Resources envelope:empty_list", {"envelope": ("beside Resources", FINE), "empty answer": ("an empty list", FINE)}),
    ("resources:null_when_empty", {"empty answer": ("resources are null", FINE)}),
    ("resources:absent_when_empty", {"empty answer": ("resources are absent", FINE)}),
    ("odd_record:text", {"envelope": ("no page of user actions", PREVENTS)}),
    ("wrong_answer:html", {"envelope": ("markup", PREVENTS)}),
    # Totals and counts
    ("total:string counts_name:tally", {"totals": ("told as text, cover the window", FINE), "counts form": ("under tally", FINE)}),
    ("total:absent counts:absent", {"totals": ("none are told", COSTS), "counts": ("none are told", COSTS), "proof": ("twice", COSTS)}),
    ("total:absent", {"proof": ("one request", FINE), "counts": ("they cover the window", FINE)}),
    ("total:page", {"totals": ("count the page", COSTS), "proof": ("twice", COSTS)}),
    ("total:zero", {"totals": ("fewer than come", COSTS)}),
    ("total:more", {"totals": ("more than come", PREVENTS)}),
    ("total:fewer", {"totals": ("fewer than come", COSTS), "proof": ("twice", COSTS)}),
    ("counts:absent", {"counts": ("none are told", COSTS), "proof": ("one request", FINE)}),
    ("counts:page", {"counts": ("count the page", COSTS)}),
    ("counts:more", {"counts": ("not what its records are", COSTS)}),
    # Order and paging
    ("order:descending", {"order": ("descending by time", FINE)}),
    ("order:ascending counts_always", {"order": ("ascending by time", FINE), "counts form": ("told even when declined", FINE)}),
    ("order:shuffled", {"order": ("not by time, the same at every request", FINE)}),
    ("order:reshuffled", {"order": ("changes from request to request", COSTS)}),
    ("order:ties", {"order": ("records of one instant change places", COSTS)}),
    ("page_clamped:40", {"pageSize": ("pages end at 40", COSTS), "totals": ("as many records are there", FINE)}),
    ("page_size_ignored", {"pageSize": ("ignored: a page of 1 came with 10", COSTS)}),
    ("index_ignored", {"recordIndex": ("ignored", PREVENTS), "empty answer": ("ignored", PREVENTS)}),
    # Bounds
    ("bounds:inclusive", {"startTime": ("inclusive, to the millisecond", FINE), "endTime": ("inclusive, to the millisecond", FINE)}),
    ("bounds:exclusive_start", {"startTime": ("exclusive, to the millisecond", FINE), "endTime": ("inclusive", FINE)}),
    ("bounds:exclusive_end", {"startTime": ("inclusive", FINE), "endTime": ("exclusive, to the millisecond", FINE)}),
    ("bounds_truncated:1s", {"startTime": ("cut down, to whole seconds", FINE), "endTime": ("cut down, to whole seconds", FINE)}),
    ("bounds_truncated:1m", {"startTime": ("cut down, to whole minutes", COSTS), "endTime": ("cut down, to whole minutes", COSTS)}),
    ("times_ignored:start", {"startTime": ("ignored", COSTS)}),
    ("times_ignored:both", {"startTime": ("ignored", COSTS), "endTime": ("ignored", COSTS)}),
    # Filters
    ("filter_ignored:actionKinds filter_ignored:userName filter_ignored:clusterId",
     {"actionKinds": ("ignored", COSTS), "userName": ("ignored", COSTS), "clusterId": ("ignored", COSTS)}),
    ("filter_ignored:account filter_ignored:descriptionKeyword filter_ignored:organisationLogsOnly filter_ignored:crudOperations",
     {"account by id": ("ignored", COSTS), "account by name": ("ignored", COSTS), "descriptionKeyword": ("ignored", COSTS),
      PARTITION: ("is ignored", COSTS), "crudOperations": ("ignored", COSTS)}),
    ("filter_ignored:all", {PARTITION: ("both are ignored", COSTS)}),
    ("names_rewritten", {"account by name": ("brings nothing", COSTS), "account by id": ("honoured", FINE)}),
    # Records
    ("id:actionId time_form:s user_name:absent account:object", {
        "upstream id": ("unique", FINE), "time": ("a number of seconds", FINE), "fields": ("taken for user", FINE), "account": ("by id and name", FINE)}),
    ("id_repeated:3 time_form:ns_text action_label:words cluster:string_name", {
        "upstream id": ("records share it", FINE), "time": ("digits in a text of nanoseconds", FINE), "kind form": ("labels", FINE), "cluster": ("by name alone", FINE)}),
    ("time_form:iso_basic_sydney operation_name:crud unknown_field:correlationData", {
        "time": ("an offset without a colon", FINE), "operation": ("told after a prefix, as CREATE, READ, DELETE", FINE), "unmapped fields": ("correlationData", FINE)}),
    ("time_form:iso_no_zone domain_name:absent", {"time": ("without a zone", FINE), "startTime": ("inclusive", FINE), "domain type": ("not told", FINE)}),
    ("time_form:iso_1", {"endTime": ("to 100 ms, as finely as times are written", FINE)}),
    ("time_form:unreadable", {"time": ("none can be read", PREVENTS)}),
    ("time_name:absent", {"fields": ("taken for time", PREVENTS)}),
    # Manners
    ("clock:-150s", {"clock": ("behind ours", FINE)}),
    ("no_date", {"clock": ("no Date", COSTS)}),
    ("rate_limited:every=9", {"rate limit": ("not saying how long", COSTS)}),
    ("rate_limited:1s,every=9", {"rate limit": ("saying how long to wait", COSTS)}),
    ("error:503,every=7", {"proof": ("one request a poll", FINE)}),
]  # fmt: skip
# ruff: noqa: E501 - a variant is a line, so that the table reads as one


@pytest.mark.parametrize(("faults", "expected"), VARIANTS, ids=[faults for faults, _ in VARIANTS])
def test_variant(world: World, faults: str, expected: Expected) -> None:
    """Each variant is named for what it is, weighed, and no value slips out."""
    report = world.probe(*faults.split())
    for subject, (says, weight) in expected.items():
        finding = found(report, subject)
        assert says in finding.says
        assert finding.weight is weight
    assert report.is_proof_prevented == any(one.weight is PREVENTS for one in report.findings)
    assert_keeps_quiet(report, world)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_records(count: int) -> None:
    """With too few records the probe says what stays open, and claims nothing."""
    with a_world(count) as world:
        report = world.probe()
    assert not found(report, "order").is_settled or count > 3
    assert not found(report, "pageSize").is_settled
    assert found(report, "totals").is_settled == (count > 1)
    assert not report.is_proof_prevented

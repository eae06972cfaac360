"""Upstreams that the emulator cannot simulate, with responses written by hand."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actionwatch.base.errors import AccessDenied, RateLimited
from actionwatch.instaclustr.probe.client import ATTEMPTS, MAX_REQUESTS
from actionwatch.instaclustr.probe.findings import ProofImpact
from tests.integration.instaclustr.upstream import ReceivedRequest, Responder, Response, Upstream, respond
from tests.integration.probe.kit import found, printed, probe_at

NEWEST = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def record(number: int, **changes: Any) -> dict[str, Any]:
    """Make a record; None removes a field."""
    at = NEWEST - timedelta(seconds=61 * number, milliseconds=17 * number + 3)
    plain = {
        "action": ("CREATE_CLUSTER", "BACKUP", "LINK_USER")[number % 3],
        "timestamp": at.isoformat().replace("+00:00", "Z"),
        "userName": f"user-{number % 3}",
        "description": f"did {number}",
        "accountId": str(uuid.UUID(int=number % 2 + 1)),
    }
    return {name: value for name, value in {**plain, **changes}.items() if value is not None}


def listing(records: list[dict[str, Any]], step: int = 1, **headers: str) -> Responder:
    """Respond as documented, without filters. `step` is by how much `recordIndex` 1 moves, in pages if -1."""

    def responder(asked: ReceivedRequest) -> Response:
        if asked.path.endswith("linked-accounts"):
            return respond([], 200, **headers)
        low, high = (
            int(asked.params.get(name, [str(default)])[0]) for name, default in (("startTime", 0), ("endTime", 10**15))
        )
        inside = [one for one in records if low <= _milliseconds(one) <= high]
        start = asked.index * (asked.size if step == -1 else step)
        page = {"totalResults": len(inside), "resources": inside[start : start + asked.size]}
        return respond([page], 200, **headers)

    return responder


def _milliseconds(one: dict[str, Any]) -> int:
    text = next(value for name, value in one.items() if name in ("timestamp", "occurred", "created"))
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_index_that_counts_pages() -> None:
    """An index that counts pages would make walks skip records, so it prevents the proof."""
    with Upstream(listing([record(n) for n in range(40)], step=-1)) as upstream:
        report = probe_at(upstream.url)
    assert "counts pages" in found(report, "recordIndex").says
    assert report.is_proof_prevented


def test_ids_that_change_do_not_count() -> None:
    """An id that changes with each response does not count as an id."""

    def responder(asked: ReceivedRequest) -> Response:
        return listing([record(n, id=str(uuid.uuid4())) for n in range(40)])(asked)

    with Upstream(responder) as upstream:
        finding = found(probe_at(upstream.url), "upstream id")
    assert "changes between responses" in finding.says
    assert finding.weight is ProofImpact.COSTS


def test_unknown_field_names_are_suggested_as_aliases() -> None:
    """Fields with unknown names are suggested as aliases, with which nothing is missing."""
    records = []
    for n in range(30):
        one = record(n)
        records.append(
            {
                "verb": one["action"],
                "occurred": one["timestamp"],
                "principalName": one["userName"],
                "freeText": one["description"],
                "tenantRef": one["accountId"],
                "clusterRef": f"cluster-{n % 2}",
            }
        )
    wanted = {
        "kind": ["verb"], "time": ["occurred"], "user": ["principalName"],
        "description": ["freeText"], "account": ["tenantRef"], "cluster": ["clusterRef"],
    }  # fmt: skip
    with Upstream(listing(records)) as upstream:
        before = probe_at(upstream.url)
        after = probe_at(upstream.url, aliases=wanted)
    assert before.is_proof_prevented
    assert before.configuration["field_aliases"] == wanted
    assert found(after, "fields").says == "records have all fields that rules and alerts need"
    assert not after.is_proof_prevented


def test_two_possible_times_are_reported() -> None:
    """Two fields that may contain the time are reported."""
    with Upstream(listing([record(n, created=record(n)["timestamp"]) for n in range(9)])) as upstream:
        finding = found(probe_at(upstream.url), "rival fields")
    assert finding.says == "time: timestamp, created"


def test_value_that_is_no_kind_is_not_shown() -> None:
    """A value that does not look like a kind is not shown, and only new kinds are suggested."""
    kinds = ["Zebediah deleted 3 things!", "LOGIN_FAILED", "LOGIN", "BACKUP"]
    with Upstream(listing([record(n, action=kinds[n % 4]) for n in range(20)])) as upstream:
        report = probe_at(upstream.url, known_kinds=["LOGIN"])
    assert (
        "undocumented: LOGIN, LOGIN_FAILED; not shown: 1 value that does not look like a kind"
        in found(report, "kinds").says
    )
    assert report.configuration["extra_kinds"] == ["LOGIN_FAILED"]
    assert "zebediah" not in printed(report).lower()


def test_field_name_that_looks_like_data_is_not_shown() -> None:
    """A field name that looks like data is not shown, neither of a record nor of an unreadable response."""
    hostile = {"x-2024-55": 1, "bob@acme.example": {"a": 1}, "fine": 2}
    with Upstream(listing([record(n, **hostile) for n in range(9)])) as upstream:
        assert "bob@" not in printed(probe_at(upstream.url))
    with Upstream(lambda asked: respond({"bob@acme.example": {"deeds": ["x"]}})) as upstream:
        report = probe_at(upstream.url)
    assert "{(a name that is not shown): {deeds: [text]}}" in found(report, "envelope").says
    assert report.is_proof_prevented


def test_long_log_shows_page_size_and_retention() -> None:
    """A log with more than one page shows the largest page size and how far back the log reaches."""
    with Upstream(listing([record(n) for n in range(1500)])) as upstream:
        report = probe_at(upstream.url)
    assert found(report, "pageSize").says == "applied, up to 1000"
    assert "reach back at least 1d" in found(report, "retention").says
    assert found(report, "proof").weight is ProofImpact.FINE


def test_rate_limit_headers_are_named() -> None:
    """Headers about rate limits are named without their values."""
    with Upstream(listing([record(1)], X_RateLimit_Remaining="8371")) as upstream:
        report = probe_at(upstream.url)
    assert "responses have x-ratelimit-remaining" in found(report, "rate limit").says
    assert "8371" not in printed(report)


def test_ignored_filters_are_detected() -> None:
    """A server that ignores every filter is detected, and no filter is reported as honoured."""
    with Upstream(listing([record(n) for n in range(30)])) as upstream:
        report = probe_at(upstream.url)
    for subject in ("actionKinds", "userName", "account by id"):
        assert "ignored" in found(report, subject).says


def test_refused_key_is_an_error() -> None:
    """A refused key is an error with its remedy and not a finding."""
    with (
        Upstream(lambda asked: Response(401)) as upstream,
        pytest.raises(AccessDenied, match="whether the key was revoked"),
    ):
        probe_at(upstream.url)


def test_permanent_rate_limit_ends_the_probe() -> None:
    """A rate limit that does not end stops the probe after a few waits."""
    waits: list[float] = []
    with Upstream(lambda asked: Response(429)) as upstream, pytest.raises(RateLimited):
        probe_at(upstream.url, sleep=waits.append)
    assert len(upstream.asked) == 2 * ATTEMPTS
    assert len(waits) == 2 * (ATTEMPTS - 1)


def test_probe_stays_within_its_budget() -> None:
    """The probe stays within its request budget, also with retries, and reports the checks that it finished."""
    rest = listing([record(n) for n in range(30)])
    numbers = iter(range(10_000))
    with Upstream(lambda asked: Response(429) if next(numbers) % 3 else rest(asked)) as upstream:
        report = probe_at(upstream.url)
    assert len(upstream.asked) == report.request_count == MAX_REQUESTS
    assert any("a probe sends at most" in finding.says for finding in report.findings)

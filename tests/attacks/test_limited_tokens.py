"""A token that is limited to a customer gets the same answers as if there were no other customers.

Every page, form and operation is sent to two services: one that has only the customer, and one that has another one too, with
everything that a service can have of it. A new page is refused until it is listed, and then it is compared here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from actionwatch.base.access import AccessRole
from actionwatch.base.model import Entity, Event, Level, RuleName, Silence
from actionwatch.base.reasons import Reason, SourceReason
from actionwatch.base.rule_state import EntryOrigin, RuleEntry, RuleState
from actionwatch.base.source_labels import use_labels
from actionwatch.store import (
    alert_history,
    alerts,
    delivery_transitions,
    marks,
    polls,
    receipts,
    receivers,
    records,
    rule_history,
    rule_versions,
    self_alerts,
    silences,
    unproved_windows,
)
from actionwatch.store.alert_history import Entry
from actionwatch.store.database import Database
from actionwatch.store.delivery_transitions import Suppression
from actionwatch.store.polls import Poll
from actionwatch.store.self_alerts import OpenSelfAlert
from actionwatch.store.unproved_windows import UnprovedWindow
from actionwatch.web.api.app import Api
from actionwatch.web.console.app import _FORMS, _PAGES
from actionwatch.web.narrowing import REFUSED, may_open
from actionwatch.web.parts import Destination
from actionwatch.web.paths import SIGN_IN_PATHS
from actionwatch.web.routes import health_routes, metrics_routes
from tests import http_client
from tests.attacks.test_authenticating_proxy import proxied
from tests.builders import (
    CLUSTER_DELETED_RULE,
    NOON,
    make_alert,
    make_delivery,
    make_marks,
    make_receipt,
    make_record,
    make_version,
    open_database,
)
from tests.integration.web.console_kit import Served, form_token, give_token, serving, session
from tests.integration.web.every_request import OPERATIONS, PAGES, SILENCE, SUBMISSIONS, Sent, Subject
from tests.integration.web.openid_end import OpenIdEnd
from tests.integration.web.openid_kit import served as served_with_provider
from tests.integration.web.openid_kit import session_of, sign_in
from tests.unit.rules.builders import rules_in

ACME, GLOBEX = "acme", "globex"
LABELS = {ACME: {"customer": ACME}, GLOBEX: {"customer": GLOBEX}}
RANDOM = re.compile(r'name="form_token" value="\w+"')
NEVER_SAME = {"date", "content-length", "set-cookie"}
SIGN_OUT = "/sign-out"


def rule_of(customer: str) -> RuleName:
    """Return a rule that is named after a customer."""
    return RuleName(f"rule-of-{customer}", f"{customer}_rule", f"Rule of {customer}", ("attack.impact",))


def fill(database: Database, customer: str, number: int) -> Subject:
    """Store everything that a service can have of a customer; every text has the name of the customer in it."""
    at = NOON - timedelta(minutes=number)
    changes: dict[str, Any] = {
        "source": customer,
        "user_name": f"eve of {customer}",
        "description": f"{customer} deleted it",
        "cluster": Entity(f"c-{customer}", f"cluster of {customer}"),
        "account": Entity(f"a-{customer}", f"account of {customer}"),
        "raw": json.dumps({"secret": customer}),
    }
    alert = make_alert(
        f"{customer}-alert",
        rule=rule_of(customer),
        source=customer,
        title=f"{customer} lost a cluster",
        body=f"a body of {customer}",
        labels={"customer": customer},
        group={"userName": f"eve of {customer}"},
        user=f"eve of {customer}",
        cluster=f"cluster of {customer}",
        assigned_to=f"sam of {customer}",
        note=f"a note of {customer}",
        noted_by=f"sam of {customer}",
        opened_at=at,
        level=Level.CRITICAL if customer == GLOBEX else Level.HIGH,
    )
    trouble = make_alert(
        f"{customer}-self",
        rule=RuleName("actionwatch_self", "actionwatch_self", "actionwatch is in trouble"),
        source=customer,
        title=f"Blind: {customer}",
        labels={"customer": customer, "trouble": "key_refused"},
        group={"subject": customer},
        opened_at=at,
    )
    dead = make_delivery(alert.id, f"hook-{customer}")
    waiting = make_delivery(alert.id, f"mail-{customer}", body=json.dumps({"of": customer}))
    stopped = make_delivery(alert.id, f"chat-{customer}")
    silence, new = (f"{place}{number}f0f0f0-0000-4000-8000-{number:012}" for place in (0, 1))
    confining = f'customer="{customer}"'
    with database.write() as connection:
        own = [replace(make_record(number, occurred_at=at - timedelta(hours=each)), **changes) for each in range(4)]
        records.insert_new(connection, own)
        alerts.insert_new(connection, [(alert, alert.id), (trouble, trouble.id)])
        newest = records.newest_id(connection)
        alerts.join(connection, [(alert.id, newest - each, at) for each in range(2)])
        delivery_transitions.enqueue(connection, [dead, waiting, stopped])
        delivery_transitions.bury(connection, dead, f"refused by {customer}")
        silences.write(
            connection,
            Silence(
                silence, (f"userName=x of {customer}", confining), "sam", f"for {customer}", NOON, NOON + timedelta(1)
            ),
        )
        delivery_transitions.suppress(connection, [Suppression(stopped, "silence", silence, "silence")])
        what = f"inhibited by alert of {customer}"
        alert_history.append(connection, [Entry(at, alert.id, f"gate to hook-{customer}", what)])
        alert_history.append(connection, [Entry(at, alert.id, "noted", f"by sam of {customer}")])
        marks.write(connection, make_marks(name=customer, organisation=f"organisation of {customer}"))
        polls.write(connection, {customer: Poll(at, 1, f"an error of {customer}")})
        receipts.write(connection, make_receipt(source=customer, kind_counts={customer: 1}))
        window = UnprovedWindow(
            source=customer,
            starts_at=at - timedelta(1),
            ends_at=at,
            reach=timedelta(1),
            due_at=at,
            failure_count=3,
            why=f"why of {customer}",
        )
        unproved_windows.write(connection, [window])
        opened = OpenSelfAlert("key_refused", customer, at, f"what of {customer}", f"remedy of {customer}", trouble.id)
        self_alerts.insert(connection, opened)
    return Subject(alert.id, dead.id, silence, new, own[0].key)


def fill_with_others(database: Database) -> Subject:
    """Store what the other customer has, and what both have together or nobody has alone."""
    subject = fill(database, GLOBEX, 2)
    both = make_alert(
        "joint-alert", title="acme and globex", source=ACME, labels={"customer": ACME}, level=Level.CRITICAL
    )
    missing = make_alert("missing-alert", title="globex is silent", source=ACME, rule=rule_of(GLOBEX))
    receiver = make_alert("receiver-self", rule=RuleName("actionwatch_self", "actionwatch_self", "t"), source=ACME)
    receiver = replace(receiver, title="Receiver acme fails for globex", labels={"trouble": "receiver_failing"})
    summary = make_delivery("summary of globex", f"hook-{ACME}", event=Event.SUMMARY, body='{"of": "globex"}')
    dead = make_delivery(both.id, f"hook-{ACME}")
    broad = Silence(
        "2f0f0f0f-0000-4000-8000-000000000002", ("level=~.+",), "sam", "for globex", NOON, NOON + timedelta(1)
    )
    with database.write() as connection:
        ids = [row[0] for row in connection.exec_driver_sql("SELECT id FROM record")]
        alerts.insert_new(connection, [(each, each.id) for each in (both, missing, receiver)])
        alerts.join(connection, [(both.id, number, NOON) for number in ids])
        delivery_transitions.enqueue(connection, [summary, dead])
        delivery_transitions.bury(connection, dead, "globex")
        silences.write(connection, broad)
        self_alerts.insert(connection, OpenSelfAlert("receiver_failing", ACME, NOON, "globex", "globex", receiver.id))
        receivers.note_failure(connection, f"hook-{ACME}", NOON, "an error about globex", NOON)
        rule_versions.write(connection, [make_version("rule-of-globex", "title: globex", name="globex_rule")])
        entry = RuleEntry(
            at=NOON,
            rule_id="gone",
            name="globex_gone",
            state=RuleState.REMOVED,
            origin=EntryOrigin.CHANGED,
            may_begin_at=NOON,
            begins_at=NOON,
        )
        rule_history.append(connection, [entry])
    give_token(database, "sam of globex")
    return subject


@dataclass
class Service:
    """A service, with a browser of a person whose token is limited to acme, and an operator of acme at that."""

    database: Database
    client: httpx.Client
    subject: Subject
    others: Subject | None = None

    def send(self, sent: Sent, subject: Subject, token: str) -> tuple[int, dict[str, str], str]:
        """Send a request. Return the status, the headers and the body, without what is random."""
        answer = sent.send(self.client, subject, token)
        headers = {name: value for name, value in answer.headers.items() if name not in NEVER_SAME}
        return answer.status_code, headers, RANDOM.sub("", answer.text)


def options(customers: Sequence[str]) -> dict[str, Any]:
    """Return what is configured for these customers."""
    hooks = [f"{name}-{customer}" for customer in customers for name in ("hook", "mail", "chat")]
    reasons = [SourceReason(f"source {customer}: not polled yet") for customer in customers if customer == GLOBEX]
    return {
        "receivers": [Destination(each, "webhook") for each in hooks],
        "unready": lambda: reasons,
        "doubts": lambda made, now: [f"{customers}: no label has a value in {made.matchers}"][: len(customers) - 1],
    }


@contextlib.contextmanager
def serve(database: Database, customers: Sequence[str], others: Subject | None = None) -> Iterator[Service]:
    """Serve the console and the API of a store, and sign in."""
    rule = CLUSTER_DELETED_RULE
    with database.write() as connection:
        row = connection.exec_driver_sql("SELECT max(record_key) FROM record WHERE source = 'acme'").one()
    subject = Subject("acme-alert", make_delivery("acme-alert", "hook-acme").id, *_silences(1), row[0])
    served = Served(database, open_to=None, rules=rules_in(rule).rules, sources=customers, options=options(customers))
    with served.open() as client:
        secret = give_token(database, "kim", AccessRole.OPERATOR, labels=LABELS[ACME])
        client.headers.update(session(client, secret))
        yield Service(database, client, subject, others)


def _silences(number: int) -> tuple[str, str]:
    return tuple(f"{place}{number}f0f0f0-0000-4000-8000-{number:012}" for place in (0, 1))  # type: ignore[return-value]


@dataclass
class World:
    """The service that has only acme, and the one that has globex too."""

    alone: Service
    shared: Service
    unlike: list[str] = field(default_factory=list)

    def compare(self, sent: Sent, subject: Subject) -> None:
        """Send a request to both, and note whether the answers differ, or name the other customer."""
        before = _rows_of_others(self.shared.database)
        first, second = (
            each.send(sent, subject, form_token(each.client, "/alerts")) for each in (self.alone, self.shared)
        )
        if first != second:
            self.unlike.append(f"{sent} about {subject.alert}: {_first_difference(str(first), str(second))}")
        if GLOBEX in json.dumps(second) and GLOBEX not in str(subject.name_in(str(sent))):
            self.unlike.append(f"{sent}: it names {GLOBEX}")
        if _rows_of_others(self.shared.database) != before:
            self.unlike.append(f"{sent}: it changed something of {GLOBEX}")


def _first_difference(one: str, other: str) -> str:
    place = next(
        (at for at, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )
    return f"...{one[max(place - 60, 0) : place + 60]!r} and {other[max(place - 60, 0) : place + 60]!r}"


def _rows_of_others(database: Database) -> list[str]:
    with database.read() as connection:
        tables = ("alert", "alert_history", "delivery", "silence", "self_alert", "token")
        rows = [str(row) for name in tables for row in connection.exec_driver_sql(f"SELECT * FROM {name}")]
    return sorted(each for each in rows if GLOBEX in each)


@pytest.fixture
def world(tmp_path: Any, database: Database) -> Iterator[World]:
    """Serve both."""
    use_labels(LABELS)
    with contextlib.closing(open_database(tmp_path / "alone")) as alone, contextlib.ExitStack() as stack:
        others = fill_both(database)
        fill(alone, ACME, 1)
        first = stack.enter_context(serve(alone, [ACME]))
        yield World(first, stack.enter_context(serve(database, [ACME, GLOBEX], others)))


def fill_both(database: Database) -> Subject:
    """Store acme too, so that records, places and counts of both are mixed."""
    fill(database, ACME, 1)
    return fill_with_others(database)


def is_endless(sent: Sent) -> bool:
    """Return whether the answer has no end."""
    return sent.path.startswith("/news")


def named(number: int, sent: Sent) -> Sent:
    """Return a request that names the silence that it makes, because a random name is never the same."""
    if (sent.fields or {}).get("action") != "add":
        return sent
    return dataclasses.replace(
        sent, fields={**(sent.fields or {}), "silence_id": f"5f0f0f0f-0000-4000-8000-{number:012}"}
    )


MORE = [
    Sent("GET", path)
    for path in (
        *(
            "/?range=month",
            "/alerts?group=source",
            "/alerts?group=user",
            "/alerts?group=cluster&unfold=-",
            "/alerts?status=any",
        ),
        *(
            "/alerts?text=globex",
            "/alerts?rule=globex_rule",
            "/alerts?source=globex",
            "/alerts?assigned=sam%20of%20globex",
        ),
        *(
            "/alerts?cluster=c-globex",
            "/records?text=globex",
            "/records?user=eve%20of%20globex",
            "/records?cluster=c-globex",
        ),
        *("/records?text=cluster", "/records/export?format=csv", "/records/export?format=jsonl&text=of"),
        *("/deliveries?state=waiting", "/deliveries?state=held", "/deliveries?state=dead&receiver=hook-globex"),
        *(
            "/api/v1/alerts?status=any&limit=1",
            "/api/v1/records?limit=1",
            "/api/v1/records?limit=1&text=deleted",
            "/api/v1/deliveries?state=dead&limit=1",
        ),
        *("/api/v1/silences?state=expired", "/alerts/globex", "/alerts/joint", "/alerts/missing", "/alerts/receiver"),
        *("/api/v1/alerts/joint-alert", "/rules/globex_rule", "/nothing", "/api/v1/nothing", "/metrics"),
    )
]
EVERY = [
    named(number, each)
    for number, each in enumerate((*PAGES, *MORE, *OPERATIONS, *SUBMISSIONS, *PAGES, *MORE))
    if not is_endless(each) and not each.is_open and each.path != "/sign-out"
]


def test_other_customers_make_no_difference(world: World) -> None:
    """Each request gets the same answer with and without another customer, also one about something of that customer."""
    assert world.shared.others is not None
    for subject in (world.shared.subject, world.shared.others):
        for sent in EVERY:
            world.compare(sent, subject)
    assert not world.unlike, "\n".join(world.unlike)


def test_what_is_about_all_is_refused() -> None:
    """These pages and operations are about all customers. A page that is not listed as one about sources is refused too."""
    every = {*_PAGES, *_FORMS, *(f"/api/v1{path}" for path in Api().openapi()["paths"])} - SIGN_IN_PATHS
    refused = {"/draft", "/rules", "/rules/{name}", "/api/v1/rules", "/api/v1/rules/{id}"}
    assert {path for path in every if not may_open(path)} == refused
    assert not may_open("/metrics")
    assert not may_open("/a-new-page")


def test_metrics_and_reasons_are_not_for_limited_tokens(database: Database) -> None:
    """The metrics and the long reasons name all sources: a limited token gets no metrics, and the reasons of a stranger."""
    use_labels(LABELS)
    secrets = {name: give_token(database, name, labels=its) for name, its in (("kim", LABELS[ACME]), ("sam", None))}
    access = Served(database, open_to=None).access()
    reason = Reason("the disk of globex is full", "the disk is full")
    routes = [
        *metrics_routes(database, lambda: {GLOBEX: timedelta(seconds=10)}, lambda: NOON),
        *health_routes(dict, lambda: [reason]),
    ]
    with serving(routes, "127.0.0.1", 0, access) as url:
        for name, status, is_long in (("kim", 403, False), ("sam", 200, True)):
            bearer = {"authorization": f"Bearer {secrets[name]}"}
            answer = http_client.get(f"{url}/metrics", headers=bearer)
            assert (answer.status_code, GLOBEX in answer.text) == (status, status == 200)
            assert (REFUSED in answer.text) == (status == 403)
            assert (GLOBEX in http_client.get(f"{url}/readyz", headers=bearer).text) == is_long


def ask(client: httpx.Client, secret: str, path: str) -> Any:
    """Ask the API with a token in a header."""
    answer = client.get(f"/api/v1{path}", headers={"authorization": f"Bearer {secret}"})
    assert answer.is_success, answer.text
    return answer.json()


def test_labels_apply_at_once(database: Database) -> None:
    """A source that gets or loses the label is seen or not from the next request on; without any, nothing is seen."""
    fill_both(database)
    token = give_token(database, "kim", labels=LABELS[ACME])
    empty = give_token(database, "tim", labels={})
    twice = give_token(database, "tom", labels={"customer": ACME, "tier": "gold"})
    with Served(database, open_to=None, sources=(ACME, GLOBEX)).open() as client:

        def seen(secret: str) -> set[str]:
            return {each["source"] for each in ask(client, secret, "/records?limit=200")["items"]}

        for labels, sources in (
            (LABELS, {ACME}),
            ({ACME: LABELS[ACME], GLOBEX: LABELS[ACME]}, {ACME, GLOBEX}),
            ({GLOBEX: LABELS[GLOBEX]}, set()),
            ({ACME: {}, GLOBEX: LABELS[GLOBEX]}, set()),
            ({}, set()),
        ):
            use_labels(labels)
            assert (seen(token), seen(empty), seen(twice)) == (sources, set(), set())
            assert ("no source has the labels" in ask(client, token, "/status")["seeing"]) == (not sources)
        use_labels({ACME: {"customer": ACME, "tier": "gold"}, GLOBEX: {"customer": ACME}})
        assert (seen(token), seen(twice)) == ({ACME, GLOBEX}, {ACME})


def test_a_renamed_source_keeps_its_records(database: Database) -> None:
    """What a source read under its former name is seen, unless another source has that name now."""
    fill_both(database)
    token = give_token(database, "kim", labels=LABELS[ACME])
    with database.write() as connection:
        marks.rename(connection, make_marks(name=GLOBEX), "acme-2")
    with Served(database, open_to=None, sources=("acme-2",)).open() as client:
        for others, sources in (({}, {GLOBEX}), ({GLOBEX: LABELS[GLOBEX]}, set())):
            use_labels({"acme-2": LABELS[ACME], **others})
            found = ask(client, token, "/records?limit=200")["items"]
            assert {each["source"] for each in found} == sources


def test_a_silence_is_confined_and_shows_it(database: Database) -> None:
    """A silence gets a matcher for each label of the token: in the preview, and in what is stored; also one for an alert."""
    use_labels(LABELS)
    fill_both(database)
    token = give_token(database, "kim", labels=LABELS[ACME])
    bearer = {"authorization": f"Bearer {token}"}
    path = "/api/v1/silences/5f0f0f0f-0000-4000-8000-000000000001"
    with Served(database, open_to=None, sources=(ACME, GLOBEX)).open() as client:
        preview = client.post("/api/v1/silences/preview", json=SILENCE, headers=bearer).json()
        assert preview["silence"]["matchers"] == [*SILENCE["matchers"], 'customer="acme"']
        for status in (201, 200):  # the same request again finds it
            made = client.put(path, json=SILENCE, headers=bearer)
            assert (made.status_code, made.json()["matchers"]) == (status, preview["silence"]["matchers"])
        everything = {**SILENCE, "matchers": ['customer="globex"', "level=~.+"]}
        client.put(f"{path[:-1]}2", json=everything, headers=bearer)
        confined = {**SILENCE, "matchers": ["customer=acme", "level=high"]}  # as people write it in a command
        made = client.put(f"{path[:-1]}3", json=confined, headers=bearer)
        assert made.json()["matchers"] == confined["matchers"]
        assert client.get(f"{path[:-1]}3", headers=bearer).is_success
        client.headers.update(session(client, token))
        for alert in ("acme-alert", "globex-alert"):
            form = {"action": "silence", "span": "1h", "comment": "x", "confirmed": "1"}
            token_of_form = form_token(client, "/alerts")
            answer = client.post(f"/alerts/{alert}/decision", data={"form_token": token_of_form, **form})
            assert answer.status_code == (303 if alert == "acme-alert" else 404)
    with database.read() as connection:
        by_kim = [each.matchers for each in silences.read_all(connection) if each.author == "kim"]
    assert len(by_kim) == 4
    assert all({'customer="acme"', "customer=acme"} & set(matchers) for matchers in by_kim)


def test_a_label_reads_as_it_is_written(database: Database) -> None:
    """A label with quotes, a backslash, a percent sign or letters of another script limits to exactly its sources."""
    fill_both(database)
    for number, value in enumerate(("it's", 'a"b', "a\\b", "100 %s", "žluťoučký", "' OR '1'='1")):
        use_labels({ACME: {"customer": value}, GLOBEX: {"customer": f"{value}x"}})
        token = give_token(database, f"p{number}", labels={"customer": value})
        with Served(database, open_to=None, sources=(ACME, GLOBEX)).open() as client:
            found = ask(client, token, "/records?limit=200")["items"]
            assert {each["source"] for each in found} == {ACME}
            path = f"/api/v1/silences/6f0f0f0f-0000-4000-8000-00000000000{number}"
            bearer = {"authorization": f"Bearer {token}"}
            assert client.put(path, json=SILENCE, headers=bearer).status_code == 201
            assert len(ask(client, token, "/silences")["items"]) == 1


LIMITED = {"acme-people": LABELS[ACME], "acme-leads": LABELS[ACME], "globex-people": LABELS[GLOBEX]}


def sources_of(client: httpx.Client, headers: dict[str, str]) -> set[str] | int:
    """Return the sources of the records that somebody sees, or the status of the refusal."""
    answer = client.get("/api/v1/records?limit=200", headers=headers)
    return {each["source"] for each in answer.json()["items"]} if answer.is_success else answer.status_code


def test_groups_of_a_proxy_are_limited(database: Database) -> None:
    """Members of a group see its sources only, also operators; who is in groups with different limits is refused."""
    use_labels(LABELS)
    fill_both(database)
    with proxied(database, limited_groups=LIMITED).open() as client:
        for groups, sources in (
            ("staff, acme-people", {ACME}),
            ("on-call,acme-people", {ACME}),
            ("acme-people,acme-leads", {ACME}),
            ("globex-people", {GLOBEX}),
            ("staff", {ACME, GLOBEX}),
            ("acme-people,globex-people", 403),
        ):
            headers = {"x-forwarded-user": "kim", "x-forwarded-groups": groups}
            assert sources_of(client, headers) == sources, groups
        headers = {"x-forwarded-user": "sam", "x-forwarded-groups": "acme-people", "sec-fetch-site": "same-origin"}
        for alert, status in (("acme-alert", 303), ("globex-alert", 404)):
            form = {"action": "ack", "author": "sam"}
            assert client.post(f"/alerts/{alert}/decision", data=form, headers=headers).status_code == status


def test_groups_of_a_provider_are_limited(database: Database) -> None:
    """A session has the limit of the groups of its sign-in; a changed limit ends it."""
    use_labels(LABELS)
    fill_both(database)
    with OpenIdEnd() as end:
        with served_with_provider(database, end, limited_groups=LIMITED, readers=["*@example.com"]).open() as client:
            for name, groups, sources in (
                ("kim@acme.example", ["acme-people"], {ACME}),
                ("sam@example.com", ["acme-leads"], {ACME}),
                ("rita@example.com", ["staff"], {ACME, GLOBEX}),
            ):
                session_headers = session_of(sign_in(client, end, email=name, groups=groups))
                assert sources_of(client, session_headers) == sources, name
            refused = sign_in(client, end, email="tim@acme.example", groups=["acme-people", "globex-people"])
            assert (refused.status_code, "different labels" in refused.text) == (403, True)
            kims = session_of(sign_in(client, end, email="kim@acme.example", groups=["acme-people"]))
        others = {**LIMITED, "acme-people": {"customer": ACME, "tier": "gold"}}
        with served_with_provider(database, end, limited_groups=others, readers=["*@example.com"]).open() as client:
            assert sources_of(client, kims) == 401

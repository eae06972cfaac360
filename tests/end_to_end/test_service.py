"""The installed service, from an action in the upstream to the receivers, including signals and kills."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from tests import http_client
from tests.children import exit_status
from tests.end_to_end import kit
from tests.integration.notifiers.ends import TOKEN, slack_reply
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.integration.notifiers.smtp_end import PASSWORD, SmtpEnd, part
from tests.integration.notifiers.socket_end import APP_TOKEN, SocketEnd
from tests.integration.streams.kit import assert_proved
from tests.waiting import LIMIT, pause, wait_until

_UNSENT = "SELECT count(*) FROM record WHERE id > (SELECT row_id FROM stream_position)"
KILLS = 4  # two of each kind; tests/chaos kills a service at random forty times
BROKEN_RULE = """\
title: Broken
id: 22222222-2222-4222-8222-222222222222
logsource: {product: instaclustr, service: user_actions}
detection: {selection: {actionKin: DELETE_CLUSTER}, condition: selection}
level: high
"""


def test_an_action_reaches_webhook_mail_and_slack(
    post: kit.Post,
    webhook: HttpEnd,
    soar: kit.Soar,
    server_context: ssl.SSLContext,
    ca_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An action reaches all three receivers, signed and over TLS. SIGTERM then ends the service with 0 and leaves no lease."""
    users = [f"user{number}@example.com" for number in range(8)]
    with SmtpEnd(server_context, is_auth_required=True) as mail, HttpEnd(slack_reply) as slack:
        post.write(
            webhook,
            f"  - name: soc-mail\n    email: {{host: 127.0.0.1, port: {mail.port}, username: actionwatch, "
            f"password: {PASSWORD}, ca_file: {ca_file}, from: actionwatch@example.com, to: [soc@example.com], "
            f"timeout: {LIMIT:g}s}}\n"
            f"  - name: security-slack\n    slack: {{token: {TOKEN}, channel: C0123456789, base_url: '{slack.url}/api/', "
            f"timeout: {LIMIT:g}s}}\n    rate: 50/s\n",
        )
        with post.service() as service:
            url = service.wait_until_up()
            for user in users:
                post.upstream.delete_cluster(user)
                soar.wait_for(user=user)
            wait_until(lambda: len(mail.mails) >= len(users), "every mail")
            wait_until(lambda: len(slack.requests) >= len(users), "every Slack message")
            wait_until(lambda: post.states() == [("sent", 3 * len(users))], "the record of every message", post.states)
            wait_until(lambda: http_client.get(f"{url}/readyz").json()["ready"] is True, "a ready service")
            seconds = service.end()
        assert sorted(user for found in mail.mails for user in users if user in part(found, "plain")) == users
        assert all(any(user in json.dumps(request.json) for request in slack.requests) for user in users)
    assert [len(soar.find(user=user, type="alert.opened")) for user in users] == [1] * len(users)
    assert all(arrival.is_genuine for arrival in soar.arrivals)
    assert post.states() == [("sent", 3 * len(users))]
    assert post.query("SELECT count(*) FROM delivery WHERE leased_until IS NOT NULL") == [(0,)]
    latencies = [found.at - _happened(found) for found in soar.arrivals]
    with capsys.disabled():
        print(
            f"\nupstream record -> webhook: median {statistics.median(latencies):.2f} s, at most {max(latencies):.2f} s, "
            f"at least {min(latencies):.2f} s, of {len(latencies)}, polling every 0.5 s; SIGTERM took {seconds:.1f} s"
        )


def test_reader_of_the_log_that_stops_reading_stops_nothing(post: kit.Post, webhook: HttpEnd, soar: kit.Soar) -> None:
    """With a pipe that is full and that nobody reads as its log, a service still sends every alert, and ends."""
    reading, writing = os.pipe()
    room = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writing, b"x" * room)
    users = [f"user{number}@example.com" for number in range(8)]
    post.write(webhook)
    with (
        os.fdopen(writing, "w") as log,
        kit.started_warm("run", folder=post.folder, stderr=log, stdout=log) as process,
    ):
        for user in users:
            post.upstream.delete_cluster(user)
            soar.wait_for(user=user)
        kit.Service(process, post.folder / "service.log").end()
    assert [len(soar.find(user=user, type="alert.opened")) for user in users] == [1] * len(users)
    os.close(reading)


def test_kills_lose_and_double_nothing(post: kit.Post, soar: kit.Soar) -> None:
    """A service that is killed repeatedly stores each record once and delivers each alert at least once, under one id. Its
    stream has every record, and what it states is true.
    """
    chance, users = random.Random(20261125), list[str]()
    lake = post.folder / "lake"
    post.add_stream(lake)
    for number in range(KILLS):
        new = [f"user{number}-{which}@example.com" for which in range(4)]
        users += new
        if number % 2:
            with post.service() as service:
                service.wait_until_up()
                post.upstream.delete_cluster(*new)
                pause(chance.uniform(0, 0.7))
                service.kill()
        else:
            # Killed between claim and outcome: the message was accepted, and this was never recorded.
            before = len(soar.arrivals)
            with soar.holding(), post.service() as service:
                post.upstream.delete_cluster(*new)
                wait_until(lambda before=before: len(soar.arrivals) > before, "a message to hold")  # type: ignore[misc]
                service.kill()
    with post.service() as service:
        service.wait_until_up()
        wait_until(lambda: all(soar.find(user=user) for user in users), "every alert")
        wait_until(lambda: [status for status, _ in post.states()] == ["sent"], "an empty outbox", post.states)
        wait_until(lambda: post.query(_UNSENT) == [(0,)], "everything in the stream", lambda: post.query(_UNSENT))
        service.end()
    assert_proved(lake, [key for (key,) in post.query("SELECT record_key FROM record")])
    truth = Counter(json.dumps(record, sort_keys=True) for record in post.upstream.control("GET", "/truth"))
    stored = Counter(json.dumps(json.loads(raw), sort_keys=True) for (raw,) in post.query("SELECT raw FROM record"))
    assert stored == truth
    assert set(truth.values()) == {1}
    assert post.query("SELECT count(*), count(DISTINCT rule_id) FROM alert") == [(len(users), 1)]
    for user in users:
        messages = soar.find(user=user)
        assert {found.type for found in messages} == {"alert.opened"}
        assert len({found.id for found in messages}) == 1
        assert len({found.body for found in messages}) == 1
    assert len({found.id for found in soar.arrivals}) == len(users)
    assert all(found.is_genuine for found in soar.arrivals)


def test_stream_that_hangs_delays_nothing(post: kit.Post, soar: kit.Soar) -> None:
    """While the destination of a stream accepts a connection and never answers, polls, alerts and another stream continue, and
    the service stops in time.
    """
    lake = post.folder / "lake"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        post.add_stream(lake)
        with (post.folder / "actionwatch.yaml").open("a") as file:
            url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
            file.write(f"  - name: stuck\n    redis: {{url: '{url}', timeout: 10m}}\n    start: beginning\n")
        with post.service() as service:
            service.wait_until_up()
            users = [f"user{number}@example.com" for number in range(3)]
            for user in users:
                post.upstream.delete_cluster(user)
                soar.wait_for(user=user)
            sent = "SELECT sent_count FROM stream WHERE name = 'lake'"
            wait_until(lambda: post.query(sent)[0][0] >= len(users), "the other stream", lambda: post.query(sent))
            assert post.query("SELECT sent_count, last_error FROM stream WHERE name = 'stuck'") == [(0, None)]
            service.end()


def test_self_alerts_open_and_resolve(post: kit.Post, webhook: HttpEnd, soar: kit.Soar) -> None:
    """A broken rule affects no other rule and raises an alert. A refused key raises an alert, which resolves when it works."""
    post.write(webhook, rules={"broken.yml": BROKEN_RULE})
    with post.service() as service:
        service.wait_until_up()
        (broken,) = soar.wait_for(trouble="rule_broken")
        assert "actionKin" in broken.data["body"]
        post.upstream.delete_cluster("eve@example.com")
        soar.wait_for(user="eve@example.com")

        post.upstream.control("PUT", "/faults", ["unauthorised"])
        (refused,) = soar.wait_for(trouble="key_refused")
        assert (refused.type, refused.data["rule"]["name"]) == ("alert.opened", "actionwatch_self")
        count = _refusals(post.upstream)
        wait_until(lambda: _refusals(post.upstream) >= count + 2, "further polls")
        assert kit.called("status", "-o", "json", folder=post.folder).returncode == 1
        post.upstream.delete_cluster("mallory@example.com")

        post.upstream.control("DELETE", "/faults")
        soar.wait_for(trouble="key_refused", type="alert.resolved")
        soar.wait_for(user="mallory@example.com")
        service.end()
    messages = soar.find(rule="actionwatch_self")
    assert [found.data["labels"]["trouble"] for found in messages] == [
        "rule_broken",
        "key_refused",
        "key_refused",
    ]
    (post.folder / "rules" / "broken.yml").unlink()
    assert kit.called("run", "--once", folder=post.folder).returncode == 0
    assert soar.find(trouble="rule_broken", type="alert.resolved")
    assert kit.called("status", folder=post.folder).returncode == 0


def test_second_service_is_refused_and_commands_work(post: kit.Post, soar: kit.Soar) -> None:
    """While a service runs, a second one is refused, but dead letters can be retried and receivers tested."""
    soar.answer = lambda: Reply(410, b"gone")
    with post.service() as service:
        service.wait_until_up()
        second = kit.finished_warm("run", folder=post.folder)
        assert second.returncode == 1
        assert "another actionwatch runs" in second.stderr
        post.upstream.delete_cluster("eve@example.com")
        wait_until(lambda: "dead" in dict(post.states()), "a dead letter", post.states)
        soar.answer = lambda: Reply(204)
        assert kit.called("deliveries", "retry", "--dead", folder=post.folder).returncode == 0
        opened = wait_until(lambda: found if len(found := soar.find(user="eve@example.com")) > 1 else None, "its retry")
        assert len({found.id for found in opened}) == 1
        tested = kit.called("receivers", "test", "soar", folder=post.folder)
        assert tested.returncode == 0, tested.stderr
        assert len(soar.find(type="receiver.test")) == 1
        service.end()


def test_service_ends_if_its_store_is_replaced(post: kit.Post) -> None:
    """If another file takes the place of the store, the service ends with status 1 and says what to do."""
    with post.service() as service:
        service.wait_until_up()
        store = post.folder / "actionwatch.db"
        shutil.copy(store.rename(post.folder / "moved.db"), store)
        assert exit_status(service.process) == 1
        assert f"{store} was replaced while this process worked on it" in service.log.read_text()
        assert "start again" in service.log.read_text().splitlines()[-1]


def test_interrupted_run_once_is_continued_by_the_next(post: kit.Post, soar: kit.Soar) -> None:
    """`run --once` that is interrupted while sending exits with 130. The next two runs deliver the rest once."""
    post.upstream.delete_cluster("eve@example.com")
    with soar.holding(), kit.started_warm("run", "--once", folder=post.folder, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: soar.arrivals, "a message to hold")
        process.send_signal(signal.SIGINT)
        assert exit_status(process) == 130
    for _ in range(2):
        ran = kit.called("run", "--once", folder=post.folder)
        assert ran.returncode == 0, ran.stderr
    assert len(soar.arrivals) == 2
    assert len({found.id for found in soar.arrivals}) == 1
    assert post.query("SELECT count(*) FROM record") == [(1,)]


def test_a_broken_configuration_stops_the_start(post: kit.Post) -> None:
    """With a broken configuration, the service exits with 2 and prints one file:line:column line per fault."""
    config = post.folder / "actionwatch.yaml"
    config.write_text(
        config.read_text().replace("poll_interval", "poll_intervall").replace("format: json", "format: xml")
    )
    ran = kit.finished("run", folder=post.folder)
    assert ran.returncode == 2
    assert ran.stderr.splitlines() == [
        "actionwatch.yaml:7:5: unknown key 'poll_intervall': did you mean 'poll_interval'?",
        "actionwatch.yaml:16:7: format: must be one of auto, text or json",
    ]


def test_press_acknowledges_only_alerts_that_slack_was_sent(post: kit.Post, webhook: HttpEnd, soar: kit.Soar) -> None:
    """A press acknowledges an alert that the Slack receiver posted, and not one that only another receiver was sent."""
    with SocketEnd() as slack:
        post.write(
            webhook,
            f"  - name: security-slack\n    slack: {{token: {TOKEN}, app_token: {APP_TOKEN}, channel: C0123456789, "
            f"base_url: '{slack.api.url}/api/', timeout: {LIMIT:g}s}}\n"
            "route:\n  receivers: [soar, security-slack]\n  routes:\n"
            "    - {matchers: ['userName=hidden'], receiver: soar}\n",
        )
        with post.service() as service:
            service.wait_until_up()
            post.upstream.delete_cluster("hidden", "shown")
            ids = {user: soar.wait_for(user=user)[0].data["id"] for user in ("hidden", "shown")}
            wait_until(lambda: {state for state, _ in post.states()} == {"sent"}, "every message", post.states)
            for user in ("hidden", "shown"):
                slack.press("actionwatch_ack", envelope_id=user, value=ids[user])
            find = "SELECT id FROM alert WHERE acked_by = 'sam (U123)'"
            wait_until(lambda: post.query(find), "the acknowledgement")
            service.end()
        assert post.query(find) == [(ids["shown"],)]


def _happened(found: kit.Arrival) -> float:
    return datetime.fromisoformat(found.data["records"][-1]["timestamp"]).timestamp()


def _refusals(up: kit.Upstream) -> int:
    (traffic,) = up.control("GET", "/traffic")
    return int(traffic.get("user_actions", {}).get("401", 0))

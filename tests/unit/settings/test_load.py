"""A valid configuration: defaults, paths, environment, secrets, receivers, routes."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from actionwatch.alerts import routes
from actionwatch.base.model import Level
from actionwatch.settings import Receiver, Settings, Source
from actionwatch.settings.validators import Address
from tests.cases import in_one_test
from tests.unit.settings.kit import SOURCE, ChatOptions, ScreenOptions, faults, load, load_file


@in_one_test(
    ("web", "is_required"),
    [
        ("{}", False),
        ("{listen: 'localhost:80', token: s3cret}", True),
        ("{listen: '0.0.0.0:80'}", True),
        ("{require_token: true}", True),
        ("{proxy: {addresses: [10.0.0.5, 'fd00::/8']}}", True),
        ("{token: s3cret, require_token: false}", False),
    ],
)
def test_reading_needs_a_token_except_on_loopback(web: str, is_required: bool, tmp_path: Path) -> None:
    """By default reading is open on a loopback address without a token, and nowhere else."""
    assert load(f"{SOURCE}web: {web}", tmp_path).web.is_token_required is is_required


@pytest.mark.parametrize(
    ("written", "console", "names"),
    [
        (
            "https://Watch.Example.com/",
            "https://watch.example.com",
            frozenset({"metrics.example.com", "watch.example.com"}),
        ),
        ("http://10.0.0.7:8080", "http://10.0.0.7:8080", frozenset({"metrics.example.com", "10.0.0.7"})),
        ("https://[fd00::7]:8443", "https://[fd00::7]:8443", frozenset({"metrics.example.com", "fd00::7"})),
    ],
)
def test_the_address_of_the_console_is_served_by_its_name(
    written: str, console: str, names: frozenset[str], tmp_path: Path
) -> None:
    """`web.url` is kept without a slash at its end, and its host needs no entry in `web.hosts`."""
    web = load(f"{SOURCE}web: {{url: '{written}', hosts: [metrics.example.com]}}", tmp_path).web
    assert (web.url, web.served_names) == (console, names)
    assert not web.is_token_required


def test_a_missing_extra_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If an extra is not installed, the fault says what to install."""
    monkeypatch.setitem(sys.modules, "redis", None)  # makes an import fail
    (found,) = faults(f"{SOURCE}streams: [{{name: lake, redis: {{url: 'redis://localhost'}}}}]", tmp_path)
    assert "redis: needs the package redis: install the project's requirements/streams.txt" in str(found)


def test_every_default_is_the_documented_one(tmp_path: Path) -> None:
    """The defaults are those of the reference."""
    settings = load(SOURCE + "receivers: [{name: s, screen: {}}]", tmp_path)
    (source,) = settings.sources
    assert source.model_dump(exclude={"name", "organisation_id", "username", "api_key"}) == {
        "api_key_file": None,
        "labels": {},
        "base_url": "https://api.instaclustr.com",
        "poll_interval": timedelta(seconds=10),
        "overlap": timedelta(minutes=15),
        "sweeps": (timedelta(hours=1), timedelta(hours=6), timedelta(hours=24), timedelta(days=7)),
        "start": "now",
        "alert_backlog": False,
        "page_size": 1000,
        "timeout": timedelta(seconds=30),
        "ca_file": None,
        "proxy": None,
        "field_aliases": {},
    }
    assert settings.store.url == f"sqlite:///{tmp_path}/actionwatch.db"
    assert settings.store.path == tmp_path / "actionwatch.db"
    assert settings.store.retention.records == timedelta(days=400)
    assert settings.store.retention.deliveries == timedelta(days=90)
    assert settings.store.retention.receipts == timedelta(days=400)
    assert (settings.rules, settings.lists) == ((tmp_path / "rules",), tmp_path / "lists")
    assert (settings.templates, settings.extra_kinds) == (tmp_path / "templates", ())
    (receiver,) = settings.receivers
    assert (receiver.type, receiver.options) == ("screen", ScreenOptions())
    assert (receiver.min_level, receiver.rate_per_second) == (Level.INFORMATIONAL, None)
    assert (receiver.concurrency, receiver.updates) == (4, timedelta(seconds=10))
    assert receiver.retry.model_dump() == {
        "first": timedelta(seconds=1),
        "factor": 2,
        "max": timedelta(minutes=10),
        "give_up_after": timedelta(hours=24),
    }
    assert (settings.route.targets, settings.route.matchers, settings.route.routes) == ((), (), ())
    assert (settings.heartbeat.address, settings.heartbeat.interval) == (None, timedelta(minutes=1))
    assert (settings.web.listen, settings.web.access_token) == (Address("127.0.0.1", 8080), None)
    assert (settings.web.url, settings.web.served_names) == (None, frozenset())
    assert (settings.log.level, settings.log.format) == ("auto", "auto")


def test_settings_do_not_change(tmp_path: Path) -> None:
    """Settings are immutable."""
    settings = load(SOURCE, tmp_path)
    with pytest.raises(ValidationError, match="frozen"):
        settings.sources[0].name = "b"


def test_a_receiver_of_each_kind_of_value(tmp_path: Path) -> None:
    """The options are the model of the receiver's type, and every other key is parsed."""
    text = """\
receivers:
  - name: c
    chat: {token: t, port: "80", from: b}
    min_level: high
    rate: 30/m
    concurrency: 1
    updates: 0s
    retry: {first: 2s, factor: 1.5, max: 2s, give_up_after: 7d}
"""
    (receiver,) = load(SOURCE + text, tmp_path).receivers
    assert isinstance(receiver, Receiver)
    assert isinstance(receiver.options, ChatOptions)
    assert (receiver.options.port, receiver.options.sender) == (80, "b")
    assert (receiver.min_level, receiver.rate_per_second, receiver.concurrency) == (Level.HIGH, 0.5, 1)
    assert receiver.retry.give_up_after == timedelta(days=7)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("now", "now"),
        ("7d", timedelta(days=7)),
        ("2026-11-25T09:00:00Z", datetime(2026, 11, 25, 9, tzinfo=UTC)),
        ("2026-11-25T19:00:00+10:00", datetime(2026, 11, 25, 9, tzinfo=UTC)),
        ("'2026-11-25t09:00:00.5z'", datetime(2026, 11, 25, 9, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_start_is_now_a_duration_or_a_time(written: str, expected: Any, tmp_path: Path) -> None:
    """A start is `now`, a duration before now, or a time in UTC."""
    text = SOURCE.replace("api_key: k3y", f"api_key: k, start: {written}")
    assert load(text, tmp_path).sources[0].start == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///data/x.db", "{folder}/data/x.db"),
        ("sqlite:////srv/x.db", "/srv/x.db"),
    ],
)
def test_a_store_starts_at_the_file(url: str, expected: str, tmp_path: Path) -> None:
    """A relative database path is relative to the folder of the configuration."""
    store = load(f"{SOURCE}store: {{url: '{url}'}}", tmp_path).store
    assert store.path == Path(expected.format(folder=tmp_path))
    assert store.url == f"sqlite:///{store.path}"


def test_a_store_in_postgresql_is_taken_as_it_is(tmp_path: Path) -> None:
    """The URL of a database in PostgreSQL depends on no folder."""
    url = "postgresql+psycopg://actionwatch@db.example:5432/audit?sslmode=verify-full"
    assert load(f"{SOURCE}store: {{url: '{url}'}}", tmp_path).store.url == url


def test_relative_paths_do_not_depend_on_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration with a relative path has absolute paths."""
    load(SOURCE, tmp_path)
    monkeypatch.chdir(tmp_path.parent)
    settings = load_file(Path(tmp_path.name) / "actionwatch.yaml")
    assert settings.rules == (tmp_path / "rules",)
    assert settings.lists.is_absolute()
    assert settings.store.path == tmp_path / "actionwatch.db"


@in_one_test(
    ("written", "environ", "expected"),
    [
        ("${A}", {"A": "x"}, "x"),
        ("a${A}b${B}c", {"A": "1", "B": "2"}, "a1b2c"),
        ("${A:-y}", {}, "y"),
        ("${A:-y}", {"A": ""}, "y"),
        ("${A:-y z:-}", {}, "y z:-"),
        ("$${A}", {}, "${A}"),
        ("$$${A}", {"A": "x"}, "$${A}"),
        ("$A $ {A} 5$", {"A": "x"}, "$A $ {A} 5$"),
        ("${A}", {"A": "${B}"}, "${B}"),
        ("${A}", {"A": 'x, username: "eve"} # {'}, 'x, username: "eve"} # {'),
    ],
)
def test_variables_are_text_within_a_value(
    written: str, environ: dict[str, str], expected: str, tmp_path: Path
) -> None:
    """A variable is text within a value: it is not parsed as YAML and not expanded again."""
    text = SOURCE.replace("o-1", f"'{written}'")
    assert load(text, tmp_path, environ).sources[0].organisation_id == expected


def test_environment_in_numbers_and_flags(tmp_path: Path) -> None:
    """Numbers, flags and durations can come from the environment."""
    text = SOURCE.replace("api_key: k3y", "api_key: k, page_size: '${N}', alert_backlog: '${F}', overlap: '${D}'")
    (source,) = load(text, tmp_path, {"N": "10", "F": "true", "D": "1h30m"}).sources
    assert (source.page_size, source.alert_backlog, source.overlap) == (10, True, timedelta(minutes=90))


def test_a_variable_that_is_missing_is_reported_once(tmp_path: Path) -> None:
    """A value with a missing variable is not also reported as invalid."""
    text = SOURCE.replace("api_key: k3y", "api_key: k, page_size: '${N}'")
    assert len(faults(text, tmp_path)) == 1


def test_a_proxy_may_hold_a_password(tmp_path: Path) -> None:
    """The client gets the password of a proxy, and nothing shows it."""
    text = SOURCE.replace("api_key: k3y", "api_key: k, proxy: 'http://eve:s3cret@proxy:3128'")
    (source,) = load(text, tmp_path).sources
    assert source.proxy_url == "http://eve:s3cret@proxy:3128"
    assert "s3cret" not in repr(source)


def test_secret_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    """The first line of a file is the secret, without surrounding blanks, and no `repr` shows it."""
    (tmp_path / "key").write_text(" s3cret \nsecond\n")
    text = SOURCE.replace("api_key: k3y", "api_key_file: key") + "web: {listen: '0.0.0.0:80', token_file: key}"
    settings = load(text, tmp_path)
    assert (settings.sources[0].key, settings.web.access_token) == ("s3cret", "s3cret")
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings.model_dump())


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "has an empty first line"), (b"\nx", "has an empty first line"), (b"\xff\xfe", "not UTF-8 text"),
     (b"a\x01b", "control characters"), (b"x" * 100_000, "larger than 65536 bytes")],
)  # fmt: skip
def test_unusable_secret_file_is_a_fault_with_the_reason(content: bytes, reason: str, tmp_path: Path) -> None:
    """The fault of an invalid secret file contains the reason."""
    (tmp_path / "key").write_bytes(content)
    (fault,) = faults(SOURCE.replace("api_key: k3y", "api_key_file: key"), tmp_path)
    assert reason in fault


def test_a_secret_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that cannot be opened is a fault with the system's reason."""
    (tmp_path / "key").mkdir()
    (fault,) = faults(SOURCE.replace("api_key: k3y", "api_key_file: key"), tmp_path)
    assert "Is a directory" in fault


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.8.8"])
def test_loopback_needs_no_token(host: str, tmp_path: Path) -> None:
    """Only addresses that are not loopback need a token."""
    assert load(f"{SOURCE}web: {{listen: '{host}:80'}}", tmp_path).web.listen == Address(host.strip("[]"), 80)


def test_routes_become_the_tree(tmp_path: Path) -> None:
    """`alerts.routes.build` accepts the routes of the settings."""
    text = """\
receivers: [{name: a, screen: }, {name: b, screen: }, {name: c, screen: }]
route:
  routes:
    - matchers: [level=critical]
      continue: true
      receiver: a
    - matchers: ['rule="x"', 'source!="y"']
      receivers: [c, b]
"""
    settings = load(SOURCE + text, tmp_path)
    tree = routes.build(settings.route, [receiver.name for receiver in settings.receivers])
    assert tuple(routes.mutes_for(tree, {})) == ("a", "b", "c")
    assert tuple(routes.mutes_for(tree, {"level": "critical", "rule": "x"})) == ("a", "c", "b")


def test_yaml_merge_keys_share_options(tmp_path: Path) -> None:
    """Anchors and `<<` share options between entries."""
    text = "receivers: [{name: a, screen: , retry: &r {first: 2s}}, {name: b, screen: , retry: {<<: *r, max: 1h}}]"
    first, second = load(SOURCE + text, tmp_path).receivers
    assert first.retry.first == second.retry.first == timedelta(seconds=2)


def test_settings_can_be_made_in_code() -> None:
    """The demo can make settings without a file."""
    source = Source.model_validate({"name": "demo", "organisation_id": "o", "username": "u", "api_key": "k"})
    receiver = Receiver(name="screen", type="screen", options=ScreenOptions())
    settings = Settings(sources=(source,), rules=(Path("/"),), receivers=(receiver,))
    assert settings.receivers[0].options == ScreenOptions()


@pytest.mark.parametrize(
    ("written", "meant"),
    [("::ffff:10.0.0.5", "10.0.0.5/32"), ("::ffff:10.0.0.0/120", "10.0.0.0/24"), ("::1", "::1/128")],
)
def test_proxy_may_be_named_by_an_ipv4_address_in_ipv6(written: str, meant: str, tmp_path: Path) -> None:
    """A request from such an address is compared by its IPv4 address, and so are those of the configuration."""
    proxy = load(f"{SOURCE}web: {{proxy: {{addresses: ['{written}']}}}}", tmp_path).web.proxy
    assert proxy is not None
    assert list(map(str, proxy.addresses)) == [meant]

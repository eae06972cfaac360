"""All faults of a configuration are reported at once, with line, column and remedy, in plain language."""

from __future__ import annotations

from pathlib import Path

import pytest

from actionwatch.base.errors import ConfigError
from tests.cases import in_one_test
from tests.unit.settings.kit import SOURCE, faults, load_file

SOURCE_LINES = """\
sources:
  - name: acme
    organisation_id: o
    username: u
    api_key: k
"""

CLIENT = "issuer: 'https://a.example', client_id: a, client_secret: b"
TOP = [
    # text after SOURCE (which is line 1), the one fault
    ("sweeps: []", "2:1: unknown key 'sweeps': accepted here: sources, upstream, sto"),
    ("receiver: []", "2:1: unknown key 'receiver': did you mean 'receivers'?"),
    ("5: x", "2:1: a key must be text: quote it"),
    ("store:", "2:1: store: has no value: give it one, or remove the line"),
    ("store: sqlite", "2:1: store: must be a mapping, not text"),
    ("store: {url: 5}", "2:9: url: must be text, not a number: quote it"),
    (
        "store: {url: 'postgresql+psycopg://u:pw@h/d'}",
        "2:9: url: remove the password: give it in PGPASSWORD, or in a file that PGPASSFILE names",
    ),
    ("store: {url: 'postgresql+psycopg://u:p/w@h/d'}", "2:9: url: remove the password: give it in PGPASSWORD"),
    ("store: {url: 'postgresql+psycopg://u:p?w@h/d'}", "2:9: url: remove the password: give it in PGPASSWORD"),
    ("store: {url: 'postgresql+psycopg://u@h/d?password=pw'}", "2:9: url: remove the password: give it in PGPASSWORD"),
    ("store: {url: 'postgresql+psycopg://u@h/d?a=1#&passw%6Frd=pw'}", "2:9: url: remove the password: give it in"),
    (
        "store: {url: 'postgresql+psycopg://u@h/d?sslpassword=pw'}",
        "2:9: url: remove sslpassword: use a key without one, in a file that only actionwatch can read",
    ),
    ("web: {token: ' '}", "2:7: token: a token of spaces cannot be sent: write another one, or remove the key"),
    ("receivers: [{name: a, screen: {}, retry: {factor: true}}]", "2:43: factor: must be a number, not true or false"),
    ("store: {url: 'postgresql://u@h/d'}", "2:9: url: the driver is psycopg: write postgresql+psycopg://user@host/"),
    ("store: {url: 'postgres://u@h/d'}", "2:9: url: the driver is psycopg: write postgresql+psycopg://user@host/"),
    ("store: {url: 'postgresql+psycopg://u@h/d'}", "2:9: url: would send the password to whoever answers there: add"),
    ("store: {url: 'postgresql+psycopg://u@h/d', insecure: 'no'}", "2:9: url: would send the password to whoever"),
    ("store: {url: 'postgresql+psycopg://u@h'}", "2:9: url: names no database: write postgresql+psycopg://"),
    ("store: {url: 'sqlite://'}", "2:9: url: not the URL of a store: write sqlite:///actionwatch.db"),
    ("store: {url: 'sqlite:///:memory:'}", "2:9: url: a store in memory is lost at a restart: use sqlite:///"),
    ("store: {url: 'sqlite:///a.db?mode=ro'}", "2:9: url: not the URL of a store: write"),
    ("store:\n  retention:\n    records: 0s", "4:5: records: must be longer than 0s"),
    ("store:\n  retention:\n    alerts: 1d", "4:5: unknown key 'alerts': accepted here: records, deliveries, receipts"),
    ("rules: rules/", "2:1: rules: must be a list, not text: put it in [ ]"),
    ("rules:\n- rules\n- gone", "4:3: rules: there is no "),
    ("lists: [a]", "2:1: lists: must be a path, not a list"),
    ("extra_kinds: [A, '']", "2:18: extra_kinds: must be text on one line, not empty"),
    ("receivers: {}", "2:1: receivers: must be a list, not a mapping"),
    ("receivers: [x]", "2:13: receivers: must be a mapping, not text"),
    ("receivers: [{screen: }]", "2:13: the key 'name' is missing: add it"),
    ("receivers: [{name: a}]", "2:13: the receiver has no type: add one of chat, screen"),
    ("receivers: [{name: a, scren: {}}]", "2:23: unknown key 'scren': did you mean 'screen'?"),
    ("receivers: [{nam: a, screen: {}}]", "2:14: unknown key 'nam': did you mean 'name'?"),
    (
        "receivers: [{name: a, screen: {}, chat: {token: t}}]",
        "2:23: a receiver has one type, not chat and screen: make",
    ),
    ("receivers: [{name: a, screen: 5}]", "2:23: screen: must be a mapping, not a number"),
    ("receivers: [{name: a, screen: {x: 1}}]", "2:32: unknown key 'x': accepted here: nothing"),
    ("receivers:\n- name: a\n  chat:\n    token: t\n    fron: x", "6:5: unknown key 'fron': did you mean 'from'?"),
    ("receivers:\n- name: a\n  chat: {}", "4:3: chat: one of token or token_file is required"),
    ("receivers:\n- name: a\n  chat: {token: t, port: 0}", "4:20: port: must be at least 1"),
    ("receivers:\n- name: a\n  chat: {token: t, port: x}", "4:20: port: must be a whole number, not text"),
    ("receivers:\n- name: a\n  chat: {token: t, keys: {}}", "4:20: keys: must be text, not a mapping or a list"),
    (
        "receivers:\n- name: a\n  chat:\n    token: t\n    keys: [a, 5]",
        "6:15: keys: must be text, not a number: quote it",
    ),
    (
        "receivers: [{name: a, screen: {}, min_level: hi}]",
        "2:35: min_level: must be one of informational, low, medium,",
    ),
    ("receivers: [{name: a, screen: {}, rate: 5}]", "2:35: rate: not a rate: write a number above 0 and a unit"),
    ("receivers: [{name: a, screen: {}, rate: 0/s}]", "2:35: rate: not a rate: write"),
    ("receivers: [{name: a, screen: {}, concurrency: 0}]", "2:35: concurrency: must be at least 1"),
    ("receivers: [{name: a, screen: {}, concurrency: yes}]", "2:35: concurrency: must be a whole number, not text"),
    ("receivers: [{name: a, screen: {}, concurrency: true}]", "2:35: concurrency: must be a whole number, not true"),
    ("receivers: [{name: a, screen: {}, updates: 5}]", "2:35: updates: not a duration: write a number with its unit"),
    ("receivers: [{name: a, screen: {}, retry: {factor: .inf}}]", "2:43: factor: must be a finite number"),
    ("receivers: [{name: a, screen: {}, retry: {max: 1ms}}]", "2:43: max: not a duration: write"),
    ("receivers: [{name: a, screen: {}, retry: {first: 1h}}]", "2:35: max: must not be shorter than 'first'"),
    ("receivers: [{name: a, screen: {}, fallback: b}]", "2:35: fallback: no receiver has the name 'b': there are: a"),
    ("receivers: [{name: a, screen: {}, fallback: a}]", "2:35: fallback: cycle: a -> a: remove the fallback of one"),
    (
        "receivers: [{name: a, screen: , fallback: b}, {name: b, screen: , fallback: c}, {name: c, screen: , fallback: b}]",
        "2:67: fallback: cycle: b -> c -> b: remove the fallback of one of them",
    ),
    ("receivers: [{name: a, screen: {}, storm: on}]", "2:35: storm: not a storm: write {above: 30, per: 1m}, or off"),
    ("receivers: [{name: a, screen: {}, storm: {above: 0}}]", "2:43: above: must be at least 1"),
    ("receivers: [{name: a, screen: {}, storm: {over: 3}}]", "2:43: unknown key 'over': "),
    (
        "receivers:\n- {name: a, screen: }\n- {name: ' a', screen: }",
        "4:4: 'a' is already used in receivers",
    ),
    ("route: {receiver: a}", "2:9: receiver: no receiver has the name 'a': add it under receivers"),
    (
        "receivers: [{name: abc, screen: }]\nroute: {receiver: abd}",
        "3:9: receiver: no receiver has the name 'abd': did you",
    ),
    (
        "receivers: [{name: a, screen: }]\nroute: {receivers: [a, z]}",
        "3:24: receivers: no receiver has the name 'z': there",
    ),
    ("receivers: [{name: a, screen: }]\nroute: {receivers: []}", "3:9: receivers: must not be empty"),
    (
        "receivers: [{name: a, screen: }]\nroute: {receiver: a, receivers: [a]}",
        "3:22: receivers: receiver is set too: keep",
    ),
    ("route: {matchers: ['a=\"b\"']}", "2:9: the root of the route has no 'matchers': every alert starts there"),
    ("route: {continue: true}", "2:9: the root of the route has no 'continue': every alert"),
    ("route: {routes: [{continue: 1}]}", "2:19: continue: must be true or false: write it without quotes"),
    ("route: {routes: [{matchers: 'a=b'}]}", "2:19: matchers: must be a list, not text: put it in [ ]"),
    (
        "route:\n  routes:\n  - routes:\n    - matchers: [a=b, 'c']",
        '5:23: matchers: not a matcher: write label="value"',
    ),
    ("route: {routes: [{matchers: ['a=~\"(\"']}]}", "2:30: matchers: not a regular expression (missing ): (): RE2"),
    ("route: {mute_time_intervals: [x]}", "2:31: mute_time_intervals: no time interval has the name 'x': add it under"),
    (
        "time_intervals: [{name: nights, time_intervals: [{}]}]\nroute: {routes: [{mute_time_intervals: [night]}]}",
        "3:41: mute_time_intervals: no time interval has the name 'night': did you mean 'nights'?",
    ),
    (
        "route: {is_continued: true}",
        "2:9: unknown key 'is_continued': did you mean 'continue'?",
    ),
    ("web: {listen: 8080}", "2:7: listen: not an address: write host:port, such as 127.0.0.1:8080"),
    ("web: {listen: '127.0.0.1:99999'}", "2:7: listen: not an address: write"),
    (
        "web: {listen: '0.0.0.0:8080', require_token: false}",
        "2:31: require_token: false is only for a loopback address: remove it, or listen on 127.0.0.1",
    ),
    ("web: {require_token: maybe}", "2:7: require_token: must be true or false"),
    ("web: {token: a, token_file: rules}", "2:17: token_file: cannot read the secret file "),
    ("web: {proxy: {}}", "2:7: the key 'addresses' is missing: add it"),
    ("web: {proxy: {addresses: []}}", "2:15: addresses: must not be empty"),
    (
        "web: {proxy: {addresses: [proxy.example.com]}}",
        "2:27: addresses: not a network: write an address, or its first",
    ),
    (
        "web: {proxy: {addresses: [10.0.0.5/8]}}",
        "2:27: addresses: not a network: write an address, or its first address",
    ),
    ("web: {proxy: {addresses: ['::ffff:0:0/96']}}", "2:27: addresses: this is every address: write those of the"),
    (
        "web: {proxy: {addresses: [10.0.0.5], groups_header: x-forwarded-user}}",
        "2:38: groups_header: this is the header with the name of the person: write that with the groups",
    ),
    (
        "web: {proxy: {addresses: [10.0.0.5], user_header: x-forwarded-groups, operator_groups: [ops]}}",
        "2:7: groups_header: this is the header with the name of the person: write that with the groups",
    ),
    (
        "web: {proxy: {addresses: [10.0.0.5], operators: ['Doe, Jane']}}",
        "2:50: operators: nobody can have this name: a name has at most 100 characters and no comma: let people sign in",
    ),
    ("web: {proxy: {addresses: ['::/0']}}", "2:27: addresses: this is every address: write those of the proxy"),
    (
        "web: {proxy: {addresses: [10.0.0.5], user_header: X-Forwarded-For}}",
        "2:38: user_header: not a header for this: write its name, such as X-Forwarded-User",
    ),
    ("web: {proxy: {addresses: [10.0.0.5], user_header: 'A B'}}", "2:38: user_header: not a header for this: write"),
    ("web: {url: watch.example.com}", "2:7: url: must be an https:// URL with a host"),
    ("web: {url: 'javascript://watch.example.com/%0aalert(1)'}", "2:7: url: must be an https:// URL with a host"),
    ("web: {url: 'https://sam:secret@watch.example.com'}", "2:7: url: must not contain a user name or password"),
    (
        "web: {url: 'https://www.example.com/watch/'}",
        "2:7: url: must have no path: the console needs its own host name or port, https://watch.example.com",
    ),
    ("web: {url: 'https://watch.example.com?a=b'}", "2:7: url: must have no path"),
    ("web: {url: 'https://watch.example.com/#a'}", "2:7: url: must have no path"),
    (
        "web: {url: 'https://wätch.example.com'}",
        "2:7: url: not a host name that browsers send: write its domain in the",
    ),
    ("web: {url: 'https://a<b>.example.com'}", "2:7: url: not a host name that browsers send: write its domain in the"),
    (
        "web: {proxy: {addresses: [10.0.0.5/32], operators: ['*']}}",
        "2:53: operators: '*' is not accepted here: write the name of each person, or use operator_groups",
    ),
    ("web: {token: ''}", "2:7: token: a secret must not be empty"),
    ("web: {hosts: ['http://metrics.example.com']}", "2:15: hosts: not a host name: write it without scheme and port"),
    ("web: {hosts: ['metrics.example.com:80']}", "2:15: hosts: not a host name: write it without scheme and port"),
    ("log: {level: warn}", "2:7: level: must be one of auto, debug, info, warning or error: did you mean 'warning'?"),
    ("log: {format: 5}", "2:7: format: must be one of auto, text or json"),
    ("inhibit_rules: [{source_matchers: [a=b]}]", "2:17: the key 'target_matchers' is missing: add it"),
    ("inhibit_rules: [{source_matchers: [], target_matchers: [a=b]}]", "2:18: source_matchers: must not be empty"),
    ("inhibit_rules: [{source_matchers: [a], target_matchers: [a=b]}]", "2:36: source_matchers: not a matcher"),
    (
        "store: {retention: {records: 7d}}",
        "2:21: records must be kept as long as polls and sweeps reach back, which is 8d7h: keep them longer",
    ),
    ("heartbeat: {url: 'ftp://h'}", "2:13: url: must be an https:// URL with a host"),
    ("heartbeat: {interval: 0s}", "2:13: interval: must be longer than 0s"),
    (
        "log: {level: '${LEVEL}'}",
        "2:7: the environment variable LEVEL is not set: set it, or give a default: ${LEVEL:-…}",
    ),
    ("log: {level: '${}'}", "2:7: not a usable ${…}: write ${NAME} or ${NAME:-default}"),
    ("log: {level: '${A'}", "2:7: not a usable ${…}: write"),
    ("log: {level: '${A:-${B}}'}", "2:7: not a usable ${…}: write"),
    ("a: 1\na: 2", '3:1: not YAML: while constructing a mapping found duplicate key "a": remove one of the two'),
    ("a: [", "3:1: not YAML: while parsing a flow node did not find expected node content"),
    ("---\na: 1", "3:1: a second document: remove the line ---"),
]

SOURCES = [
    # a key of the source (line 6), the one fault
    ("name: b", '6:5: not YAML: while constructing a mapping found duplicate key "name": remove one of the two'),
    ("poll_intervall: 1s", "6:5: unknown key 'poll_intervall': did you mean 'poll_interval'?"),
    ("poll_interval: 0s", "6:5: poll_interval: must be longer than 0s"),
    ("overlap: -1s", "6:5: overlap: not a duration: write a number with its unit, such as 30s"),
    ("overlap: 90000000d", "6:5: overlap: a duration must not be longer than a century"),
    ("timeout: [30s]", "6:5: timeout: not a duration: write"),
    ("base_url: http://api.example.com", "6:5: base_url: must be https://: http:// is accepted only for loopback"),
    ("base_url: api.example.com", "6:5: base_url: must be an https:// URL with a host"),
    ("base_url: https://u:pw@api.example.com", "6:5: base_url: must not contain a user name or password"),
    ("base_url: https://api.example.com?a=b", "6:5: base_url: must end with the path: remove what follows ? or #"),
    ("start: yesterday", "6:5: start: not a start: write now, a duration before now such as 7d, or a time"),
    ("start: 2026-11-25", "6:5: start: not a start: write now"),
    ("start: 2026-11-25T09:00:00", "6:5: start: a time needs its zone: write 2026-11-25T09:00:00Z"),
    ("start: 9999-12-31T23:59:59-14:00", "6:5: start: this time is centuries away: correct the year"),
    ("start: 0s", "6:5: start: must be longer than 0s: write now"),
    ("alert_backlog: yes", "6:5: alert_backlog: must be true or false: write it without quotes"),
    ("page_size: 1001", "6:5: page_size: must be at most 1000"),
    ("page_size: 0", "6:5: page_size: must be at least 1"),
    ("page_size: 1.5", "6:5: page_size: must be a whole number"),
    ("ca_file: gone.pem", "6:5: ca_file: cannot use the certificates in "),
    ("ca_file: ~nobody-of-that-name/x", "6:5: ca_file: this home folder does not exist: write the path without ~"),
    ("ca_file: \"a\\0b\"", "6:5: ca_file: a path must not contain a NUL character: remove it"),
    ("proxy: socks5://h", "6:5: proxy: not a usable proxy: write http://host:port"),
    ("field_aliases: {usr: [x]}", "6:21: usr: a record has no field 'usr': did you mean 'user'?"),
    ("field_aliases: {user: x}", "6:21: user: must be a list, not text: put it in [ ]"),
    ("api_key_file: gone", "6:5: api_key_file: cannot read the secret file "),
    ("sweeps: [1h, 0s]", "6:18: sweeps: must be longer than 0s"),
]  # fmt: skip


@in_one_test(("text", "expected"), TOP)
def test_a_fault_outside_sources(text: str, expected: str, tmp_path: Path) -> None:
    """Each fault is the only one of its file, at its key, with the remedy."""
    assert [fault[: len(expected)] for fault in faults(SOURCE + text, tmp_path)] == [expected]


@in_one_test(("line", "expected"), SOURCES)
def test_a_fault_of_a_source(line: str, expected: str, tmp_path: Path) -> None:
    """Each fault is the only one of its file, at its key, with the remedy."""
    assert [fault[: len(expected)] for fault in faults(f"{SOURCE_LINES}    {line}\n", tmp_path)] == [expected]


@pytest.mark.parametrize("text", ["", "# nothing\n", "sources: []\n", "sources:\n", "{}"])
def test_no_source_is_a_fault(text: str, tmp_path: Path) -> None:
    """A configuration without a source is one fault."""
    (fault,) = faults(text, tmp_path)
    assert fault.endswith("no source is configured: add one, as `actionwatch init` shows")


@pytest.mark.parametrize("text", ["- a", "word", "5"])
def test_a_file_without_a_mapping(text: str, tmp_path: Path) -> None:
    """A file with a list or a scalar is refused."""
    assert faults(text, tmp_path) == ["1:1: the file must contain keys and values: start from `actionwatch init`"]


def test_missing_file_has_a_remedy(tmp_path: Path) -> None:
    """The remedy for a missing file names `-c` and `init`."""
    with pytest.raises(
        ConfigError, match=r"no\.yaml: there is no such file: name it with -c, or run `actionwatch init`"
    ):
        load_file(tmp_path / "no.yaml")


def test_a_source_without_a_key(tmp_path: Path) -> None:
    """A source without a key and a key file is a separate fault, next to other faults of the source."""
    text = "sources:\n  - name: a\n    username: u\n    overlap: 5\n"
    assert faults(text, tmp_path) == [
        "2:5: the key 'organisation_id' is missing: add it",
        "2:5: api_key_file: one of api_key and api_key_file is required: add api_key_file",
        "4:5: overlap: not a duration: write a number with its unit, such as 30s, 15m, 26h or 7d",
    ]


def test_a_secret_given_twice(tmp_path: Path) -> None:
    """If a secret is given twice, the second is the fault."""
    (tmp_path / "key").write_text("k\n")
    (fault,) = faults(f"{SOURCE_LINES}    api_key_file: key\n", tmp_path)
    assert fault == "6:5: api_key_file: api_key is set too: keep one of the two"


def test_missing_default_folder_of_rules(tmp_path: Path) -> None:
    """The default folder of rules must exist too."""
    (tmp_path / "a.yaml").write_text(SOURCE)
    with pytest.raises(ConfigError, match=r"a\.yaml:1:1: rules: there is no .*/rules: create it, or correct the path"):
        load_file(tmp_path / "a.yaml")


def test_every_fault_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    """Faults of every kind and section are in one report."""
    text = """\
sources:
  - name: acme
    organisation_id: ${ORG}
    username: u
    api_key: ${KEY}
    overlap: 15
  - name: acme
    organisation_id: o
    username: u
    api_key: k
receivers:
  - {name: a, chat: {token: t, prt: 1}, rate: fast}
  - {name: a, screen: {}}
route: {receiver: b, routes: [{matchers: [x], receiver: a}]}
web: {listen: "0.0.0.0:80", require_token: false}
logs: {}
"""
    places = [fault.partition(": ")[0] for fault in faults(text, tmp_path, {"ORG": "o"})]
    assert places == ["5:5", "6:5", "7:5", "12:32", "12:41", "13:6", "14:9", "14:43", "15:29", "16:1"]


@in_one_test(
    "text",
    [
        "sources: [{name: a, organisation_id: o, username: u, api_key: \"S3CRET\\0\"}]",
        "sources: [{name: a, organisation_id: o, username: u, api_key: k, base_url: 'http://S3CRET'}]",
        "sources: [{name: a, organisation_id: o, username: u, api_key: k, start: S3CRET, overlap: S3CRET, page_size: S3CRET}]",
        "sources: [{name: a, organisation_id: o, username: u, api_key: k, proxy: 'ftp://u:S3CRET@h'}]",
        "sources: [{api_key: S3CRET, api_key: S3CRET2}]",
        "sources: S3CRET",
        SOURCE + "receivers: [{name: a, chat: {token: {S3CRET: 1}, port: S3CRET, keys: [[S3CRET]]}, min_level: S3CRET}]",
        SOURCE + "store: {url: 'postgresql://u:S3CRET@h'}\nweb: {listen: S3CRET}\nlog: {level: S3CRET, format: S3CRET}",
        SOURCE + "route: {routes: [{matchers: ['a=~\"S3CRET(\"']}], continue: S3CRET}",
        "S3CRET",
    ],
)  # fmt: skip
def test_no_value_is_repeated(text: str, tmp_path: Path) -> None:
    """The report contains no secret, neither from an invalid value nor from the value of a wrong key."""
    found = faults(text, tmp_path)
    assert found
    if "matchers" not in text:  # a matcher is no secret, and its report quotes the regular expression
        assert "S3CRET" not in "\n".join(found)


def test_user_name_has_no_colon(tmp_path: Path) -> None:
    """Basic authentication ends the name at the first one, so the upstream would refuse every request."""
    text = "sources: [{name: a, organisation_id: o, username: 'u:k', api_key: k}]"
    (found,) = faults(text, tmp_path)
    assert "username: a user name cannot contain ':': write only the name, and the key as api_key" in found

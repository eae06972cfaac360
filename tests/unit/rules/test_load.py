"""Loading rules: every fault with its location at once, and all valid rules are used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actionwatch.base.model import Level
from actionwatch.rules.compile import compile_detection
from actionwatch.rules.engine import Engine
from actionwatch.rules.lists import Lists, read_lists
from actionwatch.rules.load import load_rules
from actionwatch.text.yaml_document import MAX_BYTES
from tests.cases import in_one_test
from tests.unit.rules.builders import HEAD, KINDS, record, rules_in

GOOD = HEAD + "detection:\n  s: {actionKind: BACKUP}\n  condition: s\n"
LOCATED: list[tuple[str, list[str]]] = [
    # the head
    ("- a\n", ["1:1: a rule must be a mapping"]),
    ("just text\n", ["1:1: a rule must be a mapping"]),
    (GOOD.removeprefix("title: T\n"), ["1:1: Sigma rule must have a title"]),
    ("title: 5\n" + GOOD.removeprefix("title: T\n"), ["1:1: 'title' must be a string: quote it"]),
    (GOOD + "id: nonsense\n", ["6:1: Sigma rule identifier must be an UUID"]),
    (GOOD + "id: 5\n", ["6:1: 'id' must be a string"]),
    (GOOD + "level: hihg\n", ["6:1: 'hihg' is not a valid Sigma rule level: did you mean 'high'?"]),
    (GOOD + "level: 3\n", ["6:1: Sigma rule level must be a string"]),
    (GOOD + "status: stabel\n", ["6:1: 'stabel' is not a valid Sigma rule status: did you mean 'stable'?"]),
    (GOOD + "tags: [impact]\n", ["6:1: Sigma tag must start with namespace"]),
    (GOOD + "date: tomorrow\n", ["6:1: Rule date 'tomorrow' is invalid"]),
    (GOOD + "modified: tomorrow\n", ["6:1: Rule modified 'tomorrow' is invalid"]),
    (GOOD + "name: ''\n", ["6:1: Sigma rule name must not be empty"]),
    (GOOD + "name: actionwatch_self\n", ["6:1: the name 'actionwatch_self' is reserved for actionwatch"]),
    (GOOD + "references: x\n", ["6:1: Sigma rule references must be a list"]),
    (GOOD + "related: [x]\n", ["6:1: Sigma related items must be maps"]),
    # keys
    (GOOD + "levle: high\n", ["6:1: unknown key 'levle': did you mean 'level'?"]),
    (GOOD + "x-owner: me\n", []),
    (GOOD + "mode: shadwo\n", ["6:1: unknown mode 'shadwo': did you mean 'shadow'?"]),
    (GOOD + "when: {outside: [x]}\n",
     ["6:18: no time interval is named 'x': define it under 'time_intervals'"]),
    (GOOD + "when: {}\n", ["6:1: 'when' must contain 'during' or 'outside'"]),
    (GOOD + "when: {outsied: [x]}\n", ["6:8: unknown key 'outsied': did you mean 'outside'?"]),
    (GOOD + "when: {during: x}\n", ["6:8: 'during' must be a list of time intervals"]),
    (GOOD + "tests: {}\n", ["6:1: 'tests' must be a list"]),
    (GOOD + "correlation: {type: event_count}\n",
     ["6:1: 'event_count' needs a 'condition'", "6:1: 'event_count' needs 'timespan'"]),
    ("title: F\nlogsource: {product: instaclustr}\nfilter: {rules: [x], s: {source: a}, condition: not s}\n",
     ["1:1: a filter needs 'owner'", "1:1: a filter needs 'reason'", "1:1: a filter needs 'expires'"]),
    # the log source
    ("title: T\ndetection:\n  s: {actionKind: BACKUP}\n  condition: s\n", ["1:1: a rule needs a 'logsource'"]),
    ("title: T\nlogsource: {}\ndetection:\n  s: {source: a}\n  condition: s\n", ["2:1: 'logsource' must contain a product"]),
    ("title: T\nlogsource: {product: instaclustr, servcie: x}\ndetection:\n  s: {source: a}\n  condition: s\n",
     ["2:35: unknown key 'servcie': did you mean 'service'?"]),
    # the detection
    (HEAD, ["1:1: a rule needs a 'detection'"]),
    (HEAD + "detection: x\n", ["3:1: 'detection' must contain selections"]),
    (HEAD + "detection:\n  condition: s\n",
     ["3:1: no selection is defined", "4:3: the condition names 's', which is not defined"]),
    (HEAD + "detection:\n  s: {source: a}\n", ["3:1: a detection needs a 'condition'"]),
    (HEAD + "detection:\n  s: {source: a}\n  condition: t\n",
     ["5:3: the condition names 't', which is not defined: selections: s"]),
    (HEAD + "detection:\n  selection: {source: a}\n  condition: selction\n",
     ["5:3: the condition names 'selction', which is not defined: did you mean 'selection'?"]),
    (HEAD + "detection:\n  s: {source: a}\n  condition: 1 of t*\n", ["5:3: no selection matches 't*'"]),
    (HEAD + "detection:\n  s: {source: a}\n  condition: s and\n", ["5:3: the condition ends unexpectedly: join selections"]),
    (HEAD + "detection:\n  s: {userName|contains: [" + "a, " * 2000 + "b]}\n  condition: " + "1 of them and " * 49 + "s\n",
     ["5:3: the condition has more than 100000 values: a selection counts each time the condition names it"]),
    (HEAD + "detection:\n  s: {userName|contains: [" + "a, " * 2000 + "b]}\n  condition:\n" + "    - s\n" * 50,
     ["5:3: the condition has more than 100000 values"]),
    (HEAD + "detection:\n  s: {source: a}\n  condition: 2 of s*\n", ["5:3: cannot parse the condition from 'of s*': "]),
    (HEAD + "detection:\n  s: {source: a}\n  condition: ''\n", ["5:3: a condition must be a string"]),
    (HEAD + "detection:\n  s: {source: a}\n  condition: s | count() > 5\n",
     ["5:3: Sigma conditions no longer support '|': use a correlation"]),
    (HEAD + "detection:\n  s: {source: a}\n  condition: 5\n", ["5:3: a condition must be a string"]),
    (HEAD + "detection:\n  s: {source: a}\n  condition:\n    - s\n    - t\n", ["7:7: the condition names 't'"]),
    (HEAD + "detection:\n  s: {source: a}\n  condition: " + "not " * 300 + "s\n", ["5:3: "]),
    (HEAD + "detection:\n  s: {source: a}\n  condition: " + "(" * 3000 + "s" + ")" * 3000 + "\n",
     ["5:3: the condition is longer than 5000"]),
    (HEAD + "detection:\n  s: {source: a}\n  timeframe: 5m\n  condition: s\n", ["5:3: 'timeframe' is obsolete in Sigma"]),
    (HEAD + "detection:\n  not: {source: a}\n  condition: not\n",
     ["5:3: the condition ends unexpectedly"]),
    # selections
    (HEAD + "detection:\n  s:\n    useName: a\n    actoinKind: b\n  condition: s\n",
     ["5:5: unknown field 'useName': did you mean 'userName'?", "6:5: unknown field 'actoinKind': did you mean 'actionKind'?"]),
    (HEAD + "detection:\n  s: {zzz: a}\n  condition: s\n",
     ["4:7: unknown field 'zzz': a field of the raw record is raw.<path>"]),
    (HEAD + "detection:\n  s: {user: a, kind: b}\n  condition: s\n",
     ["4:7: unknown field 'user': did you mean 'userName'?", "4:16: unknown field 'kind': did you mean 'actionKind'?"]),
    (HEAD + "detection:\n  s: {userName|i: a}\n  condition: s\n",
     ["4:7: 'i' is a flag of 're' and has no effect without it: write: userName|re|i"]),
    (HEAD + "detection:\n  s: {timestamp|gte: '2026-03-04'}\n  condition: s\n",
     ["4:7: 'gte' does not take the value '2026-03-04': it compares with a number"]),
    (HEAD + "detection:\n  s: {description|contains: 429}\n  condition: s\n",
     ["4:7: 'contains' does not take the value '429': quote the number"]),
    (HEAD + "detection:\n  s: {userName|contians: a}\n  condition: s\n",
     ["4:7: unknown modifier 'contians': did you mean 'contains'?"]),
    (HEAD + "detection:\n  s: {}\n  condition: s\n", ["4:3: an empty selection matches nothing"]),
    (HEAD + "detection:\n  s: []\n  condition: s\n", ["4:3: an empty selection matches nothing"]),
    (HEAD + "detection:\n  s:\n  condition: s\n", ["4:3: an empty selection matches nothing"]),
    (HEAD + "detection:\n  s: {userName: []}\n  condition: s\n", ["4:7: an empty list matches nothing"]),
    (HEAD + "detection:\n  s: {userName: {a: b}}\n  condition: s\n", ["4:7: a value must be a string"]),
    (HEAD + "detection:\n  s:\n    userName|re:\n      - ok\n      - (?=x)\n      - '['\n  condition: s\n",
     ["7:9: RE2 refuses the pattern '(?=x)'", "8:9: RE2 refuses the pattern '['"]),
    (HEAD + "detection:\n  s: {userName|re: 5}\n  condition: s\n", ["4:7: 're' needs a string"]),
    (HEAD + "detection:\n  s: {userName|exists: yes}\n  condition: s\n",
     ["4:7: 'exists' needs true or false: 'yes' is a string"]),
    (HEAD + "detection:\n  s: {raw.ip|cidr: 10.0.0.1/8}\n  condition: s\n", ["4:7: Invalid CIDR expression"]),
    (HEAD + "detection:\n  s: {raw.n|gt: many}\n  condition: s\n", ["4:7: 'gt' does not take the value 'many'"]),
    (HEAD + "detection:\n  s: {raw.n|gt: null}\n  condition: s\n", ["4:7: 'gt' does not take the value 'null'"]),
    (HEAD + "detection:\n  s: {userName|contains: null}\n  condition: s\n", ["4:7: 'contains' does not take the value 'null'"]),
    (HEAD + "detection:\n  s: {userName|contains: [a, true]}\n  condition: s\n",
     ["4:30: 'contains' does not take the value 'true'"]),
    (HEAD + "detection:\n  s: {timestamp|hour: 25}\n  condition: s\n", ["4:7: 'hour' is never 25, only 0 to 23"]),
    (HEAD + "detection:\n  s: {timestamp|hour: [1, 24]}\n  condition: s\n", ["4:27: 'hour' is never 24, only 0 to 23"]),
    (HEAD + "detection:\n  s: {timestamp|minute: -1}\n  condition: s\n", ["4:7: 'minute' is never -1, only 0 to 59"]),
    (HEAD + "detection:\n  s: {timestamp|month: 0}\n  condition: s\n", ["4:7: 'month' is never 0, only 1 to 12"]),
    (HEAD + "detection:\n  s: {timestamp|week: 54}\n  condition: s\n", ["4:7: 'week' is never 54, only 1 to 53"]),
    (HEAD + "detection:\n  s: {timestamp|day: 32}\n  condition: s\n", ["4:7: 'day' is never 32, only 1 to 31"]),
    (HEAD + "detection:\n  s: {timestamp|hour: 1.5}\n  condition: s\n", ["4:7: a part of a time is never 1.5"]),
    (HEAD + "detection:\n  s: {userName|fieldref: usrName}\n  condition: s\n",
     ["4:7: unknown field 'usrName': did you mean 'userName'?"]),
    (HEAD + "detection:\n  s: {userName|expand: '%admns%'}\n  condition: s\n", ["4:7: there is no list named 'admns'"]),
    (HEAD + "detection:\n  s: {userName|base64: 'a*'}\n  condition: s\n", ["4:7: Base64 encoding of strings with wildcards"]),
    (HEAD + "detection:\n  s: [a, null]\n  condition: s\n", ["4:10: a value of the type Null cannot be searched"]),
    (HEAD + "detection:\n  s: {'|cidr': 10.0.0.0/8}\n  condition: s\n", ["4:7: a value of the type CIDRExpression cannot"]),
    (HEAD + "detection:\n  s: {'': a}\n  condition: s\n", ["4:7: an empty field name"]),
    (HEAD + "detection:\n  s: {5: a}\n  condition: s\n", ["4:7: unknown field '5'"]),
    # the alert block
    (GOOD + "alert: loud\n", ["6:1: 'alert' must be a mapping"]),
    (GOOD + "alert:\n  titel: x\n", ["7:3: unknown key 'titel': did you mean 'title'?"]),
    (GOOD + "alert:\n  escalate: {after: 15m}\n", ["7:3: 'escalate' needs 'after' and 'to'"]),
    (GOOD + "alert:\n  escalate: {after: 1, to: b}\n", ["7:14: not a duration"]),
    (GOOD + "alert:\n  escalate: {after: 15m, unless: resolved, to: b}\n", ["7:26: 'unless' must be acked"]),
    (GOOD + "alert:\n  escalate: {after: 15m, to: 1, when: x}\n", ["7:33: unknown key 'when'", "7:26: 'to' must be"]),
    (GOOD + "alert:\n  title: '{{ usrName }}'\n", ["7:3: unknown variable 'usrName': did you mean 'userName'?"]),
    (GOOD + "alert:\n  title: '{{ cluster.nmae }}'\n", ["7:3: 'cluster' has no 'nmae': did you mean 'name'?"]),
    (GOOD + "alert:\n  body: '{{ userName'\n", ["7:3: not a template: "]),
    (GOOD + "alert:\n  body: '{{ userName | shout }}'\n", ["7:3: not a template: No filter named 'shout'"]),
    (GOOD + "alert:\n  body: \"{% include 'x' %}\"\n", ["7:3: the text of a rule cannot include other templates"]),
    (GOOD + "alert:\n  title: 5\n", ["7:3: 'title' must be a string"]),
    (GOOD + "alert:\n  level: sever\n", ["7:3: unknown level 'sever'"]),
    (GOOD + "alert:\n  level: {critcal: {actionKind: BACKUP}}\n", ["7:11: unknown level 'critcal': did you mean 'critical'?"]),
    (GOOD + "alert:\n  level:\n    critical: {userNam: x}\n", ["8:16: unknown field 'userNam': did you mean 'userName'?"]),
    (GOOD + "alert:\n  fields: [userName, clustr]\n", ["7:22: unknown field 'clustr': did you mean 'cluster'?"]),
    (GOOD + "alert:\n  group_by: userName\n", ["7:3: 'group_by' must be a list of fields"]),
    (GOOD + "alert:\n  group_by: []\n", ["7:3: 'group_by' must be a list of fields"]),
    (GOOD + "alert:\n  group_by: [userName, userName]\n", ["7:24: 'userName' occurs twice"]),
    (GOOD + "alert:\n  group_by: [userName]\n  realert: soon\n", ["8:3: not a duration"]),
    (GOOD + "alert:\n  group_by: [userName]\n  realert: 0s\n", ["8:3: 'realert' must be longer than 0"]),
    (GOOD + "alert:\n  labels: [a]\n", ["7:3: 'labels' must map names to strings"]),
    (GOOD + "alert:\n  labels: {rule: x}\n", ["7:12: the label 'rule' is set by actionwatch"]),
    (GOOD + "alert:\n  labels: {team: [a]}\n", ["7:12: the label 'team' must be a string"]),
    (GOOD + "alert:\n  labels: {a b: x}\n", ["7:12: 'a b' is not a label name"]),
    # YAML itself
    ("title: a: b\n", ["1:9: not YAML"]),
    ("title: T\ntitle: U\n", ["2:1: not YAML"]),
]  # fmt: skip


@in_one_test(("text", "expected"), LOCATED)
def test_faults_are_located(text: str, expected: list[str], tmp_path: Path) -> None:
    """Each fault has its line, its column and a message."""
    file = tmp_path / "r.yml"
    file.write_text(text)
    loaded = load_rules([file], lists=None, known_kinds=KINDS)
    found = [str(fault).removeprefix(f"{file}:") for fault in loaded.faults]
    assert len(found) == len(expected), found
    for fault, beginning in zip(found, expected, strict=True):
        assert fault.startswith(beginning)
    assert bool(loaded.rules) is not bool(expected)


NOTED: list[tuple[str, str | None]] = [
    (HEAD + "detection:\n  s: {actionKind: [BACKUP, DELET_CLUSTER]}\n  condition: s\n",
     "4:28: no known actionKind matches 'DELET_CLUSTER': did you mean 'DELETE_CLUSTER'?"),
    (HEAD + "detection:\n  s: {actionKind|startswith: ADMN_}\n  condition: s\n", "4:7: no known actionKind matches 'ADMN_'"),
    (HEAD + "detection:\n  s: {actionKind|neq: BACKUPP}\n  condition: s\n", "4:7: no known actionKind matches 'BACKUPP'"),
    (HEAD + "detection:\n  s: {actionKind: '*_BACKUP_*'}\n  condition: s\n", "4:7: no known actionKind matches '*_BACKUP_*'"),
    (HEAD + "detection:\n  s: {actionKind: 'ADMIN_*', crudOperation: UPDATE}\n  condition: s\n", None),
    (HEAD + "detection:\n  s: {actionKind: null}\n  condition: s\n", None),
    (HEAD + "detection:\n  s: {crudOperation: REMOVE}\n  condition: s\n", "4:7: no known crudOperation matches 'REMOVE'"),
    (HEAD + "detection:\n  s: {scope: org}\n  condition: s\n", "4:7: no known scope matches 'org'"),
    (GOOD + "alert:\n  realert: 5m\n", "7:3: 'realert' has no effect"),
]  # fmt: skip


@in_one_test(("text", "expected"), NOTED)
def test_unlikely_values_are_noted(text: str, expected: str | None) -> None:
    """A value that matches no known value is noted with a suggestion, and the rule runs."""
    loaded = rules_in(text)
    assert (len(loaded.rules), loaded.faults) == (1, ())
    assert len(loaded.notes) == (expected is not None)
    assert all(str(note).startswith(f"r.yml:{expected}") for note in loaded.notes)


@pytest.mark.parametrize(
    "logsource",
    ["{product: windows}", "{product: instaclustr, service: billing}", "{category: process_creation}"],
)
def test_rules_for_others_are_skipped(logsource: str) -> None:
    """A rule for another log source is skipped with a note, and its fields are not checked."""
    loaded = rules_in(f"title: T\nlogsource: {logsource}\ndetection:\n  s: {{EventID: 1}}\n  condition: s\n")
    assert (loaded.rules, loaded.faults) == ((), ())
    assert [(note.line, note.column) for note in loaded.notes] == [(2, 1)]


@pytest.mark.parametrize(
    ("logsource", "expected"),
    [
        ("{product: instacluster}", "2:13: unknown product 'instacluster': did you mean 'instaclustr'?"),
        (
            "{product: instaclustr, service: user-action}",
            "2:35: unknown service 'user-action': did you mean 'user_actions'?",
        ),
    ],
)
def test_a_misspelt_log_source_is_a_fault(logsource: str, expected: str) -> None:
    """A misspelt log source is a fault."""
    loaded = rules_in(f"title: T\nlogsource: {logsource}\n")
    assert [str(fault) for fault in loaded.faults] == [f"r.yml:{expected}"]
    assert loaded.notes == ()


def test_a_bad_document_drops_only_itself() -> None:
    """The other documents of the file are used."""
    text = (
        GOOD
        + "---\n"
        + GOOD.replace("title: T", "title: Bad")
        + "levle: x\n---\n"
        + GOOD.replace("title: T", "title: U")
    )
    loaded = rules_in(text)
    assert [rule.name.title for rule in loaded.rules] == ["T", "U"]
    assert [rule.line for rule in loaded.rules] == [1, 14]
    assert [(fault.line, fault.column) for fault in loaded.faults] == [(12, 1)]


def test_equal_names_are_faults() -> None:
    """The second rule with the same name or id is refused, and the fault names the first."""
    identity = "id: 1f0c6a0e-7a0b-4d50-9f9c-0d1f6c1d2a01\n"
    first, second = GOOD + identity + "name: n\n", GOOD + identity.upper().replace("ID:", "id:") + "name: m\n"
    loaded = rules_in(f"{first}---\n{second}---\n{GOOD}name: n\n")
    assert len(loaded.rules) == 1
    assert [str(fault).split(": give")[0] for fault in loaded.faults] == [
        "r.yml:14:1: the id '1f0c6a0e-7a0b-4d50-9f9c-0d1f6c1d2a01' is already used by the rule at r.yml:1",
        "r.yml:22:1: the name 'n' is already used by the rule at r.yml:1",
    ]


def test_sigma_metadata_loads_unchanged() -> None:
    """A rule with all metadata of Sigma loads without changes."""
    text = GOOD + (
        "id: 1f0c6a0e-7a0b-4d50-9f9c-0d1f6c1d2a01\nname: n\nstatus: experimental\ndescription: d\nauthor: a\n"
        "date: 2025-01-02\nmodified: 2025/02/03\nreferences: [https://example.com]\nlicense: MIT\nlevel: informational\n"
        "tags: [attack.impact, attack.t1485]\nfalsepositives: [none]\nfields: [userName]\nscope: [x]\ntaxonomy: sigma\n"
        "related: [{id: 1f0c6a0e-7a0b-4d50-9f9c-0d1f6c1d2a02, type: derived}]\n"
    )
    loaded = rules_in(text)
    assert (loaded.faults, loaded.notes) == ((), ())
    (rule,) = loaded.rules
    assert rule.level is Level.INFORMATIONAL
    assert rule.name.tags == ("attack.impact", "attack.t1485")


def test_missing_keys_have_defaults() -> None:
    """Without level, id and name, a rule is medium and its name is made from its title."""
    (rule,) = rules_in(GOOD.replace("title: T", "title: 'Cluster  deleted!'")).rules
    assert (rule.level, rule.name.name, rule.name.id, rule.name.title) == (
        Level.MEDIUM, "cluster_deleted", "cluster_deleted", "Cluster deleted!",
    )  # fmt: skip


def test_selections_can_be_run_alone() -> None:
    """Each selection of a detection can be run separately, as the parts of a correlation."""
    detection = {"a": {"userName": "x"}, "b": {"userName": "y"}, "condition": "a and not b"}
    assert list(compile_detection(detection, Lists({})).selections) == ["a", "b"]


def test_folders_are_read_recursively_in_order(tmp_path: Path) -> None:
    """Folders are read recursively in order, without hidden folders, and each file once."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "..data").mkdir()
    for name, title in (("b.yml", "B"), ("sub/a.yaml", "A"), ("..data/b.yml", "Hidden"), ("c.txt", "Other")):
        (tmp_path / name).write_text(GOOD.replace("title: T", f"title: {title}"))
    loaded = load_rules([tmp_path, tmp_path / "b.yml"], lists=None, known_kinds=KINDS)
    assert [rule.name.title for rule in loaded.rules] == ["B", "A"]
    assert loaded.faults == ()


def test_missing_and_broken_files(tmp_path: Path) -> None:
    """A missing path is a fault, an empty folder a note, and a broken file hides no other."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "good.yml").write_text(GOOD)
    (tmp_path / "bad.yml").write_text("a: [\n")
    (tmp_path / "latin.yml").write_bytes(b"title: \xe9\n")
    loaded = load_rules([tmp_path, tmp_path / "gone", tmp_path / "empty"], lists=None, known_kinds=KINDS)
    assert len(loaded.rules) == 1
    assert sorted(Path(fault.file).name for fault in loaded.faults) == ["bad.yml", "gone", "latin.yml"]
    assert [str(note) for note in loaded.notes] == [
        f"{tmp_path / 'empty'}: no rule file in this folder: rule files end in .yml or .yaml"
    ]


@pytest.mark.parametrize("target", ["nothing.yml", "r.yml"])
def test_a_broken_link_is_a_fault(target: str, tmp_path: Path) -> None:
    """A broken link, a link to itself, or a FIFO is a fault. A folder with the name of a file is none."""
    (tmp_path / "r.yml").symlink_to(target)
    (tmp_path / "folder.yml").mkdir()
    os.mkfifo(tmp_path / "pipe.yml")
    pipe, fault = load_rules([tmp_path], lists=None, known_kinds=KINDS).faults
    assert (Path(fault.file).name, fault.what[:22]) == ("r.yml", "cannot read the file: ")
    assert (Path(pipe.file).name, pipe.what) == ("pipe.yml", "the file is a FIFO, not a regular file")


def test_rules_can_include_lists(tmp_path: Path) -> None:
    """A folder of rules can contain its lists. A list of the operator replaces them, even if it is broken."""
    brought, own = tmp_path / "rules" / "lists", tmp_path / "lists"
    brought.mkdir(parents=True)
    own.mkdir()
    (brought / "admins.yml").write_text("[root]")
    (brought / "robots.txt").write_text("svc\n")
    (tmp_path / "rules" / "r.yml").write_text(
        HEAD + "detection:\n  s:\n    userName|expand: ['%admins%', '%robots%']\n  condition: s\n"
    )

    def users() -> list[str | None]:
        loaded = load_rules([tmp_path / "rules"], lists=own, known_kinds=KINDS)
        assert loaded.faults == ()
        records = [record(user=user, key=user) for user in ("root", "svc", "eve")]
        return [match.record.user_name for match in Engine(loaded.rules).evaluate(records)]

    assert users() == ["root", "svc"]
    (own / "admins.txt").write_text("eve\n")
    assert users() == ["svc", "eve"]
    (own / "admins.csv").write_text("eve\n")
    faults = load_rules([tmp_path / "rules"], lists=own, known_kinds=KINDS).faults
    assert [fault.what for fault in faults] == [
        "a second list named 'admins'",
        "the list 'admins' has faults",
    ]


def test_lists_are_read(tmp_path: Path) -> None:
    """Lists can be YAML, text or CSV, and a fault has its location."""
    (tmp_path / "a.yml").write_text("- root\n- 5\n")
    (tmp_path / "b.txt").write_text("# comment\nx\n\n y \n")
    (tmp_path / "c.csv").write_text('first,second\n"q, r",2\n')
    (tmp_path / "d.yml").write_text("- ok\n- [a]\n")
    (tmp_path / "README.md").write_text("not a list")
    (tmp_path / "rules").mkdir()
    rule = tmp_path / "rules" / "r.yml"
    rule.write_text(
        HEAD
        + "detection:\n  s:\n    userName|expand: ['%a%', '%b%', '%c%']\n    account|expand: '%d%'\n  condition: s\n"
    )
    loaded = load_rules([rule], lists=tmp_path, known_kinds=KINDS)
    found = [(Path(fault.file).name, fault.line, fault.column, fault.what) for fault in loaded.faults]
    assert found == [
        ("d.yml", 2, 3, "an item of a list must be a string or a number"),
        ("r.yml", 6, 5, "the list 'd' has faults"),
    ]


def test_a_huge_list_is_not_read(tmp_path: Path) -> None:
    """A file of 64 GiB is refused without being read completely."""
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(1 << 36)
    (fault,) = read_lists({tmp_path: tmp_path}).faults
    assert fault.what == f"the file is larger than {MAX_BYTES} bytes"


def test_a_time_without_quotes_is_text() -> None:
    """A condition on `timestamp` matches the text of the time, as with quotes."""
    rules = rules_in(HEAD + "detection:\n  s: {timestamp: 2026-03-04T05:06:07.000Z}\n  condition: s\n")
    assert rules.faults == ()
    assert len(Engine(rules.rules).evaluate([record()])) == 1

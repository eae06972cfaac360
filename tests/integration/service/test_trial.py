"""The trial of a draft on a real store: in a real process, or in this one where the process does not matter."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from actionwatch.rules.trial import TrialEvent, TrialProgress, TrialRefused, TrialResult
from actionwatch.service import trial, trial_process
from actionwatch.service.configuration import read_settings
from actionwatch.service.trial import BUSY, Trials, request_of
from actionwatch.store import marks, records
from actionwatch.store.database import Database
from tests.builders import CLUSTER_DELETED_RULE, NOON, make_marks, make_record

pytestmark = pytest.mark.usefixtures("unguarded")  # the trial opens the store in another process
HOUR = timedelta(hours=1)
DRAFT = """
title: Draft
name: drafted
level: high
logsource: {product: instaclustr, service: user_actions}
detection: {selection: {actionKind: DELETE_CLUSTER, userName: eve}, condition: selection}
alert: {title: 'draft: {{ userName }}', group_by: [cluster.id], realert: 1s}
"""
COUNTED = """
title: Many
name: many
level: high
logsource: {product: instaclustr, service: user_actions}
correlation: {type: event_count, rules: [cluster_deleted], group-by: [userName], timespan: 10m, condition: {gte: 3}}
"""
LISTED = DRAFT.replace("userName: eve", "'userName|expand': '%people%'")
TESTED = (
    DRAFT
    + """
tests:
  - name: of somebody
    events: [{actionKind: DELETE_CLUSTER, userName: bob}]
    expect: alert
  - name: of eve
    events: [{actionKind: DELETE_CLUSTER, userName: eve}]
    expect: alert
"""
)
DENIED = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
rules = [(0x20, 0, 0, 0), (0x15, 0, 1, 141), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]  # setpriority: EPERM
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in rules))
class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("rules", ctypes.c_void_p)]
program = Program(len(rules), ctypes.cast(code, ctypes.c_void_p))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
"""
NEEDS_LITTLE = """
from actionwatch.service import trial_process
for line in open("/proc/self/status"):
    if line.startswith("VmData"):
        trial_process._MAX_BYTES = int(line.split()[1]) * 1024 + 8 * 2**20
trial_process.main()
"""


class Place:
    """A configuration with rules and lists, and a store with records."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.database = database
        (folder / "rules").mkdir()
        (folder / "lists").mkdir()
        (folder / "rules" / "one.yml").write_text(CLUSTER_DELETED_RULE)
        (folder / "lists" / "people.txt").write_text("bob\n")
        self.config = folder / "actionwatch.yaml"
        self.config.write_text(
            "sources: [{name: acme, organisation_id: '11111111-2222-4333-8444-555555555555', username: u, api_key: k}]\n"
            f"receivers: [{{name: screen, console: {{}}}}]\nstore: {{url: '{database.name}'}}\n".replace(
                "url: '/", "url: 'sqlite:////"
            )
        )
        self.settings = read_settings(self.config, {})
        self.trials = Trials(self.settings)

    def store(self, *users: str) -> None:
        """Store a deletion a minute, proved."""
        made = [make_record(number, minutes=number, user_name=user) for number, user in enumerate(users)]
        with self.database.write() as connection:
            records.insert_new(connection, made)
            marks.write(connection, make_marks(mark=NOON + HOUR, seen_through=NOON + HOUR, proved_through=NOON + HOUR))

    def run(self, draft: str) -> TrialEvent:
        """Return how a trial ends."""
        return list(self.trials.run(draft, NOON - HOUR))[-1]

    def result(self, draft: str) -> TrialResult:
        """Return the result of a trial."""
        found = self.run(draft)
        assert isinstance(found, TrialResult), found
        return found

    def faults(self, draft: str) -> list[str]:
        """Return why a draft is refused."""
        found = self.run(draft)
        assert isinstance(found, TrialRefused), found
        return found.faults

    def answer(self, draft: str) -> TrialResult | TrialRefused:
        """Return what the process would answer, without starting one: that takes a second of CPU."""
        return trial_process.answer(request_of(self.settings, draft, NOON - HOUR), lambda event: None)

    def alert_counts(self, draft: str) -> list[tuple[str, int]]:
        """Return how many alerts each rule of a draft would have opened, without starting a process."""
        found = self.answer(draft)
        assert isinstance(found, TrialResult), found
        return [(each.name, each.alert_count) for each in found.rules]


@pytest.fixture
def place(tmp_path: Path, database: Database) -> Place:
    """Write the configuration."""
    return Place(tmp_path, database)


def test_result(place: Place) -> None:
    """A trial says which alerts the rule would have opened, when, and for which records."""
    place.store("eve", "bob", "eve")
    result = place.result(DRAFT)
    (rule,) = result.rules
    assert (result.start, result.end, result.record_count, result.is_cut) == (NOON, NOON + HOUR, 3, False)
    assert (rule.name, rule.level, rule.alert_count, rule.record_count, rule.errors) == ("drafted", "high", 2, 2, [])
    newest = rule.newest[0]
    assert (newest.title, newest.at) == ("draft: eve", NOON + timedelta(minutes=2))
    assert newest.record_key == make_record(2, minutes=2).key
    assert (sum(rule.counts), len(rule.counts)) == (2, trial_process.BARS)
    with place.database.read() as connection:
        assert not connection.exec_driver_sql("SELECT count(*) FROM alert").scalar()


def test_draft_takes_the_place_of_a_rule(place: Place) -> None:
    """A draft with the name of a rule in use replaces it, also for correlations, and runs although it is off."""
    place.store("eve", "eve", "bob", "eve")
    changed = DRAFT.replace("drafted", "cluster_deleted").replace("level: high", "level: high\nmode: 'off'")
    assert place.alert_counts(changed) == [("cluster_deleted", 3)]
    assert place.alert_counts(f"{changed}---\n{COUNTED}") == [("many", 1)], "the other only feeds it"


def test_draft_sees_rules_and_lists_in_use(place: Place) -> None:
    """A correlation counts the matches of a rule in use, and a list is that of the service."""
    place.store("eve", "bob", "eve", "eve")
    assert place.alert_counts(COUNTED) == [("many", 1)]
    assert place.alert_counts(LISTED) == [("drafted", 1)]


def test_tests_of_the_draft(place: Place) -> None:
    """The tests in the draft run; those that fail are named."""
    place.store("eve")
    (rule,) = place.result(TESTED).rules
    assert (rule.test_count, [each.name for each in rule.failed_tests]) == (2, ["of somebody"])
    assert rule.failed_tests[0].problems
    assert TESTED.splitlines()[rule.failed_tests[0].line - 1].strip() == "- name: of somebody"


@pytest.mark.parametrize(
    ("draft", "fault"),
    [
        ("title: [\n", "draft:2:1: not YAML"),
        (DRAFT.replace("level: high", "level: severe"), "draft:4:1: 'severe'"),
        (DRAFT.replace("userName", "userNam"), "did you mean 'userName'"),
        ("", "the draft has no rule"),
        ("a: &a [1]\nb: [*a, *a]\n", "draft:"),
    ],
)
def test_faults_have_a_place(place: Place, draft: str, fault: str) -> None:
    """A draft that is broken is refused with the places and remedies of 'rules check'."""
    place.store("eve")
    found = place.answer(draft)
    assert isinstance(found, TrialRefused), found
    assert any(fault in each for each in found.faults), found


def test_probable_mistakes_are_noted(place: Place) -> None:
    """A kind that nobody knows is no fault, but named."""
    place.store("eve")
    assert "DELETE_CLUSTR" in place.result(DRAFT.replace("DELETE_CLUSTER", "DELETE_CLUSTR")).notes[0]


def test_store_without_a_poll(place: Place) -> None:
    """Before the first poll there is nothing to try a draft on."""
    assert place.faults(DRAFT) == ["no source has been polled yet: wait for the first poll"]


def test_one_at_a_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second trial is refused while one runs; the next one runs."""
    monkeypatch.setattr(trial, "TURN_SECONDS", 0.1)
    place.store("eve")
    first = place.trials.run(DRAFT, NOON)
    next(first)
    assert place.faults(DRAFT) == [BUSY]
    first.close()
    assert place.result(DRAFT).rules


def _command(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(trial, "_COMMAND", (sys.executable, "-c", text))


def test_end_of_the_request_ends_the_process(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial whose result nobody waits for any longer is killed."""
    line = '{"type":"progress","record_count":1,"through":"2026-01-01T00:00:00Z"}'
    _command(monkeypatch, f"import os, signal\nprint('{line}', flush=True)\nsignal.pause()")
    events = place.trials.run(DRAFT, NOON)
    assert isinstance(next(events), TrialProgress)
    events.close()  # it returns when the process has ended
    monkeypatch.undo()
    place.store("eve")
    assert place.result(DRAFT).rules


def test_silent_process_can_be_left(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the process is silent, the iterator yields the last progress again, so that whoever iterates can leave."""
    _command(monkeypatch, "import signal\nsignal.pause()")
    monkeypatch.setattr(trial, "_LOOK_SECONDS", 0.01)
    events = place.trials.run(DRAFT, NOON)
    assert [next(events), next(events)] == [TrialProgress(0, NOON)] * 2
    events.close()


def test_sandbox_without_priorities(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a sandbox denies a change of priority, as the systemd unit does, a trial runs with the usual one."""
    place.store("eve")
    _command(monkeypatch, DENIED + "from actionwatch.service import trial_process\ntrial_process.main()")
    assert place.result(DRAFT).rules


def test_sources_that_began_at_different_times(place: Place) -> None:
    """A source that was added later hides no record of the others, as in 'rules backtest'."""
    place.store("eve", "eve")
    with place.database.write() as connection:
        later = NOON + HOUR
        marks.write(connection, make_marks(name="young", begins_at=later, mark=later, seen_through=later))
    assert place.alert_counts(DRAFT) == [("drafted", 2)]


def test_text_that_no_encoding_accepts(place: Place) -> None:
    """A title with a lone surrogate of the upstream is shown with a replacement."""
    place.store("eve")
    with place.database.write() as connection:
        broken = make_record(9, minutes=9, raw=r'{"x": "a\ud800b"}')
        records.insert_new(connection, [broken])
    titled = DRAFT.replace("draft: {{ userName }}", "draft: {{ raw.x }}")
    assert place.result(titled).rules[0].newest[0].title == "draft: a\ufffdb"


def test_process_that_dies(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends without a result is an error with its status and last words in the log."""
    _command(monkeypatch, "raise SystemExit('out of luck')")
    with capture_logs() as logs:
        assert "trial_failed" in place.faults(DRAFT)[0]
    assert [(each["event"], each["status"], each["error"]) for each in logs] == [("trial_failed", 1, "out of luck\n")]


def test_memory_has_a_bound(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that needs too much memory says so, and what to do."""
    place.store(*(f"user{number}" for number in range(20_000)))
    _command(monkeypatch, NEEDS_LITTLE)
    assert "choose a shorter time, or narrow the rule" in place.faults(CLUSTER_DELETED_RULE)[0]


def test_time_has_a_bound(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, a trial ends with the result for the records so far, and without the absences after them."""
    place.store("eve", "bob", "eve")
    monkeypatch.setattr(trial_process, "RUN_SECONDS", 0.0)
    seen: list[TrialEvent] = []
    request = request_of(place.settings, DRAFT + "---\n" + _absence(), NOON)
    result = trial_process.run(request, seen.append)
    assert (result.is_cut, result.record_count, result.end, _counts(result)) == (True, 0, NOON, [0, 0])
    monkeypatch.setattr(trial_process, "RUN_SECONDS", 60.0)
    monkeypatch.setattr(trial_process, "_PROGRESS_SECONDS", 0.0)
    assert _counts(trial_process.run(request, seen.append)) == [2, 1]
    assert [each.record_count for each in seen if isinstance(each, TrialProgress)] == [0, 1, 2]


def _absence() -> str:
    """Write a rule that opens if nothing happens for half an hour."""
    return (
        "title: Quiet\nname: quiet\nlevel: low\nlogsource: {product: instaclustr, service: user_actions}\n"
        "detection: {selection: {actionKind: CREATE_CLUSTER}, condition: selection}\n"
        "correlation: {type: event_count, timespan: 30m, condition: {lt: 1}}\n"
    )


def _counts(result: TrialResult) -> Sequence[int]:
    return [rule.alert_count for rule in result.rules]

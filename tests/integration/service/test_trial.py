"""The trial of a draft on a real store: in a real process, or by the command in this one where the process does not matter."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from actionwatch.base.model import Record
from actionwatch.cli.rules import backtest_summary
from actionwatch.rules.trial import TrialEvent, TrialProgress, TrialRefused, TrialResult
from actionwatch.service import trial
from actionwatch.service.configuration import read_settings
from actionwatch.service.trial import BUSY, Trials
from actionwatch.store import marks, records
from actionwatch.store.database import Database
from tests.builders import CLUSTER_DELETED_RULE, NOON, make_marks, make_record
from tests.children import child
from tests.integration.cli.conftest import Called, call
from tests.waiting import LIMIT, wait_until

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
import sys
from actionwatch.service import limited
limited.MAX_BYTES = {bytes}
limited.main()
"""
BEFORE = NOON - HOUR


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
        self.trials = Trials(self.config)
        self.draft = folder / "draft.yml"

    def store(self, *users: str) -> None:
        """Store a deletion a minute, proved."""
        made = [make_record(number, minutes=number, user_name=user) for number, user in enumerate(users)]
        with self.database.write() as connection:
            records.insert_new(connection, made)
            marks.write(connection, make_marks(mark=NOON + HOUR, seen_through=NOON + HOUR, proved_through=NOON + HOUR))

    async def events(self, draft: str) -> list[TrialEvent]:
        """Return all events of a trial."""
        return [event async for event in self.trials.run(draft, BEFORE)]

    def run(self, draft: str) -> TrialEvent:
        """Return how a trial ends."""
        return asyncio.run(self.events(draft))[-1]

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

    def command(self, draft: str, *options: str) -> Called:
        """Run the command in this process, because to start one takes a second of CPU."""
        self.draft.write_text(draft)
        backtest = (
            "rules",
            "backtest",
            str(self.draft),
            "--with-configured",
            "--since",
            BEFORE.isoformat(),
            "--summary",
        )
        return call("-c", str(self.config), *backtest, *(options or ("-o", "json")))

    def answer(self, draft: str) -> TrialResult:
        """Return what the command prints."""
        called = self.command(draft)
        assert called.status == 0, called
        found = msgspec.json.decode(called.out, type=TrialEvent)
        assert isinstance(found, TrialResult), found
        return found

    def alert_counts(self, draft: str) -> list[tuple[str, int]]:
        """Return how many alerts each rule of a draft would have opened."""
        return [(each.name, each.alert_count) for each in self.answer(draft).rules]


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
    assert (sum(rule.counts), len(rule.counts)) == (2, backtest_summary.BARS)
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
        ("title: [\n", "draft.yml:2:1: not YAML"),
        (DRAFT.replace("level: high", "level: severe"), "draft.yml:4:1: 'severe'"),
        (DRAFT.replace("userName", "userNam"), "did you mean 'userName'"),
        ("", "the draft has no rule"),
        ("a: &a [1]\nb: [*a, *a]\n", "draft.yml:"),
    ],
)
def test_faults_have_a_place(place: Place, draft: str, fault: str) -> None:
    """A draft that is broken is refused with the places and remedies of 'rules check'."""
    place.store("eve")
    called = place.command(draft)
    assert called.status in (1, 2)
    assert fault in called.err


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

    async def three() -> tuple[TrialEvent, TrialEvent]:
        first = place.trials.run(DRAFT, NOON)
        await anext(first)
        second = await place.events(DRAFT)
        await first.aclose()
        return second[-1], (await place.events(DRAFT))[-1]

    second, third = asyncio.run(three())
    assert second == TrialRefused([BUSY])
    assert isinstance(third, TrialResult)


def _command(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(trial, "_COMMAND", (sys.executable, "-c", text))


SILENT = """
import json, os, signal
print(json.dumps({"type": "progress", "record_count": os.getpid(), "through": "2026-01-01T00:00:00Z"}), flush=True)
signal.pause()
"""
"""A process whose only progress is its id."""


def test_end_of_the_request_ends_the_process(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial whose result nobody waits for any longer is killed; while it is silent, the last progress comes again."""
    _command(monkeypatch, SILENT)
    monkeypatch.setattr(trial, "_LOOK_SECONDS", 0.01)

    async def leave() -> int:
        events = place.trials.run(DRAFT, NOON)
        async for event in events:
            assert isinstance(event, TrialProgress)
            if event.record_count:
                assert await anext(events) == event
                await events.aclose()
                return event.record_count
        raise AssertionError("no progress")

    process = asyncio.run(leave())
    wait_until(lambda: not is_running(process), "the end of the process")
    monkeypatch.undo()
    place.store("eve")
    assert place.result(DRAFT).rules


SERVICE = """
import asyncio, pathlib, sys
from datetime import UTC, datetime
from actionwatch.service import limited, trial
trial._COMMAND = (sys.executable, "-c", sys.argv[2])
async def main():
    async for event in trial.Trials(pathlib.Path(sys.argv[1])).run("x", datetime.now(UTC)):
        print(event.record_count, flush=True)
asyncio.run(main())
"""


def test_process_ends_with_the_service(place: Place) -> None:
    """A trial ends with the service, also when that is killed and can clean nothing up."""
    text = f"from actionwatch.service import limited\nlimited.os.execv = lambda *_: exec({SILENT!r})\nlimited.main()"
    with child([sys.executable, "-c", SERVICE, place.config, text], stdout=subprocess.PIPE) as service:
        assert service.stdout is not None
        process = next(number for line in service.stdout if (number := int(line)))
        assert is_running(process)
        service.kill()
        service.wait(LIMIT)
        wait_until(lambda: not is_running(process), "the end of the process")


def is_running(process: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_progress_of_the_command(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With -o jsonl, the command prints how many records it read, on how many the rules ran, and then the result."""
    monkeypatch.setattr(backtest_summary, "_PROGRESS_SECONDS", 0.0)
    place.store("eve", "bob", "eve")
    lines = [
        msgspec.json.decode(line, type=TrialEvent) for line in place.command(DRAFT, "-o", "jsonl").out.splitlines()
    ]
    progress = [(each.step, each.record_count) for each in lines if isinstance(each, TrialProgress)]
    assert progress == [("read", 1), ("read", 2), ("read", 3), ("run", 1), ("run", 2), ("run", 3)]
    assert isinstance(lines[-1], TrialResult)


def test_sandbox_without_priorities(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a sandbox denies a change of priority, as the systemd unit does, a trial runs with the usual one."""
    place.store("eve")
    _command(monkeypatch, DENIED + "from actionwatch.service import limited\nlimited.main()")
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
    _command(monkeypatch, "import sys\nprint('out of luck', file=sys.stderr)\nsys.exit(3)")
    with capture_logs() as logs:
        assert "trial_failed" in place.faults(DRAFT)[0]
    assert [(each["event"], each["status"], each["error"]) for each in logs] == [("trial_failed", 3, "out of luck\n")]


def test_memory_has_a_bound(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that needs too much memory says so, and what to do."""
    place.store(*(f"user{number}" for number in range(20_000)))
    _command(monkeypatch, NEEDS_LITTLE.format(bytes=40 * 2**20))
    assert "choose a shorter time, or narrow the rule" in place.faults(CLUSTER_DELETED_RULE)[0]


def test_kernel_ends_what_takes_too_long(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that takes longer than the service waits says so."""
    _command(monkeypatch, "import os, signal\nos.kill(os.getpid(), signal.SIGALRM)\nsignal.pause()")
    assert "takes more than 50 seconds" in place.faults(DRAFT)[0]


def test_time_has_a_bound(place: Place) -> None:
    """After its time, a backtest ends with the result for the records so far, and without the absences after them."""
    place.store("eve", "bob", "eve")
    both = DRAFT + "---\n" + _absence()
    called = place.command(both, "--max-time", "0", "-o", "json")
    assert called.status == 0, called
    cut = msgspec.json.decode(called.out, type=TrialResult)
    assert (cut.is_cut, cut.record_count, _counts(cut)) == (True, 0, [0, 0])
    assert _counts(place.answer(both)) == [2, 1]


def test_reading_leaves_time_to_run() -> None:
    """Reading takes at most half of the time, so that the rules run on what was read."""
    now = 0
    watch = backtest_summary.Watch(timedelta(seconds=10), is_reported=False, elapsed=lambda: now)

    def slow() -> Iterator[Record]:
        nonlocal now
        for number in range(20):
            now += 1
            yield make_record(number, minutes=number)

    read = list(watch.reading(slow()))
    assert len(read) == 4
    assert list(watch.running(read)) == read
    assert watch.is_cut


def _absence() -> str:
    """Write a rule that opens if nothing happens for half an hour."""
    return (
        "title: Quiet\nname: quiet\nlevel: low\nlogsource: {product: instaclustr, service: user_actions}\n"
        "detection: {selection: {actionKind: CREATE_CLUSTER}, condition: selection}\n"
        "correlation: {type: event_count, timespan: 30m, condition: {lt: 1}}\n"
    )


def _counts(result: TrialResult) -> Sequence[int]:
    return [rule.alert_count for rule in result.rules]

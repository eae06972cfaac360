"""`streams`: people see each stream, test it, pause it, rewind it, and decide about what its destination refused."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from actionwatch.base.clock import utc_now
from actionwatch.store import streams
from actionwatch.store.streams import KeptMessage
from tests.children import run_child
from tests.integration.cli.conftest import Desk
from tests.integration.streams.kit import messages_in

CONSUMER = Path(__file__).parents[3] / "docs" / "stream_consumer.py"


@pytest.fixture
def lake(desk: Desk) -> Desk:
    """A desk with a stream into a folder, and five actions in the upstream."""
    (desk.folder / "lake").mkdir()
    desk.more = (
        "streams:\n  - name: lake\n    start: beginning\n    wait: 0s\n"
        f"    files: {{url: 'file://{desk.folder}/lake'}}\n"
    )
    for minutes in (300, 240, 200, 150, 100):
        desk.act("CREATE_CLUSTER", minutes)
    return desk.write()


def lines(desk: Desk) -> list[dict[str, Any]]:
    """Return the messages in the folder, records first."""
    return [json.loads(message.body) for message in messages_in(desk.folder / "lake")]


def test_a_round_sends_everything_and_the_consumer_proves_it(lake: Desk) -> None:
    """After `run --once`, every record is in the folder, and the consumer of the documentation proves each hour, or names what
    is missing of it.
    """
    assert lake.call("run", "--once").status == 0
    sent = lines(lake)
    assert [each["type"] for each in sent].count("record") == 5
    (state,) = lake.call("streams", "list", "-o", "json").json
    assert (state["status"], state["waiting"], state["refused"]) == ("running", 0, 0)
    assert state["sent"] == len(sent)
    assert state["complete_through"]["acme"]
    assert "INCOMPLETE" not in consume(sent)
    assert sum(map(int, re.findall(r"complete, records: (\d+)", consume(sent)))) == 5
    without = [each for each in sent if each["offset"] != 2 or each["type"] != "record"]
    assert consume(without).count("INCOMPLETE, missing offsets [2]") == 1


def consume(messages: list[dict[str, Any]]) -> str:
    """Return what the consumer of the documentation prints."""
    ran = run_child([sys.executable, CONSUMER], "".join(f"{json.dumps(each)}\n" for each in messages))
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_list_shows_what_a_person_needs(lake: Desk) -> None:
    """The table shows the state, what waits and through when the stream is complete."""
    assert lake.call("run", "--once").status == 0
    out = lake.call("streams", "list").out
    assert "lake" in out
    assert "running" in out
    assert "complete through" in out
    lake.change("UPDATE stream_mark SET complete_through = 0, begins_at = 0")
    assert "1970-01-01" in lake.call("streams", "list").out
    lake.write(name="renamed")
    assert lake.call("run", "--once").status == 0
    assert "1970-01-01" not in lake.call("streams", "list").out, (
        "what a source sent that is gone is not what the stream lacks"
    )


def test_rewound_stream_sends_everything_again(lake: Desk) -> None:
    """What is sent again has the same ids and bytes, so that the objects are the same."""
    assert lake.call("run", "--once").status == 0
    before = {each["id"]: each for each in lines(lake)}
    (state,) = lake.call("streams", "list", "-o", "json").json
    assert lake.call("streams", "rewind", "lake", "--to", "1d").status == 0
    assert lake.call("run", "--once").status == 0
    assert {each["id"]: each for each in lines(lake)}.items() >= before.items()
    (again,) = lake.call("streams", "list", "-o", "json").json
    assert again["sent"] >= 2 * state["sent"]


def test_destination_that_is_away_fails_the_round(lake: Desk) -> None:
    """`run --once` exits with 1 and the remedy; `check --live` says the same without sending a record."""
    (lake.folder / "lake").rmdir()
    called = lake.call("run", "--once")
    assert called.status == 1
    assert "stream lake" in called.err
    assert "stream lake" in lake.call("check", "--live").err
    (state,) = lake.call("streams", "list", "-o", "json").json
    assert (state["status"], state["waiting"]) == ("failing", 5)
    (lake.folder / "lake").mkdir()
    assert "stream lake" not in lake.call("check", "--live").err
    assert lake.call("run", "--once").status == 0


def test_refused_messages_are_sent_again_or_dropped(lake: Desk) -> None:
    """`refused` lists them with the reason; `retry` and `drop` take their numbers, or all."""
    assert lake.call("run", "--once").status == 0
    with contextlib.closing(lake.open_store()) as database, database.write() as connection:
        kept = [
            KeptMessage(
                message_id=name,
                kind="record",
                row_id=1,
                at=utc_now(),
                partition_key="",
                content_type="application/json",
                body=b'{"type":"record","id":"%s","offset":1}' % name.encode(),
                refused_at=utc_now(),
                why="too large",
            )
            for name in ("first", "second", "third")
        ]
        streams.keep(connection, "lake", kept)
    third, second, first = lake.call("streams", "refused", "lake", "-o", "json").json
    assert (first["id"], first["why"], first["stream"]) == ("first", "too large", "lake")
    assert lake.call("streams", "retry", "lake").status == 2
    assert lake.call("streams", "drop", "lake", "999").status == 1
    assert lake.call("streams", "retry", "lake", str(first["number"])).out == "1 message will be sent again\n"
    assert lake.call("streams", "drop", "lake", str(second["number"]), "-o", "json").json == {"dropped": 1}
    assert lake.call("run", "--once").status == 0
    assert [each["id"] for each in lines(lake)].count("first") == 1
    assert lake.call("streams", "drop", "lake", "--all").out == "1 message dropped\n"
    assert third["id"] == "third"


def test_mistakes_are_named(lake: Desk) -> None:
    """An unknown stream, a wrong key and a missing template are errors with place and remedy."""
    assert lake.call("run", "--once").status == 0
    called = lake.call("streams", "rewind", "lak", "--to", "1d")
    assert (called.status, "did you mean 'lake'?" in called.err) == (2, True)
    lake.more += "    key: rule\n    format: ocfs\n"
    lake.write()
    assert "key: must be one of source, account, cluster, user, kind for records" in lake.call("check").err
    lake.more = lake.more.replace("    key: rule\n", "    matchers: ['rule=x']\n")
    lake.write()
    err = lake.call("check").err
    assert "there is no template ocfs.json.j2" in err
    assert "did you mean 'ocsf'?" in err
    assert "no record has the label 'rule'" in err

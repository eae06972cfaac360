"""An upstream that answers some polls with anything. Later, it is honest again, and what it logs then must arrive."""

from __future__ import annotations

import gzip
import json
import random
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from actionwatch.instaclustr.client import Client, RetryOptions
from tests.attacks.soak import hostile
from tests.attacks.soak.case import Attack
from tests.builders import open_database
from tests.integration.instaclustr.upstream import ReceivedRequest, Response, Upstream
from tests.upstreams import SOURCE, DirectClient, World, self_watch, stored, tail_of
from tests.waiting import PATIENT

HOSTILE_POLLS = range(1, 4)  # after an honest one, so that there is something to lose
MOST_POLLS = 16
IMPATIENT = RetryOptions(attempts=2, at_most=timedelta(milliseconds=20), first_wait=timedelta(milliseconds=1))
HEADERS = (
    "date: Fri, 31 Dec 9999 23:59:59 GMT",
    "date: Thu, 01 Jan 1970 00:00:00 GMT",
    "date: soon",
    "retry-after: 99999999999999999999",
    "retry-after: -1",
    "location: http://127.0.0.1:9/",
    "content-type: text/html; charset=utf-99",
    "set-cookie: a=b",
    "transfer-encoding: chunked",
    "content-encoding: gzip",
    "content-encoding: deflate, gzip",
    "content-length: 7",
    "content-length: 99999999999",
    "x: " + "y" * 30_000,
    *("h: v\r\n" * 300,),
    "bad header",
    "\0: x",
)
STATUSES = (*[200] * 40, 204, 206, 301, 400, 401, 403, 404, 408, 418, 429, 500, 502, 503, 999)


@contextmanager
def attack() -> Iterator[Attack]:
    """Yield the attack: a whole tail on a real store, over real connections."""

    def one(chance: random.Random) -> str:
        shared = Path("/dev/shm")  # in memory if possible, because the disk is not tested
        with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
            return _polls(chance, Path(folder))

    yield one


def _polls(chance: random.Random, folder: Path) -> str:
    world, is_hostile, outcomes = World(), True, set[str]()
    honest = DirectClient(world.emulator, world.clock)

    def respond(asked: ReceivedRequest) -> Response:
        params = [(name, each) for name, values in asked.params.items() for each in values]
        answer = honest._exchange(asked.path.rpartition("/")[2], params)
        wire = (
            _hostile(chance, json.loads(answer.body), answer.headers["date"]) if is_hostile
            else _response(200, [f"date: {answer.headers['date']}"], answer.body)
        )  # fmt: skip
        return Response(wire=lambda handler: handler.wfile.write(wire))

    with (
        closing(open_database(folder)) as database,
        Upstream(respond) as server,
        Client(
            server.connection(organisation_id=world.organisation.id, timeout=PATIENT),
            source=SOURCE, retry=IMPATIENT, clock=world.clock,
        ) as client,
    ):  # fmt: skip
        tail = tail_of(
            database, client, world.clock, self_watch(database, client, world.clock), start=timedelta(hours=1)
        )
        for number in range(MOST_POLLS):
            is_hostile = number in HOSTILE_POLLS
            world.log(ago=1, description=f"action {number}")
            world.log("DELETE_CLUSTER", ago=2, times=2)
            world.clock.advance(seconds=120)
            report = tail.run_once()
            outcomes.add(type(report.error).__name__ if report.error else "unproved" if report.unproved else "read")
            missing = [each for each in range(number + 1) if not stored(database)["BACKUP", f"action {each}"]]
            if number > HOSTILE_POLLS.stop and not missing:
                break
    assert not missing, f"not stored after the upstream was honest again: {missing}"
    return ", ".join(sorted(outcomes))


def _hostile(chance: random.Random, document: Any, date: str) -> bytes:
    """Write one response, of which something is wrong: its document, its bytes, or its head."""
    body = hostile.text(hostile.changed(chance, document, chance.choice([0, 1, 2, 5]))).encode("utf-8", "surrogatepass")
    headers = [f"date: {date}"] * (chance.random() < 0.9)
    match chance.randrange(10):
        case 0:
            body = body[: chance.randrange(len(body) + 1)]
        case 1:
            at = chance.randrange(len(body) + 1)
            body = body[:at] + chance.randbytes(chance.choice([1, 8, 2_000])) + body[at:]
        case 2:
            body = b"\xef\xbb\xbf" + body if chance.random() < 0.5 else body.decode("utf-8", "replace").encode("utf-16")
        case 3:
            levels = chance.choice([101, 2_000, 200_000])
            body = b'[{"resources":' + b"[" * levels + b"]" * levels + b"}]"
        case 4:
            body = gzip.compress(body + b" " * chance.choice([0, 3_000_000]))
            headers.append("content-encoding: gzip")
        case 5:
            body = zlib.compress(gzip.compress(body))
            headers.append(chance.choice(["content-encoding: deflate", "content-encoding: gzip, deflate"]))
        case _:
            pass
    headers += chance.sample(HEADERS, chance.choice([0, 0, 1, 2]))
    return _response(chance.choice(STATUSES), headers, body)


def _response(status: int, headers: list[str], body: bytes) -> bytes:
    if not any(line.startswith(("content-length", "transfer-encoding")) for line in headers):
        headers = [*headers, f"content-length: {len(body)}"]
    head = "\r\n".join([f"HTTP/1.1 {status} reason", *headers, "connection: close", "", ""])
    return head.encode("latin-1") + body

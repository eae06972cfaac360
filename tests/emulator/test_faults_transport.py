"""Faults of the transport, and responses that replace those of the API, as a client receives them."""

import gzip
import http.client
import json
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpx
import pytest

from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
from actionwatch.emulator.faults.responses import BODIES
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from tests import http_client
from tests.cases import in_one_test
from tests.emulated import OF_RESPONSES, every_variant
from tests.emulator.conftest import NOON, World, serve_world
from tests.waiting import LIMIT, at_least, stopwatch, wait_until


@pytest.fixture(scope="module")
def served() -> Iterator[World]:
    """Serve a world with one action."""
    with serve_world() as world:
        world.log("BACKUP", description="x" * 200)
        yield world


@pytest.fixture
def faulty(served: World) -> Iterator[World]:
    """Return the world without faults."""
    yield served
    served.faults.clear()


# Responses that replace those of the API


def test_rate_limit_has_each_form_of_retry_after(faulty: World) -> None:
    """429 comes without `Retry-After`, with seconds, or with a date."""
    found = []
    for fault in ("rate_limited", "rate_limited:1500ms", "rate_limited:60s,date,body=empty"):
        faulty.faults.set(fault)
        answer = faulty.client.get("/user-actions")
        found.append((answer.status_code, answer.headers.get("retry-after"), len(answer.content) > 0))
    assert found == [(429, None, True), (429, "2", True), (429, "Wed, 25 Nov 2026 12:01:00 GMT", False)]


@in_one_test("status", [500, 502, 503])
@in_one_test("form", BODIES)
def test_error_has_each_format_of_body(faulty: World, status: int, form: str) -> None:
    """Each status has each format of body, and the format matches its name."""
    faulty.faults.set(f"error:{status},{form}")
    answer = faulty.client.get("/user-actions")
    assert answer.status_code == status
    assert answer.headers.get("content-type", "").partition(";")[0] == BODIES[form][0]
    phrase = HTTPStatus(status).phrase
    if form in ("empty", "text", "html"):
        assert answer.text[:6] == {"empty": "", "text": phrase[:6], "html": "<html>"}[form]
        return
    assert (
        answer.json()
        == {
            "status": {"status": status, "message": phrase, "errorDetails": None, "code": status, "link": None},
            "error": {"error": phrase},
            "errors_list": {"errors": [{"name": "request", "message": phrase}]},
            "errors_map": {"errors": {"request": phrase}},
        }[form]
    )


def test_other_errors_have_their_status_and_body(faulty: World) -> None:
    """The page of a gateway, an empty 401, a 403, and an error with a Retry-After."""
    faulty.faults.set("gateway_page")
    page = faulty.client.get("/linked-accounts")
    assert (page.status_code, page.text[:6]) == (502, "<html>")
    faulty.faults.set("unauthorised")
    refused = faulty.client.get("/user-actions")
    assert (refused.status_code, refused.content) == (401, b"")
    faulty.faults.set("forbidden")
    assert faulty.client.get("/user-actions").json()["status"] == 403
    faulty.faults.set("error:503,retry_after=7s")
    assert faulty.client.get("/user-actions").headers["retry-after"] == "7"


@pytest.mark.parametrize("form", BODIES)
def test_forbidden_has_each_format_of_body(faulty: World, form: str) -> None:
    """403 has each format of body."""
    faulty.faults.set(f"forbidden:{form}")
    answer = faulty.client.get("/user-actions")
    assert (answer.status_code, len(answer.content) > 0) == (403, form != "empty")


def test_redirect_leads_to_another_host(faulty: World) -> None:
    """The path and the query stay, the host does not."""
    faulty.faults.set("redirect", "redirect:http://other.invalid:81,307,every=2")
    first = faulty.client.get("/user-actions?pageSize=3")
    assert (first.status_code, first.headers["location"].split("/v1/")[0]) == (302, "http://elsewhere.invalid")
    assert first.headers["location"].endswith("/user-actions?pageSize=3")
    faulty.faults.set("redirect:http://other.invalid:81,307")
    assert faulty.client.get("/user-actions").headers["location"].startswith("http://other.invalid:81/v1/")


WRONG = {
    "error": lambda text: json.loads(text)["status"] == 500,
    "html": lambda text: text.startswith(b"<!doctype html>"),
    "empty": lambda text: text == b"",
    "null": lambda text: text == b"null",
    "number": lambda text: text == b"0",
    "string": lambda text: text == b'"OK"',
    "strings": lambda text: text == b'["BACKUP"]',
    "object": lambda text: text == b"{}",
    "half": lambda text: text.endswith(b'{"action"'),
    "not_utf8": lambda text: text == b'[{"action": "\xff"}]',
}


@in_one_test("form", WRONG)
def test_wrong_body_has_status_200(faulty: World, form: str) -> None:
    """A body that is not a log has status 200."""
    faulty.faults.set(f"wrong_answer:{form}")
    answer = faulty.client.get("/user-actions")
    assert answer.status_code == 200
    assert WRONG[form](answer.content)


# Headers and encodings


def test_date_is_wrong_or_absent(faulty: World) -> None:
    """`Date` differs by the given time in either direction, on any response, or is absent."""
    for fault, off in (("clock:1h", 3600), ("clock:-90s", -90)):
        faulty.faults.set(fault, "error:500,every=2")
        for _ in range(2):
            date = parsedate_to_datetime(faulty.client.get("/user-actions").headers["date"])
            assert (date - NOON).total_seconds() == off
    faulty.faults.set("no_date")
    assert "date" not in faulty.client.get("/user-actions").headers


@pytest.mark.parametrize("form", ["sound", "cut", "checksum", "plain", "garbage"])
def test_gzip_is_valid_only_in_the_form_sound(faulty: World, form: str) -> None:
    """A body with `Content-Encoding: gzip` decompresses only in the form `sound`."""
    whole = faulty.client.get("/user-actions").content
    faulty.faults.set(f"gzip:{form}")
    with faulty.client.stream("GET", "/user-actions") as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    if form == "sound":
        assert gzip.decompress(raw) == whole
        return
    with pytest.raises((EOFError, gzip.BadGzipFile, zlib.error)):
        gzip.decompress(raw)


def test_oversize_body_is_valid_json(faulty: World) -> None:
    """The body has the requested size, as sent or only after decompression, and is still the same JSON."""
    whole = faulty.client.get("/user-actions").content
    faulty.faults.set("oversize:3")
    body = faulty.client.get("/user-actions").content
    assert len(body) == 3 * 2**20 + len(whole)
    assert body.lstrip() == whole
    faulty.faults.set("oversize:3,packed")
    with faulty.client.stream("GET", "/user-actions") as answer:
        raw = b"".join(answer.iter_raw())
    assert len(raw) < 20_000
    assert gzip.decompress(raw) == body


def test_client_may_leave_an_oversize_body(faulty: World) -> None:
    """If a client closes early, the next request is answered."""
    faulty.faults.set("oversize:4096,times=1")
    with faulty.client.stream("GET", "/user-actions") as answer:
        next(answer.iter_raw())
    assert faulty.client.get("/user-actions").status_code == 200


# The end of a connection


@pytest.mark.parametrize(("form", "is_chunked"), [("length", False), ("chunked", True)])
def test_truncated_body_is_an_incomplete_read(faulty: World, form: str, is_chunked: bool) -> None:
    """Half the body is sent, then the connection ends: too early for its length, or without the last chunk."""
    whole = faulty.client.get("/user-actions").content
    faulty.faults.set(f"truncated:{form}")
    with _asked(faulty) as answer:
        assert (answer.getheader("transfer-encoding") == "chunked") == is_chunked
        with pytest.raises(http.client.IncompleteRead) as caught:
            answer.read()
    assert caught.value.partial == whole[: len(whole) // 2]
    with pytest.raises(httpx.RemoteProtocolError):
        faulty.client.get("/user-actions")


@pytest.mark.parametrize(
    ("where", "begins"), [("request", b""), ("headers", b"HTTP/1.1 200"), ("body", b"HTTP/1.1 200")]
)
def test_reset_is_a_reset(faulty: World, where: str, begins: bytes) -> None:
    """The client's socket is reset, not closed: before the response, after its headers, or within its body."""
    faulty.faults.set(f"reset:{where}")
    with _raw(faulty) as raw:
        got = bytearray()
        with pytest.raises(ConnectionResetError):
            _read(raw, got)
    assert got.startswith(begins)
    assert (b"totalResults" in got) == (where == "body")
    assert got.endswith(b"\r\n\r\n") == (where == "headers")
    with pytest.raises(httpx.ReadError):
        faulty.client.get("/user-actions")


def test_dropped_is_closed_without_a_byte(faulty: World) -> None:
    """The connection ends in an orderly way without a response; the traffic counts it as status 0."""
    before = _unanswered(faulty)
    faulty.faults.set("dropped")
    with _raw(faulty) as raw:
        assert raw.recv(65_536) == b""
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        faulty.client.get("/user-actions")
    assert _unanswered(faulty) == before + 2


def test_response_that_is_not_http(faulty: World) -> None:
    """The server sends something that is not HTTP."""
    faulty.faults.set("not_http")
    with _raw(faulty) as raw:
        assert raw.recv(65_536).startswith(b"SSH-2.0")
    with pytest.raises(httpx.RemoteProtocolError):
        faulty.client.get("/user-actions")


# Timing


def test_slow_body_is_complete(faulty: World) -> None:
    """The body is sent a few bytes at a time with pauses, and is complete at the end."""
    whole = faulty.client.get("/user-actions").content
    faulty.faults.set("slow:5ms,100")
    with at_least(0.005 * (len(whole) // 100)):
        assert faulty.client.get("/user-actions").content == whole
    faulty.faults.set("slow:10ms,1")
    passed, got = stopwatch(), bytearray()
    with _raw(faulty) as raw:
        while len(body := got.partition(b"\r\n\r\n")[2]) < 9:
            got += raw.recv(65_536)
    assert passed() >= 0.01 * (len(body) - 1)  # regardless of how many arrived at once


@pytest.mark.parametrize("where", ["request", "headers", "body"])
def test_hang_for_a_time_or_forever(faulty: World, where: str) -> None:
    """The response stops at the given place, for the given time or until the client disconnects."""
    whole = faulty.client.get("/user-actions").content
    faulty.faults.set(f"hang:100ms,{where}")
    with at_least(0.1):
        assert faulty.client.get("/user-actions").content == whole
    faulty.faults.set(f"hang:at={where}")
    with pytest.raises(httpx.ReadTimeout):
        faulty.client.get("/user-actions", timeout=httpx.Timeout(LIMIT, read=0.1))
    got, last = bytearray(), {"request": b"", "headers": b"\r\n\r\n", "body": b"totalResults"}[where]
    with _raw(faulty) as raw:
        while last not in got:
            got += raw.recv(65_536)
        raw.settimeout(0.1)  # nothing more arrives, however long one waits
        with pytest.raises(TimeoutError):
            _read(raw, got)
    assert (got == b"", b"totalResults" in got) == (where == "request", where == "body")


def test_server_ends_while_responses_hang() -> None:
    """Hanging requests are released when the server ends, and no thread stays."""
    before = set(threading.enumerate())
    organisation = Organisation()
    with running(create_app(organisation, faults=["hang", "slow:10s"])) as url:
        path = f"/v1/organisations/{organisation.id}/user-actions"
        hanging = socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0))
        hanging.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: http_client.get(f"{url}/_emulator/faults").json()[0]["played"], "an answer that hangs")
    assert hanging.recv(1) == b""
    hanging.close()
    wait_until(lambda: set(threading.enumerate()) <= before, "the end of the threads")


# Composition


def test_faults_of_the_transport_compose(faulty: World) -> None:
    """A slow, truncated error with the wrong date has all of these properties."""
    faulty.faults.set("error:503,html", "truncated", "slow:1ms,20", "clock:1h")
    with _asked(faulty) as answer:
        assert answer.status == 503
        assert "13:00:00" in (answer.getheader("date") or "")
        with pytest.raises(http.client.IncompleteRead) as caught:
            answer.read()
    assert caught.value.partial.startswith(b"<html>")


def test_every_fault_of_the_transport_is_tested() -> None:
    """Every fault of the transport has a test here."""
    assert {*OF_RESPONSES} == {
        *("rate_limited", "error", "gateway_page", "unauthorised", "forbidden", "redirect", "wrong_answer"),
        *("clock", "no_date", "gzip", "oversize", "truncated", "reset", "dropped", "not_http", "slow", "hang"),
    }
    assert {f"wrong_answer:{form}" for form in WRONG} == {v for v in every_variant() if v.startswith("wrong_answer")}


def _unanswered(world: World) -> int:
    """Return the number of suppressed responses."""
    traffic: dict[str, int] = http_client.get(f"{world.url}/_emulator/traffic").json().get("user_actions", {})
    return traffic.get("0", 0)


def _raw(world: World) -> socket.socket:
    url = httpx.URL(world.url)
    request = world.client.build_request("GET", "/user-actions")
    authorised = next(httpx.BasicAuth(DEMO_USER, DEMO_KEY).auth_flow(request)).headers["authorization"]
    raw = socket.create_connection((url.host, url.port or 0), timeout=LIMIT)
    raw.sendall(f"GET {request.url.path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorised}\r\n\r\n".encode())
    return raw


@contextmanager
def _asked(world: World) -> Iterator[http.client.HTTPResponse]:
    with _raw(world) as raw, http.client.HTTPResponse(raw) as answer:
        answer.begin()
        yield answer


def _read(raw: socket.socket, got: bytearray) -> None:
    while part := raw.recv(65_536):
        got += part

"""Responses that are small on the wire and large in memory, or expensive to read."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from actionwatch.base.errors import TransportError
from actionwatch.instaclustr.origin import explanation
from actionwatch.net.http_response import HttpResponse
from tests.cases import in_one_test
from tests.integration.net.test_exchanges import request_from

LIMIT_BYTES = 1_000_000
BOMB = gzip.compress(b"0" * 20_000_000, mtime=0)  # 20 KB
ZLIB_BOMB = zlib.compress(b"0" * 20_000_000)
RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
DEFLATED = RAW.compress(b"text") + RAW.flush()


def respond(body: bytes, *codings: str) -> HttpResponse:
    """Return what the client makes of a body with these content codings, one header for each."""
    headers = "".join(f"content-encoding: {coding}\r\n" for coding in codings)
    head = f"HTTP/1.1 200 OK\r\n{headers}content-length: {len(body)}\r\n\r\n"
    return request_from(head.encode() + body, max_body_bytes=LIMIT_BYTES)


@in_one_test(
    "codings",
    [
        ("gzip, gzip",),
        ("gzip", "gzip"),
        ("gzip,deflate",),
        ("identity, gzip",),
        ("GZIP , gzip, gzip, gzip",),
        ("br",),
        ("zstd",),
        ("compress",),
        ("gzip;q=1",),
        ("\xe9",),
    ],
)
def test_body_with_two_content_codings_is_not_decompressed(codings: tuple[str, ...]) -> None:
    """Two codings of a body, or one that actionwatch did not accept, are refused before anything is decompressed."""
    tracemalloc.start()
    with pytest.raises(TransportError, match="content coding"):
        respond(gzip.compress(BOMB), *codings)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * LIMIT_BYTES


@pytest.mark.parametrize(("coding", "body"), [("gzip", BOMB), ("deflate", ZLIB_BOMB)], ids=["gzip", "deflate"])
def test_small_body_does_not_fill_the_memory(coding: str, body: bytes) -> None:
    """A body of 20 KB that becomes 20 MB is given up at the limit, and not after it has been decompressed."""
    tracemalloc.start()
    with pytest.raises(TransportError, match=f"larger than {LIMIT_BYTES} bytes"):
        respond(body, coding)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * LIMIT_BYTES


def test_compressed_body_without_content_is_bounded() -> None:
    """Compressed data that adds nothing to the body counts towards the limit too, so that none is read without end."""
    endless = gzip.compress(b"")[:10] + b"\x00\x00\x00\xff\xff" * (LIMIT_BYTES // 4)
    with pytest.raises(TransportError, match=f"larger than {LIMIT_BYTES} bytes"):
        respond(endless, "gzip")


@in_one_test(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(b"text" * 1000)[:-9]),
        ("gzip", gzip.compress(b"text") + b"more"),
        ("gzip", gzip.compress(b"text") + BOMB),
        ("gzip", b"\x1f\x8b"),
        ("gzip", b"text"),
        ("deflate", zlib.compress(b"text" * 1000)[:-5]),
        ("deflate", b"text"),
    ],
)
def test_part_of_a_compressed_body_is_not_taken_for_the_whole(coding: str, body: bytes) -> None:
    """A compressed body that is cut, or followed by other data, is an error and not a shorter body."""
    with pytest.raises(TransportError, match="cannot be decompressed"):
        respond(body, coding)


@in_one_test(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(b"text")),
        ("X-GZIP", gzip.compress(b"text")),
        ("deflate", zlib.compress(b"text")),
        ("deflate", DEFLATED),
        ("identity", b"text"),
        (" ", b"text"),
    ],
)
def test_one_content_coding_is_decompressed(coding: str, body: bytes) -> None:
    """The codings that actionwatch asks for, and their usual other spellings, are decompressed."""
    assert respond(body, coding).body == b"text"


@pytest.mark.parametrize("size", [LIMIT_BYTES - 1, LIMIT_BYTES])
def test_body_as_large_as_the_limit_is_read(size: int) -> None:
    """The limit itself is accepted."""
    assert len(respond(gzip.compress(b"0" * size), "gzip").body) == size


def test_empty_body_with_a_content_coding_is_empty() -> None:
    """An empty body is not an incomplete one."""
    assert respond(b"", "gzip").body == b""


@in_one_test("piece", ["<title>", "<h1>", "<script", "<script>", "<style ", "</script", "<", "<!--", "<a b=c "])
def test_error_page_of_tags_is_read_no_further_than_four_kilobytes(piece: str) -> None:
    """An error page is read once, and only its first 4 KB, so that no repeated tag costs seconds."""
    page = piece * (4096 // len(piece)) + " far behind <title>far behind</title>"
    assert "far behind" not in explanation(page)


@in_one_test(
    ("page", "text"),
    [
        ("<html><head><title>502 Bad Gateway</title></head>", "a page titled '502 Bad Gateway'"),
        ("<H1 class=x>Access <b>denied</b></H1><p>no", "a page titled 'Access denied'"),
        ("<title></title><h1>Maintenance</h1>", "a page titled 'Maintenance'"),
        ("<title>cut of", "a page titled 'cut of'"),
        ("<script>if (a < b) alert(1)</script><style>p {}</style><p>Try <i>later</i>", "Try later"),
        ("no page", "no page"),
        ("a < b", "a"),
        ("", ""),
    ],
)
def test_error_page_is_named_by_its_title(page: str, text: str) -> None:
    """The explanation of an error page is its first title or heading, or else its text without tags."""
    assert explanation(page) == text

"""Decompress the body of a response while it arrives, without ever holding more than a limit. Only http.py calls this.

A body has at most one content coding: two of them turn a few kilobytes into gigabytes, and no server needs two.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from actionwatch.base.errors import TooLarge, TransportError

ENCODINGS = "gzip, deflate"  # for Accept-Encoding
_GZIP = zlib.MAX_WBITS | 16
_RAW_DEFLATE = -zlib.MAX_WBITS  # what some servers send as `deflate`; RFC 9110 §8.4.1.2 means the zlib format
_UNREADABLE = "the response cannot be decompressed"


def read_body(chunks: Iterable[bytes], coding: str, limit: int, body: bytearray) -> None:
    """Append the whole body of a response to `body`. `coding` is its Content-Encoding, empty if it has none.

    What was read before an error stays there.

    Raises: TooLarge, if the body is larger than `limit` bytes, compressed or not; TransportError, if it cannot be decompressed.
    """
    decompress = _decompressor(coding)
    received = 0
    for chunk in chunks:
        received += len(chunk)
        body += chunk if decompress is None else decompress.read(chunk, limit + 1 - len(body))
        if max(received, len(body)) > limit:
            raise TooLarge(f"the response is larger than {limit} bytes")
    if decompress is not None and received:
        decompress.check_end()


def _decompressor(coding: str) -> _Decompressor | None:
    match coding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return _Decompressor(_GZIP)
        case "deflate":
            return _Decompressor(zlib.MAX_WBITS)
    what = f"the response has the content coding {coding!r}, and actionwatch accepts one of {ENCODINGS}"
    raise TransportError(f"{what}: check what changes responses on the way, such as a proxy")


class _Decompressor:
    """Decompresses one stream. Data after its end, or a missing end, is an error."""

    def __init__(self, format_bits: int) -> None:
        self._stream = zlib.decompressobj(format_bits)
        self._is_raw_possible = format_bits == zlib.MAX_WBITS

    def read(self, chunk: bytes, most: int) -> bytes:
        """Return what the chunk adds to the body, at most `most` bytes (more than 0)."""
        try:
            made = self._stream.decompress(chunk, most)
        except zlib.error as exc:
            if not self._is_raw_possible:
                raise TransportError(_UNREADABLE) from exc
            self._stream, self._is_raw_possible = zlib.decompressobj(_RAW_DEFLATE), False
            return self.read(chunk, most)
        self._is_raw_possible = False
        if self._stream.unused_data:
            raise TransportError(_UNREADABLE)
        return made

    def check_end(self) -> None:
        """Fail if the stream is cut."""
        if not self._stream.eof:
            raise TransportError(_UNREADABLE)

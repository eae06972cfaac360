"""HTTP requests of tests: each has the limit of tests/waiting.py, and none uses a proxy of the environment."""

from __future__ import annotations

import functools
import ssl
from typing import Any

import httpx

from tests.waiting import LIMIT


def client(**options: Any) -> httpx.Client:
    """Make a client."""
    return httpx.Client(timeout=LIMIT, trust_env=False, **{"verify": _trusting(), **options})


def request(method: str, url: str, **options: Any) -> httpx.Response:
    """Send one request."""
    return httpx.request(method, url, timeout=LIMIT, trust_env=False, **{"verify": _trusting(), **options})


@functools.cache
def _trusting() -> ssl.SSLContext:
    """Read the certificates that httpx trusts once: each client would read them again, which takes 15 ms."""
    return httpx.create_ssl_context(trust_env=False)


get = functools.partial(request, "GET")
post = functools.partial(request, "POST")
put = functools.partial(request, "PUT")
delete = functools.partial(request, "DELETE")

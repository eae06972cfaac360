"""HTTP requests of tests: each has the limit of tests/waiting.py, and none uses a proxy of the environment."""

from __future__ import annotations

import functools
from typing import Any

import httpx

from tests.waiting import LIMIT


def client(**options: Any) -> httpx.Client:
    """Make a client."""
    return httpx.Client(timeout=LIMIT, trust_env=False, **options)


def request(method: str, url: str, **options: Any) -> httpx.Response:
    """Send one request."""
    return httpx.request(method, url, timeout=LIMIT, trust_env=False, **options)


get = functools.partial(request, "GET")
post = functools.partial(request, "POST")
put = functools.partial(request, "PUT")
delete = functools.partial(request, "DELETE")

"""The host names by which clients may address the listener.

A web page can let its own host name lead to an address of ours and then read from there in the browser of a person (DNS
rebinding). An address as the host is always accepted: no name can lead elsewhere.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

NOT_SERVED = "this host name is not served: add it to web.hosts, or use localhost"


def host_of(header: str) -> str:
    """Return the name or address in a Host header, in lower case; empty if there is none."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:  # brackets around something other than an address
        return ""


def is_address(host: str) -> bool:
    """Return whether a host is an address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_served(header: str | None, names: Collection[str]) -> bool:
    """Return whether a Host header is an address, localhost, or one of these names in lower case."""
    if header is None:
        return True  # HTTP/1.0, which no browser sends
    host = host_of(header)
    return host == "localhost" or host in names or is_address(host)

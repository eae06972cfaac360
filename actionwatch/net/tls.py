"""Whom we trust to say who a server is: the authorities of the system, or those of a file."""

from __future__ import annotations

import functools
import ssl
from pathlib import Path


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Give a TLS context that trusts these authorities, or the system's. It is shared: a change of it would be everybody's.

    Raises: OSError (ssl.SSLError is one), when the file cannot be used.
    """
    return ssl.create_default_context(cafile=ca_file) if ca_file else _trusting_the_system()


@functools.cache
def _trusting_the_system() -> ssl.SSLContext:
    return ssl.create_default_context()  # once: its 150 certificates take 20 ms and 0.8 MB

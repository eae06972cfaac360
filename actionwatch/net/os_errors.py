"""Explain a failed connection to the person who has to fix it. Used by the HTTP client and by email."""

from __future__ import annotations

import socket
import ssl


def explain_os_error(exc: OSError) -> str:
    """Say what failed, and what to check if that is clear."""
    what = str(exc) or type(exc).__name__
    match exc:
        case socket.gaierror():
            return f"{what}: check the name of the host, and this machine's DNS"
        case ConnectionRefusedError():
            return f"{what}: nothing listens there, check host and port"
        case ssl.SSLCertVerificationError():
            return f"{what}: fix the certificate, or name its authority in ca_file"
        case ssl.SSLError():
            return f"{what}: check that host and port are those for TLS"
    return what

"""Explain why a connection failed, for the HTTP client and for email."""

from __future__ import annotations

import socket
import ssl


def explain_os_error(exc: OSError) -> str:
    """Describe what failed and, if known, what to check."""
    what = str(exc) or type(exc).__name__
    match exc:
        case socket.gaierror():
            return f"{what}: check the host name and the DNS of this machine"
        case ConnectionRefusedError():
            return f"{what}: no server listens there: check host and port"
        case ssl.SSLCertVerificationError():
            return f"{what}: fix the certificate, or set ca_file to its authority"
        case ssl.SSLError():
            return f"{what}: check that host and port expect TLS"
    return what

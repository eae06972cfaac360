"""TLS contexts: the trusted authorities, and the client certificate."""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass
from pathlib import Path

from actionwatch.base.files import MAX_PEM_BYTES, open_regular


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client certificate in PEM form, and its key if that is in a separate file."""

    cert_file: Path
    key_file: Path | None = None


def tls_context(
    ca_file: Path | None = None, identity: ClientCertificate | None = None, *, alpn: str | None = None
) -> ssl.SSLContext:
    """Return a TLS context that trusts the authorities in this file, or else the system's. Do not change it: it may be shared.

    `alpn` is the protocol to offer (RFC 7301).

    Raises: OSError (ssl.SSLError is one) if a file cannot be used; ValueError if the key is encrypted.
    """
    if ca_file is None and identity is None:
        return _system_context(alpn)
    return _context(ca_file, identity, alpn)


@functools.cache
def _system_context(alpn: str | None) -> ssl.SSLContext:
    return _context(None, None, alpn)  # loading the system's 150 certificates takes 20 ms and 0.8 MB


def _context(ca_file: Path | None, identity: ClientCertificate | None, alpn: str | None) -> ssl.SSLContext:
    for path in (ca_file, *((identity.cert_file, identity.key_file) if identity is not None else ())):
        if path is not None:
            open_regular(path, MAX_PEM_BYTES).close()  # OpenSSL would wait for a FIFO, and read a device without an end
    context = ssl.create_default_context(cafile=ca_file)
    if identity is not None:
        context.load_cert_chain(identity.cert_file, identity.key_file, password=_no_password)
    if alpn is not None:
        context.set_alpn_protocols([alpn])
    return context


def _no_password() -> str:
    # Without this callback, OpenSSL asks for the passphrase on the terminal.
    raise ValueError("the key is encrypted: store it without a passphrase, readable by actionwatch only")

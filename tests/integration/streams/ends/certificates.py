"""Certificates of servers on this machine, made once for each process."""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

HOSTS = ("127.0.0.1", "localhost")
FORMERLY = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Certificates:
    """Files in PEM form."""

    ca: Path
    """The authority of the servers."""
    other_ca: Path
    """An authority that signed nothing."""
    cert: Path
    key: Path
    expired_cert: Path
    expired_key: Path

    def server_context(self, *, is_expired: bool = False) -> ssl.SSLContext:
        """Return the server's side of TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        chosen = (self.expired_cert, self.expired_key) if is_expired else (self.cert, self.key)
        context.load_cert_chain(*chosen)
        return context


@functools.cache
def _authority() -> trustme.CA:
    return trustme.CA()


def write_certificates(folder: Path) -> Certificates:
    """Write the certificates into a folder."""
    written = Certificates(
        *(folder / f"{name}.pem" for name in ("ca", "other_ca", "cert", "key", "old_cert", "old_key"))
    )
    authority = _authority()
    authority.cert_pem.write_to_path(str(written.ca))
    trustme.CA().cert_pem.write_to_path(str(written.other_ca))
    _write(authority.issue_cert(*HOSTS), written.cert, written.key)
    expired = authority.issue_cert(*HOSTS, not_before=FORMERLY, not_after=FORMERLY + timedelta(days=1))
    _write(expired, written.expired_cert, written.expired_key)
    return written


def _write(made: trustme.LeafCert, cert: Path, key: Path) -> None:
    made.private_key_pem.write_to_path(str(key))
    for n, blob in enumerate(made.cert_chain_pems):
        blob.write_to_path(str(cert), append=n > 0)

"""Fixtures of the notifier tests: a certificate authority, and a check that nothing is left behind."""

from __future__ import annotations

import gc
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.waiting import no_thread_left, wait_until

CA = trustme.CA()


@pytest.fixture(scope="session", autouse=True)
def small_heap() -> Iterator[None]:
    """Keep imported modules out of the garbage collections below, which would take a tenth of a second each otherwise."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread or a socket."""
    sockets = _sockets()

    def are_closed() -> bool:
        if _sockets() <= sockets:
            return True
        gc.collect()  # only now: after each of a thousand tests it would take a quarter of their time
        return False

    with no_thread_left():
        yield
    wait_until(are_closed, "every socket to be closed", lambda: f"{_sockets() - sockets} more")


@pytest.fixture(scope="session")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authority's certificate, for `ca_file`."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def other_ca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of an authority that signed nothing here."""
    path = tmp_path_factory.mktemp("other") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def server_context() -> ssl.SSLContext:
    """A server's side of TLS, for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def wrong_name_context() -> ssl.SSLContext:
    """A server's side of TLS whose certificate is for another host."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("elsewhere.example").configure_cert(context)
    return context


def _sockets() -> int:
    count = 0
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")  # noqa: PTH115
        except OSError:
            continue
    return count

"""An emulator and a webhook receiver for each test, and one certificate authority for all."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
from actionwatch.emulator.durations import Duration
from actionwatch.emulator.scenario import Scenario, build_simulation
from actionwatch.emulator.server import running
from tests.end_to_end import kit
from tests.fixtures import logs_left_alone
from tests.integration.notifiers.http_end import HttpEnd

__all__ = ["logs_left_alone"]


@pytest.fixture
def up() -> Iterator[kit.Upstream]:
    """An emulator in this process, because a test that starts the command pays for its imports."""
    simulation = build_simulation(Scenario(history=Duration(), ordinary=False))  # only what a test appends happens
    with running(create_app(simulation.organisation)) as url:
        yield kit.Upstream(url, simulation.organisation.id, DEMO_USER, DEMO_KEY)


@pytest.fixture
def soar() -> kit.Soar:
    """The messages that the webhook received."""
    return kit.Soar()


@pytest.fixture
def webhook(soar: kit.Soar) -> Iterator[HttpEnd]:
    """The server behind the webhook."""
    with HttpEnd(soar.take) as end:
        yield end


@pytest.fixture
def post(tmp_path: Path, up: kit.Upstream, webhook: HttpEnd) -> kit.Post:
    """A folder with a configuration with the emulator as source and the webhook as receiver."""
    return kit.Post(tmp_path / "post", up).write(webhook)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The certificate authority of these tests."""
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authority's certificate, for `ca_file`."""
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    """A server's side of TLS, for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context

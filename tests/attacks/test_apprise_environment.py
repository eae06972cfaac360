"""Proxies and credentials in the environment of the process, which Apprise's HTTP library would use."""

from __future__ import annotations

from pathlib import Path

import pytest

from actionwatch.notifiers import apprise
from tests.integration.notifiers.ends import deliver, options
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.unit.render.messages import message


@pytest.mark.parametrize("is_named", [True, False])
def test_credentials_of_a_netrc_file_are_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_named: bool
) -> None:
    """No service gets the credentials of a `.netrc`, whether it is in the home folder or named by the environment."""
    (tmp_path / ".netrc").write_text(
        "machine 127.0.0.1 login user password s3cret\ndefault login user password s3cret\n"
    )
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc") if is_named else "")
    if not is_named:
        monkeypatch.delenv("NETRC")
    with HttpEnd(lambda _: Reply(200)) as server:
        send(server)
        [request] = server.requests
    assert "authorization" not in request.headers


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_proxy_of_the_environment_gets_no_message(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A message goes to its service and not to a proxy of the environment."""
    with HttpEnd(lambda _: Reply(200)) as server, HttpEnd(lambda _: Reply(200)) as proxy:
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.setenv("NETRC", "")
        monkeypatch.setenv(name, proxy.url)
        send(server)
        assert (len(server.requests), len(proxy.requests)) == (1, 0)


def send(server: HttpEnd) -> None:
    """Send a message to a service."""
    url = server.url.replace("http", "json", 1)
    deliver(apprise.build(options(apprise.Options, url=url), receiver="other"), "apprise", message())

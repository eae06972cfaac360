"""Apprise: what it alone promises."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from actionwatch.base.errors import PermanentDeliveryError, TransientDeliveryError
from actionwatch.base.model import Level, Rendered
from actionwatch.notifiers import apprise
from tests.integration.notifiers.ends import deliver, options
from tests.integration.notifiers.http_end import HttpEnd, Reply
from tests.unit.render.messages import message, summary


@pytest.fixture
def servers() -> Iterator[list[HttpEnd]]:
    """Two services."""
    with HttpEnd(lambda _: Reply(200)) as one, HttpEnd(lambda _: Reply(200)) as other:
        yield [one, other]


def build(servers: list[HttpEnd], **given: Any) -> apprise.AppriseNotifier:
    """Make a notifier for all of them."""
    urls = [server.url.replace("http", "json", 1) + "/s3cret-token" for server in servers]
    return apprise.build(options(apprise.Options, urls=urls, **given), receiver="anything-else")


def test_a_message_has_a_title_a_text_and_a_kind(servers: list[HttpEnd]) -> None:
    """A service shows nothing useful, or everything in one colour."""
    notifier = build(servers)
    deliver(notifier, "apprise", message(level=Level.CRITICAL))
    deliver(notifier, "apprise", message("alert.resolved"))
    for server in servers:
        first, second = (request.json for request in server.requests)
        assert first["title"] == "[critical] Cluster payments-prod deleted"
        assert "To do: Ask eve." in first["message"]
        assert (first["type"], second["type"]) == ("failure", "success")
        assert second["title"].startswith("[resolved]")


def test_one_service_that_refuses_is_noted_and_the_other_not_told_twice(servers: list[HttpEnd]) -> None:
    """A service that took the message gets it again because another did not."""
    servers[1].queue.append(Reply(400, b"no"))
    receipt = deliver(build(servers), "apprise", message())
    assert "error=400" in (receipt.note or "")
    assert "s3cret-token" not in (receipt.note or "")
    assert len(servers[0].requests) == 1


@pytest.mark.parametrize(
    ("statuses", "error"),
    [
        ((400, 404), PermanentDeliveryError),
        ((400, 503), TransientDeliveryError),
        ((429, 500), TransientDeliveryError),
    ],
)
def test_all_refusing_is_permanent_only_if_all_are(
    servers: list[HttpEnd], statuses: tuple[int, int], error: type[Exception]
) -> None:
    """A service that would come back is given up because of another."""
    for server, status in zip(servers, statuses, strict=True):
        server.queue.append(Reply(status, b"no"))
    with pytest.raises(error, match=f"error={statuses[0]}.*error={statuses[1]}"):
        deliver(build(servers), "apprise", message())


def test_urls_come_from_a_file_too(servers: list[HttpEnd], tmp_path: Path) -> None:
    """A mounted secret is not used."""
    (tmp_path / "url").write_text(servers[0].url.replace("http", "json", 1) + "\n")
    made = options(apprise.Options, url_file=str(tmp_path / "url"))
    deliver(apprise.build(made, receiver="x"), "apprise", summary())
    assert len(servers[0].requests) == 1


def test_nothing_rendered_still_says_something(servers: list[HttpEnd]) -> None:
    """An empty rendering is no message, and the alert is lost."""
    build(servers).send(message(), Rendered(), None)
    assert servers[0].requests[0].json["message"] == "[critical] alert.opened"


def test_apprise_writes_no_address_into_logs(servers: list[HttpEnd], caplog: pytest.LogCaptureFixture) -> None:
    """A token stands in the log of a library."""
    caplog.set_level(logging.DEBUG)
    servers[0].queue.append(Reply(500))
    deliver(build(servers), "apprise", message())
    assert "s3cret-token" not in caplog.text


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, "one of url or url_file or urls"),
        ({"url": "nonsense"}, "Apprise does not know the URL"),
        ({"url": "nosuchservice://token"}, "Apprise does not know the URL"),
        ({"urls": ["json://localhost", "tgram://"]}, "Apprise does not know URL 2"),
        ({"urls": []}, "at least 1"),
        ({"url": "json://localhost", "urls": ["json://localhost"]}, "only one of"),
        ({"url": "json://localhost", "retry": 3}, "Extra inputs"),
    ],
)
def test_impossible_options_are_refused(given: dict[str, Any], fault: str) -> None:
    """A wrong configuration is found out by the first alert."""
    with pytest.raises(ValidationError, match=fault):
        options(apprise.Options, **given)


def test_without_the_extra_the_configuration_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra is a traceback instead of a line of the configuration."""
    monkeypatch.setitem(sys.modules, "apprise", None)  # which makes an import fail
    with pytest.raises(ValidationError, match=r"pip install 'actionwatch\[apprise\]'"):
        options(apprise.Options, url="json://localhost")


def test_the_preview_shows_title_and_text() -> None:
    """A preview shows nothing to look at."""
    made = options(apprise.Options, url="json://localhost")
    files = apprise.preview(
        made, message(), Rendered({"apprise.subject": "title", "apprise.txt": "text"}), receiver="x"
    )
    assert files == {"apprise.txt": "title\n\ntext"}

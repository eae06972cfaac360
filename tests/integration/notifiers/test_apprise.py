"""The promises of the Apprise notifier."""

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
from tests.cases import in_one_test
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


def test_message_has_title_text_and_kind(servers: list[HttpEnd]) -> None:
    """A service shows title and text, in a colour that depends on the level."""
    notifier = build(servers)
    deliver(notifier, "apprise", message(level=Level.CRITICAL))
    deliver(notifier, "apprise", message("alert.resolved"))
    for server in servers:
        first, second = (request.json for request in server.requests)
        assert first["title"] == "[critical] Cluster payments-prod deleted"
        assert "To do: Ask eve." in first["message"]
        assert (first["type"], second["type"]) == ("failure", "success")
        assert second["title"].startswith("[resolved]")


def test_service_that_refuses_is_noted_and_the_others_get_no_repeat(servers: list[HttpEnd]) -> None:
    """If one service refuses, that is noted, and the services that accepted the message do not get it again."""
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
def test_error_is_permanent_only_if_it_is_for_all_services(
    servers: list[HttpEnd], statuses: tuple[int, int], error: type[Exception]
) -> None:
    """If one of the failed services may recover, the error is temporary."""
    for server, status in zip(servers, statuses, strict=True):
        server.queue.append(Reply(status, b"no"))
    with pytest.raises(error, match=f"error={statuses[0]}.*error={statuses[1]}"):
        deliver(build(servers), "apprise", message())


def test_urls_from_a_file(servers: list[HttpEnd], tmp_path: Path) -> None:
    """A mounted secret is used."""
    (tmp_path / "url").write_text(servers[0].url.replace("http", "json", 1) + "\n")
    made = options(apprise.Options, url_file=str(tmp_path / "url"))
    deliver(apprise.build(made, receiver="x"), "apprise", summary())
    assert len(servers[0].requests) == 1


def test_empty_rendering_still_sends_a_message(servers: list[HttpEnd]) -> None:
    """An empty rendering is replaced by a text, so that the alert is not lost."""
    build(servers).send(message(), Rendered(), None)
    assert servers[0].requests[0].json["message"] == "[critical] alert.opened"


def test_apprise_logs_no_url(servers: list[HttpEnd], caplog: pytest.LogCaptureFixture) -> None:
    """No token is in a log of the library."""
    caplog.set_level(logging.DEBUG)
    servers[0].queue.append(Reply(500))
    deliver(build(servers), "apprise", message())
    assert "s3cret-token" not in caplog.text


@in_one_test(
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
def test_invalid_options_are_refused(given: dict[str, Any], fault: str) -> None:
    """Invalid options are refused when the configuration is loaded."""
    with pytest.raises(ValidationError, match=fault):
        options(apprise.Options, **given)


def test_missing_extra_is_a_fault_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the extra is not installed, the configuration has a fault, and there is no traceback."""
    monkeypatch.setitem(sys.modules, "apprise", None)  # makes an import fail
    with pytest.raises(ValidationError, match=r"install the project's requirements/apprise\.txt"):
        options(apprise.Options, url="json://localhost")


def test_preview_shows_title_and_text() -> None:
    """The preview shows the title and the text."""
    made = options(apprise.Options, url="json://localhost")
    files = apprise.preview(
        made, message(), Rendered({"apprise.subject": "title", "apprise.txt": "text"}), receiver="x"
    )
    assert files == {"apprise.txt": "title\n\ntext"}

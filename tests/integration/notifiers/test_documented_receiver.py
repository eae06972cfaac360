"""docs/webhook.md: its receiver runs as printed, and its message is a real one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from actionwatch.base.errors import PermanentDeliveryError
from actionwatch.notifiers import webhook
from actionwatch.notifiers.base import notifier_module, notifier_types
from tests.integration.notifiers.ends import KEY, deliver, options
from tests.unit.render.messages import message
from tests.waiting import beside

PAGE = (Path(__file__).parents[3] / "docs" / "webhook.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """Return the only code block of a language on the page."""
    [found] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    text: str = found
    return text


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, list[Any]]]:
    """Run the documented receiver, and collect what it acted on."""
    monkeypatch.setenv("SIGNING_KEY", KEY)
    monkeypatch.setenv("SEEN_DATABASE", str(tmp_path / "seen.db"))
    names: dict[str, Any] = {"__name__": "documented"}
    exec(compile(block("python"), "docs/webhook.md", "exec"), names)
    acted: list[Any] = []
    print_it = names["act"]

    def act(sent: Any) -> None:
        print_it(sent)
        acted.append(sent)

    names["act"] = act
    server = ThreadingHTTPServer(("127.0.0.1", 0), names["Receiver"])
    server.daemon_threads = False
    with beside(lambda: server.serve_forever(0.02), stop=server.shutdown):
        yield f"http://127.0.0.1:{server.server_address[1]}/", acted
    server.server_close()


def send(url: str, key: str, id_: str) -> None:
    """Send a message like the service."""
    notifier = webhook.build(options(webhook.Options, url=url, signing_key=key), receiver="soar")
    try:
        deliver(notifier, "webhook", message(id=id_))
    finally:
        notifier.close()


def test_documented_receiver_acts_once_on_each_message(receiver: tuple[str, list[Any]]) -> None:
    """The code of the page ignores repeats and messages without a valid signature."""
    url, acted = receiver
    for id_ in ("one", "one", "two"):
        send(url, KEY, id_)
    assert len(acted) == 2
    with pytest.raises(PermanentDeliveryError, match="401"):
        send(url, "whsec_dGhlIGtleSBvZiBhIHN0cmFuZ2VyLCAzMiBieXRlcy4=", "three")
    assert len(acted) == 2


def test_documented_message_is_valid() -> None:
    """The message on the page is one that could be sent."""
    validator = jsonschema_rs.validator_for(webhook.message_schema())
    assert list(validator.iter_errors(json.loads(block("json")))) == []


def test_documented_keys_exist() -> None:
    """The configuration accepts every key on the page about receivers."""
    page = (Path(__file__).parents[3] / "docs" / "receivers.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    shown = [receiver for block in blocks for receiver in yaml.safe_load(block).get("receivers", [])]
    types = {kind: keys for receiver in shown for kind, keys in receiver.items() if kind in notifier_types()}
    assert set(types) == {"slack", "pagerduty", "email", "apprise"}
    for kind, keys in types.items():
        fields = notifier_module(kind).Options.model_fields.items()
        assert set(keys) <= {field.alias or name for name, field in fields}

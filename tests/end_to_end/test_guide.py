"""docs/guide.md works: its commands, literally and in order, in an empty folder."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.end_to_end import kit
from tests.integration.notifiers.http_end import HttpEnd
from tests.waiting import wait_until

GUIDE = (Path(__file__).parents[2] / "docs" / "guide.md").read_text().partition("## Questions of the first week")[0]
SCREEN = re.compile(r"^  - name: screen\n    console: .*\n", re.MULTILINE)


def commands(step: str) -> list[list[str]]:
    """Return the arguments of each call of actionwatch in a step of the guide."""
    section = GUIDE.split(f"\n## {step}", 1)[1].split("\n## ", 1)[0]
    lines = [line for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("actionwatch ")]


def test_guide_can_be_followed(
    tmp_path: Path, up: kit.Upstream, soar: kit.Soar, webhook: HttpEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command succeeds, the new receiver gets its test and the next alert, and nothing is left to repair."""
    names = {"organisation_id": up.organisation_id, "username": up.username, "api_key": up.api_key}
    variables = {f"ACTIONWATCH_{name.upper()}": value for name, value in names.items()}
    variables["ACTIONWATCH_LISTEN"] = "127.0.0.1:0"
    folder = tmp_path / "watch"

    def follow(*arguments: str, where: Path = folder) -> None:
        ran = kit.finished(*arguments, folder=where, **variables)
        assert ran.returncode == 0, (arguments, ran.stdout, ran.stderr)

    (init,) = commands("2.")
    assert init[2:] == ["&&", "cd", "watch"]
    follow(*init[:2], where=tmp_path)
    config = folder / "actionwatch.yaml"
    text = config.read_text().replace("#base_url: https://api.instaclustr.com", f"base_url: {up.base_url}")
    assert "#poll_interval: 10s" in text
    config.write_text(text.replace("#poll_interval: 10s", "poll_interval: 1s"))
    up.delete_cluster("alice@example.com")
    for step in ("3.", "4.", "5."):
        for arguments in commands(step):
            follow(*arguments)
    assert commands("6.") == [["run"]]
    monkeypatch.setattr(kit, "environment", lambda before=kit.environment: before(**variables))
    with kit.Post(folder, up).service() as service:
        wait_until(lambda: "service_started" in service.log.read_text(), "the start", service.log.read_text)
        receiver = re.search(r"```yaml\nreceivers:\n(.*?)```", GUIDE, re.DOTALL)
        assert receiver
        real = re.sub(r"slack: .*", f"webhook: {{url: '{webhook.url}/hook', signing_key: {kit.KEY}}}", receiver[1])
        text, count = SCREEN.subn(real, config.read_text())
        assert count == 1
        config.write_text(text)
        monkeypatch.undo()
        for arguments in commands("7."):
            follow(*arguments)
        assert len(soar.find(type="receiver.test")) == 1
        up.delete_cluster("eve@example.com")
        soar.wait_for(user="eve@example.com", rule="cluster_deleted")
        follow("status")
        assert not [found for found in soar.arrivals if found.data["labels"].get("trouble")]
        service.end()

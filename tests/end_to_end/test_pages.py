"""README.md and docs/ are right: their shell blocks run, literally and in order, in an empty folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.end_to_end import kit, pages
from tests.integration.notifiers.http_end import HttpEnd

NOT_RUN = Counter(
    {
        ("CONTRIBUTING.md", "a package index"): 1,
        ("CONTRIBUTING.md", "docker"): 1,
        ("CONTRIBUTING.md", "the development environment"): 1,
        ("README.md", "a package index"): 2,
        ("docs/deploy/README.md", "a Kubernetes cluster"): 1,
        ("docs/deploy/README.md", "docker"): 1,
        ("docs/deploy/README.md", "systemd"): 1,
        ("docs/guide.md", "a package index"): 1,
        ("docs/operations.md", "a package index"): 3,
        ("docs/operations.md", "systemd"): 2,
        ("docs/postgresql.md", "a PostgreSQL"): 4,
        ("docs/proof.md", "a bucket"): 2,
    }
)
"""The blocks that cannot run here; tests/supply_chain/test_wheel.py installs the wheel without an index."""
NEW = {"README.md", "docs/guide.md"}  # pages for a reader who has nothing yet
OTHERS = sorted({block.page for block in pages.blocks() if block.kind == "sh" and not block.need} - NEW)


def credentials(up: kit.Upstream) -> dict[str, str]:
    """Return the variables that the configuration of `init` needs."""
    names = {"organisation_id": up.organisation_id, "username": up.username, "api_key": up.api_key}
    return {f"ACTIONWATCH_{name.upper()}": value for name, value in names.items()}


def source_of(up: kit.Upstream) -> str:
    """Return the substitution that makes the configuration of `init` use an emulator."""
    return (
        f"s|#base_url:.*|base_url: {up.base_url}|;s|#poll_interval:.*|poll_interval: 1s|;s|127.0.0.1:8080|127.0.0.1:0|"
    )


def test_blocks_that_do_not_run_are_known() -> None:
    """Each block has a known kind, and the shell blocks that the tests leave out are these few, each with its reason."""
    found = pages.blocks()
    assert {block.kind for block in found} == pages.KINDS
    assert sum(text.read_text().count("\n```") for text in pages.PAGES.values()) == 2 * len(found)
    assert Counter((block.page, block.need) for block in found if block.need) == NOT_RUN
    assert OTHERS


def test_guide_can_be_followed(tmp_path: Path, up: kit.Upstream, soar: kit.Soar, webhook: HttpEnd) -> None:
    """Every command succeeds, the new receiver gets its test and the next alert, and nothing is left to repair."""
    known = credentials(up)
    names = ("ACTIONWATCH_ORGANISATION_ID", "ACTIONWATCH_USERNAME")
    filled = "export " + " ".join(f"{name}={known[name]}" for name in names)
    receiver = f"  - name: security-slack\\n    webhook: {{url: '{webhook.url}/hook', signing_key: {kit.KEY}}}"
    before = ["", f"{filled}; sed -i '{source_of(up)}' actionwatch.yaml", "", ""]
    before.append(f'sed -i "s|^  - name: screen|{receiver}\\n&|" actionwatch.yaml')
    up.delete_cluster("alice@example.com")
    given = f"{up.api_key}\n"
    with pages.followed("docs/guide.md", tmp_path, {}, before, given):
        assert len(soar.find(type="receiver.test")) == 1
        up.delete_cluster("eve@example.com")
        soar.wait_for(user="eve@example.com", rule="cluster_deleted")
        assert kit.finished("status", folder=tmp_path / "watch", **known).returncode == 0
        assert not [found for found in soar.arrivals if found.data["labels"].get("trouble")]


def test_readme_can_be_followed(tmp_path: Path, up: kit.Upstream) -> None:
    """The configuration in a minute: its commands lead to a running service."""
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\nexec sed -i '{source_of(up)}' \"$1\"\n")
    editor.chmod(0o700)
    with pages.followed("README.md", tmp_path, {**credentials(up), "EDITOR": str(editor)}):
        assert "service_started" in (tmp_path / "watch" / "service.log").read_text()


@pytest.mark.parametrize("page", OTHERS)
def test_page_can_be_followed(page: str, post: kit.Post, webhook: HttpEnd) -> None:
    """Every command of the page succeeds for a reader whose service runs."""
    slack = f"  - name: security-slack\n    webhook: {{url: '{webhook.url}/hook', signing_key: {kit.KEY}}}\n"
    post.write(webhook, slack)
    post.upstream.delete_cluster("eve@example.com")
    shown = {
        "docs/proof.md": "records proof",
        "docs/operations.md": "status",
    }  # what succeeds only after the first poll
    polled = f"; until actionwatch {shown[page]}; do sleep 1; done" if page in shown else ""
    with pages.followed(page, post.folder, {}, [f"actionwatch run{polled}"]):
        pass

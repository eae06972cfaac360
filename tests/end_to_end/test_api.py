"""The API of the installed service: tokens that commands create and revoke meanwhile, and a decision that reaches people."""

from __future__ import annotations

import json

from tests import http_client
from tests.end_to_end import kit
from tests.integration.notifiers.http_end import HttpEnd

PROXY = "{addresses: [127.0.0.1], operators: [kim]}"


def test_a_program_decides_about_an_alert_of_the_running_service(
    post: kit.Post, webhook: HttpEnd, soar: kit.Soar
) -> None:
    """A token works from the moment it is created, its name is the author, and it ends when it is revoked."""
    post.write(webhook)
    config = post.folder / "actionwatch.yaml"
    config.write_text(config.read_text().replace("web: {", f"web: {{proxy: {PROXY}, "))

    def call(*arguments: str) -> str:
        ran = kit.finished_warm(*arguments, folder=post.folder)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    with post.service() as service, http_client.client(base_url=f"{service.wait_until_up()}/api/v1") as client:
        secret = call("tokens", "create", "soar", "--role", "operator").strip()
        client.headers["authorization"] = f"Bearer {secret}"
        post.upstream.delete_cluster("eve@example.com")
        (opened,) = soar.wait_for(user="eve@example.com", type="alert.opened")
        (item,) = client.get("/alerts?status=open&rule=cluster_deleted").json()["items"]
        assert item["id"] == opened.data["id"]
        assert client.get(f"/alerts/{item['id'][:8]}").json()["records"] == opened.data["records"]
        page = http_client.get(f"{service.wait_until_up()}/", headers={"x-forwarded-user": "kim"})
        assert "kim, operator" in page.text
        for path in ("/records", "/deliveries", "/silences", "/rules", "/status", "/openapi.json"):
            assert client.get(path).status_code == 200, path
        assert client.post(f"/alerts/{item['id']}/resolve", json={"comment": "CHG-12"}).status_code == 200
        (resolved,) = soar.wait_for(user="eve@example.com", type="alert.resolved")
        assert resolved.data["resolved_by"] == "soar"
        (token,) = json.loads(call("tokens", "list", "-o", "json"))
        assert token["last_used_at"] is not None
        assert call("tokens", "revoke", "soar") == "1 token revoked\n"
        assert client.get("/alerts").status_code == 401
        service.end()

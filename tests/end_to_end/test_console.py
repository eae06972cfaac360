"""The console of the installed service: from an action in the upstream to a person's decision, and the message about it."""

from __future__ import annotations

import html
import re
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

import httpx

from tests import http_client
from tests.end_to_end import kit
from tests.integration.notifiers.http_end import HttpEnd
from tests.waiting import wait_until

TOKEN = "open-sesame"


def test_a_person_decides_about_an_alert_of_the_running_service(
    post: kit.Post, webhook: HttpEnd, soar: kit.Soar
) -> None:
    """Every page of a real service works, an alert says why it opened, and resolving reaches the receiver."""
    post.write(webhook)
    config = post.folder / "actionwatch.yaml"
    config.write_text(config.read_text().replace("web: {", f"web: {{token: {TOKEN}, "))
    with post.service() as service, http_client.client(base_url=service.wait_until_up()) as client:
        client.headers["accept"] = "text/html"
        post.upstream.delete_cluster("eve@example.com")
        (opened,) = soar.wait_for(user="eve@example.com", type="alert.opened")
        signed_in = client.post("/sign-in", data={"token": TOKEN})
        cookie = SimpleCookie(signed_in.headers["set-cookie"])
        client.headers["cookie"] = "; ".join(f"{name}={each.value}" for name, each in cookie.items())
        path = f"/alerts/{opened.data['id']}"
        page = html.unescape(client.get(path).text)
        assert "actionKind: DELETE_CLUSTER" in page
        assert "← DELETE_CLUSTER" in page
        overview = wait_until(lambda: _when_seeing(client.get("/").text), "a proof")
        assert "1 open alert needs a person: 1 critical." in overview
        assert 'class="proved"' in overview
        others = re.findall(r'<a href="(/\w*)"', page)
        record = re.search(r'href="(/records/[^"]+)"', page)
        rule = re.search(r'href="(/rules/[^"]+)"', page)
        assert record is not None
        assert rule is not None
        for other in {*others, record[1], rule[1], "/?range=month", "/deliveries?state=held"}:
            assert client.get(other).status_code == 200, other
        token = re.search(r'name="form_token" value="(\w+)"', page)
        assert token is not None
        form = {"form_token": token[1], "action": "resolve", "author": "sam", "comment": "agreed, CHG-12"}
        assert client.post(f"{path}/decision", data=form).status_code == 303
        (resolved,) = soar.wait_for(user="eve@example.com", type="alert.resolved")
        assert resolved.data["resolved_by"] == "sam"
        service.end()


def test_the_link_of_a_message_opens_the_page_of_its_alert(post: kit.Post, webhook: HttpEnd, soar: kit.Soar) -> None:
    """The link is that of `web.url`, whose name the listener serves to people with a token, and to nobody else."""
    post.write(webhook)
    config = post.folder / "actionwatch.yaml"
    config.write_text(config.read_text().replace("web: {", "web: {url: 'https://watch.example.com/', "))
    with post.service() as service, http_client.client(base_url=service.wait_until_up()) as client:
        post.upstream.delete_cluster("eve@example.com")
        (opened,) = soar.wait_for(user="eve@example.com", type="alert.opened")
        link = urlsplit(opened.data["url"])
        assert (link.scheme, link.netloc) == ("https", "watch.example.com")

        made = kit.called("tokens", "create", "sam@example.com", folder=post.folder)

        def ask(host: str, **headers: str) -> httpx.Response:
            return client.get(link.path, headers={"host": host, "accept": "text/html", **headers})

        page = ask(link.netloc, authorization=f"Bearer {made.stdout.split()[-1]}")
        assert page.status_code == 200
        assert f"actionwatch explain {opened.data['id'][:8]}" in page.text
        assert ask(link.netloc).status_code == 403
        assert ask("evil.example.com").status_code == 421
        service.end()


def _when_seeing(text: str) -> str:
    return text if "actionwatch sees everything" in text else ""

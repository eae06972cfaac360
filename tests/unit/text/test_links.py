"""The URLs of the console's pages in messages."""

from __future__ import annotations

import re

from actionwatch.text.links import Links, console_of
from tests.cases import in_one_test
from tests.unit.render.messages import HOSTILE

LINKS = Links("https://watch.example.com:8443")


def test_an_alert_has_the_url_of_its_page() -> None:
    """With the address of the console, alerts and summaries have a link; without it, none."""
    assert LINKS.of_alert("3c1dff7a-1") == {"url": "https://watch.example.com:8443/alerts/3c1dff7a-1"}
    assert LINKS.of_list() == {"url": "https://watch.example.com:8443/alerts"}
    assert Links().of_alert("3c1dff7a-1") == Links().of_list() == {}
    assert [console_of(each) for each in (None, "", "http://[::1]:80/alerts/x")] == ["", "", "http://[::1]:80"]


@in_one_test("name", HOSTILE)
def test_no_id_makes_another_link(name: str) -> None:
    """Whatever a damaged store holds as an id stays within the path."""
    for alert_id in (HOSTILE[name], f"../{HOSTILE[name]}?#"):
        (url,) = LINKS.of_alert(alert_id[:1000]).values()
        assert re.fullmatch(r"https://watch\.example\.com:8443/alerts/[A-Za-z0-9_.~%-]*", url)

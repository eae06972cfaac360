"""People sign in with an OpenID Connect provider through the documented Apache, which names them to actionwatch."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from actionwatch.store.database import Database
from actionwatch.web.proxy import TrustedProxy
from tests import http_client
from tests.debian import find
from tests.integration.streams.ends.certificates import write_certificates
from tests.integration.streams.ends.server import ServerProcess, free_port
from tests.integration.web.console_kit import Served
from tests.integration.web.openid_end import CLIENT_ID, CLIENT_SECRET, OpenIdEnd

EXAMPLE = Path(__file__).parents[3] / "docs" / "deploy" / "sign-in" / "apache.conf"
MODULES = Path("/usr/lib/apache2/modules")
NEEDED = (
    *("mpm_event", "authn_core", "authz_core", "authz_user", "headers", "proxy", "proxy_http", "ssl"),
    *("socache_shmcb", "auth_openidc"),
)
GLOBAL = """\
ServerRoot {folder}
ServerName watch.example.com
PidFile {folder}/pid
DefaultRuntimeDir {folder}
Mutex pthread
ErrorLog /dev/stderr
Listen 127.0.0.1:{port}
"""


@contextmanager
def apache(folder: Path, end: OpenIdEnd, upstream: str) -> Iterator[httpx.Client]:
    """Run Apache with the example, whose addresses and files are those of the test. Yield a browser at it."""
    if not (MODULES / "mod_auth_openidc.so").exists():
        pytest.skip("mod_auth_openidc is not installed: apt-get install libapache2-mod-auth-openidc")
    files, port = write_certificates(folder), free_port()
    (folder / "secret").write_text(CLIENT_SECRET)
    end.console = f"https://127.0.0.1:{port}"
    text = EXAMPLE.read_text()
    for documented, here in {
        "*:443": f"*:{port}",
        "https://watch.example.com/sign-in": f"{end.console}/sign-in",
        "https://accounts.example.com": end.issuer,
        "http://10.0.0.7:8080": upstream,
        "/etc/ssl/watch.pem": str(files.cert),
        "/etc/ssl/private/watch.key": str(files.key),
        "/run/secrets/openid_passphrase": str(folder / "secret"),
        "/run/secrets/openid": str(folder / "secret"),
        "OIDCClientID                 actionwatch": f"OIDCClientID {CLIENT_ID}",
    }.items():
        assert documented in text
        text = text.replace(documented, here)
    loaded = "".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so\n" for name in NEEDED)
    if os.geteuid() == 0:
        loaded += "User www-data\nGroup www-data\n"  # it refuses to serve as root
    (folder / "apache.conf").write_text(loaded + GLOBAL.format(folder=folder, port=port) + text)
    server = ServerProcess([find("apache2", "apache2-bin"), "-DFOREGROUND", "-f", folder / "apache.conf"], port, folder)
    server.start()
    try:
        with http_client.client(
            base_url=end.console, verify=ssl.create_default_context(cafile=files.ca), follow_redirects=True
        ) as browser:
            yield browser
    finally:
        server.stop()


@contextmanager
def signing_in(database: Database, folder: Path, **claims: Any) -> Iterator[tuple[httpx.Client, OpenIdEnd]]:
    """Serve a console behind Apache, and a provider that says these claims."""
    made = Served(database, open_to=None)
    made.proxy = TrustedProxy(
        addresses=[ipaddress.ip_network("127.0.0.1/32")],
        user_header="X-Forwarded-Email",
        groups_header="X-Forwarded-Groups",
        operators=["sam@example.com"],
        operator_groups=["security-on-call"],
        hosts=["127.0.0.1"],
    )
    with (
        OpenIdEnd(claims=claims) as end,
        made.open() as console,
        apache(folder, end, str(console.base_url).rstrip("/")) as browser,
    ):
        yield browser, end


def test_people_sign_in_with_the_provider(database: Database, tmp_path: Path) -> None:
    """A person is led to the provider and back to the page, and nobody can claim another name in a header."""
    forged = {"x-forwarded-email": "eve@example.com", "x-forwarded-groups": "security-on-call"}
    with signing_in(database, tmp_path) as (browser, end):
        answer = browser.get("/alerts?status=open", headers=forged)
        assert (answer.status_code, answer.url.path, answer.url.query) == (200, "/alerts", b"status=open")
        assert "sam@example.com, operator" in answer.text
        assert end.form["code_verifier"]
        assert "sam@example.com, operator" in browser.get("/", headers=forged).text
        assert end.paths().count("token") == 1
        browser.cookies.clear()
        refused = browser.get("/", headers=forged, follow_redirects=False)
        assert (refused.status_code, refused.headers["location"].startswith(f"{end.issuer}/authorize?")) == (302, True)


@pytest.mark.parametrize(
    ("claims", "status", "shown"),
    [
        ({"email": "kim@example.com", "groups": ["staff", "security-on-call"]}, 200, "kim@example.com, operator"),
        ({"email": "kim@example.com", "groups": ["staff"]}, 200, "kim@example.com, reader"),
        ({"email_verified": False}, 401, "Unauthorized"),
        ({"email_verified": None}, 401, "Unauthorized"),
        ({"email": "sam@example.com.evil.example"}, 401, "Unauthorized"),
        ({"nonce": "of another sign-in"}, 400, "Bad Request"),
        ({"iss": "https://accounts.evil.example"}, 400, "Bad Request"),
        ({"aud": "another-client"}, 400, "Bad Request"),
    ],
)
def test_the_provider_says_who_somebody_is(
    database: Database, tmp_path: Path, claims: dict[str, Any], status: int, shown: str
) -> None:
    """Groups make operators; an address that is not verified and a token for something else open nothing."""
    with signing_in(database, tmp_path, **claims) as (browser, _):
        answer = browser.get("/")
        assert (answer.status_code, shown in answer.text) == (status, True), answer.text


def test_only_the_browser_that_began_can_finish(database: Database, tmp_path: Path) -> None:
    """The answer of the provider to one browser signs no other one in."""
    with signing_in(database, tmp_path) as (browser, end):
        begun = browser.get("/", follow_redirects=False).headers["location"]
        query = end.authorize(begun)
        browser.cookies.clear()
        refused = browser.get("/sign-in/callback", params=query, follow_redirects=False)
        assert refused.status_code in (400, 401)
        assert "operator" not in refused.text
        assert "token" not in end.paths()

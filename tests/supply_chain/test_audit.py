"""The audit of packages fails on a known vulnerability, and passes silently neither without its database nor with a false one.

pip-audit asks a real server on loopback, which speaks the protocol of OSV.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from tests.integration.notifiers.http_end import HttpEnd, Reply, Request, dead_port
from tests.supply_chain.audit import audit
from tests.supply_chain.locks import FOLDER

LOCK = FOLDER / "build.txt"
NOTHING = Reply(body=b"{}", headers={"content-type": "application/json"})


def vulnerable(*names: str) -> Callable[[Request], Reply]:
    """Make a database in which every release of these packages is vulnerable."""

    def reply(request: Request) -> Reply:
        name = request.json["package"]["name"]
        if name not in names:
            return NOTHING
        affected = [{"package": {"name": name, "ecosystem": "PyPI"}, "versions": [request.json["version"]]}]
        found = {
            "vulns": [{"id": "TEST-1", "summary": "bad", "modified": "2026-01-01T00:00:00Z", "affected": affected}]
        }
        return Reply(body=json.dumps(found).encode(), headers=NOTHING.headers)

    return reply


@pytest.fixture
def database() -> Iterator[HttpEnd]:
    """Start a database that knows the vulnerability that the audit asks for first, and no other."""
    end = HttpEnd(vulnerable("jinja2"))
    yield end
    end.close()


def test_audit_passes(database: HttpEnd, capsys: pytest.CaptureFixture[str]) -> None:
    """Every package of a lock is looked up."""
    assert audit(LOCK, "--osv-url", database.url) == 0
    assert "No known vulnerabilities found" in capsys.readouterr().out
    asked = {request.json["package"]["name"] for request in database.requests}
    assert asked > {"jinja2", "hatchling", "packaging", "pathspec", "pluggy"}


def test_audit_reports_a_vulnerable_package(database: HttpEnd, capsys: pytest.CaptureFixture[str]) -> None:
    """A pinned release with a known vulnerability is named, and fails the run."""
    database.reply = vulnerable("jinja2", "pluggy")
    assert audit(LOCK, "--osv-url", database.url) == 1
    printed = capsys.readouterr().out
    assert "pluggy" in printed
    assert "TEST-1" in printed


def test_audit_without_a_database_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a network, the run passes, and says that nothing was audited."""
    with dead_port() as port:
        assert audit(LOCK, "--osv-url", f"http://127.0.0.1:{port}") == 0
    assert "audit: skipped" in capsys.readouterr().out


@pytest.mark.parametrize("reply", [NOTHING, Reply(404), Reply(body=b"<html>")])
def test_database_that_knows_nothing_is_not_believed(
    database: HttpEnd, reply: Reply, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a proxy answers in place of the database, "no vulnerabilities" is not reported."""
    database.reply = lambda _: reply
    assert audit(LOCK, "--osv-url", database.url) == 0
    printed = capsys.readouterr().out
    assert "audit: skipped" in printed
    assert "No known vulnerabilities" not in printed


def test_database_that_fails_after_its_first_answer_fails_the_run(database: HttpEnd) -> None:
    """An audit that stops halfway is not a passed audit."""
    database.reply = lambda request: Reply(500) if b"pluggy" in request.body else vulnerable("jinja2")(request)
    assert audit(LOCK, "--osv-url", database.url) == 1

"""Replicas that run with different files: what counts as different, and when it is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from actionwatch.service.configuration import read_settings
from actionwatch.service.replicas import DIFFER_AFTER, SUBJECT, TROUBLE, ReplicaWatch
from actionwatch.store.membership import Roster
from tests.unit.alerts.test_self_alert_subjects import Reported

CONFIG = """
sources: [{name: acme, organisation_id: 11111111-2222-4333-8444-555555555555, username: u, api_key: k}]
receivers: [{name: hook, webhook: {url: "http://127.0.0.1:9/"}}]
"""


class Place:
    """The files of one machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("rules/one.yml", "title: one\n")
        self.write("actionwatch.yaml", CONFIG)

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def digest(self) -> str:
        """Return the digest that a replica on this machine shows the others."""
        config = self.folder / "actionwatch.yaml"
        return ReplicaWatch(config, read_settings(config), Reported()).digest()


@pytest.fixture
def machines(tmp_path: Path) -> tuple[Place, Place]:
    """Two machines with the same files."""
    return Place(tmp_path / ".one"), Place(tmp_path / "another" / "place")


def test_same_files_in_other_folders_are_equal(machines: tuple[Place, Place]) -> None:
    """The place of the files does not count, nor what belongs to a machine: its address and its log."""
    one, other = machines
    other.write("actionwatch.yaml", (other.folder / "actionwatch.yaml").read_text() + "web: {listen: 127.0.0.1:1}\n")
    assert one.digest() == other.digest()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rules/one.yml", "title: One\n"),
        ("rules/two.yml", ""),
        ("lists/admins.yml", "[eve]"),
        ("templates/alert.txt", "x"),
        ("silences/s.yml", "[]"),
        ("actionwatch.yaml", CONFIG.replace("name: hook", "name: other")),
    ],
)
def test_different_files_differ(machines: tuple[Place, Place], name: str, text: str) -> None:
    """A file that another machine has, or has with another content, makes a difference."""
    one, other = machines
    other.write(name, text)
    assert one.digest() != other.digest()


def test_digest_follows_the_files(machines: tuple[Place, Place]) -> None:
    """A file that changes, comes or goes changes the digest that a running replica shows the others; a hidden file does not."""
    place = machines[0]
    config = place.folder / "actionwatch.yaml"
    watch = ReplicaWatch(config, read_settings(config), Reported())
    first = watch.digest()
    place.write("rules/.swp", "half of a rule")
    assert watch.digest() == first
    place.write("rules/one.yml", "title: two\n")
    second = watch.digest()
    place.write("lists/admins.yml", "[eve]")
    assert len({first, second, watch.digest()}) == 3
    (place.folder / "lists" / "admins.yml").unlink()
    assert watch.digest() == second


def test_difference_that_lasts_is_reported(machines: tuple[Place, Place]) -> None:
    """A difference is reported after some minutes, and is over when the digests are equal again."""
    reported, now = Reported(), [0.0]
    config = machines[0].folder / "actionwatch.yaml"
    watch = ReplicaWatch(config, read_settings(config), reported, lambda: now[0])
    hosts = {"a": "web-1", "b": "web-2", "c": "web-3"}
    differing = Roster("a", hosts, digests={"a": "1" * 16, "b": "2" * 16, "c": ""})
    watch.compare(differing)
    now[0] = DIFFER_AFTER.total_seconds() - 1
    watch.compare(differing)
    assert reported.calls == []
    now[0] += 1
    watch.compare(differing)
    ((call, trouble, subject, what, _),) = reported.calls
    assert (call, trouble, subject) == ("report", TROUBLE, SUBJECT)
    assert "web-1: 11111111, web-2: 22222222" in what
    watch.compare(Roster("a", hosts, digests=dict.fromkeys(hosts, "1" * 16)))
    assert reported.calls[1] == ("settle", TROUBLE, SUBJECT, "")
    watch.compare(differing)
    assert len(reported.calls) == 2

"""The configuration on disk is compared with the running one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from actionwatch.emulator.app import DEMO_KEY
from actionwatch.service.app import App
from actionwatch.service.configuration import read_settings
from actionwatch.service.configuration_watch import DIFFERS_AFTER, ConfigurationWatch, changes
from actionwatch.store import self_alerts

BASE = f"""\
sources: [{{name: acme, organisation_id: o, username: u, api_key: '{DEMO_KEY}', base_url: 'http://127.0.0.1:9'}}]
receivers: [{{name: a, webhook: {{url_file: secret}}}}, {{name: b, console: {{}}}}]
"""


class Watched:
    """A watch over a real file and a store, with a clock that a test moves."""

    def __init__(self, folder: Path, more: str) -> None:
        self.config = folder / "actionwatch.yaml"
        self.secret = folder / "secret"
        (folder / "rules").mkdir()
        self.secret.write_text("http://127.0.0.1:9/one")
        self.good = BASE + more
        self.config.write_text(self.good)
        self.asked: list[str] = []
        self.now = 0.0
        self.app = App(read_settings(self.config))
        self.watch = self.start()

    def start(self, refused: str | None = None) -> ConfigurationWatch:
        """Start the watch of a service, which was started instead of a service with a refused configuration."""
        settings = self.app.settings
        found = None
        if refused is not None:
            self.config.write_text(refused)
            found = read_settings(self.config)
        ask = self.asked.append
        self.watch = ConfigurationWatch(self.config, settings, self.app.self_alerts, ask, found, lambda: self.now)
        return self.watch

    def look(self, seconds: float = 0.0) -> list[str]:
        """Look after so many seconds. Return what is reported about the configuration."""
        self.now += seconds
        self.watch.run_once()
        with self.app.database.read() as connection:
            return [each.what for each in self_alerts.read_all(connection) if each.trouble == "config_differs"]


@pytest.fixture
def more() -> str:
    return ""


@pytest.fixture
def watched(tmp_path: Path, more: str) -> Iterator[Watched]:
    found = Watched(tmp_path, more)
    with contextlib.closing(found.app):
        yield found


MINUTE = DIFFERS_AFTER.total_seconds()


def test_difference_that_lasts_is_reported_and_settled(watched: Watched) -> None:
    """A difference is reported after a minute, by names without values; it ends when the files agree again."""
    assert watched.look() == []
    watched.config.write_text(
        watched.good.replace("name: b,", "name: c,").replace("organisation_id: o", "organisation_id: x")
    )
    assert watched.look() == []
    assert watched.look(MINUTE - 1) == []
    what = "the service runs with an older configuration: source acme changed, receiver c added, receiver b removed"
    assert watched.look(1) == [what]
    assert watched.look(MINUTE) == [what]
    watched.config.write_text(watched.good)
    assert watched.look() == []
    assert not watched.asked


def test_changed_secret_is_a_difference(watched: Watched) -> None:
    """A secret file is part of the configuration; its content is not reported."""
    watched.secret.write_text("http://127.0.0.1:9/two")
    watched.look()
    assert watched.look(MINUTE) == ["the service runs with an older configuration: receiver a changed"]


def test_changed_key_of_a_source_in_a_file_is_used_at_once(watched: Watched, tmp_path: Path) -> None:
    """So is a changed file of a source; other defaults for all sources are a change of the configuration itself."""
    sources, keys = tmp_path / "sources", tmp_path / "keys"
    sources.mkdir()
    keys.mkdir()
    (sources / "acme.yml").write_text("{organisation_id: o, username: u, base_url: 'http://127.0.0.1:9'}")
    (keys / "acme").write_text(DEMO_KEY)
    in_files = watched.good.replace(
        watched.good.splitlines()[0], "sources: {folder: sources, defaults: {api_key_file: 'keys/{name}'}}"
    )
    watched.config.write_text(in_files)
    watched.watch.use(read_settings(watched.config))
    (keys / "acme").write_text("another-key")
    assert watched.look(MINUTE) == []
    assert watched.asked == ["sources"]
    watched.watch.use(read_settings(watched.config))
    assert watched.look(MINUTE) == []
    watched.config.write_text(in_files.replace("{api_key_file", "{timeout: 9s, api_key_file"))
    watched.look()
    assert watched.look(MINUTE) == ["the service runs with an older configuration: source acme changed"]
    assert watched.asked == ["sources"]


def test_broken_file_is_reported_once(watched: Watched) -> None:
    """A broken file is reported with its errors, unless a reload has already reported it."""
    watched.config.write_text(watched.good + "nonsense: 1\n")
    watched.look()
    (what,) = watched.look(MINUTE)
    assert "unknown key 'nonsense'" in what
    watched.config.write_text(watched.good)
    assert watched.look() == []
    watched.config.write_text(watched.good + "nonsense: 1\n")
    watched.watch.is_refused = True
    assert watched.look() == []
    assert watched.look(MINUTE) == []


@pytest.mark.parametrize("more", ["auto_reload: true\n"])
def test_auto_reload_asks_for_valid_files_only(watched: Watched) -> None:
    """With auto_reload, a changed valid configuration is loaded at once; a broken or refused one is not tried."""
    watched.look()
    assert watched.asked == []
    watched.config.write_text(watched.good + "nonsense: 1\n")
    watched.look()
    assert watched.asked == []
    changed = watched.good + "log: {level: error}\n"
    watched.config.write_text(changed)
    watched.look()
    assert watched.asked == ["reload"]
    watched.start(refused=changed)
    watched.look(MINUTE)
    assert watched.asked == ["reload"]
    watched.config.write_text(watched.good + "log: {level: warning}\n")
    assert watched.look(MINUTE) == []
    assert watched.asked == ["reload"] * 2


def test_changes_name_every_key(watched: Watched) -> None:
    """Every difference has a name, including another order."""
    before = read_settings(watched.config)
    watched.config.write_text(
        watched.good.replace("{name: b, console: {}}", "X")
        .replace("{name: a, ", "{name: b, console: {}}, {name: a, ")
        .replace(", X", "")
        + "max_silence: 1d\n"
    )
    assert changes(before, read_settings(watched.config)) == ["the order of receivers", "max_silence changed"]

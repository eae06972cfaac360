"""Sources come, change and go while the service runs: a folder with one file for each is watched."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection
from starlette.types import ASGIApp, Receive, Scope, Send

from actionwatch.emulator.app import create_app
from actionwatch.emulator.fleet import Member, create_fleet
from actionwatch.emulator.server import running
from actionwatch.service.app import App
from actionwatch.service.configuration import read_settings
from actionwatch.service.serve import serve
from actionwatch.service.service import Service
from actionwatch.service.signals import Asked
from actionwatch.store import alerts, marks, self_alerts
from actionwatch.store.database import Database
from actionwatch.store.membership import tail_role
from tests import postgresql
from tests.integration.reload.kit import put, rule
from tests.waiting import beside, wait_until


class Counted:
    """The upstream of a fleet, which counts the requests for each organisation."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.requests = Counter[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.requests.update(part for part in scope["path"].split("/") if part)
        await self._app(scope, receive, send)


class Fleet:
    """A folder of sources, an emulator with their organisations, and a service that watches both."""

    def __init__(self, folder: Path, members: list[Member], url: str, upstream: Counted) -> None:
        self.folder = folder
        self.url = url
        self.members = {member.name: member for member in members}
        self.upstream = upstream
        self.apps: list[App] = []
        """The parts of each service that started."""
        put(folder / "rules" / "one.yml", rule())
        put(
            self.config,
            "sources:\n  folder: sources\n  defaults: {start: 1h, poll_interval: 0.1s, api_key_file: 'keys/{name}'}\n"
            "web: {listen: '127.0.0.1:0'}\nlog: {level: error}\n"
            "receivers: [{name: screen, webhook: {url: 'http://127.0.0.1:9/', timeout: 1s}}]\n",
        )

    @property
    def config(self) -> Path:
        return self.folder / "actionwatch.yaml"

    def requests(self, name: str) -> int:
        """Return how many requests for the log of a source there were."""
        return self.upstream.requests[self.members[name].organisation.id]

    def write(self, name: str, more: str = "") -> None:
        """Write the file of a source, and its key."""
        member = self.members[name]
        put(self.folder / "keys" / name, member.api_key)
        put(
            self.folder / "sources" / f"{name}.yml",
            f"organisation_id: '{member.organisation.id}'\nusername: {member.user_name}\nbase_url: '{self.url}'\n"
            f"labels: {{customer: {member.customer}}}\n{more}",
        )

    def remove(self, name: str) -> None:
        """Remove the file of a source."""
        (self.folder / "sources" / f"{name}.yml").unlink()

    def act(self, name: str) -> None:
        """Log the action that the rule alerts about."""
        organisation = self.members[name].organisation
        organisation.append("DELETE_CLUSTER", user_name="eve", at=organisation.clock(), description="deleted")

    @contextlib.contextmanager
    def served(self) -> Iterator[Asked]:
        """Serve until the block ends. It must end without an error."""
        with (
            contextlib.closing(Asked()) as asked,
            beside(lambda: serve(self.config, read_settings(self.config, {}), asked, self), stop=asked.ask),
        ):
            wait_until(lambda: self.apps, "the start")  # polls begin before it is shown
            yield asked

    def started(self, app: App, url: str) -> None:
        """Note a service that started."""
        self.apps.append(app)

    def stopping(self) -> None:
        """Show nothing."""

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Read the store like another process."""
        with (
            contextlib.closing(Database(f"sqlite:///{self.folder / 'actionwatch.db'}")) as database,
            database.read() as connection,
        ):
            yield connection

    def polled(self) -> set[str]:
        """Return the sources that were read."""
        with self._reading() as connection:
            return {each.name for each in marks.read_all(connection).values()}

    def troubles(self) -> dict[str, str]:
        """Return what is reported now, by subject."""
        with self._reading() as connection:
            return {each.subject: each.what for each in self_alerts.read_all(connection)}

    def alerted(self) -> dict[str, str]:
        """Return the label `customer` of each alert of the rule, by source."""
        with self._reading() as connection:
            found = alerts.read_newest(connection, 100)
        return {each.source: each.labels["customer"] for each in found if each.rule.name == "plain"}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Three organisations, of which `org-0001` has a file."""
    members = create_fleet(3, timedelta(minutes=1))
    first = members[0]
    app = Counted(create_app(first.organisation, user_name=first.user_name, api_key=first.api_key, others=members[1:]))
    with running(app) as url:
        fleet = Fleet(tmp_path, members, url, app)
        fleet.write("org-0001")
        App(read_settings(fleet.config, {})).close()  # so that the store exists
        yield fleet


def test_a_new_file_is_a_new_source_without_a_restart(fleet: Fleet) -> None:
    """It is read and alerts with its labels, and the service and the other sources go on."""
    with fleet.served():
        wait_until(lambda: fleet.polled() == {"org-0001"}, "a first poll")
        tail = fleet.apps[0].tails.steps["org-0001"]
        fleet.write("org-0002")
        wait_until(lambda: fleet.polled() == {"org-0001", "org-0002"}, "the poll of the new source")
        for name in ("org-0001", "org-0002"):
            fleet.act(name)
        labels = {name: fleet.members[name].customer for name in ("org-0001", "org-0002")}
        wait_until(lambda: fleet.alerted() == labels, "an alert of each")
        assert fleet.apps[0].tails.steps["org-0001"] is tail
    assert len(fleet.apps) == 1


def test_a_removed_file_ends_its_source(fleet: Fleet) -> None:
    """It is polled no longer, what was reported about it is over, and the others go on."""
    fleet.write("org-0002")
    put(fleet.folder / "keys" / "org-0002", "wrong")
    with fleet.served():
        wait_until(lambda: "org-0002" in fleet.troubles(), "the refused key")
        fleet.remove("org-0002")
        wait_until(lambda: "org-0002" not in fleet.troubles(), "the end of the trouble")
        count = fleet.requests("org-0002")
        more = fleet.requests("org-0001") + 10
        wait_until(lambda: fleet.requests("org-0001") > more, "polls of the other")
        assert fleet.requests("org-0002") == count
        assert fleet.apps[0].tails.steps.keys() == {"org-0001"}
    assert len(fleet.apps) == 1


def test_a_changed_file_changes_its_source(fleet: Fleet) -> None:
    """A source with another interval goes on from where it was read; one with other labels has them in its next alert."""
    with fleet.served():
        wait_until(lambda: fleet.polled() == {"org-0001"}, "a first poll")
        fleet.write("org-0001", "poll_interval: 0.2s\n")
        wait_until(lambda: fleet.apps[0].settings.poll_intervals["org-0001"] == timedelta(seconds=0.2), "the interval")
        path = fleet.folder / "sources" / "org-0001.yml"
        put(path, path.read_text().replace(fleet.members["org-0001"].customer, "another"))
        wait_until(lambda: "another" in fleet.apps[0].settings.sources[0].labels.values(), "the label")
        fleet.act("org-0001")
        wait_until(lambda: fleet.alerted() == {"org-0001": "another"}, "an alert")
    assert len(fleet.apps) == 1


def test_a_broken_file_keeps_all_sources_as_they_are(fleet: Fleet) -> None:
    """It is reported with its place, and used as soon as it is fixed."""
    with fleet.served():
        wait_until(lambda: fleet.polled() == {"org-0001"}, "a first poll")
        fleet.write("org-0002", "poll_intervall: 1s\n")
        wait_until(lambda: str(fleet.config) in fleet.troubles(), "the trouble")
        assert "org-0002.yml:5:1: unknown key 'poll_intervall'" in fleet.troubles()[str(fleet.config)]
        count = fleet.requests("org-0001")
        wait_until(lambda: fleet.requests("org-0001") > count, "another poll")
        fleet.write("org-0002")
        wait_until(lambda: fleet.polled() == {"org-0001", "org-0002"}, "the poll of the new source")
        wait_until(lambda: not fleet.troubles(), "the end of the trouble")
    assert len(fleet.apps) == 1


def test_a_name_cannot_move_to_another_organisation(fleet: Fleet) -> None:
    """Otherwise the records of two customers would have one name."""
    with fleet.served():
        wait_until(lambda: fleet.polled() == {"org-0001"}, "a first poll")
        fleet.members["org-0001"] = fleet.members["org-0003"]
        fleet.write("org-0001")
        wait_until(lambda: str(fleet.config) in fleet.troubles(), "the trouble")
        assert fleet.apps[0].settings.sources[0].organisation_id != fleet.members["org-0003"].organisation.id


def test_sources_of_the_configuration_change_without_a_restart_too(fleet: Fleet) -> None:
    """A reload with other defaults for the sources, and nothing else, keeps the service; one with more starts it again."""
    with fleet.served() as asked:
        wait_until(lambda: fleet.polled() == {"org-0001"}, "a first poll")
        fleet.config.write_text(fleet.config.read_text().replace("poll_interval: 0.1s", "poll_interval: 0.3s"))
        asked.ask("reload")
        wait_until(lambda: fleet.apps[0].settings.poll_intervals["org-0001"] == timedelta(seconds=0.3), "the interval")
        assert len(fleet.apps) == 1
        fleet.config.write_text(fleet.config.read_text().replace("timeout: 1s", "timeout: 2s"))
        asked.ask("reload")
        wait_until(lambda: len(fleet.apps) == 2, "another service")


def test_replica_that_polled_a_removed_source_ends_what_it_reported(fleet: Fleet) -> None:
    """The leader may see first that a source is gone, while the other replica still reports its refused key."""
    fleet.write("org-0002")
    put(fleet.folder / "keys" / "org-0002", "wrong")
    with postgresql.other_database("removed_source") as url, contextlib.ExitStack() as stack:
        put(fleet.config, f"{fleet.config.read_text()}store: {{url: '{url}'}}\n")
        services = []
        for _ in range(2):
            app = stack.enter_context(contextlib.closing(App(read_settings(fleet.config, {}))))
            service = Service(app)
            services.append((service, stack.enter_context(service.running())))
        (leader, _), (other, _) = services
        wait_until(lambda: other.roles.has(tail_role("org-0002")), "the other replica to tail the second source")

        def reported() -> list[str]:
            with app.database.read() as connection:
                return [each.subject for each in self_alerts.read_all(connection)]

        wait_until(lambda: reported() == ["org-0002"], "the refused key")
        fleet.remove("org-0002")
        settings = read_settings(fleet.config, {})
        leader.use_sources(settings, services[0][1])
        wait_until(lambda: reported() == ["org-0002"], "another report of the refused key")
        other.use_sources(settings, services[1][1])
        assert reported() == []

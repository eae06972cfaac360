"""The shipped rules: complete, tested, quiet in a quiet month, and alerting if something happens."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from actionwatch.base.model import Alert, Entity, Level, Mode, Record
from actionwatch.emulator.durations import Duration
from actionwatch.emulator.incidents import INCIDENTS
from actionwatch.emulator.scenario import PlannedIncident, build_simulation, demo_scenario
from actionwatch.instaclustr.kinds import KINDS, OWN_KINDS
from actionwatch.rules.case_runner import CaseRunner, Rebuild, missing_tests
from actionwatch.rules.engine import Engine
from actionwatch.rules.lint import lint
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import Rules, build_rules, load_rules, read_documents
from actionwatch.rules.model import CorrelationType, Rule
from actionwatch.rules.prefilter import conditions_of, demanded_kinds
from actionwatch.service import configuration
from actionwatch.service.simulation import simulate
from actionwatch.text.timeintervals import TimeInterval
from actionwatch.text.yaml_document import Document, read_text
from tests import docs
from tests.benchmarks import noise
from tests.builders import NOON, Clock, make_record
from tests.cases import in_one_test

SCHEMA_LINE = "# yaml-language-server: $schema=../schemas/rule.schema.json\n"
A_MINUTE = timedelta(minutes=1)

# The techniques of ATT&CK 18.1 that the rules use, each with its tactics.
TECHNIQUES = {
    "t1036": {"defense-evasion"},
    "t1059.009": {"execution"},
    "t1078.004": {"defense-evasion", "persistence", "privilege-escalation", "initial-access"},
    "t1087.004": {"discovery"},
    "t1098": {"persistence", "privilege-escalation"},
    "t1098.001": {"persistence", "privilege-escalation"},
    "t1098.003": {"persistence", "privilege-escalation"},
    "t1133": {"persistence", "initial-access"},
    "t1136": {"persistence"},
    "t1136.003": {"persistence"},
    "t1199": {"initial-access"},
    "t1213": {"collection"},
    "t1213.006": {"collection"},
    "t1484.002": {"defense-evasion", "privilege-escalation"},
    "t1485": {"impact"},
    "t1486": {"impact"},
    "t1489": {"impact"},
    "t1490": {"impact"},
    "t1496": {"impact"},
    "t1496.001": {"impact"},
    "t1526": {"discovery"},
    "t1531": {"impact"},
    "t1535": {"defense-evasion"},
    "t1537": {"exfiltration"},
    "t1556": {"credential-access", "defense-evasion", "persistence"},
    "t1562": {"defense-evasion"},
    "t1562.001": {"defense-evasion"},
    "t1562.007": {"defense-evasion"},
    "t1562.008": {"defense-evasion"},
    "t1578.002": {"defense-evasion"},
    "t1578.003": {"defense-evasion"},
    "t1578.005": {"defense-evasion"},
    "t1580": {"discovery"},
    "t1657": {"impact"},
    "t1666": {"defense-evasion"},
}
# The alerts that each incident of the demo must raise, among others.
RAISED = {
    "key_then_cluster_deleted": {"key_then_cluster_delete", "account_api_key_generated", "cluster_deleted"},
    "firewall_burst": {"firewall_change_burst", "firewall_opened_to_world"},
    "backup_schedule_then_cluster_deleted": {"backup_schedule_then_cluster_delete", "cluster_deleted"},
    "first_admin_action": {"vendor_access_level_set"},
    "off_hours_key_revocation": {"api_key_revoked_off_hours"},
    "account_unlinked": {"account_unlinked"},
}
OF_THE_SPECIFICATION = (
    "cluster_deleted",
    "api_key_revoked_off_hours",
    "firewall_change_burst",
    "key_then_cluster_delete",
    "first_seen_admin_user",
    "backup_heartbeat_missing",
)


@pytest.fixture(scope="module")
def pack() -> Rules:
    """Load the shipped rules once, with the configuration that `init` writes."""
    return load_rules(
        [noise.FOLDER],
        lists=None,
        known_kinds=configuration.documented_kinds(),
        time_intervals=configuration.usual_intervals(),
    )


# -- each rule --------------------------------------------------------------------------------------------------------


def test_shipped_rules_load(pack: Rules) -> None:
    """The shipped rules load without a fault; the only note says that the operator's list is empty."""
    assert pack.faults == ()
    assert [(Path(note.file).name, note.what) for note in pack.notes] == [
        ("backup_heartbeat_missing.yml", "the list 'production-clusters' is empty: no groups are expected")
    ]
    assert lint(pack, read_documents([noise.FOLDER]).documents, configuration.documented_kinds()) == []
    assert len(pack.rules) >= 40
    assert not any(rule.is_silent for rule in pack.rules)


def test_rules_pass_their_tests(pack: Rules) -> None:
    """Every test of every rule passes, and each rule has one that alerts and one that does not."""
    assert _failed(pack.rules, lambda lists: _pack_beside(lists).rules) == []
    assert [rule.name.name for rule in pack.rules if missing_tests(rule, 1)] == []


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/Los_Angeles"])
def test_rules_pass_their_tests_with_other_business_hours(zone: str) -> None:
    """The tests also pass if `business-hours` are those of a place other than London."""
    assert _failed(_pack_with_hours_of(zone), lambda lists: _pack_beside(lists).rules) == []


def test_each_file_names_its_schema() -> None:
    """The first line names the schema for yaml-language-server."""
    for file in noise.FOLDER.rglob("*.yml"):
        assert file.read_text().startswith(SCHEMA_LINE), file


def test_each_rule_is_complete(pack: Rules) -> None:
    """Every rule has all required keys and the name of its file."""
    for rule in pack.rules:
        name = rule.name.name
        assert rule.document is not None
        document = rule.document.value
        assert Path(rule.file).stem == name
        assert str(uuid.UUID(rule.name.id)) == rule.name.id, name
        assert document["description"].endswith("."), name
        assert document["falsepositives"], name
        assert {"status", "level", "logsource", "title"} <= set(document), name
        assert rule.alert.title is not None, name
        assert rule.alert.fields, name
        steps = re.findall(r"^(\d+)\. ", rule.alert.runbook or "", re.MULTILINE)
        assert steps == [str(number) for number in range(1, len(steps) + 1)], name
        assert len(steps) >= 2, name


def test_tags_are_techniques_of_attack(pack: Rules) -> None:
    """Every rule has existing techniques, each with one of its tactics, and no tactic without a technique."""
    for rule in pack.rules:
        words = [tag.removeprefix("attack.") for tag in rule.name.tags if tag.startswith("attack.")]
        techniques = [word for word in words if re.match(r"t\d", word)]
        tactics = set(words) - set(techniques)
        assert len(words) == len(rule.name.tags), rule.name
        assert techniques, rule.name
        assert tactics <= {tactic for each in techniques for tactic in TECHNIQUES[each]}, rule.name
        assert all(TECHNIQUES[each] & tactics for each in techniques), rule.name


def test_no_template_fails(pack: Rules) -> None:
    """No template fails, even for records that have only their kind."""
    records = _bare_records()
    engine = Engine(pack.rules)
    engine.evaluate(records)
    assert not engine.take_failures()
    noise.raised(pack.rules, records, records[0].occurred_at - timedelta(days=91), records[-1].occurred_at)


@pytest.mark.parametrize(
    ("user", "cluster", "expected"),
    [("alice", "prod-eu", 1), ("svc-ci-reaper", "ci-7", 0), ("svc-ci-reaper", "prod-eu", 1), ("alice", "ci-7", 1)],
)
def test_exception_for_the_reaper_is_narrow(pack: Rules, user: str, cluster: str, expected: int) -> None:
    """The reaper may delete only clusters of CI, and nobody else may delete these."""
    found = Engine(pack.rules).evaluate([make_record(user_name=user, cluster=Entity(name=cluster))])
    assert [match.rule.name for match in found] == ["cluster_deleted"] * expected


# -- all of them ------------------------------------------------------------------------------------------------------


def rules_of_kinds(rules: Sequence[Rule], kinds: Collection[str]) -> dict[str, list[str]]:
    """Return the names of the rules that watch each kind. Rules that match every kind do not count."""
    known = {rule.name.id: rule for rule in rules}
    found: dict[str, list[str]] = {kind: [] for kind in kinds}
    for rule in rules:
        for kind in {kind for each in conditions_of(rule, known) for kind in demanded_kinds(each, kinds)}:
            found[kind].append(rule.name.name)
    return found


def test_every_severe_kind_has_a_rule(pack: Rules) -> None:
    """Each kind of high or critical severity, and each of our own kinds, has a live rule that needs only one record."""
    single = [rule for rule in pack.rules if rule.correlation is None and rule.mode is Mode.LIVE]
    covered = rules_of_kinds(single, configuration.documented_kinds())
    severe = {kind for kind, known in KINDS.items() if known.severity in ("high", "critical")}
    assert {kind for kind in severe | set(OWN_KINDS) if not covered[kind]} == set()


def test_every_area_and_type_is_used(pack: Rules) -> None:
    """Each area of the catalogue has several rules, and every type of correlation is used."""
    areas: dict[str, set[str]] = {}
    for kind, rules in rules_of_kinds(pack.rules, KINDS).items():
        areas.setdefault(KINDS[kind].area, set()).update(rules)
    assert {area for area, rules in areas.items() if len(rules) < 3} == set()
    correlations = [rule.correlation for rule in pack.rules if rule.correlation is not None]
    assert {each.type for each in correlations} >= {
        CorrelationType.EVENT_COUNT,
        CorrelationType.VALUE_COUNT,
        CorrelationType.TEMPORAL,
        CorrelationType.TEMPORAL_ORDERED,
        CorrelationType.NEW_TERM,
        CorrelationType.SPIKE,
    }
    assert any(each.is_absence for each in correlations)


def test_rules_of_the_specification_are_shipped(pack: Rules) -> None:
    """All six are shipped with their ids, and each is live."""
    rules = {rule.name.name: rule for rule in pack.rules}
    expected = [f"1f0c6a0e-7a0b-4d50-9f9c-0d1f6c1d2a0{number}" for number in range(1, 7)]
    assert [rules[name].name.id for name in OF_THE_SPECIFICATION] == expected
    assert {rules[name].mode for name in OF_THE_SPECIFICATION} == {Mode.LIVE}


def test_backup_rule_uses_the_operators_list(tmp_path: Path) -> None:
    """With an empty list, years without a backup raise nothing; a list of the operator replaces the shipped one."""
    year = NOON + timedelta(days=365)

    def missing(lists: Path | None) -> list[Mapping[str, str | None]]:
        loaded = load_rules(
            [noise.FOLDER],
            lists=lists,
            known_kinds=configuration.documented_kinds(),
            time_intervals=configuration.usual_intervals(),
        )
        raised = noise.raised(loaded.rules, [make_record(1)], NOON, year)
        return [alert.group or {} for alert in raised if alert.rule.name == "backup_heartbeat_missing"]

    assert missing(None) == []
    (tmp_path / "production-clusters.yml").write_text("[c-1]")
    assert missing(tmp_path) == [{"clusterId": "c-1"}]


def test_quiet_month_has_few_alerts(pack: Rules) -> None:
    """A quiet month has fewer than 5 alerts a day of level high or above, none critical, and no rule with too many.

    docs/rule-pack.md contains the table of this; `python -m tests.docs` writes it again.

    """
    quiet = noise.measure(pack.rules)
    assert quiet.records > 5000
    assert quiet.per_day(Level.HIGH) < 5
    assert quiet.per_day(Level.CRITICAL) == 0
    assert quiet.per_day(Level.INFORMATIONAL) < 10
    assert {name for name, count in quiet.by_rule().items() if count / quiet.days > 2} == set()
    assert quiet.in_shadow == []
    assert docs.PACK_FILE.read_text() == docs.pack_page(pack.rules, quiet)


@in_one_test("incident", INCIDENTS)
def test_each_incident_raises_its_alerts(incident: str) -> None:
    """Each incident of the demo raises the alerts of its rules, at least one of level high."""
    alerts = [alert for alert in _play(incident) if alert.rule.name != "backups_stopped"]
    assert {alert.rule.name for alert in alerts} >= RAISED[incident]
    assert max(alert.level for alert in alerts) >= Level.HIGH


# -- its page ---------------------------------------------------------------------------------------------------------


def test_documented_filter_loads(pack: Rules) -> None:
    """The filter on the page loads together with the shipped rules."""
    examples = re.findall(r"```yaml\n(title.*?)```", docs.PACK_FILE.read_text(), re.DOTALL)
    built = _pack_beside({}, *read_text("---\n".join(examples), "page"))
    assert len(built.filters) == len(examples) == 1
    assert len(built.rules) == len(pack.rules)


def test_documented_rules_exist(pack: Rules) -> None:
    """Every rule that the page names exists; it also names one key of the configuration."""
    known = {rule.name.name for rule in pack.rules} | {"actionwatch_self", "inhibit_rules"}
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", docs.PACK_FILE.read_text()))
    assert named <= known


# -- helpers ----------------------------------------------------------------------------------------------------------


def _pack_beside(lists: Mapping[str, tuple[str, ...]], *documents: Document) -> Rules:
    """Build the shipped rules with these lists and other documents; nothing has a fault."""
    built = build_rules(
        [*documents, *read_documents([noise.FOLDER]).documents],
        lists=Lists({"production-clusters": ("c",), **lists}),
        known_kinds=configuration.documented_kinds(),
        time_intervals=configuration.usual_intervals(),
    )
    assert (built.faults, built.notes) == ((), ())
    return built


def _failed(rules: Sequence[Rule], rebuild: Rebuild) -> list[tuple[str, str, tuple[str, ...]]]:
    runner = CaseRunner(rules, simulate, KINDS, Lists(), rebuild)
    results = [result for rule in rules for result in runner.run(rule)]
    return [(each.rule.name.name, each.case.name, each.problems) for each in results if each.problems]


def _bare_records() -> list[Record]:
    """Make a dozen records of each kind with only its operation and severity: enough for the counts."""

    def make() -> Iterator[Record]:
        for number, kind in enumerate([*KINDS, *OWN_KINDS] * 12):
            known = KINDS.get(kind)
            yield make_record(
                number,
                minutes=number / 100,
                action_kind=kind,
                user_name=None,
                operation=known.operation if known else None,
                severity=known.severity if known else "high",
            )

    return list(make())


def _play(incident: str) -> Sequence[Alert]:
    """Simulate one incident of the demo in accelerated time, with its business hours and no other activity."""
    clock = Clock(NOON)
    whole = demo_scenario(NOON)
    scenario = msgspec.structs.replace(
        whole, ordinary=False, recur=None, incidents=(PlannedIncident(incident, Duration(minutes=10)),)
    )
    simulation = build_simulation(scenario, clock)
    while (due := simulation.next_due()) is not None and due <= NOON + A_MINUTE:
        clock.now = max(due, clock.now)
        simulation.advance(clock.now)
    records = noise.as_records(simulation.organisation, simulation.organisation.truth())
    rules = _pack_with_hours_of(simulation.organisation.time_zone)
    return noise.raised(rules, records, NOON - timedelta(days=2), NOON + A_MINUTE)


@cache
def _pack_with_hours_of(zone: str) -> tuple[Rule, ...]:
    (usual,) = configuration.usual_intervals()["business-hours"].periods
    return noise.shipped_rules(
        {"business-hours": TimeInterval("business-hours", (replace(usual, location=ZoneInfo(zone)),))}
    )


def test_no_runbook_asks_a_service_user_in_person(pack: Rules) -> None:
    """Where a runbook has people ask the user, it names whom to ask about a service user."""
    asked = [
        line
        for rule in pack.rules
        for line in (rule.alert.runbook or "").splitlines()
        if "ask the user" in line.lower()
    ]
    assert asked
    assert [line for line in asked if "in person" in line and "a service user's owner" not in line] == []

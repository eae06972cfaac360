"""The last good versions of broken documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from actionwatch.base.errors import ConfigError, Fault
from actionwatch.rules.last_good import Running, RunningDocument, with_last_good
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import ReadFiles, Rules, build_rules
from actionwatch.text.yaml_document import Document, read_text

KINDS = ["DELETE_CLUSTER", "CREATE_CLUSTER", "RESIZE_CLUSTER"]
IDS = {name: f"00000000-0000-4000-8000-00000000000{number}" for number, name in enumerate("abcd", 1)}


def rule(name: str, kind: str = "DELETE_CLUSTER", more: str = "", key: str = "actionKind") -> str:
    return (
        f"title: Rule {name}\nid: {IDS[name]}\nname: {name}\nlogsource: {{product: instaclustr, service: user_actions}}\n"
        f"detection: {{selection: {{{key}: {kind}}}, condition: selection}}\n{more}"
    )


def counting(name: str, other: str, more: str = "") -> str:
    return (
        f"title: Rule {name}\nid: {IDS[name]}\nname: {name}\n{more}"
        f"correlation: {{type: event_count, rules: [{other}], group-by: [userName], timespan: 10m, condition: {{gte: 2}}}}\n"
    )


def build(documents: Sequence[Document], lists: Lists) -> Rules:
    return build_rules(documents, lists=lists, known_kinds=KINDS)


def run(files: dict[str, str], last: Sequence[RunningDocument] = (), lists: Lists | None = None) -> Running:
    documents: list[Document] = []
    faults: list[Fault] = []
    for file, text in files.items():
        try:
            documents += read_text(text, file)
        except ConfigError as exc:
            faults += exc.faults
    return with_last_good(ReadFiles(tuple(documents), tuple(faults), ()), lists or Lists(), last, build)


def kinds(running: Running) -> dict[str, str]:
    """Return the kinds that each running rule looks for."""
    return {
        each.name.name: each.document.value["detection"]["selection"].get("actionKind", "")
        for each in running.rules.rules
        if each.document is not None and "detection" in each.document.value
    }


BOTH = {"one.yml": f"{rule('a')}---\n{rule('b')}"}


def test_a_broken_document_drops_only_itself() -> None:
    """The last good version of a broken document runs, and the other documents of the file are updated."""
    last = run(BOTH).versions
    broken = {"one.yml": f"{rule('a', key='actionKin')}---\n{rule('b', 'CREATE_CLUSTER')}"}
    running = run(broken, last)
    assert kinds(running) == {"a": "DELETE_CLUSTER", "b": "CREATE_CLUSTER"}
    assert running.held == {"one.yml": ("a",)}
    assert [fault.line for fault in running.rules.faults] == [5]
    again = run(broken, running.versions)
    assert kinds(again) == kinds(running)


def test_a_file_that_cannot_be_parsed_keeps_all_it_had() -> None:
    """All rules of the file continue. A rule that moved to another file runs as it is there."""
    last = run(BOTH).versions
    running = run({"one.yml": "title: [", "two.yml": rule("b", "CREATE_CLUSTER")}, last)
    assert kinds(running) == {"a": "DELETE_CLUSTER", "b": "CREATE_CLUSTER"}
    assert running.held == {"one.yml": ("a",)}


@pytest.mark.parametrize("files", [{}, {"one.yml": rule("b")}, {"one.yml": f"{rule('c', key='x y')}---\n{rule('b')}"}])
def test_removed_rule_does_not_run(files: dict[str, str]) -> None:
    """A removed rule does not run, and a new broken rule does not bring it back."""
    assert "a" not in kinds(run(files, run(BOTH).versions))


@pytest.mark.parametrize(
    "text",
    [
        rule("a", key="actionKin").replace(IDS["a"], "not-an-id"),
        rule("a", key="actionKin").replace(f"id: {IDS['a']}\n", ""),
        rule("a", key="actionKin").replace(f"id: {IDS['a']}\nname: a\n", ""),
        "just a text",
        "[]",
    ],
)
def test_a_document_without_an_identity(text: str) -> None:
    """A broken document is identified by its name or title, or as the only rule that is missing."""
    running = run({"one.yml": f"{text}\n---\n{rule('b')}"}, run(BOTH).versions)
    assert sorted(kinds(running)) == ["a", "b"]
    assert running.held == {"one.yml": ("a",)}
    assert len(running.rules.faults) >= 1


def test_a_correlation_keeps_its_broken_feeder() -> None:
    """A correlation whose feeding rule is broken continues with the last good version of it, and is not reported as broken."""
    good = {"a.yml": rule("a"), "c.yml": counting("c", "a")}
    running = run({**good, "a.yml": rule("a", key="actionKin")}, run(good).versions)
    assert {each.name.name for each in running.rules.rules} == {"a", "c"}
    assert running.held == {"a.yml": ("a",)}
    assert {fault.file for fault in running.rules.faults} == {"a.yml"}


def test_a_correlation_of_a_missing_rule_keeps_its_version() -> None:
    """A correlation that newly names a missing rule continues with its last version."""
    good = {"a.yml": rule("a"), "c.yml": counting("c", "a")}
    running = run({**good, "c.yml": counting("c", "zzz")}, run(good).versions)
    assert {each.name.name for each in running.rules.rules} == {"a", "c"}
    assert running.held == {"c.yml": ("c",)}
    gone = run({"c.yml": good["c.yml"]}, run(good).versions)
    assert not gone.rules.rules
    assert not gone.held
    assert [fault.file for fault in gone.rules.faults] == ["c.yml"]


def test_a_replacement_never_displaces_a_valid_rule() -> None:
    """A valid rule that took the name of a broken one keeps the name, and the broken one does not run."""
    last = run({"one.yml": rule("a"), "two.yml": rule("b")}).versions
    taken = rule("b").replace("name: b", "name: a")
    running = run({"one.yml": rule("a", key="actionKin"), "two.yml": taken}, last)
    assert [each.name.id for each in running.rules.rules] == [IDS["b"]]


def test_lists_keep_what_they_had() -> None:
    """A broken list keeps its values, also for new rules. A removed list keeps them for the rules that need it."""
    text = rule("a", "x").replace("actionKind: x", "userName|expand: '%admins%'")
    had = Lists({"admins": ("eve",)})
    last = run({"one.yml": text}, lists=had).versions
    assert last[0].lists == {"admins": ("eve",)}
    broken = run({"one.yml": text}, last, Lists(broken=frozenset({"admins"})))
    assert [each.name.name for each in broken.rules.rules] == ["a"]
    assert not broken.held
    gone = run({"one.yml": text}, last)
    assert [each.name.name for each in gone.rules.rules] == ["a"]
    assert gone.held == {"one.yml": ("a",)}
    assert ["there is no list" in str(fault) for fault in gone.rules.faults] == [True]
    other = run({"one.yml": text}, last, Lists({"admins": ("mallory",)}))
    assert other.versions[0].lists == {"admins": ("mallory",)}
    assert other.versions[0].version.content != last[0].version.content


def test_version_changes_with_what_affects_matches() -> None:
    """A version changes with the feeding rules, their lists, the filters and the mode, but not with the title."""

    def version(files: dict[str, str], lists: Lists | None = None) -> str:
        running = run(files, lists=lists)
        assert not running.rules.faults
        [found] = [each.correlation for each in running.rules.rules if each.name.name == "c"]
        assert found is not None
        return found.version.matching

    feeder = rule("a", "x").replace("actionKind: x", "userName|expand: '%admins%'")
    files = {"a.yml": feeder, "c.yml": counting("c", "a")}
    lists = Lists({"admins": ("eve",), "other": ("x",)})
    first = version(files, lists)
    assert version(files, replace(lists, values={"admins": ("eve",), "other": ("y",)})) == first
    assert version({**files, "c.yml": files["c.yml"].replace("Rule c", "Rule C")}, lists) == first
    others = [
        version(files, Lists({"admins": ("eve", "mallory")})),
        version({**files, "a.yml": rule("a")}, lists),
        version({**files, "c.yml": counting("c", "a", "mode: off\n")}, lists),
        version({**files, "f.yml": FILTER}, lists),
        version({**files, "f.yml": FILTER.replace("bob", "ann")}, lists),
    ]
    assert len({first, *others}) == len(others) + 1


FILTER = """\
title: Not bob
name: not_bob
logsource: {product: instaclustr, service: user_actions}
filter: {rules: [a], selection: {userName: bob}, condition: not selection}
owner: sam
reason: robots
expires: 2999-01-01
"""

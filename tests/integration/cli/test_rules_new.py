"""`rules new`: its examples, their tests, and what a copy of one has."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from actionwatch.base.errors import ConfigError
from actionwatch.cli.rules.examples import EXAMPLES, Example
from actionwatch.cli.rules.loaded_rules import read_context
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.rules.case_runner import CaseRunner
from actionwatch.rules.lists import Lists
from actionwatch.service.rule_context import LoadedRules
from actionwatch.service.simulation import simulate
from actionwatch.text.yaml_document import read_text
from tests import docs
from tests.cases import in_one_test
from tests.integration.cli.conftest import Desk, call

FOLDER = Path(__file__).parents[3] / "actionwatch" / "_examples"
LISTS = Lists({"production-clusters": ("c-1",)})
OF_CORRELATIONS: dict[str, tuple[Any, ...]] = {
    "timespan": ("1s", "52w"),
    "rules": (None,),  # in reverse
    "history": ("1d", "300d"),
    "baseline": ("any",),
    "cold-start": ("alert",),
}
OF_CONDITIONS: dict[str, tuple[int, ...]] = {"gte": (-1, 1), "min": (-1, 1), "factor": (-2, 97), "lt": (1,)}
"""What is added to a number."""


@in_one_test("example", EXAMPLES)
def test_each_condition_of_an_example_has_a_test(example: Example) -> None:
    """A copy passes its tests, and one of them fails if a condition is dropped, never holds, or has another limit."""
    documents = [*yaml.safe_load_all(example.text)]
    assert passes(documents)
    survived = [what for what, changed in mutants(documents) if passes(changed)]
    assert survived == []


def test_every_file_is_an_example() -> None:
    """The command knows each file of the folder, and each option of an example replaces something in it."""
    assert {path.stem for path in FOLDER.iterdir()} == {each.name for each in EXAMPLES}
    for example in EXAMPLES:
        assert [value for value in example.values.values() if value not in example.text] == [], example.name


def test_examples_are_documented() -> None:
    """The page shows each example as `rules new` prints it."""
    assert docs.EXAMPLES_FILE.read_text() == docs.examples_page()


def test_examples_are_listed() -> None:
    """`--list` shows each example with its options, and needs no configuration."""
    listed = call("-c", "none.yaml", "rules", "new", "--list", "-o", "json")
    assert (listed.status, [each["example"] for each in listed.json]) == (0, [each.name for each in EXAMPLES])
    assert "exclusions" in call("rules", "new", "--list").out


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.name)
def test_copy_passes_its_tests(example: Example, desk: Desk) -> None:
    """A copy with values for all its options loads without a note and passes its tests, and so does one without any."""
    desk.more = (
        "extra_kinds: [A_KIND_OF_TOMORROW]\n"
        "time_intervals:\n"
        "  - name: nights\n    time_intervals: [{times: [{start_time: '18:00', end_time: '24:00'}]}]\n"
        "  - name: business-hours\n    time_intervals: [{times: [{start_time: '01:00', end_time: '23:30'}]}]\n"
    )
    desk.write()
    (desk.folder / "lists").mkdir()
    (desk.folder / "lists" / "production-clusters.txt").write_text("c-1\n")
    chosen = {"kind": "a kind of-tomorrow", "user": "robot: {1}, #2", "cluster": "x*'\"y", "during": "nights"}
    options = [part for name in example.values for part in (f"--{name}", chosen[name])]
    for name, more in (("usual_one", []), ("other-one", options)):
        folder = desk.folder / name
        made = desk.call("rules", "new", name, "--from", example.name, *more, "--folder", str(folder))
        assert made.status == 0, made.err
        assert desk.call("rules", "test", str(folder)).status == 0
        assert desk.call("rules", "check", str(folder), "-o", "json").json == []
    text = (desk.folder / "other-one" / "other-one.yml").read_text()
    assert [value for value in example.values.values() if value in text] == []
    assert "title: Other one\n" in text


def test_copy_overwrites_nothing(tmp_path: Path) -> None:
    """A second rule of the same name is refused; `--print` writes no file."""
    options = ("rules", "new", "mine", "--from", "plain", "--folder", str(tmp_path))
    assert call(*options, "--print").out.startswith("# yaml-language-server")
    assert [*tmp_path.iterdir()] == []
    assert call(*options).status == 0
    before = (tmp_path / "mine.yml").read_text()
    again = call(*options)
    assert (again.status, "exists: choose another name" in again.err) == (1, True)
    assert (tmp_path / "mine.yml").read_text() == before


@pytest.mark.parametrize(
    ("options", "status", "what"),
    [
        ("", 2, "give a NAME and --from EXAMPLE; --list shows the examples"),
        ("mine", 2, "give a NAME and --from EXAMPLE"),
        ("mine --from plian", 2, "'plian' is not one of 'plain'"),
        ("../mine --from plain", 2, "a name consists of letters, digits, _, . and -"),
        ("mine --from plain --user eve", 2, "has no --user; these have it: exclusions, burst"),
        ("mine --from plain --kind ADD_NOD", 2, "did you mean ADD_NODE"),
        ("mine --from plain --kind NONSENSE", 2, "add it to extra_kinds"),
        ("mine --from off-hours --during nowhen", 2, "no time interval is named 'nowhen'"),
        ("mine --from list", 2, "write one value per line to lists/production-clusters.txt"),
        ("mine --from sequence --kind DELETE_CLUSTER", 1, "the rule would not do what it says: its test"),
        ("mine --from burst --user *", 1, "the rule would not do what it says: its test"),
        ("--title T --kind BACKUP", 2, "No such option '--title'"),
        ("mine --from plain --except-user eve", 2, "No such option '--except-user'"),
    ],
)
def test_what_makes_no_rule_is_refused(options: str, status: int, what: str, tmp_path: Path) -> None:
    """Options that make no rule, or one that fails its tests, are refused with the remedy. Nothing is written."""
    made = call("-c", "none.yaml", "rules", "new", *options.split(), "--folder", str(tmp_path / "rules"))
    assert (made.status, what in made.err) == (status, True), made.err
    assert not (tmp_path / "rules").exists()


def test_the_other_kind_can_be_chosen(tmp_path: Path) -> None:
    """The kind that the tests of the examples use for "something else" can be the kind of a rule."""
    made = call("rules", "new", "mine", "--from", "plain", "--kind", "LIST_KAFKA_ACLS", "--folder", str(tmp_path))
    assert made.status == 0, made.err
    assert call("rules", "test", str(tmp_path)).status == 0


def passes(documents: list[Any]) -> bool:
    """Return whether the rules load and pass their tests."""
    try:
        read = tuple(read_text(yaml.safe_dump_all(documents), "example.yml"))
    except ConfigError:
        return False
    context = replace(read_context("none.yaml", [FOLDER]), lists=LISTS)
    loaded = LoadedRules(context.build(read), read, context)
    runner = CaseRunner(loaded.found.rules, simulate, KINDS, LISTS, loaded.rebuild)
    results = [result for rule in loaded.found.rules for result in runner.run(rule)]
    return bool(results) and not loaded.found.faults and not any(result.problems for result in results)


def mutants(documents: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Yield what was changed in the rules, and the changed documents."""
    for number, document in enumerate(documents):
        for what, changed in _mutants_of(document):
            yield f"{number}: {what}", [*documents[:number], changed, *documents[number + 1 :]]


def _mutants_of(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    def changed(*path: str, **values: Any) -> Any:
        result = copy.deepcopy(dict(document))
        place = result
        for key in path:
            place = place[key]
        for key, value in values.items():
            name = key.replace("_", "-")
            place.pop(name, None)
            place.update({} if value is None else {name: value})
        return result

    detection = document.get("detection", {})
    for name, selection in detection.items():
        for field in selection if isinstance(selection, dict) else ():
            never, always = (copy.deepcopy(dict(document)) for _ in range(2))
            never["detection"][name][field] = "_NEVER"
            del always["detection"][name][field]
            always["detection"][name][f"{field.partition('|')[0]}|exists"] = True
            yield from ((f"{name}.{field} never", never), (f"{name}.{field} always", always))
    if "when" in document:
        yield "when", changed(when=None)
    correlation = document.get("correlation", {})
    if "group-by" in correlation:
        yield "group-by", changed("correlation", group_by=None, expect_groups=None)
    for key in OF_CORRELATIONS.keys() & correlation.keys():
        for value in OF_CORRELATIONS[key]:
            yield f"{key}: {value}", changed("correlation", **{key.replace("-", "_"): value or correlation[key][::-1]})
    condition = correlation.get("condition", {})
    for key in OF_CONDITIONS.keys() & set(condition if isinstance(condition, dict) else ()):
        for difference in OF_CONDITIONS[key]:
            yield f"{key}{difference:+}", changed("correlation", "condition", **{key: condition[key] + difference})
    if isinstance(condition, str):
        yield "condition", changed("correlation", condition=condition.partition(" and not ")[0])

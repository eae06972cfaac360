"""The commented examples of rules that `init` writes: their tests, and what becomes of a copy."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from actionwatch.base.errors import ConfigError
from actionwatch.cli.init import OWN_FILES
from actionwatch.cli.rules.loaded_rules import read_context
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.rules.case_runner import CaseRunner
from actionwatch.rules.lists import Lists
from actionwatch.service.rule_context import LoadedRules
from actionwatch.service.simulation import simulate
from actionwatch.text.yaml_document import read_text
from tests.cases import in_one_test
from tests.integration.cli.conftest import call

FOLDER = OWN_FILES / "rule-examples"
EXAMPLES = sorted(path.stem for path in FOLDER.iterdir())
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


@in_one_test("name", EXAMPLES)
def test_each_condition_of_an_example_has_a_test(name: str) -> None:
    """An example passes its tests, and one of them fails if a condition is dropped, never holds, or has another limit."""
    documents = [*yaml.safe_load_all((FOLDER / f"{name}.yml").read_text())]
    assert passes(documents)
    survived = [what for what, changed in mutants(documents) if passes(changed)]
    assert survived == []


def test_the_page_names_every_example() -> None:
    """The page about rules names each file."""
    page = (Path(__file__).parents[3] / "docs" / "rules.md").read_text()
    assert [name for name in EXAMPLES if f"`{name}`" not in page] == []


def test_an_example_becomes_a_rule(tmp_path: Path) -> None:
    """`init` writes the examples beside the rules; a copy under another name loads without a note and passes its tests."""
    written = call("init", str(tmp_path))
    assert f"rule-examples/ ({len(EXAMPLES)} files)" in written.out
    (tmp_path / "rules" / "lists" / "production-clusters.txt").write_text("c-1\n")
    for name in EXAMPLES:
        text = (tmp_path / "rule-examples" / f"{name}.yml").read_text()
        rule = tmp_path / "rules" / f"mine-{name}.yml"
        rule.write_text(text.replace("my_rule", f"mine_{name}").replace("My rule", f"Mine, {name}"))
        tested = call("-c", str(tmp_path / "actionwatch.yaml"), "rules", "test", str(rule))
        assert tested.status == 0, tested.err


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

"""`rules test`: run the tests in the rules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree  # nosec B405  (written here, never parsed)

import click

from actionwatch.base.model import Record
from actionwatch.base.plurals import counted
from actionwatch.cli import EXIT_FAILED
from actionwatch.cli.options import output_option, paths_argument
from actionwatch.cli.output import echo, print_faults, print_items, spell
from actionwatch.cli.rules.loaded_rules import load
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.service.rule_context import LoadedRules
from actionwatch.text.payloads import instant, record_document

if TYPE_CHECKING:
    from actionwatch.rules.explain import Explanation
    from actionwatch.rules.model import Rule

_NOT_XML = re.compile("[^\t\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class _Result:
    """The result of a test, or (`test` is None) of a rule without enough tests."""

    rule: Rule
    test: str | None
    line: int
    problems: tuple[str, ...]
    explained: Sequence[tuple[Record, Explanation]] = ()

    @property
    def name(self) -> str:
        """The test's name."""
        return "has tests" if self.test is None else self.test

    @property
    def where(self) -> str:
        """File and line, in the form that editors open."""
        return f"{self.rule.file}:{self.line}"


@click.command("test")
@paths_argument
@click.option(
    "--min-tests",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Minimum number of tests per rule that expect an alert, and of tests that expect nothing.",
)
@click.option(
    "--junit", type=click.Path(dir_okay=False, path_type=Path), help="Also write a JUnit report to this file."
)
@output_option
@click.pass_obj
def command(config: str, paths: tuple[Path, ...], min_tests: int, junit: Path | None, form: str) -> int:
    """Run the tests in the rules of the configuration, or of the given files and folders.

    The tests use the engine of the service and a virtual clock. A failed test shows the result of each selection for each
    record, with its values. Exits with 1 if a test fails, a rule has too few tests, or a document is broken.
    """
    loaded = load(config, paths, borrowed=True)
    results = list(_run(loaded, min_tests))
    print_faults(loaded.found.faults)
    if junit is not None:
        _write_junit(results, loaded, junit)
    if form == "table":
        _print(results, loaded)
    else:
        print_items(results, form, document=_document)
    return EXIT_FAILED if loaded.found.faults or any(result.problems for result in results) else 0


def _run(loaded: LoadedRules, min_tests: int) -> Iterator[_Result]:
    from actionwatch.rules.case_runner import CaseRunner, missing_tests
    from actionwatch.service.simulation import simulate

    bench = CaseRunner(loaded.found.rules, simulate, KINDS, loaded.context.lists, loaded.rebuild)
    for rule in loaded.found.rules:
        for found in bench.run(rule):
            yield _Result(rule, found.case.name, found.case.line, found.problems, found.explained)
        lacking = missing_tests(rule, min_tests)
        if lacking:
            yield _Result(rule, None, rule.line, (lacking,))


def _print(results: Sequence[_Result], loaded: LoadedRules) -> None:
    for result in results:
        if not result.problems:
            continue
        echo(f"FAILED {spell(result.rule.name.name)}: {spell(result.name)}", fg="red", bold=True, nl=False)
        echo(f"  ({result.where})")
        for problem in result.problems:
            echo(f"  {spell(problem)}")
        for record, finding in result.explained:
            echo(f"  on {instant(record.occurred_at)} {spell(record.action_kind)}:")
            for line in finding.lines(2):
                # Keep the indentation, and escape the values of records and rules.
                echo(" " * (len(line) - len(line.lstrip())) + spell(line.lstrip()))
    ran = [result for result in results if result.test is not None]
    failed = sum(bool(result.problems) for result in ran)
    lacking = len(results) - len(ran)
    counts = f"{counted(len(loaded.found.rules), 'rule')}, {counted(len(ran), 'test')}"
    summary = f"{counts}: {len(ran) - failed} passed, {failed} failed"
    summary += (
        f"; {counted(lacking, 'rule')} without enough tests (--min-tests 0 disables this check)" if lacking else ""
    )
    summary += f"; {counted(len(loaded.found.faults), 'fault')}" if loaded.found.faults else ""
    echo(summary, fg="red" if failed or lacking or loaded.found.faults else "green")


def _document(result: _Result) -> dict[str, Any]:
    return {
        "rule": {"id": result.rule.name.id, "name": result.rule.name.name},
        "test": result.test,
        "passed": not result.problems,
        "problems": list(result.problems),
        "file": result.rule.file,
        "line": result.line,
        "records": [
            {"record": record_document(record), "explanation": finding.document()}
            for record, finding in result.explained
        ],
    }


def _write_junit(results: Sequence[_Result], loaded: LoadedRules, path: Path) -> None:
    """Write a JUnit report with one suite per rule, and one for broken documents."""
    root = ElementTree.Element("testsuites", name="actionwatch rules test")
    for rule, own in groupby(results, key=lambda result: result.rule):
        name = _xml(rule.name.name)
        suite = ElementTree.SubElement(root, "testsuite", name=name)
        for result in own:
            attributes = {
                "classname": name,
                "name": _xml(result.name),
                "file": _xml(rule.file),
                "line": str(result.line),
            }
            case = ElementTree.SubElement(suite, "testcase", attributes)
            if result.problems:
                lines = [line for _, finding in result.explained for line in finding.lines()]
                failure = ElementTree.SubElement(case, "failure", message=_xml("; ".join(result.problems)))
                failure.text = _xml("\n".join([result.where, *result.problems, *lines]))
    if loaded.found.faults:
        suite = ElementTree.SubElement(root, "testsuite", name="faults")
        for fault in loaded.found.faults:
            case = ElementTree.SubElement(
                suite, "testcase", classname="faults", name=_xml(f"{fault.file}:{fault.line}")
            )
            ElementTree.SubElement(case, "error", message=_xml(str(fault)))
    for element in (*root, root):
        for tag, attribute in (("testcase", "tests"), ("failure", "failures"), ("error", "errors")):
            element.set(attribute, str(sum(1 for _ in element.iter(tag))))
    try:
        ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as exc:
        raise click.ClickException(f"cannot write {path}: {exc.strerror}") from exc


def _xml(text: str) -> str:
    """Remove characters that XML 1.0 does not allow."""
    return _NOT_XML.sub("", text)

"""Runs the mutants of modules: see the package's docstring."""

from __future__ import annotations

import argparse
import ast
import contextlib
import gc
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import types
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.mutants import Mutant, mutants

OPTIONS = ("-n0", "-s", "-p", "no:cacheprovider", "--timeout=0", "-o", "tmp_path_retention_policy=none")
SURVIVED, KILLED, UNREACHED = "survived", "killed", "not reached"
Lines = dict[str, dict[int, list[str]]]
"""The tests that reach each line, by module."""


class MutationRun:
    """A plugin of pytest that runs mutants instead of the tests that were collected."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._modules = [str(Path(name).resolve()) for name in arguments.modules]
        self._seconds: float = arguments.seconds
        self._map = Path(arguments.map) if arguments.map else None
        self._only = {int(line) for line in arguments.lines}
        self._last: list[str] = arguments.last
        self._items: dict[str, pytest.Item] = {}
        self._durations: dict[str, float] = {}
        self._lines: Lines = {}
        self._kills: Counter[str] = Counter()
        self._killer = ""
        self._functions: list[types.FunctionType] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Learn which tests reach which lines, then run the mutants of each module."""
        self._items = {item.nodeid: item for item in session.items}
        if self._map is not None and self._map.exists():
            self._durations, lines = json.loads(self._map.read_text(encoding="utf-8"))
            self._lines = {name: {int(line): tests for line, tests in of.items()} for name, of in lines.items()}
        else:
            self._learn()
        gc.unfreeze()  # a test may have frozen functions, which would not be found
        gc.collect()
        self._functions = [each for each in gc.get_objects() if isinstance(each, types.FunctionType)]
        gc.freeze()  # the children share the memory of this process
        for module in self._modules:
            self._run(module)
        return True

    def _learn(self) -> None:
        import coverage

        watch = coverage.Coverage(data_file=None, include=self._modules, config_file=False)
        watch.start()
        for name in list(self._items):
            watch.switch_context(name)
            began = time.process_time()
            if self._fails([name]) is not None:
                print(f"fails without a change, left out: {name}", flush=True)
                del self._items[name]
            self._durations[name] = time.process_time() - began
        watch.stop()
        for module in self._modules:
            self._lines[module] = watch.get_data().contexts_by_lineno(module)
        if self._map is not None:
            self._map.write_text(json.dumps([self._durations, self._lines]), encoding="utf-8")

    def _run(self, module: str) -> None:
        source, outcomes, needed = Path(module).read_text(encoding="utf-8"), Counter[str](), Counter[str]()
        name = os.path.relpath(module)
        control = self._outcome(module, source, None)
        if control != SURVIVED:
            by = "" if control == UNREACHED else f" by {self._killer or 'its limit of time'}"
            pytest.exit(f"{name}: control {control}{by}, so that its figures would mean nothing", returncode=1)
        print(f"{name}: control {control}", flush=True)
        for mutant in mutants(source):
            if not self._only or mutant.line in self._only:
                outcome = self._outcome(module, source, mutant)
                outcomes[outcome] += 1
                if outcome != KILLED:
                    print(f"{outcome} {name}:{mutant.line} {mutant.what}", flush=True)
                elif self._is_last(self._killer):
                    needed[self._killer] += 1
                    print(f"only {self._killer} kills {name}:{mutant.line} {mutant.what}", flush=True)
        print(f"{name}: {dict(outcomes)}, of them by the last tests only: {needed.total()}", flush=True)

    def _outcome(self, module: str, source: str, mutant: Mutant | None) -> str:
        tests = self._tests(module, source, mutant)
        if not tests:
            return UNREACHED
        limit = 3 * sum(self._durations[name] for name in tests) + 5
        folder, (receiving, sending) = tempfile.mkdtemp(), os.pipe()
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            os.environ["TMPDIR"] = tempfile.tempdir = folder
            self._become(module, source, mutant, tests, limit, sending)
        os.close(sending)
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what the child started, too
        self._killer = killer = os.read(receiving, 10_000).decode()
        os.close(receiving)
        shutil.rmtree(folder, ignore_errors=True)
        self._kills[killer] += 1
        return SURVIVED if status == 0 else KILLED

    def _become(
        self, module: str, source: str, mutant: Mutant | None, tests: Sequence[str], limit: float, sending: int
    ) -> None:
        """Be the child: apply the mutant, run the tests, and end with 0 if all pass."""
        status = 1
        try:
            quiet = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(quiet, stream)
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 1))
            signal.alarm(int(limit) * 10)  # a mutant that waits for ever
            if mutant is not None:
                self._replace_code(module, source, mutant)
            killer = self._fails(tests)
            os.write(sending, (killer or "").encode())
            status = int(killer is not None)
        finally:
            os._exit(status)

    def _tests(self, module: str, source: str, mutant: Mutant | None) -> list[str]:
        """Choose the tests of a mutant: those that killed before, then the shortest, as many as there is time for."""
        lines = self._lines[module]
        if mutant is None:
            reaching = {name for tests in lines.values() for name in tests}
        else:
            reaching = {name for line in _statement(source, mutant.line) for name in lines.get(line, ())}
        ordered = sorted(reaching & self._items.keys(), key=lambda name: (-self._kills[name], self._durations[name]))
        others, last = ([name for name in ordered if self._is_last(name) is is_last] for is_last in (False, True))
        return [*self._affordable(others), *self._affordable(last)]

    def _is_last(self, name: str) -> bool:
        return any(part in name for part in self._last)

    def _affordable(self, names: Sequence[str]) -> list[str]:
        """Return as many of the tests, in their order, as there is time for; at least one."""
        found: list[str] = []
        left = self._seconds
        for name in names:
            if not found or self._durations[name] <= left:
                found.append(name)
                left -= self._durations[name]
        return found

    def _fails(self, names: Sequence[str]) -> str | None:
        """Run tests and return the first that fails."""
        for name, following in pairwise([*names, None]):
            assert name is not None
            reports = runtestprotocol(self._items[name], log=False, nextitem=self._items.get(following or ""))
            if any(report.failed for report in reports):
                return name
        return None

    def _replace_code(self, module: str, source: str, mutant: Mutant) -> None:
        """Replace the code of each function that the mutant changed, wherever the function is known by now."""
        before, after = (_codes(compile(tree, module, "exec")) for tree in (ast.parse(source), mutant.tree))
        for function in self._functions:
            code, name = function.__code__, function.__code__.co_qualname
            if code.co_filename != module or name not in after or after[name] == before.get(name):
                continue
            if len(after[name].co_freevars) in (0, len(code.co_freevars)):  # without `super()` one is missing
                function.__code__ = after[name].replace(co_freevars=code.co_freevars)


def _codes(code: types.CodeType) -> dict[str, types.CodeType]:
    found: dict[str, types.CodeType] = {}
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            found |= {each.co_qualname: each, **_codes(each)}
    return found


def _statement(source: str, line: int) -> Iterable[int]:
    """Return the lines of the innermost statement around a line: coverage notes only some of them."""
    spans = [
        range(
            node.lineno,
            (node.body[0].lineno - 1 if isinstance(node, ast.If | ast.While | ast.For) else node.end_lineno or line)
            + 1,
        )
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt) and not isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    return min((span for span in spans if line in span), key=len, default=range(line, line + 1))


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", usage="%(prog)s [options] MODULE… -- TESTS…")
    parser.add_argument("modules", nargs="+", metavar="MODULE")
    parser.add_argument("--seconds", type=float, default=10, help="of tests for one mutant, in CPU time")
    parser.add_argument("--lines", nargs="+", default=[], help="only the mutants of these lines")
    parser.add_argument(
        "--last", nargs="+", default=[], metavar="NAME", help="tests to try last: what only they kill is printed"
    )
    parser.add_argument("--map", help="a file that keeps which tests reach which lines")
    own, tests = sys.argv[1:], []
    if "--" in own:
        own, tests = own[: own.index("--")], own[own.index("--") + 1 :]
    return int(pytest.main([*OPTIONS, *tests], plugins=[MutationRun(parser.parse_args(own))]))


if __name__ == "__main__":
    sys.exit(main())

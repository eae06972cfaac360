"""Mutation runs, by hand: change one thing in the code at a time, and show which changes no test notices.

    pip install coverage
    python -m tests.mutation actionwatch/tail/sweeping.py -- tests/unit/tail tests/integration/tail

The tests run once, under coverage, to learn which of them reach which line. Then each mutant runs in a forked child, in which
the code of its function is replaced: only the tests that reach its line, the shortest first, until one fails or `--seconds` are
over. What survives is printed with its line: run it again with `--lines` and more seconds before you judge it. `--map FILE`
keeps what the first run learned. The "control" of each module is not changed, and must survive: if not, the run ends with an
error. `--last NAME` tries the tests with this part in their names last, and prints what only they kill.
"""

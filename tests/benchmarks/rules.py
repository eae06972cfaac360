"""How many records per second the rules evaluate, compared with libraries that a user might choose, and with a limit.

`python -m tests.benchmarks rules [RECORDS]`. Other libraries are not dependencies: install them with `pip install rule-engine
common-expression-language`. The output names those that are not installed. Each gets as many records as it can evaluate in a
few seconds. Rates are per second of CPU time, which other load on the machine changes little. Three profiles: in `sets`, each
rule requires a kind from a set, a user wildcard, a cluster from a set and a description pattern; in `mixed`, one rule in ten
is only a pattern; in `hard`, a third of the rules names no kind, and half name no cluster and search for a rare text. The
limit is the least work that gives the same results, written by hand: a bit mask of rules for each value, masks combined with
AND, Python's `in` and `re` on the remaining records, and RE2's filter for rules that are only a pattern.
"""

from __future__ import annotations

import random
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import re2

from actionwatch.base.model import Entity, Record
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.rules.conditions import predicate
from actionwatch.rules.engine import Engine
from actionwatch.rules.fields import Subject
from actionwatch.rules.load import load_rules
from actionwatch.rules.model import Rule

USERS, CLUSTERS = 200, 100
WORDS = (
    "changed",
    "deleted",
    "created",
    "opened",
    "0.0.0.0/0",
    "by",
    "support",
    "request",
    "node",
    "topic",
    "rotated",
    "key",
)
SECONDS_A_PEER = 4.0


def main(count: int = 1_000_000) -> None:
    """Print a table of records per second."""
    source = random.Random(7)
    batch = [_record(source, number) for number in range(count)]
    for profile in ("sets", "mixed", "hard"):
        for size in (100, 1000):
            specs = [_spec(source, number, profile) for number in range(size)]
            print(f"\n{profile}, {size} rules")
            started = time.process_time()
            rules = _load(specs)
            print(f"  {'built in':<34} {time.process_time() - started:>12.2f} s")
            _report("actionwatch", len(batch), _timed(partial(_evaluate, rules, batch)))
            _report("limit: these rules by hand", len(batch), _timed(partial(_by_hand, specs, batch)))
            _sampled("one predicate a rule, all tried", batch, _plain(rules))
            for name, peer in (("rule-engine", _rule_engine), ("CEL (Rust)", _cel)):
                try:
                    _sampled(name, batch, peer(specs))
                except ImportError as exc:
                    print(f"  {name:<34} not installed ({exc.name})")
            _sqlite(specs, batch)


def _evaluate(rules: Sequence[Rule], batch: Sequence[Record]) -> None:
    Engine(rules).evaluate(batch)


def _record(source: random.Random, number: int) -> Record:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
    cluster = source.randrange(CLUSTERS)
    return Record(
        key=f"{number:016x}",
        source="bench",
        occurred_at=at,
        seen_at=at,
        action_kind=source.choice(list(KINDS)),
        user_name=_user(source.randrange(USERS)),
        description=" ".join(source.choices(WORDS, k=6)),
        cluster=Entity(f"id-{cluster}", f"cluster-{cluster}"),
        raw="{}",
    )


def _user(number: int) -> str:
    return f"user{number}@team{number % 9}.example"


def _spec(source: random.Random, number: int, profile: str) -> dict[str, Any]:
    regex = f"{source.choice(WORDS)} .*{source.choice(WORDS)}".replace(".0", "\\.0")
    if profile == "mixed" and number % 10 == 0:
        return {"name": f"rule_{number}", "regex": f"{regex} {number}"}
    spec = {
        "name": f"rule_{number}",
        "kinds": source.sample(list(KINDS), 3),
        "user": f"user{source.randrange(10)}*@team{source.randrange(9)}.example",
        "clusters": [f"cluster-{value}" for value in source.sample(range(CLUSTERS), 5)],
        "regex": regex,
    }
    if profile == "hard" and number % 3 == 0:
        del spec["kinds"]
    if profile == "hard" and number % 2 == 0:
        del spec["clusters"]
        spec["regex"] = f"escalated {number}"
    return spec


def _load(specs: Sequence[dict[str, Any]]) -> tuple[Rule, ...]:
    documents = []
    for spec in specs:
        fields = f"    description|re: '{spec['regex']}'\n"
        if "kinds" in spec:
            fields += f"    actionKind: [{', '.join(spec['kinds'])}]\n"
        if "user" in spec:
            fields += f"    userName: '{spec['user']}'\n"
        if "clusters" in spec:
            fields += f"    cluster.name: [{', '.join(spec['clusters'])}]\n"
        documents.append(
            f"title: {spec['name']}\nname: {spec['name']}\nlogsource: {{product: instaclustr, service: user_actions}}\n"
            f"detection:\n  selection:\n{fields}  condition: selection\n"
        )
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, len(documents), 100):  # a file can have at most 1 MB
            (Path(folder) / f"{start}.yml").write_text("---\n".join(documents[start : start + 100]))
        loaded = load_rules([Path(folder)], lists=None, known_kinds=list(KINDS))
    assert not loaded.faults, loaded.faults[0]
    return loaded.rules


def _by_hand(specs: Sequence[dict[str, Any]], batch: Sequence[Record]) -> int:
    """Count the matches with the least work."""
    sets = [(1 << number, spec) for number, spec in enumerate(specs) if "user" in spec]
    kinds = {kind: sum(bit for bit, spec in sets if kind in spec.get("kinds", [kind])) for kind in KINDS}
    users = {
        user: sum(bit for bit, spec in sets if fnmatchcase(user, spec["user"])) for user in map(_user, range(USERS))
    }
    names = [f"cluster-{number}" for number in range(CLUSTERS)]
    clusters = {name: sum(bit for bit, spec in sets if name in spec.get("clusters", [name])) for name in names}
    searches = [_search(spec["regex"]) for spec in specs]
    bare = re2.Filter()
    for spec in specs:
        if "user" not in spec:
            bare.Add(spec["regex"])
    is_any_bare = len(sets) < len(specs)
    if is_any_bare:
        bare.Compile()
    count = 0
    for record in batch:
        left = kinds[record.action_kind] & users[record.user_name or ""] & clusters[record.cluster.name or ""]
        while left:
            count += searches[(left & -left).bit_length() - 1](record.description or "")
            left &= left - 1
        if is_any_bare:
            count += len(bare.Match(record.description) or ())
    return count


def _search(regex: str) -> Callable[[str], bool]:
    if re.escape(regex).replace("\\ ", " ") == regex:
        return lambda text: regex in text
    search = re.compile(regex).search
    return lambda text: search(text) is not None


def _plain(rules: Sequence[Rule]) -> Callable[[Record], int]:
    predicates = [predicate(rule.condition) for rule in rules]

    def matches(record: Record) -> int:
        subject = Subject(record)
        return sum(holds(subject) for holds in predicates)

    return matches


def _rule_engine(specs: Sequence[dict[str, Any]]) -> Callable[[Record], int]:
    import rule_engine

    def text(spec: dict[str, Any]) -> str:
        user = spec.get("user", "").replace(".", "\\.").replace("*", ".*")
        tests = [f"kind in {spec['kinds']!r}"] if "kinds" in spec else []
        tests += [f"user =~ {user!r}"] if user else []
        tests += [f"cluster in {spec['clusters']!r}"] if "clusters" in spec else []
        return " and ".join([*tests, f"description =~~ {spec['regex']!r}"])

    rules = [rule_engine.Rule(text(spec)) for spec in specs]
    return lambda record: sum(rule.matches(_flat(record)) for rule in rules)


def _cel(specs: Sequence[dict[str, Any]]) -> Callable[[Record], int]:
    import cel

    def text(spec: dict[str, Any]) -> str:
        tests = [f"description.matches({spec['regex']!r})"]
        if "kinds" in spec:
            user = "^" + spec["user"].replace(".", "[.]").replace("*", ".*") + "$"
            tests = [
                f"kind in {spec['kinds']!r}",
                f"user.matches({user!r})",
                f"cluster in {spec['clusters']!r}",
                *tests,
            ]
        return " && ".join(tests).replace("\\\\", "\\\\")

    programs = [cel.compile(text(spec)) for spec in specs]
    return lambda record: sum(bool(program.execute(_flat(record))) for program in programs)


def _sqlite(specs: Sequence[dict[str, Any]], batch: Sequence[Record]) -> None:
    """The SQLite backend of pySigma on an indexed table, with one query over all records per rule."""
    from sigma.backends.sqlite.sqlite import sqliteBackend
    from sigma.collection import SigmaCollection

    queries = []
    for spec in specs:
        named = {"kind": "kinds", "user": "user", "cluster": "clusters"}
        selection: dict[str, Any] = {"description|re": spec["regex"]}
        selection |= {column: spec[name] for column, name in named.items() if name in spec}
        rule = {
            "title": spec["name"],
            "logsource": {"product": "instaclustr"},
            "detection": {"selection": selection, "condition": "selection"},
        }
        queries += sqliteBackend(collate_nocase=True).convert(SigmaCollection.from_dicts([rule]))
    sample = batch[: max(2000, len(batch) // 20)]
    connection = sqlite3.connect(":memory:")
    connection.create_function(
        "regexp", 2, lambda pattern, text: re.search(pattern, text) is not None, deterministic=True
    )
    connection.execute("CREATE TABLE logs (kind TEXT COLLATE NOCASE, user TEXT, cluster TEXT, description TEXT)")

    def run() -> None:
        connection.executemany(
            "INSERT INTO logs VALUES (?, ?, ?, ?)", [tuple(_flat(record).values()) for record in sample]
        )
        connection.execute("CREATE INDEX by_kind ON logs (kind)")
        for query in queries:
            connection.execute(query.replace("<TABLE_NAME>", "logs")).fetchall()

    _report("pySigma's SQLite backend, indexed", len(sample), _timed(run))
    connection.close()


def _flat(record: Record) -> dict[str, str | None]:
    return {
        "kind": record.action_kind,
        "user": record.user_name,
        "cluster": record.cluster.name,
        "description": record.description,
    }


def _sampled(name: str, batch: Sequence[Record], evaluate: Callable[[Record], int]) -> None:
    started = time.process_time()
    done = 0
    while done < len(batch) and time.process_time() - started < SECONDS_A_PEER:
        for record in batch[done : done + 20]:
            evaluate(record)
        done += 20
    _report(name, done, time.process_time() - started)


def _timed(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def _report(name: str, count: int, seconds: float) -> None:
    print(f"  {name:<34} {count / seconds:>12,.0f} records/s")

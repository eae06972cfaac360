"""Rule files of less than 1 MB that would take minutes to load or to check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actionwatch.instaclustr.kinds import KINDS
from actionwatch.rules import budget, filters, patterns
from actionwatch.rules.conditions import Every
from actionwatch.rules.last_good import with_last_good
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import Rules, build_rules, load_rules, read_documents
from actionwatch.service.configuration import usual_intervals
from actionwatch.service.rule_files import _Cache

SHIPPED = Path(__file__).parents[2] / "rules"
HEAD = "title: T{0}\nname: t{0}\nlogsource: {{product: instaclustr, service: user_actions}}\n"


def rule(number: int, key: str, values: Iterator[str]) -> str:
    """Write a rule with one selection."""
    lines = "".join(f"    - '{value}'\n" for value in values)
    return f"{HEAD.format(number)}detection:\n  s:\n   {key}:\n{lines}  condition: s\n---\n"


def listed(number: int) -> str:
    """Write a rule that expands a list of 10,000 names."""
    return rule(number, "userName|expand", iter(["%many%"]))


ATTACKS = {
    "patterns": rule(1, "description|re", (f"a{n}.*b" for n in range(30_000))),
    "large patterns": rule(1, "description|re", (f"[^a{n}]{{300}}" for n in range(1_000))),
    "refused patterns": rule(1, "description|re", (f"([^a{n}]{{100}}){{100}}" for n in range(1_000))),
    "wildcards": rule(1, "userName", (f"u{n}*x" for n in range(40_000))),
    "unknown kinds": rule(1, "actionKind", (f"DELETE_U{n}" for n in range(30_000))),
    "lists": "".join(map(listed, range(1_000))),
    "rules": "".join(rule(n, "userName", iter("x")) for n in range(3_000)),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_cost_of_a_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: str) -> None:
    """Loading a file takes at most the steps that are allowed. The error names the file and the remedy; others load."""
    # The limits are a hundredth, so that the test is quick: the cost of an attack depends only on them.
    monkeypatch.setattr(budget, "MAX_FILE_STEPS", budget.MAX_FILE_STEPS // 100)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "many.txt").write_text("\n".join(f"user{n}" for n in range(10_000)))
    (tmp_path / "a.yml").write_text(ATTACKS[attack])
    (tmp_path / "b.yml").write_text(rule(-1, "userName", iter(["eve"])))
    patterns._compile_once.cache_clear()
    loaded = load_rules([tmp_path], lists=None, known_kinds=list(KINDS))
    assert patterns._compile_once.cache_info().misses <= budget.MAX_FILE_STEPS // 10
    last = loaded.faults[-1]
    assert last.file == str(tmp_path / "a.yml")
    assert last.what == f"the rules of this file cost more than {budget.MAX_FILE_STEPS} steps to load"
    assert "fewer or simpler patterns, or split the file" in last.remedy
    assert "t-1" in [each.name.name for each in loaded.rules]


def test_cost_of_all_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many files that are each within the limit of a file are together within the limit of all files."""
    monkeypatch.setattr(budget, "MAX_STEPS", 500)
    for number in range(20):
        (tmp_path / f"{number:02}.yml").write_text(rule(number, "userName", (f"u{n}" for n in range(20))))
    loaded = load_rules([tmp_path], lists=None, known_kinds=[])
    assert len(loaded.rules) == 7  # of 70 steps: 50, and 20 values
    assert {fault.what for fault in loaded.faults} == {"the rules of all files cost more than 500 steps to load"}
    assert len(loaded.faults) == 13


def test_cost_of_a_cached_rule_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload takes the same rules as a restart would, although it reads only what changed."""
    monkeypatch.setattr(budget, "MAX_STEPS", 500)
    cache = _Cache()

    def load() -> Rules:
        cache.start_reading()
        read = read_documents([tmp_path], cache.read_file)

        def build(documents: object, lists: Lists) -> Rules:
            return build_rules(documents, lists=lists, known_kinds=[], read=cache.read_document)  # type: ignore[arg-type]

        return with_last_good(read, Lists(), (), build).rules

    for number in range(9):
        (tmp_path / f"{number}.yml").write_text(rule(number, "userName", (f"u{n}" for n in range(20))))
        found = load()
    assert len(found.rules) == len(load().rules) == len(load_rules([tmp_path], lists=None, known_kinds=[]).rules) == 7


def test_limits_are_far_above_honest_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped rules load with a hundredth of the steps, so that an operator can have a hundred times as many."""
    monkeypatch.setattr(budget, "MAX_STEPS", budget.MAX_STEPS // 100)
    loaded = load_rules([SHIPPED], lists=None, known_kinds=list(KINDS), time_intervals=usual_intervals())
    assert loaded.faults == ()
    assert len(loaded.rules) > 80


def exclusion(number: int, rules: str, selections: int = 1) -> str:
    """Write a filter with so many selections."""
    found = "".join(f"  s{n}: {{userName|endswith: f{number}x{n}}}\n" for n in range(selections))
    return (
        f"title: F{number}\nname: f{number}\nlogsource: {{product: instaclustr}}\nowner: dba\nreason: nightly\n"
        f"expires: 2030-12-31\nfilter:\n  rules: {rules}\n{found}  condition: not 1 of s*\n---\n"
    )


def test_filters_times_rules_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What filters add to rules is limited. A filter beyond the limit is a fault with its remedy, and hides nothing."""
    monkeypatch.setattr(filters, "MAX_FILTERED", 60)
    (tmp_path / "rules.yml").write_text("".join(rule(n, "userName", iter(["eve"])) for n in range(10)))
    some = [
        exclusion(0, "any"),
        exclusion(1, "any", 6),
        exclusion(2, "any"),
        exclusion(3, "[t1, t2]", 5),
        exclusion(4, "[t3]"),
    ]
    (tmp_path / "zfilters.yml").write_text("".join(some))
    loaded = load_rules([tmp_path], lists=None, known_kinds=[])
    assert [each.name.name for each in loaded.filters] == ["f0", "f2", "f3", "f4"]
    (fault,) = loaded.faults
    assert (fault.file, fault.line) == (str(tmp_path / "zfilters.yml"), 19)
    assert fault.what == "with this filter, the filters of all files add more than 60 conditions to the rules"
    assert fault.remedy.startswith("it adds 60: name the rules that need it")
    applied = {each.name.name: [one.name.name for one in each.filters] for each in loaded.rules}
    assert applied["t0"] == ["f0", "f2"]
    assert applied["t1"] == ["f0", "f2", "f3"]
    assert applied["t3"] == ["f0", "f2", "f4"]


def test_filters_of_many_rules_share_their_conditions(tmp_path: Path) -> None:
    """A filter for 40 rules is one object in all of them, so that memory does not grow with the product."""
    (tmp_path / "rules.yml").write_text("".join(rule(n, "userName", iter(["eve"])) for n in range(40)))
    (tmp_path / "zfilters.yml").write_text("".join(exclusion(n, "any") for n in range(40)))
    loaded = load_rules([tmp_path], lists=None, known_kinds=[])
    parts = {
        id(part) for each in loaded.rules if isinstance(each.condition, Every) for part in each.condition.parts[1:]
    }
    assert len(parts) == 40

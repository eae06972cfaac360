"""Filters that would multiply with the rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actionwatch.rules import filters
from actionwatch.rules.conditions import Every
from actionwatch.rules.load import load_rules

HEAD = "title: T{0}\nname: t{0}\nlogsource: {{product: instaclustr, service: user_actions}}\n"


def rule(number: int, key: str, values: Iterator[str]) -> str:
    """Write a rule with one selection."""
    lines = "".join(f"    - '{value}'\n" for value in values)
    return f"{HEAD.format(number)}detection:\n  s:\n   {key}:\n{lines}  condition: s\n---\n"


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

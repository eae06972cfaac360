"""What docs/rules.md shows is so."""

from __future__ import annotations

import re
from pathlib import Path

from sigma.modifiers import modifier_mapping

from actionwatch.emulator.catalogue import KINDS
from actionwatch.located import read_text
from actionwatch.rules.alert import KEYS
from actionwatch.rules.fields import FIELDS, VARIABLES
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import build_rules

TEXT = (Path(__file__).parents[3] / "docs" / "rules.md").read_text(encoding="utf-8")
LONG_NAMES = {"ignorecase", "multiline", "dotall"}  # pySigma's other names of i, m and s


def test_examples_load() -> None:
    """Every example is a rule without faults and notes."""
    examples = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    loaded = build_rules(read_text("---\n".join(examples), "docs/rules.md"), lists=Lists(), known_kinds=KINDS)
    assert (len(loaded.rules), loaded.faults, loaded.notes) == (len(examples), (), ())
    assert len(examples) == 3


def test_everything_is_named() -> None:
    """Each field, modifier, variable and key of the alert block is in the document."""
    words = set(re.findall(r"[\w.]+", TEXT))
    names = {*FIELDS, *modifier_mapping, *VARIABLES, *KEYS} - LONG_NAMES
    parts = {"account.id", "cluster.id", "organisation.id", "account.name", "cluster.name", "organisation.name"}
    assert names - parts <= words

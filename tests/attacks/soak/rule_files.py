"""Rule files with anything in them: each fault is reported, the file beside it loads, and what loads can be evaluated."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actionwatch.instaclustr.kinds import KINDS
from actionwatch.rules.engine import Engine
from actionwatch.rules.load import load_rules
from actionwatch.text.yaml_document import read_file
from tests.attacks.soak import hostile
from tests.attacks.soak.case import Attack
from tests.builders import CLUSTER_DELETED_RULE
from tests.unit.render.messages import record

FILES = sorted((Path(__file__).parents[3] / "rules").glob("*.yml"))
SHIPPED = [path.read_text() for path in FILES]
LINES = (
    "a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: [*c, *c, *c, *c]",
    "? [complex, key]\n: value",
    "!!python/object/apply:os.system ['true']",
    "<<: {a: b}",
    "key: 'not closed",
    "\ttab: 1",
    "--- # another\n...",
    "%YAML 9.9",
    'a: "\\ud800"',
    "  userName|re: '(a*)*(b|[^c]{500}){9}'",
    "  description|contains|all: ['*', '', '?*?*?*']",
    "  userName|expand: '%nobody%'",
    "  condition: " + "not " * 400 + "selection",
    "  condition: " + "(" * 900 + "selection" + ")" * 900,
    "  condition: 1 of them and all of x*",
    "  timespan: 99999999999999999999y",
)


@contextmanager
def attack() -> Iterator[Attack]:
    """Yield the attack."""
    yield _load


def _load(chance: random.Random) -> str:
    written = _as_text(chance) if chance.random() < 0.5 else _as_documents(chance)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a.yml").write_bytes(written)
        (folder / "b.yml").write_text(CLUSTER_DELETED_RULE)
        loaded = load_rules([folder], lists=None, known_kinds=list(KINDS))
    if "name: cluster_deleted" not in written.decode(errors="replace"):
        assert "cluster_deleted" in [rule.name.name for rule in loaded.rules], "the file beside it does not load"
    reported = loaded.faults or loaded.notes
    assert len(loaded.rules) > 1 or loaded.filters or reported or not written.strip(), "a file that vanishes silently"
    assert all(fault.what for fault in loaded.faults)
    engine = Engine(loaded.rules, is_feeding=True)
    engine.evaluate([record(number) for number in range(3)])
    return "refused" if loaded.faults else "loaded"


def _as_text(chance: random.Random) -> bytes:
    """Change lines and bytes of a shipped file."""
    lines = chance.choice(SHIPPED).splitlines()
    for _ in range(chance.choice([1, 2, 6])):
        at = chance.randrange(len(lines))
        match chance.randrange(6):
            case 0:
                del lines[at : at + chance.choice([1, 3])]
                lines = lines or [""]
            case 1:
                lines[at:at] = [lines[at]] * chance.choice([1, 400])
            case 2:
                lines[at] = " " * chance.choice([1, 2, 3]) + lines[at]
            case 3:
                other = chance.choice(SHIPPED).splitlines()
                lines[at:at] = other[chance.randrange(len(other)) :]
            case 4:
                lines[at] = lines[at].partition(":")[0] + ": " + json.dumps(chance.choice(hostile.TEXTS))
            case _:
                lines.insert(at, chance.choice(LINES))
    written = "\n".join(lines).encode("utf-8", "surrogatepass")
    if chance.random() < 0.2:
        at = chance.randrange(len(written))
        written = written[:at] + chance.randbytes(8) + written[at:]
    return written


def _as_documents(chance: random.Random) -> bytes:
    """Change values in the documents of a shipped file. JSON is YAML."""
    documents = read_file(chance.choice(FILES))
    changed = [hostile.changed(chance, each.value, chance.choice([0, 1, 2, 5])) for each in documents]
    return "\n---\n".join(map(hostile.text, changed)).encode("utf-8", "surrogatepass")

"""Templates that would freeze the service or fill its memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from actionwatch.render.renderer import Renderer, variables
from actionwatch.rules.alert_text import compile_wording
from actionwatch.text.sandbox import SandboxedEnvironment, fill
from tests.attacks.hostile_templates import HOSTILE
from tests.children import run_child
from tests.unit.render.messages import message
from tests.waiting import LIMIT

# The aim is 200 ms and 64 MiB for one rendering; a busy machine, its allocator and the counting of its CPU get five times that.
CPU_SECONDS = 1.0
MEMORY_BYTES = 320 * 1024**2
GENERATED = 40

ROOT = Path(__file__).parents[2]
SQUARES = HOSTILE[0]


def test_no_template_takes_much_cpu_or_memory(soak: int, first_seed: int) -> None:
    """Every hostile template is refused, and no rendering of one, or of a generated one, costs much."""
    command = [sys.executable, "-m", "tests.attacks.hostile_templates", str(soak or GENERATED), str(first_seed or 1)]
    ended = run_child(command, cwd=ROOT, limit=LIMIT + soak)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout)
    assert [text for text, fault in found["faults"].items() if not fault] == []
    assert found["cpu"] < CPU_SECONDS, found["slowest"]
    assert found["memory_bytes"] < MEMORY_BYTES, found["slowest"]


def test_a_template_over_budget_is_replaced_and_reported(tmp_path: Path) -> None:
    """A message whose template exceeds the budget is sent as plain text, and `check` reports the template."""
    (tmp_path / "email.txt.j2").write_text(f"first line\n{SQUARES}")
    rendered, failures = Renderer([tmp_path]).render(("email.txt",), message())
    assert rendered.texts["email.txt"].startswith("[critical] Cluster payments-prod deleted")
    assert len(failures) == 1
    assert "email.txt.j2:2:1: '*' with these operands is not allowed in a template" in str(failures[0])
    assert Renderer([tmp_path]).check() == failures


@pytest.mark.parametrize("text", [SQUARES, "{{ range(99999) | map('center', 9999) | join | length }}"])
def test_a_rule_whose_text_is_over_budget_is_not_loaded(text: str) -> None:
    """The check of a rule renders a sample of its texts, and refuses what exceeds the budget."""
    with pytest.raises(ValueError, match=r"is not allowed in a template|takes more than"):
        compile_wording(text)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("{{ [[1], [2, 3]] | sum(start=[]) }}", "[1, 2, 3]"),
        ("{{ 2 ** 10 }} {{ 7 // 2 }} {{ 5 - 3 }}", "1024 3 2"),
        ("{{ 'ab' | center(6) }}|{{ 'ab'.ljust(4) }}|{{ '7'.zfill(3) }}", "  ab  |ab  |007"),
        ("{{ 'a b c' | wordwrap(3) }}", "a b\nc"),
        ("{{ 'a\nb' | indent(2) }}", "a\n  b"),
        (
            "{{ '%s is %05d' | format('x', 42) }} {{ '{:>4}'.format('x') }} {{ '%s-%s' % ('a', 'b') }}",
            "x is 00042    x a-b",
        ),
        ("{{ 'see http://a.bc' | urlize }}", 'see <a href="http://a.bc" rel="noopener">http://a.bc</a>'),
        (
            "{% set n = namespace(l=[]) %}{% for i in range(3) %}{% set n.l = n.l + [i] %}{% endfor %}{{ n.l }}",
            "[0, 1, 2]",
        ),
        ("{{ 100000 | default(86400) }} {{ none | default(86400, true) }}", "100000 86400"),
        ("{% if 'prod' in alert.title and alert.level not in ('low', 'medium') %}yes{% endif %}", "yes"),
        ("{{ [3, 1, 2] | sort | join(', ') }} {{ alert.title.split('-') | last }}", "1, 2, 3 prod deleted"),
        ("{{ {'a': [1]} | tojson(indent=1) }}", '{\n "a": [\n  1\n ]\n}'),
        (
            "{% macro m(x) %}<{{ x }}{% if caller is defined %}{{ caller() }}{% endif %}>{% endmacro %}"
            "{{ m(1) }}{% call m(2) %}c{% endcall %}",
            "<1><2c>",
        ),
        ("{% for i in [1, [2, [3]]] recursive %}{{ i if i is number else loop(i) }}{% endfor %}", "123"),
        ("{% for i in range(9) if i is even %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "1/5 2/5 3/5 4/5 5/5 "),
    ],
)
def test_ordinary_templates_are_within_the_budget(text: str, printed: str) -> None:
    """What people write in templates has its usual result."""
    assert fill(SandboxedEnvironment().from_string(text), variables(message())) == printed

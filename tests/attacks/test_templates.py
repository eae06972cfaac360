"""Templates that would freeze the service or fill its memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from actionwatch.render.renderer import Renderer, variables
from actionwatch.rules.alert_text import compile_wording
from actionwatch.text.sandbox import SandboxedEnvironment, fill
from tests.cases import in_one_test
from tests.children import run_child
from tests.unit.render.messages import message
from tests.waiting import LIMIT

# For one rendering, measured in a child process. The allocator keeps some of what the other renderings took.
CPU_SECONDS = 0.5
MEMORY_BYTES = 64 * 1024**2
GENERATED = 40

ROOT = Path(__file__).parents[2]
SQUARES = "{% set n = namespace(x=9) %}{% for i in 'a' | center(34) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}"


def test_no_template_takes_much_cpu_or_memory(soak: int, first_seed: int) -> None:
    """No hostile template takes 0.5 s of CPU or 64 MiB, and no generated one; what grows without end is refused."""
    command = [sys.executable, "-m", "tests.attacks.hostile_templates", str(soak or GENERATED), str(first_seed or 1)]
    ended = run_child(command, cwd=ROOT, limit=LIMIT + soak)
    assert ended.returncode == 0, ended.stderr[-2000:]
    found = json.loads(ended.stdout)
    assert [text for text, fault in found["faults"].items() if not fault] == []  # of HOSTILE: the others may end
    assert found["cpu"] < CPU_SECONDS, found["slowest"]
    assert found["memory_bytes"] < MEMORY_BYTES, found["slowest"]


def test_a_template_over_budget_is_replaced_and_reported(tmp_path: Path) -> None:
    """A message whose template exceeds the budget is sent as plain text, and `check` reports the template."""
    (tmp_path / "email.txt.j2").write_text(f"first line\n{SQUARES}")
    rendered, failures = Renderer([tmp_path]).render(("email.txt",), message())
    assert rendered.texts["email.txt"].startswith("[critical] Cluster payments-prod deleted")
    assert len(failures) == 1
    assert "email.txt.j2:2:1: a number of more than 2,048 bits is not allowed in a template" in str(failures[0])
    assert Renderer([tmp_path]).check() == failures


@pytest.mark.parametrize("text", [SQUARES, "{{ 'a' | center(99) | map('center', 9999) | join | length }}"])
def test_a_rule_whose_text_is_over_budget_is_not_loaded(text: str) -> None:
    """The check of a rule renders a sample of its texts, and refuses what exceeds the budget."""
    with pytest.raises(ValueError, match="is not allowed in a template"):
        compile_wording(text)


@in_one_test(
    ("text", "printed"),
    [
        ("{{ [1, 2, 3] | sum }}", "6"),
        ("{{ none | default(9999999, true) }} {{ [5000000, 1] | select('gt', 1000000) | list }}", "9999999 [5000000]"),
        ("{{ 2 ** 10 }} {{ 7 // 2 }} {{ 5 - 3 }}", "1024 3 2"),
        ("{{ 'ab' | center(6) }}|{{ '%-4s' | format('ab') }}|{{ '%03d' | format(7) }}", "  ab  |ab  |007"),
        ("{{ 'a\nb' | indent(2) }}", "a\n  b"),
        (
            "{{ '%s is %05d' | format('x', 42) }} {{ '%4s' | format('x') }} {{ '%s-%s' % ('a', 'b') }}",
            "x is 00042    x a-b",
        ),
        (
            "{% set n = namespace(l=[]) %}{% for i in [0, 1, 2] %}{% set n.l = n.l + [i] %}{% endfor %}{{ n.l }}",
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
        (
            "{% for i in [0, 1, 2, 3, 4, 5, 6, 7, 8] if i is even %}{{ loop.index }}/{{ loop.length }} {% endfor %}",
            "1/5 2/5 3/5 4/5 5/5 ",
        ),
    ],
)
def test_ordinary_templates_are_within_the_budget(text: str, printed: str) -> None:
    """What people write in templates has its usual result."""
    assert fill(SandboxedEnvironment().from_string(text), variables(message())) == printed

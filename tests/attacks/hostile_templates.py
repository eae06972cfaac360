"""Render hostile templates in a separate process, and print what the worst of them cost.

By hand: `pytest tests/attacks --soak 5000`, or `python -m tests.attacks.hostile_templates 5000 SEED`: the number of generated
templates, and which ones.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
import warnings
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from actionwatch.base.errors import TemplateError
from actionwatch.render.channels import environment
from actionwatch.text.sandbox import fill

CPU_LIMIT = 100  # seconds for the whole process, and one for each generated template: the kernel ends one that hangs

# Each froze the service or took gigabytes, or is a variant of one that did.
HOSTILE = (
    "{% set n = namespace(x=9) %}{% for i in range(34) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}",
    "{{ 9 ** 99999 }}",
    "{{ 7 | round(-9999999) }}",
    "{{ ([[1]] * 60000) | sum(start=[]) | length }}",
    "{{ ('http://a.bc ' * 20000) | urlize(rel='x' * 9000) }}",
    "{{ ('a ' * 100000) | urlize }}",
    "{{ ('a' * 200000) | wordwrap(1) }}",
    "{{ ('-' * 200000) | wordwrap(9999) }}",
    "{{ ('a ' * 9000) | wordwrap(1, wrapstring='x' * 9000) }}",
    "{% for i in range(9999) %}{% set x = range(9999) | map('string') | sort %}{% endfor %}",
    "{{ ('\\n' * 200000) | indent(9999, blank=true) }}",
    "{{ ('\\n' * 9999) | indent('x' * 9999, blank=true) }}",
    "{{ ('\\t' * 200000).expandtabs(9999) | length }}",
    "{{ range(99999) | list | tojson(indent=9999) | length }}",
    "{{ range(9999) | map('center', 9999) | list | length }}",
    "{{ range(9999) | map('center', 9999) | join | length }}",
    "{{ ('%9999d' * 40000) | format(*range(40000)) | length }}",
    "{{ ('{:9999}' * 40000).format(*range(40000)) | length }}",
    "{{ ('{0}' * 80000).format('a' * 200000) | length }}",
    "{{ '%(a)99999999d' | format(a=1) }}",
    "{% set n = namespace(x=[]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "{% set n = namespace(x=()) %}{% for i in range(60) %}{% set n.x = (n.x, n.x) %}{% endfor %}{{ {n.x: 1} }}",
    "{% set n = namespace(x=()) %}{% for i in range(9999) %}{% set n.x = (n.x,) %}{% endfor %}{{ {}[n.x] }}",
    "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x | batch(2, n.x) | list %}{% endfor %}{{ n.x }}",
    "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = dict(a=n.x, b=n.x) %}{% endfor %}{{ n.x == n.x }}",
    "{% set x %}{% for i in range(20000) %}{{ 'a' * 9999 }}{% endfor %}{% endset %}{{ x | length }}",
    "{% macro m(s) %}{{ s }}{{ s }}{% endmacro %}{% set n = namespace(x='a') %}"
    "{% for i in range(60) %}{% set n.x = m(n.x) %}{% endfor %}{{ n.x | length }}",
    "{% macro m(d) %}{% if d %}{{ m(d - 1) }}{{ m(d - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) recursive %}{{ loop(range(99999)) }}{% endfor %}",
    "{% for i in range(99999) if range(99999) | list | length < 0 %}{% endfor %}",
    "{% for i in range(9999) %}" + "{% if 0 %}a{% endif %}" * 500 + "{% endfor %}",
    "{% block a %}{% endblock %}{% for i in range(99999) %}{{ self.a() }}{% endfor %}",
    "{% set a = 'a' * 2000 %}{% for i in range(99999) %}{% if a ~ 'b' ~ a in a ~ a %}{% endif %}{% endfor %}",
    "{{ ('a' * 200000).rfind('b' + 'a' * 99999) }}",
    "{{ ('a' * 200000) | trim('b' * 99999 + 'a') | length }}",
    "{{ ('a' * 99999) | replace('a', 'b' * 99999) | length }}",
    "{{ ('b' * 99999).join('a' * 99999) | length }}",
    "{{ ('a' * 99999).translate({97: 'b' * 99999}) | length }}",
    "{{ (1).to_bytes(999999999, 'big') | length }}",
    "{{ ('<a' * 60000 ~ '>' * 60000) | striptags | length }}",
    "{{ ('<a>' * 60000) | striptags | length }}",
    "{{ timestamp | date('%9999999d' * 9999) | length }}",
    "{{ (['a'] * 9999) | map(attribute='0.' * 9999 ~ '0') | list | length }}",
    "{{ ({'a': records} | pprint * 99) | length }}",
    "{% set s = 'a' * 200000 %}{% for i in range(99999) %}{% set t = s[1:] %}{% endfor %}",
    "{% set s = 'a' * 200000 %}{% for i in range(99999) %}{% if s == s[1:] ~ 'a' %}{% endif %}{% endfor %}",
    "{% for i in range(99999) %}{{ (range(99999) | list).count(-1) }}{% endfor %}",
    "{{ ('a ' * 200000).split() | length }}",
    "{% for i in range(9999) %}{% set x = ('a' * 99999) | slice(3) | list %}{% endfor %}",
    "{{ ('1. a\\n' ~ 'b\\n' * 99999) | steps | length }}",
    "{% set x %}{% for i in range(9999) %}{{ '\u202e*' * 999 }}{% endfor %}{% endset %}{{ x | length }}",
    "{{ dict.update(data, title='forged') }}",
)

_TEXTS = [
    "a",
    "a ",
    "\n",
    "\t",
    "<",
    "<a>",
    "-",
    "a-",
    "http://a.bc ",
    "\u202e",
    "a@b.cc ",
    "_*",
    ":a:",
    "\U0001f600",
    "&",
    "",
    "%s",
    "{}",
    "1",
]
_COUNTS = [0, 1, 2, 3, 9, 34, 99, 999, 9999, 99_999, 200_000, -1, -9999]
_OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "and", "or"]
_ENVIRONMENTS = {channel: environment(channel, lambda _: None) for channel in ("html", "slack.json", "txt")}
_FILTERS = sorted({name for each in _ENVIRONMENTS.values() for name in each.filters})
_METHODS = [
    "center",
    "count",
    "expandtabs",
    "find",
    "format",
    "index",
    "join",
    "ljust",
    "lower",
    "partition",
    "replace",
    "rfind",
    "rsplit",
    "split",
    "splitlines",
    "strip",
    "title",
    "upper",
    "zfill",
    "items",
    "keys",
    "values",
    "copy",
    "get",
    "translate",
    "encode",
]

_ATOMS = st.one_of(
    st.sampled_from(_TEXTS).map(repr),
    st.sampled_from(_COUNTS).map(str),
    st.builds("{!r} * {}".format, st.sampled_from(_TEXTS), st.sampled_from(_COUNTS)).map("({})".format),
    st.builds("range({})".format, st.sampled_from(_COUNTS)),
    st.sampled_from(
        [
            "s",
            "n.x",
            "i",
            "records",
            "data",
            "timestamp",
            "records[0]",
            "data.title",
            "[n.x, n.x]",
            "{'a': n.x}",
            "(n.x, n.x)",
        ]
    ),
)


def _deeper(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = st.lists(inner, max_size=3).map(", ".join)
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(_OPERATORS), inner),
        st.builds("({} | {})".format, inner, st.sampled_from(_FILTERS)),
        st.builds("({} | {}({}))".format, inner, st.sampled_from(_FILTERS), arguments),
        st.builds("({} | map({!r}) | list)".format, inner, st.sampled_from(_FILTERS)),
        st.builds("({} | map({!r}, {}) | list)".format, inner, st.sampled_from(_FILTERS), inner),
        st.builds("({} | map({!r}, {}) | join)".format, inner, st.sampled_from(_FILTERS), inner),
        st.builds("({}).{}({})".format, inner, st.sampled_from(_METHODS), arguments),
        st.builds("({})[{}:]".format, inner, st.sampled_from(_COUNTS)),
        st.builds("[{}]".format, arguments),
        st.builds("m({})".format, inner),
    )


_EXPRESSIONS = st.recursive(_ATOMS, _deeper, max_leaves=6)
_STATEMENTS = st.recursive(
    st.one_of(
        _EXPRESSIONS.map("{{{{ {} }}}}".format),
        _EXPRESSIONS.map("{{% set n.x = {} %}}".format),
        _EXPRESSIONS.map("{{% set s = {} %}}".format),
    ),
    lambda inner: st.one_of(
        st.builds("{{% for i in range({}) %}}{}{{% endfor %}}".format, st.sampled_from(_COUNTS), inner),
        st.builds("{{% for i in {} if {} %}}{}{{% endfor %}}".format, _EXPRESSIONS, _EXPRESSIONS, inner),
        st.builds("{{% if {} %}}{}{{% endif %}}".format, _EXPRESSIONS, inner),
        st.builds("{{% set n.x %}}{}{{% endset %}}".format, inner),
        st.builds("{}{}".format, inner, inner),
    ),
    max_leaves=4,
)


def hostile_templates() -> st.SearchStrategy[str]:
    """Generate templates that combine whatever makes values larger."""
    start = "{% macro m(v) %}{{ v }}{{ v }}{% endmacro %}{% set n = namespace(x='ab') %}{% set s = 'x y ' * 9 %}{% set i = 3 %}"
    return _STATEMENTS.map(start.__add__)


def cost(text: str, variables: dict[str, Any]) -> tuple[float, str]:
    """Return the seconds of CPU of the slowest channel, and the fault of the last."""
    worst, fault = 0.0, ""
    for channel in _ENVIRONMENTS:
        begun = time.process_time()
        try:
            fill(_ENVIRONMENTS[channel].from_string(text), variables)
            fault = ""
        except TemplateError as exc:
            fault = exc.faults[0].what
        except Exception as exc:  # a template that cannot be compiled
            fault = f"not compiled: {exc}"[:200]
        worst = max(worst, time.process_time() - begun)
    return worst, fault


def main(count: int, first_seed: int) -> None:
    """Print the worst costs as JSON: `cpu` in seconds, `memory_bytes`, and the faults of the known templates."""
    from actionwatch.render.renderer import variables
    from tests.unit.render.messages import message, record  # here: tests.unit is not needed by who only generates

    resource.setrlimit(resource.RLIMIT_CPU, (CPU_LIMIT + count, CPU_LIMIT + count))
    random.seed(1)  # the filter `random`
    warnings.simplefilter("ignore", SyntaxWarning)  # of the Python code that jinja2 generates
    given_variables = variables(message(records=[record(number) for number in range(50)]))
    slowest: list[tuple[float, str]] = []
    cost("{{ 1 | title }}", given_variables)  # what is imported or compiled once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    faults = {}
    for text in HOSTILE:
        spent, faults[text] = cost(text, given_variables)
        slowest.append((spent, text))

    @seed(first_seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(hostile_templates())
    def render(text: str) -> None:
        slowest.append((cost(text, given_variables)[0], text))
        slowest.sort(reverse=True)
        del slowest[20:]

    render()
    slowest.sort(reverse=True)
    taken = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(json.dumps({"cpu": slowest[0][0], "memory_bytes": taken, "faults": faults, "slowest": slowest[:8]}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

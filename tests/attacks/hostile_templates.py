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
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from jinja2 import TemplateSyntaxError

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

# What the list of filters, tests, functions and methods leaves: long values come from `+` in loops, or they are given.
_ROUNDS = "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29]"
_LOOP = "{% for i in " + _ROUNDS + " %}"
_DEEP = _LOOP * 5
_ENDS = "{% endfor %}" * 5
GROWING = (
    _LOOP + "{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
    _LOOP + "{% set n.l = n.l + n.l %}{% endfor %}{{ n.l | length }}",
    _LOOP + "{% set n.l = n.l * 2 %}{% endfor %}",
    _LOOP + "{% set n.t = n.t + n.t %}{% endfor %}{{ n.t | length }}",
    _LOOP + "{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x | length }}",
    _LOOP + "{% set n.x = n.x ~ n.x ~ n.x ~ n.x ~ n.x ~ n.x ~ n.x ~ n.x ~ n.x %}{% endfor %}",
    "{% set x = " + " ~ ".join(["text_a"] * 1000) + " %}{{ x | length }}",
    _LOOP + "{% set n.x = n.x | replace('a', 'aaaaaaaaaaaaaaaaaaaa') %}{% endfor %}{{ n.x | length }}",
    "{{ text_a | replace('', 'b' ~ text_b) | length }}",
    "{{ text_a | replace('a', text_a[:100]) | length }}",
    _LOOP + "{% set n.x = [n.x, n.x, n.x] | join(n.x[:90]) %}{% endfor %}{{ n.x | length }}",
    _LOOP + "{% set n.x = '%s%s' | format(n.x, n.x) %}{% endfor %}{{ n.x | length }}",
    _LOOP + "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | shorten(9) }}",
    _LOOP + "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | string | length }}",
    _LOOP + "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson | length }}",
    _LOOP + "{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x in [n.x[:]] }}",
    _LOOP + "{% set n.x = (n.x, n.x) %}{% endfor %}{{ [n.x] | unique | list | length }}",
    _LOOP + "{% set n.x = (n.x, n.x) %}{% endfor %}{{ {n.x: 1} | length }}",
    _LOOP + "{% set n.x = {'a': n.x, 'b': n.x} %}{% endfor %}{{ [n.x, n.x] | sort | length }}",
    _LOOP + "{% set n.x = {'a': n.x, 'b': n.x} %}{% endfor %}{{ n.x | dictsort | length }}",
    _LOOP + "{% set n.x = namespace(a=n.x, b=n.x) %}{% endfor %}{{ n.x }}",
    _LOOP + "{% set n.x = namespace(a=n.x, b=n.x) %}{% endfor %}{{ '%s' | format(n.x) }}",
    _DEEP + _ENDS,
    _DEEP + "{{ text_a | length }}" + _ENDS,
    _DEEP + "{% set n.y = n.x.y.y.y.y %}" + _ENDS,
    "{% for c in text_a %}{% for d in text_a %}{{ c }}{% endfor %}{% endfor %}",
    "{% for c in text_a %}{% set n.l = n.l + [c] %}{% endfor %}{{ n.l | length }}",
    "{% for c in text_a if c == 'b' or " + " or ".join(["c in 'bcd'"] * 90) + " %}{% endfor %}",
    "{% for i in [1, 2] if i or " + " or ".join(["not i"] * 90) + " recursive %}{{ loop(numbers) }}{% endfor %}",
    "{% for i in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
    "{% for i in [1] recursive %}{{ loop(numbers) }}{{ loop(numbers) }}{% endfor %}",
    "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro m(v) %}{{ v }}{{ caller() }}{{ caller() }}{% endmacro %}"
    + "{% call m(text_a) %}" * 15
    + "{{ text_a }}"
    + "{% endcall %}" * 15,
    "{% macro m() %}{{ varargs | length }}{% endmacro %}" + _LOOP * 3 + "{{ m(*numbers) }}" + "{% endfor %}" * 3,
    "{% macro m() %}{{ kwargs | length }}{% endmacro %}" + _LOOP * 3 + "{{ m(**data) }}" + "{% endfor %}" * 3,
    "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}",
    "{% block a %}{{ text_a }}{% endblock %}" + _LOOP * 3 + "{% set n.y = self.a() %}" + "{% endfor %}" * 3,
    _LOOP * 3 + "{% set y %}{{ text_r }}{% endset %}" + "{% endfor %}" * 3,
    _LOOP * 3 + "{% set n.l = n.l + [text_r | line] %}" + "{% endfor %}" * 3,
    _LOOP * 3 + "{% set n.l = n.l + [text_e[1:]] %}" + "{% endfor %}" * 3,
    _LOOP * 3 + "{% set n.l = n.l + [text_e | upper] %}" + "{% endfor %}" * 3,
    _LOOP * 3 + "{% set n.l = n.l + [text_e ~ 'x'] %}" + "{% endfor %}" * 3,
    _LOOP * 3 + "{% set n.l = n.l + [text_e | list] %}" + "{% endfor %}" * 3,
    _LOOP * 3 + "{% set n.l = n.l + [numbers | batch(1)] %}" + "{% endfor %}" * 3,
    _LOOP * 3 + "{% set n.l = n.l + [numbers | slice(100)] %}" + "{% endfor %}" * 3,
    _LOOP * 3 + "{% set n.l = n.l + [numbers | map('string')] %}" + "{% endfor %}" * 3,
    "{{ numbers | batch(9999999, 'a') | list | length }}",
    "{{ numbers | slice(9999999, 'a') | list | length }}",
    "{{ 'a' | center(99999999) | length }}",
    "{{ text_a | center(99999999) | length }}",
    "{{ text_n | indent(99999999) | length }}",
    "{{ text_n | indent(20, true, true) | length }}",
    "{{ text_n | indent(text_a, true, true) | length }}",
    "{{ records | batch(2, n.x) | groupby('0.timestamp') | list | length }}",
    _LOOP * 2 + "{{ records | groupby('timestamp') | length }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ numbers | map('string') | list | groupby(0) | length }}" + "{% endfor %}" * 2,
    "{% set w = text_w.split() %}" + _LOOP * 2 + "{{ w | groupby(0) | length }}" + "{% endfor %}" * 2,
    "{% set w = text_w.split() %}" + _LOOP * 2 + "{{ w | unique | list | length }}" + "{% endfor %}" * 2,
    "{% set w = text_w.split() %}" + _LOOP * 2 + "{{ w | max }}" + "{% endfor %}" * 2,
    "{% set w = text_w.split() %}" + _LOOP * 2 + "{{ w | join('ab') | length }}" + "{% endfor %}" * 2,
    "{% set w = text_w.split() %}" + _LOOP * 2 + "{{ w | map('upper') | list | length }}" + "{% endfor %}" * 2,
    "{% set w = text_w.split() %}"
    + _LOOP * 2
    + "{{ w | select('in', ['b', 'c']) | list | length }}"
    + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ text_a | max }}{{ text_a | unique | join }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ text_a | map('lower') | join }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ text_a | batch(100) | length }}" + "{% endfor %}" * 2,
    "{{ n.x | join(text_a) }}{{ 1 | join('a') }}",
    _LOOP * 4 + "{{ '' }}" + "{% endfor %}" * 4,
    _LOOP * 4 + "{{ [1, 2, 3][1:] }}" + "{% endfor %}" * 4,
    _LOOP * 4 + "{% set n.y = data.title.title %}" + "{% endfor %}" * 4,
    _LOOP * 4 + "{% set n.y = data['alert']['rule']['id'] if 0 else data['rule']['id'] %}" + "{% endfor %}" * 4,
    _LOOP * 4 + "{% if loop.index == loop.length and loop.previtem is defined %}{% endif %}" + "{% endfor %}" * 4,
    _LOOP * 4 + "{% set n.y = i + i - i // 1 %}" + "{% endfor %}" * 4,
    _LOOP * 4 + "{% set n.y = n.x.upper() %}" + "{% endfor %}" * 4,
    _LOOP * 4 + "{% set n.y = timestamp | date %}" + "{% endfor %}" * 4,
    _LOOP * 4 + "{% set n.y = timestamp | local %}" + "{% endfor %}" * 4,
    _LOOP * 4 + "{% set n.y = timestamp | date('" + "%9999d" * 16 + "') %}" + "{% endfor %}" * 4,
    _LOOP * 4 + "{% set n.y = i | duration %}" + "{% endfor %}" * 4,
    _LOOP * 4 + "{% set n.y = 'DELETE_CLUSTER' | deed('x') %}" + "{% endfor %}" * 4,
    _LOOP * 4 + "{% set n.y = '%s %d' | format('x', 1) %}" + "{% endfor %}" * 4,
    _LOOP * 4 + "{% set n.y %}{{ i }}{% endset %}" + "{% endfor %}" * 4,
    _LOOP * 4 + "{% filter upper %}a{% endfilter %}" + "{% endfor %}" * 4,
    _LOOP * 4 + "{% set n.y = {'high': 3, 'low': 1} | bars %}" + "{% endfor %}" * 4,
    "{% macro m(a, b=1) %}{{ a }}{% endmacro %}" + _LOOP * 4 + "{% set n.y = m(1, b=2) %}" + "{% endfor %}" * 4,
    "{% set c = cycler(1, 2) %}{% set j = joiner() %}" + _LOOP * 4 + "{{ c.next() }}{{ j() }}" + "{% endfor %}" * 4,
    "{{ numbers | tojson(99999999) | length }}",
    "{{ data | tojson(8) }}{{ [[[[[[[[[[[[numbers]]]]]]]]]]]] | tojson(8) | length }}",
    "{{ '%9999999d' | format(1) }}",
    "{{ '%.9999999f' | format(1) }}",
    "{{ '%*d' | format(99999999, 1) }}",
    "{{ '%-+ #099999999x' | format(1) }}",
    "{{ '%((a))99999999d' | format(**{'(a)': 1}) }}",
    "{{ '%(a)99999999d' | format(a=1) }}",
    "{{ ['%99999999d'] | format(1) }}",
    "{{ ('%(a)s' ~ text_p) | format(a=text_a) | length }}",
    "{{ '%9999999d' % 1 }}",
    "{{ '{:9999999}'.format(1) }}",
    "{{ 'a'.ljust(99999999) | length }}",
    "{{ numbers | map('center', 99999999) | list | length }}",
    "{{ numbers | map('format', text_a) | list | length }}",
    "{{ numbers | map('default', text_a) | map('upper') | list | length }}",
    "{{ numbers | map(attribute='0.' ~ text_a) | list | length }}",
    "{{ records | map(attribute='a.b' ~ '.c' * 10) | list }}",
    "{{ records | sort(attribute='" + "a." * 9000 + "a') | list }}",
    "{{ numbers | select('in', numbers) | list | length }}",
    "{{ numbers | selectattr('0', 'in', text_a) | list | length }}",
    "{{ numbers | reject('divisibleby', 7) | list | map('string') | sort | join | length }}",
    _LOOP * 2 + "{{ numbers | sort | length }}{{ numbers | groupby(0) | length }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ text_a | groupby(0) | length }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ text_w | title | length }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ text_e | urlencode | length }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ text_e | tojson | length }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ text_e | join | length }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ text_r | line | length }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ text_w.split() | length }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ text_n.splitlines() | length }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ text_a.count('a' ~ text_a[:90] ~ 'b') }}" + "{% endfor %}" * 2,
    _LOOP * 3 + "{{ text_a.count('" + "a" * 98 + "b') }}" + "{% endfor %}" * 3,
    _LOOP * 3 + "{% if loop.changed(numbers) or loop.changed(numbers + [i]) %}{% endif %}" + "{% endfor %}" * 3,
    "{% set x = numbers + [1] %}{% set y = numbers + [1] %}"
    + _LOOP * 3
    + "{% if loop.changed(x if loop.index is even else y) %}{% endif %}"
    + "{% endfor %}" * 3,
    _LOOP * 2 + "{{ text_a.strip(text_b) | length }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ (text_a[:1200] ~ 'b') in text_a[:2400] }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ text_a == text_a[:] ~ '' }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ numbers == numbers[:] }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ (text_a + '1') | int }}" + "{% endfor %}" * 2,
    "{{ text_1 | int }}",
    "{{ text_1 | int(0, 16) }}",
    "{{ text_1 | float }}",
    _LOOP + "{% set n.i = n.i * n.i %}{% endfor %}{{ n.i }}",
    _LOOP + "{% set n.i = n.i + n.i %}{% set n.i = n.i * 99999999999 %}{% endfor %}",
    "{{ 9 ** 99999999 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ 2.5 ** 99999999 }}",
    "{{ (0 - 9) ** 99999999 }}",
    "{{ 1 | round(99999999) }}",
    "{{ 1 | round(-99999999) }}",
    "{{ numbers | sum(start=[]) }}",
    "{{ [[1], [2]] | sum(start=numbers) | length }}",
    "{{ timestamp | date(text_p) }}",
    "{{ timestamp | date('%99999999d') }}",
    "{{ timestamp | local('%99999999d') }}",
    "{{ timestamp | slack_date(text_a) | length }}",
    "{{ text_s | steps | length }}",
    _LOOP * 2 + "{{ text_s | steps | length }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ text_a | label | length }}{{ text_a | deed(text_a) | length }}" + "{% endfor %}" * 2,
    _LOOP * 2 + "{{ text_w | unless_in(text_w) | length }}" + "{% endfor %}" * 2,
    _LOOP * 3 + "{{ data | sign }}{{ records[0] | sentence }}" + "{% endfor %}" * 3,
    _LOOP * 3 + "{{ cycler(*numbers).next() }}" + "{% endfor %}" * 3,
    "{{ -999999999 | _spent }}" + _LOOP * 5 + _ENDS,
    "{% set x = (0 - 999999999) | _spent %}" + _LOOP * 5 + _ENDS,
    "{% include 'itself' %}",
    "{% import 'itself' as m %}{{ m }}",
    "{% extends 'itself' %}",
    "{% include ['itself', 'itself'] %}",
    _LOOP * 3 + "{% include 'other' %}" + "{% endfor %}" * 3,
    _LOOP * 3 + "{% include ['missing', 'other'] ignore missing %}" + "{% endfor %}" * 3,
    "{% import 'long' as m %}" + _LOOP * 3 + "{{ m ~ m }}" + "{% endfor %}" * 3,
    "{% import 'long' as m %}" + _LOOP * 3 + "{{ m | length }}" + "{% endfor %}" * 3,
    "{{ a }}" * 30_000,
    "{{ level }}" * 2_900,
    "{{ level + level + level }}" * 1_200,
    "{{ level ~ level }}" * 1_000,
    "{{ level == level }}" * 1_000,
    "{{ level | upper }}" * 1_400,
    "{{ [" + "1," * 16_000 + "] | length }}",
    "{{ " + "(" * 9_000 + "1" + ")" * 9_000 + " }}",
    "{{ " + "-" * 20_000 + "1 }}",
    "{{ 1" + " + 1" * 8_000 + " }}",
    "{{ level" + " | upper" * 3_000 + " }}",
    "{{ " + "9" * 30_000 + " }}",
    "{% if level %}" * 1_500 + "{% endif %}" * 1_500,
    "{% for i in [1] %}" * 25 + "{% endfor %}" * 25,
    "{% macro m() %}" * 900 + "{% endmacro %}" * 900,
    "#" * 2_000_000,
    "{#" * 16_000,
    "{{ '" + "\\" * 15_000 + "' }}",
)
_START = "{% set n = namespace(x='ab', l=[1], t=(1,), i=9) %}"

# Values that are as long as those of a message can be, and longer.
LONG: dict[str, object] = {
    "text_a": "a" * 100_000,
    "text_b": "b" * 101,
    "text_e": "\U0001f600" * 60_000,
    "text_r": "\u202e*" * 40_000,
    "text_w": "a " * 50_000,
    "text_n": "\n" * 100_000,
    "text_p": "%s%5d" * 10_000,
    "text_s": "1. a\n" + "b\n" * 110_000,
    "text_1": "1" * 60_000,
    "numbers": list(range(10_000)),
}
_FILES = {
    "other": "{{ timestamp }}",
    "long": "{{ 100000 | string }}{% for i in [1,2,3,4,5,6,7,8,9] %}{{ [i, i, i] | string }}{% endfor %}" * 100,
}


def _find(text: str) -> Callable[[str], tuple[str, str, Callable[[], bool]] | None]:
    files = {"itself": text, **_FILES}
    return lambda name: (files[name], name, lambda: True) if name in files else None


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
_CHANNELS = ("html", "slack.json", "txt")
_ENVIRONMENTS = {channel: environment(channel, lambda _: None) for channel in _CHANNELS}
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
    st.sampled_from(sorted(LONG)),
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
        st.builds(
            "{{% for i in {} %}}{}{{% endfor %}}".format, st.sampled_from(["numbers", "[1, 2, 3]", "text_a"]), inner
        ),
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


def cost(text: str, variables: dict[str, Any], channels: Sequence[str] = _CHANNELS) -> tuple[float, str]:
    """Return the seconds of CPU of the slowest channel, and the fault of the last."""
    worst, fault = 0.0, ""
    for channel in channels:
        sandbox = environment(channel, _find(text))
        begun = time.process_time()
        try:
            fill(sandbox.from_string(text), variables)
            fault = ""
        except TemplateError as exc:
            fault = exc.faults[0].what
        except TemplateSyntaxError as exc:
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
    given_variables = variables(message(records=[record(number) for number in range(50)])) | LONG
    slowest: list[tuple[float, str]] = []
    cost("{{ 1 | title }}", given_variables)  # what is imported or compiled once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    faults = {}
    for text in HOSTILE:
        spent, faults[text] = cost(text, given_variables)
        slowest.append((spent, text))
    for number, text in enumerate(GROWING):
        spent, _ = cost(_START + text, given_variables, [_CHANNELS[number % len(_CHANNELS)]])
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

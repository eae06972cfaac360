"""Calculate the cost and the result size of filters, methods and operators of templates before they run.

Each function of a table has the parameters of the filter or the method that it describes. It returns the number of characters
of the result and charges what a character or item costs beyond the ordinary.
"""

# ruff: noqa: ARG001  parameters have the names of those of the filters, because templates can pass them by name

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from actionwatch.text.budget import MAX_BITS, MAX_CHARS, MAX_ITEMS, charge, refuse, weigh

Foresee = Callable[..., int]

# Widths and precisions of `%` formats, after the sign or the name of a key, and in the last part of `{}` formats.
_PERCENT_WIDTHS = re.compile(r"[%)][-+ #0]*(\d+|\*)?(?:\.(\d+|\*))?")
_BRACE_SPEC = re.compile(r"\{[^{}:]*:([^{}]*)([{}])")
_DIGITS = re.compile(r"\d+")
_MAX_WIDTH_DIGITS = 6


def check_size(chars: int) -> None:
    """Refuse a text of this many characters; charge it otherwise."""
    refuse(chars > MAX_CHARS, "a size such as this")
    charge(chars // 8)


def _format_size(text: Any, /, *args: Any, **kwargs: Any) -> int:
    """Return at most how long a `%` or `{}` format makes its text."""
    form = str(text) if isinstance(text, str) else ""
    charge(len(form))
    widths = [width for found in _PERCENT_WIDTHS.findall(form) for width in found if width]
    for spec, end in _BRACE_SPEC.findall(form):
        widths += ["*"] if end == "{" else _DIGITS.findall(spec)
    refuse(any(width == "*" or len(width) > _MAX_WIDTH_DIGITS for width in widths), "this width")
    fields = form.count("%") + form.count("{")
    return len(form) + sum(map(int, widths)) + fields * sum(map(weigh, [*args, *kwargs.values()]))


def check_binop(operator: str, left: Any, right: Any) -> None:
    """Refuse an operator whose result would be too large, and charge it otherwise."""
    charge(10)
    if isinstance(left, int | float) and isinstance(right, int | float):
        _check_numbers(operator, left, right)
    elif operator == "*":
        times, repeated = (left, right) if isinstance(left, int) else (right, left)
        if isinstance(times, int) and isinstance(repeated, str | list | tuple):
            is_text = isinstance(repeated, str)
            size = len(repeated) * max(times, 0)
            refuse(size > (MAX_CHARS if is_text else MAX_ITEMS), f"'{operator}' with these operands")
            charge(size // 8 if is_text else size)
    elif operator == "%" and isinstance(left, str):
        check_size(_format_size(left, *(right if isinstance(right, tuple) else (right,))))
    elif operator == "+" and isinstance(left, str | list | tuple) and isinstance(right, str | list | tuple):
        size, is_text = len(left) + len(right), isinstance(left, str)
        refuse(size > (MAX_CHARS if is_text else MAX_ITEMS), f"'{operator}' with these operands")
        charge(size // 8 if is_text else size)
    else:
        charge(weigh(left) + weigh(right))  # keys of dicts subtract as sets


def _check_numbers(operator: str, left: float, right: float) -> None:
    if isinstance(left, int) and isinstance(right, int):
        bits = 0
        if operator == "*":
            bits = left.bit_length() + right.bit_length()
        elif operator == "**":
            bits = left.bit_length() * max(right, 1)
        refuse(bits > MAX_BITS, f"'{operator}' with these operands")


def _padded(value: Any, width: int = 80, fill: str = " ") -> int:
    return max(weigh(value), width)


def _indented(value: Any, width: Any = 4, first: bool = False, blank: bool = False) -> int:
    length = weigh(value)
    return length + _lines(value) * (width if isinstance(width, int) else weigh(width))


def _wrapped(
    value: Any, width: int = 79, break_long_words: bool = True, wrapstring: Any = None, break_on_hyphens: bool = True
) -> int:
    length, lines = weigh(value), _lines(value)
    # A long word is cut off from the rest again and again, and the pattern that finds words looks back and ahead.
    longest = max(map(len, value.splitlines()), default=0) if isinstance(value, str) else length
    charge(60 * (length + lines) + longest * length // 64 + longest * length // max(width, 1) // 32)
    return length + (length // max(width, 1) + lines) * max(weigh(wrapstring or ""), 1)


def _linked(value: Any, trim_url_limit: int | None = None, *args: Any, **kwargs: Any) -> int:
    length = weigh(value)
    charge(80 * length)
    return 12 * length + (length // 4 + 1) * (64 + sum(map(weigh, [*args, *kwargs.values()])))


def _replaced(value: Any, old: Any, new: Any, count: int | None = None) -> int:
    length = weigh(value)
    charge(_search_steps(length, weigh(old)))
    found = value.count(old) if isinstance(value, str) and isinstance(old, str) else length + 1
    return length + found * weigh(new)


def _joined(value: Any, d: Any = "", attribute: Any = None) -> int:
    return weigh(value) + _length(value) * weigh(d)


def _joined_by(separator: str, items: Any) -> int:
    return _joined(items, separator)


def _tabbed(value: str, tabsize: int = 8) -> int:
    return len(value) + value.count("\t") * max(tabsize, 0)


def _as_json(value: Any, indent: int | None = None) -> int:
    return weigh(value) * (1 + 8 * (indent or 0))  # rarely are values nested deeper than eight levels


def _in_batches(value: Any, linecount: int, fill_with: Any = None) -> int:
    refuse(linecount > MAX_ITEMS, "a size such as this")
    charge(max(linecount, 0))
    return weigh(fill_with)


def _in_slices(value: Any, slices: int, fill_with: Any = None) -> int:
    charge(4 * _length(value))  # copied as a list
    return _in_batches(value, slices, fill_with)


def _rounded(value: Any, precision: int = 0, method: str = "common") -> int:
    return abs(precision) * 100  # Python computes 10 to this power


def _total(value: Any, attribute: Any = None, start: Any = 0) -> int:
    size = weigh(value)
    if not isinstance(start, int | float):  # each sum of lists copies all before it
        charge(_length(value) * (weigh(start) + size) // 16)
    return size


def _stripped_of_tags(value: Any) -> int:
    length = weigh(value)
    charge(4 * length + (value.count("<") if isinstance(value, str) else length) * length // 32)
    return length


def _trimmed(value: Any, chars: Any = None) -> int:
    charge(weigh(value) * weigh(chars or "") // 32)
    return weigh(value)


def _searched(text: str, /, *args: Any, **kwargs: Any) -> int:
    charge(
        sum(
            _search_steps(len(text), len(each), is_from_right=True)
            for each in [*args, *kwargs.values()]
            if isinstance(each, str)
        )
    )
    return len(text)


def _split(text: str, /, *args: Any, **kwargs: Any) -> int:
    charge(2 * len(text))  # at most so many parts
    return _searched(text, *args, **kwargs)


def search_steps(part: Any, whole: Any) -> int:
    """Return the steps of `part in whole`."""
    if isinstance(part, str) and isinstance(whole, str):
        return _search_steps(len(whole), len(part))
    return weigh(part) + weigh(whole)


def _search_steps(length: int, part: int, is_from_right: bool = False) -> int:
    # Long texts are searched in linear time, except from the right.
    return length * (part if is_from_right or length < 30_000 else min(part, 100)) // 32


def _lines(value: Any) -> int:
    charge(weigh(value) // 4)
    return len(value.splitlines()) + 1 if isinstance(value, str) else weigh(value)


def _length(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else 1


FILTERS: dict[str, Foresee] = {
    "batch": _in_batches,
    "center": _padded,
    "format": _format_size,
    "indent": _indented,
    "join": _joined,
    "replace": _replaced,
    "round": _rounded,
    "slice": _in_slices,
    "striptags": _stripped_of_tags,
    "sum": _total,
    "tojson": _as_json,
    "trim": _trimmed,
    "urlize": _linked,
    "wordwrap": _wrapped,
}

# Steps for each character of what a filter reads, measured with the worst text of each. OTHER_STEPS are those of all others.
# None: the filter reads only the top of its value, or an item at a time, which is charged when it is read.
OTHER_STEPS = 4
FILTER_STEPS: dict[str, float | None] = {
    **dict.fromkeys(
        (
            "capitalize",
            "e",
            "escape",
            "forceescape",
            "lower",
            "replace",
            "reverse",
            "safe",
            "string",
            "trim",
            "truncate",
            "upper",
        ),
        1 / 8,
    ),
    **dict.fromkeys(("filesizeformat", "tojson"), 2),
    **dict.fromkeys(("dictsort", "max", "min", "title", "unique", "urlencode", "xmlattr"), 10),
    **dict.fromkeys(("groupby", "sort"), 40),
    **dict.fromkeys(
        [
            "attr",
            "batch",
            "count",
            "d",
            "default",
            "first",
            "items",
            "last",
            "length",
            "list",
            "map",
            "random",
            "reject",
            "rejectattr",
            "select",
            "selectattr",
            "slice",
        ]
    ),
}

SHALLOW_TESTS = frozenset(
    [
        "boolean",
        "callable",
        "defined",
        "escaped",
        "false",
        "filter",
        "float",
        "integer",
        "iterable",
        "mapping",
        "none",
        "number",
        "sameas",
        "sequence",
        "string",
        "test",
        "true",
        "undefined",
    ]
)

# The methods that templates may call. All others are refused: none is needed, and some fill the memory.
_PLAIN_TEXT_METHODS = (
    "capitalize casefold endswith isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace"
    " istitle isupper lower removeprefix removesuffix startswith swapcase title upper"
)
TEXT_METHODS: dict[str, Foresee] = {
    **dict.fromkeys(_PLAIN_TEXT_METHODS.split(), lambda text, *_: 2 * len(text)),
    **dict.fromkeys(
        ["count", "find", "index", "lstrip", "partition", "rfind", "rindex", "rpartition", "rstrip", "strip"], _searched
    ),
    **dict.fromkeys(("rsplit", "split", "splitlines"), _split),
    **dict.fromkeys(("center", "ljust", "rjust", "zfill"), _padded),
    "expandtabs": _tabbed,
    "format": _format_size,
    "format_map": _format_size,
    "join": _joined_by,
    "replace": _replaced,
}
OTHER_METHODS: dict[type, frozenset[str]] = {
    dict: frozenset({"copy", "get", "items", "keys", "values"}),
    list: frozenset({"copy", "count", "index"}),
    tuple: frozenset({"count", "index"}),
    int: frozenset({"bit_length"}),
    float: frozenset({"is_integer"}),
    date: frozenset(
        {"astimezone", "date", "isoformat", "isoweekday", "replace", "strftime", "time", "timestamp", "weekday"}
    ),
    timedelta: frozenset({"total_seconds"}),
}

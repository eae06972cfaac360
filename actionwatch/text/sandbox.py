"""The jinja2 sandbox for all texts that rules and operators write.

Audit text is always a value, never a template. The sandbox denies access to Python, and a misspelt name is an error. Only the
filters, tests, functions and methods of the tables exist. A rendering has a number of steps: each round of a loop takes some,
and so does each filter, operator and call, by the size of what it reads and makes. Steps are counted and not timed, so that a
template fails on every machine or on none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import wraps
from itertools import chain
from typing import Any

from jinja2 import BaseLoader, Environment, StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2 import TemplateError as JinjaError
from jinja2.runtime import BlockReference, Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner

from actionwatch.base.errors import Fault, TemplateError
from actionwatch.text.steps import (
    CONTAINERS,
    ITEM,
    LONG,
    MAX_BITS,
    MAX_CHARS,
    limited_steps,
    made,
    refuse,
    size,
    spend,
    weigh,
)

MAX_SOURCE_CHARS = 32 * 1024  # of a template: the longest shipped one has 9,000
MAX_NODES = 5_000  # of its syntax tree: to compile one takes 50 µs; the longest shipped template has 900
_MAX_SEARCHED_CHARS = 100  # Python searches for a longer text slowly
_MAX_GROWTH = 2_000_000  # characters that a filter may make before the result is measured
_NODE, _LOOKUP, _FILTER, _CALL, _INCLUDE = 3, 20, 40, 200, 1_000  # steps


def _words(names: str) -> list[str]:
    return names.split()


# The filters of jinja2 that templates can use, with the steps for each item of their list, and for four characters of all that
# it holds. A filter that makes a text or a list also takes the steps of that.
_PASSED, _LISTED, _COMPARED, _COPIED, _REWRITTEN = (0, 0), (32, 0), (32, 1), (0, 1), (0, 16)
_FILTERS = {
    **dict.fromkeys(_words("count d default first last length list reverse"), _PASSED),
    **dict.fromkeys(_words("batch items map reject rejectattr select selectattr slice"), _LISTED),
    **dict.fromkeys(_words("dictsort groupby max min sort sum unique"), _COMPARED),
    **dict.fromkeys(_words("abs capitalize center e escape float forceescape format int lower replace round"), _COPIED),
    **dict.fromkeys(_words("filesizeformat safe string trim truncate upper"), _COPIED),
    **dict.fromkeys(_words("indent join title tojson urlencode"), _REWRITTEN),
}
_MAX_NUMBERS = {"batch": 100, "center": 100, "indent": 20, "round": 20, "slice": 100, "tojson": 8}  # in options
# Tests of the type of a value, and of all of it.
_TYPE_TESTS = _words("boolean defined false float integer iterable mapping none number sequence string true undefined")
_VALUE_TESTS = _words(
    "!= < <= == > >= divisibleby eq equalto even ge greaterthan gt in le lessthan lower lt ne odd sameas upper"
)
_GLOBALS = ("cycler", "joiner", "namespace")
_METHODS: dict[type, list[str]] = {
    str: _words(
        "capitalize count endswith find isalnum isalpha isdigit lower lstrip partition removeprefix removesuffix rstrip split"
        " splitlines startswith strip title upper"
    ),
    dict: _words("get items keys values"),
    LoopContext: _words("changed cycle"),
    Cycler: _words("next reset"),
}
# A format with a width or a precision of three digits, or with brackets in a key, which hide one.
_WIDE = re.compile(r"%(?:\([^)]*\(|(?:\([^)]*\))?[-+ #0]*(?:\*|\d{3}|\d*\.(?:\*|\d{3})))")


class SandboxedEnvironment(ImmutableSandboxedEnvironment):
    """jinja2's immutable sandbox with few filters, tests, globals and methods, and with limits."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(
        self,
        *,
        loader: BaseLoader | None = None,
        autoescape: bool = False,
        finalize: Callable[[Any], Any] | None = None,
        filters: Mapping[str, Callable[..., Any]] | None = None,
        glancing: Collection[str] = (),
    ) -> None:
        """`finalize` receives every value before it is printed, so that a channel can escape it.

        `filters` are added to those of jinja2; those named in `glancing` read a few members of their value, whatever its size.
        """
        super().__init__(
            loader=loader,
            autoescape=autoescape,
            finalize=_printing(finalize or (lambda value: value)),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # the optimizer evaluates constants at compile time
        )
        given = {name: (each, _PASSED if name in glancing else _REWRITTEN) for name, each in (filters or {}).items()}
        allowed = {name: (self.filters[name], costs) for name, costs in _FILTERS.items()} | given
        self.filters = {name: _limited(name, each, costs) for name, (each, costs) in allowed.items()}
        self.filters |= {each.__name__: each for each in (_read, _sliced, _spent)}
        self.tests = {name: self.tests[name] for name in _TYPE_TESTS} | {
            name: _limited(name, self.tests[name], (0, 4)) for name in _VALUE_TESTS
        }
        self.globals = {name: self.globals[name] for name in _GLOBALS}

    @staticmethod
    def concat(pieces: Iterable[str]) -> str:
        """Join the pieces of a macro or a block."""
        texts = list(pieces)
        refuse(sum(map(len, texts)) > MAX_CHARS, LONG)
        return "".join(texts)

    def parse(self, source: str, name: Any = None, filename: Any = None) -> nodes.Template:
        """Parse a template that is not too long, because compiling takes time too."""
        if len(source) > MAX_SOURCE_CHARS:
            what = f"the template has more than {MAX_SOURCE_CHARS:,} characters: split it with include"
            raise TemplateSyntaxError(what, 1, name, filename)
        tree = super().parse(source, name, filename)
        if sum(1 for _ in tree.find_all(nodes.Node)) > MAX_NODES:
            what = f"the template has more than {MAX_NODES:,} names, operators and statements: split it with include"
            raise TemplateSyntaxError(what, 1, name, filename)
        return tree

    def compile(self, source: Any, name: Any = None, filename: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Compile a template that charges what it does. Raises: TemplateSyntaxError, also if it is too long or too deep."""
        try:
            with limited_steps():  # jinja2 evaluates constant expressions meanwhile
                tree = self.parse(source, name, filename) if isinstance(source, str) else source
                _charge_nodes(tree, name, filename)
                tree.set_environment(self)
                return super().compile(tree, name, filename, *args, **kwargs)
        except (RecursionError, SyntaxError, ValueError, OverflowError, MemoryError) as exc:
            what = f"cannot be compiled: {type(exc).__name__}: nest less"
            raise TemplateSyntaxError(what, 1, name, filename) from exc

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Allow values, macros, and the methods of the table."""
        is_allowed = not callable(value) or isinstance(value, Macro | BlockReference | Joiner | Cycler)
        is_allowed = is_allowed or any(isinstance(obj, kind) and attr in names for kind, names in _METHODS.items())
        return is_allowed and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """Refuse `str.format`, like the other methods that are not in the table: there is a filter."""

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  as jinja2 names them
        """Charge a call, and refuse a method that would take long."""
        owner, given = getattr(__obj, "__self__", None), [*args, *kwargs.values()]
        spend(_CALL + ITEM * len(given))
        if owner is not None:  # a method
            refuse(_is_slow(given), f"{__obj.__name__}() with an argument as long as this is not allowed in a template")
            spend(sum(map(weigh, given)) + (4 * len(owner) if isinstance(owner, str) else 0))
        return made(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse the operators of texts and lists except `+` and `%`, and numbers that grow."""
        what = f"'{operator}' with these operands is not allowed in a template"
        if operator == "%" and isinstance(left, str):
            refuse(_is_growing("format", left, [right]), what)
        elif operator != "+":
            refuse(any(isinstance(each, (str, Mapping, *CONTAINERS)) for each in (left, right)), what)
        if operator == "**":
            refuse(not isinstance(left, int | float) or abs(right) * (1 + int(abs(left)).bit_length()) > MAX_BITS, what)
        spend(_FILTER)
        return made(super().call_binop(context, operator, left, right))


def fill(template: Template, variables: Mapping[str, Any]) -> str:
    """Fill in a template.

    Raises: TemplateError for every error, because operators write the templates and have to see what is wrong with them.
    """
    pieces: list[str] = []
    chars = 0
    try:
        with limited_steps():
            for piece in template.generate(variables):
                chars += len(piece)
                refuse(chars > MAX_CHARS, f"the text grew beyond {MAX_CHARS:,} characters: print less, or shorten it")
                pieces.append(piece)
    except JinjaError as exc:
        raise _fault(template, f"{exc.message or type(exc).__name__}") from exc
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError, MemoryError) as exc:
        raise _fault(template, f"{type(exc).__name__}: {exc}") from exc
    return "".join(pieces)


def _fault(template: Template, what: str) -> TemplateError:
    return TemplateError(Fault(template.name or "template", 0, 0, what))


# -- what a template does without a filter or a call ------------------------------------------------------------------

_INCLUDES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


def _charge_nodes(tree: nodes.Template, name: str | None, filename: str | None) -> None:
    """Make a tree charge the nodes of each body when it runs, and what it compares, joins, slices and uses as a key."""
    bodies = (nodes.Template, nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block)
    found = [tree, *tree.find_all(nodes.Node)]
    spending = [
        (node, nodes.Const(_count(node.body), lineno=node.lineno)) for node in found if isinstance(node, bodies)
    ]
    for node in found:
        if isinstance(node, nodes.For) and node.test:  # which jinja2 evaluates also for the items that it skips
            node.test = nodes.And(_filtered(nodes.Const(_count([node.test])), "_spent"), node.test, lineno=node.lineno)
        elif isinstance(node, nodes.Compare):
            node.expr = _filtered(node.expr, "_read")
            for each in node.ops:
                each.expr = _filtered(each.expr, "_read")
        elif isinstance(node, nodes.Concat):
            node.nodes = [_filtered(each, "_read") for each in node.nodes]
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
            node.node = _filtered(node.node, "_sliced")
        elif isinstance(node, nodes.Getitem):
            node.arg = _filtered(node.arg, "_read")
        elif isinstance(node, nodes.Pair):
            node.key = _filtered(node.key, "_read")
        elif isinstance(node, _INCLUDES) and not isinstance(node.template, nodes.Const):
            raise TemplateSyntaxError("the name of an included template must be a text", node.lineno, name, filename)
    for body, steps in spending:
        body.body.insert(0, nodes.ExprStmt(_filtered(steps, "_spent"), lineno=body.lineno))


def _count(body: Iterable[nodes.Node]) -> int:
    every = chain.from_iterable((node, *node.find_all(nodes.Node)) for node in body)
    return _NODE + sum(_node_steps(each) for each in every)


def _node_steps(node: nodes.Node) -> int:
    if isinstance(node, _INCLUDES):
        return _INCLUDE
    return _LOOKUP if isinstance(node, nodes.Getattr | nodes.Getitem) else _NODE


def _filtered(node: nodes.Expr, name: str) -> nodes.Expr:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _spent(steps: int) -> bool:
    spend(steps)
    return True


def _sliced(value: Any) -> Any:
    spend(size(value))
    return value


def _read(value: Any) -> Any:
    spend(weigh(value))
    return value


# -- filters ----------------------------------------------------------------------------------------------------------


def _printing(finalize: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def print_(value: Any) -> Any:
        spend(_FILTER + weigh(value))
        printed = finalize(value)
        spend(2 * len(printed) if isinstance(printed, str) else 0)  # escapes take more than the rest
        return printed

    return print_


def _limited(name: str, function: Any, costs: tuple[int, int]) -> Callable[..., Any]:
    """Make a filter or a test take the steps of what it reads and makes, and refuse what would become too large."""
    of_item, of_chars = costs

    @wraps(function)
    def limited(*args: Any, **kwargs: Any) -> Any:
        first = 1 if isinstance(args[0], Context | nodes.EvalContext | Environment) else 0
        value, options = args[first], [*args[first + 1 :], *kwargs.values()]
        items = len(value) if of_item and hasattr(value, "__len__") else 1
        spend(_FILTER + items * (of_item + sum(map(weigh, options))))
        spend(of_chars * weigh(value) // 4 if of_chars else 0)
        is_growing = _is_growing(name, value, options)
        refuse(is_growing, f"an option of '{name}' as large as this is not allowed in a template")
        return made(function(*args, **kwargs))

    return limited


def _is_growing(name: str, value: Any, options: list[Any]) -> bool:
    """Return whether an option makes much from little, or makes Python search slowly."""
    if name == "format":
        form = str(value)
        return bool(_WIDE.search(form)) or form.count("%") * (100 + sum(map(weigh, options))) > _MAX_GROWTH
    if name in ("join", "replace", "trim"):
        items = len(value) if hasattr(value, "__len__") else 1
        return _is_slow(options) or items * max(map(weigh, options), default=0) > _MAX_GROWTH
    if name == "sum":
        return any(isinstance(each, CONTAINERS) for each in options)  # each sum of lists copies all before it
    most = _MAX_NUMBERS.get(name)
    if most is None:
        return False
    if name == "indent" and any(isinstance(each, str) for each in options):
        return True
    return any(isinstance(each, int) and abs(each) > most for each in options)


def _is_slow(options: list[Any]) -> bool:
    return any(isinstance(each, str) and len(each) > _MAX_SEARCHED_CHARS for each in options)

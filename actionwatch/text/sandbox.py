"""The jinja2 sandbox for all texts that rules and operators write.

Audit text is always a value, never a template. The sandbox denies access to Python. A misspelt name is an error and not an
empty text. A rendering has a budget of steps, and its values have limits, which jinja2 itself does not have (text/budget.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from types import FunctionType, MethodType
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, Template, nodes
from jinja2 import TemplateError as JinjaError
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.runtime import BlockReference, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace
from jinja2.visitor import NodeTransformer

from actionwatch.base.errors import Fault, TemplateError
from actionwatch.text.budget import MAX_BITS, MAX_ITEMS, BudgetError, charge, new_budget, refuse, weigh
from actionwatch.text.sizes import (
    FILTER_STEPS,
    FILTERS,
    OTHER_METHODS,
    OTHER_STEPS,
    SHALLOW_TESTS,
    TEXT_METHODS,
    check_binop,
    check_size,
    search_steps,
)

_MAX_OUTPUT_CHARS = 256 * 1024  # far above any message a channel takes
# In steps of 50 ns:
_NODE_STEPS = 4
_CALL_STEPS = 20
_BLOCK_STEPS = 300  # jinja2 copies the context for it
_ITEM_STEPS = 4
_SHORT_CHARS = 256  # the steps of a call include a result of this length
_INCLUDE_STEPS = 1_000  # for each name: a template is looked for in all folders
_PRINT_STEPS = 3  # for each character, because channels escape with regular expressions
_ESCAPE_STEPS = 4  # for each character that escapes add


class _BoundingCodeGenerator(CodeGenerator):
    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802  as jinja2 names them
        super().visit_Template(_Bounding().visit(node), frame)


class SandboxedEnvironment(ImmutableSandboxedEnvironment):
    """jinja2's immutable sandbox, which charges what a template does to a budget and bounds the sizes of values."""

    code_generator_class = _BoundingCodeGenerator

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(
        self,
        *,
        loader: BaseLoader | None = None,
        autoescape: bool = False,
        finalize: Callable[[Any], Any] | None = None,
        filters: Mapping[str, Callable[..., Any]] | None = None,
        filter_steps: Mapping[str, float | None] | None = None,
    ) -> None:
        """`finalize` receives every value before it is printed, so that a channel can escape it.

        `filters` are added to those of jinja2; `filter_steps` are their costs, as in `sizes.FILTER_STEPS`.
        """
        super().__init__(
            loader=loader,
            autoescape=autoescape,
            finalize=_printing(finalize),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # the optimizer evaluates constants at compile time, where nothing is counted
        )
        steps = {**FILTER_STEPS, **(filter_steps or {})}
        self.filters |= filters or {}
        del self.filters["pprint"]  # it formats what is nested again at each level; `tojson` shows the same
        self.filters = {name: _bounded(name, made, steps.get(name, OTHER_STEPS)) for name, made in self.filters.items()}
        self.filters |= {
            "_charged": _charged,
            "_held": _held,
            "_located": _located,
            "_sliced": _sliced,
            "_weighed": _weighed,
        }
        self.tests = {name: made if name in SHALLOW_TESTS else _bounded_test(made) for name, made in self.tests.items()}
        self.tests["in"] = _is_in
        self.globals["namespace"] = _Namespace
        del self.globals["lipsum"]
        self._functions = tuple(self.globals.values())

    @staticmethod
    def concat(pieces: Iterable[str]) -> str:
        """Join the pieces of a macro or a block."""
        texts = list(pieces)
        check_size(sum(map(len, texts)) + len(texts))
        return "".join(texts)

    def compile(self, *args: Any, **kwargs: Any) -> Any:
        """Compile a template with its own budget, because jinja2 evaluates constant expressions meanwhile."""
        with new_budget():
            return super().compile(*args, **kwargs)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Charge what it costs to hash a tuple."""
        if isinstance(argument, tuple):
            charge(weigh(argument))
        return super().getitem(obj, argument)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  as jinja2 names them
        """Charge a call, and refuse methods that are not in the tables of `sizes`."""
        charge(_CALL_STEPS)
        if isinstance(__obj, Macro | BlockReference | LoopContext | Joiner | Undefined):
            charge(_BLOCK_STEPS if isinstance(__obj, BlockReference) else _CALL_STEPS)
            return super().call(__context, __obj, *args, **kwargs)
        charge(sum(map(weigh, [*args, *kwargs.values()])))
        method = getattr(__obj, "__wrapped__", __obj)  # jinja2 wraps `str.format`
        owner, name = getattr(method, "__self__", None), getattr(method, "__name__", "")
        if isinstance(owner, str) and name in TEXT_METHODS:
            check_size(TEXT_METHODS[name](owner, *args, **kwargs))
        elif isinstance(owner, LoopContext | Cycler) and isinstance(method, MethodType):
            pass
        elif owner is None:
            is_ours = isinstance(__obj, type | FunctionType) and any(__obj is made for made in __self._functions)
            _deny(not is_ours, __obj)
        else:
            _deny(not any(isinstance(owner, kind) and name in names for kind, names in OTHER_METHODS.items()), __obj)
            charge(weigh(owner))
        return _kept(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse operators by which a small template fills the memory."""
        check_binop(operator, left, right)
        return _kept(super().call_binop(context, operator, left, right))


class _Namespace(Namespace):
    """A namespace that is not printed with its values, which can hold other namespaces twice, and those again."""

    def __repr__(self) -> str:
        return "<Namespace>"


class _Bounding(NodeTransformer):
    """Has charged and measured what no hook of jinja2 reaches: turns of loops, `~`, comparisons, slices, lists, includes."""

    # The body of each of these charges its nodes whenever it runs.
    def visit_Template(self, node: nodes.Template) -> nodes.Node:  # noqa: N802  as jinja2 names them
        return self._with_charge(node)

    def visit_Block(self, node: nodes.Block) -> nodes.Node:  # noqa: N802
        return self._with_charge(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        return self._with_charge(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:  # noqa: N802
        return self._with_charge(node)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        test_steps = _count(node.test) if node.test else 0
        made = self._with_charge(node)
        if node.test:  # which jinja2 evaluates also for the items that it skips
            node.test = nodes.And(_filtered(nodes.Const(test_steps), "_charged"), node.test, lineno=node.lineno)
        return made

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [each if isinstance(each, nodes.Const) else _filtered(each, "_weighed") for each in node.nodes]
        return _filtered(node, "_held")

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        first = node.ops[0]
        if any(each.op in ("in", "notin") for each in node.ops):
            if len(node.ops) > 1:
                raise TemplateSyntaxError(
                    "a chain of comparisons cannot contain 'in': write two conditions", node.lineno
                )
            if _is_constant(first.expr):
                return node
            test = nodes.Test(node.expr, "in", [first.expr], [], None, None, lineno=node.lineno)
            return test if first.op == "in" else nodes.Not(test, lineno=node.lineno)
        if len(node.ops) > 1 or not (_is_constant(node.expr) or _is_constant(first.expr)):
            node.expr = _filtered(node.expr, "_weighed")
            for each in node.ops:
                each.expr = _filtered(each.expr, "_weighed")
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return node if _is_constant(node) else _filtered(node, "_held")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return node if node.ctx != "load" or _is_constant(node) else _filtered(node, "_held")

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, "_held")

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.key, nodes.Const):
            node.key = _filtered(node.key, "_weighed")
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _filtered(node, "_sliced") if isinstance(node.arg, nodes.Slice) else node

    def visit_Include(self, node: nodes.Include) -> nodes.Node:  # noqa: N802
        return self._with_located(node)

    def visit_Import(self, node: nodes.Import) -> nodes.Node:  # noqa: N802
        return self._with_located(node)

    def visit_FromImport(self, node: nodes.FromImport) -> nodes.Node:  # noqa: N802
        return self._with_located(node)

    def _with_located(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        node.template = _filtered(node.template, "_located")
        return node  # type: ignore[no-any-return]

    def _with_charge(self, node: Any) -> nodes.Node:
        steps = _NODE_STEPS + sum(map(_count, node.body))  # an empty body takes time too
        self.generic_visit(node)
        charging = _filtered(nodes.Const(steps, lineno=node.lineno), "_charged")
        node.body = [nodes.ExprStmt(charging, lineno=node.lineno), *node.body]
        return node  # type: ignore[no-any-return]


def fill(template: Template, variables: Mapping[str, Any]) -> str:
    """Fill in a template.

    Raises: TemplateError for every error, because operators write the templates and have to see what is wrong with them.
    """
    pieces: list[str] = []
    size = 0
    try:
        with new_budget():
            for piece in template.generate(variables):
                size += len(piece)
                if size > _MAX_OUTPUT_CHARS:
                    raise BudgetError(
                        f"the text grew beyond {_MAX_OUTPUT_CHARS:,} characters: print less, or shorten it"
                    )
                pieces.append(piece)
    except JinjaError as exc:
        raise _fault(template, f"{exc.message or type(exc).__name__}") from exc
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError, MemoryError) as exc:
        raise _fault(template, f"{type(exc).__name__}: {exc}") from exc
    return "".join(pieces)


def _fault(template: Template, what: str) -> TemplateError:
    return TemplateError(Fault(template.name or "template", 0, 0, what))


def _filtered(node: Any, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _count(node: nodes.Node) -> int:
    return _NODE_STEPS * (1 + sum(1 for _ in node.find_all(nodes.Node)))


def _is_constant(node: nodes.Node) -> bool:
    if isinstance(node, nodes.List | nodes.Tuple):
        return all(isinstance(item, nodes.Const) for item in node.items)
    return isinstance(node, nodes.Const)


def _charged(steps: int) -> bool:
    charge(steps)
    return True


def _weighed(value: Any) -> Any:
    charge(weigh(value) // 8)
    return value


def _held(value: Any) -> Any:
    if isinstance(value, str):
        check_size(len(value))
    else:
        charge(weigh(value))
    return value


def _sliced(value: Any) -> Any:
    charge(len(value) // 8 if isinstance(value, str) else len(value))
    return value


def _located(names: Any) -> Any:
    charge(_INCLUDE_STEPS * (len(names) if isinstance(names, list | tuple) else 1))
    return names


def _deny(is_denied: bool, called: object) -> None:
    if is_denied:
        name = getattr(called, "__name__", type(called).__name__)
        raise SecurityError(f"{name}() is not allowed in a template: use a filter")


def _printing(finalize: Callable[[Any], Any] | None) -> Callable[[Any], Any]:
    def print_(value: Any) -> Any:
        size = len(value) if type(value) is str else weigh(value)
        charge(_PRINT_STEPS * size)
        if finalize is None:
            return value
        printed = finalize(value)
        if isinstance(printed, str) and len(printed) > size:
            charge(_ESCAPE_STEPS * (len(printed) - size))
        return printed

    return print_


def _bounded(name: str, made: Callable[..., Any], steps: float | None) -> Callable[..., Any]:
    """Make a filter charge for what it reads and makes, and refuse what would become too large."""
    before = 1 if hasattr(made, "jinja_pass_arg") else 0
    foresee = FILTERS.get(name)

    @wraps(made)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        cost, others = _CALL_STEPS, 0
        for each in args[before + 1 :]:
            if type(each) is not int:
                others += weigh(each)
        for each in kwargs.values():
            others += weigh(each)
        if steps is not None and len(args) > before:
            value = args[before]
            if type(value) is str:
                cost += int(steps * len(value))
            else:
                if isinstance(value, Iterator):
                    value = list(value)
                    args = (*args[:before], value, *args[before + 1 :])
                cost += int(steps * weigh(value))
        charge(cost + others // 8 if others else cost)
        if foresee:
            check_size(foresee(*args[before:], **kwargs))
        result = made(*args, **kwargs)
        if type(result) is str and (steps is None or len(result) < _SHORT_CHARS):  # None: a part of the value
            return result
        return _kept(result, _ITEM_STEPS * (1 + others))  # `map` follows a path for each item

    return bounded


def _bounded_test(made: Any) -> Callable[..., Any]:
    @wraps(made)
    def bounded(*args: Any) -> Any:
        charge(_CALL_STEPS + sum(map(weigh, args)) // 8)
        return made(*args)

    return bounded


def _is_in(part: Any, whole: Any) -> bool:
    charge(_CALL_STEPS + search_steps(part, whole))
    return part in whole


def _kept(value: Any, steps_of_item: int = _ITEM_STEPS) -> Any:
    """Refuse a result that is too large, and charge the items of one that is made when it is read."""
    if isinstance(value, str):
        check_size(len(value))
    elif isinstance(value, int):
        refuse(value.bit_length() > MAX_BITS, "an integer as large as this")
    elif isinstance(value, list | tuple | dict):
        refuse(len(value) > MAX_ITEMS, "a list as long as this")
        charge(len(value) * steps_of_item)
    elif isinstance(value, Iterator):
        return _counted(value, steps_of_item)
    return value


def _counted(items: Iterator[Any], steps: int) -> Iterator[Any]:
    for item in items:
        charge(steps)
        yield item

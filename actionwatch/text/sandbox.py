"""The jinja2 sandbox for all texts that rules and operators write.

Audit text is always a value, never a template. The sandbox denies access to Python. A misspelt name is an error and not an
empty text. Output, steps and sizes are bounded, which jinja2 itself does not do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import wraps
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, Template, nodes
from jinja2 import TemplateError as JinjaError
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.filters import do_format
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from actionwatch.base.errors import Fault, TemplateError

_MAX_OUTPUT_CHARS = 256 * 1024  # far above any message a channel takes
_MAX_STEPS = 20_000  # loop iterations and calls in one text: fifty records with all their fields take some hundred
_MAX_SIZE = 10_000  # `'a' * 10**8` and `'a' | center(10**9)` are short, and fill the memory
# The length of a text times the length of what `replace` or `join` inserts; a description has up to 1 MB.
_MAX_PRODUCT = 2**27

# A width of five digits, or one that is an argument, in a `%` or `{}` format.
_WIDE = re.compile(r"%(?:\(\w*\))?[-+ #0]*(?:\*|\d{5})|\{[^{}]*:[^{}]*(?:\{|\d{5})")
_steps: ContextVar[Iterator[int]] = ContextVar("steps")  # the steps that the current text may still take


class _BoundingCodeGenerator(CodeGenerator):
    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802  as jinja2 names them
        super().visit_Template(_Bounding().visit(node), frame)


class SandboxedEnvironment(ImmutableSandboxedEnvironment):
    """jinja2's immutable sandbox, which also counts steps and bounds the sizes of results."""

    code_generator_class = _BoundingCodeGenerator

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(
        self,
        *,
        loader: BaseLoader | None = None,
        autoescape: bool = False,
        finalize: Callable[[Any], Any] | None = None,
    ) -> None:
        """`finalize` receives every value before it is printed, so that a channel can escape it."""
        super().__init__(
            loader=loader,
            autoescape=autoescape,
            finalize=finalize,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # the optimizer evaluates constants at compile time, where nothing is counted
        )
        self.filters = {name: _bounded(made) if name != "format" else _format for name, made in self.filters.items()}
        self.filters |= {"counted": _counted, "held": _held}
        del self.globals["lipsum"]

    def wrap_str_format(self, value: Any) -> Any:
        """Refuse a format with a huge width."""
        _refuse(isinstance(getattr(value, "__self__", None), str) and _WIDE.search(value.__self__), "this width")
        return super().wrap_str_format(value)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  as jinja2 names them
        """Count the calls, macros included, and bound the results of string methods."""
        _step()
        if isinstance(getattr(__obj, "__self__", None), str | int):
            _refuse(_is_large(__obj.__self__, [*args, *kwargs.values()]), "a size such as this")
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse operators by which a small template fills the memory."""
        is_wide = operator == "%" and isinstance(left, str) and _WIDE.search(left)
        is_long = (operator == "*" and not _is_small_product(left, right)) or (
            operator == "+" and isinstance(left, str | list) and len(left) > _MAX_OUTPUT_CHARS
        )
        _refuse(operator == "**" or is_wide or is_long, f"'{operator}' with these operands")
        return super().call_binop(context, operator, left, right)


class _Bounding(NodeTransformer):
    """Has each turn of a loop counted, and what `~` joins measured, which no hook of jinja2 does."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802  as jinja2 names them
        node.iter = nodes.Filter(node.iter, "counted", [], [], None, None, lineno=node.lineno)
        return self.generic_visit(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        return nodes.Filter(self.generic_visit(node), "held", [], [], None, None, lineno=node.lineno)


def fill(template: Template, variables: Mapping[str, Any], *, limit_chars: int = _MAX_OUTPUT_CHARS) -> str:
    """Fill in a template.

    Raises: TemplateError for every error, because operators write the templates and have to see what is wrong with them.
    """
    pieces: list[str] = []
    size = 0
    _steps.set(iter(range(_MAX_STEPS)))
    try:
        for piece in template.generate(variables):
            size += len(piece)
            if size > limit_chars:
                raise _fault(template, f"the text grew beyond {limit_chars} characters")
            pieces.append(piece)
    except JinjaError as exc:
        raise _fault(template, f"{exc.message or type(exc).__name__}") from exc
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError, MemoryError) as exc:
        raise _fault(template, f"{type(exc).__name__}: {exc}") from exc
    return "".join(pieces)


def _fault(template: Template, what: str) -> TemplateError:
    return TemplateError(Fault(template.name or "template", 0, 0, what))


def _step() -> None:
    if next(_steps.get(), None) is None:
        raise SecurityError(f"the template takes more than {_MAX_STEPS} steps")


def _counted(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        _step()
        yield item


def _held(text: str) -> str:
    _refuse(len(text) > _MAX_OUTPUT_CHARS, "a text as long as this")
    return text


def _bounded(made: Callable[..., Any]) -> Callable[..., Any]:
    """Make a filter refuse large numbers as arguments, and texts whose lengths multiply."""
    before = 2 if hasattr(made, "jinja_pass_arg") else 1

    @wraps(made)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        value = args[before - 1] if len(args) >= before else ""
        _refuse(_is_large(value, [*args[before:], *kwargs.values()]), "a size such as this")
        return made(*args, **kwargs)

    return bounded


def _format(text: Any, *args: Any, **kwargs: Any) -> str:
    _refuse(_WIDE.search(str(text)), "this width")
    return do_format(text, *args, **kwargs)


def _refuse(is_too_much: object, what: str) -> None:
    if is_too_much:
        raise SecurityError(f"{what} is not allowed in a template")


def _is_large(value: Any, arguments: Sequence[Any]) -> bool:
    """Return whether a text or list could become too large with these arguments."""
    size = len(value) if isinstance(value, str | list | tuple) else 0
    sizes = sorted([size, *(len(each) for each in arguments if isinstance(each, str | list | tuple))])
    is_multiplied = len(sizes) > 1 and sizes[-1] * sizes[-2] > _MAX_PRODUCT
    return is_multiplied or any(isinstance(each, int) and each > _MAX_SIZE for each in arguments)


def _is_small_product(left: Any, right: Any) -> bool:
    if isinstance(left, int | float) and isinstance(right, int | float):
        return True
    sizes = [len(each) if isinstance(each, str | list | tuple) else each for each in (left, right)]
    return all(isinstance(size, int) for size in sizes) and sizes[0] * sizes[1] <= _MAX_OUTPUT_CHARS

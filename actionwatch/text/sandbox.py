"""Templates: one sandbox for every text that rules and operators write.

Audit text is only ever a *value* here, never a template. The sandbox keeps templates from reaching Python, strict undefined
makes a misspelt name an error instead of an empty alert; output, steps and sizes are bounded, which jinja2 itself does not do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import wraps
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, Template, nodes
from jinja2 import TemplateError as JinjaError
from jinja2.exceptions import SecurityError
from jinja2.filters import do_format
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from actionwatch.base.errors import Fault, TemplateError

MAX_OUTPUT_CHARS = 256 * 1024  # far above any message a channel takes
MAX_STEPS = 20_000  # turns of loops and calls in one text: fifty records with all their fields take some hundred
MAX_SIZE = 10_000  # `'a' * 10**8` and `'a' | center(10**9)` are cheap to write, and fill the memory
MAX_PRODUCT = (
    2**27
)  # of the lengths of a text and of what `replace` or `join` may set in as often; a description has up to 1 MB

# Of a format, `%` or `{}`: a width that nobody can read, or one that comes from elsewhere.
_WIDE = re.compile(r"%(?:\(\w*\))?[-+ #0]*(?:\*|\d{5})|\{[^{}]*:[^{}]*(?:\{|\d{5})")
_steps: ContextVar[Iterator[int]] = ContextVar("steps")  # those that are left to the text that is being filled in


class SandboxedEnvironment(ImmutableSandboxedEnvironment):
    """jinja2's immutable sandbox, with its steps counted and the sizes of what it makes bounded."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.filters = {name: _bounded(made) if name != "format" else _format for name, made in self.filters.items()}
        self.filters |= {"counted": _counted, "held": _held}
        del self.globals["lipsum"]

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(_Bounding().visit(source), *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Any:
        """Refuse a format that asks for a width nobody can read."""
        _refuse(isinstance(getattr(value, "__self__", None), str) and _WIDE.search(value.__self__), "this width")
        return super().wrap_str_format(value)

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  as jinja2 names them
        """Count the calls, of macros too; bound what a text's own methods make."""
        _step()
        if isinstance(getattr(__obj, "__self__", None), str | int):
            _refuse(_is_large(__obj.__self__, [*args, *kwargs.values()]), "a size such as this")
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse the operators that make a small template fill the memory."""
        is_wide = operator == "%" and isinstance(left, str) and _WIDE.search(left)
        is_long = (operator == "*" and not _is_small_product(left, right)) or (
            operator == "+" and isinstance(left, str | list) and len(left) > MAX_OUTPUT_CHARS
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


def sandbox(
    *,
    loader: BaseLoader | None = None,
    autoescape: bool = False,
    finalize: Callable[[Any], Any] | None = None,
) -> SandboxedEnvironment:
    """Make an environment. `finalize` sees every value as it is printed: a channel's escaping goes there."""
    return SandboxedEnvironment(
        loader=loader,
        autoescape=autoescape,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        optimized=False,  # what is constant would be worked out while it is compiled, where nothing is counted
    )


def fill(template: Template, variables: Mapping[str, Any], *, limit_chars: int = MAX_OUTPUT_CHARS) -> str:
    """Fill a template in.

    Raises: TemplateError, whatever goes wrong in it: a template is an operator's text, and its failure is theirs to see.
    """
    pieces: list[str] = []
    size = 0
    _steps.set(iter(range(MAX_STEPS)))
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
        raise SecurityError(f"the template takes more than {MAX_STEPS} steps")


def _counted(items: Iterable[Any]) -> Iterator[Any]:
    for item in items:
        _step()
        yield item


def _held(text: str) -> str:
    _refuse(len(text) > MAX_OUTPUT_CHARS, "a text as long as this")
    return text


def _bounded(made: Callable[..., Any]) -> Callable[..., Any]:
    """Have a filter refuse large numbers beside the value it is for, and texts that multiply with it."""
    before = 2 if hasattr(made, "jinja_pass_arg") else 1

    @wraps(made)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        _refuse(
            _is_large(args[before - 1] if len(args) >= before else "", [*args[before:], *kwargs.values()]),
            "a size such as this",
        )
        return made(*args, **kwargs)

    return bounded


def _format(text: Any, *args: Any, **kwargs: Any) -> str:
    _refuse(_WIDE.search(str(text)), "this width")
    return do_format(text, *args, **kwargs)


def _refuse(is_too_much: object, what: str) -> None:
    if is_too_much:
        raise SecurityError(f"{what} is not allowed in a template")


def _is_large(value: Any, arguments: Sequence[Any]) -> bool:
    """Say whether a text or list could become too large with these: filled up by a number, or by a text many times over."""
    size = len(value) if isinstance(value, str | list | tuple) else 0
    sizes = sorted([size, *(len(each) for each in arguments if isinstance(each, str | list | tuple))])
    is_multiplied = len(sizes) > 1 and sizes[-1] * sizes[-2] > MAX_PRODUCT
    return is_multiplied or any(isinstance(each, int) and each > MAX_SIZE for each in arguments)


def _is_small_product(left: Any, right: Any) -> bool:
    if isinstance(left, int | float) and isinstance(right, int | float):
        return True
    sizes = [len(each) if isinstance(each, str | list | tuple) else each for each in (left, right)]
    return all(isinstance(size, int) for size in sizes) and sizes[0] * sizes[1] <= MAX_OUTPUT_CHARS

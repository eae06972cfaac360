"""Templates: one sandbox for every text that rules and operators write.

Audit text is only ever a *value* here, never a template. The sandbox keeps templates from reaching Python, strict undefined
makes a misspelt name an error instead of an empty alert, and the output is capped, which jinja2 itself does not do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, Template
from jinja2 import TemplateError as JinjaError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from actionwatch.errors import Fault, TemplateError

MAX_OUTPUT_CHARS = 256 * 1024  # far above any message a channel takes
MAX_REPEAT = 10_000  # `'a' * 10**8` is one cheap expression and 100 MB


class SandboxedEnvironment(ImmutableSandboxedEnvironment):
    """jinja2's immutable sandbox, with multiplication and powers bounded."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse the operators that make a small template fill the memory."""
        if operator == "**" or (operator == "*" and not _is_small_product(left, right)):
            raise SecurityError(f"'{operator}' with these operands is not allowed in a template")
        return super().call_binop(context, operator, left, right)


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
    )


def fill(template: Template, variables: Mapping[str, Any], *, limit_chars: int = MAX_OUTPUT_CHARS) -> str:
    """Fill a template in.

    Raises: TemplateError, whatever goes wrong in it: a template is an operator's text, and its failure is theirs to see.
    """
    pieces: list[str] = []
    size = 0
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


def _is_small_product(left: Any, right: Any) -> bool:
    if isinstance(left, int | float) and isinstance(right, int | float):
        return True
    return all(not isinstance(operand, int) or operand <= MAX_REPEAT for operand in (left, right))

"""Many cases in one test, which needs no isolation between them: each is checked, and a failure names all that failed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

_NAME_CHARS = 200
Test = Callable[..., None]


def in_one_test(names: str | Sequence[str], values: Iterable[Any], **_: object) -> Callable[[Test], Test]:
    """Call a test with each of these arguments, like `pytest.mark.parametrize`, but within one test.

    An error that is no failed assertion ends the test, and names its case.
    """
    listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    is_one = isinstance(names, str) and len(listed) == 1
    given = [_arguments(value, is_one=is_one) for value in values]

    def decorate(test: Test) -> Test:
        signature = inspect.signature(test)

        @functools.wraps(test)
        def run(**fixtures: Any) -> None:
            failed = [
                text for each in given if (text := _failure(test, dict(zip(listed, each, strict=True)), fixtures))
            ]
            assert given, "no case was checked"
            assert not failed, f"{len(failed)} of {len(given)} cases:\n" + "\n".join(failed)

        others = [each for name, each in signature.parameters.items() if name not in listed]
        assert len(others) == len(signature.parameters) - len(listed), "an argument that the test does not have"
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return run

    return decorate


def _arguments(value: Any, *, is_one: bool) -> tuple[Any, ...]:
    if isinstance(value, type(pytest.param())):
        return tuple(value.values)
    return (value,) if is_one else tuple(value)


def _failure(test: Test, arguments: dict[str, Any], fixtures: dict[str, Any]) -> str | None:
    try:
        test(**arguments, **fixtures)
    except (AssertionError, pytest.fail.Exception) as exc:
        return f"{_spell(arguments)}: {exc}"
    except Exception as exc:
        exc.add_note(f"in the case {_spell(arguments)}")
        raise
    return None


def _spell(arguments: dict[str, Any]) -> str:
    return ", ".join(str(each)[:_NAME_CHARS] for each in arguments.values())

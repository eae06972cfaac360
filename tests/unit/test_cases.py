"""Tests with many cases."""

from __future__ import annotations

import inspect

import pytest

from tests.cases import in_one_test


def test_a_failure_names_each_case_that_failed() -> None:
    """Cases after one that failed are checked too, in each combination."""

    @in_one_test(("left", "right"), [(0, 1), pytest.param(2, 3)])
    @in_one_test("factor", [1, 2])
    def check(left: int, factor: int, right: int) -> None:
        assert left * factor == right - 1
        if left == 2:
            with pytest.raises(ValueError):
                pass

    with pytest.raises(AssertionError, match=r"1 of 2 cases:\n2, 3: 2 of 2 cases:\n1: DID NOT RAISE.*\n2: assert "):
        check()


def test_fixtures_stay_arguments() -> None:
    """pytest sees the other arguments only, and a misspelt one is refused."""

    @in_one_test("number", [1, 2])
    def check(number: int, fixture: list[int]) -> None:
        fixture.append(number)

    assert list(inspect.signature(check).parameters) == ["fixture"]
    seen: list[int] = []
    check(fixture=seen)
    assert seen == [1, 2]
    with pytest.raises(AssertionError, match="does not have"):
        in_one_test("numbr", [1])(check)


def test_errors_and_tests_without_cases_fail() -> None:
    """Another error names its case, and a test whose cases are gone checks nothing."""

    @in_one_test("number", [1, 0])
    def divide(number: int) -> None:
        print(1 / number)

    with pytest.raises(ZeroDivisionError) as caught:
        divide()
    assert caught.value.__notes__ == ["in the case 0"]

    @in_one_test("number", [])
    def nothing(number: int) -> None:
        raise AssertionError(number)

    with pytest.raises(AssertionError, match="no case was checked"):
        nothing()

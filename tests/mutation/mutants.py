"""Makes the mutants of a module: one change to a condition, a number, a result or a statement in a function."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
Change = Callable[[ast.AST], ast.AST | None]
"""Changes a node in place, or returns the node that replaces it."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed copy of a module. `tree` is the syntax of all of it."""

    line: int
    what: str
    tree: ast.Module


def mutants(source: str) -> Iterator[Mutant]:
    """Yield every mutant of a module, in the order of its syntax tree."""
    tree = ast.parse(source)
    inside = set(_in_functions(tree))
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in inside:
            for what, change in _changes(node):
                placed = node.target if isinstance(node, ast.comprehension) else node
                yield Mutant(getattr(placed, "lineno", 0), what, _changed(tree, place, change))


def _in_functions(tree: ast.Module) -> Iterator[int]:
    """Yield the ids of the nodes that run when a function is called, except those that only log, raise or annotate."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    left_out = {id(part) for function in functions for part in _not_run(function)}
    for function in functions:
        for statement in function.body:
            yield from (id(node) for node in ast.walk(statement) if id(node) not in left_out)


def _not_run(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    for node in ast.walk(function):
        match node:
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="log")))) | ast.Raise() | ast.JoinedStr():
                yield from ast.walk(node)
            case ast.AnnAssign():
                yield from ast.walk(node.annotation)
            case ast.arg(annotation=ast.AST()):
                yield from ast.walk(node)


def _changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    text = ast.unparse(node)[:90].replace("\n", " ")
    match node:
        case ast.Compare(ops=ops):
            for place, operator in enumerate(ops):
                if (other := COMPARISONS.get(type(operator))) is not None:
                    yield f"{text}: {other.__name__}", _set_operator(place, other)
        case ast.BoolOp(op=joined, values=values):
            yield f"{text}: and, or", _set("op", ast.Or() if isinstance(joined, ast.And) else ast.And())
            for place, value in enumerate(values):
                yield f"{text}: without {ast.unparse(value)[:40]}", _without(place)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield f"{text}: without not", _replaced(operand)
        case ast.BinOp(op=operator) if type(operator) in OPERATORS:
            yield f"{text}: {OPERATORS[type(operator)].__name__}", _set("op", OPERATORS[type(operator)]())
        case ast.IfExp(body=body, orelse=orelse):
            yield f"{text}: always", _replaced(body)
            yield f"{text}: never", _replaced(orelse)
        case ast.If(test=test):
            yield f"if {ast.unparse(test)[:80]}: always", _set("test", ast.Constant(value=True))
            yield f"if {ast.unparse(test)[:80]}: never", _set("test", ast.Constant(value=False))
        case ast.While(test=test):
            yield f"while {ast.unparse(test)[:80]}: never", _set("test", ast.Constant(value=False))
        case ast.comprehension(ifs=[_, *_]):
            yield f"for {ast.unparse(node.target)}: every one", _set("ifs", [])
        case ast.Constant(value=bool(value)):
            yield f"{value}: {not value}", _set("value", not value)
        case ast.Constant(value=int(number) | float(number)):
            yield f"{number}: {number + 1}", _set("value", number + 1)
        case ast.Return(value=ast.Constant(value=None)):
            pass
        case ast.Return(value=ast.AST()):
            yield f"{text}: nothing", _set("value", ast.Constant(value=None))
        case ast.AugAssign() | ast.Delete() | ast.Expr(value=ast.Call()):
            yield f"{text}: deleted", _replaced(ast.Pass())
        case ast.Assign(targets=targets) if not all(isinstance(target, ast.Name) for target in targets):
            yield f"{text}: deleted", _replaced(ast.Pass())
        case ast.Break():
            yield "break: continue", _replaced(ast.Continue())
        case ast.Continue():
            yield "continue: break", _replaced(ast.Break())
        case ast.Call(func=ast.Name(id="min" | "max" as name)):
            yield f"{text}: min, max", _set("func", ast.Name(id="max" if name == "min" else "min", ctx=ast.Load()))
        case ast.Call(func=ast.Name(id="sorted")):
            yield f"{text}: unsorted", _set("func", ast.Name(id="list", ctx=ast.Load()))


def _set(name: str, value: object) -> Change:
    return lambda node: setattr(node, name, value)


def _replaced(other: ast.AST) -> Change:
    return lambda _: other


def _set_operator(place: int, other: type[ast.cmpop]) -> Change:
    def change(node: ast.AST) -> None:
        assert isinstance(node, ast.Compare)
        node.ops[place] = other()

    return change


def _without(place: int) -> Change:
    def change(node: ast.AST) -> ast.AST:
        assert isinstance(node, ast.BoolOp)
        left = [value for number, value in enumerate(node.values) if number != place]
        return left[0] if len(left) == 1 else ast.BoolOp(op=node.op, values=left)

    return change


def _changed(tree: ast.Module, place: int, change: Change) -> ast.Module:
    """Return a copy of a module in which one node, given by its place in the walk, is changed."""
    other = copy.deepcopy(tree)
    node = next(each for number, each in enumerate(ast.walk(other)) if number == place)
    instead = change(node)
    if instead is not None:
        _Replacement(node, instead).visit(other)
    return ast.fix_missing_locations(other)


class _Replacement(ast.NodeTransformer):
    def __init__(self, node: ast.AST, instead: ast.AST) -> None:
        self._node, self._instead = node, instead

    def visit(self, node: ast.AST) -> ast.AST:
        """Return the replacement of a node."""
        if node is self._node:
            return ast.copy_location(self._instead, node)
        return super().generic_visit(node)

"""Expressions inside an exported program: torch evaluates them as Python, so they must be arithmetic."""

from __future__ import annotations

import ast
import re

LIMIT = 20_000
"""Longest expression, in characters."""

_WORD = re.compile(r"[\w.+ -]*")

# What sympy's srepr and str write, and torch.utils._sympy.functions.
_SYMPY = (
    "Symbol Dummy Integer Float Rational Half One Zero NegativeOne Add Mul Pow Mod Max Min Abs floor "
    "ceiling sign sqrt exp log Eq Ne Lt Le Gt Ge Equality Unequality GreaterThan LessThan "
    "StrictGreaterThan StrictLessThan And Or Not Xor Piecewise ExprCondPair Tuple "
    "FloorDiv ModularIndexing Where PythonMod CleanDiv CeilToInt FloorToInt CeilDiv LShift RShift "
    "PowByNatural FloatPow FloatTrueDiv IntTrueDiv IsNonOverlappingAndDenseIndicator TruncToFloat "
    "TruncToInt RoundToInt RoundDecimal ToFloat Identity BitwiseFn_bitwise_and "
    "BitwiseFn_bitwise_or BitwiseFn_bitwise_xor"
)
_SYMPY_CALLS = frozenset(_SYMPY.split())
# Only these keep text as text; any other would evaluate it once more.
_TEXT_CALLS = frozenset({"Symbol", "Dummy", "Float", "Integer", "Rational"})

# What torch.fx.experimental.symbolic_shapes.SYMPY_INTERP offers to guards.
_GUARD_CALLS = _SYMPY_CALLS | {"len", "max", "min", "abs", "int", "float", "bool", "round"}
_METHODS = (
    "size stride storage_offset dim numel shape ndim dtype is_contiguous isnan isinf inf "
    "floor ceil trunc sqrt log exp pow log2"
)
_GUARD_METHODS = frozenset(_METHODS.split())

_ARITHMETIC = (
    ast.Expression,
    ast.Load,
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.operator,
    ast.unaryop,
    ast.boolop,
    ast.cmpop,
    ast.Name,
    ast.Tuple,
)


class ExpressionRefused(ValueError):
    """The text is more than arithmetic on sizes."""


def check_size(text: str) -> None:
    """That `text` is arithmetic on the sizes of dimensions, as sympy writes it.

    torch hands it to sympy.sympify, which is eval. Raises `ExpressionRefused`.
    """
    for node in _nodes(text):
        if isinstance(node, ast.Call):
            _check_call(node, text)
        elif isinstance(node, ast.Name):
            _check_word(node.id, text)
        elif isinstance(node, ast.Constant):
            _check_constant(node, text)
        elif not isinstance(node, (*_ARITHMETIC, ast.keyword)):
            raise _refused(text, type(node).__name__)


def check_guard(text: str) -> None:
    """That `text` compares sizes and values of inputs, such as `L['x'].size()[0] >= 2`.

    torch pastes it into the source of a function. Raises `ExpressionRefused`.
    """
    for node in _nodes(text):
        if isinstance(node, ast.Call):
            method = isinstance(node.func, ast.Attribute)
            known = isinstance(node.func, ast.Name) and node.func.id in _GUARD_CALLS
            if not (method or known):
                raise _refused(text, "a call")
        elif isinstance(node, ast.Attribute):
            if node.attr not in _GUARD_METHODS:
                raise _refused(text, f".{node.attr}")
        elif isinstance(node, ast.Name):
            _check_word(node.id, text)
        elif isinstance(node, ast.Constant):
            _check_constant(node, text)
        elif not isinstance(node, (*_ARITHMETIC, ast.Subscript, ast.Index)):
            raise _refused(text, type(node).__name__)


def _nodes(text: str) -> list[ast.AST]:
    if len(text) > LIMIT:
        raise ExpressionRefused(f"an expression of {len(text)} characters")
    # sympy rewrites the text before it evaluates it; without these there is nothing to rewrite.
    plain = text.replace("!=", "")
    if bad := next((c for c in plain if not c.isprintable() or c in '\\"`#@!:;{}?$'), None):
        raise _refused(text, repr(bad))
    try:
        return list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _refused(text, "what is no expression") from None


def _check_call(call: ast.Call, text: str) -> None:
    if not isinstance(call.func, ast.Name) or call.func.id not in _SYMPY_CALLS:
        raise _refused(text, "a call")
    texts = [a for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    if texts and call.func.id not in _TEXT_CALLS:
        raise _refused(text, "text in a call")
    for keyword in call.keywords:
        simple = isinstance(keyword.value, ast.Constant) and not isinstance(
            keyword.value.value, str
        )
        if keyword.arg is None or not simple:
            raise _refused(text, "a key word")


def _check_word(word: str, text: str) -> None:
    if word.startswith("__"):
        raise _refused(text, word)


def _check_constant(node: ast.Constant, text: str) -> None:
    if isinstance(node.value, str) and _WORD.fullmatch(node.value) is None:
        raise _refused(text, "text")
    if isinstance(node.value, bytes):
        raise _refused(text, "bytes")


def _refused(text: str, what: str) -> ExpressionRefused:
    shown = text if len(text) <= 80 else text[:79] + "…"
    return ExpressionRefused(f"expression {shown!r} has {what}; expected arithmetic on sizes")

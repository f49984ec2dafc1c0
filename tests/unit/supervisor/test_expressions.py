"""Expressions in programs: arithmetic passes, everything else is refused."""

from __future__ import annotations

import pytest

from inferd.server.supervisor.repository.expressions import (
    LIMIT,
    ExpressionRefused,
    check_guard,
    check_size,
)


@pytest.mark.parametrize(
    "text",
    [
        "Symbol('s40', positive=True, integer=True)",
        "Mul(Integer(2), Symbol('s0', positive=True, integer=True))",
        "2*s0 + 1",
        "FloorDiv(s0, 2)",
        "Max(1, s0 - 3)",
        "Eq(u0, 1)",
        "Float('0.5', precision=53)",
        "-oo",
        "s0 >= 2",
        "Ne(s0, 1) & (s1 != 2)",
    ],
)
def test_arithmetic_on_sizes_passes(text: str) -> None:
    """What torch writes for dynamic dimensions."""
    check_size(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')",
        "s0.__class__",
        "().__class__.__base__.__subclasses__()",
        "[c for c in ()]",
        "lambda: 0",
        "(lambda: 0)()",
        "eval('1')",
        "exec('1')",
        "open('/etc/passwd')",
        "Add('__import__(1)', 1)",
        "Add('s0', 1)",
        "Symbol('a\\x27')",
        'Symbol("a")',
        "Symbol('a', cls=Foo)",
        "Symbol('a', **{})",
        "Symbol('a;b')",
        "f'{s0}'",
        "b'x'",
        "s0; s1",
        "s0\nimport os",
        "x := 1",
        "s0!",
        "s0[0]",
        "await x",
        "",
        "(" * 500,
        "S('x')",
        "sympify('x')",
        "Function('f')(x)",
        "__builtins__",
        "1 if s0 else 2",
    ],
)
def test_more_than_arithmetic_is_refused(text: str) -> None:
    """Anything else would be evaluated by sympy."""
    with pytest.raises(ExpressionRefused):
        check_size(text)


def test_expressions_are_bounded() -> None:
    """A huge one is refused before it is parsed."""
    with pytest.raises(ExpressionRefused, match="characters"):
        check_size("1+" * LIMIT + "1")


@pytest.mark.parametrize(
    "text",
    [
        "L['x'].size()[0] == L['y'].size()[0]",
        "((1 + L['x'].size()[1]) // 2) == L['y'].size()[1]",
        "((-1) + L['y'].size()[0]) != 1",
        "max(1, 1 + (((-3) + L['input'].size()[2]) // 2)) != 1",
        "L['d']['x y'][0].size()[0] >= 2",
        "L['flag'] == True",
        "L['mode'] == 'fast'",
        "math.isnan(L['x'])",
        "L['x'] == -math.inf",
        "2 <= L['x'].stride()[0] and L['x'].size()[0] <= 64",
    ],
)
def test_guards_pass(text: str) -> None:
    """What torch writes as conditions on inputs."""
    check_guard(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('x')",
        "L['x'].__class__",
        "torch.os.system('x')",
        "L['x'].size(), print(1)" + '"',
        'L["x"].size()[0] == 1',
        "L['x'].numpy()",
        "(lambda: 1)()",
        "L['x'].size()[0] == 1) or print('x'",
        "L['x'](1)",
        "[1 for x in L]",
    ],
)
def test_other_code_in_guards_is_refused(text: str) -> None:
    """Anything else would be pasted into a function by torch."""
    with pytest.raises(ExpressionRefused):
        check_guard(text)

"""Names that models and tensors have, as names of Python."""

from __future__ import annotations

import pytest

from inferd.stubs.names import class_name, identifier


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("image", "image"),
        ("input.0", "input_0"),
        ("0", "tensor_0"),
        ("class", "class_"),
        ("größe", "gr_e"),
        ("--", "tensor"),
        ("given", "given_"),
    ],
)
def test_any_name_becomes_a_variable(name: str, expected: str) -> None:
    """No keyword, nothing that is taken, ASCII, and as near to the name as that allows."""
    assert identifier(name, ["given"]) == expected
    assert expected.isidentifier()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", "Digits"),
        ("breast-cancer", "BreastCancer"),
        ("resNet_50", "ResNet50"),
        ("3d", "Model3d"),
        ("client", "ClientModel"),
        ("...", "Model"),
    ],
)
def test_any_name_becomes_a_class(name: str, expected: str) -> None:
    """In the form of class names, and none that the module imports."""
    assert class_name(name, ["Client"]) == expected

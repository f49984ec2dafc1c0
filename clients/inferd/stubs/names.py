"""Names of models and tensors as names of Python."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection

_OTHER = re.compile(r"\W+", re.ASCII)


def identifier(name: str, taken: Collection[str] = (), *, spare: str = "tensor") -> str:
    """`name` in the form of a variable that is no keyword and none of `taken`.

    `input.0` becomes `input_0`, `class` becomes `class_`; `spare` goes before a digit, and stands
    for a name that has no letter at all.
    """
    found = _OTHER.sub("_", name).strip("_") or spare
    if found[0].isdigit():
        found = f"{spare}_{found}"
    while found in taken or keyword.iskeyword(found):
        found += "_"
    return found


def class_name(name: str, taken: Collection[str] = ()) -> str:
    """`breast-cancer` as `BreastCancer`; with `Model` behind it where that is one of `taken`."""
    words = [word for word in _OTHER.sub("_", name).split("_") if word]
    found = "".join(word[0].upper() + word[1:] for word in words) or "Model"
    if found[0].isdigit():
        found = f"Model{found}"
    while found in taken or keyword.iskeyword(found):
        found += "Model"
    return found

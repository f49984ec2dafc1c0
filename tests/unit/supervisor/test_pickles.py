"""Pickles: tensors in plain containers pass, whatever could call something else does not."""

from __future__ import annotations

import collections
import os
import pickle

import pytest

from inferd.server.supervisor.repository.pickles import PickleRefused, check_opcodes


class _Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self._call


@pytest.mark.parametrize(
    "value",
    [
        (),
        ((1, 2.5, True, None, "text", 1 << 40), {"a": [1, 2], "b": {}}),
        collections.OrderedDict(),
        {"nested": ({"x": (1,)},)},
    ],
)
def test_plain_values_pass(value: object) -> None:
    """As torch.save pickles them: protocol 2."""
    check_opcodes(pickle.dumps(value, protocol=2))


@pytest.mark.parametrize(
    "value",
    [
        _Calls(os.system, "true"),
        _Calls(eval, "1"),
        _Calls(print, "x"),
        _Calls(getattr, "x", "upper"),
        _Calls(__import__, "os"),
        _Calls(collections.OrderedDict, _Calls(os.getcwd)),
        collections.Counter,
        object(),
    ],
)
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_calls_are_refused(value: object, protocol: int) -> None:
    """In every protocol, nested or bare."""
    with pytest.raises(PickleRefused):
        check_opcodes(pickle.dumps(value, protocol=protocol))


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"\x80\x02",
        b"garbage",
        pickle.dumps((), protocol=2) + b"cos\nsystem\n.",
        pickle.dumps((), protocol=2) * 2,
        b"\x80\x02(i__builtin__\neval\n.",  # INST
        b"\x80\x02(c__builtin__\neval\no.",  # OBJ
        b"\x80\x02\x82\x01.",  # EXT1
        b"\x80\x02c__builtin__\neval\n.",
        b"\x80\x02ctorch.os\nsystem\n.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}b.",  # BUILD
        b"\x80\x02ctorch\nload\n.",
    ],
)
def test_other_ways_to_find_names_are_refused(stream: bytes) -> None:
    """Old opcodes, extensions, bytes behind the end, and rubbish."""
    with pytest.raises(PickleRefused):
        check_opcodes(stream)

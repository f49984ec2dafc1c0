"""Tensors saved by torch.save: whether unpickling one could run anything but torch's own rebuilding."""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterator

from inferd.server.supervisor.repository.archive import Archive, ArchiveRefused

_DTYPES = (
    "float64 float32 float16 bfloat16 complex32 complex64 complex128 int64 int32 int16 int8 uint8 "
    "uint16 uint32 uint64 bool float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz "
    "float8_e8m0fnu"
)
_STORAGES = "Double Float Half BFloat16 ComplexFloat ComplexDouble Long Int Short Char Byte Bool"
ALLOWED_GLOBALS = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_tensor_v3",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_meta_tensor_no_storage",
        # Tensors with attributes: those that were exported with Dim.AUTO or Dim.DYNAMIC.
        "torch._tensor _rebuild_from_type_v2",
        "torch Tensor",
        "torch.nn.parameter Parameter",
        "__builtin__ set",
        "builtins set",
        "torch.storage UntypedStorage",
        "torch.storage TypedStorage",
        "torch Size",
        "torch device",
        "__builtin__ complex",
        "builtins complex",
    }
    | {f"torch {dtype}" for dtype in _DTYPES.split()}
    | {f"torch {kind}Storage" for kind in _STORAGES.split()}
)
"""Names a pickle may look up: the part of torch's own `weights_only` list that tensors need."""

# BUILD is left out: it writes into objects. So are all opcodes that find names by other ways.
_OPCODES = (
    "PROTO STOP GLOBAL REDUCE MARK TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_TUPLE EMPTY_LIST EMPTY_DICT "
    "EMPTY_SET APPEND APPENDS SETITEM SETITEMS NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 "
    "BINFLOAT BINUNICODE SHORT_BINSTRING BINPUT LONG_BINPUT BINGET LONG_BINGET BINPERSID"
)
_ALLOWED_OPCODES = frozenset(_OPCODES.split())
_MEMBER = re.compile(
    r"data\.pkl|data/\d+|version|byteorder|\.format_version|\.storage_alignment"
    r"|\.data/(serialization_id|version)"
)


class PickleRefused(ValueError):
    """Unpickling could run code, or is not known not to."""


def check_saved_tensors(data: bytes) -> None:
    """That `data`, written by torch.save, holds tensors in plain containers and nothing else.

    Holds even when torch falls back to unsafe unpickling: the only things that the pickle
    can call are those of `ALLOWED_GLOBALS`. Raises `PickleRefused`.
    """
    try:
        with Archive(data) as archive:
            for name in archive.names:
                if _MEMBER.fullmatch(name) is None:
                    raise PickleRefused(f"unknown member '{name}'")
            if "data.pkl" not in archive.names:
                raise PickleRefused("no data.pkl")
            pickled = archive.read("data.pkl")
    except ArchiveRefused as error:
        raise PickleRefused(str(error)) from None
    check_opcodes(pickled)


def check_opcodes(pickled: bytes) -> None:
    """That a pickle consists of allowed opcodes and names. Raises `PickleRefused`."""
    end = 0
    for opcode, argument, position in _opcodes(pickled):
        if opcode not in _ALLOWED_OPCODES:
            raise PickleRefused(f"opcode {opcode} at byte {position}")
        if opcode == "GLOBAL" and argument not in ALLOWED_GLOBALS:
            raise PickleRefused(f"it would call or create {str(argument).replace(' ', '.')}")
        end = position + 1
    if end != len(pickled):
        raise PickleRefused("bytes behind its end")


def _opcodes(pickled: bytes) -> Iterator[tuple[str, object, int]]:
    try:
        for opcode, argument, position in pickletools.genops(pickled):
            yield opcode.name, argument, position or 0
    except Exception as error:  # genops raises what it likes on damaged input
        raise PickleRefused(f"damaged: {error}") from None

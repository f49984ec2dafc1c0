"""models/NAME.json of an exported program: whether torch, reading it, could be led to run other code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from inferd.server.supervisor.repository.expressions import (
    ExpressionRefused,
    check_guard,
    check_size,
)

_NAME = re.compile(r"\w[\w.]*|")
# Ends up between double quotes in generated source, or nowhere.
_QUOTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\"'\\\u2028\u2029{}]*")
_NAMESPACES = (
    "aten|prims|quantized|quantized_decomposed|_quantized|mkldnn|onednn|mkldnn_prepacked|rngprims"
    "|torchvision|torchaudio|torchao|profiler"
)
_OPERATOR = re.compile(rf"torch\.ops\.(?:{_NAMESPACES})\.(\w+)\.([A-Za-z]\w*)")
_ARITHMETIC = re.compile(
    r"_operator\.(add|and_|eq|floordiv|ge|getitem|gt|le|lshift|lt|mod|mul|ne|neg|or_|pos|pow|rshift"
    r"|sub|truediv|xor|not_|invert|abs)"
    r"|math\.(trunc|ceil|floor|sqrt|pow|log2)"
    r"|torch\.(_sym_\w+|sym_(float|int|ite|max|min|not|sum|constrain_range\w*))"
)
_HIGHER_ORDER = re.compile(
    r"torch\.ops\.higher_order\.(cond|while_loop|map_impl|map|scan|associative_scan|wrap|checkpoint"
    r"|wrap_activation_checkpoint|wrap_with_set_grad_enabled|wrap_with_autocast|invoke_subgraph"
    r"|strict_mode|out_dtype|flex_attention|auto_functionalized|auto_functionalized_v2)"
)
_DUNDER = re.compile(r"__(and|or|xor|lshift|rshift|iand|ior|ixor|ilshift|irshift)__")
# They read and write files by name, or are no operators.
_BARRED = frozenset({"from_file", "save", "load", "_dir", "name"})

_TYPES = (
    "builtins.tuple builtins.list builtins.dict collections.OrderedDict collections.namedtuple "
    "collections.deque torch.Size torch.fx.immutable_collections.immutable_dict "
    "torch.fx.immutable_collections.immutable_list"
)
_CONTAINERS = frozenset(_TYPES.split())
_FREE_TEXT = frozenset({"as_string", "as_strings"})
_SHOWN = (
    "parameter_name buffer_name tensor_constant_name user_input_name custom_obj_name fqn class_fqn "
    "torch_version verifiers type"
)
_DISPLAYED = frozenset(_SHOWN.split())
_KEYED_BY_NAME = frozenset({"opset_version", "range_constraints", "treespec_namedtuple_fields"})


class ProgramRefused(ValueError):
    """The program would have torch evaluate or call something that is not part of a model."""


def check_program(data: bytes) -> None:
    """That a serialised program calls operators of torch only, and that what torch evaluates
    or pastes into source while it reads the program is names and arithmetic.

    Raises `ProgramRefused`.
    """
    program = parse_json(data)
    if not isinstance(program, dict):
        raise ProgramRefused("the program is not a JSON object")
    try:
        for path, key, value in _strings(program, (), ""):
            _check_string(path, key, value)
    except (ExpressionRefused, RecursionError) as error:
        raise ProgramRefused(str(error)) from None


def check_payloads(data: bytes) -> None:
    """That a table of weights or constants names no pickled ones. Raises `ProgramRefused`."""
    table = parse_json(data)
    config = table.get("config") if isinstance(table, dict) else None
    if not isinstance(config, dict):
        raise ProgramRefused("a table of weights without 'config'")
    for name, entry in config.items():
        if not isinstance(entry, dict) or entry.get("use_pickle") is not False:
            raise ProgramRefused(
                f"'{name}' is a pickled object (a tensor subclass or an object of a custom class)"
            )
        if re.fullmatch(r"(weight|tensor)_\d+", str(entry.get("path_name"))) is None:
            raise ProgramRefused(f"'{name}' lies in an unknown member")
    check_program(json.dumps({"config": list(config.values())}).encode())


def parse_json(data: bytes) -> Any:
    """`data` as JSON in which no object has a key twice. Raises `ProgramRefused`."""
    try:
        return json.loads(data, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ProgramRefused(f"JSON that cannot be read: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _strings(
    value: Any, path: tuple[str, ...], key: str
) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Every string with the keys above it; the keys of objects themselves under the key `{}`."""
    if isinstance(value, str):
        yield path, key, value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, path, key)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield (*path, key), "{}", name
            yield from _strings(item, (*path, key), name)


def _check_string(path: tuple[str, ...], key: str, value: str) -> None:
    if "metadata" in path or key in _FREE_TEXT:
        # Traces of where an operation came from, and text that the model itself uses.
        return
    if key == "expr_str":
        check_size(value)
    elif key == "guards_code":
        check_guard(value)
    elif key in {"target", "as_operator"}:
        _check_operator(value)
    elif key in {"in_spec", "out_spec"}:
        _check_structure(value)
    elif key in _DISPLAYED or (key == "{}" and path and path[-1] in _KEYED_BY_NAME):
        if _QUOTABLE.fullmatch(value) is None:
            raise ProgramRefused(f"{key} {value!r} has characters that no name has")
    elif _NAME.fullmatch(value) is None:
        # Names of values become names in source code that torch generates and executes.
        raise ProgramRefused(f"{key if key != '{}' else 'the name'} {value!r} is not a name")


def _check_operator(target: str) -> None:
    if _ARITHMETIC.fullmatch(target) or _HIGHER_ORDER.fullmatch(target):
        return
    found = _OPERATOR.fullmatch(target)
    if (
        found is None
        or found[1] in _BARRED
        or (found[1].startswith("__") and not _DUNDER.fullmatch(found[1]))
    ):
        raise ProgramRefused(f"it calls {target!r}, which is not an operator of torch")


def _check_structure(text: str) -> None:
    """The nesting of inputs or outputs, which torch rebuilds from types' names."""
    pair = parse_json(text.encode())
    if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], dict):
        raise ProgramRefused(f"the structure {text[:80]!r} has an unknown form")
    todo = [pair[1]]
    while todo:
        spec = todo.pop()
        kind, context, children = spec.get("type"), spec.get("context"), spec.get("children_spec")
        if not isinstance(children, list) or not all(isinstance(c, dict) for c in children):
            raise ProgramRefused(f"the structure {text[:80]!r} has an unknown form")
        if kind is not None and kind not in _CONTAINERS:
            raise ProgramRefused(f"inputs or outputs are of the type {kind!r}; expected containers")
        if context is not None:
            _check_context(
                parse_json(str(context).encode()) if kind != "collections.namedtuple" else context
            )
        todo.extend(children)


def _check_context(context: Any) -> None:
    """Keys of a dictionary and the like: torch imports modules for some that are objects."""
    keys = context if isinstance(context, list) else [context]
    for key in keys:
        quotable = isinstance(key, str) and _QUOTABLE.fullmatch(key) is not None
        if not (quotable or key is None or isinstance(key, int | float)):
            raise ProgramRefused(f"a structure has the key {key!r}; expected a name or a number")

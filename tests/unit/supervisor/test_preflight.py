"""The pre-flight against torch itself: what it writes passes, what would make it run code does not.

Every tampered archive is shown to be dangerous first: torch, given it without a pre-flight, runs
what came with it.
"""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from inferd.server.supervisor.repository import preflight
from inferd.server.supervisor.repository.preflight import PreflightRefused

Members = dict[str, bytes]
Program = dict[str, Any]

PROGRAM = "m/models/model.json"
SAMPLES = "m/data/sample_inputs/model.pt"
WEIGHTS = "m/data/weights/model_weights_config.json"
CONSTANTS = "m/data/constants/model_constants_config.json"


def _write(members: Mapping[str, bytes], path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


def _saved(module: Any, arguments: tuple[Any, ...], path: Path, **kwargs: Any) -> Path:
    extra = kwargs.pop("extra_files", None)
    program = torch.export.export(module.eval(), arguments, **kwargs)
    torch.export.save(program, path, extra_files=extra)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Members:
    """The members of a small exported program with a dynamic batch."""
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("small") / "m.pt2"
    batch = torch.export.Dim("batch", min=1, max=8)
    _saved(torch.nn.Linear(3, 2), (torch.ones(2, 3),), path, dynamic_shapes={"input": {0: batch}})
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class _Payload:
    """Unpickles as the creation of a file."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._marker,)


def _call(marker: Path) -> str:
    return f"__import__('pathlib').Path('{marker}').touch()"


def _saved_payload(marker: Path) -> bytes:
    stream = io.BytesIO()
    torch.save(((_Payload(marker),), {}), stream)
    return stream.getvalue()


def _sample_inputs(members: Members, marker: Path) -> None:
    members[SAMPLES] = _saved_payload(marker)


def _pickled_weight(members: Members, marker: Path) -> None:
    table = json.loads(members[WEIGHTS])
    table["config"]["weight"]["use_pickle"] = True
    members[WEIGHTS] = json.dumps(table).encode()
    members["m/data/weights/weight_0"] = _saved_payload(marker)


def _old_weights(members: Members, marker: Path) -> None:
    members["m/data/weights/model.pt"] = _saved_payload(marker)


def _opaque_object(members: Members, marker: Path) -> None:
    entry = {
        "path_name": "opaque_obj_0",
        "is_param": False,
        "use_pickle": True,
        "tensor_meta": None,
    }
    members[CONSTANTS] = json.dumps({"config": {"c": entry}}).encode()
    members["m/data/constants/opaque_obj_0"] = pickle.dumps(_Payload(marker))


def _in_program(change: Callable[[Program, Path], None]) -> Callable[[Members, Path], None]:
    def tamper(members: Members, marker: Path) -> None:
        program = json.loads(members[PROGRAM])
        change(program, marker)
        members[PROGRAM] = json.dumps(program).encode()

    return tamper


def _expression(program: Program, marker: Path) -> None:
    for value in program["graph_module"]["graph"]["tensor_values"].values():
        for size in value["sizes"]:
            if "as_expr" in size:
                size["as_expr"]["expr_str"] = _call(marker)


def _argument_name(program: Program, marker: Path) -> None:
    """An input whose name carries a default value, which Python evaluates."""
    name = f"input={_call(marker)}"
    text = json.dumps(program["graph_module"]).replace(
        '"name": "input"', f'"name": {json.dumps(name)}'
    )
    text = text.replace('"input": {"dtype"', f'{json.dumps(name)}: {{"dtype"')
    # The operator's own parameter is called `input`, too.
    program["graph_module"] = json.loads(
        text.replace(f'{{"name": {json.dumps(name)}, "arg"', '{"name": "input", "arg"')
    )


def _guard(program: Program, marker: Path) -> None:
    program["guards_code"] = [f"{_call(marker)} is None"]


TAMPERED: dict[str, Callable[[Members, Path], None]] = {
    "sample inputs": _sample_inputs,
    "a pickled weight": _pickled_weight,
    "weights of the old form": _old_weights,
    "an opaque object": _opaque_object,
    "an expression": _in_program(_expression),
    "a name": _in_program(_argument_name),
    "a guard": _in_program(_guard),
}


def _run_with_torch(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.load(path).module()(torch.ones(2, 3))


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_what_would_run_code_is_refused(
    small: Members, tamper: Callable[[Members, Path], None], tmp_path: Path
) -> None:
    """Without the pre-flight torch runs it; the pre-flight refuses it and runs nothing."""
    marker = tmp_path / "ran"
    members = dict(small)
    tamper(members, marker)
    path = _write(members, tmp_path / "m.pt2")
    with pytest.raises(PreflightRefused, match="could run code"):
        preflight.check(path)
    assert not marker.exists()
    with contextlib.suppress(Exception):  # most fail afterwards, which is too late
        _run_with_torch(path)
    assert marker.exists(), "torch no longer runs this: the rule may be dropped"


def test_calls_of_anything_but_operators_are_refused(small: Members, tmp_path: Path) -> None:
    """Any dotted name below `torch` is resolved, imports of torch's modules too, and called in the graph."""
    path = _write(small, tmp_path / "m.pt2")
    _run_with_torch(path)  # so that it is the change that breaks it
    for target in (
        "torch.os.system",
        "torch.load",
        "torch.ops.load_library",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.add.__class__",
        "torch.ops.aten.__class__.mro",
        "torch.ops.evil.run.default",
        "torch.ops.higher_order.call_torchbind",
        "_operator.attrgetter",
        "_operator.call",
        "math.__loader__.load_module",
        "#hidden:op",
    ):
        program = json.loads(small[PROGRAM])
        program["graph_module"]["graph"]["nodes"][0]["target"] = target
        _write({**small, PROGRAM: json.dumps(program).encode()}, path)
        with pytest.raises(PreflightRefused, match="not an operator of torch"):
            preflight.check(path)


def test_structures_that_import_modules_are_refused(
    small: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is an enumeration makes torch import whatever module it names."""
    marker = tmp_path / "ran"
    (tmp_path / "imported_by_a_test.py").write_text(f"open({str(marker)!r}, 'w').close()")
    monkeypatch.syspath_prepend(tmp_path)
    program = json.loads(small[PROGRAM])
    signature = program["graph_module"]["module_call_graph"][0]["signature"]
    enum = {"__enum__": True, "fqn": "imported_by_a_test:X", "name": "X"}
    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    spec = {"type": "builtins.dict", "context": json.dumps([enum]), "children_spec": [leaf]}
    signature["out_spec"] = json.dumps([1, spec])
    path = _write({**small, PROGRAM: json.dumps(program).encode()}, tmp_path / "m.pt2")
    with pytest.raises(PreflightRefused, match="expected a name or a number"):
        preflight.check(path)
    assert not marker.exists()
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever torch makes of it
        _run_with_torch(path)
    assert marker.exists()
    sys.modules.pop("imported_by_a_test", None)


@pytest.mark.parametrize(
    ("member", "data", "expected"),
    [
        ("m/data/aotinductor/model/m.so", b"\x7fELF", "compiled AOTInductor library"),
        ("m/data/constants/custom_obj_0", b"", "object of a custom class"),
        ("m/code/model.py", b"", "TorchScript"),
        ("m/data.pkl", b"", "is a pickle"),
        ("m/xl_model_weights/w", b"", "is unknown"),
        ("m/extra/module_info.json", b"", "is unknown"),
        ("m/MODELS/other.json", b"", "is unknown"),
        ("m/models/other.json", b"[]", "not a JSON object"),
        ("m/models/twice.json", b'{"a": 1, "a": 2}', "a key twice"),
        ("m/data/sample_inputs/other.pt", b"cos\nsystem\n.", "zip archive"),
    ],
)
def test_other_members_are_refused(
    small: Members, tmp_path: Path, member: str, data: bytes, expected: str
) -> None:
    """The message says which member, and what it is."""
    path = _write({**small, member: data}, tmp_path / "m.pt2")
    with pytest.raises(PreflightRefused) as caught:
        preflight.check(path)
    assert expected in str(caught.value)
    assert member.removeprefix("m/") in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    """A checkpoint of torch.save, a TorchScript program, plain rubbish: none is a .pt2."""
    checkpoint = tmp_path / "checkpoint.pt2"
    torch.save({"weight": torch.ones(2)}, checkpoint)
    with pytest.raises(PreflightRefused, match="is a pickle"):
        preflight.check(checkpoint)
    rubbish = tmp_path / "rubbish.pt2"
    rubbish.write_bytes(b"\x00" * 100)
    with pytest.raises(PreflightRefused, match="zip archive"):
        preflight.check(rubbish)


class _Many(torch.nn.Module):
    """Dictionaries and tuples in and out, a buffer, a constant, a mutation."""

    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.parts = torch.nn.ModuleDict({"a-1 x": torch.nn.Linear(4, 4)})
        self.register_buffer("seen", torch.zeros(()))
        self.constant = torch.tensor([1.0, 2.0, 3.0, 4.0])

    def forward(self, x: dict[str, Any], *, scale: Any, mode: str = "fast") -> dict[str, Any]:
        self.seen.add_(1)
        out = self.parts["a-1 x"](x["the x"]) * scale + self.constant
        return {"sum-1": out, "rest": (out.sum(), [out.max(0).values])}


class _Branches(torch.nn.Module):
    """Control flow, data-dependent sizes, no_grad and autocast."""

    def forward(self, x: Any, n: Any) -> Any:
        count = n.item()
        torch._check(count >= 0)
        torch._check(count <= x.shape[0])
        with torch.no_grad():
            y = torch.cond(x.sum() > 0, lambda t: t + 1, lambda t: t - 1, (x,))
        return y[:count].sum(0), torch.nonzero(x), x.reshape(-1, 2)


@pytest.mark.parametrize("name", ["linear", "conv", "many", "branches", "transformer"])
def test_what_torch_writes_passes(name: str, tmp_path: Path) -> None:
    """Models of many kinds, saved by torch.export.save, with extra files too."""
    torch.set_num_threads(1)
    dim, auto = torch.export.Dim, torch.export.Dim.AUTO
    path = tmp_path / "m.pt2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "linear":
            _saved(
                torch.nn.Linear(3, 2), (torch.ones(2, 3),), path, extra_files={"labels.txt": "a\nb"}
            )
        elif name == "conv":
            net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.BatchNorm2d(4))
            shapes = {"input": {0: dim.DYNAMIC, 2: auto, 3: auto}}
            _saved(net, (torch.ones(2, 3, 33, 33),), path, dynamic_shapes=shapes)
        elif name == "many":
            inputs = ({"the x": torch.ones(4, 4)},)
            _saved(_Many(), inputs, path, kwargs={"scale": torch.ones(())})
        elif name == "branches":
            _saved(_Branches(), (torch.ones(6, 6), torch.tensor(3)), path)
        else:
            layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            shapes = {"src": {0: dim("batch", min=1, max=8), 1: dim("length", min=2, max=50)}}
            _saved(
                torch.nn.TransformerEncoder(layer, 1, enable_nested_tensor=False),
                (torch.ones(3, 5, 8),),
                path,
                dynamic_shapes=shapes,
            )
    preflight.check(path)

"""Models in their author's own code."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from inferd.core.link.messages import ModelSource
from inferd.wire.errors import LoadFailed, OutputInvalid
from inferd.wire.signature import Axis, TensorSpec
from inferd.worker.loader import load_model
from inferd.worker.loader.loaded import LoadedModel
from inferd.worker.model import Sequence
from support import programs

CPU = torch.device("cpu")
X = TensorSpec("x", "FP32", (Axis("b"), 2))
MASK = TensorSpec("mask", "FP32", (Axis("b"), 2), optional=True)
Y = TensorSpec("y", "FP32", (Axis("b"), 2))
Z = TensorSpec("z", "BYTES", (Axis("b"),))

HEAD = "from inferd.worker.model import Model\nimport numpy as np, torch\n"


@pytest.fixture(autouse=True)
def _own_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a model is for a process of its own: it changes where Python imports from."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)


def load(
    folder: Path,
    body: str,
    *,
    inputs: tuple[TensorSpec, ...] = (X,),
    outputs: tuple[TensorSpec, ...] = (Y,),
    files: dict[str, str] | None = None,
) -> LoadedModel:
    """The model of a `model.py` with this body."""
    path = programs.code(folder, HEAD + body, files)
    return load_model(ModelSource("m", 1, "code", str(path), inputs, outputs, 8), CPU)


def test_tensors_go_in_and_out_by_name(tmp_path: Path) -> None:
    """Inputs are passed by name, an optional one only if it is there, outputs taken by name."""
    model = load(
        tmp_path,
        "class M(Model):\n"
        "    def predict(self, x, mask=None):\n"
        "        return {'z': np.array(['ä', 'b']), 'y': x if mask is None else x * mask}\n",
        inputs=(X, MASK),
        outputs=(Y, Z),
    )
    x = torch.ones(2, 2)
    plain, strings = model.execute([x, None], None)
    masked, _ = model.execute([x, 2 * x], None)
    assert isinstance(plain, torch.Tensor)
    assert isinstance(masked, torch.Tensor)
    assert isinstance(strings, np.ndarray)
    assert (plain.tolist(), masked.tolist()) == ([[1, 1], [1, 1]], [[2, 2], [2, 2]])
    assert strings.tolist() == ["ä".encode(), b"b"]
    assert model.platform == "pytorch_code"
    assert (model.signature.inputs, model.signature.max_batch_size) == ((X, MASK), 8)


def test_numpy_answers_become_tensors(tmp_path: Path) -> None:
    """Byte order, strides and read-only memory do not matter."""
    model = load(
        tmp_path,
        "class M(Model):\n"
        "    def predict(self, x):\n"
        "        array = np.arange(4, dtype='>f4').reshape(2, 2).T\n"
        "        array.flags.writeable = False\n"
        "        return array\n",
    )
    (answer,) = model.execute([torch.zeros(2, 2)], None)
    assert isinstance(answer, torch.Tensor)
    assert answer.dtype is torch.float32
    assert answer.tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    ("signature", "takes"), [("x", False), ("x, parameters", True), ("x, **parameters", False)]
)
def test_parameters_reach_who_asks_for_them(tmp_path: Path, signature: str, takes: object) -> None:
    """Only a parameter called `parameters` gets them, as an empty mapping if there are none."""
    seen = "parameters.get('k', 0)" if takes else "0"
    model = load(
        tmp_path,
        f"class M(Model):\n    def predict(self, {signature}):\n        return x + {seen}\n",
    )
    assert model.takes_parameters is takes
    answers = [model.execute([torch.zeros(1, 2)], given)[0] for given in ({"k": 3}, None)]
    assert [answer.tolist() for answer in answers] == [[[3 if takes else 0] * 2], [[0, 0]]]


def test_weights_and_neighbours_are_found(tmp_path: Path) -> None:
    """`load` gets its weights from the safetensors file and may import a file beside model.py."""
    save_file({"w": torch.full((2,), 5.0)}, tmp_path / "weights.safetensors")
    model = load(
        tmp_path,
        "import beside_the_model\n"
        "class M(Model):\n"
        "    def load(self, device):\n"
        "        assert device == self.device\n"
        "        self.w = self.weights()['w'] * beside_the_model.FACTOR\n"
        "    def predict(self, x):\n"
        "        return x * self.w\n",
        files={"beside_the_model.py": "FACTOR = 2"},
    )
    (answer,) = model.execute([torch.ones(1, 2)], None)
    assert answer.tolist() == [[10, 10]]
    assert not list(tmp_path.rglob("__pycache__"))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("{'y': x, 'more': x}", "returned the outputs 'y', 'more'; its model.toml declares 'y'"),
        ("[1, 2]", "something else than a tensor or array as output 'y'"),
        ("np.zeros(2, 'datetime64[s]')", "output 'y' as datetime64"),
        ("np.array([b'a', 3], dtype=object)", "neither bytes nor text"),
    ],
    ids=["names", "list", "dtype", "elements"],
)
def test_an_answer_that_is_no_tensor_is_told(tmp_path: Path, answer: str, told: str) -> None:
    """The message says which output is wrong, and how."""
    model = load(tmp_path, f"class M(Model):\n    def predict(self, x):\n        return {answer}\n")
    with pytest.raises(OutputInvalid, match=told):
        model.execute([torch.zeros(1, 2)], None)


def test_several_outputs_need_names(tmp_path: Path) -> None:
    """A single tensor cannot stand for two outputs."""
    model = load(
        tmp_path, "class M(Model):\n    def predict(self, x):\n        return x\n", outputs=(Y, Z)
    )
    with pytest.raises(OutputInvalid, match=r"has 2 outputs \(y, z\)"):
        model.execute([torch.zeros(1, 2)], None)


PREDICT = "    def predict(self, x):\n        return x\n"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("", "defines no subclass"),
        (f"class A(Model):\n{PREDICT}class B(Model):\n{PREDICT}", "defines 2 models .'A', 'B'."),
        ("raise ValueError('/secret/place/file.bin is bad')", "could not be imported: file.bin is"),
        ("import sys; sys.exit(3)", "could not be imported: it tried to end the process"),
        (
            f"class M(Model):\n    def load(self, device):\n        1 / 0\n{PREDICT}",
            "failed to load the model: division by zero",
        ),
        (
            f"class M(Model):\n    def load(self, device):\n        self.weights()\n{PREDICT}",
            "no \\*.safetensors file",
        ),
        ("class M(Model):\n    pass\n", "has no attribute 'predict'"),
        (
            "class M(Model):\n    def predict(self, image):\n        return image\n",
            "cannot be called with the inputs that model.toml declares .'x'.",
        ),
    ],
    ids=["none", "two", "raises", "exits", "load", "weights", "no-predict", "names"],
)
def test_what_cannot_be_loaded_is_told(tmp_path: Path, body: str, told: str) -> None:
    """The reason says what the author has to change, in one line and without folders."""
    with pytest.raises(LoadFailed, match=told) as failed:
        load(tmp_path, body)
    assert "\n" not in failed.value.message
    assert "/" not in failed.value.message


def test_own_code_without_a_signature_is_refused(tmp_path: Path) -> None:
    """Nothing tells the server what the model takes, so nothing could be checked."""
    with pytest.raises(LoadFailed, match=r"list its \[\[input\]\] and \[\[output\]\]"):
        load(tmp_path, f"class M(Model):\n{PREDICT}", inputs=())


def test_a_folder_without_model_py_is_refused(tmp_path: Path) -> None:
    """The reason says what is missing."""
    with pytest.raises(LoadFailed, match=r"has no model\.py"):
        load_model(ModelSource("m", 1, "code", str(tmp_path), (X,), (Y,)), CPU)


GENERATOR = """
class M(Model):
    def predict(self, x, parameters=None):
        try:
            for step in range(1, 4):
                yield x * step
            return {"y": x * 9}
        finally:
            self.closed = True
"""


def generator(folder: Path, max_batch_size: int | None = None) -> LoadedModel:
    """A model whose `predict` yields."""
    path = programs.code(folder, HEAD + GENERATOR)
    return load_model(ModelSource("m", 1, "code", str(path), (X,), (Y,), max_batch_size), CPU)


def test_a_generator_answers_many_times(tmp_path: Path) -> None:
    """Each answer is like one of `predict`; what it returns is the last; warming up takes one."""
    model = generator(tmp_path)
    assert model.generate is not None
    answers = model.generate([torch.ones(1, 2)], None)
    given = []
    while True:
        try:
            (value,) = next(answers)
        except StopIteration as end:
            (last,) = end.value
            break
        given.append(value.tolist())
    assert given == [[[step, step]] for step in (1.0, 2.0, 3.0)]
    assert last.tolist() == [[9.0, 9.0]]
    (first,) = model.execute([torch.ones(1, 2)], None)
    assert first.tolist() == [[1.0, 1.0]]


def test_a_generator_does_not_batch(tmp_path: Path) -> None:
    """Its author learns what to change."""
    with pytest.raises(LoadFailed, match="max_batch_size is 8"):
        generator(tmp_path, max_batch_size=8)
    assert load(tmp_path / "other", PLAIN).generate is None


PLAIN = "class M(Model):\n    def predict(self, x):\n        return x\n"


def documented(name: str) -> str:
    """The code of docs/protocol.md that defines this class."""
    page = Path(__file__).parents[3] / "docs" / "protocol.md"
    (code,) = (
        each.partition("```")[0]
        for each in page.read_text().split("```python\n")
        if f"class {name}" in each
    )
    return code


def test_the_documented_generator_counts_down(tmp_path: Path) -> None:
    """The example of docs/protocol.md loads and yields."""
    inputs = (TensorSpec("start", "INT64", (1,)),)
    path = programs.code(tmp_path, documented("Countdown"))
    source = ModelSource("m", 1, "code", str(path), inputs, (TensorSpec("n", "INT64", (1,)),))
    model = load_model(source, CPU)
    assert model.generate is not None
    answers = model.generate([torch.tensor([3])], None)
    assert [int(value) for (value,) in answers] == [3, 2, 1]


def stateful(folder: Path, body: str) -> LoadedModel:
    """The model of a `model.py` with this body, with [sequences] in its model.toml."""
    path = programs.code(folder, HEAD + body)
    return load_model(ModelSource("m", 1, "code", str(path), (X,), (Y,), 8, sequences=True), CPU)


def test_a_model_with_sequences_gets_the_one_of_the_request(tmp_path: Path) -> None:
    """Warming up, it gets one that begins and ends there."""
    model = stateful(
        tmp_path,
        "class M(Model):\n"
        "    def predict(self, x, sequence):\n"
        "        sequence.state['n'] = sequence.state.get('n', 0) + 1\n"
        "        return x * sequence.state['n']\n",
    )
    assert model.in_sequence is not None
    sequence = Sequence("s", start=True, end=False)
    for expected in (1.0, 2.0):
        (y,) = model.in_sequence([torch.ones(1, 2)], None, sequence)
        assert y.tolist() == [[expected] * 2]
    (y,) = model.execute([torch.ones(1, 2)], None)
    assert y.tolist() == [[1.0] * 2]


def test_a_model_with_sequences_takes_them(tmp_path: Path) -> None:
    """What model.toml says and what `predict` takes must agree, either way."""
    with pytest.raises(LoadFailed, match=r"'x', 'sequence'.*unexpected keyword argument"):
        stateful(tmp_path, f"class M(Model):\n{PREDICT}")
    body = "class M(Model):\n    def predict(self, x, sequence):\n        return x\n"
    with pytest.raises(LoadFailed, match="missing a required argument: 'sequence'"):
        load(tmp_path, body)
    assert load(tmp_path, f"class M(Model):\n{PREDICT}").in_sequence is None


def test_the_documented_sums_go_on(tmp_path: Path) -> None:
    """The example of docs/protocol.md loads and keeps its state."""
    path = programs.code(tmp_path, documented("Sums"))
    source = ModelSource("m", 1, "code", str(path), (X,), (Y,), 8, sequences=True)
    model = load_model(source, CPU)
    assert model.in_sequence is not None
    sequence = Sequence("s", start=True, end=False)
    for expected in (1.0, 2.0, 3.0):
        (y,) = model.in_sequence([torch.ones(1, 2)], None, sequence)
        assert y.tolist() == [[expected] * 2]

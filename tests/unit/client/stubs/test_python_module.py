"""Typed modules made from metadata: they run, and mypy reads them as they are meant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from inferd.client import Client, ModelMetadata, connect_async
from inferd.stubs.python_module import module_name, python_module
from inferd.wire.signature import Axis, Signature, TensorSpec
from support.oip_server import OipServer

HOUSE = Path(__file__).parents[4]
CACHE = HOUSE / "tests" / ".built" / "mypy"
"""Kept between runs: reading numpy's stubs takes most of the time."""

BATCH = Axis("batch")
HOSTILE = '"""\nraise SystemExit("from the server")\n"""\\'

CALLER = """
from typing import assert_type
import numpy as np
import numpy.typing as npt
from inferd.client import AsyncClient, Client
from pair import AsyncPair, Pair, PairAnswer

def call(client: Client) -> None:
    left, right = np.ones((1, 3), np.float32), np.ones((1, 1), np.int64)
    answer = Pair(client, version=1)(left, right, timeout=2.0)
    assert_type(answer, PairAnswer)
    assert_type(answer.second, npt.NDArray[np.int64])
    Pair(client)(left=left, right=right, note=np.array([["a"]], np.object_))
    Pair(client)(left)  # type: ignore[call-arg] # an input is missing
    Pair(client)(right, left)  # type: ignore[arg-type] # the datatypes are swapped

async def call_async(client: AsyncClient) -> None:
    answer = await AsyncPair(client)(np.ones((1, 3), np.float32), np.ones((1, 1), np.int64))
    assert_type(answer.first, npt.NDArray[np.float32])
"""


def _module(source: str) -> ModuleType:
    module = ModuleType("generated")
    sys.modules["generated"] = module  # where dataclasses look their annotations up
    exec(compile(source, "generated.py", "exec"), module.__dict__)
    return module


def test_a_model_is_called_with_names_and_types(client: Client) -> None:
    """Inputs by their names, an optional one left out or given, outputs as fields."""
    module = _module(python_module(client.model("pair").metadata()))
    left, right = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([[1], [2]])
    answer = module.Pair(client)(left, right=right, note=np.array([["a"], ["b"]], np.object_))
    np.testing.assert_array_equal(answer.first, left)
    assert answer.second.tolist() == [[1], [2]]
    assert answer.third.tolist() == [[b"a"], [b"b"]]
    doc = module.Pair.__call__.__doc__
    assert "left: FP32 [batch, 3]." in doc
    assert "note: BYTES [batch, 1]; may be left out." in doc


async def test_the_twin_for_asyncio_is_awaited(server: OipServer, client: Client) -> None:
    """The same arguments and the same answer."""
    module = _module(python_module(client.model("identity-bf16").metadata()))
    async with connect_async(server.address) as connected:
        answer = await module.AsyncIdentityBf16(connected)(np.ones((1, 2), np.float32))
    assert answer.y.dtype == np.float32


@pytest.mark.timeout(300)  # a first run has no cache
def test_strict_mypy_passes_and_finds_wrong_calls(client: Client, tmp_path: Path) -> None:
    """The modules of all models pass; a missing input and swapped datatypes do not."""
    names = ("pair", "echo", "ids", "plain", "identity-bf16", "identity-bytes")
    for name in names:
        source = python_module(client.model(name).metadata())
        (tmp_path / f"{module_name(name)}.py").write_text(source)
    (tmp_path / "hostile.py").write_text(python_module(_hostile()))
    (tmp_path / "caller.py").write_text(CALLER)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores"]
        + ["--config-file", str(HOUSE / "pyproject.toml"), "--cache-dir", str(CACHE)]
        + [each.name for each in sorted(tmp_path.glob("*.py"))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
    assert "in 8 source files" in checked.stdout


def test_ruff_would_not_format_it_differently(client: Client) -> None:
    """It looks as if people had written it."""
    source = python_module(client.model("pair").metadata())
    formatted = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "100", "-"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
    )
    assert formatted.stdout == source


def test_a_server_cannot_bring_code_of_its_own() -> None:
    """Names that would end a string or a docstring stay inside of them."""
    module = _module(python_module(_hostile()))
    assert module.MODEL == HOSTILE
    assert "SystemExit" in (module.__doc__ or "")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("client", "ClientModel"), ("prediction", "PredictionModel"), ("MODEL", "MODELModel")],
)
def test_a_model_s_class_hides_nothing_of_the_module(
    client: Client, name: str, expected: str
) -> None:
    """A model named like something that the module uses gets another name."""
    metadata = client.model("identity-fp32").metadata()
    module = _module(python_module(ModelMetadata(name, ("1",), "", metadata.signature)))
    assert name == module.MODEL
    assert isinstance(getattr(module, expected)(client), object)


def _hostile() -> ModelMetadata:
    tensor = TensorSpec(HOSTILE, "FP32", (BATCH, 2))
    again = TensorSpec(HOSTILE + "\n", "INT64", (BATCH,))
    keyword = TensorSpec("class", "UINT8", (BATCH,), optional=True)
    signature = Signature((keyword, tensor, again), (tensor, again), 8)
    return ModelMetadata(HOSTILE, (HOSTILE,), "", signature)

"""Models that yield, with real processes: many streams at once, callers that leave, and textgen."""

from __future__ import annotations

import asyncio
import queue
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio

from inferd.client import Client, Model, WorkerLost, connect, connect_async
from support.repository import write_code
from support.server import MODELS, Server

COUNTS = """
import os
import numpy as np

class Counts(Model):
    def load(self, device):
        self.begun = self.ended = 0

    def predict(self, x, *, parameters):
        if "census" in parameters:
            return x.new_tensor([[self.begun, self.ended, os.getpid(), 0]])
        self.begun += 1
        try:
            for step in range(parameters.get("times", 4)):
                yield x + step
            if "raise" in parameters:
                raise ValueError
        finally:
            self.ended += 1
"""
ROWS = np.zeros((1024, 4), np.float32)


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two gateways, one worker with 8 generators of each, and little memory between them."""
    folder = tmp_path_factory.mktemp("counting")
    write_code(folder / "models" / "counts", COUNTS, "max_streams = 8\nthreads = 1\n")
    environment = {"INFERD_MAX_ARENA_BYTES": str(2 << 20)}
    options = ("--trust", "counts", "--gateways", "2")
    with Server(folder, [folder / "models"], *options, environment=environment) as server:
        yield server


def census(model: Model) -> list[int]:
    """Generators begun, generators ended and the worker's process, as the model knows them."""
    (answer,) = model.stream(ROWS[:1], parameters={"census": True})
    return [int(each) for each in answer[0][:3]]


def settled(model: Model) -> list[int]:
    """The census once no generator is open any more."""
    found = census(model)
    for _ in range(2000):
        if found[0] == found[1]:
            break
        found = census(model)
    assert found[0] == found[1], "a generator was not closed"
    return found


def counts(client: Client) -> tuple[int, int, int, int]:
    """Executions, rows, successes and failures."""
    (found,) = client.model("counts").statistics()
    return (found.execution_count, found.inference_count, found.success.count, found.fail.count)


def counted(client: Client, before: tuple[int, ...], closed: int) -> list[int]:
    """What has been counted since, once the worker's last words have reached both gateways."""
    for _ in range(2000):
        executed, *others = (b - a for a, b in zip(before, counts(client), strict=True))
        if executed == others[1] + closed:
            break
    return [executed, *others]


async def test_many_streams_with_callers_that_leave(counting: Server) -> None:
    """64 at once, 256 in all: each gets its own answers, nothing leaks, and counts add up."""
    dice = random.Random(4)
    with connect(counting.address) as observer:
        model = observer.model("counts")
        begun_before = settled(model)[0]
        before = counts(observer)
        asked = {"answered": 0, "failed": 0, "left": 0}

        async def one(model: Any, number: int) -> None:
            fate = dice.choice(["answered", "answered", "left", "failed"])
            parameters: dict[str, Any] = {"times": 10**6 if fate == "left" else dice.randrange(6)}
            if fate == "failed":
                parameters["raise"] = True
            leaves = dice.randrange(1, 6)
            got = 0
            try:
                async with aclosing(model.stream(ROWS + number, parameters=parameters)) as answers:
                    async for each in answers:
                        assert each.shape == ROWS.shape
                        assert np.all(each == number + got)
                        got += 1
                        if fate == "left" and got == leaves:
                            break
            except Exception as error:
                assert fate == "failed", error  # noqa: PT017  # only some are to fail
            else:
                assert fate != "failed"
            assert got == (leaves if fate == "left" else parameters["times"])
            asked[fate] += 1

        async def caller(number: int) -> None:
            async with connect_async(counting.address) as client:
                for each in range(4):
                    await one(client.model("counts"), 4 * number + each)

        await asyncio.gather(*(caller(number) for number in range(64)))
        assert sum(asked.values()) == 256
        begun = settled(model)[0] - begun_before
        executed, rows, succeeded, failed = counted(observer, before, asked["left"])
    # Of the requests of this test every one was begun; the census was asked for as well.
    assert begun == 256
    assert failed == asked["failed"]
    # A generator that raised is no execution, one that was closed is, and no success.
    assert executed == rows == succeeded + asked["left"]
    assert succeeded >= asked["answered"]


def test_a_lost_worker_ends_its_streams(counting: Server) -> None:
    """With an error that tells to try again; then a new worker answers."""
    import os
    import signal

    with connect(counting.address) as client:
        model = client.model("counts")
        pid = settled(model)[2]
        answers = model.stream(ROWS[:1], parameters={"times": 10**9})
        next(answers)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerLost):
            list(answers)
        while not model.ready():
            pass
        assert len(list(model.stream(ROWS[:1], parameters={"times": 3}))) == 3


def prompt(text: bytes) -> triton.InferInput:
    """The input of textgen."""
    tensor = triton.InferInput("prompt", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([text], np.object_))
    return tensor


def test_textgen_writes_for_tritonclient(examples: Server) -> None:
    """An unmodified client gets it character by character, and knows the last one by its mark."""
    heard: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    parameters = {"length": 40, "seed": 7, "temperature": 0.5}
    with triton.InferenceServerClient(examples.address) as client:
        assert client.get_model_config("textgen").config.model_transaction_policy.decoupled
        client.start_stream(callback=lambda result, error: heard.put((result, error)))
        for name in ("a", "b"):
            client.async_stream_infer(
                "textgen",
                [prompt(b"The class ")],
                request_id=name,
                parameters=parameters,
                enable_empty_final_response=True,
            )
        texts = {"a": "", "b": ""}
        ended = 0
        while ended < 2:
            result, error = heard.get(timeout=30)
            assert error is None
            response = result.get_response()
            texts[response.id] += result.as_numpy("text")[0].decode()
            ended += response.parameters["triton_final_response"].bool_param
        client.stop_stream()
    assert texts["a"] == texts["b"]
    assert len(texts["a"]) == 40


async def test_textgen_writes_for_tritonclients_asyncio(examples: Server) -> None:
    """Streams of its asyncio client as well; what is no number is taken for the default."""

    async def requests() -> AsyncIterator[dict[str, Any]]:
        yield {
            "model_name": "textgen",
            "inputs": [prompt(b"")],
            "parameters": {"length": 25, "temperature": "hot"},
        }

    async with triton_aio.InferenceServerClient(examples.address) as client:
        answers = client.stream_infer(requests())
        pieces = []
        async for result, error in answers:
            assert error is None
            pieces.append(result.as_numpy("text")[0])
    assert len(b"".join(pieces)) == 25


def test_textgen_has_learned_to_write(examples: Server) -> None:
    """The likeliest text has words and is the same every time; a seed tells texts apart."""
    with connect(examples.address) as client:
        model = client.model("textgen")

        def write(**parameters: float) -> str:
            answers = model.stream(["The "], parameters={"length": 60, **parameters})
            return b"".join(each[0] for each in answers).decode()

        greedy = write(temperature=0)
        assert greedy == write(temperature=0)
        assert len(greedy.split()) > 5
        assert write(seed=1) == write(seed=1) != write(seed=2)


def test_the_command_line_shows_it(examples: Server, tmp_path: Path) -> None:
    """`inferd predict` streams where the model does."""
    import subprocess
    import sys

    inferd = str(Path(sys.executable).with_name("inferd"))
    command = [inferd, "predict", "textgen", "--address", examples.address]
    command += ["--input", '["The "]', "-p", "length=30", "-p", "seed=1"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert len(shown.stdout) == 31


@pytest.mark.parametrize("library", ["inferd.client", "tritonclient.grpc"])
def test_what_the_documentation_shows_works(
    examples: Server, library: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each example of docs/protocol.md writes a text of 60 characters."""
    blocks = (MODELS.parent / "docs" / "protocol.md").read_text().split("```python\n")[1:]
    (code,) = (each.partition("```")[0] for each in blocks if library in each.partition("```")[0])
    exec(code.replace("127.0.0.1:8001", examples.address), {})  # our own page
    assert len(capsys.readouterr().out) == 60

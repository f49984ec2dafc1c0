"""The bill of a request from a real server: in the SDK and on the command line."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from inferd.client import ServerTimings, connect, connect_async
from support.server import Server

PAGE = (Path(__file__).parents[3] / "docs" / "tracing.md").read_text()


def check(timings: ServerTimings | None, within: float) -> None:
    """It is whole, and no more than the call took."""
    assert timings is not None
    assert timings.compute > 0
    assert min(timings.queue, timings.input, timings.output) >= 0
    assert timings.total <= within
    assert (timings.batch_size, timings.device) == (2, "cpu")
    assert timings.instance == 0


def test_the_sdk_has_it_where_it_is_asked_for(examples: Server) -> None:
    """Beside the caller's own times, with both clients; nowhere among the parameters."""
    images = np.zeros((2, 1, 8, 8), np.float32)
    with connect(examples.address) as client:
        model = client.model("digits")
        told = model.infer(images, timings=True)
        assert model.infer(images).timings.server is None
    check(told.timings.server, told.timings.call)
    assert not told.parameters

    async def ask() -> None:
        async with connect_async(examples.address) as client:
            told = await client.model("digits").infer(images, timings=True)
            check(told.timings.server, told.timings.call)

    asyncio.run(ask())


def predict(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`inferd predict` with these arguments."""
    program = str(Path(sys.executable).with_name("inferd"))
    return subprocess.run(
        [program, "predict", *arguments, "--address", server.address],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_predict_shows_it(examples: Server) -> None:
    """In words, and in the document; a model of many answers has none to show."""
    shown = predict(examples, "digits", "--random", "2", "--timings")
    assert shown.returncode == 0, shown.stderr
    line = next(each for each in shown.stdout.splitlines() if each.startswith("server: "))
    assert " computing, " in line
    assert "; a batch of 2 on cpu, instance 0" in line
    document = json.loads(
        predict(examples, "digits", "--random", "2", "--timings", "--json").stdout
    )
    assert document["server"]["batch_size"] == 2
    assert document["server"]["milliseconds"]["compute"] > 0
    assert "server" not in json.loads(predict(examples, "digits", "--random", "--json").stdout)
    refused = predict(examples, "textgen", "--input", '["a"]', "--timings")
    assert refused.returncode == 2
    assert "model 'textgen' gives many answers" in refused.stderr


def test_the_documented_ways_work(examples: Server) -> None:
    """The command of the page prints what it shows, its numbers aside, and its program runs."""
    (command, shown) = re.findall(
        r"```console\n\$ inferd predict (.*?)\n(.*?)\.\.\.", PAGE, re.DOTALL
    )[0]
    done = predict(examples, *command.split())
    assert done.returncode == 0, done.stderr
    pattern = re.sub(r"\d+(\\\.\d+)?", r"\\d+(\\.\\d+)?", re.escape(shown))
    assert re.match(pattern, done.stdout), done.stdout
    code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    ran = subprocess.run(
        [sys.executable, "-c", code.replace("127.0.0.1:8001", examples.address)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) == 2

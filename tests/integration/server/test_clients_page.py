"""What docs/clients.md shows works as it stands there, but for the address."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

from inferd.client import connect
from inferd.stubs.sample import LANGUAGES
from support.server import Server

PAGE = (Path(__file__).parents[3] / "docs" / "clients.md").read_text()
ADDRESS = re.compile(r"(127\.0\.0\.1|localhost):8001")


def _blocks(language: str, address: str) -> list[str]:
    port = address.rpartition(":")[2]
    found = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [ADDRESS.sub(rf"\1:{port}", block) for block in found]


def test_the_page_is_followed_from_top_to_bottom(examples: Server, tmp_path: Path) -> None:
    """Its `inferd` commands write what the Python after them imports, and all of it runs."""
    inferd = str(Path(sys.executable).with_name("inferd"))
    commands = [
        shlex.split(line.removeprefix("$ "))
        for block in _blocks("console", examples.address)
        for line in block.splitlines()
        if line.startswith("$ inferd ")
    ]
    assert len(commands) == 2 + len(LANGUAGES)
    for _, *arguments in commands:
        _run([inferd, *arguments], tmp_path)
    first, second = _blocks("python", examples.address)
    assert len(_run([sys.executable, "-c", first], tmp_path).splitlines()) >= 3
    assert _run([sys.executable, "-c", second], tmp_path) == "(3, 2)\n"
    for language in LANGUAGES:
        assert (tmp_path / f"client-{language}" / "README.md").is_file()


def test_a_request_above_the_server_s_limit_is_answered(examples: Server) -> None:
    """72 MiB, where the server takes 64: the answer is the whole one."""
    rows = np.arange(9 << 21, dtype=np.float32).reshape(9, 1 << 21)
    with connect(examples.address) as client:
        answer = client.model("echo")(rows)
        assert client.message_limit == 64 << 20
    np.testing.assert_array_equal(answer, rows)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stdout

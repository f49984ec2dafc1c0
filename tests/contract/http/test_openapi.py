"""The OpenAPI document: true, and followed by what is served."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from inferd.core.link.messages import CommandAnswer, RepositoryCommand
from inferd.core.link.sockets import PeerGone
from inferd.server.gateway.http.routes import OPERATIONS
from support.calls import ROWS
from support.gateway import GatewayUnderTest
from support.http import ask
from support.link_worker import LinkWorker

CONFIG = """
[parameters]
"path.name" = "m"
"path.version" = "1"

# That the values are as many as the shape says, and the inputs those of the model, no schema can
# tell: what fits the document may still not fit the model.
[[operations]]
include-path-regex = "/infer$"
checks.positive_data_acceptance.enabled = false

# 501 is an answer here, not a fault: loading with parameters is not offered.
[[operations]]
include-path-regex = "/load$"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "501"]
"""


def test_the_document_names_what_is_served(gateway: GatewayUnderTest) -> None:
    """Every operation has an id of its own, a summary and the form of its errors."""
    document = ask(gateway.http, "/v2/openapi.json").document
    operations = [each for path in document["paths"].values() for each in path.values()]
    ids = [each["operationId"] for each in operations]
    assert len(ids) == len(set(ids)) == len(OPERATIONS) + 1
    assert all(each["summary"] and "503" in each["responses"] for each in operations)
    tensor = document["components"]["schemas"]["InputTensor"]
    assert tensor["required"] == ["name", "shape", "datatype"]


@pytest.mark.timeout(120)
def test_schemathesis_finds_no_difference(gateway: GatewayUnderTest, tmp_path: Path) -> None:
    """Requests made from the document, right and wrong ones, are answered as it says."""
    gateway.deploy("m", ROWS, [LinkWorker()])
    threading.Thread(target=_obey, args=(gateway,), daemon=True).start()
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    program = str(Path(sys.executable).with_name("schemathesis"))
    done = subprocess.run(
        [
            *(program, "--config-file", str(config), "run"),
            f"http://{gateway.http}/v2/openapi.json",
            # Those left out are the same code behind another pattern, or as simple as the others.
            *("--exclude-path-regex", "/versions/|/(config|stats|ready|live|unload)$"),
            *("--phases", "coverage,fuzzing", "--max-examples", "5", "--seed", "1"),
            *("--no-color", "--continue-on-failure", "--warnings", "off"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _obey(gateway: GatewayUnderTest) -> None:
    """Answer loads and unloads as a supervisor with nothing to do would."""
    with suppress(PeerGone, AssertionError):
        while True:
            asked = gateway.expect(RepositoryCommand)
            gateway.control.send(CommandAnswer(asked.command, None))

"""One server with the example models, for all tests that leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.server import MODELS, Server


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`inferd serve models`, ready."""
    options = ("--trust", "echo", "--trust", "textgen")
    with Server(tmp_path_factory.mktemp("examples"), [MODELS], *options) as server:
        yield server

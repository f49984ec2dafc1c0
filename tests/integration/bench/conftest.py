"""One server with one example model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.server import MODELS, Server


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`inferd serve models/digits`, ready."""
    with Server(tmp_path_factory.mktemp("digits"), [MODELS / "digits"]) as server:
        yield server

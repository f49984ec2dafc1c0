"""What tests of the scheduler begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.scene import Scene


@pytest.fixture
def scene() -> Iterator[Scene]:
    """A deployment without workers."""
    made = Scene()
    yield made
    for instance in made.deployment.instances:
        instance.close()

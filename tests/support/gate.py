"""A model that waits inside `predict` until the test lets it go on."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from support.repository import write_code


class Gate:
    """Holds the batches of the own-code model `gated`, written into `models`.

    Two named pipes that the test keeps open at both ends: a batch that begins is heard by `wait`, and each
    one that is let go takes one token. The batch of zeros of the warm-up is not held. Close it after the
    server.
    """

    def __init__(self, folder: Path, models: Path) -> None:
        entered, tokens = folder / "entered", folder / "tokens"
        for pipe in (entered, tokens):
            os.mkfifo(pipe)
        self._entered = os.open(entered, os.O_RDWR)
        self._tokens = os.open(tokens, os.O_RDWR)
        write_code(
            models / "gated",
            f"""
            class Gated(Model):
                def predict(self, x):
                    if x.sum() > 0:
                        with open({str(entered)!r}, "wb", buffering=0) as entered:
                            entered.write(b".")
                        with open({str(tokens)!r}, "rb", buffering=0) as tokens:
                            tokens.read(1)
                    return x
            """,
        )

    def wait(self) -> None:
        """Return when a batch is being executed; each one is heard once."""
        os.read(self._entered, 1)

    def let_go(self, batches: int = 1) -> None:
        """Let this many batches, now or later, go on."""
        os.write(self._tokens, b"." * batches)

    def forget(self) -> None:
        """Begin anew: batches that nobody waited for and tokens that nobody took are no more."""
        for pipe in (self._entered, self._tokens):
            os.set_blocking(pipe, False)
            with suppress(BlockingIOError):
                while os.read(pipe, 1 << 16):
                    pass
            os.set_blocking(pipe, True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._entered)
        os.close(self._tokens)

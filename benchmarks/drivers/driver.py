"""What a contender is to the comparison: started, asked, stopped."""

from __future__ import annotations

from typing import Protocol


class DriverError(RuntimeError):
    """A contender cannot be measured: it did not start or is not installed. The text says why."""


class Driver(Protocol):
    """One server of the Open Inference Protocol that serves the identity as `echo`.

    `echo` takes `input`, FP32 of any shape, and answers it as `output`. A peer joins the
    comparison by a driver and a line in `drivers/contenders.py`.
    """

    name: str
    description: str

    @property
    def pid(self) -> int:
        """Root of the server's process tree, while it runs."""

    def start(self, cpu: int | None) -> str:
        """Start the server, all its processes on core `cpu` (None: any); returns HOST:PORT.

        It is ready for calls then. Raises `DriverError`, and leaves no process behind.
        """

    def ended(self) -> str | None:
        """How the server ended by itself, such as `was killed by SIGKILL`; None if it runs."""

    def stop(self) -> None:
        """End the server and every process of its tree. Stopping twice does nothing."""

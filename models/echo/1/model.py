"""Identity on any datatype and shape: what comes in goes out. For tests and benchmarks."""

from __future__ import annotations

from inferd.worker.model import Model, Value


class Echo(Model):
    """Answers each request with its own input."""

    def predict(self, input: Value) -> Value:  # noqa: A002 - parameters are named like the inputs
        """The input, untouched."""
        return input

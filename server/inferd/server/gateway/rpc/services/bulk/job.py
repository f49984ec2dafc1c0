"""What a bulk stream is opened for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from inferd.protos.oip_pb2 import ModelInferRequest
from inferd.wire.errors import InvalidRequest
from inferd.wire.requests import InferMessage
from inferd.wire.tensors import Buffer

_TAGS = (b"\x0a", b"\x12")
"""What the fields of a model's name and version begin with in a ModelInferRequest."""


@dataclass(frozen=True)
class Job:
    """One model version and a place in the sequence: chunks below `position` are answered."""

    model: str
    version: str
    token: str
    position: int
    order: int

    @cached_property
    def _names(self) -> bytes:
        names = ModelInferRequest(model_name=self.model, model_version=self.version)
        return names.SerializeToString()

    @cached_property
    def _name(self) -> bytes:
        return ModelInferRequest(model_name=self.model).SerializeToString()

    def complete(self, request: Buffer) -> bytes:
        """The request of a chunk with the names that it may leave out; its own come after them."""
        return b"".join((self._names, request))

    def check(self, completed: bytes) -> None:
        """Raise `InvalidRequest` where a completed request names another model than its job."""
        request = memoryview(completed)[len(self._names) :]
        if bytes(request[:1]) not in _TAGS:  # its first field is neither of the two names
            return
        behind = len(self._name)
        if request[:behind] == self._name and bytes(request[behind : behind + 1]) != b"\x12":
            return
        named = InferMessage(bytes(request))
        if named.model not in ("", self.model) or named.version not in ("", self.version):
            raise InvalidRequest(
                f"the chunk is for '{named.model[:64]}' version '{named.version[:32]}', the job "
                f"for '{self.model}' version {self.version}; leave the names out",
                reason="OTHER_JOB",
                field="chunk.request.model_name",
            )

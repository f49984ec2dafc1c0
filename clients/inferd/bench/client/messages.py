"""The messages of a ModelStreamInfer stream: requests with an id, answers matched with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, MutableMapping

from google.protobuf.message import DecodeError

from inferd.bench.client.transport import DEADLINE_EXCEEDED, OK, UNKNOWN, Answer
from inferd.protos import oip_pb2 as oip
from inferd.wire.answers import varint

_ID_TAG = b"\x1a"  # ModelInferRequest.id: field 3, length-delimited


_KEPT_BYTES = 64 * 1024
"""Messages up to this size are kept with their ids, larger ones made anew each time."""


class StreamPayload:
    """A serialised ModelInferRequest that has no id yet.

    Ids are few and used again once answered, as requests in flight are few: a server that knows
    requests by their bytes sees the same ones again.
    """

    def __init__(self, request: bytes) -> None:
        named = oip.ModelInferRequest.FromString(request)
        # Where protobuf itself would have put the id: behind the model's name and version.
        head = oip.ModelInferRequest(
            model_name=named.model_name, model_version=named.model_version
        ).SerializeToString()
        if not request.startswith(head):
            head = b""
        self._head = head
        self._rest = request[len(head) :]
        self._free: deque[str] = deque()
        self._ids = 0
        self._kept: dict[str, bytes] = {}

    def take_id(self) -> str:
        """An id that no unanswered request has."""
        if self._free:
            return self._free.popleft()
        self._ids += 1
        return f"{self._ids:x}"

    def give_back(self, request_ids: Iterable[str]) -> None:
        """The requests with these ids have ended."""
        self._free.extend(request_ids)

    def message(self, request_id: str) -> bytes:
        """The request with this id."""
        kept = self._kept.get(request_id)
        if kept is not None:
            return kept
        raw = request_id.encode()
        message = b"".join((self._head, _ID_TAG, varint(len(raw)), raw, self._rest))
        if len(message) <= _KEPT_BYTES:
            self._kept[request_id] = message
        return message


def read_answer(
    message: bytes, waiting: MutableMapping[str, float], too_late: float
) -> tuple[str, Answer] | None:
    """The id and the end of the request that this ModelStreamInferResponse answers.

    It waits no longer. `waiting` has tags by id, oldest first. Answers without an id come in the order of the
    requests; None for one more answer to a request that had its first. An answer to a request
    tagged before `too_late` came after its deadline.
    """
    try:
        response = oip.ModelStreamInferResponse.FromString(message)
    except DecodeError:
        request_id, text = "", "what the server answered is no ModelStreamInferResponse"
    else:
        request_id, text = response.infer_response.id, response.error_message
    if not request_id:
        request_id = next(iter(waiting), "")
    tag = waiting.pop(request_id, None)
    if tag is None:
        return None
    if text:
        return request_id, Answer(tag, UNKNOWN, text)
    if tag < too_late:
        return request_id, Answer(tag, DEADLINE_EXCEEDED, "the answer came after its deadline")
    return request_id, Answer(tag, OK, "")
